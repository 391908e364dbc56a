#!/usr/bin/env bats
# container-patch soak: the record of what runs in staging, from a simulated API server, and the files in deploy/soak/.
# e2e-tests/cluster/soak.bats tests them in a real control plane.

load helpers
load ../hack/registry

setup() {
  cd "$BATS_TEST_TMPDIR"
  mkdir cluster
  echo '[]' > cluster/pods.json
  "$ROOT/e2e-tests/api-server" cluster > api-server.log 2>&1 3>&- &
  API_SERVER=$!
  local tries=0
  until [ -e cluster/kubeconfig ]; do
    [ "$((tries += 1))" -lt 100 ]
    sleep 0.1
  done
}

teardown() {
  kill "$API_SERVER"
  [ -z "${REGISTRY_PID:-}" ] || stop_registry
}

# digest NUMBER: prints a digest.
digest() { printf 'sha256:%064x' "$1"; }

# pod NAME DIGEST SINCE [JQ]: prints a pod of the namespace staging that has been ready since this time of November 2026, changed by a jq
# program.
pod() {
  jq -nc --arg name "$1" --arg digest "$2" --arg since "2026-11-$3:00Z" '{
      metadata: {name: $name, namespace: "staging", creationTimestamp: $since, labels: {app: "web"}},
      spec: {containers: [{name: "app", image: "registry.example.com/web:1"}]},
      status: {phase: "Running", conditions: [{type: "Ready", status: "True", lastTransitionTime: $since}],
        containerStatuses: [{name: "app", imageID: "registry.example.com/web@\($digest)", ready: true, restartCount: 0,
          state: {running: {startedAt: $since}}}]}
    } | '"${4:-.}"
}

# crashes: a jq program for a pod whose container restarts again and again.
CRASHES='.status.containerStatuses[0] |= (.restartCount = 7 | .ready = false | .state = {waiting: {reason: "CrashLoopBackOff"}})'

# runs POD…: sets the pods of the cluster.
runs() { printf '%s\n' "$@" | jq -sc . > cluster/pods.json; }

# soak TIME FLAG…: runs the command for the namespace staging, as of this time of November 2026.
soak() {
  local at="2026-11-$1:00Z"
  shift
  local namespaces=(--namespace staging)
  [[ "$*" != *--all-namespaces* && "$*" != *--namespace* ]] || namespaces=()
  run --separate-stderr "$CONTAINER_PATCH" soak "${namespaces[@]}" --at "$at" --kubeconfig cluster/kubeconfig "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

RECORD=cluster/container-patch.soaked-images.json

# entry DIGEST: prints the entry of a digest in the record of the cluster.
entry() { jq -r --arg key "${1/:/-}" '.data[$key] // "none"' "$RECORD"; }

@test "the record is printed as a ConfigMap for Git" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00
  [ "$status" -eq 0 ]
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 1 new" ]
  diff - <(printf '%s\n' "$output") <<EOF
# Written by container-patch soak. Production admits the images in this record, so review each change to it.
apiVersion: v1
kind: ConfigMap
metadata:
  name: soaked-images
  namespace: container-patch
  annotations:
    container-patch.dev/recorded-at: 2026-11-20T12:00:00Z
data:
  $(digest 1 | tr : -): '{"since":"2026-11-19T08:00:00Z","where":"staging/web"}'
EOF
  # Nothing is written.
  [ ! -e "$RECORD" ]
  ! grep -v '^GET ' cluster/requests
}

@test "the record in Git grows with each run" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00 --merge soaked.yaml
  [ "$status" -eq 0 ]
  printf '%s\n' "$output" > soaked.yaml
  # A new build replaces the first one.
  runs "$(pod web-2 "$(digest 2)" 20T12:05)"
  soak 20T12:10 --merge soaked.yaml
  [ "$stderr" = "2 digests: 1 running, 1 stopped; 1 new" ]
  assert_contains "$output" "$(digest 1 | tr : -): '{\"since\":\"2026-11-19T08:00:00Z\",\"until\":\"2026-11-20T12:00:00Z\",\"where\":\"staging/web\"}'"
  assert_contains "$output" "$(digest 2 | tr : -): '{\"since\":\"2026-11-20T12:05:00Z\",\"where\":\"staging/web-2\"}'"
  # The cluster is asked for nothing but pods.
  [ "$(grep -c configmaps cluster/requests)" -eq 0 ]
  printf '%s\n' "$output" > soaked.yaml
  soak 30T12:10 --merge soaked.yaml --keep 7d
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 0 new" ]
}

@test "the record in the cluster is created, and then merged" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00 --apply
  [ "$status" -eq 0 ]
  [ "$output" = "" ]
  [ "$(entry "$(digest 1)")" = '{"since":"2026-11-19T08:00:00Z","where":"staging/web"}' ]
  # The pod is drained, and runs on another node.
  runs "$(pod web-2 "$(digest 1)" 20T12:05)"
  soak 20T12:10 --apply
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 0 new" ]
  [ "$(entry "$(digest 1)")" = '{"since":"2026-11-19T08:00:00Z","where":"staging/web"}' ]
  grep -q '^PATCH /api/v1/namespaces/container-patch/configmaps/soaked-images fieldManager=container-patch-soak force=true$' cluster/requests
  # What is printed without --merge has the record of the cluster, too.
  runs
  soak 20T12:20
  assert_contains "$stderr" "Warning: the namespace staging has no pods"
  assert_contains "$output" '"until":"2026-11-20T12:10:00Z"'
}

