//! The grammar of image references.
//!
//! It is the grammar of the `distribution/reference` package that container runtimes use:
//!
//! ```text
//! reference      := name [ ":" tag ] [ "@" digest ]
//! name           := [ host "/" ] path
//! host           := ( domain | IPv4 address | "[" IPv6 address "]" ) [ ":" port ]
//! domain         := component *( "." component )         letters, digits and inner hyphens; the last is not a number
//! path           := path-component *( "/" path-component )
//! path-component := lower-case letters and digits, joined by ".", "_", "__" or a run of "-"
//! tag            := [A-Za-z0-9_] [A-Za-z0-9_.-]{0,127}
//! digest         := "sha256:" 64 hexadecimal digits | "sha512:" 128 hexadecimal digits
//! ```
//!
//! Registry hosts are restricted further. Settings match images by name, so a registry must not have a second spelling that
//! runtimes resolve and patterns do not match:
//!
//! - IP addresses are canonical: four decimal numbers (IPv4), RFC 5952 (IPv6). Resolvers also take `127.1` and `0x7f.0.0.1`.
//! - Ports have no leading zeros. `0443` is 443 to everything that parses numbers.
//! - A text that a runtime may look up among the image IDs of its node is not a name; see [`ReferenceError::ImageId`].
//!
//! Existing parsers compile regular expressions. The policy starts anew for every admission request and would compile them
//! each time, which costs more than the rest of an evaluation. `testing/` compares this parser with one of them.

use std::borrow::Cow;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

/// The registry of a reference without a host.
pub(super) const DEFAULT_HOST: &str = "docker.io";
/// Other hosts that serve the repositories of [`DEFAULT_HOST`]. Old tools write `index.docker.io`; runtimes themselves connect
/// to `registry-1.docker.io`.
const DEFAULT_HOST_ALIASES: [&str; 3] = ["index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];
/// The port of HTTPS, the default of a host without a port.
const DEFAULT_PORT: &str = ":443";
/// The namespace of single-component names on [`DEFAULT_HOST`].
pub(super) const OFFICIAL_NAMESPACE: &str = "library";
/// The tag of a reference with neither tag nor digest.
const DEFAULT_TAG: &str = "latest";

/// The most characters of host, slash and path together (OCI distribution specification, "Pulling manifests").
const MAX_NAME: usize = 255;
/// The most characters of a tag.
const MAX_TAG: usize = 128;
/// Longer than any valid reference: a name, a tag and a sha512 digest with their separators.
const MAX_REFERENCE: usize = MAX_NAME + 1 + MAX_TAG + 1 + "sha512:".len() + 128;

/// A valid image reference, borrowed from the text that it was parsed from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference<'a> {
    text: &'a str,
    host: Option<&'a str>,
    path: &'a str,
    tag: Option<&'a str>,
    digest: Option<Digest<'a>>,
}

/// A content digest: the algorithm and the lower-case hexadecimal digits, as written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digest<'a>(&'a str);

impl<'a> Digest<'a> {
    /// Parses a digest alone, as registries return it.
    ///
    /// # Errors
    /// If the algorithm is unknown, or the digits are not lower-case hexadecimal or are too many or too few.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        if text.is_empty() {
            return Err(ReferenceError::EmptyDigest);
        }
        // The error repeats the text, which may come from any registry or requester.
        check_characters(text)?;
        parse_digest(text)
    }

    /// The digest as references write it, `sha256:…`.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0
    }
}

