//! Lists of entries, each for some images, of which only those are read that a request needs.

use std::cell::{Cell, OnceCell};

use serde_json::value::RawValue;

use crate::config::read::Problems;
use crate::image::{ImagePattern, Name};
use crate::json::{self, Key};

/// A list of entries, each for some images.
#[derive(Debug)]
pub(super) struct LazyList<'a, T> {
    json: Option<&'a RawValue>,
    located: OnceCell<Index<'a, T>>,
    is_broken: Cell<bool>,
}

/// The entries, and the images that each is for.
#[derive(Debug)]
struct Index<'a, T> {
    /// With the number of its entry.
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
        Self { json: None, located: OnceCell::new(), is_broken: Cell::new(false) }
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

    /// Whether something that was read turned out to be wrong.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// The entries for the image of a name, in their order. `read` reads an entry that matches for the first time.
    pub(super) fn matching<'s>(
        &'s self,
        name: Name<'_>,
        read: impl Fn(&RawValue, &mut Problems) -> Option<T>,
    ) -> impl Iterator<Item = &'s T> {
        let located = self.located.get_or_init(|| {
            let located = self.json.map_or_else(|| Some(Index::default()), locate);
            self.is_broken.set(located.is_none());
            located.unwrap_or_default()
        });
        let mut last = None;
        let matching = located.patterns.iter().filter(move |(pattern, _)| pattern.matches_name(&name));
        let entries = matching.filter_map(move |(_, entry)| {
            // One entry may have several patterns that match.
            (last.replace(*entry) != Some(*entry)).then(|| located.entries.get(*entry))?
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

/// Reads which images each entry of a list is for, and nothing else of it.
fn locate<T>(json: &RawValue) -> Option<Index<'_, T>> {
    let entries: Vec<&RawValue> = json::from_str(json.get()).ok()?;
    let mut patterns = Vec::with_capacity(entries.len());
    for (number, entry) in entries.iter().enumerate() {
        let images = json::value_of(entry.get(), "images")?;
        let images: Vec<Key<'_>> = json::from_str(images).ok()?;
        patterns.extend(images.into_iter().map(|Key(text)| (ImagePattern::of_valid_text(text), number)));
    }
    let entries = entries.into_iter().map(|json| Entry { json, read: OnceCell::new() }).collect();
    Some(Index { patterns, entries })
}
