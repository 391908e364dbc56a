//! Lists whose entries each apply to some images in some namespaces. Only the entries that a request needs are read.

use std::cell::{Cell, OnceCell};

use crate::config::namespaces::Namespaces;
use crate::config::read::{Fields, Path, Problems};
use crate::image::{ImagePattern, Name};
use crate::json::{Entries, JsonStr};

/// A list whose entries each apply to some images in some namespaces.
#[derive(Debug)]
pub(super) struct LazyList<'a, T> {
    entries: Vec<Entries<'a>>,
    /// The namespace of the request.
    namespace: Option<&'a str>,
    index: OnceCell<Index<'a, T>>,
    is_broken: Cell<bool>,
}

/// The image patterns of the entries for the namespace of the request, and the entries that have been read.
#[derive(Debug)]
struct Index<'a, T> {
    /// Each with the index of its entry.
    patterns: Vec<(ImagePattern<'a>, usize)>,
    /// Boxed, because few entries of a long list are read, and all of their places take memory.
    read: Vec<OnceCell<Option<Box<T>>>>,
}

impl<T> Default for LazyList<'_, T> {
    fn default() -> Self {
        Self::of(Vec::new(), None)
    }
}

impl<T> Default for Index<'_, T> {
    fn default() -> Self {
        Self { patterns: Vec::new(), read: Vec::new() }
    }
}

impl<'a, T> LazyList<'a, T> {
    pub(super) fn of(entries: Vec<Entries<'a>>, namespace: Option<&'a str>) -> Self {
        Self { entries, namespace, index: OnceCell::new(), is_broken: Cell::new(false) }
    }

    /// Whether anything that has been read so far is invalid.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken.get()
    }

    /// The entries for the image of this name, in their order. `read` reads an entry when it matches for the first time.
    pub(super) fn matching<'s>(
        &'s self,
        name: Name<'_>,
        read: impl Fn(Fields<'_>, &mut Problems) -> Option<T>,
    ) -> impl Iterator<Item = &'s T> {
        let index = self.index.get_or_init(|| {
            let index = index(&self.entries, self.namespace);
            self.is_broken.set(index.is_none());
            index.unwrap_or_default()
        });
        let mut last = None;
        let matching = index.patterns.iter().filter(move |(pattern, _)| pattern.matches_name(&name));
        // Several patterns of one entry may match.
        let entries = matching.filter_map(move |(_, entry)| (last.replace(*entry) != Some(*entry)).then_some(*entry));
        entries.filter_map(move |entry| {
            let read = index.read.get(entry)?.get_or_init(|| {
                let mut problems = Problems::default();
                let fields = Fields::of(self.entries.get(entry)?.clone(), Path::Root, &mut problems);
                let read = fields.and_then(|fields| read(fields, &mut problems)).filter(|_| problems.is_empty());
                self.is_broken.set(self.is_broken.get() || read.is_none());
                read.map(Box::new)
            });
            read.as_deref()
        })
    }
}

/// Reads the image patterns of each entry for the namespace of the request, and no key but these two.
fn index<'a, T>(entries: &[Entries<'a>], namespace: Option<&str>) -> Option<Index<'a, T>> {
    let mut patterns = Vec::with_capacity(entries.len());
    for (number, Entries(entry)) in entries.iter().enumerate() {
        let value = |wanted: &str| entry.iter().find(|(key, _)| key == wanted).map(|(_, value)| *value);
        let images = value("images")?;
        if let Some(namespaces) = value("namespaces")
            && !Namespaces::unread_include(namespaces, namespace)?
        {
            continue;
        }
        let images: Vec<JsonStr<'_>> = serde_json::from_str(images.get()).ok()?;
        patterns.extend(images.into_iter().map(|JsonStr(text)| (ImagePattern::of_valid_text(text), number)));
    }
    Some(Index { patterns, read: entries.iter().map(|_| OnceCell::new()).collect() })
}
