//! A schedule as text for people.

use std::fmt::Write as _;

use chrono::{DateTime, NaiveDate, Utc};
use container_patch_policy::rules::schedule::deadline::Cadence;

use super::one_line;
use super::plan::{PatchDay, Plan};

/// The most lines without `--all`.
const MAX_LINES: usize = 60;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    PatchDay,
    Freeze,
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
    for (kind, one, many) in [(Kind::PatchDay, "patch day", "patch days"), (Kind::Freeze, "freeze", "freezes")] {
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
    if !plan.freezes.is_empty() {
        lines.push((Kind::Other, String::new()));
        lines.push((Kind::Other, "Freezes (a deadline during a freeze moves to the day after it):".to_owned()));
        let freezes = plan.freezes.iter();
        let freezes =
            freezes.map(|freeze| format!("  {} to {}  {}", freeze.days.from, freeze.days.to, one_line(&freeze.reason)));
        lines.extend(freezes.map(|line| (Kind::Freeze, line)));
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
