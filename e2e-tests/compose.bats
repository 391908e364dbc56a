#!/usr/bin/env bats
# Compose files and stack files in container-patch check, check --fix and report. The registry is a real one on loopback.

load helpers

setup_file() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  mkdir -p "$BATS_FILE_TMPDIR/registry"
  start_registry "$BATS_FILE_TMPDIR/registry"
  export REGISTRY REGISTRY_PID
  export FRESH_DIGEST OLD_DIGEST
  FRESH_DIGEST="$(push_image shop/web fresh 2026-11-10T00:00:00Z)"
  OLD_DIGEST="$(push_image shop/web old 2026-07-01T00:00:00Z)"
}

teardown_file() { kill "$REGISTRY_PID"; }

setup() {
  source "$BATS_TEST_DIRNAME/../hack/registry.bash"
  export DOCKER_CONFIG="$BATS_TEST_TMPDIR/docker"
  mkdir -p "$DOCKER_CONFIG" "$BATS_TEST_TMPDIR/work"
  echo '{}' > "$DOCKER_CONFIG/config.json"
  cd "$BATS_TEST_TMPDIR/work"
  WEB="$REGISTRY/shop/web"
}

# Images need a digest, and are too old after 90 days. The time is 2026-11-20, noon.
AT=2026-11-20T12:00:00Z
SETTINGS='{"pinning": {"action": "deny"}, "schedule": {"action": "deny", "maxAge": "90d"},
  "baseImage": {"action": "off"}, "scan": {"action": "off"}}'

