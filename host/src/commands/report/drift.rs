//! Drift: one tag that runs as several digests, one repository of which several tags run.

use std::collections::{BTreeMap, BTreeSet};

use container_patch_policy::image::Reference;

use super::assessment::tag_of;
use super::model::{Drift, Image, RepositoryDrift, Scope, TagDrift, Variant};

/// The objects by variant.
type Variants = BTreeMap<String, BTreeSet<String>>;

/// Compares the images. Of a cluster, only what pods run counts.
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
    }
}

fn listed(variants: Variants) -> Vec<Variant> {
    variants.into_iter().map(|(value, used_by)| Variant { value, used_by: used_by.into_iter().collect() }).collect()
}
