//! Builds the policy module that the binary carries, so that the two are always of one state of the source. Embeds the pages of
//! the finding codes and the presets.

use std::env;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

const TARGET: &str = "wasm32-wasip1";

fn main() {
    let host = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder"));
    let root = host.parent().expect("the host is a folder of the workspace").to_owned();
    for input in ["build.rs", "cron", "src", "Cargo.toml", "Cargo.lock", "metadata.yml"] {
        println!("cargo::rerun-if-changed={}", root.join(input).display());
    }

    // The page of a code has the code as its title.
    embed(&root.join("docs"), "md", "pages.rs", |name, text| text.lines().next() == Some(&format!("# {name}")));
    embed(&root.join("examples").join("presets"), "yaml", "presets.rs", |_, _| true);

    // A folder of its own: the build that is under way holds the lock of the usual one.
    let target_dir = root.join("target").join("module");
    let mut build = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build.current_dir(&root).args(["build", "--locked", "--package", "container-patch-policy", "--lib"]);
    build.args(["--profile", "module", "--target", TARGET, "--target-dir"]).arg(&target_dir);
    // What the host is built with (lints, coverage, another linker) is not for the module.
    for (name, _) in env::vars_os() {
        let name = name.to_string_lossy();
        let for_the_host = name.starts_with("CARGO_ENCODED_") || name.starts_with("CARGO_PROFILE_");
        if for_the_host || name.starts_with("RUSTC_") || matches!(&*name, "RUSTC" | "RUSTFLAGS" | "CARGO_TARGET_DIR") {
            build.env_remove(&*name);
        }
    }
    // As in the Makefile: without the folders of this machine, the same source gives the same bytes in other folders.
    let cargo_home = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join(".cargo")));
    let prefixes = cargo_home.iter().map(|home| (home.as_path(), "/cargo")).chain([(root.as_path(), "/source")]);
    let flags: Vec<String> =
        prefixes.map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())).collect();
    // Paths can have spaces, so the flags are separated by the character that cargo has for this.
    build.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    let output = build.output().unwrap_or_else(|error| panic!("cannot start cargo for the policy module: {error}"));
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let missing = errors.contains("can't find crate for `core`") || errors.contains("target may not be installed");
        let advice = if missing { format!("\nInstall the target: rustup target add {TARGET}") } else { String::new() };
        panic!("the policy module does not build:\n{errors}{advice}");
    }
    let module = target_dir.join(TARGET).join("module").join("container_patch_policy.wasm");
    println!("cargo::rustc-env=POLICY_MODULE={}", module.display());
    println!("cargo::rustc-env=POLICY_METADATA={}", root.join("metadata.yml").display());
}

/// Writes a Rust file with a slice of the names and the texts of files in a folder, in the order of their names.
fn embed(folder: &Path, extension: &str, rust_file: &str, is_wanted: impl Fn(&str, &str) -> bool) {
    println!("cargo::rerun-if-changed={}", folder.display());
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.retain(|path| path.extension().is_some_and(|found| found == extension));
    paths.sort();
    let mut slice = "&[\n".to_owned();
    for path in paths {
        let name = path.file_stem().expect("the file has a name").to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        if is_wanted(&name, &text) {
            // Writing to a `String` cannot fail.
            let _ = writeln!(slice, "    ({name:?}, include_str!({:?})),", path.display().to_string());
        }
    }
    slice.push(']');
    let output = PathBuf::from(env::var_os("OUT_DIR").expect("cargo names the folder for generated files"));
    std::fs::write(output.join(rust_file), slice).expect("the folder for generated files can be written");
}
