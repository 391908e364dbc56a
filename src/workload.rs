//! Where objects name images: the kinds that hold pod templates, and the fields of a pod that hold image references.

pub mod kinds;
mod nodes;
pub mod records;
mod walk;

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::image::{Platform, Platforms};
use crate::request::GroupVersionKind;
use crate::settings::read::{Path, Problems, Setting, read_string, section};
use crate::settings::shape::Shape;
use kinds::{KINDS, Layout};
pub use nodes::Nodes;
use walk::ReadError;

/// The kinds whose controllers make pods of ControllerRevisions.
const REVISED: [&str; 2] = ["StatefulSet", "DaemonSet"];

/// A field of a pod's spec that holds image references: a list, and where in each of its entries the reference stands.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageField {
    /// The list in the pod's spec.
    pub list: &'static str,
    /// The keys that lead from an entry of the list to the reference.
    pub image: &'static [&'static str],
    /// What messages call an entry of the list.
    pub noun: &'static str,
}

/// Every field of a pod's spec that names an image, in the order in which a pod is judged.
pub const IMAGE_FIELDS: [ImageField; 4] = [
    ImageField { list: "initContainers", image: &["image"], noun: "init container" },
    ImageField { list: "containers", image: &["image"], noun: "container" },
    ImageField { list: "ephemeralContainers", image: &["image"], noun: "ephemeral container" },
    ImageField { list: "volumes", image: &["image", "reference"], noun: "volume" },
];

/// A place in an object where an image is named.
#[derive(Debug, Clone)]
pub struct ImageSite<'a> {
    /// Which field of the pod's spec it is.
    pub field: &'static ImageField,
    /// Which entry of the list, counted from 0.
    pub index: usize,
    /// The name of the container or volume, where it has one.
    pub name: Option<Cow<'a, str>>,
    /// The image reference, as it is written.
    pub image: Cow<'a, str>,
    /// The record for it in the pod template or the pod. It may be invalid.
    pub record: Option<Cow<'a, str>>,
    template: Cow<'a, str>,
    layout: Layout,
    /// The JSON of the reference, inside the JSON of the object; none where the reference is a record.
    json: Option<&'a RawValue>,
}

impl ImageSite<'_> {
    /// What stays the same while nobody changes the image: the template and the list that it is in, the name of its container
    /// and the image, with the digest that its pod template records. A container without a name is always another.
    #[must_use]
    pub fn identity(&self) -> Option<(&str, &'static str, &str, Cow<'_, str>)> {
        let (template, list, name) = self.place()?;
        Some((template, list, name, self.recorded().map_or(Cow::Borrowed(&self.image), Cow::Owned)))
    }

    /// The template and the list that it is in, and the name of its container, where it has one.
    #[must_use]
    pub fn place(&self) -> Option<(&str, &'static str, &str)> {
        let name = self.name.as_deref().filter(|name| !name.is_empty())?;
        Some((&self.template, self.field.list, name))
    }

    /// The pod template that it is in, as a JSON pointer.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// Where the JSON of the reference, quotes included, stands in the JSON text of the object that it was read from.
    #[must_use]
    pub fn span(&self, object: &RawValue) -> Option<Range<usize>> {
        records::span(object.get(), self.json?.get())
    }

    /// Where the reference stands in the object, as a JSON pointer (RFC 6901).
    #[must_use]
    pub fn pointer(&self) -> String {
        let spec = if self.layout == Layout::Spec { "" } else { "/spec" };
        format!("{}{spec}/{}/{}/{}", self.template, self.field.list, self.index, self.field.image.join("/"))
    }
}

impl fmt::Display for ImageSite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_deref() {
            Some(name) if !name.is_empty() => write!(f, "{} `{}`", self.field.noun, crate::shown::Shown(name)),
            _ => write!(f, "{} without a name at {}", self.field.noun, self.pointer()),
        }
    }
}

/// An annotation of a pod, or of the pods that are made of a template.
#[derive(Debug, Clone)]
pub struct Annotation<'a> {
    /// The key, as it is written.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Cow<'a, str>,
    template: Cow<'a, str>,
}

impl Annotation<'_> {
    /// The pod template that it is of, as a JSON pointer.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }
}

/// What is read of an object.
#[derive(Debug, Clone, Default)]
pub struct Workload<'a> {
    /// Where it names images: template by template, and in each in the order of [`IMAGE_FIELDS`].
    pub sites: Vec<ImageSite<'a>>,
    /// The annotations of its templates.
    pub annotations: Vec<Annotation<'a>>,
    /// Its templates.
    pub templates: Vec<Template<'a>>,
}

/// A pod template of an object.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// Where it stands, as a JSON pointer.
    pub pointer: Cow<'a, str>,
    /// The nodes that its pods may run on.
    pub nodes: Nodes,
    /// Those of its annotations that this policy writes.
    pub records: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Workload<'_> {
    /// The platforms for which the images of a template are judged. `configured` are those of the cluster, where the settings
    /// list them.
    #[must_use]
    pub fn platforms(&self, template: &str, configured: Option<&[Platform]>) -> Platforms {
        let found = self.templates.iter().find(|known| known.pointer == template);
        found.map_or_else(|| Nodes::default().platforms(configured), |known| known.nodes.platforms(configured))
    }
}

