//! The fields of an object that a policy wants to see.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Fields to keep, as a tree of their names. One without any below it keeps everything; so does an empty mask.
#[derive(Debug, Default)]
pub(super) struct FieldMask(BTreeMap<String, Self>);

impl FieldMask {
    /// The mask of paths such as `spec.containers.image`, in which arrays go without saying.
    pub(super) fn of(paths: &BTreeSet<String>) -> Self {
        let mut mask = Self::default();
        for path in paths {
            path.split('.').fold(&mut mask, |mask, name| mask.0.entry(name.to_owned()).or_default());
        }
        mask
    }

    /// Removes what the mask does not name.
    pub(super) fn prune(&self, value: &mut Value) {
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
        FieldMask::of(&paths.iter().map(|path| (*path).to_owned()).collect()).prune(&mut value);
        value
    }

    #[test]
    fn what_no_path_names_is_removed() {
        let status = json!({"spec": {"replicas": 2, "paused": true}, "status": {"replicas": 1}});
        assert_eq!(pruned(&["spec.replicas"], status.clone()), json!({"spec": {"replicas": 2}}));
        assert_eq!(
            pruned(&["spec.paused", "status"], status),
            json!({"spec": {"paused": true}, "status": {"replicas": 1}})
        );
    }

    #[test]
    fn a_path_leads_through_arrays() {
        let spec = json!({"report": [{"results": [{"cve": "CVE-2026-1", "title": "x"}, {"cve": "CVE-2026-2"}]}, 3]});
        assert_eq!(
            pruned(&["report.results.cve"], spec),
            json!({"report": [{"results": [{"cve": "CVE-2026-1"}, {"cve": "CVE-2026-2"}]}, 3]})
        );
    }

    #[test]
    fn a_path_that_leads_nowhere_keeps_what_is_above_it() {
        assert_eq!(pruned(&["a.b.c", "x"], json!({"a": {"b": "text", "c": 1}})), json!({"a": {"b": "text"}}));
        assert_eq!(pruned(&["x"], json!({"a": 1})), json!({}));
    }

    #[test]
    fn the_longer_of_two_paths_counts() {
        assert_eq!(pruned(&["a", "a.b"], json!({"a": {"b": 1, "c": 2}})), json!({"a": {"b": 1}}));
    }

    #[test]
    fn no_paths_keep_everything() {
        assert_eq!(pruned(&[], json!({"a": {"b": 1}})), json!({"a": {"b": 1}}));
    }
}
