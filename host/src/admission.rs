//! `admission.k8s.io/v1`: requests to the module, and responses to the API server.
//!
//! Both have the same fields as in policy-server, so that a request is judged here as in a cluster.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use kubewarden_policy_sdk::response::ValidationResponse;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::json_type::json_type;

/// An admission request, with the fields that policy-server passes to a policy.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of admission.k8s.io/v1 AdmissionRequest")]
pub struct AdmissionRequest {
    pub uid: String,
    pub kind: GroupVersionKind,
    pub resource: GroupVersionResource,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_kind: Option<GroupVersionKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_resource: Option<GroupVersionResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_sub_resource: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    pub operation: String,
    pub user_info: UserInfo,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub old_object: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub options: Option<Value>,
}

/// A kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of meta/v1 GroupVersionKind")]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

/// A resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of meta/v1 GroupVersionResource")]
pub struct GroupVersionResource {
    pub group: String,
    pub version: String,
    pub resource: String,
}

/// The user of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the fields are those of authentication.k8s.io/v1 UserInfo")]
pub struct UserInfo {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extra: Option<BTreeMap<String, Vec<String>>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub groups: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub username: Option<String>,
}

/// An admission response, in the format of kwctl.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(missing_docs, reason = "the fields are those of admission.k8s.io/v1 AdmissionResponse")]
pub struct AdmissionResponse {
    pub uid: String,
    pub allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch_type: Option<&'static str>,
    /// A JSON Patch (RFC 6902) in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub patch: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<Status>,
    pub audit_annotations: Option<BTreeMap<String, String>>,
    pub warnings: Option<Vec<String>>,
}

/// The reason of a rejection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[expect(missing_docs, reason = "the fields are those of meta/v1 Status")]
pub struct Status {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<u16>,
}

impl AdmissionRequest {
    /// Reads a request from an AdmissionReview, or from the request inside of one.
    ///
    /// # Errors
    /// When a field is missing or has another type.
    pub fn from_review(review: &Value) -> Result<Self> {
        let request = if review.get("kind").and_then(Value::as_str) == Some("AdmissionReview") {
            review.get("request").context("invalid AdmissionReview: `request` is required")?
        } else {
            review
        };
        if !request.is_object() {
            bail!("expected an AdmissionReview or an AdmissionRequest, found {}", json_type(request));
        }
        serde_path_to_error::deserialize(request)
            .map_err(|error| anyhow::anyhow!("invalid AdmissionRequest: {}: {}", error.path(), error.inner()))
    }
}

impl AdmissionResponse {
    /// The response for a policy's answer.
    ///
    /// # Errors
    /// When the policy mutates a request without an object.
    pub fn of_policy(request: &AdmissionRequest, response: ValidationResponse) -> Result<Self> {
        let patch = match (&response.mutated_object, &request.object) {
            (None, _) => None,
            (Some(_), None) => bail!("the policy mutates a request without an object"),
            (Some(mutated), Some(object)) => {
                let patch = json_patch::diff(object, mutated);
                if patch.is_empty() { None } else { Some(STANDARD.encode(serde_json::to_vec(&patch)?)) }
            }
        };
        let has_status = response.message.is_some() || response.code.is_some();
        Ok(Self {
            uid: request.uid.clone(),
            allowed: response.accepted,
            patch_type: patch.is_some().then_some("JSONPatch"),
            patch,
            status: has_status.then_some(Status { message: response.message, code: response.code }),
            audit_annotations: response.audit_annotations.map(|annotations| annotations.into_iter().collect()),
            warnings: response.warnings,
        })
    }

    /// The response for a policy that does not answer.
    #[must_use]
    pub fn internal_error(uid: &str, cause: &str) -> Self {
        Self::rejected(uid, &format!("internal server error: {cause}"), 500)
    }

    /// A rejection by the host.
    #[must_use]
    pub fn rejected(uid: &str, message: &str, code: u16) -> Self {
        let status = Status { message: Some(message.to_owned()), code: Some(code) };
        Self { uid: uid.to_owned(), status: Some(status), ..Self::default() }
    }

    /// The patched object. None without a patch.
    ///
    /// # Errors
    /// When the patch is invalid, or cannot be applied to this object.
    pub fn patched(&self, object: &Value) -> Result<Option<Value>> {
        let Some(patch) = &self.patch else { return Ok(None) };
        let patch: json_patch::Patch = serde_json::from_slice(&STANDARD.decode(patch)?)?;
        let mut object = object.clone();
        json_patch::patch(&mut object, &patch)?;
        Ok(Some(object))
    }

