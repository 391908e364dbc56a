#!/usr/bin/env bats
# What a user may write to a namespace does not count in the user's favour: break-glass permissions and reports.

load helpers

# may VERB RESOURCE: skips the test if policy-server does not have this permission, as in a cluster without deploy/rbac/.
may() {
  kubectl auth can-i "$1" "$2" --as "$POLICY_SERVER_USER" --quiet 2> /dev/null || skip "policy-server may not $1 $2 here; see deploy/rbac/"
}

# emergency NAME IMAGE: prints a Deployment with that image and a break-glass annotation.
emergency() { deployment "$1" "$2" '.metadata.annotations = {"container-patch.dev/break-glass": "INC-7 payments are down"}'; }

@test "break-glass requires the permission in the cluster: all permissions in a namespace are not enough to use or grant it" {
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

  # deploy/rbac/break-glass.yaml gives the permission to the group `oncall`.
  kubectl get clusterrolebinding container-patch-break-glass > /dev/null
  accepted admin --as ann --as-group oncall create --filename - <<< "$(emergency web "$stale")"
  assert_contains "$output" "INC-7 payments are down"
  assert_contains "$output" "[break-glass]"
}

# report NAME IMAGE DAYS [SEVERITY]: prints a report of Trivy operator about an image, that many days old, with one vulnerability of this
# severity, or with none.
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

# let_write_reports: gives ann the permission to write reports in the namespace.
let_write_reports() {
  accepted admin create role reporter --verb create,update,delete --resource vulnerabilityreports.aquasecurity.github.io
  accepted admin create rolebinding reporter --role reporter --user ann
}

# is_flagged IMAGE: succeeds if a Deployment with that image is refused because of a report.
is_flagged() { [[ "$(ann create --dry-run=server --filename - <<< "$(deployment probe "$1")" 2>&1)" == *"[vulnerable-image]"* ]]; }

@test "a newer, empty report from the requester does not clear an image" {
  may list vulnerabilityreports.aquasecurity.github.io
  namespace reports
  let_write_reports
  local image other
  image="$(image app 1 3)"
  other="$(image other 1 3)"
  accepted create admin "$(report scanner "$image" 2 CRITICAL)"
  wait_until 30 is_flagged "$image"
  accepted create ann "$(report mine "$image" 0)"
  # policy-server receives reports in the order of their creation: if it has this one, it also has the one from ann.
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
  # The override in this policy is for one repository path.
  push_image required/app "$NAMESPACE" "$(ago 3)" > /dev/null
  image="$REGISTRY/required/app:$NAMESPACE"
  refused unscanned-image create ann "$(deployment web "$image")"
  accepted create ann "$(report mine "$image" 0)"
  accepted create admin "$(report last "$other" 1 CRITICAL)"
  wait_until 30 is_flagged "$other"
  refused unscanned-image create ann "$(deployment web "$image")"
}
