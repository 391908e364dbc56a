//! Judges the images of one object, one after the other.

mod alternatives;

use std::ops::ControlFlow;

use chrono::SecondsFormat;

use super::refusal;
use crate::enforcement::downgrade::{self, Downgrade, Reason};
use crate::enforcement::exceptions::Exceptions;
use crate::enforcement::fixes;
use crate::enforcement::settings::Treatment;
use crate::enforcement::sink::{BuildSink, ImageSink};
use crate::evidence::registry::EvidenceGap;
use crate::evidence::{self, Evidence};
use crate::finding::{Effect, Finding, Violation};
use crate::image::{Platforms, Reference};
use crate::json;
use crate::response::{JudgedImage, Verdict};
use crate::rules::rule::{Context, Image, Sink, unverified};
use crate::rules::{self, RuleSettings, Rules};
use crate::settings::RequestSettings;
use crate::workload::change::Predecessors;
use crate::workload::records::{self, Origin, Resolved};
use crate::workload::site::{ImageSite, Workload};

/// Judges the image sites of one object, one after the other.
pub(super) struct ImageJudge<'r, 's> {
    context: &'r Context<'r>,
    settings: &'r RequestSettings<'s>,
    predecessors: Predecessors<'r>,
    resolved: Resolved,
    rules: Rules,
    evidence: Evidence<'r>,
    findings: Vec<Finding>,
    images: Vec<JudgedImage>,
    /// The number of refused images for which a fix was looked up.
    named_fixes: usize,
}

impl<'r, 's> ImageJudge<'r, 's> {
    /// The judge of an object, before any image is judged.
    pub(super) fn new(
        context: &'r Context<'r>,
        settings: &'r RequestSettings<'s>,
        workload: &'r Workload<'r>,
        rules: Rules,
        evidence: Evidence<'r>,
    ) -> Self {
        Self {
            context,
            settings,
            predecessors: Predecessors::of(workload, context.before),
            resolved: Resolved::of(workload),
            rules,
            evidence,
            findings: Vec::new(),
            images: Vec::with_capacity(workload.sites.len()),
            named_fixes: 0,
        }
    }

    /// Judges the image at a site.
    pub(super) fn judge(&mut self, index: usize, site: &ImageSite<'_>, is_unchanged: bool, platforms: Platforms) {
        let mut judged = JudgedImage { unchanged: is_unchanged, ..JudgedImage::at(site) };
        let enforcement = &self.settings.general().enforcement;
        let downgrade = |origin| downgrade::of(enforcement, self.context.request, is_unchanged, origin);
        let of_judged = downgrade(Origin::Judged);
        if of_judged == Some(Downgrade { treatment: Treatment::Ignore, reason: Reason::Unchanged }) {
            self.images.push(judged);
            return;
        }
        match Reference::parse(&site.image) {
            Ok(written) => {
                // The settings are chosen by the image as it is written, so that they do not depend on its record.
                let name = written.normalized();
                judged.exempt = self.settings.general().exempts(&name);
                if !judged.exempt {
                    let settings = self.settings.rules_for(&name);
                    let origin =
                        records::origin(self.context.placement, site, &written, settings.pins(), &self.resolved);
                    let downgrade = downgrade(origin);
                    let exceptions = Exceptions::for_image(self.settings, &name, self.evidence.now);
                    let of_record = rules::judged_reference(settings, site, is_unchanged);
                    let of_record = of_record.as_deref().and_then(|image| Reference::parse(image).ok());
                    let reference = of_record.unwrap_or_else(|| written.clone());
                    let mut image = Image {
                        context: self.context,
                        site,
                        index,
                        written: &written,
                        digest: reference.digest().map(|digest| digest.as_str().to_owned()),
                        reference,
                        platforms,
                        is_unchanged,
                        follows_from_workload: downgrade
                            .is_some_and(|downgrade| downgrade.reason == Reason::Controller),
                        predecessor: self.predecessors.of_site(site),
                        is_predecessor: false,
                        freezes: settings.freezes(),
                        waivers: &exceptions,
                    };
                    let first = self.findings.len();
                    let content = self.run_rules(settings, &mut image, &exceptions, downgrade, &mut judged);
                    // Most images have no findings.
                    if self.findings.len() > first {
                        self.admit_fix(settings, &image, first);
                        self.name_earlier_record(&image, first);
                        self.name_fix(settings, &mut image, (first, content));
                        // Findings about the time matter less than those that refuse the image at any time.
                        let found = self.findings.get_mut(first..).unwrap_or_default();
                        found.sort_by_key(fixes::is_of_time);
                    }
                    judged.digest = image.digest;
                }
                judged.image = name;
            }
            Err(error) => self.findings.extend(downgrade::apply(of_judged, refusal::invalid_reference(site, &error))),
        }
        self.images.push(judged);
    }

