//! The reference of the settings and of the findings, in Markdown: an overview of all settings, a table for each section, and a
//! table of the finding codes. They are between markers; the text around them is written by hand.

use container_patch_policy::config::schema::{Key, Schema, Section};
use container_patch_policy::enforcement::codes;
use container_patch_policy::finding::Code;
use container_patch_policy::rules;
use container_patch_policy::settings::Settings;
use serde_json::Value;
use serde_json::value::to_raw_value;

use super::schema::plain;
use super::{read, settings, yaml};

/// The column of comments in the overview, and the width that lines with one are to have at most.
const COMMENTS: usize = 28;
const WIDTH: usize = 132;

/// The longest default that is shown in the overview.
const SHOWN: usize = 40;

const END: &str = "<!-- end -->";

/// The reference of the settings with its generated parts made anew. Keys that it lacks get a place.
pub(crate) fn renewed_reference(page: &str, settings: &Section) -> String {
    let mut text = read(page);
    let heading = |key: &Key| format!("\n## {}\n", key.name);
    for (index, key) in settings.keys.iter().enumerate() {
        if text.contains(&heading(key)) {
            continue;
        }
        let markers: String =
            paths(key, settings).iter().map(|path| format!("\n<!-- generated: {path} -->\n\n{END}\n")).collect();
        let next = settings.keys.iter().skip(index + 1).find_map(|next| text.find(&heading(next)));
        text.insert_str(next.unwrap_or(text.len()), &format!("{}{markers}", heading(key)));
    }
    with_parts(page, &text, settings)
}

/// A page with its generated parts made anew.
pub(crate) fn renewed(page: &str, settings: &Section) -> String {
    with_parts(page, &read(page), settings)
}

fn with_parts(page: &str, text: &str, settings: &Section) -> String {
    let mut renewed = String::new();
    let mut rest = text;
    while let Some((before, (path, after))) =
        rest.split_once("<!-- generated: ").and_then(|(before, part)| Some((before, part.split_once(" -->\n")?)))
    {
        let (_, after) = after.split_once(END).unwrap_or_else(|| panic!("{page}: no `{END}` after {path}"));
        let part = part(path, settings).unwrap_or_else(|| panic!("{page}: there is no setting {path}"));
        renewed += &format!("{before}<!-- generated: {path} -->\n\n{part}\n{END}");
        rest = after;
    }
    renewed + rest
}

/// The part of a page that tells of a key, by its path; `settings` is the overview.
fn part(path: &str, settings: &Section) -> Option<String> {
    if path == "settings" {
        return Some(format!("```yaml\n{}```\n", overview(settings)));
    }
    if path == "findings" {
        return Some(findings());
    }
    let key = find(settings, path)?;
    let nested = path.contains('.');
    let of_rule = rules::described_codes().into_iter().find(|(section, _)| *section == path);
    let intro = match (of_rule, &key.schema) {
        (Some((_, codes)), _) => {
            let codes: Vec<String> = codes.iter().map(|(code, _)| format!("[`{code}`]({code}.md)")).collect();
            format!("{} Findings: {}.\n", key.about, codes.join(", "))
        }
        (None, Schema::Section(_)) => String::new(),
        _ if nested => String::new(),
        _ => intro(key),
    };
    let head = match (nested, &key.schema) {
        (false, _) => "key".to_owned(),
        (true, Schema::List { .. }) => format!("key of an entry of `{}`", key.name),
        (true, _) => format!("key of `{}`", key.name),
    };
    let table = inner(&key.schema).map(|section| table(section, &head, settings));
    Some([intro, table.unwrap_or_default()].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n"))
}

/// The finding codes, each with its page and its description.
fn findings() -> String {
    let row = |(code, about): &(Code, &str)| {
        let status = code.status().map(|status| status.to_string()).unwrap_or_default();
        format!("| [`{code}`]({code}.md) | {} | {status} |\n", decapitalised(about.trim_end_matches('.')))
    };
    format!(
        "| code | in short | HTTP status |\n| --- | --- | --- |\n{}",
        codes::described().iter().map(row).collect::<String>()
    )
}

/// The paths of the generated parts about a key: its own, and those of the sections in it.
fn paths(key: &Key, settings: &Section) -> Vec<String> {
    let mut paths = vec![key.name.to_owned()];
    for nested in inner(&key.schema).iter().flat_map(|section| &section.keys) {
        let is_known =
            settings.keys.iter().any(|key| inner(&key.schema).is_some() && inner(&key.schema) == inner(&nested.schema));
        if inner(&nested.schema).is_some() && !is_known {
            paths.push(format!("{}.{}", key.name, nested.name));
        }
    }
    paths
}

fn find<'s>(settings: &'s Section, path: &str) -> Option<&'s Key> {
    match path.split_once('.') {
        None => settings.key(path),
        Some((first, rest)) => find(inner(&settings.key(first)?.schema)?, rest),
    }
}

