//! Events that are in the logs more than once: in a copy of a file, or in exports whose periods overlap.

#[cfg(test)]
mod tests;

use std::collections::{HashSet, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::record::Record;

/// How many records are remembered. Logs are merged by time, so the copies of an event come close together.
const REMEMBERED: usize = 1 << 16;

static AUDIT_ID: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"auditID\":\""));

/// The last records that were read.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    hashes: RandomState,
    known: HashSet<u64>,
    /// In the order in which they were read.
    last: VecDeque<u64>,
}

impl Repeats {
    /// Removes the records of a line that were read before, and gives their number.
    ///
    /// The ID of an event is not enough: a client can choose it with the header `Audit-ID`, and could hide a request behind another one.
    pub(super) fn remove(&mut self, line: &[u8], records: &mut Vec<Record>) -> u64 {
        if records.is_empty() {
            return 0;
        }
        let id = id(line);
        let before = records.len();
        records.retain(|record| self.is_new(self.hashes.hash_one((id, record))));
        u64::try_from(before - records.len()).unwrap_or(u64::MAX)
    }

    fn is_new(&mut self, hash: u64) -> bool {
        if !self.known.insert(hash) {
            return false;
        }
        self.last.push_back(hash);
        if self.last.len() > REMEMBERED
            && let Some(first) = self.last.pop_front()
        {
            self.known.remove(&first);
        }
        true
    }
}

/// The ID of the event in a line. An event of the Swarm plugin has none, so its whole line counts.
fn id(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii();
    let after = AUDIT_ID.find(line).and_then(|start| line.get(start + AUDIT_ID.needle().len()..));
    let id = after.and_then(|after| after.get(..memchr::memchr(b'"', after)?));
    id.unwrap_or(line)
}
