//! Settings of the policy.

use container_patch_policy::image::ImagePattern;
use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::images::PATTERNS;
use super::request::BREAK_GLASS;
use super::scans::VULNERABILITIES;
use super::schema;
use super::texts::{CODES, CRONS, DURATIONS, NAMESPACES, PLATFORMS, REGISTRIES, TIME_ZONES};

/// Valid settings, with the sections that this generator knows.
pub fn settings(choices: &mut Choices<'_>) -> Value {
    let mut all = Map::new();
    let mut section = |key: &str, value: Option<Value>| all.extend(value.map(|value| (key.to_owned(), value)));
    let exempt = if choices.once_in(4) { images(choices) } else { Vec::new() };
    section("pinning", maybe(choices, pinning));
    section("schedule", maybe(choices, schedule));
    section("baseImage", maybe(choices, base_image));
    section("scan", maybe(choices, scan));
    section("exceptions", maybe(choices, |choices| json!(exceptions(choices, &exempt))));
    section("overrides", maybe(choices, |choices| json!(choices.few(2, override_))));
    section("enforcement", maybe(choices, enforcement));
    section("breakGlass", maybe(choices, break_glass));
    section("customWorkloads", Some(custom_workloads(choices)));
    if choices.once_in(12) {
        let times =
            ["2026-11-20T12:00:00Z", "2026-12-25T00:00:00+01:00", "9999-12-31T23:59:59Z", "0000-01-01T00:00:00Z"];
        section("evaluateAt", Some(json!(choices.one_of(&times))));
    }
    if choices.once_in(3) {
        // With a single rule, no other finding hides a denial that is missing.
        let rules = ["scan", "schedule", "baseImage", "pinning"];
        let only = choices.one_of(&rules);
        for rule in rules.iter().filter(|rule| **rule != only) {
            section(rule, Some(json!({"action": "off"})));
        }
    }
    section("exempt", (!exempt.is_empty()).then(|| json!(exempt)));
    if choices.once_in(5) {
        let one = choices.one_of(&REGISTRIES);
        let more = choices.few(2, |choices| choices.one_of(&REGISTRIES));
        section("registries", Some(json!([&[one][..], &more[..]].concat())));
    }
    if choices.once_in(5) {
        let one = choices.one_of(&PLATFORMS);
        let more = choices.few(1, |choices| choices.one_of(&PLATFORMS));
        section("platforms", Some(json!([&[one][..], &more[..]].concat())));
    }
    Value::Object(all)
}

/// Adds what the schema has and this generator does not list. The result can be invalid.
pub(crate) fn add_unlisted(settings: &mut Value, choices: &mut Choices<'_>) {
    for name in schema::unlisted_sections() {
        if choices.once_in(2)
            && let Some(section) = schema::section(name, choices)
            && let Some(settings) = settings.as_object_mut()
        {
            settings.insert(name.to_owned(), section);
        }
    }
    for name in schema::unlisted_sections_of_overrides() {
        for override_ in settings.get_mut("overrides").and_then(Value::as_array_mut).into_iter().flatten() {
            if choices.once_in(2)
                && let Some(section) = schema::section(name, choices)
                && let Some(override_) = override_.as_object_mut()
            {
                override_.insert(name.to_owned(), section);
            }
        }
    }
    // The generator of the section reads no choice about this key, so that stored inputs keep their meaning.
    if choices.once_in(3)
        && let Some(section) = settings.get_mut("baseImage").and_then(Value::as_object_mut)
    {
        section.insert("allowed".to_owned(), json!(images(choices)));
    }
    for code in schema::unlisted_codes() {
        for exception in settings.get_mut("exceptions").and_then(Value::as_array_mut).into_iter().flatten() {
            if choices.once_in(4)
                && let Some(codes) = exception.get_mut("rules").and_then(Value::as_array_mut)
            {
                codes.push(json!(code));
            }
        }
    }
    for list in ["overrides", "exceptions"] {
        for entry in settings.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            if choices.once_in(3)
                && let Some(entry) = entry.as_object_mut()
            {
                let one = choices.one_of(&NAMESPACES);
                let more = choices.few(1, |choices| choices.one_of(&NAMESPACES));
                entry.insert("namespaces".to_owned(), json!([&[one][..], &more[..]].concat()));
            }
        }
    }
}

