//! `container-patch check`: judges manifests as if they were applied to a cluster with the policy.

mod fix;
mod output;

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

use self::fix::FixOptions;
pub(super) use self::output::formats;
use self::output::{Checked, OutputOptions};
use crate::input::{InputOptions, Manifests};
use crate::judge::verdict::{FailOn, FailOnOptions, JudgedObject, SkipReason, Verdict};
use crate::judge::{Judge, JudgeOptions};
use crate::{stdout, workflow_commands};

/// Judge Kubernetes manifests and Compose files as if they were deployed where the policy is enforced
///
/// The exit code is 0 if all objects are accepted, 1 if an object is denied, and 2 if no object is denied but one could not
/// be judged.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    input: InputOptions,
    /// Do not skip documents that are not Kubernetes objects: they are errors
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    fail_on: FailOnOptions,
    #[command(flatten)]
    output: OutputOptions,
    #[command(flatten)]
    fix: FixOptions,
}

/// Judges the manifests, and prints the verdicts.
///
/// # Errors
/// When no object can be judged: the policy or its settings are invalid, or the manifests have no objects.
pub fn exec(options: &Options) -> Result<ExitCode> {
    let checked = check(options);
    if let Err(error) = &checked
        && options.output.is_for_runner()
    {
        stdout::print(&workflow_commands::error(error))?;
    }
    checked
}

fn check(options: &Options) -> Result<ExitCode> {
    let FailOnOptions { fail_on } = options.fail_on;
    options.fix.check_can_ask()?;
    // An output that cannot be written is an error before the work, not after it.
    let output = options.output.open()?;
    let judge = Judge::open(&options.judge)?;
    let judge = if options.output.is_quiet() { judge.without_progress() } else { judge };
    if judge.policies().only_monitor() && fail_on == FailOn::Deny && !options.output.is_quiet() {
        eprintln!("All policies are in mode `monitor`, which denies nothing; --fail-on warn fails on their findings");
    }
    if let Some(time) = options.judge.at(judge.policies())
        && !options.output.is_quiet()
    {
        eprintln!("Judging as of {time}");
    }
    let Manifests { objects, all_ignored, .. } = options.input.read_objects()?;
    let mut judged = judge.all(&objects);
    if options.fix.fix {
        judged = fix::fix(&options.fix, &options.input, &judge, objects, judged)?;
    }
    let evaluate_at = judge.policies().evaluate_at();
    judge.close()?;
    if options.strict {
        judged = judged.into_iter().map(strict).collect();
    }
    let mut checked = Checked::new(&judged, fail_on);
    checked.all_ignored = all_ignored;
    checked.evaluate_at = evaluate_at;
    if !options.fix.dry_run {
        output.write(&checked)?;
    }
    Ok(checked.summary.exit_code(fail_on))
}

/// The object with `--strict`.
fn strict(object: JudgedObject) -> JudgedObject {
    if object.skip_reason != Some(SkipReason::NotKubernetes) {
        return object;
    }
    JudgedObject { verdict: Verdict::Failed, skip_reason: None, ..object }
}
