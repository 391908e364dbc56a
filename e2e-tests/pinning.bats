#!/usr/bin/env bats
# The rule `pinning`, exempt images and overrides.

load helpers

@test "an image with a digest is accepted" {
  judge v1 Pod "$(pod "registry.example.com:5000/team/app:1.4@$DIGEST")"
  assert_accepted
  [ "$(annotation images | jq -r '.[0].image')" = "registry.example.com:5000/team/app:1.4@$DIGEST" ]
}

@test "action deny refuses an image without a digest and says how to pin it" {
  judge v1 Pod "$(pod nginx:1.27)"
  assert_denied unpinned-image
  assert_contains "$(message)" 'container `app`: image `nginx:1.27` has no digest'
  assert_contains "$(message)" 'pin it by digest: `name:tag@sha256:…`'
}

@test "action warn admits an image without a digest with a warning" {
  judge v1 Pod "$(pod nginx:1.27)" '{"pinning": {"action": "warn"}}'
  assert_warned unpinned-image
}

@test "action off admits an image without a digest or tag, without a warning" {
  judge v1 Pod "$(pod nginx)" '{"pinning": {"action": "off"}}'
  assert_accepted
}

@test "an unquoted off, which kubectl turns into false, counts as off" {
  judge v1 Pod "$(pod nginx)" '{"pinning": {"action": false}}'
  assert_accepted
}

@test "a forbidden tag is denied even if the action is warn" {
  for image in nginx nginx:latest docker.io/library/nginx; do
    judge v1 Pod "$(pod "$image")" '{"pinning": {"action": "warn"}}'
    assert_denied forbidden-tag
  done
  judge v1 Pod "$(pod nginx:dev)" '{"pinning": {"action": "warn", "forbiddenTags": ["dev"]}}'
  assert_denied forbidden-tag
  judge v1 Pod "$(pod "nginx:latest@$DIGEST")"
  assert_accepted
}

@test "templates: false applies pinning to pods and not to workloads" {
  local settings='{"pinning": {"templates": false}}'
  judge v1 Pod "$(pod nginx:1)" "$settings"
  assert_denied unpinned-image
  judge apps/v1 Deployment "$(jq -nc --argjson pod "$(pod nginx:1)" '{spec: {template: $pod}}')" "$settings"
  assert_accepted
}

@test "an exempt image is accepted in every spelling of its name" {
  local settings='{"exempt": ["docker.io/library/nginx:*"]}'
  for image in nginx nginx:1 docker.io/library/nginx:1 index.docker.io/nginx DOCKER.IO/library/nginx:1 docker.io:443/library/nginx:1; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_accepted
    [ "$(annotation images | jq '.[0].exempt')" = true ]
  done
}

@test "an image with a name similar to an exempt one is not exempt" {
  local settings='{"exempt": ["registry.example.com/*", "*.trusted.test/*"]}'
  for image in registry.example.com.evil.test/app:1 evil.test/registry.example.com/app:1 registry.example.com:8443/app:1 \
    evil.test/x.trusted.test/app:1; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_denied unpinned-image
  done
}

@test "the first matching override applies" {
  local settings='{"overrides": [
    {"images": ["registry.example.com/dev/*"], "pinning": {"action": "off"}},
    {"images": ["registry.example.com/*"], "pinning": {"action": "warn"}}]}'
  judge v1 Pod "$(pod registry.example.com/dev/app:1)" "$settings"
  assert_accepted
  judge v1 Pod "$(pod registry.example.com/team/app:1)" "$settings"
  assert_warned unpinned-image
  judge v1 Pod "$(pod registry.example.com/team/app)" "$settings"
  assert_denied forbidden-tag
  judge v1 Pod "$(pod quay.io/app:1)" "$settings"
  assert_denied unpinned-image
}

@test "settings are read from a YAML file" {
  printf 'pinning:\n  action: warn\nschedule: {action: "off"}\nbaseImage: {action: "off"}\nscan: {action: "off"}\n' > "$BATS_TEST_TMPDIR/settings.yml"
  policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-path "$BATS_TEST_TMPDIR/settings.yml" \
    --replay-host-capabilities-interactions "$(silence)"
  [ "$status" -eq 0 ]
  assert_warned unpinned-image
}

@test "a complete AdmissionReview is accepted in place of a request" {
  local review="$BATS_TEST_TMPDIR/review.json"
  jq '{apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: .}' "$(request v1 Pod "$(pod nginx:1)")" > "$review"
  policy_run --request-path "$review" --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)"
  [ "$status" -eq 0 ]
  assert_denied unpinned-image
  [ "$(response .uid)" = "$(jq -r .request.uid "$review")" ]
}

@test "warnings stay within the length limits of Kubernetes" {
  local pod
  pod="$(jq -nc '{spec: {containers: [range(100) | {name: "container-\(.)", image: ("registry.example.com/" + ("a" * 150) + ":\(.)")}]}}')"
  judge v1 Pod "$pod" '{"pinning": {"action": "warn"}}'
  [ "$(response .allowed)" = true ]
  [ "$(response '[.warnings[] | length] | max <= 256')" = true ]
  [ "$(response '[.warnings[] | length] | add <= 4096')" = true ]
  assert_contains "$(response '.warnings[-1]')" "more findings"
}
