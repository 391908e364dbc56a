//! The section `scan` of the settings.

use std::hash::{Hash, Hasher};

use serde_json::Value;
use serde_json::value::RawValue;

use super::result::Severity;
use crate::config::read::{Fields, Keyword, Path, Problems, Setting, kind_of, read_string, section};
use crate::config::schema::Schema;
use crate::config::values::{Action, Duration};

section! {
    /// No image runs that a scanner has flagged.
    pub struct Scanning {
        /// What becomes of an image that is flagged, or has too many vulnerabilities.
        "action" action: Action = Action::Deny,
        /// Whether an image without a scan result that counts is flagged. Reports in the workload's own namespace do not
        /// count for it: see [who is believed](scans.md#who-is-believed).
        "require" require: bool = false,
        /// How old a scan result may be; an older one is no result.
        "maxAge" max_age: Duration = Duration::days(30),
        /// How many vulnerabilities an image may have of each severity; of one that is left out, any number. Severities
        /// are `critical`, `high`, `medium`, `low`, `negligible` and `unknown`.
        "maxAllowed" max_allowed: BySeverity<Number> = BySeverity(vec![(Severity::Critical, Number(0))]),
        /// Whether only vulnerabilities that have a fix count.
        "fixableOnly" fixable_only: bool = true,
        /// How long after its publication a vulnerability may be in an image. Until then it is a
        /// [warning](patch-window-open.md); from then on it counts against `maxAllowed`, or is too much where that gives
        /// no limit. One without a date is judged by `maxAllowed` alone. For example `{critical: 7d, high: 30d}`.
        "patchWithin" patch_within: BySeverity<Duration> = BySeverity(Vec::new()),
        /// Reports of the cluster to read. For example `[{source: sbomscanner, namespace: sbomscanner}]`.
        "reports" reports: Vec<ReportSource> = Vec::new(),
        /// What annotations of a pod are good for. Its requester writes them, so that they can only keep an image out
        /// (`flag`), unless they may also clear it (`trust`), or are good for nothing (`ignore`).
        "podAnnotations" pod_annotations: PodAnnotations = PodAnnotations::Flag,
    }
    check Scanning::check_reports;
}

/// A value for each severity, or for some of them.
#[derive(Debug, Clone, PartialEq)]
pub struct BySeverity<T>(pub(super) Vec<(Severity, T)>);

impl<T: Copy> BySeverity<T> {
    pub(super) fn of(&self, severity: Severity) -> Option<T> {
        self.0.iter().find(|(known, _)| *known == severity).map(|(_, value)| *value)
    }
}

impl<T: Setting> Setting for BySeverity<T> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let mut fields = Fields::read(json, at, problems)?;
        let mut values = Vec::new();
        for severity in Severity::ALL {
            values.extend(fields.take(severity.as_str(), at, problems).map(|value| (severity, value)));
        }
        fields.finish(&Severity::ALL.map(Severity::as_str), at, problems);
        Some(Self(values))
    }

    fn schema() -> Schema {
        let keys = Severity::ALL.map(Severity::as_str).to_vec();
        Schema::Each { by: "severity", keys, values: Box::new(T::schema()) }
    }

    fn to_json(&self) -> Value {
        self.0.iter().map(|(severity, value)| (severity.to_string(), value.to_json())).collect()
    }
}

/// A number of vulnerabilities.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number(pub(super) u64);

impl Setting for Number {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json.get().parse() {
            Ok(number) => Some(Self(number)),
            Err(_) => {
                let found = if kind_of(json) == "a number" { json.get() } else { kind_of(json) };
                problems.push(at, format_args!("expected a whole number, 0 or more, found {found}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::Number
    }

    fn to_json(&self) -> Value {
        self.0.into()
    }
}

/// What annotations of a pod are good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodAnnotations {
    /// They can keep an image out.
    Flag,
    /// They can keep an image out, and can clear one.
    Trust,
    /// Nothing.
    Ignore,
}

impl Keyword for PodAnnotations {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("flag", Self::Flag), ("trust", Self::Trust), ("ignore", Self::Ignore)];
}

impl Scanning {
    /// A scan that is required is not satisfied by reports that the requester can write.
    fn check_reports(&self, at: Path<'_>, problems: &mut Problems) {
        if !self.require || self.action.effect().is_none() {
            return;
        }
        let at = Path::Key(&at, "reports");
        for (index, source) in self.reports.iter().enumerate() {
            if source.is_in_namespaces_of_workloads() {
                problems.warn(
                    Path::Index(&at, index),
                    "reports in the workload's own namespace do not satisfy `require`, because people who may create \
                     workloads there may be able to write them; give the `namespace` that the reports are in",
                );
            }
        }
    }
}

section! {
    /// Reports of the cluster to read.
    pub struct ReportSource {
        required {
            /// The scanner that writes them.
            "source" source: Source,
        }
        /// The namespace that they are in; the workload's own if left out. Reports in the workload's own namespace can keep
        /// an image out, and do not satisfy `require`, because people who may create workloads there may be able to write
        /// them, too. Kubescape's are then those in the namespace `kubescape` to which summaries in the workload's own
        /// namespace lead.
        "namespace" namespace: Option<Namespace> = None,
    }
}

impl Eq for ReportSource {}

impl ReportSource {
    /// Whether its reports are in the namespaces of the workloads that they are about.
    #[must_use]
    pub fn is_in_namespaces_of_workloads(&self) -> bool {
        self.namespace.is_none() && !self.is_read_by_summaries()
    }

    /// Whether summaries in the namespaces of the workloads lead to its reports.
    pub(super) fn is_read_by_summaries(&self) -> bool {
        self.namespace.is_none() && self.source == Source::Kubescape
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_ref().map(|Namespace(name)| name.as_str())
    }

    /// Whether its reports may be about a tag.
    #[must_use]
    pub fn heeds_tags(&self) -> bool {
        self.source == Source::TrivyOperator
    }
}

impl Hash for ReportSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.source, &self.namespace).hash(state);
    }
}

/// Who writes reports into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Kubewarden's SBOMscanner, which scans with Trivy.
    Sbomscanner,
    /// Aqua's Trivy operator.
    TrivyOperator,
    /// Quay's container security operator, which tells what Clair found.
    Quay,
    /// Kubescape, which scans with Anchore's Grype.
    Kubescape,
}

impl Keyword for Source {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("sbomscanner", Self::Sbomscanner),
        ("trivyOperator", Self::TrivyOperator),
        ("quay", Self::Quay),
        ("kubescape", Self::Kubescape),
    ];
}

/// The name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(pub(super) String);

impl Setting for Namespace {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = read_string(json, at, "the name of a namespace", problems)?;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [name.bytes().next(), name.bytes().next_back()];
        // A DNS label (RFC 1123).
        if name.len() > 63
            || !ends.iter().all(|byte| byte.is_some_and(inner))
            || !name.bytes().all(|byte| inner(byte) || byte == b'-')
        {
            problems.push(at, format_args!("`{name}` is no name of a namespace; write one such as `sbomscanner`"));
            return None;
        }
        Some(Self(name))
    }

    fn schema() -> Schema {
        Schema::text("name of a namespace", "names of namespaces", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}
