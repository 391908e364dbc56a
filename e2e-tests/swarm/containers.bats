#!/usr/bin/env bats
# Containers, which start the image that is on the engine; and calls that start images in other ways.

load helpers

@test "docker run of a stale image is refused, whether it was pulled before or not" {
  stale="$(stale app 1.0)"
  client run --detach "$stale"
  assert_refused stale-image
  pull "$stale"
  client run --detach "$stale"
  assert_refused stale-image
  assert_nothing_runs
}

@test "docker create of a stale image is refused" {
  stale="$(stale app 1.0)"
  pull "$stale"
  for image in "$stale" "$(pinned "$stale")" "${stale%:*}@$(digest "$stale")"; do
    client create "$image"
    assert_refused stale-image
  done
  assert_nothing_runs
}

@test "docker run of a fresh image pulls it and runs it" {
  fresh="$(fresh app 1.0)"
  client run --rm "$fresh" /bin/sleep 0
  assert_passed
  client run --rm "$(pinned "$fresh")" /bin/sleep 0
  assert_passed
}

@test "the image on the engine is judged, not the one that the registry has at the tag" {
  stale="$(stale app 1.0)"
  pull "$stale"
  fresh app 1.0
  client run --detach "$stale"
  assert_refused stale-image
  pull "$stale"
  client run --rm "$stale" /bin/sleep 0
  assert_passed
}

@test "a stale image is refused under a name that it got on the engine" {
  stale="$(stale app 0.9)"
  fresh="$(fresh app 1.0)"
  pull "$stale"
  pull "$fresh"
  docker tag "$stale" "$fresh"
  client run --detach "$fresh"
  assert_refused stale-image
  docker tag "$stale" example.com/other:1.0
  client run --detach example.com/other:1.0
  assert_refused stale-image
  docker image rm example.com/other:1.0
}

@test "an image that no registry has is refused, unless it is exempt" {
  docker import --change 'CMD ["/bin/sleep", "1000"]' "$(layer)" local/app:1.0
  client run --detach local/app:1.0
  assert_refused local-image
  assert_nothing_runs
  reload '.exempt = ["docker.io/local/*"]'
  client run --rm local/app:1.0 /bin/sleep 0
  assert_passed
  docker image rm local/app:1.0
}

@test "an image that was committed from a container is refused" {
  fresh="$(fresh app 1.0)"
  client create --name base "$fresh"
  assert_passed
  docker commit base local/committed:1.0
  client run --detach local/committed:1.0
  assert_refused local-image
  docker image rm local/committed:1.0
}

@test "the ID of an image is refused with the name to write" {
  fresh="$(fresh app 1.0)"
  pull "$fresh"
  id="$(docker image inspect --format '{{.ID}}' "$fresh")"
  for name in "$id" "${id#sha256:}" "${id:7:12}"; do
    client run --detach "$name"
    assert_refused invalid-reference
    assert_contains "$stderr" "${fresh%:*}@$(digest "$fresh")"
  done
  assert_nothing_runs
}

@test "a container without an image is refused" {
  for body in '{"Image": "", "Cmd": ["/bin/sh"]}' '{"Cmd": ["/bin/sh"]}' '{"Image": null, "Cmd": ["/bin/sh"]}'; do
    post /containers/create "$body"
    assert_denied
  done
  assert_nothing_runs
}

@test "a container that has turned stale can be restarted" {
  client run --detach --name web "$(fresh app 1.0)"
  assert_passed
  move_to "$LATER"
  client restart --time 0 web
  assert_passed
  client exec web /bin/sleep 0
  assert_passed
}

@test "a container that was created and has never run is judged when it starts" {
  client create --name web "$(fresh app 1.0)"
  assert_passed
  move_to "$LATER"
  client start web
  assert_refused stale-image
  client restart web
  assert_refused stale-image
  assert_equal created "$(docker inspect --format '{{.State.Status}}' web)"
}

@test "a container whose image was exchanged during its creation does not run" {
  stale="$(stale app 0.9)"
  fresh="$(fresh app 1.0)"
  pull "$stale"
  pull "$fresh"
  # The name means both images in turn, while containers are created and started by their names.
  ( for _ in $(seq 1 100); do docker tag "$fresh" local/race:1; docker tag "$stale" local/race:1; done ) > "$BATS_TEST_TMPDIR/tags" 2>&1 &
  for number in $(seq 1 40); do
    docker create --name "race-$number" --pull never local/race:1 > "$BATS_TEST_TMPDIR/create-$number" 2>&1 &
    docker start "race-$number" > "$BATS_TEST_TMPDIR/start-$number" 2>&1 || true
  done
  wait
  wait_until 30 has_no_stale_container "$stale"
}

# has_no_stale_container IMAGE: whether no container has this image, and so none runs it.
has_no_stale_container() { [ -z "$(docker ps --all --quiet --filter "ancestor=$1")" ]; }

@test "docker swarm join is refused, because the engine would run what other managers start" {
  client swarm join --token SWMTKN-1-0-0 127.0.0.1:1
  assert_refused unseen-image
}

# build: builds an image from a fresh one with the engine's own builder.
build() {
  mkdir -p "$BATS_TEST_TMPDIR/context"
  printf 'FROM %s\nLABEL team=shop\n' "$1" > "$BATS_TEST_TMPDIR/context/Dockerfile"
  DOCKER_BUILDKIT=0 client build --tag local/built:1.0 "$BATS_TEST_TMPDIR/context"
}

@test "docker build is refused, unless the plugin is told to allow it" {
  fresh="$(fresh app 1.0)"
  pull "$fresh"
  build "$fresh"
  assert_refused unseen-image
  # The other builder of the engine gets its calls over this one.
  engine_call POST /grpc -H 'Connection: Upgrade' -H 'Upgrade: h2c'
  assert_denied '[unseen-image]'
  stop_plugin
  start_plugin --allow build
  build "$fresh"
  assert_passed
  docker image rm local/built:1.0
  stop_plugin
  start_plugin
}

@test "plugins of the engine are judged as images" {
  stale="$(stale plugin 1.0)"
  post "/plugins/pull?remote=$stale" '[]'
  assert_denied
  post "/plugins/pull?remote=$(pinned "$stale")" '[]'
  assert_denied '[stale-image]'
  post "/plugins/driver/upgrade?remote=$(pinned "$stale")" '[]'
  assert_denied '[stale-image]'
  engine_call POST "/plugins/create?name=driver" -H 'Content-Type: application/x-tar' --data-binary "@$(layer)"
  assert_denied '[unseen-image]'
  assert_equal "" "$(docker plugin ls --quiet)"
}

@test "calls that start nothing pass without a decision" {
  stale="$(stale app 1.0)"
  pull "$stale"
  docker tag "$stale" "$REPOSITORY/app:copy"
  docker push --quiet "$REPOSITORY/app:copy"
  docker image rm "$REPOSITORY/app:copy"
  docker network create other
  docker network rm other
  docker volume create other
  docker volume rm other
  docker ps
  docker node ls
  assert_equal "" "$(decisions /)"
}
