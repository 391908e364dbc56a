#!/usr/bin/env bats
# container-patch history: audit logs as files, compressed, rotated, of several servers, and damaged.

load helpers

OLD="sha256:$(printf '1%.0s' {1..64})"
NEW="sha256:$(printf '2%.0s' {1..64})"
WEBHOOK=clusterwide-container-patch-enforce.kubewarden.admission

setup() {
  cd "$BATS_TEST_TMPDIR"
}

# history ARGUMENT…: runs the command.
history() {
  run --separate-stderr "$CONTAINER_PATCH" history "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# event TIME VERB RESOURCE NAME CODE [USER] [DIGEST] [VERDICT] [JQ]: prints an event of 2026-11 as the API server writes it, changed by a
# jq program. DIGEST is that of the image; without it, no policy judged the request.
event() {
  jq -nc --arg time "2026-11-$1:00.000000Z" --arg verb "$2" --arg resource "$3" --arg name "$4" --argjson code "$5" --arg user "${6:-jane}" \
    --arg digest "${7:-}" --arg verdict "${8:-accepted}" --arg webhook "$WEBHOOK" '
    {kind: "Event", apiVersion: "audit.k8s.io/v1", level: "Metadata", auditID: "6a7b6f2c", stage: "ResponseComplete",
      requestURI: "/apis/namespaces/shop/\($resource)", $verb, user: {username: $user, groups: ["dev"]}, sourceIPs: ["10.0.0.7"],
      objectRef: {$resource, namespace: "shop", $name, apiGroup: (if $resource == "pods" then "" else "apps" end), apiVersion: "v1"},
      responseStatus: {metadata: {}, $code}, requestReceivedTimestamp: $time, stageTimestamp: $time,
      annotations: ({"authorization.k8s.io/decision": "allow"} + if $digest == "" then {} else {
        "\($webhook)/verdict": $verdict,
        "\($webhook)/images": [{image: "registry.example.com/web:1", sites: ["container `web`"], $digest, built: "2026-10-01T00:00:00Z"}] | tojson
      } end)} | '"${9:-.}"
}

# names: prints the names of the objects in the JSON output.
names() { jq -r '[.entries[].name] | join(" ")' <<< "$output"; }

@test "rotated and compressed files of two API servers are one history" {
  { event 02T08:00 create deployments b 201 jane "$OLD"; event 02T12:00 get configmaps c 200; } > a-2026-11-02.log
  event 01T08:00 create deployments a 201 jane "$OLD" | gzip > a-2026-11-01.log.gz
  { event 02T09:00 create deployments c 201 jane "$OLD"; event 03T09:00 create deployments e 201 jane "$OLD"; } > b.log
  event 03T08:00 create deployments d 201 jane "$OLD" > a.log
  for files in "a.log a-2026-11-01.log.gz a-2026-11-02.log b.log" "b.log a-2026-11-02.log a-2026-11-01.log.gz a.log a.log"; do
    # shellcheck disable=SC2086 # Words are files.
    history --output json $files
    [ "$status" -eq 0 ]
    [ "$stderr" = "" ]
    [ "$(names)" = "a b c d e" ]
  done
  # Standard input, also compressed, together with files.
  run --separate-stderr bash -c '"$1" history --output json - b.log a.log a-2026-11-02.log < a-2026-11-01.log.gz' bash "$CONTAINER_PATCH"
  [ "$(names)" = "a b c d e" ]
}

@test "an event that is in several files counts once" {
  {
    event 01T08:00 create pods a 201 jane "$OLD" accepted '.auditID = "1"'
    event 01T08:01 create pods b 201 jane "$OLD" accepted '.auditID = "2"'
    event 02T08:00 delete pods a 200 jane "" "" '.auditID = "3"'
  } > audit.log
  gzip < audit.log > shipped.gz
  # A client can choose the ID, and must not hide a request by it.
  { tail -n 2 audit.log | jq -c '. + {pipeline: "x"}'; event 02T08:00 create pods c 201 joe "$OLD" accepted '.auditID = "2"'; } > export.log
  history --output json audit.log shipped.gz export.log
  [ "$(names)" = "a b c" ]
  [ "$(jq .summary.duplicateEvents <<< "$output")" -eq 5 ]
  history export.log audit.log shipped.gz
  [ "${lines[-1]}" = "left out: 5 copies of events; each event counts once" ]
}

@test "the outcome is the answer of the API server, and dry runs do not count" {
  {
    event 01T08:00 create deployments admitted 201 jane "$OLD"
    event 01T08:01 create deployments monitored 201 jane "$OLD" denied
    event 01T08:02 create deployments denied 462 jane "$OLD" denied
    event 01T08:03 create deployments rejected 403 jane "$OLD"
    event 01T08:04 create deployments dry-run 201 jane "$OLD" accepted '.requestURI += "?dryRun=All"'
    event 01T08:05 create deployments other-policy 201 jane "$OLD" allow
    event 01T08:06 create deployments started 201 jane "$OLD" accepted '.stage = "RequestReceived"'
    event 01T08:07 patch deployments for-joe 200 jane "$OLD" warned '.impersonatedUser = {username: "joe"}'
  } > audit.log
  history --output json audit.log
  [ "$status" -eq 0 ]
  [ "$(jq -r '.entries[] | "\(.name) \(.outcome) \(.user) \(.impersonatedBy)"' <<< "$output")" = "admitted admitted jane null
monitored monitored jane null
denied denied jane null
rejected rejected jane null
for-joe warned joe jane" ]
}

@test "requests that only an AdmissionPolicy judged count only with a flag" {
  event 01T08:00 create pods a 201 jane "$OLD" > audit.log
  WEBHOOK=namespaced-shop-mine.kubewarden.admission event 01T09:00 create pods b 201 joe "$NEW" >> audit.log
  history --output json audit.log
  [ "$(names)" = a ]
  assert_contains "$stderr" "left out 1 request that only AdmissionPolicies judged"
  history --output json --namespaced-policies audit.log
  [ "$(names)" = "a b" ]
  [ "$stderr" = "" ]
}

@test "filters select requests, and the period can be relative" {
  {
    event 01T08:00 create deployments a 201 jane "$OLD" denied
    event 02T08:00 create deployments b 462 joe "$OLD" denied
    event 03T08:00 create deployments c 201 otto "$NEW" warned ".annotations[\"$WEBHOOK/breakGlass\"] = ({reason: \"INC-7\", by: \"group oncall\"} | tojson)
      | .annotations[\"$WEBHOOK/findings\"] = ([{code: \"stale-image\", effect: \"warn\", passed: \"breakGlass\", image: \"registry.example.com/web:1\", text: \"is old\"}] | tojson)"
    event 03T09:00 create deployments d 201 jane "$NEW" warned ".objectRef.namespace = \"staging\"
      | .annotations[\"$WEBHOOK/findings\"] = ([{code: \"excepted\", effect: \"warn\", image: \"registry.example.com/web:1\", text: \"is excepted\"}] | tojson)"
  } > audit.log
  while read -r expected flags; do
    # shellcheck disable=SC2086 # Words are flags.
    history --output json $flags audit.log
    [ "$status" -eq 0 ]
    [ "$(names)" = "${expected//,/ }" ]
  done << END
a,b,c,d
b --only denied
b,c --only denied --only break-glass
d --only excepted
a --only monitored
c,d --only passed --only excepted
d --code excepted
c --code stale-image --code patch-due
c,d --image *@$NEW
d --namespace staging
b,c --user joe --user otto
c --workload Deployment/c
b,c,d --since 2026-11-02
b --since 2026-11-02 --until 2026-11-02
a,b,c,d --since 3650d
END
  history --output json --since 1s audit.log
  [ "$(names)" = "" ]
  history --since 1s audit.log
  [ "${lines[0]}" = "No requests match. The log has 4, from 2026-11-01T08:00:00Z to 2026-11-03T09:00:00Z." ]
  [[ "${lines[1]}" == "Only: since 2"*"Z." ]]
  history --output json --only denied --user joe audit.log
  [ "$(jq -c .summary.filters <<< "$output")" = '{"only":["denied"],"user":["joe"]}' ]
  history --since 2026-11-03 --until 2026-11-02 audit.log
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: --until 2026-11-02T23:59:59Z is before --since 2026-11-03T00:00:00Z"
  { event 01T08:00 create deployments a 201; event 01T08:01 get configmaps b 200; } > other.log
  history other.log
  [ "$status" -eq 0 ]
  [ "$output" = "No requests." ]
  assert_contains "$stderr" "Warning: none of the 2 events has annotations of the policies: expected requests that the policies judge"
  history --code stale-imag audit.log
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "did you mean \`stale-image\`?"
  history --since soon audit.log
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "or a duration before now such as \`7d\`"
}

@test "the time to patch lasts until the last old pod is deleted" {
  {
    event 01T08:00 create pods web-a 201 system:serviceaccount:kube-system:replicaset-controller "$OLD"
    event 01T08:00 create pods web-b 201 system:serviceaccount:kube-system:replicaset-controller "$OLD"
    event 02T08:00 patch deployments web 200 jane "$NEW"
    event 02T08:01 create pods web-c 201 system:serviceaccount:kube-system:replicaset-controller "$NEW"
    event 02T08:02 delete pods web-a 200 system:node:a
  } > audit.log
  history --output json audit.log
  [ "$(jq -c '.timeToPatch.unfinished' <<< "$output")" = \
    "[{\"digest\":\"$NEW\",\"oldPods\":1,\"repository\":\"registry.example.com/web\",\"start\":\"2026-11-02T08:00:00Z\"}]" ]
  event 03T09:00 delete pods web-b 200 system:node:a >> audit.log
  history audit.log
  [ "$(tail -n 1 <<< "$output" | xargs)" = "registry.example.com/web 1 1d 1h 1d 1h 1d 1h 0" ]
}

@test "lines that are not events are skipped and counted, each once" {
  {
    event 01T08:00 create deployments a 201 jane "$OLD"
    echo 'I1101 08:00:00 a line of another log'
    echo '{"kind":"Pod","apiVersion":"v1"}'
    echo
    # A crash has cut an event, and the next one follows in the same line.
    event 01T08:01 create deployments torn 201 jane "$OLD" | head -c 200
    event 01T08:02 create deployments behind 201 jane "$OLD"
    echo garbage
    head -c 17000000 /dev/zero | tr '\0' x
    echo
    event 01T08:03 create deployments b 201 jane "$OLD"
    event 01T08:04 create deployments last 201 jane "$OLD" | head -c 200
  } > audit.log
  history --output json audit.log
  [ "$status" -eq 0 ]
  [ "$(names)" = "a b" ]
  [ "$(jq -c .summary.skippedLines <<< "$output")" = '{"foreign":1,"garbage":2,"tooLong":1,"torn":2}' ]
  [ "$stderr" = "Warning: skipped 2 lines with an incomplete event, the first at audit.log:5
Warning: skipped 1 line with JSON that is not an event, at audit.log:3
Warning: skipped 2 lines without JSON, the first at audit.log:2
Warning: skipped 1 line of more than 16 MiB, at audit.log:7" ]
}

@test "a compressed file without its end is read up to there" {
  for minute in {10..59}; do event "01T08:$minute" create deployments "d-$minute" 201 jane "$OLD"; done | gzip > whole.gz
  head -c "$(($(stat --format %s whole.gz) / 2))" whole.gz > audit.gz
  history --output json audit.gz
  [ "$status" -eq 0 ]
  [[ "$(names)" == "d-10 d-11 "* ]]
  [ "$(jq .summary.skippedLines.torn <<< "$output")" -eq 1 ]
  assert_contains "$stderr" "cannot decompress audit.gz"
}

@test "a file that is not an audit log is an error that says what is expected" {
  echo '{"kind":"Pod","apiVersion":"v1"}' > pod.json
  : > empty.log
  printf '\x28\xb5\x2f\xfd\x04' > audit.zst
  history --output json pod.json
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  assert_contains "$stderr" "Error: pod.json: this is not an audit log: expected events of the API server"
  history empty.log
  [ "$status" -eq 2 ]
  [ "$stderr" = "Error: empty.log: empty; expected at least one event" ]
  event 01T08:00 create deployments a 201 jane "$OLD" > audit.log
  history audit.log empty.log
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
  history audit.log audit.zst
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "audit.zst: it is compressed with zstd; history reads gzip"
  history missing.log
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot open missing.log"
  history .
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "is a folder"
}

@test "the log of the Swarm plugin has a history" {
  cat > swarm.log << END
{"time":"2026-11-01T07:59:00.000Z","level":"info","event":"started","version":"0.1.0"}
{"time":"2026-11-01T08:00:00.000Z","level":"info","event":"decision","allowed":true,"user":"jane","authentication":"TLS","method":"POST","path":"/v1.47/services/create","operation":"CREATE","object":{"kind":"Service","name":"web"},"annotations":{"verdict":"accepted","images":[{"image":"registry.example.com/web:1","sites":["container \`web\`"],"digest":"$OLD"}]},"seconds":0.002}
{"time":"2026-11-02T08:00:00.000Z","level":"warning","event":"decision","allowed":false,"user":null,"authentication":"","method":"POST","path":"/v1.47/services/web/update","operation":"UPDATE","object":{"kind":"Service","name":"web","id":"web"},"annotations":{"verdict":"denied","findings":[{"code":"stale-image","effect":"deny","site":"container \`web\`","image":"registry.example.com/web:1","text":"is old"}],"images":[{"image":"registry.example.com/web:1","sites":["container \`web\`"]}]},"seconds":0.002}
END
  event 01T09:00 create deployments web 201 joe "$OLD" > audit.log
  history --output json audit.log swarm.log
  [ "$status" -eq 0 ]
  [ "$(jq -r '.entries[] | "\(.platform) \(.outcome) \(.user) \(.workload)"' <<< "$output")" = "docker admitted jane Service/web
cluster admitted joe Deployment/web
docker denied null Service/web" ]
}

@test "each output has the request, and text of requesters is escaped" {
  event 01T08:00 create deployments web 201 $'=1+1\e[31m' "$OLD" warned ".annotations[\"$WEBHOOK/findings\"] =
    ([{code: \"stale-image\", effect: \"warn\", passed: \"breakGlass\", text: \"is old\n::error::x\"}] | tojson)" > audit.log
  history audit.log
  [ "${lines[0]}" = '2026-11-01T08:00:00Z  warned    =1+1\u{1b}[31m creates Deployment shop/web' ]
  [ "${lines[1]}" = '  registry.example.com/web:1@sha256:111111111111…, built 2026-10-01 (31 days old)' ]
  [ "${lines[2]}" = '    warn [stale-image] passed by breakGlass: is old\n::error::x' ]
  history --output csv audit.log
  [[ "${lines[0]}" == "time,outcome,status,operation,platform,kind,namespace,name,"* ]]
  assert_contains "${lines[1]}" "2026-11-01T08:00:00Z,warned,201,CREATE,cluster,Deployment,shop,web,,Deployment/web,'=1+1\\u{1b}[31m,,"
  history --output json audit.log
  [ "$(jq -c '.entries[0] | [.user, .image, .ageDays]' <<< "$output")" = "[\"=1+1\u001b[31m\",\"registry.example.com/web:1@$OLD\",31]" ]
  # A reader that stops early is not an error.
  for number in {1..2000}; do sed "s/\"auditID\":\"/&$number-/" audit.log; done > long.log
  run --separate-stderr bash -c 'set -o pipefail; "$1" history long.log | head -n 1' bash "$CONTAINER_PATCH"
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
}
