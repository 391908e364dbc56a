#!/usr/bin/env bats
# container-patch annotate: reads the report of a scanner and a manifest, and writes the annotated manifest.

load helpers

OTHER="sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210"
CONFIG="sha256:00000000000000000000000000000000000000000000000000000000000c0f19"

setup() { cd "$BATS_TEST_TMPDIR"; }

annotate() {
  run --separate-stderr "$CONTAINER_PATCH" annotate "$@"
  echo "status: $status"
  echo "output: $output"
  echo "stderr: $stderr"
}

# trivy [JQ]: prints a Trivy report about registry.example.com/shop/web:1.4, changed by a jq program.
trivy() {
  jq -n --arg digest "$DIGEST" --arg config "$CONFIG" '{
    SchemaVersion: 2, Trivy: {Version: "0.67.2"}, CreatedAt: "2026-11-19T08:00:00.123Z",
    ArtifactName: "registry.example.com/shop/web:1.4", ArtifactType: "container_image",
    Metadata: {ImageID: $config, RepoTags: ["registry.example.com/shop/web:1.4"],
               RepoDigests: ["registry.example.com/shop/web@\($digest)"]},
    Results: [{Target: "web (debian 13)", Class: "os-pkgs", Vulnerabilities: [
      {VulnerabilityID: "CVE-2026-0002", PkgName: "zlib", InstalledVersion: "1.2", Severity: "HIGH", Status: "affected"},
      {VulnerabilityID: "CVE-2026-0001", PkgName: "openssl", InstalledVersion: "3.0.7", FixedVersion: "3.0.8",
       Severity: "CRITICAL", PublishedDate: "2026-11-01T17:15:00Z"}]}]} | '"${1:-.}"
}

# grype [JQ]: prints a Grype report about the same image.
grype() {
  jq -n --arg digest "$DIGEST" --arg config "$CONFIG" '{
    matches: [{
      vulnerability: {id: "GHSA-aaaa-bbbb-cccc", severity: "Medium",
                      fix: {versions: ["1.2.1"], state: "fixed", available: [{version: "1.2.1", date: "2026-10-01"}]}},
      relatedVulnerabilities: [{id: "CVE-2026-0005"}], artifact: {name: "lodash", version: "1.0.0"}}],
    ignoredMatches: [{vulnerability: {id: "CVE-2026-0006", severity: "Critical"}, artifact: {name: "tar", version: "1"}}],
    source: {type: "image", target: {userInput: "registry.example.com/shop/web:1.4", manifestDigest: $digest,
                                     imageID: $config, tags: [], repoDigests: []}},
    descriptor: {name: "grype", version: "0.104.0", timestamp: "2026-11-19T08:00:00.123Z"}} | '"${1:-.}"
}

clair() {
  jq -nc --arg digest "$DIGEST" '{
    manifest_hash: $digest,
    packages: {"10": {id: "10", name: "openssl", version: "3.0.7"}, "11": {id: "11", name: "libssl3", version: "3.0.7"}},
    vulnerabilities: {"500": {id: "500", name: "CVE-2026-0001", normalized_severity: "High", severity: "Important",
                              fixed_in_version: "3.0.8", issued: "2026-11-01T00:00:00Z"}},
    package_vulnerabilities: {"10": ["500"], "11": ["500"]}}'
}

# sarif [JQ]: prints a SARIF report of Trivy about the same image.
sarif() {
  jq -n --arg digest "$DIGEST" --arg config "$CONFIG" '{
    version: "2.1.0", runs: [{
      tool: {driver: {name: "Trivy", version: "0.67.2", rules: [
        {id: "CVE-2026-0001", properties: {tags: ["vulnerability", "security", "HIGH"], "security-severity": "9.8"}}]}},
      results: [{ruleId: "CVE-2026-0001", ruleIndex: 0, level: "error", message: {text:
        "Package: openssl\nInstalled Version: 3.0.7\nVulnerability CVE-2026-0001\nSeverity: HIGH\nFixed Version: 3.0.8\nLink: [CVE-2026-0001](https://example.com)"}}],
      properties: {imageName: "registry.example.com/shop/web:1.4", imageID: $config, repoTags: [],
                   repoDigests: ["registry.example.com/shop/web@\($digest)"]}}]} | '"${1:-.}"
}

