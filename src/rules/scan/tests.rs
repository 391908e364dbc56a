use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use super::result::{Count, Scan, Severity, Vulnerability};
use super::*;
use crate::config::read::{Path, Problems, Setting as _};
use crate::enforcement::exceptions::Exceptions;
use crate::rules::waiver::{EXCEPTED, EXPIRED_EXCEPTION};
use crate::settings::Settings;

const NOW: &str = "2026-11-20T12:00:00Z";

fn time(text: &str) -> DateTime<Utc> {
    DateTime::parse_from_rfc3339(text).unwrap().to_utc()
}

fn settings(scan: Value, exceptions: Value) -> Settings {
    let json = serde_json::value::to_raw_value(&json!({"scan": scan, "exceptions": exceptions})).unwrap();
    Settings::from_json(&json).unwrap()
}

fn vulnerability(id: &str, severity: Severity, fixed_in: &str, published: &str) -> Vulnerability {
    Vulnerability {
        id: id.to_owned(),
        aliases: Vec::new(),
        package: Some("openssl".to_owned()),
        severity,
        fixed_in: (!fixed_in.is_empty()).then(|| fixed_in.to_owned()),
        published: (!published.is_empty()).then(|| time(published)),
    }
}

fn critical(id: &str) -> Vulnerability {
    vulnerability(id, Severity::Critical, "3.0.8", "")
}

fn scanned(at: &str, named: Vec<Vulnerability>) -> Scan {
    Scan::of_report("report `x` of Scanner".to_owned(), Some(time(at)), named)
}

fn report(named: Vec<Vulnerability>) -> Scan {
    scanned("2026-11-19T08:00:00Z", named)
}

/// Vulnerabilities that a source only counts.
fn counted(severity: Severity, all: u64, fixable: u64) -> Count {
    Count { severity, all, fixable, is_fixable_known: true }
}

fn judged(settings: &Settings, pod: &[Scan], others: &[Scan], now: &str) -> Vec<Violation> {
    let exceptions = Exceptions::for_image(&settings.general.exceptions, "docker.io/library/a:1", time(now));
    let evidence = ScanEvidence { pod: pod.to_vec(), others: others.to_vec(), is_complete: true };
    settings.rules.scan.judge(&evidence, &exceptions, time(now))
}

fn codes(violations: &[Violation]) -> Vec<(Code, Effect)> {
    violations.iter().map(|violation| (violation.code, violation.effect)).collect()
}

/// The findings of these settings for these scans.
fn found(scan: Value, others: &[Scan]) -> Vec<(Code, Effect)> {
    codes(&judged(&settings(scan, json!([])), &[], others, NOW))
}

const VULNERABLE: (Code, Effect) = (VULNERABLE_IMAGE, Effect::Deny);
const OPEN: (Code, Effect) = (PATCH_WINDOW_OPEN, Effect::Warn);

#[test]
fn by_default_a_critical_vulnerability_with_a_fix_is_denied() {
    assert_eq!(found(json!({}), &[report(vec![critical("CVE-2026-0001")])]), [VULNERABLE]);
    let unfixable = vulnerability("CVE-2026-0001", Severity::Critical, "", "");
    let high = vulnerability("CVE-2026-0002", Severity::High, "1", "");
    assert_eq!(found(json!({}), &[report(vec![unfixable.clone(), high])]), []);
    assert_eq!(found(json!({"fixableOnly": false}), &[report(vec![unfixable])]), [VULNERABLE]);
    assert_eq!(
        found(json!({"action": "warn"}), &[report(vec![critical("CVE-2026-0001")])]),
        [(VULNERABLE_IMAGE, Effect::Warn)]
    );
    assert_eq!(found(json!({"action": "off"}), &[report(vec![critical("CVE-2026-0001")])]), []);
}

