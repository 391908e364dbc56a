//! The annotation: the JSON of OpenShift's `quality.images.openshift.io/vulnerability.<provider>`, with the scanned digest,
//! the number of vulnerabilities with a fix, and the vulnerabilities themselves.

use std::cmp::Reverse;

use anyhow::{Result, bail};
use chrono::{DateTime, NaiveDate, Utc};
use container_patch_policy::rules::scan::result::Severity;
use serde::Serialize;

use super::report::{PackageVulnerability, ScanReport};
use crate::timestamp::rfc3339;

/// The maximum size of one annotation. Those of seven containers fit into one object.
pub(super) const MAX_BYTES: usize = 32 * 1024;

/// An annotation to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    /// One line of JSON.
    pub(super) json: String,
    /// How many vulnerabilities it lists, the worst first. It counts all of them.
    listed: usize,
    /// How many of these it lists with their package, the worst first.
    complete: usize,
}

/// The fields of the annotation.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    name: &'a str,
    timestamp: String,
    /// Left open, since the policy's settings decide whether vulnerabilities are acceptable.
    compliant: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scanner_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    image: Option<&'a str>,
    summary: [Count; 6],
    vulnerabilities: [(); 0],
}

/// A line of the summary. It counts all vulnerabilities of a severity, listed or not.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    label: &'static str,
    /// A number as text, as in OpenShift.
    data: String,
    severity_index: u8,
    fixable: usize,
    reference: &'static str,
}

/// An entry of the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Entry<'a> {
    id: &'a str,
    severity: &'static str,
    /// For people. The policy reads all other fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    package: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<NaiveDate>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    aliases: &'a [String],
}

impl Annotation {
    /// Writes the annotation in at most `max_bytes`. `image` is the digest of the scanned image; the annotation of an
    /// image itself has none, since an image cannot contain its own digest.
    pub(super) fn new(report: &ScanReport, time: DateTime<Utc>, image: Option<&str>, max_bytes: usize) -> Result<Self> {
        let fields = Fields {
            name: &report.scanner,
            timestamp: rfc3339(&time),
            compliant: report.vulnerabilities.is_empty().then_some(true),
            scanner_version: report.version.as_deref(),
            reference: report.reference.as_deref(),
            image,
            summary: Severity::ALL.map(|severity| count(&report.vulnerabilities, severity)),
            vulnerabilities: [],
        };
        let mut json = escaped(&serde_json::to_string(&fields)?);
        let Some(budget) = max_bytes.checked_sub(json.len()) else {
            bail!("its summary alone has {} bytes, but only {max_bytes} bytes are free", json.len());
        };
        let List { items, complete } = list(&report.vulnerabilities, budget)?;
        json.insert_str(json.len() - "]}".len(), &items.join(","));
        Ok(Self { json, listed: items.len(), complete })
    }
}

/// The vulnerabilities that fit.
struct List {
    items: Vec<String>,
    /// How many of them have their package.
    complete: usize,
}

/// Lists as many vulnerabilities as fit, and then adds the packages of as many as fit.
fn list(vulnerabilities: &[PackageVulnerability], mut budget: usize) -> serde_json::Result<List> {
    let sorted = worst_first(vulnerabilities);
    let mut items = Vec::new();
    for vulnerability in &sorted {
        let item = escaped(&serde_json::to_string(&Entry { package: None, ..entry(vulnerability) })?);
        let comma = usize::from(!items.is_empty());
        let Some(left) = budget.checked_sub(comma + item.len()) else { break };
        budget = left;
        items.push(item);
    }
    let mut complete = 0;
    for (item, vulnerability) in items.iter_mut().zip(&sorted) {
        let whole = escaped(&serde_json::to_string(&entry(vulnerability))?);
        let Some(left) = budget.checked_sub(whole.len() - item.len()) else { break };
        budget = left;
        *item = whole;
        complete += 1;
    }
    Ok(List { items, complete })
}

fn count(vulnerabilities: &[PackageVulnerability], severity: Severity) -> Count {
    let found = || vulnerabilities.iter().filter(|vulnerability| vulnerability.severity == severity);
    Count {
        label: severity.as_str(),
        data: found().count().to_string(),
        severity_index: weight(severity),
        fixable: found().filter(|vulnerability| vulnerability.fixed.is_some()).count(),
        reference: "",
    }
}

/// The weight that OpenShift's console sorts by.
fn weight(severity: Severity) -> u8 {
    match severity {
        Severity::Critical => 3,
        Severity::High => 2,
        Severity::Medium => 1,
        Severity::Low | Severity::Negligible | Severity::Unknown => 0,
    }
}

