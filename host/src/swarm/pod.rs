//! A Swarm service as a pod.
//!
//! The policy knows pods. A service has the same parts: a name, labels that its author writes, and an image for its tasks.

use container_patch_policy::workload::record_keys::{CONTAINER, OTHER_CONTAINER, RESOLVED, VOLUME};
use serde_json::{Map, Value, json};

/// The label with the name of the stack. `docker stack deploy` writes it, and puts the stack before the name of each service.
pub const STACK: &str = "com.docker.stack.namespace";

/// The name of the container if the service has no valid name.
const DEFAULT_CONTAINER: &str = "app";

/// The longest name of a service.
const MAX_NAME: usize = 63;

/// The pod for a service, from its `Spec` as the Engine API writes it. The container has the name of the service, without the name of
/// its stack, so that it is the name in the stack file. A service that only attaches containers to a network has no container.
///
/// The labels of the service are the annotations of the pod, without the annotations that only the policy itself writes.
///
/// # Errors
/// When the image of the service cannot be read.
pub fn pod_of_service(spec: &Value) -> Result<Value, String> {
    let Some(fields) = spec.as_object() else { return Err("the service is not a JSON object".to_owned()) };
    let labels = labels(fields.get("Labels"))?;
    let name = fields.get("Name").and_then(Value::as_str).unwrap_or_default();
    let images = images(fields.get("TaskTemplate").unwrap_or(&Value::Null))?;
    let container = container_name(name, labels.get(STACK).and_then(Value::as_str).unwrap_or_default());
    let containers: Vec<Value> = match &images[..] {
        [image] => vec![json!({"name": container, "image": image})],
        _ => images.iter().map(|image| json!({"image": image})).collect(),
    };
    Ok(json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "annotations": annotations(labels)},
        "spec": {"containers": containers},
    }))
}

/// The labels of a service as annotations of a pod. A label cannot stand for a digest that the policy has recorded, because the
/// author of the service writes it.
#[must_use]
pub fn annotations(labels: Map<String, Value>) -> Map<String, Value> {
    let is_ours = |key: &str| {
        key == RESOLVED || [CONTAINER, VOLUME, OTHER_CONTAINER].iter().any(|prefix| key.starts_with(prefix))
    };
    labels.into_iter().filter(|(key, _)| !is_ours(key)).collect()
}

fn labels(labels: Option<&Value>) -> Result<Map<String, Value>, String> {
    let labels = match labels {
        None | Some(Value::Null) => return Ok(Map::new()),
        Some(Value::Object(labels)) => labels,
        Some(_) => return Err("invalid Labels: expected an object of strings".to_owned()),
    };
    match labels.iter().find(|(_, value)| !value.is_string()) {
        Some((key, _)) => Err(format!("invalid label `{key}`: expected a string")),
        None => Ok(labels.clone()),
    }
}

/// The images of a task template. The engine refuses a template with more than one of these specs, or with a spec that its runtime
/// does not have, so all are judged.
fn images(template: &Value) -> Result<Vec<&str>, String> {
    let image = |spec: &str, key: &str| match template.get(spec) {
        None | Some(Value::Null) => None,
        Some(found) => Some((format!("TaskTemplate.{spec}.{key}"), found.get(key))),
    };
    let found = [image("ContainerSpec", "Image"), image("PluginSpec", "Remote")];
    let mut images = Vec::new();
    for (path, value) in found.into_iter().flatten() {
        match value {
            Some(Value::String(text)) if !text.is_empty() => images.push(text.as_str()),
            None | Some(Value::Null | Value::String(_)) => return Err(format!("{path} is required")),
            Some(_) => return Err(format!("invalid {path}: expected a string")),
        }
    }
    let attaches = template.get("Runtime").and_then(Value::as_str) == Some("attachment")
        || template.get("NetworkAttachmentSpec").is_some_and(Value::is_object);
    if images.is_empty() && !attaches {
        return Err("TaskTemplate.ContainerSpec is required".to_owned());
    }
    Ok(images)
}

fn container_name<'n>(service: &'n str, stack: &str) -> &'n str {
    let in_stack = service.strip_prefix(stack).and_then(|rest| rest.strip_prefix('_')).filter(|_| !stack.is_empty());
    let name = in_stack.filter(|name| is_name(name)).unwrap_or(service);
    if is_name(name) { name } else { DEFAULT_CONTAINER }
}

