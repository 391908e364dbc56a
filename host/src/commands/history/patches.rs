//! The time to patch: how long from the first admission of a new build until the last pod of an older one is deleted.

use chrono::{DateTime, TimeDelta, Utc};

use super::record::Record;

/// A patch of an image repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) repository: String,
    /// The digest of the new build.
    pub(super) digest: String,
    /// When the new build was stored first.
    pub(super) start: DateTime<Utc>,
    /// When the last pod of an older build was deleted. `None` if the patch is unfinished.
    pub(super) end: Option<DateTime<Utc>>,
    /// The pods and services that still run an older build.
    pub(super) old_pods: usize,
}

impl Patch {
    /// How long it took, if it is finished.
    pub(super) fn duration(&self) -> Option<TimeDelta> {
        Some(self.end? - self.start)
    }
}

/// The patches, from the records of a log.
#[derive(Debug, Default)]
pub(super) struct Patches {}

impl Patches {
    /// Takes the next record. `finished` gets the patches that it finishes.
    pub(super) fn add(&mut self, record: &Record, finished: &mut Vec<Patch>) {
        let _ = (record, finished);
    }

    /// The patches that are not finished, by repository and start.
    pub(super) fn unfinished(&self) -> Vec<Patch> {
        Vec::new()
    }

    /// The pods whose names the log does not have, so that their ends are unknown.
    pub(super) fn unnamed_pods(&self) -> usize {
        0
    }
}

/// The time to patch, for the outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TimeToPatch {
    /// By repository.
    pub(super) repositories: Vec<(String, Figures)>,
    pub(super) total: Figures,
    pub(super) unfinished: Vec<Patch>,
    /// The pods whose names the log does not have. They are not covered.
    pub(super) unnamed_pods: usize,
}

/// The figures of a repository, or of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// The finished patches.
    pub(super) finished: usize,
    /// The unfinished patches.
    pub(super) unfinished: usize,
    /// `None` without a finished patch.
    pub(super) mean: Option<TimeDelta>,
    /// The nearest-rank percentile.
    pub(super) p90: Option<TimeDelta>,
    pub(super) slowest: Option<TimeDelta>,
}
