//! A schedule as an iCalendar file (RFC 5545), to which people can subscribe.

use std::fmt::Write as _;

use chrono::{DateTime, Days, FixedOffset, NaiveDate, Utc};
use container_patch_policy::calendar::freeze::Period;
use container_patch_policy::finding::Effect;
use container_patch_policy::rules::schedule::deadline::Cadence;
use sha2::{Digest as _, Sha256};

use super::one_line;
use super::plan::{PatchDay, Plan, PlannedFreeze, Scope};

/// The most bytes of a line, without its end.
const MAX_LINE: usize = 75;

/// A calendar needs a component. One without events has this one.
const NO_EVENTS: [&str; 8] = [
    "BEGIN:VTIMEZONE",
    "TZID:UTC",
    "BEGIN:STANDARD",
    "DTSTART:19700101T000000",
    "TZOFFSETFROM:+0000",
    "TZOFFSETTO:+0000",
    "END:STANDARD",
    "END:VTIMEZONE",
];

/// The calendar with the patch days, deadlines, freezes and windows of all schedules, made at this time.
pub(super) fn render(plans: &[Plan], now: DateTime<Utc>) -> String {
    let mut events: Vec<Event> = plans.iter().flat_map(events).collect();
    events.sort_by(|a, b| (a.start.key(), &a.uid).cmp(&(b.start.key(), &b.uid)));
    // Freezes of an override are often those of all images.
    events.dedup_by(|a, b| a.uid == b.uid);
    let mut calendar = Lines::default();
    calendar.add("BEGIN:VCALENDAR");
    calendar.add("VERSION:2.0");
    calendar.add(&format!("PRODID:-//container-patch//container-patch {}//EN", env!("CARGO_PKG_VERSION")));
    calendar.add("CALSCALE:GREGORIAN");
    calendar.add("METHOD:PUBLISH");
    calendar.add("X-WR-CALNAME:Patch schedule");
    calendar.add("REFRESH-INTERVAL;VALUE=DURATION:P1D");
    calendar.add("X-PUBLISHED-TTL:P1D");
    if events.is_empty() {
        NO_EVENTS.iter().for_each(|line| calendar.add(line));
    }
    events.iter().for_each(|event| event.add_to(&mut calendar, now));
    calendar.add("END:VCALENDAR");
    calendar.0
}

/// Lines with their ends.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// Adds a line, folded at characters so that none is longer than [`MAX_LINE`] bytes.
    fn add(&mut self, line: &str) {
        let mut length = 0;
        for character in line.chars() {
            if length + character.len_utf8() > MAX_LINE {
                self.0.push_str("\r\n ");
                length = 1;
            }
            self.0.push(character);
            length += character.len_utf8();
        }
        self.0.push_str("\r\n");
    }
}

struct Event {
    uid: String,
    start: Moment,
    /// The first day or moment after the event. `None` for a day or a moment.
    end: Option<Moment>,
    category: &'static str,
    summary: String,
    description: String,
}

/// When an event begins or ends.
#[derive(Clone, Copy)]
enum Moment {
    /// A day, whatever the time zone of the reader.
    Day(NaiveDate),
    Time(DateTime<Utc>),
}

impl Moment {
    fn of(time: DateTime<FixedOffset>, plan: &Plan) -> Self {
        let day = time.date_naive();
        if plan.schedule.zone().start_of_day(day) == time { Self::Day(day) } else { Self::Time(time.to_utc()) }
    }

    /// The value of a property, with the parameter for its type.
    fn value(self) -> String {
        match self {
            Self::Day(day) => format!(";VALUE=DATE:{}", day.format("%Y%m%d")),
            Self::Time(time) => format!(":{}", basic(time)),
        }
    }

    fn key(self) -> DateTime<Utc> {
        match self {
            Self::Day(day) => day.and_time(chrono::NaiveTime::MIN).and_utc(),
            Self::Time(time) => time,
        }
    }
}

impl Event {
    fn add_to(&self, calendar: &mut Lines, now: DateTime<Utc>) {
        calendar.add("BEGIN:VEVENT");
        calendar.add(&format!("UID:{}@container-patch.dev", self.uid));
        calendar.add(&format!("DTSTAMP:{}", basic(now)));
        calendar.add(&format!("DTSTART{}", self.start.value()));
        if let Some(end) = self.end {
            calendar.add(&format!("DTEND{}", end.value()));
        }
        calendar.add(&format!("SUMMARY:{}", escape(&self.summary)));
        calendar.add(&format!("DESCRIPTION:{}", escape(&self.description)));
        calendar.add(&format!("CATEGORIES:{}", self.category));
        // The event does not make people busy.
        calendar.add("TRANSP:TRANSPARENT");
        calendar.add("END:VEVENT");
    }
}

