//! Cron expressions, evaluated in the local time of a zone.
//!
//! The five fields are those of a CronJob: minute, hour, day of month, month and day of week. A day of month can also be `L` (the
//! last), `LW` (the last working day, Monday to Friday) or `15W` (the working day nearest to the 15th in the same month). A day of
//! week can have the suffix `#2` (the second of the month) or `#L` (the last). If both day fields are restricted, an expression is due
//! on days that match either of them; with a `+` before the day of week, on days that match both.
//!
//! Each request runs in a new instance of the module and parses its expressions again. An expression is therefore a few bit masks,
//! parsed without allocations, and a search checks all days of a month at once. An expression that is never due is found without a search:
//! a request with `0 0 30 2 *` in its settings takes 170,000 instructions, and 484 million with `croner`, which walks through 3,000 years. Tests and a fuzz
//! target compare every expression with `croner`.
#![cfg_attr(
    not(test),
    warn(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, clippy::unreachable)
)]

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use thiserror::Error;

const MINUTES_OF_DAY: i64 = 24 * 60;

/// The calendar repeats after this number of years.
const CYCLE: i32 = 400;
const SECONDS_OF_CYCLE: i64 = 146_097 * MINUTES_OF_DAY * 60;

/// More seconds than any transition repeats.
const MAX_REPEATED: i64 = 2 * 24 * 60 * 60;

/// The maximum number of occurrences of a weekday in a month. The index after them stands for the last occurrence.
const OCCURRENCES: usize = 5;

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: DayFields,
    months: u64,
    /// Whether it is due at only one time of day. A transition of the zone then neither skips a day nor repeats it.
    is_once_a_day: bool,
}

/// The two fields that select days.
#[derive(Debug, Clone, PartialEq, Eq)]
struct DayFields {
    /// Days of the month.
    of_month: u64,
    /// Days of the month that stand for the nearest working day, Monday to Friday.
    nearest: u64,
    last: bool,
    /// The last working day of the month.
    last_working: bool,
    /// Days of the week, Sunday as the lowest bit, by occurrence in the month: the first to the fifth, and the last.
    of_week: [u8; OCCURRENCES + 1],
    /// Whether a day must match both fields.
    both: bool,
}

/// The reason why a cron expression is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CronError<'t> {
    /// It does not have five fields.
    #[error("expected 5 fields, found {0}")]
    Fields(usize),
    /// It starts with `@`, but is not a known macro.
    #[error("unknown macro `{0}`; expected one of @yearly, @annually, @monthly, @weekly, @daily, @hourly")]
    Macro(&'t str),
    /// A field has an invalid value.
    #[error("invalid {} `{item}`; expected {}", field.name, field.values)]
    Item {
        /// The field.
        field: &'static Field,
        /// The item as written.
        item: &'t str,
    },
    /// A range ends before it starts.
    #[error("invalid {} `{item}`: the range ends before it starts", field.name)]
    Backwards {
        /// The field.
        field: &'static Field,
        /// The item as written.
        item: &'t str,
    },
    /// A step is not a positive number, or does not follow `*` or a range.
    #[error("invalid {} `{item}`; expected a step of at least 1 after `*` or a range, such as `*/2` or `{}-{}/2`",
        field.name, field.first, field.last)]
    Step {
        /// The field.
        field: &'static Field,
        /// The item as written.
        item: &'t str,
    },
}

/// One of the five fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    name: &'static str,
    /// The valid values, for messages.
    values: &'static str,
    first: u16,
    last: u16,
    /// The names of its values, in order.
    names: &'static [&'static str],
    /// Whether `?` is a synonym of `*`.
    allows_question_mark: bool,
}

static MINUTE: Field =
    Field { name: "minute", values: "0 to 59 or `*`", first: 0, last: 59, names: &[], allows_question_mark: false };
static HOUR: Field =
    Field { name: "hour", values: "0 to 23 or `*`", first: 0, last: 23, names: &[], allows_question_mark: false };
