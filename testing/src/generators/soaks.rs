//! The record of the images that run in staging.

use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::images::digest;
use super::scans::TIMES;

/// A ConfigMap with a few entries. Most of them are valid.
#[must_use]
pub fn record(choices: &mut Choices<'_>) -> Value {
    let data: Map<String, Value> = choices.few(4, entry).into_iter().collect();
    json!({
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "soaked-images", "namespace": "scans", "managedFields": []},
        "data": data,
    })
}

fn entry(choices: &mut Choices<'_>) -> (String, Value) {
    let key = digest(choices).replace(':', "-");
    let mut entry = json!({"since": choices.one_of(&TIMES)});
    if choices.once_in(3) {
        entry["until"] = json!(choices.one_of(&TIMES));
    }
    if choices.once_in(2) {
        entry["where"] = json!(choices.one_of(&["staging/Deployment/web", "\u{202e}`\n"]));
    }
    let text = if choices.once_in(8) { choices.text(20) } else { entry.to_string() };
    (key, json!(text))
}
