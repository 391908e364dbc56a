#!/usr/bin/env bats
# Pods run the digest that was admitted: the template of a workload has a record of the digest of its image, from the time when a user
# wrote the template. Pods of controllers get this digest, even if the tag moves or the registry is down.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets `output`, and runs each test in a subshell.

load helpers

setup() {
  # A registry that tests can stop. In an existing cluster there is only one registry.
  REGISTRY="${STOPPABLE_REGISTRY:-$REGISTRY}"
}

teardown() {
  [ -z "${STOPPABLE_REGISTRY:-}" ] || is_open "${STOPPABLE_REGISTRY##*:}" || start_stoppable
  [ -z "${NODE:-}" ] || kubectl delete node "$NODE"
}

start_stoppable() {
  start stoppable docker-registry serve "$CLUSTER/stoppable/registry.yml"
  wait_for stoppable 10 curl -sf "http://$STOPPABLE_REGISTRY/v2/"
}

# registry_is_down: stops the registry, and clears the cache of policy-server.
registry_is_down() {
  stop stoppable
  forget
}

# move IMAGE DAYS: moves the tag to an image that was built that many days ago.
move() {
  local path="${1#"$REGISTRY/"}"
  push_image "${path%:*}" "${path##*:}" "$(ago "$2")" > /dev/null
  forget
}

# record_of RESOURCE…, recorded_at RESOURCE…: print the record of the container `app` in the template of a workload, and the time of the
# records; `none` if they are missing.
record_of() { annotation_of app "$@"; }
recorded_at() { annotation_of recorded-at "$@"; }
annotation_of() {
  local key="$1"
  shift
  admin get "$@" --output json \
    | jq -r --arg key "pin.container-patch.dev/$key" '(.spec.jobTemplate.spec // .spec).template.metadata.annotations[$key] // "none"'
}

# as_recorded REFERENCE: prints a jq program that adds a record for the container `app` to the template of a workload.
as_recorded() { echo '.spec.template.metadata.annotations["pin.container-patch.dev/app"] = "'"$1"'"'; }

# pod_as_recorded REFERENCE: prints the same for a pod.
pod_as_recorded() { echo '.metadata.annotations["pin.container-patch.dev/app"] = "'"$1"'"'; }

# resolved: prints the lists of resolved images of the pods.
resolved() { admin get pods --output json | jq -r '.items[].metadata.annotations["container-patch.dev/resolved"] // empty'; }

# template_of RESOURCE…: prints the template of a workload.
template_of() { admin get "$@" --output json | jq -S '.spec.template'; }

# has_rolled_out: succeeds if the controller of the Deployment `web` has annotated it with its revision.
has_rolled_out() { [ -n "$(admin get deployment web --output jsonpath='{.metadata.annotations.deployment\.kubernetes\.io/revision}')" ]; }

# evict NAME: evicts that pod, as `kubectl drain` does.
evict() {
  local version
  version="$(kubectl get --raw /api/v1 | jq -r '.resources[] | select(.name == "pods/eviction") | "\(.group)/\(.version)"')"
  jq -nc --arg version "$version" --arg name "$1" '{apiVersion: $version, kind: "Eviction", metadata: {name: $name}}' \
    | accepted otto create --raw "/api/v1/namespaces/$NAMESPACE/pods/$1/eviction" --filename -
}

# live_on IMAGE: deletes the pod of the Deployment `web`, scales the Deployment to three pods and evicts them. All replacements must have
# that image.
live_on() {
  local before evicted
  remake_pods
  wait_for_pods "$1"
  accepted ann scale deployment web --replicas 3
  wait_for_pods "$1" "$1" "$1"
  before="$(pod_ids)"
  for evicted in $(admin get pods --output jsonpath='{.items[*].metadata.name}'); do
    evict "$evicted"
  done
  wait_until 20 remade "$before"
  wait_for_pods "$1" "$1" "$1"
  accepted ann scale deployment web --replicas 1
  wait_for_pods "$1"
}

# refused_pods CODE: waits until a controller's pod has been refused with that code.
refused_pods() {
  if ! wait_until 20 has_refused_pods "$1"; then
    printf 'expected a pod to be refused for [%s]; pods: %s; events:\n' "$1" "$(pod_images | paste -sd' ')"
    admin get events --field-selector reason=FailedCreate --output jsonpath='{.items[*].message}'
    return 1
  fi
}
has_refused_pods() { [[ "$(admin get events --field-selector reason=FailedCreate --output jsonpath='{.items[*].message}')" == *"[$1]"* ]]; }

