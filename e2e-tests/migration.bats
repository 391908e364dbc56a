#!/usr/bin/env bats
# The policies of other tools in examples/migration/ and the settings that replace them have the same verdicts, except for the differences that
# the pages list: docs/migrate-from-kyverno.md, docs/migrate-from-gatekeeper.md and docs/migrate-from-image-cve-policy.md.
#
# The policies of Kyverno and Gatekeeper are evaluated by engines for CEL and Rego, in the Python environment target/migration. The rules of
# image-cve-policy are evaluated by its module, IMAGE_CVE_POLICY=FILE.wasm. Without them, these tests are skipped.

load helpers

MIGRATION="$ROOT/examples/migration"
PYTHON="${MIGRATION_PYTHON:-$ROOT/target/migration/bin/python}"

# compare TOOL: prints the objects with different verdicts, and the totals.
compare() {
  [ -x "$PYTHON" ] || skip "$PYTHON is missing: run \`hack/setup test\`"
  run --separate-stderr "$PYTHON" "$MIGRATION/compare" "$1"
  echo "$output"
  echo "$stderr"
  [ "$status" -eq 0 ]
  output="$(grep -v '^same ' <<< "$output")"
}

# assert_documented PAGE: each object with different verdicts has a row in the page, and the page has no other row.
assert_documented() {
  local different rows
  different="$(sed -n 's#^different  \([A-Za-z]*\) [a-z]*/\([a-z-]*\): .*#\2#p' <<< "$output" | sort)"
  rows="$(sed -n '/^| object | /,/^$/s/^| `\([a-z-]*\)` |.*/\1/p' "$ROOT/docs/$1" | sort)"
  [ "$different" != "" ]
  printf 'different: %s\nrows: %s\n' "$different" "$rows"
  [ "$different" = "$rows" ]
}

@test "the settings for each tool have the expected verdicts" {
  run "$CONTAINER_PATCH" test "$MIGRATION"
  echo "$output"
  [ "$status" -eq 0 ]
  for tool in kyverno gatekeeper image-cve-policy policy-controller; do
    assert_contains "$output" "$MIGRATION/$tool/container-patch-test.yaml: "
  done
}

@test "the settings for each tool are valid and cause no warnings" {
  for tool in kyverno gatekeeper image-cve-policy policy-controller; do
    run "$CONTAINER_PATCH" validate --settings-path "$MIGRATION/$tool/settings.yaml"
    echo "$output"
    [ "$status" -eq 0 ]
    [ "$output" = "$MIGRATION/$tool/settings.yaml: valid" ]
  done
}

@test "Kyverno's policy and the settings have the same verdicts, except for the differences in the docs" {
  compare kyverno
  [ "$output" = "different  Pod shop/short-name: kyverno denied, container-patch accepted
different  Pod shop/patched-in-place: kyverno denied, container-patch accepted
different  Pod shop/image-volume-tag: kyverno accepted, container-patch denied
19 objects: 16 the same, 3 different" ]
  assert_documented migrate-from-kyverno.md
}

@test "Gatekeeper's policy and the settings have the same verdicts, except for the differences in the docs" {
  compare gatekeeper
  [ "$output" = "different  Deployment shop/deployment-tag: gatekeeper accepted, container-patch denied
different  Pod shop/similar-registry: gatekeeper accepted, container-patch denied
different  Pod shop/short-name: gatekeeper denied, container-patch accepted
different  Pod shop/invalid-digest: gatekeeper accepted, container-patch denied
different  Pod shop/image-volume-tag: gatekeeper accepted, container-patch denied
17 objects: 12 the same, 5 different" ]
  assert_documented migrate-from-gatekeeper.md
}

@test "a policy that denies everything is different for each accepted object" {
  cp -r "$MIGRATION" "$BATS_TEST_TMPDIR/"
  MIGRATION="$BATS_TEST_TMPDIR/migration"
  sed -i "s/variables.containers.all(c, c.image.contains('@sha256:'))/1 > 2/" "$MIGRATION/kyverno/validating-policy.yaml"
  compare kyverno
  assert_contains "$output" "different  Pod shop/digest: kyverno denied, container-patch accepted"
  assert_contains "$output" "different  Deployment shop/deployment-digest: kyverno denied, container-patch accepted"
}

@test "the recorded verdicts of image-cve-policy and the verdicts of the settings differ as the docs say" {
  # verdicts FILE: prints the objects with the verdicts of a test file. A warning admits an object.
  verdicts() { sed -n 's/.*kind: \([A-Za-z]*\), .*name: \([a-z-]*\), verdict: \([a-z]*\).*/\1 \2 \3/p' "$1" | sed 's/warned$/accepted/'; }
  cd "$MIGRATION/image-cve-policy"
  run diff <(verdicts image-cve-policy-test.yaml) <(verdicts container-patch-test.yaml)
  echo "$output"
  [ "$(grep '^[<>]' <<< "$output")" = "< Pod digest-of-index denied
< Pod image-volume-critical accepted
> Pod digest-of-index accepted
> Pod image-volume-critical denied" ]
  output="different  Pod shop/digest-of-index: …
different  Pod shop/image-volume-critical: …"
  assert_documented migrate-from-image-cve-policy.md
}

@test "image-cve-policy has the recorded verdicts" {
  [ -n "${IMAGE_CVE_POLICY:-}" ] || skip "IMAGE_CVE_POLICY is not set: kwctl pull --output-path FILE.wasm registry://ghcr.io/kubewarden/policies/image-cve-policy:v0.6.3"
  run "$CONTAINER_PATCH" test --policy "$IMAGE_CVE_POLICY" "$MIGRATION/image-cve-policy/image-cve-policy-test.yaml"
  echo "$output"
  [ "$status" -eq 0 ]
}
