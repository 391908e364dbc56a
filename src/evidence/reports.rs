//! Reports of scanners in the cluster. Each source turns one shape of resource into the common [`Scan`]s.

mod kubescape;
mod quay;
mod sbomscanner;
mod trivy_operator;

use std::collections::HashMap;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use super::cluster::{Cluster, Resource};
use super::registry::{ImageFacts, Registry};
use super::scan::{Scan, Severity};
use super::{Answer, annotations};
use crate::host::Host;
use crate::image::Reference;
use crate::settings::read::{Path, Problems, Setting, read_string, read_word, section};
use crate::shown::Shown;

section! {
    /// Reports of the cluster to read.
    pub struct ReportSource {
        required {
            /// Who writes them.
            "source" source: Source,
        }
        /// The namespace that they are in; the workload's own if left out.
        "namespace" namespace: Option<Namespace> = None,
    }
}

impl Eq for ReportSource {}

impl std::hash::Hash for ReportSource {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        (self.source, &self.namespace).hash(state);
    }
}

/// Who writes reports into the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// Kubewarden's SBOMscanner, which scans with Trivy.
    Sbomscanner,
    /// Aqua's Trivy operator.
    TrivyOperator,
    /// Quay's container security operator, which tells what Clair found.
    Quay,
    /// Kubescape, which scans with Anchore's Grype.
    Kubescape,
}

impl Setting for Source {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let words = [
            ("sbomscanner", Self::Sbomscanner),
            ("trivyOperator", Self::TrivyOperator),
            ("quay", Self::Quay),
            ("kubescape", Self::Kubescape),
        ];
        read_word(json, at, &words, problems)
    }
}

/// The name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(String);

impl Setting for Namespace {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = read_string(json, at, "the name of a namespace", problems)?;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [name.bytes().next(), name.bytes().next_back()];
        // A DNS label (RFC 1123).
        if name.len() > 63
            || !ends.iter().all(|byte| byte.is_some_and(inner))
            || !name.bytes().all(|byte| inner(byte) || byte == b'-')
        {
            problems.push(at, format_args!("`{name}` is no name of a namespace; write one such as `sbomscanner`"));
            return None;
        }
        Some(Self(name))
    }
}

/// The image that scan results are wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The image, as it is written.
    pub image: &'s Reference<'s>,
    /// The digest that is judged.
    pub digest: &'s str,
    /// The digest of its manifest, which for an index is that of one of its images.
    manifest: Option<&'s str>,
    /// The digest of its configuration.
    config: Option<&'s str>,
}

impl<'s> Subject<'s> {
    /// The image of which a registry said this.
    #[must_use]
    pub fn new(image: &'s Reference<'s>, digest: &'s str, facts: &'s ImageFacts) -> Self {
        Self { image, digest, manifest: facts.digest.as_deref(), config: facts.config_digest.as_deref() }
    }

    /// Whether a digest is of the image that is judged: its own, that of its configuration, or that of an image in its
    /// index.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn is(&self, digest: &str, registry: &mut Registry<'_>) -> Answer<bool> {
        if [Some(self.digest), self.manifest, self.config].contains(&Some(digest)) {
            return Ok(true);
        }
        Ok(self.manifests(registry)?.iter().any(|manifest| manifest == digest))
    }

    /// The digests of the images in its index; none where it is a single image.
    fn manifests<'r>(&self, registry: &'r mut Registry<'_>) -> Answer<&'r [String]> {
        registry.manifests(&self.image.with_digest(self.digest))
    }
}

/// The reports of the cluster, as far as they have been read.
pub struct Reports<'r> {
    cluster: Cluster<'r>,
    /// The namespace of the workload.
    namespace: Option<&'r str>,
    trivy_operator: HashMap<String, Answer<Vec<trivy_operator::Located>>>,
    kubescape: kubescape::Index,
    found: HashMap<(ReportSource, String), Answer<Vec<Scan>>>,
}

impl<'r> Reports<'r> {
    /// Reports for a workload in a namespace; none has been read yet.
    #[must_use]
    pub fn new(host: &'r dyn Host, namespace: Option<&'r str>) -> Self {
        Self {
            cluster: Cluster::new(host),
            namespace,
            trivy_operator: HashMap::new(),
            kubescape: kubescape::Index::default(),
            found: HashMap::new(),
        }
    }