    /// An audit annotation of the policy.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.audit_annotations.as_ref()?.get(key).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{AdmissionRequest, AdmissionResponse, STANDARD, ValidationResponse};
    use base64::Engine as _;

    fn request() -> Value {
        json!({
            "uid": "1", "operation": "CREATE", "userInfo": {"username": "jane", "groups": ["a"]},
            "kind": {"group": "", "version": "v1", "kind": "Pod"},
            "resource": {"group": "", "version": "v1", "resource": "pods"},
            "object": {"spec": {"containers": [{"image": "a"}]}},
        })
    }

    fn policy_response(mutated_object: Option<Value>) -> ValidationResponse {
        ValidationResponse {
            accepted: true,
            message: None,
            code: None,
            mutated_object,
            audit_annotations: None,
            warnings: None,
        }
    }

    #[test]
    fn a_review_and_its_bare_request_are_the_same() {
        let bare = AdmissionRequest::from_review(&request()).unwrap();
        let review = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request()});
        assert_eq!(AdmissionRequest::from_review(&review).unwrap(), bare);
        assert_eq!(serde_json::to_value(&bare).unwrap(), request(), "the module gets all fields");
    }

    #[test]
    fn an_invalid_request_is_refused_with_the_field() {
        let error = |value: &Value| AdmissionRequest::from_review(value).unwrap_err().to_string();
        assert_eq!(error(&json!([])), "expected an AdmissionReview or an AdmissionRequest, found a list");
        assert_eq!(error(&json!({"kind": "AdmissionReview"})), "invalid AdmissionReview: `request` is required");
        let mut no_user = request();
        no_user.as_object_mut().unwrap().remove("userInfo");
        assert_eq!(error(&no_user), "invalid AdmissionRequest: .: missing field `userInfo`");
        let mut wrong = request();
        wrong["kind"]["group"] = json!(7);
        assert_eq!(error(&wrong), "invalid AdmissionRequest: kind.group: invalid type: integer `7`, expected a string");
    }

    #[test]
    fn a_mutation_is_a_json_patch_in_base64() {
        let request = AdmissionRequest::from_review(&request()).unwrap();
        let mut mutated = request.object.clone().unwrap();
        mutated["spec"]["containers"][0]["image"] = json!("b");
        mutated["metadata"] = json!({"annotations": {"a/b~c": "d"}});
        let response = AdmissionResponse::of_policy(&request, policy_response(Some(mutated.clone()))).unwrap();
        let patch: Value = serde_json::from_slice(&STANDARD.decode(response.patch.as_ref().unwrap()).unwrap()).unwrap();
        let expected = json!([
            {"op": "add", "path": "/metadata", "value": {"annotations": {"a/b~c": "d"}}},
            {"op": "replace", "path": "/spec/containers/0/image", "value": "b"},
        ]);
        assert_eq!(patch, expected);
        assert_eq!(response.patch_type, Some("JSONPatch"));
        let object = request.object.as_ref().unwrap();
        assert_eq!(response.patched(object).unwrap(), Some(mutated));
        assert!(response.patched(&json!({})).is_err(), "the patch is for another object");

        let same = AdmissionResponse::of_policy(&request, policy_response(request.object.clone())).unwrap();
        assert_eq!(same.patch, None);
        assert_eq!(same.patched(object).unwrap(), None);
    }

    #[test]
    fn a_response_has_the_format_of_kwctl() {
        let request = AdmissionRequest::from_review(&request()).unwrap();
        let accepted = AdmissionResponse::of_policy(&request, policy_response(None)).unwrap();
        assert_eq!(
            serde_json::to_string(&accepted).unwrap(),
            r#"{"uid":"1","allowed":true,"auditAnnotations":null,"warnings":null}"#
        );
        let denied = ValidationResponse { accepted: false, message: Some("no".to_owned()), ..policy_response(None) };
        assert_eq!(
            serde_json::to_string(&AdmissionResponse::of_policy(&request, denied).unwrap()).unwrap(),
            r#"{"uid":"1","allowed":false,"status":{"message":"no"},"auditAnnotations":null,"warnings":null}"#
        );
    }
}
