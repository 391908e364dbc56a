//! The questions to registries. Each costs policy-server a new connection and two to six requests, one after the other.

use serde_json::{Value, json};

use super::{DIGEST, OTHER, deployment, image, only, pod, request, respond, world};
use crate::host::in_memory::InMemory;

/// The image of an index for the platform of the host.
const AMD64: &str = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
/// The image of an index for another platform.
const ARM64: &str = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

/// An image with this digest. `base` is the digest of its base.
fn built(digest: &str, base: Option<&str>) -> Value {
    let annotations = base.map_or(json!({}), |base| {
        json!({"org.opencontainers.image.base.name": "r.test/base:1", "org.opencontainers.image.base.digest": base})
    });
    let mut image = image("2026-11-01T00:00:00Z", annotations);
    image["digest"] = json!(digest);
    image
}

/// A registry with single images `r.test/a` and `r.test/b`, an index `r.test/index`, an image `r.test/on-base`, and the base of that,
/// which is an index. Two tags of `r.test/a` point at the same image.
fn registry(base: &str) -> InMemory {
    let index = |host: InMemory, name: &str| {
        let platform = |architecture| json!({"os": "linux", "architecture": architecture});
        let entries =
            json!([{"digest": AMD64, "platform": platform("amd64")}, {"digest": ARM64, "platform": platform("arm64")}]);
        host.digest(&format!("{name}:1"), OTHER)
            .config(&format!("{name}@{OTHER}"), built(AMD64, None))
            .manifest(&format!("{name}@{OTHER}"), json!({ "manifests": entries }))
            .config(&format!("{name}@{AMD64}"), built(AMD64, None))
            .config(&format!("{name}@{ARM64}"), built(ARM64, None))
    };
    let single = |host: InMemory, name: &str, base| {
        ["1", "2", "latest"].iter().fold(host, |host, tag| host.config(&format!("{name}:{tag}"), built(DIGEST, base)))
    };
    let host = ["r.test/a", "r.test/b"].iter().fold(world(), |host, name| single(host, name, None));
    let host = single(host, "r.test/on-base", Some(base));
    ["r.test/index", "r.test/base"].iter().fold(host, |host, name| index(host, name))
}

/// Questions in short: `DIGEST`, `OTHER` and so on stand for the digests.
fn asked(host: &InMemory) -> Vec<String> {
    let names = [(DIGEST, "DIGEST"), (OTHER, "OTHER"), (AMD64, "AMD64"), (ARM64, "ARM64")];
    let short = |question: String| names.iter().fold(question, |text, (digest, name)| text.replace(digest, name));
    host.asked().into_iter().map(short).collect()
}

/// The questions about a pod with these images, in which `@DIGEST` and `@OTHER` are written out.
fn questions(settings: &Value, images: &[&str]) -> Vec<String> {
    let host = registry(OTHER);
    let images: Vec<String> = images
        .iter()
        .map(|image| image.replace("@DIGEST", &format!("@{DIGEST}")).replace("@OTHER", &format!("@{OTHER}")))
        .collect();
    let images: Vec<&str> = images.iter().map(String::as_str).collect();
    respond(&host, &request("Pod", &pod(&images)), settings);
    asked(&host)
}

