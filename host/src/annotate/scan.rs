//! What a scanner found in an image, whichever scanner it was, and how its report is recognised.

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, Datelike as _, NaiveDate, Utc};
use container_patch_policy::evidence::scan::Severity;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{clair, grype, sarif, trivy};
use crate::admission::kind_of;

/// What is understood, for those who gave something else.
const UNDERSTOOD: &str = "what is understood: Trivy (`trivy image --format json IMAGE`), Grype (`grype -o json IMAGE`), \
    Clair (`clairctl report --out json IMAGE`), and SARIF that says severities, such as Trivy's and Grype's";

/// A scan of one image, as the scanner's report tells of it. The policy's type of this name is what it reads of an
/// annotation, or of a report in the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scan {
    /// The scanner's name in lower case, as it stands in the annotation.
    pub(super) scanner: String,
    /// The scanner's version, where the report says it.
    pub(super) version: Option<String>,
    /// When the scan was made, where the report says it.
    pub(super) time: Option<DateTime<Utc>>,
    /// What was scanned, as the report names it.
    pub(super) reference: Option<String>,
    /// Every reference to the image in the report: what was asked for, its tags, its digests in repositories.
    pub(super) names: Vec<String>,
    /// The digest of the image's manifest, where it stands in no repository.
    pub(super) manifest: Option<String>,
    /// The digest of the image's configuration.
    pub(super) config: Option<String>,
    /// What was found: one finding for each vulnerability of each package.
    pub(super) findings: Vec<Finding>,
}

/// A vulnerability of a package, as the scanner's report tells of it. The policy calls this a vulnerability, and what
/// it says of an image a finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Finding {
    pub(super) severity: Severity,
    pub(super) id: String,
    pub(super) package: String,
    /// The version, or versions, with the fix, where there is one.
    pub(super) fixed: Option<String>,
    /// The day on which it was published.
    pub(super) published: Option<NaiveDate>,
    /// Its other names.
    pub(super) aliases: Vec<String>,
}

/// Reads a scanner's word for how bad a vulnerability is, as the policy does. No word at all is an unknown severity.
pub(super) fn severity_of(word: &str, vulnerability: &str) -> Result<Severity> {
    Severity::of(word).with_context(|| {
        let known = Severity::ALL.map(Severity::as_str).join(", ");
        format!("{vulnerability} has the severity `{word}`, which is none of {known}")
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

/// Reads a scanner's report. Which scanner wrote it is told by its shape.
pub(super) fn read(text: &str) -> Result<Scan> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let values = serde_json::Deserializer::from_str(text).into_iter().collect::<Result<Vec<Value>, _>>();
    let mut values = values.map_err(|error| anyhow!("this is no JSON: {error}; {UNDERSTOOD}"))?;
    if values.len() > 1 && values.iter().all(|value| value.is_null() || clair::is_report(value)) {
        bail!(
            "this holds Clair's reports on {} images, and it is not clear which one is meant; name one image to \
             clairctl",
            values.len()
        );
    }
    match (values.pop(), values.is_empty()) {
        (Some(value), true) => recognise(value),
        (Some(_), false) => bail!("this holds several JSON documents; {UNDERSTOOD}"),
        (None, _) => bail!("this is empty; {UNDERSTOOD}"),
    }
}

fn recognise(value: Value) -> Result<Scan> {
    let has = |keys: &[&str]| keys.iter().all(|key| value.get(key).is_some());
    if trivy::is_report(&value) {
        trivy::read(value)
    } else if grype::is_report(&value) {
        grype::read(value)
    } else if clair::is_report(&value) {
        clair::read(value)
    } else if sarif::is_report(&value) {
        sarif::read(value)
    } else if value["bomFormat"] == "CycloneDX" {
        bail!("this is a CycloneDX bill of materials, which does not say how bad vulnerabilities are; {UNDERSTOOD}")
    } else if has(&["spdxVersion"]) {
        bail!("this is an SPDX bill of materials, which holds no vulnerabilities; {UNDERSTOOD}")
    } else if has(&["artifacts", "artifactRelationships"]) {
        bail!(
            "this is Syft's bill of materials, which holds no vulnerabilities; give it to Grype: `grype -o json IMAGE`"
        )
    } else if has(&["ClusterName"]) {
        bail!("this is Trivy's report on a cluster; scan one image: `trivy image --format json IMAGE`")
    } else if value[0].get("Target").is_some() {
        bail!(
            "this is a report of a Trivy before 0.20 (a list of targets without SchemaVersion); scan with a newer one"
        )
    } else if value.is_null() {
        bail!("this is null, which clairctl prints when Clair has no report on the image; {UNDERSTOOD}")
    } else if let Some(fields) = value.as_object() {
        let fields = fields.keys().take(8).map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        bail!("no scanner is recognised in an object with the fields {fields}; {UNDERSTOOD}")
    } else {
        bail!("no scanner is recognised in {}; {UNDERSTOOD}", kind_of(&value))
    }
}

/// Reads what a report that was recognised is known to hold. The error says by what it was recognised.
pub(super) fn shaped<T: DeserializeOwned>(report: Value, recognised: &str) -> Result<T> {
    serde_path_to_error::deserialize(report).map_err(|error| match error.path().to_string().as_str() {
        "." => anyhow!("this looks like {recognised}, but: {}", error.inner()),
        path => anyhow!("this looks like {recognised}, but in `{path}`: {}", error.inner()),
    })
}

/// Reads the time of a scan. Go's zero time and an empty text mean that there is none.
pub(super) fn time(text: Option<&str>, field: &str) -> Result<Option<DateTime<Utc>>> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let time = DateTime::parse_from_rfc3339(text)
        .with_context(|| format!("`{field}` is `{text}`, which is no RFC 3339 time such as 2026-11-19T08:00:00Z"))?;
    Ok(Some(time.to_utc()).filter(|time| time.year() > 1))
}

/// Reads the day of a date or a time, where there is one.
pub(super) fn day(text: Option<&str>) -> Option<NaiveDate> {
    text?.get(..10)?.parse().ok().filter(|day: &NaiveDate| day.year() > 1)
}

/// A text that says something.
pub(super) fn said(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.trim().is_empty())
}

