//! Changes of records: what an UPDATE does to them, and the annotations that are written into a pod template or a pod.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::ops::Range;

use serde_json::value::RawValue;

use super::kinds::{Layout, Placement};
use super::record_keys::{RESOLVED, VOLUME, digest_of, is_ours, is_record};
use super::site::{ImageField, ImageSite, Template, Workload};
use crate::image::Reference;
use crate::json::{self, Entries, JsonStr, at, span};

/// The depth to which two templates are compared. Values below it are equal only if their text is equal.
const MAX_DEPTH: usize = 32;

/// Records that no image of their template uses, treated like image fields.
const UNUSED: [ImageField; 2] = [
    ImageField { list: "annotations", image: &[], noun: "record of container" },
    ImageField { list: "annotations", image: &[], noun: "record of volume" },
];

/// Adds the records that no image of their pod template uses to the image sites. A pod of the template may still have such an image:
/// a ControllerRevision is merged into another template, and webhooks inject containers and rewrite images.
pub fn add_unused(workload: &mut Workload<'_>) {
    let Workload { sites, templates, .. } = workload;
    for template in templates.iter().filter(|template| !template.pointer.is_empty() && !template.records.is_empty()) {
        let of_template = sites.iter().filter(|site| site.template == template.pointer);
        let used: HashSet<String> =
            of_template.filter(|site| site.has_record()).filter_map(ImageSite::record_key).collect();
        // One record per image is enough.
        let mut images = HashSet::new();
        let unused: Vec<ImageSite<'_>> = template
            .records
            .iter()
            .filter(|(key, value)| !used.contains(key.as_ref()) && is_usable(value) && images.insert(value.as_ref()))
            .filter_map(|(key, value)| {
                let (prefix, name) = key.split_at_checked(key.find('/')? + 1)?;
                Some(ImageSite {
                    field: if prefix == VOLUME { &UNUSED[1] } else { &UNUSED[0] },
                    index: 0,
                    name: Some(Cow::Owned(name.to_owned())),
                    image: value.clone(),
                    record: None,
                    template: template.pointer.clone(),
                    layout: Layout::Template,
                    json: None,
                })
            })
            .collect();
        sites.extend(unused);
    }
}

/// Whether a text can be the record of an image.
fn is_usable(record: &str) -> bool {
    Reference::parse(record).is_ok_and(|record| record.digest().is_some() && record.tag().is_some())
}

/// What an UPDATE does to a pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It is unchanged.
    Nothing,
    /// Records are missing; nothing else differs.
    RecordsRemoved,
    /// It has a new record.
    RecordsWritten,
    /// Something else differs, and it has no new record.
    Template,
}

/// What an UPDATE does to a template. Nothing if one of the two templates is missing.
#[must_use]
pub fn change(object: &RawValue, now: &Template<'_>, old_object: &RawValue, old: &Template<'_>) -> Option<Change> {
    let (text, old_text) = (at(object.get(), &now.pointer)?, at(old_object.get(), &old.pointer)?);
    if text == old_text {
        return Some(Change::Nothing);
    }
    let known: HashMap<&str, &str> = old.records.iter().map(|(key, value)| (key.as_ref(), value.as_ref())).collect();
    let mut records = now.records.iter().filter(|(key, _)| is_record(key));
    Some(if records.any(|(key, value)| known.get(key.as_ref()) != Some(&value.as_ref())) {
        Change::RecordsWritten
    } else if are_same_but_for_records(text, old_text) {
        Change::RecordsRemoved
    } else {
        Change::Template
    })
}

/// The key and the JSON of the value of a field of an object.
type Field<'a> = (Cow<'a, str>, &'a str);

/// The fields of an object, in the order of their keys. A missing or null value has no fields.
fn fields(json: Option<&str>) -> Option<Vec<Field<'_>>> {
    let Some(json) = json.filter(|json| *json != "null") else { return Some(Vec::new()) };
    let Entries(entries) = serde_json::from_str(json).ok()?;
    let entries = entries.into_iter().map(|(key, value)| (key, value.get()));
    // A null field is the same as a missing one.
    let mut fields: Vec<_> = entries.filter(|(_, value)| *value != "null").collect();
    fields.sort_unstable();
    Some(fields)
}

