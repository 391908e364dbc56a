//! A schedule as text for people.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};
use container_patch_policy::finding::Effect;
use container_patch_policy::rules::schedule::deadline::Cadence;

use super::one_line;
use super::plan::{PatchDay, Plan, PlannedFreeze, PlannedOpening, PlannedWindows};
use crate::timestamp::rfc3339;

/// The most lines without `--all`.
const MAX_LINES: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PatchDay,
    Freeze,
    Window,
    Other,
}

type Lines = Vec<(Kind, String)>;

/// Describes the schedules. Without `all`, the last line says what is left out.
pub(super) fn render(plans: &[Plan], from: NaiveDate, to: NaiveDate, all: bool) -> String {
    let mut lines = Lines::new();
    for plan in plans {
        if let Some(scope) = &plan.scope {
            lines.push((Kind::Other, String::new()));
            lines.push((Kind::Other, format!("{scope}:")));
        }
        add(&mut lines, plan, from, to);
    }
    if !all {
        cut(&mut lines);
    }
    lines.into_iter().fold(String::new(), |text, (_, line)| text + &line + "\n")
}

/// Replaces the lines after the limit by one line.
fn cut(lines: &mut Lines) {
    if lines.len() <= MAX_LINES {
        return;
    }
    let rest = lines.split_off(MAX_LINES - 1);
    let count = |kind| rest.iter().filter(|(found, _)| *found == kind).count();
    let mut left_out = format!("… {} more lines", rest.len());
    for (kind, one, many) in [
        (Kind::PatchDay, "patch day", "patch days"),
        (Kind::Freeze, "freeze", "freezes"),
        (Kind::Window, "window", "windows"),
    ] {
        match count(kind) {
            0 => {}
            // Writing to a `String` cannot fail.
            count => {
                let mark = if left_out.contains(": ") { ", " } else { ": " };
                let _ = write!(left_out, "{mark}{count} {}", if count == 1 { one } else { many });
            }
        }
    }
    lines.push((Kind::Other, format!("{left_out}; --all prints them")));
}

fn add(lines: &mut Lines, plan: &Plan, from: NaiveDate, to: NaiveDate) {
    if plan.has_own_schedule() {
        add_schedule(lines, plan, from, to);
    } else {
        lines.push((Kind::Other, "The schedule is the same as for all images.".to_owned()));
    }
    if plan.has_own_schedule() || plan.has_own_rollouts() {
        add_freezes(lines, plan);
    }
    match &plan.windows {
        _ if !plan.has_own_rollouts() => {}
        Some(windows) => add_windows(lines, windows, from, to),
        None if plan.scope.is_some() => {
            lines.push((Kind::Other, String::new()));
            lines.push((Kind::Other, "New images are admitted outside of windows, too.".to_owned()));
        }
        None => {}
    }
}

fn add_schedule(lines: &mut Lines, plan: &Plan, from: NaiveDate, to: NaiveDate) {
    let mut other = |line: String| lines.push((Kind::Other, line));
    if plan.is_off() {
        other("The schedule is off: images may be of any age.".to_owned());
        return;
    }
    match plan.schedule.cadence() {
        Cadence::MaxAge(age) => {
            other(format!("Images may be at most {age} old. Days begin and end in UTC."));
            other(String::new());
            for (day, oldest) in &plan.oldest {
                other(format!("On {day}, images built before {} are too old.", timestamp(*oldest)));
            }
        }
        Cadence::PatchDays(days) => {
            let zone = plan.schedule.zone();
            other(format!(
                "Images may be deployed until the first patch day after their build, plus {}. Days begin and end in {zone}.",
                days.grace
            ));
            other(String::new());
            other(format!("{:<26}{:<35}WARNED FROM", "PATCH DAY", "OLDER IMAGES REFUSED FROM"));
            lines.extend(plan.patch_days.iter().map(|day| (Kind::PatchDay, patch_day(day))));
            if plan.has_more {
                lines.push((Kind::Other, "… and more; choose fewer --months".to_owned()));
            } else if plan.patch_days.is_empty() {
                lines.push((Kind::Other, format!("No patch days from {from} to {to}.")));
            }
        }
    }
}

