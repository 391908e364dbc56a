//! The log on standard error.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::ValueEnum;
use serde_json::{Map, Value, json};

use crate::policy::LogLine;
use crate::terminal::changes_layout;

/// The most bytes of a line. journald splits longer ones at 48 KiB.
const MAX_LINE: usize = 48_000;

/// The most bytes of lines that wait because standard error is slow. Further lines are dropped and counted.
const MAX_WAITING: usize = 16 << 20;

/// The time for the last lines when the process ends.
const LAST_LINES: Duration = Duration::from_secs(2);

/// The most characters of a text that a requester, a registry or the engine chooses.
const MAX_TEXT: usize = 1024;

/// The most lines of the policy's log in one line.
const MAX_POLICY_LOG: usize = 8;

/// The format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum LogFormat {
    /// A JSON object in each line.
    Json,
    /// The same fields in each line, as `key=value`. A value is a word or JSON.
    Text,
}

impl LogFormat {
    /// The format if the command line gives none: text on a terminal, else JSON.
    pub(super) fn of_stderr() -> Self {
        if io::stderr().is_terminal() { Self::Text } else { Self::Json }
    }
}

/// The severity of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Info,
    Warning,
    Error,
}

impl Level {
    fn word(self) -> &'static str {
        match self {
            Self::Info => "info",
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

/// A decision about a call of the engine's API.
///
/// Its line has these fields, in this order. Programs read them, so a field keeps its name and its meaning; new fields can be added.
///
/// | field | |
/// | --- | --- |
/// | `time` | when the decision was made: RFC 3339, UTC, with milliseconds |
/// | `level` | `info` if the call is accepted, `warning` if it is accepted with warnings or denied, `error` if it is denied because a fact is unknown |
/// | `event` | `decision` |
/// | `allowed` | boolean |
/// | `user` | the name in the client's certificate; `null` without authentication |
/// | `authentication` | how the engine has authenticated the client, such as `TLS`; empty without authentication |
/// | `method`, `path` | of the call, without the query, which can have secrets |
/// | `operation` | `CREATE` or `UPDATE` |
/// | `object` | object with `kind`, `name` and, if it is known, `id` |
/// | `annotations` | object with the audit annotations of the policy in a cluster: `verdict`, `findings`, `images`, `breakGlass`. Lists and objects are JSON, not text |
/// | `log` | what the policy logs, as a list of objects with `level` and `message`; left out if it is empty |
/// | `seconds` | the duration, a number |
/// | `truncated` | `true` if parts of `annotations` or `log` are left out because the line would be too long; otherwise left out |
///
/// In the text format, `object.kind` and the like are the keys of the fields of objects, but for `annotations`, whose keys are those of
/// the annotations. Texts longer than 1,024 characters end with `…`.
#[derive(Debug, Clone)]
pub(super) struct Decided<'d> {
    pub(super) allowed: bool,
    /// Whether it is denied only because a fact is unknown.
    pub(super) failed: bool,
    pub(super) user: Option<&'d str>,
    pub(super) authentication: &'d str,
    pub(super) method: &'d str,
    /// The request URI. The query is left out.
    pub(super) uri: &'d str,
    pub(super) operation: &'d str,
    pub(super) kind: &'d str,
    pub(super) name: &'d str,
    pub(super) id: Option<&'d str>,
    pub(super) annotations: &'d Map<String, Value>,
    pub(super) log: &'d [LogLine],
    pub(super) duration: Duration,
}

impl Decided<'_> {
    fn level(&self) -> Level {
        let is_accepted = self.annotations.get("verdict").and_then(Value::as_str) == Some("accepted");
        match (self.failed, is_accepted && self.log.is_empty()) {
            (true, _) => Level::Error,
            (false, true) => Level::Info,
            (false, false) => Level::Warning,
        }
    }

    fn fields(&self) -> Fields {
        let Self { allowed, user, authentication, method, uri, operation, kind, name, id, .. } = *self;
        let path = uri.split(['?', '#']).next().unwrap_or_default();
        let mut object = json!({"kind": kind, "name": short(name)});
        if let Some(id) = id {
            object["id"] = short(id).into();
        }
        let mut fields: Fields = vec![
            ("allowed", allowed.into()),
            ("user", user.map(short).into()),
            ("authentication", short(authentication).into()),
            ("method", short(method).into()),
            ("path", short(path).into()),
            ("operation", operation.into()),
            ("object", object),
            ("annotations", self.annotations.clone().into()),
        ];
        if !self.log.is_empty() {
            let lines = self.log.iter().take(MAX_POLICY_LOG);
            let lines = lines.map(|line| json!({"level": line.level.to_lowercase(), "message": short(&line.message)}));
            fields.push(("log", lines.collect()));
        }
        // A number with the digits that mean something.
        let seconds = (self.duration.as_secs_f64() * 1e6).round() / 1e6;
        fields.push(("seconds", seconds.into()));
        if self.log.len() > MAX_POLICY_LOG {
            fields.push(("truncated", true.into()));
        }
        fields
    }
}

