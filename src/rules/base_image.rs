//! Rule `baseImage`: an image stands on the newest build of its base. What was patched in the base reaches an image only
//! when the image is built anew.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::Ruling;
use crate::evidence::build_date::BuildDate;
use crate::evidence::registry::{BASE_DIGEST, BASE_NAME, BUILDPACKS, ImageFacts};
use crate::finding::{Code, Effect};
use crate::image::{Digest, Reference};
use crate::settings::read::{Path, Problems, Setting, read_string, section};
use crate::settings::shape::Shape;
use crate::settings::value::{Action, Period, Unknown};
use crate::shown::Shown;

section! {
    /// Every image stands on the newest build of its base.
    pub struct BaseImage {
        /// What becomes of an image whose base was rebuilt more than `grace` ago.
        "action" action: Action = Action::Warn,
        /// How long an image may still stand on the old base. It is counted from the build date of the newer base, and
        /// never from before the image was built.
        "grace" grace: Period = Period::days(14),
        /// What becomes of an image that does not say what it was built on.
        "unknown" unknown: Unknown = Unknown::Allow,
        /// Registries that are asked about bases, besides the image's own. The names of bases come from whoever built an
        /// image; without a list, anybody's server could be made to [hold up admission](registries.md#timeouts).
        "registries" registries: Vec<RegistryHost> = PUBLIC_REGISTRIES.map(|host| RegistryHost(Cow::Borrowed(host))).into(),
    }
}

/// Where most bases come from.
const PUBLIC_REGISTRIES: [&str; 10] = [
    "docker.io",
    "cgr.dev",
    "gcr.io",
    "ghcr.io",
    "mcr.microsoft.com",
    "public.ecr.aws",
    "quay.io",
    "registry.access.redhat.com",
    "registry.k8s.io",
    "registry.suse.com",
];

/// A registry, by its normalised host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryHost(Cow<'static, str>);

impl Setting for RegistryHost {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a registry host such as `registry.example.com`", problems)?;
        match Reference::parse(&format!("{text}/name")) {
            Ok(reference) if reference.host() == Some(&*text) => {
                Some(Self(Cow::Owned(reference.normalized_registry().into_owned())))
            }
            Ok(_) => {
                problems
                    .push(at, format_args!("`{text}` is no registry host; write one such as `registry.example.com`"));
                None
            }
            Err(error) => {
                problems.push(at, format_args!("`{text}` is no registry host: {error}"));
                None
            }
        }
    }

    fn shape() -> Shape {
        Shape::text("host", "hosts", r"^(localhost|[A-Za-z0-9.:\[\]_-]*[.:\[A-Z][A-Za-z0-9.:\[\]_-]*)$")
    }

    fn written(&self) -> Value {
        self.0.as_ref().into()
    }
}

/// What an image says of its base.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base {
    /// The base, by tag; as it was written.
    pub name: String,
    /// The digest of the base that the image was built on.
    pub digest: String,
}

/// How the base of an image stands to what its name points at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Currency {
    /// The base is not known: why not, and what to do about it.
    Unknown(String),
    /// It is the newest build.
    Current,
    /// There is a newer build.
    Outdated {
        /// The base, by tag.
        base: String,
        /// When the newer build was built.
        newer: BuildDate,
    },
}

/// What an image was built on: by annotations of the manifest, else by labels of the configuration, else by what
/// Buildpacks write.
///
/// # Errors
/// Why it cannot be known and what to do about it, in words that read on from the image.
pub fn base_of(image: &ImageFacts) -> Result<Base, String> {
    named_base(image)
        .map_err(|reason| format!("{reason}; set the annotations `{BASE_NAME}` and `{BASE_DIGEST}` in its build"))
}

fn named_base(image: &ImageFacts) -> Result<Base, String> {
    let annotations = (image.annotation(BASE_NAME), image.annotation(BASE_DIGEST));
    let labels = (image.label(BASE_NAME), image.label(BASE_DIGEST));
    for (name, digest) in [annotations, labels] {
        // Builders write empty strings where there is no base.
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
        Some(name) => Err(format!("names its base `{}`, but no digest in `{BASE_DIGEST}`", Shown(name))),
        None => Err("does not say what it was built on".to_owned()),
    }
}

