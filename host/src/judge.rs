//! Judges the objects of manifests, or of a cluster, as if they were created in a cluster with the policy.

pub(crate) mod answer;
pub mod changes;
mod existing;
pub mod location;
mod request;
pub mod verdict;

use std::borrow::Cow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::Value;

use self::answer::Answer;
use self::changes::Changes;
pub(crate) use self::existing::exists;
use self::existing::without_rollout;
use self::request::{NoRequest, object_name, request, service_name, skip_reason};
use self::verdict::{JudgedObject, SkipReason, Verdict};
use crate::admission::AdmissionRequest;
use crate::at::At;
use crate::capabilities::{AllowedResources, Capabilities};
use crate::cluster::ClusterOptions;
use crate::commands::swarm_authz::engine_settings;
use crate::input::{ManifestObject, Source};
use crate::live::{Live, LiveOptions};
use crate::policies::{DeployedPolicy, Matched, Namespaces, Origin, Policies};
use crate::policy::{LogLine, Policy, PolicyOptions, print_once};
use crate::session::{Session, SessionOptions};
use crate::settings::SettingsOptions;
use crate::slots::{Lending, Slots};
use crate::terminal::{can_show_progress, printable};
use crate::timeout::{Interrupted, RunningClock, Timeout};

/// The number of objects that are judged at the same time. Most of them wait for a registry.
const OBJECTS: usize = 128;

/// The number of objects whose evaluation is started while no other one waits.
const EVALUATIONS: u16 = 8;

/// The seconds of computing for one object: the default timeout of webhooks in an API server.
pub(crate) const DEFAULT_TIMEOUT: u64 = 10;

/// How objects are judged.
#[derive(Debug, Args)]
#[group(skip)]
pub struct JudgeOptions {
    #[command(flatten)]
    settings: SettingsOptions,
    /// Time for which objects are judged, as a day or in RFC 3339; it replaces `evaluateAt` of the settings [default: now]
    #[arg(long, value_name = "DATE", value_parser = At::parse)]
    at: Option<At>,
    /// Namespace for objects without one [default: default]
    #[arg(short, long, value_name = "NAME", env = "CONTAINER_PATCH_NAMESPACE", hide_env_values = true)]
    namespace: Option<String>,
    #[command(flatten)]
    session: SessionOptions,
    #[command(flatten)]
    live: LiveOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Seconds of computing after which the evaluation of an object is interrupted, without the time that the policy
    /// waits for registries and the cluster
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_TIMEOUT, value_parser = clap::value_parser!(u64).range(1..=600))]
    policy_timeout: u64,
    /// Disable policy timeout protection
    #[arg(long, conflicts_with = "policy_timeout")]
    disable_timeout_protection: bool,
    /// Show no progress bar [default: one on a terminal]
    #[arg(long)]
    no_progress: bool,
}

/// The namespace of objects without one, as in kubectl.
const DEFAULT_NAMESPACE: &str = "default";

impl JudgeOptions {
    /// The namespace that is given, on the command line or otherwise.
    pub(crate) fn given_namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The time on the command line, for these policies.
    pub(crate) fn at(&self, policies: &Policies) -> Option<String> {
        self.at.and_then(|_| policies.evaluate_at())
    }

    /// How the cluster is reached.
    pub(crate) fn cluster(&self) -> &ClusterOptions {
        &self.live.cluster
    }
}

