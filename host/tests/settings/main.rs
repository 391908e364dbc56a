//! What is told of the settings, to editors, to readers and to Rancher, is what the code reads.
//!
//! The schema and the reference are generated: where one has fallen behind, `make docs` renews it.

mod chart;
mod configuration;
mod examples;
mod questions;
mod reference;
mod schema;
mod validator;

use std::path::{Path, PathBuf};

use container_patch::manifest;
use container_patch_policy::config::read::Setting as _;
use container_patch_policy::config::schema::{Schema, Section};
use container_patch_policy::settings::Settings;
use serde_json::Value;
use serde_json::value::to_raw_value;

/// Set by `make docs`: what is generated is then written, instead of compared.
const RENEW: &str = "RENEW_DOCS";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn yaml(text: &str) -> Value {
    manifest::from_yaml(text).unwrap_or_else(|error| panic!("{error:#}\n{text}"))
}

/// Holds a file against what the code makes of it; or writes it.
fn keep_up(path: &str, expected: &str) {
    let found = std::fs::read_to_string(root().join(path)).unwrap_or_default();
    if found == expected {
        return;
    }
    if std::env::var_os(RENEW).is_some() {
        std::fs::write(root().join(path), expected).unwrap();
        return;
    }
    let lines = || expected.lines().chain([""]).zip(found.lines().chain([""]));
    let (line, (expected, found)) =
        lines().enumerate().find(|(_, (expected, found))| expected != found).unwrap_or_default();
    panic!("{path}:{} is behind the code; run `make docs`\n  code: {expected}\n  file: {found}", line + 1);
}

/// All settings, as the code describes them.
fn settings() -> Section {
    let Schema::Section(settings) = Settings::schema() else { panic!("settings are a section") };
    settings
}

/// The problems that the code has with settings.
fn problems(settings: &Value) -> Vec<String> {
    let read = Settings::from_json(&to_raw_value(settings).unwrap());
    read.err().map(|problems| problems.lines().to_vec()).unwrap_or_default()
}

#[test]
fn the_schema_is_that_of_the_code() {
    keep_up("docs/settings.schema.json", &schema::text(&settings()));
}

#[test]
fn the_reference_is_that_of_the_code() {
    keep_up("docs/settings.md", &reference::renewed_reference("docs/settings.md", &settings()));
}

#[test]
fn the_index_of_the_findings_is_that_of_the_code() {
    keep_up("docs/findings.md", &reference::renewed("docs/findings.md", &settings()));
}

#[test]
fn the_overview_in_the_readme_is_that_of_the_code() {
    keep_up("README.md", &reference::renewed("README.md", &settings()));
}

#[test]
fn the_artifact_hub_package_has_the_questions() {
    keep_up("artifacthub-pkg.yml", &questions::packaged(&read("artifacthub-pkg.yml"), &read("questions-ui.yml")));
}
