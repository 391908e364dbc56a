//! Services and containers of the Docker Engine as pods: the policy judges pods.

use container_patch_policy::workload::record_keys;
use serde_json::{Map, Value, json};

use super::engine_json::{list, object, text};
use crate::json_type::json_type;

/// The most images that are mounted. The engine is asked about each.
const MAX_MOUNTS: usize = 32;

/// The label with the name of the stack. `docker stack deploy` writes it, and puts the stack before the name of each service.
pub(crate) const STACK: &str = "com.docker.stack.namespace";

/// The name of the container if the service has no valid name.
const DEFAULT_CONTAINER: &str = "app";

/// The longest name of a service.
const MAX_NAME: usize = 63;

/// The type of a mount that is an image.
const IMAGE_MOUNT: &str = "image";

/// The images that a service or container names, with what else the policy reads.
#[derive(Debug, Default, Clone, PartialEq)]
pub(crate) struct Images {
    /// The image of the container. One on the engine may have several digests, and is judged by each.
    pub(crate) containers: Vec<String>,
    /// The image of a plugin, for a service that runs one.
    pub(crate) plugin: Option<String>,
    /// The images that are mounted.
    pub(crate) mounts: Vec<String>,
    /// The labels.
    pub(crate) labels: Map<String, Value>,
    /// Operating system and architecture of what runs, if they are known, in the words of images (`linux`, `arm64`).
    pub(crate) platform: Platform,
}

/// Operating system and architecture, as far as they are known.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Platform {
    pub(crate) os: Option<String>,
    pub(crate) architecture: Option<String>,
}

impl Platform {
    /// The platform in the query of a call: `linux/arm64/v8`, `linux` or `arm64`. The engine prefers the image for it.
    pub(crate) fn of_query(text: &str) -> Self {
        let mut parts = text.to_lowercase().split('/').map(str::to_owned).collect::<Vec<_>>().into_iter();
        match (parts.next().filter(|part| !part.is_empty()), parts.next()) {
            (Some(os), Some(name)) => Self { os: Some(os), architecture: Some(architecture(name)) },
            (Some(os), None) if ["linux", "windows"].contains(&os.as_str()) => {
                Self { os: Some(os), architecture: None }
            }
            (Some(name), None) => Self { os: None, architecture: Some(architecture(name)) },
            (None, _) => Self::default(),
        }
    }

    /// The platform of an image on the engine, from the engine's answer about it.
    pub(crate) fn of_image(image: &Value) -> Self {
        let text = |key: &str| image[key].as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Self { os: text("Os"), architecture: text("Architecture") }
    }

    /// The platform that the constraints of a service require of its nodes. Other constraints may have the same effect.
    fn of_constraints(task: Option<&Value>) -> Result<Self, String> {
        let placement = task.map_or(Ok(None), |task| object(task, "Placement"))?;
        let constraints = placement.map_or(Ok(&[][..]), |placement| list(placement, "Constraints"))?;
        let mut platform = Self::default();
        for constraint in constraints.iter().filter_map(Value::as_str) {
            let Some((key, value)) = constraint.split_once("==") else { continue };
            let value = value.trim().to_lowercase();
            match key.trim().to_lowercase().as_str() {
                "node.platform.os" => platform.os = Some(value),
                "node.platform.arch" => platform.architecture = Some(architecture(value)),
                _ => {}
            }
        }
        Ok(platform)
    }

    /// The node labels by which a pod selects this platform.
    fn node_selector(&self) -> Map<String, Value> {
        let labels = [("kubernetes.io/os", &self.os), ("kubernetes.io/arch", &self.architecture)];
        let labels = labels.into_iter().filter_map(|(label, value)| Some((label.to_owned(), value.clone()?.into())));
        labels.collect()
    }
}

/// The architecture as images name it, from the name that a node gives.
fn architecture(node: String) -> String {
    match node.as_str() {
        "x86_64" | "x86-64" => "amd64".to_owned(),
        "aarch64" => "arm64".to_owned(),
        "armhf" | "armel" | "armv7l" | "armv6l" => "arm".to_owned(),
        "i386" | "i686" => "386".to_owned(),
        _ => node,
    }
}

