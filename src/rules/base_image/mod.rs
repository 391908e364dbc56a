//! Rule `baseImage`: every image uses the newest build of an allowed base. Patches of a base reach an image only by a rebuild.

pub mod base;
mod judge;
pub mod settings;

use super::rule::{Context, Image, Rule, SettingsByImage, Sink, unverified};
use crate::evidence::build::Build;
use crate::evidence::build_date::build_date;
use crate::evidence::{Answer, Evidence};
use crate::finding::{Code, Effect, Finding, codes};
use crate::image::Reference;
use crate::sanitized::Sanitized;
use crate::workload::site::Workload;
use base::{BASE_DIGEST, BASE_NAME, BUILDPACKS, Base, base_of, declared_base};
use judge::BaseStatus;
use settings::BaseImage;

codes! {
    /// An image on a base that is not allowed.
    DISALLOWED_BASE_IMAGE = "disallowed-base-image", status 463;
    /// An image with an outdated base, whose grace period is over.
    OUTDATED_BASE_IMAGE = "outdated-base-image", status 463;
    /// An image with an outdated base, whose grace period is not over.
    BASE_UPDATE_DUE = "base-update-due";
    /// An image that does not name its base.
    UNKNOWN_BASE_IMAGE = "unknown-base-image", status 463;
}

/// The rule, for the duration of one request.
pub struct BaseImageRule {
    /// The index of the site whose image was refused last because of the name of its base.
    refused: Option<usize>,
}

impl Rule for BaseImageRule {
    type Settings = BaseImage;

    const CODES: &'static [Code] = CODES;

    fn begin(
        _: &Context<'_>,
        _: &mut Workload<'_>,
        _: &dyn SettingsByImage<BaseImage>,
        _: &mut Evidence<'_>,
    ) -> Result<Self, Finding> {
        Ok(Self { refused: None })
    }

    fn reads_image_annotation(key: &str) -> bool {
        [BASE_NAME, BASE_DIGEST, BUILDPACKS].contains(&key)
    }

    fn judges_content(&self, settings: &BaseImage, _: &Image<'_>) -> Option<Effect> {
        settings.action.effect()
    }

    fn judge_content(
        &mut self,
        settings: &BaseImage,
        image: &Image<'_>,
        build: &Build,
        evidence: &mut Evidence<'_>,
        sink: &mut dyn Sink,
    ) {
        let Some(strictest) = settings.action.effect() else { return };
        let judges_name = !settings.allowed.is_empty();
        let declared = if judges_name { declared_base(&build.facts).ok() } else { None };
        if let Some(violation) = declared.and_then(|base| settings.judge_name(&base)) {
            if sink.report(violation) {
                self.refused = Some(image.index);
            }
            // One refusal is enough. A finding that is a warning, or that an exception covers, does not replace the others. The sink reports
            // a finding once for all images of an index, so the site is what counts.
            if self.refused == Some(image.index) {
                return;
            }
        }
        let status = match base_of(&build.facts).map(|base| status(&base, &image.reference, settings, evidence)) {
            Ok(Ok(status)) => status,
            Ok(Err(cause)) => {
                sink.report(unverified(strictest, &format!("its base is unknown: {cause}"), evidence));
                return;
            }
            Err(reason) => BaseStatus::Unknown(reason),
        };
        if let Some(violation) = settings.judge(&status, &build.built, evidence.now) {
            sink.report(violation);
        }
    }
}

/// Compares the base of an image with the one that its name points at now.
fn status(base: &Base, image: &Reference<'_>, settings: &BaseImage, evidence: &mut Evidence<'_>) -> Answer<BaseStatus> {
    let reference = Reference::parse(&base.name).map_err(|error| error.to_string())?;
    let list = match (evidence.registry.may_ask(&reference), settings.may_ask(&reference, image)) {
        (true, true) => None,
        (true, false) => Some("baseImage.registries"),
        (false, _) => Some("registries"),
    };
    if let Some(list) = list {
        return Ok(BaseStatus::Unknown(format!(
            "names its base `{}`, on a registry that `{list}` does not list; ask the cluster admin to add it",
            Sanitized(&base.name)
        )));
    }
    let newest = evidence.registry.digest(&reference.registry_name())?;
    if newest == base.digest {
        return Ok(BaseStatus::Current);
    }
    let newest = reference.with_digest(&newest);
    if evidence.registry.manifests(&newest)?.contains(&base.digest) {
        return Ok(BaseStatus::Current);
    }
    let newer = build_date(&*evidence.registry.image(&newest)?, evidence.now);
    Ok(BaseStatus::Outdated { base: base.name.clone(), newer })
}

#[cfg(test)]
mod tests;
