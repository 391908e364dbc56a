//! The nodes of a manifest with their positions in the text, for changing a manifest and for naming lines.

use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context as _, Result, anyhow, bail};
use container_patch_policy::workload::site::{IMAGE_FIELDS, ImageField};
use saphyr_parser::{Event, Input, Parser, ScalarStyle, Span};

/// A node of a YAML document, and its position.
#[derive(Debug)]
pub struct Node {
    /// The bytes of the text. For a mapping or a sequence, the place of its start.
    pub span: Range<usize>,
    /// The column in characters, counted from 0.
    pub column: usize,
    /// The number of its anchor, 0 without one.
    pub(crate) anchor: usize,
    /// What the node is.
    pub kind: Kind,
}

/// What a node is.
#[derive(Debug)]
pub enum Kind {
    /// A scalar.
    Scalar {
        /// The value, without quotes and escapes.
        value: String,
        /// How it is written.
        style: ScalarStyle,
    },
    /// A mapping.
    Mapping {
        /// Whether it is written in braces.
        flow: bool,
        /// Keys and values, in the order of the text.
        entries: Vec<(Node, Node)>,
    },
    /// A sequence.
    Sequence(Vec<Node>),
    /// A copy of the node with this anchor.
    Alias(usize),
}

impl Node {
    /// Whether the value is empty, `~` or `null`.
    pub fn is_null(&self) -> bool {
        let Kind::Scalar { value, style: ScalarStyle::Plain } = &self.kind else { return false };
        matches!(value.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }

    /// The entry of a mapping, without those of merge keys.
    pub fn get(&self, key: &str) -> Option<&(Node, Node)> {
        let Kind::Mapping { entries, .. } = &self.kind else { return None };
        entries.iter().find(|(own, _)| matches!(&own.kind, Kind::Scalar { value, .. } if value == key))
    }
}

/// The objects in a text: its documents, or the items of those that are lists, in the order of [`super::read`].
///
/// # Errors
/// When a document is not YAML.
pub fn objects(text: &str) -> Result<Vec<Node>> {
    let mut found = Vec::new();
    for part in parts(text) {
        for document in documents(text, part)? {
            flatten(document, &mut found);
        }
    }
    Ok(found)
}

fn flatten(document: Node, found: &mut Vec<Node>) {
    if document.is_null() {
        return;
    }
    let may_be_mapping = |node: &Node| matches!(node.kind, Kind::Mapping { .. } | Kind::Alias(_));
    let is_list = document
        .get("kind")
        .is_some_and(|(_, kind)| matches!(&kind.kind, Kind::Scalar { value, .. } if value.ends_with("List")));
    let Node { span, column, anchor, kind } = document;
    let Kind::Mapping { flow, mut entries } = kind else {
        found.push(Node { span, column, anchor, kind });
        return;
    };
    let items = entries.iter_mut().find_map(|(key, value)| match (&key.kind, &mut value.kind) {
        (Kind::Scalar { value: key, .. }, Kind::Sequence(items)) if key == "items" => Some(items),
        _ => None,
    });
    match items {
        Some(items) if items.iter().any(may_be_mapping) || (is_list && items.is_empty()) => {
            for item in std::mem::take(items) {
                // An item that is not an object has an error in its place.
                if matches!(item.kind, Kind::Mapping { .. }) {
                    flatten(item, found);
                } else {
                    found.push(item);
                }
            }
        }
        _ => found.push(Node { span, column, anchor, kind: Kind::Mapping { flow, entries } }),
    }
}

/// The parts of a text that are YAML streams. JSON objects in a sequence are not one stream.
fn parts(text: &str) -> Vec<Range<usize>> {
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let whole = start..text.len();
    let body = text.get(start..).unwrap_or_default();
    if !body.trim_start().starts_with(['{', '[']) {
        return vec![whole];
    }
    let mut stream = serde_json::Deserializer::from_str(body).into_iter::<serde::de::IgnoredAny>();
    let mut parts = Vec::new();
    let mut begin = start;
    while let Some(value) = stream.next() {
        if value.is_err() {
            return vec![whole];
        }
        let end = start + stream.byte_offset();
        parts.push(begin..end);
        begin = end;
    }
    parts
}

fn documents(text: &str, part: Range<usize>) -> Result<Vec<Node>> {
    let base = part.start;
    let part = text.get(part).unwrap_or_default();
    // The parser gives positions in characters.
    let bytes: Vec<usize> = part.char_indices().map(|(at, _)| base + at).chain([base + part.len()]).collect();
    let mut reader = Reader { parser: Parser::new_from_str(part), text, bytes };
    let mut documents = Vec::new();
    loop {
        match reader.next()? {
            (Event::StreamEnd, _) => return Ok(documents),
            (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd, _) => {}
            (event, span) => documents.push(reader.node(event, span, 0)?),
        }
    }
}

struct Reader<'a, I: Input> {
    parser: Parser<'a, I>,
    text: &'a str,
    /// The byte position of each character.
    bytes: Vec<usize>,
}

