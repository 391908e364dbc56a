//! Decides about a call of the engine's API.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::Result;
use container_patch_policy::{evidence, finding, workload};
use serde_json::{Map, Value, json};

use super::call::{Call, Unseen};
use super::local::{Local, named, of_container};
use crate::admission::{AdmissionRequest, GroupVersionKind, GroupVersionResource, UserInfo};
use crate::capabilities::{AllowedResources, Capabilities, Nothing};
use crate::judge::answer::Answer;
use crate::judge::verdict::{Effect, Finding};
use crate::policy::{LogLine, Policy};
use crate::swarm::engine_json::{read_object, text};
use crate::swarm::pod::{Images, Platform, mount_name};
use crate::timeout::Interrupted;

/// An image that is only on the engine.
pub(super) const LOCAL_IMAGE: &str = "local-image";
/// A call whose images are not in the request.
pub(super) const UNSEEN_IMAGE: &str = "unseen-image";
// The policy has these codes, too.
const INVALID_REQUEST: &str = finding::INVALID_REQUEST.as_str();
const INVALID_REFERENCE: &str = workload::INVALID_REFERENCE.as_str();
const EVIDENCE_UNAVAILABLE: &str = evidence::EVIDENCE_UNAVAILABLE.as_str();

/// The codes that only the plugin has, with their descriptions.
pub(crate) const CODES: [(&str, &str); 2] = [
    (LOCAL_IMAGE, "An image of a Docker Engine that was not pulled from a registry."),
    (UNSEEN_IMAGE, "A call of a Docker Engine that runs images which are not in the call."),
];

/// What the plugin reads from the engine.
pub(super) trait Engine: Send + Sync {
    /// A service by its ID, its name or the beginning of its ID. `None` if it does not exist.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn service(&self, id: &str) -> Result<Option<Value>, String>;

    /// An image by its name or ID. `None` if it is not on the engine.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn image(&self, name: &str) -> Result<Option<Value>, String>;

    /// A container by its ID or name. `None` if it does not exist.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn container(&self, id: &str) -> Result<Option<Value>, String>;

    /// Removes a container, even if it runs, with its anonymous volumes.
    ///
    /// # Errors
    /// Why it cannot be removed.
    fn remove_container(&self, id: &str) -> Result<(), String>;
}

/// Who calls, and with what.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'r> {
    /// The name in the client's certificate. `None` if the engine has not authenticated the client.
    pub(super) user: Option<&'r str>,
    /// The body. Empty if the engine does not pass it.
    pub(super) body: &'r [u8],
}

/// What decides.
pub(super) struct Decider<'d> {
    pub(super) policy: &'d Policy,
    pub(super) settings: &'d Value,
    pub(super) capabilities: &'d Arc<dyn Capabilities>,
    pub(super) engine: &'d dyn Engine,
    /// The calls without visible images that are allowed.
    pub(super) allowed: &'d BTreeSet<Unseen>,
}

/// A decision, with what the log says about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Decision {
    /// Whether the engine may execute the call.
    pub(super) allowed: bool,
    /// Why not, for the user: one line for each reason.
    pub(super) message: String,
    /// CREATE or UPDATE.
    pub(super) operation: &'static str,
    /// The kind of what is created or changed.
    pub(super) kind: &'static str,
    /// Its name. Empty if it is unknown.
    pub(super) name: String,
    /// Its ID, or what the call gives for it.
    pub(super) id: Option<String>,
    /// The same as the audit annotations in a cluster.
    pub(super) annotations: Map<String, Value>,
    /// Warnings and errors from the log of the policy.
    pub(super) log: Vec<LogLine>,
}

/// What is created or changed.
#[derive(Debug, Clone)]
struct Subject {
    operation: &'static str,
    kind: &'static str,
    name: String,
    id: Option<String>,
}

impl Subject {
    fn new(kind: &'static str, name: String) -> Self {
        Self { operation: "CREATE", kind, name, id: None }
    }
}

/// Why a call is refused before its images are judged.
#[derive(Debug)]
struct Refusal {
    code: &'static str,
    site: Option<String>,
    image: Option<String>,
    text: String,
}

impl Refusal {
    fn unreadable(text: impl Into<String>) -> Self {
        Self { code: INVALID_REQUEST, site: None, image: None, text: text.into() }
    }

    fn unknown(text: String) -> Self {
        Self { code: EVIDENCE_UNAVAILABLE, site: None, image: None, text }
    }
}

impl Decision {
    /// The codes of its findings, each once.
    pub(super) fn codes(&self) -> BTreeSet<&str> {
        let findings = self.annotations.get("findings").and_then(Value::as_array);
        findings.into_iter().flatten().filter_map(|finding| finding["code"].as_str()).collect()
    }

    /// The verdict: `accepted`, `warned` or `denied`.
    pub(super) fn verdict(&self) -> &str {
        self.annotations.get("verdict").and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether something is refused only because a fact about it is unknown.
    pub(super) fn is_failure(&self) -> bool {
        !self.allowed && self.codes().contains(EVIDENCE_UNAVAILABLE)
    }

    /// The decision about a call that is refused before its images are judged.
    fn refused(subject: Subject, Refusal { code, site, image, text }: Refusal) -> Self {
        let finding = Finding {
            code: code.to_owned(),
            effect: Effect::Deny,
            site,
            image,
            passed: None,
            fix: None,
            text,
            policies: Vec::new(),
        };
        let annotations = json!({"verdict": "denied", "findings": [finding]});
        Self {
            allowed: false,
            message: finding.to_string(),
            annotations: if let Value::Object(annotations) = annotations { annotations } else { Map::new() },
            ..Self::accepted(subject)
        }
    }

    fn accepted(Subject { operation, kind, name, id }: Subject) -> Self {
        let annotations = Map::from_iter([("verdict".to_owned(), "accepted".into())]);
        Self { allowed: true, message: String::new(), operation, kind, name, id, annotations, log: Vec::new() }
    }
}

impl Decider<'_> {
    /// Decides about a call. `None` if there is nothing to decide: the engine starts nothing, because an image or a container is missing,
    /// or it starts a container again.
    pub(super) fn decide(&self, call: &Call, request: Request<'_>) -> Option<Decision> {
        Some(match call {
            Call::CreateService => self.create_service(request),
            Call::UpdateService { id, version, rolls_back } => self.update_service(request, id, *version, *rolls_back),
            Call::CreateContainer { name, platforms } => {
                let subject = Subject::new("Container", name.clone().unwrap_or_default());
                return self.create_container(request, subject, platforms, None);
            }
            Call::StartContainer { id } => return self.start_container(request, id),
            Call::InstallPlugin { remotes } => self.install_plugin(request, remotes),
            Call::Unseen(unseen) => self.unseen(*unseen),
        })
    }

