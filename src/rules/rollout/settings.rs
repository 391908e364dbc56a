//! The section `rollout` of the settings.

use crate::config::read::section;
use crate::config::values::{Action, Duration};

section! {
    /// New images are admitted at the right time. The rule judges images that are new to a workload: those of a CREATE, and those that an
    /// UPDATE changes. It does not judge pods that Kubernetes' own controllers create from admitted workloads.
    pub struct Rollout {
        /// How a new image that is deployed too early is treated.
        "action" action: Action = Action::Deny,
        /// Minimum age of a new image, counted from its build date. It is a cooldown: a poisoned build is often found within days,
        /// and a younger image is refused. `schedule.unknownBuildDate` decides about images without a build date, if the schedule is on. A builder
        /// can backdate an image, so this does not stop an attacker who controls the build. For example `3d`.
        "minAge" min_age: Option<Duration> = None,
    }
}
