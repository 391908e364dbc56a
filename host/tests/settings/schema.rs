//! The JSON Schema of the settings, with which editors complete and check them.

use container_patch_policy::config::schema::{Constraint, Key, Schema, Section, StringFormat};
use serde::{Serialize, Serializer};
use serde_json::{Value, json};

/// Where the schema is found, and by which it is known.
pub(crate) const ID: &str =
    "https://raw.githubusercontent.com/container-patch/container-patch-policy/main/docs/settings.schema.json";

/// JSON whose keys stay in the order in which they were given.
enum Json {
    Value(Value),
    List(Vec<Json>),
    Object(Vec<(String, Json)>),
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Value(value) => value.serialize(serializer),
            Self::List(items) => serializer.collect_seq(items),
            Self::Object(entries) => serializer.collect_map(entries.iter().map(|(key, value)| (key, value))),
        }
    }
}

impl<T: Into<Value>> From<T> for Json {
    fn from(value: T) -> Self {
        Self::Value(value.into())
    }
}

type Entries = Vec<(String, Json)>;

fn entries<const N: usize>(entries: [(&str, Json); N]) -> Entries {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn object<const N: usize>(values: [(&str, Json); N]) -> Json {
    Json::Object(entries(values))
}

/// The schema, as its file has it.
pub(crate) fn text(settings: &Section) -> String {
    let mut schema = entries([
        ("$schema", "https://json-schema.org/draft/2020-12/schema".into()),
        ("$id", ID.into()),
        ("title", "Settings of container-patch-policy".into()),
    ]);
    schema.extend(section(settings));
    let mut parts = Vec::new();
    settings.keys.iter().for_each(|key| collect(&key.schema, &mut parts));
    let parts = parts.into_iter().map(|part| (part.name.to_owned(), Json::Object(section(part))));
    schema.push(("$defs".to_owned(), Json::Object(parts.collect())));
    serde_json::to_string_pretty(&Json::Object(schema)).unwrap() + "\n"
}

/// The schema, as a value.
pub(crate) fn value(settings: &Section) -> Value {
    serde_json::from_str(&text(settings)).unwrap()
}

/// Every section that a schema is made of, each once.
fn collect<'s>(schema: &'s Schema, found: &mut Vec<&'s Section>) {
    match schema {
        Schema::List { items: inner, .. } | Schema::Each { values: inner, .. } => collect(inner, found),
        Schema::Section(section) => {
            if let Some(known) = found.iter().find(|known| known.name == section.name) {
                assert_eq!(*known, section, "two sections have one name");
                return;
            }
            found.push(section);
            section.keys.iter().for_each(|key| collect(&key.schema, found));
        }
        _ => (),
    }
}

/// A section; or null, which is as good as an empty one where a section may be left out.
fn section(section: &Section) -> Entries {
    let properties = section.keys.iter().map(|key| (key.name.to_owned(), property(key))).collect();
    let required: Vec<_> = section.keys.iter().filter(|key| key.default.is_none()).map(|key| key.name).collect();
    let mut schema = entries([
        ("description", plain(&section.about).into()),
        ("type", json!(["object", "null"]).into()),
        ("properties", Json::Object(properties)),
    ]);
    if !required.is_empty() {
        schema.push(("required".to_owned(), required.into()));
    }
    schema.push(("additionalProperties".to_owned(), false.into()));
    if !section.constraints.is_empty() {
        schema.push(("allOf".to_owned(), Json::List(section.constraints.iter().map(|kept| limit(*kept)).collect())));
    }
    schema
}

fn property(key: &Key) -> Json {
    let mut schema = entries([("description", plain(&key.about).into())]);
    // A null is as good as no value.
    schema.extend(value_of(&key.schema, key.default.is_some()));
    if let Some(default) = &key.default {
        schema.push(("default".to_owned(), default.clone().into()));
    }
    Json::Object(schema)
}

fn value_of(schema: &Schema, nullable: bool) -> Entries {
    let kind = |name: &str| if nullable { json!([name, "null"]) } else { json!(name) }.into();
    match schema {
        Schema::Boolean => entries([("type", kind("boolean"))]),
        Schema::Number => entries([("type", kind("integer")), ("minimum", 0.into())]),
        Schema::Keyword(words) => one_of(words, nullable),
        Schema::Text(text) => match &text.format {
            StringFormat::Pattern(pattern) => entries([("type", kind("string")), ("pattern", pattern.as_str().into())]),
            StringFormat::OneOf(words) => one_of(words, nullable),
        },
        Schema::List { items, least } => {
            let mut schema = entries([("type", kind("array")), ("items", Json::Object(value_of(items, false)))]);
            if *least > 0 {
                schema.push(("minItems".to_owned(), (*least).into()));
            }
            schema
        }
        Schema::Each { keys, values, .. } => {
            let values = keys.iter().map(|key| ((*key).to_owned(), Json::Object(value_of(values, true))));
            entries([
                ("type", kind("object")),
                ("properties", Json::Object(values.collect())),
                ("additionalProperties", false.into()),
            ])
        }
        Schema::Section(section) => {
            let mut schema = entries([("$ref", format!("#/$defs/{}", section.name).into())]);
            if !nullable {
                schema.push(("type".to_owned(), "object".into()));
            }
            schema
        }
    }
}

/// YAML 1.1 takes an unquoted `off` for false. Words that are booleans without quotes may be written as either.
fn one_of(words: &[&str], nullable: bool) -> Entries {
    let mut values: Vec<Value> = words.iter().map(|word| Value::from(*word)).collect();
    if words.contains(&"off") {
        values.push(false.into());
    }
    values.extend(
        [true, false].into_iter().filter(|boolean| words.contains(&boolean.to_string().as_str())).map(Value::from),
    );
    if nullable {
        values.push(Value::Null);
    }
    entries([("enum", values.into())])
}

fn limit(limit: Constraint) -> Json {
    match limit {
        Constraint::NotBoth(keys) => {
            let given = |key| (key, object([("not", object([("type", "null".into())]))]));
            let both = object([
                ("type", "object".into()),
                ("properties", object(keys.map(given))),
                ("required", keys.to_vec().into()),
            ]);
            object([("not", both)])
        }
        Constraint::NotAllEmpty(keys) => {
            let filled = |key: &&str| {
                let items = object([("type", "array".into()), ("minItems", 1.into())]);
                object([("properties", object([(*key, items)])), ("required", vec![*key].into())])
            };
            object([("anyOf", Json::List(keys.iter().map(filled).collect()))])
        }
    }
}

/// Markdown without its links.
pub(crate) fn plain(markdown: &str) -> String {
    let Some((before, after)) = markdown.split_once("](") else { return markdown.to_owned() };
    let (before, text) = before.rsplit_once('[').expect("a link has a text");
    let (_, after) = after.split_once(')').expect("a link has an end");
    format!("{before}{text}{}", plain(after))
}

#[test]
fn links_are_taken_out_of_descriptions() {
    assert_eq!(
        plain("A [`link`](page.md#part), [two](x). `[list]`, `[{a: [b]}]`."),
        "A `link`, two. `[list]`, `[{a: [b]}]`."
    );
    let schema = text(&super::settings());
    let descriptions = schema.lines().filter(|line| line.trim_start().starts_with("\"description\""));
    assert!(descriptions.clone().count() > 30);
    assert_eq!(descriptions.filter(|line| line.contains("](")).collect::<Vec<_>>(), Vec::<&str>::new());
}
