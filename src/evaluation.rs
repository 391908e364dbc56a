//! The way of one request, top to bottom.

use std::collections::HashMap;
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::enforcement::break_glass::Door;
use crate::enforcement::exceptions::{Exception, Exceptions};
use crate::enforcement::leniency::{self, Leniency, Reason};
use crate::enforcement::{self, Scope};
use crate::evidence::build_date::{BuildDate, build_date};
use crate::evidence::registry::{ImageFacts, Registry};
use crate::evidence::reports::{self, ReportSource, Reported, Reports};
use crate::evidence::{Answer, annotations};
use crate::finding::{Code, Effect, Finding};
use crate::host::Host;
use crate::image::Reference;
use crate::mutation;
use crate::request::{AdmissionRequest, Payload};
use crate::rules::Ruling;
use crate::rules::base_image::{Base, BaseImage, Currency, base_of};
use crate::rules::pinning::{self, Decision};
use crate::rules::scan::{Evidence, PodAnnotations, Scanning};
use crate::settings::read::Problems;
use crate::settings::value::Treatment;
use crate::settings::{InForce, Rules, Settings};
use crate::shown::Shown;
use crate::verdict::{JudgedImage, JudgedRequest, Verdict};
use crate::workload::{self, ImageSite, Placement, Unlisted, Workload};

/// The most images of one object that are judged. Nobody has so many; without a bound, an object of 3 MiB names two hundred
/// thousand, each with findings of its own and with everything that the pod's annotations say, and host calls for each.
const MOST_IMAGES: usize = 1024;

/// Judges the payload of waPC's `validate`.
#[must_use]
pub fn evaluate(bytes: &[u8], host: &dyn Host) -> Verdict {
    let Payload { request, settings } = match Payload::parse(bytes) {
        Ok(payload) => payload,
        Err(cause) => {
            return Verdict::deny(Code::InvalidRequest, format!("this is no admission request: {cause}"));
        }
    };
    let settings = match InForce::read(settings) {
        Ok(settings) => settings,
        Err(problems) => return not_valid(bytes, &problems),
    };
    let verdict = judge(&request, &settings, host);
    if settings.is_broken() {
        return not_valid(bytes, &Problems::default());
    }
    match settings.sections().evaluate_at {
        Some(time) => verdict.preceded_by(Finding::warning(
            Code::EvaluateAtSet,
            format!("this policy judges as if it were {}; take `evaluateAt` out of its settings", timestamp(time)),
        )),
        None => verdict,
    }
}

/// The denial for settings of which a part cannot be used. It tells all that is wrong with them.
fn not_valid(payload: &[u8], found: &Problems) -> Verdict {
    #[derive(Deserialize)]
    struct Settled<'a> {
        #[serde(borrow)]
        settings: &'a RawValue,
    }
    let all = serde_json::from_slice(payload).ok().and_then(|Settled { settings }| Settings::from_json(settings).err());
    Verdict::deny(Code::InvalidSettings, invalid_settings(all.as_ref().unwrap_or(found)))
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

/// Lets a request that would be refused go on where somebody who may says so.
fn break_the_glass(
    verdict: Verdict,
    request: &AdmissionRequest<'_>,
    settings: &InForce<'_>,
    host: &dyn Host,
) -> Verdict {
    // What cannot be read is let in by nobody.
    let is_readable = verdict.findings().iter().all(|finding| finding.code != Code::InvalidRequest);
    if verdict.is_accepted() || !is_readable {
        return verdict;
    }
    match settings.sections().break_glass.attempt(request, host) {
        Door::NotTried => verdict,
        Door::Opened(opened) => verdict.opened(opened),
        Door::Shut(reason) => verdict.preceded_by(Finding::about_request(Code::BreakGlass, reason)),
    }
}

/// What the audit annotations say of the request itself.
fn judged_request(request: &AdmissionRequest<'_>) -> JudgedRequest {
    let place = [request.namespace(), request.name.as_deref().filter(|name| !name.is_empty())];
    let place: Vec<&str> = place.into_iter().flatten().collect();
    JudgedRequest {
        user: Shown(request.user()).to_string(),
        operation: Shown(&request.operation).to_string(),
        object: format!("{} {}", Shown(&request.kind.kind), Shown(&place.join("/"))).trim_end().to_owned(),
        dry_run: request.dry_run.unwrap_or_default(),
    }
}

fn judge(request: &AdmissionRequest<'_>, settings: &InForce<'_>, host: &dyn Host) -> Verdict {
    let verdict = match enforcement::scope(request) {
        Ok(Scope::LetThrough) => return Verdict::default(),
        Ok(Scope::Judged) => judge_object(request, settings, host),
        Err(cause) => {
            let text = format!("this {} is no Kubernetes object: {cause}", Shown(&request.kind.kind));
            Verdict::deny(Code::InvalidRequest, text)
        }
    };
    break_the_glass(verdict, request, settings, host).on(judged_request(request))
}

