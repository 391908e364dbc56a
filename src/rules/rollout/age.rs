//! The minimum age of a new image.

use chrono::{DateTime, Utc};

use super::TOO_YOUNG;
use super::settings::Rollout;
use crate::calendar::freeze::Freezes;
use crate::evidence::build_date::BuildDate;
use crate::finding::Violation;

impl Rollout {
    /// Judges a new image by its build date. `schedule.unknownBuildDate` judges an image without one.
    pub(super) fn judge_age(&self, built: &BuildDate, now: DateTime<Utc>, freezes: Freezes<'_>) -> Option<Violation> {
        let (min_age, effect) = (self.min_age?, self.action.effect()?);
        let built = built.claimed()?;
        // A build date near the end of the calendar would overflow.
        let from = built.checked_add_signed(min_age.delta()).unwrap_or(DateTime::<Utc>::MAX_UTC);
        (now < from).then(|| Violation {
            code: TOO_YOUNG,
            effect,
            text: format!(
                "was built {}, and the minimum age is {min_age}; deploy it on or after {}, or deploy an older build",
                freezes.zone.rfc3339(built),
                self.admitted_from(from, freezes).shown(),
            ),
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};

    use super::{BuildDate, Freezes, Rollout, TOO_YOUNG};
    use crate::calendar::zone::Zone;
    use crate::config::values::{Action, Duration};
    use crate::finding::{Effect, Violation};

    const NOW: &str = "2026-11-20T12:00:00Z";

    fn time(text: &str) -> DateTime<Utc> {
        DateTime::parse_from_rfc3339(text).unwrap().to_utc()
    }

    fn judged(settings: &Rollout, built: BuildDate) -> Option<Violation> {
        settings.judge_age(&built, time(NOW), Freezes { all: &[], zone: &Zone::UTC })
    }

    fn min_age(action: Action) -> Rollout {
        Rollout { action, min_age: Some(Duration::days(3)), ..Rollout::default() }
    }

    #[test]
    fn an_image_is_admitted_as_soon_as_it_has_the_minimum_age() {
        let settings = min_age(Action::Deny);
        let built = |text: &str| judged(&settings, BuildDate::At(time(text)));
        assert_eq!(built("2026-11-17T12:00:00Z"), None);
        assert_eq!(built("2026-07-01T00:00:00Z"), None);
        let text = "was built 2026-11-17T12:00:01Z, and the minimum age is 3 days; deploy it on or after 2026-11-20T12:00:01Z, \
                    or deploy an older build";
        let expected = Violation { code: TOO_YOUNG, effect: Effect::Deny, text: text.to_owned() };
        assert_eq!(built("2026-11-17T12:00:01Z"), Some(expected));
        assert!(built("2026-11-21T11:00:00Z").is_some(), "clocks differ by up to a day");
    }

    #[test]
    fn a_build_date_in_the_future_is_too_young() {
        let violation = judged(&min_age(Action::Deny), BuildDate::Future(time("2027-01-01T00:00:00Z"))).unwrap();
        assert!(violation.text.contains("deploy it on or after 2027-01-04T00:00:00Z"), "{}", violation.text);
        assert!(judged(&min_age(Action::Deny), BuildDate::Future(DateTime::<Utc>::MAX_UTC)).is_some());
    }

    #[test]
    fn an_image_without_a_build_date_is_left_to_the_schedule() {
        assert_eq!(judged(&min_age(Action::Deny), BuildDate::Unknown(None)), None);
    }

    #[test]
    fn the_action_is_the_effect() {
        let built = || BuildDate::At(time(NOW));
        let effect = |settings: &Rollout| judged(settings, built()).map(|violation| violation.effect);
        assert_eq!(effect(&min_age(Action::Deny)), Some(Effect::Deny));
        assert_eq!(effect(&min_age(Action::Warn)), Some(Effect::Warn));
        assert_eq!(effect(&min_age(Action::Off)), None);
        assert_eq!(effect(&Rollout::default()), None, "without a minimum age there is nothing to judge");
    }
}
