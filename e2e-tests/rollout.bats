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

# The time is a Friday.
WORKING_DAYS='{"windows": [{"cron": "0 9 * * MON-THU", "timeZone": "Europe/Berlin", "for": "8h"}]}'
NEXT_WINDOW='is new, and the rollout windows are closed; deploy it on or after 2026-11-23T09:00:00+01:00, when the next window opens for 8 hours'
CONTROLLER='.userInfo.username = "system:serviceaccount:kube-system:replicaset-controller"'

# calendar KIND IMAGE SETTINGS [JQ]: runs the policy for a new workload, with only this rule enabled and with these settings. No host call
# has an answer.
calendar() {
  local api=apps/v1 object
  object="$(pod "$2")"
  case "$1" in
    Pod) api=v1 ;;
    Job) api=batch/v1 object="$(jq -c '{spec: {template: .}}' <<< "$object")" ;;
    *) object="$(jq -c '{spec: {template: .}}' <<< "$object")" ;;
  esac
  policy_run --request-path "$(request "$api" "$1" "$object" "${4:-.}")" --replay-host-capabilities-interactions "$(silence)" \
    --settings-json "$(jq -nc --argjson settings "$3" '{evaluateAt: "2026-11-20T12:00:00Z", pinning: {action: "off"}, schedule: {action: "off"},
      baseImage: {action: "off"}, scan: {action: "off"}} * $settings')"
  [ "$status" -eq 0 ]
}

# rolled_out [JQ]: prints settings with WORKING_DAYS, changed by a jq program.
rolled_out() { jq -nc --argjson rollout "$WORKING_DAYS" "{\$rollout} | ${1:-.}"; }

@test "outside of all windows a new image waits for the next one, and no registry is asked" {
  calendar Deployment app:1 "$(rolled_out)"
  assert_denied outside-window
  assert_contains "$(message)" "container \`app\`: image \`app:1\` $NEXT_WINDOW"
  calendar Deployment app:1 "$(rolled_out '.evaluateAt = "2026-11-23T08:00:00Z"')"
  assert_warned evaluate-at-set
  calendar Deployment app:1 "$(rolled_out '.evaluateAt = "2026-11-23T16:00:00Z"')"
  assert_denied outside-window
  assert_contains "$(message)" "on or after 2026-11-24T09:00:00+01:00"
  calendar Deployment app:1 "$(rolled_out '.rollout.action = "warn"')"
  assert_warned evaluate-at-set outside-window
  calendar Deployment app:1 "$(rolled_out '.rollout.action = "off"')"
  assert_warned evaluate-at-set
}

@test "a window keeps its length when clocks change" {
  local nights='.rollout.windows = [{cron: "0 22 * * SAT", timeZone: "Europe/Berlin", for: "8h"}]' time
  # Clocks in Berlin go back on 2026-10-25 and forward on 2027-03-28.
  for time in 2026-10-24T20:00:00Z 2026-10-25T03:59:59Z 2027-03-27T21:00:00Z 2027-03-28T04:59:59Z; do
    calendar Pod app:1 "$(rolled_out "$nights | .evaluateAt = \"$time\"")"
    assert_warned evaluate-at-set
  done
  for time in 2026-10-24T19:59:59Z 2026-10-25T04:00:00Z 2027-03-27T20:59:59Z 2027-03-28T05:00:00Z; do
    calendar Pod app:1 "$(rolled_out "$nights | .evaluateAt = \"$time\"")"
    assert_denied outside-window
  done
}

@test "outside of the windows, scaling and deletions are admitted, and an UPDATE to another image is denied" {
  local update='.operation = "UPDATE" | .oldObject = .object'
  calendar Deployment app:1 "$(rolled_out)" "$update | .object.spec.replicas = 3"
  assert_warned evaluate-at-set
  calendar Deployment app:1 "$(rolled_out)" '.operation = "DELETE" | .oldObject = .object | .object = null'
  assert_warned evaluate-at-set
  calendar Deployment app:1 "$(rolled_out)" "$update | .object.spec.template.spec.containers[0].image = \"app:2\""
  assert_denied outside-window
  calendar Pod app:1 "$(rolled_out)" '.userInfo = {} | .resource.resource = "Pod"'
  assert_warned evaluate-at-set
}

