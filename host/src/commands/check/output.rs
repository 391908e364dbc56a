//! The output of `check`: formats for people, for programs and for the services that run pipelines.

mod file;
mod fingerprint;
mod github;
mod gitlab;
mod json;
mod junit;
mod markdown;
mod paths;
mod sarif;
mod text;

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

use self::file::OutputFile;
use self::paths::Paths;
use crate::counted::counted;
use crate::judge::location::{self, Region};
use crate::judge::verdict::{FailOn, JudgedObject, SkipReason, Summary, Verdict};
use crate::stdout;
use crate::terminal::{Style, printable};

/// What is printed and written.
#[derive(Debug, Args)]
#[group(skip)]
pub(super) struct OutputOptions {
    /// Output format: text, json, sarif, github, gitlab, junit or markdown. With `=FILE` the output is written to a file. Can
    /// be repeated, with one format for standard output [default: text]
    #[arg(short, long = "output", value_name = "FORMAT[=FILE]", value_parser = output)]
    outputs: Vec<Output>,
    /// Print only objects with findings or errors as text, and nothing if there are none; show no progress bar
    #[arg(short, long)]
    quiet: bool,
}

/// A format, and where the output goes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Output {
    format: Format,
    /// None for standard output.
    file: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Json,
    Sarif,
    Github,
    Gitlab,
    Junit,
    Markdown,
}

/// The names of the formats.
pub(in crate::commands) fn formats() -> Vec<String> {
    let names = Format::value_variants().iter().filter_map(ValueEnum::to_possible_value);
    names.map(|value| value.get_name().to_owned()).collect()
}

/// Reads `FORMAT` or `FORMAT=FILE`.
fn output(text: &str) -> Result<Output, String> {
    let (format, file) = text.split_once('=').map_or((text, None), |(format, file)| (format, Some(file)));
    let format = Format::from_str(format, false)
        .map_err(|_| format!("unknown format; expected one of {}", formats().join(", ")))?;
    match file {
        Some("") => Err("the name of the file is missing after `=`".to_owned()),
        Some("-") | None => Ok(Output { format, file: None }),
        Some(file) => Ok(Output { format, file: Some(file.into()) }),
    }
}

impl OutputOptions {
    pub(super) fn is_quiet(&self) -> bool {
        self.quiet
    }

    /// Whether standard output goes to the runner of GitHub Actions.
    pub(super) fn is_for_runner(&self) -> bool {
        self.outputs.contains(&Output { format: Format::Github, file: None })
    }

    /// Opens the files.
    ///
    /// # Errors
    /// When a file cannot be written, or two outputs go to one place.
    pub(super) fn open(&self) -> Result<OpenOutputs> {
        let mut printed = None;
        let mut files: Vec<(Format, &Path, OutputFile)> = Vec::new();
        for Output { format, file } in &self.outputs {
            match file {
                None if printed.is_some() => {
                    bail!("--output: only one format can go to standard output; write others to files with FORMAT=FILE")
                }
                None => printed = Some(*format),
                Some(path) => {
                    if files.iter().any(|(_, other, _)| other == path) {
                        bail!("--output: {} is named twice", path.display());
                    }
                    files.push((*format, path, OutputFile::open(path)?));
                }
            }
        }
        let printed = if self.outputs.is_empty() { Some(Format::Text) } else { printed };
        let files = files.into_iter().map(|(format, _, file)| (format, file)).collect();
        Ok(OpenOutputs { printed, files, quiet: self.quiet })
    }
}

/// Outputs that can be written.
pub(super) struct OpenOutputs {
    /// The format for standard output.
    printed: Option<Format>,
    files: Vec<(Format, OutputFile)>,
    quiet: bool,
}

impl OpenOutputs {
    /// Writes the files, and prints to standard output.
    ///
    /// # Errors
    /// When an output cannot be written.
    pub(super) fn write(self, checked: &Checked<'_>) -> Result<()> {
        let Self { printed, files, quiet } = self;
        for (format, file) in files {
            file.write(&render(format, checked, Style::PLAIN, quiet))?;
        }
        match printed {
            Some(format) => stdout::print(&render(format, checked, Style::of_stdout(), quiet))?,
            // The log of a pipeline says why it is red.
            None if !quiet => eprintln!("{}", totals(checked)),
            None => {}
        }
        Ok(())
    }
}

fn render(format: Format, checked: &Checked<'_>, style: Style, quiet: bool) -> String {
    match format {
        Format::Text => text::render(checked, style, quiet),
        Format::Json => json::render(checked),
        Format::Sarif => sarif::render(checked),
        Format::Github => github::render(checked),
        Format::Gitlab => gitlab::render(checked),
        Format::Junit => junit::render(checked),
        Format::Markdown => markdown::render(checked),
    }
}

