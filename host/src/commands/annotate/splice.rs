//! Writes an annotation into the text of a manifest, and keeps every other byte.
//!
//! A YAML parser gives the position of each node, and the annotation is inserted into the text there. JSON is YAML in flow
//! style, so both are handled in the same way. The caller checks the meaning of the result: with anchors and merge keys one
//! line of YAML can belong to several objects.

use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail};
use saphyr_parser::ScalarStyle;
use serde_json::Value;

use super::workload;
use crate::manifest::nodes::{Kind, Node, objects};

/// Sets the value at a path in one of the objects of a manifest, in the order of [`crate::manifest::read`].
pub(super) fn set(text: &str, object: usize, path: &[&str], value: &str) -> Result<String> {
    let objects = objects(text)?;
    let object = objects.get(object).context("an object is missing")?;
    let (range, new) = change(text, object, path, value)?;
    let mut changed = text.to_owned();
    changed.replace_range(range, &new);
    Ok(changed)
}

/// The range of the text to change for a path, and its new text.
fn change(text: &str, object: &Node, path: &[&str], value: &str) -> Result<(Range<usize>, String)> {
    let mut node = object;
    for (depth, key) in path.iter().enumerate() {
        let rest = path.get(depth..).unwrap_or_default();
        if let Kind::Sequence(items) = &node.kind {
            let item = workload::index(key).and_then(|index| items.get(index));
            node =
                item.with_context(|| format!("`{}` does not exist", path.get(..=depth).unwrap_or_default().join(".")))?;
            continue;
        }
        let Kind::Mapping { flow, entries } = &node.kind else {
            bail!("`{}` must be an object, not an alias", path.get(..depth).unwrap_or_default().join("."));
        };
        let Some((own, inner)) = node.get(key) else {
            return Ok(if *flow {
                added_in_flow(text, node, entries, &flow_entry(rest, value))
            } else {
                added_in_block(text, entries.first().map_or(node, |(key, _)| key), rest, value)
            });
        };
        let inside = rest.get(1..).unwrap_or_default();
        let (end, is_last) = (line_end(text), inside.is_empty());
        let quoted = if *flow { double_quoted(value) } else { single_quoted(value) };
        if inner.is_null() {
            let colon = colon_after(text, own)?;
            let new = match (is_last, *flow) {
                (true, _) => format!(" {quoted}"),
                (false, true) => format!(" {{{}}}", flow_entry(inside, value)),
                (false, false) => format!("{end}{}", block_entry(inside, value, own.column + 2, end)),
            };
            return Ok((colon..colon.max(inner.span.end), new));
        }
        if is_last {
            return Ok((range_of(text, own, inner)?, quoted));
        }
        node = inner;
    }
    Err(anyhow!("the path is empty"))
}

/// A first entry, after the brace.
fn added_in_flow(text: &str, node: &Node, entries: &[(Node, Node)], entry: &str) -> (Range<usize>, String) {
    let open = node.span.start;
    let Some((first, _)) = entries.first() else { return (open..open, entry.to_owned()) };
    let between = text.get(open..first.span.start).unwrap_or_default();
    match between.rfind('\n') {
        // The other entries are on their own lines, and so is this one.
        Some(line) => {
            let start = first.span.start;
            let lead = between.get(line + 1..).unwrap_or_default();
            (start..start, format!("{entry},{}{lead}", line_end(text)))
        }
        None => (open..open, format!("{entry}, ")),
    }
}

/// A first entry, above the comments of the next one.
fn added_in_block(text: &str, first: &Node, path: &[&str], value: &str) -> (Range<usize>, String) {
    let (at, end) = (first.span.start, line_end(text));
    let lines = block_entry(path, value, first.column, end);
    match line_above(text, at) {
        Some(start) => (start..start, format!("{lines}{end}")),
        None => (at..at, format!("{}{end}{}", lines.trim_start(), " ".repeat(first.column))),
    }
}

/// The start of the key's line, or of the comments directly above it. There is none if the line begins with something else,
/// such as the dash of a list, an anchor or a byte order mark.
fn line_above(text: &str, key: usize) -> Option<usize> {
    let start_of_line = |at: usize| text.get(..at).and_then(|before| before.rfind('\n')).map_or(0, |end| end + 1);
    let mut start = start_of_line(key);
    if !text.get(start..key)?.trim().is_empty() {
        return None;
    }
    while let Some(above) = start.checked_sub(1).map(start_of_line)
        && text.get(above..start)?.trim_start().starts_with('#')
    {
        start = above;
    }
    Some(start)
}

