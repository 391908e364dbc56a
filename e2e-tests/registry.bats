#!/usr/bin/env bats
# Evidence from registries: with the real distribution registry on loopback, and images that the tests push.

load helpers

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export REGISTRY_FOLDER="$BATS_FILE_TMPDIR/public" PRIVATE_FOLDER="$BATS_FILE_TMPDIR/private"
  mkdir -p "$REGISTRY_FOLDER" "$PRIVATE_FOLDER"
  # robot:secret
  start_registry "$PRIVATE_FOLDER" 'robot:$2y$04$Z/Kwd.FFszDSe8BkhCzsmuUFJp0tcwDtzcgHjjRizJ14I4nuULKxW'
  export PRIVATE_REGISTRY="$REGISTRY" PRIVATE_PID="$REGISTRY_PID"
  start_registry "$REGISTRY_FOLDER"
  export REGISTRY REGISTRY_PID
}

teardown_file() {
  kill "$REGISTRY_PID" "$PRIVATE_PID"
}

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  # The tests do not use the credentials of the user who runs them.
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/docker"
  mkdir -p "$DOCKER_CONFIG"
  echo '{}' > "$DOCKER_CONFIG/config.json"
}

# ask REQUEST SETTINGS [FLAG…]: runs the policy with access to the registries. The time is 2026-11-20, noon.
ask() {
  local request="$1" settings flags
  settings="$(jq -nc --argjson settings "$2" '{evaluateAt: "2026-11-20T12:00:00Z"} + $settings')"
  shift 2
  if [ -n "$KWCTL" ]; then
    printf 'insecure_sources: ["%s", "%s"]\n' "$REGISTRY" "$PRIVATE_REGISTRY" > "$BATS_TEST_TMPDIR/sources.yml"
    flags=(--sources-path "$BATS_TEST_TMPDIR/sources.yml")
  else
    flags=(--insecure-registry "$REGISTRY" --insecure-registry "$PRIVATE_REGISTRY" --registry-timeout 60
      --policy-timeout 60)
  fi
  policy_run --request-path "$request" --settings-json "$settings" "${flags[@]}" "$@"
  [ "$status" -eq 0 ]
}

ONLY_PIN='{"schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}'
ONLY_SCHEDULE='{"pinning": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}'
ONLY_BASE='{"pinning": {"action": "off"}, "schedule": {"action": "off"}, "baseImage": {"action": "deny"}}'

# patched REQUEST: prints the object of the request with the JSON Patch of the response applied. The patch replaces images and adds
# annotations.
patched() {
  jq -c --argjson patch "$(response .patch | base64 -d)" '
    reduce $patch[] as $op (.object; setpath($op.path | split("/")[1:] | map(if test("^[0-9]+$") then tonumber else . end); $op.value))' "$1"
}

# codes: prints the codes of the findings, without the one about `evaluateAt`.
codes() { annotation findings | jq -r '[.[].code | select(. != "evaluate-at-set")] | join(" ")'; }

