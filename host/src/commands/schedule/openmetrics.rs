//! The next dates of a schedule as metrics, in a form that is valid for OpenMetrics and for the text format of Prometheus.

use std::collections::HashSet;
use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use container_patch_policy::rules::schedule::deadline::Cadence;

use super::one_line;
use super::plan::{Plan, PlannedOpening, PlannedWindows, Scope};

/// The metrics for the time after `now`.
pub(super) fn render(plans: &[Plan], now: DateTime<Utc>) -> String {
    let mut text = String::new();
    let schedules = || plans.iter().filter(|plan| plan.has_own_schedule());
    let patch_days = |plan: &Plan| plan.patch_days.iter().map(|day| day.at.timestamp()).collect::<Vec<_>>();
    let deadlines = |plan: &Plan| plan.patch_days.iter().map(|day| day.deadline.timestamp()).collect::<Vec<_>>();
    let next = |times: Vec<i64>| times.into_iter().filter(|time| *time > now.timestamp()).min();
    let max_age = |plan: &Plan| match plan.schedule.cadence() {
        Cadence::MaxAge(age) if !plan.is_off() => Some(age.delta().num_seconds()),
        _ => None,
    };
    add(
        &mut text,
        "container_patch_schedule_last_patch_day_timestamp_seconds",
        "Latest patch day that has begun, in seconds since 1970.",
        schedules().map(|plan| (labels(plan), last_patch_day(plan, now))),
    );
    add(
        &mut text,
        "container_patch_schedule_next_patch_day_timestamp_seconds",
        "Next patch day, in seconds since 1970.",
        schedules().map(|plan| (labels(plan), next(patch_days(plan)))),
    );
    add(
        &mut text,
        "container_patch_schedule_next_deadline_timestamp_seconds",
        "Next time from which older images are refused, in seconds since 1970.",
        schedules().map(|plan| (labels(plan), next(deadlines(plan)))),
    );
    add(
        &mut text,
        "container_patch_schedule_max_age_seconds",
        "Maximum age of images, for schedules without patch days.",
        schedules().map(|plan| (labels(plan), max_age(plan))),
    );
    let freezes: Vec<_> = schedules().flat_map(|plan| freezes(plan, now)).collect();
    add(
        &mut text,
        "container_patch_schedule_freeze_start_timestamp_seconds",
        "Start of the current or next freeze with this reason, in seconds since 1970.",
        freezes.iter().map(|(labels, start, _)| (labels.clone(), Some(*start))),
    );
    add(
        &mut text,
        "container_patch_schedule_freeze_end_timestamp_seconds",
        "First time after the current or next freeze with this reason, in seconds since 1970.",
        freezes.iter().map(|(labels, _, end)| (labels.clone(), Some(*end))),
    );
    let windows = |of: fn(&PlannedWindows, DateTime<Utc>) -> Option<i64>| {
        let plans = plans.iter().filter(|plan| plan.has_own_rollouts());
        plans.map(move |plan| (labels(plan), plan.windows.as_ref().and_then(|windows| of(windows, now))))
    };
    add_without_unit(
        &mut text,
        "container_patch_schedule_window_open",
        "Whether new images are admitted by the rollout windows: 1 in a window that is not frozen, otherwise 0.",
        windows(|windows, _| Some(i64::from(windows.is_open && windows.frozen.is_none()))),
    );
    add(
        &mut text,
        "container_patch_schedule_next_window_start_timestamp_seconds",
        "Next time at which a rollout window that is not frozen opens, in seconds since 1970.",
        windows(|windows, now| {
            admitting(windows).map(|opening| opening.start.timestamp()).find(|start| *start > now.timestamp())
        }),
    );
    add(
        &mut text,
        "container_patch_schedule_next_window_end_timestamp_seconds",
        "Next time at which a rollout window that is not frozen closes, in seconds since 1970.",
        windows(|windows, now| {
            admitting(windows).map(|opening| opening.end.timestamp()).find(|end| *end > now.timestamp())
        }),
    );
    text + "# EOF\n"
}

/// The periods in which windows are open, and no freeze stops rollouts.
fn admitting(windows: &PlannedWindows) -> impl Iterator<Item = &PlannedOpening> {
    windows.openings.iter().filter(|opening| opening.frozen.is_none())
}

/// The latest patch day that is not after `now`.
fn last_patch_day(plan: &Plan, now: DateTime<Utc>) -> Option<i64> {
    let Cadence::PatchDays(days) = plan.schedule.cadence() else { return None };
    if plan.is_off() {
        return None;
    }
    // An expression has at least a day in each cycle of leap years. A short time is searched first, because some expressions have a time in
    // each minute.
    let searched = [1, 8, 32, 367, 4 * 366, 12 * 366].into_iter().filter_map(|back| {
        let mut last = None;
        let mut from = now.checked_sub_signed(TimeDelta::days(back))?;
        while let Some(day) = days.next_after(from).map(|day| day.to_utc()).filter(|day| *day <= now) {
            last = Some(day);
            from = day;
        }
        last
    });
    searched.map(|day| day.timestamp()).next()
}