/// Adds `rollout.olderBuild`, which few requests reach otherwise: they replace a build by an older one, and have no other problem.
pub(crate) fn add_older_build(settings: &mut Value, choices: &mut Choices<'_>) {
    if choices.once_in(4)
        && let Some(settings) = settings.as_object_mut()
        && let Some(rollout) = settings.entry("rollout").or_insert_with(|| json!({})).as_object_mut()
    {
        rollout.insert("olderBuild".to_owned(), json!(choices.one_of(&UNKNOWN)));
    }
}

fn maybe(choices: &mut Choices<'_>, make: impl FnOnce(&mut Choices<'_>) -> Value) -> Option<Value> {
    choices.once_in(2).then(|| make(choices))
}

fn images(choices: &mut Choices<'_>) -> Vec<&'static str> {
    let mut images = vec![choices.one_of(&PATTERNS)];
    images.extend(choices.few(1, |choices| choices.one_of(&PATTERNS)));
    images
}

/// The generator of the value of a key.
type Make<'m> = &'m dyn Fn(&mut Choices<'_>) -> Value;

/// An object with some of the keys.
fn some_of(choices: &mut Choices<'_>, keys: &[(&str, Make<'_>)]) -> Value {
    let mut object = Map::new();
    for (key, make) in keys {
        if choices.once_in(2) {
            object.insert((*key).to_owned(), make(choices));
        }
    }
    Value::Object(object)
}

fn word(words: &'static [&'static str]) -> impl Fn(&mut Choices<'_>) -> Value {
    move |choices| json!(choices.one_of(words))
}

const ACTION: [&str; 3] = ["deny", "warn", "off"];
const UNKNOWN: [&str; 3] = ["deny", "warn", "allow"];
const TREATMENT: [&str; 3] = ["deny", "warn", "ignore"];

fn flag(choices: &mut Choices<'_>) -> Value {
    json!(choices.once_in(2))
}

fn pinning(choices: &mut Choices<'_>) -> Value {
    some_of(
        choices,
        &[
            ("action", &word(&["pin", "deny", "warn", "off"])),
            ("templates", &|choices| choices.one_of(&[json!("record"), json!(true), json!(false)])),
            ("forbiddenTags", &|choices| json!(choices.few(2, |choices| choices.one_of(&["latest", "dev", "1"])))),
        ],
    )
}

fn schedule(choices: &mut Choices<'_>) -> Value {
    let freeze = |choices: &mut Choices<'_>| {
        let days = [
            ("2026-12-18", "2027-01-03"),
            ("2026-11-01", "2026-11-30"),
            ("0001-01-01", "9999-12-31"),
            ("12-18", "01-03"),
            ("02-29", "02-29"),
            ("11-15", "11-20"),
        ];
        let (from, to) = choices.one_of(&days);
        let reasons = ["year-end change freeze", "audit:\n  until\r\nit is over\n", "\u{202e}\u{7}"];
        let mut freeze = json!({"from": from, "to": to, "reason": choices.one_of(&reasons)});
        if choices.once_in(2) {
            freeze["rollouts"] = json!(choices.one_of(&UNKNOWN));
        }
        freeze
    };
    let mut schedule = some_of(
        choices,
        &[
            ("action", &word(&ACTION)),
            ("warnBefore", &word(&DURATIONS)),
            ("freezes", &|choices| json!(choices.few(3, freeze))),
            ("unknownBuildDate", &word(&UNKNOWN)),
        ],
    );
    match choices.up_to(3) {
        0 => {}
        1 => schedule["maxAge"] = json!(choices.one_of(&DURATIONS)),
        _ => {
            schedule["patchDays"] = json!({
                "cron": choices.one_of(&CRONS),
                "timeZone": choices.one_of(&TIME_ZONES),
                "grace": choices.one_of(&DURATIONS),
            });
        }
    }
    schedule
}

fn base_image(choices: &mut Choices<'_>) -> Value {
    some_of(
        choices,
        &[
            ("action", &word(&ACTION)),
            ("grace", &word(&DURATIONS)),
            ("unknown", &word(&UNKNOWN)),
            ("registries", &|choices| {
                json!(choices.few(2, |choices| choices.one_of(&["docker.io", "quay.io", "localhost:5000"])))
            }),
        ],
    )
}

