//! The way of one request, top to bottom.

use std::cell::OnceCell;

use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::value::RawValue;

use crate::enforcement::{self, Scope};
use crate::evidence::build_date::{BuildDate, build_date};
use crate::evidence::registry::{Answer, Registry};
use crate::finding::{Code, Effect, Finding};
use crate::host::Host;
use crate::image::Reference;
use crate::mutation;
use crate::request::{AdmissionRequest, Payload};
use crate::rules::Ruling;
use crate::rules::base_image::{Base, BaseImage, Currency, base_of};
use crate::rules::pinning::{self, Decision};
use crate::settings::read::Problems;
use crate::settings::{Rules, Settings};
use crate::shown::Shown;
use crate::verdict::{JudgedImage, Verdict};
use crate::workload::{self, ImageSite, Placement, Unlisted};

/// Judges the payload of waPC's `validate`.
#[must_use]
pub fn evaluate(payload: &[u8], host: &dyn Host) -> Verdict {
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
    let verdict = judge(&payload.request, &settings, host);
    match settings.evaluate_at {
        Some(time) => verdict.preceded_by(Finding::warning(
            Code::EvaluateAtSet,
            format!("this policy judges as if it were {}; take `evaluateAt` out of its settings", timestamp(time)),
        )),
        None => verdict,
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

fn judge(request: &AdmissionRequest<'_>, settings: &Settings, host: &dyn Host) -> Verdict {
    match enforcement::scope(request) {
        Ok(Scope::LetThrough) => return Verdict::default(),
        Ok(Scope::Judged) => {}
        Err(cause) => {
            let text = format!("this {} is no Kubernetes object: {cause}", Shown(&request.kind.kind));
            return Verdict::deny(Code::InvalidRequest, text);
        }
    }
    let Some(object) = request.object() else {
        let (operation, kind) = (Shown(&request.operation), Shown(&request.kind.kind));
        let text = format!("this {operation} request for a {kind} holds no object to judge");
        return Verdict::deny(Code::InvalidRequest, text);
    };
    let sites = match workload::image_sites(&request.kind, object, &settings.custom_workloads) {
        Ok(sites) => sites,
        Err(Unlisted::UnknownKind) => return Verdict::deny(Code::UnknownKind, unknown_kind(request)),
        Err(Unlisted::Malformed(cause)) => return Verdict::deny(Code::InvalidRequest, cause),
    };
    let mut judge = Judge {
        request,
        settings,
        object,
        old: OnceCell::new(),
        placement: Placement::of(&request.kind),
        now: settings.evaluate_at.unwrap_or_else(|| host.now()),
        registry: Registry::new(host),
        findings: Vec::new(),
        images: Vec::with_capacity(sites.len()),
        edits: Vec::new(),
    };
    for site in &sites {
        judge.site(site);
    }
    judge.verdict()
}

fn unknown_kind(request: &AdmissionRequest<'_>) -> String {
    let (api_version, kind) = (request.kind.api_version(), &request.kind.kind);
    let (api_version, kind) = (Shown(&api_version), Shown(kind));
    format!(
        "`{api_version}` {kind} is no kind whose images this policy knows how to find; add to `customWorkloads` where its \
         pod template is, `- {{apiVersion: {api_version}, kind: {kind}, podTemplate: /spec/template}}`, or take {kind} out \
         of the rules of the policy"
    )
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Judges the image sites of one object, one after the other.
struct Judge<'r> {
    request: &'r AdmissionRequest<'r>,
    settings: &'r Settings,
    object: &'r RawValue,
    /// The image sites of the earlier state, read when the first one is asked for.
    old: OnceCell<Vec<ImageSite<'r>>>,
    placement: Placement,
    now: DateTime<Utc>,
    registry: Registry<'r>,
    findings: Vec<Finding>,
    images: Vec<JudgedImage>,
    edits: Vec<(std::ops::Range<usize>, String)>,
}

impl Judge<'_> {
    fn site(&mut self, site: &ImageSite<'_>) {
        let mut judged = JudgedImage::at(site);
        match Reference::parse(&site.image) {
            Ok(image) => {
                judged.image = image.normalized();
                judged.exempt = self.settings.exempts(&judged.image);
                if !judged.exempt {
                    let rules = self.settings.rules_for(&judged.image);
                    self.image(site, &image, rules, &mut judged);
                }
            }
            Err(error) => self.findings.push(Finding::invalid_reference(site, &error)),
        }
        self.images.push(judged);
    }

    fn image(&mut self, site: &ImageSite<'_>, image: &Reference<'_>, rules: Rules<'_>, judged: &mut JudgedImage) {
        judged.digest = image.digest().map(|digest| digest.as_str().to_owned());
        match rules.pinning.decide(image, self.placement) {
            Decision::LeaveAlone => {}
            Decision::Refuse(ruling) => self.rule(site, ruling),
            Decision::Report(effect) => {
                // The digest is advice here. Without it there is a finding all the same.
                judged.digest = self.registry.digest(&image.registry_name()).ok();
                self.rule(site, pinning::unpinned(image, judged.digest.as_deref(), effect));
            }
            // What was let in once is not rewritten behind the back of whoever changes something else.
            Decision::Pin if self.is_unchanged(site) => {}
            Decision::Pin => match self.registry.digest(&image.registry_name()) {
                Ok(digest) => {
                    match site.span(self.object) {
                        Some(span) => self.edits.push((span, pinning::pinned(image, &digest))),
                        None => return self.rule(site, Ruling::unplaced()),
                    }
                    judged.digest = Some(digest);
                }
                Err(cause) => return self.unavailable(site, Effect::Deny, &cause),
            },
        }
        // What was judged is what is written: from here on the image is known by its digest.
        let name = match &judged.digest {
            Some(digest) => image.with_digest(digest),
            None => image.registry_name(),
        };
        self.age_and_base(site, image, &name, rules, judged);
    }

    /// Whether the earlier state has this image at this site. What it does not show counts as changed.
    fn is_unchanged(&self, site: &ImageSite<'_>) -> bool {
        let read = || {
            let old = self.request.old_object()?;
            workload::image_sites(&self.request.kind, old, &self.settings.custom_workloads).ok()
        };
        site.is_unchanged_from(self.old.get_or_init(|| read().unwrap_or_default()))
    }

    fn age_and_base(
        &mut self,
        site: &ImageSite<'_>,
        written: &Reference<'_>,
        name: &str,
        rules: Rules<'_>,
        judged: &mut JudgedImage,
    ) {
        let asking = rules.schedule.action.effect().max(rules.base_image.action.effect());
        let Some(asking) = asking else { return };
        let image = match self.registry.image(name) {
            Ok(image) => image,
            Err(cause) => return self.unavailable(site, asking, &cause),
        };
        let built = build_date(image, self.now);
        let base = base_of(image);
        if let BuildDate::At(date) = built {
            judged.built = Some(timestamp(date));
        }
        if let Some(ruling) = rules.schedule.judge(&built, self.now) {
            self.rule(site, ruling);
        }
        let Some(asking) = rules.base_image.action.effect() else { return };
        let currency = match base.map(|base| self.currency(&base, written, rules.base_image)) {
            Ok(Ok(currency)) => currency,
            Ok(Err(cause)) => return self.unavailable(site, asking, &format!("its base is not known: {cause}")),
            Err(reason) => Currency::Unknown(reason),
        };
        if let Some(ruling) = rules.base_image.judge(&currency, &built, self.now) {
            self.rule(site, ruling);
        }
    }

    /// How a base stands to what its name points at now.
    fn currency(&mut self, base: &Base, image: &Reference<'_>, rule: &BaseImage) -> Answer<Currency> {
        let reference = Reference::parse(&base.name).map_err(|error| error.to_string())?;
        if !rule.may_ask(&reference, image) {
            return Ok(Currency::Unknown(format!(
                "names its base `{}`, on a registry that is not among `baseImage.registries`; add it there",
                Shown(&base.name)
            )));
        }
        let newest = self.registry.digest(&reference.registry_name())?;
        if newest == base.digest {
            return Ok(Currency::Current);
        }
        let newest = reference.with_digest(&newest);
        if self.registry.manifests(&newest)?.contains(&base.digest) {
            return Ok(Currency::Current);
        }
        let newer = build_date(self.registry.image(&newest)?, self.now);
        Ok(Currency::Outdated { base: base.name.clone(), newer })
    }

    fn rule(&mut self, site: &ImageSite<'_>, ruling: Ruling) {
        self.findings.push(Finding::about_site(site, ruling));
    }

    /// An image that a registry could not be asked about. That bites no harder than the rule that asked would.
    fn unavailable(&mut self, site: &ImageSite<'_>, asking: Effect, cause: &str) {
        let text = format!("cannot be judged: {cause}");
        let effect = self.settings.enforcement.evidence_errors.min(asking);
        self.rule(site, Ruling { code: Code::EvidenceUnavailable, effect, text });
    }

    fn verdict(self) -> Verdict {
        let verdict = Verdict::of(self.findings, self.images);
        if self.edits.is_empty() {
            return verdict;
        }
        match mutation::rewrite(self.object, self.edits) {
            Some(object) => verdict.with_object(object),
            None => Verdict::deny(Code::InvalidRequest, "the images of this object cannot be rewritten"),
        }
    }
}

#[cfg(test)]
mod tests;