impl<'a, I: Input> Reader<'a, I> {
    fn next(&mut self) -> Result<(Event<'a>, Span)> {
        let event = self.parser.next_event().context("the YAML ends too early")?;
        event.map_err(|error| anyhow!("cannot parse this YAML: {error}"))
    }

    fn place(&self, character: usize) -> usize {
        self.bytes.get(character).or(self.bytes.last()).copied().unwrap_or_default()
    }

    /// Reads the node that starts with an event.
    fn node(&mut self, event: Event<'a>, span: Span, depth: usize) -> Result<Node> {
        if depth > MAX_DEPTH {
            bail!("more than {MAX_DEPTH} levels of nesting");
        }
        let range = self.place(span.start.index())..self.place(span.end.index());
        let column = span.start.col();
        let (span, anchor, kind) = match event {
            Event::Scalar(value, style, anchor, _) => {
                let end = self.text.get(range.clone()).and_then(|raw| end_of_quotes(raw, style));
                let range = range.start..end.map_or(range.end, |end| range.start + end);
                (range, anchor, Kind::Scalar { value: value.into_owned(), style })
            }
            Event::Alias(anchor) => (range, 0, Kind::Alias(anchor)),
            Event::SequenceStart(anchor, _) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (event, span) => items.push(self.node(event, span, depth + 1)?),
                    }
                }
                (range, anchor, Kind::Sequence(items))
            }
            Event::MappingStart(anchor, _) => {
                let mut entries = Vec::new();
                loop {
                    let key = match self.next()? {
                        (Event::MappingEnd, _) => break,
                        (event, span) => self.node(event, span, depth + 1)?,
                    };
                    let (event, span) = self.next()?;
                    entries.push((key, self.node(event, span, depth + 1)?));
                }
                // The first event of a mapping in flow style ends with its brace; that of a block is empty, or an anchor.
                let flow = self.text.get(range.clone()).is_some_and(|begin| begin.ends_with('{'));
                (range.end..range.end, anchor, Kind::Mapping { flow, entries })
            }
            other => bail!("unexpected event {other:?}"),
        };
        Ok(Node { span, column, anchor, kind })
    }
}

/// The place after the closing quote of a scalar. The span that the parser gives goes on to the end of the line, with a comment there.
fn end_of_quotes(raw: &str, style: ScalarStyle) -> Option<usize> {
    let quote = match style {
        ScalarStyle::SingleQuoted => '\'',
        ScalarStyle::DoubleQuoted => '"',
        _ => return None,
    };
    let mut rest = raw.trim_start();
    // Before the quote there may be an anchor, a tag and comments.
    while !rest.starts_with(quote) {
        let end = match rest.chars().next()? {
            '&' | '!' => rest.find(char::is_whitespace)?,
            '#' => rest.find('\n')?,
            _ => return None,
        };
        rest = rest.get(end..)?.trim_start();
    }
    let mut characters = rest.char_indices().skip(1).peekable();
    while let Some((at, c)) = characters.next() {
        let is_escape = match quote {
            '"' => c == '\\',
            _ => c == '\'' && characters.peek().is_some_and(|(_, next)| *next == '\''),
        };
        if is_escape {
            characters.next();
        } else if c == quote {
            return Some(raw.len() - rest.len() + at + 1);
        }
    }
    None
}

