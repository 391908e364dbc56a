//! The section `enforcement` of the settings.

use crate::config::read::{Keyword, section};
use crate::finding::Effect;

section! {
    /// How hard findings bite in special cases.
    pub struct Enforcement {
        /// What becomes of findings about images that an UPDATE leaves as they were. An image is unchanged in the container
        /// of the same name. With `ignore`, registries are not asked about it either; see [operations](operations.md).
        "unchangedImages" unchanged_images: Treatment = Treatment::Warn,
        /// What becomes of findings about what Kubernetes' own controllers make of admitted workloads. Only the
        /// authenticated user counts, never an owner reference. Images are pinned in any case.
        "controllerPods" controller_pods: Treatment = Treatment::Warn,
        /// How an image in a controller's pod is judged if its workload has neither a digest nor a [record](records.md) for it. Such a
        /// digest was not judged with the workload. `warn` makes refusals warnings, unless `controllerPods` is `deny`; `deny` judges
        /// the image in full.
        "unrecordedPods" unrecorded_pods: Effect = Effect::Warn,
        /// What becomes of an image that a registry, or the cluster, could not be asked about. It is the finding
        /// [`evidence-unavailable`](evidence-unavailable.md); see [registries](registries.md), and
        /// [reports in the cluster](scans.md#reports-in-the-cluster).
        "evidenceErrors" evidence_errors: Effect = Effect::Deny,
    }
}

/// What becomes of findings where there is reason to be lenient, from the mildest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// They are dropped.
    Ignore,
    /// They are warnings.
    Warn,
    /// They are what their rules say.
    Deny,
}

impl Keyword for Treatment {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("warn", Self::Warn), ("ignore", Self::Ignore)];
}
