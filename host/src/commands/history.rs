//! `container-patch history`: which images were admitted or refused, when, by whom and with which findings, from the logs of the API server
//! and of the Swarm plugin.
//!
//! `line.rs` reads a line, `files.rs` merges the files, and an [`Output`] gets the requests one by one.

mod csv;
mod entry;
mod files;
mod filter;
mod follow;
mod html;
mod json;
mod line;
mod metrics;
mod output;
mod patches;
mod record;
mod repeats;
#[cfg(test)]
mod samples;
mod summary;
#[cfg(test)]
mod tests;
mod text;
mod workloads;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::PathBuf;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};

use self::csv::Csv;
use self::entry::Entry;
use self::files::{Logs, named};
use self::filter::{Filter, Period};
use self::follow::{FollowOptions, JsonLines, Printer, SharedStdout, Sink};
use self::html::Html;
use self::json::Json;
use self::line::Skipped;
use self::output::Output;
use self::patches::{Patch, Patches, TimeToPatch};
use self::record::{Record, Request};
use self::summary::Summary;
use self::text::Text;
use self::workloads::Workloads;
use crate::counted::counted;
use crate::terminal::Style;

/// Print the history of images from audit logs: what was admitted or refused, when, by whom, and with which findings
///
/// It reads the API server's audit log with the audit annotations of the policy, and the log of `container-patch swarm-authz`. Files can
/// be compressed with gzip, and they can be in any order: requests are merged by time. The outcome of a request is the answer of the API
/// server. Dry runs do not count.
///
/// The output ends with the time to patch of each image repository: the time from the first admission of a new build until the last pod of
/// an older build was deleted.
///
/// The exit code is 2 if the input does not have any event of such a log.
#[derive(Debug, Args)]
pub struct Options {
    /// Audit logs of the API server, or logs of the Swarm plugin; `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    filter: Filter,
    /// Also count requests that only AdmissionPolicies judged. By default, only ClusterAdmissionPolicies count, because users can be permitted to
    /// create AdmissionPolicies in their namespaces, whose modules can write any annotations
    #[arg(long)]
    namespaced_policies: bool,
    #[command(flatten)]
    follow: FollowOptions,
    /// Output format [default: text]
    #[arg(short, long, value_enum)]
    output: Option<Format>,
}

/// The message for other files.
const NOT_AN_AUDIT_LOG: &str = "this is not an audit log: expected events of the API server (audit.k8s.io/v1, as its flag \
                                --audit-log-path writes them), or the JSON log of `container-patch swarm-authz`";

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Text for people
    #[default]
    Text,
    /// JSON object for programs; its schema is docs/history.schema.json
    Json,
    /// Comma-separated values for spreadsheets, with a line for each image of a request
    Csv,
    /// One HTML page for a browser
    Html,
}

/// Writes the history.
///
/// # Errors
/// When nothing can be read.
pub fn exec(options: &Options) -> Result<()> {
    if options.follow.follow {
        return follow::exec(
            &options.files,
            options.follow.metrics_address,
            options.namespaced_policies,
            options.printer(Utc::now())?,
        );
    }
    let written = options.write(Utc::now(), BufWriter::new(io::stdout().lock()), Style::of_stdout());
    match written {
        // A reader that stops early, as `head` does, is not an error.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        other => other,
    }
}

/// The message for a log without a judged request.
fn not_annotated(events: u64) -> String {
    let events = if events == 1 {
        "the log has 1 event, without".to_owned()
    } else {
        format!("none of the {events} events has")
    };
    format!(
        "{events} annotations of the policies: expected requests that the policies judge, at the level Metadata or a higher one; \
         docs/audit-trail.md#record-the-audit-annotations describes how to record them"
    )
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = |error: &(dyn std::error::Error + 'static)| match error.downcast_ref::<serde_json::Error>() {
        Some(json) => json.io_error_kind(),
        None => error.downcast_ref::<io::Error>().map(io::Error::kind),
    };
    error.chain().any(|cause| kind(cause) == Some(ErrorKind::BrokenPipe))
}

