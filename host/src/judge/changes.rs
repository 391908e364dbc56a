//! The changes of the policy to an object: rewritten images, and records of digests in pod templates.

use std::fmt;

use container_patch_policy::workload::record_keys;
use container_patch_policy::workload::site::IMAGE_FIELDS;
use serde::Serialize;
use serde_json::Value;

/// Prefixes of the records of containers. The longer one is for a container named `recorded-at`.
const CONTAINER_PREFIXES: [&str; 2] = [record_keys::CONTAINER, record_keys::OTHER_CONTAINER];

/// The digest that is recorded for a container or volume of a pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Record {
    /// The container or volume with the image.
    #[serde(flatten)]
    pub target: RecordTarget,
    /// The name and tag of the image, and its digest.
    pub image: String,
    /// The pod template, as a JSON pointer. An object of a custom kind may have several.
    pub template: String,
}

/// A container or volume of a pod template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RecordTarget {
    /// A container, init container or ephemeral container of this name.
    Container(String),
    /// A volume of this name.
    Volume(String),
}

impl RecordTarget {
    /// Reads the key of an annotation, if it is a record.
    fn of_key(key: &str) -> Option<Self> {
        if key == record_keys::RECORDED_AT {
            return None;
        }
        if let Some(name) = key.strip_prefix(record_keys::VOLUME) {
            return Some(Self::Volume(name.to_owned()));
        }
        let name = CONTAINER_PREFIXES.iter().find_map(|prefix| key.strip_prefix(prefix))?;
        Some(Self::Container(name.to_owned()))
    }
}

impl fmt::Display for RecordTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Container(name) => write!(f, "container `{name}`"),
            Self::Volume(name) => write!(f, "volume `{name}`"),
        }
    }
}

/// The changed images and records.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The new values of image fields.
    pub(crate) pinned: Vec<String>,
    /// The records that are added or replaced. Removed records are not listed.
    pub(crate) recorded: Vec<Record>,
}

impl Changes {
    /// Compares an object before and after the policy changed it.
    ///
    /// It searches the whole object, since only the settings know where custom kinds have their pod templates.
    pub(crate) fn between(before: &Value, after: &Value) -> Self {
        let mut changes = Self::default();
        changes.compare(Some(before), after, &mut Vec::new());
        changes
    }

    fn compare(&mut self, before: Option<&Value>, after: &Value, path: &mut Vec<String>) {
        match after {
            Value::Object(fields) => {
                for (key, after) in fields {
                    path.push(key.clone());
                    self.compare(before.and_then(|before| before.get(key)), after, path);
                    path.pop();
                }
            }
            Value::Array(items) => {
                for (index, after) in items.iter().enumerate() {
                    path.push(index.to_string());
                    self.compare(before.and_then(|before| before.get(index)), after, path);
                    path.pop();
                }
            }
            Value::String(text) if before != Some(after) => self.add(path, text),
            _ => {}
        }
    }

    /// Adds a changed string, if it is an image or a record.
    fn add(&mut self, path: &[String], text: &str) {
        let keys: Vec<&str> = path.iter().map(String::as_str).collect();
        match keys[..] {
            [ref template @ .., "metadata", "annotations", key] => {
                let record = |target| Record { target, image: text.to_owned(), template: pointer(template) };
                self.recorded.extend(RecordTarget::of_key(key).map(record));
            }
            ref path if is_image(path) => self.pinned.push(text.to_owned()),
            _ => {}
        }
    }
}

/// Whether a path leads to an image in a pod's spec.
fn is_image(path: &[&str]) -> bool {
    IMAGE_FIELDS.iter().any(|field| {
        let entry = path.strip_suffix(field.image);
        entry.is_some_and(|entry| matches!(entry, [.., list, _] if *list == field.list))
    })
}