#[test]
fn each_severity_has_its_own_limit_and_unlisted_severities_are_unlimited() {
    let high = |count: usize| {
        (0..count).map(|n| vulnerability(&format!("CVE-2026-{n:04}"), Severity::High, "1", "")).collect()
    };
    let limit = json!({"maxAllowed": {"high": 2}});
    assert_eq!(found(limit.clone(), &[report(high(2))]), []);
    assert_eq!(found(limit.clone(), &[report(high(3))]), [VULNERABLE]);
    assert_eq!(
        found(limit, &[report(vec![critical("CVE-2026-0001")])]),
        [],
        "critical is unlisted, so it is unlimited"
    );
    for severity in Severity::ALL {
        let one = [report(vec![vulnerability("CVE-2026-0001", severity, "1", "")])];
        assert_eq!(found(json!({"maxAllowed": {severity.as_str(): 0}}), &one), [VULNERABLE], "{severity}");
        assert_eq!(found(json!({"maxAllowed": {}}), &one), [], "{severity}");
    }
}

#[test]
fn the_worst_source_counts_and_sources_are_not_added_up() {
    let limit = json!({"maxAllowed": {"critical": 1}});
    let one = report(vec![critical("CVE-2026-0001")]);
    let two = report(vec![critical("CVE-2026-0001"), critical("CVE-2026-0002")]);
    assert_eq!(found(limit.clone(), &[one.clone(), one.clone()]), []);
    assert_eq!(found(limit, &[one, two, report(vec![])]), [VULNERABLE]);
}

#[test]
fn vulnerabilities_that_are_only_counted_count_against_the_limit() {
    let mut scan = report(vec![critical("CVE-2026-0001")]);
    scan.counted = vec![counted(Severity::Critical, 5, 1)];
    let limit =
        |limit: u64, fixable_only: bool| json!({"maxAllowed": {"critical": limit}, "fixableOnly": fixable_only});
    assert_eq!(found(limit(2, true), &[scan.clone()]), []);
    assert_eq!(found(limit(1, true), &[scan.clone()]), [VULNERABLE]);
    assert_eq!(found(limit(6, false), &[scan.clone()]), []);
    assert_eq!(found(limit(5, false), &[scan.clone()]), [VULNERABLE]);
    scan.counted = vec![counted(Severity::Critical, u64::MAX, u64::MAX); 2];
    assert_eq!(found(limit(5, false), &[scan]), [VULNERABLE], "a sum does not overflow");
}

#[test]
fn the_time_to_patch_runs_from_the_publication() {
    let within = json!({"patchWithin": {"critical": "7d", "high": "30d"}});
    let of = |severity, published: &str| [report(vec![vulnerability("CVE-2026-0001", severity, "1", published)])];
    assert_eq!(found(within.clone(), &of(Severity::Critical, "2026-11-13T12:00:01Z")), [OPEN]);
    assert_eq!(
        found(within.clone(), &of(Severity::Critical, "2026-11-13T12:00:00Z")),
        [VULNERABLE],
        "the window is over"
    );
    assert_eq!(
        found(within.clone(), &of(Severity::Critical, "")),
        [VULNERABLE],
        "without a date only the limit applies"
    );
    assert_eq!(found(within.clone(), &of(Severity::High, "2026-11-13T12:00:00Z")), [OPEN]);
    assert_eq!(
        found(within.clone(), &of(Severity::High, "2026-10-01T00:00:00Z")),
        [VULNERABLE],
        "without a limit, no overdue vulnerability is allowed"
    );
    assert_eq!(found(within.clone(), &of(Severity::High, "")), [], "without a date and a limit it is allowed");
    assert_eq!(found(within, &of(Severity::Medium, "2020-01-01T00:00:00Z")), []);
    let allowed = json!({"patchWithin": {"high": "30d"}, "maxAllowed": {"high": 1}});
    assert_eq!(found(allowed, &of(Severity::High, "2020-01-01T00:00:00Z")), [], "the limit allows one");
}

