//! The history as one JSON object. Its schema is `docs/history.schema.json`.

use std::io::Write;

use anyhow::Result;
use chrono::TimeDelta;
use serde_json::{Map, Value, json};

use super::entry::Entry;
use super::line::Skipped;
use super::output::Output;
use super::patches::{Figures, Patch, TimeToPatch};
use super::record::Outcome;
use super::summary::Summary;
use crate::timestamp::rfc3339;

/// Writes each entry into a line of its own.
pub(super) struct Json<W> {
    output: W,
    has_entries: bool,
}

impl<W: Write> Json<W> {
    pub(super) fn new(output: W) -> Self {
        Self { output, has_entries: false }
    }
}

impl<W: Write> Output for Json<W> {
    fn request(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            let before: &[u8] = if self.has_entries { b",\n" } else { b"{\"entries\":[\n" };
            self.output.write_all(before)?;
            serde_json::to_writer(&mut self.output, entry)?;
            self.has_entries = true;
        }
        Ok(())
    }

    fn end(&mut self, summary: &Summary, patches: &TimeToPatch) -> Result<()> {
        let before = if self.has_entries { "\n" } else { "{\"entries\":[" };
        let (patches, summary) = (time_to_patch(patches), totals(summary));
        writeln!(self.output, "{before}],\n\"timeToPatch\":{patches},\n\"summary\":{summary}}}")?;
        Ok(self.output.flush()?)
    }
}

fn time_to_patch(patches: &TimeToPatch) -> Value {
    let repository = |(name, of): &(String, Figures)| {
        let mut figures = figures(of);
        figures.insert("repository".to_owned(), name.as_str().into());
        figures
    };
    let unfinished = |patch: &Patch| json!({"repository": patch.repository, "digest": patch.digest, "start": rfc3339(&patch.start), "oldPods": patch.old_pods});
    json!({
        "repositories": patches.repositories.iter().map(repository).collect::<Vec<_>>(),
        "total": figures(&patches.total),
        "unfinished": patches.unfinished.iter().map(unfinished).collect::<Vec<_>>(),
        "unnamedPods": patches.unnamed_pods,
        "partial": patches.is_partial,
    })
}

fn figures(figures: &Figures) -> Map<String, Value> {
    let seconds = |duration: Option<TimeDelta>| Value::from(duration.map(|duration| duration.num_seconds()));
    Map::from_iter([
        ("finished".to_owned(), figures.finished.into()),
        ("unfinished".to_owned(), figures.unfinished.into()),
        ("meanSeconds".to_owned(), seconds(figures.mean)),
        ("p90Seconds".to_owned(), seconds(figures.p90)),
        ("slowestSeconds".to_owned(), seconds(figures.slowest)),
    ])
}

fn totals(summary: &Summary) -> Value {
    let requests = Outcome::ALL.map(|outcome| (outcome.as_str().to_owned(), Value::from(summary.of(outcome))));
    let skipped = Skipped::ALL.map(|reason| {
        let key = if reason == Skipped::TooLong { "tooLong" } else { reason.as_str() };
        (key.to_owned(), Value::from(summary.skipped.get(&reason).copied().unwrap_or(0)))
    });
    json!({
        "filters": summary.filters.json(),
        "requests": Map::from_iter(requests),
        "entries": summary.entries,
        "unchangedLeftOut": summary.unchanged,
        "breakGlass": summary.break_glass,
        "excepted": summary.excepted,
        "first": summary.first.as_ref().map(rfc3339),
        "last": summary.last.as_ref().map(rfc3339),
        "duplicateEvents": summary.repeated,
        "skippedLines": Map::from_iter(skipped),
    })
}
