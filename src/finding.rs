//! Findings: what is reported about a request and its images, and the effect on the request.

use std::fmt;

use serde::{Serialize, Serializer};

/// The stable code of a finding, such as `stale-image`. Dashboards and tests match it, and each code has a page in `docs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Code {
    name: &'static str,
    status: Option<u16>,
}

impl Code {
    /// A code. Modules declare their codes with `codes!`.
    #[must_use]
    pub const fn new(name: &'static str, status: Option<u16>) -> Self {
        Self { name, status }
    }

    /// The code as messages show it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.name
    }

    /// The HTTP status of a denial for a finding with this code. `None` if such a finding never denies a request.
    ///
    /// The status is that of its class, so that policy-server's metrics, which do not have findings, can tell the classes apart. It is between
    /// 460 and 479: these are not assigned (<https://www.iana.org/assignments/http-status-codes>), so no client acts on them as it does on
    /// 404, 409 or 429.
    #[must_use]
    pub const fn status(self) -> Option<u16> {
        self.status
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Serialize for Code {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name)
    }
}

/// A code and what it means, in one line for the documentation.
pub type Described = (Code, &'static str);

/// Declares the finding codes of a module. Each code has a description, which is a doc comment of one line. A code that can deny a request
/// also has the HTTP status of the denial. `CODES` lists them.
macro_rules! codes {
    ($( #[doc = $about:literal] $name:ident = $code:literal $(, status $status:literal)?; )+) => {
        $(
            #[doc = $about]
            pub const $name: $crate::finding::Code = $crate::finding::Code::new($code, [$(Some($status),)? None][0]);
        )+

        /// The finding codes of this module.
        pub const CODES: &[$crate::finding::Code] = &[$( $name, )+];

        /// The finding codes of this module with their descriptions.
        #[must_use]
        pub fn described_codes() -> Vec<$crate::finding::Described> {
            vec![$( ($name, $about.trim_ascii()), )+]
        }
    };
}
pub(crate) use codes;

codes! {
    /// A request that cannot be read, so that its images cannot be judged.
    INVALID_REQUEST = "invalid-request", status 460;
}

/// The effect of a finding on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The requester gets a warning; the request is accepted.
    Warn,
    /// The request is refused.
    Deny,
}

/// What a rule reports about one image, before exceptions and enforcement are applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The code of the finding.
    pub code: Code,
    /// Its effect on the request.
    pub effect: Effect,
    /// The fact, the rule and what to do. It continues the sentence that begins with the image.
    pub text: String,
}

impl Violation {
    /// The violation of one of the images of an index. `platform` is the platform of that image, if the message must name it.
    #[must_use]
    pub fn on_platform(mut self, platform: Option<&str>) -> Self {
        if let Some(platform) = platform {
            self.text = format!("({platform}) {}", self.text);
        }
        self
    }
}

/// What is reported about a request or about one of its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The code.
    pub code: Code,
    /// Its effect on the request.
    pub effect: Effect,
    /// The container or volume that names the image, as messages show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<Box<str>>,
    /// The image, sanitized.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<Box<str>>,
    /// The setting that turned a denial into a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<&'static str>,
    /// The digest of the build that the tag of the image points at now, if that build would be accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<Box<str>>,
    /// The fact, the rule and what to do. It continues the sentence that begins with the image.
    pub text: String,
}

impl Finding {
    /// A finding about the request as a whole. It denies the request.
    pub fn about_request(code: Code, text: impl Into<String>) -> Self {
        Self { code, effect: Effect::Deny, site: None, image: None, passed: None, fix: None, text: text.into() }
    }

    /// A warning about the request as a whole.
    pub fn warning(code: Code, text: impl Into<String>) -> Self {
        Self { effect: Effect::Warn, ..Self::about_request(code, text) }
    }

    /// A finding about an image, with `site` and `image` as messages show them.
    #[must_use]
    pub fn about_image(site: String, image: String, violation: Violation) -> Self {
        let Violation { code, effect, text } = violation;
        Self { code, effect, site: Some(site.into()), image: Some(image.into()), passed: None, fix: None, text }
    }

    /// Turns the finding into a warning, because of a setting.
    #[must_use]
    pub fn passing(self, setting: &'static str) -> Self {
        Self { effect: Effect::Warn, passed: Some(setting), ..self }
    }

    /// Whether the finding denies the request, or would deny it without a setting.
    #[must_use]
    pub fn is_decisive(&self) -> bool {
        self.effect == Effect::Deny || self.passed.is_some()
    }

    /// The message without its code.
    #[must_use]
    pub fn statement(&self) -> String {
        match (&self.site, &self.image) {
            (Some(site), Some(image)) => format!("{site}: image `{image}` {}", self.text),
            _ => self.text.clone(),
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} [{}]", self.statement(), self.code)
    }
}