@test "a tag that moves to a stale image does not reach the pods of an admitted Deployment" {
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"

  move "$image" 120
  refused stale-image create ann "$(pod shell "$image")"
  live_on "$first"
  # The image field has the tag from Git, and the record has the digest.
  [ "$(image_of deployment web)" = "$image" ]
  [ "$(record_of deployment web)" = "$first" ]
  [ "$(resolved)" = "" ]
  stays 3 has_replica_sets 1
  if [ -n "${OWN_CONTROL_PLANE:-}" ]; then
    # All pods of controllers had a record.
    [ "$(events '.annotations | tostring | test("unrecordedPods")')" = "" ]
  fi
}

@test "while the registry is down, pods of an admitted Deployment can be deleted, scaled and evicted, and new ones are pinned" {
  own_control_plane "this test stops the registry"
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  registry_is_down
  live_on "$first"
  accepted ann label deployment web team=shop
  [ "$(record_of deployment web)" = "$first" ]
  stays 3 has_replica_sets 1
}

@test "rollout restart records and judges the current digest of the tag" {
  namespace shipped
  local image first second at
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  at="$(recorded_at deployment web)"
  [[ "$at" =~ ^20..-..-..T..:..:..\.[0-9]{6}Z$ ]]

  move "$image" 2
  second="$(pinned "$image")"
  [ "$second" != "$first" ]
  accepted ann rollout restart deployment web
  [ "$(record_of deployment web)" = "$second" ]
  [[ "$(recorded_at deployment web)" > "$at" ]]
  wait_for_pods "$second"
  has_replica_sets 2

  move "$image" 120
  refused stale-image ann rollout restart deployment web
  # The message says how to keep the recorded digest.
  assert_contains "$output" "to keep the digest recorded before, write \`$second\`"
  assert_contains "$output" "$(pinned "$image")"
  [ "$(record_of deployment web)" = "$second" ]
  remake_pods
  wait_for_pods "$second"
  stays 3 has_replica_sets 2
}

@test "if the current image of a tag is refused, the recorded digest can be written as the image" {
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  move "$image" 120
  refused stale-image ann set env deployment web COLOR=green
  accepted ann set image deployment web app="$first"
  accepted ann set env deployment web COLOR=green
  # The digest in the image field has precedence, and the record is removed.
  [ "$(record_of deployment web)" = none ]
  [ "$(image_of deployment web)" = "$first" ]
  wait_for_pods "$first"
}

@test "rollout restart while the registry is down keeps the record, with a warning" {
  own_control_plane "this test stops the registry"
  namespace shipped
  local image other first
  image="$(image app 1 3)"
  other="$(image app 2 2)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  registry_is_down
  accepted ann rollout restart deployment web
  assert_contains "$output" "[evidence-unavailable]"
  [ "$(record_of deployment web)" = "$first" ]
  wait_until 20 has_replica_sets 2
  wait_for_pods "$first"
  # Both revisions have the same digest.
  accepted ann rollout undo deployment web
  [ "$(record_of deployment web)" = "$first" ]
  # This image has no record.
  refused evidence-unavailable ann set image deployment web app="$other"
  stays 3 has_replica_sets 2
}

@test "rollout undo restores the old record, not the current digest of the tag" {
  namespace shipped
  local image first second at
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  at="$(recorded_at deployment web)"
  move "$image" 2
  second="$(pinned "$image")"
  accepted ann rollout restart deployment web
  wait_for_pods "$second"

  move "$image" 120
  accepted ann rollout undo deployment web
  wait_for_pods "$first"
  [ "$(record_of deployment web)" = "$first" ]
  [ "$(recorded_at deployment web)" = "$at" ]
  accepted ann rollout undo deployment web
  wait_for_pods "$second"
  [ "$(record_of deployment web)" = "$second" ]
  # With this annotation the deployment controller writes the old template.
  accepted ann annotate deployment web deprecated.deployment.rollback.to=0
  wait_for_pods "$first"
  [ "$(recorded_at deployment web)" = "$at" ]
  stays 3 has_replica_sets 2
}

@test "rollout undo between two revisions with the same digest goes back to the first ReplicaSet" {
  namespace shipped
  local image first at
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  at="$(recorded_at deployment web)"
  accepted ann rollout restart deployment web
  wait_until 20 has_replica_sets 2
  [ "$(record_of deployment web)" = "$first" ]
  [[ "$(recorded_at deployment web)" > "$at" ]]
  move "$image" 120
  accepted ann rollout undo deployment web
  [ "$(record_of deployment web)" = "$first" ]
  [ "$(recorded_at deployment web)" = "$at" ]
  wait_for_pods "$first"
  stays 3 has_replica_sets 2
}

