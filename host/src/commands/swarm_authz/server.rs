//! The protocol of Docker's authorization plugins: the engine sends each call before it executes it (`AuthZReq`), and once more with the
//! response before the client gets it (`AuthZRes`).

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::call::Call;
use super::decision::Request;
use super::plugin::Plugin;

/// The media type of the protocol.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";

/// The authentication method of a client with a certificate.
const TLS: &str = "TLS";

/// The most bytes of a message of the engine. It passes bodies of up to 4 MiB, in base64.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The bytes from which on a message is large. Those of usual calls are much smaller.
const LARGE: u64 = 128 * 1024;

/// The most large messages that are in memory at the same time. Others wait.
const MAX_LARGE: usize = 32;

/// The longest time for which a large message waits.
const ROOM_WAIT: Duration = Duration::from_secs(30);

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
enum Asked {
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
    fn read(message: &[u8]) -> Result<Self, String> {
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

/// The routes of the protocol.
pub(super) fn routes(plugin: Arc<Plugin>) -> Router {
    Router::new()
        .route("/Plugin.Activate", post(activate))
        .route("/AuthZPlugin.AuthZReq", post(before))
        .route("/AuthZPlugin.AuthZRes", post(after))
        .with_state(Arc::new(Shared {
            plugin,
            large: Semaphore::new(MAX_LARGE),
            large_after: Semaphore::new(MAX_LARGE),
        }))
}

/// What all messages share.
struct Shared {
    plugin: Arc<Plugin>,
    /// The large messages before a call that may still be read.
    large: Semaphore,
    /// Those after a call. They do not wait for calls that wait for a registry, because what a call has created may run already.
    large_after: Semaphore,
}

impl Shared {
    /// Waits until a message may be read, if it is large. It is in memory until the result is dropped.
    ///
    /// # Errors
    /// When other messages stay in memory for too long.
    async fn room<'s>(large: &'s Semaphore, headers: &HeaderMap) -> Result<Option<SemaphorePermit<'s>>, String> {
        let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
        // The engine always gives the length.
        if length.is_some_and(|length| length < LARGE) {
            return Ok(None);
        }
        let room = tokio::time::timeout(ROOM_WAIT, large.acquire()).await;
        // The semaphore is never closed.
        room.map(Result::ok).map_err(|_| format!("{MAX_LARGE} large calls are being decided; try again"))
    }
}

async fn activate() -> Response {
    answer(&json!({"Implements": ["authz"]}))
}

/// Before the engine executes a call.
async fn before(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let plugin = &shared.plugin;
    let _room = match Shared::room(&shared.large, &headers).await {
        Ok(room) => room,
        Err(error) => {
            plugin.report_busy(&error);
            return deny(&error);
        }
    };
    match asked(body).await {
        Ok(Asked::Passes) => {
            plugin.count_passed();
            allow()
        }
        Ok(Asked::Decides(received)) => {
            let refused = plugin.decide(*received).await;
            refused.map_or_else(allow, |message| deny(&message))
        }
        Err(error) => {
            plugin.report_error(&error);
            deny(&error)
        }
    }
}

/// After the engine has executed a call.
async fn after(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    let plugin = &shared.plugin;
    let _room = match Shared::room(&shared.large_after, &headers).await {
        Ok(room) => room,
        Err(error) => {
            plugin.report_busy(&error);
            return deny(&error);
        }
    };
    match asked(body).await {
        Ok(Asked::Decides(received)) if !received.response.is_empty() => {
            let refused = plugin.check_created(*received).await;
            refused.map_or_else(allow, |message| deny(&message))
        }
        // The engine has decided already.
        Ok(_) => allow(),
        Err(error) => {
            plugin.report_error(&error);
            deny(&error)
        }
    }
}

async fn asked(body: Body) -> Result<Asked, String> {
    let message: Bytes = to_bytes(body, MAX_MESSAGE).await.map_err(|error| {
        format!("cannot read the message of the engine, of which at most {MAX_MESSAGE} bytes are read: {error}")
    })?;
    Asked::read(&message)
}

fn allow() -> Response {
    answer(&json!({"Allow": true}))
}

fn deny(message: &str) -> Response {
    answer(&json!({"Allow": false, "Msg": message}))
}

fn answer(value: &serde_json::Value) -> Response {
    ([(CONTENT_TYPE, MEDIA_TYPE)], value.to_string()).into_response()
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
