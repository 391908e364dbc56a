//! Break-glass: emergency access. A permitted user writes a reason into an annotation of the object, and the request is
//! accepted with all of its findings as warnings.
//!
//! It is valid for one request: only the user of that request counts, and the request must write the reason. The annotation stays on
//! the object, and controllers copy it.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::config::read::{Keyword, Path, Problems, Setting, read_string, section};
use crate::config::schema::Schema;
use crate::finding::codes;
use crate::host::{CanI, Host, ResourceAttributes, SubjectAccessReview};
use crate::json;
use crate::request::AdmissionRequest;
use crate::sanitized::Sanitized;

/// The resource and the verb that RBAC must grant. The resource exists only for this permission.
const API_GROUP: &str = "container-patch.dev";
const RESOURCE: &str = "containerpatchpolicies";
const VERB: &str = "break-glass";

/// The most characters of a reason that the audit annotations keep.
const LONGEST_REASON: usize = 1024;

codes! {
    /// A request that uses break-glass, or tries to without permission.
    BREAK_GLASS = "break-glass", status 468;
}

section! {
    /// Emergency access. A permitted user writes a reason into an annotation of the object, and the request is accepted with all of
    /// its findings as warnings.
    pub struct BreakGlass {
        /// The annotation of the object that holds the reason. An annotation of its pod template has no effect.
        "annotation" annotation: AnnotationKey = AnnotationKey("container-patch.dev/break-glass".to_owned()),
        /// The groups whose members may use break-glass. For example `[oncall]`.
        "groups" groups: Vec<Group> = Vec::new(),
        /// The users who may use break-glass, by their names. For example `[jane]`.
        "users" users: Vec<User> = Vec::new(),
        /// Whether RBAC can permit other users. They need the verb `break-glass` on
        /// `containerpatchpolicies.container-patch.dev`. If the API server does not answer, the user is not permitted.
        /// `deploy/rbac/break-glass.yaml` has the roles.
        "rbac" rbac: bool = false,
        /// Where the verb must be granted. `cluster` requires a ClusterRoleBinding; `namespace` also accepts a RoleBinding in the
        /// namespace of the object. The administrators of a namespace often have every verb there, so with `namespace` they can use
        /// break-glass and grant it to others.
        "rbacScope" rbac_scope: RbacScope = RbacScope::Cluster,
    }
}

/// Where RBAC must grant break-glass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RbacScope {
    /// In the whole cluster.
    Cluster,
    /// In the namespace of the object.
    Namespace,
}

impl Keyword for RbacScope {
    const KEYWORDS: &'static [(&'static str, Self)] = &[("cluster", Self::Cluster), ("namespace", Self::Namespace)];
}

/// The key of an annotation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnnotationKey(String);

