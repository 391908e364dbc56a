//! Reports of scanners in the cluster, in the shapes that the policy reads, and what holds of any text in their place.

use chrono::{DateTime, Utc};
use container_patch_policy::evaluation;
use container_patch_policy::host::{CanI, GetResource, Host, ListResources};
use serde_json::{Value, json};

use crate::Bytes;
use crate::images::{DIGESTS, digest};
use crate::mangled::mangled;
use crate::properties::{Broken, ensure, well_formed};
use crate::scans::{SEVERITIES, TIMES, VULNERABILITIES};

/// A vulnerability, as reports name it.
#[derive(Debug, Clone)]
pub(crate) struct Vulnerability {
    pub(crate) id: &'static str,
    pub(crate) severity: &'static str,
    pub(crate) fixed_in: &'static str,
    pub(crate) published: &'static str,
    pub(crate) is_suppressed: bool,
}

/// What is found in an image, by some bytes.
pub(crate) fn vulnerabilities(bytes: &mut Bytes<'_>) -> Vec<Vulnerability> {
    bytes.few(4, |bytes| Vulnerability {
        id: bytes.one_of(&VULNERABILITIES),
        severity: bytes.one_of(&SEVERITIES),
        fixed_in: bytes.one_of(&["3.0.8", ""]),
        published: bytes.one_of(&TIMES),
        is_suppressed: bytes.once_in(6),
    })
}

/// Who writes reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Kubewarden's SBOMscanner.
    Sbomscanner,
    /// Aqua's Trivy operator.
    TrivyOperator,
    /// Quay's container security operator.
    Quay,
    /// Kubescape.
    Kubescape,
}

const SBOMSCANNER: (&str, &str) = ("storage.sbomscanner.kubewarden.io/v1alpha1", "VulnerabilityReport");
const TRIVY_OPERATOR: (&str, &str) = ("aquasecurity.github.io/v1alpha1", "VulnerabilityReport");
const QUAY: (&str, &str) = ("secscan.quay.redhat.com/v1alpha1", "ImageManifestVuln");
const KUBESCAPE: (&str, &str) = ("spdx.softwarecomposition.kubescape.io/v1beta1", "VulnerabilityManifest");
const KUBESCAPE_SUMMARY: (&str, &str) = (KUBESCAPE.0, "VulnerabilityManifestSummary");

/// What a list says of a report.
pub(crate) fn identity(kind: (&str, &str), name: &str, digest: &str, at: &str, is_filtered: bool) -> Value {
    let metadata = json!({"name": name, "namespace": "scans"});
    match kind {
        SBOMSCANNER => json!({"metadata": metadata, "imageMetadata": {"digest": digest}}),
        TRIVY_OPERATOR => json!({
            "metadata": metadata,
            "report": {
                "artifact": {"repository": "library/nginx", "tag": "1", "digest": digest},
                "registry": {"server": "index.docker.io"},
                "summary": {"criticalCount": 0, "highCount": 0, "mediumCount": 0, "lowCount": 0, "unknownCount": 0},
                "updateTimestamp": at,
            },
        }),
        KUBESCAPE | KUBESCAPE_SUMMARY => json!({"metadata": {
            "name": name,
            "annotations": {"kubescape.io/image-id": format!("docker.io/library/nginx@{digest}")},
            "labels": {"kubescape.io/context": if is_filtered { "filtered" } else { "" }},
        }}),
        _ => json!({ "metadata": metadata }),
    }
}

/// A report that names these vulnerabilities.
pub(crate) fn report(kind: (&str, &str), name: &str, at: &str, vulnerabilities: &[Vulnerability]) -> Value {
    let each = |make: &dyn Fn(&Vulnerability) -> Value| vulnerabilities.iter().map(make).collect::<Vec<_>>();
    match kind {
        SBOMSCANNER => {
            let found = each(&|found| {
                json!({
                    "cve": found.id, "severity": found.severity, "packageName": "openssl",
                    "fixedVersions": [found.fixed_in], "suppressed": found.is_suppressed,
                })
            });
            json!({"report": {"results": [{"vulnerabilities": found}]}})
        }
        TRIVY_OPERATOR => {
            let found = each(&|found| {
                json!({
                    "vulnerabilityID": found.id, "severity": found.severity, "resource": "openssl",
                    "fixedVersion": found.fixed_in, "publishedDate": found.published,
                })
            });
            json!({"report": {"updateTimestamp": at, "vulnerabilities": found}})
        }
        QUAY => {
            let found = each(&|found| {
                let metadata = json!({"Issued": found.published}).to_string();
                json!({"name": found.id, "severity": found.severity, "fixedby": found.fixed_in, "metadata": metadata})
            });
            json!({
                "spec": {"manifest": name.replacen('.', ":", 1), "features": [{"name": "openssl", "vulnerabilities": found}]},
                "status": {"lastUpdate": at},
            })
        }
        KUBESCAPE_SUMMARY => {
            json!({"spec": {"vulnerabilitiesRef": {"all": {"namespace": "kubescape", "name": "m0"}}}})
        }
        _ => {
            let found = each(&|found| {
                let versions = if found.fixed_in.is_empty() { json!([]) } else { json!([found.fixed_in]) };
                json!({
                    "vulnerability": {
                        "id": found.id, "severity": found.severity,
                        "fix": {"versions": versions, "available": [{"date": found.published}]},
                    },
                    "relatedVulnerabilities": [{"id": "CVE-2026-0001"}],
                    "artifact": {"name": "openssl"},
                })
            });
            json!({
                "metadata": {
                    "name": name,
                    "annotations": {"kubescape.io/image-id": format!("docker.io/library/nginx@{IMAGE}")},
                },
                "spec": {
                    "metadata": {"report": {"createdAt": at}},
                    "payload": {"matches": found, "descriptor": {"timestamp": at}},
                },
            })
        }
    }
}

