//! What settings may hold, told as data: the JSON Schema and the reference of the settings are written from it.
//!
//! Nothing of it gets into the module, where nobody asks for it.

use serde_json::Value;

/// What may be written for a value of the settings.
#[derive(Debug, Clone, PartialEq)]
pub enum Schema {
    /// True or false.
    Boolean,
    /// A whole number, 0 or more.
    Number,
    /// One of some words.
    Keyword(Vec<&'static str>),
    /// A string.
    Text(Text),
    /// A list.
    List {
        /// What each of its items is.
        items: Box<Schema>,
        /// How many items it has at least.
        least: usize,
    },
    /// An object of values that are all alike. Every one may be left out.
    Each {
        /// What the keys name: a severity.
        by: &'static str,
        /// The keys.
        keys: Vec<&'static str>,
        /// What each value is.
        values: Box<Schema>,
    },
    /// An object with keys of its own.
    Section(Section),
}

/// A string of some kind.
#[derive(Debug, Clone, PartialEq)]
pub struct Text {
    /// What one is called.
    pub one: &'static str,
    /// What several are called.
    pub many: &'static str,
    /// What it has to be.
    pub format: StringFormat,
}

/// What a string has to be.
#[derive(Debug, Clone, PartialEq)]
pub enum StringFormat {
    /// What a regular expression finds, of the kind that JSON Schema takes. It never refuses what can be read, and it may
    /// find more.
    Pattern(String),
    /// One of some words.
    OneOf(Vec<&'static str>),
}

/// An object with keys of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    /// The name of its type.
    pub name: &'static str,
    /// What it is, in sentences.
    pub about: String,
    /// Its keys, in the order in which they are told of.
    pub keys: Vec<Key>,
    /// What its keys must be together.
    pub constraints: Vec<Constraint>,
}

/// A key of a section.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// The key.
    pub name: &'static str,
    /// What it is for, in sentences of Markdown. The first one tells it in short, and the last one may give an example.
    pub about: String,
    /// What its value may be.
    pub schema: Schema,
    /// The value that it has if it is left out, as it would be written; nothing where it is required.
    pub default: Option<Value>,
}

/// What the keys of a section must be together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Constraint {
    /// Not both of two keys have a value.
    NotBoth([&'static str; 2]),
    /// One of some lists has items.
    NotAllEmpty(&'static [&'static str]),
}

impl Schema {
    /// A string that is told by what one is called and what several are, and by a regular expression.
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

/// The lines of doc comments as running text.
#[must_use]
pub fn prose(lines: &[&str]) -> String {
    lines.iter().map(|line| line.trim()).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
}