#[test]
fn a_message_names_the_worst_few_with_their_fixes_and_counts_the_rest() {
    let mut named: Vec<_> =
        (1..=9).map(|n| vulnerability(&format!("CVE-2026-000{n}"), Severity::High, "1.2", "")).collect();
    named.push(vulnerability("CVE-2026-0100", Severity::Critical, "3.0.8", "2026-11-01T00:00:00Z"));
    named.push(Vulnerability { package: Some("libssl".to_owned()), ..named[9].clone() });
    let limits =
        settings(json!({"maxAllowed": {"critical": 0, "high": 5}, "patchWithin": {"critical": "7d"}}), json!([]));
    assert_eq!(
        judged(&limits, &[], &[report(named)], NOW)[0].text,
        "has 2 critical (0 allowed) and 9 high (5 allowed) vulnerabilities with a fix; deploy a build that has the fixes: \
         CVE-2026-0100 in openssl (fixed in 3.0.8, had to be patched by 2026-11-08), CVE-2026-0001 in openssl (fixed in \
         1.2), CVE-2026-0002 in openssl (fixed in 1.2), and 7 more (by report `x` of Scanner, 2026-11-19)"
    );
}

#[test]
fn an_open_patch_window_is_reported_with_its_last_day() {
    let within = settings(json!({"patchWithin": {"critical": "7d", "high": "30d"}}), json!([]));
    let named = vec![
        vulnerability("CVE-2026-0002", Severity::High, "1.2", "2026-11-01T00:00:00Z"),
        vulnerability("CVE-2026-0001", Severity::Critical, "3.0.8", "2026-11-18T00:00:00Z"),
    ];
    let violations = judged(&within, &[], &[report(named)], NOW);
    assert_eq!(codes(&violations), [OPEN]);
    assert_eq!(
        violations[0].text,
        "has 2 vulnerabilities to be patched by 2026-11-25; deploy a build that has the fixes: CVE-2026-0001 in openssl (fixed \
         in 3.0.8, due 2026-11-25), CVE-2026-0002 in openssl (fixed in 1.2, due 2026-12-01) (by report `x` of Scanner, 2026-11-19)"
    );
}

#[test]
fn a_message_gives_only_numbers_for_unnamed_vulnerabilities() {
    let mut scan = report(vec![]);
    scan.counted = vec![counted(Severity::Critical, 1, 1)];
    assert_eq!(
        judged(&settings(json!({"fixableOnly": false}), json!([])), &[], &[scan], NOW)[0].text,
        "has 1 critical (0 allowed) vulnerability; deploy a build without it (by report `x` of Scanner, 2026-11-19)"
    );
}

#[test]
fn a_fix_is_not_claimed_for_counts_whose_source_does_not_say_so() {
    let text = |named: Vec<Vulnerability>, counted: Vec<Count>, scan_settings: Value| {
        judged(&settings(scan_settings, json!([])), &[], &[Scan { counted, ..report(named) }], NOW)[0].text.clone()
    };
    let unknown = |count| Count { is_fixable_known: false, ..count };
    let by = "(by report `x` of Scanner, 2026-11-19)";
    assert_eq!(
        text(vec![], vec![unknown(counted(Severity::Critical, 4, 4))], json!({})),
        format!("has 4 critical (0 allowed) vulnerabilities that may have a fix; deploy a build without them {by}")
    );
    assert_eq!(
        text(vec![], vec![counted(Severity::Critical, 4, 1)], json!({})),
        format!("has 1 critical (0 allowed) vulnerability with a fix; deploy a build that has the fixes {by}")
    );
    assert_eq!(
        text(vec![], vec![unknown(counted(Severity::Critical, 4, 4))], json!({"fixableOnly": false})),
        format!("has 4 critical (0 allowed) vulnerabilities; deploy a build without them {by}")
    );
    let one = || vec![critical("CVE-2026-0001")];
    let both = text(one(), vec![unknown(counted(Severity::Critical, 1, 1))], json!({}));
    assert!(both.starts_with("has 2 critical (0 allowed) vulnerabilities that may have a fix; deploy"), "{both}");
    let unlisted = text(one(), vec![unknown(counted(Severity::High, 1, 1))], json!({}));
    assert!(unlisted.starts_with("has 1 critical (0 allowed) vulnerability with a fix; deploy"), "{unlisted}");
}

