//! Answers about what is in a cluster, from its API server.
//!
//! What the answers hold, and how errors begin, is as with policy-server, so that a policy reads the same everywhere.

mod kubeconfig;

use std::collections::BTreeSet;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
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

use crate::answers::Answers;
use crate::capabilities::{self, Answer, CanI, Get, ListAll, ListByNamespace, answer};
use crate::causes::causes;

/// How many objects the API server is asked for at a time: as many as kubectl and policy-server ask for.
const PAGE: u32 = 500;

/// Where kubectl keeps the whole object once more.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The reason that the library makes up for an answer that is not in the words of Kubernetes, as a proxy's.
const NO_REASON: &str = "Failed to parse error data";

/// How the cluster is reached. None is needed until the policy asks about one.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Access {
    /// Kubeconfig of the cluster that the policy may ask about; if left out, what kubectl would use
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig; its current one if left out
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Seconds after which an API server that does not answer is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=600))]
    cluster_timeout: u64,
}

/// Asks the API server of a cluster.
pub struct Cluster {
    access: Access,
    connection: OnceLock<Result<Connection, String>>,
    /// The kinds that the API server knows, by `apiVersion`.
    kinds: Answers<Arc<Vec<APIResource>>>,
}

impl Cluster {
    /// Prepares to ask; no kubeconfig is read, and nothing is reached, until there is a question.
    #[must_use]
    pub fn new(access: &Access) -> Self {
        Self { access: access.clone(), connection: OnceLock::new(), kinds: Answers::default() }
    }

    /// `kubernetes/get_resource`: one object.
    ///
    /// # Errors
    /// When there is no such object, or why the cluster could not be asked.
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
        let mut object = connection.wait(api.get_opt(name))?.ok_or_else(|| {
            format!("Cannot find {api_version}/{kind} named '{name}' inside of namespace '{namespace:?}'")
        })?;
        mask(field_masks.as_ref()).prune(&mut object.data);
        answer(&object)
    }

    /// `kubernetes/list_resources_by_namespace`: the objects of a kind in a namespace.
    ///
    /// # Errors
    /// When objects of this kind are in no namespace, or why the cluster could not be asked.
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

    /// `kubernetes/list_resources_all`: the objects of a kind in all of the cluster.
    ///
    /// # Errors
    /// Why the cluster could not be asked.
    pub fn list_all(&self, question: &ListAll) -> Answer {
        let ListAll { api_version, kind, label_selector, field_selector, field_masks } = question;
        let known = self.kind(api_version, kind)?;
        self.list(&known, None, selected(label_selector, field_selector), &mask(field_masks.as_ref()))
    }

    /// `kubernetes/can_i`: whether somebody may do something.
    ///
    /// # Errors
    /// Why the cluster could not be asked.
    pub fn can_i(&self, question: &CanI) -> Answer {
        let connection = self.connection()?;
        let reviews: Api<SubjectAccessReview> = Api::all(connection.client.clone());
        let review = SubjectAccessReview { spec: question.request.clone().into(), ..SubjectAccessReview::default() };
        let answered = connection.wait(reviews.create(&PostParams::default(), &review))?;
        let status: Option<SubjectAccessReviewStatus> = answered.status;
        answer(&status.ok_or("SubjectAccessReview did not return a response")?)
    }

    fn connection(&self) -> Result<&Connection, String> {
        let open = || Connection::open(&self.access).map_err(|error| format!("{error:#}"));
        self.connection.get_or_init(open).as_ref().map_err(Clone::clone)
    }

    /// What the API server knows of a kind.
    fn kind(&self, api_version: &str, kind: &str) -> Result<Kind, String> {
        let connection = self.connection()?;
        let served =
            self.kinds.once(api_version, || connection.kinds(api_version).map(|list| Arc::new(list.resources)));
        let served = served.map_err(|error| match api_version {
            "v1" => error,
            _ => format!("error finding resource {api_version} / {kind}: {error}"),
        })?;
        // Subresources are served with the kind that they take.
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
            let listed = connection.wait(api.list(&page))?;
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

/// A kind that the API server knows.
struct Kind {
    resource: ApiResource,
    namespaced: bool,
}

/// An API server, and what is needed to wait for it.
struct Connection {
    runtime: Runtime,
    client: Client,
    server: String,
    timeout: Duration,
}

impl Connection {
    fn open(access: &Access) -> Result<Self> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        let runtime = runtime.context("cannot start the threads that ask the cluster")?;
        let found = kubeconfig::find(access.kubeconfig.as_deref(), access.context.as_deref());
        let mut config = runtime.block_on(found)?;
        // Else an API server that refuses is asked again until the time is over, and what it said is lost.
        config.default_retry = false;
        let server = config.cluster_url.to_string().trim_end_matches('/').to_owned();
        let client = {
            let _inside = runtime.enter();
            Client::try_from(config)
        };
        let client = client.map_err(|error| anyhow!("cannot log in to {server}: {}", trouble(&error)))?;
        Ok(Self { runtime, client, server, timeout: Duration::from_secs(access.cluster_timeout) })
    }

    fn api(&self, kind: &Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource),
            None => Api::all_with(self.client.clone(), &kind.resource),
        }
    }

    fn kinds(&self, api_version: &str) -> Result<APIResourceList, String> {
        match api_version {
            "v1" => self.wait(self.client.list_core_api_resources(api_version)),
            _ => self.wait(self.client.list_api_group_resources(api_version)),
        }
    }

    fn wait<T>(&self, question: impl Future<Output = kube::Result<T>>) -> Result<T, String> {
        let within_time = async { tokio::time::timeout(self.timeout, question).await };
        match self.runtime.block_on(within_time) {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) => Err(refusal(&status)),
            Ok(Err(error)) => Err(format!("cannot ask {}: {}", self.server, trouble(&error))),
            Err(_) => Err(format!("{} did not answer within {} s", self.server, self.timeout.as_secs())),
        }
    }
}

