//! The section `schedule` of the settings.

use crate::calendar::expression::CronExpression;
use crate::calendar::freeze::{Freeze, Freezes};
use crate::calendar::zone::Zone;
use crate::config::read::{Path, Problems, section};
use crate::config::schema::Constraint;
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
        /// Periods during which deadlines are postponed: a deadline inside a freeze moves to its end. Days without a
        /// year, such as `12-18`, apply to every year.
        /// For example `[{from: 12-18, to: 01-03, reason: year-end change freeze}]`.
        "freezes" freezes: Vec<Freeze> = Vec::new(),
        /// How images without a plausible build date are treated.
        "unknownBuildDate" unknown_build_date: Unknown = Unknown::Warn,
    }
    constraints {
        Constraint::NotBoth(["maxAge", "patchDays"])
            => "give `maxAge` (a maximum age) or `patchDays` (a calendar), not both",
    }
    check Schedule::check_freezes;
}

impl Schedule {
    fn check_freezes(&self, at: Path<'_>, problems: &mut Problems) {
        Freezes::check_whole_year(&self.freezes, Path::Key(&at, "freezes"), problems);
    }
}

section! {
    /// A calendar of patch days. The deadline of an image is the first patch day after its build, plus `grace`.
    pub struct PatchDays {
        required {
            /// The cron expression for the start of patch days: minute, hour, day of month, month, day of week. `TUE#2` is the second
            /// Tuesday of a month, `FRI#L` the last Friday. As the day of month, `L` is the last day.
            "cron" cron: CronExpression,
        }
        /// The time zone of the calendar, an IANA name as in a CronJob.
        "timeZone" time_zone: Zone = Zone::UTC,
        /// How long after a patch day older images may still be deployed.
        "grace" grace: Duration = Duration::days(14),
    }
}
