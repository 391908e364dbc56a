//! The section `baseImage` of the settings.

use std::borrow::Cow;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::config::values::{Action, Duration, Unknown};
use crate::image::Reference;

section! {
    /// Every image stands on the newest build of its base.
    pub struct BaseImage {
        /// What becomes of an image whose base was rebuilt more than `grace` ago.
        "action" action: Action = Action::Warn,
        /// How long an image may still stand on the old base. It is counted from the build date of the newer base, and
        /// never from before the image was built.
        "grace" grace: Duration = Duration::days(14),
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

    fn schema() -> Schema {
        Schema::text("host", "hosts", r"^(localhost|[A-Za-z0-9.:\[\]_-]*[.:\[A-Z][A-Za-z0-9.:\[\]_-]*)$")
    }

    fn to_json(&self) -> Value {
        self.0.as_ref().into()
    }
}

impl BaseImage {
    /// Whether the registry of a base may be asked about it. `image` is the image that names the base.
    #[must_use]
    pub fn may_ask(&self, base: &Reference<'_>, image: &Reference<'_>) -> bool {
        let registry = base.normalized_registry();
        registry == image.normalized_registry() || self.registries.iter().any(|allowed| allowed.0 == registry)
    }
}
