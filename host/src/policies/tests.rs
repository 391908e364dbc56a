use serde_json::{Value, json};

use super::{Matched, Namespaces, Origin, Policies, PolicyFiles, is_this_module, resource_matches};
use crate::admission::{AdmissionRequest, GroupVersionKind, GroupVersionResource};

fn policy(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "policies.kubewarden.io/v1", "kind": "ClusterAdmissionPolicy", "metadata": {"name": name}, "spec": spec})
}

fn namespaced(name: &str, namespace: &str, spec: Value) -> Value {
    let mut policy = policy(name, spec);
    policy["kind"] = json!("AdmissionPolicy");
    policy["metadata"]["namespace"] = json!(namespace);
    policy
}

fn read(policies: &[Value]) -> anyhow::Result<(Policies, Vec<String>)> {
    let mut files = PolicyFiles::default();
    for (index, policy) in policies.iter().enumerate() {
        files.add(&format!("{index}.yaml"), &policy.to_string())?;
    }
    files.finish()
}

fn names(policies: &Policies) -> Vec<&str> {
    policies.settings().filter_map(|(name, _)| name).collect()
}

fn error(policies: &[Value]) -> String {
    format!("{:#}", read(policies).unwrap_err())
}

/// A request for an object of `apps/v1 Deployment`, in the namespace `shop`.
fn request(object: Value) -> AdmissionRequest {
    let text = str::to_owned;
    AdmissionRequest {
        kind: GroupVersionKind { group: text("apps"), version: text("v1"), kind: text("Deployment") },
        resource: GroupVersionResource { group: text("apps"), version: text("v1"), resource: text("deployments") },
        namespace: Some(text("shop")),
        operation: text("CREATE"),
        object: Some(object),
        ..AdmissionRequest::default()
    }
}

fn matches_in(policy: Value, request: &AdmissionRequest, namespaces: &Namespaces) -> Matched {
    let (policies, _) = read(&[policy]).unwrap();
    let Policies::Deployed(policies) = policies else { panic!("settings alone") };
    policies[0].matches(request, namespaces)
}

fn matches(spec: Value) -> bool {
    matches_in(policy("p", spec), &request(json!({})), &Namespaces::default()) == Matched::Yes
}

fn rule(groups: &[&str], versions: &[&str], resources: &[&str], operations: &[&str]) -> Value {
    json!({"apiGroups": groups, "apiVersions": versions, "resources": resources, "operations": operations})
}

#[test]
fn rules_match_as_in_kubernetes() {
    // The cases of the tests of Kubernetes' rules.Matcher, for the creation of an object without a subresource.
    for (rule, expected) in [
        (rule(&["apps"], &["v1"], &["deployments"], &["CREATE"]), true),
        (rule(&["*"], &["*"], &["*"], &["*"]), true),
        (rule(&["*"], &["*"], &["*/*"], &["*"]), true),
        (rule(&["a", "apps"], &["v1"], &["pods", "deployments"], &["UPDATE", "CREATE"]), true),
        (rule(&["apps"], &["*"], &["deployments/*"], &["CREATE"]), true),
        (rule(&["apps"], &["*"], &["deployments/scale", "*/scale"], &["CREATE"]), false),
        (rule(&["app"], &["v1"], &["deployments"], &["CREATE"]), false),
        (rule(&[""], &["v1"], &["deployments"], &["CREATE"]), false),
        (rule(&["apps"], &["v1"], &["deployment"], &["CREATE"]), false),
        (rule(&["apps"], &["v1"], &["deployments"], &["UPDATE", "DELETE"]), false),
        (rule(&[], &[], &[], &[]), false),
    ] {
        assert_eq!(matches(json!({"rules": [rule]})), expected, "{rule}");
    }
    assert!(matches(json!({})), "a policy without rules, as in a file of settings");
    assert!(!matches(json!({"rules": []})));
    let other = rule(&["apps"], &["v1"], &["daemonsets"], &["CREATE"]);
    let same = rule(&["apps"], &["v1"], &["deployments"], &["CREATE"]);
    assert!(matches(json!({"rules": [other, same]})), "any of the rules");
}

