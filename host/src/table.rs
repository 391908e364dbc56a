//! The verdicts as a table for people.

use std::fmt::Write as _;

use comfy_table::{Attribute, Cell, Color, ContentArrangement, Table, presets};

use crate::changes::Record;
use crate::check::{Judged, Summary, Verdict};

/// How the table may look.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Style {
    /// Whether it is read on a terminal, whose width it should keep to.
    pub(crate) terminal: bool,
    /// Whether it may have colours.
    pub(crate) color: bool,
}

/// Terminals that are narrower, or say so for want of knowing, are left to break lines by themselves.
const NARROWEST: u16 = 40;

/// The table and the line of sums below it. What is skipped is counted there, by kind.
pub(crate) fn render(judged: &[Judged], summary: Summary, style: Style) -> String {
    let mut text = String::new();
    let rows: Vec<&Judged> = judged.iter().filter(|object| object.verdict != Verdict::Skipped).collect();
    if !rows.is_empty() {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        if style.terminal && table.width().is_some_and(|width| width >= NARROWEST) {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        } else {
            table.force_no_tty();
        }
        if style.color {
            table.enforce_styling();
        }
        table.set_header(["VERDICT", "OBJECT", "FINDINGS"].map(|title| emphasised(title, style)));
        for object in rows {
            table.add_row([verdict(object.verdict, style), Cell::new(names(object)), Cell::new(findings(object))]);
        }
        for line in table.lines() {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text.push('\n');
    }
    text.push_str(&sums(judged, summary));
    text
}

fn emphasised(title: &str, style: Style) -> Cell {
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

fn names(object: &Judged) -> String {
    let source = printable(&object.source);
    match &object.object {
        Some(name) => format!("{}\n{source}", printable(name)),
        None => source,
    }
}

fn findings(object: &Judged) -> String {
    let pinned = object.pinned.iter().map(|image| format!("would be pinned: `{}`", printable(image)));
    let recorded = object.recorded.iter().map(|Record { holder, image, .. }| {
        format!("would be recorded for {}: `{}`", printable(&holder.to_string()), printable(image))
    });
    let said = object.messages.iter().chain(&object.warnings).map(|text| printable(text));
    said.chain(pinned).chain(recorded).collect::<Vec<_>>().join("\n")
}

/// Text of a manifest, fit for a terminal: control characters would steer it.
pub(crate) fn printable(text: &str) -> String {
    let mut printable = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            printable.extend(character.escape_default());
        } else {
            printable.push(character);
        }
    }
    printable
}

fn sums(judged: &[Judged], summary: Summary) -> String {
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
        let skipped_ones = judged.iter().filter(|object| object.verdict == Verdict::Skipped);
        let mut kinds: Vec<String> =
            skipped_ones.filter_map(|object| object.object.as_deref()?.split(' ').next().map(printable)).collect();
        kinds.sort_unstable();
        kinds.dedup();
        let _ = write!(text, "; {skipped} skipped, of kinds that hold no pods ({})", kinds.join(", "));
    }
    text + "\n"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::findings;
    use crate::changes::{Holder, Record};
    use crate::check::{Judged, Verdict};

    #[test]
    fn records_are_told_after_what_is_found_and_do_not_steer_the_terminal() {
        let record = |holder, image: &str| {
            let (image, template) = (image.to_owned(), "/spec/template".to_owned());
            Record { holder, image, template }
        };
        let object = Judged {
            verdict: Verdict::Warned,
            object: None,
            source: "web.yaml:1".to_owned(),
            messages: vec![],
            warnings: vec!["a warning".to_owned()],
            pinned: vec!["web:1@sha256:a".to_owned()],
            recorded: vec![
                record(Holder::Container("app".to_owned()), "web:1@sha256:a"),
                record(Holder::Volume("a\u{1b}[31m".to_owned()), "data:1\n"),
            ],
            findings: json!([]),
            images: json!([]),
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
}
