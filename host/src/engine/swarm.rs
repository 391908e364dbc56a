//! What the engine says about a swarm, as far as it is needed.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A service.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Service {
    /// The ID.
    #[serde(rename = "ID")]
    pub id: String,
    /// The specification, as the engine writes it.
    #[serde(default)]
    pub spec: Value,
}

/// A task of a service. An update replaces tasks, so a task may have an older template than its service.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Task {
    /// The service. Empty for the attachment of a container to a network.
    #[serde(rename = "ServiceID", default)]
    pub service: String,
    /// The template of the task.
    #[serde(default)]
    pub spec: TaskSpec,
    /// What its node reports.
    #[serde(default)]
    pub status: TaskStatus,
}

/// The parts of a task template that name an image.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskSpec {
    /// The container.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_spec: Option<ContainerSpec>,
    /// The engine plugin.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_spec: Option<PluginSpec>,
}

/// The images of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ContainerSpec {
    /// The image.
    pub image: String,
    /// The mounts, which may be images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mounts: Option<Vec<Mount>>,
}

/// A mount of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Mount {
    /// The type, such as `image`.
    pub r#type: String,
    /// The source: for an image, its name.
    pub source: String,
}

/// The image of an engine plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PluginSpec {
    /// The image.
    pub remote: String,
}

/// What a node reports about a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TaskStatus {
    /// The state, such as `running`.
    pub state: String,
    /// The container. `None` before it is created, and for an engine plugin.
    pub container_status: Option<ContainerStatus>,
}

/// The container of a task.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContainerStatus {
    /// The ID.
    #[serde(rename = "ContainerID")]
    pub id: String,
}

/// A container of the engine that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Container {
    /// The ID.
    pub id: String,
    /// The ID of its image.
    #[serde(rename = "ImageID")]
    pub image_id: String,
}

/// An image of the engine that is asked.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LocalImage {
    /// Its digests in registries, such as `nginx@sha256:…`. Empty for an image that exists on this engine only.
    #[serde(default)]
    pub repo_digests: Option<Vec<String>>,
}

impl Task {
    /// Whether its container runs. A container of a task that is starting runs until its health check passes.
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.status.state.as_str(), "starting" | "running")
    }

    /// The ID of its container.
    #[must_use]
    pub fn container(&self) -> Option<&str> {
        self.status.container_status.as_ref().map(|container| container.id.as_str())
    }

    /// Its image, if it has one.
    #[must_use]
    pub fn image(&self) -> Option<&str> {
        let TaskSpec { container_spec, plugin_spec } = &self.spec;
        let container = container_spec.as_ref().map(|container| container.image.as_str());
        container.or(plugin_spec.as_ref().map(|plugin| plugin.remote.as_str()))
    }
}
