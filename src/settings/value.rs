//! Values that several sections of the settings are made of.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::value::RawValue;

use super::read::{Path, Problems, Setting, read_string, read_word};
use crate::finding::Effect;

/// The longest period that settings may give. Beyond it, sums of dates would leave the calendar.
const LONGEST: TimeDelta = TimeDelta::days(100 * 366);

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

impl Setting for Action {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        read_word(json, at, &[("deny", Self::Deny), ("warn", Self::Warn), ("off", Self::Off)], problems)
    }
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

impl Setting for Unknown {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        read_word(json, at, &[("deny", Self::Deny), ("warn", Self::Warn), ("allow", Self::Allow)], problems)
    }
}

/// What becomes of findings where there is reason to be lenient, from the mildest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Treatment {
    /// They are dropped.
    Ignore,
    /// They are warnings.
    Warn,
    /// They are what their rules say.
    Deny,
}

impl Setting for Treatment {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        read_word(json, at, &[("deny", Self::Deny), ("warn", Self::Warn), ("ignore", Self::Ignore)], problems)
    }
}

impl Setting for Effect {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        read_word(json, at, &[("deny", Self::Deny), ("warn", Self::Warn)], problems)
    }
}

/// A span of time, as `90d`, `12h` or `2weeks`. A day is 24 hours. Never zero, at most a hundred years.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period(TimeDelta);

impl Period {
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

impl std::fmt::Display for Period {
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

impl Setting for Period {
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
}