/// A world in which one image is fresh, and one text stands for what a scanner says of it.
struct Reporting<'t> {
    /// What a list of reports is answered with; left out, a list with one report about the image.
    list: Option<&'t [u8]>,
    /// What a report is.
    report: &'t [u8],
}

const IMAGE: &str = DIGESTS[1];
const NOW: &str = "2026-11-20T12:00:00Z";

impl Source {
    /// A report, or nearly one, by some bytes; without any, a clean one.
    #[must_use]
    pub fn nearly_a_report(self, bytes: &[u8]) -> Vec<u8> {
        let bytes = &mut Bytes::new(bytes);
        let found = vulnerabilities(bytes);
        let report = report(self.kind(), &IMAGE.replace(':', "."), NOW, &found);
        let report = if bytes.once_in(2) { mangled(report, bytes) } else { report };
        report.to_string().into_bytes()
    }

    /// A list of reports, or nearly one, by some bytes.
    #[must_use]
    pub fn nearly_a_list(self, bytes: &[u8]) -> Vec<u8> {
        let bytes = &mut Bytes::new(bytes);
        let item = |bytes: &mut Bytes<'_>| {
            identity(self.kind(), bytes.one_of(&["r0", "r1"]), digest(bytes), NOW, bytes.once_in(2))
        };
        let list = json!({ "items": bytes.few(4, item) });
        let list = if bytes.once_in(2) { mangled(list, bytes) } else { list };
        list.to_string().into_bytes()
    }

    /// Whether an image is let in by a report, in the namespace that the settings name.
    ///
    /// # Errors
    /// When the answer is not well formed.
    pub fn lets_in(self, report: &[u8]) -> Result<bool, Broken> {
        judged(&self.asked_for(Some("scans")), &Reporting { list: None, report })
    }

    /// A request that is judged by reports of one namespace; of the workload's own where none is given.
    fn asked_for(self, namespace: Option<&str>) -> String {
        let namespace = json!(namespace);
        strict(&format!(r#""reports": [{{"source": "{}", "namespace": {namespace}}}]"#, self.word()), &Value::Null)
    }

    fn kind(self) -> (&'static str, &'static str) {
        match self {
            Self::Sbomscanner => SBOMSCANNER,
            Self::TrivyOperator => TRIVY_OPERATOR,
            Self::Quay => QUAY,
            Self::Kubescape => KUBESCAPE,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Sbomscanner => "sbomscanner",
            Self::TrivyOperator => "trivyOperator",
            Self::Quay => "quay",
            Self::Kubescape => "kubescape",
        }
    }

    /// How many vulnerabilities a report names that count. Nothing where it has no place for them: that is no clean report.
    fn vulnerabilities(self, report: &Value) -> Option<usize> {
        // Go writes null for a list without items.
        let list = |of: &Value, key: &str| match of.get(key)? {
            Value::Null => Some(Vec::new()),
            Value::Array(items) => Some(items.clone()),
            _ => None,
        };
        match self {
            Self::Sbomscanner => {
                let counting = |target: &Value| {
                    let found = list(target, "vulnerabilities")?;
                    Some(found.iter().filter(|found| found["suppressed"] != json!(true)).count())
                };
                list(&report["report"], "results")?.iter().map(counting).sum()
            }
            Self::TrivyOperator => list(&report["report"], "vulnerabilities").map(|found| found.len()),
            Self::Quay => {
                // The operator leaves out lists without items.
                let features = list(report.get("spec")?, "features").unwrap_or_default();
                let found = |feature: &Value| list(feature, "vulnerabilities").map_or(0, |found| found.len());
                Some(features.iter().map(found).sum())
            }
            Self::Kubescape => list(&report["spec"]["payload"], "matches").map(|found| found.len()),
        }
    }
}

impl Host for Reporting<'_> {
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
        let whole = || {
            let identity = identity((request.api_version, request.kind), "r0", IMAGE, NOW, false);
            json!({ "items": [identity] }).to_string().into_bytes()
        };
        Ok(self.list.map_or_else(whole, <[u8]>::to_vec))
    }

    fn can_i(&self, _: &CanI<'_>) -> Result<Vec<u8>, String> {
        Err("nobody asks".to_owned())
    }

    fn log_warning(&self, _: &str) {}

    fn now(&self) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(NOW).expect("it is a time").to_utc()
    }
}

