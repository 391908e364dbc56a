//! Objects that exist already: what runs in a cluster, as `kubectl get` prints it.

use serde_json::{Value, json};

/// Whether an object comes from a cluster: an API server has given it a UID and a version.
pub(crate) fn exists(object: &Value) -> bool {
    let is_given = |key: &str| object["metadata"][key].as_str().is_some_and(|text| !text.is_empty());
    is_given("uid") && is_given("resourceVersion")
}

/// The settings without the rule `rollout`.
///
/// The request stays a CREATE by a user: in an audit, and in an UPDATE without changes, the other rules judge differently.
pub(super) fn without_rollout(settings: &Value) -> Value {
    let mut settings = settings.clone();
    let overrides = settings.get_mut("overrides").and_then(Value::as_array_mut).into_iter().flatten();
    for entry in overrides.filter_map(Value::as_object_mut) {
        if let Some(rollout) = entry.get_mut("rollout") {
            *rollout = json!({"action": "off"});
        }
    }
    if let Some(sections) = settings.as_object_mut() {
        sections.insert("rollout".to_owned(), json!({"action": "off"}));
    }
    settings
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{exists, without_rollout};

    #[test]
    fn an_object_exists_if_it_has_a_uid_and_a_resource_version() {
        assert!(exists(&json!({"metadata": {"uid": "3f1c", "resourceVersion": "7"}})));
        for metadata in [
            json!({"uid": "3f1c"}),
            json!({"resourceVersion": "7"}),
            json!({"uid": "", "resourceVersion": "7"}),
            json!(null),
        ] {
            assert!(!exists(&json!({"metadata": metadata})), "{metadata}");
        }
    }

    #[test]
    fn the_rule_rollout_is_off_at_the_top_and_in_overrides() {
        let settings = json!({
            "rollout": {"minAge": "3d"},
            "overrides": [{"images": ["*a"], "rollout": {"action": "warn"}}, {"images": ["*b"], "scan": {"action": "off"}}],
        });
        let expected = json!({
            "rollout": {"action": "off"},
            "overrides": [{"images": ["*a"], "rollout": {"action": "off"}}, {"images": ["*b"], "scan": {"action": "off"}}],
        });
        assert_eq!(without_rollout(&settings), expected);
        assert_eq!(without_rollout(&json!({})), json!({"rollout": {"action": "off"}}));
        assert_eq!(without_rollout(&json!(null)), json!(null));
    }
}
