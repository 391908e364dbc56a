use proptest::prelude::*;
use serde_json::{Value, json};

use super::evaluate;
use crate::host::in_memory::InMemory;

mod fixes;
mod forged_records;
mod questions;
mod records;
mod reports;
mod rollout_calendar;

const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
const OTHER: &str = "sha256:fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";
const NOW: &str = "2026-11-20T12:00:00Z";

fn request(kind: &str, object: &Value) -> Value {
    let group = if kind == "Pod" { "" } else { "apps" };
    json!({"kind": {"group": group, "version": "v1", "kind": kind}, "operation": "CREATE", "object": object})
}

fn pod(images: &[&str]) -> Value {
    let container = |(index, image): (usize, &&str)| json!({"name": format!("c{index}"), "image": image});
    json!({"metadata": {"name": "web"}, "spec": {"containers": images.iter().enumerate().map(container).collect::<Vec<_>>()}})
}

/// The response, with the codes and effects of its findings under `codes`.
fn respond(host: &InMemory, request: &Value, settings: &Value) -> Value {
    let payload = json!({"request": request, "settings": settings});
    let verdict = evaluate(payload.to_string().as_bytes(), host);
    let codes: Vec<String> =
        verdict.findings().iter().map(|finding| format!("{} {:?}", finding.code, finding.effect)).collect();
    let mut response: Value = serde_json::from_slice(&verdict.into_response()).unwrap();
    response["codes"] = json!(codes);
    response
}

fn only(rule: &str, settings: Value) -> Value {
    let off = json!({"action": "off"});
    let mut all = json!({"pinning": off, "schedule": off, "baseImage": off, "scan": off});
    all[rule] = settings;
    all
}

/// The answers of a registry about an image that was built at a given time.
fn image(created: &str, annotations: Value) -> Value {
    json!({
        "digest": DIGEST,
        "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "annotations": annotations},
        "config": {"created": created},
    })
}

/// A pod with the annotation that lists the containers whose digests this policy resolved.
fn resolved(listed: &str, mut pod: Value) -> Value {
    pod["metadata"]["annotations"] = json!({"container-patch.dev/resolved": listed});
    pod
}

fn world() -> InMemory {
    InMemory::at(NOW)
}