# deployment [IMAGE]: prints the manifest of a Deployment, with comments.
deployment() {
  cat <<EOF
# The shop. Owned by team web.
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop} # one line
spec:
  template:
    metadata:
      # what the service selects
      labels:
        app: web
    spec:
      containers:
        - name: app   # the application
          image: ${1:-registry.example.com/shop/web:1.4}
        - {name: proxy, image: "registry.example.com/infra/proxy:2"}
---
kind: ConfigMap
apiVersion: v1
metadata: {name: web}
data: {template: "metadata:"}
EOF
}

# written [NAME]: prints the annotation of a container from the manifest in the output.
written() {
  sed -n "s|^ *scan.container-patch.dev/${1:-app}: '\(.*\)'\$|\1|p" <<< "$output" | sed "s/''/'/g"
}

field() { written | jq -c "$1"; }

@test "a Trivy report becomes the annotation of the container whose image was scanned" {
  trivy > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 0 ]
  [ "$(field 'del(.summary, .vulnerabilities)')" = '{"name":"trivy","timestamp":"2026-11-19T08:00:00Z","compliant":null,"scannerVersion":"0.67.2","reference":"registry.example.com/shop/web:1.4","image":"'"$DIGEST"'"}' ]
  [ "$(field '.summary[0]')" = '{"label":"critical","data":"1","severityIndex":3,"fixable":1,"reference":""}' ]
  [ "$(field '[.summary[] | .label + .data]')" = '["critical1","high1","medium0","low0","negligible0","unknown0"]' ]
  [ "$(field .vulnerabilities)" = '[{"id":"CVE-2026-0001","severity":"critical","package":"openssl","fixedVersion":"3.0.8","published":"2026-11-01"},{"id":"CVE-2026-0002","severity":"high","package":"zlib"}]' ]
  [ "$(written proxy)" = "" ]
  [ "$stderr" = "annotated container app of Deployment shop/web: 1 critical, 1 high" ]
}

@test "a Grype report becomes an annotation" {
  grype > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 0 ]
  [ "$(field '[.name, .scannerVersion, .timestamp, .image]')" = '["grype","0.104.0","2026-11-19T08:00:00Z","'"$DIGEST"'"]' ]
  [ "$(field .vulnerabilities)" = '[{"id":"GHSA-aaaa-bbbb-cccc","severity":"medium","package":"lodash","fixedVersion":"1.2.1","published":"2026-10-01","aliases":["CVE-2026-0005"]}]' ]
}

@test "a Clair report becomes an annotation with the time of --timestamp, or else of the file" {
  clair > scan.json; deployment "registry.example.com/shop/web@$DIGEST" > web.yaml
  touch -d 2026-11-18T07:00:00Z scan.json
  annotate scan.json web.yaml
  [ "$status" -eq 0 ]
  [ "$(field '[.name, .timestamp, .image]')" = '["clair","2026-11-18T07:00:00Z","'"$DIGEST"'"]' ]
  [ "$(field '.summary[1]')" = '{"label":"high","data":"2","severityIndex":2,"fixable":2,"reference":""}' ]
  annotate scan.json web.yaml --timestamp 2026-11-20T10:00:00+01:00
  [ "$(field .timestamp)" = '"2026-11-20T09:00:00Z"' ]
}

@test "a SARIF report becomes an annotation with the severities as words" {
  sarif > scan.sarif; deployment > web.yaml
  annotate scan.sarif web.yaml
  [ "$status" -eq 0 ]
  [ "$(field '[.name, .image]')" = '["trivy","'"$DIGEST"'"]' ]
  [ "$(field .vulnerabilities)" = '[{"id":"CVE-2026-0001","severity":"high","package":"openssl","fixedVersion":"3.0.8"}]' ]
}

@test "a SARIF report without severities is an error, because a level is not a severity" {
  sarif 'del(.runs[0].tool.driver.rules[0].properties) | .runs[0].results[0].message.text = "CVE-2026-0001 in openssl"' > scan.sarif
  deployment > web.yaml
  annotate scan.sarif web.yaml
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  assert_contains "$stderr" "scan.sarif: this looks like a SARIF report"
  assert_contains "$stderr" 'a `level` is not enough'
}

@test "--timestamp does not override the report's own time" {
  trivy > scan.json; deployment > web.yaml
  annotate scan.json web.yaml --timestamp 2026-11-20T10:00:00Z
  [ "$status" -eq 0 ]
  [ "$(field .timestamp)" = '"2026-11-19T08:00:00Z"' ]
  assert_contains "$stderr" "Warning: the report has its own time, 2026-11-19T08:00:00Z; --timestamp is ignored"
}

