//! Clair's vulnerability report, as `clairctl report --out json` prints it: one object for each image.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use super::scan::{Finding, Scan, day, said, severity_of, shaped};

const RECOGNISED: &str = "a Clair report (it has manifest_hash)";

#[derive(Debug, Deserialize)]
struct Report {
    manifest_hash: String,
    packages: Option<BTreeMap<String, Package>>,
    vulnerabilities: Option<BTreeMap<String, Vulnerability>>,
    package_vulnerabilities: Option<BTreeMap<String, Option<Vec<String>>>>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

/// A vulnerability as Clair writes it.
#[derive(Debug, Deserialize)]
struct Vulnerability {
    name: String,
    normalized_severity: Option<String>,
    fixed_in_version: Option<String>,
    issued: Option<String>,
}

pub(super) fn is_report(value: &Value) -> bool {
    value.get("manifest_hash").is_some()
}

pub(super) fn read(report: Value) -> Result<Scan> {
    if report.get("package_vulnerabilities").is_none() || report.get("vulnerabilities").is_none() {
        bail!(
            "this looks like {RECOGNISED}, but it has no package_vulnerabilities; an index report holds none, a \
             vulnerability report does: `clairctl report --out json IMAGE`"
        );
    }
    let report: Report = shaped(report, RECOGNISED)?;
    let packages = report.packages.unwrap_or_default();
    let vulnerabilities = report.vulnerabilities.unwrap_or_default();
    let mut findings = Vec::new();
    for (package, found) in report.package_vulnerabilities.unwrap_or_default() {
        for id in found.unwrap_or_default() {
            let missing = |what: &str, id: &str| {
                format!(
                    "this looks like {RECOGNISED}, but package_vulnerabilities names the {what} `{id}`, which it has not"
                )
            };
            let package = packages.get(&package).with_context(|| missing("package", &package))?;
            let vulnerability = vulnerabilities.get(&id).with_context(|| missing("vulnerability", &id))?;
            findings.push(finding(package, vulnerability)?);
        }
    }
    Ok(Scan {
        scanner: "clair".to_owned(),
        version: None,
        time: None,
        reference: said(Some(report.manifest_hash.clone())),
        names: Vec::new(),
        manifest: said(Some(report.manifest_hash)),
        config: None,
        findings,
    })
}

fn finding(package: &Package, vulnerability: &Vulnerability) -> Result<Finding> {
    // Some sources make a headline of the name: `RHSA-2026:0001: openssl security update (Important)`.
    let id = vulnerability.name.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    Ok(Finding {
        severity: severity_of(vulnerability.normalized_severity.as_deref().unwrap_or_default(), id)?,
        id: id.to_owned(),
        package: package.name.clone(),
        fixed: fixed(vulnerability.fixed_in_version.as_deref().unwrap_or_default()),
        published: day(vulnerability.issued.as_deref()),
        aliases: Vec::new(),
    })
}

/// The version with the fix. For packages of languages Clair writes a range, such as `fixed=1.2.3&introduced=0`; a
/// version 0 says that there is nothing to fix with.
fn fixed(text: &str) -> Option<String> {
    let version = if text.contains('=') {
        text.split('&').find_map(|bound| bound.strip_prefix("fixed=")).unwrap_or_default()
    } else {
        text
    };
    said(Some(version.to_owned())).filter(|version| version != "0")
}

#[cfg(test)]
mod tests {
    use container_patch_policy::evidence::scan::Severity;
    use serde_json::{Value, json};

    use super::super::scan::{self, Scan};
    use super::fixed;

    fn report() -> Value {
        json!({
            "manifest_hash": "sha256:a0",
            "packages": {"10": {"id": "10", "name": "openssl", "version": "3.0.7"}, "11": {"id": "11", "name": "libssl3"}},
            "vulnerabilities": {
                "500": {"id": "500", "name": "RHSA-2026:0001: openssl security update (Important)", "severity": "Important",
                        "normalized_severity": "High", "fixed_in_version": "3.0.8", "issued": "2026-11-01T00:00:00Z"},
                "501": {"id": "501", "name": "CVE-2026-0009", "normalized_severity": "Negligible", "fixed_in_version": "",
                        "issued": "0001-01-01T00:00:00Z"},
                "502": {"id": "502", "name": "CVE-2026-0010", "normalized_severity": "Critical"},
            },
            "package_vulnerabilities": {"10": ["500", "501"], "11": ["500"]},
            "enrichments": {},
        })
    }

    fn read(report: &Value) -> Result<Scan, String> {
        scan::read(&report.to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_pair_of_a_package_and_a_vulnerability_is_a_finding() {
        let scan = read(&report()).unwrap();
        let found: Vec<_> = scan.findings.iter().map(|found| (found.id.as_str(), found.package.as_str())).collect();
        assert_eq!(found, [("RHSA-2026:0001", "openssl"), ("CVE-2026-0009", "openssl"), ("RHSA-2026:0001", "libssl3")]);
        let [high, negligible, _] = &scan.findings[..] else { panic!("{:?}", scan.findings) };
        assert_eq!((high.severity, high.fixed.as_deref()), (Severity::High, Some("3.0.8")));
        assert_eq!(high.published.unwrap().to_string(), "2026-11-01");
        assert_eq!((negligible.severity, &negligible.fixed, negligible.published), (Severity::Negligible, &None, None));
        assert_eq!((scan.time, scan.manifest.as_deref()), (None, Some("sha256:a0")));
    }

    #[test]
    fn nothing_found_is_null_where_go_writes_it() {
        let clean = json!({"manifest_hash": "sha256:a0", "packages": {}, "vulnerabilities": null, "package_vulnerabilities": null});
        assert_eq!(read(&clean).unwrap().findings, []);
    }

    #[test]
    fn reports_on_several_images_and_index_reports_are_refused() {
        let error = scan::read(&format!("{}\nnull\n", report())).unwrap_err().to_string();
        assert!(error.starts_with("this holds Clair's reports on 2 images"), "{error}");
        let error = read(&json!({"manifest_hash": "sha256:a0", "state": "IndexFinished", "packages": {}})).unwrap_err();
        assert!(error.contains("an index report holds none"), "{error}");
    }

    #[test]
    fn what_is_named_and_not_there_is_an_error() {
        let mut broken = report();
        broken["package_vulnerabilities"]["11"] = json!(["999"]);
        assert!(read(&broken).unwrap_err().ends_with("names the vulnerability `999`, which it has not"));
    }

    #[test]
    fn the_fix_is_read_out_of_a_range() {
        assert_eq!(fixed("fixed=1.2.3&introduced=0").as_deref(), Some("1.2.3"));
        assert_eq!(fixed("introduced=0&lastAffected=1.2.3"), None);
        assert_eq!(fixed("0"), None);
        assert_eq!(fixed("0:3.0.8-1.el9").as_deref(), Some("0:3.0.8-1.el9"));
    }
}
