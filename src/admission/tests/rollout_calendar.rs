//! The windows and the freezes of the rule `rollout`. The time is noon of 2026-11-20, a Friday.

use serde_json::{Value, json};

use super::{DIGEST, OTHER, deployment, image, only, pod, request, respond, update, world};

const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";

/// Settings with only this rule on, outside of its window and in a freeze.
fn closed() -> Value {
    let mut settings = only("rollout", json!({"windows": [{"cron": "0 9 * * MON-THU", "for": "8h"}]}));
    let freeze = json!({"from": "2026-11-19", "to": "2026-11-22", "reason": "sale", "rollouts": "deny"});
    settings["schedule"] = json!({"action": "off", "freezes": [freeze]});
    settings
}

fn by(user: &str, mut request: Value) -> Value {
    request["userInfo"] = json!({"username": user, "groups": ["system:authenticated"]});
    request
}

fn codes(request: &Value, settings: &Value) -> Value {
    let host = world();
    let response = respond(&host, request, settings);
    assert_eq!(host.asked(), [""; 0], "the time of a rollout needs no answer of a registry");
    response["codes"].clone()
}

fn both() -> Value {
    json!(["outside-window Deny", "rollout-freeze Deny"])
}

#[test]
fn an_image_of_a_create_or_a_change_waits() {
    let digests = [format!("app@{DIGEST}"), format!("app@{OTHER}")];
    let [old, new] = digests.each_ref().map(|image| deployment(&[image]));
    for request in [
        request("Deployment", &new),
        request("Pod", &pod(&["app:1"])),
        update(old.clone(), new.clone()),
        update(deployment(&["app:1"]), deployment(&["app:2"])),
        // Without a readable old object every image counts as new.
        update(Value::Null, new),
    ] {
        assert_eq!(codes(&by("jane", request.clone()), &closed()), both(), "{request}");
    }
    let changed = update(old, deployment(&["app:2"]));
    assert_eq!(codes(&by(REPLICA_SETS, changed), &closed()), both(), "a controller changes an existing object");
}

#[test]
fn a_request_without_a_new_image_does_not_wait() {
    let old = deployment(&["app:1"]);
    let mut scaled = old.clone();
    scaled["spec"]["replicas"] = json!(7);
    let mut removed = update(deployment(&["app:1", "app:2"]), old.clone());
    removed["userInfo"] = json!({"username": "jane"});
    let mut deleted = request("Deployment", &old);
    deleted["operation"] = json!("DELETE");
    let mut audit = request("Pod", &pod(&["app:1"]));
    audit["resource"] = json!({"resource": "Pod"});
    for request in [update(old, scaled), removed, deleted, audit] {
        assert_eq!(codes(&request, &closed()), json!([]), "{request}");
    }
}

#[test]
fn objects_that_controllers_create_do_not_wait_whatever_their_images() {
    let mut strict = closed();
    strict["enforcement"] = json!({"unrecordedPods": "deny", "controllerPods": "deny"});
    let mut injected = pod(&[&format!("app:1@{DIGEST}"), "sidecar:1"]);
    injected["metadata"]["annotations"] = json!({"container-patch.dev/resolved": "c1"});
    let mut changed = pod(&[&format!("app:1@{DIGEST}")]);
    changed["metadata"]["annotations"] =
        json!({"pin.container-patch.dev/c0": format!("docker.io/library/app:1@{OTHER}")});
    for pod in [pod(&["app:1"]), pod(&[&format!("app@{DIGEST}")]), injected, changed] {
        for user in [REPLICA_SETS, "system:kube-controller-manager", "system:serviceaccount:kube-system:job-controller"]
        {
            assert_eq!(codes(&by(user, request("Pod", &pod)), &strict), json!([]), "{user} {pod}");
        }
    }
    let mut job = request("Job", &deployment(&["app:1"]));
    job["kind"]["group"] = json!("batch");
    assert_eq!(codes(&by("system:serviceaccount:kube-system:cronjob-controller", job.clone()), &strict), json!([]));
    assert_eq!(codes(&by("jane", job), &strict), both());
}

