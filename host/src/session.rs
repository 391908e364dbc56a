//! Recorded sessions, in the format of kwctl: a YAML list of exchanges. In each, the question is a string of YAML, and the
//! answer a string.
//!
//! ```yaml
//! - type: Exchange
//!   request: |
//!     !OciManifestDigest
//!     image: registry.example.com/app:1
//!   response:
//!     type: Success
//!     payload: '{"digest":"sha256:…"}'
//! ```

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::capabilities::{Capabilities, HostCall};

/// Whether a session is recorded or replayed.
#[derive(Debug, Args)]
pub struct SessionOptions {
    /// File in which the policy's questions to the host and the answers are recorded
    #[arg(long, value_name = "FILE")]
    record_host_capabilities_interactions: Option<PathBuf>,
    /// Recorded file from which the policy's questions to the host are answered, in its order
    #[arg(long, value_name = "FILE", conflicts_with = "record_host_capabilities_interactions")]
    replay_host_capabilities_interactions: Option<PathBuf>,
}

impl SessionOptions {
    /// Opens the session. Only a replay does not need the live answers.
    ///
    /// # Errors
    /// When a recorded session cannot be read, or the clients cannot be created.
    pub fn open(&self, live: impl FnOnce() -> Result<Arc<dyn Capabilities>>) -> Result<Session> {
        if let Some(file) = &self.replay_host_capabilities_interactions {
            return Ok(Session::Replaying(Arc::new(Replay::from_file(file)?)));
        }
        let live = live()?;
        Ok(match &self.record_host_capabilities_interactions {
            Some(file) => Session::Recording(Arc::new(Recorder::new(live)), file.clone()),
            None => Session::Live(live),
        })
    }
}

/// An open session.
pub enum Session {
    /// Answers are live.
    Live(Arc<dyn Capabilities>),
    /// Answers are live, and recorded in a file.
    Recording(Arc<Recorder>, PathBuf),
    /// Answers come from a recorded session.
    Replaying(Arc<Replay>),
}

impl Session {
    /// The answers to the policy's questions.
    #[must_use]
    pub fn capabilities(&self) -> Arc<dyn Capabilities> {
        match self {
            Self::Live(live) => Arc::clone(live),
            Self::Recording(recorder, _) => Arc::<Recorder>::clone(recorder),
            Self::Replaying(replay) => Arc::<Replay>::clone(replay),
        }
    }

    /// Whether the order of questions matters, so that objects cannot be judged in parallel.
    #[must_use]
    pub fn keeps_order(&self) -> bool {
        !matches!(self, Self::Live(_))
    }

    /// Ends the session: writes the recorded file, or prints the mismatches of a replay to standard error.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(&self) -> Result<()> {
        match self {
            Self::Live(_) => {}
            Self::Recording(recorder, file) => recorder.save(file)?,
            Self::Replaying(replay) => {
                for mismatch in replay.mismatches() {
                    eprintln!("Warning: {mismatch}");
                }
            }
        }
        Ok(())
    }
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
struct Exchange {
    request: String,
    response: Response,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "type")]
enum Response {
    Success { payload: String },
    Error { message: String },
}

/// Answers the questions of a recorded session, in their order.
#[derive(Debug)]
pub struct Replay {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    exchanges: VecDeque<(HostCall, Response)>,
    mismatches: Vec<String>,
}

impl Replay {
    /// Reads a session from a file.
    ///
    /// # Errors
    /// When the file cannot be read, or is invalid; then with the number of the exchange.
    pub fn from_file(path: &Path) -> Result<Self> {
        read(path).map(Self::of)
    }

    /// Reads a session.
    ///
    /// # Errors
    /// When the text is invalid; then with the number of the exchange.
    pub fn parse(text: &str) -> Result<Self> {
        exchanges(text).map(Self::of)
    }

    fn of(exchanges: VecDeque<(HostCall, Response)>) -> Self {
        Self { state: Mutex::new(State { exchanges, mismatches: Vec::new() }) }
    }

    /// The differences from the recorded session: unexpected questions, and exchanges that were not replayed.
    #[must_use]
    pub fn mismatches(&self) -> Vec<String> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let leftovers =
            state.exchanges.iter().map(|(call, _)| format!("a recorded exchange was not replayed: {}", line(call)));
        state.mismatches.iter().cloned().chain(leftovers).collect()
    }
}

