//! Writes the table of time zones, and passes what the module needs to the linker.

#[path = "build/zones.rs"]
mod zones;

use std::path::PathBuf;
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=build");
    if env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        // Most requests need no more, and so never ask the host for memory.
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=2097152");
        // The data lies after the stack. Two pages more than the usual megabyte let the constants that each request needs share a
        // 64 KiB window with the variables: Linux maps a window at a time, and each one costs some microseconds. The bytes
        // beyond them let the variables, which are the end of the data, begin early in a page and share it with those that
        // begin as zero: across two pages they cost a page fault more. Both depend on the size of the data; `perf record -e
        // page-faults -d` of the benchmark shows the pages.
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=1056832");
    }
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names a folder for what is generated"));
    fs::write(out.join("zones.rs"), zones::table()).expect("the folder for what is generated can be written to");
}
