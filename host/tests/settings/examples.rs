//! The schema and the code are of one mind about settings.

use std::path::PathBuf;

use container_patch::manifest;
use container_patch_policy::config::schema::{Schema, Section};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::validator::Validator;
use super::{problems, read, reference, root, schema, settings, yaml};

fn validator() -> Validator {
    Validator::new(schema::value(&settings()))
}

fn files(folder: &str) -> Vec<String> {
    let entries = std::fs::read_dir(root().join(folder)).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = entries.filter(|path| path.is_file()).collect();
    files.sort();
    files.iter().map(|path| path.strip_prefix(root()).unwrap().display().to_string()).collect()
}

/// The settings that stand in the repository, each with its place.
fn written_settings() -> Vec<(String, Value)> {
    let mut found = vec![("recorded".to_owned(), yaml(&read("examples/recorded/settings.yaml")))];
    for file in files("deploy").into_iter().filter(|file| file.ends_with(".yaml")) {
        for document in manifest::read(&read(&file)) {
            found.push((file.clone(), document.object.unwrap()["spec"]["settings"].clone()));
        }
    }
    let keys: Vec<_> = settings().keys.iter().map(|key| key.name).collect();
    for page in files("docs").into_iter().filter(|file| file.ends_with(".md")).chain(["README.md".to_owned()]) {
        for block in read(&page).split("```yaml\n").skip(1) {
            let block = yaml(block.split("```").next().unwrap());
            // Others are manifests.
            if block.as_object().is_some_and(|block| block.keys().all(|key| keys.contains(&key.as_str()))) {
                found.push((page.clone(), block));
            }
        }
    }
    found
}

#[test]
fn all_settings_in_the_repository_are_valid() {
    let validator = validator();
    let found = written_settings();
    assert!(found.iter().filter(|(page, _)| page.starts_with("docs/")).count() >= 4, "{found:#?}");
    assert!(found.iter().filter(|(page, _)| page.starts_with("deploy/")).count() >= 2, "{found:#?}");
    for (place, settings) in found {
        assert_eq!(problems(&settings), Vec::<String>::new(), "{place}");
        assert!(validator.accepts(&settings), "{place}: {settings}");
    }
}

#[test]
fn every_example_of_a_key_is_valid() {
    fn check(section: &Section, path: &[&str], validator: &Validator, count: &mut usize) {
        for key in &section.keys {
            let path = [path, &[key.name]].concat();
            if let Some(example) = reference::example(key) {
                let settings = path.iter().rev().fold(yaml(example), |value, key| json!({ *key: value }));
                assert_eq!(problems(&settings), Vec::<String>::new(), "{settings}");
                assert!(validator.accepts(&settings), "{settings}");
                *count += 1;
            }
            if let Schema::Section(section) = &key.schema {
                check(section, &path, validator, count);
            }
        }
    }
    let mut count = 0;
    check(&settings(), &[], &validator(), &mut count);
    assert!(count > 5, "{count} examples were found");
}

