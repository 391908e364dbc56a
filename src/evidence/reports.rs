//! Reports of scanners in the cluster. Each source turns one shape of resource into the common [`Scan`]s.

mod kubescape;
mod quay;
mod sbomscanner;
mod trivy_operator;

use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::rc::Rc;

use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::cluster::{Cluster, Resource};
use super::registry::{ImageFacts, Registry};
use super::scan::{Scan, Severity};
use super::{Answer, annotations};
use crate::host::Host;
use crate::image::Reference;
use crate::json::{self, Object};
use crate::settings::read::{Path, Problems, Setting, Words, read_string, section};
use crate::settings::shape::Shape;
use crate::shown::Shown;

section! {
    /// Reports of the cluster to read.
    pub struct ReportSource {
        required {
            /// The scanner that writes them.
            "source" source: Source,
        }
        /// The namespace that they are in; the workload's own if left out. Reports in the workload's own namespace can keep
        /// an image out, and do not satisfy `require`, because people who may create workloads there may be able to write
        /// them, too. Kubescape's are then those in the namespace `kubescape` to which summaries in the workload's own
        /// namespace lead.
        "namespace" namespace: Option<Namespace> = None,
    }
}

impl Eq for ReportSource {}

impl ReportSource {
    /// Whether its reports are in the namespaces of the workloads that they are about.
    #[must_use]
    pub fn is_in_namespaces_of_workloads(&self) -> bool {
        self.namespace.is_none() && !self.is_read_by_summaries()
    }

    /// Whether summaries in the namespaces of the workloads lead to its reports.
    fn is_read_by_summaries(&self) -> bool {
        self.namespace.is_none() && self.source == Source::Kubescape
    }

    fn namespace(&self) -> Option<&str> {
        self.namespace.as_ref().map(|Namespace(name)| name.as_str())
    }

    /// Whether its reports may be about a tag.
    #[must_use]
    pub fn heeds_tags(&self) -> bool {
        self.source == Source::TrivyOperator
    }
}