    /// Checks what a call has created, after the engine has executed it: the name of an image may have got another meaning in the
    /// meantime. `None` if what was created may stay.
    pub(super) fn check_created(&self, call: &Call, request: Request<'_>, response: &[u8]) -> Option<Decision> {
        let Call::CreateContainer { name, platforms } = call else { return None };
        let created = read_object(response).ok()?;
        let id = text(&created, "Id").ok()??;
        let name = name.clone().unwrap_or_default();
        let subject = Subject { id: Some(id.to_owned()), ..Subject::new("Container", name) };
        let decision = match self.engine.container(id) {
            Ok(None) => return None,
            Ok(Some(container)) => {
                // The ID of the image cannot get another meaning, and its name in the request says in which repository it is judged.
                let image = container["Image"].as_str().unwrap_or_default();
                self.create_container(request, subject, platforms, Some(image))?
            }
            Err(error) => Decision::refused(subject, Refusal::unknown(error)),
        };
        if decision.allowed {
            return None;
        }
        let removed = self.engine.remove_container(id);
        let outcome = match removed {
            Ok(()) => "the container was removed".to_owned(),
            Err(error) => format!("the container could not be removed: {error}"),
        };
        Some(Decision { message: format!("{}\n{outcome}", decision.message), ..decision })
    }

    /// Judges the images in the body of a new container. `id` is the ID of its image, if the container exists. `None` if the image is
    /// missing.
    fn create_container(
        &self,
        request: Request<'_>,
        subject: Subject,
        platforms: &[String],
        id: Option<&str>,
    ) -> Option<Decision> {
        let images = body(request).and_then(|body| Images::of_container(&body).map_err(Refusal::unreadable));
        match images {
            Ok(images) => self.judge_container(request, subject, on_platform(images, platforms), id),
            Err(refusal) => Some(Decision::refused(subject, refusal)),
        }
    }

    fn create_service(&self, request: Request<'_>) -> Decision {
        let subject = Subject::new("Service", String::new());
        let body = match body(request) {
            Ok(body) => body,
            Err(refusal) => return Decision::refused(subject, refusal),
        };
        let subject = Subject { name: name(&body), ..subject };
        match Images::of_service(&body) {
            Ok(images) => self.judge(request, subject, &images, None),
            Err(error) => Decision::refused(subject, Refusal::unreadable(error)),
        }
    }

    fn update_service(&self, request: Request<'_>, service: &str, version: Option<u64>, rolls_back: bool) -> Decision {
        let id = Some(service.to_owned());
        let subject = Subject { operation: "UPDATE", id, ..Subject::new("Service", String::new()) };
        let refused = |subject, refusal| Decision::refused(subject, refusal);
        let images = match body(request).and_then(|body| Images::of_service(&body).map_err(Refusal::unreadable)) {
            Ok(images) => images,
            Err(refusal) => return refused(subject, refusal),
        };
        let stored = match self.engine.service(service) {
            Ok(stored) => stored,
            Err(error) => return refused(subject, Refusal::unknown(error)),
        };
        // The engine refuses to update a service that does not exist.
        let Some(stored) = stored else { return self.judge(request, subject, &images, None) };
        let subject = match stored["Spec"]["Name"].as_str() {
            Some(name) => Subject { name: name.to_owned(), ..subject },
            None => subject,
        };
        // The engine executes an update of the version that the client has read. If that is not the version which is judged here, the
        // images may not be those that are stored.
        let is_current = version.is_some() && stored["Version"]["Index"].as_u64() == version;
        let before = match Images::of_service(&stored["Spec"]) {
            Ok(before) => is_current.then_some(before),
            Err(error) => return refused(subject, Refusal::unknown(error)),
        };
        let updated = self.judge(request, subject.clone(), &images, before.as_ref());
        if !rolls_back || !updated.allowed || stored["PreviousSpec"].is_null() {
            return updated;
        }
        // The engine takes the earlier state that it has stored, whatever the body says. Labels of the body permit break-glass for it.
        match Images::of_service(&stored["PreviousSpec"]) {
            Ok(earlier) => self.judge(request, subject, &Images { labels: images.labels, ..earlier }, before.as_ref()),
            Err(error) => refused(subject, Refusal::unknown(error)),
        }
    }

    /// Judges a container that starts for the first time. It may start before the check of what was created has ended.
    fn start_container(&self, request: Request<'_>, id: &str) -> Option<Decision> {
        let subject = Subject { id: Some(id.to_owned()), ..Subject::new("Container", String::new()) };
        let container = match self.engine.container(id) {
            Ok(container) => container?,
            Err(error) => return Some(Decision::refused(subject, Refusal::unknown(error))),
        };
        // A container that has run keeps its image, as a service that is scaled.
        if container["State"]["Status"] != "created" {
            return None;
        }
        let name = container["Name"].as_str().unwrap_or_default().trim_start_matches('/').to_owned();
        let subject = Subject { name, ..subject };
        let (mut body, image) = (container["Config"].clone(), container["Image"].as_str().unwrap_or_default());
        if let Some(body) = body.as_object_mut() {
            body.insert("HostConfig".to_owned(), container["HostConfig"].clone());
        }
        match Images::of_container(&body) {
            Ok(images) => self.judge_container(request, subject, images, Some(image)),
            Err(error) => Some(Decision::refused(subject, Refusal::unknown(error))),
        }
    }