#[test]
fn what_the_code_accepts_and_what_it_refuses_the_schema_does_too() {
    let validator = validator();
    let entry = |key: &str, value: Value| {
        let mut entry = json!({"images": ["*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "r"});
        entry[key] = value;
        json!({ "exceptions": [entry] })
    };
    let custom =
        |pointer: &str| json!({"customWorkloads": [{"apiVersion": "v1", "kind": "A", "podTemplate": pointer}]});
    let patch_days = |days: Value| json!({"schedule": {"patchDays": days}});
    let valid = [
        json!(null),
        json!({}),
        json!({"exempt": null, "pinning": null, "schedule": null, "evaluateAt": null, "customWorkloads": null}),
        json!({"pinning": {"action": "off", "templates": null, "forbiddenTags": []}}),
        // An unquoted `off`.
        json!({"pinning": {"action": false}, "schedule": {"action": false}, "scan": {"action": false}}),
        json!({"pinning": {"templates": "true"}}),
        json!({"pinning": {"templates": false}}),
        json!({"pinning": {"templates": "record"}}),
        json!({"exempt": ["*", "*nginx:1", "docker.io/library/nginx*", "*.example.com/*", "localhost/x@*", "[::1]:5000/a:1"]}),
        json!({"exempt": ["registry.example.com:5000/a/b:v?", "LOCAL/*", "registry.example.com/team/**"]}),
        json!({"schedule": {"maxAge": "1d 12h", "warnBefore": " 2 weeks ", "freezes": []}}),
        json!({"schedule": {"maxAge": "1.5h", "warnBefore": "2weeks"}}),
        json!({"schedule": {"maxAge": null, "patchDays": {"cron": "0 0 * * TUE#2"}}}),
        json!({"schedule": {"maxAge": "90d", "patchDays": null}}),
        patch_days(json!({"cron": "@monthly", "timeZone": "America/Argentina/Buenos_Aires", "grace": null})),
        patch_days(json!({"cron": " 0  0 1,15 * ? ", "timeZone": "Etc/GMT+1"})),
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "12-18", "to": "01-03", "reason": "r"}, {"from": "02-29", "to": "02-29", "reason": "r"}]}}),
        json!({"baseImage": {"registries": ["localhost", "docker.io", "registry.example.com:5000", "[::1]", "A"]}}),
        json!({"baseImage": {"registries": ["index.docker.io", "Docker.IO:443", "registry-1.docker.io", "127.0.0.1:5000"]}}),
        json!({"scan": {"maxAllowed": {"critical": 0, "high": null}, "patchWithin": {"unknown": "7d"}}}),
        json!({"scan": {"reports": [{"source": "trivyOperator", "namespace": null}, {"source": "quay", "namespace": "a-1"}]}}),
        entry("cves", json!(["CVE-2026-0001", "cve-2021-1234567", "GHSA-2c4m-59x9-fr2g", "RHSA-2026:1", "suse-su-1"])),
        entry("until", json!("2026-12-31T12:00:00.5+01:00")),
        entry("until", json!("2026-12-31 12:00:00z")),
        json!({"exceptions": [{"images": ["*"], "rules": [], "cves": ["DLA-1"], "until": "2026-12-31", "reason": "r"}]}),
        json!({"overrides": [{"images": ["*"], "pinning": null, "schedule": {"maxAge": "1d"}}]}),
        json!({"enforcement": {"evidenceErrors": "warn"}}),
        custom("/spec/0/a~1b"),
        json!({"evaluateAt": "2026-11-20T12:00:00Z"}),
    ];
    for settings in valid {
        assert_eq!(problems(&settings), Vec::<String>::new(), "{settings}");
        assert!(validator.accepts(&settings), "the schema refuses {settings}");
    }
    let invalid = [
        json!([]),
        json!({"exemt": []}),
        json!({"exempt": "*"}),
        json!({"exempt": [null]}),
        json!({"exempt": [""]}),
        json!({"exempt": ["nginx"]}),
        json!({"exempt": ["nginx*"]}),
        json!({"exempt": ["team/app:*"]}),
        json!({"exempt": ["docker.io/library/nginx"]}),
        json!({"exempt": ["docker.io/library/nginx:"]}),
        json!({"exempt": ["docker.io/{a,b}:*"]}),
        json!({"pinning": []}),
        json!({"pinning": {"action": "Deny"}}),
        json!({"pinning": {"action": true}}),
        json!({"pinning": {"templates": "yes"}}),
        json!({"pinning": {"forbiddenTags": ["-x"]}}),
        json!({"pinning": {"forbiddenTags": [1.1]}}),
        json!({"schedule": {"action": "pin"}}),
        json!({"schedule": {"unknownBuildDate": false}}),
        json!({"schedule": {"maxAge": 90}}),
        json!({"schedule": {"maxAge": "90"}}),
        json!({"schedule": {"maxAge": "3M"}}),
        json!({"schedule": {"maxAge": "90dys"}}),
        json!({"schedule": {"maxAge": "90d", "patchDays": {"cron": "0 0 * * TUE#2"}}}),
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "2026-12-19"}]}}),
        json!({"schedule": {"freezes": [{"from": "18.12.2026", "to": "2026-12-19", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "12-18", "to": "13-01", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "1-3", "to": "01-10", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "2026-13-01", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "2026-12-19", "reason": " "}]}}),
        patch_days(json!({})),
        patch_days(json!({"cron": null})),
        patch_days(json!({"cron": "0 0 * *"})),
        patch_days(json!({"cron": "0 0 0 * * *"})),
        patch_days(json!({"cron": "0 0 * * *", "timeZone": "Central European Time"})),
        json!({"baseImage": {"registries": ["nowhere"]}}),
        json!({"baseImage": {"registries": ["https://docker.io"]}}),
        json!({"scan": {"maxAllowed": {"critical": -1}}}),
        json!({"scan": {"maxAllowed": {"critical": 0.5}}}),
        json!({"scan": {"maxAllowed": {"severe": 1}}}),
        json!({"scan": {"patchWithin": {"critical": 7}}}),
        json!({"scan": {"reports": [{"namespace": "x"}]}}),
        json!({"scan": {"reports": [{"source": "clair"}]}}),
        json!({"scan": {"reports": [{"source": "quay", "namespace": "-x"}]}}),
        entry("images", json!([])),
        entry("images", json!(null)),
        entry("rules", json!([])),
        entry("rules", json!(null)),
        entry("rules", json!(["invalid-reference"])),
        entry("cves", json!(["CVE-26-1"])),
        entry("cves", json!(["openssl"])),
        entry("cves", json!(["DSA-x"])),
        entry("until", json!("tomorrow")),
        entry("until", json!(null)),
        entry("reason", json!("")),
        entry("cve", json!([])),
        json!({"overrides": [{"pinning": {"action": "warn"}}]}),
        json!({"overrides": [{"images": ["*"], "exempt": []}]}),
        json!({"enforcement": {"evidenceErrors": "off"}}),
        custom("spec/template"),
        custom("/spec//template"),
        custom("/a~2"),
        json!({"evaluateAt": "2026-11-20"}),
    ];
    for settings in invalid {
        assert!(!problems(&settings).is_empty(), "the code accepts {settings}");
        assert!(!validator.accepts(&settings), "the schema accepts {settings}");
    }
}

