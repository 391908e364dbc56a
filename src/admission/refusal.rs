//! Findings about the request as a whole, and about references that no rule judges.

use crate::evidence::{EVIDENCE_UNAVAILABLE, UNKNOWN_REGISTRY};
use crate::finding::{Effect, Finding, INVALID_REQUEST, Violation};
use crate::image::{Reference, ReferenceError, RegistryPattern};
use crate::request::AdmissionRequest;
use crate::rules::waiver::EXCEPTED;
use crate::sanitized::Sanitized;
use crate::workload::site::{ImageSite, Workload};
use crate::workload::{INVALID_REFERENCE, UNKNOWN_KIND, Unlisted};

/// The most images of one object. A 3 MiB object can name 200,000 images, each costing host calls and findings.
const MAX_IMAGES: usize = 1024;

/// The most registries that a message lists.
const MAX_SHOWN_REGISTRIES: usize = 5;

pub(super) fn not_a_request(cause: &str) -> Finding {
    Finding::about_request(INVALID_REQUEST, format!("invalid admission request: {cause}"))
}

pub(super) fn not_an_object(request: &AdmissionRequest<'_>, cause: &str) -> Finding {
    let text = format!("invalid {}: {cause}", Sanitized(&request.kind.kind));
    Finding::about_request(INVALID_REQUEST, text)
}

pub(super) fn no_object(request: &AdmissionRequest<'_>) -> Finding {
    let (operation, kind) = (Sanitized(&request.operation), Sanitized(&request.kind.kind));
    let text = format!("this {operation} request for a {kind} has no object to judge");
    Finding::about_request(INVALID_REQUEST, text)
}

pub(super) fn not_rewritten() -> Finding {
    Finding::about_request(INVALID_REQUEST, "the images of this object cannot be rewritten")
}

pub(super) fn unlisted(request: &AdmissionRequest<'_>, cause: Unlisted) -> Finding {
    match cause {
        Unlisted::Malformed(cause) => Finding::about_request(INVALID_REQUEST, cause),
        Unlisted::UnknownKind => {
            let (api_version, kind) = (request.kind.api_version(), &request.kind.kind);
            let (api_version, kind) = (Sanitized(&api_version), Sanitized(kind));
            let text = format!(
                "unsupported kind `{api_version}` {kind}; add the path of its pod template to `customWorkloads`, \
                 `- {{apiVersion: {api_version}, kind: {kind}, podTemplate: /spec/template}}`, or remove {kind} from the rules of \
                 the policy"
            );
            Finding::about_request(UNKNOWN_KIND, text)
        }
    }
}

/// Checks that an object does not name too many images.
pub(super) fn check_size(request: &AdmissionRequest<'_>, workload: &Workload<'_>) -> Result<(), Finding> {
    let count = workload.sites.len();
    if count <= MAX_IMAGES {
        return Ok(());
    }
    let kind = Sanitized(&request.kind.kind);
    let text =
        format!("this {kind} names {count} images, over the limit of {MAX_IMAGES}; spread them over several objects");
    Err(Finding::about_request(INVALID_REQUEST, text))
}

/// The finding for a reference that cannot be parsed. No rule can judge it, so it is denied whatever the rules are.
pub(super) fn invalid_reference(site: &ImageSite<'_>, error: &ReferenceError) -> Finding {
    let text = format!("is an invalid image reference: {error}");
    let violation = Violation { code: INVALID_REFERENCE, effect: Effect::Deny, text };
    Finding::about_image(site.to_string(), Sanitized(&site.image).to_string(), violation)
}

/// The finding for an image on a registry that `registries` does not list. The registry is not contacted.
#[cold]
pub(super) fn unknown_registry(image: &Reference<'_>, registries: &[RegistryPattern], effect: Effect) -> Violation {
    let host = image.normalized_registry();
    let (host, repository) = (Sanitized(&host), image.repository());
    let mut known: Vec<String> = Vec::new();
    for registry in registries {
        let shown = format!("`{registry}`");
        if !known.contains(&shown) {
            known.push(shown);
        }
    }
    if let Some(more) = known.len().checked_sub(MAX_SHOWN_REGISTRIES).filter(|more| *more > 0) {
        known.truncate(MAX_SHOWN_REGISTRIES);
        known.push(if more == 1 { "1 other".to_owned() } else { format!("{more} others") });
    }
    let known = match known.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => known.concat(),
    };
    let (fact, add) = if registries.iter().any(|registry| registry.matches_host(image)) {
        let place = format!("`{host}/{}`", Sanitized(&repository));
        (format!("is in {place}, and `registries` lists other repositories of that registry"), place)
    } else {
        (format!("is on `{host}`, which `registries` does not list"), format!("`{host}`"))
    };
    let text = format!("{fact}; use an image from {known}, or ask the cluster admin to add {add}");
    Violation { code: UNKNOWN_REGISTRY, effect, text }
}

/// Whether the failures of registries are logged. A question that was asked only for advice does not count as a failure.
pub(super) fn is_about_a_failure(finding: &Finding) -> bool {
    [EVIDENCE_UNAVAILABLE, EXCEPTED].contains(&finding.code)
}
