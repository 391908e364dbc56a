//! What the pods of staging say about the digests that they run.

use chrono::{DateTime, Utc};
use serde_json::Value;

use crate::object_name::ObjectName;
use crate::running::Running;

/// The longest `where` of an entry, in bytes. Longer ones are not from Kubernetes.
pub(super) const MAX_PLACE: usize = 512;

/// The reasons for which Kubernetes itself ends a pod. Since 1.26 it also sets the condition `DisruptionTarget`.
const DISRUPTIONS: [&str; 5] = ["Evicted", "NodeLost", "NodeShutdown", "Shutdown", "Terminated"];

/// What counts as ready.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// A container with more restarts has failed.
    pub(super) max_restarts: u64,
    /// The time of the record.
    pub(super) now: DateTime<Utc>,
}

/// What a pod says about the digests that it runs.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Its containers and image volumes.
    pub(super) digests: Vec<SeenDigest>,
    /// The number of containers and volumes whose image has no digest.
    pub(super) without_digest: usize,
    /// The number of containers that are not ready and have not failed.
    pub(super) not_ready: usize,
    /// The pod, as `NAMESPACE/NAME`.
    pub(super) pod: String,
}

/// What a container or an image volume says about its digest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SeenDigest {
    /// The digest, as `sha256:…`.
    pub(super) digest: String,
    pub(super) state: State,
    /// The workload of the pod.
    pub(super) place: String,
}

/// The state of a container or an image volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    /// It has been ready since then, or has completed then.
    Ready(DateTime<Utc>),
    /// It is neither ready nor failed, for example because it is starting.
    NotReady,
    /// It has failed.
    Failed(Failure),
}

/// A failed container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure {
    /// When it failed last.
    pub(super) at: DateTime<Utc>,
    /// Which container failed, and how, for a warning.
    pub(super) why: String,
}

/// Reads a pod.
pub(super) fn read(pod: &Value, limits: Limits) -> Seen {
    let mut seen = Seen::default();
    if is_being_stopped(pod) {
        return seen;
    }
    let pod = Pod::new(pod, limits);
    let place = pod.place();
    seen.pod = format!("{}/{}", pod.name.namespace, pod.name.name);
    for (kind, list, statuses) in [
        ("init container", "initContainers", "initContainerStatuses"),
        ("container", "containers", "containerStatuses"),
    ] {
        for status in items(&pod.status[statuses]) {
            let spec = items(&pod.spec[list]).find(|spec| spec["name"] == status["name"]).unwrap_or(&Value::Null);
            let digest = match Running::of_image_id(status["imageID"].as_str().unwrap_or_default()) {
                Running::Nothing => {
                    // An init container may wait for others. The containers after it are not ready.
                    seen.not_ready += usize::from(kind == "container");
                    continue;
                }
                // The ID of an image that its node has from no registry is the digest of its configuration.
                Running::Digest(digest) | Running::Local(digest) if is_sha256(&digest) => digest,
                Running::Digest(_) | Running::Local(_) => {
                    seen.without_digest += 1;
                    continue;
                }
            };
            let container = Container { pod: &pod, kind, status, policy: pod.restart_policy(kind, spec) };
            let state = container.state();
            seen.not_ready += usize::from(state == State::NotReady);
            seen.digests.push(SeenDigest { digest, state, place: place.clone() });
        }
    }
    for volume in items(&pod.spec["volumes"]) {
        // The status does not have the digest. The API server does not let the reference in a running pod change.
        let Some(reference) = volume["image"]["reference"].as_str() else { continue };
        // The kubelet starts a pod also if it could not pull an image volume that no container mounts.
        if !pod.mounts(&volume["name"]) {
            continue;
        }
        match reference.rsplit_once('@') {
            Some((_, digest)) if is_sha256(digest) => {
                seen.digests.push(SeenDigest {
                    digest: digest.to_owned(),
                    state: pod.state_of_volumes(),
                    place: place.clone(),
                });
            }
            _ => seen.without_digest += 1,
        }
    }
    seen
}