    /// Judges the images of a container: those on the engine, which it starts. `id` is the ID of its image, if the container exists.
    /// `None` if the image is missing.
    fn judge_container(
        &self,
        request: Request<'_>,
        subject: Subject,
        images: Images,
        id: Option<&str>,
    ) -> Option<Decision> {
        let site = format!("container `{}`", images.container_name(&subject.name));
        let container = images.containers.iter().map(|image| (site.clone(), image, id));
        let mounts = images.mounts.iter().enumerate();
        let mounts = mounts.map(|(number, image)| (format!("volume `{}`", mount_name(number)), image, None));
        let mut judged = Images { containers: Vec::new(), mounts: Vec::new(), ..images.clone() };
        let mut unregistered: Option<(Refusal, Vec<String>)> = None;
        for (number, (site, written, id)) in container.chain(mounts).enumerate() {
            let names = if number == 0 { &mut judged.containers } else { &mut judged.mounts };
            match self.on_engine(site, written, id) {
                // The engine answers that the image is missing, and starts nothing. The client then pulls it, and calls again.
                Ok(OnEngine::Absent) if number == 0 => return None,
                Ok(OnEngine::Absent) => names.push(written.clone()),
                Ok(OnEngine::Registered(registered, platform)) => {
                    names.extend(registered);
                    if number == 0 && judged.platform == Platform::default() {
                        judged.platform = platform;
                    }
                }
                Ok(OnEngine::Unregistered(refusal)) => {
                    let (_, names) = unregistered.get_or_insert_with(|| (refusal, Vec::new()));
                    names.push(written.clone());
                }
                Err(refusal) => return Some(Decision::refused(subject, refusal)),
            }
        }
        let Some((refusal, names)) = unregistered else { return Some(self.judge(request, subject, &judged, None)) };
        // Without a digest, an image can only be exempt. No registry is asked about a name that it does not know.
        let Some(annotations) = self.exempt(request, &names) else {
            return Some(Decision::refused(subject, refusal));
        };
        if judged.is_empty() {
            return Some(Decision { annotations, ..Decision::accepted(subject) });
        }
        Some(self.judge(request, subject, &judged, None))
    }

    /// What a name of an image means on the engine. For an existing container, `id` is the ID of its image.
    fn on_engine(&self, site: String, written: &str, id: Option<&str>) -> Result<OnEngine, Refusal> {
        let about = |code, text| Refusal { code, site: Some(site.clone()), image: Some(written.to_owned()), text };
        // The engine refuses such a request, and its answer for an empty name is the list of images.
        if written.is_empty() {
            return Err(about(
                INVALID_REFERENCE,
                "is missing or empty; write a name such as `registry.example.com/team/app:1.4`".to_owned(),
            ));
        }
        let image = match self.engine.image(id.unwrap_or(written)) {
            Ok(Some(image)) => image,
            Ok(None) if id.is_none() => return Ok(OnEngine::Absent),
            Ok(None) => return Err(about(EVIDENCE_UNAVAILABLE, "is no longer on the engine".to_owned())),
            Err(error) => return Err(about(EVIDENCE_UNAVAILABLE, format!("cannot be read from the engine: {error}"))),
        };
        let meaning = if id.is_some() { of_container(written, &image) } else { named(written, &image) };
        match meaning.map_err(|error| about(EVIDENCE_UNAVAILABLE, error))? {
            Local::Registered(names) => Ok(OnEngine::Registered(names, Platform::of_image(&image))),
            Local::Unregistered => Ok(OnEngine::Unregistered(about(
                LOCAL_IMAGE,
                "is only on this engine: it was not pulled from a registry; push it to a registry and pull it from there, or exempt its name in the \
                 settings"
                    .to_owned(),
            ))),
            Local::Id(_) if id.is_some() => Err(about(
                LOCAL_IMAGE,
                "means another image on the engine now, and that of the container was not pulled from a registry; create it again".to_owned(),
            )),
            Local::Id(names) => {
                let advice = match names.first() {
                    Some(name) => format!("write `{name}`"),
                    None => "write the name of an image that was pulled from a registry".to_owned(),
                };
                Err(about(INVALID_REFERENCE, format!("is the ID of an image, not its name; {advice}")))
            }
        }
    }

    /// The audit annotations, if the settings exempt all images with these names.
    fn exempt(&self, request: Request<'_>, names: &[String]) -> Option<Map<String, Value>> {
        let nothing: Arc<dyn Capabilities> = Arc::new(Nothing);
        let pod = Images::of_names(names).pod("");
        let Answered { answer, annotations, .. } =
            self.ask(&admission_request(request, "CREATE", "", &pod, None), &nothing).ok()?;
        (answer.allowed && answer.images.iter().all(|image| image.exempt)).then_some(annotations)
    }

    fn install_plugin(&self, request: Request<'_>, remotes: &[String]) -> Decision {
        let subject = Subject::new("Plugin", remotes.first().cloned().unwrap_or_default());
        match remotes {
            [remote] => self.judge(request, subject, &Images::of_plugin(remote), None),
            _ => {
                let text = format!("`remote`: expected one reference in the query, found {}", remotes.len());
                Decision::refused(subject, Refusal::unreadable(text))
            }
        }
    }

    fn unseen(&self, unseen: Unseen) -> Decision {
        let subject = Subject::new(unseen.kind(), String::new());
        if self.allowed.contains(&unseen) {
            return Decision::accepted(subject);
        }
        let (description, name) = (unseen.description(), unseen.name());
        let text = format!("{description}; do this on another engine, or ask the admin to allow it (--allow {name})");
        Decision::refused(subject, Refusal { code: UNSEEN_IMAGE, site: None, image: None, text })
    }

