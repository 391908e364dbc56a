//! Downgrades of findings about images that are not new: images that an UPDATE does not change, and images that Kubernetes'
//! own controllers take from an admitted workload. Denying them would turn a node drain into an outage, and would block the
//! scaling down of a workload that needs a fix.

use super::settings::{Enforcement, Treatment};
use crate::finding::{Effect, Finding, INVALID_REQUEST};
use crate::request::AdmissionRequest;
use crate::workload::records::Origin;

/// Why the findings about an image are downgraded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The UPDATE does not change it.
    Unchanged,
    /// One of Kubernetes' own controllers creates the object.
    Controller,
    /// One of Kubernetes' own controllers creates the object, and the digest was not judged with the workload.
    Unrecorded,
}

impl Reason {
    /// The setting that lets a finding pass, as audit annotations name it.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Unchanged => "unchangedImages",
            Self::Controller => "controllerPods",
            Self::Unrecorded => "unrecordedPods",
        }
    }

    /// Why the finding is only a warning.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Unchanged => "allowed because this update does not change the image",
            Self::Controller => "allowed because a Kubernetes controller creates this object",
            Self::Unrecorded => "allowed by `unrecordedPods`: its workload has no record of the digest",
        }
    }
}

/// How the findings about an image are treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downgrade {
    /// The treatment.
    pub treatment: Treatment,
    /// Why it applies.
    pub reason: Reason,
}

/// Applies a downgrade to a finding. Adds the reason to the message if a denial becomes a warning. Nothing if the finding is dropped.
#[must_use]
pub fn apply(downgrade: Option<Downgrade>, mut finding: Finding) -> Option<Finding> {
    // A request that cannot be read is never accepted.
    let Some(Downgrade { treatment, reason }) = downgrade.filter(|_| finding.code != INVALID_REQUEST) else {
        return Some(finding);
    };
    match (treatment, finding.effect) {
        (Treatment::Ignore, _) => None,
        (Treatment::Warn, Effect::Deny) => {
            finding.text = format!("{}; {}", finding.text, reason.explanation());
            Some(finding.passing(reason.setting()))
        }
        (Treatment::Warn, Effect::Warn) | (Treatment::Deny, _) => Some(finding),
    }
}

/// The downgrade for the image at a site. If two reasons apply, the milder treatment counts.
///
/// A controller creates objects from admitted workloads. An image that it changes in an existing object has another source, such
/// as an old revision by another author. A digest that was not judged with the workload has another source, too, because a tag can
/// move before a pod is created.
#[must_use]
pub fn of(
    settings: &Enforcement,
    request: &AdmissionRequest<'_>,
    is_unchanged: bool,
    origin: Origin,
) -> Option<Downgrade> {
    let unchanged =
        is_unchanged.then_some(Downgrade { treatment: settings.unchanged_images, reason: Reason::Unchanged });
    let is_made = request.is_by_controller() && (request.operation == "CREATE" || is_unchanged);
    let treatment = settings.controller_pods;
    let controller = match (origin, settings.unrecorded_pods) {
        _ if !is_made => None,
        (Origin::Judged, _) => Some(Downgrade { treatment, reason: Reason::Controller }),
        (Origin::Unrecorded, Effect::Warn) => {
            Some(Downgrade { treatment: treatment.max(Treatment::Warn), reason: Reason::Unrecorded })
        }
        (Origin::Unrecorded, Effect::Deny) | (Origin::Other, _) => None,
    };
    match (unchanged, controller) {
        (Some(unchanged), Some(controller)) if controller.treatment < unchanged.treatment => Some(controller),
        (unchanged, controller) => unchanged.or(controller),
    }
}

#[cfg(test)]
mod tests {
    use super::{Downgrade, Reason, apply};
    use crate::enforcement::settings::Treatment;
    use crate::finding::{Effect, Finding};

    #[test]
    fn a_downgrade_turns_denials_into_warnings_with_the_reason() {
        let applied = |treatment, effect| {
            let finding = Finding { effect, ..Finding::about_request(crate::rules::schedule::STALE_IMAGE, "is old") };
            let finding = apply(Some(Downgrade { treatment, reason: Reason::Unchanged }), finding)?;
            Some((finding.effect, finding.passed, finding.text))
        };
        let text = "is old; allowed because this update does not change the image".to_owned();
        assert_eq!(applied(Treatment::Warn, Effect::Deny), Some((Effect::Warn, Some("unchangedImages"), text)));
        assert_eq!(applied(Treatment::Warn, Effect::Warn), Some((Effect::Warn, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Deny, Effect::Deny), Some((Effect::Deny, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Ignore, Effect::Deny), None);
    }
}
