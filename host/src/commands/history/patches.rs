//! The time to patch: how long from the first admission of a new build until the last pod of an older one is deleted.
//!
//! A patch belongs to an image repository. It begins when a build that is newer than those that run is stored in a pod or a workload, and
//! it ends when the last pod of any older build is deleted. So a rollback extends it. If a pod of an older build comes back after the
//! end, a new patch begins. A build is newer by its build date or, without one, by its first admission.
//!
//! Pods are known by their creation and their deletion. Pods of Jobs run to completion, so they do not count. A service of a swarm counts
//! as one pod that ends when the service is updated to another build.
//!
//! Requesters choose owner references and build dates, so both are checked as far as the log allows it.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::record::{Deleted, Image, Operation, Platform, Record, Request};

/// The most pods that are known at a time.
const MAX_PODS: usize = 1_000_000;
/// The most repositories.
const MAX_REPOSITORIES: usize = 100_000;
/// The most builds of a repository that are remembered although no pod runs them.
const MAX_IDLE_BUILDS: usize = 32;

/// The most builds of a repository.
const MAX_BUILDS: usize = 10_000;
/// The most unfinished patches of a repository.
const MAX_OPEN: usize = 1000;

/// The users that create the pods of Jobs: the Job controller, or kube-controller-manager without accounts for its controllers.
const JOB_CONTROLLERS: [&str; 2] =
    ["system:serviceaccount:kube-system:job-controller", "system:kube-controller-manager"];

/// A patch of an image repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Patch {
    pub(super) repository: String,
    /// The digest of the new build.
    pub(super) digest: String,
    /// When the new build was stored first.
    pub(super) start: DateTime<Utc>,
    /// When the last pod of an older build was deleted. `None` if the patch is unfinished.
    pub(super) end: Option<DateTime<Utc>>,
    /// The pods and services that still run an older build.
    pub(super) old_pods: usize,
}

impl Patch {
    /// How long it took, if it is finished.
    pub(super) fn duration(&self) -> Option<TimeDelta> {
        Some(self.end? - self.start)
    }
}

/// The patches, from the records of a log.
#[derive(Debug)]
pub(super) struct Patches {
    repositories: Vec<Repository>,
    by_name: HashMap<String, usize>,
    /// What runs, by namespace and name.
    pods: HashMap<(Platform, String), HashMap<String, Pod>>,
    pod_count: usize,
    unnamed_pods: usize,
    limits: Limits,
    exceeds_limits: bool,
}

#[derive(Debug, Clone, Copy)]
struct Limits {
    pods: usize,
    repositories: usize,
    builds: usize,
}

/// The builds that a pod runs: the index of the repository, and the age of the build.
type Pod = Vec<(usize, Age)>;

/// The order of builds: the build date or the first admission, then the first admission, then the order in the log.
type Age = (DateTime<Utc>, DateTime<Utc>, usize);

#[derive(Debug, Default)]
struct Repository {
    name: String,
    builds: BTreeMap<Age, Build>,
    by_digest: HashMap<String, Age>,
    /// The patches that are not finished, by the age of the new build.
    open: BTreeMap<Age, DateTime<Utc>>,
    next_build: usize,
}

#[derive(Debug)]
struct Build {
    digest: String,
    pods: usize,
}

impl Default for Patches {
    fn default() -> Self {
        Self::with(Limits { pods: MAX_PODS, repositories: MAX_REPOSITORIES, builds: MAX_BUILDS })
    }
}

impl Patches {
    fn with(limits: Limits) -> Self {
        Self {
            repositories: Vec::new(),
            by_name: HashMap::new(),
            pods: HashMap::new(),
            pod_count: 0,
            unnamed_pods: 0,
            limits,
            exceeds_limits: false,
        }
    }

    /// Takes the next record. `finished` gets the patches that it finishes.
    pub(super) fn add(&mut self, record: &Record, finished: &mut Vec<Patch>) {
        match record {
            Record::Request(request) if request.outcome.is_stored() => self.add_request(request, finished),
            Record::Request(_) => {}
            Record::Deleted(deleted) => self.delete(deleted, finished),
        }
    }

    /// The patches that are not finished, by repository and start.
    pub(super) fn unfinished(&self) -> Vec<Patch> {
        let mut patches: Vec<_> = self.repositories.iter().flat_map(Repository::unfinished).collect();
        patches.sort_by(|a, b| (&a.repository, a.start, &a.digest).cmp(&(&b.repository, b.start, &b.digest)));
        patches
    }

    /// The pods whose names the log does not have, so that their ends are unknown.
    pub(super) fn unnamed_pods(&self) -> usize {
        self.unnamed_pods
    }

    /// Whether there were more pods or repositories than the limits allow. The others are not covered.
    pub(super) fn exceeds_limits(&self) -> bool {
        self.exceeds_limits
    }

