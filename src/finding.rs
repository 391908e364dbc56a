//! Findings: what the rules have to say, and how hard it bites.

use std::fmt;

use serde::Serialize;

use crate::image::ReferenceError;
use crate::rules::Ruling;
use crate::shown::Shown;
use crate::workload::ImageSite;

/// What a finding is about, as a stable code. Dashboards and tests match on it, and each code has a page in `docs/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The request cannot be read, so that its images cannot be judged.
    InvalidRequest,
    /// The settings of the policy are not valid, so that nothing can be judged.
    InvalidSettings,
    /// The policy does not know where objects of this kind name images.
    UnknownKind,
    /// An image reference that container runtimes do not understand.
    InvalidReference,
    /// An image on a registry that is not to be asked.
    UnknownRegistry,
    /// An image without a digest.
    UnpinnedImage,
    /// An image without a digest, with a tag that is not allowed.
    ForbiddenTag,
    /// An image that had to be rebuilt by now.
    StaleImage,
    /// An image that has to be rebuilt soon.
    PatchDue,
    /// An image that does not say when it was built.
    UnknownBuildDate,
    /// An image that says that it was built in the future.
    FutureBuildDate,
    /// An image that had to be built on a newer base by now.
    OutdatedBaseImage,
    /// An image that has to be built on a newer base soon.
    BaseUpdateDue,
    /// An image that does not say what it was built on.
    UnknownBaseImage,
    /// An image that something or somebody wants kept out, by what was found in it.
    ScanFlagged,
    /// An image with more vulnerabilities than are allowed.
    VulnerableImage,
    /// An image with vulnerabilities that have to be patched soon.
    PatchWindowOpen,
    /// An image without a scan result.
    UnscannedImage,
    /// An image whose scan results are too old to count.
    StaleScan,
    /// A registry, or the cluster, that could not be asked about an image.
    EvidenceUnavailable,
    /// Something that an exception covers for now.
    Excepted,
    /// Something that an exception covered until its end.
    ExpiredException,
    /// A request that goes on in spite of its findings, or one that tried to.
    BreakGlass,
    /// The settings give the time at which to judge.
    EvaluateAtSet,
}

impl Code {
    /// Every code.
    pub const ALL: [Self; 24] = [
        Self::InvalidRequest,
        Self::InvalidSettings,
        Self::UnknownKind,
        Self::InvalidReference,
        Self::UnknownRegistry,
        Self::UnpinnedImage,
        Self::ForbiddenTag,
        Self::StaleImage,
        Self::PatchDue,
        Self::UnknownBuildDate,
        Self::FutureBuildDate,
        Self::OutdatedBaseImage,
        Self::BaseUpdateDue,
        Self::UnknownBaseImage,
        Self::ScanFlagged,
        Self::VulnerableImage,
        Self::PatchWindowOpen,
        Self::UnscannedImage,
        Self::StaleScan,
        Self::EvidenceUnavailable,
        Self::Excepted,
        Self::ExpiredException,
        Self::BreakGlass,
        Self::EvaluateAtSet,
    ];

    /// The code as messages carry it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::InvalidRequest => "invalid-request",
            Self::InvalidSettings => "invalid-settings",
            Self::UnknownKind => "unknown-kind",
            Self::InvalidReference => "invalid-reference",
            Self::UnknownRegistry => "unknown-registry",
            Self::UnpinnedImage => "unpinned-image",
            Self::ForbiddenTag => "forbidden-tag",
            Self::StaleImage => "stale-image",
            Self::PatchDue => "patch-due",
            Self::UnknownBuildDate => "unknown-build-date",
            Self::FutureBuildDate => "future-build-date",
            Self::OutdatedBaseImage => "outdated-base-image",
            Self::BaseUpdateDue => "base-update-due",
            Self::UnknownBaseImage => "unknown-base-image",
            Self::ScanFlagged => "scan-flagged",
            Self::VulnerableImage => "vulnerable-image",
            Self::PatchWindowOpen => "patch-window-open",
            Self::UnscannedImage => "unscanned-image",
            Self::StaleScan => "stale-scan",
            Self::EvidenceUnavailable => "evidence-unavailable",
            Self::Excepted => "excepted",
            Self::ExpiredException => "expired-exception",
            Self::BreakGlass => "break-glass",
            Self::EvaluateAtSet => "evaluate-at-set",
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a finding does to the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The requester is told; the request goes on.
    Warn,
    /// The request is refused.
    Deny,
}

/// One thing that a rule has to say about a request or about one of its images.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What it is about.
    pub code: Code,
    /// What it does to the request.
    pub effect: Effect,
    /// The container or volume that names the image, as messages call it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The image as it was written, shortened if need be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The setting that lets it pass as a warning, where its rule would have refused the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passed: Option<&'static str>,
    /// The fact, the rule and the way out. It reads on from the image.
    pub text: String,
}

impl Finding {
    /// A finding about the request as a whole, which is always refused.
    pub fn about_request(code: Code, text: impl Into<String>) -> Self {
        Self { code, effect: Effect::Deny, site: None, image: None, passed: None, text: text.into() }
    }

    /// A finding about the request as a whole that the requester is told of.
    pub fn warning(code: Code, text: impl Into<String>) -> Self {
        Self { effect: Effect::Warn, ..Self::about_request(code, text) }
    }

    /// What a rule says of the image at a site.
    #[must_use]
    pub fn about_site(site: &ImageSite<'_>, ruling: Ruling) -> Self {
        Self {
            code: ruling.code,
            effect: ruling.effect,
            site: Some(site.to_string()),
            image: Some(Shown(&site.image).to_string()),
            passed: None,
            text: ruling.text,
        }
    }

    /// An image whose reference cannot be parsed. No rule can judge it, so it is refused whatever the rules say.
    #[must_use]
    pub fn invalid_reference(site: &ImageSite<'_>, error: &ReferenceError) -> Self {
        let text = format!("is no image reference: {error}");
        Self::about_site(site, Ruling { code: Code::InvalidReference, effect: Effect::Deny, text })
    }

    /// The finding as a warning, because of a setting that lets it pass.
    #[must_use]
    pub fn passing(self, setting: &'static str) -> Self {
        Self { effect: Effect::Warn, passed: Some(setting), ..self }
    }

    /// Whether it refuses the request, or would have.
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
