//! Properties of scan results: for any content of a report or annotation, only a clean one admits an image.

use chrono::{DateTime, Utc};
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};

use crate::failure::{Failure, ensure};
use crate::generators::images::DIGESTS;
use crate::generators::reports::{IMAGE, SCANNED_AT, Scanner, Vulnerability, list_item, report};
use crate::outcome::Outcome;
use crate::response::well_formed;

/// For any content of a report, the response is well-formed, and the image is admitted only if the report is readable, has no
/// vulnerabilities, and is not in the namespace of the workload.
///
/// # Errors
/// If it does not hold.
pub fn only_a_clean_report_admits(scanner: Scanner, report: &[u8]) -> Result<(), Failure> {
    for namespace in [Some("scans"), Some("shop"), None] {
        let payload = payload_with_reports(scanner, namespace);
        // The host returns the same text for a summary of Kubescape and for its manifest.
        let is_admitted = is_admitted(&payload, &ReportHost { list: None, report })?;
        // Without a namespace in the settings, Kubescape's reports are in a namespace of its own.
        let is_own = namespace != Some("scans") && (namespace.is_some() || scanner != Scanner::Kubescape);
        ensure!(!(is_admitted && is_own), "{scanner:?}: a report in the namespace of the workload admits the image");
        // Real hosts return JSON only. The policy skips the parts that it does not need, so it can accept other text.
        if let (true, Ok(report)) = (is_admitted, serde_json::from_slice::<Value>(report)) {
            let found = count_vulnerabilities(scanner, &report);
            ensure!(found == Some(0), "{scanner:?}: a report with {found:?} vulnerabilities admits the image");
        }
    }
    Ok(())
}

/// For any content of a list of reports, the response is well-formed, and the list alone does not admit the image.
///
/// # Errors
/// If it does not hold.
pub fn a_list_of_reports_alone_does_not_admit(scanner: Scanner, list: &[u8]) -> Result<(), Failure> {
    let found = Vulnerability {
        id: "CVE-2026-0001",
        severity: "Low",
        fixed_in: "",
        published: "2026-11-01",
        is_suppressed: false,
    };
    let vulnerable = report(scanner.kind(), &IMAGE.replace(':', "."), SCANNED_AT, &[found]).to_string();
    let payload = payload_with_reports(scanner, Some("scans"));
    let is_admitted = is_admitted(&payload, &ReportHost { list: Some(list), report: vulnerable.as_bytes() })?;
    ensure!(!is_admitted, "{scanner:?}: a list alone admits the image");
    Ok(())
}

