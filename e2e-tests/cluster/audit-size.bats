#!/usr/bin/env bats
# What the policies add to an audit event stays small: backends cut events off, and audit logs are paid for by the byte.

load helpers

setup() { own_control_plane "the audit log is a file of the API server"; }

# tags NAME DAYS: makes 120 tags, t1 to t120, of an image that was built so many days ago, and prints its name.
tags() {
  local manifest=application/vnd.oci.image.manifest.v1+json
  push_image "$NAMESPACE/$1" t "$(ago "$2")" > /dev/null
  curl -sf -H "Accept: $manifest" -o "$BATS_TEST_TMPDIR/manifest" "http://$REGISTRY/v2/$NAMESPACE/$1/manifests/t"
  curl -sf -X PUT -H "Content-Type: $manifest" --data-binary "@$BATS_TEST_TMPDIR/manifest" -o /dev/null \
    "http://$REGISTRY/v2/$NAMESPACE/$1/manifests/t[1-120]"
  echo "$REGISTRY/$NAMESPACE/$1"
}

# many IMAGE_JQ [FIRST LAST]: changes the workload on standard input so that it has 120 containers, or those with these numbers,
# with images by a jq program from their number.
many() {
  jq -c --argjson first "${2:-1}" --argjson last "${3:-120}" '
    (.. | objects | select(has("containers")).containers) = [range($first; $last + 1) | {name: "container-\(.)", image: ('"$1"')}]'
}

# asked_before OBJECT IMAGE_JQ: has the policies ask about the 120 images in parts. policy-server keeps answers for a minute, so that the
# webhook for all of them does not run out of time on a slow machine.
asked_before() {
  local first
  for first in 1 41 81; do
    ann create --dry-run=server --filename - <<< "$(many "$2" "$first" $((first + 39)) <<< "$1")" > /dev/null 2>&1 || true
  done
}

# REFERENCES: a program for references of 900 characters of which the API server writes six bytes each.
REFERENCES='"<>&" * 300 + tostring'

# assert_small WHAT JQ: each event of which the jq program speaks has less than 40 KB in the log, where its characters are escaped.
assert_small() {
  local id bytes
  event "$2" > /dev/null
  for id in $(events "$2" | jq -r .auditID); do
    bytes="$(grep -F "\"$id\"" "$CLUSTER/audit.log" | wc -c)"
    echo "# $1: $bytes bytes" >&3
    [ "$bytes" -lt 40000 ]
  done
}

@test "an event about a pod of 120 containers has less than 40 KB" {
  namespace shipped
  local images
  images="\"$(tags a-repository/with-a-name/of-some-length 3):t\\(.)\""
  asked_before "$(pod asked x)" "$images"
  accepted create ann "$(pod web x | many "$images")"
  assert_small "a pod of 120 images, accepted and pinned" '.verb == "create" and .objectRef.resource == "pods" and .objectRef.name == "web"'
}

@test "an event about a Deployment of 120 stale images has less than 40 KB" {
  namespace shipped
  local images
  images="\"$(tags a-repository/with-a-name/of-some-length 120):t\\(.)\""
  asked_before "$(deployment asked x)" "$images"
  refused stale-image create ann "$(deployment web x | many "$images")"
  assert_small "a Deployment of 120 stale images, refused" '.verb == "create" and .objectRef.resource == "deployments" and .objectRef.name == "web"'
}

@test "an event about 120 references of characters that JSON escapes has less than 40 KB" {
  namespace shipped
  refused invalid-reference create ann "$(deployment web x | many "$REFERENCES")"
  assert_small "a Deployment of 120 references full of <>&, refused" '.verb == "create" and .objectRef.resource == "deployments"'
  refused invalid-reference create ann "$(pod web x | many "$REFERENCES")"
  assert_small "a pod of 120 references full of <>&, refused" '.verb == "create" and .objectRef.resource == "pods" and .objectRef.name == "web"'
}

@test "an event about a pod of 120 containers that a controller makes, and that both policies let in with warnings, has less than 40 KB" {
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

# has_pods: whether there are pods in the namespace.
has_pods() { [ -n "$(pod_images)" ]; }
