//! The HTTP client for registries: authentication, the bound for concurrent requests, and retries.
//!
//! `oci_client::Client` hides the headers of an error, so it cannot heed `Retry-After`, and it asks for `/v2/` before each request to a
//! registry without authentication. References, manifests and errors are those of `oci_client`.

use std::time::{Duration, Instant};

use http_auth::parser::ChallengeParser;
use oci_client::Reference;
use oci_client::errors::{DigestError, OciDistributionError, OciEnvelope};
use oci_client::secrets::RegistryAuth;
use reqwest::header::{ACCEPT, DATE, HeaderMap, HeaderName, RETRY_AFTER, WWW_AUTHENTICATE};
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::Deserialize;

use super::pace::{Hosts, Refused, Turn};
use super::retry_after::retry_after;
use super::{MEDIA_TYPES, clock, digest};
use crate::cache::BoundedCache;
use crate::error_chain::error_chain;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// The number of retries of one request.
const RETRIES: u32 = 8;

/// The shortest pause before a retry. Without `Retry-After`, it is doubled with each retry.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The most bytes of a response: anyone can name a registry in a manifest. Registries limit manifests to 4 MiB, and configurations
/// are smaller.
const MAX_BODY: usize = 16 << 20;

/// How long the authentication that a registry requires, and a token, are kept. Registries change, and so do permissions. An expired
/// token is renewed before that.
const KEEP_AUTHENTICATION: Duration = Duration::from_secs(10 * 60);

/// The most bytes of challenges and of tokens that are kept. Anyone can name a registry or a repository in a manifest.
const CHALLENGES_BYTES: u64 = 4 << 20;
const TOKENS_BYTES: u64 = 16 << 20;

/// The image that a question is about.
#[derive(Clone, Copy)]
pub(super) struct Subject<'q> {
    pub(super) reference: &'q Reference,
    pub(super) credentials: &'q RegistryAuth,
}

/// The time that a question takes.
#[derive(Debug)]
pub(super) struct Time {
    /// The time that registries may still take. Waiting for a turn and for the end of a pause does not count.
    left: Duration,
    /// The pauses that registries asked for.
    paused: Duration,
}

/// The response to a request.
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    url: String,
    body: Vec<u8>,
}

/// The authentication that a registry requires.
#[derive(Debug, Clone)]
enum Challenge {
    None,
    Basic,
    Bearer { realm: Url, service: Option<String> },
}

enum Authorization {
    None,
    Basic,
    Bearer { token: String, is_new: bool },
}

/// The client. It keeps connections, and a token for each repository.
pub(super) struct Client {
    http: reqwest::Client,
    /// The registries that are asked over plain HTTP.
    insecure: Vec<String>,
    timeout: Duration,
    hosts: Hosts,
    /// By registry.
    challenges: BoundedCache<Challenge>,
    /// By registry and repository.
    tokens: BoundedCache<String>,
}

