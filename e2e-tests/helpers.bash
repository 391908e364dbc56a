# Shared by the suites. They run the policy with kwctl if it is on the PATH (or given as KWCTL=…), else with `container-patch run`. The
# assertions are the same for both.

bats_require_minimum_version 1.7.0

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
DIGEST="sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
CONTAINER_PATCH="${CONTAINER_PATCH:-$ROOT/target/debug/container-patch}"
KWCTL="${KWCTL-$(command -v kwctl || true)}"

# policy_run FLAG…: runs the policy. The response is in $output, logs and errors are in $stderr.
policy_run() {
  if [ -n "$KWCTL" ]; then
    run --separate-stderr "$KWCTL" run "$ROOT/annotated-policy.wasm" "$@"
  else
    run --separate-stderr "$CONTAINER_PATCH" run "$@"
  fi
  # bats prints these lines if an assertion fails.
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# request API_VERSION KIND OBJECT [JQ]: writes a CREATE request for the object, changed by a jq program, and prints the name of the file.
request() {
  local file
  file="$(mktemp "$BATS_TEST_TMPDIR/request.XXXXXX")"
  jq -n --arg apiVersion "$1" --arg kind "$2" --argjson object "$3" '
    ($apiVersion | split("/") | if length == 2 then {group: .[0], version: .[1]} else {group: "", version: .[0]} end) as $gv
    | {
        uid: "5f0f9d4e-7d5c-4a3b-9a55-1d3c0d8a2f10",
        kind: ($gv + {kind: $kind}),
        resource: ($gv + {resource: (($kind | ascii_downcase) + "s")}),
        name: "web", namespace: "shop", operation: "CREATE",
        userInfo: {username: "jane", groups: ["system:authenticated"]},
        object: ({apiVersion: $apiVersion, kind: $kind, metadata: {name: "web", namespace: "shop"}} + $object),
        dryRun: false
      }
    | '"${4:-.}" > "$file"
  echo "$file"
}

# pod IMAGE: prints the fields of a Pod with that image in its only container.
pod() {
  jq -nc --arg image "$1" '{spec: {containers: [{name: "app", image: $image}]}}'
}

# Settings that need no answers from the host: only pinning is on, and it asks a registry only for the digest that it suggests.
QUIET='{"pinning": {"action": "deny"}, "schedule": {"action": "off"}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}'

# quiet [SETTINGS]: prints QUIET, changed by these settings.
quiet() { jq -nc --argjson quiet "$QUIET" --argjson settings "${1:-{\}}" '$quiet * $settings'; }

# silence: prints the name of a session without answers, in which every host call fails.
silence() {
  echo '[]' > "$BATS_TEST_TMPDIR/silence.yml"
  echo "$BATS_TEST_TMPDIR/silence.yml"
}

# judge API_VERSION KIND OBJECT [SETTINGS] [JQ]: runs the policy on a request, with QUIET changed by these settings. Host calls fail.
judge() {
  policy_run --request-path "$(request "$1" "$2" "$3" "${5:-.}")" --settings-json "$(quiet "${4:-{\}}")" \
    --replay-host-capabilities-interactions "$(silence)"
  [ "$status" -eq 0 ]
}

# exchange CALL FIELDS PAYLOAD [TYPE]: adds a host call and its answer to the file SESSION. FIELDS is YAML, with one field per line.
exchange() {
  {
    echo '- type: Exchange'
    echo '  request: |'
    echo "    !$1"
    sed 's/^/    /' <<< "$2"
    echo '  response:'
    echo "    type: ${4:-Success}"
    jq -nr --arg text "$3" --arg key "$([ "${4:-Success}" = Success ] && echo payload || echo message)" '"    \($key): \($text | tojson)"'
  } >> "$SESSION"
}

# masks FIELD…: prints the mask of these fields for `exchange`.
masks() { printf 'field_masks:\n'; printf -- '- %s\n' "$@"; }

response() { jq -r "$1" <<< "$output"; }
message() { response '.status.message // ""'; }
warnings() { response '.warnings // [] | join("\n")'; }
annotation() { response ".auditAnnotations[\"$1\"] // \"\""; }

assert_accepted() {
  [ "$(response .allowed)" = true ]
  [ "$(warnings)" = "" ]
  [ "$(annotation verdict)" = accepted ]
}

# assert_warned CODE…: the request is accepted with exactly these findings.
assert_warned() {
  [ "$(response .allowed)" = true ]
  [ "$(annotation verdict)" = warned ]
  [ "$(annotation findings | jq -r '[.[].code] | join(" ")')" = "$*" ]
  [ "$(response '.warnings | map(capture("\\[(?<code>[a-z-]+)\\]$").code) | join(" ")')" = "$*" ]
}

# assert_denied CODE…: the request is denied with exactly these findings. Each has a line of the message, which ends with its code.
assert_denied() {
  [ "$(response .allowed)" = false ]
  [ "$(annotation verdict)" = denied ]
  [ "$(annotation findings | jq -r '[.[] | select(.effect == "deny").code] | join(" ")')" = "$*" ]
  [ "$(message | sed -n 's/.*\[\([a-z-]*\)\]$/\1/p' | paste -sd' ')" = "$*" ]
}

# assert_contains TEXT PART
assert_contains() {
  if [[ "$1" != *"$2"* ]]; then
    printf 'expected to find: %s\nin:               %s\n' "$2" "$1"
    return 1
  fi
}
