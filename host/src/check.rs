//! `container-patch check`: judges manifests as if they were applied to a cluster with the policy.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use crate::admission::{AdmissionRequest, AdmissionResponse, GroupVersionKind, GroupVersionResource, UserInfo};
use crate::capabilities::{AllowedResources, Capabilities};
use crate::changes::Changes;
use crate::json_type::json_type;
use crate::live::{Live, LiveOptions};
use crate::policy::Policy;
use crate::session::SessionOptions;
use crate::settings::SettingsOptions;
use crate::terminal::Style;
use crate::timeout::{Interrupted, Timeout};
use crate::verdict::{JudgedObject, Summary, Verdict};
use crate::{manifest, stdout, table};

/// The number of objects that are judged in parallel.
const PARALLEL: usize = 8;

/// Judge Kubernetes manifests as if they were applied to a cluster with the policy
///
/// The exit code is 0 if all objects are accepted, 1 if an object is denied, and 2 if an object could not be judged.
#[derive(Debug, Args)]
pub struct Options {
    /// Manifests in YAML or JSON, folders of manifests, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Search folders recursively
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    settings: SettingsOptions,
    /// Namespace for objects without one
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// Output format
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    session: SessionOptions,
    #[command(flatten)]
    live: LiveOptions,
    /// Policy, a WebAssembly module [default: the one in this binary]
    #[arg(long, value_name = "FILE.wasm")]
    policy: Option<PathBuf>,
    /// Seconds of computing after which the evaluation of an object is interrupted, without the time that the policy
    /// waits for registries and the cluster
    // 10 s is the default timeout of webhooks in an API server.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    policy_timeout: u64,
    /// Disable policy timeout protection
    #[arg(long, conflicts_with = "policy_timeout")]
    disable_timeout_protection: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// Table for people
    #[default]
    Text,
    /// JSON object for programs
    Json,
}

/// Judges the manifests, and prints the verdicts.
///
/// # Errors
/// When no object can be judged: the policy or its settings are invalid, or the manifests have no objects.
pub fn exec(options: &Options) -> Result<Summary> {
    let settings = options.settings.read()?;
    let policy = Policy::load(options.policy.as_deref())?.with_timeout(Timeout::Computing(options.policy_timeout));
    let _clock = (!options.disable_timeout_protection).then(|| policy.clock().start()).transpose()?;
    policy.validate_settings(&settings)?;
    let session = options.session.open(|| Ok(Arc::new(Live::new(&options.live)?)))?;
    let judge = Judge {
        allowed: policy.declared_resources(),
        policy,
        settings,
        namespace: options.namespace.clone(),
        capabilities: session.capabilities(),
        parallel: if session.keeps_order() { 1 } else { PARALLEL },
        policy_timeout: options.policy_timeout,
    };

    let mut documents = Vec::new();
    for file in files(&options.files, options.recursive)? {
        documents.extend(read(&file));
    }
    let judged = judge.all(&documents);
    session.close()?;
    if judged.is_empty() {
        bail!("no objects in {}", list(&options.files));
    }
    let summary = Summary::of(&judged);
    match options.output {
        Output::Text => stdout::print(&table::render(&judged, summary, Style::of_stdout()))?,
        Output::Json => {
            let verdicts = json!({"objects": judged, "summary": summary});
            stdout::print(&(serde_json::to_string_pretty(&verdicts)? + "\n"))?;
        }
    }
    Ok(summary)
}

fn list(files: &[PathBuf]) -> String {
    files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// The files on the command line, and the manifests in the folders.
fn files(named: &[PathBuf], recursive: bool) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in named {
        if path.is_dir() {
            manifests_in(path, recursive, &mut found)?;
        } else {
            found.push(path.clone());
        }
    }
    Ok(found)
}

