use serde_json::{Value, json};

use super::*;
use crate::config::namespaces::Namespace;
use crate::evidence::registry::ImageFacts;
use crate::finding::Effect;
use crate::host::Host as _;
use crate::host::in_memory::InMemory;
use crate::image::Reference;
use crate::rules::scan::result::Severity;

/// The digest that is judged. In most tests it is the digest of an index.
const INDEX: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
/// An image in the index.
const AMD64: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// Another image in the index.
const ARM64: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
/// The configuration of one of the images.
const CONFIG: &str = "sha256:cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc";
/// An unrelated digest.
const OTHER: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

fn world() -> InMemory {
    InMemory::at("2026-11-20T12:00:00Z")
}

fn index() -> InMemory {
    let manifests = json!([
        {"digest": AMD64, "platform": {"os": "linux"}},
        {"digest": ARM64, "platform": {"os": "linux"}},
        {"digest": OTHER, "platform": {"os": "unknown"}},
    ]);
    world().manifest(&format!("registry.example.com/app@{INDEX}"), json!({ "manifests": manifests }))
}

fn single() -> InMemory {
    world().manifest(&format!("registry.example.com/app@{INDEX}"), json!({"layers": []}))
}

fn source(source: Scanner, namespace: Option<&str>) -> ReportSource {
    ReportSource { source, namespace: namespace.map(Namespace::of_valid) }
}

fn evidence(host: &InMemory) -> Evidence<'_> {
    Evidence::new::<crate::rules::RuleAnnotations>(host, &[], host.now(), Effect::Deny)
}

/// The scans of `registry.example.com/app:1` from a source. It is judged by the digest of its index, in namespace `shop`.
fn scans_of(host: &InMemory, from: &ReportSource) -> Result<Vec<Scan>, String> {
    let facts =
        ImageFacts { digest: Some(AMD64.to_owned()), config_digest: Some(CONFIG.to_owned()), ..ImageFacts::default() };
    let image = Reference::parse("registry.example.com/app:1").unwrap();
    let image = ScannedImage::new(&image, Some(INDEX), &facts);
    let mut reports = Reports::new(Some("shop"));
    let first = reports.of(from, &image, &mut evidence(host));
    let questions = host.asked().len();
    let second = reports.of(from, &image, &mut evidence(host));
    assert_eq!((&second, host.asked().len()), (&first, questions), "a source is asked once");
    first.failure.clone().map_or_else(|| Ok(first.scans.clone()), Err)
}

/// The vulnerabilities of a scan: ids, packages, severities, fixes and days of publication.
fn found(scan: &Scan) -> Vec<(&str, &str, Severity, &str, String)> {
    let text = |text: &'_ Option<String>| text.clone().map_or("", |text| text.leak());
    let day = |at: Option<chrono::DateTime<chrono::Utc>>| at.map(|at| at.date_naive().to_string()).unwrap_or_default();
    let found = scan.named.iter();
    found
        .map(|found| {
            (found.id.as_str(), text(&found.package), found.severity, text(&found.fixed_in), day(found.published))
        })
        .collect()
}

fn failure(host: &InMemory, from: &ReportSource) -> String {
    scans_of(host, from).expect_err("reading the reports fails")
}

mod sbomscanner {
    use super::*;

    fn report(name: &str, digest: &str, vulnerabilities: Value) -> Value {
        json!({
            "apiVersion": "storage.sbomscanner.kubewarden.io/v1alpha1", "kind": "VulnerabilityReport",
            "metadata": {"name": name, "namespace": "shop", "labels": {"app.kubernetes.io/managed-by": "sbomscanner"}},
            "imageMetadata": {"digest": digest, "platform": "linux/amd64", "registry": "r", "repository": "app", "tag": "1"},
            "report": {"summary": {"critical": 1}, "results": [{"class": "os-pkgs", "target": "app (alpine 3.22)", "vulnerabilities": vulnerabilities}]},
        })
    }

    /// A cluster that lists these reports, and gives each by its name.
    fn cluster(host: InMemory, reports: &[Value]) -> InMemory {
        let host = host.answer("list", "VulnerabilityReport shop", Ok(json!({ "items": reports })));
        reports.iter().fold(host, |host, report| {
            let name = report["metadata"]["name"].as_str().unwrap_or_default();
            host.answer("get", &format!("VulnerabilityReport shop/{name}"), Ok(report.clone()))
        })
    }