@test "outside of the windows and in a freeze, controllers create pods and Jobs, whatever their images" {
  local closed='.enforcement = {unrecordedPods: "deny"} | .schedule.freezes = [{from: "11-19", to: "11-22", reason: "sale", rollouts: "deny"}]'
  closed="$(rolled_out "$closed")"
  # A node drain: the digest was judged with the workload, or there is only a tag.
  calendar Pod "app@$YOUNG" "$closed" "$CONTROLLER"
  assert_warned evaluate-at-set
  calendar Pod app:1 "$closed" "$CONTROLLER"
  assert_warned evaluate-at-set
  # A webhook has added a container, whose digest the pinning policy resolved for the pod.
  calendar Pod "app@$YOUNG" "$closed" "$CONTROLLER | .object.spec.containers += [{name: \"mesh\", image: \"mesh@$YOUNG\"}]
    | .object.metadata.annotations = {\"container-patch.dev/resolved\": \"mesh\"}"
  assert_warned evaluate-at-set
  calendar Job app:1 "$closed" '.userInfo.username = "system:serviceaccount:kube-system:cronjob-controller"'
  assert_warned evaluate-at-set
  # Only the authenticated user makes a request one of a controller; an owner reference does not.
  calendar Pod "app@$YOUNG" "$closed" '.object.metadata.ownerReferences = [{apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "1", controller: true}]'
  assert_denied outside-window rollout-freeze
}

@test "a freeze with rollouts: deny stops new images, also if the schedule is off" {
  local freeze='{schedule: {patchDays: {cron: "0 0 1 * *", timeZone: "Europe/Berlin"}, freezes: [{from: "11-19", to: "11-22", reason: "winter\n sale", rollouts: "deny"}]}}'
  frozen() { jq -nc "$freeze | ${1:-.}"; }
  calendar Deployment app:1 "$(frozen)"
  assert_denied rollout-freeze
  assert_contains "$(message)" "image \`app:1\` is new, and rollouts are frozen; deploy it on or after 2026-11-23T00:00:00+01:00, when the freeze \`winter sale\` has ended; if it is urgent, ask the cluster admin for an exception"
  calendar Deployment app:1 "$(frozen '.evaluateAt = "2030-11-22T22:59:59Z"')"
  assert_denied rollout-freeze
  calendar Deployment app:1 "$(frozen '.evaluateAt = "2030-11-22T23:00:00Z"')"
  assert_warned evaluate-at-set
  calendar Deployment app:1 "$(frozen '.schedule.freezes[0].rollouts = "warn"')"
  assert_warned evaluate-at-set rollout-freeze
  calendar Deployment app:1 "$(frozen '.rollout.action = "warn"')"
  assert_warned evaluate-at-set rollout-freeze
  calendar Deployment app:1 "$(frozen '.rollout.action = "off"')"
  assert_warned evaluate-at-set
  calendar Deployment app:1 "$(frozen 'del(.schedule.freezes[0].rollouts)')"
  assert_warned evaluate-at-set
  # The next freeze follows on the next day, the one after it does not.
  calendar Deployment app:1 "$(frozen '.schedule.freezes += [{from: "2026-11-23", to: "2026-11-24", reason: "audit", rollouts: "deny"},
    {from: "2026-11-26", to: "2026-11-30", reason: "later", rollouts: "deny"}]')"
  assert_denied rollout-freeze
  assert_contains "$(message)" "on or after 2026-11-25T00:00:00+01:00, when the freeze \`audit\` has ended"
}

@test "an exception admits a new image outside of the windows" {
  local excepted='.exceptions = [{images: ["docker.io/library/app:*"], rules: ["outside-window"], until: "2026-11-20", reason: "SEC-61"}]'
  calendar Deployment app:1 "$(rolled_out "$excepted")"
  assert_warned evaluate-at-set excepted
}

@test "invalid windows and freezes are rejected with their path, and windows that are always open cause a warning" {
  validates() { run "$CONTAINER_PATCH" validate --settings-json "$1"; }
  validates '{"rollout": {"windows": [{"cron": "0 9 30 2 *", "for": "8h"}, {"cron": "0 9 * * *", "for": "0h"}, {"cron": "0 9 * * *"}]},
    "schedule": {"freezes": [{"from": "12-18", "to": "2027-01-03", "reason": "r"}]}}'
  [ "$status" -ne 0 ]
  assert_contains "$output" 'rollout.windows[0].cron: `0 9 30 2 *` never fires'
  assert_contains "$output" 'rollout.windows[1].for: `0h` is zero; write at least `1s`'
  assert_contains "$output" 'rollout.windows[2]: `for` is required'
  assert_contains "$output" 'schedule.freezes[0]: give both `from` and `to` with a year, such as `2026-12-18`, or both without, such as `12-18`'
  validates '{"schedule": {"freezes": [{"from": "07-01", "to": "06-30", "reason": "r"}]}}'
  [ "$status" -ne 0 ]
  assert_contains "$output" 'schedule.freezes: the yearly freezes cover the whole year, so every deadline is postponed for ever; leave some days free'
  validates '{"rollout": {"windows": [{"cron": "* * * * *", "for": "1m"}]}}'
  [ "$status" -eq 0 ]
  assert_contains "$output" 'rollout.windows: apart from clock changes, a window is always open, so the windows have no effect; shorten `for`, or remove the windows'
}