@test "a pod's images get the digests that their tags point at, and nothing else changes" {
  local single amd arm index docker request
  single="$(push_image pin/single 1 2026-11-01T00:00:00Z)"
  amd="$(push_image pin/multi amd 2026-11-01T00:00:00Z)"
  arm="$(push_image pin/multi arm 2026-11-02T00:00:00Z)"
  index="$(push_index pin/multi 1 "$amd" "$arm")"
  docker="$(DOCKER_TYPES=1 push_image pin/docker amd 2026-11-01T00:00:00Z)"
  docker="$(DOCKER_TYPES=1 push_index pin/docker 1 "$docker" "$(DOCKER_TYPES=1 push_image pin/docker arm 2026-11-02T00:00:00Z)")"
  request="$(request v1 Pod "$(jq -nc --arg r "$REGISTRY" '{metadata: {name: "web", unknownField: {"b": 1, "a": [null]}}, spec: {
    containers: [{name: "single", image: "\($r)/pin/single:1", fieldOfTomorrow: 1.50}, {name: "multi", image: "\($r)/pin/multi:1"}],
    initContainers: [{name: "docker", image: "\($r)/pin/docker:1"}],
    volumes: [{name: "data", image: {reference: "\($r)/pin/single:1", pullPolicy: "Always"}}]}}')")"
  ask "$request" '{"baseImage": {"action": "off"}}'
  [ "$(response .allowed)" = true ]
  [ "$(codes)" = "" ]
  [ "$(response .patchType)" = JSONPatch ]
  [ "$(patched "$request" | jq -r '.metadata.annotations["container-patch.dev/resolved"] | split(",") | sort | join(" ")')" = "docker multi single volume/data" ]
  [ "$(patched "$request" | jq -S 'del(.metadata.annotations)')" = "$(jq -S --arg r "$REGISTRY" --arg single "$single" --arg index "$index" --arg docker "$docker" '
    .object | .spec.containers[0].image += "@" + $single | .spec.containers[1].image += "@" + $index
    | .spec.initContainers[0].image += "@" + $docker | .spec.volumes[0].image.reference += "@" + $single' "$request")" ]
  # Each entry has the digest that was judged and its build date.
  [ "$(annotation images | jq -r '.[1] | "\(.digest) \(.built)"')" = "$single 2026-11-01T00:00:00Z" ]
}

@test "the rule pinning does not ask a registry about a pinned image" {
  ask "$(request v1 Pod "$(pod "$REGISTRY/no/such:1@$DIGEST")")" "$ONLY_PIN"
  [ "$(response .allowed)" = true ]
  [ "$(response .patch)" = null ]
}

@test "the image fields of templates are only changed with templates: true" {
  push_image templates/app 1 2026-11-01T00:00:00Z
  local object
  object="$(jq -nc --argjson pod "$(pod "$REGISTRY/templates/app:1")" '{spec: {template: $pod}}')"
  ask "$(request apps/v1 Deployment "$object")" "$ONLY_PIN"
  [ "$(response .patch | base64 -d | jq -c 'map(.path)')" = '["/spec/template/metadata"]' ]
  ask "$(request apps/v1 Deployment "$object")" "$(jq -nc --argjson only "$ONLY_PIN" '$only * {pinning: {templates: false}}')"
  [ "$(response .patch)" = null ]
  ask "$(request apps/v1 Deployment "$object")" "$(jq -nc --argjson only "$ONLY_PIN" '$only * {pinning: {templates: true}}')"
  assert_contains "$(response .patch | base64 -d)" "/spec/template/spec/containers/0/image"
}

@test "an UPDATE pins the images that it changes and no others" {
  local one two
  one="$(push_image update/app 1 2026-11-01T00:00:00Z)"
  two="$(push_image update/app 2 2026-11-02T00:00:00Z)"
  local object
  object="$(jq -nc --arg r "$REGISTRY" '{spec: {containers: [{name: "a", image: "\($r)/update/app:1"}, {name: "b", image: "\($r)/update/app:2"}]}}')"
  ask "$(request v1 Pod "$object" '.operation = "UPDATE" | .oldObject = (.object | .spec.containers[1].image |= sub(":2"; ":1"))')" "$ONLY_PIN"
  [ "$(response .patch | base64 -d | jq -r '[.[] | "\(.path) \(.value)"] | join(",")')" = "/spec/containers/1/image $REGISTRY/update/app:2@$two" ]
}

@test "action deny names the digest to write, and an image with that digest is accepted" {
  local digest
  digest="$(push_image advice/app 1 2026-11-01T00:00:00Z)"
  local settings
  settings="$(jq -nc --argjson only "$ONLY_PIN" '$only * {pinning: {action: "deny"}}')"
  ask "$(request v1 Pod "$(pod "$REGISTRY/advice/app:1")")" "$settings"
  assert_denied unpinned-image
  local advised
  advised="$(message | sed -n 's/.*write `\(.*\)` \[unpinned-image\]/\1/p')"
  [ "$advised" = "$REGISTRY/advice/app:1@$digest" ]
  ask "$(request v1 Pod "$(pod "$advised")")" "$settings"
  [ "$(response .allowed)" = true ]
}

