#!/usr/bin/env bats
# Attempts to bypass the policy. Each of them fails.

load helpers

EXEMPT='{"exempt": ["docker.io/library/nginx:*", "registry.example.com/*"]}'

@test "an image volume is judged like a container" {
  judge v1 Pod '{"spec": {"containers": [], "volumes": [{"name": "data", "image": {"reference": "nginx:1", "pullPolicy": "Always"}}]}}'
  assert_denied unpinned-image
  assert_contains "$(message)" 'volume `data`'
}

@test "an ephemeral container is judged although its pod is already admitted" {
  judge v1 Pod "$(jq -nc --arg image "nginx@$DIGEST" '{spec: {containers: [{name: "app", image: $image}], ephemeralContainers: [{name: "debug", image: "nginx:1"}]}}')" '{}' \
    '.operation = "UPDATE" | .subResource = "ephemeralcontainers" | .oldObject = (.object | del(.spec.ephemeralContainers))'
  assert_denied unpinned-image
  assert_contains "$(message)" 'ephemeral container `debug`'
}

@test "a duplicate key does not hide an image" {
  local request
  request="$(request v1 Pod "$(pod "nginx@$DIGEST")")"
  # Some JSON parsers use the first of two equal keys, others the last.
  for images in "\"image\": \"nginx@$DIGEST\", \"image\": \"nginx:1\"" "\"image\": \"nginx:1\", \"image\": \"nginx@$DIGEST\""; do
    sed "s|\"image\": \"nginx@$DIGEST\"|$images|" "$request" > "$BATS_TEST_TMPDIR/twice.json"
    policy_run --request-path "$BATS_TEST_TMPDIR/twice.json" --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)"
    # A host parses the request before the policy does and may drop one of the two keys. The other one is judged.
    [ "$status" -ne 0 ] || [ "$(response .allowed)" = false ] || [[ "$images" == *"$DIGEST\"" ]]
  done
}

@test "an exempt image is exempt in every spelling, and images with similar names are not" {
  for image in nginx:1 docker.io/nginx:1 docker.io/library/nginx:1 index.docker.io/library/nginx:1 Docker.IO/library/nginx:1 docker.io:443/library/nginx:1 \
    registry-1.docker.io/library/nginx:1 registry.hub.docker.com/library/nginx:1 Registry-1.Docker.io:443/nginx:1 Index.docker.io:443/nginx:1 \
    registry.example.com/app:1 REGISTRY.example.com/app:1 registry.example.com:443/app:1; do
    judge v1 Pod "$(pod "$image")" "$EXEMPT"
    assert_accepted
  done
  for image in nginx2:1 evil/nginx:1 library.docker.io/nginx:1 docker.io.evil.test/library/nginx:1 index.docker.io.evil.test/library/nginx:1 evil.test/docker.io/library/nginx:1 \
    registry-2.docker.io/library/nginx:1 hub.docker.com/library/nginx:1 registry-1.docker.io:444/library/nginx:1 \
    evil.test/nginx:1 docker.io/library/nginx-evil:1 docker.io/library/evil/nginx:1 \
    registry.example.com.evil.test/app:1 registry.example.com:444/app:1 evil.test/registry.example.com/app:1 evilregistry.example.com/app:1 registryXexample.com/app:1 \
    registry.example.com@evil.test/app:1 registry.example.com./app:1 docker.io./library/nginx:1 registry.example.com:443:443/app:1; do
    judge v1 Pod "$(pod "$image")" "$EXEMPT"
    [ "$(response .allowed)" = false ]
    [[ "$(annotation findings)" == *unpinned-image* || "$(annotation findings)" == *invalid-reference* ]]
  done
}