fn judge_object(request: &AdmissionRequest<'_>, settings: &InForce<'_>, host: &dyn Host) -> Verdict {
    let Some(object) = request.object() else {
        let (operation, kind) = (Shown(&request.operation), Shown(&request.kind.kind));
        let text = format!("this {operation} request for a {kind} holds no object to judge");
        return Verdict::deny(Code::InvalidRequest, text);
    };
    let workload = match workload::read(&request.kind, object, &settings.sections().custom_workloads) {
        Ok(workload) => workload,
        Err(Unlisted::UnknownKind) => return Verdict::deny(Code::UnknownKind, unknown_kind(request)),
        Err(Unlisted::Malformed(cause)) => return Verdict::deny(Code::InvalidRequest, cause),
    };
    if workload.sites.len() > MOST_IMAGES {
        return Verdict::deny(Code::InvalidRequest, too_many_images(&request.kind.kind, workload.sites.len()));
    }
    let before = before(request, settings);
    let unchanged = leniency::unchanged(&workload.sites, &before.sites);
    let mut judge = Judge {
        request,
        settings,
        object,
        placement: Placement::of(&request.kind),
        now: settings.sections().evaluate_at.unwrap_or_else(|| host.now()),
        statements: Statements::of(&workload),
        registry: Registry::new(host),
        reports: Reports::new(host, request.namespace()),
        scanned: HashMap::new(),
        findings: Vec::new(),
        images: Vec::with_capacity(workload.sites.len()),
        edits: Vec::new(),
    };
    for (site, is_unchanged) in workload.sites.iter().zip(unchanged) {
        judge.site(site, is_unchanged);
    }
    judge.verdict()
}

/// The earlier state of the object of an UPDATE. What it does not show counts as changed.
fn before<'r>(request: &'r AdmissionRequest<'r>, settings: &'r InForce<'_>) -> Workload<'r> {
    let old = request.old_object().filter(|_| request.operation == "UPDATE");
    let read = |old| workload::read(&request.kind, old, &settings.sections().custom_workloads).ok();
    old.and_then(read).unwrap_or_default()
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

fn too_many_images(kind: &str, count: usize) -> String {
    let kind = Shown(kind);
    format!(
        "this {kind} names {count} images, of which at most {MOST_IMAGES} are judged; spread them over several objects"
    )
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Judges the image sites of one object, one after the other.
struct Judge<'r, 's> {
    request: &'r AdmissionRequest<'r>,
    settings: &'r InForce<'s>,
    object: &'r RawValue,
    placement: Placement,
    now: DateTime<Utc>,
    statements: Statements<'r>,
    registry: Registry<'r>,
    reports: Reports<'r>,
    scanned: HashMap<ScanKey, Rc<Scanned>>,
    findings: Vec<Finding>,
    images: Vec<JudgedImage>,
    edits: Vec<(std::ops::Range<usize>, String)>,
}

/// One image at one site, with the rules and the exceptions that are for it.
struct Subject<'s> {
    site: &'s ImageSite<'s>,
    /// The image as it is written.
    image: Reference<'s>,
    rules: Rules<'s>,
    exceptions: Exceptions<'s>,
    is_unchanged: bool,
    leniency: Option<Leniency>,
}

/// What the annotations of pods say, each read once.
struct Statements<'w> {
    /// By the pod template, and the container where they are about one.
    by_place: HashMap<(&'w str, Option<&'w str>), Vec<annotations::Statement>>,
}

impl<'w> Statements<'w> {
    fn of(workload: &'w Workload<'_>) -> Self {
        let mut by_place: HashMap<_, Vec<_>> = HashMap::new();
        for annotation in &workload.annotations {
            let read = annotations::read(&annotation.key, &annotation.value, annotations::Place::Pod);
            let place = (annotation.template(), annotations::container(&annotation.key));
            by_place.entry(place).or_default().extend(read);
        }
        Self { by_place }
    }

    /// How many there are about the image at a site, and which: those about all of its pod first. There may be as many as
    /// there are images, so they are not gone through to be counted.
    fn about<'s>(&'s self, site: &'s ImageSite<'_>) -> (usize, impl Iterator<Item = &'s annotations::Statement>) {
        let of = |container| self.by_place.get(&(site.template(), container)).map_or(&[][..], Vec::as_slice);
        let (of_pod, of_container) = (of(None), site.name.as_deref().map_or(&[][..], |name| of(Some(name))));
        (of_pod.len() + of_container.len(), of_pod.iter().chain(of_container))
    }
}

/// What is said of the scans of an image.
struct Scanned {
    rulings: Vec<Ruling>,
    /// Why some could not be asked.
    failures: Vec<String>,
}