impl Images {
    /// The images of a service: a `ServiceSpec` of the engine's API.
    ///
    /// # Errors
    /// When the engine may read another image, or a field has another type.
    pub(crate) fn of_service(spec: &Value) -> Result<Self, String> {
        if !spec.is_object() {
            return Err(format!("expected an object, found {}", json_type(spec)));
        }
        let task = object(spec, "TaskTemplate")?;
        let part = |name| task.map_or(Ok(None), |task| object(task, name));
        let image = |part: Option<&Value>, key| {
            part.map_or(Ok(None), |part| text(part, key).map(|image| image.map(str::to_owned)))
        };
        let container = part("ContainerSpec")?;
        // A container without an image is an error of the engine, too.
        let name = image(container, "Image")?.or(container.map(|_| String::new()));
        let plugin = part("PluginSpec")?;
        let plugin = image(plugin, "Remote")?.or(plugin.map(|_| String::new()));
        let mounts = container.map_or(Ok(Vec::new()), mounted_images)?;
        Ok(Self {
            containers: name.into_iter().collect(),
            plugin,
            mounts,
            labels: labels(spec)?,
            platform: Platform::of_constraints(task)?,
        })
    }

    /// The images of a container: the body of `POST /containers/create`.
    ///
    /// # Errors
    /// When the engine may read another image, or a field has another type.
    pub(crate) fn of_container(body: &Value) -> Result<Self, String> {
        let mut mounts = object(body, "HostConfig")?.map_or(Ok(Vec::new()), mounted_images)?;
        // Old engines also read the fields of the host configuration beside it.
        mounts.extend(mounted_images(body)?);
        let image = text(body, "Image")?.unwrap_or_default().to_owned();
        Ok(Self { containers: vec![image], mounts, labels: labels(body)?, ..Self::default() })
    }

    /// An image that the engine runs as a plugin.
    pub(crate) fn of_plugin(remote: &str) -> Self {
        Self { plugin: Some(remote.to_owned()), ..Self::default() }
    }

    /// Images of the engine by their names alone.
    pub(crate) fn of_names(names: &[String]) -> Self {
        Self { containers: names.to_vec(), ..Self::default() }
    }

    /// Whether there is nothing to judge.
    pub(crate) fn is_empty(&self) -> bool {
        self.containers.is_empty() && self.plugin.is_none() && self.mounts.is_empty()
    }

    /// The name of the container in messages and in annotations of scans: that of the service in the stack file, so without the name of
    /// its stack.
    pub(crate) fn container_name<'n>(&self, name: &'n str) -> &'n str {
        let stack = self.labels.get(STACK).and_then(Value::as_str).filter(|stack| !stack.is_empty());
        let in_stack = stack.and_then(|stack| name.strip_prefix(stack)?.strip_prefix('_'));
        let name = in_stack.filter(|name| is_name(name)).unwrap_or(name);
        if is_name(name) { name } else { DEFAULT_CONTAINER }
    }

    /// The pod with these images, for judging.
    pub(crate) fn pod(&self, name: &str) -> Value {
        let containers = self.containers.iter().map(|image| json!({"name": self.container_name(name), "image": image}));
        let plugin = self.plugin.iter().map(|image| json!({"name": "plugin", "image": image}));
        let volumes = self.mounts.iter().enumerate();
        let volumes = volumes.map(|(number, image)| json!({"name": mount_name(number), "image": {"reference": image}}));
        let mut spec = json!({
            "containers": containers.chain(plugin).collect::<Vec<_>>(),
            "volumes": volumes.collect::<Vec<_>>(),
        });
        let node_selector = self.platform.node_selector();
        if !node_selector.is_empty() {
            spec["nodeSelector"] = node_selector.into();
        }
        json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": self.labels},
            "spec": spec,
        })
    }
}

/// The pod for a service, from its `ServiceSpec` in the engine's API.
///
/// # Errors
/// When the images of the service cannot be read.
pub(crate) fn pod_of_service(spec: &Value) -> Result<Value, String> {
    let name = text(spec, "Name")?.unwrap_or_default();
    Ok(Images::of_service(spec)?.pod(name))
}

