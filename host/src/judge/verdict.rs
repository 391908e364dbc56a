//! The verdicts about the objects of manifests.

use std::fmt;
use std::process::ExitCode;

use serde::{Deserialize, Serialize, Serializer};

use super::changes::Record;
use crate::input::Source;

/// The verdict about an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It is admitted without warnings.
    Accepted,
    /// It is admitted with warnings.
    Warned,
    /// It is rejected.
    Denied,
    /// It names no images.
    Skipped,
    /// It could not be judged.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Warned => "warned",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// The verdict about an object, with its reasons.
#[derive(Debug, Clone, Serialize)]
pub struct JudgedObject {
    /// The verdict.
    pub verdict: Verdict,
    /// The object, such as `Deployment default/web`. None if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// File and line.
    #[serde(serialize_with = "as_text")]
    pub source: Source,
    /// Why it is denied, or could not be judged: one line for each reason.
    pub messages: Vec<String>,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The images as the policy would rewrite them.
    pub pinned: Vec<String>,
    /// The records of digests that the policy would write into pod templates, without those that stay as they are.
    pub recorded: Vec<Record>,
    /// The findings, as in the policy's audit annotation.
    pub findings: Vec<Finding>,
    /// The judged images, as in the policy's audit annotation.
    pub images: Vec<JudgedImage>,
}

/// The key of a policy, as [`Finding::passed`], for denials that monitor mode turns into warnings.
pub(super) const MONITOR: &str = "mode";

/// A finding, as in the policy's audit annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// The code, such as `stale-image`.
    pub code: String,
    /// Its effect on the request.
    pub effect: Effect,
    /// The container or volume that names the image, such as ``container `app` ``. `None` for a finding about the whole object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub site: Option<String>,
    /// The image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<String>,
    /// The setting that turned a denial into a warning.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub passed: Option<String>,
    /// The fact, the rule and what to do.
    pub text: String,
    /// The policies that have this finding, if there are several policies or if it is of one in monitor mode.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<String>,
}

/// The effect of a finding on the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// The request is accepted with a warning.
    Warn,
    /// The request is denied.
    Deny,
}

impl fmt::Display for Finding {
    /// The message of the policy.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.policies.is_empty() {
            let monitor = if self.passed.as_deref() == Some(MONITOR) { " (monitor)" } else { "" };
            write!(f, "{}{monitor}: ", self.policies.join(", "))?;
        }
        if let (Some(site), Some(image)) = (&self.site, &self.image) {
            write!(f, "{site}: image `{image}` ")?;
        }
        write!(f, "{} [{}]", self.text, self.code)
    }
}

/// An image of an object, as in the policy's audit annotation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct JudgedImage {
    /// The normalised name.
    pub image: String,
    /// The containers and volumes that name it.
    pub sites: Vec<String>,
    /// Whether the settings exempt it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exempt: bool,
    /// The digest that was judged, if the name does not show it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// The build date (RFC 3339), if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built: Option<String>,
    /// The required platforms for which its index has no image.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing_platforms: Vec<String>,
    /// The number of containers and volumes that are not named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub more_sites: Option<usize>,
}

fn as_text<S: Serializer>(source: &Source, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(source)
}

impl JudgedObject {
    /// An object about which nothing but the verdict is known.
    #[must_use]
    pub fn with_verdict(verdict: Verdict, object: Option<String>, source: Source) -> Self {
        Self {
            verdict,
            object,
            source,
            messages: Vec::new(),
            warnings: Vec::new(),
            pinned: Vec::new(),
            recorded: Vec::new(),
            findings: Vec::new(),
            images: Vec::new(),
        }
    }

    /// An object that could not be judged.
    #[must_use]
    pub fn failed(object: Option<String>, source: Source, error: String) -> Self {
        Self { messages: vec![error], ..Self::with_verdict(Verdict::Failed, object, source) }
    }

    /// Whether there is a finding with this code.
    #[must_use]
    pub fn has_finding(&self, code: &str) -> bool {
        self.findings.iter().any(|finding| finding.code == code)
    }
}

/// The number of objects by verdict.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the number of objects with this verdict")]
pub struct Summary {
    pub accepted: usize,
    pub warned: usize,
    pub denied: usize,
    pub skipped: usize,
    pub failed: usize,
}

impl Summary {
    /// Counts the verdicts.
    #[must_use]
    pub fn of(objects: &[JudgedObject]) -> Self {
        let count = |verdict| objects.iter().filter(|object| object.verdict == verdict).count();
        Self {
            accepted: count(Verdict::Accepted),
            warned: count(Verdict::Warned),
            denied: count(Verdict::Denied),
            skipped: count(Verdict::Skipped),
            failed: count(Verdict::Failed),
        }
    }

    /// The exit code for a pipeline.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self { failed: 1.., .. } => ExitCode::from(2),
            Self { denied: 1.., .. } => ExitCode::from(1),
            _ => ExitCode::SUCCESS,
        }
    }
}
