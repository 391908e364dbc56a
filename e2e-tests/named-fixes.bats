#!/usr/bin/env bats
# A refusal names the digest of the build that the tag of the image points at now, and `check` accepts that digest. The images are in a
# real registry on loopback. The time is 2026-11-20, noon.

load helpers

OLD=2026-07-01T00:00:00Z
NEW=2026-11-17T00:00:00Z

# scanned TIME [VULNERABILITIES]: a jq program that adds the result of a scan to the manifest of an image.
scanned() {
  jq -nr --arg time "$1" --argjson vulnerabilities "${2:-[]}" '{timestamp: $time, summary: [], $vulnerabilities}
    | if $vulnerabilities == [] then .compliant = true else . end | tojson | tojson
    | ".annotations[\"quality.images.openshift.io/vulnerability.trivy\"] = \(.)"'
}

CRITICAL='[{"id": "CVE-2026-0001", "severity": "critical", "package": "openssl", "fixedVersion": "3.0.17", "published": "2026-07-15T00:00:00Z"}]'

# on_base DIGEST: a jq program that names the base of an image in its manifest.
on_base() { printf '.annotations += {"org.opencontainers.image.base.name": "%s/base/os:12", "org.opencontainers.image.base.digest": "%s"}' "$REGISTRY" "$1"; }

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export FOLDER="$BATS_FILE_TMPDIR" OLD_BASE NEW_BASE
  start_registry "$FOLDER"
  export REGISTRY REGISTRY_PID
  OLD_BASE="$(push_image base/os 12 "$OLD")"
  NEW_BASE="$(push_image base/os 12 2026-10-01T00:00:00Z)"
  # The images of the examples. The builds that are refused are stale, vulnerable and on an old base.
  local image repository tag digest
  cp "$ROOT/examples/shop.yaml" "$FOLDER/shop.yaml"
  cp "$ROOT/examples/shop.yaml" "$FOLDER/all-refused.yaml"
  while read -r image; do
    repository="${image#*/}" repository="${repository%%[:@]*}" tag="${image%@*}"
    tag="${tag##*/}" tag="${tag#"${repository##*/}"}" tag="${tag#:}"
    digest="$(push_image "$repository" "${tag:-latest}" "$OLD" . "$(scanned "2026-11-19T00:00:00Z" "$CRITICAL") | $(on_base "$OLD_BASE")")"
    # The tag is pushed again.
    push_image "$repository" "${tag:-latest}" "$NEW" . "$(scanned "2026-11-19T00:00:00Z") | $(on_base "$NEW_BASE")"
    sed -i "s#$image#$REGISTRY/$repository${tag:+:$tag}@$digest#" "$FOLDER/all-refused.yaml"
    # In the examples as they are, only the cart is refused for what a newer build repairs.
    [ "$repository" = shop/cart ] || digest="$(push_image "$repository" "${tag:-latest}" "$NEW" . "$(scanned "2026-11-19T00:00:00Z") | $(on_base "$NEW_BASE")")"
    if [[ "$image" = *@* ]]; then
      sed -i "s#$image#$REGISTRY/$repository:$tag@$digest#" "$FOLDER/shop.yaml"
    else
      sed -i "s#$image#$REGISTRY/${image#*/}#" "$FOLDER/shop.yaml"
    fi
  done < <(sed -n 's/^ *image: //p' "$ROOT/examples/shop.yaml")
}

teardown_file() { kill "$REGISTRY_PID"; }

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/docker"
  mkdir -p "$DOCKER_CONFIG"
  echo '{}' > "$DOCKER_CONFIG/config.json"
  cd "$BATS_TEST_TMPDIR"
}

# check FLAG…: checks manifests. The output is JSON unless the flags give another format.
check() {
  local format=(--output json)
  [[ "$*" != *--output* ]] || format=()
  run --separate-stderr "$CONTAINER_PATCH" check --at 2026-11-20T12:00:00Z --insecure-registry "$REGISTRY" --policy-timeout 60 "${format[@]}" "$@"
  printf 'status: %s\nstderr: %s\n' "$status" "$stderr"
  jq -r '.objects[]?.findings[] | "\(.effect) \(.fix // "no fix") \(.message)"' <<< "$output" 2> /dev/null || echo "$output"
}

