//! The containers of a manifest, and the annotations of their pods.

use anyhow::{Context as _, Result, anyhow, bail};
use container_patch_policy::rules::scan::annotations::CONTAINER;
use container_patch_policy::workload::kinds::{KINDS, Layout};
use container_patch_policy::workload::site::IMAGE_FIELDS;
use serde_json::{Map, Value};

use crate::json_type::json_type;
use crate::manifest;

/// Kubernetes' limit for the name of an annotation, after its slash.
const MAX_NAME: usize = 63;

/// A container in a manifest, or an image volume, which the policy treats in the same way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Container {
    /// The index of the object in the manifest.
    pub(super) object: usize,
    /// The object's kind and name.
    pub(super) title: String,
    /// The keys that lead to the pod template.
    pub(super) template: Vec<String>,
    /// Its noun in messages: a container, or a volume.
    pub(super) noun: &'static str,
    pub(super) name: String,
    pub(super) image: String,
}

impl Container {
    /// Its noun and name, for messages.
    pub(super) fn label(&self) -> String {
        format!("{} `{}`", self.noun, self.name)
    }

    /// Whether both are in the same pod.
    pub(super) fn shares_pod_with(&self, other: &Self) -> bool {
        (self.object, &self.template) == (other.object, &other.template)
    }

    /// The key of the annotation for the scan of its image.
    pub(super) fn annotation(&self) -> Result<String> {
        let within = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        let fits = self.name.len() <= MAX_NAME
            && self.name.chars().all(within)
            && self.name.starts_with(|c: char| c.is_ascii_alphanumeric())
            && self.name.ends_with(|c: char| c.is_ascii_alphanumeric());
        if !fits {
            bail!(
                "the name of the {} of {} cannot be part of an annotation key: expected letters, digits, `-`, `_` and \
                 `.`, at most {MAX_NAME} characters",
                self.label(),
                self.title
            );
        }
        Ok(format!("{CONTAINER}{}", self.name))
    }
}

/// Reads the objects of a manifest. One that cannot be read is an error.
pub(super) fn objects(text: &str) -> Result<Vec<Value>> {
    let object = |document: manifest::Document| match document.object {
        Ok(value) if !value.is_object() => {
            Err(anyhow!("invalid Kubernetes object: expected an object, found {}", json_type(&value)))
        }
        object => object,
    };
    let documents = manifest::read(text).into_iter();
    documents
        .map(|document| {
            let place = document.place.clone();
            object(document).with_context(|| format!("the document at line {place}"))
        })
        .collect()
}

/// Lists the containers and image volumes of all objects. `pointer` leads to the pod template of custom kinds.
pub(super) fn containers(objects: &[Value], pointer: Option<&str>) -> Result<Vec<Container>> {
    let given = pointer.map(keys).transpose()?;
    if let (Some(pointer), Some(keys)) = (pointer, &given) {
        check_pointer(objects, pointer, keys)?;
    }
    let mut containers = Vec::new();
    for (index, object) in objects.iter().enumerate() {
        let template = own_template(object).or_else(|| given.clone()).unwrap_or_else(|| owned(&["spec", "template"]));
        let Some(spec) = at(object, &template).and_then(|pod| pod.get("spec")) else { continue };
        for field in &IMAGE_FIELDS {
            for entry in spec[field.list].as_array().into_iter().flatten() {
                let image = field.image.iter().try_fold(entry, |value, key| value.get(key)).and_then(Value::as_str);
                let Some(image) = image else { continue };
                containers.push(Container {
                    object: index,
                    title: title(object),
                    template: template.clone(),
                    noun: field.noun,
                    name: entry["name"].as_str().unwrap_or_default().to_owned(),
                    image: image.to_owned(),
                });
            }
        }
    }
    Ok(containers)
}

/// Refuses a pointer that does not lead to a pod template in any object of a custom kind.
fn check_pointer(objects: &[Value], pointer: &str, keys: &[String]) -> Result<()> {
    let others = || objects.iter().filter(|object| own_template(object).is_none());
    let is_template = |object: &&Value| at(object, keys).is_some_and(|template| template.get("spec").is_some());
    if others().any(|object| is_template(&object)) {
        return Ok(());
    }
    // Kubernetes' kinds without pods, such as ConfigMap, do not count.
    let custom: Vec<&Value> = others().filter(|object| !is_of_kubernetes(group(object))).collect();
    if let Some(object) = custom.iter().find(|object| at(object, keys).is_some()) {
        bail!("{pointer} in {} does not lead to a pod template: it has no `spec`", title(object));
    }
    if !custom.is_empty() {
        let titles = custom.into_iter().map(title).collect::<Vec<_>>().join(", ");
        bail!("{pointer} does not exist in {titles}");
    }
    Ok(())
}