    fn here() -> ReportSource {
        source(Scanner::Sbomscanner, None)
    }

    #[test]
    fn a_report_is_found_by_the_digest_of_a_single_image() {
        let vulnerabilities = json!([
            {"cve": "CVE-2026-0001", "packageName": "apk-tools", "severity": "CRITICAL", "fixedVersions": ["2.10.7-r0"], "suppressed": false},
            {"cve": "CVE-2026-0002", "packageName": "", "severity": "UNKNOWN", "suppressed": false, "description": "long"},
            {"cve": "CVE-2026-0003", "severity": "HIGH", "fixedVersions": ["1", "2"], "suppressed": true, "vexStatus": {"status": "not_affected"}},
        ]);
        let host = cluster(single(), &[report("r1", INDEX, vulnerabilities)]);
        let scans = scans_of(&host, &here()).unwrap();
        assert_eq!(scans.len(), 1);
        assert_eq!((scans[0].at, scans[0].is_result), (None, true));
        assert_eq!(scans[0].source, "VulnerabilityReport `shop/r1` of SBOMscanner");
        assert_eq!(
            found(&scans[0]),
            [
                ("CVE-2026-0001", "apk-tools", Severity::Critical, "2.10.7-r0", String::new()),
                ("CVE-2026-0002", "", Severity::Unknown, "", String::new()),
            ],
            "vulnerabilities that a VEX document suppresses do not count"
        );
    }

    #[test]
    fn the_reports_of_every_image_in_an_index_are_read() {
        let reports = [report("b", ARM64, json!(null)), report("a", AMD64, json!([])), report("c", OTHER, json!([]))];
        let host = cluster(index(), &reports);
        let scans = scans_of(&host, &here()).unwrap();
        let exact: Vec<_> = scans.iter().map(|scan| (scan.source.as_str(), scan.is_exact)).collect();
        assert_eq!(
            exact,
            [
                ("VulnerabilityReport `shop/a` of SBOMscanner", true),
                ("VulnerabilityReport `shop/b` of SBOMscanner", false),
            ],
            "a report about another image of the index is not exact, and attestations are not images"
        );
        let selectors = host.asked().into_iter().filter(|question| question.contains('='));
        assert_eq!(selectors.count(), 0, "policy-server would keep a watch for each selector");
    }

    #[test]
    fn more_reports_than_the_limit_are_not_looked_up() {
        let reports: Vec<Value> = (0..33).map(|n| report(&format!("r{n:02}"), INDEX, json!([]))).collect();
        let error = failure(&cluster(single(), &reports), &here());
        assert_eq!(error, "there are 33 reports about it; at most 32 are looked up");
        assert_eq!(scans_of(&cluster(single(), &reports[1..]), &here()).unwrap().len(), 32);
    }

    #[test]
    fn a_report_that_cannot_be_read_is_a_failure() {
        let mut no_digest = report("r", INDEX, json!([]));
        no_digest["imageMetadata"].as_object_mut().unwrap().remove("digest");
        let mut no_list = report("r", INDEX, json!([]));
        no_list["report"]["results"][0].as_object_mut().unwrap().remove("vulnerabilities");
        let severe = report("r", INDEX, json!([{"cve": "CVE-2026-0001", "severity": "SEVERE", "suppressed": false}]));
        for (report, expected) in [
            (no_digest, "missing field `digest`"),
            (severe, "CVE-2026-0001 has the unknown severity `SEVERE`"),
            (report("r", INDEX, json!([{"cve": "CVE-2026-0001"}])), "missing field `severity`"),
            (report("r", INDEX, json!("none")), "invalid type: string \"none\""),
            (json!({}), "missing field `metadata`"),
            (no_list, "missing field `vulnerabilities`"),
        ] {
            let error = failure(&cluster(single(), &[report]), &here());
            assert!(
                error.starts_with("VulnerabilityReport `shop") && error.contains(expected),
                "expected: {expected}\nfound:    {error}"
            );
        }
    }

    #[test]
    fn an_image_without_a_report_has_no_scan() {
        assert_eq!(scans_of(&single(), &here()), Ok(vec![]));
    }

