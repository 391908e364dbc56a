# Shared by the tests with a Docker Engine. `engine` starts the engine, the plugin and the registry, and sets environment variables for
# them.

bats_require_minimum_version 1.7.0

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
source "$ROOT/hack/registry.bash"

if [ -z "${FOLDER:-}" ] || [ -z "${CGROUP:-}" ]; then
  echo "Error: there is no engine; run these tests by \`make e2e-swarm\`" >&2
  exit 1
fi
source "$ROOT/e2e-tests/swarm/engine.bash"

# When images are built. At NOW, `fresh` and `newest` images are fresh. At LATER, only `newest` images are.
STALE=2026-01-15T00:00:00Z
FRESH=2026-06-01T00:00:00Z
NEWEST=2026-06-29T00:00:00Z
LATER=2026-09-10T12:00:00Z

# begin_test: sets what tests use.
begin_test() {
  REPOSITORY="$REGISTRY/test-$BATS_SUITE_TEST_NUMBER"
  STACK="stack-$BATS_SUITE_TEST_NUMBER"
  # Where the log of the plugin begins for this test.
  LOGGED="$(wc -l < "$FOLDER/plugin.log")"
}
setup() { begin_test; }

# Each test leaves the engine without services and containers, and the plugin running with the settings of NOW.
teardown() {
  local network
  if ! is_listening; then
    write_settings
    start_plugin
  elif ! diff <(settings) "$FOLDER/settings.json" > "$BATS_TEST_TMPDIR/changed"; then
    reload
  fi
  docker service ls --quiet | xargs -r docker service rm > /dev/null
  docker network ls --quiet --filter label=com.docker.stack.namespace > "$BATS_TEST_TMPDIR/networks"
  while read -r network; do remove_network "$network"; done < "$BATS_TEST_TMPDIR/networks"
  docker ps --all --quiet | xargs -r docker rm --force --volumes > /dev/null
  # The log is printed if the test has failed.
  log . | tail -n 30
}

# remove_network ID: removes a network of a stack, as soon as no task of the stack is attached to it.
remove_network() { wait_until 30 is_removed "$1"; }
is_removed() { docker network rm "$1" || ! docker network inspect "$1"; }

# layer: writes the files of the images, `sleep` and the libraries that it needs, as an archive, and prints its name.
layer() {
  local root="$FOLDER/files" library
  if [ ! -f "$FOLDER/files.tar" ]; then
    mkdir -p "$root/bin"
    cp -L /bin/sleep "$root/bin/sleep"
    while read -r library; do
      mkdir -p "$root$(dirname "$library")"
      cp -L "$library" "$root$library"
    done < <(ldd /bin/sleep | grep -o '/[^ :]*' | grep '\.so' | sort -u)
    tar -C "$root" --owner 0 --group 0 -cf "$FOLDER/files.tar" .
  fi
  echo "$FOLDER/files.tar"
}

# image NAME TAG CREATED: pushes an image for the test, and prints its name. Its containers run until they are stopped.
image() {
  local layer architecture
  layer="$(layer)"
  architecture="$(docker version --format '{{.Server.Arch}}')"
  LAYER="$layer" DOCKER_TYPES=1 push_image "${REPOSITORY#*/}/$1" "$2" "$3" \
    '.config += {Cmd: ["/bin/sleep", "1000"], StopSignal: "SIGKILL"} | .architecture = "'"$architecture"'"' > "$BATS_TEST_TMPDIR/pushed"
  echo "$REPOSITORY/$1:$2"
}
stale() { image "$1" "$2" "$STALE"; }
fresh() { image "$1" "$2" "$FRESH"; }
newest() { image "$1" "$2" "$NEWEST"; }

# body IMAGE [JQ]: prints the body of a request for a container, changed by a jq program.
body() { jq -nc --arg image "$1" '{Image: $image} | '"${2:-.}"; }

# service_body NAME IMAGE [JQ]: prints the body of a request for a service without replicas, changed by a jq program.
service_body() {
  jq -nc --arg name "$1" --arg image "$2" '
    {Name: $name, TaskTemplate: {ContainerSpec: {Image: $image}}, Mode: {Replicated: {Replicas: 0}}} | '"${3:-.}"
}

# pinned IMAGE: prints an image by tag with its digest.
pinned() { echo "$1@$(digest "$1")"; }

# digest IMAGE: prints the digest of an image by tag.
digest() {
  local name="${1#*/}"
  curl -sfI -H 'Accept: application/vnd.docker.distribution.manifest.v2+json' "http://$REGISTRY/v2/${name%:*}/manifests/${name##*:}" \
    | tr -d '\r' | sed -n 's/^[Dd]ocker-[Cc]ontent-[Dd]igest: //p'
}

