#!/usr/bin/env bats
# Releases: what hack/release makes, pushes and verifies, and when it stops. Each test has a copy of the source with its own commits, so
# that the state of this tree does not matter. The module and container-patch are those that are built already.

load helpers
load ../hack/registry

setup_file() {
  local target="$ROOT/target/release-tool"
  cargo build --quiet --locked --manifest-path "$ROOT/release/Cargo.toml" --target-dir "$target"
  export RELEASE_TOOL="$target/debug/container-patch-release"
  export RELEASE_MODULE="$ROOT/policy.wasm" RELEASE_BINARY="$BATS_FILE_TMPDIR/container-patch"
  export TREE="$BATS_FILE_TMPDIR/tree" KEY="$BATS_FILE_TMPDIR/key.pem" OTHER_KEY="$BATS_FILE_TMPDIR/other.pem"
  # There is less to compress than in a debug build.
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$(realpath "$CONTAINER_PATCH")" > "$RELEASE_BINARY"
  chmod +x "$RELEASE_BINARY"
  mkdir "$TREE"
  (cd "$ROOT" && git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents --target-directory "$TREE")
  export VERSION
  VERSION="$(sed -n 's/^version = "\(.*\)"/\1/p' "$TREE/Cargo.toml" | head -n 1)"
  printf '# Changelog\n\n## [%s] - 2026-11-22\n' "$VERSION" > "$TREE/CHANGELOG.md"
  git -C "$TREE" init --quiet --initial-branch main
  git -C "$TREE" config user.name test
  git -C "$TREE" config user.email test@example.com
  commit "$TREE"
  git -C "$TREE" tag "v$VERSION"
  "$RELEASE_TOOL" new-key "$KEY"
  "$RELEASE_TOOL" new-key "$OTHER_KEY"
  start_registry "$BATS_FILE_TMPDIR"
  export REGISTRY REGISTRY_PID
  # The files of a release, for all tests.
  (cd "$TREE" && hack/release module && hack/release manifests) > "$BATS_FILE_TMPDIR/log" 2>&1 || { cat "$BATS_FILE_TMPDIR/log"; return 1; }
  export MODULE_DIGEST
  MODULE_DIGEST="$("$RELEASE_TOOL" digest "$TREE/dist/annotated-policy.wasm")"
}

teardown_file() { stop_registry; }

setup() {
  # Each test has its own repositories.
  export RELEASE_REGISTRY="$REGISTRY/test-$BATS_TEST_NUMBER" RELEASE_KEY="$KEY"
  MODULE_REFERENCE="$RELEASE_REGISTRY/policies/container-patch-policy"
  cp -r "$TREE" "$BATS_TEST_TMPDIR/tree"
  cd "$BATS_TEST_TMPDIR/tree" || return
}

commit() { git -C "${1:-.}" add --all && git -C "${1:-.}" commit --quiet --message change; }

# step STEP ARG…: runs a step.
step() {
  run hack/release "$@"
  echo "$output"
}

# stops MESSAGE: publishing stops with this message, and nothing is in the registry.
stops() {
  step publish
  [ "$status" -eq 1 ]
  [ "$(grep '^Error: ' <<< "$output")" = "Error: $1" ]
  [ "$(curl -s "http://$REGISTRY/v2/_catalog?n=1000" | jq --arg repository "${RELEASE_REGISTRY#*/}/" \
    '[.repositories[] | select(startswith($repository))] | length')" -eq 0 ]
}

# manifest NAME: prints a manifest in the repository of the module.
manifest() {
  curl -sf -H 'Accept: application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json' \
    "http://$REGISTRY/v2/${MODULE_REFERENCE#*/}/manifests/$1"
}

# blob MODULE_DIGEST: prints a blob in the repository of the module.
blob() { curl -sf "http://$REGISTRY/v2/${MODULE_REFERENCE#*/}/blobs/$1"; }

