#!/usr/bin/env bats
# Records of digests (`pinning.templates: record`): what the pinning policy writes into pod templates and pods, and how a validating
# policy judges it. The tests use the real distribution registry on loopback. A session without answers (`silently`) shows that no
# registry is asked, or simulates a registry that is down.

load helpers

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export REGISTRY_FOLDER="$BATS_FILE_TMPDIR/registry"
  mkdir -p "$REGISTRY_FOLDER"
  start_registry "$REGISTRY_FOLDER"
  export REGISTRY REGISTRY_PID
}

teardown_file() {
  kill "$REGISTRY_PID"
}

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/docker"
  mkdir -p "$DOCKER_CONFIG"
  echo '{}' > "$DOCKER_CONFIG/config.json"
}

# The pinning policy as in deploy/pin.yaml and the validating policy as in deploy/enforce.yaml, without `registries` and scans.
OFF='{"baseImage": {"action": "off"}, "scan": {"action": "off"}}'
PIN="$(jq -nc --argjson off "$OFF" '$off * {pinning: {action: "pin"}, schedule: {action: "off"}}')"
ENFORCE="$(jq -nc --argjson off "$OFF" '$off * {pinning: {action: "deny", templates: "record"}, schedule: {action: "deny"}}')"
# One policy that pins and validates.
BOTH="$OFF"

# pin, enforce, both [SETTINGS]: print the settings of these policies, changed by the given ones.
pin() { jq -nc --argjson settings "$PIN" --argjson more "${1:-{\}}" '$settings * $more'; }
enforce() { jq -nc --argjson settings "$ENFORCE" --argjson more "${1:-{\}}" '$settings * $more'; }
both() { jq -nc --argjson settings "$BOTH" --argjson more "${1:-{\}}" '$settings * $more'; }

# ask REQUEST SETTINGS [FLAG…]: runs the policy with access to the registry. The time is 2026-11-20, noon.
ask() {
  local request="$1" settings flags
  settings="$(jq -nc --argjson settings "$2" '{evaluateAt: "2026-11-20T12:00:00Z"} + $settings')"
  shift 2
  if [ -n "$KWCTL" ]; then
    printf 'insecure_sources: ["%s"]\n' "$REGISTRY" > "$BATS_TEST_TMPDIR/sources.yml"
    flags=(--sources-path "$BATS_TEST_TMPDIR/sources.yml")
  else
    flags=(--insecure-registry "$REGISTRY" --registry-timeout 60 --policy-timeout 60)
  fi
  policy_run --request-path "$request" --settings-json "$settings" "${flags[@]}" "$@"
  [ "$status" -eq 0 ]
  [ "$(response '.allowed | type')" = boolean ]
}

# silently REQUEST SETTINGS: like ask, but every host call fails.
silently() { ask "$1" "$2" --replay-host-capabilities-interactions "$(silence)"; }

FRESH=2026-11-01T00:00:00Z
STALE=2026-01-01T00:00:00Z
# The time of the records that the tests write.
THEN=2026-10-01T08:00:00.123456Z
OTHER="sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"

CONTROLLER='.userInfo.username = "system:serviceaccount:kube-system:replicaset-controller"'
# The kinds with pod templates, and the paths of the templates.
KINDS='v1 PodTemplate .template
v1 ReplicationController .spec.template
apps/v1 ReplicaSet .spec.template
apps/v1 Deployment .spec.template
apps/v1 StatefulSet .spec.template
apps/v1 DaemonSet .spec.template
batch/v1 Job .spec.template
batch/v1 CronJob .spec.jobTemplate.spec.template'

# recorded REFERENCE [CONTAINER]…: prints the annotations that record references at THEN, by default for the container `app`.
recorded() {
  local annotations
  annotations="$(jq -nc --arg at "$THEN" '{"pin.container-patch.dev/recorded-at": $at}')"
  while [ "$#" -gt 0 ]; do
    annotations="$(jq -c --arg key "pin.container-patch.dev/${2:-app}" --arg value "$1" '.[$key] = $value' <<< "$annotations")"
    shift $(($# < 2 ? 1 : 2))
  done
  echo "$annotations"
}

# template IMAGE [ANNOTATIONS]: prints a pod template with the image in its only container, `app`.
template() {
  jq -nc --arg image "$1" --argjson annotations "${2:-null}" '{
    metadata: ({labels: {app: "web"}} + (if $annotations == null then {} else {annotations: $annotations} end)),
    spec: {containers: [{name: "app", image: $image}]}}'
}

# within TEMPLATE [PATH]: prints an object with the template at a path.
within() { jq -nc --argjson template "$1" '{} | '"${2:-.spec.template}"' = $template'; }

# deployment IMAGE [ANNOTATIONS]: prints the fields of a Deployment.
deployment() { within "$(template "$@")" | jq -c '.spec.replicas = 1'; }

# annotated_pod IMAGE [ANNOTATIONS]: prints the fields of a pod.
annotated_pod() { template "$@" | jq -c 'del(.metadata.labels) | .metadata.name = "web-1" | .metadata.namespace = "shop"'; }

# update API_VERSION KIND NEW OLD [JQ]: writes an UPDATE request, and prints the name of the file.
update() {
  request "$1" "$2" "$3" '.operation = "UPDATE" | .oldObject = ({apiVersion: .object.apiVersion, kind: .object.kind, metadata: .object.metadata} + '"$4"') | '"${5:-.}"
}

# patched REQUEST: prints the object of the request with the JSON Patch of the response applied. The patch adds, replaces and removes
# fields.
patched() {
  jq -c --argjson patch "$(response '.patch // ""' | base64 -d | jq -c . | grep . || echo '[]')" '
    def steps: split("/")[1:] | map(gsub("~1"; "/") | gsub("~0"; "~"));
    reduce $patch[] as $op (.object;
      (. as $object | reduce ($op.path | steps)[] as $step ([]; . as $at | $object | getpath($at)
        | . as $parent | $at + [if ($parent | type) == "array" then ($step | tonumber) else $step end])) as $at
      | if $op.op == "remove" then delpaths([$at]) else setpath($at; $op.value) end)' "$1"
}

RECORD='def record: test("^((volume|container)[.])?pin[.]container-patch[.]dev/");'

# records REQUEST [PATH]: prints the records in the template of the patched object without their time, as sorted JSON.
records() {
  patched "$1" | jq -cS "$RECORD"' '"${2:-.spec.template}"' | .metadata.annotations // {}
    | with_entries(select((.key | record) and .key != "pin.container-patch.dev/recorded-at"))'
}

# recorded_at REQUEST [PATH]: prints the time of the records.
recorded_at() { patched "$1" | jq -r "${2:-.spec.template}"' | .metadata.annotations["pin.container-patch.dev/recorded-at"]'; }

# as_json VALUE: prints sorted JSON on one line.
as_json() { jq -cS . <<< "$1"; }

assert_equal() {
  if [ "$1" != "$2" ]; then
    printf 'found:    %s\nexpected: %s\n' "$1" "$2"
    return 1
  fi
}

# assert_records REQUEST EXPECTED [PATH]: the request is allowed, the template has these records (at any time), and the rest of the
# object is unchanged.
assert_records() {
  local path="${3:-.spec.template}" strip
  assert_equal "$(response .allowed)" true
  assert_equal "$(records "$1" "$path")" "$(as_json "$2")"
  strip="$RECORD $path"' |= (if .metadata.annotations then .metadata.annotations |= with_entries(select(.key | record | not)) else . end
    | if (.metadata.annotations // {}) == {} then del(.metadata.annotations) else . end
    | if (.metadata // {}) == {} then del(.metadata) else . end)'
  assert_equal "$(patched "$1" | jq -cS "$strip")" "$(jq -cS ".object | $strip" "$1")"
}

# assert_untouched: the request is allowed without findings and without a patch.
assert_untouched() {
  assert_equal "$(response .allowed)" true
  assert_equal "$(codes)" ""
  assert_equal "$(response '.patch // ""' | base64 -d)" ""
}

# assert_kept REQUEST: the request is allowed, and the object does not change.
assert_kept() {
  assert_equal "$(response .allowed)" true
  assert_equal "$(patched "$1" | jq -cS .)" "$(jq -cS .object "$1")"
}

# codes: prints the codes of the findings, without the one about `evaluateAt`. refused: only of those that deny. passed: of those that
# are downgraded to warnings, with the setting that downgrades them.
codes() { annotation findings | jq -r '[.[].code | select(. != "evaluate-at-set")] | join(" ")'; }
refused() { annotation findings | jq -r '[.[] | select(.effect == "deny").code] | join(" ")'; }
passed() { annotation findings | jq -r '[.[] | select(.passed) | "\(.code) \(.passed)"] | join(", ")'; }

# assert_refused CODE…: the request is denied by exactly these findings.
assert_refused() {
  assert_equal "$(response .allowed)" false
  assert_equal "$(refused)" "$*"
}

# assert_passed CODE SETTING: the request is allowed with only this finding, which the setting downgrades to a warning.
assert_passed() {
  assert_equal "$(response .allowed)" true
  assert_equal "$(codes)" "$1"
  assert_equal "$(passed)" "$1 $2"
}

# When records are written, and into which objects

@test "CREATE of each kind with a pod template records the digest of the image and changes nothing else" {
  local digest api kind path request
  digest="$(push_image kinds/web 1 "$FRESH")"
  while read -r api kind path; do
    request="$(request "$api" "$kind" "$(within "$(template "$REGISTRY/kinds/web:1" '{"example.com/a": "1"}')" "$path" \
      | jq -c '.spec.fieldOfTomorrow = {"b": [null, 1.5], "a": ""}')")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/kinds/web:1@$digest\"}" "$path"
    [[ "$(recorded_at "$request" "$path")" =~ ^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z$ ]]
    assert_equal "$(codes)" ""
  done <<< "$KINDS"
}

@test "record is the default with action pin, and the recorded digest is in the audit annotations" {
  local digest request settings
  digest="$(push_image default/web 1 "$FRESH")"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/default/web:1")")"
  for settings in '{}' '{"pinning": {}}' '{"pinning": {"templates": "record"}}' '{"pinning": {"action": "pin", "templates": null}}'; do
    ask "$request" "$settings"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/default/web:1@$digest\"}"
    assert_equal "$(annotation images | jq -r '.[0].digest')" "$digest"
  done
}

@test "the records have the time at which they are written" {
  local request before after at
  push_image time/web 1 "$FRESH"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/time/web:1")")"
  before="$(date -u +%Y-%m-%dT%H:%M:%S)"
  ask "$request" "$(pin '{"evaluateAt": null}')"
  after="$(date -u +%Y-%m-%dT%H:%M:%S.999999Z)"
  at="$(recorded_at "$request")"
  echo "$before $at $after"
  [[ ! "$at" < "$before" && ! "$at" > "$after" ]]
}

@test "init containers, ephemeral containers, other containers and image volumes each get a record" {
  local one two index long request
  one="$(push_image places/one 1 "$FRESH")"
  two="$(push_image places/two 1 2026-11-02T00:00:00Z)"
  long="$(printf 'n%.0s' {1..63})"
  request="$(request apps/v1 Deployment "$(jq -nc --arg r "$REGISTRY" --arg long "$long" '{spec: {template: {spec: {
    initContainers: [{name: "setup", image: "\($r)/places/one:1"}],
    containers: [{name: "app", image: "\($r)/places/one:1"}, {name: $long, image: "\($r)/places/two:1"}, {name: "data", image: "\($r)/places/two:1"}],
    ephemeralContainers: [{name: "debug", image: "\($r)/places/two:1"}],
    volumes: [{name: $long, image: {reference: "\($r)/places/one:index", pullPolicy: "Always"}}, {name: "data", image: {reference: "\($r)/places/one:1"}},
      {name: "empty", emptyDir: {}}]}}}}')")"
  index="$(push_index places/one index "$one" "$(push_image places/one 2 "$FRESH")")"
  ask "$request" "$PIN"
  assert_records "$request" "$(jq -nc --arg r "$REGISTRY" --arg long "$long" --arg one "$one" --arg two "$two" --arg index "$index" '{
    "pin.container-patch.dev/setup": "\($r)/places/one:1@\($one)", "pin.container-patch.dev/app": "\($r)/places/one:1@\($one)",
    ("pin.container-patch.dev/" + $long): "\($r)/places/two:1@\($two)", "pin.container-patch.dev/data": "\($r)/places/two:1@\($two)",
    "pin.container-patch.dev/debug": "\($r)/places/two:1@\($two)",
    ("volume.pin.container-patch.dev/" + $long): "\($r)/places/one:index@\($index)", "volume.pin.container-patch.dev/data": "\($r)/places/one:1@\($one)"}')"
}

