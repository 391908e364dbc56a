//! Cron expressions: when, on the clocks of a place, something is due.
//!
//! The five fields are those of a CronJob: minute, hour, day of month, month and day of week. A day of the month may also
//! be `L` (the last), `LW` (the last from Monday to Friday) or `15W` (the day from Monday to Friday that is nearest to the
//! 15th, in the same month); a day of the week may be followed by `#2` (the second of the month) or `#L` (the last). Where
//! both fields of days say something, a day that either of them names will do; with a `+` before the day of week it has
//! to be named by both.
//!
//! The module is started anew for each request and reads its expressions each time. So an expression is a handful of bit
//! masks, read without allocating, and a search looks at a month as a whole.

use chrono::{DateTime, Datelike as _, NaiveDate, NaiveTime};
use thiserror::Error;

use super::zone::Zone;

const MINUTES_OF_DAY: i64 = 24 * 60;

/// The calendar repeats itself after so many years.
const CYCLE: i32 = 400;
const SECONDS_OF_CYCLE: i64 = 146_097 * MINUTES_OF_DAY * 60;

/// How many occurrences a weekday has in a month at most. After them comes the last one, whichever that is.
const OCCURRENCES: usize = 5;

/// A cron expression.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cron {
    minutes: u64,
    hours: u64,
    days: Days,
    months: u64,
    /// Whether it is due at one time of the day only. Clocks that are put forward or back do not make it skip a day, or be
    /// due twice.
    once: bool,
}

/// The days on which a cron expression is due.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Days {
    /// Days of the month.
    of_month: u64,
    /// Days of the month that stand for the nearest day from Monday to Friday.
    nearest: u64,
    last: bool,
    /// The last day of the month from Monday to Friday.
    last_working: bool,
    /// Days of the week (from Sunday as the lowest bit), by which of the month they are: the first to the fifth, the last.
    of_week: [u8; OCCURRENCES + 1],
    /// Whether a day has to be both, one of the month and one of the week.
    both: bool,
}

/// Why a text is no cron expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum CronError<'t> {
    /// It has other than five fields.
    #[error("it has {0} fields in place of 5")]
    Fields(usize),
    /// It begins with `@`, and is none of the words that do.
    #[error("`{0}` is none of @yearly, @annually, @monthly, @weekly, @daily and @hourly")]
    Word(&'t str),
    /// A field names what does not exist.
    #[error("`{item}` is no {}, which is {}", field.name, field.values)]
    Item {
        /// The field.
        field: &'static Field,
        /// What stands there.
        item: &'t str,
    },
    /// A range that ends before it begins.
    #[error("the {} `{item}` ends before it begins", field.name)]
    Backwards {
        /// The field.
        field: &'static Field,
        /// What stands there.
        item: &'t str,
    },
    /// A step that is none, or that nothing is stepped through by.
    #[error("the {} `{item}` needs a step of at least 1 through `*` or a range, such as `*/2` or `{}-{}/2`",
        field.name, field.first, field.last)]
    Step {
        /// The field.
        field: &'static Field,
        /// What stands there.
        item: &'t str,
    },
}

/// One of the five fields.
#[derive(Debug, PartialEq, Eq)]
pub struct Field {
    name: &'static str,
    /// What may stand in it, in words.
    values: &'static str,
    first: u16,
    last: u16,
    /// What its values are called, in order.
    names: &'static [&'static str],
    /// Whether `?` may be written for `*`.
    question: bool,
}

static MINUTE: Field =
    Field { name: "minute", values: "0 to 59 or `*`", first: 0, last: 59, names: &[], question: false };
static HOUR: Field = Field { name: "hour", values: "0 to 23 or `*`", first: 0, last: 23, names: &[], question: false };
static DAY_OF_MONTH: Field = Field {
    name: "day of month",
    values: "1 to 31, `L`, `LW`, `15W` or `*`",
    first: 1,
    last: 31,
    names: &[],
    question: true,
};
static MONTH: Field = Field {
    name: "month",
    values: "1 to 12, JAN to DEC or `*`",
    first: 1,
    last: 12,
    names: &["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"],
    question: false,
};
/// Sunday is 0 and 7, by name also as the end of a range.
static DAY_OF_WEEK: Field = Field {
    name: "day of week",
    values: "0 to 7, SUN to SAT, `TUE#2`, `FRI#L` or `*`",
    first: 0,
    last: 7,
    names: &["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT", "SUN"],
    question: true,
};

impl Field {
    /// Whether it is left open.
    fn is_open(&self, text: &str) -> bool {
        text == "*" || (self.question && text == "?")
    }

