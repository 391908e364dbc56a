use chrono::{DateTime, TimeDelta, Utc};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::settings::Schedule;
use super::*;
use crate::calendar::freeze::Period;
use crate::config::read::{Path, Problems, Setting};
use crate::evidence::build_date::BuildDate;
use crate::finding::Effect;

fn read(settings: &Value) -> Result<Schedule, Vec<String>> {
    let json = serde_json::value::to_raw_value(settings).unwrap();
    let mut problems = Problems::default();
    let schedule = Schedule::read(&json, Path::Key(&Path::Root, "schedule"), &mut problems);
    if problems.is_empty() { Ok(schedule.unwrap()) } else { Err(problems.lines().to_vec()) }
}

fn schedule(settings: Value) -> Schedule {
    read(&settings).unwrap_or_else(|problems| panic!("{settings}: {problems:?}"))
}

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_utc()
}

fn judge(schedule: &Schedule, built: &str, now: &str) -> Option<(Code, Effect)> {
    let violation = schedule.judge(&BuildDate::At(time(built)), time(now))?;
    Some((violation.code, violation.effect))
}

#[test]
fn a_deadline_follows_from_the_build_date_the_cadence_and_the_freezes() {
    let monthly = |zone: &str| json!({"patchDays": {"cron": "0 0 * * TUE#2", "timeZone": zone, "grace": "14d"}});
    let with_freezes = |freezes: Value| json!({"maxAge": "90d", "freezes": freezes});
    let freeze = |from: &str, to: &str| json!({"from": from, "to": to, "reason": "r"});
    for (name, settings, built, deadline) in [
        ("a maximum age", json!({"maxAge": "90d"}), "2026-07-01T10:00:00Z", "2026-09-29T10:00:00Z"),
        ("the default age", json!({}), "2026-07-01T10:00:00Z", "2026-09-29T10:00:00Z"),
        ("hours", json!({"maxAge": "12h"}), "2026-07-01T10:00:00Z", "2026-07-01T22:00:00Z"),
        ("a leap day", json!({"maxAge": "1d"}), "2028-02-28T10:00:00Z", "2028-02-29T10:00:00Z"),
        ("no leap day", json!({"maxAge": "1d"}), "2027-02-28T10:00:00Z", "2027-03-01T10:00:00Z"),
        ("built on a leap day", json!({"maxAge": "365d"}), "2028-02-29T00:00:00Z", "2029-02-28T00:00:00Z"),
        ("a monthly patch day", monthly("UTC"), "2026-07-01T10:00:00Z", "2026-07-28T00:00:00Z"),
        ("the day before a patch day", monthly("UTC"), "2026-07-13T23:59:59Z", "2026-07-28T00:00:00Z"),
        ("exactly on a patch day", monthly("UTC"), "2026-07-14T00:00:00Z", "2026-08-25T00:00:00Z"),
        ("later on a patch day", monthly("UTC"), "2026-07-14T15:00:00Z", "2026-08-25T00:00:00Z"),
        ("a patch day in another zone", monthly("Asia/Tokyo"), "2026-07-13T14:59:59Z", "2026-07-27T15:00:00Z"),
        ("on a patch day in another zone", monthly("Asia/Tokyo"), "2026-07-13T15:00:00Z", "2026-08-24T15:00:00Z"),
        (
            "a weekly patch day",
            json!({"patchDays": {"cron": "0 6 * * MON", "grace": "2d"}}),
            "2026-11-18T00:00:00Z",
            "2026-11-25T06:00:00Z",
        ),
        (
            "the last day of a month",
            json!({"patchDays": {"cron": "0 0 L * *", "grace": "1d"}}),
            "2028-02-10T00:00:00Z",
            "2028-03-01T00:00:00Z",
        ),
        (
            "the last Friday",
            json!({"patchDays": {"cron": "0 0 * * FRI#L", "grace": "1d"}}),
            "2026-11-01T00:00:00Z",
            "2026-11-28T00:00:00Z",
        ),
        // Clocks in Berlin go back on 2026-10-25 and forward on 2027-03-28. A day of grace is 24 hours.
        (
            "before winter time",
            json!({"patchDays": {"cron": "0 0 24 10 *", "timeZone": "Europe/Berlin", "grace": "1d"}}),
            "2026-10-01T00:00:00Z",
            "2026-10-24T22:00:00Z",
        ),
        (
            "into winter time",
            json!({"patchDays": {"cron": "0 0 25 10 *", "timeZone": "Europe/Berlin", "grace": "1d"}}),
            "2026-10-01T00:00:00Z",
            "2026-10-25T22:00:00Z",
        ),
        (
            "after winter time",
            json!({"patchDays": {"cron": "0 0 26 10 *", "timeZone": "Europe/Berlin", "grace": "1d"}}),
            "2026-10-01T00:00:00Z",
            "2026-10-26T23:00:00Z",
        ),
        (
            "a patch day in the hour that is skipped",
            json!({"patchDays": {"cron": "30 2 28 3 *", "timeZone": "Europe/Berlin", "grace": "1h"}}),
            "2027-03-01T00:00:00Z",
            "2027-03-28T02:00:00Z",
        ),
        (
            "a deadline on the first second of a freeze",
            with_freezes(json!([freeze("2026-12-18", "2027-01-03")])),
            "2026-09-19T00:00:00Z",
            "2027-01-04T00:00:00Z",
        ),
        (
            "a deadline on the last second of a freeze",
            with_freezes(json!([freeze("2026-12-18", "2027-01-03")])),
            "2026-10-05T23:59:59Z",
            "2027-01-04T00:00:00Z",
        ),
        (
            "a deadline a second before a freeze",
            with_freezes(json!([freeze("2026-12-18", "2027-01-03")])),
            "2026-09-18T23:59:59Z",
            "2026-12-17T23:59:59Z",
        ),
        (
            "a deadline right after a freeze",
            with_freezes(json!([freeze("2026-12-18", "2027-01-03")])),
            "2026-10-06T00:00:00Z",
            "2027-01-04T00:00:00Z",
        ),
        (
            "a freeze of one day",
            with_freezes(json!([freeze("2026-12-24", "2026-12-24")])),
            "2026-09-25T12:00:00Z",
            "2026-12-25T00:00:00Z",
        ),
        (
            "two freezes back to back",
            with_freezes(json!([freeze("2027-01-04", "2027-01-10"), freeze("2026-12-18", "2027-01-03")])),
            "2026-09-30T00:00:00Z",
            "2027-01-11T00:00:00Z",
        ),
        (
            "two freezes that overlap",
            with_freezes(json!([freeze("2026-12-18", "2027-01-03"), freeze("2026-12-30", "2027-01-05")])),
            "2026-09-30T00:00:00Z",
            "2027-01-06T00:00:00Z",
        ),
        (
            "a freeze that is longer than the cadence",
            json!({"patchDays": {"cron": "0 0 * * MON", "grace": "1d"}, "freezes": [freeze("2026-11-01", "2026-12-31")]}),
            "2026-11-03T00:00:00Z",
            "2027-01-01T00:00:00Z",
        ),
        (
            "a freeze in the zone of the calendar",
            json!({"patchDays": {"cron": "0 0 1 12 *", "timeZone": "Asia/Tokyo", "grace": "1d"}, "freezes": [freeze("2026-12-02", "2026-12-02")]}),
            "2026-11-03T00:00:00Z",
            "2026-12-02T15:00:00Z",
        ),
        (
            "a yearly freeze",
            with_freezes(json!([freeze("12-18", "01-03")])),
            "2026-09-25T12:00:00Z",
            "2027-01-04T00:00:00Z",
        ),
        (
            "a yearly freeze that began in the year before",
            with_freezes(json!([freeze("12-18", "01-03")])),
            "2029-10-05T23:59:59Z",
            "2030-01-04T00:00:00Z",
        ),
        (
            "a deadline right after a yearly freeze",
            with_freezes(json!([freeze("12-18", "01-03")])),
            "2029-10-06T00:00:00Z",
            "2030-01-04T00:00:00Z",
        ),
        (
            "a yearly freeze between two dated ones",
            with_freezes(json!([
                freeze("2027-01-04", "2027-01-10"),
                freeze("12-18", "01-03"),
                freeze("2026-12-01", "2026-12-17")
            ])),
            "2026-09-03T00:00:00Z",
            "2027-01-11T00:00:00Z",
        ),
        (
            "a yearly freeze to a 29 February that the year does not have",
            with_freezes(json!([freeze("02-20", "02-29")])),
            "2026-11-25T00:00:00Z",
            "2027-03-01T00:00:00Z",
        ),
        (
            "a yearly freeze from a 29 February that the year does not have",
            with_freezes(json!([freeze("02-29", "03-05")])),
            "2026-12-01T00:00:00Z",
            "2027-03-06T00:00:00Z",
        ),
        (
            "a yearly freeze from a 29 February that the year has",
            with_freezes(json!([freeze("02-29", "03-05")])),
            "2027-12-01T00:00:00Z",
            "2028-03-06T00:00:00Z",
        ),
        // Clocks in Cairo go forward at midnight: 2027-04-30 begins at 01:00.
        (
            "a freeze that ends on a day without midnight",
            json!({"patchDays": {"cron": "0 0 28 4 *", "timeZone": "Africa/Cairo", "grace": "1d"}, "freezes": [freeze("2027-04-29", "2027-04-29")]}),
            "2027-04-01T00:00:00Z",
            "2027-04-29T22:00:00Z",
        ),
    ] {
        let schedule = schedule(settings);
        assert_eq!(schedule.deadline(time(built)).at, time(deadline), "{name}");
    }
}

