//! VulnerabilityManifests of Kubescape (`spdx.softwarecomposition.kubescape.io/v1beta1`), which hold the document that
//! Anchore's Grype prints. They stand in Kubescape's own namespace, and a VulnerabilityManifestSummary in the namespace of
//! each workload refers to them.
//!
//! Both are found by the image id in an annotation: Kubescape's API server leaves everything but metadata out of lists. A
//! manifest that is labelled `filtered` holds only what was loaded into memory, and does not count where there is a whole
//! one.
//!
//! Who may write to the namespace of a workload can write summaries. So a summary leads to Kubescape's own namespace only,
//! and only to a manifest about the digest that the summary is about; and every summary counts, so that none hides another
//! one.

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

/// Where Kubescape keeps its manifests, unless it is installed elsewhere. The namespace that a summary names is not looked
/// at: who writes the summary may own that namespace. Kubescape is known to write that of the workload.
const HOME: &str = "kubescape";

/// What to do where a manifest is not found by way of summaries.
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

/// What a resource says of itself beside its name.
#[derive(Deserialize)]
struct Marks {
    #[serde(default)]
    annotations: Option<HashMap<String, Option<String>>>,
    #[serde(default)]
    labels: Option<HashMap<String, Option<String>>>,
}

impl Marks {
    /// The digest of the image that it is about, and whether it is labelled `filtered`. Nothing where it does not say which
    /// image it is about.
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
pub(super) struct Index(HashMap<(&'static str, String), Answer<Vec<LocatedManifest>>>);

/// A resource, and the image that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
struct LocatedManifest {
    name: String,
    digest: String,
    /// Whether it holds only what was loaded into memory.
    filtered: bool,
}

impl Index {
    /// What the manifests of a namespace say of an image.
    pub(super) fn scans(
        &mut self,
        cluster: &mut Cluster<'_>,
        (namespace, is_own): (&str, bool),
        image: &ScannedImage<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Reported> {
        let mut reported = Reported::default();
        let located = self.located(cluster, &MANIFEST, namespace)?;
        let mut about = image.related(located, |manifest| &manifest.digest, registry, &mut reported);
        // Those first that nothing takes the place of.
        about.sort_by_key(|(_, manifest)| manifest.filtered);
        if !is_own {
            let whole: HashSet<Option<&str>> =
                about.iter().filter(|(_, manifest)| !manifest.filtered).map(|about| image_of(about)).collect();
            about.retain(|about| !about.1.filtered || !whole.contains(&image_of(about)));
        }
        for (relation, manifest) in reported.few(about) {
            let scan = manifest_of(cluster, namespace, &manifest.name);
            reported.add(scan.map(|manifest| manifest?.scan.of(relation)));
        }
        Ok(reported)
    }

    /// What the manifests say of an image to which the summaries of the workload's namespace lead.
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
        // Any of them may be the one that leads to the manifest, so that it is looked for itself.
        let mut reported = self.scans(cluster, (HOME, is_own), image, registry)?;
        reported.scans.iter_mut().for_each(|scan| scan.is_own = is_own);
        if reported.scans.is_empty() {
            reported.reject(&format!(
                "{ADVICE}: there are {count} VulnerabilityManifestSummaries about it in `{namespace}`, and no \
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

/// Nothing where it does not say which image it is about.
fn locate(Identity { metadata: Metadata { name, annotations, labels } }: Identity) -> Option<LocatedManifest> {
    let (digest, filtered) = Marks { annotations, labels }.read()?;
    Some(LocatedManifest { name, digest, filtered })
}

/// The image that a manifest is about, for which a whole one takes the place of those that are filtered. The digests of the
/// image that is judged are all its own.
fn image_of<'l>((relation, manifest): &(Relation, &'l LocatedManifest)) -> Option<&'l str> {
    (*relation != Relation::Same).then_some(&manifest.digest)
}

/// Follows the summaries of a namespace that are about one digest. Every workload that runs an image has a summary, which is
/// labelled `filtered` itself, and most lead to the same manifest. Some may lead to one that is filtered, to one about
/// something else, or to nothing: that is a failure only where none leads to a whole manifest about the digest.
fn follow(
    cluster: &mut Cluster<'_>,
    (namespace, is_own): (&str, bool),
    summaries: &[(Relation, &LocatedManifest)],
    reported: &mut Reported,
) {
    let (mut names, mut found, mut astray) = (BTreeSet::new(), Vec::new(), None);
    for (relation, summary) in summaries {
        let summary_name = format!("{namespace}/{}", summary.name);
        let name = match cluster.get(&SUMMARY, namespace, &summary.name, &["spec.vulnerabilitiesRef.all"]) {
            Ok(Some(bytes)) => SUMMARY.parse::<Summary>(&summary_name, &bytes),
            // It was deleted since it was listed.
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
        let where_to = match manifest {
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
        astray.get_or_insert_with(|| {
            format!(
                "{ADVICE}: VulnerabilityManifest `{}`, to which {} refers, {where_to}",
                Sanitized(&name),
                SUMMARY.called(&summary_name)
            )
        });
    }
    let has_whole = found.iter().any(|(_, manifest)| !manifest.filtered);
    for (relation, manifest) in found {
        if is_own || !has_whole || !manifest.filtered {
            // Kubescape's own summaries lead to whole manifests.
            let is_own = is_own || manifest.filtered;
            reported.scans.extend(manifest.scan.of(relation).map(|scan| Scan { is_own, ..scan }));
        }
    }
    if let Some(cause) = astray.filter(|_| !has_whole) {
        reported.reject(&cause);
    }
}

/// Whether a text can be the name of a resource (a DNS subdomain by RFC 1123). Names become parts of paths, and one with a
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
    /// The digest of the image that it is about, where it says so.
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
    // Kubescape leaves the time at Go's zero where it does not set it.
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
