//! `container-patch report`: the images of manifests, of a cluster or of a swarm, with their deadlines, findings and drift.

mod assessment;
mod bases;
mod calendar;
mod cluster;
mod csv;
mod drift;
mod html;
mod inventory;
mod json;
mod markdown;
pub mod model;
mod openmetrics;
#[cfg(test)]
mod samples;
mod swarm;
mod text;

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail};
use chrono::{DateTime, TimeDelta, Utc};
use clap::{Args, ValueEnum};
use container_patch_policy::settings::Settings;
use serde_json::Value;
use serde_json::value::to_raw_value;

use self::assessment::{Assessment, Standards};
use self::bases::Bases;
use self::inventory::Inventory;
use self::model::{Failure, Image, Report, Scope, Summary};
use crate::cluster::Cluster;
use crate::cluster::list::Selection;
use crate::engine::{Engine, EngineOptions};
use crate::input::{InputOptions, Manifests};
use crate::judge::verdict::FailOnOptions;
use crate::judge::{Judge, JudgeOptions};
use crate::policies::{Origin, Policies};
use crate::selector::Selector;
use crate::stdout;
use crate::terminal::Style;

/// Report the images of manifests, a cluster or a swarm: build dates, deadlines, findings, and drift
///
/// With --cluster, the report is about the workloads of a cluster and about what their pods run. With --swarm, it is about the
/// services of a Docker swarm and about what their tasks run. It only reads.
///
/// The exit code is 0 if all reported images are accepted, 1 if one of them is denied, and 2 if none is denied but something
/// could not be listed or judged.
#[derive(Debug, Args)]
#[command(
    mut_arg("files", |arg| arg.required(false).required_unless_present_any(["cluster", "swarm"])),
    mut_arg("namespace", |arg| arg.help("With --cluster: only this namespace. Otherwise: namespace for objects without one \
                                         [default: default]"))
)]
pub struct Options {
    #[command(flatten)]
    input: InputOptions,
    /// Report the cluster of the kubeconfig instead of manifests
    #[arg(long, conflicts_with = "files")]
    cluster: bool,
    /// Report the services of a Docker swarm instead of manifests; the Docker Engine must be a manager
    #[arg(long, conflicts_with_all = ["files", "cluster", "namespace"])]
    swarm: bool,
    /// With --swarm: only the services of this stack
    #[arg(long, value_name = "NAME", requires = "swarm")]
    stack: Option<String>,
    /// Report all namespaces of the cluster [default: unless --namespace or the configuration gives one]
    #[arg(short = 'A', long, requires = "cluster")]
    all_namespaces: bool,
    /// Only objects or services whose labels match, as in kubectl: `app=web,tier in (a,b)`
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    selector: Option<Selector>,
    /// Only images whose deadline is within this time or has passed, such as `14d`
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    due_within: Option<TimeDelta>,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    judge: JudgeOptions,
    #[command(flatten)]
    fail_on: FailOnOptions,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Table for people
    #[default]
    Text,
    /// JSON object for programs; its schema is docs/report.schema.json
    Json,
    /// Markdown for a pull request or a wiki
    Markdown,
    /// Comma-separated values for spreadsheets
    Csv,
    /// One HTML page for a browser, with a timeline
    Html,
    /// OpenMetrics for Prometheus
    #[value(name = "openmetrics")]
    OpenMetrics,
}

/// Writes the report.
///
/// # Errors
/// When nothing can be judged: the policy or its settings are invalid, the cluster cannot be reached, or there are no manifests.
pub fn exec(options: &Options) -> Result<ExitCode> {
    let report = options.report()?;
    stdout::print(&match options.output {
        Output::Text => text::render(&report, Style::of_stdout()),
        Output::Json => json::render(&report)?,
        Output::Markdown => markdown::render(&report),
        Output::Csv => csv::render(&report),
        Output::Html => html::render(&report),
        Output::OpenMetrics => openmetrics::render(&report),
    })?;
    Ok(ExitCode::from(report.exit_status(options.fail_on.fail_on)))
}

