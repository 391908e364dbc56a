//! The first moment at which the windows and freezes admit a new image.

use chrono::{DateTime, Utc};

use super::settings::Rollout;
use crate::calendar::freeze::{Freeze, Freezes};
use crate::calendar::window::{self, Window};
use crate::calendar::zone::Zone;
use crate::finding::Effect;

/// The most windows and freezes that a search goes through. A moment that is later is not found.
const MAX_ROUNDS: usize = 32;

/// A moment at which the windows and freezes admit new images.
pub(super) struct Moment<'s> {
    pub(super) at: DateTime<Utc>,
    /// The time zone in which messages show it.
    zone: &'s Zone,
    /// The window that opens then.
    pub(super) window: Option<&'s Window>,
    /// The last freeze before it.
    pub(super) freeze: Option<&'s Freeze>,
}

impl Moment<'_> {
    /// The moment in messages.
    pub(super) fn shown(&self) -> String {
        self.zone.rfc3339(self.at)
    }
}

impl Rollout {
    /// The first moment from a time on at which the windows and freezes admit new images.
    pub(super) fn admitted_from<'s>(&'s self, time: DateTime<Utc>, freezes: Freezes<'s>) -> Moment<'s> {
        let mut moment = Moment { at: time, zone: freezes.zone, window: None, freeze: None };
        for _ in 0..MAX_ROUNDS {
            if let Some((end, freeze)) =
                freezes.end_after(moment.at, |freeze| freeze.rollouts.effect() == Some(Effect::Deny))
            {
                moment = Moment { at: end, zone: freezes.zone, window: None, freeze: Some(freeze) };
            }
            if self.windows.is_empty() || self.windows.iter().any(|window| window.is_open_at(moment.at)) {
                break;
            }
            let Some((opening, window)) = window::next_opening(&self.windows, moment.at) else { break };
            moment = Moment { at: opening.start, zone: &window.time_zone, window: Some(window), ..moment };
        }
        moment
    }
}
