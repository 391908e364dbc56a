//! Annotations and labels about scans.

use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::corruption::corrupted;
use super::images::{CONTAINER_NAMES, digest};

pub(crate) const TIMES: [&str; 16] = [
    "2026-11-19T08:00:00Z",
    "2026-11-18T08:00:00Z",
    "2026-11-15 08:00:00 +0000 UTC",
    "2026-11-10T08:00:00Z",
    "2026-09-01T00:00:00Z",
    "2026-11-01",
    "2026-10-01T00:00:00+02:00",
    "2026-06-01T00:00:00Z",
    "2025-01-01T00:00:00.123456789Z",
    "1970-01-01T00:00:00Z",
    "1980-01-01T00:00:01Z",
    "0001-01-01T00:00:00Z",
    "2027-06-01T00:00:00Z",
    "9999-12-31T23:59:59Z",
    "yesterday",
    "",
];

pub(crate) const VULNERABILITIES: [&str; 5] =
    ["CVE-2026-0001", "CVE-2026-0002", "cve-2026-0003", "GHSA-2c4m-59x9-fr2g", "ELSA-2026-0001"];

pub(crate) const SEVERITIES: [&str; 9] =
    ["Critical", "HIGH", "medium", "Low", "Negligible", "Unknown", "", "Defcon1", "bad"];

/// At most two annotations about scans.
pub(crate) fn annotations(choices: &mut Choices<'_>) -> Map<String, Value> {
    choices.few(2, annotation).into_iter().map(|(key, value)| (key, Value::String(value))).collect()
}

/// The key and value of an annotation about scans.
pub(crate) fn annotation(choices: &mut Choices<'_>) -> (String, String) {
    let name = choices.one_of(&CONTAINER_NAMES);
    match choices.up_to(6) {
        0 | 1 => (format!("scan.container-patch.dev/{name}"), text(choices)),
        2 => ("scan.container-patch.dev/app".to_owned(), text(choices)),
        3 => ("Quality.images.OpenShift.io/vulnerability.trivy".to_owned(), text(choices)),
        4 => ("quality.images.openshift.io/vulnerability.clair".to_owned(), text(choices)),
        5 => (
            "images.openshift.io/deny-execution".to_owned(),
            choices.one_of(&["true", "false", "0", "T", "no", ""]).to_owned(),
        ),
        _ => ("images.openshift.io/deny-execution".to_owned(), choices.text(6)),
    }
}

/// The key and value of an annotation that says that an image has no vulnerabilities.
pub(crate) fn clean_annotation(choices: &mut Choices<'_>) -> (String, String) {
    let mut value = json!({"timestamp": choices.one_of(&TIMES), "compliant": true});
    if !choices.once_in(4) {
        value["image"] = json!(digest(choices));
    }
    let keys = ["scan.container-patch.dev/app", "quality.images.openshift.io/vulnerability.trivy"];
    (choices.one_of(&keys).to_owned(), value.to_string())
}

fn text(choices: &mut Choices<'_>) -> String {
    let mut value = annotation_value(choices);
    if choices.once_in(6) {
        value = corrupted(value, choices);
    }
    let text = value.to_string();
    if choices.once_in(12) { text.chars().take(choices.up_to(80)).collect() } else { text }
}

fn annotation_value(choices: &mut Choices<'_>) -> Value {
    let timestamp = if choices.once_in(8) { json!(1_795_000_000) } else { json!(choices.one_of(&TIMES)) };
    let mut value = json!({"name": "trivy", "timestamp": timestamp});
    if !choices.once_in(4) {
        value["image"] = json!(digest(choices));
    }
    match choices.up_to(8) {
        0 | 1 => {}
        2 => value["compliant"] = json!(true),
        3 => value["compliant"] = json!("false"),
        4 => value["compliant"] = Value::Null,
        5 | 6 => value["vulnerabilities"] = json!(choices.few(3, named)),
        _ => value["summary"] = summary(choices),
    }
    value
}

fn summary(choices: &mut Choices<'_>) -> Value {
    let line = |choices: &mut Choices<'_>| {
        let data = match choices.up_to(5) {
            0 => json!("0"),
            1 => json!(3),
            2 => json!("A+"),
            3 => json!("4.0"),
            4 => json!(u64::MAX),
            _ => json!("1"),
        };
        let mut line = json!({"label": choices.one_of(&["critical", "High:", "medium", "whatever"])});
        line[choices.one_of(&["data", "score"])] = data;
        match choices.up_to(3) {
            0 => line["severityIndex"] = json!(choices.up_to(4)),
            1 => line["fixable"] = json!(choices.up_to(2)),
            _ => {}
        }
        line
    };
    let lines = json!(choices.few(3, line));
    if choices.once_in(3) { json!(lines.to_string()) } else { lines }
}

fn named(choices: &mut Choices<'_>) -> Value {
    let mut named = json!({
        "id": choices.one_of(&VULNERABILITIES),
        "severity": choices.one_of(&SEVERITIES),
        "published": choices.one_of(&TIMES),
    });
    if choices.once_in(2) {
        named["fixedVersion"] = json!("3.0.8");
    }
    if choices.once_in(3) {
        named["aliases"] = json!([choices.one_of(&VULNERABILITIES)]);
    }
    named
}
