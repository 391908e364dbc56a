//! What policy-server passes to the policy: the settings and an admission request. Only the fields that are used have types;
//! objects remain JSON text.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;

/// The payload of waPC's `validate`, with settings of the type `S`.
#[derive(Debug, Deserialize)]
#[serde(bound(deserialize = "'de: 'a, S: Default + Deserialize<'de>"))]
pub struct Payload<'a, S> {
    /// The admission request.
    #[serde(borrow, deserialize_with = "json::object")]
    pub request: AdmissionRequest<'a>,
    /// The settings; the default if they are left out.
    #[serde(default)]
    pub settings: S,
}

/// The service accounts, in `kube-system`, of the controllers in kube-controller-manager that create pods or objects with pod
/// templates. Without `--use-service-account-credentials`, all of them have the user name of the manager.
const CONTROLLERS: [&str; 7] = [
    "cronjob-controller",
    "daemon-set-controller",
    "deployment-controller",
    "job-controller",
    "replicaset-controller",
    "replication-controller",
    "statefulset-controller",
];
const CONTROLLER_ACCOUNT: &str = "system:serviceaccount:kube-system:";
const CONTROLLER_MANAGER: &str = "system:kube-controller-manager";

/// The fields of an `admission.k8s.io/v1` AdmissionRequest that the policy uses.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AdmissionRequest<'a> {
    /// The kind of the object, as the webhook is registered for it.
    #[serde(borrow, deserialize_with = "json::object")]
    pub kind: GroupVersionKind<'a>,
    /// The resource of the object.
    #[serde(borrow, default, deserialize_with = "json::optional_object")]
    pub resource: Option<Resource<'a>>,
    /// The subresource, such as `scale`.
    #[serde(borrow, default)]
    pub sub_resource: Option<Cow<'a, str>>,
    /// The name of the object, if it is known before the object is stored.
    #[serde(borrow, default)]
    pub name: Option<Cow<'a, str>>,
    /// The user who makes the request.
    #[serde(borrow, default, deserialize_with = "json::optional_object")]
    pub user_info: Option<UserInfo<'a>>,
    /// Whether this is a dry run: nothing is stored.
    #[serde(default)]
    pub dry_run: Option<bool>,
    /// The namespace of the object, if it has one.
    #[serde(borrow, default)]
    pub namespace: Option<Cow<'a, str>>,
    /// CREATE, UPDATE, DELETE or CONNECT.
    #[serde(borrow)]
    pub operation: Cow<'a, str>,
    /// The object as it is to be stored.
    #[serde(borrow, default)]
    pub object: Option<&'a RawValue>,
    /// The object as it is stored now.
    #[serde(borrow, default)]
    pub old_object: Option<&'a RawValue>,
}

/// The user who makes a request, as authenticated by the API server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct UserInfo<'a> {
    /// The name of the user.
    #[serde(borrow, default)]
    pub username: Option<Cow<'a, str>>,
    /// The groups that the user is in.
    #[serde(borrow, default)]
    pub groups: Option<Vec<Cow<'a, str>>>,
}

/// A resource; the policy uses its plural name only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Resource<'a> {
    /// The plural, such as `pods`.
    #[serde(borrow, default)]
    pub resource: Cow<'a, str>,
}

/// A kind with its group and version. The core group is the empty string.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct GroupVersionKind<'a> {
    /// The API group.
    #[serde(borrow, default)]
    pub group: Cow<'a, str>,
    /// The version of the API group.
    #[serde(borrow, default)]
    pub version: Cow<'a, str>,
    /// The name of the kind.
    #[serde(borrow)]
    pub kind: Cow<'a, str>,
}

impl GroupVersionKind<'_> {
    /// Group and version as manifests write them, `apps/v1` or `v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_string() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl<'a, S: Default + Deserialize<'a>> Payload<'a, S> {
    /// Reads the payload.
    ///
    /// # Errors
    /// What is wrong and where, if this is not an admission request.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|error| format!("this is not UTF-8: {error}"))?;
        json::read(text)
    }
}