/// The current and coming freezes, each with its labels, start and end. Of several with the same reason, only the first.
fn freezes(plan: &Plan, now: DateTime<Utc>) -> Vec<(String, i64, i64)> {
    let zone = plan.schedule.zone();
    let spans = plan.freezes.iter().map(|freeze| (freeze.days.span(zone), one_line(&freeze.reason)));
    let mut spans: Vec<_> = spans.filter(|((_, end), _)| *end > now).collect();
    spans.sort();
    let mut reasons = HashSet::new();
    spans.retain(|(_, reason)| reasons.insert(reason.clone()));
    let with_labels = |((start, end), reason): ((DateTime<Utc>, DateTime<Utc>), String)| {
        let labels = format!("{},reason=\"{}\"", labels(plan), escape(&reason));
        (labels, start.timestamp(), end.timestamp())
    };
    spans.into_iter().map(with_labels).collect()
}

/// The labels for the images and the namespaces of a schedule. Without `namespaces`, it applies in every namespace.
fn labels(plan: &Plan) -> String {
    let Some(Scope { images, namespaces, .. }) = &plan.scope else { return "images=\"*\"".to_owned() };
    let images = format!("images=\"{}\"", escape(&images.join(",")));
    match namespaces {
        None => images,
        Some(namespaces) => format!("{images},namespaces=\"{}\"", escape(&namespaces.join(","))),
    }
}

/// Adds a metric in seconds with the samples that have a value, each with its labels.
fn add(text: &mut String, name: &str, help: &str, values: impl Iterator<Item = (String, Option<i64>)>) {
    add_metric(text, name, &format!("# UNIT {name} seconds\n# HELP {name} {help}\n"), values);
}

fn add_without_unit(text: &mut String, name: &str, help: &str, values: impl Iterator<Item = (String, Option<i64>)>) {
    add_metric(text, name, &format!("# HELP {name} {help}\n"), values);
}

fn add_metric(text: &mut String, name: &str, about: &str, values: impl Iterator<Item = (String, Option<i64>)>) {
    let mut samples = String::new();
    for (labels, value) in values {
        let Some(value) = value else { continue };
        // Writing to a `String` cannot fail.
        let _ = writeln!(samples, "{name}{{{labels}}} {value}");
    }
    if !samples.is_empty() {
        let _ = write!(text, "# TYPE {name} gauge\n{about}{samples}");
    }
}

