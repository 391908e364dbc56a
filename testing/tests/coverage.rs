//! The generated cases cover the policy.

use std::collections::BTreeMap;

use container_patch_policy::enforcement::codes;
use container_patch_testing::case::Case;

/// Pseudorandom bytes, the same ones in every run.
fn bytes(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..500).map(|_| next()).collect()
}

#[test]
fn cases_reach_every_finding_code_and_every_verdict() {
    let mut reached: BTreeMap<String, usize> = BTreeMap::new();
    for seed in 0..6000 {
        let case = Case::new(&bytes(seed));
        let outcome = case.outcome();
        let response = String::from_utf8_lossy(&outcome.response);
        let is_rewritten = response.contains(r#""mutated_object":"#);
        // Whether the policy writes records into a pod template.
        let count = |text: &str| text.matches("pin.container-patch.dev/").count();
        if is_rewritten && count(&response) > count(&case.request["object"].to_string()) {
            *reached.entry("recorded".to_owned()).or_default() += 1;
        }
        let verdict = match (outcome.is_accepted(), is_rewritten) {
            (true, true) => "rewritten",
            (true, false) => "accepted",
            (false, _) => "denied",
        };
        *reached.entry(verdict.to_owned()).or_default() += 1;
        for (code, _) in &outcome.findings {
            *reached.entry(code.to_string()).or_default() += 1;
        }
    }
    let codes = codes::all();
    let expected = codes.iter().map(|code| code.as_str()).chain(["rewritten", "recorded", "accepted", "denied"]);
    let rare: Vec<&str> = expected.filter(|what| reached.get(*what).unwrap_or(&0) < &3).collect();
    assert!(rare.is_empty(), "hardly any case reaches {rare:?}: {reached:#?}");
}
