//! Reads settings. Every problem is collected with its path, so that an admin sees all of them at once.
//!
//! Values are borrowed from the JSON text and read one by one. After an invalid value, the remaining ones are still read.

use std::borrow::Cow;
use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::schema::{Constraint, Schema};
use crate::json::Entries;
use crate::sanitized::Sanitized;

/// The Jaro-Winkler similarity (0 to 1) above which a known word is suggested for an unknown one.
const SIMILAR: f64 = 0.7;
/// The most characters of a word that are compared with known words.
const MOST_COMPARED: usize = 64;

/// A type that is read from one JSON value of the settings.
pub trait Setting: Sized {
    /// What to write if a required key of this type is missing.
    const ADVICE: Option<&'static str> = None;

    /// Reads the value at the path `at`. Returns `None`, and adds a problem, if it is invalid.
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self>;

    /// The description of the type.
    fn schema() -> Schema;

    /// The value as it would be written in JSON.
    fn to_json(&self) -> Value;
}

/// A setting that is one of a few words.
pub trait Keyword: Copy + PartialEq + 'static {
    /// The words, each with its value.
    const KEYWORDS: &'static [(&'static str, Self)];
}

/// The most problems that are reported one by one; further ones are counted.
const MAX_LINES: usize = 100;

/// The most characters of one problem. Problems repeat text of the settings, which may be long.
const MAX_LINE_LENGTH: usize = 2000;

/// The most keys of an object. Every section has fewer; reading more takes quadratic time.
const MAX_KEYS: usize = 63;

/// The problems of the settings, in the order in which they were found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problems {
    lines: Vec<String>,
    /// The number of problems that are only counted.
    more: usize,
    /// Values that are valid, but probably not intended.
    warnings: Vec<String>,
    wants_warnings: bool,
}

impl Problems {
    /// An empty list, for a validation that shows its warnings. A request also reads its settings, and does not show their warnings.
    #[must_use]
    pub fn with_warnings() -> Self {
        Self { wants_warnings: true, ..Self::default() }
    }

    /// Whether the warnings are read. If not, a warning that takes long to find is not searched for.
    #[must_use]
    pub fn wants_warnings(&self) -> bool {
        self.wants_warnings
    }

    /// Adds a problem of the value at a path.
    pub fn push(&mut self, at: Path<'_>, problem: impl fmt::Display) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.lines.push(line(at, problem));
        }
    }

    /// Adds a warning about the value at a path. The settings stay valid.
    pub fn warn(&mut self, at: Path<'_>, text: impl fmt::Display) {
        self.warnings.push(line(at, text));
    }

    /// Whether there is a warning with this text. An override inherits the values that it leaves out.
    #[must_use]
    pub fn has_warning(&self, text: &str) -> bool {
        self.warnings.iter().any(|warning| warning.ends_with(text))
    }

    /// The warnings; each begins with the path of its value.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Whether there are no problems.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Whether further problems are only counted.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.lines.len() >= MAX_LINES
    }

    /// The problems; each begins with the path of its value.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// A line about the value at a path, cut at [`MAX_LINE_LENGTH`].
fn line(at: Path<'_>, text: impl fmt::Display) -> String {
    let mut line = format!("{at}: {text}");
    if let Some((end, _)) = line.char_indices().nth(MAX_LINE_LENGTH) {
        line.truncate(end);
        line.push('…');
    }
    line
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines.join("\n"))?;
        if self.more > 0 {
            write!(f, "\n… and {} more", self.more)?;
        }
        Ok(())
    }
}

/// The path of a value in the settings, such as `overrides[1].images`.
#[derive(Debug, Clone, Copy)]
pub enum Path<'p> {
    /// The settings themselves.
    Root,
    /// The value of a key.
    Key(&'p Path<'p>, &'p str),
    /// An item of a list, counted from 0.
    Index(&'p Path<'p>, usize),
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => f.write_str("settings"),
            Path::Key(Path::Root, key) => Sanitized(key).fmt(f),
            Path::Key(parent, key) => write!(f, "{parent}.{}", Sanitized(key)),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The type of a JSON value, as messages show it.
pub fn kind_of(json: &RawValue) -> &'static str {
    match json.get().bytes().next() {
        Some(b'{') => "an object",
        Some(b'[') => "a list",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        _ => "a number",
    }
}

/// Reads a string; another value is a problem, with `expected` as the noun for the right one.
pub fn read_string(json: &RawValue, at: Path<'_>, expected: &str, problems: &mut Problems) -> Option<String> {
    match serde_json::from_str(json.get()) {
        Ok(text) => Some(text),
        Err(_) => {
            let quote = match kind_of(json) {
                "a number" | "a boolean" => format!("; put it in quotes: \"{}\"", json.get()),
                _ => String::new(),
            };
            problems.push(at, format_args!("expected {expected}, found {}{quote}", kind_of(json)));
            None
        }
    }
}