#[test]
fn an_owner_reference_does_not_make_a_request_one_of_a_controller() {
    let mut owned = pod(&[&format!("app@{DIGEST}")]);
    owned["metadata"]["ownerReferences"] =
        json!([{"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "1", "controller": true}]);
    assert_eq!(codes(&by("jane", request("Pod", &owned)), &closed()), both());
    let account = "system:serviceaccount:shop:replicaset-controller";
    assert_eq!(codes(&by(account, request("Pod", &owned)), &closed()), both());
}

#[test]
fn the_time_of_the_settings_decides() {
    let create = by("jane", request("Pod", &pod(&["app:1"])));
    for (time, expected) in [
        ("2026-11-18T12:00:00Z", json!([])),
        ("2026-11-18T17:00:00Z", json!(["outside-window Deny"])),
        ("2026-11-19T12:00:00Z", json!(["rollout-freeze Deny"])),
        ("2026-11-22T23:59:59Z", both()),
        ("2026-11-23T08:59:59Z", json!(["outside-window Deny"])),
        ("2026-11-23T09:00:00Z", json!([])),
    ] {
        let mut settings = closed();
        settings["evaluateAt"] = json!(time);
        let mut with_warning = vec![json!("evaluate-at-set Warn")];
        with_warning.extend(expected.as_array().unwrap().clone());
        assert_eq!(codes(&create, &settings), json!(with_warning), "{time}");
    }
}

#[test]
fn a_fix_does_not_wait() {
    let host = world().config("r.test/app:old", image("2026-01-01T00:00:00Z", json!({}))).config("r.test/app:new", {
        let mut image = image("2026-11-01T00:00:00Z", json!({}));
        image["digest"] = json!(OTHER);
        image
    });
    let codes = |old: &str, maximum_age: &str| {
        let mut settings = closed();
        settings["schedule"]["action"] = json!("deny");
        settings["schedule"]["maxAge"] = json!(maximum_age);
        let [old, new] = [old, "new"].map(|tag| deployment(&[&format!("r.test/app:{tag}")]));
        respond(&host, &by("jane", update(old, new)), &settings)["codes"].clone()
    };
    assert_eq!(codes("old", "90d"), json!(["outside-window Warn", "rollout-freeze Warn"]));
    assert_eq!(codes("old", "400d"), both(), "the image that it replaces is not refused");
}

#[test]
fn overrides_and_exceptions_admit_an_image() {
    let create = by("jane", request("Pod", &pod(&["app:1"])));
    let with = |key: &str, value: Value| {
        let mut settings = closed();
        settings[key] = json!([value]);
        codes(&create, &settings)
    };
    let images = json!(["docker.io/library/app:*"]);
    assert_eq!(with("overrides", json!({"images": images, "rollout": {"action": "off"}})), json!([]));
    assert_eq!(
        with("overrides", json!({"images": images, "rollout": {"windows": []}})),
        json!(["rollout-freeze Deny"])
    );
    assert_eq!(
        with("overrides", json!({"images": images, "schedule": {"freezes": []}})),
        json!(["outside-window Deny"])
    );
    assert_eq!(
        with("overrides", json!({"images": images, "rollout": {"action": "warn"}})),
        json!(["outside-window Warn", "rollout-freeze Warn"])
    );
    let exception = |rules: &[&str]| json!({"images": images, "rules": rules, "until": "2026-12-31", "reason": "r"});
    let excepted = |rules: &[&str]| with("exceptions", exception(rules));
    assert_eq!(excepted(&["outside-window"]).as_array().unwrap().last(), Some(&json!("rollout-freeze Deny")));
    assert!(!excepted(&["outside-window", "rollout-freeze"]).to_string().contains("Deny"));
    let mut exempt = closed();
    exempt["exempt"] = images.clone();
    assert_eq!(codes(&create, &exempt), json!([]));
}