@test "an image without vulnerabilities is compliant" {
  trivy 'del(.Results)' > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$(field '[.compliant, .vulnerabilities]')" = '[true,[]]' ]
  assert_contains "$stderr" "no vulnerabilities"
}

@test "the rest of the manifest does not change" {
  trivy > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$(grep -v -e 'scan.container-patch.dev' -e '^      annotations:$' <<< "$output")" = "$(cat web.yaml)" ]
  [ "$(wc -l <<< "$output")" -eq $(($(wc -l < web.yaml) + 2)) ]
}

@test "with --in-place the manifest is rewritten, and a newer scan replaces an older one" {
  mkdir shop
  trivy > scan.json; deployment > shop/web.yaml
  chmod 640 shop/web.yaml
  annotate --in-place scan.json shop/web.yaml
  [ "$status" -eq 0 ]
  [ "$output" = "" ]
  [ "$(stat -c %a shop/web.yaml)" = 640 ]
  [ "$(ls -A shop)" = web.yaml ]
  trivy '.CreatedAt = "2026-11-20T08:00:00Z"' > scan.json
  annotate -i scan.json shop/web.yaml
  [ "$(grep -c scan.container-patch.dev shop/web.yaml)" -eq 1 ]
  assert_contains "$(cat shop/web.yaml)" '"timestamp":"2026-11-20T08:00:00Z"'
}

@test "Pods, CronJobs, lists, JSON and custom kinds are annotated in their pod templates" {
  trivy > scan.json
  local pod='{"containers": [{"name": "app", "image": "registry.example.com/shop/web:1.4"}]}'
  jq -n --argjson spec "$pod" '{apiVersion: "v1", kind: "List", items: [
    {apiVersion: "v1", kind: "Pod", metadata: {name: "a"}, spec: $spec},
    {apiVersion: "batch/v1", kind: "CronJob", metadata: {name: "b"}, spec: {jobTemplate: {spec: {template: {spec: $spec}}}}},
    {apiVersion: "example.com/v1", kind: "Fleet", metadata: {name: "c"}, spec: {pods: {spec: $spec}}}]}' > list.json
  annotate scan.json list.json --pod-template /spec/pods
  [ "$status" -eq 0 ]
  for template in .items[0] .items[1].spec.jobTemplate.spec.template .items[2].spec.pods; do
    [ "$(jq -r "$template.metadata.annotations[\"scan.container-patch.dev/app\"] | fromjson | .image" <<< "$output")" = "$DIGEST" ]
  done
}

@test "a pointer can go through lists, in a custom kind named like a kind of Kubernetes" {
  trivy > scan.json
  cat > job.yaml <<EOF
apiVersion: batch.volcano.sh/v1alpha1
kind: Job
metadata: {name: x, namespace: shop}
spec:
  tasks:
    - name: train # one of them
      template:
        spec:
          containers: [{name: app, image: "registry.example.com/shop/web:1.4"}]
EOF
  annotate scan.json job.yaml --pod-template /spec/tasks/0/template
  [ "$status" -eq 0 ]
  [ "$(field .image)" = "\"$DIGEST\"" ]
  [ "$stderr" = "annotated container app of Job shop/x: 1 critical, 1 high" ]
  sed -i 's/tasks:/pools:/' job.yaml
  annotate scan.json job.yaml --pod-template /spec/tasks/0/template
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  [ "$stderr" = "Error: job.yaml: /spec/tasks/0/template does not exist in Job shop/x" ]
}

@test "an image volume is annotated like a container" {
  trivy > scan.json
  cat > pod.yaml <<EOF
apiVersion: v1
kind: Pod
metadata: {name: x, namespace: shop}
spec:
  containers: [{name: app, image: "registry.example.com/shop/app:1"}]
  volumes:
    - {name: tmp, emptyDir: {}}
    - {name: model, image: {reference: "registry.example.com/shop/web:1.4"}}
EOF
  annotate scan.json pod.yaml
  [ "$status" -eq 0 ]
  [ "$stderr" = "annotated volume model of Pod shop/x: 1 critical, 1 high" ]
  assert_contains "$output" '"scan.container-patch.dev/model": '
  sed -i 's/web:1.4/web:1.5/' pod.yaml
  annotate scan.json pod.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'volume `model` of Pod shop/x: `registry.example.com/shop/web:1.5`'
}

