//! Answers about images, from their registries.

mod client;
pub(crate) mod digest;
mod pace;
mod retry_after;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use kubewarden_policy_sdk::host_capabilities::oci::ManifestDigestResponse;
use oci_client::Reference;
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{
    IMAGE_MANIFEST_LIST_MEDIA_TYPE, IMAGE_MANIFEST_MEDIA_TYPE, ImageIndexEntry, OCI_IMAGE_INDEX_MEDIA_TYPE,
    OCI_IMAGE_MEDIA_TYPE, OciImageManifest, OciManifest, Versioned,
};
use oci_client::secrets::RegistryAuth;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use self::client::{Client, Subject, Time};
use self::pace::{Hosts, Limits, SystemTimer, Timer};
use crate::cache::{AnyCache, BoundedCache, Cache, Clock};
use crate::capabilities::{Answer, answer};
use crate::error_chain::error_chain;

/// The key of Docker Hub in docker's credentials.
const DOCKER_HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";

/// Part of the error of a TLS handshake that is not answered in TLS.
const NO_TLS: &str = "received corrupt message of type InvalidContentType";

/// The media types of manifests and indexes.
const MEDIA_TYPES: [&str; 4] =
    [IMAGE_MANIFEST_MEDIA_TYPE, IMAGE_MANIFEST_LIST_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE];

/// The time of how many requests a service gives to a question: a question about a tag may need a token, an index, a manifest and a
/// configuration, and rarely more than one of them is slow.
const REQUESTS_OF_QUESTION: u32 = 3;

/// How registries are reached. Credentials are those of docker, from `config.json` in `$DOCKER_CONFIG` or `~/.docker`.
#[derive(Debug, Args)]
#[group(skip)]
pub struct RegistryOptions {
    /// Registry to ask over plain HTTP, as `host` or `host:port`; can be repeated
    #[arg(
        long,
        value_name = "HOST",
        value_parser = host,
        env = "CONTAINER_PATCH_INSECURE_REGISTRY",
        hide_env_values = true,
        value_delimiter = ','
    )]
    insecure_registry: Vec<String>,
    /// Seconds to wait for the answer of a registry
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    registry_timeout: u64,
    /// Concurrent requests to one registry
    #[arg(long, value_name = "NUMBER", default_value_t = 16, value_parser = concurrency)]
    registry_concurrency: usize,
    /// Seconds to wait in total while a registry limits the rate of requests (status 429, or 503 with Retry-After)
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(..=3600))]
    rate_limit_wait: u64,
}

/// How long a service keeps the credentials for a registry. Cloud registries have short-lived ones.
const KEEP_CREDENTIALS: Duration = Duration::from_secs(60);

/// How long a service keeps the manifest of a digest. Its content cannot change.
const KEEP_MANIFEST: Duration = Duration::from_secs(24 * 60 * 60);

/// The most bytes of credentials and of manifests that a service keeps.
const CREDENTIALS_BYTES: u64 = 4 << 20;
const MANIFESTS_BYTES: u64 = 32 << 20;

/// Asks registries. Connections, tokens and manifests are kept.
pub struct Registries {
    runtime: Runtime,
    client: Client,
    /// The credentials for each registry. They are kept, because a credential helper is a program that has to start.
    credentials: AnyCache<RegistryAuth>,
    /// Manifests with their digests, by reference with digest. Their content cannot change.
    manifests: BoundedCache<Arc<Manifest>>,
    /// The time for one question, with all of its requests and with waiting for other questions to the host. A service must not wait
    /// longer, because requesters may name a host that never answers in many questions.
    limit: Option<Duration>,
}

/// A manifest or an index.
struct Manifest {
    content: OciManifest,
    digest: String,
    /// The bytes of its text. The parsed content takes about as many.
    size: usize,
}

