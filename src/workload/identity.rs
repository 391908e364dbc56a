//! The generated name and the owner of an object that is created. The API server's audit event has neither.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::sanitized::sanitized_up_to;

/// The most characters of a name of an object, and of a kind (RFC 1123 subdomains, <https://kubernetes.io/docs/concepts/overview/working-with-objects/names/>).
const MAX_NAME: usize = 253;

/// The name and the owner of an object, as far as an audit event does not have them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Identity {
    /// The name that the API server generated. It generates names after it writes the request into the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The object that controls this one, as `Kind/name`. Every user can write an owner reference, so it is not evidence.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Metadata<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    generate_name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    owner_references: Option<Vec<Owner<'a>>>,
}

#[derive(Deserialize)]
struct Owner<'a> {
    #[serde(borrow, default)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    controller: Option<bool>,
}

/// The identity of an object that is created. `None` if the audit event has everything, or if the metadata cannot be read.
#[must_use]
pub fn of(object: &RawValue) -> Option<Identity> {
    let Object { metadata } = serde_json::from_str(object.get()).ok()?;
    let is_generated = metadata.generate_name.is_some_and(|prefix| !prefix.is_empty());
    let name = metadata.name.filter(|name| !name.is_empty());
    // Mutating webhooks are called before the name is generated. The validating policy writes the whole identity.
    if is_generated && name.is_none() {
        return None;
    }
    let owners = metadata.owner_references.unwrap_or_default();
    let owner = owners.iter().find(|owner| owner.controller == Some(true));
    let shown = |text: &str| sanitized_up_to(text, MAX_NAME);
    let identity = Identity {
        name: name.filter(|_| is_generated).map(|name| shown(&name)),
        owner: owner.map(|owner| format!("{}/{}", shown(&owner.kind), shown(&owner.name))),
    };
    (identity != Identity::default()).then_some(identity)
}

#[cfg(test)]
mod tests {
    use serde_json::value::to_raw_value;
    use serde_json::{Value, json};

    use super::{Identity, of};

    fn identity(metadata: &Value) -> Option<Identity> {
        of(&to_raw_value(&json!({"spec": {"containers": []}, "metadata": metadata})).unwrap())
    }

    #[test]
    fn a_pod_of_a_replica_set_has_its_generated_name_and_its_owner() {
        let owners = json!([
            {"kind": "Node", "name": "other"},
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web-7d9c", "controller": true},
        ]);
        let metadata = json!({"generateName": "web-7d9c-", "name": "web-7d9c-x2x4z", "ownerReferences": owners});
        let expected =
            Identity { name: Some("web-7d9c-x2x4z".to_owned()), owner: Some("ReplicaSet/web-7d9c".to_owned()) };
        assert_eq!(identity(&metadata), Some(expected));
    }

    #[test]
    fn a_name_that_the_event_has_is_not_repeated() {
        assert_eq!(identity(&json!({"name": "web", "generateName": ""})), None);
        assert_eq!(identity(&json!({"name": "web", "ownerReferences": null})), None);
    }

    #[test]
    fn before_the_name_is_generated_nothing_is_written() {
        let owner = json!([{"kind": "ReplicaSet", "name": "web-7d9c", "controller": true}]);
        assert_eq!(identity(&json!({"generateName": "web-7d9c-", "ownerReferences": owner})), None);
    }

    #[test]
    fn metadata_that_cannot_be_read_has_no_identity() {
        for metadata in [json!(null), json!([]), json!({"name": 7}), json!({"ownerReferences": [{"kind": 7}]})] {
            assert_eq!(identity(&metadata), None, "{metadata}");
        }
    }

    #[test]
    fn long_and_unusual_names_are_cut_and_escaped() {
        let owner = json!([{"kind": "K\n", "name": "n".repeat(3000), "controller": true}]);
        let shown = identity(&json!({"ownerReferences": owner})).unwrap().owner.unwrap();
        assert!(shown.starts_with("K\\n/nnn") && shown.ends_with('…') && shown.len() < 300, "{shown}");
    }
}