# many NUMBER: prints a Trivy report with that number of fixable vulnerabilities in one package.
many() {
  trivy '.Results[0].Vulnerabilities = [range('"$1"') | {VulnerabilityID: "CVE-2026-\(10000 + .)", PkgName: "openssl",
    FixedVersion: "3.0.8", Severity: "HIGH", PublishedDate: "2026-11-01T17:15:00Z"}]'
}

@test "a list that is too long is cut, with a note about the consequences" {
  many 1000 > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 0 ]
  [ "$(written | tr -d '\n' | wc -c)" -le 32768 ]
  [ "$(field '.summary[1] | [.data, .fixable]')" = '["1000",1000]' ]
  local listed
  listed="$(field '.vulnerabilities | length')"
  [ "$listed" -gt 300 ]
  [ "$stderr" = "annotated container app of Deployment shop/web: 1000 high; only the worst $listed of 1000 fit into the annotation, the other $((1000 - listed)) are only counted: \`patchWithin\` and exceptions for a vulnerability do not apply to them" ]
}

@test "package names are omitted before vulnerabilities are" {
  many 340 > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$(field '[.vulnerabilities | length, (map(select(.fixedVersion and .published)) | length)]')" = '[340,340]' ]
  assert_contains "$stderr" "340 high; only the packages of the worst $(field '[.vulnerabilities[] | select(.package)] | length') of 340 fit"
}

@test "all annotations of a pod together stay within the limit of Kubernetes" {
  many 1000 > scan.json
  jq -n '{apiVersion: "v1", kind: "Pod", metadata: {name: "x", annotations: {note: ("n" * 100000)}},
    spec: {containers: [range(20) | {name: "c\(.)", image: "registry.example.com/shop/web:1.4"}]}}' > pod.json
  annotate scan.json pod.json
  [ "$status" -eq 0 ]
  [ "$(jq '.metadata.annotations | length' <<< "$output")" -eq 21 ]
  local bytes
  bytes="$(jq '[.metadata.annotations | to_entries[] | (.key + .value | utf8bytelength)] | add' <<< "$output")"
  [ "$bytes" -le 262144 ]
  [ "$bytes" -gt 250000 ]
  # They also fit if the containers are annotated one after the other.
  local container
  for container in c{0..19}; do annotate -i scan.json pod.json -c "$container"; done
  [ "$(jq '.metadata.annotations | length' pod.json)" -eq 21 ]
  [ "$(jq '[.metadata.annotations | to_entries[] | (.key + .value | utf8bytelength)] | add' pod.json)" -eq "$bytes" ]
  jq '.metadata.annotations = {note: ("n" * 262000)}' pod.json > full.json
  annotate scan.json full.json -c c0
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  assert_contains "$stderr" 'full.json: the annotation of container `c0` of Pod x does not fit: all annotations of an object together have at most 262144 bytes'
}

@test "a container is found by any spelling of its image, or chosen by name" {
  trivy '.ArtifactName = "nginx:1.27" | .Metadata.RepoTags = ["nginx:1.27"] | .Metadata.RepoDigests = ["nginx@\($digest)"]' > scan.json
  deployment docker.io/library/nginx:1.27 > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 0 ]
  [ "$(field .image)" = "\"$DIGEST\"" ]
  annotate scan.json web.yaml -c proxy
  [ "$status" -eq 0 ]
  [ "$(written proxy | jq -r .name)" = trivy ]
  assert_contains "$stderr" 'container proxy of Deployment shop/web has the image `registry.example.com/infra/proxy:2`, but the scanned image is `nginx:1.27`'
}

@test "if no container has the image, the error lists the containers" {
  trivy > scan.json; deployment registry.example.com/shop/web:1.5 > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  [ "$output" = "" ]
  assert_contains "$stderr" 'web.yaml: no container has the scanned image `registry.example.com/shop/web:1.4`'
  assert_contains "$stderr" 'container `app` of Deployment shop/web: `registry.example.com/shop/web:1.5`'
  annotate scan.json web.yaml -c nobody
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'unknown container `nobody`'
}

@test "a container that is pinned to another digest is an error without --digest" {
  trivy > scan.json; deployment "registry.example.com/shop/web:1.4@$OTHER" > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "$DIGEST"
  assert_contains "$stderr" "$OTHER"
  annotate scan.json web.yaml --digest "$OTHER"
  [ "$status" -eq 0 ]
  [ "$(field .image)" = "\"$OTHER\"" ]
}