    /// The values of a text, as the bits of a mask.
    fn read<'t>(&'static self, text: &'t str) -> Result<u64, CronError<'t>> {
        if self.is_open(text) {
            return Ok(mask(self.first, self.last, 1));
        }
        items(text).try_fold(0, |values, item| Ok(values | self.read_item(item, item)?))
    }

    /// The values of a number, a name, a range or steps. They are what `item` begins with, which an error shows.
    fn read_item<'t>(&'static self, text: &'t str, item: &'t str) -> Result<u64, CronError<'t>> {
        let no_value = || CronError::Item { field: self, item };
        let no_step = || CronError::Step { field: self, item };
        let (range, step) = match text.split_once('/') {
            Some((range, step)) => (range, Some(number(step).filter(|step| *step > 0).ok_or_else(no_step)?)),
            None => (text, None),
        };
        let (first, last) = match range.split_once('-') {
            Some((first, last)) => (self.value(first), self.end_value(last)),
            None if step.is_none() => (self.value(range), self.value(range)),
            None if self.is_open(range) => (Some(self.first), Some(self.last)),
            None => return Err(no_step()),
        };
        let (first, last) = first.zip(last).ok_or_else(no_value)?;
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

    /// The value of the end of a range, where a name stands for the last that bears it.
    fn end_value(&self, text: &str) -> Option<u16> {
        match self.names.last() {
            Some(name) if name.eq_ignore_ascii_case(text) => Some(self.last),
            _ => self.value(text),
        }
    }
}

impl Cron {
    /// Reads an expression.
    ///
    /// # Errors
    /// When the text is none.
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
            return Self::parse(expression_of(minute).ok_or(CronError::Word(minute))?);
        }
        if count != fields.len() {
            return Err(CronError::Fields(count));
        }
        let (minutes, hours) = (MINUTE.read(minute)?, HOUR.read(hour)?);
        let single = |text: &str, values: u64| values.count_ones() == 1 && !is_stepped(text);
        Ok(Self {
            minutes,
            hours,
            days: Days::read(day_of_month, day_of_week)?,
            months: MONTH.read(month)?,
            once: single(minute, minutes) && single(hour, hours),
        })
    }

    /// Whether it is ever due: a 30 February is not.
    #[must_use]
    pub fn is_ever_due(&self) -> bool {
        // Each length of a month, a February of 29 days too, comes with each weekday for its first day.
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

    /// The first second after another, both since 1970, at which it is due in a zone.
    ///
    /// What is due once a day at a time that clocks skip is due as soon as they have skipped it, and at a time that they
    /// show twice, when they first show it. What is due more often goes by what clocks show.
    #[must_use]
    pub fn next_after(&self, seconds: i64, zone: &Zone) -> Option<i64> {
        let mut from = seconds.checked_add(1)?;
        let end = seconds.checked_add(SECONDS_OF_CYCLE)?;
        let mut stretch = zone.stretch_at(from);
        let mut offset_before = match stretch.start {
            i64::MIN => stretch.offset,
            start => zone.stretch_at(start - 1).offset,
        };
        while from < end {
            let mut local = from + i64::from(stretch.offset);
            if self.once && stretch.start != i64::MIN {
                let shown_before = stretch.start + i64::from(offset_before);
                let shown_now = stretch.start + i64::from(stretch.offset);
                if from == stretch.start && shown_before < shown_now {
                    let skipped = self.first_from(shown_before)? < shown_now;
                    if skipped && self.is_due_on(date_of(shown_now)?) {
                        return Some(from);
                    }
                }
                local = local.max(shown_before);
            }
            let at = self.first_from(local)? - i64::from(stretch.offset);
            if at < stretch.end {
                return Some(at);
            }
            from = stretch.end;
            offset_before = stretch.offset;
            stretch = zone.stretch_at(from);
        }
        None
    }

    /// The first time at or after another at which it is due, both as seconds that clocks show.
    fn first_from(&self, local: i64) -> Option<i64> {
        // Rounded up.
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

    /// The first time of day at or after another, in minutes.
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

    /// The days of a date's month on which it is due, by their numbers.
    fn days_of_month(&self, date: NaiveDate) -> u64 {
        if self.months & 1 << date.month() == 0 {
            return 0;
        }
        let first = (date.weekday().num_days_from_sunday() + 35 - date.day0()) % 7;
        self.days.of(first, date.num_days_in_month().into())
    }
}

impl Days {
    fn read<'t>(of_month: &'t str, of_week: &'t str) -> Result<Self, CronError<'t>> {
        let (of_week, prefix) = of_week.strip_prefix('+').map_or((of_week, false), |rest| (rest, true));
        let open = DAY_OF_MONTH.is_open(of_month) || DAY_OF_WEEK.is_open(of_week);
        let mut days = Self {
            of_month: 0,
            nearest: 0,
            last: false,
            last_working: false,
            of_week: [0; OCCURRENCES + 1],
            both: open || prefix,
        };
        days.read_of_month(of_month)?;
        days.read_of_week(of_week)?;
        Ok(days)
    }

    fn read_of_month<'t>(&mut self, text: &'t str) -> Result<(), CronError<'t>> {
        if DAY_OF_MONTH.is_open(text) {
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
        if DAY_OF_WEEK.is_open(text) {
            self.add_weekdays(DAY_OF_WEEK.read(text)?, 0..OCCURRENCES);
            return Ok(());
        }
        for item in items(text) {
            let no_weekday = CronError::Item { field: &DAY_OF_WEEK, item };
            let (weekdays, occurrences) = if let Some((weekdays, which)) = item.split_once('#') {
                let which = match number(which).map(usize::from) {
                    Some(nth @ 1..=OCCURRENCES) => nth - 1,
                    None if which.eq_ignore_ascii_case("L") => OCCURRENCES,
                    _ => return Err(no_weekday),
                };
                (DAY_OF_WEEK.read_item(weekdays, item)?, which..which + 1)
            } else if let Some(weekday) = item.strip_suffix(['L', 'l']) {
                (1 << DAY_OF_WEEK.value(weekday).ok_or(no_weekday)?, OCCURRENCES..OCCURRENCES + 1)
            } else {
                (DAY_OF_WEEK.read_item(item, item)?, 0..OCCURRENCES)
            };
            self.add_weekdays(weekdays, occurrences);
        }
        Ok(())
    }

    fn add_weekdays(&mut self, weekdays: u64, occurrences: std::ops::Range<usize>) {
        // A Sunday may be written as 0 and as 7.
        let weekdays = (weekdays | weekdays >> 7) & 0x7f;
        for of_week in self.of_week.get_mut(occurrences).into_iter().flatten() {
            *of_week |= u8::try_from(weekdays).unwrap_or_default();
        }
    }

    /// The days of a month, by their numbers as bits, of which the first is this day of the week (0 is Sunday).
    fn of(&self, first: u32, length: u32) -> u64 {
        let all = mask(1, 31, 1) >> (31 - length) & !1;
        let of_month = (self.of_month & all) | self.moved(first, length);
        let of_week = self.weekdays(first, length) & all;
        if self.both { of_month & of_week } else { of_month | of_week }
    }

    /// The days of a month that its end or its weekdays decide on.
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
                // It stays in the month.
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

    /// The days of a month that are named by their weekday, some after its end too.
    fn weekdays(&self, first: u32, length: u32) -> u64 {
        // Seven days, of which the first is this day of the week.
        let week = |weekdays: u8, first: u32| (u64::from(weekdays) | u64::from(weekdays) << 7) >> first & 0x7f;
        let [of_weeks @ .., last] = self.of_week;
        let in_weeks = of_weeks.iter().zip([1, 8, 15, 22, 29]).map(|(weekdays, day)| week(*weekdays, first) << day);
        let last_week = length - 6;
        in_weeks.fold(week(last, (first + last_week - 1) % 7) << last_week, |days, week| days | week)
    }
}

