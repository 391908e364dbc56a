//! Judges the objects of manifests, or of a cluster, as if they were created in a cluster with the policy.

pub mod changes;
pub mod location;
mod request;
pub mod verdict;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::de::DeserializeOwned;
use serde_json::Value;

use self::changes::Changes;
use self::request::{NoRequest, object_name, request, skip_reason};
use self::verdict::{JudgedObject, SkipReason, Verdict};
use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::capabilities::{AllowedResources, Capabilities};
use crate::input::{ManifestObject, Source};
use crate::live::{Live, LiveOptions};
use crate::policy::Policy;
use crate::session::{Session, SessionOptions};
use crate::settings::SettingsOptions;
use crate::terminal::can_show_progress;
use crate::timeout::{Interrupted, RunningClock, Timeout};

/// The number of objects that are judged in parallel.
const PARALLEL: usize = 8;

/// How objects are judged.
#[derive(Debug, Args)]
#[group(skip)]
pub struct JudgeOptions {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Namespace for objects without one
    #[arg(short, long, value_name = "NAME", default_value = "default")]
    namespace: String,
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
    /// Show no progress bar [default: one on a terminal]
    #[arg(long)]
    no_progress: bool,
}

/// Judges objects with the module, its settings, and the answers of registries and of a cluster.
pub struct Judge {
    policy: Policy,
    /// The resources that the policy declares in its metadata. The verdicts are those of a cluster that grants them.
    allowed: AllowedResources,
    settings: Value,
    namespace: String,
    session: Session,
    capabilities: Arc<dyn Capabilities>,
    parallel: usize,
    /// The seconds of computing that the policy has for one object.
    policy_timeout: u64,
    progress: bool,
    _clock: Option<RunningClock>,
}

impl Judge {
    /// Loads the policy, and checks its settings.
    ///
    /// # Errors
    /// When the policy or its settings cannot be read, or are invalid.
    pub fn open(options: &JudgeOptions) -> Result<Self> {
        let settings = options.settings.read()?;
        let policy = Policy::load(options.policy.as_deref())?.with_timeout(Timeout::Computing(options.policy_timeout));
        let clock = (!options.disable_timeout_protection).then(|| policy.clock().start()).transpose()?;
        policy.validate_settings(&settings)?;
        let session = options.session.open(|| Ok(Arc::new(Live::new(&options.live)?)))?;
        Ok(Self {
            allowed: policy.declared_resources(),
            policy,
            settings,
            namespace: options.namespace.clone(),
            capabilities: session.capabilities(),
            parallel: if session.keeps_order() { 1 } else { PARALLEL },
            session,
            policy_timeout: options.policy_timeout,
            progress: !options.no_progress && can_show_progress(),
            _clock: clock,
        })
    }

    /// Judges without a progress bar.
    #[must_use]
    pub fn without_progress(self) -> Self {
        Self { progress: false, ..self }
    }

    /// Ends the session: writes its recorded file, or prints the mismatches of a replay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(self) -> Result<()> {
        self.session.close()
    }

    /// Judges all objects, several in parallel since registries are slow, and shows the progress on a terminal.
    pub fn all(&self, objects: &[ManifestObject]) -> Vec<JudgedObject> {
        let bar = if self.progress { ProgressBar::new(objects.len() as u64) } else { ProgressBar::hidden() };
        let bar = bar.with_message("judging");
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {pos}/{len} {wide_bar}") {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(100));
        let next = AtomicUsize::new(0);
        let judged = Mutex::new(Vec::with_capacity(objects.len()));
        std::thread::scope(|scope| {
            for _ in 0..self.parallel.min(objects.len()) {
                scope.spawn(|| {
                    while let Some((index, object)) = {
                        let index = next.fetch_add(1, Ordering::Relaxed);
                        objects.get(index).map(|object| (index, object))
                    } {
                        let verdict = self.judge(object);
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

    /// Judges an object.
    pub fn judge(&self, ManifestObject { source, object }: &ManifestObject) -> JudgedObject {
        let source = source.clone();
        match object {
            Err(error) => JudgedObject::failed(None, source, error.clone()),
            Ok(object) => match request(object, &self.namespace) {
                Ok(request) => self.evaluate(&request, source),
                Err(NoRequest::Invalid(error)) => JudgedObject::failed(None, source, error),
                Err(NoRequest::NotKubernetes(reason)) => JudgedObject {
                    messages: vec![reason],
                    ..JudgedObject::skipped(SkipReason::NotKubernetes, None, source)
                },
            },
        }
    }

    fn evaluate(&self, request: &AdmissionRequest, source: Source) -> JudgedObject {
        let object = Some(object_name(request));
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
        let (findings, omitted_findings) = annotated_list(&response, "findings");
        let (images, _) = annotated_list(&response, "images");
        let message = response.status.and_then(|status| status.message).unwrap_or_default();
        let messages: Vec<String> = message.lines().map(str::to_owned).collect();
        let warnings = response.warnings.unwrap_or_default();
        let verdict = match (response.allowed, warnings.is_empty()) {
            (true, true) => Verdict::Accepted,
            (true, false) => Verdict::Warned,
            (false, _) => Verdict::Denied,
        };
        let judged = JudgedObject {
            messages,
            warnings,
            pinned,
            recorded,
            findings,
            omitted_findings,
            images,
            ..JudgedObject::with_verdict(verdict, object, source)
        };
        if verdict != Verdict::Denied {
            return judged;
        }
        let reason = request.object.as_ref().and_then(|object| skip_reason(&request.kind, object));
        if let Some(reason) = reason.filter(|_| judged.has_finding("unknown-kind")) {
            return JudgedObject::skipped(reason, judged.object, judged.source);
        }
        let verdict = if judged.is_failure() { Verdict::Failed } else { Verdict::Denied };
        JudgedObject { verdict, ..judged }
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

/// A list in an audit annotation of the policy, and the number of items for which the annotation has no room.
fn annotated_list<T: DeserializeOwned>(response: &AdmissionResponse, key: &str) -> (Vec<T>, usize) {
    let list: Vec<Value> =
        response.annotation(key).and_then(|list| serde_json::from_str(list).ok()).unwrap_or_default();
    let omitted = list.iter().filter_map(|item| item["omitted"].as_u64()).sum::<u64>();
    let items = list.into_iter().filter_map(|item| serde_json::from_value(item).ok()).collect();
    (items, usize::try_from(omitted).unwrap_or(usize::MAX))
}