@test "rollout undo to a revision whose image has a digest goes back to its ReplicaSet" {
  namespace shipped
  local one two
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  accepted create ann "$(deployment web "$one")"
  wait_until 20 has_replica_sets 1
  accepted ann set image deployment web app="$(pinned "$one")"
  wait_until 20 has_replica_sets 2
  accepted ann set image deployment web app="$two"
  wait_until 20 has_replica_sets 3
  accepted ann rollout undo deployment web
  [ "$(image_of deployment web)" = "$(pinned "$one")" ]
  [ "$(record_of deployment web)" = none ]
  [ "$(recorded_at deployment web)" = none ]
  wait_for_pods "$(pinned "$one")"
  stays 3 has_replica_sets 3
}

@test "the recorded digest of an image that has become stale can be written as the image" {
  namespace none
  local image stale
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  accepted create ann "$(deployment web "$image" "$(as_recorded "$stale")")"
  wait_until 20 has_replica_sets 1
  judge_by shipped
  accepted ann set image deployment web app="$stale"
  assert_contains "$output" "[stale-image]"
  [ "$(record_of deployment web)" = none ]
  wait_for_pods "$stale"
}

@test "rollout undo to a record of an image that has become stale is refused" {
  namespace none
  local image stale fresh
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  accepted create ann "$(deployment web "$image" "$(as_recorded "$stale")")"
  wait_until 20 has_replica_sets 1
  judge_by shipped
  push_image "$NAMESPACE/app" 1 "$(ago 3)" > /dev/null
  fresh="$(pinned "$image")"
  accepted ann rollout restart deployment web
  wait_for_pods "$fresh"
  refused stale-image ann rollout undo deployment web
  assert_contains "$output" "$stale"
  wait_for_pods "$fresh"
}

@test "kubectl apply, replace and diff of the same manifest change nothing, even if the tag has moved" {
  namespace shipped
  local image first manifest="$BATS_TEST_TMPDIR/web.json" generation template pods
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  deployment web "$image" > "$manifest"
  accepted ann apply --filename "$manifest"
  wait_for_pods "$first"
  wait_until 20 has_rolled_out
  generation="$(admin get deployment web --output jsonpath='{.metadata.generation}')"
  template="$(template_of deployment web)"
  pods="$(pod_ids)"
  assert_contains "$template" "$first"

  move "$image" 120
  accepted ann apply --filename "$manifest"
  accepted ann diff --filename "$manifest"
  [ "$(admin get deployment web --output jsonpath='{.metadata.generation}')" = "$generation" ]
  # This also removes the annotations of the Deployment, such as the one of its controller, which increases the generation.
  accepted ann replace --filename "$manifest"
  [ "$(template_of deployment web)" = "$template" ]
  wait_until 20 has_rolled_out
  stays 3 has_replica_sets 1
  [ "$(pod_ids)" = "$pods" ]
}

@test "kubectl apply --server-side and diff --server-side of the same manifest change nothing, even if the tag has moved" {
  namespace shipped
  local image first manifest="$BATS_TEST_TMPDIR/web.json" generation template
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  deployment web "$image" > "$manifest"
  accepted ann apply --server-side --filename "$manifest"
  wait_for_pods "$first"
  wait_until 20 has_rolled_out
  generation="$(admin get deployment web --output jsonpath='{.metadata.generation}')"
  template="$(template_of deployment web)"
  assert_contains "$template" "$first"

  move "$image" 120
  accepted ann apply --server-side --filename "$manifest"
  accepted ann diff --server-side --filename "$manifest"
  [ "$(admin get deployment web --output jsonpath='{.metadata.generation}')" = "$generation" ]
  [ "$(template_of deployment web)" = "$template" ]
  stays 3 has_replica_sets 1
}

@test "kubectl apply of a manifest with another tag renews the record" {
  namespace shipped
  local one two manifest="$BATS_TEST_TMPDIR/web.json"
  one="$(image app 1 3)"
  two="$(image app 2 2)"
  deployment web "$one" > "$manifest"
  accepted ann apply --filename "$manifest"
  wait_for_pods "$(pinned "$one")"
  deployment web "$two" > "$manifest"
  accepted ann apply --filename "$manifest"
  [ "$(record_of deployment web)" = "$(pinned "$two")" ]
  wait_for_pods "$(pinned "$two")"
  accepted ann diff --filename "$manifest"
}

