//! Live answers to a policy's questions: from registries, and from a cluster.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use oci_client::Reference;

use crate::cache::{AnyCache, BoundedCache, Cache, system_clock};
use crate::capabilities::{Answer, Capabilities, HostCall};
use crate::cluster::{Cluster, ClusterOptions};
use crate::registry::{Registries, RegistryOptions};
use crate::slots::Slots;

/// The number of concurrent requests to the API server.
const CLUSTER_REQUESTS: u16 = 8;

/// The most bytes of answers that a service keeps. Requesters choose the images that it asks about.
const KEPT_BYTES: u64 = 64 << 20;

/// How long a service keeps an answer about a tag, as policy-server does.
const KEEP_TAG: Duration = Duration::from_secs(60);

/// How long a service keeps an answer about a digest. Its content cannot change.
const KEEP_DIGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// How registries and the cluster are reached.
#[derive(Debug, Args)]
#[group(skip)]
pub struct LiveOptions {
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
}

/// Asks registries and a cluster.
pub struct Live {
    registries: Registries,
    /// `None` for a service outside of clusters.
    cluster: Option<Cluster>,
    cluster_requests: Slots,
    answers: AnyCache<Vec<u8>>,
}

impl Live {
    /// Prepares the clients for a command that ends: each question is asked once, so that all objects are judged by the same
    /// answers. Nothing is reached before the first question.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn new(options: &LiveOptions) -> Result<Self> {
        let registries = Registries::new(&options.registry)?;
        let cluster = Some(Cluster::new(&options.cluster));
        Ok(Self::with(registries, cluster, AnyCache::Unlimited(Cache::default())))
    }

    /// Prepares the client for a service without a cluster, which runs for months: answers are kept for a limited time, in limited
    /// memory, and errors are not kept. Requests that have the same question at the same time share its answer. Nothing is reached
    /// before the first question.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn for_service(options: &RegistryOptions) -> Result<Self> {
        let registries = Registries::for_service(options)?;
        Ok(Self::with(registries, None, AnyCache::Bounded(BoundedCache::new(KEPT_BYTES, Vec::len, system_clock()))))
    }

    fn with(registries: Registries, cluster: Option<Cluster>, answers: AnyCache<Vec<u8>>) -> Self {
        Self { registries, cluster, cluster_requests: Slots::new(CLUSTER_REQUESTS), answers }
    }

    fn ask(&self, call: &HostCall) -> Answer {
        match call {
            HostCall::OciManifestDigest(image) => self.registries.manifest_digest(&image.image),
            HostCall::OciManifest(image) => self.registries.manifest(&image.image),
            HostCall::OciManifestAndConfig(image) => self.registries.manifest_and_config(&image.image),
            HostCall::KubernetesListResourceNamespace(list) => {
                self.ask_cluster(|cluster| cluster.list_by_namespace(list))
            }
            HostCall::KubernetesListResourceAll(list) => self.ask_cluster(|cluster| cluster.list_all(list)),
            HostCall::KubernetesGetResource(get) => self.ask_cluster(|cluster| cluster.get(get)),
            HostCall::KubernetesCanI(can_i) => self.ask_cluster(|cluster| cluster.can_i(can_i)),
        }
    }

    fn ask_cluster(&self, question: impl FnOnce(&Cluster) -> Answer) -> Answer {
        let cluster = self.cluster.as_ref().ok_or("no Kubernetes cluster can be asked here")?;
        let _taken = self.cluster_requests.take();
        question(cluster)
    }
}

impl Capabilities for Live {
    fn answer(&self, call: HostCall) -> Answer {
        let question = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        self.answers.get_or_compute(&question, || keep(&call), || self.ask(&call))
    }
}

/// How long a service keeps the answer to a question.
fn keep(call: &HostCall) -> Duration {
    match call {
        HostCall::OciManifestDigest(image) | HostCall::OciManifest(image) | HostCall::OciManifestAndConfig(image) => {
            let has_digest = image.image.parse::<Reference>().is_ok_and(|reference| reference.digest().is_some());
            if has_digest { KEEP_DIGEST } else { KEEP_TAG }
        }
        // A service has no cluster, so these are errors.
        HostCall::KubernetesGetResource(_)
        | HostCall::KubernetesCanI(_)
        | HostCall::KubernetesListResourceNamespace(_)
        | HostCall::KubernetesListResourceAll(_) => Duration::ZERO,
    }
}

#[cfg(test)]
mod tests {
    use super::{KEEP_DIGEST, KEEP_TAG, keep};
    use crate::capabilities::{HostCall, Image};

    #[test]
    fn a_service_keeps_an_answer_by_what_the_question_is_about() {
        let by_digest =
            "registry.example.com/app:1@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
        for (image, expected) in [
            ("nginx", KEEP_TAG),
            ("registry.example.com:5000/app:1", KEEP_TAG),
            (by_digest, KEEP_DIGEST),
            ("registry.example.com/app@sha256:short", KEEP_TAG),
            ("no image", KEEP_TAG),
        ] {
            let image = Image { image: image.to_owned() };
            for call in [
                HostCall::OciManifestDigest(image.clone()),
                HostCall::OciManifest(image.clone()),
                HostCall::OciManifestAndConfig(image.clone()),
            ] {
                assert_eq!(keep(&call), expected, "{call:?}");
            }
        }
    }
}