#[test]
fn a_pod_asks_only_these_questions() {
    let pin = &only("pinning", json!({"action": "pin"}));
    let all = &json!({"registries": ["r.test"]});
    let enforce = &json!({"registries": ["r.test"], "pinning": {"action": "deny"}});
    let platforms = &json!({"registries": ["r.test"], "platforms": ["linux/amd64", "linux/arm64"]});
    let cases: [(&Value, &[&str], &[&str]); 17] = [
        (pin, &["r.test/a:1@DIGEST"], &[]),
        (pin, &["r.test/a:1"], &["digest r.test/a:1"]),
        (pin, &["r.test/index:1"], &["digest r.test/index:1"]),
        (pin, &["r.test/a:1", "r.test/a:1", "r.test/a:2"], &["digest r.test/a:1", "digest r.test/a:2"]),
        (all, &["r.test/a:1@DIGEST"], &["config r.test/a@DIGEST"]),
        (all, &["r.test/a:1"], &["digest r.test/a:1", "config r.test/a@DIGEST"]),
        (enforce, &["r.test/a:1"], &["digest r.test/a:1", "config r.test/a@DIGEST"]),
        // One image in many containers, and two tags of one image.
        (all, &["r.test/a:1", "r.test/a:1", "r.test/a@DIGEST"], &["digest r.test/a:1", "config r.test/a@DIGEST"]),
        (all, &["r.test/a:1", "r.test/a:2"], &["digest r.test/a:1", "config r.test/a@DIGEST", "digest r.test/a:2"]),
        (all, &["r.test/a@DIGEST", "r.test/b@DIGEST"], &["config r.test/a@DIGEST", "config r.test/b@DIGEST"]),
        // Of an index, the image that the host chooses is not asked for twice.
        (all, &["r.test/index@OTHER"], &["config r.test/index@OTHER", "manifest r.test/index@OTHER"]),
        (
            all,
            &["r.test/index:1", "r.test/index@OTHER"],
            &["digest r.test/index:1", "config r.test/index@OTHER", "manifest r.test/index@OTHER"],
        ),
        (
            platforms,
            &["r.test/index@OTHER", "r.test/a@DIGEST"],
            &[
                "config r.test/index@OTHER",
                "manifest r.test/index@OTHER",
                "config r.test/index@ARM64",
                "config r.test/a@DIGEST",
            ],
        ),
        // Two images on one base.
        (
            all,
            &["r.test/on-base@DIGEST", "r.test/on-base:2"],
            &["config r.test/on-base@DIGEST", "digest r.test/base:1", "digest r.test/on-base:2"],
        ),
        // Refused without a question: the tag is forbidden, or the registry is not listed.
        (all, &["r.test/a:latest", "r.test/a"], &[]),
        (all, &["elsewhere.test/a:1", "elsewhere.test/a@DIGEST"], &[]),
        // The image does not exist.
        (all, &["r.test/none:1", "r.test/none:1"], &["digest r.test/none:1"]),
    ];
    for (settings, images, expected) in cases {
        assert_eq!(questions(settings, images), expected, "{images:?} {settings}");
    }
}

#[test]
fn a_base_costs_a_question_if_it_is_current_and_two_more_if_it_is_not() {
    let settings = only("baseImage", json!({"action": "deny"}));
    let digest = "digest r.test/base:1";
    for (base, expected) in [
        (OTHER, &[digest][..]),
        (AMD64, &[digest, "manifest r.test/base@OTHER"]),
        (DIGEST, &[digest, "manifest r.test/base@OTHER", "config r.test/base@OTHER"]),
    ] {
        let host = registry(base);
        respond(&host, &request("Pod", &pod(&[&format!("r.test/on-base@{DIGEST}")])), &settings);
        let asked = asked(&host);
        assert_eq!(asked[0], "config r.test/on-base@DIGEST");
        assert_eq!(asked[1..], *expected);
    }
}

#[test]
fn a_digest_that_is_recorded_is_not_looked_up_again_to_judge_it() {
    let host = registry(OTHER);
    let response = respond(&host, &request("Deployment", &deployment(&["r.test/a:1", "r.test/a:1"])), &json!({}));
    assert_eq!(response["codes"], json!([]));
    assert_eq!(asked(&host), ["digest r.test/a:1", "config r.test/a@DIGEST"]);
}

#[test]
fn a_refused_tag_is_still_judged_in_an_audit_and_under_an_exception() {
    let latest = |change: fn(&mut Value)| {
        let mut request = request("Pod", &pod(&["r.test/a:latest"]));
        change(&mut request);
        request
    };
    let audited = latest(|request| {
        request["userInfo"] = json!({"username": ""});
        request["resource"] = json!({"resource": "Pod"});
    });
    let exceptions =
        json!([{"images": ["r.test/*"], "rules": ["forbidden-tag"], "until": "2027-01-01", "reason": "x"}]);
    for (request, settings) in [(audited, json!({})), (latest(|_| {}), json!({"exceptions": exceptions}))] {
        let host = registry(OTHER);
        respond(&host, &request, &settings);
        assert_eq!(asked(&host), ["digest r.test/a:latest", "config r.test/a@DIGEST"], "{settings}");
    }
}

/// A request of a user who may use break-glass, and gives a reason.
fn with_break_glass(mut request: Value) -> Value {
    request["userInfo"] = json!({"username": "ann", "groups": ["oncall"]});
    request["object"]["metadata"]["annotations"] = json!({"container-patch.dev/break-glass": "INC-1"});
    request
}