/// Why a text is not an image reference. The message says which part is wrong and what is expected.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// The text is empty.
    #[error("it is missing or empty; write a name such as `registry.example.com/team/app:1.4`")]
    Empty,
    /// A character that no part of a reference allows.
    #[error(
        "unexpected {0} at position {1}; only ASCII letters, digits and `.` `_` `-` `/` `:` `@` `[` `]` are allowed"
    )]
    Character(String, usize),
    /// More characters than the longest reference.
    #[error("it is {0} characters long; a reference has at most {MAX_REFERENCE}")]
    TooLong(usize),
    /// A scheme at the beginning, as in a URL.
    #[error("unexpected scheme `{0}`; remove it")]
    Scheme(String),
    /// An at sign with nothing after it, or no digest at all.
    #[error("the digest is empty")]
    EmptyDigest,
    /// Host and path together are too long.
    #[error("its name, with the host, is {0} characters long; a name has at most {MAX_NAME}")]
    NameTooLong(usize),
    /// A text that runtimes may take for the ID of an image that their node already has: 64 hexadecimal digits, or `sha256:`
    /// and some digits, without a host. The image that runs could then be any image.
    #[error("it is an image ID, not a name; write `name@sha256:…`")]
    ImageId,
    /// The part before the first slash is not a valid registry host.
    #[error(
        "invalid registry host `{0}`; write a domain name, an IPv4 address or an [IPv6] address, with an optional `:port`"
    )]
    Host(String),
    /// The host ends in a number, so that resolvers read it as an IPv4 address.
    #[error(
        "the host `{0}` ends in a number and is not an IPv4 address; write four decimal numbers from 0 to 255, without leading zeros"
    )]
    Ipv4(String),
    /// The host is an IP address that is not in its canonical spelling.
    #[error("`{written}` is not the canonical spelling of that address; write `{canonical}`")]
    Address {
        /// The address, without the port.
        written: String,
        /// The same address in its canonical spelling.
        canonical: String,
    },
    /// The port of the host.
    #[error("invalid port `{0}`; write a number from 1 to 65535")]
    Port(String),
    /// The port of the host starts with a zero.
    #[error("the port `{written}` has a leading zero; write `{canonical}`")]
    PortZero {
        /// The digits of the port.
        written: String,
        /// The port without leading zeros.
        canonical: u16,
    },
    /// The repository is missing.
    #[error("a repository is required; write a name such as `registry.example.com/team/app:1.4`")]
    NoPath,
    /// Two slashes in a row, or one at an end.
    #[error("a part of the path between slashes is empty")]
    EmptyComponent,
    /// A repository with an upper-case letter.
    #[error("the repository `{0}` has an upper-case letter; repositories are lower case")]
    UpperCase(String),
    /// Another fault in a part of the path.
    #[error("invalid path component `{0}`; write lower-case letters and digits, joined by `.`, `_`, `__` or `-`")]
    Component(String),
    /// A colon with nothing after it.
    #[error("the tag after `:` is empty")]
    EmptyTag,
    /// More characters than a tag may have.
    #[error("the tag is {0} characters long; a tag has at most {MAX_TAG}")]
    TagTooLong(usize),
    /// Another fault in the tag.
    #[error("invalid tag `{0}`; write letters, digits, `_`, `.` and `-`, not starting with `.` or `-`")]
    Tag(String),
    /// A digest without a known algorithm.
    #[error("invalid digest `{0}`; write `sha256:` and 64, or `sha512:` and 128, lower-case hexadecimal digits")]
    Digest(String),
    /// A digest of the wrong length.
    #[error("the {algorithm} digest has {found} hexadecimal digits; it needs {expected}")]
    DigestLength {
        /// `sha256` or `sha512`.
        algorithm: &'static str,
        /// The number of digits in the text.
        found: usize,
        /// The number of digits that the algorithm has.
        expected: usize,
    },
}

impl<'a> Reference<'a> {
    /// Parses a reference as container runtimes do.
    ///
    /// ```
    /// use container_patch_policy::image::Reference;
    ///
    /// let image = Reference::parse("nginx:1.27")?;
    /// assert_eq!(image.normalized(), "docker.io/library/nginx:1.27");
    /// # Ok::<(), container_patch_policy::image::ReferenceError>(())
    /// ```
    ///
    /// # Errors
    /// The first fault, from left to right; a character that no reference allows is reported before all others.
    pub fn parse(text: &'a str) -> Result<Self, ReferenceError> {
        check_characters(text)?;
        // For a text as short as this, `str::find` spends more on its preparation than it saves.
        if let Some(end) = text.as_bytes().windows(3).position(|bytes| bytes == b"://") {
            return Err(ReferenceError::Scheme(text.get(..end + 3).unwrap_or_default().to_owned()));
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(parse_digest(digest)?)),
            None => (text, None),
        };
        let (host, rest) = split_host(rest)?;
        let (path, tag) = match rest.split_once(':') {
            Some((path, tag)) => (path, Some(tag)),
            None => (rest, None),
        };
        check_path(path)?;
        if let Some(tag) = tag {
            check_tag(tag)?;
        }
        if host.is_none() && digest.is_none() && is_image_id(path, tag) {
            return Err(ReferenceError::ImageId);
        }
        let reference = Self { text, host, path, tag, digest };
        let registry = reference.registry().len().max(reference.normalized_registry().len());
        let length = registry + 1 + reference.repository().len();
        if length > MAX_NAME {
            return Err(ReferenceError::NameTooLong(length));
        }
        Ok(reference)
    }

    /// The reference as it was written.
    #[must_use]
    pub fn as_str(&self) -> &'a str {
        self.text
    }

    /// The registry host with its port, as it was written, if there is one.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.host
    }

    /// The registry of the image: `docker.io` for every spelling of Docker Hub, and if no host is written.
    #[must_use]
    pub fn registry(&self) -> &'a str {
        match self.host {
            Some(host) if !is_default_host(host) => host,
            _ => DEFAULT_HOST,
        }
    }

    /// The registry in the spelling of normalised names.
    #[must_use]
    pub fn normalized_registry(&self) -> Cow<'a, str> {
        normalize_host(self.registry())
    }

    /// The repository in its registry, with Docker Hub's `library/` if it is implied.
    #[must_use]
    pub fn repository(&self) -> Cow<'a, str> {
        if self.registry() == DEFAULT_HOST && !self.path.contains('/') {
            Cow::Owned(format!("{OFFICIAL_NAMESPACE}/{}", self.path))
        } else {
            Cow::Borrowed(self.path)
        }
    }

    /// Whether another image is in the same repository.
    #[must_use]
    pub fn has_repository_of(&self, other: &Reference<'_>) -> bool {
        self.normalized_registry() == other.normalized_registry() && self.repository() == other.repository()
    }

    /// The tag, if one is written.
    #[must_use]
    pub fn tag(&self) -> Option<&'a str> {
        self.tag
    }

    /// The digest, if one is written.
    #[must_use]
    pub fn digest(&self) -> Option<Digest<'a>> {
        self.digest
    }

    /// The tag that is pulled: the one that is written, or `latest` if there is neither tag nor digest. `None` if there is a
    /// digest, which is then pulled.
    #[must_use]
    pub fn effective_tag(&self) -> Option<&'a str> {
        match (self.digest, self.tag) {
            (Some(_), _) => None,
            (None, Some(tag)) => Some(tag),
            (None, None) => Some(DEFAULT_TAG),
        }
    }

    /// The name that all spellings of this image share, against which the patterns of the settings are matched: the registry is
    /// in lower case and without the default port of HTTPS, and `library/` and `:latest` are added if they are implied.
    #[must_use]
    pub fn normalized(&self) -> String {
        let mut name = self.normalized_registry().into_owned();
        name.reserve(OFFICIAL_NAMESPACE.len() + self.path.len() + DEFAULT_TAG.len() + 100);
        name.push('/');
        name.push_str(&self.repository());
        match (self.tag, self.digest) {
            (None, None) => {
                name.push(':');
                name.push_str(DEFAULT_TAG);
            }
            (tag, digest) => {
                if let Some(tag) = tag {
                    name.push(':');
                    name.push_str(tag);
                }
                if let Some(digest) = digest {
                    name.push('@');
                    name.push_str(digest.as_str());
                }
            }
        }
        name
    }

    /// The normalised name without the digest; `None` if there is a digest and no tag.
    #[must_use]
    pub fn tagged(&self) -> Option<String> {
        let mut name = self.normalized();
        if let Some(at) = name.find('@') {
            self.tag?;
            name.truncate(at);
        }
        Some(name)
    }
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text)
    }
}

