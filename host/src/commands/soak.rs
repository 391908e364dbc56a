//! `container-patch soak`: records which images run in staging, and since when, for the setting `rollout.soak` of production.

mod merge;
mod pods;
mod record;

use std::io;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use anyhow::{Context as _, Error, Result, anyhow, bail};
use chrono::{DateTime, SubsecRound as _, TimeDelta, Utc};
use clap::{ArgGroup, Args};
use serde_json::{Value, json};

use self::merge::{Merged, Staging};
use self::pods::Limits;
use self::record::Record;
use super::report::duration;
use crate::at::At;
use crate::cluster::config_map::Apply;
use crate::cluster::list::Selection;
use crate::cluster::{self, Cluster, ClusterOptions};
use crate::counted::counted;
use crate::manifest;
use crate::selector::Selector;
use crate::stdout;
use crate::terminal::printable;

/// The field manager of the record in the cluster.
const FIELD_MANAGER: &str = "container-patch-soak";

/// The file that grants what this command needs.
const ROLE: &str = "deploy/soak/recorder.yaml";

/// How many warnings about one thing are printed.
const MAX_WARNINGS: usize = 10;

/// How many pods with containers that are not ready are named.
const MAX_WAITING: usize = 3;

/// Record which images run in staging, and since when, for `rollout.soak` in the settings of production
///
/// It reads the pods of staging namespaces, and writes the digests of their images to the record: a ConfigMap that says since when
/// each digest has been ready. Without --apply, it prints the ConfigMap as YAML. docs/promotion.md describes when an image counts
/// as ready, and how to use the record.
///
/// A user who can write the record decides which images production admits.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("namespaces").args(["namespace", "all_namespaces"]).required(true)),
    mut_arg("kubeconfig", |arg| arg.help("Kubeconfig of the staging cluster [default: that of kubectl]"))
)]
pub struct Options {
    /// Namespace of staging; can be given several times
    #[arg(short, long, value_name = "NAME", value_parser = namespace)]
    namespace: Vec<String>,
    /// All namespaces, for a cluster that is only for staging
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// Only pods whose labels match, as in kubectl: `app=web,tier in (a,b)`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// ConfigMap with the record
    #[arg(long, value_name = "NAMESPACE/NAME", default_value = "container-patch/soaked-images")]
    config_map: ConfigMapName,
    /// Write the record to the cluster, by server-side apply
    #[arg(long)]
    apply: bool,
    /// With --apply: let the API server check the request, and do not change the record
    #[arg(long, requires = "apply")]
    dry_run: bool,
    /// With --apply: write the record also if staging has no pods
    ///
    /// Without it, no pods are an error if the record has running digests: they would all seem to have left.
    #[arg(long, requires = "apply")]
    allow_empty: bool,
    /// File with the earlier record; it may not exist yet [default: the ConfigMap in the cluster]
    #[arg(long, value_name = "FILE", conflicts_with = "apply")]
    merge: Option<PathBuf>,
    /// Maximum number of restarts of a container that counts as ready
    #[arg(long, value_name = "N", default_value_t = 0)]
    max_restarts: u64,
    /// How long digests that have left staging are kept
    #[arg(long, value_name = "DURATION", default_value = "30d", value_parser = duration)]
    keep: TimeDelta,
    /// Time of the record, as a day or in RFC 3339 [default: now]
    #[arg(long, value_name = "DATE", value_parser = At::parse)]
    at: Option<At>,
    #[command(flatten)]
    cluster: ClusterOptions,
}

/// The namespace and the name of a ConfigMap.
#[derive(Debug, Clone)]
struct ConfigMapName {
    namespace: String,
    name: String,
}

/// Writes the record.
///
/// # Errors
/// When the pods or the earlier record cannot be read, or the record cannot be written. Then it stays as it is.
pub fn exec(options: &Options) -> Result<()> {
    let now = options.at.map_or_else(Utc::now, |at| at.time(&json!({}))).trunc_subsecs(0);
    let cluster = Cluster::new(&options.cluster);
    let staging = options.staging(&cluster, now)?;
    let (earlier, version) = options.earlier(&cluster, now)?;
    options.check_pods(&staging, &earlier)?;
    let Merged { mut record, new, failed } = merge::merge(&earlier, &staging, options.keep, now);
    warn(failed.iter().map(|(digest, why)| format!("{digest} does not count as soaked: {why}")));
    let dropped = record.shorten();
    if dropped > 0 {
        let digests = counted(dropped, "digest");
        warn([format!("the record is too large for a ConfigMap: dropped the oldest {digests}")]);
    }
    let config_map = record.config_map(&options.config_map.namespace, &options.config_map.name, version.as_deref());
    if options.apply {
        let apply = Apply { manager: FIELD_MANAGER, dry_run: options.dry_run };
        cluster.apply_config_map(&serde_json::to_value(&config_map)?, apply).map_err(with_role)?;
    } else {
        stdout::print(&config_map.to_yaml()?)?;
    }
    let left = record.left();
    let (all, running) = (counted(record.len(), "digest"), record.len() - left);
    let mode = if options.dry_run { " (dry run)" } else { "" };
    let waiting = printable(&waiting(&staging));
    eprintln!("{all}: {running} running, {left} stopped; {new} new{mode}{waiting}");
    Ok(())
}