@test "pods of a StatefulSet have the recorded digest of their revision" {
  namespace shipped
  local image first second
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  # Only one pod, because the second one would wait until the first one is ready.
  accepted create ann "$(stateful_set "$image" | jq -c '.spec.replicas = 1 | .spec.updateStrategy.rollingUpdate.partition = 1')"
  wait_for_pods "$first"
  [ "$(record_of statefulset web)" = "$first" ]
  move "$image" 2
  second="$(pinned "$image")"
  remake_pods
  wait_for_pods "$first"

  accepted ann rollout restart statefulset web
  [ "$(record_of statefulset web)" = "$second" ]
  wait_until 20 has_revisions 2
  # The partition keeps the update from the pod, and so the new digest.
  remake_pods
  wait_for_pods "$first"
  move "$image" 120
  accepted ann patch statefulset web --type merge --patch '{"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}'
  wait_for_pods "$second"
  refused stale-image ann rollout restart statefulset web
  assert_contains "$output" "to keep the digest recorded before, write \`$second\`"
  accepted ann rollout undo statefulset web
  wait_for_pods "$first"
  [ "$(record_of statefulset web)" = "$first" ]
  accepted ann scale statefulset web --replicas 2
  wait_for_pods "$first" "$first"
  stays 3 has_revisions 2
}

@test "kubectl apply and replace of the same StatefulSet change nothing, even if the tag has moved" {
  namespace shipped
  local image first manifest="$BATS_TEST_TMPDIR/web.json"
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  stateful_set "$image" > "$manifest"
  accepted ann apply --filename "$manifest"
  wait_for_pods "$first" "$first"
  move "$image" 120
  accepted ann apply --filename "$manifest"
  accepted ann apply --server-side --force-conflicts --filename "$manifest"
  accepted ann replace --filename "$manifest"
  accepted ann diff --filename "$manifest"
  [ "$(record_of statefulset web)" = "$first" ]
  [ "$(admin get statefulset web --output jsonpath='{.metadata.generation}')" = 1 ]
  has_revisions 1
}

@test "pods of a DaemonSet have the recorded digest of their revision" {
  own_control_plane "this test creates a node"
  namespace shipped
  local image first second
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  # A DaemonSet has a pod on each node.
  NODE=e2e-records
  accepted create kubectl '{"apiVersion": "v1", "kind": "Node", "metadata": {"name": "'"$NODE"'"}}'
  accepted create ann "$(deployment web "$image" '.kind = "DaemonSet" | del(.spec.replicas, .spec.strategy)')"
  wait_for_pods "$first"
  [ "$(record_of daemonset web)" = "$first" ]
  move "$image" 2
  second="$(pinned "$image")"
  remake_pods
  wait_for_pods "$first"
  accepted ann rollout restart daemonset web
  wait_for_pods "$second"
  move "$image" 120
  refused stale-image ann rollout restart daemonset web
  assert_contains "$output" "to keep the digest recorded before, write \`$second\`"
  accepted ann rollout undo daemonset web
  wait_for_pods "$first"
  [ "$(record_of daemonset web)" = "$first" ]
  stays 3 has_revisions 2
}

# job IMAGE: prints a Job `once` with that image.
job() {
  jq -nc --arg image "$1" '{
    apiVersion: "batch/v1", kind: "Job", metadata: {name: "once"},
    spec: {template: {spec: {restartPolicy: "Never", containers: [{name: "app", image: $image}]}}}}'
}

@test "pods of a Job have the digest that was recorded when the Job was created" {
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(job "$image")"
  wait_for_pods "$first"
  [ "$(record_of job once)" = "$first" ]
  move "$image" 120
  remake_pods
  wait_for_pods "$first"
  # The template of a Job is immutable: Kubernetes would refuse a manifest without the record if the record were not restored.
  admin get job once --output json | jq 'del(.spec.template.metadata.annotations)' > "$BATS_TEST_TMPDIR/once.json"
  accepted ann replace --filename "$BATS_TEST_TMPDIR/once.json"
  [ "$(record_of job once)" = "$first" ]
  accepted ann patch job once --type merge --patch '{"spec": {"parallelism": 0}}'
  [ "$(record_of job once)" = "$first" ]
}

