//! An entry of the history: an image of a request.

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::record::{BreakGlass, Finding, Image, Operation, Outcome, Platform, Request};
use crate::timestamp;

/// An image of a request. A request without images that was refused has one entry.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Entry {
    #[serde(serialize_with = "timestamp::one")]
    pub(super) time: DateTime<Utc>,
    pub(super) outcome: Outcome,
    pub(super) status: Option<u16>,
    pub(super) operation: Operation,
    pub(super) platform: Platform,
    pub(super) kind: String,
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    /// The object that controls it, as `Kind/name`.
    pub(super) owner: Option<String>,
    /// The workload that it belongs to, as `Kind/name`: the owner, the owner of the owner if the log has it, or the object itself.
    pub(super) workload: Option<String>,
    pub(super) user: Option<String>,
    pub(super) impersonated_by: Option<String>,
    /// The reference, as `name:tag@digest`.
    pub(super) image: Option<String>,
    pub(super) repository: Option<String>,
    pub(super) tag: Option<String>,
    pub(super) digest: Option<String>,
    #[serde(serialize_with = "timestamp::optional")]
    pub(super) built: Option<DateTime<Utc>>,
    /// The whole days between the build and the request.
    pub(super) age_days: Option<i64>,
    pub(super) unchanged: bool,
    pub(super) exempt: bool,
    pub(super) sites: Vec<String>,
    /// Those of this image and those of the whole object.
    pub(super) findings: Vec<Finding>,
    pub(super) break_glass: Option<BreakGlass>,
    /// Whether images or findings of the request are missing, because the log shortens long lists.
    pub(super) shortened: bool,
}

impl Entry {
    /// The entry for an image of a request.
    pub(super) fn new(request: &Request, image: Option<&Image>, workload: Option<&str>) -> Self {
        let object = &request.object;
        let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Self {
            time: request.time,
            outcome: request.outcome,
            status: request.status,
            operation: request.operation,
            platform: object.platform,
            kind: object.kind.clone(),
            namespace: some(&object.namespace),
            name: object.name.clone(),
            owner: object.owner.clone(),
            workload: workload.map(str::to_owned),
            user: some(&request.user),
            impersonated_by: request.impersonated_by.clone(),
            image: image.map(Image::reference),
            repository: image.map(|image| image.repository.clone()),
            tag: image.and_then(|image| image.tag.clone()),
            digest: image.and_then(|image| image.digest.clone()),
            built: image.and_then(|image| image.built),
            age_days: image.and_then(|image| image.built).map(|built| (request.time - built).num_days()),
            unchanged: image.is_some_and(|image| image.unchanged),
            exempt: image.is_some_and(|image| image.exempt),
            sites: image.map_or_else(Vec::new, |image| image.sites.clone()),
            findings: request.findings_of(image).cloned().collect(),
            break_glass: request.break_glass.clone(),
            shortened: request.is_shortened,
        }
    }
}