@test "an invalid minimum age is rejected with its path" {
  run_rule Pod app:1.2 '{"minAge": "3"}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'rollout.minAge: `3` has no unit; write `3d`'
}

# The image of the tests about staging. Answers of its registry and of the cluster are in a session.
INDEX="sha256:1111111111111111111111111111111111111111111111111111111111111111"
CONFIG="sha256:2222222222222222222222222222222222222222222222222222222222222222"
ARM="sha256:3333333333333333333333333333333333333333333333333333333333333333"
ARM_CONFIG="sha256:4444444444444444444444444444444444444444444444444444444444444444"
SOAK='{"soak": {"configMaps": [{"namespace": "container-patch", "name": "soaked-images"}], "for": "24h"}}'
FORBIDDEN='configmaps "soaked-images" is forbidden: User "system:serviceaccount:kubewarden:policy-server" cannot get resource "configmaps"'

# answers DIGEST MANIFEST CONFIG: adds an answer of the registry about the digest to the session: the image with this manifest.
answers() {
  exchange OciManifestAndConfig "image: registry.example.com/app@$1" "$(jq -nc --arg digest "$2" --arg config "$3" '{
    $digest, config: {}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $config}}}')"
}

# record DATA DIGEST…: adds the ConfigMap with this data to the session, with the question for these digests. Data that is not JSON is the
# error of the host.
record() {
  local data="$1" answer type=Success digests
  shift
  mapfile -t digests < <(printf 'data.%s\n' "${@/:/-}" | sort)
  answer="$(jq -c '{apiVersion: "v1", kind: "ConfigMap", metadata: {name: "soaked-images"}, data: map_values(tojson)}' <<< "$data" 2> /dev/null)" \
    || { answer="$data"; type=Error; }
  exchange KubernetesGetResource "$(printf 'api_version: v1\nkind: ConfigMap\nname: soaked-images\nnamespace: container-patch\ndisable_cache: false\n'
    masks "${digests[@]}")" "$answer" "$type"
}

# soaked DATA [ENFORCEMENT]: judges a new image by a record with this data, in which $DIGEST and $CONFIG name the image.
soaked() {
  : > "$SESSION"
  answers "$DIGEST" "$DIGEST" "$CONFIG"
  record "$1" "$CONFIG" "$DIGEST"
  judge_with_session "$DIGEST" "${2:-{\}}"
}

# judge_with_session DIGEST [ENFORCEMENT [PLATFORMS [ROLLOUT [AT]]]]: judges a pod with the image by the rule `rollout` only.
judge_with_session() {
  policy_run --request-path "$(request v1 Pod "$(pod "registry.example.com/app@$1")")" --allow-context-aware \
    --replay-host-capabilities-interactions "$SESSION" --settings-json "$(jq -nc --argjson enforcement "${2:-{\}}" \
      --argjson platforms "${3:-null}" --argjson rollout "${4:-$SOAK}" --arg at "${5:-2026-11-20T12:00:00Z}" '{evaluateAt: $at,
      pinning: {action: "off"}, schedule: {action: "off"}, baseImage: {action: "off"}, scan: {action: "off"}, $rollout, $enforcement, $platforms}')"
  [ "$status" -eq 0 ]
  [[ "$stderr" != *"was not replayed"* ]]
}

# entry DIGEST SINCE [UNTIL]: prints a record with an entry about this digest.
entry() {
  jq -nc --arg key "${1/:/-}" --arg since "$2" --arg until "${3:-}" \
    '{($key): ({$since, where: "staging/Deployment/app"} + if $until == "" then {} else {$until} end)}'
}

