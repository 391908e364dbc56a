#!/usr/bin/env bats
# Requests that attackers write: bodies that the engine does not pass to the plugin, and paths in other spellings.

load helpers

setup_file() {
  # A label of 2 MiB. Spaces after the body have the same effect.
  head -c 2097152 /dev/zero | tr '\0' x > "$BATS_FILE_TMPDIR/long"
}

setup() {
  begin_test
  STALE_IMAGE="$(stale app 0.9)"
  FRESH_IMAGE="$(fresh app 1.0)"
  pull "$STALE_IMAGE"
  pull "$FRESH_IMAGE"
}

@test "a body of 2 MiB is refused, because the engine does not pass it to the plugin" {
  jq -c --rawfile long "$BATS_FILE_TMPDIR/long" '.Labels.long = $long' <<< "$(body "$FRESH_IMAGE")" > "$BATS_TEST_TMPDIR/container"
  post /containers/create "@$BATS_TEST_TMPDIR/container"
  assert_denied '[invalid-request]'
  post /containers/create "@$BATS_TEST_TMPDIR/container" -H 'Transfer-Encoding: chunked'
  assert_denied '[invalid-request]'
  jq -c --rawfile long "$BATS_FILE_TMPDIR/long" '.Labels.long = $long' <<< "$(service_body web "$(pinned "$FRESH_IMAGE")")" \
    > "$BATS_TEST_TMPDIR/service"
  post /services/create "@$BATS_TEST_TMPDIR/service"
  assert_denied '[invalid-request]'
  assert_nothing_runs
}

@test "an update with a body of 2 MiB is refused" {
  client service create --detach --name web "$FRESH_IMAGE"
  assert_passed
  before="$(image_of web)"
  jq -c --rawfile long "$BATS_FILE_TMPDIR/long" '.Labels.long = $long' <<< "$(service_body web "$(pinned "$STALE_IMAGE")")" \
    > "$BATS_TEST_TMPDIR/service"
  for rollback in "" "&rollback=previous"; do
    post "/services/web/update?version=$(docker service inspect --format '{{.Version.Index}}' web)$rollback" "@$BATS_TEST_TMPDIR/service"
    assert_denied '[invalid-request]'
  done
  assert_equal "$before" "$(image_of web)"
}

@test "the longest body that the engine passes is judged, and one byte more is refused" {
  size="$(body "$FRESH_IMAGE" | tr -d '\n' | wc -c)"
  for length in 1048575 1048576; do
    { body "$FRESH_IMAGE" | tr -d '\n'; head -c "$((length - size))" /dev/zero | tr '\0' ' '; } > "$BATS_TEST_TMPDIR/$length"
  done
  post "/containers/create?name=longest" "@$BATS_TEST_TMPDIR/1048575"
  assert_equal 201 "$status"
  post "/containers/create?name=longer" "@$BATS_TEST_TMPDIR/1048576"
  assert_denied '[invalid-request]'
}

@test "truncated JSON and other text are refused" {
  for body in '{"Image": "'"$FRESH_IMAGE"'"' 'hello' '[]' 'null' '""' "$(printf '\xef\xbb\xbf%s' "$(body "$FRESH_IMAGE")")"; do
    post /containers/create "$body"
    assert_denied '[invalid-request]'
    post /services/create "$body"
    assert_denied '[invalid-request]'
  done
  assert_nothing_runs
}

@test "a request without a body is refused" {
  for path in /containers/create /services/create "/services/web/update?version=1" "/services/web/update?version=1&rollback=previous"; do
    engine_call POST "$path" -H 'Content-Type: application/json'
    assert_denied '[invalid-request]'
    engine_call POST "$path"
    assert_denied '[invalid-request]'
  done
}