/// For any content of an annotation, the response is well-formed. The annotation admits the image only if the settings trust
/// it, and it says that a scan of this image found nothing.
///
/// # Errors
/// If it does not hold.
pub fn only_a_trusted_clean_annotation_admits(key: &str, text: &str) -> Result<(), Failure> {
    let admits = |trust: &str| {
        let payload = strict_payload(&format!(r#""podAnnotations": "{trust}""#), &json!({ key: text }));
        is_admitted(&payload, &ReportHost { list: None, report: b"" })
    };
    ensure!(!admits("flag")?, "`{key}` admits the image, but the setting is `flag`");
    ensure!(!admits("ignore")?, "`{key}` admits the image, but the setting is `ignore`");
    if !admits("trust")? {
        return Ok(());
    }
    let annotation: Value =
        serde_json::from_str(text).map_err(|error| format!("`{key}` admits the image and is invalid: {error}"))?;
    let of = |key: &str| annotation.get(key).or_else(|| annotation.get(key[..1].to_uppercase() + &key[1..]));
    ensure!(of("timestamp").is_some(), "`{key}` admits the image without a timestamp");
    let compliant = of("compliant").unwrap_or(&Value::Null).to_string().to_lowercase();
    let is_compliant = ["null", "true", "t", "1", ""].contains(&compliant.trim_matches(['"', ' ']));
    ensure!(is_compliant, "`{key}` admits the image and is not compliant");
    let count = of("vulnerabilities").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(count == 0, "`{key}` admits the image with {count} vulnerabilities");
    let image = of("image").filter(|image| !image.is_null());
    let is_about_the_image = match image {
        Some(image) => image == DIGESTS[1] || image == DIGESTS[3],
        None => !key.starts_with("scan."),
    };
    ensure!(is_about_the_image, "`{key}` admits the image and is about another one");
    Ok(())
}

/// Whether a report admits an image. It is in the namespace that the settings name.
///
/// # Errors
/// If the response is not well-formed.
pub fn report_admits(scanner: Scanner, report: &[u8]) -> Result<bool, Failure> {
    is_admitted(&payload_with_reports(scanner, Some("scans")), &ReportHost { list: None, report })
}

fn is_admitted(payload: &str, host: &ReportHost<'_>) -> Result<bool, Failure> {
    let outcome = Outcome::of(payload.as_bytes(), host);
    well_formed(&outcome.response)?;
    Ok(outcome.is_accepted())
}

/// The payload of a request whose settings read the reports of a namespace. The default is the namespace of the workload.
fn payload_with_reports(scanner: Scanner, namespace: Option<&str>) -> String {
    let (source, namespace) = (scanner.setting(), json!(namespace));
    strict_payload(&format!(r#""reports": [{{"source": "{source}", "namespace": {namespace}}}]"#), &Value::Null)
}

/// The payload of a request for a pod with one pinned image. A scan is the only evidence, it is required, and no vulnerability
/// is allowed. `scan` has more members for the JSON object of the section.
fn strict_payload(scan: &str, annotations: &Value) -> String {
    let limits = r#"{"critical": 0, "high": 0, "medium": 0, "low": 0, "negligible": 0, "unknown": 0}"#;
    let scan =
        format!(r#"{{"require": true, "fixableOnly": false, "maxAge": "36500d", "maxAllowed": {limits}, {scan}}}"#);
    let off = r#"{"action": "off"}"#;
    let settings = format!(r#"{{"pinning": {off}, "schedule": {off}, "baseImage": {off}, "scan": {scan}}}"#);
    let container = format!(r#"{{"name": "app", "image": "registry.example.com/team/app:1.4@{IMAGE}"}}"#);
    let object =
        format!(r#"{{"metadata": {{"annotations": {annotations}}}, "spec": {{"containers": [{container}]}}}}"#);
    let kind = r#"{"group": "", "version": "v1", "kind": "Pod"}"#;
    let request = format!(r#"{{"kind": {kind}, "operation": "CREATE", "namespace": "shop", "object": {object}}}"#);
    format!(r#"{{"request": {request}, "settings": {settings}}}"#)
}

/// The number of vulnerabilities in a report that are not suppressed. None if the report has no list of them, and so is not
/// clean.
fn count_vulnerabilities(scanner: Scanner, report: &Value) -> Option<usize> {
    // Go writes null for an empty list.
    let list = |of: &Value, key: &str| match of.get(key)? {
        Value::Null => Some(Vec::new()),
        Value::Array(items) => Some(items.clone()),
        _ => None,
    };
    match scanner {
        Scanner::Sbomscanner => {
            let count = |target: &Value| {
                let found = list(target, "vulnerabilities")?;
                Some(found.iter().filter(|found| found["suppressed"] != json!(true)).count())
            };
            list(&report["report"], "results")?.iter().map(count).sum()
        }
        Scanner::TrivyOperator => list(&report["report"], "vulnerabilities").map(|found| found.len()),
        Scanner::Quay => {
            // The operator omits empty lists.
            let features = list(report.get("spec")?, "features").unwrap_or_default();
            let count = |feature: &Value| list(feature, "vulnerabilities").map_or(0, |found| found.len());
            Some(features.iter().map(count).sum())
        }
        Scanner::Kubescape => list(&report["spec"]["payload"], "matches").map(|found| found.len()),
    }
}

/// A host with one fresh image, and any text in place of the reports about it.
struct ReportHost<'t> {
    /// The list of reports. The default has one report, which is about the image.
    list: Option<&'t [u8]>,
    /// Every report.
    report: &'t [u8],
}

impl Host for ReportHost<'_> {
    fn manifest_digest(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(json!({ "digest": IMAGE }).to_string().into_bytes())
    }

    fn manifest(&self, _: &str) -> Result<Vec<u8>, String> {
        Ok(json!({"manifests": [{"digest": DIGESTS[2], "platform": {"os": "linux"}}]}).to_string().into_bytes())
    }

    fn manifest_and_config(&self, _: &str) -> Result<Vec<u8>, String> {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGESTS[3]});
        let image = json!({
            "digest": IMAGE,
            "manifest": {"config": config},
            "config": {"created": "2026-11-01T00:00:00Z"},
        });
        Ok(image.to_string().into_bytes())
    }

    fn get_resource(&self, request: &GetResource<'_>) -> Result<Vec<u8>, String> {
        match request.name {
            name if name.ends_with('-') => Err(format!("Cannot find report named '{name}'")),
            _ => Ok(self.report.to_vec()),
        }
    }

    fn list_resources_by_namespace(&self, request: &ListResources<'_>) -> Result<Vec<u8>, String> {
        let default = || {
            let item = list_item((request.api_version, request.kind), "r0", IMAGE, SCANNED_AT, false);
            json!({ "items": [item] }).to_string().into_bytes()
        };
        Ok(self.list.map_or_else(default, <[u8]>::to_vec))
    }

    fn can_i(&self, _: &CanI<'_>) -> Result<Vec<u8>, String> {
        Err("unexpected host call".to_owned())
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(SCANNED_AT).expect("it is a valid time").to_utc()
    }
}
