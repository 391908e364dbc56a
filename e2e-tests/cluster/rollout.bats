#!/usr/bin/env bats
# New images come in at the right time: from staging into production, with a record that `container-patch soak` makes of real pods; fixes
# and pods of controllers while the windows are closed and rollouts are frozen. One policy judges staging and production. Without kubelets,
# the test writes the status of pods itself.

load helpers

CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"

setup() {
  [ -x "$CONTAINER_PATCH" ] || skip "container-patch is not built: run \`make run\`, or set CONTAINER_PATCH"
}

# in_staging COMMAND…: runs a command in the namespace of staging.
in_staging() {
  local NAMESPACE="$STAGING"
  "$@"
}

# build NAME TAG TIME: pushes an image for the test that was built at this time, and prints its name with its digest.
build() {
  local digest
  digest="$(push_image "$NAMESPACE/$1" "$2" "$3")"
  echo "$REGISTRY/$NAMESPACE/$1:$2@$digest"
}

# gets_ready NAME: writes into the status of the pod of a Deployment that its container runs its image and is ready.
gets_ready() {
  local pod
  wait_until 20 has_pod_of "$1"
  pod="$(pod_of "$1")"
  admin get pod "$pod" --output json | jq --arg at "$(date -u +%FT%TZ)" '.spec.containers[0].image as $image | .status = {
      phase: "Running", conditions: [{type: "Ready", status: "True", lastTransitionTime: $at}],
      containerStatuses: [{name: "app", $image, imageID: $image, ready: true, restartCount: 0, state: {running: {startedAt: $at}}}]}' \
    | kubectl replace --raw "/api/v1/namespaces/$NAMESPACE/pods/$pod/status" --filename - > /dev/null
}

pod_of() { admin get pods --selector "app=$1" --output jsonpath='{.items[0].metadata.name}'; }
has_pod_of() { [ -n "$(pod_of "$1")" ]; }

# soak: the recorder runs, with the permissions of its service account.
soak() {
  accepted "$CONTAINER_PATCH" soak --namespace "$STAGING" --apply --kubeconfig "$CLUSTER/recorder.kubeconfig"
}

# is_admitted IMAGE: succeeds if a Deployment with this image is admitted.
is_admitted() { ann create --dry-run=server --filename - <<< "$(deployment probe "$1")"; }

@test "staging takes a new build, production waits until it has run there, and a rollback is a warning" {
  own_control_plane "the record is outside the namespaces of the run"
  namespace rollout -staging
  STAGING="$NAMESPACE"
  namespace rollout
  local young first second moment
  young="$(build app 3 "$(date -u +%FT%TZ)")"
  first="$(build app 1 "$(ago 5)")"
  second="$(build app 2 "$(ago 1)")"
  sed "s/namespace: staging/namespace: $STAGING/" "$ROOT/deploy/soak/recorder.yaml" | kubectl apply --filename - > /dev/null
  kubectl apply --filename "$ROOT/deploy/soak/reader.yaml" > /dev/null
  [ -e "$CLUSTER/recorder.kubeconfig" ] || make_kubeconfig recorder system:serviceaccount:container-patch:container-patch-soak
  kubectl --namespace container-patch delete configmap soaked-images --ignore-not-found > /dev/null
  wait_until 20 kubectl --namespace container-patch auth can-i get configmaps/soaked-images --as "$POLICY_SERVER_USER" --quiet

  refused too-young create ann "$(deployment web "$young")"
  assert_contains "$output" "[not-soaked]"
  accepted in_staging create ann "$(deployment young "$young")"

  accepted in_staging create ann "$(deployment first "$first")"
  accepted in_staging create ann "$(deployment second "$second")"
  refused not-soaked create ann "$(deployment web "$first")"
  in_staging gets_ready first
  in_staging gets_ready second
  soak
  refused not-soaked create ann "$(deployment web "$first")"
  assert_contains "$output" "and must run there for 20 seconds; deploy it on or after "
  assert_contains "$output" "(ConfigMap \`container-patch/soaked-images\`: \`$STAGING/Deployment/first\`)"
  moment="$(sed -n 's/.*deploy it on or after \([0-9TZ:-]*\).*/\1/p' <<< "$output")"
  wait_until 40 is_admitted "$first"
  [ "$(date -u +%s)" -ge "$(date -u -d "$moment" +%s)" ]
  accepted create ann "$(deployment web "$first")"
  wait_for_pods "$first"
  # An update, once it has run there for as long.
  wait_until 20 ann set image deployment web app="$second"
  wait_for_pods "$second"
  accepted ann rollout undo deployment web
  assert_contains "$output" "[older-build]"
  wait_for_pods "$first"
  # The pods of production live on without the record.
  kubectl --namespace container-patch delete configmap soaked-images > /dev/null
  remake_pods
  wait_for_pods "$first"
}