@test "a container that is named recorded-at gets a different key" {
  local digest request
  digest="$(push_image recorded-at/web 1 "$FRESH")"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/recorded-at/web:1" | jq -c '.spec.template.spec.containers[0].name = "recorded-at"')")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"container.pin.container-patch.dev/recorded-at\": \"$REGISTRY/recorded-at/web:1@$digest\"}"
  [[ "$(recorded_at "$request")" == 20*Z ]]
  # The record is also read from that key.
  request="$(request v1 Pod "$(patched "$request" | jq -c '.spec.template')")"
  silently "$request" "$PIN"
  assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$REGISTRY/recorded-at/web:1@$digest"
}

# known NAME: prints the name of a session in which the registry has a digest for that name and no other answers.
known() {
  jq -nr --arg name "$1" --arg digest "$DIGEST" \
    '"- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: \($name)\n  response:\n    type: Success\n    payload: \({digest: $digest} | tojson | tojson)"' \
    > "$BATS_TEST_TMPDIR/known.yml"
  echo "$BATS_TEST_TMPDIR/known.yml"
}

@test "a record has the normalised name and the tag, for every spelling of the image" {
  local image name asked request
  while read -r image name asked; do
    request="$(request apps/v1 Deployment "$(deployment "$image")")"
    ask "$request" "$(pin '{"pinning": {"forbiddenTags": []}}')" --replay-host-capabilities-interactions "$(known "${asked:-$name}")"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$name@$DIGEST\"}"
    # The record is valid for each spelling.
    request="$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$name@$DIGEST")")")"
    silently "$request" "$(pin '{"pinning": {"forbiddenTags": []}}')"
    assert_kept "$request"
    assert_equal "$(codes)" ""
  done <<< "nginx docker.io/library/nginx:latest
nginx:1 docker.io/library/nginx:1
index.docker.io/library/nginx:1 docker.io/library/nginx:1
Registry.Example.com:443/shop/web:1 registry.example.com/shop/web:1 Registry.Example.com:443/shop/web:1
registry.example.com:5000/shop/web registry.example.com:5000/shop/web:latest"
}

@test "a template without metadata, or with null annotations, gets records" {
  local digest request metadata
  digest="$(push_image bare/web 1 "$FRESH")"
  for metadata in 'del(.metadata)' '.metadata = null' '.metadata = {}' '.metadata.annotations = null' '.metadata.annotations = {}' '.metadata = {creationTimestamp: null}'; do
    request="$(request apps/v1 Deployment "$(within "$(template "$REGISTRY/bare/web:1" | jq -c "$metadata")")")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/bare/web:1@$digest\"}"
  done
}

@test "an index is recorded with its own digest" {
  local amd arm index request
  amd="$(push_image index/web amd "$FRESH")"
  arm="$(push_image index/web arm "$FRESH")"
  index="$(push_index index/web 1 "$amd" "$arm")"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/index/web:1")")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/index/web:1@$index\"}"
}

@test "a dry run gets the same records as the request without it" {
  local request
  push_image dry/web 1 "$FRESH"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/dry/web:1")" '.dryRun = true')"
  ask "$request" "$PIN"
  assert_contains "$(records "$request")" "pin.container-patch.dev/app"
}

@test "a valid record stays on CREATE without a request to the registry" {
  local api kind path request
  while read -r api kind path; do
    request="$(request "$api" "$kind" "$(within "$(template registry.example.com/shop/web:1 "$(recorded "registry.example.com/shop/web:1@$DIGEST")")" "$path")")"
    silently "$request" "$PIN"
    assert_untouched
  done <<< "$KINDS"
}

@test "an invalid record is ignored and renewed on CREATE" {
  local digest image request value
  digest="$(push_image invalid/web 1 "$FRESH")"
  image="$REGISTRY/invalid/web:1"
  for value in '""' '"nonsense"' "\"$image\"" "\"$image@sha256:abc\"" "\"$image@$DIGEST \"" "\"$image@$DIGEST@$DIGEST\"" "\"@$DIGEST\"" "\"$DIGEST\"" \
    "\"$REGISTRY/invalid/web@$DIGEST\"" "\"$REGISTRY/invalid/web:2@$DIGEST\"" "\"$REGISTRY/invalid/other:1@$DIGEST\"" \
    "\"invalid/web:1@$DIGEST\"" "\"$REGISTRY/INVALID/web:1@$DIGEST\"" "\"$(printf 'a%.0s' {1..5000})\"" '"\u0000\n\u202e"'; do
    request="$(request apps/v1 Deployment "$(deployment "$image" "$(recorded x | jq -c ".[\"pin.container-patch.dev/app\"] = $value")")")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$digest\"}"
    # With templates: true it does not count as the digest of the image.
    ask "$request" "$(enforce '{"pinning": {"templates": true}}')"
    [[ "$(codes)" == unpinned-image* ]]
    # It does not count on a pod either: the pod gets the current digest of the tag.
    request="$(request v1 Pod "$(jq -c .object.spec.template "$request")")"
    ask "$request" "$PIN"
    assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$image@$digest"
    assert_equal "$(patched "$request" | jq -r '.metadata.annotations["container-patch.dev/resolved"]')" app
  done
}

@test "a record that is not a string is renewed and causes no error" {
  local digest image request value
  digest="$(push_image typed/web 1 "$FRESH")"
  image="$REGISTRY/typed/web:1"
  for value in 7 null true '{}' '["a"]' 1.5e300; do
    request="$(request apps/v1 Deployment "$(deployment "$image" "$(recorded x | jq -c ".[\"pin.container-patch.dev/app\"] = $value")")")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$digest\"}"
    ask "$request" "$ENFORCE"
    assert_equal "$(response .allowed)" true
    request="$(request v1 Pod "$(jq -c .object.spec.template "$request")")"
    ask "$request" "$PIN"
    assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$image@$digest"
    request="$(request v1 Pod "$(annotated_pod "$image" "{\"container-patch.dev/resolved\": $value}")")"
    ask "$request" "$PIN"
    assert_equal "$(patched "$request" | jq -r '.metadata.annotations["container-patch.dev/resolved"]')" app
  done
}

@test "a record of a missing container or volume is removed from the template of a user" {
  local image request
  image="registry.example.com/shop/web:1"
  request="$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$DIGEST" app "$image@$DIGEST" gone \
    | jq -c --arg value "$image@$DIGEST" '.["volume.pin.container-patch.dev/app"] = $value | .["container.pin.container-patch.dev/recorded-at"] = $value')")")"
  silently "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$DIGEST\"}"
}

@test "a digest in the image field is judged, and the record is removed" {
  local request stale fresh image
  image="registry.example.com/shop/web:1@$DIGEST"
  for record in "registry.example.com/shop/web:1@$OTHER" "$image" nonsense; do
    request="$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$record")")")"
    silently "$request" "$PIN"
    assert_records "$request" '{}'
  done
  # An UPDATE writes the digest into the image field, as `kubectl set image` does.
  request="$(update apps/v1 Deployment "$(deployment "$image" "$(recorded "registry.example.com/shop/web:1@$OTHER")")" \
    "$(deployment registry.example.com/shop/web:1 "$(recorded "registry.example.com/shop/web:1@$OTHER")")")"
  silently "$request" "$PIN"
  assert_records "$request" '{}'
  # A validating policy judges the digest in the image field.
  stale="$(push_image written/web stale "$STALE")"
  fresh="$(push_image written/web 1 "$FRESH")"
  ask "$(request apps/v1 Deployment "$(deployment "$REGISTRY/written/web:1@$stale" "$(recorded "$REGISTRY/written/web:1@$fresh")")")" "$ENFORCE"
  assert_refused stale-image
  ask "$(request apps/v1 Deployment "$(deployment "$REGISTRY/written/web:1@$fresh" "$(recorded "$REGISTRY/written/web:1@$stale")")")" "$ENFORCE"
  assert_equal "$(response .allowed)" true
}

@test "an image with a digest gets no record" {
  silently "$(request apps/v1 Deployment "$(deployment "registry.example.com/shop/web:1@$DIGEST")")" "$PIN"
  assert_untouched
}

