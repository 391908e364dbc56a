use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use super::arguments::{Parsed, has, parse_from};
use super::{Configuration, KEYS, with_lines};
use crate::input::InputOptions;
use crate::judge::JudgeOptions;

fn file(text: &str) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("container-patch.yaml");
    std::fs::write(&file, text).unwrap();
    (folder, file)
}

/// The problems of a configuration, without the name of the file.
fn problems(text: &str) -> Vec<String> {
    let (_folder, file) = file(text);
    let error = Configuration::read(&file).unwrap_err().to_string();
    let name = file.display().to_string();
    error.lines().skip(1).map(|line| line.strip_prefix(&format!("{name}:")).unwrap_or(line).to_owned()).collect()
}

#[test]
fn all_keys_are_read_with_paths_relative_to_the_file() {
    let (folder, file) = file(
        "settingsPath: [deploy, /etc/policies.yaml]\ninsecureRegistries: ['localhost:5000']\nignore: ['vendor/']\nnamespace: shop\nfailOn: warn\n",
    );
    let read = Configuration::read(&file).unwrap();
    assert_eq!(read.settings_path, [folder.path().join("deploy"), PathBuf::from("/etc/policies.yaml")]);
    assert_eq!(
        (read.insecure_registries, read.ignore),
        (vec!["localhost:5000".to_owned()], vec!["vendor/".to_owned()])
    );
    assert_eq!((read.namespace.as_deref(), read.fail_on.as_deref()), (Some("shop"), Some("warn")));
    assert_eq!(read.settings, None);
}

#[test]
fn an_empty_file_and_empty_keys_are_valid() {
    for text in ["", "# nothing\n", "settings:\nignore:\n", "settings: {}\nignore: []\n"] {
        let (_folder, file) = file(text);
        let read = Configuration::read(&file).unwrap();
        assert_eq!(read.settings(), serde_json::json!({}), "{text}");
    }
}

#[test]
fn every_problem_is_reported_with_its_line_and_the_nearest_key() {
    assert_eq!(
        problems(
            "# a comment\nnamespace: 7\ningore: ['a']\ninsecureRegistries:\n  - localhost:5000\n  - a/b\nfailOn: warnings\n"
        ),
        [
            "2: namespace: expected the name of a namespace, found a number; put it in quotes: \"7\"",
            "3: ingore: unknown key; did you mean `ignore`?",
            "6: insecureRegistries[1]: expected `host` or `host:port`",
            "7: failOn: unknown value `warnings`; expected one of deny, warn; did you mean `warn`?",
        ]
    );
    assert_eq!(problems("settings: []\n"), ["1: settings: expected an object, found a list"]);
    assert_eq!(problems("\nignore: vendor\n"), ["2: ignore: expected a list, found a string"]);
    assert_eq!(
        problems("settingsPath: {}\n"),
        ["1: settingsPath: expected a path or a list of paths, found an object"]
    );
    assert_eq!(
        problems("settingsPath:\n- a\n- 1\n"),
        ["3: settingsPath[1]: expected a path, found a number; put it in quotes: \"1\""]
    );
    assert_eq!(
        problems("settings: {}\nsettingsPath: deploy\n"),
        ["2: settingsPath: `settings` is also given; remove one of the two"]
    );
    assert!(problems("ignore: ['[z-a]']\n")[0].starts_with("1: ignore[0]: invalid pattern: "));
}

#[test]
fn a_file_that_is_not_an_object_of_yaml_is_an_error() {
    let error = |text| {
        let (_folder, file) = file(text);
        format!("{:#}", Configuration::read(&file).unwrap_err())
    };
    assert!(error("- a\n").ends_with("expected an object, found a list"));
    assert!(error("namespace: a\nnamespace: b\n").contains("invalid YAML: line "));
    let missing = Configuration::read(Path::new("no-such-file.yaml")).unwrap_err().to_string();
    assert_eq!(missing, "cannot open the configuration no-such-file.yaml");
}

#[test]
fn a_key_that_is_the_start_of_another_has_its_own_line() {
    let text = "settingsPath: a\nsettings: 1\n";
    let problem = "settings: expected an object".to_owned();
    assert_eq!(with_lines(text, std::slice::from_ref(&problem)), [(2, problem.as_str())]);
}