/// The normalised spelling of a registry host. Host names are case-insensitive, 443 is the port of HTTPS, and Docker Hub has
/// several names.
///
/// If only upper-case letters distinguish a host from a namespace, the host in lower case would be read as a namespace. It
/// keeps its port, or gets one: `Registry`, `REGISTRY` and `registry:443` all become `registry:443`.
pub(super) fn normalize_host(written: &str) -> Cow<'_, str> {
    if is_default_host(written) {
        return Cow::Borrowed(DEFAULT_HOST);
    }
    let has_upper_case = written.bytes().any(|byte| byte.is_ascii_uppercase());
    if !has_upper_case && !written.ends_with(DEFAULT_PORT) {
        return Cow::Borrowed(written);
    }
    let mut host = written.to_ascii_lowercase();
    if !is_host(&host) {
        host.push_str(DEFAULT_PORT);
    } else if let Some(bare) = host.strip_suffix(DEFAULT_PORT).filter(|bare| is_host(bare)) {
        host.truncate(bare.len());
    }
    Cow::Owned(host)
}

/// Whether a host is Docker Hub, in any of its spellings.
fn is_default_host(host: &str) -> bool {
    let name = host.strip_suffix(DEFAULT_PORT).unwrap_or(host);
    name.eq_ignore_ascii_case(DEFAULT_HOST) || DEFAULT_HOST_ALIASES.iter().any(|alias| name.eq_ignore_ascii_case(alias))
}

/// Whether the part before the first slash is a registry host rather than a namespace on Docker Hub.
pub(super) fn is_host(component: &str) -> bool {
    component == "localhost"
        || component.bytes().any(|byte| matches!(byte, b'.' | b':' | b'[') || byte.is_ascii_uppercase())
}

fn check_characters(text: &str) -> Result<(), ReferenceError> {
    if text.is_empty() {
        return Err(ReferenceError::Empty);
    }
    let allowed = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/' | b':' | b'@' | b'[' | b']')
    };
    if !text.bytes().all(allowed) {
        let stray = text.chars().enumerate().find(|(_, c)| !u8::try_from(*c).is_ok_and(allowed));
        if let Some((position, character)) = stray {
            return Err(ReferenceError::Character(describe_character(character), position + 1));
        }
    }
    if text.len() > MAX_REFERENCE {
        return Err(ReferenceError::TooLong(text.len()));
    }
    Ok(())
}

fn describe_character(character: char) -> String {
    match character {
        ' ' => "space".to_owned(),
        '`' => "backtick".to_owned(),
        c if c.is_ascii_graphic() => format!("`{c}`"),
        c if c.is_ascii_control() => format!("control character U+{:04X}", u32::from(c)),
        c => format!("character U+{:04X}", u32::from(c)),
    }
}

