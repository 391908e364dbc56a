//! Which requests are judged.

use crate::request::AdmissionRequest;
use crate::workload;

/// Whether the images of a request are judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Its images are judged.
    Judged,
    /// Its object is being deleted. The images are judged if the request changes them.
    JudgedIfChanged,
    /// It brings no image into the cluster, and is accepted.
    Accepted,
}

/// Whether the images of this request are judged.
///
/// Deleting an object and finishing its deletion are always allowed. An object that is being deleted runs until its finalizers are
/// gone, and controllers copy from it, so a change of its images is judged. `pods/ephemeralcontainers` is the only subresource that
/// can bring in an image: the others hold another kind of object, or change other fields of the same object.
///
/// # Errors
/// The problem and its path, if the object cannot be read.
pub fn scope(request: &AdmissionRequest<'_>) -> Result<Scope, String> {
    if matches!(request.operation.as_ref(), "DELETE" | "CONNECT") {
        return Ok(Scope::Accepted);
    }
    if request.sub_resource().is_some_and(|name| name != "ephemeralcontainers") {
        return Ok(Scope::Accepted);
    }
    // Only the stored object says whether it is being deleted. A deletion timestamp that a requester writes into a new object has
    // no effect.
    let (stored, scope) = match request.operation.as_ref() {
        "UPDATE" => (request.old_object(), Scope::JudgedIfChanged),
        _ if request.is_audit() => (request.object(), Scope::Accepted),
        _ => (None, Scope::Judged),
    };
    match stored {
        Some(object) if workload::is_being_deleted(object)? => Ok(scope),
        _ => Ok(Scope::Judged),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Scope, scope};
    type Payload<'a> = crate::request::Payload<'a, Option<serde::de::IgnoredAny>>;

    fn scope_of(request: serde_json::Value) -> Result<Scope, String> {
        let bytes = serde_json::to_vec(&json!({ "request": request })).unwrap();
        scope(&Payload::parse(&bytes).unwrap().request)
    }

    #[test]
    fn a_request_that_brings_in_no_image_is_accepted() {
        let pod = json!({"kind": "Pod"});
        for request in [
            json!({"operation": "DELETE", "kind": pod}),
            json!({"operation": "CONNECT", "kind": {"kind": "PodExecOptions"}, "subResource": "exec"}),
            json!({"operation": "CREATE", "kind": {"kind": "Binding"}, "subResource": "binding", "object": {}}),
            json!({"operation": "UPDATE", "kind": pod, "subResource": "status", "object": {}}),
            json!({"operation": "UPDATE", "kind": {"kind": "Scale"}, "subResource": "scale", "object": {}}),
            json!({"operation": "CREATE", "kind": pod, "resource": {"resource": "Pod"}, "object": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}}),
        ] {
            assert_eq!(scope_of(request.clone()), Ok(Scope::Accepted), "{request}");
        }
    }

    #[test]
    fn an_update_of_an_object_that_is_being_deleted_is_judged_if_it_changes_images() {
        let update = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "object": {}, "oldObject": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}});
        assert_eq!(scope_of(update), Ok(Scope::JudgedIfChanged));
    }

    #[test]
    fn a_request_that_may_bring_in_an_image_is_judged() {
        let pod = json!({"kind": "Pod"});
        for request in [
            json!({"operation": "CREATE", "kind": pod, "object": {"metadata": {"name": "a"}}}),
            json!({"operation": "UPDATE", "kind": pod, "subResource": "", "object": {"metadata": null}}),
            json!({"operation": "UPDATE", "kind": pod, "subResource": "ephemeralcontainers", "object": {}}),
            json!({"operation": "UPDATE", "kind": pod, "object": {"metadata": {"deletionTimestamp": null}}}),
            json!({"operation": "UPDATE", "kind": pod, "object": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}}),
            json!({"operation": "CREATE", "kind": pod}),
            json!({"operation": "CREATE", "kind": pod, "object": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}}),
            json!({"operation": "UPDATE", "kind": pod, "object": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}, "oldObject": {"metadata": {}}}),
        ] {
            assert_eq!(scope_of(request.clone()), Ok(Scope::Judged), "{request}");
        }
    }

    #[test]
    fn invalid_metadata_is_rejected() {
        let request = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "oldObject": {"metadata": {"deletionTimestamp": 7}}});
        assert_eq!(
            scope_of(request),
            Err("metadata.deletionTimestamp: invalid type: integer `7`, expected a string".to_owned())
        );
        let list = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "oldObject": {"metadata": ["2026-11-20T00:00:00Z"]}});
        assert_eq!(scope_of(list), Err("metadata: invalid type: sequence, expected an object".to_owned()));
    }
}
