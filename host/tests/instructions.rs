//! How many instructions the module executes. Unlike time, this number is the same on every machine.
//!
//! Each request starts a fresh instance, so it pays for everything that the module prepares.

use std::sync::LazyLock;

use serde_json::{Value, json};
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

/// A call of the module, and its response.
struct Call {
    function: &'static str,
    payload: Vec<u8>,
    response: Vec<u8>,
}

impl Call {
    fn new(function: &'static str, payload: &Value) -> Self {
        Self { function, payload: payload.to_string().into_bytes(), response: Vec::new() }
    }
}

fn memory(guest: &mut Caller<'_, Call>) -> Memory {
    guest.get_export("memory").and_then(Extern::into_memory).expect("the module exports its memory")
}

/// The number of instructions that a fresh instance executes for a call, and the response in JSON.
fn execute(call: Call) -> Result<(u64, Value), Error> {
    let engine = MODULE.engine();
    let lengths = (u32::try_from(call.function.len())?, u32::try_from(call.payload.len())?);
    let mut store = Store::new(engine, call);
    store.set_fuel(u64::MAX)?;

    let mut linker = Linker::new(engine);
    linker.func_wrap("wapc", "__guest_request", |mut guest: Caller<'_, Call>, function: u32, payload: u32| {
        let (bytes, call) = memory(&mut guest).data_and_store_mut(&mut guest);
        for (at, text) in [(function, call.function.as_bytes()), (payload, &call.payload)] {
            bytes[at as usize..][..text.len()].copy_from_slice(text);
        }
    })?;
    linker.func_wrap("wapc", "__guest_response", |mut guest: Caller<'_, Call>, at: u32, length: u32| {
        let (bytes, call) = memory(&mut guest).data_and_store_mut(&mut guest);
        call.response = bytes[at as usize..][..length as usize].to_vec();
    })?;
    // Every other import returns zero and does nothing. Host calls fail, and neither the clock nor random numbers differ between runs.
    linker.define_unknown_imports_as_default_values(&mut store, &MODULE)?;

    let instance = linker.instantiate(&mut store, &MODULE)?;
    instance.get_typed_func::<(), ()>(&mut store, "wapc_init")?.call(&mut store, ())?;
    instance.get_typed_func::<(u32, u32), u32>(&mut store, "__guest_call")?.call(&mut store, lengths)?;
    let instructions = u64::MAX - store.get_fuel()?;
    Ok((instructions, serde_json::from_slice(&store.data().response)?))
}

fn instructions(function: &'static str, payload: &Value) -> (u64, Value) {
    execute(Call::new(function, payload)).expect("the module does not trap")
}

/// A request to create a pod of three containers.
fn pod(tag: &str) -> Value {
    let containers =
        ["a", "b", "c"].map(|name| json!({"name": name, "image": format!("registry.example.com/shop/{name}:{tag}")}));
    let object = json!({"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"containers": containers}});
    json!({"kind": {"kind": "Pod"}, "operation": "CREATE", "namespace": "shop", "object": object})
}

#[test]
fn the_module_starts_in_few_instructions() {
    let (executed, version) = instructions("protocol_version", &json!(null));
    assert_eq!(version, json!("v1"));
    // It takes 5,400.
    assert!(executed < 20_000, "{executed} instructions");
}

#[test]
fn a_small_request_takes_few_instructions() {
    let off = json!({"action": "off"});
    let settings = json!({"pinning": {"action": "deny"}, "schedule": off, "baseImage": off, "scan": off});
    let pinned = format!("1@sha256:{}", "0c1d".repeat(16));
    // The bounds are about twice what the module takes. Compiling the regular expression for image references takes 542 million.
    for (tag, accepted, bound) in [(&*pinned, true, 350_000), ("1", false, 550_000)] {
        let (executed, response) = instructions("validate", &json!({"request": pod(tag), "settings": settings}));
        assert_eq!(response["accepted"], json!(accepted), "{response}");
        assert!(executed < bound, "{executed} instructions, expected fewer than {bound}");
    }
}