const SUNDAY: u32 = 0;
const SATURDAY: u32 = 6;

/// The expression that a word stands for.
fn expression_of(word: &str) -> Option<&'static str> {
    const WORDS: [(&str, &str); 6] = [
        ("@yearly", "0 0 1 1 *"),
        ("@annually", "0 0 1 1 *"),
        ("@monthly", "0 0 1 * *"),
        ("@weekly", "0 0 * * 0"),
        ("@daily", "0 0 * * *"),
        ("@hourly", "0 * * * *"),
    ];
    WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, expression)| *expression)
}

/// The parts of a list. Nothing between two commas is no part, as for CronJob.
fn items(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').filter(|item| !item.is_empty())
}

/// Whether there is a `*`, or steps of more than one.
fn is_stepped(text: &str) -> bool {
    items(text).any(|item| item.contains('*') || item.split_once('/').is_some_and(|(_, step)| number(step) != Some(1)))
}

fn number(text: &str) -> Option<u16> {
    // Rust reads a sign, cron does not.
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Bits from one to another, each a step after the one before.
fn mask(first: u16, last: u16, step: u16) -> u64 {
    (first..=last).step_by(step.max(1).into()).fold(0, |mask, bit| mask | 1 << bit)
}

fn lowest(mask: u64) -> Option<i64> {
    (mask != 0).then(|| mask.trailing_zeros().into())
}

/// The date that clocks show at so many seconds.
fn date_of(local: i64) -> Option<NaiveDate> {
    DateTime::from_timestamp(local, 0).map(|time| time.date_naive())
}

#[cfg(test)]
mod tests;