    fn add_request(&mut self, request: &Request, finished: &mut Vec<Patch>) {
        let object = &request.object;
        // Every user can write an owner reference.
        let is_of_controller = JOB_CONTROLLERS.contains(&request.user.as_str()) && request.impersonated_by.is_none();
        let is_of_job = is_of_controller && object.owner.as_ref().is_some_and(|owner| owner.starts_with("Job/"));
        let is_pod = match object.platform {
            Platform::Cluster if object.kind == "Pod" && is_of_job => return,
            Platform::Cluster => object.kind == "Pod",
            Platform::Docker => object.kind == "Service",
        };
        let mut builds: Pod = request.images.iter().filter_map(|image| self.store(request.time, image)).collect();
        if !is_pod || builds.is_empty() {
            return;
        }
        let Some(name) = &object.name else {
            self.unnamed_pods += 1;
            return;
        };
        let namespace = (object.platform, object.namespace.clone());
        if request.operation == Operation::Update {
            self.keep_unknown(request, &namespace, name, &mut builds);
        }
        self.run(namespace, name, builds, request.time, finished);
    }

    /// Adds the earlier builds of a pod that an update may keep: those of images whose digests the log does not have, as for images that
    /// the update does not change.
    fn keep_unknown(&self, request: &Request, namespace: &(Platform, String), name: &str, builds: &mut Pod) {
        let Some(earlier) = self.pods.get(namespace).and_then(|pods| pods.get(name)) else { return };
        let is_unknown = |index: usize| {
            let repository = self.repositories.get(index).map(|repository| repository.name.as_str());
            let mut unknown = request.images.iter().filter(|image| image.digest.is_none());
            request.is_shortened || unknown.any(|image| Some(image.repository.as_str()) == repository)
        };
        for build in earlier {
            if is_unknown(build.0) && !builds.contains(build) {
                builds.push(*build);
            }
        }
    }

    /// Remembers a build that was stored, and begins its patch if it is a new one.
    fn store(&mut self, time: DateTime<Utc>, image: &Image) -> Option<(usize, Age)> {
        let digest = image.digest.as_ref()?;
        let index = match self.by_name.get(&image.repository) {
            Some(index) => *index,
            None if self.repositories.len() >= self.limits.repositories => {
                self.exceeds_limits = true;
                return None;
            }
            None => {
                let index = self.repositories.len();
                self.repositories.push(Repository { name: image.repository.clone(), ..Repository::default() });
                self.by_name.insert(image.repository.clone(), index);
                index
            }
        };
        let repository = self.repositories.get_mut(index)?;
        let known = repository.by_digest.get(digest).copied();
        if known.is_none() && repository.builds.len() >= self.limits.builds {
            self.exceeds_limits = true;
            return None;
        }
        let age = known.unwrap_or_else(|| repository.add_build(digest, image.built, time));
        if known.is_none() && !image.unchanged && repository.has_pods_before(age) {
            self.exceeds_limits |= repository.open.len() >= MAX_OPEN;
            repository.open(age, time);
        }
        Some((index, age))
    }

    /// Sets what a pod runs.
    fn run(
        &mut self,
        namespace: (Platform, String),
        name: &str,
        builds: Pod,
        time: DateTime<Utc>,
        finished: &mut Vec<Patch>,
    ) {
        let pods = self.pods.entry(namespace).or_default();
        if !pods.contains_key(name) {
            if self.pod_count >= self.limits.pods {
                self.exceeds_limits = true;
                return;
            }
            self.pod_count += 1;
        }
        for (index, age) in &builds {
            if let Some(repository) = self.repositories.get_mut(*index) {
                repository.start_pod(*age, time);
            }
        }
        if let Some(earlier) = pods.insert(name.to_owned(), builds) {
            self.stop(&earlier, time, finished);
        }
    }

    fn delete(&mut self, Deleted { time, namespace, name }: &Deleted, finished: &mut Vec<Patch>) {
        let key = (Platform::Cluster, namespace.clone());
        let stopped: Vec<Pod> = match name {
            Some(name) => self.pods.get_mut(&key).and_then(|pods| pods.remove(name)).into_iter().collect(),
            None => self.pods.remove(&key).into_iter().flat_map(HashMap::into_values).collect(),
        };
        if self.pods.get(&key).is_some_and(HashMap::is_empty) {
            self.pods.remove(&key);
        }
        self.pod_count -= stopped.len();
        for pod in &stopped {
            self.stop(pod, *time, finished);
        }
    }

    fn stop(&mut self, builds: &Pod, time: DateTime<Utc>, finished: &mut Vec<Patch>) {
        for (index, age) in builds {
            if let Some(repository) = self.repositories.get_mut(*index) {
                repository.stop_pod(*age, time, finished);
            }
        }
    }
}

impl Repository {
    fn add_build(&mut self, digest: &str, built: Option<DateTime<Utc>>, time: DateTime<Utc>) -> Age {
        // A build with a date in the future would make all others old.
        let age = (built.filter(|built| *built <= time).unwrap_or(time), time, self.next_build);
        self.next_build += 1;
        self.builds.insert(age, Build { digest: digest.to_owned(), pods: 0 });
        self.by_digest.insert(digest.to_owned(), age);
        // The newest build stays, so that older ones are recognised.
        let is_idle = |(age, build): (&Age, &Build)| (build.pods == 0 && !self.open.contains_key(age)).then_some(*age);
        let idle: Vec<Age> = self.builds.iter().filter_map(is_idle).filter(|idle| *idle != age).collect();
        if let Some(oldest) = idle.first().filter(|_| idle.len() > MAX_IDLE_BUILDS)
            && let Some(build) = self.builds.remove(oldest)
        {
            self.by_digest.remove(&build.digest);
        }
        age
    }

