//! The policy module. As in policy-server, each evaluation runs in a fresh instance.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use kubewarden_policy_sdk::response::ValidationResponse;
use kubewarden_policy_sdk::settings::SettingsValidationResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Cache, CacheConfig, Config, Engine, Module};
use wasmtime_provider::{WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::capabilities::{AllowedResources, Capabilities, ContextAwareResource, host_call};
use crate::registry::digest::verified;
use crate::terminal::printable;
use crate::timeout::{Clock, Interrupted, Timeout};

/// The module in this binary, and its metadata.
const MODULE: &[u8] = include_bytes!(env!("POLICY_MODULE"));
const METADATA: &str = include_str!(env!("POLICY_METADATA"));

/// The custom section of a module in which kwctl writes the metadata.
const METADATA_SECTION: &str = "io.kubewarden.metadata";

/// Whether guests can be interrupted. The library sets the deadline after it has created the instance. Only Linux has memory
/// files; elsewhere code of the instance copies its data, and would be interrupted at once.
const CAN_INTERRUPT: bool = cfg!(target_os = "linux");

/// The number of retries for creating a memory file.
const SEALING_TRIES: usize = 16;

/// Which policy runs.
#[derive(Debug, Args)]
#[group(skip)]
pub(crate) struct PolicyOptions {
    /// Policy, a WebAssembly module [default: the one in this binary]
    #[arg(long, value_name = "FILE.wasm")]
    policy: Option<PathBuf>,
}

impl PolicyOptions {
    /// Loads the policy.
    ///
    /// # Errors
    /// When it cannot be loaded.
    pub(crate) fn load(&self) -> Result<Policy> {
        Policy::load(self.policy.as_deref())
    }

    /// The SHA-256 digest of the module.
    ///
    /// # Errors
    /// When its file cannot be read.
    pub(crate) fn digest(&self) -> Result<String> {
        let module = self.policy.as_deref().map(read_module).transpose()?;
        Ok(verified(module.as_deref().unwrap_or(MODULE), &[])?)
    }

    /// Whether it is the one in this binary.
    pub(crate) fn is_embedded(&self) -> bool {
        self.policy.is_none()
    }
}

/// A compiled policy, ready to be instantiated.
pub struct Policy {
    module: WasmtimeEngineProviderPre,
    metadata: Metadata,
    clock: Clock,
}

/// The part of the metadata for hosts.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    context_aware_resources: Vec<ContextAwareResource>,
}

/// What the policy says about its settings.
#[derive(Debug)]
pub struct SettingsReport {
    /// Whether they are valid.
    pub valid: bool,
    /// The warnings about valid settings, or the problems of invalid ones, each with the path of its value.
    pub lines: Vec<String>,
}

impl Policy {
    /// The policy in this binary.
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
    /// When the file cannot be read, or is not a waPC module.
    pub fn from_file(path: &Path) -> Result<Self> {
        let module = read_module(path)?;
        let name = path.display();
        let metadata = annotated_metadata(&module).with_context(|| format!("cannot read the metadata of {name}"))?;
        Self::compile(&module, metadata.unwrap_or_default()).with_context(|| format!("cannot load the policy {name}"))
    }