#[test]
fn an_unscanned_image_is_denied_only_if_a_scan_is_required() {
    let unscanned = (UNSCANNED_IMAGE, Effect::Deny);
    assert_eq!(found(json!({}), &[]), []);
    assert_eq!(found(json!({"require": true}), &[]), [unscanned]);
    assert_eq!(found(json!({"require": true}), &[report(vec![])]), []);
    let of_sibling = Scan { is_exact: false, ..report(vec![]) };
    assert_eq!(found(json!({"require": true}), &[of_sibling]), [unscanned], "another image of the index was scanned");
    let bad_sibling = Scan { is_exact: false, ..report(vec![critical("CVE-2026-0001")]) };
    assert_eq!(
        found(json!({}), &[report(vec![]), bad_sibling]),
        [VULNERABLE],
        "vulnerabilities of one image count against the whole index"
    );
    let not_a_result = Scan { is_result: false, ..report(vec![]) };
    assert_eq!(found(json!({"require": true}), &[not_a_result]), [unscanned]);
}

#[test]
fn a_scan_that_the_requester_can_write_counts_only_against_the_image() {
    let unscanned = (UNSCANNED_IMAGE, Effect::Deny);
    let own = |scan: Scan| Scan { is_own: true, ..scan };
    let required = json!({"require": true});
    assert_eq!(found(required.clone(), &[own(report(vec![]))]), [unscanned]);
    assert_eq!(found(required.clone(), &[own(report(vec![])), report(vec![])]), []);
    assert_eq!(found(required.clone(), &[own(report(vec![critical("CVE-2026-0001")])), report(vec![])]), [VULNERABLE]);
    assert_eq!(found(json!({}), &[own(report(vec![]))]), []);
    let old = own(scanned("2026-10-01T00:00:00Z", vec![]));
    assert_eq!(found(required, std::slice::from_ref(&old)), [unscanned], "the requester cannot choose the finding");
    assert_eq!(found(json!({}), std::slice::from_ref(&old)), [(STALE_SCAN, Effect::Warn)]);
    let hint =
        |others: &[Scan]| judged(&settings(json!({"require": true}), json!([])), &[], others, NOW)[0].text.clone();
    assert_eq!(
        hint(&[own(report(vec![]))]),
        "has no valid scan result; scan it, and publish the result where `scan` reads it; reports in the workload's own \
         namespace do not satisfy `scan.require`"
    );
    assert_eq!(hint(&[old]), "has no valid scan result; scan it, and publish the result where `scan` reads it");
}

#[test]
fn vulnerabilities_in_a_summary_may_be_overdue() {
    let mut scan = report(vec![]);
    scan.counted = vec![counted(Severity::High, 2, 2)];
    let within = json!({"patchWithin": {"high": "30d"}});
    assert_eq!(found(within.clone(), std::slice::from_ref(&scan)), [], "only the limit applies to a count");
    scan.is_summary = true;
    scan.counted[0].is_fixable_known = false;
    assert_eq!(found(within.clone(), std::slice::from_ref(&scan)), [VULNERABLE]);
    assert_eq!(
        judged(&settings(within, json!([])), &[], std::slice::from_ref(&scan), NOW)[0].text,
        "has 2 possibly overdue high vulnerabilities that may have a fix; deploy a build without them (by report `x` of Scanner, 2026-11-19)"
    );
    assert_eq!(found(json!({}), std::slice::from_ref(&scan)), [], "high is unlisted");
    let allowed = json!({"patchWithin": {"high": "30d"}, "maxAllowed": {"high": 2}});
    assert_eq!(found(allowed, &[scan]), [], "the limit allows two");
}

fn warnings(settings: &Value) -> Vec<String> {
    let json = serde_json::value::to_raw_value(settings).unwrap();
    let mut problems = Problems::default();
    Settings::read(&json, Path::Root, &mut problems).unwrap();
    assert!(problems.is_empty(), "a warning is not an error: {problems}");
    problems.warnings().to_vec()
}

