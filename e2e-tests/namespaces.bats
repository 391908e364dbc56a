#!/usr/bin/env bats
# Overrides and exceptions that apply in some namespaces: one policy for several tiers.

load helpers

# Production refuses unpinned images, staging warns about them. Of the two overrides, the first one that matches applies.
TIERS='{"overrides": [
  {"images": ["registry.example.com/sandbox/*"], "namespaces": ["staging-eu"], "pinning": {"action": "off"}},
  {"images": ["*"], "namespaces": ["staging", "staging-*"], "pinning": {"action": "warn", "forbiddenTags": []}}]}'

# in_namespace NAMESPACE [NAMESPACE_OF_OBJECT]: prints a jq program that moves a request, and perhaps its object, to a namespace.
in_namespace() { printf '.namespace = "%s" | .object.metadata.namespace = "%s"' "$1" "${2-$1}"; }

@test "one policy warns in staging and denies in production" {
  for namespace in staging staging-eu staging-; do
    judge v1 Pod "$(pod nginx:1)" "$TIERS" "$(in_namespace "$namespace")"
    assert_warned unpinned-image
    judge v1 Pod "$(pod nginx)" "$TIERS" "$(in_namespace "$namespace")"
    assert_warned unpinned-image
  done
  for namespace in production my-staging staging2 stagin default; do
    judge v1 Pod "$(pod nginx:1)" "$TIERS" "$(in_namespace "$namespace")"
    assert_denied unpinned-image
    judge v1 Pod "$(pod nginx)" "$TIERS" "$(in_namespace "$namespace")"
    assert_denied forbidden-tag
  done
}

@test "workloads of every kind get the settings of their namespace" {
  local template='{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}'
  for kind in apps/v1:Deployment apps/v1:StatefulSet apps/v1:DaemonSet batch/v1:Job; do
    judge "${kind%:*}" "${kind#*:}" "$template" "$TIERS" "$(in_namespace staging-eu)"
    assert_warned unpinned-image
    judge "${kind%:*}" "${kind#*:}" "$template" "$TIERS" "$(in_namespace production)"
    assert_denied unpinned-image
  done
}

@test "the first override whose images and namespaces match applies" {
  judge v1 Pod "$(pod registry.example.com/sandbox/app:1)" "$TIERS" "$(in_namespace staging-eu)"
  assert_accepted
  judge v1 Pod "$(pod registry.example.com/sandbox/app:1)" "$TIERS" "$(in_namespace staging-us)"
  assert_warned unpinned-image
  judge v1 Pod "$(pod registry.example.com/team/app:1)" "$TIERS" "$(in_namespace staging-eu)"
  assert_warned unpinned-image
  judge v1 Pod "$(pod registry.example.com/sandbox/app:1)" "$TIERS" "$(in_namespace production)"
  assert_denied unpinned-image
}

@test "a requester cannot choose the namespace by what the object says" {
  local deployment='{"spec": {"template": {"metadata": {"namespace": "staging"}, "spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}'
  judge v1 Pod "$(pod nginx:1)" "$TIERS" "$(in_namespace production staging)"
  assert_denied unpinned-image
  judge apps/v1 Deployment "$deployment" "$TIERS" "$(in_namespace production staging)"
  assert_denied unpinned-image
  judge v1 Pod "$(pod nginx:1)" "$TIERS" '.namespace = "production" | .object.metadata = {generateName: "web-", namespace: "staging", labels: {"kubernetes.io/metadata.name": "staging"}} | del(.name)'
  assert_denied unpinned-image
  # What the API server authorized counts the other way, too.
  judge v1 Pod "$(pod nginx:1)" "$TIERS" "$(in_namespace staging production)"
  assert_warned unpinned-image
}

@test "a pod with generateName gets the settings of its namespace" {
  judge v1 Pod "$(pod nginx:1)" "$TIERS" '.namespace = "staging-eu" | .object.metadata = {generateName: "web-"} | del(.name)'
  assert_warned unpinned-image
  judge v1 Pod "$(pod nginx:1)" "$TIERS" '.namespace = "production" | .object.metadata = {generateName: "web-"} | del(.name)'
  assert_denied unpinned-image
}

@test "a request without a namespace matches no entry with namespaces" {
  local settings
  settings='{"customWorkloads": [{"apiVersion": "example.com/v1", "kind": "Runner", "podTemplate": "/spec/template"}],
    "overrides": [{"images": ["*"], "namespaces": ["*"], "pinning": {"action": "warn"}}],
    "exceptions": [{"images": ["*"], "namespaces": ["*"], "rules": ["unpinned-image"], "until": "9999-12-31", "reason": "r"}]}'
  local runner='{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}'
  for without in 'del(.namespace)' '.namespace = null' '.namespace = ""'; do
    judge example.com/v1 Runner "$runner" "$settings" "$without | del(.object.metadata.namespace)"
    assert_denied unpinned-image
  done
  judge example.com/v1 Runner "$runner" "$settings"
  assert_warned excepted
}

@test "an exception applies in its namespaces only" {
  local settings
  settings="$(jq -nc '{exceptions: [{images: ["*"], namespaces: ["shop-*"], rules: ["unpinned-image"], until: "9999-12-31", reason: "SEC-42"}]}')"
  judge v1 Pod "$(pod nginx:1)" "$settings" "$(in_namespace shop-eu)"
  assert_warned excepted
  assert_contains "$(warnings)" "SEC-42"
  judge v1 Pod "$(pod nginx:1)" "$settings" "$(in_namespace shop)"
  assert_denied unpinned-image
  judge v1 Pod "$(pod nginx:1)" "$settings" "$(in_namespace shop shop-eu)"
  assert_denied unpinned-image
}

