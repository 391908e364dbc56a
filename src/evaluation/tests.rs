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

mod scans {
    use super::*;

    /// A registry that knows an image of this digest, with these annotations.
    fn registry(annotations: Value) -> InMemory {
        world().config(&format!("docker.io/library/a@{DIGEST}"), image("2026-11-01T00:00:00Z", annotations))
    }

    /// A pod with one container `c0` of that image, and these annotations.
    fn annotated(annotations: Value) -> Value {
        let mut pod = pod(&[&format!("a:1@{DIGEST}")]);
        pod["metadata"]["annotations"] = annotations;
        request("Pod", &pod)
    }

    fn statement(critical: u64, digest: &str) -> Value {
        let summary = json!([{"label": "critical", "data": critical.to_string(), "severityIndex": 3}]);
        let statement =
            json!({"name": "trivy", "timestamp": "2026-11-19T08:00:00Z", "summary": summary, "image": digest});
        json!({"scan.container-patch.dev/c0": statement.to_string()})
    }

    fn codes(host: &InMemory, request: &Value, scan: Value) -> Value {
        respond(host, request, &only("scan", scan))["codes"].clone()
    }

    const VULNERABLE: &str = "vulnerable-image Deny";

    #[test]
    fn a_pod_that_annotates_itself_clean_is_still_denied_unless_it_is_trusted() {
        let report = json!({
            "metadata": {"name": "r"},
            "spec": {"manifest": DIGEST, "features": [{"name": "openssl", "vulnerabilities": [{"name": "CVE-2026-0001", "severity": "Critical", "fixedby": "3.0.8"}]}]},
        });
        let host = || {
            let name = format!("ImageManifestVuln shop/{}", DIGEST.replace(':', "."));
            registry(json!(null)).answer("get", &name, Ok(report.clone()))
        };
        let mut pod = annotated(statement(0, DIGEST));
        pod["namespace"] = json!("shop");
        let scan = |annotations: &str| json!({"podAnnotations": annotations, "reports": [{"source": "quay"}]});
        assert_eq!(codes(&host(), &pod, scan("flag")), json!([VULNERABLE]));
        assert_eq!(codes(&host(), &pod, scan("ignore")), json!([VULNERABLE]));
        let trusting = host();
        assert_eq!(codes(&trusting, &pod, scan("trust")), json!([]));
        assert!(!trusting.asked().iter().any(|question| question.starts_with("get")), "{:?}", trusting.asked());
    }

    #[test]
    fn a_pod_that_annotates_itself_clean_has_no_scan_result_unless_it_is_trusted() {
        let pod = annotated(statement(0, DIGEST));
        let of = |annotations: &str| {
            codes(&registry(json!(null)), &pod, json!({"require": true, "podAnnotations": annotations}))
        };
        assert_eq!(of("flag"), json!(["unscanned-image Deny"]));
        assert_eq!(of("trust"), json!([]));
    }

    #[test]
    fn a_pod_that_annotates_itself_flagged_is_denied_unless_annotations_are_ignored() {
        for (annotations, code) in [
            (statement(4, DIGEST), VULNERABLE),
            (json!({"images.openshift.io/deny-execution": "true"}), "scan-flagged Deny"),
            (json!({"scan.container-patch.dev/c0": "{"}), "scan-flagged Deny"),
        ] {
            let pod = annotated(annotations.clone());
            let of = |words: &str| codes(&registry(json!(null)), &pod, json!({"podAnnotations": words}));
            assert_eq!(
                (of("flag"), of("trust"), of("ignore")),
                (json!([code]), json!([code]), json!([])),
                "{annotations}"
            );
        }
    }

    #[test]
    fn an_annotation_about_another_image_or_another_container_is_no_evidence() {
        let host = || registry(json!(null)).manifest(&format!("docker.io/library/a@{DIGEST}"), json!({"layers": []}));
        assert_eq!(codes(&host(), &annotated(statement(4, OTHER)), json!({})), json!([]));
        assert_eq!(
            codes(&host(), &annotated(statement(0, OTHER)), json!({"require": true, "podAnnotations": "trust"})),
            json!(["unscanned-image Deny"])
        );
        let other = json!({"scan.container-patch.dev/c1": statement(4, DIGEST)["scan.container-patch.dev/c0"]});
        assert_eq!(codes(&host(), &annotated(other), json!({})), json!([]));
    }