fn parse_digest(text: &str) -> Result<Digest<'_>, ReferenceError> {
    let (algorithm, hex, expected) = if let Some(hex) = text.strip_prefix("sha256:") {
        ("sha256", hex, 64)
    } else if let Some(hex) = text.strip_prefix("sha512:") {
        ("sha512", hex, 128)
    } else if text.is_empty() {
        return Err(ReferenceError::EmptyDigest);
    } else {
        return Err(ReferenceError::Digest(text.to_owned()));
    };
    if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
        return Err(ReferenceError::Digest(text.to_owned()));
    }
    if hex.len() != expected {
        return Err(ReferenceError::DigestLength { algorithm, found: hex.len(), expected });
    }
    Ok(Digest(text))
}

fn split_host(text: &str) -> Result<(Option<&str>, &str), ReferenceError> {
    match text.split_once('/') {
        Some((host, rest)) if is_host(host) => {
            check_host(host)?;
            Ok((Some(host), rest))
        }
        _ => Ok((None, text)),
    }
}

pub(super) fn check_host(host: &str) -> Result<(), ReferenceError> {
    let port = if let Some(bracketed) = host.strip_prefix('[') {
        let (address, port) = bracketed.split_once(']').ok_or_else(|| ReferenceError::Host(host.to_owned()))?;
        let parsed = address.parse().map_err(|_| ReferenceError::Host(host.to_owned()))?;
        check_ipv6(address, parsed)?;
        match port.strip_prefix(':') {
            Some(port) => Some(port),
            None if port.is_empty() => None,
            None => return Err(ReferenceError::Host(host.to_owned())),
        }
    } else {
        let (name, port) = match host.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (host, None),
        };
        if !name.split('.').all(is_domain_component) {
            return Err(ReferenceError::Host(host.to_owned()));
        }
        check_ipv4(name)?;
        port
    };
    port.map_or(Ok(()), check_port)
}

fn is_domain_component(component: &str) -> bool {
    !component.is_empty()
        && !component.starts_with('-')
        && !component.ends_with('-')
        && component.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// Refuses an IPv4 address that is not in its canonical spelling.
fn check_ipv4(host: &str) -> Result<(), ReferenceError> {
    // The standard library parses the canonical spelling only.
    if !ends_in_number(host) || host.parse::<Ipv4Addr>().is_ok() {
        return Ok(());
    }
    Err(match abbreviated_ipv4(host) {
        Some(address) => ReferenceError::Address { written: host.to_owned(), canonical: address.to_string() },
        None => ReferenceError::Ipv4(host.to_owned()),
    })
}

/// Whether a host is an IPv4 address in any spelling rather than a domain name: the "ends in a number checker" of the WHATWG
/// URL standard. It covers every text that `inet_aton`, which resolvers try before DNS, reads as an address.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit_once('.').map_or(host, |(_, last)| last);
    match hexadecimal(last) {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

/// The address that `inet_aton` reads from a host: one to four numbers, the last of which fills the remaining bytes. `None` if a
/// number has a leading zero, which some resolvers read as octal and others as decimal.
fn abbreviated_ipv4(host: &str) -> Option<Ipv4Addr> {
    let mut address = 0;
    let mut free_bits = u32::BITS;
    let mut numbers = host.split('.').peekable();
    while let Some(number) = numbers.next() {
        let value = ipv4_number(number)?;
        let bits = if numbers.peek().is_some() { 8 } else { free_bits };
        free_bits = free_bits.checked_sub(bits).filter(|_| bits > 0)?;
        if value.checked_shr(bits).is_some_and(|rest| rest > 0) {
            return None;
        }
        address |= value.checked_shl(free_bits)?;
    }
    Some(Ipv4Addr::from_bits(address))
}

fn ipv4_number(text: &str) -> Option<u32> {
    if let Some(digits) = hexadecimal(text) {
        return u32::from_str_radix(digits, 16).ok();
    }
    let decimal: u32 = text.parse().ok()?;
    let is_unambiguous = !text.starts_with('0') || u32::from_str_radix(text, 8) == Ok(decimal);
    is_unambiguous.then_some(decimal)
}

/// The digits after `0x`.
fn hexadecimal(number: &str) -> Option<&str> {
    number.strip_prefix("0x").or_else(|| number.strip_prefix("0X"))
}

/// Refuses an IPv6 address that is not in its canonical spelling (RFC 5952), which is how the standard library displays it. For
/// an IPv4-mapped address the canonical spelling is the IPv4 address: RFC 5952 writes the former with dots, which the grammar
/// does not allow, and a connection to it is a connection to the latter.
fn check_ipv6(address: &str, parsed: Ipv6Addr) -> Result<(), ReferenceError> {
    let canonical = match parsed.to_ipv4_mapped() {
        Some(ipv4) => ipv4.to_string(),
        None => format!("[{parsed}]"),
    };
    let written = format!("[{address}]");
    if canonical == written { Ok(()) } else { Err(ReferenceError::Address { written, canonical }) }
}

pub(super) fn check_port(port: &str) -> Result<(), ReferenceError> {
    let number =
        port.parse::<u16>().ok().filter(|number| *number > 0 && port.bytes().all(|byte| byte.is_ascii_digit()));
    match number {
        None => Err(ReferenceError::Port(port.to_owned())),
        Some(canonical) if port.starts_with('0') => {
            Err(ReferenceError::PortZero { written: port.to_owned(), canonical })
        }
        Some(_) => Ok(()),
    }
}

pub(super) fn check_path(path: &str) -> Result<(), ReferenceError> {
    if path.is_empty() {
        return Err(ReferenceError::NoPath);
    }
    for component in path.split('/') {
        if component.is_empty() {
            return Err(ReferenceError::EmptyComponent);
        }
        if component.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase(component.to_owned()));
        }
        if !is_path_component(component) {
            return Err(ReferenceError::Component(component.to_owned()));
        }
    }
    Ok(())
}

