//! Reads the resources that hold reports.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Deserializer};

use crate::evidence::Answer;
use crate::evidence::cluster::Resource;
use crate::json::Object;
use crate::rules::scan::result::Severity;
use crate::sanitized::Sanitized;

/// The cached value of a key, read on first use.
pub(super) fn once<K: Eq + Hash, T>(
    known: &mut HashMap<K, Answer<Vec<T>>>,
    key: K,
    read: impl FnOnce() -> Answer<Vec<T>>,
) -> Answer<&[T]> {
    known.entry(key).or_insert_with(read).as_deref().map_err(Clone::clone)
}

/// Reads a list of objects. By default serde also reads an object from a list of its fields' values, so that an empty list would be
/// a clean report.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|Object(item)| item).collect())
}

/// Reads a list of objects in a report. Go writes null for an empty list. A missing list is an error, not a clean report.
pub(super) fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    let items = Option::<Vec<Object<T>>>::deserialize(deserializer)?.unwrap_or_default();
    Ok(items.into_iter().map(|Object(item)| item).collect())
}

/// A list of resources.
#[derive(Deserialize)]
#[serde(bound(deserialize = "T: Deserialize<'de>"))]
pub(super) struct List<T> {
    #[serde(deserialize_with = "objects")]
    pub(super) items: Vec<T>,
}

/// What identifies a resource.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) name: String,
    #[serde(default)]
    pub(super) annotations: Option<HashMap<String, Option<String>>>,
    #[serde(default)]
    pub(super) labels: Option<HashMap<String, Option<String>>>,
}

impl Resource {
    /// Reads a resource, or a list of them.
    pub(super) fn parse<T: for<'a> Deserialize<'a>>(&self, what: &str, bytes: &[u8]) -> Answer<T> {
        let cannot = |cause: &str| format!("{} of {} cannot be read: {cause}", self.called(what), self.product);
        let text = std::str::from_utf8(bytes).map_err(|_| cannot("it is not valid UTF-8"))?;
        // Tracking the path of an error would make the module larger by a tenth.
        let read = serde_json::from_str(text).map(|Object(resource)| resource);
        read.map_err(|cause| cannot(&Sanitized(&cause.to_string()).to_string()))
    }

    /// The name of a resource in messages: its kind, its namespace and its name.
    pub(super) fn called(&self, what: &str) -> String {
        format!("{} `{}`", self.kind, Sanitized(what))
    }

    /// The name of a report in messages, with the product that writes it.
    pub(super) fn source(&self, namespace: &str, name: &str) -> String {
        format!("{} of {}", self.called(&format!("{namespace}/{name}")), self.product)
    }

    /// The severity by the word of a report. An unknown word is an error, because it may stand for the worst severity.
    pub(super) fn severity(&self, what: &str, id: &str, word: &str) -> Answer<Severity> {
        Severity::of(word).ok_or_else(|| {
            let (id, word) = (Sanitized(id), Sanitized(word));
            format!("{} of {} cannot be read: {id} has the unknown severity `{word}`", self.called(what), self.product)
        })
    }
}
