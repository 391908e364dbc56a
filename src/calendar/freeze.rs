//! Freezes: periods without changes, once or every year.

use chrono::{DateTime, Datelike as _, Days, NaiveDate, TimeDelta, Utc};
use serde_json::Value;
use serde_json::value::RawValue;

use super::zone::Zone;
use crate::config::read::{Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::config::values::{DAY, MONTH_AND_DAY, Unknown};

section! {
    /// A period during which deadlines are postponed: a deadline inside it moves to its end.
    pub struct Freeze {
        required {
            /// The first day of the freeze, in the time zone of the calendar; in UTC for `maxAge`. A day without a year, such as `12-18`,
            /// is that day of every year.
            "from" from: Day,
            /// The last day of the freeze, inclusive; with a year if `from` has one. A yearly freeze can end in the next year.
            "to" to: Day,
            /// The reason for the freeze, which messages repeat.
            "reason" reason: String,
        }
        /// How [new images](#rollout) are treated during the freeze: `deny` refuses them as [`rollout-freeze`](rollout-freeze.md), but not more
        /// strictly than `rollout.action`. With `allow`, the freeze only postpones deadlines.
        "rollouts" rollouts: Unknown = Unknown::Allow,
    }
    check Freeze::check_days;
}

/// A day in the settings: of one year, or of every year.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// The day of one year.
    Dated(NaiveDate),
    /// The day of every year.
    Yearly(MonthDay),
}

/// A day of every year. 29 February is left out in years that do not have it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct MonthDay {
    month: u32,
    day: u32,
}

/// The days of a freeze, both ends inclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period {
    /// The first day.
    pub from: NaiveDate,
    /// The last day.
    pub to: NaiveDate,
}

/// The freezes of a calendar, and its time zone.
#[derive(Debug, Clone, Copy)]
pub struct Freezes<'s> {
    /// The freezes.
    pub all: &'s [Freeze],
    /// The time zone of their days.
    pub zone: &'s Zone,
}

impl Setting for Day {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "a date such as `2026-12-18`", problems)?;
        let date = |text: &str| {
            let midnight = DateTime::parse_from_rfc3339(&format!("{text}T00:00:00Z"));
            midnight.ok().map(|midnight| midnight.date_naive())
        };
        // A leap year has every day.
        let yearly = || date(&format!("2000-{text}")).map(MonthDay::of);
        let day = date(&text).map(Self::Dated).or_else(|| yearly().map(Self::Yearly));
        if day.is_none() {
            problems.push(
                at,
                format_args!("invalid date `{text}`; write one such as `2026-12-18`, or `12-18` for every year"),
            );
        }
        day
    }

    fn schema() -> Schema {
        Schema::text("date or yearly date", "dates or yearly dates", format!("^({DAY}|{MONTH_AND_DAY})$"))
    }

    fn to_json(&self) -> Value {
        match self {
            Self::Dated(date) => date.to_string(),
            Self::Yearly(MonthDay { month, day }) => format!("{month:02}-{day:02}"),
        }
        .into()
    }
}

impl MonthDay {
    /// The day of a date.
    fn of(date: NaiveDate) -> Self {
        Self { month: date.month(), day: date.day() }
    }

    /// The day in a year. `None` for 29 February in most years.
    fn in_year(self, year: i32) -> Option<NaiveDate> {
        NaiveDate::from_ymd_opt(year, self.month, self.day)
    }
}

impl Period {
    /// The first moment of the period, and the first moment after it.
    #[must_use]
    pub fn span(self, zone: &Zone) -> (DateTime<Utc>, DateTime<Utc>) {
        let after = self.to.checked_add_days(Days::new(1)).unwrap_or(self.to);
        (zone.start_of_day(self.from), zone.start_of_day(after))
    }

    /// Whether a time is after the first moment of the period, or is that moment.
    fn has_begun_at(self, time: DateTime<Utc>, zone: &Zone) -> bool {
        // Days of any zone start within a day of those of UTC. This skips most freezes without a search in the zone.
        let days = time.date_naive() - self.from;
        days > TimeDelta::days(1) || (days >= TimeDelta::days(-1) && zone.start_of_day(self.from) <= time)
    }

    /// The first moment after the period if a time is inside it.
    fn end_after(self, time: DateTime<Utc>, zone: &Zone) -> Option<DateTime<Utc>> {
        if time.date_naive() - self.to > TimeDelta::days(1) || !self.has_begun_at(time, zone) {
            return None;
        }
        let (_, end) = self.span(zone);
        (time < end).then_some(end)
    }
}