struct Pod<'p> {
    metadata: &'p Value,
    spec: &'p Value,
    status: &'p Value,
    name: ObjectName,
    controller: Option<ObjectName>,
    limits: Limits,
}

impl<'p> Pod<'p> {
    fn new(pod: &'p Value, limits: Limits) -> Self {
        let (name, controller) = (ObjectName::of(pod, ""), ObjectName::of_controller(pod));
        Self { metadata: &pod["metadata"], spec: &pod["spec"], status: &pod["status"], name, controller, limits }
    }

    /// The workload: `NAMESPACE/KIND/NAME`, or `NAMESPACE/NAME` for a pod without a controller.
    fn place(&self) -> String {
        let ObjectName { namespace, name, .. } = &self.name;
        let of_pod = format!("{namespace}/{name}");
        let Some(ObjectName { kind, name, .. }) = &self.controller else { return of_pod };
        // The creator of a pod may write any text there.
        let is_name = |text: &str| {
            !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':' | '_'))
        };
        let hash = self.metadata["labels"]["pod-template-hash"].as_str().unwrap_or_default();
        let deployment = name.strip_suffix(hash).and_then(|name| name.strip_suffix('-'));
        let deployment = deployment.filter(|_| kind == "ReplicaSet" && !hash.is_empty());
        let (kind, name) = deployment.map_or((kind.as_str(), name.as_str()), |name| ("Deployment", name));
        let place = format!("{namespace}/{kind}/{name}");
        if is_name(kind) && is_name(name) && place.len() <= MAX_PLACE { place } else { of_pod }
    }

    /// When a container may be restarted after it has ended.
    fn restart_policy(&self, kind: &str, spec: &'p Value) -> RestartPolicy {
        // An init container without a policy of its own never restarts after success, whatever the pod says.
        let of_pod = if kind == "container" { &self.spec["restartPolicy"] } else { &Value::Null };
        let policy = spec["restartPolicy"].as_str().or(of_pod.as_str());
        match policy {
            Some("Always") => RestartPolicy::Always,
            None if kind == "container" => RestartPolicy::Always,
            _ => RestartPolicy::UntilSuccess,
        }
    }

    /// Since when the pod has been ready. `None` if it is not.
    fn ready_since(&self) -> Option<Option<DateTime<Utc>>> {
        let condition = |kind: &str| items(&self.status["conditions"]).find(|condition| condition["type"] == kind);
        let ready = condition("Ready").or_else(|| condition("ContainersReady"))?;
        (ready["status"] == "True").then(|| time(&ready["lastTransitionTime"]))
    }

    fn has_succeeded(&self) -> bool {
        self.status["phase"] == "Succeeded"
    }

    /// The state since the latest of these times. A pod cannot be ready before it exists, even if the clock of its node is wrong or
    /// its status is forged.
    fn ready(&self, times: [Option<DateTime<Utc>>; 2]) -> State {
        let created = time(&self.metadata["creationTimestamp"]);
        match times.into_iter().flatten().max() {
            Some(latest) => State::Ready(created.map_or(latest, |created| latest.max(created)).min(self.limits.now)),
            None => State::NotReady,
        }
    }

    /// Whether one of the containers that must run mounts a volume.
    fn mounts(&self, volume: &Value) -> bool {
        let containers = ["initContainers", "containers"].into_iter().flat_map(|list| items(&self.spec[list]));
        containers.flat_map(|container| items(&container["volumeMounts"])).any(|mount| mount["name"] == *volume)
    }

    /// The state of the image volumes. A container starts only with all volumes that it mounts.
    fn state_of_volumes(&self) -> State {
        let ended =
            items(&self.status["containerStatuses"]).filter_map(|s| time(&s["state"]["terminated"]["finishedAt"]));
        match self.ready_since() {
            Some(since) => self.ready([since, None]),
            None if self.has_succeeded() => self.ready([ended.max(), None]),
            None => State::NotReady,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RestartPolicy {
    /// It is meant to run as long as its pod.
    Always,
    /// It is meant to end.
    UntilSuccess,
}

struct Container<'p> {
    pod: &'p Pod<'p>,
    kind: &'static str,
    status: &'p Value,
    policy: RestartPolicy,
}

impl Container<'_> {
    fn state(&self) -> State {
        let (pod, state) = (self.pod, &self.status["state"]);
        let ended = Some(&state["terminated"]).filter(|ended| ended.is_object());
        // Kubernetes stops sidecars after the last container of a pod, and ignores their exit codes.
        let is_sidecar = self.kind == "init container" && self.policy == RestartPolicy::Always;
        let has_succeeded = ended.is_some_and(|ended| ended["exitCode"] == 0 || (is_sidecar && pod.has_succeeded()));
        let is_looping = state["waiting"]["reason"] == "CrashLoopBackOff";
        let restarts = self.status["restartCount"].as_u64().unwrap_or_default();
        let has_failed_again = is_looping || (ended.is_some() && !has_succeeded);
        if restarts.saturating_add(u64::from(has_failed_again)) > pod.limits.max_restarts {
            let last = ended.filter(|_| !has_succeeded).unwrap_or(&self.status["lastState"]["terminated"]);
            let at = time(&last["finishedAt"]).filter(|_| !is_looping).unwrap_or(pod.limits.now).min(pod.limits.now);
            return State::Failed(Failure {
                at,
                why: self.failure(restarts, is_looping, ended.filter(|_| !has_succeeded)),
            });
        }
        match ended {
            Some(ended) if has_succeeded && (self.policy == RestartPolicy::UntilSuccess || pod.has_succeeded()) => {
                pod.ready([time(&ended["finishedAt"]), None])
            }
            None if state["running"].is_object() && self.status["ready"] == true => match pod.ready_since() {
                Some(since) => pod.ready([since, time(&state["running"]["startedAt"])]),
                None => State::NotReady,
            },
            _ => State::NotReady,
        }
    }

    /// How it has failed, for people.
    fn failure(&self, restarts: u64, is_looping: bool, ended: Option<&Value>) -> String {
        let ObjectName { namespace, name, .. } = &self.pod.name;
        let times = if restarts == 1 { "1 time".to_owned() } else { format!("{restarts} times") };
        let how = match ended {
            _ if is_looping => format!("is in CrashLoopBackOff, restarted {times}"),
            Some(ended) => format!("ended with exit code {}", ended["exitCode"]),
            None => format!("restarted {times}"),
        };
        let container = self.status["name"].as_str().unwrap_or_default();
        format!("{} `{container}` of the pod {namespace}/{name} {how}", self.kind)
    }
}

