//! A Code Quality report of GitLab, which a merge request shows beside its lines:
//! <https://docs.gitlab.com/ci/testing/code_quality/#code-quality-report-format>.

use serde_json::{Value, json};

use super::fingerprint::Fingerprints;
use super::json::pretty;
use super::{Checked, CheckedObject};
use crate::judge::verdict::{Effect, Reason, Verdict};
use crate::terminal::printable;

/// The check of objects that could not be judged.
const NOT_JUDGED: &str = "not-judged";

/// A list with each finding and each error.
pub(super) fn render(checked: &Checked<'_>) -> String {
    let mut fingerprints = Fingerprints::default();
    let mut issues = Vec::new();
    for object in checked.objects.iter().filter(|object| object.judged.verdict != Verdict::Skipped) {
        let reasons = object.judged.reasons();
        issues.extend(reasons.iter().map(|reason| issue(checked, object, reason, &mut fingerprints)));
    }
    pretty(&Value::Array(issues))
}

fn issue(
    checked: &Checked<'_>,
    object: &CheckedObject<'_>,
    reason: &Reason<'_>,
    fingerprints: &mut Fingerprints,
) -> Value {
    let file = checked.file(object.judged);
    let (check, severity, line, fingerprint) = match reason {
        Reason::Finding(index, finding) => {
            let severity = if finding.effect == Effect::Deny { "major" } else { "minor" };
            let fingerprint = fingerprints.of(&file, object.judged, finding);
            (finding.code.as_str(), severity, object.line_of(*index), fingerprint)
        }
        Reason::Message(_) => {
            let severity = if object.judged.verdict == Verdict::Warned { "minor" } else { "major" };
            (NOT_JUDGED, severity, object.line, fingerprints.of_failure(&file, object.judged))
        }
    };
    json!({
        "description": printable(&format!("{}: {reason}", object.title())),
        "check_name": check,
        "fingerprint": fingerprint,
        "severity": severity,
        "location": {"path": file, "lines": {"begin": line}},
    })
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use serde_json::{Value, json};

    use super::render;
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::{denied, finding, objects};
    use crate::judge::verdict::{Effect, FailOn};

    #[test]
    fn a_finding_is_an_issue_on_the_line_of_its_image() {
        let objects = [denied(vec![finding("unpinned-image", Effect::Deny)])];
        let checked = Checked::new(&objects, FailOn::Deny);
        let mut issues: Value = serde_json::from_str(&render(&checked)).unwrap();
        let fingerprint = issues[0]["fingerprint"].take();
        assert_eq!(fingerprint.as_str().unwrap().len(), 32);
        assert_eq!(
            issues,
            json!([{
                "description": "Pod shop/web: container `app`: image `web:1` has a fault [unpinned-image]",
                "check_name": "unpinned-image",
                "fingerprint": null,
                "severity": "major",
                "location": {"path": checked.file(&objects[0]), "lines": {"begin": 4}},
            }])
        );
    }

    #[test]
    fn every_finding_and_error_has_a_fingerprint_of_its_own() {
        let objects = objects();
        let issues: Vec<Value> = serde_json::from_str(&render(&Checked::new(&objects, FailOn::Deny))).unwrap();
        assert_eq!(issues.len(), 7);
        let fingerprints: HashSet<_> = issues.iter().map(|issue| issue["fingerprint"].to_string()).collect();
        assert_eq!(fingerprints.len(), issues.len());
    }
}
