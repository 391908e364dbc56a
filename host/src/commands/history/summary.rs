//! What the history has in total.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::entry::Entry;
use super::line::Skipped;
use super::record::{Outcome, Request};

/// The code of a finding that an exception covers.
pub(super) const EXCEPTED: &str = "excepted";

/// The totals of the requests that the filters select.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Summary {
    /// The judged requests, by outcome.
    pub(super) requests: BTreeMap<Outcome, usize>,
    /// The entries: images of requests.
    pub(super) entries: usize,
    /// The images that requests did not change and that are left out.
    pub(super) unchanged: usize,
    /// The requests that break-glass admitted.
    pub(super) break_glass: usize,
    /// The requests with a finding that an exception covers.
    pub(super) excepted: usize,
    /// The times of the first and the last request.
    pub(super) first: Option<DateTime<Utc>>,
    pub(super) last: Option<DateTime<Utc>>,
    /// The judged requests and the deletions that are left out because they were read before.
    pub(super) repeated: u64,
    /// The lines that are skipped, by reason.
    pub(super) skipped: BTreeMap<Skipped, u64>,
}

impl Summary {
    /// The number of requests with this outcome.
    pub(super) fn of(&self, outcome: Outcome) -> usize {
        self.requests.get(&outcome).copied().unwrap_or(0)
    }

    /// Counts a request with its entries, of which there is at least one.
    pub(super) fn add(&mut self, request: &Request, entries: &[Entry]) {
        *self.requests.entry(request.outcome).or_default() += 1;
        self.entries += entries.len();
        self.break_glass += usize::from(request.break_glass.is_some());
        let is_excepted = |entry: &Entry| entry.findings.iter().any(|finding| finding.code == EXCEPTED);
        self.excepted += usize::from(entries.iter().any(is_excepted));
        // Files of several API servers are not exactly in order.
        self.first = Some(self.first.map_or(request.time, |first| first.min(request.time)));
        self.last = Some(self.last.map_or(request.time, |last| last.max(request.time)));
    }
}