    /// Runs the stages of the rules for an image. Returns the index of the first finding about its content.
    fn run_rules(
        &mut self,
        settings: &RuleSettings,
        image: &mut Image<'_>,
        exceptions: &Exceptions<'_>,
        downgrade: Option<Downgrade>,
        judged: &mut JudgedImage,
    ) -> usize {
        let Self { rules, evidence, findings, .. } = self;
        if findings.iter().any(|finding| finding.effect == Effect::Deny) && (image.context.is_denial_final)() {
            evidence.registry.request_is_refused();
        }
        let (site, written) = (image.site, image.written);
        let reference = image.reference.clone();
        let sink = &mut ImageSink { site, written, judged: reference, exceptions, downgrade, findings };
        let for_digest = rules.judge_reference(settings, image, evidence, sink);
        let is_ignored = downgrade.is_some_and(|downgrade| downgrade.treatment == Treatment::Ignore);
        let for_content = if is_ignored { None } else { rules.judges_content(settings, image) };
        let strictest = for_digest.max(for_content);
        if let Some(strictest) = strictest.filter(|_| !evidence.registry.may_ask(&image.reference)) {
            sink.report(refusal::unknown_registry(&image.reference, evidence.registry.listed(), strictest));
            return sink.findings.len();
        }
        if rules.judge_digest(settings, image, evidence, sink) == ControlFlow::Break(()) {
            return sink.findings.len();
        }
        let content = sink.findings.len();
        if let Some(strictest) = for_content {
            judge_content(rules, settings, image, strictest, evidence, sink, judged);
        }
        content
    }

    /// The verdict about all images, with the changed object.
    pub(super) fn verdict(mut self) -> Result<Verdict, Finding> {
        if self.findings.iter().any(refusal::is_about_a_failure) {
            self.evidence.registry.log_failures();
        }
        let verdict = Verdict::of(self.findings, self.images);
        let edits = self.rules.edits(self.context)?;
        if edits.is_empty() {
            return Ok(verdict);
        }
        json::rewrite(self.context.object, edits)
            .map(|object| verdict.with_object(object))
            .ok_or_else(refusal::not_rewritten)
    }
}

/// Judges the content of an image by its digest, so that the judged image is the one that runs. `strictest` is the effect of the
/// strictest finding of a rule that judges the content.
// Not inlined, because its variables would be in the stack frame of every request, and most requests do not get here.
#[inline(never)]
fn judge_content(
    rules: &mut Rules,
    settings: &RuleSettings,
    image: &mut Image<'_>,
    strictest: Effect,
    evidence: &mut Evidence<'_>,
    sink: &mut dyn Sink,
    judged: &mut JudgedImage,
) {
    let digest = match image.digest.take() {
        Some(digest) => Ok(digest),
        None => evidence.registry.digest(&image.reference.registry_name()),
    };
    let digest = match digest {
        Ok(digest) => image.digest.insert(digest),
        Err(cause) => {
            sink.report(unverified(strictest, &cause, evidence));
            return;
        }
    };
    let builds = match evidence.builds(&image.reference, digest, &image.platforms) {
        Ok(builds) => builds,
        Err(gap) => {
            sink.report(not_known(&gap, strictest, evidence));
            return;
        }
    };
    if let Some(gap) = &builds.gap {
        sink.report(not_known(gap, strictest, evidence));
    }
    judged.built = builds.oldest().map(|built| built.to_rfc3339_opts(SecondsFormat::Secs, true));
    let mut sink = BuildSink::new(sink);
    for build in &builds.builds {
        sink.next(build.platform.as_deref());
        rules.judge_content(settings, image, build, evidence, &mut sink);
    }
    rules.judge_builds(settings, image, &builds, evidence, sink.of_image());
    judged.missing_platforms = builds.missing_platforms;
}

/// The finding for an unknown image that may run. Only a missing answer of a registry counts as a failure, because the builder of an
/// index chooses its form.
fn not_known(gap: &EvidenceGap, strictest: Effect, evidence: &Evidence<'_>) -> Violation {
    match gap {
        EvidenceGap::NoAnswer(cause) => unverified(strictest, cause, evidence),
        EvidenceGap::UnsupportedIndex(cause) => evidence::unverified(strictest, cause),
    }
}
