use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use super::{Counted, Metrics};
use crate::capabilities::{Capabilities, HostCall, Image, Nothing};
use crate::metrics_page::prometheus_text;

const CODES: [&str; 2] = ["stale-image", "unpinned-image"];

fn metrics() -> Metrics {
    Metrics::new(CODES, "sha256:0123")
}

fn used() -> Metrics {
    let metrics = metrics();
    metrics.decided("denied", ["stale-image", "stale-image", "unpinned-image"], Duration::from_millis(3));
    metrics.decided("accepted", [], Duration::from_micros(700));
    metrics.passed();
    metrics.loaded("2026-11-20T12:00:00.5Z".parse().unwrap());
    metrics
}

/// The value of a sample.
#[track_caller]
fn value(metrics: &Metrics, sample: &str) -> String {
    let text = prometheus_text(&metrics.open_metrics());
    let line = text.lines().find(|line| line.strip_prefix(sample).is_some_and(|rest| rest.starts_with(' ')));
    let line = line.unwrap_or_else(|| panic!("no sample {sample} in\n{text}"));
    line.rsplit(' ').next().unwrap().to_owned()
}

#[test]
fn a_decision_counts_once_for_each_code() {
    let metrics = used();
    let number = |sample: &str| value(&metrics, &format!("container_patch_swarm_{sample}"));
    assert_eq!(number(r#"decisions_total{verdict="denied"}"#), "1");
    assert_eq!(number(r#"decisions_total{verdict="warned"}"#), "0");
    assert_eq!(number(r#"findings_total{code="stale-image"}"#), "1");
    assert_eq!(number(r#"findings_total{code="unpinned-image"}"#), "1");
    assert_eq!(number(r#"decision_duration_seconds_bucket{le="0.001"}"#), "1");
    assert_eq!(number(r#"decision_duration_seconds_bucket{le="0.005"}"#), "2");
    assert_eq!(number("decision_duration_seconds_count"), "2");
    assert_eq!(number("calls_passed_total"), "1");
}

#[test]
fn labels_are_those_of_the_list_whatever_the_policy_answers() {
    let metrics = used();
    let before = metrics.open_metrics().lines().count();
    for number in 0..1000 {
        let unknown = format!("code-{number}\"\n");
        metrics.decided(&unknown, [unknown.as_str()], Duration::ZERO);
    }
    assert_eq!(metrics.open_metrics().lines().count(), before + 2);
    assert_eq!(value(&metrics, r#"container_patch_swarm_findings_total{code="other"}"#), "1000");
}

#[test]
fn the_last_load_of_the_settings_has_a_time_and_a_result() {
    let metrics = used();
    let number = |sample: &str| -> f64 { value(&metrics, &format!("container_patch_swarm_{sample}")).parse().unwrap() };
    let loaded =
        || (number("settings_last_reload_successful"), number("settings_last_reload_success_timestamp_seconds"));
    assert_eq!(loaded(), (1.0, 1_795_176_000.5));
    metrics.load_failed();
    assert_eq!(loaded(), (0.0, 1_795_176_000.5), "the time of the settings in force");
}

#[test]
fn a_call_is_in_flight_until_it_is_decided() {
    let metrics = metrics();
    let in_flight = || value(&metrics, "container_patch_swarm_decisions_in_flight");
    let first = metrics.begin();
    let second = metrics.begin();
    assert_eq!(in_flight(), "2");
    drop((first, second));
    assert_eq!(in_flight(), "0");
}

#[test]
fn questions_to_registries_without_an_answer_are_counted() {
    let metrics = Arc::new(metrics());
    let counted = Counted::new(Arc::new(Nothing), Arc::clone(&metrics));
    let image = Image { image: "nginx:1".to_owned() };
    assert!(counted.answer(HostCall::OciManifestDigest(image)).is_err());
    assert_eq!(value(&metrics, "container_patch_swarm_registry_errors_total"), "1");
}

#[test]
fn the_number_of_dropped_lines_is_that_of_the_log() {
    let metrics = metrics();
    [2, 2, 5].into_iter().for_each(|number| metrics.dropped_lines(number));
    assert_eq!(value(&metrics, "container_patch_swarm_log_dropped_lines_total"), "5");
}

#[test]
fn both_formats_name_each_metric() {
    let metrics = used();
    let (open, text) = (metrics.open_metrics(), prometheus_text(&metrics.open_metrics()));
    assert!(open.ends_with("# EOF\n") && open.contains("# TYPE container_patch_swarm_decisions counter\n"), "{open}");
    assert!(!text.contains("EOF") && text.contains("# TYPE container_patch_swarm_decisions_total counter\n"), "{text}");
    let version = env!("CARGO_PKG_VERSION");
    for expected in [
        "# HELP container_patch_swarm_decisions_total Decisions about calls that can start an image, by verdict.\n"
            .to_owned(),
        "# TYPE container_patch_swarm_build_info gauge\n".to_owned(),
        format!("container_patch_swarm_build_info{{version=\"{version}\",module=\"sha256:0123\"}} 1\n"),
        "# TYPE container_patch_swarm_decision_duration_seconds histogram\n".to_owned(),
    ] {
        assert!(text.contains(&expected), "{expected} is missing in\n{text}");
    }
}

#[test]
fn promtool_has_no_objection() {
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut promtool) = promtool.spawn() else {
        eprintln!("promtool is not on the PATH");
        return;
    };
    promtool.stdin.take().unwrap().write_all(prometheus_text(&used().open_metrics()).as_bytes()).unwrap();
    let output = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
