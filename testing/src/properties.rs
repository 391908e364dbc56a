//! What holds in every trial, and of every input.

use std::collections::BTreeSet;

use chrono::DateTime;
use container_patch_policy::finding::{Code, Effect};
use container_patch_policy::image::{ImagePattern, Reference, RegistryPattern};
use container_patch_policy::{validate, validate_settings};
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::changes::{Changes, RECORDED_AT, RESOLVED, has_unique_names, images_of};
use crate::request::LISTS;
use crate::trial::Said;
use crate::{Trial, World};

/// The most characters of one warning, and of all of them, that Kubernetes passes on.
const MAX_WARNING: usize = 256;
const MAX_WARNINGS: usize = 4096;
/// Kubernetes repeats a message in events and logs; a finding that is cut to the limit may stand at its end.
const MAX_MESSAGE: usize = 12 * 1024;
/// Log backends take events of at most 100 KiB; an annotation has a twelfth of that.
const MAX_ANNOTATION: usize = 8 * 1024;

/// What breaks a property.
pub type Broken = String;

/// Says what is broken unless something holds.
macro_rules! ensure {
    ($holds:expr, $($broken:tt)+) => {
        if !$holds {
            return Err(format!($($broken)+));
        }
    };
}
pub(crate) use ensure;

/// Something that holds in every trial.
pub type Property = fn(&Trial) -> Result<(), Broken>;

/// The properties of a trial, each with its name.
pub const ALL: [(&str, Property); 9] = [
    ("every answer is well formed and agrees with its findings", every_answer_is_well_formed),
    ("the same is answered the same", the_same_is_answered_the_same),
    ("one more container clears nothing", one_more_container_clears_nothing),
    ("the order of containers does not matter", the_order_of_containers_does_not_matter),
    ("what is rewritten is let in as it is", what_is_rewritten_is_let_in_as_it_is),
    ("records are written for users only", records_are_written_for_users_only),
    ("a record on a pod is not a digest", a_record_on_a_pod_is_not_a_digest),
    ("an annotation of a requester clears nothing", an_annotation_clears_nothing),
    ("only listed registries are asked", only_listed_registries_are_asked),
];

/// Whatever comes in, the policy answers with a `ValidationResponse` of Kubewarden whose parts agree with each other, and with
/// what was found. What cannot be read is let in by nothing.
///
/// # Errors
/// What breaks it.
pub fn every_answer_is_well_formed(trial: &Trial) -> Result<(), Broken> {
    let said = trial.said();
    let response = well_formed(&said.response)?;
    ensure!(response.accepted == said.accepts(), "the verdict is another than the findings have it: {said}");
    let is_unreadable = |code: &Code| matches!(code, Code::InvalidRequest | Code::InvalidSettings);
    let is_let_in = said.findings.iter().any(|(code, effect)| is_unreadable(code) && *effect == Effect::Warn);
    ensure!(!is_let_in, "what cannot be read is let in: {said}");
    if let Some(object) = &response.mutated_object {
        ensure!(!changes(trial, &trial.request, object)?.is_empty(), "nothing is changed: {said}");
    }
    Ok(())
}

/// The same input is answered with the same bytes, after the same questions in the same order.
///
/// # Errors
/// What breaks it.
pub fn the_same_is_answered_the_same(trial: &Trial) -> Result<(), Broken> {
    let (first, second) = (trial.said(), &trial.said_of(&trial.request));
    ensure!(first.response == second.response, "there are two answers:\n{first}\n{second}");
    ensure!(first.asked == second.asked, "it is asked in two ways:\n{:#?}\n{:#?}", first.asked, second.asked);
    let distinct: BTreeSet<&String> = first.asked.iter().collect();
    ensure!(distinct.len() == first.asked.len(), "something is asked twice: {:#?}", first.asked);
    Ok(())
}

/// A container, or volume, that is added anywhere never turns a denial into acceptance, whatever its name and image. Where the
/// object can still be read, and the settings as far as it needs them, every denial of before is still there.
///
/// # Errors
/// What breaks it.
pub fn one_more_container_clears_nothing(trial: &Trial) -> Result<(), Broken> {
    let before = trial.said();
    // A record that no image uses is judged on its own; one more container may use it, or have it removed.
    let has_records = trial.request["object"].to_string().contains("pin.container-patch.dev/");
    let is_refused = !before.accepts() && !has_records;
    let Some(request) = trial.with_addition().filter(|_| is_refused) else { return Ok(()) };
    let after = trial.said_of(&request);
    ensure!(!after.accepts(), "one more lets the others in:\n{before}\n{after}");
    let is_unread = |(code, _): &(Code, Effect)| matches!(code, Code::InvalidRequest | Code::InvalidSettings);
    if !after.findings.iter().any(is_unread) {
        let (few, many) = (before.denials(), after.denials());
        let lost = few.iter().find(|(code, count)| many.get(code).unwrap_or(&0) < count);
        ensure!(lost.is_none(), "one more hides {lost:?}:\n{before}\n{after}");
    }
    Ok(())
}