#[test]
fn the_audit_annotations_name_a_created_pod_and_its_owner() {
    let mut pod = pod(&["nginx"]);
    pod["metadata"] = json!({"generateName": "web-7d9c-", "name": "web-7d9c-x2x4z", "ownerReferences": [
        {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9c", "controller": true},
    ]});
    let mut create = request("Pod", &pod);
    create["userInfo"] = json!({"username": "system:serviceaccount:kube-system:replicaset-controller"});
    let object = |request: &Value| respond(&world(), request, &json!({}))["audit_annotations"]["object"].clone();
    assert_eq!(object(&create), json!(r#"{"name":"web-7d9c-x2x4z","owner":"ReplicaSet/web-7d9c"}"#));

    let mut update = create.clone();
    update["operation"] = json!("UPDATE");
    update["oldObject"] = pod.clone();
    assert_eq!(object(&update), Value::Null, "the audit event of an update has the name");

    let mut audit = request("Pod", &pod);
    audit["resource"] = json!({"resource": "Pod"});
    assert_eq!(object(&audit), Value::Null, "an API server does not log the requests of the audit scanner");
}

#[test]
fn an_object_with_too_many_images_is_denied_before_any_question() {
    let host = world();
    let images = |count| pod(&vec!["nginx:1"; count]);
    let off = only("pinning", json!({"action": "off"}));
    assert_eq!(respond(&host, &request("Pod", &images(1024)), &off)["accepted"], json!(true));
    for (operation, settings) in [("CREATE", &off), ("CREATE", &json!({})), ("UPDATE", &off)] {
        let mut request = request("Pod", &images(1025));
        request["operation"] = json!(operation);
        request["oldObject"] = images(1025);
        let response = respond(&host, &request, settings);
        assert_eq!(response["codes"], json!(["invalid-request Deny"]), "{operation} {settings}");
        let message = response["message"].as_str().unwrap();
        assert_eq!(
            message,
            "this Pod names 1025 images, over the limit of 1024; spread them over several objects [invalid-request]"
        );
    }
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn one_image_in_many_containers_is_judged_by_the_evidence_for_each() {
    let found = json!([{"id": "CVE-2026-0001", "severity": "critical", "fixedVersion": "1"}]);
    let found = json!({"timestamp": "2026-11-19T00:00:00Z", "vulnerabilities": found}).to_string();
    let mut image = image("2026-11-01T00:00:00Z", json!({}));
    image["config"]["config"] = json!({"Labels": {"quality.images.openshift.io/vulnerability.p": found}});
    let host = world().config(&format!("registry.example.com/app@{DIGEST}"), image);
    let name = |tag: &str| format!("registry.example.com/app:{tag}@{DIGEST}");
    let container = |name: &str, image: &str| json!({"name": name, "image": image});
    let mut settings = only("scan", json!({}));
    settings["overrides"] = json!([{"images": ["*/app:warned@*"], "scan": {"action": "warn"}}]);
    settings["exceptions"] = json!([
        {"images": ["*/app:excepted@*"], "cves": ["CVE-2026-0001"], "until": "2026-12-31", "reason": "r"},
    ]);
    settings["customWorkloads"] = json!([
        {"apiVersion": "apps/v1", "kind": "Pair", "podTemplate": "/a"},
        {"apiVersion": "apps/v1", "kind": "Pair", "podTemplate": "/b"},
    ]);
    let flag = json!({"timestamp": "2026-11-19T00:00:00Z", "compliant": false, "image": DIGEST}).to_string();
    let containers = [
        container("first", &name("1")),
        container("warned", &name("warned")),
        container("excepted", &name("excepted")),
        container("flagged", &name("1")),
        container("last", &name("1")),
    ];
    let pair = json!({
        "a": {"metadata": {"annotations": {"scan.container-patch.dev/flagged": flag}}, "spec": {"containers": containers}},
        "b": {"metadata": {"annotations": {"images.openshift.io/deny-execution": "true"}}, "spec": {"containers": [containers[0]]}},
    });
    let response = respond(&host, &request("Pair", &pair), &settings);
    assert_eq!(
        response["codes"],
        json!([
            "vulnerable-image Deny",
            "vulnerable-image Warn",
            "excepted Warn",
            "scan-flagged Deny",
            "vulnerable-image Deny",
            "vulnerable-image Deny",
            "scan-flagged Deny",
            "vulnerable-image Deny",
        ])
    );
}

#[test]
fn a_report_about_one_tag_does_not_apply_to_another_tag() {
    let report = |name: &str, tag: &str, severity: &str| {
        json!({
            "metadata": {"name": name, "namespace": "shop"},
            "report": {
                "artifact": {"repository": "app", "tag": tag}, "registry": {"server": "registry.example.com"},
                "updateTimestamp": "2026-11-19T00:00:00Z",
                "vulnerabilities": [{"vulnerabilityID": "CVE-2026-0001", "severity": severity, "fixedVersion": "1", "resource": "p"}],
            },
        })
    };
    let (bad, good) = (report("bad", "bad", "CRITICAL"), report("good", "good", "LOW"));
    let host = world()
        .answer(
            "get",
            "VulnerabilityReport shop/container-patch-",
            Err("Cannot find x named 'container-patch-'".to_owned()),
        )
        .answer("list", "VulnerabilityReport shop", Ok(json!({"items": [bad, good]})))
        .answer("get", "VulnerabilityReport shop/bad", Ok(bad))
        .answer("get", "VulnerabilityReport shop/good", Ok(good))
        .manifest(&format!("registry.example.com/app@{DIGEST}"), json!({"layers": []}))
        .config(&format!("registry.example.com/app@{DIGEST}"), image("2026-11-01T00:00:00Z", json!({})))
        .digest("registry.example.com/app:good", DIGEST)
        .digest("registry.example.com/app:bad", DIGEST);
    let names = ["good", "bad"].map(|tag| format!("registry.example.com/app:{tag}@{DIGEST}"));
    let mut request = request("Pod", &pod(&names.each_ref().map(String::as_str)));
    request["namespace"] = json!("shop");
    let response = respond(&host, &request, &only("scan", json!({"reports": [{"source": "trivyOperator"}]})));
    assert_eq!(response["codes"], json!(["vulnerable-image Deny"]), "{response}");
    assert!(response["message"].as_str().unwrap().starts_with("container `c1`"), "{response}");
}

#[test]
fn more_named_vulnerabilities_than_the_limit_flag_the_image() {
    let host = world().config(&format!("docker.io/library/nginx@{DIGEST}"), image("2026-11-01T00:00:00Z", json!({})));
    let named = |count| {
        let named: Vec<_> = (0..count).map(|id| json!({"id": format!("C{id}"), "severity": "low"})).collect();
        json!({"timestamp": "2026-11-19T00:00:00Z", "vulnerabilities": named}).to_string()
    };
    let response = |counts: &[usize]| {
        let mut pod = pod(&[&format!("nginx@{DIGEST}")]);
        for (index, count) in counts.iter().enumerate() {
            let key = format!("quality.images.openshift.io/vulnerability.p{index}");
            pod["metadata"]["annotations"][key] = json!(named(*count));
        }
        respond(&host, &request("Pod", &pod), &only("scan", json!({})))
    };
    assert_eq!(response(&[2048, 2048])["codes"], json!([]));
    let flagged = response(&[2048, 2049]);
    assert_eq!(flagged["codes"], json!(["scan-flagged Deny"]));
    let message = flagged["message"].as_str().unwrap();
    assert!(message.contains("annotations or labels about scans name more than 4096 vulnerabilities"), "{message}");
}

#[test]
fn pinning_alone_asks_no_question_about_a_pinned_image() {
    let host = world();
    let response = respond(&host, &request("Pod", &pod(&[&format!("nginx@{DIGEST}")])), &only("pinning", json!({})));
    assert_eq!((response["accepted"].clone(), response["codes"].clone()), (json!(true), json!([])));
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn an_unpinned_image_of_a_pod_is_pinned_and_judged_by_its_digest() {
    let host = world()
        .digest("docker.io/library/nginx:1", DIGEST)
        .config(&format!("docker.io/library/nginx@{DIGEST}"), image("2026-11-01T00:00:00Z", json!(null)));
    let response = respond(&host, &request("Pod", &pod(&["nginx:1", "nginx:1"])), &json!({}));
    assert_eq!(response["accepted"], json!(true), "{response}");
    let pinned = pod(&[&format!("nginx:1@{DIGEST}"), &format!("nginx:1@{DIGEST}")]);
    assert_eq!(response["mutated_object"], resolved("c0,c1", pinned));
    assert_eq!(host.asked(), ["digest docker.io/library/nginx:1", &format!("config docker.io/library/nginx@{DIGEST}")]);
    let images: Value = serde_json::from_str(response["audit_annotations"]["images"].as_str().unwrap()).unwrap();
    assert_eq!(
        images[0],
        json!({"image": "docker.io/library/nginx:1", "sites": ["container `c0`", "container `c1`"], "digest": DIGEST, "built": "2026-11-01T00:00:00Z"})
    );
}

#[test]
fn a_denied_request_is_not_rewritten() {
    let host = world()
        .digest("docker.io/library/nginx:1", DIGEST)
        .config(&format!("docker.io/library/nginx@{DIGEST}"), image("2026-01-01T00:00:00Z", json!(null)));
    let response = respond(&host, &request("Pod", &pod(&["nginx:1"])), &json!({}));
    assert_eq!((response["accepted"].clone(), response["codes"].clone()), (json!(false), json!(["stale-image Deny"])));
    assert!(response.get("mutated_object").is_none());
}

#[test]
fn pod_templates_are_pinned_only_if_the_settings_say_so() {
    let host = || world().digest("docker.io/library/nginx:1", DIGEST);
    let deployment = request("Deployment", &json!({"spec": {"template": pod(&["nginx:1"])}}));
    let response = respond(&host(), &deployment, &only("pinning", json!({"action": "pin", "templates": false})));
    assert_eq!((response["accepted"].clone(), response.get("mutated_object")), (json!(true), None));
    let response = respond(&host(), &deployment, &only("pinning", json!({"action": "pin", "templates": true})));
    assert_eq!(
        response["mutated_object"]["spec"]["template"]["spec"]["containers"][0]["image"],
        format!("nginx:1@{DIGEST}")
    );
}

#[test]
fn an_update_rewrites_what_it_changes_and_nothing_else() {
    let host = world().digest("docker.io/library/nginx:1", DIGEST).digest("docker.io/library/nginx:2", OTHER);
    let mut update = request("Pod", &pod(&["nginx:1", "nginx:2"]));
    update["operation"] = json!("UPDATE");
    update["oldObject"] = pod(&["nginx:1", "nginx:1"]);
    let response = respond(&host, &update, &only("pinning", json!({})));
    assert_eq!(response["mutated_object"], pod(&["nginx:1", &format!("nginx:2@{OTHER}")]));
    assert_eq!(host.asked(), ["digest docker.io/library/nginx:2"]);
}

#[test]
fn swapped_renamed_and_nameless_containers_count_as_changed() {
    for (old, new) in [
        (pod(&["nginx:1", "nginx:2"]), pod(&["nginx:2", "nginx:1"])),
        (
            json!({"spec": {"containers": [{"name": "a", "image": "nginx:1"}]}}),
            json!({"spec": {"containers": [{"name": "b", "image": "nginx:1"}]}}),
        ),
        (
            json!({"spec": {"containers": [{"image": "nginx:1"}]}}),
            json!({"spec": {"containers": [{"image": "nginx:1"}]}}),
        ),
        (
            json!({"spec": {"initContainers": [{"name": "a", "image": "nginx:1"}]}}),
            json!({"spec": {"containers": [{"name": "a", "image": "nginx:1"}]}}),
        ),
        (json!({"spec": 7}), pod(&["nginx:1"])),
    ] {
        let host = world().digest("docker.io/library/nginx:1", DIGEST).digest("docker.io/library/nginx:2", OTHER);
        let mut update = request("Pod", &new);
        update["operation"] = json!("UPDATE");
        update["oldObject"] = old;
        let response = respond(&host, &update, &only("pinning", json!({})));
        assert!(response["mutated_object"].to_string().contains(&format!("nginx:1@{DIGEST}")), "{response}");
    }
}

#[test]
fn deny_and_warn_give_the_digest_to_use_if_the_registry_answers() {
    let settings = only("pinning", json!({"action": "deny"}));
    let host = world().digest("localhost:5000/app:1", DIGEST);
    let response = respond(&host, &request("Pod", &pod(&["localhost:5000/app:1"])), &settings);
    let message = response["message"].as_str().unwrap();
    assert!(message.contains(&format!("write `localhost:5000/app:1@{DIGEST}`")), "{message}");
    let response = respond(&world(), &request("Pod", &pod(&["localhost:5000/app:1"])), &settings);
    assert_eq!(response["codes"], json!(["unpinned-image Deny"]), "the finding does not need the answer");
}

#[test]
fn a_registry_that_does_not_answer_is_denied_unless_the_settings_warn() {
    let ask = |settings: &Value| respond(&world(), &request("Pod", &pod(&["nginx:1"])), settings)["codes"].clone();
    assert_eq!(ask(&json!({})), json!(["evidence-unavailable Deny"]));
    assert_eq!(ask(&json!({"enforcement": {"evidenceErrors": "warn"}})), json!(["evidence-unavailable Warn"]));
    assert_eq!(ask(&only("schedule", json!({}))), json!(["evidence-unavailable Deny"]));
    assert_eq!(
        ask(&only("schedule", json!({"action": "warn"}))),
        json!(["evidence-unavailable Warn"]),
        "not stricter than the rule"
    );
    assert_eq!(ask(&only("baseImage", json!({}))), json!(["evidence-unavailable Warn"]), "not stricter than the rule");
    for (settings, cause) in [
        (json!({"registries": ["docker.io"]}), "nothing is known of docker.io/library/nginx:1; check its name"),
        (json!({}), "its registry gave no usable answer; the log of policy-server has the cause"),
    ] {
        let response = respond(&world(), &request("Pod", &pod(&["nginx:1"])), &settings);
        let message = response["message"].as_str().unwrap();
        assert!(message.contains(&format!("could not be verified: {cause}")), "{message}");
    }
}

#[test]
fn settings_of_another_form_are_refused_with_the_path_of_the_problem() {
    for (settings, expected) in [
        (json!([]), "settings: expected an object, found a list"),
        (json!("x"), "settings: expected an object, found a string"),
        (json!({"overrides": {}}), "overrides: expected a list, found an object"),
        (json!({"overrides": [7]}), "overrides[0]: expected an object, found a number"),
        (json!({"exceptions": [null]}), "exceptions[0]: expected an object, found null"),
    ] {
        let response = respond(&world(), &request("Pod", &pod(&["a"])), &settings);
        assert_eq!(response["codes"], json!(["invalid-settings Deny"]), "{settings}");
        let message = response["message"].as_str().unwrap();
        assert!(message.contains(expected), "{settings}\n  expected: {expected}\n  found:    {message}");
    }
    // The request is named if both are wrong.
    let response = respond(&world(), &json!({}), &json!([]));
    assert_eq!(response["codes"], json!(["invalid-request Deny"]));
}

#[test]
fn every_image_of_a_pod_is_judged_even_if_one_cannot_be() {
    let host = world().config("docker.io/library/b:1", image("2026-01-01T00:00:00Z", json!(null)));
    let response = respond(&host, &request("Pod", &pod(&["a:1", "b:1", "C"])), &only("schedule", json!({})));
    assert_eq!(response["codes"], json!(["evidence-unavailable Deny", "stale-image Deny", "invalid-reference Deny"]));
}

fn on_debian(digest: &str) -> Value {
    let annotations = json!({"org.opencontainers.image.base.name": "docker.io/library/debian:12", "org.opencontainers.image.base.digest": digest});
    image("2026-10-01T00:00:00Z", annotations)
}

#[test]
fn a_base_is_current_by_the_digest_of_its_index_or_of_one_of_its_manifests() {
    let settings = only("baseImage", json!({"action": "deny"}));
    let by_index =
        world().config("docker.io/library/a:1", on_debian(DIGEST)).digest("docker.io/library/debian:12", DIGEST);
    assert_eq!(respond(&by_index, &request("Pod", &pod(&["a:1"])), &settings)["codes"], json!([]));
    assert_eq!(
        by_index.asked(),
        [
            "digest docker.io/library/a:1",
            &format!("config docker.io/library/a@{DIGEST}"),
            "digest docker.io/library/debian:12"
        ]
    );

    let newest = format!("docker.io/library/debian@{OTHER}");
    let by_manifest = world()
        .config("docker.io/library/a:1", on_debian(DIGEST))
        .digest("docker.io/library/debian:12", OTHER)
        .manifest(&newest, json!({"manifests": [{"digest": OTHER}, {"digest": DIGEST}]}));
    assert_eq!(respond(&by_manifest, &request("Pod", &pod(&["a:1"])), &settings)["codes"], json!([]));
}

/// A host with the image `a:1`, whose base `debian:12` was rebuilt on 2026-11-01.
fn on_outdated_debian() -> InMemory {
    let newest = format!("docker.io/library/debian@{OTHER}");
    world()
        .config("docker.io/library/a:1", on_debian(DIGEST))
        .digest("docker.io/library/debian:12", OTHER)
        .manifest(&newest, json!({"layers": []}))
        .config(&newest, image("2026-11-01T00:00:00Z", json!(null)))
}

#[test]
fn a_base_that_is_not_allowed_is_refused_without_a_question_about_it() {
    let settings =
        |allowed: &str| only("baseImage", json!({"action": "deny", "unknown": "deny", "allowed": [allowed]}));
    let judged = |host: &InMemory, allowed| respond(host, &request("Pod", &pod(&["a:1", "a:1"])), &settings(allowed));
    let host = on_outdated_debian();
    let response = judged(&host, "cgr.dev/*");
    assert_eq!(response["codes"], json!(["disallowed-base-image Deny", "disallowed-base-image Deny"]));
    assert_eq!(response["code"], json!(463));
    assert_eq!(host.asked(), ["digest docker.io/library/a:1", &format!("config docker.io/library/a@{DIGEST}")]);
    let response = judged(&on_outdated_debian(), "docker.io/library/debian:*");
    assert_eq!(response["codes"], json!(["outdated-base-image Deny", "outdated-base-image Deny"]));
}

#[test]
fn a_base_whose_name_is_only_warned_about_or_excepted_must_also_be_current() {
    let mut settings = only("baseImage", json!({"action": "warn", "allowed": ["cgr.dev/*"]}));
    let judged = |settings: &Value| respond(&on_outdated_debian(), &request("Pod", &pod(&["a:1"])), settings);
    assert_eq!(judged(&settings)["codes"], json!(["disallowed-base-image Warn", "outdated-base-image Warn"]));
    settings["baseImage"]["action"] = json!("deny");
    settings["exceptions"] = json!([
        {"images": ["*"], "rules": ["disallowed-base-image"], "until": "2026-11-20", "reason": "SEC-42"}
    ]);
    assert_eq!(judged(&settings)["codes"], json!(["excepted Warn", "outdated-base-image Deny"]));
}

#[test]
fn an_allowed_base_without_a_digest_is_unknown_by_the_settings() {
    let annotations = json!({"org.opencontainers.image.base.name": "debian:12"});
    for (base, unknown, expected) in [
        (&annotations, "allow", json!([])),
        (&annotations, "deny", json!(["unknown-base-image Deny"])),
        (&json!(null), "allow", json!([])),
        (&json!(null), "deny", json!(["unknown-base-image Deny"])),
    ] {
        let host = world().config("docker.io/library/a:1", image("2026-10-01T00:00:00Z", base.clone()));
        let rule = json!({"action": "deny", "unknown": unknown, "allowed": ["docker.io/library/debian:*"]});
        let response = respond(&host, &request("Pod", &pod(&["a:1"])), &only("baseImage", rule));
        assert_eq!(response["codes"], expected, "{base} {unknown}");
    }
}

#[test]
fn a_base_of_all_images_of_an_index_that_is_not_allowed_is_refused_once() {
    let entry = |digest: &str, architecture: &str| json!({"digest": digest, "platform": {"os": "linux", "architecture": architecture}});
    let built = |digest: &str| {
        let mut image = on_debian(DIGEST);
        image["digest"] = json!(digest);
        image
    };
    let arm = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";
    let index = format!("docker.io/library/a@{OTHER}");
    let host = world()
        .config(&index, built(DIGEST))
        .manifest(&index, json!({"manifests": [entry(DIGEST, "amd64"), entry(arm, "arm64")]}))
        .config(&format!("docker.io/library/a@{arm}"), built(arm));
    let mut settings = only("baseImage", json!({"action": "deny", "allowed": ["cgr.dev/*"]}));
    settings["platforms"] = json!(["linux/amd64", "linux/arm64"]);
    let response = respond(&host, &request("Pod", &pod(&[&format!("a@{OTHER}")])), &settings);
    assert_eq!(response["codes"], json!(["disallowed-base-image Deny"]));
    assert!(host.asked().iter().all(|question| !question.contains("debian")), "{:?}", host.asked());
}

#[test]
fn an_outdated_base_is_due_and_then_denied() {
    let settings = only("baseImage", json!({"action": "deny"}));
    let newest = format!("docker.io/library/debian@{OTHER}");
    let host = |newer: &str| {
        world()
            .config("docker.io/library/a:1", on_debian(DIGEST))
            .digest("docker.io/library/debian:12", OTHER)
            .manifest(&newest, json!({"layers": []}))
            .config(&newest, image(newer, json!(null)))
    };
    let response = respond(&host("2026-11-10T00:00:00Z"), &request("Pod", &pod(&["a:1", "a:1"])), &settings);
    assert_eq!(response["codes"], json!(["base-update-due Warn", "base-update-due Warn"]));
    let host = host("2026-11-01T00:00:00Z");
    let response = respond(&host, &request("Pod", &pod(&["a:1", "a:1"])), &settings);
    assert_eq!(response["codes"], json!(["outdated-base-image Deny", "outdated-base-image Deny"]));
    assert_eq!(host.asked().len(), 5, "each question is asked once: {:?}", host.asked());
    let message = response["message"].as_str().unwrap();
    assert!(message.contains("uses an outdated base `docker.io/library/debian:12` (a newer one was built 2026-11-01): a rebuild was due by 2026-11-15; rebuild the image"), "{message}");
}

#[test]
fn exempt_images_and_rules_that_are_off_ask_no_question() {
    for settings in [json!({"exempt": ["*"]}), only("pinning", json!({"action": "off"}))] {
        let host = world();
        assert_eq!(respond(&host, &request("Pod", &pod(&["nginx:1"])), &settings)["codes"], json!([]));
        assert_eq!(host.asked(), [""; 0], "{settings}");
    }
}

#[test]
fn images_are_judged_at_the_time_in_the_settings_with_a_warning() {
    let host = world().config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)));
    let mut settings = only("schedule", json!({}));
    settings["evaluateAt"] = json!("2026-01-02T00:00:00+01:00");
    let response = respond(&host, &request("Pod", &pod(&["a:1"])), &settings);
    assert_eq!(response["codes"], json!(["evaluate-at-set Warn"]));
    assert!(response["warnings"][0].as_str().unwrap().contains("judges images as of 2026-01-01T23:00:00Z"));
    let mut delete = request("Pod", &pod(&["a:1"]));
    delete["operation"] = json!("DELETE");
    assert_eq!(respond(&host, &delete, &settings)["codes"], json!(["evaluate-at-set Warn"]), "every response has it");
}

/// A JSON value with fields that are unknown to Kubernetes.
#[test]
fn the_namespace_of_the_request_counts_and_not_that_of_the_object() {
    let overrides = json!([{"images": ["*"], "namespaces": ["staging-*"], "pinning": {"action": "warn"}}]);
    let mut settings = only("pinning", json!({"action": "deny"}));
    settings["overrides"] = overrides;
    for (of_request, of_object, expected) in [
        (json!("staging-eu"), json!("staging-eu"), "unpinned-image Warn"),
        (json!("staging-eu"), json!("production"), "unpinned-image Warn"),
        (json!("staging-eu"), Value::Null, "unpinned-image Warn"),
        (json!("production"), json!("staging-eu"), "unpinned-image Deny"),
        (Value::Null, json!("staging-eu"), "unpinned-image Deny"),
        (json!(""), json!("staging-eu"), "unpinned-image Deny"),
    ] {
        for metadata in [json!({"name": "web"}), json!({"generateName": "web-"})] {
            let mut pod = pod(&["nginx:1"]);
            pod["metadata"] = metadata;
            pod["metadata"]["namespace"] = of_object.clone();
            let mut request = request("Pod", &pod);
            request["namespace"] = of_request.clone();
            let codes = &respond(&world(), &request, &settings)["codes"];
            assert_eq!(codes, &json!([expected]), "request: {of_request}, object: {of_object}");
        }
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "[a-z\"\\\\é]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[A-Z]{1,5}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn a_mutation_pins_the_images_lists_them_and_changes_nothing_else(unknown in any_json(), unknown_too in any_json(), pretty in any::<bool>()) {
        let object = |image: &str, volume: &str| json!({
            "metadata": {"name": "web", "UNKNOWN": unknown},
            "spec": {
                "UNKNOWN": unknown_too,
                "containers": [{"name": "app", "image": image, "UNKNOWN": unknown}],
                "volumes": [{"name": "data", "image": {"UNKNOWN": unknown_too, "reference": volume}}],
            },
        });
        let host = world().digest("docker.io/library/app:1", DIGEST).digest("localhost:5000/data:2", OTHER);
        let request = request("Pod", &object("app:1", "localhost:5000/data:2"));
        let payload = json!({"request": request, "settings": only("pinning", json!({}))});
        let text = if pretty { serde_json::to_string_pretty(&payload).unwrap() } else { payload.to_string() };
        let response: Value = serde_json::from_slice(&evaluate(text.as_bytes(), &host).into_response()).unwrap();
        let mut expected = object(&format!("app:1@{DIGEST}"), &format!("localhost:5000/data:2@{OTHER}"));
        expected["metadata"]["annotations"] = json!({"container-patch.dev/resolved": "app,volume/data"});
        prop_assert_eq!(&response["mutated_object"], &expected);
    }
}

mod scans {
    use super::*;

    /// A registry with an image of this digest and these annotations.
    fn registry(annotations: Value) -> InMemory {
        world().config(&format!("docker.io/library/a@{DIGEST}"), image("2026-11-01T00:00:00Z", annotations))
    }

    /// A registry with an index of this digest, which lists an image for the platform of the host and another digest.
    fn registry_with_index(other: &str) -> InMemory {
        const AMD64: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
        let name = format!("docker.io/library/a@{DIGEST}");
        let mut of_host = image("2026-11-01T00:00:00Z", json!(null));
        of_host["digest"] = json!(AMD64);
        let platform = |architecture| json!({"os": "linux", "architecture": architecture});
        let entries =
            json!([{"digest": AMD64, "platform": platform("amd64")}, {"digest": other, "platform": platform("s390x")}]);
        world().config(&name, of_host).manifest(&name, json!({ "manifests": entries }))
    }

    /// A pod with these annotations and one container `c0` of that image.
    fn annotated(annotations: Value) -> Value {
        let mut pod = pod(&[&format!("a:1@{DIGEST}")]);
        pod["metadata"]["annotations"] = annotations;
        request("Pod", &pod)
    }

    fn scan_annotation(critical: u64, digest: &str) -> Value {
        let summary = json!([{"label": "critical", "data": critical.to_string(), "severityIndex": 3}]);
        let annotation =
            json!({"name": "trivy", "timestamp": "2026-11-19T08:00:00Z", "summary": summary, "image": digest});
        json!({"scan.container-patch.dev/c0": annotation.to_string()})
    }

    fn codes(host: &InMemory, request: &Value, scan: Value) -> Value {
        respond(host, request, &only("scan", scan))["codes"].clone()
    }

    const VULNERABLE: &str = "vulnerable-image Deny";

    #[test]
    fn a_clean_annotation_of_a_pod_does_not_clear_its_image_unless_it_is_trusted() {
        let report = json!({
            "metadata": {"name": "r"},
            "spec": {"manifest": DIGEST, "features": [{"name": "openssl", "vulnerabilities": [{"name": "CVE-2026-0001", "severity": "Critical", "fixedby": "3.0.8"}]}]},
        });
        let host = || {
            let name = format!("ImageManifestVuln shop/{}", DIGEST.replace(':', "."));
            registry(json!(null)).answer("get", &name, Ok(report.clone()))
        };
        let mut pod = annotated(scan_annotation(0, DIGEST));
        pod["namespace"] = json!("shop");
        let scan = |annotations: &str| json!({"podAnnotations": annotations, "reports": [{"source": "quay"}]});
        assert_eq!(codes(&host(), &pod, scan("flag")), json!([VULNERABLE]));
        assert_eq!(codes(&host(), &pod, scan("ignore")), json!([VULNERABLE]));
        let trusting = host();
        assert_eq!(codes(&trusting, &pod, scan("trust")), json!([]));
        assert!(!trusting.asked().iter().any(|question| question.starts_with("get")), "{:?}", trusting.asked());
    }

    #[test]
    fn a_clean_annotation_of_a_pod_is_not_a_scan_result_unless_it_is_trusted() {
        let pod = annotated(scan_annotation(0, DIGEST));
        let of = |annotations: &str| {
            codes(&registry(json!(null)), &pod, json!({"require": true, "podAnnotations": annotations}))
        };
        assert_eq!(of("flag"), json!(["unscanned-image Deny"]));
        assert_eq!(of("trust"), json!([]));
    }

    #[test]
    fn an_old_scan_in_an_annotation_of_a_pod_is_reported_as_unscanned() {
        let old = scan_annotation(0, DIGEST).to_string().replace("2026-11-19", "2026-01-01");
        let mut settings = only("scan", json!({"require": true}));
        settings["exceptions"] =
            json!([{"images": ["*"], "rules": ["stale-scan"], "until": "2026-12-31", "reason": "the scanner is down"}]);
        for annotations in [json!(null), serde_json::from_str(&old).unwrap()] {
            let response = respond(&registry(json!(null)), &annotated(annotations), &settings);
            assert_eq!(response["codes"], json!(["unscanned-image Deny"]));
        }
    }

    #[test]
    fn an_annotation_of_a_pod_flags_its_image_unless_annotations_are_ignored() {
        for (annotations, code) in [
            (scan_annotation(4, DIGEST), VULNERABLE),
            (json!({"images.openshift.io/deny-execution": "true"}), "scan-flagged Deny"),
            (json!({"scan.container-patch.dev/c0": "{"}), "scan-flagged Deny"),
        ] {
            let pod = annotated(annotations.clone());
            let of = |setting: &str| codes(&registry(json!(null)), &pod, json!({"podAnnotations": setting}));
            assert_eq!(
                (of("flag"), of("trust"), of("ignore")),
                (json!([code]), json!([code]), json!([])),
                "{annotations}"
            );
        }
    }

    #[test]
    fn an_annotation_about_another_image_or_container_is_ignored() {
        let host = || registry(json!(null)).manifest(&format!("docker.io/library/a@{DIGEST}"), json!({"layers": []}));
        assert_eq!(codes(&host(), &annotated(scan_annotation(4, OTHER)), json!({})), json!([]));
        assert_eq!(
            codes(&host(), &annotated(scan_annotation(0, OTHER)), json!({"require": true, "podAnnotations": "trust"})),
            json!(["unscanned-image Deny"])
        );
        let other = json!({"scan.container-patch.dev/c1": scan_annotation(4, DIGEST)["scan.container-patch.dev/c0"]});
        assert_eq!(codes(&host(), &annotated(other), json!({})), json!([]));
    }

    #[test]
    fn an_annotation_about_an_image_of_the_index_counts() {
        let host = registry_with_index(OTHER);
        assert_eq!(codes(&host, &annotated(scan_annotation(4, OTHER)), json!({})), json!([VULNERABLE]));
    }

    #[test]
    fn annotations_of_a_pod_template_are_read_but_not_those_of_its_workload() {
        let flagged = json!({"images.openshift.io/deny-execution": "true"});
        let mut template = pod(&[&format!("a:1@{DIGEST}")]);
        template["metadata"] = json!({ "annotations": flagged });
        let deployment = |object: Value| codes(&registry(json!(null)), &request("Deployment", &object), json!({}));
        assert_eq!(deployment(json!({"spec": {"template": template}})), json!(["scan-flagged Deny"]));
        template["metadata"] = json!(null);
        assert_eq!(
            deployment(json!({"metadata": {"annotations": flagged}, "spec": {"template": template}})),
            json!([])
        );
    }

    #[test]
    fn annotations_and_labels_of_the_image_count_for_and_against_it() {
        let key = "quality.images.openshift.io/vulnerability.trivy";
        let says = |compliant: bool| json!({"timestamp": "2026-11-19T08:00:00Z", "compliant": compliant}).to_string();
        let pod = annotated(json!(null));
        assert_eq!(codes(&registry(json!({key: says(true)})), &pod, json!({"require": true})), json!([]));
        assert_eq!(codes(&registry(json!({key: says(false)})), &pod, json!({})), json!(["scan-flagged Deny"]));
        let mut labelled = image("2026-11-01T00:00:00Z", json!({key: says(true)}));
        labelled["config"]["config"] = json!({"Labels": {"images.openshift.io/deny-execution": "true"}});
        let host = world().config(&format!("docker.io/library/a@{DIGEST}"), labelled);
        assert_eq!(codes(&host, &pod, json!({"require": true})), json!(["scan-flagged Deny"]), "the worst counts");
    }

    #[test]
    fn without_scan_results_only_the_image_configuration_is_read() {
        let host = registry(json!(null));
        assert_eq!(codes(&host, &annotated(json!(null)), json!({})), json!([]));
        assert_eq!(host.asked(), [format!("config docker.io/library/a@{DIGEST}")]);
    }

    #[test]
    fn an_image_with_only_a_tag_is_judged_by_the_digest_of_the_tag() {
        let host = world()
            .config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", json!(null)))
            .digest("docker.io/library/a:1", DIGEST);
        let mut tagged = pod(&["a:1"]);
        tagged["metadata"]["annotations"] = scan_annotation(4, DIGEST);
        assert_eq!(codes(&host, &request("Pod", &tagged), json!({})), json!([VULNERABLE]));
    }

    #[test]
    fn an_unreadable_report_is_reported_as_unavailable_evidence() {
        let mut pod = annotated(json!(null));
        pod["namespace"] = json!("shop");
        let name = format!("ImageManifestVuln shop/{}", DIGEST.replace(':', "."));
        let host = || registry(json!(null)).answer("get", &name, Err("Host error: it is forbidden".to_owned()));
        let scan = json!({"reports": [{"source": "quay"}]});
        let response = respond(&host(), &pod, &only("scan", scan.clone()));
        assert_eq!(response["codes"], json!(["evidence-unavailable Deny"]));
        let message = response["message"].as_str().unwrap();
        assert!(
            message
                .contains("could not be verified: let policy-server read it, kubectl apply -f deploy/rbac/quay.yaml: "),
            "{message}"
        );
        let mut lenient = only("scan", scan);
        lenient["enforcement"] = json!({"evidenceErrors": "warn"});
        assert_eq!(respond(&host(), &pod, &lenient)["codes"], json!(["evidence-unavailable Warn"]));
    }

    #[test]
    fn an_unreadable_source_does_not_hide_the_others() {
        let mut pod = annotated(json!(null));
        pod["namespace"] = json!("shop");
        let name = format!("ImageManifestVuln scans/{}", DIGEST.replace(':', "."));
        let flagged = json!({"images.openshift.io/deny-execution": "true"});
        let host = registry(flagged).answer("get", &name, Err("Host error: timed out".to_owned()));
        let reports = json!([{"source": "quay", "namespace": "scans"}]);
        let mut settings = only("scan", json!({"require": true, "reports": reports}));
        settings["enforcement"] = json!({"evidenceErrors": "warn"});
        let codes = respond(&host, &pod, &settings)["codes"].clone();
        assert_eq!(codes, json!(["scan-flagged Deny", "evidence-unavailable Warn"]));
    }

    #[test]
    fn a_clean_result_of_one_image_of_an_index_does_not_clear_the_others() {
        let trusting = json!({"require": true, "podAnnotations": "trust"});
        let response =
            respond(&registry_with_index(OTHER), &annotated(scan_annotation(0, OTHER)), &only("scan", trusting));
        assert_eq!(response["codes"], json!(["unscanned-image Deny"]));
    }

    #[test]
    fn an_index_with_an_invalid_digest_is_not_looked_up() {
        let host = registry_with_index("../../secrets/x");
        let mut pod = annotated(json!(null));
        pod["namespace"] = json!("shop");
        let response = respond(&host, &pod, &only("scan", json!({"reports": [{"source": "quay"}]})));
        assert_eq!(response["codes"], json!(["evidence-unavailable Deny", "evidence-unavailable Deny"]));
        assert!(!host.asked().iter().any(|question| question.contains("secrets")), "{:?}", host.asked());
    }

    #[test]
    fn unreadable_annotations_are_one_finding_per_image() {
        let annotations: serde_json::Map<String, Value> =
            (0..1000).map(|n| (format!("quality.images.openshift.io/vulnerability.p{n}"), json!("x"))).collect();
        let response =
            respond(&registry(json!(null)), &annotated(Value::Object(annotations)), &only("scan", json!({})));
        assert_eq!(response["codes"], json!(["scan-flagged Deny"]));
        let message = response["message"].as_str().unwrap();
        assert!(
            message.contains("1000 annotations or labels about scans exceed the limit of 64")
                && message.contains("(and 64 more flags)"),
            "{message}"
        );
    }

    #[test]
    fn an_annotation_without_a_value_flags_the_image() {
        let response = respond(
            &registry(json!(null)),
            &annotated(json!({"scan.container-patch.dev/c0": null, "other": null})),
            &only("scan", json!({})),
        );
        assert_eq!(response["codes"], json!(["scan-flagged Deny"]));
    }

    #[test]
    fn a_timestamp_beyond_the_calendar_flags_the_image() {
        for seconds in [8_210_266_876_799_i64, i64::MAX, i64::MIN, -8_334_601_228_800, 0] {
            let value = json!({"timestamp": seconds, "compliant": false}).to_string();
            let pod = annotated(json!({"quality.images.openshift.io/vulnerability.x": value}));
            assert_eq!(
                codes(&registry(json!(null)), &pod, json!({"maxAge": "36500d"})),
                json!(["scan-flagged Deny"]),
                "{seconds}"
            );
        }
    }

    #[test]
    fn messages_stay_readable_with_four_hundred_vulnerabilities_in_five_images() {
        let vulnerabilities: Vec<Value> = (0..400)
            .map(|n| json!({"name": format!("CVE-2026-{n:04}"), "severity": "Critical", "fixedby": "1:3.0.8-4ubuntu5.2"}))
            .collect();
        let mut host = world();
        let digest = |n: usize| format!("sha256:{}", n.to_string().repeat(64));
        for n in 0..5 {
            let report = json!({"spec": {"manifest": digest(n), "features": [{"name": "libssl3", "vulnerabilities": vulnerabilities}]}});
            let name = format!("ImageManifestVuln shop/{}", digest(n).replace(':', "."));
            let mut image = image("2026-11-01T00:00:00Z", json!(null));
            image["digest"] = json!(digest(n));
            host = host.config(&format!("docker.io/library/a@{}", digest(n)), image).answer("get", &name, Ok(report));
        }
        let images: Vec<String> = (0..5).map(|n| format!("a:1@{}", digest(n))).collect();
        let mut pod = request("Pod", &pod(&images.iter().map(String::as_str).collect::<Vec<_>>()));
        pod["namespace"] = json!("shop");
        let response = respond(&host, &pod, &only("scan", json!({"reports": [{"source": "quay"}]})));
        let message = response["message"].as_str().unwrap();
        assert_eq!(message.lines().count(), 5);
        assert!(message.lines().all(|line| line.len() < 600 && line.contains("and 397 more")), "{message}");
        assert!(response.to_string().len() < 10_000, "{}", response.to_string().len());
    }
}

mod exceptions {
    use super::*;

    fn excepting(rule: &str, mut settings: Value) -> Value {
        settings["exceptions"] = json!([{"images": ["*"], "rules": [rule], "until": "2026-11-20", "reason": "SEC-42"}]);
        settings
    }

    #[test]
    fn every_finding_about_an_image_can_be_excepted() {
        let old = || world().config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)));
        for (settings, code) in [
            (only("pinning", json!({"action": "deny"})), "unpinned-image"),
            (only("schedule", json!({})), "stale-image"),
            (only("baseImage", json!({"unknown": "deny"})), "unknown-base-image"),
            (only("scan", json!({"require": true})), "unscanned-image"),
        ] {
            let response = respond(&old(), &request("Pod", &pod(&["a:1"])), &excepting(code, settings.clone()));
            assert_eq!(response["codes"], json!(["excepted Warn"]), "{code}");
            let warning = response["warnings"][0].as_str().unwrap();
            let start = format!("container `c0`: image `a:1` is excepted from {code} until 2026-11-20 (SEC-42): it ");
            assert!(warning.starts_with(&start) && warning.ends_with(" [excepted]"), "{warning}");
            let other = excepting("patch-due", settings);
            assert_eq!(
                respond(&old(), &request("Pod", &pod(&["a:1"])), &other)["codes"],
                json!([format!("{code} Deny")])
            );
        }
    }

    #[test]
    fn an_excepted_forbidden_tag_is_pinned_like_any_other() {
        let host = world().digest("docker.io/library/a:latest", DIGEST);
        let settings = excepting("forbidden-tag", only("pinning", json!({})));
        let response = respond(&host, &request("Pod", &pod(&["a"])), &settings);
        assert_eq!(response["codes"], json!(["excepted Warn"]));
        assert_eq!(response["mutated_object"], resolved("c0", pod(&[&format!("a@{DIGEST}")])));
    }

    #[test]
    fn an_exception_that_has_ended_no_longer_applies_and_is_reported() {
        let host = world().config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)));
        let mut settings = excepting("stale-image", only("schedule", json!({})));
        settings["exceptions"][0]["until"] = json!("2026-11-19");
        let response = respond(&host, &request("Pod", &pod(&["a:1"])), &settings);
        assert_eq!(response["codes"], json!(["stale-image Deny", "expired-exception Warn"]));
        let message = response["message"].as_str().unwrap();
        assert!(message.contains("; its exception ended: 2026-11-19 (SEC-42); "), "{message}");
        let fresh = world().config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", json!(null)));
        assert_eq!(
            respond(&fresh, &request("Pod", &pod(&["a:1"])), &settings)["codes"],
            json!([]),
            "there is no finding to except"
        );
    }

    #[test]
    fn an_invalid_reference_is_never_excepted() {
        let rules = json!(["unpinned-image", "stale-image", "evidence-unavailable", "scan-flagged", "forbidden-tag"]);
        let settings = json!({"exceptions": [{"images": ["*"], "rules": rules, "until": "2026-12-31", "reason": "x"}]});
        let response = respond(&world(), &request("Pod", &pod(&["A b"])), &settings);
        assert_eq!(response["codes"], json!(["invalid-reference Deny"]));
    }
}

