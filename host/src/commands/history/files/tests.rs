use std::fs;
use std::io::{self, Read, Write as _};
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use tempfile::TempDir;

use super::{Line, Lines, Logs, Tally, named};
use crate::commands::history::line::{MAX_LINE, Skipped};
use crate::commands::history::record::Record;
use crate::commands::history::samples::{D1, Event};

/// An input that gives its bytes in small pieces.
struct Pieces<'b>(&'b [u8], usize);

impl Read for Pieces<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let piece = self.1.min(buffer.len()).min(self.0.len());
        let (now, later) = self.0.split_at(piece);
        buffer[..piece].copy_from_slice(now);
        self.0 = later;
        Ok(piece)
    }
}

fn lines(bytes: &[u8], piece: usize) -> Vec<(Vec<u8>, bool)> {
    let mut lines = Lines::new(Pieces(bytes, piece));
    let mut all = Vec::new();
    while let Some(line) = lines.next().unwrap() {
        all.push(match line {
            Line::Whole(line) => (line.to_vec(), true),
            Line::Last(line) => (line.to_vec(), false),
            Line::TooLong => (b"too long".to_vec(), true),
        });
    }
    all
}

#[test]
fn a_line_that_is_too_long_is_skipped_as_a_whole() {
    let mut bytes = b"first\n".to_vec();
    bytes.extend(std::iter::repeat_n(b'x', MAX_LINE + 1));
    bytes.extend(b"\nlast\n");
    bytes.extend(std::iter::repeat_n(b'y', MAX_LINE * 2));
    let found: Vec<String> =
        lines(&bytes, usize::MAX).into_iter().map(|(line, _)| String::from_utf8(line).unwrap()).collect();
    assert_eq!(found, ["first", "too long", "last", "too long"]);
    let longest = vec![b'x'; MAX_LINE];
    assert_eq!(lines(&longest, usize::MAX), [(longest.clone(), false)]);
}

proptest! {
    #[test]
    fn lines_do_not_depend_on_how_they_are_read(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200), piece in 1_usize..50) {
        let mut expected: Vec<(Vec<u8>, bool)> = bytes.split(|byte| *byte == b'\n').map(|line| (line.to_vec(), true)).collect();
        let (last, _) = expected.pop().unwrap();
        if !last.is_empty() {
            expected.push((last, false));
        }
        prop_assert_eq!(lines(&bytes, piece), expected);
    }

    #[test]
    fn every_line_is_counted_once(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'{'), any::<u8>()], 0..300)) {
        let folder = TempDir::new().unwrap();
        let (logs, _) = read(&[file(&folder, "audit.log", &bytes)]);
        let blank = |line: &&[u8]| line.iter().any(|byte| !matches!(byte, b' ' | b'\t' | b'\r' | 0));
        let lines = bytes.split(|byte| *byte == b'\n').filter(blank).count();
        let skipped: u64 = Skipped::ALL.iter().map(|reason| logs.skipped(*reason)).sum();
        // These two bytes begin a compressed file.
        if !bytes.starts_with(&[0x1f, 0x8b]) {
            prop_assert_eq!(logs.events + skipped, lines as u64);
        }
    }
}

