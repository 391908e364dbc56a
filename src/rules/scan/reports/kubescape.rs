//! VulnerabilityManifests of Kubescape (`spdx.softwarecomposition.kubescape.io/v1beta1`), which hold the document that
//! Anchore's Grype prints. They are in Kubescape's own namespace, and a VulnerabilityManifestSummary in the namespace of
//! each workload refers to them.
//!
//! Both are found by the image id in an annotation, because Kubescape's API server includes only metadata in lists. A
//! manifest that is labelled `filtered` covers only what was loaded into memory, and does not count beside a complete one.
//!
//! People who may write to the namespace of a workload can write summaries. So a summary is followed to Kubescape's own namespace
//! only, and only to a manifest about the same digest. Every summary counts, so that none hides another one.

use std::collections::{BTreeSet, HashMap, HashSet};

use serde::Deserialize;

use super::resource::{List, Metadata, nullable, once};
use crate::evidence::Answer;
use crate::evidence::cluster::{Cluster, Resource};
use crate::evidence::registry::Registry;
use crate::evidence::time;
use crate::json;
use crate::rules::scan::image::{Relation, ScannedImage};
use crate::rules::scan::reported::{MAX_LOOKUPS, Reported};
use crate::rules::scan::result::{Scan, Vulnerability};
use crate::sanitized::Sanitized;

const API_VERSION: &str = "spdx.softwarecomposition.kubescape.io/v1beta1";

const MANIFEST: Resource = Resource {
    api_version: API_VERSION,
    kind: "VulnerabilityManifest",
    product: "Kubescape",
    rbac: "deploy/rbac/kubescape.yaml",
};

const SUMMARY: Resource = Resource { kind: "VulnerabilityManifestSummary", ..MANIFEST };

/// The namespace of Kubescape's manifests, unless it is installed elsewhere. The namespace in a summary is ignored: the author of
/// the summary may own that namespace, and Kubescape writes the workload's own namespace there.
const HOME: &str = "kubescape";

/// Advice for summaries that do not lead to a manifest.
const ADVICE: &str = "give the namespace of Kubescape in `scan.reports`";

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

/// The annotations and labels of a resource.
#[derive(Deserialize)]
struct Marks {
    #[serde(default)]
    annotations: Option<HashMap<String, Option<String>>>,
    #[serde(default)]
    labels: Option<HashMap<String, Option<String>>>,
}

impl Marks {
    /// The digest of the image that the resource is about, and whether it is labelled `filtered`. Nothing if it names no image.
    fn read(self) -> Option<(String, bool)> {
        let image_id = self.annotations?.remove(IMAGE_ID)??;
        let (_, digest) = image_id.rsplit_once('@')?;
        let context = self.labels.and_then(|mut labels| labels.remove(CONTEXT)).flatten();
        Some((digest.to_owned(), context.as_deref() == Some("filtered")))
    }
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
    name: String,
}

