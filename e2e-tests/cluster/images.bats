#!/usr/bin/env bats
# The judged images are the ones that run: every image of an index that a node may choose, every kind and version with pods, every
# spelling of a name.

load helpers

setup() {
  # The default platform is the one of policy-server, which is usually also the one of this machine.
  case "$(uname -m)" in
    aarch64 | arm64) HERE=arm64 THERE=amd64 ;;
    *) HERE=amd64 THERE=arm64 ;;
  esac
}

# index TAG ARCHITECTURE=DAYS…: pushes an index of images that were built that many days ago, in this order, and prints its name.
# An architecture may have a variant, such as arm64/v8.
index() {
  local tag="$1" entry architecture digest entries=()
  shift
  for entry in "$@"; do
    architecture="${entry%=*}"
    digest="$(push_image "$NAMESPACE/multi" "$tag-${#entries[@]}" "$(ago "${entry#*=}")" ".architecture = \"${architecture%/*}\"")"
    entries+=("$(jq -nc --arg platform "$architecture" --arg digest "$digest" \
      --argjson size "$(curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json' "http://$REGISTRY/v2/$NAMESPACE/multi/manifests/$digest" | wc -c)" '
      ($platform | split("/")) as [$architecture, $variant]
      | {mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $digest, size: $size,
        platform: ({os: "linux", architecture: $architecture} + if $variant then {variant: $variant} else {} end)}')")
  done
  printf '%s\n' "${entries[@]}" \
    | jq -sc '{schemaVersion: 2, mediaType: "application/vnd.oci.image.index.v1+json", manifests: .}' \
    | push_manifest "$NAMESPACE/multi" "$tag" application/vnd.oci.image.index.v1+json > /dev/null
  echo "$REGISTRY/$NAMESPACE/multi:$tag"
}

@test "every image for the platform is judged if an index has the platform twice" {
  namespace shipped
  accepted create ann "$(deployment fresh "$(index fresh "$HERE=3" "$HERE=4")")"
  refused stale-image create ann "$(deployment second "$(index second "$HERE=3" "$HERE=120")")"
  refused stale-image create ann "$(deployment first "$(index first "$HERE=120" "$HERE=3")")"
  local variant=v8
  [ "$HERE" = arm64 ] || variant=v2
  refused stale-image create ann "$(deployment variant "$(index variant "$HERE=3" "$HERE/$variant=120")")"
}

@test "a workload that selects another platform is judged by the image for that platform" {
  namespace shipped
  local image
  image="$(index stale "$HERE=3" "$THERE=120")"
  accepted create ann "$(deployment here "$image")"
  refused stale-image create ann "$(deployment there "$image" '.spec.template.spec.nodeSelector = {"kubernetes.io/arch": "'"$THERE"'"}')"
  refused stale-image create ann "$(deployment there "$image" '.spec.template.spec.affinity.nodeAffinity
    .requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms = [{matchExpressions: [
      {key: "kubernetes.io/arch", operator: "In", values: ["'"$THERE"'"]}]}]')"
  accepted create ann "$(deployment there "$(index fresh "$HERE=3" "$THERE=4")" '.spec.template.spec.nodeSelector = {"kubernetes.io/arch": "'"$THERE"'"}')"
}

@test "a workload that is changed to another platform is judged by the image for that platform" {
  namespace shipped
  accepted create ann "$(deployment web "$(index stale "$HERE=3" "$THERE=120")")"
  refused stale-image ann patch deployment web --patch \
    '{"spec": {"template": {"spec": {"nodeSelector": {"kubernetes.io/arch": "'"$THERE"'"}}}}}'
}

@test "with two platforms in the settings, the images for both are judged" {
  namespace two-platforms
  accepted create ann "$(deployment fresh "$(index fresh amd64=3 arm64=4)")"
  local image
  image="$(index stale amd64=3 arm64=120)"
  refused stale-image create ann "$(deployment stale "$image")"
  # This one never runs on arm64.
  accepted create ann "$(deployment amd "$image" '.spec.template.spec.nodeSelector = {"kubernetes.io/arch": "amd64"}')"
}

@test "a workload with a forbidden tag, without a tag or with an invalid reference is refused" {
  namespace shipped
  image app latest 3 > /dev/null
  refused forbidden-tag create ann "$(deployment web "$REGISTRY/$NAMESPACE/app")"
  refused forbidden-tag create ann "$(deployment web "$REGISTRY/$NAMESPACE/app:latest")"
  refused invalid-reference create ann "$(deployment web "$REGISTRY/$NAMESPACE/App:1")"
}

@test "a CronJob with a stale image is refused in every version of the API server" {
  namespace shipped
  local version tried="" stale
  stale="$(image app stale 120)"
  for version in v1beta1 v1; do
    kubectl get --raw "/apis/batch/$version" | jq -e '.resources[] | select(.name == "cronjobs")' > /dev/null || continue
    tried="$tried $version"
    refused stale-image create ann "$(jq -nc --arg version "batch/$version" --arg image "$stale" '{
      apiVersion: $version, kind: "CronJob", metadata: {name: "nightly"}, spec: {schedule: "0 3 * * *", jobTemplate: {spec: {template: {spec: {
        restartPolicy: "Never", containers: [{name: "app", image: $image}]}}}}}}')"
  done
  echo "tried:$tried"
  [ -n "$tried" ]
}

@test "an ephemeral container with a stale image is refused, and one with a fresh image is pinned" {
  namespace shipped
  local stale fresh
  stale="$(image app stale 120)"
  fresh="$(image app fresh 3)"
  accepted create ann "$(pod shell "$fresh")"
  refused stale-image otto debug shell --image "$stale" --container debug-stale --attach=false
  accepted otto debug shell --image "$fresh" --container debug --attach=false
  [ "$(admin get pod shell --output jsonpath='{.spec.ephemeralContainers[*].image}')" = "$(pinned "$fresh")" ]
}

@test "an override for a registry cannot be bypassed by another spelling of its address" {
  own_control_plane "this test needs a registry on a loopback address"
  namespace strict-registry
  local stale path port="${REGISTRY##*:}" host number=0
  stale="$(image app stale 120)"
  path="${stale#*/}"
  refused stale-image create ann "$(deployment web "$stale")"
  for host in "127.0.0.1:0$port" "127.0.0.1:000$port" "127.1:$port" "127.0.1:$port" "2130706433:$port" "0x7f000001:$port" "127.0.0.01:$port" \
    "0177.0.0.1:$port" "[0:0:0:0:0:0:0:1]:$port" "[0:0:0:0:0:ffff:7f00:1]:$port" "[::0001]:$port"; do
    number=$((number + 1))
    refused invalid-reference create ann "$(deployment "web-$number" "$host/$path")"
  done
}

@test "all host names of Docker Hub count as one registry" {
  namespace strict-registry
  local host
  for host in docker.io index.docker.io registry-1.docker.io registry.hub.docker.com; do
    # The image is exempt, so there are no warnings.
    accepted create ann "$(deployment "web-${host//./-}" "$host/e2e/app:1")"
    # shellcheck disable=SC2154 # bats sets it.
    [[ "$output" != *Warning* ]]
  done
}

@test "an image ID, which a runtime resolves on its node, is refused" {
  namespace strict-registry
  local id=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  refused invalid-reference create ann "$(deployment bare "$id")"
  refused invalid-reference create ann "$(deployment short "sha256:$id")"
  refused invalid-reference create ann "$(deployment long "sha512:$id$id")"
}