static DAY_OF_MONTH: Field = Field {
    name: "day of month",
    values: "1 to 31, `L`, `LW`, `15W` or `*`",
    first: 1,
    last: 31,
    names: &[],
    allows_question_mark: true,
};
static MONTH: Field = Field {
    name: "month",
    values: "1 to 12, JAN to DEC or `*`",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    allows_question_mark: false,
};
/// Sunday is 0 and 7. At the end of a range, `SUN` is 7.
static DAY_OF_WEEK: Field = Field {
    name: "day of week",
    values: "0 to 7, SUN to SAT, `TUE#1` to `TUE#5`, `FRI#L` or `*`",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
    allows_question_mark: true,
};

impl Field {
    /// Whether a text is a wildcard.
    fn is_wildcard(&self, text: &str) -> bool {
        text == "*" || (self.allows_question_mark && text == "?")
    }

    /// Parses a field into a mask of its values.
    fn read<'t>(&'static self, text: &'t str) -> Result<u64, CronError<'t>> {
        if self.is_wildcard(text) {
            return Ok(mask(self.first, self.last, 1));
        }
        items(text).try_fold(0, |values, item| Ok(values | self.read_item(item, item)?))
    }

    /// Parses a number, a name, a range or a step into a mask of values. `text` is the start of `item`, which errors show.
    fn read_item<'t>(&'static self, text: &'t str, item: &'t str) -> Result<u64, CronError<'t>> {
        let invalid_item = || CronError::Item { field: self, item };
        let invalid_step = || CronError::Step { field: self, item };
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0).ok_or_else(invalid_step)?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (self.value(first), self.end_value(last)),
            None if step.is_none() => (self.value(range), self.value(range)),
            None if self.is_wildcard(range) => (Some(self.first), Some(self.last)),
            None => return Err(invalid_step()),
        };
        let (first, last) = first.zip(last).ok_or_else(invalid_item)?;
        if last < first {
            return Err(CronError::Backwards { field: self, item });
        }
        Ok(mask(first, last, step.unwrap_or(1)))
    }

    fn value(&self, text: &str) -> Option<u16> {
        let named = self.names.iter().zip(self.first..).find(|(name, _)| name.eq_ignore_ascii_case(text));
        let value = named.map_or_else(|| number(text), |(_, value)| Some(value));
        value.filter(|value| (self.first..=self.last).contains(value))
    }

    /// The value at the end of a range. A name with two values, `SUN`, means the last one.
    fn end_value(&self, text: &str) -> Option<u16> {
        match self.names.last() {
            Some(name) if name.eq_ignore_ascii_case(text) => Some(self.last),
            _ => self.value(text),
        }
    }
}

