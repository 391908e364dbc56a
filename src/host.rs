//! What the policy asks of the world. Everything else is a pure function of the request and the settings.

use chrono::{DateTime, Utc};

/// The world, as rules and evidence see it: registries, and the clock. Images are named by reference. Answers are the
/// JSON of Kubewarden's host capabilities, errors are what the host says.
pub trait Host {
    /// `oci/v1/manifest_digest`: the digest of the manifest, or index, that a reference points at.
    ///
    /// # Errors
    /// Why the registry gave none.
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String>;

    /// `oci/v1/oci_manifest`: the manifest, or index, that a reference points at.
    ///
    /// # Errors
    /// Why the registry gave none.
    fn manifest(&self, image: &str) -> Result<Vec<u8>, String>;

    /// `oci/v1/oci_manifest_config`: manifest, digest and configuration of the image that a reference points at; of an
    /// index, those of the image for the platform that the host runs on.
    ///
    /// # Errors
    /// Why the registry gave none.
    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String>;

    /// What time it is.
    fn now(&self) -> DateTime<Utc>;
}

/// The host that runs the module: policy-server, kwctl or container-patch.
#[cfg(target_arch = "wasm32")]
#[derive(Debug, Clone, Copy)]
pub struct Kubewarden;

#[cfg(target_arch = "wasm32")]
impl Kubewarden {
    fn ask_about(operation: &str, image: &str) -> Result<Vec<u8>, String> {
        let payload = serde_json::to_vec(image).map_err(|error| error.to_string())?;
        wapc_guest::host_call("kubewarden", "oci", operation, &payload).map_err(|error| error.to_string())
    }
}

#[cfg(target_arch = "wasm32")]
impl Host for Kubewarden {
    fn manifest_digest(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask_about("v1/manifest_digest", image)
    }

    fn manifest(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask_about("v1/oci_manifest", image)
    }

    fn manifest_and_config(&self, image: &str) -> Result<Vec<u8>, String> {
        Self::ask_about("v1/oci_manifest_config", image)
    }

    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A world in memory, for tests.
#[cfg(test)]
pub(crate) mod in_memory {
    use std::cell::RefCell;
    use std::collections::BTreeMap;

    use chrono::{DateTime, Utc};
    use serde_json::Value;

    use super::Host;

    /// Answers what it was told to answer, and remembers what it was asked.
    pub(crate) struct InMemory {
        now: DateTime<Utc>,
        answers: BTreeMap<(&'static str, String), Result<Value, String>>,
        asked: RefCell<Vec<String>>,
    }

    impl InMemory {
        pub(crate) fn at(now: &str) -> Self {
            let now = DateTime::parse_from_rfc3339(now).expect("tests give a time").to_utc();
            Self { now, answers: BTreeMap::new(), asked: RefCell::default() }
        }

        pub(crate) fn digest(self, image: &str, digest: &str) -> Self {
            self.answer("digest", image, Ok(serde_json::json!({ "digest": digest })))
        }

        pub(crate) fn manifest(self, image: &str, manifest: Value) -> Self {
            self.answer("manifest", image, Ok(manifest))
        }

        pub(crate) fn config(self, image: &str, answer: Value) -> Self {
            self.answer("config", image, Ok(answer))
        }

        pub(crate) fn answer(mut self, call: &'static str, image: &str, answer: Result<Value, String>) -> Self {
            self.answers.insert((call, image.to_owned()), answer);
            self
        }

        /// The questions so far, in order, each as the call and the image.
        pub(crate) fn asked(&self) -> Vec<String> {
            self.asked.borrow().clone()
        }

        fn ask(&self, call: &'static str, image: &str) -> Result<Vec<u8>, String> {
            self.asked.borrow_mut().push(format!("{call} {image}"));
            match self.answers.get(&(call, image.to_owned())) {
                Some(Ok(answer)) => Ok(answer.to_string().into_bytes()),
                Some(Err(error)) => Err(error.clone()),
                None => Err(format!("nothing is known of {image}")),
            }
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

        fn now(&self) -> DateTime<Utc> {
            self.now
        }
    }
}