/// The place of the pod template in a kind of Kubernetes. Other groups may use the same name: Volcano has a Job, too.
fn own_template(object: &Value) -> Option<Vec<String>> {
    let (group, kind) = (group(object), object["kind"].as_str()?);
    let mut known = KINDS.iter().filter(|known| known.layout == Layout::Template);
    let known = known.find(|known| known.group == group && known.kind == kind)?;
    Some(known.template.split('/').skip(1).map(str::to_owned).collect())
}

fn owned(keys: &[&str]) -> Vec<String> {
    keys.iter().map(|key| (*key).to_owned()).collect()
}

fn group(object: &Value) -> &str {
    object["apiVersion"].as_str().and_then(|version| version.split_once('/')).map_or("", |(group, _)| group)
}

/// Whether a group belongs to Kubernetes. Other groups are domains.
fn is_of_kubernetes(group: &str) -> bool {
    !group.contains('.') || group.ends_with(".k8s.io")
}

/// The keys of a JSON pointer (RFC 6901).
fn keys(pointer: &str) -> Result<Vec<String>> {
    let keys = pointer.strip_prefix('/').filter(|keys| !keys.is_empty());
    let keys = keys.with_context(|| {
        format!("invalid JSON pointer `{pointer}` in --pod-template; expected one such as `/spec/template`")
    })?;
    Ok(keys.split('/').map(|key| key.replace("~1", "/").replace("~0", "~")).collect())
}

fn at<'a>(object: &'a Value, keys: &[String]) -> Option<&'a Value> {
    keys.iter().try_fold(object, |value, key| match value {
        Value::Array(items) => items.get(index(key)?),
        value => value.get(key),
    })
}

/// Reads the index of an item. RFC 6901, section 4, allows no leading zeros.
pub(super) fn index(key: &str) -> Option<usize> {
    key.parse().ok().filter(|index: &usize| index.to_string() == key)
}