@test "a body that ends before its length starts nothing" {
  # curl waits for an answer, and gives up after two seconds.
  post "/containers/create?name=truncated" "$(body "$FRESH_IMAGE")" -H 'Content-Length: 5000' --max-time 2
  assert_nothing_runs
  # The engine does not ask the plugin.
  assert_equal "" "$(decisions name=truncated)"
}

@test "a service in a body of another content type is refused" {
  # The engine executes these requests, and does not pass their bodies to the plugin.
  for type in text/plain text/json application/x-www-form-urlencoded 'application/json; charset' ''; do
    for image in "$STALE_IMAGE" "$FRESH_IMAGE"; do
      engine_call POST /services/create -H "Content-Type: $type" --data-binary "$(service_body web "$(pinned "$image")")"
      assert_denied '[invalid-request]'
    done
  done
  assert_nothing_runs
}

@test "JSON is judged whatever its content type is called" {
  for type in 'application/json; charset=utf-8' 'application/json;' APPLICATION/JSON; do
    engine_call POST /containers/create -H "Content-Type: $type" --data-binary "$(body "$STALE_IMAGE")"
    assert_denied '[stale-image]'
    engine_call POST /containers/create -H "Content-Type: $type" --data-binary "$(body "$FRESH_IMAGE")"
    assert_equal 201 "$status"
  done
  # The engine goes by the first of two headers, and shows the last one to the plugin.
  engine_call POST /containers/create -H 'Content-Type: application/json' -H 'Content-Type: text/plain' --data-binary "$(body "$STALE_IMAGE")"
  assert_denied '[stale-image]'
}

@test "a body in chunks is judged" {
  post /containers/create "$(body "$STALE_IMAGE")" -H 'Transfer-Encoding: chunked'
  assert_denied '[stale-image]'
  post /containers/create "$(body "$FRESH_IMAGE")" -H 'Transfer-Encoding: chunked'
  assert_equal 201 "$status"
}

@test "a key that appears twice, in any letter case, is judged as the engine reads it" {
  for body in '{"Image": "FRESH", "Image": "STALE"}' '{"Image": "FRESH", "image": "STALE"}' '{"image": "FRESH", "IMAGE": "STALE"}' \
    '{"Image": "STALE", "image": null}' '{"Image": "STALE"} {"Image": "FRESH"}' '{"\u0049mage": "STALE"}'; do
    body="${body//FRESH/$FRESH_IMAGE}"
    post /containers/create "${body//STALE/$STALE_IMAGE}"
    assert_denied
  done
  assert_nothing_runs
}

@test "every spelling of a path that the engine accepts is judged" {
  for path in /containers/create /v1.41/containers/create /v1.24/containers/create /v1.24.5/containers/create /v1.041/containers/create \
    /containers/%63reate /v1.41/containers%2fcreate /%76%31.41/containers/create '/containers/create?name=web&x=/auth' \
    '/containers/create?#/auth'; do
    post "$path" "$(body "$STALE_IMAGE")"
    assert_denied '[stale-image]'
  done
  for target in http://docker/containers/create http://example.com/v1.41/containers/create https://jane@example.com:1/containers/create; do
    post / "$(body "$STALE_IMAGE")" --request-target "$target"
    assert_denied '[stale-image]'
  done
  assert_nothing_runs
}

@test "spellings of a path that the engine does not accept start nothing" {
  for path in //containers/create /containers//create /v1.41//containers/create /x/../containers/create /containers/create/ \
    /containers/create/auth /v1.999/containers/create /v1/containers/create /vx/containers/create; do
    post "$path" "$(body "$FRESH_IMAGE")"
    [ "$status" -ne 201 ]
  done
  assert_nothing_runs
}

@test "the log of a refused request has no control characters" {
  post "/containers/create?name=%1b%5b31mred%0a" "$(body "$STALE_IMAGE")"
  assert_denied
  run grep -acP '[\x00-\x08\x0b-\x1f\x7f]' "$FOLDER/plugin.log"
  assert_equal 0 "$output"
}