@test "a tag that moves between two admissions is pinned to its current digest each time" {
  local first second
  first="$(push_image moving/app 1 2026-11-01T00:00:00Z)"
  ask "$(request v1 Pod "$(pod "$REGISTRY/moving/app:1")")" "$ONLY_PIN"
  assert_contains "$(response .patch | base64 -d)" "$first"
  second="$(push_image moving/app 1 2026-11-02T00:00:00Z)"
  [ "$first" != "$second" ]
  ask "$(request v1 Pod "$(pod "$REGISTRY/moving/app:1")")" "$ONLY_PIN"
  assert_contains "$(response .patch | base64 -d)" "$second"
}

@test "a stale image is refused with the same text in message and table, and a newer build is accepted" {
  local stale fresh
  stale="$(push_image stale/app 1.4 2026-07-01T00:00:00Z)"
  ask "$(request v1 Pod "$(pod "$REGISTRY/stale/app:1.4")")" '{}'
  assert_denied stale-image
  local story="was built 2026-07-01 (142 days ago), over the 90-day limit: a rebuild was due by 2026-09-29; deploy a newer build"
  story+="; there is no newer build under the tag \`1.4\`"
  assert_contains "$(message)" "container \`app\`: image \`$REGISTRY/stale/app:1.4\` $story [stale-image]"
  [ "$(annotation images | jq -r '.[0] | "\(.digest) \(.built)"')" = "$stale 2026-07-01T00:00:00Z" ]
  [ "$(annotation findings | jq -r '.[] | select(.effect == "deny") | "\(.site) \(.code)"')" = 'container `app` stale-image' ]

  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec: {containers: [{name: app, image: "%s/stale/app:1.4"}]}\n' "$REGISTRY" > "$BATS_TEST_TMPDIR/pod.yaml"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/pod.yaml" --insecure-registry "$REGISTRY" \
    --settings-json '{"evaluateAt": "2026-11-20T12:00:00Z"}'
  [ "$status" -eq 1 ]
  assert_contains "$output" "$story [stale-image]"

  # "deploy a newer build"
  fresh="$(push_image stale/app 1.5 2026-11-15T00:00:00Z)"
  ask "$(request v1 Pod "$(pod "$REGISTRY/stale/app:1.5")")" '{}'
  [ "$(response .allowed)" = true ]
  [ "$(codes)" = "" ]
  assert_contains "$(response .patch | base64 -d)" "$fresh"
}

@test "patch days, the grace period and freezes determine the deadline of an image" {
  push_image calendar/app old 2026-07-01T00:00:00Z
  push_image calendar/app due 2026-11-09T00:00:00Z
  push_image calendar/app new 2026-11-11T00:00:00Z
  local settings='{"patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"}'
  calendar() { jq -nc --argjson only "$ONLY_SCHEDULE" --argjson schedule "$settings$2}" '$only + {schedule: $schedule}' > "$BATS_TEST_TMPDIR/s.json"
    ask "$(request v1 Pod "$(pod "$REGISTRY/calendar/app:$1")")" "$(cat "$BATS_TEST_TMPDIR/s.json")"; }
  calendar old
  assert_denied stale-image
  assert_contains "$(message)" "before the patch day 2026-07-14: a rebuild was due by 2026-07-28"
  calendar due
  assert_warned evaluate-at-set patch-due
  assert_contains "$(warnings)" "before the patch day 2026-11-10: a rebuild is due by 2026-11-24 (in 3 days)"
  calendar new
  assert_warned evaluate-at-set
  calendar due ', "freezes": [{"from": "2026-11-20", "to": "2027-01-03", "reason": "year-end"}]'
  assert_warned evaluate-at-set
}