#[test]
fn the_published_schema_has_the_same_keys() {
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.schema.json");
    let schema: Value = serde_json::from_str(&std::fs::read_to_string(schema).unwrap()).unwrap();
    let mut keys: Vec<_> = schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    keys.sort_unstable();
    let mut known = KEYS;
    known.sort_unstable();
    assert_eq!(keys, known);
    assert_eq!(schema["additionalProperties"], false);
}

/// A command line with the options of `check`, and one command without a configuration.
#[derive(Debug, Parser)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Check(Box<Check>),
    Other,
}

#[derive(Debug, Args)]
struct Check {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    judge: JudgeOptions,
    #[arg(long)]
    quiet: bool,
    #[arg(long)]
    fail_on: Option<String>,
}

fn parsed(arguments: &[&str]) -> anyhow::Result<Parsed<Cli>> {
    parse_from(&arguments.iter().map(OsString::from).collect::<Vec<_>>())
}

/// The parsed options in Rust's notation, and the notes.
fn check(arguments: &[&str]) -> (String, Vec<String>) {
    let Parsed { command, notes } = parsed(&[&["container-patch", "check", "a.yaml"], arguments].concat()).unwrap();
    let Command::Check(check) = command.command else { panic!("another command") };
    (format!("{check:?}"), notes)
}

#[test]
fn the_command_line_takes_precedence_over_the_configuration() {
    let (folder, file) = file(
        "settingsPath: deploy\ninsecureRegistries: ['a:1', 'b:1']\nnamespace: shop\nignore: [vendor/]\nfailOn: warn\n",
    );
    let (folder, file) = (folder.path().display(), file.display().to_string());
    let (options, notes) = check(&["--config", &file]);
    for expected in [
        format!(r#"settings_path: ["{folder}/deploy"]"#),
        r#"insecure_registry: ["a:1", "b:1"]"#.to_owned(),
        r#"namespace: Some("shop")"#.to_owned(),
        format!(r#"ignore: ["vendor/"], ignore_below: "{folder}""#),
        r#"fail_on: Some("warn")"#.to_owned(),
    ] {
        assert!(options.contains(&expected), "{expected}\n{options}");
    }
    assert_eq!(notes, [format!("Using {file}, with the settings in {folder}/deploy")]);
    let flags =
        ["--settings-json", "{}", "--insecure-registry", "c:1", "-n", "x", "--ignore", "y", "--fail-on", "deny"];
    let (options, notes) = check(&[&["--config", &file], &flags[..]].concat());
    for expected in [
        r"settings_path: []",
        r#"settings_json: Some("{}")"#,
        r#"insecure_registry: ["c:1"]"#,
        r#"namespace: Some("x")"#,
        r#"ignore: ["y"], ignore_below: ".""#,
        r#"fail_on: Some("deny")"#,
    ] {
        assert!(options.contains(expected), "{expected}\n{options}");
    }
    assert_eq!(notes, [format!("Using {file}, with the settings of --settings-json")]);
}

#[test]
fn settings_inside_of_the_configuration_are_used() {
    let (_folder, file) = file("settings: {exempt: ['*']}\n");
    let file = file.display().to_string();
    let (options, notes) = check(&["--config", &file]);
    assert!(options.contains(&format!(r#"settings_of_configuration: Some("{file}")"#)), "{options}");
    assert_eq!(notes, [format!("Using {file}, with the settings in it")]);
    let (options, _) = check(&["--config", &file, "--settings-path", "b.yaml"]);
    assert!(options.contains("settings_of_configuration: None"), "{options}");
}

#[test]
fn quiet_says_nothing_and_no_config_uses_no_file() {
    let (_folder, file) = file("namespace: shop\n");
    let file = file.display().to_string();
    assert_eq!(check(&["--config", &file, "--quiet"]).1, [""; 0]);
    assert_eq!(check(&["--no-config"]).1, ["Using the default settings"]);
    assert_eq!(check(&["--no-config", "--settings-json", "{}"]).1, [""; 0]);
    let error = parsed(&["container-patch", "check", "a.yaml", "--config", &file, "--no-config"]).err().unwrap();
    assert_eq!(error.to_string(), "--config and --no-config cannot be used together");
    assert!(parsed(&["container-patch", "other"]).unwrap().notes.is_empty());
}

#[test]
fn a_command_has_its_own_flags_only() {
    // Release builds of clap do not report other flags, so this must not depend on them.
    let command = clap::Command::new("a").arg(clap::Arg::new("config"));
    assert!(has(&command, "config"));
    assert!(!has(&command, "no_config"));
}