#[test]
fn settings_that_require_what_requesters_can_write_are_warned_about() {
    let reports = json!([
        {"source": "sbomscanner", "namespace": "sbomscanner"}, {"source": "trivyOperator"}, {"source": "kubescape"},
        {"source": "quay"},
    ]);
    let required = json!({"require": true, "reports": reports});
    let text = "reports in the workload's own namespace do not satisfy `require`, because people who may create workloads there \
                may be able to write them; give the `namespace` that the reports are in";
    assert_eq!(
        warnings(&json!({"scan": required, "overrides": [{"images": ["*"]}, {"images": ["*"], "scan": required}]})),
        ["scan.reports[1]", "scan.reports[3]", "overrides[1].scan.reports[1]", "overrides[1].scan.reports[3]"]
            .map(|at| format!("{at}: {text}"))
    );
    for fine in [
        json!({"reports": reports}),
        json!({"require": true, "action": "off", "reports": reports}),
        json!({"require": true, "reports": [
            {"source": "quay", "namespace": "scans"}, {"source": "kubescape"}, {"source": "sbomscanner", "namespace": "scans"},
        ]}),
    ] {
        assert_eq!(warnings(&json!({ "scan": fine })), [""; 0]);
    }
}

#[test]
fn settings_that_require_a_scan_and_read_only_scanners_of_running_images_are_warned_about() {
    let reports = |sources: &[&str]| -> Value {
        sources.iter().map(|source| json!({"source": source, "namespace": "scans"})).collect()
    };
    let running = reports(&["trivyOperator", "quay", "kubescape"]);
    let text = "the scanners in `reports` scan only images that already run, so a new image has no scan result, unless it has \
                scan annotations or labels of its own; add `sbomscanner`, or scan images in the pipeline and annotate them";
    for source in ["trivyOperator", "quay", "kubescape"] {
        let scan = json!({"require": true, "reports": reports(&[source])});
        assert_eq!(warnings(&json!({ "scan": scan })), [format!("scan.require: {text}")], "{source}");
    }
    for action in ["deny", "warn"] {
        let scan = json!({"require": true, "action": action, "reports": running});
        assert_eq!(warnings(&json!({ "scan": scan })), [format!("scan.require: {text}")], "{action}");
    }
    for overridden in [json!({"require": true, "reports": running}), json!({"require": true})] {
        assert_eq!(
            warnings(&json!({"scan": {"reports": running}, "overrides": [{"images": ["*"], "scan": overridden}]})),
            [format!("overrides[0].scan.require: {text}")]
        );
    }
    for fine in [
        json!({"require": true}),
        json!({"require": true, "reports": reports(&["trivyOperator", "sbomscanner"])}),
        json!({"require": true, "reports": running, "action": "off"}),
        json!({"require": true, "reports": running, "podAnnotations": "trust"}),
        json!({"require": false, "reports": running}),
    ] {
        assert_eq!(warnings(&json!({ "scan": fine })), [""; 0]);
    }
}

#[test]
fn an_old_scan_is_not_valid() {
    let at = |at: &str| [scanned(at, vec![critical("CVE-2026-0001")])];
    assert_eq!(found(json!({}), &at("2026-10-21T12:00:01Z")), [VULNERABLE]);
    assert_eq!(found(json!({}), &at("2026-10-21T12:00:00Z")), [(STALE_SCAN, Effect::Warn)]);
    assert_eq!(found(json!({"require": true}), &at("2026-10-21T12:00:00Z")), [(STALE_SCAN, Effect::Deny)]);
    assert_eq!(found(json!({"require": true}), &[at("2026-10-01T00:00:00Z")[0].clone(), report(vec![])]), []);
    let violations = judged(&settings(json!({}), json!([])), &[], &at("2026-10-01T00:00:00Z"), NOW);
    assert_eq!(
        violations[0].text,
        "was last scanned 2026-10-01 (50 days ago), and a scan is valid for 30 days; scan it again (by report `x` of Scanner)"
    );
    let violations = judged(&settings(json!({"maxAge": "1s"}), json!([])), &[], &at("2026-11-19T08:00:00Z"), NOW);
    assert_eq!(
        violations[0].text,
        "was last scanned 2026-11-19 (1 day ago), and a scan is valid for 1 second; scan it again (by report `x` of Scanner)"
    );
    let timeless = Scan { at: None, ..report(vec![critical("CVE-2026-0001")]) };
    assert_eq!(
        found(json!({"require": true}), &[timeless]),
        [VULNERABLE],
        "a scan without a time does not become stale"
    );
}