@test "namespaces that cannot match are settings errors with the reason" {
  local long
  long="$(printf 'a%.0s' {1..64})"
  run --separate-stderr "$CONTAINER_PATCH" validate --settings-json "$(jq -nc --arg long "$long" '{
    overrides: [
      {namespaces: ["staging"]},
      {images: ["*"], namespaces: []},
      {images: ["*"], namespaces: ["Staging", $long, "team_a", "staging-", ""]},
      {images: ["*"], namespaces: "staging"},
      {images: ["*"], namespaces: [1]}],
    exceptions: [{images: ["*"], namespaces: [], rules: ["stale-image"], until: "9999-12-31", reason: "r"}]}')"
  echo "$output$stderr"
  [ "$status" -eq 2 ]
  assert_contains "$output" 'overrides[0]: `images` is required; write `["*"]` for every image'
  assert_contains "$output" 'overrides[1].namespaces: the list is empty; write a namespace such as `staging`, or leave `namespaces` out for every namespace'
  assert_contains "$output" 'overrides[2].namespaces[0]: `Staging`: matches no namespace, because names of namespaces are lower case; write `staging`'
  assert_contains "$output" "have at most 63 characters, and this pattern needs 64"
  assert_contains "$output" 'overrides[2].namespaces[2]: `team_a`: unexpected character `_`'
  assert_contains "$output" 'overrides[2].namespaces[3]: `staging-`: matches no namespace, because names of namespaces begin and end with a letter or a digit'
  assert_contains "$output" 'overrides[2].namespaces[4]: ``: a namespace pattern cannot be empty'
  assert_contains "$output" 'overrides[3].namespaces: expected a list, found a string'
  assert_contains "$output" 'overrides[4].namespaces[0]: expected a namespace, or a pattern such as `staging-*`, found a number; put it in quotes: "1"'
  assert_contains "$output" 'exceptions[0].namespaces: the list is empty'
  policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-json '{"overrides": [{"images": ["*"], "namespaces": ["Staging"]}]}' \
    --replay-host-capabilities-interactions "$(silence)"
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'overrides[0].namespaces[0]: `Staging`: matches no namespace'
}

# check FLAG…: judges manifests without asking a registry.
check() {
  run --separate-stderr "$CONTAINER_PATCH" check --settings-json "$(quiet "$TIERS")" --replay-host-capabilities-interactions "$(silence)" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

@test "check judges a manifest by its namespace, or by --namespace if it has none" {
  cd "$BATS_TEST_TMPDIR"
  jq -n '{apiVersion: "v1", kind: "Pod", metadata: {name: "web"}, spec: {containers: [{name: "app", image: "nginx:1"}]}}' > pod.json
  jq '.metadata.namespace = "staging-eu"' pod.json > staging.json
  check pod.json
  [ "$status" -eq 1 ]
  assert_contains "$output" "denied   Pod default/web"
  check pod.json --namespace staging
  [ "$status" -eq 0 ]
  assert_contains "$output" "warned   Pod staging/web"
  check staging.json
  [ "$status" -eq 0 ]
  assert_contains "$output" "Pod staging-eu/web"
  # The namespace of a manifest comes first.
  check staging.json --namespace production
  [ "$status" -eq 0 ]
  assert_contains "$output" "warned   Pod staging-eu/web"
}

@test "a test file has the namespace of its manifests" {
  cd "$BATS_TEST_TMPDIR"
  jq -n '{apiVersion: "v1", kind: "Pod", metadata: {name: "web"}, spec: {containers: [{name: "app", image: "nginx:1"}]}}' > pod.json
  jq -n --argjson settings "$(quiet "$TIERS")" --arg session "$(silence)" '{name: "tiers", settings: $settings, session: $session, namespace: "staging-eu",
    cases: [{manifest: "pod.json", expect: [{kind: "Pod", verdict: "warned", codes: ["unpinned-image"]}]}]}' > staging.container-patch-test.yaml
  jq '.namespace = "production" | .cases[0].expect[0].verdict = "denied"' staging.container-patch-test.yaml > production.container-patch-test.yaml
  run --separate-stderr "$CONTAINER_PATCH" test .
  echo "$output$stderr"
  [ "$status" -eq 0 ]
  assert_contains "$output" "2 cases: 2 as expected, 0 different"
}

@test "schedule shows the namespaces of overrides in every format" {
  local settings
  settings='{"schedule": {"maxAge": "90d"}, "overrides": [
    {"images": ["*"], "namespaces": ["staging", "staging-*"], "schedule": {"patchDays": {"cron": "0 0 1 * *", "grace": "1d"}}},
    {"images": ["*"], "schedule": {"maxAge": "30d"}}]}'
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json "$settings" --from 2026-12-01 --months 1
  assert_contains "$output" 'Images of overrides[0] in the namespaces staging, staging-*:'
  assert_contains "$output" 'Images of overrides[1]:'
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json "$settings" --from 2026-12-01 --months 1 --output json
  [ "$(jq -c '[.schedules[].namespaces]' <<< "$output")" = '[null,["staging","staging-*"],null]' ]
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json "$settings" --from 2026-12-01 --months 1 --output ics
  assert_contains "$(tr -d '\r' <<< "$output" | sed -z 's/\n //g')" 'Images: *\nNamespaces: staging\, staging-*'
  run --separate-stderr "$CONTAINER_PATCH" schedule --settings-json "$settings" --from 2026-12-01 --output openmetrics
  assert_contains "$output" 'container_patch_schedule_next_patch_day_timestamp_seconds{images="*",namespaces="staging,staging-*"} '
}
