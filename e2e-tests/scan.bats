#!/usr/bin/env bats
# Scan results as resources of scanners (two operators with Trivy, Clair and Grype) and as annotations.

load helpers

OTHER="sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
IMAGE="registry.example.com/app@$DIGEST"

# The namespace of the reports. The workload is in `shop`.
NAMESPACE=scans

setup() { SESSION="$BATS_TEST_TMPDIR/session.yml"; : > "$SESSION"; }

# registry_says [ANNOTATIONS]: adds the manifest, with these annotations, and the configuration of the image to the session.
registry_says() {
  local answer
  answer="$(jq -nc --arg digest "$DIGEST" --argjson annotations "${1:-null}" '{digest: $digest, config: {},
    manifest: {config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: "sha256:c"}, annotations: $annotations}}')"
  exchange OciManifestAndConfig "image: $IMAGE" "$answer"
}

# get API_VERSION KIND NAME MASK… <<< ANSWER: adds the answer to a request for a resource in the namespace. An answer that is not valid
# JSON is an error.
get() {
  local answer type=Success fields
  answer="$(cat)"
  jq -e . > /dev/null 2>&1 <<< "$answer" || type=Error
  fields="$(printf 'api_version: %s\nkind: %s\nname: %s\nnamespace: %s\ndisable_cache: false\n' "$1" "$2" "$3" "$NAMESPACE"; masks "${@:4}")"
  exchange KubernetesGetResource "$fields" "$answer" "$type"
}

# not_there KIND NAME: prints the error of the host for a resource that does not exist.
not_there() { echo "Cannot find $1 named '$2' inside of namespace 'Some(\"$NAMESPACE\")'"; }

# list API_VERSION KIND MASK… <<< ANSWER: adds the answer to a request for the resources in the namespace, after the access probe.
list() {
  local answer fields
  answer="$(cat)"
  get "$1" "$2" container-patch- metadata <<< "$(not_there "$1/$2" container-patch-)"
  fields="$(printf 'api_version: %s\nkind: %s\nnamespace: %s\nlabel_selector: null\nfield_selector: null\n' "$1" "$2" "$NAMESPACE"; masks "${@:3}")"
  exchange KubernetesListResourceNamespace "$fields" "$answer"
}

# SOURCE_report SEVERITY FIXED PUBLISHED: adds a report about the image with this vulnerability, or without one if SEVERITY is empty.
sbomscanner_report() {
  local api=storage.sbomscanner.kubewarden.io/v1alpha1
  jq -nc --arg digest "$DIGEST" '{items: [{metadata: {name: "r"}, imageMetadata: {digest: $digest}}]}' |
    list $api VulnerabilityReport imageMetadata.digest
  jq -nc --arg digest "$DIGEST" --arg severity "$1" --argjson fixed "$2" '{metadata: {name: "r"}, imageMetadata: {digest: $digest},
      report: {results: [{vulnerabilities: (if $severity == "" then [] else
        [{cve: "CVE-2026-0001", packageName: "openssl", severity: ($severity | ascii_upcase), fixedVersions: $fixed, suppressed: false}] end)}]}}' |
    get $api VulnerabilityReport r imageMetadata.digest report.results.vulnerabilities.cve report.results.vulnerabilities.fixedVersions \
      report.results.vulnerabilities.packageName report.results.vulnerabilities.severity report.results.vulnerabilities.suppressed
}

TRIVY_OPERATOR=aquasecurity.github.io/v1alpha1

# trivyOperator_list NAME TIME [NAME TIME]…: adds a list of reports about the image.
trivyOperator_list() {
  jq -nc --arg digest "$DIGEST" '{items: [$ARGS.positional | _nwise(2) | {metadata: {name: .[0]}, report: {
      artifact: {repository: "app", tag: "1", digest: $digest}, registry: {server: "registry.example.com"}, updateTimestamp: .[1],
      summary: {criticalCount: 1, highCount: 0, mediumCount: 0, lowCount: 0, noneCount: 0, unknownCount: 0}}}]}' --args "$@" |
    list $TRIVY_OPERATOR VulnerabilityReport report.artifact report.registry.server report.summary report.updateTimestamp
}

