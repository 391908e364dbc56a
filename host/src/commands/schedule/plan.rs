//! The dates of a schedule between two days.

use std::fmt;

use chrono::{DateTime, Days, FixedOffset, Months, NaiveDate, NaiveTime, TimeDelta, Utc};
use container_patch_policy::calendar::freeze::{Freeze, Period};
use container_patch_policy::config::read::Setting as _;
use container_patch_policy::rules::schedule::deadline::Cadence;
use container_patch_policy::rules::schedule::settings::{PatchDays, Schedule};
use container_patch_policy::settings::Override;
use serde_json::{Value, json};

use crate::timestamp::rfc3339;

/// The maximum number of patch days of a schedule.
const MAX_PATCH_DAYS: usize = 500;

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
    /// The freezes, of a yearly one those of each year.
    pub(super) freezes: Vec<PlannedFreeze>,
}

/// A freeze on certain days.
#[derive(Debug)]
pub(super) struct PlannedFreeze {
    pub(super) days: Period,
    pub(super) reason: String,
}

/// An entry of `overrides` with a schedule.
#[derive(Debug)]
pub(super) struct Scope {
    /// Its position in the list, counted from 0.
    pub(super) index: usize,
    /// The patterns of its images.
    pub(super) images: Vec<String>,
    /// The patterns of its namespaces; `None` for every namespace.
    pub(super) namespaces: Option<Vec<String>>,
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
    pub(super) fn new(index: usize, entry: &Override) -> Self {
        let images = entry.images.patterns().iter().map(ToString::to_string).collect();
        let namespaces = entry.namespaces.patterns();
        let namespaces = namespaces.map(|patterns| patterns.iter().map(ToString::to_string).collect());
        Self { index, images, namespaces }
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
    pub(super) fn new(schedule: &Schedule, scope: Option<Scope>, from: NaiveDate, to: NaiveDate) -> Self {
        let freezes = schedule.freezes.iter().flat_map(|freeze| {
            let planned = |days| PlannedFreeze { days, reason: freeze.reason.clone() };
            freeze.periods(Period { from, to }).into_iter().map(planned)
        });
        let mut plan = Self {
            schedule: schedule.clone(),
            scope,
            oldest: Vec::new(),
            patch_days: Vec::new(),
            has_more: false,
            freezes: freezes.collect(),
        };
        if plan.is_off() {
            plan.freezes.clear();
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
        let Self { schedule, scope, oldest, patch_days, has_more, freezes } = self;
        let (max_age, days) = match schedule.cadence() {
            Cadence::MaxAge(age) => (Some(age), None),
            Cadence::PatchDays(days) => (None, Some(days)),
        };
        let oldest = oldest.iter().map(|(day, oldest)| json!({"day": day.to_string(), "builtBefore": rfc3339(oldest)}));
        let patch_days = patch_days.iter().map(|PatchDay { at, deadline, warned_from, moved_by }| {
            json!({"at": rfc3339(at), "deadline": rfc3339(deadline), "warnedFrom": rfc3339(warned_from), "movedBy": moved_by})
        });
        let freezes = freezes.iter().map(|PlannedFreeze { days: Period { from, to }, reason }| {
            json!({"from": from.to_string(), "to": to.to_string(), "reason": reason})
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
        })
    }
}

/// The earliest build date that may be deployed at a time, for a maximum age.
fn oldest(schedule: &Schedule, now: DateTime<Utc>, age: TimeDelta) -> DateTime<Utc> {
    let zone = schedule.zone();
    let tomorrow = zone.day_of(now).checked_add_days(Days::new(1));
    let first = tomorrow.map(|day| zone.start_of_day(first_day_of_freezes(&schedule.freezes, day)));
    // During a freeze, the deadlines since its start are postponed.
    first.filter(|first| *first < now).unwrap_or(now) - age
}

/// The first day of the freezes that end on the day before another one or later, and that follow each other without a gap. The other day
/// itself if there are none.
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
    use serde_json::json;

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
                "freezes": [{"from": "2026-12-18", "to": "2027-01-03", "reason": "year-end"}],
            })
        );
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
