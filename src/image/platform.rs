//! Platforms: the operating system and architecture that an image is built for, and the images that a node may run.
//!
//! Operating systems and architectures have the names of Go's `GOOS` and `GOARCH` (OCI image index specification,
//! "platform"). As in containerd's `platforms` package, other spellings are normalised, and some architectures also run images
//! for another one.

use std::fmt;

/// Other spellings of architectures and operating systems, each with Go's.
const ALIASES: [(&str, &str); 10] = [
    ("x86_64", "amd64"),
    ("x86-64", "amd64"),
    ("i386", "386"),
    ("i486", "386"),
    ("i586", "386"),
    ("i686", "386"),
    ("aarch64", "arm64"),
    ("armhf", "arm"),
    ("armel", "arm"),
    ("macos", "darwin"),
];

const OPERATING_SYSTEMS: [&str; 5] = ["linux", "windows", "darwin", "freebsd", "wasip1"];

const ARCHITECTURES: [&str; 14] = [
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
];

/// An operating system and an architecture. Each may be unspecified, which means any.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Platform {
    /// Empty for any.
    os: String,
    /// Empty for any.
    architecture: String,
}

/// The platforms for which images are judged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Platforms {
    /// The platform of the host that runs the policy. Only the host knows it.
    OfHost,
    /// The platforms of this list.
    Listed(Vec<Platform>),
}

impl Platforms {
    /// Whether `others` include all of these.
    #[must_use]
    pub fn are_among(&self, others: &Self) -> bool {
        match (self, others) {
            (Self::OfHost, Self::OfHost) => true,
            (Self::Listed(these), Self::Listed(others)) => these.iter().all(|platform| others.contains(platform)),
            _ => false,
        }
    }
}

/// Why a text is not a platform. The message says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlatformError {
    /// An architecture or an operating system alone.
    #[error("a platform is an operating system and an architecture; write `{0}`")]
    Incomplete(String),
    /// A variant, such as that of `linux/arm/v7`.
    #[error("every variant of an architecture is judged; write `{0}`")]
    Variant(String),
    /// An empty part, or a character that no platform has.
    #[error("expected an operating system and an architecture, such as `linux/amd64`")]
    Malformed,
}

impl Platform {
    /// Reads `os/architecture`.
    ///
    /// # Errors
    /// If the operating system or the architecture is missing, or a variant follows them.
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let is_part = |part: &&str| {
            !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        let parts: Vec<&str> = text.split('/').collect();
        if !parts.iter().all(is_part) {
            return Err(PlatformError::Malformed);
        }
        match parts[..] {
            [os, architecture] => Ok(Self::new(os, architecture)),
            [os, architecture, _] => Err(PlatformError::Variant(Self::new(os, architecture).to_string())),
            [alone] => {
                let alone = normalize(alone);
                let is_os = OPERATING_SYSTEMS.contains(&alone.as_str());
                let complete = if is_os { format!("{alone}/amd64") } else { format!("linux/{alone}") };
                Err(PlatformError::Incomplete(complete))
            }
            _ => Err(PlatformError::Malformed),
        }
    }

    /// The platform of an operating system and an architecture, in any spelling. An empty one means any.
    #[must_use]
    pub fn new(os: &str, architecture: &str) -> Self {
        Self { os: normalize(os), architecture: normalize(architecture) }
    }

    /// The operating system; empty for any.
    #[must_use]
    pub fn os(&self) -> &str {
        &self.os
    }

    /// The architecture; empty for any.
    #[must_use]
    pub fn architecture(&self) -> &str {
        &self.architecture
    }

    /// The unknown operating system or architecture of this platform, with a suggestion, as messages show it.
    #[must_use]
    pub fn unknown(&self) -> Option<String> {
        let (knows_os, knows_architecture) =
            (OPERATING_SYSTEMS.contains(&self.os()), ARCHITECTURES.contains(&self.architecture()));
        if knows_os && knows_architecture {
            return None;
        }
        if ARCHITECTURES.contains(&self.os()) && OPERATING_SYSTEMS.contains(&self.architecture()) {
            return Some(format!("the operating system comes first; write `{}/{}`", self.architecture(), self.os()));
        }
        let (what, name, known) = if knows_os {
            ("architecture", self.architecture(), &ARCHITECTURES[..])
        } else {
            ("operating system", self.os(), &OPERATING_SYSTEMS[..])
        };
        let similar = known.iter().find(|known| name.starts_with(**known));
        let advice = similar.map(|known| format!("; did you mean `{known}`?")).unwrap_or_default();
        Some(format!("unknown {what} `{name}`{advice}"))
    }

