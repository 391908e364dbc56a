//! The dates of a schedule between two days.

use std::fmt;

use chrono::{DateTime, Days, FixedOffset, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use container_patch_policy::calendar::freeze::{Freeze, Period};
use container_patch_policy::calendar::window::{self, Window};
use container_patch_policy::calendar::zone::Zone;
use container_patch_policy::config::read::Setting as _;
use container_patch_policy::finding::Effect;
use container_patch_policy::rules::RuleSettings;
use container_patch_policy::rules::schedule::deadline::Cadence;
use container_patch_policy::rules::schedule::settings::{PatchDays, Schedule};
use container_patch_policy::settings::Override;
use serde_json::{Value, json};

use super::Range;
use crate::timestamp::rfc3339;

/// The maximum number of patch days of a schedule.
const MAX_PATCH_DAYS: usize = 500;

/// The maximum number of periods with open windows.
const MAX_OPENINGS: usize = 500;

/// The most openings of windows that are searched for the end of a period with open windows.
const MAX_SEARCHED: usize = 1_000_000;

/// A schedule with its dates.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) schedule: Schedule,
    /// The entry of `overrides` that it belongs to. `None` for the schedule at the top.
    pub(super) scope: Option<Scope>,
    /// For a maximum age: the earliest build date that may be deployed at the start of some days.
    pub(super) oldest: Vec<(NaiveDate, DateTime<Utc>)>,
    /// For a calendar: its patch days.
    pub(super) patch_days: Vec<PatchDay>,
    /// Whether there are more patch days.
    pub(super) has_more: bool,
    /// The freezes. A yearly freeze has one for each year.
    pub(super) freezes: Vec<PlannedFreeze>,
    pub(super) windows: Option<PlannedWindows>,
}

/// A freeze on certain days.
#[derive(Debug)]
pub(super) struct PlannedFreeze {
    pub(super) days: Period,
    pub(super) reason: String,
    /// How new images are treated during the freeze. `None` if they are admitted.
    pub(super) rollouts: Option<Effect>,
}

/// Windows in which new images are admitted.
#[derive(Debug)]
pub(super) struct PlannedWindows {
    /// How new images outside of the windows are treated.
    pub(super) effect: Effect,
    /// The time that `is_open` is about.
    pub(super) start: DateTime<Utc>,
    /// Whether a window is open at that time.
    pub(super) is_open: bool,
    /// Whether a window is open at all times, apart from clock changes.
    pub(super) is_always_open: bool,
    /// The reason of the freeze that stops rollouts at that time.
    pub(super) frozen: Option<String>,
    /// The periods with open windows, unless one is always open. Where a freeze begins or ends, another one begins.
    pub(super) openings: Vec<PlannedOpening>,
    /// Whether there are more openings.
    pub(super) has_more: bool,
}

/// A period in which windows are open. Times are local.
#[derive(Debug)]
pub(super) struct PlannedOpening {
    pub(super) start: DateTime<FixedOffset>,
    pub(super) end: DateTime<FixedOffset>,
    /// The name of the time zone.
    pub(super) zone: String,
    /// The reason of the freeze that stops rollouts in this period.
    pub(super) frozen: Option<String>,
}

/// When new images are admitted.
#[derive(Debug, PartialEq)]
struct Rollouts<'s> {
    effect: Effect,
    windows: &'s [Window],
    freezes: bool,
}

impl<'s> Rollouts<'s> {
    /// `None` if new images are admitted at any time.
    fn of(rules: &'s RuleSettings) -> Option<Self> {
        let freezes = rules.schedule.freezes.iter().any(|freeze| freeze.rollouts.effect().is_some());
        let rollouts = Self { effect: rules.rollout.action.effect()?, windows: &rules.rollout.windows, freezes };
        (freezes || !rollouts.windows.is_empty()).then_some(rollouts)
    }
}

