use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Settings, keys};
use crate::config::read::Setting;

fn read(settings: &Value) -> Result<Settings, Vec<String>> {
    let json = serde_json::value::to_raw_value(settings).unwrap();
    Settings::from_json(&json).map_err(|problems| problems.lines().to_vec())
}

fn problems(settings: &Value) -> Vec<String> {
    read(settings).expect_err("these settings are not valid")
}

#[test]
fn no_settings_are_the_default_settings() {
    assert_eq!(read(&json!({})), Ok(Settings::default()));
    assert_eq!(read(&json!(null)), Ok(Settings::default()));
    assert_eq!(read(&json!({"pinning": null, "exempt": null})), Ok(Settings::default()));
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let found = problems(&json!({
        "exempt": ["nginx*", 7, "registry.example.com/*"],
        "pinning": {"action": "denny", "templates": "yes", "forbiddenTags": ["-x", 1.1], "actoin": "deny"},
        "overrides": [{"pinning": {"action": "warn"}}, {"images": [], "pining": {}}, 3, {"images": ["*"], "namespaces": ["Prod"], "namespace": []}],
        "exceptions": [{"namespaces": [], "rules": ["stale-image"], "until": "2026-12-31", "reason": "r"}],
        "customWorkloads": [{"apiVersion": "v1", "kind": "Rollout"}],
        "exmpt": [],
        "zzz": 1,
    }));
    assert_eq!(
        found,
        [
            "pinning.action: unknown value `denny`; expected one of pin, deny, warn, off; did you mean `deny`?",
            "pinning.templates: unknown value `yes`; expected one of record, true, false",
            "pinning.forbiddenTags[0]: invalid tag `-x`: expected at most 128 letters, digits, `_`, `.` and `-`, with no `.` or `-` at the start",
            "pinning.forbiddenTags[1]: expected a tag, found a number; put it in quotes: \"1.1\"",
            "pinning.actoin: unknown key; did you mean `action`?",
            "exempt[0]: `nginx*`: a pattern starts with a registry host or with `*`; write `docker.io/library/nginx*`",
            "exempt[1]: expected an image pattern, found a number; put it in quotes: \"7\"",
            "exceptions[0]: `images` is required; write `[\"*\"]` for every image",
            "exceptions[0].namespaces: the list is empty; write a namespace such as `staging`, or leave `namespaces` out for every namespace",
            "customWorkloads[0]: `podTemplate` is required",
            "exmpt: unknown key; did you mean `exempt`?",
            &format!("zzz: unknown key; expected one of {}", keys().join(", ")),
            "overrides[0]: `images` is required; write `[\"*\"]` for every image",
            "overrides[1].images: the list is empty; write an image pattern, or `*` for every image",
            "overrides[1].pining: unknown key; did you mean `pinning`?",
            "overrides[2]: expected an object, found a number",
            "overrides[3].namespaces[0]: `Prod`: matches no namespace, because names of namespaces are lower case; write `prod`",
            "overrides[3].namespace: unknown key; did you mean `namespaces`?",
        ]
    );
}

#[test]
fn names_that_permit_break_glass_to_unknown_users_are_invalid() {
    let break_glass = json!({"groups": ["system:authenticated", ""], "users": ["jane", "", " ", "system:anonymous"]});
    assert_eq!(
        problems(&json!({"breakGlass": break_glass})),
        [
            "breakGlass.groups[0]: every user may be in `system:authenticated`; list only groups that are on call",
            "breakGlass.groups[1]: cannot be empty",
            "breakGlass.users[1]: cannot be empty",
            "breakGlass.users[2]: cannot be empty",
            "breakGlass.users[3]: every request without authentication is from `system:anonymous`; list only users who are on call",
        ]
    );
}