# refusals: prints the image and the fix of each refused image.
refusals() {
  jq -r '[.objects[].findings[] | select(.effect == "deny")] | group_by(.image)[] | "\(.[0].image) \(map(.fix // empty)[0] // "none")"' <<< "$output"
}

# assert_named FIX: asserts that a message names the fix.
assert_named() {
  assert_contains "$(jq -r '.objects[].findings[].message' <<< "$output")" "now points at $1, built 2026-11-17: deploy that build ["
}

# write_fixes FILE [NONE]: checks the file, and replaces the digest of each refused image by the one that its refusal names. No image may
# be refused without a fix, except NONE. Prints how many were replaced. FLAGS are more flags of check.
write_fixes() {
  local image fix
  REPLACED=0
  check "$1" "${FLAGS[@]}"
  [ "$status" -eq 1 ]
  while read -r image fix; do
    if [ "$image" = "${2:-}" ]; then
      [ "$fix" = none ]
      continue
    fi
    [[ "$fix" =~ ^sha256:[0-9a-f]{64}$ ]]
    assert_named "$fix"
    sed -i "s#${image#*@}#$fix#" "$1"
    REPLACED=$((REPLACED + 1))
  done < <(refusals)
}

@test "the refusals of the sample manifests name a digest that check accepts" {
  FLAGS=()
  cp "$FOLDER/shop.yaml" by-message.yaml
  # The tag `latest` is forbidden, so it is not looked up.
  write_fixes by-message.yaml "$REGISTRY/shop/debug"
  [ "$REPLACED" -eq 1 ]
  sed -i "s#shop/debug#shop/shell:1#" by-message.yaml
  check by-message.yaml
  [ "$status" -eq 0 ]
  # As text, too.
  check "$FOLDER/shop.yaml" --output text
  [ "$(grep -o 'now points at sha256:[0-9a-f]*, built 2026-11-17: deploy that build' <<< "$output" | wc -l)" -eq 1 ]
}

@test "the refusals of each preset name digests that check accepts, and check --fix writes the same ones" {
  local preset refused=0
  for preset in "$ROOT"/examples/presets/*.yaml; do
    FLAGS=(--settings-path "$preset")
    cp "$FOLDER/all-refused.yaml" by-message.yaml
    cp "$FOLDER/all-refused.yaml" by-command.yaml
    if [[ "$preset" = */staging-warn.yaml ]]; then
      # Nothing is refused, so no fix is looked up.
      check by-message.yaml "${FLAGS[@]}"
      [ "$status" -eq 0 ]
      [ "$(jq -c '[.objects[].findings[].fix | select(.)]' <<< "$output")" = '[]' ]
      continue
    fi
    # The last image has a digest and no tag.
    write_fixes by-message.yaml "$(grep -o "$REGISTRY/shop/debug@.*" by-message.yaml)"
    [ "$REPLACED" -eq 5 ]
    refused=$((refused + 1))
    check --fix --yes by-command.yaml "${FLAGS[@]}"
    assert_contains "$stderr" "fixed 5 images in 1 file; 1 could not be fixed"
    diff by-message.yaml by-command.yaml
    sed -i "s#shop/debug@.*#shop/shell:1#" by-message.yaml
    check by-message.yaml "${FLAGS[@]}"
    [ "$status" -eq 0 ]
  done
  [ "$refused" -eq 4 ]
}