/// The order of containers, and of volumes, changes neither what is found nor what is rewritten and recorded.
///
/// # Errors
/// What breaks it.
pub fn the_order_of_containers_does_not_matter(trial: &Trial) -> Result<(), Broken> {
    let request = trial.in_another_order();
    let (one, other) = (trial.said(), &trial.said_of(&request));
    // Where the images of an object that is being deleted cannot be read, it has to stay as it is.
    let is_being_deleted = !trial.request["oldObject"]["metadata"]["deletionTimestamp"].is_null();
    if is_being_deleted && one.findings.is_empty() && other.findings == [(Code::InvalidRequest, Effect::Deny)] {
        return Ok(());
    }
    ensure!(one.findings == other.findings, "it is judged in two ways:\n{one}\n{other}");
    let changed = |said: &Said, request: &Value| -> Result<_, Broken> {
        let Some(object) = well_formed(&said.response)?.mutated_object else { return Ok(Default::default()) };
        let Changes { images, mut annotations } = changes(trial, request, &object)?;
        let mut images: Vec<_> = images.into_iter().map(|(_, before, after)| (before, after)).collect();
        images.sort_unstable();
        // Of two containers of one name, the first one decides.
        annotations.retain(|(template, _), _| has_unique_names(&object, template));
        for ((_, key), value) in &mut annotations {
            if key == RESOLVED {
                *value = value.as_deref().map(sorted);
            }
        }
        Ok((images, annotations))
    };
    let (one_way, other_way) = (changed(one, &trial.request)?, changed(other, &request)?);
    ensure!(one_way == other_way, "it is changed in two ways:\n{one}\n{other}");
    Ok(())
}

/// What the policy has changed differs from what came in by digests behind images, and by annotations with digests, and by
/// nothing else. Judged anew it is not changed again, and it is let in, unless the settings tell an image with a digest from one
/// without: an image pattern is matched against the whole name.
///
/// # Errors
/// What breaks it.
pub fn what_is_rewritten_is_let_in_as_it_is(trial: &Trial) -> Result<(), Broken> {
    let said = trial.said();
    let Some(object) = well_formed(&said.response)?.mutated_object else { return Ok(()) };
    let Changes { images, annotations } = changes(trial, &trial.request, &object)?;
    for (_, before, after) in &images {
        let is_digest_of_before = after.strip_prefix(before.as_str()).is_some_and(|digest| digest.starts_with("@sha"));
        ensure!(is_digest_of_before, "`{before}` is rewritten to `{after}`");
    }
    for ((template, key), value) in &annotations {
        // Records that an UPDATE lacks come back with the time that they had, which a user may have written.
        let before = trial.request["oldObject"].pointer(template).map(|before| &before["metadata"]["annotations"][key]);
        if key != RECORDED_AT || before.and_then(Value::as_str) != value.as_deref() {
            is_well_annotated(&object, template, key, value.as_deref())?;
        }
    }
    // Of two containers of one name, which Kubernetes refuses, only one has its record.
    let has_records = trial.templates.iter().all(|template| has_unique_names(&object, template));
    let mut request = trial.request.clone();
    request["object"] = object;
    let again = trial.said_of(&request);
    let is_changed_again = match well_formed(&again.response)?.mutated_object {
        // The time alone may change again: that of records whose digests are in the image fields now is a leftover, and records that
        // are brought along with another change are renewed.
        Some(object) => {
            let Changes { images, annotations } = changes(trial, &request, &object)?;
            !images.is_empty() || !annotations.keys().all(|(_, key)| key == RECORDED_AT)
        }
        None => false,
    };
    ensure!(!is_changed_again || !has_records, "it is changed again:\n{said}\n{again}");
    let patterns = patterns(&trial.settings);
    let is_told_apart = |before: &str, after: &str| {
        let (Ok(before), Ok(after)) = (Reference::parse(before), Reference::parse(after)) else { return false };
        let (before, after) = (before.normalized(), after.normalized());
        patterns.iter().any(|pattern| pattern.matches(&before) != pattern.matches(&after))
    };
    let mut recorded = annotations
        .iter()
        .filter_map(|((template, key), value)| Some((images_of(&request["object"], template, key), value.as_deref()?)));
    let are_told_apart = images.iter().any(|(_, before, after)| is_told_apart(before, after))
        || recorded.any(|(images, record)| images.iter().any(|image| is_told_apart(image, record)));
    ensure!(again.accepts() || are_told_apart, "it is refused afterwards:\n{said}\n{again}");
    Ok(())
}

