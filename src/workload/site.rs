//! The parts of an object that are read: its image sites, pod templates and annotations.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde_json::value::RawValue;

use super::kinds::Layout;
use super::nodes::Nodes;
use crate::image::{Platform, Platforms};
use crate::json::span;
use crate::sanitized::Sanitized;

/// A field of a pod's spec that holds image references: a list, and the path of the reference in each entry.
#[derive(Debug, PartialEq, Eq)]
pub struct ImageField {
    /// The list in the pod's spec.
    pub list: &'static str,
    /// The path from an entry of the list to the reference.
    pub image: &'static [&'static str],
    /// The name of an entry of the list in messages.
    pub noun: &'static str,
}

impl ImageField {
    /// Whether the image may not be left out. The API server refuses pods without it, and also templates of its own kinds, except for
    /// image volumes. Where it may be left out, a controller or a webhook fills it in, and the pod with the image is judged.
    pub(super) fn is_required(&self, layout: Layout, is_pod: bool) -> bool {
        match layout {
            Layout::Spec => true,
            Layout::Template => is_pod || self.list != "volumes",
            Layout::Custom | Layout::Patch => false,
        }
    }
}

/// Every field of a pod's spec that names an image, in the order in which a pod is judged.
pub const IMAGE_FIELDS: [ImageField; 4] = [
    ImageField { list: "initContainers", image: &["image"], noun: "init container" },
    ImageField { list: "containers", image: &["image"], noun: "container" },
    ImageField { list: "ephemeralContainers", image: &["image"], noun: "ephemeral container" },
    ImageField { list: "volumes", image: &["image", "reference"], noun: "volume" },
];

/// A field of an object that holds an image reference.
#[derive(Debug, Clone)]
pub struct ImageSite<'a> {
    /// The kind of field in the pod's spec.
    pub field: &'static ImageField,
    /// The index in the list, counted from 0.
    pub index: usize,
    /// The name of the container or volume, if it has one.
    pub name: Option<Cow<'a, str>>,
    /// The image reference, as it is written.
    pub image: Cow<'a, str>,
    /// The record for it in the pod template or the pod. It may be invalid.
    pub record: Option<Cow<'a, str>>,
    pub(super) template: Cow<'a, str>,
    pub(super) layout: Layout,
    /// The JSON of the reference, inside the JSON of the object. Nothing if the reference is missing, or is a record.
    pub(super) json: Option<&'a RawValue>,
}

impl ImageSite<'_> {
    /// A key that is equal in two states of an object if the image is unchanged: the template, the list, the name of the container and
    /// the image with its recorded digest. Nothing for a container without a name, which always counts as changed.
    #[must_use]
    pub fn identity(&self) -> Option<(&str, &'static str, &str, Cow<'_, str>)> {
        let (template, list, name) = self.place()?;
        Some((template, list, name, self.recorded().map_or(Cow::Borrowed(&self.image), Cow::Owned)))
    }

    /// The template, the list and the name of the container. Nothing if the container has no name.
    #[must_use]
    pub fn place(&self) -> Option<(&str, &'static str, &str)> {
        let name = self.name.as_deref().filter(|name| !name.is_empty())?;
        Some((&self.template, self.field.list, name))
    }

    /// The pod template that it is in, as a JSON pointer.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }

    /// The range of the reference, including its quotes, in the JSON text of the object that it was read from.
    #[must_use]
    pub fn span(&self, object: &RawValue) -> Option<Range<usize>> {
        span(object.get(), self.json?.get())
    }

    /// The JSON pointer (RFC 6901) to the reference.
    #[must_use]
    pub fn pointer(&self) -> String {
        let spec = if self.layout == Layout::Spec { "" } else { "/spec" };
        format!("{}{spec}/{}/{}/{}", self.template, self.field.list, self.index, self.field.image.join("/"))
    }
}

impl fmt::Display for ImageSite<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name.as_deref() {
            Some(name) if !name.is_empty() => write!(f, "{} `{}`", self.field.noun, Sanitized(name)),
            _ => write!(f, "{} without a name at {}", self.field.noun, self.pointer()),
        }
    }
}

/// Whether a rule reads the annotation of this key.
pub type AnnotationFilter = fn(&str) -> bool;

/// An annotation of a pod or of a pod template.
#[derive(Debug, Clone)]
pub struct Annotation<'a> {
    /// The key, as it is written.
    pub key: Cow<'a, str>,
    /// The value.
    pub value: Cow<'a, str>,
    pub(super) template: Cow<'a, str>,
}

impl Annotation<'_> {
    /// The pod template that has it, as a JSON pointer.
    #[must_use]
    pub fn template(&self) -> &str {
        &self.template
    }
}

/// The parts of an object that are read.
#[derive(Debug, Clone, Default)]
pub struct Workload<'a> {
    /// Its image sites, by template, and within a template in the order of [`IMAGE_FIELDS`].
    pub sites: Vec<ImageSite<'a>>,
    /// The annotations of its templates.
    pub annotations: Vec<Annotation<'a>>,
    /// Its templates.
    pub templates: Vec<Template<'a>>,
}

/// A pod template of an object.
#[derive(Debug, Clone)]
pub struct Template<'a> {
    /// The JSON pointer to it.
    pub pointer: Cow<'a, str>,
    /// The nodes that its pods may run on.
    pub nodes: Nodes,
    /// The annotations that this policy writes.
    pub records: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl Workload<'_> {
    /// The platforms for which the images of a template are judged. `configured` are the platforms of the cluster, if the settings
    /// list them.
    #[must_use]
    pub fn platforms(&self, template: &str, configured: Option<&[Platform]>) -> Platforms {
        let found = self.templates.iter().find(|known| known.pointer == template);
        found.map_or_else(|| Nodes::default().platforms(configured), |known| known.nodes.platforms(configured))
    }
}