    /// Whether a node of this platform may run an image for the platform `image`. An unspecified part matches any.
    #[must_use]
    pub fn may_run(&self, image: &Self) -> bool {
        let is_same = |node: &str, image: &str| node.is_empty() || image.is_empty() || node == image;
        let runs_both = matches!((self.architecture(), image.architecture()), ("amd64", "386") | ("arm64", "arm"));
        is_same(self.os(), image.os()) && (runs_both || is_same(self.architecture(), image.architecture()))
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |part: &'static str, value: &str| if value.is_empty() { part.to_owned() } else { value.to_owned() };
        write!(f, "{}/{}", shown("any", &self.os), shown("any", &self.architecture))
    }
}

/// A name in Go's spelling.
fn normalize(name: &str) -> String {
    let name = name.to_ascii_lowercase();
    ALIASES.iter().find(|(alias, _)| *alias == name).map_or(name, |(_, known)| (*known).to_owned())
}

#[cfg(test)]
mod tests {
    use super::{Platform, Platforms};

    fn platform(text: &str) -> Platform {
        Platform::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn every_spelling_of_a_platform_is_normalised() {
        for (text, expected) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/X86_64", "linux/amd64"),
            ("linux/aarch64", "linux/arm64"),
            ("windows/amd64", "windows/amd64"),
        ] {
            assert_eq!(platform(text).to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_invalid_platform_is_refused_with_a_suggestion() {
        for (text, expected) in [
            ("amd64", "a platform is an operating system and an architecture; write `linux/amd64`"),
            ("x86_64", "a platform is an operating system and an architecture; write `linux/amd64`"),
            ("linux", "a platform is an operating system and an architecture; write `linux/amd64`"),
            ("linux/arm/v7", "every variant of an architecture is judged; write `linux/arm`"),
            ("linux/", "expected an operating system and an architecture, such as `linux/amd64`"),
            ("", "expected an operating system and an architecture, such as `linux/amd64`"),
            ("linux/amd64/v1/x", "expected an operating system and an architecture, such as `linux/amd64`"),
            ("linux/am d", "expected an operating system and an architecture, such as `linux/amd64`"),
        ] {
            assert_eq!(Platform::parse(text).unwrap_err().to_string(), expected, "{text}");
        }
    }

    #[test]
    fn an_unknown_platform_is_reported_with_a_suggestion() {
        for (text, expected) in [
            ("linux/amd46", Some("unknown architecture `amd46`")),
            ("linux/armv7", Some("unknown architecture `armv7`; did you mean `arm`?")),
            ("linus/amd64", Some("unknown operating system `linus`")),
            ("amd64/linux", Some("the operating system comes first; write `linux/amd64`")),
            ("linux/s390x", None),
        ] {
            assert_eq!(platform(text).unknown().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn a_node_runs_its_own_platform_and_the_older_one_of_its_family() {
        let amd = platform("linux/amd64");
        for (image, expected) in [
            (Platform::new("linux", "amd64"), true),
            (Platform::new("linux", "x86_64"), true),
            (Platform::new("LINUX", "386"), true),
            (Platform::new("", ""), true),
            (Platform::new("linux", ""), true),
            (Platform::new("linux", "arm64"), false),
            (Platform::new("windows", "amd64"), false),
            (Platform::new("windows", ""), false),
        ] {
            assert_eq!(amd.may_run(&image), expected, "{image}");
        }
        assert!(platform("linux/arm64").may_run(&platform("linux/arm")));
        assert!(!platform("linux/arm").may_run(&platform("linux/arm64")));
        assert!(Platform::new("windows", "").may_run(&platform("windows/arm64")));
    }

    #[test]
    fn platforms_are_included_only_if_each_is_known_to_be() {
        let listed = |texts: &[&str]| Platforms::Listed(texts.iter().map(|text| platform(text)).collect());
        assert!(Platforms::OfHost.are_among(&Platforms::OfHost));
        assert!(listed(&["linux/arm64"]).are_among(&listed(&["linux/amd64", "linux/arm64"])));
        assert!(!listed(&["linux/amd64", "linux/arm64"]).are_among(&listed(&["linux/arm64"])));
        assert!(!Platforms::OfHost.are_among(&listed(&["linux/amd64"])));
        assert!(!listed(&["linux/amd64"]).are_among(&Platforms::OfHost));
    }
}
