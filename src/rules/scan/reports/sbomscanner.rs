//! VulnerabilityReports of Kubewarden's SBOMscanner (`storage.sbomscanner.kubewarden.io/v1alpha1`), one for each image of
//! an index.
//!
//! Their names are hashes of values that the policy does not know. So the identities of all reports are listed, and the report
//! about the image is fetched by name. The API also selects by `imageMetadata.digest`, but policy-server would keep a watch for
//! each digest that was ever selected, and requesters choose the digests.
//!
//! A report does not say when it was written: a later scan overwrites it.

use serde::Deserialize;

use super::resource::{List, Metadata, nullable};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::json;
use crate::rules::scan::image::ScannedImage;
use crate::rules::scan::reported::Reported;
use crate::rules::scan::result::{Scan, Vulnerability};

const REPORT: Resource = Resource {
    api_version: "storage.sbomscanner.kubewarden.io/v1alpha1",
    kind: "VulnerabilityReport",
    product: "SBOMscanner",
    rbac: "deploy/rbac/sbomscanner.yaml",
};

const IDENTITY: [&str; 1] = ["imageMetadata.digest"];

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
struct Identity {
    #[serde(deserialize_with = "json::object")]
    metadata: Metadata,
    #[serde(deserialize_with = "json::object")]
    image_metadata: ImageMetadata,
}

#[derive(Deserialize)]
struct ImageMetadata {
    digest: String,
}

#[derive(Deserialize)]
struct VulnerabilityReport {
    #[serde(deserialize_with = "json::object")]
    report: Report,
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
    /// Whether a VEX document says that the image is not affected.
    #[serde(default)]
    suppressed: bool,
}

/// A report that was located.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::rules::scan) struct LocatedReport {
    name: String,
    digest: String,
}

/// Locates the reports of a namespace.
pub(super) fn locate(cluster: &mut Cluster<'_>, namespace: &str) -> Answer<Vec<LocatedReport>> {
    let bytes = cluster.list(&REPORT, namespace, &IDENTITY)?;
    let identities: List<Identity> = REPORT.parse(namespace, &bytes)?;
    let located =
        |identity: Identity| LocatedReport { name: identity.metadata.name, digest: identity.image_metadata.digest };
    Ok(identities.items.into_iter().map(located).collect())
}

/// The reports about an image, and about those in its index.
pub(super) fn scans(
    cluster: &mut Cluster<'_>,
    namespace: &str,
    located: &[LocatedReport],
    image: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
) -> Reported {
    let mut reported = Reported::default();
    let mut about = image.related(located, |report| &report.digest, registry, &mut reported);
    // The order of a list is not stable.
    about.sort_by_key(|(_, report)| &report.name);
    for (relation, LocatedReport { name, .. }) in reported.few(about) {
        reported.add(scan(cluster, namespace, name).map(|scan| scan?.of(relation)));
    }
    reported
}

fn scan(cluster: &mut Cluster<'_>, namespace: &str, name: &str) -> Answer<Option<Scan>> {
    let Some(bytes) = cluster.get(&REPORT, namespace, name, &FIELDS)? else { return Ok(None) };
    let report: VulnerabilityReport = REPORT.parse(&format!("{namespace}/{name}"), &bytes)?;
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
    Ok(Some(Scan::of_report(REPORT.source(namespace, name), None, vulnerabilities)))
}