# trivyOperator_get NAME TIME SEVERITY FIXED PUBLISHED: adds one of these reports.
trivyOperator_get() {
  jq -nc --arg name "$1" --arg at "$2" --arg severity "$3" --arg fixed "$(jq -r '.[0] // ""' <<< "$4")" --arg published "$5" '{metadata: {name: $name},
      report: {updateTimestamp: $at, vulnerabilities: (if $severity == "" then [] else
        [{vulnerabilityID: "CVE-2026-0001", resource: "openssl", severity: ($severity | ascii_upcase), fixedVersion: $fixed, publishedDate: $published}] end)}}' |
    get $TRIVY_OPERATOR VulnerabilityReport "$1" report.updateTimestamp report.vulnerabilities.fixedVersion report.vulnerabilities.publishedDate \
      report.vulnerabilities.resource report.vulnerabilities.severity report.vulnerabilities.vulnerabilityID
}

trivyOperator_report() {
  trivyOperator_list r 2026-11-19T08:00:00Z
  trivyOperator_get r 2026-11-19T08:00:00Z "$@"
}

quay_report() {
  jq -nc --arg digest "$DIGEST" --arg severity "$1" --arg fixed "$(jq -r '.[0] // ""' <<< "$2")" --arg published "$3" '{metadata: {name: "r"},
      status: {lastUpdate: "2026-11-19 08:00:00.5 +0000 UTC"},
      spec: {manifest: $digest, features: (if $severity == "" then null else
        [{name: "openssl", vulnerabilities: [{name: "CVE-2026-0001", severity: $severity, fixedby: $fixed,
          metadata: ({NVD: {CVSSv2: {PublishedDateTime: $published}}} | tojson)}]}] end)}}' |
    get secscan.quay.redhat.com/v1alpha1 ImageManifestVuln "${DIGEST/:/.}" spec.features.name \
      spec.features.vulnerabilities.fixedby spec.features.vulnerabilities.metadata spec.features.vulnerabilities.name \
      spec.features.vulnerabilities.severity spec.manifest status.lastUpdate
}

KUBESCAPE=spdx.softwarecomposition.kubescape.io/v1beta1

# kubescape_get NAME SEVERITY FIXED PUBLISHED: adds a vulnerability manifest about the image.
kubescape_get() {
  jq -nc --arg name "$1" --arg image "$IMAGE" --arg severity "$2" --argjson fixed "$3" --arg published "$4" '{
      metadata: {name: $name, annotations: {"kubescape.io/image-id": $image}}, spec: {
      metadata: {report: {createdAt: "2026-11-19T08:00:00.5Z"}},
      payload: {matches: (if $severity == "" then [] else [{artifact: {name: "openssl"}, relatedVulnerabilities: [],
        vulnerability: {id: "CVE-2026-0001", severity: $severity, fix: {versions: $fixed, state: "fixed",
          available: [{version: $fixed[0], date: $published}]}}}] end)}}}' | kubescape_answers "$1"
}

# kubescape_answers NAME <<< ANSWER: adds the answer to a request for a vulnerability manifest.
kubescape_answers() {
  get $KUBESCAPE VulnerabilityManifest "$1" spec.metadata.report.createdAt spec.payload.descriptor.timestamp spec.payload.matches.artifact.name \
    spec.payload.matches.relatedVulnerabilities.id spec.payload.matches.vulnerability.fix spec.payload.matches.vulnerability.id \
    spec.payload.matches.vulnerability.severity
}

kubescape_report() {
  jq -nc --arg image "$IMAGE" '{items: [{metadata: {name: "m", annotations: {"kubescape.io/image-id": $image}}}]}' |
    list $KUBESCAPE VulnerabilityManifest metadata
  kubescape_get m "$@"
}

# kubescape_summary NAMESPACE NAME: adds a summary in the namespace of the workload that refers to this vulnerability manifest.
kubescape_summary() {
  local NAMESPACE=shop
  jq -nc --arg image "$IMAGE" '{items: [{metadata: {name: "s", annotations: {"kubescape.io/image-id": $image}, labels: {"kubescape.io/context": "filtered"}}}]}' |
    list $KUBESCAPE VulnerabilityManifestSummary metadata
  jq -nc --arg namespace "$1" --arg name "$2" '{metadata: {name: "s"}, spec: {vulnerabilitiesRef: {all: {namespace: $namespace, name: $name}}}}' |
    get $KUBESCAPE VulnerabilityManifestSummary s spec.vulnerabilitiesRef.all
}

