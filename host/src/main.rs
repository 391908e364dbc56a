//! The command line of `container-patch`.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use container_patch::commands::{annotate, check, run, schedule};
use container_patch::configuration;

/// Judges the images of workloads with the policy that Kubewarden enforces in a cluster.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Annotate(annotate::Options),
    Check(check::Options),
    Run(run::Options),
    Schedule(schedule::Options),
}

fn main() -> ExitCode {
    let command = match configuration::parse::<Cli>() {
        Ok(Cli { command }) => command,
        Err(error) => return fail(&error, 2),
    };
    match command {
        Command::Annotate(options) => match annotate::exec(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Command::Check(options) => match check::exec(&options) {
            Ok(outcome) => outcome.exit_code(),
            Err(error) => fail(&error, 2),
        },
        Command::Run(options) => match run::exec(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        Command::Schedule(options) => match schedule::exec(&options) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
    }
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("Error: {error:#}");
    ExitCode::from(code)
}