# cron_job IMAGE: prints a CronJob `nightly` with that image.
cron_job() {
  local version=batch/v1
  kubectl get --raw "/apis/$version" | jq -e 'any(.resources[]; .name == "cronjobs")' > /dev/null || version=batch/v1beta1
  job "$1" | jq -c --arg version "$version" '{
    apiVersion: $version, kind: "CronJob", metadata: {name: "nightly"}, spec: {schedule: "0 3 * * *", jobTemplate: {spec}}}'
}

# is_due: sets the last run of the CronJob `nightly` to yesterday, so that its controller starts a Job.
is_due() {
  local path
  path="$(admin get cronjob nightly --output json | jq -r '"/apis/\(.apiVersion)/namespaces/\(.metadata.namespace)/cronjobs/nightly/status"')"
  admin get cronjob nightly --output json | jq -c --arg at "$(ago 1)" '.status.lastScheduleTime = $at' \
    | accepted admin replace --raw "$path" --filename -
}

@test "Jobs that a user or the controller creates from a CronJob have the recorded digest of the CronJob" {
  namespace shipped
  local image first second
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(cron_job "$image")"
  [ "$(record_of cronjob nightly)" = "$first" ]
  move "$image" 120
  accepted ann create job by-hand --from cronjob/nightly
  [ "$(record_of job by-hand)" = "$first" ]
  wait_for_pods "$first"
  accepted ann patch cronjob nightly --type merge --patch '{"spec": {"schedule": "0 4 * * *"}}'
  [ "$(record_of cronjob nightly)" = "$first" ]
  is_due
  wait_for_pods "$first" "$first"
  accepted ann patch cronjob nightly --type merge --patch '{"spec": {"suspend": true}}'
  # A change of the template renews the record.
  refused stale-image ann set env cronjob nightly COLOR=green
  assert_contains "$output" "to keep the digest recorded before, write \`$first\`"
  move "$image" 2
  second="$(pinned "$image")"
  accepted ann set env cronjob nightly COLOR=green
  [ "$(record_of cronjob nightly)" = "$second" ]
}

@test "a Deployment older than the policies gets its first record when its template changes, not when it is scaled or labelled" {
  namespace none
  local image
  image="$(image app 1 3)"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$image"
  judge_by shipped
  accepted ann scale deployment web --replicas 2
  accepted ann label deployment web team=shop
  accepted ann label replicasets --all team=shop
  accepted ann patch deployment web --type merge --patch '{"spec": {"revisionHistoryLimit": 5, "replicas": 1}}'
  stays 4 has_replica_sets 1
  [ "$(record_of deployment web)" = none ]
  [ "$(recorded_at deployment web)" = none ]
  remake_pods
  wait_for_pods "$(pinned "$image")"
  [ "$(resolved)" = app ]
  # If the template of the new ReplicaSet differed from that of the Deployment, the controller would create another one.
  accepted ann delete replicasets --all
  wait_until 20 has_replica_sets 1
  stays 3 has_replica_sets 1

  accepted ann set env deployment web COLOR=green
  [ "$(record_of deployment web)" = "$(pinned "$image")" ]
  wait_until 20 has_replica_sets 2
  wait_for_pods "$(pinned "$image")"
  wait_until 20 nothing_is_resolved
  stays 4 has_replica_sets 2
  # The first revision has no record, so rollout undo looks up the tag.
  accepted ann rollout undo deployment web
  [ "$(record_of deployment web)" = "$(pinned "$image")" ]
  wait_until 20 has_replica_sets 3
  # The deployment controller restores the first revision without a record.
  accepted ann annotate deployment web deprecated.deployment.rollback.to=1
  wait_until 20 is_recorded none deployment web
  stays 3 has_replica_sets 3
  is_recorded none deployment web
}
# is_recorded RECORD RESOURCE…: succeeds if the template of a workload has this record for the container `app`.
is_recorded() { [ "$(record_of "${@:2}")" = "$1" ]; }
nothing_is_resolved() { [ -z "$(resolved)" ]; }

@test "a StatefulSet older than the policies gets no new revision when it is scaled or labelled" {
  namespace none
  local image
  image="$(image app 1 3)"
  accepted create ann "$(stateful_set "$image")"
  wait_for_pods "$image" "$image"
  judge_by shipped
  accepted ann scale statefulset web --replicas 3
  accepted ann label statefulset web team=shop
  accepted ann patch statefulset web --type merge --patch '{"spec": {"updateStrategy": {"rollingUpdate": {"partition": 0}}}}'
  wait_for_pods "$image" "$image" "$(pinned "$image")"
  stays 3 has_revisions 1
  [ "$(record_of statefulset web)" = none ]
}