section! {
    /// A kind besides Kubernetes' own that holds pod templates. A kind with several is given several times.
    pub struct CustomWorkload {
        required {
            /// Group and version as manifests write them, such as `argoproj.io/v1alpha1`; `argoproj.io/*` for every
            /// version.
            "apiVersion" api_version: ApiVersion,
            /// The kind, such as `Rollout`.
            "kind" kind: String,
            /// Where the pod template stands: the object that holds the pod's `spec`, such as `/spec/template`.
            "podTemplate" pod_template: TemplatePointer,
        }
    }
}

/// A group and a version of it, or every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiVersion {
    group: String,
    version: String,
}

impl ApiVersion {
    /// Reads `v1`, `apps/v1` or `apps/*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (group, version) = text.split_once('/').unwrap_or(("", text));
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let plain = |text: &str, more: &[u8]| {
            text.bytes().all(|byte| alphanumeric(byte) || more.contains(&byte))
                && [text.bytes().next(), text.bytes().next_back()]
                    .into_iter()
                    .all(|byte| byte.is_some_and(alphanumeric))
        };
        let is_group = if group.is_empty() { !text.contains('/') } else { plain(group, b"-.") };
        let is_version = plain(version, b"-") || (version == "*" && !group.is_empty());
        (is_group && is_version).then(|| Self { group: group.to_owned(), version: version.to_owned() })
    }

    fn matches(&self, kind: &GroupVersionKind<'_>) -> bool {
        self.group == kind.group && (self.version == "*" || self.version == kind.version)
    }
}

impl Setting for ApiVersion {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a group and version such as `argoproj.io/v1alpha1`", problems)?;
        let parsed = Self::parse(&text);
        if parsed.is_none() {
            problems.push(at, format_args!("`{text}` is no group and version; write them as manifests do, `argoproj.io/v1alpha1`, or `argoproj.io/*` for every version"));
        }
        parsed
    }

    fn shape() -> Shape {
        let part = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?";
        Shape::text("group and version", "groups and versions", format!(r"^({part}|{part}/({part}|\*))$"))
    }

    fn written(&self) -> Value {
        if self.group.is_empty() {
            self.version.as_str().into()
        } else {
            format!("{}/{}", self.group, self.version).into()
        }
    }
}

/// A JSON pointer to a pod template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePointer(String);

impl Setting for TemplatePointer {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a JSON pointer such as `/spec/template`", problems)?;
        let escaped = |key: &str| key.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        // An array index has one spelling (RFC 6901, section 4); two would make one template look like two.
        let odd_index = |key: &str| key.parse::<usize>().is_ok_and(|index| index.to_string() != key);
        let sound = |keys: &str| keys.split('/').all(|key| !key.is_empty() && escaped(key) && !odd_index(key));
        let sound = text.strip_prefix('/').is_some_and(sound);
        if !sound {
            problems.push(
                at,
                format_args!("`{text}` is no JSON pointer to a pod template; write one such as `/spec/template`"),
            );
            return None;
        }
        Some(Self(text))
    }

    fn shape() -> Shape {
        Shape::text("JSON pointer (RFC 6901)", "JSON pointers (RFC 6901)", "^(/([^/~]|~[01])+)+$")
    }

    fn written(&self) -> Value {
        self.0.as_str().into()
    }
}

/// Why the images of an object cannot be listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unlisted {
    /// Neither we nor the settings know the kind.
    UnknownKind,
    /// The object is not of the shape that its kind has: what is wrong, and where.
    Malformed(String),
}

/// Reads the images that an object names, and the annotations of its pods.
///
/// A container without an image is no site: what becomes of it is for the API server to say.
///
/// # Errors
/// When the kind is unknown, or the object is not of its kind's shape.
pub fn read<'a>(
    kind: &GroupVersionKind<'_>,
    object: &'a RawValue,
    custom: &'a [CustomWorkload],
) -> Result<Workload<'a>, Unlisted> {
    let mut workload = Workload::default();
    let mut known = false;
    for (template, layout) in templates(kind, custom) {
        known = true;
        match walk::read_template(object, template, layout, &mut workload) {
            // The revision of another operator. It holds what that operator likes, and Kubernetes makes no pods of it.
            Err(ReadError::Missing(_)) if layout == Layout::Patch && !is_revision_of_ours(kind, object)? => {}
            outcome => outcome.map_err(|error| Unlisted::Malformed(malformed(kind, error)))?,
        }
    }
    if known { Ok(workload) } else { Err(Unlisted::UnknownKind) }
}

