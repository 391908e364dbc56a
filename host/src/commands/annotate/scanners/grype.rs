//! Grype's own report on an image: `grype -o json`.

use anyhow::{Result, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::commands::annotate::report::{
    PackageVulnerability, ScanReport, deserialize, non_empty, read_day, read_severity, read_time,
};

const RECOGNISED: &str = "a Grype report (it has matches and descriptor)";

#[derive(Debug, Deserialize)]
struct Report {
    matches: Vec<Match>,
    source: Option<Source>,
    descriptor: Descriptor,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Match {
    vulnerability: GrypeVulnerability,
    #[serde(default)]
    related_vulnerabilities: Vec<Related>,
    artifact: Artifact,
}

#[derive(Debug, Deserialize)]
struct GrypeVulnerability {
    id: String,
    severity: Option<String>,
    #[serde(default)]
    fix: Fix,
}

#[derive(Debug, Default, Deserialize)]
struct Fix {
    versions: Option<Vec<String>>,
    state: Option<String>,
    available: Option<Vec<Available>>,
}

#[derive(Debug, Deserialize)]
struct Available {
    date: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Related {
    id: String,
}

#[derive(Debug, Deserialize)]
struct Artifact {
    name: String,
}

/// What was scanned. The target is an object for an image, and a string for anything else.
#[derive(Debug, Deserialize)]
struct Source {
    #[serde(rename = "type")]
    kind: String,
    target: Value,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Image {
    user_input: Option<String>,
    #[serde(rename = "imageID")]
    image_id: Option<String>,
    manifest_digest: Option<String>,
    tags: Option<Vec<String>>,
    repo_digests: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
struct Descriptor {
    version: Option<String>,
    timestamp: Option<String>,
}

pub(super) fn is_report(value: &Value) -> bool {
    value.get("matches").is_some() && value.get("descriptor").is_some()
}

pub(super) fn read(report: Value) -> Result<ScanReport> {
    let report: Report = deserialize(report, RECOGNISED)?;
    let image: Image = match report.source {
        Some(source) if source.kind == "image" => deserialize(source.target, RECOGNISED)?,
        source => bail!(
            "this looks like {RECOGNISED}, but not on an image: expected the source.type `image`, found `{}`; scan the \
             image: `grype -o json IMAGE`",
            source.map(|source| source.kind).unwrap_or_default()
        ),
    };
    let mut names: Vec<String> = image.user_input.iter().cloned().collect();
    names.extend(image.tags.unwrap_or_default());
    names.extend(image.repo_digests.unwrap_or_default());
    Ok(ScanReport {
        scanner: "grype".to_owned(),
        version: non_empty(report.descriptor.version).filter(|version| version != "[not provided]"),
        time: read_time(report.descriptor.timestamp.as_deref(), "descriptor.timestamp")?,
        reference: non_empty(image.user_input),
        names,
        manifest: non_empty(image.manifest_digest),
        config: non_empty(image.image_id),
        vulnerabilities: report.matches.into_iter().map(package_vulnerability).collect::<Result<_>>()?,
    })
}

fn package_vulnerability(found: Match) -> Result<PackageVulnerability> {
    let GrypeVulnerability { id, severity, fix } = found.vulnerability;
    let severity = read_severity(&severity.unwrap_or_default(), &id)?;
    let versions = fix.versions.filter(|_| fix.state.as_deref() == Some("fixed")).unwrap_or_default();
    let mut aliases: Vec<String> = found.related_vulnerabilities.into_iter().map(|related| related.id).collect();
    aliases.retain(|alias| *alias != id);
    aliases.sort_unstable();
    aliases.dedup();
    Ok(PackageVulnerability {
        severity,
        id,
        package: found.artifact.name,
        fixed: non_empty(Some(versions.join(", "))),
        // Grype does not say when a vulnerability was published. The first fix comes close: it is rarely earlier.
        published: fix.available.unwrap_or_default().iter().filter_map(|fix| read_day(fix.date.as_deref())).min(),
        aliases,
    })
}

#[cfg(test)]
mod tests {
    use container_patch_policy::rules::scan::result::Severity;
    use serde_json::{Value, json};

    use super::super::{ScanReport, read as read_report};

    fn report() -> Value {
        json!({
            "matches": [
                {"vulnerability": {
                    "id": "GHSA-aaaa-bbbb-cccc", "severity": "High",
                    "fix": {"versions": ["1.2.1", "2.0.0"], "state": "fixed",
                            "available": [{"version": "2.0.0", "date": "2026-10-03"}, {"version": "1.2.1", "date": "2026-10-01"}]},
                 },
                 "relatedVulnerabilities": [{"id": "CVE-2026-0005"}, {"id": "GHSA-aaaa-bbbb-cccc"}, {"id": "CVE-2026-0005"}],
                 "artifact": {"name": "lodash", "version": "1.0.0"}},
                {"vulnerability": {"id": "CVE-2026-0006", "severity": "Negligible", "fix": {"versions": ["9"], "state": "wont-fix"}},
                 "relatedVulnerabilities": [], "artifact": {"name": "tar", "version": "1"}},
            ],
            "ignoredMatches": [{"vulnerability": {"id": "CVE-2026-0007", "severity": "Critical"}, "artifact": {"name": "x"}}],
            "source": {"type": "image", "target": {
                "userInput": "shop/web:1.4", "imageID": "sha256:c0", "manifestDigest": "sha256:a0",
                "tags": ["registry.example.com/shop/web:1.4"], "repoDigests": ["registry.example.com/shop/web@sha256:d0"],
            }},
            "descriptor": {"name": "grype", "version": "0.104.0", "timestamp": "2026-11-19T08:00:00.123Z"},
        })
    }

    fn read(report: &Value) -> Result<ScanReport, String> {
        read_report(&report.to_string()).map_err(|error| format!("{error:#}"))
    }

    #[test]
    fn a_report_is_read_without_the_ignored_matches() {
        let scan = read(&report()).unwrap();
        assert_eq!((scan.scanner.as_str(), scan.version.as_deref()), ("grype", Some("0.104.0")));
        assert_eq!(scan.time.unwrap().to_rfc3339(), "2026-11-19T08:00:00.123+00:00");
        assert_eq!(
            scan.names,
            ["shop/web:1.4", "registry.example.com/shop/web:1.4", "registry.example.com/shop/web@sha256:d0"]
        );
        assert_eq!((scan.manifest.as_deref(), scan.config.as_deref()), (Some("sha256:a0"), Some("sha256:c0")));
        let [lodash, tar] = &scan.vulnerabilities[..] else { panic!("{:?}", scan.vulnerabilities) };
        assert_eq!((lodash.severity, lodash.fixed.as_deref()), (Severity::High, Some("1.2.1, 2.0.0")));
        assert_eq!(lodash.published.unwrap().to_string(), "2026-10-01");
        assert_eq!(lodash.aliases, ["CVE-2026-0005"]);
        assert_eq!((tar.severity, &tar.fixed), (Severity::Negligible, &None));
    }

    #[test]
    fn a_report_on_something_else_is_refused_with_the_right_command() {
        let mut directory = report();
        directory["source"] = json!({"type": "directory", "target": "/src"});
        let error = read(&directory).unwrap_err();
        assert!(error.contains("found `directory`") && error.contains("`grype -o json IMAGE`"), "{error}");
    }

    #[test]
    fn a_missing_field_is_named() {
        let mut broken = report();
        broken["matches"][1].as_object_mut().unwrap().remove("artifact");
        assert_eq!(
            read(&broken).unwrap_err(),
            "this looks like a Grype report (it has matches and descriptor), but in `matches[1]`: missing field `artifact`"
        );
    }
}
