#!/usr/bin/env bats
# container-patch report --cluster against a real API server. Without kubelets, the test writes the status of pods itself.

load helpers

CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"

setup() { [ -x "$CONTAINER_PATCH" ] || skip "container-patch is not built: run \`make run\`, or set CONTAINER_PATCH"; }

# report FLAG…: runs the command for the namespace of the test.
report() {
  local output_flags=(--output json)
  [[ "$*" != *--output* ]] || output_flags=()
  run --separate-stderr "$CONTAINER_PATCH" report --cluster --namespace "$NAMESPACE" --insecure-registry "$REGISTRY" "${output_flags[@]}" "$@"
  printf 'status: %s\noutput: %.3000s\nstderr: %.1000s\n' "$status" "$output" "$stderr"
}

# runs POD IMAGE_ID: writes into the status of a pod that its container runs this image, as a kubelet does.
runs() {
  admin get pod "$1" --output json | jq --arg id "$2" '.status = {phase: "Running", containerStatuses: [{
      name: "app", image: "app", imageID: $id, ready: true, restartCount: 0, state: {running: {startedAt: "2026-01-01T00:00:00Z"}}}]}' \
    | kubectl replace --raw "/api/v1/namespaces/$NAMESPACE/pods/$1/status" --filename - > /dev/null
}

has_pod_of() { [ -n "$(admin get pods --selector "app=$1" --output name)" ]; }

@test "the images that pods run are reported with their workloads" {
  namespace none
  local web old name digest
  web="$(image web 1.4 5)"
  old="$(push_image "$NAMESPACE/web" old "$(ago 100)")"
  accepted create admin "$(deployment web "$web")"
  accepted create admin "$(pod bare "$web")"
  wait_until 20 has_pod_of web
  name="$(admin get pods --selector app=web --output jsonpath='{.items[0].metadata.name}')"
  runs "$name" "${web%:*}@$old"
  digest="$(pinned "$web")"
  runs bare "docker-pullable://${digest%:1.4@*}@${digest#*@}"
  report
  [ "$status" -eq 1 ]
  [ "$(jq -c '[.images[] | [.digest, .verdict, .pods, [.usedBy[] | [.kind, .name, .declared, .pods]]]]' <<< "$output")" = \
    "[[\"$old\",\"denied\",1,[[\"Deployment\",\"web\",false,1]]],[\"${digest#*@}\",\"accepted\",1,[[\"Deployment\",\"web\",true,0],[\"Pod\",\"bare\",true,1]]]]" ]
  [ "$(jq -c '[.drift.tags[] | [.tag, (.digests | length)]]' <<< "$output")" = '[["1.4",2]]' ]
  [ "$(jq .failures <<< "$output")" = '[]' ]
  # The labels are those of the pods, which the Deployment itself does not have.
  report --selector app=web
  [ "$(jq -c '[.images[].usedBy[].kind]' <<< "$output")" = '["Deployment"]' ]
  report --due-within 14d
  [ "$(jq -c '[.images[].daysLeft]' <<< "$output")" = '[-11]' ]
  report --output openmetrics
  assert_contains "$output" 'container_patch_images{verdict="denied"} 1'
  report --output html
  assert_contains "$output" "Images of the namespace $NAMESPACE"
  report --selector app=none
  [ "$(jq -c .images <<< "$output")" = '[]' ]
}

@test "kinds that a user may not list are named, and the others are reported" {
  own_control_plane "the test needs a user with few permissions"
  namespace none
  accepted create admin "$(deployment web "$(image web 1.4 5)")"
  admin create role lister --verb list --resource deployments.apps > /dev/null
  admin create rolebinding lister --role lister --user lister > /dev/null
  # In this kubeconfig the admin impersonates the user.
  kubectl config view --raw --flatten --output json \
    | jq '.users[].user["as"] = "lister"' > "$BATS_TEST_TMPDIR/kubeconfig"
  report --kubeconfig "$BATS_TEST_TMPDIR/kubeconfig"
  [ "$status" -eq 2 ]
  [ "$(jq -c '[.images[].usedBy[].kind]' <<< "$output")" = '["Deployment"]' ]
  assert_contains "$(jq -r '.failures[] | select(.subject == "Pod (v1)").reason' <<< "$output")" "permission to list pods"
}

@test "the service account of deploy/report may list everything that a report needs, and nothing else" {
  own_control_plane "the test creates a ClusterRole"
  namespace none
  kubectl apply --filename "$ROOT/deploy/report/rbac.yaml" > /dev/null
  accepted create admin "$(deployment web "$(image web 1.4 5)")"
  make_kubeconfig report system:serviceaccount:container-patch:container-patch-report
  report --kubeconfig "$CLUSTER/report.kubeconfig"
  [ "$status" -eq 0 ]
  [ "$(jq -c .failures <<< "$output")" = '[]' ]
  [ "$(jq -c '[.images[].usedBy[].kind]' <<< "$output")" = '["Deployment"]' ]
  run kubectl --kubeconfig "$CLUSTER/report.kubeconfig" get secrets --namespace "$NAMESPACE"
  [ "$status" -ne 0 ]
  run kubectl --kubeconfig "$CLUSTER/report.kubeconfig" delete deployment web --namespace "$NAMESPACE"
  [ "$status" -ne 0 ]
}
