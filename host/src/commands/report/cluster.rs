//! The inventory of a cluster: its workloads, and what their pods run.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use container_patch_policy::config::read::Setting as _;
use container_patch_policy::settings::Settings;
use container_patch_policy::workload::kinds::{KINDS, Kind, Layout};
use indicatif::ProgressBar;
use serde_json::Value;

use super::inventory::Inventory;
use super::model::Failure;
use crate::cluster::Cluster;
use crate::cluster::list::Selection;
use crate::input::{ManifestFile, ManifestObject, Source};
use crate::judge::Judge;
use crate::object_name::ObjectName;
use crate::policies::{Origin, Policies};
use crate::terminal::printable;

/// The longest chain of owners that is followed. A Pod of a CronJob has a chain of two.
const MAX_OWNERS: usize = 8;

/// The phases of pods that run nothing any more.
const FINISHED: [&str; 2] = ["Succeeded", "Failed"];

/// A kind of the cluster to list.
struct Listed {
    api_version: String,
    kind: String,
}

/// An object of the cluster.
struct Found {
    name: ObjectName,
    /// Its controller.
    owner: Option<ObjectName>,
    /// The object. `None` if nothing but its owner is needed.
    object: Option<Value>,
}

/// Adds the workloads and pods of a cluster to the inventory. Kinds that cannot be listed are returned as failures.
///
/// # Errors
/// When the cluster cannot be reached.
pub(super) fn add(
    cluster: &Cluster,
    judge: &Judge,
    settings: &Settings,
    selection: Selection<'_>,
    inventory: &mut Inventory<'_>,
) -> Result<Vec<Failure>> {
    cluster.reach().map_err(|reason| anyhow!(reason))?;
    let progress = if judge.shows_progress() { ProgressBar::new_spinner() } else { ProgressBar::hidden() };
    progress.enable_steady_tick(Duration::from_millis(100));
    let (kinds, mut failures) = kinds(cluster, settings);
    if matches!(judge.policies(), Policies::Deployed(_)) {
        progress.set_message("listing Namespace");
        failures.extend(learn_namespaces(cluster, judge).err());
    }
    let (mut found, mut pods) = (Vec::new(), Vec::new());
    let mut owners = HashMap::new();
    for listed in &kinds {
        progress.set_message(format!("listing {}", listed.kind));
        let is_pod = listed.kind == "Pod";
        match cluster.each(&listed.api_version, &listed.kind, selection, |object| Found::of(object, is_pod)) {
            Ok(objects) if is_pod => pods = objects,
            Ok(objects) => found.extend(objects),
            Err(reason) => failures.push(listed.failure(reason)),
        }
        // The labels of what owns a pod may be others than those of the pod.
        let has_owned_pods = matches!(listed.kind.as_str(), "ReplicaSet" | "Job");
        if has_owned_pods && selection.selector.is_some() {
            let all = Selection { selector: None, ..selection };
            let owned = |object| Found::of(object, false).map(|found| (found.name, found.owner));
            // Without these, the pods are attributed to what owns them directly.
            owners.extend(cluster.each(&listed.api_version, &listed.kind, all, owned).unwrap_or_default());
        }
    }
    progress.finish_and_clear();
    if let (Selection { namespace: Some(namespace), selector: None }, [], [], []) =
        (selection, &found[..], &pods[..], &failures[..])
    {
        eprintln!("Warning: the namespace `{}` has no workloads, or does not exist", printable(namespace));
    }
    owners.extend(found.iter().chain(&pods).map(|found| (found.name.clone(), found.owner.clone())));
    for workload in found.into_iter().filter_map(|found| found.object) {
        inventory.add_workload(workload);
    }
    for Found { name, object, .. } in &pods {
        if let Some(pod) = object {
            inventory.add_pod(pod, top_owner(name, &owners));
        }
    }
    Ok(failures)
}

/// Learns the labels of the namespaces, for the namespace selectors of policies.
fn learn_namespaces(cluster: &Cluster, judge: &Judge) -> Result<(), Failure> {
    let all = Selection { namespace: None, selector: None };
    let listed = Listed { api_version: "v1".to_owned(), kind: "Namespace".to_owned() };
    let namespaces =
        cluster.each(&listed.api_version, &listed.kind, all, Some).map_err(|reason| listed.failure(reason))?;
    let source = Source {
        file: Arc::new(ManifestFile::new("cluster".to_owned(), String::new())),
        index: 0,
        place: None,
        error_line: None,
    };
    let objects = namespaces.into_iter().map(|object| ManifestObject { source: source.clone(), object: Ok(object) });
    judge.learn_namespaces(&objects.collect::<Vec<_>>(), Origin::Cluster);
    Ok(())
}

impl Listed {
    fn failure(&self, reason: String) -> Failure {
        Failure { subject: format!("{} ({})", self.kind, self.api_version), reason }
    }
}

impl Found {
    /// An object of a list. `None` for a pod that runs nothing.
    fn of(object: Value, is_pod: bool) -> Option<Self> {
        if is_pod && FINISHED.iter().any(|phase| object["status"]["phase"] == *phase) {
            return None;
        }
        let name = ObjectName::of(&object, "");
        let owner = ObjectName::of_controller(&object);
        // The objects that a controller creates from a workload have the images of its template.
        let object = (is_pod || owner.is_none()).then_some(object);
        Some(Self { name, owner, object })
    }
}

/// The workload at the end of the chain of owners. An owner that is not listed ends the chain.
fn top_owner<'n>(name: &'n ObjectName, owners: &'n HashMap<ObjectName, Option<ObjectName>>) -> &'n ObjectName {
    let mut top = name;
    for _ in 0..MAX_OWNERS {
        match owners.get(top) {
            Some(Some(owner)) => top = owner,
            _ => break,
        }
    }
    top
}

/// The kinds to list: Kubernetes' own kinds with pod templates, then those of the settings.
fn kinds(cluster: &Cluster, settings: &Settings) -> (Vec<Listed>, Vec<Failure>) {
    // Nothing runs from a ControllerRevision until its workload is rolled back.
    let is_listed = |kind: &&Kind| kind.layout == Layout::Template;
    let own = KINDS.iter().filter(is_listed).map(|kind| {
        let group = if kind.group.is_empty() { String::new() } else { format!("{}/", kind.group) };
        let [stable, beta] = ["v1", "v1beta1"].map(|version| format!("{group}{version}"));
        // Kubernetes has CronJobs in batch/v1 since 1.21.
        let is_old = kind.kind == "CronJob" && !cluster.serves(&stable, kind.kind) && cluster.serves(&beta, kind.kind);
        Listed { api_version: if is_old { beta } else { stable }, kind: kind.kind.to_owned() }
    });
    let (mut kinds, mut failures): (Vec<Listed>, _) = (own.collect(), Vec::new());
    for custom in &settings.general.custom_workloads {
        let written = custom.api_version.to_json();
        let written = written.as_str().unwrap_or_default();
        let mut listed = Listed { api_version: written.to_owned(), kind: custom.kind.clone() };
        if let Some(group) = written.strip_suffix("/*") {
            match cluster.preferred_version(group) {
                Ok(version) => listed.api_version = format!("{group}/{version}"),
                Err(reason) => {
                    failures.push(listed.failure(reason));
                    continue;
                }
            }
        }
        // A kind with several templates is in the settings several times.
        if !kinds.iter().any(|known| (&known.api_version, &known.kind) == (&listed.api_version, &listed.kind)) {
            kinds.push(listed);
        }
    }
    (kinds, failures)
}
