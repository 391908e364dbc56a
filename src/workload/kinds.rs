//! Kubernetes' own kinds that hold pod templates.

use crate::request::GroupVersionKind;

/// A kind of object that holds pod templates.
pub struct Kind {
    /// The API group; the core group is the empty string.
    pub group: &'static str,
    /// The kind.
    pub kind: &'static str,
    /// Where the pod template stands, as a JSON pointer. A Pod is a template itself.
    pub template: &'static str,
    /// What stands there.
    pub layout: Layout,
}

/// What stands where an object holds what pods are made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A pod template: the pod's metadata and `spec`.
    Template,
    /// The fields of a pod's `spec` themselves.
    Spec,
    /// A pod template in a patch of a form that its writer chooses, which therefore may lack it.
    Patch,
}

/// Kubernetes' own kinds. Their versions do not matter: every one of them had its template at the same place ever since.
///
/// EphemeralContainers is what the subresource `pods/ephemeralcontainers` takes before Kubernetes 1.22. A ControllerRevision
/// holds the patch by which a StatefulSet or DaemonSet becomes what it was; its controller makes pods of it.
pub const KINDS: [Kind; 11] = [
    Kind { group: "", kind: "Pod", template: "", layout: Layout::Template },
    Kind { group: "", kind: "EphemeralContainers", template: "", layout: Layout::Spec },
    Kind { group: "", kind: "PodTemplate", template: "/template", layout: Layout::Template },
    Kind { group: "", kind: "ReplicationController", template: "/spec/template", layout: Layout::Template },
    Kind { group: "apps", kind: "ReplicaSet", template: "/spec/template", layout: Layout::Template },
    Kind { group: "apps", kind: "Deployment", template: "/spec/template", layout: Layout::Template },
    Kind { group: "apps", kind: "StatefulSet", template: "/spec/template", layout: Layout::Template },
    Kind { group: "apps", kind: "DaemonSet", template: "/spec/template", layout: Layout::Template },
    Kind { group: "apps", kind: "ControllerRevision", template: "/data/spec/template", layout: Layout::Patch },
    Kind { group: "batch", kind: "Job", template: "/spec/template", layout: Layout::Template },
    Kind { group: "batch", kind: "CronJob", template: "/spec/jobTemplate/spec/template", layout: Layout::Template },
];

/// What the images of an object are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// They run.
    Pod,
    /// They run in pods that are made of the object.
    Template,
    /// They run in pods that a controller makes of the object. It compares the object with the template that it was made of, so
    /// that nothing may be written into it.
    Revision,
}

impl Placement {
    /// What the images of objects of this kind are for.
    #[must_use]
    pub fn of(kind: &GroupVersionKind<'_>) -> Self {
        match (kind.group.as_ref(), kind.kind.as_ref()) {
            ("", "Pod" | "EphemeralContainers") => Self::Pod,
            ("apps", "ControllerRevision") => Self::Revision,
            _ => Self::Template,
        }
    }
}
