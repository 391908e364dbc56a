//! `history --follow`: reads what is appended to the logs, prints it, and serves metrics about it.

mod lines;
mod print;
mod source;
#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use self::lines::Found;
pub(super) use self::print::{JsonLines, Printer, SharedStdout};
use self::source::Source;
use super::files::Tally;
use super::line::{Skipped, is_blank, read_line, time_of};
use super::metrics::Metrics;
use super::patches::{Patch, Patches};
use super::record::Record;
use super::{NOT_AN_AUDIT_LOG, is_broken_pipe};
use crate::counted::counted;
use crate::metrics_page::{self, FewConnections};
use crate::notify;
use crate::terminal::log_line;

/// How often the files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// The time for what is being printed when a signal ends the command.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The most logs. They are all open.
const MAX_LOGS: usize = 256;

/// How logs are followed.
#[derive(Debug, Args)]
pub(super) struct FollowOptions {
    /// Keep reading as the files grow, until SIGTERM or SIGINT. Files can be rotated or truncated, and need not exist yet. Totals are not
    /// printed. As JSON, each entry is an object on its own line
    #[arg(long)]
    pub(super) follow: bool,
    /// With --follow, address of the metrics for Prometheus, such as 127.0.0.1:9465. The path is /metrics, without authentication. The
    /// metrics count all requests, including those that filters leave out. Without --output, entries are not printed [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = metrics_page::address, requires = "follow")]
    pub(super) metrics_address: Option<SocketAddr>,
}

/// Gets the records of the logs.
pub(super) trait Sink: Send {
    /// Takes a record.
    ///
    /// # Errors
    /// When nothing can be written.
    fn record(&mut self, record: &Record) -> Result<()>;

    /// Writes what it has taken so far.
    ///
    /// # Errors
    /// When nothing can be written.
    fn flush(&mut self) -> Result<()>;
}

/// Follows the logs until a signal, or until all of them have ended: standard input, pipes and compressed files do.
///
/// # Errors
/// When a log or the address cannot be opened, nothing can be written, or the logs have ended without an event.
pub(super) fn exec(
    paths: &[PathBuf],
    metrics_address: Option<SocketAddr>,
    namespaced_policies: bool,
    sink: Option<Box<dyn Sink>>,
) -> Result<()> {
    let listener = metrics_address.map(metrics_page::listen).transpose()?;
    let metrics = listener.as_ref().map(|_| Metrics::new());
    let registry = metrics.as_ref().map(Metrics::registry);
    let (wake, woken) = Wake::new();
    let logs = open(paths, &wake)?;
    let ready = format!("following {}", counted(logs.len(), "log"));
    let reader = Reader { namespaced_policies, ..Reader::new(metrics, sink, Box::new(warn)) };
    let stop = Arc::<AtomicBool>::default();
    let follower = Follower { logs, reader, stop: Arc::clone(&stop) };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .context("cannot start the threads of the command")?;
    let followed = runtime.block_on(async move {
        let (mut terminated, mut interrupted) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        let (caught_up, has_caught_up) = oneshot::channel();
        let mut following = tokio::task::spawn_blocking(move || follower.run(&woken, caught_up));
        let serving = async move {
            if has_caught_up.await.is_err() {
                return std::future::pending().await;
            }
            let Some((listener, registry)) = listener.zip(registry) else {
                notify::ready(&ready);
                return std::future::pending().await;
            };
            let listener = FewConnections::new(tokio::net::TcpListener::from_std(listener)?);
            notify::ready(&ready);
            let routes = metrics_page::routes(move || metrics_page::open_metrics(&registry));
            axum::serve(listener, routes).await.context("the server of the metrics failed")
        };
        let ended = tokio::select! {
            ended = &mut following => ended,
            served = serving => return served,
            () = async { tokio::select! { _ = terminated.recv() => {}, _ = interrupted.recv() => {} } } => {
                notify::stopping();
                stop.store(true, Ordering::Relaxed);
                wake.wake();
                // Standard output can be blocked.
                tokio::time::timeout(LAST_LINES, following).await.unwrap_or(Ok(Ok(())))
            }
        };
        ended.context("the thread that reads the logs failed")?
    });
    runtime.shutdown_background();
    match followed {
        // A reader that stops early (`container-patch history … | head`) is not an error.
        Err(error) if is_broken_pipe(&error) => Ok(()),
        followed => followed,
    }
}

