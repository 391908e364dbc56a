//! What the reports of one source say about an image.

use super::result::Scan;
use crate::evidence::Answer;

/// The most reports about one image, and the most images of its index, that are looked up: each is a question to the cluster,
/// and whoever pushes an index says how many there are.
pub(super) const MAX_LOOKUPS: usize = 32;

/// What the reports of one source say of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// The scans of the reports that could be read.
    pub scans: Vec<Scan>,
    /// The first cause for which reports could not be read. It takes nothing away from the scans: else a report that cannot
    /// be read would hide the others.
    pub failure: Option<String>,
    /// Whether a scan that satisfies `require` may be missing for it.
    pub is_incomplete: bool,
}

impl Reported {
    /// Adds what one report says.
    pub(super) fn add(&mut self, scan: Answer<Option<Scan>>) {
        match scan {
            Ok(scan) => self.scans.extend(scan),
            Err(cause) => self.fail(&cause),
        }
    }

    /// Adds the cause for which something could not be read.
    pub(super) fn fail(&mut self, cause: &str) {
        self.reject(cause);
        self.is_incomplete = true;
    }

    /// Adds what is wrong with something in the workload's own namespace. What is missing for it is not excused: people who
    /// may write there choose what is wrong.
    pub(super) fn reject(&mut self, cause: &str) {
        self.failure.get_or_insert_with(|| cause.to_owned());
    }

    /// As many reports as are looked up. It is a failure if there are more.
    pub(super) fn few<T>(&mut self, mut reports: Vec<T>) -> Vec<T> {
        let count = reports.len();
        if count > MAX_LOOKUPS {
            self.fail(&format!("there are {count} reports about it, of which at most {MAX_LOOKUPS} are looked up"));
            reports.truncate(MAX_LOOKUPS);
        }
        reports
    }
}

impl From<Answer<Reported>> for Reported {
    fn from(answer: Answer<Reported>) -> Self {
        answer.unwrap_or_else(|cause| Self { failure: Some(cause), is_incomplete: true, ..Self::default() })
    }
}
