//! The image that scan results are about.

use std::collections::HashSet;

use super::reported::{MAX_LOOKUPS, Reported};
use super::result::Scan;
use crate::evidence::Answer;
use crate::evidence::registry::{ImageFacts, Registry};
use crate::image::Reference;

/// The image whose scan results are needed.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScannedImage<'s> {
    /// The image, as it is written.
    pub(super) image: &'s Reference<'s>,
    /// The digest that is judged, if it is known without asking the registry.
    pub(super) digest: Option<&'s str>,
    /// The facts from its registry.
    pub(super) facts: &'s ImageFacts,
}

impl<'s> ScannedImage<'s> {
    /// An image with the facts from its registry. `digest` is the one that is judged, if it is known already.
    #[must_use]
    pub(super) fn new(image: &'s Reference<'s>, digest: Option<&'s str>, facts: &'s ImageFacts) -> Self {
        Self { image, digest, facts }
    }

    /// The digest that is judged.
    pub(super) fn digest(&self, registry: &mut Registry<'_>) -> Answer<String> {
        self.digest.map_or_else(|| registry.digest(&self.image.registry_name()), |digest| Ok(digest.to_owned()))
    }

    /// Whether a digest is known to be the digest of a single image, and not of an index.
    pub(super) fn is_single(&self, digest: &str) -> bool {
        self.facts.digest.as_deref() == Some(digest)
    }

    /// How a digest is related to the image that is judged.
    ///
    /// # Errors
    /// Why it is not known.
    pub(super) fn relation(&self, digest: &str, registry: &mut Registry<'_>) -> Answer<Relation> {
        let mut reported = Reported::default();
        let related = self.related([digest], |digest| *digest, registry, &mut reported);
        match reported.failure {
            Some(cause) => Err(cause),
            None => Ok(related.first().map_or(Relation::Other, |(relation, _)| *relation)),
        }
    }

    /// The candidates that are about the image that is judged, or about an image in its index. There may be thousands, so the
    /// digests of the index are looked up once, when the first candidate needs them. If the lookup fails, the result has the
    /// candidates that do not need it.
    pub(super) fn related<T>(
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

    /// The digests of the images in its index. Empty for a single image.
    pub(super) fn manifests<'r>(&self, registry: &'r mut Registry<'_>) -> Answer<&'r [String]> {
        let digest = self.digest(registry)?;
        registry.manifests(&self.image.with_digest(&digest))
    }

    pub(super) fn set_of_manifests(&self, registry: &mut Registry<'_>) -> Answer<HashSet<String>> {
        Ok(self.manifests(registry)?.iter().cloned().collect())
    }

    /// The digests of the images in its index, if they are few enough to look up reports for each. Empty for a single image.
    pub(super) fn few_manifests<'r>(&self, registry: &'r mut Registry<'_>) -> Answer<&'r [String]> {
        let manifests = self.manifests(registry)?;
        if manifests.len() > MAX_LOOKUPS {
            return Err(format!("its index has {} images; at most {MAX_LOOKUPS} are looked up", manifests.len()));
        }
        Ok(manifests)
    }

    /// A key that is different for each image, also within an index.
    pub(super) fn identity(&self) -> String {
        let name = self.digest.map_or_else(|| self.image.registry_name(), |digest| self.image.with_digest(digest));
        [&name, " ", self.facts.digest.as_deref().unwrap_or_default()].concat()
    }
}

/// How a digest is related to the image that is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Relation {
    /// It identifies the image: its index, the manifest that the registry gave, or the configuration of that manifest.
    Same,
    /// It identifies another image in the same index.
    Sibling,
    /// It identifies something else.
    Other,
}

impl Scan {
    /// The scan of an image with this relation to the judged one. Nothing if they are unrelated.
    pub(super) fn of(self, relation: Relation) -> Option<Self> {
        (relation != Relation::Other).then(|| Self { is_exact: relation == Relation::Same, ..self })
    }
}
