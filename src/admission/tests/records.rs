use super::*;

const REPLICA_SETS: &str = "system:serviceaccount:kube-system:replicaset-controller";
const DEPLOYMENTS: &str = "system:serviceaccount:kube-system:deployment-controller";

/// A registry with the fresh images `app:1` and `app:2`, and the stale `app:stale`.
fn registry() -> InMemory {
    let fresh = |digest: &str| {
        let mut image = image("2026-11-01T00:00:00Z", json!(null));
        image["digest"] = json!(digest);
        image
    };
    world().config("docker.io/library/app:1", fresh(DIGEST)).config("docker.io/library/app:2", fresh(OTHER))
}

fn stale(digest: &str) -> InMemory {
    let mut image = image("2026-01-01T00:00:00Z", json!(null));
    image["digest"] = json!(digest);
    world().config("docker.io/library/app:1", image)
}

/// The settings of the pinning policy of `deploy/`.
fn pinning() -> Value {
    only("pinning", json!({"action": "pin"}))
}

/// The settings of the enforcing policy of `deploy/` that matter here.
fn enforcing() -> Value {
    let mut settings = only("schedule", json!({}));
    settings["pinning"] = json!({"action": "deny", "templates": "record"});
    settings
}

fn record(tag: &str, digest: &str) -> String {
    format!("docker.io/library/app:{tag}@{digest}")
}

/// A Deployment with containers, each with its image and its record.
fn recorded(containers: &[(&str, Option<&str>)], at: &str) -> Value {
    let mut deployment = deployment(&containers.iter().map(|(image, _)| *image).collect::<Vec<_>>());
    let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
    for (index, (_, record)) in containers.iter().enumerate() {
        if let Some(record) = record {
            annotations[format!("pin.container-patch.dev/c{index}")] = json!(record);
        }
    }
    annotations["pin.container-patch.dev/recorded-at"] = json!(at);
    deployment
}

const EARLIER: &str = "2026-10-01T00:00:00.000000Z";
const JUST_NOW: &str = "2026-11-20T12:00:00.000000Z";

fn annotations(response: &Value) -> Value {
    response["mutated_object"]["spec"]["template"]["metadata"]["annotations"].clone()
}

fn by(user: &str, mut request: Value) -> Value {
    request["userInfo"] = json!({"username": user, "groups": ["system:authenticated"]});
    request
}

/// An UPDATE of a Deployment that also changes an annotation of the template.
fn restarted(old: Value, mut new: Value) -> Value {
    new["spec"]["template"]["metadata"]["annotations"]["kubectl.kubernetes.io/restartedAt"] = json!("now");
    update(old, new)
}

#[test]
fn a_workload_with_tags_gets_records_and_keeps_its_image_fields() {
    let response = respond(&registry(), &request("Deployment", &deployment(&["app:1", "app:2"])), &pinning());
    let expected = recorded(&[("app:1", Some(&record("1", DIGEST))), ("app:2", Some(&record("2", OTHER)))], JUST_NOW);
    assert_eq!(response["mutated_object"], expected);
    assert_eq!(response["codes"], json!([]));
}

