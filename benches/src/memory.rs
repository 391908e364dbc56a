//! The linear memory that a guest takes for a request. waPC's host does not tell, so the few calls of waPC that a
//! judgement needs are answered here (<https://wapc.io/docs/spec/>).

use anyhow::{Context, Result, anyhow};
use wasmtime_provider::wasmtime::{Caller, Extern, Instance, Linker, Memory, Module, Store};
use wasmtime_provider::wasmtime_wasi::{WasiCtxBuilder, p1};

use crate::guest::DEADLINE;
use crate::world::World;

const OPERATION: &str = "validate";

/// The memory of a guest: a place and a length in it are what its calls are made of.
type Place = (i32, i32);

/// What a call says of an error in memory or in the guest's use of it.
type Trap = wasmtime_provider::wasmtime::Error;

struct State {
    wasi: p1::WasiP1Ctx,
    payload: Vec<u8>,
    world: World,
    answer: Result<Vec<u8>, String>,
}

/// The linear memory in bytes when a guest has judged a request.
///
/// # Errors
/// When the guest traps.
pub(crate) fn linear_memory(module: &Module, payload: &[u8], world: &World) -> Result<usize> {
    run(module, payload, world).map_err(|error| anyhow!("{error:#}")).context("cannot measure the linear memory")
}

fn run(module: &Module, payload: &[u8], world: &World) -> Result<usize, Trap> {
    let mut linker = Linker::new(module.engine());
    p1::add_to_linker_sync(&mut linker, |state: &mut State| &mut state.wasi)?;
    add_wapc(&mut linker)?;
    let state = State {
        wasi: WasiCtxBuilder::new().build_p1(),
        payload: payload.to_vec(),
        world: world.clone(),
        answer: Ok(Vec::new()),
    };
    let mut store = Store::new(module.engine(), state);
    store.set_epoch_deadline(DEADLINE);
    let instance: Instance = linker.instantiate(&mut store, module)?;
    instance.get_typed_func::<(), ()>(&mut store, "wapc_init")?.call(&mut store, ())?;
    let lengths = (i32::try_from(OPERATION.len())?, i32::try_from(payload.len())?);
    instance.get_typed_func::<Place, i32>(&mut store, "__guest_call")?.call(&mut store, lengths)?;
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
         space: i32,
         space_len: i32,
         call: i32,
         call_len: i32,
         question: i32,
         len: i32| {
            let space = String::from_utf8(read(&mut guest, (space, space_len))?)?;
            let call = String::from_utf8(read(&mut guest, (call, call_len))?)?;
            let question = read(&mut guest, (question, len))?;
            let answer = guest.data().world.answer(&space, &call, &question);
            let is_answer = i32::from(answer.is_ok());
            guest.data_mut().answer = answer;
            Ok::<i32, Trap>(is_answer)
        },
    )?;
    for name in ["__host_response_len", "__host_error_len"] {
        linker.func_wrap("wapc", name, |guest: Caller<'_, State>| {
            Ok::<i32, Trap>(i32::try_from(guest.data().answered().len())?)
        })?;
    }
    for name in ["__host_response", "__host_error"] {
        linker.func_wrap("wapc", name, |mut guest: Caller<'_, State>, at: i32| {
            let answer = guest.data().answered().to_vec();
            write(&mut guest, at, &answer)
        })?;
    }
    for name in ["__guest_response", "__guest_error", "__console_log"] {
        linker.func_wrap("wapc", name, |_: i32, _: i32| ())?;
    }
    Ok(())
}

impl State {
    fn answered(&self) -> &[u8] {
        match &self.answer {
            Ok(answer) => answer,
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

fn read(guest: &mut Caller<'_, State>, (at, len): Place) -> Result<Vec<u8>, Trap> {
    let memory = memory(guest)?;
    let mut bytes = vec![0; usize::try_from(len)?];
    memory.read(guest, usize::try_from(at)?, &mut bytes)?;
    Ok(bytes)
}