# closed_policy JQ: prints a part of the settings of the policy whose windows are closed.
closed_policy() { jq -r ".items[] | select(.metadata.name | contains(\"rollout-closed\")).spec.settings | $1" "$CLUSTER/policies.json"; }

@test "while the windows are closed and rollouts are frozen, a fix comes in, and the audit log says why" {
  own_control_plane "this test reads the audit log of the API server"
  namespace none
  local stale fresh next
  stale="$(build app 1 "$(ago 120)")"
  fresh="$(build app 2 "$(ago 2)")"
  next="$(build app 3 "$(ago 1)")"
  accepted create ann "$(deployment web "$stale")"
  wait_for_pods "$stale"
  judge_by rollout-closed
  refused outside-window create ann "$(deployment other "$fresh")"
  # When the policies were written decides when the window opens and the freeze ends.
  local moment
  moment="$(date -u -d "$(closed_policy '.schedule.freezes[0].to') 1 day" +%F)T$(closed_policy '.rollout.windows[0].cron | "0\(split(" ")[1])"[-2:]'):00:00Z"
  assert_contains "$output" "is new, and the rollout windows are closed; deploy it on or after $moment, in the first window after the freeze \`sale\`"
  assert_contains "$output" "is new, and rollouts are frozen; deploy it on or after $moment, in the first window after the freeze \`sale\`"
  accepted ann set image deployment web app="$fresh"
  assert_contains "$output" "[outside-window]"
  assert_contains "$output" "[rollout-freeze]"
  wait_for_pods "$fresh"
  event '.verb == "patch" and .objectRef.resource == "deployments" and .responseStatus.code == 200' > "$BATS_TEST_TMPDIR/event"
  [ "$(jq -r '.annotations | to_entries[] | select(.key | endswith("/findings")).value | fromjson[] | "\(.code) \(.passed)"' "$BATS_TEST_TMPDIR/event")" \
    = "outside-window fixes
rollout-freeze fixes" ]
  run --separate-stderr "$CONTAINER_PATCH" history --output json --only passed --namespace "$NAMESPACE" "$CLUSTER/audit.log"
  [ "$status" -eq 0 ]
  [ "$(jq -r '.entries[] | "\(.user) \(.tag) \([.findings[] | "\(.code) \(.passed)"] | join(" "))"' <<< "$output" | grep -v unchangedImages)" \
    = "ann 2 outside-window fixes rollout-freeze fixes" ]
  # The image that runs now has no finding that the next one repairs.
  refused outside-window ann set image deployment web app="$next"
}

@test "while the windows are closed and rollouts are frozen, drained pods and those of a CronJob come in, and a workload can be scaled" {
  namespace none
  local image
  image="$(build app 1 "$(ago 2)")"
  accepted create ann "$(deployment web "$image")"
  accepted create ann "$(cron_job "$image")"
  wait_for_pods "$image"
  judge_by rollout-closed
  refused outside-window create ann "$(pod shell "$image")"
  remake_pods
  accepted ann scale deployment web --replicas 2
  wait_for_pods "$image" "$image"
  # Its last run was yesterday, so its controller starts a Job.
  local path
  path="$(admin get cronjob nightly --output json | jq -r '"/apis/\(.apiVersion)/namespaces/\(.metadata.namespace)/cronjobs/nightly/status"')"
  admin get cronjob nightly --output json | jq -c --arg at "$(ago 1)" '.status.lastScheduleTime = $at' | accepted admin replace --raw "$path" --filename -
  wait_for_pods "$image" "$image" "$image"
}

# cron_job IMAGE: prints a CronJob `nightly` with this image.
cron_job() {
  local version=batch/v1
  # Kubernetes has CronJobs in batch/v1 since 1.21.
  [ "$(minor kube-apiserver)" -ge 21 ] || version=batch/v1beta1
  jq -nc --arg version "$version" --arg image "$1" '{
    apiVersion: $version, kind: "CronJob", metadata: {name: "nightly"}, spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {
      restartPolicy: "Never", containers: [{name: "app", $image}]}}}}}}'
}
