use std::fs;
use std::io::{self, ErrorKind, Write};

use chrono::{DateTime, Utc};
use clap::Parser;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::samples::{D1, D2, Event, decision, time};
use super::{Options, is_broken_pipe};
use crate::terminal::Style;

#[derive(Debug, Parser)]
struct Cli {
    #[command(flatten)]
    options: Options,
}

fn now() -> DateTime<Utc> {
    time("2026-11-26T00:00:00Z")
}

/// What the history of these events is with these flags.
fn try_history(lines: &[String], flags: &str) -> anyhow::Result<String> {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("audit.log");
    fs::write(&log, lines.iter().map(|line| line.clone() + "\n").collect::<String>()).unwrap();
    let flags = flags.split(' ').filter(|flag| !flag.is_empty());
    let Cli { options } = Cli::try_parse_from(["history", log.to_str().unwrap()].into_iter().chain(flags))?;
    let mut written = Vec::new();
    options.write(now(), &mut written, Style::PLAIN)?;
    Ok(String::from_utf8(written)?)
}

fn history(lines: &[String], flags: &str) -> String {
    try_history(lines, flags).unwrap()
}

fn json_of(lines: &[String], flags: &str) -> Value {
    serde_json::from_str(&history(lines, &format!("{flags} --output json"))).unwrap()
}

/// The names of the objects of the entries.
fn names(lines: &[String], flags: &str) -> String {
    let history = json_of(lines, flags);
    let names =
        history["entries"].as_array().unwrap().iter().map(|entry| entry["name"].as_str().unwrap_or("-").to_owned());
    names.collect::<Vec<_>>().join(" ")
}

const BUILT: Option<&str> = Some("2026-10-26T18:00:00Z");