#[test]
fn an_image_is_warned_about_before_its_deadline_and_stale_from_it_on() {
    let schedule = schedule(json!({"maxAge": "90d", "warnBefore": "14d"}));
    let built = "2026-07-01T00:00:00Z";
    assert_eq!(judge(&schedule, built, "2026-09-14T23:59:59Z"), None);
    assert_eq!(judge(&schedule, built, "2026-09-15T00:00:00Z"), Some((PATCH_DUE, Effect::Warn)));
    assert_eq!(judge(&schedule, built, "2026-09-28T23:59:59Z"), Some((PATCH_DUE, Effect::Warn)));
    assert_eq!(judge(&schedule, built, "2026-09-29T00:00:00Z"), Some((STALE_IMAGE, Effect::Deny)));
}

#[test]
fn the_action_decides_the_effect_of_staleness() {
    let now = "2026-11-20T00:00:00Z";
    let old = "2026-01-01T00:00:00Z";
    assert_eq!(judge(&schedule(json!({"action": "warn"})), old, now), Some((STALE_IMAGE, Effect::Warn)));
    assert_eq!(judge(&schedule(json!({"action": "off"})), old, now), None);
}

#[test]
fn a_message_names_the_build_date_the_days_the_patch_day_and_the_deadline() {
    let now = time("2026-11-20T12:00:00Z");
    let text = |settings: Value, built: &str| schedule(settings).judge(&BuildDate::At(time(built)), now).unwrap().text;
    assert_eq!(
        text(json!({}), "2026-07-01T00:00:00Z"),
        "was built 2026-07-01 (142 days ago), over the 90-day limit: a rebuild was due by 2026-09-29; deploy a newer build"
    );
    assert_eq!(
        text(json!({"maxAge": "1d"}), "2026-11-19T00:00:00Z"),
        "was built 2026-11-19 (1 day ago), over the 1-day limit: a rebuild was due by 2026-11-20; deploy a newer build"
    );
    assert_eq!(
        text(json!({"maxAge": "12h"}), "2026-11-20T10:00:00Z"),
        "was built 2026-11-20 (0 days ago), subject to the 12-hour limit: a rebuild is due by 2026-11-20 (within a day); plan a newer build"
    );
    let calendar = json!({"patchDays": {"cron": "0 0 * * TUE#2"}});
    assert_eq!(
        text(calendar.clone(), "2026-07-01T00:00:00Z"),
        "was built 2026-07-01 (142 days ago), before the patch day 2026-07-14: a rebuild was due by 2026-07-28; deploy a newer build"
    );
    assert_eq!(
        text(calendar, "2026-11-09T00:00:00Z"),
        "was built 2026-11-09 (11 days ago), before the patch day 2026-11-10: a rebuild is due by 2026-11-24 (in 3 days); plan a newer build"
    );
    let frozen = json!({"maxAge": "60d", "freezes": [{"from": "2026-11-15", "to": "2026-11-22", "reason": "launch"}]});
    assert_eq!(
        text(frozen, "2026-09-18T00:00:00Z"),
        "was built 2026-09-18 (63 days ago), subject to the 60-day limit: a rebuild is due by 2026-11-23 (after the freeze `launch`, in 2 days); plan a newer build"
    );
}

