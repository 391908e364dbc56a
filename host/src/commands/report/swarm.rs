//! The inventory of a Docker swarm: its services, and what their tasks run.

use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap};

use anyhow::{Context as _, Result, bail};
use container_patch_policy::image::Reference;
use serde_json::{Value, json};

use super::inventory::Inventory;
use super::model::Failure;
use crate::counted::counted;
use crate::engine::swarm::{Container, LocalImage, Service, Task, TaskSpec};
use crate::engine::{Engine, EngineError, segment};
use crate::object_name::ObjectName;
use crate::running::Running;
use crate::selector::Selector;
use crate::swarm::pod::{STACK, pod_of_service};

/// Which services to report.
#[derive(Debug, Clone, Copy)]
pub(super) struct Filter<'o> {
    /// The stack.
    pub(super) stack: Option<&'o str>,
    /// The selector for the labels of a service.
    pub(super) selector: Option<&'o Selector>,
}

/// The images of the engine that is asked. Those of other nodes are unknown.
struct LocalImages<'e> {
    engine: &'e Engine,
    /// The ID of the image of each container on this node, by the ID of the container. Labels of containers are not evidence, because
    /// `docker run` can set them.
    containers: OnceCell<Result<HashMap<String, String>, EngineError>>,
    /// The digests of each image.
    digests: HashMap<String, Result<Vec<String>, EngineError>>,
}

/// Tasks of one service that the policy cannot tell apart.
type Group = (String, TaskSpec, Running);

/// Adds the services and their tasks to the inventory. What cannot be read is returned as failures.
///
/// # Errors
/// When the engine cannot be reached, or is not a manager.
pub(super) fn add(engine: &Engine, filter: Filter<'_>, inventory: &mut Inventory<'_>) -> Result<Vec<Failure>> {
    let services: Vec<Service> = engine.list("/services").context("cannot list the services of the swarm")?;
    let mut services: Vec<Service> = services.into_iter().filter(|service| filter.selects(&service.spec)).collect();
    if let Some(stack) = filter.stack.filter(|_| services.is_empty() && filter.selector.is_none()) {
        bail!("the swarm has no service of the stack `{stack}`; `docker stack ls` lists the stacks");
    }
    services.sort_by(|a, b| name(&a.spec).cmp(name(&b.spec)));
    let mut failures = Vec::new();
    for service in &services {
        match pod_of_service(&service.spec) {
            Ok(pod) => inventory.add_service(pod, &object_name(service)),
            Err(reason) => failures.push(Failure { subject: subject(service), reason }),
        }
    }
    match engine.list::<Task>("/tasks") {
        Ok(tasks) => failures.extend(add_tasks(engine, &services, tasks, inventory)),
        Err(error) => failures.push(Failure { subject: "tasks".to_owned(), reason: error.to_string() }),
    }
    Ok(failures)
}

fn add_tasks(engine: &Engine, services: &[Service], tasks: Vec<Task>, inventory: &mut Inventory<'_>) -> Vec<Failure> {
    let by_id: HashMap<&str, &Service> = services.iter().map(|service| (service.id.as_str(), service)).collect();
    let mut local = LocalImages { engine, containers: OnceCell::new(), digests: HashMap::new() };
    let mut groups: BTreeMap<Group, usize> = BTreeMap::new();
    let mut unknown: BTreeMap<(&str, String), usize> = BTreeMap::new();
    for task in tasks.into_iter().filter(Task::is_running) {
        // A service may be created between the two lists. Other tasks are those of services that the filter leaves out.
        let Some(service) = by_id.get(task.service.as_str()) else { continue };
        let Some(image) = task.image() else { continue };
        let running = if image.contains('@') { Running::Nothing } else { local.running(&task, image) };
        if running == Running::Nothing && !image.contains('@') {
            *unknown.entry((&service.id, image.to_owned())).or_default() += 1;
        }
        *groups.entry((task.service, task.spec, running)).or_default() += 1;
    }
    let mut failures = Vec::new();
    for ((id, spec, running), count) in groups {
        let Some(service) = by_id.get(id.as_str()) else { continue };
        let template = json!({"Name": service.spec["Name"], "Labels": service.spec["Labels"], "TaskTemplate": spec});
        match pod_of_service(&template) {
            Ok(pod) => inventory.add_tasks(&pod, &object_name(service), &running, count),
            Err(reason) => failures.push(Failure { subject: format!("tasks of {}", subject(service)), reason }),
        }
    }
    for ((id, image), count) in unknown {
        let Some(service) = by_id.get(id) else { continue };
        let reason = local.reason(&image, count, name(&service.spec));
        failures.push(Failure { subject: subject(service), reason });
    }
    failures
}