@test "the build date can also come from the label, the annotation or the history" {
  local epoch=1970-01-01T00:00:00Z created="org.opencontainers.image.created"
  push_image dates/app none "$epoch"
  push_image dates/app silent ""
  push_image dates/app buildpacks 1980-01-01T00:00:01Z
  push_image dates/app label "$epoch" '.config.Labels["'$created'"] = "2026-11-01"'
  push_image dates/app annotation "$epoch" . '.annotations["'$created'"] = "2026-11-01T00:00:00+01:00"'
  push_image dates/app history "$epoch" '.history = [{created: "2026-01-01T00:00:00Z"}, {created: "2026-11-01T00:00:00.123456789Z"}]'
  push_image dates/app future 2027-11-20T00:00:00Z
  push_image dates/app soon 2026-11-20T13:00:00Z
  local tag
  for tag in none silent buildpacks; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/dates/app:$tag")")" "$ONLY_SCHEDULE"
    assert_warned evaluate-at-set unknown-build-date
  done
  for tag in label annotation history soon; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/dates/app:$tag")")" "$ONLY_SCHEDULE"
    assert_warned evaluate-at-set
  done
  [ "$(annotation images | jq -r '.[0].built')" = 2026-11-20T13:00:00Z ]
  ask "$(request v1 Pod "$(pod "$REGISTRY/dates/app:future")")" "$ONLY_SCHEDULE"
  assert_denied future-build-date
}

@test "an image that was patched in place is as fresh as its patch" {
  # Copacetic does not change the configuration. It annotates the manifest.
  local patched='.annotations = {"org.opencontainers.image.created": "2026-11-01T00:00:00Z", "sh.copa.image.patched": "2026-11-01T00:00:00Z"}'
  push_image patched/app 1.0 2026-01-01T00:00:00Z
  push_image patched/app 1.0-patched 2026-01-01T00:00:00Z . "$patched"
  push_image patched/app rebuilt 2026-11-10T00:00:00Z . "$patched"
  ask "$(request v1 Pod "$(pod "$REGISTRY/patched/app:1.0")")" "$ONLY_SCHEDULE"
  assert_denied stale-image
  ask "$(request v1 Pod "$(pod "$REGISTRY/patched/app:1.0-patched")")" "$ONLY_SCHEDULE"
  assert_warned evaluate-at-set
  [ "$(annotation images | jq -r '.[0].built')" = 2026-11-01T00:00:00Z ]
  ask "$(request v1 Pod "$(pod "$REGISTRY/patched/app:rebuilt")")" "$ONLY_SCHEDULE"
  [ "$(annotation images | jq -r '.[0].built')" = 2026-11-10T00:00:00Z ]
}

# on BASE_NAME BASE_DIGEST: a jq program that annotates a manifest with its base.
on() { printf '.annotations = {"org.opencontainers.image.base.name": "%s", "org.opencontainers.image.base.digest": "%s"}' "$1" "$2"; }

@test "a base is current if its digest is the one of the index or of a manifest in it, and outdated otherwise" {
  local old amd arm index newer
  old="$(push_image base/os 12 2026-09-01T00:00:00Z)"
  push_image base/app on-old 2026-10-01T00:00:00Z . "$(on "$REGISTRY/base/os:12" "$old")"
  push_image base/app unknown 2026-10-01T00:00:00Z
  ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:on-old")")" "$ONLY_BASE"
  assert_warned evaluate-at-set

  amd="$(push_image base/os amd 2026-11-01T00:00:00Z)"
  arm="$(push_image base/os arm 2026-11-01T00:00:01Z)"
  index="$(push_index base/os 12 "$amd" "$arm")"
  push_image base/app on-index 2026-11-02T00:00:00Z . "$(on "$REGISTRY/base/os:12" "$index")"
  push_image base/app on-manifest 2026-11-02T00:00:00Z . "$(on "$REGISTRY/base/os:12" "$arm")"
  push_image base/app by-label 2026-11-02T00:00:00Z ".config.Labels = ($(on "$REGISTRY/base/os:12" "$index" | sed 's/^.annotations = //'))"
  push_image base/app by-buildpacks 1980-01-01T00:00:01Z ".config.Labels[\"io.buildpacks.lifecycle.metadata\"] = ({runImage: {image: \"$REGISTRY/base/os:12\", reference: \"$REGISTRY/base/os@$index\"}} | tojson)"
  local tag
  for tag in on-index on-manifest by-label by-buildpacks; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:$tag")")" "$ONLY_BASE"
    assert_warned evaluate-at-set
  done

  ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:on-old")")" "$ONLY_BASE"
  assert_denied outdated-base-image
  assert_contains "$(message)" "uses an outdated base \`$REGISTRY/base/os:12\` (a newer one was built 2026-11-01): a rebuild was due by 2026-11-15; rebuild the image"
  ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:on-old")")" "$(jq -nc --argjson only "$ONLY_BASE" '$only * {baseImage: {grace: "30d"}}')"
  assert_warned evaluate-at-set base-update-due

  ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:unknown")")" "$ONLY_BASE"
  assert_warned evaluate-at-set
  ask "$(request v1 Pod "$(pod "$REGISTRY/base/app:unknown")")" "$(jq -nc --argjson only "$ONLY_BASE" '$only * {baseImage: {unknown: "deny"}}')"
  assert_denied unknown-base-image
}

