//! VulnerabilityReports of Kubewarden's SBOMscanner (`storage.sbomscanner.kubewarden.io/v1alpha1`), one for each image of
//! an index. They are found by the digest, which is a selectable field of theirs; their names cannot be told beforehand.
//!
//! A report does not say when it was written: a later scan overwrites it.

use serde::Deserialize;

use super::{List, Metadata, Subject, nullable};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::scan::{Scan, Vulnerability};

const REPORT: Resource = Resource {
    api_version: "storage.sbomscanner.kubewarden.io/v1alpha1",
    kind: "VulnerabilityReport",
    product: "SBOMscanner",
    rbac: "deploy/rbac/sbomscanner.yaml",
};

const FIELDS: [&str; 6] = [
    "imageMetadata.digest",
    "report.results.vulnerabilities.cve",
    "report.results.vulnerabilities.fixedVersions",
    "report.results.vulnerabilities.packageName",
    "report.results.vulnerabilities.severity",
    "report.results.vulnerabilities.suppressed",
];

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct VulnerabilityReport {
    metadata: Metadata,
    image_metadata: ImageMetadata,
    report: Report,
}

#[derive(Deserialize)]
struct ImageMetadata {
    digest: String,
}

#[derive(Deserialize)]
struct Report {
    #[serde(deserialize_with = "nullable")]
    results: Vec<Target>,
}

#[derive(Deserialize)]
struct Target {
    #[serde(deserialize_with = "nullable")]
    vulnerabilities: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    cve: String,
    severity: String,
    #[serde(default)]
    package_name: Option<String>,
    #[serde(default)]
    fixed_versions: Option<Vec<String>>,
    /// Whether a VEX document says that it does not matter here.
    #[serde(default)]
    suppressed: bool,
}

/// The reports about an image.
pub(super) fn scans(
    cluster: &mut Cluster<'_>,
    namespace: &str,
    subject: &Subject<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Vec<Scan>> {
    let manifests = subject.manifests(registry)?;
    let own = [subject.digest.to_owned()];
    let digests = if manifests.is_empty() { &own } else { manifests };
    let mut scans = Vec::new();
    for digest in digests {
        let selector = format!("imageMetadata.digest={digest}");
        let bytes = cluster.list(&REPORT, namespace, Some(&selector), &FIELDS)?;
        let mut reports = REPORT.parse::<List<VulnerabilityReport>>(&format!("{namespace}?{selector}"), &bytes)?.items;
        reports.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        for report in reports.into_iter().filter(|report| report.image_metadata.digest == *digest) {
            scans.push(scan(namespace, report)?);
        }
    }
    Ok(scans)
}

fn scan(namespace: &str, report: VulnerabilityReport) -> Answer<Scan> {
    let name = report.metadata.name;
    let found = report.report.results.into_iter().flat_map(|target| target.vulnerabilities);
    let counting = found.filter(|found| !found.suppressed);
    let vulnerabilities = counting.map(|found| {
        Ok(Vulnerability {
            severity: REPORT.severity(&format!("{namespace}/{name}"), &found.cve, &found.severity)?,
            id: found.cve,
            aliases: Vec::new(),
            package: found.package_name.filter(|package| !package.is_empty()),
            fixed_in: found.fixed_versions.map(|versions| versions.join(", ")).filter(|versions| !versions.is_empty()),
            published: None,
        })
    });
    let vulnerabilities = vulnerabilities.collect::<Answer<Vec<_>>>()?;
    Ok(Scan::of_report(REPORT.source(namespace, &name), None, vulnerabilities))
}