/// An entry of `overrides`.
#[derive(Debug)]
pub(super) struct Scope {
    /// Its position in the list, counted from 0.
    pub(super) index: usize,
    /// The patterns of its images.
    pub(super) images: Vec<String>,
    /// The patterns of its namespaces; `None` for every namespace.
    pub(super) namespaces: Option<Vec<String>>,
    /// Whether its schedule is not the one at the top.
    pub(super) has_own_schedule: bool,
    /// Whether its windows, and the freezes that stop rollouts, are not those at the top.
    pub(super) has_own_rollouts: bool,
}

/// A patch day, and what follows from it. Times are local.
#[derive(Debug)]
pub(super) struct PatchDay {
    pub(super) at: DateTime<FixedOffset>,
    /// Images that were built before the patch day are refused from this time on.
    pub(super) deadline: DateTime<FixedOffset>,
    pub(super) warned_from: DateTime<FixedOffset>,
    /// The reason of the freeze that moved the deadline.
    pub(super) moved_by: Option<String>,
}

impl Scope {
    pub(super) fn new(index: usize, entry: &Override, top: &RuleSettings) -> Self {
        let images = entry.images.patterns().iter().map(ToString::to_string).collect();
        let namespaces = entry.namespaces.patterns();
        let namespaces = namespaces.map(|patterns| patterns.iter().map(ToString::to_string).collect());
        let has_own_schedule = entry.rules.schedule != top.schedule;
        let has_own_rollouts = Rollouts::of(&entry.rules) != Rollouts::of(top);
        Self { index, images, namespaces, has_own_schedule, has_own_rollouts }
    }
}

/// The entry as the heading of a text names it.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Images of overrides[{}]", self.index)?;
        match self.namespaces.as_deref() {
            None => Ok(()),
            Some([one]) if !one.contains(['*', '?']) => write!(f, " in the namespace {one}"),
            Some(several) => write!(f, " in the namespaces {}", several.join(", ")),
        }
    }
}

impl Plan {
    pub(super) fn new(rules: &RuleSettings, scope: Option<Scope>, range: Range) -> Self {
        let schedule = &rules.schedule;
        let Range { from, to, .. } = range;
        let of_rule = rules.rollout.action.effect();
        let freezes = schedule.freezes.iter().flat_map(|freeze| {
            let rollouts = freeze.rollouts.effect().zip(of_rule).map(|(of_freeze, of_rule)| of_freeze.min(of_rule));
            let planned = move |days| PlannedFreeze { days, reason: freeze.reason.clone(), rollouts };
            freeze.periods(Period { from, to }).into_iter().map(planned)
        });
        let mut plan = Self {
            schedule: schedule.clone(),
            scope,
            oldest: Vec::new(),
            patch_days: Vec::new(),
            has_more: false,
            freezes: freezes.collect(),
            windows: None,
        };
        let stops = Stops::new(rules, range);
        plan.windows = of_rule.and_then(|effect| PlannedWindows::of(&rules.rollout.windows, effect, &stops, range));
        if plan.is_off() {
            plan.freezes.retain(|freeze| freeze.rollouts.is_some());
            return plan;
        }
        match schedule.cadence() {
            Cadence::MaxAge(age) => {
                let at = |day: NaiveDate| oldest(schedule, day.and_time(NaiveTime::MIN).and_utc(), age.delta());
                plan.oldest = [from, to].map(|day| (day, at(day))).to_vec();
            }
            Cadence::PatchDays(days) => plan.add_patch_days(days, from, to),
        }
        plan
    }

