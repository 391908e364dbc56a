//! What annotations and labels say of scans.

use serde_json::{Map, Value, json};

use crate::images::digest;
use crate::mangled::mangled;
use crate::{Bytes, request};

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

/// Some annotations about scans: none for most images.
pub(crate) fn annotations(bytes: &mut Bytes<'_>) -> Map<String, Value> {
    bytes.few(2, annotation).into_iter().map(|(key, value)| (key, Value::String(value))).collect()
}

/// The key and value of an annotation about scans.
pub(crate) fn annotation(bytes: &mut Bytes<'_>) -> (String, String) {
    let name = bytes.one_of(&request::NAMES);
    match bytes.up_to(6) {
        0 | 1 => (format!("scan.container-patch.dev/{name}"), text(bytes)),
        2 => ("scan.container-patch.dev/app".to_owned(), text(bytes)),
        3 => ("Quality.images.OpenShift.io/vulnerability.trivy".to_owned(), text(bytes)),
        4 => ("quality.images.openshift.io/vulnerability.clair".to_owned(), text(bytes)),
        5 => (
            "images.openshift.io/deny-execution".to_owned(),
            bytes.one_of(&["true", "false", "0", "T", "no", ""]).to_owned(),
        ),
        _ => ("images.openshift.io/deny-execution".to_owned(), bytes.text(6)),
    }
}

/// The key and value of an annotation by which somebody might want to clear an image.
pub(crate) fn clearing(bytes: &mut Bytes<'_>) -> (String, String) {
    let mut statement = json!({"timestamp": bytes.one_of(&TIMES), "compliant": true});
    if !bytes.once_in(4) {
        statement["image"] = json!(digest(bytes));
    }
    let keys = ["scan.container-patch.dev/app", "quality.images.openshift.io/vulnerability.trivy"];
    (bytes.one_of(&keys).to_owned(), statement.to_string())
}

fn text(bytes: &mut Bytes<'_>) -> String {
    let mut statement = statement(bytes);
    if bytes.once_in(6) {
        statement = mangled(statement, bytes);
    }
    let text = statement.to_string();
    if bytes.once_in(12) { text.chars().take(bytes.up_to(80)).collect() } else { text }
}

fn statement(bytes: &mut Bytes<'_>) -> Value {
    let timestamp = if bytes.once_in(8) { json!(1_795_000_000) } else { json!(bytes.one_of(&TIMES)) };
    let mut statement = json!({"name": "trivy", "timestamp": timestamp});
    if !bytes.once_in(4) {
        statement["image"] = json!(digest(bytes));
    }
    match bytes.up_to(8) {
        0 | 1 => {}
        2 => statement["compliant"] = json!(true),
        3 => statement["compliant"] = json!("false"),
        4 => statement["compliant"] = Value::Null,
        5 | 6 => statement["vulnerabilities"] = json!(bytes.few(3, named)),
        _ => statement["summary"] = summary(bytes),
    }
    statement
}

fn summary(bytes: &mut Bytes<'_>) -> Value {
    let line = |bytes: &mut Bytes<'_>| {
        let data = match bytes.up_to(5) {
            0 => json!("0"),
            1 => json!(3),
            2 => json!("A+"),
            3 => json!("4.0"),
            4 => json!(u64::MAX),
            _ => json!("1"),
        };
        let mut line = json!({"label": bytes.one_of(&["critical", "High:", "medium", "whatever"])});
        line[bytes.one_of(&["data", "score"])] = data;
        match bytes.up_to(3) {
            0 => line["severityIndex"] = json!(bytes.up_to(4)),
            1 => line["fixable"] = json!(bytes.up_to(2)),
            _ => {}
        }
        line
    };
    let lines = json!(bytes.few(3, line));
    if bytes.once_in(3) { json!(lines.to_string()) } else { lines }
}

fn named(bytes: &mut Bytes<'_>) -> Value {
    let mut named = json!({
        "id": bytes.one_of(&VULNERABILITIES),
        "severity": bytes.one_of(&SEVERITIES),
        "published": bytes.one_of(&TIMES),
    });
    if bytes.once_in(2) {
        named["fixedVersion"] = json!("3.0.8");
    }
    if bytes.once_in(3) {
        named["aliases"] = json!([bytes.one_of(&VULNERABILITIES)]);
    }
    named
}