/// The labels of a service as annotations of a pod. A label cannot stand for a digest that the policy has recorded, because the
/// author of the service writes it.
#[must_use]
pub(crate) fn annotations(labels: Map<String, Value>) -> Map<String, Value> {
    labels.into_iter().filter(|(key, _)| !record_keys::is_ours(key)).collect()
}

/// The labels of a service or container, as annotations.
fn labels(parent: &Value) -> Result<Map<String, Value>, String> {
    let Some(Value::Object(labels)) = object(parent, "Labels")? else { return Ok(Map::new()) };
    if let Some((key, value)) = labels.iter().find(|(_, value)| !value.is_string()) {
        return Err(format!("the label `{key}`: expected a string, found {}", json_type(value)));
    }
    Ok(annotations(labels.clone()))
}

/// The sources of mounts that are images.
fn mounted_images(parent: &Value) -> Result<Vec<String>, String> {
    let mut images = Vec::new();
    for mount in list(parent, "Mounts")? {
        if text(mount, "Type")? == Some(IMAGE_MOUNT) {
            images.push(text(mount, "Source")?.unwrap_or_default().to_owned());
            if images.len() > MAX_MOUNTS {
                return Err(format!("`Mounts`: more than {MAX_MOUNTS} images"));
            }
        }
    }
    Ok(images)
}

