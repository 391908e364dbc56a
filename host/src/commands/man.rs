//! `container-patch man`: manual pages, made from the same descriptions as `--help`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args, Command};
use clap_mangen::Man;
use container_patch_policy::config::read::nearest;

use crate::stdout;

/// Print the manual page of container-patch or of one of its subcommands
///
/// For example: `container-patch man check | man -l -`
#[derive(Debug, Args)]
pub struct Options {
    /// Subcommand [default: the page of container-patch itself]
    #[arg(value_name = "COMMAND")]
    subcommand: Option<String>,
    /// Folder into which all pages are written, such as ~/.local/share/man/man1
    #[arg(long, value_name = "DIR", conflicts_with = "subcommand")]
    dir: Option<PathBuf>,
}

/// Prints a page, or writes all pages into a folder.
///
/// # Errors
/// When the subcommand is unknown, or a file cannot be written.
pub fn exec(options: &Options, command: Command) -> Result<()> {
    let command = named(command);
    if let Some(dir) = &options.dir {
        return write_all(&command, dir);
    }
    let page = match &options.subcommand {
        None => page(&command)?,
        Some(name) => page(command.find_subcommand(name).ok_or_else(|| unknown(&command, name))?)?,
    };
    stdout::print(&page)
}

/// The command with the full names of its subcommands, such as `container-patch-check` for `container-patch check`.
fn named(command: Command) -> Command {
    // Completes the names of subcommands in usage lines, and adds the version.
    let mut command = command.disable_help_subcommand(true);
    command.build();
    command
}

fn page(command: &Command) -> Result<String> {
    let mut page = Vec::new();
    let source = concat!("container-patch ", env!("CARGO_PKG_VERSION"));
    Man::new(command.clone()).title(file_stem(command)).source(source).render(&mut page)?;
    Ok(String::from_utf8(page)?)
}

fn file_stem(command: &Command) -> String {
    command.get_display_name().unwrap_or_else(|| command.get_name()).to_owned()
}

fn write_all(command: &Command, dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot create the folder {}", dir.display()))?;
    for command in std::iter::once(command).chain(command.get_subcommands()) {
        let file = dir.join(format!("{}.1", file_stem(command)));
        std::fs::write(&file, page(command)?).with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

fn unknown(command: &Command, name: &str) -> anyhow::Error {
    let known: Vec<&str> = command.get_subcommands().map(Command::get_name).collect();
    let advice = nearest(name, &known).map(|nearest| format!("; did you mean `{nearest}`?")).unwrap_or_default();
    anyhow!("unknown subcommand `{name}`; expected one of {}{advice}", known.join(", "))
}

#[cfg(test)]
mod tests {
    use clap::Command;

    use super::{exec, named, page, unknown, write_all};

    fn command() -> Command {
        Command::new("container-patch").version("1.2.3").about("Judges images").subcommand(
            Command::new("check").about("Judge manifests").arg(clap::arg!(--output <FORMAT> "Output format")),
        )
    }

    #[test]
    fn a_page_has_the_full_name_and_the_flags_of_a_subcommand() {
        let command = named(command());
        let text = page(command.find_subcommand("check").unwrap()).unwrap();
        assert!(text.contains(".TH container-patch-check 1"), "{text}");
        assert!(text.contains("Judge manifests") && text.contains("Output format"), "{text}");
    }

    #[test]
    fn all_pages_are_written_into_a_new_folder() {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("man/man1");
        write_all(&named(command()), &dir).unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["container-patch-check.1", "container-patch.1"]);
    }

    #[test]
    fn an_unknown_subcommand_is_an_error_with_the_nearest_one() {
        let options = super::Options { subcommand: Some("chek".to_owned()), dir: None };
        let error = exec(&options, command()).unwrap_err().to_string();
        assert_eq!(error, unknown(&command(), "chek").to_string());
        assert_eq!(error, "unknown subcommand `chek`; expected one of check; did you mean `check`?");
    }
}
