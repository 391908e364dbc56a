//! What requesters try with records.

use super::*;

const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";
const EARLIER: &str = "2026-10-01T00:00:00.000000Z";

/// `app:1` has the digest DIGEST and is fresh. The digest OTHER of the same name is stale.
fn registry() -> InMemory {
    let mut old = image("2026-01-01T00:00:00Z", json!(null));
    old["digest"] = json!(OTHER);
    world()
        .config("docker.io/library/app:1", image("2026-11-01T00:00:00Z", json!(null)))
        .config(&format!("docker.io/library/app@{DIGEST}"), image("2026-11-01T00:00:00Z", json!(null)))
        .config(&format!("docker.io/library/app:1@{DIGEST}"), image("2026-11-01T00:00:00Z", json!(null)))
        .config(&format!("docker.io/library/app@{OTHER}"), old.clone())
        .config(&format!("docker.io/library/app:1@{OTHER}"), old)
}

fn enforcing() -> Value {
    let mut settings = only("schedule", json!({}));
    settings["pinning"] = json!({"action": "deny", "templates": "record"});
    settings["enforcement"] = json!({"unrecordedPods": "deny"});
    settings
}

fn pinning() -> Value {
    only("pinning", json!({"action": "pin"}))
}

fn by(user: &str, mut request: Value) -> Value {
    request["userInfo"] = json!({"username": user, "groups": ["system:authenticated"]});
    request
}

fn record(digest: &str) -> String {
    format!("docker.io/library/app:1@{digest}")
}

fn recorded(digest: &str) -> Value {
    let mut deployment = deployment(&["app:1"]);
    deployment["spec"]["template"]["metadata"]["annotations"] = json!({
        "pin.container-patch.dev/c0": record(digest), "pin.container-patch.dev/recorded-at": EARLIER,
    });
    deployment
}

/// The response of the enforcing policy to a controller's pod with this record, after the pinning policy.
fn pod_of(digest: &str) -> Value {
    let mut pod = pod(&["app:1"]);
    pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record(digest)});
    let pinned = respond(&registry(), &by(REPLICA_SETS, request("Pod", &pod)), &pinning());
    let pinned = pinned["mutated_object"].clone();
    respond(&registry(), &by(REPLICA_SETS, request("Pod", &pinned)), &enforcing())
}

/// A ControllerRevision without `$patch: replace` is merged into the current template. It can have only a record, for an image of the
/// template.
#[test]
fn a_revision_with_a_record_and_no_image_is_judged_by_the_record() {
    assert_eq!(pod_of(OTHER)["accepted"], json!(true), "a pod of the revision runs the stale digest");
    for containers in [json!([]), json!([{"name": "c0"}]), json!(null)] {
        let template = json!({
            "metadata": {"annotations": {"pin.container-patch.dev/c0": record(OTHER)}},
            "spec": {"containers": containers},
        });
        let revision = json!({
            "metadata": {"ownerReferences": [{"apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db", "uid": "1", "controller": true}]},
            "data": {"spec": {"template": template}},
        });
        let response = respond(&registry(), &by("jane", request("ControllerRevision", &revision)), &enforcing());
        assert_eq!(response["accepted"], json!(false), "{containers}: {response}");
    }
}

/// Another webhook may inject that container into pods later, with an image from an annotation of the requester.
#[test]
fn a_record_for_a_container_that_is_injected_later_is_judged_with_the_template() {
    let mut set = deployment(&[&format!("app:1@{DIGEST}")]);
    set["metadata"] = json!({"name": "web", "ownerReferences": [{"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1", "controller": true}]});
    set["spec"]["template"]["metadata"]["annotations"] = json!({"pin.container-patch.dev/sidecar": record(OTHER)});
    let request_ = by("jane", request("ReplicaSet", &set));
    let pinned = respond(&registry(), &request_, &pinning());
    let removed = pinned.get("mutated_object").is_some();
    let judged = respond(&registry(), &request_, &enforcing());
    let mut pod = pod(&[&format!("app:1@{DIGEST}"), "app:1"]);
    pod["spec"]["containers"][1]["name"] = json!("sidecar");
    pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/sidecar": record(OTHER)});
    let pod = respond(&registry(), &by(REPLICA_SETS, request("Pod", &pod)), &pinning())["mutated_object"].clone();
    let admitted = respond(&registry(), &by(REPLICA_SETS, request("Pod", &pod)), &enforcing());
    assert!(
        removed || judged["accepted"] == json!(false) || admitted["accepted"] == json!(false),
        "the pod is admitted: {admitted}"
    );
}

