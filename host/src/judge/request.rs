//! The admission request for creating an object of a manifest.

use container_patch_policy::image::Reference;
use serde_json::{Value, json};

use super::verdict::{ObjectName, SkipReason};
use crate::admission::{AdmissionRequest, GroupVersionKind, GroupVersionResource, UserInfo};
use crate::compose;
use crate::json_type::json_type;
use crate::manifest::ServicePlace;

/// Keys for containers in common custom kinds.
const CONTAINER_KEYS: [&str; 8] =
    ["containers", "initContainers", "ephemeralContainers", "container", "steps", "sidecars", "script", "stepTemplate"];

/// The API groups of Kubernetes in which no kind has pods. Other groups whose names end with `.k8s.io` may have some, such as
/// that of the Spark operator.
const GROUPS_WITHOUT_PODS: [&str; 27] = [
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "certificates.k8s.io",
    "config.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "gateway.networking.k8s.io",
    "imagepolicy.k8s.io",
    "internal.apiserver.k8s.io",
    "kustomize.config.k8s.io",
    "metrics.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "policy.networking.k8s.io",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "snapshot.storage.k8s.io",
    "storage.k8s.io",
    "storagemigration.k8s.io",
];

/// The API groups of policy engines, whose objects have patterns and reports that look like containers. A leading dot stands
/// for the groups below a domain.
const POLICY_ENGINES: [&str; 8] = [
    "kyverno.io",
    ".kyverno.io",
    ".gatekeeper.sh",
    "policies.kubewarden.io",
    "policy.sigstore.dev",
    "policy.jspolicy.com",
    "openreports.io",
    "wgpolicyk8s.io",
];

/// The kinds without pods in the groups in which others have pods.
const CORE_KINDS_WITHOUT_PODS: [&str; 17] = [
    "Binding",
    "ComponentStatus",
    "ConfigMap",
    "Endpoints",
    "Event",
    "LimitRange",
    "List",
    "Namespace",
    "Node",
    "PersistentVolume",
    "PersistentVolumeClaim",
    "ResourceQuota",
    "Secret",
    "Service",
    "ServiceAccount",
    "Status",
    "Table",
];

/// Why an object of a kind that the policy does not know need not be judged. None if it may create pods.
///
/// In a cluster the policy gets no requests about such objects.
pub(super) fn skip_reason(kind: &GroupVersionKind, object: &Value) -> Option<SkipReason> {
    let GroupVersionKind { group, kind, .. } = kind;
    let is_engine = POLICY_ENGINES.iter().any(|engine| match engine.strip_prefix('.') {
        Some(_) => group.ends_with(engine),
        None => group == engine,
    });
    if is_engine
        || GROUPS_WITHOUT_PODS.contains(&group.as_str())
        || (group.is_empty() && CORE_KINDS_WITHOUT_PODS.contains(&kind.as_str()))
    {
        return Some(SkipReason::KindWithoutPods);
    }
    (!names_images(object)).then_some(SkipReason::UnknownKindWithoutImages)
}

/// Whether an object of any kind has a container with an image.
fn names_images(value: &Value) -> bool {
    let is_container = |value: &Value| value["image"].as_str().is_some_and(|image| Reference::parse(image).is_ok());
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

/// Why an object cannot be requested.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NoRequest {
    /// The document is not a Kubernetes object.
    NotKubernetes(String),
    /// The object is invalid.
    Invalid(String),
}

/// The kind, namespace and name of the object of a request.
pub(super) fn object_name(request: &AdmissionRequest) -> ObjectName {
    let GroupVersionKind { group, version, kind } = &request.kind;
    ObjectName {
        api_version: if group.is_empty() { version.clone() } else { format!("{group}/{version}") },
        kind: kind.clone(),
        namespace: request.namespace.clone(),
        name: request.name.clone(),
    }
}

/// The name of a service of a Compose file, which is not a Service of Kubernetes.
pub(super) fn service_name(service: &ServicePlace, namespace: &str) -> ObjectName {
    ObjectName {
        api_version: "compose".to_owned(),
        kind: compose::KIND.to_owned(),
        namespace: Some(namespace.to_owned()),
        name: Some(service.name.clone()),
    }
}