/// Judges objects with the module, its settings, and the answers of registries and of a cluster.
pub struct Judge {
    policy: Arc<Policy>,
    /// The resources that the module declares in its metadata. Settings without a policy are judged as in a cluster that grants them.
    declared: AllowedResources,
    policies: Policies,
    /// The namespaces among the objects so far.
    namespaces: RwLock<Namespaces>,
    /// The time on the command line.
    at: Option<At>,
    namespace: String,
    /// Whether all objects exist already, whatever their metadata say.
    all_exist: bool,
    session: Session,
    capabilities: Arc<dyn Capabilities>,
    parallel: usize,
    evaluations: Arc<Slots>,
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
        let mut policies = options.settings.policies()?;
        let policy = options.policy.load()?.with_timeout(Timeout::Computing(options.policy_timeout));
        let clock = (!options.disable_timeout_protection).then(|| policy.clock().start()).transpose()?;
        prepare(&mut policies, options.at, &policy).map_err(|error| options.settings.unusable(&error))?;
        let session = options.session.open(|| Ok(Arc::new(Live::new(&options.live)?)))?;
        let namespace = options.namespace.clone().unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Ok(Self {
            policy_timeout: options.policy_timeout,
            progress: !options.no_progress && can_show_progress(),
            _clock: clock,
            ..Self::new(Arc::new(policy), policies, options.at, namespace, session)
        })
    }

    fn new(policy: Arc<Policy>, policies: Policies, at: Option<At>, namespace: String, session: Session) -> Self {
        let evaluations = Arc::new(Slots::new(EVALUATIONS));
        Self {
            declared: policy.declared_resources(),
            policy,
            policies,
            namespaces: RwLock::default(),
            at,
            namespace,
            all_exist: false,
            capabilities: Arc::new(Lending::new(session.capabilities(), Arc::clone(&evaluations))),
            parallel: if session.keeps_order() { 1 } else { OBJECTS },
            evaluations,
            session,
            policy_timeout: DEFAULT_TIMEOUT,
            progress: false,
            _clock: None,
        }
    }

    /// Judges without a progress bar.
    #[must_use]
    pub fn without_progress(self) -> Self {
        Self { progress: false, ..self }
    }

    /// Judges services of a swarm as the authorization plugin does: they have no namespace, and an image is not pinned for them.
    ///
    /// # Errors
    /// When the settings need a Kubernetes cluster.
    pub(crate) fn judge_services(&mut self) -> Result<()> {
        self.namespace.clear();
        self.all_exist = true;
        for settings in self.policies.settings_mut() {
            *settings = engine_settings::of(settings.take()).map_err(|problems| anyhow!(problems.join("\n")))?;
        }
        prepare(&mut self.policies, self.at, &self.policy)
    }

    /// Judges objects of a cluster. One without a namespace is cluster-scoped, and so is its request.
    pub(crate) fn judge_cluster(&mut self) {
        self.namespace.clear();
        self.all_exist = true;
    }

    /// Judges with a module that is loaded, and with answers that do not come from live registries. The caller starts the clock.
    ///
    /// # Errors
    /// When the settings are invalid.
    pub fn with_answers(
        policy: &Arc<Policy>,
        mut policies: Policies,
        at: Option<At>,
        namespace: String,
        capabilities: &Arc<dyn Capabilities>,
    ) -> Result<Self> {
        prepare(&mut policies, at, policy)?;
        let session = Session::Live(Arc::clone(capabilities));
        Ok(Self { parallel: 1, ..Self::new(Arc::clone(policy), policies, at, namespace, session) })
    }

    /// The namespace for objects without one. Empty for objects of a cluster and services of a swarm.
    pub(crate) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Whether progress is shown.
    pub(crate) fn shows_progress(&self) -> bool {
        self.progress
    }

    /// The answers to the policy's questions.
    pub(crate) fn capabilities(&self) -> Arc<dyn Capabilities> {
        Arc::clone(&self.capabilities)
    }

    /// Replaces the answers to the policy's questions, for example to observe them.
    pub(crate) fn answer_by(&mut self, capabilities: Arc<dyn Capabilities>) {
        self.capabilities = capabilities;
    }

    /// Ends the session: writes its recorded file, or prints the mismatches of a replay.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn close(self) -> Result<()> {
        self.session.close()
    }

    /// Judges all objects, many at the same time since registries are slow, and shows the progress on a terminal.
    pub fn all(&self, objects: &[ManifestObject]) -> Vec<JudgedObject> {
        self.learn_namespaces(objects, Origin::Manifest);
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
        let service = source.service().map(|service| service_name(service, &self.namespace));
        match object {
            Err(error) => JudgedObject::failed(service, source, error.clone()),
            Ok(_) if let Some(reason) = source.service().and_then(|service| service.no_image) => JudgedObject {
                messages: vec![reason.to_owned()],
                ..JudgedObject::skipped(SkipReason::ServiceWithoutImage, service, source)
            },
            Ok(object) => match request(object, &self.namespace) {
                Ok(mut request) => {
                    request.namespace = request.namespace.filter(|namespace| !namespace.is_empty());
                    self.evaluate(&request, source)
                }
                Err(NoRequest::Invalid(error)) => JudgedObject::failed(None, source, error),
                Err(NoRequest::NotKubernetes(reason)) => JudgedObject {
                    messages: vec![reason],
                    ..JudgedObject::skipped(SkipReason::NotKubernetes, None, source)
                },
            },
        }
    }

    /// Learns the labels of the namespaces among the objects, for the namespace selectors of policies.
    pub fn learn_namespaces<'o>(&self, objects: impl IntoIterator<Item = &'o ManifestObject>, origin: Origin) {
        let mut namespaces = self.namespaces.write().unwrap_or_else(PoisonError::into_inner);
        objects
            .into_iter()
            .filter_map(|object| object.object.as_ref().ok())
            .for_each(|object| namespaces.learn(object, origin));
    }

    /// The policies that judge objects. The time on the command line is in their settings.
    pub fn policies(&self) -> &Policies {
        &self.policies
    }

    fn evaluate(&self, request: &AdmissionRequest, source: Source) -> JudgedObject {
        let service = source.service().map(|service| service_name(service, &self.namespace));
        let object = Some(service.unwrap_or_else(|| object_name(request)));
        let answer = match &self.policies {
            Policies::Settings(settings) => self.ask(request, settings, &self.declared).map(Some),
            Policies::Deployed(policies) => self.ask_all(request, policies),
        };
        let skip_reason = || request.object.as_ref().and_then(|object| skip_reason(&request.kind, object));
        let Answer { allowed, messages, warnings, findings, omitted_findings, images, object: changed } = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return JudgedObject::skipped(skip_reason().unwrap_or(SkipReason::NoPolicy), object, source),
            Err(error) => return JudgedObject::failed(object, source, error),
        };
        let changes = request.object.as_ref().zip(changed.as_ref());
        let Changes { pinned, recorded } =
            changes.map(|(before, after)| Changes::between(before, after)).unwrap_or_default();
        let verdict = match (allowed, warnings.is_empty()) {
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
        // In a cluster the policy gets no requests about kinds without images, unless its rules say so.
        if judged.has_finding("unknown-kind")
            && !self.policies.have_rules()
            && let Some(reason) = skip_reason()
        {
            return JudgedObject::skipped(reason, judged.object, judged.source);
        }
        let verdict = if judged.is_failure() { Verdict::Failed } else { Verdict::Denied };
        JudgedObject { verdict, ..judged }
    }

    /// Asks the policies of a cluster: each mutating policy changes the object for the next ones, and a denial by one of them ends
    /// the request. Returns `None` if no policy gets the request.
    fn ask_all(&self, request: &AdmissionRequest, policies: &[DeployedPolicy]) -> Result<Option<Answer>, String> {
        let mut request = request.clone();
        let mut answers = Vec::new();
        for policy in policies {
            if !self.gets(policy, &request) {
                continue;
            }
            let answer = self.ask(&request, &policy.settings, &policy.resources);
            let answer = answer.map_err(|error| format!("{}: {error}", policy.name))?.of_server(policy);
            if let Some(changed) = &answer.object {
                request.object = Some(changed.clone());
            }
            let is_final = policy.mutating && !answer.allowed;
            answers.push((answer, policy));
            if is_final {
                break;
            }
        }
        if answers.is_empty() {
            return Ok(None);
        }
        Ok(Some(Answer::combined(answers, policies.len() > 1)))
    }

    /// Whether a cluster asks a policy about a request.
    fn gets(&self, policy: &DeployedPolicy, request: &AdmissionRequest) -> bool {
        let namespaces = self.namespaces.read().unwrap_or_else(PoisonError::into_inner);
        match policy.matches(request, &namespaces) {
            Matched::No => false,
            Matched::Yes => true,
            Matched::DependsOn(label) => {
                print_once(&printable(&format!(
                    "Warning: policy {}: the label {label} of namespaces is unknown, and counts as matched",
                    policy.name
                )));
                true
            }
        }
    }

    /// Asks the module about a request, as one policy.
    fn ask(&self, request: &AdmissionRequest, settings: &Value, allowed: &AllowedResources) -> Result<Answer, String> {
        // The rule `rollout` judges new images. An object that exists has none.
        let exists = self.all_exist || request.object.as_ref().is_some_and(exists);
        let settings = if exists { Cow::Owned(without_rollout(settings)) } else { Cow::Borrowed(settings) };
        let response = {
            let _taken = self.evaluations.take();
            self.policy.validate_with_log(request, &settings, &self.capabilities, allowed)
        };
        let (response, log) = response.map_err(|error| self.no_answer(&error))?;
        let mut answer = Answer::of(request, response).map_err(|error| format!("{error:#}"))?;
        log.iter().filter(|line| !answer.name_cause(line)).for_each(LogLine::print);
        Ok(if self.at.is_some() { answer.without_fixed_time() } else { answer })
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

/// Sets the time in the settings of policies, and checks them.
fn prepare(policies: &mut Policies, at: Option<At>, policy: &Policy) -> Result<()> {
    if let Some(at) = at {
        policies.settings_mut().for_each(|settings| at.set(settings));
    }
    for (name, settings) in policies.settings() {
        match (policy.validate_settings(settings), name) {
            (Err(error), Some(name)) => return Err(error.context(format!("policy {name}"))),
            (valid, _) => valid?,
        }
    }
    Ok(())
}