/// An image in an object of a manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePosition {
    /// The list that has it, such as `initContainers`.
    pub field: &'static ImageField,
    /// The name of the container or volume. Empty without one.
    pub name: String,
    /// The image reference, as it is written.
    pub image: String,
    /// The bytes of the reference in the text, with its quotes. An alias has those of the node with the anchor.
    pub span: Range<usize>,
    /// How the reference is written.
    pub style: ScalarStyle,
    /// Whether the reference itself has an anchor, so that any other value may be a copy of it.
    pub has_anchor: bool,
    /// Whether the reference is written with variables, and `image` has their values. Only Compose files have variables.
    pub has_variables: bool,
}

/// A step on the way to a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// The value of a key.
    Key(String),
    /// An item of a list, counted from 0.
    Item(usize),
}

impl Step {
    /// The value of a key.
    pub(crate) fn key(key: &str) -> Self {
        Self::Key(key.to_owned())
    }
}

/// Finds values by their path in the objects of a manifest.
pub(crate) struct Paths<'a> {
    objects: &'a [Node],
    search: ImageSearch<'a>,
}

impl<'a> Paths<'a> {
    pub(crate) fn of(objects: &'a [Node]) -> Self {
        Self { objects, search: ImageSearch::of(objects) }
    }

    /// The value at a path of an object, with anchors and merge keys.
    pub(crate) fn get(&self, object: usize, path: &[Step]) -> Option<&'a Node> {
        path.iter().try_fold(self.search.resolved(self.objects.get(object)?)?, |node, step| match (step, &node.kind) {
            (Step::Key(key), _) => self.search.field(node, key, 0),
            (Step::Item(index), Kind::Sequence(items)) => self.search.resolved(items.get(*index)?),
            (Step::Item(_), _) => None,
        })
    }

    /// The byte at which the key of a path begins, which may be in a mapping that is merged.
    pub(crate) fn key_start(&self, object: usize, path: &[Step]) -> Option<usize> {
        let (Step::Key(key), above) = path.split_last()? else { return None };
        let (key, _) = self.search.entry(self.get(object, above)?, key, 0)?;
        Some(key.span.start)
    }
}

/// The most nodes to visit when images are searched: aliases can make a small manifest expand to a huge one.
const MAX_VISITED: usize = 200_000;

/// The most nodes to visit for all objects of a manifest. Its later objects then have no images.
const MAX_VISITED_IN_ALL: usize = 20 * MAX_VISITED;

/// The most levels of nesting, as the reader of YAML allows.
pub(super) const MAX_DEPTH: usize = 128;

/// The images of each of the objects of a manifest, in the order of the text. Custom kinds may have them anywhere.
pub fn images_by_object(objects: &[Node]) -> Vec<Vec<ImagePosition>> {
    let mut search = ImageSearch::of(objects);
    let mut visited = 0;
    let images = objects.iter().map(|object| {
        if visited <= MAX_VISITED_IN_ALL {
            search.visited = 0;
            search.visit(object, 0);
            visited += search.visited;
        }
        std::mem::take(&mut search.found)
    });
    images.collect()
}

/// The line and the column of a byte, both counted from 1. The column counts characters.
pub fn line_and_column(text: &str, byte: usize) -> (usize, usize) {
    let before = text.get(..byte).unwrap_or(text);
    let start = before.rfind('\n').map_or(0, |end| end + 1);
    let column = before.get(start..).unwrap_or_default().trim_start_matches('\u{feff}').chars().count();
    (before.matches('\n').count() + 1, column + 1)
}

/// The number of keys from which a mapping is searched by a table of its keys. A Compose file may have many services.
const MANY_KEYS: usize = 64;

/// The entries of a mapping by their keys.
type Entries<'a> = HashMap<&'a str, &'a (Node, Node)>;

struct ImageSearch<'a> {
    /// The nodes with an anchor, by its number, in the order of the text.
    anchors: HashMap<usize, Vec<&'a Node>>,
    /// The entries of large mappings.
    large: RefCell<HashMap<*const Node, Entries<'a>>>,
    visited: usize,
    found: Vec<ImagePosition>,
}

