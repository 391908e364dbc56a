#!/usr/bin/env bats
# The life of the plugin: killed, stopped, started again, with other settings, and under load.

load helpers

@test "the engine refuses every call while the plugin is dead, and works again when it is back" {
  fresh="$(fresh app 1.0)"
  pull "$fresh"
  stop_plugin KILL
  SECONDS=0
  # The engine tries to reach the plugin for 15 seconds.
  post "/containers/create?name=dead" "$(body "$fresh")" &
  post /services/create "$(service_body dead "$(pinned "$fresh")")" &
  engine_call GET /containers/json
  assert_equal 500 "$status"
  assert_contains "$output" "plugin container-patch failed"
  wait
  [ "$SECONDS" -le 30 ]
  start_plugin
  assert_nothing_runs
  client run --rm "$fresh" /bin/sleep 0
  assert_passed
}

@test "a call that waits for the plugin is judged when it is back" {
  stale="$(stale app 0.9)"
  fresh="$(fresh app 1.0)"
  pull "$stale"
  pull "$fresh"
  stop_plugin KILL
  curl -s --unix-socket "${DOCKER_HOST#unix://}" -H 'Content-Type: application/json' -d "$(body "$stale")" \
    "http://docker/containers/create?name=stale" > "$BATS_TEST_TMPDIR/stale" 3>&- 4>&- &
  curl -s --unix-socket "${DOCKER_HOST#unix://}" -H 'Content-Type: application/json' -d "$(body "$fresh")" \
    "http://docker/containers/create?name=fresh" > "$BATS_TEST_TMPDIR/fresh" 3>&- 4>&- &
  sleep 1
  start_plugin
  wait_until 20 test -s "$BATS_TEST_TMPDIR/stale"
  wait_until 20 test -s "$BATS_TEST_TMPDIR/fresh"
  assert_contains "$(cat "$BATS_TEST_TMPDIR/stale")" "[stale-image]"
  assert_equal fresh "$(docker ps --all --format '{{.Names}}')"
}

@test "the plugin stops cleanly on SIGTERM, and leaves no socket" {
  stop_plugin
  start_plugin
  kill -TERM "$PLUGIN"
  wait "$PLUGIN"
  [ ! -e "$PLUGIN_SOCKET" ]
}

@test "settings are read again on SIGHUP, and the earlier ones stay in force if the new ones are invalid" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name before "$fresh"
  assert_passed
  move_to "$LATER"
  client service create --detach --name after "$fresh"
  assert_refused stale-image
  echo '{"schedule": {"maxAge": "soon"}}' > "$FOLDER/settings.json"
  send_hangup reload-failed
  client service create --detach --name after "$fresh"
  assert_refused stale-image
  echo '{' > "$FOLDER/settings.json"
  send_hangup reload-failed
  client service create --detach --name after "$fresh"
  assert_refused stale-image
  assert_contains "$(log 'select(.event == "reload-failed")' | head -n 1)" maxAge
}

@test "the engine keeps what runs when it starts again" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web "$fresh"
  assert_passed
  wait_until 30 runs web "$(digest "$fresh")"
  move_to "$LATER"
  stop_engine
  start_engine
  # Swarm starts its tasks without a call of the API, so the plugin is not asked.
  wait_until 60 runs web "$(digest "$fresh")"
  assert_equal "" "$(decisions /containers/create)"
}

@test "the engine does not start without the plugin" {
  stop_engine
  stop_plugin
  run start_engine
  [ "$status" -ne 0 ]
  assert_contains "$(tail -n 1 "$FOLDER/engine.log")" "failed to validate authorization plugin"
  start_plugin
  start_engine
}

@test "200 creates at a time get the right verdicts, and none is lost" {
  stale="$(stale app 0.9)"
  fresh="$(fresh app 1.0)"
  pull "$stale"
  pull "$fresh"
  # create PATH BODY: prints the status, and whether the image is the stale one.
  create() {
    local answer
    answer="$(curl -s --max-time 120 --unix-socket "${DOCKER_HOST#unix://}" -H 'Content-Type: application/json' -d "$2" \
      -w '%{http_code}' -o "$BATS_TEST_TMPDIR/answer-$BASHPID" "http://docker$1")"
    echo "$answer $(grep -q 'app:0\.9' <<< "$2" && echo stale || echo fresh)" >> "$BATS_TEST_TMPDIR/answers"
  }
  stale_service="$(service_body NAME "$(pinned "$stale")")"
  fresh_service="$(service_body NAME "$(pinned "$fresh")")"
  stale_container="$(body "$stale")"
  fresh_container="$(body "$fresh")"
  for number in $(seq 1 50); do
    create "/containers/create?name=stale-$number" "$stale_container" &
    create "/containers/create?name=fresh-$number" "$fresh_container" &
    create /services/create "${stale_service/NAME/stale-$number}" &
    create /services/create "${fresh_service/NAME/fresh-$number}" &
  done
  wait
  assert_equal "$(printf '    100 201 fresh\n    100 403 stale')" "$(sort "$BATS_TEST_TMPDIR/answers" | uniq -c)"
  assert_equal "$(seq -f 'fresh-%.0f' 1 50 | sort)" "$(docker ps --all --format '{{.Names}}' | sort)"
  assert_equal "$(seq -f 'fresh-%.0f' 1 50 | sort)" "$(docker service ls --format '{{.Name}}' | sort)"
  assert_equal 100 "$(grep -l '\[stale-image\]' "$BATS_TEST_TMPDIR"/answer-* | wc -l)"
  assert_equal "100 100" "$(decisions /create .allowed | sort | uniq -c | awk '{print $1}' | xargs)"
}

@test "the metrics count decisions and calls" {
  client service create --detach --name web "$(stale app 1.0)"
  assert_refused stale-image
  metrics="$(curl -sf http://127.0.0.1:9464/metrics)"
  [ "$(grep -c '^container_patch_swarm_decisions_total{.*denied.*} [1-9]' <<< "$metrics")" -ge 1 ]
}
