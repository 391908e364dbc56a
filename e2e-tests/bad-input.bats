#!/usr/bin/env bats
# Bad input is denied with the problem and its place. Requests that add no image are accepted.

load helpers

@test "an invalid image reference is denied with the part that is wrong" {
  local image part
  while IFS='|' read -r image part; do
    judge v1 Pod "$(pod "$image")"
    assert_denied invalid-reference
    assert_contains "$(message)" "$part"
  done <<EOF
nginx@sha256:abc|the sha256 digest has 3 hexadecimal digits; it needs 64
Nginx:1|the repository \`Nginx\` has an upper-case letter
reg/app:|the tag after \`:\` is empty
a//b|a part of the path between slashes is empty
$(printf 'a%.0s' {1..300})|its name, with the host, is 318 characters long
registry.example.com./app|invalid registry host \`registry.example.com.\`
EOF
}

@test "a missing image and an empty one get the same answer" {
  local container template
  for container in '{"name": "app"}' '{"name": "app", "image": null}' '{"name": "app", "image": ""}'; do
    for template in '{"spec": {"containers": [CONTAINER]}}' '{"spec": {"template": {"spec": {"containers": [CONTAINER]}}}}'; do
      case "$template" in
        *template*) judge apps/v1 Deployment "${template/CONTAINER/$container}" ;;
        *) judge v1 Pod "${template/CONTAINER/$container}" ;;
      esac
      assert_denied invalid-reference
      assert_contains "$(message)" 'container `app`: image `` is an invalid image reference: it is missing or empty; write a name such as '
    done
  done
}

@test "an image that Kubernetes allows to leave out of a template is not judged, and that of a pod is" {
  local volume spec custom
  custom='{"pinning": {"action": "off"}, "customWorkloads": [{"apiVersion": "example.com/v1", "kind": "Shop", "podTemplate": "/spec/template"}]}'
  for volume in '{"pullPolicy": "Always"}' '{"reference": ""}'; do
    spec='{"spec": {"volumes": [{"name": "data", "image": '"$volume"'}]}}'
    judge apps/v1 Deployment '{"spec": {"template": '"$spec"'}}'
    assert_accepted
    judge v1 Pod "$spec"
    assert_denied invalid-reference
    assert_contains "$(message)" 'volume `data`: image `` is an invalid image reference: it is missing or empty'
  done
  for spec in '{"name": "app"}' '{"name": "app", "image": ""}'; do
    judge example.com/v1 Shop '{"spec": {"template": {"spec": {"containers": ['"$spec"']}}}}' "$custom"
    assert_accepted
  done
}

@test "control characters in an image are denied" {
  judge v1 Pod "$(pod $'nginx\n:1')"
  assert_denied invalid-reference
  assert_contains "$(message)" 'image `nginx\n:1` is an invalid image reference: unexpected control character U+000A at position 6'
}

@test "an invalid reference is denied even if all images are exempt and pinning is off" {
  judge v1 Pod "$(pod Nginx)" '{"exempt": ["*"], "pinning": {"action": "off"}}'
  assert_denied invalid-reference
}

@test "invalid settings end the run with every problem and its path" {
  policy_run --request-path "$(request v1 Pod "$(pod nginx)")" --settings-json \
    '{"pining": {}, "pinning": {"action": 7}, "exempt": ["nginx*"], "overrides": [{"pinning": {}}]}'
  [ "$status" -ne 0 ]
  [ "$output" = "" ]
  assert_contains "$stderr" 'Provided settings are not valid: '
  assert_contains "$stderr" 'pining: unknown key; did you mean `pinning`?'
  assert_contains "$stderr" 'pinning.action: expected one of pin, deny, warn, off, found a number'
  assert_contains "$stderr" 'write `docker.io/library/nginx*`'
  assert_contains "$stderr" 'overrides[0]: `images` is required'
}

@test "a request without an object is denied" {
  judge v1 Pod '{}' '{}' 'del(.object)'
  assert_denied invalid-request
  assert_contains "$(message)" 'this CREATE request for a Pod has no object to judge'
}

@test "an object that does not fit its kind is denied with the path of the problem" {
  judge apps/v1 Deployment '{"spec": {}}'
  assert_denied invalid-request
  assert_contains "$(message)" 'this Deployment has no `spec.template`'
  judge v1 Pod '{"spec": {"containers": {"name": "app"}}}'
  assert_denied invalid-request
  assert_contains "$(message)" 'spec.containers: invalid type: map, expected a list'
  judge v1 Pod '{"spec": {"containers": [{"name": "app", "image": 7}]}}'
  assert_denied invalid-request
  assert_contains "$(message)" 'spec.containers[0].image: invalid type: integer `7`, expected a string'
}

@test "an unknown kind is denied with the settings line to add" {
  judge argoproj.io/v1alpha1 Rollout '{"spec": {}}'
  assert_denied unknown-kind
  assert_contains "$(message)" '- {apiVersion: argoproj.io/v1alpha1, kind: Rollout, podTemplate: /spec/template}'
  judge v1 List '{"items": []}'
  assert_denied unknown-kind
}

@test "a custom workload without a pod template at its pointer is denied" {
  judge argoproj.io/v1alpha1 Rollout '{"spec": {"workloadRef": {"name": "web"}}}' \
    '{"customWorkloads": [{"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"}]}'
  assert_denied invalid-request
  assert_contains "$(message)" 'this Rollout has no `spec.template`'
}

@test "invalid schedules are rejected, each with its path" {
  policy_run --request-path "$(request v1 Pod "$(pod nginx)")" --settings-json \
    '{"schedule": {"maxAge": "0d", "patchDays": {"cron": "0 0 30 2 *", "timeZone": "Europe/Berlni"},
      "freezes": [{"from": "2026-12-18", "to": "2026-12-17", "reason": "r"}], "warnBefore": "-3d"}}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'schedule: give `maxAge` (a maximum age) or `patchDays` (a calendar), not both'
  assert_contains "$stderr" 'schedule.maxAge: `0d` is zero; write at least `1s`'
  assert_contains "$stderr" 'schedule.patchDays.cron: `0 0 30 2 *` never fires'
  assert_contains "$stderr" 'schedule.patchDays.timeZone: unknown IANA time zone `Europe/Berlni`; similar ones are `Europe/Berlin`'
  assert_contains "$stderr" 'schedule.freezes[0]: the freeze ends on 2026-12-17, before it starts on 2026-12-18'
  assert_contains "$stderr" 'schedule.warnBefore: invalid duration `-3d`'
}

@test "a new object with a deletion timestamp is judged like any other" {
  judge v1 Pod "$(pod nginx:1)" '{}' '.object.metadata.deletionTimestamp = "2026-11-20T10:00:00Z"'
  assert_denied unpinned-image
  judge v1 Pod "$(pod nginx:1)" '{}' '.oldObject = .object | .oldObject.metadata = ["2026-11-20T10:00:00Z"] | .operation = "UPDATE"'
  assert_denied invalid-request
}

@test "requests that add no image are accepted" {
  judge v1 Pod "$(pod nginx)" '{}' '.operation = "DELETE" | .oldObject = .object | .object = null'
  assert_accepted
  judge v1 PodExecOptions '{}' '{}' '.operation = "CONNECT" | .subResource = "exec"'
  assert_accepted
  judge v1 Pod "$(pod nginx)" '{}' '.operation = "UPDATE" | .object.metadata.deletionTimestamp = "2026-11-20T10:00:00Z" | .oldObject = .object'
  assert_accepted
  judge v1 Pod "$(pod nginx)" '{}' '.operation = "UPDATE" | .subResource = "status"'
  assert_accepted
  judge v1 Binding '{"target": {"name": "node"}}' '{}' '.subResource = "binding"'
  assert_accepted
}

@test "a pod with a thousand containers is denied with a bounded list of findings" {
  judge v1 Pod "$(jq -nc '{spec: {containers: [range(1000) | {name: "c\(.)", image: "app:\(.)"}]}}')"
  [ "$(response .allowed)" = false ]
  assert_contains "$(message | tail -1)" 'more findings'
  [ "$(annotation findings | jq '.[-1].omitted > 0')" = true ]
}