impl<'a> ImageSearch<'a> {
    fn of(objects: &'a [Node]) -> Self {
        let mut search = Self { anchors: HashMap::new(), large: RefCell::default(), visited: 0, found: Vec::new() };
        objects.iter().for_each(|object| search.add_anchors(object));
        search
    }

    fn add_anchors(&mut self, node: &'a Node) {
        if node.anchor != 0 {
            self.anchors.entry(node.anchor).or_default().push(node);
        }
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => {}
            Kind::Sequence(items) => items.iter().for_each(|item| self.add_anchors(item)),
            Kind::Mapping { entries, .. } => entries.iter().for_each(|(key, value)| {
                self.add_anchors(key);
                self.add_anchors(value);
            }),
        }
    }

    /// The node itself, or the one that an alias copies.
    fn resolved(&self, node: &'a Node) -> Option<&'a Node> {
        let Kind::Alias(anchor) = node.kind else { return Some(node) };
        self.anchors.get(&anchor)?.iter().rev().find(|known| known.span.start <= node.span.start).copied()
    }

    /// The value of a key, with merge keys: the mapping's own keys take precedence.
    fn field(&self, node: &'a Node, key: &str, depth: usize) -> Option<&'a Node> {
        self.resolved(&self.entry(node, key, depth)?.1)
    }

    /// The entry of a key, without merge keys.
    fn own_entry(&self, node: &'a Node, key: &str) -> Option<&'a (Node, Node)> {
        let Kind::Mapping { entries, .. } = &node.kind else { return None };
        if entries.len() < MANY_KEYS {
            return node.get(key);
        }
        let mut large = self.large.borrow_mut();
        let by_key = large.entry(std::ptr::from_ref(node)).or_insert_with(|| {
            let mut by_key = HashMap::new();
            for entry in entries {
                if let Kind::Scalar { value, .. } = &entry.0.kind {
                    by_key.entry(value.as_str()).or_insert(entry);
                }
            }
            by_key
        });
        by_key.get(key).copied()
    }

    /// The entry of a key, with merge keys.
    fn entry(&self, node: &'a Node, key: &str, depth: usize) -> Option<&'a (Node, Node)> {
        let node = self.resolved(node)?;
        if let Some(entry) = self.own_entry(node, key) {
            return Some(entry);
        }
        let (_, merged) = node.get("<<").filter(|_| depth < MAX_DEPTH)?;
        match &self.resolved(merged)?.kind {
            Kind::Sequence(sources) => sources.iter().find_map(|source| self.entry(source, key, depth + 1)),
            _ => self.entry(merged, key, depth + 1),
        }
    }

    fn visit(&mut self, node: &'a Node, depth: usize) {
        self.visited += 1;
        if self.visited > MAX_VISITED || depth > MAX_DEPTH {
            return;
        }
        let Some(node) = self.resolved(node) else { return };
        match &node.kind {
            Kind::Scalar { .. } | Kind::Alias(_) => {}
            Kind::Sequence(items) => items.iter().for_each(|item| self.visit(item, depth + 1)),
            Kind::Mapping { entries, .. } => {
                for field in &IMAGE_FIELDS {
                    let list = self.field(node, field.list, 0);
                    if let Some(Node { kind: Kind::Sequence(items), .. }) = list {
                        let images: Vec<_> = items.iter().filter_map(|item| self.image(field, item)).collect();
                        self.found.extend(images);
                    }
                }
                for (_, value) in entries {
                    self.visit(value, depth + 1);
                }
            }
        }
    }

    fn image(&self, field: &'static ImageField, entry: &'a Node) -> Option<ImagePosition> {
        let image = field.image.iter().try_fold(entry, |node, key| self.field(node, key, 0))?;
        let Kind::Scalar { value, style } = &image.kind else { return None };
        let name = match self.field(entry, "name", 0).map(|name| &name.kind) {
            Some(Kind::Scalar { value, .. }) => value.clone(),
            _ => String::new(),
        };
        let (span, has_anchor) = (image.span.clone(), image.anchor != 0);
        Some(ImagePosition { field, name, image: value.clone(), span, style: *style, has_anchor, has_variables: false })
    }
}

#[cfg(test)]
mod tests {
    use super::{images_by_object, line_and_column, objects};

    /// The images of an object, each as noun, name, image, line and column.
    fn found(text: &str, object: usize) -> Vec<String> {
        let nodes = objects(text).unwrap();
        let found = images_by_object(&nodes).remove(object).into_iter().map(|image| {
            let (line, column) = line_and_column(text, image.span.start);
            format!("{} {} {} {line}:{column}", image.field.noun, image.name, image.image)
        });
        found.collect()
    }

    #[test]
    fn an_image_has_its_line_and_column() {
        let text = "kind: Pod\nspec:\n  volumes:\n  - name: é\n    image: {pullPolicy: Always, reference: data:1}\n  \
                    containers:\n  - image: 'a:1'\n    name: app\n---\n{\"kind\": \"Pod\", \"spec\": {\"initContainers\": [{\"image\": \"b\"}]}}\n";
        assert_eq!(found(text, 0), ["container app a:1 7:12", "volume é data:1 5:44"]);
        assert_eq!(found(text, 1), ["init container  b 10:55"]);
    }

    #[test]
    fn an_image_in_quotes_ends_with_its_quote() {
        for (raw, rest) in [
            ("\"a:1\"", " # \"b\""),
            ("'a:1'", " # it's"),
            ("\"a\\u003a1\"", ""),
            ("&x \"a:1\"", "  \n\n  # b"),
            ("&it's !!str 'a:1'", " # b"),
            ("&x # \"\n      \"a:1\"", " # b"),
            ("'a:1'", " #'"),
            ("a:1", " # b"),
        ] {
            let text = format!("spec:\n  containers:\n  - image: {raw}{rest}\n    name: x\n");
            let image = images_by_object(&objects(&text).unwrap()).remove(0).remove(0);
            assert_eq!(text.get(image.span.clone()).unwrap(), raw);
            assert_eq!(image.image, "a:1");
        }
        let text = "spec: {containers: [{name: '''\\', image: 'a''\\'  , x: 'it''s'}]}\n";
        let image = images_by_object(&objects(text).unwrap()).remove(0).remove(0);
        assert_eq!((image.name.as_str(), text.get(image.span).unwrap()), ("'\\", "'a''\\'"));
    }

    #[test]
    fn the_image_of_an_alias_is_where_its_anchor_is() {
        let text =
            "- kind: A\n  x: &c\n    image: a:1\n  spec:\n    containers:\n    - {<<: *c, name: one}\n    - *c\n";
        let list = format!("kind: List\nitems:\n{text}");
        assert_eq!(found(&list, 0), ["container one a:1 5:12", "container  a:1 5:12"]);
    }

    #[test]
    fn a_byte_order_mark_is_not_a_column_and_windows_line_ends_are_not_lines() {
        let text = "\u{feff}{kind: A}\r\n---\r\nspec: {containers: [{image: é:1, name: x}]}\r\n";
        assert_eq!(found(text, 1), ["container x é:1 3:29"]);
        assert_eq!(line_and_column(text, 3), (1, 1));
    }

    #[test]
    fn manifests_that_expand_without_end_are_searched_for_a_limited_time() {
        let mut text = "a: &a0 [{containers: [{image: a}]}]\n".to_owned();
        for level in 1..30 {
            text += &format!("b{level}: &a{level} [*a{0}, *a{0}, *a{0}]\n", level - 1);
        }
        assert!(found(&text, 0).len() < super::MAX_VISITED);
    }

    #[test]
    fn a_deeply_nested_document_is_an_error() {
        let text = format!("a: {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(objects(&text).is_err());
    }

    #[test]
    fn the_items_of_a_list_have_the_positions_that_they_have_as_objects() {
        let text = "kind: ConfigMap\nitems: [null, {spec: {containers: [{image: a:1, name: x}]}}]\n";
        assert_eq!(super::super::read(text).len(), 2);
        assert_eq!(found(text, 1), ["container x a:1 2:44"]);
    }
}