    /// Judges images with the policy.
    fn judge(&self, request: Request<'_>, subject: Subject, images: &Images, before: Option<&Images>) -> Decision {
        // A service for attaching containers to a network has no image.
        if images.is_empty() {
            return Decision::accepted(subject);
        }
        let pod = images.pod(&subject.name);
        let before = before.map(|before| before.pod(&subject.name));
        let request = admission_request(request, subject.operation, &subject.name, &pod, before);
        let Answered { answer, annotations, log } = match self.ask(&request, self.capabilities) {
            Ok(answered) => answered,
            Err(error) => return Decision::refused(subject, Refusal::unknown(error)),
        };
        Decision {
            allowed: answer.allowed,
            message: answer.messages.join("\n"),
            annotations,
            log,
            ..Decision::accepted(subject)
        }
    }

    /// Asks the module.
    fn ask(&self, request: &AdmissionRequest, capabilities: &Arc<dyn Capabilities>) -> Result<Answered, String> {
        let none = AllowedResources::default();
        let answered = self.policy.validate_with_log(request, self.settings, capabilities, &none);
        let (response, mut log) = answered.map_err(|error| match error.is::<Interrupted>() {
            true => "the policy computed for too long, and was interrupted".to_owned(),
            false => format!("the policy did not answer: {error:#}"),
        })?;
        let annotations = response.audit_annotations.clone().unwrap_or_default().into_iter();
        let mut annotations: Map<String, Value> = annotations
            .map(|(key, text)| {
                // Lists and objects are JSON in the audit annotations.
                let value =
                    serde_json::from_str(&text).ok().filter(|value: &Value| value.is_array() || value.is_object());
                (key, value.unwrap_or(Value::String(text)))
            })
            .collect();
        let mut answer = Answer::of(request, response).map_err(|error| format!("{error:#}"))?;
        log.retain(|line| !answer.name_cause(line));
        if annotations.contains_key("findings") && answer.omitted_findings == 0 {
            annotations.insert("findings".to_owned(), json!(answer.findings));
        }
        Ok(Answered { answer, annotations, log })
    }
}

/// The answer of the module, its audit annotations with the complete findings, and what it logs.
struct Answered {
    answer: Answer,
    annotations: Map<String, Value>,
    log: Vec<LogLine>,
}

/// What an image means on the engine.
enum OnEngine {
    /// It is not there.
    Absent,
    /// It is judged by these names, which have digests. Their content may be an index, of which the image of this platform runs.
    Registered(Vec<String>, Platform),
    /// It has no digest. It is refused for this reason, unless it is exempt.
    Unregistered(Refusal),
}

/// The body as JSON.
fn body(request: Request<'_>) -> Result<Value, Refusal> {
    if request.body.is_empty() {
        return Err(Refusal::unreadable(
            "the request has no body that could be judged: the engine passes a body only if its type is application/json, its length is \
             given, and it is shorter than 1 MiB",
        ));
    }
    read_object(request.body).map_err(Refusal::unreadable)
}

/// The images with the platform that the query of a call requires.
fn on_platform(images: Images, platforms: &[String]) -> Images {
    match platforms.first() {
        Some(platform) => Images { platform: Platform::of_query(platform), ..images },
        None => images,
    }
}

/// The name in the body of a service.
fn name(body: &Value) -> String {
    text(body, "Name").ok().flatten().unwrap_or_default().to_owned()
}

