#!/usr/bin/env bats
# container-patch soak against a real API server, with the permissions of deploy/soak/. Without kubelets, the test writes the status of
# pods itself.

load helpers

CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"

setup() {
  [ -x "$CONTAINER_PATCH" ] || skip "container-patch is not built: run \`make run\`, or set CONTAINER_PATCH"
  own_control_plane "the test applies deploy/soak/recorder.yaml"
  namespace none
  # The namespace of the test is the one of staging.
  sed "s/namespace: staging/namespace: $NAMESPACE/" "$ROOT/deploy/soak/recorder.yaml" | kubectl apply --filename - > /dev/null
  [ -e "$CLUSTER/recorder.kubeconfig" ] || make_kubeconfig recorder system:serviceaccount:container-patch:container-patch-soak
  kubectl delete configmap soaked-images --namespace container-patch --ignore-not-found > /dev/null
}

# digest NUMBER: prints a digest.
digest() { printf 'sha256:%064x' "$1"; }

# runs POD DIGEST [JQ]: writes into the status of a pod that its container runs this image and is ready, changed by a jq program.
runs() {
  admin get pod "$1" --output json | jq --arg id "registry.example.com/web@$2" --arg at "$(date -u +%FT%TZ)" '.status = {
      phase: "Running", conditions: [{type: "Ready", status: "True", lastTransitionTime: $at}],
      containerStatuses: [{name: "app", image: "web", imageID: $id, ready: true, restartCount: 0, state: {running: {startedAt: $at}}}]}
    | '"${3:-.}" | kubectl replace --raw "/api/v1/namespaces/$NAMESPACE/pods/$1/status" --filename - > /dev/null
}

# soak FLAG…: runs the command with the rights of the recorder.
soak() {
  run --separate-stderr "$CONTAINER_PATCH" soak --namespace "$NAMESPACE" --kubeconfig "$CLUSTER/recorder.kubeconfig" "$@"
  printf 'status: %s\noutput: %.3000s\nstderr: %.1000s\n' "$status" "$output" "$stderr"
}

record() { kubectl get configmap soaked-images --namespace container-patch --output json; }

# entry DIGEST JQ: prints a part of the entry of a digest.
entry() { record | jq -r --arg key "${1/:/-}" ".data[\$key] // \"{}\" | fromjson | $2"; }

pod_of() { admin get pods --selector "app=$1" --output jsonpath='{.items[0].metadata.name}'; }
has_pod_of() { [ -n "$(pod_of "$1")" ]; }
has_no_pod() { ! admin get pod "$1"; }

# later DURATION: prints the time after this duration, such as `2 days`.
later() { date -u -d "+$1" +%FT%TZ; }

@test "the recorder creates the record, and keeps the soak time of a drained pod" {
  local first since
  accepted create admin "$(deployment web registry.example.com/web:1)"
  wait_until 20 has_pod_of web
  first="$(pod_of web)"
  runs "$first" "$(digest 1)"
  soak --apply
  [ "$status" -eq 0 ]
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 1 new" ]
  [ "$(entry "$(digest 1)" .where)" = "$NAMESPACE/Deployment/web" ]
  since="$(entry "$(digest 1)" .since)"
  [ "$since" = "$(admin get pod "$first" --output jsonpath='{.status.conditions[0].lastTransitionTime}')" ]
  # Again, without a change.
  soak --apply
  [ "$status" -eq 0 ]
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 0 new" ]
  [ "$(entry "$(digest 1)" '"\(.since) \(.until)"')" = "$since null" ]

  # A drain deletes the pod. The ReplicaSet makes another one, which starts.
  sleep 1.1
  admin delete pod "$first" --grace-period 0 --force > /dev/null 2>&1
  wait_until 20 has_no_pod "$first"
  wait_until 20 has_pod_of web
  soak --apply
  [ "$stderr" = "1 digest: 0 running, 1 stopped; 0 new" ]
  [ "$(entry "$(digest 1)" .since)" = "$since" ]
  [ "$(entry "$(digest 1)" .until)" != null ]
  runs "$(pod_of web)" "$(digest 1)"
  soak --apply
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 0 new" ]
  [ "$(entry "$(digest 1)" '"\(.since) \(.until)"')" = "$since null" ]

  # A new build replaces it, and a month later it is forgotten.
  runs "$(pod_of web)" "$(digest 2)"
  soak --apply
  [ "$stderr" = "2 digests: 1 running, 1 stopped; 1 new" ]
  soak --apply --at "$(later '31 days')"
  [ "$stderr" = "1 digest: 1 running, 0 stopped; 0 new" ]
}

@test "a crash-looping build loses its soak time, although another field manager has written it, too" {
  accepted create admin "$(deployment web registry.example.com/web:1)"
  wait_until 20 has_pod_of web
  runs "$(pod_of web)" "$(digest 1)"
  soak
  [ "$status" -eq 0 ]
  # The admin starts the record by hand, with an invalid entry.
  { printf '%s\n' "$output"; echo '  note: by hand'; } | kubectl apply --server-side --filename - > /dev/null
  soak --apply
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "data.note: expected a key of the form"
  [ "$(record | jq -c '.data | keys')" = "[\"$(digest 1 | tr : -)\"]" ]
  runs "$(pod_of web)" "$(digest 1)" '.status.containerStatuses[0] |= (.restartCount = 5 | .ready = false | .state = {waiting: {reason: "CrashLoopBackOff"}})'
  soak --apply
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "is in CrashLoopBackOff, restarted 5 times"
  [ "$(record | jq -c '.data // {}')" = '{}' ]
}

