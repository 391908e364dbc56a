//! Lists whose entries apply to some images each. Only the entries that a request needs are read.

use std::cell::{Cell, OnceCell};

use serde_json::value::RawValue;

use crate::config::read::Problems;
use crate::image::{ImagePattern, Name};
use crate::json::{self, JsonStr};

/// A list whose entries apply to some images each.
#[derive(Debug)]
pub(super) struct LazyList<'a, T> {
    json: Option<&'a RawValue>,
    index: OnceCell<Index<'a, T>>,
    is_broken: Cell<bool>,
}

/// The entries, and the image patterns of each.
#[derive(Debug)]
struct Index<'a, T> {
    /// Each with the index of its entry.
    patterns: Vec<(ImagePattern<'a>, usize)>,
    entries: Vec<Entry<'a, T>>,
}

#[derive(Debug)]
struct Entry<'a, T> {
    json: &'a RawValue,
    read: OnceCell<Option<T>>,
}

impl<T> Default for LazyList<'_, T> {
    fn default() -> Self {
        Self { json: None, index: OnceCell::new(), is_broken: Cell::new(false) }
    }
}

impl<T> Default for Index<'_, T> {
    fn default() -> Self {
        Self { patterns: Vec::new(), entries: Vec::new() }
    }
}

impl<'a, T> LazyList<'a, T> {
    pub(super) fn of(json: Option<&'a RawValue>) -> Self {
        Self { json, ..Self::default() }
    }

    /// Whether anything that has been read so far is invalid.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// The entries for the image of this name, in their order. `read` reads an entry when it matches for the first time.
    pub(super) fn matching<'s>(
        &'s self,
        name: Name<'_>,
        read: impl Fn(&RawValue, &mut Problems) -> Option<T>,
    ) -> impl Iterator<Item = &'s T> {
        let index = self.index.get_or_init(|| {
            let index = self.json.map_or_else(|| Some(Index::default()), index);
            self.is_broken.set(index.is_none());
            index.unwrap_or_default()
        });
        let mut last = None;
        let matching = index.patterns.iter().filter(move |(pattern, _)| pattern.matches_name(&name));
        let entries = matching.filter_map(move |(_, entry)| {
            // Several patterns of one entry may match.
            (last.replace(*entry) != Some(*entry)).then(|| index.entries.get(*entry))?
        });
        entries.filter_map(move |entry| {
            let read = entry.read.get_or_init(|| {
                let mut problems = Problems::default();
                let read = read(entry.json, &mut problems).filter(|_| problems.is_empty());
                self.is_broken.set(self.is_broken.get() || read.is_none());
                read
            });
            read.as_ref()
        })
    }
}

/// Reads the image patterns of each entry, and no other key.
fn index<T>(json: &RawValue) -> Option<Index<'_, T>> {
    let entries: Vec<&RawValue> = serde_json::from_str(json.get()).ok()?;
    let mut patterns = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let images = json::value_of(entry.get(), "images")?;
        let images: Vec<JsonStr<'_>> = serde_json::from_str(images).ok()?;
        patterns.extend(images.into_iter().map(|JsonStr(text)| (ImagePattern::of_valid_text(text), number)));
    }
    let entries = entries.into_iter().map(|json| Entry { json, read: OnceCell::new() }).collect();
    Some(Index { patterns, entries })
}