impl Freeze {
    /// The reason without line breaks, which block scalars in YAML add. Findings are single lines.
    #[must_use]
    pub fn reason_on_one_line(&self) -> String {
        let words = self.reason.split(|c: char| c.is_whitespace() || c.is_control());
        words.filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// The days of the freeze that overlap a period: of a yearly freeze those of each year.
    #[must_use]
    pub fn periods(&self, within: Period) -> Vec<Period> {
        let overlaps = |period: &Period| period.from <= within.to && within.from <= period.to;
        if let Some(period) = self.dated() {
            return Some(period).filter(overlaps).into_iter().collect();
        }
        let Some((from, to)) = self.yearly() else { return Vec::new() };
        let years = within.from.year().saturating_sub(1)..=within.to.year();
        let period = |year: i32| {
            let last_year = if to < from { year.checked_add(1)? } else { year };
            Some(Period {
                from: from.in_year(year).or_else(|| NaiveDate::from_ymd_opt(year, 3, 1))?,
                to: to.in_year(last_year).or_else(|| NaiveDate::from_ymd_opt(last_year, 2, 28))?,
            })
        };
        // A freeze of 29 February alone has no days in most years.
        years.filter_map(period).filter(|period| period.from <= period.to).filter(overlaps).collect()
    }

    /// The days of a freeze of one year.
    fn dated(&self) -> Option<Period> {
        match (self.from, self.to) {
            (Day::Dated(from), Day::Dated(to)) => Some(Period { from, to }),
            _ => None,
        }
    }

    /// The first and the last day of a yearly freeze. It ends in the next year if the last day is before the first.
    fn yearly(&self) -> Option<(MonthDay, MonthDay)> {
        match (self.from, self.to) {
            (Day::Yearly(from), Day::Yearly(to)) => Some((from, to)),
            _ => None,
        }
    }

    /// Whether a yearly freeze includes a date.
    fn includes_yearly(&self, date: NaiveDate) -> bool {
        let day = MonthDay::of(date);
        self.yearly().is_some_and(
            |(from, to)| {
                if from <= to { from <= day && day <= to } else { from <= day || day <= to }
            },
        )
    }

    fn check_days(&self, at: Path<'_>, problems: &mut Problems) {
        match (self.from, self.to) {
            (Day::Dated(from), Day::Dated(to)) if to < from => {
                problems.push(at, format_args!("the freeze ends on {to}, before it starts on {from}"));
            }
            (Day::Dated(_), Day::Yearly(_)) | (Day::Yearly(_), Day::Dated(_)) => problems.push(
                at,
                "give both `from` and `to` with a year, such as `2026-12-18`, or both without, such as `12-18`",
            ),
            (Day::Dated(_), Day::Dated(_)) | (Day::Yearly(_), Day::Yearly(_)) => {}
        }
    }
}

impl<'s> Freezes<'s> {
    /// The first moment after a freeze that includes a time, or after the last one if several follow each other without a gap; and
    /// that freeze. Only freezes that `applies` selects count. `None` if the time is not in a freeze.
    #[must_use]
    pub fn end_after(
        self,
        time: DateTime<Utc>,
        applies: impl Fn(&Freeze) -> bool,
    ) -> Option<(DateTime<Utc>, &'s Freeze)> {
        let Self { all, zone } = self;
        if all.is_empty() {
            return None;
        }
        let all = || all.iter().filter(|freeze| applies(freeze));
        let mut dated: Vec<(Period, &Freeze)> = all().filter_map(|freeze| Some((freeze.dated()?, freeze))).collect();
        dated.sort_unstable_by_key(|(period, _)| period.from);
        let rounds = dated.len() + 2;
        let mut dated = dated.into_iter().peekable();
        let yearly = DaysOfYear::of(all());
        let mut last = None;
        let mut at = time;
        // The time only moves forward, so one pass over the dated freezes in order of their start is enough. After a yearly freeze, only a
        // dated one moves it further. This limits the rounds.
        for _ in 0..rounds {
            while let Some((period, freeze)) = dated.next_if(|(period, _)| period.has_begun_at(at, zone)) {
                if let Some(end) = period.end_after(at, zone) {
                    (at, last) = (end, Some(freeze));
                }
            }
            let Some(frozen) = yearly.last_after(zone.day_of(at)) else { break };
            let Some(after) = frozen.checked_add_days(Days::new(1)) else { break };
            (at, last) = (zone.start_of_day(after), all().find(|freeze| freeze.includes_yearly(frozen)));
        }
        last.map(|last| (at, last))
    }