/// The vulnerabilities in the order of the list. A package that an image contains twice is counted and listed twice: the
/// policy takes a count above the number of listed vulnerabilities for unlisted ones.
fn worst_first(vulnerabilities: &[PackageVulnerability]) -> Vec<&PackageVulnerability> {
    let mut sorted: Vec<&PackageVulnerability> = vulnerabilities.iter().collect();
    sorted.sort_by_key(|found| (Reverse(found.severity), found.fixed.is_none(), &found.id, &found.package, *found));
    sorted
}

fn entry(vulnerability: &PackageVulnerability) -> Entry<'_> {
    Entry {
        id: &vulnerability.id,
        severity: vulnerability.severity.as_str(),
        package: Some(&vulnerability.package),
        fixed_version: vulnerability.fixed.as_deref(),
        published: vulnerability.published,
        aliases: &vulnerability.aliases,
    }
}

/// Escapes the characters that YAML, shells or flags of other tools change: `crane` splits a value at a second `=`, and YAML
/// folds lines at U+2028.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if (character == ' ' || character.is_ascii_graphic()) && character != '=' {
            escaped.push(character);
        } else {
            // These characters are inside strings, where JSON escapes UTF-16 units.
            let escapes =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            escaped.push_str(&escapes);
        }
    }
    escaped
}