@test "ten thousand records of missing containers are removed from the template of a user" {
  local digest many request
  digest="$(push_image many/web 1 "$FRESH")"
  many="[range(10000) | {key: \"pin.container-patch.dev/c\\(.)\", value: \"$REGISTRY/many/web:1@$digest\"}] | from_entries"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/many/web:1")" ".object.spec.template.metadata.annotations = ($many)")"
  ask "$request" "$PIN"
  assert_equal "$(response .allowed)" true
  response .patch | base64 -d > "$BATS_TEST_TMPDIR/patch.json"
  # The patch removes each of them, or replaces the annotations.
  assert_equal "$(jq -c --arg record "$REGISTRY/many/web:1@$digest" '
    ([.[] | select(.op == "remove" and (.path | startswith("/spec/template/metadata/annotations/pin.container-patch.dev~1c")))] | length) as $removed
    | ([.[] | select(.op == "replace" and .path == "/spec/template/metadata/annotations") | .value | keys] | first) as $anew
    | [($removed == 10000 or $anew == ["pin.container-patch.dev/app", "pin.container-patch.dev/recorded-at"]), any(.[]; [.. | strings] | index($record) != null)]' "$BATS_TEST_TMPDIR/patch.json")" '[true,true]'
  ask "$request" "$ENFORCE"
  assert_equal "$(response .allowed)" true
  # The same with malformed records.
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/many/web:1")" ".object.spec.template.metadata.annotations = ($many | map_values(\"@\" * 50))")"
  ask "$request" "$PIN"
  assert_equal "$(response .allowed)" true
  request="$(request v1 Pod "$(annotated_pod "$REGISTRY/many/web:1")" ".object.metadata.annotations = ($many)")"
  ask "$request" "$PIN"
  assert_equal "$(response .allowed)" true
  assert_contains "$(response .patch | base64 -d)" "\"$REGISTRY/many/web:1@$digest\""
}

# containers COUNT: prints a jq program that sets the containers of a template. The record of each takes about 380 bytes.
containers() {
  printf '.object.spec.template.spec.containers = [range(%s) | {name: "c\(1000 + .)-%s", image: "registry.example.com/%s:1"}]' "$1" \
    "$(printf 'n%.0s' {1..57})" "$(printf 'a%.0s' {1..200})"
}