# scan SETTINGS [OBJECT] [TIME]: judges a pod with the image by the rule `scan` only, with the session.
scan() {
  local settings pod
  settings="$(quiet "$(jq -nc --argjson settings "$1" --arg at "${3:-2026-11-20T12:00:00Z}" '{scan: {action: "deny"}, evaluateAt: $at} * $settings')")"
  pod="${2:-$(pod "$IMAGE")}"
  [ -s "$SESSION" ] || echo '[]' > "$SESSION"
  policy_run --request-path "$(request v1 Pod "$pod")" --settings-json "$settings" --allow-context-aware \
    --replay-host-capabilities-interactions "$SESSION"
  [ "$status" -eq 0 ]
  [[ "$stderr" != *"was not replayed"* ]]
}

# reports SOURCE [SETTINGS]: prints settings that read the reports of a source in the namespace, changed by these settings.
reports() {
  jq -nc --arg source "$1" --arg namespace "$NAMESPACE" --argjson more "${2:-{\}}" '{scan: {reports: [{source: $source, namespace: $namespace}]}} * $more'
}

# codes CODE…: asserts the codes of the findings, without the one about `evaluateAt`.
codes() { [ "$(annotation findings | jq -r '[.[] | select(.code != "evaluate-at-set").code] | join(" ")')" = "$*" ]; }

vulnerable_then_fixed() {
  registry_says
  "$1_report" Critical '["3.0.8"]' ""
  scan "$(reports "$1")"
  [ "$(response .allowed)" = false ]
  codes vulnerable-image
  assert_contains "$(message)" "has 1 critical (0 allowed) vulnerability with a fix; deploy a build that has the fixes: CVE-2026-0001 in openssl (fixed in 3.0.8) (by "
  setup
  registry_says
  "$1_report" "" '[]' ""
  scan "$(reports "$1" '{"scan": {"require": true}}')"
  [ "$(response .allowed)" = true ]
  codes
}

# in_window SOURCE: judges a vulnerability that was published on the 18th, before and at the end of its patch window.
in_window() {
  local settings
  settings="$(reports "$1" '{"scan": {"patchWithin": {"critical": "7d"}}}')"
  registry_says
  "$1_report" Critical '["3.0.8"]' 2026-11-18T00:00:00Z
  scan "$settings"
  [ "$(response .allowed)" = true ]
  codes patch-window-open
  assert_contains "$(warnings)" "due 2026-11-25"
  scan "$settings" "" 2026-11-25T00:00:00Z
  [ "$(response .allowed)" = false ]
  codes vulnerable-image
}

excepted_until_its_last_second() {
  local settings
  settings="$(reports "$1" '{"exceptions": [{"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-11-30", "reason": "SEC-42"}]}')"
  registry_says
  "$1_report" Critical '["3.0.8"]' ""
  scan "$settings" "" 2026-11-30T23:59:59Z
  [ "$(response .allowed)" = true ]
  codes excepted
  assert_contains "$(warnings)" "is excepted from CVE-2026-0001 until 2026-11-30 (SEC-42)"
  scan "$settings" "" 2026-12-01T00:00:00Z
  [ "$(response .allowed)" = false ]
  codes vulnerable-image expired-exception
  assert_contains "$(message)" "; the exception for CVE-2026-0001 ended: 2026-11-30 (SEC-42) [vulnerable-image]"
}

@test "SBOMscanner (Trivy): a vulnerable image is denied, and accepted once it is fixed" { vulnerable_then_fixed sbomscanner; }
@test "Trivy operator: a vulnerable image is denied, and accepted once it is fixed" { vulnerable_then_fixed trivyOperator; }
@test "Quay (Clair): a vulnerable image is denied, and accepted once it is fixed" { vulnerable_then_fixed quay; }
@test "Kubescape (Grype): a vulnerable image is denied, and accepted once it is fixed" { vulnerable_then_fixed kubescape; }

