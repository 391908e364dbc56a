//! The base of an image, as the image itself names it.
//!
//! These name the base, in this order:
//!
//! 1. the annotations `org.opencontainers.image.base.name` and `.base.digest` of the manifest (OCI image specification, "Pre-Defined
//!    Annotation Keys"), which Buildah, Podman and ko write;
//! 2. labels of the configuration with the same keys, which .NET's SDK writes;
//! 3. the label of Cloud Native Buildpacks for the run image (Platform API, "`io.buildpacks.lifecycle.metadata` (JSON)");
//! 4. BuildKit's build information in the configuration (`docs/buildinfo.md` of BuildKit 0.11; removed in 0.12), if it leaves no
//!    doubt. It lists the images of all stages, not the base.
//!
//! These are not read: the attestations of newer BuildKits, since each is a manifest of its own that lists the images of all stages;
//! the labels `io.buildpacks.base.*` and `io.buildpacks.stack.*`, which identify a distribution and have no reference; and the label
//! `io.openshift.s2i.build.image` of Source-to-Image, which names the builder, also if the image is built on another runtime image. Jib
//! and Kaniko do not name the base; Kaniko copies the annotations of the base.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::evidence::registry::ImageFacts;
use crate::image::{Digest, Reference};
use crate::sanitized::Sanitized;

/// The annotation, or label, of the OCI image specification for the reference of the base.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The annotation, or label, of the OCI image specification for the digest of the base.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The label in which Cloud Native Buildpacks name the base, called run image.
pub const BUILDPACKS: &str = "io.buildpacks.lifecycle.metadata";

/// The base of an image, with what is needed to look for a newer build of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The reference of the base, by tag.
    pub name: String,
    /// The digest of the base at the time of the build.
    pub digest: String,
}

/// A base as an image names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedBase {
    /// A valid reference, as written: with a tag, a digest, both or neither.
    pub name: String,
    /// The digest of the base at the time of the build, as written, or the reason why it is unknown.
    digest: Result<String, String>,
}

/// The base that an image names.
///
/// # Errors
/// The reason why the base is unknown and what to do. The text continues a sentence about the image.
pub fn named_base(image: &ImageFacts) -> Result<NamedBase, String> {
    first_named(image).and_then(NamedBase::checked).map_err(|reason| advised(&reason))
}

/// The base whose name is judged. An annotation of the manifest is about the image itself, so it counts even without a digest. Labels are
/// inherited, and can be those of the base.
///
/// # Errors
/// The reason why the base is unknown and what to do. The text continues a sentence about the image.
pub fn declared_base(image: &ImageFacts) -> Result<NamedBase, String> {
    let annotated = image.annotation(BASE_NAME).filter(|name| !name.is_empty()).map(|name| {
        let digest = image.annotation(BASE_DIGEST).filter(|digest| !digest.is_empty());
        let digest = digest.map(str::to_owned).ok_or_else(|| without_digest(name));
        NamedBase { name: name.to_owned(), digest }
    });
    match annotated.map(NamedBase::checked) {
        Some(Ok(base)) => Ok(base),
        _ => named_base(image),
    }
}

/// The base of an image, if it is known well enough to look for a newer build of it.
///
/// # Errors
/// The reason why it is not and what to do. The text continues a sentence about the image.
pub fn base_of(image: &ImageFacts) -> Result<Base, String> {
    named_base(image)?.comparable()
}

fn without_digest(name: &str) -> String {
    format!("names its base `{}` without a digest in `{BASE_DIGEST}`", Sanitized(name))
}

fn advised(reason: &str) -> String {
    format!("{reason}; set the annotations `{BASE_NAME}` and `{BASE_DIGEST}` in its build")
}

/// The base in the first source that names it with a digest, otherwise in the first that names it.
fn first_named(image: &ImageFacts) -> Result<NamedBase, String> {
    let annotations = (image.annotation(BASE_NAME), image.annotation(BASE_DIGEST));
    let labels = (image.label(BASE_NAME), image.label(BASE_DIGEST));
    // Builders write empty strings if there is no base.
    let pairs = [annotations, labels]
        .map(|(name, digest)| (name.filter(|name| !name.is_empty()), digest.filter(|digest| !digest.is_empty())));
    for pair in pairs {
        if let (Some(name), Some(digest)) = pair {
            return Ok(NamedBase { name: name.to_owned(), digest: Ok(digest.to_owned()) });
        }
    }
    let buildpacks = image.label(BUILDPACKS).map(of_buildpacks);
    if let Some(Ok(base @ NamedBase { digest: Ok(_), .. })) = buildpacks {
        return Ok(base);
    }
    if let Some(base) = of_build_info(image) {
        return Ok(base);
    }
    if let Some(name) = pairs.into_iter().find_map(|(name, _)| name) {
        return Ok(NamedBase { name: name.to_owned(), digest: Err(without_digest(name)) });
    }
    buildpacks.unwrap_or_else(|| Err("does not say what it was built on".to_owned()))
}