#[test]
fn what_break_glass_admits_is_judged_and_pinned_in_full() {
    let settings = json!({"breakGlass": {"groups": ["oncall"]}});
    let host = registry(OTHER);
    let response = respond(&host, &with_break_glass(request("Pod", &pod(&["r.test/a:latest"]))), &settings);
    assert_eq!(response["accepted"], json!(true), "{response}");
    assert_eq!(asked(&host), ["digest r.test/a:latest", "config r.test/a@DIGEST"]);

    let images = ["down.test/a:1", "down.test/b:1", "r.test/a:1"];
    for (kind, object) in [("Pod", pod(&images)), ("Deployment", deployment(&images))] {
        let host = down();
        let response = respond(&host, &with_break_glass(request(kind, &object)), &settings);
        assert_eq!(response["accepted"], json!(true), "{kind} {response}");
        let expected = ["digest down.test/a:1", "digest down.test/b:1", "digest r.test/a:1", "config r.test/a@DIGEST"];
        let mut asked = asked(&host);
        asked.sort_unstable();
        let mut expected = expected.map(str::to_owned);
        expected.sort_unstable();
        assert_eq!(asked, expected, "{kind}");
    }
}

#[test]
fn an_audit_judges_each_image_whatever_the_others_are() {
    let host = down().config(&format!("down.test/b@{DIGEST}"), built(DIGEST, None));
    let mut audit = request("Pod", &pod(&["down.test/a:1", &format!("down.test/b:1@{DIGEST}"), "down.test/c:1"]));
    audit["userInfo"] = json!({"username": ""});
    audit["resource"] = json!({"resource": "Pod"});
    respond(&host, &audit, &json!({}));
    assert_eq!(asked(&host), ["digest down.test/a:1", "config down.test/b@DIGEST", "digest down.test/c:1"]);
}

/// A host that cannot reach the registry `down.test`.
fn down() -> InMemory {
    let error = "error sending request for url (https://down.test/v2/)";
    ["a", "b", "c"].iter().fold(registry(OTHER), |host, name| {
        host.answer("digest", &format!("down.test/{name}:1"), Err(error.to_owned()))
    })
}

#[test]
fn a_registry_that_cannot_be_reached_is_asked_once_for_an_object_that_is_refused_for_it() {
    let images = ["down.test/a:1", "down.test/b:1", "r.test/a:1", "down.test/c:1"];
    let refused = json!(["evidence-unavailable Deny", "evidence-unavailable Deny", "evidence-unavailable Deny"]);
    let others = ["digest r.test/a:1", "config r.test/a@DIGEST"];
    for (kind, object) in [("Pod", pod(&images)), ("Deployment", deployment(&images))] {
        let host = down();
        let response = respond(&host, &request(kind, &object), &json!({}));
        assert_eq!(response["codes"], refused, "{kind}");
        assert_eq!(asked(&host), [&["digest down.test/a:1"][..], &others].concat(), "{kind}");
    }
}

#[test]
fn an_object_that_a_missing_answer_does_not_refuse_asks_about_each_image() {
    let images = ["down.test/a:1", "down.test/b:1"];
    let each = ["digest down.test/a:1", "digest down.test/b:1"];
    let warns = json!({"enforcement": {"evidenceErrors": "warn"}});
    let excepted = json!({"exceptions": [{"images": ["down.test/*"], "rules": ["evidence-unavailable"], "until": "2027-01-01", "reason": "x"}]});
    for settings in [warns, excepted] {
        for (kind, object) in [("Pod", pod(&images)), ("Deployment", deployment(&images))] {
            let host = down();
            let response = respond(&host, &request(kind, &object), &settings);
            assert_eq!(response["accepted"], json!(true), "{kind} {settings} {response}");
            assert_eq!(asked(&host), each, "{kind} {settings}");
        }
    }
}

#[test]
fn the_digest_of_a_tag_is_not_looked_up_if_the_message_names_that_of_the_record() {
    let mut request = request("Pod", &pod(&["r.test/a:1"]));
    request["object"]["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": format!("r.test/a:1@{OTHER}")});
    request["userInfo"] = json!({"username": "system:serviceaccount:kube-system:replicaset-controller"});
    let host = registry(OTHER);
    let response = respond(&host, &request, &only("pinning", json!({"action": "deny"})));
    assert!(response.to_string().contains("the pinning policy has to pin this pod"), "{response}");
    assert_eq!(asked(&host), [""; 0]);
}

