//! Rule `pinning`: every image has a digest. A tag can be moved to another image; a digest cannot.

pub mod decision;
mod recording;
pub mod settings;

use std::ops::ControlFlow;

use super::rule::{Context, Edit, Image, Rule, SettingsByImage, Sink, unverified};
use crate::evidence::{Answer, Evidence};
use crate::finding::{Code, Effect, Finding, INVALID_REQUEST, Violation, codes};
use crate::image::{Digest, Reference};
use crate::sanitized::Sanitized;
use crate::workload::kinds::Placement;
use crate::workload::record_keys;
use crate::workload::records::{self, Resolved};
use crate::workload::site::{ImageSite, Workload};
use decision::{Decision, not_renewed, pinned, unpinned, unpinned_despite_record};
use recording::{Recorded, Recorder, Recording};
use settings::{Pinning, PinningAction, Templates};

codes! {
    /// An image without a digest.
    UNPINNED_IMAGE = "unpinned-image", status 461;
    /// An image with a forbidden tag and without a digest.
    FORBIDDEN_TAG = "forbidden-tag", status 461;
}

/// The rule, for the duration of one request.
pub struct PinningRule {
    recording: Recording,
    resolved: Resolved,
    /// The decision about the current image.
    decision: Decision,
    /// The edits that write digests into image fields.
    edits: Vec<Edit>,
}

impl Rule for PinningRule {
    type Settings = Pinning;

    const CODES: &'static [Code] = CODES;

    fn begin(
        context: &Context<'_>,
        workload: &mut Workload<'_>,
        settings: &dyn SettingsByImage<Pinning>,
        evidence: &mut Evidence<'_>,
    ) -> Result<Self, Finding> {
        let denies_failures = evidence.effect_of_failure(Effect::Deny) == Effect::Deny;
        let recorder = Recorder { context, settings, now: evidence.now, denies_failures };
        let recording = recorder.record(workload, &mut evidence.registry);
        if let Some(bytes) = recording.excess {
            return Err(Finding::about_request(INVALID_REQUEST, too_many_records(&context.request.kind.kind, bytes)));
        }
        let resolved = Resolved::of(workload);
        Ok(Self { recording, resolved, decision: Decision::LeaveAlone, edits: Vec::new() })
    }

    fn judged_reference(settings: &Pinning, site: &ImageSite<'_>, is_unchanged: bool) -> Option<String> {
        let is_rewritten =
            settings.action == PinningAction::Pin && settings.templates() == Templates::Judge && !is_unchanged;
        if is_rewritten { None } else { site.recorded() }
    }

    fn judge_reference(
        &mut self,
        settings: &Pinning,
        image: &Image<'_>,
        evidence: &Evidence<'_>,
        sink: &mut dyn Sink,
    ) -> Option<Effect> {
        let is_audit = image.context.request.is_audit();
        let is_pinned_by_record = is_pinned_by_record(settings, image);
        self.resolved.is_managed |= settings.action == PinningAction::Pin;
        let recorded = self.recording.of(image.index);
        let decision = match is_pinned_by_record {
            true => Decision::Pin,
            false => settings.decide(reference_to_pin(settings, image, recorded), image.context.placement),
        };
        let decision = match decision {
            // If an exception or a downgrade allows the tag, the rest of the rule applies.
            Decision::Refuse { violation, otherwise } => {
                if sink.report_image_field(violation) {
                    Decision::Refused
                } else {
                    *otherwise
                }
            }
            decision => decision,
        };
        self.decision = match decision {
            // Audit scans cannot change objects.
            Decision::Pin if is_audit => Decision::Report(Effect::Warn),
            // An UPDATE does not rewrite images that it leaves unchanged.
            Decision::Pin if image.is_unchanged => Decision::LeaveAlone,
            Decision::Record if matches!(recorded, Recorded::Unchanged | Recorded::Forbidden) => Decision::LeaveAlone,
            decision => decision,
        };
        match self.decision {
            // A record needs no registry.
            Decision::Pin if is_pinned_by_record => None,
            Decision::Pin | Decision::Record => Some(Effect::Deny),
            Decision::Report(effect) => {
                if !evidence.registry.may_ask(&image.reference) {
                    sink.report_image_field(unpinned(image.written, None, effect));
                    self.decision = Decision::LeaveAlone;
                }
                (!is_audit).then_some(effect)
            }
            Decision::LeaveAlone | Decision::Refuse { .. } | Decision::Refused => None,
        }
    }

