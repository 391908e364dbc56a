//! Policies as they are deployed in a cluster: their settings, the requests that they get, and the order in which they get them.
//!
//! Which requests a policy gets is decided as in Kubernetes' admission webhooks, as far as a manifest tells: `matchConditions`, and labels
//! of namespaces that are not among the manifests, count as matched.

mod selector;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use k8s_openapi::api::admissionregistration::v1::RuleWithOperations;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use serde::Deserialize;
use serde_json::{Value, json};

use self::selector::{Labels, Selected, Selector};
use crate::admission::AdmissionRequest;
use crate::capabilities::{AllowedResources, ContextAwareResource};
use crate::json_type::json_type;
use crate::manifest;

/// The name of the module in `spec.module`.
const MODULE: &str = "container-patch-policy";

/// The label that the API server sets on every namespace.
const NAMESPACE_NAME: &str = "kubernetes.io/metadata.name";

/// The groups whose workloads are in namespaces. The scope of kinds of other groups is unknown.
const NAMESPACED_GROUPS: [&str; 3] = ["", "apps", "batch"];

/// The policies that judge objects.
#[derive(Debug)]
pub enum Policies {
    /// Settings without a policy. They judge every object, and may pin images.
    Settings(Value),
    /// The policies of a cluster, in the order in which they get requests.
    Deployed(Vec<DeployedPolicy>),
}

impl Policies {
    /// The settings, each with the name of its policy.
    pub fn settings(&self) -> impl Iterator<Item = (Option<&str>, &Value)> {
        let (alone, deployed) = match self {
            Self::Settings(settings) => (Some((None, settings)), &[][..]),
            Self::Deployed(policies) => (None, policies.as_slice()),
        };
        alone.into_iter().chain(deployed.iter().map(|policy| (Some(policy.name.as_str()), &policy.settings)))
    }

    /// The settings with the patch schedule: those of the only policy whose schedule is not off.
    ///
    /// # Errors
    /// When several policies have different schedules.
    pub fn with_schedule(&self) -> Result<&Value> {
        // YAML 1.1 reads an unquoted `off` as false.
        let is_off = |settings: &Value| [&json!("off"), &json!(false)].contains(&&settings["schedule"]["action"]);
        let schedule = |settings: &Value| [settings["schedule"].clone(), settings["overrides"].clone()];
        let on: Vec<_> = self.settings().filter(|(_, settings)| !is_off(settings)).collect();
        match on[..] {
            [(_, first), ref others @ ..] if others.iter().all(|(_, other)| schedule(other) == schedule(first)) => {
                Ok(first)
            }
            [] => self.settings().map(|(_, settings)| settings).next().context("no settings"),
            _ => {
                let names: Vec<_> = on.iter().filter_map(|(name, _)| *name).collect();
                bail!(
                    "several policies have different schedules: {}; choose one with --settings-path",
                    names.join(", ")
                )
            }
        }
    }

    /// Whether rules decide which objects are judged.
    pub(crate) fn have_rules(&self) -> bool {
        matches!(self, Self::Deployed(policies) if policies.iter().all(|policy| policy.rules.is_some()))
    }

    /// The time for which objects are judged: `evaluateAt` of the settings with the schedule, or of the first ones.
    pub(crate) fn evaluate_at(&self) -> Option<String> {
        let first = || self.settings().map(|(_, settings)| settings).next();
        let settings = self.with_schedule().ok().or_else(first)?;
        settings["evaluateAt"].as_str().map(str::to_owned)
    }

    /// Whether all policies are in mode `monitor`, so that nothing is denied.
    pub(crate) fn only_monitor(&self) -> bool {
        matches!(self, Self::Deployed(policies) if policies.iter().all(|policy| policy.monitor))
    }

    /// Changes the settings of each policy.
    pub(crate) fn settings_mut(&mut self) -> impl Iterator<Item = &mut Value> {
        let (alone, deployed) = match self {
            Self::Settings(settings) => (Some(settings), &mut [][..]),
            Self::Deployed(policies) => (None, policies.as_mut_slice()),
        };
        alone.into_iter().chain(deployed.iter_mut().map(|policy| &mut policy.settings))
    }
}

