//! The scans of an image that annotations and labels describe.

use std::collections::HashMap;

use super::annotations::{self, Place, ScanAnnotation};
use super::image::{Relation, ScannedImage};
use super::result::Scan;
use crate::evidence::Answer;
use crate::evidence::registry::Registry;
use crate::workload::site::{ImageSite, Workload};

/// The scan annotations of pods, by pod template.
#[derive(Default)]
pub(super) struct PodScanAnnotations(HashMap<String, OfPod>);

#[derive(Default)]
struct OfPod {
    /// The annotations about all containers.
    all: Vec<ScanAnnotation>,
    /// The annotations about one container or image volume, by its name.
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

    /// The number of annotations about the image at a site, and the annotations. Those about the whole pod come first. The number
    /// is not counted from the iterator, because a pod may have as many annotations as images.
    pub(super) fn about<'a>(&'a self, site: &ImageSite<'_>) -> (usize, impl Iterator<Item = &'a ScanAnnotation>) {
        let of_pod = self.0.get(site.template());
        let all = of_pod.map_or(&[][..], |of_pod| &of_pod.all);
        let of_container = self.of_container(site).unwrap_or_default();
        (all.len() + of_container.len(), all.iter().chain(of_container))
    }

    /// The annotations about only the container or image volume of a site.
    pub(super) fn of_container(&self, site: &ImageSite<'_>) -> Option<&[ScanAnnotation]> {
        let of_container = self.0.get(site.template())?.by_container.get(site.name.as_deref()?)?;
        Some(of_container)
    }
}

/// The most annotations or labels that are judged for one image. Without a limit, the cost would be the number of containers times
/// the number of annotations.
const MAX_ANNOTATIONS: usize = 64;

/// The most vulnerabilities that the annotations or the labels about one image may name. The 256 KiB that Kubernetes allows for
/// all annotations of an object hardly hold more.
const MAX_NAMED: usize = 4096;

/// The scans that the annotations and labels of an image itself describe.
pub(super) fn of_image(image: &ScannedImage<'_>, registry: &mut Registry<'_>) -> Answer<Vec<Scan>> {
    let mut annotations = Vec::new();
    for (place, entries) in [(Place::Manifest, &image.facts.annotations), (Place::Config, &image.facts.labels)] {
        let entries = entries.iter().filter(|(key, _)| annotations::is_about_scans(key));
        annotations.extend(entries.filter_map(|(key, value)| annotations::read(key, value, place)));
    }
    about(annotations.len(), annotations.iter(), image, registry)
}

/// The scans that `count` annotations describe, if they are about this image. Too many annotations flag the image.
///
/// # Errors
/// Why it is not known which image they are about.
pub(super) fn about<'a>(
    count: usize,
    annotations: impl Iterator<Item = &'a ScanAnnotation>,
    image: &ScannedImage<'_>,
    registry: &mut Registry<'_>,
) -> Answer<Vec<Scan>> {
    let mut scans = Vec::new();
    if count > MAX_ANNOTATIONS {
        let source = format!("{count} annotations or labels about scans");
        scans.push(Scan::objecting(source, format!("exceed the limit of {MAX_ANNOTATIONS}")));
    }
    let mut named = 0;
    for annotation in annotations.take(MAX_ANNOTATIONS) {
        let relation = match &annotation.image {
            Some(digest) => image.relation(digest, registry)?,
            None => Relation::Same,
        };
        let Some(scan) = annotation.scan.clone().of(relation) else { continue };
        named += scan.named.len();
        if named > MAX_NAMED {
            let objection = format!("name more than {MAX_NAMED} vulnerabilities, which is the limit");
            scans.push(Scan::objecting("annotations or labels about scans".to_owned(), objection));
            break;
        }
        scans.push(scan);
    }
    Ok(scans)
}
