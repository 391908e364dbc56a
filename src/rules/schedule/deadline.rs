//! The deadline of an image, which follows from its build date.

use chrono::{DateTime, FixedOffset, Utc};

use super::settings::{PatchDays, Schedule};
use crate::calendar::freeze::{Freeze, Freezes};
use crate::calendar::zone::Zone;
use crate::config::values::Duration;

static UTC: Zone = Zone::UTC;

/// How often images must be rebuilt.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cadence<'s> {
    /// A maximum age.
    MaxAge(Duration),
    /// A calendar of patch days.
    PatchDays(&'s PatchDays),
}

/// The time until which an image may be deployed, and how it is derived.
#[derive(Debug, Clone, PartialEq)]
pub struct Deadline<'s> {
    /// The first moment at which the image may not be deployed.
    pub at: DateTime<Utc>,
    /// The first patch day after the build, in local time, if there is a calendar.
    pub patch_day: Option<DateTime<FixedOffset>>,
    /// The last freeze that postponed the deadline.
    pub moved_by: Option<&'s Freeze>,
}

impl Schedule {
    /// How often images must be rebuilt.
    #[must_use]
    pub fn cadence(&self) -> Cadence<'_> {
        self.patch_days.as_ref().map_or(Cadence::MaxAge(self.max_age), Cadence::PatchDays)
    }

    /// The deadline of an image that was built at this time.
    #[must_use]
    pub fn deadline(&self, built: DateTime<Utc>) -> Deadline<'_> {
        let (mut at, patch_day) = match self.cadence() {
            Cadence::MaxAge(age) => (built + age.delta(), None),
            Cadence::PatchDays(days) => {
                // There is no patch day if clocks skip every time of the expression. Without a fallback images would never be stale.
                let patch_day = days.next_after(built).unwrap_or_else(|| days.time_zone.local(built));
                (patch_day.to_utc() + days.grace.delta(), Some(patch_day))
            }
        };
        let freezes = Freezes { all: &self.freezes, zone: self.zone() };
        let moved = freezes.end_after(at, |_| true);
        let moved_by = moved.map(|(end, freeze)| {
            at = end;
            freeze
        });
        Deadline { at, patch_day, moved_by }
    }

    /// The time zone of the days.
    #[must_use]
    pub fn zone(&self) -> &Zone {
        match self.cadence() {
            Cadence::MaxAge(_) => &UTC,
            Cadence::PatchDays(days) => &days.time_zone,
        }
    }
}

impl PatchDays {
    /// The first patch day after a time, in local time.
    #[must_use]
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<DateTime<FixedOffset>> {
        self.cron.next_after(time, &self.time_zone)
    }
}