fn escape(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use serde_json::value::to_raw_value;

    use super::{escape, render};
    use crate::commands::schedule::tests::{day, plans_of, time};
    use crate::commands::schedule::{Range, plans};

    #[test]
    fn the_next_dates_are_gauges() {
        let settings = json!({
            "schedule": {"patchDays": {"cron": "0 0 * * TUE#2", "grace": "14d"}},
            "overrides": [
                {"images": ["*a", "*b"], "schedule": {"maxAge": "30d"}},
                {"images": ["*c"], "schedule": {"action": "off"}},
                {"images": ["*"], "namespaces": ["staging", "test-*"], "schedule": {"maxAge": "60d"}},
            ],
        });
        let plans = plans_of(&settings, "2026-12-01", "2027-12-31");
        let samples = |now: &str| {
            let text = render(&plans, time(now));
            let samples: Vec<String> = text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect();
            samples
        };
        let (november_10, december_8, december_22, january_12) =
            (1_794_268_800, 1_796_688_000, 1_797_897_600, 1_799_712_000);
        let expected = |last: i64, patch_day: i64, deadline: i64| {
            [
                format!("container_patch_schedule_last_patch_day_timestamp_seconds{{images=\"*\"}} {last}"),
                format!("container_patch_schedule_next_patch_day_timestamp_seconds{{images=\"*\"}} {patch_day}"),
                format!("container_patch_schedule_next_deadline_timestamp_seconds{{images=\"*\"}} {deadline}"),
                "container_patch_schedule_max_age_seconds{images=\"*a,*b\"} 2592000".to_owned(),
                "container_patch_schedule_max_age_seconds{images=\"*\",namespaces=\"staging,test-*\"} 5184000"
                    .to_owned(),
            ]
        };
        assert_eq!(samples("2026-12-02T00:00:00Z"), expected(november_10, december_8, december_22));
        assert_eq!(samples("2026-12-08T00:00:00Z"), expected(december_8, january_12, december_22));
        assert!(render(&plans, time("2026-12-02T00:00:00Z")).ends_with("\n# EOF\n"));
    }

    #[test]
    fn the_current_and_the_next_freeze_are_gauges_one_for_each_reason() {
        let freeze = |from: &str, to: &str, reason: &str| json!({"from": from, "to": to, "reason": reason});
        let settings = json!({"schedule": {
            "patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin"},
            "freezes": [
                freeze("2027-12-20", "2028-01-02", "year-end"),
                freeze("2026-12-18", "2027-01-03", "year-end"),
                freeze("2026-11-20", "2026-11-30", "sales\n\"week\""),
                freeze("2026-06-01", "2026-06-02", "past"),
            ],
        }});
        let plans = plans_of(&settings, "2026-11-25", "2028-12-31");
        let text = render(&plans, time("2026-11-25T00:00:00Z"));
        let samples: Vec<&str> =
            text.lines().filter(|line| line.starts_with("container_patch_schedule_freeze_")).collect();
        assert_eq!(
            samples,
            [
                r#"container_patch_schedule_freeze_start_timestamp_seconds{images="*",reason="sales \"week\""} 1795129200"#,
                r#"container_patch_schedule_freeze_start_timestamp_seconds{images="*",reason="year-end"} 1797548400"#,
                r#"container_patch_schedule_freeze_end_timestamp_seconds{images="*",reason="sales \"week\""} 1796079600"#,
                r#"container_patch_schedule_freeze_end_timestamp_seconds{images="*",reason="year-end"} 1799017200"#,
            ]
        );
    }

    #[test]
    fn the_next_opening_and_end_of_windows_are_gauges() {
        let settings = json!({
            "schedule": {"maxAge": "30d"},
            "rollout": {"windows": [{"cron": "0 9 * * MON-THU", "for": "8h"}, {"cron": "0 17 * * MON", "for": "1h"}]},
            "overrides": [{"images": ["*a"], "rollout": {"windows": [{"cron": "* * * * *", "for": "1m"}]}}],
        });
        let settings =
            container_patch_policy::settings::Settings::from_json(&to_raw_value(&settings).unwrap()).unwrap();
        let samples = |now: &str| {
            let (from, to, start) = (day("2026-11-20"), day("2036-11-20"), time(now));
            let text = render(&plans(&settings, Range { from, to, start }), start);
            let of_windows = |line: &&str| line.contains("window") && !line.starts_with('#');
            text.lines().filter(of_windows).map(str::to_owned).collect::<Vec<_>>()
        };
        let expected = |open: i64, start: &str, end: &str| {
            let [start, end] = [start, end].map(|at| time(at).timestamp());
            vec![
                format!("container_patch_schedule_window_open{{images=\"*\"}} {open}"),
                "container_patch_schedule_window_open{images=\"*a\"} 1".to_owned(),
                format!("container_patch_schedule_next_window_start_timestamp_seconds{{images=\"*\"}} {start}"),
                format!("container_patch_schedule_next_window_end_timestamp_seconds{{images=\"*\"}} {end}"),
            ]
        };
        let monday = expected(0, "2026-11-23T09:00:00Z", "2026-11-23T18:00:00Z");
        assert_eq!(samples("2026-11-20T12:00:00Z"), monday);
        let open = expected(1, "2026-11-24T09:00:00Z", "2026-11-23T18:00:00Z");
        assert_eq!(samples("2026-11-23T09:00:00Z"), open);
        assert_eq!(samples("2026-11-23T17:59:59Z"), open);
    }

    #[test]
    fn windows_during_a_freeze_that_refuses_new_images_do_not_count() {
        let settings = json!({
            "schedule": {"freezes": [{"from": "2026-11-23", "to": "2026-11-25", "reason": "sales", "rollouts": "deny"}]},
            "rollout": {"windows": [{"cron": "0 9 * * *", "for": "8h"}]},
        });
        let settings =
            container_patch_policy::settings::Settings::from_json(&to_raw_value(&settings).unwrap()).unwrap();
        let (from, to, now) = (day("2026-11-23"), day("2026-12-23"), time("2026-11-23T10:00:00Z"));
        let text = render(&plans(&settings, Range { from, to, start: now }), now);
        let value = |name: &str| {
            let start = format!("container_patch_schedule_{name}{{images=\"*\"}} ");
            text.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse::<i64>().unwrap()
        };
        assert_eq!(value("window_open"), 0);
        assert_eq!(value("next_window_start_timestamp_seconds"), time("2026-11-26T09:00:00Z").timestamp());
        assert_eq!(value("next_window_end_timestamp_seconds"), time("2026-11-26T17:00:00Z").timestamp());
    }

    #[test]
    fn the_last_patch_day_is_found_for_rare_and_for_frequent_schedules() {
        for (cron, expected) in [
            ("0 0 29 2 *", "2024-02-29T00:00:00Z"),
            ("* * * * *", "2026-11-25T12:00:00Z"),
            ("0 6 * * MON", "2026-11-23T06:00:00Z"),
        ] {
            let plans = plans_of(&json!({"schedule": {"patchDays": {"cron": cron}}}), "2026-11-25", "2026-12-25");
            let last = super::last_patch_day(&plans[0], time("2026-11-25T12:00:00Z"));
            assert_eq!(last, Some(time(expected).timestamp()), "{cron}");
        }
    }

    #[test]
    fn labels_are_escaped() {
        assert_eq!(escape("a\"b\\\n"), "a\\\"b\\\\\\n");
    }
}
