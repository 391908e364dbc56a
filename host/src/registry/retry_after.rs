//! `Retry-After`: how long a server asks its clients to wait (RFC 9110, section 10.2.3).

use std::time::Duration;

use chrono::{DateTime, NaiveDateTime, Utc};

/// The formats of an HTTP date (RFC 9110, section 5.6.7): the preferred one, and two obsolete ones that a recipient must accept.
const HTTP_DATES: [&str; 3] = ["%a, %d %b %Y %H:%M:%S GMT", "%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"];

/// Reads `Retry-After`, in seconds or as a date. A date is compared with the `Date` of the response, because the clocks of client
/// and server can differ; without a valid one, with the time of the client.
///
/// Returns `None` for an invalid value.
pub(super) fn retry_after(value: &str, date: Option<&str>, now: DateTime<Utc>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let sent = date.and_then(http_date).unwrap_or_else(|| now.naive_utc());
    // A date in the past does not ask to wait.
    Some((http_date(value)? - sent).to_std().unwrap_or_default())
}

fn http_date(text: &str) -> Option<NaiveDateTime> {
    HTTP_DATES.iter().find_map(|format| NaiveDateTime::parse_from_str(text.trim(), format).ok())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use chrono::{DateTime, Utc};

    use super::retry_after;

    fn now() -> DateTime<Utc> {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn seconds_are_read_however_many_they_are() {
        for (value, seconds) in
            [("0", 0), ("120", 120), (" 7 ", 7), ("007", 7), ("99999999999999999999999999", u64::MAX)]
        {
            assert_eq!(retry_after(value, None, now()), Some(Duration::from_secs(seconds)), "{value}");
        }
    }

    #[test]
    fn a_date_is_read_in_each_format_of_http() {
        for date in ["Fri, 20 Nov 2026 12:00:30 GMT", "Friday, 20-Nov-26 12:00:30 GMT", "Fri Nov 20 12:00:30 2026"] {
            assert_eq!(retry_after(date, None, now()), Some(Duration::from_secs(30)), "{date}");
        }
        assert_eq!(retry_after("Fri, 20 Nov 2026 11:00:00 GMT", None, now()), Some(Duration::ZERO));
    }

    #[test]
    fn a_date_is_relative_to_the_clock_of_the_server() {
        let wait = |date| retry_after("Fri, 20 Nov 2026 12:00:30 GMT", Some(date), now());
        assert_eq!(wait("Fri, 20 Nov 2026 12:00:20 GMT"), Some(Duration::from_secs(10)));
        assert_eq!(wait("yesterday"), Some(Duration::from_secs(30)), "an invalid Date is ignored");
    }

    #[test]
    fn other_values_are_invalid() {
        for value in ["", " ", "-1", "+1", "1.5", "1s", "soon", "Fri, 20 Nov 2026", "2026-11-20T12:00:30Z"] {
            assert_eq!(retry_after(value, None, now()), None, "{value:?}");
        }
    }
}