/// A time in UTC, as a value of the type DATE-TIME.
fn basic(time: DateTime<Utc>) -> String {
    time.format("%Y%m%dT%H%M%SZ").to_string()
}

fn events(plan: &Plan) -> Vec<Event> {
    let (scope, images) = match &plan.scope {
        None => ("all".to_owned(), String::new()),
        // The position of an override changes when others are added.
        Some(Scope { images, namespaces: None, .. }) => {
            (hash(&images.join("\n")), format!("\nImages: {}", images.join(", ")))
        }
        Some(Scope { images, namespaces: Some(namespaces), .. }) => (
            hash(&[images.join("\n"), namespaces.join("\n")].join("\n\n")),
            format!("\nImages: {}\nNamespaces: {}", images.join(", "), namespaces.join(", ")),
        ),
    };
    let mut events = Vec::new();
    if let Cadence::PatchDays(days) = plan.schedule.cadence()
        && plan.has_own_schedule()
    {
        for day in &plan.patch_days {
            events.extend(patch_day(plan, day, &scope, &days.grace.to_string(), &images));
        }
    }
    for PlannedFreeze { days: Period { from, to }, reason, rollouts } in &plan.freezes {
        let reason = one_line(reason);
        let (id, description) = match rollouts {
            None => (hash(&reason), String::new()),
            // An override can treat new images in another way during the same freeze.
            Some(effect) => {
                let treated = treated(*effect);
                (hash(&format!("{reason}\n{treated}")), format!(" New images are {treated} during the freeze."))
            }
        };
        let deadlines =
            if plan.is_off() { "" } else { "A patch deadline during the freeze moves to the day after it." };
        events.push(Event {
            uid: format!("freeze-{}-{id}", from.format("%Y%m%d")),
            start: Moment::Day(*from),
            end: Some(Moment::Day(to.checked_add_days(Days::new(1)).unwrap_or(*to))),
            category: "Freeze",
            summary: format!("Freeze: {reason}"),
            description: format!("{deadlines}{description}").trim_start().to_owned(),
        });
    }
    let windows = plan.windows.as_ref().filter(|_| plan.has_own_rollouts());
    for (windows, opening) in windows.iter().flat_map(|windows| windows.openings.iter().map(move |one| (windows, one)))
    {
        let [start, end] = [opening.start, opening.end].map(|time| time.to_utc());
        let frozen = opening.frozen.as_ref().map(|reason| format!(" (frozen: {})", one_line(reason)));
        events.push(Event {
            uid: format!("window-{}-{scope}", basic(start)),
            start: Moment::Time(start),
            end: Some(Moment::Time(end)),
            category: "Rollout window",
            summary: format!("Rollout window{}", frozen.unwrap_or_default()),
            description: format!("New images outside of the windows are {}.{images}", treated(windows.effect)),
        });
    }
    events
}

fn treated(effect: Effect) -> &'static str {
    if effect == Effect::Deny { "refused" } else { "reported" }
}

/// The patch day and its deadline. The deadline keeps its UID when a freeze moves it.
fn patch_day(plan: &Plan, day: &PatchDay, scope: &str, grace: &str, images: &str) -> [Event; 2] {
    let id = format!("{}-{scope}", basic(day.at.to_utc()));
    let start = Moment::of(day.at, plan);
    let end = Moment::of(day.deadline, plan);
    let zone = plan.schedule.zone();
    let text = |time: DateTime<FixedOffset>, start: Moment| match start {
        Moment::Day(day) => day.to_string(),
        Moment::Time(_) => format!("{} ({zone})", time.format("%Y-%m-%d %H:%M")),
    };
    let (patch_day, deadline) = (text(day.at, start), text(day.deadline, end));
    let refused = treated(plan.schedule.action.effect().unwrap_or(Effect::Warn));
    let mut reason = format!("The first patch day after their build is {patch_day}, and the grace period is {grace}.");
    if let Some(freeze) = &day.moved_by {
        let _ = write!(reason, " The freeze `{}` moved the deadline.", one_line(freeze));
    }
    [
        Event {
            uid: format!("patch-day-{id}"),
            start,
            end: None,
            category: "Patch day",
            summary: "Patch day".to_owned(),
            description: format!("Images built before this patch day are {refused} from {deadline} on.{images}"),
        },
        Event {
            uid: format!("deadline-{id}"),
            start: end,
            end: None,
            category: "Patch deadline",
            summary: format!("Images built before {patch_day} are {refused}"),
            description: format!("{reason}{images}"),
        },
    ]
}