impl Client {
    pub(super) fn new(insecure: Vec<String>, timeout: Duration, hosts: Hosts) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder().user_agent(concat!("container-patch/", env!("CARGO_PKG_VERSION")));
        let challenges = BoundedCache::new(CHALLENGES_BYTES, Challenge::size, clock(hosts.timer()));
        let tokens = BoundedCache::new(TOKENS_BYTES, String::len, clock(hosts.timer()));
        Ok(Self { http: http.build()?, insecure, timeout, hosts, challenges, tokens })
    }

    /// The time for one question.
    pub(super) fn time(&self) -> Time {
        Time { left: self.timeout, paused: Duration::ZERO }
    }

    /// The digest that a reference points at.
    pub(super) async fn digest(&self, subject: Subject<'_>, time: &mut Time) -> Result<String, String> {
        let path = manifest_path(subject.reference);
        let reply = self.get(Method::HEAD, &path, subject, time).await?;
        let Some(digest) = content_digest(&reply.headers)? else {
            return self.manifest(subject, time).await.map(|(_, digest)| digest);
        };
        reply.checked()?;
        match subject.reference.digest() {
            Some(expected) if digest::differ(expected, &digest).map_err(text)? => {
                Err(text(DigestError::VerificationError { expected: expected.to_owned(), actual: digest }))
            }
            _ => Ok(digest),
        }
    }

    /// The manifest, or the index, that a reference points at, and its digest.
    pub(super) async fn manifest(&self, subject: Subject<'_>, time: &mut Time) -> Result<(Vec<u8>, String), String> {
        let reply = self.get(Method::GET, &manifest_path(subject.reference), subject, time).await?.checked()?;
        let expected = content_digest(&reply.headers)?;
        let digest = digest::verified(&reply.body, &[expected.as_deref(), subject.reference.digest()]);
        Ok((reply.body, digest.map_err(text)?))
    }

    /// A blob of the repository.
    pub(super) async fn blob(&self, digest: &str, subject: Subject<'_>, time: &mut Time) -> Result<Vec<u8>, String> {
        let path = format!("{}/blobs/{digest}", subject.reference.repository());
        let reply = self.get(Method::GET, &path, subject, time).await?.checked()?;
        let expected = content_digest(&reply.headers)?;
        digest::verified(&reply.body, &[expected.as_deref(), Some(digest)]).map_err(text)?;
        Ok(reply.body)
    }

    /// Sends a request to a registry, with the authentication that it requires.
    async fn get(&self, method: Method, path: &str, subject: Subject<'_>, time: &mut Time) -> Result<Reply, String> {
        let registry = subject.reference.resolve_registry();
        let url = self.url(registry, path);
        loop {
            let authorization = self.authorization(subject, time).await?;
            let request = || {
                let request = self.http.request(method.clone(), &url).header(ACCEPT, MEDIA_TYPES.join(", "));
                match &authorization {
                    Authorization::None => request,
                    Authorization::Basic => with_credentials(request, subject.credentials),
                    Authorization::Bearer { token, .. } => request.bearer_auth(token),
                }
            };
            let turn = self.turn(registry).await?;
            let (reply, turn) = self.send(turn, registry, request, time).await?;
            drop(turn);
            match authorization {
                // The token can have expired.
                Authorization::Bearer { token, is_new: false } if reply.status == StatusCode::UNAUTHORIZED => {
                    self.forget(&token, subject.reference);
                }
                _ => return Ok(reply),
            }
        }
    }

    /// The URL of a path at a registry.
    fn url(&self, registry: &str, path: &str) -> String {
        let scheme = if self.insecure.iter().any(|insecure| insecure == registry) { "http" } else { "https" };
        format!("{scheme}://{registry}/v2/{path}")
    }

    async fn authorization(&self, subject: Subject<'_>, time: &mut Time) -> Result<Authorization, String> {
        if let RegistryAuth::Bearer(token) = subject.credentials {
            return Ok(Authorization::Bearer { token: token.clone(), is_new: true });
        }
        match self.challenge(subject.reference.resolve_registry(), time).await? {
            Challenge::Basic if matches!(subject.credentials, RegistryAuth::Basic(..)) => Ok(Authorization::Basic),
            Challenge::None | Challenge::Basic => Ok(Authorization::None),
            Challenge::Bearer { realm, service } => self.token(realm, service.as_deref(), subject, time).await,
        }
    }

    /// The authentication that a registry requires.
    async fn challenge(&self, registry: &str, time: &mut Time) -> Result<Challenge, String> {
        let known = || self.challenges.get(registry);
        if let Some(known) = known() {
            return Ok(known);
        }
        let turn = self.turn(registry).await?;
        // Another question can have found out meanwhile.
        if let Some(known) = known() {
            return Ok(known);
        }
        let url = self.url(registry, "");
        let (reply, _turn) = self.send(turn, registry, || self.http.get(&url), time).await?;
        let challenge = Challenge::read(&reply.headers);
        // A failing registry says nothing about authentication.
        if reply.status.is_success() || reply.status == StatusCode::UNAUTHORIZED {
            self.challenges.insert(registry.to_owned(), KEEP_AUTHENTICATION, challenge.clone());
        }
        Ok(challenge)
    }

    /// A token for pulling from the repository.
    async fn token(
        &self,
        realm: Url,
        service: Option<&str>,
        subject: Subject<'_>,
        time: &mut Time,
    ) -> Result<Authorization, String> {
        let key = repository(subject.reference);
        let known = || self.tokens.get(&key).map(|token| Authorization::Bearer { token, is_new: false });
        if let Some(known) = known() {
            return Ok(known);
        }
        let host = host_and_port(&realm);
        let turn = self.turn(&host).await?;
        if let Some(known) = known() {
            return Ok(known);
        }
        let mut url = realm;
        url.query_pairs_mut().append_pair("scope", &format!("repository:{}:pull", subject.reference.repository()));
        if let Some(service) = service {
            url.query_pairs_mut().append_pair("service", service);
        }
        let request = || with_credentials(self.http.get(url.clone()), subject.credentials);
        let (reply, _turn) = self.send(turn, &host, request, time).await?;
        if reply.status != StatusCode::OK {
            // The registry then refuses the request, with its reason.
            return Ok(Authorization::None);
        }
        let token = serde_json::from_slice::<Token>(&reply.body)
            .map_err(|error| text(OciDistributionError::RegistryTokenDecodeError(error.to_string())))?;
        let Some(token) = token.token.or(token.access_token) else { return Ok(Authorization::None) };
        self.tokens.insert(key, KEEP_AUTHENTICATION, token.clone());
        Ok(Authorization::Bearer { token, is_new: true })
    }

    fn forget(&self, token: &str, reference: &Reference) {
        let key = repository(reference);
        // Another question can have asked for a new one meanwhile.
        if self.tokens.get(&key).is_some_and(|known| known == token) {
            self.tokens.remove(&key);
        }
    }

    async fn turn(&self, host: &str) -> Result<Turn, String> {
        self.hosts.host(host).turn().await.map_err(|refused| self.refused(host, refused))
    }

    /// Sends a request, again if the host limits the rate and asks to wait. The next request to the host is sent when the result
    /// is dropped, so that it knows what this one has found out.
    async fn send(
        &self,
        mut turn: Turn,
        host: &str,
        request: impl Fn() -> RequestBuilder,
        time: &mut Time,
    ) -> Result<(Reply, Turn), String> {
        let mut retry = 0;
        loop {
            let started = Instant::now();
            let outcome = tokio::time::timeout(time.left, Reply::receive(request(), host)).await;
            time.left = time.left.saturating_sub(started.elapsed());
            let reply = match outcome {
                Ok(Ok(reply)) => reply,
                Ok(Err(error)) => {
                    turn.failed();
                    return Err(error);
                }
                Err(_) => {
                    turn.failed();
                    return Err(format!("{host} did not answer within {} s", self.timeout.as_secs()));
                }
            };
            let Some(pause) = self.pause(&reply, retry) else {
                turn.answered();
                return Ok((reply, turn));
            };
            let status = reply.status.as_u16();
            turn.limited(status, pause).map_err(|refused| self.refused(host, refused))?;
            time.paused = time.paused.saturating_add(pause);
            if time.paused > self.hosts.limits().wait {
                return Err(self.refused(host, Refused { status, wait: pause }));
            }
            if retry == RETRIES {
                return Err(format!("{}: it refused {} requests", limit(host, status), RETRIES + 1));
            }
            // A request that waits for a turn must not hold one.
            drop(turn);
            turn = self.turn(host).await?;
            retry += 1;
        }
    }

    /// The pause before a request is sent again. `None` if the reply is the answer.
    fn pause(&self, reply: &Reply, retry: u32) -> Option<Duration> {
        let header = |name| reply.headers.get(name).and_then(|value| value.to_str().ok());
        let asked = header(RETRY_AFTER)
            .and_then(|value| retry_after(value, header(DATE), self.hosts.timer().date()))
            .map(|pause| pause.max(SHORTEST_PAUSE));
        match reply.status {
            StatusCode::TOO_MANY_REQUESTS => Some(asked.unwrap_or(SHORTEST_PAUSE * 2_u32.pow(retry))),
            StatusCode::SERVICE_UNAVAILABLE => asked,
            _ => None,
        }
    }

    fn refused(&self, host: &str, Refused { status, wait }: Refused) -> String {
        let allowed = self.hosts.limits().wait.as_secs();
        // A part of a second counts as one.
        let asked = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        format!("{}: it asks to wait {asked} s; --rate-limit-wait allows {allowed} s in total", limit(host, status))
    }
}

