//! A test case.

use std::cell::OnceCell;
use std::fmt;

use container_patch_policy::validate_settings;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::{Map, Value, json};

use crate::fake_host::FakeHost;
use crate::generators::choices::Choices;
use crate::generators::corruption::corrupted;
use crate::generators::{pods, records, request, scans, settings};
use crate::outcome::Outcome;
use crate::pod_template::LISTS;

/// A request, its settings, the host, and what [`properties`](crate::properties) add or change.
pub struct Case {
    /// The admission request.
    pub request: Value,
    /// The settings, mostly valid ones.
    pub settings: Value,
    /// The host that answers the policy's host calls.
    pub host: FakeHost,
    /// The JSON pointers of the pod templates of the object.
    pub templates: &'static [&'static str],
    /// The container or volume to add.
    pub addition: Addition,
    /// The annotation about scans to add.
    pub annotation: (String, String),
    /// The choices that reorder lists.
    pub order: Vec<u8>,
    outcome: OnceCell<Outcome>,
}

/// A container or volume, and where it is inserted.
#[derive(Debug)]
pub struct Addition {
    /// The index of the pod template.
    pub template: usize,
    /// The list in the spec of the pod.
    pub list: &'static str,
    /// The index in the list. An index past the end means the end.
    pub index: usize,
    /// The container or volume.
    pub entry: Value,
}

impl Case {
    /// The case that is generated from some bytes.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let choices = &mut Choices::new(bytes);
        let (mut request, templates) = request::request(choices);
        let list = choices.one_of(&LISTS);
        let addition =
            Addition { template: choices.up_to(1), list, index: choices.up_to(3), entry: pods::entry(list, choices) };
        let annotation = if choices.once_in(2) { scans::annotation(choices) } else { scans::clean_annotation(choices) };
        let order = choices.bytes(12);
        let mut settings = settings::settings(choices);
        if choices.once_in(20) {
            settings = corrupted(settings, choices);
        }
        let mut host = FakeHost::new(choices);
        // Additions to the generators come last, so that the bytes of stored cases keep their meaning.
        records::add(&mut request, templates, choices);
        let complete = with_unlisted(&settings, &host, choices);
        host.add_records(choices);
        request::replace_builds(&mut request, templates, choices);
        let mut settings = complete.unwrap_or(settings);
        settings::add_older_build(&mut settings, choices);
        Self { request, settings, host, templates, addition, annotation, order, outcome: OnceCell::new() }
    }

    /// The outcome of the request. It is evaluated once.
    #[must_use]
    pub fn outcome(&self) -> &Outcome {
        self.outcome.get_or_init(|| self.outcome_of(&self.request))
    }

    /// The outcome of another request, with the same settings and host.
    #[must_use]
    pub fn outcome_of(&self, request: &Value) -> Outcome {
        self.outcome_with(&self.settings, request)
    }

    /// The outcome of the request with other settings.
    #[must_use]
    pub(crate) fn outcome_by(&self, settings: &Value) -> Outcome {
        self.outcome_with(settings, &self.request)
    }

    /// Whether the settings are valid.
    pub(crate) fn has_valid_settings(&self) -> bool {
        is_valid(&self.settings, &self.host)
    }

    fn outcome_with(&self, settings: &Value, request: &Value) -> Outcome {
        let payload = json!({"request": request, "settings": settings}).to_string();
        self.host.take_calls();
        let outcome = Outcome::of(payload.as_bytes(), &self.host);
        Outcome { host_calls: self.host.take_calls(), ..outcome }
    }

    /// The request with the added container or volume. None if the object has no place for it.
    pub(crate) fn with_addition(&self) -> Option<Value> {
        let Addition { template, list, index, entry } = &self.addition;
        let mut request = self.request.clone();
        let template = self.templates.get(*template).or(self.templates.first())?;
        let spec = object_of(&mut request, template)?.get_mut("spec")?.as_object_mut()?;
        let entries = or_empty(spec, list, json!([])).as_array_mut()?;
        entries.insert((*index).min(entries.len()), entry.clone());
        Some(request)
    }

    /// The request with the annotation on each pod template that does not have the key. None if the object has no place for it.
    pub(crate) fn with_annotation(&self) -> Option<Value> {
        let (key, value) = &self.annotation;
        let mut request = self.request.clone();
        for template in self.templates {
            let template = object_of(&mut request, template)?;
            let metadata = or_empty(template, "metadata", json!({})).as_object_mut()?;
            let annotations = or_empty(metadata, "annotations", json!({})).as_object_mut()?;
            annotations.entry(key).or_insert_with(|| json!(value));
        }
        Some(request)
    }

    /// The request with a valid record for each image without a digest, which replaces an existing one. None if the object has no
    /// place for them.
    pub(crate) fn with_records(&self) -> Option<Value> {
        let mut request = self.request.clone();
        for template in self.templates {
            let template = object_of(&mut request, template)?;
            let records = records::valid(template);
            let metadata = or_empty(template, "metadata", json!({})).as_object_mut()?;
            or_empty(metadata, "annotations", json!({})).as_object_mut()?.extend(records);
        }
        Some(request)
    }

    /// The request with another namespace in its objects. The namespace of the request stays.
    pub(crate) fn with_namespace_in_objects(&self, namespace: &str) -> Value {
        let mut request = self.request.clone();
        for object in ["object", "oldObject"] {
            let metadata = request.get_mut(object).and_then(|object| object.get_mut("metadata"));
            if let Some(metadata) = metadata.and_then(Value::as_object_mut) {
                metadata.insert("namespace".to_owned(), json!(namespace));
            }
        }
        request
    }

    /// The settings without the entries for other namespaces than that of the request. The others apply in every namespace.
    pub(crate) fn settings_of_namespace(&self) -> Value {
        let namespace = self.request["namespace"].as_str().filter(|name| !name.is_empty());
        let is_matched = |pattern: &Value| {
            let pattern = pattern.as_str().unwrap_or_default();
            namespace.is_some_and(|name| matches(pattern.as_bytes(), name.as_bytes()))
        };
        let mut settings = self.settings.clone();
        for list in ["overrides", "exceptions"] {
            let Some(entries) = settings.get_mut(list).and_then(Value::as_array_mut) else { continue };
            entries
                .retain(|entry| entry["namespaces"].as_array().is_none_or(|patterns| patterns.iter().any(is_matched)));
            entries.iter_mut().filter_map(Value::as_object_mut).for_each(|entry| drop(entry.remove("namespaces")));
        }
        settings
    }

    /// The request with another order of containers and volumes. The old object gets the same order, because another order is a
    /// changed pod template.
    pub(crate) fn in_another_order(&self) -> Value {
        let choices = &mut Choices::new(&self.order);
        let mut request = self.request.clone();
        for template in self.templates {
            for list in LISTS {
                let pointers = ["object", "oldObject"].map(|object| format!("/{object}{template}/spec/{list}"));
                let length = request.pointer(&pointers[0]).and_then(Value::as_array).map_or(0, Vec::len);
                let swaps: Vec<_> = (1..length).rev().map(|index| (index, choices.up_to(index - 1))).collect();
                for pointer in pointers {
                    let entries = request.pointer_mut(&pointer).and_then(Value::as_array_mut);
                    if let Some(entries) = entries.filter(|entries| entries.len() == length) {
                        swaps.iter().for_each(|(one, other)| entries.swap(*one, *other));
                    }
                }
            }
        }
        request
    }
}

