//! Applies exceptions and downgrades to what rules report about an image.

use super::downgrade::{self, Downgrade};
use super::exceptions::Exceptions;
use crate::finding::{Code, Effect, Finding, Violation};
use crate::image::Reference;
use crate::rules::rule::Sink;
use crate::sanitized::Sanitized;
use crate::workload::site::ImageSite;

/// Collects the findings about one image site.
pub struct ImageSink<'s, 'e> {
    /// The site.
    pub site: &'s ImageSite<'s>,
    /// The image field.
    pub written: &'s Reference<'s>,
    /// The reference by which the image is judged.
    pub judged: Reference<'s>,
    /// The exceptions for the image.
    pub exceptions: &'s Exceptions<'e>,
    /// How its findings are downgraded.
    pub downgrade: Option<Downgrade>,
    /// The findings so far.
    pub findings: &'s mut Vec<Finding>,
}

impl ImageSink<'_, '_> {
    fn add(&mut self, image: String, violation: Violation) -> bool {
        let mut is_refused = false;
        for violation in self.exceptions.apply(violation) {
            let finding = Finding::about_image(self.site.to_string(), image.clone(), violation);
            let finding = downgrade::apply(self.downgrade, finding);
            is_refused |= finding.as_ref().is_some_and(|finding| finding.effect == Effect::Deny);
            self.findings.extend(finding);
        }
        is_refused
    }
}

impl Sink for ImageSink<'_, '_> {
    fn report(&mut self, violation: Violation) -> bool {
        self.add(Sanitized(self.judged.as_str()).to_string(), violation)
    }

    fn report_image_field(&mut self, violation: Violation) -> bool {
        self.add(Sanitized(self.written.as_str()).to_string(), violation)
    }
}

/// Collects the findings about each image that may run for a reference. The images of an index are usually built together, so a
/// finding about one is not repeated for the next.
pub struct BuildSink<'s> {
    sink: &'s mut dyn Sink,
    platform: Option<&'s str>,
    /// The findings about the images before this one.
    before: Vec<(Code, Effect)>,
    /// The findings about this image.
    now: Vec<(Code, Effect)>,
}

impl<'s> BuildSink<'s> {
    /// A sink without findings.
    pub fn new(sink: &'s mut dyn Sink) -> Self {
        Self { sink, platform: None, before: Vec::new(), now: Vec::new() }
    }

    /// Moves on to the next image. `platform` is its platform, if messages must name it.
    pub fn next(&mut self, platform: Option<&'s str>) {
        self.before.append(&mut self.now);
        self.platform = platform;
    }

    /// The sink for findings about all images together.
    pub fn of_image(self) -> &'s mut dyn Sink {
        self.sink
    }
}

impl Sink for BuildSink<'_> {
    fn report(&mut self, violation: Violation) -> bool {
        let key = (violation.code, violation.effect);
        if self.before.contains(&key) {
            return false;
        }
        self.now.push(key);
        self.sink.report(violation.on_platform(self.platform))
    }

    fn report_image_field(&mut self, violation: Violation) -> bool {
        self.sink.report_image_field(violation)
    }
}