/// A pod with one pinned image, judged by what scanners say of it alone. No vulnerability is allowed, and a scan is required.
/// `scan` is what the settings say besides, as members of a JSON object.
fn strict(scan: &str, annotations: &Value) -> String {
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

/// Whatever stands where a report should: the answer is well formed, and the image is let in only by a report that can be read
/// and that names no vulnerability, and by none that is in the workload's own namespace.
///
/// # Errors
/// What breaks it.
pub fn lets_in_by_a_clean_report_only(source: Source, report: &[u8]) -> Result<(), Broken> {
    for namespace in [Some("scans"), Some("shop"), None] {
        let payload = source.asked_for(namespace);
        // By a summary alone nothing is known; here it is read as the manifest, too.
        let is_let_in = judged(&payload, &Reporting { list: None, report })?;
        let is_own = namespace != Some("scans") && (namespace.is_some() || source != Source::Kubescape);
        ensure!(!(is_let_in && is_own), "{source:?}: a report in the workload's own namespace lets the image in");
        // Hosts write what they answer: of a text that is no JSON, only what is asked for need be any.
        if let (true, Ok(report)) = (is_let_in, serde_json::from_slice::<Value>(report)) {
            let found = source.vulnerabilities(&report);
            ensure!(found == Some(0), "{source:?}: a report with {found:?} vulnerabilities lets the image in");
        }
    }
    Ok(())
}

/// Whatever stands where a list of reports should: the answer is well formed, and without a report there is no scan result.
///
/// # Errors
/// What breaks it.
pub fn lets_in_by_no_list_of_reports(source: Source, list: &[u8]) -> Result<(), Broken> {
    let found = Vulnerability {
        id: "CVE-2026-0001",
        severity: "Low",
        fixed_in: "",
        published: "2026-11-01",
        is_suppressed: false,
    };
    let vulnerable = report(source.kind(), &IMAGE.replace(':', "."), NOW, &[found]).to_string();
    let accepted =
        judged(&source.asked_for(Some("scans")), &Reporting { list: Some(list), report: vulnerable.as_bytes() })?;
    ensure!(!accepted, "{source:?}: a list alone lets the image in");
    Ok(())
}

/// Whatever an annotation says: the answer is well formed, it lets the image in only where it is trusted and says that a scan of
/// this very image found nothing, and it keeps out nothing where it is ignored.
///
/// # Errors
/// What breaks it.
pub fn lets_in_by_a_clean_annotation_only(key: &str, text: &str) -> Result<(), Broken> {
    let accepts = |how: &str| {
        let payload = strict(&format!(r#""podAnnotations": "{how}""#), &json!({ key: text }));
        judged(&payload, &Reporting { list: None, report: b"" })
    };
    ensure!(!accepts("flag")?, "a requester clears the image by `{key}`");
    ensure!(!accepts("ignore")?, "`{key}` counts, though annotations are ignored");
    if !accepts("trust")? {
        return Ok(());
    }
    let said: Value =
        serde_json::from_str(text).map_err(|error| format!("`{key}` lets the image in and cannot be read: {error}"))?;
    let of = |key: &str| said.get(key).or_else(|| said.get(key[..1].to_uppercase() + &key[1..]));
    ensure!(of("timestamp").is_some(), "`{key}` lets the image in without a time");
    let compliant = of("compliant").unwrap_or(&Value::Null).to_string().to_lowercase();
    let is_compliant = ["null", "true", "t", "1", ""].contains(&compliant.trim_matches(['"', ' ']));
    ensure!(is_compliant, "`{key}` lets the image in and is not compliant");
    let named = of("vulnerabilities").and_then(Value::as_array).map_or(0, Vec::len);
    ensure!(named == 0, "`{key}` lets the image in and names {named} vulnerabilities");
    let image = of("image").filter(|image| !image.is_null());
    let is_about_it = match image {
        Some(image) => image == DIGESTS[1] || image == DIGESTS[3],
        None => !key.starts_with("scan."),
    };
    ensure!(is_about_it, "`{key}` lets the image in and is about another one");
    Ok(())
}

fn judged(payload: &str, host: &Reporting<'_>) -> Result<bool, Broken> {
    let verdict = evaluation::evaluate(payload.as_bytes(), host);
    let accepted = verdict.is_accepted();
    well_formed(&verdict.into_response())?;
    Ok(accepted)
}
