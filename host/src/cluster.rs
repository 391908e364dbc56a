//! Answers about the resources of a cluster, from its API server.
//!
//! The answers have the same content as those of policy-server, and most errors the same beginning, so that a policy gets the
//! same answers everywhere. Errors about the user's own access begin with advice for the user.

pub(crate) mod config_map;
mod kubeconfig;
pub mod list;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use container_patch_policy::evidence::cluster::CONTAINER_PATCH_NEEDS;
use container_patch_policy::host::field_mask::FieldMask;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{APIResource, APIResourceList, ListMeta};
use kube::api::{ApiResource, ListParams, PostParams};
use kube::client::AuthError;
use kube::core::{DynamicObject, ObjectList, Status, TypeMeta};
use kube::{Api, Client, ResourceExt as _};
use tokio::runtime::Runtime;

use self::kubeconfig::ClusterAccess;
use crate::cache::Cache;
use crate::capabilities::{self, Answer, CanI, Get, ListAll, ListByNamespace, answer};
use crate::error_chain::error_chain;

/// The permission to ask what a user may do.
const CREATE_REVIEWS: &str = "create subjectaccessreviews.authorization.k8s.io";

/// The number of objects in a page of a list, as in kubectl and policy-server.
const PAGE: u32 = 500;

/// The annotation in which kubectl keeps a copy of the object.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The library's reason for an error that is not from Kubernetes, such as that of a proxy.
const NO_REASON: &str = "Failed to parse error data";

/// How the cluster is reached. It is needed only if the policy asks about it.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct ClusterOptions {
    /// Kubeconfig of the cluster that the policy may ask about [default: that of kubectl]
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: the current context]
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Seconds to wait for the answer of the API server
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    cluster_timeout: u64,
}

/// The client for a cluster.
pub struct Cluster {
    options: ClusterOptions,
    connection: OnceLock<Result<Connection, String>>,
    /// The kinds that the API server knows, by `apiVersion`.
    kinds: Cache<Arc<Vec<APIResource>>>,
}

impl Cluster {
    /// Prepares the client. The kubeconfig is read, and the API server reached, at the first question.
    #[must_use]
    pub fn new(options: &ClusterOptions) -> Self {
        Self { options: options.clone(), connection: OnceLock::new(), kinds: Cache::default() }
    }

    /// `kubernetes/get_resource`: one object.
    ///
    /// # Errors
    /// When the object does not exist, or the cluster cannot be request.
    pub fn get(&self, question: &Get) -> Answer {
        let Get { api_version, kind, name, namespace, field_masks, .. } = question;
        let connection = self.connection()?;
        let known = self.kind(api_version, kind)?;
        let api = match (known.namespaced, namespace) {
            (true, None) => {
                return Err(format!("Resource {api_version}/{kind} is namespaced, but no namespace was provided"));
            }
            (true, Some(namespace)) => connection.api(&known, Some(namespace)),
            (false, _) => connection.api(&known, None),
        };
        let mut object = connection.wait(&known.permission(), api.get_opt(name))?.ok_or_else(|| {
            format!("Cannot find {api_version}/{kind} named '{name}' inside of namespace '{namespace:?}'")
        })?;
        mask(field_masks.as_ref()).prune(&mut object.data);
        answer(&object)
    }

    /// `kubernetes/list_resources_by_namespace`: the objects of a kind in a namespace.
    ///
    /// # Errors
    /// When the kind is not namespaced, or the cluster cannot be request.
    pub fn list_by_namespace(&self, question: &ListByNamespace) -> Answer {
        let ListByNamespace { api_version, kind, namespace, label_selector, field_selector, field_masks } = question;
        let known = self.kind(api_version, kind)?;
        if !known.namespaced {
            return Err(format!(
                "resource {api_version}/{kind} is cluster wide. Cannot search for it inside of a namespace"
            ));
        }
        self.list(&known, Some(namespace), selected(label_selector, field_selector), &mask(field_masks.as_ref()))
    }

    /// `kubernetes/list_resources_all`: the objects of a kind in all namespaces.
    ///
    /// # Errors
    /// When the cluster cannot be request.
    pub fn list_all(&self, question: &ListAll) -> Answer {
        let ListAll { api_version, kind, label_selector, field_selector, field_masks } = question;
        let known = self.kind(api_version, kind)?;
        self.list(&known, None, selected(label_selector, field_selector), &mask(field_masks.as_ref()))
    }

