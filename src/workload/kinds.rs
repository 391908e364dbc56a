//! Kubernetes' own kinds that hold pod templates, and where each of them has its template.

use crate::request::GroupVersionKind;

/// A kind of object that holds a pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The name of the kind.
    pub kind: &'static str,
    /// The place of the pod template, as a JSON pointer. It is empty for a Pod, which is a template itself.
    pub template: &'static str,
    /// What is at that place.
    pub layout: Layout,
}

/// What an object has at the place of its pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A pod template: the pod's metadata and `spec`.
    Template,
    /// The fields of a pod's `spec`, without the `spec` around them.
    Spec,
    /// A pod template in a patch. Each controller chooses the form of its patches, so the template may be missing.
    Patch,
}

/// The kinds. The version of a group does not matter: the place of the template is the same in all versions.
///
/// EphemeralContainers is the object of the subresource `pods/ephemeralcontainers` before Kubernetes 1.22. A
/// ControllerRevision holds the patch with an earlier state of a StatefulSet or DaemonSet; its controller creates pods from it.
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
