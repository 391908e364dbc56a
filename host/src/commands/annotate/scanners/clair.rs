//! Clair's vulnerability report, as `clairctl report --out json` prints it: one object for each image.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::commands::annotate::report::{
    PackageVulnerability, ScanReport, deserialize, non_empty, read_day, read_severity,
};

const RECOGNISED: &str = "a Clair report (it has manifest_hash)";

#[derive(Debug, Deserialize)]
struct Report {
    manifest_hash: String,
    packages: Option<BTreeMap<String, Package>>,
    vulnerabilities: Option<BTreeMap<String, ClairVulnerability>>,
    package_vulnerabilities: Option<BTreeMap<String, Option<Vec<String>>>>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
}

#[derive(Debug, Deserialize)]
struct ClairVulnerability {
    name: String,
    normalized_severity: Option<String>,
    fixed_in_version: Option<String>,
    issued: Option<String>,
}

pub(super) fn is_report(value: &Value) -> bool {
    value.get("manifest_hash").is_some()
}

pub(super) fn read(report: Value) -> Result<ScanReport> {
    if report.get("package_vulnerabilities").is_none() || report.get("vulnerabilities").is_none() {
        bail!(
            "this looks like {RECOGNISED}, but it has no package_vulnerabilities; an index report does not list \
             vulnerabilities, a vulnerability report does: `clairctl report --out json IMAGE`"
        );
    }
    let report: Report = deserialize(report, RECOGNISED)?;
    let packages = report.packages.unwrap_or_default();
    let vulnerabilities = report.vulnerabilities.unwrap_or_default();
    let mut found = Vec::new();
    for (package, ids) in report.package_vulnerabilities.unwrap_or_default() {
        for id in ids.unwrap_or_default() {
            let missing = |what: &str, id: &str| {
                format!("this looks like {RECOGNISED}, but package_vulnerabilities refers to the unknown {what} `{id}`")
            };
            let package = packages.get(&package).with_context(|| missing("package", &package))?;
            let vulnerability = vulnerabilities.get(&id).with_context(|| missing("vulnerability", &id))?;
            found.push(package_vulnerability(package, vulnerability)?);
        }
    }
    Ok(ScanReport {
        scanner: "clair".to_owned(),
        version: None,
        time: None,
        reference: non_empty(Some(report.manifest_hash.clone())),
        names: Vec::new(),
        manifest: non_empty(Some(report.manifest_hash)),
        config: None,
        vulnerabilities: found,
    })
}

fn package_vulnerability(package: &Package, vulnerability: &ClairVulnerability) -> Result<PackageVulnerability> {
    // Some sources write a headline into the name: `RHSA-2026:0001: openssl security update (Important)`.
    let id = vulnerability.name.split_whitespace().next().unwrap_or_default().trim_end_matches(':');
    Ok(PackageVulnerability {
        severity: read_severity(vulnerability.normalized_severity.as_deref().unwrap_or_default(), id)?,
        id: id.to_owned(),
        package: package.name.clone(),
        fixed: fixed_version(vulnerability.fixed_in_version.as_deref().unwrap_or_default()),
        published: read_day(vulnerability.issued.as_deref()),
        aliases: Vec::new(),
    })
}

/// The version with the fix. For packages of languages Clair writes a range, such as `fixed=1.2.3&introduced=0`. Version 0
/// means that there is no fix.
fn fixed_version(text: &str) -> Option<String> {
    let version = if text.contains('=') {
        text.split('&').find_map(|bound| bound.strip_prefix("fixed=")).unwrap_or_default()
    } else {
        text
    };
    non_empty(Some(version.to_owned())).filter(|version| version != "0")
}

#[cfg(test)]
mod tests {
    use container_patch_policy::rules::scan::result::Severity;
    use serde_json::{Value, json};

    use super::super::{ScanReport, read as read_report};
    use super::fixed_version;

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

    fn read(report: &Value) -> Result<ScanReport, String> {
        read_report(&report.to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn each_vulnerability_of_each_package_is_listed() {
        let scan = read(&report()).unwrap();
        let found: Vec<_> =
            scan.vulnerabilities.iter().map(|found| (found.id.as_str(), found.package.as_str())).collect();
        assert_eq!(found, [("RHSA-2026:0001", "openssl"), ("CVE-2026-0009", "openssl"), ("RHSA-2026:0001", "libssl3")]);
        let [high, negligible, _] = &scan.vulnerabilities[..] else { panic!("{:?}", scan.vulnerabilities) };
        assert_eq!((high.severity, high.fixed.as_deref()), (Severity::High, Some("3.0.8")));
        assert_eq!(high.published.unwrap().to_string(), "2026-11-01");
        assert_eq!((negligible.severity, &negligible.fixed, negligible.published), (Severity::Negligible, &None, None));
        assert_eq!((scan.time, scan.manifest.as_deref()), (None, Some("sha256:a0")));
    }

    #[test]
    fn null_lists_are_empty() {
        let clean = json!({"manifest_hash": "sha256:a0", "packages": {}, "vulnerabilities": null, "package_vulnerabilities": null});
        assert_eq!(read(&clean).unwrap().vulnerabilities, []);
    }

    #[test]
    fn reports_on_several_images_and_index_reports_are_refused() {
        let error = read_report(&format!("{}\nnull\n", report())).unwrap_err().to_string();
        assert!(error.starts_with("this file holds Clair's reports on 2 images"), "{error}");
        let error = read(&json!({"manifest_hash": "sha256:a0", "state": "IndexFinished", "packages": {}})).unwrap_err();
        assert!(error.contains("an index report does not list"), "{error}");
    }

    #[test]
    fn an_unknown_vulnerability_id_is_an_error() {
        let mut broken = report();
        broken["package_vulnerabilities"]["11"] = json!(["999"]);
        assert!(read(&broken).unwrap_err().ends_with("refers to the unknown vulnerability `999`"));
    }

    #[test]
    fn the_fixed_version_is_read_from_a_range() {
        assert_eq!(fixed_version("fixed=1.2.3&introduced=0").as_deref(), Some("1.2.3"));
        assert_eq!(fixed_version("introduced=0&lastAffected=1.2.3"), None);
        assert_eq!(fixed_version("0"), None);
        assert_eq!(fixed_version("0:3.0.8-1.el9").as_deref(), Some("0:3.0.8-1.el9"));
    }
}
