//! Settings that are namespaces.

use serde_json::Value;
use serde_json::value::RawValue;

use super::read::{Path, Problems, Setting, read_string};
use super::schema::Schema;

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
        // A DNS label (RFC 1123).
        if name.len() > 63
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
