//! Settings that are namespaces, and patterns of them.

use std::fmt;

use serde_json::Value;
use serde_json::value::RawValue;

use super::read::{Path, Problems, Setting, is_empty_list, read_string};
use super::schema::Schema;
use crate::json::JsonStr;
use crate::wildcard;

/// The most characters of the name of a namespace, a DNS label (RFC 1123).
const LONGEST: usize = 63;

/// The name of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// The namespace of a name that is known to be valid.
    #[cfg(test)]
    pub(crate) fn of_valid(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Setting for Namespace {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = read_string(json, at, "the name of a namespace", problems)?;
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let ends = [name.bytes().next(), name.bytes().next_back()];
        if name.len() > LONGEST
            || !ends.iter().all(|byte| byte.is_some_and(inner))
            || !name.bytes().all(|byte| inner(byte) || byte == b'-')
        {
            problems.push(at, format_args!("invalid namespace name `{name}`; write one such as `team-a`"));
            return None;
        }
        Some(Self(name))
    }

    fn schema() -> Schema {
        Schema::text("name of a namespace", "names of namespaces", "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A pattern of names of namespaces, such as `staging-*`. `*` matches any number of characters, and `?` matches one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamespacePattern(String);

/// Why a text is not a pattern of namespaces. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NamespacePatternError {
    /// The text is empty.
    #[error("a namespace pattern cannot be empty; write a name such as `staging`, or a pattern such as `staging-*`")]
    Empty,
    /// An upper-case letter.
    #[error("matches no namespace, because names of namespaces are lower case; write `{0}`")]
    UpperCase(String),
    /// A character that no name of a namespace has.
    #[error(
        "unexpected character `{0}`; a pattern has lower-case ASCII letters, digits, `-` and the wildcards `*` `?`"
    )]
    Character(char),
    /// A hyphen at the beginning or the end.
    #[error("matches no namespace, because names of namespaces begin and end with a letter or a digit")]
    Hyphen,
    /// More characters than a name has.
    #[error(
        "matches no namespace, because names of namespaces have at most {LONGEST} characters, and this pattern needs {0}"
    )]
    TooLong(usize),
}

impl NamespacePattern {
    /// Parses a name or a pattern.
    ///
    /// # Errors
    /// If no namespace can have a matching name.
    pub fn parse(text: &str) -> Result<Self, NamespacePatternError> {
        if text.is_empty() {
            return Err(NamespacePatternError::Empty);
        }
        let is_expected = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-*?".contains(c);
        if let Some(stray) = text.chars().find(|c| !is_expected(*c) && !c.is_ascii_uppercase()) {
            return Err(NamespacePatternError::Character(stray));
        }
        // A wildcard may match the letter before or after a hyphen.
        if text.starts_with('-') || text.ends_with('-') {
            return Err(NamespacePatternError::Hyphen);
        }
        let least = text.bytes().filter(|byte| *byte != b'*').count();
        if least > LONGEST {
            return Err(NamespacePatternError::TooLong(least));
        }
        if !text.chars().all(is_expected) {
            return Err(NamespacePatternError::UpperCase(text.to_ascii_lowercase()));
        }
        Ok(Self(text.to_owned()))
    }

    /// Whether the pattern matches the name of a namespace.
    #[must_use]
    pub fn matches(&self, namespace: &str) -> bool {
        wildcard::matches(&self.0, namespace)
    }
}