impl Capabilities for Replay {
    fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mismatch = match state.exchanges.pop_front() {
            Some((expected, response)) if expected == call => {
                return match response {
                    Response::Success { payload } => Ok(payload.into_bytes()),
                    Response::Error { message } => Err(message),
                };
            }
            Some((expected, _)) => {
                format!("replay: expected the question {}, found {}", line(&expected), line(&call))
            }
            None => format!("replay: expected no more questions, found {}", line(&call)),
        };
        state.mismatches.push(mismatch.clone());
        Err(mismatch)
    }
}

/// The exchanges of a recorded session.
fn read(path: &Path) -> Result<VecDeque<(HostCall, Response)>> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the recorded session {}", path.display()))?;
    exchanges(&text).with_context(|| format!("invalid recorded session {}", path.display()))
}

fn exchanges(text: &str) -> Result<VecDeque<(HostCall, Response)>> {
    let exchanges: Vec<Exchange> = yaml_serde::from_str(text)?;
    let mut calls = VecDeque::with_capacity(exchanges.len());
    for (index, exchange) in exchanges.into_iter().enumerate() {
        let call: HostCall = yaml_serde::from_str(&exchange.request)
            .with_context(|| format!("exchange {}: invalid request", index + 1))?;
        calls.push_back((call, exchange.response));
    }
    Ok(calls)
}

/// Answers questions from a recorded session, in any order and as often as they are asked. Without a session it has no answers.
#[derive(Debug, Default)]
pub struct RecordedAnswers {
    answers: HashMap<String, Response>,
    /// The first error about a question without an answer.
    unanswered: Mutex<Option<String>>,
}

impl RecordedAnswers {
    /// Reads the answers of a session from a file. If a question was asked several times, its first answer counts.
    ///
    /// # Errors
    /// When the file cannot be read, or is invalid; then with the number of the exchange.
    pub fn from_file(path: &Path) -> Result<Self> {
        Ok(Self::of(read(path)?))
    }

    fn of(exchanges: VecDeque<(HostCall, Response)>) -> Self {
        let mut answers = HashMap::with_capacity(exchanges.len());
        for (call, response) in exchanges {
            answers.entry(line(&call)).or_insert(response);
        }
        Self { answers, unanswered: Mutex::default() }
    }

    /// The first error about a question without an answer.
    pub(crate) fn unanswered(&self) -> Option<String> {
        self.unanswered.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets the errors about questions so far.
    pub(crate) fn forget_unanswered(&self) {
        *self.unanswered.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Capabilities for RecordedAnswers {
    fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
        let question = line(&call);
        match self.answers.get(&question) {
            Some(Response::Success { payload }) => Ok(payload.clone().into_bytes()),
            Some(Response::Error { message }) => Err(message.clone()),
            None => {
                let error = format!("no answer was recorded for the question {question}");
                let mut unanswered = self.unanswered.lock().unwrap_or_else(PoisonError::into_inner);
                unanswered.get_or_insert_with(|| error.clone());
                Err(error)
            }
        }
    }
}

/// Forwards questions, and records them with their answers.
pub struct Recorder {
    inner: Arc<dyn Capabilities>,
    exchanges: Mutex<Vec<Exchange>>,
}

impl Recorder {
    /// Records the questions to another host.
    #[must_use]
    pub fn new(inner: Arc<dyn Capabilities>) -> Self {
        Self { inner, exchanges: Mutex::default() }
    }

    /// Writes the recorded session to a file.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn save(&self, path: &Path) -> Result<()> {
        let exchanges = self.exchanges.lock().unwrap_or_else(PoisonError::into_inner);
        let session = yaml_serde::to_string(&*exchanges)?;
        std::fs::write(path, session).with_context(|| format!("cannot write the session to {}", path.display()))
    }
}

impl Capabilities for Recorder {
    fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
        let request = yaml_serde::to_string(&call).map_err(|error| error.to_string())?;
        let answer = self.inner.answer(call);
        let response = match &answer {
            Ok(payload) => Response::Success { payload: String::from_utf8_lossy(payload).into_owned() },
            Err(message) => Response::Error { message: message.clone() },
        };
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner).push(Exchange { request, response });
        answer
    }
}

