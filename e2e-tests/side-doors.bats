#!/usr/bin/env bats
# Ways around the policy, each of them tried and found shut.

load helpers

EXEMPT='{"exempt": ["docker.io/library/nginx:*", "registry.example.com/*"]}'

@test "an image volume is judged like a container" {
  judge v1 Pod '{"spec": {"containers": [], "volumes": [{"name": "data", "image": {"reference": "nginx:1", "pullPolicy": "Always"}}]}}'
  assert_denied unpinned-image
  assert_contains "$(message)" 'volume `data`'
}

@test "an ephemeral container is judged though the pod is admitted already" {
  judge v1 Pod "$(jq -nc --arg image "nginx@$DIGEST" '{spec: {containers: [{name: "app", image: $image}], ephemeralContainers: [{name: "debug", image: "nginx:1"}]}}')" '{}' \
    '.operation = "UPDATE" | .subResource = "ephemeralcontainers" | .oldObject = (.object | del(.spec.ephemeralContainers))'
  assert_denied unpinned-image
  assert_contains "$(message)" 'ephemeral container `debug`'
}

@test "a key that is given twice hides nothing" {
  local request
  request="$(request v1 Pod "$(pod "nginx@$DIGEST")")"
  # Some parsers of JSON take the first of two equal keys, some the last.
  for images in "\"image\": \"nginx@$DIGEST\", \"image\": \"nginx:1\"" "\"image\": \"nginx:1\", \"image\": \"nginx@$DIGEST\""; do
    sed "s|\"image\": \"nginx@$DIGEST\"|$images|" "$request" > "$BATS_TEST_TMPDIR/twice.json"
    policy_run --request-path "$BATS_TEST_TMPDIR/twice.json" --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)"
    # Hosts read the request before the policy does, and may drop one of the two; what is left is judged.
    [ "$status" -ne 0 ] || [ "$(response .allowed)" = false ] || [[ "$images" == *"$DIGEST\"" ]]
  done
}

@test "other spellings of an exempt image are exempt, and no other image is" {
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

@test "another spelling of a registry does not avoid an override for it" {
  local settings image
  settings="$(jq -nc '{pinning: {action: "off"}, overrides: [{pinning: {action: "deny"}, images: [
    "docker.io/*", "registry.example.com/*", "registry.example.com:5000/*", "registry:443/*", "127.0.0.1:5000/*", "[::1]:5000/*"]}]}')"
  # The settings let an image pass that no override is for.
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

@test "an image id is refused, whatever is exempt" {
  local hex="${DIGEST#sha256:}" image
  for image in "$hex" "sha256:$hex" "sha384:$hex${hex:0:32}" "sha512:$hex$hex" "sha256:${hex:0:12}" sha256:c; do
    judge v1 Pod "$(pod "$image")" '{"exempt": ["*", "docker.io/library/*"], "pinning": {"action": "off"}}'
    assert_denied invalid-reference
    assert_contains "$(message)" 'it is an image ID'
    judge v1 Pod "$(jq -nc --arg image "$image" '{spec: {containers: [], volumes: [{name: "data", image: {reference: $image}}]}}')" '{"exempt": ["*"]}'
    assert_denied invalid-reference
  done
}

@test "letters that look like others make no exempt image" {
  for image in 'ngіnx:1' 'docker.io/library/ngіnx:1' 'registry.exаmple.com/app:1' 'registry․example.com/app:1' 'registry.example.com∕app:1' $'registry.example.com/app:1\u200b'; do
    judge v1 Pod "$(pod "$image")" "$EXEMPT"
    assert_denied invalid-reference
  done
}