impl Hash for ReportSource {
    fn hash<H: Hasher>(&self, state: &mut H) {
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

impl Words for Source {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("sbomscanner", Self::Sbomscanner),
        ("trivyOperator", Self::TrivyOperator),
        ("quay", Self::Quay),
        ("kubescape", Self::Kubescape),
    ];
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

    fn shape() -> Shape {
        Shape::text("name of a namespace", "names of namespaces", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    }

    fn written(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The most reports about one image, and the most images of its index, that are looked up: each is a question to the cluster,
/// and whoever pushes an index says how many there are.
const MOST_IMAGES: usize = 32;

/// What the reports of one source say of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reported {
    /// The scans of the reports that could be read.
    pub scans: Vec<Scan>,
    /// The first cause for which reports could not be read. It takes nothing away from the scans: else a report that cannot
    /// be read would hide the others.
    pub failure: Option<String>,
    /// Whether a scan that satisfies `require` may be missing for it.
    pub is_incomplete: bool,
}

impl Reported {
    /// Adds what one report says.
    fn add(&mut self, scan: Answer<Option<Scan>>) {
        match scan {
            Ok(scan) => self.scans.extend(scan),
            Err(cause) => self.fail(&cause),
        }
    }

    /// Adds the cause for which something could not be read.
    fn fail(&mut self, cause: &str) {
        self.reject(cause);
        self.is_incomplete = true;
    }

    /// Adds what is wrong with something in the workload's own namespace. What is missing for it is not excused: people who
    /// may write there choose what is wrong.
    fn reject(&mut self, cause: &str) {
        self.failure.get_or_insert_with(|| cause.to_owned());
    }

    /// As many reports as are looked up. It is a failure if there are more.
    fn few<T>(&mut self, mut reports: Vec<T>) -> Vec<T> {
        let count = reports.len();
        if count > MOST_IMAGES {
            self.fail(&format!("there are {count} reports about it, of which at most {MOST_IMAGES} are looked up"));
            reports.truncate(MOST_IMAGES);
        }
        reports
    }
}

impl From<Answer<Reported>> for Reported {
    fn from(answer: Answer<Reported>) -> Self {
        answer.unwrap_or_else(|cause| Self { failure: Some(cause), is_incomplete: true, ..Self::default() })
    }
}

/// The image that scan results are wanted for.
#[derive(Debug, Clone, Copy)]
pub struct Subject<'s> {
    /// The image, as it is written.
    image: &'s Reference<'s>,
    /// The digest that is judged, where it is known without asking.
    digest: Option<&'s str>,
    /// What its registry said of it.
    facts: &'s ImageFacts,
}

impl<'s> Subject<'s> {
    /// The image of which a registry said this. `digest` is the one that is judged, where it is known already.
    #[must_use]
    pub fn new(image: &'s Reference<'s>, digest: Option<&'s str>, facts: &'s ImageFacts) -> Self {
        Self { image, digest, facts }
    }

    /// The digest that is judged.
    fn digest(&self, registry: &mut Registry<'_>) -> Answer<String> {
        self.digest.map_or_else(|| registry.digest(&self.image.registry_name()), |digest| Ok(digest.to_owned()))
    }

    /// Whether a digest is that of a single image, and not of an index, as far as its registry said.
    fn is_single(&self, digest: &str) -> bool {
        self.facts.digest.as_deref() == Some(digest)
    }

    /// How a digest stands to the image that is judged.
    ///
    /// # Errors
    /// Why it cannot be known.
    fn relation(&self, digest: &str, registry: &mut Registry<'_>) -> Answer<Relation> {
        let mut reported = Reported::default();
        let related = self.related([digest], |digest| *digest, registry, &mut reported);
        match reported.failure {
            Some(cause) => Err(cause),
            None => Ok(related.first().map_or(Relation::Other, |(relation, _)| *relation)),
        }
    }

    /// Those of some things that are about the image that is judged, or about one in its index. There may be thousands of
    /// them, and what they are held against is made once, when the first one needs it. Where that fails, those remain that
    /// are known without it.
    fn related<T>(
        &self,
        candidates: impl IntoIterator<Item = T>,
        digest_of: impl Fn(&T) -> &str,
        registry: &mut Registry<'_>,
        reported: &mut Reported,
    ) -> Vec<(Relation, T)> {
        let own = [self.digest, self.facts.digest.as_deref(), self.facts.config_digest.as_deref()];
        let (mut judged, mut siblings) = (None, None);
        let mut related = Vec::new();
        for candidate in candidates {
            let digest = digest_of(&candidate);
            if own.contains(&Some(digest)) {
                related.push((Relation::Same, candidate));
                continue;
            }
            match judged.get_or_insert_with(|| self.digest(registry)) {
                Ok(judged) if judged == digest => {
                    related.push((Relation::Same, candidate));
                    continue;
                }
                Ok(_) => {}
                Err(cause) => {
                    reported.fail(cause);
                    continue;
                }
            }
            match siblings.get_or_insert_with(|| self.set_of_manifests(registry)) {
                Ok(siblings) if siblings.contains(digest) => related.push((Relation::Sibling, candidate)),
                Ok(_) => {}
                Err(cause) => reported.fail(cause),
            }
        }
        related
    }

    /// The digests of the images in its index; none where it is a single image.
    fn manifests<'r>(&self, registry: &'r mut Registry<'_>) -> Answer<&'r [String]> {
        let digest = self.digest(registry)?;
        registry.manifests(&self.image.with_digest(&digest))
    }

    fn set_of_manifests(&self, registry: &mut Registry<'_>) -> Answer<HashSet<String>> {
        Ok(self.manifests(registry)?.iter().cloned().collect())
    }

    /// The digests of the images in its index, each to be looked up; none where it is a single image.
    fn few_manifests<'r>(&self, registry: &'r mut Registry<'_>) -> Answer<&'r [String]> {
        let manifests = self.manifests(registry)?;
        if manifests.len() > MOST_IMAGES {
            return Err(format!(
                "its index has {} images, of which at most {MOST_IMAGES} are looked up",
                manifests.len()
            ));
        }
        Ok(manifests)
    }

    /// What tells it from other images, also from others of the same index.
    fn identity(&self) -> String {
        let name = self.digest.map_or_else(|| self.image.registry_name(), |digest| self.image.with_digest(digest));
        [&name, " ", self.facts.digest.as_deref().unwrap_or_default()].concat()
    }
}

/// How a digest stands to the image that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Relation {
    /// It is its own: of its index, of the manifest that the registry gave, or of that one's configuration.
    Same,
    /// It is of another image in its index.
    Sibling,
    /// It is of something else.
    Other,
}

/// The reports of the cluster, as far as they have been read.
pub struct Reports<'r> {
    cluster: Cluster<'r>,
    /// The namespace of the workload.
    namespace: Option<&'r str>,
    sbomscanner: HashMap<String, Answer<Vec<sbomscanner::Located>>>,
    trivy_operator: trivy_operator::Index,
    kubescape: kubescape::Index,
    found: HashMap<(ReportSource, String), Rc<Reported>>,
    said: HashMap<String, Answer<Rc<[Scan]>>>,
}

impl<'r> Reports<'r> {
    /// Reports for a workload in a namespace; none has been read yet.
    #[must_use]
    pub fn new(host: &'r dyn Host, namespace: Option<&'r str>) -> Self {
        Self {
            cluster: Cluster::new(host),
            namespace,
            sbomscanner: HashMap::new(),
            trivy_operator: trivy_operator::Index::default(),
            kubescape: kubescape::Index::default(),
            found: HashMap::new(),
            said: HashMap::new(),
        }
    }