fn scan(choices: &mut Choices<'_>) -> Value {
    let severities = ["critical", "high", "medium", "low", "negligible", "unknown"];
    let by_severity = |choices: &mut Choices<'_>, value: Make<'_>| {
        if choices.once_in(2) {
            let value = value(choices);
            return severities.iter().map(|severity| (*severity, value.clone())).collect();
        }
        choices.few(3, |choices| (choices.one_of(&severities), value(choices))).into_iter().collect::<Value>()
    };
    let report = |choices: &mut Choices<'_>| {
        let source = choices.one_of(&["sbomscanner", "trivyOperator", "quay", "kubescape"]);
        if choices.once_in(2) { json!({"source": source, "namespace": "scans"}) } else { json!({ "source": source }) }
    };
    some_of(
        choices,
        &[
            ("action", &word(&ACTION)),
            ("require", &flag),
            ("maxAge", &word(&DURATIONS)),
            ("maxAllowed", &|choices| by_severity(choices, &|choices| json!(choices.one_of(&[0, 1, 10, u64::MAX])))),
            ("fixableOnly", &flag),
            ("patchWithin", &|choices| by_severity(choices, &word(&DURATIONS))),
            ("reports", &|choices| json!(choices.few(3, report))),
            ("podAnnotations", &word(&["flag", "trust", "ignore"])),
        ],
    )
}

fn exceptions(choices: &mut Choices<'_>, exempt: &[&str]) -> Vec<Value> {
    let made = choices.few(2, |choices| {
        let mut exception = json!({
            "images": images(choices),
            "until": choices.one_of(&["2026-12-31", "2026-11-20", "2026-10-31", "2026-11-20T13:00:00+01:00", "9999-12-31"]),
            "reason": choices.one_of(&["SEC-42 vendor fix pending", "a\nb"]),
            "rules": [choices.one_of(&CODES)],
        });
        exception["rules"].as_array_mut().expect("it is a list").extend(choices.few(2, |choices| json!(choices.one_of(&CODES))));
        if choices.once_in(3) {
            exception["cves"] = json!([choices.one_of(&VULNERABILITIES)]);
        }
        exception
    });
    // The policy rejects an exception for an exempt image.
    let is_exempt = |pattern: &Value| {
        let text = pattern.as_str().unwrap_or_default();
        exempt.iter().any(|exempt| ImagePattern::parse(exempt).is_ok_and(|exempt| exempt.matches(text)))
    };
    made.into_iter().filter(|exception| !exception["images"].as_array().into_iter().flatten().any(is_exempt)).collect()
}

fn override_(choices: &mut Choices<'_>) -> Value {
    let mut sections = some_of(
        choices,
        &[("pinning", &pinning), ("schedule", &schedule), ("baseImage", &base_image), ("scan", &scan)],
    );
    sections["images"] = json!(images(choices));
    sections
}

fn enforcement(choices: &mut Choices<'_>) -> Value {
    some_of(
        choices,
        &[
            ("unchangedImages", &word(&TREATMENT)),
            ("controllerPods", &word(&TREATMENT)),
            ("evidenceErrors", &word(&["deny", "warn"])),
        ],
    )
}

fn break_glass(choices: &mut Choices<'_>) -> Value {
    let mut break_glass =
        some_of(choices, &[("annotation", &word(&[BREAK_GLASS, "example.com/emergency"])), ("rbac", &flag)]);
    break_glass["groups"] = json!(["oncall"]);
    if choices.once_in(2) {
        break_glass["users"] = json!(["jane"]);
    }
    break_glass
}

fn custom_workloads(choices: &mut Choices<'_>) -> Value {
    if choices.once_in(8) {
        return json!([]);
    }
    json!([
        {"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "podTemplate": "/spec/template"},
        {"apiVersion": "example.com/*", "kind": "Cluster", "podTemplate": "/spec/leader"},
        {"apiVersion": "example.com/v1", "kind": "Cluster", "podTemplate": "/spec/workers/0/template"},
    ])
}