/// A question in one line.
fn line(call: &HostCall) -> String {
    serde_json::to_string(call).unwrap_or_else(|_| format!("{call:?}"))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{RecordedAnswers, Recorder, Replay, exchanges};
    use crate::capabilities::{Capabilities, HostCall, Image};

    const SESSION: &str = r#"
- type: Exchange
  request: |
    !OciManifestDigest
    image: registry.example.com/app:1
  response:
    type: Success
    payload: '{"digest":"sha256:abc"}'
- type: Exchange
  request: |
    !KubernetesGetResource
    api_version: v1
    kind: Namespace
    name: default
    namespace: null
    disable_cache: false
  response:
    type: Error
    message: not found
"#;

    fn digest_of(image: &str) -> HostCall {
        HostCall::OciManifestDigest(Image { image: image.to_owned() })
    }

    #[test]
    fn exchanges_are_replayed_in_order() {
        let replay = Replay::parse(SESSION).unwrap();
        assert_eq!(replay.answer(digest_of("registry.example.com/app:1")), Ok(br#"{"digest":"sha256:abc"}"#.to_vec()));
        assert_eq!(
            replay.mismatches(),
            [
                r#"a recorded exchange was not replayed: {"KubernetesGetResource":{"api_version":"v1","kind":"Namespace","name":"default","namespace":null,"disable_cache":false,"field_masks":null}}"#
            ]
        );
        let get: HostCall = yaml_serde::from_str(
            "!KubernetesGetResource\napi_version: v1\nkind: Namespace\nname: default\nnamespace: null\ndisable_cache: false",
        )
        .unwrap();
        assert_eq!(replay.answer(get), Err("not found".to_owned()));
        assert!(replay.mismatches().is_empty());
    }

    #[test]
    fn an_unexpected_question_is_reported() {
        let replay = Replay::parse(SESSION).unwrap();
        let error = replay.answer(digest_of("other")).unwrap_err();
        assert_eq!(
            error,
            r#"replay: expected the question {"OciManifestDigest":{"image":"registry.example.com/app:1"}}, found {"OciManifestDigest":{"image":"other"}}"#
        );
        assert_eq!(replay.mismatches()[0], error);
        let empty = Replay::parse("[]").unwrap();
        assert!(empty.answer(digest_of("a")).unwrap_err().contains("expected no more questions"));
    }

    #[test]
    fn recorded_answers_are_given_in_any_order_and_again() {
        let get = SESSION.replace("example.com/app:1", "example.com/b:1").replace("abc", "def");
        let answers = RecordedAnswers::of(exchanges(&format!("{SESSION}{get}")).unwrap());
        for _ in 0..2 {
            assert_eq!(
                answers.answer(digest_of("registry.example.com/b:1")),
                Ok(br#"{"digest":"sha256:def"}"#.to_vec())
            );
            assert_eq!(
                answers.answer(digest_of("registry.example.com/app:1")),
                Ok(br#"{"digest":"sha256:abc"}"#.to_vec())
            );
        }
        assert_eq!(
            RecordedAnswers::default().answer(digest_of("a")),
            Err(r#"no answer was recorded for the question {"OciManifestDigest":{"image":"a"}}"#.to_owned())
        );
    }

    #[test]
    fn a_recorded_session_can_be_replayed() {
        struct Fake;
        impl Capabilities for Fake {
            fn answer(&self, call: HostCall) -> Result<Vec<u8>, String> {
                match call {
                    HostCall::OciManifestDigest(_) => Ok(b"{}".to_vec()),
                    _ => Err("unknown".to_owned()),
                }
            }
        }
        let recorder = Recorder::new(Arc::new(Fake));
        let manifest = HostCall::OciManifest(Image { image: "b".to_owned() });
        let answers = [recorder.answer(digest_of("a")), recorder.answer(manifest.clone())];
        let file = tempfile::NamedTempFile::new().unwrap();
        recorder.save(file.path()).unwrap();
        let text = std::fs::read_to_string(file.path()).unwrap();
        assert!(text.starts_with("- type: Exchange\n  request: |\n    !OciManifestDigest\n    image: a\n"), "{text}");
        let replay = Replay::from_file(file.path()).unwrap();
        assert_eq!([replay.answer(digest_of("a")), replay.answer(manifest)], answers);
        assert!(replay.mismatches().is_empty());
    }

    #[test]
    fn an_invalid_session_is_refused_with_the_exchange() {
        assert!(Replay::parse("a: b").is_err());
        let broken = SESSION.replace("!KubernetesGetResource", "!NoSuchCall");
        let error = Replay::parse(&broken).unwrap_err().to_string();
        assert_eq!(error, "exchange 2: invalid request");
    }
}