/// Checks an annotation that the policy writes: a record names an image of its pod template with a digest, and the list of what
/// was looked up for a pod names what the pod has.
fn is_well_annotated(object: &Value, template: &str, key: &str, value: Option<&str>) -> Result<(), Broken> {
    let Some(value) = value else { return Ok(()) };
    match key {
        RECORDED_AT => {
            let is_time = DateTime::parse_from_rfc3339(value).is_ok() && value.ends_with('Z') && value.len() == 27;
            ensure!(is_time, "no time of Kubernetes: {key}: {value}");
        }
        RESOLVED => {
            let is_known = |name: &str| {
                let (lists, name) =
                    name.strip_prefix("volume/").map_or((&LISTS[..3], name), |name| (&LISTS[3..], name));
                let mut entries = lists.iter().flat_map(|list| object["spec"][*list].as_array().into_iter().flatten());
                entries.any(|entry| entry["name"].as_str().unwrap_or_default() == name)
            };
            ensure!(value.split(',').all(is_known), "not all of these are in the pod: {key}: {value}");
        }
        _ => {
            let is_about = |image: &&str| {
                let Ok(image) = Reference::parse(image) else { return false };
                let digest = value.strip_prefix(&image.normalized());
                image.digest().is_none() && digest.is_some_and(|digest| digest.starts_with("@sha"))
            };
            let images = images_of(object, template, key);
            ensure!(images.iter().any(is_about), "no record of {images:?} in {template:?}: {key}: {value}");
        }
    }
    Ok(())
}

/// Records are written for users: nothing that Kubernetes' own controllers or the audit scanner ask about gets one, nor does a
/// ReplicaSet of a controller.
///
/// # Errors
/// What breaks it.
pub fn records_are_written_for_users_only(trial: &Trial) -> Result<(), Broken> {
    let said = trial.said();
    let Some(object) = well_formed(&said.response)?.mutated_object else { return Ok(()) };
    let Changes { annotations, .. } = changes(trial, &trial.request, &object)?;
    // A digest that is written into an image takes the place of its record.
    if annotations.iter().all(|((_, key), value)| key == RESOLVED || value.is_none()) {
        return Ok(());
    }
    ensure!(!is_controller(trial), "a record is written for a controller: {said}");
    let is_of_controller = trial.request["kind"]["kind"] == "ReplicaSet"
        && object["metadata"]["ownerReferences"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|owner| owner["controller"] == true);
    ensure!(!is_of_controller, "a record is written into a ReplicaSet of a controller: {said}");
    Ok(())
}

/// Where no rule pins, a record on a pod changes nothing: the image field alone is judged. For Kubernetes' own controllers it says
/// which digest was admitted.
///
/// # Errors
/// What breaks it.
pub fn a_record_on_a_pod_is_not_a_digest(trial: &Trial) -> Result<(), Broken> {
    let action = &trial.settings["pinning"]["action"];
    let may_pin = trial.settings["overrides"].to_string().contains("pin")
        || !["deny", "warn", "off"].contains(&action.as_str().unwrap_or_default());
    // An UPDATE that changes nothing but metadata is treated in another way.
    let is_update = trial.request["operation"] == "UPDATE";
    if may_pin || is_update || trial.request["kind"]["kind"] != "Pod" || is_controller(trial) {
        return Ok(());
    }
    let Some(request) = trial.with_records() else { return Ok(()) };
    let (before, after) = (trial.said(), &trial.said_of(&request));
    ensure!(before.response == after.response, "a record on a pod counts:\n{before}\n{after}");
    ensure!(before.asked == after.asked, "a record on a pod is asked about:\n{before}\n{after}");
    Ok(())
}

/// Whether one of Kubernetes' own controllers asks.
fn is_controller(trial: &Trial) -> bool {
    let user = trial.request["userInfo"]["username"].as_str().unwrap_or_default();
    user == "system:kube-controller-manager"
        || user.starts_with("system:serviceaccount:kube-system:") && user.ends_with("-controller")
}

