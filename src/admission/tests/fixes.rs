//! New images that replace refused ones, and refusals that name the build to deploy.

use serde_json::{Value, json};

use super::{DIGEST, OTHER, image, only, pod, request, respond, world};
use crate::host::in_memory::InMemory;

/// The digest of another build.
const THIRD: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

/// A build with this digest.
fn build(digest: &str, created: &str) -> Value {
    let mut build = image(created, json!({}));
    build["digest"] = json!(digest);
    build
}

/// `r.test/app`: DIGEST is stale, OTHER is fresh and THIRD was built an hour ago. The tag `1` points at `tag`.
fn registry(tag: &str) -> InMemory {
    let builds = [(DIGEST, "2026-07-01T00:00:00Z"), (OTHER, "2026-11-10T00:00:00Z"), (THIRD, "2026-11-20T11:00:00Z")];
    let host = ["r.test/app", "r.test/other"].iter().fold(world(), |host, name| {
        builds
            .iter()
            .fold(host, |host, (digest, created)| host.config(&format!("{name}@{digest}"), build(digest, created)))
    });
    host.digest("r.test/app:1", tag)
}

fn app(digest: &str) -> String {
    format!("r.test/app:1@{digest}")
}

/// An UPDATE from one image to another, in the same container.
fn update(old: &str, new: &str) -> Value {
    let mut update = request("Pod", &pod(&[new]));
    update["operation"] = json!("UPDATE");
    update["oldObject"] = pod(&[old]);
    update
}

/// Only the schedule, and a minimum age of three days.
fn cooldown() -> Value {
    let mut settings = only("schedule", json!({"maxAge": "90d", "warnBefore": "1h"}));
    settings["rollout"] = json!({"minAge": "3d"});
    settings
}

fn codes(request: &Value, settings: &Value) -> Value {
    respond(&registry(THIRD), request, settings)["codes"].clone()
}

#[test]
fn a_fix_does_not_wait() {
    let response = respond(&registry(THIRD), &update(&app(DIGEST), &app(THIRD)), &cooldown());
    assert_eq!(response["codes"], json!(["too-young Warn"]));
    assert_eq!(response["accepted"], json!(true));
    let findings: Value = serde_json::from_str(response["audit_annotations"]["findings"].as_str().unwrap()).unwrap();
    assert_eq!(findings[0]["passed"], json!("fixes"));
    let text = findings[0]["text"].as_str().unwrap();
    assert!(
        text.starts_with(
            "is allowed as a fix, because it replaces an image that is refused as `stale-image`: it was built "
        ),
        "{text}"
    );
}

#[test]
fn an_image_that_is_not_a_fix_waits() {
    let waits = json!(["too-young Deny"]);
    let mut judged = cooldown();
    judged["rollout"]["fixes"] = json!("judge");
    let mut warned = cooldown();
    warned["schedule"]["action"] = json!("warn");
    let mut exempt = cooldown();
    exempt["exempt"] = json!([format!("*@{DIGEST}")]);
    let mut excepted = cooldown();
    excepted["exceptions"] =
        json!([{"images": [format!("*@{DIGEST}")], "rules": ["stale-image"], "until": "2026-12-31", "reason": "r"}]);
    let stale_to_young = update(&app(DIGEST), &app(THIRD));
    for (what, request, settings) in [
        ("a CREATE", request("Pod", &pod(&[&app(THIRD)])), cooldown()),
        ("a fresh predecessor", update(&app(OTHER), &app(THIRD)), cooldown()),
        ("fixes: judge", stale_to_young.clone(), judged),
        ("a predecessor that is only warned about", stale_to_young.clone(), warned),
        ("an exempt predecessor", stale_to_young.clone(), exempt),
        ("a predecessor with an exception", stale_to_young.clone(), excepted),
        ("a predecessor in another repository", update(&format!("r.test/other:1@{DIGEST}"), &app(THIRD)), cooldown()),
        (
            "a predecessor that the registry does not have",
            update(&app(&DIGEST.replace("0", "9")), &app(THIRD)),
            cooldown(),
        ),
        ("an invalid predecessor", update("r.test/app:1@sha256:1", &app(THIRD)), cooldown()),
    ] {
        assert_eq!(codes(&request, &settings), waits, "{what}");
    }
    let mut other_container = stale_to_young.clone();
    other_container["oldObject"]["spec"]["containers"][0]["name"] = json!("old");
    assert_eq!(codes(&other_container, &cooldown()), waits);
    let mut unreadable = stale_to_young;
    unreadable["oldObject"] = json!({"spec": {"containers": 7}});
    assert_eq!(codes(&unreadable, &cooldown()), waits);
}

