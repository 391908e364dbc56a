//! Finds the images of objects: the kinds with pod templates, and the fields of a pod that hold image references.

pub mod change;
pub mod custom;
pub mod identity;
pub mod kinds;
mod nodes;
pub mod record_keys;
pub mod records;
pub mod site;
mod walk;

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::finding::codes;
use crate::request::GroupVersionKind;
use crate::sanitized::Sanitized;
use custom::CustomWorkload;
use kinds::{KINDS, Layout};
use site::{AnnotationFilter, Workload};
use walk::ReadError;

codes! {
    /// An object of a kind whose images the policy cannot find.
    UNKNOWN_KIND = "unknown-kind", status 460;
    /// An image reference that container runtimes do not understand.
    INVALID_REFERENCE = "invalid-reference", status 460;
}

/// The kinds whose controllers create pods from ControllerRevisions.
const REVISED: [&str; 2] = ["StatefulSet", "DaemonSet"];

/// Why the images of an object cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlisted {
    /// Neither this policy nor its settings know the kind.
    UnknownKind,
    /// The object does not match the schema of its kind. The text has the problem and its path.
    Malformed(String),
}

/// Reads the images of an object, and the annotations of its pods.
///
/// `reads` selects the annotations of pods that are kept, in addition to those of records.
///
/// An empty or missing image is skipped where Kubernetes allows to leave it out.
///
/// # Errors
/// If the kind is unknown, or the object does not match the schema of its kind.
pub fn read<'a>(
    kind: &GroupVersionKind<'_>,
    object: &'a RawValue,
    custom: &'a [CustomWorkload],
    reads: AnnotationFilter,
) -> Result<Workload<'a>, Unlisted> {
    let mut workload = Workload::default();
    let mut known = false;
    for (template, layout) in templates(kind, custom) {
        known = true;
        match walk::read_template(object, template, layout, reads, &mut workload) {
            // The revision of another operator. Its content is arbitrary, and Kubernetes creates no pods from it.
            Err(ReadError::Missing(_)) if layout == Layout::Patch && !is_revision_of_ours(kind, object)? => {}
            outcome => outcome.map_err(|error| Unlisted::Malformed(malformed(kind, error)))?,
        }
    }
    if known { Ok(workload) } else { Err(Unlisted::UnknownKind) }
}

/// Whether a ControllerRevision belongs to a StatefulSet or a DaemonSet.
fn is_revision_of_ours(kind: &GroupVersionKind<'_>, object: &RawValue) -> Result<bool, Unlisted> {
    let owners =
        walk::owners(object).map_err(|cause| Unlisted::Malformed(malformed(kind, ReadError::Schema(cause))))?;
    Ok(owners.iter().any(|owner| owner.api_version.starts_with("apps/") && REVISED.contains(&owner.kind.as_ref())))
}

/// Whether an object has an owner reference with `controller: true`. Every user can write such a reference.
#[must_use]
pub fn has_controller(object: &RawValue) -> bool {
    walk::owners(object).is_ok_and(|owners| owners.iter().any(|owner| owner.controller == Some(true)))
}

/// Whether an object is already being deleted.
///
/// # Errors
/// The problem and its path, if the metadata of the object is invalid.
pub fn is_being_deleted(object: &RawValue) -> Result<bool, String> {
    walk::has_deletion_timestamp(object)
}

