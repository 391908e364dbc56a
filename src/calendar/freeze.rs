//! Freezes: periods without changes.

use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};

use super::zone::Zone;
use crate::config::read::{Path, Problems, section};

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

/// The freezes of a calendar, and its time zone.
#[derive(Debug, Clone, Copy)]
pub struct Freezes<'s> {
    /// The freezes.
    pub all: &'s [Freeze],
    /// The time zone of their days.
    pub zone: &'s Zone,
}

impl Freeze {
    /// The reason without line breaks, which block scalars in YAML add. Findings are single lines.
    #[must_use]
    pub fn reason_on_one_line(&self) -> String {
        let words = self.reason.split(|c: char| c.is_whitespace() || c.is_control());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The first moment of the freeze, and the first moment after it.
    #[must_use]
    pub fn span(&self, zone: &Zone) -> (DateTime<Utc>, DateTime<Utc>) {
        let after = self.to.checked_add_days(Days::new(1)).unwrap_or(self.to);
        (zone.start_of_day(self.from), zone.start_of_day(after))
    }

    /// The first moment after the freeze if a time is inside it.
    #[must_use]
    pub fn end_after(&self, time: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        // Days of any zone start within a day of those of UTC. This skips most freezes without a search in the zone.
        let day = time.date_naive();
        if day - self.to > TimeDelta::days(1) || self.from - day > TimeDelta::days(1) {
            return None;
        }
        let (start, end) = self.span(zone);
        (start <= time && time < end).then_some(end)
    }

    fn check_order(&self, at: Path<'_>, problems: &mut Problems) {
        let Self { from, to, .. } = self;
        if to < from {
            problems.push(at, format_args!("the freeze ends on {to}, before it starts on {from}"));
        }
    }
}
