//! The client of the Docker Engine API.
//!
//! Requests have no version, so the engine answers by its own newest version. A fixed version would be refused by engines that are
//! older, or that no longer have it.

pub mod swarm;
#[cfg(all(test, unix))]
mod tests;
mod tls;

use std::error::Error;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use reqwest::{Client, ClientBuilder, Method, StatusCode};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::error_chain::error_chain;

/// The socket of an engine, as the docker CLI assumes it.
const DEFAULT_HOST: &str = "unix:///var/run/docker.sock";

/// The name of the engine in requests over a socket.
const SOCKET_URL: &str = "http://docker";

/// The most characters of an error. An error may repeat what a request names.
const MAX_ERROR: usize = 2_000;

/// The limits of an answer about one object.
const OBJECT: Limits = Limits { time: Duration::from_secs(30), bytes: 16 << 20 };

/// The limits of a list. Swarm keeps finished tasks in it.
const LIST: Limits = Limits { time: Duration::from_secs(60), bytes: 256 << 20 };

/// How the Docker Engine is reached.
#[derive(Debug, Clone, Default, Args)]
#[group(skip)]
pub struct EngineOptions {
    /// Docker Engine to ask, as `unix:///PATH` or `tcp://HOST:PORT` [default: unix:///var/run/docker.sock]
    #[arg(long, value_name = "HOST", env = "DOCKER_HOST", hide_env_values = true)]
    pub(crate) docker_host: Option<String>,
    /// Folder with `ca.pem`, `cert.pem` and `key.pem`. With it, or with DOCKER_TLS_VERIFY in the environment, a Docker Engine at
    /// `tcp://` is asked over TLS [default: ~/.docker]
    #[arg(long, value_name = "FOLDER", env = "DOCKER_CERT_PATH", hide_env_values = true)]
    pub(crate) docker_cert_path: Option<PathBuf>,
}

/// Asks a Docker Engine. Connections are kept, and several threads may ask at the same time. A thread of an asynchronous runtime
/// must not ask, because it would wait.
pub struct Engine {
    runtime: Runtime,
    client: Client,
    host: Host,
    object: Limits,
    list: Limits,
}

/// Why an engine has no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineError {
    /// The engine does not have the object.
    NotFound(String),
    /// The engine cannot be reached, refuses the request, or answers with something else.
    Failed(String),
}

/// The limits of an answer.
#[derive(Debug, Clone, Copy)]
struct Limits {
    time: Duration,
    bytes: usize,
}

/// Where an engine is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Host {
    Socket(PathBuf),
    Tcp { address: String, tls: bool },
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::NotFound(reason) | Self::Failed(reason)) = self;
        f.write_str(reason)
    }
}

impl Error for EngineError {}

impl Engine {
    /// Prepares the client. The engine is not reached before the first question.
    ///
    /// # Errors
    /// When the address of the engine is not supported, or its certificates cannot be read.
    pub fn new(options: &EngineOptions) -> Result<Self> {
        let given = options.docker_host.as_deref().filter(|host| !host.is_empty());
        let certificates = tls::folder(options.docker_cert_path.as_deref());
        let host = Host::parse(given.unwrap_or(DEFAULT_HOST), certificates.is_some())
            .with_context(|| format!("invalid address of a Docker Engine: {}", given.unwrap_or(DEFAULT_HOST)))?;
        let client = Client::builder()
            .user_agent(concat!("container-patch/", env!("CARGO_PKG_VERSION")))
            // An engine redirects a path that it has cleaned, which would be another object than the one that was asked for.
            .redirect(reqwest::redirect::Policy::none());
        let client = match (&host, certificates) {
            (Host::Socket(path), _) => at_socket(client, path)?,
            (Host::Tcp { tls: true, .. }, Some(folder)) => tls::with_certificates(client, &folder)?,
            (Host::Tcp { .. }, _) => client,
        };
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        Ok(Self {
            runtime: runtime.context("cannot start the threads that ask the Docker Engine")?,
            client: client.build().context("cannot create the client for the Docker Engine")?,
            host,
            object: OBJECT,
            list: LIST,
        })
    }

