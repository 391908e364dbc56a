//! SARIF 2.1.0 with severities, as Trivy and Grype write it.
//!
//! SARIF itself has no field for the severity of a vulnerability, nor for its package: scanners put these into labelled
//! lines of texts, into tags and into properties.

use anyhow::{Context as _, Result, anyhow, bail};
use container_patch_policy::rules::scan::result::Severity;
use serde::Deserialize;
use serde_json::Value;

use crate::commands::annotate::report::{
    PackageVulnerability, ScanReport, deserialize, non_empty, read_severity, severity_of_score,
};

const RECOGNISED: &str = "a SARIF report (it has version and runs)";

#[derive(Debug, Deserialize)]
struct Report {
    runs: Vec<Run>,
}

#[derive(Debug, Deserialize)]
struct Run {
    tool: Tool,
    results: Option<Vec<SarifResult>>,
    #[serde(default)]
    properties: Image,
}

#[derive(Debug, Deserialize)]
struct Tool {
    driver: Driver,
}

#[derive(Debug, Deserialize)]
struct Driver {
    name: String,
    version: Option<String>,
    #[serde(default)]
    rules: Vec<Rule>,
}

#[derive(Debug, Deserialize)]
struct Rule {
    id: String,
    #[serde(default)]
    help: Text,
    #[serde(default)]
    properties: Properties,
}

#[derive(Debug, Default, Deserialize)]
struct Properties {
    /// A CVSS score, as a text or as a number.
    #[serde(rename = "security-severity")]
    score: Option<Value>,
    #[serde(default)]
    tags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SarifResult {
    rule_id: Option<String>,
    rule_index: Option<usize>,
    message: Text,
}

#[derive(Debug, Default, Deserialize)]
struct Text {
    #[serde(default)]
    text: String,
}

/// What Trivy writes about an image. Reports on anything else do not have these fields.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    image_name: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
    repo_digests: Option<Vec<String>>,
    repo_tags: Option<Vec<String>>,
}

pub(super) fn is_report(value: &Value) -> bool {
    value["runs"].is_array() && value["version"].as_str().is_some_and(|version| version.starts_with("2."))
}

pub(super) fn read(report: Value) -> Result<ScanReport> {
    let mut report: Report = deserialize(report, RECOGNISED)?;
    let (Some(run), true) = (report.runs.pop(), report.runs.is_empty()) else {
        bail!("this looks like {RECOGNISED}, but it does not have exactly one run; expected the scan of one image");
    };
    let Run { tool: Tool { driver }, results, properties: image } = run;
    let results = results
        .with_context(|| format!("this looks like {RECOGNISED}, but it has no runs[0].results: nothing was scanned"))?;
    let scanner = non_empty(Some(scanner(&driver.name)))
        .with_context(|| format!("this looks like {RECOGNISED}, but its runs[0].tool.driver has no name"))?;
    let scanned_by_grype = results.first().map(|result| image_of_grype(&result.message.text));
    let reference = match (scanner.as_str(), scanned_by_grype) {
        ("trivy", _) if image.image_name.is_none() => bail!(
            "this looks like {RECOGNISED} by Trivy, but not on an image: it has no runs[0].properties.imageName; scan \
             the image: `trivy image --format sarif IMAGE`"
        ),
        ("grype", Some(None)) => bail!(
            "this looks like {RECOGNISED} by Grype, but not on an image: expected results `found in image …`; scan \
             the image: `grype -o sarif IMAGE`"
        ),
        ("grype", Some(Some(image))) => Some(image.to_owned()),
        _ => non_empty(image.image_name),
    };
    let mut names: Vec<String> = reference.iter().cloned().collect();
    names.extend(image.repo_tags.unwrap_or_default());
    names.extend(image.repo_digests.unwrap_or_default());
    let vulnerabilities =
        results.iter().filter_map(|result| vulnerability(result, &driver).transpose()).collect::<Result<_>>()?;
    Ok(ScanReport {
        scanner,
        version: non_empty(driver.version),
        time: None,
        reference,
        names,
        manifest: None,
        config: non_empty(image.image_id),
        vulnerabilities,
    })
}

/// The scanner's name for annotations.
fn scanner(name: &str) -> String {
    let lower = name.to_ascii_lowercase();
    lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect::<Vec<_>>().join("-")
}

/// The image in Grype's `A high vulnerability in deb package: zlib, version 1 was found in image NAME at: /path`.
fn image_of_grype(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once(" was found in image ")?;
    rest.split_once(" at: ").map(|(image, _)| image)
}