# replace_layer NAME: replaces the layer of a manifest by standard input, and prints the manifest.
replace_layer() {
  local pushed
  pushed="$(push_blob "${MODULE_REFERENCE#*/}")"
  manifest "$1" | jq -c --arg digest "${pushed% *}" --argjson size "${pushed#* }" '.layers[0] += {digest: $digest, size: $size}'
}

# put NAME TYPE: pushes the manifest on standard input to the repository of the module, and prints its digest.
put() { push_manifest "${MODULE_REFERENCE#*/}" "$1" "application/vnd.oci.image.$2.v1+json"; }

# refuses MESSAGE: the signatures do not verify.
refuses() {
  run "$RELEASE_TOOL" verify --key "${2:-$KEY.pub}" "$MODULE_REFERENCE@$MODULE_DIGEST"
  echo "$output"
  [ "$status" -eq 1 ]
  assert_contains "$output" "$1"
}

# signed: pushes and signs the module.
signed() {
  "$RELEASE_TOOL" push dist/annotated-policy.wasm "$MODULE_REFERENCE:v$VERSION"
  "$RELEASE_TOOL" sign --key "$KEY" "$MODULE_REFERENCE@$MODULE_DIGEST"
  "$RELEASE_TOOL" verify --key "$KEY.pub" "$MODULE_REFERENCE@$MODULE_DIGEST"
}

SIGNATURE_TAG() { echo "${MODULE_DIGEST/:/-}.sig"; }

# bundle: prints the digest of the manifest of the bundle, of which there is one.
bundle() { manifest "${MODULE_DIGEST/:/-}" | jq -er '.manifests | if length == 1 then .[0].digest else error("\(length) bundles") end'; }

# put_bundle: replaces the bundle by the one on standard input.
put_bundle() {
  local digest changed
  digest="$(bundle)"
  replace_layer "$digest" > "$BATS_TEST_TMPDIR/referrer"
  changed="sha256:$(sha256sum < "$BATS_TEST_TMPDIR/referrer" | cut -d' ' -f1)"
  put "$changed" manifest < "$BATS_TEST_TMPDIR/referrer"
  manifest "${MODULE_DIGEST/:/-}" | jq -c --arg digest "$changed" --argjson size "$(stat -c %s "$BATS_TEST_TMPDIR/referrer")" \
    '.manifests[0] += {digest: $digest, size: $size}' | put "${MODULE_DIGEST/:/-}" index
}

@test "a dry run pushes, signs, pulls, verifies and runs the module" {
  rm -rf dist
  # An engine would not run the script that stands for the binary.
  DOCKER_HOST=unix:///missing step dry-run
  [ "$status" -eq 0 ]
  assert_contains "$output" "v$VERSION is the version in all files"
  assert_contains "$output" "policies/container-patch-policy:v$VERSION@$MODULE_DIGEST"
  assert_contains "$output" "signatures: both formats verify"
  assert_contains "$output" "SBOM: attached to the module, and names every crate in it"
  assert_contains "$output" "pull: the module has the digest that was pushed, $MODULE_DIGEST"
  assert_contains "$output" "denies a pod with the tag \`latest\`"
  assert_contains "$output" "the release of v$VERSION works"
  [ "$(git status --porcelain)" = "" ]
  local file
  for file in policy.wasm annotated-policy.wasm policy-sbom.spdx.json policy-sbom.spdx.jsonl.bundle.sigstore "deploy-$VERSION.tar.gz" \
    SHA256SUMS SHA256SUMS.sigstore.json; do
    echo "$file"
    [ -s "dist/$file" ]
  done
}

@test "the module of a release has the bytes that were built, and that container-patch contains" {
  cmp dist/policy.wasm "$ROOT/policy.wasm"
  "$RELEASE_TOOL" bare --output bare.wasm dist/annotated-policy.wasm
  cmp bare.wasm "$ROOT/policy.wasm"
  python3 - "$CONTAINER_PATCH" bare.wasm <<'EOF'
import sys
binary, module = (open(name, "rb").read() for name in sys.argv[1:])
sys.exit(0 if module in binary else "container-patch contains another module")
EOF
}

@test "the metadata of the module is what kwctl writes" {
  [ -n "$KWCTL" ] || skip "kwctl is not installed"
  "$KWCTL" annotate --metadata-path metadata.yml --usage-path README.md --output-path kwctl.wasm dist/policy.wasm
  "$RELEASE_TOOL" metadata kwctl.wasm | jq -c 'del(.annotations["io.kubewarden.kwctl"])' > expected
  "$RELEASE_TOOL" metadata dist/annotated-policy.wasm > actual
  cmp expected actual
}

@test "a pushed module has the digest that kwctl gives it, and kwctl pulls it by tag and digest" {
  [ -n "$KWCTL" ] || skip "kwctl is not installed"
  echo "insecure_sources: [\"$REGISTRY\"]" > sources.yaml
  "$RELEASE_TOOL" push dist/annotated-policy.wasm "$MODULE_REFERENCE:ours"
  [ "$("$KWCTL" push --sources-path sources.yaml --output json dist/annotated-policy.wasm "registry://$MODULE_REFERENCE:theirs" \
    2> log | jq -r .immutable_ref)" = "$MODULE_REFERENCE@$MODULE_DIGEST" ]
  "$KWCTL" pull --sources-path sources.yaml --output-path pulled.wasm "registry://$MODULE_REFERENCE:ours@$MODULE_DIGEST"
  cmp pulled.wasm dist/annotated-policy.wasm
}

# trust FILE: writes a trust root for kwctl, so that it does not download Sigstore's. Signatures with a key do not use it.
trust() {
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout ca.key -outform DER -out ca.der -subj /CN=test \
    -days 2 2> log
  jq -n --arg certificate "$(base64 -w 0 ca.der)" --arg key "$(openssl pkey -pubin -in "$KEY.pub" -outform DER | base64 -w 0)" '
    {start: "2020-01-01T00:00:00Z"} as $always
    | {
        mediaType: "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        trustedRoot: {
          mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
          tlogs: [{
            baseUrl: "https://rekor.example.com", hashAlgorithm: "SHA2_256", logId: {keyId: "AAAA"},
            publicKey: {rawBytes: $key, keyDetails: "PKIX_ECDSA_P256_SHA_256", validFor: $always}
          }],
          certificateAuthorities: [{
            subject: {organization: "test", commonName: "test"}, uri: "https://fulcio.example.com",
            certChain: {certificates: [{rawBytes: $certificate}]}, validFor: $always
          }],
          ctlogs: [], timestampAuthorities: []
        },
        signingConfig: {}
      }' > "$1"
}

