//! Prints entries as they come.

use std::io::{self, BufWriter, Stdout, Write};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;

use super::Sink;
use crate::commands::history::entry::Entry;
use crate::commands::history::filter::{Filter, Period};
use crate::commands::history::output::Output;
use crate::commands::history::patches::TimeToPatch;
use crate::commands::history::record::Record;
use crate::commands::history::summary::Summary;
use crate::commands::history::workloads::Workloads;

/// Prints the entries that the filter selects.
pub(in crate::commands::history) struct Printer<W> {
    filter: Filter,
    period: Period,
    workloads: Workloads,
    output: Box<dyn Output + Send>,
    writer: W,
}

impl<W: Write> Printer<W> {
    /// A printer whose output writes to this writer.
    pub(in crate::commands::history) fn new(
        filter: Filter,
        period: Period,
        output: Box<dyn Output + Send>,
        writer: W,
    ) -> Self {
        Self { filter, period, workloads: Workloads::default(), output, writer }
    }
}

impl<W: Write + Send> Sink for Printer<W> {
    fn record(&mut self, record: &Record) -> Result<()> {
        let Record::Request(request) = record else { return Ok(()) };
        // The owners of what comes later.
        self.workloads.learn(request);
        let chain = self.workloads.chain(&request.object);
        if !self.period.has(request.time) || !self.filter.has_object(&request.object.namespace, &chain) {
            return Ok(());
        }
        let (images, _) = self.filter.images(request);
        let workload = chain.last().map(String::as_str);
        let entries: Vec<Entry> = images.into_iter().map(|image| Entry::new(request, image, workload)).collect();
        if entries.is_empty() { Ok(()) } else { self.output.request(&entries) }
    }

    fn flush(&mut self) -> Result<()> {
        Ok(self.writer.flush()?)
    }
}

/// Standard output, which an output writes to and a printer flushes.
#[derive(Debug, Clone)]
pub(in crate::commands::history) struct SharedStdout(Arc<Mutex<BufWriter<Stdout>>>);

impl SharedStdout {
    pub(in crate::commands::history) fn new() -> Self {
        Self(Arc::new(Mutex::new(BufWriter::new(io::stdout()))))
    }
}

impl Write for SharedStdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

/// Writes each entry as a JSON object in a line of its own, since the log has no end.
pub(in crate::commands::history) struct JsonLines<W>(pub(in crate::commands::history) W);

impl<W: Write> Output for JsonLines<W> {
    fn request(&mut self, entries: &[Entry]) -> Result<()> {
        for entry in entries {
            serde_json::to_writer(&mut self.0, entry)?;
            self.0.write_all(b"\n")?;
        }
        Ok(())
    }

    fn end(&mut self, _: &Summary, _: &TimeToPatch) -> Result<()> {
        Ok(())
    }
}