/// A registry that has an old image `a:1` and a fresh one `b:1`.
fn old_and_fresh() -> InMemory {
    world()
        .config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)))
        .config("docker.io/library/a:2", image("2026-01-02T00:00:00Z", json!(null)))
        .config("docker.io/library/b:1", image("2026-11-01T00:00:00Z", json!(null)))
}

fn deployment(images: &[&str]) -> Value {
    json!({"spec": {"template": pod(images)}})
}

fn update(old: Value, new: Value) -> Value {
    let mut update = request("Deployment", &new);
    update["operation"] = json!("UPDATE");
    update["oldObject"] = old;
    update
}

mod unchanged_images {
    use super::*;

    fn under(treatment: &str) -> Value {
        let mut settings = only("schedule", json!({}));
        settings["enforcement"] = json!({"unchangedImages": treatment});
        settings
    }

    #[test]
    fn an_unchanged_image_is_treated_as_the_settings_say() {
        let scaled = || update(deployment(&["a:1"]), json!({"spec": {"replicas": 1, "template": pod(&["a:1"])}}));
        let host = old_and_fresh();
        let response = respond(&host, &scaled(), &only("schedule", json!({})));
        assert_eq!(response["codes"], json!(["stale-image Warn"]));
        let warning = response["warnings"][0].as_str().unwrap();
        assert!(
            warning.contains("allowed because this update does not change the image [stale-image]")
                || warning.contains('…'),
            "{warning}"
        );
        let findings: Value =
            serde_json::from_str(response["audit_annotations"]["findings"].as_str().unwrap()).unwrap();
        assert_eq!(findings[0]["passed"], json!("unchangedImages"));
        assert_eq!(respond(&old_and_fresh(), &scaled(), &under("warn"))["codes"], json!(["stale-image Warn"]));
        assert_eq!(respond(&old_and_fresh(), &scaled(), &under("deny"))["codes"], json!(["stale-image Deny"]));
        let host = old_and_fresh();
        assert_eq!(respond(&host, &scaled(), &under("ignore"))["codes"], json!([]));
        assert_eq!(host.asked(), [""; 0]);
    }