#[test]
fn settings_are_serialised_as_they_were_read() {
    assert_eq!(Settings::default().to_json(), json!({}), "defaults are left out");
    let written = json!({
        "exempt": ["docker.io/library/*", "*.example.com/x:*", "*/nothing:*"],
        "pinning": {"action": "off", "templates": "true", "forbiddenTags": []},
        "schedule": {
            "patchDays": {"cron": "0 0 2 * *", "timeZone": "Europe/Berlin", "grace": "36h"},
            "warnBefore": "90s",
            "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "r"}, {"from": "12-18", "to": "01-03", "reason": "r"}],
            "unknownBuildDate": "allow",
        },
        "baseImage": {"registries": ["quay.io"]},
        "scan": {
            "require": true,
            "maxAllowed": {"critical": 0, "high": 3},
            "patchWithin": {"unknown": "7d"},
            "reports": [{"source": "quay", "namespace": "scans"}, {"source": "kubescape"}],
            "podAnnotations": "trust",
        },
        "exceptions": [
            {"images": ["*"], "namespaces": ["shop-*"], "rules": ["stale-image"], "cves": ["RHSA-2026:1234"], "until": "2026-12-31", "reason": "r"},
        ],
        "overrides": [{"images": ["*"], "namespaces": ["staging"], "pinning": {}, "scan": {"maxAge": "1d"}}],
        "enforcement": {"evidenceErrors": "warn"},
        "customWorkloads": [{"apiVersion": "v1", "kind": "Rollout", "podTemplate": "/spec/template"}],
        "evaluateAt": "2026-11-20T12:00:00Z",
    });
    assert_eq!(read(&written).unwrap().to_json(), written);
}

#[test]
fn settings_that_are_not_an_object_are_refused() {
    for (settings, found) in [(json!([]), "a list"), (json!("x"), "a string"), (json!(true), "a boolean")] {
        assert_eq!(problems(&settings), [format!("settings: expected an object, found {found}")]);
    }
}

#[test]
fn many_and_long_problems_are_shortened() {
    let many: Vec<_> = (0..100_000).collect();
    let lines = read(&json!({ "exempt": many })).unwrap_err();
    assert_eq!(
        (lines.len(), lines[0].as_str()),
        (100, "exempt[0]: expected an image pattern, found a number; put it in quotes: \"0\"")
    );
    let json = serde_json::value::to_raw_value(&json!({ "exempt": many })).unwrap();
    assert!(Settings::from_json(&json).unwrap_err().to_string().ends_with("\n… and 99900 more"));
    let long = "x".repeat(1 << 20);
    let lines = problems(&json!({"exempt": [long], "pinning": {"action": long, &long: 1}, &long: 1}));
    assert!(lines.iter().all(|line| line.len() < 2100), "{}", lines.join("\n").len());
    let keys: serde_json::Map<_, _> = (0..100_000).map(|key| (format!("key{key}"), json!(1))).collect();
    assert_eq!(problems(&json!({ "pinning": keys })), ["pinning: expected at most 63 keys, found 100000"]);
}

#[test]
fn a_duplicate_key_is_refused() {
    let json: &RawValue = serde_json::from_str(r#"{"exempt": ["quay.io/infra/*"], "exempt": []}"#).unwrap();
    assert_eq!(Settings::from_json(json).unwrap_err().lines(), ["exempt: duplicate key"]);
}

#[test]
fn an_unknown_key_is_refused_with_a_suggestion() {
    for (settings, expected) in [
        (
            json!({"scan": {"maxAllowed": {"CRITICAL": 0}}}),
            "scan.maxAllowed.CRITICAL: unknown key; did you mean `critical`?",
        ),
        (json!({"scan": {"patchWithin": {"High": "7d"}}}), "scan.patchWithin.High: unknown key; did you mean `high`?"),
        (json!({"SCHEDULE": {}}), "SCHEDULE: unknown key; did you mean `schedule`?"),
        (json!({"schedule": {"maxage": "90d"}}), "schedule.maxage: unknown key; did you mean `maxAge`?"),
        (
            json!({"scan": {"reports": [{"source": "trivy"}]}}),
            "scan.reports[0].source: unknown value `trivy`; expected one of sbomscanner, trivyOperator, quay, kubescape; did you mean `trivyOperator`?",
        ),
        (
            json!({"settings": {"pinning": {"action": "deny"}}}),
            "settings: unknown key; remove this level and give the keys inside it",
        ),
        (json!({"spec": {"settings": {}}}), "spec: unknown key; remove this level and give the keys inside it"),
    ] {
        assert_eq!(problems(&settings), [expected], "{settings}");
    }
    // Only an object has keys inside it, and only at the top is this level one too many.
    for settings in [json!({"settings": 1}), json!({"scan": {"settings": {}}})] {
        let found = problems(&settings);
        assert!(found[0].contains("settings: unknown key; ") && !found[0].contains("remove this level"), "{found:?}");
    }
}
