//! New images that are older than the images that they replace.

use chrono::{DateTime, Utc};

use super::OLDER_BUILD;
use super::settings::Rollout;
use crate::calendar::zone::Zone;
use crate::evidence::Evidence;
use crate::evidence::build::Builds;
use crate::finding::{Effect, Violation};
use crate::image::Reference;
use crate::rules::rule::Image;

impl Rollout {
    /// The effect of a finding about an older build.
    pub(super) fn effect_of_older_build(&self) -> Option<Effect> {
        Some(self.older_build.effect()?.min(self.action.effect()?))
    }

    /// Compares the build date of a new image with that of its predecessor.
    pub(super) fn judge_order(
        &self,
        built: DateTime<Utc>,
        predecessor: DateTime<Utc>,
        zone: &Zone,
    ) -> Option<Violation> {
        let effect = self.effect_of_older_build()?;
        (built < predecessor).then(|| Violation {
            code: OLDER_BUILD,
            effect,
            text: format!(
                "was built {} and replaces a newer build of {}; deploy a build that is not older",
                zone.rfc3339(built),
                zone.rfc3339(predecessor),
            ),
        })
    }
}

/// The build dates of a new image and of its predecessor, which has the same repository. `None` if one of them is unknown: a registry
/// may have deleted the predecessor, and that must not stop an UPDATE.
pub(super) fn dates(
    image: &Image<'_>,
    builds: &Builds,
    evidence: &mut Evidence<'_>,
) -> Option<(DateTime<Utc>, DateTime<Utc>)> {
    let built = builds.youngest()?.built.claimed()?;
    let earlier = image.predecessor?;
    let recorded = earlier.recorded();
    let reference = Reference::parse(recorded.as_deref().unwrap_or(&earlier.image)).ok()?;
    if !reference.has_repository_of(&image.reference) {
        return None;
    }
    let digest = match reference.digest() {
        Some(digest) => digest.as_str().to_owned(),
        None => evidence.registry.digest_if_known(&reference.registry_name())?,
    };
    let predecessor = evidence.builds(&reference, &digest, &image.platforms).ok()?.youngest()?.built.claimed()?;
    Some((built, predecessor))
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{OLDER_BUILD, Rollout, Zone};
    use crate::config::values::{Action, Unknown};
    use crate::finding::Effect;

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    #[test]
    fn a_build_before_that_of_the_predecessor_is_older() {
        let rule = Rollout { older_build: Unknown::Warn, ..Rollout::default() };
        let judged = |built, predecessor| rule.judge_order(time(built), time(predecessor), &Zone::UTC);
        assert_eq!(judged("2026-11-10T08:00:00Z", "2026-11-01T08:00:00Z"), None);
        assert_eq!(judged("2026-11-10T08:00:00Z", "2026-11-10T08:00:00Z"), None);
        let violation = judged("2026-11-01T08:00:00Z", "2026-11-10T08:00:00Z").unwrap();
        assert_eq!((violation.code, violation.effect), (OLDER_BUILD, Effect::Warn));
        assert_eq!(
            violation.text,
            "was built 2026-11-01T08:00:00Z and replaces a newer build of 2026-11-10T08:00:00Z; deploy a build that is not older"
        );
    }

    #[test]
    fn the_milder_of_action_and_older_build_is_the_effect() {
        for (action, older_build, expected) in [
            (Action::Deny, Unknown::Deny, Some(Effect::Deny)),
            (Action::Warn, Unknown::Deny, Some(Effect::Warn)),
            (Action::Deny, Unknown::Warn, Some(Effect::Warn)),
            (Action::Deny, Unknown::Allow, None),
            (Action::Off, Unknown::Deny, None),
        ] {
            let rule = Rollout { action, older_build, ..Rollout::default() };
            assert_eq!(rule.effect_of_older_build(), expected, "{action:?} {older_build:?}");
        }
    }
}
