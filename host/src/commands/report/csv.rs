//! The images as comma-separated values (RFC 4180), for spreadsheets.

use super::model::{Image, Report, Use};
use crate::csv::{line, text};
use crate::timestamp::rfc3339;

/// The columns.
const HEADER: [&str; 18] = [
    "repository",
    "tags",
    "digest",
    "verdict",
    "built",
    "deadline",
    "deadline day",
    "days left",
    "freeze",
    "base",
    "base digest",
    "base outdated",
    "scan",
    "codes",
    "findings",
    "missing platforms",
    "pods",
    "used by",
];

/// A line for each image. Lists are separated by `; `.
pub(super) fn render(report: &Report) -> String {
    let header = HEADER.map(str::to_owned);
    std::iter::once(line(header)).chain(report.images.iter().map(|image| line(row(image)))).collect()
}

fn row(image: &Image) -> [String; HEADER.len()] {
    let base = image.base.as_ref();
    let findings = image.findings.iter().map(|finding| format!("{} [{}]", finding.text, finding.code));
    let codes = image.findings_by_code().into_keys().collect::<Vec<_>>();
    [
        text(&image.repository),
        text(&image.tags.join("; ")),
        text(image.digest.as_deref().unwrap_or_default()),
        image.verdict.as_str().to_owned(),
        image.built.as_ref().map(rfc3339).unwrap_or_default(),
        image.deadline.as_ref().map(rfc3339).unwrap_or_default(),
        image.deadline_day.map(|day| day.to_string()).unwrap_or_default(),
        image.days_left.map(|days| days.to_string()).unwrap_or_default(),
        text(image.freeze.as_deref().unwrap_or_default()),
        text(base.map_or("", |base| &base.name)),
        text(base.and_then(|base| base.digest.as_deref()).unwrap_or_default()),
        base.and_then(|base| base.outdated).map(|outdated| outdated.to_string()).unwrap_or_default(),
        image.scan.as_str().to_owned(),
        text(&codes.join("; ")),
        text(&findings.collect::<Vec<_>>().join("; ")),
        text(&image.missing_platforms.join("; ")),
        image.pods.to_string(),
        text(&image.used_by.iter().map(used).collect::<Vec<_>>().join("; ")),
    ]
}

fn used(used: &Use) -> String {
    format!("{} {}", used.object(), used.container)
}
