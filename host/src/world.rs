//! The world that a policy asks about: registries, and a cluster.

use anyhow::Result;
use clap::Args;

use crate::answers::Answers;
use crate::capabilities::{Answer, Capabilities, HostCall};
use crate::cluster::{self, Cluster};
use crate::registry::{self, Registries};

/// How the world is reached.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Access {
    #[command(flatten)]
    registry: registry::Access,
    #[command(flatten)]
    cluster: cluster::Access,
}

/// Asks whoever knows. Every question is asked once, however many objects need the answer: so all of them are judged by
/// one state of the world.
pub struct World {
    registries: Registries,
    cluster: Cluster,
    answers: Answers<Vec<u8>>,
}

impl World {
    /// Prepares to ask; nothing is reached yet.
    ///
    /// # Errors
    /// When this machine has no room for another thread.
    pub fn new(access: &Access) -> Result<Self> {
        Ok(Self {
            registries: Registries::new(&access.registry)?,
            cluster: Cluster::new(&access.cluster),
            answers: Answers::default(),
        })
    }

    fn ask(&self, call: &HostCall) -> Answer {
        match call {
            HostCall::OciManifestDigest(image) => self.registries.manifest_digest(&image.image),
            HostCall::OciManifest(image) => self.registries.manifest(&image.image),
            HostCall::OciManifestAndConfig(image) => self.registries.manifest_and_config(&image.image),
            HostCall::KubernetesListResourceNamespace(list) => self.cluster.list_by_namespace(list),
            HostCall::KubernetesListResourceAll(list) => self.cluster.list_all(list),
            HostCall::KubernetesGetResource(get) => self.cluster.get(get),
            HostCall::KubernetesCanI(can_i) => self.cluster.can_i(can_i),
        }
    }
}

impl Capabilities for World {
    fn answer(&self, call: HostCall) -> Answer {
        let question = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        self.answers.once(&question, || self.ask(&call))
    }
}
