#!/usr/bin/env bats
# Requesters choose registries: one that does not answer does not block other requests, an unlisted one is not asked, and the answer of
# a registry reveals nothing about the network.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets `output`, and runs each test in a subshell.

load helpers

teardown() {
  if [ -n "${SILENT_PID:-}" ]; then
    # This also closes its connections.
    kill -KILL "$SILENT_PID"
  fi
}

# start_silent_registry: starts a registry that accepts connections and does not answer. Sets SILENT.
start_silent_registry() {
  local public="$REGISTRY"
  mkdir "$BATS_TEST_TMPDIR/silent"
  start_registry "$BATS_TEST_TMPDIR/silent"
  SILENT="$REGISTRY"
  SILENT_PID="$REGISTRY_PID"
  disown "$SILENT_PID"
  REGISTRY="$public"
  # The kernel still accepts connections for a stopped process.
  kill -STOP "$SILENT_PID"
}

# post PATH FILE ANSWER: sends an object to the API server as ann, writes the answer to a file, and prints the duration in seconds. Many
# calls of kubectl at the same time would need too much CPU.
post() {
  curl -s --max-time 60 --cacert "$CLUSTER/pki/ca.crt" --cert "$CLUSTER/pki/admin.crt" --key "$CLUSTER/pki/admin.key" \
    -H 'Impersonate-User: ann' -H 'Content-Type: application/json' --data-binary "@$2" \
    -o "$3" -w '%{time_total}\n' "https://127.0.0.1:$API_PORT$1"
}

@test "requests for a registry that does not answer are refused at once and do not delay other requests" {
  own_control_plane "this test can block admission"
  namespace shipped
  local image number pids=() began took slowest
  start_silent_registry
  image="$(image app 1 3)"
  for number in $(seq 1 10); do
    pod "silent-$number" "$SILENT/app:$number" > "$BATS_TEST_TMPDIR/pod-$number.json"
    deployment "silent-$number" "$SILENT/app:$number" > "$BATS_TEST_TMPDIR/deployment-$number.json"
    post "/api/v1/namespaces/$NAMESPACE/pods" "$BATS_TEST_TMPDIR/pod-$number.json" "$BATS_TEST_TMPDIR/pod-$number.answer" \
      > "$BATS_TEST_TMPDIR/pod-$number.time" 3>&- &
    pids+=("$!")
    post "/apis/apps/v1/namespaces/$NAMESPACE/deployments" "$BATS_TEST_TMPDIR/deployment-$number.json" \
      "$BATS_TEST_TMPDIR/deployment-$number.answer" > "$BATS_TEST_TMPDIR/deployment-$number.time" 3>&- &
    pids+=("$!")
  done

  began="$(date +%s%3N)"
  accepted create otto "$(pod shell "$image")"
  accepted create otto "$(deployment web "$image")"
  took=$(($(date +%s%3N) - began))
  echo "# a pod and a Deployment of another user took $took ms" >&3
  wait_for_pods "$(pinned "$image")" "$(pinned "$image")"
  [ "$took" -lt 8000 ]

  wait "${pids[@]}"
  [ "$(grep -l '\[unknown-registry\]' "$BATS_TEST_TMPDIR"/*.answer | wc -l)" -eq 20 ]
  slowest="$(sort -n "$BATS_TEST_TMPDIR"/*.time | tail -n 1)"
  echo "# the slowest of 20 requests for the registry that does not answer took $slowest s" >&3
  [ "${slowest%.*}" -lt 8 ]
}

# asked: prints the number of requests that the unlisted registry received.
asked() {
  # The log is in the order of the requests: if this one is in it, all earlier ones are.
  local marker="$RANDOM-$RANDOM"
  curl -s -o /dev/null "http://$UNLISTED_REGISTRY/v2/$marker"
  wait_until 10 grep -q "$marker" "$CLUSTER/unlisted/registry.log"
  grep 'HTTP/1' "$CLUSTER/unlisted/registry.log" | grep -vc curl || true
}

@test "an image on an unlisted registry is refused, and the registry is not asked" {
  own_control_plane "this test reads the log of the unlisted registry"
  namespace shipped
  local before digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  before="$(asked)"
  refused unknown-registry create ann "$(deployment web "$UNLISTED_REGISTRY/app:1")"
  refused unknown-registry create ann "$(deployment web "$UNLISTED_REGISTRY/app@$digest")"
  refused unknown-registry create ann "$(pod shell "$UNLISTED_REGISTRY/app:1")"
  refused unknown-registry create ann "$(pod shell "$UNLISTED_REGISTRY/app:1@$digest")"
  # The base image is also on the unlisted registry: the builder of an image chooses this annotation.
  push_image "$NAMESPACE/app" 1 "$(ago 3)" . '.annotations = {"org.opencontainers.image.base.name": "'"$UNLISTED_REGISTRY"'/base:1",
    "org.opencontainers.image.base.digest": "'"$digest"'"}' > /dev/null
  accepted create ann "$(deployment based "$REGISTRY/$NAMESPACE/app:1")"
  [ "$(asked)" = "$before" ]
}

# refusal_of IMAGE: sets MESSAGE to the message about an image that cannot be verified, without host and port.
refusal_of() {
  refused evidence-unavailable create ann "$(deployment web "$1")"
  MESSAGE="$(sed -E 's/127\.0\.0\.1:[0-9]+/HOST/g; s/^.*denied the request: //' <<< "$output")"
}

@test "without registries in the settings, the message does not reveal if a port is open" {
  own_control_plane "this test uses ports of this machine"
  namespace any-registry
  local closed
  refusal_of "127.0.0.1:$(free_port)/app:1"
  closed="$MESSAGE"
  # An open port with HTTP, and one with TLS.
  refusal_of "127.0.0.1:$ETCD_PORT/app:1"
  [ "$MESSAGE" = "$closed" ]
  refusal_of "127.0.0.1:$API_PORT/app:1"
  [ "$MESSAGE" = "$closed" ]
  assert_contains "$closed" "could not be verified"
}

@test "without registries in the settings, the message only says that an image is not found or access is unauthorized" {
  own_control_plane "this test uses registries on this machine"
  namespace any-registry
  refusal_of "$REGISTRY/$NAMESPACE/none:1"
  [[ "$MESSAGE" != *http* ]]
  assert_contains "$MESSAGE" "the registry has no such image"
  refusal_of "$PRIVATE_REGISTRY/app:1"
  [[ "$MESSAGE" != *http* ]]
  assert_contains "$MESSAGE" "unauthorized"
}

@test "an image that a listed registry does not have is reported as missing" {
  namespace shipped
  refused evidence-unavailable create ann "$(deployment web "$REGISTRY/$NAMESPACE/none:1")"
  [[ "$output" =~ "not found"|"manifest unknown"|"does not exist" ]]
}
