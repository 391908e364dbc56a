//! Drift: one tag that runs as several digests, one repository of which several tags run, services that declare another image than
//! their tasks run.

use std::collections::{BTreeMap, BTreeSet};

use container_patch_policy::image::Reference;

use super::assessment::tag_of;
use super::model::{Drift, Image, RepositoryDrift, Scope, ServiceDrift, ServiceImage, TagDrift, Variant};

/// The objects by variant.
type Variants = BTreeMap<String, BTreeSet<String>>;

/// Of the images of a service, by name and digest: whether it declares the image, and the number of its tasks that run it.
type ServiceImages = BTreeMap<(String, Option<String>), (bool, usize)>;

/// Compares the images. Of a cluster or a swarm, only what pods or tasks run counts.
pub(super) fn of(images: &[Image], scope: Scope) -> Drift {
    let mut by_tag: BTreeMap<(String, String), Variants> = BTreeMap::new();
    let mut by_repository: BTreeMap<String, Variants> = BTreeMap::new();
    for image in images {
        for used in image.used_by.iter().filter(|used| scope == Scope::Manifests || used.pods > 0) {
            let Some(tag) = Reference::parse(&used.image).ok().and_then(|written| tag_of(&written)) else { continue };
            let objects = by_repository.entry(image.repository.clone()).or_default().entry(tag.clone()).or_default();
            objects.insert(used.object());
            // The image ID of a node is not comparable with digests of a registry.
            if let Some(digest) = image.digest.as_ref().filter(|_| used.image_id.is_none()) {
                let digests = by_tag.entry((image.repository.clone(), tag)).or_default();
                digests.entry(digest.clone()).or_default().insert(used.object());
            }
        }
    }
    let several = |variants: &Variants| variants.len() > 1;
    let tags = by_tag.into_iter().filter(|(_, digests)| several(digests));
    let repositories = by_repository.into_iter().filter(|(_, tags)| several(tags));
    Drift {
        tags: tags.map(|((repository, tag), digests)| TagDrift { repository, tag, digests: listed(digests) }).collect(),
        repositories: repositories
            .map(|(repository, tags)| RepositoryDrift { repository, tags: listed(tags) })
            .collect(),
        services: (scope == Scope::Swarm).then(|| services(images)),
    }
}

/// The services of which tasks run an image that the service does not declare.
fn services(images: &[Image]) -> Vec<ServiceDrift> {
    let mut by_service: BTreeMap<String, ServiceImages> = BTreeMap::new();
    for image in images {
        for used in &image.used_by {
            let of_service = by_service.entry(used.object()).or_default();
            let (declared, tasks) = of_service.entry((image.name(), image.digest.clone())).or_default();
            *declared |= used.declared;
            *tasks += used.pods;
        }
    }
    by_service.retain(|_, images| images.values().any(|(declared, tasks)| !declared && *tasks > 0));
    let listed = |images: ServiceImages| {
        let mut images: Vec<ServiceImage> = images
            .into_iter()
            .map(|((image, digest), (declared, tasks))| ServiceImage { image, digest, declared, tasks })
            .collect();
        images.sort_by_key(|image| !image.declared);
        images
    };
    by_service.into_iter().map(|(service, images)| ServiceDrift { service, images: listed(images) }).collect()
}

fn listed(variants: Variants) -> Vec<Variant> {
    variants.into_iter().map(|(value, used_by)| Variant { value, used_by: used_by.into_iter().collect() }).collect()
}
