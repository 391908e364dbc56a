//! Finds the configuration of the current folder.

use std::fs::Metadata;
use std::path::{Path, PathBuf};

use super::FILE_NAME;

/// The configuration file in a folder, or in the next folder above it that has one, as a path from the folder. The root of a
/// repository is the last folder that is searched.
///
/// Returns with it the files that are not used, because any user can write them.
pub(super) fn search(folder: &Path) -> (Option<PathBuf>, Vec<PathBuf>) {
    let mut refused = Vec::new();
    let mut relative = PathBuf::new();
    for above in folder.ancestors() {
        let file = above.join(FILE_NAME);
        if file.is_file() {
            let found = relative.join(FILE_NAME);
            if !is_of_anyone(above, &file) {
                return (Some(found), refused);
            }
            refused.push(found);
        }
        // In a worktree or a submodule it is a file.
        if above.join(".git").exists() {
            break;
        }
        relative.push("..");
    }
    (None, refused)
}

/// Whether another user, who is not root, owns the file in a place where every user can write, as in `/tmp`.
#[cfg(unix)]
fn is_of_anyone(folder: &Path, file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let me = rustix::process::geteuid().as_raw();
    let is_foreign = |of: &Metadata| of.uid() != me && of.uid() != 0;
    let is_writable = |of: &Metadata| of.mode() & 0o002 != 0;
    let (Ok(folder), Ok(link), Ok(file)) = (folder.metadata(), file.symlink_metadata(), file.metadata()) else {
        return true;
    };
    (is_foreign(&link) && is_writable(&folder)) || (is_foreign(&file) && (is_writable(&folder) || is_writable(&file)))
}

#[cfg(not(unix))]
fn is_of_anyone(_: &Path, _: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::{FILE_NAME, search};

    fn write(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(FILE_NAME), "").unwrap();
    }

    #[test]
    fn the_next_file_above_is_found_up_to_the_root_of_the_repository() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        let inner = root.join("repository/a/b");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::create_dir(root.join("repository/.git")).unwrap();
        write(root);
        assert_eq!(search(&inner), (None, vec![]), "the file is above the repository");
        write(&root.join("repository"));
        assert_eq!(search(&inner), (Some(PathBuf::from("../../container-patch.yaml")), vec![]));
        write(&root.join("repository/a"));
        assert_eq!(search(&inner), (Some(PathBuf::from("../container-patch.yaml")), vec![]));
        write(&inner);
        assert_eq!(search(&inner), (Some(PathBuf::from("container-patch.yaml")), vec![]));
    }

    #[cfg(unix)]
    #[test]
    fn a_file_of_another_user_is_not_used_from_a_folder_of_everyone() {
        use std::os::unix::fs::{PermissionsExt as _, chown};
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path();
        std::fs::create_dir(place.join(".git")).unwrap();
        write(place);
        let allow = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let found = (Some(PathBuf::from(FILE_NAME)), vec![]);
        allow(place, 0o1777);
        assert_eq!(search(place), found, "one's own file");
        // Only root can give a file to another user.
        if chown(place.join(FILE_NAME), Some(4711), None).is_ok() {
            assert_eq!(search(place), (None, vec![PathBuf::from(FILE_NAME)]));
            allow(place, 0o755);
            assert_eq!(search(place), found);
            allow(&place.join(FILE_NAME), 0o666);
            assert_eq!(search(place), (None, vec![PathBuf::from(FILE_NAME)]));
        }
    }
}
