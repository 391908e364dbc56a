//! The way of one request, top to bottom.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::enforcement::break_glass::Door;
use crate::enforcement::exceptions::{Exception, Exceptions};
use crate::enforcement::leniency::{self, Leniency, Origin, Reason};
use crate::enforcement::{self, Scope};
use crate::evidence::build_date::{BuildDate, build_date};
use crate::evidence::registry::{self, ImageFacts, Registry, Runnable, RunnableImage, Unknown};
use crate::evidence::reports::{self, ReportSource, Reported, Reports};
use crate::evidence::{Answer, annotations};
use crate::finding::{Code, Effect, Finding};
use crate::host::Host;
use crate::image::{Digest, Platforms, Reference, RegistryPattern};
use crate::mutation;
use crate::request::{AdmissionRequest, Payload};
use crate::rules::Ruling;
use crate::rules::base_image::{Base, BaseImage, Currency, base_of};
use crate::rules::pinning::{self, Decision, Pinning};
use crate::rules::scan::{Evidence, PodAnnotations, Scanning};
use crate::settings::read::{Entries, Problems};
use crate::settings::value::Treatment;
use crate::settings::{InForce, Rules, Settings};
use crate::shown::Shown;
use crate::verdict::{JudgedImage, Verdict};
use crate::workload::{self, ImageSite, Placement, Unlisted, Workload, records};
use recording::{EarlierRecords, Recorded, Recorder, Recording, Resolved};

mod recording;

/// The most images of one object that are judged. Nobody has so many; without a bound, an object of 3 MiB names two hundred
/// thousand, each with findings of its own and with everything that the pod's annotations say, and host calls for each.
const MOST_IMAGES: usize = 1024;

