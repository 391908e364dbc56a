#!/usr/bin/env bats
# The CronJobs in deploy/report/. e2e-tests/cluster/report.bats tests the permissions in a real control plane.

load helpers
load ../hack/registry

setup_file() {
  start_registry "$BATS_FILE_TMPDIR"
  export REGISTRY REGISTRY_PID
}

teardown_file() { stop_registry; }

# script FILE: prints the script of the container `report`, for a folder of the test instead of /report.
script() {
  awk '/^ *- \|$/ { match($0, /^ */); indent = RLENGTH + 2; is_script = 1; next }
    is_script && substr($0, 1, indent) !~ /^ *$/ { exit }
    is_script { print substr($0, indent + 1) }' "$ROOT/deploy/report/$1" | sed "s#/report/#$BATS_TEST_TMPDIR/report/#g"
}

# make_report FILE STATUS TEXT: runs the script with a container-patch whose report is this text and ends with this exit code.
make_report() {
  mkdir -p "$BATS_TEST_TMPDIR/report" "$BATS_TEST_TMPDIR/bin"
  printf '%s' "$3" > "$BATS_TEST_TMPDIR/text"
  cat > "$BATS_TEST_TMPDIR/bin/container-patch" <<EOF
#!/bin/sh
if [ "\$1" = schedule ]; then printf 'container_patch_schedule_max_age_seconds 1\n# EOF\n'; exit; fi
cat "$BATS_TEST_TMPDIR/text"
exit $2
EOF
  chmod +x "$BATS_TEST_TMPDIR/bin/container-patch"
  PATH="$BATS_TEST_TMPDIR/bin:$PATH" run sh -c "$(script "$1")"
}

COMPLETE=$'container_patch_image_pods{repository="a"} 1\n# EOF\n'
DELIVERED=$'container_patch_schedule_max_age_seconds 1\n'"$COMPLETE"

@test "the policy accepts the CronJobs, with images of a listed registry" {
  local file
  push_image tools/container-patch 0.1.0 "$(date -u -d '3 days ago' +%FT%TZ)" > /dev/null
  push_image tools/curl 8 "$(date -u -d '3 days ago' +%FT%TZ)" > /dev/null
  mkdir "$BATS_TEST_TMPDIR/deploy"
  for file in "$ROOT"/deploy/report/*.yaml; do sed "s#registry.example.com#$REGISTRY#" "$file" > "$BATS_TEST_TMPDIR/deploy/${file##*/}"; done
  sed "s#registries:\$#&\n      - $REGISTRY#" "$ROOT/deploy/enforce.yaml" > "$BATS_TEST_TMPDIR/enforce.yaml"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/deploy" --settings-path "$BATS_TEST_TMPDIR/enforce.yaml" \
    --insecure-registry "$REGISTRY" --output json
  echo "$output $stderr"
  [ "$status" -eq 0 ]
  [ "$(grep -o '"verdict": *"accepted"' <<< "$output" | wc -l)" -eq 2 ]
}

@test "a report is delivered with the exit codes 0, 1 and 2" {
  local file status_of_report
  for file in pushgateway.yaml textfile.yaml; do
    for status_of_report in 0 1 2; do
      rm -rf "$BATS_TEST_TMPDIR/report"
      make_report "$file" "$status_of_report" "$COMPLETE"
      echo "$file, exit code $status_of_report: $status $output"
      [ "$status" -eq 0 ]
      diff <(printf '%s' "$DELIVERED") "$BATS_TEST_TMPDIR"/report/*.prom
    done
  done
}

@test "without a complete report the Job fails, and the last report stays" {
  local file text
  for file in pushgateway.yaml textfile.yaml; do
    # Nothing, a report that was cut off, and one without images.
    for text in '' $'container_patch_image_pods{repository="a"} 1\n' $'container_patch_images{verdict="denied"} 0\n# EOF\n'; do
      make_report "$file" 2 "$text"
      echo "$file: $status $output"
      [ "$status" -ne 0 ]
    done
  done
  make_report textfile.yaml 1 "$COMPLETE"
  make_report textfile.yaml 2 ''
  [ "$status" -ne 0 ]
  diff <(printf '%s' "$DELIVERED") "$BATS_TEST_TMPDIR/report/container-patch.prom"
}

@test "the text format of Prometheus, for the Pushgateway and the textfile collector, includes a report" {
  "$CONTAINER_PATCH" schedule --settings-path "$ROOT/deploy/enforce.yaml" --output openmetrics > "$BATS_TEST_TMPDIR/report.prom"
  "$CONTAINER_PATCH" report "$ROOT/examples/shop.yaml" --settings-path "$ROOT/examples/recorded/settings.yaml" \
    --replay-host-capabilities-interactions "$ROOT/examples/recorded/session.yaml" --output openmetrics >> "$BATS_TEST_TMPDIR/report.prom" || [ $? -eq 1 ]
  # promtool reads it with the parser of these programs.
  run promtool check metrics < "$BATS_TEST_TMPDIR/report.prom"
  echo "$output"
  [ "$status" -eq 0 ]
  [ "$output" = "" ]
}

@test "the containers run with few privileges, and only the report has a token" {
  local file containers
  for file in "$ROOT"/deploy/report/{pushgateway,textfile}.yaml; do
    grep -q 'runAsNonRoot: true' "$file"
    grep -q 'seccompProfile: {type: RuntimeDefault}' "$file"
    grep -q '^          automountServiceAccountToken: false' "$file"
    # A container has these lines itself, or refers to those of another one.
    containers="$(grep -c '^              image: ' "$file")"
    [ "$(grep -cE '^              securityContext: ?(&restricted|\*restricted)?$' "$file")" -eq "$containers" ]
    [ "$(grep -c 'allowPrivilegeEscalation: false' "$file")" -eq 1 ]
    [ "$(grep -c 'readOnlyRootFilesystem: true' "$file")" -eq 1 ]
    [ "$(grep -c 'capabilities: {drop: \[ALL\]}' "$file")" -eq 1 ]
    [ "$(grep -c 'mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true' "$file")" -eq 1 ]
  done
  # The permissions only list.
  [ "$(sed -n 's/^ *verbs: //p' "$ROOT/deploy/report/rbac.yaml" | sort -u)" = "[list]" ]
}