#[cfg(test)]
mod tests {
    use super::{Severity, day, read, severity_of, severity_of_score, time};

    fn error(text: &str) -> String {
        format!("{:#}", read(text).unwrap_err())
    }

    #[test]
    fn what_is_no_report_is_told_what_is_understood() {
        for text in ["", "VULNERABILITIES: 4", "[1]", "7", "{\"a\": 1} {\"b\": 2}", "{\"results\": [], \"version\": 3}"]
        {
            let error = error(text);
            assert!(error.contains("Trivy (`trivy image --format json IMAGE`), Grype"), "{text}: {error}");
        }
        assert!(error("{\"b\": 1, \"a\": 2}").contains("an object with the fields `a`, `b`;"));
        assert!(error("{\"a\":").starts_with("this is no JSON: EOF"));
    }

    #[test]
    fn reports_of_another_kind_are_called_by_their_name() {
        assert!(error("{\"bomFormat\": \"CycloneDX\"}").starts_with("this is a CycloneDX bill of materials"));
        assert!(error("{\"spdxVersion\": \"SPDX-2.3\"}").starts_with("this is an SPDX bill of materials"));
        assert!(error("{\"artifacts\": [], \"artifactRelationships\": []}").contains("`grype -o json IMAGE`"));
        assert!(error("{\"ClusterName\": \"\", \"Resources\": []}").contains("report on a cluster"));
        assert!(error("[{\"Target\": \"alpine\"}]").contains("before 0.20"));
        assert!(error("null").contains("clairctl prints"));
    }

    #[test]
    fn severities_are_read_as_the_policy_reads_them_and_no_others_are_guessed() {
        for (word, expected) in [
            ("CRITICAL", Severity::Critical),
            ("Defcon1", Severity::Critical),
            ("Important", Severity::High),
            ("moderate", Severity::Medium),
            ("Negligible", Severity::Negligible),
            ("", Severity::Unknown),
        ] {
            assert_eq!(severity_of(word, "CVE-1").unwrap(), expected, "{word}");
        }
        assert_eq!(
            severity_of("SEVERE", "CVE-1").unwrap_err().to_string(),
            "CVE-1 has the severity `SEVERE`, which is none of critical, high, medium, low, negligible, unknown"
        );
    }

    #[test]
    fn scores_are_rated_as_cvss_rates_them() {
        let rated = [10.0, 9.0, 8.9, 7.0, 6.9, 4.0, 3.9, 0.1, 0.0].map(|score| severity_of_score(score).as_str());
        assert_eq!(rated, ["critical", "critical", "high", "high", "medium", "medium", "low", "low", "negligible"]);
    }

    #[test]
    fn a_time_that_go_never_set_is_no_time() {
        assert_eq!(time(Some("0001-01-01T00:00:00Z"), "CreatedAt").unwrap(), None);
        assert_eq!(time(Some(""), "CreatedAt").unwrap(), None);
        assert_eq!(
            time(Some("2026-11-19T09:00:00.123456789+01:00"), "CreatedAt").unwrap().unwrap().timestamp(),
            1_795_075_200
        );
        assert!(
            time(Some("yesterday"), "CreatedAt").unwrap_err().to_string().starts_with("`CreatedAt` is `yesterday`")
        );
        assert_eq!(day(Some("0001-01-01T00:00:00Z")), None);
        assert_eq!(day(Some("2026-11-01T17:15:00Z")).unwrap().to_string(), "2026-11-01");
        assert_eq!(day(Some("soon")), None);
    }
}
