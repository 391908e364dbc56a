//! Judges an image by its build date.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::deadline::{Cadence, Deadline};
use super::settings::Schedule;
use super::{FUTURE_BUILD_DATE, PATCH_DUE, STALE_IMAGE, UNKNOWN_BUILD_DATE};
use crate::config::values::days;
use crate::evidence::build_date::BuildDate;
use crate::finding::{Effect, Violation};
use crate::sanitized::Sanitized;

impl Schedule {
    /// Judges an image by its build date.
    #[must_use]
    pub fn judge(&self, built: &BuildDate, now: DateTime<Utc>) -> Option<Violation> {
        let effect = self.action.effect()?;
        match built {
            BuildDate::At(built) => self.judge_age(*built, now, effect),
            BuildDate::Future(date) => Some(Violation {
                code: FUTURE_BUILD_DATE,
                effect,
                text: format!(
                    "says that it was built {}, which is in the future; correct the clock of its build, or the date that \
                     the build writes",
                    self.day(*date)
                ),
            }),
            BuildDate::Unknown(created) => {
                let fact = match created {
                    Some(date) => format!("has the build date `{}`, which is not plausible", Sanitized(date)),
                    None => "has no build date".to_owned(),
                };
                Some(Violation {
                    code: UNKNOWN_BUILD_DATE,
                    effect: self.unknown_build_date.effect()?,
                    text: format!("{fact}; set the label `org.opencontainers.image.created` in its build"),
                })
            }
        }
    }

    fn judge_age(&self, built: DateTime<Utc>, now: DateTime<Utc>, effect: Effect) -> Option<Violation> {
        let deadline = self.deadline(built);
        let (age, day) = (self.age(built, now), self.day(deadline.at));
        let freeze = deadline.moved_by.map(|freeze| format!("after the freeze `{}`", freeze.reason_on_one_line()));
        if now >= deadline.at {
            let freeze = freeze.map(|freeze| format!(" ({freeze})")).unwrap_or_default();
            let reason = self.reason(&deadline, "over");
            let text = format!("was built {age}{reason}: a rebuild was due by {day}{freeze}; deploy a newer build");
            return Some(Violation { code: STALE_IMAGE, effect, text });
        }
        let left = deadline.at - now;
        if left > self.warn_before.delta() {
            return None;
        }
        let freeze = freeze.map(|freeze| freeze + ", ").unwrap_or_default();
        let (reason, left) = (self.reason(&deadline, "subject to"), in_days(left));
        let text = format!("was built {age}{reason}: a rebuild is due by {day} ({freeze}{left}); plan a newer build");
        Some(Violation { code: PATCH_DUE, effect: Effect::Warn, text })
    }

    fn day(&self, time: DateTime<Utc>) -> NaiveDate {
        self.zone().local(time).date_naive()
    }

    fn age(&self, built: DateTime<Utc>, now: DateTime<Utc>) -> String {
        format!("{} ({} ago)", self.day(built), days((now - built).num_days().max(0)))
    }

    /// The limit or the patch day of a deadline. `preposition` precedes the limit.
    fn reason(&self, deadline: &Deadline<'_>, preposition: &str) -> String {
        match (self.cadence(), &deadline.patch_day) {
            (Cadence::MaxAge(age), _) => {
                // "90 days" becomes "90-day".
                let limit = age.to_string().replace(' ', "-");
                format!(", {preposition} the {} limit", limit.trim_end_matches('s'))
            }
            (Cadence::PatchDays(_), Some(day)) => format!(", before the patch day {}", day.date_naive()),
            (Cadence::PatchDays(_), None) => String::new(),
        }
    }
}

fn in_days(left: TimeDelta) -> String {
    match left.num_days() {
        0 => "within a day".to_owned(),
        left => format!("in {}", days(left)),
    }
}