fn templates<'a>(kind: &GroupVersionKind<'_>, custom: &'a [CustomWorkload]) -> Vec<(Cow<'a, str>, Layout)> {
    let own = KINDS
        .iter()
        .filter(|known| known.group == kind.group && known.kind == kind.kind)
        .map(|known| (Cow::Borrowed(known.template), known.layout));
    let custom = custom.iter().filter(|workload| workload.kind == kind.kind && workload.api_version.matches(kind));
    let mut templates: Vec<(Cow<'a, str>, Layout)> = own.collect();
    for workload in custom {
        let template = workload.pod_template.0.as_str();
        if !templates.iter().any(|(known, _)| known == template) {
            templates.push((Cow::Borrowed(template), Layout::Custom));
        }
    }
    templates
}

fn malformed(kind: &GroupVersionKind<'_>, error: ReadError) -> String {
    let kind = Sanitized(&kind.kind);
    match error {
        ReadError::Missing(path) => format!("this {kind} has no `{}`, which holds its images", Sanitized(&path)),
        ReadError::Schema(cause) => format!("invalid {kind}: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::custom::{ApiVersion, CustomWorkload, TemplatePointer};
    use super::{Unlisted, Workload};
    use crate::request::GroupVersionKind;

    fn kind(api_version: &'static str, kind: &'static str) -> GroupVersionKind<'static> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        GroupVersionKind { group: Cow::Borrowed(group), version: Cow::Borrowed(version), kind: Cow::Borrowed(kind) }
    }

    fn read<'a>(
        kind: &GroupVersionKind<'_>,
        object: &'a serde_json::value::RawValue,
        custom: &'a [CustomWorkload],
    ) -> Result<Workload<'a>, Unlisted> {
        super::read(kind, object, custom, |_| false)
    }

    fn sites(of: &GroupVersionKind<'_>, object: &Value) -> Result<Vec<(String, String, String)>, Unlisted> {
        let custom = [CustomWorkload {
            api_version: ApiVersion::parse("argoproj.io/v1alpha1").unwrap(),
            kind: "Rollout".to_owned(),
            pod_template: TemplatePointer("/spec/template".to_owned()),
        }];
        let json = to_raw_value(object).unwrap();
        let sites = read(of, &json, &custom)?.sites;
        Ok(sites.iter().map(|site| (site.to_string(), site.image.to_string(), site.pointer())).collect())
    }

    fn malformed(of: &GroupVersionKind<'_>, object: &Value) -> String {
        match sites(of, object) {
            Err(Unlisted::Malformed(message)) => message,
            other => panic!("{object} is read as {other:?}"),
        }
    }

    const ALL_KINDS: [(&str, &str, &str); 10] = [
        ("v1", "Pod", ""),
        ("v1", "PodTemplate", "/template"),
        ("v1", "ReplicationController", "/spec/template"),
        ("apps/v1", "ReplicaSet", "/spec/template"),
        ("apps/v1", "Deployment", "/spec/template"),
        ("apps/v1", "StatefulSet", "/spec/template"),
        ("apps/v1", "DaemonSet", "/spec/template"),
        ("batch/v1", "Job", "/spec/template"),
        ("batch/v1", "CronJob", "/spec/jobTemplate/spec/template"),
        ("argoproj.io/v1alpha1", "Rollout", "/spec/template"),
    ];

    /// An object that holds `value` at a JSON pointer and nothing else.
    fn only(pointer: &str, value: Value) -> Value {
        pointer.rsplit('/').filter(|key| !key.is_empty()).fold(value, |inner, key| json!({ key: inner }))
    }

    #[test]
    fn every_place_of_every_kind_is_found() {
        let spec = json!({
            "volumes": [{"name": "data", "image": {"reference": "volume:1", "pullPolicy": "Always"}}, {"name": "tmp", "emptyDir": {}}],
            "containers": [{"name": "app", "image": "app:1"}, {"name": "side", "image": "side:1"}],
            "ephemeralContainers": [{"name": "debug", "image": "debug:1"}],
            "initContainers": [{"name": "setup", "image": "setup:1"}],
        });
        for (api_version, name, template) in ALL_KINDS {
            let object = only(template, json!({"spec": spec}));
            let expected = [
                ("init container `setup`", "setup:1", "initContainers/0/image"),
                ("container `app`", "app:1", "containers/0/image"),
                ("container `side`", "side:1", "containers/1/image"),
                ("ephemeral container `debug`", "debug:1", "ephemeralContainers/0/image"),
                ("volume `data`", "volume:1", "volumes/0/image/reference"),
            ]
            .map(|(site, image, pointer)| (site.to_owned(), image.to_owned(), format!("{template}/spec/{pointer}")));
            assert_eq!(sites(&kind(api_version, name), &object), Ok(expected.to_vec()), "{name}");
            for (_, image, pointer) in expected {
                assert_eq!(object.pointer(&pointer), Some(&Value::String(image)), "{name}: {pointer}");
            }
        }
    }

    /// The spec of a pod with images that are missing, null and empty.
    fn spec_without_images() -> Value {
        json!({
            "containers": [{"name": "a"}, {"name": "b", "image": null}, {"name": "c", "image": ""}],
            "ephemeralContainers": [{"name": "d"}, {"name": "e", "image": ""}],
            "initContainers": null,
            "volumes": [
                {"name": "f", "image": {"pullPolicy": "Always"}}, {"name": "g", "image": {"reference": null}},
                {"name": "h", "image": {"reference": ""}}, {"name": "i", "image": null}, {"name": "j", "emptyDir": {}},
            ],
        })
    }

    #[test]
    fn a_missing_image_is_read_like_an_empty_one_where_kubernetes_requires_it() {
        let containers = ["a", "b", "c"].map(|name| format!("container `{name}`"));
        let ephemeral = ["d", "e"].map(|name| format!("ephemeral container `{name}`"));
        let volumes = ["f", "g", "h"].map(|name| format!("volume `{name}`"));
        for (api_version, name, template) in ALL_KINDS {
            let expected: Vec<&String> = match name {
                "Pod" => containers.iter().chain(&ephemeral).chain(&volumes).collect(),
                // Its operator may fill in the images.
                "Rollout" => Vec::new(),
                // The API server accepts templates with image volumes without a reference.
                _ => containers.iter().chain(&ephemeral).collect(),
            };
            let object = only(template, json!({"spec": spec_without_images()}));
            let found = sites(&kind(api_version, name), &object).unwrap();
            assert!(found.iter().all(|(_, image, _)| image.is_empty()), "{name}: {found:?}");
            assert_eq!(found.iter().map(|(site, ..)| site).collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(sites(&kind("v1", "Pod"), &json!({"spec": {}})), Ok(vec![]));
    }

    #[test]
    fn a_revision_may_leave_out_images() {
        let object = json!({"data": {"spec": {"template": {"spec": spec_without_images()}}}});
        assert_eq!(sites(&kind("apps/v1", "ControllerRevision"), &object), Ok(vec![]));
    }

    #[test]
    fn control_characters_of_kinds_and_paths_are_escaped_in_messages() {
        let of = kind("v1", "Rollout\n");
        let custom = [CustomWorkload {
            api_version: ApiVersion::parse("v1").unwrap(),
            kind: "Rollout\n".to_owned(),
            pod_template: TemplatePointer("/sp\u{7}ec".to_owned()),
        }];
        let object = to_raw_value(&json!({})).unwrap();
        let expected = r"this Rollout\n has no `sp\u{7}ec`, which holds its images";
        assert_eq!(read(&of, &object, &custom).unwrap_err(), Unlisted::Malformed(expected.to_owned()));
    }

    #[test]
    fn a_container_without_a_name_is_identified_by_its_path() {
        let object = json!({"spec": {"containers": [{"image": "a"}, {"name": "", "image": "b"}]}});
        let sites = sites(&kind("v1", "Pod"), &object).unwrap();
        assert_eq!(sites[0].0, "container without a name at /spec/containers/0/image");
        assert_eq!(sites[1].0, "container without a name at /spec/containers/1/image");
    }

    #[test]
    fn a_kind_is_matched_by_its_group_and_not_by_its_version() {
        let object = only("/spec/template", json!({"spec": {}}));
        assert_eq!(sites(&kind("apps/v1beta2", "Deployment"), &object), Ok(vec![]));
        for (api_version, name) in [
            ("v1", "Deployment"),
            ("example.com/v1", "Deployment"),
            ("apps/v1", "Pod"),
            ("v1", "PodList"),
            ("v1", "List"),
            ("v1", "pod"),
            ("argoproj.io/v1beta1", "Rollout"),
        ] {
            assert_eq!(sites(&kind(api_version, name), &object), Err(Unlisted::UnknownKind), "{api_version} {name}");
        }
    }

    #[test]
    fn an_invalid_object_is_rejected_with_the_path() {
        let deployment = kind("apps/v1", "Deployment");
        for (of, object, expected) in [
            (&deployment, json!({}), "this Deployment has no `spec.template`"),
            (&deployment, json!({"spec": {}}), "this Deployment has no `spec.template`"),
            (&deployment, json!({"spec": {"template": null}}), "this Deployment has no `spec.template`"),
            (&deployment, json!({"spec": {"template": {}}}), "this Deployment has no `spec.template.spec`"),
            (&deployment, json!({"spec": {"template": {"spec": null}}}), "this Deployment has no `spec.template.spec`"),
            (
                &deployment,
                json!({"spec": 7}),
                "invalid Deployment: spec: invalid type: integer `7`, expected an object",
            ),
            (&kind("v1", "Pod"), json!({}), "this Pod has no `spec`"),
            (&kind("v1", "Pod"), json!([]), "invalid Pod: invalid type: sequence, expected an object"),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": {}}}),
                "invalid Pod: spec.containers: invalid type: map, expected a list",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [{"image": "a"}, {"image": 7}]}}),
                "invalid Pod: spec.containers[1].image: invalid type: integer `7`, expected a string",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [null]}}),
                "invalid Pod: spec.containers[0]: invalid type: null, expected an object",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [{"name": 7, "image": "a"}]}}),
                "invalid Pod: spec.containers[0].name: invalid type: integer `7`, expected a string",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"volumes": [{"image": "a"}]}}),
                "invalid Pod: spec.volumes[0].image: invalid type: string \"a\", expected an object",
            ),
            (
                &kind("argoproj.io/v1alpha1", "Rollout"),
                json!({"spec": {"workloadRef": {}}}),
                "this Rollout has no `spec.template`",
            ),
        ] {
            let message = malformed(of, &object);
            assert!(message.starts_with(expected), "{object}\n  expected: {expected}\n  found:    {message}");
        }
    }

    #[test]
    fn a_duplicate_key_that_affects_images_is_rejected() {
        for object in [
            r#"{"spec": {"containers": [{"name": "a", "image": "good@", "image": "bad"}]}}"#,
            r#"{"spec": {"containers": [], "containers": []}}"#,
            r#"{"spec": {"containers": []}, "spec": {"containers": []}}"#,
            r#"{"spec": {"containers": []}, "\u0073pec": {"containers": []}}"#,
        ] {
            let json: &serde_json::value::RawValue = serde_json::from_str(object).unwrap();
            let found = read(&kind("v1", "Pod"), json, &[]);
            assert!(
                matches!(&found, Err(Unlisted::Malformed(cause)) if cause.contains("given twice")),
                "{object}: {found:?}"
            );
        }
    }

    #[test]
    fn every_template_of_a_kind_with_several_is_read() {
        let custom = ["/spec/leader", "/spec/workers/0/template"].map(|pointer| CustomWorkload {
            api_version: ApiVersion::parse("example.com/v1").unwrap(),
            kind: "Cluster".to_owned(),
            pod_template: TemplatePointer(pointer.to_owned()),
        });
        let object = to_raw_value(&json!({"spec": {
            "workers": [{"template": {"spec": {"containers": [{"image": "worker"}]}}}],
            "leader": {"spec": {"containers": [{"image": "leader"}]}},
        }}))
        .unwrap();
        let sites = read(&kind("example.com/v1", "Cluster"), &object, &custom).unwrap().sites;
        let found: Vec<_> = sites.iter().map(|site| (site.image.as_ref(), site.pointer())).collect();
        assert_eq!(
            found,
            [
                ("leader", "/spec/leader/spec/containers/0/image".to_owned()),
                ("worker", "/spec/workers/0/template/spec/containers/0/image".to_owned()),
            ]
        );
    }
}
