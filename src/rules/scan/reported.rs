//! The scans of an image from the reports of one source.

use super::result::Scan;
use crate::evidence::Answer;

/// The most reports about one image, and the most images of its index, that are looked up. Each is a request to the cluster, and
/// the author of an index chooses how many images it has.
pub(super) const MAX_LOOKUPS: usize = 32;

/// The scans of an image from the reports of one source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reported {
    /// The scans of the reports that could be read.
    pub scans: Vec<Scan>,
    /// Why a report could not be read; the first cause. The scans count all the same: otherwise an unreadable report would hide
    /// the others.
    pub failure: Option<String>,
    /// Whether a scan that satisfies `require` may be missing because of the failure.
    pub is_incomplete: bool,
}

impl Reported {
    /// Adds the scan of one report.
    pub(super) fn add(&mut self, scan: Answer<Option<Scan>>) {
        match scan {
            Ok(scan) => self.scans.extend(scan),
            Err(cause) => self.fail(&cause),
        }
    }

    /// Adds the cause of a failure to read a report.
    pub(super) fn fail(&mut self, cause: &str) {
        self.reject(cause);
        self.is_incomplete = true;
    }

    /// Adds the cause of a failure in the workload's own namespace. A scan that is missing because of it is still reported as
    /// missing, because people who may write to that namespace can cause such failures.
    pub(super) fn reject(&mut self, cause: &str) {
        self.failure.get_or_insert_with(|| cause.to_owned());
    }

    /// The reports that are looked up. It is a failure if there are more than the limit.
    pub(super) fn few<T>(&mut self, mut reports: Vec<T>) -> Vec<T> {
        let count = reports.len();
        if count > MAX_LOOKUPS {
            self.fail(&format!("there are {count} reports about it; at most {MAX_LOOKUPS} are looked up"));
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
