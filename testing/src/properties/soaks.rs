//! Properties of the record of staging: for any content, only a run that was long enough admits an image.

use chrono::{DateTime, TimeDelta, Utc};
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};

use crate::failure::{Failure, ensure};
use crate::generators::images::DIGESTS;
use crate::outcome::Outcome;
use crate::response::well_formed;

/// The image, and the digest of its configuration.
const IMAGE: &str = DIGESTS[1];
const CONFIG: &str = DIGESTS[3];

/// The time that images must have run in staging.
const REQUIRED: TimeDelta = TimeDelta::days(1);

/// The time of the request.
fn now() -> DateTime<Utc> {
    DateTime::parse_from_rfc3339("2026-11-20T12:00:00Z").expect("it is a valid time").to_utc()
}

/// For any content of a ConfigMap, the response is well-formed, and the image is admitted only if an entry for it has lasted for the
/// required time.
///
/// # Errors
/// If it does not hold.
pub fn only_a_long_run_admits(record: &[u8]) -> Result<(), Failure> {
    if record_admits(record)? {
        // Real hosts return JSON only. The policy skips the parts that it does not need, so it can accept other text.
        if let Ok(record) = serde_json::from_slice::<Value>(record) {
            let has_lasted = [IMAGE, CONFIG].iter().any(|digest| has_lasted(&record["data"][digest.replace(':', "-")]));
            ensure!(has_lasted, "a record without a long run admits the image");
        }
    }
    Ok(())
}

/// Whether a record admits the image.
///
/// # Errors
/// If the response is not well-formed.
pub fn record_admits(record: &[u8]) -> Result<bool, Failure> {
    let off = json!({"action": "off"});
    let soak = json!({"configMaps": [{"namespace": "staging", "name": "images"}]});
    let settings = json!({
        "pinning": off, "schedule": off, "baseImage": off, "scan": off, "rollout": {"soak": soak},
    });
    let image = format!("registry.example.com/team/app:1.4@{IMAGE}");
    let request = json!({
        "kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "namespace": "shop",
        "object": {"spec": {"containers": [{"name": "app", "image": image}]}},
    });
    let payload = json!({"request": request, "settings": settings}).to_string();
    let outcome = Outcome::of(payload.as_bytes(), &RecordHost(record));
    well_formed(&outcome.response)?;
    Ok(outcome.is_accepted())
}

/// Whether an entry has lasted for the required time.
fn has_lasted(entry: &Value) -> bool {
    let entry: Value = entry.as_str().and_then(|entry| serde_json::from_str(entry).ok()).unwrap_or_default();
    let time = |key: &str| DateTime::parse_from_rfc3339(entry[key].as_str()?).ok().map(|time| time.to_utc());
    let Some(since) = time("since") else { return false };
    // The last moment counts only if it is a time.
    let until = if entry["until"].is_null() { Some(now()) } else { time("until") };
    until.is_some_and(|until| until - since >= REQUIRED && now() - since >= REQUIRED)
}

/// A host with one image, and any text as the record of staging.
struct RecordHost<'t>(&'t [u8]);

impl Host for RecordHost<'_> {
    fn manifest_digest(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("unexpected host call".to_owned())
    }

    fn manifest(&self, _: &str) -> Result<Vec<u8>, String> {
        Err("unexpected host call".to_owned())
    }

    fn manifest_and_config(&self, _: &str) -> Result<Vec<u8>, String> {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": CONFIG});
        let image = json!({"digest": IMAGE, "manifest": {"config": config}, "config": {}});
        Ok(image.to_string().into_bytes())
    }

    fn get_resource(&self, _: &GetResource<'_>) -> Result<Vec<u8>, String> {
        Ok(self.0.to_vec())
    }

    fn list_resources_by_namespace(&self, _: &ListResources<'_>) -> Result<Vec<u8>, String> {
        Err("unexpected host call".to_owned())
    }

    fn can_i(&self, _: &CanI<'_>) -> Result<Vec<u8>, String> {
        Err("unexpected host call".to_owned())
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        now()
    }
}