/// An annotation about scans that a requester adds to a pod never turns a denial into acceptance, unless the settings trust
/// annotations, or let in what cannot be known.
///
/// # Errors
/// What breaks it.
pub fn an_annotation_clears_nothing(trial: &Trial) -> Result<(), Broken> {
    let settings = trial.settings.to_string();
    let before = trial.said();
    // What an annotation says may have to be asked about, and that may fail.
    if before.accepts() || settings.contains("trust") || settings.contains("evidence") {
        return Ok(());
    }
    let Some(request) = trial.with_annotation() else { return Ok(()) };
    let after = trial.said_of(&request);
    ensure!(!after.accepts(), "the annotation lets in what is refused:\n{before}\n{after}");
    Ok(())
}

/// Where the settings list registries, no other one is asked anything, whatever names it: a workload, or an image's base.
///
/// # Errors
/// What breaks it.
pub fn only_listed_registries_are_asked(trial: &Trial) -> Result<(), Broken> {
    let Some(listed) = trial.settings["registries"].as_array() else { return Ok(()) };
    let listed: Vec<RegistryPattern> =
        listed.iter().filter_map(|text| RegistryPattern::parse(text.as_str()?).ok()).collect();
    if listed.is_empty() {
        return Ok(());
    }
    for question in &trial.said().asked {
        let image = ["digest ", "manifest ", "config "].iter().find_map(|call| question.strip_prefix(call));
        let Some(image) = image else { continue };
        let image = Reference::parse(image).map_err(|error| format!("`{image}` is asked about: {error}"))?;
        ensure!(listed.iter().any(|registry| registry.matches(&image)), "{question} is asked:\n{trial:?}");
    }
    Ok(())
}

/// Bytes that need not be a request at all are answered well.
///
/// # Errors
/// What breaks it.
pub fn any_payload_is_answered(payload: &[u8], world: &World) -> Result<(), Broken> {
    let response = validate(payload, world);
    well_formed(&response)?;
    ensure!(response == validate(payload, world), "the same is answered in two ways");
    Ok(())
}

