//! The outcome of tests as text for people.

use std::fmt::Write as _;
use std::process::ExitCode;

use super::case::{CaseReport, FileReport, Outcome};
use super::compare::Difference;
use crate::counted::counted;
use crate::terminal::printable;

/// The number of cases by outcome.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) as_expected: usize,
    pub(super) different: usize,
    /// Cases that could not run, and files that could not be read.
    pub(super) not_run: usize,
}

impl Totals {
    pub(super) fn of(reports: &[FileReport]) -> Self {
        let mut totals = Self::default();
        for report in reports {
            let Ok(cases) = &report.cases else {
                totals.not_run += 1;
                continue;
            };
            for case in cases {
                *match case.outcome {
                    Outcome::AsExpected => &mut totals.as_expected,
                    Outcome::Different(_) => &mut totals.different,
                    Outcome::NotRun(_) => &mut totals.not_run,
                } += 1;
            }
        }
        totals
    }

    pub(super) fn exit_code(self) -> ExitCode {
        match self {
            Self { not_run: 1.., .. } => ExitCode::from(2),
            Self { different: 1.., .. } => ExitCode::from(1),
            Self { .. } => ExitCode::SUCCESS,
        }
    }
}

/// A line for each case, with its differences, and the totals.
pub(super) fn render(reports: &[FileReport], totals: Totals, color: bool) -> String {
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    for FileReport { path, name, cases } in reports {
        let name = name.as_ref().map(|name| format!(": {}", printable(name))).unwrap_or_default();
        let _ = writeln!(text, "{}{name}", printable(path));
        match cases {
            Ok(cases) => cases.iter().for_each(|case| add(&mut text, case, color)),
            Err(error) => {
                let _ = writeln!(text, "  {} {}", word("ERROR", color), indented(error));
            }
        }
    }
    let Totals { as_expected, different, not_run } = totals;
    let total = as_expected + different;
    let cases = counted(total, "case");
    let _ = write!(text, "\n{cases}: {as_expected} as expected, {different} different");
    if not_run > 0 {
        let _ = write!(text, "; {not_run} could not run");
    }
    text + "\n"
}

fn add(text: &mut String, CaseReport { label, outcome }: &CaseReport, color: bool) {
    let label = printable(label);
    let _ = match outcome {
        Outcome::AsExpected => writeln!(text, "  {} {label}", word("ok   ", color)),
        Outcome::NotRun(error) => writeln!(text, "  {} {label}: {}", word("ERROR", color), indented(error)),
        Outcome::Different(differences) => {
            let _ = writeln!(text, "  {} {label}", word("FAIL ", color));
            text.push_str(&lines(differences, "        "));
            Ok(())
        }
    };
}

/// The differences, each with its messages.
pub(super) fn lines(differences: &[Difference], indent: &str) -> String {
    let mut text = String::new();
    for Difference { object, lines, messages } in differences {
        let object = object.as_ref().map(|object| printable(object));
        let inner = if object.is_some() { "  " } else { "" };
        if let Some(object) = &object {
            let _ = writeln!(text, "{indent}{object}");
        }
        for line in lines.iter().chain(messages) {
            let _ = writeln!(text, "{indent}{inner}{}", printable(line));
        }
    }
    text
}

/// The lines of an error, below each other.
fn indented(error: &str) -> String {
    error.lines().map(printable).collect::<Vec<_>>().join("\n        ")
}

fn word(word: &str, color: bool) -> String {
    let code = match word.trim_end() {
        "ok" => 32,
        _ => 31,
    };
    if color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{CaseReport, Difference, FileReport, Outcome, Totals, render};

    pub(crate) fn reports() -> Vec<FileReport> {
        let difference = Difference {
            object: Some("Pod default/a\u{1b}".to_owned()),
            lines: vec!["- verdict: denied".to_owned(), "+ verdict: warned".to_owned()],
            messages: vec!["image `<a>` & more [patch-due]".to_owned()],
        };
        let case = |label: &str, outcome| CaseReport { label: label.to_owned(), outcome };
        let cases = vec![
            case("a.yaml", Outcome::AsExpected),
            case("b \"b\"", Outcome::Different(vec![difference])),
            case("c.yaml", Outcome::NotRun("cannot read it\nat all".to_owned())),
        ];
        let file = |path: &str, name: Option<&str>, cases| FileReport {
            path: path.to_owned(),
            name: name.map(str::to_owned),
            cases,
        };
        vec![file("t.yaml", Some("shop"), Ok(cases)), file("u.yaml", None, Err("cases: bad".to_owned()))]
    }

    #[test]
    fn each_case_has_a_line_and_its_differences() {
        let reports = reports();
        let totals = Totals::of(&reports);
        assert_eq!(totals, Totals { as_expected: 1, different: 1, not_run: 2 });
        assert_eq!(
            render(&reports, totals, false),
            "t.yaml: shop\n  ok    a.yaml\n  FAIL  b \"b\"\n        Pod default/a\\u{1b}\n          - verdict: denied\n          \
             + verdict: warned\n          image `<a>` & more [patch-due]\n  ERROR c.yaml: cannot read it\n        at all\nu.yaml\n  \
             ERROR cases: bad\n\n2 cases: 1 as expected, 1 different; 2 could not run\n"
        );
    }

    #[test]
    fn what_could_not_run_decides_the_exit_code() {
        let code =
            |as_expected, different, not_run| format!("{:?}", Totals { as_expected, different, not_run }.exit_code());
        let expected = |code: u8| format!("{:?}", std::process::ExitCode::from(code));
        assert_eq!(code(1, 0, 0), expected(0));
        assert_eq!(code(1, 1, 0), expected(1));
        assert_eq!(code(1, 1, 1), expected(2));
    }
}