    /// Whether its schedule is not that of all images.
    pub(super) fn has_own_schedule(&self) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.has_own_schedule)
    }

    /// Whether its windows, and the freezes that stop rollouts, are not those of all images.
    pub(super) fn has_own_rollouts(&self) -> bool {
        self.scope.as_ref().is_none_or(|scope| scope.has_own_rollouts)
    }

    /// Whether images may be of any age.
    pub(super) fn is_off(&self) -> bool {
        self.schedule.action.effect().is_none()
    }

    fn add_patch_days(&mut self, days: &PatchDays, from: NaiveDate, to: NaiveDate) {
        let schedule = &self.schedule;
        let zone = schedule.zone();
        let start = zone.start_of_day(from);
        // The deadline of an earlier patch day may be after the start, because of the grace period and of freezes.
        let first = zone.start_of_day(first_day_of_freezes(&schedule.freezes, from));
        let mut time = first.checked_sub_signed(days.grace.delta()).unwrap_or(first) - TimeDelta::seconds(1);
        while let Some(day) = days.next_after(time).filter(|day| day.date_naive() <= to) {
            time = day.to_utc();
            // The newest image that this patch day concerns was built just before it.
            let deadline = schedule.deadline(day.to_utc() - TimeDelta::seconds(1));
            if deadline.at < start {
                continue;
            }
            if self.patch_days.len() == MAX_PATCH_DAYS {
                self.has_more = true;
                break;
            }
            self.patch_days.push(PatchDay {
                at: day,
                deadline: zone.local(deadline.at),
                warned_from: zone.local(deadline.at - schedule.warn_before.delta()),
                moved_by: deadline.moved_by.map(|freeze| freeze.reason.clone()),
            });
        }
    }

    pub(super) fn to_json(&self) -> Value {
        let Self { schedule, scope, oldest, patch_days, has_more, freezes, windows } = self;
        let (max_age, days) = match schedule.cadence() {
            Cadence::MaxAge(age) => (Some(age), None),
            Cadence::PatchDays(days) => (None, Some(days)),
        };
        let oldest = oldest.iter().map(|(day, oldest)| json!({"day": day.to_string(), "builtBefore": rfc3339(oldest)}));
        let patch_days = patch_days.iter().map(|PatchDay { at, deadline, warned_from, moved_by }| {
            json!({"at": rfc3339(at), "deadline": rfc3339(deadline), "warnedFrom": rfc3339(warned_from), "movedBy": moved_by})
        });
        let freezes = freezes.iter().map(|PlannedFreeze { days: Period { from, to }, reason, rollouts }| {
            let rollouts = rollouts.map_or_else(|| "allow".into(), |effect| effect.to_json());
            json!({"from": from.to_string(), "to": to.to_string(), "reason": reason, "rollouts": rollouts})
        });
        json!({
            "override": scope.as_ref().map(|scope| scope.index),
            "images": scope.as_ref().map(|scope| &scope.images),
            "namespaces": scope.as_ref().and_then(|scope| scope.namespaces.as_ref()),
            "action": schedule.action.to_json(),
            "timeZone": schedule.zone().to_string(),
            "maxAge": max_age.map(|age| age.to_json()),
            "refused": oldest.collect::<Vec<_>>(),
            "cron": days.map(|days| days.cron.to_json()),
            "grace": days.map(|days| days.grace.to_json()),
            "patchDays": patch_days.collect::<Vec<_>>(),
            "hasMore": has_more,
            "freezes": freezes.collect::<Vec<_>>(),
            "windows": windows.as_ref().map(PlannedWindows::to_json),
        })
    }
}

impl PlannedWindows {
    /// `None` without windows: new images are then admitted at any time.
    fn of(windows: &[Window], effect: Effect, stops: &Stops, range: Range) -> Option<Self> {
        if windows.is_empty() {
            return None;
        }
        let Range { to, start, .. } = range;
        let last = Zone::UTC.start_of_day(to.checked_add_days(Days::new(1)).unwrap_or(to));
        let mut planned = Self {
            effect,
            start,
            is_open: windows.iter().any(|window| window.is_open_at(start)),
            is_always_open: window::are_always_open(windows),
            frozen: stops.at(start).0.map(str::to_owned),
            openings: Vec::new(),
            has_more: false,
        };
        if planned.is_always_open {
            return Some(planned);
        }
        let mut next = window::open_since(windows, start, MAX_SEARCHED).or_else(|| next_start(windows, start));
        while let Some((start, window)) = next.filter(|(start, _)| *start < last) {
            let Some(end) = window::open_until(windows, start, MAX_SEARCHED) else { break };
            let zone = &window.time_zone;
            let mut part = start;
            while part < end {
                if planned.openings.len() == MAX_OPENINGS {
                    planned.has_more = true;
                    return Some(planned);
                }
                let (frozen, change) = stops.at(part);
                let part_end = change.map_or(end, |change| change.min(end));
                planned.openings.push(PlannedOpening {
                    start: zone.local(part),
                    end: zone.local(part_end),
                    zone: zone.to_string(),
                    frozen: frozen.map(str::to_owned),
                });
                part = part_end;
            }
            next = next_start(windows, end);
        }
        Some(planned)
    }

