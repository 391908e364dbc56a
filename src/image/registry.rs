//! Patterns of the places from which images are pulled: a registry host, or a path below one.
//!
//! A pattern without a path matches the whole registry. A path without a wildcard matches the repository of that name and every
//! repository below it. A wildcard in the host matches within the host; a wildcard in the path also matches `/`.

use std::borrow::Cow;
use std::fmt;

use super::Reference;
use super::reference::{
    DEFAULT_HOST, OFFICIAL_NAMESPACE, ReferenceError, check_host, check_path, is_host, normalize_host,
};
use crate::wildcard::matches;

/// A registry, or part of one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RegistryPattern {
    /// The host in the spelling of normalised names, perhaps with wildcards.
    host: Cow<'static, str>,
    /// The path below it; empty for the whole registry.
    path: String,
}

/// Why a pattern may match more than intended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RegistryDoubt {
    /// The pattern matches every host.
    AnyHost,
    /// The pattern ends in a wildcard, so that it matches hosts in the domains of others.
    AnyEnd,
}

/// Why a text is not a registry pattern. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegistryPatternError {
    /// The text is empty.
    #[error("an entry cannot be empty; write a registry host such as `registry.example.com`, or `host/path/*`")]
    Empty,
    /// A character that neither hosts nor repositories have.
    #[error("unexpected character `{0}`; write a registry host such as `registry.example.com`, or `host/path/*`")]
    Character(char),
    /// A scheme at the beginning, as in a URL.
    #[error("a registry has no scheme here; write `{0}`")]
    Scheme(String),
    /// A tag after the path.
    #[error("a registry has no tag; write `{0}`")]
    Tag(String),
    /// A digest after the path.
    #[error("a registry has no digest; write `{0}`")]
    Digest(String),
    /// A slash at the end.
    #[error("remove the slash at the end; write `{0}`")]
    TrailingSlash(String),
    /// The first part is not a host; in an image reference it would be a path on Docker Hub.
    #[error(
        "not a registry host: a host has a `.` or a port, or is `localhost`; write `{0}`, or the host with its port"
    )]
    NoHost(String),
    /// On Docker Hub, a single component is either an image or a namespace.
    #[error(
        "write `{DEFAULT_HOST}/library/{0}` for the image of that name, or `{DEFAULT_HOST}/{0}/*` for the namespace"
    )]
    HubName(String),
    /// The host is invalid.
    #[error("{0}")]
    Host(ReferenceError),
    /// The path is invalid.
    #[error("{0}")]
    Path(ReferenceError),
}

impl RegistryPattern {
    /// Parses `host`, `host:port`, `host/path` or `host/path/*`. `*` and `?` are wildcards.
    ///
    /// ```
    /// use container_patch_policy::image::{Reference, RegistryPattern};
    ///
    /// let team = RegistryPattern::parse("registry.example.com/team/*")?;
    /// assert!(team.matches(&Reference::parse("registry.example.com/team/sub/app:1")?));
    /// assert!(!team.matches(&Reference::parse("registry.example.com/other/app:1")?));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// If the text is empty, names more than a registry and a path, or does not begin with a registry host.
    pub fn parse(text: &str) -> Result<Self, RegistryPatternError> {
        let (scheme, rest) = text.split_once("://").map_or((None, text), |(scheme, rest)| (Some(scheme), rest));
        if rest.trim().is_empty() {
            return Err(RegistryPatternError::Empty);
        }
        if scheme.is_some() {
            let name = rest.split_once('@').map_or(rest, |(name, _)| name).trim_end_matches('/');
            return Err(RegistryPatternError::Scheme(without_tag(name).to_owned()));
        }
        if let Some((name, _)) = text.split_once('@') {
            return Err(RegistryPatternError::Digest(without_tag(name).to_owned()));
        }
        let is_expected = |c: char| c.is_ascii_alphanumeric() || "._-/:[]*?".contains(c);
        if let Some(stray) = text.chars().find(|c| !is_expected(*c)) {
            return Err(RegistryPatternError::Character(stray));
        }
        let (host, path) = text.split_once('/').unwrap_or((text, ""));
        let is_wild = |text: &str| text.contains(['*', '?']);
        if !is_host(host) && !is_wild(host) {
            return Err(RegistryPatternError::NoHost(on_docker_hub(text)));
        }
        if text.ends_with('/') {
            return Err(RegistryPatternError::TrailingSlash(text.trim_end_matches('/').to_owned()));
        }
        if path.contains(':') {
            return Err(RegistryPatternError::Tag(without_tag(text).to_owned()));
        }
        if !is_wild(host) {
            check_host(host).map_err(|error| host_error(text, error))?;
        }
        if !path.is_empty() {
            // A wildcard may match any letter of a component.
            check_path(&path.replace(['*', '?'], "x")).map_err(RegistryPatternError::Path)?;
        }
        let host = normalize_host(host);
        if host == DEFAULT_HOST && !matches!(path, "" | OFFICIAL_NAMESPACE) && !path.contains('/') && !is_wild(path) {
            return Err(RegistryPatternError::HubName(path.to_owned()));
        }
        Ok(Self { host: Cow::Owned(host.into_owned()), path: path.to_owned() })
    }

