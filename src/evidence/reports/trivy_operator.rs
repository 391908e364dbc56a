//! VulnerabilityReports of Aqua's Trivy operator (`aquasecurity.github.io/v1alpha1`), one for each container of each
//! workload that has run, in the namespace of the workload.
//!
//! Their names are those of ReplicaSets and cannot be told beforehand. So the identities of all reports are listed, and the
//! newest report about the image is got by its name.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Deserialize;

use super::{List, Metadata, Relation, Subject, few_reports, nullable};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::scan::{Scan, Vulnerability};
use crate::evidence::time;
use crate::image::Reference;
use crate::json;

const REPORT: Resource = Resource {
    api_version: "aquasecurity.github.io/v1alpha1",
    kind: "VulnerabilityReport",
    product: "Trivy operator",
    rbac: "deploy/rbac/trivy-operator.yaml",
};

const IDENTITY: [&str; 3] = ["report.artifact", "report.registry.server", "report.updateTimestamp"];

const FIELDS: [&str; 6] = [
    "report.updateTimestamp",
    "report.vulnerabilities.fixedVersion",
    "report.vulnerabilities.publishedDate",
    "report.vulnerabilities.resource",
    "report.vulnerabilities.severity",
    "report.vulnerabilities.vulnerabilityID",
];

#[derive(Deserialize)]
struct Identity {
    #[serde(deserialize_with = "json::object")]
    metadata: Metadata,
    #[serde(deserialize_with = "json::object")]
    report: IdentityReport,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdentityReport {
    #[serde(default, deserialize_with = "json::object")]
    artifact: Artifact,
    #[serde(default, deserialize_with = "json::object")]
    registry: Server,
    #[serde(default)]
    update_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
struct Artifact {
    #[serde(default)]
    repository: String,
    #[serde(default)]
    tag: String,
    #[serde(default)]
    digest: String,
}

#[derive(Default, Deserialize)]
struct Server {
    #[serde(default)]
    server: String,
}

#[derive(Deserialize)]
struct VulnerabilityReport {
    #[serde(deserialize_with = "json::object")]
    report: Report,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    #[serde(default)]
    update_timestamp: Option<String>,
    #[serde(deserialize_with = "nullable")]
    vulnerabilities: Vec<Found>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Found {
    #[serde(rename = "vulnerabilityID")]
    vulnerability_id: String,
    severity: String,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    fixed_version: Option<String>,
    #[serde(default)]
    published_date: Option<String>,
}

/// A report that was located, and the image that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Located {
    name: String,
    /// The digest that was scanned, or the one of the configuration. It is empty where the report does not say.
    digest: String,
    /// The normalised name with the tag that was scanned, where the report gives one.
    tagged: Option<String>,
    at: Option<DateTime<Utc>>,
}

/// Locates the reports of a namespace.
pub(super) fn locate(cluster: &mut Cluster<'_>, namespace: &str) -> Answer<Vec<Located>> {
    let bytes = cluster.list(&REPORT, namespace, &IDENTITY)?;
    let located = |Identity { metadata, report }: Identity| {
        let Artifact { repository, tag, digest } = report.artifact;
        let server = if report.registry.server.is_empty() { "docker.io" } else { &report.registry.server };
        let name = format!("{server}/{repository}:{tag}");
        Located {
            name: metadata.name,
            digest,
            tagged: Reference::parse(&name).ok().map(|reference| reference.normalized()),
            at: report.update_timestamp.as_deref().and_then(time::parse),
        }
    };
    Ok(REPORT.parse::<List<Identity>>(namespace, &bytes)?.items.into_iter().map(located).collect())
}

/// The newest report about each digest of an image. Reports without a digest count where there is no other.
pub(super) fn scans(
    cluster: &mut Cluster<'_>,
    namespace: &str,
    located: &[Located],
    subject: &Subject<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Vec<Scan>> {
    let mut by_digest: BTreeMap<&str, (Relation, Vec<&Located>)> = BTreeMap::new();
    let with_digest = located.iter().filter(|report| !report.digest.is_empty());
    for (relation, report) in subject.related(with_digest, |report| &report.digest, registry)? {
        by_digest.entry(&report.digest).or_insert_with(|| (relation, Vec::new())).1.push(report);
    }
    if by_digest.is_empty() {
        let tagged = subject.image.tagged();
        let is_about =
            |report: &&Located| report.digest.is_empty() && report.tagged.is_some() && report.tagged == tagged;
        let about: Vec<&Located> = located.iter().filter(is_about).collect();
        // A runtime does not look at a tag beside a digest, so that a requester can write any.
        if !about.is_empty() && is_tag_of(subject, registry)? {
            by_digest.insert("", (Relation::Same, about));
        }
    }
    let newest = few_reports(by_digest.into_values().collect())?.into_iter().map(|(relation, about)| {
        let scan = newest_scan(cluster, namespace, about)?;
        Ok(scan.and_then(|scan| scan.of(relation)))
    });
    newest.filter_map(Result::transpose).collect()
}

/// Whether the tag of an image points at the digest that is judged.
fn is_tag_of(subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<bool> {
    match (subject.image.digest(), subject.image.tagged()) {
        (Some(digest), Some(tagged)) => Ok(registry.digest(&tagged)? == digest.as_str()),
        _ => Ok(true),
    }
}

fn newest_scan(cluster: &mut Cluster<'_>, namespace: &str, mut about: Vec<&Located>) -> Answer<Option<Scan>> {
    while let Some(newest) = about.iter().copied().max_by_key(|report| (report.at, Reverse(&report.name))) {
        let name = &newest.name;
        if let Some(bytes) = cluster.get(&REPORT, namespace, name, &FIELDS)? {
            return scan(namespace, name, REPORT.parse(&format!("{namespace}/{name}"), &bytes)?).map(Some);
        }
        // It was deleted since it was listed.
        about.retain(|report| report.name != *name);
    }
    Ok(None)
}

fn scan(namespace: &str, name: &str, VulnerabilityReport { report }: VulnerabilityReport) -> Answer<Scan> {
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let vulnerabilities = report.vulnerabilities.into_iter().map(|found| {
        Ok(Vulnerability {
            severity: REPORT.severity(&format!("{namespace}/{name}"), &found.vulnerability_id, &found.severity)?,
            id: found.vulnerability_id,
            aliases: Vec::new(),
            package: text(found.resource),
            fixed_in: text(found.fixed_version),
            published: found.published_date.as_deref().and_then(time::parse),
        })
    });
    let vulnerabilities = vulnerabilities.collect::<Answer<Vec<_>>>()?;
    let at = report.update_timestamp.as_deref().and_then(time::parse).filter(|at| time::is_plausible(*at));
    Ok(Scan::of_report(REPORT.source(namespace, name), at, vulnerabilities))
}