    #[test]
    fn reports_are_read_from_the_namespace_in_the_settings() {
        let host = single();
        scans_of(&host, &source(Scanner::Sbomscanner, Some("sbomscanner"))).unwrap();
        assert!(host.asked().contains(&"list VulnerabilityReport sbomscanner".to_owned()), "{:?}", host.asked());
    }
}

mod trivy_operator {
    use super::*;

    fn report(name: &str, updated: &str, artifact: Value, vulnerabilities: Value) -> Value {
        json!({
            "apiVersion": "aquasecurity.github.io/v1alpha1", "kind": "VulnerabilityReport",
            "metadata": {"name": name, "namespace": "shop", "labels": {"trivy-operator.container.name": "app"}},
            "report": {
                "artifact": artifact, "registry": {"server": "registry.example.com"},
                "scanner": {"name": "Trivy", "vendor": "Aqua Security", "version": "0.67.2"},
                "summary": {"criticalCount": 1, "highCount": 0, "lowCount": 0, "mediumCount": 0, "unknownCount": 0},
                "updateTimestamp": updated, "vulnerabilities": vulnerabilities,
            },
        })
    }

    /// A cluster that lists these reports, and gives each by its name.
    fn cluster(host: InMemory, reports: &[Value]) -> InMemory {
        let host = host.answer("list", "VulnerabilityReport shop", Ok(json!({ "items": reports })));
        reports.iter().fold(host, |host, report| {
            let name = report["metadata"]["name"].as_str().unwrap();
            host.answer("get", &format!("VulnerabilityReport shop/{name}"), Ok(report.clone()))
        })
    }

    fn here() -> ReportSource {
        source(Scanner::TrivyOperator, None)
    }

    fn by_digest(name: &str, updated: &str, digest: &str) -> Value {
        report(name, updated, json!({"repository": "app", "tag": "1", "digest": digest}), json!([]))
    }

    #[test]
    fn a_report_is_located_by_a_digest_and_fetched_by_its_name() {
        let vulnerabilities = json!([{
            "vulnerabilityID": "CVE-2026-0001", "resource": "libssl", "installedVersion": "1", "fixedVersion": "3.0.8",
            "severity": "HIGH", "publishedDate": "2026-11-01T10:15:07Z", "title": "t", "links": [], "target": "", "score": 8.6,
        }, {
            "vulnerabilityID": "CVE-2026-0002", "resource": "busybox", "fixedVersion": "", "severity": "LOW", "publishedDate": "",
        }]);
        let about = report(
            "replicaset-app-1-app",
            "2026-11-19T08:00:00Z",
            json!({"repository": "app", "tag": "1", "digest": INDEX}),
            vulnerabilities,
        );
        let host = cluster(index(), &[by_digest("another", "2026-11-20T08:00:00Z", OTHER), about]);
        let scans = scans_of(&host, &here()).unwrap();
        assert_eq!(scans.len(), 1);
        assert_eq!(scans[0].at.unwrap().to_rfc3339(), "2026-11-19T08:00:00+00:00");
        assert_eq!(scans[0].source, "VulnerabilityReport `shop/replicaset-app-1-app` of Trivy operator");
        assert_eq!(
            found(&scans[0]),
            [
                ("CVE-2026-0001", "libssl", Severity::High, "3.0.8", "2026-11-01".to_owned()),
                ("CVE-2026-0002", "busybox", Severity::Low, "", String::new()),
            ]
        );
        let got: Vec<_> = host
            .asked()
            .into_iter()
            .filter(|question| question.contains("shop/replica") || question.contains("another"))
            .collect();
        assert_eq!(got, ["get VulnerabilityReport shop/replicaset-app-1-app"], "other reports are not fetched");
    }

    #[test]
    fn a_report_may_name_any_digest_of_the_image() {
        for digest in [INDEX, AMD64, ARM64, CONFIG] {
            assert_eq!(
                scans_of(&cluster(index(), &[by_digest("r", "2026-11-19T08:00:00Z", digest)]), &here()).unwrap().len(),
                1,
                "{digest}"
            );
        }
        assert_eq!(scans_of(&cluster(index(), &[by_digest("r", "2026-11-19T08:00:00Z", OTHER)]), &here()), Ok(vec![]));
    }

