//! The inventory: the objects to judge, each distinct one once, with the containers and volumes that name their images.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use container_patch_policy::config::read::Setting as _;
use container_patch_policy::request::GroupVersionKind;
use container_patch_policy::rules;
use container_patch_policy::settings::Settings;
use container_patch_policy::workload;
use container_patch_policy::workload::kinds::{KINDS, Kind, Layout};
use container_patch_policy::workload::site::IMAGE_FIELDS;
use serde_json::value::to_raw_value;
use serde_json::{Map, Value, json};

use super::model::Use;
use crate::compose;
use crate::input::{ManifestFile, ManifestObject, Source};
use crate::judge::exists;
use crate::object_name::ObjectName;
use crate::running::Running;

/// The part of the keys of this policy's annotations that all of them have.
const OWN_ANNOTATIONS: &str = "container-patch.dev/";

/// The objects to judge.
pub(super) struct Inventory<'s> {
    settings: &'s Settings,
    /// The annotation of an object that asks for break-glass.
    break_glass: Option<String>,
    /// Whether policies may select objects by their labels.
    are_selected_by_labels: bool,
    /// The file that objects of a cluster or a swarm have as their source.
    cluster: Arc<ManifestFile>,
    entries: Vec<Entry>,
    /// The index of an entry by what the policy reads of it.
    known: HashMap<String, usize>,
}

/// An object to judge, which stands for all objects that the policy cannot tell apart from it.
pub(super) struct Entry {
    /// The object.
    pub(super) object: ManifestObject,
    /// Its containers and volumes with images, in the order of the policy. Empty if the object cannot be read.
    pub(super) sites: Vec<Site>,
}

/// A container or volume of an object to judge.
pub(super) struct Site {
    /// Its name in findings, such as ``container `app` ``.
    pub(super) name: String,
    /// The image that is judged.
    pub(super) image: String,
    uses: BTreeMap<UseKey, Count>,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct UseKey {
    namespace: String,
    kind: String,
    name: String,
    image: String,
    image_id: Option<String>,
}

#[derive(Debug, Default)]
struct Count {
    declared: bool,
    pods: usize,
}

impl Site {
    /// The containers and volumes that name the image.
    pub(super) fn uses(&self) -> impl Iterator<Item = Use> {
        self.uses.iter().map(|(key, count)| Use {
            namespace: key.namespace.clone(),
            kind: key.kind.clone(),
            name: key.name.clone(),
            container: self.name.clone(),
            image: key.image.clone(),
            declared: count.declared,
            pods: count.pods,
            image_id: key.image_id.clone(),
        })
    }
}

impl<'s> Inventory<'s> {
    pub(super) fn new(settings: &'s Settings, are_selected_by_labels: bool) -> Self {
        let break_glass = settings.general.break_glass.annotation.to_json().as_str().map(str::to_owned);
        let cluster = Arc::new(ManifestFile::new("cluster".to_owned(), String::new()));
        Self { settings, break_glass, are_selected_by_labels, cluster, entries: Vec::new(), known: HashMap::new() }
    }

    /// The objects to judge.
    pub(super) fn into_entries(self) -> Vec<Entry> {
        self.entries
    }

    /// Adds an object of a manifest.
    pub(super) fn add_manifest(&mut self, object: ManifestObject, namespace: &str) {
        let Ok(value) = &object.object else {
            self.entries.push(Entry { object, sites: Vec::new() });
            return;
        };
        let mut name = ObjectName::of(value, namespace);
        if object.source.service().is_some() {
            name.kind = compose::KIND.to_owned();
        }
        let key = self.reduced(value).map(|reduced| (reduced, name.namespace.as_str()));
        // The rule `rollout` judges new objects only.
        let exists = exists(value);
        let key = key.map(|(reduced, namespace)| format!("{exists} {}", without_name(&reduced, namespace)));
        let index = self.index(key, || object);
        self.declare(index, &name);
    }

    /// Adds an object of a cluster that no other object owns.
    pub(super) fn add_workload(&mut self, object: Value) {
        let name = ObjectName::of(&object, "");
        self.add_as(object, &name);
    }

    /// Adds a service of a swarm, as a pod.
    pub(super) fn add_service(&mut self, pod: Value, service: &ObjectName) {
        self.add_as(pod, service);
    }

    /// Adds tasks of a service, as a pod with what its first container runs. `tasks` is their number.
    pub(super) fn add_tasks(&mut self, pod: &Value, service: &ObjectName, running: &Running, tasks: usize) {
        let Some(mut reduced) = self.reduced(pod) else { return };
        let mut written = None;
        if let Some(Value::String(image)) = reduced.pointer_mut("/spec/containers/0/image") {
            written = Some(image.clone());
            with_digest(image, running);
        }
        let key = Some(without_name(&reduced, &service.namespace));
        let source = self.source();
        let index = self.index(key, || ManifestObject { source, object: Ok(reduced) });
        for site in self.entries.get_mut(index).into_iter().flat_map(|entry| &mut entry.sites) {
            let key = match written.take() {
                Some(image) => UseKey::new(service, image, running),
                // An image that is mounted. Nothing is known about what its node has.
                None => UseKey::new(service, site.image.clone(), &Running::Nothing),
            };
            site.uses.entry(key).or_default().pods += tasks;
        }
    }

