//! The section `rollout` of the settings.

use super::soak::Soak;
use crate::calendar::window::Window;
use crate::config::read::{Keyword, section};
use crate::config::values::{Action, Duration, Unknown};

section! {
    /// New images are admitted at the right time. The rule judges images that are new to a workload: those of a CREATE, and those that an
    /// UPDATE changes. It does not judge pods that Kubernetes' own controllers create from admitted workloads. See
    /// [rollouts](rollouts.md).
    pub struct Rollout {
        /// How a new image with a finding of this rule is treated. `olderBuild` and freezes can be milder, but not stricter.
        "action" action: Action = Action::Deny,
        /// Minimum age of a new image, counted from its build date. It is a cooldown: a poisoned build is often found within days,
        /// and a younger image is refused. `schedule.unknownBuildDate` decides about images without a build date, if the schedule is on. A builder
        /// can backdate an image, so this does not stop an attacker who controls the build. For example `3d`.
        "minAge" min_age: Option<Duration> = None,
        /// Windows in which new images are admitted. Outside of all windows, `action` decides, and the finding is
        /// [`outside-window`](outside-window.md). With an empty list, new images are admitted at any time. The windows do not apply to objects
        /// that Kubernetes' own controllers create, whatever their image.
        /// For example `[{cron: "0 9 * * MON-THU", timeZone: Europe/Berlin, for: 8h}]`.
        "windows" windows: Vec<Window> = Vec::new(),
        /// New images must have run in staging. ConfigMaps record which digests run there, and since when: see
        /// [`not-soaked`](not-soaked.md). For example `{configMaps: [{namespace: container-patch, name: soaked-images}], for: 24h}`.
        "soak" soak: Option<Soak> = None,
        /// How an UPDATE that replaces an image with an older build of the same repository, in the same container, is treated.
        /// `warn` shows rollbacks and allows them; with `deny`, they need
        /// [break-glass](break-glass.md) or an exception.
        "olderBuild" older_build: Unknown = Unknown::Allow,
        /// Whether a fix is admitted immediately. A fix replaces an image of the same repository that is refused as
        /// [stale](stale-image.md), [outdated](outdated-base-image.md), [flagged](scan-flagged.md) or [vulnerable](vulnerable-image.md), and
        /// has none of these findings. With `allow`, the findings of this rule about a fix are warnings, except about
        /// an older build; with `judge`, a fix is judged like other images. See [fixes](rollouts.md#fixes).
        "fixes" fixes: Fixes = Fixes::Allow,
    }
    check Rollout::check_windows;
}

/// How a fix is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fixes {
    /// It is admitted immediately.
    Allow,
    /// It is judged like other images.
    Judge,
}

impl Keyword for Fixes {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("allow", Self::Allow), ("judge", Self::Judge)];
}
