//! The nodes that a pod may run on, by the operating systems and architectures that the pod itself selects.
//!
//! Selections are read from `nodeSelector` and from `In` expressions of the required node affinity. The scheduler and the
//! kubelet both enforce these.

use std::borrow::Cow;
use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::image::{Platform, Platforms};
use crate::json::{self, Object};

/// The labels of every node, and their deprecated names, which the kubelet still sets (Kubernetes, "Well-Known Labels, Annotations
/// and Taints").
const ARCHITECTURE: [&str; 2] = ["kubernetes.io/arch", "beta.kubernetes.io/arch"];
const OPERATING_SYSTEM: [&str; 2] = ["kubernetes.io/os", "beta.kubernetes.io/os"];

/// More architectures or operating systems than exist. A pod that selects more is judged for all of them.
const MAX_VALUES: usize = 32;

/// The nodes that a pod selects. Without a selection there is no list. An empty name in a list means any value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Nodes {
    architectures: Option<BTreeSet<String>>,
    operating_systems: Option<BTreeSet<String>>,
}

impl Nodes {
    /// The nodes of a pod's `nodeSelector` and `affinity`, in JSON.
    ///
    /// # Errors
    /// The problem, if one of them is invalid.
    pub(super) fn of(selector: Option<&RawValue>, affinity: Option<&RawValue>) -> Result<Self, String> {
        if selector.is_none() && affinity.is_none() {
            return Ok(Self::default());
        }
        Self::selected(selector, affinity)
    }

    #[cold]
    fn selected(selector: Option<&RawValue>, affinity: Option<&RawValue>) -> Result<Self, String> {
        // Few pods have these fields, and reading them in another way would make the module larger.
        let selector: Option<Object<NodeSelector<'_>>> = read("nodeSelector", selector)?;
        let affinity: Option<Object<Affinity<'_>>> = read("affinity", affinity)?;
        let NodeSelector { architecture, old_architecture, operating_system, old_operating_system } =
            selector.map(|Object(found)| found).unwrap_or_default();
        let required = affinity.and_then(|Object(affinity)| affinity.node_affinity?.required);
        let terms = required.and_then(|required| required.node_selector_terms).unwrap_or_default();
        let selected = |labels: [&str; 2], values: [Option<Cow<'_, str>>; 2]| {
            let values = values.map(|value| value.map(|value| BTreeSet::from([value.into_owned()])));
            both(values.into_iter().fold(None, both), of_terms(&terms, labels))
                .map(|values| if values.len() > MAX_VALUES { BTreeSet::from([String::new()]) } else { values })
        };
        Ok(Self {
            architectures: selected(ARCHITECTURE, [architecture, old_architecture]),
            operating_systems: selected(OPERATING_SYSTEM, [operating_system, old_operating_system]),
        })
    }

    /// The platforms of these nodes. `configured` are the platforms of the cluster, if the settings list them.
    #[must_use]
    pub fn platforms(&self, configured: Option<&[Platform]>) -> Platforms {
        let (architectures, systems) = (self.architectures.as_ref(), self.operating_systems.as_ref());
        if architectures.is_none() && systems.is_none() {
            return configured.map_or(Platforms::OfHost, |configured| Platforms::Listed(configured.to_vec()));
        }
        let has = |values: Option<&BTreeSet<String>>, value: &str| values.is_none_or(|values| values.contains(value));
        let narrowed: Vec<Platform> = configured
            .unwrap_or_default()
            .iter()
            .filter(|platform| has(architectures, platform.architecture()) && has(systems, platform.os()))
            .cloned()
            .collect();
        let covers = |platforms: &[Platform], architecture: &String| {
            platforms.iter().any(|platform| platform.architecture() == architecture)
        };
        if !narrowed.is_empty() && architectures.into_iter().flatten().all(|wanted| covers(&narrowed, wanted)) {
            return Platforms::Listed(narrowed);
        }
        let linux = || BTreeSet::from([String::from("linux")]);
        let Some(architectures) = architectures else {
            // policy-server itself runs on Linux.
            let systems = systems.cloned().unwrap_or_default();
            if configured.is_none() && systems == linux() {
                return Platforms::OfHost;
            }
            return Platforms::Listed(systems.iter().map(|os| Platform::new(os, "")).collect());
        };
        let listed = || configured.into_iter().flatten().map(|platform| platform.os().to_owned()).collect();
        let systems = systems.cloned().or_else(|| Some(listed()).filter(|listed: &BTreeSet<_>| !listed.is_empty()));
        let systems = systems.unwrap_or_else(linux);
        // More combinations than exist. Each would be compared with each image of an index.
        if systems.len() * architectures.len() > MAX_VALUES {
            return Platforms::Listed(vec![Platform::new("", "")]);
        }
        let each = systems.iter().flat_map(|os| architectures.iter().map(move |wanted| Platform::new(os, wanted)));
        Platforms::Listed(each.collect())
    }
}

