//! Kubernetes manifests: YAML with several documents, JSON, and lists of objects.

pub mod edit;
pub mod nodes;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Number, Value};

use self::nodes::ImagePosition;
use crate::json_type::json_type;

/// The endings of the names of manifests.
const EXTENSIONS: [&str; 3] = ["yaml", "yml", "json"];

/// An object of a manifest, or an error in its place.
#[derive(Debug)]
pub struct Document {
    /// Where it is.
    pub place: Place,
    /// The object, or the reason why it cannot be read. A document that is not a Kubernetes object may be any other value.
    pub object: Result<Value>,
}

/// The place of an object in a manifest. It is displayed as `12 items[3]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The line on which the document begins, or the service of a Compose file, counted from 1.
    pub line: usize,
    /// The index in the list, and in lists inside of it. Empty for a document that is not a list.
    pub items: Vec<usize>,
    /// The service, if the document is a Compose file.
    pub service: Option<Arc<ServicePlace>>,
}

/// A service in a Compose file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlace {
    /// The name of the service.
    pub name: String,
    /// The images of the service that are in this file.
    pub images: Vec<ImagePosition>,
    /// Why it has no image, and is not judged. `None` if it has one.
    pub no_image: Option<&'static str>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.line)?;
        self.items.iter().try_for_each(|index| write!(f, " items[{index}]"))
    }
}

/// A document that is neither YAML nor JSON.
#[derive(Debug)]
struct SyntaxError {
    /// The line of the error in the manifest, counted from 1.
    line: usize,
    message: String,
}

impl fmt::Display for SyntaxError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SyntaxError {}

/// The line of an error in a manifest, counted from 1, if the error has one.
pub(crate) fn line_of_error(error: &anyhow::Error) -> Option<usize> {
    error.downcast_ref::<SyntaxError>().map(|error| error.line)
}

/// Reads all objects of a manifest. A broken document does not affect the others.
#[must_use]
pub fn read(text: &str) -> Vec<Document> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let objects = |(line, document)| objects(Place { line, items: Vec::new(), service: None }, document);
    documents(text).into_iter().flat_map(objects).collect()
}

/// Whether a manifest without objects has an empty list, as `kubectl get` prints it if there are no objects.
#[must_use]
pub fn has_empty_list(text: &str) -> bool {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    documents(text).into_iter().any(|(_, document)| document.is_ok_and(|document| document["items"].is_array()))
}

/// Reads one YAML document, such as a settings file. An empty document is null.
///
/// # Errors
/// When the text is not YAML, or cannot be expressed in JSON.
pub fn from_yaml(text: &str) -> Result<Value> {
    from_yaml_at(text, 1)
}

/// Whether a file in a folder is a manifest, by its name.
pub(crate) fn has_known_extension(file: &Path) -> bool {
    file.extension().is_some_and(|extension| EXTENSIONS.iter().any(|known| extension == *known))
}

fn documents(text: &str) -> Vec<(usize, Result<Value>)> {
    if !text.trim_start().starts_with(['{', '[']) || text.lines().any(|line| marker(line).is_some()) {
        return yaml_documents(text);
    }
    let json = json_documents(text);
    // YAML can also begin with a brace.
    if json.iter().any(|(_, document)| document.is_err()) {
        let yaml = yaml_documents(text);
        if yaml.iter().all(|(_, document)| document.is_ok()) {
            return yaml;
        }
    }
    json
}

