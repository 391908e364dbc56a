//! The presets in `examples/presets/`: they are valid, documented, and refuse what they say, judged by the module.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use container_patch::capabilities::{AllowedResources, Answer, Capabilities, HostCall, Nothing};
use container_patch::manifest;
use container_patch::policy::Policy;
use container_patch_policy::settings::Settings;
use serde_json::value::to_raw_value;
use serde_json::{Value, json};

const PRESETS: [&str; 5] = ["disa-srg", "fedramp-rev5", "monthly-patch-day", "pci-dss-4", "staging-warn"];

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn preset(name: &str) -> Value {
    manifest::from_yaml(&read(&format!("examples/presets/{name}.yaml"))).unwrap()
}

/// A registry with one image.
struct Registry {
    built: Option<&'static str>,
    annotations: Value,
}

impl Capabilities for Registry {
    fn answer(&self, call: HostCall) -> Answer {
        let manifest = json!({
            "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": DIGEST},
            "annotations": self.annotations,
        });
        let answer = match call {
            HostCall::OciManifestDigest(_) => json!({"digest": DIGEST}),
            HostCall::OciManifest(_) => manifest,
            HostCall::OciManifestAndConfig(_) => {
                json!({"digest": DIGEST, "manifest": manifest, "config": {"created": self.built}})
            }
            other => return Err(format!("unexpected question {other:?}")),
        };
        Ok(answer.to_string().into_bytes())
    }
}

/// An image, and the result of its scan.
struct Image {
    built: Option<&'static str>,
    scanned: Option<&'static str>,
    vulnerabilities: Vec<Value>,
}

/// An image that was built and scanned in the last ten days, with these vulnerabilities.
fn fresh(vulnerabilities: Vec<Value>) -> Image {
    Image { built: Some("2026-11-10T12:00:00Z"), scanned: Some("2026-11-19T12:00:00Z"), vulnerabilities }
}

/// A vulnerability with a fix.
fn vulnerability(severity: &str, published: Option<&str>) -> Value {
    json!({
        "id": "CVE-2026-0001", "severity": severity, "package": "openssl", "fixedVersion": "3.0.8", "published": published,
    })
}

