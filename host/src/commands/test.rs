//! `container-patch test`: compares the verdicts about manifests with the expected ones.

mod case;
mod compare;
mod file;
mod junit;
mod report;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};

use self::case::FileReport;
use self::report::Totals;
use crate::judge::DEFAULT_TIMEOUT;
use crate::policy::PolicyOptions;
use crate::settings::SettingsOptions;
use crate::stdout;
use crate::terminal::Style;
use crate::timeout::Timeout;

/// How the names of test files end.
const ENDS: [&str; 2] = ["container-patch-test.yaml", "container-patch-test.yml"];

/// Compare the verdicts about manifests with the expected ones
///
/// The exit code is 0 if all verdicts are as expected, 1 if one differs, and 2 if a case could not run. Registries are not
/// contacted: answers come from the recorded session of the test file. The flags for settings are for test files without settings.
#[derive(Debug, Args)]
pub struct Options {
    /// Test files, or folders with files named *container-patch-test.yaml
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    #[command(flatten)]
    settings: SettingsOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Lines for people
    #[default]
    Text,
    /// JUnit XML for programs
    Junit,
}

/// Runs the tests, and prints the differences.
///
/// # Errors
/// When there are no test files, or the policy cannot be loaded.
pub fn exec(options: &Options) -> Result<ExitCode> {
    let mut files = Vec::new();
    for path in &options.files {
        find(path, &mut files)?;
    }
    let policy = options.policy.load()?.with_timeout(Timeout::Computing(DEFAULT_TIMEOUT));
    let policy = Arc::new(policy);
    let _clock = policy.clock().start()?;
    // Another module may have other codes.
    let has_known_codes = options.policy.is_embedded();
    let reports: Vec<FileReport> =
        files.iter().map(|file| case::run(file, &policy, &options.settings, has_known_codes)).collect();
    let totals = Totals::of(&reports);
    stdout::print(&match options.output {
        Output::Text => report::render(&reports, totals, Style::of_stdout().color),
        Output::Junit => junit::render(&reports),
    })?;
    Ok(totals.exit_code())
}

/// A test file, or the test files in a folder and in the folders below it.
fn find(path: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    if !path.is_dir() {
        found.push(path.to_owned());
        return Ok(());
    }
    let before = found.len();
    find_in(path, found)?;
    if found.len() == before {
        bail!("no files named *{} in {}", ENDS[0], path.display());
    }
    Ok(())
}

fn find_in(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let cannot_read = || format!("cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>();
    let mut entries = entries.with_context(cannot_read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // A link to a folder may lead to a folder above it.
        if path.is_dir() {
            if !path.is_symlink() && !name.starts_with('.') {
                find_in(&path, found)?;
            }
        } else if ENDS.iter().any(|end| name.ends_with(end)) {
            found.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::find;

    #[test]
    fn test_files_are_found_in_folders_below() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        for file in [
            "b/web.container-patch-test.yaml",
            "a/container-patch-test.yml",
            ".git/container-patch-test.yaml",
            "a/other.yaml",
        ] {
            let file = root.join(file);
            std::fs::create_dir_all(file.parent().unwrap()).unwrap();
            std::fs::write(file, "").unwrap();
        }
        let mut found = Vec::new();
        find(root, &mut found).unwrap();
        assert_eq!(found, [root.join("a/container-patch-test.yml"), root.join("b/web.container-patch-test.yaml")]);
        assert!(find(&root.join(".git"), &mut found).is_ok());
        std::fs::create_dir(root.join("empty")).unwrap();
        let error = find(&root.join("empty"), &mut found).unwrap_err().to_string();
        assert!(error.starts_with("no files named *container-patch-test.yaml in "), "{error}");
    }
}
