//! Properties of admission requests.

use std::collections::BTreeSet;

use chrono::DateTime;
use container_patch_policy::config::INVALID_SETTINGS;
use container_patch_policy::finding::{Code, Effect, INVALID_REQUEST};
use container_patch_policy::image::{ImagePattern, Reference, RegistryPattern};
use container_patch_policy::rules::rollout::{CODES_OF_TIME, OLDER_BUILD};
use container_patch_policy::validate;
use container_patch_policy::workload::record_keys::{RECORDED_AT, RESOLVED};
use serde_json::Value;

use crate::case::Case;
use crate::changes::Changes;
use crate::failure::{Failure, ensure};
use crate::fake_host::FakeHost;
use crate::outcome::Outcome;
use crate::pod_template::{LISTS, has_unique_names, images_of_record};
use crate::response::well_formed;

/// A property of every case.
pub type Property = fn(&Case) -> Result<(), Failure>;

/// The properties of every case, with their names.
pub const ALL: [(&str, Property); 11] = [
    (
        "every response is well-formed and agrees with its findings",
        every_response_is_well_formed_and_agrees_with_its_findings,
    ),
    ("evaluation is deterministic", evaluation_is_deterministic),
    ("an added container hides no denial", an_added_container_hides_no_denial),
    ("the order of containers does not matter", the_order_of_containers_does_not_matter),
    ("a rewritten object is accepted unchanged", a_rewritten_object_is_accepted_unchanged),
    ("records are written for users only", records_are_written_for_users_only),
    ("a record on a pod does not count as a digest", a_record_on_a_pod_does_not_count_as_a_digest),
    ("an annotation of the requester hides no denial", an_annotation_of_the_requester_hides_no_denial),
    ("only listed registries are contacted", only_listed_registries_are_contacted),
    ("entries for other namespaces have no effect", entries_for_other_namespaces_have_no_effect),
    ("the namespace in the object does not count", the_namespace_in_the_object_does_not_count),
];

/// The response to any request is a consistent `ValidationResponse` of Kubewarden, and agrees with the findings. Settings cannot
/// turn the denial of an invalid request, or of invalid settings, into a warning.
///
/// # Errors
/// If it does not hold.
pub fn every_response_is_well_formed_and_agrees_with_its_findings(case: &Case) -> Result<(), Failure> {
    let outcome = case.outcome();
    let response = well_formed(&outcome.response)?;
    ensure!(response.accepted == outcome.is_accepted(), "the verdict contradicts the findings: {outcome}");
    let is_unreadable = |code: &Code| [INVALID_REQUEST, INVALID_SETTINGS].contains(code);
    let is_admitted = outcome.findings.iter().any(|(code, effect)| is_unreadable(code) && *effect == Effect::Warn);
    ensure!(!is_admitted, "invalid input is not denied: {outcome}");
    if let Some(object) = &response.mutated_object {
        ensure!(!changes(case, &case.request, object)?.is_empty(), "the rewritten object is unchanged: {outcome}");
    }
    Ok(())
}

/// The same input gets the same response, after the same host calls in the same order. No host call is repeated.
///
/// # Errors
/// If it does not hold.
pub fn evaluation_is_deterministic(case: &Case) -> Result<(), Failure> {
    let (first, second) = (case.outcome(), &case.outcome_of(&case.request));
    ensure!(first.response == second.response, "the responses differ:\n{first}\n{second}");
    let (calls, again) = (&first.host_calls, &second.host_calls);
    ensure!(calls == again, "the host calls differ:\n{calls:#?}\n{again:#?}");
    let distinct: BTreeSet<&String> = calls.iter().collect();
    ensure!(distinct.len() == calls.len(), "a host call is repeated: {calls:#?}");
    Ok(())
}

/// Adding a container or volume never turns a denial into acceptance, for any name, image and position. If the object and the
/// settings that it needs are still valid, every denial remains.
///
/// # Errors
/// If it does not hold.
pub fn an_added_container_hides_no_denial(case: &Case) -> Result<(), Failure> {
    let before = case.outcome();
    // A record that no image uses is judged alone. The added container can use it, or cause its removal.
    let has_records = case.request["object"].to_string().contains("pin.container-patch.dev/");
    let is_denied = !before.is_accepted() && !has_records;
    let Some(request) = case.with_addition().filter(|_| is_denied) else { return Ok(()) };
    let after = case.outcome_of(&request);
    ensure!(!after.is_accepted(), "the added container turns a denial into acceptance:\n{before}\n{after}");
    let is_unreadable = |(code, _): &(Code, Effect)| [INVALID_REQUEST, INVALID_SETTINGS].contains(code);
    if !after.findings.iter().any(is_unreadable) {
        let (few, many) = (before.denials(), after.denials());
        // Its registry may be unreachable, and is then not asked about the image that another container replaces.
        let lost = few.iter().find(|(code, count)| **code != OLDER_BUILD && many.get(code).unwrap_or(&0) < count);
        ensure!(lost.is_none(), "the added container hides {lost:?}:\n{before}\n{after}");
    }
    Ok(())
}

