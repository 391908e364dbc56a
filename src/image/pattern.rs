//! Image patterns of the settings, such as `registry.example.com/team/*`.
//!
//! A pattern is matched against the whole normalised name ([`Reference::normalized`](super::Reference::normalized)).
//! `*` matches any number of characters, including `/`, and `?` matches one. A wildcard in a host that also has other
//! characters matches within the host: `*.example.com/*` must not match `evil.test/x.example.com/app`. Only a host that is `*`
//! alone matches anything.

use std::borrow::Cow;
use std::fmt;

use super::reference::{DEFAULT_HOST, ReferenceError, check_host, check_port, is_host, normalize_host};
use crate::wildcard::matches;

/// A pattern over normalised image names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImagePattern<'a> {
    /// The pattern of the registry; `None` for any.
    host: Option<Cow<'a, str>>,
    /// The pattern of the rest of the name; without `host`, of the whole name.
    rest: Cow<'a, str>,
}

/// Why a text is not an image pattern. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// The text is empty.
    #[error("an image pattern cannot be empty; write `registry.example.com/team/*`, or `*` for every image")]
    Empty,
    /// A character that no image name has.
    #[error(
        "unexpected character `{0}`; a pattern has ASCII letters, digits, `.` `_` `-` `/` `:` `@` `[` `]` and the wildcards `*` `?`"
    )]
    Character(char),
    /// The pattern does not begin with a registry.
    #[error("a pattern starts with a registry host or with `*`; write `{0}`")]
    NoHost(String),
    /// No normalised name has this registry host.
    #[error("matches no image: {0}")]
    Host(ReferenceError),
    /// A name on Docker Hub without a namespace.
    #[error("matches no image, because Docker Hub's own images are in `library`; write `{0}`")]
    NoNamespace(String),
    /// A repository with an upper-case letter.
    #[error("matches no image, because repositories are lower case; write `{0}`")]
    UpperCase(String),
    /// No normalised name can match.
    #[error(
        "matches no image, because a normalised name always ends in a tag or a digest; write `{0}:*` for every tag, `{0}@*` for every digest, or `{0}*` for every name that starts like this"
    )]
    NoTag(String),
}

impl<'a> ImagePattern<'a> {
    /// Parses a pattern.
    ///
    /// # Errors
    /// If the pattern is empty, does not begin with a registry host or `*`, or cannot match any name.
    pub fn parse(text: &'a str) -> Result<Self, PatternError> {
        if text.is_empty() {
            return Err(PatternError::Empty);
        }
        let is_expected = |c: char| c.is_ascii_alphanumeric() || "._-/:@[]*?".contains(c);
        if let Some(stray) = text.chars().find(|c| !is_expected(*c)) {
            return Err(PatternError::Character(stray));
        }
        match text.split_once('/') {
            None if text.starts_with('*') => {}
            None => return Err(PatternError::NoHost(with_host(text))),
            Some(("*", rest)) => check_rest("*", rest)?,
            Some((host, _)) if !host.starts_with('*') && !is_host(host) => {
                return Err(PatternError::NoHost(format!("docker.io/{text}")));
            }
            Some((host, rest)) => {
                let checked = if host.contains(['*', '?']) { check_literal_port(host) } else { check_host(host) };
                checked.map_err(PatternError::Host)?;
                check_rest(host, rest)?;
            }
        }
        Ok(Self::of_valid(text))
    }

    /// The pattern of a text that is known to be valid. For an invalid text, it is unspecified which names the pattern matches.
    #[must_use]
    pub fn of_valid(text: &'a str) -> Self {
        match split(text) {
            (None | Some("*"), _) => Self { host: None, rest: Cow::Borrowed(text) },
            (Some(host), rest) => Self { host: Some(normalize_host(host)), rest: Cow::Borrowed(rest) },
        }
    }