impl Registries {
    /// Prepares the client for a command that ends: manifests and credentials are kept. No registry is reached before the first
    /// question.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn new(options: &RegistryOptions) -> Result<Self> {
        Self::with_timer(options, Arc::new(SystemTimer::new()))
    }

    /// Prepares the client for a service, which runs for months: manifests are kept in limited memory, and credentials for a
    /// limited time.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn for_service(options: &RegistryOptions) -> Result<Self> {
        Self::for_service_with_timer(options, Arc::new(SystemTimer::new()))
    }

    fn with_timer(options: &RegistryOptions, timer: Arc<dyn Timer>) -> Result<Self> {
        let manifests = manifests(u64::MAX, clock(&timer));
        Self::with_caches(options, timer, AnyCache::Unlimited(Cache::default()), manifests)
    }

    fn for_service_with_timer(options: &RegistryOptions, timer: Arc<dyn Timer>) -> Result<Self> {
        let credentials = BoundedCache::new(CREDENTIALS_BYTES, size_of_credentials, clock(&timer));
        let manifests = manifests(MANIFESTS_BYTES, clock(&timer));
        let registries = Self::with_caches(options, timer, AnyCache::Bounded(credentials), manifests)?;
        let limit = Duration::from_secs(options.registry_timeout) * REQUESTS_OF_QUESTION;
        Ok(Self { limit: Some(limit), ..registries })
    }

    fn with_caches(
        options: &RegistryOptions,
        timer: Arc<dyn Timer>,
        credentials: AnyCache<RegistryAuth>,
        manifests: BoundedCache<Arc<Manifest>>,
    ) -> Result<Self> {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let limits =
            Limits { concurrency: options.registry_concurrency, wait: Duration::from_secs(options.rate_limit_wait) };
        let timeout = Duration::from_secs(options.registry_timeout);
        let client = Client::new(options.insecure_registry.clone(), timeout, Hosts::new(limits, timer));
        Ok(Self {
            runtime: runtime.context("cannot start the threads that ask registries")?,
            client: client.context("cannot create the client for registries")?,
            credentials,
            manifests,
            limit: None,
        })
    }

    /// `oci/v1/manifest_digest`: the digest that a reference points at.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest_digest(&self, image: &str) -> Answer {
        self.ask(image, |subject| {
            let digest = self.wait_for(self.client.digest(subject, &mut self.client.time()))?;
            answer(&ManifestDigestResponse { digest })
        })
    }

    /// `oci/v1/oci_manifest`: the manifest, or the index, that a reference points at.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest(&self, image: &str) -> Answer {
        self.ask(image, |subject| {
            let manifest = self.wait_for(self.pull_manifest(subject, &mut self.client.time()))?;
            answer(&manifest.content)
        })
    }

    /// `oci/v1/oci_manifest_config`: manifest, digest and configuration of an image.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest_and_config(&self, image: &str) -> Answer {
        self.ask(image, |subject| {
            let (manifest, digest, config) = self.wait_for(self.pull_image(subject))?;
            let config: Value = serde_json::from_slice(&config)
                .map_err(|error| format!("invalid JSON in the configuration: {error}"))?;
            answer(&json!({"manifest": manifest, "digest": digest, "config": config}))
        })
    }

    /// The manifest, or the index, that a reference points at, with its digest.
    async fn pull_manifest(&self, subject: Subject<'_>, time: &mut Time) -> Result<Arc<Manifest>, String> {
        let reference = subject.reference;
        let key = |digest: &str| reference.clone_with_digest(digest.to_owned()).whole();
        if let Some(known) = reference.digest().and_then(|digest| self.manifests.get(&key(digest))) {
            return Ok(known);
        }
        let (text, digest) = self.client.manifest(subject, time).await?;
        let content = parse_manifest(&text).map_err(|error| error_chain(&error))?;
        let manifest = Arc::new(Manifest { content, digest, size: text.len() });
        let key = key(reference.digest().unwrap_or(&manifest.digest));
        self.manifests.insert(key, KEEP_MANIFEST, Arc::clone(&manifest));
        Ok(manifest)
    }

    /// The manifest of the image that a reference points at, with its digest and its configuration. Of an index, it is the image for
    /// the platform of this machine.
    async fn pull_image(&self, subject: Subject<'_>) -> Result<(OciImageManifest, String, Vec<u8>), String> {
        let not_found = |cause: &str| error_chain(&OciDistributionError::ImageManifestNotFoundError(cause.to_owned()));
        let time = &mut self.client.time();
        let manifest = self.pull_manifest(subject, time).await?;
        let (manifest, digest) = match &manifest.content {
            OciManifest::Image(image) => (image.clone(), manifest.digest.clone()),
            OciManifest::ImageIndex(index) => {
                let chosen = linux_image(&index.manifests).ok_or_else(|| {
                    not_found("no entry found in image index manifest matching client's default platform")
                })?;
                let reference = &subject.reference.clone_with_digest(chosen.clone());
                match &self.pull_manifest(Subject { reference, ..subject }, time).await?.content {
                    OciManifest::Image(image) => (image.clone(), chosen),
                    OciManifest::ImageIndex(_) => return Err(not_found("received Image Index manifest instead")),
                }
            }
        };
        let config = self.client.blob(&manifest.config.digest, subject, time).await?;
        Ok((manifest, digest, config))
    }

    /// Waits for the answer to a question, but not longer than the limit.
    fn wait_for<T>(&self, answer: impl Future<Output = Result<T, String>>) -> Result<T, String> {
        let Some(limit) = self.limit else { return self.runtime.block_on(answer) };
        let limited = async { tokio::time::timeout(limit, answer).await };
        let answer = self.runtime.block_on(limited);
        answer.unwrap_or_else(|_| Err(format!("no answer within {} s", limit.as_secs())))
    }

    fn ask(&self, image: &str, question: impl FnOnce(Subject<'_>) -> Answer) -> Answer {
        let reference: Reference =
            image.parse().map_err(|error| format!("invalid image reference `{image}`: {error}"))?;
        let registry = reference.resolve_registry();
        let credentials = self.credentials.get_or_compute(registry, || KEEP_CREDENTIALS, || credentials(registry));
        let (credentials, problem) = match credentials {
            Ok(credentials) => (credentials, None),
            Err(problem) => (RegistryAuth::Anonymous, Some(problem)),
        };
        question(Subject { reference: &reference, credentials: &credentials })
            .map_err(|error| with_advice(error, registry))
            // A registry may refuse the question because the credentials could not be used.
            .map_err(|error| problem.map_or_else(|| error.clone(), |problem| format!("{error} ({problem})")))
    }
}

