//! A file to which an output is written.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::replace_file::{beside, replace};

/// A file that can be written, and gets its content at once, so that no reader sees half of it.
#[derive(Debug)]
pub(super) struct OutputFile {
    path: PathBuf,
    target: Target,
}

#[derive(Debug)]
enum Target {
    /// A file that is replaced by another one. It keeps its permissions, if it exists.
    Replaced(Option<Permissions>),
    /// A device or a pipe, which cannot be replaced.
    Special(File),
}

impl OutputFile {
    /// Checks that a file can be written. Until [`Self::write`], nothing is in its place that was not there before.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn open(path: &Path) -> Result<Self> {
        let cannot_write = || format!("cannot write {}", path.display());
        // A link stays a link.
        let real = path.canonicalize();
        let target = match real.as_deref().map(Path::metadata) {
            Ok(Ok(metadata)) if !metadata.is_file() => {
                Target::Special(OpenOptions::new().write(true).open(path).with_context(cannot_write)?)
            }
            Ok(metadata) => Target::Replaced(Some(metadata.with_context(cannot_write)?.permissions())),
            Err(_) => Target::Replaced(None),
        };
        let path = real.unwrap_or_else(|_| path.to_owned());
        if let Target::Replaced(permissions) = &target {
            // A run that is interrupted leaves no file behind.
            drop(beside(&path, permissions.clone()).with_context(cannot_write)?);
        }
        Ok(Self { path, target })
    }

    /// Writes the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(self, text: &str) -> Result<()> {
        let Self { path, target } = self;
        let written = match target {
            Target::Special(mut file) => file.write_all(text.as_bytes()),
            Target::Replaced(permissions) => replace(&path, permissions, text),
        };
        written.with_context(|| format!("cannot write {}", path.display()))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::OutputFile;

    #[test]
    fn a_file_is_replaced_at_once_and_keeps_its_permissions() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("results.sarif");
        std::fs::write(&path, "old").unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("results.sarif", &link).unwrap();
        let file = OutputFile::open(&link).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old");
        file.write("new").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        assert!(link.is_symlink());
    }

    #[test]
    fn a_device_is_written_and_not_replaced() {
        OutputFile::open("/dev/null".as_ref()).unwrap().write("text").unwrap();
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
        assert!(OutputFile::open("/".as_ref()).unwrap_err().to_string().contains("cannot write /"));
    }
}
