//! Freezes during which new images are not admitted.

use chrono::{DateTime, Utc};

use super::ROLLOUT_FREEZE;
use super::settings::Rollout;
use crate::calendar::freeze::{Freeze, Freezes};
use crate::finding::{Effect, Violation};

impl Rollout {
    /// Judges a new image by the freezes of its schedule. The effect is the milder one of `action` and of the freeze; of several freezes
    /// the strictest one counts.
    pub(super) fn judge_freezes(&self, freezes: Freezes<'_>, now: DateTime<Utc>) -> Option<Violation> {
        let of_rule = self.action.effect()?;
        let of_freeze = |freeze: &Freeze| freeze.rollouts.effect().map(|effect| effect.min(of_rule));
        [Effect::Deny, Effect::Warn].into_iter().find_map(|effect| {
            let (end, last) = freezes.end_after(now, |freeze| of_freeze(freeze) >= Some(effect))?;
            let moment = self.admitted_from(end, freezes);
            // After a freeze that only warns, another one may deny.
            let reason = moment.freeze.unwrap_or(last).reason_on_one_line();
            let when = match moment.window {
                Some(_) => format!("in the first window after the freeze `{reason}`"),
                None => format!("when the freeze `{reason}` has ended"),
            };
            let text = format!(
                "is new, and rollouts are frozen; deploy it on or after {}, {when}; if it is urgent, ask the cluster admin for an \
                 exception",
                moment.shown(),
            );
            Some(Violation { code: ROLLOUT_FREEZE, effect, text })
        })
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{Freezes, ROLLOUT_FREEZE, Rollout};
    use crate::config::read::{Path, Problems, Setting};
    use crate::config::values::Action;
    use crate::finding::{Effect, Violation};
    use crate::rules::schedule::settings::Schedule;

    fn schedule(json: &Value) -> Schedule {
        let json = serde_json::value::to_raw_value(json).unwrap();
        let mut problems = Problems::default();
        let schedule = Schedule::read(&json, Path::Root, &mut problems);
        assert!(problems.is_empty(), "{problems}");
        schedule.unwrap()
    }

    fn judged(action: Action, schedule: &Schedule, now: &str) -> Option<Violation> {
        let freezes = Freezes { all: &schedule.freezes, zone: schedule.zone() };
        let now: DateTime<Utc> = now.parse().unwrap();
        Rollout { action, ..Rollout::default() }.judge_freezes(freezes, now)
    }

    fn freeze(from: &str, to: &str, rollouts: &str) -> Value {
        json!({"from": from, "to": to, "reason": format!("{rollouts}\n{from}"), "rollouts": rollouts})
    }

    #[test]
    fn a_new_image_waits_for_the_end_of_the_freeze_in_the_zone_of_the_calendar() {
        let schedule = schedule(&json!({
            "patchDays": {"cron": "0 0 1 * *", "timeZone": "Europe/Berlin"},
            "freezes": [freeze("12-18", "01-03", "deny")],
        }));
        assert_eq!(judged(Action::Deny, &schedule, "2026-12-17T22:59:59Z"), None);
        let text = "is new, and rollouts are frozen; deploy it on or after 2027-01-04T00:00:00+01:00, when the freeze `deny 12-18` has ended; \
                    if it is urgent, ask the cluster admin for an exception";
        let expected = Violation { code: ROLLOUT_FREEZE, effect: Effect::Deny, text: text.to_owned() };
        assert_eq!(judged(Action::Deny, &schedule, "2026-12-17T23:00:00Z"), Some(expected));
        assert!(judged(Action::Deny, &schedule, "2027-01-03T22:59:59Z").is_some());
        assert_eq!(judged(Action::Deny, &schedule, "2027-01-03T23:00:00Z"), None);
    }

    #[test]
    fn the_effect_is_the_milder_one_of_the_rule_and_the_freeze() {
        for (action, rollouts, effect) in [
            (Action::Deny, "deny", Some(Effect::Deny)),
            (Action::Deny, "warn", Some(Effect::Warn)),
            (Action::Deny, "allow", None),
            (Action::Warn, "deny", Some(Effect::Warn)),
            (Action::Warn, "warn", Some(Effect::Warn)),
            (Action::Warn, "allow", None),
            (Action::Off, "deny", None),
        ] {
            // The action of the schedule does not matter.
            let schedule = schedule(&json!({"action": "off", "freezes": [freeze("12-18", "01-03", rollouts)]}));
            let found = judged(action, &schedule, "2026-12-24T12:00:00Z").map(|violation| violation.effect);
            assert_eq!(found, effect, "{action:?} {rollouts}");
        }
        let without = schedule(&json!({"freezes": [{"from": "12-18", "to": "01-03", "reason": "r"}]}));
        assert_eq!(judged(Action::Deny, &without, "2026-12-24T12:00:00Z"), None, "freezes admit rollouts by default");
    }

    #[test]
    fn the_strictest_of_several_freezes_counts_and_those_that_follow_it() {
        let schedule = schedule(&json!({"maxAge": "90d", "freezes": [
            freeze("2027-01-04", "2027-01-10", "deny"),
            freeze("12-18", "01-03", "deny"),
            freeze("2027-01-11", "2027-01-20", "warn"),
            freeze("2026-12-01", "2026-12-31", "warn"),
            freeze("2027-01-21", "2027-01-31", "allow"),
        ]}));
        let found = |action, now| {
            let violation = judged(action, &schedule, now)?;
            let end = violation.text.split_once("on or after ")?.1.split_once('T')?.0.to_owned();
            Some((violation.effect, end))
        };
        let expected = |effect, end: &str| Some((effect, end.to_owned()));
        let (first, second) = ("2026-12-10T00:00:00Z", "2026-12-20T00:00:00Z");
        assert_eq!(found(Action::Deny, first), expected(Effect::Warn, "2027-01-21"), "the denials follow");
        assert_eq!(found(Action::Deny, second), expected(Effect::Deny, "2027-01-11"), "then there are only warnings");
        assert_eq!(found(Action::Warn, second), expected(Effect::Warn, "2027-01-21"));
        assert_eq!(found(Action::Deny, "2027-01-15T00:00:00Z"), expected(Effect::Warn, "2027-01-21"));
        assert_eq!(found(Action::Deny, "2027-01-21T00:00:00Z"), None);
    }

    #[test]
    fn a_freeze_of_one_day_lasts_as_long_as_the_day() {
        // Clocks in Berlin go forward on 2027-03-28 and back on 2026-10-25.
        for (day, start, end) in [
            ("2027-03-28", "2027-03-27T23:00:00Z", "2027-03-28T22:00:00Z"),
            ("2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"),
        ] {
            let schedule = schedule(&json!({
                "patchDays": {"cron": "0 0 1 * *", "timeZone": "Europe/Berlin"},
                "freezes": [freeze(day, day, "deny")],
            }));
            let second = chrono::TimeDelta::seconds(1);
            let [start, end]: [DateTime<Utc>; 2] = [start, end].map(|time| time.parse().unwrap());
            for (time, is_frozen) in [(start - second, false), (start, true), (end - second, true), (end, false)] {
                assert_eq!(judged(Action::Deny, &schedule, &time.to_rfc3339()).is_some(), is_frozen, "{time}");
            }
        }
    }
}