/// Removes a key from the fields of an object and returns its value.
fn take<'a>(fields: &mut Vec<Field<'a>>, key: &str) -> Option<&'a str> {
    let index = fields.iter().position(|(known, _)| known == key)?;
    Some(fields.remove(index).1)
}

fn are_same_but_for_records(a: &str, b: &str) -> bool {
    let parts = |template| {
        let mut template = fields(Some(template))?;
        let mut metadata = fields(take(&mut template, "metadata"))?;
        let mut annotations = fields(take(&mut metadata, "annotations"))?;
        annotations.retain(|(key, _)| !is_ours(key));
        Some([template, metadata, annotations])
    };
    let (Some(a), Some(b)) = (parts(a), parts(b)) else { return false };
    a.iter().zip(&b).all(|(a, b)| have_same(a, b, MAX_DEPTH))
}

fn have_same(a: &[Field<'_>], b: &[Field<'_>], depth: usize) -> bool {
    let is_same = |(a, b): (&Field<'_>, &Field<'_>)| a.0 == b.0 && are_same(a.1, b.1, depth);
    a.len() == b.len() && a.iter().zip(b).all(is_same)
}

/// Whether two texts are the same JSON value. The order of keys and whitespace are ignored.
fn are_same(a: &str, b: &str, depth: usize) -> bool {
    if a == b {
        return true;
    }
    if depth == 0 {
        return false;
    }
    match (a.bytes().next(), b.bytes().next()) {
        (Some(b'{'), Some(b'{')) => {
            let (Some(a), Some(b)) = (fields(Some(a)), fields(Some(b))) else { return false };
            have_same(&a, &b, depth - 1)
        }
        (Some(b'['), Some(b'[')) => {
            let items = |json| serde_json::from_str::<Vec<&RawValue>>(json).ok();
            let (Some(a), Some(b)) = (items(a), items(b)) else { return false };
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| are_same(a.get(), b.get(), depth - 1))
        }
        (Some(b'"'), Some(b'"')) => {
            let text = |json| serde_json::from_str::<JsonStr<'_>>(json).ok();
            matches!((text(a), text(b)), (Some(JsonStr(a)), Some(JsonStr(b))) if a == b)
        }
        _ => false,
    }
}

/// The key and the value of an annotation to write. An annotation to remove has no value.
pub type Written = (String, Option<String>);

/// The edit that writes annotations into a pod template: a range of the JSON text, and its replacement. Nothing if the template is
/// missing.
#[must_use]
pub fn annotate(object: &RawValue, template: &str, written: &[Written]) -> Option<(Range<usize>, String)> {
    let text = object.get();
    let template = at(text, template)?;
    let Some(metadata) = json::value_of(template, "metadata") else {
        return insert(text, template, "metadata", &format!("{{\"annotations\":{}}}", annotations(None, written)?));
    };
    if metadata == "null" {
        return Some((span(text, metadata)?, format!("{{\"annotations\":{}}}", annotations(None, written)?)));
    }
    match json::value_of(metadata, "annotations") {
        None => insert(text, metadata, "annotations", &annotations(None, written)?),
        Some(known) => match prepend(text, known, written) {
            Some(edit) => Some(edit),
            None => Some((span(text, known)?, annotations(Some(known), written)?)),
        },
    }
}

/// The edit that inserts annotations before the known ones. Nothing if one of these changes. Known annotations can take most of an
/// object of 3 MiB, so they are not copied without need.
fn prepend(text: &str, known: &str, written: &[Written]) -> Option<(Range<usize>, String)> {
    let Entries(entries) = serde_json::from_str(known).ok()?;
    let changed: HashSet<&str> = written.iter().map(|(key, _)| key.as_str()).collect();
    if entries.is_empty() || entries.iter().any(|(key, _)| changed.contains(key.as_ref())) {
        return None;
    }
    let start = span(text, known)?.start + 1;
    let mut json = annotations(None, written)?;
    // Without its braces.
    json.pop();
    json.remove(0);
    if !json.is_empty() {
        json.push(',');
    }
    Some((start..start, json))
}