/// The request of an API server for creating the object.
pub(super) fn request(object: &Value, namespace: &str) -> Result<AdmissionRequest, NoRequest> {
    let not_kubernetes = |reason: &str| Err(NoRequest::NotKubernetes(format!("not a Kubernetes object: {reason}")));
    if !object.is_object() {
        return not_kubernetes(&format!("expected an object, found {}", json_type(object)));
    }
    // Helm's Chart.yaml has an `apiVersion` and no kind. With containers, or with a kind only, it is more likely a Kubernetes object
    // with a mistake.
    if object["kind"].is_null() && (object["apiVersion"].is_null() || !names_images(object)) {
        return not_kubernetes(match &object["apiVersion"] {
            Value::Null => "`apiVersion` and `kind` are missing",
            _ => "`kind` is missing",
        });
    }
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let required = |key: &str| {
        text(&object[key]).ok_or_else(|| {
            NoRequest::Invalid(match &object[key] {
                Value::Null | Value::String(_) => format!("invalid Kubernetes object: `{key}` is required"),
                other => format!("invalid Kubernetes object: `{key}`: expected a string, found {}", json_type(other)),
            })
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
    use serde_json::{Value, json};

    use super::{NoRequest, names_images, object_name, request, resource, skip_reason};
    use crate::judge::verdict::SkipReason;

    #[test]
    fn a_request_has_the_kind_and_name_of_the_manifest() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        let made = request(&object, "default").unwrap();
        assert_eq!((made.kind.group.as_str(), made.kind.version.as_str()), ("apps", "v1"));
        assert_eq!(made.resource.resource, "deployments");
        assert_eq!(object_name(&made).to_string(), "Deployment shop/web");
        assert_eq!(object_name(&made).api_version, "apps/v1");
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"}});
        assert_eq!(object_name(&request(&object, "default").unwrap()).to_string(), "Pod default/job-…");
    }

    #[test]
    fn resources_are_guessed_as_kubectl_does() {
        let guessed = ["Pod", "NetworkPolicy", "Ingress", "Endpoints", "CloneSet"].map(resource);
        assert_eq!(guessed, ["pods", "networkpolicies", "ingresses", "endpoints", "clonesets"]);
    }

    #[test]
    fn an_object_with_an_incomplete_type_is_invalid() {
        let error = |object| match request(&object, "default").unwrap_err() {
            NoRequest::Invalid(error) => error,
            other => panic!("{other:?}"),
        };
        assert_eq!(error(json!({"kind": "Pod"})), "invalid Kubernetes object: `apiVersion` is required");
        let pod = json!({"apiVersion": "v1", "Kind": "Pod", "spec": {"containers": [{"name": "a", "image": "nginx"}]}});
        assert_eq!(error(pod), "invalid Kubernetes object: `kind` is required");
        assert_eq!(error(json!({"apiVersion": "v1", "kind": ""})), "invalid Kubernetes object: `kind` is required");
        assert_eq!(
            error(json!({"apiVersion": "v1", "kind": 7})),
            "invalid Kubernetes object: `kind`: expected a string, found a number"
        );
    }

    #[test]
    fn a_document_without_a_kind_and_containers_is_not_a_kubernetes_object() {
        let reason = |object: Value| match request(&object, "default").unwrap_err() {
            NoRequest::NotKubernetes(reason) => reason,
            other => panic!("{other:?}"),
        };
        let missing = "not a Kubernetes object: `apiVersion` and `kind` are missing";
        assert_eq!(reason(json!({"services": {"web": {"image": "nginx"}}})), missing);
        assert_eq!(reason(json!({})), missing);
        assert_eq!(
            reason(json!({"apiVersion": "v2", "name": "shop", "version": "1.0.0"})),
            "not a Kubernetes object: `kind` is missing"
        );
        assert_eq!(reason(json!(["a"])), "not a Kubernetes object: expected an object, found a list");
        assert_eq!(reason(json!("a")), "not a Kubernetes object: expected an object, found a string");
    }

    #[test]
    fn a_workload_is_detected_by_its_containers() {
        assert!(names_images(&json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}})));
        assert!(names_images(&json!({"spec": {"templates": [{"spec": {"containers": [{}, {"image": "a"}]}}]}})));
        assert!(names_images(&json!({"spec": {"initContainers": [{"image": "a"}]}})));
        assert!(names_images(&json!({"spec": {"templates": [{"container": {"image": "a"}}]}})));
        assert!(names_images(&json!({"spec": {"steps": [{"image": "a"}]}})));
        assert!(!names_images(&json!({"spec": {"containers": [{"name": "a"}], "image": "logo.png"}})));
        assert!(!names_images(&json!({"spec": {"containers": [{"image": "!*:latest"}, {"image": ""}]}})));
    }

    #[test]
    fn policies_and_kinds_of_kubernetes_without_pods_are_skipped_whatever_they_contain() {
        let skipped = |api_version: &str, kind: &str| {
            let containers = json!({"containers": [{"name": "a", "image": "nginx"}]});
            let object = json!({"apiVersion": api_version, "kind": kind, "spec": {"template": {"spec": containers}}});
            skip_reason(&request(&object, "default").unwrap().kind, &object)
        };
        for (api_version, kind) in [
            ("kyverno.io/v1", "ClusterPolicy"),
            ("policies.kyverno.io/v1", "ValidatingPolicy"),
            ("templates.gatekeeper.sh/v1", "ConstraintTemplate"),
            ("constraints.gatekeeper.sh/v1beta1", "K8sAllowedRepos"),
            ("mutations.gatekeeper.sh/v1", "Assign"),
            ("policies.kubewarden.io/v1", "ClusterAdmissionPolicy"),
            ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
            ("admissionregistration.k8s.io/v1", "ValidatingAdmissionPolicy"),
            ("v1", "ConfigMap"),
        ] {
            assert_eq!(skipped(api_version, kind), Some(SkipReason::KindWithoutPods), "{api_version} {kind}");
        }
        for (api_version, kind) in [
            ("argoproj.io/v1alpha1", "Rollout"),
            ("extensions/v1beta1", "Deployment"),
            ("v1", "Deployment"),
            ("jobset.x-k8s.io/v1alpha2", "JobSet"),
            ("sparkoperator.k8s.io/v1beta2", "SparkApplication"),
            ("notkyverno.io/v1", "ClusterPolicy"),
        ] {
            assert_eq!(skipped(api_version, kind), None, "{api_version} {kind}");
        }
        let widget = json!({"apiVersion": "example.com/v1", "kind": "Widget", "spec": {"size": 3}});
        let kind = request(&widget, "default").unwrap().kind;
        assert_eq!(skip_reason(&kind, &widget), Some(SkipReason::UnknownKindWithoutImages));
    }
}