/// The limit of a host, by the HTTP status that it answers with. The policy looks for `rate limit` and `code:`.
fn limit(host: &str, status: u16) -> String {
    match status {
        429 => format!("rate limit of {host} (code: {status})"),
        _ => format!("{host} is overloaded (code: {status})"),
    }
}

impl Reply {
    async fn receive(request: RequestBuilder, host: &str) -> Result<Self, String> {
        let text = |error: reqwest::Error| error_chain(&error);
        let mut response = request.send().await.map_err(text)?;
        let (status, headers, url) = (response.status(), response.headers().clone(), response.url().to_string());
        let mut body = Vec::new();
        while let Some(part) = response.chunk().await.map_err(text)? {
            if body.len() + part.len() > MAX_BODY {
                return Err(format!("the answer of {host} is longer than {} MiB", MAX_BODY >> 20));
            }
            body.extend_from_slice(&part);
        }
        Ok(Self { status, headers, url, body })
    }

    /// The reply, or the error of the registry. The texts of errors are those of policy-server.
    fn checked(self) -> Result<Self, String> {
        let Self { status, url, body, .. } = self;
        let error = match status {
            StatusCode::OK => return Ok(Self { url, body, ..self }),
            StatusCode::UNAUTHORIZED => OciDistributionError::UnauthorizedError { url },
            status if status.is_success() => {
                OciDistributionError::SpecViolationError(format!("Expected HTTP Status 200 OK, got {status} instead"))
            }
            status => match serde_json::from_slice::<OciEnvelope>(&body) {
                Ok(envelope) if status.is_client_error() => OciDistributionError::RegistryError { envelope, url },
                _ => OciDistributionError::ServerError {
                    code: status.as_u16(),
                    url,
                    message: String::from_utf8_lossy(&body).into_owned(),
                },
            },
        };
        Err(text(error))
    }
}

