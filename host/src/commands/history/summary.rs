//! What the history has in total.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::record::Outcome;

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
}