/// The response about a new pod with an image by this reference, at noon of 2026-11-20.
fn respond(name: &str, registry: Arc<dyn Capabilities>, reference: &str) -> Value {
    let mut settings = preset(name);
    settings["evaluateAt"] = json!("2026-11-20T12:00:00Z");
    let object = json!({"spec": {"containers": [{"name": "app", "image": reference}]}});
    let request =
        json!({"kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "object": object});
    let payload = json!({"request": request, "settings": settings}).to_string();
    let policy = Policy::embedded().unwrap();
    let response = policy.call("validate", payload.as_bytes(), &registry, &AllowedResources::default()).unwrap();
    serde_json::from_slice(&response).unwrap()
}

/// The findings about a new pod with this image, at noon of 2026-11-20, each as its code and effect.
fn judged(name: &str, image: &Image) -> Vec<String> {
    let scan = image.scanned.map(|scanned| {
        json!({"timestamp": scanned, "compliant": true, "vulnerabilities": image.vulnerabilities}).to_string()
    });
    let annotations = scan.map(|scan| json!({"quality.images.openshift.io/vulnerability.scanner": scan}));
    let registry = Arc::new(Registry { built: image.built, annotations: annotations.unwrap_or_default() });
    let response = respond(name, registry, &format!("registry.example.com/app:1@{DIGEST}"));
    let findings = response["audit_annotations"]["findings"].as_str().unwrap();
    let findings: Vec<Value> = serde_json::from_str(findings).unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let findings = findings.iter().map(|finding| format!("{} {}", text(&finding["code"]), text(&finding["effect"])));
    findings.filter(|finding| finding != "evaluate-at-set warn").collect()
}

/// The findings about an image that was built and scanned in the last ten days and has one vulnerability.
fn judged_with(name: &str, severity: &str, published: &str) -> Vec<String> {
    judged(name, &fresh(vec![vulnerability(severity, Some(published))]))
}

#[test]
fn every_preset_is_tested() {
    let files = std::fs::read_dir(root().join("examples/presets")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.map(|name| name.strip_suffix(".yaml").unwrap_or(&name).to_owned()).collect();
    names.sort_unstable();
    assert_eq!(names, PRESETS);
}

#[test]
fn every_preset_is_valid_without_warnings() {
    for name in PRESETS {
        let json = to_raw_value(&preset(name)).unwrap();
        match Settings::with_warnings(&json) {
            Ok((_, warnings)) => assert_eq!(warnings, Vec::<String>::new(), "{name}"),
            Err(problems) => panic!("{name}: {problems}"),
        }
    }
}

#[test]
fn every_preset_begins_with_a_comment_about_its_purpose() {
    for name in PRESETS {
        let text = read(&format!("examples/presets/{name}.yaml"));
        assert!(text.starts_with(&format!("# {name}: ")), "{name}");
        let comments = text.lines().take_while(|line| line.starts_with("# ")).count();
        assert!(comments >= 3, "{name} begins with {comments} lines of comments");
        assert!(text.contains("docs/compliance.md"), "{name} does not name its page");
    }
}

#[test]
fn the_page_about_compliance_describes_every_preset() {
    let page = read("docs/compliance.md");
    for name in PRESETS {
        assert!(page.contains(&format!("| [`{name}`](#{name}) |")), "{name} is not in the table");
        let (_, section) =
            page.split_once(&format!("\n## {name}\n")).unwrap_or_else(|| panic!("{name} has no section"));
        let section = section.split("\n## ").next().unwrap();
        for part in [&format!("(../examples/presets/{name}.yaml)"), "**It enforces**", "**It does not cover**"] {
            assert!(section.contains(part), "the section {name} lacks {part}");
        }
    }
}

#[test]
fn every_preset_accepts_a_fresh_image_without_vulnerabilities() {
    for name in PRESETS {
        assert_eq!(judged(name, &fresh(vec![])), [""; 0], "{name}");
    }
}

#[test]
fn monthly_patch_day_refuses_an_image_two_weeks_after_the_patch_day() {
    // The second Tuesday of October 2026 is the 13th, and that of November the 10th.
    let built = |built| judged("monthly-patch-day", &Image { built: Some(built), ..fresh(vec![]) });
    assert_eq!(built("2026-10-12T00:00:00Z"), ["stale-image deny"]);
    assert_eq!(built("2026-10-14T00:00:00Z"), ["patch-due warn"]);
    assert_eq!(built("2026-11-10T12:00:00Z"), [""; 0]);
    assert_eq!(
        judged_with("monthly-patch-day", "critical", "2026-11-19T00:00:00Z"),
        ["vulnerable-image deny"],
        "a critical vulnerability does not wait for the patch day"
    );
}

#[test]
fn pci_dss_4_refuses_a_critical_vulnerability_after_30_days() {
    let of = |severity, published| judged_with("pci-dss-4", severity, published);
    assert_eq!(of("critical", "2026-10-20T12:00:00Z"), ["vulnerable-image deny"], "31 days");
    assert_eq!(of("critical", "2026-10-22T12:00:00Z"), ["patch-window-open warn"], "29 days");
    assert_eq!(of("high", "2026-10-20T12:00:00Z"), ["patch-window-open warn"], "high ones have 90 days");
    assert_eq!(of("high", "2026-08-20T12:00:00Z"), ["vulnerable-image deny"]);
    assert_eq!(of("medium", "2020-01-01T00:00:00Z"), [""; 0]);
    let undated = fresh(vec![vulnerability("critical", None)]);
    assert_eq!(
        judged("pci-dss-4", &undated),
        ["vulnerable-image deny"],
        "without a date, the time to patch is unknown"
    );
}

#[test]
fn fedramp_rev5_gives_each_severity_its_time() {
    let of = |severity, published| judged_with("fedramp-rev5", severity, published);
    for (severity, overdue, open) in [
        ("critical", "2026-10-20T12:00:00Z", "2026-10-22T12:00:00Z"),
        ("high", "2026-10-20T12:00:00Z", "2026-10-22T12:00:00Z"),
        ("medium", "2026-08-21T12:00:00Z", "2026-08-23T12:00:00Z"),
        ("low", "2026-05-23T12:00:00Z", "2026-05-25T12:00:00Z"),
    ] {
        assert_eq!(of(severity, overdue), ["vulnerable-image deny"], "{severity}, a day after its time");
        assert_eq!(of(severity, open), ["patch-window-open warn"], "{severity}, a day before the end of its time");
    }
}

#[test]
fn the_presets_for_standards_require_a_scan_of_the_last_30_days() {
    for name in ["disa-srg", "fedramp-rev5", "pci-dss-4"] {
        let scanned = |scanned| judged(name, &Image { scanned, ..fresh(vec![]) });
        assert_eq!(scanned(None), ["unscanned-image deny"], "{name}");
        assert_eq!(scanned(Some("2026-10-20T12:00:00Z")), ["stale-scan deny"], "{name}, 31 days");
        assert_eq!(scanned(Some("2026-10-22T12:00:00Z")), [""; 0], "{name}, 29 days");
        let undated = Image { built: None, ..fresh(vec![]) };
        assert_eq!(judged(name, &undated), ["unknown-build-date deny"], "{name}");
    }
}

#[test]
fn disa_srg_refuses_an_image_that_is_older_than_30_days() {
    let built = |built| judged("disa-srg", &Image { built: Some(built), ..fresh(vec![]) });
    assert_eq!(built("2026-10-20T12:00:00Z"), ["stale-image deny"], "31 days");
    assert_eq!(built("2026-10-22T12:00:00Z"), ["patch-due warn"], "29 days");
    for severity in ["critical", "high", "medium", "low"] {
        let of = |published| judged_with("disa-srg", severity, published);
        assert_eq!(of("2026-10-20T12:00:00Z"), ["vulnerable-image deny"], "{severity}, 31 days");
        assert_eq!(of("2026-10-22T12:00:00Z"), ["patch-window-open warn"], "{severity}, 29 days");
    }
}

#[test]
fn staging_warn_refuses_nothing_that_can_be_judged() {
    let bad = Image {
        built: Some("2020-01-01T00:00:00Z"),
        scanned: Some("2026-11-19T00:00:00Z"),
        vulnerabilities: vec![vulnerability("critical", None)],
    };
    assert_eq!(judged("staging-warn", &bad), ["stale-image warn", "vulnerable-image warn"]);
    assert_eq!(
        judged("staging-warn", &Image { built: None, ..bad }),
        ["unknown-build-date warn", "vulnerable-image warn"]
    );
}

#[test]
fn staging_warn_accepts_a_tag_of_a_registry_that_does_not_answer() {
    let response = respond("staging-warn", Arc::new(Nothing), "registry.example.com/app:latest");
    assert_eq!(response["accepted"], json!(true), "{response}");
    let warnings = response["warnings"].to_string();
    for code in ["[unpinned-image]", "[evidence-unavailable]"] {
        assert!(warnings.contains(code), "{warnings}");
    }
}
