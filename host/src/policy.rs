//! The policy module, and how it is run: as policy-server runs it, in a fresh instance per evaluation.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow, bail};
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Config, Engine};
use wasmtime_provider::{WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::capabilities::{AllowedResources, Capabilities, ContextAwareResource, host_call};

/// The module that this binary carries, and its metadata.
const MODULE: &[u8] = include_bytes!(env!("POLICY_MODULE"));
const METADATA: &str = include_str!(env!("POLICY_METADATA"));

/// The custom section in which kwctl puts the metadata of a module.
const METADATA_SECTION: &str = "io.kubewarden.metadata";

/// A compiled policy, ready to be instantiated.
pub struct Policy {
    module: WasmtimeEngineProviderPre,
    metadata: Metadata,
}

/// The metadata that matters to a host.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    context_aware_resources: Vec<ContextAwareResource>,
}

impl Policy {
    /// The policy that this binary carries.
    ///
    /// # Errors
    /// When the module does not compile on this machine.
    pub fn embedded() -> Result<Self> {
        let metadata = yaml_serde::from_str(METADATA).context("cannot read the metadata in this binary")?;
        Self::compile(MODULE, metadata).context("cannot load the policy in this binary")
    }

    /// A policy from a file, annotated or not.
    ///
    /// # Errors
    /// When the file cannot be read, or is no waPC module.
    pub fn from_file(path: &Path) -> Result<Self> {
        // kwctl also knows policies by URL; of those a local file can be had here.
        let path = path.to_str().and_then(|path| path.strip_prefix("file://")).map_or(path, Path::new);
        let name = path.display();
        let module = std::fs::read(path).with_context(|| format!("cannot read the policy {name}"))?;
        let metadata = annotated_metadata(&module).with_context(|| format!("cannot read the metadata of {name}"))?;
        Self::compile(&module, metadata.unwrap_or_default()).with_context(|| format!("cannot load the policy {name}"))
    }

    /// A policy from a file where one is named, else the one that this binary carries.
    ///
    /// # Errors
    /// As the policy is loaded.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        path.map_or_else(Self::embedded, Self::from_file)
    }

    fn compile(module: &[u8], metadata: Metadata) -> Result<Self> {
        let mut config = Config::new();
        // Else the module's data is kept in a sealed memory file, and under load Linux now and then refuses to seal one
        // ("cannot add seals to the memfd"). Copying a megabyte per instance takes a fraction of a millisecond.
        config.memory_init_cow(false);
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:#}"))?;
        let module = WasmtimeEngineProviderBuilder::new().engine(engine).module_bytes(module).build_pre()?;
        Ok(Self { module, metadata })
    }

    /// The kinds of resources that the policy declares to read.
    #[must_use]
    pub fn declared_resources(&self) -> AllowedResources {
        self.metadata.context_aware_resources.clone().into()
    }

    /// Calls a function of the module in a fresh instance.
    ///
    /// # Errors
    /// When the module cannot be instantiated, traps, or answers with an error.
    pub fn call(
        &self,
        function: &str,
        payload: &[u8],
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
    ) -> Result<Vec<u8>> {
        let (capabilities, allowed) = (Arc::clone(capabilities), allowed.clone());
        let callback = move |_: u64, binding: &str, namespace: &str, operation: &str, payload: &[u8]| {
            if binding != "kubewarden" {
                return Err(format!("unknown binding: {binding}").into());
            }
            if namespace == "tracing" {
                return Ok(Vec::new());
            }
            let call = host_call(namespace, operation, payload, &allowed)?;
            Ok(capabilities.answer(call)?)
        };
        let instance = self.module.rehydrate(None)?;
        let host = WapcHost::new(Box::new(instance), Some(Box::new(callback)))?;
        Ok(host.call(function, payload)?)
    }

    /// Asks the policy about its settings.
    ///
    /// # Errors
    /// With what the policy says of settings that are not valid.
    pub fn validate_settings(&self, settings: &Value) -> Result<()> {
        let nothing: Arc<dyn Capabilities> = Arc::new(crate::capabilities::Nothing);
        let payload = serde_json::to_vec(settings)?;
        let response = self.call("validate_settings", &payload, &nothing, &AllowedResources::default())?;
        let response: SettingsValidationResponse =
            serde_json::from_slice(&response).context("the policy's answer about its settings cannot be read")?;
        if !response.valid {
            bail!("{}", response.message.unwrap_or_else(|| "the policy does not say why".to_owned()));
        }
        Ok(())
    }

    /// Judges a request.
    ///
    /// # Errors
    /// When the policy does not answer, or its answer cannot be read.
    pub fn validate(
        &self,
        request: &AdmissionRequest,
        settings: &Value,
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
    ) -> Result<AdmissionResponse> {
        let payload = serde_json::to_vec(&json!({"request": request, "settings": settings}))?;
        let response = self.call("validate", &payload, capabilities, allowed)?;
        let response: ValidationResponse =
            serde_json::from_slice(&response).context("the policy's answer cannot be read")?;
        AdmissionResponse::of_policy(request, response)
    }
}

fn annotated_metadata(module: &[u8]) -> Result<Option<Metadata>> {
    for payload in wasmparser::Parser::new(0).parse_all(module) {
        if let wasmparser::Payload::CustomSection(section) = payload?
            && section.name() == METADATA_SECTION
        {
            return Ok(Some(serde_json::from_slice(section.data())?));
        }
    }
    Ok(None)
}