#[test]
fn an_image_without_a_plausible_build_date_is_treated_by_the_settings() {
    let now = time("2026-11-20T12:00:00Z");
    let judged = |settings: Value, date: &BuildDate| {
        let violation = schedule(settings).judge(date, now)?;
        Some((violation.code, violation.effect))
    };
    let unknown = BuildDate::Unknown(Some("1970-01-01T00:00:00Z".to_owned()));
    assert_eq!(judged(json!({}), &unknown), Some((UNKNOWN_BUILD_DATE, Effect::Warn)));
    assert_eq!(judged(json!({"unknownBuildDate": "deny"}), &unknown), Some((UNKNOWN_BUILD_DATE, Effect::Deny)));
    assert_eq!(judged(json!({"unknownBuildDate": "allow"}), &unknown), None);
    assert_eq!(judged(json!({"action": "off", "unknownBuildDate": "deny"}), &unknown), None);
    let future = BuildDate::Future(time("2027-01-01T00:00:00Z"));
    assert_eq!(judged(json!({}), &future), Some((FUTURE_BUILD_DATE, Effect::Deny)));
    assert_eq!(judged(json!({"action": "warn"}), &future), Some((FUTURE_BUILD_DATE, Effect::Warn)));
}

#[test]
fn invalid_schedules_are_rejected_with_the_path() {
    let freeze = |from: &str, to: &str| json!({"freezes": [{"from": from, "to": to, "reason": "r"}]});
    for (settings, expected) in [
        (
            json!({"maxAge": "90d", "patchDays": {"cron": "0 0 1 * *"}}),
            "schedule: give `maxAge` (a maximum age) or `patchDays` (a calendar), not both",
        ),
        (json!({"patchDays": {}}), "schedule.patchDays: `cron` is required"),
        (json!({"patchDays": {"cron": "0 0 30 2 *"}}), "schedule.patchDays.cron: `0 0 30 2 *` never fires"),
        (
            json!({"patchDays": {"cron": "0 0 * *"}}),
            "schedule.patchDays.cron: invalid cron expression `0 0 * *`: expected 5 fields, found 4; ",
        ),
        (
            json!({"patchDays": {"cron": "0 0 0 * * *"}}),
            "schedule.patchDays.cron: invalid cron expression `0 0 0 * * *`: expected 5 fields, found 6; ",
        ),
        (
            json!({"patchDays": {"cron": "every day"}}),
            "schedule.patchDays.cron: invalid cron expression `every day`: expected 5 fields, found 2; ",
        ),
        (json!({"patchDays": {"cron": ", * * * *"}}), "schedule.patchDays.cron: `, * * * *` never fires"),
        (
            json!({"patchDays": {"cron": ""}}),
            "schedule.patchDays.cron: invalid cron expression ``: expected 5 fields, found 0; ",
        ),
        (
            json!({"patchDays": {"cron": "0 0 1 * *", "timeZone": "Europe/Berlni"}}),
            "schedule.patchDays.timeZone: unknown IANA time zone `Europe/Berlni`; similar ones are `Europe/Berlin`, ",
        ),
        (
            freeze("2026-12-18", "2026-12-17"),
            "schedule.freezes[0]: the freeze ends on 2026-12-17, before it starts on 2026-12-18",
        ),
        (freeze("2026-02-30", "2026-12-17"), "schedule.freezes[0].from: invalid date `2026-02-30`"),
        (
            freeze("02-30", "12-17"),
            "schedule.freezes[0].from: invalid date `02-30`; write one such as `2026-12-18`, or",
        ),
        (
            freeze("2026-12-18", "01-03"),
            "schedule.freezes[0]: give both `from` and `to` with a year, such as `2026-12-18`, or",
        ),
        (freeze("01-04", "01-03"), "schedule.freezes: the yearly freezes cover the whole year, so every deadline is"),
        (json!({"freezes": [{"from": "2026-12-18", "to": "2026-12-19"}]}), "schedule.freezes[0]: `reason` is required"),
        (json!({"maxAge": "0d"}), "schedule.maxAge: `0d` is zero; write at least `1s`"),
        (json!({"warnBefore": "0s"}), "schedule.warnBefore: `0s` is zero; write at least `1s`"),
        (json!({"maxAge": "-3d"}), "schedule.maxAge: invalid duration `-3d`; write one such as `90d`"),
        (json!({"maxAge": "90"}), "schedule.maxAge: `90` has no unit; write `90d` for days, or `90h` for hours"),
        (json!({"maxAge": 90}), "schedule.maxAge: `90` has no unit; write `90d` for days, or `90h` for hours"),
        (
            json!({"maxAge": "3months"}),
            "schedule.maxAge: `3months`: months and years have different lengths; write days",
        ),
        (json!({"maxAge": "365250d"}), "schedule.maxAge: `365250d` is too long; write at most `36600d`"),
        (json!({"maxAge": "99999999999999999999d"}), "schedule.maxAge: invalid duration `99999999999999999999d`"),
        (json!({"maxAgee": "90d"}), "schedule.maxAgee: unknown key; did you mean `maxAge`?"),
    ] {
        let problems = read(&settings).expect_err("these settings are not valid");
        assert!(problems[0].starts_with(expected), "{settings}\n  expected: {expected}\n  found:    {problems:?}");
        assert_eq!(problems.len(), 1, "{problems:?}");
    }
}

