//! Passes what the module needs to the linker.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=--initial-memory=2097152");
        println!("cargo::rustc-link-arg-cdylib=-zstack-size=1056768");
    }
}
