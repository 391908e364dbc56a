//! A guest, and how it is run: as policy-server does it, in a fresh instance per evaluation of a module that was compiled
//! and linked before.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow};
use wapc::WapcHost;
use wasmtime_provider::wasmtime::{Config, Engine, Module};
use wasmtime_provider::{EpochDeadlines, WasmtimeEngineProviderBuilder, WasmtimeEngineProviderPre};

use crate::memory;
use crate::world::World;

/// policy-server's default: interrupted after two ticks of its clock. Here nothing ticks, but the checks are compiled in.
pub(crate) const DEADLINE: u64 = 2;

/// A compiled module.
pub(crate) struct Guest {
    module: Module,
    linked: WasmtimeEngineProviderPre,
    /// Its size in bytes.
    pub(crate) size: usize,
    /// How long it took to compile.
    pub(crate) compiled_in: Duration,
}

impl Guest {
    /// Compiles a module.
    ///
    /// # Errors
    /// When it cannot be read, or is no waPC module.
    pub(crate) fn load(path: &Path) -> Result<Self> {
        let name = path.display();
        let bytes = std::fs::read(path).with_context(|| format!("cannot read the module {name}"))?;
        let mut config = Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).map_err(|error| anyhow!("{error:#}"))?;
        let start = Instant::now();
        let module = Module::new(&engine, &bytes).map_err(|error| anyhow!("cannot compile {name}: {error:#}"))?;
        let compiled_in = start.elapsed();
        let linked = WasmtimeEngineProviderBuilder::new().engine(engine).module(module.clone()).build_pre();
        let linked = linked.with_context(|| format!("{name} is no waPC module"))?;
        Ok(Self { module, linked, size: bytes.len(), compiled_in })
    }

    /// Judges a request in a fresh instance.
    ///
    /// # Errors
    /// When the guest traps, or answers with an error.
    pub(crate) fn evaluate(&self, payload: &[u8], world: &World) -> Result<Vec<u8>> {
        evaluate(&self.linked, payload, world)
    }

    /// The linear memory in bytes that judging a request takes.
    ///
    /// # Errors
    /// When the guest traps.
    pub(crate) fn linear_memory(&self, payload: &[u8], world: &World) -> Result<usize> {
        memory::linear_memory(&self.module, payload, world)
    }
}

fn evaluate(linked: &WasmtimeEngineProviderPre, payload: &[u8], world: &World) -> Result<Vec<u8>> {
    let world = world.clone();
    let callback = move |_: u64, _: &str, namespace: &str, operation: &str, payload: &[u8]| {
        Ok(world.answer(namespace, operation, payload)?)
    };
    let instance = linked.rehydrate(Some(EpochDeadlines { wapc_init: DEADLINE, wapc_func: DEADLINE }))?;
    let host = WapcHost::new(Box::new(instance), Some(Box::new(callback)))?;
    Ok(host.call("validate", payload)?)
}
