#!/usr/bin/env bats
# Users, whom the engine authenticates by their client certificates.

load helpers

# as USER ARG…: runs docker over TLS with the certificate of a user.
as() {
  local user="$1" folder="$FOLDER/certificates"
  shift
  client --host "$TLS_HOST" --tlsverify --tlscacert "$folder/ca.pem" --tlscert "$folder/$user.pem" --tlskey "$folder/$user.key" "$@"
}

@test "break-glass is for the users in the settings, and not for others" {
  reload '.breakGlass = {users: ["jane"]}'
  stale="$(stale app 1.0)"
  label="container-patch.dev/break-glass=the site is down"
  client service create --detach --name plain --label "$label" "$stale"
  assert_refused stale-image
  as otto service create --detach --name otto --label "$label" "$stale"
  assert_refused stale-image
  as jane service create --detach --name without-reason "$stale"
  assert_refused stale-image
  assert_nothing_runs
  as jane service create --detach --name web --label "$label" "$stale"
  assert_passed
  wait_until 30 runs web "$(digest "$stale")"
  assert_equal "$(printf '%s\n' '[null,false]' '["otto",false]' '["jane",false]' '["jane",true]')" \
    "$(decisions /services/create '[.user, .allowed]')"
  assert_contains "$(decisions /services/create 'select(.allowed)')" "the site is down"
}

@test "break-glass covers the containers of docker run, and updates of services" {
  reload '.breakGlass = {users: ["jane"]}'
  stale="$(stale app 0.9)"
  label="container-patch.dev/break-glass=the site is down"
  as otto run --detach --label "$label" "$stale"
  assert_refused stale-image
  as jane run --detach --label "$label" "$stale"
  assert_passed
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  as otto service update --detach --label-add "$label" --image "$stale" web
  assert_refused stale-image
  as jane service update --detach --label-add "$label" --image "$stale" web
  assert_passed
}

@test "break-glass is off without users in the settings" {
  as jane service create --detach --name web --label "container-patch.dev/break-glass=the site is down" "$(stale app 1.0)"
  assert_refused stale-image
  assert_nothing_runs
}

@test "the log names the user" {
  as jane service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  client service create --detach --name other "$(fresh app 1.0)"
  assert_passed
  assert_equal "$(printf '%s\n' '"jane"' null)" "$(decisions /services/create .user)"
}
