//! The events have the form that an API server and the plugin write.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Skipped, read_line, time_of};
use crate::commands::history::record::{BreakGlass, Deleted, Object, Operation, Outcome, Platform, Record, Request};
use crate::commands::history::samples::{D1, D2, Event, time};

fn records(line: &str) -> Vec<Record> {
    let mut records = Vec::new();
    assert_eq!(read_line(line.as_bytes(), &mut records), Ok(()), "{line}");
    records
}

fn request(line: &str) -> Request {
    match records(line).as_slice() {
        [Record::Request(request)] => request.clone(),
        other => panic!("expected one request, found {other:?} in {line}"),
    }
}

fn deleted(line: &str) -> Option<Deleted> {
    match records(line).as_slice() {
        [] => None,
        [Record::Deleted(deleted)] => Some(deleted.clone()),
        other => panic!("expected one deletion, found {other:?}"),
    }
}

fn skipped(line: &[u8]) -> Skipped {
    read_line(line, &mut Vec::new()).unwrap_err()
}

/// As an API server has written it.
const DENIED: &str = r#"{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"6a7b6f2c-0c64-4c3b-9a64-2c8a0f1d9f01","stage":"ResponseComplete","requestURI":"/apis/apps/v1/namespaces/shop/deployments/web?fieldManager=kubectl-edit\u0026fieldValidation=Strict","verb":"patch","user":{"username":"jane","groups":["dev","system:authenticated"]},"sourceIPs":["10.0.0.7"],"userAgent":"kubectl/v1.33.0","objectRef":{"resource":"deployments","namespace":"shop","name":"web","apiGroup":"apps","apiVersion":"v1"},"responseStatus":{"metadata":{},"status":"Failure","message":"admission webhook \"clusterwide-container-patch-enforce.kubewarden.admission\" denied the request: container `web`: image …","code":462},"requestReceivedTimestamp":"2026-11-25T12:00:00.000001Z","stageTimestamp":"2026-11-25T12:00:00.250000Z","annotations":{"authorization.k8s.io/decision":"allow","clusterwide-container-patch-enforce.kubewarden.admission/findings":"[{\"code\":\"stale-image\",\"effect\":\"deny\",\"site\":\"container `web`\",\"image\":\"registry.example.com/web:2\",\"text\":\"was built 2026-08-20\"}]","clusterwide-container-patch-enforce.kubewarden.admission/images":"[{\"image\":\"registry.example.com/web:2\",\"sites\":[\"container `web`\"],\"digest\":\"sha256:2222222222222222222222222222222222222222222222222222222222222222\",\"built\":\"2026-08-20T08:00:00Z\"}]","clusterwide-container-patch-enforce.kubewarden.admission/verdict":"denied"}}"#;

#[test]
fn a_denied_request_has_its_images_and_findings() {
    let denied = request(DENIED);
    assert_eq!((denied.outcome, denied.status, denied.operation), (Outcome::Denied, Some(462), Operation::Update));
    assert_eq!((denied.time, denied.user.as_str()), (time("2026-11-25T12:00:00.25Z"), "jane"));
    assert_eq!(
        denied.object,
        Object {
            kind: "Deployment".to_owned(),
            namespace: "shop".to_owned(),
            name: Some("web".to_owned()),
            owner: None,
            platform: Platform::Cluster,
        }
    );
    let [image] = denied.images.as_slice() else { panic!("{denied:?}") };
    assert_eq!(image.reference(), format!("registry.example.com/web:2@{D2}"));
    assert_eq!(
        (image.built, image.sites.as_slice()),
        (Some(time("2026-08-20T08:00:00Z")), ["container `web`".to_owned()].as_slice())
    );
    assert_eq!(denied.findings.len(), 1);
    assert!(Request::is_about(&denied.findings[0], image));
}

#[test]
fn what_happened_is_what_the_api_server_answered() {
    let outcome = |event: Event| request(&event.line()).outcome;
    let event = |verdict, code| Event::deployment("web", D1).verdict(verdict).code(code);
    assert_eq!(outcome(event("accepted", 201)), Outcome::Admitted);
    assert_eq!(outcome(event("warned", 200)), Outcome::Warned);
    assert_eq!(outcome(event("denied", 201)), Outcome::Monitored, "the mode of the policy is `monitor`");
    assert_eq!(outcome(event("denied", 461)), Outcome::Denied);
    assert_eq!(outcome(event("denied", 400)), Outcome::Rejected, "only monitored, and refused by another webhook");
    let other = r#"admission webhook "other.example.com" denied the request: no"#;
    assert_eq!(outcome(event("accepted", 403).message(other)), Outcome::Rejected);
    assert_eq!(outcome(event("denied", 403).message(other)), Outcome::Rejected);
    let ours = r#"admission webhook "clusterwide-enforce.kubewarden.admission" denied the request: container"#;
    assert_eq!(outcome(event("denied", 400).message(ours)), Outcome::Denied);
    assert_eq!(outcome(event("accepted", 409)), Outcome::Rejected);
}