/// The section that a value is, or that the items of a list are.
fn inner(schema: &Schema) -> Option<&Section> {
    match schema {
        Schema::Section(section) => Some(section),
        Schema::List { items, .. } => inner(items),
        _ => None,
    }
}

fn intro(key: &Key) -> String {
    let default =
        key.default.iter().filter(|default| !default.is_null()).map(|default| format!("; default `{}`", flow(default)));
    let kind = match &key.schema {
        Schema::List { items, .. } if inner(items).is_some() => "list of entries".to_owned(),
        schema => words_for(schema, &[]),
    };
    let (first, rest) = kind.split_at(1);
    format!("{}{rest}{}. {}\n", first.to_uppercase(), default.collect::<String>(), key.about)
}

fn table(section: &Section, head: &str, settings: &Section) -> String {
    let mut table = format!("| {head} | type | default | |\n| --- | --- | --- | --- |\n");
    for key in &section.keys {
        let default = match &key.default {
            None => "required".to_owned(),
            Some(Value::Null) => String::new(),
            Some(default) => format!("`{}`", flow(default)),
        };
        let about = decapitalised(key.about.trim_end_matches('.'));
        let row = [&format!("`{}`", key.name), &words_for(&key.schema, &settings.keys), &default, &about];
        table += &format!("| {} |\n", row.map(|cell| cell.replace('|', "\\|")).join(" | ").replace("  ", " "));
    }
    table
}

/// What a value may be, in words.
fn words_for(schema: &Schema, top: &[Key]) -> String {
    match schema {
        Schema::Boolean => "boolean".to_owned(),
        Schema::Number => "number".to_owned(),
        Schema::Keyword(words) => enumeration(words),
        Schema::Text(text) => text.one.to_owned(),
        Schema::List { items, .. } if inner(items).is_some() => "list, see below".to_owned(),
        Schema::List { items, least } => {
            let least = if *least > 0 { ", at least one" } else { "" };
            format!("list of {}{least}", plural(items))
        }
        Schema::Each { by, values, .. } => format!("{} by {by}", plural(values)),
        Schema::Section(section) => {
            let same = top.iter().find(|key| inner(&key.schema).is_some_and(|known| known.name == section.name));
            same.map_or_else(
                || "see below".to_owned(),
                |key| format!("as [`{}`](#{})", key.name, key.name.to_lowercase()),
            )
        }
    }
}

fn plural(schema: &Schema) -> String {
    match schema {
        Schema::Number => "numbers".to_owned(),
        Schema::Text(text) => text.many.to_owned(),
        other => words_for(other, &[]),
    }
}

fn enumeration(words: &[&str]) -> String {
    let words: Vec<_> = words.iter().map(|word| format!("`{word}`")).collect();
    match words.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => words.concat(),
    }
}