#[test]
fn valid_records_of_a_new_workload_are_kept_without_a_question() {
    let host = world();
    let deployment = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let response = respond(&host, &request("Deployment", &deployment), &pinning());
    assert_eq!(response.get("mutated_object"), None, "{response}");
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn invalid_records_are_renewed_and_unused_records_are_removed() {
    let written = format!("app:2@{OTHER}");
    for invalid in [
        "",
        "nonsense",
        "app:1",
        &record("2", DIGEST),
        &format!("app@{DIGEST}"),
        &format!("docker.io/other/app:1@{DIGEST}"),
        "docker.io/library/app:1@sha256:1",
        "\u{202e}",
    ] {
        let mut deployment = recorded(&[("app:1", Some(invalid)), (&written, Some(&record("2", OTHER)))], EARLIER);
        let annotations = &mut deployment["spec"]["template"]["metadata"]["annotations"];
        annotations["pin.container-patch.dev/ghost"] = json!(record("1", DIGEST));
        annotations["example.com/other"] = json!("stays");
        let response = respond(&registry(), &request("Deployment", &deployment), &pinning());
        let mut expected = recorded(&[("app:1", Some(&record("1", DIGEST))), (&written, None)], JUST_NOW);
        expected["spec"]["template"]["metadata"]["annotations"]["example.com/other"] = json!("stays");
        assert_eq!(response["mutated_object"], expected, "{invalid}");
    }
}

#[test]
fn an_invalid_time_of_records_is_replaced_by_the_earlier_one() {
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let response =
        respond(&world(), &update(old.clone(), recorded(&[("app:1", Some(&record("1", OTHER)))], "x")), &pinning());
    assert_eq!(response["mutated_object"], old);
}

#[test]
fn writing_a_digest_removes_the_record_and_its_time() {
    let host = world();
    let old = recorded(&[("app:1", Some(&record("1", DIGEST)))], EARLIER);
    let mut new = old.clone();
    new["spec"]["template"]["spec"]["containers"][0]["image"] = json!(format!("app:1@{OTHER}"));
    let response = respond(&host, &update(old, new), &pinning());
    assert_eq!(annotations(&response), json!({}));
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn an_update_that_does_not_change_the_template_writes_nothing() {
    for old in [deployment(&["app:1"]), recorded(&[("app:1", Some("nonsense"))], "then")] {
        let host = world();
        let mut new = old.clone();
        new["spec"]["replicas"] = json!(7);
        new["metadata"]["labels"] = json!({"team": "shop"});
        let response = respond(&host, &update(old, new), &pinning());
        assert_eq!(response.get("mutated_object"), None, "{response}");
        assert_eq!(host.asked(), [""; 0]);
    }
}

#[test]
fn an_update_without_the_records_gets_them_back() {
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    // Also with another order of keys.
    let new = deployment(&["app:1"]);
    let host = world();
    let response = respond(&host, &update(old.clone(), new), &pinning());
    assert_eq!(response["mutated_object"], old);
    assert_eq!(host.asked(), [""; 0]);
    let response = respond(&stale(OTHER), &update(old.clone(), response["mutated_object"].clone()), &enforcing());
    assert_eq!(response["codes"], json!(["stale-image Warn"]), "it counts as unchanged");
}

#[test]
fn a_change_of_the_template_renews_the_records() {
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    for new in [old.clone(), deployment(&["app:1"])] {
        let response = respond(&registry(), &restarted(old.clone(), new), &pinning());
        assert_eq!(
            annotations(&response),
            json!({
                "kubectl.kubernetes.io/restartedAt": "now",
                "pin.container-patch.dev/c0": record("1", DIGEST),
                "pin.container-patch.dev/recorded-at": JUST_NOW,
            })
        );
    }
}

#[test]
fn a_rollback_keeps_its_records() {
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], JUST_NOW);
    for record_before in [record("1", DIGEST), record("1", OTHER)] {
        let host = world();
        let new = recorded(&[("app:1", Some(&record_before))], EARLIER);
        let response = respond(&host, &restarted(old.clone(), new), &pinning());
        assert_eq!(response.get("mutated_object"), None, "{response}");
        assert_eq!(host.asked(), [""; 0]);
    }
}

#[test]
fn controllers_and_controlled_replica_sets_get_no_records() {
    let owned = |mut object: Value, kind: &str| {
        let owner =
            json!({"apiVersion": "argoproj.io/v1alpha1", "kind": kind, "name": "web", "uid": "1", "controller": true});
        object["metadata"] = json!({"name": "web", "ownerReferences": [owner]});
        object
    };
    for request in [
        by(DEPLOYMENTS, request("ReplicaSet", &deployment(&["app:1"]))),
        by(DEPLOYMENTS, restarted(deployment(&["app:2"]), deployment(&["app:1"]))),
        by("jane", request("ReplicaSet", &owned(deployment(&["app:1"]), "Rollout"))),
        by("jane", request("ControllerRevision", &json!({"data": deployment(&["app:1"])}))),
    ] {
        let host = registry();
        let response = respond(&host, &request, &pinning());
        assert_eq!(response.get("mutated_object"), None, "{response}");
        assert_eq!(host.asked(), [""; 0]);
    }
    let response = respond(&registry(), &by("jane", request("ReplicaSet", &deployment(&["app:1"]))), &pinning());
    assert!(annotations(&response).is_object(), "a ReplicaSet of a user is a workload");
    let response =
        respond(&registry(), &by("jane", request("Deployment", &owned(deployment(&["app:1"]), "App"))), &pinning());
    assert!(annotations(&response).is_object(), "other kinds may have a controller");
}

