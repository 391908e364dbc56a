//! The protocol of Docker's authorization plugins: the engine sends each call before it executes it (`AuthZReq`), and once more with the
//! response before the client gets it (`AuthZRes`).

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit};

use super::message::Asked;
use super::plugin::Plugin;

/// The media type of the protocol.
const MEDIA_TYPE: &str = "application/vnd.docker.plugins.v1.1+json";

/// The most bytes of a message of the engine. It passes bodies of up to 4 MiB, in base64.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// The bytes from which on a message is large. Those of usual calls are much smaller.
const LARGE: u64 = 128 * 1024;

/// The most large messages that are in memory at the same time. Others wait.
const MAX_LARGE: usize = 32;

/// The longest time for which a large message waits.
const ROOM_WAIT: Duration = Duration::from_secs(30);

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

    /// Reads a message. With it comes its room among the large ones.
    ///
    /// # Errors
    /// Why it cannot be read, which is reported already.
    async fn asked<'s>(
        &self,
        large: &'s Semaphore,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<(Asked, Option<SemaphorePermit<'s>>), String> {
        let room = Self::room(large, headers).await.inspect_err(|error| self.plugin.report_busy(error))?;
        let asked = read(body).await.inspect_err(|error| self.plugin.report_error(error))?;
        Ok((asked, room))
    }
}

async fn read(body: Body) -> Result<Asked, String> {
    let message: Bytes = to_bytes(body, MAX_MESSAGE).await.map_err(|error| {
        format!("cannot read the message of the engine, of which at most {MAX_MESSAGE} bytes are read: {error}")
    })?;
    Asked::read(&message)
}

async fn activate() -> Response {
    answer(&json!({"Implements": ["authz"]}))
}

/// Before the engine executes a call.
async fn before(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    match shared.asked(&shared.large, &headers, body).await {
        Ok((Asked::Passes, _)) => {
            shared.plugin.count_passed();
            allow()
        }
        Ok((Asked::Decides(received), _room)) => {
            let refused = shared.plugin.decide(*received).await;
            refused.map_or_else(allow, |message| deny(&message))
        }
        Err(error) => deny(&error),
    }
}

/// After the engine has executed a call.
async fn after(State(shared): State<Arc<Shared>>, headers: HeaderMap, body: Body) -> Response {
    match shared.asked(&shared.large_after, &headers, body).await {
        Ok((Asked::Decides(received), _room)) if !received.response().is_empty() => {
            let refused = shared.plugin.check_created(*received).await;
            refused.map_or_else(allow, |message| deny(&message))
        }
        // The engine has decided already.
        Ok(_) => allow(),
        Err(error) => deny(&error),
    }
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