/// A short text for a UID that changes only with the given text.
fn hash(text: &str) -> String {
    Sha256::digest(text.as_bytes()).iter().take(6).fold(String::new(), |hash, byte| hash + &format!("{byte:02x}"))
}

/// A value of the type TEXT. Other control characters than line breaks are not allowed.
fn escape(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut escaped, character| {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\\' | ';' | ',' => escaped.extend(['\\', character]),
            _ if character.is_control() => escaped.push('\u{fffd}'),
            _ => escaped.push(character),
        }
        escaped
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::str::FromStr as _;

    use icalendar::{Calendar, CalendarComponent, Component as _, DatePerhapsTime};
    use serde_json::{Value, json};

    use super::{Lines, MAX_LINE, escape, render};
    use crate::commands::schedule::tests::{plans_of, time};

    fn calendar(settings: &Value) -> String {
        render(&plans_of(settings, "2026-12-01", "2026-12-31"), time("2026-12-01T08:00:00Z"))
    }

    /// The events, each as UID, start, end and summary.
    fn events(text: &str) -> Vec<[String; 4]> {
        let calendar = Calendar::from_str(text).unwrap();
        let show = |time: Option<DatePerhapsTime>| match time {
            Some(DatePerhapsTime::Date(day)) => day.to_string(),
            Some(DatePerhapsTime::DateTime(time)) => format!("{:?}", time),
            None => String::new(),
        };
        let event = |component: &CalendarComponent| {
            let event = component.as_event()?;
            let uid = event.get_uid().unwrap().to_owned();
            Some([uid, show(event.get_start()), show(event.get_end()), event.get_summary().unwrap().to_owned()])
        };
        calendar.components.iter().filter_map(event).collect()
    }

    fn monthly() -> Value {
        json!({"schedule": {
            "patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"},
            "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end; no, really\nnone"}],
        }})
    }

    #[test]
    fn patch_days_deadlines_and_freezes_are_events() {
        let text = calendar(&monthly());
        let found = events(&text);
        let found: Vec<_> = found.iter().map(|event| event.each_ref().map(String::as_str)).collect();
        assert_eq!(
            found,
            [
                ["patch-day-20261207T230000Z-all@container-patch.dev", "2026-12-08", "", "Patch day"],
                [found[1][0], "2026-12-18", "2027-01-04", "Freeze: year-end; no, really none"],
                [
                    "deadline-20261207T230000Z-all@container-patch.dev",
                    "2027-01-04",
                    "",
                    "Images built before 2026-12-08 are refused"
                ],
            ]
        );
        assert!(found[1][0].starts_with("freeze-20261218-"));
        assert!(text.contains("DTSTAMP:20261201T080000Z\r\n"), "{text}");
    }

    #[test]
    fn times_inside_of_a_day_are_moments() {
        let settings = json!({"schedule": {"action": "warn", "patchDays": {"cron": "30 8 1 * *", "timeZone": "Europe/Berlin", "grace": "1d"}}});
        let found = events(&calendar(&settings));
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(found[0][1].contains("2026-12-01T07:30:00Z"), "{found:?}");
        assert_eq!(found[1][3], "Images built before 2026-12-01 08:30 (Europe/Berlin) are reported");
    }

    #[test]
    fn the_uids_do_not_depend_on_the_time_or_the_position_of_an_override() {
        let of_override = json!({"images": ["*a"], "schedule": {"patchDays": {"cron": "0 0 1 * *", "grace": "1d"}}});
        let other = json!({"images": ["*b"], "schedule": {"action": "off"}});
        let uids = |overrides: Value, from: &str| {
            let mut settings = monthly();
            settings["overrides"] = overrides;
            let text = render(&plans_of(&settings, from, "2026-12-31"), time("2026-12-05T00:00:00Z"));
            events(&text).into_iter().map(|[uid, ..]| uid).collect::<Vec<_>>()
        };
        let found = uids(json!([of_override]), "2026-12-01");
        assert_eq!(uids(json!([other, of_override]), "2026-12-01"), found);
        // The freeze is that of both schedules.
        assert_eq!(found.iter().filter(|uid| uid.starts_with("freeze-")).count(), 1, "{found:?}");
        assert!(uids(json!([of_override]), "2026-12-06").iter().all(|uid| found.contains(uid)));
    }

    #[test]
    fn overrides_for_the_same_images_in_different_namespaces_have_their_own_events() {
        let entry = |namespaces: Value| json!({"images": ["*"], "namespaces": namespaces, "schedule": {"patchDays": {"cron": "0 0 1 * *", "grace": "1d"}}});
        let mut settings = monthly();
        settings["overrides"] =
            json!([entry(json!(["staging-*", "test"])), entry(json!(["sandbox"])), entry(json!(null))]);
        let text = calendar(&settings);
        let uids: HashSet<String> = events(&text).into_iter().map(|[uid, ..]| uid).collect();
        assert_eq!(uids.iter().filter(|uid| uid.starts_with("patch-day-20261201")).count(), 3, "{uids:?}");
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains("\\nImages: *\\nNamespaces: staging-*\\, test\r\n"), "{unfolded}");
    }

    #[test]
    fn lines_have_at_most_75_bytes_and_end_with_crlf() {
        let mut settings = monthly();
        settings["schedule"]["freezes"][0]["reason"] = "é".repeat(200).into();
        let text = calendar(&settings);
        assert!(text.ends_with("END:VCALENDAR\r\n"));
        for line in text.split_terminator("\r\n") {
            assert!(line.len() <= MAX_LINE && !line.contains('\n') && !line.contains('\r'), "{line:?}");
        }
        assert!(events(&text).iter().any(|[_, _, _, summary]| *summary == format!("Freeze: {}", "é".repeat(200))));
        let mut lines = Lines::default();
        lines.add(&"a".repeat(75));
        lines.add(&"b".repeat(76));
        assert_eq!(lines.0, format!("{}\r\n{}\r\n b\r\n", "a".repeat(75), "b".repeat(75)));
    }

    #[test]
    fn windows_are_events_from_their_opening_to_their_end() {
        let windows = |cron: &str| json!([{"cron": cron, "timeZone": "Europe/Berlin", "for": "8h"}]);
        let settings = json!({
            "schedule": {"freezes": [{"from": "12-18", "to": "01-03", "reason": "year-end", "rollouts": "deny"}]},
            "rollout": {"windows": windows("0 9 * * MON")},
            "overrides": [{"images": ["*a"], "rollout": {"action": "warn", "windows": windows("0 9 * * MON#1")}}],
        });
        let text = calendar(&settings);
        let found = events(&text);
        let of = |start: &str| found.iter().filter(|[uid, ..]| uid.starts_with(start)).collect::<Vec<_>>();
        // The first Monday is a window of both.
        let mondays = of("window-20261207T080000Z-");
        assert_eq!(mondays.len(), 2, "{found:?}");
        assert_ne!(mondays[0][0], mondays[1][0]);
        assert_eq!(of("window-").len(), 5, "{found:?}");
        for [_, start, end, summary] in &mondays {
            assert!(start.contains("2026-12-07T08:00:00Z") && end.contains("2026-12-07T16:00:00Z"), "{start} {end}");
            assert_eq!(summary, "Rollout window");
        }
        assert!(text.contains("DTSTART:20261207T080000Z\r\nDTEND:20261207T160000Z\r\n"), "{text}");
        let unfolded = text.replace("\r\n ", "");
        assert!(unfolded.contains("DESCRIPTION:New images outside of the windows are refused.\r\n"), "{unfolded}");
        assert!(unfolded.contains("New images outside of the windows are reported.\\nImages: *a\r\n"), "{unfolded}");
        assert!(unfolded.contains("after it. New images are refused during the freeze.\r\n"), "{unfolded}");
        // The freeze of the override only warns.
        assert_eq!(of("freeze-20261218-").len(), 2, "{found:?}");
    }

    #[test]
    fn an_override_with_other_windows_does_not_repeat_the_patch_days() {
        let mut settings = monthly();
        settings["overrides"] =
            json!([{"images": ["*a"], "rollout": {"windows": [{"cron": "0 9 * * MON", "for": "8h"}]}}]);
        let found = events(&calendar(&settings));
        let count = |start: &str| found.iter().filter(|[uid, ..]| uid.starts_with(start)).count();
        assert_eq!(
            (count("patch-day-"), count("deadline-"), count("freeze-"), count("window-")),
            (1, 1, 1, 4),
            "{found:?}"
        );
    }

    #[test]
    fn special_characters_are_escaped() {
        assert_eq!(escape("a;b,c\\d\ne\u{7}:\""), "a\\;b\\,c\\\\d\\ne\u{fffd}:\"");
    }

    #[test]
    fn a_calendar_without_events_has_a_component() {
        let text = calendar(&json!({"schedule": {"maxAge": "30d"}}));
        assert!(events(&text).is_empty());
        assert!(text.contains("BEGIN:VTIMEZONE\r\n"), "{text}");
    }
}