/// The edit that inserts a key at the start of an object.
fn insert(text: &str, object: &str, key: &str, value: &str) -> Option<(Range<usize>, String)> {
    let start = span(text, object)?.start + 1;
    let is_empty = object.strip_prefix('{')?.trim_start().starts_with('}');
    Some((start..start, format!("\"{key}\":{value}{}", if is_empty { "" } else { "," })))
}

/// The JSON of annotations after some are written or removed. The others are copied unchanged.
fn annotations(known: Option<&str>, written: &[Written]) -> Option<String> {
    let by_key: HashMap<&str, &Option<String>> = written.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let Entries(known) = match known.filter(|known| *known != "null") {
        Some(known) => serde_json::from_str(known).ok()?,
        None => Entries(Vec::new()),
    };
    let mut json = String::with_capacity(known.iter().map(|(key, value)| key.len() + value.get().len() + 4).sum());
    json.push('{');
    let mut add = |key: &str, value: &str| {
        if json.len() > 1 {
            json.push(',');
        }
        json.push_str(&serde_json::to_string(key).ok()?);
        json.push(':');
        json.push_str(value);
        Some(())
    };
    for (key, value) in known.iter().filter(|(key, _)| !by_key.contains_key(key.as_ref())) {
        add(key, value.get())?;
    }
    for (key, value) in written {
        if let Some(value) = value {
            add(key, &serde_json::to_string(value).ok()?)?;
        }
    }
    json.push('}');
    Some(json)
}

/// The origin of the digest of an image in a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The pod template, whose image field or record was judged with the workload.
    Judged,
    /// A lookup when the pod was created, or there is no digest.
    Unrecorded,
    /// Another source: the record has another digest.
    Other,
}

/// The origin of the digest of an image in a pod. `pins` says whether this policy writes digests into image fields.
#[must_use]
pub fn origin(
    placement: Placement,
    site: &ImageSite<'_>,
    image: &Reference<'_>,
    pins: bool,
    resolved: &Resolved,
) -> Origin {
    if placement != Placement::Pod {
        return Origin::Judged;
    }
    let record = site.record.as_deref().and_then(|record| digest_of(record, image));
    match (record, image.digest()) {
        (Some(record), Some(digest)) if record == digest => Origin::Judged,
        // This policy writes that digest into the image field.
        (Some(_), None) if pins => Origin::Judged,
        (Some(_), _) => Origin::Other,
        (None, Some(_)) if !resolved.lists(site) => Origin::Judged,
        (None, _) => Origin::Unrecorded,
    }
}

/// The annotation of a pod that lists the containers whose digests the pinning policy has resolved itself.
pub struct Resolved {
    /// The annotation as the request has it.
    given: Option<String>,
    /// The listed containers that have a digest. Another pinning policy may have resolved them.
    listed: HashSet<String>,
    /// The containers whose digests are resolved now.
    now: Vec<String>,
    /// Whether this policy pins images of the pod, and so writes the annotation.
    pub is_managed: bool,
}

impl Resolved {
    /// Reads the annotation of a pod.
    #[must_use]
    pub fn of(workload: &Workload<'_>) -> Self {
        let records = workload.templates.iter().flat_map(|template| &template.records);
        let given = records.filter(|(key, _)| key == RESOLVED).map(|(_, value)| value.as_ref()).next();
        let names: HashSet<&str> = given.into_iter().flat_map(|given| given.split(',')).collect();
        let mut listed = HashSet::new();
        if given.is_some() {
            let pinned = workload.sites.iter().filter(|site| site.image.contains('@')).map(ImageSite::short_name);
            listed.extend(pinned.filter(|name| names.contains(name.as_str())));
        }
        Self { given: given.map(str::to_owned), listed, now: Vec::new(), is_managed: false }
    }

