//! Settings that are image patterns, registries and platforms.

use serde_json::Value;
use serde_json::value::RawValue;

use super::read::{Path, Problems, Setting, is_empty_list, read_string};
use super::schema::Schema;
use crate::image::{ImagePattern, Platform, RegistryDoubt, RegistryPattern};

/// A list of at least one image pattern.
#[derive(Debug, Clone, PartialEq)]
pub struct Images(Vec<ImagePattern<'static>>);

impl Images {
    /// The patterns.
    #[must_use]
    pub fn patterns(&self) -> &[ImagePattern<'static>] {
        &self.0
    }

    /// Whether one of the patterns matches a normalised image name.
    #[must_use]
    pub fn matches(&self, normalized: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(normalized))
    }
}

impl Setting for ImagePattern<'static> {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "an image pattern", problems)?;
        match ImagePattern::parse(&text) {
            Ok(pattern) => Some(pattern.into_owned()),
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        // A pattern without a slash begins with `*`. Others have a host, a path, and a last part with a tag, a digest or a wildcard.
        let (any, inner) = ("[A-Za-z0-9._:@*?\\[\\]/-]", "[A-Za-z0-9._:@*?\\[\\]-]");
        let host = format!("(\\*{inner}*|localhost|{inner}*[.:\\[A-Z]{inner}*)");
        let last = format!("({inner}*[*:@]{inner}*[A-Za-z0-9._*?\\[\\]-]|{inner}*\\*)");
        Schema::text("image pattern", "image patterns", format!("^(\\*{inner}*|{host}/({any}*/)?{last})$"))
    }

    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for RegistryPattern {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a registry such as `registry.example.com`", problems)?;
        match Self::parse(&text) {
            Ok(pattern) => {
                match pattern.doubt() {
                    Some(RegistryDoubt::AnyHost) => problems.warn(
                        at,
                        format_args!(
                            "`{text}` matches every host, so requesters choose which hosts policy-server contacts; \
                             list the registries that the cluster uses"
                        ),
                    ),
                    Some(RegistryDoubt::AnyEnd) => problems.warn(
                        at,
                        format_args!("`{text}` also matches hosts of other domains; end the host with your domain"),
                    ),
                    None => {}
                }
                Some(pattern)
            }
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        let host = r"(localhost|[A-Za-z0-9._:*?\[\]-]*[.:*?\[A-Z][A-Za-z0-9._:*?\[\]-]*)";
        Schema::text("registry pattern", "registry patterns", format!("^{host}(/[a-z0-9._*?/-]+)?$"))
    }

    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

/// A list of at least one platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformList(pub Vec<Platform>);

impl Setting for PlatformList {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_empty_list(json) {
            problems.push(at, "the list is empty; write a platform such as `linux/amd64`, or leave `platforms` out");
            return None;
        }
        Vec::read(json, at, problems).map(Self)
    }

    fn schema() -> Schema {
        Schema::List { items: Box::new(Platform::schema()), least: 1 }
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

impl Setting for Platform {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a platform such as `linux/amd64`", problems)?;
        match Self::parse(&text) {
            Ok(platform) => {
                if let Some(unknown) = platform.unknown() {
                    problems.warn(at, format_args!("{unknown}; images for the platform that you meant are not judged"));
                }
                Some(platform)
            }
            Err(error) => {
                problems.push(at, format_args!("`{text}`: {error}"));
                None
            }
        }
    }

    fn schema() -> Schema {
        Schema::text("platform", "platforms", "^[A-Za-z0-9_.]+/[A-Za-z0-9_.-]+$")
    }

    fn to_json(&self) -> Value {
        self.to_string().into()
    }
}

impl Setting for Images {
    const ADVICE: Option<&'static str> = Some("write `[\"*\"]` for every image");

    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        if is_empty_list(json) {
            problems.push(at, "the list is empty; write an image pattern, or `*` for every image");
            return None;
        }
        Vec::read(json, at, problems).map(Self)
    }

    fn schema() -> Schema {
        Schema::List { items: Box::new(ImagePattern::schema()), least: 1 }
    }

    fn to_json(&self) -> Value {
        self.0.to_json()
    }
}