/// The most registries that a message lists.
const SHOWN_REGISTRIES: usize = 5;

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
/// Returns what is valid in them but probably not what was meant, a line each.
///
/// # Errors
/// What is said of settings that are not valid.
pub fn check_settings(json: &[u8]) -> Result<Vec<String>, String> {
    let json: &RawValue =
        serde_json::from_slice(json).map_err(|error| format!("the settings of this policy are no JSON: {error}"))?;
    let read = Settings::with_warnings(json);
    read.map(|(_, warnings)| warnings).map_err(|problems| invalid_settings(&problems))
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

fn judge(request: &AdmissionRequest<'_>, settings: &InForce<'_>, host: &dyn Host) -> Verdict {
    let verdict = match enforcement::scope(request) {
        Ok(Scope::LetThrough) => return Verdict::default(),
        Ok(Scope::JudgedIfChanged) if leaves_images_alone(request, settings) => return Verdict::default(),
        Ok(Scope::Judged | Scope::JudgedIfChanged) => judge_object(request, settings, host),
        Err(cause) => {
            let text = format!("this {} is no Kubernetes object: {cause}", Shown(&request.kind.kind));
            Verdict::deny(Code::InvalidRequest, text)
        }
    };
    break_the_glass(verdict, request, settings, host)
}

fn judge_object(request: &AdmissionRequest<'_>, settings: &InForce<'_>, host: &dyn Host) -> Verdict {
    let Some(object) = request.object() else {
        let (operation, kind) = (Shown(&request.operation), Shown(&request.kind.kind));
        let text = format!("this {operation} request for a {kind} holds no object to judge");
        return Verdict::deny(Code::InvalidRequest, text);
    };
    let mut workload = match workload::read(&request.kind, object, &settings.sections().custom_workloads) {
        Ok(workload) => workload,
        Err(Unlisted::UnknownKind) => return Verdict::deny(Code::UnknownKind, unknown_kind(request)),
        Err(Unlisted::Malformed(cause)) => return Verdict::deny(Code::InvalidRequest, cause),
    };
    if workload.sites.len() > MOST_IMAGES {
        return Verdict::deny(Code::InvalidRequest, too_many_images(&request.kind.kind, workload.sites.len()));
    }
    let mut before = before(request, settings);
    let now = settings.sections().evaluate_at.unwrap_or_else(|| host.now());
    let mut registry = Registry::new(host).with_listed(&settings.sections().registries);
    let recording = Recorder { request, settings, object, before: &before, now }.record(&mut workload, &mut registry);
    if let Some(bytes) = recording.excess {
        return Verdict::deny(Code::InvalidRequest, too_many_records(&request.kind.kind, bytes));
    }
    records::add_unused(&mut workload);
    records::add_unused(&mut before);
    if workload.sites.len() > MOST_IMAGES {
        return Verdict::deny(Code::InvalidRequest, too_many_images(&request.kind.kind, workload.sites.len()));
    }
    let configured = settings.sections().configured_platforms();
    let unchanged = leniency::unchanged(&workload, &before, configured);
    let mut judge = Judge {
        request,
        settings,
        object,
        placement: Placement::of(&request.kind),
        now,
        statements: Statements::of(&workload),
        recording,
        earlier: EarlierRecords::of(&before),
        resolved: Resolved::of(&workload),
        registry,
        reports: Reports::new(host, request.namespace()),
        scanned: HashMap::new(),
        findings: Vec::new(),
        images: Vec::with_capacity(workload.sites.len()),
        edits: Vec::new(),
    };
    for (index, (site, is_unchanged)) in workload.sites.iter().zip(unchanged).enumerate() {
        judge.site(index, site, is_unchanged, workload.platforms(site.template(), configured));
    }
    judge.verdict()
}

/// Whether an UPDATE leaves the images of its object as they were. Of an object whose images cannot be read, everything but the
/// metadata has to stay the same.
#[cold]
fn leaves_images_alone(request: &AdmissionRequest<'_>, settings: &InForce<'_>) -> bool {
    let (Some(object), Some(old)) = (request.object(), request.old_object()) else { return false };
    let read = |object| workload::read(&request.kind, object, &settings.sections().custom_workloads);
    match (read(object), read(old)) {
        (Ok(mut now), Ok(mut before)) => {
            records::add_unused(&mut now);
            records::add_unused(&mut before);
            let configured = settings.sections().configured_platforms();
            leniency::unchanged(&now, &before, configured).iter().all(|is_unchanged| *is_unchanged)
        }
        _ => {
            let same =
                |now: &str, before: &str| body(now).is_some_and(|now| body(before).is_some_and(|before| now == before));
            same(object.get(), old.get())
        }
    }
}

/// The earlier state of the object of an UPDATE. What it does not show counts as changed.
fn before<'r>(request: &'r AdmissionRequest<'r>, settings: &'r InForce<'_>) -> Workload<'r> {
    let old = request.old_object().filter(|_| request.operation == "UPDATE");
    let read = |old| workload::read(&request.kind, old, &settings.sections().custom_workloads).ok();
    old.and_then(read).unwrap_or_default()
}

/// The fields of an object but for its metadata, as they are written.
fn body(object: &str) -> Option<BTreeMap<Cow<'_, str>, &str>> {
    let Entries(entries) = serde_json::from_str(object).ok()?;
    Some(entries.into_iter().filter(|(key, _)| key != "metadata").map(|(key, value)| (key, value.get())).collect())
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

fn too_many_records(kind: &str, bytes: usize) -> String {
    let (kind, most) = (Shown(kind), recording::MOST_BYTES / 1024);
    format!(
        "the records of this {kind} take {bytes} bytes, more than the {most} KiB that are written; write the digests into the image \
         fields, `name:tag@sha256:…`"
    )
}

/// An image of which something that a rule needs is not known.
fn unverified(effect: Effect, cause: &str) -> Ruling {
    Ruling { code: Code::EvidenceUnavailable, effect, text: format!("could not be verified: {cause}") }
}

/// An image on a registry that may not be asked about it.
#[cold]
fn unknown_registry(image: &Reference<'_>, registries: &[RegistryPattern], effect: Effect) -> Ruling {
    let host = image.normalized_registry();
    let (host, repository) = (Shown(&host), image.repository());
    let mut known: Vec<String> = Vec::new();
    for registry in registries {
        let shown = format!("`{registry}`");
        if !known.contains(&shown) {
            known.push(shown);
        }
    }
    if let Some(more) = known.len().checked_sub(SHOWN_REGISTRIES).filter(|more| *more > 0) {
        known.truncate(SHOWN_REGISTRIES);
        known.push(format!("{more} others"));
    }
    let known = match known.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => known.concat(),
    };
    let (fact, add) = if registries.iter().any(|registry| registry.matches_host(image)) {
        let place = format!("`{host}/{}`", Shown(&repository));
        (format!("is in {place}, and `registries` lists other repositories of that registry"), place)
    } else {
        (format!("is on `{host}`, which `registries` does not list"), format!("`{host}`"))
    };
    let text = format!("{fact}; use an image from {known}, or ask the cluster admin to add {add}");
    Ruling { code: Code::UnknownRegistry, effect, text }
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
    recording: Recording,
    earlier: EarlierRecords<'r>,
    resolved: Resolved,
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
    /// The image as it is written, in a pod template with the digest of its record.
    image: Reference<'s>,
    /// The image as it is written.
    written: &'s Reference<'s>,
    /// What was done about its record.
    recorded: Recorded,
    /// Those of the nodes that it may run on.
    platforms: Platforms,
    rules: Rules<'s>,
    exceptions: Exceptions<'s>,
    is_unchanged: bool,
    leniency: Option<Leniency>,
}