#[test]
fn a_predecessor_on_an_unlisted_registry_is_not_judged() {
    let mut settings = cooldown();
    settings["registries"] = json!(["r.test/app"]);
    let host = registry(THIRD);
    let response = respond(&host, &update(&format!("r.test/other@{DIGEST}"), &app(THIRD)), &settings);
    assert_eq!(response["codes"], json!(["too-young Deny"]));
    assert!(host.asked().iter().all(|question| !question.contains("other")), "{:?}", host.asked());
}

#[test]
fn a_tag_of_the_predecessor_is_looked_up() {
    assert_eq!(
        respond(&registry(DIGEST), &update("r.test/app:1", &app(THIRD)), &cooldown())["codes"],
        json!(["too-young Warn"])
    );
    assert_eq!(
        respond(&registry(THIRD), &update("r.test/app:1", &app(THIRD)), &cooldown())["codes"],
        json!(["too-young Deny"])
    );
}

#[test]
fn a_flag_that_the_requester_wrote_does_not_make_a_fix() {
    let flag = json!({"timestamp": "2026-11-19T00:00:00Z", "compliant": false, "image": OTHER}).to_string();
    let mut settings = cooldown();
    settings["scan"] = json!({"podAnnotations": "flag"});
    let mut request = update(&app(OTHER), &app(THIRD));
    for object in ["object", "oldObject"] {
        request[object]["metadata"]["annotations"] = json!({"scan.container-patch.dev/flagged": flag});
    }
    assert_eq!(codes(&request, &settings), json!(["too-young Deny"]));
}

/// A Deployment with this image, for nodes of this architecture.
fn deployment(image: &str, architecture: Option<&str>) -> Value {
    let mut template = pod(&[image]);
    template["metadata"] = json!({});
    template["spec"]["nodeSelector"] = json!({"kubernetes.io/arch": architecture});
    json!({"metadata": {"name": "web"}, "spec": {"template": template}})
}

#[test]
fn a_move_to_other_nodes_does_not_make_a_fix() {
    const INDEX: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";
    let entry = |digest: &str, architecture: &str| json!({"digest": digest, "platform": {"os": "linux", "architecture": architecture}});
    let index = app(INDEX).replace(":1@", "@");
    let codes = |old: &Value, new: &Value| {
        let host = registry(THIRD)
            .config(&index, build(OTHER, "2026-11-10T00:00:00Z"))
            .manifest(&index, json!({"manifests": [entry(OTHER, "amd64"), entry(DIGEST, "arm64")]}));
        let mut update = request("Deployment", new);
        update["operation"] = json!("UPDATE");
        update["oldObject"] = old.clone();
        respond(&host, &update, &cooldown())["codes"].clone()
    };
    let old = |architecture| deployment(&app(INDEX), architecture);
    let new = |architecture| deployment(&app(THIRD), architecture);
    assert_eq!(codes(&old(None), &new(Some("arm64"))), json!(["too-young Deny"]), "no node ran the stale image");
    assert_eq!(codes(&old(Some("amd64")), &new(Some("arm64"))), json!(["too-young Deny"]));
    assert_eq!(codes(&old(Some("arm64")), &new(Some("arm64"))), json!(["too-young Warn"]));
    assert_eq!(codes(&old(Some("arm64")), &new(None)), json!(["too-young Warn"]));
}

