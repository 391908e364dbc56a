use std::io::{self, Write};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::{Decided, Event, Log, LogFormat, MAX_LINE, MAX_TEXT, MAX_WAITING};
use crate::policy::LogLine;

/// An output that keeps everything.
#[derive(Clone, Default)]
struct Output(Arc<Mutex<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Output {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

/// What the log writes.
fn written(format: LogFormat, write: impl FnOnce(&Log)) -> String {
    let output = Output::default();
    let log = Log::to(format, MAX_WAITING, output.clone()).unwrap();
    write(&log);
    log.flush();
    output.text()
}

fn annotations(value: &Value) -> Map<String, Value> {
    value.as_object().unwrap().clone()
}

fn decided(annotations: &Map<String, Value>) -> Decided<'_> {
    Decided {
        allowed: false,
        failed: false,
        user: Some("jane"),
        authentication: "TLS",
        method: "POST",
        uri: "/v1.41/services/web/update?version=7&token=secret",
        operation: "UPDATE",
        kind: "Service",
        name: "web",
        id: Some("x1"),
        annotations,
        log: &[],
        duration: Duration::from_nanos(1_234_567),
    }
}

fn json_of(decided: &Decided<'_>) -> Value {
    let line = written(LogFormat::Json, |log| log.decision(decided));
    assert_eq!(line.matches('\n').count(), 1, "{line}");
    serde_json::from_str(&line).unwrap()
}

#[test]
fn a_decision_is_a_line_of_json_with_the_audit_annotations() {
    let denied = annotations(&json!({"verdict": "denied", "findings": [{"code": "stale-image", "effect": "deny"}]}));
    let mut line = json_of(&decided(&denied));
    let time = line.as_object_mut().unwrap().remove("time").unwrap();
    let time = time.as_str().unwrap();
    assert!(time.len() == 24 && time.ends_with('Z') && chrono::DateTime::parse_from_rfc3339(time).is_ok(), "{time}");
    assert_eq!(
        line,
        json!({
            "level": "warning", "event": "decision", "allowed": false, "user": "jane", "authentication": "TLS", "method": "POST",
            "path": "/v1.41/services/web/update", "operation": "UPDATE",
            "object": {"kind": "Service", "name": "web", "id": "x1"},
            "annotations": {"verdict": "denied", "findings": [{"code": "stale-image", "effect": "deny"}]},
            "seconds": 0.001_235,
        })
    );
}

#[test]
fn the_fields_have_a_fixed_order() {
    let accepted = annotations(&json!({"verdict": "accepted"}));
    let line = written(LogFormat::Json, |log| log.decision(&decided(&accepted)));
    let keys = ["time", "level", "event", "allowed", "user", "authentication", "method", "path", "operation", "object"];
    let places = keys.map(|key| line.find(&format!("\"{key}\":")).unwrap());
    assert!(places.is_sorted(), "{line}");
}

#[test]
fn the_text_format_has_the_same_fields_as_words_and_json() {
    let warned = annotations(&json!({"verdict": "warned", "findings": [{"text": "is 120 days old"}]}));
    let text = written(LogFormat::Text, |log| log.decision(&Decided { user: None, allowed: true, ..decided(&warned) }));
    let (time, rest) = text.split_once(' ').unwrap();
    assert!(time.starts_with("time=2"), "{time}");
    assert_eq!(
        rest,
        "level=warning event=decision allowed=true user=null authentication=TLS method=POST path=/v1.41/services/web/update \
         operation=UPDATE object.id=x1 object.kind=Service object.name=web findings=[{\"text\":\"is 120 days old\"}] \
         verdict=warned seconds=0.001235\n"
    );
}

#[test]
fn a_text_that_could_be_read_as_something_else_is_quoted() {
    for (name, expected) in [
        ("null", r#"object.name="null""#),
        ("true", r#"object.name="true""#),
        ("12", r#"object.name="12""#),
        ("", r#"object.name="""#),
        ("a b=c", r#"object.name="a b=c""#),
        ("registry.example.com:5000/web@sha256:0", "object.name=registry.example.com:5000/web@sha256:0 "),
    ] {
        let accepted = annotations(&json!({"verdict": "accepted"}));
        let text = written(LogFormat::Text, |log| log.decision(&Decided { name, ..decided(&accepted) }));
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn text_of_requesters_stays_in_its_field_and_controls_no_terminal() {
    let hostile = "a\n{\"event\":\"decision\"}\r\u{1b}[31m\u{9b}31m\u{7f}\u{202e}\u{2028}é \"";
    let annotations = annotations(&json!({"verdict": "denied", hostile: hostile}));
    let log = [LogLine { level: "Warning", message: hostile.to_owned() }];
    let decided = Decided {
        user: Some(hostile),
        authentication: hostile,
        method: hostile,
        uri: hostile,
        name: hostile,
        id: Some(hostile),
        log: &log,
        ..decided(&annotations)
    };
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = written(format, |log| log.decision(&decided));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        let hidden = |c: char| (c.is_control() && c != '\n') || ('\u{2028}'..='\u{202e}').contains(&c);
        assert!(!line.contains(hidden), "{line:?}");
        assert!(line.contains(r"\u001b[31m\u009b31m\u007f\u202e\u2028é"), "{line}");
    }
    let line = json_of(&decided);
    assert_eq!((&line["user"], &line["log"][0]["message"]), (&json!(hostile), &json!(hostile)));
}

#[test]
fn the_level_says_whether_somebody_should_look() {
    let level = |verdict: &str, failed: bool| {
        let annotations = annotations(&json!({ "verdict": verdict }));
        json_of(&Decided { failed, ..decided(&annotations) })["level"].as_str().unwrap().to_owned()
    };
    assert_eq!(level("accepted", false), "info");
    assert_eq!(level("warned", false), "warning");
    assert_eq!(level("denied", false), "warning");
    assert_eq!(level("denied", true), "error");
}

#[test]
fn a_line_has_a_bounded_length_whatever_the_call_and_the_policy_say() {
    let long = "é".repeat(100_000);
    let finding = json!({"code": "stale-image", "effect": "deny", "site": long, "image": long, "text": long});
    let many = annotations(&json!({
        "verdict": "denied", "findings": vec![finding; 30], "images": vec![json!({"image": long, "sites": [long]}); 30],
    }));
    let log = vec![LogLine { level: "Warning", message: long.clone() }; 100];
    let decided = Decided { user: Some(&long), uri: &long, name: &long, log: &log, ..decided(&many) };
    for format in [LogFormat::Json, LogFormat::Text] {
        let line = written(format, |log| log.decision(&decided));
        assert!(line.len() <= MAX_LINE, "{}", line.len());
        assert!(line.contains("stale-image") && line.contains("truncated"), "{line}");
    }
    let line = json_of(&decided);
    assert_eq!(line["user"].as_str().unwrap().chars().count(), MAX_TEXT + 1);
    assert_eq!(line["annotations"]["verdict"], "denied");
    assert_eq!(line["truncated"], true);

    let unknown = annotations(&json!({"verdict": "denied", "other": long}));
    let line = json_of(&Decided { ..super::tests::decided(&unknown) });
    assert_eq!((&line["annotations"], &line["truncated"]), (&Value::Null, &json!(true)));
}

#[test]
fn the_log_of_the_policy_is_in_the_line_up_to_a_number() {
    let accepted = annotations(&json!({"verdict": "accepted"}));
    let log = vec![LogLine { level: "Warning", message: "slow registry".to_owned() }; 10];
    let line = json_of(&Decided { log: &log, ..decided(&accepted) });
    assert_eq!(line["log"].as_array().unwrap().len(), 8);
    assert_eq!(line["log"][0], json!({"level": "warning", "message": "slow registry"}));
    assert_eq!((&line["level"], &line["truncated"]), (&json!("warning"), &json!(true)));
}

#[test]
fn other_events_have_their_names_and_fields() {
    let settings = "/etc/container-patch/settings.yaml";
    let problems = ["schedule.maxAge: expected a duration".to_owned()];
    let text = written(LogFormat::Json, |log| {
        log.event(&Event::Started { module: "sha256:0", socket: "/run/x.sock", settings });
        log.event(&Event::Reloaded { settings, warnings: &[] });
        log.event(&Event::Reloaded { settings, warnings: &problems });
        log.event(&Event::ReloadFailed { settings, problems: &problems });
        log.event(&Event::Error { message: "cannot accept\n" });
        log.event(&Event::Stopped { reason: "SIGTERM" });
    });
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let named = |line: &Value| format!("{} {}", line["level"].as_str().unwrap(), line["event"].as_str().unwrap());
    assert_eq!(
        lines.iter().map(named).collect::<Vec<_>>(),
        ["info started", "info reloaded", "warning reloaded", "error reload-failed", "error error", "info stopped"]
    );
    assert_eq!(lines[0]["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(lines[3]["problems"], json!(problems));
    assert_eq!(lines[5]["reason"], "SIGTERM");
}

/// An output that waits for a permission before each write.
struct Slow(Receiver<()>, Output);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let _ = self.0.recv();
        self.1.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn slow(max_waiting: usize) -> (Log, Sender<()>, Output) {
    let (sender, receiver) = channel();
    let output = Output::default();
    (Log::to(LogFormat::Json, max_waiting, Slow(receiver, output.clone())).unwrap(), sender, output)
}

#[test]
fn a_decision_does_not_wait_for_a_slow_reader_and_missing_lines_are_counted() {
    let (log, permit, output) = slow(10_000);
    let accepted = annotations(&json!({"verdict": "accepted"}));
    (0..1000).for_each(|_| log.decision(&decided(&accepted)));
    assert!(log.dropped() > 900, "{}", log.dropped());
    drop(permit);
    log.flush();
    let text = output.text();
    let reported = text.lines().filter_map(|line| {
        let line: Value = serde_json::from_str(line).unwrap();
        line["lines"].as_u64()
    });
    assert_eq!(reported.sum::<u64>(), log.dropped());
    let decisions = text.matches(r#""event":"decision""#).count();
    assert_eq!(u64::try_from(decisions).unwrap() + log.dropped(), 1000);
}

#[test]
fn the_end_does_not_wait_for_ever() {
    let (log, _permit, _) = slow(10_000);
    log.event(&Event::Stopped { reason: "SIGTERM" });
    log.flush();
}

#[test]
fn a_closed_output_is_ignored() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }
    let log = Log::to(LogFormat::Json, MAX_WAITING, Closed).unwrap();
    for _ in 0..3 {
        log.event(&Event::Error { message: "nothing reads this" });
        log.flush();
    }
    assert_eq!(log.dropped(), 0);
}
