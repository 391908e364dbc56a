//! `container-patch annotate`: writes the vulnerabilities of a scanner's report into an annotation that the policy reads.

mod annotation;
mod budget;
mod image;
mod report;
mod scanners;
mod splice;
mod workload;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, Utc};
use clap::Args;
use container_patch_policy::image::Digest;
use container_patch_policy::rules::scan::annotations::VULNERABILITY;
use serde_json::Value;

use crate::replace_file::replace_file;
use crate::stdout;
use crate::terminal::printable;
use crate::timestamp::rfc3339;
use annotation::{Annotation, MAX_BYTES, summary};
use budget::{ByteBudget, MAX_BYTES_OF_ALL};
use image::{Match, ScannedImage};
use report::ScanReport;
use workload::Container;

/// Write the vulnerabilities of a scanner's report into the annotations of a manifest, or print an annotation for the image
///
/// With a manifest, the command annotates the pod templates of the containers and image volumes that use the scanned image,
/// and prints the manifest. Without one, it prints an annotation for the image itself, for `docker buildx build
/// --annotation` or `crane mutate --annotation`.
#[derive(Debug, Args)]
pub struct Options {
    /// Report of Trivy, Grype or Clair in JSON, or of Trivy or Grype in SARIF; `-` for standard input
    #[arg(value_name = "SCAN")]
    scan: PathBuf,
    /// Manifest to annotate, in YAML or JSON; `-` for standard input
    #[arg(value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Container or image volume to annotate, whatever its image; can be repeated [default: those with the scanned image]
    #[arg(short, long = "container", value_name = "NAME", requires = "manifest")]
    containers: Vec<String>,
    /// Digest of the scanned image [default: the one in the report]
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "manifest")]
    digest: Option<String>,
    /// Time of the scan in RFC 3339, for reports without one [default: the time of the file]
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    timestamp: Option<DateTime<Utc>>,
    /// Rewrite the manifest instead of printing it
    #[arg(short, long, requires = "manifest")]
    in_place: bool,
    /// JSON pointer to the pod template in custom kinds, such as `/spec/tasks/0/template` [default: /spec/template]
    #[arg(long, value_name = "POINTER", requires = "manifest")]
    pod_template: Option<String>,
}

fn digest(text: &str) -> Result<String, String> {
    Digest::parse(text).map(|digest| digest.as_str().to_owned()).map_err(|error| error.to_string())
}

fn timestamp(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc()).map_err(|error| format!("{error}; expected RFC 3339, such as 2026-11-19T08:00:00Z"))
}

/// Annotates the manifest, or prints an annotation for the image.
///
/// # Errors
/// When the report or the manifest cannot be read, or the container or the digest is ambiguous.
pub fn exec(options: &Options) -> Result<()> {
    // Reports and manifests may hold control characters.
    run(options).map_err(|error| anyhow!(format!("{error:#}").lines().map(printable).collect::<Vec<_>>().join("\n")))
}

fn run(options: &Options) -> Result<()> {
    let source = Input::at(&options.scan);
    let target = options.manifest.as_deref().map(Input::at);
    if let Some(target) = target.as_ref().filter(|target| target.is_stdin()) {
        if source.is_stdin() {
            bail!("the report and the manifest cannot both come from standard input");
        }
        if options.in_place {
            bail!("--in-place needs a file, but the manifest comes from {}", target.name());
        }
    }
    let report = scanners::read(&source.read()?).with_context(|| source.name())?;
    let time = scan_time(&report, options.timestamp, &source)?;
    let Some(target) = target else {
        let annotation = Annotation::new(&report, time, None, MAX_BYTES)?;
        eprintln!("annotation for an image: {}", summary(&report.vulnerabilities, &annotation));
        return stdout::print(&format!("{VULNERABILITY}{}={}\n", report.scanner, annotation.json));
    };
    let (annotated, log) = annotate(&target.read()?, &report, time, options).with_context(|| target.name())?;
    if options.in_place {
        replace_file(target.path, &annotated)?;
    } else {
        stdout::print(&annotated)?;
    }
    eprint!("{log}");
    Ok(())
}

/// A file to read, or standard input.
struct Input<'a> {
    path: &'a Path,
}

impl<'a> Input<'a> {
    fn at(path: &'a Path) -> Self {
        Self { path }
    }

    fn is_stdin(&self) -> bool {
        self.path == Path::new("-")
    }

    fn name(&self) -> String {
        if self.is_stdin() { "<stdin>".to_owned() } else { self.path.display().to_string() }
    }

    fn read(&self) -> Result<String> {
        let mut text = String::new();
        let read = if self.is_stdin() {
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        } else {
            std::fs::read_to_string(self.path)
        };
        read.with_context(|| format!("cannot read {}", self.name()))
    }
}

