//! Workflow commands of GitHub Actions, which become annotations of the lines in a pull request:
//! <https://docs.github.com/actions/reference/workflows-and-actions/workflow-commands>.

use super::{Checked, CheckedObject, totals};
use crate::judge::location::Region;
use crate::judge::verdict::{Effect, Reason, Verdict};
use crate::workflow_commands::{data, property};

/// An annotation for each finding and each error, and the totals.
pub(super) fn render(checked: &Checked<'_>) -> String {
    let mut text = String::new();
    for object in &checked.objects {
        if object.judged.verdict == Verdict::Skipped {
            continue;
        }
        for reason in object.judged.reasons() {
            text += &annotation(checked, object, &reason);
        }
    }
    text + &totals(checked) + "\n"
}

fn annotation(checked: &Checked<'_>, object: &CheckedObject<'_>, reason: &Reason<'_>) -> String {
    let (command, title, region) = match reason {
        Reason::Finding(index, finding) => {
            let command = if finding.effect == Effect::Deny { "error" } else { "warning" };
            (command, format!("{}: {}", finding.code, object.title()), object.region(*index))
        }
        Reason::Message(_) => {
            let command = if object.judged.verdict == Verdict::Warned { "warning" } else { "error" };
            (command, object.title(), None)
        }
    };
    let file = checked.file(object.judged);
    // A manifest from standard input has no file to annotate.
    let place =
        if file == "stdin" { String::new() } else { format!("file={},{},", property(&file), lines(object, region)) };
    format!("::{command} {place}title={}::{}\n", property(&title), data(&reason.to_string()))
}

fn lines(object: &CheckedObject<'_>, region: Option<Region>) -> String {
    match region {
        None => format!("line={}", object.line),
        Some(Region { start, end }) if start.line == end.line => {
            format!("line={},col={},endLine={},endColumn={}", start.line, start.column, end.line, end.column)
        }
        // Columns are for one line only.
        Some(Region { start, end }) => format!("line={},endLine={}", start.line, end.line),
    }
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::{denied, finding, objects};
    use crate::input::ManifestFile;
    use crate::judge::verdict::{Effect, FailOn, JudgedObject, Verdict};

    #[test]
    fn a_finding_is_an_annotation_of_its_image() {
        let objects = [denied(vec![finding("patch-due", Effect::Warn), finding("unpinned-image", Effect::Deny)])];
        let checked = Checked::new(&objects, FailOn::Deny);
        let file = checked.file(&objects[0]);
        assert_eq!(
            render(&checked).lines().collect::<Vec<_>>(),
            [
                &*format!(
                    "::error file={file},line=4,col=26,endLine=4,endColumn=33,title=unpinned-image%3A Pod shop/web::\
                     container `app`: image `web:1` has a fault [unpinned-image]"
                ),
                &format!(
                    "::warning file={file},line=4,col=26,endLine=4,endColumn=33,title=patch-due%3A Pod shop/web::\
                     container `app`: image `web:1` has a fault [patch-due]"
                ),
                "1 object judged: 1 denied",
            ]
        );
    }

    #[test]
    fn every_line_is_one_command_and_its_properties_cannot_be_forged() {
        let objects = objects();
        let text = render(&Checked::new(&objects, FailOn::Deny));
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 8, "{text}");
        for line in &lines[..7] {
            let rest = line.strip_prefix("::error ").or_else(|| line.strip_prefix("::warning ")).unwrap();
            let (properties, message) = rest.split_once("::").unwrap();
            let names: Vec<_> = properties.split(',').map(|property| property.split('=').next().unwrap()).collect();
            assert_eq!((names[0], names[1], *names.last().unwrap()), ("file", "line", "title"), "{line}");
            assert!(names.len() == 3 || names.len() == 6, "{line}");
            assert!(!message.is_empty() && !line.contains(char::is_control), "{line}");
        }
        assert!(text.contains(r"a%250A\n::error::b]]>"), "{text}");
    }

    #[test]
    fn standard_input_is_not_named_as_a_file() {
        let source = ManifestFile::new("<stdin>".to_owned(), "kind: Pod".to_owned()).objects().remove(0).source;
        let objects = [JudgedObject { source, verdict: Verdict::Failed, ..denied(vec![finding("a", Effect::Deny)]) }];
        assert!(
            render(&Checked::new(&objects, FailOn::Deny)).starts_with("::error title=a%3A Pod shop/web::container")
        );
    }
}
