//! `container-patch check`: judges manifests as if they were applied to a cluster that has the policy.

use std::fmt;
use std::io::{IsTerminal as _, Read as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use serde_json::{Value, json};

use crate::admission::{
    AdmissionRequest, AdmissionResponse, GroupVersionKind, GroupVersionResource, UserInfo, kind_of,
};
use crate::capabilities::{AllowedResources, Capabilities};
use crate::changes::{Changes, Record};
use crate::policy::Policy;
use crate::timeout::{Interrupted, Timeout};
use crate::world::{self, World};
use crate::{manifest, session, settings, stdout, table};

/// How many objects are judged at a time.
const AT_A_TIME: usize = 8;

/// Judge Kubernetes manifests as if they were applied to a cluster that has the policy
///
/// Exits with 0 when everything is accepted, with 1 when something is denied, and with 2 when something could not be
/// judged.
#[derive(Debug, Args)]
pub struct Options {
    /// Manifests in YAML or JSON, folders of them, or `-` for standard input
    #[arg(value_name = "FILE", required = true)]
    files: Vec<PathBuf>,
    /// Look into folders inside of folders, too
    #[arg(short = 'R', long)]
    recursive: bool,
    #[command(flatten)]
    settings: settings::Source,
    /// Namespace of the objects that name none
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
    /// How to print the verdicts
    #[arg(short, long, value_enum, default_value_t)]
    output: Output,
    #[command(flatten)]
    session: session::Flags,
    #[command(flatten)]
    world: world::Access,
    /// Policy to judge by, a WebAssembly module; the one in this binary if left out
    #[arg(long, value_name = "FILE.wasm")]
    policy: Option<PathBuf>,
    /// Interrupt the policy when it computes for more than this many seconds about one object; waiting for registries
    /// and the cluster does not count
    // 10 s is when an API server gives up a webhook that does not say otherwise.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    policy_timeout: u64,
    /// Disable policy timeout protection
    #[arg(long, conflicts_with = "policy_timeout")]
    disable_timeout_protection: bool,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Output {
    /// A table for people
    #[default]
    Text,
    /// One JSON object for programs
    Json,
}

/// What became of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It would be let in without a word.
    Accepted,
    /// It would be let in with warnings.
    Warned,
    /// It would be refused.
    Denied,
    /// It names no images.
    Skipped,
    /// It could not be judged.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Accepted => "accepted",
            Self::Warned => "warned",
            Self::Denied => "denied",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        })
    }
}

/// What became of one object, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judged {
    /// What became of it.
    pub verdict: Verdict,
    /// The object, such as `Deployment default/web`; what cannot be read has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// File and line.
    pub source: String,
    /// Why it is refused, or could not be judged: one finding each.
    pub messages: Vec<String>,
    /// What the user is warned of.
    pub warnings: Vec<String>,
    /// The images as the policy would rewrite them.
    pub pinned: Vec<String>,
    /// The records of digests that the policy would write into pod templates. Records that stay as they are are left out.
    pub recorded: Vec<Record>,
    /// The findings as the policy writes them into the audit log.
    pub findings: Value,
    /// The images that were judged, as the policy writes them into the audit log.
    pub images: Value,
}

/// How often each verdict was given.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "each is the number of one verdict")]
pub struct Summary {
    pub accepted: usize,
    pub warned: usize,
    pub denied: usize,
    pub skipped: usize,
    pub failed: usize,
}

impl Summary {
    fn of(judged: &[Judged]) -> Self {
        let count = |verdict| judged.iter().filter(|object| object.verdict == verdict).count();
        Self {
            accepted: count(Verdict::Accepted),
            warned: count(Verdict::Warned),
            denied: count(Verdict::Denied),
            skipped: count(Verdict::Skipped),
            failed: count(Verdict::Failed),
        }
    }

