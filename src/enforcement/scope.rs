//! Which requests are judged.

use crate::request::AdmissionRequest;
use crate::workload;

/// What is to be done with a request before its images are looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scope {
    /// Its images are judged.
    Judged,
    /// It finishes the deletion of its object, if it leaves the images alone; else its images are judged.
    JudgedIfChanged,
    /// It brings no image into the cluster, and is let through.
    LetThrough,
}

/// Whether the images of this request are judged.
///
/// Deleting is always possible, and so is finishing a deletion. An object that is being deleted still runs, for as long as its
/// finalizers want it to, and controllers copy from it; so its images may not change unjudged. Of the subresources only `pods/ephemeralcontainers` can
/// bring in an image: the others hold another kind of object, or change other fields of the same one.
///
/// # Errors
/// What was wrong and where, when the object cannot be read.
pub fn scope(request: &AdmissionRequest<'_>) -> Result<Scope, String> {
    if matches!(request.operation.as_ref(), "DELETE" | "CONNECT") {
        return Ok(Scope::LetThrough);
    }
    if request.sub_resource().is_some_and(|name| name != "ephemeralcontainers") {
        return Ok(Scope::LetThrough);
    }
    // That an object is being deleted is what the cluster says of the object that it stores. A requester who writes it
    // into a new one clears nothing.
    let (stored, scope) = match request.operation.as_ref() {
        "UPDATE" => (request.old_object(), Scope::JudgedIfChanged),
        _ if request.is_audit() => (request.object(), Scope::LetThrough),
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
    fn what_brings_in_no_image_is_let_through() {
        let pod = json!({"kind": "Pod"});
        for request in [
            json!({"operation": "DELETE", "kind": pod}),
            json!({"operation": "CONNECT", "kind": {"kind": "PodExecOptions"}, "subResource": "exec"}),
            json!({"operation": "CREATE", "kind": {"kind": "Binding"}, "subResource": "binding", "object": {}}),
            json!({"operation": "UPDATE", "kind": pod, "subResource": "status", "object": {}}),
            json!({"operation": "UPDATE", "kind": {"kind": "Scale"}, "subResource": "scale", "object": {}}),
            json!({"operation": "CREATE", "kind": pod, "resource": {"resource": "Pod"}, "object": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}}),
        ] {
            assert_eq!(scope_of(request.clone()), Ok(Scope::LetThrough), "{request}");
        }
    }

    #[test]
    fn what_finishes_a_deletion_is_judged_only_if_it_changes_images() {
        let update = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "object": {}, "oldObject": {"metadata": {"deletionTimestamp": "2026-11-20T00:00:00Z"}}});
        assert_eq!(scope_of(update), Ok(Scope::JudgedIfChanged));
    }

    #[test]
    fn what_may_bring_in_an_image_is_judged() {
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
    fn metadata_of_another_shape_is_refused() {
        let request = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "oldObject": {"metadata": {"deletionTimestamp": 7}}});
        assert_eq!(
            scope_of(request),
            Err("metadata.deletionTimestamp: invalid type: integer `7`, expected a string".to_owned())
        );
        let list = json!({"operation": "UPDATE", "kind": {"kind": "Pod"}, "oldObject": {"metadata": ["2026-11-20T00:00:00Z"]}});
        assert_eq!(scope_of(list), Err("metadata: invalid type: sequence, expected an object".to_owned()));
    }
}
