//! The interface of rules: the stages in which a rule judges an image, and its input.

use std::ops::{ControlFlow, Range};

use serde_json::value::RawValue;

use super::waiver::Waivers;
use crate::calendar::freeze::Freezes;
use crate::config::read::Overridable;
use crate::evidence::Evidence;
use crate::evidence::build::{Build, Builds};
use crate::finding::{Code, Effect, Finding, Violation};
use crate::image::{Platforms, Reference};
use crate::request::AdmissionRequest;
use crate::workload::kinds::Placement;
use crate::workload::site::{ImageSite, Workload};

/// A rule, for the duration of one request.
///
/// An image passes four stages: its reference, its digest, the content of each image that nodes can choose (an index has several), and
/// all of these together. A rule implements the stages that it needs.
pub trait Rule: Sized {
    /// The settings section of the rule.
    type Settings: Overridable;

    /// The finding codes of the rule.
    const CODES: &'static [Code];

    /// Prepares the rule for a request. The rule may change the parsed workload.
    ///
    /// # Errors
    /// The finding that refuses the whole object.
    fn begin(
        context: &Context<'_>,
        workload: &mut Workload<'_>,
        settings: &dyn SettingsByImage<Self::Settings>,
        evidence: &mut Evidence<'_>,
    ) -> Result<Self, Finding>;

    /// Whether the rule reads pod annotations with this key.
    fn reads_pod_annotation(_key: &str) -> bool {
        false
    }

    /// Whether the rule reads annotations and labels of images with this key.
    fn reads_image_annotation(_key: &str) -> bool {
        false
    }

    /// The reference by which an image is judged. `None` if that is the image field.
    fn judged_reference(_settings: &Self::Settings, _site: &ImageSite<'_>, _is_unchanged: bool) -> Option<String> {
        None
    }

    /// Stage 1: judges the reference, without host calls. Returns the strictest effect of the findings for which the rule asks the
    /// registry in stage 2, `None` if it does not ask.
    fn judge_reference(
        &mut self,
        _settings: &Self::Settings,
        _image: &Image<'_>,
        _evidence: &Evidence<'_>,
        _sink: &mut dyn Sink,
    ) -> Option<Effect> {
        None
    }

    /// Stage 2: may look up the digest. Returns `Break` if the image cannot be judged further; the rule has then reported the reason.
    fn judge_digest(
        &mut self,
        _settings: &Self::Settings,
        _image: &mut Image<'_>,
        _evidence: &mut Evidence<'_>,
        _sink: &mut dyn Sink,
    ) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    /// The strictest effect that a finding of stages 3 and 4 can have. `None` if the rule does not judge the content of this image.
    fn judges_content(&self, _settings: &Self::Settings, _image: &Image<'_>) -> Option<Effect> {
        None
    }

    /// Stage 3: judges the content of one of the images that nodes can choose. It is called only if
    /// [`judges_content`](Self::judges_content) returns an effect.
    fn judge_content(
        &mut self,
        _settings: &Self::Settings,
        _image: &Image<'_>,
        _build: &Build,
        _evidence: &mut Evidence<'_>,
        _sink: &mut dyn Sink,
    ) {
    }

    /// Stage 4: judges all images that nodes can choose together. It is called only if [`judges_content`](Self::judges_content) returns
    /// an effect.
    fn judge_builds(
        &mut self,
        _settings: &Self::Settings,
        _image: &Image<'_>,
        _builds: &Builds,
        _evidence: &mut Evidence<'_>,
        _sink: &mut dyn Sink,
    ) {
    }

    /// The changes to the JSON text of the object.
    ///
    /// # Errors
    /// The finding for an object that cannot be changed.
    fn edits(self, _context: &Context<'_>) -> Result<Vec<Edit>, Finding> {
        Ok(Vec::new())
    }
}

/// A part of the JSON text of an object, and the JSON that replaces it.
pub type Edit = (Range<usize>, String);

/// What all images of a request share.
#[derive(Clone, Copy)]
pub struct Context<'r> {
    /// The request.
    pub request: &'r AdmissionRequest<'r>,
    /// The object that is judged.
    pub object: &'r RawValue,
    /// The object before an UPDATE, parsed. Empty for other operations.
    pub before: &'r Workload<'r>,
    /// Where the object has its images: in a pod, a pod template or a revision.
    pub placement: Placement,
    /// Whether a finding that denies an image decides the verdict. Then nothing is asked that could only add to it. In an audit the
    /// other findings count too, and break-glass can still admit what is denied.
    /// The answer may take a pass over the object, so it is asked only where it matters.
    pub is_denial_final: &'r dyn Fn() -> bool,
}

/// One image at one site.
pub struct Image<'s> {
    /// The request.
    pub context: &'s Context<'s>,
    /// The site.
    pub site: &'s ImageSite<'s>,
    /// The index of the site in the workload.
    pub index: usize,
    /// The image field.
    pub written: &'s Reference<'s>,
    /// The reference by which the image is judged: the image field, with the digest of its record in a pod template.
    pub reference: Reference<'s>,
    /// The digest that is judged. `None` until it is known.
    pub digest: Option<String>,
    /// The platforms of the nodes that can run it.
    pub platforms: Platforms,
    /// Whether this is an UPDATE that does not change it.
    pub is_unchanged: bool,
    /// Whether one of Kubernetes' own controllers creates it from an admitted workload, with the digest that was judged there.
    pub follows_from_workload: bool,
    /// The site of the same container before the UPDATE.
    pub predecessor: Option<&'s ImageSite<'s>>,
    /// Whether it is the predecessor of a new image. Findings about it can admit the new image, so what requesters write does not count.
    pub is_predecessor: bool,
    /// The freezes of the schedule for the image.
    pub freezes: Freezes<'s>,
    /// The exceptions for this image.
    pub waivers: &'s dyn Waivers,
}

impl Image<'_> {
    /// Whether the image is new to its workload. An image is not new if an UPDATE does not change it, if one of Kubernetes' own controllers
    /// takes it from an admitted workload, or if the audit scanner asks about an object that exists already.
    #[must_use]
    pub fn is_new(&self) -> bool {
        !self.is_unchanged && !self.follows_from_workload && !self.is_predecessor && !self.context.request.is_audit()
    }
}

/// Receives the findings about an image.
pub trait Sink {
    /// Reports a finding. Returns whether it refuses the request.
    fn report(&mut self, violation: Violation) -> bool;

    /// Reports a finding about the image field as written, without the digest of a record. Returns whether it refuses the request.
    fn report_image_field(&mut self, violation: Violation) -> bool;
}

/// The settings of a rule, by image.
pub trait SettingsByImage<S> {
    /// The settings for the image with this normalised name. `None` if the image is exempt.
    fn settings_for(&self, name: &str) -> Option<&S>;

    /// Whether an exception for the image with this normalised name covers findings with this code.
    fn is_excepted(&self, name: &str, code: Code) -> bool;
}

/// The finding if a rule does not get an answer that it needs. `strictest` is the strictest effect that the findings of the rule can
/// have; a missing answer is never stricter.
#[must_use]
pub fn unverified(strictest: Effect, cause: &str, evidence: &Evidence<'_>) -> Violation {
    crate::evidence::unverified(evidence.effect_of_failure(strictest), cause)
}
