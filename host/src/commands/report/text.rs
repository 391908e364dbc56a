//! The report as a table for people.

use std::fmt::Write as _;

use chrono::NaiveDate;
use comfy_table::{Cell, Color};

use super::model::{Image, Report, Scope, Summary, Verdict, short_digest};
use crate::counted::counted;
use crate::table::{self, table};
use crate::terminal::{Style, printable};

/// The most objects that the table names for an image.
const MAX_OBJECTS: usize = 3;

/// The table, then drift, findings about objects, failures and totals. Writing to a `String` cannot fail.
pub(super) fn render(report: &Report, style: Style) -> String {
    let mut text = String::new();
    if !report.images.is_empty() {
        text.push_str(&images(report, style));
        text.push('\n');
    }
    drift(report, &mut text);
    if !report.object_findings.is_empty() {
        text.push_str("Findings about whole objects:\n");
        for finding in &report.object_findings {
            let _ = writeln!(text, "  {}: {} [{}]", printable(&finding.object), printable(&finding.text), finding.code);
        }
        text.push('\n');
    }
    if !report.failures.is_empty() {
        text.push_str("Not in this report:\n");
        for failure in &report.failures {
            let _ = writeln!(text, "  {}: {}", printable(&failure.subject), printable(&failure.reason));
        }
        text.push('\n');
    }
    if let Some(namespace) = &report.namespace {
        let noun = if report.scope == Scope::Swarm { "Stack" } else { "Namespace" };
        let _ = write!(text, "{noun} {}: ", printable(namespace));
    }
    text.push_str(&totals(report.summary));
    text
}

fn images(report: &Report, style: Style) -> String {
    let mut table = table(["DEADLINE", "DAYS", "VERDICT", "IMAGE", "BUILT", "USED BY", "FINDINGS"], style);
    for image in &report.images {
        table.add_row(row(image, report.scope, style));
    }
    table::render(&table)
}

fn row(image: &Image, scope: Scope, style: Style) -> [Cell; 7] {
    let day = |day: Option<NaiveDate>| day.map_or("-".to_owned(), |day| day.to_string());
    let mut name = printable(&image.name());
    if let Some(digest) = &image.digest {
        let _ = write!(name, "\n{}", printable(&short_digest(digest)));
    }
    let findings: Vec<&str> = image.findings_by_code().into_keys().collect();
    let color = match image.verdict {
        Verdict::Accepted | Verdict::Exempt => Color::Green,
        Verdict::Warned => Color::Yellow,
        Verdict::Failed | Verdict::Denied => Color::Red,
    };
    let verdict = Cell::new(image.verdict.as_str());
    [
        Cell::new(day(image.deadline_day)),
        Cell::new(image.days_left.map_or("-".to_owned(), |days| days.to_string())),
        if style.color { verdict.fg(color) } else { verdict },
        Cell::new(name),
        Cell::new(day(image.built.map(|built| built.date_naive()))),
        Cell::new(used_by(image, scope)),
        Cell::new(findings.join("\n")),
    ]
}

fn used_by(image: &Image, scope: Scope) -> String {
    let objects = image.objects();
    let mut lines: Vec<String> = objects.iter().take(MAX_OBJECTS).map(|object| printable(object)).collect();
    if let Some(more) = objects.len().checked_sub(MAX_OBJECTS).filter(|more| *more > 0) {
        lines.push(format!("… and {more} more"));
    }
    let noun = match scope {
        Scope::Manifests => return lines.join("\n"),
        Scope::Cluster => "pod",
        Scope::Swarm => "task",
    };
    lines.push(match image.pods {
        0 => "(not running)".to_owned(),
        running => format!("({})", counted(running, noun)),
    });
    lines.join("\n")
}

fn drift(report: &Report, text: &mut String) {
    for drift in &report.drift.tags {
        let name = printable(&format!("{}:{}", drift.repository, drift.tag));
        let _ = writeln!(text, "{name} is {} different digests:", drift.digests.len());
        for variant in &drift.digests {
            let _ = writeln!(text, "  {}  {}", printable(&short_digest(&variant.value)), objects(&variant.used_by));
        }
        text.push('\n');
    }
    for drift in &report.drift.repositories {
        let _ = writeln!(text, "{} has {} tags in use:", printable(&drift.repository), drift.tags.len());
        for variant in &drift.tags {
            let _ = writeln!(text, "  {}  {}", printable(&variant.value), objects(&variant.used_by));
        }
        text.push('\n');
    }
    for drift in report.drift.services.iter().flatten() {
        let _ = writeln!(text, "{} runs another image than it declares:", printable(&drift.service));
        for image in &drift.images {
            let digest = image.digest.as_deref().map(short_digest).unwrap_or_default();
            let name = [image.image.as_str(), &digest].join(" ");
            let _ = writeln!(text, "  {}  {}", printable(name.trim_end()), image.role());
        }
        text.push('\n');
    }
}

fn objects(names: &[String]) -> String {
    let mut text = names.iter().take(MAX_OBJECTS).map(|name| printable(name)).collect::<Vec<_>>().join(", ");
    if let Some(more) = names.len().checked_sub(MAX_OBJECTS).filter(|more| *more > 0) {
        let _ = write!(text, " and {more} more");
    }
    text
}

/// The totals in one line.
pub(super) fn totals(summary: Summary) -> String {
    let Summary { images, denied, warned, accepted, exempt, failed, overdue, left_out } = summary;
    let mut text =
        format!("{}: {accepted} accepted, {warned} accepted with warnings, {denied} denied", counted(images, "image"));
    for (number, what) in [
        (exempt, "exempt"),
        (failed, "could not be judged"),
        (overdue, "past the deadline"),
        (left_out, "left out by --due-within"),
    ] {
        if number > 0 {
            let separator = if what == "exempt" { "," } else { ";" };
            let _ = write!(text, "{separator} {number} {what}");
        }
    }
    text + "\n"
}
