//! The record of the images that run in staging. `container-patch soak` writes it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::Deserialize;

use crate::evidence::{Answer, time};
use crate::json::{self, Object};
use crate::sanitized::Sanitized;

/// The annotation of a record with the time at which it was written last (RFC 3339).
pub const RECORDED_AT: &str = "container-patch.dev/recorded-at";

/// How long a record counts after it was written last. Recorders run every few minutes. If the record is not renewed for
/// longer, an image in it may have failed since then.
const MAX_AGE: TimeDelta = TimeDelta::hours(1);

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
    /// When the record was written last, if that is too long ago to know whether it still runs. `until` is then the end of the time that
    /// counts.
    pub(super) last_record: Option<DateTime<Utc>>,
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

/// A record.
pub(super) struct Record {
    /// The entries, by their keys.
    pub(super) entries: BTreeMap<String, String>,
    /// When it was written last, as its annotation says. A record that people write may not have it.
    recorded_at: Option<String>,
}

impl Record {
    /// Reads a ConfigMap.
    ///
    /// # Errors
    /// Why the answer of the cluster is not a ConfigMap.
    pub(super) fn read(config_map: &[u8]) -> Answer<Self> {
        #[derive(Deserialize)]
        struct ConfigMap {
            #[serde(default)]
            metadata: Metadata,
            #[serde(default)]
            data: Option<BTreeMap<String, String>>,
        }
        #[derive(Default, Deserialize)]
        struct Metadata {
            #[serde(default)]
            annotations: Option<Annotations>,
        }
        #[derive(Deserialize)]
        struct Annotations {
            #[serde(default, rename = "container-patch.dev/recorded-at")]
            recorded_at: Option<String>,
        }
        match serde_json::from_slice(config_map) {
            Ok(Object(ConfigMap { metadata, data })) => Ok(Self {
                entries: data.unwrap_or_default(),
                recorded_at: metadata.annotations.and_then(|annotations| annotations.recorded_at),
            }),
            Err(error) => Err(Sanitized(&error.to_string()).to_string()),
        }
    }

    /// Reads the entry with a key. `None` if the record does not have it.
    pub(super) fn run(&self, key: &str, called: &str, now: DateTime<Utc>) -> Option<Result<Run, String>> {
        let run = |entry| {
            let run = Run::read(entry, called, now)?;
            let recorded_at = self.recorded_at.as_deref();
            let recorded_at = recorded_at.map(|time| parsed(RECORDED_AT, time, now)).transpose()?;
            Ok(run.counted_until(recorded_at.filter(|time| now - *time > MAX_AGE)))
        };
        self.entries.get(key).map(|entry| run(entry))
    }
}

impl Run {
    /// Reads an entry of a record.
    ///
    /// # Errors
    /// Why the entry does not count.
    fn read(entry: &str, record: &str, now: DateTime<Utc>) -> Result<Self, String> {
        let Object(Entry { since, until, place }) = serde_json::from_str(entry)
            .map_err(|error| format!("it is invalid: {}", Sanitized(json::without_position(&error.to_string()))))?;
        let since = parsed("since", &since, now)?;
        let until = until.map(|until| parsed("until", &until, now)).transpose()?;
        if until.is_some_and(|until| until < since) {
            return Err("`until` is before `since`".to_owned());
        }
        let place = place.filter(|place| !place.is_empty()).map(|place| Sanitized(&place).to_string());
        Ok(Self { since, until, last_record: None, place, record: record.to_owned() })
    }

    /// Ends the run some time after the record was written last, if it was written too long ago.
    fn counted_until(self, last_record: Option<DateTime<Utc>>) -> Self {
        match last_record.filter(|_| self.until.is_none()) {
            Some(time) => Self { until: Some((time + MAX_AGE).max(self.since)), last_record, ..self },
            None => self,
        }
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
