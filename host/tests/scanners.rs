//! The resources of scanners as their projects publish them are read without loss. They do not belong to this project:
//! `REPORT_EXAMPLES` names a folder that holds them, without which there is nothing to test.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use container_patch::admission::AdmissionRequest;
use container_patch::capabilities::{Capabilities, HostCall};
use container_patch::manifest;
use container_patch::policy::Policy;
use serde_json::{Value, json};

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// The examples of one scanner, if they are here.
fn example(path: &str) -> Option<Value> {
    let folder = PathBuf::from(std::env::var_os("REPORT_EXAMPLES")?);
    let text = std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"));
    Some(manifest::read(&text).remove(0).object.unwrap_or_else(|error| panic!("{path}: {error:#}")))
}

/// A cluster that holds one report, and a registry whose images are all single ones.
struct FakeCluster(Value);

impl Capabilities for FakeCluster {
    fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
        let answer = match call {
            HostCall::OciManifestAndConfig(_) => json!({
                "digest": DIGEST, "config": {},
                "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}},
            }),
            HostCall::OciManifestDigest(_) => json!({"digest": DIGEST}),
            HostCall::OciManifest(_) => json!({"layers": []}),
            HostCall::KubernetesGetResource(get) if get.name == self.0["metadata"]["name"] => self.0.clone(),
            HostCall::KubernetesGetResource(get) => return Err(format!("Cannot find x named '{}'", get.name)),
            _ => json!({"items": [self.0]}),
        };
        Ok(answer.to_string().into_bytes())
    }
}

/// How many vulnerabilities of each severity the policy counts in an image, where the cluster holds one report.
fn counted(report: Value, image: &str, source: &str) -> BTreeMap<String, u64> {
    let policy = Policy::embedded().unwrap();
    let severities = ["critical", "high", "medium", "low", "negligible", "unknown"];
    let none: serde_json::Map<String, Value> = severities.iter().map(|word| ((*word).to_owned(), json!(0))).collect();
    let off = json!({"action": "off"});
    let scan = json!({"maxAllowed": none, "fixableOnly": false, "maxAge": "36500d", "reports": [{"source": source, "namespace": "scans"}]});
    let settings = json!({"pinning": off, "schedule": off, "baseImage": off, "scan": scan});
    let kind = json!({"group": "", "version": "v1", "kind": "Pod"});
    let request = AdmissionRequest::from_review(&json!({
        "uid": "1", "kind": kind, "resource": {"group": "", "version": "v1", "resource": "pods"}, "operation": "CREATE",
        "namespace": "shop", "userInfo": {}, "object": {"spec": {"containers": [{"name": "app", "image": image}]}},
    }))
    .unwrap();
    let cluster: Arc<dyn Capabilities> = Arc::new(FakeCluster(report));
    let response = policy.validate(&request, &settings, &cluster, &policy.declared_resources()).unwrap();
    let message = response.status.and_then(|status| status.message).unwrap_or_default();
    println!("{message}");
    let counts = message.split(" vulnerabilit").next().unwrap_or_default();
    let words: Vec<&str> = counts.split_ascii_whitespace().collect();
    words
        .windows(2)
        .filter_map(|pair| Some((pair[1].to_owned(), pair[0].parse().ok()?)))
        .filter(|(word, _)| severities.contains(&word.as_str()))
        .collect()
}

/// How often each word stands under a key, anywhere in a value that also has another key: the count of somebody who knows
/// nothing of reports.
fn words(value: &Value, key: &str, beside: &str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    let mut values = vec![value];
    while let Some(value) = values.pop() {
        match value {
            Value::Object(fields) => {
                if let (Some(word), true) = (fields.get(key).and_then(Value::as_str), fields.contains_key(beside)) {
                    *counts.entry(word.to_lowercase()).or_default() += 1;
                }
                values.extend(fields.values());
            }
            Value::Array(items) => values.extend(items),
            _ => {}
        }
    }
    counts
}

#[test]
fn sbomscanner() {
    let Some(report) = example("sbomscanner/vulnerabilityreport.example.yaml") else { return };
    let digest = report["imageMetadata"]["digest"].as_str().unwrap().to_owned();
    let expected = words(&report, "severity", "cve");
    let image = format!("ghcr.io/kubewarden/sbomscanner/test-assets/golang@{digest}");
    assert_eq!(counted(report, &image, "sbomscanner"), expected);
}

#[test]
fn trivy_operator() {
    let Some(report) = example("trivy-operator/vulnerabilityreport.example.yaml") else { return };
    let expected = words(&report, "severity", "vulnerabilityID");
    assert_eq!(counted(report, "k8s.gcr.io/coredns/coredns:v1.8.0", "trivyOperator"), expected);
}

#[test]
fn kubescape() {
    let Some(mut report) = example("kubescape/vulnerabilitymanifest.example.yaml") else { return };
    // The summary has the values that the metadata of the example lacks.
    report["metadata"]["annotations"] = json!({"kubescape.io/image-id": format!("docker.io/library/nginx@{DIGEST}")});
    let expected = words(&report["spec"]["payload"], "severity", "fix");
    assert_eq!(counted(report, &format!("nginx@{DIGEST}"), "kubescape"), expected);
}

#[test]
fn kubescape_by_its_summary() {
    let Some(summary) = example("kubescape/vulnerabilitymanifestsummary.example.yaml") else { return };
    let image = summary["metadata"]["annotations"]["kubescape.io/image-id"].as_str().unwrap();
    assert!(image.contains("@sha256:"), "{image}");
    for field in ["namespace", "name"] {
        assert!(summary["spec"]["vulnerabilitiesRef"]["all"][field].is_string(), "{summary}");
    }
}