@test "records of more than 64 KiB together are refused, and the message says what to write instead" {
  local session request
  session="$(known "registry.example.com/$(printf 'a%.0s' {1..200}):1")"
  request="$(request apps/v1 Deployment "$(deployment x)" "$(containers 150)")"
  ask "$request" "$PIN" --replay-host-capabilities-interactions "$session"
  assert_equal "$(response .allowed)" true
  assert_equal "$(records "$request" | jq length)" 150
  request="$(request apps/v1 Deployment "$(deployment x)" "$(containers 200)")"
  ask "$request" "$PIN" --replay-host-capabilities-interactions "$session"
  assert_refused invalid-request
  assert_contains "$(message)" 'write the digests into the image fields, `name:tag@sha256:…`'
  # The limit is for all templates of an object together.
  local custom='{"customWorkloads": [{"apiVersion": "example.com/v1", "kind": "Pair", "podTemplate": "/spec/template"}, {"apiVersion": "example.com/v1", "kind": "Pair", "podTemplate": "/spec/second"}]}'
  request="$(request example.com/v1 Pair "$(deployment x)" "$(containers 100) | .object.spec.second = .object.spec.template")"
  ask "$request" "$(pin "$custom")" --replay-host-capabilities-interactions "$session"
  assert_refused invalid-request
  # Records that the user writes count, too.
  request="$(request apps/v1 Deployment "$(deployment x)" "$(containers 200) | .object.spec.template |= (.metadata.annotations = ([.spec.containers[]
    | {key: \"pin.container-patch.dev/\\(.name)\", value: \"\\(.image)@$DIGEST\"}] | from_entries))")"
  silently "$request" "$PIN"
  assert_refused invalid-request
  jq -c --arg at "$THEN" '.object.spec.template.metadata.annotations["pin.container-patch.dev/recorded-at"] = $at' "$request" > "$BATS_TEST_TMPDIR/dated.json"
  silently "$BATS_TEST_TMPDIR/dated.json" "$PIN"
  assert_refused invalid-request
}

@test "containers with the same name, an invalid name or no name cause no error" {
  local digest containers request
  digest="$(push_image twice/web 1 "$FRESH")"
  push_image twice/web 2 "$FRESH"
  for containers in '[{"name": "app", "image": "R/twice/web:1"}, {"name": "app", "image": "R/twice/web:2"}]' '[{"image": "R/twice/web:1"}]' \
    '[{"name": "", "image": "R/twice/web:1"}]' '[{"name": "a/b c\n\"", "image": "R/twice/web:1"}]' '[{"name": "app"}]' '[]'; do
    request="$(request apps/v1 Deployment "$(within "$(jq -nc --argjson containers "${containers//R\//$REGISTRY/}" '{spec: {containers: $containers}}')")")"
    ask "$request" "$PIN"
    # The API server validates names after the mutating webhooks.
    assert_equal "$(patched "$request" | jq -c .spec.template.spec)" "$(jq -c .object.spec.template.spec "$request")"
  done
}

@test "a duplicate record causes no error" {
  local digest request twice="$BATS_TEST_TMPDIR/twice.json"
  digest="$(push_image duplicate/web 1 "$FRESH")"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/duplicate/web:1" "$(recorded MARK)")")"
  sed "s|\"pin.container-patch.dev/app\": \"MARK\"|\"pin.container-patch.dev/app\": \"$REGISTRY/duplicate/web:1@$digest\", \"pin.container-patch.dev/app\": \"nonsense\"|" "$request" > "$twice"
  ask "$twice" "$PIN"
  # A host parses the request before the policy does and may drop one of the two.
  assert_equal "$(records "$twice")" "{\"pin.container-patch.dev/app\":\"$REGISTRY/duplicate/web:1@$digest\"}"
}

# UPDATE

WEB=registry.example.com/shop/web:1
HAS="$(recorded "$WEB@$DIGEST")"

@test "scaling, labelling and annotating a workload writes no records and makes no host calls" {
  local change
  for change in '.object.spec.replicas = 3' '.object.metadata.labels = {a: "b"}' '.object.metadata.annotations = {"example.com/a": "1"}' '.object.spec.paused = true' .; do
    # With records, and for a workload that was created before records were in use.
    silently "$(update apps/v1 Deployment "$(deployment "$WEB" "$HAS")" "$(deployment "$WEB" "$HAS")" "$change")" "$PIN"
    assert_untouched
    silently "$(update apps/v1 Deployment "$(deployment "$WEB")" "$(deployment "$WEB")" "$change")" "$PIN"
    assert_untouched
  done
  for change in status scale; do
    silently "$(update apps/v1 Deployment "$(deployment "$WEB")" "$(deployment "$WEB" "$HAS")" ".subResource = \"$change\"")" "$PIN"
    assert_untouched
  done
}

@test "an UPDATE that only removes the records gets them back, in every kind" {
  local api kind path request
  while read -r api kind path; do
    request="$(update "$api" "$kind" "$(within "$(template "$WEB")" "$path")" "$(within "$(template "$WEB" "$HAS")" "$path")")"
    silently "$request" "$PIN"
    assert_records "$request" "$(jq -c 'del(.["pin.container-patch.dev/recorded-at"])' <<< "$HAS")" "$path"
    assert_equal "$(recorded_at "$request" "$path")" "$THEN"
    assert_equal "$(codes)" ""
  done <<< "$KINDS"
}

@test "removed records are restored if other fields change, if the template is formatted differently, or if only one is missing" {
  local two one lacking request
  two="$(recorded "$WEB@$DIGEST" app "registry.example.com/shop/proxy:1@$OTHER" proxy)"
  two="$(deployment "$WEB" "$two" | jq -c '.spec.template.spec.containers += [{name: "proxy", image: "registry.example.com/shop/proxy:1"}]')"
  for lacking in 'del(.spec.template.metadata.annotations)' 'del(.spec.template.metadata.annotations) | .spec.replicas = 7 | .spec.paused = true' \
    'del(.spec.template.metadata.annotations["pin.container-patch.dev/proxy"])' 'del(.spec.template.metadata.annotations["pin.container-patch.dev/recorded-at"])' \
    'del(.spec.template.metadata.annotations) | .spec.template |= {spec: {containers: (.spec.containers | map({image: .image, name: .name}))}, metadata: .metadata}'; do
    one="$(jq -c "$lacking" <<< "$two")"
    request="$(update apps/v1 Deployment "$one" "$two")"
    silently "$request" "$PIN"
    assert_equal "$(response .allowed)" true
    assert_equal "$(patched "$request" | jq -cS .spec.template)" "$(jq -cS .spec.template <<< "$two")"
    assert_equal "$(codes)" ""
  done
}

# moved NAME: pushes a fresh image as NAME/web:1, and then another one with the same tag. Sets `first`, `second` and `image`.
moved() {
  first="$(push_image "$1/web" 1 "$FRESH")"
  second="$(push_image "$1/web" 1 2026-11-10T00:00:00Z)"
  image="$REGISTRY/$1/web:1"
}

@test "a change of the template renews the records with the current digests of the tags" {
  local first second image old change request
  moved renewed
  old="$(deployment "$image" "$(recorded "$image@$first")")"
  # `kubectl rollout restart`, a new environment variable, and the same with an object without records (`kubectl replace`).
  for change in '.spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-20T12:00:00Z"' \
    '.spec.template.spec.containers[0].env = [{name: "A", value: "1"}]' \
    'del(.spec.template.metadata.annotations) | .spec.template.spec.containers[0].env = [{name: "A", value: "1"}]' \
    '.spec.template.metadata.annotations = {"kubectl.kubernetes.io/restartedAt": "2026-11-20T12:00:00Z"}'; do
    request="$(update apps/v1 Deployment "$(jq -c "$change" <<< "$old")" "$old")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
    [ "$(recorded_at "$request")" != "$THEN" ]
    [[ "$(recorded_at "$request")" == 20*Z ]]
  done
  # The tag has not moved: only the time differs.
  old="$(deployment "$image" "$(recorded "$image@$second")")"
  request="$(update apps/v1 Deployment "$(jq -c '.spec.template.metadata.annotations.a = "1"' <<< "$old")" "$old")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
  [ "$(recorded_at "$request")" != "$THEN" ]
}

@test "a change of one image renews the records of all images" {
  local first second image old new two request
  moved renewed-all
  two="$(push_image renewed-all/web 2 "$FRESH")"
  old="$(deployment "$image" "$(recorded "$image@$first" app "$image@$first" proxy)" | jq -c --arg image "$image" '.spec.template.spec.containers += [{name: "proxy", image: $image}]')"
  new="$(jq -c --arg image "$REGISTRY/renewed-all/web:2" '.spec.template.spec.containers[0].image = $image' <<< "$old")"
  request="$(update apps/v1 Deployment "$new" "$old")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/renewed-all/web:2@$two\", \"pin.container-patch.dev/proxy\": \"$image@$second\"}"
}

@test "an UPDATE that adds a container adds its record, and one that removes a container removes its record" {
  local first second image old new request
  moved added
  old="$(deployment "$image" "$(recorded "$image@$first" app "$image@$first" proxy)" | jq -c --arg image "$image" '.spec.template.spec.containers += [{name: "proxy", image: $image}]')"
  new="$(jq -c '.spec.template.spec.containers[1].name = "cache"' <<< "$old")"
  request="$(update apps/v1 Deployment "$new" "$old")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\", \"pin.container-patch.dev/cache\": \"$image@$second\"}"
}

@test "a workload without records gets them with the next change of its template" {
  local first second image request
  moved before
  request="$(update apps/v1 Deployment "$(deployment "$image" '{"a": "1"}')" "$(deployment "$image")")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
}

@test "rollout undo keeps the record of the old revision" {
  local first second image now old request
  moved undo
  # The same image with another record; another image; the same digest with another time.
  now="$(deployment "$image" "$(recorded "$image@$second" | jq -c '. + {"kubectl.kubernetes.io/restartedAt": "2026-11-20T12:00:00Z", "pin.container-patch.dev/recorded-at": "2026-11-20T12:00:00.000000Z"}')")"
  for old in "$(deployment "$image" "$(recorded "$image@$first")")" "$(deployment "$REGISTRY/undo/old:1" "$(recorded "$REGISTRY/undo/old:1@$DIGEST")")" \
    "$(deployment "$image" "$(recorded "$image@$second")")"; do
    request="$(update apps/v1 Deployment "$old" "$now")"
    silently "$request" "$PIN"
    assert_untouched
  done
  # A revision without records gets new ones.
  request="$(update apps/v1 Deployment "$(deployment "$image")" "$now")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
}

@test "rollout undo keeps its record if the revision in between has the same record, from an outage of the registry" {
  local first second image old new request
  moved undo-kept
  old="$(deployment "$image" "$(recorded "$image@$first")")"
  request="$(update apps/v1 Deployment "$(jq -c '.spec.template.spec.containers[0].env = [{name: "A", value: "1"}]' <<< "$old")" "$old")"
  silently "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\"}"
  new="$(patched "$request" | jq -c '{spec}')"
  request="$(update apps/v1 Deployment "$old" "$new")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\"}"
}

@test "valid records in a changed template stay, and invalid or missing ones are looked up" {
  local first second image new old request value
  moved partly
  old="$(deployment "$image" "$(recorded "$image@$second" app "$image@$second" proxy)" | jq -c --arg image "$image" '.spec.template.spec.containers += [{name: "proxy", image: $image}]')"
  for value in nonsense ""; do
    new="$(jq -c --arg first "$image@$first" --arg proxy "$value" '.spec.template.spec.containers[0].env = [{name: "A", value: "1"}]
      | .spec.template.metadata.annotations += {"pin.container-patch.dev/app": $first, "pin.container-patch.dev/recorded-at": "2026-09-01T00:00:00.000000Z", "pin.container-patch.dev/proxy": $proxy}' <<< "$old")"
    request="$(update apps/v1 Deployment "$new" "$old")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\", \"pin.container-patch.dev/proxy\": \"$image@$second\"}"
  done
  new="$(jq -c 'del(.spec.template.metadata.annotations["pin.container-patch.dev/proxy"])' <<< "$new")"
  request="$(update apps/v1 Deployment "$new" "$old")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\", \"pin.container-patch.dev/proxy\": \"$image@$second\"}"
}

@test "a valid record that a user writes is kept, also if it is the first one" {
  local request
  request="$(update apps/v1 Deployment "$(deployment "$WEB" "$(recorded "$WEB@$OTHER")")" "$(deployment "$WEB" "$HAS")")"
  silently "$request" "$PIN"
  assert_kept "$request"
  request="$(update apps/v1 Deployment "$(deployment "$WEB" "$HAS")" "$(deployment "$WEB")")"
  silently "$request" "$PIN"
  assert_kept "$request"
}

@test "while the registry is down, a renewal keeps a valid record with a warning, and is refused without one" {
  local new request
  new="$(deployment "$WEB" "$HAS" | jq -c '.spec.template.spec.containers[0].env = [{name: "A", value: "1"}]')"
  # The records are in both objects, or only in the old one.
  for new in "$new" "$(jq -c 'del(.spec.template.metadata.annotations)' <<< "$new")"; do
    request="$(update apps/v1 Deployment "$new" "$(deployment "$WEB" "$HAS")")"
    silently "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$WEB@$DIGEST\"}"
    assert_equal "$(codes)" evidence-unavailable
    assert_contains "$(warnings)" "evidence-unavailable"
  done
  # The record is for another tag.
  new="$(jq -c '.spec.template.spec.containers[0].image = "registry.example.com/shop/web:2"' <<< "$new")"
  request="$(update apps/v1 Deployment "$new" "$(deployment "$WEB" "$HAS")")"
  silently "$request" "$PIN"
  assert_refused evidence-unavailable
  request="$(request apps/v1 Deployment "$(deployment "$WEB")")"
  silently "$request" "$PIN"
  assert_refused evidence-unavailable
  silently "$request" "$(pin '{"enforcement": {"evidenceErrors": "warn"}}')"
  assert_records "$request" '{}'
  assert_equal "$(codes)" evidence-unavailable
}

@test "while the registry is down, an UPDATE that adds an image without a record is refused for that image" {
  local new request
  new="$(deployment "$WEB" "$HAS" | jq -c '.spec.template.spec.containers += [{name: "proxy", image: "registry.example.com/shop/proxy:1"}]')"
  request="$(update apps/v1 Deployment "$new" "$(deployment "$WEB" "$HAS")")"
  silently "$request" "$PIN"
  assert_refused evidence-unavailable
  assert_contains "$(message)" 'container `proxy`'
}

@test "a Job gets records on CREATE, and an UPDATE only restores them" {
  local path=.spec.template first second image has request
  moved job
  has="$(within "$(template "$image" "$(recorded "$image@$first")")")"
  request="$(request batch/v1 Job "$(within "$(template "$image")")")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
  # Kubernetes allows changes of the node selector while a Job is suspended.
  local elsewhere='.spec.template.spec.nodeSelector = {disk: "ssd"}'
  silently "$(update batch/v1 Job "$(jq -c "$elsewhere" <<< "$has")" "$has")" "$PIN"
  assert_untouched
  silently "$(update batch/v1 Job "$(within "$(template "$image")" | jq -c "$elsewhere")" "$(within "$(template "$image")")")" "$PIN"
  assert_untouched
  for elsewhere in "$elsewhere" .; do
    request="$(update batch/v1 Job "$(jq -c "$elsewhere | del(.spec.template.metadata.annotations)" <<< "$has")" "$has")"
    silently "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\"}"
    assert_equal "$(recorded_at "$request")" "$THEN"
  done
}

@test "the records of a CronJob are renewed when its template changes, not when its schedule does" {
  local path=.spec.jobTemplate.spec.template first second image old request
  moved cronjob
  old="$(within "$(template "$image" "$(recorded "$image@$first")")" "$path")"
  silently "$(update batch/v1 CronJob "$(jq -c '.spec.schedule = "0 0 * * *"' <<< "$old")" "$old")" "$PIN"
  assert_untouched
  silently "$(update batch/v1 CronJob "$(jq -c '.spec.suspend = true' <<< "$old")" "$old")" "$PIN"
  assert_untouched
  request="$(update batch/v1 CronJob "$(jq -c "$path"'.metadata.annotations["example.com/renew"] = "1"' <<< "$old")" "$old")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}" "$path"
}

@test "an UPDATE that removes the finalizers of a deleted workload writes no records" {
  silently "$(update apps/v1 Deployment "$(deployment "$WEB")" "$(deployment "$WEB")" \
    '.oldObject.metadata += {deletionTimestamp: "2026-11-20T10:00:00Z", finalizers: ["example.com/a"]} | .object.metadata = (.oldObject.metadata | .finalizers = [])')" "$PIN"
  assert_untouched
}

# Objects that never get records

@test "objects that controllers of Kubernetes create or update are not changed" {
  local user kind api path
  for user in system:kube-controller-manager system:serviceaccount:kube-system:{cronjob,daemon-set,deployment,job,replicaset,replication,statefulset}-controller; do
    silently "$(request apps/v1 ReplicaSet "$(deployment "$WEB")" ".userInfo.username = \"$user\"")" "$PIN"
    assert_untouched
    # A controller copies the template with its records. Invalid records stay, too.
    silently "$(request apps/v1 ReplicaSet "$(deployment "$WEB" "$(recorded nonsense app "$WEB@$DIGEST" gone)")" ".userInfo.username = \"$user\"")" "$PIN"
    assert_untouched
    silently "$(update apps/v1 Deployment "$(deployment "$WEB" '{"a": "1"}')" "$(deployment "$WEB" "$HAS")" ".userInfo.username = \"$user\"")" "$PIN"
    assert_untouched
    silently "$(update apps/v1 Deployment "$(deployment "$WEB")" "$(deployment "$WEB" "$HAS")" ".userInfo.username = \"$user\"")" "$PIN"
    assert_untouched
  done
  while read -r api kind path; do
    silently "$(request "$api" "$kind" "$(within "$(template "$WEB")" "$path")" "$CONTROLLER")" "$PIN"
    assert_untouched
  done <<< "$KINDS"
}

@test "users with names similar to those of controllers are treated as users" {
  local digest user request
  digest="$(push_image users/web 1 "$FRESH")"
  for user in jane system:serviceaccount:shop:deployment-controller system:serviceaccount:kube-system:default system:serviceaccount:argo-rollouts:argo-rollouts \
    system:serviceaccount:kube-system:horizontal-pod-autoscaler; do
    request="$(request apps/v1 ReplicaSet "$(deployment "$REGISTRY/users/web:1")" ".userInfo.username = \"$user\"")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/users/web:1@$digest\"}"
  done
}

# owned CONTROLLER: prints a jq program that adds an owner reference with this value of `controller`.
owned() { echo ".object.metadata.ownerReferences = [{apiVersion: \"apps/v1\", kind: \"Deployment\", name: \"web\", uid: \"1\", controller: $1}]"; }

