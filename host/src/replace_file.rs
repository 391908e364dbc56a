//! Writes files in place.

use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Replaces the text of a file atomically, so that no reader sees half of it. Its permissions stay, and a link stays a link.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<()> {
    let cannot_write = || format!("cannot write {}", path.display());
    let path = path.canonicalize().with_context(cannot_write)?;
    let folder = path.parent().with_context(cannot_write)?;
    let permissions = std::fs::metadata(&path).with_context(cannot_write)?.permissions();
    let mut file = NamedTempFile::new_in(folder).map_err(without_temporary_name).with_context(cannot_write)?;
    file.write_all(text.as_bytes()).with_context(cannot_write)?;
    file.as_file().set_permissions(permissions).with_context(cannot_write)?;
    file.as_file().sync_all().with_context(cannot_write)?;
    file.persist(&path).with_context(cannot_write)?;
    Ok(())
}

/// An error about a temporary file, without its name, which says nothing to the user.
pub(crate) fn without_temporary_name(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause.to_owned()),
        None => error,
    }
}