fn manifests_in(folder: &Path, recursive: bool, found: &mut Vec<PathBuf>) -> Result<()> {
    let cannot_read = || format!("cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>();
    let mut paths: Vec<PathBuf> = entries.with_context(cannot_read)?.iter().map(std::fs::DirEntry::path).collect();
    paths.sort();
    for path in paths {
        // A link to a folder may lead to a folder above it.
        if path.is_dir() {
            if recursive && !path.is_symlink() {
                manifests_in(&path, recursive, found)?;
            }
        } else if path
            .extension()
            .is_some_and(|extension| ["yaml", "yml", "json"].iter().any(|known| extension == *known))
        {
            found.push(path);
        }
    }
    Ok(())
}

/// File and line of an object, and the object or the reason why it cannot be read.
type ManifestObject = (String, Result<Value, String>);

fn read(path: &Path) -> Vec<ManifestObject> {
    let (name, text) = if path == Path::new("-") {
        let mut text = String::new();
        ("<stdin>".to_owned(), std::io::stdin().read_to_string(&mut text).map(|_| text))
    } else {
        (path.display().to_string(), std::fs::read_to_string(path))
    };
    match text {
        Ok(text) => manifest::read(&text)
            .into_iter()
            .map(|document| {
                let object = document.object.map_err(|error| format!("{error:#}"));
                (format!("{name}:{}", document.place), object)
            })
            .collect(),
        Err(error) => vec![(name, Err(format!("cannot read the file: {error}")))],
    }
}

struct Judge {
    policy: Policy,
    /// The resources that the policy declares in its metadata. The verdicts are those of a cluster that grants them.
    allowed: AllowedResources,
    settings: Value,
    namespace: String,
    capabilities: Arc<dyn Capabilities>,
    parallel: usize,
    /// The seconds of computing that the policy has for one object.
    policy_timeout: u64,
}

impl Judge {
    /// Judges all objects, several in parallel since registries are slow, and shows the progress on a terminal.
    fn all(&self, documents: &[ManifestObject]) -> Vec<JudgedObject> {
        let bar = ProgressBar::new(documents.len() as u64).with_message("judging");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} {wide_bar}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        let next = AtomicUsize::new(0);
        let judged = Mutex::new(Vec::with_capacity(documents.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.parallel.min(documents.len()) {
                scope.spawn(|| {
                    while let Some((index, document)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        documents.get(index).map(|document| (index, document))
                    } {
                        let verdict = self.document(document);
                        judged.lock().unwrap_or_else(PoisonError::into_inner).push((index, verdict));
                        bar.inc(1);
                    }
                });
            }
        });
        bar.finish_and_clear();
        let mut judged = judged.into_inner().unwrap_or_else(PoisonError::into_inner);
        judged.sort_by_key(|(index, _)| *index);
        judged.into_iter().map(|(_, judged)| judged).collect()
    }

    fn document(&self, (source, object): &ManifestObject) -> JudgedObject {
        let source = source.clone();
        match object {
            Err(error) => JudgedObject::failed(None, source, error.clone()),
            Ok(object) => match request(object, &self.namespace) {
                Ok(request) => self.object(&request, source),
                Err(error) => JudgedObject::failed(None, source, format!("{error:#}")),
            },
        }
    }

    fn object(&self, request: &AdmissionRequest, source: String) -> JudgedObject {
        let object = Some(title(request));
        let response = self.policy.validate(request, &self.settings, &self.capabilities, &self.allowed);
        let response = match response {
            Ok(response) => response,
            Err(error) => return JudgedObject::failed(object, source, self.no_answer(&error)),
        };
        let Changes { pinned, recorded } = match changes(request, &response) {
            Ok(changes) => changes,
            Err(error) => {
                return JudgedObject::failed(object, source, format!("cannot apply the policy's patch: {error:#}"));
            }
        };
        let findings = annotated_list(&response, "findings");
        let images = annotated_list(&response, "images");
        let message = response.status.and_then(|status| status.message).unwrap_or_default();
        let messages: Vec<String> = message.lines().map(str::to_owned).collect();
        let warnings = response.warnings.unwrap_or_default();
        let unknown =
            findings.as_array().is_some_and(|list| list.iter().any(|finding| finding["code"] == "unknown-kind"));
        let verdict = match (response.allowed, warnings.is_empty()) {
            (true, true) => Verdict::Accepted,
            (true, false) => Verdict::Warned,
            // In a cluster the policy gets no requests about kinds without images.
            (false, _) if unknown && !request.object.as_ref().is_some_and(names_images) => {
                return JudgedObject::with_verdict(Verdict::Skipped, object, source);
            }
            (false, _) => Verdict::Denied,
        };
        JudgedObject { verdict, object, source, messages, warnings, pinned, recorded, findings, images }
    }

    /// Why an object could not be judged, and how to change that.
    fn no_answer(&self, error: &anyhow::Error) -> String {
        if !error.is::<Interrupted>() {
            return format!("the policy did not answer: {error:#}");
        }
        let seconds = self.policy_timeout;
        format!(
            "the policy computed for more than {seconds} s and was interrupted; for more time, set --policy-timeout here, \
             and `timeoutEvalSeconds` of the policy in a cluster (default: 2 s)"
        )
    }
}

/// The changes of the policy to the object of a request.
fn changes(request: &AdmissionRequest, response: &AdmissionResponse) -> Result<Changes> {
    let Some(object) = &request.object else { return Ok(Changes::default()) };
    Ok(response.patched(object)?.map(|patched| Changes::between(object, &patched)).unwrap_or_default())
}

