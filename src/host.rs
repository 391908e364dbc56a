//! The interface to the host. Everything else is a pure function of the request, the settings and the answers of the host.

pub mod field_mask;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use serde::Serialize;

/// Access to registries, the cluster and the clock. Images are named by reference. Answers are the JSON of Kubewarden's host
/// capabilities, errors are the messages of the host.
pub trait Host {
    /// `oci/v1/manifest_digest`: the digest of the manifest, or index, of a reference.
    ///
    /// # Errors
    /// Why the registry did not answer, or the host cannot ask it.
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String>;

    /// `oci/v1/oci_manifest`: the manifest, or index, of a reference.
    ///
    /// # Errors
    /// Why the registry did not answer, or the host cannot ask it.
    fn manifest(&self, image: &str) -> Result<Vec<u8>, String>;

    /// `oci/v1/oci_manifest_config`: the manifest, digest and configuration of the image of a reference. From an index, the host
    /// chooses the image for its own platform.
    ///
    /// # Errors
    /// Why the registry did not answer, or the host cannot ask it.
    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String>;

    /// `kubernetes/get_resource`: one resource of the cluster.
    ///
    /// # Errors
    /// Why the cluster did not answer, or there is no such resource.
    fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String>;

    /// `kubernetes/list_resources_by_namespace`: the resources of a namespace.
    ///
    /// # Errors
    /// Why the cluster did not answer, or there is no such resource.
    fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String>;

    /// `kubernetes/can_i`: whether a user has a permission.
    ///
    /// # Errors
    /// Why the cluster did not answer.
    fn can_i(&self, question: &CanI<'_>) -> Result<Vec<u8>, String>;

    /// `tracing/log`: writes a warning to the log of the host, which requesters do not see.
    fn log_warning(&self, message: &str);

    /// The current time.
    fn now(&self) -> DateTime<Utc>;
}

/// The resource to get.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct GetResource<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub name: &'a str,
    pub namespace: Option<&'a str>,
    pub disable_cache: bool,
    pub field_masks: BTreeSet<&'a str>,
}

/// The resources to list.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct ListResources<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub namespace: &'a str,
    pub label_selector: Option<&'a str>,
    pub field_selector: Option<&'a str>,
    pub field_masks: BTreeSet<&'a str>,
}

/// The permission to ask about.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct CanI<'a> {
    pub subject_access_review: SubjectAccessReview<'a>,
    pub disable_cache: bool,
}

/// The user and the action.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of the host capability")]
pub struct SubjectAccessReview<'a> {
    pub groups: Option<&'a [&'a str]>,
    pub resource_attributes: ResourceAttributes<'a>,
    pub user: &'a str,
}

/// The action: a verb and the resource.
#[derive(Debug, Serialize)]
#[expect(missing_docs, reason = "the fields are those of authorization.k8s.io/v1 ResourceAttributes")]
pub struct ResourceAttributes<'a> {
    pub group: Option<&'a str>,
    pub name: Option<&'a str>,
    pub namespace: Option<&'a str>,
    pub resource: &'a str,
    pub subresource: Option<&'a str>,
    pub verb: &'a str,
    pub version: Option<&'a str>,
}

/// The host that runs the module: policy-server, kwctl or container-patch.
#[cfg(target_arch = "wasm32")]
#[derive(Debug, Clone, Copy)]
pub struct Kubewarden;

#[cfg(target_arch = "wasm32")]
impl Kubewarden {
    fn ask(namespace: &str, operation: &str, question: &impl Serialize) -> Result<Vec<u8>, String> {
        let payload = serde_json::to_vec(question).map_err(|error| error.to_string())?;
        wapc_guest::host_call("kubewarden", namespace, operation, &payload).map_err(|error| error.to_string())
    }
}

#[cfg(target_arch = "wasm32")]
impl Host for Kubewarden {
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask("oci", "v1/manifest_digest", &image)
    }

    fn manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask("oci", "v1/oci_manifest", &image)
    }

    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask("oci", "v1/oci_manifest_config", &image)
    }

    fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String> {
        Self::ask("kubernetes", "get_resource", request)
    }

    fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String> {
        Self::ask("kubernetes", "list_resources_by_namespace", request)
    }

    fn can_i(&self, question: &CanI<'_>) -> Result<Vec<u8>, String> {
        Self::ask("kubernetes", "can_i", question)
    }

    fn log_warning(&self, message: &str) {
        /// An event as Kubewarden's SDK writes it. The host wants at least one field besides level and message.
        #[derive(Serialize)]
        struct Event<'a> {
            level: &'a str,
            message: &'a str,
            policy: &'a str,
        }
        let event = Event { level: "WARNING", message, policy: env!("CARGO_PKG_NAME") };
        // A failure to log does not change the verdict.
        let _ = Self::ask("tracing", "log", &event);
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A host in memory, for tests.
#[cfg(test)]
pub(crate) mod in_memory {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use chrono::{DateTime, Utc};
    use serde_json::Value;