/// The judged objects, as all formats need them.
pub(super) struct Checked<'a> {
    pub(super) objects: Vec<CheckedObject<'a>>,
    pub(super) summary: Summary,
    /// Whether all manifests are ignored.
    pub(super) all_ignored: bool,
    /// The time for which objects are judged. `None` for that of the run.
    pub(super) evaluate_at: Option<String>,
    fail_on: FailOn,
    paths: Paths,
}

/// A judged object, with the positions of its findings.
pub(super) struct CheckedObject<'a> {
    judged: &'a JudgedObject,
    /// The line on which it begins.
    line: usize,
    /// Where the image of each finding is.
    regions: Vec<Option<Region>>,
}

impl<'a> Checked<'a> {
    pub(super) fn new(objects: &'a [JudgedObject], fail_on: FailOn) -> Self {
        let checked = |judged: &'a JudgedObject| CheckedObject {
            judged,
            line: judged.source.object_line(),
            regions: location::regions(judged),
        };
        Self {
            objects: objects.iter().map(checked).collect(),
            summary: Summary::of(objects),
            all_ignored: false,
            evaluate_at: None,
            fail_on,
            paths: Paths::of_environment(),
        }
    }

    /// The objects with this verdict.
    fn with_verdict(&self, verdict: Verdict) -> impl Iterator<Item = &CheckedObject<'a>> {
        self.objects.iter().filter(move |object| object.judged.verdict == verdict)
    }

    /// The file of an object as services for pipelines name it: relative to the repository.
    fn file(&self, object: &JudgedObject) -> String {
        self.paths.relative(&object.source.file.name)
    }
}

impl CheckedObject<'_> {
    /// The kind, namespace and name of the object. The place in the manifest, if it cannot be read.
    fn title(&self) -> String {
        match &self.judged.object {
            Some(object) => printable(&object.to_string()),
            None => printable(&self.judged.source.to_string()),
        }
    }

    /// The line of a finding: that of its image, or else that of the object.
    fn line_of(&self, finding: usize) -> usize {
        self.region(finding).map_or(self.line, |region| region.start.line)
    }

    /// Where the image of a finding is.
    fn region(&self, finding: usize) -> Option<Region> {
        self.regions.get(finding).copied().flatten()
    }
}

/// The number of objects by verdict, in a line. Verdicts that no object has are left out.
fn totals(checked: &Checked<'_>) -> String {
    let Summary { accepted, warned, denied, skipped, failed } = checked.summary;
    if checked.objects.is_empty() {
        let reason = if checked.all_ignored { "all manifests are ignored" } else { "the manifests have no objects" };
        return format!("Nothing to judge: {reason}");
    }
    let total = accepted + warned + denied;
    let verdicts = [(accepted, "accepted"), (warned, "accepted with warnings"), (denied, "denied")];
    let verdicts: Vec<_> =
        verdicts.iter().filter(|(count, _)| *count > 0).map(|(count, verdict)| format!("{count} {verdict}")).collect();
    let mut parts = Vec::new();
    if total > 0 {
        parts.push(format!("{} judged: {}", counted(total, "object"), verdicts.join(", ")));
    }
    if failed > 0 {
        parts.push(format!("{failed} could not be judged"));
    }
    let reasons: Vec<_> = SkipReason::ALL.into_iter().filter_map(|reason| skipped_for(checked, reason)).collect();
    match &reasons[..] {
        [] => {}
        [(_, reason)] => parts.push(format!("{skipped} skipped: {reason}")),
        _ => {
            let reasons: Vec<_> = reasons.iter().map(|(count, reason)| format!("{count} {reason}")).collect();
            parts.push(format!("{skipped} skipped: {}", reasons.join(", ")));
        }
    }
    parts.join("; ")
}

/// The number of objects that are skipped for a reason, and the reason with their kinds. None without such objects.
fn skipped_for(checked: &Checked<'_>, reason: SkipReason) -> Option<(usize, String)> {
    let skipped: Vec<_> = checked.objects.iter().filter(|object| object.judged.skip_reason == Some(reason)).collect();
    let mut kinds: Vec<String> =
        skipped.iter().filter_map(|object| Some(printable(&object.judged.object.as_ref()?.kind))).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    (!skipped.is_empty()).then(|| (skipped.len(), format!("{}{kinds}", reason.of_objects(skipped.len()))))
}

#[cfg(test)]
mod tests;
