//! The verdicts about the objects of manifests.

use std::fmt;
use std::process::ExitCode;

use serde::Serialize;
use serde_json::{Value, json};

use crate::changes::Record;

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
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JudgedObject {
    /// The verdict.
    pub verdict: Verdict,
    /// The object, such as `Deployment default/web`. None if it cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// File and line.
    pub source: String,
    /// Why it is denied, or could not be judged: one line for each reason.
    pub messages: Vec<String>,
    /// The warnings.
    pub warnings: Vec<String>,
    /// The images as the policy would rewrite them.
    pub pinned: Vec<String>,
    /// The records of digests that the policy would write into pod templates, without those that stay as they are.
    pub recorded: Vec<Record>,
    /// The findings, as in the policy's audit annotation.
    pub findings: Value,
    /// The judged images, as in the policy's audit annotation.
    pub images: Value,
}

impl JudgedObject {
    /// An object about which nothing but the verdict is known.
    #[must_use]
    pub fn with_verdict(verdict: Verdict, object: Option<String>, source: String) -> Self {
        Self {
            verdict,
            object,
            source,
            messages: Vec::new(),
            warnings: Vec::new(),
            pinned: Vec::new(),
            recorded: Vec::new(),
            findings: json!([]),
            images: json!([]),
        }
    }

    /// An object that could not be judged.
    #[must_use]
    pub fn failed(object: Option<String>, source: String, error: String) -> Self {
        Self { messages: vec![error], ..Self::with_verdict(Verdict::Failed, object, source) }
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
