//! Writes files in place.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::path::Path;

use anyhow::{Context, Result};
use tempfile::NamedTempFile;

/// Replaces the text of a file atomically, so that no reader sees half of it. Its permissions stay, and a link stays a link.
pub(crate) fn replace_file(path: &Path, text: &str) -> Result<()> {
    let cannot_write = || format!("cannot write {}", path.display());
    let path = path.canonicalize().with_context(cannot_write)?;
    let permissions = std::fs::metadata(&path).with_context(cannot_write)?.permissions();
    replace(&path, Some(permissions), text).with_context(cannot_write)
}

/// Replaces or creates a file atomically. It has the permissions of a new file without given ones.
pub(crate) fn replace(path: &Path, permissions: Option<Permissions>, text: &str) -> io::Result<()> {
    let mut file = beside(path, permissions)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

/// A temporary file in the folder of another one. It has the permissions of a new file without given ones.
pub(crate) fn beside(path: &Path, permissions: Option<Permissions>) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    let new = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    #[cfg(unix)]
    builder.permissions(new);
    let file = builder.tempfile_in(folder).map_err(without_temporary_name)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions)?;
    }
    Ok(file)
}

/// An error about a temporary file, without its name, which says nothing to the user.
fn without_temporary_name(error: io::Error) -> io::Error {
    match error.to_string().split_once(" at path ") {
        Some((cause, _)) => io::Error::new(error.kind(), cause.to_owned()),
        None => error,
    }
}
