//! The annotation that is written: the JSON of OpenShift's `quality.images.openshift.io/vulnerability.<provider>`, and
//! besides it the digest that was scanned, how many findings have a fix, and the findings themselves.

use std::cmp::Reverse;

use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use container_patch_policy::evidence::scan::Severity;
use serde::Serialize;

use super::scan::{Finding, Scan};

/// The most bytes of one annotation. Kubernetes holds all annotations of an object to 256 KiB together.
const MOST: usize = 16 * 1024;

/// An annotation, ready to be written.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    /// One line of JSON.
    pub(super) json: String,
    /// How many findings it lists. It counts all of them.
    pub(super) listed: usize,
    /// How many there are to list.
    pub(super) listable: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Fields<'a> {
    name: &'a str,
    timestamp: String,
    /// Whether findings are acceptable is for the policy's settings to say.
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

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Count {
    label: &'static str,
    /// A text, as OpenShift has it.
    data: String,
    severity_index: u8,
    fixable: usize,
    reference: &'static str,
}

#[derive(Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
struct Vulnerability<'a> {
    id: &'a str,
    severity: &'static str,
    package: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    fixed_version: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    published: Option<NaiveDate>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    aliases: &'a [String],
}

impl Annotation {
    /// Writes the annotation for a scan of that time, of the image with that digest. An image's own annotation has none:
    /// an image cannot hold its own digest.
    pub(super) fn new(scan: &Scan, time: DateTime<Utc>, image: Option<&str>) -> serde_json::Result<Self> {
        let fields = Fields {
            name: &scan.scanner,
            timestamp: time.to_rfc3339_opts(SecondsFormat::Secs, true),
            compliant: scan.findings.is_empty().then_some(true),
            scanner_version: scan.version.as_deref(),
            reference: scan.reference.as_deref(),
            image,
            summary: Severity::ALL.map(|severity| count(&scan.findings, severity)),
            vulnerabilities: [],
        };
        let mut json = plain(&serde_json::to_string(&fields)?);
        let findings = worst_first(&scan.findings);
        let end = json.split_off(json.len() - "]}".len());
        let mut listed = 0;
        for finding in &findings {
            let item = plain(&serde_json::to_string(&vulnerability(finding))?);
            if json.len() + ",".len() + item.len() + end.len() > MOST {
                break;
            }
            if listed > 0 {
                json.push(',');
            }
            json.push_str(&item);
            listed += 1;
        }
        json.push_str(&end);
        Ok(Self { json, listed, listable: findings.len() })
    }
}

fn count(findings: &[Finding], severity: Severity) -> Count {
    let found = || findings.iter().filter(|finding| finding.severity == severity);
    Count {
        label: severity.as_str(),
        data: found().count().to_string(),
        severity_index: weight(severity),
        fixable: found().filter(|finding| finding.fixed.is_some()).count(),
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

/// The findings in the order of the list, each once: a package that lies in an image twice is counted twice, but there
/// is nothing more to say of it.
fn worst_first(findings: &[Finding]) -> Vec<&Finding> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| {
        (Reverse(finding.severity), finding.fixed.is_none(), &finding.id, &finding.package, *finding)
    });
    sorted.dedup();
    sorted
}

fn vulnerability(finding: &Finding) -> Vulnerability<'_> {
    Vulnerability {
        id: &finding.id,
        severity: finding.severity.as_str(),
        package: &finding.package,
        fixed_version: finding.fixed.as_deref(),
        published: finding.published,
        aliases: &finding.aliases,
    }
}

/// The same JSON in characters that pass through YAML, shells and the flags of other tools: `crane` takes a value with a
/// second `=` for a list of annotations, and YAML folds lines at U+2028.
fn plain(json: &str) -> String {
    let mut plain = String::with_capacity(json.len());
    for character in json.chars() {
        if (character == ' ' || character.is_ascii_graphic()) && character != '=' {
            plain.push(character);
        } else {
            // All of these stand in strings, where JSON knows them by their UTF-16 units.
            let escapes =
                character.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}")).collect::<String>();
            plain.push_str(&escapes);
        }
    }
    plain
}

