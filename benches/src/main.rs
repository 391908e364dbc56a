//! Measures the time and memory that the policy takes at admission, compared with a do-nothing policy.

mod export;
mod fake_host;
mod guest;
mod measure;
mod memory;
mod plot;
mod report;
mod scenario;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};

use guest::ModuleFile;
use measure::{Policies, cores};
use report::Report;

/// Measure the time and memory that the policy takes at admission, compared with a do-nothing policy
#[derive(Debug, Parser)]
struct Options {
    /// WebAssembly module of the policy
    #[arg(long, value_name = "FILE.wasm")]
    policy: PathBuf,
    /// WebAssembly module of the policy to compare with. The do-nothing policy gives the answers of the policy
    #[arg(long, value_name = "FILE.wasm")]
    against: PathBuf,
    /// Number of threads that evaluate requests at once [default: number of cores]
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: Option<u16>,
    /// Measure only the scenarios whose names contain this text
    #[arg(long, value_name = "TEXT", default_value = "")]
    scenario: String,
    /// Duration of the measurement of each scenario
    #[arg(long, value_name = "SECONDS", default_value = "4", value_parser = clap::value_parser!(u64).range(1..=600))]
    seconds: u64,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    /// Write a chart of the time by number of containers to this file
    #[arg(long, value_name = "FILE.svg")]
    plot: Option<PathBuf>,
    /// Measure nothing: write the scenarios without host calls to this folder, to measure them in policy-server
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["plot", "output", "seconds"])]
    export: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Tables
    #[default]
    Table,
    /// One JSON object
    Json,
}

fn main() -> Result<()> {
    let options = Options::parse();
    let policies = Policies {
        policy: ModuleFile::read(&options.policy)?.compile()?,
        nothing: ModuleFile::read(&options.against)?,
        threads: options.threads.map_or_else(cores, usize::from),
    };
    let mut scenarios = scenario::all();
    scenarios.retain(|scenario| scenario.name.contains(&options.scenario));
    if scenarios.is_empty() {
        let names: Vec<String> = scenario::all().into_iter().map(|scenario| scenario.name).collect();
        bail!("unknown scenario `{}`; expected part of the name of one of:\n{}", options.scenario, names.join("\n"));
    }
    if let Some(folder) = &options.export {
        return export::write(&policies, &scenarios, folder);
    }
    let time = Duration::from_secs(options.seconds);
    let measured = scenarios.iter().map(|scenario| policies.measure(scenario, time)).collect::<Result<_>>()?;
    let report = Report::new(&policies, measured);
    if let Some(path) = &options.plot {
        plot::draw(&report.by_containers(), path)?;
    }
    match options.output {
        Output::Table => print!("{}", report.text()),
        Output::Json => println!("{}", serde_json::to_string_pretty(&report)?),
    }
    Ok(())
}