/// A ClusterAdmissionPolicy or AdmissionPolicy.
#[derive(Debug)]
pub struct DeployedPolicy {
    /// The name; that of an AdmissionPolicy begins with its namespace, as in `shop/pin`.
    pub name: String,
    /// The settings of the module.
    pub settings: Value,
    /// What the policy may read in the cluster.
    pub resources: AllowedResources,
    /// Whether the policy may change objects.
    pub mutating: bool,
    /// Whether its answers are only logged (`mode: monitor`).
    pub monitor: bool,
    /// The namespace of an AdmissionPolicy, which gets requests about its own namespace only.
    namespace: Option<String>,
    /// Without rules, which the API server requires, all objects match.
    rules: Option<Vec<RuleWithOperations>>,
    /// Whether `apiVersions` also match other versions of the same resource, into which the API server converts.
    any_version: bool,
    namespace_selector: Selector,
    object_selector: Selector,
    has_conditions: bool,
}

/// Whether a policy gets a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Matched {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// It depends on this label of the namespace, which is unknown.
    DependsOn(String),
}

/// The labels of namespaces.
#[derive(Debug, Default)]
pub(crate) struct Namespaces(BTreeMap<String, NamespaceLabels>);

#[derive(Debug, Default, Clone)]
struct NamespaceLabels {
    labels: Labels,
    /// Whether the namespace has no other labels.
    are_all: bool,
}

/// Where an object comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// A manifest. Where it is applied, a namespace keeps the labels that others gave it.
    Manifest,
    /// A cluster.
    Cluster,
}

impl Namespaces {
    /// Adds an object, if it is a namespace.
    pub(crate) fn learn(&mut self, object: &Value, origin: Origin) {
        if object["apiVersion"] == "v1"
            && object["kind"] == "Namespace"
            && let Some(name) = object["metadata"]["name"].as_str()
        {
            let labels = NamespaceLabels { labels: labels(object), are_all: origin == Origin::Cluster };
            self.0.insert(name.to_owned(), labels);
        }
    }
}

/// Policies of the files, and what a reader should know about them.
#[derive(Debug, Default)]
pub(crate) struct PolicyFiles {
    found: Vec<(DeployedPolicy, String)>,
    /// Policies whose module has another name, with their place.
    others: Vec<(DeployedPolicy, String)>,
    /// Names of policies that are not read.
    ignored: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    module: Option<String>,
    mode: Option<String>,
    mutating: Option<bool>,
    #[serde(default)]
    settings: Value,
    rules: Option<Vec<RuleWithOperations>>,
    match_policy: Option<String>,
    namespace_selector: Option<LabelSelector>,
    object_selector: Option<LabelSelector>,
    #[serde(default)]
    match_conditions: Vec<Value>,
    #[serde(default)]
    context_aware_resources: Vec<ContextAwareResource>,
}

impl PolicyFiles {
    /// Adds the policies of a file. Returns whether there are any.
    ///
    /// # Errors
    /// When a document of a file with policies is invalid, or a policy is.
    pub(crate) fn add(&mut self, name: &str, text: &str) -> Result<bool> {
        let documents = manifest::read(text);
        let is_policy =
            |document: &manifest::Document| document.object.as_ref().is_ok_and(|object| kind(object).is_some());
        if !documents.iter().any(is_policy) {
            return Ok(false);
        }
        for document in documents {
            let place = format!("{name}:{}", document.place);
            // A policy that cannot be read would be missing in the verdicts.
            let object = document.object.with_context(|| format!("cannot read policies from {place}"))?;
            match kind(&object) {
                None => {}
                Some(Kind::Group) => self.ignored.push(format!("{} (a policy group)", self::name(&object))),
                Some(Kind::Policy { namespace }) => {
                    let (policy, is_ours) = read(&object, namespace)
                        .with_context(|| format!("invalid policy {} in {place}", self::name(&object)))?;
                    if is_ours { &mut self.found } else { &mut self.others }.push((policy, place));
                }
            }
        }
        Ok(true)
    }