impl Setting for AnnotationKey {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let text = read_string(json, at, "an annotation key", problems)?;
        let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let is_valid = |part: &str, most: usize, more: &[u8]| {
            part.len() <= most
                && alphanumeric(part.bytes().next())
                && alphanumeric(part.bytes().next_back())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        // The prefix is a DNS name. It is required, because it says who owns the annotation.
        let is_key = text
            .split_once('/')
            .is_some_and(|(prefix, name)| is_valid(prefix, 253, b"-.") && is_valid(name, 63, b"-._"));
        if !is_key {
            problems.push(
                at,
                format_args!(
                    "invalid annotation key `{text}`; write one with a prefix, such as `example.com/break-glass`"
                ),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema() -> Schema {
        let (first, name) = ("[A-Za-z0-9]", "[-A-Za-z0-9._]");
        let pattern = format!("^{first}([-A-Za-z0-9.]*{first})?/{first}({name}*{first})?$");
        Schema::text("annotation key", "annotation keys", pattern)
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A group of users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group(String);

impl Setting for Group {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let group = String::read(json, at, problems)?;
        if ["system:authenticated", "system:unauthenticated", "system:serviceaccounts"].contains(&group.as_str()) {
            problems.push(at, format_args!("every user may be in `{group}`; list only groups that are on call"));
            return None;
        }
        Some(Self(group))
    }

    fn schema() -> Schema {
        Schema::text("group of users", "groups of users", r"\S")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// The name of a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User(String);

impl Setting for User {
    fn read(json: &RawValue, at: Path<'_>, problems: &mut Problems) -> Option<Self> {
        let user = String::read(json, at, problems)?;
        if user == "system:anonymous" {
            problems.push(
                at,
                "every request without authentication is from `system:anonymous`; list only users who are on call",
            );
            return None;
        }
        Some(Self(user))
    }

    fn schema() -> Schema {
        Schema::text("user name", "user names", r"\S")
    }

    fn to_json(&self) -> Value {
        self.0.as_str().into()
    }
}

/// A use of break-glass, in the format of audit annotations.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// The user. Not in the audit annotation, because the audit log names the user of each request.
    #[serde(skip)]
    pub user: String,
    /// The reason that the user gives.
    pub reason: String,
    /// What permits it: a group, a user name, or `rbac`.
    pub by: String,
}

/// The effect of break-glass on a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakGlassOutcome {
    /// The object does not have the annotation.
    NotRequested,
    /// The request is accepted.
    Granted(Grant),
    /// The request is denied. The text says why break-glass is ignored.
    Refused(String),
}

impl BreakGlass {
    /// Whether a request tries to use break-glass where somebody may be permitted to. The permission is not checked.
    #[must_use]
    pub fn is_attempted(&self, request: &AdmissionRequest<'_>) -> bool {
        let AnnotationKey(key) = &self.annotation;
        let may_be_permitted = self.rbac || !self.groups.is_empty() || !self.users.is_empty();
        may_be_permitted && request.object().and_then(|object| annotation(object, key)).is_some()
    }

    /// Attempts break-glass for a request that is denied otherwise.
    #[must_use]
    pub fn attempt(&self, request: &AdmissionRequest<'_>, host: &dyn Host) -> BreakGlassOutcome {
        let AnnotationKey(key) = &self.annotation;
        let Some(reason) = request.object().and_then(|object| annotation(object, key)) else {
            return BreakGlassOutcome::NotRequested;
        };
        let user = request.user();
        let Some(by) = self.permission(request, host) else {
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` is accepted only from {}, not from {}",
                self.permitted_users(),
                described_user(user)
            ));
        };
        if !reason.chars().any(char::is_alphanumeric) {
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` gives no reason; write why this cannot wait"
            ));
        }
        // The annotation stays on the object, and another user may have written it.
        if request.old_object().and_then(|old| annotation(old, key)).as_deref() == Some(reason.as_str()) {
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` is not changed by this update; write a new reason why this cannot wait"
            ));
        }
        let reason = reason.trim().chars().take(LONGEST_REASON).collect();
        BreakGlassOutcome::Granted(Grant { user: user.to_owned(), reason, by })
    }

    /// What permits the requester to use it: a group, the name of the user, or RBAC.
    fn permission(&self, request: &AdmissionRequest<'_>, host: &dyn Host) -> Option<String> {
        // An unauthenticated requester has no permission. Kubewarden's audit scanner sends requests without a user.
        if request.user().is_empty() {
            return None;
        }
        let groups: HashSet<&str> = request.groups().iter().map(AsRef::as_ref).collect();
        if let Some(Group(group)) = self.groups.iter().find(|Group(group)| groups.contains(group.as_str())) {
            return Some(format!("group {group}"));
        }
        if let Some(User(user)) = self.users.iter().find(|User(user)| user == request.user()) {
            return Some(format!("user {user}"));
        }
        (self.rbac && is_allowed(request, self.rbac_scope, host)).then(|| "rbac".to_owned())
    }

    /// Describes the users who may use it.
    fn permitted_users(&self) -> String {
        if self.groups.is_empty() && self.users.is_empty() && !self.rbac {
            return "members of `breakGlass.groups` and users in `breakGlass.users`, which are empty".to_owned();
        }
        let quoted = |names: &mut dyn Iterator<Item = &String>| {
            let names: Vec<String> = names.map(|name| format!("`{}`", Sanitized(name))).collect();
            (!names.is_empty()).then(|| names.join(", "))
        };
        let groups =
            quoted(&mut self.groups.iter().map(|Group(group)| group)).map(|names| format!("members of {names}"));
        let users = quoted(&mut self.users.iter().map(|User(user)| user));
        let users =
            users.map(|names| format!("{} {names}", if self.users.len() == 1 { "the user" } else { "the users" }));
        let rbac = self.rbac.then(|| match self.rbac_scope {
            RbacScope::Cluster => {
                format!("users who may `{VERB}` {RESOURCE}.{API_GROUP} in the whole cluster, by a ClusterRoleBinding")
            }
            RbacScope::Namespace => format!("users who may `{VERB}` {RESOURCE}.{API_GROUP} in this namespace"),
        });
        let permitted: Vec<String> = [groups, users, rbac].into_iter().flatten().collect();
        permitted.join(" and ")
    }
}

fn described_user(user: &str) -> String {
    if user.is_empty() { "a requester without a user name".to_owned() } else { Sanitized(user).to_string() }
}

/// Asks the API server whether RBAC permits the requester. Without an answer it does not.
fn is_allowed(request: &AdmissionRequest<'_>, scope: RbacScope, host: &dyn Host) -> bool {
    #[derive(Deserialize)]
    struct Status {
        #[serde(default)]
        allowed: bool,
        #[serde(default)]
        denied: bool,
    }
    let groups: Vec<&str> = request.groups().iter().map(AsRef::as_ref).collect();
    let question = CanI {
        subject_access_review: SubjectAccessReview {
            groups: Some(&groups),
            resource_attributes: ResourceAttributes {
                group: Some(API_GROUP),
                name: None,
                namespace: request.namespace().filter(|_| scope == RbacScope::Namespace),
                resource: RESOURCE,
                subresource: None,
                verb: VERB,
                version: None,
            },
            user: request.user(),
        },
        disable_cache: false,
    };
    let read = |answer: Vec<u8>| json::read::<Status>(std::str::from_utf8(&answer).ok()?).ok();
    host.can_i(&question).ok().and_then(read).is_some_and(|status| status.allowed && !status.denied)
}

/// The value of an annotation of an object. Keys are case-sensitive.
fn annotation(object: &RawValue, key: &str) -> Option<String> {
    #[derive(Deserialize)]
    struct Object<'a> {
        #[serde(borrow, default, deserialize_with = "json::optional_object")]
        metadata: Option<Metadata<'a>>,
    }
    #[derive(Deserialize)]
    struct Metadata<'a> {
        #[serde(borrow, default)]
        annotations: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
    }
    let object: Object<'_> = json::read(object.get()).ok()?;
    object.metadata?.annotations?.remove(key).map(Cow::into_owned)
}