    /// Whether the image is pulled from a registry and path that this pattern matches.
    #[must_use]
    pub fn matches(&self, image: &Reference<'_>) -> bool {
        self.matches_host(image) && self.has(&image.repository())
    }

    /// Whether the image is pulled from a host that this pattern matches, from any repository.
    #[must_use]
    pub fn matches_host(&self, image: &Reference<'_>) -> bool {
        let host = image.normalized_registry();
        self.host == host || matches(&self.host, &host)
    }

    /// Why this pattern may match hosts that anyone can run, if it may.
    #[must_use]
    pub fn doubt(&self) -> Option<RegistryDoubt> {
        if !self.host.contains(['*', '?']) {
            return None;
        }
        let is_any = |text: &str| text.bytes().all(|byte| matches!(byte, b'*' | b'?' | b'.' | b':'));
        if is_any(&self.host) {
            return Some(RegistryDoubt::AnyHost);
        }
        let name = self.host.split_once(':').map_or(self.host.as_ref(), |(name, _)| name);
        name.ends_with(['*', '?']).then_some(RegistryDoubt::AnyEnd)
    }

    fn has(&self, repository: &str) -> bool {
        if self.path.is_empty() {
            return true;
        }
        if self.path.contains(['*', '?']) {
            return matches(&self.path, repository);
        }
        repository.strip_prefix(self.path.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl fmt::Display for RegistryPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.host)?;
        if self.path.is_empty() { Ok(()) } else { write!(f, "/{}", self.path) }
    }
}

/// The name up to the first colon after the last slash.
fn without_tag(name: &str) -> &str {
    let last = name.rfind('/').map_or(0, |slash| slash + 1);
    let colon = name.get(last..).and_then(|last| last.find(':'));
    colon.and_then(|colon| name.get(..last + colon)).filter(|_| last > 0).unwrap_or(name)
}

/// The registry pattern on Docker Hub that an image reference without a host means.
fn on_docker_hub(text: &str) -> String {
    let name = text.split_once(':').map_or(text, |(name, _)| name).trim_end_matches('/');
    if name.contains('/') { format!("{DEFAULT_HOST}/{name}") } else { format!("{DEFAULT_HOST}/library/{name}") }
}

/// The error for an invalid host. `nginx:1.27` looks like a host with a port; for it, the error suggests the pattern of that image.
fn host_error(text: &str, error: ReferenceError) -> RegistryPatternError {
    match (&error, text.split_once(':')) {
        (ReferenceError::Port(_), Some((name, _))) if !text.contains('/') && !is_host(name) => {
            RegistryPatternError::Tag(on_docker_hub(text))
        }
        _ => RegistryPatternError::Host(error),
    }
}

#[cfg(test)]
mod tests {
    use super::{RegistryDoubt, RegistryPattern, RegistryPatternError};
    use crate::image::Reference;

    fn matches(pattern: &str, image: &str) -> bool {
        let pattern = RegistryPattern::parse(pattern).unwrap_or_else(|error| panic!("{pattern}: {error}"));
        pattern.matches(&Reference::parse(image).unwrap())
    }