impl Subject<'_> {
    /// The image as the pinning rule judges it: with the digest of a valid record that is kept as it is. Without it if the record is
    /// looked up in this request, or if the rule requires a digest in the image field.
    fn to_be_pinned(&self) -> &Reference<'_> {
        let is_own = self.recorded == Recorded::AsItIs && self.rules.pinning.templates() != pinning::Templates::Judge;
        if is_own { &self.image } else { self.written }
    }

    /// The digest that a valid record gives the image.
    fn digest_of_record(&self) -> Option<Digest<'_>> {
        self.site.record.as_deref().and_then(|record| records::recorded_digest(record, self.written))
    }

    /// The record of a controller's pod that no policy has pinned.
    fn record_that_was_not_used(&self, placement: Placement, request: &AdmissionRequest<'_>) -> Option<&str> {
        let is_made = placement == Placement::Pod && leniency::is_controller(request.user());
        self.site.record.as_deref().filter(|_| is_made && self.digest_of_record().is_some())
    }
}

/// One of the images that may run of a reference.
struct Candidate {
    /// Its platform, where there are several.
    platform: Option<String>,
    facts: Rc<ImageFacts>,
    built: BuildDate,
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
    fn site(&mut self, index: usize, site: &ImageSite<'_>, is_unchanged: bool, platforms: Platforms) {
        let mut judged = JudgedImage { unchanged: is_unchanged, ..JudgedImage::at(site) };
        let enforcement = &self.settings.sections().enforcement;
        let leniency = |origin| leniency::leniency(enforcement, self.request, is_unchanged, origin);
        if leniency(Origin::Judged) == Some(Leniency { treatment: Treatment::Ignore, reason: Reason::Unchanged }) {
            self.images.push(judged);
            return;
        }
        match Reference::parse(&site.image) {
            Ok(written) => {
                judged.image = written.normalized();
                // Settings are for the image as it is written: whether it has a record yet makes no difference to its rules.
                let name = judged.image.clone();
                judged.exempt = self.settings.sections().exempts(&name);
                if !judged.exempt {
                    let rules = self.settings.rules_for(&name);
                    let is_rewritten = rules.pinning.action == pinning::Action::Pin
                        && rules.pinning.templates() == pinning::Templates::Judge
                        && !is_unchanged;
                    let recorded = if is_rewritten { None } else { site.recorded() };
                    let of_record = recorded.as_deref().and_then(|image| Reference::parse(image).ok());
                    let leniency = leniency(self.origin(site, &written, rules.pinning));
                    let exceptions = Exceptions::for_image(self.settings, &name, self.now);
                    let subject = Subject {
                        site,
                        image: of_record.unwrap_or_else(|| written.clone()),
                        written: &written,
                        recorded: self.recording.of(index).clone(),
                        platforms,
                        rules,
                        exceptions,
                        is_unchanged,
                        leniency,
                    };
                    self.image(&subject, &mut judged);
                }
            }
            Err(error) => {
                let finding = Finding::invalid_reference(site, &error);
                let leniency = leniency(Origin::Judged);
                self.finding(finding, leniency);
            }
        }
        self.images.push(judged);
    }

    /// How the digest came into a pod.
    fn origin(&self, site: &ImageSite<'_>, image: &Reference<'_>, rule: &Pinning) -> Origin {
        if self.placement != Placement::Pod {
            return Origin::Judged;
        }
        let record = site.record.as_deref().and_then(|record| records::digest_of(record, image));
        match (record, image.digest()) {
            (Some(record), Some(digest)) if record == digest => Origin::Judged,
            // This policy writes that digest into the image field.
            (Some(_), None) if rule.action == pinning::Action::Pin => Origin::Judged,
            (Some(_), _) => Origin::Other,
            (None, Some(_)) if !self.resolved.lists(site) => Origin::Judged,
            (None, _) => Origin::Unrecorded,
        }
    }

