//! The paths of manifests as services for pipelines know them.

use std::env;
use std::path::{Component, Path, PathBuf};

use crate::input::STDIN;

/// Variables in which GitHub and GitLab name the folder of the repository.
const REPOSITORY_VARIABLES: [&str; 2] = ["GITHUB_WORKSPACE", "CI_PROJECT_DIR"];

/// The folders to which paths are relative.
pub(super) struct Paths {
    /// The current folder, to which the paths on the command line are relative.
    folder: PathBuf,
    /// The folder of the repository, to which the paths in outputs are relative.
    root: PathBuf,
}

impl Paths {
    pub(super) fn of_environment() -> Self {
        let folder = env::current_dir().unwrap_or_default();
        let named =
            REPOSITORY_VARIABLES.iter().filter_map(env::var_os).filter_map(|root| Path::new(&root).canonicalize().ok());
        let with_git = folder.ancestors().filter(|folder| folder.join(".git").exists()).map(Path::to_owned);
        let root = named.chain(with_git).find(|root| folder.starts_with(root)).unwrap_or_else(|| folder.clone());
        Self { folder, root }
    }

    /// The path of a manifest relative to the repository, with slashes. A path outside of it is absolute; standard input
    /// without a name is `stdin`.
    pub(super) fn relative(&self, name: &str) -> String {
        if name == STDIN {
            return "stdin".to_owned();
        }
        let path = normalized(&self.folder.join(name));
        let relative = path.strip_prefix(&self.root).unwrap_or(&path);
        relative.to_string_lossy().replace(std::path::MAIN_SEPARATOR, "/")
    }
}

/// A path without `.` and `..`.
fn normalized(path: &Path) -> PathBuf {
    let mut normalized = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                normalized.pop();
            }
            other => normalized.push(other),
        }
    }
    normalized
}

/// A path as a relative or absolute URI (RFC 3986).
pub(super) fn uri(path: &str) -> String {
    let mut uri = if path.starts_with('/') { "file://".to_owned() } else { String::new() };
    for byte in path.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => uri.push(char::from(byte)),
            _ => uri += &format!("%{byte:02X}"),
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::{Paths, uri};

    #[test]
    fn paths_are_relative_to_the_repository() {
        let paths = Paths { folder: "/repo/deploy".into(), root: "/repo".into() };
        assert_eq!(paths.relative("web.yaml"), "deploy/web.yaml");
        assert_eq!(paths.relative("./a/./web.yaml"), "deploy/a/web.yaml");
        assert_eq!(paths.relative("../web.yaml"), "web.yaml");
        assert_eq!(paths.relative("/repo/web.yaml"), "web.yaml");
        assert_eq!(paths.relative("/other/web.yaml"), "/other/web.yaml");
        assert_eq!(paths.relative("../../../../etc/x"), "/etc/x");
        assert_eq!(paths.relative("<stdin>"), "stdin");
    }

    #[test]
    fn a_uri_has_only_the_characters_that_it_may_have() {
        assert_eq!(uri("a b/é%20:#?.yaml"), "a%20b/%C3%A9%2520%3A%23%3F.yaml");
        assert_eq!(uri("/etc/x"), "file:///etc/x");
    }
}
