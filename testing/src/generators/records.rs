//! Records of digests in pods and pod templates.

use container_patch_policy::image::Reference;
use container_patch_policy::workload::record_keys::{RECORDED_AT, RESOLVED};
use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::images::{self, DIGESTS, digest};
use crate::pod_template::{LISTS, record_key};

/// Adds records to some pod templates of the object and of the old object. In one of four UPDATEs nothing else changes.
pub(crate) fn add(request: &mut Value, templates: &[&str], choices: &mut Choices<'_>) {
    for template in templates {
        let [now, before] = ["object", "oldObject"].map(|object| format!("/{object}{template}"));
        if choices.once_in(4)
            && let Some(same) = request.pointer(&now).cloned()
            && let Some(before) = request.pointer_mut(&before)
        {
            *before = same;
        }
        let mut known = None;
        for pointer in [before, now] {
            if !choices.once_in(2) {
                continue;
            }
            let Some(template) = request.pointer_mut(&pointer) else { continue };
            let records = match known.take().filter(|_| choices.once_in(2)) {
                Some(records) => records,
                None => records(template, choices),
            };
            let Some(template) = template.as_object_mut() else { continue };
            let metadata = template.entry("metadata").or_insert(json!({}));
            let Some(metadata) = metadata.as_object_mut() else { continue };
            let annotations = metadata.entry("annotations").or_insert(json!({}));
            if let Some(annotations) = annotations.as_object_mut() {
                annotations.extend(records.clone());
            }
            known = Some(records);
        }
    }
}

/// A valid record for each image of a pod template without a digest.
pub(crate) fn valid(template: &Map<String, Value>) -> Map<String, Value> {
    let images = normalized(template.get("spec").unwrap_or(&Value::Null));
    let unpinned = images.filter(|(_, image)| !image.contains('@'));
    unpinned.map(|(key, image)| (key, json!(format!("{image}@{}", DIGESTS[1])))).collect()
}

/// The normalised images of a pod's spec, each with the key of its record.
fn normalized(spec: &Value) -> impl Iterator<Item = (String, String)> {
    LISTS.into_iter().flat_map(move |list| {
        // Some templates have more containers than there are choices.
        spec[list].as_array().into_iter().flatten().take(8).filter_map(move |entry| {
            let image = if list == "volumes" { &entry["image"]["reference"] } else { &entry["image"] };
            let image = image.as_str()?;
            let normalized = Reference::parse(image).map_or_else(|_| image.to_owned(), |image| image.normalized());
            Some((record_key(list, entry["name"].as_str()?), normalized))
        })
    })
}

/// Records for some of the images of a pod template. Most are valid.
fn records(template: &Value, choices: &mut Choices<'_>) -> Map<String, Value> {
    let mut records = Map::new();
    for (key, image) in normalized(&template["spec"]) {
        let tagged = image.split('@').next().unwrap_or_default();
        let record = match choices.up_to(7) {
            0..=4 => format!("{tagged}@{}", digest(choices)),
            5 => continue,
            6 => tagged.to_owned(),
            _ => images::image(choices),
        };
        records.insert(key, json!(record));
    }
    if choices.once_in(4) {
        records.insert(record_key("containers", "leftover"), json!(images::image(choices)));
    }
    if choices.once_in(4) {
        records.insert(RESOLVED.to_owned(), json!(choices.one_of(&["app", "app,side", "volume/data", ",", ""])));
    }
    let times =
        ["2026-11-20T08:00:00.123456Z", "2026-11-19T08:00:00.000000Z", "2026-11-20T12:00:00.000000Z", "now", ""];
    if !choices.once_in(4) {
        records.insert(RECORDED_AT.to_owned(), json!(choices.one_of(&times)));
    }
    records
}
