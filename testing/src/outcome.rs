//! The outcome of an evaluation.

use std::collections::BTreeMap;
use std::fmt;

use container_patch_policy::admission;
use container_patch_policy::finding::{Code, Effect};
use container_patch_policy::host::Host;

/// The outcome of an evaluation.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The response, unchanged.
    pub response: Vec<u8>,
    /// Code and effect of each finding, sorted.
    pub findings: Vec<(Code, Effect)>,
    /// The host calls, in order. Only the host of a [`Case`](crate::case::Case) reports them.
    pub host_calls: Vec<String>,
}

impl Outcome {
    /// Evaluates the payload of waPC's `validate`.
    #[must_use]
    pub fn of(payload: &[u8], host: &dyn Host) -> Self {
        let verdict = admission::evaluate(payload, host);
        let mut findings: Vec<_> = verdict.findings().iter().map(|finding| (finding.code, finding.effect)).collect();
        findings.sort_unstable();
        Self { response: verdict.into_response(), findings, host_calls: Vec::new() }
    }

    /// Whether no finding denies the request.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.findings.iter().all(|(_, effect)| *effect != Effect::Deny)
    }

    /// The number of denials by code.
    pub(crate) fn denials(&self) -> BTreeMap<Code, usize> {
        let mut counts = BTreeMap::new();
        for (code, _) in self.findings.iter().filter(|(_, effect)| *effect == Effect::Deny) {
            *counts.entry(*code).or_default() += 1;
        }
        counts
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.response))
    }
}