/// All that makes a difference to what is said of the scans of an image. Many containers may have the same image, and many
/// vulnerabilities in it.
#[derive(PartialEq, Eq, Hash)]
struct ScanKey {
    /// The name by which it is judged.
    image: String,
    /// Its name by tag, where a source of reports heeds that.
    tagged: Option<String>,
    rule: *const Scanning,
    exceptions: Vec<*const Exception>,
    template: String,
    /// The container, where annotations of the pod are about it alone.
    container: Option<String>,
}

impl ScanKey {
    fn of(name: String, subject: &Subject<'_>, statements: &Statements<'_>) -> Self {
        let (site, rule) = (subject.site, subject.rules.scan);
        let is_named = |name: &&str| statements.by_place.contains_key(&(site.template(), Some(*name)));
        Self {
            image: name,
            tagged: if rule.reports.iter().any(ReportSource::heeds_tags) { subject.image.tagged() } else { None },
            rule: std::ptr::from_ref(rule),
            exceptions: subject.exceptions.iter().map(std::ptr::from_ref).collect(),
            template: site.template().to_owned(),
            container: site.name.as_deref().filter(is_named).map(str::to_owned),
        }
    }
}

impl Judge<'_, '_> {
    fn site(&mut self, site: &ImageSite<'_>, is_unchanged: bool) {
        let mut judged = JudgedImage { unchanged: is_unchanged, ..JudgedImage::at(site) };
        let leniency = leniency::leniency(&self.settings.sections().enforcement, self.request, is_unchanged);
        if leniency == Some(Leniency { treatment: Treatment::Ignore, reason: Reason::Unchanged }) {
            self.images.push(judged);
            return;
        }
        match Reference::parse(&site.image) {
            Ok(image) => {
                judged.image = image.normalized();
                judged.exempt = self.settings.sections().exempts(&judged.image);
                if !judged.exempt {
                    let rules = self.settings.rules_for(&judged.image);
                    let name = judged.image.clone();
                    let exceptions = Exceptions::for_image(self.settings, &name, self.now);
                    self.image(&Subject { site, image, rules, exceptions, is_unchanged, leniency }, &mut judged);
                }
            }
            Err(error) => {
                self.finding(Finding::invalid_reference(site, &error), leniency);
            }
        }
        self.images.push(judged);
    }

    fn image(&mut self, subject: &Subject<'_>, judged: &mut JudgedImage) {
        let (site, image) = (subject.site, &subject.image);
        judged.digest = image.digest().map(|digest| digest.as_str().to_owned());
        let mut decision = subject.rules.pinning.decide(image, self.placement);
        if let Decision::Refuse { ruling, otherwise } = decision {
            let is_refused = self.rule(subject, ruling);
            // Where something lets the tag pass, the rest of the rule holds.
            decision = if is_refused { Decision::LeaveAlone } else { *otherwise };
        }
        match decision {
            Decision::LeaveAlone | Decision::Refuse { .. } => {}
            // The audit scanner wants to know, and changes nothing.
            Decision::Pin if self.request.is_audit() => {
                self.rule(subject, pinning::unpinned(image, None, Effect::Warn));
            }
            Decision::Report(effect) => {
                // The digest is advice here. Without it there is a finding all the same.
                judged.digest = self.registry.digest(&image.registry_name()).ok();
                self.rule(subject, pinning::unpinned(image, judged.digest.as_deref(), effect));
            }
            // What was let in once is not rewritten behind the back of whoever changes something else.
            Decision::Pin if subject.is_unchanged => {}
            Decision::Pin => match self.registry.digest(&image.registry_name()) {
                Ok(digest) => {
                    let Some(span) = site.span(self.object) else {
                        self.rule(subject, Ruling::unplaced());
                        return;
                    };
                    self.edits.push((span, pinning::pinned(image, &digest)));
                    judged.digest = Some(digest);
                }
                Err(cause) => return self.unavailable(subject, Effect::Deny, &cause),
            },
        }
        if subject.leniency.is_some_and(|leniency| leniency.treatment == Treatment::Ignore) {
            return;
        }
        // What was judged is what is written: from here on the image is known by its digest.
        let name = match &judged.digest {
            Some(digest) => image.with_digest(digest),
            None => image.registry_name(),
        };
        let Rules { schedule, base_image, scan, .. } = subject.rules;
        let asking = schedule.action.effect().max(base_image.action.effect()).max(scan.action.effect());
        let Some(asking) = asking else { return };
        let facts = match self.registry.image(&name) {
            Ok(facts) => facts,
            Err(cause) => return self.unavailable(subject, asking, &cause),
        };
        let built = build_date(&facts, self.now);
        if let BuildDate::At(date) = built {
            judged.built = Some(timestamp(date));
        }
        if let Some(ruling) = schedule.judge(&built, self.now) {
            self.rule(subject, ruling);
        }
        self.base(subject, &facts, &built);
        self.scan(name, subject, &facts, judged);
        // An image that is named by tag was judged by what the tag points at now.
        judged.digest = judged.digest.take().or_else(|| facts.digest.clone());
    }

