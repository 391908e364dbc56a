//! What scanners found in an image, whoever tells of it and in whatever shape.

use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, Utc};

/// How bad a vulnerability is, from the least to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nobody has said yet.
    Unknown,
    /// Below low: what distributions do not mean to fix.
    Negligible,
    /// Low.
    Low,
    /// Medium, or moderate.
    Medium,
    /// High, or important.
    High,
    /// Critical.
    Critical,
}

impl Severity {
    /// Every severity, the worst first.
    pub const ALL: [Self; 6] = [Self::Critical, Self::High, Self::Medium, Self::Low, Self::Negligible, Self::Unknown];

    /// The severity as settings and messages write it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Critical => "critical",
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
            Self::Negligible => "negligible",
            Self::Unknown => "unknown",
        }
    }

    /// The severity by a scanner's word for it, in any case. Clair's Defcon1 is worse than critical; there is nothing
    /// worse here.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        const WORDS: [(&str, Severity); 10] = [
            ("critical", Severity::Critical),
            ("defcon1", Severity::Critical),
            ("high", Severity::High),
            ("important", Severity::High),
            ("medium", Severity::Medium),
            ("moderate", Severity::Medium),
            ("low", Severity::Low),
            ("negligible", Severity::Negligible),
            ("unknown", Severity::Unknown),
            ("", Severity::Unknown),
        ];
        WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, severity)| *severity)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A vulnerability in one package of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vulnerability {
    /// The name under which the scanner knows it, mostly a CVE id.
    pub id: String,
    /// Other names of it.
    pub aliases: Vec<String>,
    /// The package that it is in, where the scanner says so.
    pub package: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The versions of the package in which it is fixed, where there are any.
    pub fixed_in: Option<String>,
    /// When it was published, where the scanner says so.
    pub published: Option<DateTime<Utc>>,
}

/// A number of vulnerabilities that are counted, but not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How bad they are.
    pub severity: Severity,
    /// How many there are.
    pub all: u64,
    /// How many of them can be fixed. Those of which it is not known count among them.
    pub fixable: u64,
}

/// One scan of an image, as one source tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// Who tells of it, such as `report sbomscanner/5ff6 of SBOMscanner`.
    pub source: String,
    /// When the image was scanned, where the source says so.
    pub at: Option<DateTime<Utc>>,
    /// Why the source wants the image kept out, where it does; in words that read on from the source.
    pub objection: Option<String>,
    /// What was found, and named. Many containers may share it.
    pub named: Rc<[Vulnerability]>,
    /// What was found besides, and only counted.
    pub counted: Vec<Count>,
    /// Whether it says anything of what is in the image. One that does not is no scan result.
    pub is_result: bool,
    /// Whether it is about the very image that is judged, and not about another one in its index. What is bad in one image of
    /// an index counts against all of them; what is good in one says nothing of the others.
    pub is_exact: bool,
    /// Whether it is from a report that people who may write to the workload's own namespace can write, or can choose. It can
    /// keep the image out, and does not satisfy `require`.
    pub is_own: bool,
    /// Whether only the numbers of a report are read, which names what it found. Of what is counted then, it is not known
    /// whether it has a fix, or until when it has to be patched.
    pub is_summary: bool,
}

impl Scan {
    /// A scan result of a report that names what was found.
    #[must_use]
    pub fn of_report(source: String, at: Option<DateTime<Utc>>, named: Vec<Vulnerability>) -> Self {
        Self {
            source,
            at,
            objection: None,
            named: named.into(),
            counted: Vec::new(),
            is_result: true,
            is_exact: true,
            is_own: false,
            is_summary: false,
        }
    }

    /// An objection to the image by a source that does not say what is in it.
    #[must_use]
    pub fn objecting(source: String, objection: String) -> Self {
        Self { is_result: false, objection: Some(objection), ..Self::of_report(source, None, Vec::new()) }
    }
}
