//! What a policy may ask of its host.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

/// A question of a policy to its host.
///
/// Names and fields are those that kwctl writes into its sessions, and, but for `can_i`, those that a policy sends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostCall {
    /// `oci/v1/manifest_digest`: the digest that a reference points at.
    OciManifestDigest(Image),
    /// `oci/v1/oci_manifest`: the manifest, or the index, that a reference points at.
    OciManifest(Image),
    /// `oci/v1/oci_manifest_config`: manifest, digest and configuration of an image.
    OciManifestAndConfig(Image),
    /// `kubernetes/list_resources_by_namespace`.
    KubernetesListResourceNamespace(ListByNamespace),
    /// `kubernetes/list_resources_all`.
    KubernetesListResourceAll(ListAll),
    /// `kubernetes/get_resource`.
    KubernetesGetResource(Get),
    /// `kubernetes/can_i`.
    KubernetesCanI(CanI),
}

/// An image to ask a registry about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The reference.
    pub image: String,
}

/// Which resources of a namespace to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct ListByNamespace {
    pub api_version: String,
    pub kind: String,
    pub namespace: String,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    #[serde(default)]
    pub field_masks: Option<BTreeSet<String>>,
}

/// Which resources of the cluster to list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct ListAll {
    pub api_version: String,
    pub kind: String,
    pub label_selector: Option<String>,
    pub field_selector: Option<String>,
    #[serde(default)]
    pub field_masks: Option<BTreeSet<String>>,
}

/// Which resource to get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct Get {
    pub api_version: String,
    pub kind: String,
    pub name: String,
    pub namespace: Option<String>,
    pub disable_cache: bool,
    #[serde(default)]
    pub field_masks: Option<BTreeSet<String>>,
}

/// What somebody may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanI {
    /// Who, and what. A policy sends it under another name than kwctl records it.
    #[serde(alias = "subject_access_review")]
    pub request: SubjectAccessReview,
    /// Whether the API server is asked even if it was asked just before.
    pub disable_cache: bool,
}

/// Who, and what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct SubjectAccessReview {
    pub groups: Option<Vec<String>>,
    pub resource_attributes: ResourceAttributes,
    pub user: String,
}

/// What is to be done to which resource.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of authorization.k8s.io/v1 ResourceAttributes")]
pub struct ResourceAttributes {
    pub group: Option<String>,
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub resource: String,
    pub subresource: Option<String>,
    pub verb: String,
    pub version: Option<String>,
}

/// An answer in the JSON that the policy expects, or why there is none.
pub type Answer = Result<Vec<u8>, String>;

