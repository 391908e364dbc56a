#!/usr/bin/env bats
# What the owner of a namespace may write there is not evidence in their favour: break-glass and reports.

load helpers

# may VERB RESOURCE: skips the test where policy-server may not ask the API server that, as in a cluster without deploy/rbac/.
may() {
  kubectl auth can-i "$1" "$2" --as "$POLICY_SERVER_USER" --quiet 2> /dev/null || skip "policy-server may not $1 $2 here; see deploy/rbac/"
}

# emergency NAME IMAGE: a Deployment with that image and a reason.
emergency() { deployment "$1" "$2" '.metadata.annotations = {"container-patch.dev/break-glass": "INC-7 payments are down"}'; }

@test "who may do everything in a namespace cannot break the glass there, nor let others; who may in the cluster can" {
  may create subjectaccessreviews.authorization.k8s.io
  namespace break-glass
  local stale
  stale="$(image app stale 120)"
  refused stale-image create otto "$(emergency web "$stale")"
  assert_contains "$output" "[break-glass]"
  accepted otto create role glass --verb '*' --resource '*.*'
  otto get role glass --output json \
    | jq -c '.rules = [{apiGroups: ["container-patch.dev"], resources: ["containerpatchpolicies"], verbs: ["break-glass"]}]' \
    | otto apply --filename - > /dev/null
  accepted otto create rolebinding glass --role glass --user ann
  refused stale-image create ann "$(emergency web "$stale")"

  # deploy/rbac/break-glass.yaml lets the group `oncall`.
  kubectl get clusterrolebinding container-patch-break-glass > /dev/null
  accepted admin --as ann --as-group oncall create --filename - <<< "$(emergency web "$stale")"
  assert_contains "$output" "INC-7 payments are down"
  assert_contains "$output" "[break-glass]"
}

# report NAME IMAGE DAYS SEVERITY: Trivy operator's report about an image, of so many days ago, with a vulnerability of that severity, or
# none without one.
report() {
  local name
  name="$(pinned "$2")"
  jq -nc --arg name "$1" --arg repository "${2#*/}" --arg server "$REGISTRY" --arg digest "${name#*@}" --arg at "$(ago "$3")" --arg severity "${4:-}" '{
    apiVersion: "aquasecurity.github.io/v1alpha1", kind: "VulnerabilityReport", metadata: {name: $name},
    report: {
      artifact: {repository: ($repository | sub(":.*"; "")), tag: ($repository | sub(".*:"; "")), digest: $digest},
      registry: {server: $server}, updateTimestamp: $at, scanner: {name: "Trivy", vendor: "Aqua Security", version: "0.57.1"},
      vulnerabilities: [if $severity == "" then empty else
        {vulnerabilityID: "CVE-2026-0001", resource: "openssl", severity: $severity, installedVersion: "3.0.7", fixedVersion: "3.0.8"} end]
    }}'
}

# let_write_reports: lets ann write reports in the namespace.
let_write_reports() {
  accepted admin create role reporter --verb create,update,delete --resource vulnerabilityreports.aquasecurity.github.io
  accepted admin create rolebinding reporter --role reporter --user ann
}

# is_flagged IMAGE: whether a Deployment with that image is refused because of a report.
is_flagged() { [[ "$(ann create --dry-run=server --filename - <<< "$(deployment probe "$1")" 2>&1)" == *"[vulnerable-image]"* ]]; }

@test "a newer, empty report of a requester does not clear an image" {
  may list vulnerabilityreports.aquasecurity.github.io
  namespace reports
  let_write_reports
  local image other
  image="$(image app 1 3)"
  other="$(image other 1 3)"
  accepted create admin "$(report scanner "$image" 2 CRITICAL)"
  wait_until 30 is_flagged "$image"
  accepted create ann "$(report mine "$image" 0)"
  # policy-server sees reports in the order in which they were made: when it knows this one, it knows that of ann.
  accepted create admin "$(report last "$other" 1 CRITICAL)"
  wait_until 30 is_flagged "$other"
  refused vulnerable-image create ann "$(deployment web "$image")"
}

@test "a report that the requester can write does not satisfy a required scan" {
  may list vulnerabilityreports.aquasecurity.github.io
  namespace reports
  let_write_reports
  local image other
  other="$(image other 1 3)"
  # The override of these policies is for one repository of the registry.
  push_image required/app "$NAMESPACE" "$(ago 3)" > /dev/null
  image="$REGISTRY/required/app:$NAMESPACE"
  refused unscanned-image create ann "$(deployment web "$image")"
  accepted create ann "$(report mine "$image" 0)"
  accepted create admin "$(report last "$other" 1 CRITICAL)"
  wait_until 30 is_flagged "$other"
  refused unscanned-image create ann "$(deployment web "$image")"
}
