//! The builds of a reference: the images that nodes can choose from it.

use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::Evidence;
use super::build_date::{BuildDate, build_date};
use super::registry::{EvidenceGap, ImageFacts, Runnable, RunnableImage, sanitized_platform};
use crate::image::{Platforms, Reference};

/// One of the images that nodes can choose.
pub struct Build {
    /// The platform, if messages name it.
    pub platform: Option<String>,
    /// The facts from its manifest and configuration.
    pub facts: Rc<ImageFacts>,
    /// The build date.
    pub built: BuildDate,
}

/// The images that nodes can choose from a reference.
pub struct Builds {
    /// At least one, the oldest first.
    pub builds: Vec<Build>,
    /// The platforms for which the index has no image.
    pub missing_platforms: Vec<String>,
    /// The reason why not all images are known.
    pub gap: Option<EvidenceGap>,
}

impl Builds {
    /// The oldest known build date.
    #[must_use]
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.builds.iter().filter_map(|build| build.built.date()).min()
    }

    /// The youngest image. If several have the same date, one of them.
    #[must_use]
    pub fn youngest(&self) -> Option<&Build> {
        self.builds.iter().max_by_key(|build| build.built.claimed())
    }
}

impl Evidence<'_> {
    /// The images that nodes of some platforms can choose from a digest.
    ///
    /// # Errors
    /// The reason why none of them is known.
    pub fn builds(
        &mut self,
        image: &Reference<'_>,
        digest: &str,
        platforms: &Platforms,
    ) -> Result<Builds, EvidenceGap> {
        let runnable = self.registry.runnable(image, digest, platforms)?;
        let Runnable { images, missing_platforms, gap } = &*runnable;
        // Messages about the only image, for the platform of the host, do not name the platform.
        let is_only = images.len() == 1 && *platforms == Platforms::OfHost;
        let build = |RunnableImage { platform, facts }: &RunnableImage| Build {
            platform: platform.as_ref().filter(|_| !is_only).map(sanitized_platform),
            built: build_date(facts, self.now),
            facts: Rc::clone(facts),
        };
        let mut builds: Vec<Build> = images.iter().map(build).collect();
        builds.sort_by_key(|build| build.built.date());
        let missing_platforms = missing_platforms.iter().map(sanitized_platform).collect();
        Ok(Builds { builds, missing_platforms, gap: gap.clone() })
    }
}
