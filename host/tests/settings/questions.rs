//! `questions-ui.yml`, the format in which Rancher asks for the settings that a first user needs.
//!
//! Rancher's extension for Kubewarden leaves empty answers out of the settings. It shows the questions of one group without
//! headings of groups; a map without an input is one. A question below a map would be cleared with every change of an enum
//! beside it, and one that is required would never count as answered where its variable has a dot; so neither is used.

use std::collections::BTreeSet;

use container_patch_policy::config::read::Setting as _;
use container_patch_policy::config::schema::{Schema, StringFormat};
use container_patch_policy::settings::Settings;
use serde::Deserialize;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

use super::{read, yaml};

/// A question, of the keys that Rancher knows those that are used here.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Question {
    variable: String,
    label: String,
    #[serde(default)]
    description: String,
    #[serde(default)]
    tooltip: String,
    /// Empty for a question about an entry of a list.
    #[serde(default)]
    group: String,
    r#type: String,
    default: Value,
    /// Shown in an empty input: the default of what is left empty.
    placeholder: Option<String>,
    options: Option<Vec<String>>,
    show_if: Option<String>,
    #[serde(default)]
    hide_input: bool,
    #[serde(default)]
    value_multiline: bool,
    /// About an entry of a list. The default is that of an entry that is added.
    #[serde(default)]
    sequence_questions: Vec<Question>,
    /// About the keys of a map in an entry.
    #[serde(default)]
    subquestions: Vec<Question>,
}

fn questions() -> Vec<Question> {
    let mut file = yaml(&read("questions-ui.yml"));
    serde_json::from_value(file["questions"].take()).unwrap_or_else(|error| panic!("questions-ui.yml: {error}"))
}

/// What the code says of a variable, by its path: its schema and its default.
fn described(variable: &str) -> (Schema, Value) {
    described_in(Settings::schema(), variable)
}

/// The same for a variable of an entry with this schema.
fn described_in(entry: Schema, variable: &str) -> (Schema, Value) {
    let start = (entry, json!({}));
    variable.split('.').fold(start, |(schema, value), part| {
        let known = match &schema {
            Schema::Section(section) => section.key(part).map(|key| {
                let default = value.get(part).or(key.default.as_ref());
                (key.schema.clone(), default.cloned().unwrap_or_default())
            }),
            Schema::Each { keys, values, .. } if keys.contains(&part) => {
                Some(((**values).clone(), value.get(part).cloned().unwrap_or_default()))
            }
            _ => None,
        };
        known.unwrap_or_else(|| panic!("{variable}: there is no such setting"))
    })
}

/// The type of a question about a value of this schema, and the words to choose from.
fn kind_of(schema: &Schema) -> (&'static str, Option<Vec<&'static str>>) {
    match schema {
        Schema::Boolean => ("boolean", None),
        Schema::Number => ("int", None),
        Schema::Keyword(words) => ("enum", Some(words.clone())),
        Schema::Text(text) => match &text.format {
            StringFormat::OneOf(words) => ("enum", Some(words.clone())),
            StringFormat::Pattern(_) => ("string", None),
        },
        Schema::List { items, .. } if matches!(**items, Schema::Section(_)) => ("sequence[", None),
        // As Kubewarden's policies write them.
        Schema::List { .. } => ("array[", None),
        Schema::Each { .. } | Schema::Section(_) => ("map[", None),
    }
}

