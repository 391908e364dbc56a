//! What a log says: requests that a policy judged, and pods that were deleted.

use std::cell::OnceCell;

use chrono::{DateTime, Utc};
use container_patch_policy::image::Reference;
use serde::{Deserialize, Serialize};

/// If the log shortens the list of an image's sites, it names at least this many.
const MAX_NAMED_SITES: usize = 8;

/// What one line of a log says.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[expect(clippy::large_enum_variant, reason = "only the next records of each file are in memory")]
pub(super) enum Record {
    /// A policy judged a request.
    Request(Request),
    /// A pod was deleted, so it does not run its images any more.
    Deleted(Deleted),
}

impl Record {
    /// When it happened.
    pub(super) fn time(&self) -> DateTime<Utc> {
        match self {
            Self::Request(request) => request.time,
            Self::Deleted(deleted) => deleted.time,
        }
    }

    /// Whether it is a request that only AdmissionPolicies judged.
    pub(super) fn is_by_namespaced_policy(&self) -> bool {
        matches!(self, Self::Request(Request { is_by_namespaced_policy: true, .. }))
    }
}

/// A request that a policy judged, and its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Request {
    /// When the API server or the plugin had answered it.
    pub(super) time: DateTime<Utc>,
    /// What happened.
    pub(super) outcome: Outcome,
    /// The HTTP status of the answer, if the log has it.
    pub(super) status: Option<u16>,
    pub(super) operation: Operation,
    pub(super) object: Object,
    /// The user on whose behalf it was made: the impersonated one, if there is one. Empty if the log has no user.
    pub(super) user: String,
    /// The user who impersonated `user`.
    pub(super) impersonated_by: Option<String>,
    /// The distinct images of the object, by name, tag and digest. Both policies judge the same images, so their entries are merged.
    pub(super) images: Vec<Image>,
    /// The findings of all policies, each once.
    pub(super) findings: Vec<Finding>,
    /// The permission and the reason, if break-glass admitted it.
    pub(super) break_glass: Option<BreakGlass>,
    /// Whether images or findings are missing, because the log shortens long lists.
    pub(super) is_shortened: bool,
    /// Whether only AdmissionPolicies judged it. Users may be permitted to create such policies in their namespaces, with any module.
    pub(super) is_by_namespaced_policy: bool,
}

impl Request {
    /// The findings of an image, and those of the whole object.
    pub(super) fn findings_of<'r>(&'r self, image: Option<&'r Image>) -> impl Iterator<Item = &'r Finding> {
        self.findings.iter().filter(move |finding| {
            let subject = Subject::of(finding);
            image.is_none_or(|image| subject.is(image)) || !self.images.iter().any(|other| subject.is(other))
        })
    }

    /// Whether a finding is about an image, and not about the whole object.
    pub(super) fn is_about(finding: &Finding, image: &Image) -> bool {
        Subject::of(finding).is(image)
    }
}

/// What a finding is about.
struct Subject<'f> {
    site: Option<&'f String>,
    written: Option<&'f String>,
    /// The image as written. It is parsed when it is needed, and once for all images of a request.
    image: OnceCell<Image>,
}

impl<'f> Subject<'f> {
    fn of(finding: &'f Finding) -> Self {
        Self { site: finding.site.as_ref(), written: finding.image.as_ref(), image: OnceCell::new() }
    }

    fn is(&self, image: &Image) -> bool {
        let is_written = |written: &String| {
            let parsed = self.image.get_or_init(|| {
                let (repository, tag, digest) = parts(written);
                Image { repository, tag, digest, ..Image::default() }
            });
            is_same_image(image, parsed)
        };
        match (self.site, self.written) {
            (Some(site), _) if image.sites.contains(site) => true,
            // The name of the image is for sites that the log leaves out.
            (Some(_), Some(written)) => {
                (image.sites.is_empty() || image.sites.len() >= MAX_NAMED_SITES) && is_written(written)
            }
            (None, Some(written)) => is_written(written),
            (_, None) => false,
        }
    }
}