impl Challenge {
    fn size(&self) -> usize {
        match self {
            Self::None | Self::Basic => 0,
            Self::Bearer { realm, service } => realm.as_str().len() + service.as_ref().map_or(0, String::len),
        }
    }

    fn read(headers: &HeaderMap) -> Self {
        let mut found = Self::None;
        for header in headers.get_all(WWW_AUTHENTICATE).iter().filter_map(|value| value.to_str().ok()) {
            for challenge in ChallengeParser::new(header).map_while(Result::ok) {
                let parameter = |name: &str| {
                    let found = challenge.params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name));
                    found.map(|(_, value)| value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("Bearer")
                    && let Some(realm) = parameter("realm").and_then(|realm| Url::parse(&realm).ok())
                {
                    return Self::Bearer { realm, service: parameter("service") };
                }
            }
            // Whatever else it asks for, user and password may be the answer.
            found = Self::Basic;
        }
        found
    }
}

/// The response of a token server (the token specification of the distribution project).
#[derive(Deserialize)]
struct Token {
    token: Option<String>,
    access_token: Option<String>,
}

fn with_credentials(request: RequestBuilder, credentials: &RegistryAuth) -> RequestBuilder {
    match credentials {
        RegistryAuth::Anonymous => request,
        RegistryAuth::Basic(user, password) => request.basic_auth(user, Some(password)),
        RegistryAuth::Bearer(token) => request.bearer_auth(token),
    }
}

fn manifest_path(reference: &Reference) -> String {
    let version = reference.digest().or(reference.tag()).unwrap_or("latest");
    format!("{}/manifests/{version}", reference.repository())
}

fn repository(reference: &Reference) -> String {
    format!("{}/{}", reference.resolve_registry(), reference.repository())
}

fn host_and_port(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// The digest of the content, as the registry says. An empty header counts as a missing one.
fn content_digest(headers: &HeaderMap) -> Result<Option<String>, String> {
    let Some(value) = headers.get(CONTENT_DIGEST) else { return Ok(None) };
    let digest = value.to_str().map_err(|error| text(DigestError::InvalidHeader(error)))?;
    Ok(Some(digest.to_owned()).filter(|digest| !digest.is_empty()))
}

fn text(error: impl Into<OciDistributionError>) -> String {
    error_chain(&error.into())
}
