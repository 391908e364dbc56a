//! Verdicts as a table for people.

use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::judge::changes::Record;
use crate::judge::verdict::{JudgedObject, Summary, Verdict};
use crate::terminal::{Style, printable};

/// The minimum width of a terminal for which lines are wrapped. Some terminals report a width of 0.
const MIN_WIDTH: u16 = 40;

/// The table, with a line of totals below it. Skipped objects are only counted there.
pub(crate) fn render(objects: &[JudgedObject], summary: Summary, style: Style) -> String {
    let mut text = String::new();
    let rows: Vec<&JudgedObject> = objects.iter().filter(|object| object.verdict != Verdict::Skipped).collect();
    if !rows.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if style.terminal && table.width().is_some_and(|width| width >= MIN_WIDTH) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        if style.color {
            table.enforce_styling();
        }
        table.set_header(["VERDICT", "OBJECT", "FINDINGS"].map(|title| header(title, style)));
        for object in rows {
            table.add_row([verdict(object.verdict, style), Cell::new(name(object)), Cell::new(findings(object))]);
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str(&totals(objects, summary));
    text
}

fn header(title: &str, style: Style) -> Cell {
    let cell = Cell::new(title);
    if style.color { cell.add_attribute(Attribute::Bold) } else { cell }
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
    match &object.object {
        Some(name) => format!("{}\n{source}", printable(name)),
        None => source,
    }
}

fn findings(object: &JudgedObject) -> String {
    let pinned = object.pinned.iter().map(|image| format!("would be pinned: `{}`", printable(image)));
    let recorded = object.recorded.iter().map(|Record { target, image, .. }| {
        format!("would be recorded for {}: `{}`", printable(&target.to_string()), printable(image))
    });
    let reasons = object.messages.iter().chain(&object.warnings).map(|text| printable(text));
    reasons.chain(pinned).chain(recorded).collect::<Vec<_>>().join("\n")
}

fn totals(objects: &[JudgedObject], summary: Summary) -> String {
    let Summary { accepted, warned, denied, skipped, failed } = summary;
    let total = accepted + warned + denied;
    let mut text = format!(
        "{total} object{} judged: {accepted} accepted, {warned} accepted with warnings, {denied} denied",
        if total == 1 { "" } else { "s" }
    );
    // Writing to a `String` cannot fail.
    if failed > 0 {
        let _ = write!(text, "; {failed} could not be judged");
    }
    if skipped > 0 {
        let skipped_objects = objects.iter().filter(|object| object.verdict == Verdict::Skipped);
        let mut kinds: Vec<String> =
            skipped_objects.filter_map(|object| object.object.as_deref()?.split(' ').next().map(printable)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let _ = write!(text, "; {skipped} skipped, of kinds without pods ({})", kinds.join(", "));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use super::{Summary, findings, render};
    use crate::input::{ManifestFile, Source};
    use crate::judge::changes::{Record, RecordTarget};
    use crate::judge::verdict::{JudgedObject, Verdict};
    use crate::terminal::Style;

    fn source() -> Source {
        let objects = ManifestFile::new("web.yaml".to_owned(), "kind: Pod".to_owned()).objects();
        objects.into_iter().next().unwrap().source
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
        let object = JudgedObject::failed(None, source(), reason.trim_end().to_owned());
        let objects = [object];
        let text = render(&objects, Summary::of(&objects), Style { terminal: false, color: false });
        assert!(text.contains(reason.trim_end()), "{text}");
    }
}