#[test]
fn a_reason_of_several_lines_is_repeated_on_one_line() {
    let freeze = json!({"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end\n  freeze\r\n"});
    let schedule = schedule(json!({"maxAge": "90d", "freezes": [freeze]}));
    let violation = schedule.judge(&BuildDate::At(time("2026-09-25T00:00:00Z")), time("2027-01-04T00:00:00Z")).unwrap();
    assert!(violation.text.contains("by 2027-01-04 (after the freeze `year-end freeze`)"), "{}", violation.text);
}

fn any_schedule() -> impl Strategy<Value = Schedule> {
    let period = (1_u32..400, prop_oneof![Just("d"), Just("h")]).prop_map(|(n, unit)| format!("{n}{unit}"));
    let cron = prop_oneof![
        Just("0 0 * * TUE#2"),
        Just("0 0 L * *"),
        Just("30 2 * * SUN"),
        Just("0 0 29 2 *"),
        Just("*/15 * * * *"),
        Just("0 12 1,15 * *"),
    ];
    let zone = prop_oneof![
        Just("UTC"),
        Just("Europe/Berlin"),
        Just("America/New_York"),
        Just("Africa/Cairo"),
        Just("Pacific/Apia")
    ];
    let cadence = prop_oneof![
        period.clone().prop_map(|age| json!({"maxAge": age})),
        (cron, zone, period.clone())
            .prop_map(|(cron, zone, grace)| json!({"patchDays": {"cron": cron, "timeZone": zone, "grace": grace}})),
    ];
    let freezes = prop::collection::vec((0_i64..2000, 0_i64..60, any::<bool>()), 0..4);
    (cadence, freezes, period).prop_map(|(mut settings, freezes, warn_before)| {
        let day = |offset: i64| (time("2024-01-01T00:00:00Z") + TimeDelta::days(offset)).date_naive().to_string();
        let freezes: Vec<Value> = freezes
            .into_iter()
            .map(|(start, length, is_yearly)| {
                let [from, to] = [day(start), day(start + length)];
                let of_year = |day: &str| day[5..].to_owned();
                let [from, to] = if is_yearly { [of_year(&from), of_year(&to)] } else { [from, to] };
                json!({"from": from, "to": to, "reason": "r"})
            })
            .collect();
        settings["freezes"] = json!(freezes);
        settings["warnBefore"] = json!(warn_before);
        schedule(settings)
    })
}