    fn image(&mut self, subject: &Subject<'_>, judged: &mut JudgedImage) {
        let image = &subject.image;
        judged.digest = image.digest().map(|digest| digest.as_str().to_owned());
        let is_pinned_by_record = self.placement == Placement::Pod
            && subject.rules.pinning.action == pinning::Action::Pin
            && subject.digest_of_record().is_some();
        let mut decision = match is_pinned_by_record {
            true => Decision::Pin,
            false => subject.rules.pinning.decide(subject.to_be_pinned(), self.placement),
        };
        if let Decision::Refuse { ruling, otherwise } = decision {
            let is_refused = self.rule(subject, ruling);
            // Where something lets the tag pass, the rest of the rule holds.
            decision = if is_refused { Decision::LeaveAlone } else { *otherwise };
        }
        decision = match decision {
            // The audit scanner wants to know, and changes nothing.
            Decision::Pin if self.request.is_audit() => Decision::Report(Effect::Warn),
            // An image that was admitted before is not rewritten by an update that changes something else.
            Decision::Pin if subject.is_unchanged => Decision::LeaveAlone,
            Decision::Record if matches!(subject.recorded, Recorded::AsItIs | Recorded::Forbidden) => {
                Decision::LeaveAlone
            }
            decision => decision,
        };
        self.resolved.is_managed |= subject.rules.pinning.action == pinning::Action::Pin;
        let Rules { schedule, base_image, scan, .. } = subject.rules;
        let is_ignored = subject.leniency.is_some_and(|leniency| leniency.treatment == Treatment::Ignore);
        let asking = [schedule.action.effect(), base_image.action.effect(), scan.action.effect()];
        let asking = asking.into_iter().max().flatten().filter(|_| !is_ignored);
        let pinning = match decision {
            // A record needs no registry.
            Decision::Pin if is_pinned_by_record => None,
            Decision::Pin | Decision::Record => Some(Effect::Deny),
            Decision::Report(effect) if !self.request.is_audit() => Some(effect),
            _ => None,
        };
        let strictest = asking.max(pinning);
        if let Some(strictest) = strictest.filter(|_| !self.settings.sections().may_ask(image)) {
            if let Decision::Report(effect) = decision {
                self.rule(subject, pinning::unpinned(image, None, effect));
            }
            self.rule(subject, unknown_registry(image, &self.settings.sections().registries, strictest));
            return;
        }
        if self.pin(subject, &decision, judged).is_none() {
            return;
        }
        if let Some(asking) = asking {
            self.judge_content(subject, asking, judged);
        }
    }

    /// Does what is to be done about an image without a digest. Nothing where it cannot be done, which is then a finding.
    fn pin(&mut self, subject: &Subject<'_>, decision: &Decision, judged: &mut JudgedImage) -> Option<()> {
        let image = &subject.image;
        match decision {
            Decision::LeaveAlone | Decision::Refuse { .. } => {}
            Decision::Report(effect) => {
                if let Some(recorded) = image.digest() {
                    // It has a record, by which it is judged.
                    self.rule(subject, pinning::unpinned(subject.written, Some(recorded.as_str()), *effect));
                    return Some(());
                }
                // The digest is advice here. Without it there is a finding all the same.
                if !self.request.is_audit() {
                    judged.digest = self.registry.digest_if_known(&image.registry_name());
                }
                let ruling = match subject.record_that_was_not_used(self.placement, self.request) {
                    Some(record) => pinning::not_pinned(record, *effect),
                    None => pinning::unpinned(image, judged.digest.as_deref(), *effect),
                };
                self.rule(subject, ruling);
            }
            Decision::Record => match &subject.recorded {
                Recorded::NotRenewed(cause) => {
                    self.rule(subject, pinning::not_renewed(cause));
                }
                Recorded::NotFound => {
                    let cause = self.registry.digest(&image.registry_name()).err().unwrap_or_default();
                    self.unavailable(subject, Effect::Deny, &cause);
                    return None;
                }
                Recorded::AsItIs | Recorded::LookedUp | Recorded::Forbidden => {}
            },
            Decision::Pin => match self.digest_to_write(subject) {
                Ok(digest) => {
                    let json = serde_json::to_string(&pinning::pinned(subject.written, &digest)).ok();
                    let edit = subject.site.span(self.object).zip(json);
                    if edit.is_none() {
                        self.rule(subject, Ruling::unplaced());
                        return None;
                    }
                    self.edits.extend(edit);
                    self.recording.remove(subject.site);
                    judged.digest = Some(digest);
                }
                Err(cause) => {
                    self.unavailable(subject, Effect::Deny, &cause);
                    return None;
                }
            },
        }
        Some(())
    }

