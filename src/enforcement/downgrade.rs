//! Images that are not judged as hard as new ones: those that an UPDATE leaves as they were, and those that Kubernetes' own
//! controllers bring in from a workload that was admitted before. To refuse them would turn a drained node into an outage,
//! and keep people from scaling down what they want to mend.

use super::settings::{Enforcement, Treatment};
use crate::finding::{Effect, Finding, INVALID_REQUEST};
use crate::request::AdmissionRequest;
use crate::workload::records::Origin;

/// Why an image is judged less hard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The UPDATE leaves it as it was.
    Unchanged,
    /// One of Kubernetes' own controllers brings it in.
    Controller,
    /// One of Kubernetes' own controllers brings it in, and the digest was not judged with the workload.
    Unrecorded,
}

impl Reason {
    /// What lets a finding pass, as audit annotations name it: the setting.
    #[must_use]
    pub fn setting(self) -> &'static str {
        match self {
            Self::Unchanged => "unchangedImages",
            Self::Controller => "controllerPods",
            Self::Unrecorded => "unrecordedPods",
        }
    }

    /// What a warning says of why it is none harder.
    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Unchanged => "let pass because this update leaves the image as it was",
            Self::Controller => "let pass because one of Kubernetes' own controllers makes this",
            Self::Unrecorded => "let pass by `unrecordedPods`: its workload has no record of the digest",
        }
    }
}

/// How an image is judged, and why so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Downgrade {
    /// How hard findings bite.
    pub treatment: Treatment,
    /// Why.
    pub reason: Reason,
}

/// A finding as strict as it is here, with the reason if it is less strict; nothing if it is not to be reported.
#[must_use]
pub fn apply(downgrade: Option<Downgrade>, mut finding: Finding) -> Option<Finding> {
    // What cannot be read is accepted for nobody.
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

/// How the image at a site is judged. Where there are two reasons for leniency, the milder one counts.
///
/// A controller makes objects of workloads that were admitted. An image that it changes in one that is there comes from
/// somewhere else: an old revision, say, that someone else has written. The same holds for a digest that was not judged
/// with the workload: its tag can move before a pod is created.
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
    fn leniency_makes_denials_warnings_and_says_why() {
        let applied = |treatment, effect| {
            let finding = Finding { effect, ..Finding::about_request(crate::rules::schedule::STALE_IMAGE, "is old") };
            let finding = apply(Some(Downgrade { treatment, reason: Reason::Unchanged }), finding)?;
            Some((finding.effect, finding.passed, finding.text))
        };
        let told = "is old; let pass because this update leaves the image as it was".to_owned();
        assert_eq!(applied(Treatment::Warn, Effect::Deny), Some((Effect::Warn, Some("unchangedImages"), told)));
        assert_eq!(applied(Treatment::Warn, Effect::Warn), Some((Effect::Warn, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Deny, Effect::Deny), Some((Effect::Deny, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Ignore, Effect::Deny), None);
    }
}
