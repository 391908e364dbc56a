//! The section `scan` of the settings.

use std::hash::{Hash, Hasher};

use serde_json::Value;
use serde_json::value::RawValue;

use super::result::Severity;
use crate::config::namespaces::Namespace;
use crate::config::read::{Fields, Keyword, Path, Problems, Setting, kind_of, section};
use crate::config::schema::Schema;
use crate::config::values::{Action, Duration};

section! {
    /// No image runs that a scanner has flagged.
    pub struct Scanning {
        /// Action for an image that is flagged or has too many vulnerabilities.
        "action" action: Action = Action::Deny,
        /// Whether an image needs a valid scan result. Reports in the workload's own namespace do not satisfy it: see
        /// [who is believed](scans.md#who-is-believed). Trivy operator, Kubescape and Quay's operator scan only images that already
        /// run, so they have no result for a new image.
        "require" require: bool = false,
        /// Maximum age of a scan result. An older one is ignored.
        "maxAge" max_age: Duration = Duration::days(30),
        /// How many vulnerabilities of each severity an image may have. Unlisted severities are unlimited. Severities are
        /// `critical`, `high`, `medium`, `low`, `negligible` and `unknown`.
        "maxAllowed" max_allowed: BySeverity<Number> = BySeverity(vec![(Severity::Critical, Number(0))]),
        /// Whether only vulnerabilities that have a fix count. Where a source gives only a number, all of them count, because some may
        /// have a fix.
        "fixableOnly" fixable_only: bool = true,
        /// Time to patch a vulnerability of each severity, counted from its publication. Until then it is a
        /// [warning](patch-window-open.md). After that it counts against `maxAllowed`, where no limit means 0. Only `maxAllowed`
        /// applies to a vulnerability without a publication date. For example `{critical: 7d, high: 30d}`.
        "patchWithin" patch_within: BySeverity<Duration> = BySeverity(Vec::new()),
        /// Reports of the cluster to read. For example `[{source: sbomscanner, namespace: sbomscanner}]`.
        "reports" reports: Vec<ReportSource> = Vec::new(),
        /// How far annotations of a pod are trusted. The requester writes them, so by default they count only against an image
        /// (`flag`). With `trust` they can also clear it; with `ignore` they are not read.
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

/// The number of vulnerabilities allowed.
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

/// How far annotations of a pod are trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodAnnotations {
    /// They count only against an image.
    Flag,
    /// They count against an image, or clear it.
    Trust,
    /// They are not read.
    Ignore,
}

impl Keyword for PodAnnotations {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("flag", Self::Flag), ("trust", Self::Trust), ("ignore", Self::Ignore)];
}

impl Scanning {
    /// Warns if the reports cannot give what `require` demands: if requesters can write them, or if no scanner scans images that
    /// do not run yet.
    fn check_reports(&self, at: Path<'_>, problems: &mut Problems) {
        if !self.require || self.action.effect().is_none() {
            return;
        }
        let scans_new_images = self.reports.iter().any(|report| !report.source.scans_only_running_images());
        if !self.reports.is_empty() && !scans_new_images && self.pod_annotations != PodAnnotations::Trust {
            problems.warn(
                Path::Key(&at, "require"),
                "the scanners in `reports` scan only images that already run, so a new image has no scan result, unless it has \
                 scan annotations or labels of its own; add `sbomscanner`, or scan images in the pipeline and annotate them",
            );
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
            "source" source: Scanner,
        }
        /// The namespace that the reports are in. By default, it is the workload's own namespace. Reports there count against an
        /// image, but do not satisfy `require`, because people who may create workloads there may also be able to write reports. For
        /// Kubescape, the default is the namespace `kubescape`: the summaries in the workload's own namespace refer to reports there.
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

    /// Whether summaries in the namespaces of the workloads refer to its reports.
    pub(super) fn is_read_by_summaries(&self) -> bool {
        self.namespace.is_none() && self.source == Scanner::Kubescape
    }

    pub(super) fn namespace(&self) -> Option<&str> {
        self.namespace.as_ref().map(Namespace::as_str)
    }

    /// Whether its reports may name an image by tag alone.
    #[must_use]
    pub fn matches_tags(&self) -> bool {
        self.source == Scanner::TrivyOperator
    }
}

impl Hash for ReportSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (self.source, &self.namespace).hash(state);
    }
}

/// A scanner that writes reports into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Scanner {
    /// Kubewarden's SBOMscanner, which scans with Trivy.
    Sbomscanner,
    /// Aqua's Trivy operator.
    TrivyOperator,
    /// Quay's container security operator, which reports the results of Clair.
    Quay,
    /// Kubescape, which scans with Anchore's Grype.
    Kubescape,
}

impl Scanner {
    /// Whether it scans, or reports on, the images of pods and workloads in the cluster only. SBOMscanner scans registries.
    fn scans_only_running_images(self) -> bool {
        self != Self::Sbomscanner
    }
}

impl Keyword for Scanner {
    const KEYWORDS: &'static [(&'static str, Self)] = &[
        ("sbomscanner", Self::Sbomscanner),
        ("trivyOperator", Self::TrivyOperator),
        ("quay", Self::Quay),
        ("kubescape", Self::Kubescape),
    ];
}
