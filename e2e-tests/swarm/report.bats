#!/usr/bin/env bats
# container-patch report --swarm: services and tasks of a real Docker Engine.

load helpers

# report FLAG…: runs the command with the settings of the plugin.
report() {
  local output_flags=(--output json)
  [[ "$*" != *--output* ]] || output_flags=()
  run --separate-stderr "$CONTAINER_PATCH" report --swarm --settings-path "$FOLDER/settings.json" --insecure-registry "$REGISTRY" \
    "${output_flags[@]}" "$@"
  printf 'status: %s\noutput: %.3000s\nstderr: %.1000s\n' "$status" "$output" "$stderr"
}

# stack IMAGE: writes a stack file with a service in each mode, and prints its name.
stack() {
  printf 'version: "3.8"\nservices:\n  web: {image: "%s"}\n  agent: {image: "%s", deploy: {mode: global, labels: {tier: node}}}\n' "$1" "$1" \
    > "$BATS_TEST_TMPDIR/stack.yaml"
  echo "$BATS_TEST_TMPDIR/stack.yaml"
}

# uses: prints what the report says about the use of each image.
uses() { jq -c '[.images[] | [.digest, .verdict, [.usedBy[] | [.kind, .name, .declared, .pods]]]]' <<< "$output"; }

@test "services are reported with the digests that their tasks run" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web --replicas 2 "$fresh"
  assert_passed
  client service create --detach --name job --mode replicated-job "$fresh"
  assert_passed
  client service create --detach --name none --replicas 0 "$(newest app 1.1)"
  assert_passed
  wait_until 30 reports '.images[].usedBy[] | select(.name == "web" and .pods == 2)'
  wait_until 30 reports '.images[].usedBy[] | select(.name == "job" and .pods == 1)'
  report
  [ "$status" -eq 0 ]
  assert_equal "[[\"$(digest "$fresh")\",\"accepted\",[[\"Service\",\"job\",true,1],[\"Service\",\"web\",true,2]]],[\"$(digest "${fresh%:*}:1.1")\",\"accepted\",[[\"Service\",\"none\",true,0]]]]" "$(uses)"
  assert_equal '["swarm",[],[]]' "$(jq -c '[.scope, .drift.services, .failures]' <<< "$output")"
  # As of another day, the image of the running service is past its deadline.
  report --at "$LATER"
  [ "$status" -eq 1 ]
  assert_equal '[["denied",["stale-image"]],["accepted",[]]]' "$(jq -c '[.images[] | [.verdict, [.findings[].code]]]' <<< "$output")"
  report --output html
  assert_contains "$output" "Images of the swarm"
  report --output openmetrics
  assert_contains "$output" 'container_patch_images{verdict="accepted"} 2'
}

# reports JQ: whether the report has something.
reports() {
  "$CONTAINER_PATCH" report --swarm --settings-path "$FOLDER/settings.json" --insecure-registry "$REGISTRY" --output json | jq -e "$1"
}

@test "a service in an update runs another image than it declares" {
  old="$(fresh app 1.0)"
  new="$(newest app 1.1)"
  client service create --detach --name web --replicas 2 --update-delay 1h "$old"
  assert_passed
  wait_until 30 reports '.images[].usedBy[] | select(.name == "web" and .pods == 2)'
  client service update --detach --image "$new" web
  assert_passed
  wait_until 60 reports '.drift.services[].images[] | select(.declared and .tasks == 1)'
  report
  assert_equal "[[\"$(digest "$new")\",true,1],[\"$(digest "$old")\",false,1]]" \
    "$(jq -c '[.drift.services[] | select(.service == "Service web").images[] | [.digest, .declared, .tasks]]' <<< "$output")"
  report --output text
  assert_contains "$output" "Service web runs another image than it declares:"
}

@test "the services of a stack are selected by its name, and by the labels of services" {
  client stack deploy --compose-file "$(stack "$(fresh app 1.0)")" shop
  assert_passed
  client service create --detach --name other --replicas 0 "$(newest other 1.0)"
  assert_passed
  report --stack shop
  assert_equal '["shop_agent","shop_web"]' "$(jq -c '[.images[].usedBy[].name]' <<< "$output")"
  assert_equal '["container `agent`","container `web`"]' "$(jq -c '[.images[].usedBy[].container]' <<< "$output")"
  report --selector tier=node
  assert_equal '["shop_agent"]' "$(jq -c '[.images[].usedBy[].name]' <<< "$output")"
}

@test "the digest of an image by tag is that of the image on the node" {
  # The plugin refuses images without a digest where the settings pin images.
  reload '.pinning.action = "warn"'
  old="$(fresh app 1.0)"
  old_digest="$(digest "$old")"
  client service create --detach --no-resolve-image --name web "$old"
  assert_passed
  wait_until 30 reports '.images[].usedBy[] | select(.name == "web" and .pods == 1)'
  newest app 1.0
  report
  assert_equal "[[\"$old_digest\",[[false,1]]],[\"$(digest "$old")\",[[true,0]]]]" \
    "$(jq -c '[.images[] | [.digest, [.usedBy[] | [.declared, .pods]]]]' <<< "$output")"
  assert_equal '[]' "$(jq -c .failures <<< "$output")"
}

@test "an engine is asked over TLS with the certificates of the docker CLI" {
  client service create --detach --name web --replicas 0 "$(fresh app 1.0)"
  assert_passed
  mkdir "$BATS_TEST_TMPDIR/certificates"
  cp "$FOLDER/certificates/ca.pem" "$BATS_TEST_TMPDIR/certificates/ca.pem"
  cp "$FOLDER/certificates/jane.pem" "$BATS_TEST_TMPDIR/certificates/cert.pem"
  cp "$FOLDER/certificates/jane.key" "$BATS_TEST_TMPDIR/certificates/key.pem"
  report --docker-host "$TLS_HOST" --docker-cert-path "$BATS_TEST_TMPDIR/certificates"
  [ "$status" -eq 0 ]
  assert_equal '["web"]' "$(jq -c '[.images[].usedBy[].name]' <<< "$output")"
  DOCKER_HOST="$TLS_HOST" DOCKER_TLS_VERIFY=1 DOCKER_CERT_PATH="$BATS_TEST_TMPDIR/certificates" report
  [ "$status" -eq 0 ]
  report --docker-host "$TLS_HOST"
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "tcp://127.0.0.1:2376 expects TLS"
  # The CA of the engine is not one of the system.
  rm "$BATS_TEST_TMPDIR/certificates/ca.pem"
  report --docker-host "$TLS_HOST" --docker-cert-path "$BATS_TEST_TMPDIR/certificates"
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "certificate"
}
