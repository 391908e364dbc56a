//! Types of values that several sections of the settings use.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::read::{Keyword, Path, Problems, Setting, kind_of, read_string};
use super::schema::Schema;
use crate::finding::Effect;

/// The longest duration. With longer ones, sums of dates could leave the calendar.
const LONGEST: TimeDelta = TimeDelta::days(100 * 366);

/// The units of a duration, as a regular expression.
const UNITS: &str =
    "nanos|nsec|ns|usec|us|µs|millis|msec|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d|weeks?|wks?|w";

/// The units of [`humantime`] whose length differs from one to the next. It reads a month as 30.44 days, and a year as 365.25.
const INEXACT_UNITS: [&str; 8] = ["M", "month", "months", "y", "yr", "yrs", "year", "years"];

/// A calendar date, as a regular expression.
pub(crate) const DAY: &str = "[0-9]{4}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";

/// The month and the day of a calendar date, as a regular expression.
pub(crate) const MONTH_AND_DAY: &str = "(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])";

/// The part of an RFC 3339 time after the date, as a regular expression.
pub(crate) const TIME_OF_DAY: &str = r"[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?([Zz]|[+\u2212-][0-9]{2}:[0-9]{2})";

/// What a rule does about an image that violates it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// The request is refused.
    Deny,
    /// The requester gets a warning.
    Warn,
    /// Nothing; the rule is off.
    Off,
}

impl Action {
    /// The effect of a finding of the rule; `None` if the rule is off.
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

/// What a rule does about an image that is not a violation as such: a fact that the rule needs is unknown, or the image is new during a
/// freeze.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// The request is refused.
    Deny,
    /// The requester gets a warning.
    Warn,
    /// Nothing.
    Allow,
}

impl Unknown {
    /// The effect of the finding; `None` if it is allowed.
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

/// A duration such as `90d`, `12h` or `2weeks`, in whole seconds: at least one, and at most 36,600 days. A day is 24 hours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Duration(TimeDelta);

impl Duration {
    /// A whole number of days.
    #[must_use]
    pub const fn days(days: i64) -> Self {
        Self(TimeDelta::days(days))
    }

    /// The duration as `chrono` adds it to times.
    #[must_use]
    pub fn delta(self) -> TimeDelta {
        self.0
    }
}

/// A number of days in a message.
#[must_use]
pub fn days(days: i64) -> String {
    if days == 1 { "1 day".to_owned() } else { format!("{days} days") }
}

/// Parses a duration in whole seconds. Months and years are read, too.
fn parse(text: &str) -> Option<TimeDelta> {
    let span = humantime::parse_duration(text).ok().and_then(|span| TimeDelta::from_std(span).ok());
    span.filter(|span| span.subsec_nanos() == 0)
}

impl std::fmt::Display for Duration {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0.num_seconds() {
            seconds if seconds % 86_400 == 0 => f.write_str(&days(seconds / 86_400)),
            3_600 => f.write_str("1 hour"),
            seconds if seconds % 3_600 == 0 => write!(f, "{} hours", seconds / 3_600),
            1 => f.write_str("1 second"),
            seconds => write!(f, "{seconds} seconds"),
        }
    }
}

