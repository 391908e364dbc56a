//! Decides how to treat an image without a digest.

use super::settings::{Pinning, PinningAction, Templates};
use super::{FORBIDDEN_TAG, UNPINNED_IMAGE};
use crate::evidence::EVIDENCE_UNAVAILABLE;
use crate::finding::{Effect, Violation};
use crate::image::Reference;
use crate::workload::kinds::Placement;

impl Pinning {
    /// Decides how to treat an image.
    #[must_use]
    pub fn decide(&self, image: &Reference<'_>, placement: Placement) -> Decision {
        let unpinned = match self.action {
            PinningAction::Pin => Decision::Pin,
            PinningAction::Deny => Decision::Report(Effect::Deny),
            PinningAction::Warn => Decision::Report(Effect::Warn),
            PinningAction::Off => return Decision::LeaveAlone,
        };
        let unpinned = match (placement, self.templates()) {
            (Placement::Pod, _) => unpinned,
            // A controller compares a revision with the template that it was created from, so a revision must stay as it is.
            (Placement::Revision, _) if self.action == PinningAction::Pin => Decision::LeaveAlone,
            (Placement::Template, Templates::Record) if self.action == PinningAction::Pin => Decision::Record,
            (_, Templates::Judge) => unpinned,
            (_, Templates::Record | Templates::Ignore) => Decision::LeaveAlone,
        };
        let Some(tag) = image.effective_tag() else { return Decision::LeaveAlone };
        if self.forbids(tag) {
            let fact = match image.tag() {
                Some(_) => format!("has the forbidden tag `{tag}` and no digest"),
                None => format!("has neither tag nor digest, so it means `{tag}`, which is forbidden"),
            };
            let text = format!("{fact}; use a version tag, ideally with a digest: `name:tag@sha256:…`");
            let violation = Violation { code: FORBIDDEN_TAG, effect: Effect::Deny, text };
            return Decision::Refuse { violation, otherwise: Box::new(unpinned) };
        }
        unpinned
    }
}

/// How an image is treated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing is done: it has a digest, or the rule does not apply to it.
    LeaveAlone,
    /// The digest that its tag points at is written into the image field.
    Pin,
    /// The digest that its tag points at is recorded in its pod template.
    Record,
    /// It is reported as unpinned, with the digest to use if that is known.
    Report(Effect),
    /// It is refused for its tag.
    Refuse {
        /// The finding.
        violation: Violation,
        /// The decision if an exception or a downgrade allows the tag.
        otherwise: Box<Decision>,
    },
    /// It has been refused for its tag.
    Refused,
}

/// The finding for an image without a digest. `digest` is the digest that its tag points at, if known.
#[must_use]
pub fn unpinned(image: &Reference<'_>, digest: Option<&str>, effect: Effect) -> Violation {
    let text = match digest {
        Some(digest) => format!("has no digest; write `{}`", pinned(image, digest)),
        None => {
            "has no digest, so what runs can change without notice; pin it by digest: `name:tag@sha256:…`".to_owned()
        }
    };
    Violation { code: UNPINNED_IMAGE, effect, text }
}

/// The finding for an image of a pod that has no digest, although its workload records one.
#[must_use]
pub fn unpinned_despite_record(record: &str, effect: Effect) -> Violation {
    let text = format!("has no digest, but its workload records `{record}`; the pinning policy has to pin this pod");
    Violation { code: UNPINNED_IMAGE, effect, text }
}

/// The warning that a record could not be renewed.
#[must_use]
pub fn not_renewed(cause: &str) -> Violation {
    let text = format!(
        "keeps its record, since its tag cannot be looked up now; renew it when the registry answers ({cause})"
    );
    Violation { code: EVIDENCE_UNAVAILABLE, effect: Effect::Warn, text }
}

/// The reference with a digest, `name[:tag]@digest`.
#[must_use]
pub fn pinned(image: &Reference<'_>, digest: &str) -> String {
    format!("{image}@{digest}")
}
