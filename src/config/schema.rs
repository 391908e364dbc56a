//! A description of the settings, from which their JSON Schema and their reference are generated.
//!
//! The module does not use it, so the linker drops it there.

use serde_json::Value;

/// The type of a value in the settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// True or false.
    Boolean,
    /// A whole number, 0 or more.
    Number,
    /// One of these words.
    Keyword(Vec<&'static str>),
    /// A string.
    Text(Text),
    /// A list.
    List {
        /// The type of its items.
        items: Box<Schema>,
        /// The minimum number of items.
        least: usize,
    },
    /// An object with values of one type, each of them optional.
    Each {
        /// What a key is, such as a severity.
        by: &'static str,
        /// The keys.
        keys: Vec<&'static str>,
        /// The type of the values.
        values: Box<Schema>,
    },
    /// An object whose keys have types of their own.
    Section(Section),
}

/// A string in a format.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// The noun for one.
    pub one: &'static str,
    /// The noun for several.
    pub many: &'static str,
    /// Its format.
    pub format: StringFormat,
}

/// The format of a string.
#[derive(Debug, Clone, PartialEq)]
pub enum StringFormat {
    /// A regular expression for JSON Schema (ECMA-262). It matches every text that can be read, and may match more.
    Pattern(String),
    /// One of these words.
    OneOf(Vec<&'static str>),
}

/// An object whose keys have types of their own.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The name of its type.
    pub name: &'static str,
    /// Its description, in sentences.
    pub about: String,
    /// Its keys, in the order of the documentation.
    pub keys: Vec<Key>,
    /// Rules about several of its keys.
    pub constraints: Vec<Constraint>,
}

/// A key of a section.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The name.
    pub name: &'static str,
    /// Its description, in Markdown. The first sentence is the summary, and the last one may be an example.
    pub about: String,
    /// The type of its value.
    pub schema: Schema,
    /// The default, as it would be written; `None` if the key is required.
    pub default: Option<Value>,
}

/// A rule about several keys of a section.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// Only one of the two keys may have a value.
    NotBoth([&'static str; 2]),
    /// At least one of the lists must have items.
    NotAllEmpty(&'static [&'static str]),
}

impl Schema {
    /// A string with the nouns for one and several, and a regular expression.
    pub fn text(one: &'static str, many: &'static str, pattern: impl Into<String>) -> Self {
        Self::Text(Text { one, many, format: StringFormat::Pattern(pattern.into()) })
    }
}

impl Section {
    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Key> {
        self.keys.iter().find(|key| key.name == name)
    }
}

/// Joins the lines of a doc comment.
#[must_use]
pub fn prose(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
