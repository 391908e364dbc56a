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

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{Freezes, Rollout};
    use crate::config::read::{Path, Problems, Setting};
    use crate::rules::schedule::settings::Schedule;

    fn read<S: Setting>(json: &Value) -> S {
        let json = serde_json::value::to_raw_value(json).unwrap();
        let mut problems = Problems::default();
        S::read(&json, Path::Root, &mut problems).unwrap_or_else(|| panic!("{problems}"))
    }

    /// The moment from a time on, with office hours in Berlin from Monday to Thursday, and these freezes.
    fn admitted_from(time: &str, freezes: &Value) -> (String, String) {
        let rollout: Rollout =
            read(&json!({"windows": [{"cron": "0 9 * * MON-THU", "timeZone": "Europe/Berlin", "for": "8h"}]}));
        let schedule: Schedule = read(&json!({"freezes": freezes}));
        let time: DateTime<Utc> = time.parse().unwrap();
        let moment = rollout.admitted_from(time, Freezes { all: &schedule.freezes, zone: schedule.zone() });
        let freeze = moment.freeze.map(|freeze| freeze.reason.clone()).unwrap_or_default();
        assert!(moment.at >= time);
        (moment.shown(), freeze)
    }

    #[test]
    fn the_moment_is_in_a_window_and_in_no_freeze() {
        let freeze = |from: &str, to: &str, rollouts: &str| json!({"from": from, "to": to, "reason": format!("{from} {rollouts}"), "rollouts": rollouts});
        let of = |time: &str, freezes: &[Value]| admitted_from(time, &json!(freezes));
        let no_freeze = String::new();
        // 2026-12-16 is a Wednesday.
        assert_eq!(of("2026-12-16T10:00:00Z", &[]), ("2026-12-16T10:00:00Z".to_owned(), no_freeze.clone()));
        assert_eq!(of("2026-12-17T17:00:00Z", &[]), ("2026-12-21T09:00:00+01:00".to_owned(), no_freeze.clone()));
        let year_end = freeze("12-18", "01-03", "deny");
        let monday = ("2027-01-04T09:00:00+01:00".to_owned(), "12-18 deny".to_owned());
        for time in ["2026-12-17T17:00:00Z", "2026-12-19T12:00:00Z", "2027-01-03T23:59:59Z"] {
            assert_eq!(of(time, std::slice::from_ref(&year_end)), monday, "{time}");
        }
        let next = freeze("2027-01-05", "2027-01-06", "deny");
        let (moment, reason) = of("2027-01-04T20:00:00Z", &[year_end.clone(), next]);
        assert_eq!((moment.as_str(), reason.as_str()), ("2027-01-07T09:00:00+01:00", "2027-01-05 deny"));
        let warned = freeze("2026-12-20", "2026-12-24", "warn");
        assert_eq!(of("2026-12-17T17:00:00Z", &[warned]), ("2026-12-21T09:00:00+01:00".to_owned(), no_freeze));
    }

    #[test]
    fn a_search_without_an_end_stops() {
        let always = json!([{"from": "2020-01-01", "to": "9999-12-30", "reason": "r", "rollouts": "deny"}]);
        assert!(!admitted_from("2026-12-16T10:00:00Z", &always).0.is_empty());
        assert!(!admitted_from("9999-12-30T10:00:00Z", &json!([])).0.is_empty());
    }
}