    /// Like [`of_valid`](Self::of_valid), for a text that may be owned.
    #[must_use]
    pub fn of_valid_text(text: Cow<'a, str>) -> Self {
        match text {
            Cow::Borrowed(text) => Self::of_valid(text),
            Cow::Owned(text) => ImagePattern::of_valid(&text).into_owned(),
        }
    }

    /// The pattern, independent of the text that it was read from.
    #[must_use]
    pub fn into_owned(self) -> ImagePattern<'static> {
        let owned = |text: Cow<'_, str>| Cow::Owned(text.into_owned());
        ImagePattern { host: self.host.map(owned), rest: owned(self.rest) }
    }

    /// Whether the pattern matches the image of this normalised name.
    #[must_use]
    pub fn matches(&self, normalized: &str) -> bool {
        self.matches_name(&Name::of(normalized))
    }

    /// Whether the pattern matches the image of this name.
    #[must_use]
    pub fn matches_name(&self, name: &Name<'_>) -> bool {
        match (&self.host, name.host) {
            (None, _) => matches(&self.rest, name.whole),
            (Some(pattern), Some(host)) => {
                (pattern == host || matches(pattern, host)) && matches(&self.rest, name.rest)
            }
            (Some(_), None) => false,
        }
    }
}

/// A normalised name, split once to be matched against many patterns.
#[derive(Debug, Clone, Copy)]
pub struct Name<'n> {
    whole: &'n str,
    host: Option<&'n str>,
    rest: &'n str,
}

impl<'n> Name<'n> {
    /// The parts of a normalised name.
    #[must_use]
    pub fn of(normalized: &'n str) -> Self {
        let (host, rest) = split(normalized);
        Self { whole: normalized, host, rest }
    }
}

/// Refuses a port that no normalised name has, in a host with wildcards. A port with a wildcard is not checked.
fn check_literal_port(host: &str) -> Result<(), ReferenceError> {
    match host.rsplit_once(':') {
        Some((_, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => check_port(port),
        _ => Ok(()),
    }
}

/// The parts before and after the first slash, if there is one. For texts as short as names, this is faster than `split_once`.
fn split(text: &str) -> (Option<&str>, &str) {
    let slash = text.bytes().position(|byte| byte == b'/');
    let split = slash.and_then(|slash| Some((text.get(..slash)?, text.get(slash + 1..)?)));
    split.map_or((None, text), |(host, rest)| (Some(host), rest))
}

/// Displays the pattern with its host in the spelling of normalised names.
impl fmt::Display for ImagePattern<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            Some(host) => write!(f, "{host}/{}", self.rest),
            None => self.rest.fmt(f),
        }
    }
}

/// A pattern without a slash, completed to the one that was probably meant.
fn with_host(text: &str) -> String {
    let literal = text.split_once(['*', '?', '@']).map_or(text, |(literal, _)| literal).trim_end_matches(':');
    let name = literal.split_once(':').map_or(literal, |(name, _)| name);
    if is_host(name) {
        return format!("{literal}/*");
    }
    let tagged = text.contains([':', '@', '*']);
    format!("docker.io/library/{text}{}", if tagged { "" } else { ":*" })
}

/// Refuses a pattern whose part after the registry cannot match the end of a normalised name.
fn check_rest(host: &str, rest: &str) -> Result<(), PatternError> {
    let repository = rest.split_once([':', '@']).map_or(rest, |(repository, _)| repository);
    if repository.contains(|c: char| c.is_ascii_uppercase()) {
        let lower = repository.to_ascii_lowercase();
        return Err(PatternError::UpperCase(format!(
            "{host}/{lower}{}",
            rest.get(repository.len()..).unwrap_or_default()
        )));
    }
    if normalize_host(host) == DEFAULT_HOST && !repository.contains(['/', '*']) {
        return Err(PatternError::NoNamespace(format!("{DEFAULT_HOST}/library/{rest}")));
    }
    let last = rest.rsplit_once('/').map_or(rest, |(_, last)| last);
    if last.contains(['*', ':', '@']) && !last.ends_with([':', '@']) {
        Ok(())
    } else {
        Err(PatternError::NoTag(format!("{host}/{}", rest.trim_end_matches([':', '@']))))
    }
}

