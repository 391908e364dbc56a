//! Fixes: new images that replace refused images and are not refused for the same reasons. Findings about the time of a rollout do not
//! stop a fix.

use crate::evidence::EVIDENCE_UNAVAILABLE;
use crate::finding::{Code, Effect, Finding};
use crate::rules::base_image::OUTDATED_BASE_IMAGE;
use crate::rules::rollout::CODES_OF_TIME;
use crate::rules::scan::{SCAN_FLAGGED, VULNERABLE_IMAGE};
use crate::rules::schedule::STALE_IMAGE;

/// The codes of findings that another build of the image can repair.
pub const REPAIRABLE: [Code; 4] = [STALE_IMAGE, OUTDATED_BASE_IMAGE, SCAN_FLAGGED, VULNERABLE_IMAGE];

/// Whether the time of rollouts is the only reason to refuse a new image. If something about the image could not be verified, it may not
/// be a fix.
#[must_use]
pub fn only_time_refuses(findings: &[Finding]) -> bool {
    let mut denials = findings.iter().filter(|finding| finding.effect == Effect::Deny).peekable();
    denials.peek().is_some()
        && denials.all(is_of_time)
        && findings.iter().all(|finding| finding.code != EVIDENCE_UNAVAILABLE)
}

/// The finding for which an image is refused, and which another build can repair.
#[must_use]
pub fn refusal(findings: &[Finding]) -> Option<&Finding> {
    findings.iter().find(|finding| is_refusal(finding))
}

/// Like [`refusal`], to change it.
pub fn refusal_mut(findings: &mut [Finding]) -> Option<&mut Finding> {
    findings.iter_mut().find(|finding| is_refusal(finding))
}

fn is_refusal(finding: &Finding) -> bool {
    finding.effect == Effect::Deny && REPAIRABLE.contains(&finding.code)
}

/// Whether a finding is about the time of a rollout.
#[must_use]
pub fn is_of_time(finding: &Finding) -> bool {
    CODES_OF_TIME.contains(&finding.code)
}

/// Turns the findings about the time of the rollout of a fix into warnings. `repaired` is the code of what it repairs.
pub fn admit(findings: &mut [Finding], repaired: Code) {
    let denials = findings.iter_mut().filter(|finding| finding.effect == Effect::Deny);
    for finding in denials.filter(|finding| CODES_OF_TIME.contains(&finding.code)) {
        // Kubernetes cuts warnings off, so the reason comes first.
        let text = format!(
            "is allowed as a fix, because it replaces an image that is refused as `{repaired}`: it {}",
            std::mem::take(&mut finding.text)
        );
        *finding = Finding { text, ..finding.clone() }.passing("fixes");
    }
}

#[cfg(test)]
mod tests {
    use super::{REPAIRABLE, STALE_IMAGE, admit, only_time_refuses, refusal};
    use crate::evidence::EVIDENCE_UNAVAILABLE;
    use crate::finding::{Effect, Finding};
    use crate::rules::pinning::UNPINNED_IMAGE;
    use crate::rules::rollout::{OLDER_BUILD, TOO_YOUNG};

    fn deny(code: crate::finding::Code) -> Finding {
        Finding::about_request(code, "is wrong")
    }

    #[test]
    fn only_findings_about_the_time_of_a_rollout_are_passed_over() {
        for (findings, expected) in [
            (vec![], false),
            (vec![deny(TOO_YOUNG)], true),
            (vec![deny(TOO_YOUNG), Finding::warning(STALE_IMAGE, "is wrong")], true),
            (vec![Finding::warning(TOO_YOUNG, "is wrong")], false),
            (vec![deny(TOO_YOUNG), deny(STALE_IMAGE)], false),
            (vec![deny(TOO_YOUNG), deny(UNPINNED_IMAGE)], false),
            (vec![deny(TOO_YOUNG), deny(OLDER_BUILD)], false),
            (vec![deny(TOO_YOUNG), Finding::warning(EVIDENCE_UNAVAILABLE, "is unknown")], false),
        ] {
            assert_eq!(only_time_refuses(&findings), expected, "{findings:?}");
        }
    }

    #[test]
    fn a_warning_about_the_predecessor_is_not_a_refusal() {
        assert_eq!(refusal(&[Finding::warning(STALE_IMAGE, "is wrong"), deny(UNPINNED_IMAGE)]), None);
        for code in REPAIRABLE {
            assert_eq!(refusal(&[deny(UNPINNED_IMAGE), deny(code)]).map(|finding| finding.code), Some(code));
        }
    }

    #[test]
    fn a_fix_is_admitted_with_the_reason() {
        let mut findings = [deny(TOO_YOUNG), Finding::warning(TOO_YOUNG, "is wrong")];
        admit(&mut findings, STALE_IMAGE);
        let text = "is allowed as a fix, because it replaces an image that is refused as `stale-image`: it is wrong";
        let found = findings.each_ref().map(|finding| (finding.effect, finding.passed, finding.text.as_str()));
        assert_eq!(found, [(Effect::Warn, Some("fixes"), text), (Effect::Warn, None, "is wrong")]);
    }
}
