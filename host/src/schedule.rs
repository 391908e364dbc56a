//! `container-patch schedule`: shows what a patch schedule means, before it is trusted.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, TimeDelta, TimeZone as _, Utc};
use clap::Args;
use container_patch_policy::rules::schedule::{Cadence, Freeze, PatchDays, Schedule};
use container_patch_policy::settings::Settings;
use serde_json::value::to_raw_value;

use crate::{settings, stdout};

/// The most patch days that are printed of one schedule.
const MOST: usize = 500;

/// Print the coming patch days, deadlines and freezes of the settings' schedule
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    settings: settings::Source,
    /// First day to look at; today if left out
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// How many months to look ahead
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=120))]
    months: u32,
}

/// Prints the schedule.
///
/// # Errors
/// When the settings cannot be read or are not valid.
pub fn exec(options: &Options) -> Result<()> {
    let json = to_raw_value(&options.settings.read()?)?;
    let settings = match Settings::from_json(&json) {
        Ok(settings) => settings,
        Err(problems) => bail!("the settings of this policy are not valid:\n{problems}"),
    };
    let from = options.from.unwrap_or_else(|| Utc::now().date_naive());
    if !(1970..=4900).contains(&from.year()) {
        bail!("--from is a day of the years 1970 to 4900");
    }
    let to = from.checked_add_months(Months::new(options.months)).context("that is too far ahead")?;
    let mut text = explain(&settings.schedule, from, to);
    for (index, entry) in settings.overrides.iter().enumerate() {
        if let Some(schedule) = &entry.schedule {
            let _ = write!(text, "\nImages of overrides[{index}]:\n{}", explain(schedule, from, to));
        }
    }
    stdout::print(&text)
}

/// What a schedule asks between two days, in words. Writing to a `String` cannot fail.
fn explain(schedule: &Schedule, from: NaiveDate, to: NaiveDate) -> String {
    let mut text = String::new();
    if schedule.action.effect().is_none() {
        return "The schedule is off: images may be of any age.\n".to_owned();
    }
    match schedule.cadence() {
        Cadence::MaxAge(age) => {
            let _ = writeln!(text, "Images may be {age} old. Days begin and end in UTC.\n");
            for day in [from, to] {
                let oldest = oldest(schedule, day.and_time(NaiveTime::MIN).and_utc(), age.delta());
                let _ = writeln!(text, "On {day}, images built before {} are too old.", timestamp(oldest));
            }
        }
        Cadence::PatchDays(days) => calendar(schedule, days, from, to, &mut text),
    }
    let coming: Vec<&Freeze> =
        schedule.freezes.iter().filter(|freeze| freeze.to >= from && freeze.from <= to).collect();
    if !coming.is_empty() {
        let _ = writeln!(text, "\nFreezes, out of which deadlines move to the day after:");
        for freeze in coming {
            let _ = writeln!(text, "  {} to {}  {}", freeze.from, freeze.to, freeze.reason);
        }
    }
    text
}

fn calendar(schedule: &Schedule, days: &PatchDays, from: NaiveDate, to: NaiveDate, text: &mut String) {
    let zone = schedule.zone();
    let _ = writeln!(
        text,
        "Images are good until the first patch day after their build, plus {}. Days begin and end in {zone}.\n",
        days.grace
    );
    let _ = writeln!(text, "{:<26}{:<35}WARNED FROM", "PATCH DAY", "OLDER IMAGES ARE REFUSED FROM");
    let start = zone.from_local_datetime(&from.and_time(NaiveTime::MIN)).earliest();
    let start = start.map_or_else(|| from.and_time(NaiveTime::MIN).and_utc(), |start| start.to_utc());
    // A patch day of before may have its deadline still to come: by grace, and by every freeze that moves it.
    let frozen: TimeDelta = schedule.freezes.iter().map(|freeze| freeze.to - freeze.from + TimeDelta::days(1)).sum();
    let mut time = start.checked_sub_signed(days.grace.delta() + frozen).unwrap_or(start) - TimeDelta::seconds(1);
    let mut count = 0;
    while let Some(day) = days.next_after(time).filter(|day| day.date_naive() <= to) {
        time = day.to_utc();
        // An image that was built just before this day is the newest that the day is about.
        let deadline = schedule.deadline(day.to_utc() - TimeDelta::seconds(1));
        if deadline.at < start {
            continue;
        }
        if count == MOST {
            let _ = writeln!(text, "… and more; look at fewer months");
            break;
        }
        count += 1;
        let warned = (deadline.at - schedule.warn_before.delta()).with_timezone(&zone);
        let moved =
            deadline.moved_by.map(|freeze| format!("  (after the freeze `{}`)", freeze.reason)).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<26}{:<35}{}{moved}",
            day.format("%a %Y-%m-%d %H:%M").to_string(),
            deadline.at.with_timezone(&zone).format("%a %Y-%m-%d %H:%M").to_string(),
            warned.format("%Y-%m-%d"),
        );
    }
}

/// The build date from which on images may be deployed at a time, by a rolling age: those of before are past their deadline.
fn oldest(schedule: &Schedule, now: DateTime<Utc>, age: TimeDelta) -> DateTime<Utc> {
    let zone = schedule.zone();
    let mut oldest = now - age;
    // Each freeze that holds deadlines back lets images of its whole length live on.
    for _ in &schedule.freezes {
        let earlier = schedule.freezes.iter().map(|freeze| freeze.span(&zone).0 - age);
        let allowed = earlier.filter(|built| *built < oldest && schedule.deadline(*built).at > now).min();
        let Some(built) = allowed else { break };
        oldest = built;
    }
    oldest
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}