    /// What a source says of an image.
    pub fn of(&mut self, source: &ReportSource, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Rc<Reported> {
        let key = (source.clone(), format!("{} {:?}", subject.identity(), subject.image.tagged()));
        if let Some(known) = self.found.get(&key) {
            return Rc::clone(known);
        }
        let mut reported = Reported::from(self.read(source, subject, registry));
        let is_own = source.namespace().or(self.namespace) == self.namespace;
        if is_own && !source.is_read_by_summaries() {
            // Also where the settings name that namespace.
            reported.scans.iter_mut().for_each(|scan| scan.is_own = true);
            reported.is_incomplete = false;
        }
        let reported = Rc::new(reported);
        self.found.insert(key, Rc::clone(&reported));
        reported
    }

    /// What the labels and annotations of an image itself say of scans: the annotations of the manifest first, each in the
    /// order of their keys.
    ///
    /// # Errors
    /// Why it cannot be known which image they are about.
    pub fn of_image(&mut self, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<Rc<[Scan]>> {
        let key = subject.identity();
        if let Some(known) = self.said.get(&key) {
            return known.clone();
        }
        let scans = said_by_image(subject, registry).map(Rc::from);
        self.said.insert(key, scans.clone());
        scans
    }

    fn read(&mut self, source: &ReportSource, subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<Reported> {
        let namespace = source.namespace().or(self.namespace);
        let namespace = namespace.ok_or("the request names no namespace to look for reports in")?;
        let is_own = self.namespace == Some(namespace);
        let cluster = &mut self.cluster;
        match source.source {
            Source::Sbomscanner => {
                let locate = || sbomscanner::locate(cluster, namespace);
                let located = once(&mut self.sbomscanner, namespace.to_owned(), locate)?;
                Ok(sbomscanner::scans(cluster, namespace, located, subject, registry))
            }
            Source::Quay => quay::scans(cluster, (namespace, is_own), subject, registry),
            Source::TrivyOperator => self.trivy_operator.scans(cluster, namespace, subject, registry),
            Source::Kubescape if source.is_read_by_summaries() => {
                self.kubescape.scans_by_summaries(cluster, namespace, subject, registry)
            }
            Source::Kubescape => self.kubescape.scans(cluster, (namespace, is_own), subject, registry),
        }
    }
}

/// What is known under a key, read when it is first asked for.
fn once<K: Eq + Hash, T>(
    known: &mut HashMap<K, Answer<Vec<T>>>,
    key: K,
    read: impl FnOnce() -> Answer<Vec<T>>,
) -> Answer<&[T]> {
    known.entry(key).or_insert_with(read).as_deref().map_err(Clone::clone)
}

/// Reads a list of objects. Left to themselves, they would also be read from lists of their fields' values, and an empty list
/// would be a clean report.
fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|Object(item)| item).collect())
}

/// Reads a list of objects in a report. Go writes null for one without items; one that is not there at all is no clean report.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<Object<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(items.into_iter().map(|Object(item)| item).collect())
}

/// A list of resources.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
struct List<T> {
    #[serde(deserialize_with = "objects")]
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
        let read = json::from_str(text).map(|Object(resource)| resource);
        read.map_err(|cause| cannot(&Shown(&cause.to_string()).to_string()))
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

/// The most annotations, or labels, that are judged for one image. Nobody needs more; without a bound, the pods of an attacker
/// would cost the product of their containers and their annotations.
const MOST_STATEMENTS: usize = 64;

/// The most vulnerabilities that the annotations, or the labels, about one image may name. In 256 KiB, which is what
/// Kubernetes allows for all annotations of an object, there is hardly room for more.
const MOST_NAMED: usize = 4096;

fn said_by_image(subject: &Subject<'_>, registry: &mut Registry<'_>) -> Answer<Vec<Scan>> {
    use annotations::Place;
    let mut statements = Vec::new();
    for (place, entries) in [(Place::Manifest, &subject.facts.annotations), (Place::Config, &subject.facts.labels)] {
        let entries = entries.iter().filter(|(key, _)| annotations::is_about_scans(key));
        statements.extend(entries.filter_map(|(key, value)| annotations::read(key, value, place)));
    }
    said_by(statements.len(), statements.iter(), subject, registry)
}

/// What some statements, `count` of them, say of an image, as far as they are about it. Too many are an objection.
///
/// # Errors
/// Why it cannot be known which image they are about.
pub fn said_by<'a>(
    count: usize,
    statements: impl Iterator<Item = &'a annotations::Statement>,
    subject: &Subject<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Vec<Scan>> {
    let mut scans = Vec::new();
    if count > MOST_STATEMENTS {
        let objection = format!("are {count}, of which at most {MOST_STATEMENTS} are read");
        scans.push(Scan::objecting("annotations or labels about scans".to_owned(), objection));
    }
    let mut named = 0;
    for statement in statements.take(MOST_STATEMENTS) {
        let relation = match &statement.image {
            Some(digest) => subject.relation(digest, registry)?,
            None => Relation::Same,
        };
        let Some(scan) = statement.scan.clone().of(relation) else { continue };
        named += scan.named.len();
        if named > MOST_NAMED {
            let objection = format!("name more than {MOST_NAMED} vulnerabilities, which is as many as are read");
            scans.push(Scan::objecting("annotations or labels about scans".to_owned(), objection));
            break;
        }
        scans.push(scan);
    }
    Ok(scans)
}

impl Scan {
    /// The scan of an image that stands so to the one that is judged; nothing where it has nothing to do with it.
    fn of(self, relation: Relation) -> Option<Self> {
        (relation != Relation::Other).then(|| Self { is_exact: relation == Relation::Same, ..self })
    }
}

#[cfg(test)]
mod tests;