@test "Trivy operator: a vulnerability inside its patch window is a warning" { in_window trivyOperator; }
@test "Quay (Clair): a vulnerability inside its patch window is a warning" { in_window quay; }
@test "Kubescape (Grype): a vulnerability inside its patch window is a warning" { in_window kubescape; }

@test "SBOMscanner (Trivy): an exception holds until its last second" { excepted_until_its_last_second sbomscanner; }
@test "Trivy operator: an exception holds until its last second" { excepted_until_its_last_second trivyOperator; }
@test "Quay (Clair): an exception holds until its last second" { excepted_until_its_last_second quay; }
@test "Kubescape (Grype): an exception holds until its last second" { excepted_until_its_last_second kubescape; }

@test "SBOMscanner reports no publication dates, so patchWithin does not apply" {
  registry_says
  sbomscanner_report Critical '["3.0.8"]' ""
  scan "$(reports sbomscanner '{"scan": {"patchWithin": {"critical": "7d"}}}')"
  codes vulnerable-image
}

@test "only vulnerabilities with a fix count, unless fixableOnly is false" {
  registry_says
  sbomscanner_report Critical null ""
  scan "$(reports sbomscanner)"
  codes
  scan "$(reports sbomscanner '{"scan": {"fixableOnly": false}}')"
  codes vulnerable-image
}

@test "a source without read permission is unavailable, and the message says what to apply" {
  registry_says
  get secscan.quay.redhat.com/v1alpha1 ImageManifestVuln "${DIGEST/:/.}" spec.features.name \
    spec.features.vulnerabilities.fixedby spec.features.vulnerabilities.metadata spec.features.vulnerabilities.name \
    spec.features.vulnerabilities.severity spec.manifest status.lastUpdate <<< 'imagemanifestvulns.secscan.quay.redhat.com is forbidden'
  scan "$(reports quay)"
  codes evidence-unavailable
  assert_contains "$(message)" "could not be verified: let policy-server read it, kubectl apply -f deploy/rbac/quay.yaml: ImageManifestVuln of Quay"
}

@test "without contextAwareResources no report is read, and the message says what to add" {
  registry_says
  policy_run --request-path "$(request v1 Pod "$(pod "$IMAGE")")" --replay-host-capabilities-interactions "$SESSION" \
    --settings-json "$(quiet "$(reports quay '{"scan": {"action": "deny"}}')")"
  assert_denied evidence-unavailable
  assert_contains "$(message)" 'add `{apiVersion: secscan.quay.redhat.com/v1alpha1, kind: ImageManifestVuln}` to `contextAwareResources` of the policy'
}

# Reports that users with write access to the namespace of the workload can forge.

@test "Trivy operator: a newer report without vulnerabilities does not hide an older one" {
  NAMESPACE=shop
  for at in 2026-11-20T08:00:00Z 2026-11-01T08:00:00Z; do
    setup
    registry_says
    trivyOperator_list r 2026-11-19T08:00:00Z forged "$at"
    if [[ "$at" > 2026-11-19 ]]; then
      trivyOperator_get forged "$at" "" '[]' ""
      trivyOperator_get r 2026-11-19T08:00:00Z Critical '["3.0.8"]' ""
    else
      trivyOperator_get r 2026-11-19T08:00:00Z Critical '["3.0.8"]' ""
      trivyOperator_get forged "$at" "" '[]' ""
    fi
    for settings in '{"scan": {"reports": [{"source": "trivyOperator"}]}}' "$(reports trivyOperator)"; do
      scan "$settings"
      [ "$(response .allowed)" = false ]
      codes vulnerable-image
    done
  done
}

@test "Trivy operator: many newer reports do not hide an older one" {
  local forged=()
  NAMESPACE=shop
  for number in {10..41}; do forged+=("forged-$number" 2026-11-20T08:00:00Z); done
  registry_says
  trivyOperator_list r 2026-11-19T08:00:00Z "${forged[@]}"
  for number in {10..41}; do trivyOperator_get "forged-$number" 2026-11-20T08:00:00Z "" '[]' ""; done
  scan '{"scan": {"reports": [{"source": "trivyOperator"}]}}'
  [ "$(response .allowed)" = false ]
  codes vulnerable-image
  assert_contains "$(message)" "(by the summary of VulnerabilityReport \`shop/r\` of Trivy operator, one of more than 32 reports about the image, 2026-11-19)"
}