    /// Reports yearly freezes that leave no day of a year free: every deadline would be postponed for ever.
    pub fn check_whole_year(all: &[Freeze], at: Path<'_>, problems: &mut Problems) {
        if DaysOfYear::of(all.iter()).are_all() {
            problems.push(
                at,
                "the yearly freezes cover the whole year, so every deadline is postponed for ever; leave some days free",
            );
        }
    }
}

/// A set of days of every year: for each month, a mask of its days.
#[derive(Default)]
struct DaysOfYear([u32; 12]);

impl DaysOfYear {
    /// The days of yearly freezes.
    fn of<'f>(freezes: impl Iterator<Item = &'f Freeze>) -> Self {
        let mut days = Self::default();
        for (from, to) in freezes.filter_map(Freeze::yearly) {
            let (first, last) = (MonthDay { month: 1, day: 1 }, MonthDay { month: 12, day: 31 });
            if from <= to {
                days.add(from, to);
            } else {
                days.add(from, last);
                days.add(first, to);
            }
        }
        days
    }

    fn add(&mut self, from: MonthDay, to: MonthDay) {
        for (month, days) in (1..).zip(&mut self.0).filter(|(month, _)| (from.month..=to.month).contains(month)) {
            let first = if month == from.month { from.day } else { 1 };
            let last = if month == to.month { to.day } else { 31 };
            *days |= u32::MAX << first & u32::MAX >> (31 - last);
        }
    }

    fn includes(&self, date: NaiveDate) -> bool {
        let days = usize::try_from(date.month0()).ok().and_then(|month| self.0.get(month));
        days.is_some_and(|days| days & 1 << date.day() != 0)
    }

    /// The last day of those that follow a date without a gap. `None` if the date is not one of them.
    fn last_after(&self, date: NaiveDate) -> Option<NaiveDate> {
        const MOST_DAYS: usize = 2 * 366;
        date.iter_days().take(MOST_DAYS).take_while(|date| self.includes(*date)).last()
    }

