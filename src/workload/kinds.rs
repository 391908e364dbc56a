//! Kubernetes' own kinds that hold pod templates, and where each of them has its template.

use crate::request::GroupVersionKind;

/// A kind of object that holds a pod template.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// The API group; empty for the core group.
    pub group: &'static str,
    /// The name of the kind.
    pub kind: &'static str,
    /// The JSON pointer to the pod template. A Pod is a template itself.
    pub template: &'static str,
    /// The layout of the value there.
    pub layout: Layout,
}

/// The layout of the part of an object from which pods are created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A pod template: the pod's metadata and `spec`.
    Template,
    /// A pod template of a custom kind. The controller of the kind may fill in images.
    Custom,
    /// The fields of a pod's `spec`, without the `spec` around them.
    Spec,
    /// A pod template in a patch. The patch may lack it, because its writer chooses the form.
    Patch,
}

/// Kubernetes' own kinds. Versions are not listed, because every version of a kind has its template at the same path.
///
/// EphemeralContainers is the kind of the subresource `pods/ephemeralcontainers` before Kubernetes 1.22. A ControllerRevision holds
/// the patch that restores an earlier state of a StatefulSet or DaemonSet; its controller creates pods from it.
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

/// Where the images of an object run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Placement {
    /// In the object itself, which is a pod.
    Pod,
    /// In pods that are created from the object.
    Template,
    /// In pods that a controller creates from the object. Nothing may be written into it, because the controller compares it with
    /// the template that it was created from.
    Revision,
}

impl Placement {
    /// Where the images of objects of this kind run.
    #[must_use]
    pub fn of(kind: &GroupVersionKind<'_>) -> Self {
        match (kind.group.as_ref(), kind.kind.as_ref()) {
            ("", "Pod" | "EphemeralContainers") => Self::Pod,
            ("apps", "ControllerRevision") => Self::Revision,
            _ => Self::Template,
        }
    }
}
