//! The base of an image, as its annotations and labels name it.

use serde::Deserialize;

use crate::evidence::registry::ImageFacts;
use crate::image::{Digest, Reference};
use crate::sanitized::Sanitized;

/// The annotation, or label, of the OCI image specification for the reference of the base.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The annotation, or label, of the OCI image specification for the digest of the base.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The label in which Cloud Native Buildpacks name the base, called run image (Platform API,
/// "io.buildpacks.lifecycle.metadata").
pub const BUILDPACKS: &str = "io.buildpacks.lifecycle.metadata";

/// The base of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The reference of the base, by tag.
    pub name: String,
    /// The digest of the base at the time of the build.
    pub digest: String,
}

/// The base of an image: from annotations of the manifest, otherwise from labels of the configuration, otherwise from the label of
/// Buildpacks.
///
/// # Errors
/// The reason why the base is unknown and what to do. The text continues a sentence about the image.
pub fn base_of(image: &ImageFacts) -> Result<Base, String> {
    named_base(image)
        .map_err(|reason| format!("{reason}; set the annotations `{BASE_NAME}` and `{BASE_DIGEST}` in its build"))
}

fn named_base(image: &ImageFacts) -> Result<Base, String> {
    let annotations = (image.annotation(BASE_NAME), image.annotation(BASE_DIGEST));
    let labels = (image.label(BASE_NAME), image.label(BASE_DIGEST));
    for (name, digest) in [annotations, labels] {
        // Builders write empty strings if there is no base.
        if let (Some(name), Some(digest)) =
            (name.filter(|name| !name.is_empty()), digest.filter(|digest| !digest.is_empty()))
        {
            return base(name, digest);
        }
    }
    if let Some(metadata) = image.label(BUILDPACKS) {
        return buildpacks_base(metadata);
    }
    match [annotations.0, labels.0].into_iter().flatten().find(|name| !name.is_empty()) {
        Some(name) => Err(format!("names its base `{}` without a digest in `{BASE_DIGEST}`", Sanitized(name))),
        None => Err("does not say what it was built on".to_owned()),
    }
}

fn base(name: &str, digest: &str) -> Result<Base, String> {
    let reference =
        Reference::parse(name).map_err(|error| format!("names an invalid base `{}`: {error}", Sanitized(name)))?;
    Digest::parse(digest).map_err(|error| format!("has the invalid base digest `{}`: {error}", Sanitized(digest)))?;
    match (reference.tag(), reference.digest()) {
        (None, Some(_)) => {
            Err(format!("names its base by digest alone (`{}`), so newer builds cannot be found", Sanitized(name)))
        }
        (Some(tag), Some(_)) => Ok(Base {
            name: format!("{}/{}:{tag}", reference.registry(), reference.repository()),
            digest: digest.to_owned(),
        }),
        (_, None) => Ok(Base { name: name.to_owned(), digest: digest.to_owned() }),
    }
}

fn buildpacks_base(metadata: &str) -> Result<Base, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Metadata {
        run_image: RunImage,
        #[serde(default)]
        stack: Option<Stack>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Stack {
        run_image: RunImage,
    }
    #[derive(Deserialize)]
    struct RunImage {
        #[serde(default)]
        reference: Option<String>,
        #[serde(default)]
        image: Option<String>,
    }
    let invalid = |error: serde_json::Error| {
        format!("has a label `{BUILDPACKS}` that cannot be read: {}", Sanitized(&error.to_string()))
    };
    let metadata: Metadata = serde_json::from_str(metadata).map_err(invalid)?;
    // Newer platforms write the tag into `runImage`, older ones into `stack`.
    let name = metadata.run_image.image.or_else(|| metadata.stack.and_then(|stack| stack.run_image.image));
    let reference = metadata.run_image.reference.unwrap_or_default();
    let digest = Reference::parse(&reference)
        .ok()
        .and_then(|reference| reference.digest().map(|digest| digest.as_str().to_owned()));
    match (name, digest) {
        (Some(name), Some(digest)) => base(&name, &digest),
        (None, _) => Err(format!("has a label `{BUILDPACKS}` without the name of its run image")),
        (_, None) => Err(format!("has a label `{BUILDPACKS}` without the digest of its run image")),
    }
}