#[test]
fn dry_runs_and_other_stages_do_not_count() {
    let uri =
        |query: &str| Event::deployment("web", D1).uri(&format!("/apis/apps/v1/namespaces/shop/deployments?{query}"));
    for query in ["dryRun=All", "fieldManager=kubectl&dryRun=All", "dry%52un=All", "dryRun=%41ll"] {
        assert_eq!(records(&uri(query).line()), [], "{query}");
    }
    // The API server ignores a parameter with a wrong escape or a semicolon, so these requests are executed.
    for query in ["dryRun=", "dryRun=%zz", "dryRun=All;", "x=dryRun=All", "dryRun%3DAll"] {
        assert_eq!(records(&uri(query).line()).len(), 1, "{query}");
    }
    assert_eq!(records(&Event::deployment("web", D1).stage("RequestReceived").line()), []);
    assert_eq!(records(&Event::deployment("web", D1).stage("Panic").code(500).line()).len(), 1);
}

#[test]
fn the_user_is_the_impersonated_one() {
    let mut event = Event::deployment("web", D1).json();
    event["impersonatedUser"] = json!({"username": "oncall-bot", "groups": ["oncall"]});
    let request = request(&event.to_string());
    assert_eq!((request.user.as_str(), request.impersonated_by.as_deref()), ("oncall-bot", Some("jane")));
}