    /// The exit code that tells a pipeline how it went.
    #[must_use]
    pub fn exit_code(self) -> ExitCode {
        match self {
            Self { failed: 1.., .. } => ExitCode::from(2),
            Self { denied: 1.., .. } => ExitCode::from(1),
            _ => ExitCode::SUCCESS,
        }
    }
}

/// Judges the manifests, and prints the verdicts.
///
/// # Errors
/// When nothing can be judged: the policy or its settings cannot be used, or there is no object at all.
pub fn exec(options: &Options) -> Result<Summary> {
    let settings = options.settings.read()?;
    let policy = Policy::load(options.policy.as_deref())?.with_timeout(Timeout::OfComputing(options.policy_timeout));
    let _ticking = (!options.disable_timeout_protection).then(|| policy.clock().start()).transpose()?;
    policy.validate_settings(&settings)?;
    let session = options.session.open(|| Ok(Arc::new(World::new(&options.world)?)))?;
    let judge = Judge {
        allowed: policy.declared_resources(),
        policy,
        settings,
        namespace: options.namespace.clone(),
        capabilities: session.capabilities(),
        at_a_time: if session.keeps_order() { 1 } else { AT_A_TIME },
        policy_timeout: options.policy_timeout,
    };

    let mut documents = Vec::new();
    for file in files(&options.files, options.recursive)? {
        documents.extend(read(&file));
    }
    let judged = judge.all(&documents);
    session.close()?;
    if judged.is_empty() {
        bail!("there is no object in {}", list(&options.files));
    }
    let summary = Summary::of(&judged);
    match options.output {
        Output::Text => stdout::print(&table::render(&judged, summary, table::Style::of_stdout()))?,
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

/// The files that are meant: those that are named, and the manifests in the folders that are named.
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
        // A link to a folder may lead back to where it stands.
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

/// An object of a manifest and where it stands, or why it cannot be read.
type Document = (String, Result<Value, String>);

fn read(path: &Path) -> Vec<Document> {
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
    /// What the policy declares to read: it is asked what it would say in a cluster, where it was granted that.
    allowed: AllowedResources,
    settings: Value,
    namespace: String,
    capabilities: Arc<dyn Capabilities>,
    at_a_time: usize,
    /// The seconds that the policy may compute about one object.
    policy_timeout: u64,
}

impl Judge {
    /// Judges every object, several at a time because the world takes its time, and shows on a terminal how it goes.
    fn all(&self, documents: &[Document]) -> Vec<Judged> {
        let bar = ProgressBar::new(documents.len() as u64).with_message("judging");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} {wide_bar}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        let next = AtomicUsize::new(0);
        let judged = Mutex::new(Vec::with_capacity(documents.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.at_a_time.min(documents.len()) {
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

    fn document(&self, (source, object): &Document) -> Judged {
        let source = source.clone();
        match object {
            Err(error) => failed(None, source, error),
            Ok(object) => match request(object, &self.namespace) {
                Ok(request) => self.object(&request, source),
                Err(error) => failed(None, source, &format!("{error:#}")),
            },
        }
    }

    fn object(&self, request: &AdmissionRequest, source: String) -> Judged {
        let object = Some(title(request));
        let response = self.policy.validate(request, &self.settings, &self.capabilities, &self.allowed);
        let response = match response {
            Ok(response) => response,
            Err(error) => return failed(object, source, &self.no_answer(&error)),
        };
        let Changes { pinned, recorded } = match changes(request, &response) {
            Ok(changes) => changes,
            Err(error) => return failed(object, source, &format!("the policy's patch cannot be applied: {error:#}")),
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
            // In the cluster the rules of the policy keep away the kinds that name no images.
            (false, _) if unknown && !request.object.as_ref().is_some_and(names_images) => {
                return Judged { verdict: Verdict::Skipped, object, source, ..Judged::empty() };
            }
            (false, _) => Verdict::Denied,
        };
        Judged { verdict, object, source, messages, warnings, pinned, recorded, findings, images }
    }

    /// Why an object could not be judged, and what to do about it.
    fn no_answer(&self, error: &anyhow::Error) -> String {
        if !error.is::<Interrupted>() {
            return format!("the policy did not answer: {error:#}");
        }
        let seconds = self.policy_timeout;
        format!(
            "the policy computed for more than {seconds} s and was interrupted; --policy-timeout gives it more time here, \
             `timeoutEvalSeconds` of the policy in a cluster, where it has 2 s if that is left out"
        )
    }
}

impl Judged {
    fn empty() -> Self {
        Self {
            verdict: Verdict::Skipped,
            object: None,
            source: String::new(),
            messages: Vec::new(),
            warnings: Vec::new(),
            pinned: Vec::new(),
            recorded: Vec::new(),
            findings: json!([]),
            images: json!([]),
        }
    }
}

fn failed(object: Option<String>, source: String, error: &str) -> Judged {
    Judged { verdict: Verdict::Failed, object, source, messages: vec![error.to_owned()], ..Judged::empty() }
}

/// What the policy would change in the object of a request.
fn changes(request: &AdmissionRequest, response: &AdmissionResponse) -> Result<Changes> {
    let Some(object) = &request.object else { return Ok(Changes::default()) };
    Ok(response.patched(object)?.map(|patched| Changes::between(object, &patched)).unwrap_or_default())
}

fn annotated_list(response: &AdmissionResponse, key: &str) -> Value {
    response.annotation(key).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_else(|| json!([]))
}

/// Keys under which kinds that the policy does not know have been seen to hold containers.
const CONTAINER_KEYS: [&str; 8] =
    ["containers", "initContainers", "ephemeralContainers", "container", "steps", "sidecars", "script", "stepTemplate"];

/// Whether some container in here names an image, whatever the kind.
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

/// The request that an API server makes of the object when it is created.
fn request(object: &Value, namespace: &str) -> Result<AdmissionRequest> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    let required = |key: &str| {
        text(&object[key]).with_context(|| match &object[key] {
            Value::Null | Value::String(_) => format!("this is no Kubernetes object: it has no `{key}`"),
            other => format!("this is no Kubernetes object: its `{key}` is {}, not a string", kind_of(other)),
        })
    };
    let api_version = required("apiVersion")?;
    let kind = required("kind")?;
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let gvk = GroupVersionKind { group: group.to_owned(), version: version.to_owned(), kind };
    let resource = GroupVersionResource {
        group: gvk.group.clone(),
        version: gvk.version.clone(),
        // The plural of the kinds that hold pods; what others are called makes no difference to the policy.
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

impl table::Style {
    /// The style that suits standard output: colours on a terminal only, and not where `NO_COLOR` is set
    /// (<https://no-color.org>).
    fn of_stdout() -> Self {
        let terminal = std::io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self { terminal, color: terminal && !no_color }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{names_images, request, title};

    #[test]
    fn a_request_says_what_the_manifest_says() {
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
    fn what_has_no_kind_is_no_kubernetes_object() {
        let error = |object| request(&object, "default").unwrap_err().to_string();
        assert_eq!(error(json!({"kind": "Pod"})), "this is no Kubernetes object: it has no `apiVersion`");
        assert_eq!(error(json!({"apiVersion": "v1", "kind": ""})), "this is no Kubernetes object: it has no `kind`");
    }

    #[test]
    fn a_list_of_containers_gives_a_workload_away() {
        assert!(names_images(&json!({"spec": {"template": {"spec": {"containers": [{"image": "a"}]}}}})));
        assert!(names_images(&json!({"spec": {"templates": [{"spec": {"containers": [{}, {"image": "a"}]}}]}})));
        assert!(names_images(&json!({"spec": {"initContainers": [{"image": "a"}]}})));
        assert!(names_images(&json!({"spec": {"templates": [{"container": {"image": "a"}}]}})));
        assert!(names_images(&json!({"spec": {"steps": [{"image": "a"}]}})));
        assert!(!names_images(&json!({"spec": {"containers": [{"name": "a"}], "image": "logo.png"}})));
    }
}
