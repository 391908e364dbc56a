//! `container-patch annotate`: writes what a scanner found where the policy reads it.

mod annotation;
mod clair;
mod grype;
mod image;
mod room;
mod sarif;
mod scan;
mod splice;
mod trivy;
mod workload;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use container_patch_policy::evidence::annotations::VULNERABILITY;
use container_patch_policy::image::Digest;
use serde_json::Value;
use tempfile::NamedTempFile;

use crate::stdout;
use crate::table::printable;
use annotation::{Annotation, in_words};
use image::{Relation, Scanned};
use room::{MOST_OF_ALL, Room};
use scan::Scan;
use workload::Container;

/// Write a scanner's findings into the annotations of a manifest, or print them as an annotation for the image
///
/// With a manifest, the pod templates of the containers, and image volumes, whose image was scanned are annotated, and
/// the manifest is printed. Without one, an annotation for the image itself is printed, for `docker buildx build
/// --annotation` or `crane mutate --annotation`.
#[derive(Debug, Args)]
pub struct Options {
    /// Report of Trivy, Grype or Clair in JSON, or of Trivy or Grype in SARIF; `-` for standard input
    #[arg(value_name = "SCAN")]
    scan: PathBuf,
    /// Manifest to annotate, in YAML or JSON; `-` for standard input
    #[arg(value_name = "MANIFEST")]
    manifest: Option<PathBuf>,
    /// Container, or image volume, to annotate, whatever its image is called; may be given several times
    #[arg(short, long = "container", value_name = "NAME", requires = "manifest")]
    containers: Vec<String>,
    /// Digest that was scanned, where the report does not say it or says another
    #[arg(long, value_name = "DIGEST", value_parser = digest, requires = "manifest")]
    digest: Option<String>,
    /// Time of the scan in RFC 3339, where the report does not say it; that of the file if left out
    #[arg(long, value_name = "TIME", value_parser = timestamp)]
    timestamp: Option<DateTime<Utc>>,
    /// Rewrite the manifest instead of printing it
    #[arg(short, long, requires = "manifest")]
    in_place: bool,
    /// Where the pod template stands in kinds that are not Kubernetes' own, as a JSON pointer such as
    /// `/spec/tasks/0/template`; `/spec/template` if left out
    #[arg(long, value_name = "POINTER", requires = "manifest")]
    pod_template: Option<String>,
}

fn digest(text: &str) -> Result<String, String> {
    Digest::parse(text).map(|digest| digest.as_str().to_owned()).map_err(|error| error.to_string())
}

fn timestamp(text: &str) -> Result<DateTime<Utc>, String> {
    let time = DateTime::parse_from_rfc3339(text);
    time.map(|time| time.to_utc()).map_err(|error| format!("{error}; write a time such as 2026-11-19T08:00:00Z"))
}

/// Annotates the manifest, or prints an annotation for the image.
///
/// # Errors
/// When the report or the manifest cannot be read, or it is not clear what is to be annotated, and with what.
pub fn exec(options: &Options) -> Result<()> {
    // What scanners found is text of others, and so are manifests.
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
            bail!("--in-place rewrites a file, and the manifest comes from {}", target.name());
        }
    }
    let scan = scan::read(&source.read()?).with_context(|| source.name())?;
    let time = time(&scan, options.timestamp, &source)?;
    let Some(target) = target else {
        let annotation = Annotation::new(&scan, time, None, annotation::MOST)?;
        eprintln!("annotation for an image: {}", in_words(&scan.findings, &annotation));
        return stdout::print(&format!("{VULNERABILITY}{}={}\n", scan.scanner, annotation.json));
    };
    let (annotated, done) = annotate(&target.read()?, &scan, time, options).with_context(|| target.name())?;
    if options.in_place {
        replace(target.path, &annotated)?;
    } else {
        stdout::print(&annotated)?;
    }
    eprint!("{done}");
    Ok(())
}

/// A file that is read, or standard input.
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