impl LocalImages<'_> {
    /// What a task runs whose image has no digest. Its node has pulled the image itself, and only the engine of that node knows the
    /// digest.
    fn running(&mut self, task: &Task, image: &str) -> Running {
        let container = task.container();
        let image_id = container.zip(self.containers().as_ref().ok()).and_then(|(id, containers)| containers.get(id));
        let Some(id) = image_id.cloned() else { return Running::Nothing };
        let engine = self.engine;
        let Ok(digests) = self.digests.entry(id.clone()).or_insert_with(|| digests(engine, &id)) else {
            return Running::Nothing;
        };
        let written = Reference::parse(image).ok();
        let is_same = |digest: &&String| {
            let digest = Reference::parse(digest).ok();
            written.as_ref().zip(digest).is_some_and(|(written, digest)| repository(written) == repository(&digest))
        };
        let found = digests.iter().find(is_same).and_then(|digest| digest.split_once('@'));
        found.map_or(Running::Local(id), |(_, digest)| Running::Digest(digest.to_owned()))
    }

    fn containers(&self) -> &Result<HashMap<String, String>, EngineError> {
        self.containers.get_or_init(|| {
            let containers = self.engine.list::<Container>("/containers/json")?;
            Ok(containers.into_iter().map(|container| (container.id, container.image_id)).collect())
        })
    }

    /// Why the digest is unknown that tasks run.
    fn reason(&self, image: &str, count: usize, service: &str) -> String {
        let tasks = counted(count, "task");
        let of_digests = || self.digests.values().find_map(|digests| digests.as_ref().err());
        match self.containers().as_ref().err().or_else(of_digests) {
            Some(error) => format!("the digest of the image `{image}` in {tasks} is unknown: {error}"),
            None => format!(
                "the image `{image}` has no digest, and only the nodes of {tasks} know which one they run; \
                 `docker service update --image {image} {service}` adds the digest"
            ),
        }
    }
}

/// The digests of an image of the engine. An image that was deleted has none.
fn digests(engine: &Engine, id: &str) -> Result<Vec<String>, EngineError> {
    match engine.read::<LocalImage>(&format!("/images/{}/json", segment(id)?)) {
        Ok(image) => Ok(image.repo_digests.unwrap_or_default()),
        Err(EngineError::NotFound(_)) => Ok(Vec::new()),
        Err(error) => Err(error),
    }
}

fn repository(image: &Reference<'_>) -> String {
    format!("{}/{}", image.normalized_registry(), image.repository())
}

impl Filter<'_> {
    fn selects(&self, spec: &Value) -> bool {
        let labels = &spec["Labels"];
        let is_in_stack = self.stack.is_none_or(|stack| labels[STACK] == stack);
        is_in_stack && self.selector.is_none_or(|selector| selector.matches(&json!({"metadata": {"labels": labels}})))
    }
}

fn name(spec: &Value) -> &str {
    spec["Name"].as_str().unwrap_or_default()
}

fn object_name(service: &Service) -> ObjectName {
    ObjectName { namespace: String::new(), kind: "Service".to_owned(), name: name(&service.spec).to_owned() }
}

fn subject(service: &Service) -> String {
    format!("Service {}", name(&service.spec))
}