@test "a ReplicaSet with a controller is not changed, regardless of the user" {
  local digest request flag
  digest="$(push_image owned/web 1 "$FRESH")"
  silently "$(request apps/v1 ReplicaSet "$(deployment "$WEB")" "$(owned true)")" "$PIN"
  assert_untouched
  silently "$(request apps/v1 ReplicaSet "$(deployment "$WEB" "$(recorded nonsense)")" "$(owned true)")" "$PIN"
  assert_untouched
  silently "$(update apps/v1 ReplicaSet "$(deployment "$WEB" '{"a": "1"}')" "$(deployment "$WEB" "$HAS")" "$(owned true)")" "$PIN"
  assert_untouched
  silently "$(update apps/v1 ReplicaSet "$(deployment "$WEB")" "$(deployment "$WEB" "$HAS")" "$(owned true)")" "$PIN"
  assert_untouched
  for flag in false null; do
    request="$(request apps/v1 ReplicaSet "$(deployment "$REGISTRY/owned/web:1")" "$(owned $flag)")"
    ask "$request" "$PIN"
    assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/owned/web:1@$digest\"}"
  done
  # A Deployment with a controller, such as an operator, gets records.
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/owned/web:1")" "$(owned true)")"
  ask "$request" "$PIN"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$REGISTRY/owned/web:1@$digest\"}"
}

# revision IMAGE [ANNOTATIONS]: prints the fields of a ControllerRevision of a StatefulSet.
revision() {
  jq -nc --argjson template "$(template "$@")" '{metadata: {name: "db-1", namespace: "shop", ownerReferences: [{apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "1", controller: true}]},
    data: {spec: {template: ($template + {"$patch": "replace"})}}, revision: 1}'
}

@test "a ControllerRevision is not changed, and is judged by the record in it" {
  local stale fresh image
  silently "$(request apps/v1 ControllerRevision "$(revision "$WEB")")" "$PIN"
  assert_untouched
  silently "$(request apps/v1 ControllerRevision "$(revision "$WEB" "$(recorded nonsense)")")" "$PIN"
  assert_untouched
  fresh="$(push_image revision/web fresh "$FRESH")"
  stale="$(push_image revision/web 1 "$STALE")"
  image="$REGISTRY/revision/web:1"
  ask "$(request apps/v1 ControllerRevision "$(revision "$image" "$(recorded "$image@$fresh")")")" "$ENFORCE"
  assert_equal "$(response .allowed) $(codes)" "true "
  ask "$(request apps/v1 ControllerRevision "$(revision "$image")")" "$ENFORCE"
  assert_refused stale-image
  push_image revision/web 1 "$FRESH"
  ask "$(request apps/v1 ControllerRevision "$(revision "$image" "$(recorded "$image@$stale")")")" "$ENFORCE"
  assert_refused stale-image
  ask "$(request apps/v1 ControllerRevision "$(revision "$image" "$(recorded "$image@$stale")")" \
    '.userInfo.username = "system:serviceaccount:kube-system:statefulset-controller"')" "$ENFORCE"
  assert_passed stale-image controllerPods
}

AUDIT='.userInfo = {} | .resource.resource = .kind.kind'

@test "requests of the audit scanner get no records, and existing records are judged" {
  local stale fresh image
  for annotations in null "$HAS" "$(recorded nonsense)"; do
    silently "$(request apps/v1 Deployment "$(deployment "$WEB" "$annotations")" "$AUDIT")" "$PIN"
    assert_equal "$(response .allowed)" true
    assert_equal "$(response '.patch // ""')" ""
  done
  stale="$(push_image audit/web 1 "$STALE")"
  push_image audit/web 1 "$FRESH"
  image="$REGISTRY/audit/web:1"
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$stale")")" "$AUDIT")" "$ENFORCE"
  assert_refused stale-image
}

# Images that get records

@test "exempt images, and images with templates: false or action off, get no records" {
  local digest settings request
  digest="$(push_image left/web 1 "$FRESH")"
  for settings in '{"exempt": ["registry.example.com/*"]}' '{"overrides": [{"images": ["registry.example.com/*"], "pinning": {"action": "pin", "templates": false}}]}' \
    '{"overrides": [{"images": ["registry.example.com/*"], "pinning": {"action": "off"}}]}' '{"pinning": {"templates": false}}' '{"pinning": {"action": "off"}}'; do
    silently "$(request apps/v1 Deployment "$(deployment "$WEB")")" "$(pin "$settings")"
    assert_untouched
    silently "$(update apps/v1 Deployment "$(deployment "$WEB" '{"a": "1"}')" "$(deployment "$WEB")")" "$(pin "$settings")"
    assert_untouched
  done
  # Other images in the same template do.
  request="$(request apps/v1 Deployment "$(deployment "$WEB" | jq -c --arg image "$REGISTRY/left/web:1" '.spec.template.spec.containers += [{name: "own", image: $image}]')")"
  for settings in '{"exempt": ["registry.example.com/*"]}' '{"overrides": [{"images": ["registry.example.com/*"], "pinning": {"action": "pin", "templates": false}}]}'; do
    ask "$request" "$(pin "$settings")"
    assert_records "$request" "{\"pin.container-patch.dev/own\": \"$REGISTRY/left/web:1@$digest\"}"
  done
}

@test "templates: true rewrites the image fields of templates and writes no records" {
  local digest request
  digest="$(push_image rewritten/web 1 "$FRESH")"
  request="$(request apps/v1 Deployment "$(deployment "$REGISTRY/rewritten/web:1" '{"example.com/a": "1"}')")"
  ask "$request" "$(pin '{"pinning": {"templates": true}}')"
  assert_equal "$(patched "$request" | jq -cS .)" "$(jq -cS --arg digest "$digest" '.object | .spec.template.spec.containers[0].image += "@" + $digest' "$request")"
  # Existing records are not restored, whether or not the image gets a digest.
  local update old
  for old in 0 1; do
    update="$(update apps/v1 Deployment "$(deployment "$REGISTRY/rewritten/web:1" '{"a": "1"}')" "$(deployment "$REGISTRY/rewritten/web:$old" "$(recorded "$REGISTRY/rewritten/web:$old@$DIGEST")")")"
    ask "$update" "$(pin '{"pinning": {"templates": true}}')"
    [ "$old" = 1 ] || assert_equal "$(patched "$update" | jq -r '.spec.template.spec.containers[0].image')" "$REGISTRY/rewritten/web:1@$digest"
    assert_equal "$(records "$update")" '{}'
  done
  # In an override.
  ask "$request" "$(pin "$(jq -nc --arg r "$REGISTRY/*" '{overrides: [{images: [$r], pinning: {templates: true}}]}')")"
  assert_equal "$(patched "$request" | jq -cS .)" "$(jq -cS --arg digest "$digest" '.object | .spec.template.spec.containers[0].image += "@" + $digest' "$request")"
}

@test "templates: false does not change templates" {
  silently "$(request apps/v1 Deployment "$(deployment "$WEB")")" "$(pin '{"pinning": {"templates": false}}')"
  assert_untouched
}

@test "a forbidden tag is refused if its digest would be looked up, and accepted with a valid record" {
  local image request
  for image in registry.example.com/shop/web:latest registry.example.com/shop/web; do
    silently "$(request apps/v1 Deployment "$(deployment "$image")")" "$PIN"
    assert_refused forbidden-tag
    silently "$(request apps/v1 Deployment "$(deployment "$image")")" "$ENFORCE"
    assert_equal "$(refused | tr ' ' '\n' | grep forbidden-tag)" forbidden-tag
    silently "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "registry.example.com/shop/web:latest@$DIGEST")")")" "$PIN"
    assert_untouched
    silently "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "registry.example.com/shop/web:latest@$DIGEST")")")" "$(enforce '{"schedule": {"action": "off"}}')"
    assert_untouched
    # A renewal would look up the tag.
    silently "$(update apps/v1 Deployment "$(deployment "$image" "$(recorded "registry.example.com/shop/web:latest@$DIGEST" | jq -c '.a = "1"')")" \
      "$(deployment "$image" "$(recorded "registry.example.com/shop/web:latest@$DIGEST")")")" "$PIN"
    assert_refused forbidden-tag
    # A workload without records may keep its image, and gets no record.
    request="$(update apps/v1 Deployment "$(deployment "$image" '{"a": "1"}')" "$(deployment "$image")")"
    silently "$request" "$PIN"
    assert_passed forbidden-tag unchangedImages
    assert_kept "$request"
  done
}

@test "an image on an unlisted registry is refused without a record and without a host call" {
  local listed='{"registries": ["docker.io"]}'
  silently "$(request apps/v1 Deployment "$(deployment "$WEB")")" "$(pin "$listed")"
  assert_refused unknown-registry
  silently "$(update apps/v1 Deployment "$(deployment "$WEB")" "$(deployment nginx:1)")" "$(pin "$listed")"
  assert_refused unknown-registry
  # A record of another image is judged, too, if the pinning policy has not removed it.
  silently "$(request apps/v1 Deployment "$(deployment nginx:1 "$(recorded "$WEB@$DIGEST")")")" "$(enforce "$listed")"
  [[ "$(annotation findings)" == *registry.example.com* ]]
  silently "$(request apps/v1 Deployment "$(deployment "$WEB" "$HAS")")" "$(enforce "$listed")"
  assert_refused unknown-registry
}

@test "an invalid image reference is refused, even with a record" {
  silently "$(request apps/v1 Deployment "$(deployment 'Web:1' "$(recorded "$WEB@$DIGEST")")")" "$PIN"
  assert_refused invalid-reference
}

CUSTOM='{"customWorkloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"},
  {"apiVersion": "example.com/v1", "kind": "Pair", "podTemplate": "/spec/leader"}, {"apiVersion": "example.com/v1", "kind": "Pair", "podTemplate": "/spec/workers/0/template"}]}'