/// Whether Swarm accepts a name for a service.
fn is_name(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.len() <= MAX_NAME
        && name.bytes().all(is_inner)
        && name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().next_back().is_some_and(|byte| byte.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::pod_of_service;

    fn service(name: &str, labels: Value) -> Value {
        json!({"Name": name, "Labels": labels, "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1.27"}}})
    }

    #[test]
    fn a_service_is_a_pod_with_its_labels_as_annotations() {
        let labels = json!({"team": "shop", "container-patch.dev/break-glass": "incident 7"});
        let pod = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "web", "annotations": labels},
            "spec": {"containers": [{"name": "web", "image": "nginx:1.27"}]},
        });
        assert_eq!(pod_of_service(&service("web", labels)), Ok(pod));
        let pod = pod_of_service(&service("web", Value::Null)).unwrap();
        assert_eq!(pod["metadata"], json!({"name": "web", "annotations": {}}));
    }

    #[test]
    fn labels_are_never_records_of_digests() {
        let labels = json!({
            "pin.container-patch.dev/web": "nginx:1.27@sha256:0", "pin.container-patch.dev/recorded-at": "2026-11-20T12:00:00Z",
            "volume.pin.container-patch.dev/web": "x", "container.pin.container-patch.dev/recorded-at": "x",
            "container-patch.dev/resolved": "web", "scan.container-patch.dev/web": "kept",
        });
        let pod = pod_of_service(&service("web", labels)).unwrap();
        assert_eq!(pod["metadata"]["annotations"], json!({"scan.container-patch.dev/web": "kept"}));
    }

    #[test]
    fn the_container_has_the_name_in_the_stack_file() {
        let name = |name: &str, stack: &str| {
            let pod = pod_of_service(&service(name, json!({"com.docker.stack.namespace": stack}))).unwrap();
            pod["spec"]["containers"][0]["name"].as_str().unwrap().to_owned()
        };
        assert_eq!(name("shop_web", "shop"), "web");
        assert_eq!(name("shop_web", ""), "shop_web");
        assert_eq!(name("shop_web", "shop_web"), "shop_web");
        assert_eq!(name("shop_web", "sho"), "shop_web");
        assert_eq!(name("shop__web", "shop"), "shop__web");
        assert_eq!(name("_web", ""), "app");
        assert_eq!(name("", ""), "app");
        assert_eq!(name("web\u{1b}", ""), "app");
        assert_eq!(name(&"w".repeat(64), ""), "app");
    }

    #[test]
    fn the_remote_of_a_plugin_is_an_image() {
        let plugin = json!({"Runtime": "plugin", "PluginSpec": {"Remote": "vieux/sshfs:latest"}});
        let pod = pod_of_service(&json!({"Name": "sshfs", "TaskTemplate": plugin})).unwrap();
        assert_eq!(pod["spec"], json!({"containers": [{"name": "sshfs", "image": "vieux/sshfs:latest"}]}));
    }

    #[test]
    fn every_image_of_a_service_is_judged() {
        let both = json!({"Runtime": "plugin", "PluginSpec": {"Remote": "b"}, "ContainerSpec": {"Image": "a"}});
        let pod = pod_of_service(&json!({"Name": "web", "TaskTemplate": both})).unwrap();
        assert_eq!(pod["spec"], json!({"containers": [{"image": "a"}, {"image": "b"}]}));
        let attachment = json!({"Runtime": "attachment", "ContainerSpec": {"Image": "a"}});
        let pod = pod_of_service(&json!({"Name": "web", "TaskTemplate": attachment})).unwrap();
        assert_eq!(pod["spec"]["containers"][0]["image"], "a");
    }

    #[test]
    fn a_network_attachment_has_no_image() {
        for template in [json!({"Runtime": "attachment"}), json!({"NetworkAttachmentSpec": {"ContainerID": "c"}})] {
            let pod = pod_of_service(&json!({"Name": "net", "TaskTemplate": template})).unwrap();
            assert_eq!(pod["spec"], json!({"containers": []}));
        }
    }

    #[test]
    fn an_image_that_cannot_be_read_is_an_error() {
        let error = |template: Value| pod_of_service(&json!({"Name": "web", "TaskTemplate": template})).unwrap_err();
        assert_eq!(error(Value::Null), "TaskTemplate.ContainerSpec is required");
        assert_eq!(error(json!({"ContainerSpec": {}})), "TaskTemplate.ContainerSpec.Image is required");
        assert_eq!(error(json!({"ContainerSpec": {"Image": ""}})), "TaskTemplate.ContainerSpec.Image is required");
        assert_eq!(error(json!({"ContainerSpec": "x"})), "TaskTemplate.ContainerSpec.Image is required");
        assert_eq!(
            error(json!({"ContainerSpec": {"Image": ["a"]}})),
            "invalid TaskTemplate.ContainerSpec.Image: expected a string"
        );
        assert_eq!(error(json!({"PluginSpec": {"Remote": null}})), "TaskTemplate.PluginSpec.Remote is required");
        assert_eq!(error(json!([])), "TaskTemplate.ContainerSpec is required");
        assert_eq!(pod_of_service(&json!([])).unwrap_err(), "the service is not a JSON object");
        let labels = |labels| pod_of_service(&service("web", labels)).unwrap_err();
        assert_eq!(labels(json!({"a": 1})), "invalid label `a`: expected a string");
        assert_eq!(labels(json!([])), "invalid Labels: expected an object of strings");
    }
}
