//! The verdicts about the objects of manifests.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use container_patch_policy::evidence::EVIDENCE_UNAVAILABLE;
use serde::{Deserialize, Serialize};

use super::changes::Record;
use crate::input::Source;

/// The verdict about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is admitted without warnings.
    Accepted,
    /// It is admitted with warnings.
    Warned,
    /// It is rejected.
    Denied,
    /// It is not judged, for a [`SkipReason`].
    Skipped,
    /// It could not be judged.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Warned => "warned",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// Why an object is not judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum SkipReason {
    /// Objects of its kind have no pods.
    KindWithoutPods,
    /// Its kind is unknown, and it has no container with an image.
    UnknownKindWithoutImages,
    /// No policy of the cluster applies to it: their rules, or their selectors, leave it out.
    NoPolicy,
    /// It is a service of a Compose file without an image.
    ServiceWithoutImage,
    /// The document is not a Kubernetes object.
    NotKubernetes,
}

impl SkipReason {
    /// All reasons, in the order of the totals.
    pub const ALL: [Self; 5] = [
        Self::KindWithoutPods,
        Self::UnknownKindWithoutImages,
        Self::NoPolicy,
        Self::ServiceWithoutImage,
        Self::NotKubernetes,
    ];

    /// The reason after this number of objects.
    #[must_use]
    pub fn of_objects(self, count: usize) -> &'static str {
        match self {
            Self::KindWithoutPods => "of kinds without pods",
            Self::UnknownKindWithoutImages => "of unknown kinds, without images",
            Self::ServiceWithoutImage => "without an image",
            Self::NotKubernetes if count == 1 => "not a Kubernetes object",
            Self::NoPolicy => "to which no policy applies",
            Self::NotKubernetes => "not Kubernetes objects",
        }
    }

    /// The reason for one object.
    #[must_use]
    pub fn of_object(self) -> &'static str {
        match self {
            Self::KindWithoutPods => "objects of this kind have no pods",
            Self::UnknownKindWithoutImages => "the kind is unknown, and the object has no images",
            Self::NoPolicy => "no policy applies to this object",
            Self::ServiceWithoutImage => "the service has no image",
            Self::NotKubernetes => "not a Kubernetes object",
        }
    }
}

/// The kind, namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectName {
    /// The API group and version, as in the manifest.
    pub api_version: String,
    /// The kind.
    pub kind: String,
    /// The namespace.
    pub namespace: Option<String>,
    /// The name, or its prefix with `…`.
    pub name: Option<String>,
}

impl ObjectName {
    /// The API group. Empty for the core group.
    #[must_use]
    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.as_deref().unwrap_or("(no name)");
        match &self.namespace {
            Some(namespace) => write!(f, "{} {namespace}/{name}", self.kind),
            None => write!(f, "{} {name}", self.kind),
        }
    }
}

/// The verdict about an object, with its reasons.
#[derive(Debug, Clone)]
pub struct JudgedObject {
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is skipped. None for other verdicts.
    pub skip_reason: Option<SkipReason>,
    /// The object. None if it cannot be read.
    pub object: Option<ObjectName>,
    /// File and line.
    pub source: Source,
    /// Why it is denied, skipped, or could not be judged: one line for each reason, as the API server would show them.
    pub messages: Vec<String>,
    /// The warnings as the API server would show them: cut at 256 characters. [`Self::reasons`] are complete.
    pub warnings: Vec<String>,
    /// The images as the policy would rewrite them.
    pub pinned: Vec<String>,
    /// The records of digests that the policy would write into pod templates, without those that stay as they are.
    pub recorded: Vec<Record>,
    /// The findings, as in the policy's audit annotation.
    pub findings: Vec<Finding>,
    /// The number of findings for which the audit annotation has no room.
    pub omitted_findings: usize,
    /// The judged images, as in the policy's audit annotation.
    pub images: Vec<JudgedImage>,
}

/// The key of a policy, as [`Finding::passed`], for denials that monitor mode turns into warnings.
pub(super) const MONITOR: &str = "mode";

/// A finding, as in the policy's audit annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The code, such as `stale-image`.
    pub code: String,
    /// Its effect on the request.
    pub effect: Effect,
    /// The container or volume that names the image, such as ``container `app` ``. `None` for a finding about the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The setting that turned a denial into a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<String>,
    /// The digest of the build that the tag of the image points at now, if that build would be accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The fact, the rule and what to do.
    pub text: String,
    /// The policies that have this finding, if there are several policies or if it is of one in monitor mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// The effect of a finding on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The request is accepted with a warning.
    Warn,
    /// The request is denied.
    Deny,
}