/// What happened to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Outcome {
    /// It was stored, and the policy had no finding.
    Admitted,
    /// It was stored, and the policy had findings that do not refuse it.
    Warned,
    /// It was stored although the policy refused it: its mode is `monitor`.
    Monitored,
    /// The policy refused it.
    Denied,
    /// The policy accepted it (or only monitors), and the API server, another policy or the engine refused it.
    Rejected,
}

impl Outcome {
    /// All outcomes, in the order of the totals.
    pub(super) const ALL: [Self; 5] = [Self::Admitted, Self::Warned, Self::Monitored, Self::Denied, Self::Rejected];

    /// The word in outputs and metrics.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Admitted => "admitted",
            Self::Warned => "warned",
            Self::Monitored => "monitored",
            Self::Denied => "denied",
            Self::Rejected => "rejected",
        }
    }

    /// Whether the object was stored.
    pub(super) fn is_stored(self) -> bool {
        matches!(self, Self::Admitted | Self::Warned | Self::Monitored)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Operation {
    Create,
    Update,
}

/// The object of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Object {
    /// The kind as people write it, such as `Deployment`; the resource in the plural for kinds that are not Kubernetes' own.
    pub(super) kind: String,
    /// Empty for an object without a namespace, and for Docker.
    pub(super) namespace: String,
    /// `None` if the log does not have the generated name.
    pub(super) name: Option<String>,
    /// The object that controls it, as `Kind/name`.
    pub(super) owner: Option<String>,
    /// Where it is.
    pub(super) platform: Platform,
}

/// The kind of system that an object is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Platform {
    /// A Kubernetes cluster.
    #[default]
    Cluster,
    /// A Docker Engine.
    Docker,
}

/// An image of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub(super) struct Image {
    /// The normalised name without tag and digest, such as `docker.io/library/nginx`. The image as written, if it is an invalid reference.
    pub(super) repository: String,
    pub(super) tag: Option<String>,
    /// `sha256:…`, if it is known.
    pub(super) digest: Option<String>,
    pub(super) built: Option<DateTime<Utc>>,
    /// The containers and volumes, such as "container `app`".
    pub(super) sites: Vec<String>,
    /// Whether the request does not change it.
    pub(super) unchanged: bool,
    /// Whether the settings exempt it.
    pub(super) exempt: bool,
}

impl Image {
    /// The reference, as `name:tag@digest`.
    pub(super) fn reference(&self) -> String {
        let tag = self.tag.iter().map(|tag| format!(":{tag}"));
        let digest = self.digest.iter().map(|digest| format!("@{digest}"));
        tag.chain(digest).fold(self.repository.clone(), |name, part| name + &part)
    }
}

/// The repository, the tag and the digest of a name. The name itself if it is an invalid reference.
pub(super) fn parts(image: &str) -> (String, Option<String>, Option<String>) {
    let Ok(reference) = Reference::parse(image) else { return (image.to_owned(), None, None) };
    let repository = format!("{}/{}", reference.normalized_registry(), reference.repository());
    let digest = reference.digest().map(|digest| digest.as_str().to_owned());
    (repository, reference.tag().map(str::to_owned), digest)
}

/// Whether two entries of an image, one of which may have no tag or no digest, can mean the same.
pub(super) fn is_same_image(one: &Image, other: &Image) -> bool {
    let agree = |one: &Option<String>, other: &Option<String>| one.is_none() || other.is_none() || one == other;
    one.repository == other.repository && agree(&one.tag, &other.tag) && agree(&one.digest, &other.digest)
}

/// A finding of a policy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub(super) struct Finding {
    pub(super) code: String,
    /// `deny` or `warn`.
    pub(super) effect: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) site: Option<String>,
    /// As the policy writes it. `None` for a finding about the whole object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) image: Option<String>,
    /// The setting that turned a refusal into a warning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) passed: Option<String>,
    pub(super) text: String,
}

/// How break-glass admitted a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Deserialize, Serialize)]
pub(super) struct BreakGlass {
    pub(super) reason: String,
    /// What permitted it, such as `group oncall`.
    pub(super) by: String,
}

/// A pod that was deleted.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Deleted {
    pub(super) time: DateTime<Utc>,
    pub(super) namespace: String,
    /// `None` if all pods of the namespace were deleted.
    pub(super) name: Option<String>,
}
