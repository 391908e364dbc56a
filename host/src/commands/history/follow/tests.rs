use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use anyhow::Result;

use super::{Follower, MAX_LOGS, Metrics, Reader, Sink, Wake, open};
use crate::commands::history::record::Record;
use crate::commands::history::samples::{D1, Event};
use crate::metrics_page::{open_metrics, prometheus_text};

/// Sends what it gets.
struct Names(Sender<String>);

impl Sink for Names {
    fn record(&mut self, record: &Record) -> Result<()> {
        let name = match record {
            Record::Request(request) => request.object.name.clone(),
            Record::Deleted(deleted) => deleted.name.clone().map(|name| format!("-{name}")),
        };
        drop(self.0.send(name.unwrap_or_default()));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// What is reported. A function without state must suffice for the messages, so each test has a thread of its own.
static MESSAGES: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());

fn tell(message: &str) {
    MESSAGES.lock().unwrap().push((std::thread::current().id(), message.to_owned()));
}

/// The messages since the last call.
fn messages() -> Vec<String> {
    let mut messages = MESSAGES.lock().unwrap();
    let own = messages.extract_if(.., |(thread, _)| *thread == std::thread::current().id());
    own.map(|(_, message)| message).collect()
}

/// Logs in a folder, which are followed.
struct Logs {
    folder: tempfile::TempDir,
    follower: Follower,
    names: Receiver<String>,
}

impl Logs {
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (sender, names) = channel();
        let follower = follower(folder.path(), files, sender);
        Self { folder, follower, names }
    }

    fn append(&self, file: &str, text: &str) {
        let path = self.folder.path().join(file);
        let mut file = OpenOptions::new().append(true).create(true).open(path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    /// The names of the objects that are read now.
    fn poll(&mut self) -> String {
        self.follower.poll().unwrap();
        self.names.try_iter().collect::<Vec<_>>().join(" ")
    }

    #[track_caller]
    fn assert_sample(&self, sample: &str) {
        let registry = self.follower.reader.metrics.as_ref().unwrap().registry();
        let text = prometheus_text(&open_metrics(&registry));
        assert!(text.lines().any(|line| line == sample), "no {sample} in\n{text}");
    }
}

fn follower(folder: &Path, files: &[&str], sender: Sender<String>) -> Follower {
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let logs = open(&paths, &Wake::new().0).unwrap();
    let reader = Reader::new(Some(Metrics::new()), Some(Box::new(Names(sender))), tell);
    Follower { logs, reader, stop: Arc::default() }
}

/// A line about a pod, at a second.
fn event(second: u32, name: &str) -> String {
    Event::pod(name, D1).at(&format!("2026-11-20T12:00:{second:02}.000000Z")).line() + "\n"
}

#[test]
fn lines_of_several_logs_are_merged_by_time() {
    let mut logs = Logs::new(&["a.log", "b.log", "c.log"]);
    messages();
    logs.append("a.log", &[event(1, "one"), event(4, "four"), event(5, "five")].concat());
    logs.append("b.log", &[event(2, "two"), event(3, "three"), event(6, "six")].concat());
    assert_eq!(logs.poll(), "one two three four five six");
    assert_eq!(logs.poll(), "");
    // What comes late is not lost.
    logs.append("b.log", &event(7, "seven"));
    assert_eq!(logs.poll(), "seven");
    logs.append("a.log", &event(6, "late"));
    assert_eq!(logs.poll(), "late");
    logs.assert_sample("container_patch_history_last_event_timestamp_seconds 1795176007.0");
    logs.assert_sample(r#"container_patch_history_requests_total{namespace="shop",outcome="admitted"} 8"#);
}

#[test]
fn a_torn_event_is_counted_only_when_nothing_can_complete_it() {
    let mut logs = Logs::new(&["audit.log"]);
    messages();
    let (one, two) = (event(1, "one"), event(2, "two"));
    let (beginning, rest) = two.split_at(two.len() / 2);
    logs.append("audit.log", &format!("{one}{beginning}"));
    assert_eq!(logs.poll(), "one");
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="torn"} 0"#);
    logs.append("audit.log", rest);
    assert_eq!(logs.poll(), "two");
    logs.append("audit.log", beginning);
    assert_eq!(logs.poll(), "");
    let path = logs.folder.path().join("audit.log");
    fs::rename(&path, logs.folder.path().join("audit.1.log")).unwrap();
    logs.append("audit.log", &event(3, "three"));
    assert_eq!(logs.poll(), "");
    assert_eq!(logs.poll(), "three");
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="torn"} 1"#);
    let messages = messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].ends_with(&format!("; it is {}:3", path.display())), "{messages:?}");
}

#[test]
fn skipped_lines_are_reported_once_and_counted() {
    let mut logs = Logs::new(&["audit.log"]);
    messages();
    logs.append("audit.log", "no event\n{\"a\":1}\n\nnot one either\n");
    assert_eq!(logs.poll(), "");
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="garbage"} 2"#);
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="foreign"} 1"#);
    assert_eq!(messages().len(), 2, "one for each reason");
    logs.append("audit.log", "again\n");
    assert_eq!(logs.poll(), "");
    assert_eq!(messages(), [""; 0]);
    logs.follower.reader.end(false).unwrap();
    let messages = messages();
    assert!(messages.iter().any(|message| message.starts_with("skipped 3 lines ")), "{messages:?}");
}

#[test]
fn logs_that_end_without_an_event_are_an_error() {
    let mut logs = Logs::new(&["audit.log"]);
    assert!(logs.follower.reader.end(true).is_err());
    logs.append("audit.log", &event(1, "one"));
    logs.poll();
    assert!(logs.follower.reader.end(true).is_ok());
}

#[test]
fn a_stopped_follower_reads_no_further() {
    let mut logs = Logs::new(&["audit.log"]);
    logs.append("audit.log", &event(1, "one"));
    logs.follower.stop.store(true, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(logs.poll(), "");
}

#[test]
fn a_log_that_is_given_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.log"), event(1, "one")).unwrap();
    let (sender, names) = channel();
    let mut follower = follower(folder.path(), &["audit.log", "./audit.log"], sender);
    follower.poll().unwrap();
    assert_eq!(names.try_iter().collect::<Vec<_>>(), ["one"]);
}

#[test]
fn the_number_of_logs_is_limited() {
    let paths: Vec<PathBuf> = (0..=MAX_LOGS).map(|number| format!("/nonexistent/{number}").into()).collect();
    assert!(open(&paths[1..], &Wake::new().0).is_ok());
    let error = open(&paths, &Wake::new().0).err().unwrap();
    assert_eq!(error.to_string(), "cannot follow 257 logs; at most 256 can be followed");
}