impl Options {
    fn write<'w>(&self, now: DateTime<Utc>, writer: impl Write + 'w, style: Style) -> Result<()> {
        let output: Box<dyn Output + 'w> = match self.output.unwrap_or_default() {
            Format::Text => Box::new(Text::new(writer, style)),
            Format::Json => Box::new(Json::new(writer)),
            Format::Csv => Box::new(Csv::new(writer)),
            Format::Html => Box::new(Html::new(writer)),
        };
        let period = self.filter.period(now)?;
        let mut logs = Logs::open(&self.files)?;
        let mut history = History::new(&self.filter, period, output);
        let mut namespaced = 0;
        while let Some(record) = logs.next()? {
            if !self.namespaced_policies && record.is_by_namespaced_policy() {
                namespaced += 1;
                continue;
            }
            history.add(&record)?;
        }
        if namespaced > 0 {
            let requests = counted(namespaced, "request");
            eprintln!(
                "Warning: left out {requests} that only AdmissionPolicies judged, because users can be permitted to create such policies; \
                 --namespaced-policies counts them"
            );
        }
        for message in logs.tally.messages() {
            eprintln!("Warning: {message}");
        }
        if logs.tally.events == 0 {
            let files = named(&self.files);
            if logs.tally.is_empty() {
                bail!("{files}: empty; expected at least one event");
            }
            bail!("{files}: {NOT_AN_AUDIT_LOG}");
        }
        if history.summary.log.requests == 0 && namespaced == 0 {
            eprintln!("Warning: {}", not_annotated(logs.tally.events));
        }
        history.summary.repeated = logs.tally.repeated;
        history.summary.skipped = Skipped::ALL.map(|reason| (reason, logs.tally.skipped(reason))).into();
        history.end()
    }

    /// Prints entries as they come. `None` if only metrics are wanted.
    fn printer(&self, now: DateTime<Utc>) -> Result<Option<Box<dyn Sink>>> {
        let format = match (self.output, self.follow.metrics_address) {
            (None, Some(_)) => return Ok(None),
            (format, _) => format.unwrap_or_default(),
        };
        let writer = SharedStdout::new();
        let output: Box<dyn Output + Send> = match format {
            Format::Text => Box::new(Text::new(writer.clone(), Style::of_stdout())),
            Format::Json => Box::new(JsonLines(writer.clone())),
            Format::Csv => Box::new(Csv::new(writer.clone())),
            Format::Html => bail!("--output html cannot be used with --follow; use text, json or csv"),
        };
        Ok(Some(Box::new(Printer::new(self.filter.clone(), self.filter.period(now)?, output, writer))))
    }
}

/// The history, from its records.
struct History<'h> {
    filter: &'h Filter,
    period: Period,
    workloads: Workloads,
    patches: Patches,
    /// The durations of the finished patches in the period, by repository.
    durations: BTreeMap<String, Vec<TimeDelta>>,
    finished: Vec<Patch>,
    summary: Summary,
    output: Box<dyn Output + 'h>,
}

impl<'h> History<'h> {
    fn new(filter: &'h Filter, period: Period, output: Box<dyn Output + 'h>) -> Self {
        Self {
            filter,
            period,
            workloads: Workloads::default(),
            patches: Patches::default(),
            durations: BTreeMap::new(),
            finished: Vec::new(),
            summary: Summary { filters: filter.given(period), ..Summary::default() },
            output,
        }
    }

    fn add(&mut self, record: &Record) -> Result<()> {
        if let Record::Request(request) = record {
            self.summary.log.add(request);
        }
        if self.period.is_before(record.time()) {
            return Ok(());
        }
        match record {
            Record::Request(request) => self.add_request(record, request)?,
            Record::Deleted(_) => self.patches.add(record, &mut self.finished),
        }
        for patch in self.finished.drain(..) {
            if let Some(duration) = patch.duration().filter(|_| self.period.has(patch.start)) {
                self.durations.entry(patch.repository).or_default().push(duration);
            }
        }
        Ok(())
    }

    fn add_request(&mut self, record: &Record, request: &Request) -> Result<()> {
        self.workloads.learn(request);
        let chain = self.workloads.chain(&request.object);
        if !self.filter.has_object(&request.object.namespace, &chain) {
            return Ok(());
        }
        if self.filter.selects_images() {
            let mut selected = request.clone();
            selected.images.retain(|image| self.filter.has_image(image));
            self.patches.add(&Record::Request(selected), &mut self.finished);
        } else {
            self.patches.add(record, &mut self.finished);
        }
        if !self.period.has(request.time) {
            return Ok(());
        }
        let (images, left_out) = self.filter.images(request);
        self.summary.unchanged += left_out;
        let workload = chain.last().map(String::as_str);
        let entries: Vec<Entry> = images.into_iter().map(|image| Entry::new(request, image, workload)).collect();
        if entries.is_empty() {
            return Ok(());
        }
        self.summary.add(request, &entries);
        self.output.request(&entries)
    }

    fn end(mut self) -> Result<()> {
        let mut unfinished = self.patches.unfinished();
        unfinished.retain(|patch| self.period.has(patch.start));
        let patches = TimeToPatch::new(self.durations, unfinished, &self.patches);
        self.output.end(&self.summary, &patches)
    }
}