/// Prints a warning. Standard error can be closed, which does not end the command.
fn warn(message: &str) {
    let _ = writeln!(io::stderr(), "Warning: {}", log_line(message));
}

/// Opens each log once.
fn open(paths: &[PathBuf], wake: &Wake) -> Result<Vec<Source>> {
    let mut known = HashSet::new();
    let paths: Vec<&PathBuf> =
        paths.iter().filter(|path| known.insert(path.canonicalize().unwrap_or_else(|_| path.to_path_buf()))).collect();
    if paths.len() > MAX_LOGS {
        bail!("cannot follow {} logs; at most {MAX_LOGS} can be followed", paths.len());
    }
    paths.into_iter().map(|path| Source::open(path, wake)).collect()
}

/// Ends the wait until the files are read again.
#[derive(Debug, Clone)]
pub(super) struct Wake(SyncSender<()>);

impl Wake {
    fn new() -> (Self, Receiver<()>) {
        let (sender, woken) = sync_channel(1);
        (Self(sender), woken)
    }

    fn wake(&self) {
        // If the channel is full, the reader has not yet noticed the last call.
        let _ = self.0.try_send(());
    }
}

/// Reads the logs again and again.
struct Follower {
    logs: Vec<Source>,
    reader: Reader,
    stop: Arc<AtomicBool>,
}

impl Follower {
    /// Follows the logs until it is stopped or all of them have ended.
    fn run(mut self, woken: &Receiver<()>, caught_up: oneshot::Sender<()>) -> Result<()> {
        let mut caught_up = Some(caught_up);
        let mut is_silent = false;
        loop {
            self.poll()?;
            let has_ended = self.logs.iter().all(Source::has_ended);
            if self.stop.load(Ordering::Relaxed) || has_ended {
                return self.reader.end(has_ended);
            }
            // Prometheus would take a part of what is in the logs at the start for an increase.
            if (is_silent || self.has_caught_up(Utc::now()))
                && let Some(caught_up) = caught_up.take()
            {
                let _ = caught_up.send(());
            }
            is_silent = woken.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout);
        }
    }

    /// Whether all has been read that was in the logs at the start. A stream does not say how much there is, so the time of its last event
    /// counts.
    fn has_caught_up(&self, now: DateTime<Utc>) -> bool {
        let is_recent = |time: DateTime<Utc>| now - time < TimeDelta::minutes(1);
        !self.logs.iter().any(Source::is_open_stream) || self.reader.last_event.is_some_and(is_recent)
    }

    /// Reads all lines that are there now. Lines of several logs are merged by their times.
    fn poll(&mut self) -> Result<()> {
        let Self { logs, reader, stop } = self;
        let mut due = BinaryHeap::new();
        for (index, log) in logs.iter_mut().enumerate() {
            due.extend(next(log, index, reader));
        }
        while let Some(Reverse(Due { time, index, found })) = due.pop() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(log) = logs.get_mut(index) else { continue };
            reader.line(found, log.line(), time, || format!("{}:{}", log.name(), log.number()))?;
            due.extend(next(log, index, reader));
        }
        reader.read_all()
    }
}

/// The next line of a log. The lines are ordered by their times, and a line without a time comes first.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Due {
    time: Option<DateTime<Utc>>,
    /// The position of the log in the list.
    index: usize,
    found: Found,
}

/// Finds the next line of a log.
fn next(log: &mut Source, index: usize, reader: &mut Reader) -> Option<Reverse<Due>> {
    let found = log.find(&mut reader.tell)?;
    let time = if found == Found::TooLong { None } else { time_of(log.line()) };
    Some(Reverse(Due { time, index, found }))
}

