//! The linear memory that a guest uses for a request. `WapcHost` does not expose it, so this module implements the few waPC
//! functions that an evaluation needs (<https://wapc.io/docs/spec/>).

use anyhow::{Context, Result, anyhow};
use wasmtime_provider::wasmtime::{Caller, Extern, Instance, Linker, Memory, Store};
use wasmtime_provider::wasmtime_wasi::{WasiCtxBuilder, p1};

use crate::fake_host::FakeHost;
use crate::guest::{DEADLINE, Guest};

const OPERATION: &str = "validate";

/// Offset and length of a slice of the guest's memory.
type Slice = (i32, i32);

/// The error of a host function, for example an access outside of the memory.
type Trap = wasmtime_provider::wasmtime::Error;

struct State {
    wasi: p1::WasiP1Ctx,
    payload: Vec<u8>,
    host: FakeHost,
    response: Result<Vec<u8>, String>,
}

/// The size of the linear memory, in bytes, after a guest has evaluated a request.
///
/// # Errors
/// If the guest traps.
pub(crate) fn linear_memory(guest: &Guest, payload: &[u8], host: &FakeHost) -> Result<usize> {
    run(guest, payload, host).map_err(|error| anyhow!("{error:#}")).context("cannot measure the linear memory")
}

fn run(guest: &Guest, payload: &[u8], host: &FakeHost) -> Result<usize, Trap> {
    let module = guest.module();
    let mut linker = Linker::new(module.engine());
    p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
    add_wapc(&mut linker)?;
    let state = State {
        wasi: WasiCtxBuilder::new().build_p1(),
        payload: payload.to_vec(),
        host: host.clone(),
        response: Ok(Vec::new()),
    };
    let mut store = Store::new(module.engine(), state);
    store.set_epoch_deadline(DEADLINE);
    let instance: Instance = linker.instantiate(&mut store, module)?;
    instance.get_typed_func::<(), ()>(&mut store, "wapc_init")?.call(&mut store, ())?;
    let lengths = (i32::try_from(OPERATION.len())?, i32::try_from(payload.len())?);
    instance.get_typed_func::<Slice, i32>(&mut store, "__guest_call")?.call(&mut store, lengths)?;
    let memory = instance.get_memory(&mut store, "memory").ok_or_else(no_memory)?;
    Ok(memory.data_size(&store))
}

fn add_wapc(linker: &mut Linker<State>) -> Result<(), Trap> {
    linker.func_wrap("wapc", "__guest_request", |mut guest: Caller<'_, State>, operation: i32, payload: i32| {
        let bytes = std::mem::take(&mut guest.data_mut().payload);
        write(&mut guest, operation, OPERATION.as_bytes())?;
        write(&mut guest, payload, &bytes)
    })?;
    linker.func_wrap(
        "wapc",
        "__host_call",
        |mut guest: Caller<'_, State>,
         _: i32,
         _: i32,
         namespace: i32,
         namespace_len: i32,
         operation: i32,
         operation_len: i32,
         payload: i32,
         payload_len: i32| {
            let namespace = String::from_utf8(read(&mut guest, (namespace, namespace_len))?)?;
            let operation = String::from_utf8(read(&mut guest, (operation, operation_len))?)?;
            let payload = read(&mut guest, (payload, payload_len))?;
            let response = guest.data().host.respond(&namespace, &operation, &payload);
            let is_ok = i32::from(response.is_ok());
            guest.data_mut().response = response;
            Ok::<i32, Trap>(is_ok)
        },
    )?;
    for name in ["__host_response_len", "__host_error_len"] {
        linker.func_wrap("wapc", name, |guest: Caller<'_, State>| {
            Ok::<i32, Trap>(i32::try_from(guest.data().response_bytes().len())?)
        })?;
    }
    for name in ["__host_response", "__host_error"] {
        linker.func_wrap("wapc", name, |mut guest: Caller<'_, State>, at: i32| {
            let response = guest.data().response_bytes().to_vec();
            write(&mut guest, at, &response)
        })?;
    }
    for name in ["__guest_response", "__guest_error", "__console_log"] {
        linker.func_wrap("wapc", name, |_: i32, _: i32| ())?;
    }
    Ok(())
}

impl State {
    fn response_bytes(&self) -> &[u8] {
        match &self.response {
            Ok(response) => response,
            Err(error) => error.as_bytes(),
        }
    }
}

fn no_memory() -> Trap {
    Trap::msg("the guest exports no memory")
}

fn memory(guest: &mut Caller<'_, State>) -> Result<Memory, Trap> {
    guest.get_export("memory").and_then(Extern::into_memory).ok_or_else(no_memory)
}

fn write(guest: &mut Caller<'_, State>, at: i32, bytes: &[u8]) -> Result<(), Trap> {
    let memory = memory(guest)?;
    Ok(memory.write(guest, usize::try_from(at)?, bytes)?)
}

fn read(guest: &mut Caller<'_, State>, (at, len): Slice) -> Result<Vec<u8>, Trap> {
    let memory = memory(guest)?;
    let mut bytes = vec![0; usize::try_from(len)?];
    memory.read(guest, usize::try_from(at)?, &mut bytes)?;
    Ok(bytes)
}