    /// The answer to a GET request about one object. `path` begins with `/`; names in it are encoded by [`segment`].
    ///
    /// # Errors
    /// When the engine does not answer, refuses the request, or does not have the object.
    pub fn get(&self, path: &str) -> Result<Value, EngineError> {
        self.read(path)
    }

    /// The answer to a GET request about one object, read as a type.
    ///
    /// # Errors
    /// When the engine does not answer, refuses the request, or does not have the object.
    pub fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, EngineError> {
        self.parsed(path, self.object)
    }

    /// The answer to a GET request for a list. A list may be longer than an answer about one object.
    ///
    /// # Errors
    /// When the engine does not answer, refuses the request, or does not have the object.
    pub fn list<T: DeserializeOwned>(&self, path: &str) -> Result<Vec<T>, EngineError> {
        // An engine without objects may answer with null.
        self.parsed::<Option<Vec<T>>>(path, self.list).map(Option::unwrap_or_default)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// Why it is not deleted.
    pub fn delete(&self, path: &str) -> Result<(), EngineError> {
        self.ask(Method::DELETE, path, self.object).map(drop)
    }

    fn parsed<T: DeserializeOwned>(&self, path: &str, limits: Limits) -> Result<T, EngineError> {
        let body = self.ask(Method::GET, path, limits)?;
        serde_json::from_slice(&body)
            .map_err(|error| self.failed(&format!("sent an answer to GET {path} that cannot be read: {error}")))
    }

    fn ask(&self, method: Method, path: &str, limits: Limits) -> Result<Vec<u8>, EngineError> {
        let answer = async { tokio::time::timeout(limits.time, self.receive(method, path, limits.bytes)).await };
        self.runtime
            .block_on(answer)
            .unwrap_or_else(|_| Err(self.failed(&format!("did not answer within {} s", limits.time.as_secs()))))
    }

    async fn receive(&self, method: Method, path: &str, bytes: usize) -> Result<Vec<u8>, EngineError> {
        let request = self.client.request(method.clone(), format!("{}{path}", self.host.url()));
        let mut response = request.send().await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(|error| self.unreachable(&error))? {
            if body.len() + part.len() > bytes {
                return Err(
                    self.failed(&format!("sent an answer to {method} {path} that is longer than {bytes} bytes"))
                );
            }
            body.extend_from_slice(&part);
        }
        match status {
            _ if status.is_success() => Ok(body),
            StatusCode::NOT_FOUND => Err(EngineError::NotFound(self.refusal(status, &body))),
            _ => Err(EngineError::Failed(self.refusal(status, &body))),
        }
    }

    /// The message of an engine that refuses a request.
    fn refusal(&self, status: StatusCode, body: &[u8]) -> String {
        let message =
            serde_json::from_slice::<Value>(body).ok().and_then(|body| Some(body["message"].as_str()?.to_owned()));
        let message = message.unwrap_or_else(|| String::from_utf8_lossy(body).trim().to_owned());
        if message.contains("HTTP request to an HTTPS server") {
            return format!(
                "{} expects TLS; set --docker-cert-path to the folder with ca.pem, cert.pem and key.pem",
                self.host
            );
        }
        let reason = if message.is_empty() { status.canonical_reason().unwrap_or("no reason") } else { &message };
        format!("the Docker Engine at {}: {} (HTTP status {})", self.host, beginning(reason), status.as_u16())
    }

    fn failed(&self, fact: &str) -> EngineError {
        EngineError::Failed(format!("the Docker Engine at {} {}", self.host, beginning(fact)))
    }

    fn unreachable(&self, error: &reqwest::Error) -> EngineError {
        let reason = error_chain(error);
        let kind = io_error(error).map(io::Error::kind);
        let advice = match (&self.host, kind) {
            (Host::Socket(_), Some(io::ErrorKind::NotFound)) => {
                "the socket does not exist; start the engine, or set --docker-host or DOCKER_HOST to the address of another one"
            }
            (Host::Socket(_), Some(io::ErrorKind::PermissionDenied)) => {
                "permission denied; root and the group that owns the socket (usually docker) may use it"
            }
            (Host::Socket(_), Some(io::ErrorKind::ConnectionRefused)) => {
                "the engine does not listen on this socket; start it, or set --docker-host or DOCKER_HOST to the address of another \
                 one"
            }
            (Host::Tcp { tls: true, .. }, _)
                if reason.contains("received corrupt message of type InvalidContentType") =>
            {
                "it does not answer over TLS; unset DOCKER_TLS_VERIFY and DOCKER_CERT_PATH if it uses plain HTTP"
            }
            _ => beginning(&reason),
        };
        EngineError::Failed(format!("cannot ask the Docker Engine at {}: {advice}", self.host))
    }
}

/// A name or an ID as one segment of a path.
///
/// # Errors
/// When a server would read it as another path. The engine has no object with such a name.
pub fn segment(name: &str) -> Result<String, EngineError> {
    // Servers decode `%2F` before they clean a path.
    if name.split(['/', '\\']).any(|part| part.is_empty() || part == "." || part == "..") {
        return Err(EngineError::Failed(format!("`{}` is not a name or an ID of the Docker Engine", beginning(name))));
    }
    Ok(encoded(name))
}

/// A value of a query.
#[must_use]
pub fn query_value(value: &str) -> String {
    encoded(value)
}

/// Percent-encodes all bytes but those that RFC 3986 calls unreserved.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(unix)]
fn at_socket(client: ClientBuilder, path: &std::path::Path) -> Result<ClientBuilder> {
    Ok(client.unix_socket(path))
}

#[cfg(not(unix))]
fn at_socket(_client: ClientBuilder, _path: &std::path::Path) -> Result<ClientBuilder> {
    bail!("this system has no Unix sockets; set --docker-host to tcp://HOST:PORT")
}

impl Host {
    fn parse(text: &str, tls: bool) -> Result<Self> {
        let (scheme, rest) = text.split_once("://").unwrap_or(("", text));
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Socket(rest.into())),
            "unix" => bail!("expected an absolute path, such as {DEFAULT_HOST}"),
            "tcp" => {
                let default_port = if tls { 2376 } else { 2375 };
                let address = with_port(rest.trim_end_matches('/'), default_port)?;
                Ok(Self::Tcp { address, tls })
            }
            "ssh" => bail!(
                "ssh:// is not supported; forward the socket (ssh -L /tmp/docker.sock:/var/run/docker.sock HOST) and set \
                 --docker-host unix:///tmp/docker.sock, or run this command on that host"
            ),
            "npipe" => bail!(
                "npipe:// is not supported; let the engine listen on tcp:// and set --docker-host tcp://HOST:PORT"
            ),
            _ => bail!("expected unix:///PATH or tcp://HOST:PORT"),
        }
    }

    fn url(&self) -> String {
        match self {
            Self::Socket(_) => SOCKET_URL.to_owned(),
            Self::Tcp { address, tls } => format!("{}://{address}", if *tls { "https" } else { "http" }),
        }
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { address, .. } => write!(f, "tcp://{address}"),
        }
    }
}

/// A host with its port, which may be left out.
fn with_port(text: &str, default: u16) -> Result<String> {
    let expected = "expected tcp://HOST:PORT";
    // The URL may not have another host than the text: a user, a path or a query is an error.
    if text.is_empty() || text.contains(|character: char| "/?#@\\".contains(character) || character.is_whitespace()) {
        bail!(expected);
    }
    let url = reqwest::Url::parse(&format!("http://{text}")).context(expected)?;
    let host = url.host_str().context(expected)?;
    // `port` is empty for port 80, which is the default of the scheme.
    let has_port = text.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let port = if has_port { url.port_or_known_default().unwrap_or(default) } else { default };
    Ok(format!("{host}:{port}"))
}

fn io_error<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e io::Error> {
    let mut next = Some(error);
    while let Some(cause) = next {
        if let Some(found) = cause.downcast_ref::<io::Error>() {
            return Some(found);
        }
        next = cause.source();
    }
    None
}

fn beginning(text: &str) -> &str {
    text.char_indices().nth(MAX_ERROR).and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}
