//! Windows in which new images are admitted.

use chrono::{DateTime, Utc};

use super::OUTSIDE_WINDOW;
use super::settings::Rollout;
use crate::calendar::freeze::Freezes;
use crate::calendar::window;
use crate::config::read::{Path, Problems};
use crate::finding::Violation;

/// The warning about windows that do not limit anything.
const ALWAYS_OPEN: &str = "apart from clock changes, a window is always open, so the windows have no effect; shorten `for`, or remove the windows";

impl Rollout {
    /// Judges the time at which a new image is deployed.
    pub(super) fn judge_windows(&self, freezes: Freezes<'_>, now: DateTime<Utc>) -> Option<Violation> {
        let effect = self.action.effect()?;
        if self.windows.is_empty() || self.windows.iter().any(|window| window.is_open_at(now)) {
            return None;
        }
        let moment = self.admitted_from(now, freezes);
        let text = match (moment.window, moment.freeze) {
            (Some(_), Some(freeze)) => format!(
                "is new, and the rollout windows are closed; deploy it on or after {}, in the first window after the freeze `{}`",
                moment.shown(),
                freeze.reason_on_one_line(),
            ),
            (Some(window), None) => format!(
                "is new, and the rollout windows are closed; deploy it on or after {}, when the next window opens for {}",
                moment.shown(),
                window.duration,
            ),
            (None, Some(freeze)) => format!(
                "is new, and the rollout windows are closed; deploy it on or after {}, when the freeze `{}` has ended",
                moment.shown(),
                freeze.reason_on_one_line(),
            ),
            (None, None) => {
                "is new, and the rollout windows do not open again; ask the cluster admin to change `rollout.windows`"
                    .to_owned()
            }
        };
        Some(Violation { code: OUTSIDE_WINDOW, effect, text })
    }

