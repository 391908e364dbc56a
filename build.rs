//! Sets linker options of the Wasm module.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        // Enough for most requests, so that they do not grow the memory.
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=2097152");
        // The stack begins at the end of a page of memory, and grows down. The data is above it. With two pages more
        // than the default stack of 1 MiB, the constants that each request uses share a 64 KiB window with the variables: Linux maps one
        // window at a time, and each costs some microseconds. The bytes between stack and data move the initialized variables, at the
        // end of the data, to the start of a page that they share with the zeroed ones: across two pages they cost one more page fault.
        // All this depends on the size of the data. `perf record -e page-faults -d` of the benchmark shows the pages.
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=1056768");
        println!("cargo::rustc-link-arg-cdylib=--global-base=1058288");
    }
}