@test "the first record of a Deployment older than the policies is judged" {
  namespace none
  local image
  image="$(image app 1 120)"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$image"
  judge_by shipped
  accepted ann label deployment web team=shop
  refused stale-image ann rollout restart deployment web
  [ "$(record_of deployment web)" = none ]
}

@test "findings about pods of a Deployment older than the policies are warnings, and annotations of the pods cannot hide them" {
  namespace none
  local image found
  image="$(image app 1 3)"
  accepted create ann "$(deployment web "$image" '.spec.template.metadata.annotations["container-patch.dev/resolved"] = "other"')"
  wait_for_pods "$image"
  judge_by shipped
  move "$image" 120
  remake_pods
  wait_for_pods "$(pinned "$image")"
  [ "$(resolved)" = app ]
  if [ -n "${OWN_CONTROL_PLANE:-}" ]; then
    found="$(event '.verb == "create" and .objectRef.resource == "pods" and (.annotations | tostring | test("unrecordedPods"))')"
    [ "$(annotation enforce findings <<< "$found" | jq -r '.[] | select(.passed == "unrecordedPods").code')" = stale-image ]
  fi
}

@test "with unrecordedPods: deny, a moved tag does not reach the pods of a Deployment older than the policies" {
  namespace none
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image" '.spec.template.metadata.annotations["container-patch.dev/resolved"] = "other"')"
  wait_for_pods "$image"
  judge_by unrecorded-denied
  accepted otto delete pods --all --wait=false
  # The digest is judged and is fresh.
  wait_for_pods "$first"
  move "$image" 120
  accepted otto delete pods --all --wait=false
  refused_pods stale-image
  wait_for_pods
  # A digest in the image field needs no record.
  accepted ann set image deployment web app="$first"
  wait_for_pods "$first"
}

@test "with unrecordedPods: deny, pods with a recorded or written digest are created after their image has become stale" {
  namespace none
  local image stale
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  accepted create ann "$(deployment recorded "$image" "$(as_recorded "$stale")")"
  accepted create ann "$(deployment written "$stale")"
  wait_for_pods "$image" "$stale"
  image app 1 3 > /dev/null
  judge_by unrecorded-denied
  remake_pods
  wait_for_pods "$stale" "$stale"
}

@test "with unrecordedPods: deny, pods with records are created while the registry is down" {
  own_control_plane "this test stops the registry"
  namespace unrecorded-denied
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  registry_is_down
  live_on "$first"
}

@test "the digest in a forged record is judged, in a workload, in a ReplicaSet and on a bare pod" {
  namespace shipped
  local image stale fresh absent kept
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  image app 1 3 > /dev/null
  fresh="$(pinned "$image")"
  absent="$image@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
  refused stale-image create ann "$(deployment web "$image" "$(as_recorded "$stale")")"
  refused stale-image create ann "$(deployment web "$image" "$(as_recorded "$stale") | .kind = \"ReplicaSet\" | del(.spec.strategy)")"
  refused stale-image create ann "$(pod shell "$image" | jq -c "$(pod_as_recorded "$stale")")"
  refused evidence-unavailable create ann "$(deployment web "$image" "$(as_recorded "$absent")")"
  refused evidence-unavailable create ann "$(pod shell "$image" | jq -c "$(pod_as_recorded "$absent")")"

  # A forged record in an admitted workload.
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$fresh"
  refused stale-image ann patch deployment web --patch "$(deployment web "$image" "$(as_recorded "$stale")" | jq -c '{spec: {template: .spec.template}}')"
  refused stale-image ann patch replicaset "$(admin get replicasets --output jsonpath='{.items[0].metadata.name}')" \
    --patch "$(deployment web "$image" "$(as_recorded "$stale")" | jq -c '{spec: {template: {metadata: {annotations: .spec.template.metadata.annotations}}}}')"
  [ "$(record_of deployment web)" = "$fresh" ]

  # A record of another image, or an invalid record, is renewed.
  for kept in "$REGISTRY/$NAMESPACE/other:1@${stale#*@}" "$image" "${stale/:1@/:2@}" '<>&@' ''; do
    accepted ann delete deployment web --wait=false
    accepted create ann "$(deployment web "$image" "$(as_recorded "$kept") | .spec.template.metadata.annotations[\"pin.container-patch.dev/gone\"] = \"$stale\"")"
    [ "$(record_of deployment web)" = "$fresh" ]
    [ "$(annotation_of gone deployment web)" = none ]
  done
}