fn read<'a, T: Deserialize<'a>>(field: &str, json: Option<&'a RawValue>) -> Result<Option<T>, String> {
    let read = json.map_or(Ok(None), |json| serde_json::from_str(json.get()));
    read.map_err(|error| format!("{field}: {}", json::without_position(&error.to_string())))
}

/// The values in both sets. If they have none in common, which is a contradiction, the values of either. `None` means any value.
fn both(one: Option<BTreeSet<String>>, other: Option<BTreeSet<String>>) -> Option<BTreeSet<String>> {
    match (one, other) {
        (Some(one), Some(other)) => {
            let common: BTreeSet<String> = one.intersection(&other).cloned().collect();
            Some(if common.is_empty() { &one | &other } else { common })
        }
        (one, other) => one.or(other),
    }
}

/// The values of a label that at least one of the terms allows. Nothing if a term allows any value.
fn of_terms(terms: &[Term<'_>], labels: [&str; 2]) -> Option<BTreeSet<String>> {
    let mut all = BTreeSet::new();
    for term in terms {
        let expressions = term.match_expressions.iter().flatten();
        let selecting =
            expressions.filter(|expression| labels.contains(&expression.key.as_ref()) && expression.operator == "In");
        let values = selecting.map(|expression| {
            let values = expression.values.iter().flatten().map(|value| value.clone().into_owned());
            Some(values.collect::<BTreeSet<String>>())
        });
        all.extend(values.fold(None, both)?);
    }
    (!all.is_empty()).then_some(all)
}

/// The fields of `nodeSelector` that are read.
#[derive(Default, Deserialize)]
struct NodeSelector<'a> {
    #[serde(rename = "kubernetes.io/arch", borrow, default)]
    architecture: Option<Cow<'a, str>>,
    #[serde(rename = "beta.kubernetes.io/arch", borrow, default)]
    old_architecture: Option<Cow<'a, str>>,
    #[serde(rename = "kubernetes.io/os", borrow, default)]
    operating_system: Option<Cow<'a, str>>,
    #[serde(rename = "beta.kubernetes.io/os", borrow, default)]
    old_operating_system: Option<Cow<'a, str>>,
}

/// The fields of `affinity` that are read.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Affinity<'a> {
    #[serde(borrow, default, deserialize_with = "json::optional_object")]
    node_affinity: Option<NodeAffinity<'a>>,
}

#[derive(Deserialize)]
struct NodeAffinity<'a> {
    #[serde(
        rename = "requiredDuringSchedulingIgnoredDuringExecution",
        borrow,
        default,
        deserialize_with = "json::optional_object"
    )]
    required: Option<RequiredTerms<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RequiredTerms<'a> {
    #[serde(borrow, default)]
    node_selector_terms: Option<Vec<Term<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Term<'a> {
    #[serde(borrow, default)]
    match_expressions: Option<Vec<Expression<'a>>>,
}

