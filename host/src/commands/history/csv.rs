//! The history as comma-separated values, for spreadsheets. It has a line for each image of a request.

use std::io::Write;

use anyhow::Result;

use super::entry::Entry;
use super::output::Output;
use super::patches::TimeToPatch;
use super::record::{Finding, Operation, Platform};
use super::summary::Summary;
use crate::csv::{line, text};
use crate::timestamp::rfc3339;

/// The columns.
const HEADER: [&str; 26] = [
    "time",
    "outcome",
    "status",
    "operation",
    "platform",
    "kind",
    "namespace",
    "name",
    "owner",
    "workload",
    "user",
    "impersonated by",
    "image",
    "repository",
    "tag",
    "digest",
    "built",
    "age days",
    "unchanged",
    "exempt",
    "sites",
    "codes",
    "passed",
    "findings",
    "break-glass reason",
    "break-glass by",
];

/// Writes the entries and no totals.
pub(super) struct Csv<W> {
    output: W,
    has_header: bool,
}

impl<W: Write> Csv<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, has_header: false }
    }

    fn header(&mut self) -> Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.output.write_all(line(HEADER.map(str::to_owned)).as_bytes())?;
        }
        Ok(())
    }
}

impl<W: Write> Output for Csv<W> {
    fn request(&mut self, entries: &[Entry]) -> Result<()> {
        self.header()?;
        for entry in entries {
            self.output.write_all(line(row(entry)).as_bytes())?;
        }
        Ok(())
    }

    fn end(&mut self, _: &Summary, _: &TimeToPatch) -> Result<()> {
        self.header()?;
        Ok(self.output.flush()?)
    }
}

fn row(entry: &Entry) -> [String; HEADER.len()] {
    let optional = |value: &Option<String>| text(value.as_deref().unwrap_or_default());
    let codes: Vec<&str> = entry.findings.iter().map(|finding| finding.code.as_str()).collect();
    let mut passed: Vec<&str> = entry.findings.iter().filter_map(|finding| finding.passed.as_deref()).collect();
    passed.sort_unstable();
    passed.dedup();
    let findings: Vec<String> = entry.findings.iter().map(finding).collect();
    let break_glass = entry.break_glass.as_ref();
    [
        rfc3339(&entry.time),
        entry.outcome.as_str().to_owned(),
        entry.status.map(|status| status.to_string()).unwrap_or_default(),
        match entry.operation {
            Operation::Create => "CREATE".to_owned(),
            Operation::Update => "UPDATE".to_owned(),
        },
        match entry.platform {
            Platform::Cluster => "cluster".to_owned(),
            Platform::Docker => "docker".to_owned(),
        },
        text(&entry.kind),
        optional(&entry.namespace),
        optional(&entry.name),
        optional(&entry.owner),
        optional(&entry.workload),
        optional(&entry.user),
        optional(&entry.impersonated_by),
        optional(&entry.image),
        optional(&entry.repository),
        optional(&entry.tag),
        optional(&entry.digest),
        entry.built.as_ref().map(rfc3339).unwrap_or_default(),
        entry.age_days.map(|days| days.to_string()).unwrap_or_default(),
        entry.unchanged.to_string(),
        entry.exempt.to_string(),
        text(&entry.sites.join("; ")),
        text(&codes.join("; ")),
        text(&passed.join("; ")),
        text(&findings.join("; ")),
        text(break_glass.map_or("", |break_glass| &break_glass.reason)),
        text(break_glass.map_or("", |break_glass| &break_glass.by)),
    ]
}

/// A finding in one line.
pub(super) fn finding(finding: &Finding) -> String {
    let Finding { code, effect, passed, text, .. } = finding;
    match passed {
        Some(setting) => format!("{effect} [{code}] passed by {setting}: {text}"),
        None => format!("{effect} [{code}]: {text}"),
    }
}
