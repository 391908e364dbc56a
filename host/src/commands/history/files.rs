//! The lines of log files, one after the other or merged by time.

#[cfg(test)]
mod tests;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use chrono::{DateTime, Utc};
use flate2::read::MultiGzDecoder;

use super::line::{MAX_LINE, Skipped, is_blank, read_line, time_of};
use super::record::Record;
use super::repeats::Repeats;
use crate::counted::counted;
use crate::terminal::log_line;

/// How many bytes are read at once.
const BLOCK: usize = 256 << 10;
/// How many bytes of a file are searched for the time of its first event.
const FIRST_BYTES: u64 = 1 << 20;
/// The most files that a message names.
const MAX_NAMED: usize = 3;
/// The first bytes of a file that is compressed with gzip.
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// The first bytes of files with other compressions.
const OTHER_COMPRESSIONS: [(&[u8], &str); 2] =
    [(&[0x28, 0xb5, 0x2f, 0xfd], "zstd"), (&[0xfd, b'7', b'z', b'X', b'Z', 0], "xz")];

/// A line of a log.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line<'l> {
    /// With its line break, which is not part of it.
    Whole(&'l [u8]),
    /// The last line, without a line break.
    Last(&'l [u8]),
    /// More than [`MAX_LINE`] bytes.
    TooLong,
}

/// The lines of an input, with a limit for their length.
pub(super) struct Lines<R> {
    input: R,
    /// What is read: the bytes from `start` to `end` are not used yet, and those up to `searched` have no line break.
    buffer: Vec<u8>,
    start: usize,
    searched: usize,
    end: usize,
    /// Whether the rest of a line that is too long follows.
    is_discarding: bool,
    has_ended: bool,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(input: R) -> Self {
        let buffer = Vec::new();
        Self { input, buffer, start: 0, searched: 0, end: 0, is_discarding: false, has_ended: false }
    }

    /// The next line.
    ///
    /// # Errors
    /// When the input cannot be read.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let unsearched = self.buffer.get(self.searched..self.end).unwrap_or_default();
            if let Some(length) = memchr::memchr(b'\n', unsearched) {
                let (start, end) = (self.start, self.searched + length);
                self.start = end + 1;
                self.searched = self.start;
                if std::mem::take(&mut self.is_discarding) || end - start > MAX_LINE {
                    return Ok(Some(Line::TooLong));
                }
                return Ok(Some(Line::Whole(self.buffer.get(start..end).unwrap_or_default())));
            }
            self.searched = self.end;
            if self.is_discarding || self.end - self.start > MAX_LINE {
                self.is_discarding = true;
                self.start = self.end;
            }
            if self.has_ended {
                let start = std::mem::replace(&mut self.start, self.end);
                if std::mem::take(&mut self.is_discarding) {
                    return Ok(Some(Line::TooLong));
                }
                let last = self.buffer.get(start..self.end).unwrap_or_default();
                return Ok((!last.is_empty()).then_some(Line::Last(last)));
            }
            self.fill()?;
        }
    }

    /// Reads more behind the bytes that are not used yet.
    fn fill(&mut self) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.searched -= self.start;
        self.start = 0;
        if self.buffer.len() < self.end + BLOCK {
            self.buffer.resize((self.buffer.len() * 2).max(self.end + BLOCK), 0);
        }
        let room = self.buffer.get_mut(self.end..).unwrap_or_default();
        match self.input.read(room) {
            Ok(0) => self.has_ended = true,
            Ok(read) => self.end += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

/// The lines that are skipped, and those that are events.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// The lines that are events.
    pub(super) events: u64,
    /// The lines with text.
    lines: u64,
    /// The records that were read before.
    pub(super) repeated: u64,
    skipped: BTreeMap<Skipped, (u64, String)>,
}

impl Tally {
    /// Counts a skipped line.
    pub(super) fn skip(&mut self, reason: Skipped, place: impl FnOnce() -> String) {
        self.skipped.entry(reason).or_insert_with(|| (0, place())).0 += 1;
    }

    /// The number of lines that are skipped for a reason.
    pub(super) fn skipped(&self, reason: Skipped) -> u64 {
        self.skipped.get(&reason).map_or(0, |(count, _)| *count)
    }

    /// Whether the logs have no text.
    pub(super) fn is_empty(&self) -> bool {
        self.lines == 0 && self.skipped.is_empty()
    }