/// The findings that do not depend on the order of containers. If a request is refused anyway, a registry that could not be reached is not
/// asked again. An image that is replaced there is then unknown: it is not known to be newer, or refused.
fn comparable(outcome: &Outcome) -> Vec<(Code, Effect)> {
    let is_refused = !outcome.is_accepted();
    let findings = outcome.findings.iter().filter(|(code, _)| !is_refused || *code != OLDER_BUILD);
    let findings = findings.map(|(code, effect)| {
        let is_of_time = is_refused && CODES_OF_TIME.contains(code);
        (*code, if is_of_time { Effect::Warn } else { *effect })
    });
    let mut findings: Vec<_> = findings.collect();
    findings.sort_unstable();
    findings
}

/// The order of containers and volumes changes neither the findings nor the changes to the object.
///
/// # Errors
/// If it does not hold.
pub fn the_order_of_containers_does_not_matter(case: &Case) -> Result<(), Failure> {
    let request = case.in_another_order();
    let (one, other) = (case.outcome(), &case.outcome_of(&request));
    // An object that is being deleted and has unreadable images is accepted only if the UPDATE does not change it.
    let is_being_deleted = !case.request["oldObject"]["metadata"]["deletionTimestamp"].is_null();
    if is_being_deleted && one.findings.is_empty() && other.findings == [(INVALID_REQUEST, Effect::Deny)] {
        return Ok(());
    }
    let (one_found, other_found) = (comparable(one), comparable(other));
    ensure!(one_found == other_found, "the findings differ:\n{one}\n{other}");
    let changed = |outcome: &Outcome, request: &Value| -> Result<_, Failure> {
        let Some(object) = well_formed(&outcome.response)?.mutated_object else { return Ok(Default::default()) };
        let Changes { images, mut annotations } = changes(case, request, &object)?;
        let mut images: Vec<_> = images.into_iter().map(|(_, before, after)| (before, after)).collect();
        images.sort_unstable();
        // For two containers of the same name, the first one decides.
        annotations.retain(|(template, _), _| has_unique_names(&object, template));
        for ((_, key), value) in &mut annotations {
            if key == RESOLVED {
                *value = value.as_deref().map(sorted);
            }
        }
        Ok((images, annotations))
    };
    let is_equal = changed(one, &case.request)? == changed(other, &request)?;
    ensure!(is_equal, "the changes differ:\n{one}\n{other}");
    Ok(())
}

/// The policy adds digests to images and writes annotations with digests, and changes nothing else. A second evaluation changes
/// nothing more and accepts the object. The exception are settings with an image pattern that matches the name only with, or
/// only without, a digest.
///
/// # Errors
/// If it does not hold.
pub fn a_rewritten_object_is_accepted_unchanged(case: &Case) -> Result<(), Failure> {
    let outcome = case.outcome();
    let Some(object) = well_formed(&outcome.response)?.mutated_object else { return Ok(()) };
    let Changes { images, annotations } = changes(case, &case.request, &object)?;
    for (_, before, after) in &images {
        let is_pinned = after.strip_prefix(before.as_str()).is_some_and(|digest| digest.starts_with("@sha"));
        ensure!(is_pinned, "`{before}` is rewritten to `{after}`; expected an added digest");
    }
    for ((template, key), value) in &annotations {
        // Records that an UPDATE removes are restored with their time, which a user may have written.
        let before = case.request["oldObject"].pointer(template).map(|before| &before["metadata"]["annotations"][key]);
        if key != RECORDED_AT || before.and_then(Value::as_str) != value.as_deref() {
            check_annotation(&object, template, key, value.as_deref())?;
        }
    }
    // Of two containers of the same name, which Kubernetes rejects, only one has a record.
    let is_possible = case.templates.iter().all(|template| has_unique_names(&object, template));
    let mut request = case.request.clone();
    request["object"] = object;
    let again = case.outcome_of(&request);
    let is_changed_again = match well_formed(&again.response)?.mutated_object {
        // Only the time may change again: it is removed if all digests are in the image fields now, and renewed with records that
        // come with another change.
        Some(object) => {
            let Changes { images, annotations } = changes(case, &request, &object)?;
            !images.is_empty() || !annotations.keys().all(|(_, key)| key == RECORDED_AT)
        }
        None => false,
    };
    ensure!(!is_changed_again || !is_possible, "the second evaluation changes the object:\n{outcome}\n{again}");
    let patterns = patterns(&case.settings);
    let is_distinguished = |before: &str, after: &str| {
        let (Ok(before), Ok(after)) = (Reference::parse(before), Reference::parse(after)) else { return false };
        let (before, after) = (before.normalized(), after.normalized());
        patterns.iter().any(|pattern| pattern.matches(&before) != pattern.matches(&after))
    };
    let mut recorded = annotations.iter().filter_map(|((template, key), value)| {
        Some((images_of_record(&request["object"], template, key), value.as_deref()?))
    });
    let are_distinguished = images.iter().any(|(_, before, after)| is_distinguished(before, after))
        || recorded.any(|(images, record)| images.iter().any(|image| is_distinguished(image, record)));
    let may_be_denied = are_distinguished || !is_possible;
    ensure!(again.is_accepted() || may_be_denied, "the rewritten object is denied:\n{outcome}\n{again}");
    Ok(())
}