    fn judge_digest(
        &mut self,
        _: &Pinning,
        image: &mut Image<'_>,
        evidence: &mut Evidence<'_>,
        sink: &mut dyn Sink,
    ) -> ControlFlow<()> {
        match self.decision {
            Decision::LeaveAlone | Decision::Refuse { .. } => {}
            // The user has to name another image, so the content of this one does not matter.
            Decision::Refused if (image.context.is_denial_final)() => return ControlFlow::Break(()),
            Decision::Refused => {}
            Decision::Report(effect) => match unused_record(image) {
                Some(record) => {
                    sink.report_image_field(unpinned_despite_record(record, effect));
                }
                None => {
                    // The digest is only a suggestion here, which is not worth a host call of the audit scanner.
                    if image.digest.is_none() && !image.context.request.is_audit() {
                        image.digest = evidence.registry.digest_if_known(&image.reference.registry_name());
                    }
                    sink.report_image_field(unpinned(image.written, image.digest.as_deref(), effect));
                }
            },
            Decision::Record => match self.recording.of(image.index) {
                Recorded::NotRenewed(cause) => {
                    sink.report(not_renewed(cause));
                }
                Recorded::NotFound => {
                    let cause = evidence.registry.digest(&image.reference.registry_name()).err().unwrap_or_default();
                    sink.report(unverified(Effect::Deny, &cause, evidence));
                    return ControlFlow::Break(());
                }
                Recorded::Unchanged | Recorded::LookedUp | Recorded::Forbidden => {}
            },
            Decision::Pin => match self.digest_to_write(image, evidence) {
                Ok(digest) => {
                    let json = serde_json::to_string(&pinned(image.written, &digest)).ok();
                    let Some(edit) = image.site.span(image.context.object).zip(json) else {
                        sink.report(unlocated_image());
                        return ControlFlow::Break(());
                    };
                    self.edits.push(edit);
                    self.recording.remove(image.site);
                    image.digest = Some(digest);
                }
                Err(cause) => {
                    sink.report(unverified(Effect::Deny, &cause, evidence));
                    return ControlFlow::Break(());
                }
            },
        }
        ControlFlow::Continue(())
    }

    fn edits(self, context: &Context<'_>) -> Result<Vec<Edit>, Finding> {
        let is_pod =
            context.placement == Placement::Pod && context.request.operation == "CREATE" && !context.request.is_audit();
        let mut edits = self.edits;
        let annotation = if is_pod { self.resolved.written() } else { None };
        let annotation = match annotation {
            Some(written) => records::annotate(context.object, "", &[written]).map(Some),
            None => Some(None),
        };
        let of_object = annotation.zip(self.recording.edits(context.object));
        let Some((annotation, written)) = of_object else {
            return Err(Finding::about_request(INVALID_REQUEST, "the images of this object cannot be rewritten"));
        };
        edits.extend(annotation);
        edits.extend(written);
        Ok(edits)
    }
}

impl PinningRule {
    /// The digest to write into an image field: in a pod that of its record, otherwise the one that the tag points at.
    fn digest_to_write(&mut self, image: &Image<'_>, evidence: &mut Evidence<'_>) -> Answer<String> {
        if image.context.placement == Placement::Pod
            && let Some(digest) = digest_of_record(image)
        {
            return Ok(digest.as_str().to_owned());
        }
        let digest = evidence.registry.digest(&image.written.registry_name())?;
        self.resolved.add(image.site);
        Ok(digest)
    }
}

/// Whether a pod gets the digest of its record.
fn is_pinned_by_record(settings: &Pinning, image: &Image<'_>) -> bool {
    image.context.placement == Placement::Pod
        && settings.action == PinningAction::Pin
        && digest_of_record(image).is_some()
}

/// The reference that the rule judges. It has the digest of a valid record, except if this request renews the record or if the rule
/// requires the digest in the image field.
fn reference_to_pin<'i>(settings: &Pinning, image: &'i Image<'_>, recorded: &Recorded) -> &'i Reference<'i> {
    let counts = *recorded == Recorded::Unchanged && settings.templates() != Templates::Judge;
    if counts { &image.reference } else { image.written }
}

/// The digest of the image's record, if the record is valid.
fn digest_of_record<'i>(image: &'i Image<'_>) -> Option<Digest<'i>> {
    image.site.record.as_deref().and_then(|record| record_keys::recorded_digest(record, image.written))
}

/// The record of a pod of a controller, if it is valid. The pinning policy should have written its digest into the image field.
fn unused_record<'i>(image: &'i Image<'_>) -> Option<&'i str> {
    let is_pod_of_controller = image.context.placement == Placement::Pod && image.context.request.is_by_controller();
    image.site.record.as_deref().filter(|_| is_pod_of_controller && digest_of_record(image).is_some())
}

/// The finding for an image field that cannot be found in the text of the object. It always refuses the request, since the image would
/// be admitted without its digest.
fn unlocated_image() -> Violation {
    let text = "cannot be pinned: its field cannot be found in the object".to_owned();
    Violation { code: INVALID_REQUEST, effect: Effect::Deny, text }
}

fn too_many_records(kind: &str, bytes: usize) -> String {
    let (kind, most) = (Sanitized(kind), recording::MAX_RECORD_BYTES / 1024);
    format!(
        "the records of this {kind} take {bytes} bytes, over the limit of {most} KiB; write the digests into the image \
         fields, `name:tag@sha256:…`"
    )
}

#[cfg(test)]
mod tests;
