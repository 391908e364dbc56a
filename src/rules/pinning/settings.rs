//! The section `pinning` of the settings.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Keyword, Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::image::is_tag;

section! {
    /// Every image has a digest.
    pub struct Pinning {
        /// How images without a digest are treated. `pin` writes the digest that the tag points at after the tag,
        /// `name:tag@sha256:…`; the policy then needs `mutating: true`. `deny` and `warn` name the digest to use if the registry answers.
        "action" action: PinningAction = PinningAction::Pin,
        /// How images without a digest in the pod templates of workloads are treated; the default is `record` with `action: pin`,
        /// otherwise `true`. `record` leaves the image fields as they are: `pin` writes the digests into annotations of the template, see
        /// [records](records.md), and `deny` and `warn` accept such a record as the digest. `true` requires a digest in the image
        /// field: `pin` writes it there, and a GitOps tool then reverts it again and again. `false` ignores templates, except for
        /// forbidden tags.
        "templates" templates: Option<Templates> = None,
        /// Tags that are refused unless the image has a digest, even with `action: warn`. Pod templates are always checked. An image
        /// with neither tag nor digest counts as `latest`.
        "forbiddenTags" forbidden_tags: Vec<Tag> = vec![Tag(String::from("latest"))],
    }
}

/// How an image without a digest is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PinningAction {
    /// The digest that its tag points at is written.
    Pin,
    /// It is refused.
    Deny,
    /// The requester gets a warning.
    Warn,
    /// The rule is off, also for forbidden tags.
    Off,
}

impl Keyword for PinningAction {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("pin", Self::Pin), ("deny", Self::Deny), ("warn", Self::Warn), ("off", Self::Off)];
}

/// How images without a digest in pod templates are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Templates {
    /// Their digests are recorded in annotations of the template.
    Record,
    /// They are judged like images of pods.
    Judge,
    /// They are accepted.
    Ignore,
}

impl Keyword for Templates {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("record", Self::Record), ("true", Self::Judge), ("false", Self::Ignore)];
}

/// A tag, by the grammar of image references.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tag(pub(super) String);

impl Setting for Tag {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let tag = read_string(json, at, "a tag", problems)?;
        if !is_tag(&tag) {
            problems.push(
                at,
                format_args!(
                    "invalid tag `{tag}`: expected at most 128 letters, digits, `_`, `.` and `-`, \
                     with no `.` or `-` at the start"
                ),
            );
            return None;
        }
        Some(Self(tag))
    }

    fn schema() -> Schema {
        Schema::text("tag", "tags", "^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

impl Pinning {
    /// Whether a tag is forbidden for images without a digest.
    #[must_use]
    pub fn forbids(&self, tag: &str) -> bool {
        self.forbidden_tags.iter().any(|forbidden| forbidden.0 == tag)
    }

    /// How images without a digest in pod templates are treated.
    #[must_use]
    pub fn templates(&self) -> Templates {
        self.templates.unwrap_or(if self.action == PinningAction::Pin { Templates::Record } else { Templates::Judge })
    }
}