    #[test]
    fn a_report_without_a_digest_is_matched_by_its_tag() {
        let tagged = |server: &str, repository: &str, tag: &str| {
            let mut report =
                report("r", "2026-11-19T08:00:00Z", json!({"repository": repository, "tag": tag}), json!([]));
            report["report"]["registry"]["server"] = json!(server);
            scans_of(&cluster(index(), &[report]), &here()).unwrap().len()
        };
        assert_eq!(tagged("registry.example.com", "app", "1"), 1);
        assert_eq!(tagged("registry.example.com", "app", "2"), 0);
        assert_eq!(tagged("registry.example.com.evil.test", "app", "1"), 0);
        assert_eq!(tagged("registry.example.com", "", ""), 0);
    }

    #[test]
    fn every_report_counts_with_the_newest_first_even_if_one_was_deleted() {
        let old = by_digest("old", "2026-11-01T08:00:00Z", INDEX);
        let new = by_digest("new", "2026-11-19T08:00:00Z", INDEX);
        let also = by_digest("also", "2026-11-19T08:00:00Z", AMD64);
        let undated = by_digest("a", "later", INDEX);
        let newest = by_digest("newest", "2026-11-20T08:00:00Z", INDEX);
        let mut by_tag = by_digest("by-tag", "2026-11-10T08:00:00Z", "");
        by_tag["report"]["artifact"]["repository"] = json!("app");
        let there = [old.clone(), new.clone(), also.clone(), undated.clone(), by_tag.clone()];
        let host = cluster(index(), &there).answer(
            "list",
            "VulnerabilityReport shop",
            Ok(json!({"items": [undated, old, newest, by_tag, new, also]})),
        );
        let scans = scans_of(&host, &here()).unwrap();
        assert_eq!(
            scans.iter().map(|scan| scan.source.as_str()).collect::<Vec<_>>(),
            ["also", "new", "by-tag", "old", "a"]
                .map(|name| format!("VulnerabilityReport `shop/{name}` of Trivy operator"))
        );
        assert!(scans.iter().all(|scan| scan.is_own && !scan.is_summary));
    }

    #[test]
    fn a_report_that_cannot_be_read_is_a_failure() {
        let mut no_list = by_digest("r", "2026-11-19T08:00:00Z", INDEX);
        no_list["report"].as_object_mut().unwrap().remove("vulnerabilities");
        assert!(failure(&cluster(index(), &[no_list.clone()]), &here()).contains("missing field `vulnerabilities`"));
        no_list["report"]["vulnerabilities"] = json!(null);
        let scans = scans_of(&cluster(index(), &[no_list]), &here()).unwrap();
        assert_eq!(*scans[0].named, [], "a list without items is null in Go");
        let with = |vulnerabilities: Value| {
            let artifact = json!({"repository": "app", "tag": "1", "digest": INDEX});
            failure(&cluster(index(), &[report("r", "2026-11-19T08:00:00Z", artifact, vulnerabilities)]), &here())
        };
        let error = with(json!([{"vulnerabilityID": "CVE-2026-0001", "severity": "URGENT"}]));
        assert_eq!(
            error,
            "VulnerabilityReport `shop/r` of Trivy operator cannot be read: CVE-2026-0001 has the unknown severity `URGENT`"
        );
        assert!(with(json!([{"severity": "LOW"}])).contains("missing field `vulnerabilityID`"));
        assert!(with(json!({})).contains("invalid type: map"));
        let error = failure(&world().answer("list", "VulnerabilityReport shop", Ok(json!({"items": 7}))), &here());
        assert!(error.starts_with("VulnerabilityReport `shop` of Trivy operator cannot be read: "), "{error}");
    }
}

mod quay {
    use super::*;

    fn report(digest: &str, features: Value) -> Value {
        json!({
            "apiVersion": "secscan.quay.redhat.com/v1alpha1", "kind": "ImageManifestVuln",
            "metadata": {"name": digest.replace(':', "."), "namespace": "shop"},
            "spec": {"image": "registry.example.com/app", "manifest": digest, "features": features},
            "status": {"lastUpdate": "2026-11-19 08:00:00.123456789 +0000 UTC", "criticalCount": 1, "highestSeverity": "Critical"},
        })
    }

