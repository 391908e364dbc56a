use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Problems, RequestSettings};
use crate::config::read::Setting as _;
use crate::enforcement::exceptions::Source as _;
use crate::rules::pinning::settings::PinningAction;
use crate::settings::Settings;

fn read(json: &RawValue) -> Result<RequestSettings<'_>, Problems> {
    read_in(None, json)
}

fn read_in<'a>(namespace: Option<&'a str>, json: &'a RawValue) -> Result<RequestSettings<'a>, Problems> {
    RequestSettings::read(serde_json::from_str(json.get()).map_err(|_| Problems::default())?, namespace)
}

fn raw(settings: &Value) -> Box<RawValue> {
    serde_json::value::to_raw_value(settings).unwrap()
}

#[test]
fn the_first_override_that_matches_changes_the_keys_that_it_gives() {
    let json = raw(&json!({
        "pinning": {"action": "deny", "forbiddenTags": ["latest", "dev"]},
        "overrides": [
            {"images": ["registry.example.com/a/*"]},
            {"images": ["quay.io/none:*", "registry.example.com/*"], "pinning": {"action": "warn"}},
            {"images": ["*"], "pinning": {"action": "off", "forbiddenTags": []}},
        ],
    }));
    let all = Settings::from_json(&json).unwrap();
    let settings = read(&json).unwrap();
    assert_eq!(settings.rules_for("registry.example.com/a/app:1"), &all.rules);
    let second = settings.rules_for("registry.example.com/b/app:1");
    assert_eq!(second, &all.overrides()[1].rules);
    assert_eq!(second.pinning.action, PinningAction::Warn);
    assert!(second.pinning.forbids("dev"), "keys that the override leaves out are inherited");
    let third = settings.rules_for("quay.io/x:1");
    assert_eq!(third, &all.overrides()[2].rules);
    assert!(!third.pinning.forbids("latest"), "a key that is given replaces the whole value");
    assert_eq!(third.schedule, all.rules.schedule, "other sections stay as they are");
    assert!(!settings.is_broken());
}

#[test]
fn an_override_does_not_inherit_a_key_that_excludes_one_of_its_own() {
    let read = |schedule: Value, of_override: Value| {
        let json = raw(&json!({"schedule": schedule, "overrides": [{"images": ["*"], "schedule": of_override}]}));
        let settings = Settings::from_json(&json).unwrap();
        settings.overrides()[0].rules.schedule.to_json()
    };
    let calendar = json!({"cron": "0 0 2 * *"});
    assert_eq!(
        read(json!({"action": "warn", "maxAge": "30d"}), json!({"maxAge": "120d"})),
        json!({"action": "warn", "maxAge": "120d"})
    );
    assert_eq!(
        read(json!({"action": "warn", "patchDays": calendar}), json!({"maxAge": "120d"})),
        json!({"action": "warn", "maxAge": "120d"})
    );
    assert_eq!(
        read(json!({"action": "warn", "maxAge": "30d"}), json!({"patchDays": calendar})),
        json!({"action": "warn", "patchDays": calendar})
    );
    assert_eq!(
        read(json!({"patchDays": calendar, "warnBefore": "1d"}), json!({"action": "warn"})),
        json!({"action": "warn", "patchDays": calendar, "warnBefore": "1d"})
    );
}

#[test]
fn all_exceptions_for_an_image_are_found_once_each() {
    let exception = |images: &[&str], reason: &str| json!({"images": images, "rules": ["stale-image"], "until": "2026-12-31", "reason": reason});
    let json = raw(&json!({"exceptions": [
        exception(&["*"], "all"),
        exception(&["quay.io/*"], "another"),
        exception(&["docker.io/library/*", "docker.io/*", "DOCKER.io:443/library/a:*"], "some"),
    ]}));
    let all = Settings::from_json(&json).unwrap().general.exceptions;
    let settings = read(&json).unwrap();
    assert_eq!(settings.exceptions_for("docker.io/library/a:1"), [&all[0], &all[2]]);
    assert_eq!(settings.exceptions_for("registry.example.com/a:1"), [&all[0]]);
}