fn add_freezes(lines: &mut Lines, plan: &Plan) {
    if plan.freezes.is_empty() {
        return;
    }
    let title = match plan.is_off() {
        true => "Freezes:",
        false => "Freezes (a deadline during a freeze moves to the day after it):",
    };
    lines.push((Kind::Other, String::new()));
    lines.push((Kind::Other, title.to_owned()));
    lines.extend(plan.freezes.iter().map(|PlannedFreeze { days, reason, rollouts }| {
        let rollouts = match rollouts {
            Some(Effect::Deny) => "  (no rollouts)",
            Some(Effect::Warn) => "  (rollouts cause warnings)",
            None => "",
        };
        (Kind::Freeze, format!("  {} to {}  {}{rollouts}", days.from, days.to, one_line(reason)))
    }));
}

fn add_windows(lines: &mut Lines, windows: &PlannedWindows, from: NaiveDate, to: NaiveDate) {
    lines.push((Kind::Other, String::new()));
    let rule = match windows.effect {
        Effect::Deny => "New images are admitted only in windows.",
        Effect::Warn => "New images outside of windows cause warnings.",
    };
    let frozen = windows.frozen.as_ref();
    let frozen =
        frozen.map(|reason| format!(" At {}, rollouts are frozen: {}.", rfc3339(&windows.start), one_line(reason)));
    let frozen = frozen.unwrap_or_default();
    if windows.is_always_open {
        lines.push((Kind::Other, format!("{rule} Apart from clock changes, a window is always open.{frozen}")));
        return;
    }
    let state = if windows.is_open { "A window is open" } else { "All windows are closed" };
    lines.push((Kind::Other, format!("{rule} {state} at {}.{frozen}", rfc3339(&windows.start))));
    if windows.openings.is_empty() {
        lines.push((Kind::Other, format!("No window opens from {from} to {to}.")));
        return;
    }
    lines.push((Kind::Other, String::new()));
    lines.push((Kind::Other, format!("{:<26}{:<26}TIME ZONE", "WINDOW OPENS", "CLOSES")));
    lines.extend(windows.openings.iter().map(|PlannedOpening { start, end, zone, frozen }| {
        let frozen = frozen.as_ref().map(|reason| format!("  (frozen: {})", one_line(reason))).unwrap_or_default();
        let [start, end] = [start, end].map(|time| time.format("%a %Y-%m-%d %H:%M").to_string());
        (Kind::Window, format!("{start:<26}{end:<26}{zone}{frozen}"))
    }));
    if windows.has_more {
        lines.push((Kind::Other, "… and more; choose fewer --months".to_owned()));
    }
}