    #[test]
    fn an_image_that_is_new_in_its_container_is_judged_in_full() {
        let named = |name: &str, image: &str| json!({"name": name, "image": image});
        let with = |field: &str, containers: Value| json!({"spec": {"template": {"spec": {field: containers}}}});
        for (old, new, codes) in [
            (deployment(&["b:1"]), deployment(&["a:1"]), json!(["stale-image Deny"])),
            (deployment(&["a:1"]), deployment(&["a:2"]), json!(["stale-image Deny"])),
            (deployment(&["a:1", "a:2"]), deployment(&["a:2", "a:1"]), json!(["stale-image Deny", "stale-image Deny"])),
            (deployment(&["a:1"]), deployment(&["a:1", "a:1"]), json!(["stale-image Warn", "stale-image Deny"])),
            (
                with("containers", json!([named("x", "a:1")])),
                with("containers", json!([named("y", "a:1")])),
                json!(["stale-image Deny"]),
            ),
            (
                with("initContainers", json!([named("x", "a:1")])),
                with("containers", json!([named("x", "a:1")])),
                json!(["stale-image Deny"]),
            ),
            (
                with("containers", json!([named("x", "a:1")])),
                with("containers", json!([named("x", "a:1"), named("x", "a:1")])),
                json!(["stale-image Warn", "stale-image Deny"]),
            ),
            (
                with("containers", json!([named("", "a:1")])),
                with("containers", json!([named("", "a:1")])),
                json!(["stale-image Deny"]),
            ),
            (json!({"spec": 7}), deployment(&["a:1"]), json!(["stale-image Deny"])),
            (json!(null), deployment(&["a:1"]), json!(["stale-image Deny"])),
        ] {
            let request = update(old, new);
            assert_eq!(respond(&old_and_fresh(), &request, &under("warn"))["codes"], codes, "{request}");
            assert_eq!(respond(&old_and_fresh(), &request, &under("ignore"))["accepted"], json!(false), "{request}");
        }
    }

    #[test]
    fn an_earlier_state_in_a_create_is_ignored() {
        let mut create = request("Deployment", &deployment(&["a:1"]));
        create["oldObject"] = deployment(&["a:1"]);
        assert_eq!(respond(&old_and_fresh(), &create, &under("ignore"))["codes"], json!(["stale-image Deny"]));
    }

    #[test]
    fn a_new_ephemeral_container_is_judged_in_full() {
        let mut debugged = request("Pod", &pod(&["a:1"]));
        debugged["operation"] = json!("UPDATE");
        debugged["subResource"] = json!("ephemeralcontainers");
        debugged["oldObject"] = pod(&["a:1"]);
        debugged["object"]["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "a:2"}]);
        assert_eq!(
            respond(&old_and_fresh(), &debugged, &under("warn"))["codes"],
            json!(["stale-image Warn", "stale-image Deny"])
        );
    }

    #[test]
    fn a_registry_that_does_not_answer_does_not_block_scaling_down() {
        let scaled = update(deployment(&["gone:1"]), deployment(&["gone:1"]));
        assert_eq!(respond(&world(), &scaled, &json!({}))["codes"], json!(["evidence-unavailable Warn"]));
    }
}

mod controllers {
    use super::*;

    const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";