/// The range of a key's value. A block of text begins with a header after the colon.
fn range_of(text: &str, key: &Node, value: &Node) -> Result<Range<usize>> {
    match &value.kind {
        Kind::Scalar { style: ScalarStyle::Literal | ScalarStyle::Folded, .. } => {
            let colon = colon_after(text, key)?;
            let block = text.get(colon..value.span.end).unwrap_or_default();
            let lead = block.len() - block.trim_start().len();
            Ok(colon + lead..colon + block.trim_end().len())
        }
        Kind::Scalar { .. } => Ok(value.span.clone()),
        _ => bail!("the annotation exists, but its value is not a string"),
    }
}

/// The position after the colon of a key.
fn colon_after(text: &str, key: &Node) -> Result<usize> {
    let rest = text.get(key.span.end..).unwrap_or_default();
    let blank = rest.len() - rest.trim_start().len();
    match rest.trim_start().starts_with(':') {
        true => Ok(key.span.end + blank + 1),
        false => bail!("a key is not followed by a colon"),
    }
}

fn flow_entry(path: &[&str], value: &str) -> String {
    match path {
        [] => String::new(),
        [key] => format!("{}: {}", double_quoted(key), double_quoted(value)),
        [key, rest @ ..] => format!("{}: {{{}}}", double_quoted(key), flow_entry(rest, value)),
    }
}

fn block_entry(path: &[&str], value: &str, indent: usize, end: &str) -> String {
    let lead = " ".repeat(indent);
    match path {
        [] => String::new(),
        [key] => format!("{lead}{key}: {}", single_quoted(value)),
        [key, rest @ ..] => format!("{lead}{key}:{end}{}", block_entry(rest, value, indent + 2, end)),
    }
}

fn single_quoted(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn double_quoted(value: &str) -> String {
    Value::from(value).to_string()
}

/// The line ending of the text.
fn line_end(text: &str) -> &'static str {
    match text.split_once('\n') {
        Some((first, _)) if first.ends_with('\r') => "\r\n",
        _ => "\n",
    }
}

#[cfg(test)]
mod tests {
    use crate::manifest;

    use super::{set, workload};

    const POD: [&str; 3] = ["metadata", "annotations", "k"];
    const DEPLOYMENT: [&str; 5] = ["spec", "template", "metadata", "annotations", "k"];

    /// Sets the value, and compares the parsed result with the expected object.
    fn changed(text: &str, object: usize, path: &[&str]) -> String {
        let value = r#"{"a":"it's"}"#;
        let changed = set(text, object, path, value).unwrap();
        let read = |text: &str| workload::objects(text).unwrap_or_else(|error| panic!("{error:#}:\n{text}"));
        let mut expected = read(text);
        let template: Vec<String> = path[..path.len() - 3].iter().map(|key| (*key).to_owned()).collect();
        workload::annotate(&mut expected[object], &template, "k", value).unwrap();
        assert_eq!(read(&changed), expected, "{changed}");
        changed
    }

    #[test]
    fn comments_and_the_order_of_keys_are_kept() {
        let text = "# the shop\nkind: Deployment\nspec:\n  template:   # pods\n    # why this label\n    metadata:\n      # labels\n      labels: {app: web} # one\n    spec: {}\n";
        assert_eq!(
            changed(text, 0, &DEPLOYMENT),
            text.replace("      # labels\n", "      annotations:\n        k: '{\"a\":\"it''s\"}'\n      # labels\n")
        );
    }

    #[test]
    fn missing_fields_are_created() {
        let text = "kind: Deployment\nspec:\n  template:\n    spec: {}\n";
        let made = "    metadata:\n      annotations:\n        k: '{\"a\":\"it''s\"}'\n    spec: {}\n";
        assert_eq!(changed(text, 0, &DEPLOYMENT), text.replace("    spec: {}\n", made));
        for nothing in ["", " null", " ~", " # none", " {}", " {  }", " {a: b}", " {a: }"] {
            changed(&format!("kind: Pod\nmetadata:\n  annotations:{nothing}\n  name: a\n"), 0, &POD);
            changed(&format!("kind: Pod\nmetadata: {{annotations:{nothing} }}\n").replace(" # none", ""), 0, &POD);
        }
        changed("kind: Pod\nmetadata:", 0, &POD);
        changed("\u{feff}spec: {}\nkind: Pod\n", 0, &POD);
        changed("# c\n\n# d\nspec: {}\nkind: Pod", 0, &POD);
    }

