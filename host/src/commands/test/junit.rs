//! The outcome of tests as JUnit XML.

use std::fmt::Write as _;

use super::case::{CaseReport, FileReport, Outcome};
use super::report::lines;
use crate::escape::xml as escape;

/// A test suite for each file, with a test case for each case.
pub(super) fn render(reports: &[FileReport]) -> String {
    let mut xml = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"container-patch test\">\n".to_owned();
    // Writing to a `String` cannot fail.
    for FileReport { path, name, cases } in reports {
        let suite = escape(name.as_ref().unwrap_or(path));
        let unread = [CaseReport { label: "the test file".to_owned(), outcome: Outcome::NotRun(String::new()) }];
        let (cases, error) = match cases {
            Ok(cases) => (&cases[..], ""),
            Err(error) => (&unread[..], error.as_str()),
        };
        let count = |is: fn(&Outcome) -> bool| cases.iter().filter(|case| is(&case.outcome)).count();
        let failures = count(|outcome| matches!(outcome, Outcome::Different(_)));
        let errors = count(|outcome| matches!(outcome, Outcome::NotRun(_)));
        let total = cases.len();
        let _ = writeln!(
            xml,
            "  <testsuite name=\"{suite}\" file=\"{}\" tests=\"{total}\" failures=\"{failures}\" errors=\"{errors}\" skipped=\"0\">",
            escape(path)
        );
        for CaseReport { label, outcome } in cases {
            let _ = write!(xml, "    <testcase classname=\"{suite}\" name=\"{}\"", escape(label));
            let _ = match outcome {
                Outcome::AsExpected => writeln!(xml, "/>"),
                Outcome::Different(differences) => writeln!(
                    xml,
                    ">\n      <failure message=\"the verdict is not as expected\">{}</failure>\n    </testcase>",
                    lines(differences, "").lines().map(|line| escape(line) + "\n").collect::<String>()
                ),
                Outcome::NotRun(own) => {
                    let message = escape(if own.is_empty() { error } else { own });
                    writeln!(xml, ">\n      <error message=\"{message}\"/>\n    </testcase>")
                }
            };
        }
        xml.push_str("  </testsuite>\n");
    }
    xml + "</testsuites>\n"
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::commands::test::report::tests::reports;

    #[test]
    fn the_document_is_xml_with_a_suite_for_each_file() {
        let xml = render(&reports());
        let document = roxmltree::Document::parse(&xml).unwrap();
        let suites: Vec<_> = document.root_element().children().filter(|node| node.has_tag_name("testsuite")).collect();
        let counts = |suite: &roxmltree::Node<'_, '_>| {
            ["name", "tests", "failures", "errors"].map(|key| suite.attribute(key).unwrap().to_owned())
        };
        assert_eq!(suites.iter().map(counts).collect::<Vec<_>>(), [["shop", "3", "1", "1"], ["u.yaml", "1", "0", "1"]]);
        let failure = document.descendants().find(|node| node.has_tag_name("failure")).unwrap();
        assert_eq!(
            failure.text().unwrap(),
            "Pod default/a\\u{1b}\n  - verdict: denied\n  + verdict: warned\n  image `<a>` & more [patch-due]\n"
        );
        let errors = document.descendants().filter(|node| node.has_tag_name("error"));
        let errors: Vec<_> = errors.map(|node| node.attribute("message").unwrap()).collect();
        assert_eq!(errors, ["cannot read it\\nat all", "cases: bad"]);
        let cases = document.descendants().filter(|node| node.has_tag_name("testcase"));
        let names: Vec<_> = cases.map(|node| node.attribute("name").unwrap()).collect();
        assert_eq!(names, ["a.yaml", "b \"b\"", "c.yaml", "the test file"]);
    }
}
