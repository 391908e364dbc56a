//! The world of a scenario: what the host answers, from memory.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

/// Answers in JSON, by capability and by what is asked.
type Known = HashMap<&'static str, HashMap<Vec<u8>, Vec<u8>>>;

/// What the host knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct World(Arc<Known>);

/// The parts of a question about Kubernetes that tell the resources of a scenario apart.
#[derive(Deserialize)]
struct Resource<'a> {
    kind: &'a str,
    namespace: &'a str,
    #[serde(default)]
    name: Option<&'a str>,
}

impl World {
    /// What the host answers to the question of a guest.
    ///
    /// # Errors
    /// In policy-server's words, that nothing of the kind is there.
    pub(crate) fn answer(&self, namespace: &str, operation: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let found = self.0.get(operation).and_then(|known| {
            if namespace != "kubernetes" {
                return known.get(payload);
            }
            let Resource { kind, namespace, name } = serde_json::from_slice(payload).ok()?;
            known.get(format!("{kind} {namespace}/{}", name.unwrap_or_default()).as_bytes())
        });
        found.cloned().ok_or_else(|| "Host error: Cannot find it named 'so'".to_owned())
    }
}

/// Puts a world together.
#[derive(Debug, Default)]
pub(crate) struct Answers(Known);

impl Answers {
    /// An image on a registry, under the reference by which the policy asks for it.
    pub(crate) fn image(&mut self, reference: &str, digest: &str, created: &str) {
        let media_type = |what: &str| format!("application/vnd.oci.image.{what}");
        let layer = json!({"mediaType": media_type("layer.v1.tar+gzip"), "digest": digest, "size": 32_654});
        let step = json!({
            "created": created,
            "created_by": "RUN /bin/sh -c set -eux; build && install # buildkit",
            "comment": "buildkit.dockerfile.v0",
        });
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": media_type("manifest.v1+json"),
            "config": {"mediaType": media_type("config.v1+json"), "digest": digest, "size": 7023},
            "layers": vec![layer; 8],
        });
        let config = json!({
            "created": created,
            "architecture": "amd64",
            "os": "linux",
            "config": {
                "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
                "Entrypoint": ["/entrypoint.sh"],
                "ExposedPorts": {"8080/tcp": {}},
                "Labels": {
                    "org.opencontainers.image.title": "app",
                    "org.opencontainers.image.source": "https://git.example.com/team/app",
                },
            },
            "rootfs": {"type": "layers", "diff_ids": vec![digest; 8]},
            "history": vec![step; 16],
        });
        self.put("v1/oci_manifest", &quoted(reference), &manifest);
        let answer = json!({"manifest": manifest, "digest": digest, "config": config});
        self.put("v1/oci_manifest_config", &quoted(reference), &answer);
    }

    /// What a tag points at.
    pub(crate) fn digest(&mut self, reference: &str, digest: &str) {
        self.put("v1/manifest_digest", &quoted(reference), &json!({ "digest": digest }));
    }

    /// A report of SBOMscanner, with no more than the fields that the policy asks for, among others of its namespace.
    pub(crate) fn sbomscanner(&mut self, namespace: &str, digest: &str, vulnerabilities: usize, others: usize) {
        let resource = |name: &str, rest: Value| {
            let mut resource = json!({
                "apiVersion": "storage.sbomscanner.kubewarden.io/v1alpha1",
                "kind": "VulnerabilityReport",
                "metadata": {"name": name, "namespace": namespace, "uid": "6a2c1f1e-7c3a-4b46-9c3c-0d5f6a7b8c9d"},
            });
            if let (Some(fields), Value::Object(rest)) = (resource.as_object_mut(), rest) {
                fields.extend(rest);
            }
            resource
        };
        let identity = |digest: &str| json!({"imageMetadata": {"digest": digest}});
        let mut items = vec![resource("report", identity(digest))];
        items.extend(
            (0..others).map(|other| resource(&format!("report-{other}"), identity(&digest_of(1_000_000 + other)))),
        );
        self.put(
            "list_resources_by_namespace",
            &format!("VulnerabilityReport {namespace}/"),
            &json!({ "items": items }),
        );
        let found = |number: usize| {
            json!({
                "cve": format!("CVE-2026-{number:05}"),
                "packageName": format!("package-{}", number % 60),
                "fixedVersions": [format!("1.{number}.0")],
                "severity": (["HIGH", "MEDIUM", "LOW"][number % 3]),
                "suppressed": false,
            })
        };
        let found: Vec<Value> = (0..vulnerabilities).map(found).collect();
        let mut report = identity(digest);
        report["report"] = json!({"results": [{ "vulnerabilities": found }]});
        self.put("get_resource", &format!("VulnerabilityReport {namespace}/report"), &resource("report", report));
    }

    fn put(&mut self, operation: &'static str, question: &str, answer: &Value) {
        let known = self.0.entry(operation).or_default();
        known.insert(question.as_bytes().to_vec(), answer.to_string().into_bytes());
    }

    /// All that was put in.
    #[must_use]
    pub(crate) fn into_world(self) -> World {
        World(Arc::new(self.0))
    }
}

/// A reference as the question about it.
fn quoted(reference: &str) -> String {
    Value::from(reference).to_string()
}

/// A digest for each number.
#[must_use]
pub(crate) fn digest_of(number: usize) -> String {
    format!("sha256:{number:064x}")
}