@test "a digest decides, whatever tag stands before it" {
  local other="sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210" answer
  # The tag is of a fresh image, the digest of a stale one.
  answer="$(jq -nc --arg digest "$other" '{digest: $digest, config: {created: "2026-01-01T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  jq -nr --arg answer "$answer" --arg other "$other" '"- type: Exchange\n  request: |\n    !OciManifestAndConfig\n    image: docker.io/library/nginx@\($other)\n  response:\n    type: Success\n    payload: \($answer | tojson)"' > "$BATS_TEST_TMPDIR/session.yml"
  policy_run --request-path "$(request v1 Pod "$(pod "nginx:fresh@$other")")" --settings-json "$(quiet '{"schedule": {"action": "deny"}, "evaluateAt": "2026-11-20T12:00:00Z"}')" \
    --replay-host-capabilities-interactions "$BATS_TEST_TMPDIR/session.yml"
  assert_denied stale-image
}

@test "a container without a name is judged, and is never one of before" {
  for container in '{"name": "", "image": "nginx:1"}' '{"image": "nginx:1"}'; do
    judge v1 Pod "{\"spec\": {\"containers\": [$container]}}" '{}' '.operation = "UPDATE" | .oldObject = .object'
    assert_denied unpinned-image
  done
}

@test "an object that lies about its kind is judged by the kind that the API server gives" {
  judge apps/v1 Deployment '{"kind": "ConfigMap", "apiVersion": "v1", "spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}'
  assert_denied unpinned-image
}

@test "a list of objects is no object" {
  judge v1 List "{\"items\": [$(pod nginx:1)]}"
  assert_denied unknown-kind
  judge v1 PodList "{\"items\": [$(pod nginx:1)]}"
  assert_denied unknown-kind
}

@test "a flag counts in any spelling, and a break-glass annotation in one" {
  judge v1 Pod "$(pod "nginx@$DIGEST" | jq -c '.metadata = {annotations: {"IMAGES.openshift.io/Deny-Execution": "true"}}')" '{"scan": {"action": "deny"}, "enforcement": {"evidenceErrors": "warn"}}'
  [ "$(response .allowed)" = true ] # The registry is silent, so that only a warning is left of the rule.
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {annotations: {"Container-Patch.dev/Break-Glass": "INC-7"}}')" '{"breakGlass": {"groups": ["system:masters"]}}' '.userInfo.groups = ["system:masters"]'
  assert_denied unpinned-image
}

@test "a custom workload whose template is not where the settings say is refused, not skipped" {
  local custom='{"customWorkloads": [{"apiVersion": "example.com/*", "kind": "Fleet", "podTemplate": "/spec/fleet/template"}]}'
  judge example.com/v1 Fleet '{"spec": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}' "$custom"
  assert_denied invalid-request
  assert_contains "$(message)" 'this Fleet has no `spec.fleet`' || assert_contains "$(message)" 'this Fleet has no `spec.fleet.template`'
  judge example.com/v2 Fleet '{"spec": {"fleet": {"template": {"spec": {"containers": [{"name": "app", "image": "nginx:1"}]}}}}}' "$custom"
  assert_denied unpinned-image
  judge example.com.evil.test/v1 Fleet '{}' "$custom"
  assert_denied unknown-kind
}

@test "an image cannot be exempt without an end and excepted until one" {
  policy_run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-json \
    '{"exempt": ["registry.example.com/*"], "exceptions": [{"images": ["registry.example.com/app:*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "x"}]}'
  [ "$status" -ne 0 ]
  assert_contains "$stderr" 'exceptions[0].images: `registry.example.com/app:*` is already exempt by `registry.example.com/*`'
}

@test "an owner that a requester writes into a pod makes no controller of them" {
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {ownerReferences: [{apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "1", controller: true}]}')" '{"enforcement": {"controllerPods": "ignore"}}'
  assert_denied unpinned-image
}

@test "an object that says that it is being deleted is judged when it is new" {
  judge v1 Pod "$(pod nginx:1 | jq -c '.metadata = {deletionTimestamp: "2026-11-20T00:00:00Z"}')"
  assert_denied unpinned-image
}

