//! What systemd says about unit files.

use std::path::PathBuf;
use std::process::Command;

/// What `systemd-analyze` prints, and whether it succeeded. `None` without it.
pub(crate) fn analyze(arguments: &[&str], files: &[PathBuf]) -> Option<(String, bool)> {
    let output = Command::new("systemd-analyze").args(arguments).args(files).output();
    let Ok(output) = output else {
        eprintln!("systemd-analyze is not on the PATH");
        return None;
    };
    let printed = [output.stdout, output.stderr].concat();
    Some((String::from_utf8_lossy(&printed).into_owned(), output.status.success()))
}

/// The text of a unit in `deploy/`, with the program of this build.
pub(crate) fn with_built_program(unit: &str) -> String {
    unit.replace("/usr/local/bin/container-patch", env!("CARGO_BIN_EXE_container-patch"))
}
