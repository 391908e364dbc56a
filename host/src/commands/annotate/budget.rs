//! How many bytes the annotations of a pod may have.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::annotation;

/// Kubernetes' limit for all annotations of an object together, keys and values.
pub(super) const MAX_BYTES_OF_ALL: usize = 256 * 1024;

/// The bytes for the scan annotations of a pod's containers.
#[derive(Debug)]
pub(super) struct ByteBudget {
    /// The share of each container, so that those of all containers fit.
    share: usize,
    /// The bytes that are free for each annotation that is written now.
    free: usize,
}

impl ByteBudget {
    /// Counts the existing annotations. `own` are the keys for the scans of the pod's containers, and `written` are those of
    /// them that are written now.
    pub(super) fn new(
        annotations: Option<&Map<String, Value>>,
        own: &BTreeSet<String>,
        written: &BTreeSet<String>,
    ) -> Self {
        let others = |keys: &BTreeSet<String>| {
            let others = annotations.into_iter().flatten().filter(|(key, _)| !keys.contains(*key));
            others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
        };
        let each = |keys: &BTreeSet<String>| MAX_BYTES_OF_ALL.saturating_sub(others(keys)) / keys.len().max(1);
        Self { share: each(own), free: each(written) }
    }

    /// The maximum size of the annotation with this key.
    pub(super) fn for_key(&self, key: &str) -> usize {
        self.share.min(self.free).saturating_sub(key.len()).min(annotation::MAX_BYTES)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::annotation::MAX_BYTES;
    use super::{ByteBudget, MAX_BYTES_OF_ALL};

    fn keys(number: usize) -> BTreeSet<String> {
        (0..number).map(|number| format!("k{number:02}")).collect()
    }

    fn bytes(annotations: &Value, own: usize, written: usize) -> usize {
        ByteBudget::new(annotations.as_object(), &keys(own), &keys(written)).for_key("k00")
    }

    #[test]
    fn a_few_annotations_may_have_the_maximum_size() {
        assert_eq!(bytes(&Value::Null, 1, 1), MAX_BYTES);
        assert_eq!(bytes(&json!({"k00": "x".repeat(MAX_BYTES), "other": "y".repeat(1000)}), 7, 1), MAX_BYTES);
    }

    #[test]
    fn many_annotations_share_the_bytes_whether_they_are_written_now_or_later() {
        assert_eq!(bytes(&Value::Null, 20, 20), MAX_BYTES_OF_ALL / 20 - 3);
        assert_eq!(bytes(&Value::Null, 20, 1), MAX_BYTES_OF_ALL / 20 - 3);
        assert_eq!(bytes(&json!({"o": "x".repeat(MAX_BYTES_OF_ALL / 2 - 1)}), 20, 1), MAX_BYTES_OF_ALL / 40 - 3);
    }

    #[test]
    fn the_bytes_of_other_annotations_are_not_free() {
        let others = json!({"k01": "x".repeat(MAX_BYTES_OF_ALL - 1000)});
        assert_eq!(bytes(&others, 2, 1), 1000 - 3 - 3);
        assert_eq!(bytes(&json!({"o": "x".repeat(MAX_BYTES_OF_ALL)}), 2, 1), 0);
    }
}
