//! Measures what the policy costs at admission, against a policy that does nothing.

mod guest;
mod measure;
mod memory;
mod plot;
mod report;
mod scenario;
mod world;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use guest::Guest;
use measure::Guests;
use report::Report;

/// Measure what the policy costs at admission, against a policy that does nothing
#[derive(Debug, Parser)]
struct Options {
    /// The policy, a WebAssembly module
    #[arg(long, value_name = "FILE.wasm")]
    policy: PathBuf,
    /// The policy to measure it against, a WebAssembly module
    #[arg(long, value_name = "FILE.wasm")]
    against: PathBuf,
    /// Measure only the scenarios whose names hold this
    #[arg(long, value_name = "TEXT", default_value = "")]
    scenario: String,
    /// How long to measure each scenario
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// How to print what was measured
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Draw the time against the number of containers
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Tables for people
    #[default]
    Table,
    /// One JSON object for programs
    Json,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let guests = Guests { policy: Guest::load(&options.policy)?, nothing: Guest::load(&options.against)? };
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| scenario.name.contains(&options.scenario));
    if scenarios.is_empty() {
        let names: Vec<String> = scenario::all().into_iter().map(|scenario| scenario.name).collect();
        bail!("no scenario is called so; there are:\n{}", names.join("\n"));
    }
    let time = Duration::from_secs(options.seconds);
    let measured = scenarios.iter().map(|scenario| guests.measure(scenario, time)).collect::<Result<_>>()?;
    let report = Report::new(&guests, measured);
    if let Some(path) = &options.plot {
        plot::draw(&report.by_containers(), path)?;
    }
    match options.output {
        Output::Table => print!("{}", report.text()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}
