//! A policy that parses nothing, and always gives the same answer: the lowest cost of a policy written in Rust that gives this answer.
//!
//! The answer is written into the compiled module, before [`MARKER`]: its bytes, and then their number in 4 bytes, the lowest first.

/// The bytes after the answer. They are in the module once.
pub const MARKER: [u8; 32] = *b"container-patch-bench: answer = ";

/// The maximum size of an answer in bytes. With this one, all variables of the module are in one page of memory, so that writing to them
/// causes one page fault: `perf record -e page-faults -d` of the benchmark shows the pages.
pub const CAPACITY: usize = 10_736;

#[cfg(target_arch = "wasm32")]
mod guest {
    use wapc_guest::register_function;

    use super::{CAPACITY, MARKER};

    #[repr(C)]
    struct Answer {
        bytes: [u8; CAPACITY],
        length: [u8; 4],
        marker: [u8; MARKER.len()],
    }

    static ANSWER: Answer = Answer { bytes: [0; CAPACITY], length: [0; 4], marker: MARKER };

    fn answer() -> Vec<u8> {
        // Stops the compiler from assuming that the answer is empty.
        let answer = std::hint::black_box(&ANSWER);
        let length = u32::from_le_bytes(answer.length) as usize;
        answer.bytes.get(CAPACITY.saturating_sub(length)..).unwrap_or_default().to_vec()
    }

    // The name is the one that waPC hosts look for.
    #[allow(unsafe_code)]
    #[unsafe(no_mangle)]
    extern "C" fn wapc_init() {
        register_function("validate", |_| Ok(answer()));
        // policy-server requires these two.
        register_function("validate_settings", |_| Ok(br#"{"valid":true}"#.to_vec()));
        register_function("protocol_version", |_| Ok(br#""v1""#.to_vec()));
    }
}
