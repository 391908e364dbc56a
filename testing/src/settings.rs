//! Settings.

use container_patch_policy::image::ImagePattern;
use serde_json::{Map, Value, json};

use crate::Bytes;
use crate::images::PATTERNS;
use crate::request::BREAK_GLASS;
use crate::scans::VULNERABILITIES;

const PERIODS: [&str; 8] = ["90d", "14d", "1s", "12h", "2weeks", "36500d", "1h 30m", "7d"];

/// The findings that exceptions can cover.
const RULES: [&str; 16] = [
    "stale-image",
    "unpinned-image",
    "forbidden-tag",
    "patch-due",
    "unknown-build-date",
    "future-build-date",
    "outdated-base-image",
    "base-update-due",
    "unknown-base-image",
    "scan-flagged",
    "vulnerable-image",
    "patch-window-open",
    "unscanned-image",
    "stale-scan",
    "evidence-unavailable",
    "unknown-registry",
];

const REGISTRIES: [&str; 6] =
    ["docker.io", "registry.example.com", "*.example.com/team/*", "localhost:5000", "quay.io/org", "*"];

const PLATFORMS: [&str; 3] = ["linux/amd64", "linux/arm64", "windows/amd64"];

/// Settings that are valid.
pub fn settings(bytes: &mut Bytes<'_>) -> Value {
    let mut all = Map::new();
    let mut section = |key: &str, value: Option<Value>| all.extend(value.map(|value| (key.to_owned(), value)));
    let exempt = if bytes.once_in(4) { images(bytes) } else { Vec::new() };
    section("pinning", maybe(bytes, pinning));
    section("schedule", maybe(bytes, schedule));
    section("baseImage", maybe(bytes, base_image));
    section("scan", maybe(bytes, scan));
    section("exceptions", maybe(bytes, |bytes| json!(exceptions(bytes, &exempt))));
    section("overrides", maybe(bytes, |bytes| json!(bytes.few(2, override_))));
    section("enforcement", maybe(bytes, enforcement));
    section("breakGlass", maybe(bytes, break_glass));
    section("customWorkloads", Some(custom_workloads(bytes)));
    if bytes.once_in(12) {
        let times =
            ["2026-11-20T12:00:00Z", "2026-12-25T00:00:00+01:00", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"];
        section("evaluateAt", Some(json!(bytes.one_of(&times))));
    }
    if bytes.once_in(3) {
        // Where one rule alone refuses images, it shows when something clears them.
        let rules = ["scan", "schedule", "baseImage", "pinning"];
        let only = bytes.one_of(&rules);
        for rule in rules.iter().filter(|rule| **rule != only) {
            section(rule, Some(json!({"action": "off"})));
        }
    }
    section("exempt", (!exempt.is_empty()).then(|| json!(exempt)));
    if bytes.once_in(5) {
        let one = bytes.one_of(&REGISTRIES);
        let more = bytes.few(2, |bytes| bytes.one_of(&REGISTRIES));
        section("registries", Some(json!([&[one][..], &more[..]].concat())));
    }
    if bytes.once_in(5) {
        let one = bytes.one_of(&PLATFORMS);
        let more = bytes.few(1, |bytes| bytes.one_of(&PLATFORMS));
        section("platforms", Some(json!([&[one][..], &more[..]].concat())));
    }
    Value::Object(all)
}

fn maybe(bytes: &mut Bytes<'_>, make: impl FnOnce(&mut Bytes<'_>) -> Value) -> Option<Value> {
    bytes.once_in(2).then(|| make(bytes))
}

fn images(bytes: &mut Bytes<'_>) -> Vec<&'static str> {
    let mut images = vec![bytes.one_of(&PATTERNS)];
    images.extend(bytes.few(1, |bytes| bytes.one_of(&PATTERNS)));
    images
}

/// Makes the value of a key.
type Make<'m> = &'m dyn Fn(&mut Bytes<'_>) -> Value;

/// An object of some of these keys.
fn some_of(bytes: &mut Bytes<'_>, keys: &[(&str, Make<'_>)]) -> Value {
    let mut object = Map::new();
    for (key, make) in keys {
        if bytes.once_in(2) {
            object.insert((*key).to_owned(), make(bytes));
        }
    }
    Value::Object(object)
}

fn word(words: &'static [&'static str]) -> impl Fn(&mut Bytes<'_>) -> Value {
    move |bytes| json!(bytes.one_of(words))
}

const ACTION: [&str; 3] = ["deny", "warn", "off"];
const UNKNOWN: [&str; 3] = ["deny", "warn", "allow"];
const TREATMENT: [&str; 3] = ["deny", "warn", "ignore"];

fn flag(bytes: &mut Bytes<'_>) -> Value {
    json!(bytes.once_in(2))
}

fn pinning(bytes: &mut Bytes<'_>) -> Value {
    some_of(
        bytes,
        &[
            ("action", &word(&["pin", "deny", "warn", "off"])),
            ("templates", &|bytes| bytes.one_of(&[json!("record"), json!(true), json!(false)])),
            ("forbiddenTags", &|bytes| json!(bytes.few(2, |bytes| bytes.one_of(&["latest", "dev", "1"])))),
        ],
    )
}

