#!/usr/bin/env bats
# The workflows, jobs and hooks for pipelines run the commands that they name.

load helpers

setup() {
  cd "$BATS_TEST_TMPDIR"
  mkdir k8s bin
  ln -s "$(realpath "$CONTAINER_PATCH")" bin/container-patch
  export PATH="$BATS_TEST_TMPDIR/bin:$PATH" MANIFESTS=k8s/
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers:\n    - {name: app, image: "nginx:latest"}\n' > k8s/web.yaml
  echo "$QUIET" > settings.yaml
}

# step FILE BEGIN END: prints the lines of a file between two patterns, without their indentation.
step() { sed -n "/$2/,/$3/p" "$1" | sed '1d;$d' | sed -E 's/^ +//'; }

@test "the workflow for GitHub fails with annotations, SARIF and a summary, and says with which exit code" {
  export RUNNER_TEMP="$BATS_TEST_TMPDIR" GITHUB_OUTPUT="$BATS_TEST_TMPDIR/outputs"
  step "$ROOT/examples/ci/github.yml" 'id: judge' '- name: Show the summary' | sed 's/^run: |$//' > judge.sh
  grep -q 'container-patch check' judge.sh
  run bash -e judge.sh
  echo "$output"
  [ "$status" -eq 1 ]
  assert_contains "$output" "::error file=k8s/web.yaml,line=6,col="
  [ "$(cat outputs)" = "code=1" ]
  [ "$(jq -r '.runs[0].results[0].ruleId' images.sarif)" = forbidden-tag ]
  assert_contains "$(cat images.md)" "forbidden-tag"

  echo "pinning: {action: nonsense}" > settings.yaml
  run bash -e judge.sh
  [ "$status" -eq 2 ]
  assert_contains "$(cat outputs)" "code=2"
}

@test "the workflow for GitHub takes the settings of the target branch" {
  local settings
  settings="$(sed -n 's/^ *run: \(git show .*settings.yaml.*\)$/\1/p' "$ROOT/examples/ci/github.yml")"
  git init -q -b main repository
  cd repository
  git config user.email a@example.com
  git config user.name a
  echo "{}" > settings.yaml
  git add settings.yaml
  git commit -qm settings
  git update-ref refs/remotes/origin/main HEAD
  echo 'exempt: ["*"]' > settings.yaml
  GITHUB_BASE_REF=main RUNNER_TEMP=.. bash -ec "$settings"
  [ "$(cat ../settings.yaml)" = "{}" ]
  GITHUB_BASE_REF= GITHUB_REF_NAME=main RUNNER_TEMP=.. bash -ec "$settings"
}

@test "the job for GitLab fails with its reports, and fails without settings" {
  local command
  command="$(step "$ROOT/examples/ci/gitlab-ci.yml" '^  script:' 'artifacts:' | sed 's/^#.*//; s/^- //' | tr '\n' ' ')"
  IMAGE_SETTINGS=settings.yaml run bash -ec "$command"
  echo "$output"
  [ "$status" -eq 1 ]
  [ "$(jq -r '.[0].check_name' images.json)" = forbidden-tag ]
  assert_contains "$(cat images.xml)" "<failure"
  run env -u IMAGE_SETTINGS bash -ec "$command"
  [ "$status" -ne 0 ]
  assert_contains "$output" "IMAGE_SETTINGS"
}

@test "the hooks of pre-commit run on the files that they are given" {
  local entry
  while read -r entry; do
    run $entry --settings-path settings.yaml k8s/web.yaml
    echo "$output"
    [ "$status" -eq 1 ]
    assert_contains "$output" "[forbidden-tag]"
  done < <(sed -n 's/^ *entry: //p' "$ROOT/.pre-commit-hooks.yaml")
  [ "$(grep -c '^ *entry: container-patch' "$ROOT/.pre-commit-hooks.yaml")" -eq 2 ]
}

@test "pre-commit accepts the definition of the hooks" {
  command -v pre-commit > /dev/null || skip "needs pre-commit"
  run pre-commit validate-manifest "$ROOT/.pre-commit-hooks.yaml"
  echo "$output"
  [ "$status" -eq 0 ]
}