impl<T: Keyword> Setting for T {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let word_at = |index| T::KEYWORDS.get(index).map(|(word, _)| *word);
        let (_, value) = T::KEYWORDS.get(read_keyword(json, word_at, at, problems)?)?;
        Some(*value)
    }

    fn schema() -> Schema {
        Schema::Keyword(T::KEYWORDS.iter().map(|(word, _)| *word).collect())
    }

    fn to_json(&self) -> Value {
        T::KEYWORDS.iter().find(|(_, value)| value == self).map(|(word, _)| *word).into()
    }
}

/// Reads one of the words that `word_at` returns, and returns its index. It is neither generic nor inlined, because a
/// copy for each type would enlarge the module by several KiB.
///
/// YAML 1.1, which `kubectl` uses, reads an unquoted `off` as `false`, so `false` is accepted for `off`. If `true` and `false` are
/// keywords, they are accepted with and without quotes.
#[inline(never)]
fn read_keyword(
    json: &RawValue,
    word_at: fn(usize) -> Option<&'static str>,
    at: Path<'_>,
    problems: &mut Problems,
) -> Option<usize> {
    let words = || (0..).map_while(word_at);
    let index = |word: &str| words().position(|candidate| candidate == word);
    let boolean = match json.get() {
        "true" => index("true"),
        "false" => index("false").or_else(|| index("off")),
        _ => None,
    };
    if boolean.is_some() {
        return boolean;
    }
    let known = || words().collect::<Vec<_>>();
    let Ok(word) = serde_json::from_str::<String>(json.get()) else {
        problems.push(at, format_args!("expected one of {}, found {}", known().join(", "), kind_of(json)));
        return None;
    };
    let found = index(&word);
    if found.is_none() {
        // A boolean is not a misspelled word: `true` does not suggest `trust`.
        let known = known();
        let is_word = !matches!(word.as_str(), "true" | "false") && !problems.is_full();
        let nearest = if is_word { nearest(&word, &known) } else { None };
        let advice = nearest.map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
        problems.push(at, format_args!("unknown value `{word}`; expected one of {}{advice}", known.join(", ")));
    }
    found
}

impl Setting for bool {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        match json.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                problems.push(at, format_args!("expected true or false, found {}", kind_of(json)));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::Boolean
    }

    fn to_json(&self) -> Value {
        (*self).into()
    }
}

impl<T: Setting> Setting for Option<T> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        T::read(json, at, problems).map(Some)
    }

    fn schema() -> Schema {
        T::schema()
    }

    fn to_json(&self) -> Value {
        self.as_ref().map(T::to_json).into()
    }
}

impl<T: Setting> Setting for Vec<T> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Ok(items) = serde_json::from_str::<Vec<&RawValue>>(json.get()) else {
            problems.push(at, format_args!("expected a list, found {}", kind_of(json)));
            return None;
        };
        let mut values = Self::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            values.extend(T::read(item, Path::Index(&at, index), problems));
        }
        Some(values)
    }

    fn schema() -> Schema {
        Schema::List { items: Box::new(T::schema()), least: 0 }
    }

    fn to_json(&self) -> Value {
        self.iter().map(T::to_json).collect()
    }
}

/// Whether the value is a list without items.
#[must_use]
pub fn is_empty_list(json: &RawValue) -> bool {
    json.get().strip_prefix('[').is_some_and(|rest| rest.trim_start() == "]")
}