#[test]
fn a_resource_is_matched_without_its_subresources() {
    assert!(resource_matches("pods", "pods") && resource_matches("pods/*", "pods") && resource_matches("*/*", "pods"));
    assert!(!resource_matches("pods/ephemeralcontainers", "pods") && !resource_matches("*/status", "pods"));
}

#[test]
fn other_versions_match_unless_the_policy_wants_exact_ones() {
    let rules = json!([rule(&["apps"], &["v1beta2"], &["deployments"], &["CREATE"])]);
    assert!(matches(json!({"rules": rules})));
    assert!(matches(json!({"rules": rules, "matchPolicy": "Equivalent"})));
    assert!(!matches(json!({"rules": rules, "matchPolicy": "Exact"})));
}

#[test]
fn rules_for_the_cluster_do_not_match_workloads() {
    let with_scope = |scope: &str| {
        let mut rule = rule(&["*"], &["*"], &["*"], &["*"]);
        rule["scope"] = json!(scope);
        matches(json!({"rules": [rule]}))
    };
    assert!(with_scope("*") && with_scope("Namespaced") && !with_scope("Cluster"));
}

#[test]
fn objects_are_selected_by_their_labels() {
    let spec = json!({"objectSelector": {"matchLabels": {"tier": "web"}}});
    let selects = |labels: Value| {
        let request = request(json!({"metadata": {"labels": labels}}));
        matches_in(policy("p", spec.clone()), &request, &Namespaces::default())
    };
    assert_eq!(selects(json!({"tier": "web", "a": "b"})), Matched::Yes);
    assert_eq!(selects(json!({"tier": "db"})), Matched::No);
    assert_eq!(selects(json!(null)), Matched::No);
}

