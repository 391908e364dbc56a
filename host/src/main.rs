//! The command line of `container-patch`.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use container_patch::commands::{annotate, check, report, run, schedule};
use container_patch::{configuration, printable_error};

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
    Report(report::Options),
    Run(run::Options),
    Schedule(schedule::Options),
}

fn main() -> ExitCode {
    let executed = configuration::parse::<Cli>().and_then(|cli| execute(&cli.command));
    executed.unwrap_or_else(|error| {
        eprintln!("Error: {}", printable_error(&error));
        ExitCode::from(2)
    })
}

/// Executes a subcommand. Its exit code is 0 for success and 1 if a rule was broken. An error has the exit code 2.
fn execute(command: &Command) -> Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match command {
        Command::Annotate(options) => annotate::exec(options).map(done),
        Command::Check(options) => check::exec(options),
        Command::Report(options) => report::exec(options),
        Command::Run(options) => run::exec(options).map(done),
        Command::Schedule(options) => schedule::exec(options).map(done),
    }
}