#[test]
fn a_generated_name_and_the_owner_are_in_an_annotation_or_in_the_answer() {
    let pod = Event::pod("", D1);
    let named = pod.clone().annotation("object", r#"{"name":"web-7d9c5b-x2x4z","owner":"ReplicaSet/web-7d9c5b"}"#);
    let of = |line: &str| (request(line).object.name, request(line).object.owner);
    let expected = (Some("web-7d9c5b-x2x4z".to_owned()), Some("ReplicaSet/web-7d9c5b".to_owned()));
    assert_eq!(of(&named.line()), expected);
    assert_eq!(of(&pod.line()), (None, None));
    let mut answered = pod.json();
    answered["responseObject"] = json!({"kind": "Pod", "metadata": {"name": "web-7d9c5b-x2x4z", "ownerReferences": [
        {"kind": "Node", "name": "n"}, {"kind": "ReplicaSet", "name": "web-7d9c5b", "controller": true}]}});
    assert_eq!(of(&answered.to_string()), expected);
    // The event of an update has the name, and the annotation is only in that of a creation.
    let mut updated = Event::pod("web-7d9c5b-x2x4z", D1).verb("patch").code(200).json();
    updated["responseObject"] = answered["responseObject"].clone();
    assert_eq!(of(&updated.to_string()), expected);
}

#[test]
fn the_annotations_of_both_policies_are_merged() {
    let mut event = Event::pod("web", D1).json();
    let images = |image: &str| {
        json!([{"image": image, "sites": ["container `web`"], "built": "2026-11-01T00:00:00Z"}]).to_string()
    };
    event["annotations"] = json!({
        "clusterwide-pin.kubewarden.admission/verdict": "accepted",
        "clusterwide-pin.kubewarden.admission/images": images("registry.example.com/web:1"),
        "clusterwide-enforce.kubewarden.admission/verdict": "warned",
        "clusterwide-enforce.kubewarden.admission/images": images(&format!("registry.example.com/web:1@{D1}")),
        "clusterwide-enforce.kubewarden.admission/findings": r#"[{"code":"stale-image","effect":"warn","text":"is old"}]"#,
        "other.example.com/verdict": "allow",
        "other.example.com/images": "[1]",
    });
    let request = request(&event.to_string());
    assert_eq!(request.outcome, Outcome::Warned);
    let references: Vec<String> = request.images.iter().map(super::Image::reference).collect();
    assert_eq!(references, [format!("registry.example.com/web:1@{D1}")]);
    assert_eq!(request.findings.len(), 1);
    assert!(!request.is_shortened);
}

#[test]
fn the_verdict_of_another_policy_is_not_ours() {
    let event = Event::deployment("web", D1).verdict("allow");
    assert_eq!(records(&event.line()), []);
}

#[test]
fn a_list_that_is_shortened_or_unreadable_is_reported() {
    let images = r#"[{"image":"registry.example.com/a:1","sites":["container `a`"],"moreSites":3},{"omitted":7}]"#;
    let shortened = request(&Event::deployment("web", D1).annotation("images", images).line());
    assert_eq!((shortened.images.len(), shortened.is_shortened), (1, true));
    let unreadable = request(&Event::deployment("web", D1).annotation("findings", "[{").line());
    assert!(unreadable.is_shortened);
}

#[test]
fn findings_belong_to_the_image_of_their_site() {
    let image = |name: &str, sites: &[&str]| json!({"image": format!("registry.example.com/{name}:1"), "sites": sites});
    let eight = ["1", "2", "3", "4", "5", "6", "7", "8"];
    let images = json!([image("a", &["a"]), image("b", &["b"]), image("c", &eight)]);
    let finding = |code: &str, site: Value, image: Value| json!({"code": code, "effect": "warn", "site": site, "image": image, "text": ""});
    let findings = json!([
        finding("of-a", "a".into(), "registry.example.com/a:1".into()),
        finding("of-b-without-a-site", Value::Null, "registry.example.com/b:1".into()),
        finding("of-the-ninth-site-of-c", "9".into(), "registry.example.com/c:1".into()),
        finding("of-an-omitted-image", "d".into(), "registry.example.com/d:1".into()),
        finding("of-all", Value::Null, Value::Null),
    ]);
    let event = Event::deployment("web", D1).annotation("images", &images.to_string());
    let request = request(&event.annotation("findings", &findings.to_string()).line());
    let codes = |image| request.findings_of(image).map(|finding| finding.code.as_str()).collect::<Vec<_>>().join(" ");
    let of_images: Vec<String> = request.images.iter().map(|image| codes(Some(image))).collect();
    assert_eq!(
        of_images,
        [
            "of-a of-an-omitted-image of-all",
            "of-b-without-a-site of-an-omitted-image of-all",
            "of-the-ninth-site-of-c of-an-omitted-image of-all",
        ]
    );
    assert_eq!(codes(None).split(' ').count(), 5);
}

#[test]
fn long_lists_are_bounded() {
    let image =
        |index: usize| json!({"image": format!("registry.example.com/{index}:1"), "sites": [index.to_string()]});
    let finding = |index: usize| json!({"code": "c", "effect": "warn", "site": index.to_string(), "text": ""});
    let images: Value = (0..20_000).map(image).collect();
    let findings: Value = (0..20_000).map(finding).collect();
    let event = Event::deployment("web", D1).annotation("images", &images.to_string());
    let request = request(&event.annotation("findings", &findings.to_string()).line());
    assert_eq!((request.images.len(), request.findings.len(), request.is_shortened), (500, 500, true));
}

/// The policy writes shorter ones, but another module can write annotations with the same names.
#[test]
fn long_annotations_are_bounded() {
    let sites: Vec<String> = (0..200_000).map(|site| format!("container `{site}`")).collect();
    let images = json!([{"image": "registry.example.com/web:1", "sites": sites}]).to_string();
    let object = json!({"name": "n".repeat(1 << 20)}).to_string();
    let mut event = Event::pod("", D1).annotation("images", &images).annotation("object", &object).json();
    for (key, value) in [("verdict", "accepted"), ("images", &images)] {
        event["annotations"][format!("clusterwide-x.kubewarden.admission/{key}")] = value.into();
    }
    let request = request(&event.to_string());
    assert_eq!((request.object.name, request.is_shortened), (None, true));
    assert_eq!(request.images.iter().map(|image| image.sites.len()).collect::<Vec<_>>(), [2000]);
}

/// A user who may create AdmissionPolicies in a namespace can run a module there that writes any annotations.
#[test]
fn annotations_of_an_admission_policy_do_not_count_beside_those_of_a_cluster_admission_policy() {
    let forged = [
        ("verdict", "warned"),
        (
            "images",
            r#"[{"image":"registry.example.com/other:1","sites":["container `c`"],"built":"2026-01-01T00:00:00Z"}]"#,
        ),
        ("breakGlass", r#"{"reason":"none","by":"group oncall"}"#),
    ];
    let mut event = Event::pod("", D1).json();
    let honest = request(&event.to_string());
    for (key, value) in forged {
        event["annotations"][format!("namespaced-shop-forged.kubewarden.admission/{key}")] = value.into();
    }
    assert_eq!(request(&event.to_string()), honest);
    assert!(!honest.is_by_namespaced_policy);

    event["annotations"].as_object_mut().unwrap().retain(|key, _| key.starts_with("namespaced-"));
    assert!(request(&event.to_string()).is_by_namespaced_policy);
}

/// Otherwise a requester could hide a pod from the time to patch with a long owner reference.
#[test]
fn an_owner_with_many_escapes_does_not_hide_the_name() {
    let owner = r"\u{202e}".repeat(253);
    let object = json!({"name": "web-7d9c-x2x4z", "owner": format!("{owner}/{owner}")});
    let pod = request(&Event::pod("", D1).annotation("object", &object.to_string()).line());
    assert_eq!(pod.object.name.as_deref(), Some("web-7d9c-x2x4z"));
}

#[test]
fn break_glass_has_its_reason() {
    let event = Event::deployment("web", D1).annotation("breakGlass", r#"{"reason":"INC-7","by":"group oncall"}"#);
    let expected = BreakGlass { reason: "INC-7".to_owned(), by: "group oncall".to_owned() };
    assert_eq!(request(&event.line()).break_glass, Some(expected));
}

#[test]
fn only_ephemeral_containers_have_images_among_the_subresources() {
    let of = |subresource: &str, verb: &str| {
        let mut event = Event::pod("web", D1).json();
        event["objectRef"]["subresource"] = subresource.into();
        event["verb"] = verb.into();
        records(&event.to_string())
    };
    assert_eq!(of("binding", "create"), []);
    assert_eq!(of("status", "patch"), []);
    let added = of("ephemeralcontainers", "patch");
    let [Record::Request(request)] = added.as_slice() else { panic!("{added:?}") };
    assert_eq!((request.operation, request.object.kind.as_str()), (Operation::Update, "Pod"));
}

#[test]
fn server_side_apply_that_creates_is_a_creation() {
    let operation = |code| request(&Event::deployment("web", D1).verb("patch").code(code).line()).operation;
    assert_eq!((operation(201), operation(200)), (Operation::Create, Operation::Update));
}

#[test]
fn a_kind_of_another_group_is_its_resource() {
    let mut event = Event::deployment("web", D1).json();
    event["objectRef"] = json!({"resource": "rollouts", "namespace": "shop", "name": "web", "apiGroup": "argoproj.io"});
    assert_eq!(request(&event.to_string()).object.kind, "rollouts");
    event["objectRef"] = json!({"resource": "pods", "namespace": "shop", "name": "web", "apiGroup": "example.com"});
    assert_eq!(request(&event.to_string()).object.kind, "pods");
}

#[test]
fn a_deletion_ends_a_pod() {
    let pod =
        Deleted { time: time("2026-11-25T12:00:00Z"), namespace: "shop".to_owned(), name: Some("web-1".to_owned()) };
    let delete = Event::delete("web-1");
    assert_eq!(deleted(&delete.line()), Some(pod.clone()));
    assert_eq!(deleted(&delete.clone().code(404).line()), None);
    assert_eq!(deleted(&delete.clone().uri("/api/v1/namespaces/shop/pods/web-1?dryRun=All").line()), None);
    let mut body = delete.json();
    body["requestObject"] = json!({"kind": "DeleteOptions", "dryRun": ["All"]});
    assert_eq!(deleted(&body.to_string()), None);
    body["requestObject"] = json!({"kind": "DeleteOptions", "gracePeriodSeconds": 0});
    assert_eq!(deleted(&body.to_string()), Some(pod));
    body["objectRef"]["resource"] = "configmaps".into();
    assert_eq!(deleted(&body.to_string()), None);
}

#[test]
fn the_deletion_of_a_collection_ends_all_pods_of_the_namespace() {
    let collection = |query: &str| {
        let uri = format!("/api/v1/namespaces/shop/pods{query}");
        deleted(&Event::delete("").verb("deletecollection").uri(&uri).line())
    };
    let all = Deleted { time: time("2026-11-25T12:00:00Z"), namespace: "shop".to_owned(), name: None };
    assert_eq!(collection(""), Some(all.clone()));
    assert_eq!(collection("?labelSelector="), Some(all));
    assert_eq!(collection("?labelSelector=app%3Dweb"), None, "the kubelet deletes each of them afterwards");
    assert_eq!(collection("?limit=1"), None, "only the first pods are deleted");
    assert_eq!(collection("?fieldSelector=spec.nodeName%3Dn1"), None);
}

#[test]
fn a_list_of_events_has_the_records_of_all() {
    let item = |event: Event| {
        let mut item = event.json();
        for key in ["kind", "apiVersion"] {
            item.as_object_mut().unwrap().remove(key);
        }
        item
    };
    let items = [item(Event::deployment("web", D1)), item(Event::get()), item(Event::delete("web-1"))];
    let list = json!({"kind": "EventList", "apiVersion": "audit.k8s.io/v1", "metadata": {}, "items": items});
    assert_eq!(records(&list.to_string()).len(), 2);
}

/// As the plugin writes it.
const DECISION: &str = r#"{"time":"2026-11-25T12:00:00.123Z","level":"warning","event":"decision","allowed":true,"user":"jane","authentication":"TLS","method":"POST","path":"/v1.47/services/create","operation":"CREATE","object":{"kind":"Service","name":"web"},"annotations":{"verdict":"warned","findings":[{"code":"patch-due","effect":"warn","site":"container `web`","image":"registry.example.com/web:1","text":"is due"}],"images":[{"image":"registry.example.com/web:1","sites":["container `web`"],"digest":"sha256:1111111111111111111111111111111111111111111111111111111111111111","built":"2026-09-01T00:00:00Z"}]},"seconds":0.002}"#;

#[test]
fn a_decision_of_the_swarm_plugin_is_a_request() {
    let decision = request(DECISION);
    assert_eq!((decision.outcome, decision.status, decision.user.as_str()), (Outcome::Warned, None, "jane"));
    assert_eq!((decision.object.kind.as_str(), decision.object.platform), ("Service", Platform::Docker));
    assert_eq!(decision.images[0].reference(), format!("registry.example.com/web:1@{D1}"));
    let change = |change: fn(&mut Value)| {
        let mut event: Value = serde_json::from_str(DECISION).unwrap();
        change(&mut event);
        request(&event.to_string())
    };
    assert_eq!(change(|event| event["allowed"] = false.into()).outcome, Outcome::Denied);
    assert!(change(|event| event["truncated"] = true.into()).is_shortened);
    // A line that is shortened as far as possible.
    let scalars = change(|event| {
        event["allowed"] = false.into();
        event["user"] = Value::Null;
        event["truncated"] = true.into();
        event.as_object_mut().unwrap().retain(|key, _| !matches!(key.as_str(), "object" | "annotations"));
    });
    assert_eq!((scalars.outcome, scalars.user.as_str(), scalars.is_shortened), (Outcome::Denied, "", true));
    let started = r#"{"time":"2026-11-25T12:00:00.123Z","level":"info","event":"started","version":"0.1.0"}"#;
    assert_eq!(records(started), []);
}

#[test]
fn lines_that_are_not_events_have_a_reason() {
    assert_eq!(skipped(b"I1125 12:00:00 server.go:1] started"), Skipped::Garbage);
    assert_eq!(skipped(b"{verdict\": 1}"), Skipped::Garbage);
    assert_eq!(skipped(b"\xff\xfe"), Skipped::Garbage);
    for foreign in [
        "{}",
        "3",
        "[]",
        r#"{"kind":"Event","apiVersion":"v1","reason":"Pulled","message":"verdict"}"#,
        r#"{"kind":"Pod","apiVersion":"v1"}"#,
        r#"{"time":"now","level":"info","event":"decision"}"#,
        r#"{"time":"2026-11-25T12:00:00Z","level":"info","event":"decision"}"#,
        r#"{"time":"2026-11-25T12:00:00Z","level":"INFO","msg":"hello"}"#,
    ] {
        assert_eq!(skipped(foreign.as_bytes()), Skipped::Foreign, "{foreign}");
    }
    for end in [40, 100, 700, DENIED.len() - 1] {
        assert_eq!(skipped(&DENIED.as_bytes()[..end]), Skipped::Torn, "{end}");
    }
    assert_eq!(skipped(format!("{}{DENIED}", &DENIED[..300]).as_bytes()), Skipped::Torn, "cut by a crash");
    assert_eq!(skipped(&DECISION.as_bytes()[..90]), Skipped::Torn);
    assert_eq!(read_line(b" \r", &mut Vec::new()), Ok(()));
    assert_eq!(records(&format!("\0\0\0{DENIED}\r")).len(), 1, "after a crash of a file system");
}

#[test]
fn a_search_for_bytes_finds_what_a_parser_finds() {
    // Writers other than the API server escape slashes, and have spaces and another order of keys.
    let pretty = serde_json::from_str::<Value>(DENIED).unwrap().to_string().replace("\":", "\": ");
    assert_eq!(request(&pretty).outcome, Outcome::Denied);
    assert_eq!(request(&DENIED.replace('/', "\\/")).outcome, Outcome::Denied);
    let spaced = Event::delete("web-1").line().replace("\":", "\" : ");
    assert!(deleted(&spaced).is_some());
}

#[test]
fn a_log_in_an_object_is_not_read() {
    let mut event = Event::get().json();
    event["verb"] = "create".into();
    event["requestObject"] = json!({"data": serde_json::from_str::<Value>(DENIED).unwrap(), "text": DENIED,
        "annotations": {"x/verdict": "denied"}, "stageTimestamp": "2020-01-01T00:00:00Z"});
    assert_eq!(records(&event.to_string()), []);
    // The API server writes the objects before its own time.
    let line = DENIED.replace(
        r#""requestReceived"#,
        r#""requestObject":{"stageTimestamp":"2020-01-01T00:00:00Z"},"requestReceived"#,
    );
    assert_eq!(time_of(line.as_bytes()), Some(time("2026-11-25T12:00:00.25Z")));
}

#[test]
fn every_event_has_its_time() {
    assert_eq!(time_of(DENIED.as_bytes()), Some(time("2026-11-25T12:00:00.25Z")));
    assert_eq!(time_of(DECISION.as_bytes()), Some(time("2026-11-25T12:00:00.123Z")));
    assert_eq!(time_of(b"garbage"), None);
    assert_eq!(time_of(br#"{"time":"#), None);
    assert_eq!(time_of(br#""stageTimestamp":"x"#), None);
}

proptest! {
    #[test]
    fn no_bytes_are_a_panic(bytes: Vec<u8>) {
        let mut records = Vec::new();
        let read = read_line(&bytes, &mut records);
        prop_assert!(read.is_ok() || records.is_empty());
        time_of(&bytes);
    }

    #[test]
    fn no_changed_event_is_a_panic(at in 0..DENIED.len(), byte: u8, end in 0..DENIED.len()) {
        for line in [DENIED, DECISION] {
            let mut bytes = line.as_bytes().to_vec();
            let at = at % bytes.len();
            bytes[at] = byte;
            let mut records = Vec::new();
            let _ = read_line(&bytes, &mut records);
            prop_assert!(records.len() <= 1);
            bytes.truncate(end);
            let _ = read_line(&bytes, &mut records);
            time_of(&bytes);
        }
    }
}

#[test]
fn bytes_that_are_not_text_do_not_hide_a_request() {
    // The API server logs the body of a patch as it is.
    let body = br#""requestObject":{"metadata":{"annotations":{"x":"?"}}},"requestReceivedTimestamp":"#;
    let body = body.map(|byte| if byte == b'?' { 0xff } else { byte });
    let (before, after) = DENIED.split_once(r#""requestReceivedTimestamp":"#).unwrap();
    let line = [before.as_bytes(), &body, after.as_bytes()].concat();
    let mut records = Vec::new();
    assert_eq!(read_line(&line, &mut records), Ok(()));
    assert_eq!(records, [Record::Request(request(DENIED))]);
}

#[test]
fn a_deletion_with_a_body_ignores_the_query() {
    let mut deletion = Event::delete("web-1").uri("/api/v1/namespaces/shop/pods/web-1?dryRun=All").json();
    deletion["requestObject"] = json!({"kind": "DeleteOptions", "apiVersion": "v1"});
    assert!(deleted(&deletion.to_string()).is_some());
}

/// Newer API servers ignore a query with 10,000 parameters.
#[test]
fn a_query_with_too_many_parameters_hides_nothing_and_ends_nothing() {
    let uri = |count: usize, last: &str| format!("/api/v1/namespaces/shop/pods?{}{last}", "&".repeat(count));
    let create = |count| records(&Event::pod("web-1", D1).uri(&uri(count, "dryRun=All")).line()).len();
    assert_eq!((create(999), create(1000), create(10_000)), (0, 1, 1));
    assert_eq!(deleted(&Event::delete("web-1").uri(&uri(10_000, "dryRun=All")).line()), None);
    assert_eq!(deleted(&Event::delete("").verb("deletecollection").uri(&uri(10_000, "limit=1")).line()), None);
}