/// Why the API server could not be asked.
fn trouble(error: &kube::Error) -> String {
    match error {
        // The library shows the command with its environment, which may hold what is secret.
        kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
            let told = String::from_utf8_lossy(&out.stderr);
            let last = told.lines().last().unwrap_or("it does not say why");
            format!("the credential plugin in the kubeconfig failed with {}: {last}", out.status)
        }
        other => causes(other),
    }
}

/// What the API server says when it does not do what it is asked.
fn refusal(status: &Status) -> String {
    let message = status.message.lines().next().unwrap_or_default();
    let told: Vec<&str> =
        [message, &status.reason].into_iter().filter(|text| !text.is_empty() && *text != NO_REASON).collect();
    let told = if told.is_empty() { "the API server does not say why".to_owned() } else { told.join(": ") };
    match status.code {
        0 => format!("ApiError: {told}"),
        code => format!("ApiError: {told} ({code})"),
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

/// An object as it stands in a list: without what only those who write objects need.
fn trimmed(mut object: DynamicObject, mask: &FieldMask) -> DynamicObject {
    object.managed_fields_mut().clear();
    object.annotations_mut().remove(LAST_APPLIED);
    mask.prune(&mut object.data);
    object
}

impl From<capabilities::SubjectAccessReview> for SubjectAccessReviewSpec {
    fn from(asked: capabilities::SubjectAccessReview) -> Self {
        Self {
            user: Some(asked.user),
            groups: asked.groups,
            resource_attributes: Some(asked.resource_attributes.into()),
            ..Self::default()
        }
    }
}

impl From<capabilities::ResourceAttributes> for ResourceAttributes {
    fn from(asked: capabilities::ResourceAttributes) -> Self {
        Self {
            group: asked.group,
            name: asked.name,
            namespace: asked.namespace,
            resource: Some(asked.resource),
            subresource: asked.subresource,
            verb: Some(asked.verb),
            version: asked.version,
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
    fn a_refusal_is_told_in_the_words_of_the_api_server() {
        let told = |status| refusal(&serde_json::from_value::<Status>(status).unwrap());
        assert_eq!(
            told(json!({"message": "pods is forbidden: no", "reason": "Forbidden", "code": 403})),
            "ApiError: pods is forbidden: no: Forbidden (403)"
        );
        assert_eq!(
            told(json!({"message": "bad\ngateway", "reason": super::NO_REASON, "code": 502})),
            "ApiError: bad (502)"
        );
        assert_eq!(told(json!({"code": 500})), "ApiError: the API server does not say why (500)");
        assert_eq!(told(json!({"message": "Unauthorized"})), "ApiError: Unauthorized");
    }
}
