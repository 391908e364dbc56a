//! The names of objects of a cluster or manifest.

use serde_json::Value;

/// An object of a cluster or manifest.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectName {
    pub(crate) namespace: String,
    pub(crate) kind: String,
    pub(crate) name: String,
}

impl ObjectName {
    /// The name of an object. `namespace` is for objects without one.
    pub(crate) fn of(object: &Value, namespace: &str) -> Self {
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let metadata = &object["metadata"];
        let prefix = || text(&metadata["generateName"]).map(|prefix| prefix + "…");
        Self {
            namespace: text(&metadata["namespace"]).unwrap_or_else(|| namespace.to_owned()),
            kind: text(&object["kind"]).unwrap_or_default(),
            name: text(&metadata["name"]).or_else(prefix).unwrap_or_default(),
        }
    }

    /// The controller of an object. Nodes do not count: they own mirror pods.
    pub(crate) fn of_controller(object: &Value) -> Option<Self> {
        let metadata = &object["metadata"];
        let owners = metadata["ownerReferences"].as_array();
        let owner = owners.into_iter().flatten().find(|owner| owner["controller"] == true)?;
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let owner =
            Self { namespace: text(&metadata["namespace"]), kind: text(&owner["kind"]), name: text(&owner["name"]) };
        (owner.kind != "Node").then_some(owner)
    }
}