fn base(name: &str, digest: &str) -> Result<Base, String> {
    let reference =
        Reference::parse(name).map_err(|error| format!("names a base `{}` that is none: {error}", Shown(name)))?;
    Digest::parse(digest).map_err(|error| format!("gives `{}` for the digest of its base: {error}", Shown(digest)))?;
    match (reference.tag(), reference.digest()) {
        (None, Some(_)) => Err(format!("names its base by digest alone, `{}`, which never changes", Shown(name))),
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
    let unreadable = |error: serde_json::Error| {
        format!("has a label `{BUILDPACKS}` that cannot be read: {}", Shown(&error.to_string()))
    };
    let metadata: Metadata = serde_json::from_str(metadata).map_err(unreadable)?;
    // Newer platforms write the tag beside the reference, older ones into the stack.
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

impl BaseImage {
    /// Whether the registry of a base may be asked about it. `image` is the image that names the base.
    #[must_use]
    pub fn may_ask(&self, base: &Reference<'_>, image: &Reference<'_>) -> bool {
        let registry = base.normalized_registry();
        registry == image.normalized_registry() || self.registries.iter().any(|allowed| allowed.0 == registry)
    }

    /// Judges an image by how its base stands. `built` is when the image itself was built.
    #[must_use]
    pub fn judge(&self, base: &Currency, built: &BuildDate, now: DateTime<Utc>) -> Option<Ruling> {
        let effect = self.action.effect()?;
        match base {
            Currency::Current => None,
            Currency::Unknown(reason) => {
                Some(Ruling { code: Code::UnknownBaseImage, effect: self.unknown.effect()?, text: reason.clone() })
            }
            Currency::Outdated { base, newer } => Some(self.judge_outdated(base, newer, built, now, effect)),
        }
    }

    fn judge_outdated(
        &self,
        base: &str,
        newer: &BuildDate,
        built: &BuildDate,
        now: DateTime<Utc>,
        effect: Effect,
    ) -> Ruling {
        let fact = match newer {
            BuildDate::At(date) => format!("of which there is a build of {}", date.date_naive()),
            _ => "of which there is another build".to_owned(),
        };
        // Nobody had to rebuild an image before it was built, though a tag may be moved to a build of before.
        let from = newer.date().max(built.date());
        let base = Shown(base);
        match from.map(|from| from + self.grace.delta()) {
            Some(deadline) if now < deadline => Ruling {
                code: Code::BaseUpdateDue,
                effect: Effect::Warn,
                text: format!("stands on an old `{base}`, {fact}; build it on that by {}", deadline.date_naive()),
            },
            Some(deadline) => Ruling {
                code: Code::OutdatedBaseImage,
                effect,
                text: format!(
                    "stands on an old `{base}`, {fact}, and had to be built on that by {}; build it anew",
                    deadline.date_naive()
                ),
            },
            None => Ruling {
                code: Code::OutdatedBaseImage,
                effect,
                text: format!("stands on an old `{base}`, {fact}; build it anew"),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{BASE_DIGEST, BASE_NAME, BUILDPACKS, Base, BaseImage, Currency, base_of};
    use crate::evidence::build_date::BuildDate;
    use crate::evidence::registry::ImageFacts;
    use crate::finding::{Code, Effect};
    use crate::image::Reference;
    use crate::settings::value::{Action, Unknown};

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn entries(pairs: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn on(name: &str, digest: &str) -> Result<Base, String> {
        Ok(Base { name: name.to_owned(), digest: digest.to_owned() })
    }

    #[test]
    fn annotations_come_first_labels_next_and_buildpacks_last() {
        let buildpacks = json!({"runImage": {"image": "registry.example.com/run:jammy", "reference": format!("registry.example.com/run@{DIGEST}")}});
        let mut image =
            ImageFacts { labels: entries(&[(BUILDPACKS, &buildpacks.to_string())]), ..ImageFacts::default() };
        assert_eq!(base_of(&image), on("registry.example.com/run:jammy", DIGEST));
        image.labels.extend(entries(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, OTHER)]));
        assert_eq!(base_of(&image), on("debian:12", OTHER));
        image.annotations = entries(&[(BASE_NAME, "debian:13"), (BASE_DIGEST, DIGEST)]);
        assert_eq!(base_of(&image), on("debian:13", DIGEST));
    }

    #[test]
    fn older_buildpacks_name_the_run_image_in_the_stack() {
        let metadata = json!({"runImage": {"reference": format!("index.docker.io/run@{DIGEST}")}, "stack": {"runImage": {"image": "run:base"}}});
        let image = ImageFacts { labels: entries(&[(BUILDPACKS, &metadata.to_string())]), ..ImageFacts::default() };
        assert_eq!(base_of(&image), on("run:base", DIGEST));
    }

    #[test]
    fn what_cannot_be_read_is_told_in_one_short_line() {
        let metadata = json!({"runImage": "x\n".repeat(1 << 20)}).to_string();
        let image = ImageFacts { labels: entries(&[(BUILDPACKS, &metadata)]), ..ImageFacts::default() };
        let reason = base_of(&image).unwrap_err();
        assert!(reason.len() < 600 && !reason.contains('\n'), "{reason}");
    }

    #[test]
    fn what_an_image_does_not_say_is_said() {
        let annotated = |pairs: &[(&str, &str)]| ImageFacts { annotations: entries(pairs), ..ImageFacts::default() };
        let built = |metadata: Value| ImageFacts {
            labels: entries(&[(BUILDPACKS, &metadata.to_string())]),
            ..ImageFacts::default()
        };
        for (image, expected) in [
            (ImageFacts::default(), "does not say what it was built on"),
            (annotated(&[(BASE_DIGEST, DIGEST)]), "does not say what it was built on"),
            (annotated(&[(BASE_NAME, "debian:12")]), "names its base `debian:12`, but no digest in"),
            (
                annotated(&[(BASE_NAME, "Debian"), (BASE_DIGEST, DIGEST)]),
                "names a base `Debian` that is none: the repository",
            ),
            (
                annotated(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, "sha256:1")]),
                "gives `sha256:1` for the digest of its base: the sha256 digest has 1",
            ),
            (
                annotated(&[(BASE_NAME, &format!("debian@{DIGEST}")), (BASE_DIGEST, DIGEST)]),
                "names its base by digest alone",
            ),
            (built(json!([])), "has a label `io.buildpacks.lifecycle.metadata` that cannot be read: "),
            (
                built(json!({"runImage": {"reference": DIGEST}})),
                "has a label `io.buildpacks.lifecycle.metadata` without the name",
            ),
            (
                built(json!({"runImage": {"reference": "5f1b", "image": "run:base"}})),
                "has a label `io.buildpacks.lifecycle.metadata` without the digest",
            ),
        ] {
            let reason = base_of(&image).unwrap_err();
            assert!(reason.starts_with(expected), "expected: {expected}\nfound:    {reason}");
        }
    }

    #[test]
    fn a_base_that_is_named_by_tag_and_digest_is_followed_by_its_tag() {
        let name = format!("debian:12@{OTHER}");
        let image =
            ImageFacts { annotations: entries(&[(BASE_NAME, &name), (BASE_DIGEST, DIGEST)]), ..ImageFacts::default() };
        assert_eq!(base_of(&image), on("docker.io/library/debian:12", DIGEST));
    }

    #[test]
    fn an_incomplete_source_does_not_hide_the_next_one() {
        let labels = entries(&[(BASE_NAME, "debian:12"), (BASE_DIGEST, DIGEST)]);
        for annotations in [entries(&[(BASE_NAME, ""), (BASE_DIGEST, "")]), entries(&[(BASE_NAME, "alpine:3")])] {
            let image = ImageFacts { annotations, labels: labels.clone(), ..ImageFacts::default() };
            assert_eq!(base_of(&image), on("debian:12", DIGEST));
        }
        let image = ImageFacts { annotations: entries(&[(BASE_NAME, ""), (BASE_DIGEST, "")]), ..ImageFacts::default() };
        assert!(base_of(&image).unwrap_err().starts_with("does not say what it was built on; set the annotations"));
    }

    #[test]
    fn grace_never_counts_from_before_the_image_was_built() {
        let rule = BaseImage { action: Action::Deny, ..BaseImage::default() };
        let (newer, built) = (BuildDate::At(time("2020-11-01T00:00:00Z")), BuildDate::At(time("2026-11-19T00:00:00Z")));
        assert_eq!(judge(&rule, &newer, &built, "2026-11-20T00:00:00Z"), Some((Code::BaseUpdateDue, Effect::Warn)));
    }

    #[test]
    fn only_listed_registries_and_the_images_own_are_asked_about_bases() {
        let may_ask = |rule: &BaseImage, base, image| {
            rule.may_ask(&Reference::parse(base).unwrap(), &Reference::parse(image).unwrap())
        };
        let rule = BaseImage::default();
        assert!(may_ask(&rule, "debian:12", "registry.example.com/app:1"));
        assert!(may_ask(&rule, "Registry.Example.com:443/base:1", "registry.example.com/app:1"));
        assert!(!may_ask(&rule, "evil.test/base:1", "registry.example.com/app:1"));
        let closed = BaseImage { registries: vec![], ..BaseImage::default() };
        assert!(!may_ask(&closed, "debian:12", "registry.example.com/app:1"));
    }

    fn judge(rule: &BaseImage, newer: &BuildDate, built: &BuildDate, now: &str) -> Option<(Code, Effect)> {
        let base = Currency::Outdated { base: "debian:12".to_owned(), newer: newer.clone() };
        let ruling = rule.judge(&base, built, time(now))?;
        Some((ruling.code, ruling.effect))
    }

    #[test]
    fn grace_counts_from_the_build_of_the_newer_base() {
        let rule = BaseImage { action: Action::Deny, ..BaseImage::default() };
        let (newer, built) = (BuildDate::At(time("2026-11-01T00:00:00Z")), BuildDate::At(time("2026-10-01T00:00:00Z")));
        assert_eq!(judge(&rule, &newer, &built, "2026-11-14T23:59:59Z"), Some((Code::BaseUpdateDue, Effect::Warn)));
        assert_eq!(judge(&rule, &newer, &built, "2026-11-15T00:00:00Z"), Some((Code::OutdatedBaseImage, Effect::Deny)));
        let warns = BaseImage::default();
        assert_eq!(
            judge(&warns, &newer, &built, "2026-11-15T00:00:00Z"),
            Some((Code::OutdatedBaseImage, Effect::Warn))
        );
        let off = BaseImage { action: Action::Off, ..BaseImage::default() };
        assert_eq!(judge(&off, &newer, &built, "2026-11-15T00:00:00Z"), None);
    }

    #[test]
    fn a_newer_base_without_a_date_is_counted_from_the_build_of_the_image() {
        let rule = BaseImage::default();
        let (newer, built) = (BuildDate::Unknown(None), BuildDate::At(time("2026-11-01T00:00:00Z")));
        assert_eq!(judge(&rule, &newer, &built, "2026-11-14T00:00:00Z"), Some((Code::BaseUpdateDue, Effect::Warn)));
        assert_eq!(judge(&rule, &newer, &built, "2026-11-16T00:00:00Z"), Some((Code::OutdatedBaseImage, Effect::Warn)));
        let nothing = BuildDate::Unknown(None);
        assert_eq!(
            judge(&rule, &newer, &nothing, "2026-11-16T00:00:00Z"),
            Some((Code::OutdatedBaseImage, Effect::Warn))
        );
    }

    #[test]
    fn an_unknown_base_gets_what_the_settings_say() {
        let now = time("2026-11-20T00:00:00Z");
        let unknown = Currency::Unknown("does not say what it was built on".to_owned());
        let judged = |unknown_setting| {
            let rule = BaseImage { unknown: unknown_setting, ..BaseImage::default() };
            rule.judge(&unknown, &BuildDate::Unknown(None), now).map(|ruling| (ruling.code, ruling.effect))
        };
        assert_eq!(judged(Unknown::Allow), None);
        assert_eq!(judged(Unknown::Warn), Some((Code::UnknownBaseImage, Effect::Warn)));
        assert_eq!(judged(Unknown::Deny), Some((Code::UnknownBaseImage, Effect::Deny)));
        assert_eq!(BaseImage::default().judge(&Currency::Current, &BuildDate::Unknown(None), now), None);
    }
}