/// The JSON pointer (RFC 6901) of these keys.
fn pointer(keys: &[&str]) -> String {
    keys.iter().map(|key| format!("/{}", key.replace('~', "~0").replace('/', "~1"))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Changes;

    /// The changes, in the format of `check`.
    fn changes(before: &Value, after: &Value) -> (Vec<String>, Value) {
        let Changes { pinned, recorded } = Changes::between(before, after);
        (pinned, serde_json::to_value(recorded).unwrap())
    }

    /// An object with a template at a JSON pointer without escapes.
    fn at(pointer: &str, template: Value) -> Value {
        pointer.rsplit('/').filter(|key| !key.is_empty()).fold(template, |object, key| json!({ (key): object }))
    }

    #[test]
    fn records_of_any_template_are_listed() {
        let spec = json!({"containers": [{"name": "app", "image": "web:1"}]});
        let bare = json!({ "spec": spec });
        let recorded = json!({"spec": spec, "metadata": {"annotations": {
            "pin.container-patch.dev/app": "docker.io/library/web:1@sha256:a",
            "pin.container-patch.dev/recorded-at": "2026-11-21T19:08:50.123456Z",
        }}});
        for pointer in ["/template", "/spec/template", "/spec/jobTemplate/spec/template", "/spec/groups/leader"] {
            let expected = json!([
                {"container": "app", "image": "docker.io/library/web:1@sha256:a", "template": pointer}
            ]);
            let (before, after) = (at(pointer, bare.clone()), at(pointer, recorded.clone()));
            assert_eq!(changes(&before, &after), (vec![], expected.clone()), "{pointer}");
            // The metadata in the manifest makes no difference.
            for metadata in [json!(null), json!({}), json!({"annotations": null}), json!({"annotations": {"a": "b"}})] {
                let mut bare = bare.clone();
                bare["metadata"] = metadata;
                assert_eq!(changes(&at(pointer, bare), &after).1, expected, "{pointer}");
            }
        }
    }

    #[test]
    fn templates_in_lists_are_distinguished() {
        let before = json!({"spec": {"a/b": [{"spec": {}}, {"spec": {}}]}});
        let mut after = before.clone();
        for (index, digest) in ["n:1@sha256:a", "n:1@sha256:b"].into_iter().enumerate() {
            after["spec"]["a/b"][index]["metadata"]["annotations"]["pin.container-patch.dev/app"] = json!(digest);
        }
        let expected = json!([
            {"container": "app", "image": "n:1@sha256:a", "template": "/spec/a~1b/0"},
            {"container": "app", "image": "n:1@sha256:b", "template": "/spec/a~1b/1"},
        ]);
        assert_eq!(changes(&before, &after).1, expected);
    }

    #[test]
    fn containers_and_volumes_are_distinguished_even_with_the_same_name() {
        let before = json!({"spec": {"template": {}}});
        let after = json!({"spec": {"template": {"metadata": {"annotations": {
            "container.pin.container-patch.dev/recorded-at": "a:1@sha256:a",
            "pin.container-patch.dev/data": "b:1@sha256:b",
            "pin.container-patch.dev/recorded-at": "2026-11-21T19:08:50.123456Z",
            "volume.pin.container-patch.dev/data": "c:1@sha256:c",
            "scan.container-patch.dev/data": "d",
            "pin.container-patch.dev.example.com/data": "e",
        }}}}});
        let expected = json!([
            {"container": "recorded-at", "image": "a:1@sha256:a", "template": "/spec/template"},
            {"container": "data", "image": "b:1@sha256:b", "template": "/spec/template"},
            {"volume": "data", "image": "c:1@sha256:c", "template": "/spec/template"},
        ]);
        assert_eq!(changes(&before, &after).1, expected);
    }

    #[test]
    fn unchanged_and_removed_records_are_not_listed() {
        let template = |annotations: Value| json!({"spec": {"template": {"metadata": {"annotations": annotations}}}});
        let before = template(json!({
            "pin.container-patch.dev/gone": "a:1@sha256:a",
            "pin.container-patch.dev/renewed": "b:1@sha256:b",
            "pin.container-patch.dev/stays": "c:1@sha256:c",
            "pin.container-patch.dev/recorded-at": "2026-11-20T00:00:00.000000Z",
        }));
        assert_eq!(changes(&before, &before), (vec![], json!([])));
        let after = template(json!({
            "pin.container-patch.dev/renewed": "b:1@sha256:d",
            "pin.container-patch.dev/stays": "c:1@sha256:c",
            "pin.container-patch.dev/recorded-at": "2026-11-21T00:00:00.000000Z",
        }));
        let expected = json!([{"container": "renewed", "image": "b:1@sha256:d", "template": "/spec/template"}]);
        assert_eq!(changes(&before, &after).1, expected);
    }

    #[test]
    fn only_image_fields_are_listed_as_pinned() {
        let spec = |digest: &str| {
            let image = |name: &str| json!([{"name": "a", "image": format!("{name}{digest}")}]);
            json!({
                "containers": image("one"), "initContainers": image("two"), "ephemeralContainers": image("three"),
                "volumes": [{"name": "v", "image": {"reference": format!("four{digest}"), "pullPolicy": "Always"}}],
            })
        };
        let pinned = ["one@sha256:a", "three@sha256:a", "two@sha256:a", "four@sha256:a"];
        let pod = |digest| json!({"metadata": {}, "spec": spec(digest)});
        let (before, mut after) = (pod(""), pod("@sha256:a"));
        // This annotation is not a record: it lists the digests that the policy looked up.
        after["metadata"]["annotations"] = json!({"container-patch.dev/resolved": "a,volume/v"});
        assert_eq!(changes(&before, &after), (pinned.map(str::to_owned).to_vec(), json!([])));
        // Before Kubernetes 1.22 ephemeral containers had an object of their own.
        let ephemeral = |image: &str| json!({"ephemeralContainers": [{"name": "a", "image": image}]});
        assert_eq!(changes(&ephemeral("a"), &ephemeral("a@sha256:a")).0, ["a@sha256:a"]);
        let other = |image: &str| json!({"spec": {"image": image, "screenshots": [{"image": image}]}});
        assert_eq!(changes(&other("a"), &other("b")), (vec![], json!([])));
    }
}
