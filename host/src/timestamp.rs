//! Times in outputs: RFC 3339, to the second.

use std::fmt::Display;

use chrono::{DateTime, SecondsFormat, TimeZone, Utc};
use serde::{Serialize as _, Serializer};

/// A time as text.
pub(crate) fn rfc3339<Z: TimeZone<Offset: Display>>(time: &DateTime<Z>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Secs, true)
}

/// Serializes a time.
pub(crate) fn one<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(time))
}

/// Serializes a time that may be unknown.
pub(crate) fn optional<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.as_ref().map(rfc3339).serialize(serializer)
}

/// Serializes a list of times.
pub(crate) fn list<S: Serializer>(times: &[DateTime<Utc>], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(times.iter().map(rfc3339))
}
