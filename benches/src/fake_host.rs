//! A host that answers the policy's host calls from memory.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::{Value, json};

/// JSON responses by operation and by payload of the host call.
type Responses = HashMap<&'static str, HashMap<Vec<u8>, Vec<u8>>>;

/// The responses to the host calls of one scenario. A clone shares them.
#[derive(Debug, Clone, Default)]
pub(crate) struct FakeHost(Arc<Responses>);

/// The fields that identify a resource among those of a scenario.
#[derive(Deserialize)]
struct ResourceId<'a> {
    kind: &'a str,
    namespace: &'a str,
    #[serde(default)]
    name: Option<&'a str>,
}

impl FakeHost {
    /// Whether it has no responses, because the policy makes no host calls.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The response to a host call.
    ///
    /// # Errors
    /// With policy-server's message for a missing resource.
    pub(crate) fn respond(&self, namespace: &str, operation: &str, payload: &[u8]) -> Result<Vec<u8>, String> {
        let found = self.0.get(operation).and_then(|responses| {
            if namespace != "kubernetes" {
                return responses.get(payload);
            }
            let ResourceId { kind, namespace, name } = serde_json::from_slice(payload).ok()?;
            responses.get(format!("{kind} {namespace}/{}", name.unwrap_or_default()).as_bytes())
        });
        found.cloned().ok_or_else(|| "Host error: Cannot find it named 'so'".to_owned())
    }

    /// Adds an image of a registry. `reference` is the one that the policy requests.
    pub(crate) fn add_image(&mut self, reference: &str, digest: &str, created: &str) {
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
        self.add("v1/oci_manifest", &quoted(reference), &manifest);
        let response = json!({"manifest": manifest, "digest": digest, "config": config});
        self.add("v1/oci_manifest_config", &quoted(reference), &response);
    }

    /// Adds a tag and the digest that it points at.
    pub(crate) fn add_tag(&mut self, reference: &str, digest: &str) {
        self.add("v1/manifest_digest", &quoted(reference), &json!({ "digest": digest }));
    }

    /// Adds a report of SBOMscanner and `others` more in its namespace. They have only the fields that the policy requests.
    pub(crate) fn add_sbomscanner_report(
        &mut self,
        namespace: &str,
        digest: &str,
        vulnerabilities: usize,
        others: usize,
    ) {
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
        self.add(
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
        self.add("get_resource", &format!("VulnerabilityReport {namespace}/report"), &resource("report", report));
    }

    /// Adds a record of the images that run in staging. `digests` are those that the policy requests, each in a question of its own. With
    /// the metadata, which no mask of fields removes, the fields of all `images` reach the policy.
    pub(crate) fn add_record(&mut self, namespace: &str, name: &str, digests: &[String], images: usize) {
        let key = |digest: &str| digest.replace(':', "-");
        let managed = |digest: &str| (format!("f:{}", key(digest)), json!({}));
        let fields: serde_json::Map<String, Value> =
            (0..images).map(|image| managed(&digest_of(2_000_000 + image))).collect();
        let entry = json!({"since": "2026-01-01T08:00:00Z", "where": "staging/Deployment/app"}).to_string();
        let data: serde_json::Map<String, Value> = digests.iter().map(|digest| (key(digest), json!(entry))).collect();
        let record = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name, "namespace": namespace, "uid": "6a2c1f1e-7c3a-4b46-9c3c-0d5f6a7b8c9d",
                "managedFields": [{
                    "manager": "container-patch-soak", "operation": "Apply", "apiVersion": "v1",
                    "fieldsType": "FieldsV1", "fieldsV1": {"f:data": fields},
                }],
            },
            "data": data,
        });
        self.add("get_resource", &format!("ConfigMap {namespace}/{name}"), &record);
    }

    fn add(&mut self, operation: &'static str, payload: &str, response: &Value) {
        let responses = Arc::make_mut(&mut self.0).entry(operation).or_default();
        responses.insert(payload.as_bytes().to_vec(), response.to_string().into_bytes());
    }
}

/// The payload of a host call about a reference.
fn quoted(reference: &str) -> String {
    Value::from(reference).to_string()
}

/// A different digest for each number.
#[must_use]
pub(crate) fn digest_of(number: usize) -> String {
    format!("sha256:{number:064x}")
}