    fn with(host: InMemory, digest: &str, report: Value) -> InMemory {
        let name = digest.replace(':', ".");
        let host = host.answer("get", &format!("ImageManifestVuln scans/{name}"), Ok(report.clone()));
        host.answer("get", &format!("ImageManifestVuln shop/{name}"), Ok(report))
    }

    fn here() -> ReportSource {
        source(Scanner::Quay, None)
    }

    fn there() -> ReportSource {
        source(Scanner::Quay, Some("scans"))
    }

    #[test]
    fn a_report_is_fetched_by_the_digest_of_the_image() {
        let features = json!([{"name": "openssl", "version": "3.0.7", "vulnerabilities": [
            {"name": "CVE-2026-0001 on Ubuntu 24.04 LTS (noble) - medium.", "severity": "Critical", "fixedby": "3.0.8",
             "metadata": "{\"NVD\": {\"CVSSv2\": {\"PublishedDateTime\": \"2026-11-01T10:15Z\"}}}"},
            {"name": "RHSA-2026:1234", "severity": "Defcon1", "metadata": "no JSON"},
        ]}, {"name": "zlib", "vulnerabilities": [{"name": "CVE-2026-0002", "severity": "Negligible", "metadata": "{\"Issued\": \"2026-11-02\"}"}]}, {"name": "bash"}]);
        let host = with(world(), INDEX, report(INDEX, features));
        let scans = scans_of(&host, &there()).unwrap();
        assert_eq!(host.asked().len(), 1, "one get, and nothing else: {:?}", host.asked());
        assert_eq!(scans[0].at.unwrap().timestamp(), 1_795_075_200);
        assert_eq!(
            found(&scans[0]),
            [
                ("CVE-2026-0001", "openssl", Severity::Critical, "3.0.8", "2026-11-01".to_owned()),
                ("RHSA-2026:1234", "openssl", Severity::Critical, "", String::new()),
                ("CVE-2026-0002", "zlib", Severity::Negligible, "", "2026-11-02".to_owned()),
            ]
        );
    }

    #[test]
    fn in_the_workloads_own_namespace_reports_about_images_of_the_index_count_too() {
        let host = with(with(index(), INDEX, report(INDEX, json!(null))), ARM64, report(ARM64, json!(null)));
        let (here, there) = (scans_of(&host, &here()).unwrap(), scans_of(&host, &there()).unwrap());
        assert_eq!(
            here.iter().map(|scan| (scan.is_exact, scan.is_own)).collect::<Vec<_>>(),
            [(true, true), (false, true)]
        );
        assert_eq!(there.iter().map(|scan| (scan.is_exact, scan.is_own)).collect::<Vec<_>>(), [(true, false)]);
    }

    #[test]
    fn without_a_report_about_the_index_reports_about_its_images_count() {
        let host = with(with(index(), ARM64, report(ARM64, json!(null))), OTHER, report(OTHER, json!(null)));
        let scans = scans_of(&host, &here()).unwrap();
        assert_eq!(
            scans.iter().map(|scan| scan.source.as_str()).collect::<Vec<_>>(),
            [format!("ImageManifestVuln `shop/{}` of Quay's container security operator", ARM64.replace(':', "."))]
        );
        assert_eq!(scans_of(&index(), &here()), Ok(vec![]));
    }

    #[test]
    fn a_report_named_by_another_digest_is_ignored() {
        assert_eq!(scans_of(&with(single(), INDEX, report(OTHER, json!([]))), &here()), Ok(vec![]));
    }

    #[test]
    fn a_report_that_cannot_be_read_is_a_failure() {
        let mut no_digest = report(INDEX, json!([]));
        no_digest["spec"].as_object_mut().unwrap().remove("manifest");
        for (report, expected) in [
            (no_digest, "missing field `manifest`"),
            (
                report(INDEX, json!([{"vulnerabilities": [{"name": "CVE-2026-0001", "severity": "Bad"}]}])),
                "CVE-2026-0001 has the unknown severity `Bad`",
            ),
            (report(INDEX, json!([{"vulnerabilities": [{"severity": "Low"}]}])), "missing field `name`"),
            (json!({"metadata": {}}), "missing field `spec`"),
        ] {
            let error = failure(&with(single(), INDEX, report), &here());
            assert!(
                error.starts_with("ImageManifestVuln `shop/sha256.0123") && error.contains(expected),
                "expected: {expected}\nfound:    {error}"
            );
        }
    }