    #[test]
    fn an_annotation_about_an_image_in_the_index_is_evidence() {
        let host = registry(json!(null)).manifest(
            &format!("docker.io/library/a@{DIGEST}"),
            json!({"manifests": [{"digest": OTHER, "platform": {"os": "linux"}}]}),
        );
        assert_eq!(codes(&host, &annotated(statement(4, OTHER)), json!({})), json!([VULNERABLE]));
    }

    #[test]
    fn annotations_of_a_pod_template_are_read_and_those_of_its_workload_are_not() {
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
    fn nobody_but_the_registry_is_asked_where_nobody_speaks_of_scans() {
        let host = registry(json!(null));
        assert_eq!(codes(&host, &annotated(json!(null)), json!({})), json!([]));
        assert_eq!(host.asked(), [format!("config docker.io/library/a@{DIGEST}")]);
    }

    #[test]
    fn an_image_that_is_named_by_tag_alone_is_judged_by_what_its_tag_points_at() {
        let host = world()
            .config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", json!(null)))
            .digest("docker.io/library/a:1", DIGEST);
        let mut tagged = pod(&["a:1"]);
        tagged["metadata"]["annotations"] = statement(4, DIGEST);
        assert_eq!(codes(&host, &request("Pod", &tagged), json!({})), json!([VULNERABLE]));
    }

    #[test]
    fn a_report_that_cannot_be_read_is_unavailable_evidence() {
        let mut pod = annotated(json!(null));
        pod["namespace"] = json!("shop");
        let name = format!("ImageManifestVuln shop/{}", DIGEST.replace(':', "."));
        let host = || registry(json!(null)).answer("get", &name, Err("Host error: it is forbidden".to_owned()));
        let scan = json!({"reports": [{"source": "quay"}]});
        let response = respond(&host(), &pod, &only("scan", scan.clone()));
        assert_eq!(response["codes"], json!(["evidence-unavailable Deny"]));
        let message = response["message"].as_str().unwrap();
        assert!(message.contains("kubectl apply -f deploy/rbac/quay.yaml [evidence-unavailable]"), "{message}");
        let mut lenient = only("scan", scan);
        lenient["enforcement"] = json!({"evidenceErrors": "warn"});
        assert_eq!(respond(&host(), &pod, &lenient)["codes"], json!(["evidence-unavailable Warn"]));
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
            host = host
                .config(&format!("docker.io/library/a@{}", digest(n)), image("2026-11-01T00:00:00Z", json!(null)))
                .answer("get", &name, Ok(report));
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
            let said = format!("container `c0`: image `a:1` is excepted from {code} until 2026-11-20 (SEC-42): it ");
            assert!(warning.starts_with(&said) && warning.ends_with(" [excepted]"), "{warning}");
            let other = excepting("patch-due", settings);
            assert_eq!(
                respond(&old(), &request("Pod", &pod(&["a:1"])), &other)["codes"],
                json!([format!("{code} Deny")])
            );
        }
    }

    #[test]
    fn a_forbidden_tag_that_is_excepted_is_pinned_like_any_other() {
        let host = world().digest("docker.io/library/a:latest", DIGEST);
        let settings = excepting("forbidden-tag", only("pinning", json!({})));
        let response = respond(&host, &request("Pod", &pod(&["a"])), &settings);
        assert_eq!(response["codes"], json!(["excepted Warn"]));
        assert_eq!(response["mutated_object"], pod(&[&format!("a@{DIGEST}")]));
    }

    #[test]
    fn an_exception_that_has_ended_bites_again_and_says_so() {
        let host = world().config("docker.io/library/a:1", image("2026-01-01T00:00:00Z", json!(null)));
        let mut settings = excepting("stale-image", only("schedule", json!({})));
        settings["exceptions"][0]["until"] = json!("2026-11-19");
        let response = respond(&host, &request("Pod", &pod(&["a:1"])), &settings);
        assert_eq!(response["codes"], json!(["stale-image Deny", "expired-exception Warn"]));
        let message = response["message"].as_str().unwrap();
        assert!(message.ends_with("; its exception ended: 2026-11-19 (SEC-42) [stale-image]"), "{message}");
        let fresh = world().config("docker.io/library/a:1", image("2026-11-01T00:00:00Z", json!(null)));
        assert_eq!(
            respond(&fresh, &request("Pod", &pod(&["a:1"])), &settings)["codes"],
            json!([]),
            "nothing to except"
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
