//! Trivy's own report on an image: `trivy image --format json`.

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::commands::annotate::report::{
    PackageVulnerability, ScanReport, deserialize, non_empty, read_day, read_severity, read_time,
};

const RECOGNISED: &str = "a Trivy report (it has SchemaVersion and ArtifactName)";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Report {
    schema_version: u64,
    created_at: Option<String>,
    artifact_name: Option<String>,
    artifact_type: Option<String>,
    #[serde(default)]
    metadata: Metadata,
    trivy: Option<Tool>,
    results: Option<Vec<Target>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    #[serde(rename = "ImageID")]
    image_id: Option<String>,
    repo_digests: Option<Vec<String>>,
    repo_tags: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Tool {
    version: Option<String>,
}

/// A part of the image that was scanned, such as the packages of its distribution.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Target {
    class: Option<String>,
    vulnerabilities: Option<Vec<TrivyVulnerability>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TrivyVulnerability {
    #[serde(rename = "VulnerabilityID")]
    id: String,
    #[serde(default)]
    pkg_name: String,
    fixed_version: Option<String>,
    severity: Option<String>,
    published_date: Option<String>,
}

pub(super) fn is_report(value: &Value) -> bool {
    value.get("SchemaVersion").is_some() && (value.get("ArtifactName").is_some() || value.get("ArtifactType").is_some())
}

pub(super) fn read(report: Value) -> Result<ScanReport> {
    let report: Report = deserialize(report, RECOGNISED)?;
    if report.schema_version != 2 {
        bail!("this looks like {RECOGNISED}, but its SchemaVersion is {}; expected 2", report.schema_version);
    }
    match report.artifact_type.as_deref() {
        Some("container_image") => {}
        kind => bail!(
            "this looks like {RECOGNISED}, but not on an image: expected the ArtifactType `container_image`, found \
             `{}`; scan the image: `trivy image --format json IMAGE`",
            kind.unwrap_or_default()
        ),
    }
    let targets = report.results.unwrap_or_default();
    let of_packages =
        |target: &Target| !matches!(target.class.as_deref(), Some("config" | "secret" | "license" | "license-file"));
    if !targets.is_empty() && !targets.iter().any(of_packages) {
        bail!(
            "this looks like {RECOGNISED}, but only on secrets, licenses or configuration: it has no \
             Results[].Vulnerabilities; scan with `trivy image --scanners vuln --format json IMAGE`"
        );
    }
    let vulnerabilities = targets.into_iter().flat_map(|target| target.vulnerabilities.unwrap_or_default());
    let mut names: Vec<String> = report.artifact_name.iter().cloned().collect();
    names.extend(report.metadata.repo_tags.unwrap_or_default());
    names.extend(report.metadata.repo_digests.unwrap_or_default());
    Ok(ScanReport {
        scanner: "trivy".to_owned(),
        version: non_empty(report.trivy.and_then(|tool| tool.version)),
        time: read_time(report.created_at.as_deref(), "CreatedAt")?,
        reference: non_empty(report.artifact_name),
        names,
        manifest: None,
        config: non_empty(report.metadata.image_id),
        vulnerabilities: vulnerabilities.map(package_vulnerability).collect::<Result<_>>()?,
    })
}

fn package_vulnerability(vulnerability: TrivyVulnerability) -> Result<PackageVulnerability> {
    let TrivyVulnerability { id, pkg_name: package, fixed_version, severity, published_date } = vulnerability;
    let severity = severity.with_context(|| {
        format!("this looks like {RECOGNISED}, but {id} in Results[].Vulnerabilities[] has no Severity")
    })?;
    Ok(PackageVulnerability {
        severity: read_severity(&severity, &id)?,
        id,
        package,
        fixed: non_empty(fixed_version),
        published: read_day(published_date.as_deref()),
        aliases: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use container_patch_policy::rules::scan::result::Severity;
    use serde_json::{Value, json};

    use super::super::{ScanReport, read as read_report};

    fn report(changes: Value) -> Value {
        let mut report = json!({
            "SchemaVersion": 2,
            "Trivy": {"Version": "0.67.2"},
            "CreatedAt": "2026-11-19T08:00:00.5Z",
            "ArtifactName": "shop/web:1.4",
            "ArtifactType": "container_image",
            "Metadata": {
                "ImageID": "sha256:c0",
                "RepoTags": ["registry.example.com/shop/web:1.4"],
                "RepoDigests": ["registry.example.com/shop/web@sha256:d0"],
            },
            "Results": [
                {"Target": "web (debian 13)", "Class": "os-pkgs", "Vulnerabilities": [
                    {"VulnerabilityID": "CVE-2026-0001", "PkgName": "openssl", "InstalledVersion": "3.0.7",
                     "FixedVersion": "3.0.8", "Severity": "CRITICAL", "PublishedDate": "2026-11-01T17:15:00Z"},
                    {"VulnerabilityID": "CVE-2026-0002", "PkgName": "zlib", "Severity": "UNKNOWN", "Status": "affected"},
                ]},
                {"Target": "app/go.mod", "Class": "lang-pkgs", "Vulnerabilities": null},
                {"Target": "app", "Class": "lang-pkgs"},
                {"Target": "/key.pem", "Class": "secret"},
            ],
        });
        for (key, value) in changes.as_object().unwrap() {
            report[key] = value.clone();
        }
        report
    }

    fn read(changes: Value) -> Result<ScanReport, String> {
        read_report(&report(changes).to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_report_is_read() {
        let scan = read(json!({})).unwrap();
        assert_eq!((scan.scanner.as_str(), scan.version.as_deref()), ("trivy", Some("0.67.2")));
        assert_eq!(scan.time.unwrap().to_rfc3339(), "2026-11-19T08:00:00.500+00:00");
        assert_eq!(scan.reference.as_deref(), Some("shop/web:1.4"));
        assert_eq!(
            scan.names,
            ["shop/web:1.4", "registry.example.com/shop/web:1.4", "registry.example.com/shop/web@sha256:d0"]
        );
        assert_eq!((scan.manifest, scan.config.as_deref()), (None, Some("sha256:c0")));
        let [openssl, zlib] = &scan.vulnerabilities[..] else { panic!("{:?}", scan.vulnerabilities) };
        assert_eq!((openssl.id.as_str(), openssl.severity), ("CVE-2026-0001", Severity::Critical));
        assert_eq!((openssl.package.as_str(), openssl.fixed.as_deref()), ("openssl", Some("3.0.8")));
        assert_eq!(openssl.published.unwrap().to_string(), "2026-11-01");
        assert_eq!((zlib.severity, &zlib.fixed, zlib.published), (Severity::Unknown, &None, None));
    }

    #[test]
    fn a_report_without_results_has_no_vulnerabilities() {
        let mut report = report(json!({"Metadata": {}}));
        report.as_object_mut().unwrap().remove("Results");
        assert_eq!(read_report(&report.to_string()).unwrap().vulnerabilities, []);
    }

    #[test]
    fn a_report_on_something_else_is_refused_with_the_right_command() {
        let error = read(json!({"ArtifactType": "filesystem"})).unwrap_err();
        assert!(error.contains("found `filesystem`") && error.contains("`trivy image"), "{error}");
        let error = read(json!({"Results": [{"Target": "/key.pem", "Class": "secret"}]})).unwrap_err();
        assert!(error.contains("--scanners vuln"), "{error}");
        assert!(read(json!({"SchemaVersion": 3})).unwrap_err().ends_with("its SchemaVersion is 3; expected 2"));
    }

    #[test]
    fn a_missing_or_invalid_field_is_named() {
        let of = |vulnerability: Value| {
            read(json!({"Results": [{"Class": "os-pkgs", "Vulnerabilities": [vulnerability]}]})).unwrap_err()
        };
        assert_eq!(
            of(json!({"VulnerabilityID": "CVE-2026-0003"})),
            "this looks like a Trivy report (it has SchemaVersion and ArtifactName), but CVE-2026-0003 in \
             Results[].Vulnerabilities[] has no Severity"
        );
        assert!(
            of(json!({"PkgName": "a"}))
                .ends_with("in `Results[0].Vulnerabilities[0]`: missing field `VulnerabilityID`")
        );
        assert!(
            of(json!({"VulnerabilityID": "CVE-1", "Severity": "BAD"}))
                .starts_with("CVE-1 has the unknown severity `BAD`")
        );
    }
}
