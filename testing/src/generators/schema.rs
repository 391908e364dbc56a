//! Settings that are generated from their JSON schema.
//!
//! [`settings`](super::settings) lists the sections that it generates. A section that it does not list, such as that of a new
//! rule, is generated here, so the properties cover a new rule without a change to this crate.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::images::PATTERNS;
use super::scans::{TIMES, VULNERABILITIES};
use super::texts::{CODES, CRONS, DURATIONS, PLATFORMS, REGISTRIES, SECTIONS, TIME_ZONES};

static SCHEMA: LazyLock<Value> = LazyLock::new(|| {
    serde_json::from_str(include_str!("../../../docs/settings.schema.json")).expect("the schema is valid JSON")
});

/// The texts that string settings are chosen from.
static TEXTS: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let lists = [&DURATIONS[..], &CRONS, &TIME_ZONES, &REGISTRIES, &PLATFORMS, &PATTERNS, &VULNERABILITIES, &TIMES];
    let others = ["scans", "shop", "app", "2026-11-01", "2026-12-31", "example.com/emergency", "/spec/template"];
    lists.concat().into_iter().chain(others).collect()
});

/// The texts that match a pattern of the schema.
static MATCHING: LazyLock<Mutex<HashMap<&str, Vec<&str>>>> = LazyLock::new(Mutex::default);

/// The sections of the schema that [`settings`](super::settings) does not list.
pub(crate) fn unlisted_sections() -> Vec<&'static str> {
    let sections = SCHEMA["properties"].as_object().into_iter().flatten();
    sections.map(|(name, _)| name.as_str()).filter(|name| !SECTIONS.contains(name)).collect()
}

/// The sections of an override that [`settings`](super::settings) does not list.
pub(crate) fn unlisted_sections_of_overrides() -> Vec<&'static str> {
    let overridable = &item_of("overrides")["properties"];
    unlisted_sections().into_iter().filter(|name| overridable.get(name).is_some()).collect()
}

/// The finding codes that exceptions can name and [`settings`](super::settings) does not list.
pub(crate) fn unlisted_codes() -> Vec<&'static str> {
    let codes = item_of("exceptions")["properties"]["rules"]["items"]["enum"].as_array().into_iter().flatten();
    codes.filter_map(Value::as_str).filter(|code| !CODES.contains(code)).collect()
}

/// A section. It can be invalid, because conditions between keys are not considered.
#[must_use]
pub fn section(name: &str, choices: &mut Choices<'_>) -> Option<Value> {
    value(SCHEMA["properties"].get(name)?, choices)
}

/// The keys of a section.
#[must_use]
pub fn keys_of(section: &str) -> Vec<&'static str> {
    let schema = resolved(&SCHEMA["properties"][section]);
    schema["properties"].as_object().into_iter().flatten().map(|(key, _)| key.as_str()).collect()
}

/// A value for a part of the schema. None if no value is known.
fn value(schema: &'static Value, choices: &mut Choices<'_>) -> Option<Value> {
    let schema = resolved(schema);
    if let Some(options) = schema["enum"].as_array() {
        return Some(choices.one_of(options));
    }
    let kinds = schema["type"].as_array().map_or(std::slice::from_ref(&schema["type"]), Vec::as_slice);
    let kind = kinds.iter().filter_map(Value::as_str).find(|kind| *kind != "null")?;
    match kind {
        "object" => object(schema, choices),
        "array" => {
            let least = usize::from(schema["minItems"].as_u64().is_some_and(|least| least > 0));
            let count = least + choices.up_to(2);
            Some((0..count).filter_map(|_| value(&schema["items"], choices)).collect())
        }
        "string" => text(schema["pattern"].as_str(), choices).map(|text| json!(text)),
        "boolean" => Some(json!(choices.once_in(2))),
        "integer" | "number" => Some(json!(choices.one_of(&[0, 1, 10]))),
        _ => None,
    }
}

/// An object with the required keys and some of the others.
fn object(schema: &'static Value, choices: &mut Choices<'_>) -> Option<Value> {
    let required = |key: &str| schema["required"].as_array().is_some_and(|keys| keys.iter().any(|known| known == key));
    let mut object = Map::new();
    for (key, schema) in schema["properties"].as_object().into_iter().flatten() {
        let is_required = required(key);
        if !is_required && !choices.once_in(2) {
            continue;
        }
        match value(schema, choices) {
            Some(value) => drop(object.insert(key.clone(), value)),
            None if is_required => return None,
            None => {}
        }
    }
    Some(Value::Object(object))
}

/// One of the texts that match a pattern.
fn text(pattern: Option<&'static str>, choices: &mut Choices<'_>) -> Option<&'static str> {
    let Some(pattern) = pattern else { return Some(choices.one_of(&TEXTS)) };
    // Each pattern is compiled once, because compiling takes longer than a case.
    let mut matching = MATCHING.lock().unwrap_or_else(PoisonError::into_inner);
    let texts = matching.entry(pattern).or_insert_with(|| {
        let pattern = Regex::new(pattern).expect("the patterns of the schema are valid");
        TEXTS.iter().copied().filter(|text| pattern.is_match(text)).collect()
    });
    (!texts.is_empty()).then(|| choices.one_of(texts))
}

/// The schema of the entries of a list at the top level.
fn item_of(list: &str) -> &'static Value {
    resolved(&resolved(&SCHEMA["properties"][list])["items"])
}

/// The definition that a part of the schema refers to, or the part itself.
fn resolved(schema: &'static Value) -> &'static Value {
    let definition = schema["$ref"].as_str().and_then(|reference| SCHEMA.pointer(reference.trim_start_matches('#')));
    definition.unwrap_or(schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_of_overrides_and_codes_of_exceptions_are_found() {
        assert!(item_of("overrides")["properties"]["schedule"].is_object());
        let codes = &item_of("exceptions")["properties"]["rules"]["items"]["enum"];
        assert!(CODES.iter().all(|code| codes.as_array().is_some_and(|codes| codes.contains(&json!(code)))), "{codes}");
    }

    #[test]
    fn every_listed_section_is_in_the_schema() {
        let is_unknown = |name: &&&str| SCHEMA["properties"].get(**name).is_none();
        assert_eq!(SECTIONS.iter().filter(is_unknown).collect::<Vec<_>>(), Vec::<&&str>::new());
    }
}