/// Runs of lower-case letters and digits, with one separator between two of them: `.`, `_`, `__` or hyphens.
fn is_path_component(component: &str) -> bool {
    let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = component;
    loop {
        let after_word = rest.trim_start_matches(alphanumeric);
        if after_word.len() == rest.len() {
            return false;
        }
        if after_word.is_empty() {
            return true;
        }
        rest = after_word.trim_start_matches(|c| !alphanumeric(c));
        let separator = after_word.strip_suffix(rest).unwrap_or_default();
        if !(matches!(separator, "." | "_" | "__") || separator.bytes().all(|byte| byte == b'-')) {
            return false;
        }
    }
}

fn check_tag(tag: &str) -> Result<(), ReferenceError> {
    if tag.is_empty() {
        return Err(ReferenceError::EmptyTag);
    }
    if !is_tag(tag) {
        return Err(ReferenceError::Tag(tag.to_owned()));
    }
    if tag.len() > MAX_TAG {
        return Err(ReferenceError::TagTooLong(tag.len()));
    }
    Ok(())
}

/// Whether the grammar allows every character of `tag` at its position; the length is not checked.
pub(crate) fn is_tag(tag: &str) -> bool {
    tag.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

/// Whether a name without a host and a digest may be taken for the ID of an image that a node already has.
///
/// Docker reads 64 digits, or a digest, as an ID before it tries a name (`ParseAnyReference` of `distribution/reference`). The
/// CRI plugin of containerd does the same with a digest (`LocalResolve`). If a node has no image of a name, both look it up
/// among their IDs (`digestset.Lookup`), where an algorithm and the first digits are enough: `sha256:c` is the one image whose
/// ID begins with `c`, and a pull policy of `IfNotPresent` or `Never` runs it. IDs are in lower case, and neither reads a text
/// with a digest after it (`sha256:…@sha256:…`) as an ID.
///
/// Fewer than 64 digits alone, such as `cafe`, are a name: the kubelet adds `:latest`, and then neither finds an ID.
fn is_image_id(path: &str, tag: Option<&str>) -> bool {
    let has_hex_digits = |text: &str| text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    match tag {
        None => path.len() == 64 && has_hex_digits(path),
        // The algorithms of Go's `go-digest` package.
        Some(tag) => matches!(path, "sha256" | "sha384" | "sha512") && has_hex_digits(tag),
    }
}

impl Reference<'_> {
    /// The name with which a registry is queried: with the digest if there is one, else with the tag.
    #[must_use]
    pub fn registry_name(&self) -> String {
        match (self.digest(), self.effective_tag()) {
            (Some(digest), _) => self.with_digest(digest.as_str()),
            (None, tag) => format!("{}/{}:{}", self.registry(), self.repository(), tag.unwrap_or_default()),
        }
    }

    /// The name with which a registry is queried for a digest in the repository of this image.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> String {
        [self.registry(), "/", &self.repository(), "@", digest].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::{Reference, ReferenceError};

    const SHA256: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn normalized(text: &str) -> String {
        match Reference::parse(text) {
            Ok(reference) => reference.normalized(),
            Err(error) => panic!("`{text}` is refused: {error}"),
        }
    }

    fn refusal(text: &str) -> String {
        match Reference::parse(text) {
            Ok(reference) => panic!("`{text}` is accepted as {reference:?}"),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn a_name_is_completed_as_by_container_runtimes() {
        for (text, name) in [
            ("nginx", "docker.io/library/nginx:latest"),
            ("nginx:1.27", "docker.io/library/nginx:1.27"),
            ("org/app", "docker.io/org/app:latest"),
            ("org/team/app:1", "docker.io/org/team/app:1"),
            ("docker.io/nginx", "docker.io/library/nginx:latest"),
            ("index.docker.io/org/app:1", "docker.io/org/app:1"),
            ("localhost/app", "localhost/app:latest"),
            ("localhost:5000/app:1", "localhost:5000/app:1"),
            ("localhost:5000", "docker.io/library/localhost:5000"),
            ("127.0.0.1:5000/app", "127.0.0.1:5000/app:latest"),
            ("[::1]:5000/app:1", "[::1]:5000/app:1"),
            ("[2001:db8::1]/team/app:1", "[2001:db8::1]/team/app:1"),
            ("Registry.Example.COM/app:V1", "registry.example.com/app:V1"),
            ("registry.example.com:443/app:1", "registry.example.com/app:1"),
            ("docker.io:443/nginx:1", "docker.io/library/nginx:1"),
            ("sha256:abc.def", "docker.io/library/sha256:abc.def"),
            ("sha256:ABC", "docker.io/library/sha256:ABC"),
            ("org/sha256:abc", "docker.io/org/sha256:abc"),
            ("docker.io/library/sha256:abc", "docker.io/library/sha256:abc"),
            ("cafe:1", "docker.io/library/cafe:1"),
            ("a/b__c.d-e---f_g:x", "docker.io/a/b__c.d-e---f_g:x"),
        ] {
            assert_eq!(normalized(text), name, "{text}");
        }
    }

    #[test]
    fn every_spelling_of_docker_hub_is_one_registry() {
        for host in [
            "docker.io",
            "docker.io:443",
            "Docker.IO",
            "index.docker.io",
            "Index.docker.io:443",
            "registry-1.docker.io",
            "registry-1.docker.io:443",
            "REGISTRY-1.docker.io",
            "registry.hub.docker.com",
            "Registry.Hub.Docker.com:443",
        ] {
            let text = format!("{host}/nginx:1");
            let reference = Reference::parse(&text).unwrap();
            assert_eq!(reference.normalized(), "docker.io/library/nginx:1", "{text}");
            assert_eq!(reference.registry(), "docker.io", "{text}");
            assert_eq!(reference.normalized_registry(), "docker.io", "{text}");
            assert_eq!(reference.repository(), "library/nginx", "{text}");
            assert_eq!(reference.host(), Some(host), "{text}");
            assert_eq!(normalized(&format!("{host}/org/app:1")), "docker.io/org/app:1", "{host}");
        }
        for host in ["registry-2.docker.io", "hub.docker.com", "docker.io:444", "docker.io.example.com", "xdocker.io"] {
            assert_eq!(normalized(&format!("{host}/nginx:1")), format!("{host}/nginx:1"));
        }
    }

    #[test]
    fn every_spelling_of_a_host_without_a_dot_is_one_registry() {
        for text in ["registry:443/app:1", "Registry/app:1", "REGISTRY/app:1", "Registry:443/app:1"] {
            assert_eq!(normalized(text), "registry:443/app:1", "{text}");
        }
        // Without the port this is a namespace.
        assert_eq!(normalized("registry/app:1"), "docker.io/registry/app:1");
        assert_eq!(normalized("LocalHost:443/app:1"), "localhost/app:1");
        // The normalised name has the port, and is a valid reference, too.
        let longest = format!("R/{}", "a".repeat(255 - "r:443/".len()));
        assert_eq!(normalized(&normalized(&longest)), normalized(&longest));
        assert_eq!(Reference::parse(&format!("{longest}a")), Err(ReferenceError::NameTooLong(256)));
    }

    #[test]
    fn an_address_in_its_canonical_spelling_is_a_host() {
        for host in [
            "127.0.0.1",
            "0.0.0.0:5000",
            "255.255.255.255",
            "[::]",
            "[::1]:5000",
            "[1::]",
            "[2001:db8::1]",
            "[2001:db8:0:1:1:1:1:1]",
            "[2001:db8::1:0:0:1]",
            "[::102:304]",
            // Domain names, whose last component is not a number.
            "1.2.3.4.example",
            "127.0.0.1x",
            "10.0.0.0xg",
            "123.x0",
            "1a:5000",
        ] {
            assert_eq!(normalized(&format!("{host}/app:1")), format!("{host}/app:1"));
        }
    }

    #[test]
    fn an_address_in_another_spelling_is_refused_with_the_canonical_one() {
        for (host, canonical) in [
            ("127.1", "127.0.0.1"),
            ("127.0.1", "127.0.0.1"),
            ("1.2.3", "1.2.0.3"),
            ("127.0.0.01", "127.0.0.1"),
            ("127.65535", "127.0.255.255"),
            ("2130706433:5000", "127.0.0.1"),
            ("0:5000", "0.0.0.0"),
            ("4294967295:5000", "255.255.255.255"),
            ("0x7f.0.0.1", "127.0.0.1"),
            ("0X7F000001", "127.0.0.1"),
            ("0x7f000001:5000", "127.0.0.1"),
            ("127.0.0.0x1", "127.0.0.1"),
            ("00.00.00.00", "0.0.0.0"),
            ("[0:0:0:0:0:0:0:1]", "[::1]"),
            ("[0::1]", "[::1]"),
            ("[::01]:5000", "[::1]"),
            ("[2001:DB8::1]", "[2001:db8::1]"),
            ("[2001:db8::0:1]", "[2001:db8::1]"),
            ("[2001:db8::1:1:1:1:1]", "[2001:db8:0:1:1:1:1:1]"),
            ("[::ffff:7f00:1]", "127.0.0.1"),
            ("[::ffff:1.2.3.4]:5000", "1.2.3.4"),
            ("[::1.2.3.4]", "[::102:304]"),
        ] {
            let text = format!("{host}/app");
            match Reference::parse(&text) {
                Err(ReferenceError::Address { written, canonical: found }) => {
                    assert_eq!(found, canonical, "{text}");
                    assert!(host.starts_with(&written), "{text}: {written}");
                    assert!(Reference::parse(&format!("{canonical}/app")).is_ok(), "{canonical}");
                }
                other => panic!("{text}: {other:?}"),
            }
        }
    }

    #[test]
    fn a_host_that_ends_in_a_number_and_names_no_single_address_is_refused() {
        for host in [
            "1.2.3.4.5",
            "1.2.3.4.0",
            "256.0.0.1",
            "1.2.3.256",
            "1.256.3",
            "4294967296:5000",
            "99999999999999999999:5000",
            "registry.1",
            "registry.0x1f",
            "registry.0x",
            "0X",
            // Octal for some resolvers, decimal for others.
            "0177.0.0.1",
            "127.0.0.010",
            "09.0.0.1",
        ] {
            let text = format!("{host}/app");
            let name = host.split(':').next().unwrap();
            assert_eq!(Reference::parse(&text), Err(ReferenceError::Ipv4(name.to_owned())), "{text}");
        }
    }

    #[test]
    fn a_port_with_a_leading_zero_is_refused_with_the_number() {
        for (text, expected) in [
            ("registry.example.com:0443/app", "the port `0443` has a leading zero; write `443`"),
            ("registry:05000/app", "the port `05000` has a leading zero; write `5000`"),
            ("[::1]:0005000/app", "the port `0005000` has a leading zero; write `5000`"),
            ("docker.io:00000000443/nginx", "the port `00000000443` has a leading zero; write `443`"),
            ("localhost:00/app", "invalid port `00`"),
            ("localhost:065536/app", "invalid port `065536`"),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(expected), "{text:?}\n  expected: {expected}\n  found:    {message}");
        }
    }

    #[test]
    fn a_reference_that_a_runtime_may_read_as_an_image_id_is_refused() {
        let hex = "0123456789abcdef".repeat(8);
        for text in [
            &hex[..64],
            &format!("sha256:{}", &hex[..64]),
            &format!("sha384:{}", &hex[..96]),
            &format!("sha512:{hex}"),
            // Runtimes accept the first digits of an ID.
            "sha256:0123456789ab",
            "sha256:0",
            "sha512:c",
        ] {
            assert_eq!(Reference::parse(text), Err(ReferenceError::ImageId), "{text}");
        }
        // With a digest these are names.
        for name in [&hex[..64], "sha256", "sha256:0123"] {
            let text = format!("{name}@{SHA256}");
            assert_eq!(normalized(&text), format!("docker.io/library/{text}"));
        }
        assert_eq!(normalized("sha256"), "docker.io/library/sha256:latest");
        assert_eq!(normalized("md5:0123"), "docker.io/library/md5:0123");
        assert_eq!(normalized(&format!("{}:1", &hex[..64])), format!("docker.io/library/{}:1", &hex[..64]));
    }

    #[test]
    fn a_digest_decides_what_is_pulled() {
        let by_digest = format!("nginx@{SHA256}");
        assert_eq!(normalized(&by_digest), format!("docker.io/library/nginx@{SHA256}"));
        assert_eq!(Reference::parse(&by_digest).unwrap().effective_tag(), None);
        let by_both = format!("nginx:1.27@{SHA256}");
        assert_eq!(normalized(&by_both), format!("docker.io/library/nginx:1.27@{SHA256}"));
        assert_eq!(Reference::parse(&by_both).unwrap().effective_tag(), None);
        let long = format!("nginx@sha512:{}", "a".repeat(128));
        assert_eq!(Reference::parse(&long).unwrap().digest().unwrap().as_str(), &long["nginx@".len()..]);
    }

    #[test]
    fn the_default_tag_is_latest() {
        assert_eq!(Reference::parse("nginx").unwrap().effective_tag(), Some("latest"));
        assert_eq!(Reference::parse("nginx:1").unwrap().effective_tag(), Some("1"));
    }

    #[test]
    fn an_error_says_which_part_is_wrong() {
        for (text, expected) in [
            ("", "it is missing or empty"),
            (" nginx", "unexpected space at position 1"),
            ("nginx\n", "unexpected control character U+000A at position 6"),
            ("nginx\u{0}", "unexpected control character U+0000 at position 6"),
            ("ngіnx", "unexpected character U+0456 at position 3"),
            ("nginx$", "unexpected `$` at position 6"),
            ("Nginx:1", "the repository `Nginx` has an upper-case letter"),
            ("docker.io/Library/nginx", "the repository `Library` has an upper-case letter"),
            ("reg/app:", "the tag after `:` is empty"),
            ("a//b", "a part of the path between slashes is empty"),
            ("/b", "a part of the path between slashes is empty"),
            ("a/", "a part of the path between slashes is empty"),
            (":1", "a repository is required"),
            ("registry.example.com/", "a repository is required"),
            ("registry.example.com./app", "invalid registry host `registry.example.com.`"),
            ("-registry.example.com/app", "invalid registry host `-registry.example.com`"),
            ("[nonsense]/app", "invalid registry host `[nonsense]`"),
            ("[::1]x/app", "invalid registry host `[::1]x`"),
            ("localhost:/app", "invalid port ``"),
            ("localhost:0/app", "invalid port `0`"),
            ("localhost:65536/app", "invalid port `65536`"),
            ("localhost:http/app", "invalid port `http`"),
            ("a/b..c", "invalid path component `b..c`"),
            ("a/b___c", "invalid path component `b___c`"),
            ("a/b._c", "invalid path component `b._c`"),
            ("a/-b", "invalid path component `-b`"),
            ("a/b-", "invalid path component `b-`"),
            ("nginx:.1", "invalid tag `.1`"),
            ("nginx:1:2", "invalid tag `1:2`"),
            ("nginx@sha256:abc", "the sha256 digest has 3 hexadecimal digits; it needs 64"),
            ("nginx@sha512:abc", "the sha512 digest has 3 hexadecimal digits; it needs 128"),
            ("nginx@md5:abc", "invalid digest `md5:abc`"),
            ("nginx@", "the digest is empty"),
            ("https://registry.example.com/app:1", "unexpected scheme `https://`"),
            ("nginx`", "unexpected backtick at position 6"),
            (
                "[::ffff:1.2.3.4]/app",
                "`[::ffff:1.2.3.4]` is not the canonical spelling of that address; write `1.2.3.4`",
            ),
            ("[0::1]:80/app", "`[0::1]` is not the canonical spelling of that address; write `[::1]`"),
            ("127.1:80/app", "`127.1` is not the canonical spelling of that address; write `127.0.0.1`"),
            ("1.2.3.4.5/app", "the host `1.2.3.4.5` ends in a number and is not an IPv4 address; write four decimal"),
            ("[::1%25eth0]/app", "unexpected `%` at position 5"),
            ("[1.2.3.4]/app", "invalid registry host `[1.2.3.4]`"),
            ("[::1/app", "invalid registry host `[::1`"),
            ("127.0.0.1./app", "invalid registry host `127.0.0.1.`"),
            ("localhost:+443/app", "unexpected `+` at position 11"),
            ("nginx@sha256:ABC", "invalid digest `sha256:ABC`"),
            (&"a".repeat(64), "it is an image ID"),
        ] {
            let message = refusal(text);
            assert!(message.starts_with(expected), "{text:?}\n  expected: {expected}\n  found:    {message}");
        }
        assert_eq!(
            refusal(&format!("nginx@{SHA256}@{SHA256}")),
            ReferenceError::Digest(format!("{SHA256}@{SHA256}")).to_string()
        );
    }

    #[test]
    fn the_error_for_an_invalid_digest_is_one_short_line() {
        for (text, expected) in [
            ("", "the digest is empty"),
            ("sha256:abc", "the sha256 digest has 3 hexadecimal digits; it needs 64"),
            ("x\ncontainer `app`", "unexpected control character U+000A at position 2"),
            (&"x".repeat(1 << 20), "it is 1048576 characters long"),
        ] {
            let message = super::Digest::parse(text).unwrap_err().to_string();
            assert!(message.starts_with(expected) && message.len() < 200, "{expected}\n{message}");
        }
    }

    #[test]
    fn lengths_are_limited_to_the_character() {
        let longest_name = "a".repeat(255 - "docker.io/library/".len());
        assert!(Reference::parse(&longest_name).is_ok());
        assert_eq!(Reference::parse(&format!("{longest_name}a")), Err(ReferenceError::NameTooLong(256)));
        let longest_tag = "t".repeat(128);
        assert!(Reference::parse(&format!("nginx:{longest_tag}")).is_ok());
        assert_eq!(Reference::parse(&format!("nginx:{longest_tag}t")), Err(ReferenceError::TagTooLong(129)));
        let longest = format!("{longest_name}:{longest_tag}@sha512:{}", "0".repeat(128));
        assert!(Reference::parse(&longest).is_ok());
        assert!(matches!(Reference::parse(&"a".repeat(3 << 20)), Err(ReferenceError::TooLong(_))));
    }
}