@test "a report in the namespace of the workload does not satisfy scan.require" {
  NAMESPACE=shop
  for source in sbomscanner trivyOperator quay kubescape; do
    setup
    registry_says
    "${source}_report" "" '[]' ""
    scan "$(reports "$source" '{"scan": {"require": true}}')"
    [ "$(response .allowed)" = false ]
    codes unscanned-image
    assert_contains "$(message)" "; reports in the workload's own namespace do not satisfy \`scan.require\` [unscanned-image]"
    [ "$source" = kubescape ] && continue
    scan "{\"scan\": {\"require\": true, \"reports\": [{\"source\": \"$source\"}]}}"
    [ "$(response .allowed)" = false ]
    codes unscanned-image
  done
}

@test "Kubescape: a summary may refer to the namespace of Kubescape, and not to that of the workload" {
  local required='{"scan": {"require": true, "reports": [{"source": "kubescape"}]}}'
  registry_says
  kubescape_summary kubescape m
  NAMESPACE=kubescape kubescape_get m "" '[]' ""
  scan "$required"
  [ "$(response .allowed)" = true ]
  codes
  setup
  registry_says
  kubescape_summary shop mine
  NAMESPACE=kubescape
  kubescape_answers mine <<< "$(not_there $KUBESCAPE/VulnerabilityManifest mine)"
  scan "$required"
  [ "$(response .allowed)" = false ]
  codes unscanned-image evidence-unavailable
  assert_contains "$(message)" "give the namespace of Kubescape in \`scan.reports\`: VulnerabilityManifest \`mine\`"
}

@test "Kubescape: a summary may not refer to a vulnerability manifest about another image" {
  registry_says
  kubescape_summary kubescape m
  IMAGE="registry.example.com/app@$OTHER" NAMESPACE=kubescape kubescape_get m "" '[]' ""
  scan '{"scan": {"require": true, "reports": [{"source": "kubescape"}]}}'
  [ "$(response .allowed)" = false ]
  codes unscanned-image evidence-unavailable
}

# annotated KEY VALUE: prints a pod with the image and an annotation.
annotated() { pod "$IMAGE" | jq -c --arg key "$1" --arg value "$2" '.metadata = {name: "web", namespace: "shop", annotations: {($key): $value}}'; }

# said CRITICAL [DIGEST]: prints a scan annotation that reports this number of critical vulnerabilities.
said() {
  jq -nc --arg count "$1" --arg digest "${2:-$DIGEST}" '{name: "trivy", timestamp: "2026-11-19T08:00:00Z", image: $digest,
    summary: [{label: "critical", data: $count, severityIndex: 3}]}'
}

@test "an annotation of a clean scan on a pod does not clear a vulnerable image, unless pod annotations are trusted" {
  local pod
  pod="$(annotated scan.container-patch.dev/app "$(said 0)")"
  registry_says
  quay_report Critical '["3.0.8"]' ""
  scan "$(reports quay)" "$pod"
  [ "$(response .allowed)" = false ]
  codes vulnerable-image
  setup
  registry_says
  scan "$(reports quay '{"scan": {"podAnnotations": "trust"}}')" "$pod"
  [ "$(response .allowed)" = true ]
  codes
}

@test "a pod with an annotation that flags its image is denied, also if annotations are trusted" {
  registry_says
  for trust in flag trust; do
    scan "{\"scan\": {\"podAnnotations\": \"$trust\"}}" "$(annotated scan.container-patch.dev/app "$(said 4)")"
    codes vulnerable-image
    scan "{\"scan\": {\"podAnnotations\": \"$trust\"}}" "$(annotated images.openshift.io/deny-execution true)"
    codes scan-flagged
  done
}

