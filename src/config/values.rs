//! Values that several sections of the settings are made of.

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::read::{Keyword, Path, Problems, Setting, read_string};
use super::schema::Schema;
use crate::finding::Effect;

/// The longest period that settings may give. Beyond it, sums of dates would leave the calendar.
const LONGEST: TimeDelta = TimeDelta::days(100 * 366);

/// The units of a duration, as a regular expression. Capital `M` is none of them.
const UNITS: &str = "nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|\
                     weeks?|wks?|w|months?|years?|yrs?|y";

/// A day of the calendar, as a regular expression.
pub(crate) const DAY: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";

/// What follows a day in a time by RFC 3339, as a regular expression.
pub(crate) const TIME_OF_DAY: &str = r"[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+\u2212-][0-9]{2}:[0-9]{2})";

/// What a rule does to a request that breaks it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// It is refused.
    Deny,
    /// The requester is told.
    Warn,
    /// Nothing: the rule is off.
    Off,
}

impl Action {
    /// What a finding of the rule does; nothing where the rule is off.
    #[must_use]
    pub fn effect(self) -> Option<Effect> {
        match self {
            Self::Deny => Some(Effect::Deny),
            Self::Warn => Some(Effect::Warn),
            Self::Off => None,
        }
    }
}

impl Keyword for Action {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("deny", Self::Deny), ("warn", Self::Warn), ("off", Self::Off)];
}

/// What becomes of an image of which a rule cannot know what it needs to know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// It is refused.
    Deny,
    /// The requester is told.
    Warn,
    /// Nothing.
    Allow,
}

impl Unknown {
    /// What a finding does; nothing where the unknown is allowed.
    #[must_use]
    pub fn effect(self) -> Option<Effect> {
        match self {
            Self::Deny => Some(Effect::Deny),
            Self::Warn => Some(Effect::Warn),
            Self::Allow => None,
        }
    }
}

impl Keyword for Unknown {
    const KEYWORDS: &'static [(&'static str, Self)] =
        &[("deny", Self::Deny), ("warn", Self::Warn), ("allow", Self::Allow)];
}

impl Keyword for Effect {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("deny", Self::Deny), ("warn", Self::Warn)];
}

/// A span of time, as `90d`, `12h` or `2weeks`. A day is 24 hours. Never zero, at most a hundred years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(TimeDelta);

impl Duration {
    /// A whole number of days.
    #[must_use]
    pub const fn days(days: i64) -> Self {
        Self(TimeDelta::days(days))
    }

    /// The span as the calendar computes with it.
    #[must_use]
    pub fn delta(self) -> TimeDelta {
        self.0
    }
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.num_seconds() {
            86_400 => f.write_str("1 day"),
            seconds if seconds % 86_400 == 0 => write!(f, "{} days", seconds / 86_400),
            3_600 => f.write_str("1 hour"),
            seconds if seconds % 3_600 == 0 => write!(f, "{} hours", seconds / 3_600),
            seconds => write!(f, "{seconds} seconds"),
        }
    }
}

impl Setting for Duration {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a duration such as `90d`, `12h` or `2weeks`", problems)?;
        let parsed = humantime::parse_duration(&text).ok().and_then(|span| TimeDelta::from_std(span).ok());
        // `M` for months is one slip from `m` for minutes, and a month is no number of days.
        match parsed.filter(|span| !text.contains('M') && span.subsec_nanos() == 0) {
            Some(span) if span > TimeDelta::zero() && span <= LONGEST => return Some(Self(span)),
            Some(span) if span.is_zero() => {
                problems.push(at, format_args!("`{text}` is no time at all; write at least `1s`"))
            }
            Some(_) => problems.push(at, format_args!("`{text}` is too long; write at most `36500d`")),
            None => {
                problems.push(at, format_args!("`{text}` is no duration; write one such as `90d`, `12h` or `2weeks`"))
            }
        }
        None
    }

    fn schema() -> Schema {
        Schema::text("duration", "durations", format!(r"^\s*([0-9][0-9\s]*(\.[0-9\s]+)?({UNITS})\s*)+$"))
    }

    fn to_json(&self) -> Value {
        let seconds = self.0.num_seconds();
        match seconds {
            _ if seconds % 86_400 == 0 => format!("{}d", seconds / 86_400),
            _ if seconds % 3_600 == 0 => format!("{}h", seconds / 3_600),
            _ => format!("{seconds}s"),
        }
        .into()
    }
}

impl Setting for String {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a string", problems)?;
        if text.trim().is_empty() {
            problems.push(at, "cannot be empty");
            return None;
        }
        Some(text)
    }

    fn schema() -> Schema {
        Schema::text("string", "strings", r"\S")
    }

    fn to_json(&self) -> Value {
        self.as_str().into()
    }
}

impl Setting for NaiveDate {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a date such as `2026-12-18`", problems)?;
        let midnight = DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z"));
        let date = midnight.ok().map(|midnight| midnight.date_naive());
        if date.is_none() {
            problems.push(at, format_args!("`{text}` is no date; write one such as `2026-12-18`"));
        }
        date
    }

    fn schema() -> Schema {
        Schema::text("date", "dates", format!("^{DAY}$"))
    }

    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for DateTime<Utc> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a time such as `2026-11-20T12:00:00Z`", problems)?;
        match DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.to_utc()),
            Err(_) => {
                problems
                    .push(at, format_args!("`{text}` is no RFC 3339 time; write one such as `2026-11-20T12:00:00Z`"));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::text("RFC 3339 time", "RFC 3339 times", format!("^{DAY}{TIME_OF_DAY}$"))
    }

    fn to_json(&self) -> Value {
        self.to_rfc3339_opts(SecondsFormat::AutoSi, true).into()
    }
}
