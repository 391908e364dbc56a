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
    let mut page = String::from_utf8(page)?;
    // The version is the last section.
    let end = page.find("\n.SH VERSION").map_or(page.len(), |at| at + 1);
    page.insert_str(end, &(exit_status(command.get_name()) + &environment(command)));
    Ok(page)
}

/// The section about exit codes.
fn exit_status(command: &str) -> String {
    let success = match command {
        "check" => "All objects are accepted, or have only warnings.",
        "report" => "All reported images are accepted, or have only warnings.",
        "test" => "All verdicts are as expected.",
        "validate" => "The settings are valid, perhaps with warnings.",
        "run" => "The policy answered; the answer says whether the request is allowed.",
        _ => "Success.",
    };
    let broken = match command {
        "check" => Some("An object is denied. With --fail-on warn, also: an object has a warning."),
        "report" => Some("A reported image is denied. With --fail-on warn, also: an image has a warning."),
        "test" => Some("A verdict is not as expected."),
        "container-patch" => Some("A rule is broken, or a verdict is not as expected."),
        _ => None,
    };
    let error = match command {
        "check" | "report" => "No rule is broken, but something could not be judged; or another error.",
        "test" => "A case could not run, or another error.",
        "validate" => "The settings are not valid, or another error.",
        _ => "An error: for example a wrong flag, or a file that cannot be read.",
    };
    let codes = [Some(("0", success)), broken.map(|broken| ("1", broken)), Some(("2", error))];
    section("EXIT STATUS", codes.into_iter().flatten().map(|(code, about)| (code.to_owned(), about.to_owned())))
}

/// The section about environment variables: those of flags, and those that belong to no flag. Empty if there are none.
fn environment(command: &Command) -> String {
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set());
    let of_flags = flags.filter_map(|flag| {
        let about = format!("Used without --{}.", flag.get_long()?);
        Some((flag.get_env()?.to_string_lossy().into_owned(), about))
    });
    let has = |flag: &str| command.get_arguments().any(|argument| argument.get_long() == Some(flag));
    let has_colors = matches!(command.get_name(), "check" | "explain" | "report" | "test");
    let others = [
        (
            has("insecure-registry"),
            "DOCKER_CONFIG",
            "Folder of config.json with the credentials for registries. Default: ~/.docker.",
        ),
        (has("kubeconfig"), "KUBECONFIG", "Kubeconfig files, used without --kubeconfig. Default: ~/.kube/config."),
        (has_colors, "NO_COLOR", "Turns off colors if it is not empty."),
        (has_colors, "FORCE_COLOR", "Turns on colors where standard output is not a terminal."),
    ];
    let others = others.into_iter().filter(|(applies, ..)| *applies);
    let others = others.map(|(_, name, about)| (name.to_owned(), about.to_owned()));
    section("ENVIRONMENT", of_flags.chain(others))
}

/// A section with a paragraph for each term.
fn section(title: &str, entries: impl Iterator<Item = (String, String)>) -> String {
    let escape = |text: &str| text.replace('\\', "\\e").replace('-', "\\-");
    let entries = entries.map(|(term, about)| format!(".TP\n\\fB{}\\fR\n{}\n", escape(&term), escape(&about)));
    let entries: String = entries.collect();
    if entries.is_empty() { entries } else { format!(".SH \"{title}\"\n{entries}") }
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
    fn a_page_has_the_exit_codes_and_the_environment_variables() {
        let variable = |flag: clap::Arg, name: &'static str| flag.env(name).hide_env_values(true);
        let shown = variable(clap::arg!(--"fail-on" <EFFECT>), "FAIL_ON");
        let hidden = variable(clap::arg!(--inner <FILE>).hide(true), "INNER");
        let kubeconfig = clap::arg!(--kubeconfig <FILE>);
        let text = page(&named(Command::new("check").version("1.2.3").args([shown, hidden, kubeconfig]))).unwrap();
        let (_, sections) = text.split_once(".SH \"EXIT STATUS\"\n").unwrap();
        assert!(
            sections.starts_with(".TP\n\\fB0\\fR\nAll objects are accepted, or have only warnings.\n.TP\n\\fB1\\fR\n"),
            "{text}"
        );
        let (_, variables) =
            sections.split_once(".SH ENVIRONMENT\n").or_else(|| sections.split_once(".SH \"ENVIRONMENT\"\n")).unwrap();
        assert!(
            variables.starts_with(".TP\n\\fBFAIL_ON\\fR\nUsed without \\-\\-fail\\-on.\n.TP\n\\fBKUBECONFIG\\fR\n"),
            "{text}"
        );
        assert!(variables.contains("\\fBNO_COLOR\\fR") && !variables.contains("INNER"), "{text}");
        assert!(variables.contains("\n.SH VERSION\n"), "{text}");
        let text = page(&named(Command::new("completions"))).unwrap();
        assert!(text.contains("\\fB2\\fR") && !text.contains("\\fB1\\fR") && !text.contains("ENVIRONMENT"), "{text}");
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
