//! The report: what each output format shows.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;

use crate::counted::counted;
use crate::judge::verdict::{Effect, FailOn};
use crate::timestamp;

/// The report about the images of manifests, of a cluster or of a swarm.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The time for which deadlines and verdicts hold.
    #[serde(serialize_with = "timestamp::one")]
    pub time: DateTime<Utc>,
    /// Whether the images are those of manifests, of a cluster or of a swarm.
    pub scope: Scope,
    /// The only namespace of the cluster, or the only stack of the swarm, that is reported. `None` for all.
    pub namespace: Option<String>,
    /// The totals.
    pub summary: Summary,
    /// The images by deadline, those without one last.
    pub images: Vec<Image>,
    /// Where what runs differs.
    pub drift: Drift,
    /// Findings about whole objects.
    pub object_findings: Vec<ObjectFinding>,
    /// What could not be listed or judged.
    pub failures: Vec<Failure>,
    /// The patch days and freezes of the schedule in the settings, around the deadlines.
    pub calendar: Calendar,
}

/// What the report is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Manifests: images are those that would run.
    Manifests,
    /// A cluster: the images of workloads, and those that their pods run.
    Cluster,
    /// A Docker swarm: the images of services, and those that their tasks run.
    Swarm,
}

/// The totals of the images in the report.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// All images.
    pub images: usize,
    /// Those that the policy denies.
    pub denied: usize,
    /// Those that it accepts with warnings.
    pub warned: usize,
    /// Those that it accepts without warnings.
    pub accepted: usize,
    /// Those that no rule judges.
    pub exempt: usize,
    /// Those that could not be judged.
    pub failed: usize,
    /// Those whose deadline has passed.
    pub overdue: usize,
    /// The images that `--due-within` leaves out.
    pub left_out: usize,
}

/// An image of the report: one digest of one repository.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The normalised name without tag and digest. For an invalid reference, the reference as it is written.
    pub repository: String,
    /// The tags by which it is named.
    pub tags: Vec<String>,
    /// The digest. `None` if it is unknown.
    pub digest: Option<String>,
    /// The verdict.
    pub verdict: Verdict,
    /// The build date.
    #[serde(serialize_with = "timestamp::optional")]
    pub built: Option<DateTime<Utc>>,
    /// The first moment at which the schedule does not accept it.
    #[serde(serialize_with = "timestamp::optional")]
    pub deadline: Option<DateTime<Utc>>,
    /// The day of the deadline, in the time zone of the schedule.
    pub deadline_day: Option<NaiveDate>,
    /// The whole days until the deadline, rounded down: 0 on the last day, -1 on the first day after the deadline.
    pub days_left: Option<i64>,
    /// The reason of the freeze that moves the deadline.
    pub freeze: Option<String>,
    /// The base. `None` if it is unknown.
    pub base: Option<Base>,
    /// What is known from scans.
    pub scan: Scan,
    /// The findings, denials first.
    pub findings: Vec<Finding>,
    /// The required platforms for which its index has no image.
    pub missing_platforms: Vec<String>,
    /// The number of pods that run it; of a swarm, the number of tasks. 0 for manifests.
    pub pods: usize,
    /// The containers and volumes that name it.
    pub used_by: Vec<Use>,
}

/// The verdict about an image, from the mildest to the most severe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The settings exempt it, or no policy applies to the objects that use it.
    Exempt,
    /// No rule reports it.
    Accepted,
    /// It is accepted with warnings.
    Warned,
    /// It could not be judged.
    Failed,
    /// The policy rejects it.
    Denied,
}

/// The base of an image, as its annotations or labels name it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Base {
    /// The reference of the base.
    pub name: String,
    /// The digest of the base at the time of the build. `None` if it is unknown.
    pub digest: Option<String>,
    /// Whether there is a newer build of the base. `None` if it was not compared.
    pub outdated: Option<bool>,
}

