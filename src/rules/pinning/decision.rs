//! What is done about an image without a digest.

use super::settings::{Pinning, PinningAction, Templates};
use super::{FORBIDDEN_TAG, UNPINNED_IMAGE};
use crate::evidence::EVIDENCE_UNAVAILABLE;
use crate::finding::{Effect, Violation};
use crate::image::Reference;
use crate::workload::kinds::Placement;

impl Pinning {
    /// What is to be done about one image.
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
            // A controller compares a revision with the template that it was created from, so nothing is written into it.
            (Placement::Revision, _) if self.action == PinningAction::Pin => Decision::LeaveAlone,
            (Placement::Template, Templates::Record) if self.action == PinningAction::Pin => Decision::Record,
            (_, Templates::Judge) => unpinned,
            (_, Templates::Record | Templates::Ignore) => Decision::LeaveAlone,
        };
        let Some(tag) = image.effective_tag() else { return Decision::LeaveAlone };
        if self.forbids(tag) {
            let fact = match image.tag() {
                Some(_) => format!("has the forbidden tag `{tag}`"),
                None => format!("has no tag, which means the forbidden tag `{tag}`,"),
            };
            let text = format!("{fact} and no digest; name a version, best with its digest: `name:tag@sha256:…`");
            let violation = Violation { code: FORBIDDEN_TAG, effect: Effect::Deny, text };
            return Decision::Refuse { violation, otherwise: Box::new(unpinned) };
        }
        unpinned
    }
}

/// What is to be done about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Nothing: it has a digest, or the rule does not look at it.
    LeaveAlone,
    /// It is to get the digest that its tag points at.
    Pin,
    /// Its pod template is to get a record of that digest.
    Record,
    /// It is reported as unpinned, best with the digest to use.
    Report(Effect),
    /// It is refused, whatever its digest would be.
    Refuse {
        /// Why.
        violation: Violation,
        /// What would be done if its tag were allowed.
        otherwise: Box<Decision>,
    },
}

/// The report of an image without a digest. `digest` is the one that its tag points at, where a registry said so.
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

/// The report of an image of a pod that has a record, and not its digest.
#[must_use]
pub fn not_pinned(record: &str, effect: Effect) -> Violation {
    let text = format!("has no digest, but its workload records `{record}`; the pinning policy has to pin this pod");
    Violation { code: UNPINNED_IMAGE, effect, text }
}

/// The warning that the digest of a record could not be looked up again.
#[must_use]
pub fn not_renewed(cause: &str) -> Violation {
    let text =
        format!("keeps its record, since its tag cannot be looked up now; renew it when the registry answers: {cause}");
    Violation { code: EVIDENCE_UNAVAILABLE, effect: Effect::Warn, text }
}

/// The reference with a digest: `name[:tag]@digest`.
#[must_use]
pub fn pinned(image: &Reference<'_>, digest: &str) -> String {
    format!("{image}@{digest}")
}