impl Cron {
    /// Parses an expression.
    ///
    /// # Errors
    /// If the expression is invalid.
    pub fn parse(text: &str) -> Result<Self, CronError<'_>> {
        let mut fields = [""; 5];
        let mut count = 0;
        for word in text.split_whitespace() {
            if let Some(field) = fields.get_mut(count) {
                *field = word;
            }
            count += 1;
        }
        let [minute, hour, day_of_month, month, day_of_week] = fields;
        if count == 1 && minute.starts_with('@') {
            return Self::parse(expression_of(minute).ok_or(CronError::Macro(minute))?);
        }
        if count != fields.len() {
            return Err(CronError::Fields(count));
        }
        let (minutes, hours) = (MINUTE.read(minute)?, HOUR.read(hour)?);
        let single = |text: &str, values: u64| values.count_ones() == 1 && !is_stepped(text);
        Ok(Self {
            minutes,
            hours,
            days: DayFields::read(day_of_month, day_of_week)?,
            months: MONTH.read(month)?,
            is_once_a_day: single(minute, minutes) && single(hour, hours),
        })
    }

    /// Whether it is due at some time: `0 0 30 2 *`, a 30 February, never is.
    #[must_use]
    pub fn is_ever_due(&self) -> bool {
        // Each length of a month, also a February of 29 days, occurs with each weekday as its first day.
        let mut months = (1..=12).filter(|month| self.months & 1 << month != 0);
        self.minutes != 0
            && self.hours != 0
            && months.any(|month| {
                let lengths = match month {
                    2 => 28..=29,
                    4 | 6 | 9 | 11 => 30..=30,
                    _ => 31..=31,
                };
                lengths.into_iter().any(|length| (0..7).any(|first| self.days.of(first, length) != 0))
            })
    }

    /// The first time after another at which it is due in a zone, both in seconds since 1970. `None` if the search leaves the
    /// years from -9999 to 9999, which are those of `jiff`.
    ///
    /// An expression that is due once a day at a local time that a transition skips is due right after the transition. At a local
    /// time that occurs twice it is due the first time only. More frequent expressions follow local time.
    #[must_use]
    pub fn next_after(&self, seconds: i64, zone: &TimeZone) -> Option<i64> {
        let first = seconds.checked_add(1)?;
        let end = seconds.checked_add(SECONDS_OF_CYCLE)?;
        // A transition before `first` matters if local times after it are repeated ones.
        let mut span = Span::from(zone, first.checked_sub(MAX_REPEATED)?)?;
        let mut offset_before = span.offset;
        while span.start < end {
            if first < span.end {
                let from = first.max(span.start);
                let mut local = from + span.offset;
                if self.is_once_a_day {
                    let (local_before, local_after) = (span.start + offset_before, span.start + span.offset);
                    if from == span.start && local_before < local_after {
                        let is_skipped = self.first_from(local_before)? < local_after;
                        if is_skipped && self.is_due_on(date_of(local_after)?) {
                            return Some(from);
                        }
                    }
                    local = local.max(local_before);
                }
                let at = self.first_from(local)? - span.offset;
                if at < span.end {
                    return Some(at);
                }
            }
            offset_before = span.offset;
            span = Span::from(zone, span.end)?;
        }
        None
    }

    /// The first local time from another on at which it is due, both in seconds since 1970.
    fn first_from(&self, local: i64) -> Option<i64> {
        // Division that rounds up.
        let minute = -(-local).div_euclid(60);
        let date = date_of(minute * 60)?;
        let minute_of_day = minute.rem_euclid(MINUTES_OF_DAY);
        if let Some(time) = self.first_time_from(minute_of_day).filter(|_| self.is_due_on(date)) {
            return Some((minute - minute_of_day + time) * 60);
        }
        let time = self.first_time_from(0)?;
        let midnight = self.first_day_after(date)?.and_time(NaiveTime::MIN).and_utc().timestamp();
        Some(midnight + time * 60)
    }

    /// The first time of day from another on at which it is due, both in minutes.
    fn first_time_from(&self, minute_of_day: i64) -> Option<i64> {
        let (hour, minute) = (minute_of_day / 60, minute_of_day % 60);
        let first = lowest(self.minutes);
        match lowest(self.minutes & (u64::MAX << minute)) {
            Some(minute) if self.hours & 1 << hour != 0 => Some(hour * 60 + minute),
            _ => Some(lowest(self.hours & (u64::MAX << (hour + 1)))? * 60 + first?),
        }
    }

    fn first_day_after(&self, date: NaiveDate) -> Option<NaiveDate> {
        let rest_of_month = self.days_of_month(date) & (u64::MAX << (date.day() + 1));
        if let Some(day) = lowest(rest_of_month) {
            return date.with_day(u32::try_from(day).ok()?);
        }
        let months_after =
            (date.year()..=date.year() + CYCLE).flat_map(|year| (1..=12).map(move |month| (year, month)));
        months_after
            .skip_while(|month| *month <= (date.year(), date.month()))
            .filter(|(_, month)| self.months & 1 << month != 0)
            .find_map(|(year, month)| {
                let first = NaiveDate::from_ymd_opt(year, month, 1)?;
                first.with_day(u32::try_from(lowest(self.days_of_month(first))?).ok()?)
            })
    }

    fn is_due_on(&self, date: NaiveDate) -> bool {
        self.days_of_month(date) & 1 << date.day() != 0
    }

    /// The days on which it is due in the month of a date, as a mask.
    fn days_of_month(&self, date: NaiveDate) -> u64 {
        if self.months & 1 << date.month() == 0 {
            return 0;
        }
        let first = (date.weekday().num_days_from_sunday() + 35 - date.day0()) % 7;
        self.days.of(first, date.num_days_in_month().into())
    }
}