#[test]
fn every_question_is_about_a_setting_and_has_its_type_its_words_and_its_default() {
    let mut variables = BTreeSet::new();
    for question in questions() {
        let (schema, default) = described(&question.variable);
        let (kind, words) = kind_of(&schema);
        let Question { variable, .. } = &question;
        assert_eq!(question.r#type, kind, "{variable}");
        assert_eq!(
            question.options.as_ref().map(|words| words.iter().map(String::as_str).collect()),
            words,
            "{variable}"
        );
        let (answer, placeholder) = match default {
            Value::Null => (json!(""), None),
            Value::String(default) if question.placeholder.is_some() => (json!(""), Some(default)),
            default => (default, None),
        };
        assert_eq!(question.default, answer, "the default of {variable}");
        assert_eq!(question.placeholder, placeholder, "the default of {variable}");
        assert!(!question.label.is_empty() && question.description.ends_with('.'), "{variable} is explained");
        assert_eq!(question.group, "Settings", "{variable}");
        assert_eq!(question.hide_input, kind == "map[", "{variable}");
        assert!(!question.value_multiline || kind == "array[", "{variable}");
        assert!(question.tooltip.is_empty() || question.tooltip.ends_with('.'), "{variable}");
        assert_eq!(question.sequence_questions.is_empty(), kind != "sequence[", "{variable}");
        assert!(question.subquestions.is_empty(), "{variable}");
        assert!(variables.insert(variable.clone()), "{variable} is asked for twice");
    }
}

#[test]
fn every_question_about_an_entry_has_its_type_and_its_words() {
    for list in questions().into_iter().filter(|question| question.r#type == "sequence[") {
        let (Schema::List { items, .. }, _) = described(&list.variable) else { panic!("{}", list.variable) };
        let mut variables = BTreeSet::new();
        let of_maps = list.sequence_questions.iter().flat_map(|question| &question.subquestions);
        for question in list.sequence_questions.iter().chain(of_maps) {
            let variable = format!("{}[].{}", list.variable, question.variable);
            let (schema, _) = described_in((*items).clone(), &question.variable);
            let (kind, words) = kind_of(&schema);
            assert_eq!(question.r#type, kind, "{variable}");
            let options = question.options.as_ref().map(|words| words.iter().map(String::as_str).collect());
            assert_eq!(options, words, "{variable}");
            assert!(!question.label.is_empty() && question.description.ends_with('.'), "{variable} is explained");
            assert!(question.group.is_empty() && question.show_if.is_none(), "{variable}");
            // The form shows a map with questions as YAML, and one without as an input for any keys.
            assert_eq!(question.subquestions.is_empty(), kind != "map[", "{variable}");
            assert!(variables.insert(variable.clone()), "{variable} is asked for twice");
        }
    }
}

#[test]
fn an_entry_that_is_added_and_filled_in_is_valid() {
    let mut settings = json!({});
    for list in questions().into_iter().filter(|question| question.r#type == "sequence[") {
        let mut entry = json!({});
        for Question { variable, default, .. } in list.sequence_questions {
            entry[&variable] = match (variable.as_str(), default) {
                ("rules", _) => json!(["stale-image"]),
                ("until", _) => json!("2026-12-31"),
                ("reason", _) => json!("SEC-42"),
                (_, default) => default,
            };
        }
        settings[&list.variable] = json!([entry]);
    }
    assert!(settings["overrides"][0]["namespaces"].is_array() && settings["exceptions"][0]["namespaces"].is_array());
    let read = Settings::from_json(&to_raw_value(&settings).unwrap());
    assert!(read.is_ok(), "{settings}\n{}", read.unwrap_err());
}

#[test]
fn a_question_that_is_shown_for_some_answers_names_a_question_and_an_answer() {
    let questions = questions();
    for question in &questions {
        let conditions = question.show_if.iter().flat_map(|condition| condition.split("&&"));
        for condition in conditions.flat_map(|all| all.split("||")) {
            // Of `!=` the extension makes something that is always true.
            let (variable, answer) = condition.split_once('=').unwrap_or_else(|| panic!("{condition}"));
            let asked = questions.iter().find(|asked| asked.variable == variable);
            let asked = asked.unwrap_or_else(|| panic!("{}: no question is about {variable}", question.variable));
            let fits = match asked.r#type.as_str() {
                "enum" => asked.options.iter().flatten().any(|option| option == answer),
                "boolean" => ["true", "false"].contains(&answer),
                _ => answer.is_empty(),
            };
            assert!(fits, "{}: {condition}", question.variable);
        }
        // It would stay among the settings when the question is hidden again.
        assert!(question.show_if.is_none() || question.default == "", "{} begins empty", question.variable);
    }
}

#[test]
fn a_form_that_is_sent_as_it_is_gives_the_default_settings() {
    let mut settings = json!({});
    for Question { variable, default, .. } in questions() {
        if default == "" || default == json!([]) || default == json!({}) {
            continue;
        }
        let place = variable.split('.').fold(&mut settings, |place, part| &mut place[part]);
        *place = default;
    }
    assert_eq!(Settings::from_json(&to_raw_value(&settings).unwrap()), Ok(Settings::default()), "{settings}");
    assert!(settings.as_object().unwrap().len() > 4, "{settings}");
}

/// The package for Artifact Hub with the questions, as kwctl writes them into it.
pub(crate) fn packaged(package: &str, questions: &str) -> String {
    const KEY: &str = "  kubewarden/questions-ui: |\n";
    let (before, after) = package.split_once(KEY).expect("artifacthub-pkg.yml has a place for questions");
    let indented = |line: &&str| line.is_empty() || line.starts_with("    ");
    let after: String = after.split_inclusive('\n').skip_while(|line| indented(&line.trim_end())).collect();
    let line = |line: &str| if line.is_empty() { "\n".to_owned() } else { format!("    {line}\n") };
    format!("{before}{KEY}{}{after}", questions.lines().map(line).collect::<String>())
}