#[derive(Deserialize)]
struct Expression<'a> {
    #[serde(borrow)]
    key: Cow<'a, str>,
    #[serde(borrow)]
    operator: Cow<'a, str>,
    #[serde(borrow, default)]
    values: Option<Vec<Cow<'a, str>>>,
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Nodes;
    use crate::image::{Platform, Platforms};

    fn nodes(selector: &Value, affinity: &Value) -> Nodes {
        let raw = |value: &Value| serde_json::value::to_raw_value(value).unwrap();
        Nodes::of(Some(&raw(selector)), Some(&raw(affinity))).unwrap()
    }

    fn terms(terms: &Value) -> Value {
        json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": terms}}})
    }

    fn expression(key: &str, operator: &str, values: &[&str]) -> Value {
        json!({"key": key, "operator": operator, "values": values})
    }

    fn listed(nodes: &Nodes, configured: Option<&[&str]>) -> String {
        let configured: Option<Vec<Platform>> =
            configured.map(|platforms| platforms.iter().map(|text| Platform::parse(text).unwrap()).collect());
        match nodes.platforms(configured.as_deref()) {
            Platforms::OfHost => "host".to_owned(),
            Platforms::Listed(platforms) => platforms.iter().map(Platform::to_string).collect::<Vec<_>>().join(" "),
        }
    }

    const NONE: Value = Value::Null;

    #[test]
    fn a_pod_that_selects_no_nodes_is_judged_for_the_platforms_of_the_settings() {
        for any in [nodes(&NONE, &NONE), nodes(&json!({"disk": "ssd"}), &json!({"podAffinity": {}}))] {
            assert_eq!(listed(&any, None), "host");
            assert_eq!(listed(&any, Some(&["linux/amd64", "linux/arm64"])), "linux/amd64 linux/arm64");
        }
    }

    #[test]
    fn a_node_selector_narrows_the_platforms_or_replaces_them() {
        let arm = nodes(&json!({"kubernetes.io/arch": "arm64"}), &NONE);
        assert_eq!(listed(&arm, Some(&["linux/amd64", "linux/arm64"])), "linux/arm64");
        assert_eq!(listed(&arm, Some(&["linux/amd64"])), "linux/arm64");
        assert_eq!(listed(&arm, Some(&["linux/amd64", "windows/amd64"])), "linux/arm64 windows/arm64");
        assert_eq!(listed(&arm, None), "linux/arm64");
        let linux = nodes(&json!({"kubernetes.io/os": "linux"}), &NONE);
        assert_eq!(listed(&linux, None), "host");
        assert_eq!(listed(&linux, Some(&["linux/amd64", "windows/amd64"])), "linux/amd64");
        let windows = nodes(&json!({"kubernetes.io/os": "windows"}), &NONE);
        assert_eq!(listed(&windows, None), "windows/any");
        assert_eq!(listed(&windows, Some(&["linux/amd64"])), "windows/any");
    }

    #[test]
    fn required_affinity_selects_by_in_and_its_terms_are_alternatives() {
        let arch = |operator, values: &[&str]| expression("kubernetes.io/arch", operator, values);
        let of = |of_terms: Value| listed(&nodes(&NONE, &terms(&of_terms)), None);
        assert_eq!(of(json!([{"matchExpressions": [arch("In", &["arm64", "s390x"])]}])), "linux/arm64 linux/s390x");
        assert_eq!(
            of(json!([{"matchExpressions": [arch("In", &["arm64"])]}, {"matchExpressions": [arch("In", &["amd64"])]}])),
            "linux/amd64 linux/arm64"
        );
        assert_eq!(
            of(
                json!([{"matchExpressions": [arch("In", &["arm64"])]}, {"matchExpressions": [expression("disk", "In", &["ssd"])]}])
            ),
            "host",
            "the second term allows any architecture"
        );
        assert_eq!(
            of(json!([{"matchExpressions": [arch("In", &["arm64", "amd64"]), arch("In", &["amd64"])]}])),
            "linux/amd64"
        );
        for operator in ["NotIn", "Exists", "Gt"] {
            assert_eq!(of(json!([{"matchExpressions": [arch(operator, &["arm64"])]}])), "host", "{operator}");
        }
        for nothing in [json!(null), json!([]), json!([{}]), json!([{"matchExpressions": null}])] {
            assert_eq!(of(nothing.clone()), "host", "{nothing}");
        }
    }

    #[test]
    fn a_pod_with_contradictory_selections_is_judged_for_all_of_them() {
        let both = terms(&json!([{"matchExpressions": [expression("kubernetes.io/arch", "In", &["arm64"])]}]));
        assert_eq!(listed(&nodes(&json!({"kubernetes.io/arch": "amd64"}), &both), None), "linux/amd64 linux/arm64");
        assert_eq!(listed(&nodes(&json!({"kubernetes.io/arch": "arm64"}), &both), None), "linux/arm64");
    }

    #[test]
    fn a_pod_that_selects_too_many_architectures_is_judged_for_all_platforms() {
        let many: Vec<String> = (0..10_000).map(|number| format!("a{number}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let many = terms(&json!([{"matchExpressions": [expression("kubernetes.io/arch", "In", &many)]}]));
        assert_eq!(listed(&nodes(&NONE, &many), None), "linux/any");
        assert_eq!(listed(&nodes(&NONE, &many), Some(&["linux/amd64"])), "linux/any");
    }
}
