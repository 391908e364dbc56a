//! The bases of images, from the answers that the policy gets. The report asks registries nothing of its own.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use container_patch_policy::evidence::registry::ImageFacts;
use container_patch_policy::rules::RuleAnnotations;
use container_patch_policy::rules::base_image::base::{NamedBase, named_base};

use crate::capabilities::{Answer, Capabilities, HostCall};

/// Forwards the questions of the policy, and keeps the bases of the images in the answers.
pub(super) struct Bases {
    inner: Arc<dyn Capabilities>,
    /// By the digest in the question. `None` for an image that does not name its base.
    known: Mutex<HashMap<String, Option<NamedBase>>>,
}

impl Bases {
    /// Forwards questions to these capabilities.
    pub(super) fn new(inner: Arc<dyn Capabilities>) -> Self {
        Self { inner, known: Mutex::default() }
    }

    /// The base of the image with this digest. For an index, that of the image that the host chooses.
    pub(super) fn of(&self, digest: &str) -> Option<NamedBase> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).get(digest).cloned().flatten()
    }

    fn keep(&self, image: &str, answer: &[u8]) {
        let Some((_, digest)) = image.split_once('@') else { return };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if !known.contains_key(digest) {
            known.insert(digest.to_owned(), base_in(answer));
        }
    }
}

impl Capabilities for Bases {
    fn answer(&self, call: HostCall) -> Answer {
        let image = if let HostCall::OciManifestAndConfig(image) = &call { Some(image.image.clone()) } else { None };
        let answer = self.inner.answer(call);
        if let (Some(image), Ok(answer)) = (image, &answer) {
            self.keep(&image, answer);
        }
        answer
    }
}

/// The base that an answer with manifest and configuration names.
fn base_in(answer: &[u8]) -> Option<NamedBase> {
    named_base(&ImageFacts::of_answer::<RuleAnnotations>(answer)?).ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::base_in;

    #[test]
    fn the_base_is_in_the_annotations_or_the_labels() {
        let digest = format!("sha256:{}", "a".repeat(64));
        let named =
            json!({"org.opencontainers.image.base.name": "alpine:3", "org.opencontainers.image.base.digest": digest});
        let without_digest = json!({"org.opencontainers.image.base.name": "alpine:3"});
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json"});
        let annotated = json!({"manifest": {"config": config, "annotations": named}, "config": {}});
        let labelled = json!({"manifest": {"config": config}, "config": {"config": {"Labels": named}}});
        for answer in [annotated, labelled] {
            let base = base_in(answer.to_string().as_bytes()).unwrap();
            assert_eq!((base.name.as_str(), base.digest()), ("alpine:3", Some(digest.as_str())));
        }
        let answer = json!({"manifest": {"config": config, "annotations": without_digest}, "config": {}});
        let base = base_in(answer.to_string().as_bytes()).unwrap();
        assert_eq!((base.name.as_str(), base.digest()), ("alpine:3", None));
        assert_eq!(base_in(json!({"manifest": {"config": config}, "config": {}}).to_string().as_bytes()), None);
        assert_eq!(base_in(b"{}"), None);
    }
}
