//! Recorded sessions, in the format of kwctl: a YAML list of exchanges, each with the question as YAML text and the
//! answer as text.
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

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::capabilities::{Capabilities, HostCall};

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

/// Answers questions from a recorded session: in its order, and only the questions that stand in it.
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
    /// When the file cannot be read, or is no session; then with the exchange that is wrong.
    pub fn from_file(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read the recorded session {}", path.display()))?;
        Self::parse(&text).with_context(|| format!("{} is no recorded session", path.display()))
    }

    /// Reads a session.
    ///
    /// # Errors
    /// When the text is no session; then with the exchange that is wrong.
    pub fn parse(text: &str) -> Result<Self> {
        let exchanges: Vec<Exchange> = yaml_serde::from_str(text)?;
        let mut calls = VecDeque::with_capacity(exchanges.len());
        for (index, exchange) in exchanges.into_iter().enumerate() {
            let call: HostCall = yaml_serde::from_str(&exchange.request)
                .with_context(|| format!("exchange {}: the request cannot be read", index + 1))?;
            calls.push_back((call, exchange.response));
        }
        Ok(Self { state: Mutex::new(State { exchanges: calls, mismatches: Vec::new() }) })
    }

    /// What did not go as it was recorded: questions that were not expected, and exchanges that were left over.
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
                format!("replay: the recorded session expects {}, the policy asks {}", line(&expected), line(&call))
            }
            None => format!("replay: the recorded session is at its end, the policy asks {}", line(&call)),
        };
        state.mismatches.push(mismatch.clone());
        Err(mismatch)
    }
}

/// A question on one line.
fn line(call: &HostCall) -> String {
    serde_json::to_string(call).unwrap_or_else(|_| format!("{call:?}"))
}

#[cfg(test)]
mod tests {
    use super::Replay;
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
    fn a_question_that_was_not_recorded_is_reported() {
        let replay = Replay::parse(SESSION).unwrap();
        let error = replay.answer(digest_of("other")).unwrap_err();
        assert_eq!(
            error,
            r#"replay: the recorded session expects {"OciManifestDigest":{"image":"registry.example.com/app:1"}}, the policy asks {"OciManifestDigest":{"image":"other"}}"#
        );
        assert_eq!(replay.mismatches()[0], error);
        let empty = Replay::parse("[]").unwrap();
        assert!(empty.answer(digest_of("a")).unwrap_err().contains("is at its end"));
    }

    #[test]
    fn what_is_no_session_is_refused_with_the_exchange() {
        assert!(Replay::parse("a: b").is_err());
        let broken = SESSION.replace("!KubernetesGetResource", "!NoSuchCall");
        let error = Replay::parse(&broken).unwrap_err().to_string();
        assert_eq!(error, "exchange 2: the request cannot be read");
    }
}