#[test]
fn a_scan_of_the_future_is_flagged_and_clears_nothing() {
    let flagged = (SCAN_FLAGGED, Effect::Deny);
    assert_eq!(found(json!({}), &[scanned("2026-11-21T12:00:00Z", vec![])]), [], "clocks may differ by a day");
    assert_eq!(found(json!({}), &[scanned("2026-11-21T12:00:01Z", vec![])]), [flagged]);
    assert_eq!(
        found(json!({"require": true}), &[scanned("2036-11-21T12:00:01Z", vec![])]),
        [flagged, (UNSCANNED_IMAGE, Effect::Deny)]
    );
}

#[test]
fn a_flag_is_reported_with_its_source() {
    let objecting = Scan::objecting("annotation `k` of the pod".to_owned(), "says that it must not run".to_owned());
    let violations = judged(&settings(json!({}), json!([])), &[objecting], &[report(vec![])], NOW);
    assert_eq!(codes(&violations), [(SCAN_FLAGGED, Effect::Deny)]);
    assert_eq!(
        violations[0].text,
        "is flagged: annotation `k` of the pod says that it must not run; deploy an image that is not flagged, or correct the flag"
    );
}

#[test]
fn annotations_of_a_pod_flag_but_do_not_clear_unless_they_are_trusted() {
    let clean = [report(vec![])];
    let bad = [report(vec![critical("CVE-2026-0001")])];
    let of = |annotations: &str| settings(json!({"require": true, "podAnnotations": annotations}), json!([]));
    let verdict = |annotations: &str, pod: &[Scan], others: &[Scan]| codes(&judged(&of(annotations), pod, others, NOW));
    assert_eq!(verdict("flag", &clean, &bad), [VULNERABLE]);
    assert_eq!(verdict("flag", &clean, &[]), [(UNSCANNED_IMAGE, Effect::Deny)]);
    assert_eq!(verdict("flag", &bad, &clean), [VULNERABLE]);
    assert_eq!(verdict("trust", &clean, &[]), []);
    assert_eq!(verdict("trust", &bad, &clean), [VULNERABLE]);

    let none = Vec::new();
    let cleared = |annotations: &str, pod: &[Scan]| {
        let exceptions = Exceptions::for_image(&none, "a", time(NOW));
        of(annotations).rules.scan.is_cleared_by(pod, &exceptions, time(NOW))
    };
    assert!(cleared("trust", &clean));
    assert!(!cleared("flag", &clean));
    assert!(!cleared("trust", &[]));
    assert!(!cleared("trust", &bad));
    assert!(!cleared("trust", &[clean[0].clone(), bad[0].clone()]), "the worst annotation counts");
    assert!(!cleared("trust", &[scanned("2026-10-01T00:00:00Z", vec![])]), "an old scan is not valid");
    assert!(!cleared("trust", &[scanned("2036-10-01T00:00:00Z", vec![])]));
    assert!(!cleared("trust", &[Scan { is_result: false, ..clean[0].clone() }]));
    assert!(!cleared("trust", &[Scan { is_exact: false, ..clean[0].clone() }]), "another image of the index is clean");
    let objecting = Scan::objecting("k".to_owned(), "says no".to_owned());
    assert!(!cleared("trust", &[clean[0].clone(), objecting]));
}