    /// Adds an object under a name.
    fn add_as(&mut self, object: Value, name: &ObjectName) {
        let reduced = self.reduced(&object).unwrap_or(object);
        let key = Some(without_name(&reduced, &name.namespace));
        let source = self.source();
        let index = self.index(key, || ManifestObject { source, object: Ok(reduced) });
        self.declare(index, name);
    }

    /// Adds a pod of a cluster, with its images set to what it runs. `owner` is the workload that it belongs to.
    pub(super) fn add_pod(&mut self, pod: &Value, owner: &ObjectName) {
        let Some(mut reduced) = self.reduced(pod) else { return };
        let is_owner = *owner == ObjectName::of(pod, "");
        let mut written = Vec::new();
        for (field, status) in IMAGE_FIELDS.iter().zip(["init", "", "ephemeral", "volume"]) {
            let statuses = match status {
                "init" => &pod["status"]["initContainerStatuses"],
                "ephemeral" => &pod["status"]["ephemeralContainerStatuses"],
                "volume" => &Value::Null,
                _ => &pod["status"]["containerStatuses"],
            };
            let entries = reduced["spec"].get_mut(field.list).and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten() {
                let name = entry["name"].clone();
                let slot = field.image.iter().try_fold(entry, |value, key| value.get_mut(key));
                let Some(Value::String(image)) = slot else { continue };
                let running = running(statuses, &name);
                written.push((image.clone(), running.clone()));
                with_digest(image, &running);
            }
        }
        let key = Some(without_name(&reduced, &owner.namespace));
        let source = self.source();
        let index = self.index(key, || ManifestObject { source, object: Ok(reduced) });
        let Some(entry) = self.entries.get_mut(index) else { return };
        for (site, (image, running)) in entry.sites.iter_mut().zip(written) {
            let count = site.uses.entry(UseKey::new(owner, image, &running)).or_default();
            count.declared |= is_owner;
            // An image volume has no status.
            let runs = running != Running::Nothing || site.name.starts_with("volume");
            count.pods += usize::from(runs);
        }
    }

    fn source(&self) -> Source {
        Source { file: Arc::clone(&self.cluster), index: self.entries.len(), place: None, error_line: None }
    }

    /// The index of the entry for a key, which is added if it is new.
    fn index(&mut self, key: Option<String>, object: impl FnOnce() -> ManifestObject) -> usize {
        if let Some(known) = key.as_ref().and_then(|key| self.known.get(key)) {
            return *known;
        }
        let (index, object) = (self.entries.len(), object());
        let sites = object.object.as_ref().map(|object| self.sites(object)).unwrap_or_default();
        self.entries.push(Entry { object, sites });
        if let Some(key) = key {
            self.known.insert(key, index);
        }
        index
    }

    /// Counts the images of an entry as named by an object.
    fn declare(&mut self, index: usize, name: &ObjectName) {
        for site in self.entries.get_mut(index).into_iter().flat_map(|entry| &mut entry.sites) {
            let ObjectName { namespace, kind, name } = name.clone();
            let key = UseKey { namespace, kind, name, image: site.image.clone(), image_id: None };
            site.uses.entry(key).or_default().declared = true;
        }
    }

    /// The containers and volumes of an object, as the policy finds them.
    fn sites(&self, object: &Value) -> Vec<Site> {
        let Ok(json) = to_raw_value(object) else { return Vec::new() };
        let custom = &self.settings.general.custom_workloads;
        let read = workload::read(&kind_of(object), &json, custom, |_| false);
        let sites = read.map(|workload| workload.sites).unwrap_or_default();
        sites
            .iter()
            .map(|site| Site { name: site.to_string(), image: site.image.to_string(), uses: BTreeMap::new() })
            .collect()
    }

