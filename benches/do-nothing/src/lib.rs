//! A policy that parses nothing and accepts everything: the lowest cost of a policy written in Rust.
#![cfg(target_arch = "wasm32")]

use wapc_guest::register_function;

// The name is the one that waPC hosts look for.
#[allow(unsafe_code)]
#[unsafe(no_mangle)]
extern "C" fn wapc_init() {
    register_function("validate", |_| Ok(br#"{"accepted":true}"#.to_vec()));
    // policy-server requires these two.
    register_function("validate_settings", |_| Ok(br#"{"valid":true}"#.to_vec()));
    register_function("protocol_version", |_| Ok(br#""v1""#.to_vec()));
}