/// The settings with what their generator does not list. None if that makes valid settings invalid.
fn with_unlisted(settings: &Value, host: &FakeHost, choices: &mut Choices<'_>) -> Option<Value> {
    let mut complete = settings.clone();
    settings::add_unlisted(&mut complete, choices);
    (complete == *settings || is_valid(&complete, host) || !is_valid(settings, host)).then_some(complete)
}

fn is_valid(settings: &Value, host: &FakeHost) -> bool {
    let response = validate_settings(settings.to_string().as_bytes(), host);
    serde_json::from_slice::<SettingsValidationResponse>(&response).is_ok_and(|response| response.valid)
}

/// Whether a pattern with `*` and `?` matches a text, by its definition.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    match (pattern.split_first(), text.split_first()) {
        (None, _) => text.is_empty(),
        (Some((b'*', rest)), _) => (0..=text.len()).any(|skipped| matches(rest, &text[skipped..])),
        (Some((wanted, rest)), Some((byte, after))) => (*wanted == b'?' || wanted == byte) && matches(rest, after),
        (Some(_), None) => false,
    }
}

fn object_of<'r>(request: &'r mut Value, template: &str) -> Option<&'r mut Map<String, Value>> {
    request.get_mut("object")?.pointer_mut(template)?.as_object_mut()
}

/// The value of a key. A missing value or null becomes `empty`.
fn or_empty<'m>(map: &'m mut Map<String, Value>, key: &str, empty: Value) -> &'m mut Value {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = empty;
    }
    value
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request: {:#}", self.request)?;
        writeln!(f, "settings: {:#}", self.settings)?;
        write!(f, "host:\n{:?}", self.host)?;
        writeln!(f, "pod templates: {:?}", self.templates)?;
        writeln!(f, "addition: {:?}", self.addition)?;
        writeln!(f, "annotation: {:?}", self.annotation)?;
        write!(f, "order: {:?}", self.order)
    }
}