    fn by(user: &str, mut request: Value) -> Value {
        request["userInfo"] = json!({"username": user, "groups": ["system:authenticated"]});
        request
    }

    #[test]
    fn findings_about_pods_of_controllers_are_warnings() {
        let pod = request("Pod", &pod(&[&format!("a:1@{DIGEST}")]));
        let settings = |treatment: &str| {
            let mut settings = only("schedule", json!({}));
            settings["enforcement"] = json!({"controllerPods": treatment});
            settings
        };
        let codes = |user: &str, treatment: &str| {
            respond(&old_and_fresh(), &by(user, pod.clone()), &settings(treatment))["codes"].clone()
        };
        for user in [REPLICA_SETS, "system:kube-controller-manager", "system:serviceaccount:kube-system:job-controller"]
        {
            assert_eq!(codes(user, "warn"), json!(["stale-image Warn"]), "{user}");
            assert_eq!(codes(user, "deny"), json!(["stale-image Deny"]), "{user}");
            assert_eq!(codes(user, "ignore"), json!([]), "{user}");
        }
        assert_eq!(codes("jane", "ignore"), json!(["stale-image Deny"]));
    }

    #[test]
    fn an_owner_reference_does_not_downgrade_findings() {
        let mut owned = pod(&["a:1"]);
        owned["metadata"]["ownerReferences"] =
            json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true}]);
        let response = respond(&old_and_fresh(), &by("jane", request("Pod", &owned)), &only("schedule", json!({})));
        assert_eq!(response["codes"], json!(["stale-image Deny"]));
    }

    #[test]
    fn pods_of_controllers_are_pinned() {
        for treatment in ["deny", "warn", "ignore"] {
            let host = world().digest("docker.io/library/a:1", DIGEST);
            let mut settings = only("pinning", json!({}));
            settings["enforcement"] = json!({"controllerPods": treatment});
            let response = respond(&host, &by(REPLICA_SETS, request("Pod", &pod(&["a:1"]))), &settings);
            assert_eq!(response["mutated_object"], resolved("c0", pod(&[&format!("a:1@{DIGEST}")])), "{treatment}");
        }
        let host = world().digest("docker.io/library/a:latest", DIGEST);
        let response = respond(&host, &by(REPLICA_SETS, request("Pod", &pod(&["a"]))), &only("pinning", json!({})));
        assert_eq!(response["codes"], json!(["forbidden-tag Warn"]));
        assert_eq!(
            response["mutated_object"],
            resolved("c0", pod(&[&format!("a@{DIGEST}")])),
            "an allowed tag is pinned like any other"
        );
    }
}

mod break_glass {
    use super::*;

    fn settings(break_glass: Value) -> Value {
        let mut settings = only("schedule", json!({}));
        settings["breakGlass"] = break_glass;
        settings
    }

    fn by(user: &str, groups: &[&str], annotation: Option<&str>) -> Value {
        let mut pod = pod(&["a:1"]);
        if let Some(reason) = annotation {
            pod["metadata"]["annotations"] = json!({"container-patch.dev/break-glass": reason});
        }
        let mut request = request("Pod", &pod);
        request["namespace"] = json!("shop");
        request["name"] = json!("web");
        request["userInfo"] = json!({"username": user, "groups": groups});
        request
    }

    #[test]
    fn for_a_member_of_the_group_every_finding_is_a_warning() {
        let on_call = settings(json!({"groups": ["oncall"]}));
        let response =
            respond(&old_and_fresh(), &by("jane", &["dev", "oncall"], Some(" INC-7 payments are down ")), &on_call);
        assert_eq!(response["codes"], json!(["break-glass Warn", "stale-image Warn"]));
        assert_eq!(response["warnings"][0], json!("break-glass used by jane: INC-7 payments are down [break-glass]"));
        let annotation =
            |key: &str| serde_json::from_str::<Value>(response["audit_annotations"][key].as_str().unwrap()).unwrap();
        assert_eq!(
            annotation("breakGlass"),
            json!({"reason": "INC-7 payments are down", "by": "group oncall"}),
            "the audit log already has the user"
        );
        assert_eq!(annotation("findings")[1]["passed"], json!("breakGlass"));
    }

    #[test]
    fn a_user_who_is_listed_by_name_needs_no_group() {
        let on_call = settings(json!({"users": ["otto", "jane"]}));
        let response = respond(&old_and_fresh(), &by("jane", &[], Some("INC-7 payments are down")), &on_call);
        assert_eq!(response["codes"], json!(["break-glass Warn", "stale-image Warn"]));
        let grant: Value = serde_json::from_str(response["audit_annotations"]["breakGlass"].as_str().unwrap()).unwrap();
        assert_eq!(grant, json!({"reason": "INC-7 payments are down", "by": "user jane"}));
    }

    #[test]
    fn only_the_name_of_the_authenticated_user_counts_as_a_listed_user() {
        let on_call = settings(json!({"users": ["jane"]}));
        for (user, groups) in [
            ("", &["jane"][..]),
            ("joe", &["jane"]),
            ("Jane", &[]),
            ("jane ", &[]),
            ("jan\u{435}", &[]),
            ("janet", &[]),
        ] {
            let response = respond(&old_and_fresh(), &by(user, groups, Some("INC-7")), &on_call);
            assert_eq!(response["codes"], json!(["break-glass Deny", "stale-image Deny"]), "{user}");
        }
        let mut without_user = by("jane", &[], Some("INC-7"));
        without_user["userInfo"] = json!({});
        let response = respond(&old_and_fresh(), &without_user, &on_call);
        assert_eq!(response["codes"], json!(["break-glass Deny", "stale-image Deny"]), "the audit scanner has no user");
    }

    #[test]
    fn the_api_server_is_not_asked_about_a_listed_user() {
        let host = old_and_fresh();
        let both = settings(json!({"users": ["jane"], "rbac": true}));
        assert_eq!(respond(&host, &by("jane", &[], Some("INC-7")), &both)["accepted"], json!(true));
        assert!(!host.asked().iter().any(|question| question.starts_with("can_i")), "{:?}", host.asked());
    }

    #[test]
    fn other_users_are_denied_with_the_findings_and_the_permitted_users() {
        for (break_glass, expected) in [
            (json!({"groups": ["oncall"]}), "is accepted only from members of `oncall`, not from joe [break-glass]"),
            (
                json!({}),
                "is accepted only from members of `breakGlass.groups` and users in `breakGlass.users`, which are empty, not from joe [break-glass]",
            ),
            (json!({"users": ["jane"]}), "is accepted only from the user `jane`, not from joe [break-glass]"),
            (
                json!({"groups": ["oncall"], "users": ["jane", "JOE"]}),
                "is accepted only from members of `oncall` and the users `jane`, `JOE`, not from joe [break-glass]",
            ),
            (
                json!({"groups": ["a", "b"], "rbac": true}),
                "is accepted only from members of `a`, `b` and users who may `break-glass` containerpatchpolicies.container-patch.dev in the whole cluster, by a ClusterRoleBinding, not from joe [break-glass]",
            ),
        ] {
            let response = respond(
                &old_and_fresh(),
                &by("joe", &["system:authenticated", "oncal"], Some("please")),
                &settings(break_glass),
            );
            assert_eq!(response["codes"], json!(["break-glass Deny", "stale-image Deny"]));
            let message = response["message"].as_str().unwrap();
            assert!(message.lines().next().unwrap().ends_with(expected), "{message}");
        }
    }

    #[test]
    fn the_api_server_is_asked_once_and_a_missing_answer_denies() {
        let rbac = settings(json!({"rbac": true}));
        let asking = "jane break-glass /containerpatchpolicies";
        for (answer, accepted) in [
            (Ok(json!({"allowed": true})), true),
            (Ok(json!({"allowed": true, "denied": true})), false),
            (Ok(json!({"allowed": false, "reason": "no"})), false),
            (Ok(json!({})), false),
            (Ok(json!("yes")), false),
            (Ok(json!([true])), false),
            (Ok(json!([true, false])), false),
            (Err("timeout".to_owned()), false),
        ] {
            let host = old_and_fresh().answer("can_i", asking, answer.clone());
            let response = respond(&host, &by("jane", &[], Some("INC-7")), &rbac);
            assert_eq!(response["accepted"], json!(accepted), "{answer:?}");
            assert_eq!(host.asked().iter().filter(|question| question.starts_with("can_i")).count(), 1);
        }
    }

    #[test]
    fn every_verb_in_a_namespace_does_not_grant_break_glass_unless_the_settings_say_so() {
        let in_namespace = || {
            old_and_fresh()
                .answer("can_i", "otto break-glass shop/containerpatchpolicies", Ok(json!({"allowed": true})))
                .answer("can_i", "otto break-glass /containerpatchpolicies", Ok(json!({"allowed": false})))
        };
        let respond = |settings: &Value| respond(&in_namespace(), &by("otto", &[], Some("INC-7")), settings);
        let response = respond(&settings(json!({"rbac": true})));
        assert_eq!(response["codes"], json!(["break-glass Deny", "stale-image Deny"]));
        let response = respond(&settings(json!({"rbac": true, "rbacScope": "namespace"})));
        assert_eq!(response["codes"], json!(["break-glass Warn", "stale-image Warn"]));
    }

    #[test]
    fn the_api_server_is_not_asked_if_break_glass_is_not_requested_or_not_needed() {
        let rbac = settings(json!({"rbac": true}));
        let host = old_and_fresh();
        assert_eq!(respond(&host, &by("jane", &[], None), &rbac)["codes"], json!(["stale-image Deny"]));
        let mut fresh = by("jane", &[], Some("INC-7"));
        fresh["object"]["spec"]["containers"][0]["image"] = json!("b:1");
        assert_eq!(respond(&host, &fresh, &rbac)["codes"], json!([]));
        assert!(!host.asked().iter().any(|question| question.starts_with("can_i")), "{:?}", host.asked());
    }

    #[test]
    fn a_reason_without_letters_or_digits_is_rejected() {
        for reason in ["", "  ", "\n", "\u{200b}", "-"] {
            let response = respond(
                &old_and_fresh(),
                &by("jane", &["oncall"], Some(reason)),
                &settings(json!({"groups": ["oncall"]})),
            );
            assert_eq!(response["codes"], json!(["break-glass Deny", "stale-image Deny"]));
            assert!(
                response["message"]
                    .as_str()
                    .unwrap()
                    .contains("gives no reason; write why this cannot wait [break-glass]\n")
            );
        }
    }

    #[test]
    fn a_break_glass_annotation_with_another_key_or_place_is_ignored() {
        for key in [
            "Container-patch.dev/break-glass",
            "container-patch.dev/Break-Glass",
            "container-patch.dev/break-glass ",
            "container\u{2010}patch.dev/break-glass",
        ] {
            let mut request = by("jane", &["oncall"], None);
            request["object"]["metadata"]["annotations"] = json!({key: "INC-7"});
            let codes = respond(&old_and_fresh(), &request, &settings(json!({"groups": ["oncall"]})))["codes"].clone();
            assert_eq!(codes, json!(["stale-image Deny"]), "{key}");
        }
        let mut template = pod(&["a:1"]);
        template["metadata"]["annotations"] = json!({"container-patch.dev/break-glass": "INC-7"});
        let mut in_template =
            request("Deployment", &json!({"metadata": {"name": "web"}, "spec": {"template": template}}));
        in_template["userInfo"] = json!({"username": "jane", "groups": ["oncall"]});
        assert_eq!(
            respond(&old_and_fresh(), &in_template, &settings(json!({"groups": ["oncall"]})))["codes"],
            json!(["stale-image Deny"])
        );
    }

    #[test]
    fn break_glass_is_valid_for_one_request() {
        let on_call = settings(json!({"groups": ["oncall"]}));
        let annotated = |image: &str| json!({"metadata": {"annotations": {"container-patch.dev/break-glass": "INC-7"}}, "spec": {"template": pod(&[image])}});
        let mut changed = update(annotated("a:1"), annotated("a:2"));
        changed["userInfo"] = json!({"username": "joe", "groups": ["dev"]});
        assert_eq!(
            respond(&old_and_fresh(), &changed, &on_call)["codes"],
            json!(["break-glass Deny", "stale-image Deny"])
        );
        changed["userInfo"] = json!({"username": "system:serviceaccount:kube-system:deployment-controller"});
        let codes = respond(&old_and_fresh(), &changed, &on_call)["codes"].clone();
        assert_eq!(
            codes,
            json!(["break-glass Deny", "stale-image Deny"]),
            "a controller that changes an image is judged like a user"
        );
        changed["userInfo"] = json!({"username": "otto", "groups": ["oncall"]});
        let response = respond(&old_and_fresh(), &changed, &on_call);
        assert_eq!(
            response["codes"],
            json!(["break-glass Deny", "stale-image Deny"]),
            "another user may have written the reason"
        );
        assert!(
            response["message"].as_str().unwrap().contains("is not changed by this update; write a new reason why")
        );
        changed["object"]["metadata"]["annotations"] = json!({"container-patch.dev/break-glass": "INC-8"});
        assert_eq!(respond(&old_and_fresh(), &changed, &on_call)["accepted"], json!(true));
    }