impl AdmissionRequest<'_> {
    /// The object; `None` if it is left out or null, as in a DELETE.
    #[must_use]
    pub fn object(&self) -> Option<&RawValue> {
        self.object.filter(|object| object.get() != "null")
    }

    /// The object as it was before an UPDATE.
    #[must_use]
    pub fn old_object(&self) -> Option<&RawValue> {
        self.old_object.filter(|object| object.get() != "null")
    }

    /// The name of the user who makes the request; empty if there is no user.
    #[must_use]
    pub fn user(&self) -> &str {
        self.user_info.as_ref().and_then(|user| user.username.as_deref()).unwrap_or_default()
    }

    /// Whether the requester is one of Kubernetes' own controllers. Only the authenticated user counts: every user can write an
    /// owner reference.
    #[must_use]
    pub fn is_by_controller(&self) -> bool {
        is_controller(self.user())
    }

    /// The groups that the user is in.
    #[must_use]
    pub fn groups(&self) -> &[Cow<'_, str>] {
        self.user_info.as_ref().and_then(|user| user.groups.as_deref()).unwrap_or_default()
    }

    /// Whether Kubewarden's audit scanner makes this request, about an object that is already stored. Its requests have no user,
    /// unlike any that comes through an API server, and have the kind in place of the resource.
    #[must_use]
    pub fn is_audit(&self) -> bool {
        self.user().is_empty() && self.resource.as_ref().is_some_and(|resource| resource.resource == self.kind.kind)
    }

    /// The namespace; `None` for an object without one.
    #[must_use]
    pub fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref().filter(|name| !name.is_empty())
    }

    /// The subresource; `None` for the resource itself.
    #[must_use]
    pub fn sub_resource(&self) -> Option<&str> {
        self.sub_resource.as_deref().filter(|name| !name.is_empty())
    }
}

fn is_controller(user: &str) -> bool {
    let account = user.strip_prefix(CONTROLLER_ACCOUNT);
    user == CONTROLLER_MANAGER || account.is_some_and(|account| CONTROLLERS.contains(&account))
}

#[cfg(test)]
mod tests {
    use serde::de::IgnoredAny;

    use super::is_controller;

    type Payload<'a> = super::Payload<'a, Option<IgnoredAny>>;

    #[test]
    fn only_the_fields_that_are_used_are_required() {
        let bytes = br#"{"request": {"kind": {"kind": "Pod"}, "operation": "CREATE", "other": {"x": [1]}}}"#;
        let payload = Payload::parse(bytes).unwrap();
        assert_eq!(payload.request.kind.kind, "Pod");
        assert!(payload.request.object().is_none());
        assert!(payload.settings.is_none());
    }

    #[test]
    fn an_invalid_admission_request_is_refused_with_the_place_of_the_fault() {
        for (payload, expected) in [
            (&b""[..], "EOF while parsing a value"),
            (b"not json", "expected ident"),
            (b"[]", "invalid type: sequence, expected an object"),
            (br#"{"request": [{"kind": "Pod"}, "CREATE"]}"#, "request: invalid type: sequence, expected an object"),
            (b"{}", "missing field `request`"),
            (br#"{"request": {}}"#, "request: missing field `kind`"),
            (
                br#"{"request": {"kind": {"kind": 7}, "operation": "CREATE"}}"#,
                "request.kind.kind: invalid type: integer `7`, expected a string",
            ),
            (
                br#"{"request": {"kind": {"kind": "Pod"}, "operation": null}}"#,
                "request.operation: invalid type: null, expected a string",
            ),
            (
                br#"{"request": {"kind": {"kind": "Pod"}, "operation": "CREATE"}} x"#,
                "trailing characters at line 1 column 63",
            ),
            // A value that is not used must be valid as well.
            (
                br#"{"request": {"kind": {"kind": "Pod"}, "operation": "CREATE", "uid": tru}}"#,
                "expected ident at line 1 column 72",
            ),
            (
                br#"{"request": {"kind": {"kind": "Pod"}, "operation": "CREATE", "object": {"a": 01}}}"#,
                "invalid number at line 1 column ",
            ),
            (b"{\"request\": \"\xff\"}", "this is not UTF-8: "),
        ] {
            let error = Payload::parse(payload).unwrap_err();
            assert!(
                error.starts_with(expected),
                "{}\n  expected: {expected}\n  found:    {error}",
                String::from_utf8_lossy(payload)
            );
        }
    }

    #[test]
    fn deep_nesting_is_harmless() {
        let deep = "[".repeat(100_000) + &"]".repeat(100_000);
        let bytes = format!(r#"{{"request": {{"kind": {{"kind": "Pod"}}, "operation": "CREATE", "object": {deep}}}}}"#);
        assert!(Payload::parse(bytes.as_bytes()).is_ok());
    }

    #[test]
    fn controllers_are_recognised_by_their_user_names() {
        for user in [
            "system:kube-controller-manager",
            "system:serviceaccount:kube-system:replicaset-controller",
            "system:serviceaccount:kube-system:job-controller",
        ] {
            assert!(is_controller(user), "{user}");
        }
        for user in [
            "",
            "jane",
            "replicaset-controller",
            "system:serviceaccount:shop:replicaset-controller",
            "system:serviceaccount:kube-system:replicaset-controller2",
            "system:serviceaccount:kube-system:default",
            "system:serviceaccount:kube-system:generic-garbage-collector",
            "System:kube-controller-manager",
            "system:kube-controller-manager ",
        ] {
            assert!(!is_controller(user), "{user}");
        }
    }
}