# check FLAG…: checks files with SETTINGS, unless the flags give others.
check() {
  local settings=(--settings-json "$SETTINGS")
  [[ "$*" == *--settings* ]] && settings=()
  run --separate-stderr "$CONTAINER_PATCH" check "${settings[@]}" --at "$AT" --insecure-registry "$REGISTRY" --policy-timeout 60 "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# objects: prints the verdict, name, place and findings of each object of the JSON output.
objects() { jq -r '.objects[] | "\(.verdict) \(.name) \(.file):\(.line) \([.findings[] | "\(.code)@\(.line):\(.column)"] | join(" "))"' <<< "$output"; }

# assert_objects LINE…: the JSON output has exactly these objects.
assert_objects() {
  if [ "$(objects)" != "$(printf '%s\n' "$@")" ]; then
    printf 'expected: %s\n' "$@"
    objects
    return 1
  fi
}

@test "the services of a Compose file are judged, each at the place of its image" {
  cat > compose.yaml <<EOF
name: shop
services:
  web: # the shop
    image: $WEB:fresh@$FRESH_DIGEST
  stale:
    image: '$WEB:old@$OLD_DIGEST'
  tag: {image: $WEB:fresh}
EOF
  check compose.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "ComposeService default/stale  container \`stale\`: image \`$WEB:old@"
  assert_contains "$output" "compose.yaml:5"
  assert_contains "$output" "3 objects judged: 1 accepted, 2 denied"
  check --output json compose.yaml
  assert_objects "accepted web compose.yaml:3 " "denied stale compose.yaml:5 stale-image@6:12" "denied tag compose.yaml:7 unpinned-image@7:16"
  [ "$(jq -r '.objects[0] | "\(.apiVersion) \(.kind) \(.namespace)"' <<< "$output")" = "compose ComposeService default" ]
  check --output sarif compose.yaml
  [ "$(jq -r '.runs[0].results[] | select(.ruleId == "stale-image") | .locations[0].physicalLocation.region | "\(.startLine):\(.startColumn)"' <<< "$output")" = 6:12 ]
  check --output junit compose.yaml
  assert_contains "$output" '<testcase name="ComposeService default/stale"'
  check --namespace shop --output github compose.yaml
  assert_contains "$output" "::error file=compose.yaml,line=6,col=12,"
  assert_contains "$output" "ComposeService shop/stale"
}

@test "a stack file, a file of any name, JSON, a folder and standard input are read" {
  printf 'version: "3.8"\nservices:\n  a: {image: %s, deploy: {replicas: 2}}\n' "$WEB:old@$OLD_DIGEST" > stack.yml
  check stack.yml
  [ "$status" -eq 1 ]
  jq -nc --arg image "$WEB:old@$OLD_DIGEST" '{services: {b: {image: $image}}}' > b.json
  check --output json .
  assert_objects "denied b ./b.json:1 stale-image@1:27" "denied a ./stack.yml:3 stale-image@3:14"
  run --separate-stderr "$CONTAINER_PATCH" check --settings-json "$SETTINGS" --at "$AT" --insecure-registry "$REGISTRY" --output json - < stack.yml
  [ "$status" -eq 1 ]
  assert_objects "denied a <stdin>:3 stale-image@3:14"
}

@test "an object of Kubernetes with services is judged as an object of Kubernetes, and other files with services are skipped" {
  cat > pod.yaml <<EOF
apiVersion: v1
kind: Pod
metadata: {name: hidden}
services: {web: {image: $WEB:fresh@$FRESH_DIGEST}}
spec: {containers: [{name: app, image: $WEB:old@$OLD_DIGEST}]}
---
services: {web: {image: $WEB:old@$OLD_DIGEST}}
---
kind: Pod
services: {web: {image: $WEB:fresh@$FRESH_DIGEST}}
spec: {containers: [{name: app, image: $WEB:old@$OLD_DIGEST}]}
EOF
  check --output json pod.yaml
  [ "$status" -eq 1 ]
  assert_objects "denied hidden pod.yaml:1 stale-image@5:40" "denied web pod.yaml:7 stale-image@7:25" "failed null pod.yaml:9 "
  printf 'services: {web: {port: 80, image: {repository: a}}}\n' > values.yaml
  check values.yaml
  [ "$status" -eq 0 ]
  assert_contains "$output" "1 skipped: not a Kubernetes object"
}

@test "variables have the values of the environment, of .env and of their defaults, in this order" {
  # shellcheck disable=SC2016
  printf 'services:\n  a: {image: "%s:${TAG:-fresh}@${DIGEST}"}\n' "$WEB" > compose.yaml
  echo "DIGEST='$FRESH_DIGEST' # a comment" > .env
  check compose.yaml
  [ "$status" -eq 0 ]
  printf 'TAG=old\nDIGEST=%s\n' "$OLD_DIGEST" >> .env
  check --output json compose.yaml
  assert_objects "denied a compose.yaml:2 stale-image@2:14"
  TAG=fresh DIGEST="$FRESH_DIGEST" check compose.yaml
  [ "$status" -eq 0 ]
  printf 'TAG=fresh\nDIGEST=%s\n' "$FRESH_DIGEST" > other.env
  check --env-file .env --env-file other.env compose.yaml
  [ "$status" -eq 0 ]
  # The .env beside the file is not read then.
  check --env-file /dev/null compose.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "the variable \`DIGEST\` is not set"
}

@test "a variable without a value is an error that names it, and the other services are judged" {
  # shellcheck disable=SC2016
  printf 'services:\n  a: {image: "%s:${TAG}"}\n  b: {image: "%s:${X:?set X}"}\n  c: {image: %s}\n' "$WEB" "$WEB" "$WEB:fresh@$FRESH_DIGEST" > compose.yaml
  check compose.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "\`image\`: the variable \`TAG\` is not set; set it in the environment or in .env, or write a default: \`\${TAG:-default}\`"
  assert_contains "$output" "\`image\`: the variable \`X\` is required: set X"
  assert_contains "$output" "1 object judged: 1 accepted; 2 could not be judged"
  printf 'A="x\n' > .env
  check compose.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" ".env: line 1: the quote of the value is not closed"
}

@test "a secret of the environment goes neither to a registry nor into the output" {
  # shellcheck disable=SC2016
  printf 'services:\n  a: {image: "%s/x:${CI_JOB_TOKEN}"}\n  b: {image: "%s/x:$B"}\n' "$REGISTRY" "$REGISTRY" > compose.yaml
  # shellcheck disable=SC2016
  echo 'B=$CI_JOB_TOKEN' > .env
  CI_JOB_TOKEN=hunter2 check compose.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "the variable \`CI_JOB_TOKEN\` is not read, because its name is that of a secret"
  [[ "$output$stderr" != *hunter2* ]]
}

@test "extends, anchors and profiles are followed, and services without an image are skipped" {
  mkdir common
  printf 'services: {base: {image: %s}, built: {build: .}}\n' "$WEB:old@$OLD_DIGEST" > common/base.yaml
  cat > compose.yaml <<EOF
x-fresh: &fresh
  image: $WEB:fresh@$FRESH_DIGEST
services:
  anchor: {<<: *fresh}
  debug: {image: $WEB:old@$OLD_DIGEST, profiles: [debug]}
  same: {extends: debug}
  far: {extends: {file: common/base.yaml, service: base}}
  built: {build: .}
  far-built: {extends: {file: common/base.yaml, service: built}}
  both: {build: ., image: $WEB:old@$OLD_DIGEST}
  missing: {extends: {file: missing.yaml, service: a}}
  circle: {extends: circle}
EOF
  check --output json compose.yaml
  [ "$status" -eq 1 ]
  assert_objects "accepted anchor compose.yaml:4 " "denied debug compose.yaml:5 stale-image@5:18" "denied same compose.yaml:6 stale-image@5:18" \
    "denied far compose.yaml:7 stale-image@7:null" "skipped built compose.yaml:8 " "skipped far-built compose.yaml:9 " \
    "denied both compose.yaml:10 stale-image@10:27" "failed missing compose.yaml:11 " "failed circle compose.yaml:12 "
  [ "$(jq -r '.objects[4] | "\(.skipReason) \(.messages[0])"' <<< "$output")" = "service-without-image \`build\` makes its image, so nothing is pulled" ]
  check compose.yaml
  assert_contains "$output" "2 skipped: without an image (ComposeService)"
}

@test "included files are judged once, also if they are in the same folder" {
  mkdir db
  printf 'include: [db/compose.yaml]\nservices: {web: {image: %s}}\n' "$WEB:fresh@$FRESH_DIGEST" > compose.yaml
  # shellcheck disable=SC2016
  printf 'services: {db: {image: "%s:$TAG"}}\n' "$WEB" > db/compose.yaml
  echo "TAG=old@$OLD_DIGEST" > db/.env
  check --output json compose.yaml
  [ "$status" -eq 1 ]
  assert_objects "accepted web compose.yaml:2 " "denied db db/compose.yaml:1 stale-image@1:24"
  check --recursive --output json .
  assert_objects "accepted web ./compose.yaml:2 " "denied db ./db/compose.yaml:1 stale-image@1:24"
  # With another value, the service is another one.
  echo "TAG=fresh@$FRESH_DIGEST" > .env
  check --recursive --output json .
  assert_objects "accepted web ./compose.yaml:2 " "accepted db ./db/compose.yaml:1 " "denied db ./db/compose.yaml:1 stale-image@1:24"
  rm db/compose.yaml
  check compose.yaml
  [ "$status" -eq 2 ]
  assert_contains "$output" "db/compose.yaml: No such file"
}

@test "files that are not files, circles and remote files are errors" {
  local extends include
  ln -s /dev/zero zero.yaml
  mkfifo pipe.yaml
  for extends in "{file: zero.yaml, service: a}" "{file: pipe.yaml, service: a}" "{file: .., service: a}" "{file: 'oci://a.test/b', service: a}"; do
    printf 'services: {a: {extends: %s}}\n' "$extends" > compose.yaml
    run timeout 60 "$CONTAINER_PATCH" check --settings-json "$SETTINGS" compose.yaml
    [ "$status" -eq 2 ]
  done
  for include in zero.yaml pipe.yaml .. compose.yaml https://a.test/b.git missing.yaml; do
    printf 'include: [%s]\nservices: {a: {image: %s}}\n' "$include" "$WEB:fresh@$FRESH_DIGEST" > compose.yaml
    run timeout 60 "$CONTAINER_PATCH" check --settings-json "$SETTINGS" --at "$AT" --insecure-registry "$REGISTRY" compose.yaml
    [ "$status" -eq 2 ]
  done
}

@test "labels are scan annotations, and never records of digests" {
  cat > compose.yaml <<EOF
services:
  app:
    image: $WEB:old
    labels: {pin.container-patch.dev/app: "$WEB:fresh@$FRESH_DIGEST"}
    deploy: {labels: ["pin.container-patch.dev/app=$WEB:fresh@$FRESH_DIGEST"]}
EOF
  check compose.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "[unpinned-image]"
  assert_contains "$output" "[stale-image]"
  printf 'services:\n  app:\n    image: %s\n    deploy: {labels: [scan.container-patch.dev/app=x]}\n' "$WEB:fresh@$FRESH_DIGEST" > compose.yaml
  check --settings-json "$(jq -c '.scan = {action: "deny"}' <<< "$SETTINGS")" compose.yaml
  [ "$status" -eq 1 ]
  assert_contains "$output" "container \`app\`"
}

@test "--fix writes digests, keeps every other byte, and a second run changes nothing" {
  cat > compose.yaml <<EOF
# the shop
x-base: &base
  image: $WEB:fresh   # base
services:
  web:
    image: "$WEB:fresh" # é
    labels: {image: "$WEB:fresh"}
  base: {<<: *base}
  same:
    extends: {service: web}
  volume: {<<: *base, volumes: [{type: image, source: '$WEB:fresh', target: /v}]}
EOF
  cp compose.yaml before.yaml
  check --fix --yes compose.yaml
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "fixed 3 images in 1 file; 0 could not be fixed"
  assert_contains "$output" "4 objects judged: 4 accepted"
  # Every image has its digest, the label has none, and nothing else differs.
  diff <(sed "/labels/!s#$WEB:fresh#&@$FRESH_DIGEST#" before.yaml) compose.yaml
  cp compose.yaml fixed.yaml
  check --fix --yes compose.yaml
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "fixed 0 images in 0 files; 0 could not be fixed"
  cmp compose.yaml fixed.yaml
}

@test "--fix leaves images with variables, and says why" {
  # shellcheck disable=SC2016
  printf 'services:\n  a: {image: "%s:${TAG:-fresh}"}\n  b: {image: %s}\n' "$WEB" "$WEB:fresh" > compose.yaml
  check --fix --yes compose.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 1 image in 1 file; 1 could not be fixed"
  assert_contains "$stderr" "compose.yaml:2:14: container \`a\` of ComposeService default/a: image \`$WEB:fresh\`: it is written with variables"
  # shellcheck disable=SC2016
  assert_contains "$(cat compose.yaml)" '${TAG:-fresh}"}'
  assert_contains "$(cat compose.yaml)" "b: {image: $WEB:fresh@$FRESH_DIGEST}"
}

@test "--fix writes into files that are extended or included if they are on the command line" {
  printf 'include: [more.yaml]\nservices: {web: {extends: {file: base.yaml, service: base}}}\n' > compose.yaml
  printf 'services: {base: {image: %s}}\n' "$WEB:fresh" | tee base.yaml > more.yaml
  cp base.yaml "$BATS_TEST_TMPDIR/before"
  check --fix --yes compose.yaml
  [ "$status" -eq 1 ]
  assert_contains "$stderr" "fixed 0 images in 0 files; 2 could not be fixed"
  assert_contains "$stderr" "the image is in another file, which the service extends"
  assert_contains "$stderr" "another file includes this file; give it on the command line, too"
  cmp base.yaml "$BATS_TEST_TMPDIR/before"
  cmp more.yaml "$BATS_TEST_TMPDIR/before"
  check --fix --yes .
  [ "$status" -eq 0 ]
  assert_contains "$stderr" "fixed 2 images in 2 files; 0 could not be fixed"
  check .
  [ "$status" -eq 0 ]
}

@test "a report has the images of Compose files" {
  printf 'services: {web: {image: %s}}\n' "$WEB:old@$OLD_DIGEST" > compose.yaml
  run --separate-stderr "$CONTAINER_PATCH" report --settings-json "$SETTINGS" --at "$AT" --insecure-registry "$REGISTRY" --output json compose.yaml
  echo "$output$stderr"
  assert_contains "$output" "$WEB:old@$OLD_DIGEST"
  [ "$(jq -r '.images[0].usedBy[0] | "\(.kind) \(.name)"' <<< "$output")" = "ComposeService web" ]
}
