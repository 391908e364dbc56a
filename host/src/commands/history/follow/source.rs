//! A log that grows: a file that is rotated or truncated, or a stream.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read, Seek as _, SeekFrom};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::thread;

use anyhow::{Context as _, Result, bail};
use flate2::read::MultiGzDecoder;

use super::Wake;
use super::lines::{Found, Lines};
use crate::commands::history::line::MAX_LINE;
use crate::terminal::printable;

/// The bytes that are read at a time.
const PIECE: usize = 64 << 10;

/// The most pieces of a stream that wait to be read. Then the writer of the stream has to wait.
const MAX_WAITING: usize = 16;

/// The bytes at the beginning of a file that must stay as they are, or else the file was truncated and written again. An event begins
/// with its ID or its time.
const COMPARED: usize = 256;

/// A log that grows.
pub(super) struct Source {
    name: String,
    input: Input,
    lines: Lines,
}

enum Input {
    File(Followed),
    /// A compressed file does not grow.
    Compressed(Box<dyn Read + Send>),
    /// A thread reads it, because reading blocks until there is something.
    Stream(Receiver<io::Result<Vec<u8>>>),
    /// A stream or compressed file that has been read to its end.
    Ended,
}

/// The result of reading.
enum Reading {
    /// There may be more to read.
    More,
    /// All has been read that is there now.
    AtEnd,
    /// This text has been read to its end. Another one may follow.
    EndOfText,
}

impl Source {
    /// The log of a path. `-` is standard input. A stream calls `wake` when it has more.
    ///
    /// # Errors
    /// When the file exists and cannot be read.
    pub(super) fn open(path: &Path, wake: &Wake) -> Result<Self> {
        let name = printable(&path.to_string_lossy());
        let cannot_read = || format!("cannot read {name}");
        if path == Path::new("-") {
            return Self::stream("standard input".to_owned(), io::stdin(), wake);
        }
        let metadata = match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => None,
            metadata => Some(metadata.with_context(cannot_read)?),
        };
        let input = match metadata {
            Some(metadata) if metadata.is_dir() => bail!("cannot read {name}: it is a folder"),
            Some(metadata) if metadata.is_file() => {
                let mut file = File::open(path).with_context(cannot_read)?;
                if is_compressed(&file).with_context(cannot_read)? {
                    Input::Compressed(Box::new(MultiGzDecoder::new(file)))
                } else {
                    file.rewind().with_context(cannot_read)?;
                    Input::File(Followed { path: path.to_owned(), open: Some(Open::new(file)?), problem: None })
                }
            }
            Some(_) => return Self::stream(name.clone(), File::open(path).with_context(cannot_read)?, wake),
            None => Input::File(Followed { path: path.to_owned(), open: None, problem: None }),
        };
        Ok(Self::new(name, input))
    }

    /// A stream, which a thread of its own reads.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(super) fn stream(name: String, from: impl Read + Send + 'static, wake: &Wake) -> Result<Self> {
        Ok(Self::new(name, stream(from, wake.clone())?))
    }

    fn new(name: String, input: Input) -> Self {
        Self { name, input, lines: Lines::new(MAX_LINE) }
    }

    /// The name in messages.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether there will be no more lines.
    pub(super) fn has_ended(&self) -> bool {
        matches!(self.input, Input::Ended)
    }

    /// Whether it is a stream that has not ended.
    pub(super) fn is_open_stream(&self) -> bool {
        matches!(self.input, Input::Stream(_))
    }

    /// Finds the next line. `None` if the source has no complete line yet. A line without a line break is found only when nothing can be added to it.
    pub(super) fn find(&mut self, tell: &mut dyn FnMut(&str)) -> Option<Found> {
        loop {
            if let Some(found) = self.lines.find() {
                return Some(found);
            }
            match self.read(tell) {
                Reading::More => {}
                Reading::AtEnd => return None,
                Reading::EndOfText => {
                    if let Some(found) = self.lines.end() {
                        return Some(found);
                    }
                }
            }
        }
    }

    /// The line that was found last.
    pub(super) fn line(&self) -> &[u8] {
        self.lines.line()
    }

    /// The number of this line in its file.
    pub(super) fn number(&self) -> u64 {
        self.lines.number()
    }

    fn read(&mut self, tell: &mut dyn FnMut(&str)) -> Reading {
        let piece = match &mut self.input {
            Input::File(file) => return file.read(&mut self.lines, &self.name, tell),
            Input::Ended => return Reading::AtEnd,
            Input::Compressed(file) => {
                let mut piece = vec![0; PIECE];
                read_some(file, &mut piece).map(|length| {
                    piece.truncate(length);
                    piece
                })
            }
            Input::Stream(pieces) => match pieces.try_recv() {
                Ok(piece) => piece,
                Err(TryRecvError::Empty) => return Reading::AtEnd,
                Err(TryRecvError::Disconnected) => Ok(Vec::new()),
            },
        };
        match piece {
            Ok(piece) if !piece.is_empty() => {
                self.lines.add(&piece);
                return Reading::More;
            }
            Ok(_) => {}
            Err(error) => tell(&format!("cannot read {}: {error}", self.name)),
        }
        self.input = Input::Ended;
        Reading::EndOfText
    }
}

