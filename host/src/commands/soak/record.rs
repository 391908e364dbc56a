//! The record: a ConfigMap whose `data` maps each digest to the time since when it has been ready in staging.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use container_patch_policy::rules::rollout::soak::RECORDED_AT;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::pods::{MAX_PLACE, is_sha256};
use crate::json_type::json_type;
use crate::timestamp::{self, rfc3339};

/// The most bytes of keys and values in a record. A ConfigMap can have 1 MiB of them.
const MAX_DATA: usize = 1_000_000;

/// The most bytes of a record as it is stored. etcd refuses objects from 1.5 MiB on.
const MAX_STORED: usize = 1_450_000;

/// What an entry adds to its key and value as it is stored: for each field manager, the key once more. There are two if the record began
/// in Git.
const STORED_BESIDE: usize = 2 * 80;

/// How far ahead the clock of another machine may be.
const MAX_CLOCK_SKEW: TimeDelta = TimeDelta::minutes(5);

/// A warning for people who open the file.
const COMMENT: &str =
    "# Written by container-patch soak. Production admits the images in this record, so review each change to it.\n";

/// The digests that run in staging, or did.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Record {
    /// The entries by digest, as `sha256:…`.
    pub(super) entries: BTreeMap<String, Entry>,
    /// The time of the run that wrote the record.
    pub(super) recorded_at: Option<DateTime<Utc>>,
}

/// What the record says about a digest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Entry {
    /// Since when it has been ready.
    #[serde(serialize_with = "timestamp::one")]
    pub(super) since: DateTime<Utc>,
    /// When it was last seen, if it has left.
    #[serde(serialize_with = "timestamp::optional", skip_serializing_if = "Option::is_none")]
    pub(super) until: Option<DateTime<Utc>>,
    /// The workload that was ready the longest.
    #[serde(rename = "where")]
    pub(super) place: String,
}

/// The ConfigMap of a record.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ConfigMap<'a> {
    api_version: &'static str,
    kind: &'static str,
    metadata: Metadata<'a>,
    data: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    name: &'a str,
    namespace: &'a str,
    annotations: BTreeMap<&'static str, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resource_version: Option<&'a str>,
}

impl Record {
    /// Reads the record of a ConfigMap, and the problems of entries that cannot be used.
    ///
    /// # Errors
    /// When the object is not a ConfigMap.
    pub(super) fn read(config_map: &Value, now: DateTime<Utc>) -> Result<(Self, Vec<String>)> {
        if config_map["apiVersion"] != "v1" || config_map["kind"] != "ConfigMap" {
            bail!("expected a ConfigMap of the apiVersion v1, found {}", kind_of(config_map));
        }
        let (mut record, mut problems) = (Self::default(), Vec::new());
        let data = match &config_map["data"] {
            Value::Null => return Ok((record, problems)),
            Value::Object(data) => data,
            other => bail!("data: expected an object, found {}", json_type(other)),
        };
        for (key, value) in data {
            match read_entry(key, value, now) {
                Ok((digest, entry)) => {
                    record.entries.insert(digest, entry);
                }
                Err(problem) => problems.push(format!("data.{key}: {problem}")),
            }
        }
        let recorded_at = &config_map["metadata"]["annotations"][RECORDED_AT];
        record.recorded_at = recorded_at.as_str().and_then(|text| time(text, now).ok());
        Ok((record, problems))
    }

    /// The number of digests.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// The number of digests that have left staging.
    pub(super) fn left(&self) -> usize {
        self.entries.values().filter(|entry| entry.until.is_some()).count()
    }

    /// Drops the oldest entries if the record is too large for a ConfigMap: those that left first, then those that have been ready the
    /// longest. Returns their number.
    pub(super) fn shorten(&mut self) -> usize {
        let size = |(digest, entry): (&String, &Entry)| digest.len() + entry.to_json().len();
        let mut data: usize = self.entries.iter().map(size).sum();
        let is_too_large = |data, entries| data > MAX_DATA || data + entries * STORED_BESIDE > MAX_STORED;
        if !is_too_large(data, self.len()) {
            return 0;
        }
        let mut oldest: Vec<_> =
            self.entries.iter().map(|entry| (entry.1.age(), entry.0.clone(), size(entry))).collect();
        oldest.sort();
        let before = self.len();
        for (_, digest, size) in oldest {
            if !is_too_large(data, self.len()) {
                break;
            }
            self.entries.remove(&digest);
            data -= size;
        }
        before - self.len()
    }

