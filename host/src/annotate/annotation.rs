//! The annotation that is written: the JSON of OpenShift's `quality.images.openshift.io/vulnerability.<provider>`, and
//! besides it the digest that was scanned, how many findings have a fix, and the findings themselves.

use std::cmp::Reverse;

use anyhow::{Result, bail};
use chrono::{DateTime, NaiveDate, SecondsFormat, Utc};
use container_patch_policy::evidence::scan::Severity;
use serde::Serialize;

use super::scan::{Finding, Scan};

/// The most bytes of one annotation, so that those of seven containers fit in one object.
pub(super) const MOST: usize = 32 * 1024;

/// An annotation as it is written. The policy's types that are called as those in here are what it reads of one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Annotation {
    /// One line of JSON.
    pub(super) json: String,
    /// How many findings it lists, the worst first. It counts all of them.
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

/// A line of the summary: all findings of a severity, whether they are listed or not.
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

/// A finding as it stands in the list.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Vulnerability<'a> {
    id: &'a str,
    severity: &'static str,
    /// For readers alone: everything else here can change the verdict.
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
    /// Writes the annotation for a scan of that time, of the image with that digest, in at most so many bytes. An
    /// image's own annotation has no digest: an image cannot hold its own.
    pub(super) fn new(scan: &Scan, time: DateTime<Utc>, image: Option<&str>, most: usize) -> Result<Self> {
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
        let Some(room) = most.checked_sub(json.len()) else {
            bail!("its summary alone has {} bytes, and there is room for {most}", json.len());
        };
        let List { items, complete } = list(&scan.findings, room)?;
        json.insert_str(json.len() - "]}".len(), &items.join(","));
        Ok(Self { json, listed: items.len(), complete })
    }
}

/// The list of findings, as far as there is room.
struct List {
    items: Vec<String>,
    /// How many of them say all.
    complete: usize,
}