    /// The part of an object of Kubernetes' own kinds that the policy reads. Everything else, such as the node of a pod or the names
    /// of its token volumes, would make objects distinct. `None` for other kinds.
    fn reduced(&self, object: &Value) -> Option<Value> {
        let kind = own_kind(object)?;
        // The settings may name further templates in it.
        let is_custom = self.settings.general.custom_workloads.iter().any(|custom| custom.kind == kind.kind);
        if kind.layout != Layout::Template || is_custom {
            return None;
        }
        let mut reduced = json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
        for key in ["name", "generateName", "namespace"] {
            if let Some(value) = object["metadata"].get(key) {
                reduced["metadata"][key] = value.clone();
            }
        }
        if self.are_selected_by_labels {
            reduced["metadata"]["labels"] = object["metadata"]["labels"].clone();
        }
        let template = self.reduced_template(object.pointer(kind.template)?);
        if kind.template.is_empty() {
            // The annotations of a pod are those of its template.
            reduced["metadata"]["annotations"] = template["metadata"]["annotations"].clone();
            reduced["spec"] = template["spec"].clone();
            return Some(reduced);
        }
        reduced["metadata"]["annotations"] = self.annotations(object);
        let keys: Vec<&str> = kind.template.split('/').skip(1).collect();
        let nested = keys.iter().rev().fold(template, |inner, key| json!({ (*key): inner }));
        if let (Some(reduced), Value::Object(nested)) = (reduced.as_object_mut(), nested) {
            reduced.extend(nested);
        }
        Some(reduced)
    }

    fn reduced_template(&self, template: &Value) -> Value {
        let Some(spec) = template.get("spec").and_then(Value::as_object) else { return template.clone() };
        let mut reduced = Map::new();
        for field in &IMAGE_FIELDS {
            let Some(list) = spec.get(field.list) else { continue };
            let entries =
                list.as_array().map(|entries| entries.iter().filter_map(|entry| reduced_entry(entry, field.image)));
            reduced.insert(field.list.to_owned(), entries.map_or_else(|| list.clone(), |entries| entries.collect()));
        }
        for key in ["nodeSelector", "affinity"] {
            if let Some(value) = spec.get(key).filter(|value| !value.is_null()) {
                let mut value = value.clone();
                // A DaemonSet's controller writes the node of each pod here.
                forget_node_names(&mut value);
                reduced.insert(key.to_owned(), value);
            }
        }
        json!({"metadata": {"annotations": self.annotations(template)}, "spec": reduced})
    }

    /// The annotations that the policy reads.
    fn annotations(&self, object: &Value) -> Value {
        let annotations = object["metadata"]["annotations"].as_object();
        let is_read = |key: &str| {
            key.contains(OWN_ANNOTATIONS)
                || rules::reads_pod_annotation(key)
                || self.break_glass.as_deref() == Some(key)
        };
        annotations
            .into_iter()
            .flatten()
            .filter(|(key, _)| is_read(key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect()
    }
}

impl UseKey {
    /// A use by an object, which runs this for the image as it is written.
    fn new(user: &ObjectName, image: String, running: &Running) -> Self {
        let ObjectName { namespace, kind, name } = user.clone();
        let image_id = if let Running::Local(id) = running { Some(id.clone()) } else { None };
        Self { namespace, kind, name, image, image_id }
    }
}

/// Kubernetes' own kind of an object, if it is of one.
fn own_kind(object: &Value) -> Option<&'static Kind> {
    let GroupVersionKind { group, kind, .. } = kind_of(object);
    KINDS.iter().find(|known| known.group == group && known.kind == kind)
}

fn kind_of(object: &Value) -> GroupVersionKind<'_> {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    GroupVersionKind { group: Cow::Borrowed(group), version: Cow::Borrowed(version), kind: Cow::Borrowed(text("kind")) }
}

/// The name and the image of a container or volume. `None` for a volume without an image.
fn reduced_entry(entry: &Value, image: &[&str]) -> Option<Value> {
    let Some(fields) = entry.as_object() else { return Some(entry.clone()) };
    let (first, _) = image.split_first()?;
    let is_volume = image.len() > 1;
    if is_volume && !fields.contains_key(*first) {
        return None;
    }
    let kept = fields.iter().filter(|(key, _)| *key == "name" || key == first);
    Some(Value::Object(kept.map(|(key, value)| (key.clone(), value.clone())).collect()))
}

/// Removes `matchFields`, which select nodes by name, from an affinity.
fn forget_node_names(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            fields.remove("matchFields");
            fields.values_mut().for_each(forget_node_names);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_node_names),
        _ => {}
    }
}

/// The JSON of an object in a namespace without its own name.
fn without_name(reduced: &Value, namespace: &str) -> String {
    let mut anonymous = reduced.clone();
    if let Some(metadata) = anonymous["metadata"].as_object_mut() {
        metadata.remove("name");
        metadata.remove("generateName");
        metadata.insert("namespace".to_owned(), namespace.into());
    }
    anonymous.to_string()
}

/// Adds the digest that runs to an image without one.
fn with_digest(image: &mut String, running: &Running) {
    if let Running::Digest(digest) = running
        && !image.contains('@')
    {
        *image = format!("{image}@{digest}");
    }
}

/// What a container runs, from the statuses of its pod.
fn running(statuses: &Value, name: &Value) -> Running {
    let status = statuses.as_array().into_iter().flatten().find(|status| status["name"] == *name);
    Running::of_image_id(status.and_then(|status| status["imageID"].as_str()).unwrap_or_default())
}
