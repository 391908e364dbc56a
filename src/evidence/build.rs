//! The images that may run of a reference.

use std::rc::Rc;

use chrono::{DateTime, Utc};

use super::Evidence;
use super::build_date::{BuildDate, build_date};
use super::registry::{ImageFacts, Runnable, RunnableImage, Unknown, shown_platform};
use crate::image::{Platforms, Reference};

/// One of the images that may run of a reference.
pub struct Build {
    /// Its platform, if a message has to name it.
    pub platform: Option<String>,
    /// What its manifest and configuration say.
    pub facts: Rc<ImageFacts>,
    /// When it was built.
    pub built: BuildDate,
}

/// The images that may run of a reference.
pub struct Builds {
    /// At least one, the oldest first.
    pub builds: Vec<Build>,
    /// The platforms that the index has no image for.
    pub missing_platforms: Vec<String>,
    /// Why not every image is known.
    pub unknown: Option<Unknown>,
}

impl Builds {
    /// When the oldest was built.
    #[must_use]
    pub fn oldest(&self) -> Option<DateTime<Utc>> {
        self.builds.iter().filter_map(|build| build.built.date()).min()
    }
}

impl Evidence<'_> {
    /// The images that may run of a digest on nodes of some platforms.
    ///
    /// # Errors
    /// Why none of them is known.
    pub fn builds(&mut self, image: &Reference<'_>, digest: &str, platforms: &Platforms) -> Result<Builds, Unknown> {
        let runnable = self.registry.runnable(image, digest, platforms)?;
        let Runnable { images, lacking, unknown } = &*runnable;
        // The platform of an image is not worth mentioning if it is the only one, and for the usual platform.
        let is_plain = images.len() == 1 && *platforms == Platforms::OfHost;
        let build = |RunnableImage { platform, facts }: &RunnableImage| Build {
            platform: platform.as_ref().filter(|_| !is_plain).map(shown_platform),
            built: build_date(facts, self.now),
            facts: Rc::clone(facts),
        };
        let mut builds: Vec<Build> = images.iter().map(build).collect();
        builds.sort_by_key(|build| build.built.date());
        let missing_platforms = lacking.iter().map(shown_platform).collect();
        Ok(Builds { builds, missing_platforms, unknown: unknown.clone() })
    }
}