/// A span of time with one offset. Times are in seconds since 1970.
struct Span {
    start: i64,
    /// The second of the next transition, or `i64::MAX` if the offset does not change again.
    end: i64,
    /// Seconds east of UTC.
    offset: i64,
}

impl Span {
    /// The span from a time to the next transition.
    fn from(zone: &TimeZone, start: i64) -> Option<Self> {
        let at = Timestamp::from_second(start).ok()?;
        let offset = zone.to_offset(at);
        // Some transitions change only the abbreviation.
        let next = zone.following(at).find(|transition| transition.offset() != offset);
        let end = next.map_or(i64::MAX, |transition| transition.timestamp().as_second());
        Some(Self { start, end, offset: offset.seconds().into() })
    }
}

impl DayFields {
    fn read<'t>(of_month: &'t str, of_week: &'t str) -> Result<Self, CronError<'t>> {
        let (of_week, is_conjunction) = of_week.strip_prefix('+').map_or((of_week, false), |rest| (rest, true));
        let has_wildcard = DAY_OF_MONTH.is_wildcard(of_month) || DAY_OF_WEEK.is_wildcard(of_week);
        let mut days = Self {
            of_month: 0,
            nearest: 0,
            last: false,
            last_working: false,
            of_week: [0; OCCURRENCES + 1],
            both: has_wildcard || is_conjunction,
        };
        days.read_of_month(of_month)?;
        days.read_of_week(of_week)?;
        Ok(days)
    }

