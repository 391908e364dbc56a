//! Label selectors, as kubectl reads them. The API server selects the objects of a cluster; here those of manifests are selected.

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use kube::core::{Expression, Selector as Expressions, SelectorExt as _};
use serde_json::Value;

/// A label selector, such as `app=web,tier in (a,b),!canary`.
#[derive(Debug, Clone)]
pub(crate) struct Selector {
    text: String,
    expressions: Expressions,
}

impl Selector {
    /// The selector as it was written.
    pub(crate) fn as_str(&self) -> &str {
        &self.text
    }

    /// Whether the labels of an object match.
    pub(crate) fn matches(&self, object: &Value) -> bool {
        let labels = object["metadata"]["labels"].as_object();
        let labels =
            labels.into_iter().flatten().filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
        self.expressions.matches(&labels.collect::<BTreeMap<_, _>>())
    }
}

impl FromStr for Selector {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expressions = requirements(text).into_iter().map(expression).collect::<Result<Expressions, _>>()?;
        Ok(Self { text: text.to_owned(), expressions })
    }
}

/// The parts between commas that are not in parentheses.
fn requirements(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut depth) = (Vec::new(), 0, 0_usize);
    for (index, character) in text.char_indices() {
        match character {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(text.get(start..index).unwrap_or_default());
                start = index + 1;
            }
            _ => {}
        }
    }
    parts.push(text.get(start..).unwrap_or_default());
    parts
}

fn expression(part: &str) -> Result<Expression, String> {
    let part = part.trim();
    let parsed = if let Some((key, value)) = part.split_once("!=") {
        Expression::NotEqual(word(key)?, value_of(value)?)
    } else if let Some((key, value)) = part.split_once("==").or_else(|| part.split_once('=')) {
        Expression::Equal(word(key)?, value_of(value)?)
    } else if let Some((left, values)) = part.strip_suffix(')').and_then(|part| part.split_once('(')) {
        let values = values.split(',').map(value_of).collect::<Result<BTreeSet<_>, _>>()?;
        match left.split_whitespace().collect::<Vec<_>>()[..] {
            [key, "in"] => Expression::In(word(key)?, values),
            [key, "notin"] => Expression::NotIn(word(key)?, values),
            _ => return Err(format!("expected `KEY in (…)` or `KEY notin (…)`, found `{part}`")),
        }
    } else if let Some(key) = part.strip_prefix('!') {
        Expression::DoesNotExist(word(key)?)
    } else {
        Expression::Exists(word(part)?)
    };
    Ok(parsed)
}

/// The key of a label.
fn word(text: &str) -> Result<String, String> {
    let text = text.trim();
    let is_valid = |character: char| character.is_ascii_alphanumeric() || "-_./".contains(character);
    if text.is_empty() || !text.chars().all(is_valid) {
        return Err(format!("expected the key of a label, found `{text}`"));
    }
    Ok(text.to_owned())
}

/// The value of a label, which may be empty.
fn value_of(text: &str) -> Result<String, String> {
    let text = text.trim();
    if text.is_empty() {
        Ok(String::new())
    } else {
        word(text).map_err(|_| format!("invalid value of a label: `{text}`"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Selector;

    #[test]
    fn labels_are_selected_as_in_kubectl() {
        let object = json!({"metadata": {"labels": {"app": "web", "tier": "a", "example.com/team": ""}}});
        let matches = |text: &str| text.parse::<Selector>().unwrap().matches(&object);
        for text in [
            "app=web",
            "app==web",
            "app!=db",
            "tier in (a,b)",
            "tier notin (c), app=web",
            "app",
            "!canary",
            "example.com/team=",
            "x!=y",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in ["app=db", "app!=web", "tier in (c)", "tier notin (a,b)", "canary", "!app", "app=web,tier=b"] {
            assert!(!matches(text), "{text}");
        }
        assert!(!"app=web".parse::<Selector>().unwrap().matches(&json!({"metadata": {"labels": null}})));
    }

    #[test]
    fn an_invalid_selector_is_refused() {
        for text in ["", "=web", "app=a b", "app within (a)", "app in (a", ","] {
            assert!(text.parse::<Selector>().is_err(), "{text}");
        }
    }
}