/// Whether a ControllerRevision is that of a StatefulSet or DaemonSet.
fn is_revision_of_ours(kind: &GroupVersionKind<'_>, object: &RawValue) -> Result<bool, Unlisted> {
    let owners = walk::owners(object).map_err(|cause| Unlisted::Malformed(malformed(kind, ReadError::Shape(cause))))?;
    Ok(owners.iter().any(|owner| owner.api_version.starts_with("apps/") && REVISED.contains(&owner.kind.as_ref())))
}

/// Whether an object has an owner reference with `controller: true`. Every user can write that.
#[must_use]
pub fn has_controller(object: &RawValue) -> bool {
    walk::owners(object).is_ok_and(|owners| owners.iter().any(|owner| owner.controller == Some(true)))
}

/// What the images of an object are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// They run.
    Pod,
    /// They run in pods that are made of the object.
    Template,
    /// They run in pods that a controller makes of the object. It compares the object with the template that it was made of, so
    /// that nothing may be written into it.
    Revision,
}

impl Placement {
    /// What the images of objects of this kind are for.
    #[must_use]
    pub fn of(kind: &GroupVersionKind<'_>) -> Self {
        match (kind.group.as_ref(), kind.kind.as_ref()) {
            ("", "Pod" | "EphemeralContainers") => Self::Pod,
            ("apps", "ControllerRevision") => Self::Revision,
            _ => Self::Template,
        }
    }
}

/// Whether an object is already being deleted.
///
/// # Errors
/// What was wrong and where, when the object's metadata is not of the shape that all objects have.
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
            templates.push((Cow::Borrowed(template), Layout::Template));
        }
    }
    templates
}

fn malformed(kind: &GroupVersionKind<'_>, error: ReadError) -> String {
    let kind = &kind.kind;
    match error {
        ReadError::Missing(path) => format!("this {kind} has no `{path}`, which holds its images"),
        ReadError::Shape(cause) => format!("this {kind} is not of the shape that its kind has: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::{ApiVersion, CustomWorkload, TemplatePointer, Unlisted, read};
    use crate::request::GroupVersionKind;

    fn kind(api_version: &'static str, kind: &'static str) -> GroupVersionKind<'static> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        GroupVersionKind { group: Cow::Borrowed(group), version: Cow::Borrowed(version), kind: Cow::Borrowed(kind) }
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

    #[test]
    fn an_entry_without_an_image_is_no_site() {
        let object = json!({"spec": {
            "containers": [{"name": "a"}, {"name": "b", "image": null}],
            "initContainers": null,
            "volumes": [{"name": "c", "image": {"pullPolicy": "Always"}}, {"name": "d", "image": null}],
        }});
        assert_eq!(sites(&kind("v1", "Pod"), &object), Ok(vec![]));
        assert_eq!(sites(&kind("v1", "Pod"), &json!({"spec": {}})), Ok(vec![]));
    }

    #[test]
    fn an_empty_image_is_a_site() {
        let object = json!({"spec": {"containers": [{"name": "a", "image": ""}]}});
        assert_eq!(sites(&kind("v1", "Pod"), &object).unwrap().len(), 1);
    }

    #[test]
    fn a_container_without_a_name_is_called_by_its_place() {
        let object = json!({"spec": {"containers": [{"image": "a"}, {"name": "", "image": "b"}]}});
        let sites = sites(&kind("v1", "Pod"), &object).unwrap();
        assert_eq!(sites[0].0, "container without a name at /spec/containers/0/image");
        assert_eq!(sites[1].0, "container without a name at /spec/containers/1/image");
    }

    #[test]
    fn a_kind_is_known_by_its_group_and_not_by_its_version() {
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
    fn an_object_of_another_shape_is_refused_with_the_place() {
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
                "this Deployment is not of the shape that its kind has: spec: invalid type: integer `7`, expected an object",
            ),
            (&kind("v1", "Pod"), json!({}), "this Pod has no `spec`"),
            (
                &kind("v1", "Pod"),
                json!([]),
                "this Pod is not of the shape that its kind has: invalid type: sequence, expected an object",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": {}}}),
                "this Pod is not of the shape that its kind has: spec.containers: invalid type: map, expected a list",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [{"image": "a"}, {"image": 7}]}}),
                "this Pod is not of the shape that its kind has: spec.containers[1].image: invalid type: integer `7`, expected a string",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [null]}}),
                "this Pod is not of the shape that its kind has: spec.containers[0]: invalid type: null, expected an object",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"containers": [{"name": 7, "image": "a"}]}}),
                "this Pod is not of the shape that its kind has: spec.containers[0].name: invalid type: integer `7`, expected a string",
            ),
            (
                &kind("v1", "Pod"),
                json!({"spec": {"volumes": [{"image": "a"}]}}),
                "this Pod is not of the shape that its kind has: spec.volumes[0].image: invalid type: string \"a\", expected an object",
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
    fn a_key_that_decides_and_is_given_twice_is_refused() {
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
    fn a_kind_with_several_templates_is_read_in_each() {
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