/// The keys of an object that have not been taken yet.
pub struct Fields<'a> {
    entries: Vec<(Cow<'a, str>, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// Reads an object; a duplicate key is a problem.
    pub fn read(json: &'a RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let Ok(entries) = serde_json::from_str(json.get()) else {
            problems.push(at, format_args!("expected an object, found {}", kind_of(json)));
            return None;
        };
        Self::of(entries, at, problems)
    }

    /// Starts with the keys of an object; a duplicate key is a problem.
    pub fn of(Entries(entries): Entries<'a>, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if entries.len() > MAX_KEYS {
            problems.push(at, format_args!("expected at most {MAX_KEYS} keys, found {}", entries.len()));
            return None;
        }
        let mut fields = Self { entries: Vec::with_capacity(entries.len()) };
        for (key, value) in entries {
            if fields.entries.iter().any(|(known, _)| *known == key) {
                problems.push(Path::Key(&at, &key), "duplicate key");
            } else {
                fields.entries.push((key, value));
            }
        }
        Some(fields)
    }

    /// Takes and reads the value of a key. Null counts as no value, because it is how YAML reads `key:`.
    pub fn take<T: Setting>(&mut self, key: &str, at: Path<'_>, problems: &mut Problems) -> Option<T> {
        T::read(self.take_unread(key)?, Path::Key(&at, key), problems)
    }

    /// Takes and reads the value of a key; it is a problem if the key is missing.
    pub fn take_required<T: Setting>(&mut self, key: &str, at: Path<'_>, problems: &mut Problems) -> Option<T> {
        if !self.has(key) {
            missing(key, T::ADVICE, at, problems);
        }
        self.take(key, at, problems)
    }

    /// Takes the JSON of the value of a key.
    pub fn take_unread(&mut self, key: &str) -> Option<&'a RawValue> {
        let index = self.entries.iter().position(|(known, _)| known == key)?;
        let (_, value) = self.entries.swap_remove(index);
        (value.get() != "null").then_some(value)
    }

    /// Whether a key has a value.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// The JSON of the value of a key.
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.value(key)
    }

    fn value(&self, key: &str) -> Option<&'a RawValue> {
        let value = self.entries.iter().find(|(known, _)| known == key).map(|(_, value)| *value);
        value.filter(|value| value.get() != "null")
    }

    /// Whether the keys satisfy a constraint.
    pub fn satisfy(&self, constraint: Constraint) -> bool {
        match constraint {
            Constraint::NotBoth(keys) => !keys.iter().all(|key| self.has(key)),
            Constraint::NotAllEmpty(keys) => {
                keys.iter().any(|key| self.value(key).is_some_and(|value| !is_empty_list(value)))
            }
        }
    }

    /// The keys that are not inherited, because a key that excludes them is given.
    pub fn replaced(&self, constraints: &[Constraint]) -> Vec<&'static str> {
        let mut replaced = Vec::new();
        for constraint in constraints {
            if let Constraint::NotBoth([a, b]) = constraint {
                replaced.extend(self.has(a).then_some(*b));
                replaced.extend(self.has(b).then_some(*a));
            }
        }
        replaced
    }

    /// Reports the keys that have not been taken, in alphabetical order, each with the most similar known key.
    pub fn finish(mut self, known: &[&str], at: Path<'_>, problems: &mut Problems) {
        self.entries.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (key, value) in &self.entries {
            // Comparing words costs more than reading the whole section.
            let nearest = if problems.is_full() { None } else { nearest(key, known) };
            let advice = match (at, key.as_ref(), nearest) {
                // A copy of a policy's manifest has its settings below these keys.
                (Path::Root, "settings" | "spec", _) if kind_of(value) == "an object" => {
                    "remove this level and give the keys inside it".to_owned()
                }
                (.., Some(known)) => format!("did you mean `{known}`?"),
                (.., None) => format!("expected one of {}", known.join(", ")),
            };
            problems.push(Path::Key(&at, key), format_args!("unknown key; {advice}"));
        }
    }
}

#[cold]
fn missing(key: &str, advice: Option<&str>, at: Path<'_>, problems: &mut Problems) {
    let (mark, advice) = advice.map_or(("", ""), |advice| ("; ", advice));
    problems.push(at, format_args!("`{key}` is required{mark}{advice}"));
}

/// The beginning of a word, as far as it is compared with known words. No known word is longer, and the time of a comparison is
/// the product of the two lengths.
pub(crate) fn compared(word: &str) -> &str {
    let end = word.char_indices().nth(MOST_COMPARED).map(|(end, _)| end);
    end.and_then(|end| word.get(..end)).unwrap_or(word)
}

/// The known word that is most similar to a word, if one is similar enough. Case is ignored.
pub fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word = compared(word).to_ascii_lowercase();
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(&known.to_ascii_lowercase(), &word), *known))
        .filter(|(similarity, _)| *similarity > SIMILAR)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

