//! The section `baseImage` of the settings.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::config::values::{Action, Duration, Unknown};
use crate::image::{ImagePattern, Reference};

use super::base::NamedBase;

section! {
    /// Every image uses the newest build of an allowed base.
    pub struct BaseImage {
        /// How images with a base that is not allowed, or that was rebuilt more than `grace` ago, are treated.
        "action" action: Action = Action::Warn,
        /// How long an image may use an outdated base. The grace period starts at the build date of the newer base, or at that of the
        /// image if that is later.
        "grace" grace: Duration = Duration::days(14),
        /// How images whose base is unknown are treated.
        "unknown" unknown: Unknown = Unknown::Allow,
        /// The [bases that are allowed](disallowed-base-image.md), as image patterns; with an empty list, all of them. `name:*` also matches
        /// a base that is named by its digest alone. An image that does not name its base is admitted unless `unknown` is `deny`. For
        /// example `["registry.example.com/base/*", "docker.io/library/debian:12*"]`.
        "allowed" allowed: Vec<ImagePattern<'static>> = Vec::new(),
        /// Registries that are asked about bases, in addition to the registry of the image. The builder of an image chooses the name of the
        /// base; without a list, any server could [delay admission](registries.md#timeouts).
        "registries" registries: Vec<RegistryHost> = PUBLIC_REGISTRIES.map(|host| RegistryHost(Cow::Borrowed(host))).into(),
    }
    check BaseImage::check_allowed;
}

/// The registries of most public bases.
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
                    .push(at, format_args!("invalid registry host `{text}`; write one such as `registry.example.com`"));
                None
            }
            Err(error) => {
                problems.push(at, format_args!("invalid registry host `{text}`: {error}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::text("host", "hosts", r"^(localhost|[A-Za-z0-9.:\[\]_-]*[.:\[A-Z][A-Za-z0-9.:\[\]_-]*)$")
    }

    fn to_json(&self) -> Value {
        self.0.as_ref().into()
    }
}

impl BaseImage {
    /// Warns if images can avoid `allowed` by not naming their base.
    fn check_allowed(&self, at: Path<'_>, problems: &mut Problems) {
        if !self.allowed.is_empty() && self.action.effect().is_some() && self.unknown == Unknown::Allow {
            problems.warn(
                Path::Key(&at, "allowed"),
                "images that do not name their base are admitted; set `unknown` to `deny`, or to `warn` to find them",
            );
        }
    }

    /// Whether images may be built on a base.
    #[must_use]
    pub fn allows(&self, base: &NamedBase) -> bool {
        let is_listed = |name: String| self.allowed.iter().any(|pattern| pattern.matches(&name));
        self.allowed.is_empty() || base.normalized_names().into_iter().any(is_listed)
    }

    /// Whether the registry of a base may be asked about it. `image` is the image that names the base.
    #[must_use]
    pub fn may_ask(&self, base: &Reference<'_>, image: &Reference<'_>) -> bool {
        let registry = base.normalized_registry();
        registry == image.normalized_registry() || self.registries.iter().any(|allowed| allowed.0 == registry)
    }
}