impl NamedBase {
    /// The base, if its name is a valid reference.
    fn checked(self) -> Result<Self, String> {
        match Reference::parse(&self.name) {
            Ok(_) => Ok(self),
            Err(error) => Err(format!("names an invalid base `{}`: {error}", Sanitized(&self.name))),
        }
    }

    /// The digest of the base at the time of the build, if the image names a valid one.
    #[must_use]
    pub fn digest(&self) -> Option<&str> {
        self.digest.as_deref().ok().filter(|digest| Digest::parse(digest).is_ok())
    }

    /// The base, if it has a digest to compare and a tag that can point at a newer build.
    ///
    /// # Errors
    /// The reason why it does not and what to do. The text continues a sentence about the image.
    pub fn comparable(&self) -> Result<Base, String> {
        self.with_tag_and_digest().map_err(|reason| advised(&reason))
    }

    fn with_tag_and_digest(&self) -> Result<Base, String> {
        let name = &self.name;
        let reference = Reference::parse(name).map_err(|error| error.to_string())?;
        let digest = self.digest.clone()?;
        Digest::parse(&digest)
            .map_err(|error| format!("has the invalid base digest `{}`: {error}", Sanitized(&digest)))?;
        match (reference.tag(), reference.digest()) {
            (None, Some(_)) => {
                Err(format!("names its base by digest alone (`{}`), so newer builds cannot be found", Sanitized(name)))
            }
            (Some(tag), Some(_)) => {
                Ok(Base { name: format!("{}/{}:{tag}", reference.registry(), reference.repository()), digest })
            }
            (_, None) => Ok(Base { name: name.clone(), digest }),
        }
    }

    /// The normalised names of the base, of which a pattern has to match one: by tag, by digest, and by both. A base without a tag may be
    /// any tag, so it also has a name with an empty tag, which only patterns for every tag match.
    #[must_use]
    pub fn normalized_names(&self) -> Vec<String> {
        let Ok(reference) = Reference::parse(&self.name) else { return Vec::new() };
        let repository = format!("{}/{}", reference.normalized_registry(), reference.repository());
        let tagged = reference.tagged();
        let of_build = self.digest().and_then(|digest| Digest::parse(digest).ok());
        let mut names = vec![tagged.clone().unwrap_or_else(|| format!("{repository}:"))];
        for digest in [reference.digest(), of_build].into_iter().flatten() {
            names.push(format!("{repository}@{}", digest.as_str()));
            names.extend(tagged.as_ref().map(|tagged| format!("{tagged}@{}", digest.as_str())));
        }
        names
    }
}

fn of_buildpacks(metadata: &str) -> Result<NamedBase, String> {
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
    let Some(name) = name else {
        return Err(format!("has a label `{BUILDPACKS}` without the name of its run image"));
    };
    // An image that was built in a container engine has the ID of its run image there.
    let digest = digest.ok_or_else(|| format!("has a label `{BUILDPACKS}` without the digest of its run image"));
    Ok(NamedBase { name, digest })
}

/// The base in BuildKit's build information: the only image of the build, if no other build contributed to it. A build from scratch can
/// also have only one image, of which it copies files; [`ImageFacts`] has no build information of such a build.
fn of_build_info(image: &ImageFacts) -> Option<NamedBase> {
    #[derive(Deserialize)]
    struct BuildInfo<'a> {
        #[serde(default)]
        sources: Vec<Source>,
        #[serde(borrow, default)]
        deps: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    struct Source {
        #[serde(default, rename = "type")]
        kind: String,
        #[serde(default, rename = "ref")]
        reference: String,
        #[serde(default)]
        pin: String,
    }
    let json = STANDARD.decode(image.build_info.as_deref()?).ok()?;
    // From a text, as all other JSON is read: the reader of bytes would be a second one in the module.
    let build: BuildInfo<'_> = serde_json::from_str(std::str::from_utf8(&json).ok()?).ok()?;
    if build.deps.is_some_and(|deps| deps.get() != "{}") {
        return None;
    }
    let mut images = build.sources.into_iter().filter(|source| source.kind == "docker-image");
    let (base, None) = (images.next()?, images.next()) else { return None };
    Reference::parse(&base.reference).ok()?;
    Digest::parse(&base.pin).ok()?;
    Some(NamedBase { name: base.reference, digest: Ok(base.pin) })
}