/// What only the code can tell.
#[test]
fn what_a_schema_cannot_say_is_left_to_the_code() {
    let validator = validator();
    for settings in [
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "2026-12-17", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "2026-12-18", "to": "01-03", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "02-30", "to": "03-01", "reason": "r"}]}}),
        json!({"schedule": {"freezes": [{"from": "01-04", "to": "01-03", "reason": "r"}]}}),
        json!({"schedule": {"patchDays": {"cron": "0 0 30 2 *"}}}),
        json!({"schedule": {"patchDays": {"cron": "0 0 * * *", "timeZone": "Europe/Atlantis"}}}),
        json!({"schedule": {"maxAge": "0d"}}),
        json!({"exempt": ["docker.io/nginx:*"]}),
        json!({"exempt": ["registry.example.com:0443/*"]}),
        json!({"exempt": ["127.1/*"]}),
        json!({"baseImage": {"registries": ["[0::1]"]}}),
        json!({"evaluateAt": "2026-02-30T00:00:00Z"}),
    ] {
        assert!(!problems(&settings).is_empty(), "the code accepts {settings}");
        assert!(validator.accepts(&settings), "the schema can tell: {settings}");
    }
}

/// Texts like those that settings hold, and their neighbours, each with the settings that hold it.
fn any_text() -> impl Strategy<Value = Value> {
    prop_oneof![
        r"[ ]?[0-9]{1,3} ?[0-9]?(\.[0-9] ?)?(s|secs|ms|m|min|h|hours|d|days|w|wk|months|y|M|x)( ?[0-9]{1,2}[dhs])?[ ]?"
            .prop_map(|age| json!({"schedule": {"maxAge": age}})),
        r"(\*|localhost|[a-zA-Z]{1,3}(\.[a-z]{1,2}|:[0-9]{2}|\*|\?)?|\*\.[a-z]|\[::1\])(/[a-z*?]{1,4}){0,2}([:@*][a-zA-Z0-9*?:_.-]{0,4})?"
            .prop_map(|pattern| json!({"exempt": [pattern]})),
        r"(localhost|[a-zA-Z_]{1,3}(\.[a-z_-]{1,3}){0,2}|\[[0-9a-f:]{2,5}\])(:[0-9]{1,4})?/?"
            .prop_map(|host| json!({"baseImage": {"registries": [host]}})),
        r"[0-9*]{1,2} [0-9*/,-]{1,4} ([0-9*]{1,2}|L) [0-9*A-C]{1,3} ([0-7*]|TUE#[0-9L]|MON-FRI)( [0-9])?|@(daily|weekly|x)"
            .prop_map(|cron| json!({"schedule": {"patchDays": {"cron": cron}}})),
        r"([cC][vV][eE]|GHSA|ghsa|RHSA|Go|DLA|alas2023|X)-[0-9a-c]{3,5}([-:][0-9a-cé]{3,5}){0,2}".prop_map(
            |id| json!({"exceptions": [{"images": ["*"], "cves": [id], "until": "2026-12-31", "reason": "r"}]})
        ),
        r"20[0-9]{2}-[01][0-9]-[0-3][0-9]([Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?([Zz]|[+−-][0-2][0-9]:?[0-5][0-9])?)?"
            .prop_map(|end| json!({"exceptions": [{"images": ["*"], "rules": ["stale-image"], "until": end, "reason": "r"}]})),
        r"20[0-9]{2}-[01][0-9]-[0-3][0-9][Tt ][0-2][0-9]:[0-6][0-9]:[0-6][0-9](\.[0-9]{0,3})?([Zz]|[+−-][0-2][0-9]:?[0-5][0-9])?"
            .prop_map(|time| json!({"evaluateAt": time})),
        r"[a-zA-Z0-9_.-]{0,5}".prop_map(|tag| json!({"pinning": {"forbiddenTags": [tag]}})),
        r"[a-zA-Z0-9_.-]{0,5}|[a-z0-9-]{62,64}"
            .prop_map(|name| json!({"scan": {"reports": [{"source": "quay", "namespace": name}]}})),
        r"(/?[a-z0-9~é]{0,3}){0,3}".prop_map(
            |pointer| json!({"customWorkloads": [{"apiVersion": "v1", "kind": "A", "podTemplate": pointer}]})
        ),
        r"(20[0-9]{2}-)?[01]?[0-9]-[0-3]?[0-9]"
            .prop_map(|day| json!({"schedule": {"freezes": [{"from": day, "to": day, "reason": "r"}]}})),
        r"[ \t\u{a0}a]{0,3}".prop_map(
            |reason| json!({"schedule": {"freezes": [{"from": "2026-01-01", "to": "2026-01-02", "reason": reason}]}})
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn the_schema_never_refuses_what_the_code_accepts(settings in any_text()) {
        thread_local!(static VALIDATOR: Validator = validator());
        let found = problems(&settings);
        if found.is_empty() {
            prop_assert!(VALIDATOR.with(|validator| validator.accepts(&settings)), "{settings}");
        }
    }
}
