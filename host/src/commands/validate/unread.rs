//! Settings that cannot be read, as problems with their places.

use std::path::Path;

use super::{Checked, Remark};
use crate::manifest::nodes::{self, Kind, Node, line_and_column};
use crate::manifest::{self, hint, yaml_texts};
use crate::policies::policy_name;
use crate::settings::SettingsOptions;

/// The files that cannot be read, or without one, what is wrong otherwise.
pub(super) fn checked(options: &SettingsOptions, error: &anyhow::Error) -> Vec<Checked> {
    let files = options.files().unwrap_or_default();
    let unread: Vec<Checked> = files.iter().filter_map(|file| unread(file, options.names(file))).collect();
    if !unread.is_empty() {
        return unread;
    }
    let source = match (options.only_path(), options.configuration()) {
        (Some(path), _) | (None, Some(path)) => path.display().to_string(),
        (None, None) if files.is_empty() => options.source().to_owned(),
        (None, None) => "--settings-path".to_owned(),
    };
    let text = format!("{error:#}");
    let problems = text.lines().map(|line| {
        // The source is shown before the message.
        let inner = ["invalid settings in ", "cannot parse settings file "]
            .iter()
            .find_map(|start| line.strip_prefix(start)?.strip_prefix(&source)?.strip_prefix(": "));
        Remark { path: None, message: inner.unwrap_or(line).to_owned(), line: None, column: None }
    });
    vec![Checked { policy: None, valid: false, problems: problems.collect(), warnings: Vec::new(), source }]
}

/// `None` for a file that can be read. In a folder, only files with policies count.
fn unread(file: &Path, is_named: bool) -> Option<Checked> {
    let problems = match std::fs::read_to_string(file) {
        Err(error) => {
            vec![Remark { path: None, message: format!("cannot open the file: {error}"), line: None, column: None }]
        }
        Ok(text) => {
            let is_policy =
                |document: &manifest::Document| document.object.as_ref().is_ok_and(|it| policy_name(it).is_some());
            let is_used = is_named || manifest::read(&text).iter().any(is_policy);
            if is_used { syntax_errors(&text) } else { Vec::new() }
        }
    };
    let source = file.display().to_string();
    (!problems.is_empty()).then_some(Checked { policy: None, source, valid: false, problems, warnings: Vec::new() })
}

/// The documents of a text that are not YAML, with the places of their errors.
fn syntax_errors(text: &str) -> Vec<Remark> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let errors = yaml_texts(text).into_iter().filter_map(|(first, document)| {
        let error = yaml_serde::from_str::<yaml_serde::Value>(&document).err()?;
        let text = error.to_string();
        let cause = text.split(" at line ").next().unwrap_or(&text);
        let mut place = error.location().map(|location| (location.line(), location.column()));
        // The location is the start of the mapping.
        if cause.contains("duplicate entry") {
            let documents = nodes::objects(&document).unwrap_or_default();
            place = documents.iter().find_map(repeated).map(|key| line_and_column(&document, key.span.start)).or(place);
        }
        let (line, column) = place.map(|(line, column)| (first + line - 1, column)).unzip();
        Some(Remark { path: None, message: format!("invalid YAML: {cause}{}", hint(cause)), line, column })
    });
    errors.collect()
}

/// The first key that its mapping has twice.
fn repeated(node: &Node) -> Option<&Node> {
    match &node.kind {
        Kind::Mapping { entries, .. } => entries.iter().enumerate().find_map(|(index, (key, value))| {
            let before = entries.iter().take(index).any(|(other, _)| is_same(key, other));
            if before { Some(key) } else { repeated(value) }
        }),
        Kind::Sequence(items) => items.iter().find_map(repeated),
        Kind::Scalar { .. } | Kind::Alias(_) => None,
    }
}

fn is_same(one: &Node, other: &Node) -> bool {
    matches!((&one.kind, &other.kind), (Kind::Scalar { value: one, .. }, Kind::Scalar { value: other, .. }) if one == other)
}

#[cfg(test)]
mod tests {
    use super::syntax_errors;

    /// The line, the column and the message of each error.
    fn errors(text: &str) -> Vec<(usize, usize, String)> {
        let place = |error: super::Remark| (error.line.unwrap(), error.column.unwrap(), error.message);
        syntax_errors(text).into_iter().map(place).collect()
    }

    #[test]
    fn a_syntax_error_has_its_place() {
        assert!(errors("a: 1\n").is_empty());
        let [(line, column, message)] = &errors("# comment\na: b: c\n")[..] else { panic!() };
        assert_eq!((*line, *column), (2, 5));
        assert!(message.starts_with("invalid YAML: mapping values are not allowed"), "{message}");
    }

    #[test]
    fn a_repeated_key_is_where_it_is_repeated() {
        let duplicate = |key: &str| format!("invalid YAML: duplicate entry with key \"{key}\"");
        assert_eq!(errors("a: 1\nb: 2\na: 3\n"), [(3, 1, duplicate("a"))]);
        assert_eq!(
            errors("---\nx:\n  - a: 1\n    \"a\": 2\n"),
            [(4, 5, format!("invalid YAML: x[0]: {}", &duplicate("a")[14..]))]
        );
        let objects = "kind: A\nspec: {}\nkind: B\nspec: {}\n";
        assert_eq!(errors(objects), [(3, 1, duplicate("kind") + "; a `---` line is missing between two objects")]);
    }

    #[test]
    fn every_broken_document_is_reported() {
        let lines: Vec<usize> = errors("a: [\n---\nb: 1\n---\nc: }\n").into_iter().map(|(line, ..)| line).collect();
        assert_eq!(lines, [2, 5]);
    }
}
