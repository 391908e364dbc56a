//! A JUnit report, which most services for pipelines show: a suite for each file and a test case for each object. There is no
//! standard; this is the common part of <https://github.com/testmoapp/junitxml>.

use std::fmt::Write as _;

use super::{Checked, CheckedObject};
use crate::escape::xml as escaped;
use crate::judge::verdict::{FailOn, Verdict};

/// The result of a test case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Passed,
    Failure,
    Error,
    Skipped,
}

/// The report. Writing to a `String` cannot fail.
pub(super) fn render(checked: &Checked<'_>) -> String {
    let mut files: Vec<(&str, Vec<&CheckedObject<'_>>)> = Vec::new();
    for object in &checked.objects {
        let file = object.judged.source.file.name.as_str();
        // The objects of a file follow each other.
        match files.last_mut().filter(|(last, _)| *last == file) {
            Some((_, objects)) => objects.push(object),
            None => files.push((file, vec![object])),
        }
    }
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n".to_owned();
    let _ = writeln!(xml, "<testsuites name=\"container-patch\" {}>", counts(checked, checked.objects.iter()));
    for (_, objects) in files {
        let Some(first) = objects.first() else { continue };
        let name = escaped(&checked.file(first.judged));
        let _ = writeln!(xml, "  <testsuite name=\"{name}\" {}>", counts(checked, objects.iter().copied()));
        for object in objects {
            test_case(&mut xml, checked, object);
        }
        xml += "  </testsuite>\n";
    }
    xml + "</testsuites>\n"
}

fn outcome(checked: &Checked<'_>, object: &CheckedObject<'_>) -> Outcome {
    match object.judged.verdict {
        Verdict::Warned if checked.fail_on == FailOn::Warn => Outcome::Failure,
        Verdict::Accepted | Verdict::Warned => Outcome::Passed,
        Verdict::Denied => Outcome::Failure,
        Verdict::Failed => Outcome::Error,
        Verdict::Skipped => Outcome::Skipped,
    }
}

fn counts<'a>(checked: &Checked<'_>, objects: impl Iterator<Item = &'a CheckedObject<'a>>) -> String {
    let outcomes: Vec<Outcome> = objects.map(|object| outcome(checked, object)).collect();
    let count = |outcome| outcomes.iter().filter(|other| **other == outcome).count();
    format!(
        "tests=\"{}\" failures=\"{}\" errors=\"{}\" skipped=\"{}\"",
        outcomes.len(),
        count(Outcome::Failure),
        count(Outcome::Error),
        count(Outcome::Skipped)
    )
}

fn test_case(xml: &mut String, checked: &Checked<'_>, object: &CheckedObject<'_>) {
    let file = escaped(&checked.file(object.judged));
    let name = escaped(&object.title());
    let _ = write!(xml, "    <testcase name=\"{name}\" classname=\"{file}\" file=\"{file}\" line=\"{}\"", object.line);
    let verdict = object.judged.verdict;
    let reasons: Vec<String> = object.judged.reasons().iter().map(|reason| escaped(&reason.to_string())).collect();
    let first = reasons.first().map_or("", String::as_str);
    let text = reasons.join("\n");
    let _ = match outcome(checked, object) {
        Outcome::Passed if reasons.is_empty() => writeln!(xml, "/>"),
        Outcome::Passed => writeln!(xml, ">\n      <system-out>{text}</system-out>\n    </testcase>"),
        Outcome::Failure => {
            writeln!(xml, ">\n      <failure message=\"{first}\" type=\"{verdict}\">{text}</failure>\n    </testcase>")
        }
        Outcome::Error => {
            writeln!(xml, ">\n      <error message=\"{first}\" type=\"{verdict}\">{text}</error>\n    </testcase>")
        }
        Outcome::Skipped => {
            let reason = object.judged.skip_reason.map(|reason| reason.of_object()).unwrap_or_default();
            writeln!(xml, ">\n      <skipped message=\"{reason}\"/>\n    </testcase>")
        }
    };
}

#[cfg(test)]
mod tests {
    use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus};

    use super::render;
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::{HOSTILE, objects};
    use crate::judge::verdict::FailOn;

    fn report(fail_on: FailOn) -> Report {
        let objects = objects();
        let xml = render(&Checked::new(&objects, fail_on));
        Report::deserialize_from_str(&xml).unwrap_or_else(|error| panic!("{error}: {xml}"))
    }

    fn kind(case: &TestCase) -> String {
        match &case.status {
            TestCaseStatus::Success { .. } => "success".to_owned(),
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Failure, ty, .. } => {
                format!("failure {}", ty.as_ref().unwrap().as_str())
            }
            TestCaseStatus::NonSuccess { kind: NonSuccessKind::Error, .. } => "error".to_owned(),
            TestCaseStatus::Skipped { .. } => "skipped".to_owned(),
        }
    }

    #[test]
    fn every_object_is_a_test_case_of_its_file() {
        let report = report(FailOn::Deny);
        let kinds: Vec<Vec<String>> =
            report.test_suites.iter().map(|suite| suite.test_cases.iter().map(kind).collect()).collect();
        assert_eq!(
            kinds,
            [
                vec!["success", "failure denied"],
                vec!["success", "failure denied"],
                vec!["error"],
                vec!["error"],
                vec!["skipped", "skipped"]
            ]
        );
        assert_eq!((report.tests, report.failures, report.errors), (8, 2, 2));
        let first = &report.test_suites[0].test_cases[1];
        assert_eq!(first.name.as_str(), "Pod shop/web");
        let TestCaseStatus::NonSuccess { message, description, .. } = &first.status else { panic!("{first:?}") };
        assert_eq!(message.as_ref().unwrap().as_str(), "container `app`: image `web:1` has a fault [unpinned-image]");
        assert_eq!(description.as_ref().unwrap().as_str().lines().count(), 2);
    }

    #[test]
    fn warnings_are_output_and_fail_only_if_they_should() {
        let case = report(FailOn::Deny).test_suites[1].test_cases[0].clone();
        assert!(case.system_out.unwrap().as_str().contains("[patch-due]"));
        assert_eq!(kind(&report(FailOn::Warn).test_suites[1].test_cases[0]), "failure warned");
    }

    #[test]
    fn hostile_text_stays_text() {
        let report = report(FailOn::Deny);
        let shown = crate::terminal::printable(HOSTILE).replace('\u{fffe}', r"\u{fffe}");
        let case = &report.test_suites[1].test_cases[1];
        assert_eq!(case.name.as_str(), format!("Pod shop/{shown}"));
        let TestCaseStatus::NonSuccess { description, .. } = &case.status else { panic!("{case:?}") };
        assert!(description.as_ref().unwrap().as_str().contains(&shown));
    }
}
