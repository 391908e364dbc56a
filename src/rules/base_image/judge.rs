//! Judges an image by the name and the status of its base.

use chrono::{DateTime, Utc};

use super::base::NamedBase;
use super::settings::BaseImage;
use super::{BASE_UPDATE_DUE, DISALLOWED_BASE_IMAGE, OUTDATED_BASE_IMAGE, UNKNOWN_BASE_IMAGE};
use crate::evidence::build_date::BuildDate;
use crate::finding::{Effect, Violation};
use crate::sanitized::Sanitized;

/// The maximum number of patterns in a message. Warnings are short.
const MAX_SHOWN_PATTERNS: usize = 3;

/// Whether the base of an image is the one that its name points at now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BaseStatus {
    /// The base is unknown, for this reason. The text includes what to do, and continues a sentence about the image.
    Unknown(String),
    /// The base is the newest build.
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
    /// Judges the base that an image names, without asking about it.
    #[must_use]
    pub fn judge_name(&self, base: &NamedBase) -> Option<Violation> {
        let effect = self.action.effect()?;
        (!self.allows(base)).then(|| Violation {
            code: DISALLOWED_BASE_IMAGE,
            effect,
            text: format!(
                "is built on `{}`, which `baseImage.allowed` does not list; build it on {}, or ask the cluster admin to add that base",
                Sanitized(&base.name),
                self.shown_patterns(),
            ),
        })
    }

    /// The first allowed bases, for a message.
    fn shown_patterns(&self) -> String {
        let mut shown: Vec<String> =
            self.allowed.iter().take(MAX_SHOWN_PATTERNS).map(|pattern| format!("`{pattern}`")).collect();
        match self.allowed.len().saturating_sub(MAX_SHOWN_PATTERNS) {
            0 => {}
            1 => shown.push("1 other".to_owned()),
            more => shown.push(format!("{more} others")),
        }
        match shown.split_last() {
            Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
            _ => shown.concat(),
        }
    }

    /// Judges an image by the status of its base. `built` is the build date of the image itself.
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
        let newer_build = match newer {
            BuildDate::At(date) => format!("a newer one was built {}", date.date_naive()),
            _ => "there is another build".to_owned(),
        };
        // The tag may be moved back to an older build, so the grace period starts at the build of the image at the earliest.
        let from = newer.date().max(built.date());
        let base = Sanitized(base);
        match from.map(|from| from + self.grace.delta()) {
            Some(deadline) if now < deadline => Violation {
                code: BASE_UPDATE_DUE,
                effect: Effect::Warn,
                text: format!("uses an outdated base `{base}` ({newer_build}); rebuild by {}", deadline.date_naive()),
            },
            Some(deadline) => Violation {
                code: OUTDATED_BASE_IMAGE,
                effect,
                text: format!(
                    "uses an outdated base `{base}` ({newer_build}): a rebuild was due by {}; rebuild the image",
                    deadline.date_naive()
                ),
            },
            None => Violation {
                code: OUTDATED_BASE_IMAGE,
                effect,
                text: format!("uses an outdated base `{base}` ({newer_build}); rebuild the image"),
            },
        }
    }
}