impl fmt::Display for NamespacePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Setting for NamespacePattern {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a namespace, or a pattern such as `staging-*`", problems)?;
        match Self::parse(&text) {
            Ok(pattern) => Some(pattern),
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::text("namespace pattern", "namespace patterns", "^[a-z0-9*?]([a-z0-9*?-]*[a-z0-9*?])?$")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The namespaces to which an entry of the settings applies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Namespaces {
    /// Every namespace, and requests without one.
    #[default]
    Every,
    /// Those that at least one pattern matches.
    Matching(Vec<NamespacePattern>),
}

impl Namespaces {
    /// Whether the entry applies to requests in this namespace. `None` for a request without a namespace.
    #[must_use]
    pub fn include(&self, namespace: Option<&str>) -> bool {
        match self {
            Self::Every => true,
            Self::Matching(patterns) => {
                namespace.is_some_and(|name| patterns.iter().any(|pattern| pattern.matches(name)))
            }
        }
    }

    /// Like [`include`](Self::include), for JSON that has not been read. `None` if it is not a list of strings. For an invalid
    /// pattern, it is unspecified which namespaces it matches.
    pub(crate) fn unread_include(json: &RawValue, namespace: Option<&str>) -> Option<bool> {
        if json.get() == "null" {
            return Some(true);
        }
        let patterns: Vec<JsonStr<'_>> = serde_json::from_str(json.get()).ok()?;
        let matches = |name: &str| patterns.iter().any(|JsonStr(pattern)| wildcard::matches(pattern, name));
        Some(namespace.is_some_and(matches))
    }

    /// The patterns; `None` for every namespace.
    #[must_use]
    pub fn patterns(&self) -> Option<&[NamespacePattern]> {
        match self {
            Self::Every => None,
            Self::Matching(patterns) => Some(patterns),
        }
    }
}

impl Setting for Namespaces {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_empty_list(json) {
            problems.push(
                at,
                "the list is empty; write a namespace such as `staging`, or leave `namespaces` out for every namespace",
            );
            return None;
        }
        Vec::read(json, at, problems).map(Self::Matching)
    }

    fn schema() -> Schema {
        Schema::List { items: Box::new(NamespacePattern::schema()), least: 1 }
    }

    fn to_json(&self) -> Value {
        self.patterns().map(|patterns| patterns.iter().map(Setting::to_json).collect::<Value>()).into()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::value::RawValue;

    use super::{NamespacePattern, Namespaces};
    use crate::config::read::{Path, Problems, Setting as _};

    fn read(json: &str) -> Result<Namespaces, String> {
        let json: &RawValue = serde_json::from_str(json).unwrap();
        let mut problems = Problems::default();
        let read = Namespaces::read(json, Path::Key(&Path::Root, "key"), &mut problems);
        read.filter(|_| problems.is_empty()).ok_or_else(|| problems.to_string())
    }

    #[test]
    fn a_pattern_matches_the_whole_name_of_a_namespace() {
        for (pattern, namespace, expected) in [
            ("staging", "staging", true),
            ("staging", "staging-2", false),
            ("staging", "my-staging", false),
            ("staging-*", "staging-eu", true),
            ("staging-*", "staging-", true),
            ("staging-*", "staging", false),
            ("*-staging", "shop-staging", true),
            ("*-staging", "shop-staging-old", false),
            ("team-?", "team-a", true),
            ("team-?", "team-", false),
            ("team-?", "team-ab", false),
            ("*", "production", true),
            ("*", "Production", true),
            ("a*b*c", "a-b-b-c", true),
        ] {
            let found = NamespacePattern::parse(pattern).unwrap().matches(namespace);
            assert_eq!(found, expected, "{pattern} {namespace}");
        }
    }

    #[test]
    fn a_request_without_a_namespace_matches_only_entries_for_every_namespace() {
        assert!(Namespaces::Every.include(None));
        assert!(Namespaces::Every.include(Some("shop")));
        let every = read(r#"["*"]"#).unwrap();
        assert!(every.include(Some("shop")));
        assert!(!every.include(None));
    }

    #[test]
    fn a_list_is_read_without_validation_as_it_is_with_it() {
        for json in [r#"["staging", "shop-*"]"#, r#"["*"]"#, r#"["sta\u0067ing"]"#] {
            let raw: &RawValue = serde_json::from_str(json).unwrap();
            for namespace in [None, Some("staging"), Some("shop-eu"), Some("shop")] {
                let expected = read(json).unwrap().include(namespace);
                assert_eq!(Namespaces::unread_include(raw, namespace), Some(expected), "{json} {namespace:?}");
            }
        }
        let unread = |json: &str| Namespaces::unread_include(serde_json::from_str(json).unwrap(), Some("shop"));
        assert_eq!(unread("null"), Some(true));
        for json in [r#""shop""#, "[7]", "{}", "[null]"] {
            assert_eq!(unread(json), None, "{json}");
        }
    }

    #[test]
    fn a_list_that_matches_no_namespace_is_refused_with_the_reason() {
        let long = "a".repeat(64);
        for (json, expected) in [
            (
                "[]",
                "key: the list is empty; write a namespace such as `staging`, or leave `namespaces` out for every namespace",
            ),
            (r#""staging""#, "key: expected a list, found a string"),
            (
                "[7]",
                "key[0]: expected a namespace, or a pattern such as `staging-*`, found a number; put it in quotes: \"7\"",
            ),
            (
                r#"[""]"#,
                "key[0]: ``: a namespace pattern cannot be empty; write a name such as `staging`, or a pattern such as `staging-*`",
            ),
            (
                r#"["a", "Staging-*"]"#,
                "key[1]: `Staging-*`: matches no namespace, because names of namespaces are lower case; write `staging-*`",
            ),
            (
                r#"["team_a"]"#,
                "key[0]: `team_a`: unexpected character `_`; a pattern has lower-case ASCII letters, digits, `-` and the wildcards `*` `?`",
            ),
            (
                r#"["Ä"]"#,
                "key[0]: `Ä`: unexpected character `Ä`; a pattern has lower-case ASCII letters, digits, `-` and the wildcards `*` `?`",
            ),
            (
                r#"["staging-"]"#,
                "key[0]: `staging-`: matches no namespace, because names of namespaces begin and end with a letter or a digit",
            ),
            (
                r#"["-*"]"#,
                "key[0]: `-*`: matches no namespace, because names of namespaces begin and end with a letter or a digit",
            ),
            (
                &format!("[\"*{long}*\"]"),
                &format!(
                    "key[0]: `*{long}*`: matches no namespace, because names of namespaces have at most 63 characters, and this pattern needs 64"
                ),
            ),
        ] {
            assert_eq!(read(json), Err((*expected).to_owned()), "{json}");
        }
        for json in [format!("[\"{}*\"]", &long[1..]), r#"["*-a", "a-?", "?-*"]"#.to_owned()] {
            assert!(read(&json).is_ok(), "{json}");
        }
    }

    #[test]
    fn namespaces_are_serialised_as_they_were_read() {
        assert_eq!(Namespaces::Every.to_json(), serde_json::Value::Null);
        assert_eq!(read(r#"["staging", "shop-*"]"#).unwrap().to_json(), serde_json::json!(["staging", "shop-*"]));
    }
}
