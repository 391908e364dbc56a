//! Times in the formats of builders and scanners.

use chrono::{DateTime, Datelike as _, Utc};

/// Whether a time is from 1980 to 9999. Tools write earlier years if they do not know the time. Arithmetic with later years could leave
/// the range of the calendar.
#[must_use]
pub fn is_plausible(time: DateTime<Utc>) -> bool {
    (1980..10_000).contains(&time.year())
}

/// Parses a time in RFC 3339, or in a similar format: without a zone, which means UTC; only the date; without seconds; with an offset
/// such as `+0000`; and as Go prints it, `2026-11-19 08:00:00.5 +0000 UTC`.
#[must_use]
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Some(time.to_utc());
    }
    let (date, rest) = text.split_once(['T', ' ']).unwrap_or((text, "00:00:00"));
    let (time, zone) = rest.split_at(rest.find(['Z', '+', '-', ' ']).unwrap_or(rest.len()));
    let zone = zone.split_ascii_whitespace().next().unwrap_or("Z");
    let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
    let zone = match zone.split_at_checked(3) {
        Some((hours, minutes)) if minutes.len() == 2 => format!("{hours}:{minutes}"),
        _ => zone.to_owned(),
    };
    DateTime::parse_from_rfc3339(&format!("{date}T{time}{seconds}{zone}")).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use super::{is_plausible, parse};

    #[test]
    fn all_formats_of_a_time_are_read() {
        for text in [
            "2026-11-19T08:00:00Z",
            "2026-11-19T09:00:00+01:00",
            "2026-11-19T09:00:00+0100",
            "2026-11-19T08:00:00",
            "2026-11-19T08:00Z",
            "2026-11-19 08:00:00",
            "2026-11-19 08:00:00 +0000 UTC",
            "2026-11-19 03:00:00 -0500 EST",
        ] {
            assert_eq!(parse(text).unwrap().to_rfc3339(), "2026-11-19T08:00:00+00:00", "{text}");
        }
        assert_eq!(parse("2026-11-19").unwrap().to_rfc3339(), "2026-11-19T00:00:00+00:00");
        let go = parse("2026-11-19 08:00:00.123456789 +0000 UTC").unwrap();
        assert_eq!(go.timestamp_subsec_nanos(), 123_456_789);
    }

    #[test]
    fn years_before_1980_are_not_plausible() {
        for (text, plausible) in
            [("2026-11-19", true), ("1980-01-01", true), ("1970-01-01", false), ("0001-01-01", false)]
        {
            assert_eq!(is_plausible(parse(text).unwrap()), plausible, "{text}");
        }
    }

    #[test]
    fn an_invalid_time_is_rejected() {
        for text in
            ["", "T", "yesterday", "2026-13-01", "2026-11-19T25:00:00Z", "2026-11-19T08:00:00 é", "1763539200", "+é"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