#[test]
fn an_entry_applies_if_an_image_pattern_and_a_namespace_pattern_match() {
    let json = raw(&json!({
        "overrides": [
            {"images": ["quay.io/*"], "namespaces": ["staging"], "pinning": {"action": "off"}},
            {"images": ["*"], "namespaces": ["staging-*", "test-?"], "pinning": {"action": "warn"}},
            {"images": ["quay.io/*"], "namespaces": null, "pinning": {"action": "deny"}},
            {"images": ["*"], "namespaces": ["*"], "schedule": {"action": "warn"}},
        ],
        "exceptions": [
            {"images": ["quay.io/*"], "namespaces": ["staging*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "0"},
            {"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "1"},
            {"images": ["*"], "namespaces": ["test-1", "staging"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "2"},
        ],
    }));
    let all = Settings::from_json(&json).unwrap();
    let overrides = all.overrides();
    let (quay, other) = ("quay.io/a:1", "registry.example.com/a:1");
    for (namespace, image, applies, excepted) in [
        (Some("staging"), quay, Some(0), vec![0, 1, 2]),
        (Some("staging"), other, Some(3), vec![1, 2]),
        (Some("staging-eu"), quay, Some(1), vec![0, 1]),
        (Some("staging-eu"), other, Some(1), vec![1]),
        (Some("test-1"), quay, Some(1), vec![1, 2]),
        (Some("test-12"), quay, Some(2), vec![1]),
        (Some("production"), quay, Some(2), vec![1]),
        (Some("production"), other, Some(3), vec![1]),
        (None, quay, Some(2), vec![1]),
        (None, other, None, vec![1]),
    ] {
        let settings = read_in(namespace, &json).unwrap();
        let expected = applies.map_or(&all.rules, |index: usize| &overrides[index].rules);
        assert_eq!(settings.rules_for(image), expected, "{namespace:?} {image}");
        let reasons: Vec<usize> =
            settings.exceptions_for(image).iter().map(|exception| exception.reason.parse().unwrap()).collect();
        assert_eq!(reasons, excepted, "{namespace:?} {image}");
        let found = overrides.iter().position(|entry| entry.matches(image, namespace));
        assert_eq!(found, applies, "all settings, {namespace:?} {image}");
        assert!(!settings.is_broken());
    }
}

#[test]
fn an_entry_for_another_namespace_is_not_read() {
    let json = raw(&json!({"overrides": [{"images": 7, "namespaces": ["staging"], "pining": {}}]}));
    let settings = read_in(Some("production"), &json).unwrap();
    let _ = settings.rules_for("quay.io/a:1");
    assert!(!settings.is_broken());
    for namespace in [Some("production"), Some("staging"), None] {
        for wrong in [json!("staging"), json!([7]), json!({})] {
            let entries = json!([{"images": ["*"], "namespaces": wrong}]);
            let json = raw(&json!({"overrides": entries, "exceptions": entries}));
            let settings = read_in(namespace, &json).unwrap();
            let _ = settings.rules_for("quay.io/a:1");
            assert!(settings.is_broken(), "overrides: {wrong}");
            let settings = read_in(namespace, &json).unwrap();
            settings.exceptions_for("quay.io/a:1");
            assert!(settings.is_broken(), "exceptions: {wrong}");
        }
    }
}

#[test]
fn an_invalid_entry_is_reported_once_it_is_read() {
    let json = raw(&json!({"overrides": [
        {"images": ["registry.example.com/*"]},
        {"images": ["*"], "pining": {}},
    ]}));
    let settings = read(&json).unwrap();
    let _ = settings.rules_for("registry.example.com/a:1");
    assert!(!settings.is_broken());
    let _ = settings.rules_for("quay.io/a:1");
    assert!(settings.is_broken());
    for wrong in [json!([{"schedule": {}}]), json!([{"images": "*"}])] {
        let json = raw(&json!({ "overrides": wrong, "exceptions": wrong }));
        let settings = read(&json).unwrap();
        settings.exceptions_for("quay.io/a:1");
        assert!(settings.is_broken(), "{wrong}");
    }
    for wrong in [json!({"a": 1}), json!(["*"]), json!([null]), json!("x")] {
        for key in ["overrides", "exceptions"] {
            assert!(read(&raw(&json!({ key: wrong }))).is_err(), "{key}: {wrong}");
        }
    }
    for wrong in [json!({"pining": {}}), json!([{}]), json!("x"), json!(true), json!(-1), json!(1), json!(1.5)] {
        assert!(read(&raw(&wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_duplicate_list_is_refused() {
    for text in [
        r#"{"overrides": [], "overrides": []}"#,
        r#"{"exceptions": null, "exceptions": []}"#,
        r#"{"overrides": [], "over\u0072ides": []}"#,
    ] {
        assert!(read(serde_json::from_str(text).unwrap()).is_err(), "{text}");
    }
}

#[test]
fn no_settings_are_the_default_settings() {
    for json in [json!({}), Value::Null, json!({"overrides": null, "exceptions": null})] {
        assert_eq!(read(&raw(&json)).unwrap().general(), &Settings::default().general);
    }
}
