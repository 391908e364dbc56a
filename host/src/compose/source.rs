//! Reads the files that a Compose file names. They may be anywhere, as in Compose, but must be files of a limited size.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest file of variables, in bytes.
const MAX_VARIABLES: u64 = 1 << 20;

/// The largest Compose file that another one names, in bytes.
const MAX_COMPOSE: u64 = 16 << 20;

/// Reads a file of variables.
///
/// # Errors
/// When it cannot be read, or is not a file.
pub(super) fn read_variables(path: &Path) -> Result<String, String> {
    read(path, MAX_VARIABLES)
}

/// Reads a Compose file that another file names.
///
/// # Errors
/// When it cannot be read, or is not a file.
pub(super) fn read_compose(path: &Path) -> Result<String, String> {
    read(path, MAX_COMPOSE)
}

fn read(path: &Path, limit: u64) -> Result<String, String> {
    let cannot_read = |reason: &dyn std::fmt::Display| format!("cannot read {}: {reason}", path.display());
    let metadata = path.metadata().map_err(|error| cannot_read(&error))?;
    // To open a pipe waits for a writer, and a device may have no end.
    if !metadata.is_file() {
        let found = if metadata.is_dir() { "a folder" } else { "a device, pipe or socket" };
        return Err(cannot_read(&format_args!("expected a file, found {found}")));
    }
    let mut text = String::new();
    let file = File::open(path).map_err(|error| cannot_read(&error))?;
    file.take(limit + 1).read_to_string(&mut text).map_err(|error| cannot_read(&error))?;
    if text.len() as u64 > limit {
        return Err(cannot_read(&format_args!("it is larger than {} MiB", limit >> 20)));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{MAX_VARIABLES, read_compose, read_variables};

    #[cfg(unix)]
    #[test]
    fn only_files_are_read_and_only_up_to_a_limit() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("/dev/zero", &link).unwrap();
        assert!(read_compose(&link).unwrap_err().ends_with("expected a file, found a device, pipe or socket"));
        assert!(read_compose(folder.path()).unwrap_err().ends_with("expected a file, found a folder"));
        let file = folder.path().join("file");
        std::fs::write(&file, "a".repeat(usize::try_from(MAX_VARIABLES).unwrap() + 1)).unwrap();
        assert!(read_variables(&file).unwrap_err().ends_with("it is larger than 1 MiB"));
        assert!(read_compose(&file).is_ok());
    }
}
