//! What containers run, from the status of their pod or task.

/// What a container runs.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Running {
    /// The container has not started, or its digest is unknown.
    Nothing,
    /// The digest in the registry.
    Digest(String),
    /// An image of the node without a digest in a registry.
    Local(String),
}

impl Running {
    /// What a container runs, by the `imageID` in the status of its pod.
    pub(crate) fn of_image_id(id: &str) -> Self {
        // Docker's prefix: `docker-pullable://nginx@sha256:…`, `docker://sha256:…`.
        let id = id.split_once("://").map_or(id, |(_, id)| id);
        match id.split_once('@') {
            _ if id.is_empty() => Self::Nothing,
            Some((_, digest)) => Self::Digest(digest.to_owned()),
            None => Self::Local(id.to_owned()),
        }
    }
}
