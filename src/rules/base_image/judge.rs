//! Judges an image by the status of its base.

use chrono::{DateTime, Utc};

use super::settings::BaseImage;
use super::{BASE_UPDATE_DUE, OUTDATED_BASE_IMAGE, UNKNOWN_BASE_IMAGE};
use crate::evidence::build_date::BuildDate;
use crate::finding::{Effect, Violation};
use crate::sanitized::Sanitized;

/// How the base of an image stands to what its name points at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseStatus {
    /// The base is not known: why not, and what to do about it.
    Unknown(String),
    /// It is the newest build.
    Current,
    /// There is a newer build.
    Outdated {
        /// The base, by tag.
        base: String,
        /// When the newer build was built.
        newer: BuildDate,
    },
}

impl BaseImage {
    /// Judges an image by how its base stands. `built` is when the image itself was built.
    #[must_use]
    pub fn judge(&self, base: &BaseStatus, built: &BuildDate, now: DateTime<Utc>) -> Option<Violation> {
        let effect = self.action.effect()?;
        match base {
            BaseStatus::Current => None,
            BaseStatus::Unknown(reason) => {
                Some(Violation { code: UNKNOWN_BASE_IMAGE, effect: self.unknown.effect()?, text: reason.clone() })
            }
            BaseStatus::Outdated { base, newer } => Some(self.judge_outdated(base, newer, built, now, effect)),
        }
    }

    fn judge_outdated(
        &self,
        base: &str,
        newer: &BuildDate,
        built: &BuildDate,
        now: DateTime<Utc>,
        effect: Effect,
    ) -> Violation {
        let fact = match newer {
            BuildDate::At(date) => format!("of which there is a build of {}", date.date_naive()),
            _ => "of which there is another build".to_owned(),
        };
        // Nobody had to rebuild an image before it was built, though a tag may be moved to a build of before.
        let from = newer.date().max(built.date());
        let base = Sanitized(base);
        match from.map(|from| from + self.grace.delta()) {
            Some(deadline) if now < deadline => Violation {
                code: BASE_UPDATE_DUE,
                effect: Effect::Warn,
                text: format!("stands on an old `{base}`, {fact}; build it on that by {}", deadline.date_naive()),
            },
            Some(deadline) => Violation {
                code: OUTDATED_BASE_IMAGE,
                effect,
                text: format!(
                    "stands on an old `{base}`, {fact}, and had to be built on that by {}; build it anew",
                    deadline.date_naive()
                ),
            },
            None => Violation {
                code: OUTDATED_BASE_IMAGE,
                effect,
                text: format!("stands on an old `{base}`, {fact}; build it anew"),
            },
        }
    }
}