    use super::field_mask::FieldMask;
    use super::{CanI, GetResource, Host, ListResources};

    /// Returns the answers that a test gives it, and records the questions.
    pub(crate) struct InMemory {
        now: DateTime<Utc>,
        answers: BTreeMap<(&'static str, String), Result<Value, String>>,
        asked: RefCell<Vec<String>>,
        logged: RefCell<Vec<String>>,
    }

    impl InMemory {
        pub(crate) fn at(now: &str) -> Self {
            let now = DateTime::parse_from_rfc3339(now).expect("tests give a time").to_utc();
            Self { now, answers: BTreeMap::new(), asked: RefCell::default(), logged: RefCell::default() }
        }

        pub(crate) fn digest(self, image: &str, digest: &str) -> Self {
            self.answer("digest", image, Ok(serde_json::json!({ "digest": digest })))
        }

        pub(crate) fn manifest(self, image: &str, manifest: Value) -> Self {
            self.answer("manifest", image, Ok(manifest))
        }

        /// The manifest and configuration of an image. An image that is named by tag is available by its digest, too.
        pub(crate) fn config(self, image: &str, answer: Value) -> Self {
            let digest = answer["digest"].as_str().filter(|_| !image.contains('@')).map(str::to_owned);
            let Some(digest) = digest else { return self.answer("config", image, Ok(answer)) };
            let (name, _) = image.rsplit_once(':').unwrap_or((image, ""));
            let by_digest = format!("{name}@{digest}");
            self.digest(image, &digest).answer("config", image, Ok(answer.clone())).answer(
                "config",
                &by_digest,
                Ok(answer),
            )
        }

        pub(crate) fn answer(mut self, call: &'static str, image: &str, answer: Result<Value, String>) -> Self {
            self.answers.insert((call, image.to_owned()), answer);
            self
        }

        /// The questions so far, in order: each is the call and its object.
        pub(crate) fn asked(&self) -> Vec<String> {
            self.asked.borrow().clone()
        }

        /// The messages in the log.
        pub(crate) fn logged(&self) -> Vec<String> {
            self.logged.borrow().clone()
        }

        fn ask(&self, call: &'static str, image: &str) -> Result<Vec<u8>, String> {
            self.asked.borrow_mut().push(format!("{call} {image}"));
            match self.answers.get(&(call, image.to_owned())) {
                Some(Ok(answer)) => Ok(answer.to_string().into_bytes()),
                Some(Err(error)) => Err(error.clone()),
                None => Err(format!("nothing is known of {image}")),
            }
        }

        /// Removes the fields that the question does not name, as policy-server does. Identity and metadata stay.
        fn masked(answer: Vec<u8>, masks: &std::collections::BTreeSet<&str>) -> Vec<u8> {
            let mut answer: Value = serde_json::from_slice(&answer).expect("answers are JSON");
            let mask = FieldMask::from_paths(masks.iter().copied().chain(["apiVersion", "kind", "metadata"]));
            match answer.get_mut("items") {
                Some(items) => mask.prune(items),
                None => mask.prune(&mut answer),
            }
            answer.to_string().into_bytes()
        }
    }

    impl Host for InMemory {
        fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String> {
            self.ask("digest", image)
        }

        fn manifest(&self, image: &str) -> Result<Vec<u8>, String> {
            self.ask("manifest", image)
        }

        fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String> {
            self.ask("config", image)
        }

        fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String> {
            let (kind, name) = (request.kind, request.name);
            let namespace = request.namespace.unwrap_or_default();
            let what = format!("{kind} {namespace}/{name}");
            if !self.answers.contains_key(&("get", what.clone())) {
                self.asked.borrow_mut().push(format!("get {what}"));
                let api_version = request.api_version;
                // The message of policy-server.
                return Err(format!(
                    "Host error: Cannot find {api_version}/{kind} named '{name}' inside of namespace 'Some(\"{namespace}\")'"
                ));
            }
            self.ask("get", &what).map(|answer| Self::masked(answer, &request.field_masks))
        }

        fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String> {
            let what = format!("{} {}", request.kind, request.namespace);
            if !self.answers.contains_key(&("list", what.clone())) {
                self.asked.borrow_mut().push(format!("list {what}"));
                return Ok(br#"{"items": []}"#.to_vec());
            }
            self.ask("list", &what).map(|answer| Self::masked(answer, &request.field_masks))
        }

        fn can_i(&self, question: &CanI<'_>) -> Result<Vec<u8>, String> {
            let review = &question.subject_access_review;
            let attributes = &review.resource_attributes;
            let namespace = attributes.namespace.unwrap_or_default();
            self.ask("can_i", &format!("{} {} {namespace}/{}", review.user, attributes.verb, attributes.resource))
        }

        fn log_warning(&self, message: &str) {
            self.logged.borrow_mut().push(message.to_owned());
        }

        fn now(&self) -> DateTime<Utc> {
            self.now
        }
    }
}