/// With `action: pin, templates: true` the digest of the tag is written, even if there is a record.
#[test]
fn a_message_gives_the_judged_digest() {
    let mut old = image("2026-01-01T00:00:00Z", json!(null));
    old["digest"] = json!(DIGEST);
    let host = world()
        .config("docker.io/library/app:1", old.clone())
        .config(&format!("docker.io/library/app:1@{DIGEST}"), old);
    let settings = json!({"pinning": {"templates": true}, "baseImage": {"action": "off"}, "scan": {"action": "off"}});
    let response = respond(&host, &by("jane", request("Deployment", &recorded(OTHER))), &settings);
    assert_eq!(response["codes"], json!(["stale-image Deny"]));
    assert!(!response["message"].as_str().unwrap().contains(OTHER), "{}", response["message"]);
}

#[test]
fn unrecorded_pods_are_warned_about_even_if_pods_of_controllers_are_ignored() {
    let mut settings = enforcing();
    settings["enforcement"] = json!({"controllerPods": "ignore", "unrecordedPods": "warn"});
    let listed = resolved("c0", pod(&[&format!("app:1@{OTHER}")]));
    let response = respond(&registry(), &by(REPLICA_SETS, request("Pod", &listed)), &settings);
    assert_eq!(response["codes"], json!(["stale-image Warn"]), "{response}");
}

#[test]
fn records_in_a_request_are_judged_too() {
    let images: Vec<String> = (0..600).map(|index| format!("app:{index}")).collect();
    let mut deployment = deployment(&images.iter().map(String::as_str).collect::<Vec<_>>());
    let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
    for index in 0..600 {
        annotations[format!("pin.container-patch.dev/c{index}")] =
            json!(format!("docker.io/library/app:{index}@{DIGEST}"));
    }
    annotations["pin.container-patch.dev/recorded-at"] = json!(EARLIER);
    let response = respond(&world(), &request("Deployment", &deployment), &pinning());
    assert_eq!(response["codes"], json!(["invalid-request Deny"]));
}

