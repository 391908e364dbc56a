//! Rule `schedule`: every image is as fresh as the patch schedule asks.
//!
//! Everything reduces to one pure function, [`Schedule::deadline`]: until when an image that was built at some time may
//! be deployed.

pub mod cron;
pub mod zone;

use chrono::{DateTime, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::Ruling;
use crate::evidence::build_date::BuildDate;
use crate::finding::{Code, Effect};
use crate::settings::read::{Path, Problems, Setting, read_string, section};
use crate::settings::shape::{Limit, Shape};
use crate::settings::value::{Action, Period, Unknown};
use crate::shown::Shown;
use cron::Cron;
use zone::Zone;

section! {
    /// Every image is as fresh as the patch schedule asks.
    pub struct Schedule {
        /// What becomes of an image that is past its deadline.
        "action" action: Action = Action::Deny,
        /// A rolling age: the deadline is so long after the build.
        "maxAge" max_age: Period = Period::days(90),
        /// A calendar in place of `maxAge`. The deadline is the first patch day after the build, plus grace. Either
        /// `maxAge` or `patchDays`, never both.
        /// For example `{cron: "0 0 * * TUE#2", timeZone: Europe/Berlin, grace: 14d}`.
        "patchDays" patch_days: Option<PatchDays> = None,
        /// How long before its deadline an image is warned about.
        "warnBefore" warn_before: Period = Period::days(14),
        /// Times in which nothing has to be deployed: a deadline inside a freeze moves to its end.
        /// For example `[{from: 2026-12-18, to: 2027-01-03, reason: year-end change freeze}]`.
        "freezes" freezes: Vec<Freeze> = Vec::new(),
        /// What becomes of an image that does not say when it was built.
        "unknownBuildDate" unknown_build_date: Unknown = Unknown::Warn,
    }
    limits {
        Limit::NotBoth(["maxAge", "patchDays"])
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
        "grace" grace: Period = Period::days(14),
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

/// How often images have to be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cadence<'s> {
    /// A rolling age.
    MaxAge(Period),
    /// A calendar.
    PatchDays(&'s PatchDays),
}

/// A cron expression that fires.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchCron {
    cron: Cron,
    text: String,
}

/// Until when an image may be deployed, and how that came.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadline<'s> {
    /// The first moment at which it may not.
    pub at: DateTime<Utc>,
    /// The patch day that it misses, where there is a calendar.
    pub patch_day: Option<DateTime<Zone>>,
    /// The last freeze that the deadline was moved by.
    pub moved_by: Option<&'s Freeze>,
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

    fn shape() -> Shape {
        Shape::text("cron expression", "cron expressions", r"^\s*(@[A-Za-z]+|\S+(\s+\S+){4})\s*$")
    }

    fn written(&self) -> Value {
        self.text.as_str().into()
    }
}

impl Freeze {
    fn check_order(&self, at: Path<'_>, problems: &mut Problems) {
        let Self { from, to, .. } = self;
        if to < from {
            problems.push(at, format_args!("it ends on {to}, before it begins on {from}"));
        }
    }

    /// The reason as messages repeat it. In YAML a text easily gets a line break at its end, and a finding is one line.
    fn reason_in_a_line(&self) -> String {
        let words = self.reason.split(|c: char| c.is_whitespace() || c.is_control());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The first moment of the freeze, and the first after it.
    #[must_use]
    pub fn span(&self, zone: &Zone) -> (DateTime<Utc>, DateTime<Utc>) {
        let after = self.to.checked_add_days(Days::new(1)).unwrap_or(self.to);
        (start_of_day(self.from, zone), start_of_day(after, zone))
    }

    /// The first moment after the freeze, where a time is inside.
    fn end_after(&self, time: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        // Days begin within a day of those of UTC: most freezes can be told to be far away without knowing when.
        let day = time.date_naive();
        if day - self.to > TimeDelta::days(1) || self.from - day > TimeDelta::days(1) {
            return None;
        }
        let (start, end) = self.span(zone);
        (start <= time && time < end).then_some(end)
    }
}

/// The first moment of a day. Where clocks go forward at midnight, the day begins later.
fn start_of_day(day: NaiveDate, zone: &Zone) -> DateTime<Utc> {
    let midnight = NaiveDateTime::new(day, NaiveTime::MIN);
    let quarters = (0..96).map(|quarter| midnight + TimeDelta::minutes(15 * quarter));
    quarters
        .filter_map(|local| zone.from_local_datetime(&local).earliest())
        .next()
        .map_or_else(|| midnight.and_utc(), |start| start.to_utc())
}

impl Schedule {
    /// How often images have to be rebuilt.
    #[must_use]
    pub fn cadence(&self) -> Cadence<'_> {
        self.patch_days.as_ref().map_or(Cadence::MaxAge(self.max_age), Cadence::PatchDays)
    }

    /// Until when an image that was built at this time may be deployed.
    #[must_use]
    pub fn deadline(&self, built: DateTime<Utc>) -> Deadline<'_> {
        let (mut at, patch_day) = match self.cadence() {
            Cadence::MaxAge(age) => (built + age.delta(), None),
            Cadence::PatchDays(days) => {
                // A calendar always goes on; were it ever to end, nothing would be fresh any more.
                let patch_day = days.next_after(built).unwrap_or_else(|| built.with_timezone(&days.time_zone));
                (patch_day.to_utc() + days.grace.delta(), Some(patch_day))
            }
        };
        let zone = self.zone();
        let mut moved_by = None;
        let mut freezes: Vec<&Freeze> = self.freezes.iter().collect();
        // A deadline moves forward only, so that each freeze, from the first to begin on, is looked at once.
        freezes.sort_unstable_by_key(|freeze| freeze.from);
        for freeze in freezes {
            if let Some(end) = freeze.end_after(at, &zone) {
                at = end;
                moved_by = Some(freeze);
            }
        }
        Deadline { at, patch_day, moved_by }
    }

    /// The time zone in which days begin and end.
    #[must_use]
    pub fn zone(&self) -> Zone {
        match self.cadence() {
            Cadence::MaxAge(_) => Zone::utc(),
            Cadence::PatchDays(days) => days.time_zone,
        }
    }

    /// Judges an image by its build date.
    #[must_use]
    pub fn judge(&self, built: &BuildDate, now: DateTime<Utc>) -> Option<Ruling> {
        let effect = self.action.effect()?;
        match built {
            BuildDate::At(built) => self.judge_age(*built, now, effect),
            BuildDate::Future(date) => Some(Ruling {
                code: Code::FutureBuildDate,
                effect,
                text: format!(
                    "says that it was built {}, which is in the future; correct the clock of its build, or the date that \
                     the build writes",
                    self.day(*date)
                ),
            }),
            BuildDate::Unknown(said) => {
                let fact = match said {
                    Some(date) => format!("says `{}` for its build date, which no build had", Shown(date)),
                    None => "does not say when it was built".to_owned(),
                };
                Some(Ruling {
                    code: Code::UnknownBuildDate,
                    effect: self.unknown_build_date.effect()?,
                    text: format!("{fact}; set the label `org.opencontainers.image.created` in its build"),
                })
            }
        }
    }

    fn judge_age(&self, built: DateTime<Utc>, now: DateTime<Utc>, effect: Effect) -> Option<Ruling> {
        let deadline = self.deadline(built);
        if now >= deadline.at {
            let text = format!(
                "was built {}{} and had to be rebuilt by {}; deploy a newer build",
                self.age(built, now),
                self.reason(&deadline),
                self.due(&deadline),
            );
            return Some(Ruling { code: Code::StaleImage, effect, text });
        }
        let left = deadline.at - now;
        (left <= self.warn_before.delta()).then(|| Ruling {
            code: Code::PatchDue,
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

impl PatchDays {
    /// The first patch day after a time.
    #[must_use]
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<Zone>> {
        let seconds = self.cron.cron.next_after(time.timestamp(), &self.time_zone)?;
        DateTime::from_timestamp(seconds, 0).map(|day| day.with_timezone(&self.time_zone))
    }
}

fn in_days(left: TimeDelta) -> String {
    match left.num_days() {
        0 => "within a day".to_owned(),
        1 => "in 1 day".to_owned(),
        days => format!("in {days} days"),
    }
}

#[cfg(test)]
mod tests;