    #[test]
    fn break_glass_does_not_accept_an_unreadable_request() {
        let on_call = settings(json!({"groups": ["oncall"]}));
        let mut broken = by("jane", &["oncall"], Some("INC-7"));
        broken["object"]["spec"]["containers"] = json!({});
        let response = respond(&old_and_fresh(), &broken, &on_call);
        assert_eq!(
            (response["accepted"].clone(), response["codes"].clone()),
            (json!(false), json!(["invalid-request Deny"]))
        );
        let mut unknown = by("jane", &["oncall"], Some("INC-7"));
        unknown["kind"]["kind"] = json!("Rollout");
        assert_eq!(
            respond(&old_and_fresh(), &unknown, &on_call)["codes"],
            json!(["break-glass Warn", "unknown-kind Warn"])
        );
    }
}

mod audit {
    use super::*;

    /// The request of Kubewarden's audit scanner for a stored object.
    fn audited(mut object: Value) -> Value {
        object["metadata"]["managedFields"] = json!([{"manager": "kubectl"}]);
        object["metadata"]["uid"] = json!("1");
        object["status"] = json!({"phase": "Running", "containerStatuses": [{"image": "docker.io/library/a:1"}]});
        let mut request = request("Pod", &object);
        request["resource"] = json!({"group": "", "version": "v1", "resource": "Pod"});
        request["userInfo"] = json!({});
        request
    }

    #[test]
    fn a_running_object_is_judged_like_a_new_one() {
        assert_eq!(
            respond(&old_and_fresh(), &audited(pod(&["a:1"])), &only("schedule", json!({})))["codes"],
            json!(["stale-image Deny"])
        );
        let mut settings = only("schedule", json!({}));
        settings["breakGlass"] = json!({"groups": ["oncall"], "users": ["jane"], "rbac": true});
        settings["enforcement"] = json!({"unchangedImages": "ignore", "controllerPods": "ignore"});
        let mut broken = pod(&["a:1"]);
        broken["metadata"]["annotations"] = json!({"container-patch.dev/break-glass": "INC-7"});
        broken["metadata"]["ownerReferences"] = json!([{"kind": "ReplicaSet"}]);
        let host = old_and_fresh();
        assert_eq!(
            respond(&host, &audited(broken), &settings)["codes"],
            json!(["break-glass Deny", "stale-image Deny"])
        );
        assert!(!host.asked().iter().any(|question| question.starts_with("can_i")));
    }

    #[test]
    fn unpinned_running_pods_are_reported_and_not_rewritten() {
        let response =
            respond(&world(), &audited(pod(&["a:1", &format!("b:1@{DIGEST}")])), &only("pinning", json!({})));
        assert_eq!((response["codes"].clone(), response.get("mutated_object")), (json!(["unpinned-image Warn"]), None));
    }

    #[test]
    fn an_object_that_is_being_deleted_is_accepted() {
        let mut leaving = pod(&["a:1"]);
        leaving["metadata"]["deletionTimestamp"] = json!("2026-11-20T00:00:00Z");
        assert_eq!(respond(&old_and_fresh(), &audited(leaving), &only("schedule", json!({})))["codes"], json!([]));
    }
}

#[test]
fn a_dry_run_is_judged_the_same() {
    let mut dry = request("Pod", &pod(&["a:1"]));
    dry["dryRun"] = json!(true);
    let response = respond(&old_and_fresh(), &dry, &only("schedule", json!({})));
    assert_eq!(response["codes"], json!(["stale-image Deny"]));
}

