//! Where a pod template names images, and the annotations that record their digests.

use std::collections::BTreeSet;

use container_patch_policy::workload::record_keys::{CONTAINER, OTHER_CONTAINER, RECORDED_AT, VOLUME};
use serde_json::Value;

/// The lists of a pod's spec that name images.
pub(crate) const LISTS: [&str; 4] = ["containers", "initContainers", "ephemeralContainers", "volumes"];

/// The spec of the pod template at a JSON pointer.
fn spec<'o>(object: &'o Value, template: &str) -> &'o Value {
    object.pointer(template).map_or(&Value::Null, |template| &template["spec"])
}

/// Whether a JSON pointer ends with the path of an image in a pod template.
pub(crate) fn is_image(pointer: &str) -> bool {
    let keys: Vec<&str> = pointer.rsplit('/').collect();
    match keys[..] {
        ["image", _, list, "spec", ..] => LISTS.contains(&list) && list != "volumes",
        ["reference", "image", _, "volumes", "spec", ..] => true,
        _ => false,
    }
}

/// The key of the record of a container or volume.
pub(crate) fn record_key(list: &str, name: &str) -> String {
    let prefix = match list {
        "volumes" => VOLUME,
        _ if RECORDED_AT.strip_prefix(CONTAINER) == Some(name) => OTHER_CONTAINER,
        _ => CONTAINER,
    };
    [prefix, name].concat()
}

/// The name of the container or volume in the key of a record, and whether it is a volume.
pub(crate) fn recorded_name(key: &str) -> Option<(&str, bool)> {
    if let Some(name) = key.strip_prefix(VOLUME) {
        return Some((name, true));
    }
    Some(([CONTAINER, OTHER_CONTAINER].iter().find_map(|prefix| key.strip_prefix(prefix))?, false))
}

/// The images that a record refers to. There can be several, because a generated pod can have containers of the same name.
pub(crate) fn images_of_record<'o>(object: &'o Value, template: &str, key: &str) -> Vec<&'o str> {
    let Some((name, is_volume)) = recorded_name(key).filter(|_| key != RECORDED_AT) else { return Vec::new() };
    let spec = spec(object, template);
    let lists = LISTS.iter().filter(|list| (**list == "volumes") == is_volume);
    lists
        .flat_map(|list| spec[*list].as_array().into_iter().flatten())
        .filter(|entry| entry["name"] == name)
        .filter_map(|entry| if is_volume { entry["image"]["reference"].as_str() } else { entry["image"].as_str() })
        .collect()
}

/// Whether all containers of a pod template have different names, and all volumes too. The API server requires it.
pub(crate) fn has_unique_names(object: &Value, template: &str) -> bool {
    let spec = spec(object, template);
    let mut known = BTreeSet::new();
    LISTS.iter().all(|list| {
        let mut names = spec[*list].as_array().into_iter().flatten().filter_map(|entry| entry["name"].as_str());
        names.all(|name| known.insert(record_key(list, name)))
    })
}
