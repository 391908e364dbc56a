//! Offsets of the zones of the IANA database from 2000-01-01 on.
//!
//! No container image is older. A time before 2000 has the offset of 2000-01-01. The build script generates the table, which is an
//! eighth of the size of the database. It is constant data: a request that uses a zone searches for its name, and reads nothing of
//! other zones.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};

include!(concat!(env!("OUT_DIR"), "/zones.rs"));

/// A name, as a range of `NAMES`, and the index of its offsets in `ZONES`.
struct Entry {
    start: u16,
    length: u8,
    zone: u8,
}

/// The offsets of a zone, in quarters of an hour east of UTC.
#[derive(Debug)]
pub(super) struct Offsets {
    /// The offset before the first transition.
    first: i8,
    /// Transitions in order. The upper bits are minutes since `BEGINNING`, the lower `OFFSET_BITS` bits the index of the new offset in
    /// `OFFSETS`.
    transitions: &'static [u32],
    /// The rule after the last transition. Without a rule, the last offset stays.
    rule: Option<&'static DaylightSaving>,
}

/// Standard time and summer time, which alternate every year. Offsets are in quarters of an hour.
#[derive(Debug)]
struct DaylightSaving {
    standard: i8,
    summer: i8,
    begins: Transition,
    ends: Transition,
}

/// A yearly transition.
#[derive(Debug)]
struct Transition {
    month: u8,
    /// The occurrence of the weekday in the month, 1 to 4. The last one is 5.
    week: u8,
    /// The day of the week; Sunday is 0.
    weekday: u8,
    /// Minutes after midnight UTC of that day. Negative for a transition on the day before.
    minutes: i16,
}

/// A span of time without a transition, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetSpan {
    /// The first second. `i64::MIN` if there is no known transition before.
    pub start: i64,
    /// The second of the next transition. `i64::MAX` if there is none.
    pub end: i64,
    /// Seconds east of UTC.
    pub offset: i32,
}

impl Entry {
    fn name(&self) -> &'static str {
        let start = usize::from(self.start);
        NAMES.get(start..start + usize::from(self.length)).unwrap_or_default()
    }
}

/// All names, in alphabetical order.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(Entry::name)
}

/// The offsets of the zone with this name, and the name as static text.
pub(super) fn find(name: &str) -> Option<(&'static str, &'static Offsets)> {
    let index = ENTRIES.binary_search_by(|entry| entry.name().cmp(name)).ok()?;
    let entry = ENTRIES.get(index)?;
    Some((entry.name(), ZONES.get(usize::from(entry.zone))?))
}

impl Offsets {
    /// UTC.
    pub(super) const UTC: &Self = &Self { first: 0, transitions: &[], rule: None };

    /// The span that contains a time, in seconds since 1970.
    pub(super) fn span_at(&self, at: i64) -> OffsetSpan {
        let at = at.max(BEGINNING);
        let passed = self.transitions.partition_point(|transition| time_of(*transition) <= at);
        let last = passed.checked_sub(1).and_then(|index| self.transitions.get(index));
        let start = last.map_or(i64::MIN, |transition| time_of(*transition));
        match (self.transitions.get(passed), self.rule) {
            (None, Some(rule)) => {
                let by_rule = rule.span_at(at);
                let first_known = if by_rule.start <= BEGINNING { i64::MIN } else { by_rule.start };
                OffsetSpan { start: first_known.max(start), ..by_rule }
            }
            (next, _) => {
                let offset = last.map_or(self.first, |transition| offset_of(*transition));
                let end = next.map_or(i64::MAX, |transition| time_of(*transition));
                OffsetSpan { start, end, offset: seconds(offset) }
            }
        }
    }
}

impl DaylightSaving {
    fn span_at(&self, at: i64) -> OffsetSpan {
        let year = DateTime::from_timestamp(at, 0).map_or(0, |time| time.year());
        let (first, second) = self.transitions(year);
        let (start, end) = if at < first.0 {
            (self.transitions(year - 1).1, first)
        } else if at < second.0 {
            (first, second)
        } else {
            (second, self.transitions(year + 1).0)
        };
        OffsetSpan { start: start.0, end: end.0, offset: seconds(start.1) }
    }

    /// The two transitions of a year in order: the second, and the offset from then on.
    fn transitions(&self, year: i32) -> ((i64, i8), (i64, i8)) {
        let begins = (self.begins.in_year(year), self.summer);
        let ends = (self.ends.in_year(year), self.standard);
        if begins < ends { (begins, ends) } else { (ends, begins) }
    }
}

impl Transition {
    /// The second of the transition in a year. `i64::MAX` if the calendar does not have the year.
    fn in_year(&self, year: i32) -> i64 {
        let Some(first) = NaiveDate::from_ymd_opt(year, self.month.into(), 1) else { return i64::MAX };
        let weekdays_before = (i64::from(self.weekday) + 7 - i64::from(first.weekday().num_days_from_sunday())) % 7;
        let days = weekdays_before + 7 * (i64::from(self.week) - 1);
        // A month has four or five of each weekday.
        let days = if days < i64::from(first.num_days_in_month()) { days } else { days - 7 };
        first.and_time(NaiveTime::MIN).and_utc().timestamp() + (days * 24 * 60 + i64::from(self.minutes)) * 60
    }
}

fn time_of(transition: u32) -> i64 {
    BEGINNING + i64::from(transition >> OFFSET_BITS) * 60
}

fn offset_of(transition: u32) -> i8 {
    let index = transition & ((1 << OFFSET_BITS) - 1);
    usize::try_from(index).ok().and_then(|index| OFFSETS.get(index)).copied().unwrap_or_default()
}

fn seconds(quarters: i8) -> i32 {
    i32::from(quarters) * QUARTER
}