#[test]
fn an_image_that_stays_in_a_container_of_the_same_name_does_not_make_a_fix() {
    let mut settings = cooldown();
    settings["customWorkloads"] = json!([{"apiVersion": "apps/v1", "kind": "Group", "podTemplate": "/template"}]);
    let group = |images: &[String]| {
        let container = |image: &String| json!({"name": "app", "image": image});
        json!({"template": {"spec": {"containers": images.iter().map(container).collect::<Vec<_>>()}}})
    };
    let codes = |old: &[String], new: &[String]| {
        let mut update = request("Group", &group(new));
        update["operation"] = json!("UPDATE");
        update["oldObject"] = group(old);
        respond(&registry(THIRD), &update, &settings)["codes"].clone()
    };
    let (stale, fresh, young) = (app(DIGEST), app(OTHER), app(THIRD));
    let stays = json!(["stale-image Warn", "too-young Deny"]);
    assert_eq!(codes(&[stale.clone(), fresh.clone()], &[stale.clone(), young.clone()]), stays);
    assert_eq!(codes(std::slice::from_ref(&stale), &[stale.clone(), young.clone()]), stays);
    assert_eq!(
        codes(std::slice::from_ref(&stale), &[young.clone(), young.clone()]),
        json!(["too-young Deny", "too-young Deny"])
    );
    assert_eq!(codes(&[stale.clone(), fresh], std::slice::from_ref(&young)), json!(["too-young Deny"]));
    assert_eq!(codes(&[stale], &[young]), json!(["too-young Warn"]));
}

#[test]
fn a_record_on_a_pod_does_not_make_a_fix() {
    let mut update = update(&app(OTHER), &app(THIRD));
    let record = json!({"pin.container-patch.dev/c0": app(DIGEST)});
    update["oldObject"]["metadata"]["annotations"] = record.clone();
    assert_eq!(codes(&update, &cooldown()), json!(["too-young Deny"]));
    // The digest of a tag is looked up; the record on the pod is not believed.
    update["oldObject"]["spec"]["containers"][0]["image"] = json!("r.test/app:1");
    assert_eq!(respond(&registry(OTHER), &update, &cooldown())["codes"], json!(["too-young Deny"]));
}

#[test]
fn a_new_image_with_its_own_findings_is_not_a_fix() {
    let mut settings = cooldown();
    settings["rollout"]["minAge"] = json!("365d");
    assert_eq!(
        codes(&update(&app(DIGEST), &format!("r.test/app:2@{DIGEST}")), &settings),
        json!(["stale-image Deny", "too-young Deny"])
    );
}

#[test]
fn predecessors_are_judged_only_if_all_refusals_are_about_the_time() {
    let config = |digest: &str| format!("config r.test/app@{digest}");
    let asked = |request: &Value, settings: &Value| {
        let host = registry(THIRD);
        respond(&host, request, settings);
        host.asked()
    };
    assert_eq!(asked(&update(&app(DIGEST), &app(OTHER)), &cooldown()), [config(OTHER)]);
    assert_eq!(asked(&update(&app(DIGEST), &app(THIRD)), &cooldown()), [config(THIRD), config(DIGEST)]);
    let schedule = only("schedule", json!({}));
    assert_eq!(asked(&update(&app(DIGEST), &app(THIRD)), &schedule), [config(THIRD)]);
}

#[test]
fn an_older_build_is_reported() {
    let settings = |action: &str| {
        let mut settings = only("schedule", json!({"action": "off"}));
        settings["rollout"] = json!({"olderBuild": action});
        settings
    };
    let rollback = update(&app(OTHER), &app(DIGEST));
    assert_eq!(codes(&rollback, &settings("deny")), json!(["older-build Deny"]));
    assert_eq!(codes(&rollback, &settings("warn")), json!(["older-build Warn"]));
    for (what, request, action) in [
        ("allowed", rollback.clone(), "allow"),
        ("a newer build", update(&app(DIGEST), &app(OTHER)), "deny"),
        ("a CREATE", request("Pod", &pod(&[&app(DIGEST)])), "deny"),
        ("another repository", update(&format!("r.test/other@{OTHER}"), &app(DIGEST)), "deny"),
        ("a predecessor that was deleted", update(&app(&OTHER.replace("f", "9")), &app(DIGEST)), "deny"),
    ] {
        assert_eq!(codes(&request, &settings(action)), json!([]), "{what}");
    }
}