impl Options {
    /// What runs in staging.
    fn staging(&self, cluster: &Cluster, now: DateTime<Utc>) -> Result<Staging> {
        let limits = Limits { max_restarts: self.max_restarts, now };
        let selector = self.selector.as_ref().map(Selector::as_str);
        let mut namespaces: Vec<_> = self.namespace.iter().map(|name| Some(name.as_str())).collect();
        if self.all_namespaces {
            namespaces.push(None);
        }
        let mut staging = Staging::default();
        for namespace in namespaces {
            let mut pods = 0_usize;
            let add = |pod: Value| {
                pods += 1;
                staging.add(pods::read(&pod, limits));
                None::<()>
            };
            cluster.each("v1", "Pod", Selection { namespace, selector }, add).map_err(with_role)?;
            if pods == 0 {
                let place = namespace.map_or("the cluster".to_owned(), |name| format!("the namespace {name}"));
                let selected = if selector.is_some() { " that the selector matches" } else { "" };
                warn([format!("{place} has no pods{selected}")]);
            }
        }
        if staging.without_digest > 0 {
            warn([format!("left out {} without a sha256 digest", counted(staging.without_digest, "image"))]);
        }
        Ok(staging)
    }

    /// Checks that a wrong namespace, selector or cluster does not end the soak time of all digests.
    fn check_pods(&self, staging: &Staging, earlier: &Record) -> Result<()> {
        let running = earlier.entries.len() - earlier.left();
        if self.apply && !self.allow_empty && staging.pods == 0 && running > 0 {
            bail!(
                "staging has no pods, but {} of the record {} running; nothing was written; if staging was emptied on \
                 purpose, give --allow-empty",
                counted(running, "digest"),
                if running == 1 { "is" } else { "are" }
            );
        }
        Ok(())
    }

    /// The earlier record, with its version in the cluster.
    fn earlier(&self, cluster: &Cluster, now: DateTime<Utc>) -> Result<(Record, Option<String>)> {
        let ConfigMapName { namespace, name } = &self.config_map;
        let (config_map, place) = match &self.merge {
            Some(file) => (read_file(file)?, file.display().to_string()),
            None => (cluster.config_map(namespace, name).map_err(with_role)?, format!("ConfigMap {namespace}/{name}")),
        };
        let Some(config_map) = config_map else { return Ok((Record::default(), None)) };
        let (record, problems) = Record::read(&config_map, now).with_context(|| format!("cannot use {place}"))?;
        warn(problems.iter().map(|problem| format!("{place}: {problem}; the entry is left out")));
        let version = config_map["metadata"]["resourceVersion"].as_str().filter(|_| self.apply);
        Ok((record, version.map(str::to_owned)))
    }
}

/// How many containers are not ready yet, and in which pods.
fn waiting(staging: &Staging) -> String {
    if staging.not_ready == 0 {
        return String::new();
    }
    let verb = if staging.not_ready == 1 { "is" } else { "are" };
    let named: Vec<_> = staging.waiting.iter().take(MAX_WAITING).map(String::as_str).collect();
    let more = if staging.waiting.len() > MAX_WAITING { ", …" } else { "" };
    format!("; {} {verb} not ready yet: {}{more}", counted(staging.not_ready, "container"), named.join(", "))
}

/// Reads a ConfigMap from a file. `None` if there is no such file.
fn read_file(file: &Path) -> Result<Option<Value>> {
    let text = match std::fs::read_to_string(file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        read => read.with_context(|| format!("cannot open {}", file.display()))?,
    };
    if text.trim().is_empty() {
        let name = file.display();
        bail!(
            "{name} is empty; if the output is redirected to this file, the shell empties it first: write to another file, then rename it"
        );
    }
    manifest::from_yaml(&text).map(Some).with_context(|| format!("cannot read {}", file.display()))
}

/// The error about the cluster, with the role that grants a missing permission.
fn with_role(reason: String) -> Error {
    if cluster::is_missing_permission(&reason) { anyhow!("{reason}; {ROLE} grants it") } else { anyhow!(reason) }
}

/// Prints warnings to standard error, up to a number of them.
fn warn(warnings: impl IntoIterator<Item = String>) {
    let mut warnings = warnings.into_iter();
    for warning in warnings.by_ref().take(MAX_WARNINGS) {
        eprintln!("Warning: {}", printable(&warning));
    }
    let more = warnings.count();
    if more > 0 {
        eprintln!("Warning: … and {more} more like this");
    }
}

/// Reads the name of a namespace. An empty one would be all namespaces.
fn namespace(text: &str) -> Result<String, String> {
    if is_name(text) { Ok(text.to_owned()) } else { Err("expected the name of a namespace".to_owned()) }
}

impl FromStr for ConfigMapName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => {
                Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
            }
            _ => Err("expected NAMESPACE/NAME, such as container-patch/soaked-images".to_owned()),
        }
    }
}

/// Whether a text can be the name of a namespace or a ConfigMap.
fn is_name(text: &str) -> bool {
    let is_known = |character: char| {
        character.is_ascii_lowercase() || character.is_ascii_digit() || matches!(character, '-' | '.')
    };
    (1..=253).contains(&text.len()) && text.chars().all(is_known)
}

#[cfg(test)]
mod tests {
    use super::{ConfigMapName, namespace};

    #[test]
    fn a_config_map_is_given_with_its_namespace() {
        let name: ConfigMapName = "container-patch/soaked-images".parse().unwrap();
        assert_eq!((name.namespace.as_str(), name.name.as_str()), ("container-patch", "soaked-images"));
        for text in ["soaked-images", "/soaked-images", "container-patch/", "a/b/c", "a/B", "a/b?", ""] {
            let error = text.parse::<ConfigMapName>().unwrap_err();
            assert_eq!(error, "expected NAMESPACE/NAME, such as container-patch/soaked-images", "{text}");
        }
    }

    #[test]
    fn a_namespace_has_a_name() {
        assert_eq!(namespace("staging").unwrap(), "staging");
        for text in ["", "Staging", "a/../b", "*"] {
            assert!(namespace(text).is_err(), "{text}");
        }
    }
}
