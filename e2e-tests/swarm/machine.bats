#!/usr/bin/env bats
# What the tests leave behind on the machine. These tests run outside of the namespaces, and start an engine each.

bats_require_minimum_version 1.7.0

ENGINE="$BATS_TEST_DIRNAME/engine"

# machine: prints what an engine could change on the machine.
machine() {
  echo "mounts"
  sort /proc/self/mounts
  echo "network"
  ip -o link | cut -d: -f2 | sort
  iptables-save 2> /dev/null | grep -v '^[#:]' || true
  echo "files"
  find /run/docker /etc/docker /var/lib/docker /run/containerd /var/lib/containerd /run/docker.sock /run/docker.pid /opt/containerd -xdev \
    -printf '%p %s %t\n' 2> /dev/null | sort || true
  echo "cgroups"
  find /sys/fs/cgroup -type d -name 'docker*' 2> /dev/null | sort
  echo "temporary files"
  find "$TMPDIR" | sort
}

setup() {
  # Everything temporary is in this folder.
  export TMPDIR="$BATS_TEST_TMPDIR/temporary" SEEN="$BATS_TEST_TMPDIR/namespace"
  mkdir "$TMPDIR"
  machine > "$BATS_TEST_TMPDIR/before"
}

# workload: prints the commands that start a service and containers, stop none of them, and write down their cgroup and process namespace.
workload() {
  cat <<'BASH'
set -euo pipefail
bats_require_minimum_version() { :; }
BATS_SUITE_TEST_NUMBER=1 BATS_TEST_TMPDIR="$FOLDER"
source "$HELPERS"
setup
image="$(fresh app 1.0)"
docker network create --driver overlay --attachable shop
docker service create --detach --name web --network shop "$image"
wait_until 60 runs web "$(digest "$image")"
docker run --detach --network shop "$image"
docker run --detach --publish 8080 "$image"
echo "$CGROUP" > "$SEEN.cgroup"
readlink /proc/self/ns/pid > "$SEEN"
BASH
}

# assert_nothing_is_left: the machine is as it was before the test, without processes and cgroups of the engine.
assert_nothing_is_left() {
  local process
  assert_equal "" "$(find /sys/fs/cgroup -path "*/$(cat "$SEEN.cgroup")*")"
  machine > "$BATS_TEST_TMPDIR/after"
  diff "$BATS_TEST_TMPDIR/before" "$BATS_TEST_TMPDIR/after"
  for process in /proc/[0-9]*; do
    if [ "$(readlink "$process/ns/pid" 2> /dev/null)" = "$(cat "$SEEN")" ]; then
      echo "still running: $(tr '\0' ' ' < "$process/cmdline")"
      return 1
    fi
  done
}

assert_equal() {
  if [ "$1" != "$2" ]; then
    printf 'expected: %s\nfound:    %s\n' "$1" "$2"
    return 1
  fi
}

@test "the engine and the plugin stop cleanly while services and containers run, and leave nothing behind" {
  HELPERS="$BATS_TEST_DIRNAME/helpers.bash" run "$ENGINE" bash -c "$(workload)" 3>&- 4>&-
  echo "$output"
  [ "$status" -eq 0 ]
  [ -s "$SEEN" ]
  assert_nothing_is_left
}

@test "an interrupted run leaves nothing behind" {
  local wait
  HELPERS="$BATS_TEST_DIRNAME/helpers.bash" "$ENGINE" bash -c "$(workload); sleep 600" > "$BATS_TEST_TMPDIR/log" 2>&1 3>&- 4>&- &
  for wait in $(seq 1 600); do
    if [ -s "$SEEN" ] || ! kill -0 $!; then break; fi
    sleep 0.1
  done
  kill -TERM $!
  local interrupted=0
  wait $! || interrupted=$?
  cat "$BATS_TEST_TMPDIR/log"
  [ "$interrupted" -eq 143 ]
  assert_nothing_is_left
}