@test "kwctl verifies the signature with the key, and not with another key" {
  [ -n "$KWCTL" ] || skip "kwctl is not installed"
  command -v openssl > log || skip "openssl is not installed"
  echo "insecure_sources: [\"$REGISTRY\"]" > sources.yaml
  trust trust.json
  signed
  "$KWCTL" verify --sigstore-trust-config trust.json --sources-path sources.yaml --verification-key "$KEY.pub" \
    "registry://$MODULE_REFERENCE:v$VERSION"
  run "$KWCTL" verify --sigstore-trust-config trust.json --sources-path sources.yaml --verification-key "$OTHER_KEY.pub" \
    "registry://$MODULE_REFERENCE:v$VERSION"
  [ "$status" -ne 0 ]
  assert_contains "$output" "missing signatures"
}

@test "signatures do not verify with another key" {
  signed
  refuses "in the format that policy-server verifies is by this key" "$OTHER_KEY.pub"
  # The first format is by the other key, the second is not.
  bundle > name
  "$RELEASE_TOOL" sign --key "$OTHER_KEY" "$MODULE_REFERENCE@$MODULE_DIGEST"
  manifest "${MODULE_DIGEST/:/-}" | jq -c --arg digest "$(cat name)" '.manifests |= map(select(.digest == $digest))' | put "${MODULE_DIGEST/:/-}" index
  refuses "$(cat name) is not signed by this key" "$OTHER_KEY.pub"
}

@test "a signature whose text has changed does not verify" {
  signed
  manifest "$(SIGNATURE_TAG)" > signature
  blob "$(jq -r '.layers[0].digest' signature)" > payload
  sed 's#"optional":null#"optional":{}#' payload | replace_layer "$(SIGNATURE_TAG)" | put "$(SIGNATURE_TAG)" manifest
  refuses "in the format that policy-server verifies is by this key"
  put "$(SIGNATURE_TAG)" manifest < signature
  "$RELEASE_TOOL" verify --key "$KEY.pub" "$MODULE_REFERENCE@$MODULE_DIGEST"

  blob "$(manifest "$(bundle)" | jq -r '.layers[0].digest')" \
    | jq -c '.dsseEnvelope.payload |= (@base64d | sub("\"predicate\":{}"; "\"predicate\":{\"a\":1}") | @base64)' | put_bundle
  refuses "is not signed by this key"
}

@test "a signature of another digest does not verify" {
  local other
  signed
  manifest "$(SIGNATURE_TAG)" > signature
  blob "$(manifest "$(bundle)" | jq -r '.layers[0].digest')" > bundle.json
  echo changed > usage.md
  "$RELEASE_TOOL" annotate --usage usage.md --output other.wasm dist/policy.wasm
  other="$("$RELEASE_TOOL" push other.wasm "$MODULE_REFERENCE:other")"
  [ "$other" != "$MODULE_DIGEST" ]
  MODULE_DIGEST="$other"
  "$RELEASE_TOOL" sign --key "$KEY" "$MODULE_REFERENCE@$MODULE_DIGEST"
  put_bundle < bundle.json
  refuses "is about another digest"
  put "$(SIGNATURE_TAG)" manifest < signature
  refuses "in the format that policy-server verifies"
}

@test "an artifact without signatures does not verify" {
  "$RELEASE_TOOL" push dist/annotated-policy.wasm "$MODULE_REFERENCE:v$VERSION"
  refuses "the signature of \`$MODULE_REFERENCE@$MODULE_DIGEST\` in the format that policy-server verifies"
}

@test "only a digest is signed" {
  run "$RELEASE_TOOL" sign --key "$KEY" "$MODULE_REFERENCE:v$VERSION"
  [ "$status" -eq 1 ]
  [ "$output" = "Error: \`$MODULE_REFERENCE:v$VERSION\` has no digest; a tag can be pushed again, so only a digest is signed" ]
}

# linked: prints the crates that are in the module according to the SBOM.
linked() {
  jq -r '(.relationships | map(select(.relationshipType == "DEPENDS_ON").relatedSpdxElement)) as $linked
    | .packages[] | select(.name == "container-patch-policy" or (.SPDXID | IN($linked[]))) | select(.name != "rust-std")
    | "\(.name) \(.versionInfo)"' "$1" | sort
}

@test "the SBOM lists the crates that cargo links into the module, and no others" {
  cargo tree --locked --package container-patch-policy --edges normal,no-proc-macro --target wasm32-wasip1 --prefix none \
    | awk 'NF { sub(/^v/, "", $2); print $1 " " $2 }' | sort -u > tree
  linked dist/policy-sbom.spdx.json > linked
  diff tree linked
  [ "$(wc -l < linked)" -gt 50 ]
}

