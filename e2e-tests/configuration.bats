#!/usr/bin/env bats
# The configuration of a project, policies as settings, and --at.

load helpers

setup() {
  unset "${!CONTAINER_PATCH_@}"
  # The search for a configuration stops here.
  mkdir "$BATS_TEST_TMPDIR/project" "$BATS_TEST_TMPDIR/project/.git"
  cd "$BATS_TEST_TMPDIR/project"
}

teardown() {
  if [ -n "${REGISTRY_PID:-}" ]; then
    kill "$REGISTRY_PID"
  fi
}

# check FLAG…: runs the command. Host calls fail.
check() {
  run --separate-stderr "$CONTAINER_PATCH" check --replay-host-capabilities-interactions "$(silence)" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# pod NAME IMAGE [METADATA]: prints the manifest of a pod.
pod_manifest() {
  jq -nc --arg name "$1" --arg image "$2" --argjson metadata "${3:-{\}}" \
    '{apiVersion: "v1", kind: "Pod", metadata: ({name: $name} + $metadata), spec: {containers: [{name: "app", image: $image}]}}'
}

# policies MODE: writes the pair of policies of deploy/ to deploy/, with this mode, for any registry.
policies() {
  mkdir -p deploy
  local name
  for name in pin enforce; do
    sed "s/^  mode: monitor/  mode: $1/; /^    registries:/,/registry.suse.com/d" "$ROOT/deploy/$name.yaml" > "deploy/$name.yaml"
  done
}

verdicts() { jq -r '[.objects[] | "\(.object) \(.verdict)"] | join("; ")' <<< "$output"; }
codes() { jq -r '[.objects[].findings[] | "\(.code) \(.effect)"] | join("; ")' <<< "$output"; }

@test "a folder with the pair of policies judges as a cluster: the cluster's own pods are skipped, the others are denied" {
  policies protect
  { pod_manifest web nginx:latest; pod_manifest dns coredns:latest '{"namespace": "kube-system"}'; } > all.yaml
  check all.yaml --settings-path deploy --output json
  [ "$status" -eq 1 ]
  [ "$(verdicts)" = "Pod default/web denied; Pod kube-system/dns skipped" ]
  [ "$(codes)" = "forbidden-tag deny" ]
  check all.yaml --settings-path deploy
  assert_contains "$output" 'container-patch-pin: container `app`: image `nginx:latest`'
  assert_contains "$output" "to which no policy applies (Pod)"
}

@test "the pair as two files is the pair as a folder, in any order" {
  policies protect
  pod_manifest web nginx:latest > all.yaml
  check all.yaml --settings-path deploy --output json
  local of_folder="$output"
  check all.yaml --settings-path deploy/pin.yaml --settings-path deploy/enforce.yaml --output json
  [ "$output" = "$of_folder" ]
  check all.yaml --settings-path deploy/enforce.yaml --settings-path deploy/pin.yaml --output json
  [ "$output" = "$of_folder" ]
}

@test "policies in monitor mode deny and pin nothing, and are named" {
  policies monitor
  pod_manifest web nginx:latest > all.yaml
  check all.yaml --settings-path deploy --output json
  [ "$status" -eq 0 ]
  [ "$(verdicts)" = "Pod default/web warned" ]
  [ "$(jq -c '.objects[0] | [.messages, .pinned, ([.findings[].passed] | unique), .findings[0].policies]' <<< "$output")" \
    = '[[],[],["mode"],["container-patch-pin","container-patch-enforce"]]' ]
  check all.yaml --settings-path deploy
  assert_contains "$output" 'container-patch-pin (monitor), container-patch-enforce (monitor): container `app`: image `nginx:latest`'
  local hint='All policies are in mode `monitor`, which denies nothing; --fail-on warn fails on their findings'
  assert_contains "$stderr" "$hint"
  check all.yaml --settings-path deploy --quiet
  [[ "$stderr" != *"$hint"* ]]
  check all.yaml --settings-path deploy --fail-on warn
  [ "$status" -eq 1 ]
  [[ "$stderr" != *"$hint"* ]]
  sed -i 's/mode: monitor/mode: protect/' deploy/pin.yaml
  check all.yaml --settings-path deploy
  [[ "$stderr" != *"$hint"* ]]
}

@test "the pinning policy pins the pod before the other policy judges it" {
  policies protect
  pod_manifest web nginx:1 > all.yaml
  local built
  built="$(jq -nc --arg digest "$DIGEST" '{digest: $digest, config: {created: "2026-11-19T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')"
  {
    printf -- '- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: docker.io/library/nginx:1\n  response: {type: Success, payload: %s}\n' "'{\"digest\":\"$DIGEST\"}'"
    printf -- '- type: Exchange\n  request: |\n    !OciManifestAndConfig\n    image: docker.io/library/nginx@%s\n  response: {type: Success, payload: %s}\n' "$DIGEST" "'$built'"
  } > session.yaml
  run --separate-stderr "$CONTAINER_PATCH" check all.yaml --settings-path deploy --at 2026-11-20 --output json \
    --replay-host-capabilities-interactions session.yaml
  echo "$output"
  [ "$(jq -c '.objects[0].pinned' <<< "$output")" = "[\"nginx:1@$DIGEST\"]" ]
  [[ "$(codes)" != *unpinned-image* ]]
  # In monitor mode the first policy pins nothing, so the other one denies the tag.
  sed -i 's/mode: protect/mode: monitor/' deploy/pin.yaml
  check all.yaml --settings-path deploy --output json
  [ "$status" -eq 1 ]
  [ "$(jq -c '.objects[0].pinned' <<< "$output")" = "[]" ]
  assert_contains "$(codes)" "unpinned-image deny"
}

@test "rules, selectors and the namespace of a policy decide which objects it gets" {
  cat > policy.yaml <<POLICY
apiVersion: policies.kubewarden.io/v1
kind: ClusterAdmissionPolicy
metadata: {name: strict}
spec:
  module: registry://registry.example.com/mirror/container-patch-policy:v1
  mutating: false
  rules: [{apiGroups: [""], apiVersions: [v1], resources: ["pods/*"], operations: [CREATE]}]
  namespaceSelector: {matchLabels: {team: shop}}
  objectSelector: {matchExpressions: [{key: legacy, operator: DoesNotExist}]}
  matchConditions: [{name: a, expression: "true"}]
  settings: $QUIET
---
apiVersion: policies.kubewarden.io/v1
kind: AdmissionPolicy
metadata: {name: own, namespace: other}
spec: {module: "registry://ghcr.io/kubewarden/policies/pod-privileged:v1", settings: {}}
POLICY
  {
    echo '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop", "labels": {"team": "shop"}}}'
    echo '{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "blog"}}'
    pod_manifest a nginx:1 '{"namespace": "shop"}'
    pod_manifest b nginx:1 '{"namespace": "blog"}'
    pod_manifest c nginx:1 '{"namespace": "shop", "labels": {"legacy": ""}}'
    pod_manifest d nginx:1 '{"namespace": "unknown"}'
    pod_manifest e nginx:1 '{"namespace": "strange"}'
    jq -nc '{apiVersion: "apps/v1", kind: "Deployment", metadata: {name: "f", namespace: "shop"}, spec: {template: {spec: {containers: [{name: "a", image: "nginx:1"}]}}}}'
  } > all.yaml
  check all.yaml --settings-path policy.yaml --output json
  [ "$status" -eq 1 ]
  [ "$(jq -r '[.objects[] | select(.object | test("Namespace") | not) | "\(.object | split("/")[1]) \(.verdict)"] | join(" ")' <<< "$output")" \
    = "a denied b denied c skipped d denied e denied f skipped" ]
  [ "$(grep -c "the label team of namespaces is unknown, and counts as matched" <<< "$stderr")" -eq 1 ]
  [ "$(grep -c '`matchConditions` are not evaluated, and count as matched: strict' <<< "$stderr")" -eq 1 ]
  [ "$(grep -c "policies of other modules are ignored: other/own" <<< "$stderr")" -eq 1 ]
}

@test "invalid settings are reported with their file" {
  pod_manifest a nginx:1 > a.yaml
  echo 'schedule: {maxAge: 0d}' > settings.yaml
  check a.yaml --settings-path settings.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: cannot use the settings in settings.yaml: "
  assert_contains "$stderr" "schedule.maxAge: "
  assert_contains "$stderr" '`container-patch validate --settings-path settings.yaml` shows the lines'
  echo 'settings: {schedule: {maxAge: 0d}}' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: cannot use the settings in container-patch.yaml: "
  assert_contains "$stderr" '`container-patch validate` shows the lines'
  check a.yaml --settings-json '{"schedule": {"maxAge": "0d"}}'
  assert_contains "$stderr" "Error: cannot use the settings in --settings-json: "
  [[ "$stderr" != *"shows the lines"* ]]
}

@test "errors are annotations for the runner of GitHub Actions, too" {
  pod_manifest a nginx:1 > a.yaml
  echo 'schedule: {maxAge: 0d}' > settings.yaml
  check a.yaml --settings-path settings.yaml --output github
  [ "$status" -eq 2 ]
  [ "$(wc -l <<< "$output")" -eq 1 ]
  assert_contains "$output" "::error title=container-patch::cannot use the settings in settings.yaml: "
  assert_contains "$stderr" "Error: cannot use the settings in settings.yaml: "
  check missing/ --output github
  [ "$status" -eq 2 ]
  assert_contains "$output" "::error "
  mkdir empty
  check empty --output github
  [ "$status" -eq 2 ]
  assert_contains "$output" "::error title=container-patch::no objects in empty"
  echo 'namespace: [shop]' > container-patch.yaml
  check a.yaml --output github
  [ "$status" -eq 2 ]
  [ "$output" = "::error title=container-patch::invalid configuration:%0Acontainer-patch.yaml:1: namespace: expected the name of a namespace, found a list" ]
  check a.yaml --output json
  [ "$output" = "" ]
}

@test "an empty settings file is an error" {
  pod_manifest a nginx:1 > a.yaml
  : > empty.yaml
  check a.yaml --settings-path empty.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "Error: the settings file empty.yaml is empty; write {} for the defaults"
  for command in validate schedule "report a.yaml"; do
    # shellcheck disable=SC2086 # A subcommand with an argument.
    run --separate-stderr "$CONTAINER_PATCH" $command --settings-path empty.yaml
    [ "$status" -eq 2 ]
    # `validate` prints what is wrong with settings to standard output.
    assert_contains "$output$stderr" "the settings file empty.yaml is empty"
  done
}

@test "invalid policies and settings are errors that name the policy" {
  pod_manifest a nginx:1 > a.yaml
  policies protect
  sed -i 's/maxAge: 90d/maxAge: 0d/' deploy/enforce.yaml
  check a.yaml --settings-path deploy
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "policy container-patch-enforce: "
  assert_contains "$stderr" "schedule.maxAge"
  policies audit
  check a.yaml --settings-path deploy
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "invalid policy container-patch-enforce in deploy/enforce.yaml:"
  assert_contains "$stderr" 'spec.mode: unknown value `audit`; expected one of monitor, protect'
  mkdir empty
  check a.yaml --settings-path empty
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "no policies in the folder empty"
}

@test "a configuration is found in the folders above, up to the root of the repository" {
  pod_manifest a nginx:1 > a.yaml
  mkdir -p inner/deep
  echo 'settings: {exempt: ["*"]}' > container-patch.yaml
  cd inner/deep
  check ../../a.yaml
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Using ../../container-patch.yaml, with the settings in it"
  # The next one is used alone.
  echo "settings: $QUIET" > ../container-patch.yaml
  check ../../a.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "Using ../container-patch.yaml, with the settings in it"
  rm ../container-patch.yaml ../../container-patch.yaml
  echo 'settings: {exempt: ["*"]}' > ../../../container-patch.yaml
  check ../../a.yaml
  [ "$status" -ne 0 ]
  assert_contains "$stderr" "Using the default settings"
}

@test "a configuration that any user can write is not used" {
  [ "$(id -u)" -eq 0 ] || skip "only root can create a file of another user"
  pod_manifest a nginx:1 > a.yaml
  echo 'settings: {exempt: ["*"]}' > container-patch.yaml
  chmod 1777 .
  check a.yaml
  [ "$status" -eq 0 ]
  chown 4711 container-patch.yaml
  check a.yaml
  [ "$status" -ne 0 ]
  assert_contains "$stderr" "Warning: container-patch.yaml is not used, because any user can write there; --config uses it"
  check a.yaml --config container-patch.yaml
  [ "$status" -eq 0 ]
}

@test "settingsPath takes a file, a folder or a list, relative to the configuration" {
  policies protect
  pod_manifest a nginx:latest > a.yaml
  mkdir inner
  local paths
  for paths in deploy "[deploy/pin.yaml, deploy/enforce.yaml]" "$PWD/deploy"; do
    echo "settingsPath: $paths" > container-patch.yaml
    (cd inner && check ../a.yaml && [ "$status" -eq 1 ] && assert_contains "$output" "container-patch-pin: container")
  done
  echo "$QUIET" > settings.yaml
  echo "settingsPath: settings.yaml" > container-patch.yaml
  cd inner
  check ../a.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "Using ../container-patch.yaml, with the settings in ../settings.yaml"
}

@test "flags take precedence over the environment, the environment over the configuration: settings" {
  pod_manifest a nginx:1 > a.yaml
  quiet '{"pinning": {"action": "warn"}}' > warn.json
  quiet '{"pinning": {"action": "off"}}' > off.json
  check_verdict() { check a.yaml --output json "${@:2}"; [ "$(verdicts)" = "Pod default/a $1" ]; }
  echo "settings: $QUIET" > container-patch.yaml
  check_verdict denied
  CONTAINER_PATCH_SETTINGS_PATH=warn.json check_verdict warned
  assert_contains "$stderr" "Using container-patch.yaml, with the settings of CONTAINER_PATCH_SETTINGS_PATH"
  CONTAINER_PATCH_SETTINGS_JSON="$(cat off.json)" check_verdict accepted
  CONTAINER_PATCH_SETTINGS_PATH=warn.json check_verdict accepted --settings-path off.json
  CONTAINER_PATCH_SETTINGS_PATH=warn.json check_verdict accepted --settings-json "$(cat off.json)"
  assert_contains "$stderr" "with the settings of --settings-json"
  CONTAINER_PATCH_SETTINGS_JSON="$(cat warn.json)" check_verdict accepted --settings-path off.json
  echo "settingsPath: off.json" > container-patch.yaml
  check_verdict warned --settings-json "$(cat warn.json)"
  check_verdict warned --settings-path warn.json
}

@test "flags take precedence over the environment, the environment over the configuration: namespace" {
  pod_manifest a nginx:1 > a.yaml
  echo "namespace: from-file" > container-patch.yaml
  object() { check a.yaml --output json --settings-json "$QUIET" "$@"; jq -r '.objects[0].object' <<< "$output"; }
  assert_contains "$(object)" "Pod from-file/a"
  assert_contains "$(CONTAINER_PATCH_NAMESPACE=from-env object)" "Pod from-env/a"
  assert_contains "$(CONTAINER_PATCH_NAMESPACE=from-env object --namespace from-flag)" "Pod from-flag/a"
}

@test "flags take precedence over the environment, the environment over the configuration: ignored paths" {
  mkdir vendor
  pod_manifest a nginx:1 | tee a.yaml b.yaml c.yaml > vendor/v.yaml
  echo 'ignore: [a.yaml]' > container-patch.yaml
  sources() { check --recursive . --output json --settings-json "$QUIET" "$@"; echo "sources: $(jq -r '[.objects[].source] | join(" ")' <<< "$output")"; }
  assert_contains "$(sources)" "sources: ./b.yaml:1 ./c.yaml:1 ./vendor/v.yaml:1"
  assert_contains "$(CONTAINER_PATCH_IGNORE="b.yaml,vendor/" sources)" "sources: ./a.yaml:1 ./c.yaml:1"
  assert_contains "$(CONTAINER_PATCH_IGNORE="b.yaml,vendor/" sources --ignore c.yaml --ignore /vendor)" "sources: ./a.yaml:1 ./b.yaml:1"
}

@test "flags take precedence over the environment, the environment over the configuration: exit code" {
  pod_manifest a nginx:1 > a.yaml
  local settings
  settings="$(quiet '{"pinning": {"action": "warn"}}')"
  exits() { check a.yaml --settings-json "$settings" "${@:2}"; [ "$status" -eq "$1" ]; }
  exits 0
  echo "failOn: warn" > container-patch.yaml
  exits 1
  CONTAINER_PATCH_FAIL_ON=deny exits 0
  CONTAINER_PATCH_FAIL_ON=deny exits 1 --fail-on warn
}

@test "flags take precedence over the environment, the environment over the configuration: configuration" {
  pod_manifest a nginx:1 > a.yaml
  echo "namespace: found" > container-patch.yaml
  echo "namespace: given" > given.yaml
  echo "namespace: env" > env.yaml
  object() { check a.yaml --output json --settings-json "$QUIET" "$@"; jq -r '.objects[0].object' <<< "$output"; }
  assert_contains "$(object)" "Pod found/a"
  assert_contains "$(CONTAINER_PATCH_CONFIG=env.yaml object)" "Pod env/a"
  assert_contains "$(CONTAINER_PATCH_CONFIG=env.yaml object --config given.yaml)" "Pod given/a"
  assert_contains "$(CONTAINER_PATCH_CONFIG=env.yaml object --no-config)" "Pod default/a"
  assert_contains "$(CONTAINER_PATCH_NO_CONFIG=1 object)" "Pod default/a"
  assert_contains "$(CONTAINER_PATCH_NO_CONFIG=0 object)" "Pod found/a"
  assert_contains "$(CONTAINER_PATCH_NO_CONFIG=1 object --config given.yaml)" "Pod given/a"
  check a.yaml --config given.yaml --no-config
  [ "$status" -eq 2 ]
}

@test "registries with plain HTTP come from flags, the environment or the configuration" {
  . "$ROOT/hack/registry.bash"
  command -v docker-registry > /dev/null || skip "needs docker-registry"
  # The tests do not use the credentials of the user who runs them.
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/registry"
  mkdir "$DOCKER_CONFIG"
  start_registry "$BATS_TEST_TMPDIR/registry"
  local digest
  digest="$(push_image shop/web 1 "$(date -u +%FT%TZ)")"
  pod_manifest a "$REGISTRY/shop/web:1" > a.yaml
  verdict() { run --separate-stderr "$CONTAINER_PATCH" check a.yaml --output json "$@"; jq -r '.objects[0] | "\(.verdict) \(.pinned[0])"' <<< "$output"; }
  local without
  without="$(verdict)"
  [[ "$without" != *"$digest"* ]]
  assert_contains "$(verdict --insecure-registry "$REGISTRY")" "$digest"
  assert_contains "$(CONTAINER_PATCH_INSECURE_REGISTRY="other.test,$REGISTRY" verdict)" "$digest"
  echo "insecureRegistries: [other.test, '$REGISTRY']" > container-patch.yaml
  assert_contains "$(verdict)" "$digest"
  [ "$(verdict --insecure-registry other.test)" = "$without" ]
}

@test "ignored paths are not read, are named, and are relative to the configuration" {
  mkdir -p k8s/vendor charts
  pod_manifest a nginx:1 > k8s/a.yaml
  echo '{{ .Values }}' | tee charts/t.yaml > k8s/vendor/t.yaml
  printf 'ignore:\n  - vendor/\n  - /charts/*.yaml\nsettings: %s\n' "$QUIET" > container-patch.yaml
  cd k8s
  check --recursive . ../charts/t.yaml --output json
  [ "$status" -eq 1 ]
  [ "$(verdicts)" = "Pod default/a denied" ]
  assert_contains "$stderr" "Ignored: ./vendor, ../charts/t.yaml"
}

@test "a check of ignored files only is a success, since pre-commit names every changed file" {
  mkdir charts
  echo '{{ .Values }}' > charts/t.yaml
  echo 'ignore: [charts/]' > container-patch.yaml
  check charts/t.yaml
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "Ignored: charts/t.yaml"
  check charts
  [ "$status" -eq 0 ]
}

@test "--quiet does not say which configuration is used" {
  pod_manifest a nginx:1 > a.yaml
  echo 'settings: {exempt: ["*"]}' > container-patch.yaml
  check a.yaml --quiet
  [ "$status" -eq 0 ]
  [ "$stderr" = "" ]
}

@test "an invalid configuration is an error with file, line and nearest key" {
  pod_manifest a nginx:1 > a.yaml
  printf '# a comment\nnamespace: [a]\nsetingsPath: deploy\nignore: {}\n' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "container-patch.yaml:2: namespace: expected the name of a namespace, found a list"
  assert_contains "$stderr" 'container-patch.yaml:3: setingsPath: unknown key; did you mean `settingsPath`?'
  assert_contains "$stderr" "container-patch.yaml:4: ignore: expected a list, found an object"
  printf 'a: [\n' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "invalid YAML: line"
  check a.yaml --config missing.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot open the configuration missing.yaml"
  printf 'settingsPath: missing.yaml\n' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot open settings file missing.yaml"
}

@test "empty environment variables count as unset" {
  pod_manifest a nginx:1 > a.yaml
  echo "settings: $QUIET" > container-patch.yaml
  local name
  for name in SETTINGS_PATH SETTINGS_JSON INSECURE_REGISTRY IGNORE NAMESPACE CONFIG NO_CONFIG FAIL_ON; do
    export CONTAINER_PATCH_$name=
  done
  check a.yaml --output json
  [ "$status" -eq 1 ]
  [ "$(verdicts)" = "Pod default/a denied" ]
}

@test "control characters of a configuration and of policies are escaped" {
  pod_manifest a nginx:1 > a.yaml
  printf '"name\\e[31mspace": 1\nfailOn: "\\e[31m"\n' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  [[ "$stderr" != *$'\e'* ]]
  printf 'settingsPath: "missing\\e[31m"\n' > container-patch.yaml
  check a.yaml
  [ "$status" -eq 2 ]
  [[ "$stderr" != *$'\e'* ]]
  printf 'apiVersion: policies.kubewarden.io/v1\nkind: ClusterAdmissionPolicy\nmetadata: {name: "a\\e[31m"}\nspec: {mode: "\\e[31m", settings: {}}\n' > policy.yaml
  check a.yaml --no-config --settings-path policy.yaml
  [ "$status" -eq 2 ]
  [[ "$stderr" != *$'\e'* ]]
  sed -i 's/mode: "[^"]*"/mode: monitor, matchConditions: [{}]/' policy.yaml
  check a.yaml --no-config --settings-path policy.yaml
  assert_contains "$stderr" 'count as matched: a\u{1b}[31m'
  [[ "$stderr$output" != *$'\e'* ]]
}

@test "run does not use the configuration, and has the flags of kwctl" {
  echo "settings: {exempt: ['*']}" > container-patch.yaml
  run --separate-stderr "$CONTAINER_PATCH" run --request-path "$(request v1 Pod "$(pod nginx:1)")" --settings-json "$QUIET" \
    --replay-host-capabilities-interactions "$(silence)"
  [ "$(response .allowed)" = false ]
  [[ "$stderr" != *"Using "* ]]
  run "$CONTAINER_PATCH" run --help
  [[ "$output" != *--config* ]]
}

@test "schedule uses the configuration, and the policy that has a schedule" {
  policies protect
  sed -i 's/maxAge: 90d/maxAge: 33d/' deploy/enforce.yaml
  echo "settingsPath: deploy" > container-patch.yaml
  run --separate-stderr "$CONTAINER_PATCH" schedule --from 2026-11-20 --months 1
  [ "$status" -eq 0 ]
  assert_contains "$output" "Images may be at most 33 days old"
  assert_contains "$stderr" "Using container-patch.yaml, with the settings in deploy"
}

@test "--at asks about another time, without the warning about a fixed time" {
  local image="registry.example.com/shop/web@$DIGEST" settings
  settings='{"schedule": {"patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"}}, "baseImage": {"action": "off"}, "scan": {"action": "off"}}'
  pod_manifest a "$image" > a.yaml
  jq -nr --arg image "$image" --arg answer "$(jq -nc --arg digest "$DIGEST" '{digest: $digest, config: {created: "2026-11-01T00:00:00Z"}, manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json"}}}')" \
    '"- type: Exchange\n  request: |\n    !OciManifestAndConfig\n    image: \($image)\n  response:\n    type: Success\n    payload: \($answer | tojson)"' > session.yaml
  at() {
    run --separate-stderr "$CONTAINER_PATCH" check a.yaml --settings-json "$settings" --output json --replay-host-capabilities-interactions session.yaml "$@"
    echo "$output"
    [ "$(verdicts) $(codes)" = "$expected" ]
  }
  # The patch day after the build is 2026-11-10; 14 days later the image is refused, from midnight in Berlin.
  expected="Pod default/a warned patch-due warn" at --at 2026-11-23
  expected="Pod default/a denied stale-image deny" at --at 2026-11-24
  expected="Pod default/a warned patch-due warn" at --at 2026-11-23T22:59:59Z
  expected="Pod default/a accepted " at --at 2026-11-05
  # It replaces the time of the settings.
  settings="$(jq -c '.evaluateAt = "2027-06-01T00:00:00Z"' <<< "$settings")"
  expected="Pod default/a denied evaluate-at-set warn; stale-image deny" at
  expected="Pod default/a accepted " at --at 2026-11-05
  check a.yaml --settings-json "$QUIET" --at 2027-04-01 --output json
  assert_contains "$stderr" "Judging as of 2027-04-01T00:00:00Z"
  [ "$(jq -r .evaluateAt <<< "$output")" = 2027-04-01T00:00:00Z ]
  check a.yaml --settings-json "$QUIET" --at 2027-04-01 --quiet
  [[ "$stderr" != *"Judging as of"* ]]
  check a.yaml --settings-json "$QUIET" --output json
  [ "$(jq .evaluateAt <<< "$output")" = null ]
  [[ "$stderr" != *"Judging as of"* ]]
  run "$CONTAINER_PATCH" check a.yaml --at tomorrow
  [ "$status" -eq 2 ]
  assert_contains "$output" "expected a day such as 2027-01-04"
}