fn annotated_list(response: &AdmissionResponse, key: &str) -> Value {
    response.annotation(key).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_else(|| json!([]))
}

/// Keys for containers in common custom kinds.
const CONTAINER_KEYS: [&str; 8] =
    ["containers", "initContainers", "ephemeralContainers", "container", "steps", "sidecars", "script", "stepTemplate"];

/// Whether an object of any kind has a container with an image.
fn names_images(value: &Value) -> bool {
    let is_container = |value: &Value| value["image"].is_string();
    let are_containers = |value: &Value| match value {
        Value::Array(list) => list.iter().any(is_container),
        other => is_container(other),
    };
    match value {
        Value::Object(fields) => {
            CONTAINER_KEYS.iter().filter_map(|key| fields.get(*key)).any(are_containers)
                || fields.values().any(names_images)
        }
        Value::Array(items) => items.iter().any(names_images),
        _ => false,
    }
}

fn title(request: &AdmissionRequest) -> String {
    let kind = &request.kind.kind;
    let name = request.name.as_deref().unwrap_or("(no name)");
    match &request.namespace {
        Some(namespace) => format!("{kind} {namespace}/{name}"),
        None => format!("{kind} {name}"),
    }
}

/// The request of an API server for creating the object.
fn request(object: &Value, namespace: &str) -> Result<AdmissionRequest> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let required = |key: &str| {
        text(&object[key]).with_context(|| match &object[key] {
            Value::Null | Value::String(_) => format!("invalid Kubernetes object: `{key}` is required"),
            other => format!("invalid Kubernetes object: `{key}`: expected a string, found {}", json_type(other)),
        })
    };
    let api_version = required("apiVersion")?;
    let kind = required("kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind };
    let resource = GroupVersionResource {
        group: gvk.group.clone(),
        version: gvk.version.clone(),
        // This is right for kinds with pods, and the policy does not look at the resources of other kinds.
        resource: format!("{}s", gvk.kind.to_lowercase()),
    };
    let metadata = &object["metadata"];
    let name = text(&metadata["name"]).or_else(|| text(&metadata["generateName"]).map(|prefix| prefix + "…"));
    Ok(AdmissionRequest {
        uid: "container-patch-check".to_owned(),
        request_kind: Some(gvk.clone()),
        request_resource: Some(resource.clone()),
        kind: gvk,
        resource,
        name,
        namespace: Some(text(&metadata["namespace"]).unwrap_or_else(|| namespace.to_owned())),
        operation: "CREATE".to_owned(),
        user_info: UserInfo {
            username: Some("container-patch".to_owned()),
            groups: Some(vec!["system:authenticated".to_owned()]),
            ..UserInfo::default()
        },
        object: Some(object.clone()),
        dry_run: Some(true),
        options: Some(json!({"apiVersion": "meta.k8s.io/v1", "kind": "CreateOptions"})),
        ..AdmissionRequest::default()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{names_images, request, title};

    #[test]
    fn a_request_has_the_kind_and_name_of_the_manifest() {
        let object =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}});
        let made = request(&object, "default").unwrap();
        assert_eq!((made.kind.group.as_str(), made.kind.version.as_str()), ("apps", "v1"));
        assert_eq!(made.resource.resource, "deployments");
        assert_eq!(title(&made), "Deployment shop/web");
        let object = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"generateName": "job-"}});
        assert_eq!(title(&request(&object, "default").unwrap()), "Pod default/job-…");
    }

    #[test]
    fn an_object_without_a_kind_is_invalid() {
        let error = |object| request(&object, "default").unwrap_err().to_string();
        assert_eq!(error(json!({"kind": "Pod"})), "invalid Kubernetes object: `apiVersion` is required");
        assert_eq!(error(json!({"apiVersion": "v1", "kind": ""})), "invalid Kubernetes object: `kind` is required");
    }

    #[test]
    fn a_workload_is_detected_by_its_containers() {
        assert!(names_images(&json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}})));
        assert!(names_images(&json!({"spec": {"templates": [{"spec": {"containers": [{}, {"image": "a"}]}}]}})));
        assert!(names_images(&json!({"spec": {"initContainers": [{"image": "a"}]}})));
        assert!(names_images(&json!({"spec": {"templates": [{"container": {"image": "a"}}]}})));
        assert!(names_images(&json!({"spec": {"steps": [{"image": "a"}]}})));
        assert!(!names_images(&json!({"spec": {"containers": [{"name": "a"}], "image": "logo.png"}})));
    }
}
