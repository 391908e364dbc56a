//! The schema of test files accepts what `container-patch test` accepts.

#[path = "../settings/validator.rs"]
mod validator;

use std::path::Path;
use std::process::Command;

use container_patch::manifest;
use serde_json::Value;
use validator::Validator;

/// Test files that are read, up to their manifests.
const VALID: &[&str] = &[
    "{cases: [{manifest: a.yaml, expect: {verdict: denied}}]}",
    "{name: a, settingsPath: s.yaml, at: 2026-11-20, session: s, namespace: b, cases: [{manifest: a, expect: {codes: []}}]}",
    "{settings: {exempt: []}, cases: [{name: a, manifest: {kind: Pod}, at: '2026-11-20T12:00:00+01:00', expect: [{codes: [stale-image]}]}]}",
    "{name: null, settings: {}, settingsPath: null, cases: [{manifest: [{kind: A}, {}], expect: {verdict: failed, codes: null}}]}",
    "{cases: [{manifest: a, expect: [{kind: Pod, namespace: a, name: b, verdict: skipped}, {name: c, verdict: warned}]}]}",
    "{settingsPath: [a, b], cases: [{manifest: a, expect: {verdict: accepted}}]}",
    "{at: 2026-11-20T12:00:00.5Z, cases: [{manifest: a, expect: {verdict: accepted}}]}",
];

/// Test files that are refused.
const INVALID: &[&str] = &[
    "{}",
    "[]",
    "{cases: []}",
    "{cases: {}}",
    "{cases: [a]}",
    "{case: [], cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{settings: {}, settingsPath: s, cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{settingsPath: [], cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{settingsPath: [1], cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{settings: {}, settingsPath: [s], cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{settings: [], cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{at: noon, cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{at: 2026, cases: [{manifest: a, expect: {verdict: denied}}]}",
    "{cases: [{expect: {verdict: denied}}]}",
    "{cases: [{manifest: a}]}",
    "{cases: [{manifest: '', expect: {verdict: denied}}]}",
    "{cases: [{manifest: [], expect: {verdict: denied}}]}",
    "{cases: [{manifest: [a], expect: {verdict: denied}}]}",
    "{cases: [{manifest: 1, expect: {verdict: denied}}]}",
    "{cases: [{manifest: a, file: b, expect: {verdict: denied}}]}",
    "{cases: [{manifest: a, expect: []}]}",
    "{cases: [{manifest: a, expect: {}}]}",
    "{cases: [{manifest: a, expect: denied}]}",
    "{cases: [{manifest: a, expect: {verdict: null}}]}",
    "{cases: [{manifest: a, expect: {verdict: refused}}]}",
    "{cases: [{manifest: a, expect: {verdict: denied, code: a}}]}",
    "{cases: [{manifest: a, expect: {codes: stale-image}}]}",
    "{cases: [{manifest: a, expect: {codes: [1]}}]}",
    "{cases: [{manifest: a, expect: [{kind: Pod}]}]}",
];

fn schema() -> Validator {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/test.schema.json");
    Validator::new(serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap())
}

fn value(text: &str) -> Value {
    manifest::from_yaml(text).unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

/// The reason why a test file is refused before its session, settings and manifests are read.
fn refusal(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("container-patch-test.yaml");
    std::fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_container-patch")).arg("test").arg(&file).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let error = text.lines().find_map(|line| line.strip_prefix("  ERROR "))?;
    // These files are missing here.
    let is_read = ["cannot read the manifest", "cannot open settings file", "cannot read the recorded session"];
    (!is_read.iter().any(|start| error.contains(start))).then(|| error.to_owned())
}

#[test]
fn what_the_schema_accepts_is_read() {
    for text in VALID {
        assert!(schema().accepts(&value(text)), "the schema refuses {text}");
        assert_eq!(refusal(text), None, "{text}");
    }
}

#[test]
fn what_the_schema_refuses_is_an_error() {
    for text in INVALID {
        assert!(!schema().accepts(&value(text)), "the schema accepts {text}");
        assert!(refusal(text).is_some(), "{text} is read");
    }
}

#[test]
fn the_example_is_valid() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples/recorded/container-patch-test.yaml");
    assert!(schema().accepts(&value(&std::fs::read_to_string(file).unwrap())));
}