    #[test]
    fn a_status_without_a_time_is_not_a_failure() {
        for status in [json!(null), json!({}), json!({"lastUpdate": "later"})] {
            let mut undated = report(INDEX, json!([]));
            undated["status"] = status;
            assert_eq!(scans_of(&with(world(), INDEX, undated), &there()).unwrap()[0].at, None);
        }
    }
}

mod kubescape {
    use super::*;

    fn identity(kind: &str, name: &str, digest: &str, context: &str) -> Value {
        json!({
            "kind": kind,
            "metadata": {
                "name": name,
                "annotations": {"kubescape.io/image-id": format!("registry.example.com/app@{digest}"), "kubescape.io/status": ""},
                "labels": {"kubescape.io/context": context},
            },
        })
    }

    fn manifest(matches: Value) -> Value {
        json!({
            "kind": "VulnerabilityManifest",
            "metadata": {"name": "m"},
            "spec": {
                "metadata": {"tool": {"name": "grype"}, "report": {"createdAt": "2026-11-19T08:00:00.5Z"}},
                "payload": {"matches": matches, "source": {"type": "image", "target": {"userInput": "app"}}, "descriptor": {"name": "grype"}},
            },
        })
    }

    fn home() -> ReportSource {
        source(Scanner::Kubescape, Some("kubescape"))
    }

    fn listed(host: InMemory, what: &str, identities: Value) -> InMemory {
        host.answer("list", what, Ok(json!({ "items": identities })))
    }

    fn with_manifest(host: InMemory, name: &str, manifest: Value) -> InMemory {
        host.answer("get", &format!("VulnerabilityManifest kubescape/{name}"), Ok(manifest))
    }

    #[test]
    fn a_manifest_is_located_by_the_image_id_and_holds_what_grype_prints() {
        let matches = json!([{
            "vulnerability": {"id": "GHSA-2c4m-59x9-fr2g", "severity": "Critical", "description": "long", "fix": {
                "versions": ["1.2", "1.3"], "state": "fixed", "available": [{"version": "1.3", "date": "2026-11-10"}, {"version": "1.2", "date": "2026-11-03"}],
            }},
            "relatedVulnerabilities": [{"id": "CVE-2026-0001"}, {"id": "GHSA-2c4m-59x9-fr2g"}],
            "artifact": {"name": "golang.org/x/net", "version": "0.30.0"},
        }, {
            "vulnerability": {"id": "CVE-2004-0971", "severity": "Negligible", "fix": {"versions": [], "state": "not-fixed"}},
            "relatedVulnerabilities": null, "artifact": {"name": "libk5crypto3"},
        }]);
        let identities = json!([identity("VulnerabilityManifest", "other", OTHER, "non-filtered"), identity("VulnerabilityManifest", "m", INDEX, "non-filtered"), {"metadata": {"name": "bare"}}]);
        let host =
            with_manifest(listed(index(), "VulnerabilityManifest kubescape", identities), "m", manifest(matches));
        let scans = scans_of(&host, &home()).unwrap();
        assert_eq!(scans.len(), 1);
        assert_eq!(scans[0].source, "VulnerabilityManifest `kubescape/m` of Kubescape");
        assert_eq!(scans[0].at.unwrap().timestamp(), 1_795_075_200);
        assert_eq!(
            found(&scans[0]),
            [
                ("GHSA-2c4m-59x9-fr2g", "golang.org/x/net", Severity::Critical, "1.2, 1.3", "2026-11-03".to_owned()),
                ("CVE-2004-0971", "libk5crypto3", Severity::Negligible, "", String::new()),
            ]
        );
        assert_eq!(scans[0].named[0].aliases, ["CVE-2026-0001"]);
    }

    #[test]
    fn a_filtered_manifest_counts_only_without_a_complete_one() {
        let filtered = identity("VulnerabilityManifest", "f", INDEX, "filtered");
        let whole = identity("VulnerabilityManifest", "m", AMD64, "non-filtered");
        let host = |identities| {
            let host = with_manifest(with_manifest(index(), "m", manifest(json!([]))), "f", manifest(json!([])));
            listed(host, "VulnerabilityManifest kubescape", identities)
        };
        let sources =
            |host: &InMemory| scans_of(host, &home()).unwrap().into_iter().map(|scan| scan.source).collect::<Vec<_>>();
        assert_eq!(sources(&host(json!([filtered, whole]))), ["VulnerabilityManifest `kubescape/m` of Kubescape"]);
        assert_eq!(sources(&host(json!([filtered]))), ["VulnerabilityManifest `kubescape/f` of Kubescape"]);
    }

