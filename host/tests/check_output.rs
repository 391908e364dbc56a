//! The JSON of `container-patch check` is what its published schema describes.

#[path = "settings/validator.rs"]
mod validator;

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use validator::Validator;

/// The output of the command for these arguments, in the root of the repository.
fn check(arguments: &[&str]) -> Value {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_container-patch"));
    command.current_dir(root).args(["check", "--output", "json"]).args(arguments);
    let output = command.output().unwrap();
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// The output for the samples, and for manifests of which some cannot be judged.
fn outputs() -> Vec<Value> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("all.yaml");
    let text = "kind: Pod\n---\na: 1\n---\n{apiVersion: example.com/v1, kind: Widget}\n---\nbroken: [\n---\n\
                {apiVersion: v1, kind: Pod, metadata: {generateName: a}, spec: {containers: [{image: 'a:1'}]}}\n";
    std::fs::write(&file, text).unwrap();
    let settings = r#"{"exempt": ["docker.io/library/a:*"]}"#;
    let session = ["--replay-host-capabilities-interactions", "examples/recorded/session.yaml"];
    let samples = ["examples/shop.yaml", "--settings-path", "examples/recorded/settings.yaml", session[0], session[1]];
    let empty = folder.path().join("empty.json");
    std::fs::write(&empty, r#"{"apiVersion": "v1", "kind": "List", "items": []}"#).unwrap();
    vec![
        check(&samples),
        check(&[file.to_str().unwrap(), "--settings-json", settings]),
        check(&[empty.to_str().unwrap()]),
    ]
}

#[test]
fn the_output_is_valid_by_the_published_schema() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/check.schema.json");
    let schema = Validator::new(serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap());
    let outputs = outputs();
    for output in &outputs {
        assert!(schema.accepts(output), "{output:#}");
    }
    let verdicts: Vec<_> = outputs[1]["objects"].as_array().unwrap().iter().map(|object| &object["verdict"]).collect();
    assert_eq!(verdicts, ["failed", "skipped", "skipped", "failed", "accepted"]);
    for list in ["pinned", "recorded", "findings", "images"] {
        let filled = outputs[0]["objects"].as_array().unwrap().iter().any(|object| object[list][0] != Value::Null);
        assert!(filled, "no object of the samples has an entry in {list}");
    }
    let mut longer = outputs[0].clone();
    longer["objects"][0]["more"] = Value::Null;
    assert!(!schema.accepts(&longer));
    let mut shorter = outputs[0].clone();
    shorter["objects"][0].as_object_mut().unwrap().remove("line");
    assert!(!schema.accepts(&shorter));
}