/// The time of the scan: the report's own, the one that is given, or that of the file.
fn time(scan: &Scan, given: Option<DateTime<Utc>>, source: &Input<'_>) -> Result<DateTime<Utc>> {
    let shown = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
    if let Some(time) = scan.time {
        if given.is_some_and(|given| given != time) {
            eprintln!("the report says itself that it was made at {}; --timestamp is left out of account", shown(time));
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
    let modified = modified.with_context(|| format!("cannot tell how old {} is; give --timestamp", source.name()))?;
    Ok(modified.into())
}

/// Writes the scan into a manifest, and says in words where.
fn annotate(text: &str, scan: &Scan, time: DateTime<Utc>, options: &Options) -> Result<(String, String)> {
    let scanned = Scanned::new(scan, options.digest.as_deref());
    let mut expected = workload::objects(text)?;
    let containers = workload::containers(&expected, options.pod_template.as_deref())?;
    let chosen = choose(&containers, &options.containers, &scanned)?;
    let (mut annotated, mut done) = (text.to_owned(), String::new());
    for container in &chosen {
        let digest = scanned.digest(&container.label(), &container.image)?;
        let key = container.annotation()?;
        let object = expected.get_mut(container.object).context("an object is not where it was")?;
        let room = room(container, object, &containers, &chosen);
        let annotation = Annotation::new(scan, time, Some(&digest), room.of(&key)).with_context(|| {
            format!(
                "there is no room for the annotation of {} of {}, since all annotations of an object together have at \
                 most {MOST_OF_ALL} bytes",
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
        let _ = writeln!(done, "annotated {}: {}", printable(&what), in_words(&scan.findings, &annotation));
    }
    if workload::objects(&annotated).ok().as_ref() != Some(&expected) {
        bail!(
            "the manifest cannot be annotated without changing more of it than the annotation: write the metadata of \
             the pod template out, without anchors, aliases and merge keys"
        );
    }
    Ok((annotated, done))
}

/// The room for the annotation of a container, beside the others of its pod.
fn room(container: &Container, object: &Value, containers: &[Container], chosen: &[&Container]) -> Room {
    // One that can have no annotation needs no room.
    let key = |other: &Container| container.is_beside(other).then(|| other.annotation().ok())?;
    let own: BTreeSet<_> = containers.iter().filter_map(key).collect();
    let written = chosen.iter().copied().filter_map(key).collect();
    Room::beside(workload::annotations(object, &container.template), &own, &written)
}

/// The containers to annotate: those that are named, else those whose image was scanned.
fn choose<'a>(containers: &'a [Container], named: &[String], scanned: &Scanned<'_>) -> Result<Vec<&'a Container>> {
    for name in named {
        if !containers.iter().any(|container| container.name == *name) {
            bail!("no container is called `{name}`; {}", list(containers));
        }
    }
    let related = |wanted: Relation| move |container: &&Container| scanned.relation(&container.image) == wanted;
    if !named.is_empty() {
        let chosen: Vec<_> = containers.iter().filter(|container| named.contains(&container.name)).collect();
        for other in chosen.iter().copied().filter(|_| scanned.has_name()).filter(related(Relation::Other)) {
            say(other, &format!("has the image `{}`, and what was scanned is {scanned}", other.image));
        }
        return Ok(chosen);
    }
    let same: Vec<_> = containers.iter().filter(related(Relation::Same)).collect();
    let mut conflicting = containers.iter().filter(related(Relation::Conflicting));
    if !same.is_empty() {
        for other in conflicting {
            say(other, &format!("is left alone: its image `{}` is pinned to another digest", other.image));
        }
        return Ok(same);
    }
    if let Some(container) = conflicting.next() {
        // The digests are what is wrong, and the error says so.
        scanned.digest(&container.label(), &container.image)?;
    }
    if !scanned.has_name() {
        let digest = if scanned.has_digest() { "" } else { ", and with --digest which digest was scanned" };
        bail!("the report names no image; say with --container whose image it is{digest}; {}", list(containers));
    }
    bail!("no container has the image that was scanned, {scanned}; choose one with --container; {}", list(containers));
}

fn say(container: &Container, what: &str) {
    eprintln!("{}", printable(&format!("{} {} of {} {what}", container.noun, container.name, container.title)));
}

fn list(containers: &[Container]) -> String {
    if containers.is_empty() {
        return "there are no containers in the manifest".to_owned();
    }
    let lines = containers.iter().map(|of| format!("\n  {} of {}: `{}`", of.label(), of.title, of.image));
    format!("there are:{}", lines.collect::<String>())
}

/// Puts the text in the place of a file, at once, so that nobody ever reads half of it.
fn replace(path: &Path, text: &str) -> Result<()> {
    let cannot_write = || format!("cannot write {}", path.display());
    // A link stays a link.
    let path = path.canonicalize().with_context(cannot_write)?;
    let folder = path.parent().with_context(cannot_write)?;
    let permissions = std::fs::metadata(&path).with_context(cannot_write)?.permissions();
    let mut file = NamedTempFile::new_in(folder).with_context(cannot_write)?;
    file.write_all(text.as_bytes()).with_context(cannot_write)?;
    file.as_file().set_permissions(permissions).with_context(cannot_write)?;
    file.as_file().sync_all().with_context(cannot_write)?;
    file.persist(&path).with_context(cannot_write)?;
    Ok(())
}
