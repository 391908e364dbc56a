//! VulnerabilityManifests of Kubescape (`spdx.softwarecomposition.kubescape.io/v1beta1`), which hold the document that
//! Anchore's Grype prints. They stand in Kubescape's own namespace, and a VulnerabilityManifestSummary in the namespace of
//! each workload refers to them.
//!
//! Both are found by the image id in an annotation: Kubescape's API server leaves everything but metadata out of lists. A
//! manifest that is labelled `filtered` holds only what was loaded into memory, and does not count where there is a whole
//! one.

use std::collections::HashMap;

use serde::Deserialize;

use super::{List, Metadata, Relation, Subject, few_reports, nullable, once};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::scan::{Scan, Vulnerability};
use crate::evidence::time;
use crate::json;
use crate::shown::Shown;

const API_VERSION: &str = "spdx.softwarecomposition.kubescape.io/v1beta1";

const MANIFEST: Resource = Resource {
    api_version: API_VERSION,
    kind: "VulnerabilityManifest",
    product: "Kubescape",
    rbac: "deploy/rbac/kubescape.yaml",
};

const SUMMARY: Resource = Resource { kind: "VulnerabilityManifestSummary", ..MANIFEST };

/// Where Kubescape keeps its manifests, unless it is installed elsewhere. Summaries are known to refer to the namespace of
/// the workload instead.
const HOME: &str = "kubescape";

const IMAGE_ID: &str = "kubescape.io/image-id";
const CONTEXT: &str = "kubescape.io/context";

const FIELDS: [&str; 7] = [
    "spec.metadata.report.createdAt",
    "spec.payload.descriptor.timestamp",
    "spec.payload.matches.artifact.name",
    "spec.payload.matches.relatedVulnerabilities.id",
    "spec.payload.matches.vulnerability.fix",
    "spec.payload.matches.vulnerability.id",
    "spec.payload.matches.vulnerability.severity",
];