    #[test]
    fn summaries_in_the_workloads_own_namespace_refer_to_the_manifest() {
        let here = source(Scanner::Kubescape, None);
        let summary = |namespace: &str| {
            json!({"metadata": {"name": "s"}, "spec": {
                "severities": {"critical": {"all": 1, "relevant": 0}},
                "vulnerabilitiesRef": {"all": {"namespace": namespace, "name": "m", "kind": "vulnerabilitymanifests"}, "relevant": {}},
            }})
        };
        let host = |namespace: &str| {
            let identities = json!([
                identity("VulnerabilityManifestSummary", "s", INDEX, "filtered"),
                identity("VulnerabilityManifestSummary", "t", INDEX, "filtered")
            ]);
            ["s", "t"].iter().fold(listed(index(), "VulnerabilityManifestSummary shop", identities), |host, name| {
                host.answer("get", &format!("VulnerabilityManifestSummary shop/{name}"), Ok(summary(namespace)))
            })
        };
        for namespace in ["kubescape", "shop"] {
            let mut about = manifest(json!([]));
            about["metadata"] = identity("VulnerabilityManifest", "m", INDEX, "non-filtered")["metadata"].clone();
            let host = with_manifest(host(namespace), "m", about);
            let scans = scans_of(&host, &here).unwrap();
            assert_eq!(scans.len(), 1, "{namespace}: both refer to the same manifest");
            assert_eq!(scans[0].source, "VulnerabilityManifest `kubescape/m` of Kubescape", "{namespace}");
            assert!(!scans[0].is_own, "{namespace}");
            let manifests = host.asked().into_iter().filter(|question| question.contains("VulnerabilityManifest "));
            assert_eq!(manifests.collect::<Vec<_>>(), ["get VulnerabilityManifest kubescape/m"], "{namespace}");
        }
        assert_eq!(
            failure(&host("shop"), &here),
            "give the namespace of Kubescape in `scan.reports`: VulnerabilityManifest `m`, to which \
             VulnerabilityManifestSummary `shop/s` refers, is not in `kubescape`"
        );
    }