/// Reads a sequence of JSON objects. After an error it continues at the next line that begins with an object.
fn json_documents(text: &str) -> Vec<(usize, Result<Value>)> {
    let mut documents = Vec::new();
    let mut start = 0;
    while let Some(rest) = text.get(start..).filter(|rest| !rest.trim().is_empty()) {
        let begin = text.len() - rest.trim_start().len();
        let line = 1 + text.get(..begin).unwrap_or_default().matches('\n').count();
        let mut stream = serde_json::Deserializer::from_str(text.get(begin..).unwrap_or_default()).into_iter::<Value>();
        match stream.next() {
            None => break,
            Some(Ok(document)) => {
                documents.push((line, Ok(document)));
                start = begin + stream.byte_offset();
            }
            Some(Err(error)) => {
                let message = error.to_string();
                let cause = message.split(" at line ").next().unwrap_or(&message);
                let at = line + error.line().saturating_sub(1);
                let message = format!("invalid JSON: line {at}: {cause}");
                documents.push((line, Err(SyntaxError { line: at, message }.into())));
                let next = text.get(begin..).and_then(|rest| rest.find("\n{"));
                let Some(next) = next else { break };
                start = begin + next;
            }
        }
    }
    documents
}

fn yaml_documents(text: &str) -> Vec<(usize, Result<Value>)> {
    yaml_texts(text).into_iter().map(|(line, text)| (line, from_yaml_at(&text, line))).collect()
}

/// Splits a stream of YAML documents by its markers, so that an error in one does not affect the next. Empty documents are
/// skipped.
pub(crate) fn yaml_texts(text: &str) -> Vec<(usize, String)> {
    let mut documents = vec![(1, String::new())];
    for (index, line) in text.lines().enumerate() {
        match (marker(line), documents.last_mut()) {
            // The rest of the marker's line belongs to the document, at the same column.
            (Some(rest), _) => documents.push((index + 1, format!("    {rest}\n"))),
            (None, Some((_, document))) => {
                document.push_str(line);
                document.push('\n');
            }
            (None, None) => {}
        }
    }
    // For YAML 1.1, as `kubectl` reads it, other characters end a line, and so a comment, too.
    let has_breaks = |line: &str| line.contains(['\r', '\u{85}', '\u{2028}', '\u{2029}']);
    let empty = |line: &str| {
        let text = line.trim_start();
        text.is_empty() || ((text.starts_with('#') || line.starts_with('%')) && !has_breaks(line))
    };
    documents.retain(|(_, document)| !document.lines().all(empty));
    for (start, document) in &mut documents {
        let blank = document.lines().take_while(|line| empty(line)).count();
        *document = document.lines().skip(blank).map(|line| format!("{line}\n")).collect();
        *start += blank;
    }
    documents
}

/// The text after a marker between documents, if the line has one.
fn marker(line: &str) -> Option<&str> {
    let line = line.trim_end();
    match line.strip_prefix("---") {
        Some(rest) if rest.is_empty() || rest.starts_with([' ', '\t']) => Some(rest.trim_start()),
        _ => (line == "...").then_some(""),
    }
}

fn from_yaml_at(text: &str, line: usize) -> Result<Value> {
    let templated = if text.contains("{{") { "; render templates first, as `helm template` does" } else { "" };
    let check = || check_events(text).map_err(|error| anyhow!("invalid manifest from line {line}: {error}{templated}"));
    // The parser's time grows with the square of the levels in brackets.
    if has_many_levels(text) {
        check()?;
    }
    let value: yaml_serde::Value = yaml_serde::from_str(text).map_err(|error| {
        let message = error.to_string();
        let cause = message.split(" at line ").next().unwrap_or(&message).to_owned();
        let at = error.location().map_or(line, |location| line + location.line() - 1);
        let hint = hint(&cause);
        SyntaxError { line: at, message: format!("invalid YAML: line {at}: {cause}{hint}{templated}") }
    })?;
    if text.contains('!') || has_merge_key(&value) {
        check()?;
    }
    to_json(value).map_err(|error| anyhow!("invalid manifest from line {line}: {error}{templated}"))
}

/// What to change, for the cause of a syntax error that two objects without a marker between them have.
pub(crate) fn hint(cause: &str) -> &'static str {
    let key = cause.strip_prefix("duplicate entry with key \"").and_then(|rest| rest.strip_suffix('"'));
    match key {
        Some("apiVersion" | "kind" | "metadata" | "spec") => "; a `---` line is missing between two objects",
        _ => "",
    }
}

