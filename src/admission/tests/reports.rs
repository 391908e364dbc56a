//! What people who may write to the namespace of a workload can write there does not clear its images.

use serde_json::{Value, json};

use super::{DIGEST, OTHER, image, only, pod, request, respond, world};
use crate::host::in_memory::InMemory;

/// An image in the index that is judged.
const AMD64: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// A registry with one image, and a cluster that holds these reports, each in the namespace of its metadata.
fn cluster(reports: &[Value]) -> InMemory {
    let host = world()
        .digest("registry.example.com/app:1", DIGEST)
        .manifest(&format!("registry.example.com/app@{DIGEST}"), json!({"layers": []}))
        .config(&format!("registry.example.com/app@{DIGEST}"), image("2026-11-01T00:00:00Z", json!({})));
    let place = |report: &Value| {
        let text = |of: &Value| of.as_str().unwrap().to_owned();
        (text(&report["kind"]), text(&report["metadata"]["namespace"]), text(&report["metadata"]["name"]))
    };
    let host = reports.iter().fold(host, |host, report| {
        let (kind, namespace, _) = place(report);
        let is_listed = |other: &&Value| place(other).0 == kind && place(other).1 == namespace;
        let items: Vec<&Value> = reports.iter().filter(is_listed).collect();
        host.answer("list", &format!("{kind} {namespace}"), Ok(json!({ "items": items })))
    });
    reports.iter().fold(host, |host, report| {
        let (kind, namespace, name) = place(report);
        host.answer("get", &format!("{kind} {namespace}/{name}"), Ok(report.clone()))
    })
}

/// The response to a pod in namespace `shop` with these settings of `scan`.
fn judged(host: &InMemory, scan: Value) -> Value {
    judged_by(host, &only("scan", scan))
}

fn judged_by(host: &InMemory, settings: &Value) -> Value {
    let mut request = request("Pod", &pod(&[&format!("registry.example.com/app:1@{DIGEST}")]));
    request["namespace"] = json!("shop");
    respond(host, &request, settings)
}

fn source(source: &str, namespace: Option<&str>) -> Value {
    json!([{"source": source, "namespace": namespace}])
}

/// Settings that warn about missing evidence.
fn lenient(scan: Value) -> Value {
    let mut settings = only("scan", scan);
    settings["enforcement"] = json!({"evidenceErrors": "warn"});
    settings
}

#[track_caller]
fn assert_codes(response: &Value, expected: &[&str]) {
    assert_eq!(response["codes"], json!(expected), "{response}");
}

/// A report of Trivy operator with a critical vulnerability that has a fix, or without vulnerabilities.
fn trivy(name: &str, at: &str, is_clean: bool) -> Value {
    let found = json!({
        "vulnerabilityID": "CVE-2026-0001", "severity": "CRITICAL", "fixedVersion": "1", "resource": "p",
        "publishedDate": "2026-09-01T00:00:00Z",
    });
    let counts = if is_clean { 0 } else { 1 };
    json!({
        "kind": "VulnerabilityReport", "metadata": {"name": name, "namespace": "shop"},
        "report": {
            "artifact": {"repository": "app", "tag": "1", "digest": DIGEST},
            "registry": {"server": "registry.example.com"}, "updateTimestamp": at,
            "summary": {"criticalCount": counts, "highCount": 0, "mediumCount": 0, "lowCount": 0, "unknownCount": 0},
            "vulnerabilities": if is_clean { json!([]) } else { json!([found]) },
        },
    })
}

fn bad() -> Value {
    trivy("m-bad", "2026-11-10T00:00:00Z", false)
}

/// The report as one about the tag of the image.
fn without_digest(mut report: Value) -> Value {
    report["report"]["artifact"].as_object_mut().unwrap().remove("digest");
    report
}

/// `count` clean reports, all newer than the other one.
fn flood(count: usize) -> Vec<Value> {
    (0..count).map(|n| trivy(&format!("a-{n:04}"), "2026-11-20T00:00:00Z", true)).collect()
}

fn here() -> Value {
    json!({"reports": source("trivyOperator", None)})
}

