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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::all;
    use crate::rules;

    #[test]
    fn every_status_is_one_that_clients_do_not_act_on() {
        let assigned: Vec<_> =
            all().into_iter().filter_map(|code| code.status().map(|status| (code, status))).collect();
        assert!(assigned.len() > 15, "{assigned:?}");
        for (code, status) in assigned {
            assert!((460..=479).contains(&status), "{code}: {status}");
        }
    }

    #[test]
    fn the_findings_of_a_rule_have_a_status_of_their_own() {
        let mut rule_of: BTreeMap<u16, &str> = BTreeMap::new();
        for (rule, codes) in rules::described_codes() {
            for status in codes.iter().filter_map(|(code, _)| code.status()) {
                assert_eq!(*rule_of.entry(status).or_insert(rule), rule, "{status}");
            }
        }
        let others = all().into_iter().filter(|code| !rules::codes().contains(code));
        for (code, status) in others.filter_map(|code| Some((code, code.status()?))) {
            assert_eq!(rule_of.get(&status), None, "{code}");
        }
    }
}