fn clock(timer: &Arc<dyn Timer>) -> Clock {
    let timer = Arc::clone(timer);
    Arc::new(move || timer.now())
}

fn manifests(bytes: u64, clock: Clock) -> BoundedCache<Arc<Manifest>> {
    BoundedCache::new(bytes, |manifest| manifest.size, clock)
}

fn size_of_credentials(credentials: &RegistryAuth) -> usize {
    match credentials {
        RegistryAuth::Anonymous => 0,
        RegistryAuth::Basic(user, password) => user.len() + password.len(),
        RegistryAuth::Bearer(token) => token.len(),
    }
}

/// Reads a manifest or an index of schema version 2.
fn parse_manifest(text: &[u8]) -> Result<OciManifest, OciDistributionError> {
    let versioned: Versioned =
        serde_json::from_slice(text).map_err(|error| OciDistributionError::VersionedParsingError(error.to_string()))?;
    if versioned.schema_version != 2 {
        return Err(OciDistributionError::UnsupportedSchemaVersionError(versioned.schema_version));
    }
    if let Some(media_type) = versioned.media_type.filter(|media_type| !MEDIA_TYPES.contains(&media_type.as_str())) {
        return Err(OciDistributionError::UnsupportedMediaTypeError(media_type));
    }
    serde_json::from_slice(text).map_err(|error| OciDistributionError::ManifestParsingError(error.to_string()))
}

/// The most characters of an error. A registry chooses the length of its error message.
const MAX_ERROR: usize = 2_000;

/// The beginning of the error of a registry, or advice for one that answers a TLS handshake in plain HTTP.
fn with_advice(error: String, registry: &str) -> String {
    if error.contains(NO_TLS) {
        return format!(
            "{registry} does not answer over TLS; if it uses plain HTTP, set --insecure-registry {registry}"
        );
    }
    let end = error.char_indices().nth(MAX_ERROR).and_then(|(end, _)| error.get(..end));
    end.map(|beginning| format!("{beginning}…")).unwrap_or(error)
}

/// Reads the host of a registry, with or without a scheme before it.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err("expected `host` or `host:port`".to_owned());
    }
    Ok(host.to_owned())
}

fn concurrency(text: &str) -> Result<usize, String> {
    let allowed = text.parse().ok().filter(|number| (1..=256).contains(number));
    allowed.ok_or_else(|| "expected a number from 1 to 256".to_owned())
}

/// The image of an index to judge: the Linux image for the architecture of this machine, else the one for amd64, else any.
fn linux_image(entries: &[ImageIndexEntry]) -> Option<String> {
    let architecture = match std::env::consts::ARCH {
        "aarch64" => "arm64",
        "x86_64" => "amd64",
        other => other,
    };
    let on = |wanted: &str| {
        entries.iter().find(|entry| {
            let platform = entry.platform.as_ref();
            platform.is_some_and(|platform| {
                platform.os.to_string() == "linux" && (wanted.is_empty() || platform.architecture.to_string() == wanted)
            })
        })
    };
    on(architecture).or_else(|| on("amd64")).or_else(|| on("")).or(entries.first()).map(|entry| entry.digest.clone())
}

/// The file with docker's credentials.
fn docker_config() -> Option<PathBuf> {
    let folder = std::env::var_os("DOCKER_CONFIG").map(PathBuf::from);
    let folder = folder.or_else(|| std::env::home_dir().map(|home| home.join(".docker")));
    folder.map(|folder| folder.join("config.json"))
}

/// The credentials for a registry; without any, it is asked anonymously.
///
/// # Errors
/// Why existing credentials cannot be used. The registry is then asked anonymously, too.
fn credentials(registry: &str) -> Result<RegistryAuth, String> {
    let server = if registry == "index.docker.io" { DOCKER_HUB_CREDENTIALS } else { registry };
    match docker_credential::get_credential(server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => Ok(RegistryAuth::Basic(user, password)),
        Ok(DockerCredential::IdentityToken(_)) => {
            Err("asked without credentials: identity tokens are not supported".to_owned())
        }
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::NoCredentialConfigured) => {
            Ok(RegistryAuth::Anonymous)
        }
        // The crate reports a missing file like an unreadable one.
        Err(CredentialRetrievalError::ConfigReadError) if !docker_config().is_some_and(|file| file.exists()) => {
            Ok(RegistryAuth::Anonymous)
        }
        Err(error) => Err(format!("asked without credentials: {error}")),
    }
}
