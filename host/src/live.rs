//! Live answers to a policy's questions: from registries, and from a cluster.

use anyhow::Result;
use clap::Args;

use crate::cache::Cache;
use crate::capabilities::{Answer, Capabilities, HostCall};
use crate::cluster::{Cluster, ClusterOptions};
use crate::registry::{Registries, RegistryOptions};
use crate::slots::Slots;

/// The number of concurrent requests to the API server.
const CLUSTER_REQUESTS: u16 = 8;

/// How registries and the cluster are reached.
#[derive(Debug, Args)]
#[group(skip)]
pub struct LiveOptions {
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    pub(crate) cluster: ClusterOptions,
}

/// Asks registries and a cluster. Each question is asked once, so that all objects are judged by the same answers.
pub struct Live {
    registries: Registries,
    cluster: Cluster,
    cluster_requests: Slots,
    answers: Cache<Vec<u8>>,
}

impl Live {
    /// Prepares the clients. Nothing is reached before the first question.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn new(options: &LiveOptions) -> Result<Self> {
        Ok(Self {
            registries: Registries::new(&options.registry)?,
            cluster: Cluster::new(&options.cluster),
            cluster_requests: Slots::new(CLUSTER_REQUESTS),
            answers: Cache::default(),
        })
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
        let _taken = self.cluster_requests.take();
        question(&self.cluster)
    }
}

impl Capabilities for Live {
    fn answer(&self, call: HostCall) -> Answer {
        let question = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        self.answers.get_or_compute(&question, || self.ask(&call))
    }
}