#[test]
fn without_an_answer_the_valid_record_stays_with_a_warning() {
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let response = respond(&world(), &restarted(old.clone(), old.clone()), &pinning());
    assert_eq!(response["codes"], json!(["evidence-unavailable Warn"]));
    assert_eq!(annotations(&response)["pin.container-patch.dev/c0"], json!(record("1", OTHER)));
    assert_eq!(
        annotations(&response)["pin.container-patch.dev/recorded-at"],
        JUST_NOW,
        "the time shows a later rollback"
    );
    let warning = response["warnings"][0].as_str().unwrap();
    assert!(warning.contains("keeps its record, since its tag cannot be looked up now"), "{warning}");

    let response = respond(&world(), &restarted(old.clone(), deployment(&["app:1"])), &pinning());
    assert_eq!(annotations(&response)["pin.container-patch.dev/c0"], json!(record("1", OTHER)));

    let response = respond(&world(), &request("Deployment", &deployment(&["app:1"])), &pinning());
    assert_eq!(response["codes"], json!(["evidence-unavailable Deny"]));
}

#[test]
fn a_template_is_judged_by_its_record() {
    let fresh_tag = || {
        let mut old = image("2026-01-01T00:00:00Z", json!(null));
        old["digest"] = json!(OTHER);
        registry().config(&format!("docker.io/library/app@{OTHER}"), old)
    };
    let new = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    for kind in ["Deployment", "ReplicaSet"] {
        let response = respond(&fresh_tag(), &request(kind, &new), &enforcing());
        assert_eq!(response["codes"], json!(["stale-image Deny"]), "{kind}");
        let message = response["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("container `c0`: image `app:1@{OTHER}` was built")), "{message}");
    }
    let revision = request("ControllerRevision", &json!({"data": new}));
    assert_eq!(respond(&fresh_tag(), &revision, &enforcing())["codes"], json!(["stale-image Deny"]));
    let nowhere = recorded(&[("app:1", Some(&record("1", &DIGEST.replace('0', "9"))))], EARLIER);
    let response = respond(&registry(), &request("Deployment", &nowhere), &enforcing());
    assert_eq!(response["codes"], json!(["evidence-unavailable Deny"]));
}

#[test]
fn a_changed_record_counts_as_a_changed_image() {
    let host = || stale(DIGEST);
    let unrecorded = deployment(&["app:1"]);
    let new = recorded(&[("app:1", Some(&record("1", DIGEST)))], JUST_NOW);
    let before = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    for old in [before.clone(), unrecorded] {
        let response = respond(&host(), &update(old, new.clone()), &enforcing());
        assert_eq!(response["codes"], json!(["stale-image Deny"]));
    }
    let response = respond(&host(), &update(before, new.clone()), &enforcing());
    let message = response["message"].as_str().unwrap();
    assert!(message.contains(&format!("; to keep the digest recorded before, write `app:1@{OTHER}`; ")), "{message}");

    let mut relabelled = new.clone();
    relabelled["metadata"]["labels"] = json!({"team": "shop"});
    assert_eq!(respond(&host(), &update(new.clone(), relabelled), &enforcing())["codes"], json!(["stale-image Warn"]));
    let written = deployment(&[&format!("app:1@{DIGEST}")]);
    let response = respond(&host(), &update(new, written), &enforcing());
    assert_eq!(response["codes"], json!(["stale-image Warn"]), "to write the recorded digest changes nothing");
}

#[test]
fn a_record_is_judged_even_if_image_fields_of_templates_are_pinned() {
    // The tag is fresh, but the recorded digest is stale.
    let mut old = image("2026-01-01T00:00:00Z", json!(null));
    old["digest"] = json!(OTHER);
    let host = registry().config(&format!("docker.io/library/app@{OTHER}"), old);
    let deployment = request("Deployment", &recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER));
    for (pinning, code) in [
        (json!({"action": "warn"}), json!("unpinned-image Warn")),
        (json!({"action": "deny"}), json!("unpinned-image Deny")),
    ] {
        let mut settings = only("schedule", json!({}));
        settings["pinning"] = pinning;
        let response = respond(&host, &deployment, &settings);
        assert_eq!(response["codes"], json!([code, "stale-image Deny"]));
        let findings: Value =
            serde_json::from_str(response["audit_annotations"]["findings"].as_str().unwrap()).unwrap();
        assert_eq!((&findings[0]["image"], &findings[1]["image"]), (&json!("app:1"), &json!(format!("app:1@{OTHER}"))));
        assert_eq!(findings[0]["text"], json!(format!("has no digest; write `app:1@{OTHER}`")));
        settings["pinning"]["templates"] = json!(false);
        assert_eq!(respond(&host, &deployment, &settings)["codes"], json!(["stale-image Deny"]));
    }
}