@test "the digest in a forged record of a ControllerRevision is judged" {
  namespace shipped
  local image stale fresh revision
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  image app 1 3 > /dev/null
  fresh="$(pinned "$image")"
  accepted create otto "$(stateful_set "$image")"
  wait_for_pods "$fresh" "$fresh"
  revision="$(admin get controllerrevisions --output json | jq -c '.items[0]')"
  [ "$(jq -r '.data.spec.template.metadata.annotations["pin.container-patch.dev/app"]' <<< "$revision")" = "$fresh" ]
  refused stale-image create otto "$(jq -c --arg stale "$stale" '
    .metadata |= {name: "forged", labels, ownerReferences, annotations} | .revision += 1
    | .data.spec.template.metadata.annotations["pin.container-patch.dev/app"] = $stale' <<< "$revision")"
  accepted otto annotate controllerrevision "$(jq -r .metadata.name <<< "$revision")" team=shop
}

@test "a valid record in a user's manifest stays, as after a restore from a backup" {
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  image app 1 120 > /dev/null
  accepted create ann "$(deployment web "$image" "$(as_recorded "$first")")"
  [ "$(record_of deployment web)" = "$first" ]
  wait_for_pods "$first"
}

@test "a controller's pod whose image has another digest than its record is judged in full" {
  namespace none
  local image stale fresh
  image="$(image app 1 120)"
  stale="$(pinned "$image")"
  image app 1 3 > /dev/null
  fresh="$(pinned "$image")"
  accepted create ann "$(deployment web "$stale" "$(as_recorded "$fresh")")"
  wait_for_pods "$stale"
  judge_by shipped
  accepted otto delete pods --all --wait=false
  refused_pods stale-image
  wait_for_pods
}

@test "without the pinning policy, or with it in monitor mode, a forged record does not admit a stale image" {
  local image fresh policies
  for policies in alone pin-monitored; do
    namespace "$policies"
    image="$(image app 1 3)"
    fresh="$(pinned "$image")"
    push_image "$NAMESPACE/app" 1 "$(ago 120)" > /dev/null
    refused stale-image create ann "$(pod shell "$image" | jq -c "$(pod_as_recorded "$fresh")")"
    assert_contains "$output" "[unpinned-image]"
    # The template is judged by the record. The pods have only the tag, and are judged by it.
    accepted create ann "$(deployment web "$image" "$(as_recorded "$fresh")")"
    refused_pods stale-image
    wait_for_pods
  done
}

@test "containers of any name get a record, in ReplicationControllers and PodTemplates, too" {
  namespace shipped
  local image other first long made
  image="$(image app 1 3)"
  other="$(image other 1 3)"
  first="$(pinned "$image")"
  long="$(printf 'a%.0s' {1..63})"
  accepted create ann "$(deployment web "$image" '.spec.template.spec |= (
    .containers += [{name: "'"$long"'", image: "'"$other"'"}, {name: "recorded-at", image: "'"$image"'"}, {name: "digest", image: "'"$first"'"}]
    | .initContainers = [{name: "init", image: "'"$other"'"}])')"
  wait_for_pods "$first" "$first" "$first" "$(pinned "$other")"
  [ "$(admin get pods --output jsonpath='{.items[0].spec.initContainers[0].image}')" = "$(pinned "$other")" ]
  [ "$(resolved)" = "" ]
  [ "$(annotation_of "$long" deployment web)" = "$(pinned "$other")" ]
  [ "$(annotation_of init deployment web)" = "$(pinned "$other")" ]
  [ "$(annotation_of digest deployment web)" = none ]
  [[ "$(recorded_at deployment web)" == 20* ]]
  [ "$(template_of deployment web | jq -r '.metadata.annotations["container.pin.container-patch.dev/recorded-at"]')" = "$first" ]

  accepted create ann "$(deployment controller "$image" '.apiVersion = "v1" | .kind = "ReplicationController" | del(.spec.strategy)
    | .spec.selector = .spec.selector.matchLabels')"
  [ "$(record_of replicationcontroller controller)" = "$first" ]
  made="$(otto create --output json --filename - <<< "$(deployment template "$image" '.apiVersion = "v1" | .kind = "PodTemplate"
    | .template = .spec.template | del(.spec)')")"
  [ "$(jq -r '.template.metadata.annotations["pin.container-patch.dev/app"]' <<< "$made")" = "$first" ]
}