impl Options {
    fn report(&self) -> Result<Report> {
        let mut judge = Judge::open(&self.judge)?;
        if self.swarm {
            judge.judge_services()?;
        } else if self.cluster {
            judge.judge_cluster();
        }
        let settings = settings(judge.policies().with_schedule()?)?;
        let bases = Arc::new(Bases::new(judge.capabilities()));
        judge.answer_by(Arc::<Bases>::clone(&bases));
        let now = settings.general.evaluate_at.unwrap_or_else(Utc::now);
        let are_selected_by_labels = matches!(judge.policies(), Policies::Deployed(_));
        let mut inventory = Inventory::new(&settings, are_selected_by_labels);
        let (scope, mut failures) = if self.cluster {
            (Scope::Cluster, self.add_cluster(&judge, &settings, &mut inventory)?)
        } else if self.swarm {
            (Scope::Swarm, self.add_swarm(&mut inventory)?)
        } else {
            self.add_manifests(&judge, &mut inventory)?;
            (Scope::Manifests, Vec::new())
        };
        let entries = inventory.into_entries();
        let objects: Vec<_> = entries.iter().map(|entry| entry.object.clone()).collect();
        let judged = judge.all(&objects);
        judge.close()?;
        let judged: Vec<_> = entries.into_iter().zip(judged).collect();
        let Assessment { images, object_findings, failures: of_objects } =
            Standards::new(&settings, &bases, now).assess(&judged);
        failures.extend(of_objects);
        let drift = drift::of(&images, scope);
        let (images, left_out) = self.due(images, now);
        let deadlines: Vec<_> = images.iter().filter_map(|image| image.deadline).collect();
        Ok(Report {
            time: now,
            scope,
            namespace: self.stack.as_deref().or(self.namespace()).map(str::to_owned),
            summary: Summary::of(&images, left_out),
            calendar: calendar::of(&settings.rules.schedule, now, &deadlines),
            images,
            drift,
            object_findings,
            failures,
        })
    }

    fn add_manifests(&self, judge: &Judge, inventory: &mut Inventory<'_>) -> Result<()> {
        let Manifests { objects, .. } = self.input.read_objects()?;
        judge.learn_namespaces(&objects, Origin::Manifest);
        for object in objects {
            let is_selected = match (&self.selector, &object.object) {
                (Some(selector), Ok(object)) => selector.matches(object),
                _ => true,
            };
            if is_selected {
                inventory.add_manifest(object, judge.namespace());
            }
        }
        Ok(())
    }

    fn add_cluster(&self, judge: &Judge, settings: &Settings, inventory: &mut Inventory<'_>) -> Result<Vec<Failure>> {
        let selector = self.selector.as_ref().map(Selector::as_str);
        let selection = Selection { namespace: self.namespace(), selector };
        cluster::add(&Cluster::new(self.judge.cluster()), judge, settings, selection, inventory)
    }

    fn add_swarm(&self, inventory: &mut Inventory<'_>) -> Result<Vec<Failure>> {
        let filter = swarm::Filter { stack: self.stack.as_deref(), selector: self.selector.as_ref() };
        swarm::add(&Engine::new(&self.engine)?, filter, inventory)
    }

    /// The only namespace of a cluster that is reported.
    fn namespace(&self) -> Option<&str> {
        self.judge.given_namespace().filter(|_| self.cluster && !self.all_namespaces)
    }

    /// The images that are due, and the number of the others.
    fn due(&self, mut images: Vec<Image>, now: DateTime<Utc>) -> (Vec<Image>, usize) {
        let Some(within) = self.due_within else { return (images, 0) };
        let all = images.len();
        images.retain(|image| image.deadline.is_some_and(|deadline| deadline <= now + within));
        let left_out = all - images.len();
        (images, left_out)
    }
}

fn settings(json: &Value) -> Result<Settings> {
    match Settings::from_json(&to_raw_value(json)?) {
        Ok(settings) => Ok(settings),
        Err(problems) => bail!("the settings of this policy are not valid:\n{problems}"),
    }
}

/// Reads a duration as the settings write it.
pub(super) fn duration(text: &str) -> Result<TimeDelta, String> {
    use container_patch_policy::config::read::{Path, Problems, Setting as _};
    use container_patch_policy::config::values::Duration;
    let json = to_raw_value(text).map_err(|error| error.to_string())?;
    let mut problems = Problems::default();
    match Duration::read(&json, Path::Root, &mut problems) {
        Some(duration) => Ok(duration.delta()),
        None => Err("expected a duration such as `14d` or `36h`".to_owned()),
    }
}