fn has_merge_key(value: &yaml_serde::Value) -> bool {
    use yaml_serde::Value as Yaml;
    match value {
        Yaml::Sequence(items) => items.iter().any(has_merge_key),
        Yaml::Mapping(entries) => entries.iter().any(|(key, value)| key.as_str() == Some("<<") || has_merge_key(value)),
        _ => false,
    }
}

/// Whether a text may have many levels of nesting in brackets. Brackets in strings count, too.
fn has_many_levels(text: &str) -> bool {
    const MANY: usize = 1_000;
    let mut levels = 0_usize;
    text.bytes().any(|byte| {
        match byte {
            b'[' | b'{' => levels += 1,
            b']' | b'}' => levels = levels.saturating_sub(1),
            _ => {}
        }
        levels > MANY
    })
}

/// Refuses too many levels of nesting, and what `kubectl` reads as another value than the parser does: tags such as `!!binary`, which
/// the parser ignores, and a quoted `"<<"`, which is an ordinary key.
fn check_events(text: &str) -> Result<()> {
    const TAGS: [&str; 7] = ["bool", "float", "int", "map", "null", "seq", "str"];
    // For each open collection, whether a key is next. None for a sequence.
    let mut open: Vec<Option<bool>> = Vec::new();
    for event in Parser::new_from_str(text) {
        let (event, _) = event.map_err(|error| anyhow!("cannot parse this YAML: {error}"))?;
        let tag = match &event {
            Event::Scalar(.., tag) | Event::SequenceStart(_, tag) | Event::MappingStart(_, tag) => tag.as_ref(),
            Event::MappingEnd | Event::SequenceEnd => {
                open.pop();
                continue;
            }
            Event::Alias(_) => None,
            _ => continue,
        };
        if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema() || !TAGS.contains(&tag.suffix.as_str())) {
            let handle = if tag.is_yaml_core_schema() { "!!" } else { &tag.handle };
            bail!("unsupported YAML tag `{handle}{}`", tag.suffix);
        }
        let is_key = open.last_mut().and_then(Option::as_mut).is_some_and(|is_key| {
            let was_key = *is_key;
            *is_key = !was_key;
            was_key
        });
        match event {
            Event::Scalar(key, style, ..) if is_key && key == "<<" && style != ScalarStyle::Plain => {
                bail!("the key `<<` is in quotes; write it without quotes to merge mappings")
            }
            Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == nodes::MAX_DEPTH => {
                bail!("more than {} levels of nesting", nodes::MAX_DEPTH)
            }
            Event::SequenceStart(..) => open.push(None),
            Event::MappingStart(..) => open.push(Some(true)),
            _ => {}
        }
    }
    Ok(())
}

fn to_json(value: yaml_serde::Value) -> Result<Value> {
    use yaml_serde::Value as Yaml;
    Ok(match value {
        Yaml::Null => Value::Null,
        Yaml::Bool(value) => Value::Bool(value),
        Yaml::String(value) => Value::String(value),
        Yaml::Number(number) => Value::Number(to_json_number(&number)?),
        Yaml::Sequence(items) => Value::Array(items.into_iter().map(to_json).collect::<Result<_>>()?),
        Yaml::Mapping(entries) => {
            let merge = entries.keys().position(|key| key.as_str() == Some("<<")).unwrap_or_default();
            let before: Vec<String> =
                entries.keys().take(merge).filter_map(|key| Some(key.as_str()?.to_owned())).collect();
            let entries = entries.into_iter().map(|(key, value)| Ok((to_json_key(key)?, to_json(value)?)));
            Value::Object(merged(entries.collect::<Result<Map<_, _>>>()?, &before)?)
        }
        Yaml::Tagged(tagged) => bail!("unsupported YAML tag `{}`", tagged.tag),
    })
}

