use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::Result;

use super::{Follower, MAX_LOGS, Metrics, Reader, Sink, Source, Wake, open};
use crate::commands::history::record::Record;
use crate::commands::history::samples::{D1, Event, time};
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

/// Logs in a folder, which are followed.
struct Logs {
    folder: tempfile::TempDir,
    follower: Follower,
    names: Receiver<String>,
    messages: Receiver<String>,
}

impl Logs {
    fn new(files: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (follower, names, messages) = follower(folder.path(), files);
        Self { folder, follower, names, messages }
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

    /// The messages since the last call.
    fn messages(&self) -> Vec<String> {
        self.messages.try_iter().collect()
    }

    #[track_caller]
    fn assert_sample(&self, sample: &str) {
        let registry = self.follower.reader.metrics.as_ref().unwrap().registry();
        let text = prometheus_text(&open_metrics(&registry));
        assert!(text.lines().any(|line| line == sample), "no {sample} in\n{text}");
    }
}

/// Follows the files, and receives names and messages.
fn follower(folder: &Path, files: &[&str]) -> (Follower, Receiver<String>, Receiver<String>) {
    let paths: Vec<PathBuf> = files.iter().map(|file| folder.join(file)).collect();
    let logs = open(&paths, &Wake::new().0).unwrap();
    let ((names, of_names), (messages, of_messages)) = (channel(), channel());
    let tell = Box::new(move |message: &str| drop(messages.send(message.to_owned())));
    let reader = Reader::new(Some(Metrics::new()), Some(Box::new(Names(names))), tell);
    (Follower { logs, reader, stop: Arc::default() }, of_names, of_messages)
}

/// A line about a pod, at a second.
fn event(second: u32, name: &str) -> String {
    Event::pod(name, D1).at(&format!("2026-11-20T12:00:{second:02}.000000Z")).line() + "\n"
}

#[test]
fn lines_of_several_logs_are_merged_by_time() {
    let mut logs = Logs::new(&["a.log", "b.log", "c.log"]);
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
    assert_eq!(logs.poll(), "");
    assert_eq!(logs.messages().len(), 1, "it does not exist yet");
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
    let messages = logs.messages();
    assert_eq!(messages.len(), 1, "{messages:?}");
    assert!(messages[0].ends_with(&format!(", at {}:3", path.display())), "{messages:?}");
}

#[test]
fn skipped_lines_are_reported_once_and_counted() {
    let mut logs = Logs::new(&["audit.log"]);
    assert_eq!(logs.poll(), "");
    assert_eq!(logs.messages().len(), 1, "it does not exist yet");
    logs.append("audit.log", "no event\n{\"a\":1}\n\nnot one either\n");
    assert_eq!(logs.poll(), "");
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="garbage"} 2"#);
    logs.assert_sample(r#"container_patch_history_skipped_lines_total{reason="foreign"} 1"#);
    assert_eq!(logs.messages().len(), 2, "one for each reason");
    logs.append("audit.log", "again\n");
    assert_eq!(logs.poll(), "");
    assert_eq!(logs.messages(), [""; 0]);
    logs.follower.reader.end(false).unwrap();
    let messages = logs.messages();
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
fn a_stream_has_caught_up_when_its_events_are_recent() {
    let now = time("2026-11-20T12:00:30Z");
    let mut logs = Logs::new(&["audit.log"]);
    assert!(logs.follower.has_caught_up(now), "a file has been read to its end");
    let (reader, mut writer) = std::io::pipe().unwrap();
    let (wake, woken) = Wake::new();
    logs.follower.logs.push(Source::stream("standard input".to_owned(), reader, &wake).unwrap());
    assert!(!logs.follower.has_caught_up(now));
    for (event_time, has_caught_up) in [("2026-11-20T11:59:29Z", false), ("2026-11-20T11:59:31Z", true)] {
        let line = Event::pod("web", D1).at(event_time).line() + "\n";
        writer.write_all(line.as_bytes()).unwrap();
        woken.recv().unwrap();
        assert_eq!(logs.poll(), "web");
        assert_eq!(logs.follower.has_caught_up(now), has_caught_up, "{event_time}");
    }
    drop(writer);
    woken.recv().unwrap();
    assert_eq!(logs.poll(), "");
    assert!(logs.follower.logs[1].has_ended());
}

#[test]
fn a_log_that_is_given_twice_is_read_once() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("audit.log"), event(1, "one")).unwrap();
    let (mut follower, names, _messages) = follower(folder.path(), &["audit.log", "./audit.log"]);
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
