//! What the history has in total.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use container_patch_policy::rules::waiver::EXCEPTED;

use super::entry::Entry;
use super::filter::Given;
use super::line::Skipped;
use super::record::{Outcome, Request};
use crate::timestamp::rfc3339;

/// The totals of the requests that the filters select.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Summary {
    /// The filters that select them.
    pub(super) filters: Given,
    /// What the log has without the filters.
    pub(super) log: Judged,
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

/// The judged requests of a log.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Judged {
    pub(super) requests: u64,
    /// The times of the first and the last one.
    pub(super) period: Option<(DateTime<Utc>, DateTime<Utc>)>,
}

impl Judged {
    /// Counts a request.
    pub(super) fn add(&mut self, request: &Request) {
        let time = request.time;
        let (first, last) = self.period.unwrap_or((time, time));
        self.requests += 1;
        self.period = Some((first.min(time), last.max(time)));
    }
}

impl Summary {
    /// Says why there are no entries.
    pub(super) fn nothing(&self) -> String {
        let Some((first, last)) = &self.log.period else { return "No requests.".to_owned() };
        let (many, first, last) = (self.log.requests, rfc3339(first), rfc3339(last));
        let nothing =
            if self.filters.sentence().is_some() { "No requests match." } else { "No request changes an image." };
        format!("{nothing} The log has {many}, from {first} to {last}.")
    }

    /// The number of requests with this outcome.
    pub(super) fn of(&self, outcome: Outcome) -> usize {
        self.requests.get(&outcome).copied().unwrap_or(0)
    }

    /// Counts a request with its entries. There is at least one.
    pub(super) fn add(&mut self, request: &Request, entries: &[Entry]) {
        *self.requests.entry(request.outcome).or_default() += 1;
        self.entries += entries.len();
        self.break_glass += usize::from(request.break_glass.is_some());
        let is_excepted = |entry: &Entry| entry.findings.iter().any(|finding| finding.code == EXCEPTED.as_str());
        self.excepted += usize::from(entries.iter().any(is_excepted));
        // Files of several API servers are not exactly in order.
        self.first = Some(self.first.map_or(request.time, |first| first.min(request.time)));
        self.last = Some(self.last.map_or(request.time, |last| last.max(request.time)));
    }
}
