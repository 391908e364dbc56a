//! Reads the resources that hold reports.

use std::collections::HashMap;
use std::hash::Hash;

use serde::{Deserialize, Deserializer};

use crate::evidence::Answer;
use crate::evidence::cluster::Resource;
use crate::json::{self, Object};
use crate::rules::scan::result::Severity;
use crate::sanitized::Sanitized;

/// What is known under a key, read when it is first asked for.
pub(super) fn once<K: Eq + Hash, T>(
    known: &mut HashMap<K, Answer<Vec<T>>>,
    key: K,
    read: impl FnOnce() -> Answer<Vec<T>>,
) -> Answer<&[T]> {
    known.entry(key).or_insert_with(read).as_deref().map_err(Clone::clone)
}

/// Reads a list of objects. Left to themselves, they would also be read from lists of their fields' values, and an empty list
/// would be a clean report.
pub(super) fn objects<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Vec<T>, D::Error> {
    Ok(Vec::<Object<T>>::deserialize(deserializer)?.into_iter().map(|Object(item)| item).collect())
}

/// Reads a list of objects in a report. Go writes null for one without items; one that is not there at all is no clean report.
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
        let text = std::str::from_utf8(bytes).map_err(|_| cannot("it is no text"))?;
        // To track the path of what is wrong would make the module larger by a tenth.
        let read = json::from_str(text).map(|Object(resource)| resource);
        read.map_err(|cause| cannot(&Sanitized(&cause.to_string()).to_string()))
    }

    /// What messages call a resource: its kind, and its namespace and name.
    pub(super) fn called(&self, what: &str) -> String {
        format!("{} `{}`", self.kind, Sanitized(what))
    }

    /// What messages say of where a scan stands.
    pub(super) fn source(&self, namespace: &str, name: &str) -> String {
        format!("{} of {}", self.called(&format!("{namespace}/{name}")), self.product)
    }

    /// The severity by the word of a report. A word that is not known might be the worst of all.
    pub(super) fn severity(&self, what: &str, id: &str, word: &str) -> Answer<Severity> {
        Severity::of(word).ok_or_else(|| {
            let (id, word) = (Sanitized(id), Sanitized(word));
            format!(
                "{} of {} cannot be read: {id} has the severity `{word}`, which is none",
                self.called(what),
                self.product
            )
        })
    }
}