/// An operator overwrites the template, and another webhook changes it after this one. Each update of the operator lacks both changes, so
/// it renews the records.
#[test]
fn a_renewal_with_the_same_digests_does_not_start_a_rollout() {
    let mut old = recorded(DIGEST);
    old["spec"]["template"]["metadata"]["labels"] = json!({"injected-by": "another webhook"});
    let response = respond(&registry(), &by("operator", update(old, deployment(&["app:1"]))), &pinning());
    let annotations = &response["mutated_object"]["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["pin.container-patch.dev/recorded-at"], json!(EARLIER), "{response}");
}

#[test]
fn a_null_field_does_not_change_a_template() {
    let mut old = recorded(OTHER);
    old["spec"]["template"]["metadata"]["creationTimestamp"] = json!(null);
    let response = respond(&registry(), &by("operator", update(old.clone(), deployment(&["app:1"]))), &pinning());
    let annotations = &response["mutated_object"]["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["pin.container-patch.dev/recorded-at"], json!(EARLIER), "{response}");
}

/// The registry does not answer when the template changes, and answers again at `rollout undo`.
#[test]
fn undoing_a_change_keeps_the_record() {
    let first = recorded(OTHER);
    let mut second = first.clone();
    second["spec"]["template"]["spec"]["containers"][0]["args"] = json!(["x"]);
    let response = respond(&world(), &by("jane", update(first.clone(), second.clone())), &pinning());
    let stored = response.get("mutated_object").cloned().unwrap_or(second);
    let response = respond(&registry(), &by("jane", update(stored, first.clone())), &pinning());
    let now = response.get("mutated_object").cloned().unwrap_or(first.clone());
    assert_eq!(now, first, "the record of the old revision is kept");
}

/// The pattern of an override and of an exception names a tag and has no `*` at the end.
#[test]
fn patterns_for_a_tag_match_an_image_with_a_record() {
    let overridden = json!([{"images": ["docker.io/library/app:1"], "schedule": {"maxAge": "3650d"}}]);
    let excepted = json!([{"images": ["docker.io/library/app:1"], "rules": ["stale-image"], "until": "2026-12-31", "reason": "r"}]);
    for (key, value) in [("overrides", overridden), ("exceptions", excepted)] {
        let mut settings = enforcing();
        settings[key] = value;
        let response = respond(&registry(), &by("jane", request("Deployment", &recorded(OTHER))), &settings);
        assert_eq!(response["accepted"], json!(true), "{key}: {}", response["codes"]);
    }
}

/// With the record, the pods of the workload would be judged in full.
#[test]
fn writing_a_digest_removes_the_record_even_without_pinning_of_templates() {
    let mut settings = pinning();
    settings["overrides"] =
        json!([{"images": ["docker.io/library/app*"], "pinning": {"action": "pin", "templates": false}}]);
    let mut new = recorded(OTHER);
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("app:1@{DIGEST}"));
    let response = respond(&registry(), &by("jane", update(recorded(OTHER), new)), &settings);
    let annotations = &response["mutated_object"]["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations.get("pin.container-patch.dev/c0"), None, "{response}");
    assert!(annotations.is_object(), "{response}");
}

#[test]
fn records_with_escaped_keys_are_read() {
    let kind = r#"{"group": "apps", "version": "v1", "kind": "Deployment"}"#;
    let object = recorded(OTHER)
        .to_string()
        .replace("\"pin.container", "\"\\u0070in.container")
        .replace("\"annotations\"", "\"\\u0061nnotations\"")
        .replace("\"template\"", "\"\\u0074emplate\"");
    for settings in [pinning(), enforcing()] {
        let payload = format!(
            r#"{{"request": {{"kind": {kind}, "operation": "CREATE", "object": {object}}}, "settings": {settings}}}"#
        );
        let response: Value =
            serde_json::from_slice(&evaluate(payload.as_bytes(), &registry()).into_response()).unwrap();
        assert_eq!(response["accepted"], json!(settings == pinning()), "{response}");
        assert_eq!(response.get("mutated_object"), None, "{response}");
    }
}

fn custom(settings: &mut Value) {
    settings["customWorkloads"] = json!([
        {"apiVersion": "x.io/*", "kind": "Many", "podTemplate": "/spec/templates/0"},
        {"apiVersion": "x.io/v1", "kind": "Many", "podTemplate": "/spec/templates/1/inner~1one"},
        {"apiVersion": "x.io/*", "kind": "Many", "podTemplate": "/spec/templates/0"},
    ]);
}

fn many(object: &Value, old: Option<&Value>) -> Value {
    let kind = json!({"group": "x.io", "version": "v1", "kind": "Many"});
    let operation = if old.is_some() { "UPDATE" } else { "CREATE" };
    json!({"kind": kind, "operation": operation, "object": object, "oldObject": old})
}

#[test]
fn custom_workloads_with_several_templates_are_recorded_and_judged() {
    let mut settings = pinning();
    custom(&mut settings);
    let spec = json!({"containers": [{"name": "recorded-at", "image": "app:1"}, {"name": "c0", "image": "index.docker.io/app:1"}], "volumes": [{"name": "a".repeat(63), "image": {"reference": "app:1"}}]});
    let object = json!({"metadata": null, "spec": {"templates": [{"metadata": null, "spec": spec}, {"inner/one": {"metadata": {"annotations": null}, "spec": spec}}]}});
    let response = respond(&registry(), &by("jane", many(&object, None)), &settings);
    let first = response["mutated_object"].clone();
    for template in [&first["spec"]["templates"][0], &first["spec"]["templates"][1]["inner/one"]] {
        let annotations = template["metadata"]["annotations"].as_object().unwrap();
        assert_eq!(annotations.len(), 4, "{annotations:?}");
        assert_eq!(annotations["container.pin.container-patch.dev/recorded-at"], json!(record(DIGEST)));
        assert_eq!(annotations["pin.container-patch.dev/c0"], json!(record(DIGEST)));
        assert_eq!(annotations[&format!("volume.pin.container-patch.dev/{}", "a".repeat(63))], json!(record(DIGEST)));
    }
    // One template changes, and the other one lacks its records.
    let mut new = object.clone();
    new["spec"]["templates"][0] = first["spec"]["templates"][0].clone();
    new["spec"]["templates"][0]["spec"]["x"] = json!(1);
    let mut old = first.clone();
    for at in ["/spec/templates/0/metadata/annotations", "/spec/templates/1/inner~1one/metadata/annotations"] {
        old.pointer_mut(at).unwrap()["pin.container-patch.dev/recorded-at"] = json!(EARLIER);
    }
    new["spec"]["templates"][0]["metadata"] = old["spec"]["templates"][0]["metadata"].clone();
    let response = respond(&registry(), &by("jane", many(&new, Some(&old))), &settings);
    let now = &response["mutated_object"];
    assert_eq!(now["spec"]["templates"][1], old["spec"]["templates"][1]);
    assert_eq!(
        now["spec"]["templates"][0]["metadata"]["annotations"],
        first["spec"]["templates"][0]["metadata"]["annotations"]
    );
}

#[test]
fn an_object_that_is_being_deleted_gets_no_record() {
    let mut old = recorded(DIGEST);
    old["metadata"] = json!({"deletionTimestamp": "2026-11-20T00:00:00Z"});
    let mut new = recorded(OTHER);
    new["metadata"] = old["metadata"].clone();
    let response = respond(&registry(), &by("jane", update(old, new)), &enforcing());
    assert_eq!(response["codes"], json!(["stale-image Deny"]));
}

#[test]
fn an_ephemeral_container_with_a_record_is_pinned_to_it_and_judged() {
    let mut old = pod(&[&format!("app:1@{DIGEST}")]);
    old["metadata"]["annotations"] = json!({"pin.container-patch.dev/debug": record(OTHER)});
    let mut new = old.clone();
    new["spec"]["ephemeralContainers"] = json!([{"name": "debug", "image": "app:1"}]);
    let mut request_ = by("jane", update(old, new));
    request_["kind"] = json!({"group": "", "version": "v1", "kind": "Pod"});
    request_["subResource"] = json!("ephemeralcontainers");
    let pinned = respond(&registry(), &request_, &pinning());
    request_["object"] = pinned["mutated_object"].clone();
    let response = respond(&registry(), &request_, &enforcing());
    assert_eq!(response["codes"], json!(["stale-image Deny"]), "{pinned}");
}

/// The second policy asks no question.
#[test]
fn a_second_pinning_policy_keeps_what_the_first_one_wrote() {
    for old in [None, Some(recorded(OTHER))] {
        let new = deployment(&["app:1"]);
        let request_ = |object: &Value| match &old {
            None => by("jane", request("Deployment", object)),
            Some(old) => {
                let mut object = object.clone();
                object["spec"]["template"]["spec"]["x"] = json!(1);
                by("jane", update(old.clone(), object))
            }
        };
        let first = respond(&registry(), &request_(&new), &pinning());
        let host = registry();
        let second = respond(&host, &request_(&first["mutated_object"]), &pinning());
        assert_eq!(second.get("mutated_object"), None, "{second}");
        assert_eq!(host.asked(), [""; 0]);
    }
}

/// The other host names of Docker Hub, sha512 digests, and images without a tag.
#[test]
fn a_valid_record_may_spell_the_image_in_another_way() {
    let long = format!("sha512:{}", "ab".repeat(64));
    for (image, of_record, is_valid) in [
        ("app:1", format!("docker.io/library/app:1@{long}"), true),
        ("app:1", format!("registry-1.docker.io/library/app:1@{long}"), true),
        ("app:1", format!("app:1@{long}"), true),
        ("docker.io/app:1", format!("index.docker.io/app:1@{long}"), true),
        ("app", format!("app:latest@{long}"), true),
        ("app:1", format!("app:1@sha256:{}", "AB".repeat(32)), false),
        ("app:1", format!(" app:1@{long}"), false),
        ("app:1", format!("app:1@{long}\n"), false),
        ("app:1", format!("APP:1@{long}"), false),
        ("app:1", format!("docker.io/library/app:1@{long}@{long}"), false),
    ] {
        let mut pod = pod(&[image]);
        pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": of_record});
        let response =
            respond(&world(), &by(REPLICA_SETS, request("Pod", &pod)), &only("pinning", json!({"forbiddenTags": []})));
        assert_eq!(
            response["mutated_object"]["spec"]["containers"][0]["image"] == json!(format!("{image}@{long}")),
            is_valid,
            "{image} {of_record}: {response}"
        );
    }
}

/// The annotations of the template of a suspended Job can be changed.
#[test]
fn a_suspended_job_gets_no_record_for_a_container_that_is_injected_later() {
    let mut old = deployment(&[&format!("app:1@{DIGEST}")]);
    old["spec"]["suspend"] = json!(true);
    let mut new = old.clone();
    new["spec"]["template"]["metadata"]["annotations"]["pin.container-patch.dev/sidecar"] = json!(record(OTHER));
    let mut request_ = by("jane", update(old, new));
    request_["kind"] = json!({"group": "batch", "version": "v1", "kind": "Job"});
    let removed = respond(&registry(), &request_, &pinning()).get("mutated_object").is_some();
    let judged = respond(&registry(), &request_, &enforcing());
    assert!(removed || judged["accepted"] == json!(false), "{judged}");
}

/// The record is invalid in the template, but valid for the image of a mirror that another webhook writes into the pod.
#[test]
fn a_record_about_another_image_is_judged_or_denied() {
    let mut set = deployment(&["mirror.example.com/app:1"]);
    set["metadata"] = json!({"name": "web", "ownerReferences": [{"apiVersion": "x/v1", "kind": "X", "name": "x", "uid": "1", "controller": true}]});
    set["spec"]["template"]["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record(OTHER)});
    let host = registry().config("mirror.example.com/app:1", image("2026-11-01T00:00:00Z", json!(null)));
    let request_ = by("jane", request("ReplicaSet", &set));
    let removed = respond(&host, &request_, &pinning()).get("mutated_object").is_some();
    let judged = respond(&host, &request_, &enforcing());
    assert!(removed || judged["accepted"] == json!(false), "{judged}");
}
