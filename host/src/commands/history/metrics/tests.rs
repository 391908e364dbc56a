use std::io::Write as _;
use std::process::{Command, Stdio};

use chrono::{DateTime, Utc};

use super::{MAX_SERIES, Metrics};
use crate::commands::history::line::Skipped;
use crate::commands::history::patches::Patch;
use crate::commands::history::record::{BreakGlass, Finding, Image, Object, Operation, Outcome, Request};
use crate::metrics_page::{open_metrics, prometheus_text};

fn time(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

/// A request with an image that was built 10 days before, stored without findings.
fn request() -> Request {
    Request {
        time: time("2026-11-20T12:00:00Z"),
        outcome: Outcome::Admitted,
        status: Some(201),
        operation: Operation::Create,
        object: Object { kind: "Pod".to_owned(), namespace: "shop".to_owned(), ..Object::default() },
        user: "jane".to_owned(),
        impersonated_by: None,
        images: vec![image("2026-11-10T12:00:00Z")],
        findings: Vec::new(),
        break_glass: None,
        is_shortened: false,
        is_by_namespaced_policy: false,
    }
}

fn image(built: &str) -> Image {
    Image { repository: "registry.example.com/web".to_owned(), built: Some(time(built)), ..Image::default() }
}

fn finding(code: &str, effect: &str, site: &str, passed: Option<&str>) -> Finding {
    Finding {
        code: code.to_owned(),
        effect: effect.to_owned(),
        site: Some(format!("container `{site}`")),
        image: Some("registry.example.com/web:1".to_owned()),
        passed: passed.map(str::to_owned),
        text: "is stale".to_owned(),
    }
}

fn text(metrics: &Metrics) -> String {
    prometheus_text(&open_metrics(&metrics.registry()))
}

/// The value of a sample. `None` without one.
fn value(metrics: &Metrics, sample: &str) -> Option<String> {
    let text = text(metrics);
    let sample = format!("container_patch_history_{sample} ");
    text.lines().find_map(|line| line.strip_prefix(&sample)).map(str::to_owned)
}

#[track_caller]
fn assert_value(metrics: &Metrics, sample: &str, expected: &str) {
    assert_eq!(value(metrics, sample).as_deref(), Some(expected), "{sample} in\n{}", text(metrics));
}

#[test]
fn requests_are_counted_by_what_happened() {
    let mut metrics = Metrics::new();
    for outcome in [Outcome::Admitted, Outcome::Denied, Outcome::Denied, Outcome::Monitored] {
        metrics.request(&Request { outcome, ..request() });
    }
    assert_value(&metrics, r#"requests_total{namespace="shop",outcome="admitted"}"#, "1");
    assert_value(&metrics, r#"requests_total{namespace="shop",outcome="denied"}"#, "2");
    assert_value(&metrics, r#"requests_total{namespace="shop",outcome="monitored"}"#, "1");
    assert_value(&metrics, "last_decision_timestamp_seconds", "1795176000.0");
}

#[test]
fn a_finding_counts_once_for_each_image_of_a_request() {
    let mut metrics = Metrics::new();
    let two_containers = vec![
        finding("stale-image", "warn", "app", Some("controllerPods")),
        finding("stale-image", "deny", "web", None),
        finding("unpinned-image", "warn", "app", Some("breakGlass")),
    ];
    metrics.request(&Request { findings: two_containers, ..request() });
    let labels = r#"findings_total{namespace="shop",code="stale-image",effect="deny",passed=""}"#;
    assert_value(&metrics, labels, "1");
    let labels = r#"findings_total{namespace="shop",code="unpinned-image",effect="warn",passed="breakGlass"}"#;
    assert_value(&metrics, labels, "1");
    assert!(!text(&metrics).contains("controllerPods"), "a refusal takes precedence");
}

#[test]
fn the_age_is_that_of_new_images_of_stored_requests() {
    let mut metrics = Metrics::new();
    let unchanged = Image { unchanged: true, ..image("2020-01-01T00:00:00Z") };
    let unknown = Image { built: None, ..image("2026-11-01T00:00:00Z") };
    let images = vec![image("2026-11-10T12:00:00Z"), image("2026-11-21T00:00:00Z"), unchanged, unknown];
    metrics.request(&Request { images, ..request() });
    metrics.request(&Request { outcome: Outcome::Denied, ..request() });
    let bucket = |limit: &str| format!("admitted_image_age_seconds_bucket{{le=\"{limit}\",namespace=\"shop\"}}");
    assert_value(&metrics, &bucket("86400.0"), "1");
    assert_value(&metrics, &bucket("604800.0"), "1");
    assert_value(&metrics, &bucket("1209600.0"), "2");
    assert_value(&metrics, r#"admitted_image_age_seconds_count{namespace="shop"}"#, "2");
    assert_value(&metrics, r#"admitted_image_age_seconds_sum{namespace="shop"}"#, "864000.0");
    let limits = text(&metrics).lines().filter(|line| line.contains("age_seconds_bucket")).count();
    assert_eq!(limits, 9, "8 limits and infinity");
}

#[test]
fn break_glass_and_exceptions_count_when_they_let_a_request_in() {
    let mut metrics = Metrics::new();
    let used = Request {
        outcome: Outcome::Warned,
        break_glass: Some(BreakGlass { reason: "outage".to_owned(), by: "group oncall".to_owned() }),
        findings: vec![finding("excepted", "warn", "app", None)],
        ..request()
    };
    assert_eq!(value(&metrics, r#"break_glass_last_use_timestamp_seconds{namespace="shop",user="jane"}"#), None);
    metrics.request(&used);
    metrics.request(&Request { time: time("2026-11-19T12:00:00Z"), ..used.clone() });
    metrics.request(&Request { outcome: Outcome::Rejected, time: time("2026-11-21T12:00:00Z"), ..used });
    assert_value(&metrics, r#"break_glass_total{namespace="shop",user="jane"}"#, "2");
    let last = r#"break_glass_last_use_timestamp_seconds{namespace="shop",user="jane"}"#;
    assert_value(&metrics, last, "1795176000.0");
    assert_value(&metrics, r#"exceptions_total{namespace="shop"}"#, "2");
    assert_value(&metrics, r#"exceptions_last_use_timestamp_seconds{namespace="shop"}"#, "1795176000.0");
    assert_value(&metrics, r#"findings_total{namespace="shop",code="excepted",effect="warn",passed=""}"#, "3");
}

#[test]
fn a_time_is_absent_until_it_is_known_and_never_goes_back() {
    let mut metrics = Metrics::new();
    let last = |metrics: &Metrics| value(metrics, "last_event_timestamp_seconds");
    assert_eq!(last(&metrics), None);
    metrics.event(time("2026-11-20T12:00:00.5Z"));
    metrics.event(time("2026-11-20T11:00:00Z"));
    assert_eq!(last(&metrics).as_deref(), Some("1795176000.5"));
    assert_eq!(value(&metrics, "last_decision_timestamp_seconds"), None);
}

fn patch(repository: &str, start: &str, end: Option<&str>) -> Patch {
    Patch {
        repository: repository.to_owned(),
        digest: "sha256:0123".to_owned(),
        start: time(start),
        end: end.map(time),
        old_pods: usize::from(end.is_none()),
    }
}

#[test]
fn finished_patches_have_a_duration_and_unfinished_ones_a_start() {
    let mut metrics = Metrics::new();
    metrics.patched(&patch("web", "2026-11-20T12:00:00Z", Some("2026-11-20T12:40:00Z")));
    assert_value(&metrics, r#"time_to_patch_seconds_bucket{le="900.0",repository="web"}"#, "0");
    assert_value(&metrics, r#"time_to_patch_seconds_bucket{le="3600.0",repository="web"}"#, "1");
    assert_value(&metrics, r#"time_to_patch_seconds_sum{repository="web"}"#, "2400.0");
    let start = r#"unfinished_patch_start_timestamp_seconds{repository="web"}"#;
    metrics.unfinished(&[
        patch("web", "2026-11-20T13:00:00Z", None),
        patch("web", "2026-11-20T12:00:00Z", None),
        patch("api", "2026-11-20T14:00:00Z", None),
    ]);
    assert_value(&metrics, start, "1795176000.0");
    metrics.unfinished(&[patch("api", "2026-11-20T14:00:00Z", None)]);
    assert_eq!(value(&metrics, start), None, "it is finished");
    assert_value(&metrics, r#"unfinished_patch_start_timestamp_seconds{repository="api"}"#, "1795183200.0");
}

#[test]
fn labels_are_bounded_whatever_the_log_has() {
    let mut metrics = Metrics::new();
    let mut request = request();
    request.break_glass = Some(BreakGlass { reason: String::new(), by: String::new() });
    for number in 0..3 * MAX_SERIES {
        request.object.namespace = format!("ns-{number}\"\n\u{1b}[31m{}", "x".repeat(10_000));
        request.user = format!("user-{number}");
        let code = format!("code-{number}");
        request.findings = vec![finding(&code, &code, "app", Some(&code)), finding("excepted", "warn", "app", None)];
        metrics.request(&request);
        let repository = format!("repository-{number}");
        metrics.patched(&patch(&repository, "2026-11-20T12:00:00Z", Some("2026-11-20T12:40:00Z")));
    }
    let unfinished: Vec<Patch> =
        (0..3 * MAX_SERIES).map(|number| patch(&format!("r-{number}"), "2026-11-20T12:00:00Z", None)).collect();
    metrics.unfinished(&unfinished);
    metrics.unfinished(&unfinished);
    let text = text(&metrics);
    for (metric, most) in [
        ("requests_total", MAX_SERIES + 1),
        ("findings_total", MAX_SERIES + 2),
        ("break_glass_total", MAX_SERIES + 1),
        ("exceptions_total", MAX_SERIES + 1),
        ("admitted_image_age_seconds_count", MAX_SERIES + 1),
        ("time_to_patch_seconds_count", MAX_SERIES + 1),
        ("unfinished_patch_start_timestamp_seconds", MAX_SERIES),
    ] {
        let metric = format!("container_patch_history_{metric}{{");
        let series = text.lines().filter(|line| line.starts_with(&metric)).count();
        assert_eq!(series, most, "{metric}");
    }
    assert_value(&metrics, r#"requests_total{namespace="other",outcome="admitted"}"#, "2000");
    assert_value(&metrics, r#"findings_total{namespace="other",code="other",effect="warn",passed="other"}"#, "2500");
    assert_value(&metrics, r#"break_glass_total{namespace="other",user="other"}"#, "2000");
    assert!(text.lines().all(|line| line.len() < 600 && !line.contains('\u{1b}')));
    promtool(&text);
}

#[test]
fn promtool_accepts_the_metrics() {
    let mut metrics = Metrics::new();
    promtool(&text(&metrics));
    let findings = vec![finding("stale-image", "warn", "app", Some("controllerPods"))];
    metrics.request(&Request { findings, ..request() });
    metrics.event(request().time);
    metrics.skipped(Skipped::TooLong);
    metrics.patched(&patch("web", "2026-11-20T12:00:00Z", Some("2026-11-20T12:40:00Z")));
    metrics.unfinished(&[patch("web", "2026-11-20T13:00:00Z", None)]);
    let text = text(&metrics);
    promtool(&text);
    for expected in [
        format!("container_patch_history_build_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION")),
        "container_patch_history_skipped_lines_total{reason=\"too-long\"} 1".to_owned(),
        "container_patch_history_skipped_lines_total{reason=\"torn\"} 0".to_owned(),
        "# TYPE container_patch_history_last_event_timestamp_seconds gauge".to_owned(),
    ] {
        assert!(text.lines().any(|line| line == expected), "no {expected} in\n{text}");
    }
    let open = open_metrics(&metrics.registry());
    assert!(open.ends_with("# EOF\n"), "{open}");
}

fn promtool(metrics: &str) {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else {
        eprintln!("promtool is not on the PATH");
        return;
    };
    let mut input = promtool.stdin.take().unwrap();
    input.write_all(metrics.as_bytes()).unwrap();
    drop(input);
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