fn patch_day(PatchDay { at, deadline, warned_from, moved_by }: &PatchDay) -> String {
    let moved = moved_by.as_ref().map(|reason| format!("  (after the freeze `{}`)", one_line(reason)));
    format!(
        "{:<26}{:<35}{}{}",
        at.format("%a %Y-%m-%d %H:%M").to_string(),
        deadline.format("%a %Y-%m-%d %H:%M").to_string(),
        warned_from.format("%Y-%m-%d"),
        moved.unwrap_or_default()
    )
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.format("%Y-%m-%d %H:%M").to_string()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{MAX_LINES, render};
    use crate::commands::schedule::tests::{day, plans_of};

    fn text(settings: &Value, from: &str, to: &str, all: bool) -> String {
        render(&plans_of(settings, from, to), day(from), day(to), all)
    }

    #[test]
    fn a_calendar_and_the_schedules_of_overrides_are_listed() {
        let settings = json!({
            "schedule": {
                "patchDays": {"cron": "0 0 * * TUE#2", "grace": "14d"},
                "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end"}],
            },
            "overrides": [{"images": ["*a"], "schedule": {"action": "off"}}],
        });
        assert_eq!(
            text(&settings, "2026-12-01", "2026-12-31", false),
            "Images may be deployed until the first patch day after their build, plus 14 days. Days begin and end in UTC.\n\n\
             PATCH DAY                 OLDER IMAGES REFUSED FROM          WARNED FROM\n\
             Tue 2026-12-08 00:00      Mon 2027-01-04 00:00               2026-12-21  (after the freeze `year-end`)\n\n\
             Freezes (a deadline during a freeze moves to the day after it):\n  2026-12-18 to 2027-01-03  year-end\n\n\
             Images of overrides[0]:\nThe schedule is off: images may be of any age.\n"
        );
    }

    #[test]
    fn the_heading_of_an_override_has_its_namespaces() {
        for (namespaces, expected) in [
            (json!(null), "Images of overrides[0]:"),
            (json!(["staging"]), "Images of overrides[0] in the namespace staging:"),
            (json!(["staging-*"]), "Images of overrides[0] in the namespaces staging-*:"),
            (json!(["staging", "test-?"]), "Images of overrides[0] in the namespaces staging, test-?:"),
        ] {
            let entry = json!({"images": ["*"], "namespaces": namespaces, "schedule": {"action": "off"}});
            let text = text(&json!({"overrides": [entry]}), "2026-12-01", "2026-12-31", false);
            assert!(text.contains(&format!("\n\n{expected}\nThe schedule is off")), "{expected}\n{text}");
        }
    }

    #[test]
    fn windows_and_freezes_that_stop_rollouts_are_listed() {
        let settings = json!({
            "schedule": {
                "maxAge": "30d",
                "freezes": [{"from": "12-18", "to": "01-03", "reason": "year-end", "rollouts": "deny"}],
            },
            "rollout": {"windows": [{"cron": "0 9 * * MON", "timeZone": "Europe/Berlin", "for": "8h"}]},
            "overrides": [
                {"images": ["*a"], "rollout": {"action": "warn", "windows": [{"cron": "* * * * *", "for": "1m"}]}},
                {"images": ["*b"], "rollout": {"windows": []}},
                {"images": ["*c"], "schedule": {"action": "off"}},
            ],
        });
        assert_eq!(
            text(&settings, "2026-12-14", "2026-12-21", false),
            "Images may be at most 30 days old. Days begin and end in UTC.\n\n\
             On 2026-12-14, images built before 2026-11-14 00:00 are too old.\n\
             On 2026-12-21, images built before 2026-11-18 00:00 are too old.\n\n\
             Freezes (a deadline during a freeze moves to the day after it):\n  2026-12-18 to 2027-01-03  year-end  (no rollouts)\n\n\
             New images are admitted only in windows. All windows are closed at 2026-12-14T00:00:00Z.\n\n\
             WINDOW OPENS              CLOSES                    TIME ZONE\n\
             Mon 2026-12-14 09:00      Mon 2026-12-14 17:00      Europe/Berlin\n\
             Mon 2026-12-21 09:00      Mon 2026-12-21 17:00      Europe/Berlin  (frozen: year-end)\n\n\
             Images of overrides[0]:\nThe schedule is the same as for all images.\n\n\
             Freezes (a deadline during a freeze moves to the day after it):\n  2026-12-18 to 2027-01-03  year-end  (rollouts cause warnings)\n\n\
             New images outside of windows cause warnings. Apart from clock changes, a window is always open.\n\n\
             Images of overrides[1]:\nThe schedule is the same as for all images.\n\n\
             Freezes (a deadline during a freeze moves to the day after it):\n  2026-12-18 to 2027-01-03  year-end  (no rollouts)\n\n\
             New images are admitted outside of windows, too.\n\n\
             Images of overrides[2]:\nThe schedule is off: images may be of any age.\n\n\
             Freezes:\n  2026-12-18 to 2027-01-03  year-end  (no rollouts)\n"
        );
    }

    #[test]
    fn a_window_that_does_not_open_in_the_period_is_mentioned() {
        let settings = json!({"rollout": {"windows": [{"cron": "0 0 1 6 *", "for": "1d"}]}});
        let text = text(&settings, "2026-12-01", "2026-12-31", false);
        assert!(text.ends_with("\nNo window opens from 2026-12-01 to 2026-12-31.\n"), "{text}");
    }

    #[test]
    fn a_long_text_says_what_is_left_out() {
        let settings = json!({"schedule": {
            "patchDays": {"cron": "0 0 * * *", "grace": "1d"},
            "freezes": [{"from": "2027-01-01", "to": "2027-01-01", "reason": "new year"}],
        }});
        let all = text(&settings, "2026-12-01", "2027-02-28", true);
        let cut = text(&settings, "2026-12-01", "2027-02-28", false);
        assert_eq!(cut.lines().count(), MAX_LINES);
        let left = all.lines().count() - (MAX_LINES - 1);
        let days = left - 3;
        assert_eq!(
            cut.lines().last().unwrap(),
            format!("… {left} more lines: {days} patch days, 1 freeze; --all prints them")
        );
        assert!(all.starts_with(cut.rsplit_once("\n…").unwrap().0));
    }

    #[test]
    fn a_calendar_without_patch_days_in_the_period_says_so() {
        let settings = json!({"schedule": {"patchDays": {"cron": "0 0 1 6 *", "grace": "1d"}}});
        assert!(
            text(&settings, "2026-12-01", "2026-12-31", false)
                .ends_with("\nNo patch days from 2026-12-01 to 2026-12-31.\n")
        );
    }
}