/// The request to judge a pod. It has no namespace, because the author of a stack chooses its name.
fn admission_request(
    request: Request<'_>,
    operation: &str,
    name: &str,
    pod: &Value,
    before: Option<Value>,
) -> AdmissionRequest {
    let kind = GroupVersionKind { group: String::new(), version: "v1".to_owned(), kind: "Pod".to_owned() };
    let resource = GroupVersionResource { group: String::new(), version: "v1".to_owned(), resource: "pods".to_owned() };
    AdmissionRequest {
        uid: "container-patch-swarm-authz".to_owned(),
        request_kind: Some(kind.clone()),
        request_resource: Some(resource.clone()),
        kind,
        resource,
        name: Some(name.to_owned()).filter(|name| !name.is_empty()),
        operation: if before.is_some() { operation } else { "CREATE" }.to_owned(),
        user_info: UserInfo { username: request.user.map(str::to_owned), ..UserInfo::default() },
        object: Some(pod.clone()),
        old_object: before,
        dry_run: Some(false),
        ..AdmissionRequest::default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::{Arc, LazyLock, Mutex};

    use serde_json::{Value, json};

    use super::super::call::{Call, Unseen};
    use super::{Decider, Decision, Engine, Request};
    use crate::capabilities::{Answer, Capabilities, HostCall};
    use crate::policy::Policy;

    const FRESH: &str = "sha256:1111111111111111111111111111111111111111111111111111111111111111";
    const STALE: &str = "sha256:2222222222222222222222222222222222222222222222222222222222222222";

    /// An index: `FRESH` for linux/amd64, `STALE` for linux/arm64.
    const INDEX: &str = "sha256:3333333333333333333333333333333333333333333333333333333333333333";

    static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy::embedded().unwrap());

    /// A registry: the digest `FRESH` was built a few days ago, `STALE` long ago.
    struct Registry;

    fn manifest() -> Value {
        json!({"schemaVersion": 2, "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": FRESH, "size": 1}, "layers": []})
    }

    impl Capabilities for Registry {
        fn answer(&self, call: HostCall) -> Answer {
            let image = match &call {
                HostCall::OciManifestDigest(image) | HostCall::OciManifestAndConfig(image) => &image.image,
                HostCall::OciManifest(image) if image.image.contains(INDEX) => {
                    let entry = |digest: &str, architecture: &str| json!({"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": digest, "size": 1, "platform": {"os": "linux", "architecture": architecture}});
                    let index =
                        json!({"schemaVersion": 2, "manifests": [entry(FRESH, "amd64"), entry(STALE, "arm64")]});
                    return Ok(index.to_string().into_bytes());
                }
                HostCall::OciManifest(_) => return Ok(manifest().to_string().into_bytes()),
                _ => return Err("not expected".to_owned()),
            };
            let (digest, created) = match () {
                () if image.contains("down") => return Err("connection refused".to_owned()),
                () if image.contains(STALE) || image.contains("stale") => (STALE, "2026-03-01T00:00:00Z"),
                () => (FRESH, "2026-11-18T00:00:00Z"),
            };
            let config = json!({"created": created, "architecture": "amd64", "os": "linux", "config": {}, "rootfs": {"type": "layers", "diff_ids": []}});
            let answer = match call {
                HostCall::OciManifestDigest(_) => json!({"digest": digest}),
                _ => json!({"manifest": manifest(), "digest": digest, "config": config}),
            };
            Ok(answer.to_string().into_bytes())
        }
    }

    /// An engine with these services, images and containers by name.
    #[derive(Default)]
    struct Stored {
        services: Value,
        images: Value,
        containers: Value,
        is_down: bool,
        removed: Mutex<Vec<String>>,
    }

    impl Stored {
        fn get(&self, of: &Value, name: &str) -> Result<Option<Value>, String> {
            if self.is_down {
                return Err("cannot connect to the engine".to_owned());
            }
            Ok(of.get(name).cloned())
        }
    }

    impl Engine for Stored {
        fn service(&self, id: &str) -> Result<Option<Value>, String> {
            self.get(&self.services, id)
        }

        fn image(&self, name: &str) -> Result<Option<Value>, String> {
            self.get(&self.images, name)
        }

        fn container(&self, id: &str) -> Result<Option<Value>, String> {
            self.get(&self.containers, id)
        }

        fn remove_container(&self, id: &str) -> Result<(), String> {
            self.removed.lock().unwrap().push(id.to_owned());
            Ok(())
        }
    }

    fn settings(more: &Value) -> Value {
        let mut settings = json!({
            "evaluateAt": "2026-11-20T12:00:00Z", "pinning": {"action": "deny"}, "schedule": {"maxAge": "90d"},
            "baseImage": {"action": "off"}, "scan": {"action": "off"},
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    fn decided(uri: &str, body: &Value, stored: &Stored, more: &Value, user: Option<&str>) -> Decision {
        with_body(uri, body.to_string().as_bytes(), stored, more, user)
    }

    fn with_body(uri: &str, body: &[u8], stored: &Stored, more: &Value, user: Option<&str>) -> Decision {
        with_decider(stored, more, &[], |decider| {
            decider.decide(&Call::of("POST", uri).unwrap(), Request { user, body }).unwrap()
        })
    }

    fn with_decider<T>(stored: &Stored, more: &Value, allowed: &[Unseen], decide: impl FnOnce(&Decider<'_>) -> T) -> T {
        let capabilities: Arc<dyn Capabilities> = Arc::new(Registry);
        let allowed: BTreeSet<Unseen> = allowed.iter().copied().collect();
        decide(&Decider {
            policy: &POLICY,
            settings: &settings(more),
            capabilities: &capabilities,
            engine: stored,
            allowed: &allowed,
        })
    }

    fn service(image: &str) -> Value {
        json!({"Name": "web", "Labels": {}, "TaskTemplate": {"ContainerSpec": {"Image": image}}, "Mode": {"Replicated": {"Replicas": 1}}})
    }

    fn image(digest: &str) -> String {
        format!("example.com/app:1@{digest}")
    }

    /// A decision as text: `allowed` or `denied`, and the codes of its findings, without that of the fixed time.
    fn outcome(decision: &Decision) -> String {
        let allowed = if decision.allowed { "allowed" } else { "denied" };
        let codes = decision.codes().into_iter().filter(|code| *code != "evaluate-at-set");
        std::iter::once(allowed).chain(codes).collect::<Vec<_>>().join(" ")
    }

    fn create_service(spec: &Value) -> String {
        outcome(&decided("/v1.41/services/create", spec, &Stored::default(), &json!({}), None))
    }

    #[test]
    fn a_service_is_judged_by_its_image() {
        assert_eq!(create_service(&service(&image(FRESH))), "allowed");
        assert_eq!(create_service(&service(&image(STALE))), "denied stale-image");
        assert_eq!(create_service(&service("")), "denied invalid-reference");
        assert_eq!(create_service(&json!({"TaskTemplate": {"ContainerSpec": {}}})), "denied invalid-reference");
        assert_eq!(
            create_service(&json!({"TaskTemplate": {"NetworkAttachmentSpec": {"ContainerID": "a"}}})),
            "allowed"
        );
        let plugin =
            json!({"Name": "p", "TaskTemplate": {"PluginSpec": {"Remote": image(STALE)}, "Runtime": "plugin"}});
        assert_eq!(create_service(&plugin), "denied stale-image");
    }

    #[test]
    fn entries_for_namespaces_do_not_apply_whatever_the_name_of_the_stack() {
        let mut spec = service(&image(STALE));
        spec["Labels"] = json!({"com.docker.stack.namespace": "staging"});
        for (namespaces, expected) in [(json!(["*"]), "denied stale-image"), (Value::Null, "allowed stale-image")] {
            let more =
                json!({"overrides": [{"images": ["*"], "namespaces": namespaces, "schedule": {"action": "warn"}}]});
            let decision = decided("/services/create", &spec, &Stored::default(), &more, None);
            assert_eq!(outcome(&decision), expected, "{namespaces}");
        }
    }

    #[test]
    fn an_image_by_tag_is_refused_with_the_digest_to_use() {
        let decision = decided("/services/create", &service("example.com/app:1"), &Stored::default(), &json!({}), None);
        assert_eq!(outcome(&decision), "denied unpinned-image");
        assert!(decision.message.contains(&format!("example.com/app:1@{FRESH}")), "{}", decision.message);
        assert!(decision.message.starts_with("container `web`: image `example.com/app:1` "), "{}", decision.message);
    }

    #[test]
    fn the_decision_has_what_the_audit_annotations_have() {
        let decision = decided("/services/create", &service(&image(STALE)), &Stored::default(), &json!({}), None);
        assert_eq!(
            (decision.kind, decision.operation, decision.name.as_str(), decision.verdict()),
            ("Service", "CREATE", "web", "denied")
        );
        assert_eq!(decision.annotations["images"][0]["image"], image(STALE));
        assert!(
            decision.annotations["findings"].as_array().unwrap().iter().any(|finding| finding["code"] == "stale-image")
        );
    }

    #[test]
    fn a_body_that_cannot_be_read_is_refused() {
        let refused = |body: &[u8]| {
            let decision = with_body("/services/create", body, &Stored::default(), &json!({}), None);
            assert_eq!(outcome(&decision), "denied invalid-request");
            decision.message
        };
        assert!(refused(b"").starts_with("the request has no body that could be judged: "));
        for body in [&b"{\"TaskTemplate\": {"[..], b"[]", b"image", b"\xff{}", b"{} {}", b"{\"Labels\": []}"] {
            assert!(refused(body).ends_with(" [invalid-request]"));
        }
        let twice = format!(
            r#"{{"TaskTemplate": {{"ContainerSpec": {{"Image": "{}", "image": "{}"}}}}}}"#,
            image(FRESH),
            image(STALE)
        );
        assert!(refused(twice.as_bytes()).contains("are the same field"));
    }

    #[test]
    fn break_glass_is_permitted_by_the_name_in_the_certificate() {
        let mut spec = service(&image(STALE));
        spec["Labels"] = json!({"container-patch.dev/break-glass": "outage 4711"});
        let of = |user| {
            outcome(&decided(
                "/services/create",
                &spec,
                &Stored::default(),
                &json!({"breakGlass": {"users": ["jane"]}}),
                user,
            ))
        };
        assert_eq!(of(Some("jane")), "allowed break-glass stale-image");
        assert_eq!(of(Some("joe")), "denied break-glass stale-image");
        assert_eq!(of(None), "denied break-glass stale-image");
    }

    fn stored_service(spec: &Value, previous: &Value) -> Stored {
        let service = json!({"ID": "abc", "Version": {"Index": 7}, "Spec": spec, "PreviousSpec": previous});
        Stored { services: json!({"web": service.clone(), "abc": service}), ..Stored::default() }
    }

    fn update(uri: &str, spec: &Value, stored: &Stored) -> String {
        outcome(&decided(uri, spec, stored, &json!({}), None))
    }

    #[test]
    fn an_update_that_leaves_the_image_alone_passes_with_a_warning() {
        let stored = stored_service(&service(&image(STALE)), &Value::Null);
        let mut spec = service(&image(STALE));
        spec["Mode"]["Replicated"]["Replicas"] = 5.into();
        assert_eq!(update("/v1.41/services/abc/update?version=7", &spec, &stored), "allowed stale-image");
        assert_eq!(update("/services/web/update?version=7", &spec, &stored), "allowed stale-image");
        let decision = decided("/services/abc/update?version=7", &spec, &stored, &json!({}), None);
        assert_eq!((decision.verdict(), decision.operation, decision.name.as_str()), ("warned", "UPDATE", "web"));
    }

    #[test]
    fn an_update_to_a_stale_image_is_refused() {
        let stored = stored_service(&service(&image(FRESH)), &Value::Null);
        assert_eq!(update("/services/web/update?version=7", &service(&image(STALE)), &stored), "denied stale-image");
        assert_eq!(update("/services/web/update?version=7", &service(&image(FRESH)), &stored), "allowed");
    }

    #[test]
    fn an_update_of_another_version_than_the_stored_one_is_judged_like_a_new_service() {
        let stored = stored_service(&service(&image(STALE)), &Value::Null);
        for uri in
            ["/services/web/update?version=8", "/services/web/update", "/services/web/update?version=7&version=8"]
        {
            assert_eq!(update(uri, &service(&image(STALE)), &stored), "denied stale-image", "{uri}");
        }
        assert_eq!(update("/services/other/update?version=7", &service(&image(STALE)), &stored), "denied stale-image");
    }

    #[test]
    fn a_rollback_is_judged_by_the_earlier_state() {
        let stored = stored_service(&service(&image(FRESH)), &service(&image(STALE)));
        assert_eq!(
            update("/services/web/update?version=7&rollback=previous", &service(&image(FRESH)), &stored),
            "denied stale-image"
        );
        assert_eq!(update("/services/web/update?version=7&rollback=", &service(&image(FRESH)), &stored), "allowed");
        let stored = stored_service(&service(&image(STALE)), &service(&image(FRESH)));
        assert_eq!(
            update("/services/web/update?version=7&rollback=previous", &service(&image(STALE)), &stored),
            "allowed"
        );
        assert_eq!(
            update(
                "/services/web/update?version=7&rollback=previous",
                &service(&image(STALE)),
                &stored_service(&service(&image(FRESH)), &Value::Null)
            ),
            "denied stale-image"
        );
    }

    #[test]
    fn an_engine_that_does_not_answer_refuses_an_update_and_a_container() {
        let stored = Stored { is_down: true, ..Stored::default() };
        assert_eq!(
            update("/services/web/update?version=7", &service(&image(FRESH)), &stored),
            "denied evidence-unavailable"
        );
        let decision = decided("/containers/create", &json!({"Image": "a"}), &stored, &json!({}), None);
        assert_eq!(outcome(&decision), "denied evidence-unavailable");
        assert!(decision.is_failure());
        assert!(decision.message.contains("cannot connect to the engine"), "{}", decision.message);
    }

    #[test]
    fn a_registry_that_does_not_answer_is_named_with_the_cause() {
        let spec = service(&format!("down.example.com/app@{FRESH}"));
        let decision = decided("/services/create", &spec, &Stored::default(), &json!({}), None);
        assert_eq!(outcome(&decision), "denied evidence-unavailable");
        assert!(decision.message.contains("connection refused"), "{}", decision.message);
        assert_eq!(decision.log, []);
    }

    /// An image of the engine.
    fn on_engine(tags: &[&str], digests: &[String]) -> Value {
        json!({"Id": "sha256:abc", "RepoTags": tags, "RepoDigests": digests})
    }

    fn engine_with(name: &str, image: Value) -> Stored {
        Stored { images: json!({name: image.clone(), "sha256:abc": image}), ..Stored::default() }
    }

    fn create_container(name: &str, stored: &Stored, more: &Value) -> Decision {
        decided(
            "/v1.41/containers/create?name=web",
            &json!({"Image": name, "Labels": {}, "HostConfig": {}}),
            stored,
            more,
            None,
        )
    }

    #[test]
    fn a_container_is_judged_by_the_digest_of_the_image_on_the_engine() {
        let of = |digest: &str| {
            let stored = engine_with(
                "example.com/app:1",
                on_engine(&["example.com/app:1"], &[format!("example.com/app@{digest}")]),
            );
            create_container("example.com/app:1", &stored, &json!({}))
        };
        assert_eq!(outcome(&of(FRESH)), "allowed");
        let stale = of(STALE);
        assert_eq!(outcome(&stale), "denied stale-image");
        assert!(
            stale.message.starts_with(&format!("container `web`: image `example.com/app:1@{}", &STALE[..19])),
            "{}",
            stale.message
        );
    }

    #[test]
    fn the_image_of_an_index_that_is_on_the_engine_is_judged_and_not_the_one_for_this_machine() {
        let index = "example.com/index:1";
        let on = |architecture: &str| {
            let mut image = on_engine(&[index], &[format!("example.com/index@{INDEX}")]);
            image["Os"] = "linux".into();
            image["Architecture"] = architecture.into();
            outcome(&create_container(index, &engine_with(index, image), &json!({})))
        };
        assert_eq!(on("amd64"), "allowed");
        assert_eq!(on("arm64"), "denied stale-image");
    }

    #[test]
    fn a_stale_image_under_another_name_is_judged_as_the_stale_image() {
        let stale =
            on_engine(&["example.com/stale:1", "trusted.example.com/fresh:1"], &[format!("example.com/stale@{STALE}")]);
        let stored = engine_with("trusted.example.com/fresh:1", stale);
        let exempt = json!({"exempt": ["trusted.example.com/*"]});
        assert_eq!(outcome(&create_container("trusted.example.com/fresh:1", &stored, &exempt)), "denied stale-image");
    }

    #[test]
    fn an_image_that_is_only_on_the_engine_is_refused_unless_it_is_exempt() {
        let stored = engine_with("app:dev", on_engine(&["app:dev"], &[]));
        let refused = create_container("app:dev", &stored, &json!({}));
        assert_eq!(outcome(&refused), "denied local-image");
        assert!(
            refused.message.starts_with("container `web`: image `app:dev` is only on this engine"),
            "{}",
            refused.message
        );
        let exempt = json!({"exempt": ["docker.io/library/app:*"]});
        assert_eq!(outcome(&create_container("app:dev", &stored, &exempt)), "allowed");
    }

    #[test]
    fn an_exempt_image_of_the_engine_does_not_exempt_a_mounted_one() {
        let (local, stale) = ("app:dev", "example.com/stale:1");
        let images = json!({
            local: on_engine(&[local], &[]),
            stale: on_engine(&[stale], &[format!("example.com/stale@{STALE}")]),
        });
        let stored = Stored { images, ..Stored::default() };
        let body = json!({"Image": local, "HostConfig": {"Mounts": [{"Type": "image", "Source": stale}]}});
        let exempt = json!({"exempt": ["docker.io/library/app:*"]});
        assert_eq!(outcome(&decided("/containers/create", &body, &stored, &exempt, None)), "denied stale-image");
    }

    #[test]
    fn the_platform_in_the_query_is_judged() {
        let index = "example.com/index:1";
        let mut image = on_engine(&[index], &[format!("example.com/index@{INDEX}")]);
        image["Architecture"] = "amd64".into();
        let stored = engine_with(index, image);
        let of = |query: &str| {
            outcome(&decided(
                &format!("/containers/create{query}"),
                &json!({"Image": index}),
                &stored,
                &json!({}),
                None,
            ))
        };
        assert_eq!(of(""), "allowed");
        assert_eq!(of("?platform=linux%2Farm64"), "denied stale-image");
    }

    #[test]
    fn an_image_id_is_refused_even_if_everything_is_exempt() {
        let stored = engine_with("abc", on_engine(&["example.com/app:1"], &[format!("example.com/app@{FRESH}")]));
        let refused = create_container("abc", &stored, &json!({"exempt": ["*"]}));
        assert_eq!(outcome(&refused), "denied invalid-reference");
        assert!(refused.message.contains(&format!("write `example.com/app@{FRESH}`")), "{}", refused.message);
        assert_eq!(outcome(&create_container("", &stored, &json!({}))), "denied invalid-reference");
    }

    #[test]
    fn a_missing_image_is_left_to_the_engine_which_starts_nothing() {
        let call = Call::of("POST", "/containers/create").unwrap();
        let request = Request { user: None, body: br#"{"Image": "example.com/stale:1"}"# };
        assert_eq!(with_decider(&Stored::default(), &json!({}), &[], |decider| decider.decide(&call, request)), None);
    }

    #[test]
    fn a_mounted_image_is_judged() {
        let (fresh, stale) = ("example.com/app:1", "example.com/stale:1");
        let images = json!({
            fresh: on_engine(&[fresh], &[format!("example.com/app@{FRESH}")]),
            stale: on_engine(&[stale], &[format!("example.com/stale@{STALE}")]),
        });
        let stored = Stored { images, ..Stored::default() };
        let body = |mount: &str| json!({"Image": fresh, "HostConfig": {"Mounts": [{"Type": "image", "Source": mount, "Target": "/data"}]}});
        let of = |mount: &str| outcome(&decided("/containers/create", &body(mount), &stored, &json!({}), None));
        assert_eq!(of(fresh), "allowed");
        assert_eq!(of(stale), "denied stale-image");
        assert_eq!(of(&format!("example.com/missing@{STALE}")), "denied stale-image");
    }

    /// Checks a container that was created with this name of an image.
    fn check_created(written: &str, stored: &Stored) -> Option<Decision> {
        let body = json!({"Image": written, "HostConfig": {}}).to_string();
        let response = json!({"Id": "c1", "Warnings": []}).to_string();
        let call = Call::of("POST", "/containers/create?name=web").unwrap();
        let request = Request { user: None, body: body.as_bytes() };
        with_decider(stored, &json!({}), &[], |decider| decider.check_created(&call, request, response.as_bytes()))
    }

    #[test]
    fn a_container_stays_if_its_image_is_the_judged_one() {
        let mut stored =
            engine_with("example.com/app:1", on_engine(&["example.com/app:1"], &[format!("example.com/app@{FRESH}")]));
        stored.containers = json!({"c1": {"Image": "sha256:abc"}});
        assert_eq!(check_created("example.com/app:1", &stored), None);
        assert_eq!(check_created("example.com/app:1", &Stored::default()), None, "it is removed already");
        assert!(stored.removed.lock().unwrap().is_empty());
    }

    #[test]
    fn a_container_whose_image_was_exchanged_after_the_decision_is_removed() {
        let fresh = on_engine(&["example.com/app:1"], &[format!("example.com/app@{FRESH}")]);
        for stale in [
            on_engine(&["example.com/app:1"], &[format!("example.com/stale@{STALE}")]),
            on_engine(&["example.com/stale:1"], &[format!("example.com/stale@{STALE}")]),
        ] {
            let stored = Stored {
                images: json!({"example.com/app:1": fresh, "sha256:bad": stale}),
                containers: json!({"c1": {"Image": "sha256:bad"}}),
                ..Stored::default()
            };
            let refused = check_created("example.com/app:1", &stored).unwrap();
            assert!(!refused.allowed);
            assert!(refused.message.ends_with("\nthe container was removed"), "{}", refused.message);
            assert_eq!(*stored.removed.lock().unwrap(), ["c1"]);
        }
    }

    /// The decision about starting a container with this status and image.
    fn start(status: &str, image: &Value) -> Option<Decision> {
        let container = json!({
            "Id": "c1", "Name": "/web", "Image": "sha256:abc", "State": {"Status": status},
            "Config": {"Image": "example.com/app:1", "Labels": {}}, "HostConfig": {"Mounts": null},
        });
        let stored =
            Stored { containers: json!({"web": container}), ..engine_with("example.com/app:1", image.clone()) };
        let call = Call::of("POST", "/containers/web/start").unwrap();
        with_decider(&stored, &json!({}), &[], |decider| decider.decide(&call, Request { user: None, body: b"" }))
    }

    #[test]
    fn a_container_is_judged_when_it_starts_for_the_first_time_and_not_when_it_starts_again() {
        let stale = on_engine(&["example.com/app:1"], &[format!("example.com/app@{STALE}")]);
        let fresh = on_engine(&[], &[format!("example.com/app@{FRESH}")]);
        let refused = start("created", &stale).unwrap();
        assert_eq!(outcome(&refused), "denied stale-image");
        assert!(refused.message.starts_with("container `web`: "), "{}", refused.message);
        assert_eq!(outcome(&start("created", &fresh).unwrap()), "allowed");
        assert_eq!(outcome(&start("created", &on_engine(&[], &[])).unwrap()), "denied local-image");
        assert_eq!(start("exited", &stale), None);
        assert_eq!(start("running", &stale), None);
    }

    #[test]
    fn a_missing_container_is_left_to_the_engine_and_without_an_answer_nothing_starts() {
        let call = Call::of("POST", "/containers/web/restart").unwrap();
        let decided = |stored: &Stored| {
            with_decider(stored, &json!({}), &[], |decider| decider.decide(&call, Request { user: None, body: b"" }))
        };
        assert_eq!(decided(&Stored::default()), None);
        let down = Stored { is_down: true, ..Stored::default() };
        assert_eq!(outcome(&decided(&down).unwrap()), "denied evidence-unavailable");
    }

    #[test]
    fn a_container_that_cannot_be_checked_is_removed() {
        let stored = Stored { is_down: true, ..Stored::default() };
        assert!(check_created("example.com/app:1", &stored).is_some());
        assert_eq!(*stored.removed.lock().unwrap(), ["c1"]);
    }

    #[test]
    fn a_plugin_of_a_registry_is_judged_like_an_image() {
        let of = |uri: &str| outcome(&with_body(uri, b"[]", &Stored::default(), &json!({}), None));
        assert_eq!(of(&format!("/plugins/pull?remote={}&name=a", image(FRESH))), "allowed");
        assert_eq!(of(&format!("/plugins/a/upgrade?remote={}", image(STALE))), "denied stale-image");
        assert_eq!(of("/plugins/pull?remote=example.com/plugin:1"), "denied unpinned-image");
        assert_eq!(of("/plugins/pull"), "denied invalid-request");
        assert_eq!(of("/plugins/pull?remote=a&remote=b"), "denied invalid-request");
    }

    #[test]
    fn calls_whose_images_are_not_in_the_request_are_refused_unless_the_admin_allows_them() {
        let of = |uri: &str, allowed: &[Unseen]| {
            let call = Call::of("POST", uri).unwrap();
            let request = Request { user: None, body: b"" };
            with_decider(&Stored::default(), &json!({}), allowed, |decider| {
                outcome(&decider.decide(&call, request).unwrap())
            })
        };
        assert_eq!(of("/swarm/join", &[]), "denied unseen-image");
        assert_eq!(of("/build?version=1", &[]), "denied unseen-image");
        assert_eq!(of("/grpc", &[Unseen::PluginFiles]), "denied unseen-image");
        assert_eq!(of("/build", &[Unseen::Build]), "allowed");
        assert_eq!(of("/plugins/create?name=a", &[Unseen::Build]), "denied unseen-image");
    }
}