/// The name of the volume for a mount, counted from 0.
pub(crate) fn mount_name(number: usize) -> String {
    format!("mount-{}", number + 1)
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
    use serde_json::json;

    use super::Images;

    #[test]
    fn a_service_is_a_pod_with_its_labels_as_annotations() {
        let spec = json!({
            "Name": "web",
            "Labels": {"container-patch.dev/break-glass": "outage", "com.docker.stack.namespace": "shop"},
            "TaskTemplate": {"ContainerSpec": {"Image": "nginx:1", "Labels": {"a": "b"}}, "Runtime": "container"},
        });
        assert_eq!(
            Images::of_service(&spec).unwrap().pod("web"),
            json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": {"name": "web", "annotations": {"container-patch.dev/break-glass": "outage", "com.docker.stack.namespace": "shop"}},
                "spec": {"containers": [{"name": "web", "image": "nginx:1"}], "volumes": []},
            })
        );
    }

    #[test]
    fn the_container_has_the_name_of_the_service_in_the_stack_file() {
        let name = |name: &str, stack: &str| {
            let images = Images::of_service(&json!({"Labels": {"com.docker.stack.namespace": stack}})).unwrap();
            images.container_name(name).to_owned()
        };
        assert_eq!(name("shop_web", "shop"), "web");
        assert_eq!(name("shop_web", "other"), "shop_web");
        assert_eq!(name("shop_web", ""), "shop_web");
        assert_eq!(name("shop_", "shop"), "app");
        assert_eq!(name("Web_1", ""), "Web_1");
        assert_eq!(name("", ""), "app");
        assert_eq!(name(&"a".repeat(64), ""), "app");
    }

    #[test]
    fn labels_are_never_records_of_digests() {
        let label = |key: &str| Images::of_service(&json!({"Labels": {key: "nginx:1@sha256:0"}})).unwrap().labels.len();
        assert_eq!(label("container-patch.dev/break-glass"), 1);
        for key in [
            "pin.container-patch.dev/web",
            "volume.pin.container-patch.dev/a",
            "container-patch.dev/resolved",
            "pin.container-patch.dev/recorded-at",
        ] {
            assert_eq!(label(key), 0, "{key}");
        }
    }

    #[test]
    fn every_image_of_a_service_is_judged() {
        let spec = json!({"tasktemplate": {
            "CONTAINERSPEC": {"image": "a", "mounts": [{"type": "image", "source": "b"}, {"Type": "volume", "Source": "c"}]},
            "pluginspec": {"remote": "d"},
        }});
        let pod = Images::of_service(&spec).unwrap().pod("web one");
        assert_eq!(
            pod["spec"],
            json!({
                "containers": [{"name": "app", "image": "a"}, {"name": "plugin", "image": "d"}],
                "volumes": [{"name": "mount-1", "image": {"reference": "b"}}],
            })
        );
    }

    #[test]
    fn a_container_has_its_image_and_its_mounts() {
        let body =
            json!({"image": "a", "labels": {"b": "c"}, "HostConfig": {"Mounts": [{"Type": "image", "Source": "d"}]}});
        let images = Images::of_container(&body).unwrap();
        assert_eq!(
            (images.containers, images.mounts, images.labels.len()),
            (vec!["a".to_owned()], vec!["d".to_owned()], 1)
        );
        assert_eq!(Images::of_container(&json!({})).unwrap().containers, [""]);
        let beside = json!({"Image": "a", "mounts": [{"Type": "image", "Source": "d"}]});
        assert_eq!(Images::of_container(&beside).unwrap().mounts, ["d"]);
    }

    #[test]
    fn a_service_selects_the_platform_of_its_constraints() {
        let selector = |constraints: &[&str]| {
            let spec =
                json!({"TaskTemplate": {"ContainerSpec": {"Image": "a"}, "Placement": {"Constraints": constraints}}});
            Images::of_service(&spec).unwrap().pod("web")["spec"]["nodeSelector"].clone()
        };
        assert_eq!(selector(&[]), json!(null));
        assert_eq!(selector(&["node.role==manager", "node.platform.arch!=x86_64"]), json!(null));
        let arm = json!({"kubernetes.io/arch": "arm64"});
        assert_eq!(selector(&["node.platform.arch == aarch64"]), arm);
        assert_eq!(selector(&["Node.Platform.Arch==arm64"]), arm);
        let both = json!({"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"});
        assert_eq!(selector(&["node.platform.os==linux", "node.platform.arch==x86_64"]), both);
    }

    #[test]
    fn the_query_of_a_call_has_a_platform() {
        let of = |text: &str| {
            let super::Platform { os, architecture } = super::Platform::of_query(text);
            (os.unwrap_or_default(), architecture.unwrap_or_default())
        };
        let pair = |os: &str, architecture: &str| (os.to_owned(), architecture.to_owned());
        assert_eq!(of("linux/arm64/v8"), pair("linux", "arm64"));
        assert_eq!(of("linux"), pair("linux", ""));
        assert_eq!(of("aarch64"), pair("", "arm64"));
        assert_eq!(of(""), pair("", ""));
    }

    #[test]
    fn very_many_mounted_images_are_an_error() {
        let body = |number: usize| json!({"Image": "a", "HostConfig": {"Mounts": vec![json!({"Type": "image", "Source": "b"}); number]}});
        assert!(Images::of_container(&body(32)).is_ok());
        assert_eq!(Images::of_container(&body(33)).unwrap_err(), "`Mounts`: more than 32 images");
    }

    #[test]
    fn a_missing_image_is_judged_and_a_network_attachment_has_none() {
        let images = |task| Images::of_service(&json!({"TaskTemplate": task})).unwrap();
        assert_eq!(images(json!({"ContainerSpec": {}})).containers, [""]);
        assert_eq!(images(json!({"PluginSpec": {}})).plugin.as_deref(), Some(""));
        assert_eq!(images(json!({"NetworkAttachmentSpec": {"ContainerID": "a"}})).containers, Vec::<String>::new());
    }

    #[test]
    fn what_the_engine_may_read_otherwise_is_an_error() {
        for spec in [
            json!({"TaskTemplate": {}, "taskTemplate": {"ContainerSpec": {"Image": "stale"}}}),
            json!({"TaskTemplate": {"ContainerSpec": {"Image": "fresh", "image": "stale"}}}),
            json!({"TaskTemplate": {"ContainerSpec": {"Mounts": [{"Type": "image", "type": "bind"}]}}}),
            json!({"TaskTemplate": []}),
            json!({"TaskTemplate": {"ContainerSpec": {"Image": ["a"]}}}),
            json!({"Labels": {"a": 1}}),
        ] {
            assert!(Images::of_service(&spec).is_err(), "{spec}");
        }
    }
}