    /// A message for each reason.
    pub(super) fn messages(&self) -> Vec<String> {
        let message = |(reason, (count, place)): (&Skipped, &(u64, String))| {
            let lines = counted(usize::try_from(*count).unwrap_or(usize::MAX), "line");
            let first = if *count == 1 { "at" } else { "the first at" };
            let about = match reason {
                Skipped::Torn => "with an incomplete event",
                Skipped::Foreign => "with JSON that is not an event",
                Skipped::Garbage => "without JSON",
                Skipped::TooLong => "of more than 16 MiB",
            };
            log_line(&format!("skipped {lines} {about}, {first} {place}"))
        };
        self.skipped.iter().map(message).collect()
    }
}

/// A file of a log, or standard input.
enum Source {
    /// A file that is opened when its first event is due.
    Closed,
    Open(Box<Lines<Box<dyn Read>>>),
    /// Its lines are read, and the records of the last ones are not used yet.
    Ended,
}

struct Log {
    path: PathBuf,
    /// Which file it is, if it is opened again.
    id: Option<FileId>,
    source: Source,
    line: u64,
    records: VecDeque<Record>,
}

/// The records of several files, merged by time: the files of several API servers overlap, and rotated files follow each other. A file is
/// open from its first event to its last one, so that a thousand rotated files do not need as many file descriptors.
pub(super) struct Logs {
    logs: Vec<Log>,
    /// When the next record of each file is due. For a file that is not open yet, when its first event is.
    due: BinaryHeap<Reverse<(DateTime<Utc>, usize)>>,
    pub(super) tally: Tally,
    repeats: Repeats,
    parsed: Vec<Record>,
}

impl Logs {
    /// Looks for the time of the first event in each file. `-` is standard input.
    ///
    /// # Errors
    /// When a file cannot be opened.
    pub(super) fn open(paths: &[PathBuf]) -> Result<Self> {
        let mut logs = Self {
            logs: Vec::new(),
            due: BinaryHeap::new(),
            tally: Tally::default(),
            repeats: Repeats::default(),
            parsed: Vec::new(),
        };
        let mut known = HashSet::new();
        for path in paths {
            // A file that is given twice, for example by a pattern and by its name.
            if !known.insert(path.canonicalize().unwrap_or_else(|_| path.clone())) {
                continue;
            }
            let mut log =
                Log { path: path.clone(), id: None, source: Source::Closed, line: 0, records: VecDeque::new() };
            let mut due = DateTime::<Utc>::MIN_UTC;
            if can_be_reopened(path)? {
                let file = File::open(path).with_context(|| format!("cannot open {}", shown(path)))?;
                log.id = Some(id(&file).with_context(|| format!("cannot read {}", shown(path)))?);
                due = first_time(path, file)?.unwrap_or(due);
            } else {
                log.source = open(path, None)?;
            }
            logs.due.push(Reverse((due, logs.logs.len())));
            logs.logs.push(log);
        }
        Ok(logs)
    }

    /// The next record.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(super) fn next(&mut self) -> Result<Option<Record>> {
        while let Some(Reverse((_, index))) = self.due.pop() {
            let Some(log) = self.logs.get_mut(index) else { continue };
            let record = log.records.pop_front();
            log.advance(&mut self.tally, &mut self.repeats, &mut self.parsed)?;
            if let Some(next) = log.records.front() {
                self.due.push(Reverse((next.time(), index)));
            }
            if record.is_some() {
                return Ok(record);
            }
        }
        Ok(None)
    }
}

