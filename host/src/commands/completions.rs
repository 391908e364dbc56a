//! `container-patch completions`: the script that completes the command line in a shell.

use anyhow::Result;
use clap::{Args, Command};
use clap_complete::Shell;

use crate::stdout;

/// Print the script that completes the flags and subcommands of container-patch in a shell
///
/// For example, for bash: `container-patch completions bash > ~/.local/share/bash-completion/completions/container-patch`
#[derive(Debug, Args)]
pub struct Options {
    /// Shell
    #[arg(value_enum)]
    shell: Shell,
}

/// Prints the script.
///
/// # Errors
/// When standard output cannot be written.
pub fn exec(options: &Options, command: &Command) -> Result<()> {
    let mut command = visible(command);
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "container-patch", &mut script);
    stdout::print(&String::from_utf8(script)?)
}

/// The command without hidden flags, which completions would show.
fn visible(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let flags = command.get_arguments().filter(|flag| !flag.is_hide_set()).cloned();
    Command::new(command.get_name().to_owned())
        .about(about)
        .args(flags)
        .subcommands(command.get_subcommands().map(visible))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, Command};

    use super::visible;

    #[test]
    fn hidden_flags_are_not_completed() {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let check = Command::new("check").about("Judge").args([flag("output"), flag("inner").hide(true)]);
        let command = visible(&Command::new("container-patch").subcommand(check));
        let check = command.find_subcommand("check").unwrap();
        assert_eq!(check.get_about().unwrap().to_string(), "Judge");
        assert_eq!(check.get_arguments().map(|flag| flag.get_id().as_str()).collect::<Vec<_>>(), ["output"]);
    }
}
