//! The time for which objects are judged, from the command line.

use anyhow::Result;
use chrono::{DateTime, Datelike as _, NaiveDate, SecondsFormat, Utc};
use container_patch_policy::settings::Settings;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// A time, or the start of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// A time.
    Time(DateTime<Utc>),
    /// The start of a day, in the time zone of the patch schedule.
    Day(NaiveDate),
}

impl At {
    /// Reads an RFC 3339 time, or a day such as `2027-01-04`.
    ///
    /// # Errors
    /// When the text is neither, or far from today.
    pub fn parse(text: &str) -> Result<Self, String> {
        let at = if let Ok(day) = text.parse::<NaiveDate>() {
            Self::Day(day)
        } else if let Ok(time) = DateTime::parse_from_rfc3339(text) {
            Self::Time(time.to_utc())
        } else {
            return Err("expected a day such as 2027-01-04, or a time such as 2027-01-04T08:00:00Z".to_owned());
        };
        let year = match at {
            Self::Time(time) => time.year(),
            Self::Day(day) => day.year(),
        };
        if !(1970..=4900).contains(&year) {
            return Err("expected a day of the years 1970 to 4900".to_owned());
        }
        Ok(at)
    }

    /// The time for a policy with these settings. The policy reports invalid settings.
    #[must_use]
    pub fn time(self, settings: &Value) -> DateTime<Utc> {
        let day = match self {
            Self::Time(time) => return time,
            Self::Day(day) => day,
        };
        let settings = to_raw_value(settings).ok().and_then(|json| Settings::from_json(&json).ok()).unwrap_or_default();
        settings.rules.schedule.zone().start_of_day(day)
    }

    /// Sets the time in the settings of a policy.
    pub(crate) fn set(self, settings: &mut Value) {
        let time = self.time(settings).to_rfc3339_opts(SecondsFormat::AutoSi, true);
        if let Some(settings) = settings.as_object_mut() {
            settings.insert("evaluateAt".to_owned(), time.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::At;

    fn set(at: &str, mut settings: Value) -> Value {
        At::parse(at).unwrap().set(&mut settings);
        settings["evaluateAt"].take()
    }

    #[test]
    fn a_day_begins_in_the_time_zone_of_the_schedule() {
        assert_eq!(set("2027-01-04", json!({})), "2027-01-04T00:00:00Z");
        assert_eq!(set("2027-01-04", json!({"schedule": {"maxAge": "30d"}})), "2027-01-04T00:00:00Z");
        let berlin = json!({"schedule": {"patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin"}}});
        assert_eq!(set("2027-01-04", berlin.clone()), "2027-01-03T23:00:00Z");
        assert_eq!(set("2027-07-04", berlin.clone()), "2027-07-03T22:00:00Z");
        assert_eq!(set("2027-01-04T12:30:00.5+01:00", berlin), "2027-01-04T11:30:00.500Z");
        assert_eq!(set("2027-01-04", json!({"schedule": 1})), "2027-01-04T00:00:00Z", "the policy reports the problem");
    }

    #[test]
    fn a_time_replaces_that_of_the_settings() {
        assert_eq!(set("2027-01-04", json!({"evaluateAt": "2026-11-20T12:00:00Z"})), "2027-01-04T00:00:00Z");
    }

    #[test]
    fn other_texts_are_errors() {
        for text in ["tomorrow", "2027-02-30", "2027-01-04T00:00:00", ""] {
            assert!(At::parse(text).unwrap_err().starts_with("expected a day such as 2027-01-04"), "{text}");
        }
        assert_eq!(At::parse("9999-01-01").unwrap_err(), "expected a day of the years 1970 to 4900");
    }
}
