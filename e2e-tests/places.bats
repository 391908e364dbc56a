#!/usr/bin/env bats
# For every kind and every place that names an image: a single unpinned image in that place is denied.

load helpers

CUSTOM='{"customWorkloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"}]}'
PLACES='["initContainers", "containers", "ephemeralContainers", "volumes"]'

# every_place_of API_VERSION KIND PATH [SETTINGS]: judges a kind whose pod template is at a path (a jq path), once with an unpinned image
# in each place, and once with pinned images only.
every_place_of() {
  local api_version="$1" kind="$2" path="$3" settings="${4:-{\}}" place object
  for place in $(jq -r '.[]' <<< "$PLACES") none; do
    object="$(jq -nc --arg bad "$place" --arg digest "$DIGEST" --argjson places "$PLACES" '
      ($places | map({key: ., value: [
        ("app:1" + (if . == $bad then "" else "@" + $digest end)) as $image
        | if . == "volumes" then {name: "here", image: {reference: $image}} else {name: "here", image: $image} end
      ]}) | from_entries) as $spec
      | {} | '"$path"'.spec = $spec')"
    judge "$api_version" "$kind" "$object" "$settings"
    if [ "$place" = none ]; then
      assert_accepted
    else
      assert_denied unpinned-image
      case "$place" in
        initContainers) assert_contains "$(message)" 'init container `here`: image `app:1`' ;;
        containers) assert_contains "$(message)" 'container `here`: image `app:1`' ;;
        ephemeralContainers) assert_contains "$(message)" 'ephemeral container `here`: image `app:1`' ;;
        volumes) assert_contains "$(message)" 'volume `here`: image `app:1`' ;;
      esac
    fi
  done
}

@test "Pod" { every_place_of v1 Pod ''; }
@test "PodTemplate" { every_place_of v1 PodTemplate .template; }
@test "ReplicationController" { every_place_of v1 ReplicationController .spec.template; }
@test "ReplicaSet" { every_place_of apps/v1 ReplicaSet .spec.template; }
@test "Deployment" { every_place_of apps/v1 Deployment .spec.template; }
@test "StatefulSet" { every_place_of apps/v1 StatefulSet .spec.template; }
@test "DaemonSet" { every_place_of apps/v1 DaemonSet .spec.template; }
@test "Job" { every_place_of batch/v1 Job .spec.template; }
@test "CronJob" { every_place_of batch/v1 CronJob .spec.jobTemplate.spec.template; }
@test "a custom workload" { every_place_of argoproj.io/v1alpha1 Rollout .spec.template "$CUSTOM"; }

@test "an ephemeral container that is added to a running pod is judged" {
  local object
  object="$(jq -nc --arg digest "$DIGEST" '{spec: {
    containers: [{name: "app", image: ("app:1@" + $digest)}],
    ephemeralContainers: [{name: "debug", image: "busybox"}]}}')"
  judge v1 Pod "$object" '{}' '.operation = "UPDATE" | .subResource = "ephemeralcontainers"'
  assert_denied forbidden-tag
  assert_contains "$(message)" 'ephemeral container `debug`: image `busybox`'
}

@test "all findings are reported in a fixed order: init containers, containers, volumes" {
  judge apps/v1 Deployment '{"spec": {"template": {"spec": {
    "volumes": [{"name": "d", "image": {"reference": "UPPER"}}],
    "containers": [{"name": "b", "image": "b:1"}, {"name": "c", "image": "c"}],
    "initContainers": [{"name": "a", "image": "a:1"}]}}}}'
  assert_denied unpinned-image unpinned-image forbidden-tag invalid-reference
  [ "$(message | wc -l)" -eq 4 ]
  [ "$(message | grep -o '^[a-z ]*`[a-d]`' | paste -sd,)" = 'init container `a`,container `b`,container `c`,volume `d`' ]
}