@test "records of custom workloads are written, renewed and restored, for each template separately" {
  local first second image request pair
  moved custom
  local rollout=(argoproj.io/v1alpha1 Rollout)
  request="$(request "${rollout[@]}" "$(deployment "$image")")"
  ask "$request" "$(pin "$CUSTOM")"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
  request="$(update "${rollout[@]}" "$(deployment "$image" '{"a": "1"}')" "$(deployment "$image" "$(recorded "$image@$first")")")"
  ask "$request" "$(pin "$CUSTOM")"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$second\"}"
  request="$(update "${rollout[@]}" "$(deployment "$image")" "$(deployment "$image" "$(recorded "$image@$first")")")"
  silently "$request" "$(pin "$CUSTOM")"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$first\"}"
  # The controller of Rollouts counts as a user. It updates the Rollout and creates ReplicaSets that have a controller.
  local argo='.userInfo.username = "system:serviceaccount:argo-rollouts:argo-rollouts"'
  silently "$(update "${rollout[@]}" "$(deployment "$image" "$(recorded "$image@$first")")" "$(deployment "$image" "$(recorded "$image@$first")")" \
    "$argo | .object.status = {replicas: 1} | .object.spec.paused = true")" "$(pin "$CUSTOM")"
  assert_untouched
  silently "$(request apps/v1 ReplicaSet "$(deployment "$image")" "$argo | $(owned true) | .object.metadata.ownerReferences[0] += {apiVersion: \"argoproj.io/v1alpha1\", kind: \"Rollout\"}")" "$(pin "$CUSTOM")"
  assert_untouched

  # One of two templates changes, and the other one keeps its records.
  pair="$(jq -nc --argjson template "$(template "$image" "$(recorded "$image@$first")")" '{spec: {leader: $template, workers: [{template: $template}]}}')"
  request="$(update example.com/v1 Pair "$(jq -c '.spec.leader.spec.containers[0].env = [{name: "A", value: "1"}] | del(.spec.workers[0].template.metadata.annotations)' <<< "$pair")" "$pair")"
  ask "$request" "$(pin "$CUSTOM")"
  assert_equal "$(records "$request" .spec.leader)" "{\"pin.container-patch.dev/app\":\"$image@$second\"}"
  assert_equal "$(records "$request" '.spec.workers[0].template')" "{\"pin.container-patch.dev/app\":\"$image@$first\"}"
}

