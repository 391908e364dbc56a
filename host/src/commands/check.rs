//! `container-patch check`: judges manifests as if they were applied to a cluster with the policy.

mod fix;
mod table;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;

use self::fix::FixOptions;
use crate::input::InputOptions;
use crate::judge::verdict::Summary;
use crate::judge::{Judge, JudgeOptions};
use crate::stdout;
use crate::terminal::Style;

/// Judge Kubernetes manifests as if they were applied to a cluster with the policy
///
/// The exit code is 0 if all objects are accepted, 1 if an object is denied, and 2 if an object could not be judged.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    input: InputOptions,
    #[command(flatten)]
    judge: JudgeOptions,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    fix: FixOptions,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Table for people
    #[default]
    Text,
    /// JSON object for programs
    Json,
}

/// Judges the manifests, and prints the verdicts.
///
/// # Errors
/// When no object can be judged: the policy or its settings are invalid, or the manifests have no objects.
pub fn exec(options: &Options) -> Result<Summary> {
    options.fix.check_can_ask()?;
    let judge = Judge::open(&options.judge)?;
    let objects = options.input.read()?;
    let mut judged = judge.all(&objects);
    if options.fix.fix {
        judged = fix::fix(&options.fix, &options.input, &judge, objects, judged)?;
    }
    judge.close()?;
    if judged.is_empty() {
        bail!("no objects in {}", options.input.names());
    }
    let summary = Summary::of(&judged);
    if options.fix.dry_run {
        return Ok(summary);
    }
    match options.output {
        Output::Text => stdout::print(&table::render(&judged, summary, Style::of_stdout()))?,
        Output::Json => {
            let verdicts = json!({"objects": judged, "summary": summary});
            stdout::print(&(serde_json::to_string_pretty(&verdicts)? + "\n"))?;
        }
    }
    Ok(summary)
}