#[test]
fn an_older_build_is_not_a_fix() {
    let mut settings = cooldown();
    settings["rollout"] = json!({"olderBuild": "deny", "minAge": "300d"});
    settings["schedule"]["maxAge"] = json!("1d");
    settings["overrides"] = json!([{"images": ["*/app:2@*"], "schedule": {"action": "off"}}]);
    let rollback = update(&app(OTHER), &format!("r.test/app:2@{DIGEST}"));
    assert_eq!(codes(&rollback, &settings), json!(["older-build Deny", "too-young Deny"]));
}

/// The message about a new image with the tag `1`, which points at `tag`, and the fix in the audit annotation.
fn refusal(image: &str, tag: &str, settings: &Value) -> (String, Value) {
    let response = respond(&registry(tag), &request("Pod", &pod(&[image])), settings);
    let findings: Value = serde_json::from_str(response["audit_annotations"]["findings"].as_str().unwrap()).unwrap();
    (response["message"].as_str().unwrap_or_default().to_owned(), findings[0]["fix"].clone())
}

#[test]
fn a_refusal_names_the_build_that_the_tag_points_at() {
    let schedule = only("schedule", json!({"maxAge": "90d"}));
    let (message, fix) = refusal(&app(DIGEST), OTHER, &schedule);
    let expected = format!(
        "; deploy a newer build; the tag `1` now points at {OTHER}, built 2026-11-10: deploy that build [stale-image]"
    );
    assert!(message.ends_with(&expected), "{message}");
    assert_eq!(fix, json!(OTHER));
    assert_eq!(respond(&registry(OTHER), &request("Pod", &pod(&[&app(OTHER)])), &schedule)["accepted"], json!(true));
}

#[test]
fn a_refusal_says_that_there_is_no_newer_build() {
    let schedule = only("schedule", json!({"maxAge": "90d"}));
    for image in [app(DIGEST), "r.test/app:1".to_owned()] {
        let (message, fix) = refusal(&image, DIGEST, &schedule);
        assert!(message.ends_with("; there is no newer build under the tag `1` [stale-image]"), "{message}");
        assert_eq!(fix, Value::Null);
    }
    let (message, fix) = refusal(&app(DIGEST), OTHER, &only("schedule", json!({"maxAge": "1d"})));
    let expected = format!(
        "; there is no better build under its tag: the tag `1` now points at {OTHER}, built 2026-11-10, which is also refused \
         (`stale-image`) [stale-image]"
    );
    assert!(message.ends_with(&expected), "{message}");
    assert_eq!(fix, Value::Null);
}

#[test]
fn a_refusal_says_that_a_newer_build_may_not_be_deployed_yet() {
    let (message, fix) = refusal(&app(DIGEST), THIRD, &cooldown());
    let expected =
        format!("the tag `1` now points at {THIRD}, built 2026-11-20, which may not be deployed yet (`too-young`)");
    assert!(message.contains(&expected), "{message}");
    assert_eq!(fix, Value::Null);
    // The newer build repairs the image that runs, so it does not wait.
    let host = registry(THIRD);
    let response = respond(&host, &update(&app(DIGEST), &format!("r.test/app:2@{DIGEST}")), &cooldown());
    assert_eq!(response["accepted"], json!(false));
    let host = host.digest("r.test/app:2", THIRD);
    let response = respond(&host, &update(&app(DIGEST), &format!("r.test/app:2@{DIGEST}")), &cooldown());
    let message = response["message"].as_str().unwrap();
    assert!(message.contains(&format!("points at {THIRD}, built 2026-11-20: deploy that build")), "{message}");
}

