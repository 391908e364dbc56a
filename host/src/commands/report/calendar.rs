//! The patch days and freezes around the deadlines of a report.

use chrono::{DateTime, TimeDelta, Utc};
use container_patch_policy::calendar::freeze::Period;
use container_patch_policy::config::read::Setting as _;
use container_patch_policy::rules::schedule::deadline::Cadence;
use container_patch_policy::rules::schedule::settings::Schedule;

use super::model::{Calendar, Freeze};

/// How long before the report the calendar begins at least, and at most.
const BEFORE: TimeDelta = TimeDelta::days(30);
const MAX_BEFORE: TimeDelta = TimeDelta::days(90);
/// How long after the last deadline the calendar ends, so that the next patch day is in it.
const AFTER: TimeDelta = TimeDelta::days(7);
/// The shortest time that the calendar looks ahead.
const AHEAD: TimeDelta = TimeDelta::days(30);
/// The longest time that the calendar looks ahead, whatever the last deadline.
const MAX_AHEAD: TimeDelta = TimeDelta::days(400);
/// The most patch days. A schedule may have one every minute.
const MAX_PATCH_DAYS: usize = 120;

/// The patch days and freezes around these deadlines.
pub(super) fn of(schedule: &Schedule, now: DateTime<Utc>, deadlines: &[DateTime<Utc>]) -> Calendar {
    let end = deadlines.iter().max().map_or(now + AHEAD, |last| (*last + AFTER).clamp(now + AHEAD, now + MAX_AHEAD));
    let begin = deadlines.iter().min().map_or(now - BEFORE, |first| (*first).clamp(now - MAX_BEFORE, now - BEFORE));
    let zone = schedule.zone();
    let time_zone = zone.to_json().as_str().unwrap_or_default().to_owned();
    if schedule.action.effect().is_none() {
        return Calendar { time_zone, ..Calendar::default() };
    }
    let mut patch_days = Vec::new();
    if let Cadence::PatchDays(days) = schedule.cadence() {
        let mut time = begin;
        while let Some(day) = days.next_after(time).map(|day| day.to_utc()).filter(|day| *day <= end) {
            if patch_days.len() == MAX_PATCH_DAYS {
                break;
            }
            patch_days.push(day);
            time = day;
        }
    }
    let days = Period { from: zone.day_of(begin), to: zone.day_of(end) };
    let freezes = schedule.freezes.iter().flat_map(|freeze| {
        let of = |Period { from, to }| Freeze { from, to, reason: freeze.reason_on_one_line() };
        freeze.periods(days).into_iter().map(of)
    });
    Calendar { time_zone, patch_days, freezes: freezes.collect() }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use container_patch_policy::settings::Settings;
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::of;

    #[test]
    fn the_calendar_covers_the_deadlines() {
        let settings = json!({"schedule": {
            "patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin"},
            "freezes": [
                {"from": "2026-12-18", "to": "2027-01-03", "reason": "year\nend"},
                {"from": "2028-12-18", "to": "2029-01-03", "reason": "far"},
                {"from": "12-31", "to": "01-01", "reason": "every year"},
            ],
        }});
        let settings = Settings::from_json(&to_raw_value(&settings).unwrap()).unwrap();
        let time = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
        let deadlines = [time("2026-10-01T00:00:00Z"), time("2027-01-20T00:00:00Z")];
        let calendar = of(&settings.rules.schedule, time("2026-11-20T12:00:00Z"), &deadlines);
        let days: Vec<String> = calendar.patch_days.iter().map(|day| day.to_rfc3339()).collect();
        assert_eq!(
            days,
            [
                "2026-10-12T22:00:00+00:00",
                "2026-11-09T23:00:00+00:00",
                "2026-12-07T23:00:00+00:00",
                "2027-01-11T23:00:00+00:00"
            ]
        );
        let freezes: Vec<_> =
            calendar.freezes.iter().map(|freeze| (freeze.reason.as_str(), freeze.from.to_string())).collect();
        assert_eq!(freezes, [("year end", "2026-12-18".to_owned()), ("every year", "2026-12-31".to_owned())]);
        assert_eq!(calendar.time_zone, "Europe/Berlin");
    }

    #[test]
    fn a_schedule_of_every_minute_stays_small() {
        let settings = json!({"schedule": {"patchDays": {"cron": "* * * * *"}}});
        let settings = Settings::from_json(&to_raw_value(&settings).unwrap()).unwrap();
        let calendar = of(&settings.rules.schedule, Utc::now(), &[]);
        assert_eq!(calendar.patch_days.len(), super::MAX_PATCH_DAYS);
    }
}