/// Checks an annotation that the policy writes. A record has an image of its pod template, with a digest. The list of resolved
/// containers has only containers of the pod.
fn check_annotation(object: &Value, template: &str, key: &str, value: Option<&str>) -> Result<(), Failure> {
    let Some(value) = value else { return Ok(()) };
    match key {
        RECORDED_AT => {
            let is_time = DateTime::parse_from_rfc3339(value).is_ok() && value.ends_with('Z') && value.len() == 27;
            ensure!(is_time, "{key}: {value}: expected a time as Kubernetes writes it");
        }
        RESOLVED => {
            let is_known = |name: &str| {
                let (lists, name) =
                    name.strip_prefix("volume/").map_or((&LISTS[..3], name), |name| (&LISTS[3..], name));
                let mut entries = lists.iter().flat_map(|list| object["spec"][*list].as_array().into_iter().flatten());
                entries.any(|entry| entry["name"].as_str().unwrap_or_default() == name)
            };
            ensure!(value.split(',').all(is_known), "{key}: {value}: expected containers of the pod");
        }
        _ => {
            // A record that an UPDATE removes is restored in its own spelling.
            let record = Reference::parse(value).ok().filter(|record| record.digest().is_some());
            let matches = |image: &&str| {
                let Ok(image) = Reference::parse(image) else { return false };
                let tagged = record.as_ref().and_then(Reference::tagged);
                image.digest().is_none() && tagged.is_some() && tagged == image.tagged()
            };
            let images = images_of_record(object, template, key);
            ensure!(
                images.iter().any(matches),
                "{key}: {value}: expected a record of one of {images:?} in {template:?}"
            );
        }
    }
    Ok(())
}

/// Records are written for users only. They are not written for Kubernetes' own controllers or the audit scanner, nor into a
/// ReplicaSet of a controller.
///
/// # Errors
/// If it does not hold.
pub fn records_are_written_for_users_only(case: &Case) -> Result<(), Failure> {
    let outcome = case.outcome();
    let Some(object) = well_formed(&outcome.response)?.mutated_object else { return Ok(()) };
    let Changes { annotations, .. } = changes(case, &case.request, &object)?;
    // When a digest is written into an image field, its record is removed.
    if annotations.iter().all(|((_, key), value)| key == RESOLVED || value.is_none()) {
        return Ok(());
    }
    ensure!(!is_controller(case), "a record is written for a controller: {outcome}");
    let is_of_controller = case.request["kind"]["kind"] == "ReplicaSet"
        && object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|owner| owner["controller"] == true);
    ensure!(!is_of_controller, "a record is written into a ReplicaSet of a controller: {outcome}");
    Ok(())
}

/// If the settings never pin, a record on a pod changes nothing, because only the image field is judged. On a pod of
/// Kubernetes' own controllers it names the admitted digest.
///
/// # Errors
/// If it does not hold.
pub fn a_record_on_a_pod_does_not_count_as_a_digest(case: &Case) -> Result<(), Failure> {
    let action = &case.settings["pinning"]["action"];
    let may_pin = case.settings["overrides"].to_string().contains("pin")
        || !["deny", "warn", "off"].contains(&action.as_str().unwrap_or_default());
    // An UPDATE that changes metadata only follows other rules.
    let is_update = case.request["operation"] == "UPDATE";
    if may_pin || is_update || case.request["kind"]["kind"] != "Pod" || is_controller(case) {
        return Ok(());
    }
    let Some(request) = case.with_records() else { return Ok(()) };
    let (before, after) = (case.outcome(), &case.outcome_of(&request));
    ensure!(before.response == after.response, "a record on a pod changes the response:\n{before}\n{after}");
    ensure!(before.host_calls == after.host_calls, "a record on a pod changes the host calls:\n{before}\n{after}");
    Ok(())
}