# owned NAME IMAGE [JQ]: prints a ReplicaSet with a ConfigMap as its controller, similar to one that a third-party controller creates.
owned() {
  local owner
  owner="$(admin get configmap owner --output json | jq -c '{apiVersion, kind, name: .metadata.name, uid: .metadata.uid, controller: true}')"
  deployment "$1" "$2" "${3:-.}" | jq -c --argjson owner "$owner" '.kind = "ReplicaSet" | del(.spec.strategy) | .metadata.ownerReferences = [$owner]'
}

@test "a ReplicaSet with a controller gets no record, even if a user creates and changes it" {
  namespace shipped
  local image
  image="$(image app 1 3)"
  accepted otto create configmap owner
  accepted create otto "$(owned web "$image")"
  [ "$(record_of replicaset web)" = none ]
  wait_for_pods "$(pinned "$image")"
  accepted otto patch replicaset web --type merge --patch '{"spec": {"template": {"metadata": {"labels": {"color": "green"}}}}}'
  [ "$(record_of replicaset web)" = none ]
  [ "$(recorded_at replicaset web)" = none ]
  # A ReplicaSet without a controller gets a record.
  accepted create ann "$(deployment bare "$image" '.kind = "ReplicaSet" | del(.spec.strategy)')"
  [ "$(record_of replicaset bare)" = "$(pinned "$image")" ]
}

@test "with unrecordedPods: deny, a moved tag does not reach the pods of a ReplicaSet with a controller" {
  namespace unrecorded-denied
  local image
  image="$(image app 1 3)"
  accepted otto create configmap owner
  accepted create otto "$(owned web "$image")"
  wait_for_pods "$(pinned "$image")"
  move "$image" 120
  accepted otto delete pods --all --wait=false
  refused_pods stale-image
  wait_for_pods
}

# rollout NAME IMAGE [JQ]: prints a Rollout of Argo with the template of a Deployment.
rollout() { deployment "$1" "$2" '.apiVersion = "argoproj.io/v1alpha1" | .kind = "Rollout" | del(.spec.strategy) | '"${3:-.}"; }

@test "a custom workload gets a record, and the ReplicaSets of its controller keep it unchanged" {
  own_control_plane "this test creates a CustomResourceDefinition"
  accepted kubectl apply --filename - <<< '{
    "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "rollouts.argoproj.io"},
    "spec": {"group": "argoproj.io", "scope": "Namespaced", "names": {"kind": "Rollout", "plural": "rollouts", "singular": "rollout"},
      "versions": [{"name": "v1alpha1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]}}'
  accepted kubectl wait --for condition=Established --timeout 30s crd/rollouts.argoproj.io
  namespace rollouts
  local image first second manifest="$BATS_TEST_TMPDIR/web.json" template
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  rollout web "$image" > "$manifest"
  accepted otto apply --filename "$manifest"
  [ "$(record_of rollout web)" = "$first" ]
  move "$image" 120

  # The same requests as from its controller, which counts as a user.
  accepted otto create configmap owner
  template="$(template_of rollout web)"
  accepted create otto "$(owned web "$image" ".spec.template = $template")"
  [ "$(template_of replicaset web)" != null ]
  [ "$(template_of replicaset web | jq -S .metadata.annotations)" = "$(jq -S .metadata.annotations <<< "$template")" ]
  wait_for_pods "$first"
  remake_pods
  wait_for_pods "$first"

  accepted otto apply --filename "$manifest"
  accepted otto replace --filename "$manifest"
  accepted otto patch rollout web --type merge --patch '{"spec": {"paused": false}}'
  accepted otto patch rollout web --type merge --patch '{"spec": {"paused": null}}'
  [ "$(template_of rollout web)" = "$template" ]
  refused stale-image otto patch rollout web --type merge --patch '{"spec": {"template": {"metadata": {"labels": {"color": "green"}}}}}'
  assert_contains "$output" "to keep the digest recorded before, write \`$first\`"
  move "$image" 2
  second="$(pinned "$image")"
  accepted otto patch rollout web --type merge --patch '{"spec": {"template": {"metadata": {"labels": {"color": "green"}}}}}'
  [ "$(record_of rollout web)" = "$second" ]
  # The previous template, as an undo writes it.
  accepted otto patch rollout web --type json --patch "$(jq -nc --argjson template "$template" '[{op: "replace", path: "/spec/template", value: $template}]')"
  [ "$(template_of rollout web)" = "$template" ]
}
