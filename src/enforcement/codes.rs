//! The list of all finding codes.

use super::break_glass;
use crate::finding::{self, Code, Described};
use crate::rules::waiver;
use crate::{config, evidence, rules, workload};

/// The codes that exceptions can cover. Each is about one image.
#[must_use]
pub fn exceptable() -> Vec<Code> {
    let mut codes = rules::codes();
    codes.extend([evidence::UNKNOWN_REGISTRY, evidence::EVIDENCE_UNAVAILABLE]);
    codes
}

/// All codes.
#[must_use]
pub fn all() -> Vec<Code> {
    let rules = rules::codes();
    let others = [finding::CODES, config::CODES, workload::CODES, evidence::CODES, waiver::CODES, break_glass::CODES];
    [&rules[..], &others.concat()].concat()
}

/// All codes with their descriptions.
#[must_use]
pub fn described() -> Vec<Described> {
    let modules = [
        finding::described_codes(),
        config::described_codes(),
        workload::described_codes(),
        evidence::described_codes(),
        rules::described_codes().into_iter().flat_map(|(_, codes)| codes).collect(),
        waiver::described_codes(),
        break_glass::described_codes(),
    ];
    modules.concat()
}
