//! Answers about images, from the registries that hold them.

use std::collections::HashMap;
use std::error::Error;
use std::future::Future;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use docker_credential::{CredentialRetrievalError, DockerCredential};
use oci_client::Reference;
use oci_client::client::{Client, ClientConfig, ClientProtocol};
use oci_client::manifest::ImageIndexEntry;
use oci_client::secrets::RegistryAuth;
use serde::Serialize;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

use crate::capabilities::{Capabilities, HostCall};

/// The name under which docker keeps the credentials for Docker Hub.
const DOCKER_HUB_CREDENTIALS: &str = "https://index.docker.io/v1/";

/// How registries are reached. Credentials are those of docker: `config.json` in `$DOCKER_CONFIG`, or in `~/.docker`.
#[derive(Debug, Args)]
pub struct Access {
    /// Registry that is asked by plain HTTP, as `host` or `host:port`; can be repeated
    #[arg(long, value_name = "HOST", value_parser = host)]
    insecure_registry: Vec<String>,
    /// Seconds after which a registry that does not answer is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    registry_timeout: u64,
}

/// Asks registries. Every question is asked once, however many images need the answer.
pub struct Registries {
    runtime: Runtime,
    client: Client,
    timeout: Duration,
    answers: Mutex<HashMap<String, Arc<OnceLock<Answer>>>>,
}

type Answer = Result<Vec<u8>, String>;

impl Registries {
    /// Prepares to ask registries; none is reached yet.
    ///
    /// # Errors
    /// When this machine has no room for another thread.
    pub fn new(access: &Access) -> Result<Self> {
        // An error means that a provider is installed already, which will do as well.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let config = ClientConfig {
            protocol: ClientProtocol::HttpsExcept(access.insecure_registry.clone()),
            platform_resolver: Some(Box::new(linux_image)),
            ..ClientConfig::default()
        };
        Ok(Self {
            runtime: runtime.context("cannot start the threads that ask registries")?,
            client: Client::new(config),
            timeout: Duration::from_secs(access.registry_timeout),
            answers: Mutex::default(),
        })
    }

    fn ask(&self, call: &HostCall) -> Answer {
        let image = match call {
            HostCall::OciManifestDigest(image)
            | HostCall::OciManifest(image)
            | HostCall::OciManifestAndConfig(image) => &image.image,
            _ => return Err("container-patch asks registries only, and no cluster".to_owned()),
        };
        let reference: Reference = image
            .parse()
            .map_err(|error| format!("`{image}` is no image that a registry can be asked for: {error}"))?;
        let (auth, unused) = credentials(reference.resolve_registry());
        let answer = self.ask_as(call, &reference, &auth);
        // Whoever has credentials that could not be used wants to know when a registry asks for some.
        answer.map_err(|error| unused.map_or_else(|| error.clone(), |unused| format!("{error} ({unused})")))
    }

    fn ask_as(&self, call: &HostCall, reference: &Reference, auth: &RegistryAuth) -> Answer {
        match call {
            HostCall::OciManifestDigest(_) => {
                let digest = self.wait(reference, self.client.fetch_manifest_digest(reference, auth))?;
                answer(&json!({ "digest": digest }))
            }
            HostCall::OciManifest(_) => {
                let (manifest, _) = self.wait(reference, self.client.pull_manifest(reference, auth))?;
                answer(&manifest)
            }
            _ => {
                let (manifest, digest, config) =
                    self.wait(reference, self.client.pull_manifest_and_config(reference, auth))?;
                let config: Value =
                    serde_json::from_str(&config).map_err(|error| format!("its configuration is no JSON: {error}"))?;
                answer(&json!({"manifest": manifest, "digest": digest, "config": config}))
            }
        }
    }

    fn wait<T, E: Error>(
        &self,
        reference: &Reference,
        question: impl Future<Output = Result<T, E>>,
    ) -> Result<T, String> {
        let within_time = async { tokio::time::timeout(self.timeout, question).await };
        match self.runtime.block_on(within_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(causes(&error)),
            Err(_) => Err(format!("{} did not answer within {} s", reference.registry(), self.timeout.as_secs())),
        }
    }
}

impl Capabilities for Registries {
    fn answer(&self, call: HostCall) -> Answer {
        let key = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        let slot = {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(answers.entry(key).or_default())
        };
        slot.get_or_init(|| self.ask(&call)).clone()
    }
}

/// The host of a registry, with or without the scheme that people put before it.
fn host(text: &str) -> Result<String, String> {
    let host = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    if host.is_empty() || host.contains('/') {
        return Err("write `host` or `host:port`".to_owned());
    }
    Ok(host.to_owned())
}

/// The image of an index that is judged: what a cluster of this machine's architecture would run, else what most clusters
/// would, else any.
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

fn answer(value: &impl Serialize) -> Answer {
    serde_json::to_vec(value).map_err(|error| error.to_string())
}

/// How to ask a registry, and why credentials that there are cannot be used. Without any, a registry is asked as anybody
/// may ask it.
fn credentials(registry: &str) -> (RegistryAuth, Option<String>) {
    let server = if registry == "index.docker.io" { DOCKER_HUB_CREDENTIALS } else { registry };
    match docker_credential::get_credential(server) {
        Ok(DockerCredential::UsernamePassword(user, password)) => (RegistryAuth::Basic(user, password), None),
        Ok(DockerCredential::IdentityToken(_)) => {
            (RegistryAuth::Anonymous, Some("asked without credentials: identity tokens are not supported".to_owned()))
        }
        Err(CredentialRetrievalError::ConfigNotFound | CredentialRetrievalError::NoCredentialConfigured) => {
            (RegistryAuth::Anonymous, None)
        }
        Err(error) => (RegistryAuth::Anonymous, Some(format!("asked without credentials: {error}"))),
    }
}

/// An error with what caused it, down to the first cause.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
