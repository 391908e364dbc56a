//! Rule `rollout`: a new image is admitted at the right time.
//!
//! The rule judges images that are new to a workload. It does not judge images that an UPDATE does not change, pods that Kubernetes'
//! own controllers create from admitted workloads, and objects that exist already, which the audit scanner asks about.

mod age;
mod freezes;
mod moment;
mod older;
pub mod settings;
pub mod soak;
mod windows;

use super::rule::{Context, Image, Rule, SettingsByImage, Sink};
use crate::evidence::Evidence;
use crate::evidence::build::Builds;
use crate::finding::{Code, Effect, Finding, codes};
use crate::workload::site::Workload;
use settings::Rollout;
use soak::{Soaks, Times};

codes! {
    /// A new image that was built too recently.
    TOO_YOUNG = "too-young", status 465;
    /// A new image outside of the rollout windows.
    OUTSIDE_WINDOW = "outside-window", status 465;
    /// A new image during a freeze that stops rollouts.
    ROLLOUT_FREEZE = "rollout-freeze", status 465;
    /// A new image that has not run in staging for long enough.
    NOT_SOAKED = "not-soaked", status 465;
    /// A new image that was built before the image that it replaces.
    OLDER_BUILD = "older-build", status 465;
}

/// The codes of findings about the time of a rollout. A fix does not wait for that time.
pub const CODES_OF_TIME: [Code; 4] = [TOO_YOUNG, OUTSIDE_WINDOW, ROLLOUT_FREEZE, NOT_SOAKED];

/// The rule, for the duration of one request.
pub struct RolloutRule {
    soaks: Soaks,
}

impl Rule for RolloutRule {
    type Settings = Rollout;

    const CODES: &'static [Code] = CODES;

    fn begin(
        _: &Context<'_>,
        _: &mut Workload<'_>,
        _: &dyn SettingsByImage<Rollout>,
        _: &mut Evidence<'_>,
    ) -> Result<Self, Finding> {
        Ok(Self { soaks: Soaks::default() })
    }

    fn judge_reference(
        &mut self,
        settings: &Rollout,
        image: &Image<'_>,
        evidence: &Evidence<'_>,
        sink: &mut dyn Sink,
    ) -> Option<Effect> {
        if is_deployed_now(image) {
            let violations = [
                settings.judge_windows(image.freezes, evidence.now),
                settings.judge_freezes(image.freezes, evidence.now),
            ];
            for violation in violations.into_iter().flatten() {
                sink.report(violation);
            }
        }
        None
    }

    fn judges_content(&self, settings: &Rollout, image: &Image<'_>) -> Option<Effect> {
        if !image.is_new() {
            return None;
        }
        let of_age = settings.min_age.and_then(|_| settings.action.effect());
        let of_soak = settings.soak.as_ref().and_then(|_| settings.action.effect());
        let of_order = image.predecessor.and_then(|_| settings.effect_of_older_build());
        of_age.max(of_soak).max(of_order)
    }

    fn judge_builds(
        &mut self,
        settings: &Rollout,
        image: &Image<'_>,
        builds: &Builds,
        evidence: &mut Evidence<'_>,
        sink: &mut dyn Sink,
    ) {
        // The youngest image of an index decides when all of them are old enough.
        if let Some(youngest) = builds.youngest()
            && let Some(violation) = settings.judge_age(&youngest.built, evidence.now, image.freezes)
        {
            sink.report(violation.on_platform(youngest.platform.as_deref()));
        }
        let digest = image.digest.as_deref();
        let moment = |time| settings.admitted_from(time, image.freezes).shown();
        let times = Times { zone: image.freezes.zone, admitted_from: &moment };
        let own = image.context.request.namespace();
        if let (Some(soak), Some(effect)) = (&settings.soak, settings.action.effect())
            && let Some(violation) = self.soaks.judge((soak, effect), (digest, builds), times, own, evidence)
        {
            sink.report(violation);
        }
        if image.predecessor.is_some()
            && settings.effect_of_older_build().is_some()
            && let Some((built, predecessor)) = older::dates(image, builds, evidence)
            && let Some(violation) = settings.judge_order(built, predecessor, image.freezes.zone)
        {
            sink.report(violation);
        }
    }
}

/// Whether a new image is deployed by the request, so that its time counts. A controller creates objects of workloads that were
/// deployed before, whenever nodes are drained or a CronJob is due.
fn is_deployed_now(image: &Image<'_>) -> bool {
    let request = image.context.request;
    image.is_new() && !(request.is_by_controller() && request.operation == "CREATE")
}