/// Reads a result. Results about something else, such as a secret, are skipped.
fn vulnerability(result: &SarifResult, driver: &Driver) -> Result<Option<PackageVulnerability>> {
    let rule = result.rule_id.as_ref().and_then(|id| driver.rules.iter().find(|rule| rule.id == *id));
    let rule = rule.or_else(|| driver.rules.get(result.rule_index?));
    let tags = rule.map(|rule| rule.properties.tags.as_slice()).unwrap_or_default();
    if tags.iter().any(|tag| matches!(tag.as_str(), "misconfiguration" | "secret" | "license")) {
        return Ok(None);
    }
    let rule_id = result.rule_id.as_deref().or(rule.map(|rule| rule.id.as_str()));
    let value = |label: &str| {
        let in_rule = || labelled(&rule?.help.text, label);
        labelled(&result.message.text, label).or_else(in_rule).filter(|text| !text.is_empty())
    };
    let id = value("Vulnerability ").or(rule_id);
    let id = id.with_context(|| format!("this looks like {RECOGNISED}, but a result has no ruleId"))?;
    Ok(Some(PackageVulnerability {
        severity: severity(value("Severity: "), tags, rule, id)?,
        id: id.to_owned(),
        package: value("Package: ").unwrap_or_default().to_owned(),
        fixed: value("Fixed Version: ")
            .or_else(|| value("Fix Version: "))
            .map(|fixed| fixed.replace(',', ", ").replace("  ", " ")),
        published: None,
        aliases: Vec::new(),
    }))
}

/// The value of a label in a text of labelled lines.
fn labelled<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    // A label without a value has no space at its end.
    text.lines().find_map(|line| match line.strip_prefix(label) {
        None if line == label.trim_end() => Some(""),
        value => value.map(str::trim),
    })
}

/// The severity of a result: the scanner's word, else the severity of its CVSS score. The level does not help: scanners call
/// both critical and high vulnerabilities an `error`.
fn severity(word: Option<&str>, tags: &[String], rule: Option<&Rule>, id: &str) -> Result<Severity> {
    let score = rule.and_then(|rule| rule.properties.score.as_ref()).map(|score| read_score(score, id)).transpose()?;
    let tag = || tags.iter().filter(|tag| !tag.is_empty()).find_map(|tag| Severity::of(tag));
    let word = match word {
        Some(word) => Some(read_severity(word, id)?),
        None => tag(),
    };
    match (word, score) {
        // Grype's SARIF writes `low` for everything below medium, and the score 0 for what is negligible or unrated.
        (Some(Severity::Low), Some(0.0)) => Ok(Severity::Unknown),
        (Some(word), _) => Ok(word),
        (None, Some(score)) => Ok(severity_of_score(score)),
        (None, None) => Err(anyhow!(
            "this looks like {RECOGNISED}, but {id} has no severity: its rule has neither \
             properties.security-severity nor a tag such as HIGH, and a `level` is not enough; use the scanner's own \
             JSON instead"
        )),
    }
}

fn read_score(score: &Value, id: &str) -> Result<f64> {
    let number = score.as_f64().or_else(|| score.as_str()?.trim().parse().ok());
    let number = number.filter(|score| (0.0..=10.0).contains(score));
    number
        .with_context(|| format!("{id} has the invalid security-severity {score}; expected a CVSS score from 0 to 10"))
}

#[cfg(test)]
mod tests {
    use container_patch_policy::rules::scan::result::Severity;
    use serde_json::{Value, json};

    use super::super::{ScanReport, read as read_report};
    use super::{labelled, scanner};

    fn report(driver: Value, results: Value, properties: Value) -> Result<ScanReport, String> {
        let run = json!({"tool": {"driver": driver}, "results": results, "properties": properties});
        let report = json!({"version": "2.1.0", "runs": [run]});
        read_report(&report.to_string()).map_err(|error| format!("{error:#}"))
    }

    fn trivy(rules: Value, results: Value) -> Result<ScanReport, String> {
        let driver =
            json!({"name": "Trivy", "fullName": "Trivy Vulnerability Scanner", "version": "0.67.2", "rules": rules});
        let image = json!({
            "imageName": "shop/web:1.4", "imageID": "sha256:c0", "repoTags": null,
            "repoDigests": ["registry.example.com/shop/web@sha256:d0"],
        });
        report(driver, results, image)
    }