#[test]
fn one_policy_judges_the_digests_that_it_records() {
    let settings = json!({"baseImage": {"action": "off"}, "scan": {"action": "off"}});
    let old = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let response = respond(&stale(DIGEST), &restarted(old.clone(), old), &settings);
    assert_eq!(response["codes"], json!(["stale-image Deny"]));
    let message = response["message"].as_str().unwrap();
    assert!(message.contains(&format!("write `app:1@{OTHER}`")), "{message}");
    let response = respond(&registry(), &request("Deployment", &deployment(&["app:1"])), &settings);
    assert_eq!(annotations(&response)["pin.container-patch.dev/c0"], json!(record("1", DIGEST)));
}

#[test]
fn a_forbidden_tag_is_not_recorded_and_a_record_in_the_request_counts_as_its_digest() {
    let host = world().digest("docker.io/library/app:latest", DIGEST);
    let response = respond(&host, &request("Deployment", &deployment(&["app"])), &pinning());
    assert_eq!(response["codes"], json!(["forbidden-tag Deny"]));
    assert_eq!(host.asked(), [""; 0]);
    let brought = recorded(&[("app", Some(&record("latest", DIGEST)))], EARLIER);
    for settings in [pinning(), only("pinning", json!({"action": "deny", "templates": "record"}))] {
        assert_eq!(respond(&world(), &request("Deployment", &brought), &settings)["codes"], json!([]), "{settings}");
    }
    let response = respond(&world(), &request("Deployment", &brought), &only("pinning", json!({"action": "deny"})));
    assert_eq!(response["codes"], json!(["forbidden-tag Deny"]), "there the digest is to be in the image field");
    let response = respond(&host, &restarted(brought.clone(), brought), &pinning());
    assert_eq!(response["codes"], json!(["forbidden-tag Deny"]));
}

#[test]
fn too_many_records_are_denied() {
    let images: Vec<String> = (0..600).map(|index| format!("app:{index}")).collect();
    let host = images.iter().fold(world(), |host, image| host.digest(&format!("docker.io/library/{image}"), DIGEST));
    let deployment = deployment(&images.iter().map(String::as_str).collect::<Vec<_>>());
    let response = respond(&host, &request("Deployment", &deployment), &pinning());
    assert_eq!(response["codes"], json!(["invalid-request Deny"]));
    assert!(response["message"].as_str().unwrap().contains("over the limit of 64 KiB"), "{response}");
}

