//! The section `schedule` of the settings.

use chrono::NaiveDate;
use container_patch_cron::Cron;
use serde_json::Value;
use serde_json::value::RawValue;

use super::zone::Zone;
use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::{Constraint, Schema};
use crate::config::values::{Action, Duration, Unknown};

section! {
    /// Every image is as fresh as the patch schedule requires.
    pub struct Schedule {
        /// How images past their deadline are treated.
        "action" action: Action = Action::Deny,
        /// Maximum age since the build.
        "maxAge" max_age: Duration = Duration::days(90),
        /// A calendar instead of `maxAge`. The deadline is the first patch day after the build, plus `grace`. `maxAge` and
        /// `patchDays` exclude each other.
        /// For example `{cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}`.
        "patchDays" patch_days: Option<PatchDays> = None,
        /// How long before the deadline warnings begin.
        "warnBefore" warn_before: Duration = Duration::days(14),
        /// Periods during which deadlines are postponed: a deadline inside a freeze moves to its end.
        /// For example `[{from: 2026-12-18, to: 2027-01-03, reason: year-end change freeze}]`.
        "freezes" freezes: Vec<Freeze> = Vec::new(),
        /// How images without a plausible build date are treated.
        "unknownBuildDate" unknown_build_date: Unknown = Unknown::Warn,
    }
    constraints {
        Constraint::NotBoth(["maxAge", "patchDays"])
            => "give `maxAge` (a maximum age) or `patchDays` (a calendar), not both",
    }
}

section! {
    /// A calendar of patch days. The deadline of an image is the first patch day after its build, plus `grace`.
    pub struct PatchDays {
        required {
            /// The cron expression for the start of patch days: minute, hour, day of month, month, day of week. `TUE#2` is the second
            /// Tuesday of a month, `FRI#L` the last Friday. As the day of month, `L` is the last day.
            "cron" cron: PatchCron,
        }
        /// The time zone of the calendar, an IANA name as in a CronJob.
        "timeZone" time_zone: Zone = Zone::UTC,
        /// How long after a patch day older images may still be deployed.
        "grace" grace: Duration = Duration::days(14),
    }
}

section! {
    /// A period during which deadlines are postponed: a deadline inside it moves to its end.
    pub struct Freeze {
        required {
            /// The first day of the freeze, in the time zone of the calendar; in UTC for `maxAge`.
            "from" from: NaiveDate,
            /// The last day of the freeze, inclusive.
            "to" to: NaiveDate,
            /// The reason for the freeze, which messages repeat.
            "reason" reason: String,
        }
    }
    check Freeze::check_order;
}

/// A cron expression that is due at some time.
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
                problems.push(at, format_args!("invalid cron expression `{text}`: {error}; {hint}"));
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
            problems.push(at, format_args!("the freeze ends on {to}, before it starts on {from}"));
        }
    }
}