@test "an image is admitted after it has run in staging for the required time" {
  SESSION="$BATS_TEST_TMPDIR/session.yml"
  soaked "$(entry "$DIGEST" 2026-11-19T12:00:00Z)"
  assert_warned evaluate-at-set
  soaked "$(entry "$CONFIG" 2026-11-19T12:00:00Z)"
  assert_warned evaluate-at-set
  soaked "$(entry "$DIGEST" 2026-11-20T08:00:00Z)"
  assert_denied not-soaked
  [ "$(response .status.code)" = 465 ]
  assert_contains "$(message)" "has run in staging for 4 hours and must run there for 1 day; deploy it on or after 2026-11-21T08:00:00Z (ConfigMap \`container-patch/soaked-images\`: \`staging/Deployment/app\`)"
  # That moment.
  : > "$SESSION"
  answers "$DIGEST" "$DIGEST" "$CONFIG"
  record "$(entry "$DIGEST" 2026-11-20T08:00:00Z)" "$CONFIG" "$DIGEST"
  judge_with_session "$DIGEST" '{}' null "$SOAK" 2026-11-21T08:00:00Z
  assert_warned evaluate-at-set
  # It has left staging.
  soaked "$(entry "$DIGEST" 2026-11-01T08:00:00Z 2026-11-02T08:00:00Z)"
  assert_warned evaluate-at-set
  soaked "$(entry "$DIGEST" 2026-11-01T08:00:00Z 2026-11-02T07:00:00Z)"
  assert_denied not-soaked
  assert_contains "$(message)" "ran in staging for 23 hours until 2026-11-02T07:00:00Z and must run there for 1 day; deploy it there again"
}

@test "an image without an entry, or with an impossible entry, is denied" {
  SESSION="$BATS_TEST_TMPDIR/session.yml"
  soaked '{}'
  assert_denied not-soaked
  assert_contains "$(message)" "has not run in staging, where it must run for 1 day; deploy it there first (ConfigMap \`container-patch/soaked-images\` has no entry for it)"
  soaked "$(entry "$DIGEST" 2027-01-01T00:00:00Z)"
  assert_denied not-soaked
  assert_contains "$(message)" "does not count: \`since\` is in the future: 2027-01-01T00:00:00Z"
  soaked "$(jq -nc --arg key "${DIGEST/:/-}" '{($key): 3}')"
  assert_denied not-soaked
  assert_contains "$(message)" "does not count: it is invalid"
}

@test "a new index around an image that has run in staging is denied" {
  SESSION="$BATS_TEST_TMPDIR/session.yml"
  local index='{"manifests": [
    {"digest": "DIGEST", "platform": {"os": "linux", "architecture": "amd64"}},
    {"digest": "ARM", "platform": {"os": "linux", "architecture": "arm64"}}]}'
  index="${index/DIGEST/$DIGEST}"
  for data in "$(entry "$DIGEST" 2026-11-01T00:00:00Z)" "$(entry "$INDEX" 2026-11-01T00:00:00Z)"; do
    : > "$SESSION"
    answers "$INDEX" "$DIGEST" "$CONFIG"
    exchange OciManifest "image: registry.example.com/app@$INDEX" "$(jq -c . <<< "${index/ARM/$ARM}")"
    answers "$ARM" "$ARM" "$ARM_CONFIG"
    record "$data" "$DIGEST" "$CONFIG" "$ARM" "$ARM_CONFIG" "$INDEX"
    judge_with_session "$INDEX" '{}' '["linux/amd64", "linux/arm64"]'
    if [[ "$data" == *"${INDEX/:/-}"* ]]; then
      assert_warned evaluate-at-set
    else
      assert_denied not-soaked
      assert_contains "$(message)" "(linux/arm64) has not run in staging"
    fi
  done
}

@test "a missing ConfigMap denies the image whatever evidenceErrors says, and a missing permission names the RBAC file" {
  SESSION="$BATS_TEST_TMPDIR/session.yml"
  for errors in deny warn; do
    soaked "Cannot find v1/ConfigMap named 'soaked-images' inside of namespace 'Some(\"container-patch\")'" "{\"evidenceErrors\": \"$errors\"}"
    assert_denied not-soaked
    assert_contains "$(message)" "(ConfigMap \`container-patch/soaked-images\` does not exist)"
  done
  soaked "$FORBIDDEN"
  assert_denied evidence-unavailable
  assert_contains "$(message)" "let policy-server read it, kubectl apply -f deploy/soak/reader.yaml: ConfigMap \`container-patch/soaked-images\` cannot be read"
  soaked "$FORBIDDEN" '{"evidenceErrors": "warn"}'
  assert_warned evaluate-at-set evidence-unavailable
}

@test "invalid ConfigMaps and a time of zero are rejected with their paths" {
  run_rule Pod app:1.2 '{"soak": {"configMaps": []}}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'rollout.soak.configMaps: the list is empty; write a ConfigMap such as `{namespace: container-patch, name: soaked-images}`'
  run_rule Pod app:1.2 '{"soak": {"configMaps": [{"namespace": "a_b", "name": "c_d"}], "for": "0h"}}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'rollout.soak.configMaps[0].namespace: invalid namespace name `a_b`; write one such as `team-a`'
  assert_contains "$stderr" 'rollout.soak.configMaps[0].name: invalid ConfigMap name `c_d`; write one such as `soaked-images`'
  assert_contains "$stderr" 'rollout.soak.for: `0h` is zero; write at least `1s`'
}