/// A section that can inherit keys from another one, as the sections of `overrides` do from those at the top.
pub trait Overridable: Setting + Clone + Default {
    /// Reads the section. Keys that are left out are inherited from `base`, or have their defaults. A key that excludes a given one
    /// is not inherited.
    fn read_over(json: &RawValue, at: Path<'_>, problems: &mut Problems, base: Option<&Self>) -> Option<Self>;
}

/// Declares a section of the settings: a struct with its keys and their defaults. The keys of the `required` block have no
/// default; a section without that block has a `Default`. The struct may be followed by `constraints`, each with the message for
/// settings that violate it, and by a `check` of the whole section.
///
/// Users read the doc comments of keys in `docs/settings.md` and in their editors. They are Markdown, with links relative to
/// `docs/`. The first sentence is the summary. The last one may be `For example` with a value in backticks.
macro_rules! section {
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            $( $(#[doc = $doc:literal])* $key:literal $field:ident: $type:ty = $default:expr, )*
        }
        $($rest:tt)*
    ) => {
        section! {
            $(#[doc = $about])*
            pub struct $name {
                required {}
                $( $(#[doc = $doc])* $key $field: $type = $default, )*
            }
            $($rest)*
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $default, )* }
            }
        }

        impl $crate::config::read::Overridable for $name {
            fn read_over(
                json: &serde_json::value::RawValue,
                at: $crate::config::read::Path<'_>,
                problems: &mut $crate::config::read::Problems,
                base: Option<&Self>,
            ) -> Option<Self> {
                let mut fields = $crate::config::read::Fields::read(json, at, problems)?;
                let section = Self::take(&mut fields, at, problems, base);
                fields.finish(Self::KEYS, at, problems);
                section
            }
        }
    };
    (
        $(#[doc = $about:literal])*
        pub struct $name:ident {
            required {
                $( $(#[doc = $required_doc:literal])* $required_key:literal $required:ident: $required_type:ty, )*
            }
            $( $(#[doc = $doc:literal])* $key:literal $field:ident: $type:ty = $default:expr, )*
        }
        $( constraints { $( $constraint:expr => $broken:literal, )* } )?
        $( check $check:path; )?
    ) => {
        $(#[doc = $about])*
        #[derive(Debug, Clone, PartialEq)]
        pub struct $name {
            $( $(#[doc = $required_doc])* pub $required: $required_type, )*
            $( $(#[doc = $doc])* pub $field: $type, )*
        }

        impl $name {
            /// The keys of the section.
            pub(crate) const KEYS: &[&str] = &[$( $required_key, )* $( $key, )*];

            /// Takes the keys of the section. Keys that are left out are inherited from `base`, or have their defaults.
            #[allow(unused_variables, reason = "without optional keys nothing is inherited")]
            pub(crate) fn take(
                fields: &mut $crate::config::read::Fields<'_>,
                at: $crate::config::read::Path<'_>,
                problems: &mut $crate::config::read::Problems,
                base: Option<&Self>,
            ) -> Option<Self> {
                let constraints: &[$crate::config::schema::Constraint] = &[$( $( $constraint, )* )?];
                $($(
                    if !fields.satisfy($constraint) {
                        problems.push(at, $broken);
                    }
                )*)?
                let replaced = if base.is_some() { fields.replaced(constraints) } else { Vec::new() };
                $(
                    let $required: Option<$required_type> = fields.take_required($required_key, at, problems);
                )*
                $( let $field: Option<$type> = fields.take($key, at, problems); )*
                let section = Self {
                    $( $required: $required?, )*
                    $( $field: $field.unwrap_or_else(|| match base {
                        Some(base) if !replaced.contains(&$key) => base.$field.clone(),
                        _ => $default,
                    }), )*
                };
                $( $check(&section, at, problems); )?
                Some(section)
            }
        }

        impl $crate::config::read::Setting for $name {
            fn read(
                json: &serde_json::value::RawValue,
                at: $crate::config::read::Path<'_>,
                problems: &mut $crate::config::read::Problems,
            ) -> Option<Self> {
                let mut fields = $crate::config::read::Fields::read(json, at, problems)?;
                let section = Self::take(&mut fields, at, problems, None);
                fields.finish(Self::KEYS, at, problems);
                section
            }

            fn schema() -> $crate::config::schema::Schema {
                use $crate::config::schema::{Key, Section, Schema, prose};
                Schema::Section(Section {
                    name: stringify!($name),
                    about: prose(&[$( $about ),*]),
                    keys: vec![
                        $( Key {
                            name: $required_key,
                            about: prose(&[$( $required_doc ),*]),
                            schema: <$required_type>::schema(),
                            default: None,
                        }, )*
                        $( Key {
                            name: $key,
                            about: prose(&[$( $doc ),*]),
                            schema: <$type>::schema(),
                            default: Some(<$type>::to_json(&$default)),
                        }, )*
                    ],
                    constraints: vec![$( $( $constraint, )* )?],
                })
            }

            /// Keys with their default values are left out.
            fn to_json(&self) -> serde_json::Value {
                let mut object = serde_json::Map::new();
                $( object.insert($required_key.to_owned(), self.$required.to_json()); )*
                $(
                    let value = self.$field.to_json();
                    if value != <$type>::to_json(&$default) {
                        object.insert($key.to_owned(), value);
                    }
                )*
                object.into()
            }
        }
    };
}
pub(crate) use section;