    #[test]
    fn an_annotation_is_replaced_in_any_style_of_yaml() {
        for old in [
            "old",
            "'old'",
            "\"o\\\"ld\"",
            "|\n      old\n      older\n",
            ">-\n      old\n\n",
            "|+\n      old\n\n",
            "two\n      lines",
            "!!str old",
        ] {
            let text =
                format!("kind: Pod\nmetadata:\n  annotations:\n    # é\n    k: {old}\n    other: '1'\n  name: a\n");
            let changed = changed(&text, 0, &POD);
            assert!(changed.contains("    # é\n    k: '{\"a\":\"it''s\"}'") && !changed.contains("old\n"), "{changed}");
        }
        changed("kind: Pod\nmetadata: {annotations: {k: old, l: m}}\n", 0, &POD);
        changed("kind: Pod\nmetadata: {annotations: {\"k\":\"old\"}}\n", 0, &POD);
        assert!(set("metadata: {annotations: {k: {a: b}}}", 0, &POD, "v").is_err());
    }

    #[test]
    fn only_the_chosen_object_is_changed() {
        let text = "---\n# first\nkind: Pod\nmetadata: {name: a}\n---\n# nothing\n---\nkind: Pod\nmetadata:\n  name: b\n...\n--- {kind: Pod, metadata: {name: c}}\n";
        assert_eq!(changed(text, 1, &POD).replace("  annotations:\n    k: '{\"a\":\"it''s\"}'\n", ""), text);
        let inserted = "annotations: {\"k\": \"{\\\"a\\\":\\\"it's\\\"}\"}, ";
        assert_eq!(
            changed(text, 2, &POD).replace(&format!("\"annotations\"{}", &inserted["annotations".len()..]), ""),
            text
        );
        let list = "apiVersion: v1\nkind: List\nitems:\n- kind: Pod\n  metadata:\n    name: a\n- metadata:\n    name: b\n  kind: Pod\n- kind: Pod\n  spec: {}\n";
        assert!(changed(list, 1, &POD).contains("- metadata:\n    annotations:\n      k: "));
        assert!(changed(list, 2, &POD).contains("- metadata:\n    annotations:\n      k: "));
    }

    #[test]
    fn windows_line_endings_and_byte_order_marks_are_kept() {
        let text = "\u{feff}kind: Pod\r\nmetadata:\r\n  # é\r\n  name: é\r\n";
        assert_eq!(
            changed(text, 0, &POD),
            text.replace("  # é", "  annotations:\r\n    k: '{\"a\":\"it''s\"}'\r\n  # é")
        );
    }

    #[test]
    fn json_stays_json() {
        let pretty = "{\n\t\"kind\": \"Pod\",\n\t\"metadata\": {\n\t\t\"name\": \"é\"\n\t}\n}\n";
        let compact = "{\"metadata\":{\"annotations\":{\"k\":\"old\",\"l\":\"m\"}},\"kind\":\"Pod\"}";
        let empty = "{\"kind\":\"Pod\",\"metadata\":null}";
        for text in [pretty, compact, empty] {
            serde_json::from_str::<serde_json::Value>(&changed(text, 0, &POD)).unwrap();
        }
        assert!(changed(pretty, 0, &POD).contains("{\n\t\t\"annotations\": {\"k\": \"{\\\"a\\\""));
        let stream = format!("{compact}\n{pretty}{empty}");
        for object in 0..3 {
            let changed = changed(&stream, object, &POD);
            assert!(manifest::read(&changed).iter().all(|document| document.object.is_ok()));
        }
        let list = format!("{{\"kind\": \"List\", \"items\": [{compact}, {pretty}]}}");
        changed(&list, 1, &POD);
    }

    #[test]
    fn a_path_can_contain_list_indexes() {
        let path = ["spec", "tasks", "1", "template", "metadata", "annotations", "k"];
        for second in [
            "- template:\n      spec: {}\n",
            "-\n    # pods\n    template:\n      metadata:\n        labels: {a: b}\n",
            "- {name: b, template: {}}\n",
            "- template:\n    name: b\n",
            "- name: b\n    template: {metadata: {annotations: {k: old}}}\n",
        ] {
            let text = format!("kind: Job\nspec:\n  tasks:\n  - name: a\n  {second}  other: []\n");
            let changed = changed(&text, 0, &path);
            assert!(changed.starts_with("kind: Job\nspec:\n  tasks:\n  - name: a\n  -"), "{changed}");
        }
        let error = set("spec: {tasks: []}\n", 0, &path, "v").unwrap_err().to_string();
        assert_eq!(error, "`spec.tasks.1` does not exist");
    }

    #[test]
    fn an_alias_is_an_error() {
        let alias = "x: &x {name: a}\nkind: Pod\nmetadata: *x\n";
        let error = set(alias, 0, &POD, "v").unwrap_err().to_string();
        assert_eq!(error, "`metadata` must be an object, not an alias");
    }
}
