//! The command line of `container-patch`.

use std::panic::catch_unwind;
use std::process::ExitCode;

use anyhow::Result;
use clap::{CommandFactory as _, Parser, Subcommand};
use container_patch::commands::{
    annotate, check, completions, explain, history, init, man, report, run, schedule, soak, swarm_authz, test, validate,
};
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
    Completions(completions::Options),
    Explain(explain::Options),
    History(history::Options),
    Init(init::Options),
    Man(man::Options),
    Report(report::Options),
    Run(run::Options),
    Schedule(schedule::Options),
    Soak(soak::Options),
    SwarmAuthz(swarm_authz::Options),
    Test(test::Options),
    Validate(validate::Options),
}

fn main() -> ExitCode {
    // A panic has printed its message. It is an error like others, for example if nothing reads standard error any more.
    let executed = catch_unwind(|| configuration::parse::<Cli>().and_then(|cli| execute(&cli.command)));
    let Ok(executed) = executed else { return ExitCode::from(2) };
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
        Command::Completions(options) => completions::exec(options, &Cli::command()).map(done),
        Command::Explain(options) => explain::exec(options).map(done),
        Command::History(options) => history::exec(options).map(done),
        Command::Init(options) => init::exec(options).map(done),
        Command::Man(options) => man::exec(options, Cli::command()).map(done),
        Command::Report(options) => report::exec(options),
        Command::Run(options) => run::exec(options).map(done),
        Command::Schedule(options) => schedule::exec(options).map(done),
        Command::Soak(options) => soak::exec(options).map(done),
        Command::SwarmAuthz(options) => swarm_authz::exec(options).map(done),
        Command::Test(options) => test::exec(options),
        Command::Validate(options) => validate::exec(options),
    }
}