@test "a base that is not allowed is refused by its name, in each way in which images name their base" {
  local base digest buildkit tag allowed other
  base="$REGISTRY/bases/os:12"
  digest="$(push_image bases/os 12 2026-11-01T00:00:00Z)"
  buildkit="({sources: [{type: \"docker-image\", ref: \"$base\", pin: \"$digest\"}]} | tojson | @base64)"
  push_image bases/app by-annotation 2026-11-02T00:00:00Z . "$(on "$base" "$digest")"
  push_image bases/app by-tag 2026-11-02T00:00:00Z . "$(on "$base" "")"
  push_image bases/app by-digest 2026-11-02T00:00:00Z . "$(on "${base%:12}@$digest" "$digest")"
  push_image bases/app by-label 2026-11-02T00:00:00Z ".config.Labels = {\"org.opencontainers.image.base.name\": \"$base\"}"
  push_image bases/app by-buildpacks 1980-01-01T00:00:01Z ".config.Labels[\"io.buildpacks.lifecycle.metadata\"] = ({runImage: {image: \"$base\", reference: \"5f1b\"}} | tojson)"
  push_image bases/app by-buildkit 2026-11-02T00:00:00Z ".history = [{created_by: \"ADD rootfs\"}, {comment: \"buildkit.dockerfile.v0\"}]
    | .[\"moby.buildkit.buildinfo.v1\"] = $buildkit"
  allowed="$(jq -nc --argjson only "$ONLY_BASE" --arg base "$REGISTRY/bases/os:*" '$only * {baseImage: {allowed: [$base]}}')"
  other="$(jq -nc --argjson only "$ONLY_BASE" '$only * {baseImage: {allowed: ["cgr.dev/*"]}}')"
  for tag in by-annotation by-tag by-digest by-label by-buildpacks by-buildkit; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/bases/app:$tag")")" "$allowed"
    assert_warned evaluate-at-set
    ask "$(request v1 Pod "$(pod "$REGISTRY/bases/app:$tag")")" "$other"
    assert_denied disallowed-base-image
    assert_contains "$(message)" "is built on \`$REGISTRY/bases/os"
    assert_contains "$(message)" 'which `baseImage.allowed` does not list; build it on `cgr.dev/*`, or ask the cluster admin to add that base'
  done
}

@test "an image that names no base is admitted with allowed bases unless unknown bases are denied" {
  local settings tag
  push_image bases/app scratch 2026-11-02T00:00:00Z ".history = [{comment: \"buildkit.dockerfile.v0\"}]
    | .[\"moby.buildkit.buildinfo.v1\"] = ({sources: [{type: \"docker-image\", ref: \"docker.io/library/golang:1.19\", pin: \"sha256:$(printf '0%.0s' {1..64})\"}]} | tojson | @base64)"
  push_image bases/app silent 2026-11-02T00:00:00Z
  settings="$(jq -nc --argjson only "$ONLY_BASE" '$only * {baseImage: {allowed: ["cgr.dev/*"]}}')"
  for tag in scratch silent; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/bases/app:$tag")")" "$settings"
    assert_warned evaluate-at-set
    ask "$(request v1 Pod "$(pod "$REGISTRY/bases/app:$tag")")" "$(jq -c '.baseImage.unknown = "deny"' <<< "$settings")"
    assert_denied unknown-base-image
  done
}

@test "docker credentials of the user are sent to a private repository" {
  (
    REGISTRY="$PRIVATE_REGISTRY" REGISTRY_USER=robot:secret
    push_image secret/app 1 2026-11-01T00:00:00Z > "$BATS_TEST_TMPDIR/digest"
  )
  ask "$(request v1 Pod "$(pod "$PRIVATE_REGISTRY/secret/app:1")")" '{}'
  assert_denied evidence-unavailable
  jq -nc --arg r "$PRIVATE_REGISTRY" --arg auth "$(printf robot:secret | base64)" '{auths: {($r): {auth: $auth}}}' > "$DOCKER_CONFIG/config.json"
  ask "$(request v1 Pod "$(pod "$PRIVATE_REGISTRY/secret/app:1")")" '{}'
  [ "$(response .allowed)" = true ]
  assert_contains "$(response .patch | base64 -d)" "$(cat "$BATS_TEST_TMPDIR/digest")"
}

@test "an unknown image, or an artifact that is not a container image, is denied with the reason" {
  local listed
  listed="$(jq -nc --arg r "$REGISTRY" '{registries: [$r]}')"
  for settings in '{}' "$listed"; do
    ask "$(request v1 Pod "$(pod "$REGISTRY/no/such:1")")" "$settings"
    assert_denied evidence-unavailable
    assert_contains "$(message)" 'could not be verified: the registry has no such image'
  done
  push_image chart/app 1 2026-11-01T00:00:00Z . '.config.mediaType = "application/vnd.cncf.helm.config.v1+json"'
  ask "$(request v1 Pod "$(pod "$REGISTRY/chart/app:1")")" "$listed"
  assert_denied evidence-unavailable
  assert_contains "$(message)" 'it is not a container image: its configuration has the media type `application/vnd.cncf.helm.config.v1+json`'
}

@test "the answer of an unlisted registry is only in the log, and the requester reads only a general reason" {
  push_image unlisted/chart 1 2026-11-01T00:00:00Z . '.config.mediaType = "application/vnd.cncf.helm.config.v1+json"'
  for image in "$REGISTRY/unlisted/chart:1" "127.0.0.1:1/app:1"; do
    ask "$(request v1 Pod "$(pod "$image")")" '{}'
    assert_denied evidence-unavailable
    assert_contains "$(message)" "image \`$image\` could not be verified: its registry gave no usable answer; the log of policy-server has the cause [evidence-unavailable]"
  done
  assert_contains "$stderr" 'efused'
  ask "$(request v1 Pod "$(pod "$PRIVATE_REGISTRY/secret/app:1")")" '{}'
  assert_contains "$(message)" 'could not be verified: unauthorized; check its name, and that policy-server may read it [evidence-unavailable]'
}

@test "an image on an unlisted registry is refused before any request to the registry" {
  push_image listed/team/app 1 2026-11-01T00:00:00Z
  push_image listed/other/app 1 2026-11-01T00:00:00Z
  local listed
  listed="$(jq -nc --arg r "$REGISTRY/listed/team/*" '{registries: [$r], baseImage: {action: "off"}}')"
  ask "$(request v1 Pod "$(pod "$REGISTRY/listed/team/app:1")")" "$listed"
  [ "$(response .allowed)" = true ]
  # The session has no answers, so a host call would change the finding.
  for image in "$REGISTRY/listed/other/app:1" 127.0.0.1:1/app:1 "${REGISTRY/127.0.0.1/localhost}/listed/team/app:1" nginx:1; do
    ask "$(request v1 Pod "$(pod "$image")")" "$listed" --replay-host-capabilities-interactions "$(silence)"
    assert_denied unknown-registry
    assert_contains "$(message)" "use an image from \`$REGISTRY/listed/team/*\`"
  done
}

# push_platforms REPOSITORY TAG PLATFORM=DIGEST…: pushes an index of images for platforms (`os/arch[/variant]`, or `-` for an entry
# without a platform), and prints its digest.
push_platforms() {
  local repository="$1" tag="$2" pair type=application/vnd.oci.image.index.v1+json manifest=application/vnd.oci.image.manifest.v1+json
  shift 2
  for pair in "$@"; do
    jq -nc --arg type "$manifest" --arg platform "${pair%%=*}" --arg digest "${pair#*=}" \
      --argjson size "$(curl -sf -H "Accept: $manifest, $type" "http://$REGISTRY/v2/$repository/manifests/${pair#*=}" | wc -c)" '
      {mediaType: $type, digest: $digest, size: $size}
      + (if $platform == "-" then {} else {platform: ($platform | split("/") | {os: .[0], architecture: .[1]} + (if .[2] then {variant: .[2]} else {} end))} end)'
  done | jq -sc --arg type "$type" '{schemaVersion: 2, mediaType: $type, manifests: .}' | push_manifest "$repository" "$tag" "$type"
}

@test "every image of an index that a runtime may choose is judged, and the worst one counts" {
  local repository=platforms/twice fresh stale index second
  fresh="$(push_image "$repository" fresh 2026-11-01T00:00:00Z)"
  stale="$(push_image "$repository" stale 2025-11-01T00:00:00Z)"
  for second in linux/amd64 linux/amd64/v2 linux/386 -; do
    index="$(push_platforms "$repository" 1 "linux/amd64=$fresh" "$second=$stale")"
    ask "$(request v1 Pod "$(pod "$REGISTRY/$repository:1@$index")")" "$ONLY_SCHEDULE"
    assert_contains "$(annotation findings)" '"stale-image"'
    [ "$(response .allowed)" = false ]
    [ "$(annotation images | jq -r '.[0].built')" = 2025-11-01T00:00:00Z ]
  done
  index="$(push_platforms "$repository" 1 "linux/amd64=$fresh" "linux/s390x=$stale" "unknown/unknown=$stale")"
  ask "$(request v1 Pod "$(pod "$REGISTRY/$repository:1@$index")")" "$ONLY_SCHEDULE"
  [ "$(response .allowed)" = true ]
}

@test "the image for the architecture that a pod selects is judged, and so are the images for all platforms in the settings" {
  local repository=platforms/arm fresh stale index on_arm both
  fresh="$(push_image "$repository" fresh 2026-11-01T00:00:00Z)"
  stale="$(push_image "$repository" stale 2025-11-01T00:00:00Z)"
  index="$(push_platforms "$repository" 1 "linux/amd64=$fresh" "linux/arm64=$stale")"
  on_arm="$(pod "$REGISTRY/$repository:1@$index" | jq -c '.spec.nodeSelector = {"kubernetes.io/arch": "arm64"}')"
  ask "$(request v1 Pod "$on_arm")" "$ONLY_SCHEDULE"
  assert_denied stale-image
  ask "$(request v1 Pod "$(pod "$REGISTRY/$repository:1@$index" | jq -c '.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms
    = [{matchExpressions: [{key: "kubernetes.io/arch", operator: "In", values: ["arm64"]}]}]')")" "$ONLY_SCHEDULE"
  assert_denied stale-image
  both="$(jq -nc --argjson only "$ONLY_SCHEDULE" '$only * {platforms: ["linux/amd64", "linux/arm64", "linux/s390x"]}')"
  ask "$(request v1 Pod "$(pod "$REGISTRY/$repository:1@$index")")" "$both"
  assert_denied stale-image
  assert_contains "$(message)" '(linux/arm64) was built 2025-11-01'
  [ "$(annotation images | jq -c '.[0].missingPlatforms')" = '["linux/s390x"]' ]
  # The image does not change, but the nodes that can run it do.
  local deployment='{spec: {template: .}}'
  ask "$(request apps/v1 Deployment "$(jq -c "$deployment" <<< "$on_arm")" \
    '.operation = "UPDATE" | .oldObject = (.object | del(.spec.template.spec.nodeSelector))')" "$ONLY_SCHEDULE"
  assert_denied stale-image
}

@test "an index of ten thousand images, or with an invalid digest, is refused with the reason" {
  local repository=platforms/many listed image
  listed="$(jq -nc --arg r "$REGISTRY" --argjson only "$ONLY_SCHEDULE" '$only * {registries: [$r]}')"
  image="$(push_image "$repository" one 2026-11-01T00:00:00Z)"
  # A registry does not accept such an index, so the test uses recorded answers.
  local name="$REGISTRY/$repository" entries
  for entries in '[range(10000) | {digest: ("sha256:" + ("000000000000000000000000000000000000000000000000000000000000" + (10000 + .|tostring))[-64:]), platform: {os: "linux", architecture: "amd64"}}]' \
    '[{digest: "latest", platform: {os: "linux", architecture: "amd64"}}]'; do
    jq -nr --arg name "$name@$DIGEST" --arg image "$image" "
      def exchange(\$call; \$answer): \"- type: Exchange\n  request: |\n    !\(\$call)\n    image: \(\$name)\n  response:\n    type: Success\n    payload: \(\$answer | tojson | tojson)\";
      exchange(\"OciManifestAndConfig\"; {digest: \$image, config: {created: \"2026-11-01T00:00:00Z\"}, manifest: {config: {mediaType: \"application/vnd.oci.image.config.v1+json\"}}}),
      exchange(\"OciManifest\"; {schemaVersion: 2, manifests: $entries})" > "$BATS_TEST_TMPDIR/many.yml"
    ask "$(request v1 Pod "$(pod "$name@$DIGEST")")" "$listed" --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/many.yml"
    assert_denied evidence-unavailable
    [[ "$(message)" == *"its index has more than 16 images"* || "$(message)" == *'its index has the invalid digest `latest`'* ]]
  done
}

@test "an image is denied if its registry is down, unless evidenceErrors is warn" {
  ask "$(request v1 Pod "$(pod "127.0.0.1:1/team/app:1")")" '{}'
  assert_denied evidence-unavailable
  ask "$(request v1 Pod "$(pod "127.0.0.1:1/team/app:1")")" '{"enforcement": {"evidenceErrors": "warn"}}'
  assert_warned evaluate-at-set evidence-unavailable
  [ "$(response .patch)" = null ]
}

@test "every image of a pod is judged, even if others have findings" {
  push_image several/app old 2026-01-01T00:00:00Z
  push_image several/app new 2026-11-01T00:00:00Z
  local object
  object="$(jq -nc --arg r "$REGISTRY" '{spec: {containers: [
    {name: "a", image: "\($r)/several/app:old"}, {name: "b", image: "\($r)/several/app:none"},
    {name: "c", image: "\($r)/several/app:new"}, {name: "d", image: "Nonsense"}]}}')"
  ask "$(request v1 Pod "$object")" '{}'
  assert_denied stale-image evidence-unavailable invalid-reference
  [ "$(response .patch)" = null ]
}

@test "a recorded session replays to the same response" {
  push_image session/app 1 2026-11-01T00:00:00Z
  local request recorded
  request="$(request v1 Pod "$(pod "$REGISTRY/session/app:1")")"
  ask "$request" '{}' --record-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  recorded="$(jq -S . <<< "$output")"
  grep -q '!OciManifestDigest' "$BATS_TEST_TMPDIR/session.yml"
  ask "$request" '{}' --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  [ "$(jq -S . <<< "$output")" = "$recorded" ]
  # Another request does not get the recorded answers.
  ask "$(request v1 Pod "$(pod "$REGISTRY/session/other:1")")" '{}' --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  assert_denied evidence-unavailable
}

@test "a registry that uses plain HTTP is reported with the flag for it" {
  push_image plain/app 1 2026-11-01T00:00:00Z
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: app, image: "%s/plain/app:1"}]}\n' "$REGISTRY" > "$BATS_TEST_TMPDIR/a.yaml"
  local settings
  settings="$(jq -nc --arg registry "$REGISTRY" --argjson only "$ONLY_PIN" '$only * {registries: [$registry]}')"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/a.yaml" --settings-json "$settings"
  [ "$status" -eq 2 ]
  assert_contains "$output" "$REGISTRY does not answer over TLS; if it uses plain HTTP, set --insecure-registry $REGISTRY"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/a.yaml" --settings-json "$settings" --insecure-registry "$REGISTRY"
  [ "$status" -eq 0 ]
  # A missing configuration file of docker is not an error.
  rm "$DOCKER_CONFIG/config.json"
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/a.yaml" --settings-json "$settings"
  [[ "$output$stderr" != *credentials* ]]
}
