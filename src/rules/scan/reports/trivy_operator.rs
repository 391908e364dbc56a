//! VulnerabilityReports of Aqua's Trivy operator (`aquasecurity.github.io/v1alpha1`), one for each container of each
//! workload that has run, in the namespace of the workload.
//!
//! They are named after ReplicaSets, so the names are not known in advance. The identities of all reports are listed, and the
//! reports about the image are fetched by name. Every one of them counts: people who may write to the namespace of a workload
//! can write a newer report there, and it must not hide another one.

use std::cell::OnceCell;
use std::collections::HashMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::resource::{List, Metadata, nullable, once};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::time;
use crate::image::Reference;
use crate::json::{self, Object};
use crate::rules::scan::image::{Relation, ScannedImage};
use crate::rules::scan::reported::{MAX_LOOKUPS, Reported};
use crate::rules::scan::result::{Count, Scan, Severity, Vulnerability};

const REPORT: Resource = Resource {
    api_version: "aquasecurity.github.io/v1alpha1",
    kind: "VulnerabilityReport",
    product: "Trivy operator",
    rbac: "deploy/rbac/trivy-operator.yaml",
};

const IDENTITY: [&str; 4] = ["report.artifact", "report.registry.server", "report.summary", "report.updateTimestamp"];

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
    #[serde(default, deserialize_with = "if_readable")]
    summary: Option<Summary>,
}

/// How many vulnerabilities of each severity a report names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    critical_count: u64,
    high_count: u64,
    medium_count: u64,
    low_count: u64,
    unknown_count: u64,
}

