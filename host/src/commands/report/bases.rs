//! The bases of images, from the answers that the policy gets. The report asks registries nothing of its own.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use container_patch_policy::evidence::registry::ImageFacts;
use container_patch_policy::rules::base_image::base::{Base, base_of};
use serde::Deserialize;

use crate::capabilities::{Answer, Capabilities, HostCall};

/// Forwards the questions of the policy, and keeps the bases of the images in the answers.
pub(super) struct Bases {
    inner: Arc<dyn Capabilities>,
    /// By the digest in the question. `None` for an image that does not name its base.
    known: Mutex<HashMap<String, Option<Base>>>,
}

impl Bases {
    /// Forwards questions to these capabilities.
    pub(super) fn new(inner: Arc<dyn Capabilities>) -> Self {
        Self { inner, known: Mutex::default() }
    }

    /// The base of the image with this digest. For an index, that of the image that the host chooses.
    pub(super) fn of(&self, digest: &str) -> Option<Base> {
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
fn base_in(answer: &[u8]) -> Option<Base> {
    #[derive(Deserialize)]
    struct Image {
        manifest: Manifest,
        config: Config,
    }
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        annotations: Option<BTreeMap<String, String>>,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        config: Option<Container>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Container {
        #[serde(default)]
        labels: Option<BTreeMap<String, String>>,
    }
    let Image { manifest, config } = serde_json::from_slice(answer).ok()?;
    let facts = ImageFacts {
        annotations: manifest.annotations.unwrap_or_default(),
        labels: config.config.and_then(|config| config.labels).unwrap_or_default(),
        ..ImageFacts::default()
    };
    base_of(&facts).ok()
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
        let annotated = json!({"manifest": {"annotations": named}, "config": {}});
        let labelled = json!({"manifest": {}, "config": {"config": {"Labels": named}}});
        for answer in [annotated, labelled] {
            let base = base_in(answer.to_string().as_bytes()).unwrap();
            assert_eq!((base.name.as_str(), &base.digest), ("alpine:3", &digest));
        }
        assert_eq!(base_in(json!({"manifest": {}, "config": {}}).to_string().as_bytes()), None);
        assert_eq!(base_in(b"{}"), None);
    }
}
