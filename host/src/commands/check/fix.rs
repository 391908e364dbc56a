//! `check --fix`: writes digests into the image fields of the manifests.

mod diff;
mod findings;
mod plan;

use std::collections::BTreeSet;
use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use self::plan::{FileChange, Plan, Unfixed};
use crate::counted::counted;
use crate::input::{InputOptions, ManifestObject};
use crate::judge::Judge;
use crate::judge::verdict::JudgedObject;
use crate::replace_file::replace_file;
use crate::stdout;
use crate::terminal::{Style, log_line, printable};

/// Whether manifests are changed.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct FixOptions {
    /// Write digests into the manifests: of images without one, and of newer builds behind the tags of refused images
    ///
    /// Only image values change. The changes are shown on standard error as a diff, and are written after a confirmation on
    /// the terminal. The output and the exit code are those of the fixed manifests.
    #[arg(long)]
    pub(super) fix: bool,
    /// Write the fixes without asking
    #[arg(short, long, requires = "fix", conflicts_with = "dry_run")]
    yes: bool,
    /// Only print the diff of the fixes to standard output; the exit code is that of the fixed manifests
    #[arg(long, requires = "fix", conflicts_with = "outputs")]
    pub(super) dry_run: bool,
}

impl FixOptions {
    /// Checks that there is a terminal to ask on, if the fixes have to be confirmed.
    pub(super) fn check_can_ask(&self) -> Result<()> {
        let asks = self.fix && !self.yes && !self.dry_run;
        if asks && !(std::io::stdin().is_terminal() && std::io::stderr().is_terminal()) {
            bail!(
                "--fix asks before it writes, and there is no terminal; give --yes to write without asking, or --dry-run \
                 to only print the diff"
            );
        }
        Ok(())
    }
}

/// Fixes the manifests, and returns the verdicts about them afterwards.
pub(super) fn fix(
    options: &FixOptions,
    input: &InputOptions,
    judge: &Judge,
    objects: Vec<ManifestObject>,
    judged: Vec<JudgedObject>,
) -> Result<Vec<JudgedObject>> {
    let before = judged.clone();
    let plan = plan::plan(judge, input, objects, judged);
    if options.dry_run {
        print_diff(&plan.changes)?;
        report(&plan.unfixed);
        eprintln!("{}", summary("would fix", &plan));
        return Ok(plan.judged);
    }
    let style = Style::of_stderr();
    for change in &plan.changes {
        eprint!("{}", diff::for_people(&change.name, &change.before, &change.after, style));
    }
    report(&plan.unfixed);
    if !plan.changes.is_empty() {
        if !options.yes && !confirmed(&plan)? {
            eprintln!("nothing was written");
            return Ok(before);
        }
        write(&plan.changes)?;
    }
    eprintln!("{}", summary("fixed", &plan));
    Ok(plan.judged)
}

/// Prints the diff to standard output: for `git apply`, or escaped for a terminal.
fn print_diff(changes: &[FileChange]) -> Result<()> {
    let style = Style::of_stdout();
    let diffs = changes.iter().map(|FileChange { name, before, after, .. }| {
        if style.terminal { diff::for_people(name, before, after, style) } else { diff::unified(name, before, after) }
    });
    stdout::print(&diffs.collect::<String>())
}

/// Lists the images that could not be fixed, with the reasons.
fn report(unfixed: &[Unfixed]) {
    let (exempt, others): (Vec<_>, Vec<_>) = unfixed.iter().partition(|unfixed| unfixed.is_exempt);
    for (title, list) in [("Could not be fixed:", others), ("Exempt:", exempt)] {
        if !list.is_empty() {
            eprintln!("{title}");
        }
        for Unfixed { place, subject, reason, .. } in list {
            let subject = subject.as_deref().map_or_else(String::new, |subject| format!("{subject}: "));
            eprintln!("{}", log_line(&format!("  {place}: {subject}{reason}")));
        }
    }
}

fn summary(verb: &str, plan: &Plan) -> String {
    let (images, files) = (plan.fixed_images(), plan.changes.len());
    let exempt = plan.unfixed.iter().filter(|unfixed| unfixed.is_exempt).count();
    let mut text = format!(
        "{verb} {} in {}; {} could not be fixed",
        counted(images, "image"),
        counted(files, "file"),
        plan.unfixed.len() - exempt
    );
    if exempt > 0 {
        text += &format!("; {exempt} exempt");
    }
    text
}

/// Asks on the terminal.
fn confirmed(plan: &Plan) -> Result<bool> {
    let (images, files) = (counted(plan.fixed_images(), "image"), counted(plan.changes.len(), "file"));
    eprint!("Change {images} in {files}? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer).context("cannot read the answer")?;
    Ok(["y", "yes"].contains(&answer.trim().to_lowercase().as_str()))
}

/// Writes the files. The first one is only written if all can be.
fn write(changes: &[FileChange]) -> Result<()> {
    for FileChange { path, name, before, .. } in changes {
        let cannot_write = || format!("cannot write {}; nothing was written", printable(name));
        let metadata = std::fs::metadata(path).with_context(cannot_write)?;
        // Replacing a file only takes the permission to write into its folder.
        if metadata.permissions().readonly() {
            bail!("{}: the file is read-only", cannot_write());
        }
        OpenOptions::new().write(true).open(path).with_context(cannot_write)?;
        if std::fs::read_to_string(path).with_context(cannot_write)? != *before {
            bail!("{}: the file was changed while it was checked; run the command again", cannot_write());
        }
    }
    let mut written = BTreeSet::new();
    for FileChange { path, name, after, .. } in changes {
        replace_file(path, after).with_context(|| match written.len() {
            0 => "nothing was written".to_owned(),
            _ => format!("only these files were written: {}", Vec::from_iter(written.clone()).join(", ")),
        })?;
        written.insert(printable(name));
    }
    Ok(())
}