    /// The policies, in the order in which a cluster asks them: mutating policies by the names of their webhooks, then the others.
    /// Returns with them what a reader should know.
    ///
    /// # Errors
    /// When two policies have the same name, or no policy has this module.
    pub(crate) fn finish(mut self) -> Result<(Policies, Vec<String>)> {
        // A mirror of the module can have another name.
        if self.found.is_empty() && self.others.len() == 1 && self.ignored.is_empty() {
            self.found = std::mem::take(&mut self.others);
        }
        self.ignored.extend(self.others.into_iter().map(|(policy, _)| policy.name));
        if self.found.is_empty() {
            bail!("no policy has the module `{MODULE}`; found policies of other modules: {}", self.ignored.join(", "));
        }
        self.found.sort_by_key(|(policy, _)| (!policy.mutating, policy.webhook()));
        for (index, (policy, place)) in self.found.iter().enumerate() {
            let same = |(other, _): &&(DeployedPolicy, String)| other.webhook() == policy.webhook();
            if let Some((_, other)) = self.found.iter().skip(index + 1).find(same) {
                bail!("two policies have the name {}: {place} and {other}", policy.name);
            }
        }
        let mut notes = Vec::new();
        if !self.ignored.is_empty() {
            notes.push(format!("policies of other modules are ignored: {}", self.ignored.join(", ")));
        }
        let policies: Vec<_> = self.found.into_iter().map(|(policy, _)| policy).collect();
        let conditional: Vec<_> =
            policies.iter().filter(|policy| policy.has_conditions).map(|policy| policy.name.as_str()).collect();
        if !conditional.is_empty() {
            let names = conditional.join(", ");
            notes.push(format!("`matchConditions` are not evaluated, and count as matched: {names}"));
        }
        Ok((Policies::Deployed(policies), notes))
    }
}

enum Kind {
    Policy {
        /// The namespace of an AdmissionPolicy.
        namespace: Option<String>,
    },
    Group,
}

/// The kind of a policy. `None` for other objects.
fn kind(object: &Value) -> Option<Kind> {
    let version = object["apiVersion"].as_str()?;
    if !version.starts_with("policies.kubewarden.io/") {
        return None;
    }
    let namespace = || object["metadata"]["namespace"].as_str().unwrap_or("default").to_owned();
    match object["kind"].as_str()? {
        "ClusterAdmissionPolicy" => Some(Kind::Policy { namespace: None }),
        "AdmissionPolicy" => Some(Kind::Policy { namespace: Some(namespace()) }),
        "ClusterAdmissionPolicyGroup" | "AdmissionPolicyGroup" => Some(Kind::Group),
        _ => None,
    }
}

/// The name of a policy; that of an AdmissionPolicy begins with its namespace. `None` for other objects.
pub(crate) fn policy_name(object: &Value) -> Option<String> {
    matches!(kind(object), Some(Kind::Policy { .. })).then(|| name(object))
}

fn name(object: &Value) -> String {
    let name = object["metadata"]["name"].as_str().unwrap_or("(no name)");
    match kind(object) {
        Some(Kind::Policy { namespace: Some(namespace) }) => format!("{namespace}/{name}"),
        _ => name.to_owned(),
    }
}

/// Reads a policy. Returns with it whether its module has the name of this one.
fn read(object: &Value, namespace: Option<String>) -> Result<(DeployedPolicy, bool)> {
    let spec: Spec = serde_path_to_error::deserialize(&object["spec"])
        .map_err(|error| anyhow!("spec.{}: {}", error.path(), error.inner()))?;
    let settings = match spec.settings {
        Value::Null => json!({}),
        Value::Object(settings) => Value::Object(settings),
        other => bail!("spec.settings: expected an object, found {}", json_type(&other)),
    };
    let monitor = match spec.mode.as_deref() {
        Some("monitor") => true,
        Some("protect") | None => false,
        Some(other) => bail!("spec.mode: unknown value `{other}`; expected one of monitor, protect"),
    };
    let selector = |key, selector: Option<LabelSelector>| {
        Selector::new(selector.unwrap_or_default()).with_context(|| format!("spec.{key}"))
    };
    // AdmissionPolicies do not have this field.
    let resources = if namespace.is_none() { spec.context_aware_resources } else { Vec::new() };
    let policy = DeployedPolicy {
        name: name(object),
        settings,
        resources: resources.into(),
        mutating: spec.mutating.unwrap_or(true),
        monitor,
        rules: spec.rules,
        any_version: spec.match_policy.as_deref() != Some("Exact"),
        namespace_selector: selector("namespaceSelector", spec.namespace_selector)?,
        object_selector: selector("objectSelector", spec.object_selector)?,
        has_conditions: !spec.match_conditions.is_empty(),
        namespace,
    };
    Ok((policy, spec.module.is_none_or(|module| is_this_module(&module))))
}