/// A summary for people, such as `4 critical, 29 high`, with a note on what does not fit into the annotation.
pub(super) fn summary(vulnerabilities: &[PackageVulnerability], annotation: &Annotation) -> String {
    let count = |severity| vulnerabilities.iter().filter(|found| found.severity == severity).count();
    let counts = Severity::ALL.map(|severity| (count(severity), severity));
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, severity)| format!("{count} {severity}")).collect();
    let words = if words.is_empty() { "no vulnerabilities".to_owned() } else { words.join(", ") };
    let (all, Annotation { listed, complete, .. }) = (vulnerabilities.len(), annotation);
    if *listed < all {
        format!(
            "{words}; only the worst {listed} of {all} fit into the annotation, the other {} are only counted: \
             `patchWithin` and exceptions for a vulnerability do not apply to them",
            all - listed
        )
    } else if *complete < all {
        format!("{words}; only the packages of the worst {complete} of {all} fit into the annotation")
    } else {
        words
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use container_patch_policy::rules::scan::result::Severity;
    use serde_json::{Value, json};

    use super::super::report::{PackageVulnerability, ScanReport};
    use super::{Annotation, MAX_BYTES, summary};

    fn vulnerability(id: &str, severity: Severity, fixed: Option<&str>) -> PackageVulnerability {
        PackageVulnerability {
            severity,
            id: id.to_owned(),
            package: "openssl".to_owned(),
            fixed: fixed.map(str::to_owned),
            published: None,
            aliases: Vec::new(),
        }
    }

    fn report(vulnerabilities: Vec<PackageVulnerability>) -> ScanReport {
        ScanReport {
            scanner: "trivy".to_owned(),
            version: Some("0.67.2".to_owned()),
            time: None,
            reference: Some("shop/web:1.4".to_owned()),
            names: vec![],
            manifest: None,
            config: None,
            vulnerabilities,
        }
    }

    fn time() -> DateTime<Utc> {
        "2026-11-19T08:00:00.9Z".parse().unwrap()
    }

    #[test]
    fn the_annotation_is_one_line_in_a_fixed_order() {
        let mut worst = vulnerability("CVE-2026-0001", Severity::Critical, Some("3.0.8"));
        worst.published = "2026-11-01".parse().ok();
        worst.aliases = vec!["GHSA-1".to_owned()];
        let report = report(vec![vulnerability("CVE-2026-0002", Severity::Unknown, None), worst]);
        let digest = "sha256:d0";
        let zero = |label, index| {
            format!(r#"{{"label":"{label}","data":"0","severityIndex":{index},"fixable":0,"reference":""}}"#)
        };
        assert_eq!(
            Annotation::new(&report, time(), Some(digest), MAX_BYTES).unwrap().json,
            [
                r#"{"name":"trivy","timestamp":"2026-11-19T08:00:00Z","compliant":null,"scannerVersion":"0.67.2","#,
                r#""reference":"shop/web:1.4","image":"sha256:d0","summary":["#,
                r#"{"label":"critical","data":"1","severityIndex":3,"fixable":1,"reference":""},"#,
                &[zero("high", 2), zero("medium", 1), zero("low", 0), zero("negligible", 0)].join(","),
                r#",{"label":"unknown","data":"1","severityIndex":0,"fixable":0,"reference":""}],"vulnerabilities":["#,
                r#"{"id":"CVE-2026-0001","severity":"critical","package":"openssl","fixedVersion":"3.0.8","#,
                r#""published":"2026-11-01","aliases":["GHSA-1"]},"#,
                r#"{"id":"CVE-2026-0002","severity":"unknown","package":"openssl"}]}"#,
            ]
            .concat()
        );
        let annotation = Annotation::new(&report, time(), None, MAX_BYTES).unwrap();
        assert_eq!(summary(&report.vulnerabilities, &annotation), "1 critical, 1 unknown");
    }

    #[test]
    fn an_image_without_vulnerabilities_is_compliant() {
        let annotation = Annotation::new(&report(vec![]), time(), None, MAX_BYTES).unwrap();
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!((&json["compliant"], &json["vulnerabilities"], json.get("image")), (&json!(true), &json!([]), None));
        assert_eq!(summary(&[], &annotation), "no vulnerabilities");
    }

    #[test]
    fn the_worst_vulnerabilities_come_first_and_fixable_ones_before_others() {
        let report = report(vec![
            vulnerability("d", Severity::Low, Some("1")),
            vulnerability("b", Severity::High, None),
            vulnerability("c", Severity::High, Some("1")),
            vulnerability("a", Severity::High, None),
            vulnerability("b", Severity::High, None),
        ]);
        let json: Value =
            serde_json::from_str(&Annotation::new(&report, time(), None, MAX_BYTES).unwrap().json).unwrap();
        let listed: Vec<_> = json["vulnerabilities"].as_array().unwrap().iter().map(|found| &found["id"]).collect();
        assert_eq!(listed, ["c", "a", "b", "b", "d"], "a vulnerability that is counted twice is listed twice");
        assert_eq!(json["summary"][1]["data"], "4");
    }

    fn many(number: usize) -> ScanReport {
        report(
            (0..number)
                .map(|number| vulnerability(&format!("CVE-2026-{number:04}"), Severity::High, Some("1")))
                .collect(),
        )
    }

    #[test]
    fn a_list_that_does_not_fit_is_cut_and_the_summary_counts_all() {
        let report = many(1000);
        for max_bytes in [MAX_BYTES, 4096] {
            let annotation = Annotation::new(&report, time(), None, max_bytes).unwrap();
            assert!((max_bytes - 100..=max_bytes).contains(&annotation.json.len()), "{}", annotation.json.len());
            let json: Value = serde_json::from_str(&annotation.json).unwrap();
            let listed = json["vulnerabilities"].as_array().unwrap().len();
            assert_eq!(json["summary"][1]["data"], "1000");
            assert_eq!(
                summary(&report.vulnerabilities, &annotation),
                format!(
                    "1000 high; only the worst {listed} of 1000 fit into the annotation, the other {} are only counted: \
                     `patchWithin` and exceptions for a vulnerability do not apply to them",
                    1000 - listed
                )
            );
        }
        assert_eq!(
            Annotation::new(&report, time(), None, 100).unwrap_err().to_string(),
            "its summary alone has 612 bytes, but only 100 bytes are free"
        );
    }

    #[test]
    fn packages_are_left_out_before_vulnerabilities_are() {
        let mut report = many(390);
        for vulnerability in &mut report.vulnerabilities {
            vulnerability.aliases = vec!["GHSA-1".to_owned()];
        }
        let annotation = Annotation::new(&report, time(), None, MAX_BYTES).unwrap();
        assert!((MAX_BYTES - 100..=MAX_BYTES).contains(&annotation.json.len()), "{}", annotation.json.len());
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        let listed = json["vulnerabilities"].as_array().unwrap();
        let with = |key: &str| listed.iter().take_while(|found| found.get(key).is_some()).count();
        let packages = with("package");
        assert_eq!((listed.len(), with("fixedVersion"), with("aliases")), (390, 390, 390));
        assert!((1..390).contains(&packages), "{packages}");
        assert_eq!(
            summary(&report.vulnerabilities, &annotation),
            format!("390 high; only the packages of the worst {packages} of 390 fit into the annotation")
        );
    }

    #[test]
    fn characters_that_other_tools_change_are_escaped() {
        let odd = "a=b \u{2028} é 😀 \u{7f} 'q'";
        let annotation =
            Annotation::new(&report(vec![vulnerability(odd, Severity::Low, None)]), time(), None, MAX_BYTES).unwrap();
        assert!(annotation.json.chars().all(|c| (c == ' ' || c.is_ascii_graphic()) && c != '='));
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!(json["vulnerabilities"][0]["id"], odd);
    }
}