    /// What a source says of an image.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn of(&mut self, source: &ReportSource, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<&[Scan]> {
        let key =
            (source.clone(), format!("{} {:?}", subject.image.with_digest(subject.digest), subject.image.tagged()));
        if !self.found.contains_key(&key) {
            let scans = self.read(source, subject, registry);
            self.found.insert(key.clone(), scans);
        }
        self.found.get(&key).map_or(Ok(&[]), |scans| scans.as_deref().map_err(Clone::clone))
    }

    fn read(
        &mut self,
        ReportSource { source, namespace }: &ReportSource,
        subject: &Subject<'_>,
        registry: &mut Registry<'_>,
    ) -> Answer<Vec<Scan>> {
        let own = self.namespace.ok_or("the request names no namespace to look for reports in");
        let named = namespace.as_ref().map(|Namespace(name)| name.as_str());
        let namespace = named.map_or(own, Ok)?;
        match source {
            Source::Sbomscanner => sbomscanner::scans(&mut self.cluster, namespace, subject, registry),
            Source::Quay => quay::scans(&mut self.cluster, namespace, subject, registry),
            Source::TrivyOperator => {
                let cluster = &mut self.cluster;
                let located = self.trivy_operator.entry(namespace.to_owned());
                let located = located.or_insert_with(|| trivy_operator::locate(cluster, namespace));
                let located = located.as_deref().map_err(Clone::clone)?;
                trivy_operator::scans(cluster, namespace, located, subject, registry)
            }
            Source::Kubescape => {
                self.kubescape.scans(&mut self.cluster, (namespace, named.is_some()), subject, registry)
            }
        }
    }
}

/// Reads a list of a report. Go writes null for one without items; one that is not there at all is no clean report.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// A list of resources.
#[derive(Deserialize)]
struct List<T> {
    items: Vec<T>,
}

/// What identifies a resource.
#[derive(Deserialize)]
struct Metadata {
    name: String,
    #[serde(default)]
    annotations: Option<HashMap<String, Option<String>>>,
    #[serde(default)]
    labels: Option<HashMap<String, Option<String>>>,
}

impl Resource {
    /// Reads a resource, or a list of them.
    fn parse<T: for<'a> Deserialize<'a>>(&self, what: &str, bytes: &[u8]) -> Answer<T> {
        let cannot = |cause: &str| format!("{} of {} cannot be read: {cause}", self.called(what), self.product);
        let text = std::str::from_utf8(bytes).map_err(|_| cannot("it is no text"))?;
        // To track the path of what is wrong would make the module larger by a tenth.
        serde_json::from_str(text).map_err(|cause| cannot(&Shown(&cause.to_string()).to_string()))
    }

    /// What messages call a resource: its kind, and its namespace and name.
    fn called(&self, what: &str) -> String {
        format!("{} `{}`", self.kind, Shown(what))
    }

    /// What messages say of where a scan stands.
    fn source(&self, namespace: &str, name: &str) -> String {
        format!("{} of {}", self.called(&format!("{namespace}/{name}")), self.product)
    }

    /// The severity by the word of a report. A word that is not known might be the worst of all.
    fn severity(&self, what: &str, id: &str, word: &str) -> Answer<Severity> {
        Severity::of(word).ok_or_else(|| {
            let (id, word) = (Shown(id), Shown(word));
            format!(
                "{} of {} cannot be read: {id} has the severity `{word}`, which is none",
                self.called(what),
                self.product
            )
        })
    }
}

/// What the labels and annotations of an image say of scans: the annotations of the manifest first, each in the order of
/// their keys.
///
/// # Errors
/// Why it cannot be known which image they are about.
pub fn of_image(facts: &ImageFacts, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<Vec<Scan>> {
    use annotations::Place;
    let mut scans = Vec::new();
    for (place, entries) in [(Place::Manifest, &facts.annotations), (Place::Config, &facts.labels)] {
        for (key, value) in entries.iter().filter(|(key, _)| annotations::is_about_scans(key)) {
            let Some(statement) = annotations::read(key, value, place) else { continue };
            scans.extend(statement.about(subject, registry)?);
        }
    }
    Ok(scans)
}

impl annotations::Statement {
    /// What it says of an image; nothing where it is about another.
    ///
    /// # Errors
    /// Why it cannot be known which image it is about.
    pub fn about(self, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<Option<Scan>> {
        let is_about = self.image.as_deref().map_or(Ok(true), |digest| subject.is(digest, registry))?;
        Ok(is_about.then_some(self.scan))
    }
}

#[cfg(test)]
mod tests;