@test "the SBOM lists the crates that the compiler was given for the module, and no others" {
  local build
  # With the flags of the Makefile, the build is up to date, and cargo only prints what it consists of.
  build="$(make --silent --directory "$ROOT" --eval 'show:; @:$(info $(BUILD_MODULE))' show)"
  [[ "$build" == *"--remap-path-prefix="*"cargo build"* ]]
  (cd "$ROOT" && eval "$build --quiet --message-format json") > messages
  jq -r 'select(.reason == "compiler-artifact" and (.filenames | any(contains("/wasm32-wasip1/")))).package_id
    | capture("(?<folder>[^/#]*)#((?<name>[^@]*)@)?(?<version>.*)$") | "\(.name // .folder) \(.version)"' messages | sort -u > compiled
  linked dist/policy-sbom.spdx.json > linked
  diff compiled linked
}

@test "the SBOM lists macros and build scripts as tools of the build" {
  [ "$(jq -r '.packages[] | select(.name == "serde_derive").SPDXID as $id
    | $id' dist/policy-sbom.spdx.json)" = "$(jq -r '.relationships[] | select(.relationshipType == "BUILD_TOOL_OF").spdxElementId
    | select(startswith("SPDXRef-crate-serde-derive"))' dist/policy-sbom.spdx.json)" ]
  [ -z "$(jq -r '(.relationships | map(select(.relationshipType == "BUILD_TOOL_OF").spdxElementId)) as $tools
    | .relationships[] | select(.relationshipType == "DEPENDS_ON").relatedSpdxElement | select(IN($tools[]))' dist/policy-sbom.spdx.json)" ]
}

@test "the SBOM follows the rules of SPDX 2.3, and has the checksum, the licence and the purl of each crate" {
  jq -e '
    ([.SPDXID] + [.packages[].SPDXID]) as $ids
    | .spdxVersion == "SPDX-2.3" and .dataLicense == "CC0-1.0" and .SPDXID == "SPDXRef-DOCUMENT"
      and (.documentNamespace | test("^https://[^#]+$"))
      and (.creationInfo.created | test("^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\dZ$"))
      and ($ids | length == (unique | length)) and all($ids[]; test("^SPDXRef-[A-Za-z0-9.-]+$"))
      and all(.relationships[] | .spdxElementId, .relatedSpdxElement; IN($ids[]))
      and ([.relationships[] | select(.relationshipType == "DESCRIBES")] | length == 1)
      and all(.packages[]; .filesAnalyzed == false and (.name | length > 0) and (.downloadLocation | length > 0)
        and (.externalRefs[0].referenceLocator | startswith("pkg:"))
        and (.licenseDeclared | test("^[A-Za-z0-9.() -]+$") and . != "NOASSERTION")
        and all(.checksums[]?; .algorithm == "SHA256" and (.checksumValue | test("^[0-9a-f]{64}$"))))
      and all(.packages[] | select(.downloadLocation == "NOASSERTION" and .name != "rust-std"); .checksums | length == 1)
  ' dist/policy-sbom.spdx.json
  [ "$(jq -r '.packages[0].checksums[0].checksumValue' dist/policy-sbom.spdx.json)" = "$(sha256sum < dist/policy.wasm | cut -d' ' -f1)" ]
}

@test "a release whose SBOM leaves out a crate does not verify" {
  signed
  jq '.packages |= map(select(.name != "jiff"))' dist/policy-sbom.spdx.json > short.json
  "$RELEASE_TOOL" attest --key "$KEY" --predicate short.json "$MODULE_REFERENCE@$MODULE_DIGEST"
  step verify
  [ "$status" -eq 1 ]
  assert_contains "$output" "does not name crates of the module: jiff "
}

@test "an SBOM of another module is not signed" {
  jq '.packages[0].checksums[0].checksumValue = "0" * 64' dist/policy-sbom.spdx.json > other.json
  mv other.json dist/policy-sbom.spdx.json
  stops "\`dist/policy-sbom.spdx.json\` does not have the checksum of \`dist/policy.wasm\`; make both with hack/release module"
}

@test "an SBOM of another module that is attached first does not replace that of the release" {
  signed
  jq '.packages[0].checksums[0].checksumValue = "0" * 64' dist/policy-sbom.spdx.json > "$BATS_TEST_TMPDIR/other.json"
  "$RELEASE_TOOL" attest --key "$KEY" --predicate "$BATS_TEST_TMPDIR/other.json" "$MODULE_REFERENCE@$MODULE_DIGEST"
  step verify
  [ "$status" -eq 1 ]
  assert_contains "$output" "Error: no SBOM that is attached to $MODULE_REFERENCE@$MODULE_DIGEST has the checksum of the module"
  # That of the release, signed by another key.
  "$RELEASE_TOOL" attest --key "$OTHER_KEY" --predicate dist/policy-sbom.spdx.json "$MODULE_REFERENCE@$MODULE_DIGEST"
  step verify
  [ "$status" -eq 1 ]
  step publish
  [ "$status" -eq 0 ]
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 0 ]
}

@test "a release is published once more without a change, and verifies with the public key" {
  step publish
  [ "$status" -eq 0 ]
  step publish
  [ "$status" -eq 0 ]
  unset RELEASE_KEY
  export RELEASE_PUBLIC_KEY="$KEY.pub"
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 0 ]
  RELEASE_PUBLIC_KEY="$OTHER_KEY.pub" step verify
  [ "$status" -eq 1 ]
}

