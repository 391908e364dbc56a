#!/usr/bin/env bats
# `container-patch history --follow` on logs that grow, and its metrics.

load helpers

OLD="sha256:1111111111111111111111111111111111111111111111111111111111111111"
NEW="sha256:2222222222222222222222222222222222222222222222222222222222222222"

setup() {
  cd "$BATS_TEST_TMPDIR"
  PID=
}

teardown() {
  if [ -n "$PID" ]; then
    kill "$PID" 2> /dev/null || true
    wait "$PID" || true
  fi
}

# event TIME VERB NAME [JQ]: prints an event about a pod in the namespace `shop`, as the API server writes it, changed by a jq program.
event() {
  jq -nc --arg time "2026-11-20T${1}.000000Z" --arg verb "$2" --arg name "$3" '{
    kind: "Event", apiVersion: "audit.k8s.io/v1", level: "Metadata", auditID: "\($time) \($name)", stage: "ResponseComplete",
    requestURI: "/api/v1/namespaces/shop/pods", verb: $verb, user: {username: "jane"},
    objectRef: {resource: "pods", namespace: "shop", name: $name, apiVersion: "v1"}, responseStatus: {metadata: {}, code: 200},
    requestReceivedTimestamp: $time, stageTimestamp: $time, annotations: {}} | '"${4:-.}"
}