@test "a build that crashes loses its soak time" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00 --apply
  runs "$(pod web "$(digest 1)" 19T08:00 "$CRASHES")"
  soak 20T12:10 --apply
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Warning: $(digest 1) does not count as soaked: container \`app\` of the pod staging/web is in CrashLoopBackOff, restarted 7 times"
  assert_contains "$stderr" "0 digests: 0 running, 0 stopped; 0 new"
  [ "$(entry "$(digest 1)")" = none ]
}

@test "staging without pods does not end the soak time of all digests" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00 --apply
  runs
  soak 20T12:10 --apply
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: staging has no pods, but 1 digest of the record is running; nothing was written; if staging was emptied on purpose, give --allow-empty"
  [ "$(entry "$(digest 1)")" = '{"since":"2026-11-19T08:00:00Z","where":"staging/web"}' ]
  soak 20T12:10 --apply --allow-empty
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "1 digest: 0 running, 1 stopped; 0 new"
  # The record has nothing more that could be lost.
  soak 20T12:20 --apply
  [ "$status" -eq 0 ]
}

@test "the summary names pods with containers that are not ready yet" {
  local starts='.status.containerStatuses[0].ready = false'
  runs "$(pod a "$(digest 1)" 19T08:00)" "$(pod web-84f8 "$(digest 2)" 20T11:59 "$starts")"
  soak 20T12:00
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 1 new; 1 container is not ready yet: staging/web-84f8" ]
  # One that is pulled has no digest yet.
  runs "$(pod a "$(digest 1)" 20T11:59 "$starts")" "$(pod b "$(digest 2)" 20T11:59 "$starts")" "$(pod c "$(digest 2)" 20T11:59 "$starts")" \
    "$(pod d "$(digest 2)" 20T11:59 "$starts | .status.containerStatuses[0].imageID = \"\"")"
  soak 20T12:00
  [ "$stderr" = "0 digests: 0 running, 0 stopped; 0 new; 4 containers are not ready yet: staging/a, staging/b, staging/c, …" ]
}

@test "restarts can be allowed" {
  runs "$(pod web "$(digest 1)" 19T08:00 '.status.containerStatuses[0].restartCount = 2')"
  soak 20T12:00 --max-restarts 1
  [[ "$output" != *sha256-* ]]
  soak 20T12:00 --max-restarts 2
  assert_contains "$output" "$(digest 1 | tr : -)"
}

@test "only the given namespaces and labels count" {
  runs "$(pod a "$(digest 1)" 19T08:00)" "$(pod b "$(digest 2)" 19T08:00 '.metadata.namespace = "qa"')" \
    "$(pod c "$(digest 3)" 19T08:00 '.metadata.namespace = "production"')" "$(pod d "$(digest 4)" 19T08:00 '.metadata.labels.app = "shell"')"
  soak 20T12:00 --namespace staging --namespace qa
  [ "$(grep -o '^  sha256-[0-9a-f]*' <<< "$output" | tr -d ' ' | cut -c 71 | paste -sd,)" = 1,2,4 ]
  soak 20T12:00 --selector app=web
  [ "$(grep -o '^  sha256-[0-9a-f]*' <<< "$output" | tr -d ' ' | cut -c 71 | paste -sd,)" = 1 ]
  soak 20T12:00 --all-namespaces
  assert_contains "$stderr" "4 digests: 4 running"
  # A missing namespace must not mean all of them.
  run --separate-stderr "$CONTAINER_PATCH" soak --kubeconfig cluster/kubeconfig
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "--namespace <NAME>"
  assert_contains "$stderr" "--all-namespaces"
  soak 20T12:00 --namespace ''
  [ "$status" -eq 2 ]
}

@test "a dry run changes nothing" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  soak 20T12:00 --apply --dry-run
  [ "$status" -eq 0 ]
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 1 new (dry run)" ]
  [ ! -e "$RECORD" ]
  grep -q '^PATCH .* dryRun=All ' cluster/requests
  soak 20T12:00 --dry-run
  [ "$status" -eq 2 ]
}

@test "entries that cannot be used are left out with a warning" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  jq -n --arg good "$(digest 2 | tr : -)" --arg future "$(digest 3 | tr : -)" --arg garbage "$(digest 1 | tr : -)" '{
    apiVersion: "v1", kind: "ConfigMap", metadata: {name: "soaked-images", namespace: "container-patch", resourceVersion: "1"},
    data: {README: "text", ($garbage): "\u001b[31m", ($future): "{\"since\": \"2027-01-01T00:00:00Z\"}",
      ($good): "{\"since\": \"2026-11-10T00:00:00Z\", \"until\": \"2026-11-15T00:00:00Z\"}"}}' > "$RECORD"
  soak 20T12:00 --apply
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Warning: ConfigMap container-patch/soaked-images: data.README: expected a key of the form sha256-<64 hexadecimal digits>; the entry is left out"
  assert_contains "$stderr" "data.$(digest 3 | tr : -): since: 2027-01-01T00:00:00Z is in the future; the entry is left out"
  assert_contains "$stderr" "2 digests: 1 running, 1 stopped; 1 new"
  [ "$(jq -c '.data | length' "$RECORD")" -eq 2 ]
  [ "$(entry "$(digest 2)")" = '{"since":"2026-11-10T00:00:00Z","until":"2026-11-15T00:00:00Z","where":""}' ]
}

@test "an error names what is wrong, and nothing is written" {
  runs "$(pod web "$(digest 1)" 19T08:00)"
  local verb
  for verb in 'list pods' 'get configmaps' 'patch configmaps'; do
    echo "$verb" > cluster/forbidden
    soak 20T12:00 --apply
    [ "$status" -eq 2 ]
    assert_contains "$stderr" "permission to "
    assert_contains "$stderr" "as the user of the kubeconfig context \`test\`"
    assert_contains "$stderr" "; deploy/soak/recorder.yaml grants it"
    [ ! -e "$RECORD" ]
  done
  rm cluster/forbidden
  touch cluster/conflict
  soak 20T12:00 --apply
  [ "$status" -eq 2 ]
  [ "$stderr" = "Error: the ConfigMap container-patch/soaked-images was changed at the same time; run the command again" ]
  [ ! -e "$RECORD" ]
  : > empty.yaml
  soak 20T12:00 --merge empty.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: empty.yaml is empty; if the output is redirected to this file, the shell empties it first"
  printf 'kind: Secret\napiVersion: v1\n' > secret.yaml
  soak 20T12:00 --merge secret.yaml
  [ "$status" -eq 2 ]
  [ "$stderr" = "Error: cannot use secret.yaml: expected a ConfigMap of the apiVersion v1, found Secret (v1)" ]
  soak 20T12:00 --config-map soaked-images
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "expected NAMESPACE/NAME, such as container-patch/soaked-images"
}

@test "images without a digest are counted" {
  # The ID of an image that was loaded into a node is the digest of its configuration.
  runs "$(pod web "$(digest 1)" 19T08:00)" "$(pod local "$(digest 2)" 19T08:00 '.status.containerStatuses[0].imageID |= ltrimstr("registry.example.com/web@")')" \
    "$(pod volume "$(digest 1)" 19T08:00 '.spec.volumes = [{name: "data", image: {reference: "registry.example.com/data:1"}}]
      | .spec.containers[0].volumeMounts = [{name: "data", mountPath: "/data"}]')"
  soak 20T12:00
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Warning: left out 1 image without a sha256 digest"
  assert_contains "$stderr" "2 digests: 2 running, 0 stopped; 2 new"
}

@test "the CronJob is accepted by the policy, with an image of a listed registry" {
  start_registry "$BATS_TEST_TMPDIR"
  push_image tools/container-patch 0.1.0 "$(date -u -d '3 days ago' +%FT%TZ)" > /dev/null
  sed "s#registry.example.com#$REGISTRY#" "$ROOT/deploy/soak/cronjob.yaml" > cronjob.yaml
  sed "s#registries:\$#&\n      - $REGISTRY#" "$ROOT/deploy/enforce.yaml" > enforce.yaml
  run --separate-stderr "$CONTAINER_PATCH" check cronjob.yaml --settings-path enforce.yaml --insecure-registry "$REGISTRY" --output json
  echo "$output $stderr"
  [ "$status" -eq 0 ]
  [ "$(jq -r '.objects[].verdict' <<< "$output")" = accepted ]
}

@test "the CronJob runs soak with few privileges, and its arguments are valid" {
  local file="$ROOT/deploy/soak/cronjob.yaml" arguments
  for line in 'runAsNonRoot: true' 'seccompProfile: {type: RuntimeDefault}' 'automountServiceAccountToken: false' \
    'allowPrivilegeEscalation: false' 'readOnlyRootFilesystem: true' 'capabilities: {drop: \[ALL\]}' \
    'mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true'; do
    [ "$(grep -c "$line" "$file")" -eq 1 ]
  done
  IFS=', ' read -ra arguments <<< "$(sed -n 's/^ *args: \[\(.*\)\]$/\1/p' "$file")"
  runs "$(pod web "$(digest 1)" 19T08:00)"
  run --separate-stderr "$CONTAINER_PATCH" "${arguments[@]}" --kubeconfig cluster/kubeconfig
  echo "$output $stderr"
  [ "$status" -eq 0 ]
  [ "$(jq -r '.metadata.name' "$RECORD")" = soaked-images ]
}

@test "the files of deploy/soak warn about who can write the record" {
  local file
  for file in "$ROOT"/deploy/soak/*.yaml; do
    grep -q '^# WARNING: an account that can write .* decides which images production admits' "$file"
  done
}
