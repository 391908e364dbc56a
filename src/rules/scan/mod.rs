//! Rule `scan`: an image that a scanner has flagged does not run.

mod annotated;
pub mod annotations;
mod image;
mod judge;
mod reported;
mod reports;
pub mod result;
pub mod settings;

use std::collections::HashMap;
use std::rc::Rc;

use super::rule::{Context, Image, Rule, SettingsByImage, Sink, unverified};
use crate::evidence::Evidence;
use crate::evidence::build::Build;
use crate::evidence::registry::ImageFacts;
use crate::finding::{Code, Effect, Finding, Violation, codes};
use crate::workload::site::Workload;
use annotated::PodScanAnnotations;
use image::ScannedImage;
use judge::ScanEvidence;
use reported::Reported;
use reports::Reports;
use settings::{PodAnnotations, ReportSource, Scanning};

codes! {
    /// An image that a scanner or an annotation flags.
    SCAN_FLAGGED = "scan-flagged", status 464;
    /// An image with more vulnerabilities than are allowed.
    VULNERABLE_IMAGE = "vulnerable-image", status 464;
    /// An image with vulnerabilities that must be patched soon.
    PATCH_WINDOW_OPEN = "patch-window-open";
    /// An image without a valid scan result.
    UNSCANNED_IMAGE = "unscanned-image", status 464;
    /// An image whose scan results are too old.
    STALE_SCAN = "stale-scan", status 464;
}

/// The codes of findings about vulnerabilities. Exceptions can cover single vulnerabilities.
pub const CODES_BY_VULNERABILITY: [Code; 2] = [VULNERABLE_IMAGE, PATCH_WINDOW_OPEN];

/// The state of the rule during one request.
pub struct ScanRule {
    annotations: PodScanAnnotations,
    reports: Reports,
    judged: HashMap<Key, Rc<Judged>>,
}

/// The result of judging the scans of an image.
struct Judged {
    violations: Vec<Violation>,
    /// Why some sources could not be read.
    failures: Vec<String>,
}

/// Everything that affects how the scans of an image are judged. Many containers may have the same image, with many
/// vulnerabilities, so it is judged once for each key.
#[derive(PartialEq, Eq, Hash)]
struct Key {
    /// The name by which the image is judged.
    image: String,
    /// The name with its tag, if a source of reports matches tags.
    tagged: Option<String>,
    settings: *const Scanning,
    waivers: Vec<*const ()>,
    template: String,
    /// The container, if annotations of the pod are about it alone.
    container: Option<String>,
    /// Whether it is judged as a predecessor.
    is_predecessor: bool,
}

impl Rule for ScanRule {
    type Settings = Scanning;

    const CODES: &'static [Code] = CODES;

    fn begin(
        context: &Context<'_>,
        workload: &mut Workload<'_>,
        _: &dyn SettingsByImage<Scanning>,
        _: &mut Evidence<'_>,
    ) -> Result<Self, Finding> {
        Ok(Self {
            annotations: PodScanAnnotations::of(workload),
            reports: Reports::new(context.request.namespace()),
            judged: HashMap::new(),
        })
    }

    fn reads_pod_annotation(key: &str) -> bool {
        annotations::is_about_scans(key)
    }

    fn reads_image_annotation(key: &str) -> bool {
        annotations::is_about_scans(key)
    }

    fn judges_content(&self, settings: &Scanning, _: &Image<'_>) -> Option<Effect> {
        settings.action.effect()
    }

    fn judge_content(
        &mut self,
        settings: &Scanning,
        image: &Image<'_>,
        build: &Build,
        evidence: &mut Evidence<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some(strictest) = settings.action.effect() else { return };
        let key = self.key(settings, image, &build.facts);
        let judged = match self.judged.get(&key) {
            Some(known) => Rc::clone(known),
            None => {
                let judged = Rc::new(self.judge(settings, image, &build.facts, evidence));
                self.judged.insert(key, Rc::clone(&judged));
                judged
            }
        };
        for violation in &judged.violations {
            sink.report(violation.clone());
        }
        for cause in &judged.failures {
            sink.report(unverified(strictest, cause, evidence));
        }
    }
}

impl ScanRule {
    fn key(&self, settings: &Scanning, image: &Image<'_>, facts: &ImageFacts) -> Key {
        // Each image of an index has scans of its own.
        let of_index = facts.digest.as_deref().unwrap_or_default();
        let digest = image.digest.as_deref().unwrap_or_default();
        let is_named = self.annotations.of_container(image.site).is_some();
        Key {
            image: [&image.reference.with_digest(digest), " ", of_index].concat(),
            tagged: if settings.reports.iter().any(ReportSource::matches_tags) {
                image.reference.tagged()
            } else {
                None
            },
            settings: std::ptr::from_ref(settings),
            waivers: image.waivers.identity(),
            template: image.site.template().to_owned(),
            container: image.site.name.as_deref().filter(|_| is_named).map(str::to_owned),
            is_predecessor: image.is_predecessor,
        }
    }

    /// Reads every source and judges the results. If a source cannot be read, the others still count.
    fn judge(
        &mut self,
        settings: &Scanning,
        image: &Image<'_>,
        facts: &ImageFacts,
        evidence: &mut Evidence<'_>,
    ) -> Judged {
        let scanned = ScannedImage::new(&image.reference, image.digest.as_deref(), facts);
        let mut failures = Vec::new();
        let mut scans = ScanEvidence { is_complete: true, ..ScanEvidence::default() };
        // What requesters can write must not turn a new image into a fix.
        let believes_requesters = !image.is_predecessor;
        if settings.pod_annotations != PodAnnotations::Ignore && believes_requesters {
            let (count, annotations) = self.annotations.about(image.site);
            match annotated::about(count, annotations, &scanned, &mut evidence.registry) {
                Ok(of_pod) => scans.pod = of_pod,
                Err(cause) => {
                    failures.push(cause);
                    scans.is_complete = false;
                }
            }
        }
        if !settings.is_cleared_by(&scans.pod, image.waivers, evidence.now) {
            let of_image = match self.reports.of_image(&scanned, evidence) {
                Ok(scans) => Reported { scans: scans.to_vec(), ..Reported::default() },
                Err(cause) => Reported::from(Err(cause)),
            };
            let mut all = vec![Rc::new(of_image)];
            all.extend(settings.reports.iter().map(|source| self.reports.of(source, &scanned, evidence)));
            for reported in all {
                let believed = reported.scans.iter().filter(|scan| believes_requesters || !scan.is_own);
                scans.others.extend(believed.cloned());
                scans.is_complete &= !reported.is_incomplete;
                failures.extend(reported.failure.clone().filter(|cause| !failures.contains(cause)));
            }
        }
        Judged { violations: settings.judge(&scans, image.waivers, evidence.now), failures }
    }
}

#[cfg(test)]
mod tests;