/// All settings with their defaults, as YAML.
fn overview(settings: &Section) -> String {
    let mut text = String::new();
    for key in &settings.keys {
        let Schema::Section(section) = &key.schema else {
            text += &line("", key);
            continue;
        };
        text += &commented(format!("{}:", key.name), &sentence(key));
        for key in &section.keys {
            text += &line("  ", key);
        }
    }
    text
}

fn line(indent: &str, key: &Key) -> String {
    let default = flow(key.default.as_ref().unwrap_or_else(|| panic!("{} has a default", key.name)));
    let setting = match default.len() {
        ..=SHOWN => format!("{indent}{}: {default}", key.name),
        _ => format!("{indent}# {}: […]", key.name),
    };
    let sentence = match &key.schema {
        Schema::Keyword(words) => format!("{}: {}", words.join(" | "), sentence(key)),
        _ => sentence(key),
    };
    let Some(example) = example(key) else { return commented(setting, &sentence) };
    let line = commented(setting.clone(), &format!("{sentence}; e.g. {example}"));
    // The newline is not shown.
    if line.chars().count() <= WIDTH + 1 { line } else { commented(setting, &format!("e.g. {example}")) }
}

fn commented(setting: String, comment: &str) -> String {
    format!("{setting:<width$}# {comment}\n", width = COMMENTS.max(setting.chars().count() + 1))
}

/// What a key is for, in short.
fn sentence(key: &Key) -> String {
    let about = plain(&key.about);
    let first = about.split_once(". ").map_or(about.as_str(), |(first, _)| first);
    decapitalised(&first.trim_end_matches('.').replace('`', ""))
}

/// The example that is given of a value.
pub(crate) fn example(key: &Key) -> Option<&str> {
    key.about.split_once("For example `")?.1.strip_suffix("`.")
}

fn decapitalised(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map(|first| first.to_lowercase().collect::<String>() + chars.as_str()).unwrap_or_default()
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::String(text) => {
            let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
                && yaml(text).as_str() == Some(text);
            if plain { text.clone() } else { value.to_string() }
        }
        Value::Array(items) => format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", ")),
        Value::Object(object) => {
            let entries: Vec<_> = object.iter().map(|(key, value)| format!("{key}: {}", flow(value))).collect();
            format!("{{{}}}", entries.join(", "))
        }
        other => other.to_string(),
    }
}

#[test]
fn the_overview_read_as_settings_is_the_defaults() {
    let overview = yaml(&overview(&settings()));
    assert_eq!(Settings::from_json(&to_raw_value(&overview).unwrap()), Ok(Settings::default()));
    let keys: Vec<_> = settings().keys.iter().map(|key| key.name).collect();
    assert!(keys.iter().all(|key| overview.get(key).is_some()), "every one of {keys:?}: {overview}");
}

#[test]
fn every_key_has_its_place_in_the_reference() {
    let settings = settings();
    let page = renewed_reference("docs/settings.md", &settings);
    for key in &settings.keys {
        let heading = format!("\n## {}\n", key.name);
        assert!(page.contains(&heading), "docs/settings.md lacks the heading `{}`", heading.trim());
        for path in paths(key, &settings) {
            let marker = format!("<!-- generated: {path} -->\n");
            let count = page.matches(&marker).count();
            assert_eq!(count, 1, "docs/settings.md has once: {marker}{END}\nThen run `make docs`.");
        }
    }
    for page in ["docs/settings.md", "README.md"] {
        assert!(read(page).contains("<!-- generated: settings -->\n"), "{page} has an overview");
    }
}

#[test]
fn every_key_is_told_of_in_whole_sentences() {
    fn check(section: &Section) {
        for key in &section.keys {
            let about = &key.about;
            assert!(about.starts_with(char::is_uppercase) && about.ends_with('.'), "{}: {about:?}", key.name);
            inner(&key.schema).into_iter().for_each(check);
        }
    }
    check(&settings());
}