# pull IMAGE: pulls an image to the engine.
pull() { docker pull --quiet "$1" > /dev/null; }

# client ARG…: runs docker. bats prints the result if an assertion fails.
client() {
  run --separate-stderr docker "$@"
  echo "docker $*"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# engine_call METHOD PATH [FLAG…]: calls the API of the engine with curl. The status of the answer is in $status, its body in $output.
engine_call() {
  local method="$1" path="$2"
  shift 2
  run --separate-stderr curl -s --max-time 60 --path-as-is --unix-socket "${DOCKER_HOST#unix://}" -X "$method" -w '\n%{http_code}' "$@" \
    "http://docker$path"
  status="${output##*$'\n'}"
  output="${output%$'\n'*}"
  echo "$method $path"
  echo "status: $status"
  echo "output: $output"
}

# post PATH BODY [FLAG…]: sends JSON to the engine.
post() {
  local path="$1" body="$2"
  shift 2
  engine_call POST "$path" -H 'Content-Type: application/json' -H 'Expect:' --data-binary "$body" "$@"
}

# assert_refused CODE: the call was refused by the plugin with a message that ends with the code.
assert_refused() {
  [ "$status" -ne 0 ]
  assert_contains "$output$stderr" "authorization denied by plugin container-patch"
  assert_contains "$output$stderr" "[$1]"
}

# assert_denied [TEXT]: the call to the API of the engine was refused by the plugin, with a message that contains the text.
assert_denied() {
  assert_equal 403 "$status"
  assert_contains "$output" "authorization denied by plugin container-patch"
  assert_contains "$output" "${1:-}"
}

# assert_passed: the command has succeeded.
assert_passed() { [ "$status" -eq 0 ]; }

assert_contains() {
  if [[ "$1" != *"$2"* ]]; then
    printf 'expected: … %s …\nfound:    %s\n' "$2" "$1"
    return 1
  fi
}

# assert_equal EXPECTED FOUND
assert_equal() {
  if [ "$1" != "$2" ]; then
    printf 'expected: %s\nfound:    %s\n' "$1" "$2"
    return 1
  fi
}

# assert_nothing_runs: the engine has neither services nor containers.
assert_nothing_runs() {
  assert_equal "" "$(docker service ls --quiet)"
  assert_equal "" "$(docker ps --all --format '{{.Names}} {{.Image}}')"
}

# log JQ…: prints what the plugin has logged since the test began, line by line, filtered by jq. Lines that are no JSON are left out.
log() { tail -n "+$((LOGGED + 1))" "$FOLDER/plugin.log" | jq -cR 'fromjson?' | jq -c "$@"; }

# decisions PATH [JQ]: prints the logged decisions about calls whose path contains a text. In the jq program, `codes` are the findings,
# except for the one about the setting `evaluateAt`, which these tests need.
decisions() {
  log --arg path "$1" '
    def codes: [.annotations.findings[]?.code | select(. != "evaluate-at-set")];
    select(.event == "decision" and (.path | contains($path))) | '"${2:-.}"
}

# wait_until SECONDS COMMAND…: waits until a command succeeds.
wait_until() {
  local attempts="$(($1 * 10))" attempt
  shift
  for attempt in $(seq 1 "$attempts"); do
    if "$@" > /dev/null 2>&1; then return 0; fi
    sleep 0.1
  done
  echo "not within $((attempts / 10)) seconds: $*"
  return 1
}

# move_to TIME: lets the policy judge at another time.
move_to() { reload ".evaluateAt = \"$1\""; }

# reload [JQ]: writes the settings, changed by a jq program, and waits until the plugin has read them.
reload() {
  write_settings "${1:-.}"
  send_hangup reloaded
}

# send_hangup EVENT: sends SIGHUP to the plugin, and waits until it has logged the event once more.
send_hangup() {
  local before
  before="$(events "$1")"
  kill -HUP "$(cat "$FOLDER/plugin.pid")"
  wait_until 10 has_more_events "$1" "$before"
}
events() { jq -cR --arg event "$1" 'fromjson? | select(.event == $event)' "$FOLDER/plugin.log" | wc -l; }
has_more_events() { [ "$(events "$1")" -gt "$2" ]; }

# runs SERVICE DIGEST: whether a container of the service runs, with the image of that digest.
runs() {
  docker ps --filter "label=com.docker.swarm.service.name=$1" --filter status=running --format '{{.ID}}' \
    | xargs -r docker inspect --format '{{.Config.Image}}' | grep -qF "$2"
}

# image_of SERVICE: prints the image of a service.
image_of() { docker service inspect --format '{{.Spec.TaskTemplate.ContainerSpec.Image}}' "$1"; }