#[test]
fn a_new_image_that_must_have_run_in_staging_costs_one_question_more() {
    let record = |digests: &[&str]| {
        let entry = json!({"since": "2026-11-01T00:00:00Z"}).to_string();
        let data: serde_json::Map<String, Value> =
            digests.iter().map(|digest| (digest.replace(':', "-"), json!(entry))).collect();
        json!({"metadata": {"name": "images"}, "data": data})
    };
    let image = format!("r.test/a@{DIGEST}");
    let config = "config r.test/a@DIGEST";
    let get = "get ConfigMap staging/images";
    let maps = json!([{"namespace": "staging", "name": "images"}, {"namespace": "other", "name": "images"}]);
    let soak = |change: Value| {
        let mut settings = json!({"registries": ["r.test"], "rollout": {"soak": {"configMaps": maps}}});
        settings["rollout"].as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        settings
    };
    let unchanged = |mut request: Value| {
        request["operation"] = json!("UPDATE");
        request["oldObject"] = request["object"].clone();
        request
    };
    let audit = |mut request: Value| {
        request["userInfo"] = json!({"username": ""});
        request["resource"] = json!({"resource": "Pod"});
        request
    };
    let create = || request("Pod", &pod(&[&image]));
    let cases: [(Value, Value, &[&str]); 8] = [
        (json!({"registries": ["r.test"]}), create(), &[config]),
        (json!({"registries": ["r.test"], "rollout": {}}), create(), &[config]),
        (soak(json!({"action": "off"})), create(), &[config]),
        (soak(json!({})), create(), &[config, get]),
        (soak(json!({"minAge": "1d"})), create(), &[config, get]),
        // One image in two containers.
        (soak(json!({})), request("Pod", &pod(&[&image, &image])), &[config, get]),
        // An image that an UPDATE does not change, and a pod that runs.
        (soak(json!({})), unchanged(create()), &[config]),
        (soak(json!({})), audit(create()), &[config]),
    ];
    for (settings, request, expected) in cases {
        let host = registry(OTHER).answer("get", "ConfigMap staging/images", Ok(record(&[DIGEST])));
        let response = respond(&host, &request, &settings);
        assert_eq!(response["codes"], json!([]), "{settings}");
        assert_eq!(asked(&host), expected, "{settings} {request}");
    }
    // Two images, and an image that is not in the first ConfigMap.
    let host = registry(OTHER).answer("get", "ConfigMap staging/images", Ok(record(&[DIGEST]))).answer(
        "get",
        "ConfigMap other/images",
        Ok(record(&[OTHER])),
    );
    let both = pod(&[&image, &format!("r.test/index@{OTHER}")]);
    assert_eq!(respond(&host, &request("Pod", &both), &soak(json!({})))["codes"], json!([]));
    let of_index = ["config r.test/index@OTHER", "manifest r.test/index@OTHER", get, "get ConfigMap other/images"];
    assert_eq!(asked(&host), [&[config, get][..], &of_index].concat());
}

#[test]
fn an_index_with_an_unknown_image_has_not_soaked_whatever_evidence_errors_says() {
    let record = json!({"metadata": {"name": "images"}, "data": {
        AMD64.replace(':', "-"): json!({"since": "2026-11-01T00:00:00Z"}).to_string(),
    }});
    let soak = json!({"configMaps": [{"namespace": "staging", "name": "images"}]});
    let mut settings = only("rollout", json!({ "soak": soak }));
    settings["platforms"] = json!(["linux/amd64", "linux/arm64"]);
    settings["enforcement"] = json!({"evidenceErrors": "warn"});
    // The builder of an index can name an image that is pushed later.
    let host = registry(OTHER).answer("get", "ConfigMap staging/images", Ok(record)).answer(
        "config",
        &format!("r.test/index@{ARM64}"),
        Err("manifest unknown".to_owned()),
    );
    let response = respond(&host, &request("Pod", &pod(&[&format!("r.test/index@{OTHER}")])), &settings);
    assert_eq!(response["codes"], json!(["evidence-unavailable Warn", "not-soaked Deny"]), "{response}");
}
