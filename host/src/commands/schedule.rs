//! `container-patch schedule`: shows the dates of a patch schedule, to check it before use or to publish it.

mod ics;
mod openmetrics;
mod plan;
mod text;

use anyhow::{Context, Result, bail};
use chrono::{DateTime, Datelike as _, Months, NaiveDate, NaiveTime, Utc};
use clap::{Args, ValueEnum};
use container_patch_policy::settings::Settings;
use serde_json::json;
use serde_json::value::to_raw_value;

use self::plan::{Plan, Scope};
use crate::settings::SettingsOptions;
use crate::stdout;

/// The most months to look ahead.
const MAX_MONTHS: u32 = 120;

/// Print the next patch days, deadlines, freezes and rollout windows of the settings
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    settings: SettingsOptions,
    /// First day [default: today]
    #[arg(long, value_name = "DATE", value_parser = first_day)]
    from: Option<NaiveDate>,
    /// Number of months to look ahead
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_MONTHS)))]
    months: u32,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Print all lines of the text, which otherwise ends after 60
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Output {
    /// Tables for people
    #[default]
    Text,
    /// JSON object for programs
    Json,
    /// Calendar file (RFC 5545) to which people can subscribe
    Ics,
    /// The next dates as metrics for Prometheus
    Openmetrics,
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
    let now = Utc::now();
    let from = options.from.unwrap_or_else(|| now.date_naive());
    // The next patch day can be years ahead.
    let months = if options.output == Output::Openmetrics { MAX_MONTHS } else { options.months };
    let to = from.checked_add_months(Months::new(months)).context("--months is too large")?;
    let start = options.from.map_or(now, |day| day.and_time(NaiveTime::MIN).and_utc());
    let plans = plans(&settings, Range { from, to, start });
    stdout::print(&match options.output {
        Output::Text => text::render(&plans, from, to, options.all),
        Output::Json => {
            let schedules: Vec<_> = plans.iter().map(Plan::to_json).collect();
            let calendar = json!({"from": from.to_string(), "to": to.to_string(), "schedules": schedules});
            serde_json::to_string_pretty(&calendar)? + "\n"
        }
        Output::Ics => ics::render(&plans, now),
        Output::Openmetrics => openmetrics::render(&plans, start),
    })
}

/// Reads a day such as `2027-01-04`.
fn first_day(text: &str) -> Result<NaiveDate, String> {
    let day: NaiveDate = text.parse().map_err(|_| "expected a day such as 2027-01-04".to_owned())?;
    match day.year() {
        1970..=4900 => Ok(day),
        _ => Err("expected a day of the years 1970 to 4900".to_owned()),
    }
}

/// The days that are shown.
#[derive(Debug, Clone, Copy)]
struct Range {
    from: NaiveDate,
    to: NaiveDate,
    /// The time on the first day for which the output says whether a window is open.
    start: DateTime<Utc>,
}

/// The schedule and the rollout windows of the settings, and those of overrides that differ from them.
fn plans(settings: &Settings, range: Range) -> Vec<Plan> {
    let all = &settings.rules;
    let mut plans = vec![Plan::new(all, None, range)];
    for (index, entry) in settings.overrides().iter().enumerate() {
        let scope = Scope::new(index, entry, all);
        if scope.has_own_schedule || scope.has_own_rollouts {
            plans.push(Plan::new(&entry.rules, Some(scope), range));
        }
    }
    plans
}

/// The reason for a freeze without line breaks and other control characters.
fn one_line(reason: &str) -> String {
    let words = reason.split(|c: char| c.is_whitespace() || c.is_control());
    words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, Utc};
    use container_patch_policy::settings::Settings;
    use serde_json::Value;
    use serde_json::value::to_raw_value;

    use super::{Plan, Range, first_day, plans};

    pub(super) fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    pub(super) fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn another_first_day_is_an_error_that_shows_an_example() {
        assert_eq!(first_day("2027-01-04").unwrap(), day("2027-01-04"));
        for text in ["yesterday", "2027-02-30", "2027-01-04T08:00:00Z", ""] {
            assert_eq!(first_day(text).unwrap_err(), "expected a day such as 2027-01-04", "{text}");
        }
        assert_eq!(first_day("9999-01-01").unwrap_err(), "expected a day of the years 1970 to 4900");
    }

    pub(super) fn plans_of(settings: &Value, from: &str, to: &str) -> Vec<Plan> {
        let settings = Settings::from_json(&to_raw_value(settings).unwrap()).unwrap();
        let start = day(from).and_time(chrono::NaiveTime::MIN).and_utc();
        plans(&settings, Range { from: day(from), to: day(to), start })
    }
}
