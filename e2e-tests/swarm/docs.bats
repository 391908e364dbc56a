#!/usr/bin/env bats
# The commands at the beginning of docs/swarm.md, with an engine and a plugin that they start themselves.

load helpers

setup_file() {
  stop_engine
  stop_plugin
}

teardown_file() {
  kill "$(cat "$FOLDER/docs-engine.pid")" "$(cat "$FOLDER/docs-plugin.pid")" 2> /dev/null || true
  wait_until 30 has_ended "$(cat "$FOLDER/docs-engine.pid")"
  wait_until 30 has_ended "$(cat "$FOLDER/docs-plugin.pid")"
  start_plugin
  start_engine
}

# The services of this test are in the engine of the docs.
teardown() { tail -n 5 "$FOLDER"/docs-*.log; }

# block: prints the first console block of docs/swarm.md.
block() { awk '/^```console/ { inside = 1; next } /^```/ && inside { exit } inside' "$ROOT/docs/swarm.md"; }

# in_background NAME COMMAND…: starts a program of the docs, with what an engine in a test needs.
in_background() {
  local name="$1"
  shift
  # Bats waits until its file descriptors 3 and 4 are closed.
  "$@" > "$FOLDER/docs-$name.log" 2>&1 3>&- 4>&- &
  echo "$!" > "$FOLDER/docs-$name.pid"
}

@test "the commands of the docs lead to a refused stale service" {
  local commands=0 line
  ago() { date -u -d "$1 days ago" +%FT%TZ; }
  push_image shop/web 1.4 "$(ago 3)"
  push_image shop/cart 2.0 "$(ago 142)"
  # The engine and the plugin of the docs have their default places, which are empty in the namespaces of the test.
  unset DOCKER_HOST
  export CONTAINER_PATCH_INSECURE_REGISTRY="$REGISTRY"
  while read -r line; do
    case "$line" in
      '$ container-patch swarm-authz &')
        in_background plugin "$CONTAINER_PATCH" swarm-authz
        wait_until 60 is_listening
        ;;
      '$ dockerd --authorization-plugin container-patch &')
        in_background engine dockerd --authorization-plugin container-patch --cgroup-parent "/$CGROUP" \
          --exec-opt native.cgroupdriver=cgroupfs --config-file "$FOLDER/daemon.json"
        wait_until 60 docker info
        ;;
      '$ '*)
        run bash -c "${line#$ }"
        echo "$output"
        ;;
      *)
        [ "$status" -eq 1 ]
        # Dates and digests are not those of the docs.
        assert_equal "$(without_facts <<< "$line")" "$(without_facts <<< "$output")"
        continue
        ;;
    esac
    commands=$((commands + 1))
  done < <(block | sed "s#registry.example.com#$REGISTRY#g")
  assert_equal 5 "$commands"
  assert_equal web "$(docker service ls --format '{{.Name}}')"
}

# without_facts: leaves digests, dates and numbers of days out of the text on standard input.
without_facts() { sed -E 's/sha256:([0-9a-f]+|…)/DIGEST/g; s/[0-9]{4}-[0-9]{2}-[0-9]{2}/DATE/g; s/[0-9]+ days ago/DAYS/g'; }