/// The time of the scan: that of the report, else the one on the command line, else that of the file.
fn scan_time(report: &ScanReport, given: Option<DateTime<Utc>>, source: &Input<'_>) -> Result<DateTime<Utc>> {
    if let Some(time) = report.time {
        if given.is_some_and(|given| given != time) {
            let time = rfc3339(&time);
            eprintln!("Warning: the report has its own time, {time}; --timestamp is ignored");
        }
        return Ok(time);
    }
    if let Some(given) = given {
        return Ok(given);
    }
    if source.is_stdin() {
        return Ok(Utc::now());
    }
    let modified = std::fs::metadata(source.path).and_then(|metadata| metadata.modified());
    let modified = modified.with_context(|| format!("cannot read the time of {}; set --timestamp", source.name()))?;
    Ok(modified.into())
}

/// Writes the annotations into a manifest. Returns it with a line for each annotation.
fn annotate(text: &str, report: &ScanReport, time: DateTime<Utc>, options: &Options) -> Result<(String, String)> {
    let scanned = ScannedImage::new(report, options.digest.as_deref());
    let mut expected = workload::objects(text)?;
    let containers = workload::containers(&expected, options.pod_template.as_deref())?;
    let chosen = choose(&containers, &options.containers, &scanned)?;
    let (mut annotated, mut log) = (text.to_owned(), String::new());
    for container in &chosen {
        let digest = scanned.digest(&container.label(), &container.image)?;
        let key = container.annotation()?;
        let object = expected.get_mut(container.object).context("an object is missing")?;
        let budget = budget(container, object, &containers, &chosen);
        let annotation = Annotation::new(report, time, Some(&digest), budget.for_key(&key)).with_context(|| {
            format!(
                "the annotation of {} of {} does not fit: all annotations of an object together have at most \
                 {MAX_BYTES_OF_ALL} bytes",
                container.label(),
                container.title
            )
        })?;
        let path = container.template.iter().map(String::as_str).chain(["metadata", "annotations", &key]);
        annotated = splice::set(&annotated, container.object, &path.collect::<Vec<_>>(), &annotation.json)
            .with_context(|| format!("cannot annotate {}", container.title))?;
        workload::annotate(object, &container.template, &key, &annotation.json)?;
        let what = format!("{} {} of {}", container.noun, container.name, container.title);
        // Writing to a `String` cannot fail.
        let _ = writeln!(log, "annotated {}: {}", printable(&what), summary(&report.vulnerabilities, &annotation));
    }
    if workload::objects(&annotated).ok().as_ref() != Some(&expected) {
        bail!(
            "annotating this manifest would also change other parts of it; write the metadata of the pod template \
             without anchors, aliases and merge keys"
        );
    }
    Ok((annotated, log))
}

/// The bytes for the annotation of a container, next to the other annotations of its pod.
fn budget(container: &Container, object: &Value, containers: &[Container], chosen: &[&Container]) -> ByteBudget {
    // A container with a name that no annotation can have takes no bytes.
    let key = |other: &Container| container.shares_pod_with(other).then(|| other.annotation().ok())?;
    let own: BTreeSet<_> = containers.iter().filter_map(key).collect();
    let written = chosen.iter().copied().filter_map(key).collect();
    ByteBudget::new(workload::annotations(object, &container.template), &own, &written)
}

/// The containers to annotate: the named ones, else those with the scanned image.
fn choose<'a>(containers: &'a [Container], named: &[String], scanned: &ScannedImage<'_>) -> Result<Vec<&'a Container>> {
    for name in named {
        if !containers.iter().any(|container| container.name == *name) {
            bail!("unknown container `{name}`; {}", list(containers));
        }
    }
    let matching = |wanted: Match| move |container: &&Container| scanned.compare(&container.image) == wanted;
    if !named.is_empty() {
        let chosen: Vec<_> = containers.iter().filter(|container| named.contains(&container.name)).collect();
        for other in chosen.iter().copied().filter(|_| scanned.has_name()).filter(matching(Match::Other)) {
            warn(other, &format!("has the image `{}`, but the scanned image is {scanned}", other.image));
        }
        return Ok(chosen);
    }
    let same: Vec<_> = containers.iter().filter(matching(Match::Same)).collect();
    let mut with_other_digest = containers.iter().filter(matching(Match::OtherDigest));
    if !same.is_empty() {
        for other in with_other_digest {
            warn(other, &format!("is not annotated: its image `{}` is pinned to another digest", other.image));
        }
        return Ok(same);
    }
    if let Some(container) = with_other_digest.next() {
        // This is an error that names both digests.
        scanned.digest(&container.label(), &container.image)?;
    }
    if !scanned.has_name() {
        let digest = if scanned.has_digest() { "" } else { ", and the scanned digest with --digest" };
        bail!("the report does not name its image; choose a container with --container{digest}; {}", list(containers));
    }
    bail!("no container has the scanned image {scanned}; choose a container with --container; {}", list(containers));
}

fn warn(container: &Container, problem: &str) {
    let text = format!("Warning: {} {} of {} {problem}", container.noun, container.name, container.title);
    eprintln!("{}", printable(&text));
}

fn list(containers: &[Container]) -> String {
    if containers.is_empty() {
        return "the manifest has no containers".to_owned();
    }
    let lines = containers.iter().map(|of| format!("\n  {} of {}: `{}`", of.label(), of.title, of.image));
    format!("the manifest has:{}", lines.collect::<String>())
}
