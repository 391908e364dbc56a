//! Executes the module and counts its instructions. Unlike time, this number is the same on every machine.

use std::sync::{Arc, LazyLock};

use container_patch::capabilities::{AllowedResources, Answer, Capabilities, host_call};
use wasmtime_provider::wasmtime::{
    Cache, CacheConfig, Caller, Config, Engine, Error, Extern, Linker, Memory, Module, Store,
};

static MODULE: LazyLock<Module> = LazyLock::new(|| {
    let mut config = Config::new();
    config.consume_fuel(true);
    config.cache(Cache::new(CacheConfig::new()).ok());
    let engine = Engine::new(&config).expect("the engine starts");
    Module::from_file(&engine, env!("POLICY_MODULE")).expect("the module compiles")
});

/// The time of all calls, in nanoseconds: 2026-11-21T00:00:00Z.
const NOW: u64 = 1_795_219_200_000_000_000;

/// A call of the module, its questions to the host, and its response.
struct Call {
    function: &'static str,
    payload: Vec<u8>,
    host: Arc<dyn Capabilities>,
    allowed: AllowedResources,
    answer: Answer,
    response: Vec<u8>,
}

type Guest<'g> = Caller<'g, Call>;

fn memory(guest: &mut Guest<'_>) -> Memory {
    guest.get_export("memory").and_then(Extern::into_memory).expect("the module exports its memory")
}

fn bytes(guest: &mut Guest<'_>, at: u32, length: u32) -> Vec<u8> {
    memory(guest).data(guest)[at as usize..][..length as usize].to_vec()
}

/// Writes what `part` takes of the call into the memory of the guest.
fn write(guest: &mut Guest<'_>, at: u32, part: impl FnOnce(&Call) -> Vec<u8>) {
    let part = part(guest.data());
    memory(guest).data_mut(guest)[at as usize..][..part.len()].copy_from_slice(&part);
}

/// The number of instructions that a fresh instance executes for a call, and the response.
pub(crate) fn execute(
    function: &'static str,
    payload: &[u8],
    host: Arc<dyn Capabilities>,
    allowed: AllowedResources,
) -> Result<(u64, Vec<u8>), Error> {
    let engine = MODULE.engine();
    let lengths = (u32::try_from(function.len())?, u32::try_from(payload.len())?);
    let call =
        Call { function, payload: payload.to_vec(), host, allowed, answer: Ok(Vec::new()), response: Vec::new() };
    let mut store = Store::new(engine, call);
    store.set_fuel(u64::MAX)?;

    let mut linker = Linker::new(engine);
    linker.func_wrap("wapc", "__guest_request", |mut guest: Guest<'_>, function: u32, payload: u32| {
        write(&mut guest, function, |call| call.function.as_bytes().to_vec());
        write(&mut guest, payload, |call| call.payload.clone());
    })?;
    linker.func_wrap("wapc", "__guest_response", |mut guest: Guest<'_>, at: u32, length: u32| {
        guest.data_mut().response = bytes(&mut guest, at, length);
    })?;
    linker.func_wrap(
        "wapc",
        "__host_call",
        |mut guest: Guest<'_>, _: u32, _: u32, ns: u32, ns_len: u32, op: u32, op_len: u32, at: u32, len: u32| {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("names are UTF-8");
            let namespace = text(bytes(&mut guest, ns, ns_len));
            let operation = text(bytes(&mut guest, op, op_len));
            let payload = bytes(&mut guest, at, len);
            let call = guest.data_mut();
            call.answer = match &*namespace {
                "tracing" => Ok(Vec::new()),
                _ => host_call(&namespace, &operation, &payload, &call.allowed).and_then(|ask| call.host.answer(ask)),
            };
            u32::from(call.answer.is_ok())
        },
    )?;
    let length = |part: &[u8]| u32::try_from(part.len()).expect("an answer fits into the memory");
    linker.func_wrap("wapc", "__host_response_len", move |guest: Guest<'_>| {
        guest.data().answer.as_ref().map_or(0, |answer| length(answer))
    })?;
    linker.func_wrap("wapc", "__host_response", |mut guest: Guest<'_>, at: u32| {
        write(&mut guest, at, |call| call.answer.clone().unwrap_or_default());
    })?;
    linker.func_wrap("wapc", "__host_error_len", move |guest: Guest<'_>| {
        guest.data().answer.as_ref().err().map_or(0, |error| length(error.as_bytes()))
    })?;
    linker.func_wrap("wapc", "__host_error", |mut guest: Guest<'_>, at: u32| {
        write(&mut guest, at, |call| call.answer.clone().err().unwrap_or_default().into_bytes());
    })?;
    linker.func_wrap("wasi_snapshot_preview1", "clock_time_get", |mut guest: Guest<'_>, _: u32, _: u64, at: u32| {
        write(&mut guest, at, |_| NOW.to_le_bytes().to_vec());
        0_u32
    })?;
    // Every other import returns zero and does nothing, so nothing differs between runs.
    linker.define_unknown_imports_as_default_values(&mut store, &MODULE)?;

    let instance = linker.instantiate(&mut store, &MODULE)?;
    instance.get_typed_func::<(), ()>(&mut store, "wapc_init")?.call(&mut store, ())?;
    instance.get_typed_func::<(u32, u32), u32>(&mut store, "__guest_call")?.call(&mut store, lengths)?;
    let instructions = u64::MAX - store.get_fuel()?;
    Ok((instructions, std::mem::take(&mut store.data_mut().response)))
}
