//! Walks the PodSpec of the newest Kubernetes that `k8s-openapi` knows, and fails when it names an image in a place that
//! the policy does not look at.

use std::collections::{BTreeMap, BTreeSet};

use container_patch_policy::workload::site::IMAGE_FIELDS;
use k8s_openapi::api::core::v1::PodSpec;
use serde_json::Value;

/// Strings whose name or description speaks of images, and which name none; and why.
const NO_IMAGE: &[(&str, &str)] = &[
    ("imagePullSecrets[].name", "the name of a Secret"),
    (".imagePullPolicy", "when to pull"),
    (".image.pullPolicy", "when to pull"),
    (".args[]", "arguments; the description speaks of the image's CMD"),
    (".command[]", "arguments; the description speaks of the image's ENTRYPOINT"),
    (".workingDir", "a directory; the description speaks of the image's default"),
    (".terminationMessagePath", "a path; described with the container's image"),
    (
        "ephemeralContainers[].targetContainerName",
        "a container; the description speaks of what a debugging image needs",
    ),
    (".windowsOptions.runAsUserName", "a user; the description speaks of the image's metadata"),
    (".bindMountOptions[]", "mount options; the description speaks of image volumes"),
    (".rbd.image", "a block device image of Ceph, mounted as a disk and not run"),
    (".rbd.fsType", "a file system"),
    ("os.name", "an operating system"),
];

/// Every string in the schema of PodSpec: its path, and the texts that may say that it is an image.
fn strings() -> BTreeMap<String, String> {
    let mut generator = schemars::generate::SchemaSettings::draft2020_12().into_generator();
    let schema = generator.root_schema_for::<PodSpec>();
    let schema = Value::from(schema);
    let mut found = BTreeMap::new();
    walk(&schema, &schema, String::new(), String::new(), &mut found, 0);
    found
}

fn walk(root: &Value, schema: &Value, path: String, told: String, found: &mut BTreeMap<String, String>, depth: usize) {
    assert!(depth < 24, "{path} nests without end");
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        let target = root.pointer(target.trim_start_matches('#')).expect("a reference leads somewhere");
        return walk(root, target, path, told, found, depth + 1);
    }
    for alternative in ["allOf", "anyOf", "oneOf"].iter().filter_map(|key| schema.get(key)?.as_array()).flatten() {
        walk(root, alternative, path.clone(), told.clone(), found, depth + 1);
    }
    if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
        for (name, property) in properties {
            let description = property.get("description").and_then(Value::as_str).unwrap_or_default();
            let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
            walk(root, property, path, description.to_owned(), found, depth + 1);
        }
    }
    if let Some(items) = schema.get("items") {
        walk(root, items, format!("{path}[]"), told.clone(), found, depth + 1);
    }
    let types = match schema.get("type") {
        Some(Value::String(one)) => vec![one.as_str()],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    if types.contains(&"string") {
        found.insert(path, told);
    }
}

/// The strings that may name an image: the word stands in their path or in their description.
fn suspects() -> BTreeSet<String> {
    let speaks_of_images = |text: &str| text.to_lowercase().contains("image");
    strings()
        .into_iter()
        .filter(|(path, told)| speaks_of_images(path) || speaks_of_images(told))
        .filter(|(path, _)| !NO_IMAGE.iter().any(|(end, _)| path.ends_with(end)))
        .map(|(path, _)| path)
        .collect()
}

#[test]
fn every_field_of_a_pod_that_names_an_image_is_one_that_the_policy_looks_at() {
    let known: BTreeSet<String> =
        IMAGE_FIELDS.iter().map(|field| format!("{}[].{}", field.list, field.image.join("."))).collect();
    assert_eq!(
        suspects(),
        known,
        "left: what PodSpec says of images; right: IMAGE_FIELDS of src/workload.rs. A string that names no image belongs \
         in NO_IMAGE of this test, with the reason"
    );
}

#[test]
fn nothing_is_explained_away_that_is_not_there() {
    let strings = strings();
    for (end, reason) in NO_IMAGE {
        assert!(strings.keys().any(|path| path.ends_with(end)), "no string ends in {end} ({reason})");
    }
}

#[test]
fn the_walk_goes_to_the_leaves() {
    let strings = strings();
    for path in ["containers[].name", "volumes[].csi.driver", "initContainers[].env[].valueFrom.secretKeyRef.key"] {
        assert!(strings.contains_key(path), "{path} is not among {} strings", strings.len());
    }
}