/// Whether Kubernetes or a user stops the pod, so that its end says nothing about its images.
fn is_being_stopped(pod: &Value) -> bool {
    let status = &pod["status"];
    let mut conditions = items(&status["conditions"]);
    let is_disrupted = conditions
        .any(|condition| condition["type"] == "DisruptionTarget" && condition["status"] == "True")
        || DISRUPTIONS.iter().any(|reason| status["reason"] == *reason);
    pod["metadata"]["deletionTimestamp"].is_string() || (status["phase"] == "Failed" && is_disrupted)
}

/// Whether a digest is one that the record can have.
pub(super) fn is_sha256(digest: &str) -> bool {
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    digest.strip_prefix("sha256:").is_some_and(|hex| hex.len() == 64 && hex.bytes().all(is_hex))
}

fn items(list: &Value) -> impl Iterator<Item = &Value> {
    list.as_array().into_iter().flatten()
}

fn time(value: &Value) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(value.as_str()?).ok().map(|time| time.to_utc())
}

#[cfg(test)]
mod tests {
    use chrono::{DateTime, Utc};
    use serde_json::{Value, json};

    use super::{Limits, SeenDigest, State, read};

    const DIGEST: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const OTHER: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";
    const NOW: &str = "2026-11-20T12:00:00Z";

    fn limits(max_restarts: u64) -> Limits {
        Limits { max_restarts, now: NOW.parse().unwrap() }
    }