#[test]
fn the_fix_is_looked_up_only_for_refusals_and_for_few_images() {
    let asked = |host: &InMemory, request: &Value, settings: &Value| {
        respond(host, request, settings);
        host.asked().into_iter().filter(|question| question.starts_with("digest")).count()
    };
    let schedule = |action: &str| only("schedule", json!({"maxAge": "90d", "action": action}));
    let create = request("Pod", &pod(&[&app(DIGEST)]));
    assert_eq!(asked(&registry(OTHER), &create, &schedule("warn")), 0);
    assert_eq!(asked(&registry(OTHER), &create, &schedule("deny")), 1);
    assert_eq!(
        asked(&registry(OTHER), &request("Pod", &pod(&[&format!("r.test/app@{DIGEST}")])), &schedule("deny")),
        0
    );
    let latest = request("Pod", &pod(&[&format!("r.test/app:latest@{DIGEST}")]));
    let mut forbidding = schedule("deny");
    forbidding["pinning"] = json!({"action": "deny"});
    assert_eq!(asked(&registry(OTHER), &latest, &forbidding), 0, "the tag is forbidden");
    let unchanged = update(&app(DIGEST), &app(DIGEST));
    assert_eq!(asked(&registry(OTHER), &unchanged, &schedule("deny")), 0);
    let many: Vec<String> = (0..30).map(|tag| format!("r.test/app:{tag}@{DIGEST}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(asked(&registry(OTHER), &request("Pod", &pod(&many)), &schedule("deny")), 8);
}

#[test]
fn a_registry_that_stopped_answering_is_not_asked_for_a_fix() {
    const INDEX: &str = "sha256:4444444444444444444444444444444444444444444444444444444444444444";
    let entry = |digest: &str, architecture: &str| json!({"digest": digest, "platform": {"os": "linux", "architecture": architecture}});
    let index = format!("r.test/app@{INDEX}");
    let error = "error sending request for url (https://r.test/v2/)".to_owned();
    let host = registry(OTHER)
        .config(&index, build(DIGEST, "2026-07-01T00:00:00Z"))
        .manifest(&index, json!({"manifests": [entry(DIGEST, "amd64"), entry(THIRD, "arm64")]}))
        .answer("config", &format!("r.test/app@{THIRD}"), Err(error));
    let mut settings = only("schedule", json!({"maxAge": "90d"}));
    settings["platforms"] = json!(["linux/amd64", "linux/arm64"]);
    let response = respond(&host, &request("Pod", &pod(&[&app(INDEX)])), &settings);
    assert_eq!(response["codes"], json!(["evidence-unavailable Deny", "stale-image Deny"]));
    assert!(host.asked().iter().all(|question| !question.starts_with("digest")), "{:?}", host.asked());
}

#[test]
fn an_unknown_fix_does_not_change_the_refusal() {
    let schedule = only("schedule", json!({"maxAge": "90d"}));
    let host = registry(OTHER);
    let response = respond(&host, &request("Pod", &pod(&[&format!("r.test/app:gone@{DIGEST}")])), &schedule);
    let message = response["message"].as_str().unwrap();
    assert!(message.ends_with("deploy a newer build [stale-image]"), "{message}");
    assert_eq!(response["codes"], json!(["stale-image Deny"]));
}

#[test]
fn a_fix_need_not_have_run_in_staging_unless_the_record_cannot_be_read() {
    let mut settings = cooldown();
    settings["rollout"] = json!({"soak": {"configMaps": [{"namespace": "staging", "name": "images"}]}});
    settings["enforcement"] = json!({"evidenceErrors": "deny"});
    let record = json!({"metadata": {"name": "images"}});
    let host = || registry(THIRD).answer("get", "ConfigMap staging/images", Ok(record.clone()));
    let fix = update(&app(DIGEST), &app(THIRD));
    assert_eq!(respond(&host(), &fix, &settings)["codes"], json!(["not-soaked Warn"]));
    assert_eq!(respond(&host(), &update(&app(OTHER), &app(THIRD)), &settings)["codes"], json!(["not-soaked Deny"]));
    let down = registry(THIRD).answer("get", "ConfigMap staging/images", Err("connection refused".to_owned()));
    assert_eq!(respond(&down, &fix, &settings)["codes"], json!(["evidence-unavailable Deny"]));
}
