#!/usr/bin/env bats
# Services and stacks, deployed with docker.

load helpers

# stack IMAGE: writes a stack file with one service, and prints its name.
stack() {
  cat > "$BATS_TEST_TMPDIR/stack.yaml" <<YAML
version: "3.8"
services:
  web:
    image: $1
YAML
  echo "$BATS_TEST_TMPDIR/stack.yaml"
}

@test "a service with a stale image is refused, and nothing runs" {
  stale="$(stale app 1.0)"
  client service create --detach --name web "$stale"
  assert_refused stale-image
  assert_contains "$stderr" "$stale@$(digest "$stale")"
  assert_contains "$stderr" "was built 2026-01-15"
  assert_nothing_runs
  assert_equal '[false,"denied",["stale-image"]]' "$(decisions /services/create '[.allowed, .annotations.verdict, codes]')"
}

@test "a service with a fresh image runs" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web "$fresh"
  assert_passed
  wait_until 30 runs web "$(digest "$fresh")"
  assert_equal '[true,[]]' "$(decisions /services/create '[.allowed, codes]')"
}

@test "a stack with a stale image is refused, and nothing runs" {
  client stack deploy --compose-file "$(stack "$(stale app 1.0)")" "$STACK"
  assert_refused stale-image
  assert_nothing_runs
}

@test "a stack with a fresh image runs" {
  fresh="$(fresh app 1.0)"
  client stack deploy --compose-file "$(stack "$fresh")" "$STACK"
  assert_passed
  wait_until 30 runs "${STACK}_web" "$(digest "$fresh")"
}

@test "a stack cannot be changed to a stale image" {
  client stack deploy --compose-file "$(stack "$(fresh app 1.0)")" "$STACK"
  assert_passed
  before="$(image_of "${STACK}_web")"
  client stack deploy --compose-file "$(stack "$(stale app 0.9)")" "$STACK"
  assert_refused stale-image
  assert_equal "$before" "$(image_of "${STACK}_web")"
}

@test "docker pins services by itself, and an image by tag is refused with the digest to use" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name pinned "$fresh"
  assert_passed
  assert_equal "$(pinned "$fresh")" "$(image_of pinned)"
  client service create --detach --no-resolve-image --name web "$fresh"
  assert_refused unpinned-image
  assert_contains "$stderr" "$(digest "$fresh")"
  # Up to version 1.29 of the API, the engine resolves the tag, and does so after it has asked the plugin.
  post /v1.29/services/create "$(service_body web "$fresh")"
  assert_denied '[unpinned-image]'
}

@test "a service that has turned stale can be scaled and labelled, with a warning in the log" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web "$fresh"
  assert_passed
  move_to "$LATER"
  client service scale --detach web=2
  assert_passed
  client service update --detach --label-add team=shop web
  assert_passed
  assert_equal "$(printf '[true,"warned",["stale-image"]]\n%.0s' 1 2)" \
    "$(decisions /update '[.allowed, .annotations.verdict, codes]')"
  assert_equal '2 map[team:shop]' "$(docker service inspect --format '{{.Spec.Mode.Replicated.Replicas}} {{.Spec.Labels}}' web)"
}

@test "a service that has turned stale can be removed, and cannot be created again" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web "$fresh"
  assert_passed
  move_to "$LATER"
  client service rm web
  assert_passed
  client service create --detach --name web "$fresh"
  assert_refused stale-image
}

@test "an update to a stale image is refused, and the service keeps its image" {
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  before="$(image_of web)"
  client service update --detach --image "$(stale app 0.9)" web
  assert_refused stale-image
  assert_equal "$before" "$(image_of web)"
}

@test "an update with --force is judged" {
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  client service update --detach --force --image "$(stale app 0.9)" web
  assert_refused stale-image
  move_to "$LATER"
  # The image is the same as before, although the tasks are replaced.
  client service update --detach --force web
  assert_passed
  assert_equal '[true,["stale-image"]]' "$(decisions /update '[.allowed, codes]' | tail -n 1)"
}

@test "a service that has turned stale can be updated to a fresh image" {
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  move_to "$LATER"
  newest="$(newest app 1.1)"
  client service update --detach --image "$newest" web
  assert_passed
  wait_until 30 runs web "$(digest "$newest")"
}

@test "a rollback to an image that has turned stale is refused" {
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  client service update --detach --image "$(newest app 1.1)" web
  assert_passed
  move_to "$LATER"
  before="$(image_of web)"
  client service rollback --detach web
  assert_refused stale-image
  client service update --detach --rollback web
  assert_refused stale-image
  assert_equal "$before" "$(image_of web)"
}

@test "a rollback to a fresh image passes" {
  fresh="$(fresh app 1.0)"
  client service create --detach --name web "$fresh"
  assert_passed
  client service update --detach --image "$(newest app 1.1)" web
  assert_passed
  client service rollback --detach web
  assert_passed
  assert_equal "$(pinned "$fresh")" "$(image_of web)"
}

@test "an update is judged, however the request names the service" {
  client service create --detach --name web "$(fresh app 1.0)"
  assert_passed
  stale="$(pinned "$(stale app 0.9)")"
  id="$(docker service inspect --format '{{.ID}}' web)"
  version="$(docker service inspect --format '{{.Version.Index}}' web)"
  for name in web "$id" "${id:0:5}" %77eb; do
    post "/services/$name/update?version=$version" "$(service_body web "$stale")"
    assert_denied '[stale-image]'
  done
}

@test "services of each mode are judged" {
  stale="$(stale app 1.0)"
  for mode in replicated global replicated-job global-job; do
    client service create --detach --name "$mode" --mode "$mode" "$stale"
    assert_refused stale-image
  done
  assert_nothing_runs
}

@test "the images of volumes and plugins in a service are judged" {
  stale="$(pinned "$(stale app 0.9)")"
  post /services/create "$(service_body web "$(pinned "$(fresh app 1.0)")" \
    ".TaskTemplate.ContainerSpec.Mounts = [{Type: \"image\", Source: \"$stale\", Target: \"/data\"}]")"
  assert_denied '[stale-image]'
  post /services/create "$(service_body web "" \
    ".TaskTemplate = {Runtime: \"plugin\", PluginSpec: {Name: \"driver\", Remote: \"$stale\"}}")"
  assert_denied '[stale-image]'
  assert_nothing_runs
}

@test "a label that looks like a record of a digest does not pin an image" {
  fresh="$(fresh app 1.0)"
  client service create --detach --no-resolve-image --name web --label "pin.container-patch.dev/web=$(pinned "$fresh")" \
    --container-label "pin.container-patch.dev/web=$(pinned "$fresh")" "$fresh"
  assert_refused unpinned-image
}

@test "a service is refused if its registry does not answer" {
  digest="$(digest "$(fresh app 1.0)")"
  # Nothing listens on this port.
  client service create --detach --no-resolve-image --name web "127.0.0.1:9/app:1.0@$digest"
  assert_refused evidence-unavailable
  assert_nothing_runs
}
