//! The way of one request, top to bottom.

use serde_json::value::RawValue;

use crate::enforcement::{self, Scope};
use crate::finding::{Code, Finding};
use crate::image::Reference;
use crate::request::{AdmissionRequest, Payload};
use crate::settings::Settings;
use crate::settings::read::Problems;
use crate::shown::Shown;
use crate::verdict::{JudgedImage, Verdict};
use crate::workload::{self, ImageSite, Unlisted};

/// Judges the payload of waPC's `validate`.
#[must_use]
pub fn evaluate(payload: &[u8]) -> Verdict {
    let payload = match Payload::parse(payload) {
        Ok(payload) => payload,
        Err(cause) => {
            return Verdict::deny(Code::InvalidRequest, format!("this is no admission request: {cause}"));
        }
    };
    let settings = match payload.settings.map_or_else(|| Ok(Settings::default()), Settings::from_json) {
        Ok(settings) => settings,
        Err(problems) => return Verdict::deny(Code::InvalidSettings, invalid_settings(&problems)),
    };
    match enforcement::scope(&payload.request) {
        Ok(Scope::LetThrough) => Verdict::default(),
        Ok(Scope::Judged) => match sites(&payload.request, &settings) {
            Ok(sites) => judge(&payload.request, &sites, &settings),
            Err(finding) => Verdict::of(vec![finding], vec![]),
        },
        Err(cause) => Verdict::deny(Code::InvalidRequest, not_an_object(&payload.request, &cause)),
    }
}

/// What is said of settings that are not valid, by `validate_settings` and to each request that comes with them.
#[must_use]
pub fn invalid_settings(problems: &Problems) -> String {
    format!("the settings of this policy are not valid:\n{problems}")
}

/// Judges the settings alone, as waPC's `validate_settings` gets them.
///
/// # Errors
/// What is said of settings that are not valid.
pub fn check_settings(json: &[u8]) -> Result<(), String> {
    let json: &RawValue =
        serde_json::from_slice(json).map_err(|error| format!("the settings of this policy are no JSON: {error}"))?;
    Settings::from_json(json).map(|_| ()).map_err(|problems| invalid_settings(&problems))
}

fn not_an_object(request: &AdmissionRequest<'_>, cause: &str) -> String {
    format!("this {} is no Kubernetes object: {cause}", Shown(&request.kind.kind))
}

fn sites<'a>(request: &'a AdmissionRequest<'_>, settings: &'a Settings) -> Result<Vec<ImageSite<'a>>, Finding> {
    let Some(object) = request.object() else {
        let text = format!(
            "this {} request for a {} holds no object to judge",
            Shown(&request.operation),
            Shown(&request.kind.kind)
        );
        return Err(Finding::about_request(Code::InvalidRequest, text));
    };
    workload::image_sites(&request.kind, object, &settings.custom_workloads).map_err(|error| match error {
        Unlisted::UnknownKind => {
            let (api_version, kind) = (request.kind.api_version(), &request.kind.kind);
            let (api_version, kind) = (Shown(&api_version), Shown(kind));
            Finding::about_request(
                Code::UnknownKind,
                format!(
                    "`{api_version}` {kind} is no kind whose images this policy knows how to find; add to \
                     `customWorkloads` where its pod template is, `- {{apiVersion: {api_version}, kind: {kind}, \
                     podTemplate: /spec/template}}`, or take {kind} out of the rules of the policy"
                ),
            )
        }
        Unlisted::Malformed(cause) => Finding::about_request(Code::InvalidRequest, cause),
    })
}

fn judge(request: &AdmissionRequest<'_>, sites: &[ImageSite<'_>], settings: &Settings) -> Verdict {
    let in_template = !workload::is_pod(&request.kind);
    let mut findings = Vec::new();
    let mut images = Vec::with_capacity(sites.len());
    for site in sites {
        let name = match Reference::parse(&site.image) {
            Ok(image) => {
                let name = image.normalized();
                let exempt = settings.exempts(&name);
                if !exempt {
                    let ruling = settings.rules_for(&name).pinning.judge(&image, in_template);
                    findings.extend(ruling.map(|ruling| Finding::about_site(site, ruling)));
                }
                JudgedImage { site: site.to_string(), image: name, exempt }
            }
            Err(error) => {
                let image = Shown(&site.image).to_string();
                findings.push(Finding::invalid_reference(site, &error));
                JudgedImage { site: site.to_string(), image, exempt: false }
            }
        };
        images.push(name);
    }
    Verdict::of(findings, images)
}