/// Whether the requester is one of Kubernetes' own controllers.
fn is_controller(case: &Case) -> bool {
    let user = case.request["userInfo"]["username"].as_str().unwrap_or_default();
    user == "system:kube-controller-manager"
        || user.starts_with("system:serviceaccount:kube-system:") && user.ends_with("-controller")
}

/// An annotation about scans that a requester adds to a pod never turns a denial into acceptance, unless the settings trust
/// annotations or change how missing evidence is treated.
///
/// # Errors
/// If it does not hold.
pub fn an_annotation_of_the_requester_hides_no_denial(case: &Case) -> Result<(), Failure> {
    let settings = case.settings.to_string();
    let before = case.outcome();
    // An annotation can cause host calls, and those can fail.
    if before.is_accepted() || settings.contains("trust") || settings.contains("evidence") {
        return Ok(());
    }
    let Some(request) = case.with_annotation() else { return Ok(()) };
    let after = case.outcome_of(&request);
    ensure!(!after.is_accepted(), "the annotation turns a denial into acceptance:\n{before}\n{after}");
    Ok(())
}

/// If the settings list registries, the policy contacts no others, whether the workload or the base of an image names them.
///
/// # Errors
/// If it does not hold.
pub fn only_listed_registries_are_contacted(case: &Case) -> Result<(), Failure> {
    let Some(listed) = case.settings["registries"].as_array() else { return Ok(()) };
    let listed: Vec<RegistryPattern> =
        listed.iter().filter_map(|text| RegistryPattern::parse(text.as_str()?).ok()).collect();
    if listed.is_empty() {
        return Ok(());
    }
    for call in &case.outcome().host_calls {
        let image = ["digest ", "manifest ", "config "].iter().find_map(|operation| call.strip_prefix(operation));
        let Some(image) = image else { continue };
        let image = Reference::parse(image).map_err(|error| format!("a host call for `{image}`: {error}"))?;
        ensure!(
            listed.iter().any(|registry| registry.matches(&image)),
            "a host call for a registry that is not listed: {call}\n{case:?}"
        );
    }
    Ok(())
}

/// The response is the one to settings without the entries of overrides and exceptions for other namespaces.
///
/// # Errors
/// If it does not hold.
pub fn entries_for_other_namespaces_have_no_effect(case: &Case) -> Result<(), Failure> {
    let settings = case.settings_of_namespace();
    if settings == case.settings || !case.has_valid_settings() {
        return Ok(());
    }
    let (all, own) = (case.outcome(), &case.outcome_by(&settings));
    ensure!(all.response == own.response, "the responses differ:\n{all}\n{own}\nsettings: {settings:#}");
    let (calls, again) = (&all.host_calls, &own.host_calls);
    ensure!(calls == again, "the host calls differ:\n{calls:#?}\n{again:#?}\nsettings: {settings:#}");
    Ok(())
}

/// The requester writes `metadata.namespace` of the object. Only the namespace of the request counts.
///
/// # Errors
/// If it does not hold.
pub fn the_namespace_in_the_object_does_not_count(case: &Case) -> Result<(), Failure> {
    let one = case.outcome();
    let other = &case.outcome_of(&case.with_namespace_in_objects("staging-eu"));
    ensure!(one.findings == other.findings, "the findings differ:\n{one}\n{other}");
    let (calls, again) = (&one.host_calls, &other.host_calls);
    ensure!(calls == again, "the host calls differ:\n{calls:#?}\n{again:#?}");
    Ok(())
}

/// Any bytes as the payload get a well-formed response, and always the same one.
///
/// # Errors
/// If it does not hold.
pub fn any_payload_gets_a_well_formed_response(payload: &[u8], host: &FakeHost) -> Result<(), Failure> {
    let response = validate(payload, host);
    well_formed(&response)?;
    ensure!(response == validate(payload, host), "the responses differ");
    Ok(())
}

/// The differences between the object of a request and the object that the policy returns.
fn changes(case: &Case, request: &Value, object: &Value) -> Result<Changes, Failure> {
    Changes::between(&request["object"], object, case.templates)
}

/// The items of a comma-separated list, sorted.
fn sorted(list: &str) -> String {
    let mut items: Vec<&str> = list.split(',').collect();
    items.sort_unstable();
    items.join(",")
}

/// The image patterns in settings.
fn patterns(settings: &Value) -> Vec<ImagePattern<'static>> {
    let lists = |key: &str| settings[key].as_array().cloned().unwrap_or_default();
    let entries = [lists("exceptions"), lists("overrides")].concat();
    let named = entries.iter().flat_map(|entry| entry["images"].as_array().cloned().unwrap_or_default());
    let all = lists("exempt").into_iter().chain(named);
    all.filter_map(|pattern| Some(ImagePattern::parse(pattern.as_str()?).ok()?.into_owned())).collect()
}
