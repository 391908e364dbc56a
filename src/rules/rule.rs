//! What all rules share: the stages in which a rule judges an image, and what it gets for that.

use std::ops::{ControlFlow, Range};

use serde_json::value::RawValue;

use super::waiver::Waivers;
use crate::config::read::Overridable;
use crate::evidence::Evidence;
use crate::evidence::build::Build;
use crate::finding::{Code, Effect, Finding, Violation};
use crate::image::{Platforms, Reference};
use crate::request::AdmissionRequest;
use crate::workload::kinds::Placement;
use crate::workload::site::{ImageSite, Workload};

/// A rule, for the time of one request. An image passes three stages: its reference, its digest, and the content of each image that
/// may run of it. A rule implements those that it needs.
pub trait Rule: Sized {
    /// The section of the settings.
    type Settings: Overridable;

    /// The finding codes of the rule.
    const CODES: &'static [Code];

    /// Begins a request. The rule may add to what is read of the workload.
    ///
    /// # Errors
    /// The finding for an object that the rule cannot judge as a whole.
    fn begin(
        context: &Context<'_>,
        workload: &mut Workload<'_>,
        settings: &dyn SettingsByImage<Self::Settings>,
        evidence: &mut Evidence<'_>,
    ) -> Result<Self, Finding>;

    /// Whether the rule reads the annotation of a pod that has this key.
    fn reads_pod_annotation(_key: &str) -> bool {
        false
    }

    /// Whether the rule reads the annotation, or the label, of an image that has this key.
    fn reads_image_annotation(_key: &str) -> bool {
        false
    }

    /// The reference by which an image is judged, if it is not the image field itself.
    fn judged_reference(_settings: &Self::Settings, _site: &ImageSite<'_>, _is_unchanged: bool) -> Option<String> {
        None
    }

    /// Stage 1: judges the reference, without asking anything. Returns the strictest effect of a finding for which the rule will ask
    /// the registry in stage 2; nothing if it will not.
    fn judge_reference(
        &mut self,
        _settings: &Self::Settings,
        _image: &Image<'_>,
        _evidence: &Evidence<'_>,
        _sink: &mut dyn Sink,
    ) -> Option<Effect> {
        None
    }

    /// Stage 2: may look up the digest. Breaks if the image cannot be judged further; the rule has then reported why.
    fn judge_digest(
        &mut self,
        _settings: &Self::Settings,
        _image: &mut Image<'_>,
        _evidence: &mut Evidence<'_>,
        _sink: &mut dyn Sink,
    ) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The strictest effect of a finding of stage 3; nothing if the rule does not judge the content of this image.
    fn judges_content(&self, _settings: &Self::Settings, _image: &Image<'_>) -> Option<Effect> {
        None
    }

    /// Stage 3: judges the content of one image that may run. It is asked only if [`judges_content`](Self::judges_content).
    fn judge_content(
        &mut self,
        _settings: &Self::Settings,
        _image: &Image<'_>,
        _build: &Build,
        _evidence: &mut Evidence<'_>,
        _sink: &mut dyn Sink,
    ) {
    }

    /// The changes of the object's JSON text.
    ///
    /// # Errors
    /// The finding for an object that cannot be changed.
    fn edits(self, _context: &Context<'_>) -> Result<Vec<Edit>, Finding> {
        Ok(Vec::new())
    }
}

/// A part of the JSON text of an object, and the JSON that replaces it.
pub type Edit = (Range<usize>, String);

/// The request, as all rules see it.
#[derive(Clone, Copy)]
pub struct Context<'r> {
    /// The request.
    pub request: &'r AdmissionRequest<'r>,
    /// The object that is judged.
    pub object: &'r RawValue,
    /// What is read of the object before an UPDATE; empty otherwise.
    pub before: &'r Workload<'r>,
    /// What the images of the object are for.
    pub placement: Placement,
}

/// One image at one site.
pub struct Image<'s> {
    /// The request.
    pub context: &'s Context<'s>,
    /// The site.
    pub site: &'s ImageSite<'s>,
    /// The number of the site in the workload.
    pub index: usize,
    /// The image field.
    pub written: &'s Reference<'s>,
    /// The reference by which the image is judged: the image field, with the digest of its record in a pod template.
    pub reference: Reference<'s>,
    /// The digest that is judged, as soon as it is known.
    pub digest: Option<String>,
    /// The platforms of the nodes that it may run on.
    pub platforms: Platforms,
    /// Whether the UPDATE does not change it.
    pub is_unchanged: bool,
    /// The site that had its container before the UPDATE.
    pub predecessor: Option<&'s ImageSite<'s>>,
    /// The exceptions for it.
    pub waivers: &'s dyn Waivers,
}

/// Where findings about an image go.
pub trait Sink {
    /// Reports a finding. Returns whether the request is refused for it.
    fn report(&mut self, violation: Violation) -> bool;

    /// Reports a finding about the image field as it is written, without the digest of a record.
    fn report_image_field(&mut self, violation: Violation) -> bool;
}

/// The settings of a rule, by image.
pub trait SettingsByImage<S> {
    /// The settings for the image of this normalised name; nothing if it is exempt.
    fn settings_for(&self, name: &str) -> Option<&S>;

    /// Whether an exception for the image of this normalised name covers findings of this code.
    fn is_excepted(&self, name: &str, code: Code) -> bool;
}

/// The finding that an answer is missing which a rule needs, `strictest` being the effect of the strictest finding that it could
/// have. A missing answer is never stricter than the rule.
#[must_use]
pub fn unverified(strictest: Effect, cause: &str, evidence: &Evidence<'_>) -> Violation {
    let text = format!("could not be verified: {cause}");
    Violation { code: crate::evidence::EVIDENCE_UNAVAILABLE, effect: evidence.effect_of_failure(strictest), text }
}
