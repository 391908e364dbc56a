//! Label selectors of Kubernetes, for labels of which only some may be known.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

pub(super) type Labels = BTreeMap<String, String>;

/// A label selector. All requirements have to be met, so an empty selector selects everything.
#[derive(Debug, Default)]
pub(super) struct Selector(Vec<Requirement>);

/// Whether a selector selects an object.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Selected {
    No,
    Yes,
    /// It depends on this label, which is unknown.
    DependsOn(String),
}

#[derive(Debug)]
struct Requirement {
    label: String,
    operator: Operator,
}

#[derive(Debug)]
enum Operator {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

impl Selector {
    /// Reads a selector.
    ///
    /// # Errors
    /// When the API server would not accept it.
    pub(super) fn new(selector: LabelSelector) -> Result<Self> {
        let equal = selector.match_labels.into_iter().flatten();
        let mut requirements: Vec<_> =
            equal.map(|(label, value)| Requirement { label, operator: Operator::In(vec![value]) }).collect();
        for expression in selector.match_expressions.into_iter().flatten() {
            let (label, values) = (expression.key, expression.values.unwrap_or_default());
            let operator = match (expression.operator.as_str(), values.is_empty()) {
                ("In", false) => Operator::In(values),
                ("NotIn", false) => Operator::NotIn(values),
                ("Exists", true) => Operator::Exists,
                ("DoesNotExist", true) => Operator::DoesNotExist,
                ("In" | "NotIn", true) => bail!("`{label}`: {} requires values", expression.operator),
                ("Exists" | "DoesNotExist", false) => bail!("`{label}`: {} does not allow values", expression.operator),
                (other, _) => {
                    bail!("`{label}`: unknown operator `{other}`; expected one of In, NotIn, Exists, DoesNotExist")
                }
            };
            requirements.push(Requirement { label, operator });
        }
        Ok(Self(requirements))
    }

    /// Whether labels meet all requirements. A label that is neither present nor known to be absent is unknown.
    pub(super) fn selects(&self, labels: &Labels, is_known: impl Fn(&str) -> bool) -> Selected {
        let mut unknown = None;
        for Requirement { label, operator } in &self.0 {
            let value = labels.get(label);
            if value.is_none() && !is_known(label) {
                unknown = unknown.or(Some(label));
            } else if !operator.accepts(value) {
                return Selected::No;
            }
        }
        unknown.map_or(Selected::Yes, |label| Selected::DependsOn(label.clone()))
    }
}

impl Operator {
    fn accepts(&self, value: Option<&String>) -> bool {
        match self {
            Self::In(values) => value.is_some_and(|value| values.contains(value)),
            Self::NotIn(values) => value.is_none_or(|value| !values.contains(value)),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Labels, Selected, Selector};

    fn selector(selector: Value) -> anyhow::Result<Selector> {
        Selector::new(serde_json::from_value(selector).unwrap())
    }

    fn labels(labels: &[(&str, &str)]) -> Labels {
        labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn expression(key: &str, operator: &str, values: Value) -> Value {
        json!({"matchExpressions": [{"key": key, "operator": operator, "values": values}]})
    }

    /// A selector, labels, and whether it selects them.
    type Case<'a> = (Value, &'a [(&'a str, &'a str)], bool);

    #[test]
    fn selectors_select_as_in_kubernetes() {
        // The cases of TestLabelSelectorMatches and of the documentation of label selectors.
        let both = json!({"matchLabels": {"a": "1"}, "matchExpressions": [{"key": "b", "operator": "Exists"}]});
        let cases: [Case<'_>; 16] = [
            (json!({}), &[], true),
            (json!({}), &[("x", "y")], true),
            (json!({"matchLabels": {"x": "y"}}), &[("x", "y")], true),
            (json!({"matchLabels": {"x": "y", "z": "w"}}), &[("x", "y"), ("z", "w")], true),
            (json!({"matchLabels": {"x": "y"}}), &[("x", "z")], false),
            (json!({"matchLabels": {"x": "y"}}), &[], false),
            (json!({"matchLabels": {"x": ""}}), &[("x", "")], true),
            (json!({"matchLabels": {"x": ""}}), &[], false),
            (expression("x", "In", json!(["a", "b"])), &[("x", "b")], true),
            (expression("x", "In", json!(["a", "b"])), &[], false),
            (expression("x", "NotIn", json!(["a", "b"])), &[("x", "c")], true),
            (expression("x", "NotIn", json!(["a", "b"])), &[], true),
            (expression("x", "NotIn", json!(["a", "b"])), &[("x", "a")], false),
            (expression("x", "DoesNotExist", json!(null)), &[("y", "a")], true),
            (both.clone(), &[("a", "1"), ("b", "")], true),
            (both, &[("a", "1")], false),
        ];
        for (case, given, expected) in cases {
            let selected = selector(case.clone()).unwrap().selects(&labels(given), |_| true);
            assert_eq!(selected, if expected { Selected::Yes } else { Selected::No }, "{case} {given:?}");
        }
    }

    #[test]
    fn an_unknown_label_decides_only_if_no_known_label_does() {
        let known = |label: &str| label == "name";
        let both = json!({"matchLabels": {"name": "shop"}, "matchExpressions": [{"key": "team", "operator": "In", "values": ["a"]}]});
        let selects = |given: &[(&str, &str)]| selector(both.clone()).unwrap().selects(&labels(given), known);
        assert_eq!(selects(&[("name", "shop")]), Selected::DependsOn("team".to_owned()));
        assert_eq!(selects(&[("name", "other")]), Selected::No);
        assert_eq!(selects(&[("name", "shop"), ("team", "a")]), Selected::Yes);
        assert_eq!(selects(&[("name", "shop"), ("team", "b")]), Selected::No);
    }

    #[test]
    fn selectors_that_the_api_server_refuses_are_errors() {
        let error = |case| selector(case).unwrap_err().to_string();
        assert_eq!(
            error(expression("x", "Is", json!(["a"]))),
            "`x`: unknown operator `Is`; expected one of In, NotIn, Exists, DoesNotExist"
        );
        assert_eq!(error(expression("x", "In", json!([]))), "`x`: In requires values");
        assert_eq!(error(expression("x", "Exists", json!(["a"]))), "`x`: Exists does not allow values");
    }
}