/// The findings in words, such as `4 critical, 29 high`, and how many of them the annotation lists if not all.
pub(super) fn in_words(findings: &[Finding], annotation: &Annotation) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = Severity::ALL.map(|severity| (count(severity), severity.as_str()));
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, label)| format!("{count} {label}")).collect();
    let words = if words.is_empty() { "no vulnerabilities".to_owned() } else { words.join(", ") };
    let Annotation { listed, listable, .. } = annotation;
    if listed == listable { words } else { format!("{words}; lists the worst {listed} of {listable}, and counts all") }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use container_patch_policy::evidence::scan::Severity;
    use serde_json::{Value, json};

    use super::super::scan::{Finding, Scan};
    use super::{Annotation, MOST, in_words};

    fn finding(id: &str, severity: Severity, fixed: Option<&str>) -> Finding {
        Finding {
            severity,
            id: id.to_owned(),
            package: "openssl".to_owned(),
            fixed: fixed.map(str::to_owned),
            published: None,
            aliases: Vec::new(),
        }
    }

    fn scan(findings: Vec<Finding>) -> Scan {
        Scan {
            scanner: "trivy".to_owned(),
            version: Some("0.67.2".to_owned()),
            time: None,
            reference: Some("shop/web:1.4".to_owned()),
            names: vec![],
            manifest: None,
            config: None,
            findings,
        }
    }

    fn time() -> DateTime<Utc> {
        "2026-11-19T08:00:00.9Z".parse().unwrap()
    }

    #[test]
    fn the_annotation_is_one_line_in_a_fixed_order() {
        let mut worst = finding("CVE-2026-0001", Severity::Critical, Some("3.0.8"));
        worst.published = "2026-11-01".parse().ok();
        worst.aliases = vec!["GHSA-1".to_owned()];
        let scan = scan(vec![finding("CVE-2026-0002", Severity::Unknown, None), worst]);
        let digest = "sha256:d0";
        let zero = |label, index| {
            format!(r#"{{"label":"{label}","data":"0","severityIndex":{index},"fixable":0,"reference":""}}"#)
        };
        assert_eq!(
            Annotation::new(&scan, time(), Some(digest)).unwrap().json,
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
        let annotation = Annotation::new(&scan, time(), None).unwrap();
        assert_eq!(in_words(&scan.findings, &annotation), "1 critical, 1 unknown");
    }

    #[test]
    fn an_image_in_which_nothing_was_found_is_compliant() {
        let annotation = Annotation::new(&scan(vec![]), time(), None).unwrap();
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!((&json["compliant"], &json["vulnerabilities"], json.get("image")), (&json!(true), &json!([]), None));
        assert_eq!(in_words(&[], &annotation), "no vulnerabilities");
    }

    #[test]
    fn the_worst_come_first_and_those_with_a_fix_before_those_without() {
        let scan = scan(vec![
            finding("d", Severity::Low, Some("1")),
            finding("b", Severity::High, None),
            finding("c", Severity::High, Some("1")),
            finding("a", Severity::High, None),
            finding("b", Severity::High, None),
        ]);
        let json: Value = serde_json::from_str(&Annotation::new(&scan, time(), None).unwrap().json).unwrap();
        let listed: Vec<_> = json["vulnerabilities"].as_array().unwrap().iter().map(|found| &found["id"]).collect();
        assert_eq!(listed, ["c", "a", "b", "d"]);
        assert_eq!(json["summary"][1]["data"], "4");
    }

    #[test]
    fn a_long_list_is_cut_and_the_summary_counts_all() {
        let many = (0..1000).map(|number| finding(&format!("CVE-2026-{number:04}"), Severity::High, None)).collect();
        let scan = scan(many);
        let annotation = Annotation::new(&scan, time(), None).unwrap();
        assert!((MOST - 100..=MOST).contains(&annotation.json.len()), "{}", annotation.json.len());
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!(json["vulnerabilities"].as_array().unwrap().len(), annotation.listed);
        assert_eq!((annotation.listable, &json["summary"][1]["data"]), (1000, &json!("1000")));
        let words = in_words(&scan.findings, &annotation);
        assert!(
            words.starts_with("1000 high; lists the worst ") && words.ends_with(" of 1000, and counts all"),
            "{words}"
        );
    }

    #[test]
    fn no_character_needs_care_of_those_who_pass_it_on() {
        let odd = "a=b \u{2028} é 😀 \u{7f} 'q'";
        let annotation = Annotation::new(&scan(vec![finding(odd, Severity::Low, None)]), time(), None).unwrap();
        assert!(annotation.json.chars().all(|c| (c == ' ' || c.is_ascii_graphic()) && c != '='));
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!(json["vulnerabilities"][0]["id"], odd);
    }
}