fn schedule(bytes: &mut Bytes<'_>) -> Value {
    let freeze = |bytes: &mut Bytes<'_>| {
        let days = [("2026-12-18", "2027-01-03"), ("2026-11-01", "2026-11-30"), ("0001-01-01", "9999-12-31")];
        let (from, to) = bytes.one_of(&days);
        let reasons = ["year-end change freeze", "audit:\n  until\r\nit is over\n", "\u{202e}\u{7}"];
        json!({"from": from, "to": to, "reason": bytes.one_of(&reasons)})
    };
    let mut schedule = some_of(
        bytes,
        &[
            ("action", &word(&ACTION)),
            ("warnBefore", &word(&PERIODS)),
            ("freezes", &|bytes| json!(bytes.few(3, freeze))),
            ("unknownBuildDate", &word(&UNKNOWN)),
        ],
    );
    match bytes.up_to(3) {
        0 => {}
        1 => schedule["maxAge"] = json!(bytes.one_of(&PERIODS)),
        _ => {
            let crons = ["0 0 * * TUE#2", "0 0 L * *", "*/5 * * * *", "0 0 * * FRI#L", "0 2 29 2 *"];
            let zones = ["UTC", "Europe/Berlin", "America/New_York", "Pacific/Apia", "Asia/Kathmandu"];
            schedule["patchDays"] = json!({
                "cron": bytes.one_of(&crons),
                "timeZone": bytes.one_of(&zones),
                "grace": bytes.one_of(&PERIODS),
            });
        }
    }
    schedule
}

fn base_image(bytes: &mut Bytes<'_>) -> Value {
    some_of(
        bytes,
        &[
            ("action", &word(&ACTION)),
            ("grace", &word(&PERIODS)),
            ("unknown", &word(&UNKNOWN)),
            ("registries", &|bytes| {
                json!(bytes.few(2, |bytes| bytes.one_of(&["docker.io", "quay.io", "localhost:5000"])))
            }),
        ],
    )
}

fn scan(bytes: &mut Bytes<'_>) -> Value {
    let severities = ["critical", "high", "medium", "low", "negligible", "unknown"];
    let by_severity = |bytes: &mut Bytes<'_>, value: Make<'_>| {
        if bytes.once_in(2) {
            let value = value(bytes);
            return severities.iter().map(|severity| (*severity, value.clone())).collect();
        }
        bytes.few(3, |bytes| (bytes.one_of(&severities), value(bytes))).into_iter().collect::<Value>()
    };
    let report = |bytes: &mut Bytes<'_>| {
        let source = bytes.one_of(&["sbomscanner", "trivyOperator", "quay", "kubescape"]);
        if bytes.once_in(2) { json!({"source": source, "namespace": "scans"}) } else { json!({ "source": source }) }
    };
    some_of(
        bytes,
        &[
            ("action", &word(&ACTION)),
            ("require", &flag),
            ("maxAge", &word(&PERIODS)),
            ("maxAllowed", &|bytes| by_severity(bytes, &|bytes| json!(bytes.one_of(&[0, 1, 10, u64::MAX])))),
            ("fixableOnly", &flag),
            ("patchWithin", &|bytes| by_severity(bytes, &word(&PERIODS))),
            ("reports", &|bytes| json!(bytes.few(3, report))),
            ("podAnnotations", &word(&["flag", "trust", "ignore"])),
        ],
    )
}

fn exceptions(bytes: &mut Bytes<'_>, exempt: &[&str]) -> Vec<Value> {
    let made = bytes.few(2, |bytes| {
        let mut exception = json!({
            "images": images(bytes),
            "until": bytes.one_of(&["2026-12-31", "2026-11-20", "2026-10-31", "2026-11-20T13:00:00+01:00", "9999-12-31"]),
            "reason": bytes.one_of(&["SEC-42 vendor fix pending", "a\nb"]),
            "rules": [bytes.one_of(&RULES)],
        });
        exception["rules"].as_array_mut().expect("it is a list").extend(bytes.few(2, |bytes| json!(bytes.one_of(&RULES))));
        if bytes.once_in(3) {
            exception["cves"] = json!([bytes.one_of(&VULNERABILITIES)]);
        }
        exception
    });
    // An exception for what is exempt anyway is refused.
    let is_exempt = |pattern: &Value| {
        let text = pattern.as_str().unwrap_or_default();
        exempt.iter().any(|exempt| ImagePattern::parse(exempt).is_ok_and(|exempt| exempt.matches(text)))
    };
    made.into_iter().filter(|exception| !exception["images"].as_array().into_iter().flatten().any(is_exempt)).collect()
}

fn override_(bytes: &mut Bytes<'_>) -> Value {
    let mut sections =
        some_of(bytes, &[("pinning", &pinning), ("schedule", &schedule), ("baseImage", &base_image), ("scan", &scan)]);
    sections["images"] = json!(images(bytes));
    sections
}

fn enforcement(bytes: &mut Bytes<'_>) -> Value {
    some_of(
        bytes,
        &[
            ("unchangedImages", &word(&TREATMENT)),
            ("controllerPods", &word(&TREATMENT)),
            ("evidenceErrors", &word(&["deny", "warn"])),
        ],
    )
}

fn break_glass(bytes: &mut Bytes<'_>) -> Value {
    let mut break_glass = some_of(bytes, &[("annotation", &word(&[BREAK_GLASS, "example.com/door"])), ("rbac", &flag)]);
    break_glass["groups"] = json!(["oncall"]);
    break_glass
}

fn custom_workloads(bytes: &mut Bytes<'_>) -> Value {
    if bytes.once_in(8) {
        return json!([]);
    }
    json!([
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"},
        {"apiVersion": "example.com/*", "kind": "Cluster", "podTemplate": "/spec/leader"},
        {"apiVersion": "example.com/v1", "kind": "Cluster", "podTemplate": "/spec/workers/0/template"},
    ])
}