@test "the commands of docs/release.md publish a release with a key, and verify it" {
  unset RELEASE_KEY
  export RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" CARGO_HOME="${CARGO_HOME:-$HOME/.cargo}" XDG_CACHE_HOME="${XDG_CACHE_HOME:-$HOME/.cache}"
  export HOME="$BATS_TEST_TMPDIR" CONTAINER_PATCH="$RELEASE_BINARY"
  mkdir "$HOME/bin"
  ln -s "$RELEASE_TOOL" "$HOME/bin/container-patch-release"
  awk '/^<!-- tested by: e2e-tests\/release.bats -->$/ { is_next = 1 } is_next && /^```$/ { exit } is_next && !/^(<|```)/' docs/release.md \
    | sed "s#registry.example.com/mirror#$RELEASE_REGISTRY#" > "$HOME/commands"
  [ "$(wc -l < "$HOME/commands")" -ge 5 ]
  PATH="$HOME/bin:$PATH" run bash -e "$HOME/commands"
  echo "$output"
  [ "$status" -eq 0 ]
  assert_contains "$output" "signatures: both formats verify"
}

@test "a file of a release that has changed does not verify" {
  step publish
  [ "$status" -eq 0 ]
  echo >> "dist/deploy-$VERSION.tar.gz"
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -ne 0 ]
  assert_contains "$output" "deploy-$VERSION.tar.gz: FAILED"
  run "$RELEASE_TOOL" verify-blob --key "$OTHER_KEY.pub" --bundle dist/SHA256SUMS.sigstore.json dist/SHA256SUMS
  [ "$output" = "Error: \`dist/SHA256SUMS\` does not verify with the bundle \`dist/SHA256SUMS.sigstore.json\`: the file is not signed by this key" ]
}

@test "a tag that is not the version in a file stops the release" {
  local file
  export RELEASE_TAG=v9.8.7
  stops "the tag is v9.8.7, and Cargo.toml has the version $VERSION; write 9.8.7 there, or release v$VERSION"
  unset RELEASE_TAG
  for file in metadata.yml artifacthub-pkg.yml deploy/pin.yaml deploy/custom-workloads/openkruise.yaml \
    deploy/verification/release.yaml deploy/helm/container-patch-policy/Chart.yaml README.md docs/install.md; do
    [ -f "$file" ] || continue
    sed -i -E "s#(version: \"?|container-patch-policy:v|refs/tags/v)$VERSION#\19.8.7#" "$file"
    commit
    git tag --force "v$VERSION" > log
    stops "the tag is v$VERSION, and $file has the version 9.8.7; write $VERSION there, or release v9.8.7"
    git reset --quiet --hard HEAD~1
    git tag --force "v$VERSION" > log
  done
}

@test "hack/set-version writes the version that the check of a release compares" {
  local file
  run hack/set-version 9.8.7
  echo "$output"
  [ "$output" = "the version is now 9.8.7; write the section \`## [9.8.7]\` of CHANGELOG.md" ]
  for file in Cargo.toml Cargo.lock fuzz/Cargo.lock metadata.yml README.md docs/install.md docs/ci.md deploy/README.md deploy/soak/cronjob.yaml; do
    git diff --quiet -- "$file" && { echo "$file is unchanged"; return 1; }
  done
  cargo metadata --locked --offline --format-version 1 --no-deps > metadata.json
  rm metadata.json
  printf '\n## [9.8.7]\n' >> CHANGELOG.md
  commit
  git tag v9.8.7
  step check
  [ "$status" -eq 0 ]
  assert_contains "$output" "v9.8.7 is the version in all files"
  run hack/set-version latest
  [ "$status" -eq 2 ]
  run hack/set-version 1.2
  [ "$output" = "Error: \`1.2\` is not a version; a version has the form 1.2.3 or 1.2.3-rc.1" ]
}

@test "a tag that is not a version stops the release" {
  RELEASE_TAG=latest stops "the tag \`latest\` is not a version; a tag has the form v1.2.3 or v1.2.3-rc.1"
  git tag --delete "v$VERSION" > log
  stops "HEAD has no tag; tag it, or set RELEASE_TAG=v$VERSION"
}

@test "a tag on another commit stops the release" {
  echo >> README.md
  commit
  export RELEASE_TAG="v$VERSION"
  stops "the tag v$VERSION is on commit $(git rev-parse --short=12 HEAD~1), and HEAD is $(git rev-parse --short=12 HEAD); check out the tag: git checkout v$VERSION"
}

@test "a version that has no tag in git stops the release, and is no problem for a dry run" {
  git tag --delete "v$VERSION" > log
  rm log
  export RELEASE_TAG="v$VERSION"
  stops "there is no tag v$VERSION in git; tag HEAD: git tag v$VERSION"
  IS_DRY_RUN=yes stops "there is no tag v$VERSION in git; tag HEAD: git tag v$VERSION"
  DOCKER_HOST=unix:///missing step dry-run
  [ "$status" -eq 0 ]
  assert_contains "$output" "the release of v$VERSION works"
}