# admitted TIME NAME DIGEST BUILT [JQ]: prints the event of a pod that the policy accepted.
admitted() {
  local image
  image="$(jq -nc --arg digest "$3" --arg built "$4" '[{image: "registry.example.com/web:1", sites: ["container `app`"], digest: $digest, built: $built}]')"
  event "$1" create "$2" "$(jq -nr --arg image "$image" '"
    .responseStatus.code = 201 | (\"clusterwide-container-patch-enforce.kubewarden.admission/\") as $webhook
    | .annotations[$webhook + \"verdict\"] = \"accepted\" | .annotations[$webhook + \"images\"] = \($image | tojson)"') | ${5:-.}"
}

# refused TIME NAME: prints the event of a pod that the policy refused.
refused() {
  event "$1" create "$2" '.responseStatus.code = 462
    | .annotations["clusterwide-container-patch-enforce.kubewarden.admission/verdict"] = "denied"
    | .annotations["clusterwide-container-patch-enforce.kubewarden.admission/findings"] = ([{code: "stale-image", effect: "deny",
        site: "container `app`", image: "registry.example.com/web:1", text: "was built 100 days ago"}] | tojson)'
}

# follow ARGUMENT…: starts the command, and waits until it serves its metrics. Its outputs are in the files `out` and `err`.
follow() {
  local attempt wait
  for attempt in 1 2 3 4 5; do
    ADDRESS="127.0.0.1:$(shuf -i 20000-60000 -n 1)"
    # bats waits until its file descriptor 3 is closed.
    "$CONTAINER_PATCH" history --follow --metrics-address "$ADDRESS" "$@" > out 2> err 3>&- &
    PID=$!
    for wait in $(seq 1 300); do
      if curl -s -o answer "http://$ADDRESS/healthz"; then
        return 0
      fi
      kill -0 "$PID" 2> answer || break
      sleep 0.1
    done
  done
  cat err
  return 1
}

# sample NAME: prints the value of a sample.
sample() {
  curl -sf "http://$ADDRESS/metrics" > metrics
  awk -v name="container_patch_history_$1" '$1 == name { print $2 }' metrics
}

# eventually VALUE NAME: waits until a sample has this value.
eventually() {
  local wait
  for wait in $(seq 1 300); do
    [ "$(sample "$2")" != "$1" ] || return 0
    sleep 0.1
  done
  echo "expected $2 $1, found:"
  cat metrics err
  return 1
}

REFUSED='requests_total{namespace="shop",outcome="denied"}'
ADMITTED='requests_total{namespace="shop",outcome="admitted"}'

@test "appended requests are counted, and nothing is printed" {
  admitted 12:00:00 web-1 "$OLD" 2026-11-10T12:00:00Z > audit.log
  refused 12:00:01 web-2 >> audit.log
  follow audit.log
  [ "$(sample "$ADMITTED")" = 1 ]
  [ "$(sample "$REFUSED")" = 1 ]
  [ "$(sample 'findings_total{namespace="shop",code="stale-image",effect="deny",passed=""}')" = 1 ]
  [ "$(sample 'admitted_image_age_seconds_sum{namespace="shop"}')" = 864000.0 ]
  refused 12:00:02 web-3 >> audit.log
  eventually 2 "$REFUSED"
  [ "$(sample last_decision_timestamp_seconds)" = 1795176002.0 ]
  # Any event shows that the log still arrives.
  event 12:00:03 get web-1 >> audit.log
  eventually 1795176003.0 last_event_timestamp_seconds
  [ "$(sample last_decision_timestamp_seconds)" = 1795176002.0 ]
  kill -TERM "$PID"
  wait "$PID"
  PID=
  [ ! -s out ]
  [ ! -s err ]
}

@test "no event is lost when a log is rotated" {
  refused 12:00:00 web-0 > audit.log
  follow audit.log
  for round in 1 2 3; do
    refused "12:0$round:01" web-1 >> audit.log
    mv audit.log "audit-$round.log"
    refused "12:0$round:02" web-2 >> "audit-$round.log"
    refused "12:0$round:03" web-3 > audit.log
    eventually $((1 + 3 * round)) "$REFUSED"
  done
  [ ! -s err ]
}

@test "a log that is copied and truncated is followed" {
  { refused 12:00:00 web-0; refused 12:00:01 web-1; } > audit.log
  follow audit.log
  [ "$(sample "$REFUSED")" = 2 ]
  # As logrotate does with copytruncate.
  cp audit.log audit-1.log
  truncate --size 0 audit.log
  refused 12:00:02 web-2 >> audit.log
  eventually 3 "$REFUSED"
  # It is longer than before when it is read the next time.
  cp audit.log audit-2.log
  { refused 12:00:03 web-3; refused 12:00:04 web-4; } > audit.log
  eventually 5 "$REFUSED"
  [ ! -s err ]
}

@test "a log need not exist yet, and a torn event is counted when its rest comes" {
  follow audit.log
  assert_contains "$(cat err)" "Warning: audit.log does not exist yet; waiting for it"
  refused 12:00:00 web-0 > whole
  { refused 12:00:01 web-1; head -c 300 whole; } > audit.log
  eventually 1 "$REFUSED"
  [ "$(sample 'skipped_lines_total{reason="torn"}')" = 0 ]
  tail -c +301 whole >> audit.log
  eventually 2 "$REFUSED"
  [ "$(sample 'skipped_lines_total{reason="torn"}')" = 0 ]
}

@test "a patch is timed from the first new pod to the end of the last old one" {
  {
    admitted 12:00:00 web-1 "$OLD" 2026-09-01T00:00:00Z
    admitted 12:00:00 web-2 "$OLD" 2026-09-01T00:00:00Z
    admitted 12:10:00 web-3 "$NEW" 2026-11-19T00:00:00Z
    event 12:12:00 delete web-1
  } > audit.log
  follow audit.log
  start='unfinished_patch_start_timestamp_seconds{repository="registry.example.com/web"}'
  [ "$(sample "$start")" = 1795176600.0 ]
  event 12:50:00 delete web-2 >> audit.log
  eventually 1 'time_to_patch_seconds_count{repository="registry.example.com/web"}'
  [ "$(sample 'time_to_patch_seconds_sum{repository="registry.example.com/web"}')" = 2400.0 ]
  [ "$(sample "$start")" = "" ]
}

@test "entries are printed as they come, also from standard input" {
  mkfifo pipe
  "$CONTAINER_PATCH" history --follow --output json --only denied - < pipe > out 2> err 3>&- &
  PID=$!
  exec 4> pipe
  { refused 12:00:00 web-1; admitted 12:00:01 web-2 "$OLD" 2026-11-10T12:00:00Z; } >&4
  for wait in $(seq 1 300); do
    [ ! -s out ] || break
    sleep 0.1
  done
  [ "$(jq -r .name out)" = web-1 ]
  refused 12:00:02 web-3 >&4
  exec 4>&-
  # It ends with its input.
  wait "$PID"
  PID=
  [ "$(jq -r .name out | paste -sd' ')" = "web-1 web-3" ]
  [ ! -s err ]
}

@test "the entries are those of the command without --follow, also of compressed logs" {
  { admitted 12:00:00 web-1 "$OLD" 2026-11-10T12:00:00Z; refused 12:00:03 web-2; } | gzip > audit-1.log.gz
  { refused 12:00:01 web-3; event 12:00:02 delete web-1; echo garbage; refused 12:00:04 web-4; } > other.log
  "$CONTAINER_PATCH" history --output json audit-1.log.gz other.log 2> err | jq -c '.entries[]' > expected
  [ "$(jq -r .name expected | paste -sd' ')" = "web-1 web-3 web-2 web-4" ]
  "$CONTAINER_PATCH" history --follow --output json audit-1.log.gz - < other.log 2> err | jq -c . > found
  # Standard input can come later than the file.
  diff <(sort expected) <(sort found)
}

@test "Prometheus can read the metrics in both formats" {
  { refused 12:00:00 web-0; admitted 12:00:01 web-2 "$OLD" 2026-11-10T12:00:00Z; echo garbage; } > audit.log
  follow audit.log
  assert_contains "$(cat err)" "Warning: skipped 1 line without JSON, at audit.log:3"
  [ "$(sample 'skipped_lines_total{reason="garbage"}')" = 1 ]
  curl -sf -H 'Accept: application/openmetrics-text; version=1.0.0' -D headers "http://$ADDRESS/metrics" > openmetrics
  assert_contains "$(cat headers)" "application/openmetrics-text; version=1.0.0"
  [ "$(tail -n 1 openmetrics)" = "# EOF" ]
  if ! command -v promtool > answer; then
    skip "promtool is not on the PATH"
  fi
  promtool check metrics < metrics
}

@test "what cannot be followed is an error" {
  run "$CONTAINER_PATCH" history --follow .
  [ "$status" -eq 2 ]
  assert_contains "$output" "cannot read .: it is a folder"
  run "$CONTAINER_PATCH" history --metrics-address 127.0.0.1:9465 audit.log
  [ "$status" -eq 2 ]
  assert_contains "$output" "--follow"
  run "$CONTAINER_PATCH" history --follow --output html audit.log
  [ "$status" -eq 2 ]
  assert_contains "$output" "--follow"
  run "$CONTAINER_PATCH" history --follow - <<< garbage
  [ "$status" -eq 2 ]
  assert_contains "$output" "this is not an audit log"
}
