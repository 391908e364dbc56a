//! The section `enforcement` of the settings.

use crate::config::read::{Keyword, section};
use crate::finding::Effect;

section! {
    /// How strictly findings are enforced in special cases.
    pub struct Enforcement {
        /// How findings are treated for images that an UPDATE does not change. Images are compared by container name. With
        /// `ignore`, registries are not contacted for them either; see [operations](operations.md).
        "unchangedImages" unchanged_images: Treatment = Treatment::Warn,
        /// How findings are treated for objects that Kubernetes' own controllers create from admitted workloads. Only the
        /// authenticated user counts, never an owner reference. Images are pinned in any case.
        "controllerPods" controller_pods: Treatment = Treatment::Warn,
        /// How findings are treated for images in a controller's pod whose workload has neither a digest nor a [record](records.md)
        /// for them. Their digests were not judged with the workload. `warn` turns denials into warnings, unless `controllerPods` is
        /// `deny`; `deny` judges the image in full.
        "unrecordedPods" unrecorded_pods: Effect = Effect::Warn,
        /// Effect of a missing answer from a registry or the cluster. The finding is
        /// [`evidence-unavailable`](evidence-unavailable.md); see [registries](registries.md) and
        /// [reports in the cluster](scans.md#reports-in-the-cluster).
        "evidenceErrors" evidence_errors: Effect = Effect::Deny,
    }
}

/// How findings are treated in a special case, from the mildest treatment to the strictest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// They are dropped.
    Ignore,
    /// They are warnings.
    Warn,
    /// They keep the effect that their rule gives them.
    Deny,
}

impl Keyword for Treatment {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("warn", Self::Warn), ("ignore", Self::Ignore)];
}
