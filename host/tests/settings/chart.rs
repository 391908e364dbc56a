//! The values of the Helm chart, without Helm: e2e-tests/deploy.bats renders the chart where Helm is installed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::validator::Validator;
use super::{keep_up, read, schema, settings, yaml};

const SCHEMA: &str = "deploy/helm/container-patch-policy/values.schema.json";
const VALUES: &str = "deploy/helm/container-patch-policy/values.yaml";

/// The schema of the values, with the definitions of the settings as they are today. The text before the definitions is written by hand.
fn renewed(found: &str, settings: &str) -> String {
    let (by_hand, _) = found.split_once("  \"definitions\": {\n").expect("the schema has definitions");
    let (head, definitions) = settings.split_once(",\n  \"$defs\": {\n").expect("the schema of the settings has $defs");
    let outside = ["  \"$schema\"", "  \"$id\"", "  \"title\""];
    let head: Vec<_> = head
        .lines()
        .skip(1)
        .filter(|line| !outside.iter().any(|key| line.starts_with(key)))
        .map(|line| format!("    {line}\n"))
        .collect();
    let text = format!("{by_hand}  \"definitions\": {{\n    \"Settings\": {{\n{}    }},\n{definitions}", head.concat());
    // Helm's regular expressions do not have `\u2212`, the minus sign.
    text.replace("#/$defs/", "#/definitions/").replace(r"\\u2212", "\u{2212}")
}

fn validator() -> Validator {
    Validator::new(serde_json::from_str(&read(SCHEMA)).unwrap())
}

/// The default values with others, which replace whole values.
fn values(changes: &Value) -> Value {
    let mut values = yaml(&read(VALUES));
    for (key, value) in changes.as_object().unwrap() {
        values[key] = value.clone();
    }
    values
}

#[test]
fn the_schema_of_the_chart_has_the_settings_of_the_code() {
    keep_up(SCHEMA, &renewed(&read(SCHEMA), &schema::text(&settings())));
}

#[test]
fn every_setting_is_a_value_of_the_chart_once() {
    let schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let names = |properties: &Value| -> Vec<String> { properties.as_object().unwrap().keys().cloned().collect() };
    let at_top: BTreeSet<_> = names(&schema["properties"]).into_iter().collect();
    let below: BTreeSet<_> = names(&schema["properties"]["settings"]["properties"]).into_iter().collect();
    for key in &settings().keys {
        assert!(at_top.contains(key.name) != below.contains(key.name), "{} is at the top or in `settings`", key.name);
    }
}

#[test]
fn the_default_values_are_valid_and_all_described() {
    assert!(validator().accepts(&values(&json!({}))));
    let schema: Value = serde_json::from_str(&read(SCHEMA)).unwrap();
    let page = read("docs/helm.md");
    for (key, part) in schema["properties"].as_object().unwrap() {
        if key == "global" {
            continue;
        }
        assert!(!yaml(&read(VALUES))[key].is_null(), "{VALUES} has no {key}");
        let described = |name: &str| page.contains(&format!("| `{name}` |"));
        match part["properties"].as_object() {
            Some(parts) if key != "settings" => {
                let missing: Vec<_> = parts.keys().filter(|part| !described(&format!("{key}.{part}"))).collect();
                assert!(missing.is_empty(), "docs/helm.md does not describe {key}: {missing:?}");
            }
            _ => assert!(described(key), "docs/helm.md does not describe {key}"),
        }
    }
}

#[test]
fn the_default_registries_are_those_of_the_policies() {
    let deployed = yaml(&read("deploy/pin.yaml"));
    assert_eq!(values(&json!({}))["registries"], deployed["spec"]["settings"]["registries"]);
    assert_eq!(
        values(&json!({}))["namespaces"]["excluded"],
        deployed["spec"]["namespaceSelector"]["matchExpressions"][0]["values"]
    );
}

#[test]
fn the_chart_has_the_version_of_the_policy() {
    let chart = yaml(&read("deploy/helm/container-patch-policy/Chart.yaml"));
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!([chart["version"].as_str(), chart["appVersion"].as_str()], [Some(version); 2]);
}

#[test]
fn the_schema_of_the_chart_accepts_valid_values_and_refuses_invalid_ones() {
    let validator = validator();
    for valid in [
        json!({"mode": "protect", "registries": ["registry.example.com/team/*"]}),
        json!({"schedule": {"patchDays": {"cron": "0 0 * * TUE#2"}}, "scan": {"reports": [{"source": "quay"}]}}),
        json!({"settings": {"overrides": [{"images": ["*"], "pinning": {"action": false}}], "platforms": ["linux/amd64"]}}),
        json!({"timeouts": {"webhook": 30, "evaluation": 29}, "pin": {"mode": "protect"}, "global": {"a": 1}}),
    ] {
        assert!(validator.accepts(&values(&valid)), "{valid}");
    }
    for invalid in [
        json!({"mode": "Protect"}),
        json!({"registriez": []}),
        json!({"registries": ["nowhere"]}),
        json!({"schedule": {"maxAge": 90}}),
        json!({"schedule": {"maxAge": "3d", "patchDays": {"cron": "0 0 * * TUE#2"}}}),
        json!({"scan": {"reports": [{"source": "clair"}]}}),
        json!({"breakGlass": {"groups": "oncall"}}),
        json!({"timeouts": {"webhook": 31}}),
        json!({"module": {"digest": "sha256:123"}}),
        json!({"module": {"repository": "registry://ghcr.io/container-patch/policies/container-patch-policy"}}),
        json!({"settings": {"schedule": {"maxAge": "90d"}}}),
        json!({"settings": {"overrides": [{"pinning": {"action": "warn"}}]}}),
        json!({"extra": {"rules": [{"resources": ["rollouts"]}]}}),
    ] {
        assert!(!validator.accepts(&values(&invalid)), "{invalid}");
    }
}