@test "without a repository digest, the digest of the container is used, then that of the configuration" {
  trivy '.Metadata.RepoDigests = []' > scan.json
  deployment "registry.example.com/shop/web:1.4@$OTHER" > web.yaml
  annotate scan.json web.yaml
  [ "$(field .image)" = "\"$OTHER\"" ]
  deployment > web.yaml
  annotate scan.json web.yaml
  [ "$(field .image)" = "\"$CONFIG\"" ]
  trivy '.Metadata = {}' > scan.json
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "--digest sha256:…"
}

@test "a report without a name needs --container, and --digest if it has no digest" {
  clair > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'web.yaml: the report does not name its image; choose a container with --container; the manifest has:'
  annotate scan.json web.yaml --container app
  [ "$status" -eq 0 ]
  [ "$stderr" = "annotated container app of Deployment shop/web: 2 high" ]
  [ "$(field .image)" = "\"$DIGEST\"" ]
  sarif '.runs[0].tool.driver = {name: "grype", version: "0.104.0"} | .runs[0].results = [] | del(.runs[0].properties)' > clean.sarif
  annotate clean.sarif web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'the report does not name its image; choose a container with --container, and the scanned digest with --digest; the manifest has:'
  annotate clean.sarif web.yaml --container app
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'the report has neither name nor digest of its image; set the scanned digest: --digest sha256:…'
  annotate clean.sarif web.yaml --container app --digest "$DIGEST"
  [ "$status" -eq 0 ]
  [ "$(field '[.image, .compliant]')" = '["'"$DIGEST"'",true]' ]
}

@test "the report or the manifest may come from standard input" {
  trivy > scan.json; deployment > web.yaml
  run --separate-stderr bash -c '"$0" annotate - web.yaml < scan.json' "$CONTAINER_PATCH"
  [ "$(field .image)" = "\"$DIGEST\"" ]
  run --separate-stderr bash -c '"$0" annotate scan.json - < web.yaml' "$CONTAINER_PATCH"
  [ "$(field .image)" = "\"$DIGEST\"" ]
  annotate - -
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "cannot both come from standard input"
}

@test "without a manifest, the annotation for the image is printed as key=value on one line" {
  trivy '.Results[0].Vulnerabilities[0].FixedVersion = "a=b"' > scan.json
  annotate scan.json
  [ "$status" -eq 0 ]
  [ "${#lines[@]}" -eq 1 ]
  [ "${output%%=*}" = quality.images.openshift.io/vulnerability.trivy ]
  [[ "${output#*=}" != *=* ]]
  [ "$(jq -c '[has("image"), .summary[1].data, .vulnerabilities[1].fixedVersion]' <<< "${output#*=}")" = '[false,"1","a=b"]' ]
}

@test "an unknown report is an error that lists the supported ones" {
  echo '{"findings": []}' > scan.json; deployment > web.yaml
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'scan.json: unknown scanner: the report has the fields `findings`'
  for command in "trivy image --format json" "grype -o json" "clairctl report --out json" SARIF; do
    assert_contains "$stderr" "$command"
  done
}

@test "a report of another kind is an error with the right command" {
  deployment > web.yaml
  trivy '.ArtifactType = "filesystem"' > scan.json
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" '`trivy image --format json IMAGE`'
  grype '.source = {type: "directory", target: "/src"}' > scan.json
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" '`grype -o json IMAGE`'
  echo '{"bomFormat": "CycloneDX"}' > scan.json
  annotate scan.json web.yaml
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "CycloneDX bill of materials"
}

@test "an unknown severity is an error that names the vulnerability" {
  trivy '.Results[0].Vulnerabilities[0].Severity = "SEVERE"' > scan.json
  annotate scan.json
  [ "$status" -eq 2 ]
  assert_contains "$stderr" 'CVE-2026-0002 has the unknown severity `SEVERE`'
}

@test "YAML with anchors and aliases is not changed" {
  trivy > scan.json
  deployment | sed 's/^    metadata:$/    metadata: \&meta/; s/^metadata: .*/metadata: {name: web}/' > web.yaml
  printf -- '---\nkind: Pod\napiVersion: v1\nmetadata: &m {name: a}\nx: *m\nspec: {containers: [{name: app, image: "registry.example.com/shop/web:1.4"}]}\n' >> web.yaml
  annotate scan.json web.yaml --in-place
  [ "$status" -eq 2 ]
  assert_contains "$stderr" "without anchors, aliases and merge keys"
  [[ "$stderr" != *annotated\ container* ]]
  [[ "$(cat web.yaml)" != *container-patch.dev* ]]
}