@test "an override for a registry cannot be bypassed by another spelling of its name" {
  local settings image
  settings="$(jq -nc '{pinning: {action: "off"}, overrides: [{pinning: {action: "deny"}, images: [
    "docker.io/*", "registry.example.com/*", "registry.example.com:5000/*", "registry:443/*", "127.0.0.1:5000/*", "[::1]:5000/*"]}]}')"
  # An image that no override matches is accepted by these settings.
  judge v1 Pod "$(pod registry.example.com:5001/app:1)" "$settings"
  assert_accepted
  for image in registry-1.docker.io/library/nginx:1 registry.hub.docker.com/library/nginx:1 REGISTRY-1.docker.io:443/nginx:1 Index.docker.io:443/nginx:1 \
    Registry.Example.com:443/app:1 REGISTRY.example.com:5000/app:1 Registry/app:1 REGISTRY:443/app:1; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_denied unpinned-image
  done
  for image in registry.example.com:0443/app:1 registry.example.com:05000/app:1 registry:0443/app:1 registry-1.docker.io:0443/library/nginx:1 \
    127.1:5000/app:1 127.0.1:5000/app:1 2130706433:5000/app:1 0x7f.0.0.1:5000/app:1 0X7F000001:5000/app:1 0177.0.0.1:5000/app:1 127.0.0.01:5000/app:1 127.0.0.0x1:5000/app:1 \
    '[0:0:0:0:0:0:0:1]:5000/app:1' '[::01]:5000/app:1' '[0::1]:5000/app:1' '[::0:1]:5000/app:1' '[::ffff:127.0.0.1]:5000/app:1' '[::ffff:7f00:1]:5000/app:1' '[::FFFF:7f00:1]:5000/app:1'; do
    judge v1 Pod "$(pod "$image")" "$settings"
    assert_denied invalid-reference
  done
}

@test "an image ID is refused even if all images are exempt" {
  local hex="${DIGEST#sha256:}" image
  for image in "$hex" "sha256:$hex" "sha384:$hex${hex:0:32}" "sha512:$hex$hex" "sha256:${hex:0:12}" sha256:c; do
    judge v1 Pod "$(pod "$image")" '{"exempt": ["*", "docker.io/library/*"], "pinning": {"action": "off"}}'
    assert_denied invalid-reference
    assert_contains "$(message)" 'it is an image ID'
    judge v1 Pod "$(jq -nc --arg image "$image" '{spec: {containers: [], volumes: [{name: "data", image: {reference: $image}}]}}')" '{"exempt": ["*"]}'
    assert_denied invalid-reference
  done
}

@test "an image name with look-alike letters is refused, not exempt" {
  for image in 'ngіnx:1' 'docker.io/library/ngіnx:1' 'registry.exаmple.com/app:1' 'registry․example.com/app:1' 'registry.example.com∕app:1' $'registry.example.com/app:1\u200b'; do
    judge v1 Pod "$(pod "$image")" "$EXEMPT"
    assert_denied invalid-reference
  done
}

@test "an image is judged by its digest, not by the tag before it" {
  local other="sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210" answer
  # The tag suggests a fresh image, and the digest is the one of a stale image.
  answer="$(jq -nc --arg digest "$other" '{digest: $digest, config: {created: "2026-01-01T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  jq -nr --arg answer "$answer" --arg other "$other" '"- type: Exchange\n  request: |\n    !OciManifestAndConfig\n    image: docker.io/library/nginx@\($other)\n  response:\n    type: Success\n    payload: \($answer | tojson)"' > "$BATS_TEST_TMPDIR/session.yml"
  policy_run --request-path "$(request v1 Pod "$(pod "nginx:fresh@$other")")" --settings-json "$(quiet '{"schedule": {"action": "deny"}, "evaluateAt": "2026-11-20T12:00:00Z"}')" \
    --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  assert_denied stale-image
}

@test "a container without a name is judged as a new one in every UPDATE" {
  for container in '{"name": "", "image": "nginx:1"}' '{"image": "nginx:1"}'; do
    judge v1 Pod "{\"spec\": {\"containers\": [$container]}}" '{}' '.operation = "UPDATE" | .oldObject = .object'
    assert_denied unpinned-image
  done
}

@test "an object with a false kind is judged by the kind of the admission request" {
  judge apps/v1 Deployment '{"kind": "ConfigMap", "apiVersion": "v1", "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}'
  assert_denied unpinned-image
}

@test "a list of objects is denied as an unknown kind" {
  judge v1 List "{\"items\": [$(pod nginx:1)]}"
  assert_denied unknown-kind
  judge v1 PodList "{\"items\": [$(pod nginx:1)]}"
  assert_denied unknown-kind
}

@test "evidenceErrors: warn admits a flagged pod while the registry is down, and a break-glass key in another case is ignored" {
  judge v1 Pod "$(pod "nginx@$DIGEST" | jq -c '.metadata = {annotations: {"IMAGES.openshift.io/Deny-Execution": "true"}}')" '{"scan": {"action": "deny"}, "enforcement": {"evidenceErrors": "warn"}}'
  [ "$(response .allowed)" = true ] # The registry does not answer, so the flag is not evaluated.
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {annotations: {"Container-Patch.dev/Break-Glass": "INC-7"}}')" '{"breakGlass": {"groups": ["system:masters"]}}' '.userInfo.groups = ["system:masters"]'
  assert_denied unpinned-image
}

