#!/usr/bin/env bats
# Rule pinning, exemptions and overrides.

load helpers

@test "an image with a digest is accepted" {
  judge v1 Pod "$(pod "registry.example.com:5000/team/app:1.4@$DIGEST")"
  assert_accepted
  [ "$(annotation images | jq -r '.[0].image')" = "registry.example.com:5000/team/app:1.4@$DIGEST" ]
}

@test "action deny refuses an image without a digest, with the way out" {
  judge v1 Pod "$(pod nginx:1.27)"
  assert_denied unpinned-image
  assert_contains "$(message)" 'container `app`: image `nginx:1.27` has no digest'
  assert_contains "$(message)" 'pin it by digest: `name:tag@sha256:…`'
}

@test "action warn lets it in with a warning" {
  judge v1 Pod "$(pod nginx:1.27)" '{"pinning": {"action": "warn"}}'
  assert_warned unpinned-image
}

@test "action off lets it in without a word" {
  judge v1 Pod "$(pod nginx)" '{"pinning": {"action": "off"}}'
  assert_accepted
}

@test "an unquoted off, which kubectl turns into false, is off" {
  judge v1 Pod "$(pod nginx)" '{"pinning": {"action": false}}'
  assert_accepted
}

@test "a forbidden tag is denied even where the rule only warns" {
  for image in nginx nginx:latest docker.io/library/nginx; do
    judge v1 Pod "$(pod "$image")" '{"pinning": {"action": "warn"}}'
    assert_denied forbidden-tag
  done
  judge v1 Pod "$(pod nginx:dev)" '{"pinning": {"action": "warn", "forbiddenTags": ["dev"]}}'
  assert_denied forbidden-tag
  judge v1 Pod "$(pod "nginx:latest@$DIGEST")"
  assert_accepted
}

@test "templates: false judges pods and leaves workloads alone" {
  local settings='{"pinning": {"templates": false}}'
  judge v1 Pod "$(pod nginx:1)" "$settings"
  assert_denied unpinned-image
  judge apps/v1 Deployment "$(jq -nc --argjson pod "$(pod nginx:1)" '{spec: {template: $pod}}')" "$settings"
  assert_accepted
}

@test "an exempt image is accepted whatever its spelling" {
  local settings='{"exempt": ["docker.io/library/nginx:*"]}'
  for image in nginx nginx:1 docker.io/library/nginx:1 index.docker.io/nginx DOCKER.IO/library/nginx:1 docker.io:443/library/nginx:1; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_accepted
    [ "$(annotation images | jq '.[0].exempt')" = true ]
  done
}

@test "a look-alike of an exempt image is not exempt" {
  local settings='{"exempt": ["registry.example.com/*", "*.trusted.test/*"]}'
  for image in registry.example.com.evil.test/app:1 evil.test/registry.example.com/app:1 registry.example.com:8443/app:1 \
    evil.test/x.trusted.test/app:1; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_denied unpinned-image
  done
}

@test "the first override that matches decides" {
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

@test "a whole AdmissionReview is read like its request" {
  local review="$BATS_TEST_TMPDIR/review.json"
  jq '{apiVersion: "admission.k8s.io/v1", kind: "AdmissionReview", request: .}' "$(request v1 Pod "$(pod nginx:1)")" > "$review"
  policy_run --request-path "$review" --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)"
  [ "$status" -eq 0 ]
  assert_denied unpinned-image
  [ "$(response .uid)" = "$(jq -r .request.uid "$review")" ]
}

@test "warnings keep to what Kubernetes shows" {
  local pod
  pod="$(jq -nc '{spec: {containers: [range(100) | {name: "container-\(.)", image: ("registry.example.com/" + ("a" * 150) + ":\(.)")}]}}')"
  judge v1 Pod "$pod" '{"pinning": {"action": "warn"}}'
  [ "$(response .allowed)" = true ]
  [ "$(response '[.warnings[] | length] | max <= 256')" = true ]
  [ "$(response '[.warnings[] | length] | add <= 4096')" = true ]
  assert_contains "$(response '.warnings[-1]')" "more findings"
}