#[derive(Deserialize)]
struct Identity {
    #[serde(deserialize_with = "json::object")]
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Summary {
    #[serde(deserialize_with = "json::object")]
    spec: SummarySpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SummarySpec {
    #[serde(deserialize_with = "json::object")]
    vulnerabilities_ref: References,
}

#[derive(Deserialize)]
struct References {
    #[serde(deserialize_with = "json::object")]
    all: ManifestReference,
}

#[derive(Deserialize)]
struct ManifestReference {
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct VulnerabilityManifest {
    #[serde(deserialize_with = "json::object")]
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    metadata: Option<SpecMetadata>,
    #[serde(deserialize_with = "json::object")]
    payload: Payload,
}

#[derive(Deserialize)]
struct SpecMetadata {
    #[serde(default)]
    report: Option<ReportMetadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReportMetadata {
    #[serde(default)]
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(deserialize_with = "nullable")]
    matches: Vec<Match>,
    #[serde(default)]
    descriptor: Option<Descriptor>,
}

#[derive(Deserialize)]
struct Descriptor {
    #[serde(default)]
    timestamp: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    #[serde(deserialize_with = "json::object")]
    vulnerability: Found,
    #[serde(default)]
    related_vulnerabilities: Option<Vec<Related>>,
    #[serde(default)]
    artifact: Option<Artifact>,
}

#[derive(Deserialize)]
struct Found {
    id: String,
    severity: String,
    #[serde(default)]
    fix: Option<Fix>,
}

#[derive(Deserialize)]
struct Fix {
    #[serde(default)]
    versions: Option<Vec<String>>,
    #[serde(default)]
    available: Option<Vec<Available>>,
}

/// Since when a fix can be had; the nearest that Grype tells to when a vulnerability was published.
#[derive(Deserialize)]
struct Available {
    #[serde(default)]
    date: Option<String>,
}

#[derive(Deserialize)]
struct Related {
    id: String,
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(default)]
    name: Option<String>,
}

/// The identities of what is in the cluster, by kind and namespace.
#[derive(Default)]
pub(super) struct Index(HashMap<(&'static str, String), Answer<Vec<Located>>>);

/// A resource, and the image that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Located {
    name: String,
    digest: String,
    /// Whether it holds only what was loaded into memory.
    filtered: bool,
}

impl Index {
    /// The reports about an image. `namespace` is the one to look in, and whether the settings name it: then manifests are
    /// looked for there, else the summaries of the workload's own namespace lead to them.
    pub(super) fn scans(
        &mut self,
        cluster: &mut Cluster<'_>,
        (namespace, is_home): (&str, bool),
        subject: &Subject<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Vec<Scan>> {
        let resource = if is_home { &MANIFEST } else { &SUMMARY };
        let located = self.located(cluster, resource, namespace)?;
        let mut about = subject.related(located, |candidate| &candidate.digest, registry)?;
        if !is_home {
            return scans_by_summaries(cluster, namespace, &about);
        }
        let has_whole = about.iter().any(|(_, manifest)| !manifest.filtered);
        about.retain(|(_, manifest)| !has_whole || !manifest.filtered);
        let mut scans = Vec::new();
        for (relation, manifest) in few_reports(about)? {
            scans.extend(scan_of(cluster, namespace, &manifest.name)?.and_then(|scan| scan.of(relation)));
        }
        Ok(scans)
    }

    fn located(&mut self, cluster: &mut Cluster<'_>, resource: &Resource, namespace: &str) -> Answer<&[Located]> {
        let read = || {
            let bytes = cluster.list(resource, namespace, &["metadata"])?;
            let identities: List<Identity> = resource.parse(namespace, &bytes)?;
            let mut located: Vec<Located> = identities.items.into_iter().filter_map(locate).collect();
            located.sort_unstable_by(|a, b| (&a.digest, &a.name).cmp(&(&b.digest, &b.name)));
            Ok(located)
        };
        once(&mut self.0, (resource.kind, namespace.to_owned()), read)
    }
}

/// Nothing where it does not say which image it is about.
fn locate(Identity { metadata }: Identity) -> Option<Located> {
    let image_id = metadata.annotations?.remove(IMAGE_ID)??;
    let (_, digest) = image_id.rsplit_once('@')?;
    let context = metadata.labels.and_then(|mut labels| labels.remove(CONTEXT)).flatten();
    Some(Located { name: metadata.name, digest: digest.to_owned(), filtered: context.as_deref() == Some("filtered") })
}

/// Every workload that runs an image has a summary, and all of them lead to the same manifest. The first that does so is
/// enough; it is labelled `filtered` itself, and leads to the whole manifest.
fn scans_by_summaries(cluster: &mut Cluster<'_>, namespace: &str, about: &[(Relation, &Located)]) -> Answer<Vec<Scan>> {
    let mut digests: Vec<(Relation, &str)> =
        about.iter().map(|(relation, summary)| (*relation, summary.digest.as_str())).collect();
    digests.dedup();
    let mut scans = Vec::new();
    for (relation, digest) in few_reports(digests)? {
        let mut failure = None;
        for (_, summary) in about.iter().filter(|(_, summary)| summary.digest == digest) {
            match scan_by_summary(cluster, namespace, &summary.name) {
                Ok(None) => {}
                Ok(Some(scan)) => {
                    scans.extend(scan.of(relation));
                    failure = None;
                    break;
                }
                Err(cause) => failure = Some(cause),
            }
        }
        if let Some(cause) = failure {
            return Err(cause);
        }
    }
    Ok(scans)
}

fn scan_by_summary(cluster: &mut Cluster<'_>, namespace: &str, name: &str) -> Answer<Option<Scan>> {
    let Some(bytes) = cluster.get(&SUMMARY, namespace, name, &["spec.vulnerabilitiesRef.all"])? else {
        return Ok(None);
    };
    let summary: Summary = SUMMARY.parse(&format!("{namespace}/{name}"), &bytes)?;
    let manifest = summary.spec.vulnerabilities_ref.all;
    for namespace in [manifest.namespace.as_str(), HOME] {
        if let Some(scan) = scan_of(cluster, namespace, &manifest.name)? {
            return Ok(Some(scan));
        }
    }
    Err(format!(
        "give the namespace of Kubescape in `scan.reports`: VulnerabilityManifest `{}`, to which \
         VulnerabilityManifestSummary `{namespace}/{name}` refers, is not in `{}`, nor in `{HOME}`",
        Shown(&manifest.name),
        Shown(&manifest.namespace)
    ))
}

fn scan_of(cluster: &mut Cluster<'_>, namespace: &str, name: &str) -> Answer<Option<Scan>> {
    let Some(bytes) = cluster.get(&MANIFEST, namespace, name, &FIELDS)? else { return Ok(None) };
    let what = format!("{namespace}/{name}");
    let VulnerabilityManifest { spec } = MANIFEST.parse(&what, &bytes)?;
    let created = spec.metadata.and_then(|metadata| metadata.report).and_then(|report| report.created_at);
    let scanned = spec.payload.descriptor.and_then(|descriptor| descriptor.timestamp);
    // Kubescape leaves the time at Go's zero where it does not set it.
    let at =
        [scanned, created].iter().flatten().filter_map(|text| time::parse(text)).find(|at| time::is_plausible(*at));
    let vulnerabilities = spec.payload.matches.into_iter().map(|found| vulnerability(&what, found));
    let vulnerabilities = vulnerabilities.collect::<Answer<Vec<_>>>()?;
    Ok(Some(Scan::of_report(MANIFEST.source(namespace, name), at, vulnerabilities)))
}

fn vulnerability(what: &str, found: Match) -> Answer<Vulnerability> {
    let Match { vulnerability, related_vulnerabilities, artifact } = found;
    let severity = MANIFEST.severity(what, &vulnerability.id, &vulnerability.severity)?;
    let fix = vulnerability.fix.unwrap_or(Fix { versions: None, available: None });
    let since = fix.available.into_iter().flatten().filter_map(|available| time::parse(&available.date?));
    let aliases = related_vulnerabilities.into_iter().flatten().map(|related| related.id);
    Ok(Vulnerability {
        aliases: aliases.filter(|alias| *alias != vulnerability.id).collect(),
        id: vulnerability.id,
        package: artifact.and_then(|artifact| artifact.name),
        severity,
        fixed_in: fix.versions.map(|versions| versions.join(", ")).filter(|versions| !versions.is_empty()),
        published: since.min(),
    })
}