@test "other subresources of a workload are let through untouched" {
  for subresource in scale resize eviction log status exec binding; do
    judge v1 Pod "$(pod nginx:1)" '{}' ".operation = \"UPDATE\" | .subResource = \"$subresource\""
    [ "$(response .allowed)" = true ]
    [ "$(response .patch)" = null ]
  done
}

# settings_of FILE: prints the settings of the validating policy in that file, which is the last one in it.
settings_of() {
  tac "$ROOT/deploy/custom-workloads/$1.yaml" | sed '/^  settings:/q' | tac | sed '1d; s/^    //'
}

# The examples in deploy/, by which other people's kinds are judged.
# custom FILE API_VERSION KIND: an unpinned image is judged by the settings of that file, and found.
custom() {
  policy_run --request-path "$(request "$2" "$3" '{"spec": {"template": {"metadata": {"labels": {}}, "spec": {"containers": [{"name": "app", "image": "A b"}]}}}}')" \
    --settings-path "$BATS_TEST_TMPDIR/settings.yml" --replay-host-capabilities-interactions "$(silence)"
  assert_denied invalid-reference
}

@test "Argo Rollouts, Knative Services and OpenKruise CloneSets are judged by the examples in deploy/" {
  local file api kind
  while read -r file api kind; do
    # kwctl knows settings alone, and not the policy that holds them.
    settings_of "$file" > "$BATS_TEST_TMPDIR/settings.yml"
    custom "$file" "$api" "$kind"
  done <<< "argo-rollouts argoproj.io/v1alpha1 Rollout
knative-serving serving.knative.dev/v1 Service
openkruise apps.kruise.io/v1alpha1 CloneSet"
}

@test "a Rollout that has no template of its own is refused" {
  settings_of argo-rollouts > "$BATS_TEST_TMPDIR/settings.yml"
  policy_run --request-path "$(request argoproj.io/v1alpha1 Rollout '{"spec": {"workloadRef": {"kind": "Deployment", "name": "web"}}}')" \
    --settings-path "$BATS_TEST_TMPDIR/settings.yml" --replay-host-capabilities-interactions "$(silence)"
  assert_denied invalid-request
}

# Ways around that a real cluster showed. The ones that need its controllers are in cluster/, those about registries and indexes
# in registry.bats, and those about reports in scan.bats.

# knows IMAGE CREATED: a session in which the registry gives one digest for a tag, and a build date for the digest.
knows() {
  local name="${1%:*}@$DIGEST" answer
  answer="$(jq -nc --arg digest "$DIGEST" --arg created "$2" '{digest: $digest, config: {created: $created}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  jq -nr --arg tagged "$1" --arg name "$name" --arg digest "$DIGEST" --arg answer "$answer" '
    def exchange($call; $image; $payload): "- type: Exchange\n  request: |\n    !\($call)\n    image: \($image)\n  response:\n    type: Success\n    payload: \($payload | tojson)";
    exchange("OciManifestDigest"; $tagged; {digest: $digest} | tojson), exchange("OciManifestAndConfig"; $name; $answer)' > "$BATS_TEST_TMPDIR/known.yml"
  echo "$BATS_TEST_TMPDIR/known.yml"
}

# judge_stale API_VERSION KIND OBJECT JQ: runs the policy on a request that names registry.example.com/old:1, which is stale.
judge_stale() {
  policy_run --request-path "$(request "$1" "$2" "$3" "$4")" \
    --settings-json "$(quiet '{"pinning": {"action": "off"}, "schedule": {"action": "deny"}, "evaluateAt": "2026-11-20T12:00:00Z"}')" \
    --replay-host-capabilities-interactions "$(knows registry.example.com/old:1 2026-01-01T00:00:00Z)"
  [ "$status" -eq 0 ]
}

# templated IMAGE: the fields of an object with a pod template that has the image in its only container.
templated() { jq -nc --argjson pod "$(pod "$1")" '{spec: {template: $pod}}'; }

