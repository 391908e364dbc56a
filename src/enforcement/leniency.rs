//! Images that are not judged as hard as new ones: those that an UPDATE leaves as they were, and those that Kubernetes' own
//! controllers bring in from a workload that was admitted before. To refuse them would turn a drained node into an outage,
//! and keep people from scaling down what they want to mend.

use std::collections::HashMap;

use crate::finding::{Effect, Finding};
use crate::image::Platform;
use crate::request::AdmissionRequest;
use crate::settings::Enforcement;
use crate::settings::value::Treatment;
use crate::workload::{ImageSite, Workload};

/// The controllers of kube-controller-manager that make pods, and what pods are made of, by their service accounts in
/// `kube-system`. Where `--use-service-account-credentials` is off, all of them are the manager itself.
const CONTROLLERS: [&str; 7] = [
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "job-controller",
    "replicaset-controller",
    "replication-controller",
    "statefulset-controller",
];
const CONTROLLER_ACCOUNT: &str = "system:serviceaccount:kube-system:";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

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

/// How the digest of an image came into a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From the pod template, whose image field or record was judged with the workload.
    Judged,
    /// It was looked up when the pod was created, or there is no digest.
    Unrecorded,
    /// From elsewhere: the record has another digest.
    Other,
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
    pub fn told(self) -> &'static str {
        match self {
            Self::Unchanged => "let pass because this update leaves the image as it was",
            Self::Controller => "let pass because one of Kubernetes' own controllers makes this",
            Self::Unrecorded => "let pass by `unrecordedPods`: its workload has no record of the digest",
        }
    }
}

/// How an image is judged, and why so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Leniency {
    /// How hard findings bite.
    pub treatment: Treatment,
    /// Why.
    pub reason: Reason,
}

impl Leniency {
    /// The finding as hard as it bites, with what lets it pass where it bites less; nothing where it is not to be told.
    #[must_use]
    pub fn apply(self, mut finding: Finding) -> Option<Finding> {
        match (self.treatment, finding.effect) {
            (Treatment::Ignore, _) => None,
            (Treatment::Warn, Effect::Deny) => {
                finding.text = format!("{}; {}", finding.text, self.reason.told());
                Some(finding.passing(self.reason.setting()))
            }
            (Treatment::Warn, Effect::Warn) | (Treatment::Deny, _) => Some(finding),
        }
    }
}

/// Whether the requester is one of Kubernetes' own controllers. Only the authenticated user says so; that an object names an
/// owner is what anybody can write into it.
#[must_use]
pub fn is_controller(user: &str) -> bool {
    let account = user.strip_prefix(CONTROLLER_ACCOUNT);
    user == CONTROLLER_MANAGER || account.is_some_and(|account| CONTROLLERS.contains(&account))
}

/// For each image site of an object whether its earlier state has the same image in the same container, for the same nodes. A
/// site of before stands for one of now, so that a container that is there twice is new once. `configured` are the platforms of
/// the settings: nodes of another platform may run another image of an index.
#[must_use]
pub fn unchanged<'w>(now: &'w Workload<'_>, before: &'w Workload<'_>, configured: Option<&[Platform]>) -> Vec<bool> {
    let mut free: HashMap<_, usize> = HashMap::with_capacity(before.sites.len());
    for identity in before.sites.iter().filter_map(ImageSite::identity) {
        *free.entry(identity).or_default() += 1;
    }
    let templates = now.templates.iter().map(|template| template.pointer.as_ref());
    let moved: Vec<&str> = templates
        .filter(|template| !now.platforms(template, configured).are_among(&before.platforms(template, configured)))
        .collect();
    let mut take = |site: &'w ImageSite<'_>| {
        let left = site.identity().and_then(|identity| free.get_mut(&identity)).filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    };
    now.sites.iter().map(|site| take(site) && !moved.contains(&site.template())).collect()
}

/// How the image at a site is judged. Where there are two reasons for leniency, the milder one counts.
///
/// A controller makes objects of workloads that were admitted. An image that it changes in one that is there comes from
/// somewhere else: an old revision, say, that someone else has written. The same holds for a digest that was not judged
/// with the workload: its tag can move before a pod is created.
#[must_use]
pub fn leniency(
    settings: &Enforcement,
    request: &AdmissionRequest<'_>,
    is_unchanged: bool,
    origin: Origin,
) -> Option<Leniency> {
    let unchanged =
        is_unchanged.then_some(Leniency { treatment: settings.unchanged_images, reason: Reason::Unchanged });
    let is_made = is_controller(request.user()) && (request.operation == "CREATE" || is_unchanged);
    let treatment = settings.controller_pods;
    let controller = match (origin, settings.unrecorded_pods) {
        _ if !is_made => None,
        (Origin::Judged, _) => Some(Leniency { treatment, reason: Reason::Controller }),
        (Origin::Unrecorded, Effect::Warn) => {
            Some(Leniency { treatment: treatment.max(Treatment::Warn), reason: Reason::Unrecorded })
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
    use super::{Leniency, Reason, is_controller};
    use crate::finding::{Code, Effect, Finding};
    use crate::settings::value::Treatment;

    #[test]
    fn controllers_are_known_by_their_user_names() {
        for user in [
            "system:kube-controller-manager",
            "system:serviceaccount:kube-system:replicaset-controller",
            "system:serviceaccount:kube-system:job-controller",
        ] {
            assert!(is_controller(user), "{user}");
        }
        for user in [
            "",
            "jane",
            "replicaset-controller",
            "system:serviceaccount:shop:replicaset-controller",
            "system:serviceaccount:kube-system:replicaset-controller2",
            "system:serviceaccount:kube-system:default",
            "system:serviceaccount:kube-system:generic-garbage-collector",
            "System:kube-controller-manager",
            "system:kube-controller-manager ",
        ] {
            assert!(!is_controller(user), "{user}");
        }
    }

    #[test]
    fn leniency_makes_denials_warnings_and_says_why() {
        let applied = |treatment, effect| {
            let finding = Finding { effect, ..Finding::about_request(Code::StaleImage, "is old") };
            let finding = Leniency { treatment, reason: Reason::Unchanged }.apply(finding)?;
            Some((finding.effect, finding.passed, finding.text))
        };
        let told = "is old; let pass because this update leaves the image as it was".to_owned();
        assert_eq!(applied(Treatment::Warn, Effect::Deny), Some((Effect::Warn, Some("unchangedImages"), told)));
        assert_eq!(applied(Treatment::Warn, Effect::Warn), Some((Effect::Warn, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Deny, Effect::Deny), Some((Effect::Deny, None, "is old".to_owned())));
        assert_eq!(applied(Treatment::Ignore, Effect::Deny), None);
    }
}