    /// Begins a patch to a build.
    fn open(&mut self, target: Age, time: DateTime<Utc>) {
        if self.open.len() < MAX_OPEN {
            self.open.insert(target, time);
        }
    }

    fn has_pods_before(&self, age: Age) -> bool {
        self.builds.range(..age).any(|(_, build)| build.pods > 0)
    }

    fn start_pod(&mut self, age: Age, time: DateTime<Utc>) {
        if let Some(build) = self.builds.get_mut(&age) {
            build.pods += 1;
        }
        let Some((newest, _)) = self.builds.last_key_value() else { return };
        let is_open = self.open.last_key_value().is_some_and(|(target, _)| *target > age);
        if age < *newest && !is_open {
            let newest = *newest;
            self.open(newest, time);
        }
    }

    fn stop_pod(&mut self, age: Age, time: DateTime<Utc>, finished: &mut Vec<Patch>) {
        if let Some(build) = self.builds.get_mut(&age) {
            build.pods = build.pods.saturating_sub(1);
        }
        let oldest = self.builds.iter().find(|(_, build)| build.pods > 0).map(|(age, _)| *age);
        while let Some((target, start)) = self.open.first_key_value().map(|(target, start)| (*target, *start)) {
            if oldest.is_some_and(|oldest| oldest < target) {
                return;
            }
            self.open.remove(&target);
            finished.push(self.patch(target, start, time));
        }
    }

    fn unfinished(&self) -> Vec<Patch> {
        let mut builds = self.builds.iter().peekable();
        let mut old_pods = 0;
        let patch = |(target, start): (&Age, &DateTime<Utc>)| {
            while let Some((_, build)) = builds.next_if(|(age, _)| *age < target) {
                old_pods += build.pods;
            }
            let digest = self.builds.get(target).map(|build| build.digest.clone()).unwrap_or_default();
            Patch { repository: self.name.clone(), digest, start: *start, end: None, old_pods }
        };
        self.open.iter().map(patch).collect()
    }

    /// The patch that ends.
    fn patch(&self, target: Age, start: DateTime<Utc>, end: DateTime<Utc>) -> Patch {
        Patch {
            repository: self.name.clone(),
            digest: self.builds.get(&target).map(|build| build.digest.clone()).unwrap_or_default(),
            start,
            end: Some(end),
            old_pods: 0,
        }
    }
}

/// The time to patch, for the outputs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct TimeToPatch {
    /// By repository.
    pub(super) repositories: Vec<(String, Figures)>,
    pub(super) total: Figures,
    pub(super) unfinished: Vec<Patch>,
    /// The pods whose names the log does not have. They are not covered.
    pub(super) unnamed_pods: usize,
    /// Whether there are more pods or repositories than are covered.
    pub(super) is_partial: bool,
}

impl TimeToPatch {
    /// From the durations of the finished patches, by repository.
    pub(super) fn new(durations: BTreeMap<String, Vec<TimeDelta>>, unfinished: Vec<Patch>, patches: &Patches) -> Self {
        let mut by_repository: BTreeMap<String, (Vec<TimeDelta>, usize)> = BTreeMap::new();
        let mut all = Vec::new();
        for (repository, durations) in durations {
            all.extend_from_slice(&durations);
            by_repository.insert(repository, (durations, 0));
        }
        for patch in &unfinished {
            by_repository.entry(patch.repository.clone()).or_default().1 += 1;
        }
        let figures = |(repository, (durations, open))| (repository, Figures::of(durations, open));
        Self {
            repositories: by_repository.into_iter().map(figures).collect(),
            total: Figures::of(all, unfinished.len()),
            unfinished,
            unnamed_pods: patches.unnamed_pods(),
            is_partial: patches.exceeds_limits(),
        }
    }
}

/// The figures of a repository, or of all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Figures {
    /// The finished patches.
    pub(super) finished: usize,
    /// The unfinished patches.
    pub(super) unfinished: usize,
    /// `None` without a finished patch.
    pub(super) mean: Option<TimeDelta>,
    /// The nearest-rank percentile.
    pub(super) p90: Option<TimeDelta>,
    pub(super) slowest: Option<TimeDelta>,
}

impl Figures {
    fn of(mut durations: Vec<TimeDelta>, unfinished: usize) -> Self {
        durations.sort_unstable();
        let count = durations.len();
        let seconds: i64 = durations.iter().map(TimeDelta::num_seconds).fold(0, i64::saturating_add);
        let rank = (count * 9).div_ceil(10);
        Self {
            finished: count,
            unfinished,
            mean: i64::try_from(count).ok().and_then(|count| seconds.checked_div(count)).map(TimeDelta::seconds),
            p90: rank.checked_sub(1).and_then(|last| durations.get(last)).copied(),
            slowest: durations.last().copied(),
        }
    }
}