#[cfg(test)]
mod tests {
    use super::{ImagePattern, PatternError};
    use crate::image::Reference;

    fn matches(pattern: &str, image: &str) -> bool {
        let name = Reference::parse(image).unwrap().normalized();
        ImagePattern::parse(pattern).unwrap().matches(&name)
    }

    #[test]
    fn a_pattern_matches_the_whole_normalised_name() {
        assert!(matches("docker.io/library/nginx*", "nginx"));
        assert!(matches("docker.io/library/nginx:*", "nginx"));
        assert!(matches("docker.io/library/nginx:1.2?", "nginx:1.27"));
        assert!(!matches("docker.io/library/nginx:1.2?", "nginx:1.270"));
        assert!(matches("registry.example.com/team/*", "registry.example.com/team/sub/app:1"));
        assert!(!matches("registry.example.com/team/*", "registry.example.com/teams/app:1"));
        assert!(matches("*", "nginx"));
        assert!(matches("*/nginx:*", "registry.example.com/any/nginx:1"));
        assert!(matches("*nginx:1", "nginx:1"));
    }

    #[test]
    fn every_spelling_of_an_image_matches_the_same_pattern() {
        for image in [
            "nginx:1",
            "docker.io/nginx:1",
            "docker.io/library/nginx:1",
            "index.docker.io/library/nginx:1",
            "DOCKER.IO/library/nginx:1",
            "docker.io:443/library/nginx:1",
            "Index.Docker.IO/nginx:1",
            "index.docker.io:443/nginx:1",
            "registry-1.docker.io/nginx:1",
            "registry.hub.docker.com/library/nginx:1",
        ] {
            assert!(matches("docker.io/library/nginx:1", image), "{image}");
            assert!(matches("index.docker.io:443/library/nginx:1", image), "{image}");
            assert!(matches("registry-1.docker.io/library/nginx:1", image), "{image}");
            assert!(matches("Registry.Hub.Docker.com/library/nginx:1", image), "{image}");
        }
    }

    #[test]
    fn every_spelling_of_a_host_without_a_dot_matches_the_same_pattern() {
        for image in ["registry:443/app:1", "Registry/app:1", "REGISTRY:443/app:1"] {
            assert!(matches("registry:443/*", image), "{image}");
            assert!(matches("Registry/*", image), "{image}");
            assert!(matches("R*y/*", image), "{image}");
        }
        assert!(!matches("registry:443/*", "registry/app:1"));
        assert!(!matches("Registry/*", "registry/app:1"));
    }

    #[test]
    fn a_look_alike_registry_does_not_match() {
        let pattern = "registry.example.com/*";
        assert!(matches(pattern, "registry.example.com/app:1"));
        assert!(!matches(pattern, "registry.example.com.evil.test/app:1"));
        assert!(!matches(pattern, "evil.test/registry.example.com/app:1"));
        assert!(!matches(pattern, "registry.example.com:8443/app:1"));
        assert!(!matches("docker.io/library/*", "evil.test/docker.io/library/nginx:1"));
    }

    #[test]
    fn a_wildcard_in_a_host_matches_within_the_host() {
        let pattern = "*.example.com/*";
        assert!(matches(pattern, "registry.example.com/app:1"));
        assert!(!matches(pattern, "evil.test/x.example.com/app:1"));
        assert!(!matches("registry-?.example.com/*", "registry-1.evil.test/a.example.com/app:1"));
    }

