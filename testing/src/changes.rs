//! What the policy changes in an object.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::properties::Broken;
use crate::request::LISTS;

/// Prefixes of the annotations that are records of containers.
const OF_CONTAINERS: [&str; 2] = ["pin.container-patch.dev/", "container.pin.container-patch.dev/"];
/// Prefix of the annotations that are records of image volumes.
const OF_VOLUMES: &str = "volume.pin.container-patch.dev/";
/// When records were written.
pub(crate) const RECORDED_AT: &str = "pin.container-patch.dev/recorded-at";
/// Which digests of a pod the policy looked up itself.
pub(crate) const RESOLVED: &str = "container-patch.dev/resolved";

/// What differs between an object and the same after the policy changed it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// Images: where they are, what was there, and what is there now.
    pub(crate) images: Vec<(String, String, String)>,
    /// Annotations that the policy writes, by template and key: what is there now.
    pub(crate) annotations: BTreeMap<(String, String), Option<String>>,
}

impl Changes {
    /// Compares the two. `templates` are the places of the pod templates.
    ///
    /// # Errors
    /// Where they differ in something else than an image or an annotation of the policy.
    pub(crate) fn between(before: &Value, after: &Value, templates: &[&str]) -> Result<Self, Broken> {
        let mut changes = Self::default();
        changes.compare(before, after, String::new(), templates)?;
        Ok(changes)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.images.is_empty() && self.annotations.is_empty()
    }

    fn compare(&mut self, before: &Value, after: &Value, at: String, templates: &[&str]) -> Result<(), Broken> {
        let template_of = |metadata: &str| {
            let template = at.strip_suffix(metadata)?;
            templates.iter().find(|known| **known == template)
        };
        if let Some(template) = template_of("/metadata/annotations") {
            return self.compare_annotations(before, after, template);
        }
        match (before, after) {
            // The annotations may be the first ones.
            (Value::Null, Value::Object(_)) if template_of("/metadata").is_some() => {
                self.compare(&Value::Object(Map::new()), after, at, templates)
            }
            (Value::Object(one), Value::Object(other)) => {
                let is_made = |key: &str| match key {
                    "metadata" => template_of("").is_some(),
                    "annotations" => template_of("/metadata").is_some(),
                    _ => false,
                };
                let lost = one.keys().find(|key| !other.contains_key(*key));
                let made = other.keys().find(|key| !one.contains_key(*key) && !is_made(key));
                if let Some(key) = lost.or(made) {
                    return Err(format!("more than images and records is changed, at {at:?}: {key}"));
                }
                other.iter().try_for_each(|(key, other)| {
                    self.compare(one.get(key).unwrap_or(&Value::Null), other, format!("{at}/{key}"), templates)
                })
            }
            (Value::Array(one), Value::Array(other)) if one.len() == other.len() => one
                .iter()
                .zip(other)
                .enumerate()
                .try_for_each(|(index, (one, other))| self.compare(one, other, format!("{at}/{index}"), templates)),
            _ if before == after => Ok(()),
            (Value::String(one), Value::String(other)) if is_image(&at) => {
                self.images.push((at, one.clone(), other.clone()));
                Ok(())
            }
            _ => Err(format!("more than images and records is changed, at {at:?}: {before} to {after}")),
        }
    }

    fn compare_annotations(&mut self, before: &Value, after: &Value, template: &str) -> Result<(), Broken> {
        if before == after {
            return Ok(());
        }
        let empty = Map::new();
        let (Some(one), Some(other)) = (before.as_object().or(before.is_null().then_some(&empty)), after.as_object())
        else {
            return Err(format!("annotations of {template:?} are made of {before}: {after}"));
        };
        for key in one.keys().chain(other.keys()) {
            let now = other.get(key);
            if one.get(key) == now {
                continue;
            }
            let is_of_template = key == RECORDED_AT || key == RESOLVED && now.is_none() || holder(key).is_some();
            let is_ours = if template.is_empty() { key == RESOLVED } else { is_of_template };
            if !is_ours || !now.is_none_or(Value::is_string) {
                return Err(format!("the annotation {key:?} of {template:?} is changed to {now:?}"));
            }
            let now = now.and_then(Value::as_str).map(str::to_owned);
            self.annotations.insert((template.to_owned(), key.clone()), now);
        }
        Ok(())
    }
}

/// Whether a JSON pointer leads to an image: the end of one, after the pod template.
fn is_image(pointer: &str) -> bool {
    let keys: Vec<&str> = pointer.rsplit('/').collect();
    match keys[..] {
        ["image", _, list, "spec", ..] => LISTS.contains(&list) && list != "volumes",
        ["reference", "image", _, "volumes", "spec", ..] => true,
        _ => false,
    }
}

/// The name that the key of a record holds, and whether it is that of a volume.
fn holder(key: &str) -> Option<(&str, bool)> {
    if let Some(name) = key.strip_prefix(OF_VOLUMES) {
        return Some((name, true));
    }
    Some((OF_CONTAINERS.iter().find_map(|prefix| key.strip_prefix(prefix))?, false))
}

/// The key of the record of a container or volume.
pub(crate) fn record_key(list: &str, name: &str) -> String {
    let [of_container, of_other] = OF_CONTAINERS;
    let prefix = match list {
        "volumes" => OF_VOLUMES,
        _ if name == "recorded-at" => of_other,
        _ => of_container,
    };
    [prefix, name].concat()
}

/// The images of a pod template that a record is about, by its key. The names in a pod are unique, but those in a trial need
/// not be.
pub(crate) fn images_of<'o>(object: &'o Value, template: &str, key: &str) -> Vec<&'o str> {
    let Some((name, is_volume)) = holder(key).filter(|_| key != RECORDED_AT) else { return Vec::new() };
    let spec = object.pointer(template).map_or(&Value::Null, |template| &template["spec"]);
    let lists = LISTS.iter().filter(|list| (**list == "volumes") == is_volume);
    lists
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
        .filter(|entry| entry["name"] == name)
        .filter_map(|entry| if is_volume { entry["image"]["reference"].as_str() } else { entry["image"].as_str() })
        .collect()
}

/// Whether all containers of a pod template have different names, and so have its volumes. The API server refuses others.
pub(crate) fn has_unique_names(object: &Value, template: &str) -> bool {
    let spec = object.pointer(template).map_or(&Value::Null, |template| &template["spec"]);
    let mut known = BTreeSet::new();
    LISTS.iter().all(|list| {
        let mut names = spec[*list].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str());
        names.all(|name| known.insert(record_key(list, name)))
    })
}