impl Finding {
    /// Whether the object is refused because facts about the image could not be had.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        self.effect == Effect::Deny && self.code == EVIDENCE_UNAVAILABLE.as_str()
    }

    /// The message of the policy, without the code.
    #[must_use]
    pub fn statement(&self) -> String {
        let monitor = if self.passed.as_deref() == Some(MONITOR) { " (monitor)" } else { "" };
        let names: Vec<_> = self.policies.iter().map(|policy| format!("{policy}{monitor}")).collect();
        let policies = if names.is_empty() { String::new() } else { names.join(", ") + ": " };
        match (&self.site, &self.image) {
            (Some(site), Some(image)) => format!("{policies}{site}: image `{image}` {}", self.text),
            _ => format!("{policies}{}", self.text),
        }
    }
}

impl fmt::Display for Finding {
    /// The message of the policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.statement(), self.code)
    }
}

/// A reason for a verdict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason<'a> {
    /// A finding, with its position in the list of findings.
    Finding(usize, &'a Finding),
    /// A message without a finding: an error, or a line of the policy's answer.
    Message(Cow<'a, str>),
}

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finding(_, finding) => finding.fmt(f),
            Self::Message(message) => f.write_str(message),
        }
    }
}

/// An image of an object, as in the policy's audit annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedImage {
    /// The normalised name.
    pub image: String,
    /// The containers and volumes that name it.
    pub sites: Vec<String>,
    /// Whether the settings exempt it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exempt: bool,
    /// The digest that was judged, if the name does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The build date (RFC 3339), if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// The required platforms for which its index has no image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_platforms: Vec<String>,
    /// The number of containers and volumes that are not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_sites: Option<usize>,
}

impl JudgedObject {
    /// An object about which nothing but the verdict is known.
    #[must_use]
    pub fn with_verdict(verdict: Verdict, object: Option<ObjectName>, source: Source) -> Self {
        Self {
            verdict,
            skip_reason: None,
            object,
            source,
            messages: Vec::new(),
            warnings: Vec::new(),
            pinned: Vec::new(),
            recorded: Vec::new(),
            findings: Vec::new(),
            omitted_findings: 0,
            images: Vec::new(),
        }
    }

    /// An object that is not judged.
    #[must_use]
    pub fn skipped(reason: SkipReason, object: Option<ObjectName>, source: Source) -> Self {
        Self { skip_reason: Some(reason), ..Self::with_verdict(Verdict::Skipped, object, source) }
    }

    /// An object that could not be judged.
    #[must_use]
    pub fn failed(object: Option<ObjectName>, source: Source, error: String) -> Self {
        Self { messages: vec![error], ..Self::with_verdict(Verdict::Failed, object, source) }
    }

    /// Whether there is a finding with this code.
    #[must_use]
    pub fn has_finding(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }

    /// Whether the object is refused only because facts about its images could not be had. If the list of findings is not
    /// complete, a rule may be broken that it does not show.
    #[must_use]
    pub(super) fn is_failure(&self) -> bool {
        let mut denials = self.findings.iter().filter(|finding| finding.effect == Effect::Deny).peekable();
        self.omitted_findings == 0 && denials.peek().is_some() && denials.all(Finding::is_failure)
    }

    /// Why the object has its verdict: the findings in full, those that refuse it first. Messages of the policy stand in for
    /// findings that are not in its audit annotation.
    #[must_use]
    pub fn reasons(&self) -> Vec<Reason<'_>> {
        let findings = self.findings.iter().enumerate();
        let mut reasons: Vec<_> = findings.map(|(index, finding)| Reason::Finding(index, finding)).collect();
        reasons.sort_by_key(|reason| matches!(reason, Reason::Finding(_, Finding { effect: Effect::Warn, .. })));
        if self.findings.is_empty() {
            let messages = self.messages.iter().chain(&self.warnings);
            reasons.extend(messages.map(|message| Reason::Message(Cow::Borrowed(message))));
        } else if self.omitted_findings > 0 {
            let known: HashSet<String> = self.findings.iter().map(ToString::to_string).collect();
            // The last line of an answer that is cut is the number of omitted findings.
            let others = self.messages.iter().filter(|line| !line.starts_with('…') && !known.contains(*line));
            let before = reasons.len();
            reasons.extend(others.map(|message| Reason::Message(Cow::Borrowed(message))));
            let omitted = self.omitted_findings.saturating_sub(reasons.len() - before);
            if omitted > 0 {
                let text = format!("… and {omitted} more findings, for which the answer of the policy has no room");
                reasons.push(Reason::Message(Cow::Owned(text)));
            }
        }
        reasons
    }
}

/// The number of objects by verdict.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the number of objects with this verdict")]
pub struct Summary {
    pub accepted: usize,
    pub warned: usize,
    pub denied: usize,
    pub skipped: usize,
    pub failed: usize,
}

