//! Judges an image by its build date.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};

use super::deadline::{Cadence, Deadline};
use super::settings::Schedule;
use super::{FUTURE_BUILD_DATE, PATCH_DUE, STALE_IMAGE, UNKNOWN_BUILD_DATE};
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
            BuildDate::Unknown(said) => {
                let fact = match said {
                    Some(date) => format!("says `{}` for its build date, which no build had", Sanitized(date)),
                    None => "does not say when it was built".to_owned(),
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
        if now >= deadline.at {
            let text = format!(
                "was built {}{} and had to be rebuilt by {}; deploy a newer build",
                self.age(built, now),
                self.reason(&deadline),
                self.due(&deadline),
            );
            return Some(Violation { code: STALE_IMAGE, effect, text });
        }
        let left = deadline.at - now;
        (left <= self.warn_before.delta()).then(|| Violation {
            code: PATCH_DUE,
            effect: Effect::Warn,
            text: format!(
                "was built {}{} and has to be rebuilt by {} ({}); plan a newer build",
                self.age(built, now),
                self.reason(&deadline),
                self.due(&deadline),
                in_days(left),
            ),
        })
    }

    fn day(&self, time: DateTime<Utc>) -> NaiveDate {
        time.with_timezone(&self.zone()).date_naive()
    }

    fn age(&self, built: DateTime<Utc>, now: DateTime<Utc>) -> String {
        let days = (now - built).num_days().max(0);
        format!("{} ({days} day{} ago)", self.day(built), if days == 1 { "" } else { "s" })
    }

    fn reason(&self, deadline: &Deadline<'_>) -> String {
        match (self.cadence(), &deadline.patch_day) {
            (Cadence::MaxAge(age), _) => format!(", may be at most {age} old"),
            (Cadence::PatchDays(_), Some(day)) => format!(", before the patch day {},", day.date_naive()),
            (Cadence::PatchDays(_), None) => String::new(),
        }
    }

    fn due(&self, deadline: &Deadline<'_>) -> String {
        match deadline.moved_by {
            Some(freeze) => format!("{} (after the freeze `{}`)", self.day(deadline.at), freeze.reason_in_a_line()),
            None => self.day(deadline.at).to_string(),
        }
    }
}

fn in_days(left: TimeDelta) -> String {
    match left.num_days() {
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    }
}