    /// Whether the annotation of the request lists a site.
    pub fn lists(&self, site: &ImageSite<'_>) -> bool {
        !self.listed.is_empty() && self.listed.contains(&site.short_name())
    }

    /// Adds a site whose digest is resolved now.
    pub fn add(&mut self, site: &ImageSite<'_>) {
        let name = site.short_name();
        // Kubernetes rejects invalid names and duplicate names.
        if site.record_key().is_some() && !self.now.contains(&name) {
            self.now.push(name);
        }
    }

    /// The annotation to write. Nothing if it does not change. Names that a requester writes never make the judgement milder, so names
    /// of containers whose image has a digest are kept.
    pub fn written(&self) -> Option<Written> {
        let mut left = self.listed.clone();
        let given = self.given.as_deref().unwrap_or_default();
        let listed = given.split(',').filter(|name| left.remove(*name));
        let names: Vec<&str> = listed.chain(self.now.iter().map(String::as_str)).collect();
        let value = Some(names.join(",")).filter(|value| !value.is_empty());
        (self.is_managed && value != self.given).then(|| (RESOLVED.to_owned(), value))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    use super::{Change, annotate, change};
    use crate::json::rewrite;
    use crate::workload::read;
    use crate::workload::record_keys::RECORDED_AT;
    use crate::workload::site::Workload;

    fn raw(text: &str) -> &RawValue {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn annotations_are_written_into_a_template_without_annotations() {
        let written =
            [("b".to_owned(), Some("2\"".to_owned())), ("c".to_owned(), None), ("d".to_owned(), Some("4".to_owned()))];
        for (before, after) in [
            (r#"{ "a": [{"spec": {}}]}"#, r#"{ "a": [{"metadata":{"annotations":{"b":"2\"","d":"4"}},"spec": {}}]}"#),
            (r#"{"a": [{}]}"#, r#"{"a": [{"metadata":{"annotations":{"b":"2\"","d":"4"}}}]}"#),
            (r#"{"a": [{"metadata": null}]}"#, r#"{"a": [{"metadata": {"annotations":{"b":"2\"","d":"4"}}}]}"#),
            (r#"{"a": [{"metadata": { }}]}"#, r#"{"a": [{"metadata": {"annotations":{"b":"2\"","d":"4"} }}]}"#),
            (
                r#"{"a": [{"metadata": {"name": 1.0}}]}"#,
                r#"{"a": [{"metadata": {"annotations":{"b":"2\"","d":"4"},"name": 1.0}}]}"#,
            ),
            (
                r#"{"a": [{"metadata": {"annotations": null}}]}"#,
                r#"{"a": [{"metadata": {"annotations": {"b":"2\"","d":"4"}}}]}"#,
            ),
            (
                r#"{"a": [{"metadata": {"annotations": {"x" : "é\u00e9", "b": "1", "c": "3"}}}]}"#,
                r#"{"a": [{"metadata": {"annotations": {"x":"é\u00e9","b":"2\"","d":"4"}}}]}"#,
            ),
        ] {
            let object = raw(before);
            let edit = annotate(object, "/a/0", &written).unwrap();
            assert_eq!(rewrite(object, vec![edit]).unwrap(), after);
        }
        assert_eq!(annotate(raw("{}"), "/a/0", &written), None);
        assert_eq!(annotate(raw(r#"{"a": 7}"#), "/a/0", &written), None);
    }

    /// What an UPDATE does to the template of a Deployment, and of a CronJob.
    fn change_of(old: &Value, new: &Value) -> Change {
        let changes = ["/spec/template", "/spec/jobTemplate/spec/template"].map(|pointer| {
            let (group, kind, place): (&str, &str, fn(&Value) -> Value) = match pointer {
                "/spec/template" => ("apps", "Deployment", |template| json!({"spec": {"template": template}})),
                _ => {
                    ("batch", "CronJob", |template| json!({"spec": {"jobTemplate": {"spec": {"template": template}}}}))
                }
            };
            let kind =
                crate::request::GroupVersionKind { group: group.into(), version: "v1".into(), kind: kind.into() };
            let (old, new) = (place(old).to_string(), place(new).to_string());
            let of = |text| -> Workload<'_> { read(&kind, raw(text), &[], |_| false).unwrap() };
            let (before, now) = (of(&old), of(&new));
            change(raw(&new), &now.templates[0], raw(&old), &before.templates[0]).unwrap()
        });
        assert_eq!(changes[0], changes[1]);
        changes[0]
    }

    #[test]
    fn an_update_that_only_lacks_records_is_recognized() {
        let key = "pin.container-patch.dev/app";
        let old = json!({
            "metadata": {"annotations": {key: "r", RECORDED_AT: "t", "x": "y"}, "labels": {"a": "b"}},
            "spec": {"containers": [{"name": "app", "image": "a:1", "args": ["x", {"y": null}]}], "z": 1},
        });
        let with = |pointer: &str, value: Value| {
            let mut new = old.clone();
            *new.pointer_mut(pointer).unwrap() = value;
            new
        };
        assert_eq!(change_of(&old, &old), Change::Nothing);
        let annotations = "/metadata/annotations";
        for lacking in [json!({"x": "y"}), json!({"x": "y", key: "r"}), json!({"x": "y", RECORDED_AT: "t"})] {
            assert_eq!(change_of(&old, &with(annotations, lacking)), Change::RecordsRemoved);
        }
        for written in [json!({"x": "y", key: "s"}), json!({"volume.pin.container-patch.dev/app": "r"})] {
            assert_eq!(change_of(&old, &with(annotations, written)), Change::RecordsWritten);
        }
        for (pointer, value) in [
            (annotations, json!({"x": "z", key: "r", RECORDED_AT: "t"})),
            (annotations, json!(null)),
            ("/metadata/labels", json!({})),
            ("/spec/containers/0/image", json!("a:2")),
            ("/spec/containers/0/args", json!(["x"])),
            ("/spec/containers/0/args/1", json!({"y": null, "z": 1})),
            ("/spec/z", json!("1")),
        ] {
            assert_eq!(change_of(&old, &with(pointer, value.clone())), Change::Template, "{pointer} {value}");
        }
        let bare = json!({"metadata": {"annotations": {key: "r"}}, "spec": old["spec"]});
        for without in [
            json!({"spec": old["spec"]}),
            json!({"metadata": {}, "spec": old["spec"]}),
            json!({"metadata": null, "spec": old["spec"]}),
        ] {
            assert_eq!(change_of(&bare, &without), Change::RecordsRemoved, "{without}");
        }
    }

    #[test]
    fn templates_with_equal_values_are_equal_whatever_their_text() {
        let deployment =
            crate::request::GroupVersionKind { group: "apps".into(), version: "v1".into(), kind: "Deployment".into() };
        let old = r#"{"spec":{"template":{"spec":{"a":"é","b":[1, {"c":2,"d":{}}]},"metadata":{"annotations":{"pin.container-patch.dev/x":"r"}}}}}"#;
        let new =
            r#"{"spec":{"template":{"metadata":{"annotations":{}},"spec":{"b":[1,{"d":{ },"c":2}],"a":"\u00e9"}}}}"#;
        let of = |text| -> Workload<'_> { read(&deployment, raw(text), &[], |_| false).unwrap() };
        let (before, now) = (of(old), of(new));
        let change = |(text, now): (&str, &Workload<'_>), (old, before): (&str, &Workload<'_>)| {
            change(raw(text), &now.templates[0], raw(old), &before.templates[0]).unwrap()
        };
        assert_eq!(change((new, &now), (old, &before)), Change::RecordsRemoved);
        assert_eq!(change((old, &before), (new, &now)), Change::RecordsWritten);
        let deep = |leaf: &str| {
            let nested = "[".repeat(100) + leaf + &"]".repeat(100);
            format!(r#"{{"spec":{{"template":{{"spec":{{"a":{nested}}}}}}}}}"#)
        };
        let (one, other) = (deep("1"), deep("2"));
        assert_eq!(change((&one, &of(&one)), (&other, &of(&other))), Change::Template);
    }
}
