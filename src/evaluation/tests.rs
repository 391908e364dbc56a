use proptest::prelude::*;
use serde_json::{Value, json};

use super::evaluate;
use crate::host::in_memory::InMemory;

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

/// What a registry says of an image that was built at some time.
fn image(created: &str, annotations: Value) -> Value {
    json!({
        "digest": DIGEST,
        "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}, "annotations": annotations},
        "config": {"created": created},
    })
}

fn world() -> InMemory {
    InMemory::at(NOW)
}

#[test]
fn a_pinned_image_under_pinning_alone_asks_nobody() {
    let host = world();
    let response = respond(&host, &request("Pod", &pod(&[&format!("nginx@{DIGEST}")])), &only("pinning", json!({})));
    assert_eq!((response["accepted"].clone(), response["codes"].clone()), (json!(true), json!([])));
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn an_unpinned_image_of_a_pod_gets_its_digest_and_is_judged_by_it() {
    let host = world()
        .digest("docker.io/library/nginx:1", DIGEST)
        .config(&format!("docker.io/library/nginx@{DIGEST}"), image("2026-11-01T00:00:00Z", json!(null)));
    let response = respond(&host, &request("Pod", &pod(&["nginx:1", "nginx:1"])), &json!({}));
    assert_eq!(response["accepted"], json!(true), "{response}");
    assert_eq!(response["mutated_object"], pod(&[&format!("nginx:1@{DIGEST}"), &format!("nginx:1@{DIGEST}")]));
    assert_eq!(host.asked(), ["digest docker.io/library/nginx:1", &format!("config docker.io/library/nginx@{DIGEST}")]);
    let images: Value = serde_json::from_str(response["audit_annotations"]["images"].as_str().unwrap()).unwrap();
    assert_eq!(
        images[0],
        json!({"site": "container `c0`", "image": "docker.io/library/nginx:1", "digest": DIGEST, "built": "2026-11-01T00:00:00Z"})
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
fn pod_templates_are_pinned_only_where_the_settings_say_so() {
    let host = || world().digest("docker.io/library/nginx:1", DIGEST);
    let deployment = request("Deployment", &json!({"spec": {"template": pod(&["nginx:1"])}}));
    let response = respond(&host(), &deployment, &only("pinning", json!({"action": "pin"})));
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
fn deny_and_warn_name_the_digest_to_use_where_the_registry_answers() {
    let settings = only("pinning", json!({"action": "deny"}));
    let host = world().digest("localhost:5000/app:1", DIGEST);
    let response = respond(&host, &request("Pod", &pod(&["localhost:5000/app:1"])), &settings);
    let message = response["message"].as_str().unwrap();
    assert!(message.contains(&format!("write `localhost:5000/app:1@{DIGEST}`")), "{message}");
    let response = respond(&world(), &request("Pod", &pod(&["localhost:5000/app:1"])), &settings);
    assert_eq!(response["codes"], json!(["unpinned-image Deny"]), "without an answer there is a finding all the same");
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
        "no harder than the rule"
    );
    assert_eq!(ask(&only("baseImage", json!({}))), json!(["evidence-unavailable Warn"]), "no harder than the rule");
    let response = respond(&world(), &request("Pod", &pod(&["nginx:1"])), &json!({}));
    let message = response["message"].as_str().unwrap();
    assert!(
        message.contains("cannot be judged: nothing is known of docker.io/library/nginx:1; check its name"),
        "{message}"
    );
}

#[test]
fn every_image_of_a_pod_is_judged_though_one_cannot_be() {
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
    assert_eq!(by_index.asked(), ["config docker.io/library/a:1", "digest docker.io/library/debian:12"]);

    let newest = format!("docker.io/library/debian@{OTHER}");
    let by_manifest = world()
        .config("docker.io/library/a:1", on_debian(DIGEST))
        .digest("docker.io/library/debian:12", OTHER)
        .manifest(&newest, json!({"manifests": [{"digest": OTHER}, {"digest": DIGEST}]}));
    assert_eq!(respond(&by_manifest, &request("Pod", &pod(&["a:1"])), &settings)["codes"], json!([]));
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
    assert_eq!(host.asked().len(), 4, "each question is asked once: {:?}", host.asked());
    let message = response["message"].as_str().unwrap();
    assert!(message.contains("stands on an old `docker.io/library/debian:12`, of which there is a build of 2026-11-01, and had to be built on that by 2026-11-15; build it anew"), "{message}");
}

#[test]
fn exempt_images_and_rules_that_are_off_ask_nobody() {
    for settings in [json!({"exempt": ["*"]}), only("pinning", json!({"action": "off"}))] {
        let host = world();
        assert_eq!(respond(&host, &request("Pod", &pod(&["nginx:1"])), &settings)["codes"], json!([]));
        assert_eq!(host.asked(), [""; 0], "{settings}");
    }
}

#[test]
fn a_time_in_the_settings_is_judged_by_and_warned_of() {
    let host = world().config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)));
    let mut settings = only("schedule", json!({}));
    settings["evaluateAt"] = json!("2026-01-02T00:00:00+01:00");
    let response = respond(&host, &request("Pod", &pod(&["a:1"])), &settings);
    assert_eq!(response["codes"], json!(["evaluate-at-set Warn"]));
    assert!(response["warnings"][0].as_str().unwrap().contains("as if it were 2026-01-01T23:00:00Z"));
    let mut delete = request("Pod", &pod(&["a:1"]));
    delete["operation"] = json!("DELETE");
    assert_eq!(
        respond(&host, &delete, &settings)["codes"],
        json!(["evaluate-at-set Warn"]),
        "every response carries it"
    );
}

/// A JSON value of fields that no version of Kubernetes knows.
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
    fn a_mutation_replaces_the_images_and_nothing_else(unknown in any_json(), unknown_too in any_json(), pretty in any::<bool>()) {
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
        let expected = object(&format!("app:1@{DIGEST}"), &format!("localhost:5000/data:2@{OTHER}"));
        prop_assert_eq!(&response["mutated_object"], &expected);
    }
}