    /// The policy of a file, or the one in this binary.
    ///
    /// # Errors
    /// When the policy cannot be loaded.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        path.map_or_else(Self::embedded, Self::from_file)
    }

    fn compile(module: &[u8], metadata: Metadata) -> Result<Self> {
        let mut config = Config::new();
        config.epoch_interruption(CAN_INTERRUPT);
        config.memory_init_cow(CAN_INTERRUPT);
        // Compiling takes longer than judging. Without a cache folder the module is compiled each time.
        config.cache(Cache::new(CacheConfig::new()).ok());
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:#}"))?;
        let clock = Clock::new(engine.clone(), Timeout::OF_POLICY_SERVER);
        let module = Module::new(&engine, module).map_err(|error| anyhow!("{error:#}"))?;
        seal_data(&module)?;
        let module = WasmtimeEngineProviderBuilder::new().engine(engine).module(module).build_pre()?;
        Ok(Self { module, metadata, clock })
    }

    /// The policy with another timeout than that of policy-server.
    #[must_use]
    pub fn with_timeout(mut self, timeout: Timeout) -> Self {
        self.clock = self.clock.with_timeout(timeout);
        self
    }

    /// The clock that interrupts evaluations. Without a started clock, evaluations are not interrupted.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The kinds of resources that the policy declares in its metadata.
    #[must_use]
    pub fn declared_resources(&self) -> AllowedResources {
        self.metadata.context_aware_resources.clone().into()
    }

    /// Calls a function of the module in a fresh instance.
    ///
    /// # Errors
    /// When the module cannot be instantiated, traps, or returns an error; [`Interrupted`] when it takes too long.
    pub fn call(
        &self,
        function: &str,
        payload: &[u8],
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
    ) -> Result<Vec<u8>> {
        self.call_with_log(function, payload, capabilities, allowed, print_log)
    }

    fn call_with_log(
        &self,
        function: &str,
        payload: &[u8],
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
        log: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<Vec<u8>> {
        let (capabilities, allowed, clock) = (Arc::clone(capabilities), allowed.clone(), self.clock.clone());
        let callback = move |_: u64, binding: &str, namespace: &str, operation: &str, payload: &[u8]| {
            if binding != "kubewarden" {
                return Err(format!("unknown binding: {binding}").into());
            }
            if namespace == "tracing" {
                log(payload);
                return Ok(Vec::new());
            }
            let call = host_call(namespace, operation, payload, &allowed)?;
            let _wait = clock.wait_for_host();
            Ok(capabilities.answer(call)?)
        };
        let instance = self.module.rehydrate(Some(self.clock.timeout().deadlines()))?;
        let answer =
            WapcHost::new(Box::new(instance), Some(Box::new(callback))).and_then(|host| host.call(function, payload));
        answer.map_err(|error| if Interrupted::is_in(&error) { Interrupted.into() } else { error.into() })
    }

    /// Asks the policy about its settings, and prints nothing.
    ///
    /// # Errors
    /// When the policy does not answer, or its answer is invalid.
    pub fn check_settings(&self, settings: &Value) -> Result<SettingsReport> {
        // The policy also logs the warnings of its answer.
        self.ask_about_settings(settings, |_| {})
    }

    fn ask_about_settings(
        &self,
        settings: &Value,
        log: impl Fn(&[u8]) + Send + Sync + 'static,
    ) -> Result<SettingsReport> {
        let nothing: Arc<dyn Capabilities> = Arc::new(crate::capabilities::Nothing);
        let payload = serde_json::to_vec(settings)?;
        let response =
            self.call_with_log("validate_settings", &payload, &nothing, &AllowedResources::default(), log)?;
        let response: SettingsValidationResponse =
            serde_json::from_slice(&response).context("invalid answer of the policy about its settings")?;
        let message = response.message.unwrap_or_default();
        let lines = message.lines().filter(|line| !line.is_empty()).map(str::to_owned);
        Ok(SettingsReport { valid: response.valid, lines: lines.collect() })
    }

    /// Asks the policy about its settings. Its warnings about valid settings are printed to standard error.
    ///
    /// # Errors
    /// With the policy's message about invalid settings.
    pub fn validate_settings(&self, settings: &Value) -> Result<()> {
        let SettingsReport { valid, lines } = self.ask_about_settings(settings, print_log)?;
        match (valid, lines.is_empty()) {
            (true, _) => lines.iter().for_each(|line| print_once(&printable(&format!("Warning: settings: {line}")))),
            (false, true) => bail!("the policy gives no reason"),
            (false, false) => bail!("{}", lines.join("\n")),
        }
        Ok(())
    }

    /// Judges a request.
    ///
    /// # Errors
    /// When the policy does not answer, or its answer is invalid.
    pub fn validate(
        &self,
        request: &AdmissionRequest,
        settings: &Value,
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
    ) -> Result<AdmissionResponse> {
        let (response, log) = self.validate_with_log(request, settings, capabilities, allowed)?;
        log.iter().for_each(LogLine::print);
        Ok(response)
    }

    /// Judges a request. Returns the response and what the policy logs.
    pub(crate) fn validate_with_log(
        &self,
        request: &AdmissionRequest,
        settings: &Value,
        capabilities: &Arc<dyn Capabilities>,
        allowed: &AllowedResources,
    ) -> Result<(AdmissionResponse, Vec<LogLine>)> {
        let payload = serde_json::to_vec(&json!({"request": request, "settings": settings}))?;
        let lines: Arc<Mutex<Vec<LogLine>>> = Arc::default();
        let log = {
            let lines = Arc::clone(&lines);
            move |payload: &[u8]| lines.lock().unwrap_or_else(PoisonError::into_inner).extend(log_line(payload))
        };
        let response = self.call_with_log("validate", &payload, capabilities, allowed, log)?;
        let response: ValidationResponse = serde_json::from_slice(&response).context("invalid answer of the policy")?;
        let lines = std::mem::take(&mut *lines.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((AdmissionResponse::of_policy(request, response)?, lines))
    }
}

/// A warning or error from the log of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct LogLine {
    /// The level, as it is printed.
    pub(crate) level: &'static str,
    /// The message.
    pub(crate) message: String,
}

impl LogLine {
    /// Prints the line to standard error, once.
    pub(crate) fn print(&self) {
        print_once(&printable(&format!("{}: {}", self.level, self.message)));
    }
}

/// Prints a warning or error from the log of a policy.
fn print_log(payload: &[u8]) {
    if let Some(line) = log_line(payload) {
        line.print();
    }
}

/// Reads a warning or an error that a policy logs. Other events are left out.
fn log_line(payload: &[u8]) -> Option<LogLine> {
    #[derive(Deserialize)]
    struct Event {
        level: String,
        message: String,
    }
    let Event { level, message } = serde_json::from_slice(payload).ok()?;
    let level = match level.to_ascii_uppercase().as_str() {
        "WARNING" => "Warning",
        "ERROR" => "Error",
        _ => return None,
    };
    Some(LogLine { level, message })
}

/// Prints a line to standard error, once: a policy repeats its log for every object, and its settings' warnings in its log.
pub(crate) fn print_once(line: &str) {
    static PRINTED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    if PRINTED.lock().unwrap_or_else(PoisonError::into_inner).insert(line.to_owned()) {
        eprintln!("{line}");
    }
}

fn read_module(path: &Path) -> Result<Vec<u8>> {
    // kwctl also accepts URLs. Here only those of local files work.
    let path = path.to_str().and_then(|path| path.strip_prefix("file://")).map_or(path, Path::new);
    std::fs::read(path).with_context(|| format!("cannot read the policy {}", path.display()))
}

/// Creates the image of the initial memory of instances.
fn seal_data(module: &Module) -> Result<()> {
    // Under load, Linux sometimes refuses to seal a memory file ("cannot add seals to the memfd"). A retry helps.
    let mut outcome = module.initialize_copy_on_write_image();
    for _ in 0..SEALING_TRIES {
        if outcome.is_ok() {
            break;
        }
        outcome = module.initialize_copy_on_write_image();
    }
    outcome.map_err(|error| anyhow!("cannot create the initial memory of the module: {error:#}"))
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
