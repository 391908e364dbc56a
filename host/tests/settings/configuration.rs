//! The published schema of `container-patch.yaml` accepts what the code reads, and refuses what it refuses.

use container_patch::configuration::Configuration;
use serde_json::json;

use crate::validator::Validator;
use crate::{read, yaml};

#[test]
fn the_schema_of_the_configuration_and_the_code_agree() {
    let mut schema = serde_json::from_str::<serde_json::Value>(&read("docs/configuration.schema.json")).unwrap();
    assert_eq!(schema["properties"]["settings"]["$ref"], "settings.schema.json");
    // The module checks the settings.
    schema["properties"]["settings"] = json!({"type": ["object", "null"]});
    let validator = Validator::new(schema);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("container-patch.yaml");
    for (text, expected) in [
        ("", true),
        ("settings: {exempt: ['*']}", true),
        ("settings:\nsettingsPath: deploy\nignore:\n", true),
        ("settingsPath: deploy", true),
        ("settingsPath: [deploy, policies/pin.yaml]", true),
        ("insecureRegistries: [localhost, 'http://localhost:5000/']", true),
        ("ignore: [vendor/, '!vendor/a.yaml']", true),
        ("namespace: shop\nfailOn: warn", true),
        ("- a", false),
        ("settings: []", false),
        ("settings: {}\nsettingsPath: deploy", false),
        ("settingsPath: 1", false),
        ("settingsPath: [1]", false),
        ("insecureRegistries: localhost", false),
        ("insecureRegistries: [a/b]", false),
        ("insecureRegistries: ['']", false),
        ("ignore: vendor/", false),
        ("namespace: ''", false),
        ("namespace: 7", false),
        ("failOn: error", false),
        ("failOn: true", false),
        ("unknown: 1", false),
    ] {
        std::fs::write(&file, text).unwrap();
        let read = Configuration::read(&file);
        assert_eq!(read.is_ok(), expected, "the code: {text}: {read:?}");
        assert_eq!(validator.accepts(&yaml(text)), expected, "the schema: {text}");
    }
}