# assert_names_recorded IMAGE: the message suggests, after the finding, the image with its recorded digest.
assert_names_recorded() { [[ "$(message)" =~ \;\ .*recorded.*write\ \`"$1"\` || "$(message)" =~ \;\ .*recorded\ \`"$1"\` ]]; }

# How a validating policy judges records

@test "a template is judged by its record, not by the current digest of its tag" {
  local fresh stale image
  fresh="$(push_image judged/web 1 "$FRESH")"
  stale="$(push_image judged/web 1 "$STALE")"
  image="$REGISTRY/judged/web:1"
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$fresh")")")" "$ENFORCE"
  assert_equal "$(response .allowed) $(codes)" "true "
  assert_equal "$(annotation images | jq -r '.[0].digest // .[0].image' | sed 's/.*@//')" "$fresh"
  push_image judged/web 1 "$FRESH"
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$stale")")")" "$ENFORCE"
  assert_refused stale-image
  assert_contains "$(message)" "image \`$image@$stale\` was built 2026-01-01"
  # An image without a digest and without a valid record is judged by its tag, and not reported as unpinned.
  ask "$(request apps/v1 Deployment "$(deployment "$image")")" "$ENFORCE"
  assert_equal "$(response .allowed) $(codes)" "true "
  # A record of another tag does not count as the digest of the image. It is judged, because another webhook may give a pod an image with
  # that name.
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$REGISTRY/judged/web:2@$stale")")")" "$ENFORCE"
  assert_refused stale-image
  assert_contains "$(message)" "record of container \`app\`: image \`$REGISTRY/judged/web:2@$stale\` was built 2026-01-01"
}

@test "a record of a missing digest is refused" {
  push_image missing/web 1 "$FRESH"
  local image="$REGISTRY/missing/web:1"
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$DIGEST")")")" "$ENFORCE"
  assert_refused evidence-unavailable
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$DIGEST")")")" "$BOTH"
  assert_refused evidence-unavailable
}

@test "base image and scan results are judged for the recorded digest" {
  local old flagged image base="org.opencontainers.image.base"
  old="$(push_image content/os 1 2026-06-01T00:00:00Z)"
  push_image content/os 1 2026-06-15T00:00:00Z
  flagged="$(push_image content/web 1 "$FRESH" '.config.Labels["images.openshift.io/deny-execution"] = "true"' \
    ".annotations = {\"$base.name\": \"$REGISTRY/content/os:1\", \"$base.digest\": \"$old\"}")"
  push_image content/web 1 2026-11-02T00:00:00Z
  image="$REGISTRY/content/web:1"
  local settings='{"schedule": {"action": "off"}, "baseImage": {"action": "deny", "grace": "1d"}, "scan": {"action": "deny"}}'
  ask "$(request apps/v1 Deployment "$(deployment "$image")")" "$(enforce "$settings")"
  assert_equal "$(response .allowed) $(codes)" "true "
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$flagged")")")" "$(enforce "$settings")"
  assert_refused outdated-base-image scan-flagged
}

@test "a template without a digest is reported as unpinned with templates: true, not with record or false" {
  local action object request
  for action in deny warn; do
    for object in "$(deployment "$WEB")" "$(deployment "$WEB" "$HAS")" "$(deployment "$WEB" "$(recorded nonsense)")"; do
      request="$(request apps/v1 Deployment "$object")"
      silently "$request" "$(enforce "{\"schedule\": {\"action\": \"off\"}, \"pinning\": {\"action\": \"$action\", \"templates\": \"record\"}}")"
      assert_untouched
      silently "$request" "$(enforce "{\"schedule\": {\"action\": \"off\"}, \"pinning\": {\"action\": \"$action\", \"templates\": false}}")"
      assert_untouched
      for templates in true null; do
        silently "$request" "$(enforce "{\"schedule\": {\"action\": \"off\"}, \"pinning\": {\"action\": \"$action\", \"templates\": $templates}}")"
        assert_equal "$(codes)" unpinned-image
        assert_equal "$(response .allowed)" "$([ "$action" = warn ] && echo true || echo false)"
      done
    done
  done
}

@test "an UPDATE that only changes or adds a record counts as a change of the image, and is refused" {
  local fresh stale older image now
  fresh="$(push_image changed/web fresh "$FRESH")"
  older="$(push_image changed/web older 2026-01-02T00:00:00Z)"
  stale="$(push_image changed/web 1 "$STALE")"
  image="$REGISTRY/changed/web:1"
  now="$(deployment "$image" "$(recorded "$image@$stale")")"
  for before in "$(deployment "$image" "$(recorded "$image@$fresh")")" "$(deployment "$image" "$(recorded "$image@$older")")" "$(deployment "$image")" \
    "$(deployment "$image" "$(recorded nonsense)")" "$(deployment "$image@$fresh")"; do
    ask "$(update apps/v1 Deployment "$now" "$before")" "$ENFORCE"
    assert_refused stale-image
  done
  # The same digest is unchanged, with another time of the record or written into the image: the finding is a warning.
  ask "$(update apps/v1 Deployment "$now" "$now" '.object.spec.replicas = 3')" "$ENFORCE"
  assert_passed stale-image unchangedImages
  ask "$(update apps/v1 Deployment "$now" "$(deployment "$image" "$(recorded "$image@$stale" | jq -c '.["pin.container-patch.dev/recorded-at"] = "2026-09-01T00:00:00.000000Z"')")")" "$ENFORCE"
  assert_passed stale-image unchangedImages
  ask "$(update apps/v1 Deployment "$(deployment "$image@$stale")" "$now")" "$ENFORCE"
  assert_passed stale-image unchangedImages
  ask "$(update apps/v1 Deployment "$(deployment "$image@$stale" "$(recorded "$image@$stale")")" "$now")" "$ENFORCE"
  assert_passed stale-image unchangedImages
}

@test "rollout undo is judged by the record of the old revision" {
  local stale fresh image
  stale="$(push_image undone/web 1 "$STALE")"
  fresh="$(push_image undone/web 1 "$FRESH")"
  image="$REGISTRY/undone/web:1"
  local request
  request="$(update apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$stale")")" \
    "$(deployment "$image" "$(recorded "$image@$fresh" | jq -c '.["kubectl.kubernetes.io/restartedAt"] = "2026-11-20T12:00:00Z"')")")"
  silently "$request" "$PIN"
  assert_kept "$request"
  ask "$request" "$ENFORCE"
  assert_refused stale-image
  ask "$request" "$BOTH"
  assert_refused stale-image
}

@test "the message about a refused renewal names the recorded digest" {
  local fresh stale image old new
  fresh="$(push_image refused/web 1 "$FRESH")"
  stale="$(push_image refused/web 1 "$STALE")"
  image="$REGISTRY/refused/web:1"
  old="$(deployment "$image" "$(recorded "$image@$fresh")")"
  new="$(jq -c '.spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-20T12:00:00Z"' <<< "$old")"
  # With one policy that renews and judges.
  ask "$(update apps/v1 Deployment "$new" "$old")" "$BOTH"
  assert_refused stale-image
  assert_names_recorded "$image@$fresh"
  assert_contains "$(message)" "image \`$image@$stale\` was built 2026-01-01"
  # With two policies: the second one judges the record that the first one wrote.
  ask "$(update apps/v1 Deployment "$new" "$old")" "$PIN"
  assert_equal "$(response .allowed)" true
  local renewed
  renewed="$(patched "$(update apps/v1 Deployment "$new" "$old")")"
  ask "$(update apps/v1 Deployment "$renewed" "$old")" "$ENFORCE"
  assert_refused stale-image
  assert_names_recorded "$image@$fresh"
  # With that digest in the image field the UPDATE is accepted.
  new="$(jq -c --arg image "$image@$fresh" '.spec.template.spec.containers[0].image = $image' <<< "$new")"
  ask "$(update apps/v1 Deployment "$new" "$old")" "$BOTH"
  assert_equal "$(response .allowed) $(codes)" "true "
  # On CREATE there is no earlier record to name.
  ask "$(request apps/v1 Deployment "$(deployment "$image")")" "$BOTH"
  assert_refused stale-image
  [[ "$(message)" != *recorded* ]]
}

@test "one policy that records and judges writes no record for a refused image" {
  local fresh image request
  push_image together/web 1 "$STALE"
  image="$REGISTRY/together/web:1"
  ask "$(request apps/v1 Deployment "$(deployment "$image")")" '{}'
  assert_refused stale-image
  assert_equal "$(response '.patch // ""')" ""
  fresh="$(push_image together/web 1 "$FRESH")"
  request="$(request apps/v1 Deployment "$(deployment "$image")")"
  ask "$request" '{}'
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"$image@$fresh\"}"
  assert_equal "$(codes)" ""
  push_image together/web 1 "$STALE"
  ask "$(request apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$fresh")")")" '{}'
  assert_untouched
}

# Pods

# resolved REQUEST: prints the list of resolved images of the patched pod.
resolved() { patched "$1" | jq -r '.metadata.annotations["container-patch.dev/resolved"]'; }

@test "a pod with records gets their digests without a host call, and no list of resolved images" {
  local request user
  for user in . "$CONTROLLER"; do
    request="$(request v1 Pod "$(annotated_pod "$WEB" "$(recorded "$WEB@$DIGEST" app "docker.io/library/nginx:1@$OTHER" setup \
      | jq -c --arg value "$WEB@$OTHER" '.["volume.pin.container-patch.dev/data"] = $value')" \
      | jq -c --arg web "$WEB" '.spec.initContainers = [{name: "setup", image: "nginx:1"}] | .spec.volumes = [{name: "data", image: {reference: $web}}]')" "$user")"
    silently "$request" "$PIN"
    assert_equal "$(response .allowed) $(codes)" "true "
    assert_equal "$(patched "$request" | jq -cS .)" "$(jq -cS --arg digest "$DIGEST" --arg other "$OTHER" '.object | .spec.containers[0].image += "@" + $digest
      | .spec.initContainers[0].image += "@" + $other | .spec.volumes[0].image.reference += "@" + $other' "$request")"
  done
}

@test "a pod gets the digest of its record on an unlisted registry, because the registry is not asked" {
  local request user
  for user in . "$CONTROLLER"; do
    request="$(request v1 Pod "$(annotated_pod "$WEB" "$HAS")" "$user")"
    silently "$request" "$(pin '{"registries": ["docker.io"]}')"
    assert_equal "$(response .allowed) $(codes)" "true "
    assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$WEB@$DIGEST"
  done
}

@test "a pod gets a list of the images that the pinning policy resolved" {
  local digest request
  digest="$(push_image resolved/web 1 "$FRESH")"
  request="$(request v1 Pod "$(annotated_pod "$WEB" "$HAS" | jq -c --arg r "$REGISTRY" --arg digest "$DIGEST" '
    .spec.initContainers = [{name: "setup", image: "\($r)/resolved/web:1"}] | .spec.containers += [{name: "sidecar", image: "\($r)/resolved/web:1"},
      {name: "pinned", image: "\($r)/resolved/web:1@\($digest)"}] | .spec.volumes = [{name: "data", image: {reference: "\($r)/resolved/web:1"}}]')")"
  ask "$request" "$PIN"
  assert_equal "$(resolved "$request" | tr , '\n' | sort | paste -sd,)" "setup,sidecar,volume/data"
  assert_equal "$(patched "$request" | jq -cS 'del(.metadata.annotations["container-patch.dev/resolved"])')" "$(jq -cS --arg digest "$DIGEST" --arg found "$digest" '.object
    | .spec.containers[0].image += "@" + $digest | .spec.containers[1].image += "@" + $found | .spec.initContainers[0].image += "@" + $found
    | .spec.volumes[0].image.reference += "@" + $found' "$request")"
  # A pod without any annotations.
  request="$(request v1 Pod "$(annotated_pod "$REGISTRY/resolved/web:1" | jq -c 'del(.metadata)')" 'del(.object.metadata)')"
  ask "$request" "$PIN"
  assert_equal "$(resolved "$request")" app
}

@test "a list of resolved images from the requester is overwritten, and removed if no image was resolved" {
  local request forged
  push_image overwritten/web 1 "$FRESH"
  for forged in '""' '"other"' '"app,app"' null; do
    request="$(request v1 Pod "$(annotated_pod "$REGISTRY/overwritten/web:1" "{\"container-patch.dev/resolved\": $forged}")")"
    ask "$request" "$PIN"
    assert_equal "$(resolved "$request")" app
    request="$(request v1 Pod "$(annotated_pod "$WEB" "$(jq -c ". + {\"container-patch.dev/resolved\": $forged}" <<< "$HAS")")")"
    silently "$request" "$PIN"
    assert_equal "$(response .allowed)" true
    assert_equal "$(patched "$request" | jq '.metadata.annotations | has("container-patch.dev/resolved")')" false
  done
  # The name of a missing container is removed, also if the images have digests.
  request="$(request v1 Pod "$(annotated_pod "$WEB@$DIGEST" '{"container-patch.dev/resolved": "other"}')")"
  silently "$request" "$PIN"
  assert_equal "$(patched "$request" | jq '.metadata.annotations | has("container-patch.dev/resolved")')" false
}

@test "a container with a digest stays in the list of resolved images, which downgrades no findings" {
  local stale image request
  # Another pinning policy may have added it to the list.
  request="$(request v1 Pod "$(annotated_pod "$WEB@$DIGEST" '{"container-patch.dev/resolved": "ghost,app"}')")"
  silently "$request" "$PIN"
  assert_equal "$(response .allowed)" true
  assert_equal "$(patched "$request" | jq -r '.metadata.annotations["container-patch.dev/resolved"]')" app
  stale="$(push_image listed/web 1 "$STALE")"
  image="$REGISTRY/listed/web:1"
  request="$(request v1 Pod "$(annotated_pod "$image@$stale" '{"container-patch.dev/resolved": "app"}')" "$CONTROLLER")"
  ask "$request" "$(both "$DENY")"
  assert_denied stale-image
}

@test "an UPDATE of a pod keeps its list of resolved images and pins a new ephemeral container" {
  local digest old request
  digest="$(push_image ephemeral/debug 1 "$FRESH")"
  old="$(annotated_pod "$WEB@$DIGEST" '{"container-patch.dev/resolved": "app"}')"
  silently "$(update v1 Pod "$(jq -c '.metadata.labels = {a: "b"}' <<< "$old")" "$old")" "$PIN"
  assert_untouched
  request="$(update v1 Pod "$(jq -c --arg image "$REGISTRY/ephemeral/debug:1" '.spec.ephemeralContainers = [{name: "debug", image: $image}]' <<< "$old")" "$old" \
    '.subResource = "ephemeralcontainers"')"
  ask "$request" "$PIN"
  assert_equal "$(patched "$request" | jq -r '.spec.ephemeralContainers[0].image')" "$REGISTRY/ephemeral/debug:1@$digest"
}

@test "the digest in a forged record on a bare pod is judged" {
  local fresh stale image request
  fresh="$(push_image forged/web fresh "$FRESH")"
  stale="$(push_image forged/web stale "$STALE")"
  image="$REGISTRY/forged/web"
  # The pod gets the digest of the forged record, and this digest is judged.
  request="$(request v1 Pod "$(annotated_pod "$image:fresh" "$(recorded "$image:fresh@$stale")")")"
  ask "$request" "$PIN"
  assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$image:fresh@$stale"
  ask "$(request v1 Pod "$(patched "$request")")" "$ENFORCE"
  assert_refused stale-image
  ask "$request" "$BOTH"
  assert_refused stale-image
  # If the pinning policy is off or in monitor mode, the image does not change, and its tag is judged.
  request="$(request v1 Pod "$(annotated_pod "$image:stale" "$(recorded "$image:stale@$fresh")")")"
  ask "$request" "$ENFORCE"
  assert_refused unpinned-image stale-image
  ask "$request" "$(enforce '{"pinning": {"action": "off"}}')"
  assert_refused stale-image
  # A forged digest that does not exist.
  request="$(request v1 Pod "$(annotated_pod "$image:fresh" "$(recorded "$image:fresh@$DIGEST")")")"
  ask "$request" "$BOTH"
  assert_refused evidence-unavailable
}

# made IMAGE ANNOTATIONS SETTINGS [JQ]: judges a pod that a controller creates.
made() { ask "$(request v1 Pod "$(annotated_pod "$1" "$2")" "$CONTROLLER | ${4:-.}")" "$(enforce "$3")"; }

WARN='{"enforcement": {"unrecordedPods": "warn"}}'
DENY='{"enforcement": {"unrecordedPods": "deny"}}'

@test "findings about a controller's pod are warnings with the digest of its record, and denials with another or none" {
  local stale other image settings
  stale="$(push_image lenient/web 1 "$STALE")"
  other="$(push_image lenient/web other 2026-01-02T00:00:00Z)"
  image="$REGISTRY/lenient/web:1"
  for settings in '{}' "$WARN" "$DENY"; do
    made "$image@$stale" "$(recorded "$image@$stale")" "$settings"
    assert_passed stale-image controllerPods
    made "$image@$stale" "$(recorded "$image@$other")" "$settings"
    assert_refused stale-image
    # The list of resolved images makes no difference.
    made "$image@$stale" "$(recorded "$image@$stale" | jq -c '.["container-patch.dev/resolved"] = "app"')" "$settings"
    assert_passed stale-image controllerPods
    made "$image" "$(recorded "$image@$stale")" "$settings"
    assert_refused unpinned-image stale-image
  done
  # The setting controllerPods applies.
  made "$image@$stale" "$(recorded "$image@$stale")" '{"enforcement": {"controllerPods": "deny"}}'
  assert_refused stale-image
  made "$image@$stale" "$(recorded "$image@$stale")" '{"enforcement": {"controllerPods": "ignore"}}'
  assert_equal "$(response .allowed) $(codes)" "true "
  # For a user's pod, findings are not downgraded.
  made "$image@$stale" "$(recorded "$image@$stale")" '{}' '.userInfo.username = "jane"'
  assert_refused stale-image
}

@test "findings about a controller's pod without a record are warnings if the pinning policy did not resolve its digest" {
  local stale image settings annotations
  stale="$(push_image unrecorded/web 1 "$STALE")"
  image="$REGISTRY/unrecorded/web"
  for settings in "$WARN" "$DENY"; do
    # No record; records for another tag or image; a malformed record; and lists with other names.
    for annotations in null "$(recorded "$image:2@$stale")" "$(recorded "$image-2:1@$DIGEST")" "$(recorded nonsense)" '{"container-patch.dev/resolved": "other"}' \
      '{"container-patch.dev/resolved": "volume/app"}' '{"container-patch.dev/resolved": "apps,ap"}' '{"container-patch.dev/resolved": ""}'; do
      made "$image:1@$stale" "$annotations" "$settings"
      assert_passed stale-image controllerPods
    done
    made "$image@$stale" "$(recorded "$image:1@$DIGEST")" "$settings"
    assert_passed stale-image controllerPods
  done
}

@test "unrecordedPods applies to a controller's pod if the pinning policy resolved its digest, or if it has no digest" {
  local stale image annotations
  stale="$(push_image unrecorded/pods 1 "$STALE")"
  image="$REGISTRY/unrecorded/pods:1"
  for annotations in '{"container-patch.dev/resolved": "app"}' '{"container-patch.dev/resolved": "other,app,volume/data"}' \
    "$(recorded "$REGISTRY/unrecorded/pods:2@$stale" | jq -c '.["container-patch.dev/resolved"] = "app"')"; do
    for settings in '{}' "$WARN"; do
      made "$image@$stale" "$annotations" "$settings"
      assert_passed stale-image unrecordedPods
      assert_contains "$(annotation findings | jq -r '.[] | select(.passed).text')" record
    done
    made "$image@$stale" "$annotations" "$DENY"
    assert_refused stale-image
  done
  made "$image" null '{}'
  assert_equal "$(response .allowed)" true
  assert_equal "$(passed)" "unpinned-image unrecordedPods, stale-image unrecordedPods"
  made "$image" null "$DENY"
  assert_refused unpinned-image stale-image
  # The setting is only for controllers' pods.
  made "$image@$stale" '{"container-patch.dev/resolved": "app"}' '{}' '.userInfo.username = "jane"'
  assert_refused stale-image
}

@test "findings about a controller's pod are downgraded for each container separately" {
  local stale image pod
  stale="$(push_image each/web 1 "$STALE")"
  image="$REGISTRY/each/web:1"
  pod="$(annotated_pod "$image@$stale" "$(recorded "$image@$stale" app "$image@$DIGEST" changed | jq -c '.["container-patch.dev/resolved"] = "resolved,volume/data"')" \
    | jq -c --arg image "$image@$stale" '.spec.containers += [{name: "changed", image: $image}, {name: "resolved", image: $image}, {name: "data", image: $image}]
      | .spec.volumes = [{name: "data", image: {reference: $image}}]')"
  ask "$(request v1 Pod "$pod" "$CONTROLLER")" "$ENFORCE"
  assert_equal "$(response .allowed)" false
  assert_equal "$(annotation findings | jq -r '[.[] | select(.code == "stale-image") | "\(.site) \(.passed // .effect)"] | join(", ")')" \
    'container `app` controllerPods, container `changed` deny, container `resolved` unrecordedPods, container `data` controllerPods, volume `data` unrecordedPods'
}

@test "findings about objects that controllers create from a recorded template are warnings" {
  local stale image
  stale="$(push_image copied/web 1 "$STALE")"
  image="$REGISTRY/copied/web:1"
  ask "$(request apps/v1 ReplicaSet "$(deployment "$image" "$(recorded "$image@$stale")")" "$CONTROLLER | $(owned true)")" "$ENFORCE"
  assert_passed stale-image controllerPods
  ask "$(request batch/v1 Job "$(deployment "$image" "$(recorded "$image@$stale")")" '.userInfo.username = "system:serviceaccount:kube-system:cronjob-controller"')" "$ENFORCE"
  assert_passed stale-image controllerPods
  # A controller only copies records. If it changes a digest, the digest comes from an unknown source.
  ask "$(update apps/v1 Deployment "$(deployment "$image" "$(recorded "$image@$stale")")" "$(deployment "$image" "$(recorded "$image@$DIGEST")")" "$CONTROLLER")" "$ENFORCE"
  assert_refused stale-image
}

@test "with one policy that pins and judges, a controller's pod is admitted with its record, or by unrecordedPods" {
  local stale image request
  stale="$(push_image one/web 1 "$STALE")"
  image="$REGISTRY/one/web:1"
  request="$(request v1 Pod "$(annotated_pod "$image" "$(recorded "$image@$stale")")" "$CONTROLLER")"
  ask "$request" "$(both "$DENY")"
  assert_passed stale-image controllerPods
  assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$image@$stale"
  request="$(request v1 Pod "$(annotated_pod "$image")" "$CONTROLLER")"
  ask "$request" "$BOTH"
  assert_passed stale-image unrecordedPods
  assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$image@$stale"
  assert_equal "$(resolved "$request")" app
  ask "$request" "$(both "$DENY")"
  assert_refused stale-image
}

@test "a container that another webhook injects or rewrites has no record, and is judged without one" {
  local fresh stale image injected request pinned
  fresh="$(push_image injected/web 1 "$FRESH")"
  stale="$(push_image injected/proxy 1 "$STALE")"
  image="$REGISTRY/injected/web:1"
  # Injected before the pinning policy, which resolves the tag. The digest was not judged with the workload of a user.
  injected="$(annotated_pod "$image" "$(recorded "$image@$fresh")" | jq -c --arg image "$REGISTRY/injected/proxy:1" '.spec.containers += [{name: "proxy", image: $image}]')"
  request="$(request v1 Pod "$injected" "$CONTROLLER")"
  ask "$request" "$PIN"
  pinned="$(patched "$request")"
  assert_equal "$(jq -r '[.spec.containers[].image] | join(" ")' <<< "$pinned")" "$image@$fresh $REGISTRY/injected/proxy:1@$stale"
  assert_equal "$(resolved "$request")" proxy
  ask "$(request v1 Pod "$pinned" "$CONTROLLER")" "$ENFORCE"
  assert_passed stale-image unrecordedPods
  ask "$(request v1 Pod "$pinned" "$CONTROLLER")" "$(enforce "$DENY")"
  assert_refused stale-image
  # Injected by digest.
  ask "$(request v1 Pod "$(jq -c --arg digest "$stale" '.spec.containers[1].image += "@" + $digest | .spec.containers[0].image += "@" + "'"$fresh"'"' <<< "$injected")" "$CONTROLLER")" "$(enforce "$DENY")"
  assert_passed stale-image controllerPods
  # Injected into a user's pod.
  ask "$(request v1 Pod "$pinned")" "$ENFORCE"
  assert_refused stale-image
  # A mirror replaces the registry: the record is for another image.
  request="$(request v1 Pod "$(annotated_pod "$REGISTRY/injected/proxy:1" "$(recorded "$image@$fresh")")" "$CONTROLLER")"
  ask "$request" "$PIN"
  assert_equal "$(patched "$request" | jq -r '.spec.containers[0].image')" "$REGISTRY/injected/proxy:1@$stale"
  assert_equal "$(resolved "$request")" app
}

@test "pods run the digest that was admitted, even if its tag moves to a stale image" {
  local fresh image request admitted pod
  fresh="$(push_image story/web 1 "$FRESH")"
  image="$REGISTRY/story/web:1"
  request="$(request apps/v1 Deployment "$(deployment "$image")")"
  ask "$request" "$PIN"
  admitted="$(patched "$request")"
  ask "$(request apps/v1 Deployment "$admitted")" "$ENFORCE"
  assert_equal "$(response .allowed) $(codes)" "true "
  push_image story/web 1 "$STALE"
  # With the registry running, and with the registry down.
  pod="$(request v1 Pod "$(jq -c .spec.template <<< "$admitted")" "$CONTROLLER")"
  for run in ask silently; do
    $run "$pod" "$PIN"
    assert_equal "$(response .allowed) $(codes)" "true "
    assert_equal "$(patched "$pod" | jq -r '.spec.containers[0].image')" "$image@$fresh"
  done
  ask "$(request v1 Pod "$(patched "$pod")" "$CONTROLLER")" "$(enforce "$DENY")"
  assert_equal "$(response .allowed) $(codes)" "true "
  # The same manifest changes nothing. A restart looks up the tag and is refused.
  request="$(update apps/v1 Deployment "$(deployment "$image")" "$(jq -c '{spec}' <<< "$admitted")")"
  silently "$request" "$PIN"
  assert_equal "$(patched "$request" | jq -cS .spec)" "$(jq -cS .spec <<< "$admitted")"
  request="$(update apps/v1 Deployment "$(jq -c '{spec} | .spec.template.metadata.annotations["kubectl.kubernetes.io/restartedAt"] = "2026-11-20T12:00:00Z"' <<< "$admitted")" "$(jq -c '{spec}' <<< "$admitted")")"
  ask "$request" "$PIN"
  ask "$(update apps/v1 Deployment "$(patched "$request" | jq -c '{spec}')" "$(jq -c '{spec}' <<< "$admitted")")" "$ENFORCE"
  assert_refused stale-image
  assert_names_recorded "$image@$fresh"
}

# The manifests in deploy/

# deployed FILE: writes the settings of a manifest in deploy/ to a file, and prints its name.
deployed() {
  sed -n '/^  settings:/,$p' "$ROOT/deploy/$1" | sed '1d; s/^    //' > "$BATS_TEST_TMPDIR/deployed.yml"
  echo "$BATS_TEST_TMPDIR/deployed.yml"
}

@test "deploy/pin.yaml records workloads, and deploy/enforce.yaml judges the records" {
  local request
  request="$(request apps/v1 Deployment "$(deployment nginx:1)")"
  policy_run --request-path "$request" --settings-path "$(deployed pin.yaml)" --replay-host-capabilities-interactions "$(known docker.io/library/nginx:1)"
  assert_records "$request" "{\"pin.container-patch.dev/app\": \"docker.io/library/nginx:1@$DIGEST\"}"
  local resource
  for resource in podtemplates replicationcontrollers deployments replicasets statefulsets daemonsets jobs cronjobs; do
    assert_contains "$(sed -n '/^  rules:/,/^  settings:/p' "$ROOT/deploy/pin.yaml")" "\"$resource\""
  done
  local answer
  answer="$(jq -nc --arg digest "$DIGEST" '{digest: $digest, config: {created: "2020-01-01T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  jq -nr --arg answer "$answer" --arg digest "$DIGEST" '"- type: Exchange\n  request: |\n    !OciManifestAndConfig\n    image: docker.io/library/nginx@\($digest)\n  response:\n    type: Success\n    payload: \($answer | tojson)"' > "$BATS_TEST_TMPDIR/session.yml"
  policy_run --request-path "$(request apps/v1 Deployment "$(deployment nginx:1 "$(recorded "docker.io/library/nginx:1@$DIGEST")")")" \
    --settings-path "$(deployed enforce.yaml)" --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  assert_refused stale-image
}

@test "invalid values of templates and unrecordedPods are rejected with their path" {
  local settings at
  while read -r at settings; do
    policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-json "$settings"
    [ "$status" -ne 0 ]
    assert_contains "$stderr" "$at: "
  done <<< 'pinning.templates {"pinning": {"templates": "records"}}
pinning.templates {"pinning": {"templates": 7}}
enforcement.unrecordedPods {"enforcement": {"unrecordedPods": "ignore"}}
enforcement.unrecordedPods {"enforcement": {"unrecordedPods": true}}'
}

@test "container-patch check shows what would be recorded" {
  local digest
  digest="$(push_image checked/web 1 "$FRESH")"
  jq -nc --argjson object "$(deployment "$REGISTRY/checked/web:1")" '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "web"}} + $object' > "$BATS_TEST_TMPDIR/deployment.json"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/deployment.json" --insecure-registry "$REGISTRY" --settings-json "$PIN"
  echo "$output"
  [ "$status" -eq 0 ]
  assert_contains "$output" "$REGISTRY/checked/web:1@$digest"
}