fn file(folder: &TempDir, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.path().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn compressed(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The log of Deployments that are created in these minutes.
fn log(minutes: &[u32]) -> Vec<u8> {
    let line = |minute: &u32| {
        Event::deployment(&minute.to_string(), D1).at(&format!("2026-11-25T12:{minute:02}:00Z")).line() + "\n"
    };
    minutes.iter().map(line).collect::<String>().into_bytes()
}

/// The names of the objects, in the order of the records.
fn read(paths: &[PathBuf]) -> (Tally, Vec<String>) {
    let mut logs = Logs::open(paths).unwrap();
    let mut names = Vec::new();
    while let Some(record) = logs.next().unwrap() {
        match record {
            Record::Request(request) => names.push(request.object.name.unwrap_or_default()),
            Record::Deleted(deleted) => names.push(format!("-{}", deleted.name.unwrap_or_default())),
        }
    }
    (logs.tally, names)
}

fn names(paths: &[PathBuf]) -> String {
    read(paths).1.join(" ")
}

#[test]
fn rotated_files_and_those_of_several_servers_are_merged_by_time() {
    let folder = TempDir::new().unwrap();
    let of_other_server = String::from_utf8(log(&[2, 4, 8])).unwrap().replace("6a7b6f2c", "6a7b6f2d").into_bytes();
    let paths = [
        file(&folder, "a.log", &log(&[7, 8, 9])),
        file(&folder, "a-1.log.gz", &compressed(&log(&[1, 3, 5]))),
        file(&folder, "b.log", &of_other_server),
        // The name does not say that it is compressed.
        file(&folder, "b-1.log", &compressed(&log(&[0]))),
        file(&folder, "empty.log", b""),
    ];
    assert_eq!(names(&paths), "0 1 2 3 4 5 7 8 8 9");
    let reversed: Vec<_> = paths.iter().rev().cloned().collect();
    assert_eq!(names(&reversed), "0 1 2 3 4 5 7 8 8 9");
}

#[test]
fn a_file_that_is_given_twice_is_read_once() {
    let folder = TempDir::new().unwrap();
    let path = file(&folder, "audit.log", &log(&[1]));
    let same = folder.path().join(".").join("audit.log");
    assert_eq!(names(&[path, same]), "1");
}

#[test]
fn another_compression_is_an_error_that_names_it() {
    let folder = TempDir::new().unwrap();
    for (start, name) in [(&b"\x28\xb5\x2f\xfd\x04"[..], "zstd"), (b"\xfd7zXZ\0\0", "xz")] {
        let path = file(&folder, &format!("audit.{name}"), start);
        let error = format!("{:#}", Logs::open(&[path]).err().unwrap());
        assert!(error.ends_with(&format!("audit.{name}: it is compressed with {name}; history reads gzip")), "{error}");
    }
}

#[test]
fn some_files_are_named() {
    let paths: Vec<PathBuf> = ["-", "a.log", "b\n.log", "c.log", "d.log"].iter().map(PathBuf::from).collect();
    assert_eq!(named(&paths), r"standard input, a.log, b\n.log and 2 more");
    assert_eq!(named(&paths[..1]), "standard input");
}

#[cfg(target_os = "linux")]
#[test]
fn rotated_files_are_open_only_while_they_are_read() {
    let folder = TempDir::new().unwrap();
    let log = log(&[1, 2]);
    let file = |index: u32| {
        let text = String::from_utf8(log.clone()).unwrap().replace("T12:", &format!("T{:02}:", index % 24));
        let day = format!("2026-{:02}-{:02}", 1 + index / 24 / 28, 1 + index / 24 % 28);
        file(&folder, &format!("audit-{index}.log"), text.replace("2026-11-25", &day).as_bytes())
    };
    let paths: Vec<_> = (0..300).map(file).collect();
    let mut logs = Logs::open(&paths).unwrap();
    let (mut count, mut most_open) = (0, 0);
    while logs.next().unwrap().is_some() {
        count += 1;
        let is_open = |descriptor: &fs::DirEntry| {
            fs::read_link(descriptor.path()).is_ok_and(|target| target.starts_with(folder.path()))
        };
        if count % 20 == 0 {
            let open = fs::read_dir(Path::new("/proc/self/fd")).unwrap().flatten().filter(is_open).count();
            most_open = most_open.max(open);
        }
    }
    assert_eq!(count, 600);
    assert!(most_open <= 3, "{most_open}");
}

#[test]
fn what_is_skipped_has_a_message_with_its_place() {
    let folder = TempDir::new().unwrap();
    let event = log(&[1]);
    let mut bytes = event.clone();
    bytes.extend(b"I1125 started\n\n{\"kind\":\"Pod\"}\nmore\n");
    bytes.extend(&event[..100]);
    let path = file(&folder, "audit.log", &bytes);
    let (tally, names) = read(std::slice::from_ref(&path));
    assert_eq!((names.as_slice(), tally.events), (["1".to_owned()].as_slice(), 1));
    let path = path.display();
    assert_eq!(
        tally.messages(),
        [
            format!("skipped 1 line with an incomplete event, at {path}:6"),
            format!("skipped 1 line with JSON that is not an event, at {path}:4"),
            format!("skipped 2 lines without JSON, the first at {path}:2"),
        ]
    );
}

#[test]
fn the_last_line_may_have_no_line_break() {
    let folder = TempDir::new().unwrap();
    let log = log(&[1, 2]);
    assert_eq!(names(&[file(&folder, "audit.log", &log[..log.len() - 1])]), "1 2");
    let skipped = |text: &[u8]| {
        let (tally, _) = read(&[file(&folder, "other.log", text)]);
        Skipped::ALL.into_iter().find(|reason| tally.skipped(*reason) > 0)
    };
    assert_eq!(skipped(br#"{"kind":"Pod"}"#), Some(Skipped::Foreign));
    assert_eq!(skipped(br#"{"ki"#), Some(Skipped::Torn));
    assert_eq!(skipped(b"text"), Some(Skipped::Garbage));
}

#[test]
fn a_compressed_file_without_its_end_has_the_events_before_it() {
    let folder = TempDir::new().unwrap();
    let whole = compressed(&log(&(0..60).collect::<Vec<_>>()));
    let (tally, names) =
        read(&[file(&folder, "a.log.gz", &whole[..whole.len() / 2]), file(&folder, "b.log", &log(&[59]))]);
    assert!(names.len() > 5 && names.last().is_some_and(|name| name == "59"), "{names:?}");
    assert_eq!(tally.skipped(Skipped::Torn), 1);
}

#[test]
fn a_file_that_cannot_be_opened_is_an_error() {
    let folder = TempDir::new().unwrap();
    let error = |path: &Path| Logs::open(&[path.to_owned()]).err().unwrap().to_string();
    assert!(error(&folder.path().join("missing.log")).starts_with("cannot open "));
    assert!(error(folder.path()).contains(" is a folder; expected a file"));
}

#[test]
fn a_log_that_is_rotated_before_it_is_read_is_an_error() {
    let folder = TempDir::new().unwrap();
    let earlier = file(&folder, "audit-1.log", &log(&[1, 2]));
    let current = file(&folder, "audit.log", &log(&[3]));
    let mut logs = Logs::open(&[earlier, current.clone()]).unwrap();
    assert!(logs.next().unwrap().is_some());
    fs::rename(&current, folder.path().join("audit-2.log")).unwrap();
    file(&folder, "audit.log", &log(&[4]));
    let problem = loop {
        match logs.next() {
            Ok(record) => assert!(record.is_some(), "the events of audit-2.log are missing"),
            Err(error) => break error.to_string(),
        }
    };
    assert!(
        problem.ends_with("audit.log was rotated while earlier logs were read; run the command again"),
        "{problem}"
    );
}
