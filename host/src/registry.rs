//! Answers about images, from their registries.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use kubewarden_policy_sdk::host_capabilities::oci::ManifestDigestResponse;
use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::errors::OciDistributionError;
use oci_client::manifest::{ImageIndexEntry, OciImageManifest, OciManifest};
use oci_client::secrets::RegistryAuth;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::cache::Cache;
use crate::capabilities::{Answer, answer};
use crate::error_chain::error_chain;

/// The key of Docker Hub in docker's credentials.
const DOCKER_HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";

/// Part of the error of a TLS handshake that is not answered in TLS.
const NO_TLS: &str = "received corrupt message of type InvalidContentType";

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
}

/// The client for registries. It keeps connections, and the token for each repository. The library asks for `/v2/` whenever it has no
/// token, so a registry that requires no authentication gets two requests instead of one.
pub struct Registries {
    runtime: Runtime,
    client: Client,
    timeout: Duration,
    /// The credentials for each registry. They are read once, because a credential helper is a program that has to start.
    credentials: Cache<RegistryAuth>,
    /// The manifests so far with their digests, by reference with digest. Their content cannot change.
    manifests: Mutex<HashMap<String, (OciManifest, String)>>,
}

impl Registries {
    /// Prepares the client. No registry is reached before the first question.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn new(options: &RegistryOptions) -> Result<Self> {
        // An error means that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(options.insecure_registry.clone()),
            ..ClientConfig::default()
        };
        Ok(Self {
            runtime: runtime.context("cannot start the threads that ask registries")?,
            client: Client::new(config),
            timeout: Duration::from_secs(options.registry_timeout),
            credentials: Cache::default(),
            manifests: Mutex::default(),
        })
    }

    /// `oci/v1/manifest_digest`: the digest that a reference points at.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest_digest(&self, image: &str) -> Answer {
        self.ask(image, |reference, auth| {
            let digest = self.wait(reference, self.client.fetch_manifest_digest(reference, auth))?;
            answer(&ManifestDigestResponse { digest })
        })
    }

    /// `oci/v1/oci_manifest`: the manifest, or the index, that a reference points at.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest(&self, image: &str) -> Answer {
        self.ask(image, |reference, auth| {
            let (manifest, _) = self.wait(reference, self.pull_manifest(reference, auth))?;
            answer(&manifest)
        })
    }

    /// `oci/v1/oci_manifest_config`: manifest, digest and configuration of an image.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn manifest_and_config(&self, image: &str) -> Answer {
        self.ask(image, |reference, auth| {
            let (manifest, digest, config) = self.wait(reference, self.pull_image(reference, auth))?;
            let config: Value = serde_json::from_slice(&config)
                .map_err(|error| format!("invalid JSON in the configuration: {error}"))?;
            answer(&json!({"manifest": manifest, "digest": digest, "config": config}))
        })
    }

    /// The manifest, or the index, that a reference points at, with its digest.
    async fn pull_manifest(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<(OciManifest, String), OciDistributionError> {
        let known = || self.manifests.lock().unwrap_or_else(PoisonError::into_inner);
        let key = |digest: &str| reference.clone_with_digest(digest.to_owned()).whole();
        if let Some(known) = reference.digest().and_then(|digest| known().get(&key(digest)).cloned()) {
            return Ok(known);
        }
        // The library compares the content with the digest.
        let answer = self.client.pull_manifest(reference, auth).await?;
        known().insert(key(reference.digest().unwrap_or(&answer.1)), answer.clone());
        Ok(answer)
    }

    /// The manifest of the image that a reference points at, with its digest and its configuration. This is what
    /// `Client::pull_manifest_and_config` does, but an index that is known is not pulled again.
    async fn pull_image(
        &self,
        reference: &Reference,
        auth: &RegistryAuth,
    ) -> Result<(OciImageManifest, String, Vec<u8>), OciDistributionError> {
        let not_found = |cause: &str| OciDistributionError::ImageManifestNotFoundError(cause.to_owned());
        let (manifest, digest) = match self.pull_manifest(reference, auth).await? {
            (OciManifest::Image(manifest), digest) => (manifest, digest),
            (OciManifest::ImageIndex(index), _) => {
                let chosen = linux_image(&index.manifests).ok_or_else(|| {
                    not_found("no entry found in image index manifest matching client's default platform")
                })?;
                match self.pull_manifest(&reference.clone_with_digest(chosen.clone()), auth).await? {
                    (OciManifest::Image(manifest), _) => (manifest, chosen),
                    (OciManifest::ImageIndex(_), _) => return Err(not_found("received Image Index manifest instead")),
                }
            }
        };
        let mut config = Vec::new();
        self.client.pull_blob(reference, &manifest.config, &mut config).await?;
        Ok((manifest, digest, config))
    }

    fn ask(&self, image: &str, question: impl FnOnce(&Reference, &RegistryAuth) -> Answer) -> Answer {
        let reference: Reference =
            image.parse().map_err(|error| format!("invalid image reference `{image}`: {error}"))?;
        let registry = reference.resolve_registry();
        let credentials = self.credentials.get_or_compute(registry, || credentials(registry));
        let (auth, problem) = match credentials {
            Ok(auth) => (auth, None),
            Err(problem) => (RegistryAuth::Anonymous, Some(problem)),
        };
        // A registry may refuse the question because the credentials could not be used.
        question(&reference, &auth)
            .map_err(|error| problem.map_or_else(|| error.clone(), |problem| format!("{error} ({problem})")))
    }

    fn wait<T, E: Error>(
        &self,
        reference: &Reference,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        let within_time = async { tokio::time::timeout(self.timeout, question).await };
        match self.runtime.block_on(within_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(with_advice(error_chain(&error), reference.resolve_registry())),
            Err(_) => Err(format!("{} did not answer within {} s", reference.registry(), self.timeout.as_secs())),
        }
    }
}

/// The error of a registry, or advice for one that answers a TLS handshake in plain HTTP.
fn with_advice(error: String, registry: &str) -> String {
    if error.contains(NO_TLS) {
        return format!(
            "{registry} does not answer over TLS; if it uses plain HTTP, set --insecure-registry {registry}"
        );
    }
    error
}

/// Reads the host of a registry, with or without a scheme before it.
pub(crate) fn host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err("expected `host` or `host:port`".to_owned());
    }
    Ok(host.to_owned())
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