    fn problem(pattern: &str) -> String {
        match RegistryPattern::parse(pattern) {
            Ok(pattern) => panic!("`{pattern}` is accepted"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_host_matches_every_repository_of_that_registry_only() {
        assert!(matches("registry.example.com", "registry.example.com/app:1"));
        assert!(matches("registry.example.com", "REGISTRY.example.com:443/team/sub/app:1"));
        assert!(matches("localhost:5000", "localhost:5000/app"));
        for image in [
            "registry.example.com.evil.test/app",
            "evil.test/registry.example.com/app",
            "registry.example.com:5000/app",
            "sub.registry.example.com/app",
            "nginx",
        ] {
            assert!(!matches("registry.example.com", image), "{image}");
        }
    }

    #[test]
    fn a_path_matches_its_repository_and_those_below() {
        for pattern in ["registry.example.com/team", "registry.example.com/team/*"] {
            assert!(matches(pattern, "registry.example.com/team/app:1"), "{pattern}");
            assert!(matches(pattern, "registry.example.com/team/sub/app:1"), "{pattern}");
            assert!(!matches(pattern, "registry.example.com/teams/app:1"), "{pattern}");
            assert!(!matches(pattern, "registry.example.com/other/team/app:1"), "{pattern}");
        }
        assert!(matches("registry.example.com/team", "registry.example.com/team:1"));
        assert!(!matches("registry.example.com/team/*", "registry.example.com/team:1"));
    }

    #[test]
    fn a_wildcard_in_a_host_matches_within_the_host() {
        assert!(matches("*.example.com", "a.b.example.com/app"));
        assert!(!matches("*.example.com", "example.com/app"));
        assert!(!matches("*.example.com", "evil.test/a.example.com/app"));
        assert!(matches("*", "evil.test/app") && matches("*", "nginx"));
    }

    #[test]
    fn docker_hub_is_one_registry_in_all_its_spellings() {
        for pattern in ["docker.io", "index.docker.io", "Docker.IO:443"] {
            for image in ["nginx", "docker.io/nginx", "index.docker.io/library/nginx:1", "org/app", "DOCKER.io/org/app"]
            {
                assert!(matches(pattern, image), "{pattern} {image}");
            }
        }
        assert!(matches("docker.io/library", "nginx:1") && !matches("docker.io/library", "org/nginx:1"));
        assert!(matches("docker.io/org/*", "org/app") && matches("docker.io/org/app", "org/app:1"));
    }

    #[test]
    fn a_pattern_that_matches_hosts_of_others_is_doubtful() {
        for (pattern, expected) in [
            ("*", Some(RegistryDoubt::AnyHost)),
            ("*/team/*", Some(RegistryDoubt::AnyHost)),
            ("*.*", Some(RegistryDoubt::AnyHost)),
            ("?*", Some(RegistryDoubt::AnyHost)),
            ("registry.example.com*", Some(RegistryDoubt::AnyEnd)),
            ("registry.*:5000", Some(RegistryDoubt::AnyEnd)),
            ("*.test", None),
            ("docker.io", None),
            ("docker.io/org/*", None),
        ] {
            assert_eq!(RegistryPattern::parse(pattern).unwrap().doubt(), expected, "{pattern}");
        }
    }

    #[test]
    fn an_invalid_registry_is_refused_with_a_suggestion() {
        for (pattern, expected) in [
            ("", "an entry cannot be empty; write a registry host such as"),
            (" ", "an entry cannot be empty"),
            ("https://registry.example.com/", "a registry has no scheme here; write `registry.example.com`"),
            ("oci://ghcr.io/team", "a registry has no scheme here; write `ghcr.io/team`"),
            ("oci://ghcr.io/team/app:1@sha256:00", "a registry has no scheme here; write `ghcr.io/team/app`"),
            ("https://", "an entry cannot be empty"),
            (
                "docker.io/nginx",
                "write `docker.io/library/nginx` for the image of that name, or `docker.io/nginx/*` for the namespace",
            ),
            ("registry.example.com/app:1", "a registry has no tag; write `registry.example.com/app`"),
            ("registry.example.com:5000/app:1", "a registry has no tag; write `registry.example.com:5000/app`"),
            ("nginx:1.27", "a registry has no tag; write `docker.io/library/nginx`"),
            ("ghcr.io/app:1@sha256:00", "a registry has no digest; write `ghcr.io/app`"),
            ("localhost:5000/app@sha256:00", "a registry has no digest; write `localhost:5000/app`"),
            (
                "nginx",
                "not a registry host: a host has a `.` or a port, or is `localhost`; write `docker.io/library/nginx`, or the host with its port",
            ),
            (
                "team/app",
                "not a registry host: a host has a `.` or a port, or is `localhost`; write `docker.io/team/app`, or the host with its port",
            ),
            ("registry.example.com/", "remove the slash at the end; write `registry.example.com`"),
            ("registry.example.com/Team", "the repository `Team` has an upper-case letter"),
            ("registry.example.com//a", "a part of the path between slashes is empty"),
            ("registry.example.com:http", "invalid port `http`"),
            ("-a.example.com", "invalid registry host `-a.example.com`; "),
            ("a b.example.com", "unexpected character ` `"),
            ("{a,b}.example.com", "unexpected character `{`"),
        ] {
            let found = problem(pattern);
            assert!(found.starts_with(expected), "{pattern}\n  expected: {expected}\n  found:    {found}");
        }
        assert!(matches!(RegistryPattern::parse("\u{e4}.test"), Err(RegistryPatternError::Character(_))));
    }
}