/// Whether a reference of `spec.module`, such as `registry://ghcr.io/policies/container-patch-policy:v0.1.0`, has the name of this module.
fn is_this_module(module: &str) -> bool {
    let name = module.rsplit('/').next().unwrap_or(module);
    let name = name.split(['@', ':']).next().unwrap_or(name);
    name.strip_suffix(".wasm").unwrap_or(name).replace('_', "-") == MODULE
}

impl DeployedPolicy {
    /// Whether it is an AdmissionPolicy, which cannot read the cluster.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.namespace.is_some()
    }

    /// The name of its webhook configuration, by which Kubernetes orders webhooks.
    fn webhook(&self) -> String {
        match &self.namespace {
            None => format!("clusterwide-{}", self.name),
            Some(_) => format!("namespaced-{}", self.name.replace('/', "-")),
        }
    }

    /// Whether a cluster asks this policy about a request.
    pub(crate) fn matches(&self, request: &AdmissionRequest, namespaces: &Namespaces) -> Matched {
        let nothing = Value::Null;
        let object = request.object.as_ref().unwrap_or(&nothing);
        if !self.rules.as_ref().is_none_or(|rules| rules.iter().any(|rule| self.rule_matches(rule, request))) {
            return Matched::No;
        }
        if self.object_selector.selects(&labels(object), |_| true) != Selected::Yes {
            return Matched::No;
        }
        let namespace = request.namespace.as_deref().unwrap_or_default();
        if self.namespace.as_deref().is_some_and(|own| own != namespace) {
            return Matched::No;
        }
        let NamespaceLabels { mut labels, are_all } = namespaces.0.get(namespace).cloned().unwrap_or_default();
        labels.insert(NAMESPACE_NAME.to_owned(), namespace.to_owned());
        match self.namespace_selector.selects(&labels, |_| are_all) {
            Selected::No => Matched::No,
            Selected::Yes => Matched::Yes,
            Selected::DependsOn(label) => Matched::DependsOn(label),
        }
    }

    /// Whether a rule matches the creation of the object.
    fn rule_matches(&self, rule: &RuleWithOperations, request: &AdmissionRequest) -> bool {
        let includes =
            |list: &Option<Vec<String>>, value: &str| list.iter().flatten().any(|entry| entry == "*" || entry == value);
        let resource = &request.resource;
        let has_namespace = NAMESPACED_GROUPS.contains(&resource.group.as_str())
            || request.object.as_ref().is_some_and(|object| object["metadata"]["namespace"].is_string());
        includes(&rule.operations, &request.operation)
            && includes(&rule.api_groups, &resource.group)
            && (self.any_version || includes(&rule.api_versions, &resource.version))
            && rule.resources.iter().flatten().any(|entry| resource_matches(entry, &resource.resource))
            && !(rule.scope.as_deref() == Some("Cluster") && has_namespace)
    }
}

/// Whether an entry of `resources` matches a resource itself, not one of its subresources.
fn resource_matches(entry: &str, resource: &str) -> bool {
    let (name, subresource) = entry.split_once('/').unwrap_or((entry, ""));
    (name == "*" || name == resource) && matches!(subresource, "" | "*")
}

fn labels(object: &Value) -> Labels {
    let labels = object["metadata"]["labels"].as_object();
    let text = |(key, value): (&String, &Value)| Some((key.clone(), value.as_str()?.to_owned()));
    labels.into_iter().flatten().filter_map(text).collect()
}

/// The manifests in a folder, sorted by their names. Folders inside of it are not searched.
///
/// # Errors
/// When the folder cannot be read.
pub(crate) fn files_in(folder: &Path) -> Result<Vec<PathBuf>> {
    let cannot_read = || format!("cannot read the folder {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot_read)?.collect::<Result<Vec<_>, _>>();
    let mut files: Vec<PathBuf> = entries.with_context(cannot_read)?.iter().map(std::fs::DirEntry::path).collect();
    files.retain(|file| file.is_file() && manifest::has_known_extension(file));
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests;