    /// The digest that an image field gets: in a pod the one of its record, else what its tag points at.
    fn digest_to_write(&mut self, subject: &Subject<'_>) -> Answer<String> {
        let recorded = subject.digest_of_record().filter(|_| self.placement == Placement::Pod);
        if let Some(digest) = recorded {
            return Ok(digest.as_str().to_owned());
        }
        let digest = self.registry.digest(&subject.written.registry_name())?;
        self.resolved.add(subject.site);
        Ok(digest)
    }

    /// Judges what is in an image, by its digest: what was judged is what is written, and what runs. `asking` is the strictest
    /// of the rules that want to know.
    // Its variables would lie in the stack of every request, most of which are asked about nothing.
    #[inline(never)]
    fn judge_content(&mut self, subject: &Subject<'_>, asking: Effect, judged: &mut JudgedImage) {
        let known = judged.digest.take().map_or_else(|| self.registry.digest(&subject.image.registry_name()), Ok);
        let digest = match known {
            Ok(digest) => digest,
            Err(cause) => return self.unavailable(subject, asking, &cause),
        };
        judged.digest = Some(digest.clone());
        let runnable = match self.registry.runnable(&subject.image, &digest, &subject.platforms) {
            Ok(runnable) => runnable,
            Err(unknown) => return self.unknown(subject, asking, &unknown),
        };
        let Runnable { images, lacking, unknown } = &*runnable;
        if let Some(unknown) = unknown {
            self.unknown(subject, asking, unknown);
        }
        judged.lacking = lacking.iter().map(registry::shown_platform).collect();
        // Of an image that is the only one, and for the usual platform, its platform says nothing.
        let is_plain = images.len() == 1 && subject.platforms == Platforms::OfHost;
        let mut candidates: Vec<Candidate> = images
            .iter()
            .map(|RunnableImage { platform, facts }| Candidate {
                platform: platform.as_ref().filter(|_| !is_plain).map(registry::shown_platform),
                built: build_date(facts, self.now),
                facts: Rc::clone(facts),
            })
            .collect();
        // The oldest is reported first.
        candidates.sort_by_key(|candidate| candidate.built.date());
        let dates = candidates.iter().filter_map(|candidate| candidate.built.date());
        judged.built = dates.min().map(timestamp);
        let mut told = Vec::new();
        for candidate in &candidates {
            let mut rulings = self.of_content(subject, &digest, candidate);
            // The images of an index are mostly built together, and then the first one says it for all of them.
            rulings.retain(|ruling| !told.contains(&(ruling.code, ruling.effect)));
            told.extend(rulings.iter().map(|ruling| (ruling.code, ruling.effect)));
            for mut ruling in rulings {
                if let Some(platform) = &candidate.platform {
                    ruling.text = format!("({platform}) {}", ruling.text);
                }
                self.rule(subject, ruling);
            }
        }
    }

    /// What the rules say of the content of one image.
    fn of_content(&mut self, subject: &Subject<'_>, digest: &str, candidate: &Candidate) -> Vec<Ruling> {
        let mut rulings: Vec<Ruling> = subject.rules.schedule.judge(&candidate.built, self.now).into_iter().collect();
        rulings.extend(self.base(subject, &candidate.facts, &candidate.built));
        rulings.extend(self.scan(subject, digest, &candidate.facts));
        rulings
    }

    fn base(&mut self, subject: &Subject<'_>, facts: &ImageFacts, built: &BuildDate) -> Option<Ruling> {
        let rule = subject.rules.base_image;
        let asking = rule.action.effect()?;
        let currency = match base_of(facts).map(|base| self.currency(&base, &subject.image, rule)) {
            Ok(Ok(currency)) => currency,
            Ok(Err(cause)) => return Some(self.unavailable_ruling(asking, &format!("its base is not known: {cause}"))),
            Err(reason) => Currency::Unknown(reason),
        };
        rule.judge(&currency, built, self.now)
    }

