//! The containers of a manifest, and where the annotations of their pods stand.

use anyhow::{Context as _, Result, anyhow, bail};
use serde_json::{Map, Value};

use super::annotation::ON_PODS;
use crate::manifest;

/// The most characters of a name of an annotation, behind its slash.
const MAX_NAME: usize = 63;

/// A container in a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// Which object of the manifest it is in.
    pub(super) object: usize,
    /// The object's kind and name.
    pub(super) title: String,
    /// The keys that lead to the pod template.
    pub(super) template: Vec<String>,
    pub(super) name: String,
    pub(super) image: String,
}

impl Container {
    /// The annotation that a scan of its image stands in.
    pub(super) fn annotation(&self) -> Result<String> {
        let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = self.name.len() <= MAX_NAME
            && self.name.chars().all(within)
            && self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.name.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !fits {
            bail!(
                "no annotation can be named for the container `{}` of {}: a name has letters, digits, `-`, `_` and `.`, \
                 and at most {MAX_NAME} characters",
                self.name,
                self.title
            );
        }
        Ok(format!("{ON_PODS}{}", self.name))
    }
}

/// Reads the objects of a manifest, every one of which must be readable.
pub(super) fn objects(text: &str) -> Result<Vec<Value>> {
    let documents = manifest::read(text).into_iter();
    documents.map(|document| document.object.with_context(|| format!("the document at {}", document.place))).collect()
}

/// Lists the containers and init containers of every object. Kinds that are not Kubernetes' own have their template at
/// a pointer that the user may give.
pub(super) fn containers(objects: &[Value], pointer: Option<&str>) -> Result<Vec<Container>> {
    let given = pointer.map(keys).transpose()?;
    let mut containers = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let template = template(object["kind"].as_str().unwrap_or_default(), given.as_deref());
        let Some(pod) = at(object, &template) else { continue };
        for list in ["initContainers", "containers"] {
            for container in pod["spec"][list].as_array().into_iter().flatten() {
                let text = |key: &str| container[key].as_str().unwrap_or_default().to_owned();
                containers.push(Container {
                    object: index,
                    title: title(object),
                    template: template.clone(),
                    name: text("name"),
                    image: text("image"),
                });
            }
        }
    }
    Ok(containers)
}

fn template(kind: &str, given: Option<&[String]>) -> Vec<String> {
    let keys: &[&str] = match (kind, given) {
        ("Pod", _) => &[],
        ("PodTemplate", _) => &["template"],
        ("CronJob", _) => &["spec", "jobTemplate", "spec", "template"],
        ("Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "ReplicationController" | "Job", _)
        | (_, None) => &["spec", "template"],
        (_, Some(given)) => return given.to_vec(),
    };
    keys.iter().map(|key| (*key).to_owned()).collect()
}

/// The keys of a JSON pointer (RFC 6901).
fn keys(pointer: &str) -> Result<Vec<String>> {
    let keys = pointer.strip_prefix('/').filter(|keys| !keys.is_empty());
    let keys = keys.with_context(|| {
        format!("--pod-template `{pointer}` is no JSON pointer to a pod template; write one such as `/spec/template`")
    })?;
    Ok(keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

fn at<'a>(object: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(object, |value, key| value.get(key))
}

fn title(object: &Value) -> String {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let metadata = &object["metadata"];
    let kind = text(&object["kind"]).unwrap_or_else(|| "object".to_owned());
    let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"]).map(|prefix| prefix + "…"));
    let name = name.unwrap_or_else(|| "(no name)".to_owned());
    match text(&metadata["namespace"]) {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// Adds an annotation to the pod template of an object, or changes it.
pub(super) fn annotate(object: &mut Value, template: &[String], key: &str, value: &str) -> Result<()> {
    let metadata = ["metadata".to_owned(), "annotations".to_owned()];
    let annotations = template.iter().chain(&metadata).try_fold(object, |value, key| {
        let fields = value.as_object_mut()?;
        let field = fields.entry(key).or_insert(Value::Null);
        if field.is_null() {
            *field = Value::Object(Map::new());
        }
        Some(field)
    });
    let annotations = annotations.and_then(Value::as_object_mut);
    let annotations = annotations.ok_or_else(|| anyhow!("metadata and annotations are objects"))?;
    annotations.insert(key.to_owned(), value.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Container, annotate, containers, objects};

    fn found(text: &str, pointer: Option<&str>) -> Vec<String> {
        let containers = containers(&objects(text).unwrap(), pointer).unwrap();
        containers
            .iter()
            .map(|found| format!("{} {}={} /{}", found.title, found.name, found.image, found.template.join("/")))
            .collect()
    }

    #[test]
    fn containers_are_found_in_every_kind_that_has_a_pod_template() {
        let spec =
            json!({"initContainers": [{"name": "init", "image": "i"}], "containers": [{"name": "app", "image": "a"}]});
        let pod = json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "p"}, "spec": spec});
        assert_eq!(found(&pod.to_string(), None), ["Pod shop/p init=i /", "Pod shop/p app=a /"]);
        let spec = json!({"containers": [{"name": "app", "image": "a"}]});
        let template = json!({"template": {"spec": spec}});
        for (object, path) in [
            (json!({"kind": "PodTemplate", "template": {"spec": spec}}), "/template"),
            (json!({"kind": "Deployment", "spec": template}), "/spec/template"),
            (json!({"kind": "Rollout", "spec": template}), "/spec/template"),
            (
                json!({"kind": "CronJob", "spec": {"jobTemplate": {"spec": template}}}),
                "/spec/jobTemplate/spec/template",
            ),
        ] {
            let kind = object["kind"].as_str().unwrap();
            assert_eq!(found(&object.to_string(), None), [format!("{kind} (no name) app=a {path}")]);
        }
        let own = json!({"kind": "Fleet", "spec": {"a/b": {"spec": spec}}});
        assert_eq!(found(&own.to_string(), None), [""; 0]);
        assert_eq!(found(&own.to_string(), Some("/spec/a~1b")), ["Fleet (no name) app=a /spec/a/b"]);
        assert!(containers(&[own], Some("spec")).unwrap_err().to_string().contains("is no JSON pointer"));
    }

    #[test]
    fn a_document_that_cannot_be_read_is_an_error_with_its_line() {
        let error = format!("{:#}", objects("kind: A\n---\nkind: [\n").unwrap_err());
        assert!(error.starts_with("the document at 3: this is no YAML"), "{error}");
    }

    #[test]
    fn a_name_that_no_annotation_can_have_is_an_error() {
        let named = |name: &str| Container {
            object: 0,
            title: "Pod p".to_owned(),
            template: vec![],
            name: name.to_owned(),
            image: String::new(),
        };
        assert_eq!(named("app-1").annotation().unwrap(), "scan.container-patch.dev/app-1");
        for name in ["", "a b", "-a", &"a".repeat(64)] {
            assert!(named(name).annotation().is_err(), "{name}");
        }
    }

    #[test]
    fn annotations_are_made_where_there_are_none() {
        let mut object = json!({"kind": "Deployment", "spec": {"template": {"metadata": {"annotations": null}}}});
        annotate(&mut object, &["spec".to_owned(), "template".to_owned()], "k", "v").unwrap();
        assert_eq!(object["spec"]["template"]["metadata"], json!({"annotations": {"k": "v"}}));
        assert!(annotate(&mut json!({"metadata": 7}), &[], "k", "v").is_err());
    }
}
