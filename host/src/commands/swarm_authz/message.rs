//! The messages of the engine: a call, before and after the engine executes it.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::call::Call;
use super::decision::Request;

/// The authentication method of a client with a certificate.
const TLS: &str = "TLS";

/// A call, as the engine describes it.
#[derive(Debug, Deserialize)]
struct Message<'m> {
    #[serde(borrow, default, rename = "User")]
    user: Cow<'m, str>,
    #[serde(borrow, default, rename = "UserAuthNMethod")]
    authentication: Cow<'m, str>,
    #[serde(borrow, rename = "RequestMethod")]
    method: Cow<'m, str>,
    #[serde(borrow, rename = "RequestUri")]
    uri: Cow<'m, str>,
    #[serde(borrow, default, rename = "RequestBody")]
    body: Option<Cow<'m, str>>,
    #[serde(default, rename = "ResponseStatusCode")]
    status: u16,
    #[serde(borrow, default, rename = "ResponseBody")]
    response: Option<Cow<'m, str>>,
}

/// A call that is decided, with what the log says about it.
#[derive(Debug, Clone)]
pub(super) struct Received {
    /// The name in the client's certificate. `None` if the engine has not authenticated the client.
    pub(super) user: Option<String>,
    /// How the engine has authenticated the client. Empty if it has not.
    pub(super) authentication: String,
    /// The HTTP method.
    pub(super) method: String,
    /// The request URI.
    pub(super) uri: String,
    /// What the call does.
    pub(super) call: Call,
    body: Vec<u8>,
    response: Vec<u8>,
}

impl Received {
    /// The request for a decision.
    pub(super) fn request(&self) -> Request<'_> {
        Request { user: self.user.as_deref(), body: &self.body }
    }

    /// The body of the engine's response.
    pub(super) fn response(&self) -> &[u8] {
        &self.response
    }
}

/// What a message of the engine asks.
pub(super) enum Asked {
    /// A call that starts nothing.
    Passes,
    /// A call to decide.
    Decides(Box<Received>),
}

impl Asked {
    /// Reads a message of the engine.
    ///
    /// # Errors
    /// What is wrong.
    pub(super) fn read(message: &[u8]) -> Result<Self, String> {
        let message: Message<'_> = serde_json::from_slice(message)
            .map_err(|error| format!("cannot read the message of the engine: {error}"))?;
        let Some(call) = Call::of(&message.method, &message.uri) else { return Ok(Self::Passes) };
        let decoded = |text: &Option<Cow<'_, str>>| {
            let body = STANDARD.decode(text.as_deref().unwrap_or_default());
            body.map_err(|error| format!("cannot read the message of the engine: invalid base64: {error}"))
        };
        let has_user = message.authentication == TLS && !message.user.is_empty();
        Ok(Self::Decides(Box::new(Received {
            user: has_user.then(|| message.user.into_owned()),
            authentication: message.authentication.into_owned(),
            method: message.method.into_owned(),
            uri: message.uri.into_owned(),
            call,
            body: decoded(&message.body)?,
            // An error has created nothing.
            response: if (200..300).contains(&message.status) { decoded(&message.response)? } else { Vec::new() },
        })))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{Asked, Received};

    fn read(message: &Value) -> Result<Asked, String> {
        Asked::read(message.to_string().as_bytes())
    }

    fn received(message: &Value) -> Received {
        match read(message).unwrap() {
            Asked::Decides(received) => *received,
            Asked::Passes => panic!("{message} is not decided"),
        }
    }

    fn create(more: &Value) -> Value {
        let mut message =
            json!({"RequestMethod": "POST", "RequestUri": "/v1.41/services/create", "RequestBody": "e30="});
        message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        message
    }

    #[test]
    fn only_a_client_with_a_certificate_has_a_name() {
        let user = |more: Value| received(&create(&more)).user;
        assert_eq!(user(json!({"User": "jane", "UserAuthNMethod": "TLS"})).as_deref(), Some("jane"));
        assert_eq!(user(json!({"User": "jane"})), None);
        assert_eq!(user(json!({"User": "jane", "UserAuthNMethod": "other"})), None);
        assert_eq!(user(json!({"UserAuthNMethod": "TLS"})), None);
        assert_eq!(user(json!({})), None);
    }

    #[test]
    fn the_body_is_in_base64_and_may_be_missing() {
        assert_eq!(received(&create(&json!({}))).body, b"{}");
        assert_eq!(received(&create(&json!({"RequestBody": null}))).body, b"");
        assert!(read(&create(&json!({"RequestBody": "{}"}))).is_err());
    }

    #[test]
    fn only_a_successful_call_has_created_something() {
        let response =
            |status: u16| received(&create(&json!({"ResponseStatusCode": status, "ResponseBody": "e30="}))).response;
        assert_eq!(response(201), b"{}");
        assert_eq!(response(404), b"");
    }

    #[test]
    fn a_call_that_starts_nothing_passes_whatever_its_body() {
        let message = json!({"RequestMethod": "GET", "RequestUri": "/v1.41/containers/json", "RequestBody": "?"});
        assert!(matches!(read(&message), Ok(Asked::Passes)));
        assert!(read(&json!([])).is_err());
        assert!(Asked::read(b"{").is_err());
    }
}