OLD=registry.example.com/old:1
TERMINATING='.oldObject = .object | .oldObject.metadata += {deletionTimestamp: "2026-11-20T10:00:00Z", finalizers: ["example.com/a"]} | .object.metadata = .oldObject.metadata | .operation = "UPDATE"'

@test "a terminating ReplicaSet cannot get a stale image, and its deletion can be finished" {
  judge_stale apps/v1 ReplicaSet "$(templated "$OLD")" "$TERMINATING | .oldObject.spec.template.spec.containers[0].image = \"registry.example.com/new:1\""
  assert_denied stale-image
  [ "$(annotation images | jq -r '.[0].image')" = "$OLD" ]
  judge apps/v1 ReplicaSet "$(templated "$OLD")" '{"schedule": {"action": "deny"}}' "$TERMINATING | .object.metadata.finalizers = []"
  assert_accepted
}

@test "a controller that changes an image is judged in full, and one that makes a pod is warned" {
  local controller='.userInfo.username = "system:serviceaccount:kube-system:deployment-controller"'
  judge_stale apps/v1 Deployment "$(templated "$OLD")" \
    "$controller | .operation = \"UPDATE\" | .oldObject = .object | .oldObject.spec.template.spec.containers[0].image = \"registry.example.com/new:1\""
  assert_denied stale-image
  judge_stale apps/v1 ReplicaSet "$(templated "$OLD")" "$controller"
  assert_warned evaluate-at-set stale-image
}

@test "latest and what is not a reference are refused in templates, whatever templates says" {
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

@test "a CronJob of an old version of its group is judged" {
  judge_stale batch/v1beta1 CronJob "$(jq -nc --argjson pod "$(pod "$OLD")" '{spec: {jobTemplate: {spec: {template: $pod}}}}')" .
  assert_denied stale-image
}

@test "the old kind of the subresource for ephemeral containers is judged" {
  judge_stale v1 EphemeralContainers "$(jq -nc --arg image "$OLD" '{ephemeralContainers: [{name: "debug", image: $image}]}')" \
    '.operation = "UPDATE" | .subResource = "ephemeralcontainers" | .oldObject = (.object | .ephemeralContainers = [])'
  assert_denied stale-image
  assert_contains "$(message)" 'ephemeral container `debug`'
}

# revision IMAGE: a ControllerRevision of a StatefulSet, by which pods with the image are made.
revision() {
  jq -nc --argjson pod "$(pod "$1")" '{metadata: {name: "db-1", ownerReferences: [{apiVersion: "apps/v1", kind: "StatefulSet", name: "db", uid: "1", controller: true}]},
    data: {spec: {template: ($pod + {"$patch": "replace"})}}, revision: 1}'
}

@test "a forged ControllerRevision is judged by the template in it, and another operator's is let through" {
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

@test "break-glass by RBAC is asked about in the whole cluster, so that every verb in a namespace opens nothing" {
  local glass='.object.metadata.annotations = {"container-patch.dev/break-glass": "INC-7"}' namespace settings
  # The API server allows it in the namespace alone.
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

@test "an audit event stays small, and says nothing that the event says itself" {
  for image in '<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&' registry.example.com/app "registry.example.com/app:1@$DIGEST"; do
    judge v1 Pod "$(jq -nc --arg image "$image" '{spec: {containers: [range(120) | {name: "container-\(.)", image: $image}]}}')" '{"registries": ["docker.io"], "schedule": {"action": "deny"}}'
    # As the API server writes it, whose encoder also escapes what HTML knows.
    local event
    event="$(response '{annotations: .auditAnnotations, responseStatus: .status} | tojson | gsub("<|>|&"; "\\u003c")')"
    [ "${#event}" -le 26000 ]
    [ "$(response '.auditAnnotations | has("request")')" = false ]
    [ "$(annotation images | jq -r '.[0].sites | length')" -eq 120 ]
  done
}

@test "registries and platforms that are not valid are refused with the right spelling, and doubtful ones are warned about" {
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