/// What is known about an image from scans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    /// The scan rule is off for the image, or the image could not be judged.
    NotJudged,
    /// The scan rule reports nothing.
    NoFindings,
    /// A required scan is missing.
    Missing,
    /// The scans are too old.
    Stale,
    /// Vulnerabilities must be patched soon.
    PatchSoon,
    /// A scanner or an annotation flags it, or it has more vulnerabilities than are allowed.
    Flagged,
}

/// A finding about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The code.
    pub code: String,
    /// Whether it denies the image.
    pub effect: Effect,
    /// The setting that turned a denial into a warning.
    pub passed: Option<String>,
    /// The digest of the build that the tag of the image points at now, if that build would be accepted.
    pub fix: Option<String>,
    /// The fact, the rule and what to do.
    pub text: String,
}

/// A container or volume that names an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Use {
    /// The namespace. Empty for an object without one.
    pub namespace: String,
    /// The kind of the object; for a pod, that of the workload that it belongs to.
    pub kind: String,
    /// The name of the object.
    pub name: String,
    /// The container or volume, such as ``container `app` ``.
    pub container: String,
    /// The image as it is written.
    pub image: String,
    /// Whether the object itself names the image, or only pods of it run it.
    pub declared: bool,
    /// The number of pods that run it; of a swarm, the number of tasks.
    pub pods: usize,
    /// The ID of the image on its node, if the container runtime reports no digest of a registry.
    pub image_id: Option<String>,
}

/// Where what runs differs.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Tags that run as several digests.
    pub tags: Vec<TagDrift>,
    /// Repositories of which several tags run.
    pub repositories: Vec<RepositoryDrift>,
    /// Services whose tasks run another image than the service declares. `None` if the report is not about a swarm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<Vec<ServiceDrift>>,
}

/// A tag that runs as several digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TagDrift {
    /// The repository.
    pub repository: String,
    /// The tag.
    pub tag: String,
    /// The digests.
    pub digests: Vec<Variant>,
}

/// A repository of which several tags run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RepositoryDrift {
    /// The repository.
    pub repository: String,
    /// The tags.
    pub tags: Vec<Variant>,
}

/// A service whose tasks run another image than it declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceDrift {
    /// The service, such as `Service shop_web`.
    pub service: String,
    /// The images that it declares, and those that its tasks run.
    pub images: Vec<ServiceImage>,
}

/// An image of a service.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ServiceImage {
    /// The normalised name with its tags.
    pub image: String,
    /// The digest. `None` if it is unknown.
    pub digest: Option<String>,
    /// Whether the service declares it.
    pub declared: bool,
    /// The number of tasks that run it.
    pub tasks: usize,
}

/// A digest or a tag, and the objects that use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// The digest or the tag.
    pub value: String,
    /// The objects, such as `Deployment shop/web`.
    pub used_by: Vec<String>,
}

/// A finding about a whole object.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ObjectFinding {
    /// The object, such as `Deployment shop/web`; of several objects, their number.
    pub object: String,
    /// The code.
    pub code: String,
    /// Whether it denies the object.
    pub effect: Effect,
    /// The fact, the rule and what to do.
    pub text: String,
}

/// What could not be listed or judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Failure {
    /// The object, the file, or the kind of a cluster.
    pub subject: String,
    /// The reason.
    pub reason: String,
}

/// Patch days and freezes.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Calendar {
    /// The time zone of the days.
    pub time_zone: String,
    /// The starts of the patch days.
    #[serde(serialize_with = "timestamp::list")]
    pub patch_days: Vec<DateTime<Utc>>,
    /// The freezes.
    pub freezes: Vec<Freeze>,
}

/// A period during which deadlines are postponed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Freeze {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
    /// The reason.
    pub reason: String,
}

impl Verdict {
    /// All verdicts, the most severe first.
    pub const ALL: [Self; 5] = [Self::Denied, Self::Failed, Self::Warned, Self::Accepted, Self::Exempt];

