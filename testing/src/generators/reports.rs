//! Reports of the scanners that run in a cluster.

use serde_json::{Value, json};

use super::choices::Choices;
use super::corruption::corrupted;
use super::images::{DIGESTS, digest};
use super::scans::{SEVERITIES, TIMES, VULNERABILITIES};

/// The image that a generated report is about.
pub(crate) const IMAGE: &str = DIGESTS[1];
/// When a generated report was written.
pub(crate) const SCANNED_AT: &str = "2026-11-20T12:00:00Z";

/// A vulnerability in a report.
#[derive(Debug, Clone)]
pub(crate) struct Vulnerability {
    pub(crate) id: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) fixed_in: &'static str,
    pub(crate) published: &'static str,
    pub(crate) is_suppressed: bool,
}

/// The vulnerabilities of an image.
pub(crate) fn vulnerabilities(choices: &mut Choices<'_>) -> Vec<Vulnerability> {
    choices.few(4, |choices| Vulnerability {
        id: choices.one_of(&VULNERABILITIES),
        severity: choices.one_of(&SEVERITIES),
        fixed_in: choices.one_of(&["3.0.8", ""]),
        published: choices.one_of(&TIMES),
        is_suppressed: choices.once_in(6),
    })
}

/// The scanner that writes a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scanner {
    /// Kubewarden's SBOMscanner.
    Sbomscanner,
    /// Aqua's Trivy operator.
    TrivyOperator,
    /// Quay's container security operator.
    Quay,
    /// Kubescape.
    Kubescape,
}

const SBOMSCANNER: (&str, &str) = ("storage.sbomscanner.kubewarden.io/v1alpha1", "VulnerabilityReport");
const TRIVY_OPERATOR: (&str, &str) = ("aquasecurity.github.io/v1alpha1", "VulnerabilityReport");
const QUAY: (&str, &str) = ("secscan.quay.redhat.com/v1alpha1", "ImageManifestVuln");
const KUBESCAPE: (&str, &str) = ("spdx.softwarecomposition.kubescape.io/v1beta1", "VulnerabilityManifest");
const KUBESCAPE_SUMMARY: (&str, &str) = (KUBESCAPE.0, "VulnerabilityManifestSummary");

/// A report without its vulnerabilities, as in a list of reports.
pub(crate) fn list_item(kind: (&str, &str), name: &str, digest: &str, at: &str, is_filtered: bool) -> Value {
    let metadata = json!({"name": name, "namespace": "scans"});
    match kind {
        SBOMSCANNER => json!({"metadata": metadata, "imageMetadata": {"digest": digest}}),
        TRIVY_OPERATOR => json!({
            "metadata": metadata,
            "report": {
                "artifact": {"repository": "library/nginx", "tag": "1", "digest": digest},
                "registry": {"server": "index.docker.io"},
                "summary": {"criticalCount": 0, "highCount": 0, "mediumCount": 0, "lowCount": 0, "unknownCount": 0},
                "updateTimestamp": at,
            },
        }),
        KUBESCAPE | KUBESCAPE_SUMMARY => json!({"metadata": {
            "name": name,
            "annotations": {"kubescape.io/image-id": format!("docker.io/library/nginx@{digest}")},
            "labels": {"kubescape.io/context": if is_filtered { "filtered" } else { "" }},
        }}),
        _ => json!({ "metadata": metadata }),
    }
}

/// A report with these vulnerabilities.
pub(crate) fn report(kind: (&str, &str), name: &str, at: &str, vulnerabilities: &[Vulnerability]) -> Value {
    let each = |make: &dyn Fn(&Vulnerability) -> Value| vulnerabilities.iter().map(make).collect::<Vec<_>>();
    match kind {
        SBOMSCANNER => {
            let found = each(&|found| {
                json!({
                    "cve": found.id, "severity": found.severity, "packageName": "openssl",
                    "fixedVersions": [found.fixed_in], "suppressed": found.is_suppressed,
                })
            });
            json!({"report": {"results": [{"vulnerabilities": found}]}})
        }
        TRIVY_OPERATOR => {
            let found = each(&|found| {
                json!({
                    "vulnerabilityID": found.id, "severity": found.severity, "resource": "openssl",
                    "fixedVersion": found.fixed_in, "publishedDate": found.published,
                })
            });
            json!({"report": {"updateTimestamp": at, "vulnerabilities": found}})
        }
        QUAY => {
            let found = each(&|found| {
                let metadata = json!({"Issued": found.published}).to_string();
                json!({"name": found.id, "severity": found.severity, "fixedby": found.fixed_in, "metadata": metadata})
            });
            json!({
                "spec": {"manifest": name.replacen('.', ":", 1), "features": [{"name": "openssl", "vulnerabilities": found}]},
                "status": {"lastUpdate": at},
            })
        }
        KUBESCAPE_SUMMARY => {
            json!({"spec": {"vulnerabilitiesRef": {"all": {"namespace": "kubescape", "name": "m0"}}}})
        }
        _ => {
            let found = each(&|found| {
                let versions = if found.fixed_in.is_empty() { json!([]) } else { json!([found.fixed_in]) };
                json!({
                    "vulnerability": {
                        "id": found.id, "severity": found.severity,
                        "fix": {"versions": versions, "available": [{"date": found.published}]},
                    },
                    "relatedVulnerabilities": [{"id": "CVE-2026-0001"}],
                    "artifact": {"name": "openssl"},
                })
            });
            json!({
                "metadata": {
                    "name": name,
                    "annotations": {"kubescape.io/image-id": format!("docker.io/library/nginx@{IMAGE}")},
                },
                "spec": {
                    "metadata": {"report": {"createdAt": at}},
                    "payload": {"matches": found, "descriptor": {"timestamp": at}},
                },
            })
        }
    }
}

impl Scanner {
    /// A report, corrupted in half of the cases. Without any bytes, it is a clean report.
    #[must_use]
    pub fn report_from(self, bytes: &[u8]) -> Vec<u8> {
        let choices = &mut Choices::new(bytes);
        let found = vulnerabilities(choices);
        let report = report(self.kind(), &IMAGE.replace(':', "."), SCANNED_AT, &found);
        let report = if choices.once_in(2) { corrupted(report, choices) } else { report };
        report.to_string().into_bytes()
    }

    /// A list of reports, corrupted in half of the cases.
    #[must_use]
    pub fn list_from(self, bytes: &[u8]) -> Vec<u8> {
        let choices = &mut Choices::new(bytes);
        let item = |choices: &mut Choices<'_>| {
            list_item(self.kind(), choices.one_of(&["r0", "r1"]), digest(choices), SCANNED_AT, choices.once_in(2))
        };
        let list = json!({ "items": choices.few(4, item) });
        let list = if choices.once_in(2) { corrupted(list, choices) } else { list };
        list.to_string().into_bytes()
    }

    /// API version and kind of a report.
    pub(crate) fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Sbomscanner => SBOMSCANNER,
            Self::TrivyOperator => TRIVY_OPERATOR,
            Self::Quay => QUAY,
            Self::Kubescape => KUBESCAPE,
        }
    }

    /// The value of the setting `scan.reports[].source`.
    pub(crate) fn setting(self) -> &'static str {
        match self {
            Self::Sbomscanner => "sbomscanner",
            Self::TrivyOperator => "trivyOperator",
            Self::Quay => "quay",
            Self::Kubescape => "kubescape",
        }
    }
}