    /// Whether these are all days of a year. 29 February alone does not count, because it can be eight years ahead.
    fn are_all(&self) -> bool {
        let first = NaiveDate::from_ymd_opt(2001, 1, 1).unwrap_or_default();
        first.iter_days().take(365).all(|date| self.includes(date))
    }
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Days, NaiveDate, TimeDelta, Utc};
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::{Freeze, Freezes, Period, Zone};
    use crate::config::read::{Path, Problems, Setting};

    fn read(json: &Value) -> Result<Freeze, String> {
        let json = serde_json::value::to_raw_value(json).unwrap();
        let mut problems = Problems::default();
        let freeze = Freeze::read(&json, Path::Key(&Path::Root, "freeze"), &mut problems);
        freeze.filter(|_| problems.is_empty()).ok_or_else(|| problems.to_string())
    }

    fn freeze(from: &str, to: &str) -> Freeze {
        read(&json!({"from": from, "to": to, "reason": format!("{from} to {to}")})).unwrap()
    }

    fn zone(name: &str) -> Zone {
        let json = serde_json::value::to_raw_value(name).unwrap();
        Zone::read(&json, Path::Root, &mut Problems::default()).unwrap()
    }

    fn day(text: &str) -> NaiveDate {
        text.parse().unwrap()
    }

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn days_are_dates_or_days_of_every_year() {
        let problem = |from: &str, to: &str| read(&json!({"from": from, "to": to, "reason": "r"})).unwrap_err();
        for (from, to) in [("2026-12-18", "2027-01-03"), ("12-18", "01-03"), ("02-29", "02-29"), ("02-29", "03-01")] {
            assert_eq!(
                freeze(from, to).to_json(),
                json!({"from": from, "to": to, "reason": format!("{from} to {to}")})
            );
        }
        let both =
            "freeze: give both `from` and `to` with a year, such as `2026-12-18`, or both without, such as `12-18`";
        assert_eq!(problem("2026-12-18", "01-03"), both);
        assert_eq!(problem("12-18", "2027-01-03"), both);
        assert_eq!(
            problem("2027-01-03", "2026-12-18"),
            "freeze: the freeze ends on 2026-12-18, before it starts on 2027-01-03"
        );
        for text in ["02-30", "13-01", "12-32", "00-10", "1-3", "12-18-", "-12-18", "2026-02-29", "12-18T00:00:00Z"] {
            assert_eq!(
                problem(text, "2027-01-03"),
                format!(
                    "freeze.from: invalid date `{text}`; write one such as `2026-12-18`, or `12-18` for every year"
                )
            );
        }
    }

    #[test]
    fn a_yearly_freeze_has_its_days_in_each_year() {
        let periods = |from: &str, to: &str| {
            let within = Period { from: day("2027-01-02"), to: day("2029-01-10") };
            let periods = freeze(from, to).periods(within).into_iter();
            periods.map(|Period { from, to }| format!("{from} {to}")).collect::<Vec<_>>()
        };
        assert_eq!(
            periods("12-18", "01-03"),
            ["2026-12-18 2027-01-03", "2027-12-18 2028-01-03", "2028-12-18 2029-01-03"]
        );
        assert_eq!(periods("07-01", "07-01"), ["2027-07-01 2027-07-01", "2028-07-01 2028-07-01"]);
        assert_eq!(periods("02-20", "02-29"), ["2027-02-20 2027-02-28", "2028-02-20 2028-02-29"]);
        assert_eq!(periods("02-29", "03-05"), ["2027-03-01 2027-03-05", "2028-02-29 2028-03-05"]);
        assert_eq!(periods("02-29", "02-29"), ["2028-02-29 2028-02-29"]);
        assert_eq!(periods("2026-01-01", "2027-01-02"), ["2026-01-01 2027-01-02"]);
        assert_eq!(periods("2026-01-01", "2027-01-01"), Vec::<String>::new());
    }

    #[test]
    fn freezes_that_follow_each_other_end_together() {
        let end = |freezes: &[(&str, &str)], zone_name: &str, at: &str| {
            let all: Vec<Freeze> = freezes.iter().map(|(from, to)| freeze(from, to)).collect();
            let freezes = Freezes { all: &all, zone: &zone(zone_name) };
            let (end, last) = freezes.end_after(time(at), |_| true)?;
            Some((end.to_rfc3339(), last.reason.clone()))
        };
        let found = |end: &str, reason: &str| Some((end.to_owned(), reason.to_owned()));
        let year_end = &[("12-18", "01-03")][..];
        assert_eq!(end(year_end, "UTC", "2026-12-17T23:59:59Z"), None);
        assert_eq!(end(year_end, "UTC", "2026-12-18T00:00:00Z"), found("2027-01-04T00:00:00+00:00", "12-18 to 01-03"));
        assert_eq!(
            end(year_end, "Europe/Berlin", "2030-01-03T22:59:59Z"),
            found("2030-01-03T23:00:00+00:00", "12-18 to 01-03")
        );
        assert_eq!(end(year_end, "Europe/Berlin", "2030-01-03T23:00:00Z"), None);
        // A dated freeze, a yearly one, and a dated one again.
        let chain = &[("2027-01-04", "2027-01-10"), ("12-18", "01-03"), ("2026-12-01", "2026-12-17")];
        assert_eq!(
            end(chain, "UTC", "2026-12-05T00:00:00Z"),
            found("2027-01-11T00:00:00+00:00", "2027-01-04 to 2027-01-10")
        );
        assert_eq!(end(chain, "UTC", "2027-12-20T00:00:00Z"), found("2028-01-04T00:00:00+00:00", "12-18 to 01-03"));
        // All days of a year but one, which a dated freeze covers twice.
        let long = &[("07-02", "06-30"), ("2027-07-01", "2027-07-01"), ("2028-07-01", "2028-07-01")];
        assert_eq!(end(long, "UTC", "2026-11-20T00:00:00Z"), found("2029-07-01T00:00:00+00:00", "07-02 to 06-30"));
    }

    #[test]
    fn yearly_freezes_that_cover_the_whole_year_are_refused() {
        let covers = |freezes: &[(&str, &str)]| {
            let all: Vec<Freeze> = freezes.iter().map(|(from, to)| freeze(from, to)).collect();
            let mut problems = Problems::default();
            Freezes::check_whole_year(&all, Path::Root, &mut problems);
            !problems.is_empty()
        };
        for whole in [
            &[("01-01", "12-31")][..],
            &[("01-04", "01-03")],
            &[("03-01", "02-29")],
            &[("03-01", "02-28")],
            &[("12-18", "06-30"), ("07-01", "12-17")],
            &[("10-01", "01-31"), ("02-01", "05-31"), ("05-15", "10-15")],
        ] {
            assert!(covers(whole), "{whole:?}");
        }
        for part in [
            &[][..],
            &[("01-05", "01-03")],
            &[("12-18", "06-30"), ("07-02", "12-17")],
            &[("02-29", "02-29")],
            &[("2026-01-01", "2999-12-31")],
        ] {
            assert!(!covers(part), "{part:?}");
        }
    }

    /// Whether a freeze includes a date, from the text of its ends.
    fn includes(freeze: &Freeze, date: NaiveDate) -> bool {
        let [from, to] = [freeze.from, freeze.to].map(|day| day.to_json().as_str().unwrap().to_owned());
        let date = date.to_string();
        match (from.len(), &date[5..]) {
            (10, _) => from <= date && date <= to,
            (_, day) if from <= to => from.as_str() <= day && day <= to.as_str(),
            (_, day) => from.as_str() <= day || day <= to.as_str(),
        }
    }

    /// The end of the freezes, day by day.
    fn end_day_by_day(freezes: &[Freeze], zone: &Zone, time: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let first = time.date_naive() - Days::new(2);
        let mut days = first.iter_days().skip_while(|day| zone.start_of_day(*day + Days::new(1)) <= time);
        let is_frozen = |day: &NaiveDate| freezes.iter().any(|freeze| includes(freeze, *day));
        let today = days.next()?;
        is_frozen(&today).then(|| zone.start_of_day(days.find(|day| !is_frozen(day)).unwrap()))
    }

    fn any_freezes() -> impl Strategy<Value = Vec<Freeze>> {
        let start = day("2024-01-01");
        let yearly = (0_u64..366, 0_u64..120).prop_map(move |(first, length)| {
            let text = |days: u64| (start + Days::new(days)).format("%m-%d").to_string();
            freeze(&text(first), &text(first + length))
        });
        let dated = (0_u64..3000, 0_u64..60).prop_map(move |(first, length)| {
            let text = |days: u64| (start + Days::new(days)).to_string();
            freeze(&text(first), &text(first + length))
        });
        let leap = prop_oneof![
            Just(freeze("02-29", "02-29")),
            Just(freeze("02-20", "02-29")),
            Just(freeze("02-29", "03-10")),
            Just(freeze("2028-02-29", "2028-02-29"))
        ];
        prop::collection::vec(prop_oneof![yearly, dated, leap], 0..6)
    }

    fn any_zone() -> impl Strategy<Value = Zone> {
        let names = [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Africa/Cairo",
            "Pacific/Apia",
            "America/Asuncion",
            "Asia/Tokyo",
        ];
        prop::sample::select(names.to_vec()).prop_map(zone)
    }

    fn covers_whole_year(freezes: &[Freeze]) -> bool {
        let mut problems = Problems::default();
        Freezes::check_whole_year(freezes, Path::Root, &mut problems);
        !problems.is_empty()
    }

    proptest! {
        #[test]
        fn the_end_of_freezes_is_that_of_a_walk_through_the_days(
            all in any_freezes(), zone in any_zone(), seconds in 0_i64..8 * 365 * 86_400,
        ) {
            prop_assume!(!covers_whole_year(&all));
            let at = time("2024-01-01T00:00:00Z") + TimeDelta::seconds(seconds);
            let freezes = Freezes { all: &all, zone: &zone };
            let found = freezes.end_after(at, |_| true);
            prop_assert_eq!(found.map(|(end, _)| end), end_day_by_day(&all, &zone, at));
            if let Some((end, last)) = found {
                let last_day = zone.day_of(end) - Days::new(1);
                prop_assert!(includes(last, last_day), "{:?} ends before {}", last, end);
            }
        }

        #[test]
        fn the_periods_of_a_freeze_have_exactly_its_days(all in any_freezes(), first in 0_u64..3000, length in 0_u64..900) {
            let from = day("2024-01-01") + Days::new(first);
            let within = Period { from, to: from + Days::new(length) };
            for freeze in &all {
                let periods = freeze.periods(within);
                prop_assert!(periods.windows(2).all(|pair| pair[0].to < pair[1].from), "{:?}", periods);
                for date in from.iter_days().take_while(|date| *date <= within.to) {
                    let is_in_period = periods.iter().any(|Period { from, to }| *from <= date && date <= *to);
                    prop_assert_eq!(is_in_period, includes(freeze, date), "{} in {:?}", date, freeze);
                }
            }
        }

        #[test]
        fn the_day_of_a_time_starts_before_it_and_ends_after_it(zone in any_zone(), seconds in -10_000_000_000_i64..10_000_000_000) {
            let at = DateTime::from_timestamp(seconds, 0).unwrap();
            let day = zone.day_of(at);
            prop_assert!(zone.start_of_day(day) <= at && at < zone.start_of_day(day + Days::new(1)), "{} is on {}", at, day);
        }
    }
}