@test "a custom workload without a pod template at the configured path is refused, not skipped" {
  local custom='{"customWorkloads": [{"apiVersion": "example.com/*", "kind": "Fleet", "podTemplate": "/spec/fleet/template"}]}'
  judge example.com/v1 Fleet '{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}' "$custom"
  assert_denied invalid-request
  assert_contains "$(message)" 'this Fleet has no `spec.fleet`' || assert_contains "$(message)" 'this Fleet has no `spec.fleet.template`'
  judge example.com/v2 Fleet '{"spec": {"fleet": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}}' "$custom"
  assert_denied unpinned-image
  judge example.com.evil.test/v1 Fleet '{}' "$custom"
  assert_denied unknown-kind
}

@test "an exception for an image that is already exempt is invalid" {
  policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-json \
    '{"exempt": ["registry.example.com/*"], "exceptions": [{"images": ["registry.example.com/app:*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "x"}]}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'exceptions[0].images: `registry.example.com/app:*` is already exempt by `registry.example.com/*`'
}

@test "an owner reference that a user writes into a pod does not make the user a controller" {
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {ownerReferences: [{apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "1", controller: true}]}')" '{"enforcement": {"controllerPods": "ignore"}}'
  assert_denied unpinned-image
}

@test "a new pod with a deletion timestamp is judged" {
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {deletionTimestamp: "2026-11-20T00:00:00Z"}')"
  assert_denied unpinned-image
}

@test "requests for other subresources are accepted and not changed" {
  for subresource in scale resize eviction log status exec binding; do
    judge v1 Pod "$(pod nginx:1)" '{}' ".operation = \"UPDATE\" | .subResource = \"$subresource\""
    [ "$(response .allowed)" = true ]
    [ "$(response .patch)" = null ]
  done
}

# settings_of FILE: prints the settings of the last policy in that file, which is the validating one.
settings_of() {
  tac "$ROOT/deploy/custom-workloads/$1.yaml" | sed '/^  settings:/q' | tac | sed '1d; s/^    //'
}

# The settings for custom kinds in deploy/.
# custom FILE API_VERSION KIND: asserts that the settings of that file refuse an invalid image in an object of that kind.
custom() {
  policy_run --request-path "$(request "$2" "$3" '{"spec": {"template": {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "app", "image": "A b"}]}}}}')" \
    --settings-path "$BATS_TEST_TMPDIR/settings.yml" --replay-host-capabilities-interactions "$(silence)"
  assert_denied invalid-reference
}

@test "the settings in deploy/ for Argo Rollouts, Knative Services and OpenKruise CloneSets find their images" {
  local file api kind
  while read -r file api kind; do
    # kwctl reads a file of settings, not a policy with settings in it.
    settings_of "$file" > "$BATS_TEST_TMPDIR/settings.yml"
    custom "$file" "$api" "$kind"
  done <<< "argo-rollouts argoproj.io/v1alpha1 Rollout
knative-serving serving.knative.dev/v1 Service
openkruise apps.kruise.io/v1alpha1 CloneSet"
}

@test "a Rollout that refers to the template of another workload is refused" {
  settings_of argo-rollouts > "$BATS_TEST_TMPDIR/settings.yml"
  policy_run --request-path "$(request argoproj.io/v1alpha1 Rollout '{"spec": {"workloadRef": {"kind": "Deployment", "name": "web"}}}')" \
    --settings-path "$BATS_TEST_TMPDIR/settings.yml" --replay-host-capabilities-interactions "$(silence)"
  assert_denied invalid-request
}

# Bypasses that were found in a real cluster. Those that need controllers are tested in cluster/, those with registries and indexes in
# registry.bats, and those with reports in scan.bats.

# knows IMAGE CREATED: prints a session in which the registry answers with a digest for the tag and a build date for the digest.
knows() {
  local name="${1%:*}@$DIGEST" answer
  answer="$(jq -nc --arg digest "$DIGEST" --arg created "$2" '{digest: $digest, config: {created: $created}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  jq -nr --arg tagged "$1" --arg name "$name" --arg digest "$DIGEST" --arg answer "$answer" '
    def exchange($call; $image; $payload): "- type: Exchange\n  request: |\n    !\($call)\n    image: \($image)\n  response:\n    type: Success\n    payload: \($payload | tojson)";
    exchange("OciManifestDigest"; $tagged; {digest: $digest} | tojson), exchange("OciManifestAndConfig"; $name; $answer)' > "$BATS_TEST_TMPDIR/known.yml"
  echo "$BATS_TEST_TMPDIR/known.yml"
}