/// A pod of the Deployment `web`, and what else happened.
fn day() -> Vec<String> {
    let of_replica_set = r#"{"owner":"ReplicaSet/web-7d9"}"#;
    let mut replica_set = Event::deployment("web-7d9", D1).annotation("object", r#"{"owner":"Deployment/web"}"#).json();
    replica_set["objectRef"]["resource"] = "replicasets".into();
    replica_set["stageTimestamp"] = "2026-11-24T08:00:01Z".into();
    vec![
        Event::deployment("web", D1).image(D1, BUILT).at("2026-11-24T08:00:00Z").line(),
        replica_set.to_string(),
        Event::pod("web-7d9-a", D1).image(D1, BUILT).annotation("object", of_replica_set).at("2026-11-24T08:00:02Z").line(),
        Event::get().at("2026-11-24T09:00:00Z").line(),
        Event::deployment("api", D2)
            .verdict("denied")
            .code(462)
            .annotation("findings", r#"[{"code":"stale-image","effect":"deny","site":"container `web`","image":"registry.example.com/web:1","text":"was built 2026-08-20; deploy 1.5"}]"#)
            .user("joe")
            .namespace("staging")
            .at("2026-11-25T10:00:00Z")
            .line(),
        Event::deployment("rescue", D2)
            .verdict("warned")
            .annotation("breakGlass", r#"{"reason":"INC-7","by":"group oncall"}"#)
            .annotation("findings", r#"[{"code":"break-glass","effect":"warn","text":"break-glass used by otto: INC-7"},{"code":"excepted","effect":"warn","site":"container `web`","image":"registry.example.com/web:1","text":"is excepted"}]"#)
            .user("otto")
            .at("2026-11-25T11:00:00Z")
            .line(),
        decision("2026-11-25T12:00:00Z", "Service", "swarm", D2, None),
    ]
}

#[test]
fn an_entry_has_all_keys() {
    let history = json_of(&day(), "");
    let expected = json!({
        "time": "2026-11-24T08:00:02Z", "outcome": "admitted", "status": 201, "operation": "CREATE", "platform": "cluster",
        "kind": "Pod", "namespace": "shop", "name": "web-7d9-a", "owner": "ReplicaSet/web-7d9", "workload": "Deployment/web",
        "user": "jane", "impersonatedBy": null, "image": format!("registry.example.com/web:1@{D1}"),
        "repository": "registry.example.com/web", "tag": "1", "digest": D1, "built": "2026-10-26T18:00:00Z", "ageDays": 28,
        "unchanged": false, "exempt": false, "sites": ["container `web`"], "findings": [], "breakGlass": null, "shortened": false,
    });
    assert_eq!(history["entries"][2], expected);
    assert_eq!(history["entries"][4]["breakGlass"], json!({"reason": "INC-7", "by": "group oncall"}));
    assert_eq!(
        history["summary"],
        json!({"filters": {}, "requests": {"admitted": 4, "warned": 1, "monitored": 0, "denied": 1, "rejected": 0}, "entries": 6,
            "unchangedLeftOut": 0, "breakGlass": 1, "excepted": 1, "first": "2026-11-24T08:00:00Z", "last": "2026-11-25T12:00:00Z",
            "duplicateEvents": 0,
            "skippedLines": {"torn": 0, "foreign": 0, "garbage": 0, "tooLong": 0}})
    );
    let keys = |entry: &Value| entry.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    for entry in history["entries"].as_array().unwrap() {
        assert_eq!(keys(entry), keys(&expected));
    }
}

#[test]
fn filters_select_requests() {
    let names = |flags: &str| names(&day(), flags);
    assert_eq!(names(""), "web web-7d9 web-7d9-a api rescue swarm");
    assert_eq!(names("--namespace staging"), "api");
    assert_eq!(names("-n staging -n shop --user joe --user otto"), "api rescue");
    assert_eq!(names("--workload web"), "web web-7d9 web-7d9-a");
    assert_eq!(names("--workload deployment/web --workload ReplicaSet/none"), "web web-7d9 web-7d9-a");
    assert_eq!(names("--workload Pod/web"), "");
    assert_eq!(names("--only denied"), "api");
    assert_eq!(names("--only denied --only break-glass"), "api rescue");
    assert_eq!(names("--only excepted"), "rescue");
    assert_eq!(names("--image registry.example.com/*"), "web web-7d9 web-7d9-a api rescue swarm");
    assert_eq!(names("--image registry.example.com/web:1"), "web web-7d9 web-7d9-a api rescue swarm");
    assert_eq!(names(&format!("--image *@{D2}")), "api rescue swarm");
    assert_eq!(names("--image docker.io/*"), "");
}

#[test]
fn findings_select_images() {
    let finding = |code: &str, passed: &str| {
        let finding = json!([{"code": code, "effect": "warn", "site": "container `web`", "image": "registry.example.com/web:1",
            "passed": (!passed.is_empty()).then_some(passed), "text": "is old"}]);
        Event::deployment(code, D1).verdict("warned").annotation("findings", &finding.to_string())
    };
    let lines = [
        finding("stale-image", "breakGlass").line(),
        finding("patch-due", "").line(),
        finding("unknown-build-date", "").verdict("denied").line(),
        finding("local-image", "").line(),
        Event::deployment("web", D1).line(),
    ];
    let names = |flags| names(&lines, flags);
    assert_eq!(names("--only monitored"), "unknown-build-date");
    assert_eq!(names("--only passed"), "stale-image");
    assert_eq!(names("--only passed --only monitored"), "stale-image unknown-build-date");
    assert_eq!(names("--code patch-due --code [Stale-Image]"), "stale-image patch-due");
    assert_eq!(names("--code local-image"), "local-image");
    assert_eq!(names("--code patch-due --only passed"), "");
    let error = try_history(&lines, "--code stale-imag").unwrap_err().to_string();
    assert!(error.contains("unknown code `stale-imag`; did you mean `stale-image`?"), "{error}");
    let csv = history(&lines, "--output csv");
    assert!(csv.lines().any(|line| line.contains(",stale-image,breakGlass,")), "{csv}");
    assert!(csv.lines().any(|line| line.contains(",patch-due,,")), "{csv}");
}

#[test]
fn a_period_has_a_start_and_an_end() {
    let names = |flags| names(&day(), flags);
    assert_eq!(names("--since 2026-11-25"), "api rescue swarm");
    assert_eq!(names("--since 2026-11-25T11:00:00Z"), "rescue swarm");
    assert_eq!(names("--since 14h"), "api rescue swarm");
    assert_eq!(names("--since 1d --until 13h"), "api rescue");
    assert_eq!(names("--until 2026-11-24"), "web web-7d9 web-7d9-a");
    let error = |flags| try_history(&day(), flags).unwrap_err().to_string();
    assert!(error("--since yesterday").contains("or a duration before now such as `7d`"));
    assert_eq!(
        error("--since 2026-11-25 --until 2026-11-24"),
        "--until 2026-11-24T23:59:59Z is before --since 2026-11-25T00:00:00Z"
    );
    assert!(error("--image web").contains("a pattern starts with a registry host or with `*`"));
    assert!(error("--workload web/").contains("expected a name such as `web`"));
}

#[test]
fn images_that_a_request_does_not_change_are_left_out() {
    let images = |effect: &str| {
        let images = json!([
            {"image": "registry.example.com/new:1", "sites": ["container `new`"]},
            {"image": "registry.example.com/old:1", "sites": ["container `old`"], "unchanged": true},
        ]);
        let finding = json!([{"code": "stale-image", "effect": effect, "site": "container `old`", "image": "registry.example.com/old:1", "text": "is old"}]);
        let event = Event::deployment("web", D1).annotation("images", &images.to_string());
        vec![event.annotation("findings", &finding.to_string()).verdict("warned").line()]
    };
    let entries = |lines: &[String], flags| {
        let history = json_of(lines, flags);
        (history["summary"]["entries"].as_u64().unwrap(), history["summary"]["unchangedLeftOut"].as_u64().unwrap())
    };
    assert_eq!(entries(&images("warn"), ""), (1, 1));
    assert_eq!(entries(&images("warn"), "--unchanged"), (2, 0));
    assert_eq!(entries(&images("deny"), ""), (2, 0), "they carry a refusal");
    let scaled = |event: Event| {
        let images = r#"[{"image":"registry.example.com/old:1","sites":["container `old`"],"unchanged":true}]"#;
        vec![event.annotation("images", images).verb("patch").code(200).line()]
    };
    let event = Event::deployment("web", D1);
    assert_eq!(entries(&scaled(event.clone()), ""), (0, 1));
    let break_glass = event.annotation("breakGlass", r#"{"reason":"INC-7","by":"group oncall"}"#);
    assert_eq!(entries(&scaled(break_glass), ""), (1, 0), "every use of break-glass is shown");
}

#[test]
fn a_refused_request_without_images_has_an_entry() {
    let event = Event::deployment("web", D1).verdict("denied").code(460).annotation("images", "[]");
    let finding = r#"[{"code":"invalid-request","effect":"deny","text":"cannot be read"}]"#;
    let lines = [event.annotation("findings", finding).line()];
    assert_eq!(json_of(&lines, "")["entries"][0]["image"], Value::Null);
    assert_eq!(names(&lines, "--image *"), "");
    assert!(history(&lines, "").contains("    deny [invalid-request]: cannot be read\n"));
}

#[test]
fn text_has_lines_for_each_request_and_totals() {
    let short = |digit: &str| format!("sha256:{}…", digit.repeat(12));
    let expected = format!(
        "2026-11-25T10:00:00Z  denied    joe creates Deployment staging/api (HTTP 462)
  registry.example.com/web:1@{}
    deny [stale-image]: was built 2026-08-20; deploy 1.5
2026-11-25T11:00:00Z  warned    otto creates Deployment shop/rescue
  break-glass: INC-7 (group oncall)
  registry.example.com/web:1@{}
    warn [break-glass]: break-glass used by otto: INC-7
    warn [excepted]: is excepted
2026-11-25T12:00:00Z  admitted  jane creates Service swarm
  registry.example.com/web:1@{}

Only: since 2026-11-25T00:00:00Z.
3 requests from 2026-11-25T10:00:00Z to 2026-11-25T12:00:00Z: 1 admitted, 1 warned, 1 denied
1 request admitted by break-glass
1 request with an exception
",
        short("2"),
        short("2"),
        short("2")
    );
    // The pod of the day before still runs the older build.
    let text = history(&day(), "--since 2026-11-25");
    assert_eq!(text.split("\n\n TIME").next().unwrap_or_default().trim_end(), expected.trim_end());
    assert!(text.contains("\n\n TIME TO PATCH"), "{text}");
    assert!(text.ends_with("since 2026-11-25T11:00:00Z: 1 pod runs an older build\n"), "{text}");
    assert!(history(&day(), "--workload web").contains(
        "jane creates Pod shop/web-7d9-a of Deployment/web\n  registry.example.com/web:1@sha256:111111111111…, built 2026-10-26 (28 days old)\n"
    ));
    assert_eq!(
        history(&day(), "--namespace none"),
        "No requests match. The log has 6, from 2026-11-24T08:00:00Z to 2026-11-25T12:00:00Z.\nOnly: namespace none.\n"
    );
    let only_unchanged = r#"[{"image":"registry.example.com/old:1","unchanged":true}]"#;
    let lines = [Event::deployment("web", D1).annotation("images", only_unchanged).line()];
    assert_eq!(
        history(&lines, ""),
        "No request changes an image. The log has 1, from 2026-11-25T12:00:00Z to 2026-11-25T12:00:00Z.
left out: 1 image that a request does not change; --unchanged shows them\n"
    );
}

#[test]
fn each_output_names_its_filters() {
    let flags = "--namespace payments --namespace sh<op --only break-glass --workload Deployment/web --image */web:* --code [STALE-IMAGE] --since 1d --unchanged";
    let filters = json!({"image": ["*/web:*"], "namespace": ["payments", "sh<op"], "workload": ["Deployment/web"], "only": ["break-glass"],
        "code": ["stale-image"], "since": "2026-11-25T00:00:00Z", "unchanged": true});
    assert_eq!(json_of(&day(), flags)["summary"]["filters"], filters);
    let sentence = "Only: image */web:*, namespace payments or sh<op, workload Deployment/web, break-glass, code stale-image, since 2026-11-25T00:00:00Z.";
    let text = history(&day(), flags);
    assert!(text.contains(&format!("\n{sentence}\n")), "{text}");
    let page = history(&day(), &format!("{flags} --output html"));
    assert!(page.contains(&sentence.replace('<', "&lt;")), "{page}");
    assert!(page.contains("<p class=\"panel note\">No requests match. The log has 6, from "));
    assert!(page.contains("</time>, by container-patch "));
    assert!(!history(&day(), "--unchanged").contains("Only:"));
    assert!(!history(&day(), "--output html").contains("Only:"));
}

#[test]
fn a_log_without_annotations_says_how_to_record_them() {
    assert!(super::not_annotated(1).starts_with("the log has 1 event, without annotations of the policies: expected "));
    let message = super::not_annotated(55);
    assert!(message.starts_with("none of the 55 events has annotations of the policies: expected "), "{message}");
    let (file, anchor) = message.split(' ').find_map(|word| word.strip_prefix("docs/")?.split_once('#')).unwrap();
    let page = fs::read_to_string(format!("{}/../docs/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap();
    assert!(page.contains(&format!("## {}\n", anchor.replace('-', " ").replacen("record", "Record", 1))));
}

#[test]
fn an_event_that_is_in_the_log_twice_counts_once() {
    let lines = [day(), day()].concat();
    let history = json_of(&lines, "");
    assert_eq!(history["entries"], json_of(&day(), "")["entries"]);
    assert_eq!(history["timeToPatch"], json_of(&day(), "")["timeToPatch"]);
    assert_eq!(history["summary"]["duplicateEvents"], 6);
    assert!(self::history(&lines, "").contains("\nleft out: 6 copies of events; each event counts once\n"));
    assert!(self::history(&lines, "--output html").contains("copies of events (6)"));
}

#[test]
fn finished_patches_have_figures() {
    let mut lines = day();
    lines.push(Event::delete("web-7d9-a").at("2026-11-25T13:30:00Z").line());
    let patches = &json_of(&lines, "")["timeToPatch"];
    let figures =
        json!({"finished": 1, "unfinished": 0, "meanSeconds": 9000, "p90Seconds": 9000, "slowestSeconds": 9000});
    assert_eq!(patches["total"], figures);
    assert_eq!(patches["repositories"][0]["repository"], "registry.example.com/web");
    assert_eq!(
        json_of(&lines, "--since 2026-11-25T11:00:01Z")["timeToPatch"]["total"]["finished"],
        0,
        "it began before"
    );
    assert_eq!(json_of(&lines, "--image docker.io/*")["timeToPatch"]["total"]["finished"], 0);
    assert_eq!(json_of(&lines, "--user nobody")["timeToPatch"]["total"], figures, "users do not patch pods");
    let text = history(&lines, "--user nobody");
    let row = text.lines().last().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(row, "registry.example.com/web 1 2h 30m 2h 30m 2h 30m 0");
}

#[test]
fn csv_has_a_line_for_each_image() {
    let csv = history(&day(), "--output csv");
    assert_eq!(csv.lines().count(), 7);
    assert!(csv.starts_with("time,outcome,status,operation,"));
    let api = csv.lines().find(|line| line.contains(",api,")).unwrap();
    assert!(api.contains("joe") && api.contains("deny [stale-image]: was built 2026-08-20; deploy 1.5"), "{api}");
}

/// Texts of requesters that control a terminal, a spreadsheet or the runner of a pipeline.
#[test]
fn texts_of_requesters_are_escaped() {
    let event = |user: &str| {
        let images = json!([{"image": "=cmd|' /C calc'!A0", "sites": ["\u{202e}site"]}]).to_string();
        let finding = json!([{"code": "\u{1b}[2J", "effect": "warn", "text": "a\nb\u{7}"}]).to_string();
        Event::deployment("web", D1).annotation("images", &images).annotation("findings", &finding).user(user)
    };
    let lines =
        [event("=HYPERLINK(\"http://h.test\")\u{1b}[31m\n::add-mask::x").line(), event("\r\n::error::x").line()];
    for output in ["text", "csv"] {
        let text = history(&lines, &format!("--output {output}"));
        assert!(!text.chars().any(|c| (c.is_control() && !matches!(c, '\n' | '\r')) || c == '\u{202e}'), "{text:?}");
        assert!(!text.contains("\n::"), "{text}");
    }
    let csv = history(&lines, "--output csv");
    assert!(csv.contains(",\"'=HYPERLINK(") && csv.contains(",'=cmd|' /C calc'!A0,"), "{csv}");
    assert_eq!(csv.matches("\r\n").count(), 3);
    let json = json_of(&lines, "");
    assert_eq!(json["entries"][1]["user"], "\r\n::error::x");
}

#[test]
fn another_file_is_an_error_that_says_what_is_expected() {
    let error = try_history(&["hello".to_owned(), r#"{"kind":"Pod"}"#.to_owned()], "").unwrap_err().to_string();
    assert!(error.contains("audit.log: this is not an audit log: expected events of the API server"), "{error}");
    let error = try_history(&[], "").unwrap_err().to_string();
    assert!(error.ends_with("audit.log: empty; expected at least one event"), "{error}");
    assert_eq!(history(&[Event::get().line()], ""), "No requests.\n");
    let json = json_of(&[Event::get().line()], "");
    assert_eq!((&json["entries"], &json["summary"]["first"]), (&json!([]), &Value::Null));
}

#[test]
fn a_reader_that_stops_early_is_recognised() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("audit.log");
    fs::write(&log, day().join("\n")).unwrap();
    for output in ["text", "json", "csv"] {
        let Cli { options } = Cli::parse_from(["history", log.to_str().unwrap(), "--output", output]);
        let error = options.write(now(), Closed, Style::PLAIN).unwrap_err();
        assert!(is_broken_pipe(&error), "{output}: {error:?}");
    }
}