/// Resolves the merge key `<<` (<https://yaml.org/type/merge.html>). The mapping's own keys take precedence, then those of
/// the merged mappings, in their order. The merged mappings are resolved already. `before` are the keys before the merge key.
///
/// # Errors
/// When a merged mapping has a key that is written before the merge key: parsers disagree about its value. That of kubectl and of old
/// docker CLIs takes the merged one.
fn merged(mut mapping: Map<String, Value>, before: &[String]) -> Result<Map<String, Value>> {
    let sources = match mapping.remove("<<") {
        None => return Ok(mapping),
        Some(Value::Array(sources)) => sources,
        Some(source) => vec![source],
    };
    for source in sources {
        let Value::Object(source) = source else {
            bail!("the merge key `<<`: expected an object, found {}", json_type(&source));
        };
        for (key, value) in source {
            if before.contains(&key) && mapping.get(&key) != Some(&value) {
                bail!(
                    "the merge key `<<` comes after `{key}`, which is also merged, and parsers disagree about its value; write `<<` first"
                );
            }
            mapping.entry(key).or_insert(value);
        }
    }
    Ok(mapping)
}

fn to_json_number(number: &yaml_serde::Number) -> Result<Number> {
    let whole = number.as_u64().map(Number::from).or_else(|| number.as_i64().map(Number::from));
    whole.or_else(|| number.as_f64().and_then(Number::from_f64)).with_context(|| format!("unsupported number {number}"))
}

/// Like `kubectl`, reads scalar keys such as `8080:` as strings.
fn to_json_key(key: yaml_serde::Value) -> Result<String> {
    match to_json(key)? {
        Value::String(key) => Ok(key),
        scalar @ (Value::Bool(_) | Value::Number(_)) => Ok(scalar.to_string()),
        other => bail!("invalid key: expected a scalar, found {}", json_type(&other)),
    }
}

/// The objects of a document: itself, or the items of a list. As for `kubectl`, `items` make any object a list, whatever its kind is.
fn objects(place: Place, document: Result<Value>) -> Vec<Document> {
    let mut object = match document {
        Ok(Value::Object(object)) => object,
        Ok(Value::Null) => return vec![],
        Ok(other) => return vec![Document { place, object: Ok(other) }],
        Err(error) => return vec![Document { place, object: Err(error) }],
    };
    let is_list = object.get("kind").and_then(Value::as_str).is_some_and(|kind| kind.ends_with("List"));
    match object.get_mut("items").map(Value::take) {
        Some(Value::Array(items)) if items.iter().any(Value::is_object) || (is_list && items.is_empty()) => {
            let items = items.into_iter().map(|item| completed(item, &object)).enumerate();
            let inside = |index| Place { items: [&*place.items, &[index]].concat(), ..place.clone() };
            let item = |(index, item): (usize, Value)| match item {
                Value::Object(_) => objects(inside(index), Ok(item)),
                other => {
                    let error = anyhow!("invalid item of a list: expected an object, found {}", json_type(&other));
                    vec![Document { place: inside(index), object: Err(error) }]
                }
            };
            items.flat_map(item).collect()
        }
        items => {
            if let Some(items) = items {
                object.insert("items".to_owned(), items);
            }
            vec![Document { place, object: Ok(Value::Object(object)) }]
        }
    }
}

