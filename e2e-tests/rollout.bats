#!/usr/bin/env bats
# The rule `rollout`: when a new image is admitted. The images are in a real registry on loopback. The time is 2026-11-20, noon.

load helpers

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export REGISTRY_FOLDER="$BATS_FILE_TMPDIR/registry"
  mkdir -p "$REGISTRY_FOLDER"
  start_registry "$REGISTRY_FOLDER"
  export REGISTRY REGISTRY_PID
  push_image app 1.0 2026-08-25T08:00:00Z
  push_image app 1.1 2026-11-19T08:00:00Z
  YOUNG="$(push_image app 1.2 2026-11-20T08:00:00Z)"
  export YOUNG
  push_image app undated ""
}

teardown_file() {
  kill "$REGISTRY_PID"
}

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
}

# run_rule KIND IMAGE ROLLOUT [JQ [ENFORCEMENT [PLATFORMS]]]: runs the policy for a new workload, with only this rule enabled and with
# these settings. A jq program can change the request.
run_rule() {
  local object flags=(--insecure-registry "$REGISTRY") settings api=apps/v1
  object="$(pod "$REGISTRY/$2")"
  if [ "$1" = Pod ]; then api=v1; else object="$(jq -c '{spec: {template: .}}' <<< "$object")"; fi
  settings="$(jq -nc --argjson rollout "$3" --argjson enforcement "${5:-{\}}" --argjson platforms "${6:-null}" '{evaluateAt: "2026-11-20T12:00:00Z", pinning: {action: "off"}, schedule: {action: "off"},
    baseImage: {action: "off"}, scan: {action: "off"}, $rollout, $enforcement, $platforms}')"
  if [ -n "$KWCTL" ]; then
    printf 'insecure_sources: ["%s"]\n' "$REGISTRY" > "$BATS_TEST_TMPDIR/sources.yml"
    flags=(--sources-path "$BATS_TEST_TMPDIR/sources.yml")
  fi
  policy_run --request-path "$(request "$api" "$1" "$object" "${4:-.}")" --settings-json "$settings" "${flags[@]}"
}

# ask KIND IMAGE ROLLOUT [JQ [ENFORCEMENT [PLATFORMS]]]: like run_rule, and expects a response.
ask() {
  run_rule "$@"
  [ "$status" -eq 0 ]
}

THREE_DAYS='{"minAge": "3d"}'

# updates OLD_IMAGE: a jq program that makes the request an UPDATE of a workload that had this image.
updates() { printf '.operation = "UPDATE" | .oldObject = (.object | .spec.template.spec.containers[0].image = "%s")' "$REGISTRY/$1"; }

@test "a new image is admitted from its minimum age on, and the message gives that time" {
  ask Deployment app:1.0 "$THREE_DAYS"
  assert_warned evaluate-at-set
  ask Deployment app:1.1 "$THREE_DAYS"
  assert_denied too-young
  assert_contains "$(message)" "image \`$REGISTRY/app:1.1\` was built 2026-11-19T08:00:00Z, and the minimum age is 3 days; deploy it on or after 2026-11-22T08:00:00Z, or deploy an older build"
  ask Deployment app:1.1 '{"minAge": "1d"}'
  assert_warned evaluate-at-set
}

@test "an image that was built today is admitted without minAge, or with the rule off" {
  ask Pod app:1.2 '{}'
  assert_warned evaluate-at-set
  ask Pod app:1.2 '{"minAge": "3d", "action": "off"}'
  assert_warned evaluate-at-set
  ask Pod app:1.2 '{"minAge": "3d", "action": "warn"}'
  assert_warned evaluate-at-set too-young
}

@test "an UPDATE to a young image is denied, and one that does not change the image is admitted" {
  ask Deployment app:1.1 "$THREE_DAYS" "$(updates app:1.0)"
  assert_denied too-young
  ask Deployment app:1.1 "$THREE_DAYS" "$(updates app:1.1) | .object.spec.replicas = 3"
  assert_warned evaluate-at-set
  ask Deployment app:1.0 "$THREE_DAYS" "$(updates app:1.1)"
  assert_warned evaluate-at-set
}

@test "a controller's pod is not judged if its digest was judged with the workload, and causes a warning if not" {
  local controller='.userInfo.username = "system:serviceaccount:kube-system:replicaset-controller"'
  ask Pod "app@$YOUNG" "$THREE_DAYS" "$controller"
  assert_warned evaluate-at-set
  # The tag may have moved since.
  ask Pod app:1.2 "$THREE_DAYS" "$controller"
  assert_warned evaluate-at-set too-young
  ask Pod app:1.2 "$THREE_DAYS" "$controller" '{"unrecordedPods": "deny"}'
  assert_denied too-young
  # Only the authenticated user makes a request one of a controller; an owner reference does not.
  ask Pod app:1.2 "$THREE_DAYS" '.object.metadata.ownerReferences = [{apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "1", controller: true}]'
  assert_denied too-young
}

@test "the youngest image of an index decides, and the message has its moment" {
  local amd arm
  amd="$(push_image index amd 2026-11-18T00:00:00Z)"
  arm="$(push_image index arm 2026-11-20T06:00:00Z)"
  push_index index 1.0 "$amd" "$arm"
  ask Pod index:1.0 "$THREE_DAYS" . '{}' '["linux/amd64", "linux/arm64"]'
  assert_denied too-young
  assert_contains "$(message)" "(linux/arm64) was built 2026-11-20T06:00:00Z, and the minimum age is 3 days; deploy it on or after 2026-11-23T06:00:00Z"
}

@test "minAge does not apply to requests of the audit scanner" {
  ask Pod app:1.2 "$THREE_DAYS" '.userInfo = {} | .resource.resource = "Pod"'
  assert_warned evaluate-at-set
}

@test "schedule.unknownBuildDate decides about an image without a build date" {
  ask Pod app:undated "$THREE_DAYS"
  assert_warned evaluate-at-set
}

@test "an invalid minimum age is rejected with its path" {
  run_rule Pod app:1.2 '{"minAge": "3"}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'rollout.minAge: `3` has no unit; write `3d`'
}