#[test]
fn namespaces_are_selected_by_their_names_and_by_labels_in_manifests() {
    let without = json!({"namespaceSelector": {"matchExpressions": [
        {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system", "shop"]}]}});
    assert!(!matches(without));
    let team = json!({"namespaceSelector": {"matchLabels": {"team": "a"}}});
    let of_team_from = |origin, namespace: Value| {
        let mut namespaces = Namespaces::default();
        namespaces.learn(&namespace, origin);
        matches_in(policy("p", team.clone()), &request(json!({})), &namespaces)
    };
    let of_team = |namespace| of_team_from(Origin::Manifest, namespace);
    let namespace = |name: &str, labels: Value| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}});
    assert_eq!(of_team(namespace("shop", json!({"team": "a"}))), Matched::Yes);
    assert_eq!(of_team(namespace("shop", json!({"team": "b"}))), Matched::No);
    // A manifest without the label does not remove it in the cluster.
    assert_eq!(of_team(namespace("shop", json!(null))), Matched::DependsOn("team".to_owned()));
    assert_eq!(of_team_from(Origin::Cluster, namespace("shop", json!(null))), Matched::No);
    assert_eq!(of_team(namespace("other", json!({"team": "a"}))), Matched::DependsOn("team".to_owned()));
}

#[test]
fn an_admission_policy_gets_requests_about_its_namespace() {
    let matches = |namespace| {
        matches_in(namespaced("p", namespace, json!({})), &request(json!({})), &Namespaces::default()) == Matched::Yes
    };
    assert!(matches("shop") && !matches("default"));
}

#[test]
fn policies_are_asked_in_the_order_of_a_cluster() {
    let mutating = |mutating: bool| json!({"mutating": mutating});
    let policies = [
        policy("c", mutating(false)),
        namespaced("a", "shop", mutating(true)),
        policy("b", mutating(false)),
        policy("z", mutating(true)),
    ];
    assert_eq!(names(&read(&policies).unwrap().0), ["z", "shop/a", "b", "c"]);
}

#[test]
fn policies_of_other_modules_are_ignored_and_named() {
    let module = |module: &str| json!({"module": module, "matchConditions": [{"name": "a", "expression": "true"}]});
    let ours = policy("ours", module("registry://ghcr.io/container-patch/policies/container-patch-policy:v1"));
    let other = policy("privileged", module("registry://ghcr.io/kubewarden/policies/pod-privileged:v1"));
    let group = json!({"apiVersion": "policies.kubewarden.io/v1", "kind": "ClusterAdmissionPolicyGroup", "metadata": {"name": "g"}, "spec": {}});
    let (policies, notes) = read(&[other.clone(), group, ours]).unwrap();
    assert_eq!(names(&policies), ["ours"]);
    assert_eq!(
        notes,
        [
            "policies of other modules are ignored: g (a policy group), privileged",
            "`matchConditions` are not evaluated, and count as matched: ours",
        ]
    );
    let (alone, _) = read(std::slice::from_ref(&other)).unwrap();
    assert_eq!(names(&alone), ["privileged"], "a mirror of the module can have another name");
    let second = policy("other", module("https://example.com/other.wasm"));
    assert_eq!(
        error(&[other, second]),
        "no policy has the module `container-patch-policy`; found policies of other modules: privileged, other"
    );
}

#[test]
fn a_module_is_known_by_its_name() {
    for module in [
        "registry://ghcr.io/container-patch/policies/container-patch-policy:v0.1.0",
        "registry://localhost:5000/container-patch-policy@sha256:0123",
        "https://example.com/container_patch_policy.wasm",
        "container-patch-policy",
    ] {
        assert!(is_this_module(module), "{module}");
    }
    assert!(!is_this_module("registry://ghcr.io/kubewarden/policies/verify-image-signatures:v1"));
    assert!(!is_this_module("registry://ghcr.io/container-patch-policy/other:v1"));
}

#[test]
fn invalid_policies_are_errors_with_their_place() {
    let invalid = |spec: Value| error(&[policy("p", spec)]);
    assert_eq!(
        invalid(json!({"mode": "audit"})),
        "invalid policy p in 0.yaml:1: spec.mode: unknown value `audit`; expected one of monitor, protect"
    );
    assert_eq!(
        invalid(json!({"settings": []})),
        "invalid policy p in 0.yaml:1: spec.settings: expected an object, found a list"
    );
    assert!(invalid(json!({"rules": {}})).starts_with("invalid policy p in 0.yaml:1: spec.rules: invalid type: map"));
    let selector = json!({"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}});
    assert!(invalid(selector).contains("spec.namespaceSelector: `a`: unknown operator `Is`"));
    assert_eq!(
        error(&[policy("p", json!({})), policy("q", json!({})), policy("p", json!({}))]),
        "two policies have the name p: 0.yaml:1 and 2.yaml:1"
    );
    let broken = PolicyFiles::default().add("all.yaml", &format!("{}\n---\nkind: [\n", policy("p", json!({}))));
    let error = format!("{:#}", broken.unwrap_err());
    assert!(error.starts_with("cannot read policies from all.yaml:3: invalid YAML"), "{error}");
}

#[test]
fn the_schedule_is_that_of_the_only_policy_with_one() {
    let spec = |schedule: Value| json!({"settings": {"schedule": schedule}});
    let off = policy("pin", spec(json!({"action": "off"})));
    let age = |name, age: &str| policy(name, spec(json!({"maxAge": age})));
    let (policies, _) = read(&[off.clone(), age("a", "30d"), age("b", "30d")]).unwrap();
    assert_eq!(policies.with_schedule().unwrap()["schedule"]["maxAge"], "30d");
    let (policies, _) = read(&[off.clone(), age("a", "30d"), age("b", "60d")]).unwrap();
    assert_eq!(
        policies.with_schedule().unwrap_err().to_string(),
        "several policies have different schedules: a, b; choose one with --settings-path"
    );
    let (policies, _) = read(&[off]).unwrap();
    assert_eq!(policies.with_schedule().unwrap()["schedule"]["action"], "off");
}