#[test]
fn a_duplicate_record_is_denied() {
    let text = recorded(&[("app:1", Some(&record("1", DIGEST)))], EARLIER).to_string();
    let (key, value) = ("pin.container-patch.dev/c0", record("1", OTHER));
    let text = text.replace(&format!("\"{key}\":"), &format!("\"{key}\":\"{value}\",\"{key}\":"));
    let kind = r#"{"group": "apps", "version": "v1", "kind": "Deployment"}"#;
    let payload =
        format!(r#"{{"request": {{"kind": {kind}, "operation": "CREATE", "object": {text}}}, "settings": {{}}}}"#);
    let response: Value = serde_json::from_slice(&evaluate(payload.as_bytes(), &registry()).into_response()).unwrap();
    let message = response["message"].as_str().unwrap();
    assert!(message.contains("`pin.container-patch.dev/c0` is given twice [invalid-request]"), "{message}");
}

#[test]
fn a_forged_revision_cannot_hide_its_records_with_another_case() {
    let mut data = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let metadata = data["spec"]["template"]["metadata"].take();
    data["spec"]["template"]["metadata"] = json!({"Annotations": metadata["annotations"]});
    let response = respond(&registry(), &request("ControllerRevision", &json!({"data": data})), &enforcing());
    assert_eq!(response["codes"], json!(["invalid-request Deny"]));
}

#[test]
fn a_pod_is_pinned_by_its_record_without_a_question() {
    let host = world();
    let mut pod = pod(&["app:1"]);
    pod["metadata"]["annotations"] = json!({
        "pin.container-patch.dev/c0": record("1", OTHER),
        "container-patch.dev/resolved": "c0",
    });
    for user in [REPLICA_SETS, "jane"] {
        let response = respond(&host, &by(user, request("Pod", &pod)), &pinning());
        let mutated = &response["mutated_object"];
        assert_eq!(mutated["spec"]["containers"][0]["image"], json!(format!("app:1@{OTHER}")));
        assert_eq!(mutated["metadata"]["annotations"], json!({"pin.container-patch.dev/c0": record("1", OTHER)}));
    }
    assert_eq!(host.asked(), [""; 0]);
}

#[test]
fn a_digest_that_is_written_into_a_template_replaces_its_record() {
    let old = recorded(&[("app:2", Some(&record("2", OTHER)))], EARLIER);
    let new = recorded(&[("app:1", Some(&record("1", OTHER)))], EARLIER);
    let settings = only("pinning", json!({"action": "pin", "templates": true}));
    for request in [request("Deployment", &new), update(old, new)] {
        let response = respond(&registry(), &request, &settings);
        let template = &response["mutated_object"]["spec"]["template"];
        assert_eq!(template["spec"]["containers"][0]["image"], json!(format!("app:1@{DIGEST}")));
        assert_eq!(template["metadata"]["annotations"].get("pin.container-patch.dev/c0"), None, "{template}");
    }
}

#[test]
fn a_pod_is_pinned_by_its_record_even_if_its_registry_is_not_listed() {
    let mut pod = pod(&["app:1"]);
    pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record("1", OTHER)});
    let mut settings = pinning();
    settings["registries"] = json!(["registry.example.com"]);
    let response = respond(&world(), &by(REPLICA_SETS, request("Pod", &pod)), &settings);
    assert_eq!(response["mutated_object"]["spec"]["containers"][0]["image"], json!(format!("app:1@{OTHER}")));
    assert_eq!(response["codes"], json!([]));
}

#[test]
fn the_list_of_resolved_containers_is_corrected_and_keeps_its_names() {
    let host = world().digest("docker.io/library/app:1", DIGEST);
    let written = format!("app:2@{OTHER}");
    for (given, expected) in
        [("", "c0"), ("ghost,volume/c1", "c0"), ("c1,ghost", "c1,c0"), ("c0", "c0"), ("c0,c1,c1", "c1,c0")]
    {
        let pod = resolved(given, pod(&["app:1", &written]));
        let response = respond(&host, &request("Pod", &pod), &pinning());
        let annotations = &response["mutated_object"]["metadata"]["annotations"];
        assert_eq!(annotations["container-patch.dev/resolved"], json!(expected), "{given}");
        let again = respond(&host, &request("Pod", &response["mutated_object"]), &pinning());
        assert_eq!(again.get("mutated_object"), None, "another policy that pins leaves it");
    }
    let response = respond(&host, &request("Pod", &resolved("ghost", pod(&[&written]))), &pinning());
    assert_eq!(response["mutated_object"]["metadata"]["annotations"], json!({}));
}

mod downgrades {
    use super::*;