    /// The verdict as outputs show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exempt => "exempt",
            Self::Accepted => "accepted",
            Self::Warned => "warned",
            Self::Failed => "failed",
            Self::Denied => "denied",
        }
    }
}

impl Scan {
    /// The state as outputs show it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotJudged => "not-judged",
            Self::NoFindings => "no-findings",
            Self::Missing => "missing",
            Self::Stale => "stale",
            Self::PatchSoon => "patch-soon",
            Self::Flagged => "flagged",
        }
    }
}

impl Image {
    /// The name with its tags: `docker.io/library/nginx:1.27`, or `…:1.27,1.27.3` with several.
    #[must_use]
    pub fn name(&self) -> String {
        if self.tags.is_empty() {
            self.repository.clone()
        } else {
            format!("{}:{}", self.repository, self.tags.join(","))
        }
    }

    /// The distinct objects that use it, such as `Deployment shop/web`.
    #[must_use]
    pub fn objects(&self) -> Vec<String> {
        let mut objects: Vec<String> = self.used_by.iter().map(Use::object).collect();
        objects.dedup();
        objects
    }

    /// The number of findings by code.
    #[must_use]
    pub fn findings_by_code(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for finding in &self.findings {
            *counts.entry(finding.code.as_str()).or_default() += 1;
        }
        counts
    }
}

impl Use {
    /// The object, such as `Deployment shop/web`, or `Service web` for an object without a namespace.
    #[must_use]
    pub fn object(&self) -> String {
        let Self { namespace, kind, name, .. } = self;
        if namespace.is_empty() { format!("{kind} {name}") } else { format!("{kind} {namespace}/{name}") }
    }
}

impl Drift {
    /// The number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tags.len() + self.repositories.len() + self.services.as_ref().map_or(0, Vec::len)
    }

    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ServiceImage {
    /// What it is to the service: `declared, 2 tasks`.
    pub(super) fn role(&self) -> String {
        let declared = if self.declared { "declared, " } else { "" };
        format!("{declared}{}", counted(self.tasks, "task"))
    }
}

impl Summary {
    /// Counts the images.
    #[must_use]
    pub fn of(images: &[Image], left_out: usize) -> Self {
        let count = |verdict| images.iter().filter(|image| image.verdict == verdict).count();
        Self {
            images: images.len(),
            denied: count(Verdict::Denied),
            warned: count(Verdict::Warned),
            accepted: count(Verdict::Accepted),
            exempt: count(Verdict::Exempt),
            failed: count(Verdict::Failed),
            overdue: images.iter().filter(|image| image.days_left.is_some_and(|days| days < 0)).count(),
            left_out,
        }
    }

    /// The number of images with a verdict.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        match verdict {
            Verdict::Exempt => self.exempt,
            Verdict::Accepted => self.accepted,
            Verdict::Warned => self.warned,
            Verdict::Failed => self.failed,
            Verdict::Denied => self.denied,
        }
    }
}

impl Report {
    /// The exit code for a pipeline. A denied image comes before what could not be listed or judged, as in `check`.
    #[must_use]
    pub fn exit_status(&self, fail_on: FailOn) -> u8 {
        let Summary { denied, warned, failed, .. } = self.summary;
        let has = |effect| self.object_findings.iter().any(|finding| finding.effect == effect);
        if denied > 0 || has(Effect::Deny) || (fail_on == FailOn::Warn && (warned > 0 || has(Effect::Warn))) {
            1
        } else if failed > 0 || !self.failures.is_empty() {
            2
        } else {
            0
        }
    }
}

/// The first digits of a digest, for people.
pub(super) fn short_digest(digest: &str) -> String {
    match digest.split_once(':') {
        Some((algorithm, digits)) if digits.len() > 12 => {
            format!("{algorithm}:{}…", digits.get(..12).unwrap_or(digits))
        }
        _ => digest.to_owned(),
    }
}