    #[test]
    fn a_complete_manifest_does_not_replace_a_filtered_one_about_another_image_of_the_index() {
        let identities = json!([
            identity("VulnerabilityManifest", "f", INDEX, "filtered"),
            identity("VulnerabilityManifest", "m", ARM64, "non-filtered"),
        ]);
        let host = with_manifest(with_manifest(index(), "m", manifest(json!([]))), "f", manifest(json!([])));
        let scans = scans_of(&listed(host, "VulnerabilityManifest kubescape", identities), &home()).unwrap();
        assert_eq!(scans.iter().map(|scan| scan.is_exact).collect::<Vec<_>>(), [false, true]);
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_a_failure() {
        let identities = json!([identity("VulnerabilityManifest", "m", INDEX, "non-filtered")]);
        let with = |manifest: Value| {
            failure(
                &with_manifest(listed(index(), "VulnerabilityManifest kubescape", identities.clone()), "m", manifest),
                &home(),
            )
        };
        let bad = manifest(json!([{"vulnerability": {"id": "CVE-2026-0001", "severity": "Dire"}}]));
        assert!(with(bad).ends_with("CVE-2026-0001 has the unknown severity `Dire`"));
        assert!(with(manifest(json!([{"vulnerability": {"severity": "Low"}}]))).contains("missing field `id`"));
        assert!(with(json!({"metadata": {}})).contains("missing field `spec`"));
        assert!(with(json!({"spec": {}})).contains("missing field `payload`"));
        assert!(with(json!({"spec": {"payload": {}}})).contains("missing field `matches`"));
    }

    #[test]
    fn the_zero_time_of_go_is_ignored() {
        let mut undated = manifest(json!([]));
        undated["spec"]["metadata"]["report"]["createdAt"] = json!("0001-01-01T00:00:00Z");
        let identities = json!([identity("VulnerabilityManifest", "m", INDEX, "non-filtered")]);
        let host = |manifest| {
            with_manifest(listed(index(), "VulnerabilityManifest kubescape", identities.clone()), "m", manifest)
        };
        assert_eq!(scans_of(&host(undated.clone()), &home()).unwrap()[0].at, None);
        undated["spec"]["payload"]["descriptor"]["timestamp"] = json!("2026-11-19T09:00:00+01:00");
        assert_eq!(scans_of(&host(undated), &home()).unwrap()[0].at.unwrap().timestamp(), 1_795_075_200);
    }
}

#[test]
fn a_source_that_cannot_be_read_is_reported_with_advice() {
    for (from, kind, product, file) in [
        (Scanner::Sbomscanner, "VulnerabilityReport", "SBOMscanner", "sbomscanner"),
        (Scanner::TrivyOperator, "VulnerabilityReport", "Trivy operator", "trivy-operator"),
        (Scanner::Quay, "ImageManifestVuln", "Quay's container security operator", "quay"),
        (Scanner::Kubescape, "VulnerabilityManifest", "Kubescape", "kubescape"),
    ] {
        let name = if from == Scanner::Quay {
            INDEX.replace(':', ".")
        } else {
            crate::evidence::cluster::ACCESS_PROBE.to_owned()
        };
        let failing = |error: &str| {
            let host = single().answer("get", &format!("{kind} scans/{name}"), Err(error.to_owned()));
            failure(&host, &source(from, Some("scans")))
        };
        let error = failing(
            "Host error: ApiError: \"x\" is forbidden: User \"system:serviceaccount:kubewarden:policy-server\" cannot get resource",
        );
        let advice = format!("let policy-server read it, kubectl apply -f deploy/rbac/{file}.yaml");
        assert!(error.starts_with(&format!("{advice}: {kind} of {product} cannot be read: ApiError: ")), "{error}");
        let error = failing("Host error: error finding resource x/v1 / Y: ApiError: 404 page not found");
        assert!(error.starts_with(&format!("install {product}, or take it out of `scan.reports`: ")), "{error}");
    }
}

#[test]
fn a_request_without_a_namespace_needs_a_namespace_in_the_settings() {
    let host = single();
    let facts = ImageFacts::default();
    let image = Reference::parse("registry.example.com/app:1").unwrap();
    let image = ScannedImage::new(&image, Some(INDEX), &facts);
    let mut reports = Reports::new(None);
    let mut evidence = evidence(&host);
    let error = reports.of(&source(Scanner::Quay, None), &image, &mut evidence).failure.clone();
    assert_eq!(error.as_deref(), Some("the request has no namespace to look for reports in"));
    assert_eq!(*reports.of(&source(Scanner::Quay, Some("scans")), &image, &mut evidence), Reported::default());
}

#[test]
fn a_list_instead_of_an_object_is_rejected() {
    let sbomscanner = source(Scanner::Sbomscanner, None);
    let list = json!({"items": [{"metadata": {"name": "r"}, "imageMetadata": {"digest": INDEX}}]});
    let world = |list: &serde_json::Value, report: &serde_json::Value| {
        index()
            .answer(
                "get",
                "VulnerabilityReport shop/container-patch-",
                Err("Cannot find x named 'container-patch-'".to_owned()),
            )
            .answer("list", "VulnerabilityReport shop", Ok(list.clone()))
            .answer("get", "VulnerabilityReport shop/r", Ok(report.clone()))
    };
    let clean = json!({"report": {"results": [{"vulnerabilities": []}]}});
    assert_eq!(scans_of(&world(&list, &clean), &sbomscanner).map(|scans| scans.len()), Ok(1));
    let no_list = json!({"items": [[{"name": "r"}, {"digest": INDEX}]]});
    assert!(scans_of(&world(&no_list, &clean), &sbomscanner).is_err());
    for report in [
        json!({"report": [[]]}),
        json!({"report": {"results": [[[]]]}}),
        json!({"report": {"results": [{"vulnerabilities": [["CVE-2026-0001", "low"]]}]}}),
    ] {
        assert!(scans_of(&world(&list, &report), &sbomscanner).is_err(), "{report}");
    }
}