/// An item of a list, with the kind and version that the API server omits in the items of a list.
fn completed(mut item: Value, list: &Map<String, Value>) -> Value {
    let kind = list.get("kind").and_then(Value::as_str).map(|kind| kind.strip_suffix("List").unwrap_or(kind));
    if let (Some(kind), Some(item)) = (kind.filter(|kind| !kind.is_empty()), item.as_object_mut()) {
        item.entry("kind").or_insert_with(|| kind.into());
        if let Some(api_version) = list.get("apiVersion") {
            item.entry("apiVersion").or_insert_with(|| api_version.clone());
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{from_yaml, has_empty_list, read};

    fn places(text: &str) -> Vec<(String, Result<Value, String>)> {
        let readable = |document: super::Document| {
            (document.place.to_string(), document.object.map_err(|error| format!("{error:#}")))
        };
        read(text).into_iter().map(readable).collect()
    }

    fn found(place: &str, object: Value) -> (String, Result<Value, String>) {
        (place.to_owned(), Ok(object))
    }

    #[test]
    fn a_yaml_stream_is_read_document_by_document() {
        let text = "# a comment\n\n---\nkind: A\n---\n# nothing here\n---\n\nkind: B\n...\n--- {kind: C}\n---\n";
        assert_eq!(
            places(text),
            [found("4", json!({"kind": "A"})), found("9", json!({"kind": "B"})), found("11", json!({"kind": "C"})),]
        );
    }

    #[test]
    fn windows_line_endings_byte_order_marks_and_directives_are_accepted() {
        assert_eq!(
            places("\u{feff}%YAML 1.2\r\n---\r\nkind: A\r\n---\r\nkind: B\r\n"),
            [found("3", json!({"kind": "A"})), found("5", json!({"kind": "B"})),]
        );
    }

    #[test]
    fn a_marker_inside_a_block_scalar_is_text() {
        let text = "kind: ConfigMap\ndata:\n  a: |\n    ---\n    b\n  c: '--- d'\n";
        assert_eq!(places(text), [found("1", json!({"kind": "ConfigMap", "data": {"a": "---\nb\n", "c": "--- d"}}))]);
    }

    #[test]
    fn a_broken_document_is_reported_with_its_line_and_the_others_are_read() {
        let documents = places("kind: A\n---\n\nkind: B\nspec: [1,\n---\nkind: C\n");
        assert_eq!(documents.len(), 3);
        assert_eq!(documents[0], found("1", json!({"kind": "A"})));
        let error = documents[1].1.as_ref().unwrap_err();
        assert!(error.starts_with("invalid YAML: line 5") || error.starts_with("invalid YAML: line 6"), "{error}");
        assert_eq!(documents[2], found("7", json!({"kind": "C"})));
    }

    #[test]
    fn an_error_in_an_unrendered_template_says_how_to_render_it() {
        let error = |text| places(text)[0].1.clone().unwrap_err();
        let rendered = "; render templates first, as `helm template` does";
        assert!(error("kind: A\n{{- if .Values.a }}\nspec: {}\n{{- end }}\n").ends_with(rendered));
        assert!(error("kind: A\nname: {{ .Values.name }}\n").ends_with(rendered));
        assert!(!error("kind: A\nspec: [\n").contains("render"));
    }

    #[test]
    fn a_duplicate_key_is_an_error() {
        let error = places("kind: A\nspec:\n  image: good\n  image: bad\n")[0].1.clone().unwrap_err();
        assert!(error.starts_with("invalid YAML: line ") && error.contains("duplicate"), "{error}");
    }

    #[test]
    fn objects_without_a_marker_between_them_are_an_error_that_asks_for_it() {
        let error = |text: &str| places(text)[0].1.clone().unwrap_err();
        let hint = "; a `---` line is missing between two objects";
        for key in ["apiVersion", "kind", "metadata", "spec"] {
            let error = error(&format!("{key}: a\n{key}: b\n"));
            assert!(error.ends_with(&format!("duplicate entry with key \"{key}\"{hint}")), "{error}");
        }
        for text in ["data: a\ndata: b\n", "spec:\n  kind: a\n  kind: b\n"] {
            assert!(!error(text).contains(hint), "{text}");
        }
    }

    #[test]
    fn a_sequence_of_json_objects_is_read() {
        assert_eq!(
            places("{\"kind\": \"A\"}\n{\n\"kind\": \"B\"}"),
            [found("1", json!({"kind": "A"})), found("2", json!({"kind": "B"})),]
        );
        let documents = places("{\"kind\": \"A\"}\n{\"kind\": }");
        assert_eq!(documents[0], found("1", json!({"kind": "A"})));
        assert_eq!(documents[1].1, Err("invalid JSON: line 2: expected value".to_owned()));
        let documents = places("{\"kind\": \"A\"}\n{\"kind\":\n}\n{\"kind\": \"C\"}");
        assert_eq!(
            documents.iter().map(|(place, object)| (place.as_str(), object.is_ok())).collect::<Vec<_>>(),
            [("1", true), ("2", false), ("4", true)]
        );
        let documents = places("{\"kind\": \"A\"}\n---\n{\"kind\": }}\n---\n{\"kind\": \"C\"}");
        assert_eq!(
            documents.iter().map(|(place, object)| (place.as_str(), object.is_ok())).collect::<Vec<_>>(),
            [("1", true), ("3", false), ("5", true)]
        );
        assert_eq!(
            places("{kind: A}\n---\n{kind: B}"),
            [found("1", json!({"kind": "A"})), found("3", json!({"kind": "B"}))]
        );
    }

    #[test]
    fn the_items_of_a_list_are_read_as_objects() {
        let list = json!({"apiVersion": "v1", "kind": "List", "items": [{"kind": "A"}, {"kind": "B"}]});
        assert_eq!(
            places(&list.to_string()),
            [found("1 items[0]", json!({"kind": "A"})), found("1 items[1]", json!({"kind": "B"})),]
        );
        let list = json!({"apiVersion": "apps/v1", "kind": "DeploymentList", "items": [{"spec": 1}, {"kind": "X", "apiVersion": "y"}]});
        assert_eq!(
            places(&list.to_string()),
            [
                found("1 items[0]", json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": 1})),
                found("1 items[1]", json!({"apiVersion": "y", "kind": "X"})),
            ]
        );
        let empty = json!({"apiVersion": "v1", "kind": "List", "items": []}).to_string();
        assert_eq!(places(&empty), []);
        assert!(has_empty_list(&empty) && !has_empty_list("# nothing\n---\n"));
        let nested = json!({"kind": "List", "items": [{"kind": "List", "items": [{"kind": "A"}]}]});
        assert_eq!(places(&nested.to_string()), [found("1 items[0] items[0]", json!({"kind": "A"}))]);
        let addresses = json!({"kind": "AccessList", "items": ["10.0.0.1"]});
        assert_eq!(places(&addresses.to_string()), [found("1", addresses)]);
        let config = json!({"kind": "ShoppingBasket", "items": [1]});
        assert_eq!(places(&config.to_string()), [found("1", config)]);
    }

    #[test]
    fn a_document_that_is_not_an_object_is_read_and_an_empty_one_is_not() {
        assert_eq!(places("just text"), [found("1", json!("just text"))]);
        assert_eq!(places("- a"), [found("1", json!(["a"]))]);
        assert_eq!(places(""), []);
        assert_eq!(places("null\n---\t# nothing\n~\n"), []);
    }

    #[test]
    fn merge_keys_are_resolved_in_chains_of_any_length() {
        let text = "- &a {name: a, image: one}\n- &b {<<: *a, name: b, image: two}\n- &c {<<: *b, name: c}\n- {<<: *c, name: d}\n- {<<: [*a, *b], name: e}\n- {<<: {<<: *b, name: f}}\n";
        let names =
            |value: &Value| (value["name"].as_str().unwrap().to_owned(), value["image"].as_str().unwrap().to_owned());
        let resolved = from_yaml(text).unwrap();
        let resolved: Vec<_> = resolved.as_array().unwrap().iter().map(names).collect();
        let expected = [("a", "one"), ("b", "two"), ("c", "two"), ("d", "two"), ("e", "one"), ("f", "two")];
        assert_eq!(resolved, expected.map(|(name, image)| (name.to_owned(), image.to_owned())));
        assert!(from_yaml("<<: 7").unwrap_err().to_string().contains("expected an object, found a number"));
    }

    #[test]
    fn a_merge_key_after_a_key_that_it_also_has_is_an_error_because_parsers_disagree() {
        let text = "a: &a {image: stale, b: 1}\nc: {image: fresh, <<: *a}\n";
        let error = from_yaml(text).unwrap_err().to_string();
        assert!(error.contains("the merge key `<<` comes after `image`, which is also merged"), "{error}");
        for text in [
            "a: &a {image: x}\nc: {<<: *a, image: y}\n",
            "a: &a {image: x}\nc: {b: 1, <<: *a}\n",
            "a: &a {image: x}\nc: {image: x, <<: *a}\n",
        ] {
            assert!(from_yaml(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn yaml_becomes_the_json_that_kubectl_sends() {
        let text = "base: &base {a: 1, b: 2}\nmerged: {<<: *base, b: 3}\n8080: x\ntrue: y\nbig: 18446744073709551615\nf: 1.5\n";
        assert_eq!(
            from_yaml(text).unwrap(),
            json!({
                "base": {"a": 1, "b": 2}, "merged": {"a": 1, "b": 3}, "8080": "x", "true": "y", "big": u64::MAX, "f": 1.5,
            })
        );
        assert_eq!(
            from_yaml("a: !secret x").unwrap_err().to_string(),
            "invalid manifest from line 1: unsupported YAML tag `!secret`"
        );
        assert_eq!(
            from_yaml("a: .nan").unwrap_err().to_string(),
            "invalid manifest from line 1: unsupported number .nan"
        );
        assert_eq!(
            from_yaml("? [a]\n: b").unwrap_err().to_string(),
            "invalid manifest from line 1: invalid key: expected a scalar, found a list"
        );
    }

    #[test]
    fn items_make_any_object_a_list_as_for_kubectl() {
        for kind in ["ConfigMap", "List"] {
            let list = json!({"apiVersion": "v1", "kind": kind, "items": [{"apiVersion": "v1", "kind": "Pod"}, null]});
            let error = "invalid item of a list: expected an object, found null".to_owned();
            assert_eq!(
                places(&list.to_string()),
                [
                    found("1 items[0]", json!({"apiVersion": "v1", "kind": "Pod"})),
                    ("1 items[1]".to_owned(), Err(error))
                ]
            );
        }
        let pods = json!({"apiVersion": "v1", "kind": "Pod", "items": [{"spec": 1}]});
        assert_eq!(
            places(&pods.to_string()),
            [found("1 items[0]", json!({"apiVersion": "v1", "kind": "Pod", "spec": 1}))]
        );
    }

    #[test]
    fn a_document_after_a_comment_that_ends_with_another_line_break_is_not_dropped() {
        for line_break in ['\r', '\u{85}', '\u{2028}', '\u{2029}'] {
            let text = format!("# comment{line_break}kind: Pod{line_break}");
            assert!(!places(&text).is_empty(), "{line_break:?}");
        }
        assert_eq!(places("# comment\rkind: Pod\r"), [found("1", json!({"kind": "Pod"}))]);
    }

    #[test]
    fn a_document_with_many_levels_is_refused_before_it_is_parsed() {
        let text = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        let error = from_yaml(&text).unwrap_err().to_string();
        assert!(error.contains("recursion limit exceeded"), "{error}");
        let text = format!("a: '{}'", "[".repeat(100_000));
        assert!(from_yaml(&text).is_ok());
    }

    #[test]
    fn what_kubectl_reads_as_another_value_is_an_error() {
        let error = |text: &str| from_yaml(text).unwrap_err().to_string();
        for text in [
            "kind: !!binary UG9k",
            "%TAG !y! tag:yaml.org,2002:\n---\nkind: !y!binary UG9k",
            "kind: !<tag:yaml.org,2002:binary> UG9k",
        ] {
            assert!(error(text).contains("unsupported YAML tag"), "{text}: {}", error(text));
        }
        assert!(error("a: {'<<': {b: c}}").contains("the key `<<` is in quotes"));
        assert!(error("a: {\"\\x3c<\": {b: c}}").contains("the key `<<` is in quotes"));
        let text = "a: !!str 1\nb: hello!\nc: {<<: {d: '<<'}}\nd: |\n  if ! true\n";
        assert_eq!(from_yaml(text).unwrap(), json!({"a": "1", "b": "hello!", "c": {"d": "<<"}, "d": "if ! true\n"}));
    }
}
