//! The admission request for creating an object of a manifest.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::admission::{AdmissionRequest, GroupVersionKind, GroupVersionResource, UserInfo};
use crate::json_type::json_type;

/// Keys for containers in common custom kinds.
const CONTAINER_KEYS: [&str; 8] =
    ["containers", "initContainers", "ephemeralContainers", "container", "steps", "sidecars", "script", "stepTemplate"];

/// Whether an object of any kind has a container with an image.
pub(super) fn names_images(value: &Value) -> bool {
    let is_container = |value: &Value| value["image"].is_string();
    let are_containers = |value: &Value| match value {
        Value::Array(list) => list.iter().any(is_container),
        other => is_container(other),
    };
    match value {
        Value::Object(fields) => {
            CONTAINER_KEYS.iter().filter_map(|key| fields.get(*key)).any(are_containers)
                || fields.values().any(names_images)
        }
        Value::Array(items) => items.iter().any(names_images),
        _ => false,
    }
}

/// The kind, namespace and name of the object of a request.
pub(super) fn title(request: &AdmissionRequest) -> String {
    let kind = &request.kind.kind;
    let name = request.name.as_deref().unwrap_or("(no name)");
    match &request.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The request of an API server for creating the object.
pub(super) fn request(object: &Value, namespace: &str) -> Result<AdmissionRequest> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let required = |key: &str| {
        text(&object[key]).with_context(|| match &object[key] {
            Value::Null | Value::String(_) => format!("invalid Kubernetes object: `{key}` is required"),
            other => format!("invalid Kubernetes object: `{key}`: expected a string, found {}", json_type(other)),
        })
    };
    let api_version = required("apiVersion")?;
    let kind = required("kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind };
    let resource =
        GroupVersionResource { group: gvk.group.clone(), version: gvk.version.clone(), resource: resource(&gvk.kind) };
    let metadata = &object["metadata"];
    let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"]).map(|prefix| prefix + "…"));
    Ok(AdmissionRequest {
        uid: "container-patch-check".to_owned(),
        request_kind: Some(gvk.clone()),
        request_resource: Some(resource.clone()),
        kind: gvk,
        resource,
        name,
        namespace: Some(text(&metadata["namespace"]).unwrap_or_else(|| namespace.to_owned())),
        operation: "CREATE".to_owned(),
        user_info: UserInfo {
            username: Some("container-patch".to_owned()),
            groups: Some(vec!["system:authenticated".to_owned()]),
            ..UserInfo::default()
        },
        object: Some(object.clone()),
        dry_run: Some(true),
        options: Some(json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"})),
        ..AdmissionRequest::default()
    })
}

/// The resource of a kind, guessed as `kubectl` does without a cluster. It is right for the kinds of Kubernetes.
fn resource(kind: &str) -> String {
    let name = kind.to_lowercase();
    match name.strip_suffix('y') {
        _ if name == "endpoints" => name,
        Some(stem) => format!("{stem}ies"),
        None if name.ends_with('s') => name + "es",
        None => name + "s",
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{names_images, request, resource, title};

    #[test]
    fn a_request_has_the_kind_and_name_of_the_manifest() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        let made = request(&object, "default").unwrap();
        assert_eq!((made.kind.group.as_str(), made.kind.version.as_str()), ("apps", "v1"));
        assert_eq!(made.resource.resource, "deployments");
        assert_eq!(title(&made), "Deployment shop/web");
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"}});
        assert_eq!(title(&request(&object, "default").unwrap()), "Pod default/job-…");
    }

    #[test]
    fn resources_are_guessed_as_kubectl_does() {
        let guessed = ["Pod", "NetworkPolicy", "Ingress", "Endpoints", "CloneSet"].map(resource);
        assert_eq!(guessed, ["pods", "networkpolicies", "ingresses", "endpoints", "clonesets"]);
    }

    #[test]
    fn an_object_without_a_kind_is_invalid() {
        let error = |object| request(&object, "default").unwrap_err().to_string();
        assert_eq!(error(json!({"kind": "Pod"})), "invalid Kubernetes object: `apiVersion` is required");
        assert_eq!(error(json!({"apiVersion": "v1", "kind": ""})), "invalid Kubernetes object: `kind` is required");
    }

    #[test]
    fn a_workload_is_detected_by_its_containers() {
        assert!(names_images(&json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}})));
        assert!(names_images(&json!({"spec": {"templates": [{"spec": {"containers": [{}, {"image": "a"}]}}]}})));
        assert!(names_images(&json!({"spec": {"initContainers": [{"image": "a"}]}})));
        assert!(names_images(&json!({"spec": {"templates": [{"container": {"image": "a"}}]}})));
        assert!(names_images(&json!({"spec": {"steps": [{"image": "a"}]}})));
        assert!(!names_images(&json!({"spec": {"containers": [{"name": "a"}], "image": "logo.png"}})));
    }
}
