//! The record of the images that run in staging. `container-patch soak` writes it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;

use crate::evidence::{Answer, time};
use crate::json::{self, Object};
use crate::sanitized::Sanitized;

/// How far the clock of the recorder may be ahead.
const CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// An entry of a record.
#[derive(Deserialize)]
struct Entry {
    since: String,
    #[serde(default)]
    until: Option<String>,
    #[serde(default, rename = "where")]
    place: Option<String>,
}

/// The time during which an image has run in staging.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Run {
    since: DateTime<Utc>,
    /// When it was last seen, if it does not run any more.
    pub(super) until: Option<DateTime<Utc>>,
    /// The workload, sanitized.
    place: Option<String>,
    /// The record, as messages show it.
    record: String,
}

/// When a run has lasted for the required time. The smallest value admits an image first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Ready {
    /// From this moment on.
    From(DateTime<Utc>),
    /// It ended after this time.
    Never(Reverse<TimeDelta>),
}

/// The entries of a record, by their keys.
///
/// # Errors
/// Why the answer of the cluster is not a ConfigMap.
pub(super) fn entries(config_map: &[u8]) -> Answer<BTreeMap<String, String>> {
    #[derive(Deserialize)]
    struct ConfigMap {
        #[serde(default)]
        data: Option<BTreeMap<String, String>>,
    }
    match serde_json::from_slice(config_map) {
        Ok(Object(ConfigMap { data })) => Ok(data.unwrap_or_default()),
        Err(error) => Err(Sanitized(&error.to_string()).to_string()),
    }
}

impl Run {
    /// Reads an entry of a record.
    ///
    /// # Errors
    /// Why the entry does not count.
    pub(super) fn read(entry: &str, record: &str, now: DateTime<Utc>) -> Result<Self, String> {
        let Object(Entry { since, until, place }) = serde_json::from_str(entry)
            .map_err(|error| format!("it is invalid: {}", Sanitized(json::without_position(&error.to_string()))))?;
        let since = parsed("since", &since, now)?;
        let until = until.map(|until| parsed("until", &until, now)).transpose()?;
        if until.is_some_and(|until| until < since) {
            return Err("`until` is before `since`".to_owned());
        }
        let place = place.filter(|place| !place.is_empty()).map(|place| Sanitized(&place).to_string());
        Ok(Self { since, until, place, record: record.to_owned() })
    }

    /// How long the image has run.
    pub(super) fn ran(&self, now: DateTime<Utc>) -> TimeDelta {
        (self.until.unwrap_or(now) - self.since).max(TimeDelta::zero())
    }

    /// When it has lasted for this time.
    pub(super) fn ready(&self, required: TimeDelta) -> Ready {
        match self.until.map(|until| until - self.since) {
            Some(ran) if ran < required => Ready::Never(Reverse(ran)),
            // A plausible time and a duration of the settings stay in the calendar.
            _ => Ready::From(self.since.checked_add_signed(required).unwrap_or(DateTime::<Utc>::MAX_UTC)),
        }
    }

    /// The record and the workload, for messages.
    pub(super) fn source(&self) -> String {
        match &self.place {
            Some(place) => format!("{}: `{place}`", self.record),
            None => self.record.clone(),
        }
    }
}

/// A time of an entry.
fn parsed(key: &str, text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let Ok(parsed) = DateTime::parse_from_rfc3339(text) else {
        return Err(format!("`{key}` is not an RFC 3339 time: `{}`", Sanitized(text)));
    };
    let parsed = parsed.to_utc();
    let shown = || parsed.to_rfc3339_opts(SecondsFormat::Secs, true);
    if parsed - now > CLOCK_SKEW {
        return Err(format!("`{key}` is in the future: {}", shown()));
    }
    // A machine whose clock is not set has such a time.
    if !time::is_plausible(parsed) {
        return Err(format!("`{key}` is before 1980: {}", shown()));
    }
    Ok(parsed)
}