/// Prints a warning.
type Tell = Box<dyn FnMut(&str) + Send>;

/// Gives what it reads to the sink and the metrics.
struct Reader {
    /// Whether requests that only AdmissionPolicies judged count.
    namespaced_policies: bool,
    tally: Tally,
    metrics: Option<Metrics>,
    patches: Patches,
    sink: Option<Box<dyn Sink>>,
    tell: Tell,
    last_event: Option<DateTime<Utc>>,
    /// Whether there were records since the unfinished patches were counted.
    has_records: bool,
    records: Vec<Record>,
    finished: Vec<Patch>,
}

impl Reader {
    fn new(metrics: Option<Metrics>, sink: Option<Box<dyn Sink>>, tell: Tell) -> Self {
        Self {
            tally: Tally::default(),
            namespaced_policies: false,
            metrics,
            patches: Patches::default(),
            sink,
            tell,
            last_event: None,
            has_records: false,
            records: Vec::new(),
            finished: Vec::new(),
        }
    }

    /// Reads a line. `place` is where it is.
    fn line(
        &mut self,
        found: Found,
        line: &[u8],
        time: Option<DateTime<Utc>>,
        place: impl FnOnce() -> String,
    ) -> Result<()> {
        if found != Found::TooLong && is_blank(line) {
            return Ok(());
        }
        let read = match found {
            Found::Line => read_line(line, &mut self.records),
            // Nothing can be added to it any more.
            Found::Rest => match read_line(line, &mut self.records) {
                Err(Skipped::Garbage) if line.trim_ascii_start().starts_with(b"{") => Err(Skipped::Torn),
                read => read,
            },
            Found::TooLong => Err(Skipped::TooLong),
        };
        if let Err(reason) = read {
            self.skip(reason, place());
            return Ok(());
        }
        self.tally.events += 1;
        self.last_event = self.last_event.max(time);
        if let (Some(metrics), Some(time)) = (&mut self.metrics, time) {
            metrics.event(time);
        }
        for record in self.records.drain(..) {
            if !self.namespaced_policies && record.is_by_namespaced_policy() {
                continue;
            }
            if let Some(metrics) = &mut self.metrics {
                self.has_records = true;
                if let Record::Request(request) = &record {
                    metrics.request(request);
                }
                self.patches.add(&record, &mut self.finished);
                self.finished.drain(..).for_each(|patch| metrics.patched(&patch));
            }
            if let Some(sink) = &mut self.sink {
                sink.record(&record)?;
            }
        }
        Ok(())
    }

    /// Counts a skipped line. The first one for each reason is reported at once.
    fn skip(&mut self, reason: Skipped, place: String) {
        if self.tally.skipped(reason) == 0 {
            let mut first = Tally::default();
            first.skip(reason, || place.clone());
            first.messages().iter().for_each(|message| (self.tell)(message));
        }
        self.tally.skip(reason, || place);
        if let Some(metrics) = &mut self.metrics {
            metrics.skipped(reason);
        }
    }

    /// All lines have been read that are there now.
    fn read_all(&mut self) -> Result<()> {
        if let Some(metrics) = &mut self.metrics
            && std::mem::take(&mut self.has_records)
        {
            metrics.unfinished(&self.patches.unfinished());
        }
        self.sink.as_mut().map_or(Ok(()), |sink| sink.flush())
    }

    /// Reports all lines that were skipped.
    fn end(&mut self, has_ended: bool) -> Result<()> {
        let is_more = Skipped::ALL.into_iter().any(|reason| self.tally.skipped(reason) > 1);
        if is_more {
            self.tally.messages().iter().for_each(|message| (self.tell)(message));
        }
        if has_ended && self.tally.events == 0 {
            bail!("{NOT_AN_AUDIT_LOG}");
        }
        Ok(())
    }
}
