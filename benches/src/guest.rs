//! A Wasm module that runs as in policy-server: it is compiled and linked once, and each evaluation gets a new instance.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use do_nothing_policy::{CAPACITY, MARKER};
use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Config, Engine, Module};
use wasmtime_provider::{EpochDeadlines, WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

use crate::fake_host::FakeHost;

/// policy-server's default: an evaluation is interrupted after two ticks of its clock. No clock ticks here, but the checks
/// are compiled in.
pub(crate) const DEADLINE: u64 = 2;

/// A compiled module.
pub(crate) struct Guest {
    module: Module,
    linked: WasmtimeEngineProviderPre,
    /// The size of the module in bytes.
    pub(crate) size: usize,
    /// The time to compile it.
    pub(crate) compile_time: Duration,
}

/// A module file.
pub(crate) struct ModuleFile {
    name: String,
    bytes: Vec<u8>,
}

impl ModuleFile {
    /// Reads a module.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let name = path.display().to_string();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the module {name}"))?;
        Ok(Self { name, bytes })
    }

    /// The module with an answer, if it is the do-nothing policy. Other modules are returned as they are. An answer that is too long for
    /// the do-nothing policy is cut off.
    ///
    /// # Errors
    /// If the module does not have the place for the answer.
    pub(crate) fn with_answer(&self, answer: &[u8]) -> Result<Cow<'_, [u8]>> {
        let Some(marker) = self.bytes.windows(MARKER.len()).position(|bytes| *bytes == MARKER) else {
            return Ok(Cow::Borrowed(&self.bytes));
        };
        let answer = answer.get(..CAPACITY).unwrap_or(answer);
        let place = [answer, &u32::try_from(answer.len())?.to_le_bytes()].concat();
        let mut bytes = self.bytes.clone();
        let start = marker.checked_sub(place.len()).context("the do-nothing policy has no place for an answer")?;
        bytes.splice(start..marker, place);
        Ok(Cow::Owned(bytes))
    }

    /// Compiles the module.
    ///
    /// # Errors
    /// If it is not a waPC module.
    pub(crate) fn compile(&self) -> Result<Guest> {
        self.compile_bytes(&self.bytes)
    }

    /// Compiles the module with an answer, see [`Self::with_answer`].
    ///
    /// # Errors
    /// If it is not a waPC module.
    pub(crate) fn compile_with_answer(&self, answer: &[u8]) -> Result<Guest> {
        self.compile_bytes(&self.with_answer(answer)?)
    }

    fn compile_bytes(&self, bytes: &[u8]) -> Result<Guest> {
        let name = &self.name;
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:#}"))?;
        let start = Instant::now();
        let module = Module::new(&engine, bytes).map_err(|error| anyhow!("cannot compile {name}: {error:#}"))?;
        let compile_time = start.elapsed();
        let linked = WasmtimeEngineProviderBuilder::new().engine(engine).module(module.clone()).build_pre();
        let linked = linked.with_context(|| format!("{name} is not a waPC module"))?;
        Ok(Guest { module, linked, size: bytes.len(), compile_time })
    }
}

impl Guest {
    /// The compiled module.
    pub(crate) fn module(&self) -> &Module {
        &self.module
    }

    /// Evaluates a request in a new instance.
    ///
    /// # Errors
    /// If the guest traps or returns an error.
    pub(crate) fn evaluate(&self, payload: &[u8], host: &FakeHost) -> Result<Vec<u8>> {
        let host = host.clone();
        let callback = move |_: u64, _: &str, namespace: &str, operation: &str, payload: &[u8]| {
            Ok(host.respond(namespace, operation, payload)?)
        };
        let instance = self.linked.rehydrate(Some(EpochDeadlines { wapc_init: DEADLINE, wapc_func: DEADLINE }))?;
        let host = WapcHost::new(Box::new(instance), Some(Box::new(callback)))?;
        Ok(host.call("validate", payload)?)
    }
}