    fn to_json(&self) -> Value {
        let Self { effect, start, is_open, is_always_open, frozen, openings, has_more } = self;
        let openings = openings.iter().map(|PlannedOpening { start, end, zone, frozen }| {
            json!({"start": rfc3339(start), "end": rfc3339(end), "timeZone": zone, "frozen": frozen})
        });
        json!({
            "action": effect.to_json(),
            "checkedAt": rfc3339(start),
            "isOpen": is_open,
            "isAlwaysOpen": is_always_open,
            "frozen": frozen,
            "openings": openings.collect::<Vec<_>>(),
            "hasMore": has_more,
        })
    }
}

/// The freezes that refuse new images.
struct Stops(Vec<(DateTime<Utc>, DateTime<Utc>, String)>);

impl Stops {
    fn new(rules: &RuleSettings, Range { from, to, start }: Range) -> Self {
        let (schedule, of_rule) = (&rules.schedule, rules.rollout.action.effect());
        let is_stop = |freeze: &&Freeze| freeze.rollouts.effect().min(of_rule) == Some(Effect::Deny);
        // An opening may begin before the first day, and end after the last one.
        let first = start.date_naive().min(from);
        let within = Period {
            from: first.checked_sub_months(Months::new(12)).unwrap_or(first),
            to: to.checked_add_months(Months::new(12)).unwrap_or(to),
        };
        let spans = schedule.freezes.iter().filter(is_stop).flat_map(|freeze| {
            let spans = freeze.periods(within).into_iter().map(|period| period.span(schedule.zone()));
            spans.map(|(start, end)| (start, end, freeze.reason.clone()))
        });
        Self(spans.collect())
    }

    /// The reason of the freeze at a time, and the next time at which a freeze begins or this one ends.
    fn at(&self, time: DateTime<Utc>) -> (Option<&str>, Option<DateTime<Utc>>) {
        let current =
            self.0.iter().filter(|(start, end, _)| *start <= time && time < *end).max_by_key(|(_, end, _)| *end);
        match current {
            Some((_, end, reason)) => (Some(reason), Some(*end)),
            None => (None, self.0.iter().map(|(start, ..)| *start).filter(|start| *start > time).min()),
        }
    }
}

/// The start of the next opening after a time, and the window.
fn next_start(windows: &[Window], time: DateTime<Utc>) -> Option<(DateTime<Utc>, &Window)> {
    window::next_opening(windows, time).map(|(opening, window)| (opening.start, window))
}

/// The earliest build date that may be deployed at a time, for a maximum age.
fn oldest(schedule: &Schedule, now: DateTime<Utc>, age: TimeDelta) -> DateTime<Utc> {
    let zone = schedule.zone();
    let tomorrow = zone.day_of(now).checked_add_days(Days::new(1));
    let first = tomorrow.map(|day| zone.start_of_day(first_day_of_freezes(&schedule.freezes, day)));
    // During a freeze, the deadlines since its start are postponed.
    first.filter(|first| *first < now).unwrap_or(now) - age
}

