//! Evaluates one admission request: parse, scope, images, rules, enforcement, response.

mod images;
mod refusal;

use std::cell::OnceCell;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::enforcement::scope::{Scope, scope};
use crate::evidence::Evidence;
use crate::finding::Finding;
use crate::host::Host;
use crate::request::{AdmissionRequest, Payload};
use crate::response::Verdict;
use crate::rules::rule::Context;
use crate::rules::{self, RuleAnnotations, Rules};
use crate::settings::{General, RawSettings, RequestSettings, SettingsAt};
use crate::workload::Unlisted;
use crate::workload::change;
use crate::workload::identity;
use crate::workload::kinds::Placement;
use crate::workload::records;
use crate::workload::site::Workload;
use crate::{settings, workload};
use images::ImageJudge;

/// Judges the payload of waPC's `validate`.
#[must_use]
pub fn evaluate(payload: &[u8], host: &dyn Host) -> Verdict {
    let Payload { request, settings } = match Payload::<Option<RawSettings<'_>>>::parse(payload) {
        Ok(payload) => payload,
        Err(_) => return Verdict::refusing(unreadable(payload)),
    };
    let settings = match RequestSettings::read(settings, request.namespace()) {
        Ok(settings) => settings,
        Err(problems) => return Verdict::refusing(settings::invalid(payload, &problems)),
    };
    let verdict = judge(&request, &settings, host);
    if settings.is_broken() {
        return Verdict::refusing(settings::invalid(payload, &Default::default()));
    }
    match settings::evaluate_at_warning(settings.general()) {
        Some(warning) => verdict.preceded_by(warning),
        None => verdict,
    }
}

/// The finding for a payload whose request or settings cannot be read.
#[cold]
fn unreadable(payload: &[u8]) -> Finding {
    match Payload::<IgnoredAny>::parse(payload) {
        Ok(_) => settings::invalid(payload, &Default::default()),
        Err(cause) => refusal::not_a_request(&cause),
    }
}

fn judge(request: &AdmissionRequest<'_>, settings: &RequestSettings<'_>, host: &dyn Host) -> Verdict {
    let outcome = match scope(request) {
        Ok(Scope::Accepted) => return Verdict::default(),
        Ok(Scope::JudgedIfChanged) if keeps_images(request, settings) => return Verdict::default(),
        Ok(Scope::Judged | Scope::JudgedIfChanged) => judge_object(request, settings, host),
        Err(cause) => Err(refusal::not_an_object(request, &cause)),
    };
    let verdict = outcome.unwrap_or_else(Verdict::refusing);
    if verdict.is_accepted() || !verdict.is_readable() {
        return verdict;
    }
    verdict.with_break_glass(settings.general().break_glass.attempt(request, host))
}

fn judge_object(
    request: &AdmissionRequest<'_>,
    settings: &RequestSettings<'_>,
    host: &dyn Host,
) -> Result<Verdict, Finding> {
    let general = settings.general();
    let read = |object| read_object(request, general, object);
    let object = request.object().ok_or_else(|| refusal::no_object(request))?;
    let mut workload = read(object).map_err(|cause| refusal::unlisted(request, cause))?;
    refusal::check_size(request, &workload)?;
    // Images that are not in a readable earlier state count as changed.
    let old = request.old_object().filter(|_| request.operation == "UPDATE");
    let mut before = old.and_then(|old| read(old).ok()).unwrap_or_default();
    records::add_unused(&mut before);
    let is_final = OnceCell::new();
    let is_denial_final =
        || *is_final.get_or_init(|| !request.is_audit() && !general.break_glass.is_attempted(request));
    let placement = Placement::of(&request.kind);
    let context = Context { request, object, before: &before, placement, is_denial_final: &is_denial_final };
    let now = general.evaluate_at.unwrap_or_else(|| host.now());
    let failures = general.enforcement.evidence_errors;
    let mut evidence = Evidence::new::<RuleAnnotations>(host, &general.registries, now, failures);
    let rules = Rules::begin(&context, &mut workload, &SettingsAt(settings, now), &mut evidence)?;
    records::add_unused(&mut workload);
    refusal::check_size(request, &workload)?;
    let configured = general.configured_platforms();
    let unchanged = change::unchanged(&workload, &before, configured);
    let mut images = ImageJudge::new(&context, settings, &workload, rules, evidence);
    for (index, (site, is_unchanged)) in workload.sites.iter().zip(unchanged).enumerate() {
        images.judge(index, site, is_unchanged, workload.platforms(site.template(), configured));
    }
    let identity = if is_logged(request) { identity::of(object) } else { None };
    Ok(images.verdict()?.about(identity))
}

/// Whether the request is to create an object, and an API server logs it. The owner and the name of an object never change.
fn is_logged(request: &AdmissionRequest<'_>) -> bool {
    request.operation == "CREATE" && !request.is_audit()
}

/// Reads an object of a request as rules need it.
fn read_object<'r>(
    request: &AdmissionRequest<'_>,
    settings: &'r General,
    object: &'r RawValue,
) -> Result<Workload<'r>, Unlisted> {
    workload::read(&request.kind, object, &settings.custom_workloads, rules::reads_pod_annotation)
}

/// Whether an UPDATE does not change the images of its object.
#[cold]
fn keeps_images(request: &AdmissionRequest<'_>, settings: &RequestSettings<'_>) -> bool {
    let (Some(object), Some(old)) = (request.object(), request.old_object()) else { return false };
    let general = settings.general();
    let read = |object| read_object(request, general, object);
    match (read(object), read(old)) {
        (Ok(now), Ok(before)) => change::keeps_images(now, before, general.configured_platforms()),
        _ => change::changes_only_metadata(object, old),
    }
}

#[cfg(test)]
mod tests;
