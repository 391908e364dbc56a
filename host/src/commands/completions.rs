//! `container-patch completions`: the script that completes the command line in a shell.

use anyhow::Result;
use clap::builder::{PossibleValue, PossibleValuesParser};
use clap::{Arg, ArgGroup, Args, Command};
use clap_complete::Shell;

use super::{check, explain, init};
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
    let mut command = with_values(visible(command));
    let mut script = Vec::new();
    clap_complete::generate(options.shell, &mut command, "container-patch", &mut script);
    let script = String::from_utf8(script)?;
    // clap_complete names the cases of subcommands in another way than it looks for them if the name of the program has a hyphen.
    stdout::print(&script.replace("container__subcmd__patch", "container__patch"))
}

/// The command with the values of arguments that take any text, so that their errors can name the nearest value.
fn with_values(command: Command) -> Command {
    let described = |values: Vec<(&'static str, String)>| {
        values.into_iter().map(|(name, about)| PossibleValue::new(name).help(about)).collect::<Vec<_>>()
    };
    let formats = check::formats().into_iter().map(PossibleValue::new).collect();
    let commands = command.get_subcommands().map(|known| PossibleValue::new(known.get_name().to_owned())).collect();
    let arguments = [
        ("check", "outputs", formats),
        ("explain", "code", described(explain::codes())),
        ("history", "codes", described(explain::codes())),
        ("init", "preset", described(init::presets())),
        ("man", "subcommand", commands),
    ];
    arguments.into_iter().fold(command, |command, (name, argument, values)| {
        let parser = PossibleValuesParser::new(values);
        command.mut_subcommand(name, |it| it.mut_arg(argument, |argument| argument.value_parser(parser)))
    })
}

/// The command without hidden flags, which completions would show.
fn visible(command: &Command) -> Command {
    let about = command.get_about().cloned().unwrap_or_default();
    let is_visible = |flag: &&Arg| !flag.is_hide_set();
    // Flags name groups with which they conflict.
    let groups = command.get_groups().map(|group| {
        let of_group = |flag: &&Arg| group.get_args().any(|id| id == flag.get_id());
        let flags = command.get_arguments().filter(is_visible).filter(of_group);
        ArgGroup::new(group.get_id().clone()).args(flags.map(|flag| flag.get_id().clone())).multiple(true)
    });
    Command::new(command.get_name().to_owned())
        .about(about)
        .args(command.get_arguments().filter(is_visible).cloned())
        .groups(groups)
        .subcommands(command.get_subcommands().map(visible))
}

#[cfg(test)]
mod tests {
    use clap::{Arg, ArgGroup, Command};

    use super::visible;

    #[test]
    fn hidden_flags_are_not_completed() {
        let flag = |name: &'static str| Arg::new(name).long(name);
        let flags = [flag("output"), flag("inner").hide(true), flag("dry-run").conflicts_with("outputs")];
        let check = Command::new("check").about("Judge").args(flags);
        let check = check.group(ArgGroup::new("outputs").args(["output", "inner"]));
        let mut command = visible(&Command::new("container-patch").subcommand(check));
        // Panics if a flag names a group or flag that does not exist.
        command.build();
        let check = command.find_subcommand("check").unwrap();
        assert_eq!(check.get_about().unwrap().to_string(), "Judge");
        let flags = check.get_arguments().filter(|flag| !flag.is_hide_set()).map(|flag| flag.get_id().as_str());
        assert_eq!(flags.collect::<Vec<_>>(), ["output", "dry-run", "help"]);
    }
}
