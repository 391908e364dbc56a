//! `container-patch history` as a process: its JSON matches the published schema, and a log that is read from a pipe can be endless.

#[path = "settings/validator.rs"]
mod validator;

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

/// A request to create a pod, and one to delete it.
fn events(name: &str, hour: u32) -> [Value; 2] {
    let event = |verb: &str, minute: u32, annotations: Value| {
        json!({
            "kind": "Event", "apiVersion": "audit.k8s.io/v1", "level": "Metadata", "stage": "ResponseComplete", "requestURI": "/api/v1",
            "verb": verb, "user": {"username": "jane"}, "objectRef": {"resource": "pods", "namespace": "shop", "name": name, "apiVersion": "v1"},
            "responseStatus": {"metadata": {}, "code": 200}, "stageTimestamp": format!("2026-11-25T{hour:02}:{minute:02}:00.000000Z"),
            "annotations": annotations,
        })
    };
    let webhook = "clusterwide-enforce.kubewarden.admission";
    let image = json!([{"image": "registry.example.com/web:1", "sites": ["container `web`"], "built": format!("2026-10-{hour:02}T00:00:00Z"),
        "digest": format!("sha256:{hour:064}")}]);
    let findings = json!([
        {"code": "stale-image", "effect": "warn", "site": "container `web`", "image": "registry.example.com/web:1", "passed": "breakGlass", "text": "is old"}]);
    let created = json!({
        format!("{webhook}/verdict"): "warned", format!("{webhook}/images"): image.to_string(),
        format!("{webhook}/findings"): findings.to_string(),
        format!("{webhook}/breakGlass"): r#"{"reason":"INC-7","by":"group oncall"}"#,
    });
    [event("create", 0, created), event("delete", 30, json!({}))]
}

/// The history of a log on standard input.
fn history(log: &str, flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.args(["history", "-"]).args(flags).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut process = command.spawn().unwrap();
    let mut stdin = process.stdin.take().unwrap();
    let log = log.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(log.as_bytes()));
    let output = process.wait_with_output().unwrap();
    // The process may end before it has read everything.
    let _ = writer.join().unwrap();
    output
}

#[test]
fn the_output_matches_the_published_schema() {
    let [first, first_deleted] = events("web-1", 10);
    let [second, _] = events("web-2", 11);
    let [third, _] = events("web-3", 9);
    let decision = json!({"time": "2026-11-25T12:00:00Z", "level": "warning", "event": "decision", "allowed": false, "user": null,
        "operation": "UPDATE", "object": {"kind": "Service", "name": "web"}, "annotations": {"verdict": "denied", "findings": [
            {"code": "invalid-request", "effect": "deny", "text": "cannot be read"}]}});
    let log = [first, second, first_deleted, third, decision].map(|event| event.to_string() + "\n").concat();
    let schema = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/history.schema.json")).unwrap();
    let schema = validator::Validator::new(serde_json::from_str(&schema).unwrap());
    let output = history(&(log.clone() + "garbage\n"), &["--output", "json"]);
    assert!(output.status.success(), "{output:?}");
    let history: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema.accepts(&history), "does not match docs/history.schema.json: {history:#}");
    assert_eq!(history["summary"]["skippedLines"]["garbage"], 1);
    for list in ["repositories", "unfinished"] {
        assert!(!history["timeToPatch"][list].as_array().unwrap().is_empty(), "{list}");
    }
    let flags = "--image registry.example.com/* --namespace shop --workload web --user jane --only denied --code stale-image --since 3650d --until 2027-01-01 --unchanged --output json";
    let selected = self::history(&log, &flags.split(' ').collect::<Vec<_>>());
    let selected: Value = serde_json::from_slice(&selected.stdout).unwrap();
    assert!(schema.accepts(&selected), "{selected:#}");
    assert_eq!(selected["summary"]["filters"].as_object().unwrap().len(), 9);
    let mut other = history;
    other["entries"][0]["more"] = Value::Null;
    assert!(!schema.accepts(&other));
    let empty: Value =
        serde_json::from_slice(&self::history(&decision_of_other_kind(), &["--output", "json"]).stdout).unwrap();
    assert!(schema.accepts(&empty), "{empty:#}");
}

/// A log without requests.
fn decision_of_other_kind() -> String {
    json!({"time": "2026-11-25T12:00:00Z", "level": "info", "event": "started", "version": "0.1.0"}).to_string()
}

#[cfg(target_os = "linux")]
#[test]
fn memory_does_not_depend_on_the_size_of_the_log() {
    let memory = |requests: u32| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
        command.args(["history", "-", "--output", "json"]).stdin(Stdio::piped()).stdout(Stdio::null());
        let mut process = command.spawn().unwrap();
        let mut stdin = process.stdin.take().unwrap();
        let events = events("NAME", 10).map(|event| event.to_string()).join("\n");
        for request in 0..requests {
            writeln!(stdin, "{}", events.replace("NAME", &format!("web-{request}"))).unwrap();
        }
        // It has read all but what fits into the pipe and its buffer.
        let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
        drop(stdin);
        assert!(process.wait().unwrap().success());
        peak
    };
    let (short, long) = (memory(2_000), memory(20_000));
    assert!(long < short + 2048, "{short} kB, then {long} kB");
}

#[test]
fn another_input_is_an_error() {
    let output = history("hello\n", &[]);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr.contains("Warning: skipped 1 line without JSON, at standard input:1"), "{stderr}");
    assert!(stderr.contains("Error: standard input: this is not an audit log"), "{stderr}");
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "");
}
