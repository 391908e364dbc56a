//! How much room there is for the annotations of a pod.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::annotation;

/// The most bytes that Kubernetes lets all annotations of an object have together, keys and values.
pub(super) const MOST_OF_ALL: usize = 256 * 1024;

/// The room for the scans of a pod's containers.
#[derive(Debug)]
pub(super) struct Room {
    /// What each scan may have, so that those of the other containers fit, too.
    share: usize,
    /// What is left for each of those that are written now.
    left: usize,
}

impl Room {
    /// Finds it beside the annotations that are there. `own` are the keys for the scans of the pod's containers, and
    /// `written` are those of them that are written now.
    pub(super) fn beside(
        annotations: Option<&Map<String, Value>>,
        own: &BTreeSet<String>,
        written: &BTreeSet<String>,
    ) -> Self {
        let others = |keys: &BTreeSet<String>| {
            let others = annotations.into_iter().flatten().filter(|(key, _)| !keys.contains(*key));
            others.map(|(key, value)| key.len() + value.as_str().map_or(0, str::len)).sum()
        };
        let each = |keys: &BTreeSet<String>| MOST_OF_ALL.saturating_sub(others(keys)) / keys.len().max(1);
        Self { share: each(own), left: each(written) }
    }

    /// The most bytes of the annotation with this key.
    pub(super) fn of(&self, key: &str) -> usize {
        self.share.min(self.left).saturating_sub(key.len()).min(annotation::MOST)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};

    use super::super::annotation::MOST;
    use super::{MOST_OF_ALL, Room};

    fn keys(number: usize) -> BTreeSet<String> {
        (0..number).map(|number| format!("k{number:02}")).collect()
    }

    fn room(annotations: &Value, own: usize, written: usize) -> usize {
        Room::beside(annotations.as_object(), &keys(own), &keys(written)).of("k00")
    }

    #[test]
    fn a_few_scans_have_all_the_room_that_one_may_have() {
        assert_eq!(room(&Value::Null, 1, 1), MOST);
        assert_eq!(room(&json!({"k00": "x".repeat(MOST), "other": "y".repeat(1000)}), 7, 1), MOST);
    }

    #[test]
    fn many_scans_share_the_room_whether_they_are_written_now_or_later() {
        assert_eq!(room(&Value::Null, 20, 20), MOST_OF_ALL / 20 - 3);
        assert_eq!(room(&Value::Null, 20, 1), MOST_OF_ALL / 20 - 3);
        assert_eq!(room(&json!({"o": "x".repeat(MOST_OF_ALL / 2 - 1)}), 20, 1), MOST_OF_ALL / 40 - 3);
    }

    #[test]
    fn what_others_have_taken_is_not_there() {
        let taken = json!({"k01": "x".repeat(MOST_OF_ALL - 1000)});
        assert_eq!(room(&taken, 2, 1), 1000 - 3 - 3);
        assert_eq!(room(&json!({"o": "x".repeat(MOST_OF_ALL)}), 2, 1), 0);
    }
}