    /// The codes for a pod of the ReplicaSet controller.
    fn codes(image: &str, annotations: Value, unrecorded: &str) -> Value {
        let mut pod = pod(&[image]);
        pod["metadata"]["annotations"] = annotations;
        let mut settings = only("schedule", json!({}));
        settings["enforcement"] = json!({"unrecordedPods": unrecorded});
        let response = respond(&stale(DIGEST), &by(REPLICA_SETS, request("Pod", &pod)), &settings);
        response["codes"].clone()
    }

    #[test]
    fn findings_about_a_controllers_pod_are_downgraded_for_the_judged_digest() {
        let pinned = format!("app:1@{DIGEST}");
        let of = |record: &str| json!({"pin.container-patch.dev/c0": record});
        let (warned, denied) = (json!(["stale-image Warn"]), json!(["stale-image Deny"]));
        for unrecorded in ["warn", "deny"] {
            assert_eq!(codes(&pinned, of(&record("1", DIGEST)), unrecorded), warned, "that of its record");
            assert_eq!(codes(&pinned, json!({}), unrecorded), warned, "that of its template");
            assert_eq!(
                codes(&pinned, of(&record("2", OTHER)), unrecorded),
                warned,
                "the record is about another image"
            );
            assert_eq!(codes(&pinned, of(&record("1", OTHER)), unrecorded), denied, "another than that of its record");
            assert_eq!(codes("app:1", of(&record("1", DIGEST)), unrecorded), denied, "none, in spite of its record");
        }
        let resolved = json!({"container-patch.dev/resolved": "a,c0"});
        assert_eq!(codes(&pinned, resolved.clone(), "warn"), warned);
        assert_eq!(codes(&pinned, resolved, "deny"), denied);
        assert_eq!(codes("app:1", json!({}), "warn"), warned);
        assert_eq!(codes("app:1", json!({}), "deny"), denied);
    }

    #[test]
    fn the_policy_that_pins_a_pod_knows_which_digests_it_resolved() {
        let settings = |unrecorded: &str| json!({"baseImage": {"action": "off"}, "scan": {"action": "off"}, "enforcement": {"unrecordedPods": unrecorded}});
        let mut pod = pod(&["app:1"]);
        let respond = |pod: &Value, unrecorded: &str| {
            respond(&stale(DIGEST), &by(REPLICA_SETS, request("Pod", pod)), &settings(unrecorded))
        };
        assert_eq!(respond(&pod, "deny")["codes"], json!(["stale-image Deny"]));
        let warned = respond(&pod, "warn");
        assert_eq!(warned["codes"], json!(["stale-image Warn"]));
        assert!(warned["audit_annotations"]["findings"].as_str().unwrap().contains(r#""passed":"unrecordedPods""#));
        pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record("1", DIGEST)});
        assert_eq!(respond(&pod, "deny")["codes"], json!(["stale-image Warn"]));
    }

    #[test]
    fn a_pod_that_does_not_use_its_record_is_denied_with_the_record() {
        let mut pod = pod(&["app:1"]);
        pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record("1", OTHER)});
        let deny = only("pinning", json!({"action": "deny"}));
        let response = respond(&registry(), &by(REPLICA_SETS, request("Pod", &pod)), &deny);
        let expected = format!(
            "container `c0`: image `app:1` has no digest, but its workload records `{}`; the pinning policy has to pin this pod [unpinned-image]",
            record("1", OTHER)
        );
        assert_eq!(response["message"], json!(expected));
        let response = respond(&registry(), &by("jane", request("Pod", &pod)), &deny);
        assert!(response["message"].as_str().unwrap().contains(&format!("; write `app:1@{DIGEST}`")), "{response}");
    }

    #[test]
    fn a_forged_record_on_a_pod_of_a_user_has_no_effect() {
        let mut pod = pod(&["app:1"]);
        pod["metadata"]["annotations"] = json!({"pin.container-patch.dev/c0": record("1", OTHER)});
        let response = respond(&stale(DIGEST), &by("jane", request("Pod", &pod)), &enforcing());
        assert_eq!(response["codes"], json!(["unpinned-image Deny", "stale-image Deny"]));
    }
}
