//! Rule `schedule`: every image is as fresh as the patch schedule requires.
//!
//! The core is a pure function, [`Schedule::deadline`]: the time until which an image with a given build date may be deployed.

pub mod deadline;
mod judge;
pub mod settings;

use super::rule::{Context, Image, Rule, SettingsByImage, Sink};
use crate::evidence::Evidence;
use crate::evidence::build::Build;
use crate::finding::{Code, Effect, Finding, codes};
use crate::workload::site::Workload;
use settings::Schedule;

codes! {
    /// An image that is past its deadline.
    STALE_IMAGE = "stale-image", status 462;
    /// An image whose deadline is near.
    PATCH_DUE = "patch-due";
    /// An image without a plausible build date.
    UNKNOWN_BUILD_DATE = "unknown-build-date", status 462;
    /// An image whose build date is in the future.
    FUTURE_BUILD_DATE = "future-build-date", status 462;
}

/// The rule, for the duration of one request.
pub struct ScheduleRule;

impl Rule for ScheduleRule {
    type Settings = Schedule;

    const CODES: &'static [Code] = CODES;

    fn begin(
        _: &Context<'_>,
        _: &mut Workload<'_>,
        _: &dyn SettingsByImage<Schedule>,
        _: &mut Evidence<'_>,
    ) -> Result<Self, Finding> {
        Ok(Self)
    }

    fn judges_content(&self, settings: &Schedule, _: &Image<'_>) -> Option<Effect> {
        settings.action.effect()
    }

    fn judge_content(
        &mut self,
        settings: &Schedule,
        _: &Image<'_>,
        build: &Build,
        evidence: &mut Evidence<'_>,
        sink: &mut dyn Sink,
    ) {
        if let Some(violation) = settings.judge(&build.built, evidence.now) {
            sink.report(violation);
        }
    }
}

#[cfg(test)]
mod tests;
