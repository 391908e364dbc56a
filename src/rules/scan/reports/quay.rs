//! ImageManifestVulns of Quay's container security operator (`secscan.quay.redhat.com/v1alpha1`), which hold the results of
//! Clair. Their name is the digest of a manifest with `.` for `:`, so they are fetched by name.

use std::rc::Rc;

use serde::Deserialize;

use super::resource::nullable;
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::time;
use crate::json;
use crate::rules::scan::image::ScannedImage;
use crate::rules::scan::reported::Reported;
use crate::rules::scan::result::{Scan, Vulnerability};

const REPORT: Resource = Resource {
    api_version: "secscan.quay.redhat.com/v1alpha1",
    kind: "ImageManifestVuln",
    product: "Quay's container security operator",
    rbac: "deploy/rbac/quay.yaml",
};

const FIELDS: [&str; 7] = [
    "spec.features.name",
    "spec.features.vulnerabilities.fixedby",
    "spec.features.vulnerabilities.metadata",
    "spec.features.vulnerabilities.name",
    "spec.features.vulnerabilities.severity",
    "spec.manifest",
    "status.lastUpdate",
];

#[derive(Deserialize)]
struct ImageManifestVuln {
    #[serde(deserialize_with = "json::object")]
    spec: Spec,
    #[serde(default, deserialize_with = "json::optional_object")]
    status: Option<Status>,
}

#[derive(Deserialize)]
struct Spec {
    manifest: String,
    // The operator omits empty lists.
    #[serde(default, deserialize_with = "nullable")]
    features: Vec<Feature>,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(default)]
    name: Option<String>,
    #[serde(default, deserialize_with = "nullable")]
    vulnerabilities: Vec<Found>,
}

#[derive(Deserialize)]
struct Found {
    name: String,
    severity: String,
    #[serde(default)]
    fixedby: Option<String>,
    /// JSON in a string, which differs with the updater of Clair.
    #[serde(default)]
    metadata: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    last_update: Option<String>,
}

/// When a vulnerability was published, in Clair's metadata.
#[derive(Deserialize)]
struct Details {
    #[serde(rename = "Issued", alias = "issued", default)]
    issued: Option<String>,
    #[serde(rename = "NVD", default)]
    nvd: Option<Nvd>,
}

#[derive(Deserialize)]
struct Nvd {
    #[serde(rename = "CVSSv2", default)]
    cvss: Option<Cvss>,
}

#[derive(Deserialize)]
struct Cvss {
    #[serde(rename = "PublishedDateTime", default)]
    published: Option<String>,
}

/// The report about the digest of an image, or else the reports about the images in its index. In the workload's own namespace all
/// of them count, because people who may write there could hide the others with a report about the index.
pub(super) fn scans(
    cluster: &mut Cluster<'_>,
    (namespace, is_own): (&str, bool),
    image: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Reported> {
    let mut reported = Reported::default();
    let digest = image.digest(registry)?;
    if let Some(bytes) = get(cluster, namespace, &digest)? {
        let scan = scan(namespace, &digest, &bytes);
        let is_enough = (!is_own || image.is_single(&digest)) && !matches!(scan, Ok(None));
        reported.add(scan);
        if is_enough {
            return Ok(reported);
        }
    }
    match image.few_manifests(registry).map(<[String]>::to_vec) {
        Ok(manifests) => {
            for digest in manifests {
                reported.add(scan_in_index(cluster, namespace, &digest, image, registry));
            }
        }
        Err(cause) => reported.fail(&cause),
    }
    Ok(reported)
}

fn scan_in_index(
    cluster: &mut Cluster<'_>,
    namespace: &str,
    digest: &str,
    image: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Option<Scan>> {
    let relation = image.relation(digest, registry)?;
    let Some(bytes) = get(cluster, namespace, digest)? else { return Ok(None) };
    Ok(scan(namespace, digest, &bytes)?.and_then(|scan| scan.of(relation)))
}

fn name_of(digest: &str) -> String {
    digest.replace(':', ".")
}

fn get(cluster: &mut Cluster<'_>, namespace: &str, digest: &str) -> Answer<Option<Rc<[u8]>>> {
    cluster.get(&REPORT, namespace, &name_of(digest), &FIELDS)
}

fn scan(namespace: &str, digest: &str, bytes: &[u8]) -> Answer<Option<Scan>> {
    let name = name_of(digest);
    let report: ImageManifestVuln = REPORT.parse(&format!("{namespace}/{name}"), bytes)?;
    if report.spec.manifest != digest {
        return Ok(None);
    }
    let at = report
        .status
        .and_then(|status| status.last_update)
        .as_deref()
        .and_then(time::parse)
        .filter(|at| time::is_plausible(*at));
    let mut vulnerabilities = Vec::new();
    for feature in report.spec.features {
        for found in feature.vulnerabilities {
            let severity = REPORT.severity(&format!("{namespace}/{name}"), &found.name, &found.severity)?;
            // Clair names an advisory of Ubuntu `CVE-2026-0001 on Ubuntu 24.04 LTS (noble) - medium`.
            let id = found.name.split(' ').next().unwrap_or_default().to_owned();
            vulnerabilities.push(Vulnerability {
                id,
                aliases: Vec::new(),
                package: feature.name.clone(),
                severity,
                fixed_in: found.fixedby.filter(|version| !version.is_empty()),
                published: found.metadata.as_deref().and_then(published),
            });
        }
    }
    Ok(Some(Scan::of_report(REPORT.source(namespace, &name), at, vulnerabilities)))
}

fn published(metadata: &str) -> Option<chrono::DateTime<chrono::Utc>> {
    let details: Details = serde_json::from_str(metadata).ok()?;
    let of_nvd = || details.nvd?.cvss?.published;
    time::parse(&details.issued.or_else(of_nvd)?)
}