/// Settings, whatever they are, are either valid, or refused with what is wrong. A request that comes with valid ones is judged,
/// and one that comes with others is told the same, unless it needs nothing of what is wrong: they are validated before the
/// first request.
///
/// # Errors
/// What breaks it.
pub fn settings_are_judged_alike(settings: &[u8]) -> Result<(), Broken> {
    let response = validate_settings(settings, &Trial::new(&[]).world);
    let response: SettingsValidationResponse = serde_json::from_slice(&response)
        .map_err(|error| format!("{} is no answer: {error}", String::from_utf8_lossy(&response)))?;
    let valid = response.valid;
    ensure!(valid || response.message.is_some(), "what is wrong is not said: {response:?}");
    let Ok(raw) = serde_json::from_slice::<&RawValue>(settings) else {
        ensure!(!valid, "settings that are no JSON are valid");
        // Only JSON can come with a request.
        return Ok(());
    };
    let pod =
        r#"{"kind": {"group": "", "version": "v1", "kind": "Pod"}, "operation": "CREATE", "object": {"spec": {}}}"#;
    let payload = format!(r#"{{"settings": {raw}, "request": {pod}}}"#);
    let answer = well_formed(&validate(payload.as_bytes(), &Trial::new(&[]).world))?;
    let told = response.message.filter(|_| !valid).map(|message| format!("{message} [invalid-settings]"));
    ensure!(answer.accepted || told == answer.message, "they are judged in two ways:\n{told:?}\n{answer:?}");
    Ok(())
}

/// Checks that a response is one, and that its parts agree.
///
/// # Errors
/// What is wrong with it.
pub fn well_formed(response: &[u8]) -> Result<ValidationResponse, Broken> {
    let text = String::from_utf8_lossy(response);
    let fail = |what: &str| Err(format!("{what}: {text}"));
    let read: ValidationResponse =
        serde_json::from_slice(response).map_err(|error| format!("this is no ValidationResponse, {error}: {text}"))?;
    let annotations = read.audit_annotations.as_ref().ok_or_else(|| format!("it has no audit annotations: {text}"))?;
    if read.accepted == read.message.is_some() {
        return fail("a message comes with denials, and with nothing else");
    }
    if read.mutated_object.is_some() && !read.accepted {
        return fail("what is refused is rewritten");
    }
    let warnings = read.warnings.as_deref().unwrap_or_default();
    let lengths: Vec<usize> = warnings.iter().map(|warning| warning.chars().count()).collect();
    if lengths.iter().any(|length| *length > MAX_WARNING) || lengths.iter().sum::<usize>() > MAX_WARNINGS {
        return fail("Kubernetes cuts these warnings off");
    }
    let message = read.message.as_deref().unwrap_or_default();
    if read.message.is_some() && !lines_end_with_codes(message) {
        return fail("a line of the message does not end with a code");
    }
    if message.len() > MAX_MESSAGE && !message.ends_with("[invalid-settings]") {
        return fail("the message is too long");
    }
    if !warnings
        .iter()
        .enumerate()
        .all(|(index, line)| ends_with_code(line) || (index + 1 == warnings.len() && counts(line)))
    {
        return fail("a warning does not end with a code");
    }
    if warnings.iter().any(|warning| warning.contains(char::is_control)) {
        return fail("a warning holds a control character");
    }
    if annotations.iter().any(|(key, value)| key != "breakGlass" && value.len() > MAX_ANNOTATION) {
        return fail("an audit annotation is too long");
    }
    let findings: Vec<Value> = match annotations.get("findings") {
        Some(list) => serde_json::from_str(list).map_err(|error| format!("findings are no list, {error}: {text}"))?,
        None => Vec::new(),
    };
    if let Some(list) = annotations.get("images") {
        serde_json::from_str::<Vec<Value>>(list).map_err(|error| format!("images are no list, {error}: {text}"))?;
    }
    let verdict = match (read.accepted, findings.is_empty()) {
        (false, _) => "denied",
        (true, false) => "warned",
        (true, true) => "accepted",
    };
    if annotations.get("verdict").map(String::as_str) != Some(verdict) {
        return fail("the annotation `verdict` says something else");
    }
    let is_whole = findings.iter().all(|finding| finding.get("omitted").is_none());
    let has_denial = findings.iter().any(|finding| finding["effect"] == "deny");
    if (is_whole && has_denial == read.accepted) || (has_denial && read.accepted) {
        return fail("the findings do not agree with the verdict");
    }
    if is_whole && findings.iter().filter(|finding| finding["effect"] == "warn").count() < warnings.len() {
        return fail("there are more warnings than findings that warn");
    }
    Ok(read)
}

/// Every line is a finding, but for a last one that counts those that are left out. Of settings all that is wrong is told, on
/// more lines.
fn lines_end_with_codes(message: &str) -> bool {
    let mut lines: Vec<&str> = message.lines().collect();
    if message.ends_with("[invalid-settings]") && message.starts_with("the settings of this policy are not valid:\n") {
        return true;
    }
    if lines.last().is_some_and(|line| counts(line)) && lines.len() > 1 {
        lines.pop();
    }
    !lines.is_empty() && lines.iter().all(|line| ends_with_code(line) && !line.contains(char::is_control))
}

fn ends_with_code(line: &str) -> bool {
    let code = line.strip_suffix(']').and_then(|line| line.rsplit_once(" [")).map(|(_, code)| code);
    code.is_some_and(|code| Code::ALL.iter().any(|known| known.as_str() == code))
}

fn counts(line: &str) -> bool {
    let number = line.strip_prefix("… and ").and_then(|line| line.strip_suffix(" more findings"));
    number.is_some_and(|number| number.parse::<usize>().is_ok())
}

/// What differs between the object of a request and the same after the policy changed it.
fn changes(trial: &Trial, request: &Value, object: &Value) -> Result<Changes, Broken> {
    Changes::between(&request["object"], object, trial.templates)
}

/// A list between commas, in the order of the alphabet.
fn sorted(list: &str) -> String {
    let mut items: Vec<&str> = list.split(',').collect();
    items.sort_unstable();
    items.join(",")
}

/// The image patterns of some settings.
fn patterns(settings: &Value) -> Vec<ImagePattern<'static>> {
    let lists = |key: &str| settings[key].as_array().cloned().unwrap_or_default();
    let entries = [lists("exceptions"), lists("overrides")].concat();
    let named = entries.iter().flat_map(|entry| entry["images"].as_array().cloned().unwrap_or_default());
    let all = lists("exempt").into_iter().chain(named);
    all.filter_map(|pattern| Some(ImagePattern::parse(pattern.as_str()?).ok()?.into_owned())).collect()
}
