//! `container-patch schedule`: shows the dates of a patch schedule, to check it before use.

use std::fmt::Write as _;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use clap::Args;
use container_patch_policy::rules::schedule::deadline::Cadence;
use container_patch_policy::rules::schedule::settings::{Freeze, PatchDays, Schedule};
use container_patch_policy::settings::Settings;
use serde_json::value::to_raw_value;

use crate::settings::SettingsOptions;
use crate::stdout;

/// The maximum number of patch days to print for a schedule.
const MAX_PATCH_DAYS: usize = 500;

/// Print the next patch days, deadlines and freezes of the schedule in the settings
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    settings: SettingsOptions,
    /// First day [default: today]
    #[arg(long, value_name = "DATE")]
    from: Option<NaiveDate>,
    /// Number of months to look ahead
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=120))]
    months: u32,
}

/// Prints the schedule.
///
/// # Errors
/// When the settings cannot be read, or are invalid.
pub fn exec(options: &Options) -> Result<()> {
    let json = to_raw_value(&options.settings.read()?)?;
    let (settings, warnings) = match Settings::with_warnings(&json) {
        Ok(read) => read,
        Err(problems) => bail!("the settings of this policy are not valid:\n{problems}"),
    };
    for warning in warnings {
        eprintln!("Warning: settings: {warning}");
    }
    let from = options.from.unwrap_or_else(|| Utc::now().date_naive());
    if !(1970..=4900).contains(&from.year()) {
        bail!("invalid --from: expected a day of the years 1970 to 4900");
    }
    let to = from.checked_add_months(Months::new(options.months)).context("--months is too large")?;
    let schedule = &settings.rules.schedule;
    let mut text = explain(schedule, from, to);
    for (index, entry) in settings.overrides().iter().enumerate() {
        if entry.rules.schedule != *schedule {
            let _ = write!(text, "\nImages of overrides[{index}]:\n{}", explain(&entry.rules.schedule, from, to));
        }
    }
    stdout::print(&text)
}

/// Describes a schedule between two days. Writing to a `String` cannot fail.
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
        let _ = writeln!(text, "\nFreezes (a deadline during a freeze moves to the day after it):");
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
        "Images may be deployed until the first patch day after their build, plus {}. Days begin and end in {zone}.\n",
        days.grace
    );
    let _ = writeln!(text, "{:<26}{:<35}WARNED FROM", "PATCH DAY", "OLDER IMAGES ARE REFUSED FROM");
    let start = zone.start_of_day(from);
    // The deadline of an earlier patch day may be after the start, because of the grace period and of freezes.
    let frozen: TimeDelta = schedule.freezes.iter().map(|freeze| freeze.to - freeze.from + TimeDelta::days(1)).sum();
    let mut time = start.checked_sub_signed(days.grace.delta() + frozen).unwrap_or(start) - TimeDelta::seconds(1);
    let mut count = 0;
    while let Some(day) = days.next_after(time).filter(|day| day.date_naive() <= to) {
        time = day.to_utc();
        // The newest image that this patch day concerns was built just before it.
        let deadline = schedule.deadline(day.to_utc() - TimeDelta::seconds(1));
        if deadline.at < start {
            continue;
        }
        if count == MAX_PATCH_DAYS {
            let _ = writeln!(text, "… and more; choose fewer --months");
            break;
        }
        count += 1;
        let warned = zone.local(deadline.at - schedule.warn_before.delta());
        let moved =
            deadline.moved_by.map(|freeze| format!("  (after the freeze `{}`)", freeze.reason)).unwrap_or_default();
        let _ = writeln!(
            text,
            "{:<26}{:<35}{}{moved}",
            day.format("%a %Y-%m-%d %H:%M").to_string(),
            zone.local(deadline.at).format("%a %Y-%m-%d %H:%M").to_string(),
            warned.format("%Y-%m-%d"),
        );
    }
}

/// The earliest build date that may be deployed at a time, for a maximum age.
fn oldest(schedule: &Schedule, now: DateTime<Utc>, age: TimeDelta) -> DateTime<Utc> {
    let zone = schedule.zone();
    let mut oldest = now - age;
    // A freeze that postpones deadlines allows images that are older by its length.
    for _ in &schedule.freezes {
        let earlier = schedule.freezes.iter().map(|freeze| freeze.span(zone).0 - age);
        let allowed = earlier.filter(|built| *built < oldest && schedule.deadline(*built).at > now).min();
        let Some(built) = allowed else { break };
        oldest = built;
    }
    oldest
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}
