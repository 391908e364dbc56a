//! Admission requests.

use serde_json::{Map, Value, json};

use super::choices::Choices;
use super::corruption::corrupted;
use super::images::digest;
use super::pods;
use crate::pod_template::LISTS;

struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    /// The JSON pointers of its pod templates.
    templates: &'static [&'static str],
}

const KINDS: [Kind; 12] = [
    Kind { group: "", version: "v1", kind: "Pod", templates: &[""] },
    Kind { group: "apps", version: "v1", kind: "Deployment", templates: &["/spec/template"] },
    Kind { group: "argoproj.io", version: "v1alpha1", kind: "Rollout", templates: &["/spec/template"] },
    Kind {
        group: "example.com",
        version: "v1",
        kind: "Cluster",
        templates: &["/spec/leader", "/spec/workers/0/template"],
    },
    Kind { group: "batch", version: "v1", kind: "CronJob", templates: &["/spec/jobTemplate/spec/template"] },
    Kind { group: "batch", version: "v1", kind: "Job", templates: &["/spec/template"] },
    Kind { group: "apps", version: "v1", kind: "ReplicaSet", templates: &["/spec/template"] },
    Kind { group: "apps", version: "v1", kind: "StatefulSet", templates: &["/spec/template"] },
    Kind { group: "apps", version: "v1", kind: "DaemonSet", templates: &["/spec/template"] },
    Kind { group: "", version: "v1", kind: "PodTemplate", templates: &["/template"] },
    Kind { group: "", version: "v1", kind: "ReplicationController", templates: &["/spec/template"] },
    Kind { group: "", version: "v1", kind: "ConfigMap", templates: &[] },
];

const USERS: [(&str, &[&str]); 8] = [
    ("joe", &["oncall"]),
    ("jane", &["dev"]),
    ("joe", &["dev", "oncall"]),
    ("system:serviceaccount:kube-system:replicaset-controller", &["system:serviceaccounts"]),
    ("system:kube-controller-manager", &[]),
    ("system:serviceaccount:shop:replicaset-controller", &[]),
    ("", &["oncall"]),
    ("j\u{202e}\n", &[]),
];

pub(crate) const BREAK_GLASS: &str = "container-patch.dev/break-glass";

/// A request, and the JSON pointers of the pod templates of its object.
pub(crate) fn request(choices: &mut Choices<'_>) -> (Value, &'static [&'static str]) {
    let kind = if choices.once_in(2) { &KINDS[choices.up_to(KINDS.len() - 1)] } else { &KINDS[0] };
    let object = object(kind, choices);
    let operation = choices.one_of(&["CREATE", "CREATE", "UPDATE", "UPDATE", "CREATE", "UPDATE", "DELETE", "CONNECT"]);
    let (user, groups) = choices.one_of(&USERS);
    let mut request = json!({
        "uid": "1299d386-525b-4032-98ae-1949f69f9cfc",
        "kind": {"group": kind.group, "version": kind.version, "kind": kind.kind},
        "resource": {"group": kind.group, "version": kind.version, "resource": kind.kind.to_lowercase() + "s"},
        "name": "web",
        "namespace": "shop",
        "operation": operation,
        "userInfo": {"username": user, "groups": groups},
        "object": object,
    });
    match choices.up_to(15) {
        0..=8 => {}
        9 => request["subResource"] = json!("ephemeralcontainers"),
        10 => request["subResource"] = json!(choices.one_of(&["scale", "status", "exec", ""])),
        11 => request["namespace"] = Value::Null,
        12 => request["dryRun"] = json!(true),
        13 => request["object"] = Value::Null,
        // A request of the audit scanner.
        14 => {
            request["userInfo"] = json!({});
            request["resource"]["resource"] = json!(kind.kind);
        }
        _ => request = corrupted(request, choices),
    }
    if let Some(request) = request.as_object_mut()
        && (operation == "UPDATE" || choices.once_in(8))
    {
        let old = old_object(request.get("object").unwrap_or(&Value::Null), kind, choices);
        request.insert("oldObject".to_owned(), old);
    }
    (request, kind.templates)
}

fn object(kind: &Kind, choices: &mut Choices<'_>) -> Value {
    let mut metadata = json!({"name": "web", "namespace": "shop"});
    let mut annotations = Map::new();
    match choices.up_to(11) {
        0..=6 => {}
        7 | 8 => {
            let reason = choices.one_of(&["SEC-7: payments are down", " ", "é\n\u{7}x", ""]);
            annotations.insert(BREAK_GLASS.to_owned(), json!(reason));
        }
        9 => metadata["deletionTimestamp"] = json!("2026-11-20T00:00:00Z"),
        10 => metadata["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": "web", "controller": true}]),
        _ => drop(annotations.insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), json!("{}"))),
    }
    let mut object = json!({"apiVersion": "v1", "kind": kind.kind, "metadata": metadata});
    for pointer in kind.templates {
        let mut template = pods::template(choices);
        if pointer.is_empty() {
            // A pod has the fields of a pod template.
            annotations.extend(template["metadata"]["annotations"].as_object().cloned().unwrap_or_default());
            object["spec"] = template["spec"].take();
        } else {
            place(&mut object, pointer, template);
        }
    }
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = Value::Object(annotations);
    }
    if choices.once_in(10) { corrupted(object, choices) } else { object }
}

fn place(object: &mut Value, pointer: &str, template: Value) {
    let mut at = object;
    for key in pointer.split('/').skip(1) {
        at = match key.parse::<usize>() {
            Ok(_) => {
                *at = json!([null]);
                &mut at[0]
            }
            Err(_) => &mut at[key],
        };
    }
    *at = template;
}

/// Gives some images of the object before an UPDATE another digest, so that the request replaces builds of their repositories.
pub(crate) fn replace_builds(request: &mut Value, templates: &[&str], choices: &mut Choices<'_>) {
    for template in templates {
        for list in LISTS {
            let entries = request.pointer_mut(&format!("/oldObject{template}/spec/{list}"));
            for entry in entries.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(Value::String(image)) = entry.get_mut("image")
                    && choices.once_in(3)
                {
                    let name = image.split('@').next().unwrap_or_default();
                    *image = format!("{name}@{}", digest(choices));
                }
            }
        }
    }
}

/// The object before an UPDATE. In most cases only some of the images differ.
fn old_object(object: &Value, kind: &Kind, choices: &mut Choices<'_>) -> Value {
    let mut old = object.clone();
    for template in kind.templates {
        for list in LISTS {
            let entries = old.pointer_mut(&format!("{template}/spec/{list}")).and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten().filter(|entry| entry.is_object()) {
                if choices.once_in(3) {
                    *entry = pods::entry(list, choices);
                }
            }
        }
    }
    match choices.up_to(15) {
        0..=11 => {}
        13 => return Value::Null,
        15 => return corrupted(old, choices),
        what => {
            let metadata = old.get_mut("metadata").and_then(Value::as_object_mut);
            match (what, metadata) {
                (12, Some(metadata)) => drop(metadata.remove("annotations")),
                (14, Some(metadata)) => {
                    drop(metadata.insert("deletionTimestamp".to_owned(), json!("2026-11-20T00:00:00Z")))
                }
                _ => {}
            }
        }
    }
    old
}
