//! Lists the objects of a cluster page by page, for the report.

use kube::api::ListParams;
use kube::core::DynamicObject;
use serde_json::Value;

use super::{Cluster, PAGE, Unanswered, trimmed};
use container_patch_policy::host::field_mask::FieldMask;

/// The HTTP status of an expired `continue` token. API servers keep a list for 5 to 10 minutes.
const EXPIRED: u16 = 410;

/// How often a list is started again after its `continue` token has expired.
const RESTARTS: usize = 3;

/// Which objects of a kind to list.
#[derive(Debug, Clone, Copy)]
pub struct Selection<'a> {
    /// The namespace. `None` for all.
    pub namespace: Option<&'a str>,
    /// The label selector.
    pub selector: Option<&'a str>,
}

impl Cluster {
    /// Checks that the cluster can be reached.
    ///
    /// # Errors
    /// When there is no kubeconfig, or the API server does not answer.
    pub fn reach(&self) -> Result<(), String> {
        self.kind("v1", "Pod").map(|_| ())
    }

    /// Whether the API server is known to serve a kind in a version.
    #[must_use]
    pub fn serves(&self, api_version: &str, kind: &str) -> bool {
        self.kind(api_version, kind).is_ok()
    }

    /// The preferred version of an API group.
    ///
    /// # Errors
    /// When the API server does not know the group, or does not answer.
    pub fn preferred_version(&self, group: &str) -> Result<String, String> {
        let connection = self.connection()?;
        let groups = connection.wait("read the API discovery", connection.client.list_api_groups())?;
        let found = groups.groups.into_iter().find(|known| known.name == group);
        let found = found.ok_or_else(|| format!("Cannot find the API group {group}"))?;
        let preferred = found.preferred_version.or_else(|| found.versions.into_iter().next());
        preferred.map(|version| version.version).ok_or_else(|| format!("The API group {group} has no version"))
    }

    /// Lists the objects of a kind. `keep` selects what is kept of each, so that no more than a page of objects is in memory.
    ///
    /// # Errors
    /// When the kind does not exist, or cannot be listed.
    pub fn each<T>(
        &self,
        api_version: &str,
        kind: &str,
        selection: Selection<'_>,
        mut keep: impl FnMut(Value) -> Option<T>,
    ) -> Result<Vec<T>, String> {
        let (known, connection) = (self.kind(api_version, kind)?, self.connection()?);
        let api = connection.api(&known, selection.namespace.filter(|_| known.namespaced));
        let mut restarts = 0;
        'list: loop {
            let mut kept = Vec::new();
            let mut page = ListParams {
                label_selector: selection.selector.map(str::to_owned),
                limit: Some(PAGE),
                ..ListParams::default()
            };
            loop {
                let listed = match connection.ask(api.list(&page)) {
                    Ok(listed) => listed,
                    // The rest of the list would belong to another state of the cluster, so the list begins again.
                    Err(Unanswered::Refused(status))
                        if status.code == EXPIRED && page.continue_token.is_some() && restarts < RESTARTS =>
                    {
                        restarts += 1;
                        continue 'list;
                    }
                    Err(unanswered) => return Err(connection.explain(&known.list_permission(), &unanswered)),
                };
                for object in listed.items {
                    kept.extend(keep(complete(object, api_version, kind)?));
                }
                page.continue_token = listed.metadata.continue_.filter(|token| !token.is_empty());
                if page.continue_token.is_none() {
                    return Ok(kept);
                }
            }
        }
    }
}

impl super::Kind {
    /// The permission to list its objects.
    fn list_permission(&self) -> String {
        let kube::api::ApiResource { group, plural, .. } = &self.resource;
        let dot = if group.is_empty() { "" } else { "." };
        format!("list {plural}{dot}{group}")
    }
}

/// An object of a list as JSON, with its kind, which API servers omit in lists.
fn complete(object: DynamicObject, api_version: &str, kind: &str) -> Result<Value, String> {
    let object = trimmed(object, &FieldMask::default());
    let mut object = serde_json::to_value(object).map_err(|error| error.to_string())?;
    if let Some(fields) = object.as_object_mut() {
        fields.insert("apiVersion".to_owned(), api_version.into());
        fields.insert("kind".to_owned(), kind.into());
    }
    Ok(object)
}