@test "a dry run compiles nothing for a tree that is not clean" {
  touch notes.txt
  unset RELEASE_MODULE RELEASE_BINARY RELEASE_TOOL
  mkdir "$BATS_TEST_TMPDIR/bin"
  printf '#!/bin/sh\necho "compiled: $*"\nexit 1\n' > "$BATS_TEST_TMPDIR/bin/cargo"
  chmod +x "$BATS_TEST_TMPDIR/bin/cargo"
  PATH="$BATS_TEST_TMPDIR/bin:$PATH" step dry-run
  [ "$status" -eq 1 ]
  [ "$output" = "Error: the tree is not clean: 1 files are changed or untracked, first \`?? notes.txt\`; commit or remove them" ]
}

@test "a version without a section in the changelog stops the release" {
  echo '# Changelog' > CHANGELOG.md
  commit
  git tag --force "v$VERSION" > log
  stops "CHANGELOG.md has no section \`## [$VERSION]\`; write what changes for users"
}

@test "a changed or an untracked file stops the release" {
  echo >> README.md
  stops "the tree is not clean: 1 files are changed or untracked, first \` M README.md\`; commit or remove them"
  git checkout --quiet README.md
  touch notes.txt
  stops "the tree is not clean: 1 files are changed or untracked, first \`?? notes.txt\`; commit or remove them"
}

@test "a key that is missing or is not a key stops the release" {
  RELEASE_KEY=/missing.pem stops "the private key \`/missing.pem\` (RELEASE_KEY) does not exist or cannot be read"
  RELEASE_KEY="$KEY.pub" stops "\`$KEY.pub\` is not a private key for ECDSA on P-256 as PEM; \`container-patch-release new-key FILE\` makes one"
  echo '-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----' > "$BATS_TEST_TMPDIR/encrypted.pem"
  RELEASE_KEY="$BATS_TEST_TMPDIR/encrypted.pem" \
    stops "the private key \`$BATS_TEST_TMPDIR/encrypted.pem\` is encrypted; give it unencrypted: \`openssl pkcs8 -topk8 -nocrypt\`"
}

# path_without COMMAND…: prints a folder with links to the commands that hack/release uses, without these.
path_without() {
  local folder="$BATS_TEST_TMPDIR/bin-without-$1" command
  mkdir "$folder"
  for command in awk bash cargo cat comm curl cut dirname env find git grep gzip head jq mktemp paste rm rustc sed sha256sum sort tar tr wc; do
    [[ " $* " == *" $command "* ]] || ln -s "$(command -v "$command")" "$folder/$command"
  done
  echo "$folder"
}

@test "a missing command stops the release" {
  PATH="$(path_without jq gzip)" step publish
  [ "$status" -eq 1 ]
  [ "$(tail -n 1 <<< "$output")" = "Error: missing commands: gzip jq; install them" ]
  unset RELEASE_KEY
  PATH="$(path_without cosign)" step publish
  [ "$status" -eq 1 ]
  [ "$(tail -n 1 <<< "$output")" = "Error: cosign is missing, and RELEASE_KEY is not set; install cosign to sign without a key, or set RELEASE_KEY=FILE" ]
}

@test "a release that does not exist, or of which the files are others, does not verify" {
  step verify
  [ "$status" -eq 1 ]
  [ "$output" = "Error: \`$MODULE_REFERENCE:v$VERSION\` does not exist" ]
  echo changed > "$BATS_TEST_TMPDIR/usage.md"
  "$RELEASE_TOOL" annotate --usage "$BATS_TEST_TMPDIR/usage.md" --output "$BATS_TEST_TMPDIR/other.wasm" dist/policy.wasm
  "$RELEASE_TOOL" push "$BATS_TEST_TMPDIR/other.wasm" "$MODULE_REFERENCE:v$VERSION"
  step verify
  [ "$status" -eq 1 ]
  assert_contains "$output" ", and \`dist/annotated-policy.wasm\` is $MODULE_DIGEST"
}

@test "a file that is missing, or that is not of this module, stops the release" {
  mv dist/policy-sbom.spdx.json .git/
  stops "\`dist/policy-sbom.spdx.json\` is missing; hack/release module and hack/release manifests make the files"
  mv .git/policy-sbom.spdx.json dist/
  printf '\0\2\1x' >> dist/policy.wasm
  stops "\`dist/annotated-policy.wasm\` is not \`dist/policy.wasm\` with metadata; make both with hack/release module"
}

@test "a file that is not of the release is not signed" {
  local file
  for file in notes.txt .hidden "container-patch-$VERSION-s390x-unknown-linux-musl.tar.gz" container-patch-policy-9.8.7.tgz; do
    touch "dist/$file"
    stops "\`dist/$file\` is not a file of the release v$VERSION; remove it from dist/"
    rm "dist/$file"
  done
  mkdir dist/folder
  stops "\`dist/folder\` is not a regular file; remove it from dist/"
  rmdir dist/folder
  # The file that a link leads to can change after it was signed.
  mv "dist/deploy-$VERSION.tar.gz" "$BATS_TEST_TMPDIR/"
  ln -s "$BATS_TEST_TMPDIR/deploy-$VERSION.tar.gz" dist/
  stops "\`dist/deploy-$VERSION.tar.gz\` is not a regular file; remove it from dist/"
}