    fn base(&mut self, subject: &Subject<'_>, facts: &ImageFacts, built: &BuildDate) {
        let rule = subject.rules.base_image;
        let Some(asking) = rule.action.effect() else { return };
        let currency = match base_of(facts).map(|base| self.currency(&base, &subject.image, rule)) {
            Ok(Ok(currency)) => currency,
            Ok(Err(cause)) => return self.unavailable(subject, asking, &format!("its base is not known: {cause}")),
            Err(reason) => Currency::Unknown(reason),
        };
        if let Some(ruling) = rule.judge(&currency, built, self.now) {
            self.rule(subject, ruling);
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
        let newer = build_date(&*self.registry.image(&newest)?, self.now);
        Ok(Currency::Outdated { base: base.name.clone(), newer })
    }

    fn scan(&mut self, name: String, subject: &Subject<'_>, facts: &ImageFacts, judged: &JudgedImage) {
        let rule = subject.rules.scan;
        let Some(asking) = rule.action.effect() else { return };
        let key = ScanKey::of(name, subject, &self.statements);
        let scanned = match self.scanned.get(&key) {
            Some(known) => Rc::clone(known),
            None => {
                let scanned = Rc::new(self.judge_scans(subject, facts, judged));
                self.scanned.insert(key, Rc::clone(&scanned));
                scanned
            }
        };
        for ruling in &scanned.rulings {
            self.rule(subject, ruling.clone());
        }
        for cause in &scanned.failures {
            self.unavailable(subject, asking, cause);
        }
    }

    /// Judges what scanners say of an image. Who cannot be asked does not silence the others.
    fn judge_scans(&mut self, subject: &Subject<'_>, facts: &ImageFacts, judged: &JudgedImage) -> Scanned {
        let rule = subject.rules.scan;
        let image = reports::Subject::new(&subject.image, judged.digest.as_deref(), facts);
        let mut failures = Vec::new();
        let mut evidence = Evidence { is_complete: true, ..Evidence::default() };
        if rule.pod_annotations != PodAnnotations::Ignore {
            let (count, statements) = self.statements.about(subject.site);
            match reports::said_by(count, statements, &image, &mut self.registry) {
                Ok(scans) => evidence.pod = scans,
                Err(cause) => {
                    failures.push(cause);
                    evidence.is_complete = false;
                }
            }
        }
        if !rule.is_cleared_by(&evidence.pod, &subject.exceptions, self.now) {
            let of_image = match self.reports.of_image(&image, &mut self.registry) {
                Ok(scans) => Reported { scans: scans.to_vec(), ..Reported::default() },
                Err(cause) => Reported::from(Err(cause)),
            };
            let mut said = vec![Rc::new(of_image)];
            said.extend(rule.reports.iter().map(|source| self.reports.of(source, &image, &mut self.registry)));
            for reported in said {
                evidence.others.extend_from_slice(&reported.scans);
                evidence.is_complete &= !reported.is_incomplete;
                failures.extend(reported.failure.clone().filter(|cause| !failures.contains(cause)));
            }
        }
        Scanned { rulings: rule.judge(&evidence, &subject.exceptions, self.now), failures }
    }

    /// Adds what a rule says of an image, as far as no exception lets it pass. Tells whether the request is refused for it.
    fn rule(&mut self, subject: &Subject<'_>, ruling: Ruling) -> bool {
        let mut is_refused = false;
        for ruling in subject.exceptions.apply(ruling) {
            is_refused |= self.finding(Finding::about_site(subject.site, ruling), subject.leniency);
        }
        is_refused
    }

    /// Adds a finding, as hard as it bites here. Tells whether the request is refused for it.
    fn finding(&mut self, finding: Finding, leniency: Option<Leniency>) -> bool {
        // What cannot be read is let in by nobody.
        let leniency = leniency.filter(|_| finding.code != Code::InvalidRequest);
        let finding = match leniency {
            Some(leniency) => leniency.apply(finding),
            None => Some(finding),
        };
        let is_refused = finding.as_ref().is_some_and(|finding| finding.effect == Effect::Deny);
        self.findings.extend(finding);
        is_refused
    }

    /// An image that a registry, or the cluster, could not be asked about. That bites no harder than the rule that asked
    /// would.
    fn unavailable(&mut self, subject: &Subject<'_>, asking: Effect, cause: &str) {
        let text = format!("cannot be judged: {cause}");
        let effect = self.settings.sections().enforcement.evidence_errors.min(asking);
        self.rule(subject, Ruling { code: Code::EvidenceUnavailable, effect, text });
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
