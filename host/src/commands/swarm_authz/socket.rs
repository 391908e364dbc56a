//! The socket on which the engine reaches the plugin.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

use crate::notify;

/// A socket in the file system.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    name: String,
    /// The file to remove in the end. `None` for a socket of systemd, which remains while the plugin is restarted.
    path: Option<PathBuf>,
}

impl Socket {
    /// The socket that systemd has made for the plugin, or else a new one.
    ///
    /// # Errors
    /// When systemd has made something else, or the socket cannot be made.
    pub(super) fn open(path: &Path) -> Result<Self> {
        match notify::socket()? {
            Some(listener) => Ok(Self { listener, name: "the socket of systemd".to_owned(), path: None }),
            None => Self::bind(path),
        }
    }

    /// The name for people.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Makes a socket that only the user of the process can use. What a plugin that was killed has left behind is replaced.
    ///
    /// # Errors
    /// When another process listens, something else is in its place, or it cannot be made.
    fn bind(path: &Path) -> Result<Self> {
        let name = path.display();
        match fs::symlink_metadata(path) {
            Ok(found) if !found.file_type().is_socket() => {
                bail!("cannot make the socket {name}: something else is in its place")
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                bail!("cannot make the socket {name}: another process listens on it")
            }
            Ok(_) => fs::remove_file(path).with_context(|| format!("cannot remove the old socket {name}"))?,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                    let made = fs::DirBuilder::new().recursive(true).mode(0o755).create(folder);
                    made.with_context(|| format!("cannot make the folder {}", folder.display()))?;
                }
            }
            Err(error) => return Err(error).with_context(|| format!("cannot make the socket {name}")),
        }
        let listener = UnixListener::bind(path).with_context(|| format!("cannot make the socket {name}"))?;
        // Before a client can connect, its socket would have to answer, and nothing answers yet.
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))
            .with_context(|| format!("cannot set the permissions of the socket {name}"))?;
        Ok(Self { listener, name: name.to_string(), path: Some(path.to_owned()) })
    }

    /// The listener for a server.
    ///
    /// # Errors
    /// When the system cannot share the socket.
    pub(super) fn listener(&self) -> Result<tokio::net::UnixListener> {
        let listener = self.listener.try_clone()?;
        listener.set_nonblocking(true)?;
        Ok(tokio::net::UnixListener::from_std(listener)?)
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        // A socket that remains is replaced at the next start.
        if let Some(path) = &self.path {
            let _ = fs::remove_file(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::Socket;

    #[test]
    fn a_socket_is_private_and_is_removed_in_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("plugins/container-patch.sock");
        let socket = Socket::bind(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(socket);
        assert!(!path.exists());
    }

    #[test]
    fn the_socket_of_a_killed_plugin_is_replaced_and_that_of_a_running_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("container-patch.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let _running = Socket::bind(&path).unwrap();
        let error = Socket::bind(&path).unwrap_err().to_string();
        assert!(error.ends_with("another process listens on it"), "{error}");
        let file = folder.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert!(Socket::bind(&file).unwrap_err().to_string().ends_with("something else is in its place"));
    }
}
