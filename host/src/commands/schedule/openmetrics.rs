//! The next dates of a schedule as metrics, in a form that is valid for OpenMetrics and for the text format of Prometheus.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use container_patch_policy::rules::schedule::deadline::Cadence;

use super::plan::Plan;

/// The metrics for the time after `now`.
pub(super) fn render(plans: &[Plan], now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let patch_days = |plan: &Plan| plan.patch_days.iter().map(|day| day.at.timestamp()).collect::<Vec<_>>();
    let deadlines = |plan: &Plan| plan.patch_days.iter().map(|day| day.deadline.timestamp()).collect::<Vec<_>>();
    let next = |times: Vec<i64>| times.into_iter().filter(|time| *time > now.timestamp()).min();
    let max_age = |plan: &Plan| match plan.schedule.cadence() {
        Cadence::MaxAge(age) if !plan.is_off() => Some(age.delta().num_seconds()),
        _ => None,
    };
    add(
        &mut text,
        "container_patch_schedule_next_patch_day_timestamp_seconds",
        "Next patch day, in seconds since 1970.",
        plans.iter().map(|plan| (plan, next(patch_days(plan)))),
    );
    add(
        &mut text,
        "container_patch_schedule_next_deadline_timestamp_seconds",
        "Next time from which older images are refused, in seconds since 1970.",
        plans.iter().map(|plan| (plan, next(deadlines(plan)))),
    );
    add(
        &mut text,
        "container_patch_schedule_max_age_seconds",
        "Maximum age of images, for schedules without patch days.",
        plans.iter().map(|plan| (plan, max_age(plan))),
    );
    text + "# EOF\n"
}

/// Adds a metric with the schedules that have a value.
fn add<'p>(text: &mut String, name: &str, help: &str, values: impl Iterator<Item = (&'p Plan, Option<i64>)>) {
    let mut samples = String::new();
    for (plan, value) in values {
        let Some(value) = value else { continue };
        let images = plan.scope.as_ref().map_or_else(|| "*".to_owned(), |(_, images)| images.join(","));
        // Writing to a `String` cannot fail.
        let _ = writeln!(samples, "{name}{{images=\"{}\"}} {value}", escape(&images));
    }
    if !samples.is_empty() {
        let _ = write!(text, "# TYPE {name} gauge\n# UNIT {name} seconds\n# HELP {name} {help}\n{samples}");
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{escape, render};
    use crate::commands::schedule::tests::{plans_of, time};

    #[test]
    fn the_next_dates_are_gauges() {
        let settings = json!({
            "schedule": {"patchDays": {"cron": "0 0 * * TUE#2", "grace": "14d"}},
            "overrides": [{"images": ["*a", "*b"], "schedule": {"maxAge": "30d"}}, {"images": ["*c"], "schedule": {"action": "off"}}],
        });
        let plans = plans_of(&settings, "2026-12-01", "2027-12-31");
        let samples = |now: &str| {
            let text = render(&plans, time(now));
            let samples: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
            samples
        };
        let (december_8, december_22, january_12) = (1_796_688_000, 1_797_897_600, 1_799_712_000);
        let expected = |patch_day: i64, deadline: i64| {
            [
                format!("container_patch_schedule_next_patch_day_timestamp_seconds{{images=\"*\"}} {patch_day}"),
                format!("container_patch_schedule_next_deadline_timestamp_seconds{{images=\"*\"}} {deadline}"),
                "container_patch_schedule_max_age_seconds{images=\"*a,*b\"} 2592000".to_owned(),
            ]
        };
        assert_eq!(samples("2026-12-02T00:00:00Z"), expected(december_8, december_22));
        assert_eq!(samples("2026-12-08T00:00:00Z"), expected(january_12, december_22));
        assert!(render(&plans, time("2026-12-02T00:00:00Z")).ends_with("\n# EOF\n"));
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\\n"), "a\\\"b\\\\\\n");
    }
}
