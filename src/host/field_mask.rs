//! Kubewarden's field masks: which fields of a resource a policy asks for.

use std::collections::BTreeMap;

use serde_json::Value;

/// The fields to keep, as a tree of their names. A field without fields below it is kept whole. An empty mask keeps
/// everything.
///
/// ```
/// use container_patch_policy::host::field_mask::FieldMask;
/// use serde_json::json;
///
/// let mut pod = json!({"spec": {"nodeName": "a", "containers": [{"name": "app", "image": "web:1"}]}});
/// FieldMask::from_paths(["spec.containers.image"]).prune(&mut pod);
/// assert_eq!(pod, json!({"spec": {"containers": [{"image": "web:1"}]}}));
/// ```
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct FieldMask(BTreeMap<String, Self>);

impl FieldMask {
    /// The mask of paths such as `spec.containers.image`. A path continues in the items of a list without an index.
    #[must_use]
    pub fn from_paths<'p>(paths: impl IntoIterator<Item = &'p str>) -> Self {
        let mut mask = Self::default();
        for path in paths {
            path.split('.').fold(&mut mask, |mask, name| mask.0.entry(name.to_owned()).or_default());
        }
        mask
    }

    /// Removes the fields that are not in the mask.
    pub fn prune(&self, value: &mut Value) {
        if self.0.is_empty() {
            return;
        }
        match value {
            Value::Object(fields) => fields.retain(|name, value| {
                let below = self.0.get(name);
                if let Some(below) = below {
                    below.prune(value);
                }
                below.is_some()
            }),
            Value::Array(items) => items.iter_mut().for_each(|item| self.prune(item)),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::FieldMask;

    fn pruned(paths: &[&str], mut value: Value) -> Value {
        FieldMask::from_paths(paths.iter().copied()).prune(&mut value);
        value
    }

    #[test]
    fn fields_that_are_not_in_the_mask_are_removed() {
        let status = json!({"spec": {"replicas": 2, "paused": true}, "status": {"replicas": 1}});
        assert_eq!(pruned(&["spec.replicas"], status.clone()), json!({"spec": {"replicas": 2}}));
        assert_eq!(
            pruned(&["spec.paused", "status"], status),
            json!({"spec": {"paused": true}, "status": {"replicas": 1}})
        );
    }

    #[test]
    fn a_path_continues_in_the_items_of_a_list() {
        let spec = json!({"report": [{"results": [{"cve": "CVE-2026-1", "title": "x"}, {"cve": "CVE-2026-2"}]}, 3]});
        assert_eq!(
            pruned(&["report.results.cve"], spec),
            json!({"report": [{"results": [{"cve": "CVE-2026-1"}, {"cve": "CVE-2026-2"}]}, 3]})
        );
    }

    #[test]
    fn a_path_that_ends_nowhere_keeps_the_fields_above_it() {
        assert_eq!(pruned(&["a.b.c", "x"], json!({"a": {"b": "text", "c": 1}})), json!({"a": {"b": "text"}}));
        assert_eq!(pruned(&["x"], json!({"a": 1})), json!({}));
    }

    #[test]
    fn the_longer_of_two_paths_wins() {
        assert_eq!(pruned(&["a", "a.b"], json!({"a": {"b": 1, "c": 2}})), json!({"a": {"b": 1}}));
    }

    #[test]
    fn an_empty_mask_keeps_everything() {
        assert_eq!(pruned(&[], json!({"a": {"b": 1}})), json!({"a": {"b": 1}}));
    }
}