/// The first day of the freezes that follow each other without a gap and end on the day before `day`, or later. `day` itself if it follows
/// no freeze.
fn first_day_of_freezes(freezes: &[Freeze], day: NaiveDate) -> NaiveDate {
    // No chain of freezes is longer in practice.
    let within = day.checked_sub_months(Months::new(100 * 12)).zip(day.checked_sub_days(Days::new(1)));
    let Some((from, to)) = within else { return day };
    let mut periods: Vec<Period> = freezes.iter().flat_map(|freeze| freeze.periods(Period { from, to })).collect();
    periods.sort_unstable_by_key(|period| std::cmp::Reverse(period.to));
    periods.into_iter().fold(day, |first, period| {
        let follows = period.to.checked_add_days(Days::new(1)).is_none_or(|after| first <= after);
        if follows { first.min(period.from) } else { first }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use crate::commands::schedule::tests::plans_of;

    #[test]
    fn a_calendar_has_its_patch_days_and_freezes_as_json() {
        let settings = json!({"schedule": {
            "patchDays": {"cron": "0 0 * * TUE#2", "timeZone": "Europe/Berlin", "grace": "14d"},
            "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end"}],
        }});
        let plans = plans_of(&settings, "2026-12-01", "2026-12-31");
        assert_eq!(
            plans[0].to_json(),
            json!({
                "override": null, "images": null, "namespaces": null, "action": "deny", "timeZone": "Europe/Berlin",
                "maxAge": null, "refused": [], "cron": "0 0 * * TUE#2", "grace": "14d",
                "patchDays": [{
                    "at": "2026-12-08T00:00:00+01:00", "deadline": "2027-01-04T00:00:00+01:00",
                    "warnedFrom": "2026-12-21T00:00:00+01:00", "movedBy": "year-end",
                }],
                "hasMore": false,
                "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end", "rollouts": "allow"}],
                "windows": null,
            })
        );
    }

    #[test]
    fn windows_that_follow_each_other_are_one_opening() {
        let window = |cron: &str, length: &str| json!({"cron": cron, "timeZone": "Europe/Berlin", "for": length});
        let windows = |windows: Value| {
            let settings = json!({"rollout": {"windows": windows}});
            plans_of(&settings, "2026-11-24", "2026-11-25").remove(0).to_json()["windows"].clone()
        };
        let two = windows(json!([window("0 22 * * *", "2h"), window("0 0 * * *", "2h")]));
        let opening =
            |start: &str, end: &str| json!({"start": start, "end": end, "timeZone": "Europe/Berlin", "frozen": null});
        assert_eq!(
            two,
            json!({
                "action": "deny", "checkedAt": "2026-11-24T00:00:00Z", "isOpen": true, "isAlwaysOpen": false, "frozen": null,
                "hasMore": false,
                // The first one began on the day before.
                "openings": [
                    opening("2026-11-23T22:00:00+01:00", "2026-11-24T02:00:00+01:00"),
                    opening("2026-11-24T22:00:00+01:00", "2026-11-25T02:00:00+01:00"),
                    opening("2026-11-25T22:00:00+01:00", "2026-11-26T02:00:00+01:00"),
                ],
            })
        );
        let always = windows(json!([window("* * * * *", "1m")]));
        assert_eq!((&always["isAlwaysOpen"], &always["openings"]), (&json!(true), &json!([])));
        let many = windows(json!([window("* * * * *", "1s")]));
        assert_eq!((many["openings"].as_array().unwrap().len(), &many["hasMore"]), (super::MAX_OPENINGS, &json!(true)));
        assert_eq!(windows(json!([])), Value::Null);
    }

    #[test]
    fn windows_are_marked_as_frozen_while_a_freeze_refuses_new_images() {
        let freeze = |from: &str, to: &str, rollouts: &str| json!({"from": from, "to": to, "reason": rollouts, "rollouts": rollouts});
        let settings = |action: &str| {
            json!({
                "schedule": {"freezes": [
                    freeze("2026-12-08", "2026-12-08", "deny"), freeze("2026-12-10", "2026-12-10", "warn"),
                ]},
                "rollout": {"action": action, "windows": [{"cron": "0 20 * * *", "for": "8h"}]},
            })
        };
        let windows =
            |action: &str, from: &str| plans_of(&settings(action), from, "2026-12-09")[0].to_json()["windows"].clone();
        let opening = |start: &str, end: &str, frozen: Value| {
            let [start, end] = [start, end].map(|time| format!("2026-12-{time}:00:00Z"));
            json!({"start": start, "end": end, "timeZone": "UTC", "frozen": frozen})
        };
        let found = windows("deny", "2026-12-07");
        // An opening that is frozen in part is two.
        assert_eq!(
            found["openings"],
            json!([
                opening("06T20", "07T04", Value::Null),
                opening("07T20", "08T00", Value::Null),
                opening("08T00", "08T04", json!("deny")),
                opening("08T20", "09T00", json!("deny")),
                opening("09T00", "09T04", Value::Null),
                opening("09T20", "10T04", Value::Null),
            ])
        );
        assert_eq!(found["frozen"], Value::Null);
        let during = windows("deny", "2026-12-08");
        assert_eq!((&during["isOpen"], &during["frozen"]), (&json!(true), &json!("deny")));
        assert!(!windows("warn", "2026-12-07").to_string().contains(r#""deny""#));
    }

    #[test]
    fn freezes_have_their_days_in_each_year_and_how_they_treat_rollouts() {
        let freeze =
            |from: &str, to: &str, rollouts: &str| json!({"from": from, "to": to, "reason": "r", "rollouts": rollouts});
        let settings = json!({
            "schedule": {"action": "off", "freezes": [freeze("12-18", "01-03", "deny"), freeze("06-01", "06-02", "allow")]},
            "overrides": [
                {"images": ["*a"], "rollout": {"action": "warn"}},
                {"images": ["*b"], "rollout": {"action": "off"}},
                {"images": ["*c"], "rollout": {"minAge": "3d"}},
            ],
        });
        let plans = plans_of(&settings, "2026-01-01", "2027-12-31");
        let freezes: Vec<Value> = plans.iter().map(|plan| plan.to_json()["freezes"].clone()).collect();
        let expected = |rollouts: &str| {
            let days = [("2025-12-18", "2026-01-03"), ("2026-12-18", "2027-01-03"), ("2027-12-18", "2028-01-03")];
            days.map(|(from, to)| freeze(from, to, rollouts)).to_vec()
        };
        assert_eq!(freezes, [json!(expected("deny")), json!(expected("warn")), json!([])]);
    }

    #[test]
    fn the_patch_days_whose_deadlines_yearly_freezes_move_are_found() {
        let settings = json!({"schedule": {
            "patchDays": {"cron": "0 0 1 * *", "grace": "1d"},
            "freezes": [
                {"from": "12-18", "to": "01-03", "reason": "year-end"},
                {"from": "2026-11-20", "to": "2026-12-17", "reason": "sale"},
                {"from": "2026-01-04", "to": "2026-01-10", "reason": "audit"},
            ],
        }});
        let days = |from: &str, to: &str| {
            let json = plans_of(&settings, from, to)[0].to_json();
            let days = json["patchDays"].as_array().unwrap().iter();
            days.map(|day| [&day["at"], &day["deadline"]].map(|time| time.as_str().unwrap()[..10].to_owned()))
                .collect::<Vec<_>>()
        };
        assert_eq!(days("2027-01-04", "2027-01-31"), [["2026-12-01", "2027-01-04"], ["2027-01-01", "2027-01-04"]]);
        assert_eq!(days("2026-01-11", "2026-01-20"), [["2026-01-01", "2026-01-11"]]);
    }

    #[test]
    fn a_maximum_age_has_the_build_dates_that_are_refused() {
        let settings = json!({
            "schedule": {"maxAge": "30d"},
            "overrides": [
                {"images": ["*a"], "scan": {"action": "off"}},
                {"images": ["*b", "*c"], "schedule": {"action": "off"}},
                {"images": ["*"], "namespaces": ["staging", "test-*"], "schedule": {"action": "warn"}},
            ],
        });
        let plans = plans_of(&settings, "2026-12-01", "2026-12-31");
        let [all, others, staging] = &plans[..] else { panic!("{plans:?}") };
        let (all, others, staging) = (all.to_json(), others.to_json(), staging.to_json());
        assert_eq!(all["refused"][0], json!({"day": "2026-12-01", "builtBefore": "2026-11-01T00:00:00Z"}));
        assert_eq!((&others["override"], &others["images"]), (&json!(1), &json!(["*b", "*c"])));
        assert_eq!((&others["namespaces"], &staging["namespaces"]), (&json!(null), &json!(["staging", "test-*"])));
        assert_eq!((&others["action"], &others["refused"]), (&json!("off"), &json!([])));
    }
}
