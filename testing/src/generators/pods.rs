//! Pod templates.

use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::corruption::any_json;
use super::images::{CONTAINER_NAMES, image};
use super::scans;
use crate::pod_template::LISTS;

/// A pod template.
pub(crate) fn template(choices: &mut Choices<'_>) -> Value {
    let mut containers: Vec<_> = (0..1 + choices.up_to(2)).map(|_| container(choices)).collect();
    if choices.once_in(80) {
        // Enough that the response omits some of the findings.
        containers = (0..60).flat_map(|_| containers.clone()).collect();
    }
    let mut spec = json!({ "containers": containers });
    for list in [LISTS[1], LISTS[2]] {
        if choices.once_in(4) {
            spec[list] = json!(choices.few(2, container));
        }
    }
    if choices.once_in(4) {
        spec["volumes"] = json!(choices.few(3, volume));
    }
    let annotations = if choices.once_in(2) { scans::annotations(choices) } else { Map::new() };
    if choices.once_in(8) {
        let architecture = choices.one_of(&["amd64", "arm64", "x"]);
        spec["nodeSelector"] = json!({"kubernetes.io/arch": architecture});
    }
    json!({"metadata": {"annotations": annotations}, "spec": spec})
}

/// An entry of one of the lists of a pod's spec.
pub(crate) fn entry(list: &str, choices: &mut Choices<'_>) -> Value {
    match (choices.once_in(20), list) {
        (true, _) => any_json(choices),
        (_, "volumes") => volume(choices),
        _ => container(choices),
    }
}

fn container(choices: &mut Choices<'_>) -> Value {
    let mut container = json!({"name": choices.one_of(&CONTAINER_NAMES), "image": image(choices)});
    match choices.up_to(15) {
        0..=11 => {}
        12 => drop(container.as_object_mut().map(|container| container.remove("name"))),
        13 => drop(container.as_object_mut().map(|container| container.remove("image"))),
        14 => container["unknown"] = any_json(choices),
        _ => container["image"] = Value::Null,
    }
    container
}

fn volume(choices: &mut Choices<'_>) -> Value {
    let name = choices.one_of(&["data", "app", "tmp"]);
    match choices.up_to(3) {
        0 => json!({"name": name, "emptyDir": {}}),
        1 => json!({"name": name, "image": {"pullPolicy": "Always"}}),
        _ => json!({"name": name, "image": {"reference": image(choices), "pullPolicy": "Always"}}),
    }
}