    /// The ConfigMap with this name. `version` is the one that it replaces in the cluster.
    pub(super) fn config_map<'a>(&self, namespace: &'a str, name: &'a str, version: Option<&'a str>) -> ConfigMap<'a> {
        let annotations = self.recorded_at.iter().map(|time| (RECORDED_AT, rfc3339(time))).collect();
        let data = self.entries.iter().map(|(digest, entry)| (digest.replacen(':', "-", 1), entry.to_json()));
        ConfigMap {
            api_version: "v1",
            kind: "ConfigMap",
            metadata: Metadata { name, namespace, annotations, resource_version: version },
            data: data.collect(),
        }
    }
}

impl Entry {
    fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// Its age, for a comparison: what has left comes before what runs.
    fn age(&self) -> (bool, DateTime<Utc>, DateTime<Utc>) {
        (self.until.is_none(), self.until.unwrap_or(self.since), self.since)
    }
}

impl ConfigMap<'_> {
    /// The manifest, for a file.
    pub(super) fn to_yaml(&self) -> Result<String> {
        Ok(format!("{COMMENT}{}", yaml_serde::to_string(self)?))
    }
}

/// The entry as others may have written it.
#[derive(Deserialize)]
struct Written {
    since: String,
    until: Option<String>,
    #[serde(default, rename = "where")]
    place: String,
}

/// Reads an entry, with its digest.
fn read_entry(key: &str, value: &Value, now: DateTime<Utc>) -> Result<(String, Entry), String> {
    let digest = key.replacen('-', ":", 1);
    if !is_sha256(&digest) {
        return Err("expected a key of the form sha256-<64 hexadecimal digits>".to_owned());
    }
    let Value::String(text) = value else { return Err(format!("expected a string, found {}", json_type(value))) };
    let Written { since, until, place } =
        serde_json::from_str(text).map_err(|error| format!("expected JSON with since, until and where: {error}"))?;
    let since = time(&since, now).map_err(|problem| format!("since: {problem}"))?;
    let until = until.map(|until| time(&until, now).map_err(|problem| format!("until: {problem}"))).transpose()?;
    if until.is_some_and(|until| until < since) {
        return Err("until: expected a time that is not before since".to_owned());
    }
    if place.len() > MAX_PLACE || place.chars().any(char::is_control) {
        return Err(format!("where: expected at most {MAX_PLACE} bytes without control characters"));
    }
    Ok((digest, Entry { since, until, place }))
}

/// Reads a time that is not in the future.
fn time(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    let time =
        DateTime::parse_from_rfc3339(text).map_err(|_| "expected a time such as 2027-01-04T08:00:00Z".to_owned())?;
    let time = time.to_utc();
    if time > now + MAX_CLOCK_SKEW {
        return Err(format!("{} is in the future", rfc3339(&time)));
    }
    Ok(time.min(now))
}

