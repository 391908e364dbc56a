#!/usr/bin/env bats
# container-patch check --output: the formats of services that run pipelines. The unit tests of each format have hostile names.

load helpers

setup() {
  cd "$BATS_TEST_TMPDIR"
  mkdir deploy
  # The services name files relative to the repository.
  mkdir .git
  unset GITHUB_WORKSPACE CI_PROJECT_DIR
  cat > deploy/web.yaml <<EOF
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  template:
    spec:
      containers:
        - name: side
          image: "nginx:1@$DIGEST"
        - name: app
          image: nginx:latest # é
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
EOF
}

# check FLAG…: judges the manifest with QUIET, unless the flags give settings. Host calls fail.
check() {
  local settings=(--settings-json "$QUIET")
  [[ "$*" == *--settings* ]] && settings=()
  run --separate-stderr "$CONTAINER_PATCH" check deploy "${settings[@]}" --replay-host-capabilities-interactions "$(silence)" "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

MESSAGE='container `app`: image `nginx:latest`'

@test "sarif has a rule for each code, and the place of the image" {
  check --output sarif
  [ "$status" -eq 1 ]
  [ "$(jq -r .version <<< "$output")" = 2.1.0 ]
  [ "$(jq -r '.runs[0] | .tool.driver.rules[.results[0].ruleIndex].id, .results[0].ruleId' <<< "$output" | uniq)" = forbidden-tag ]
  [ "$(jq -c '.runs[0].results[0].locations[0].physicalLocation | [.artifactLocation.uri, (.region | .startLine, .startColumn, .endLine, .endColumn)]' <<< "$output")" \
    = '["deploy/web.yaml",11,18,11,30]' ]
  [ "$(jq -r '.runs[0].results[0].locations[0].logicalLocations[0].fullyQualifiedName' <<< "$output")" = "apps/Deployment shop/web" ]
  assert_contains "$(jq -r '.runs[0].results[0].message.text' <<< "$output")" "$MESSAGE"
  # The codes of the plugin for Docker Engines are not those of manifests.
  [ "$(jq -r '.runs[0].tool.driver.rules[] | select(.help.markdown and .helpUri).id' <<< "$output" | sort)" \
    = "$(cd "$ROOT/docs" && for page in *.md; do head -1 "$page" | grep -qx "# ${page%.md}" && echo "${page%.md}"; done \
      | grep -vxE 'local-image|unseen-image' | sort)" ]
}

@test "an error in the text of a manifest is on its line" {
  printf 'apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\nspec: [\n---\n' > deploy/broken.yaml
  check --output json
  local message line
  message="$(jq -r '.objects[] | select(.file == "deploy/broken.yaml").messages[]' <<< "$output")"
  line="$(jq '.objects[] | select(.file == "deploy/broken.yaml").line' <<< "$output")"
  assert_contains "$message" "invalid YAML: line $line: "
  [ "$line" -ge 5 ]
  check --output github
  assert_contains "$output" "::error file=deploy/broken.yaml,line=$line,"
  check --output sarif
  [ "$(jq '.runs[0].invocations[0].toolExecutionNotifications[0].locations[0].physicalLocation.region.startLine' <<< "$output")" = "$line" ]
}

@test "standard input has the name that --stdin-name gives it" {
  from_stdin() {
    run --separate-stderr "$CONTAINER_PATCH" check - --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)" "$@" < deploy/web.yaml
  }
  uri() { jq -r '.runs[0].results[0].locations[0].physicalLocation.artifactLocation.uri' <<< "$output"; }
  from_stdin --output sarif
  [ "$(uri)" = stdin ]
  from_stdin --output sarif --stdin-name k8s/chart
  [ "$(uri)" = k8s/chart ]
  from_stdin --output gitlab --stdin-name k8s/chart
  [ "$(jq -r '.[0].location.path' <<< "$output")" = k8s/chart ]
  from_stdin --output github --stdin-name k8s/chart
  assert_contains "$output" "::error file=k8s/chart,line=11,"
  from_stdin --stdin-name k8s/chart
  assert_contains "$output" "k8s/chart:1"
  from_stdin --stdin-name ''
  [ "$status" -eq 2 ]
}

@test "the fingerprint of sarif stays when lines move and the tag changes" {
  fingerprint() { jq -r '.runs[0].results[] | select(.ruleId == "forbidden-tag").partialFingerprints[]' <<< "$output"; }
  check --output sarif
  local before
  before="$(fingerprint)"
  [ "$before" != "" ]
  sed -i '1i # a new line' deploy/web.yaml
  sed -i 's/nginx:latest/httpd:latest/' deploy/web.yaml
  check --output sarif
  [ "$(fingerprint)" = "$before" ]
  sed -i 's/name: app/name: other/' deploy/web.yaml
  check --output sarif
  [ "$(fingerprint)" != "$before" ]
}