# judge_stale API_VERSION KIND OBJECT JQ: runs the policy on a request for registry.example.com/old:1, which is stale.
judge_stale() {
  policy_run --request-path "$(request "$1" "$2" "$3" "$4")" \
    --settings-json "$(quiet '{"pinning": {"action": "off"}, "schedule": {"action": "deny"}, "evaluateAt": "2026-11-20T12:00:00Z"}')" \
    --replay-host-capabilities-interactions "$(knows registry.example.com/old:1 2026-01-01T00:00:00Z)"
  [ "$status" -eq 0 ]
}

# templated IMAGE: prints the fields of an object whose pod template has one container with that image.
templated() { jq -nc --argjson pod "$(pod "$1")" '{spec: {template: $pod}}'; }

OLD=registry.example.com/old:1
TERMINATING='.oldObject = .object | .oldObject.metadata += {deletionTimestamp: "2026-11-20T10:00:00Z", finalizers: ["example.com/a"]} | .object.metadata = .oldObject.metadata | .operation = "UPDATE"'

@test "an UPDATE of a terminating ReplicaSet to a stale image is denied, and its finalizers can be removed" {
  judge_stale apps/v1 ReplicaSet "$(templated "$OLD")" "$TERMINATING | .oldObject.spec.template.spec.containers[0].image = \"registry.example.com/new:1\""
  assert_denied stale-image
  [ "$(annotation images | jq -r '.[0].image')" = "$OLD" ]
  judge apps/v1 ReplicaSet "$(templated "$OLD")" '{"schedule": {"action": "deny"}}' "$TERMINATING | .object.metadata.finalizers = []"
  assert_accepted
}

@test "a controller that changes an image to a stale one is denied, and one that creates an object with a stale image is warned" {
  local controller='.userInfo.username = "system:serviceaccount:kube-system:deployment-controller"'
  judge_stale apps/v1 Deployment "$(templated "$OLD")" \
    "$controller | .operation = \"UPDATE\" | .oldObject = .object | .oldObject.spec.template.spec.containers[0].image = \"registry.example.com/new:1\""
  assert_denied stale-image
  judge_stale apps/v1 ReplicaSet "$(templated "$OLD")" "$controller"
  assert_warned evaluate-at-set stale-image
}

@test "forbidden tags and invalid references are refused in templates for every value of pinning.templates" {
  for image in registry.example.com/app registry.example.com/app:latest; do
    for settings in '{"pinning": {"templates": false}}' '{"pinning": {"action": "pin"}}' '{"pinning": {"action": "warn", "templates": false}}'; do
      judge apps/v1 Deployment "$(templated "$image")" "$settings"
      assert_denied forbidden-tag
    done
  done
  judge apps/v1 Deployment "$(templated 'App:1')" '{"pinning": {"templates": false}}'
  assert_denied invalid-reference
  judge apps/v1 Deployment "$(templated registry.example.com/app:1)" '{"pinning": {"templates": false}}'
  assert_accepted
}

@test "a CronJob of batch/v1beta1 is judged" {
  judge_stale batch/v1beta1 CronJob "$(jq -nc --argjson pod "$(pod "$OLD")" '{spec: {jobTemplate: {spec: {template: $pod}}}}')" .
  assert_denied stale-image
}

@test "the kind EphemeralContainers of old API servers is judged" {
  judge_stale v1 EphemeralContainers "$(jq -nc --arg image "$OLD" '{ephemeralContainers: [{name: "debug", image: $image}]}')" \
    '.operation = "UPDATE" | .subResource = "ephemeralcontainers" | .oldObject = (.object | .ephemeralContainers = [])'
  assert_denied stale-image
  assert_contains "$(message)" 'ephemeral container `debug`'
}

# revision IMAGE: prints the fields of a ControllerRevision of a StatefulSet, from which pods with the image are created.
revision() {
  jq -nc --argjson pod "$(pod "$1")" '{metadata: {name: "db-1", ownerReferences: [{apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "1", controller: true}]},
    data: {spec: {template: ($pod + {"$patch": "replace"})}}, revision: 1}'
}