    #[test]
    fn trivy_writes_package_and_severity_into_the_message() {
        let rules = json!([
            {"id": "CVE-2026-0001", "properties": {"security-severity": "7.5", "tags": ["vulnerability", "security", "CRITICAL"]},
             "help": {"text": "Vulnerability CVE-2026-0001\nSeverity: CRITICAL\nPackage: other\nFixed Version: 9\n"}},
            {"id": "CVE-2026-0002", "properties": {"tags": ["vulnerability", "security", "UNKNOWN"]}},
            {"id": "aws-key", "properties": {"security-severity": "9.5", "tags": ["secret", "security", "CRITICAL"]}},
        ]);
        let results = json!([
            {"ruleId": "CVE-2026-0001", "ruleIndex": 0, "level": "error", "message": {"text":
                "Package: openssl\nInstalled Version: 3.0.7\nVulnerability CVE-2026-0001\nSeverity: HIGH\nFixed Version: 3.0.8, 3.1.1\nLink: [x](y)"}},
            {"ruleIndex": 1, "message": {"text": "Package: zlib\nVulnerability CVE-2026-0002\nFixed Version: \nLink: [x](y)"}},
            {"ruleId": "aws-key", "message": {"text": "Artifact: /a\nSeverity: CRITICAL"}},
        ]);
        let scan = trivy(rules, results).unwrap();
        assert_eq!((scan.scanner.as_str(), scan.version.as_deref(), scan.time), ("trivy", Some("0.67.2"), None));
        assert_eq!(scan.names, ["shop/web:1.4", "registry.example.com/shop/web@sha256:d0"]);
        assert_eq!(scan.config.as_deref(), Some("sha256:c0"));
        let [openssl, zlib] = &scan.vulnerabilities[..] else { panic!("{:?}", scan.vulnerabilities) };
        assert_eq!((openssl.id.as_str(), openssl.severity), ("CVE-2026-0001", Severity::High));
        assert_eq!((openssl.package.as_str(), openssl.fixed.as_deref()), ("openssl", Some("3.0.8, 3.1.1")));
        assert_eq!((zlib.id.as_str(), zlib.severity, &zlib.fixed), ("CVE-2026-0002", Severity::Unknown, &None));
    }

    fn grype(word: &str, score: &str, found: &str) -> Result<ScanReport, String> {
        let help = format!(
            "Vulnerability CVE-2026-0003\nSeverity: {word}\nPackage: libtar\nVersion: 1.1\nFix Version: 1.2,2.0\nType: deb"
        );
        let rule =
            json!({"id": "CVE-2026-0003-libtar", "help": {"text": help}, "properties": {"security-severity": score}});
        let message = format!("A {word} vulnerability in deb package: libtar, version 1.1 was found {found}");
        report(
            json!({"name": "grype", "version": "0.104.0", "rules": [rule]}),
            json!([{"ruleId": "CVE-2026-0003-libtar", "level": "note", "message": {"text": message}}]),
            json!({}),
        )
    }

    #[test]
    fn grype_writes_package_and_severity_into_the_rule() {
        let scan = grype("critical", "8.5", "in image shop/web:1.4 at: /lib/tar").unwrap();
        assert_eq!((scan.scanner.as_str(), scan.reference.as_deref()), ("grype", Some("shop/web:1.4")));
        let [tar] = &scan.vulnerabilities[..] else { panic!("{:?}", scan.vulnerabilities) };
        assert_eq!((tar.id.as_str(), tar.package.as_str()), ("CVE-2026-0003", "libtar"));
        assert_eq!((tar.severity, tar.fixed.as_deref()), (Severity::Critical, Some("1.2, 2.0")));
        let scan = grype("low", "0.0", "in image shop/web:1.4 at: /lib/tar").unwrap();
        assert_eq!(scan.vulnerabilities[0].severity, Severity::Unknown);
    }

    #[test]
    fn a_report_on_something_else_is_refused_with_the_right_command() {
        assert!(grype("low", "1.0", "at: package.json").unwrap_err().contains("`grype -o sarif IMAGE`"));
        let error = report(json!({"name": "Trivy"}), json!([]), json!({})).unwrap_err();
        assert!(error.contains("`trivy image --format sarif IMAGE`"), "{error}");
        assert!(report(json!({"name": "Trivy"}), Value::Null, json!({})).unwrap_err().contains("no runs[0].results"));
    }

    #[test]
    fn a_score_gives_a_severity_and_a_level_does_not() {
        let other = |properties: Value| {
            report(
                json!({"name": "Other Scanner", "rules": [{"id": "CVE-1", "properties": properties}]}),
                json!([{"ruleId": "CVE-1", "level": "error", "message": {"text": "CVE-1 in zlib"}}]),
                json!({}),
            )
        };
        let scan = other(json!({"security-severity": 7.1})).unwrap();
        assert_eq!((scan.scanner.as_str(), scan.vulnerabilities[0].severity), ("other-scanner", Severity::High));
        let error = other(json!({"tags": ["security"]})).unwrap_err();
        assert!(error.contains("but CVE-1 has no severity") && error.contains("a `level` is not enough"), "{error}");
        assert!(other(json!({"security-severity": "11"})).unwrap_err().contains("expected a CVSS score"));
    }

    #[test]
    fn labels_are_at_the_beginning_of_lines() {
        assert_eq!(labelled("a Package: x\nPackage: y\nPackage: z", "Package: "), Some("y"));
        assert_eq!(labelled("Fixed Version:", "Fixed Version: "), Some(""));
        assert_eq!(labelled("Fixed Versions", "Fixed Version: "), None);
        assert_eq!(scanner("Docker Scout"), "docker-scout");
    }
}