fn any_time() -> impl Strategy<Value = DateTime<Utc>> {
    (0_i64..6 * 365 * 86_400).prop_map(|seconds| time("2024-01-01T00:00:00Z") + TimeDelta::seconds(seconds))
}

proptest! {
    #[test]
    fn a_stale_image_stays_stale(
        schedule in any_schedule(), built in any_time(), now in any_time(), later in 0_i64..400 * 86_400,
    ) {
        let severity = |now| match schedule.judge(&BuildDate::At(built), now) {
            None => 0,
            Some(violation) if violation.code == PATCH_DUE => 1,
            Some(_) => 2,
        };
        prop_assert!(severity(now) <= severity(now + TimeDelta::seconds(later)));
    }

    #[test]
    fn a_newer_build_never_has_an_earlier_deadline(
        schedule in any_schedule(), built in any_time(), later in 0_i64..400 * 86_400,
    ) {
        let newer = built + TimeDelta::seconds(later);
        prop_assert!(schedule.deadline(built).at <= schedule.deadline(newer).at);
    }

    #[test]
    fn a_deadline_is_after_the_build_and_outside_freezes(schedule in any_schedule(), built in any_time()) {
        let deadline = schedule.deadline(built).at;
        prop_assert!(deadline > built);
        let day = schedule.zone().day_of(deadline);
        for freeze in &schedule.freezes {
            prop_assert_eq!(freeze.periods(Period { from: day, to: day }), [], "{} is in {:?}", deadline, freeze);
        }
    }
}
