//! One line of a log: an event of the API server's audit log, or an event of the Swarm plugin's log.

use chrono::{DateTime, Utc};

use super::record::Record;

/// The most bytes of a line. A longer one is skipped.
pub(super) const MAX_LINE: usize = 16 << 20;

/// Why a line is skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Skipped {
    /// An event without its end, or with the beginning of another event in it.
    Torn,
    /// JSON of another kind.
    Foreign,
    /// Not JSON.
    Garbage,
    /// More than [`MAX_LINE`] bytes.
    TooLong,
}

impl Skipped {
    /// The name in messages and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Foreign => "foreign",
            Self::Garbage => "garbage",
            Self::TooLong => "too-long",
        }
    }
}

/// Adds the records of a line, which has no line break. Most lines have none.
///
/// # Errors
/// When the line is not an event of a log.
pub(super) fn read_line(line: &[u8], records: &mut Vec<Record>) -> Result<(), Skipped> {
    let _ = (line, records);
    Err(Skipped::Garbage)
}

/// The time of the event in a line, of any kind.
pub(super) fn time_of(line: &[u8]) -> Option<DateTime<Utc>> {
    let _ = line;
    None
}