/// The file at a path. It can be replaced, truncated or missing.
struct Followed {
    path: PathBuf,
    open: Option<Open>,
    /// The last message about the path, so that it is not repeated.
    problem: Option<String>,
}

/// The file that is being read.
struct Open {
    file: File,
    /// The device and the inode.
    id: (u64, u64),
    position: u64,
    /// What was read first, at most [`COMPARED`] bytes.
    beginning: Vec<u8>,
    /// Whether all had been read.
    was_at_end: bool,
    /// Whether all had been read when there was already another file at the path.
    was_replaced: bool,
}

fn id(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

impl Followed {
    fn read(&mut self, lines: &mut Lines, name: &str, tell: &mut dyn FnMut(&str)) -> Reading {
        let reading = match &mut self.open {
            None => self.open_again(),
            Some(open) => match open.read(lines) {
                Ok(Reading::AtEnd) => self.at_end(),
                reading => reading,
            },
        };
        let problem = match reading {
            Ok(reading) => {
                self.problem = None;
                return reading;
            }
            Err(error) if error.kind() == ErrorKind::NotFound => format!("{name} does not exist yet; waiting for it"),
            Err(error) => format!("cannot read {name}: {error}; trying again"),
        };
        if self.problem.as_ref() != Some(&problem) {
            tell(&problem);
            self.problem = Some(problem);
        }
        Reading::AtEnd
    }

    /// Opens the file, which did not exist or was replaced.
    fn open_again(&mut self) -> io::Result<Reading> {
        // A pipe would wait for its other end.
        if !fs::metadata(&self.path)?.is_file() {
            return Err(io::Error::other("it is not a file"));
        }
        self.open = Some(Open::new(File::open(&self.path)?)?);
        Ok(Reading::More)
    }

    /// Checks whether there is another file at the path, which is read next. The earlier file is read once more before that, because its
    /// writer may not have opened the new one yet.
    fn at_end(&mut self) -> io::Result<Reading> {
        let Some(open) = &mut self.open else { return Ok(Reading::AtEnd) };
        let is_replaced = match fs::metadata(&self.path) {
            Ok(metadata) => id(&metadata) != open.id,
            // Between the two steps of a rotation.
            Err(error) if error.kind() == ErrorKind::NotFound => false,
            Err(error) => return Err(error),
        };
        if is_replaced && open.was_replaced {
            self.open = None;
            return Ok(Reading::EndOfText);
        }
        open.was_replaced = is_replaced;
        Ok(Reading::AtEnd)
    }
}

impl Open {
    fn new(file: File) -> io::Result<Self> {
        let id = id(&file.metadata()?);
        Ok(Self { file, id, position: 0, beginning: Vec::new(), was_at_end: false, was_replaced: false })
    }

    fn read(&mut self, lines: &mut Lines) -> io::Result<Reading> {
        if self.was_at_end && self.is_truncated()? {
            self.file.seek(SeekFrom::Start(0))?;
            (self.position, self.was_at_end) = (0, false);
            self.beginning.clear();
            return Ok(Reading::EndOfText);
        }
        let mut piece = vec![0; PIECE];
        let length = read_some(&mut self.file, &mut piece)?;
        piece.truncate(length);
        self.was_at_end = length == 0;
        if self.was_at_end {
            return Ok(Reading::AtEnd);
        }
        self.position += u64::try_from(length).unwrap_or(u64::MAX);
        lines.add(&piece);
        let missing = COMPARED.saturating_sub(self.beginning.len());
        self.beginning.extend(piece.iter().take(missing));
        Ok(Reading::More)
    }

    /// Whether the file is shorter than what was read of it, or begins with something else.
    fn is_truncated(&self) -> io::Result<bool> {
        if self.file.metadata()?.len() < self.position {
            return Ok(true);
        }
        let mut now = vec![0; self.beginning.len()];
        match self.file.read_exact_at(&mut now, 0) {
            Ok(()) => Ok(now != self.beginning),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(true),
            Err(error) => Err(error),
        }
    }
}

/// Whether the file begins as gzip does.
fn is_compressed(file: &File) -> io::Result<bool> {
    let mut beginning = [0; 2];
    match file.read_exact_at(&mut beginning, 0) {
        Ok(()) => Ok(beginning == [0x1f, 0x8b]),
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// Reads a piece. A signal does not end it.
fn read_some(from: &mut impl Read, to: &mut [u8]) -> io::Result<usize> {
    loop {
        match from.read(to) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

/// Reads a stream in a thread of its own, which pauses while many pieces wait to be read.
fn stream(mut from: impl Read + Send + 'static, wake: Wake) -> Result<Input> {
    let (sender, pieces) = sync_channel(MAX_WAITING);
    let read = move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = read_some(&mut from, &mut piece);
            let is_last = !matches!(read, Ok(1..));
            let read = read.map(|length| {
                piece.truncate(length);
                piece
            });
            let is_heard = sender.send(read).is_ok();
            wake.wake();
            if is_last || !is_heard {
                return;
            }
        }
    };
    thread::Builder::new().name("stream".to_owned()).spawn(read).context("cannot start the thread of a stream")?;
    Ok(Input::Stream(pieces))
}

#[cfg(test)]
mod tests {
    use std::fs::{self, OpenOptions};
    use std::io::Write as _;
    use std::path::PathBuf;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::{Found, Source, Wake};

    /// A log file in a folder of its own, and its source.
    struct Log {
        folder: tempfile::TempDir,
        source: Option<Source>,
        messages: Vec<String>,
    }

    impl Log {
        fn new(text: Option<&str>) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let mut log = Self { folder, source: None, messages: Vec::new() };
            if let Some(text) = text {
                fs::write(log.path("audit.log"), text).unwrap();
            }
            log.source = Some(Source::open(&log.path("audit.log"), &Wake::new().0).unwrap());
            log
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn append(&self, name: &str, text: &str) {
            let mut file = OpenOptions::new().append(true).create(true).open(self.path(name)).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }

        fn rename(&self, to: &str) {
            fs::rename(self.path("audit.log"), self.path(to)).unwrap();
        }

        /// All lines that can be read now, separated by spaces.
        fn poll(&mut self) -> String {
            let source = self.source.as_mut().unwrap();
            let mut lines = Vec::new();
            while let Some(found) = source.find(&mut |message| self.messages.push(message.to_owned())) {
                assert_ne!(found, Found::TooLong);
                lines.push(format!("{}:{}", source.number(), String::from_utf8_lossy(source.line())));
            }
            lines.join(" ")
        }
    }

    #[test]
    fn what_is_appended_is_read() {
        let mut log = Log::new(Some("a\nb\n"));
        assert_eq!(log.poll(), "1:a 2:b");
        assert_eq!(log.poll(), "");
        log.append("audit.log", "c\nd\n");
        assert_eq!(log.poll(), "3:c 4:d");
        assert_eq!(log.messages, [""; 0]);
    }

    #[test]
    fn a_torn_line_waits_for_its_rest() {
        let mut log = Log::new(Some("a\nto"));
        assert_eq!(log.poll(), "1:a");
        log.append("audit.log", "r");
        assert_eq!(log.poll(), "");
        log.append("audit.log", "n\nb\n");
        assert_eq!(log.poll(), "2:torn 3:b");
    }

    #[test]
    fn a_renamed_file_is_read_to_its_end_before_the_new_one() {
        let mut log = Log::new(Some("a\n"));
        assert_eq!(log.poll(), "1:a");
        log.append("audit.log", "b\n");
        log.rename("audit.1.log");
        assert_eq!(log.poll(), "2:b");
        log.append("audit.1.log", "c\n");
        log.append("audit.log", "d\n");
        assert_eq!(log.poll(), "3:c", "the writer has not opened the new file yet");
        log.append("audit.1.log", "e\nrest");
        assert_eq!(log.poll(), "4:e 5:rest 1:d");
        log.append("audit.log", "f\n");
        log.append("audit.1.log", "never\n");
        assert_eq!(log.poll(), "2:f");
        assert_eq!(log.messages, [""; 0]);
    }

    #[test]
    fn a_truncated_file_is_read_from_its_start() {
        let mut log = Log::new(Some("first\nsecond\ntorn"));
        assert_eq!(log.poll(), "1:first 2:second");
        fs::write(log.path("audit.log"), "").unwrap();
        assert_eq!(log.poll(), "3:torn");
        log.append("audit.log", "third\n");
        assert_eq!(log.poll(), "1:third");
    }

    #[test]
    fn a_truncated_file_that_has_become_longer_is_read_from_its_start() {
        let mut log = Log::new(Some("first\n"));
        assert_eq!(log.poll(), "1:first");
        fs::write(log.path("audit.log"), "second\nthird\n").unwrap();
        assert_eq!(log.poll(), "1:second 2:third");
        // As long as before.
        fs::write(log.path("audit.log"), "fourth\nfifth\n").unwrap();
        assert_eq!(log.poll(), "1:fourth 2:fifth");
    }

    #[test]
    fn a_file_may_be_missing_for_a_while() {
        let mut log = Log::new(None);
        assert_eq!(log.poll(), "");
        assert_eq!(log.poll(), "");
        log.append("audit.log", "a\n");
        assert_eq!(log.poll(), "1:a");
        log.rename("audit.1.log");
        assert_eq!(log.poll(), "");
        log.append("audit.1.log", "b\n");
        assert_eq!(log.poll(), "2:b");
        log.append("audit.log", "c\n");
        assert_eq!(log.poll(), "");
        assert_eq!(log.poll(), "1:c");
        let name = log.path("audit.log").to_string_lossy().into_owned();
        assert_eq!(log.messages, [format!("{name} does not exist yet; waiting for it")], "once");
    }

    #[test]
    fn a_file_that_is_replaced_by_a_directory_is_a_message() {
        let mut log = Log::new(Some("a\n"));
        assert_eq!(log.poll(), "1:a");
        fs::remove_file(log.path("audit.log")).unwrap();
        fs::create_dir(log.path("audit.log")).unwrap();
        for _ in 0..4 {
            assert_eq!(log.poll(), "");
        }
        let name = log.path("audit.log").to_string_lossy().into_owned();
        assert_eq!(log.messages, [format!("cannot read {name}: it is not a file; trying again")]);
        fs::remove_dir(log.path("audit.log")).unwrap();
        log.append("audit.log", "b\n");
        assert_eq!(log.poll(), "1:b");
    }

    #[test]
    fn a_directory_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let error = Source::open(folder.path(), &Wake::new().0).err().unwrap();
        assert!(error.to_string().ends_with(": it is a folder"), "{error}");
    }

    #[test]
    fn a_compressed_file_is_read_to_its_end() {
        let mut log = Log::new(None);
        let mut file = GzEncoder::new(fs::File::create(log.path("audit.log")).unwrap(), Compression::fast());
        file.write_all(b"a\nb\nrest").unwrap();
        file.finish().unwrap();
        log.source = Some(Source::open(&log.path("audit.log"), &Wake::new().0).unwrap());
        assert_eq!(log.poll(), "1:a 2:b 3:rest");
        assert!(log.source.as_ref().unwrap().has_ended());
        assert_eq!(log.poll(), "");
    }

    #[test]
    fn a_stream_is_read_until_its_other_end_is_closed() {
        let (reader, mut writer) = std::io::pipe().unwrap();
        let (wake, woken) = Wake::new();
        let source = Source::stream("standard input".to_owned(), reader, &wake).unwrap();
        let mut log = Log { source: Some(source), ..Log::new(None) };
        assert_eq!(log.poll(), "");
        writer.write_all(b"a\nto").unwrap();
        woken.recv().unwrap();
        assert_eq!(log.poll(), "1:a");
        writer.write_all(b"rn\nrest").unwrap();
        woken.recv().unwrap();
        assert_eq!(log.poll(), "2:torn");
        assert!(!log.source.as_ref().unwrap().has_ended());
        drop(writer);
        woken.recv().unwrap();
        assert_eq!(log.poll(), "3:rest");
        assert!(log.source.as_ref().unwrap().has_ended());
    }
}
