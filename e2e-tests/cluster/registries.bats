#!/usr/bin/env bats
# Requesters name registries: a silent one does not stop others, one that is not listed is not asked, and what a registry answers
# tells a requester nothing about the network.
# shellcheck disable=SC2030,SC2031,SC2154 # bats sets `output`, and runs each test in a subshell.

load helpers

teardown() {
  if [ -n "${SILENT_PID:-}" ]; then
    # Its connections end with it.
    kill -KILL "$SILENT_PID"
  fi
}

# start_silent_registry: starts a registry that accepts connections and never answers. Sets SILENT.
start_silent_registry() {
  local public="$REGISTRY"
  mkdir "$BATS_TEST_TMPDIR/silent"
  start_registry "$BATS_TEST_TMPDIR/silent"
  SILENT="$REGISTRY"
  SILENT_PID="$REGISTRY_PID"
  disown "$SILENT_PID"
  REGISTRY="$public"
  # The kernel goes on accepting connections for a program that is stopped.
  kill -STOP "$SILENT_PID"
}

# post PATH FILE ANSWER: sends an object to the API server as ann, writes the answer into a file, and prints how many seconds it took.
# It costs less than kubectl, many times at once.
post() {
  curl -s --max-time 60 --cacert "$CLUSTER/pki/ca.crt" --cert "$CLUSTER/pki/admin.crt" --key "$CLUSTER/pki/admin.key" \
    -H 'Impersonate-User: ann' -H 'Content-Type: application/json' --data-binary "@$2" \
    -o "$3" -w '%{time_total}\n' "https://127.0.0.1:$API_PORT$1"
}

@test "requests that name a silent registry are refused at once, and others do not notice them" {
  own_control_plane "a cluster of somebody else is not brought to a stop"
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
  echo "# a pod and a Deployment of somebody else took $took ms" >&3
  wait_for_pods "$(pinned "$image")" "$(pinned "$image")"
  [ "$took" -lt 8000 ]

  wait "${pids[@]}"
  [ "$(grep -l '\[unknown-registry\]' "$BATS_TEST_TMPDIR"/*.answer | wc -l)" -eq 20 ]
  slowest="$(sort -n "$BATS_TEST_TMPDIR"/*.time | tail -n 1)"
  echo "# the slowest of 20 requests that name the silent registry took $slowest s" >&3
  [ "${slowest%.*}" -lt 8 ]
}

# asked: how many requests the unlisted registry has got.
asked() {
  # It writes down requests in their order, so that after this one all earlier ones are there.
  local marker="$RANDOM-$RANDOM"
  curl -s -o /dev/null "http://$UNLISTED_REGISTRY/v2/$marker"
  wait_until 10 grep -q "$marker" "$CLUSTER/unlisted/registry.log"
  grep 'HTTP/1' "$CLUSTER/unlisted/registry.log" | grep -vc curl || true
}

@test "an image on a registry that is not listed is refused, and the registry is not asked" {
  own_control_plane "the log of the registry that is not listed is a file here"
  namespace shipped
  local before digest=sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
  before="$(asked)"
  refused unknown-registry create ann "$(deployment web "$UNLISTED_REGISTRY/app:1")"
  refused unknown-registry create ann "$(deployment web "$UNLISTED_REGISTRY/app@$digest")"
  refused unknown-registry create ann "$(pod shell "$UNLISTED_REGISTRY/app:1")"
  refused unknown-registry create ann "$(pod shell "$UNLISTED_REGISTRY/app:1@$digest")"
  # The builder of an image names its base.
  push_image "$NAMESPACE/app" 1 "$(ago 3)" . '.annotations = {"org.opencontainers.image.base.name": "'"$UNLISTED_REGISTRY"'/base:1",
    "org.opencontainers.image.base.digest": "'"$digest"'"}' > /dev/null
  accepted create ann "$(deployment based "$REGISTRY/$NAMESPACE/app:1")"
  [ "$(asked)" = "$before" ]
}

# told IMAGE: sets MESSAGE to what the requester is told about an image that cannot be had, without the port.
told() {
  refused evidence-unavailable create ann "$(deployment web "$1")"
  MESSAGE="$(sed -E 's/127\.0\.0\.1:[0-9]+/HOST/g; s/^.*denied the request: //' <<< "$output")"
}

@test "where the requester names any registry, the refusal tells no open port from a closed one" {
  own_control_plane "it knows the ports of this machine"
  namespace any-registry
  local closed
  told "127.0.0.1:$(free_port)/app:1"
  closed="$MESSAGE"
  # One that speaks HTTP, and one that speaks TLS.
  told "127.0.0.1:$ETCD_PORT/app:1"
  [ "$MESSAGE" = "$closed" ]
  told "127.0.0.1:$API_PORT/app:1"
  [ "$MESSAGE" = "$closed" ]
  assert_contains "$closed" "could not be verified"
}

@test "where the requester names any registry, the refusal says that an image is not there, or is not to be had, and no more" {
  own_control_plane "the registries are on this machine"
  namespace any-registry
  told "$REGISTRY/$NAMESPACE/none:1"
  [[ "$MESSAGE" != *http* ]]
  assert_contains "$MESSAGE" "not found"
  told "$PRIVATE_REGISTRY/app:1"
  [[ "$MESSAGE" != *http* ]]
  assert_contains "$MESSAGE" "unauthorized"
}

@test "an image that a listed registry does not have is said not to exist" {
  namespace shipped
  refused evidence-unavailable create ann "$(deployment web "$REGISTRY/$NAMESPACE/none:1")"
  [[ "$output" =~ "not found"|"manifest unknown"|"does not exist" ]]
}