@test "a file whose checksum is not signed does not verify" {
  step publish
  [ "$status" -eq 0 ]
  echo other > "dist/container-patch-$VERSION-x86_64-unknown-linux-musl.tar.gz"
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 1 ]
  assert_contains "$output" "Error: \`dist/container-patch-$VERSION-x86_64-unknown-linux-musl.tar.gz\` is not a file whose checksum is signed in SHA256SUMS"
  rm dist/SHA256SUMS
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 1 ]
  assert_contains "$output" "Error: \`dist/\` has no SHA256SUMS, so its files cannot be verified"
}

# forged FILE: replaces the module by another one in an archive of DIST.
forged() {
  rm -rf "$BATS_TEST_TMPDIR/forged"
  mkdir "$BATS_TEST_TMPDIR/forged"
  tar -xzf "dist/$1" -C "$BATS_TEST_TMPDIR/forged"
  grep -rlE "$MODULE_DIGEST|ghcr.io/container-patch/policies" "$BATS_TEST_TMPDIR/forged" \
    | xargs sed -i -e "s#$MODULE_DIGEST#$DIGEST#" -e 's#ghcr.io/container-patch/policies#ghcr.io/attacker/policies#'
  tar -C "$BATS_TEST_TMPDIR/forged" -czf "dist/$1" "$(ls "$BATS_TEST_TMPDIR/forged")"
}

@test "manifests and a chart that name another module are not signed" {
  local file
  for file in "deploy-$VERSION.tar.gz" "container-patch-policy-$VERSION.tgz"; do
    cp "dist/$file" "$BATS_TEST_TMPDIR/$file"
    forged "$file"
    stops "\`dist/$file\` is not what this commit gives with the module $MODULE_DIGEST; make it with hack/release manifests"
    rm "dist/$file"
    stops "\`dist/$file\` is missing; hack/release module and hack/release manifests make the files"
    cp "$BATS_TEST_TMPDIR/$file" "dist/$file"
  done
}

# resigned: signs the files of DIST, as they are now, with the key of the release.
resigned() {
  (cd dist && cut -c 67- SHA256SUMS | xargs sha256sum -- > ../sums && mv ../sums SHA256SUMS)
  "$RELEASE_TOOL" sign-blob --key "$KEY" --bundle dist/SHA256SUMS.sigstore.json dist/SHA256SUMS
}

@test "signed manifests and a signed chart that name another module do not verify" {
  local file
  step publish
  [ "$status" -eq 0 ]
  for file in "deploy-$VERSION.tar.gz" "container-patch-policy-$VERSION.tgz"; do
    cp "dist/$file" "$BATS_TEST_TMPDIR/$file"
    forged "$file"
    resigned
    CONTAINER_PATCH="$RELEASE_BINARY" step verify
    [ "$status" -eq 1 ]
    assert_contains "$output" "Error: \`dist/$file\` is not what this commit gives with the module $MODULE_DIGEST"
    cp "$BATS_TEST_TMPDIR/$file" "dist/$file"
  done
  resigned
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 0 ]
}