# refused_as CODE SETTINGS OLD_MANIFEST_JQ [OLD_BUILT]: the old build is refused with this code by these settings, and its tag points at
# a build that check accepts.
refused_as() {
  local code="$1" settings old new
  settings="$(jq -nc --argjson settings "$2" '{pinning: {action: "off"}, schedule: {action: "off"}, baseImage: {action: "off"}, scan: {action: "off"}} * $settings')"
  old="$(push_image "one/$code" 1 "${4:-$NEW}" . "$3")"
  new="$(push_image "one/$code" 1 "$NEW" '.config.Labels.build = "2"' "$(scanned 2026-11-19T00:00:00Z) | $(on_base "$NEW_BASE")")"
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: "%s"}]}\n' "$REGISTRY/one/$code:1@$old" > pod.yaml
  cp pod.yaml by-command.yaml
  check pod.yaml --settings-json "$settings"
  [ "$status" -eq 1 ]
  [ "$(jq -r '.objects[].findings[] | select(.effect == "deny") | "\(.code) \(.fix)"' <<< "$output")" = "$code $new" ]
  assert_named "$new"
  sed -i "s#$old#$new#" pod.yaml
  check pod.yaml --settings-json "$settings"
  [ "$status" -eq 0 ]
  check --fix --yes by-command.yaml --settings-json "$settings"
  [ "$status" -eq 0 ]
  cmp pod.yaml by-command.yaml
}

@test "a stale, an outdated, a vulnerable and a flagged image have a fix" {
  refused_as stale-image '{"schedule": {"action": "deny", "maxAge": "90d"}}' . "$OLD"
  refused_as outdated-base-image '{"baseImage": {"action": "deny", "grace": "14d"}}' "$(on_base "$OLD_BASE")" "$OLD"
  refused_as vulnerable-image '{"scan": {"action": "deny", "maxAllowed": {"critical": 0}}}' "$(scanned 2026-11-19T00:00:00Z "$CRITICAL")"
  refused_as scan-flagged '{"scan": {"action": "deny"}}' '.annotations["images.openshift.io/deny-execution"] = "true"'
}

@test "a build that would be refused is not named as the fix" {
  local old new settings='{"pinning": {"action": "off"}, "schedule": {"action": "deny", "maxAge": "90d"}, "baseImage": {"action": "off"}}'
  # no_fix TEXT [SETTINGS]: the refusal of the old build has no fix, and says why.
  no_fix() {
    printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{name: a, image: "%s"}]}\n' "$REGISTRY/none/app:1@$old" > pod.yaml
    check pod.yaml --settings-json "$(jq -nc --argjson settings "$settings" --argjson more "${2:-{\}}" '$settings * $more')"
    [ "$status" -eq 1 ]
    [ "$(jq -c '[.objects[].findings[].fix | select(.)]' <<< "$output")" = '[]' ]
    assert_contains "$(jq -r '.objects[].findings[].message' <<< "$output")" "$1"
  }
  old="$(push_image none/app 1 "$OLD")"
  no_fix "there is no newer build under the tag \`1\` [stale-image]"
  new="$(push_image none/app 1 2026-07-02T00:00:00Z)"
  no_fix "there is no better build under its tag: the tag \`1\` now points at $new, built 2026-07-02, which is also refused (\`stale-image\`) [stale-image]"
  new="$(push_image none/app 1 "$NEW")"
  no_fix "the tag \`1\` now points at $new, built 2026-11-17, which may not be deployed yet (\`too-young\`): it was built 2026-11-17T" '{"rollout": {"minAge": "7d"}}'
}

@test "the recorded session of the examples names a digest that is accepted" {
  run --separate-stderr "$CONTAINER_PATCH" check "$ROOT/examples/shop.yaml" --settings-path "$ROOT/examples/recorded/settings.yaml" \
    --replay-host-capabilities-interactions "$ROOT/examples/recorded/session.yaml" --output json
  [ "$status" -eq 1 ]
  local image fix
  read -r image fix < <(refusals | grep -v shop/debug)
  assert_named "$fix"
  sed "s#${image#*@}#$fix#" "$ROOT/examples/shop.yaml" > shop.yaml
  # Tests take recorded answers in any order.
  cp "$ROOT/examples/recorded/session.yaml" .
  sed '/^  - name:/,$d; s#\.\./shop.yaml#shop.yaml#; s#{kind: Deployment, name: cart, .*#{kind: Deployment, name: cart, verdict: accepted, codes: []}#' \
    "$ROOT/examples/recorded/container-patch-test.yaml" > container-patch-test.yaml
  run --separate-stderr "$CONTAINER_PATCH" test .
  echo "$output $stderr"
  [ "$status" -eq 0 ]
}
