//! A scanner's report on one image, whichever scanner wrote it, and how the fields of reports are read.

use anyhow::{Context as _, Result, anyhow};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use container_patch_policy::rules::scan::result::Severity;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What a report says about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanReport {
    /// The scanner's name in lower case, as the annotation has it.
    pub(super) scanner: String,
    /// The scanner's version, if the report has one.
    pub(super) version: Option<String>,
    /// When the image was scanned, if the report says so.
    pub(super) time: Option<DateTime<Utc>>,
    /// The name of the scanned image in the report.
    pub(super) reference: Option<String>,
    /// Every reference to the image in the report: the one that was requested, its tags, its digests in repositories.
    pub(super) names: Vec<String>,
    /// The digest of the image's manifest, if the report has it apart from a repository.
    pub(super) manifest: Option<String>,
    /// The digest of the image's configuration.
    pub(super) config: Option<String>,
    /// One entry for each vulnerability of each package.
    pub(super) vulnerabilities: Vec<PackageVulnerability>,
}

/// A vulnerability of a package.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PackageVulnerability {
    pub(super) severity: Severity,
    pub(super) id: String,
    pub(super) package: String,
    /// The version, or versions, with the fix, if there is one.
    pub(super) fixed: Option<String>,
    /// The day on which it was published.
    pub(super) published: Option<NaiveDate>,
    /// Its other names.
    pub(super) aliases: Vec<String>,
}

/// Reads a scanner's word for a severity, as the policy does. An empty word is an unknown severity.
pub(super) fn read_severity(word: &str, vulnerability: &str) -> Result<Severity> {
    Severity::of(word).with_context(|| {
        let known = Severity::ALL.map(Severity::as_str).join(", ");
        format!("{vulnerability} has the unknown severity `{word}`; expected one of {known}")
    })
}

/// The severity of a CVSS score, by the rating scale of CVSS 3 and 4.
pub(super) fn severity_of_score(score: f64) -> Severity {
    match score {
        9.0.. => Severity::Critical,
        7.0.. => Severity::High,
        4.0.. => Severity::Medium,
        score if score > 0.0 => Severity::Low,
        _ => Severity::Negligible,
    }
}

/// Reads a report of a known format. An error names the format, `recognised`, and the field.
pub(super) fn deserialize<T: DeserializeOwned>(report: Value, recognised: &str) -> Result<T> {
    serde_path_to_error::deserialize(report).map_err(|error| match error.path().to_string().as_str() {
        "." => anyhow!("this looks like {recognised}, but: {}", error.inner()),
        path => anyhow!("this looks like {recognised}, but in `{path}`: {}", error.inner()),
    })
}

/// Reads the time of a scan. Go's zero time and an empty text mean that the time is unknown.
pub(super) fn read_time(text: Option<&str>, field: &str) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text).with_context(|| {
        format!("invalid time in `{field}`: `{text}`; expected RFC 3339, such as 2026-11-19T08:00:00Z")
    })?;
    Ok(Some(time.to_utc()).filter(|time| time.year() > 1))
}

/// Reads the day of a date or a time.
pub(super) fn read_day(text: Option<&str>) -> Option<NaiveDate> {
    text?.get(..10)?.parse().ok().filter(|day: &NaiveDate| day.year() > 1)
}

/// Takes an empty text for a missing one.
pub(super) fn non_empty(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Severity, read_day, read_severity, read_time, severity_of_score};

    #[test]
    fn severities_are_read_as_the_policy_reads_them_and_unknown_words_are_errors() {
        for (word, expected) in [
            ("CRITICAL", Severity::Critical),
            ("Defcon1", Severity::Critical),
            ("Important", Severity::High),
            ("moderate", Severity::Medium),
            ("Negligible", Severity::Negligible),
            ("", Severity::Unknown),
        ] {
            assert_eq!(read_severity(word, "CVE-1").unwrap(), expected, "{word}");
        }
        assert_eq!(
            read_severity("SEVERE", "CVE-1").unwrap_err().to_string(),
            "CVE-1 has the unknown severity `SEVERE`; expected one of critical, high, medium, low, negligible, unknown"
        );
    }

    #[test]
    fn scores_are_rated_as_cvss_rates_them() {
        let rated = [10.0, 9.0, 8.9, 7.0, 6.9, 4.0, 3.9, 0.1, 0.0].map(|score| severity_of_score(score).as_str());
        assert_eq!(rated, ["critical", "critical", "high", "high", "medium", "medium", "low", "low", "negligible"]);
    }

    #[test]
    fn the_zero_time_of_go_is_an_unknown_time() {
        let read = |text| read_time(Some(text), "CreatedAt");
        assert_eq!(read("0001-01-01T00:00:00Z").unwrap(), None);
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("2026-11-19T09:00:00.123456789+01:00").unwrap().unwrap().timestamp(), 1_795_075_200);
        let error = read("yesterday").unwrap_err().to_string();
        assert!(error.starts_with("invalid time in `CreatedAt`: `yesterday`"), "{error}");
        assert_eq!(read_day(Some("0001-01-01T00:00:00Z")), None);
        assert_eq!(read_day(Some("2026-11-01T17:15:00Z")).unwrap().to_string(), "2026-11-01");
        assert_eq!(read_day(Some("soon")), None);
    }
}
