//! Verdicts as a table for people.

use comfy_table::{Cell, Color};

use super::{Checked, CheckedObject, totals};
use crate::judge::changes::Record;
use crate::judge::verdict::{JudgedObject, Verdict};
use crate::table::{self, table};
use crate::terminal::{Style, printable};

/// The table, with a line of totals below it. Skipped objects are only counted there. Quiet output has only objects with
/// findings or errors.
pub(super) fn render(checked: &Checked<'_>, style: Style, quiet: bool) -> String {
    let is_shown = |object: &&CheckedObject<'_>| match object.judged.verdict {
        Verdict::Skipped => false,
        Verdict::Accepted => !quiet,
        Verdict::Warned | Verdict::Denied | Verdict::Failed => true,
    };
    let rows: Vec<&JudgedObject> = checked.objects.iter().filter(is_shown).map(|object| object.judged).collect();
    if quiet && rows.is_empty() {
        return String::new();
    }
    let mut text = String::new();
    if !rows.is_empty() {
        let mut table = table(["VERDICT", "OBJECT", "FINDINGS"], style);
        for object in rows {
            table.add_row([verdict(object.verdict, style), Cell::new(name(object)), Cell::new(findings(object))]);
        }
        text += &table::render(&table);
        text.push('\n');
    }
    text + &totals(checked) + "\n"
}

fn verdict(verdict: Verdict, style: Style) -> Cell {
    let cell = Cell::new(verdict);
    if !style.color {
        return cell;
    }
    cell.fg(match verdict {
        Verdict::Accepted => Color::Green,
        Verdict::Warned => Color::Yellow,
        Verdict::Denied | Verdict::Failed => Color::Red,
        Verdict::Skipped => Color::Grey,
    })
}

fn name(object: &JudgedObject) -> String {
    let source = printable(&object.source.to_string());
    // A line that begins with colons is a command for GitHub's runner.
    let source = if source.starts_with("::") { format!("./{source}") } else { source };
    match &object.object {
        Some(name) => format!("{}\n{source}", printable(&name.to_string())),
        None => source,
    }
}

fn findings(object: &JudgedObject) -> String {
    let reasons = object.reasons().into_iter().map(|reason| printable(&reason.to_string()));
    let pinned = object.pinned.iter().map(|image| format!("would be pinned: `{}`", printable(image)));
    let recorded = object.recorded.iter().map(|Record { target, image, .. }| {
        format!("would be recorded for {}: `{}`", printable(&target.to_string()), printable(image))
    });
    reasons.chain(pinned).chain(recorded).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::{findings, render};
    use crate::commands::check::output::Checked;
    use crate::commands::check::output::tests::{denied, finding, object, source};
    use crate::input::ManifestFile;
    use crate::judge::changes::{Record, RecordTarget};
    use crate::judge::verdict::{Effect, FailOn, Finding, JudgedObject, SkipReason, Verdict};
    use crate::terminal::Style;

    fn text(objects: &[JudgedObject], quiet: bool) -> String {
        render(&Checked::new(objects, FailOn::Deny), Style::PLAIN, quiet)
    }

    #[test]
    fn records_come_after_findings_and_cannot_control_the_terminal() {
        let record = |target, image: &str| {
            let (image, template) = (image.to_owned(), "/spec/template".to_owned());
            Record { target, image, template }
        };
        let object = JudgedObject {
            warnings: vec!["a warning".to_owned()],
            pinned: vec!["web:1@sha256:a".to_owned()],
            recorded: vec![
                record(RecordTarget::Container("app".to_owned()), "web:1@sha256:a"),
                record(RecordTarget::Volume("a\u{1b}[31m".to_owned()), "data:1\n"),
            ],
            ..JudgedObject::with_verdict(Verdict::Warned, None, source())
        };
        assert_eq!(
            findings(&object).lines().collect::<Vec<_>>(),
            [
                "a warning",
                "would be pinned: `web:1@sha256:a`",
                "would be recorded for container `app`: `web:1@sha256:a`",
                r"would be recorded for volume `a\u{1b}[31m`: `data:1\n`",
            ]
        );
    }

    #[test]
    fn reasons_are_complete_whatever_their_length() {
        let reason = format!(
            "container `app`: image `{}` could not be verified: {}",
            "r.test/a".repeat(40),
            "a cause ".repeat(60)
        );
        let failed = text(&[JudgedObject::failed(None, source(), reason.trim_end().to_owned())], false);
        assert!(failed.contains(reason.trim_end()), "{failed}");
        let warning = Finding { text: "is old; ".repeat(60), ..finding("patch-due", Effect::Warn) };
        let cut = "container `app`: image `web:1` is old; is old… [patch-due]".to_owned();
        let warned = JudgedObject { warnings: vec![cut], ..denied(vec![warning.clone()]) };
        let warned = text(&[warned], false);
        assert!(warned.contains(&warning.to_string()) && !warned.contains('…'), "{warned}");
    }

    #[test]
    fn skipped_objects_are_counted_with_the_reason_and_their_kinds() {
        let skipped = |reason, kind: Option<&str>| JudgedObject::skipped(reason, kind.map(object), source());
        let config = skipped(SkipReason::KindWithoutPods, Some("ConfigMap"));
        assert_eq!(text(&[config.clone(), config.clone()], false), "2 skipped: of kinds without pods (ConfigMap)\n");
        let objects = [
            skipped(SkipReason::NotKubernetes, None),
            skipped(SkipReason::UnknownKindWithoutImages, Some("Widget\u{7}")),
            config,
        ];
        assert!(
            text(&objects, false).starts_with(
                "3 skipped: 1 of kinds without pods (ConfigMap), 1 of unknown kinds, without images (Widget\\u{7}), \
                 1 not a Kubernetes object\n"
            ),
            "{}",
            text(&objects, false)
        );
        assert_eq!(text(&[], false), "Nothing to judge: the manifests have no objects\n");
    }

    #[test]
    fn the_totals_leave_out_verdicts_that_no_object_has() {
        let with = |verdict| JudgedObject::with_verdict(verdict, Some(object("Pod")), source());
        let totals = |objects: &[JudgedObject]| text(objects, false).lines().last().unwrap().to_owned();
        assert_eq!(totals(&[with(Verdict::Accepted)]), "1 object judged: 1 accepted");
        assert_eq!(
            totals(&[with(Verdict::Denied), with(Verdict::Warned), with(Verdict::Failed)]),
            "2 objects judged: 1 accepted with warnings, 1 denied; 1 could not be judged"
        );
        assert_eq!(totals(&[with(Verdict::Failed)]), "1 could not be judged");
    }

    #[test]
    fn quiet_output_has_only_objects_with_findings_or_errors() {
        let accepted = JudgedObject::with_verdict(Verdict::Accepted, Some(object("Pod")), source());
        assert_eq!(text(std::slice::from_ref(&accepted), true), "");
        let both = text(&[accepted, denied(vec![finding("unpinned-image", Effect::Deny)])], true);
        assert!(both.contains("denied") && !both.contains(" accepted  Pod"), "{both}");
    }

    #[test]
    fn no_line_is_a_command_for_the_runner_of_a_pipeline() {
        let file = ManifestFile::new("::add-mask::a.yaml".to_owned(), "kind: Pod".to_owned());
        let source = file.objects().remove(0).source;
        let error = "##[group]a ##vso[task.setvariable]".to_owned();
        let output = text(&[JudgedObject::failed(Some(object("Pod")), source, error)], false);
        assert!(!output.lines().any(|line| line.trim_start().starts_with("::")), "{output}");
        assert!(!output.contains("##"), "{output}");
    }
}