@test "a record as large as a ConfigMap can be is written" {
  accepted create admin "$(pod web registry.example.com/web:1)"
  runs web "$(digest 1)"
  # 8,000 digests have left, in the order of their numbers. A ConfigMap has room for about 4,400 of them.
  jq -nr --arg now "$(date -u -d '-1 day' +%s)" '"apiVersion: v1\nkind: ConfigMap\ndata:", (range(10; 8010) as $number
    | "  sha256-\("0" * (64 - ($number | tostring | length)))\($number): \({since: "2026-01-01T00:00:00Z",
        until: (($now | tonumber) + $number | todate), where: "staging/Deployment/web"} | tojson | @json)")' > "$BATS_TEST_TMPDIR/record.yaml"
  soak --merge "$BATS_TEST_TMPDIR/record.yaml"
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Warning: the record is too large for a ConfigMap: dropped the oldest "
  "$CONTAINER_PATCH" soak --namespace "$NAMESPACE" --kubeconfig "$CLUSTER/recorder.kubeconfig" --merge "$BATS_TEST_TMPDIR/record.yaml" \
    > "$BATS_TEST_TMPDIR/soaked.yaml" 2> /dev/null
  # `kubectl apply` without --server-side would copy it into an annotation, which can have 256 KiB.
  accepted kubectl apply --server-side --field-manager gitops --filename "$BATS_TEST_TMPDIR/soaked.yaml"
  runs web "$(digest 2)"
  soak --apply
  [ "$status" -eq 0 ]
  [ "$(entry "$(digest 2)" .until)" = null ]
  # The newest ones stay.
  record | jq -e '.data["sha256-" + "0" * 60 + "8009"]' > /dev/null
  record | jq -e '.data["sha256-" + "0" * 62 + "10"] == null' > /dev/null
}

@test "the service account of deploy/soak may do what soak does, and nothing else" {
  local as="kubectl --kubeconfig $CLUSTER/recorder.kubeconfig" verb
  may() { [ "$($as auth can-i "$@" 2> /dev/null)" = yes ]; }
  accepted create admin "$(pod web registry.example.com/web:1)"
  runs web "$(digest 1)"
  soak --apply
  [ "$status" -eq 0 ]
  may list pods --namespace "$NAMESPACE"
  for verb in get watch create update patch delete; do
    run may "$verb" pods --namespace "$NAMESPACE"
    [ "$status" -ne 0 ]
  done
  for verb in list get create; do
    run may "$verb" pods --namespace default
    [ "$status" -ne 0 ]
    run may "$verb" secrets --namespace container-patch
    [ "$status" -ne 0 ]
  done
  for verb in get patch create; do may "$verb" configmap/soaked-images --namespace container-patch; done
  for verb in update delete; do
    run may "$verb" configmap/soaked-images --namespace container-patch
    [ "$status" -ne 0 ]
  done
  for verb in get patch create; do
    run may "$verb" configmap/other --namespace container-patch
    [ "$status" -ne 0 ]
  done
  # Another ConfigMap, and another namespace.
  soak --apply --config-map container-patch/other
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "; deploy/soak/recorder.yaml grants it"
  soak --namespace default
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "permission to list pods"
  assert_contains "$stderr" "; deploy/soak/recorder.yaml grants it"
}

@test "policy-server can get the record and nothing else" {
  kubectl apply --filename "$ROOT/deploy/soak/reader.yaml" > /dev/null
  may() { [ "$(kubectl auth can-i "$@" --namespace container-patch --as "$POLICY_SERVER_USER" 2> /dev/null)" = yes ]; }
  may get configmap/soaked-images
  local verb
  for verb in list watch create update patch delete; do
    run may "$verb" configmap/soaked-images
    [ "$status" -ne 0 ]
  done
  run may get configmap/other
  [ "$status" -ne 0 ]
}

@test "the metadata of the record does not grow with it" {
  accepted create admin "$(pod web registry.example.com/web:1)"
  runs web "$(digest 1)"
  soak --apply
  soak --apply
  [ "$status" -eq 0 ]
  [ "$(entry "$(digest 1)" .where)" = "$NAMESPACE/web" ]
  [ "$(kubectl get --raw /api/v1/namespaces/container-patch/configmaps/soaked-images | jq '.metadata | has("managedFields")')" = false ]
}

@test "a dry run is checked by the API server, and changes nothing" {
  accepted create admin "$(pod web registry.example.com/web:1)"
  runs web "$(digest 1)"
  soak --apply --dry-run
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "(dry run)"
  run record
  [ "$status" -ne 0 ]
}

@test "Kubernetes accepts the files of deploy/soak" {
  local file version=batch/v1
  # Kubernetes has CronJobs in batch/v1 since 1.21.
  [ "$(minor kube-apiserver)" -ge 21 ] || version=batch/v1beta1
  for file in "$ROOT"/deploy/soak/*.yaml; do
    sed "s/namespace: staging/namespace: $NAMESPACE/; s#^apiVersion: batch/v1\$#apiVersion: $version#" "$file" \
      | accepted kubectl apply --dry-run=server --filename -
  done
}