/// Reads a summary, or nothing if it is invalid. Most summaries are never used, and an invalid one must not hide the other reports
/// of the list.
fn if_readable<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Summary>, D::Error> {
    let json = <&RawValue>::deserialize(deserializer)?;
    Ok(serde_json::from_str(json.get()).ok().map(|Object(summary)| summary))
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

/// The most reports about one image that are judged. The newest [`MAX_LOOKUPS`] are read in full, the others only by their
/// summaries. There is one for each workload with the image, which may be a sidecar of many workloads.
const MAX_REPORTS: usize = 512;

/// A report that was located, and the image that it is about.
struct ListedReport {
    name: String,
    /// The digest that was scanned, or the digest of the configuration. Empty if the report does not say.
    digest: String,
    /// The normalised name with the tag that was scanned, if the report gives one.
    tagged: Option<String>,
    at: Option<DateTime<Utc>>,
    summary: Option<Summary>,
    /// Its scan, once it is fetched. Many containers may need it.
    full: OnceCell<Answer<Option<Scan>>>,
    /// The scan of its summary, once it is needed.
    counted: OnceCell<Answer<Option<Scan>>>,
}

/// The reports of each namespace that has been read.
#[derive(Default)]
pub(super) struct Index(HashMap<String, Answer<Vec<ListedReport>>>);

impl Index {
    /// The scans of the reports about an image: those about one of its digests, and those about its tag that name no digest.
    pub(super) fn scans(
        &mut self,
        cluster: &mut Cluster<'_>,
        namespace: &str,
        image: &ScannedImage<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Reported> {
        let mut reported = Reported::default();
        let located = once(&mut self.0, namespace.to_owned(), || locate(cluster, namespace))?;
        let mut about = about(located, image, registry, &mut reported);
        // The newest first, then by name: the order of a list is not stable.
        about.sort_by(|(_, a), (_, b)| b.at.cmp(&a.at).then_with(|| a.name.cmp(&b.name)));
        let count = about.len();
        if count > MAX_REPORTS {
            reported.fail(&format!("there are {count} reports about it; at most {MAX_REPORTS} are read"));
            about.truncate(MAX_REPORTS);
        }
        for (index, (relation, report)) in about.into_iter().enumerate() {
            let scan = if index < MAX_LOOKUPS {
                report.full.get_or_init(|| scan(cluster, namespace, &report.name))
            } else {
                report.counted.get_or_init(|| scan_by_summary(namespace, report).map(Some))
            };
            reported.add(scan.clone().map(|scan| scan?.of(relation)));
        }
        Ok(reported)
    }
}

/// Locates the reports of a namespace.
fn locate(cluster: &mut Cluster<'_>, namespace: &str) -> Answer<Vec<ListedReport>> {
    let bytes = cluster.list(&REPORT, namespace, &IDENTITY)?;
    let located = |Identity { metadata, report }: Identity| {
        let Artifact { repository, tag, digest } = report.artifact;
        let server = if report.registry.server.is_empty() { "docker.io" } else { &report.registry.server };
        let name = format!("{server}/{repository}:{tag}");
        ListedReport {
            name: metadata.name,
            digest,
            tagged: Reference::parse(&name).ok().map(|reference| reference.normalized()),
            at: at(report.update_timestamp.as_deref()),
            summary: report.summary,
            full: OnceCell::new(),
            counted: OnceCell::new(),
        }
    };
    Ok(REPORT.parse::<List<Identity>>(namespace, &bytes)?.items.into_iter().map(located).collect())
}

/// The reports that are about an image, by one of its digests or, without a digest, by its tag.
fn about<'l>(
    located: &'l [ListedReport],
    image: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
    reported: &mut Reported,
) -> Vec<(Relation, &'l ListedReport)> {
    let with_digest = located.iter().filter(|report| !report.digest.is_empty());
    let mut about = image.related(with_digest, |report| &report.digest, registry, reported);
    let tagged = image.image.tagged();
    let is_about =
        |report: &&ListedReport| report.digest.is_empty() && report.tagged.is_some() && report.tagged == tagged;
    let mut by_tag = located.iter().filter(is_about).peekable();
    // A runtime ignores a tag beside a digest, so a requester can write any tag there.
    match by_tag.peek().map_or(Ok(false), |_| is_tag_of(image, registry)) {
        Ok(true) => about.extend(by_tag.map(|report| (Relation::Same, report))),
        Ok(false) => {}
        Err(cause) => reported.fail(&cause),
    }
    about
}

/// Whether the tag of an image points at the digest that is judged.
fn is_tag_of(image: &ScannedImage<'_>, registry: &mut Registry<'_>) -> Answer<bool> {
    match (image.image.digest(), image.image.tagged()) {
        (Some(digest), Some(tagged)) => Ok(registry.digest(&tagged)? == digest.as_str()),
        _ => Ok(true),
    }
}

fn scan(cluster: &mut Cluster<'_>, namespace: &str, name: &str) -> Answer<Option<Scan>> {
    // It may have been deleted since it was listed.
    let Some(bytes) = cluster.get(&REPORT, namespace, name, &FIELDS)? else { return Ok(None) };
    let what = format!("{namespace}/{name}");
    let VulnerabilityReport { report } = REPORT.parse(&what, &bytes)?;
    let text = |text: Option<String>| text.filter(|text| !text.is_empty());
    let vulnerabilities = report.vulnerabilities.into_iter().map(|found| {
        Ok(Vulnerability {
            severity: REPORT.severity(&what, &found.vulnerability_id, &found.severity)?,
            id: found.vulnerability_id,
            aliases: Vec::new(),
            package: text(found.resource),
            fixed_in: text(found.fixed_version),
            published: found.published_date.as_deref().and_then(time::parse),
        })
    });
    let vulnerabilities = vulnerabilities.collect::<Answer<Vec<_>>>()?;
    let at = at(report.update_timestamp.as_deref());
    Ok(Some(Scan::of_report(REPORT.source(namespace, name), at, vulnerabilities)))
}

/// The scan of the summary of a report, for reports beyond [`MAX_LOOKUPS`].
fn scan_by_summary(namespace: &str, report: &ListedReport) -> Answer<Scan> {
    let name = &report.name;
    let Some(summary) = report.summary else {
        return Err(format!(
            "{} of {} cannot be read: it has no `summary` with a count of each severity, which is needed for more than \
             {MAX_LOOKUPS} reports about the image",
            REPORT.called(&format!("{namespace}/{name}")),
            REPORT.product
        ));
    };
    let counts = [
        (Severity::Critical, summary.critical_count),
        (Severity::High, summary.high_count),
        (Severity::Medium, summary.medium_count),
        (Severity::Low, summary.low_count),
        (Severity::Unknown, summary.unknown_count),
    ];
    let counts = counts.into_iter().filter(|(_, all)| *all > 0);
    let counted =
        counts.map(|(severity, all)| Count { severity, all, fixable: all, is_fixable_known: false }).collect();
    let source = REPORT.source(namespace, name);
    let source = format!("the summary of {source}, one of more than {MAX_LOOKUPS} reports about the image");
    Ok(Scan { counted, is_summary: true, ..Scan::of_report(source, report.at, Vec::new()) })
}

/// When a report was written, if it says so.
fn at(timestamp: Option<&str>) -> Option<DateTime<Utc>> {
    timestamp.and_then(time::parse).filter(|at| time::is_plausible(*at))
}