@test "what could not be judged is a notification of sarif" {
  echo 'broken: [' > deploy/broken.yaml
  sed -i 's/nginx:latest/nginx:1/' deploy/web.yaml
  check --output sarif --settings-json '{"pinning": {"action": "off"}, "schedule": {"maxAge": "90d"}}'
  [ "$status" -eq 2 ]
  [ "$(jq -c '.runs[0].results' <<< "$output")" = "[]" ]
  [ "$(jq -c '.runs[0].invocations[0] | [.executionSuccessful, .exitCode, .toolExecutionNotifications[0].level]' <<< "$output")" = '[false,2,"error"]' ]
  assert_contains "$(jq -r '.runs[0].invocations[0].toolExecutionNotifications[].message.text' <<< "$output")" "invalid YAML"
}

# The schema is not part of this repository: https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json
@test "sarif is valid by the official schema (SARIF_SCHEMA=FILE)" {
  [ -n "${SARIF_SCHEMA:-}" ] || skip "needs SARIF_SCHEMA=FILE"
  python3 -c 'import jsonschema' 2> /dev/null || skip "needs python3-jsonschema"
  echo 'broken: [' > deploy/broken.yaml
  check --output sarif=results.sarif
  python3 -c 'import json, sys, jsonschema
schema, log = (json.load(open(name)) for name in sys.argv[1:])
jsonschema.validators.validator_for(schema)(schema, format_checker=jsonschema.FormatChecker()).validate(log)' "$SARIF_SCHEMA" results.sarif
}

@test "github has a workflow command for each finding" {
  check --output github
  [ "$status" -eq 1 ]
  assert_contains "${lines[0]}" "::error file=deploy/web.yaml,line=11,col=18,endLine=11,endColumn=30,title=forbidden-tag%3A Deployment shop/web::$MESSAGE"
  assert_contains "$output" "1 object judged: 1 denied"
}

@test "paths are relative to the folder of the repository, not to the current one" {
  cd deploy
  run --separate-stderr "$CONTAINER_PATCH" check ./web.yaml --settings-json "$QUIET" --replay-host-capabilities-interactions "$(silence)" --output github
  assert_contains "$output" "::error file=deploy/web.yaml,"
  rmdir ../.git
  GITHUB_WORKSPACE="$BATS_TEST_TMPDIR" run --separate-stderr "$CONTAINER_PATCH" check ../deploy/web.yaml --settings-json "$QUIET" \
    --replay-host-capabilities-interactions "$(silence)" --output github
  assert_contains "$output" "::error file=deploy/web.yaml,"
}

@test "gitlab has an issue for each finding" {
  check --output gitlab
  [ "$status" -eq 1 ]
  [ "$(jq -c '.[0] | [.check_name, .severity, .location]' <<< "$output")" = '["forbidden-tag","major",{"lines":{"begin":11},"path":"deploy/web.yaml"}]' ]
  [[ "$(jq -r '.[0].fingerprint' <<< "$output")" =~ ^[0-9a-f]{32}$ ]]
  assert_contains "$(jq -r '.[0].description' <<< "$output")" "$MESSAGE"
}

@test "junit has a test case for each object" {
  echo 'broken: [' > deploy/broken.yaml
  check --output junit
  [ "$status" -eq 1 ]
  assert_contains "$output" '<testsuites name="container-patch" tests="3" failures="1" errors="1" skipped="1">'
  assert_contains "$output" '<testcase name="Deployment shop/web" classname="deploy/web.yaml" file="deploy/web.yaml" line="1">'
  assert_contains "$output" '<failure message="container `app`: image `nginx:latest`'
}

@test "markdown has a summary, a table and the findings" {
  check --output markdown
  [ "$status" -eq 1 ]
  [ "${lines[0]}" = "<!-- container-patch check -->" ]
  [ "${lines[1]}" = "### container-patch: 1 denied" ]
  assert_contains "$output" "<details><summary><code>Deployment shop/web</code>: 1 finding</summary>"
}

@test "one run writes several outputs, and says on standard error what is nowhere else" {
  check --output text --output sarif=a.sarif --output junit=b.xml
  [ "$status" -eq 1 ]
  assert_contains "$output" "denied   Deployment shop/web"
  jq -e .runs a.sarif > /dev/null
  assert_contains "$(cat b.xml)" "</testsuites>"
  check --output json=c.json
  [ "$output" = "" ]
  assert_contains "$stderr" "1 object judged: 1 denied"
  jq -e .objects c.json > /dev/null
  check --output json=c.json --quiet
  [ "$stderr" = "" ]
}

@test "an output that cannot be written is an error, and no file is changed" {
  echo old > old.sarif
  check --output sarif=old.sarif --output json=nowhere/a.json
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot write nowhere/a.json"
  [ "$(cat old.sarif)" = old ]
  check --output json --output sarif
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "only one format can go to standard output"
  check --output xml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "unknown format; expected one of text, json, sarif, github, gitlab, junit, markdown"
}

@test "--quiet prints only objects with findings or errors" {
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: fine}\nspec: {containers: [{name: app, image: "nginx:1@%s"}]}\n' "$DIGEST" > deploy/fine.yaml
  check --quiet
  [ "$status" -eq 1 ]
  assert_contains "$output" "denied   Deployment shop/web"
  [[ "$output" != *default/fine* ]]
  rm deploy/web.yaml
  check --quiet
  [ "$status" -eq 0 ]
  [ "$output$stderr" = "" ]
}