    /// `kubernetes/can_i`: whether a user may do something.
    ///
    /// # Errors
    /// When the cluster cannot be request.
    pub fn can_i(&self, question: &CanI) -> Answer {
        let connection = self.connection()?;
        let reviews: Api<SubjectAccessReview> = Api::all(connection.client.clone());
        let review = SubjectAccessReview { spec: question.request.clone().into(), ..SubjectAccessReview::default() };
        let answered = connection.wait(CREATE_REVIEWS, reviews.create(&PostParams::default(), &review))?;
        let status: Option<SubjectAccessReviewStatus> = answered.status;
        answer(&status.ok_or("SubjectAccessReview did not return a response")?)
    }

    fn connection(&self) -> Result<&Connection, String> {
        let open = || {
            let connection = Connection::open(&self.options);
            connection.map_err(|error| format!("{CONTAINER_PATCH_NEEDS}access to a cluster: {error:#}"))
        };
        self.connection.get_or_init(open).as_ref().map_err(Clone::clone)
    }

    /// Finds a kind in the API server's discovery.
    fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, String> {
        let connection = self.connection()?;
        let served = self
            .kinds
            .get_or_compute(api_version, || connection.kinds(api_version).map(|list| Arc::new(list.resources)));
        let served = served.map_err(|error| match api_version {
            "v1" => error,
            _ => format!("error finding resource {api_version} / {kind}: {error}"),
        })?;
        // Subresources are listed with the kind of their objects.
        let found = served.iter().find(|served| served.kind == kind && !served.name.contains('/'));
        let found = found.ok_or_else(|| format!("Cannot find resource {api_version}/{kind}"))?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let resource = ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: api_version.to_owned(),
            kind: kind.to_owned(),
            plural: found.name.clone(),
        };
        Ok(Kind { resource, namespaced: found.namespaced })
    }

    fn list(&self, kind: &Kind, namespace: Option<&str>, mut page: ListParams, mask: &FieldMask) -> Answer {
        let connection = self.connection()?;
        let api = connection.api(kind, namespace);
        let mut items = Vec::new();
        loop {
            let listed = connection.wait(&kind.permission(), api.list(&page))?;
            items.extend(listed.items.into_iter().map(|object| trimmed(object, mask)));
            page.continue_token = listed.metadata.continue_.filter(|token| !token.is_empty());
            if page.continue_token.is_none() {
                break;
            }
        }
        let types =
            TypeMeta { api_version: kind.resource.api_version.clone(), kind: format!("{}List", kind.resource.kind) };
        answer(&ObjectList { types, metadata: ListMeta::default(), items })
    }
}

/// A kind of the API server.
struct Kind {
    resource: ApiResource,
    namespaced: bool,
}

impl Kind {
    /// The permission to read its objects. A policy gets an object before it lists others, so it needs both verbs.
    fn permission(&self) -> String {
        let ApiResource { group, plural, .. } = &self.resource;
        let dot = if group.is_empty() { "" } else { "." };
        format!("get and list {plural}{dot}{group}")
    }
}

/// A client for an API server, with its runtime.
struct Connection {
    runtime: Runtime,
    client: Client,
    server: String,
    user: String,
    timeout: Duration,
}

impl Connection {
    fn open(options: &ClusterOptions) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("cannot start the threads that ask the cluster")?;
        let found = kubeconfig::find(options.kubeconfig.as_deref(), options.context.as_deref());
        let ClusterAccess { mut config, user } = runtime.block_on(found)?;
        // With retries, an API server that refuses is asked again until the timeout, and its error is lost.
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config)
        };
        let client = client.map_err(|error| anyhow!("cannot log in to {server}: {}", failure(&error)))?;
        Ok(Self { runtime, client, server, user, timeout: Duration::from_secs(options.cluster_timeout) })
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource),
            None => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    fn kinds(&self, api_version: &str) -> Result<APIResourceList, String> {
        match api_version {
            "v1" => self.wait("read the API discovery", self.client.list_core_api_resources(api_version)),
            _ => self.wait("read the API discovery", self.client.list_api_group_resources(api_version)),
        }
    }

    /// Waits for the answer to a question that needs a permission.
    fn wait<T>(&self, permission: &str, question: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        self.ask(question).map_err(|unanswered| self.explain(permission, &unanswered))
    }

    /// Waits for the answer to a question.
    fn ask<T>(&self, question: impl Future<Output = kube::Result<T>>) -> Result<T, Unanswered> {
        let within_time = async { tokio::time::timeout(self.timeout, question).await };
        match self.runtime.block_on(within_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(Unanswered::Refused(status)),
            Ok(Err(error)) => Err(Unanswered::Failed(format!("cannot ask {}: {}", self.server, failure(&error)))),
            Err(_) => {
                let seconds = self.timeout.as_secs();
                Err(Unanswered::Failed(format!("{} did not answer within {seconds} s", self.server)))
            }
        }
    }

    /// The reason of a missing answer, with advice for the user.
    fn explain(&self, permission: &str, unanswered: &Unanswered) -> String {
        match unanswered {
            Unanswered::Refused(status) => self.advice(permission, status),
            Unanswered::Failed(reason) => reason.clone(),
        }
    }

    /// The error of the API server, with advice for the user. What to do comes first, since messages are cut at their end.
    fn advice(&self, permission: &str, status: &Status) -> String {
        let (user, refusal) = (&self.user, refusal(status));
        match status.code {
            401 => format!("{CONTAINER_PATCH_NEEDS}valid credentials for {user}: {refusal}"),
            403 => format!("{CONTAINER_PATCH_NEEDS}permission to {permission} as {user}: {refusal}"),
            _ => refusal,
        }
    }
}