/// The kind of an object, for a message.
fn kind_of(object: &Value) -> String {
    match (object["apiVersion"].as_str(), object["kind"].as_str()) {
        (Some(version), Some(kind)) => format!("{kind} ({version})"),
        _ => json_type(object).to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, TimeDelta, Utc};
    use serde_json::{Value, json};

    use super::{Entry, MAX_DATA, MAX_STORED, Record, STORED_BESIDE};
    use crate::manifest;

    fn now() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn digest(number: usize) -> String {
        format!("sha256:{number:064x}")
    }

    fn entry(since: DateTime<Utc>, until: Option<DateTime<Utc>>) -> Entry {
        Entry { since, until, place: "staging/Deployment/web".to_owned() }
    }

    fn read(data: Value) -> (Record, Vec<String>) {
        let annotations = json!({"container-patch.dev/recorded-at": "2026-11-20T11:50:00Z"});
        let config_map =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"annotations": annotations}, "data": data});
        Record::read(&config_map, now()).unwrap()
    }

    #[test]
    fn a_record_is_read_as_it_is_written() {
        let day = TimeDelta::days(1);
        let record = Record {
            entries: [(digest(1), entry(now() - day, None)), (digest(2), entry(now() - day * 2, Some(now() - day)))]
                .into(),
            recorded_at: Some(now()),
        };
        let yaml = record.config_map("container-patch", "soaked-images", None).to_yaml().unwrap();
        let expected = format!(
            "# Written by container-patch soak. Production admits the images in this record, so review each change to it.\n\
             apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: soaked-images\n  namespace: container-patch\n  annotations:\n    \
             container-patch.dev/recorded-at: 2026-11-20T12:00:00Z\ndata:\n  \
             sha256-{:064x}: '{{\"since\":\"2026-11-19T12:00:00Z\",\"where\":\"staging/Deployment/web\"}}'\n  \
             sha256-{:064x}: '{{\"since\":\"2026-11-18T12:00:00Z\",\"until\":\"2026-11-19T12:00:00Z\",\"where\":\"staging/Deployment/web\"}}'\n",
            1, 2
        );
        assert_eq!(yaml, expected);
        let (again, problems) = Record::read(&manifest::from_yaml(&yaml).unwrap(), now()).unwrap();
        assert_eq!((again, problems.as_slice()), (record, &[][..]));
    }

    #[test]
    fn an_entry_that_cannot_be_used_is_left_out_and_the_others_stay() {
        let good = json!({"since": "2026-11-19T12:00:00Z", "where": "a", "by": "a later version"}).to_string();
        let key = digest(1).replace(':', "-");
        let is_left_out = |key: &str, value: Value| {
            let (record, problems) = read(json!({key: value, digest(7).replace(':', "-"): good}));
            assert_eq!(record.entries.keys().collect::<Vec<_>>(), [&digest(7)]);
            problems.join("\n")
        };
        let of = |value: Value| is_left_out(&key, json!(value.to_string()));
        for (problem, found) in [
            ("expected a key of the form sha256-<64 hexadecimal digits>", is_left_out("sha256-12", json!(good))),
            ("expected a key of the form", is_left_out(&key.to_uppercase(), json!(good))),
            ("expected a key of the form", is_left_out("README", json!("text"))),
            ("expected a string, found a number", is_left_out(&key, json!(1))),
            ("expected JSON with since, until and where: expected value", is_left_out(&key, json!("yes"))),
            ("missing field `since`", of(json!({}))),
            ("since: expected a time such as", of(json!({"since": "yesterday"}))),
            ("since: 2026-11-20T12:10:00Z is in the future", of(json!({"since": "2026-11-20T12:10:00Z"}))),
            (
                "until: 2027-01-01T00:00:00Z is in the future",
                of(json!({"since": "2026-11-19T12:00:00Z", "until": "2027-01-01T00:00:00Z"})),
            ),
            (
                "until: expected a time that is not before since",
                of(json!({"since": "2026-11-19T12:00:00Z", "until": "2026-11-18T12:00:00Z"})),
            ),
            (
                "where: expected at most 512 bytes",
                of(json!({"since": "2026-11-19T12:00:00Z", "where": "a".repeat(513)})),
            ),
            ("where: expected at most 512 bytes", of(json!({"since": "2026-11-19T12:00:00Z", "where": "\u{1b}[31m"}))),
        ] {
            assert!(found.starts_with("data."), "{found}");
            assert!(found.contains(problem), "{problem}: {found}");
        }
    }

    #[test]
    fn clocks_of_other_machines_may_be_some_minutes_ahead() {
        let (record, problems) =
            read(json!({digest(1).replace(':', "-"): json!({"since": "2026-11-20T12:04:00Z"}).to_string()}));
        assert_eq!(problems, [""; 0]);
        assert_eq!(record.entries[&digest(1)].since, now());
    }

    #[test]
    fn an_object_that_is_not_a_config_map_is_an_error() {
        for (object, error) in [
            (
                json!({"apiVersion": "v1", "kind": "Secret"}),
                "expected a ConfigMap of the apiVersion v1, found Secret (v1)",
            ),
            (json!([]), "expected a ConfigMap of the apiVersion v1, found a list"),
            (json!({"apiVersion": "v1", "kind": "ConfigMap", "data": []}), "data: expected an object, found a list"),
        ] {
            assert_eq!(Record::read(&object, now()).unwrap_err().to_string(), error);
        }
        assert_eq!(read(Value::Null).0.len(), 0);
    }

    #[test]
    fn a_record_that_is_too_large_loses_its_oldest_entries() {
        let ago = |minutes: usize| now() - TimeDelta::minutes(i64::try_from(minutes).unwrap());
        // The odd ones have left, the higher the earlier; the even ones run, the higher the longer.
        let entry = |number: usize| entry(ago(20_000 + number), (number % 2 == 1).then(|| ago(number)));
        let mut record =
            Record { entries: (0..8_000).map(|number| (digest(number), entry(number))).collect(), recorded_at: None };
        let dropped = record.shorten();
        let data = |record: &Record| {
            let config_map = record.config_map("a", "b", None);
            config_map.data.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>()
        };
        let stored = data(&record) + record.len() * STORED_BESIDE;
        assert!((MAX_STORED - 500..=MAX_STORED).contains(&stored), "{stored}");
        assert_eq!(record.len(), 8_000 - dropped);
        assert!(record.entries.keys().all(|key| key != &digest(7_999)));
        assert!(record.entries.contains_key(&digest(1)) && record.entries.contains_key(&digest(7_998)));
        assert_eq!(record.shorten(), 0);
        // All of them run.
        for entry in record.entries.values_mut() {
            entry.until = None;
            entry.place.push_str(&"a".repeat(400));
        }
        assert!(record.shorten() > 0);
        assert!((MAX_DATA - 800..=MAX_DATA).contains(&data(&record)), "{}", data(&record));
        assert!(record.entries.contains_key(&digest(0)) && !record.entries.contains_key(&digest(7_998)));
    }
}
