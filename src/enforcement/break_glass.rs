//! Break-glass: the door for emergencies. Whoever may use it writes the reason into an annotation of the object, and the
//! request goes on with all of its findings as warnings.
//!
//! It is open for one request: it looks at who makes that request, and the reason must be written by it. The annotation stays on
//! the object, and is copied by controllers.

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

/// The resource, which exists for its permissions only, and the verb on it, by which RBAC says who may.
const API_GROUP: &str = "container-patch.dev";
const RESOURCE: &str = "containerpatchpolicies";
const VERB: &str = "break-glass";

/// The most characters of a reason that the audit annotations keep.
const LONGEST_REASON: usize = 1024;

codes! {
    /// A request that is accepted in spite of its findings, or a requester who may not do that.
    BREAK_GLASS = "break-glass";
}

section! {
    /// The door for emergencies. Whoever may use it writes the reason into an annotation of the object, and the request goes on
    /// with all of its findings as warnings.
    pub struct BreakGlass {
        /// The annotation of the object that holds the reason. One of its pod template opens nothing.
        "annotation" annotation: AnnotationKey = AnnotationKey("container-patch.dev/break-glass".to_owned()),
        /// The groups whose members may use it. For example `[oncall]`.
        "groups" groups: Vec<Group> = Vec::new(),
        /// Whether the API server is asked who else may. The verb is `break-glass`, on
        /// `containerpatchpolicies.container-patch.dev`; no answer means no. `deploy/rbac/break-glass.yaml` has the roles.
        "rbac" rbac: bool = false,
        /// Where the verb must be granted. `cluster` asks for a ClusterRoleBinding; `namespace` also accepts a RoleBinding in the
        /// namespace of the object. The administrators of a namespace often have every verb there; they can then use break-glass
        /// and grant it to others.
        "rbacScope" rbac_scope: RbacScope = RbacScope::Cluster,
    }
}

/// Where RBAC has to grant break-glass.
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
        let text = read_string(json, at, "the key of an annotation", problems)?;
        let alphanumeric = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphanumeric());
        let sound = |part: &str, most: usize, more: &[u8]| {
            part.len() <= most
                && alphanumeric(part.bytes().next())
                && alphanumeric(part.bytes().next_back())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte))
        };
        // A prefix is a DNS name; a name without one would not say whose annotation it is.
        let is_key =
            text.split_once('/').is_some_and(|(prefix, name)| sound(prefix, 253, b"-.") && sound(name, 63, b"-._"));
        if !is_key {
            problems.push(
                at,
                format_args!(
                    "`{text}` is no key of an annotation with a prefix; write one such as `example.com/break-glass`"
                ),
            );
            return None;
        }
        Some(Self(text))
    }

    fn schema() -> Schema {
        let (first, name) = ("[A-Za-z0-9]", "[-A-Za-z0-9._]");
        let pattern = format!("^{first}([-A-Za-z0-9.]*{first})?/{first}({name}*{first})?$");
        Schema::text("key of an annotation", "keys of annotations", pattern)
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
            problems.push(at, format_args!("everybody is in `{group}`; name those who are on call"));
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

/// A door that was opened, as audit annotations tell of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Grant {
    /// Who opened it. The audit log names the user of a request itself.
    #[serde(skip)]
    pub user: String,
    /// Why.
    pub reason: String,
    /// What allows it: the group, or `rbac`.
    pub by: String,
}

/// What the annotation does for a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BreakGlassOutcome {
    /// The object has no such annotation.
    NotRequested,
    /// It goes on.
    Granted(Grant),
    /// It does not, for this reason.
    Refused(String),
}

impl BreakGlass {
    /// Tries the door for a request that would be refused otherwise.
    #[must_use]
    pub fn attempt(&self, request: &AdmissionRequest<'_>, host: &dyn Host) -> BreakGlassOutcome {
        let AnnotationKey(key) = &self.annotation;
        let Some(reason) = request.object().and_then(|object| annotation(object, key)) else {
            return BreakGlassOutcome::NotRequested;
        };
        let user = request.user();
        let Some(by) = self.allows(request, host) else {
            let who = shown_user(user);
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` is honoured only for {}, not for {who}",
                self.holders()
            ));
        };
        if !reason.chars().any(char::is_alphanumeric) {
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` gives no reason; write why this cannot wait"
            ));
        }
        // The annotation stays on the object, and anybody may have left it there.
        if request.old_object().and_then(|old| annotation(old, key)).as_deref() == Some(reason.as_str()) {
            return BreakGlassOutcome::Refused(format!(
                "the annotation `{key}` is as it was before this update; write anew why this cannot wait"
            ));
        }
        let reason = reason.trim().chars().take(LONGEST_REASON).collect();
        BreakGlassOutcome::Granted(Grant { user: user.to_owned(), reason, by })
    }

    /// What allows the requester to use it: a group, or RBAC.
    fn allows(&self, request: &AdmissionRequest<'_>, host: &dyn Host) -> Option<String> {
        // Who is not authenticated is nobody. Kubewarden's audit scanner asks without a user.
        if request.user().is_empty() {
            return None;
        }
        let groups: HashSet<&str> = request.groups().iter().map(AsRef::as_ref).collect();
        if let Some(Group(group)) = self.groups.iter().find(|Group(group)| groups.contains(group.as_str())) {
            return Some(format!("group {group}"));
        }
        (self.rbac && is_allowed(request, self.rbac_scope, host)).then(|| "rbac".to_owned())
    }

    /// Who may use it.
    fn holders(&self) -> String {
        let groups: Vec<String> = self.groups.iter().map(|Group(group)| format!("`{}`", Sanitized(group))).collect();
        let rbac = match self.rbac_scope {
            RbacScope::Cluster => {
                format!("users who may `{VERB}` {RESOURCE}.{API_GROUP} in the whole cluster, by a ClusterRoleBinding")
            }
            RbacScope::Namespace => format!("users who may `{VERB}` {RESOURCE}.{API_GROUP} in this namespace"),
        };
        match (groups.is_empty(), self.rbac) {
            (true, false) => "nobody: `breakGlass` names no groups".to_owned(),
            (true, true) => rbac,
            (false, false) => format!("members of {}", groups.join(", ")),
            (false, true) => format!("members of {} and {rbac}", groups.join(", ")),
        }
    }
}

fn shown_user(user: &str) -> String {
    if user.is_empty() { "somebody without a name".to_owned() } else { Sanitized(user).to_string() }
}

/// Asks the API server. No answer means no.
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

/// An annotation of an object. In another spelling it is another annotation.
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
