//! Files that are not read, by the patterns of `.gitignore`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use ignore::gitignore::{Gitignore, GitignoreBuilder};

/// The files and folders that are not read.
#[derive(Debug)]
pub(crate) struct Ignored {
    patterns: Gitignore,
    /// The folder of the patterns.
    folder: PathBuf,
}

impl Ignored {
    /// Patterns for what is in a folder.
    ///
    /// # Errors
    /// When the folder does not exist, or a pattern is invalid.
    pub(crate) fn below(folder: &Path, patterns: &[String]) -> Result<Self> {
        if patterns.is_empty() {
            return Ok(Self { patterns: Gitignore::empty(), folder: PathBuf::new() });
        }
        let folder = folder.canonicalize().with_context(|| format!("cannot read the folder {}", folder.display()))?;
        let mut builder = GitignoreBuilder::new(&folder);
        for pattern in patterns {
            builder.add_line(None, pattern)?;
        }
        Ok(Self { patterns: builder.build()?, folder })
    }

    /// Whether a file or folder, or a folder above it, matches the patterns. What is outside of their folder does not.
    pub(crate) fn has(&self, path: &Path) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        // A link is where it is, not where it leads to.
        let absolute = match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) if parent != Path::new("") => {
                parent.canonicalize().map(|parent| parent.join(name))
            }
            (_, Some(name)) => std::env::current_dir().map(|folder| folder.join(name)),
            _ => path.canonicalize(),
        };
        let Ok(absolute) = absolute else { return false };
        match absolute.strip_prefix(&self.folder) {
            Ok(inner) if inner != Path::new("") => {
                self.patterns.matched_path_or_any_parents(inner, path.is_dir()).is_ignore()
            }
            _ => false,
        }
    }
}

/// Checks a pattern.
pub(crate) fn pattern(text: &str) -> Result<String, String> {
    let added = GitignoreBuilder::new("").add_line(None, text).map(|_| text.to_owned());
    added.map_err(|error| format!("invalid pattern: {error}"))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{Ignored, pattern};

    #[test]
    fn patterns_match_as_in_gitignore() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for inner in ["vendor", "k8s/vendor/deep", "k8s/templates"] {
            std::fs::create_dir_all(root.join(inner)).unwrap();
        }
        let has = |patterns: &[&str], path: &str| {
            let patterns: Vec<_> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
            Ignored::below(root, &patterns).unwrap().has(&root.join(path))
        };
        assert!(has(&["vendor/"], "vendor/a.yaml") && has(&["vendor/"], "k8s/vendor/deep/a.yaml"));
        assert!(has(&["/vendor"], "vendor/a.yaml") && !has(&["/vendor"], "k8s/vendor/deep/a.yaml"));
        assert!(has(&["k8s/*/deep"], "k8s/vendor/deep/a.yaml") && !has(&["k8s/*"], "vendor/a.yaml"));
        assert!(has(&["**/templates/**"], "k8s/templates/a.yaml"));
        assert!(has(&["values*.yaml"], "k8s/values-prod.yaml") && !has(&["values*.yaml"], "k8s/web.yaml"));
        assert!(!has(&["*.yaml", "!web.yaml"], "k8s/web.yaml") && has(&["*.yaml", "!web.yaml"], "k8s/a.yaml"));
        assert!(has(&["vendor/"], "k8s/../vendor/a.yaml"), "the path is resolved first");
        assert!(!has(&["*"], ".") && !has(&["*"], ".."), "only what is in the folder");
        assert!(!has(&["#comment", ""], "vendor/a.yaml"));
    }

    #[test]
    fn an_invalid_pattern_is_an_error() {
        assert!(pattern("[z-a]").unwrap_err().starts_with("invalid pattern: "));
        assert_eq!(pattern("a/**/b"), Ok("a/**/b".to_owned()));
        assert!(Ignored::below(Path::new("/no/such/folder"), &["a".to_owned()]).is_err());
    }
}