/// Lists as many findings as there is room for, and then the packages of as many as there is room for.
fn list(findings: &[Finding], mut room: usize) -> serde_json::Result<List> {
    let sorted = worst_first(findings);
    let mut items = Vec::new();
    for finding in &sorted {
        let item = plain(&serde_json::to_string(&Vulnerability { package: None, ..vulnerability(finding) })?);
        let comma = usize::from(!items.is_empty());
        let Some(left) = room.checked_sub(comma + item.len()) else { break };
        room = left;
        items.push(item);
    }
    let mut complete = 0;
    for (item, finding) in items.iter_mut().zip(&sorted) {
        let whole = plain(&serde_json::to_string(&vulnerability(finding))?);
        let Some(left) = room.checked_sub(whole.len() - item.len()) else { break };
        room = left;
        *item = whole;
        complete += 1;
    }
    Ok(List { items, complete })
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

/// The findings in the order of the list. A package that lies in an image twice is listed twice, as it is counted: the
/// policy takes what is counted and not listed for something else.
fn worst_first(findings: &[Finding]) -> Vec<&Finding> {
    let mut sorted: Vec<&Finding> = findings.iter().collect();
    sorted.sort_by_key(|finding| {
        (Reverse(finding.severity), finding.fixed.is_none(), &finding.id, &finding.package, *finding)
    });
    sorted
}

fn vulnerability(finding: &Finding) -> Vulnerability<'_> {
    Vulnerability {
        id: &finding.id,
        severity: finding.severity.as_str(),
        package: Some(&finding.package),
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

/// The findings in words, such as `4 critical, 29 high`, and what the annotation leaves out of them.
pub(super) fn in_words(findings: &[Finding], annotation: &Annotation) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = Severity::ALL.map(|severity| (count(severity), severity));
    let words: Vec<String> =
        counts.iter().filter(|(count, _)| *count > 0).map(|(count, severity)| format!("{count} {severity}")).collect();
    let words = if words.is_empty() { "no vulnerabilities".to_owned() } else { words.join(", ") };
    let (all, Annotation { listed, complete, .. }) = (findings.len(), annotation);
    if *listed < all {
        format!(
            "{words}; there is room for the worst {listed} of {all}, the other {} are only counted: neither \
             `patchWithin` nor an exception for a vulnerability reaches them",
            all - listed
        )
    } else if *complete < all {
        format!("{words}; there is room for the packages of the worst {complete} of {all}")
    } else {
        words
    }
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
            Annotation::new(&scan, time(), Some(digest), MOST).unwrap().json,
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
        let annotation = Annotation::new(&scan, time(), None, MOST).unwrap();
        assert_eq!(in_words(&scan.findings, &annotation), "1 critical, 1 unknown");
    }

    #[test]
    fn an_image_in_which_nothing_was_found_is_compliant() {
        let annotation = Annotation::new(&scan(vec![]), time(), None, MOST).unwrap();
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
        let json: Value = serde_json::from_str(&Annotation::new(&scan, time(), None, MOST).unwrap().json).unwrap();
        let listed: Vec<_> = json["vulnerabilities"].as_array().unwrap().iter().map(|found| &found["id"]).collect();
        assert_eq!(listed, ["c", "a", "b", "b", "d"], "what is counted twice is listed twice");
        assert_eq!(json["summary"][1]["data"], "4");
    }

    fn many(number: usize) -> Scan {
        scan((0..number).map(|number| finding(&format!("CVE-2026-{number:04}"), Severity::High, Some("1"))).collect())
    }

    #[test]
    fn a_list_for_which_there_is_no_room_is_cut_and_the_summary_counts_all() {
        let scan = many(1000);
        for most in [MOST, 4096] {
            let annotation = Annotation::new(&scan, time(), None, most).unwrap();
            assert!((most - 100..=most).contains(&annotation.json.len()), "{}", annotation.json.len());
            let json: Value = serde_json::from_str(&annotation.json).unwrap();
            let listed = json["vulnerabilities"].as_array().unwrap().len();
            assert_eq!(json["summary"][1]["data"], "1000");
            assert_eq!(
                in_words(&scan.findings, &annotation),
                format!(
                    "1000 high; there is room for the worst {listed} of 1000, the other {} are only counted: neither \
                     `patchWithin` nor an exception for a vulnerability reaches them",
                    1000 - listed
                )
            );
        }
        assert_eq!(
            Annotation::new(&scan, time(), None, 100).unwrap_err().to_string(),
            "its summary alone has 612 bytes, and there is room for 100"
        );
    }

    #[test]
    fn packages_are_left_out_before_vulnerabilities_are() {
        let mut scan = many(390);
        for finding in &mut scan.findings {
            finding.aliases = vec!["GHSA-1".to_owned()];
        }
        let annotation = Annotation::new(&scan, time(), None, MOST).unwrap();
        assert!((MOST - 100..=MOST).contains(&annotation.json.len()), "{}", annotation.json.len());
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        let listed = json["vulnerabilities"].as_array().unwrap();
        let with = |key: &str| listed.iter().take_while(|found| found.get(key).is_some()).count();
        let packages = with("package");
        assert_eq!((listed.len(), with("fixedVersion"), with("aliases")), (390, 390, 390));
        assert!((1..390).contains(&packages), "{packages}");
        assert_eq!(
            in_words(&scan.findings, &annotation),
            format!("390 high; there is room for the packages of the worst {packages} of 390")
        );
    }

    #[test]
    fn no_character_needs_care_of_those_who_pass_it_on() {
        let odd = "a=b \u{2028} é 😀 \u{7f} 'q'";
        let annotation = Annotation::new(&scan(vec![finding(odd, Severity::Low, None)]), time(), None, MOST).unwrap();
        assert!(annotation.json.chars().all(|c| (c == ' ' || c.is_ascii_graphic()) && c != '='));
        let json: Value = serde_json::from_str(&annotation.json).unwrap();
        assert_eq!(json["vulnerabilities"][0]["id"], odd);
    }
}