/// The annotations of the pod template of an object.
pub(super) fn annotations<'a>(object: &'a Value, template: &[String]) -> Option<&'a Map<String, Value>> {
    at(object, template)?.get("metadata")?.get("annotations")?.as_object()
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
        if let Value::Array(items) = value {
            return items.get_mut(index(key)?);
        }
        let fields = value.as_object_mut()?;
        let field = fields.entry(key).or_insert(Value::Null);
        if field.is_null() {
            *field = Value::Object(Map::new());
        }
        Some(field)
    });
    let annotations = annotations.and_then(Value::as_object_mut);
    let annotations = annotations.ok_or_else(|| anyhow!("`metadata` and `annotations` must be objects"))?;
    annotations.insert(key.to_owned(), value.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use container_patch_policy::request::GroupVersionKind;
    use serde_json::{Value, json};

    use super::{Container, KINDS, Layout, annotate, annotations, containers, index, objects};

    fn found(text: &str, pointer: Option<&str>) -> Vec<String> {
        let containers = containers(&objects(text).unwrap(), pointer).unwrap();
        containers
            .iter()
            .map(|found| {
                let Container { title, noun, name, image, template, .. } = found;
                format!("{title} {noun} {name}={image} /{}", template.join("/"))
            })
            .collect()
    }

    /// An object with a pod at a JSON pointer, and nothing else.
    fn holding(api_version: &str, kind: &str, pointer: &str) -> Value {
        let pod = json!({"spec": {
            "initContainers": [{"name": "init", "image": "i"}],
            "containers": [{"name": "app", "image": "a"}, {"name": "none"}],
            "volumes": [{"name": "model", "image": {"reference": "m"}}, {"name": "tmp", "emptyDir": {}}],
        }});
        let keys = pointer.rsplit('/').filter(|key| !key.is_empty());
        let mut object = keys.fold(pod, |inner, key| match index(key) {
            Some(index) => Value::Array([vec![json!({}); index], vec![inner]].concat()),
            None => json!({ key: inner }),
        });
        object["apiVersion"] = api_version.into();
        object["kind"] = kind.into();
        object["metadata"] = json!({"namespace": "shop", "name": "x"});
        object
    }

    fn all(kind: &str, path: &str) -> [String; 3] {
        ["init container init=i", "container app=a", "volume model=m"]
            .map(|found| format!("{kind} shop/x {found} /{}", path.trim_start_matches('/')))
    }

    #[test]
    fn images_are_found_where_the_policy_finds_them_in_every_kind_of_kubernetes() {
        for known in KINDS.iter().filter(|known| known.layout == Layout::Template) {
            let (group, kind, path) = (known.group, known.kind, known.template);
            let api_version = if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") };
            let object = holding(&api_version, kind, path);
            assert_eq!(found(&object.to_string(), None), all(kind, path));
            assert_eq!(
                found(&object.to_string(), Some("/spec/pods")),
                all(kind, path),
                "the pointer is for other kinds"
            );
            let of = GroupVersionKind { group: group.into(), version: "v1".into(), kind: kind.into() };
            let json = serde_json::value::to_raw_value(&object).unwrap();
            let sites = container_patch_policy::workload::read(&of, &json, &[], |_| false).unwrap().sites;
            // The policy refuses a container without an image, and there is nothing to annotate.
            let named = sites.iter().filter(|site| !site.image.is_empty());
            let places: Vec<_> = named.map(|site| site.pointer()).collect();
            let own = ["initContainers/0/image", "containers/0/image", "volumes/0/image/reference"];
            assert_eq!(places, own.map(|place| format!("{path}/spec/{place}")));
        }
    }

    #[test]
    fn kinds_of_other_groups_are_read_at_the_pointer_even_with_the_same_name() {
        let job = holding("batch.volcano.sh/v1alpha1", "Job", "/spec/tasks/1/template");
        assert_eq!(found(&job.to_string(), Some("/spec/tasks/1/template")), all("Job", "/spec/tasks/1/template"));
        assert_eq!(found(&job.to_string(), None), [""; 0]);
        let rollout = holding("argoproj.io/v1alpha1", "Rollout", "/spec/template");
        assert_eq!(found(&rollout.to_string(), None), all("Rollout", "/spec/template"));
        let odd = holding("example.com/v1", "Fleet", "/spec/a~1b");
        let odd = odd.to_string().replace("a~1b", "a/b");
        assert_eq!(found(&odd, Some("/spec/a~1b")), all("Fleet", "/spec/a/b"));
    }

    #[test]
    fn a_pointer_that_does_not_exist_in_any_custom_kind_is_an_error() {
        let error = |objects: &[Value], pointer: &str| containers(objects, Some(pointer)).unwrap_err().to_string();
        let job = holding("batch.volcano.sh/v1alpha1", "Job", "/spec/tasks/0/template");
        let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}});
        let both = [map.clone(), job.clone()];
        for pointer in ["/spec/tasks/1/template", "/spec/tasks/00/template", "/spec/tasks/template", "/spec/pods"] {
            assert_eq!(error(&both, pointer), format!("{pointer} does not exist in Job shop/x"));
        }
        assert_eq!(
            error(&both, "/spec/tasks/0"),
            "/spec/tasks/0 in Job shop/x does not lead to a pod template: it has no `spec`"
        );
        assert!(error(&both, "spec").contains("invalid JSON pointer `spec`"));
        let other = json!({"apiVersion": "networking.istio.io/v1", "kind": "Gateway", "metadata": {"name": "g"}});
        assert_eq!(containers(&[other, job], Some("/spec/tasks/0/template")).unwrap().len(), 3);
        assert_eq!(containers(&[map], Some("/spec/tasks/0/template")).unwrap(), []);
    }

    #[test]
    fn a_broken_document_is_an_error_with_its_line() {
        let error = format!("{:#}", objects("kind: A\n---\nkind: [\n").unwrap_err());
        assert!(error.starts_with("the document at line 3: invalid YAML"), "{error}");
    }

    #[test]
    fn a_name_that_does_not_fit_into_an_annotation_key_is_an_error() {
        let named = |name: &str| Container {
            object: 0,
            title: "Pod p".to_owned(),
            template: vec![],
            noun: "container",
            name: name.to_owned(),
            image: String::new(),
        };
        assert_eq!(named("app-1").annotation().unwrap(), "scan.container-patch.dev/app-1");
        for name in ["", "a b", "-a", &"a".repeat(64)] {
            assert!(named(name).annotation().is_err(), "{name}");
        }
    }

    #[test]
    fn missing_annotations_are_created() {
        let mut object = json!({"kind": "Deployment", "spec": {"template": {"metadata": {"annotations": null}}}});
        annotate(&mut object, &["spec".to_owned(), "template".to_owned()], "k", "v").unwrap();
        assert_eq!(object["spec"]["template"]["metadata"], json!({"annotations": {"k": "v"}}));
        assert!(annotate(&mut json!({"metadata": 7}), &[], "k", "v").is_err());
        let mut object = json!({"tasks": [{}]});
        let template = ["tasks".to_owned(), "0".to_owned()];
        annotate(&mut object, &template, "k", "v").unwrap();
        assert_eq!(annotations(&object, &template), json!({"k": "v"}).as_object());
        assert!(annotate(&mut object, &["tasks".to_owned(), "1".to_owned()], "k", "v").is_err());
    }
}