#[derive(Deserialize)]
struct VulnerabilityManifest {
    #[serde(default, deserialize_with = "json::optional_object")]
    metadata: Option<Marks>,
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

/// Since when a fix is available. Grype does not give the day of publication, and this day is the nearest to it.
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

/// The identities of the resources in the cluster, by kind and namespace.
#[derive(Default)]
pub(super) struct Index(HashMap<(&'static str, String), Answer<Vec<LocatedManifest>>>);

/// A resource, and the image that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LocatedManifest {
    name: String,
    digest: String,
    /// Whether it covers only what was loaded into memory.
    filtered: bool,
}

impl Index {
    /// The scans of an image from the manifests of a namespace.
    pub(super) fn scans(
        &mut self,
        cluster: &mut Cluster<'_>,
        (namespace, is_own): (&str, bool),
        image: &ScannedImage<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Reported> {
        let mut reported = Reported::default();
        let located = self.located(cluster, &MANIFEST, namespace)?;
        let about = image.related(located, |manifest| &manifest.digest, registry, &mut reported);
        // Complete manifests first, so that they are within the limit.
        let (mut filtered, mut about): (Vec<_>, Vec<_>) =
            about.into_iter().partition(|(_, manifest)| manifest.filtered);
        if !is_own {
            let complete: HashSet<Option<&str>> = about.iter().map(|about| image_of(about)).collect();
            filtered.retain(|about| !complete.contains(&image_of(about)));
        }
        about.append(&mut filtered);
        for (relation, manifest) in reported.few(about) {
            let scan = manifest_of(cluster, namespace, &manifest.name);
            reported.add(scan.map(|manifest| manifest?.scan.of(relation)));
        }
        Ok(reported)
    }

    /// The scans of an image from the manifests to which the summaries in the workload's namespace refer.
    pub(super) fn scans_by_summaries(
        &mut self,
        cluster: &mut Cluster<'_>,
        namespace: &str,
        image: &ScannedImage<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Reported> {
        let is_own = namespace == HOME;
        let mut reported = Reported::default();
        let located = self.located(cluster, &SUMMARY, namespace)?;
        let summaries = image.related(located, |summary| &summary.digest, registry, &mut reported);
        let count = summaries.len();
        if count <= MAX_LOOKUPS {
            // They are sorted by digest.
            for about in summaries.chunk_by(|(_, a), (_, b)| a.digest == b.digest) {
                follow(cluster, (namespace, is_own), about, &mut reported);
            }
            return Ok(reported);
        }
        // Too many to follow. Any of them may refer to the manifest, so the manifest is searched for instead.
        let mut reported = self.scans(cluster, (HOME, is_own), image, registry)?;
        reported.scans.iter_mut().for_each(|scan| scan.is_own = is_own);
        if reported.scans.is_empty() {
            reported.reject(&format!(
                "{ADVICE}: there are {count} VulnerabilityManifestSummaries about it in `{namespace}`, but no \
                 VulnerabilityManifest in `{HOME}`"
            ));
        }
        Ok(reported)
    }

    fn located(
        &mut self,
        cluster: &mut Cluster<'_>,
        resource: &Resource,
        namespace: &str,
    ) -> Answer<&[LocatedManifest]> {
        let read = || {
            let bytes = cluster.list(resource, namespace, &["metadata"])?;
            let identities: List<Identity> = resource.parse(namespace, &bytes)?;
            let mut located: Vec<LocatedManifest> = identities.items.into_iter().filter_map(locate).collect();
            located.sort_unstable_by(|a, b| (&a.digest, &a.name).cmp(&(&b.digest, &b.name)));
            Ok(located)
        };
        once(&mut self.0, (resource.kind, namespace.to_owned()), read)
    }
}

/// The identity of a resource. Nothing if it names no image.
fn locate(Identity { metadata: Metadata { name, annotations, labels } }: Identity) -> Option<LocatedManifest> {
    let (digest, filtered) = Marks { annotations, labels }.read()?;
    Some(LocatedManifest { name, digest, filtered })
}

/// The image for which a complete manifest replaces the filtered ones. Nothing for the judged image, which may have several digests.
fn image_of<'l>((relation, manifest): &(Relation, &'l LocatedManifest)) -> Option<&'l str> {
    (*relation != Relation::Same).then_some(&manifest.digest)
}

/// Follows the summaries of a namespace that are about one digest. Every workload that runs an image has a summary, which is
/// labelled `filtered` itself, and most refer to the same manifest. Some may refer to a filtered manifest, to one about another
/// image, or to one that is missing. That is a failure only if none refers to a complete manifest about the digest.
fn follow(
    cluster: &mut Cluster<'_>,
    (namespace, is_own): (&str, bool),
    summaries: &[(Relation, &LocatedManifest)],
    reported: &mut Reported,
) {
    let (mut names, mut found, mut first_problem) = (BTreeSet::new(), Vec::new(), None);
    for (relation, summary) in summaries {
        let summary_name = format!("{namespace}/{}", summary.name);
        let name = match cluster.get(&SUMMARY, namespace, &summary.name, &["spec.vulnerabilitiesRef.all"]) {
            Ok(Some(bytes)) => SUMMARY.parse::<Summary>(&summary_name, &bytes),
            // Deleted since it was listed.
            Ok(None) => continue,
            Err(cause) => {
                reported.fail(&cause);
                continue;
            }
        };
        let name = match name {
            Ok(Summary { spec }) => spec.vulnerabilities_ref.all.name,
            Err(cause) => {
                reported.reject(&cause);
                continue;
            }
        };
        if !names.insert(name.clone()) {
            continue;
        }
        let manifest = if is_name(&name) { manifest_of(cluster, HOME, &name) } else { Ok(None) };
        let problem = match manifest {
            Ok(Some(manifest)) if manifest.digest.as_ref() == Some(&summary.digest) => {
                found.push((*relation, manifest));
                continue;
            }
            Ok(Some(_)) => format!("is about another image in `{HOME}`"),
            Ok(None) => format!("is not in `{HOME}`"),
            Err(cause) => {
                reported.fail(&cause);
                continue;
            }
        };
        first_problem.get_or_insert_with(|| {
            format!(
                "{ADVICE}: VulnerabilityManifest `{}`, to which {} refers, {problem}",
                Sanitized(&name),
                SUMMARY.called(&summary_name)
            )
        });
    }
    let has_complete = found.iter().any(|(_, manifest)| !manifest.filtered);
    for (relation, manifest) in found {
        if is_own || !has_complete || !manifest.filtered {
            // Kubescape's own summaries refer to complete manifests.
            let is_own = is_own || manifest.filtered;
            reported.scans.extend(manifest.scan.of(relation).map(|scan| Scan { is_own, ..scan }));
        }
    }
    if let Some(cause) = first_problem.filter(|_| !has_complete) {
        reported.reject(&cause);
    }
}

/// Whether a text can be the name of a resource (a DNS subdomain by RFC 1123). Names become parts of paths, and a name with a
/// slash could lead into another namespace.
fn is_name(text: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let ends = [text.bytes().next(), text.bytes().next_back()];
    text.len() <= 253
        && ends.iter().all(|byte| byte.is_some_and(is_inner))
        && text.bytes().all(|byte| is_inner(byte) || matches!(byte, b'-' | b'.'))
}

/// A manifest that was read.
struct Manifest {
    /// The digest of the image that it is about, if it names one.
    digest: Option<String>,
    filtered: bool,
    scan: Scan,
}

fn manifest_of(cluster: &mut Cluster<'_>, namespace: &str, name: &str) -> Answer<Option<Manifest>> {
    let Some(bytes) = cluster.get(&MANIFEST, namespace, name, &FIELDS)? else { return Ok(None) };
    let what = format!("{namespace}/{name}");
    let VulnerabilityManifest { metadata, spec } = MANIFEST.parse(&what, &bytes)?;
    let created = spec.metadata.and_then(|metadata| metadata.report).and_then(|report| report.created_at);
    let scanned = spec.payload.descriptor.and_then(|descriptor| descriptor.timestamp);
    // If Kubescape does not set the time, it is Go's zero time.
    let at =
        [scanned, created].iter().flatten().filter_map(|text| time::parse(text)).find(|at| time::is_plausible(*at));
    let vulnerabilities = spec.payload.matches.into_iter().map(|found| vulnerability(&what, found));
    let vulnerabilities = vulnerabilities.collect::<Answer<Vec<_>>>()?;
    let scan = Scan::of_report(MANIFEST.source(namespace, name), at, vulnerabilities);
    let (digest, filtered) = metadata.and_then(Marks::read).unzip();
    Ok(Some(Manifest { digest, filtered: filtered.unwrap_or_default(), scan }))
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
