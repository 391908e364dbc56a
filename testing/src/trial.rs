//! A request, its settings, and the world that it is judged in.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fmt;

use container_patch_policy::evaluation;
use container_patch_policy::finding::{Code, Effect};
use serde_json::{Map, Value, json};

use crate::mangled::mangled;
use crate::request::{self, LISTS};
use crate::{Bytes, World, records, scans, settings};

/// A request, its settings, the world that it is judged in, and what [`properties`](crate::properties) change in it.
pub struct Trial {
    /// The admission request.
    pub request: Value,
    /// The settings, mostly valid ones.
    pub settings: Value,
    /// Who answers what the policy asks.
    pub world: World,
    /// Where the pod templates of the object are.
    pub templates: &'static [&'static str],
    /// A container, or a volume, that is added.
    pub addition: Addition,
    /// An annotation about scans that is added.
    pub annotation: (String, String),
    /// How lists are put into another order.
    pub order: Vec<u8>,
    said: OnceCell<Said>,
}

/// A container, or a volume, and where it comes in.
#[derive(Debug)]
pub struct Addition {
    /// Which of the pod templates.
    pub template: usize,
    /// The list of the pod's spec.
    pub list: &'static str,
    /// The place in the list; beyond its end, the end.
    pub index: usize,
    /// The entry.
    pub entry: Value,
}

/// What the policy says.
#[derive(Debug, Clone)]
pub struct Said {
    /// The response, as it is.
    pub response: Vec<u8>,
    /// The codes and effects of what was found, sorted.
    pub findings: Vec<(Code, Effect)>,
    /// What was asked.
    pub asked: Vec<String>,
}

impl Trial {
    /// The trial that some bytes stand for.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Self {
        let bytes = &mut Bytes::new(bytes);
        let (mut request, templates) = request::request(bytes);
        let list = bytes.one_of(&LISTS);
        let addition =
            Addition { template: bytes.up_to(1), list, index: bytes.up_to(3), entry: request::entry(list, bytes) };
        let annotation = if bytes.once_in(2) { scans::annotation(bytes) } else { scans::clearing(bytes) };
        let order = bytes.raw(12);
        let mut settings = settings(bytes);
        if bytes.once_in(20) {
            settings = mangled(settings, bytes);
        }
        let world = World::new(bytes);
        // Last, so that the bytes of trials that are kept go on meaning what they meant.
        records::add(&mut request, templates, bytes);
        Self { request, settings, world, templates, addition, annotation, order, said: OnceCell::new() }
    }

    /// What the policy says of the request. It is asked once.
    #[must_use]
    pub fn said(&self) -> &Said {
        self.said.get_or_init(|| self.said_of(&self.request))
    }

    /// What the policy says of another request, in the same world and by the same settings.
    #[must_use]
    pub fn said_of(&self, request: &Value) -> Said {
        let payload = json!({"request": request, "settings": self.settings}).to_string();
        self.world.take_asked();
        let verdict = evaluation::evaluate(payload.as_bytes(), &self.world);
        let mut findings: Vec<_> = verdict.findings().iter().map(|finding| (finding.code, finding.effect)).collect();
        findings.sort_unstable();
        Said { response: verdict.into_response(), findings, asked: self.world.take_asked() }
    }

    /// The request with the addition. Nothing where its object has no place for it.
    pub(crate) fn with_addition(&self) -> Option<Value> {
        let Addition { template, list, index, entry } = &self.addition;
        let mut request = self.request.clone();
        let template = self.templates.get(*template).or(self.templates.first())?;
        let spec = object_of(&mut request, template)?.get_mut("spec")?.as_object_mut()?;
        let entries = or_empty(spec, list, json!([])).as_array_mut()?;
        entries.insert((*index).min(entries.len()), entry.clone());
        Some(request)
    }

    /// The request with the annotation on each of its pod templates that has no other of that key. Nothing where its object has
    /// no place for it.
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

    /// The request with a valid record for each image of its pod templates that is written without a digest, in place of those
    /// that it has. Nothing where its object has no place for them.
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

    /// The request with each of its lists of containers and volumes in another order. What was before an UPDATE is put into the
    /// same order, or the pod template would be another than before.
    pub(crate) fn in_another_order(&self) -> Value {
        let bytes = &mut Bytes::new(&self.order);
        let mut request = self.request.clone();
        for template in self.templates {
            for list in LISTS {
                let pointers = ["object", "oldObject"].map(|object| format!("/{object}{template}/spec/{list}"));
                let length = request.pointer(&pointers[0]).and_then(Value::as_array).map_or(0, Vec::len);
                let swaps: Vec<_> = (1..length).rev().map(|index| (index, bytes.up_to(index - 1))).collect();
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

fn object_of<'r>(request: &'r mut Value, template: &str) -> Option<&'r mut Map<String, Value>> {
    request.get_mut("object")?.pointer_mut(template)?.as_object_mut()
}

/// The value of a key; the empty one where there is none.
fn or_empty<'m>(map: &'m mut Map<String, Value>, key: &str, empty: Value) -> &'m mut Value {
    let value = map.entry(key).or_insert(Value::Null);
    if value.is_null() {
        *value = empty;
    }
    value
}

impl Said {
    /// Whether the request goes on.
    #[must_use]
    pub fn accepts(&self) -> bool {
        self.findings.iter().all(|(_, effect)| *effect != Effect::Deny)
    }

    /// How many findings of each code refuse the request.
    pub(crate) fn denials(&self) -> BTreeMap<Code, usize> {
        let mut counts = BTreeMap::new();
        for (code, _) in self.findings.iter().filter(|(_, effect)| *effect == Effect::Deny) {
            *counts.entry(*code).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.response))
    }
}

impl fmt::Debug for Trial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "request: {:#}", self.request)?;
        writeln!(f, "settings: {:#}", self.settings)?;
        write!(f, "world:\n{:?}", self.world)?;
        writeln!(f, "pod templates: {:?}", self.templates)?;
        writeln!(f, "added: {:?}", self.addition)?;
        writeln!(f, "annotation: {:?}", self.annotation)?;
        write!(f, "order: {:?}", self.order)
    }
}