#[test]
fn an_excepted_vulnerability_is_a_warning_until_its_exception_ends() {
    let exception = json!([{"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-11-20", "reason": "SEC-42"}]);
    let excepted = settings(json!({}), exception);
    let bad = [report(vec![critical("CVE-2026-0001")])];
    let violations = judged(&excepted, &[], &bad, "2026-11-20T23:59:59Z");
    assert_eq!(codes(&violations), [(EXCEPTED, Effect::Warn)]);
    assert_eq!(violations[0].text, "is excepted from CVE-2026-0001 until 2026-11-20 (SEC-42)");
    let violations = judged(&excepted, &[], &bad, "2026-11-21T00:00:00Z");
    assert_eq!(codes(&violations), [VULNERABLE, (EXPIRED_EXCEPTION, Effect::Warn)]);
    assert!(
        violations[0].text.ends_with("; the exception for CVE-2026-0001 ended: 2026-11-20 (SEC-42)"),
        "{}",
        violations[0].text
    );
    let in_two_packages = [report(vec![critical("CVE-2026-0001"), critical("CVE-2026-0001")])];
    let violations = judged(&excepted, &[], &in_two_packages, NOW);
    assert_eq!(violations[0].text, "is excepted from CVE-2026-0001 until 2026-11-20 (SEC-42)");
    let two = [report(vec![critical("CVE-2026-0001"), critical("CVE-2026-0002")])];
    let violations = judged(&excepted, &[], &two, NOW);
    assert_eq!(codes(&violations), [VULNERABLE, (EXCEPTED, Effect::Warn)]);
    assert!(
        violations[0].text.starts_with(
            "has 1 critical (0 allowed) vulnerability with a fix; deploy a build that has the fixes: CVE-2026-0002 in"
        ),
        "{}",
        violations[0].text
    );
    let allowed = settings(
        json!({"maxAllowed": {"critical": 1}}),
        json!([{"images": ["*"], "cves": ["CVE-2026-0001"], "until": "2026-11-30", "reason": "x"}]),
    );
    assert_eq!(codes(&judged(&allowed, &[], &bad, NOW)), [], "an exception that is not needed is not reported");
}

#[test]
fn four_hundred_vulnerabilities_make_one_readable_line() {
    let named = (0..400)
        .map(|n| vulnerability(&format!("CVE-2026-{n:04}"), Severity::Critical, "1.2.3-4ubuntu5", ""))
        .collect();
    let text = &judged(&settings(json!({}), json!([])), &[], &[report(named)], NOW)[0].text;
    assert!(text.starts_with("has 400 critical (0 allowed) vulnerabilities with a fix; deploy a build that has the fixes: CVE-2026-0000 in"), "{text}");
    assert!(text.contains("and 397 more (by") && text.len() < 400, "{text}");
}

#[test]
fn invalid_settings_are_rejected_with_their_path() {
    let problems = |scan: Value| {
        let json = serde_json::value::to_raw_value(&json!({ "scan": scan })).unwrap();
        Settings::from_json(&json).unwrap_err().lines().to_vec()
    };
    assert_eq!(
        problems(json!({
            "maxAllowed": {"critical": -1, "high": "5", "medium": 1.5, "severe": 1},
            "patchWithin": {"high": "30"},
            "podAnnotations": "true",
            "reports": [{"source": "trivy"}, {"namespace": "x"}, {"source": "quay", "namespace": "Quay_"}],
        })),
        [
            "scan.maxAllowed.critical: expected a whole number, 0 or more, found -1",
            "scan.maxAllowed.high: expected a whole number, 0 or more, found a string",
            "scan.maxAllowed.medium: expected a whole number, 0 or more, found 1.5",
            "scan.maxAllowed.severe: unknown key; expected one of critical, high, medium, low, negligible, unknown",
            "scan.patchWithin.high: `30` has no unit; write `30d` for days, or `30h` for hours",
            "scan.reports[0].source: unknown value `trivy`; expected one of sbomscanner, trivyOperator, quay, kubescape; did you mean `trivyOperator`?",
            "scan.reports[1]: `source` is required",
            "scan.reports[2].namespace: invalid namespace name `Quay_`; write one such as `team-a`",
            "scan.podAnnotations: unknown value `true`; expected one of flag, trust, ignore",
        ]
    );
    assert_eq!(Scanning::default(), settings(json!({}), json!([])).rules.scan);
}