    #[test]
    fn a_pattern_without_a_registry_is_refused_with_a_suggestion() {
        let hint = |pattern| match ImagePattern::parse(pattern) {
            Err(PatternError::NoHost(hint)) => hint,
            other => panic!("{pattern}: {other:?}"),
        };
        assert_eq!(hint("nginx*"), "docker.io/library/nginx*");
        assert_eq!(hint("nginx"), "docker.io/library/nginx:*");
        assert_eq!(hint("nginx:1"), "docker.io/library/nginx:1");
        assert_eq!(hint("team/app:*"), "docker.io/team/app:*");
        assert_eq!(hint("registry.example.com*"), "registry.example.com/*");
        assert_eq!(hint("localhost:5000*"), "localhost:5000/*");
        assert_eq!(hint("registry.example.com:*"), "registry.example.com/*");
        for hinted in ["nginx*", "nginx", "nginx:1", "team/app:*", "registry.example.com*"] {
            assert!(ImagePattern::parse(&hint(hinted)).is_ok(), "the hint for {hinted} is itself a pattern");
        }
    }

    #[test]
    fn a_pattern_that_cannot_match_any_name_is_refused() {
        for pattern in ["docker.io/library/nginx", "*/nginx", "docker.io/library/nginx:", "docker.io/library/nginx@"] {
            assert!(matches!(ImagePattern::parse(pattern), Err(PatternError::NoTag(_))), "{pattern}");
        }
        let namespace = "docker.io/library/nginx:*".to_owned();
        assert_eq!(ImagePattern::parse("docker.io/nginx:*"), Err(PatternError::NoNamespace(namespace)));
        let lower = "docker.io/library/nginx:V*".to_owned();
        assert_eq!(ImagePattern::parse("docker.io/Library/nginx:V*"), Err(PatternError::UpperCase(lower)));
        let namespace = "docker.io/library/nginx:*".to_owned();
        let pattern = "registry-1.docker.io/nginx:*";
        assert_eq!(ImagePattern::parse(pattern), Err(PatternError::NoNamespace(namespace)));
        assert!(matches!(ImagePattern::parse("https://registry.example.com/*"), Err(PatternError::Host(_))));
        assert_eq!(ImagePattern::parse(""), Err(PatternError::Empty));
        assert_eq!(ImagePattern::parse("docker.io/{a,b}:*"), Err(PatternError::Character('{')));
        assert_eq!(ImagePattern::parse("docker.io/ä*"), Err(PatternError::Character('ä')));
    }

    #[test]
    fn a_host_that_no_normalised_name_has_is_refused_with_its_normalised_spelling() {
        for (pattern, expected) in [
            ("registry.example.com:0443/*", "the port `0443` has a leading zero; write `443`"),
            ("*.example.com:0443/*", "the port `0443` has a leading zero; write `443`"),
            ("*:05000/*", "the port `05000` has a leading zero; write `5000`"),
            ("*.example.com:65536/*", "invalid port `65536`"),
            ("127.1/*", "`127.1` is not the canonical spelling of that address; write `127.0.0.1`"),
            ("0x7f.0.0.1:5000/*", "`0x7f.0.0.1` is not the canonical spelling of that address; write `127.0.0.1`"),
            ("[0:0:0:0:0:0:0:1]/*", "`[0:0:0:0:0:0:0:1]` is not the canonical spelling of that address; write `[::1]`"),
            ("1.2.3.4.5/*", "the host `1.2.3.4.5` ends in a number"),
        ] {
            let message = ImagePattern::parse(pattern).unwrap_err().to_string();
            let expected = format!("matches no image: {expected}");
            assert!(message.starts_with(&expected), "{pattern}\n  expected: {expected}\n  found:    {message}");
        }
        for pattern in
            ["*.example.com:443/*", "*.example.com:50*/*", "*:5000/*", "10.0.0.*/*", "[2001:db8:*]/*", "[::1]/*"]
        {
            assert!(ImagePattern::parse(pattern).is_ok(), "{pattern}");
        }
    }
}
