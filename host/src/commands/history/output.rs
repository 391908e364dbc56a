//! What writes the history in a format.

use anyhow::Result;

use super::entry::Entry;
use super::patches::TimeToPatch;
use super::summary::Summary;

/// Writes the history. It gets the requests one by one, so that it needs no more memory for a longer log.
pub(super) trait Output {
    /// Takes the entries of a request: at least one.
    ///
    /// # Errors
    /// When nothing can be written.
    fn request(&mut self, entries: &[Entry]) -> Result<()>;

    /// Writes what is at the end.
    ///
    /// # Errors
    /// When nothing can be written.
    fn end(&mut self, summary: &Summary, patches: &TimeToPatch) -> Result<()>;
}
