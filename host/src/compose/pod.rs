//! The pod as which a service is judged.

use serde_json::{Value, json};

use crate::swarm::pod::annotations;

/// What a pod needs of a service.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct ServiceSpec {
    /// The name of the service, which is the name of the pod and of its container.
    pub(crate) name: String,
    /// The image of the container. `None` without a container.
    pub(crate) image: Option<String>,
    /// Volumes that are images, each with its name.
    pub(crate) volumes: Vec<(String, String)>,
    /// The labels of the service, for scan annotations and break-glass.
    pub(crate) labels: Vec<(String, String)>,
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
    let annotations = annotations(labels.iter().map(|(key, value)| (key.clone(), value.as_str().into())).collect());
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
            volumes: owned(&[("mount-1", "data:1")]),
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
                    "volumes": [{"name": "mount-1", "image": {"reference": "data:1"}}],
                },
            })
        );
    }

    #[test]
    fn a_label_is_never_a_record() {
        let records = [
            "pin.container-patch.dev/web",
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
