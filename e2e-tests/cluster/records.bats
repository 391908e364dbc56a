#!/usr/bin/env bats
# What was admitted is what runs: the template of a workload has a record of the digest that its image had when a user wrote it, and
# the controllers' pods have that digest, whatever becomes of the tag and of the registry.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets `output`, and runs each test in a subshell.

load helpers

setup() {
  # It can be stopped. A cluster of somebody else has one registry.
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

# registry_is_down: stops the registry, and has policy-server forget what it answered.
registry_is_down() {
  stop stoppable
  forget
}

# move IMAGE DAYS: pushes the tag again, with an image that was built so many days ago.
move() {
  local path="${1#"$REGISTRY/"}"
  push_image "${path%:*}" "${path##*:}" "$(ago "$2")" > /dev/null
  forget
}

# record_of RESOURCE…, recorded_at RESOURCE…: the record of the container `app` in a workload's template, or `none`; when the
# records were written.
record_of() { annotation_of app "$@"; }
recorded_at() { annotation_of recorded-at "$@"; }
annotation_of() {
  local key="$1"
  shift
  admin get "$@" --output json \
    | jq -r --arg key "pin.container-patch.dev/$key" '(.spec.jobTemplate.spec // .spec).template.metadata.annotations[$key] // "none"'
}

# as_recorded REFERENCE: a jq program that writes a record of the container `app` into the template of a workload.
as_recorded() { echo '.spec.template.metadata.annotations["pin.container-patch.dev/app"] = "'"$1"'"'; }

# pod_as_recorded REFERENCE: the same for a pod.
pod_as_recorded() { echo '.metadata.annotations["pin.container-patch.dev/app"] = "'"$1"'"'; }

# resolved: which containers the pinning policy says that it looked up, of each pod that says so.
resolved() { admin get pods --output json | jq -r '.items[].metadata.annotations["container-patch.dev/resolved"] // empty'; }

# template_of RESOURCE…: the template of a workload.
template_of() { admin get "$@" --output json | jq -S '.spec.template'; }

# has_rolled_out: whether the Deployment `web` has been seen by its controller, which counts its revisions in an annotation.
has_rolled_out() { [ -n "$(admin get deployment web --output jsonpath='{.metadata.annotations.deployment\.kubernetes\.io/revision}')" ]; }

# evict NAME: evicts that pod, as `kubectl drain` does.
evict() {
  local version
  version="$(kubectl get --raw /api/v1 | jq -r '.resources[] | select(.name == "pods/eviction") | "\(.group)/\(.version)"')"
  jq -nc --arg version "$version" --arg name "$1" '{apiVersion: $version, kind: "Eviction", metadata: {name: $name}}' \
    | accepted otto create --raw "/api/v1/namespaces/$NAMESPACE/pods/$1/eviction" --filename -
}

# live_on IMAGE: the pods of the Deployment `web`, which has one, are deleted, scaled to three and evicted, and all that replace them
# have that image.
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

# refused_pods CODE: waits until a controller's pod has been refused for a finding of that code.
refused_pods() {
  if ! wait_until 20 has_refused_pods "$1"; then
    printf 'expected a pod to be refused for [%s]; pods: %s; events:\n' "$1" "$(pod_images | paste -sd' ')"
    admin get events --field-selector reason=FailedCreate --output jsonpath='{.items[*].message}'
    return 1
  fi
}
has_refused_pods() { [[ "$(admin get events --field-selector reason=FailedCreate --output jsonpath='{.items[*].message}')" == *"[$1]"* ]]; }

@test "a tag that is pushed again as an old image reaches no pod of the Deployment that was admitted before" {
  namespace shipped
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"

  move "$image" 120
  refused stale-image create ann "$(pod shell "$image")"
  live_on "$first"
  # Git has the tag, and the cluster what it meant.
  [ "$(image_of deployment web)" = "$image" ]
  [ "$(record_of deployment web)" = "$first" ]
  [ "$(resolved)" = "" ]
  stays 3 has_replica_sets 1
  if [ -n "${OWN_CONTROL_PLANE:-}" ]; then
    # No controller's pod needed leniency for the lack of a record.
    [ "$(events '.annotations | tostring | test("unrecordedPods")')" = "" ]
  fi
}

@test "while the registry is down, the pods of an admitted Deployment are deleted, scaled and evicted, and the next ones are pinned" {
  own_control_plane "the registry is not ours to stop"
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

@test "rollout restart takes what the tag is now, and judges it" {
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
  # What to write where it should stay.
  assert_contains "$output" "to keep the digest recorded before, write \`$second\`"
  assert_contains "$output" "$(pinned "$image")"
  [ "$(record_of deployment web)" = "$second" ]
  remake_pods
  wait_for_pods "$second"
  stays 3 has_replica_sets 2
}

@test "what rollout restart would not take is kept by the recorded digest, written as the image" {
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
  # The digest that is written wins, and removes the record.
  [ "$(record_of deployment web)" = none ]
  [ "$(image_of deployment web)" = "$first" ]
  wait_for_pods "$first"
}

@test "rollout restart while the registry is down keeps the record, with a warning" {
  own_control_plane "the registry is not ours to stop"
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
  # No record says what this one is.
  refused evidence-unavailable ann set image deployment web app="$other"
  stays 3 has_replica_sets 2
}

@test "rollout undo brings the old record back, and not what the tag is now" {
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
  # The deployment controller writes the old template itself.
  accepted ann annotate deployment web deprecated.deployment.rollback.to=0
  wait_for_pods "$first"
  [ "$(recorded_at deployment web)" = "$at" ]
  stays 3 has_replica_sets 2
}

@test "rollout undo between two revisions of one digest goes back to the first ReplicaSet" {
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

@test "the recorded digest of an image that has grown stale can be written as the image" {
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

@test "rollout undo to a record of an image that has grown stale is refused" {
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

@test "kubectl apply, replace and diff of the same manifest change nothing, however the tag has moved" {
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
  # It removes the annotations of the Deployment, too, and the controller's among them; that counts as a generation.
  accepted ann replace --filename "$manifest"
  [ "$(template_of deployment web)" = "$template" ]
  wait_until 20 has_rolled_out
  stays 3 has_replica_sets 1
  [ "$(pod_ids)" = "$pods" ]
}

@test "kubectl apply --server-side and diff --server-side of the same manifest change nothing, however the tag has moved" {
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

@test "pods of a StatefulSet have the digest that was recorded for their revision" {
  namespace shipped
  local image first second
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  # One pod, since the next one waits until the first one is ready.
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
  # The update does not reach the pod, and neither does the new digest.
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

@test "kubectl apply and replace of the same StatefulSet change nothing, however the tag has moved" {
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

@test "pods of a DaemonSet have the digest that was recorded for their revision" {
  own_control_plane "nodes are not ours to make"
  namespace shipped
  local image first second
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  # A pod for each node.
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

# job IMAGE: a Job `once` with that image.
job() {
  jq -nc --arg image "$1" '{
    apiVersion: "batch/v1", kind: "Job", metadata: {name: "once"},
    spec: {template: {spec: {restartPolicy: "Never", containers: [{name: "app", image: $image}]}}}}'
}

@test "pods of a Job have the digest that was recorded when it was created" {
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
  # The template of a Job cannot be changed, so a manifest without the record would be refused if it did not get it back.
  admin get job once --output json | jq 'del(.spec.template.metadata.annotations)' > "$BATS_TEST_TMPDIR/once.json"
  accepted ann replace --filename "$BATS_TEST_TMPDIR/once.json"
  [ "$(record_of job once)" = "$first" ]
  accepted ann patch job once --type merge --patch '{"spec": {"parallelism": 0}}'
  [ "$(record_of job once)" = "$first" ]
}

# cron_job IMAGE: a CronJob `nightly` with that image.
cron_job() {
  local version=batch/v1
  kubectl get --raw "/apis/$version" | jq -e 'any(.resources[]; .name == "cronjobs")' > /dev/null || version=batch/v1beta1
  job "$1" | jq -c --arg version "$version" '{
    apiVersion: $version, kind: "CronJob", metadata: {name: "nightly"}, spec: {schedule: "0 3 * * *", jobTemplate: {spec}}}'
}

# is_due: has the controller find that the CronJob `nightly` has not run since yesterday.
is_due() {
  local path
  path="$(admin get cronjob nightly --output json | jq -r '"/apis/\(.apiVersion)/namespaces/\(.metadata.namespace)/cronjobs/nightly/status"')"
  admin get cronjob nightly --output json | jq -c --arg at "$(ago 1)" '.status.lastScheduleTime = $at' \
    | accepted admin replace --raw "$path" --filename -
}

@test "Jobs of a CronJob have the digest that was recorded when the CronJob was written, by hand and by its controller" {
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
  # A change of its template renews it.
  refused stale-image ann set env cronjob nightly COLOR=green
  assert_contains "$output" "to keep the digest recorded before, write \`$first\`"
  move "$image" 2
  second="$(pinned "$image")"
  accepted ann set env cronjob nightly COLOR=green
  [ "$(record_of cronjob nightly)" = "$second" ]
}

@test "a Deployment from before the policies gets its first record when its template changes, and not when it is scaled or labelled" {
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
  # A ReplicaSet whose template is not that of its Deployment makes the controller create another one.
  accepted ann delete replicasets --all
  wait_until 20 has_replica_sets 1
  stays 3 has_replica_sets 1

  accepted ann set env deployment web COLOR=green
  [ "$(record_of deployment web)" = "$(pinned "$image")" ]
  wait_until 20 has_replica_sets 2
  wait_for_pods "$(pinned "$image")"
  wait_until 20 nothing_is_resolved
  stays 4 has_replica_sets 2
  # Its first revision has no record to go back to.
  accepted ann rollout undo deployment web
  [ "$(record_of deployment web)" = "$(pinned "$image")" ]
  wait_until 20 has_replica_sets 3
  # The controller goes back to it as it is.
  accepted ann annotate deployment web deprecated.deployment.rollback.to=1
  wait_until 20 is_recorded none deployment web
  stays 3 has_replica_sets 3
  is_recorded none deployment web
}
# is_recorded RECORD RESOURCE…: whether that is the record of the container `app` in a workload's template.
is_recorded() { [ "$(record_of "${@:2}")" = "$1" ]; }
nothing_is_resolved() { [ -z "$(resolved)" ]; }

@test "a StatefulSet from before the policies makes no revision when it is scaled or labelled" {
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

@test "the first record of a Deployment from before the policies is judged" {
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

@test "pods of a Deployment from before the policies are warned about, whatever their tag is now, and their annotations cannot hide it" {
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

@test "with unrecordedPods: deny, a moved tag reaches no pod of a Deployment from before the policies either" {
  namespace none
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image" '.spec.template.metadata.annotations["container-patch.dev/resolved"] = "other"')"
  wait_for_pods "$image"
  judge_by unrecorded-denied
  accepted otto delete pods --all --wait=false
  # It is judged, and fresh.
  wait_for_pods "$first"
  move "$image" 120
  accepted otto delete pods --all --wait=false
  refused_pods stale-image
  wait_for_pods
  # A digest that is written needs no record.
  accepted ann set image deployment web app="$first"
  wait_for_pods "$first"
}

@test "with unrecordedPods: deny, pods whose digest is recorded or written in their workload are made after it has grown stale" {
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

@test "with unrecordedPods: deny, pods with records are made while the registry is down" {
  own_control_plane "the registry is not ours to stop"
  namespace unrecorded-denied
  local image first
  image="$(image app 1 3)"
  first="$(pinned "$image")"
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$first"
  registry_is_down
  live_on "$first"
}

@test "a forged record is judged as the digest it names, in a workload, in a ReplicaSet and on a bare pod" {
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

  # One that was forged in a workload that was admitted.
  accepted create ann "$(deployment web "$image")"
  wait_for_pods "$fresh"
  refused stale-image ann patch deployment web --patch "$(deployment web "$image" "$(as_recorded "$stale")" | jq -c '{spec: {template: .spec.template}}')"
  refused stale-image ann patch replicaset "$(admin get replicasets --output jsonpath='{.items[0].metadata.name}')" \
    --patch "$(deployment web "$image" "$(as_recorded "$stale")" | jq -c '{spec: {template: {metadata: {annotations: .spec.template.metadata.annotations}}}}')"
  [ "$(record_of deployment web)" = "$fresh" ]

  # One of another image, or no record at all, is renewed.
  for kept in "$REGISTRY/$NAMESPACE/other:1@${stale#*@}" "$image" "${stale/:1@/:2@}" '<>&@' ''; do
    accepted ann delete deployment web --wait=false
    accepted create ann "$(deployment web "$image" "$(as_recorded "$kept") | .spec.template.metadata.annotations[\"pin.container-patch.dev/gone\"] = \"$stale\"")"
    [ "$(record_of deployment web)" = "$fresh" ]
    [ "$(annotation_of gone deployment web)" = none ]
  done
}

@test "a ControllerRevision with a forged record is judged as the digest it names" {
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

@test "a valid record that a user brings along stays, as from a backup" {
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

@test "where the pinning policy is not there, or in monitor, a forged record gains nothing" {
  local image fresh policies
  for policies in alone pin-monitored; do
    namespace "$policies"
    image="$(image app 1 3)"
    fresh="$(pinned "$image")"
    push_image "$NAMESPACE/app" 1 "$(ago 120)" > /dev/null
    refused stale-image create ann "$(pod shell "$image" | jq -c "$(pod_as_recorded "$fresh")")"
    assert_contains "$output" "[unpinned-image]"
    # The template is judged by the record; the pods have the tag, and are judged by it.
    accepted create ann "$(deployment web "$image" "$(as_recorded "$fresh")")"
    refused_pods stale-image
    wait_for_pods
  done
}

@test "containers of any name have a record, and those of every kind with a template" {
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

# owned NAME IMAGE JQ: a ReplicaSet that is controlled by a ConfigMap of the namespace, as the controllers of others make them.
owned() {
  local owner
  owner="$(admin get configmap owner --output json | jq -c '{apiVersion, kind, name: .metadata.name, uid: .metadata.uid, controller: true}')"
  deployment "$1" "$2" "${3:-.}" | jq -c --argjson owner "$owner" '.kind = "ReplicaSet" | del(.spec.strategy) | .metadata.ownerReferences = [$owner]'
}

@test "a ReplicaSet that has a controller gets no record, though a user creates and changes it" {
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
  # Without one it is a workload as others.
  accepted create ann "$(deployment bare "$image" '.kind = "ReplicaSet" | del(.spec.strategy)')"
  [ "$(record_of replicaset bare)" = "$(pinned "$image")" ]
}

@test "with unrecordedPods: deny, a ReplicaSet that has a controller, and so no record, gets no moved tag in" {
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

# rollout NAME IMAGE [JQ]: a Rollout of Argo, with the template of a Deployment.
rollout() { deployment "$1" "$2" '.apiVersion = "argoproj.io/v1alpha1" | .kind = "Rollout" | del(.spec.strategy) | '"${3:-.}"; }

@test "a custom resource that the policies know gets a record, and the ReplicaSets that its controller makes keep it as it is" {
  own_control_plane "definitions of resources are not ours to make"
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

  # What its controller does, whose account is a user to the policies.
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
  # The former template, as an undo writes it.
  accepted otto patch rollout web --type json --patch "$(jq -nc --argjson template "$template" '[{op: "replace", path: "/spec/template", value: $template}]')"
  [ "$(template_of rollout web)" = "$template" ]
}
