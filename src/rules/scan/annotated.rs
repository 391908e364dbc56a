//! What annotations and labels say about the scans of an image.

use std::collections::HashMap;

use super::annotations::{self, Place, ScanAnnotation};
use super::image::{Relation, ScannedImage};
use super::result::Scan;
use crate::evidence::Answer;
use crate::evidence::registry::Registry;
use crate::workload::site::{ImageSite, Workload};

/// The annotations of pods that are about scans, by pod template.
#[derive(Default)]
pub(super) struct PodScanAnnotations(HashMap<String, OfPod>);

#[derive(Default)]
struct OfPod {
    /// Those about all containers.
    all: Vec<ScanAnnotation>,
    /// Those about one container, or image volume, by its name.
    by_container: HashMap<String, Vec<ScanAnnotation>>,
}

impl PodScanAnnotations {
    pub(super) fn of(workload: &Workload<'_>) -> Self {
        let mut by_template: HashMap<String, OfPod> = HashMap::new();
        for annotation in workload.annotations.iter().filter(|annotation| annotations::is_about_scans(&annotation.key))
        {
            let of_pod = by_template.entry(annotation.template().to_owned()).or_default();
            let list = match annotations::container(&annotation.key) {
                Some(container) => of_pod.by_container.entry(container.to_owned()).or_default(),
                None => &mut of_pod.all,
            };
            list.extend(annotations::read(&annotation.key, &annotation.value, Place::Pod));
        }
        Self(by_template)
    }

    /// How many there are about the image at a site, and which: those about all of its pod first. There may be as many as
    /// there are images, so counting them does not visit each.
    pub(super) fn about<'a>(&'a self, site: &ImageSite<'_>) -> (usize, impl Iterator<Item = &'a ScanAnnotation>) {
        let of_pod = self.0.get(site.template());
        let all = of_pod.map_or(&[][..], |of_pod| &of_pod.all);
        let of_container = self.of_container(site).unwrap_or_default();
        (all.len() + of_container.len(), all.iter().chain(of_container))
    }

    /// Those about the container, or image volume, of a site alone.
    pub(super) fn of_container(&self, site: &ImageSite<'_>) -> Option<&[ScanAnnotation]> {
        let of_container = self.0.get(site.template())?.by_container.get(site.name.as_deref()?)?;
        Some(of_container)
    }
}

/// The most annotations, or labels, that are judged for one image. Nobody needs more; without a bound, the pods of an attacker
/// would cost the product of their containers and their annotations.
const MAX_ANNOTATIONS: usize = 64;

/// The most vulnerabilities that the annotations, or the labels, about one image may name. In 256 KiB, which is what
/// Kubernetes allows for all annotations of an object, there is hardly room for more.
const MAX_NAMED: usize = 4096;

pub(super) fn of_image(subject: &ScannedImage<'_>, registry: &mut Registry<'_>) -> Answer<Vec<Scan>> {
    let mut statements = Vec::new();
    for (place, entries) in [(Place::Manifest, &subject.facts.annotations), (Place::Config, &subject.facts.labels)] {
        let entries = entries.iter().filter(|(key, _)| annotations::is_about_scans(key));
        statements.extend(entries.filter_map(|(key, value)| annotations::read(key, value, place)));
    }
    about(statements.len(), statements.iter(), subject, registry)
}

/// What some statements, `count` of them, say of an image, as far as they are about it. Too many are an objection.
///
/// # Errors
/// Why it cannot be known which image they are about.
pub(super) fn about<'a>(
    count: usize,
    statements: impl Iterator<Item = &'a ScanAnnotation>,
    subject: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Vec<Scan>> {
    let mut scans = Vec::new();
    if count > MAX_ANNOTATIONS {
        let objection = format!("are {count}, of which at most {MAX_ANNOTATIONS} are read");
        scans.push(Scan::objecting("annotations or labels about scans".to_owned(), objection));
    }
    let mut named = 0;
    for statement in statements.take(MAX_ANNOTATIONS) {
        let relation = match &statement.image {
            Some(digest) => subject.relation(digest, registry)?,
            None => Relation::Same,
        };
        let Some(scan) = statement.scan.clone().of(relation) else { continue };
        named += scan.named.len();
        if named > MAX_NAMED {
            let objection = format!("name more than {MAX_NAMED} vulnerabilities, which is as many as are read");
            scans.push(Scan::objecting("annotations or labels about scans".to_owned(), objection));
            break;
        }
        scans.push(scan);
    }
    Ok(scans)
}