    /// Warns about windows that are always open.
    pub(super) fn check_windows(&self, at: Path<'_>, problems: &mut Problems) {
        let is_searched = problems.wants_warnings() && !problems.has_warning(ALWAYS_OPEN);
        if is_searched && window::are_always_open(&self.windows) {
            problems.warn(Path::Key(&at, "windows"), ALWAYS_OPEN);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{ALWAYS_OPEN, Freezes, OUTSIDE_WINDOW, Rollout};
    use crate::calendar::zone::Zone;
    use crate::config::read::{Path, Problems, Setting};
    use crate::finding::{Effect, Violation};

    fn read(settings: &Value) -> (Option<Rollout>, Problems) {
        let json = serde_json::value::to_raw_value(settings).unwrap();
        let mut problems = Problems::with_warnings();
        (Rollout::read(&json, Path::Key(&Path::Root, "rollout"), &mut problems), problems)
    }

    fn judged(settings: &Value, now: &str) -> Option<Violation> {
        let (rollout, problems) = read(settings);
        assert!(problems.is_empty(), "{problems}");
        rollout.unwrap().judge_windows(Freezes { all: &[], zone: &Zone::UTC }, now.parse::<DateTime<Utc>>().unwrap())
    }

    fn working_days(action: &str) -> Value {
        json!({"action": action, "windows": [{"cron": "0 9 * * MON-THU", "timeZone": "Europe/Berlin", "for": "8h"}]})
    }

    #[test]
    fn a_new_image_waits_for_the_next_window() {
        let settings = working_days("deny");
        // 2026-11-20 is a Friday.
        let text = "is new, and the rollout windows are closed; deploy it on or after 2026-11-23T09:00:00+01:00, when the next window \
                    opens for 8 hours";
        let expected = Violation { code: OUTSIDE_WINDOW, effect: Effect::Deny, text: text.to_owned() };
        assert_eq!(judged(&settings, "2026-11-20T12:00:00Z"), Some(expected.clone()));
        assert_eq!(judged(&settings, "2026-11-23T07:59:59Z"), Some(expected));
        assert_eq!(judged(&settings, "2026-11-23T08:00:00Z"), None);
        assert_eq!(judged(&settings, "2026-11-23T15:59:59Z"), None);
        assert!(
            judged(&settings, "2026-11-23T16:00:00Z").unwrap().text.contains("on or after 2026-11-24T09:00:00+01:00")
        );
    }

    #[test]
    fn of_several_windows_the_earliest_is_the_next_in_its_own_zone() {
        let settings = json!({"windows": [
            {"cron": "0 9 * * MON", "timeZone": "Europe/Berlin", "for": "8h"},
            {"cron": "0 10 * * SUN", "timeZone": "America/New_York", "for": "1h"},
        ]});
        let text = judged(&settings, "2026-11-20T12:00:00Z").unwrap().text;
        assert!(
            text.contains("on or after 2026-11-22T10:00:00-05:00, when the next window opens for 1 hour"),
            "{text}"
        );
        assert_eq!(judged(&settings, "2026-11-22T15:59:59Z"), None);
        assert_eq!(judged(&settings, "2026-11-23T08:00:00Z"), None);
    }

    #[test]
    fn the_action_is_the_effect_and_without_windows_images_are_admitted_at_any_time() {
        let effect = |settings: &Value| judged(settings, "2026-11-20T12:00:00Z").map(|violation| violation.effect);
        assert_eq!(effect(&working_days("warn")), Some(Effect::Warn));
        assert_eq!(effect(&working_days("off")), None);
        assert_eq!(effect(&json!({"windows": []})), None);
        assert_eq!(effect(&json!({})), None);
    }

    #[test]
    fn windows_that_do_not_open_again_say_so() {
        let settings = json!({"windows": [{"cron": "0 0 1 1 *", "for": "1h"}]});
        let text = read(&settings)
            .0
            .unwrap()
            .judge_windows(Freezes { all: &[], zone: &Zone::UTC }, DateTime::<Utc>::MAX_UTC)
            .unwrap()
            .text;
        assert_eq!(
            text,
            "is new, and the rollout windows do not open again; ask the cluster admin to change `rollout.windows`"
        );
        assert!(judged(&settings, "0000-01-01T01:00:00Z").is_some());
    }

    #[test]
    fn invalid_windows_are_refused_with_their_path() {
        for (window, expected) in [
            (json!({"cron": "0 9 * * MON"}), "rollout.windows[0]: `for` is required"),
            (json!({"for": "8h"}), "rollout.windows[0]: `cron` is required"),
            (json!({"cron": "0 9 * * MON", "for": "0h"}), "rollout.windows[0].for: `0h` is zero; write at least `1s`"),
            (
                json!({"cron": "0 9 * * MON", "for": "8"}),
                "rollout.windows[0].for: `8` has no unit; write `8d` for days, or `8h` for hours",
            ),
            (
                json!({"cron": "0 9 * * MON", "for": "99999d"}),
                "rollout.windows[0].for: `99999d` is too long; write at most `36600d`",
            ),
            (json!({"cron": "0 9 30 2 *", "for": "8h"}), "rollout.windows[0].cron: `0 9 30 2 *` never fires"),
            (
                json!({"cron": "0 9 * * *", "for": "8h", "timeZone": "Berlin"}),
                "rollout.windows[0].timeZone: unknown IANA time zone `Berlin`; did you mean `Europe/Berlin`?",
            ),
        ] {
            let (_, problems) = read(&json!({"windows": [window]}));
            assert_eq!(problems.lines(), [expected]);
        }
    }

    #[test]
    fn windows_that_are_always_open_cause_a_warning() {
        let warnings = |windows: Value| read(&json!({ "windows": windows })).1.warnings().to_vec();
        let window = |cron: &str, time: &str| json!({"cron": cron, "for": time});
        let in_berlin = |cron: &str, time: &str| json!({"cron": cron, "for": time, "timeZone": "Europe/Berlin"});
        let warning = [format!("rollout.windows: {ALWAYS_OPEN}")];
        for windows in [
            json!([window("* * * * *", "1m")]),
            json!([window("* * * * *", "8h")]),
            json!([window("0 0 * * *", "24h")]),
            json!([window("0 0 1 1 *", "366d")]),
            json!([window("0 0 * * *", "12h"), window("0 12 * * *", "12h")]),
            json!([window("0 0 * * SAT,SUN", "24h"), window("* * * * MON-FRI", "1m")]),
            // Apart from the day of 25 hours.
            json!([in_berlin("0 0 * * *", "24h")]),
            json!([in_berlin("0 0 * * *", "12h"), window("0 11 * * *", "12h")]),
        ] {
            assert_eq!(warnings(windows.clone()), warning, "{windows}");
        }
        for windows in [
            json!([]),
            json!([window("0 9 * * MON-THU", "8h")]),
            json!([window("0 0 * * *", "86399s")]),
            json!([window("0 0 1 1 *", "365d"), window("0 0 1 2 *", "300d")]),
            json!([window("* * * * MON-FRI", "1m")]),
            json!([window("* * * 1-11 *", "1m")]),
            json!([window("* * 1-30 * *", "1m")]),
            json!([in_berlin("0 0 * * *", "12h"), window("0 12 * * *", "12h")]),
        ] {
            assert_eq!(warnings(windows.clone()), [""; 0], "{windows}");
        }
    }

    #[test]
    fn an_override_does_not_repeat_the_warning_about_windows_that_it_inherits() {
        let settings = json!({
            "rollout": {"windows": [{"cron": "* * * * *", "for": "1m"}]},
            "overrides": [{"images": ["*a"], "rollout": {"minAge": "1d"}}],
        });
        let json = serde_json::value::to_raw_value(&settings).unwrap();
        let (_, warnings) = crate::settings::Settings::with_warnings(&json).unwrap();
        assert_eq!(warnings, [format!("rollout.windows: {ALWAYS_OPEN}")]);
    }
}