    fn read_of_month<'t>(&mut self, text: &'t str) -> Result<(), CronError<'t>> {
        if DAY_OF_MONTH.is_wildcard(text) {
            self.of_month = DAY_OF_MONTH.read(text)?;
            return Ok(());
        }
        for item in items(text) {
            if item.eq_ignore_ascii_case("L") {
                self.last = true;
            } else if item.eq_ignore_ascii_case("LW") {
                self.last_working = true;
            } else if let Some(day) = item.strip_suffix(['W', 'w']) {
                let day = DAY_OF_MONTH.value(day).ok_or(CronError::Item { field: &DAY_OF_MONTH, item })?;
                self.nearest |= 1 << day;
            } else {
                self.of_month |= DAY_OF_MONTH.read_item(item, item)?;
            }
        }
        Ok(())
    }

    fn read_of_week<'t>(&mut self, text: &'t str) -> Result<(), CronError<'t>> {
        if DAY_OF_WEEK.is_wildcard(text) {
            self.add_weekdays(DAY_OF_WEEK.read(text)?, 0..OCCURRENCES);
            return Ok(());
        }
        for item in items(text) {
            let invalid_item = CronError::Item { field: &DAY_OF_WEEK, item };
            let (weekdays, occurrences) = if let Some((weekdays, which)) = item.split_once('#') {
                let which = match number(which).map(usize::from) {
                    Some(nth @ 1..=OCCURRENCES) => nth - 1,
                    None if which.eq_ignore_ascii_case("L") => OCCURRENCES,
                    _ => return Err(invalid_item),
                };
                (DAY_OF_WEEK.read_item(weekdays, item)?, which..which + 1)
            } else if let Some(weekday) = item.strip_suffix(['L', 'l']) {
                (1 << DAY_OF_WEEK.value(weekday).ok_or(invalid_item)?, OCCURRENCES..OCCURRENCES + 1)
            } else {
                (DAY_OF_WEEK.read_item(item, item)?, 0..OCCURRENCES)
            };
            self.add_weekdays(weekdays, occurrences);
        }
        Ok(())
    }

    fn add_weekdays(&mut self, weekdays: u64, occurrences: std::ops::Range<usize>) {
        // Sunday is 0 and 7.
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        for of_week in self.of_week.get_mut(occurrences).into_iter().flatten() {
            *of_week |= u8::try_from(weekdays).unwrap_or_default();
        }
    }

    /// The selected days of a month, as a mask. `first` is the weekday of its first day (0 is Sunday), `length` its number of days.
    fn of(&self, first: u32, length: u32) -> u64 {
        let all = mask(1, 31, 1) >> (31 - length) & !1;
        let of_month = (self.of_month & all) | self.moved(first, length);
        let of_week = self.weekdays(first, length) & all;
        if self.both { of_month & of_week } else { of_month | of_week }
    }

    /// The days that `L`, `LW` and `15W` select.
    fn moved(&self, first: u32, length: u32) -> u64 {
        let weekday = |day: u32| (first + day - 1) % 7;
        let mut days = 0;
        if self.last {
            days |= 1 << length;
        }
        if self.last_working {
            days |= match weekday(length) {
                SUNDAY => 1 << (length - 2),
                SATURDAY => 1 << (length - 1),
                _ => 1 << length,
            };
        }
        if self.nearest != 0 {
            for day in (1..=length).filter(|day| self.nearest & 1 << day != 0) {
                // The working day is in the same month.
                days |= match weekday(day) {
                    SATURDAY if day == 1 => 1 << 3,
                    SATURDAY => 1 << (day - 1),
                    SUNDAY if day == length => 1 << (length - 2),
                    SUNDAY => 1 << (day + 1),
                    _ => 1 << day,
                };
            }
        }
        days
    }

    /// The days that the day of week selects. The mask may include days after the end of the month.
    fn weekdays(&self, first: u32, length: u32) -> u64 {
        // The mask of a week that starts with the weekday `first`.
        let week = |weekdays: u8, first: u32| (u64::from(weekdays) | u64::from(weekdays) << 7) >> first & 0x7f;
        let [of_weeks @ .., last] = self.of_week;
        let in_weeks = of_weeks.iter().zip([1, 8, 15, 22, 29]).map(|(weekdays, day)| week(*weekdays, first) << day);
        let last_week = length - 6;
        in_weeks.fold(week(last, (first + last_week - 1) % 7) << last_week, |days, week| days | week)
    }
}

const SUNDAY: u32 = 0;
const SATURDAY: u32 = 6;

/// The expression that a macro such as `@daily` stands for.
fn expression_of(name: &str) -> Option<&'static str> {
    const MACROS: [(&str, &str); 6] = [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ];
    MACROS.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, expression)| *expression)
}

/// The items of a list. Empty items are ignored, as in a CronJob.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

/// Whether a field has a `*`, or a step other than 1.
fn is_stepped(text: &str) -> bool {
    items(text).any(|item| item.contains('*') || item.split_once('/').is_some_and(|(_, step)| number(step) != Some(1)))
}

fn number(text: &str) -> Option<u16> {
    // `parse` alone would accept a sign.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// A mask with the bits `first`, `first + step` and so on, up to `last`.
fn mask(first: u16, last: u16, step: u16) -> u64 {
    (first..=last).step_by(step.max(1).into()).fold(0, |mask, bit| mask | 1 << bit)
}

fn lowest(mask: u64) -> Option<i64> {
    (mask != 0).then(|| mask.trailing_zeros().into())
}

/// The date of a local time in seconds since 1970.
fn date_of(local: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(local, 0).map(|time| time.date_naive())
}

#[cfg(test)]
mod tests;