/// Another event. Its line has `time`, `level` and `event` as that of a decision, and the fields of the event.
#[derive(Debug, Clone)]
pub(super) enum Event<'e> {
    /// `started`: the plugin listens. Fields: `version`, `module` (the digest of the policy), `socket`, `settings` (where they are from).
    Started { module: &'e str, socket: &'e str, settings: &'e str },
    /// `reloaded`: other settings are in force. Fields: `settings`, and `warnings` if the policy has some about them.
    Reloaded { settings: &'e str, warnings: &'e [String] },
    /// `reload-failed`: the settings cannot be used, and the earlier ones stay in force. Fields: `settings`, `problems`.
    ReloadFailed { settings: &'e str, problems: &'e [String] },
    /// `stopped`: the plugin ends. Field: `reason`.
    Stopped { reason: &'e str },
    /// `error`: something else has failed. Field: `message`.
    Error { message: &'e str },
    /// `dropped`: standard error was so slow that lines are missing before this one. Field: `lines`.
    Dropped { lines: u64 },
}

impl Event<'_> {
    fn parts(&self) -> (Level, &'static str, Fields) {
        let text = |text: &str| -> Value { short(text).into() };
        let list = |texts: &[String]| -> Value { texts.iter().map(|text| short(text)).collect() };
        match *self {
            Self::Started { module, socket, settings } => {
                let version = env!("CARGO_PKG_VERSION").into();
                let place = [("socket", text(socket)), ("settings", text(settings))];
                (
                    Level::Info,
                    "started",
                    [("version", version), ("module", text(module))].into_iter().chain(place).collect(),
                )
            }
            Self::Reloaded { settings, warnings: [] } => (Level::Info, "reloaded", vec![("settings", text(settings))]),
            Self::Reloaded { settings, warnings } => {
                (Level::Warning, "reloaded", vec![("settings", text(settings)), ("warnings", list(warnings))])
            }
            Self::ReloadFailed { settings, problems } => {
                (Level::Error, "reload-failed", vec![("settings", text(settings)), ("problems", list(problems))])
            }
            Self::Stopped { reason } => (Level::Info, "stopped", vec![("reason", text(reason))]),
            Self::Error { message } => (Level::Error, "error", vec![("message", text(message))]),
            Self::Dropped { lines } => (Level::Error, "dropped", vec![("lines", lines.into())]),
        }
    }
}

/// The fields of a line, in their order.
type Fields = Vec<(&'static str, Value)>;

/// The beginning of a long text.
fn short(text: &str) -> String {
    match text.char_indices().nth(MAX_TEXT).and_then(|(end, _)| text.get(..end)) {
        Some(beginning) => format!("{beginning}…"),
        None => text.to_owned(),
    }
}

/// Writes the log from a thread of its own, so that a decision never waits for standard error.
#[derive(Debug, Clone)]
pub(super) struct Log {
    format: LogFormat,
    queue: Arc<Queue>,
}

impl Log {
    /// Starts the log on standard error.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub(super) fn start(format: LogFormat) -> Result<Self> {
        Self::to(format, MAX_WAITING, io::stderr())
    }

    fn to(format: LogFormat, max_waiting: usize, output: impl Write + Send + 'static) -> Result<Self> {
        let queue = Arc::new(Queue::new(max_waiting));
        let of_thread = Arc::clone(&queue);
        let writer = thread::Builder::new().name("log".to_owned());
        writer.spawn(move || of_thread.write_to(format, output)).context("cannot start the thread of the log")?;
        Ok(Self { format, queue })
    }

    /// Logs a decision.
    pub(super) fn decision(&self, decided: &Decided<'_>) {
        self.queue.add(line(self.format, Utc::now(), decided.level(), "decision", decided.fields()));
    }

    /// Logs another event.
    pub(super) fn event(&self, event: &Event<'_>) {
        self.queue.add(event_line(self.format, event));
    }

    /// The number of lines that were dropped because standard error is slow.
    pub(super) fn dropped(&self) -> u64 {
        self.queue.state().dropped
    }

    /// Waits until all lines are written, but not for ever.
    pub(super) fn flush(&self) {
        let deadline = Instant::now() + LAST_LINES;
        let mut state = self.queue.state();
        while state.bytes > 0 || state.is_writing {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            state = self.queue.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Lines that wait to be written.
#[derive(Debug)]
struct Queue {
    max_waiting: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: VecDeque<String>,
    bytes: usize,
    /// Whether lines that are no longer in the queue are being written.
    is_writing: bool,
    /// The lines that were dropped so far, and those that the log mentions.
    dropped: u64,
    mentioned: u64,
}

impl Queue {
    fn new(max_waiting: usize) -> Self {
        Self { max_waiting, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, line: String) {
        let mut state = self.state();
        if state.bytes + line.len() > self.max_waiting {
            state.dropped += 1;
            return;
        }
        state.bytes += line.len();
        state.lines.push_back(line);
        self.changed.notify_all();
    }

    /// Writes the lines, for the whole life of the process.
    fn write_to(&self, format: LogFormat, mut output: impl Write) {
        loop {
            let mut state = self.state();
            state.is_writing = false;
            self.changed.notify_all();
            let is_idle = |state: &mut State| state.lines.is_empty() && state.dropped == state.mentioned;
            let mut state = self.changed.wait_while(state, is_idle).unwrap_or_else(PoisonError::into_inner);
            let mut text: String = state.lines.drain(..).collect();
            let dropped = state.dropped - state.mentioned;
            state.mentioned = state.dropped;
            state.bytes = 0;
            state.is_writing = true;
            drop(state);
            if dropped > 0 {
                text += &event_line(format, &Event::Dropped { lines: dropped });
            }
            // Standard error can be closed, and the log has nowhere else to report the error.
            let _ = output.write_all(text.as_bytes()).and_then(|()| output.flush());
        }
    }
}

fn event_line(format: LogFormat, event: &Event<'_>) -> String {
    let (level, name, fields) = event.parts();
    line(format, Utc::now(), level, name, fields)
}

/// A line of the log, with the end of the line. Parts are left out of a line that would be too long.
fn line(format: LogFormat, time: DateTime<Utc>, level: Level, event: &str, mut fields: Fields) -> String {
    let write = |fields: &Fields| {
        let time = time.to_rfc3339_opts(SecondsFormat::Millis, true);
        match format {
            LogFormat::Json => json_line(&time, level, event, fields),
            LogFormat::Text => text_line(&time, level, event, fields),
        }
    };
    let mut written = write(&fields);
    // What can be missed first comes first.
    let shortenings: [fn(&mut Fields); 4] = [
        |fields| fields.retain(|(key, _)| *key != "log"),
        |fields| shorten_annotation(fields, "images"),
        |fields| shorten_annotation(fields, "findings"),
        |fields| fields.retain(|(_, value)| !value.is_array() && !value.is_object()),
    ];
    for shorten in shortenings {
        if written.len() <= MAX_LINE {
            break;
        }
        shorten(&mut fields);
        fields.retain(|(key, _)| *key != "truncated");
        fields.push(("truncated", true.into()));
        written = write(&fields);
    }
    written
}

/// Keeps of an annotation with a list the first items, without their texts.
fn shorten_annotation(fields: &mut Fields, name: &str) {
    const KEPT: usize = 20;
    const KEPT_KEYS: [&str; 5] = ["code", "effect", "image", "digest", "built"];
    let annotations = fields.iter_mut().find(|(key, _)| *key == "annotations");
    let annotation = annotations.and_then(|(_, annotations)| annotations.get_mut(name));
    let Some(Value::Array(items)) = annotation else { return };
    items.truncate(KEPT);
    for item in items {
        if let Value::Object(item) = item {
            item.retain(|key, _| KEPT_KEYS.contains(&key.as_str()));
            item.values_mut().for_each(|value| {
                if let Value::String(text) = value {
                    *text = text.chars().take(200).collect();
                }
            });
        }
    }
}

fn json_line(time: &str, level: Level, event: &str, fields: &Fields) -> String {
    let mut line = format!(r#"{{"time":"{time}","level":"{}","event":"{event}""#, level.word());
    for (key, value) in fields {
        let _ = write!(line, ",\"{key}\":{}", json_text(value));
    }
    line + "}\n"
}

fn text_line(time: &str, level: Level, event: &str, fields: &Fields) -> String {
    let mut line = format!("time={time} level={} event={event}", level.word());
    let mut add = |key: &str, value: &Value| {
        let _ = write!(line, " {}={}", word_or_json(&key.into()), word_or_json(value));
    };
    for (key, value) in fields {
        match value {
            Value::Object(annotations) if *key == "annotations" => {
                annotations.iter().for_each(|(name, value)| add(name, value));
            }
            Value::Object(parts) => parts.iter().for_each(|(name, value)| add(&format!("{key}.{name}"), value)),
            value => add(key, value),
        }
    }
    line + "\n"
}

/// A text as it is if it is a word that means nothing else in JSON, and any other value in JSON.
fn word_or_json(value: &Value) -> String {
    let is_word = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic() || first == '/')
            && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:/@+".contains(&byte))
            && !["null", "true", "false"].contains(&text)
    };
    match value {
        Value::String(text) if is_word(text) => text.clone(),
        value => json_text(value),
    }
}

/// The JSON of a value, with an escape for each character that would control a terminal. They are in strings only.
fn json_text(value: &Value) -> String {
    let json = value.to_string();
    if !json.contains(|character: char| character.is_control() || changes_layout(character)) {
        return json;
    }
    let mut escaped = String::with_capacity(json.len());
    for character in json.chars() {
        if character.is_control() || changes_layout(character) {
            let mut units = [0; 2];
            for unit in character.encode_utf16(&mut units) {
                let _ = write!(escaped, "\\u{unit:04x}");
            }
        } else {
            escaped.push(character);
        }
    }
    escaped
}
