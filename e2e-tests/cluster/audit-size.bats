#!/usr/bin/env bats
# The audit annotations of the policies stay small: audit backends truncate long events, and storage of audit logs costs money.

load helpers

setup() { own_control_plane "this test reads the audit log of the API server"; }

# tags NAME DAYS: pushes an image that was built that many days ago with 120 tags, t1 to t120, and prints its name.
tags() {
  local manifest=application/vnd.oci.image.manifest.v1+json
  push_image "$NAMESPACE/$1" t "$(ago "$2")" > /dev/null
  curl -sf -H "Accept: $manifest" -o "$BATS_TEST_TMPDIR/manifest" "http://$REGISTRY/v2/$NAMESPACE/$1/manifests/t"
  curl -sf -X PUT -H "Content-Type: $manifest" --data-binary "@$BATS_TEST_TMPDIR/manifest" -o /dev/null \
    "http://$REGISTRY/v2/$NAMESPACE/$1/manifests/t[1-120]"
  echo "$REGISTRY/$NAMESPACE/$1"
}

# many IMAGE_JQ [FIRST LAST]: replaces the containers of the workload on standard input by 120 containers, or by those from FIRST to
# LAST. A jq program returns the image for a number.
many() {
  jq -c --argjson first "${2:-1}" --argjson last "${3:-120}" '
    (.. | objects | select(has("containers")).containers) = [range($first; $last + 1) | {name: "container-\(.)", image: ('"$1"')}]'
}

# asked_before OBJECT IMAGE_JQ: lets the policies look up the 120 images in three requests. policy-server caches the answers for a
# minute, so the request for all of them does not time out on a slow machine.
asked_before() {
  local first
  for first in 1 41 81; do
    ann create --dry-run=server --filename - <<< "$(many "$2" "$first" $((first + 39)) <<< "$1")" > /dev/null 2>&1 || true
  done
}

# REFERENCES: a jq program for references of 900 characters, each of which the API server escapes with six bytes.
REFERENCES='"<>&" * 300 + tostring'

# assert_small WHAT JQ: asserts that each event that matches the jq program has less than 40 KB in the log, including escapes.
assert_small() {
  local id bytes
  event "$2" > /dev/null
  for id in $(events "$2" | jq -r .auditID); do
    bytes="$(grep -F "\"$id\"" "$CLUSTER/audit.log" | wc -c)"
    echo "# $1: $bytes bytes" >&3
    [ "$bytes" -lt 40000 ]
  done
}

@test "the audit event of a pod with 120 containers has less than 40 KB" {
  namespace shipped
  local images
  images="\"$(tags a-repository/with-a-name/of-some-length 3):t\\(.)\""
  asked_before "$(pod asked x)" "$images"
  accepted create ann "$(pod web x | many "$images")"
  assert_small "a pod of 120 images, accepted and pinned" '.verb == "create" and .objectRef.resource == "pods" and .objectRef.name == "web"'
}

@test "the audit event of a Deployment with 120 stale images has less than 40 KB" {
  namespace shipped
  local images
  images="\"$(tags a-repository/with-a-name/of-some-length 120):t\\(.)\""
  asked_before "$(deployment asked x)" "$images"
  refused stale-image create ann "$(deployment web x | many "$images")"
  assert_small "a Deployment of 120 stale images, refused" '.verb == "create" and .objectRef.resource == "deployments" and .objectRef.name == "web"'
}

@test "the audit event of 120 references with characters that JSON escapes has less than 40 KB" {
  namespace shipped
  refused invalid-reference create ann "$(deployment web x | many "$REFERENCES")"
  assert_small "a Deployment of 120 references full of <>&, refused" '.verb == "create" and .objectRef.resource == "deployments"'
  refused invalid-reference create ann "$(pod web x | many "$REFERENCES")"
  assert_small "a pod of 120 references full of <>&, refused" '.verb == "create" and .objectRef.resource == "pods" and .objectRef.name == "web"'
}

@test "the audit event of a controller's pod with 120 containers and warnings of both policies has less than 40 KB" {
  namespace none
  accepted create ann "$(deployment web x | many "$REFERENCES")"
  wait_until 20 has_pods
  judge_by shipped
  accepted ann delete pods --all --wait=false
  assert_small "a pod of 120 references full of <>&, made by a controller" '.verb == "create" and .objectRef.resource == "pods"
    and (.user.username | test("replicaset-controller")) and (.annotations | tostring | test("container-patch"))'
  accepted ann label deployment web team=shop
  assert_small "a Deployment of 120 references full of <>&, labelled" '.verb == "patch" and .objectRef.resource == "deployments"'
}

# has_pods: succeeds if there are pods in the namespace.
has_pods() { [ -n "$(pod_images)" ]; }