impl Summary {
    /// Counts the verdicts.
    #[must_use]
    pub fn of(objects: &[JudgedObject]) -> Self {
        let count = |verdict| objects.iter().filter(|object| object.verdict == verdict).count();
        Self {
            accepted: count(Verdict::Accepted),
            warned: count(Verdict::Warned),
            denied: count(Verdict::Denied),
            skipped: count(Verdict::Skipped),
            failed: count(Verdict::Failed),
        }
    }

    /// The exit code for a pipeline. A broken rule comes before an object that could not be judged, so that a pipeline that
    /// retries or tolerates outages (2) never does so with a broken rule.
    #[must_use]
    pub fn exit_code(self, fail_on: FailOn) -> ExitCode {
        ExitCode::from(self.exit_status(fail_on))
    }

    /// The exit code as a number.
    pub(crate) fn exit_status(self, fail_on: FailOn) -> u8 {
        match self {
            Self { denied: 1.., .. } => 1,
            Self { warned: 1.., .. } if fail_on == FailOn::Warn => 1,
            Self { failed: 1.., .. } => 2,
            _ => 0,
        }
    }
}

/// What makes a command fail.
#[derive(Debug, Clone, Copy, Args)]
#[group(skip)]
pub(crate) struct FailOnOptions {
    /// Findings for which the exit code is 1
    #[arg(
        long,
        value_enum,
        value_name = "EFFECT",
        default_value_t,
        env = "CONTAINER_PATCH_FAIL_ON",
        hide_env_values = true
    )]
    pub(crate) fail_on: FailOn,
}

/// The findings for which the exit code is 1.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// Findings that refuse an object.
    #[default]
    Deny,
    /// Warnings, too.
    Warn,
}

#[cfg(test)]
mod tests {
    use super::{Effect, FailOn, Finding, JudgedObject, Summary, Verdict};
    use crate::input::{ManifestFile, Source};

    fn source() -> Source {
        let objects = ManifestFile::new("web.yaml".to_owned(), "kind: Pod".to_owned()).objects();
        objects.into_iter().next().unwrap().source
    }

    fn finding(code: &str, effect: Effect) -> Finding {
        let (code, text) = (code.to_owned(), "has a fault".to_owned());
        Finding { code, effect, site: None, image: None, passed: None, fix: None, text, policies: Vec::new() }
    }

    fn denied(findings: Vec<Finding>) -> JudgedObject {
        JudgedObject { findings, ..JudgedObject::with_verdict(Verdict::Denied, None, source()) }
    }

    #[test]
    fn a_broken_rule_has_the_exit_code_1_even_if_other_objects_could_not_be_judged() {
        let status = |denied, failed, warned, fail_on| {
            Summary { denied, failed, warned, ..Summary::default() }.exit_status(fail_on)
        };
        assert_eq!(status(0, 0, 1, FailOn::Deny), 0);
        assert_eq!(status(1, 0, 0, FailOn::Deny), 1);
        assert_eq!(status(0, 1, 1, FailOn::Deny), 2);
        assert_eq!(status(1, 1, 0, FailOn::Deny), 1);
        assert_eq!(status(0, 0, 1, FailOn::Warn), 1);
        assert_eq!(status(0, 1, 1, FailOn::Warn), 1);
        assert_eq!(status(0, 1, 0, FailOn::Warn), 2);
    }

    #[test]
    fn an_object_with_only_unavailable_evidence_could_not_be_judged() {
        let outage = || finding("evidence-unavailable", Effect::Deny);
        assert!(denied(vec![outage(), finding("unpinned-image", Effect::Warn)]).is_failure());
        assert!(!denied(vec![outage(), finding("unpinned-image", Effect::Deny)]).is_failure());
        assert!(!denied(vec![finding("evidence-unavailable", Effect::Warn)]).is_failure());
        assert!(!denied(vec![]).is_failure());
        assert!(
            !JudgedObject { omitted_findings: 1, ..denied(vec![outage()]) }.is_failure(),
            "the list is not complete"
        );
    }

    #[test]
    fn the_reasons_are_complete_findings_and_say_how_many_are_missing() {
        let long = Finding { text: "x".repeat(300), ..finding("patch-due", Effect::Warn) };
        let object = JudgedObject {
            messages: vec!["has a fault [a]".to_owned(), "another [b]".to_owned(), "… and 7 more findings".to_owned()],
            warnings: vec!["xxx… [patch-due]".to_owned()],
            omitted_findings: 3,
            ..denied(vec![long, finding("a", Effect::Deny)])
        };
        let reasons: Vec<_> = object.reasons().iter().map(ToString::to_string).collect();
        assert_eq!(
            reasons,
            [
                "has a fault [a]",
                &format!("{} [patch-due]", "x".repeat(300)),
                "another [b]",
                "… and 2 more findings, for which the answer of the policy has no room",
            ]
        );
        let without_findings = JudgedObject { findings: Vec::new(), omitted_findings: 0, ..object };
        assert_eq!(without_findings.reasons().len(), 4);
    }
}