@test "a forged ControllerRevision is judged by its pod template, and one of another operator is accepted" {
  judge_stale apps/v1 ControllerRevision "$(revision "$OLD")" .
  assert_denied stale-image
  judge_stale apps/v1 ControllerRevision "$(revision "$OLD")" '.userInfo.username = "system:serviceaccount:kube-system:statefulset-controller"'
  assert_warned evaluate-at-set stale-image
  judge_stale apps/v1 ControllerRevision "$(revision "$OLD")" '.object.metadata.ownerReferences = []'
  assert_denied stale-image
  for data in '{}' '"opaque"' '{"spec": {"replicas": 3}}' null; do
    judge apps/v1 ControllerRevision "$(revision "$OLD")" '{}' ".object.data = $data | .object.metadata.ownerReferences[0] += {apiVersion: \"example.com/v1\", kind: \"Database\"}"
    assert_accepted
    judge apps/v1 ControllerRevision "$(revision "$OLD")" '{}' ".object.data = $data"
    assert_denied invalid-request
  done
}

@test "break-glass by RBAC requires the permission in the whole cluster, unless rbacScope is namespace" {
  local glass='.object.metadata.annotations = {"container-patch.dev/break-glass": "INC-7"}' namespace settings
  # The API server allows it only in the namespace.
  for namespace in null shop; do
    [ "$namespace" = null ] && settings='{"breakGlass": {"rbac": true}}' || settings='{"breakGlass": {"rbac": true, "rbacScope": "namespace"}}'
    cat > "$BATS_TEST_TMPDIR/can-i.yml" <<EOT
- type: Exchange
  request: |
    !KubernetesCanI
    request:
      groups: [system:authenticated]
      resource_attributes: {group: container-patch.dev, name: null, namespace: $namespace, resource: containerpatchpolicies, subresource: null, verb: break-glass, version: null}
      user: jane
    disable_cache: false
  response:
    type: Success
    payload: '{"allowed": $([ "$namespace" = null ] && echo false || echo true)}'
EOT
    policy_run --request-path "$(request v1 Pod "$(pod App:1)" "$glass")" --settings-json "$(quiet "$settings")" \
      --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/can-i.yml"
    if [ "$namespace" = null ]; then
      assert_denied break-glass invalid-reference
      assert_contains "$(message)" 'in the whole cluster, by a ClusterRoleBinding, not from jane'
    else
      assert_warned break-glass invalid-reference
    fi
  done
}

@test "audit annotations stay small and do not repeat the audit event" {
  for image in '<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&' registry.example.com/app "registry.example.com/app:1@$DIGEST"; do
    judge v1 Pod "$(jq -nc --arg image "$image" '{spec: {containers: [range(120) | {name: "container-\(.)", image: $image}]}}')" '{"registries": ["docker.io"], "schedule": {"action": "deny"}}'
    # The JSON encoder of the API server also escapes the special characters of HTML.
    local event
    event="$(response '{annotations: .auditAnnotations, responseStatus: .status} | tojson | gsub("<|>|&"; "\\u003c")')"
    [ "${#event}" -le 26000 ]
    [ "$(response '.auditAnnotations | has("request")')" = false ]
    [ "$(annotation images | jq -r '.[0].sites | length')" -eq 120 ]
  done
}

@test "invalid registries and platforms are rejected with the correct form, and doubtful ones cause a warning" {
  for line in 'registries[0]: `https://ghcr.io/team`: a registry has no scheme here; write `ghcr.io/team`' \
    'registries[0]: `ghcr.io/app:1`: a registry has no tag; write `ghcr.io/app`' \
    'registries[0]: `ghcr.io/app@sha256:00`: a registry has no digest; write `ghcr.io/app`' \
    'registries[0]: ``: an entry cannot be empty' \
    'platforms[0]: `amd64`: a platform is an operating system and an architecture; write `linux/amd64`'; do
    local entry="${line#*: \`}"
    policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" \
      --settings-json "$(jq -nc --arg key "${line%%[*}" --arg entry "${entry%%\`*}" '{($key): [$entry]}')"
    [ "$status" -ne 0 ]
    assert_contains "$stderr" "$line"
  done
  judge v1 Pod "$(pod "nginx@$DIGEST")" '{"registries": ["*"], "platforms": ["linux/amd46"]}'
  assert_accepted
  assert_contains "$stderr" 'settings: registries[0]: `*` matches every host'
  assert_contains "$stderr" 'settings: platforms[0]: unknown architecture `amd46`'
  judge v1 Pod "$(pod nginx:1)" '{"registries": ["docker.io"]}'
  assert_denied unpinned-image
}