impl Log {
    /// Reads lines until there is a record.
    fn advance(&mut self, tally: &mut Tally, repeats: &mut Repeats, parsed: &mut Vec<Record>) -> Result<()> {
        if matches!(self.source, Source::Closed) {
            self.source = open(&self.path, self.id)?;
        }
        while self.records.is_empty() {
            let Source::Open(lines) = &mut self.source else { return Ok(()) };
            self.line += 1;
            let (line, path) = (self.line, &self.path);
            let place = || format!("{}:{line}", shown(path));
            let read = match lines.next() {
                Ok(Some(Line::TooLong)) => Err(Skipped::TooLong),
                Ok(Some(Line::Whole(text))) => read_text(text, parsed, tally, repeats),
                // It may have no line break because it is still being written.
                Ok(Some(Line::Last(text))) => match read_text(text, parsed, tally, repeats) {
                    Err(Skipped::Garbage) if text.trim_ascii_start().starts_with(b"{") => Err(Skipped::Torn),
                    read => read,
                },
                Ok(None) => {
                    self.source = Source::Ended;
                    return Ok(());
                }
                Err(error) if is_damage(&error) => {
                    self.source = Source::Ended;
                    eprintln!(
                        "Warning: {}",
                        log_line(&format!("cannot decompress {} behind line {line}: {error}", shown(path)))
                    );
                    Err(Skipped::Torn)
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read {}", shown(path))),
            };
            self.records.extend(parsed.drain(..));
            if let Err(reason) = read {
                tally.skip(reason, place);
            }
        }
        Ok(())
    }
}

fn read_text(text: &[u8], parsed: &mut Vec<Record>, tally: &mut Tally, repeats: &mut Repeats) -> Result<(), Skipped> {
    if is_blank(text) {
        return Ok(());
    }
    tally.lines += 1;
    read_line(text, parsed)?;
    tally.events += 1;
    tally.repeated += repeats.remove(text, parsed);
    Ok(())
}

/// Files as text.
pub(super) fn named(paths: &[PathBuf]) -> String {
    let names: Vec<String> = paths.iter().take(MAX_NAMED).map(|path| shown(path)).collect();
    match paths.len().saturating_sub(MAX_NAMED) {
        0 => log_line(&names.join(", ")),
        others => log_line(&format!("{} and {others} more", names.join(", "))),
    }
}

/// Whether compressed data is damaged or has no end, and not the system to blame.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData)
}

fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn is_stdin(path: &Path) -> bool {
    path.as_os_str() == "-"
}

/// Whether it is a file, which has the same content when it is opened again. A pipe has not.
fn can_be_reopened(path: &Path) -> Result<bool> {
    if is_stdin(path) {
        return Ok(false);
    }
    let metadata = path.metadata().with_context(|| format!("cannot open {}", shown(path)))?;
    if metadata.is_dir() {
        bail!("{} is a folder; expected a file, as in `container-patch history {}/*.log`", shown(path), shown(path));
    }
    Ok(metadata.is_file())
}

/// The device and the inode.
type FileId = (u64, u64);

fn id(file: &File) -> io::Result<FileId> {
    let metadata = file.metadata()?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Opens a log. If it was open before, it must be the same file: the API server can rotate its log while earlier files are read, and then
/// the events of that file would be missing.
fn open(path: &Path, same: Option<FileId>) -> Result<Source> {
    let input: Box<dyn Read> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        let file = File::open(path).with_context(|| format!("cannot open {}", shown(path)))?;
        if same.is_some() && id(&file).ok() != same {
            bail!("{} was rotated while earlier logs were read; run the command again", shown(path));
        }
        Box::new(file)
    };
    let input = uncompressed(input).with_context(|| format!("cannot read {}", shown(path)))?;
    Ok(Source::Open(Box::new(Lines::new(input))))
}

/// The input without its compression, by its first bytes: rotated files have many names.
fn uncompressed(mut input: Box<dyn Read>) -> io::Result<Box<dyn Read>> {
    let mut start = Vec::new();
    input.by_ref().take(6).read_to_end(&mut start)?;
    if let Some((_, name)) = OTHER_COMPRESSIONS.iter().find(|(first, _)| start.starts_with(first)) {
        let message = format!("it is compressed with {name}; history reads gzip");
        return Err(io::Error::new(io::ErrorKind::Unsupported, message));
    }
    let is_compressed = start.starts_with(&GZIP);
    let whole = io::Cursor::new(start).chain(input);
    Ok(if is_compressed { Box::new(MultiGzDecoder::new(whole)) } else { Box::new(whole) })
}

/// The time of the first event in a file.
fn first_time(path: &Path, file: File) -> Result<Option<DateTime<Utc>>> {
    let input = uncompressed(Box::new(file)).with_context(|| format!("cannot read {}", shown(path)))?;
    let mut lines = Lines::new(input.take(FIRST_BYTES));
    // What cannot be read is reported when the file is due.
    while let Ok(Some(Line::Whole(line) | Line::Last(line))) = lines.next() {
        if let Some(time) = time_of(line) {
            return Ok(Some(time));
        }
    }
    Ok(None)
}