@test "a tag that exists with another digest is not overwritten" {
  local other
  echo changed > "$BATS_TEST_TMPDIR/usage.md"
  "$RELEASE_TOOL" annotate --usage "$BATS_TEST_TMPDIR/usage.md" --output "$BATS_TEST_TMPDIR/other.wasm" dist/policy.wasm
  other="$("$RELEASE_TOOL" push "$BATS_TEST_TMPDIR/other.wasm" "$MODULE_REFERENCE:v$VERSION")"
  step publish
  [ "$status" -eq 1 ]
  [ "$output" = "==> v$VERSION is the version in all files, and the tree is clean
Error: \`$MODULE_REFERENCE:v$VERSION\` exists with $other, and this module has $MODULE_DIGEST; a release is not overwritten: release a new version" ]
  run "$RELEASE_TOOL" push dist/annotated-policy.wasm "$MODULE_REFERENCE:v$VERSION"
  [ "$status" -eq 1 ]
  [ "$("$RELEASE_TOOL" resolve "$MODULE_REFERENCE:v$VERSION")" = "$other" ]
  [ "$(curl -s "http://$REGISTRY/v2/${MODULE_REFERENCE#*/}/tags/list" | jq -c .tags)" = "[\"v$VERSION\"]" ]
}

# chart: makes a small chart in the folder of the charts, unless there is one.
chart() {
  if [ ! -f deploy/helm/container-patch-policy/Chart.yaml ]; then
    mkdir -p deploy/helm/container-patch-policy
    printf 'apiVersion: v2\nname: container-patch-policy\nversion: %s\nmaintainers: [{name: A, email: a@example.com}]\n' "$VERSION" \
      > deploy/helm/container-patch-policy/Chart.yaml
    printf 'module:\n  repository: a\n  digest: ""\nmode: monitor\n' > deploy/helm/container-patch-policy/values.yaml
    commit
    git tag --force "v$VERSION" > "$BATS_TEST_TMPDIR/log"
  fi
  hack/release manifests "$MODULE_DIGEST"
}

@test "a release has the chart, which names the module by digest, is signed, and is not overwritten" {
  local charts="$RELEASE_REGISTRY/charts/container-patch-policy" name="container-patch-policy-$VERSION.tgz" digest
  export GITHUB_OUTPUT="$BATS_TEST_TMPDIR/output"
  chart
  tar -xzOf "dist/$name" container-patch-policy/values.yaml | grep -qx "  digest: $MODULE_DIGEST"
  step publish
  [ "$status" -eq 0 ]
  MODULE_REFERENCE="$charts"
  digest="$("$RELEASE_TOOL" resolve "$charts:$VERSION")"
  assert_contains "$output" "chart: pushed $charts:$VERSION@$digest"
  [ "$(cat "$GITHUB_OUTPUT")" = "module=$MODULE_DIGEST
chart=$digest" ]
  CONTAINER_PATCH="$RELEASE_BINARY" step verify
  [ "$status" -eq 0 ]
  assert_contains "$output" "signatures: both formats verify for $charts@$digest"
  blob "$(manifest "$VERSION" | jq -r '.layers[0] | select(.mediaType == "application/vnd.cncf.helm.chart.content.v1.tar+gzip").digest')" \
    > "$BATS_TEST_TMPDIR/pulled.tgz"
  cmp "$BATS_TEST_TMPDIR/pulled.tgz" "dist/$name"
  [ "$(blob "$(manifest "$VERSION" | jq -r .config.digest)" | jq -r '"\(.name) \(.version)"')" = "container-patch-policy $VERSION" ]
  [ "$(manifest "$VERSION" | jq -r '.annotations["org.opencontainers.image.title"]')" = container-patch-policy ]

  # The same files again are no change, and another chart is refused.
  step publish
  [ "$status" -eq 0 ]
  echo '# changed' >> deploy/helm/container-patch-policy/values.yaml
  commit
  git tag --force "v$VERSION" > "$BATS_TEST_TMPDIR/log"
  hack/release manifests "$MODULE_DIGEST"
  step publish
  [ "$status" -eq 1 ]
  assert_contains "$output" "Error: \`$charts:$VERSION\` exists with $digest, and this chart has sha256:"
  [ "$("$RELEASE_TOOL" resolve "$charts:$VERSION")" = "$digest" ]
}

@test "the manifests of a release name the module by digest" {
  local chart=deploy/helm/container-patch-policy
  mkdir "$BATS_TEST_TMPDIR/unpacked"
  tar -xzf "dist/deploy-$VERSION.tar.gz" -C "$BATS_TEST_TMPDIR/unpacked"
  cd "$BATS_TEST_TMPDIR/unpacked" || return
  grep -qx "  module: registry://ghcr.io/container-patch/policies/container-patch-policy:v$VERSION@$MODULE_DIGEST" deploy/pin.yaml
  grep -qx "  module: registry://ghcr.io/container-patch/policies/container-patch-policy:v$VERSION@$MODULE_DIGEST" deploy/enforce.yaml
  # Nothing else differs.
  diff <(sed "s#:v$VERSION@$MODULE_DIGEST#:v$VERSION#" deploy/enforce.yaml) "$TREE/deploy/enforce.yaml"
  if [ -f "$chart/Chart.yaml" ]; then
    grep -qx "  digest: $MODULE_DIGEST" "$chart/values.yaml"
    [ "$(tar -xzOf "$TREE/dist/container-patch-policy-$VERSION.tgz" container-patch-policy/values.yaml)" = "$(cat "$chart/values.yaml")" ]
  fi
}

@test "the same source gives the same archives" {
  local name="container-patch-$VERSION-x86_64-unknown-linux-musl" file
  cp "dist/deploy-$VERSION.tar.gz" "$BATS_TEST_TMPDIR/first.tar.gz"
  step manifests "$MODULE_DIGEST"
  cmp "dist/deploy-$VERSION.tar.gz" "$BATS_TEST_TMPDIR/first.tar.gz"
  step binaries x86_64-unknown-linux-musl
  [ "$status" -eq 0 ]
  cp "dist/$name.tar.gz" "$BATS_TEST_TMPDIR/first.tar.gz"
  touch README.md LICENSE
  step binaries x86_64-unknown-linux-musl
  cmp "dist/$name.tar.gz" "$BATS_TEST_TMPDIR/first.tar.gz"
  tar -tzf "dist/$name.tar.gz" > entries
  for file in container-patch LICENSE README.md completions/container-patch.{bash,zsh,fish} man/container-patch.1 man/container-patch-check.1; do
    echo "$file"
    grep -qx "$name/$file" entries
  done
  [ "$(tar -tvzf "dist/$name.tar.gz" --numeric-owner | awk '{ print $2 }' | sort -u)" = 0/0 ]
}

@test "a target that cannot be built is named with those that can" {
  step binaries s390x-unknown-linux-gnu
  [ "$status" -eq 1 ]
  [ "$output" = "Error: unknown target \`s390x-unknown-linux-gnu\`; the targets are x86_64-unknown-linux-musl, aarch64-unknown-linux-musl and aarch64-apple-darwin" ]
  unset RELEASE_BINARY
  step binaries aarch64-apple-darwin
  [ "$status" -eq 1 ]
  assert_contains "$output" "Error: \`aarch64-apple-darwin\` is built on a machine of this kind only; this one builds "
}