/// Whether a question has no answer because the user lacks a permission.
pub(crate) fn is_missing_permission(reason: &str) -> bool {
    reason.strip_prefix(CONTAINER_PATCH_NEEDS).is_some_and(|needed| needed.starts_with("permission to "))
}

/// Why there is no answer.
enum Unanswered {
    /// The API server refuses the request.
    Refused(Box<Status>),
    /// The API server cannot be reached, or does not answer in time.
    Failed(String),
}

/// Why the API server could not be request.
fn failure(error: &kube::Error) -> String {
    match error {
        // The message of the library has the environment of the command, which may contain secrets.
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let stderr = String::from_utf8_lossy(&out.stderr);
            let last = stderr.lines().last().unwrap_or("no error message");
            format!("the credential plugin in the kubeconfig failed with {}: {last}", out.status)
        }
        other => error_chain(other),
    }
}

/// The error of an API server that refuses a request.
fn refusal(status: &Status) -> String {
    let message = status.message.lines().next().unwrap_or_default();
    let causes: Vec<&str> =
        [message, &status.reason].into_iter().filter(|text| !text.is_empty() && *text != NO_REASON).collect();
    let causes = if causes.is_empty() { "the API server gives no reason".to_owned() } else { causes.join(": ") };
    match status.code {
        0 => format!("ApiError: {causes}"),
        code => format!("ApiError: {causes} ({code})"),
    }
}

fn selected(label_selector: &Option<String>, field_selector: &Option<String>) -> ListParams {
    ListParams {
        label_selector: label_selector.clone(),
        field_selector: field_selector.clone(),
        limit: Some(PAGE),
        ..ListParams::default()
    }
}

fn mask(paths: Option<&BTreeSet<String>>) -> FieldMask {
    paths.map(|paths| FieldMask::from_paths(paths.iter().map(String::as_str))).unwrap_or_default()
}

/// An object of a list, without the fields that matter only for writing it.
fn trimmed(mut object: DynamicObject, mask: &FieldMask) -> DynamicObject {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
    mask.prune(&mut object.data);
    object
}

impl From<capabilities::SubjectAccessReview> for SubjectAccessReviewSpec {
    fn from(request: capabilities::SubjectAccessReview) -> Self {
        Self {
            user: Some(request.user),
            groups: request.groups,
            resource_attributes: Some(request.resource_attributes.into()),
            ..Self::default()
        }
    }
}

impl From<capabilities::ResourceAttributes> for ResourceAttributes {
    fn from(request: capabilities::ResourceAttributes) -> Self {
        Self {
            group: request.group,
            name: request.name,
            namespace: request.namespace,
            resource: Some(request.resource),
            subresource: request.subresource,
            verb: Some(request.verb),
            version: request.version,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use serde_json::json;

    use super::refusal;

    #[test]
    fn a_refusal_has_the_message_of_the_api_server() {
        let message = |status| refusal(&serde_json::from_value::<Status>(status).unwrap());
        assert_eq!(
            message(json!({"message": "pods is forbidden: no", "reason": "Forbidden", "code": 403})),
            "ApiError: pods is forbidden: no: Forbidden (403)"
        );
        assert_eq!(
            message(json!({"message": "bad\ngateway", "reason": super::NO_REASON, "code": 502})),
            "ApiError: bad (502)"
        );
        assert_eq!(message(json!({"code": 500})), "ApiError: the API server gives no reason (500)");
        assert_eq!(message(json!({"message": "Unauthorized"})), "ApiError: Unauthorized");
    }
}
