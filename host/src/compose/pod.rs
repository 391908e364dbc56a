//! The pod as which a service is judged.

use container_patch_policy::workload::record_keys;
use serde_json::{Map, Value, json};

/// Beginnings of the keys of annotations that only the policy writes: records of digests.
const RECORDS: [&str; 4] =
    [record_keys::CONTAINER, record_keys::VOLUME, record_keys::OTHER_CONTAINER, record_keys::RESOLVED];

/// What a pod needs of a service.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    /// The name of the service, which is the name of the pod and of its container.
    pub(crate) name: String,
    /// The image of the container. `None` without a container.
    pub(crate) image: Option<String>,
    /// Volumes that are images, each with its name.
    pub(crate) volumes: Vec<(String, String)>,
    /// The labels of the service.
    pub(crate) labels: Vec<(String, String)>,
}

/// The labels of a service as annotations of its pod, for scan annotations and break-glass. A label is never a record of a digest: the
/// policy writes records into pods only, so one in a label is not its own.
pub(crate) fn annotations(labels: impl IntoIterator<Item = (String, String)>) -> Map<String, Value> {
    let is_record = |key: &str| {
        RECORDS.iter().any(|record| key.get(..record.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(record)))
    };
    labels.into_iter().filter(|(key, _)| !is_record(key)).map(|(key, value)| (key, Value::String(value))).collect()
}

/// The pod of a service.
pub(crate) fn pod(service: &ServiceSpec) -> Value {
    let ServiceSpec { name, image, volumes, labels } = service;
    let containers: Vec<_> = image.iter().map(|image| json!({"name": name, "image": image})).collect();
    let volumes: Vec<_> =
        volumes.iter().map(|(name, image)| json!({"name": name, "image": {"reference": image}})).collect();
    let mut pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {"containers": containers},
    });
    let annotations = annotations(labels.iter().cloned());
    if !annotations.is_empty() {
        pod["metadata"]["annotations"] = Value::Object(annotations);
    }
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = Value::Array(volumes);
    }
    pod
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{ServiceSpec, pod};

    fn owned(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_pod_has_the_name_the_images_and_the_labels_of_its_service() {
        let service = ServiceSpec {
            name: "web".to_owned(),
            image: Some("web:1".to_owned()),
            volumes: owned(&[("/data", "data:1")]),
            labels: owned(&[("scan.container-patch.dev/web", "s"), ("a", "b")]),
        };
        assert_eq!(
            pod(&service),
            json!({
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": "web", "annotations": {"a": "b", "scan.container-patch.dev/web": "s"}},
                "spec": {
                    "containers": [{"name": "web", "image": "web:1"}],
                    "volumes": [{"name": "/data", "image": {"reference": "data:1"}}],
                },
            })
        );
    }

    #[test]
    fn a_label_is_never_a_record() {
        let records = [
            "pin.container-patch.dev/web",
            "PIN.container-patch.dev/web",
            "pin.container-patch.dev/recorded-at",
            "volume.pin.container-patch.dev/data",
            "container.pin.container-patch.dev/recorded-at",
            "container-patch.dev/resolved",
        ];
        let labels = owned(&records.map(|key| (key, "x")));
        let service = ServiceSpec { name: "web".to_owned(), labels, ..ServiceSpec::default() };
        assert_eq!(pod(&service)["metadata"], json!({"name": "web"}));
    }
}