    /// A pod of a Deployment whose container has been ready since the 19th, changed by a JSON merge patch.
    fn pod(change: Value) -> Value {
        let mut pod = json!({
            "metadata": {
                "name": "web-6d4c-x1", "namespace": "shop", "creationTimestamp": "2026-11-19T08:00:00Z",
                "labels": {"pod-template-hash": "6d4c"},
                "ownerReferences": [{"kind": "ReplicaSet", "name": "web-6d4c", "controller": true}]
            },
            "spec": {"containers": [{"name": "app", "image": "registry.example.com/web:1"}]},
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": "2026-11-19T08:02:00Z"}],
                "containerStatuses": [{
                    "name": "app", "imageID": format!("registry.example.com/web@{DIGEST}"), "ready": true, "restartCount": 0,
                    "state": {"running": {"startedAt": "2026-11-19T08:01:00Z"}}
                }]
            }
        });
        json_patch::merge(&mut pod, &change);
        pod
    }

    /// The pod with another status of its container.
    fn container(status: Value) -> Value {
        let mut pod = pod(json!({}));
        json_patch::merge(&mut pod["status"]["containerStatuses"][0], &status);
        pod
    }

    /// The pod with an init container before its own one.
    fn init_container(spec: Value, status: Value) -> Value {
        let mut pod = pod(json!({"spec": {"initContainers": [{"name": "init"}]}, "status": {"initContainerStatuses": [
            {"name": "init", "imageID": format!("init@{OTHER}"), "ready": true, "restartCount": 0}]}}));
        json_patch::merge(&mut pod["spec"]["initContainers"][0], &spec);
        json_patch::merge(&mut pod["status"]["initContainerStatuses"][0], &status);
        pod
    }

    fn ended(code: i64, at: &str) -> Value {
        json!({"running": null, "waiting": null, "terminated": {"exitCode": code, "reason": "Error", "finishedAt": at}})
    }

    /// The state as one word with its time.
    fn text(state: &State) -> String {
        let short = |time: &DateTime<Utc>| time.format("%dT%H:%M").to_string();
        match state {
            State::Ready(since) => format!("ready {}", short(since)),
            State::NotReady => "not ready".to_owned(),
            State::Failed(failure) => format!("failed {}: {}", short(&failure.at), failure.why),
        }
    }

    fn state_of(pod: &Value, digest: &str, max_restarts: u64) -> String {
        let seen = read(pod, limits(max_restarts));
        let found: Vec<_> =
            seen.digests.iter().filter(|seen| seen.digest == digest).map(|seen| text(&seen.state)).collect();
        found.join(", ")
    }

    #[test]
    fn a_container_is_ready_since_the_latest_of_its_start_and_the_readiness_of_its_pod() {
        let condition = |kind: &str, status: &str, time: Value| {
            pod(json!({"status": {"conditions": [{"type": kind, "status": status, "lastTransitionTime": time}]}}))
        };
        for (name, pod, expected) in [
            ("ready after the start", pod(json!({})), "ready 19T08:02"),
            (
                "restarted within a ready pod",
                container(json!({"state": {"running": {"startedAt": "2026-11-20T01:00:00Z"}}})),
                "ready 20T01:00",
            ),
            ("not ready", container(json!({"ready": false})), "not ready"),
            ("another container is not ready", condition("Ready", "False", json!("2026-11-19T08:02:00Z")), "not ready"),
            ("the node is lost", condition("Ready", "Unknown", json!("2026-11-19T08:02:00Z")), "not ready"),
            (
                "only ContainersReady",
                condition("ContainersReady", "True", json!("2026-11-19T09:00:00Z")),
                "ready 19T09:00",
            ),
            ("readiness without a time", condition("Ready", "True", Value::Null), "ready 19T08:01"),
            ("no condition", pod(json!({"status": {"conditions": null}})), "not ready"),
            (
                "it starts",
                container(json!({"state": {"running": null, "waiting": {"reason": "PodInitializing"}}})),
                "not ready",
            ),
            (
                "it is pulled",
                container(
                    json!({"imageID": "", "state": {"running": null, "waiting": {"reason": "ImagePullBackOff"}}}),
                ),
                "",
            ),
            ("it is deleted", pod(json!({"metadata": {"deletionTimestamp": NOW}})), ""),
        ] {
            assert_eq!(state_of(&pod, DIGEST, 0), expected, "{name}");
        }
    }

    #[test]
    fn times_of_a_status_are_limited_to_the_life_of_the_pod() {
        let pod_at = |time: &str| {
            let mut pod = container(json!({"state": {"running": {"startedAt": time}}}));
            pod["status"]["conditions"][0]["lastTransitionTime"] = json!(time);
            pod
        };
        for (time, expected) in [
            ("2020-01-01T00:00:00Z", "ready 19T08:00"),
            ("2030-01-01T00:00:00Z", "ready 20T12:00"),
            ("yesterday", "not ready"),
        ] {
            assert_eq!(state_of(&pod_at(time), DIGEST, 0), expected, "{time}");
        }
    }

    #[test]
    fn a_container_with_more_restarts_than_allowed_has_failed() {
        let restarted = |count: u64| {
            container(
                json!({"restartCount": count, "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-19T07:59:00Z"}}}),
            )
        };
        let looping = container(
            json!({"ready": false, "restartCount": 3, "state": {"running": null, "waiting": {"reason": "CrashLoopBackOff"}}}),
        );
        let crashed = container(json!({"ready": false, "state": ended(137, "2026-11-20T11:00:00Z")}));
        let web = "container `app` of the pod shop/web-6d4c-x1";
        for (name, pod, allowed, expected) in [
            ("one too many", restarted(1), 0, format!("failed 19T07:59: {web} restarted 1 time")),
            ("as many as allowed", restarted(2), 2, "ready 19T08:02".to_owned()),
            ("more than allowed", restarted(3), 2, format!("failed 19T07:59: {web} restarted 3 times")),
            (
                "waits for its next restart",
                looping.clone(),
                0,
                format!("failed 20T12:00: {web} is in CrashLoopBackOff, restarted 3 times"),
            ),
            (
                "waits for a restart that is not allowed",
                looping.clone(),
                3,
                format!("failed 20T12:00: {web} is in CrashLoopBackOff, restarted 3 times"),
            ),
            ("waits for a restart that is allowed", looping, 4, "not ready".to_owned()),
            ("has just crashed", crashed.clone(), 0, format!("failed 20T11:00: {web} ended with exit code 137")),
            ("has just crashed, and may", crashed, 1, "not ready".to_owned()),
        ] {
            assert_eq!(state_of(&pod, DIGEST, allowed), expected, "{name}");
        }
    }

    #[test]
    fn a_container_that_is_meant_to_end_is_ready_once_it_has_completed() {
        let job = |policy: &str, status: Value, phase: &str| {
            let mut pod = container(status);
            pod["spec"]["restartPolicy"] = json!(policy);
            pod["status"]["phase"] = json!(phase);
            pod["status"]["conditions"] =
                json!([{"type": "Ready", "status": "False", "reason": "PodCompleted", "lastTransitionTime": NOW}]);
            pod
        };
        let done = || json!({"ready": false, "state": ended(0, "2026-11-19T10:00:00Z")});
        let failed = || json!({"ready": false, "state": ended(2, "2026-11-19T10:00:00Z")});
        let retried = json!({"restartCount": 1, "state": ended(0, "2026-11-19T10:00:00Z"),
            "lastState": {"terminated": {"exitCode": 1, "finishedAt": "2026-11-19T09:00:00Z"}}});
        let web = "container `app` of the pod shop/web-6d4c-x1";
        for (name, pod, expected) in [
            ("a Job", job("Never", done(), "Succeeded"), "ready 19T10:00".to_owned()),
            ("while another container runs", job("OnFailure", done(), "Running"), "ready 19T10:00".to_owned()),
            (
                "a failed Job",
                job("Never", failed(), "Failed"),
                format!("failed 19T10:00: {web} ended with exit code 2"),
            ),
            (
                "a Job with a retry",
                job("OnFailure", retried.clone(), "Succeeded"),
                format!("failed 19T09:00: {web} restarted 1 time"),
            ),
            ("a server that ends", job("Always", done(), "Running"), "not ready".to_owned()),
        ] {
            assert_eq!(state_of(&pod, DIGEST, 0), expected, "{name}");
        }
        assert_eq!(state_of(&job("OnFailure", retried, "Succeeded"), DIGEST, 1), "ready 19T10:00");
        let mut own_policy = job("Always", done(), "Running");
        own_policy["spec"]["containers"][0]["restartPolicy"] = json!("Never");
        assert_eq!(state_of(&own_policy, DIGEST, 0), "ready 19T10:00", "the policy of the container");
    }

    #[test]
    fn pods_that_kubernetes_stops_say_nothing() {
        let stopped = |status: Value| {
            let mut pod = container(json!({"ready": false, "state": ended(137, "2026-11-19T10:00:00Z")}));
            json_patch::merge(&mut pod["status"], &status);
            pod
        };
        for (status, expected) in [
            (json!({"phase": "Failed", "reason": "Evicted"}), ""),
            (json!({"phase": "Failed", "reason": "Terminated"}), ""),
            (json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True"}]}), ""),
            (json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "False"}]}), "failed"),
            (json!({"phase": "Failed", "reason": "DeadlineExceeded"}), "failed"),
            (json!({"phase": "Running", "reason": "Evicted"}), "failed"),
        ] {
            let found = state_of(&stopped(status.clone()), DIGEST, 0);
            assert_eq!(found.split(' ').next(), Some(expected), "{status}");
        }
    }

    #[test]
    fn an_init_container_is_ready_once_it_has_completed_and_a_sidecar_while_it_runs() {
        let init = |spec, status| state_of(&init_container(spec, status), OTHER, 0);
        let sidecar = || json!({"restartPolicy": "Always"});
        let done = || json!({"state": ended(0, "2026-11-19T08:00:30Z")});
        let running = || json!({"state": {"running": {"startedAt": "2026-11-19T08:00:10Z"}}});
        assert_eq!(init(json!({}), done()), "ready 19T08:00");
        assert_eq!(init(json!({}), running()), "ready 19T08:02", "its pod cannot be ready yet");
        assert_eq!(
            init(json!({}), json!({"state": ended(1, "2026-11-19T08:00:30Z")})),
            "failed 19T08:00: init container `init` of the pod shop/web-6d4c-x1 ended with exit code 1"
        );
        assert_eq!(init(sidecar(), running()), "ready 19T08:02");
        assert_eq!(init(sidecar(), done()), "not ready");
        // The end of a Job, which stops its sidecars.
        let mut job = init_container(sidecar(), json!({"state": ended(143, "2026-11-19T10:00:00Z")}));
        job["status"]["phase"] = json!("Succeeded");
        assert_eq!(state_of(&job, OTHER, 0), "ready 19T10:00");
    }

    #[test]
    fn ephemeral_containers_do_not_count() {
        let pod = pod(json!({"status": {"ephemeralContainerStatuses": [
            {"name": "debug", "imageID": format!("debug@{OTHER}"), "ready": true, "state": {"running": {"startedAt": NOW}}}]}}));
        assert_eq!(state_of(&pod, OTHER, 0), "");
    }

    #[test]
    fn an_image_volume_is_ready_with_its_pod() {
        let volume = |reference: &str, change: Value| {
            let mut pod = pod(json!({"spec": {"volumes": [
                {"name": "data", "image": {"reference": reference}}, {"name": "tmp", "emptyDir": {}}]}}));
            pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "data", "mountPath": "/data"}]);
            json_patch::merge(&mut pod, &change);
            pod
        };
        let pinned = format!("registry.example.com/data:1@{OTHER}");
        assert_eq!(state_of(&volume(&pinned, json!({})), OTHER, 0), "ready 19T08:02");
        let waits =
            json!({"status": {"conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": NOW}]}});
        assert_eq!(state_of(&volume(&pinned, waits.clone()), OTHER, 0), "not ready");
        let mut done = volume(&pinned, waits);
        done["status"]["phase"] = json!("Succeeded");
        done["status"]["containerStatuses"][0]["state"] = ended(0, "2026-11-19T10:00:00Z");
        assert_eq!(state_of(&done, OTHER, 0), "ready 19T10:00");
        assert_eq!(read(&volume("registry.example.com/data:1", json!({})), limits(0)).without_digest, 1);
    }

    #[test]
    fn an_image_volume_that_no_container_mounts_has_not_run() {
        // The kubelet does not report that such an image does not exist.
        let volumes = json!([
            {"name": "data", "image": {"reference": format!("registry.example.com/data@{OTHER}")}},
            {"name": "tag", "image": {"reference": "registry.example.com/data:1"}},
        ]);
        let mut pod = pod(json!({"spec": {"volumes": volumes, "ephemeralContainers": [
            {"name": "debug", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]}}));
        pod["spec"]["containers"][0]["volumeMounts"] = json!([{"name": "other", "mountPath": "/data"}]);
        let seen = read(&pod, limits(0));
        assert_eq!((seen.digests.len(), seen.digests[0].digest.as_str(), seen.without_digest), (1, DIGEST, 0));
        // An init container has to end before the others start.
        pod["spec"]["initContainers"] =
            json!([{"name": "init", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}]);
        assert_eq!(state_of(&pod, OTHER, 0), "ready 19T08:02");
    }

    #[test]
    fn digests_are_found_in_the_ids_of_all_runtimes() {
        let (short, upper) = ("sha256:1111", DIGEST.replace("sha256:1", "sha256:A"));
        for (id, digest, without) in [
            (format!("registry.example.com/web@{DIGEST}"), DIGEST, 0),
            (format!("docker-pullable://registry.example.com/web@{DIGEST}"), DIGEST, 0),
            (format!("docker-pullable://registry.example.com:5000/web@{DIGEST}"), DIGEST, 0),
            (format!("docker://{DIGEST}"), DIGEST, 0),
            (DIGEST.to_owned(), DIGEST, 0),
            (format!("web@{short}"), "", 1),
            (format!("web@{upper}"), "", 1),
            (format!("web@sha512:{}", "1".repeat(128)), "", 1),
            ("web:1".to_owned(), "", 1),
            (String::new(), "", 0),
        ] {
            let seen = read(&container(json!({"imageID": id})), limits(0));
            let found: Vec<_> = seen.digests.iter().map(|seen| seen.digest.as_str()).collect();
            assert_eq!((found.concat().as_str(), seen.without_digest), (digest, without), "{id}");
        }
    }

    #[test]
    fn the_place_is_the_workload_or_the_pod() {
        let owned = |kind: &str, name: &str| {
            pod(json!({"metadata": {"ownerReferences": [{"kind": kind, "name": name, "controller": true}]}}))
        };
        for (pod, expected) in [
            (pod(json!({})), "shop/Deployment/web"),
            (owned("ReplicaSet", "web-other"), "shop/ReplicaSet/web-other"),
            (owned("ReplicaSet", "6d4c"), "shop/ReplicaSet/6d4c"),
            (owned("StatefulSet", "db"), "shop/StatefulSet/db"),
            (owned("Job", "backup-29384720"), "shop/Job/backup-29384720"),
            (owned("Node", "node-1"), "shop/web-6d4c-x1"),
            (pod(json!({"metadata": {"ownerReferences": null}})), "shop/web-6d4c-x1"),
            // What the creator of a pod may write.
            (owned("Job", "a\u{1b}[31m\n"), "shop/web-6d4c-x1"),
            (owned("a/b", "c"), "shop/web-6d4c-x1"),
            (owned("Job", &"a".repeat(1_000_000)), "shop/web-6d4c-x1"),
        ] {
            let seen = read(&pod, limits(0)).digests;
            assert_eq!(seen.iter().map(|seen| seen.place.as_str()).collect::<String>(), expected);
        }
    }

    #[test]
    fn any_object_is_read() {
        for pod in [
            json!({}),
            json!([]),
            json!({"status": 1, "spec": "a", "metadata": []}),
            json!({"status": {"containerStatuses": [1, null, {"imageID": 7}]}}),
            json!({"status": {"containerStatuses": [{"imageID": format!("a@{DIGEST}"), "restartCount": -1, "state": []}]}}),
        ] {
            let seen: Vec<SeenDigest> = read(&pod, limits(0)).digests;
            assert!(seen.iter().all(|seen| seen.state == State::NotReady), "{pod}");
        }
    }
}
