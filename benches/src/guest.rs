//! A Wasm module that runs as in policy-server: it is compiled and linked once, and each evaluation gets a new instance.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
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

impl Guest {
    /// Compiles a module.
    ///
    /// # Errors
    /// If it cannot be read, or is not a waPC module.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the module {name}"))?;
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:#}"))?;
        let start = Instant::now();
        let module = Module::new(&engine, &bytes).map_err(|error| anyhow!("cannot compile {name}: {error:#}"))?;
        let compile_time = start.elapsed();
        let linked = WasmtimeEngineProviderBuilder::new().engine(engine).module(module.clone()).build_pre();
        let linked = linked.with_context(|| format!("{name} is not a waPC module"))?;
        Ok(Self { module, linked, size: bytes.len(), compile_time })
    }

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