@test "a scan annotation for another digest is ignored" {
  # The image is a single one, so the registry is not asked whether the digest is that of another image in its index.
  registry_says
  scan '{}' "$(annotated scan.container-patch.dev/app "$(said 4 "$OTHER")")"
  codes
}

@test "an image with an annotation of its own vulnerabilities is denied" {
  registry_says "$(jq -nc --arg said "$(said 2 | jq -c 'del(.image)')" '{"quality.images.openshift.io/vulnerability.trivy": $said}')"
  scan '{}'
  codes vulnerable-image
  assert_contains "$(message)" '(by annotation `quality.images.openshift.io/vulnerability.trivy` of the image, 2026-11-19) [vulnerable-image]'
}

@test "an invalid scan annotation flags the image, with the reason" {
  registry_says
  local deep long
  deep="$(printf '[%.0s' {1..10000})"
  long="$(head -c 100000 /dev/zero | tr '\0' x)"
  while IFS=$'\t' read -r value expected; do
    scan '{}' "$(annotated scan.container-patch.dev/app "$value")"
    [ "$(response .allowed)" = false ]
    codes scan-flagged
    assert_contains "$(message)" "$expected"
    [ "$(message | wc -c)" -lt 1000 ]
  done <<TABLE
$long	cannot be read: expected value
$deep	cannot be read: invalid type: sequence, expected an object
{"timestamp": 1e999}	timestamp: invalid time \`1e999\`
{"image": "$DIGEST", "timestamp": 1795000000, "summary": [{"label": "x", "data": 1, "severityIndex": 9}]}	severityIndex: expected 0, 1, 2 or 3, found \`9\`
{"compliant": true}	\`timestamp\` is required
$(said 0 | jq -c '.timestamp = "2036-01-01T00:00:00Z"')	says that it was scanned 2036-01-01, which is in the future
TABLE
}

@test "exceptions without an end or a reason are invalid" {
  for missing in until reason; do
    policy_run --request-path "$(request v1 Pod "$(pod "$IMAGE")")" --settings-json \
      "$(jq -nc --arg missing "$missing" '{exceptions: [{images: ["*"], rules: ["stale-image"], until: "2026-12-31", reason: "x"} | del(.[$missing])]}')"
    [ "$status" -ne 0 ]
    assert_contains "$stderr" "exceptions[0]: \`$missing\` is required"
  done
}

# The policy judges the annotations that `container-patch annotate` writes.

# check_annotated REPORT SETTINGS: annotates a manifest with the report, checks it, and prints the codes of the findings.
check_annotated() {
  printf 'apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop}\nspec: {containers: [{name: app, image: "%s"}]}\n' "$IMAGE" > "$BATS_TEST_TMPDIR/web.yaml"
  "$CONTAINER_PATCH" annotate "$1" "$BATS_TEST_TMPDIR/web.yaml" --container app --digest "$DIGEST" --timestamp 2026-11-19T08:00:00Z > "$BATS_TEST_TMPDIR/annotated.yaml"
  setup
  registry_says
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/annotated.yaml" --output json --replay-host-capabilities-interactions "$SESSION" \
    --settings-json "$(quiet "$(jq -nc --argjson settings "$2" '{scan: {action: "deny"}, evaluateAt: "2026-11-20T12:00:00Z"} * $settings')")"
  echo "output: $output"
  echo "stderr: $stderr"
  jq -r '[.objects[0].findings[] | select(.code != "evaluate-at-set").code] | join(" ")' <<< "$output"
}

# annotate_implies REPORT: asserts the findings about a report with one critical vulnerability that has a fix and a high one that has
# none. A publication date in the report is 2026-11-18.
annotate_implies() {
  [ "$(check_annotated "$1" '{}' | tail -1)" = vulnerable-image ]
  [ "$(check_annotated "$1" '{"scan": {"maxAllowed": {"critical": 1, "high": 0}}}' | tail -1)" = "" ]
  [ "$(check_annotated "$1" '{"scan": {"maxAllowed": {"high": 0}, "fixableOnly": false}}' | tail -1)" = vulnerable-image ]
  [ "$(check_annotated "$1" '{"exceptions": [{"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"}]}' | tail -1)" = excepted ]
}

@test "annotate and check: Trivy" {
  jq -nc '{SchemaVersion: 2, CreatedAt: "2026-11-19T08:00:00Z", ArtifactName: "registry.example.com/app:1", ArtifactType: "container_image",
    Metadata: {RepoDigests: []}, Results: [{Target: "app", Vulnerabilities: [
      {VulnerabilityID: "CVE-2026-0001", PkgName: "openssl", InstalledVersion: "3.0.7", FixedVersion: "3.0.8", Severity: "CRITICAL", PublishedDate: "2026-11-18T00:00:00Z"},
      {VulnerabilityID: "CVE-2026-0002", PkgName: "zlib", InstalledVersion: "1.3", Severity: "HIGH"}]}]}' > "$BATS_TEST_TMPDIR/trivy.json"
  annotate_implies "$BATS_TEST_TMPDIR/trivy.json"
  [ "$(check_annotated "$BATS_TEST_TMPDIR/trivy.json" '{"scan": {"patchWithin": {"critical": "7d"}}}' | tail -1)" = patch-window-open ]
}

# annotated_trivy VULNERABILITIES: writes a Trivy report with these vulnerabilities, and prints its file name.
annotated_trivy() {
  jq -nc --argjson found "$1" '{SchemaVersion: 2, CreatedAt: "2026-11-19T08:00:00Z", ArtifactName: "registry.example.com/app:1",
    ArtifactType: "container_image", Metadata: {RepoDigests: []}, Results: [{Target: "a", Vulnerabilities: $found}, {Target: "b", Vulnerabilities: $found}]}' \
    > "$BATS_TEST_TMPDIR/trivy.json"
  echo "$BATS_TEST_TMPDIR/trivy.json"
}

@test "annotate and check: exceptions and patchWithin apply to a vulnerability that is in an image twice" {
  local report
  report="$(annotated_trivy '[{"VulnerabilityID": "CVE-2026-0001", "PkgName": "stdlib", "FixedVersion": "1.2", "Severity": "CRITICAL", "PublishedDate": "2026-11-18T00:00:00Z"}]')"
  [ "$(check_annotated "$report" '{}' | tail -1)" = vulnerable-image ]
  [ "$(check_annotated "$report" '{"scan": {"patchWithin": {"critical": "7d"}}}' | tail -1)" = patch-window-open ]
  [ "$(check_annotated "$report" '{"exceptions": [{"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "x"}]}' | tail -1)" = excepted ]
}

@test "annotate and check: a list without package names is judged like a complete list, unlike one without vulnerabilities" {
  local report settings='{"scan": {"maxAllowed": {"high": 0}, "patchWithin": {"high": "7d"}}}'
  report="$(annotated_trivy "$(jq -nc '[range(170) | {VulnerabilityID: "CVE-2026-\(10000 + .)", PkgName: "openssl", FixedVersion: "3.0.8", Severity: "HIGH", PublishedDate: "2026-11-18T00:00:00Z"}]')")"
  [ "$(check_annotated "$report" "$settings" | tail -1)" = patch-window-open ]
  report="$(annotated_trivy "$(jq -nc '[range(500) | {VulnerabilityID: "CVE-2026-\(10000 + .)", PkgName: "openssl", FixedVersion: "3.0.8", Severity: "HIGH", PublishedDate: "2026-11-18T00:00:00Z"}]')")"
  [ "$(check_annotated "$report" "$settings" | tail -1)" = "vulnerable-image patch-window-open" ]
}

@test "annotate and check: Grype" {
  jq -nc '{matches: [
      {vulnerability: {id: "GHSA-2c4m-59x9-fr2g", severity: "Critical", fix: {versions: ["3.0.8"], state: "fixed", available: [{version: "3.0.8", date: "2026-11-18"}]}},
       relatedVulnerabilities: [{id: "CVE-2026-0001"}], artifact: {name: "openssl", version: "3.0.7"}},
      {vulnerability: {id: "CVE-2026-0002", severity: "High", fix: {versions: [], state: "not-fixed"}}, relatedVulnerabilities: [], artifact: {name: "zlib", version: "1.3"}}],
    source: {type: "image", target: {userInput: "registry.example.com/app:1", repoDigests: [], tags: []}},
    descriptor: {name: "grype", version: "0.104.0", timestamp: "2026-11-19T08:00:00Z"}}' > "$BATS_TEST_TMPDIR/grype.json"
  annotate_implies "$BATS_TEST_TMPDIR/grype.json"
  [ "$(check_annotated "$BATS_TEST_TMPDIR/grype.json" '{"scan": {"patchWithin": {"critical": "7d"}}}' | tail -1)" = patch-window-open ]
}

@test "annotate and check: Clair" {
  jq -nc --arg digest "$DIGEST" '{manifest_hash: $digest, packages: {"1": {id: "1", name: "openssl", version: "3.0.7"}, "2": {id: "2", name: "zlib", version: "1.3"}},
    distributions: {}, repository: {}, environments: {}, enrichments: {}, package_vulnerabilities: {"1": ["10"], "2": ["20"]}, vulnerabilities: {
      "10": {id: "10", name: "CVE-2026-0001", normalized_severity: "Critical", fixed_in_version: "3.0.8", issued: "2026-11-18T00:00:00Z"},
      "20": {id: "20", name: "CVE-2026-0002", normalized_severity: "High", fixed_in_version: "", issued: "2026-11-18T00:00:00Z"}}}' > "$BATS_TEST_TMPDIR/clair.json"
  annotate_implies "$BATS_TEST_TMPDIR/clair.json"
  [ "$(check_annotated "$BATS_TEST_TMPDIR/clair.json" '{"scan": {"patchWithin": {"critical": "7d"}}}' | tail -1)" = patch-window-open ]
}

@test "annotate and check: SARIF" {
  jq -nc '{version: "2.1.0", "$schema": "https://json.schemastore.org/sarif-2.1.0.json", runs: [{tool: {driver: {name: "Trivy", version: "0.67.2", rules: [
      {id: "CVE-2026-0001", properties: {"security-severity": "9.8", tags: ["vulnerability", "security", "CRITICAL"]}},
      {id: "CVE-2026-0002", properties: {"security-severity": "7.5", tags: ["vulnerability", "security", "HIGH"]}}]}},
    results: [
      {ruleId: "CVE-2026-0001", ruleIndex: 0, level: "error", message: {text: "Package: openssl\nInstalled Version: 3.0.7\nVulnerability CVE-2026-0001\nSeverity: CRITICAL\nFixed Version: 3.0.8\nLink: [x](y)"}},
      {ruleId: "CVE-2026-0002", ruleIndex: 1, level: "error", message: {text: "Package: zlib\nInstalled Version: 1.3\nVulnerability CVE-2026-0002\nSeverity: HIGH\nFixed Version: \nLink: [x](y)"}}],
    properties: {imageName: "registry.example.com/app:1", repoDigests: []}}]}' > "$BATS_TEST_TMPDIR/scan.sarif"
  annotate_implies "$BATS_TEST_TMPDIR/scan.sarif"
}

@test "annotate and check: an image volume" {
  local report
  report="$(annotated_trivy '[{"VulnerabilityID": "CVE-2026-0001", "PkgName": "openssl", "FixedVersion": "3.0.8", "Severity": "CRITICAL"}]')"
  jq -nc --arg image "$IMAGE" '{apiVersion: "v1", kind: "Pod", metadata: {name: "web", namespace: "shop"},
    spec: {containers: [], volumes: [{name: "model", image: {reference: $image}}]}}' > "$BATS_TEST_TMPDIR/web.json"
  "$CONTAINER_PATCH" annotate -i "$report" "$BATS_TEST_TMPDIR/web.json" --container model --digest "$DIGEST"
  registry_says
  run --separate-stderr "$CONTAINER_PATCH" check "$BATS_TEST_TMPDIR/web.json" --output json --replay-host-capabilities-interactions "$SESSION" \
    --settings-json "$(quiet '{"scan": {"action": "deny"}, "evaluateAt": "2026-11-20T12:00:00Z"}')"
  echo "output: $output"
  [ "$(jq -r '[.objects[0].findings[] | select(.code != "evaluate-at-set").code] | join(" ")' <<< "$output")" = vulnerable-image ]
}
