//! The section `schedule` of the settings.

use chrono::NaiveDate;
use serde_json::Value;
use serde_json::value::RawValue;

use super::cron::Cron;
use super::zone::Zone;
use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::{Constraint, Schema};
use crate::config::values::{Action, Duration, Unknown};

section! {
    /// Every image is as fresh as the patch schedule asks.
    pub struct Schedule {
        /// What becomes of an image that is past its deadline.
        "action" action: Action = Action::Deny,
        /// A rolling age: the deadline is so long after the build.
        "maxAge" max_age: Duration = Duration::days(90),
        /// A calendar in place of `maxAge`. The deadline is the first patch day after the build, plus grace. Either
        /// `maxAge` or `patchDays`, never both.
        /// For example `{cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}`.
        "patchDays" patch_days: Option<PatchDays> = None,
        /// How long before its deadline an image is warned about.
        "warnBefore" warn_before: Duration = Duration::days(14),
        /// Times in which nothing has to be deployed: a deadline inside a freeze moves to its end.
        /// For example `[{from: 2026-12-18, to: 2027-01-03, reason: year-end change freeze}]`.
        "freezes" freezes: Vec<Freeze> = Vec::new(),
        /// What becomes of an image that does not say when it was built.
        "unknownBuildDate" unknown_build_date: Unknown = Unknown::Warn,
    }
    constraints {
        Constraint::NotBoth(["maxAge", "patchDays"])
            => "give `maxAge` (a rolling age) or `patchDays` (a calendar), not both",
    }
}

section! {
    /// A calendar of patch days: an image is good until the first one after its build, plus grace.
    pub struct PatchDays {
        required {
            /// When patch days begin: minute, hour, day of month, month, day of week. `TUE#2` is the second Tuesday of a
            /// month, `FRI#L` the last Friday, `L` as the day of the month its last day.
            "cron" cron: PatchCron,
        }
        /// The time zone of the calendar, as in a CronJob.
        "timeZone" time_zone: Zone = Zone::utc(),
        /// How long after a patch day an image of before may still be deployed.
        "grace" grace: Duration = Duration::days(14),
    }
}

section! {
    /// A time in which nothing has to be deployed: a deadline inside moves to its end.
    pub struct Freeze {
        required {
            /// The first day of the freeze, in the time zone of the calendar; in UTC for `maxAge`.
            "from" from: NaiveDate,
            /// The last day of the freeze.
            "to" to: NaiveDate,
            /// Why there is a freeze, for those who wonder about a deadline.
            "reason" reason: String,
        }
    }
    check Freeze::check_order;
}

/// A cron expression that fires.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchCron {
    pub(super) cron: Cron,
    text: String,
}

impl Setting for PatchCron {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a cron expression such as `0 0 * * TUE#2`", problems)?;
        let cron = match Cron::parse(&text) {
            Ok(cron) => cron,
            Err(error) => {
                let hint = "write minute, hour, day of month, month and day of week, such as `0 0 * * TUE#2`";
                problems.push(at, format_args!("`{text}` is no cron expression: {error}; {hint}"));
                return None;
            }
        };
        if !cron.is_ever_due() {
            problems.push(at, format_args!("`{text}` never fires"));
            return None;
        }
        Some(Self { cron, text })
    }

    fn schema() -> Schema {
        Schema::text("cron expression", "cron expressions", r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$")
    }

    fn to_json(&self) -> Value {
        self.text.as_str().into()
    }
}

impl Freeze {
    pub(super) fn check_order(&self, at: Path<'_>, problems: &mut Problems) {
        let Self { from, to, .. } = self;
        if to < from {
            problems.push(at, format_args!("it ends on {to}, before it begins on {from}"));
        }
    }
}
