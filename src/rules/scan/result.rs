//! Scan results of an image, whatever their source and format.

use std::fmt;
use std::rc::Rc;

use chrono::{DateTime, Utc};

/// How bad a vulnerability is, from the least to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Not rated yet.
    Unknown,
    /// Below low: distributions do not intend to fix it.
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

    /// The severity by a scanner's word for it, in any case. Clair's Defcon1 is worse than critical, which is the worst severity
    /// here.
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
    /// The scanner's id for it, usually a CVE id.
    pub id: String,
    /// Its other ids.
    pub aliases: Vec<String>,
    /// The package that it is in, if the scanner says so.
    pub package: Option<String>,
    /// How bad it is.
    pub severity: Severity,
    /// The versions of the package in which it is fixed, if any.
    pub fixed_in: Option<String>,
    /// When it was published, if the scanner says so.
    pub published: Option<DateTime<Utc>>,
}

/// A number of vulnerabilities that are counted but not named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// How bad they are.
    pub severity: Severity,
    /// How many there are.
    pub all: u64,
    /// How many of them have a fix. Includes those for which this is not known.
    pub fixable: u64,
    /// Whether the source says how many have a fix.
    pub is_fixable_known: bool,
}

/// One scan of an image, from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// The source, such as `report sbomscanner/5ff6 of SBOMscanner`.
    pub source: String,
    /// When the image was scanned, if the source says so.
    pub at: Option<DateTime<Utc>>,
    /// Why the source flags the image, if it does. It continues a sentence that begins with the source.
    pub objection: Option<String>,
    /// The vulnerabilities that are named. Many containers may share them.
    pub named: Rc<[Vulnerability]>,
    /// Further vulnerabilities, which are only counted.
    pub counted: Vec<Count>,
    /// Whether it says what is in the image. Otherwise it does not count as a scan result.
    pub is_result: bool,
    /// Whether it is about the image that is judged, and not about another one in its index. Vulnerabilities of one image of an
    /// index count against all of them; a clean result is for one image only.
    pub is_exact: bool,
    /// Whether people who may write to the workload's own namespace can write or choose the report. It counts against the image, but
    /// does not satisfy `require`.
    pub is_own: bool,
    /// Whether only the summary of a report is read. It does not say by when vulnerabilities must be patched.
    pub is_summary: bool,
}

impl Scan {
    /// The scan result of a report that names the vulnerabilities.
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

    /// A flag from a source that does not say what is in the image.
    #[must_use]
    pub fn objecting(source: String, objection: String) -> Self {
        Self { is_result: false, objection: Some(objection), ..Self::of_report(source, None, Vec::new()) }
    }
}