    /// How a base stands to what its name points at now.
    fn currency(&mut self, base: &Base, image: &Reference<'_>, rule: &BaseImage) -> Answer<Currency> {
        let reference = Reference::parse(&base.name).map_err(|error| error.to_string())?;
        let list = match (self.settings.sections().may_ask(&reference), rule.may_ask(&reference, image)) {
            (true, true) => None,
            (true, false) => Some("baseImage.registries"),
            (false, _) => Some("registries"),
        };
        if let Some(list) = list {
            return Ok(Currency::Unknown(format!(
                "names its base `{}`, on a registry that `{list}` does not list; ask the cluster admin to add it",
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

    fn scan(&mut self, subject: &Subject<'_>, digest: &str, facts: &ImageFacts) -> Vec<Ruling> {
        let rule = subject.rules.scan;
        let Some(asking) = rule.action.effect() else { return Vec::new() };
        // Each image of an index is judged by what its own digest is known for.
        let of_index = facts.digest.as_deref().unwrap_or_default();
        let name = [&subject.image.with_digest(digest), " ", of_index].concat();
        let key = ScanKey::of(name, subject, &self.statements);
        let scanned = match self.scanned.get(&key) {
            Some(known) => Rc::clone(known),
            None => {
                let scanned = Rc::new(self.judge_scans(subject, digest, facts));
                self.scanned.insert(key, Rc::clone(&scanned));
                scanned
            }
        };
        let failures = scanned.failures.iter().map(|cause| self.unavailable_ruling(asking, cause));
        scanned.rulings.iter().cloned().chain(failures).collect()
    }

    /// Judges what scanners say of an image. Who cannot be asked does not silence the others.
    fn judge_scans(&mut self, subject: &Subject<'_>, digest: &str, facts: &ImageFacts) -> Scanned {
        let rule = subject.rules.scan;
        let image = reports::Subject::new(&subject.image, Some(digest), facts);
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
        // Whether the image field has a digest is not said of the record.
        let is_about_field = matches!(ruling.code, Code::UnpinnedImage | Code::ForbiddenTag);
        let image = if is_about_field { subject.written } else { &subject.image };
        let image = Shown(image.as_str()).to_string();
        for ruling in subject.exceptions.apply(ruling) {
            let mut finding = Finding { image: Some(image.clone()), ..Finding::about_site(subject.site, ruling) };
            let earlier = self.earlier.replaced(subject.site, &subject.image);
            if let Some(earlier) = earlier.filter(|_| finding.effect == Effect::Deny) {
                finding.text = format!("{}; to keep the digest recorded before, write `{earlier}`", finding.text);
            }
            is_refused |= self.finding(finding, subject.leniency);
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

    /// Adds that a registry, or the cluster, could not be asked about an image.
    fn unavailable(&mut self, subject: &Subject<'_>, asking: Effect, cause: &str) {
        self.rule(subject, self.unavailable_ruling(asking, cause));
    }

    /// Adds that not every image is known that may run. The shape of an index is for its builder to choose, so that only what a
    /// registry does not answer is an outage.
    fn unknown(&mut self, subject: &Subject<'_>, asking: Effect, unknown: &Unknown) {
        match unknown {
            Unknown::NoAnswer(cause) => self.unavailable(subject, asking, cause),
            Unknown::Unfit(cause) => {
                self.rule(subject, unverified(asking, cause));
            }
        }
    }

    /// An image that a registry, or the cluster, could not be asked about. That is never stricter than the rule that asked. Who
    /// makes the policy ask too much has chosen that.
    fn unavailable_ruling(&self, asking: Effect, cause: &str) -> Ruling {
        let errors = self.settings.sections().enforcement.evidence_errors;
        unverified(if self.registry.is_exhausted() { asking } else { errors.min(asking) }, cause)
    }

    fn verdict(mut self) -> Verdict {
        // A question that was only for advice is not a failure.
        if self.findings.iter().any(|finding| matches!(finding.code, Code::EvidenceUnavailable | Code::Excepted)) {
            self.registry.log_failures();
        }
        let is_pod = self.placement == Placement::Pod && self.request.operation == "CREATE" && !self.request.is_audit();
        let annotations = is_pod.then(|| self.resolved.written()).flatten();
        let annotations =
            annotations.map(|written| records::annotate(self.object, "", &[written]).map(|edit| vec![edit]));
        let written = self.recording.edits(self.object);
        let verdict = Verdict::of(self.findings, self.images);
        if self.edits.is_empty() && annotations.is_none() && written.as_ref().is_some_and(Vec::is_empty) {
            return verdict;
        }
        let edits = annotations.unwrap_or(Some(Vec::new())).zip(written);
        let rewritten = edits.and_then(|(annotations, written)| {
            self.edits.extend(annotations.into_iter().chain(written));
            mutation::rewrite(self.object, self.edits)
        });
        match rewritten {
            Some(object) => verdict.with_object(object),
            None => Verdict::deny(Code::InvalidRequest, "the images of this object cannot be rewritten"),
        }
    }
}

#[cfg(test)]
mod tests;
