//! The command line, with the environment and the configuration behind it.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::builder::Resettable;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Parser};

use super::search::search;
use super::{Configuration, SETTINGS_FLAGS};
use crate::terminal::printable;
use crate::{stdout, workflow_commands};

/// Reads the command line. Values of the configuration replace the defaults of flags, in commands with the flag `--config`.
/// Says on standard error which configuration and settings are used, unless the command line gives them or `--quiet` is given.
///
/// # Errors
/// When the configuration cannot be read. Ends the process if the command line is invalid, or asks for help.
pub fn parse<T: Parser>() -> Result<T> {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match parse_from(&arguments) {
        Ok(Parsed { command, notes }) => {
            notes.iter().for_each(|note| eprintln!("{}", printable(note)));
            Ok(command)
        }
        Err(error) => Err(match error.downcast::<clap::Error>() {
            Ok(usage) => usage.exit(),
            Err(error) => error,
        }),
    }
}

pub(super) struct Parsed<T> {
    pub(super) command: T,
    /// What is printed to standard error.
    pub(super) notes: Vec<String>,
}

pub(super) fn parse_from<T: Parser>(arguments: &[OsString]) -> Result<Parsed<T>> {
    let mut command = T::command().mut_subcommands(without_empty_variables);
    let mut matches = command.clone().try_get_matches_from(arguments)?;
    let mut notes = Vec::new();
    if let Some((name, given)) = matches.subcommand()
        && let Some(subcommand) = command.find_subcommand(name)
        && has(subcommand, "config")
    {
        let (configuration, refused) = configuration(given).inspect_err(|error| annotate(given, error))?;
        // Test files usually have settings of their own.
        let is_quiet = name == "test" || (has(subcommand, "quiet") && given.get_flag("quiet"));
        if !is_quiet {
            notes.extend(refused.iter().map(|file| {
                format!("Warning: {} is not used, because any user can write there; --config uses it", file.display())
            }));
            // Without settings, `validate` has nothing to check.
            let are_given = configuration.is_some() || SETTINGS_FLAGS.iter().any(|id| source(given, id).is_some());
            if name != "validate" || are_given {
                notes.extend(used(given, configuration.as_ref()));
            }
        }
        let layered = command.clone().mut_subcommand(name, |command| with_defaults(command, given, configuration));
        matches = layered.clone().try_get_matches_from(arguments)?;
        command = layered;
    }
    let command = T::from_arg_matches(&matches).map_err(|error| error.format(&mut command))?;
    Ok(Parsed { command, notes })
}

/// Prints the error of a configuration for the runner of GitHub Actions, if the output is for it.
fn annotate(given: &ArgMatches, error: &anyhow::Error) {
    let outputs = given.try_get_raw("outputs").ok().flatten();
    if outputs.into_iter().flatten().any(|output| output == "github") {
        // The error itself is printed to standard error, and sets the exit code.
        let _ = stdout::print(&workflow_commands::error(error));
    }
}

/// A command that takes empty environment variables as unset, since pipelines often set variables that have no value.
fn without_empty_variables(command: Command) -> Command {
    let is_empty = |variable: &OsStr| std::env::var_os(variable).is_some_and(|value| value.is_empty());
    command.mut_args(|flag| if flag.get_env().is_some_and(is_empty) { flag.env(Resettable::Reset) } else { flag })
}

/// Whether a command has a flag. The matches of a command do not tell, because release builds of the library accept any name.
pub(super) fn has(command: &Command, id: &str) -> bool {
    command.get_arguments().any(|flag| flag.get_id() == id)
}

/// Where the value of a flag comes from. `None` if it is not given.
fn source(given: &ArgMatches, id: &str) -> Option<ValueSource> {
    // Builds with assertions panic at a flag that the command does not have.
    let source = given.try_contains_id(id).ok().and_then(|_| given.value_source(id));
    source.filter(|source| *source != ValueSource::DefaultValue)
}

/// The configuration for a command, and files that were found and are not used.
fn configuration(given: &ArgMatches) -> Result<(Option<Configuration>, Vec<PathBuf>)> {
    let file = given.get_one::<PathBuf>("config").zip(source(given, "config"));
    let off = given.get_flag("no_config").then(|| source(given, "no_config")).flatten();
    match (file, off) {
        (Some((_, file)), Some(off)) if file == off => bail!("--config and --no-config cannot be used together"),
        // The command line takes precedence over the environment.
        (Some((path, ValueSource::CommandLine)), _) | (Some((path, _)), None) => {
            Ok((Some(Configuration::read(path)?), Vec::new()))
        }
        (_, Some(_)) => Ok((None, Vec::new())),
        (None, None) => {
            let folder = std::env::current_dir().context("cannot find the current folder")?;
            let (found, refused) = search(&folder);
            Ok((found.as_deref().map(Configuration::read).transpose()?, refused))
        }
    }
}

/// A command whose flags have the values of the configuration as defaults.
fn with_defaults(mut command: Command, given: &ArgMatches, configuration: Option<Configuration>) -> Command {
    // One flag with settings replaces the other, so the environment must not add one to the command line.
    if SETTINGS_FLAGS.iter().any(|id| source(given, id) == Some(ValueSource::CommandLine)) {
        for id in SETTINGS_FLAGS.into_iter().filter(|id| source(given, id) == Some(ValueSource::EnvVariable)) {
            command = command.mut_arg(id, |flag| flag.env(Resettable::Reset));
        }
    }
    for flag in configuration.iter().flat_map(Configuration::flags) {
        if has(&command, flag.id) && !flag.replaced_by.iter().any(|id| source(given, id).is_some()) {
            command = command.mut_arg(flag.id, |argument| argument.default_values(flag.values));
        }
    }
    command
}

/// Says which configuration and settings are used. `None` if the command line gives the settings and no configuration is found.
fn used(given: &ArgMatches, configuration: Option<&Configuration>) -> Option<String> {
    let list = |paths: &mut dyn Iterator<Item = &PathBuf>| {
        paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
    };
    let flags = SETTINGS_FLAGS.into_iter().filter_map(|id| source(given, id).map(|source| (id, source)));
    let settings = match flags.max_by_key(|(_, source)| *source == ValueSource::CommandLine) {
        Some((id, ValueSource::CommandLine)) => {
            configuration?;
            format!("the settings of --{}", id.replace('_', "-"))
        }
        Some((id, _)) => format!("the settings of CONTAINER_PATCH_{}", id.to_uppercase()),
        None => match configuration {
            Some(Configuration { settings: Some(_), .. }) => "the settings in it".to_owned(),
            Some(Configuration { settings_path, .. }) if !settings_path.is_empty() => {
                format!("the settings in {}", list(&mut settings_path.iter()))
            }
            _ => "the default settings".to_owned(),
        },
    };
    let file = configuration.map(|configuration| Path::new(&configuration.file).display().to_string());
    Some(match file {
        Some(file) => format!("Using {file}, with {settings}"),
        None => format!("Using {settings}"),
    })
}