#[test]
fn an_image_cannot_be_exempt_and_excepted() {
    let settings = json!({
        "exempt": ["registry.example.com/*", "docker.io/library/nginx:*"],
        "exceptions": [
            {"images": ["quay.io/*", "registry.example.com/app:*"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "x"},
            {"images": ["docker.io/library/nginx:1"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "x"},
        ],
    });
    let message = crate::settings::check(settings.to_string().as_bytes()).unwrap_err();
    assert!(message.contains("exceptions[0].images: `registry.example.com/app:*` is already exempt by `registry.example.com/*`, without an end date; remove it from one of the two"), "{message}");
    assert!(
        message.contains(
            "exceptions[1].images: `docker.io/library/nginx:1` is already exempt by `docker.io/library/nginx:*`"
        ),
        "{message}"
    );
}

/// Bypasses of the policy that were found in a real cluster.
mod bypasses {
    use super::*;

    const DEPLOYMENT_CONTROLLER: &str = "system:serviceaccount:kube-system:deployment-controller";

    fn update(kind: &str, old: &Value, new: &Value) -> Value {
        let mut request = request(kind, new);
        request["operation"] = json!("UPDATE");
        request["oldObject"] = old.clone();
        request["userInfo"] = json!({"username": "ann"});
        request
    }

    fn templated(pod: &Value) -> Value {
        json!({"metadata": {"name": "web"}, "spec": {"template": pod}})
    }

    fn old_image() -> InMemory {
        world().config("docker.io/library/old:1", image("2026-01-01T00:00:00Z", json!(null)))
    }

    mod registries {
        use super::*;

        const LISTED: [&str; 2] = ["registry.example.com/team/*", "docker.io"];

        fn listing(mut settings: Value) -> Value {
            settings["registries"] = json!(LISTED);
            settings
        }

        #[test]
        fn an_image_on_an_unlisted_registry_is_denied_before_any_question() {
            for settings in [
                json!({}),
                only("pinning", json!({})),
                only("pinning", json!({"action": "deny"})),
                only("schedule", json!({})),
                only("scan", json!({"reports": [{"source": "quay"}]})),
                only("baseImage", json!({"action": "deny"})),
            ] {
                let host = world();
                for image in
                    ["evil.test/app:1", "registry.example.com/other/app:1", "registry.example.com:444/team/app:1"]
                {
                    let response = respond(&host, &request("Pod", &pod(&[image])), &listing(settings.clone()));
                    let codes: Vec<&str> =
                        response["codes"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
                    assert!(codes.contains(&"unknown-registry Deny"), "{image} {settings} {codes:?}");
                }
                assert_eq!(host.asked(), [""; 0], "{settings}");
            }
        }

        #[test]
        fn an_unlisted_registry_has_the_effect_of_the_strictest_rule_that_needs_it() {
            let by_digest = format!("evil.test/app@{DIGEST}");
            let codes = |image: &str, settings| {
                respond(&world(), &request("Pod", &pod(&[image])), &listing(settings))["codes"].clone()
            };
            assert_eq!(codes(&by_digest, only("pinning", json!({}))), json!([]), "no rule needs an answer");
            assert_eq!(
                codes(&by_digest, only("schedule", json!({"action": "warn"}))),
                json!(["unknown-registry Warn"])
            );
            assert_eq!(codes(&by_digest, only("scan", json!({}))), json!(["unknown-registry Deny"]));
            assert_eq!(
                codes("evil.test/app:1", only("pinning", json!({"action": "warn"}))),
                json!(["unpinned-image Warn", "unknown-registry Warn"])
            );
            let mut lenient = only("schedule", json!({}));
            lenient["enforcement"] = json!({"evidenceErrors": "warn"});
            assert_eq!(
                codes(&by_digest, lenient),
                json!(["unknown-registry Deny"]),
                "the requester chose the registry"
            );
        }

        #[test]
        fn the_audit_scanner_reports_an_unlisted_registry_only_if_a_rule_needs_it() {
            let mut audit = request("Pod", &pod(&["evil.test/app:1"]));
            audit["resource"] = json!({"resource": "Pod"});
            let codes = |settings| respond(&world(), &audit, &listing(settings))["codes"].clone();
            assert_eq!(
                codes(only("pinning", json!({}))),
                json!(["unpinned-image Warn"]),
                "pinning does not ask for a digest"
            );
            assert_eq!(codes(only("schedule", json!({}))), json!(["unknown-registry Deny"]));
        }

        #[test]
        fn the_message_lists_the_registries_that_may_be_used() {
            let response = respond(&world(), &request("Pod", &pod(&["evil.test/app:1"])), &listing(json!({})));
            assert_eq!(
                response["message"],
                json!(
                    "container `c0`: image `evil.test/app:1` is on `evil.test`, which `registries` does not list; use an image from \
                     `registry.example.com/team/*` or `docker.io`, or ask the cluster admin to add `evil.test` [unknown-registry]"
                )
            );
        }

        #[test]
        fn the_message_says_if_other_repositories_of_the_registry_are_listed() {
            let mut settings = listing(json!({}));
            settings["registries"] =
                json!(["a.test/x", "a.test/x", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test"]);
            let response = respond(&world(), &request("Pod", &pod(&["a.test/y/app:1"])), &settings);
            let message = response["message"].as_str().unwrap();
            assert!(
                message.contains(
                    "is in `a.test/y/app`, and `registries` lists other repositories of that registry; use an image from `a.test/x`, \
                     `b.test`, `c.test`, `d.test`, `e.test` or 2 others, or ask the cluster admin to add `a.test/y/app`"
                ),
                "{message}"
            );
        }

        #[test]
        fn one_omitted_registry_is_counted_in_the_singular() {
            let mut settings = listing(json!({}));
            settings["registries"] = json!(["a.test", "b.test", "c.test", "d.test", "e.test", "f.test"]);
            let response = respond(&world(), &request("Pod", &pod(&["evil.test/app:1"])), &settings);
            let message = response["message"].as_str().unwrap();
            assert!(message.contains("`d.test`, `e.test` or 1 other, or ask"), "{message}");
        }

        #[test]
        fn a_listed_image_is_judged_as_before() {
            let host = world().config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", json!(null)));
            let response = respond(&host, &request("Pod", &pod(&["a:1"])), &listing(only("schedule", json!({}))));
            assert_eq!(response["codes"], json!([]));
        }

        #[test]
        fn a_base_on_an_unlisted_registry_is_not_asked_about_even_if_base_image_lists_it() {
            let annotations = json!({"org.opencontainers.image.base.name": "quay.io/base:1", "org.opencontainers.image.base.digest": OTHER});
            let host = world().config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", annotations));
            let settings = listing(only("baseImage", json!({"unknown": "deny"})));
            let response = respond(&host, &request("Pod", &pod(&["a:1"])), &settings);
            assert_eq!(response["codes"], json!(["unknown-base-image Deny"]));
            assert!(
                response["message"]
                    .as_str()
                    .unwrap()
                    .contains("that `registries` does not list; ask the cluster admin to add it"),
                "{response}"
            );
            assert!(!host.asked().iter().any(|question| question.contains("quay.io")), "{:?}", host.asked());
        }

        #[test]
        fn an_excepted_unlisted_registry_is_not_asked_either() {
            let mut settings = listing(only("schedule", json!({})));
            settings["exceptions"] = json!([{"images": ["evil.test/*"], "rules": ["unknown-registry"], "until": "2026-12-31", "reason": "r"}]);
            let host = world();
            let response = respond(&host, &request("Pod", &pod(&[&format!("evil.test/app@{DIGEST}")])), &settings);
            assert_eq!(response["codes"], json!(["excepted Warn"]));
            assert_eq!(host.asked(), [""; 0]);
        }
    }

    mod platforms {
        use super::*;

        const FRESH: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
        const STALE: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

        /// An index of a fresh image for amd64 and a stale one for another platform.
        fn index(second: &Value) -> InMemory {
            let config = |digest: &str, created: &str| {
                let mut image = image(created, json!(null));
                image["digest"] = json!(digest);
                image
            };
            let name = format!("docker.io/library/a@{DIGEST}");
            let fresh = config(FRESH, "2026-11-01T00:00:00Z");
            let amd = json!({"os": "linux", "architecture": "amd64"});
            world()
                .config(&name, fresh.clone())
                .manifest(
                    &name,
                    json!({"manifests": [{"digest": FRESH, "platform": amd}, {"digest": STALE, "platform": second}]}),
                )
                .config(&format!("docker.io/library/a@{FRESH}"), fresh)
                .config(&format!("docker.io/library/a@{STALE}"), config(STALE, "2025-11-01T00:00:00Z"))
        }

        fn arm_only(mut pod: Value) -> Value {
            pod["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "arm64"});
            pod
        }

        fn app() -> Value {
            pod(&[&format!("a:1@{DIGEST}")])
        }

        #[test]
        fn the_worst_image_that_a_runtime_may_choose_counts() {
            let schedule = only("schedule", json!({}));
            let amd = json!({"os": "linux", "architecture": "amd64"});
            let variant = json!({"os": "linux", "architecture": "amd64", "variant": "v2"});
            for second in [amd, variant, json!({"os": "linux", "architecture": "386"}), json!(null)] {
                let response = respond(&index(&second), &request("Pod", &app()), &schedule);
                assert_eq!(response["codes"], json!(["stale-image Deny"]), "{second}");
                let images = response["audit_annotations"]["images"].as_str().unwrap();
                assert!(images.contains(r#""built":"2025-11-01T00:00:00Z""#), "{images}");
            }
        }

        #[test]
        fn a_node_selector_decides_which_image_is_judged() {
            let schedule = only("schedule", json!({}));
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let ask = |object: &Value, settings: &Value| respond(&index(&arm), &request("Pod", object), settings);
            assert_eq!(ask(&app(), &schedule)["codes"], json!([]), "policy-server's own platform");
            let response = ask(&arm_only(app()), &schedule);
            assert_eq!(response["codes"], json!(["stale-image Deny"]));
            assert!(response["message"].as_str().unwrap().contains("(linux/arm64) was built"), "{response}");
            let mut both = schedule;
            both["platforms"] = json!(["linux/amd64", "linux/arm64"]);
            let response = ask(&app(), &both);
            assert_eq!(response["codes"], json!(["stale-image Deny"]));
            let message = response["message"].as_str().unwrap();
            assert!(message.contains("(linux/arm64) was built 2025-11-01"), "{message}");
            let mut amd_only = app();
            amd_only["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": "amd64"});
            assert_eq!(ask(&amd_only, &both)["codes"], json!([]));
        }

        #[test]
        fn an_image_that_may_run_on_other_nodes_counts_as_changed() {
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let schedule = only("schedule", json!({}));
            let (anywhere, on_arm) = (templated(&app()), templated(&arm_only(app())));
            let codes = |old: &Value, new: &Value| {
                respond(&index(&arm), &update("Deployment", old, new), &schedule)["codes"].clone()
            };
            assert_eq!(codes(&anywhere, &on_arm), json!(["stale-image Deny"]), "the image was judged for amd64");
            assert_eq!(codes(&on_arm, &on_arm), json!(["stale-image Warn"]), "neither image nor nodes change");
        }

        #[test]
        fn a_platform_that_an_index_lacks_is_in_the_audit_annotation() {
            let mut settings = only("schedule", json!({}));
            settings["platforms"] = json!(["linux/amd64", "linux/s390x"]);
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let response = respond(&index(&arm), &request("Pod", &app()), &settings);
            assert_eq!(response["codes"], json!([]));
            let images: Value =
                serde_json::from_str(response["audit_annotations"]["images"].as_str().unwrap()).unwrap();
            assert_eq!(images[0]["missingPlatforms"], json!(["linux/s390x"]));
        }

        #[test]
        fn scan_results_are_looked_up_by_the_digest_of_each_image() {
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let mut settings =
                only("scan", json!({"require": true, "reports": [{"source": "quay", "namespace": "scans"}]}));
            settings["platforms"] = json!(["linux/amd64", "linux/arm64"]);
            let report = |digest: &str| json!({"spec": {"manifest": digest}});
            let name = |digest: &str| format!("ImageManifestVuln scans/{}", digest.replace(':', "."));
            let mut pod = request("Pod", &app());
            pod["namespace"] = json!("shop");
            let one = index(&arm).answer("get", &name(FRESH), Ok(report(FRESH)));
            let response = respond(&one, &pod, &settings);
            assert_eq!(response["codes"], json!(["unscanned-image Deny"]));
            assert!(response["message"].as_str().unwrap().contains("(linux/arm64)"), "{response}");
            let both = index(&arm).answer("get", &name(FRESH), Ok(report(FRESH))).answer(
                "get",
                &name(STALE),
                Ok(report(STALE)),
            );
            assert_eq!(respond(&both, &pod, &settings)["codes"], json!([]));
            let other = index(&arm).answer("get", &name(STALE), Ok(report(STALE)));
            let response = respond(&other, &pod, &settings);
            assert_eq!(response["codes"], json!(["unscanned-image Deny"]));
            assert!(response["message"].as_str().unwrap().contains("(linux/amd64)"), "{response}");
        }

        #[test]
        fn a_label_of_any_image_of_an_index_is_read() {
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let mut settings = only("scan", json!({}));
            settings["platforms"] = json!(["linux/amd64", "linux/arm64"]);
            for (flagged, platform) in [(FRESH, "(linux/amd64)"), (STALE, "(linux/arm64)")] {
                let mut image = image("2026-11-01T00:00:00Z", json!({"images.openshift.io/deny-execution": "true"}));
                image["digest"] = json!(flagged);
                let mut host = index(&arm).config(&format!("docker.io/library/a@{flagged}"), image.clone());
                if flagged == FRESH {
                    host = host.config(&format!("docker.io/library/a@{DIGEST}"), image);
                }
                let response = respond(&host, &request("Pod", &app()), &settings);
                assert_eq!(response["codes"], json!(["scan-flagged Deny"]), "{flagged}");
                assert!(response["message"].as_str().unwrap().contains(platform), "{response}");
            }
        }
    }

    mod terminating {
        use super::*;

        fn terminating(image: &str) -> Value {
            let mut object = templated(&pod(&[image]));
            object["metadata"]["deletionTimestamp"] = json!("2026-11-20T00:00:00Z");
            object["metadata"]["finalizers"] = json!(["example.com/a"]);
            object
        }

        #[test]
        fn an_image_that_changes_while_its_object_is_being_deleted_is_judged() {
            let schedule = only("schedule", json!({}));
            let response =
                respond(&old_image(), &update("ReplicaSet", &terminating("new:1"), &terminating("old:1")), &schedule);
            assert_eq!(response["codes"], json!(["stale-image Deny"]));
            assert!(response["audit_annotations"]["images"].as_str().unwrap().contains("old:1"));
        }

        #[test]
        fn a_deletion_can_be_finished_whatever_the_images() {
            let mut done = terminating("old:1");
            done["metadata"]["finalizers"] = json!([]);
            let host = old_image();
            for (kind, old, new) in [
                ("ReplicaSet", terminating("old:1"), done.clone()),
                ("ReplicaSet", terminating("Not An Image"), {
                    let mut done = terminating("Not An Image");
                    done["metadata"]["finalizers"] = json!([]);
                    done
                }),
                ("Unknown", terminating("old:1"), done),
            ] {
                let response = respond(&host, &update(kind, &old, &new), &json!({}));
                assert_eq!((&response["accepted"], &response["codes"]), (&json!(true), &json!([])), "{kind}");
            }
            assert_eq!(host.asked(), [""; 0]);
            let changed = update("Unknown", &terminating("old:1"), &terminating("new:1"));
            assert_eq!(respond(&host, &changed, &json!({}))["codes"], json!(["unknown-kind Deny"]));
        }

        #[test]
        fn a_controller_that_changes_an_image_is_judged_like_a_user() {
            let schedule = only("schedule", json!({}));
            let mut rollback = update("Deployment", &templated(&pod(&["new:1"])), &templated(&pod(&["old:1"])));
            rollback["userInfo"]["username"] = json!(DEPLOYMENT_CONTROLLER);
            assert_eq!(respond(&old_image(), &rollback, &schedule)["codes"], json!(["stale-image Deny"]));
            let mut scale = update("ReplicaSet", &templated(&pod(&["old:1"])), &templated(&pod(&["old:1"])));
            scale["userInfo"]["username"] = json!(DEPLOYMENT_CONTROLLER);
            let mut strict = schedule.clone();
            strict["enforcement"] = json!({"unchangedImages": "deny"});
            assert_eq!(
                respond(&old_image(), &scale, &strict)["codes"],
                json!(["stale-image Warn"]),
                "the image does not change"
            );
            let mut make = request("ReplicaSet", &templated(&pod(&["old:1"])));
            make["userInfo"] = json!({"username": DEPLOYMENT_CONTROLLER});
            assert_eq!(respond(&old_image(), &make, &schedule)["codes"], json!(["stale-image Warn"]));
        }
    }

    mod kinds {
        use super::*;

        #[test]
        fn a_forbidden_tag_is_denied_in_a_template_even_without_pinning_of_templates() {
            for (settings, image, expected) in [
                (json!({"action": "deny", "templates": false}), "app", json!(["forbidden-tag Deny"])),
                (json!({"action": "deny", "templates": false}), "app:latest", json!(["forbidden-tag Deny"])),
                (json!({"action": "pin"}), "app", json!(["forbidden-tag Deny"])),
                (json!({"action": "warn", "templates": false}), "app", json!(["forbidden-tag Deny"])),
                (json!({"action": "deny", "templates": false}), "app:1", json!([])),
                (json!({"action": "off"}), "app", json!([])),
            ] {
                let host = world();
                let deployment = request("Deployment", &templated(&pod(&[image])));
                let response = respond(&host, &deployment, &only("pinning", settings.clone()));
                assert_eq!(response["codes"], expected, "{settings} {image}");
                assert_eq!(host.asked(), [""; 0]);
            }
        }

        #[test]
        fn the_deprecated_kind_ephemeral_containers_is_judged_and_pinned() {
            let mut request = request("Pod", &json!({"ephemeralContainers": [{"name": "debug", "image": "old:1"}]}));
            request["kind"]["kind"] = json!("EphemeralContainers");
            request["subResource"] = json!("ephemeralcontainers");
            request["operation"] = json!("UPDATE");
            request["oldObject"] = json!({"ephemeralContainers": []});
            let response = respond(&old_image(), &request, &only("schedule", json!({})));
            assert_eq!(response["codes"], json!(["stale-image Deny"]));
            let host = world().digest("docker.io/library/old:1", DIGEST);
            let response = respond(&host, &request, &only("pinning", json!({})));
            assert_eq!(response["mutated_object"]["ephemeralContainers"][0]["image"], json!(format!("old:1@{DIGEST}")));
        }

        fn revision(data: Value, owner: &str) -> Value {
            let owners =
                json!([{"apiVersion": "apps/v1", "kind": owner, "name": "db", "controller": true, "uid": "1"}]);
            let metadata = if owner.is_empty() {
                json!({"name": "db-1"})
            } else {
                json!({"name": "db-1", "ownerReferences": owners})
            };
            json!({"metadata": metadata, "data": data, "revision": 2})
        }

        #[test]
        fn a_revision_is_judged_by_its_template_whatever_its_owner() {
            let schedule = only("schedule", json!({}));
            for owner in ["", "StatefulSet", "DaemonSet", "Other"] {
                let forged = revision(json!({"spec": {"template": pod(&["old:1"])}}), owner);
                let mut request = request("ControllerRevision", &forged);
                request["userInfo"] = json!({"username": "otto"});
                assert_eq!(respond(&old_image(), &request, &schedule)["codes"], json!(["stale-image Deny"]), "{owner}");
                request["userInfo"] = json!({"username": "system:serviceaccount:kube-system:statefulset-controller"});
                assert_eq!(respond(&old_image(), &request, &schedule)["codes"], json!(["stale-image Warn"]), "{owner}");
            }
        }

        #[test]
        fn a_revision_without_a_template_is_accepted_unless_a_kubernetes_controller_uses_it() {
            for data in [
                json!({}),
                json!(null),
                json!("opaque"),
                json!([1]),
                json!(7),
                json!({"spec": "x"}),
                json!({"spec": {"template": {}}}),
            ] {
                for (owner, accepted) in [("", true), ("Other", true), ("StatefulSet", false), ("DaemonSet", false)] {
                    let request = request("ControllerRevision", &revision(data.clone(), owner));
                    let response = respond(&world(), &request, &json!({}));
                    assert_eq!(response["accepted"], json!(accepted), "{data} {owner}: {response}");
                    let codes = if accepted { json!([]) } else { json!(["invalid-request Deny"]) };
                    assert_eq!(response["codes"], codes, "{data} {owner}");
                }
            }
            // A controller may read either of two equal keys.
            let twice = r#"{"request": {"kind": {"group": "apps", "version": "v1", "kind": "ControllerRevision"}, "operation": "CREATE",
                "object": {"data": {"spec": {}, "spec": {"template": {"spec": {"containers": []}}}}}}}"#;
            let verdict = super::super::evaluate(twice.as_bytes(), &world());
            assert!(!verdict.is_accepted());
        }

        #[test]
        fn a_revision_is_never_rewritten() {
            let host = world().digest("docker.io/library/old:1", DIGEST);
            let request =
                request("ControllerRevision", &revision(json!({"spec": {"template": pod(&["old:1"])}}), "StatefulSet"));
            for settings in [json!({}), json!({"templates": true})] {
                let response = respond(&host, &request, &only("pinning", settings));
                assert_eq!((&response["accepted"], response.get("mutated_object")), (&json!(true), None));
            }
        }
    }

    mod unusual_content {
        use super::*;

        const CHILD: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";

        fn amd() -> Value {
            json!({"os": "linux", "architecture": "amd64"})
        }

        /// An index of one image, for the platform of the host.
        fn index_of(created: &str) -> InMemory {
            let mut image = image(created, json!(null));
            image["digest"] = json!(CHILD);
            let name = format!("docker.io/library/a@{DIGEST}");
            world().config(&name, image).manifest(&name, json!({"manifests": [{"digest": CHILD, "platform": amd()}]}))
        }

        fn app() -> Value {
            pod(&[&format!("a:1@{DIGEST}")])
        }

        /// An affinity that selects `count` architectures and operating systems, most of them invented.
        fn selecting(count: usize, length: usize) -> Value {
            let many = |first: &str| {
                let others = (1..count).map(|number| format!("{number:x>length$}"));
                std::iter::once(first.to_owned()).chain(others).collect::<Vec<_>>()
            };
            let term = json!({"matchExpressions": [
                {"key": "kubernetes.io/arch", "operator": "In", "values": many("amd64")},
                {"key": "kubernetes.io/os", "operator": "In", "values": many("linux")},
            ]});
            json!({"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]}}})
        }

        #[test]
        fn a_revision_with_keys_in_another_case_is_denied() {
            let stale = json!([{"name": "app", "image": "old:1"}]);
            for data in [
                json!({"spec": {"template": {"spec": {"containers": null, "Containers": stale}}}}),
                json!({"spec": {"template": {"spec": {"containers": null, "container\u{17f}": stale}}}}),
                json!({"spec": {"template": {"spec": {"containers": [{"name": "app", "image": null, "Image": "old:1"}]}}}}),
                json!({"spec": {"template": {"spec": {"volumes": [{"name": "app", "image": {"Reference": "old:1"}}]}}}}),
                json!({"spec": {"template": {"$patch": "replace", "spec": {}, "Spec": {"containers": stale}}}}),
                json!({"spec": {"template": {"spec": {"containers": [], "NodeSelector": {"kubernetes.io/arch": "arm64"}}}}}),
                json!({"spec": null, "Spec": {"template": {"spec": {"containers": stale}}}}),
            ] {
                // A StatefulSet finds its revisions by its uid only, whatever kind the owner reference has.
                for (api_version, kind) in
                    [("apps/v1", "StatefulSet"), ("example.com/v1", "StatefulSet"), ("v1", "Other")]
                {
                    let owner =
                        json!({"apiVersion": api_version, "kind": kind, "name": "db", "controller": true, "uid": "1"});
                    let revision =
                        json!({"metadata": {"name": "db-1", "ownerReferences": [owner]}, "data": data, "revision": 2});
                    let response =
                        respond(&old_image(), &request("ControllerRevision", &revision), &only("schedule", json!({})));
                    assert_eq!(response["codes"], json!(["invalid-request Deny"]), "{data} {kind}: {response}");
                }
            }
            let labels = json!({"metadata": {"labels": {"Spec": "x"}}, "spec": {"containers": [], "nodeSelector": {"Key": "x"}}});
            let revision = json!({"metadata": {"name": "db-1"}, "data": {"spec": {"template": labels}}});
            assert_eq!(respond(&world(), &request("ControllerRevision", &revision), &json!({}))["codes"], json!([]));
        }

        #[test]
        fn many_sites_and_invented_platforms_do_not_hide_an_image_from_the_audit_annotation() {
            let name = format!("a:1@{DIGEST}");
            let containers: Vec<Value> =
                (0..200).map(|n| json!({"name": format!("{n:0>63}"), "image": name})).collect();
            let many = json!({"metadata": {"name": "web"}, "spec": {"containers": containers}});
            let mut selecting_many = app();
            selecting_many["spec"]["affinity"] = selecting(32, 63);
            let mut selecting_some = app();
            selecting_some["spec"]["affinity"] = selecting(5, 200);
            for pod in [many, selecting_many, selecting_some] {
                let host = index_of("2025-11-01T00:00:00Z");
                let response = respond(&host, &request("Pod", &pod), &only("schedule", json!({"action": "warn"})));
                let images: Value =
                    serde_json::from_str(response["audit_annotations"]["images"].as_str().unwrap()).unwrap();
                assert_eq!(
                    (&images[0]["image"], &images[0]["built"]),
                    (&json!(format!("docker.io/library/{name}")), &json!("2025-11-01T00:00:00Z"))
                );
            }
        }

        #[test]
        fn invented_platforms_do_not_lengthen_the_message() {
            let name = format!("docker.io/library/a@{DIGEST}");
            let foreign =
                "Image manifest not found: no entry found in image index manifest matching client's default platform";
            for count in [5, 32] {
                let host = index_of("2025-11-01T00:00:00Z").answer("config", &name, Err(foreign.to_owned())).manifest(
                    &name,
                    json!({"manifests": [{"digest": OTHER, "platform": {"os": "x", "architecture": "y"}}]}),
                );
                let mut pod = app();
                pod["spec"]["affinity"] = selecting(count, 200);
                let response = respond(&host, &request("Pod", &pod), &only("schedule", json!({})));
                assert_eq!(response["codes"], json!(["evidence-unavailable Deny"]));
                let length = response["message"].as_str().unwrap().len();
                assert!(length <= 8 * 1024, "{length} bytes");
            }
        }

        #[test]
        fn questions_to_registries_are_limited_and_exceeding_the_limit_is_denied() {
            let digest = |n: usize| format!("sha256:{n:064x}");
            let mut host = world();
            let mut names = Vec::new();
            for number in 0..128 {
                let of_image = |n: usize| {
                    let base = json!({"org.opencontainers.image.base.name": format!("docker.io/library/b{n}:1"), "org.opencontainers.image.base.digest": OTHER});
                    let mut image = image("2026-11-01T00:00:00Z", base);
                    image["digest"] = json!(digest(n));
                    image
                };
                let name = format!("a@{}", digest(1_000_000 + number));
                let entries: Vec<Value> =
                    (0..16).map(|n| json!({"digest": digest(number * 16 + n), "platform": amd()})).collect();
                host = host
                    .config(&format!("docker.io/library/{name}"), of_image(number * 16))
                    .manifest(&format!("docker.io/library/{name}"), json!({ "manifests": entries }));
                for n in number * 16..number * 16 + 16 {
                    host = host
                        .config(&format!("docker.io/library/a@{}", digest(n)), of_image(n))
                        .digest(&format!("docker.io/library/b{n}:1"), DIGEST);
                }
                names.push(name);
            }
            let pod = pod(&names.iter().map(String::as_str).collect::<Vec<_>>());
            let response = respond(&host, &request("Pod", &pod), &json!({"enforcement": {"evidenceErrors": "warn"}}));
            assert_eq!(host.asked().len(), 5120);
            assert_eq!(response["accepted"], json!(false), "the requester caused the excess");
            assert!(
                response["message"].as_str().unwrap().contains("needs more than 5120 questions to registries"),
                "{response}"
            );
        }

        #[test]
        fn the_deprecated_node_labels_select_like_the_new_ones() {
            let mut stale = image("2025-01-01T00:00:00Z", json!(null));
            stale["digest"] = json!(OTHER);
            let arm = json!({"os": "linux", "architecture": "arm64"});
            let host = index_of("2026-11-01T00:00:00Z")
                .manifest(
                    &format!("docker.io/library/a@{DIGEST}"),
                    json!({"manifests": [{"digest": CHILD, "platform": amd()}, {"digest": OTHER, "platform": arm}]}),
                )
                .config(&format!("docker.io/library/a@{OTHER}"), stale);
            for label in ["kubernetes.io/arch", "beta.kubernetes.io/arch"] {
                let mut pod = app();
                pod["spec"]["nodeSelector"] = json!({label: "arm64"});
                let response = respond(&host, &request("Pod", &pod), &only("schedule", json!({})));
                assert_eq!(response["codes"], json!(["stale-image Deny"]), "{label}");
            }
        }

        #[test]
        fn an_error_about_the_registry_is_not_reported_as_a_missing_image() {
            let name = format!("docker.io/library/a@{DIGEST}");
            for (error, unexpected) in [
                (
                    "Registry error: url https://index.docker.io/v2/library/a/manifests/1, envelope: OCI API errors: [OCI API error: You have reached your unauthenticated pull rate limit. https://www.docker.com/increase-rate-limit]",
                    "unauthorized",
                ),
                ("Image manifest not found: received Image Index manifest instead", "not found"),
                (
                    "Server error: url https://r.test/v2/a, code: 502, message: <html>upstream host not found</html>",
                    "no such image",
                ),
            ] {
                let host = world().answer("config", &name, Err(error.to_owned()));
                let response = respond(&host, &request("Pod", &app()), &only("schedule", json!({})));
                assert!(!response["message"].as_str().unwrap().contains(unexpected), "{response}");
            }
        }

        #[test]
        fn an_unusual_index_hides_no_image_and_is_not_an_outage() {
            let name = format!("docker.io/library/a@{DIGEST}");
            let first = json!({"digest": CHILD, "platform": amd()});
            let many: Vec<Value> =
                (0..17).map(|n| json!({"digest": format!("sha256:{n:064x}"), "platform": amd()})).collect();
            let mut settings = only("schedule", json!({}));
            settings["enforcement"] = json!({"evidenceErrors": "warn"});
            let mut stale = image("2025-01-01T00:00:00Z", json!(null));
            stale["digest"] = json!(OTHER);
            for (entries, when_fresh) in [
                (
                    [&[first.clone()][..], &many].concat(),
                    json!(["evidence-unavailable Deny", "evidence-unavailable Warn"]),
                ),
                (
                    vec![first.clone(), json!({"digest": "sha256:abc", "platform": amd()})],
                    json!(["evidence-unavailable Deny"]),
                ),
                (
                    vec![first.clone(), json!({"digest": format!("sha256:{:064x}", 7), "platform": amd()})],
                    json!(["evidence-unavailable Warn"]),
                ),
                // A stale image beside a missing one.
                (
                    vec![
                        first.clone(),
                        json!({"digest": format!("sha256:{:064x}", 7), "platform": amd()}),
                        json!({"digest": OTHER, "platform": amd()}),
                    ],
                    json!(["evidence-unavailable Warn", "stale-image Deny"]),
                ),
            ] {
                let codes = |created: &str| {
                    let host = index_of(created)
                        .manifest(&name, json!({ "manifests": entries }))
                        .config(&format!("docker.io/library/a@{OTHER}"), stale.clone());
                    respond(&host, &request("Pod", &app()), &settings)["codes"].clone()
                };
                let when_stale = codes("2025-01-01T00:00:00Z");
                assert!(
                    when_stale.as_array().unwrap().contains(&json!("stale-image Deny")),
                    "{entries:?}: {when_stale}"
                );
                let fresh = codes("2026-11-01T00:00:00Z");
                let expected = when_fresh.as_array().unwrap();
                assert!(expected.iter().any(|code| fresh.as_array().unwrap().contains(code)), "{entries:?}: {fresh}");
            }
        }
    }

    #[test]
    fn an_audit_event_stays_small_whatever_the_image_names() {
        let settings = json!({"registries": ["docker.io"]});
        for image in ["<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&<>&", "evil.test/a:1", "Not An Image", "\u{2028}\"\\"] {
            let response = respond(&world(), &request("Pod", &pod(&vec![image; 1000])), &settings);
            let annotations = response["audit_annotations"].as_object().unwrap();
            assert_eq!(annotations.keys().collect::<Vec<_>>(), ["findings", "images", "verdict"]);
            // As the API server writes them: Go also escapes the special characters of HTML.
            let written = |text: &Value| {
                let json = text.to_string();
                json.replace('<', r"\u003c").replace('>', r"\u003e").replace('&', r"\u0026").len()
            };
            let all: usize = annotations.values().chain([&response["message"]]).map(written).sum();
            assert!(annotations.values().all(|value| written(value) <= 8 * 1024 + 100), "{image}: {annotations:?}");
            assert!(all <= 25 * 1024, "{image}: {all}");
        }
    }

    #[test]
    fn an_image_of_many_containers_is_in_the_audit_annotation_once() {
        let host = world().config(&format!("docker.io/library/a@{DIGEST}"), image("2026-11-01T00:00:00Z", json!(null)));
        let name = format!("a:1@{DIGEST}");
        let response = respond(&host, &request("Pod", &pod(&vec![name.as_str(); 120])), &json!({}));
        let images: Value = serde_json::from_str(response["audit_annotations"]["images"].as_str().unwrap()).unwrap();
        assert_eq!(images.as_array().unwrap().len(), 1);
        assert_eq!(images[0]["sites"].as_array().unwrap().len(), 120);
        assert_eq!(images[0].get("digest"), None, "the name includes the digest");
    }
}