#[test]
fn a_newer_trivy_operator_report_does_not_hide_an_older_one() {
    let times =
        ["2026-11-20T11:00:00Z", "2026-11-10T00:00:00Z", "2036-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "later", ""];
    for at in times {
        for name in ["a", "z"] {
            for forged in [trivy(name, at, true), without_digest(trivy(name, at, true))] {
                for honest in [bad(), without_digest(bad())] {
                    for order in [[&honest, &forged], [&forged, &honest]] {
                        let response = judged(&cluster(&order.map(Clone::clone)), here());
                        let codes = response["codes"].to_string();
                        assert!(codes.contains("vulnerable-image Deny"), "{forged}: {response}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_report_from_the_future_does_not_clear_an_image() {
    let forged = trivy("z", "2036-01-01T00:00:00Z", true);
    let excepted = |reports: &[Value], scan: Value| {
        let mut settings = only("scan", scan);
        settings["exceptions"] =
            json!([{"images": ["*"], "rules": ["scan-flagged"], "until": "2026-12-31", "reason": "r"}]);
        judged_by(&cluster(reports), &settings)
    };
    assert_codes(&judged(&cluster(std::slice::from_ref(&forged)), here()), &["scan-flagged Deny"]);
    assert_codes(&excepted(&[bad(), forged.clone()], here()), &["excepted Warn", "vulnerable-image Deny"]);
    let required = json!({"require": true, "reports": source("trivyOperator", None)});
    assert_codes(&excepted(&[forged], required), &["excepted Warn", "unscanned-image Deny"]);
}

#[test]
fn many_trivy_operator_reports_do_not_hide_one() {
    for count in [31, 32, 33, 200] {
        let mut reports = flood(count);
        reports.push(bad());
        let host = cluster(&reports);
        let response = judged(&host, here());
        assert_codes(&response, &["vulnerable-image Deny"]);
        let got = host.asked().iter().filter(|question| question.starts_with("get VulnerabilityReport shop/")).count();
        assert_eq!(got, 1 + 32.min(count + 1), "with the one before the list");
        if count > 31 {
            let message = response["message"].as_str().unwrap();
            let expected = "has 1 critical (0 allowed) vulnerability that may have a fix; deploy a build without it (by the summary of \
                VulnerabilityReport `shop/m-bad` of Trivy operator, one of more than 32 reports about the image, 2026-11-10); ";
            assert!(message.contains(expected), "{message}");
        }
        // Overdue vulnerabilities may be among those that are only counted.
        let within =
            json!({"maxAllowed": {}, "patchWithin": {"critical": "7d"}, "reports": source("trivyOperator", None)});
        let response = judged(&host, within);
        assert_codes(&response, &["vulnerable-image Deny"]);
        let expected = if count > 31 {
            "has 1 possibly overdue critical vulnerability that may have a fix; "
        } else {
            "has 1 overdue critical "
        };
        assert!(response["message"].as_str().unwrap().contains(expected), "{response}");
    }
}

#[test]
fn a_report_that_is_not_fetched_needs_a_summary() {
    let mut old = bad();
    for summary in [
        json!(null),
        json!([0, 0, 0, 0, 0]),
        json!("clean"),
        json!({}),
        json!({"criticalCount": 0, "highCount": 0, "mediumCount": 0, "lowCount": 0}),
        json!({"criticalCount": -1, "highCount": 0, "mediumCount": 0, "lowCount": 0, "unknownCount": 0}),
    ] {
        old["report"]["summary"] = summary.clone();
        let mut reports = flood(32);
        reports.push(old.clone());
        let response = judged(&cluster(&reports), here());
        assert_codes(&response, &["evidence-unavailable Deny"]);
        let message = response["message"].as_str().unwrap();
        assert!(
            message.contains("VulnerabilityReport `shop/m-bad` of Trivy operator cannot be read: it has no `summary`"),
            "{message}"
        );
        assert_codes(&judged(&cluster(&[old.clone()]), here()), &["vulnerable-image Deny"]);
    }
    let mut reports = flood(512);
    reports.push(bad());
    let response = judged(&cluster(&reports), here());
    assert_codes(&response, &["evidence-unavailable Deny"]);
    let message = response["message"].as_str().unwrap();
    assert!(message.contains("there are 513 reports about it; at most 512 are read"), "{message}");
}

#[test]
fn a_summary_counts_by_the_limit_of_its_severity() {
    let mut reports = flood(32);
    let mut old = trivy("m", "2026-11-10T00:00:00Z", true);
    old["report"]["summary"] =
        json!({"criticalCount": 0, "highCount": 3, "mediumCount": 9, "lowCount": 9, "unknownCount": 9});
    reports.push(old);
    let of = |limits: Value| {
        judged(&cluster(&reports), json!({"maxAllowed": limits, "reports": source("trivyOperator", None)}))
    };
    assert_codes(&of(json!({"critical": 0, "high": 3})), &[]);
    assert_codes(&of(json!({"critical": 0, "high": 2})), &["vulnerable-image Deny"]);
    for severity in ["medium", "low", "unknown"] {
        assert_codes(&of(json!({severity: 9})), &[]);
        assert_codes(&of(json!({severity: 8})), &["vulnerable-image Deny"]);
    }
    // A summary of an old report is stale, like the report itself.
    reports[32]["report"]["updateTimestamp"] = json!("2026-10-01T00:00:00Z");
    assert_codes(
        &judged(&cluster(&reports), json!({"maxAllowed": {"high": 0}, "reports": source("trivyOperator", None)})),
        &[],
    );
}

#[test]
fn an_unreadable_report_does_not_hide_another_one() {
    let mut malformed = trivy("z", "2026-11-20T00:00:00Z", true);
    malformed["report"]["vulnerabilities"] = json!([{"vulnerabilityID": "CVE-2026-0002", "severity": "WORST"}]);
    let response = judged_by(&cluster(&[bad(), malformed]), &lenient(here()));
    assert_codes(&response, &["vulnerable-image Deny", "evidence-unavailable Warn"]);
    // The index of the image, which may contain the other digest, cannot be read.
    let mut of_another = trivy("z", "2026-11-20T00:00:00Z", true);
    of_another["report"]["artifact"]["digest"] = json!(OTHER);
    let unknown = || Err("connection refused".to_owned());
    let name = format!("registry.example.com/app@{DIGEST}");
    let mut of_host = image("2026-11-01T00:00:00Z", json!({}));
    of_host["digest"] = json!(AMD64);
    let host = cluster(&[of_another.clone(), bad()]).config(&name, of_host).answer("manifest", &name, unknown());
    let unavailable = "evidence-unavailable Warn";
    assert_codes(&judged_by(&host, &lenient(here())), &[unavailable, "vulnerable-image Deny", unavailable]);
    // A single image contains no other digest, so the registry is not asked for its index.
    let host = cluster(&[of_another, bad()]).answer("manifest", &name, unknown());
    assert_codes(&judged_by(&host, &lenient(here())), &["vulnerable-image Deny"]);
    let by_tag = without_digest(trivy("z", "2026-11-20T00:00:00Z", true));
    let host = cluster(&[by_tag, bad()]).answer("digest", "registry.example.com/app:1", unknown());
    assert_codes(&judged_by(&host, &lenient(here())), &["vulnerable-image Deny", "evidence-unavailable Warn"]);
}

fn sbomscanner(name: &str, namespace: &str, is_clean: bool) -> Value {
    let found = json!({"cve": "CVE-2026-0001", "severity": "CRITICAL", "fixedVersions": ["1"], "suppressed": false});
    json!({
        "kind": "VulnerabilityReport", "metadata": {"name": name, "namespace": namespace},
        "imageMetadata": {"digest": DIGEST},
        "report": {"results": [{"vulnerabilities": if is_clean { json!([]) } else { json!([found]) }}]},
    })
}

#[test]
fn an_unreadable_sbomscanner_report_does_not_hide_another_one() {
    let malformed = json!({
        "kind": "VulnerabilityReport", "metadata": {"name": "a", "namespace": "shop"}, "imageMetadata": {"digest": DIGEST},
        "report": {"results": [{}]},
    });
    let reports = [malformed, sbomscanner("r", "shop", false)];
    let response = judged_by(&cluster(&reports), &lenient(json!({"reports": source("sbomscanner", None)})));
    assert_codes(&response, &["vulnerable-image Deny", "evidence-unavailable Warn"]);
}

fn quay(digest: &str, namespace: &str, is_clean: bool) -> Value {
    let found =
        json!({"name": "p", "vulnerabilities": [{"name": "CVE-2026-0001", "severity": "Critical", "fixedby": "1"}]});
    json!({
        "kind": "ImageManifestVuln", "metadata": {"name": digest.replace(':', "."), "namespace": namespace},
        "spec": {"manifest": digest, "features": if is_clean { json!([]) } else { json!([found]) }},
        "status": {"lastUpdate": "2026-11-19T08:00:00Z"},
    })
}

#[test]
fn a_report_about_an_index_does_not_hide_one_about_its_image() {
    let index = json!({"manifests": [{"digest": AMD64, "platform": {"os": "linux"}}]});
    let judged = |forged: Value, settings: &Value| {
        let name = format!("registry.example.com/app@{DIGEST}");
        let mut image = image("2026-11-01T00:00:00Z", json!({}));
        image["digest"] = json!(AMD64);
        let host = cluster(&[forged, quay(AMD64, "shop", false)]);
        judged_by(&host.manifest(&name, index.clone()).config(&name, image), settings)
    };
    let here = only("scan", json!({"reports": source("quay", None)}));
    assert_codes(&judged(quay(DIGEST, "shop", true), &here), &["vulnerable-image Deny"]);
    let named = only("scan", json!({"reports": source("quay", Some("shop"))}));
    assert_codes(&judged(quay(DIGEST, "shop", true), &named), &["vulnerable-image Deny"]);
    let mut malformed = quay(DIGEST, "shop", true);
    malformed["spec"]["features"] = json!(7);
    let lenient = lenient(json!({"reports": source("quay", None)}));
    assert_codes(&judged(malformed, &lenient), &["vulnerable-image Deny", "evidence-unavailable Warn"]);
}

/// A manifest of Kubescape in a namespace, about a digest.
fn manifest(name: &str, namespace: &str, digest: &str, context: &str, is_clean: bool) -> Value {
    let found = json!({
        "vulnerability": {"id": "CVE-2026-0001", "severity": "Critical", "fix": {"versions": ["1"]}},
        "artifact": {"name": "p"},
    });
    json!({
        "kind": "VulnerabilityManifest",
        "metadata": {
            "name": name, "namespace": namespace, "labels": {"kubescape.io/context": context},
            "annotations": {"kubescape.io/image-id": format!("registry.example.com/app@{digest}")},
        },
        "spec": {
            "metadata": {"report": {"createdAt": "2026-11-19T08:00:00Z"}},
            "payload": {"matches": if is_clean { json!([]) } else { json!([found]) }},
        },
    })
}

/// A summary in the workload's namespace that refers to a manifest.
fn summary(name: &str, to: (&str, &str)) -> Value {
    let (namespace, manifest) = to;
    json!({
        "kind": "VulnerabilityManifestSummary",
        "metadata": {
            "name": name, "namespace": "shop", "labels": {"kubescape.io/context": "filtered"},
            "annotations": {"kubescape.io/image-id": format!("registry.example.com/app@{DIGEST}")},
        },
        "spec": {"vulnerabilitiesRef": {"all": {"namespace": namespace, "name": manifest}}},
    })
}

fn by_summaries() -> Value {
    json!({"require": true, "reports": source("kubescape", None)})
}

const COMPLETE: &str = "non-filtered";

#[test]
fn a_summary_is_followed_to_kubescapes_own_namespace_only() {
    let honest = [summary("s", ("kubescape", "m")), manifest("m", "kubescape", DIGEST, COMPLETE, true)];
    assert_codes(&judged(&cluster(&honest), by_summaries()), &[]);
    for (namespace, name) in [
        ("shop", "mine"),
        ("shop-too", "mine"),
        ("kubescape", "../../shop/vulnerabilitymanifests/mine"),
        ("kubescape", ".."),
        ("kubescape", ""),
    ] {
        let forged = [
            summary("s", (namespace, name)),
            manifest("mine", "shop", DIGEST, COMPLETE, true),
            manifest("mine", "shop-too", DIGEST, COMPLETE, true),
            manifest("../../shop/vulnerabilitymanifests/mine", "kubescape", DIGEST, COMPLETE, true),
            manifest("", "kubescape", DIGEST, COMPLETE, true),
            manifest("..", "kubescape", DIGEST, COMPLETE, true),
        ];
        let host = cluster(&forged);
        let response = judged(&host, by_summaries());
        assert_codes(&response, &["unscanned-image Deny", "evidence-unavailable Deny"]);
        let message = response["message"].as_str().unwrap();
        let expected = format!(
            "give the namespace of Kubescape in `scan.reports`: VulnerabilityManifest `{name}`, to which \
             VulnerabilityManifestSummary `shop/s` refers, is not in `kubescape`"
        );
        assert!(message.contains(&expected), "{message}");
        let elsewhere =
            |question: &String| question.starts_with("get VulnerabilityManifest ") && !question.contains(" kubescape/");
        assert!(!host.asked().iter().any(elsewhere), "{:?}", host.asked());
    }
}

#[test]
fn a_summary_is_followed_to_a_manifest_about_the_same_digest() {
    let mut without_image = manifest("m", "kubescape", DIGEST, COMPLETE, true);
    without_image["metadata"].as_object_mut().unwrap().remove("annotations");
    for of_another in [manifest("m", "kubescape", OTHER, COMPLETE, true), without_image] {
        let response = judged(&cluster(&[summary("s", ("kubescape", "m")), of_another]), by_summaries());
        assert_codes(&response, &["unscanned-image Deny", "evidence-unavailable Deny"]);
        let message = response["message"].as_str().unwrap();
        assert!(message.contains("`shop/s` refers, is about another image in `kubescape`"), "{message}");
    }
}

#[test]
fn one_summary_does_not_hide_another() {
    let honest = [summary("s", ("shop", "m")), manifest("m", "kubescape", DIGEST, COMPLETE, false)];
    let mut malformed = summary("a", ("kubescape", "m"));
    malformed["spec"] = json!({});
    for forged in [
        vec![summary("a", ("kubescape", "f")), manifest("f", "kubescape", DIGEST, "filtered", true)],
        vec![summary("a", ("kubescape", "o")), manifest("o", "kubescape", OTHER, COMPLETE, true)],
        vec![summary("a", ("shop", "mine")), manifest("mine", "shop", DIGEST, COMPLETE, true)],
        vec![summary("a", ("kubescape", "nothing"))],
        (0..40).map(|n| summary(&format!("a{n}"), ("kubescape", "nothing"))).collect(),
    ] {
        let reports = [forged, honest.to_vec()].concat();
        assert_codes(&judged(&cluster(&reports), by_summaries()), &["vulnerable-image Deny"]);
    }
    let reports = [vec![malformed], honest.to_vec()].concat();
    let response = judged_by(&cluster(&reports), &lenient(by_summaries()));
    assert_codes(&response, &["vulnerable-image Deny", "evidence-unavailable Warn"]);
}

#[test]
fn a_filtered_manifest_found_by_a_summary_counts_only_against_the_image() {
    let of = |is_clean| [summary("s", ("kubescape", "f")), manifest("f", "kubescape", DIGEST, "filtered", is_clean)];
    assert_codes(&judged(&cluster(&of(true)), by_summaries()), &["unscanned-image Deny"]);
    assert_codes(&judged(&cluster(&of(false)), by_summaries()), &["vulnerable-image Deny", "unscanned-image Deny"]);
}

#[test]
fn with_too_many_summaries_kubescapes_manifests_are_searched_instead() {
    let mut reports: Vec<Value> = (0..33).map(|n| summary(&format!("s{n}"), ("kubescape", "m"))).collect();
    let response = judged(&cluster(&reports), by_summaries());
    assert_codes(&response, &["unscanned-image Deny", "evidence-unavailable Deny"]);
    let expected = "give the namespace of Kubescape in `scan.reports`: there are 33 VulnerabilityManifestSummaries about it in \
                    `shop`, but no VulnerabilityManifest in `kubescape`";
    assert!(response["message"].as_str().unwrap().contains(expected), "{response}");
    reports.push(manifest("m", "kubescape", DIGEST, COMPLETE, true));
    assert_codes(&judged(&cluster(&reports), by_summaries()), &[]);
}

#[test]
fn a_manifest_in_the_workloads_own_namespace_does_not_hide_a_filtered_one() {
    let reports = [manifest("a", "shop", DIGEST, COMPLETE, true), manifest("f", "shop", DIGEST, "filtered", false)];
    let settings = json!({"reports": source("kubescape", Some("shop"))});
    assert_codes(&judged(&cluster(&reports), settings), &["vulnerable-image Deny"]);
}

#[test]
fn reports_in_the_workloads_own_namespace_do_not_satisfy_require() {
    let of = |kind: &str, namespace: &str| match kind {
        "sbomscanner" => sbomscanner("r", namespace, true),
        "quay" => quay(DIGEST, namespace, true),
        "kubescape" => manifest("m", namespace, DIGEST, COMPLETE, true),
        _ => {
            let mut report = trivy("r", "2026-11-19T08:00:00Z", true);
            report["metadata"]["namespace"] = json!(namespace);
            report
        }
    };
    for kind in ["sbomscanner", "trivyOperator", "quay", "kubescape"] {
        let required = |namespace| json!({"require": true, "reports": source(kind, namespace)});
        assert_codes(&judged(&cluster(&[of(kind, "scans")]), required(Some("scans"))), &[]);
        let response = judged(&cluster(&[of(kind, "shop")]), required(Some("shop")));
        assert_codes(&response, &["unscanned-image Deny"]);
        let message = response["message"].as_str().unwrap();
        let expected = "has no valid scan result; scan it, and publish the result where `scan` reads it; reports in the workload's own \
                        namespace do not satisfy `scan.require` [unscanned-image]";
        assert!(message.ends_with(expected), "{message}");
        if kind != "kubescape" {
            assert_codes(&judged(&cluster(&[of(kind, "shop")]), required(None)), &["unscanned-image Deny"]);
        }
        // Without `require` no scan is missing.
        assert_codes(&judged(&cluster(&[of(kind, "shop")]), json!({"reports": source(kind, None)})), &[]);
    }
}

#[test]
fn people_of_a_namespace_cannot_choose_the_finding_for_an_unscanned_image() {
    let old = trivy("r", "2026-09-01T00:00:00Z", true);
    let required = json!({"require": true, "reports": source("trivyOperator", None)});
    assert_codes(&judged(&cluster(std::slice::from_ref(&old)), required), &["unscanned-image Deny"]);
    assert_codes(&judged(&cluster(&[old]), here()), &["stale-scan Warn"]);
}

#[test]
fn an_unreadable_report_in_the_workloads_own_namespace_does_not_excuse_a_missing_scan() {
    let mut malformed = trivy("r", "2026-11-19T00:00:00Z", true);
    malformed["report"].as_object_mut().unwrap().remove("vulnerabilities");
    let required = json!({"require": true, "reports": source("trivyOperator", None)});
    let response = judged_by(&cluster(&[malformed]), &lenient(required));
    assert_codes(&response, &["unscanned-image Deny", "evidence-unavailable Warn"]);
    let dangling = summary("s", ("kubescape", "nothing"));
    let response = judged_by(&cluster(&[dangling]), &lenient(by_summaries()));
    assert_codes(&response, &["unscanned-image Deny", "evidence-unavailable Warn"]);
    // The admin chose the other namespace.
    let mut malformed = sbomscanner("r", "scans", true);
    malformed["report"] = json!({});
    let required = json!({"require": true, "reports": source("sbomscanner", Some("scans"))});
    assert_codes(&judged_by(&cluster(&[malformed]), &lenient(required)), &["evidence-unavailable Warn"]);
}
