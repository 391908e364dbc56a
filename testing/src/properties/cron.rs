//! Properties of cron expressions: they agree with `croner`.

use chrono::{DateTime, TimeZone as _};
use container_patch_cron::Cron;
use container_patch_zones::Zone;
use croner::parser::{CronParser, Seconds, Year};

use crate::failure::{Failure, ensure};

/// An expression that is accepted is also accepted by `croner`, and is next due after a time, in seconds since 1970, when `croner` says
/// so.
///
/// # Errors
/// If it does not hold.
pub fn an_expression_is_due_as_in_croner(text: &str, zone: Zone, seconds: i64) -> Result<(), Failure> {
    let Ok(cron) = Cron::parse(text) else { return Ok(()) };
    let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
    let other = parser.parse(text).map_err(|error| format!("`{text}` is rejected by croner: {error}"))?;
    let Some(after) = DateTime::from_timestamp(seconds, 0) else { return Ok(()) };
    // `croner` walks through 3,000 years if an expression is never due, which takes seconds.
    if !cron.is_ever_due() {
        return Ok(());
    }
    let after = zone.from_utc_datetime(&after.naive_utc());
    // It gives up if a transition skips more than two hours.
    let Ok(expected) = other.find_next_occurrence(&after, false) else { return Ok(()) };
    let found = cron.next_after(seconds, &zone);
    ensure!(
        found == Some(expected.timestamp()),
        "`{text}` in {zone} after {seconds}: found {found:?}, expected {}",
        expected.timestamp()
    );
    Ok(())
}