impl Setting for Duration {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = match kind_of(json) {
            "a number" => json.get().to_owned(),
            _ => read_string(json, at, "a duration such as `90d`, `12h` or `2weeks`", problems)?,
        };
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let mut units = text.split(|c: char| !c.is_alphabetic());
        let is_in_range = |span: &TimeDelta| *span > TimeDelta::zero() && *span <= LONGEST;
        match parse(&text) {
            _ if units.any(|unit| INEXACT_UNITS.contains(&unit)) => problems
                .push(at, format_args!("`{text}`: months and years have different lengths; write days, such as `90d`")),
            Some(span) if is_in_range(&span) => return Some(Self(span)),
            Some(span) if span.is_zero() => problems.push(at, format_args!("`{text}` is zero; write at least `1s`")),
            Some(_) => problems.push(at, format_args!("`{text}` is too long; write at most `36600d`")),
            None if is_number(&text) && parse(&format!("{text}d")).is_some_and(|span| is_in_range(&span)) => {
                problems
                    .push(at, format_args!("`{text}` has no unit; write `{text}d` for days, or `{text}h` for hours"));
            }
            None => {
                problems.push(at, format_args!("invalid duration `{text}`; write one such as `90d`, `12h` or `2weeks`"))
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

impl Setting for DateTime<Utc> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a time such as `2026-11-20T12:00:00Z`", problems)?;
        match DateTime::parse_from_rfc3339(&text) {
            Ok(time) => Some(time.to_utc()),
            Err(_) => {
                problems
                    .push(at, format_args!("invalid RFC 3339 time `{text}`; write one such as `2026-11-20T12:00:00Z`"));
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

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{Action, Duration};
    use crate::config::read::{Path, Problems, Setting};

    fn read<T: Setting>(json: &str) -> Result<T, String> {
        let json: &RawValue = serde_json::from_str(json).unwrap();
        let mut problems = Problems::default();
        T::read(json, Path::Key(&Path::Root, "key"), &mut problems).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn a_duration_is_a_sum_of_numbers_with_units() {
        for (text, seconds) in [
            ("90d", 90 * 86_400),
            ("12h", 12 * 3_600),
            ("2weeks", 14 * 86_400),
            ("1d 12h", 36 * 3_600),
            ("1.5 h", 5_400),
            ("3m", 180),
            ("1day 1min 1s", 86_461),
            ("36600d", 36_600 * 86_400),
        ] {
            let duration: Duration = read(&format!("\"{text}\"")).unwrap();
            assert_eq!(duration.delta().num_seconds(), seconds, "{text}");
        }
    }

    #[test]
    fn a_duration_is_shown_in_its_largest_unit_and_one_is_singular() {
        for (text, expected) in [
            ("1d", "1 day"),
            ("24h", "1 day"),
            ("2d", "2 days"),
            ("1h", "1 hour"),
            ("36h", "36 hours"),
            ("1s", "1 second"),
            ("61s", "61 seconds"),
        ] {
            let duration: Duration = read(&format!("\"{text}\"")).unwrap();
            assert_eq!(duration.to_string(), expected, "{text}");
        }
    }

    #[test]
    fn a_number_without_a_unit_is_refused_with_the_number_of_days() {
        for (json, expected) in [
            ("90", "key: `90` has no unit; write `90d` for days, or `90h` for hours"),
            ("\"90\"", "key: `90` has no unit; write `90d` for days, or `90h` for hours"),
            ("1.5", "key: `1.5` has no unit; write `1.5d` for days, or `1.5h` for hours"),
            ("\"7\"", "key: `7` has no unit; write `7d` for days, or `7h` for hours"),
            // The number of days would be refused, too.
            ("0", "key: `0` is zero; write at least `1s`"),
            ("36601", "key: invalid duration `36601`; write one such as `90d`, `12h` or `2weeks`"),
            ("-3", "key: invalid duration `-3`; write one such as `90d`, `12h` or `2weeks`"),
            ("1e3", "key: invalid duration `1e3`; write one such as `90d`, `12h` or `2weeks`"),
            ("\".\"", "key: invalid duration `.`; write one such as `90d`, `12h` or `2weeks`"),
            ("\"\"", "key: invalid duration ``; write one such as `90d`, `12h` or `2weeks`"),
            (
                "true",
                "key: expected a duration such as `90d`, `12h` or `2weeks`, found a boolean; put it in quotes: \"true\"",
            ),
            ("[]", "key: expected a duration such as `90d`, `12h` or `2weeks`, found a list"),
        ] {
            assert_eq!(read::<Duration>(json), Err(expected.to_owned()), "{json}");
        }
    }

    #[test]
    fn months_and_years_are_refused() {
        for text in
            ["3months", "1month", "1M", "1y", "2 years", "1year", "1yr", "2yrs", "1y 3d", "1d 2M", "1000y", "1.5months"]
        {
            let expected = format!("key: `{text}`: months and years have different lengths; write days, such as `90d`");
            assert_eq!(read::<Duration>(&format!("\"{text}\"")), Err(expected), "{text}");
        }
        for text in ["3m", "1day", "2days"] {
            assert!(read::<Duration>(&format!("\"{text}\"")).is_ok(), "{text}");
        }
    }

    #[test]
    fn an_unknown_value_is_refused_with_a_suggestion_in_any_case() {
        for (json, expected) in [
            ("\"DENY\"", "key: unknown value `DENY`; expected one of deny, warn, off; did you mean `deny`?"),
            ("\"Off\"", "key: unknown value `Off`; expected one of deny, warn, off; did you mean `off`?"),
            ("\"wran\"", "key: unknown value `wran`; expected one of deny, warn, off; did you mean `warn`?"),
            ("\"yes\"", "key: unknown value `yes`; expected one of deny, warn, off"),
            ("7", "key: expected one of deny, warn, off, found a number"),
        ] {
            assert_eq!(read::<Action>(json), Err(expected.to_owned()), "{json}");
        }
    }
}