pub(crate) fn answer(value: &impl Serialize) -> Answer {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

/// Answers the questions of a policy. The policy gets errors, too, and decides what they mean.
pub trait Capabilities: Send + Sync {
    /// Answers one question.
    ///
    /// # Errors
    /// Why there is no answer.
    fn answer(&self, call: HostCall) -> Answer;
}

/// No answers at all: for a policy that has nothing to ask, as when it looks at its settings.
#[derive(Debug, Clone, Copy)]
pub struct Nothing;

impl Capabilities for Nothing {
    fn answer(&self, _: HostCall) -> Answer {
        Err("this host answers no questions".to_owned())
    }
}

/// The kinds of the cluster's resources that a policy may read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AllowedResources(Vec<ContextAwareResource>);

/// A kind of resource that a policy declares in its metadata.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of the metadata")]
pub struct ContextAwareResource {
    pub api_version: String,
    pub kind: String,
}

impl From<Vec<ContextAwareResource>> for AllowedResources {
    fn from(resources: Vec<ContextAwareResource>) -> Self {
        Self(resources)
    }
}

impl AllowedResources {
    /// Whether the policy may read resources of a kind.
    pub(crate) fn include(&self, api_version: &str, kind: &str) -> bool {
        self.0.iter().any(|allowed| allowed.api_version == api_version && allowed.kind == kind)
    }

    fn check(&self, api_version: &str, kind: &str) -> Result<(), String> {
        if self.include(api_version, kind) {
            return Ok(());
        }
        // The words of policy-server, so that a policy and its tests read the same everywhere.
        Err(format!(
            "Policy has not been granted access to Kubernetes {api_version}/{kind} resources. \
             The violation has been reported."
        ))
    }
}

/// Reads the question of a waPC host call, and checks that the policy may ask it.
///
/// # Errors
/// When no such capability exists, its payload cannot be read, or the policy may not use it.
pub fn host_call(
    namespace: &str,
    operation: &str,
    payload: &[u8],
    allowed: &AllowedResources,
) -> Result<HostCall, String> {
    fn read<'a, T: Deserialize<'a>>(payload: &'a [u8]) -> Result<T, String> {
        serde_json::from_slice(payload).map_err(|error| error.to_string())
    }
    match (namespace, operation) {
        ("oci", "v1/manifest_digest") => Ok(HostCall::OciManifestDigest(Image { image: read(payload)? })),
        ("oci", "v1/oci_manifest") => Ok(HostCall::OciManifest(Image { image: read(payload)? })),
        ("oci", "v1/oci_manifest_config") => Ok(HostCall::OciManifestAndConfig(Image { image: read(payload)? })),
        ("kubernetes", "list_resources_by_namespace") => {
            let request: ListByNamespace = read(payload)?;
            allowed.check(&request.api_version, &request.kind)?;
            Ok(HostCall::KubernetesListResourceNamespace(request))
        }
        ("kubernetes", "list_resources_all") => {
            let request: ListAll = read(payload)?;
            allowed.check(&request.api_version, &request.kind)?;
            Ok(HostCall::KubernetesListResourceAll(request))
        }
        ("kubernetes", "get_resource") => {
            let request: Get = read(payload)?;
            allowed.check(&request.api_version, &request.kind)?;
            Ok(HostCall::KubernetesGetResource(request))
        }
        ("kubernetes", "can_i") => Ok(HostCall::KubernetesCanI(read(payload)?)),
        _ => Err(format!("this host has no capability `{namespace}/{operation}`")),
    }
}

#[cfg(test)]
mod tests {
    use super::{AllowedResources, ContextAwareResource, HostCall, Image, host_call};

    #[test]
    fn a_capability_is_known_by_namespace_and_operation() {
        let call = host_call("oci", "v1/manifest_digest", br#""nginx:1""#, &AllowedResources::default());
        assert_eq!(call, Ok(HostCall::OciManifestDigest(Image { image: "nginx:1".to_owned() })));
        let call = host_call("net", "v1/dns_lookup_host", br#""example.com""#, &AllowedResources::default());
        assert_eq!(call, Err("this host has no capability `net/v1/dns_lookup_host`".to_owned()));
    }

    #[test]
    fn resources_that_the_policy_was_not_granted_are_not_read() {
        let get = br#"{"api_version": "v1", "kind": "Secret", "name": "a", "namespace": "b", "disable_cache": false}"#;
        let refused = host_call("kubernetes", "get_resource", get, &AllowedResources::default()).unwrap_err();
        assert!(refused.starts_with("Policy has not been granted access to Kubernetes v1/Secret"), "{refused}");
        let secrets = ContextAwareResource { api_version: "v1".to_owned(), kind: "Secret".to_owned() };
        assert!(host_call("kubernetes", "get_resource", get, &AllowedResources::from(vec![secrets])).is_ok());
    }

    #[test]
    fn asking_what_somebody_may_do_is_read_as_policies_send_it() {
        let payload = br#"{"disable_cache": false, "subject_access_review": {"groups": null, "user": "jane",
            "resource_attributes": {"group": "g", "name": null, "namespace": null, "resource": "r", "subresource": null,
            "verb": "get", "version": null}}}"#;
        let call = host_call("kubernetes", "can_i", payload, &AllowedResources::default());
        assert!(matches!(&call, Ok(HostCall::KubernetesCanI(can_i)) if can_i.request.user == "jane"), "{call:?}");
    }
}
