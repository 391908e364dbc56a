//! Admission requests.

use serde_json::{Map, Value, json};

use crate::images::image;
use crate::mangled::{any, mangled};
use crate::{Bytes, scans};

/// The names of containers and volumes.
pub(crate) const NAMES: [&str; 6] = ["app", "side", "setup", "data", "", "a/b`\u{202e}"];

/// The lists of a pod's spec that name images.
pub(crate) const LISTS: [&str; 4] = ["containers", "initContainers", "ephemeralContainers", "volumes"];

pub(crate) struct Kind {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) kind: &'static str,
    /// Where its pod templates are.
    pub(crate) templates: &'static [&'static str],
}

pub(crate) const KINDS: [Kind; 12] = [
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

/// A request, and where the pod templates of its object are.
pub(crate) fn request(bytes: &mut Bytes<'_>) -> (Value, &'static [&'static str]) {
    let kind = if bytes.once_in(2) { &KINDS[bytes.up_to(KINDS.len() - 1)] } else { &KINDS[0] };
    let object = object(kind, bytes);
    let operation = bytes.one_of(&["CREATE", "CREATE", "UPDATE", "UPDATE", "CREATE", "UPDATE", "DELETE", "CONNECT"]);
    let (user, groups) = bytes.one_of(&USERS);
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
    match bytes.up_to(15) {
        0..=8 => {}
        9 => request["subResource"] = json!("ephemeralcontainers"),
        10 => request["subResource"] = json!(bytes.one_of(&["scale", "status", "exec", ""])),
        11 => request["namespace"] = Value::Null,
        12 => request["dryRun"] = json!(true),
        13 => request["object"] = Value::Null,
        // So asks the audit scanner.
        14 => {
            request["userInfo"] = json!({});
            request["resource"]["resource"] = json!(kind.kind);
        }
        _ => request = mangled(request, bytes),
    }
    if let Some(request) = request.as_object_mut()
        && (operation == "UPDATE" || bytes.once_in(8))
    {
        let old = old_object(request.get("object").unwrap_or(&Value::Null), kind, bytes);
        request.insert("oldObject".to_owned(), old);
    }
    (request, kind.templates)
}

fn object(kind: &Kind, bytes: &mut Bytes<'_>) -> Value {
    let mut metadata = json!({"name": "web", "namespace": "shop"});
    let mut annotations = Map::new();
    match bytes.up_to(11) {
        0..=6 => {}
        7 | 8 => {
            let reason = bytes.one_of(&["SEC-7: payments are down", " ", "é\n\u{7}x", ""]);
            annotations.insert(BREAK_GLASS.to_owned(), json!(reason));
        }
        9 => metadata["deletionTimestamp"] = json!("2026-11-20T00:00:00Z"),
        10 => metadata["ownerReferences"] = json!([{"kind": "ReplicaSet", "name": "web", "controller": true}]),
        _ => drop(annotations.insert("kubectl.kubernetes.io/last-applied-configuration".to_owned(), json!("{}"))),
    }
    let mut object = json!({"apiVersion": "v1", "kind": kind.kind, "metadata": metadata});
    for pointer in kind.templates {
        let mut template = template(bytes);
        if pointer.is_empty() {
            // A pod is a template itself.
            annotations.extend(template["metadata"]["annotations"].as_object().cloned().unwrap_or_default());
            object["spec"] = template["spec"].take();
        } else {
            place(&mut object, pointer, template);
        }
    }
    if !annotations.is_empty() {
        object["metadata"]["annotations"] = Value::Object(annotations);
    }
    if bytes.once_in(10) { mangled(object, bytes) } else { object }
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

fn template(bytes: &mut Bytes<'_>) -> Value {
    let mut containers: Vec<_> = (0..1 + bytes.up_to(2)).map(|_| container(bytes)).collect();
    if bytes.once_in(80) {
        // So many that not all of what is found can be told.
        containers = (0..60).flat_map(|_| containers.clone()).collect();
    }
    let mut spec = json!({ "containers": containers });
    for list in [LISTS[1], LISTS[2]] {
        if bytes.once_in(4) {
            spec[list] = json!(bytes.few(2, container));
        }
    }
    if bytes.once_in(4) {
        spec["volumes"] = json!(bytes.few(3, volume));
    }
    let annotations = if bytes.once_in(2) { scans::annotations(bytes) } else { Map::new() };
    if bytes.once_in(8) {
        let architecture = bytes.one_of(&["amd64", "arm64", "x"]);
        spec["nodeSelector"] = json!({"kubernetes.io/arch": architecture});
    }
    json!({"metadata": {"annotations": annotations}, "spec": spec})
}

/// An entry of one of the lists of a pod's spec.
pub(crate) fn entry(list: &str, bytes: &mut Bytes<'_>) -> Value {
    match (bytes.once_in(20), list) {
        (true, _) => any(bytes),
        (_, "volumes") => volume(bytes),
        _ => container(bytes),
    }
}

fn container(bytes: &mut Bytes<'_>) -> Value {
    let mut container = json!({"name": bytes.one_of(&NAMES), "image": image(bytes)});
    match bytes.up_to(15) {
        0..=11 => {}
        12 => drop(container.as_object_mut().map(|container| container.remove("name"))),
        13 => drop(container.as_object_mut().map(|container| container.remove("image"))),
        14 => container["unknown"] = any(bytes),
        _ => container["image"] = Value::Null,
    }
    container
}

fn volume(bytes: &mut Bytes<'_>) -> Value {
    let name = bytes.one_of(&["data", "app", "tmp"]);
    match bytes.up_to(3) {
        0 => json!({"name": name, "emptyDir": {}}),
        1 => json!({"name": name, "image": {"pullPolicy": "Always"}}),
        _ => json!({"name": name, "image": {"reference": image(bytes), "pullPolicy": "Always"}}),
    }
}

/// What the object was like before an UPDATE: mostly the same but for some of its images.
fn old_object(object: &Value, kind: &Kind, bytes: &mut Bytes<'_>) -> Value {
    let mut old = object.clone();
    for template in kind.templates {
        for list in LISTS {
            let entries = old.pointer_mut(&format!("{template}/spec/{list}")).and_then(Value::as_array_mut);
            for entry in entries.into_iter().flatten().filter(|entry| entry.is_object()) {
                if bytes.once_in(3) {
                    *entry = self::entry(list, bytes);
                }
            }
        }
    }
    match bytes.up_to(15) {
        0..=11 => {}
        13 => return Value::Null,
        15 => return mangled(old, bytes),
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
