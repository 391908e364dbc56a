//! The setting `customWorkloads`: custom kinds with pod templates.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::request::GroupVersionKind;

section! {
    /// A custom kind with a pod template. List a kind with several templates several times.
    pub struct CustomWorkload {
        required {
            /// The group and version, such as `argoproj.io/v1alpha1`. `argoproj.io/*` matches every version.
            "apiVersion" api_version: ApiVersion,
            /// The kind, such as `Rollout`.
            "kind" kind: String,
            /// The JSON pointer to the pod template (the object with the pod's `spec`), such as `/spec/template`.
            "podTemplate" pod_template: TemplatePointer,
        }
    }
}

/// A group and a version of it, or every version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiVersion {
    group: String,
    version: String,
}

impl ApiVersion {
    /// Reads `v1`, `apps/v1` or `apps/*`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (group, version) = text.split_once('/').unwrap_or(("", text));
        let alphanumeric = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let plain = |text: &str, more: &[u8]| {
            text.bytes().all(|byte| alphanumeric(byte) || more.contains(&byte))
                && [text.bytes().next(), text.bytes().next_back()]
                    .into_iter()
                    .all(|byte| byte.is_some_and(alphanumeric))
        };
        let is_group = if group.is_empty() { !text.contains('/') } else { plain(group, b"-.") };
        let is_version = plain(version, b"-") || (version == "*" && !group.is_empty());
        (is_group && is_version).then(|| Self { group: group.to_owned(), version: version.to_owned() })
    }

    pub(super) fn matches(&self, kind: &GroupVersionKind<'_>) -> bool {
        self.group == kind.group && (self.version == "*" || self.version == kind.version)
    }
}

impl Setting for ApiVersion {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a group and version such as `argoproj.io/v1alpha1`", problems)?;
        let parsed = Self::parse(&text);
        if parsed.is_none() {
            problems.push(at, format_args!("invalid group and version `{text}`; write them as in manifests, such as `argoproj.io/v1alpha1`, or `argoproj.io/*` for every version"));
        }
        parsed
    }

    fn schema() -> Schema {
        let part = "[a-z0-9]([-a-z0-9.]*[a-z0-9])?";
        Schema::text("group and version", "groups and versions", format!(r"^({part}|{part}/({part}|\*))$"))
    }

    fn to_json(&self) -> Value {
        if self.group.is_empty() {
            self.version.as_str().into()
        } else {
            format!("{}/{}", self.group, self.version).into()
        }
    }
}

/// A JSON pointer to a pod template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplatePointer(pub(super) String);

impl Setting for TemplatePointer {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a JSON pointer such as `/spec/template`", problems)?;
        let escaped = |key: &str| key.split('~').skip(1).all(|rest| rest.starts_with(['0', '1']));
        // An array index has only one spelling (RFC 6901, section 4). With several, one template would look like two.
        let is_odd_index = |key: &str| key.parse::<usize>().is_ok_and(|index| index.to_string() != key);
        let is_valid = |keys: &str| keys.split('/').all(|key| !key.is_empty() && escaped(key) && !is_odd_index(key));
        let is_pointer = text.strip_prefix('/').is_some_and(is_valid);
        if !is_pointer {
            problems.push(
                at,
                format_args!("invalid JSON pointer `{text}` to a pod template; write one such as `/spec/template`"),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema() -> Schema {
        Schema::text("JSON pointer (RFC 6901)", "JSON pointers (RFC 6901)", "^(/([^/~]|~[01])+)+$")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}
