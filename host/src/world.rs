//! The world that a policy asks about.

use anyhow::Result;
use clap::Args;

use crate::answers::Answers;
use crate::capabilities::{Answer, Capabilities, HostCall};
use crate::registry::{self, Registries};

/// How the world is reached.
#[derive(Debug, Args)]
#[group(skip)]
pub struct Access {
    #[command(flatten)]
    registry: registry::Access,
}

/// Asks whoever knows. Every question is asked once, however many objects need the answer: so all of them are judged by
/// one state of the world.
pub struct World {
    registries: Registries,
    answers: Answers<Vec<u8>>,
}

impl World {
    /// Prepares to ask; nothing is reached yet.
    ///
    /// # Errors
    /// When this machine has no room for another thread.
    pub fn new(access: &Access) -> Result<Self> {
        Ok(Self { registries: Registries::new(&access.registry)?, answers: Answers::default() })
    }

    fn ask(&self, call: &HostCall) -> Answer {
        match call {
            HostCall::OciManifestDigest(image) => self.registries.manifest_digest(&image.image),
            HostCall::OciManifest(image) => self.registries.manifest(&image.image),
            HostCall::OciManifestAndConfig(image) => self.registries.manifest_and_config(&image.image),
            _ => Err("container-patch asks registries only, and no cluster".to_owned()),
        }
    }
}

impl Capabilities for World {
    fn answer(&self, call: HostCall) -> Answer {
        let question = serde_json::to_string(&call).map_err(|error| error.to_string())?;
        self.answers.once(&question, || self.ask(&call))
    }
}
