//! Registries as a source of evidence. Each distinct question is asked once per request, in the order in which the answers are needed,
//! so that equal requests ask the same questions in the same order.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::marker::PhantomData;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::{Answer, host_error, without_urls};
use crate::host::Host;
use crate::image::{Digest, Platform, Platforms, Reference, ReferenceError, RegistryPattern};
use crate::json::{self, JsonStr};
use crate::sanitized::{Sanitized, sanitized_up_to};

/// The media types of configurations of container images.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The annotation, or label, of the OCI image specification for the build date.
pub const CREATED: &str = "org.opencontainers.image.created";

/// The maximum length of BuildKit's build information, as the configuration has it. The builder of an image chooses it.
const MAX_BUILD_INFO: usize = 64 * 1024;

/// The maximum number of judged images of an index. Each costs a host call, and the builder of an index chooses their number.
const MAX_IMAGES_PER_INDEX: usize = 16;

/// The maximum number of questions of a request. Other requests wait for them. The limit is five for each of the 1,024 images that an
/// object can name: a digest, its content, and an outdated base. A pod with 16 indexes for four platforms asks 100.
const MAX_QUESTIONS: usize = 5 * 1024;

/// The maximum length of a platform in messages, in characters.
const MAX_PLATFORM_LENGTH: usize = 40;

/// What the requester reads about a registry that is not listed. The cause could tell who can be reached from the cluster.
pub const NO_USABLE_ANSWER: &str = "its registry gave no usable answer; the log of policy-server has the cause";

/// The words between the image and the cause, in messages and in the log.
pub const UNVERIFIED: &str = "could not be verified: ";

/// The maximum length of a logged failure, in characters.
const MAX_LOG_LENGTH: usize = 2000;

/// The maximum number of logged failures of a request.
const MAX_LOGGED: usize = 16;

/// The annotations and labels of images that rules read.
pub trait ImageAnnotations {
    /// Whether a rule reads annotations and labels with this key.
    fn reads(key: &str) -> bool;
}

/// The registries, and their answers so far.
pub struct Registry<'h> {
    host: &'h dyn Host,
    read_facts: fn(&[u8]) -> Result<ImageFacts, Failure>,
    /// The registries that the settings list. Errors of other registries are not shown to the requester.
    listed: &'h [RegistryPattern],
    digests: HashMap<String, Result<String, Failure>>,
    indexes: HashMap<String, Answer<Rc<Index>>>,
    /// The images of indexes, by the reference of the index.
    runnable: HashMap<(String, Platforms), Rc<Runnable>>,
    images: HashMap<String, Answer<Rc<ImageFacts>>>,
    /// The indexes without an image for the platform of the host.
    foreign: HashSet<String>,
    /// The failures to log, whose causes the requester does not see.
    unlogged: Vec<String>,
    /// The registries that could not be reached, with the error of the host.
    unreachable: HashMap<String, String>,
    /// Whether the request is refused whatever the registries answer.
    is_refused: bool,
    /// The number of questions so far.
    asked: usize,
}

/// The entries of an index.
#[derive(Debug, Default)]
struct Index {
    /// The reason why entries were left out, if any were.
    fault: Option<String>,
    digests: Vec<String>,
    /// The platform of each digest. It matches any platform if the index has none.
    platforms: Vec<Platform>,
}

/// The images that nodes of some platforms can choose from a reference.
#[derive(Debug)]
pub struct Runnable {
    /// The known images, at least one.
    pub images: Vec<RunnableImage>,
    /// The platforms for which the index has no image.
    pub missing_platforms: Vec<Platform>,
    /// The reason why not all images are known. The known ones are judged nevertheless.
    pub gap: Option<EvidenceGap>,
}

/// The reason why not all images that nodes can choose are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EvidenceGap {
    /// The registry gave no usable answer.
    NoAnswer(String),
    /// The index is not supported. Its builder is responsible for that, so it does not count as a failure of the registry.
    UnsupportedIndex(String),
}

impl Runnable {
    /// A single image.
    fn single(facts: Rc<ImageFacts>) -> Self {
        Self { images: vec![RunnableImage { platform: None, facts }], missing_platforms: Vec::new(), gap: None }
    }
}

/// A platform for messages. A pod can select any text as a platform.
#[must_use]
pub fn sanitized_platform(platform: &Platform) -> String {
    sanitized_up_to(&platform.to_string(), MAX_PLATFORM_LENGTH)
}

/// An image that nodes can choose.
#[derive(Debug)]
pub struct RunnableImage {
    /// The platform according to the index. `None` if there is no index.
    pub platform: Option<Platform>,
    /// The facts from its manifest and configuration.
    pub facts: Rc<ImageFacts>,
}

/// The reason why a question to a registry has no usable answer.
#[derive(Debug, Clone)]
enum Failure {
    /// The host reports this error.
    Host(String),
    /// The answer is invalid.
    Answer(String),
    /// The request exceeds the limit of questions.
    LimitExceeded,
}

/// The class of a failure, which decides on the advice to the requester.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FailureClass {
    NotFound,
    Unauthorized,
    /// The registry could not be reached, or its answer could not be read.
    Unreachable,
    /// The registry answered, but not with an image that can be judged.
    Unusable,
}

/// The facts from the manifest and the configuration of an image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The digest of the manifest. For an index, that of the image for the platform of the host.
    pub digest: Option<String>,
    /// The digest of the configuration, which runtimes and some scanners use as image ID.
    pub config_digest: Option<String>,
    /// The annotations of the manifest that rules read.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the configuration that rules read.
    pub labels: BTreeMap<String, String>,
    /// The configuration's `created`, as written.
    pub created: Option<String>,
    /// The `created` of each entry of the configuration's history, as written.
    pub history: Vec<String>,
    /// The configuration's `moby.buildkit.buildinfo.v1`, as written. `None` if it is too long, or if BuildKit also wrote the first entry of
    /// the history: the image may then be built from scratch.
    pub build_info: Option<String>,
}

impl ImageFacts {
    /// The facts in a host's answer with manifest and configuration. `None` if it cannot be read.
    #[must_use]
    pub fn of_answer<A: ImageAnnotations>(answer: &[u8]) -> Option<Self> {
        image_facts::<A>(answer).ok()
    }

    /// An annotation of the manifest.
    #[must_use]
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// A label of the configuration.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

impl<'h> Registry<'h> {
    /// The registries, before any question. `listed` are those that the settings list.
    #[must_use]
    pub fn new<A: ImageAnnotations>(host: &'h dyn Host, listed: &'h [RegistryPattern]) -> Self {
        Self {
            host,
            read_facts: image_facts::<A>,
            listed,
            digests: HashMap::new(),
            indexes: HashMap::new(),
            runnable: HashMap::new(),
            images: HashMap::new(),
            foreign: HashSet::new(),
            unlogged: Vec::new(),
            unreachable: HashMap::new(),
            is_refused: false,
            asked: 0,
        }
    }

    /// The request is refused whatever the registries answer. From now on, a registry that could not be reached is not asked again: it
    /// would hold up this request and those that wait for it, and its answers could not change the verdict.
    pub fn request_is_refused(&mut self) {
        self.is_refused = true;
    }

    /// Whether the settings allow questions about an image to its registry.
    #[must_use]
    pub fn may_ask(&self, image: &Reference<'_>) -> bool {
        self.listed.is_empty() || self.listed.iter().any(|registry| registry.matches(image))
    }

    /// The registries that the settings list.
    #[must_use]
    pub fn listed(&self) -> &'h [RegistryPattern] {
        self.listed
    }

    /// Logs the causes of failures that the requester does not see.
    pub fn log_failures(&mut self) {
        let failures = std::mem::take(&mut self.unlogged);
        for failure in failures.iter().take(MAX_LOGGED) {
            self.host.log_warning(failure);
        }
        if let Some(more) = failures.len().checked_sub(MAX_LOGGED).filter(|more| *more > 0) {
            let questions = if more == 1 { "question" } else { "questions" };
            self.host.log_warning(&format!("… and {more} more failed {questions} to registries that are not listed"));
        }
    }

    /// The digest that a reference points at.
    ///
    /// # Errors
    /// The reason why it is unknown.
    pub fn digest(&mut self, image: &str) -> Answer<String> {
        self.ask_digest(image).map_err(|failure| self.cause(image, &failure))
    }

    /// The digest that a reference points at. `None` if it is unknown; that is not logged.
    pub fn digest_if_known(&mut self, image: &str) -> Option<String> {
        self.ask_digest(image).ok()
    }

    fn ask_digest(&mut self, image: &str) -> Result<String, Failure> {
        #[derive(Deserialize)]
        struct Response {
            digest: String,
        }
        if let Some(known) = self.digests.get(image) {
            return known.clone();
        }
        let answer = self.ask(image, Host::manifest_digest).and_then(|answer| {
            let Response { digest } = read(&answer)?;
            match Digest::parse(&digest) {
                Ok(_) => Ok(digest),
                Err(error) => Err(unusable_digest(&error)),
            }
        });
        self.digests.insert(image.to_owned(), answer.clone());
        answer
    }

    /// Asks the host about an image.
    fn ask(
        &mut self,
        image: &str,
        question: fn(&'h dyn Host, &str) -> Result<Vec<u8>, String>,
    ) -> Result<Vec<u8>, Failure> {
        let registry = || Reference::parse(image).map(|image| image.registry().to_owned()).unwrap_or_default();
        if self.is_refused
            && !self.unreachable.is_empty()
            && let Some(error) = self.unreachable.get(&registry())
        {
            return Err(Failure::Host(error.clone()));
        }
        self.asked += 1;
        if self.asked > MAX_QUESTIONS {
            return Err(Failure::LimitExceeded);
        }
        let answer = question(self.host, image);
        if let Some(error) = answer.as_ref().err().filter(|error| is_unreachable(error)) {
            self.unreachable.insert(registry(), error.clone());
        }
        answer.map_err(Failure::Host)
    }

    /// The digests of the images in the index that a reference points at. Empty if it points at a single image.
    ///
    /// Attestations are left out. Builders add them to indexes as manifests for an unknown platform.
    ///
    /// # Errors
    /// The reason why the index is unknown or invalid.
    pub fn manifests(&mut self, image: &str) -> Answer<&[String]> {
        if let Some(fault) = &self.index(image)?.fault {
            return Err(fault.clone());
        }
        let known = self.indexes.get(image).and_then(|answer| answer.as_ref().ok());
        Ok(known.map_or(&[][..], |index| &index.digests))
    }

    fn index(&mut self, image: &str) -> Answer<Rc<Index>> {
        if let Some(known) = self.indexes.get(image) {
            return known.clone();
        }
        if self.is_known_as_single(image) {
            return Ok(Rc::default());
        }
        let answer = match self.ask(image, Host::manifest).and_then(|answer| index(&answer)) {
            Ok(mut index) => {
                index.fault = index.fault.map(|fault| self.cause(image, &Failure::Answer(fault)));
                Ok(Rc::new(index))
            }
            Err(failure) => Err(self.cause(image, &failure)),
        };
        self.indexes.insert(image.to_owned(), answer.clone());
        answer
    }

    /// Whether earlier answers show that a reference by digest is a single image. From an index, the host chooses an image with another
    /// digest.
    fn is_known_as_single(&self, image: &str) -> bool {
        let digest = image.split_once('@').map(|(_, digest)| digest);
        let of_image = self.images.get(image).and_then(|answer| answer.as_ref().ok());
        digest.is_some() && of_image.is_some_and(|facts| facts.digest.as_deref() == digest)
    }

    /// The facts from manifest and configuration of the image that a reference points at.
    ///
    /// # Errors
    /// The reason why they are unknown.
    pub fn image(&mut self, image: &str) -> Answer<Rc<ImageFacts>> {
        if let Some(known) = self.images.get(image) {
            return known.clone();
        }
        let answer = self.ask(image, Host::manifest_and_config);
        if answer.as_ref().is_err_and(|failure| matches!(failure, Failure::Host(error) if is_foreign(error))) {
            self.foreign.insert(image.to_owned());
        }
        let answer = answer.and_then(|answer| (self.read_facts)(&answer)).map(Rc::new);
        let answer = answer.map_err(|failure| self.cause(image, &failure));
        self.images.insert(image.to_owned(), answer.clone());
        answer
    }

    /// The images that nodes of some platforms can choose from a digest. A single image costs one question. An index costs one more for
    /// its manifest, and one for each of its images.
    ///
    /// # Errors
    /// The reason why no image is known.
    pub fn runnable(
        &mut self,
        image: &Reference<'_>,
        digest: &str,
        platforms: &Platforms,
    ) -> Result<Rc<Runnable>, EvidenceGap> {
        let name = image.with_digest(digest);
        let of_host = match (self.image(&name), platforms) {
            (Ok(facts), _) => Some(facts),
            // Nodes can have other platforms than the host.
            (Err(_), Platforms::Listed(_)) if self.foreign.contains(&name) => None,
            (Err(cause), _) => return Err(EvidenceGap::NoAnswer(cause)),
        };
        if let Some(facts) = of_host.as_ref().filter(|facts| facts.digest.as_deref() == Some(digest)) {
            return Ok(Rc::new(Runnable::single(Rc::clone(facts))));
        }
        let key = (name, platforms.clone());
        if let Some(known) = self.runnable.get(&key) {
            return Ok(Rc::clone(known));
        }
        let runnable = Rc::new(self.runnable_of_index(image, &key.0, of_host, platforms)?);
        self.runnable.insert(key, Rc::clone(&runnable));
        Ok(runnable)
    }

    /// The images that nodes of some platforms can choose from an index. `of_host` is the image for the platform of the host.
    #[cold]
    fn runnable_of_index(
        &mut self,
        image: &Reference<'_>,
        name: &str,
        of_host: Option<Rc<ImageFacts>>,
        platforms: &Platforms,
    ) -> Result<Runnable, EvidenceGap> {
        let index = match (self.index(name), &of_host) {
            (Ok(index), _) => index,
            // The known image is judged in any case.
            (Err(cause), Some(facts)) => {
                let gap = Some(EvidenceGap::NoAnswer(cause));
                return Ok(Runnable { gap, ..Runnable::single(Rc::clone(facts)) });
            }
            (Err(cause), None) => return Err(EvidenceGap::NoAnswer(cause)),
        };
        let mut gap = index.fault.clone().map(EvidenceGap::UnsupportedIndex);
        let entries = || index.digests.iter().zip(&index.platforms);
        let chosen_by_host = of_host.as_ref().and_then(|facts| facts.digest.as_deref());
        let wanted: Vec<Platform> = match platforms {
            Platforms::Listed(listed) => listed.clone(),
            // The host chooses by the index. The configuration names a platform as well, but its builder can write anything there.
            Platforms::OfHost => {
                let chosen = entries().filter(|(digest, _)| chosen_by_host == Some(digest.as_str()));
                chosen.map(|(_, platform)| platform.clone()).collect()
            }
        };
        let mut runnable = Vec::new();
        for (digest, platform) in entries() {
            // If the choice of the host is not in the index, all entries are judged.
            let is_wanted = wanted.is_empty() || wanted.iter().any(|wanted| wanted.may_run(platform));
            if !is_wanted || runnable.iter().any(|(known, _)| known == &digest) {
                continue;
            }
            if runnable.len() == MAX_IMAGES_PER_INDEX {
                let cause =
                    format!("its index has more than {MAX_IMAGES_PER_INDEX} images for the platforms of the nodes");
                gap.get_or_insert(EvidenceGap::UnsupportedIndex(cause));
                break;
            }
            runnable.push((digest, platform));
        }
        let is_missing = |wanted: &&Platform| !index.platforms.iter().any(|platform| wanted.may_run(platform));
        let missing_platforms: Vec<Platform> = wanted.iter().filter(is_missing).cloned().collect();
        let mut images = Vec::with_capacity(runnable.len());
        for (digest, platform) in runnable {
            let facts = match &of_host {
                Some(facts) if chosen_by_host == Some(digest.as_str()) => Ok(Rc::clone(facts)),
                _ => self.image(&image.with_digest(digest)).map_err(EvidenceGap::NoAnswer),
            };
            let facts = facts.and_then(|facts| match facts.digest.as_deref() {
                Some(found) if found != digest => {
                    let cause = "its index contains another index, and a runtime may choose any image of that";
                    Err(EvidenceGap::UnsupportedIndex(cause.to_owned()))
                }
                _ => Ok(facts),
            });
            // An unknown image does not hide the others.
            match facts {
                Ok(facts) => images.push(RunnableImage { platform: Some(platform.clone()), facts }),
                Err(cause) => drop(gap.get_or_insert(cause)),
            }
        }
        if images.is_empty() {
            return match (of_host, gap) {
                (Some(facts), gap) => Ok(Runnable { missing_platforms, gap, ..Runnable::single(facts) }),
                (None, Some(gap)) => Err(gap),
                (None, None) => {
                    let platforms: Vec<String> = missing_platforms.iter().map(sanitized_platform).collect();
                    Err(EvidenceGap::UnsupportedIndex(format!("its index has no image for {}", platforms.join(", "))))
                }
            };
        }
        Ok(Runnable { images, missing_platforms, gap })
    }

    /// Whether the request exceeds the limit of questions.
    #[must_use]
    pub fn is_exhausted(&self) -> bool {
        self.asked > MAX_QUESTIONS
    }

    /// The reason for a failure, for the requester. Answers of unlisted registries are only logged: a requester who chooses the host
    /// could otherwise explore the network of policy-server.
    #[cold]
    fn cause(&mut self, image: &str, failure: &Failure) -> String {
        let (class, detail) = match failure {
            // The policy lacks a permission; the registry was not asked.
            Failure::Host(error) if error.contains("host capability") => return host_error(error),
            Failure::LimitExceeded => {
                return format!(
                    "this object needs more than {MAX_QUESTIONS} questions to registries; split it into several objects with fewer images"
                );
            }
            Failure::Host(error) => classify(error),
            Failure::Answer(cause) => (FailureClass::Unusable, cause.clone()),
        };
        let is_listed =
            Reference::parse(image).is_ok_and(|image| self.listed.iter().any(|known| known.matches(&image)));
        if !is_listed {
            let (Failure::Host(cause) | Failure::Answer(cause)) = failure else { return detail };
            let line = format!("image `{image}` {UNVERIFIED}{}", sanitized_up_to(cause, MAX_LOG_LENGTH));
            // The same question can fail for several containers.
            if self.unlogged.last() != Some(&line) {
                self.unlogged.push(line);
            }
        }
        let detail = if is_listed { Some(detail) } else { None };
        let part = if image.contains('@') { "digest" } else { "tag" };
        match (class, detail) {
            (FailureClass::NotFound, Some(detail)) => {
                format!("the registry has no such image ({detail}); check its name and {part}")
            }
            (FailureClass::NotFound, None) => format!("the registry has no such image; check its name and {part}"),
            (FailureClass::Unauthorized, detail) => {
                let detail = detail.map(|detail| format!(": {detail}")).unwrap_or_default();
                format!("unauthorized{detail}; check its name, and that policy-server may read it")
            }
            (FailureClass::Unreachable, Some(detail)) => {
                format!("{detail}; check its name, and that its registry can be reached and read")
            }
            (FailureClass::Unusable, Some(detail)) => detail,
            (FailureClass::Unreachable | FailureClass::Unusable, None) => NO_USABLE_ANSWER.to_owned(),
        }
    }
}

/// Classifies an error of the host, and extracts its cause.
fn classify(error: &str) -> (FailureClass, String) {
    /// Phrases of registries (OCI distribution specification, "Error Codes") and of the client of the host.
    const NOT_FOUND: [&str; 6] = [
        "manifest unknown",
        "name unknown",
        "repository name not known",
        "MANIFEST_UNKNOWN",
        "NAME_UNKNOWN",
        "not found",
    ];
    const UNAUTHORIZED: [&str; 5] = ["uthoriz", "uthenticat", "DENIED", "denied", "orbidden"];
    let text = without_urls(error);
    let found = |phrases: &'static [&'static str]| phrases.iter().copied().find(|phrase| text.contains(phrase));
    // The page of a failing server can contain any of the phrases.
    let is_server_error = text.contains("code: 5") || text.contains("code: 429") || text.contains("rate limit");
    if is_server_error {
        (FailureClass::Unreachable, host_error(&text))
    } else if text.contains("received Image Index manifest instead") {
        (FailureClass::Unusable, "its index contains another index".to_owned())
    } else if is_foreign(&text) {
        let detail = "its index has no image for the platform of policy-server; set `platforms` to those of the nodes";
        (FailureClass::Unusable, detail.to_owned())
    } else if let Some(phrase) = found(&NOT_FOUND).or_else(|| found(&["code: 404"])) {
        (FailureClass::NotFound, phrase.to_owned())
    } else if found(&UNAUTHORIZED).is_some() || found(&["code: 401", "code: 403"]).is_some() {
        (FailureClass::Unauthorized, host_error(&text))
    } else {
        (FailureClass::Unreachable, host_error(&text))
    }
}

/// Whether an error of the host means that it could not send a request to the registry, or got no response in time. Other errors can be
/// about the one image.
fn is_unreachable(error: &str) -> bool {
    error.contains("error sending request") || error.contains("did not answer within")
}

/// Whether an error of the host means that an index has no image for the platform of the host.
fn is_foreign(error: &str) -> bool {
    error.contains("client's default platform")
}

fn index(bytes: &[u8]) -> Result<Index, Failure> {
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(default)]
        manifests: Vec<Entry>,
    }
    #[derive(Deserialize)]
    struct Entry {
        digest: String,
        #[serde(default)]
        platform: Option<Declared>,
    }
    #[derive(Default, Deserialize)]
    struct Declared {
        #[serde(default)]
        os: Option<String>,
        #[serde(default)]
        architecture: Option<String>,
    }
    let manifest: Manifest = read(bytes)?;
    let mut index = Index::default();
    for Entry { digest, platform } in manifest.manifests {
        let Declared { os, architecture } = platform.unwrap_or_default();
        let (os, architecture) = (os.unwrap_or_default(), architecture.unwrap_or_default());
        // No node has an unknown operating system.
        if os == "unknown" {
            continue;
        }
        if let Err(error) = Digest::parse(&digest) {
            // Digests become names of resources and selectors, so invalid ones must not pass.
            index
                .fault
                .get_or_insert_with(|| format!("its index has the invalid digest `{}`: {error}", Sanitized(&digest)));
            continue;
        }
        index.digests.push(digest);
        index.platforms.push(Platform::new(&os, &architecture));
    }
    Ok(index)
}

fn image_facts<A: ImageAnnotations>(bytes: &[u8]) -> Result<ImageFacts, Failure> {
    #[derive(Deserialize)]
    #[serde(bound = "A: ImageAnnotations")]
    struct Response<'a, A> {
        #[serde(default)]
        digest: Option<String>,
        #[serde(deserialize_with = "json::object")]
        manifest: Manifest<A>,
        #[serde(borrow, deserialize_with = "json::object")]
        config: Config<'a, A>,
    }
    #[derive(Deserialize)]
    #[serde(bound = "A: ImageAnnotations")]
    struct Manifest<A> {
        #[serde(deserialize_with = "json::object")]
        config: Descriptor,
        #[serde(default)]
        annotations: Option<Annotations<A>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        media_type: String,
        #[serde(default)]
        digest: Option<String>,
    }
    #[derive(Deserialize)]
    #[serde(bound = "A: ImageAnnotations")]
    struct Config<'a, A> {
        #[serde(default)]
        created: Option<String>,
        #[serde(default, deserialize_with = "json::optional_object")]
        config: Option<Container<A>>,
        #[serde(borrow, default)]
        history: Option<Vec<Option<Layer<'a>>>>,
        // Only one source of the base uses this field and the comments, so whatever they contain, the image can be judged.
        #[serde(rename = "moby.buildkit.buildinfo.v1", borrow, default)]
        build_info: Option<&'a RawValue>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", bound = "A: ImageAnnotations")]
    struct Container<A> {
        #[serde(default)]
        labels: Option<Annotations<A>>,
    }
    #[derive(Deserialize)]
    struct Layer<'a> {
        #[serde(default)]
        created: Option<String>,
        #[serde(borrow, default)]
        comment: Option<&'a RawValue>,
    }
    /// The part that decides how to read the rest.
    #[derive(Deserialize)]
    #[serde(bound = "A: ImageAnnotations")]
    struct Kind<A> {
        #[serde(deserialize_with = "json::object")]
        manifest: Manifest<A>,
    }

    let not_an_image = |manifest: &Manifest<A>| {
        let media_type = &manifest.config.media_type;
        (!IMAGE_CONFIGS.contains(&media_type.as_str())).then(|| {
            format!("it is not a container image: its configuration has the media type `{}`", Sanitized(media_type))
        })
    };
    let response: Response<'_, A> = match read(bytes) {
        Ok(response) => response,
        // Configurations of other artifacts can have another structure.
        Err(error) => {
            let reason = read::<Kind<A>>(bytes).ok().and_then(|kind| not_an_image(&kind.manifest));
            return Err(reason.map_or(error, Failure::Answer));
        }
    };
    if let Some(reason) = not_an_image(&response.manifest) {
        return Err(Failure::Answer(reason));
    }
    if let Some(Err(error)) = response.digest.as_deref().map(Digest::parse) {
        return Err(unusable_digest(&error));
    }
    // Base64 needs no escapes, so the text is what is between the quotes.
    let text = |json: &RawValue| Some(json.get().strip_prefix('"')?.strip_suffix('"')?.to_owned());
    let layers: Vec<Layer<'_>> = response.config.history.into_iter().flatten().flatten().collect();
    let is_of_base = |layer: &Layer<'_>| layer.comment.is_none_or(|json| !json.get().starts_with("\"buildkit"));
    Ok(ImageFacts {
        digest: response.digest,
        config_digest: response.manifest.config.digest,
        annotations: response.manifest.annotations.map(|annotations| annotations.entries).unwrap_or_default(),
        labels: response
            .config
            .config
            .and_then(|container| container.labels)
            .map(|labels| labels.entries)
            .unwrap_or_default(),
        created: response.config.created.filter(|created| !created.is_empty()),
        build_info: response
            .config
            .build_info
            .filter(|json| json.get().len() <= MAX_BUILD_INFO && layers.first().is_some_and(is_of_base))
            .and_then(text),
        history: layers.into_iter().filter_map(|layer| layer.created).collect(),
    })
}

/// The annotations, or labels, that rules read and that have a value. Others are dropped, since the builder of an image can write any
/// number of them.
struct Annotations<A> {
    entries: BTreeMap<String, String>,
    read_by: PhantomData<A>,
}

impl<'de, A: ImageAnnotations> Deserialize<'de> for Annotations<A> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries<A>(PhantomData<A>);
        impl<'de, A: ImageAnnotations> Visitor<'de> for Entries<A> {
            type Value = Annotations<A>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = BTreeMap::new();
                while let Some(JsonStr(key)) = map.next_key()? {
                    let value: Option<JsonStr<'_>> = map.next_value()?;
                    if key != CREATED && !A::reads(&key) {
                        continue;
                    }
                    // If a key occurs twice, the last value counts, as in other readers of configurations.
                    match value {
                        Some(JsonStr(value)) => entries.insert(key.into_owned(), value.into_owned()),
                        None => entries.remove(key.as_ref()),
                    };
                }
                Ok(Annotations { entries, read_by: PhantomData })
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Failure> {
    let text =
        std::str::from_utf8(bytes).map_err(|_| Failure::Answer("the registry's answer is not text".to_owned()))?;
    json::read(text).map_err(|error| Failure::Answer(format!("the registry's answer cannot be read: {error}")))
}

fn unusable_digest(error: &ReferenceError) -> Failure {
    Failure::Answer(format!("the registry's answer has no usable digest: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{CREATED, EvidenceGap, ImageAnnotations, ImageFacts, Registry};
    use crate::host::in_memory::InMemory;
    use crate::image::{Platform, Platforms, Reference, RegistryPattern};

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    /// A key that a rule reads.
    const BASE_NAME: &str = "org.opencontainers.image.base.name";

    struct Known;

    impl ImageAnnotations for Known {
        fn reads(key: &str) -> bool {
            key == BASE_NAME || key.eq_ignore_ascii_case("images.openshift.io/deny-execution")
        }
    }

    /// A list that contains every registry.
    fn any() -> [RegistryPattern; 1] {
        [RegistryPattern::parse("*").unwrap()]
    }

    fn entries(entries: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn world() -> InMemory {
        InMemory::at("2026-11-20T12:00:00Z")
    }

    #[test]
    fn a_question_is_asked_once() {
        let host = world().digest("a/b:1", DIGEST);
        let listed = any();
        let mut registry = Registry::new::<Known>(&host, &listed);
        for _ in 0..3 {
            assert_eq!(registry.digest("a/b:1"), Ok(DIGEST.to_owned()));
            assert!(registry.digest("a/b:2").is_err());
        }
        assert_eq!(host.asked(), ["digest a/b:1", "digest a/b:2"]);
    }

    #[test]
    fn a_registry_that_could_not_be_reached_is_not_asked_again_by_a_refused_request() {
        let down = "error sending request for url (https://r.test/v2/)\n\nCaused by:\n    Connection refused";
        let host = world()
            .answer("digest", "r.test/a:1", Err(down.to_owned()))
            .answer("digest", "s.test/a:1", Err("Server error: code: 503".to_owned()))
            .digest("r.test/b:1", DIGEST);
        let listed = any();
        let mut registry = Registry::new::<Known>(&host, &listed);
        let cause = registry.digest("r.test/a:1").unwrap_err();
        assert!(cause.contains("Connection refused"), "{cause}");
        assert!(registry.digest("r.test/b:1").is_ok(), "without a refusal, each image counts");
        registry.request_is_refused();
        assert_eq!(registry.digest("r.test/c:1"), Err(cause.clone()));
        assert_eq!(registry.image(&format!("r.test/c@{DIGEST}")).unwrap_err(), cause);
        assert_eq!(registry.manifests(&format!("r.test/c@{DIGEST}")), Err(cause));
        // The registry answered, so the error may be about that image only.
        assert!(registry.digest("s.test/a:1").is_err() && registry.digest("s.test/b:1").is_err());
        let asked = ["digest r.test/a:1", "digest r.test/b:1", "digest s.test/a:1", "digest s.test/b:1"];
        assert_eq!(host.asked(), asked);
    }

    #[test]
    fn a_single_image_is_not_asked_for_the_images_of_an_index() {
        let name = format!("r.test/a@{DIGEST}");
        let manifest = json!({"config": {"mediaType": super::IMAGE_CONFIGS[0]}});
        let host = world().config(&name, json!({"digest": DIGEST, "manifest": manifest, "config": {}}));
        let listed = any();
        let mut registry = Registry::new::<Known>(&host, &listed);
        assert!(registry.image(&name).is_ok());
        assert_eq!(registry.manifests(&name), Ok(&[][..]));
        assert_eq!(host.asked(), [format!("config {name}")]);
        // By its tag it may be the image that the host chose from an index.
        let host = world().config("r.test/a:1", json!({"digest": DIGEST, "manifest": manifest, "config": {}}));
        let mut registry = Registry::new::<Known>(&host, &listed);
        assert!(registry.image("r.test/a:1").is_ok());
        assert!(registry.manifests("r.test/a:1").is_err());
        assert_eq!(host.asked(), ["config r.test/a:1", "manifest r.test/a:1"]);
    }

    /// An error of policy-server, and the messages about it for a listed registry and for one that is not listed.
    const FAILURES: [(&str, &str, &str); 7] = [
        (
            "Registry error: url https://h.test/v2/a/manifests/1, envelope: OCI API errors: [OCI API error: manifest unknown]",
            "the registry has no such image (manifest unknown); check its name and tag",
            "the registry has no such image; check its name and tag",
        ),
        (
            "Server error: url https://h.test/v2/a/manifests/1, code: 404, message: gone",
            "the registry has no such image (code: 404); check its name and tag",
            "the registry has no such image; check its name and tag",
        ),
        (
            "Not authorized: url https://h.test/v2/a/manifests/1",
            "unauthorized: Not authorized; check its name, and that policy-server may read it",
            "unauthorized; check its name, and that policy-server may read it",
        ),
        (
            "error sending request for url (https://10.0.0.1:22/v2/)\n\nCaused by:\n    Connection refused (os error 111)",
            "error sending request: Connection refused (os error 111); check its name, and that its registry can be reached and read",
            "its registry gave no usable answer; the log of policy-server has the cause",
        ),
        (
            "error sending request for url (https://10.0.0.1:9/v2/unauthorized/manifests/1)",
            "error sending request; check its name, and that its registry can be reached and read",
            "its registry gave no usable answer; the log of policy-server has the cause",
        ),
        (
            "Failed to parse manifest: expected value at line 1 column 1",
            "Failed to parse manifest: expected value at line 1 column 1; check its name, and that its registry can be reached and read",
            "its registry gave no usable answer; the log of policy-server has the cause",
        ),
        (
            "Policy has not been granted access to the 'oci/v1/manifest_digest' host capability.",
            "Policy has not been granted access to the 'oci/v1/manifest_digest' host capability.",
            "Policy has not been granted access to the 'oci/v1/manifest_digest' host capability.",
        ),
    ];

    #[test]
    fn what_an_unlisted_registry_says_is_for_the_log_alone() {
        for (error, listed, unlisted) in FAILURES {
            let host = world().answer("digest", "a", Err(format!("Host error: {error}")));
            assert_eq!(Registry::new::<Known>(&host, &any()).digest("a"), Err(listed.to_owned()));
            assert_eq!(host.logged(), [""; 0], "the requester sees all of it");
            let other = [RegistryPattern::parse("docker.io.evil.test").unwrap()];
            for listed in [&[][..], &other] {
                let mut registry = Registry::new::<Known>(&host, listed);
                assert_eq!(registry.digest("a"), Err(unlisted.to_owned()));
                registry.log_failures();
                registry.log_failures();
            }
            let logged = host.logged();
            let expected = if error.contains("host capability") { 0 } else { 2 };
            assert_eq!(logged.len(), expected, "{logged:?}");
            assert!(
                logged.iter().all(|line| line.starts_with("image `a` could not be verified: Host error: ")),
                "{logged:?}"
            );
        }
    }

    #[test]
    fn parts_of_the_answers_of_an_unlisted_registry_are_not_shown() {
        let secret = json!({"manifest": {"config": {"mediaType": "secret"}}, "config": {}});
        let host = world().answer("config", "a", Ok(secret)).answer(
            "manifest",
            "a",
            Ok(json!({"manifests": [{"digest": "secret"}]})),
        );
        let mut registry = Registry::new::<Known>(&host, &[]);
        let unusable = "its registry gave no usable answer; the log of policy-server has the cause";
        assert_eq!(registry.image("a").unwrap_err(), unusable);
        assert_eq!(registry.manifests("a").unwrap_err(), unusable);
        registry.log_failures();
        assert_eq!(host.logged().len(), 2);
        assert!(host.logged().iter().all(|line| line.contains("`secret`")), "{:?}", host.logged());
    }

    #[test]
    fn the_number_of_logged_failures_of_a_request_is_limited() {
        let host = world();
        let mut registry = Registry::new::<Known>(&host, &[]);
        for number in 0..1000 {
            assert!(registry.digest(&format!("evil.test/a:{number}")).is_err());
        }
        registry.log_failures();
        assert_eq!(host.logged().len(), 17);
        assert_eq!(host.logged()[16], "… and 984 more failed questions to registries that are not listed");
    }

    const CHILDREN: [&str; 3] = [
        "sha256:1111111111111111111111111111111111111111111111111111111111111111",
        "sha256:2222222222222222222222222222222222222222222222222222222222222222",
        "sha256:3333333333333333333333333333333333333333333333333333333333333333",
    ];

    /// An index with these platforms. The host chooses the first.
    fn index(platforms: &[serde_json::Value]) -> InMemory {
        let config = |digest: &str| json!({"digest": digest, "manifest": {"config": {"mediaType": super::IMAGE_CONFIGS[0]}}, "config": {"created": digest}});
        let entries: Vec<_> = CHILDREN
            .iter()
            .zip(platforms)
            .map(|(digest, platform)| json!({"digest": digest, "platform": platform}))
            .collect();
        let name = format!("r.test/a@{DIGEST}");
        let host = world().config(&name, config(CHILDREN[0])).manifest(&name, json!({"manifests": entries}));
        CHILDREN.iter().fold(host, |host, digest| host.config(&format!("r.test/a@{digest}"), config(digest)))
    }

    /// The last letter of the digest of each image that nodes can choose, and the missing platforms.
    fn runnable(host: &InMemory, platforms: &Platforms) -> Result<String, String> {
        let image = Reference::parse("r.test/a:1").unwrap();
        let listed = any();
        let cause = |(EvidenceGap::NoAnswer(cause) | EvidenceGap::UnsupportedIndex(cause))| cause;
        let runnable = Registry::new::<Known>(host, &listed).runnable(&image, DIGEST, platforms).map_err(cause)?;
        if let Some(gap) = &runnable.gap {
            return Err(cause(gap.clone()));
        }
        let images = runnable.images.iter().filter_map(|image| image.facts.created.as_ref()?.chars().last());
        let images: String = images.collect();
        let missing: Vec<String> = runnable.missing_platforms.iter().map(Platform::to_string).collect();
        Ok(format!("{images} {}", missing.join(" ")).trim_end().to_owned())
    }

    fn linux(architecture: &str) -> serde_json::Value {
        json!({"os": "linux", "architecture": architecture})
    }

    fn listed(platforms: &[&str]) -> Platforms {
        Platforms::Listed(platforms.iter().map(|text| Platform::parse(text).unwrap()).collect())
    }

    #[test]
    fn of_an_index_every_image_that_a_node_may_run_is_known() {
        for (platforms, wanted, expected) in [
            ([linux("amd64"), linux("arm64"), linux("s390x")], Platforms::OfHost, "1"),
            ([linux("amd64"), linux("amd64"), linux("s390x")], Platforms::OfHost, "12"),
            (
                [linux("amd64"), json!({"os": "linux", "architecture": "amd64", "variant": "v3"}), linux("arm")],
                Platforms::OfHost,
                "12",
            ),
            ([linux("amd64"), linux("386"), linux("x86_64")], Platforms::OfHost, "123"),
            ([linux("amd64"), json!(null), json!({})], Platforms::OfHost, "123"),
            (
                [linux("amd64"), json!({"os": "windows", "architecture": "amd64"}), linux("unknown")],
                Platforms::OfHost,
                "1",
            ),
            (
                [linux("amd64"), json!({"os": "unknown", "architecture": "unknown"}), linux("arm64")],
                listed(&["linux/arm64"]),
                "3",
            ),
            ([linux("amd64"), linux("arm64"), linux("arm")], listed(&["linux/arm64"]), "23"),
            ([linux("amd64"), linux("arm64"), linux("arm")], listed(&["linux/amd64", "linux/arm64"]), "123"),
            ([linux("amd64"), linux("arm64"), linux("arm")], listed(&["linux/amd64", "linux/s390x"]), "1 linux/s390x"),
            ([linux("amd64"), linux("arm64"), linux("arm")], listed(&["linux/s390x"]), "1 linux/s390x"),
        ] {
            assert_eq!(runnable(&index(&platforms), &wanted), Ok(expected.to_owned()), "{platforms:?} {wanted:?}");
        }
    }

    #[test]
    fn a_single_image_is_asked_about_once() {
        let name = format!("r.test/a@{DIGEST}");
        let config = json!({"digest": DIGEST, "manifest": {"config": {"mediaType": super::IMAGE_CONFIGS[0]}}, "config": {"created": "1"}});
        let host = world().config(&name, config);
        for platforms in [Platforms::OfHost, listed(&["linux/arm64"])] {
            assert_eq!(runnable(&host, &platforms), Ok("1".to_owned()));
        }
        assert_eq!(host.asked(), [format!("config {name}"), format!("config {name}")]);
    }

    #[test]
    fn a_digest_that_an_index_lists_for_two_platforms_hides_no_image() {
        // The host finds the second entry by its platform; a search by digest alone would find the first.
        let name = format!("r.test/a@{DIGEST}");
        let entries = json!([
            {"digest": CHILDREN[0], "platform": linux("s390x")},
            {"digest": CHILDREN[0], "platform": linux("amd64")},
            {"digest": CHILDREN[1], "platform": linux("amd64")},
        ]);
        let host = index(&[]).manifest(&name, json!({ "manifests": entries }));
        assert_eq!(runnable(&host, &Platforms::OfHost), Ok("12".to_owned()));
    }

    #[test]
    fn all_entries_of_an_index_are_judged_if_it_lacks_the_choice_of_the_host() {
        let name = format!("r.test/a@{DIGEST}");
        let entries = json!([{"digest": CHILDREN[1], "platform": linux("s390x")}, {"digest": CHILDREN[2], "platform": linux("arm")}]);
        let host = index(&[]).manifest(&name, json!({ "manifests": entries }));
        assert_eq!(runnable(&host, &Platforms::OfHost), Ok("23".to_owned()));
    }

    #[test]
    fn an_index_without_the_platform_of_the_host_is_known_for_others() {
        let name = format!("r.test/a@{DIGEST}");
        let foreign =
            "Image manifest not found: no entry found in image index manifest matching client's default platform";
        let host =
            index(&[linux("s390x"), linux("arm64"), linux("arm64")]).answer("config", &name, Err(foreign.to_owned()));
        assert_eq!(runnable(&host, &listed(&["linux/arm64"])), Ok("23".to_owned()));
        assert_eq!(
            runnable(&host, &listed(&["linux/riscv64"])),
            Err("its index has no image for linux/riscv64".to_owned())
        );
        let cause = runnable(&host, &Platforms::OfHost).unwrap_err();
        assert!(
            cause.starts_with("its index has no image for the platform of policy-server; set `platforms`"),
            "{cause}"
        );
        let down = index(&[linux("arm64")]).answer("config", &name, Err("connection refused".to_owned()));
        assert!(runnable(&down, &listed(&["linux/arm64"])).is_err());
        assert_eq!(down.asked(), [format!("config {name}")], "a registry that is down is not asked again");
    }

    #[test]
    fn an_index_in_an_index_is_refused() {
        let nested = format!("r.test/a@{}", CHILDREN[1]);
        let config = json!({"digest": CHILDREN[2], "manifest": {"config": {"mediaType": super::IMAGE_CONFIGS[0]}}, "config": {}});
        let host = index(&[linux("amd64"), linux("amd64")]).config(&nested, config);
        assert_eq!(
            runnable(&host, &Platforms::OfHost),
            Err("its index contains another index, and a runtime may choose any image of that".to_owned())
        );
    }

    #[test]
    fn the_number_of_judged_images_of_an_index_is_limited_and_that_of_others_is_not() {
        let name = format!("r.test/a@{DIGEST}");
        let digest = |number: usize| format!("sha256:{number:064x}");
        let many = |count: usize, architecture: &str| {
            let others = (0..count).map(|number| json!({"digest": digest(number), "platform": linux(architecture)}));
            let first = json!({"digest": CHILDREN[0], "platform": linux("amd64")});
            let entries: Vec<_> = others.chain([first]).collect();
            index(&[]).manifest(&name, json!({ "manifests": entries }))
        };
        assert_eq!(runnable(&many(10_000, "s390x"), &Platforms::OfHost), Ok("1".to_owned()));
        let refused = many(10_000, "amd64");
        assert_eq!(
            runnable(&refused, &Platforms::OfHost),
            Err("its index has more than 16 images for the platforms of the nodes".to_owned())
        );
        assert_eq!(refused.asked().len(), 18, "sixteen of them are asked about");
        let entries = json!([{"digest": "latest", "platform": linux("amd64")}]);
        let cause =
            runnable(&index(&[]).manifest(&name, json!({ "manifests": entries })), &Platforms::OfHost).unwrap_err();
        assert!(cause.starts_with("its index has the invalid digest `latest`: "), "{cause}");
    }

    #[test]
    fn an_answer_with_an_invalid_digest_is_rejected() {
        for (answer, expected) in [
            (json!({}), "the registry's answer cannot be read: missing field `digest`"),
            (
                json!({"digest": 7}),
                "the registry's answer cannot be read: digest: invalid type: integer `7`, expected a string",
            ),
            (json!({"digest": ""}), "the registry's answer has no usable digest: the digest is empty"),
            (
                json!({"digest": "sha256:abc"}),
                "the registry's answer has no usable digest: the sha256 digest has 3 hexadecimal digits",
            ),
            (json!([]), "the registry's answer cannot be read: invalid type: sequence, expected an object"),
        ] {
            let host = world().answer("digest", "a", Ok(answer));
            let error = Registry::new::<Known>(&host, &any()).digest("a").unwrap_err();
            assert!(error.starts_with(expected), "expected: {expected}\nfound:    {error}");
        }
    }

    #[test]
    fn manifest_and_configuration_are_read_in_the_media_types_of_oci_and_docker() {
        for media_type in super::IMAGE_CONFIGS {
            let host = world().config("a", json!({
                "digest": DIGEST,
                "manifest": {"schemaVersion": 2, "config": {"mediaType": media_type, "digest": DIGEST, "size": 1}, "layers": [], "annotations": {"k": "v", BASE_NAME: "debian:12"}},
                "config": {"created": "2026-07-01T00:00:00Z", "config": {"Labels": {"l": "m", CREATED: "2026-07-02", "Images.OpenShift.io/deny-execution": "true"}}, "history": [{"created": "x"}, {"empty_layer": true}], "moby.buildkit.buildinfo.v1": "e30="},
            }));
            let facts = Registry::new::<Known>(&host, &any()).image("a");
            assert_eq!(
                facts.as_deref(),
                Ok(&ImageFacts {
                    digest: Some(DIGEST.to_owned()),
                    config_digest: Some(DIGEST.to_owned()),
                    annotations: entries(&[(BASE_NAME, "debian:12")]),
                    labels: entries(&[("Images.OpenShift.io/deny-execution", "true"), (CREATED, "2026-07-02")]),
                    created: Some("2026-07-01T00:00:00Z".to_owned()),
                    history: vec!["x".to_owned()],
                    build_info: Some("e30=".to_owned()),
                })
            );
        }
    }

    #[test]
    fn what_buildkit_writes_is_bounded_and_never_makes_an_image_unreadable() {
        let (foreign, own) = (json!({"created_by": "/bin/sh"}), json!({"comment": "buildkit.dockerfile.v0"}));
        let build_info = |value: serde_json::Value, history: serde_json::Value| {
            let manifest = json!({"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}});
            let config = json!({"moby.buildkit.buildinfo.v1": value, "history": history});
            let answer = json!({"manifest": manifest, "config": config}).to_string();
            super::image_facts::<Known>(answer.as_bytes()).unwrap().build_info
        };
        for history in [json!([foreign, own]), json!([null, {"comment": 7}, own])] {
            assert_eq!(build_info(json!("a/b="), history), Some("a/b=".to_owned()));
        }
        for history in [json!([own, foreign]), json!([]), json!(null)] {
            assert_eq!(build_info(json!("a/b="), history), None, "the image may be built from scratch");
        }
        for ignored in [json!(null), json!(7), json!({"sources": []}), json!("a".repeat(super::MAX_BUILD_INFO))] {
            assert_eq!(build_info(ignored, json!([foreign, own])), None);
        }
    }

    #[test]
    fn the_last_value_of_a_repeated_label_counts() {
        for (labels, expected) in [
            (r#""K": "a", "K": "b""#, entries(&[(CREATED, "b")])),
            (r#""K": null, "K": "b""#, entries(&[(CREATED, "b")])),
            (r#""K": "a", "K": null"#, entries(&[])),
        ] {
            let labels = labels.replace('K', CREATED);
            let config = r#"{"mediaType": "application/vnd.oci.image.config.v1+json"}"#;
            let answer = format!(
                r#"{{"manifest": {{"config": {config}}}, "config": {{"config": {{"Labels": {{{labels}}}}}}}}}"#
            );
            let facts = super::image_facts::<Known>(answer.as_bytes()).unwrap();
            assert_eq!(facts.labels, expected, "{labels}");
        }
    }

    #[test]
    fn fields_that_an_image_lacks_have_no_value() {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json"});
        for answer in [
            json!({"manifest": {"config": config}, "config": {}}),
            json!({"manifest": {"config": config, "annotations": null}, "config": {"created": null, "history": null, "config": {"Labels": null}}}),
            json!({"manifest": {"config": config}, "config": {"config": null, "created": ""}}),
            json!({"manifest": {"config": config, "annotations": {CREATED: null}}, "config": {"config": {"Labels": {CREATED: null}}, "history": [null, {}]}}),
        ] {
            let host = world().config("a", answer);
            assert_eq!(Registry::new::<Known>(&host, &any()).image("a").as_deref(), Ok(&ImageFacts::default()));
        }
    }

    #[test]
    fn an_artifact_that_is_not_a_container_image_is_reported_as_such() {
        let chart = json!({"manifest": {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "config": {"name": "chart", "created": 7}});
        for (answer, expected) in [
            (
                chart,
                "it is not a container image: its configuration has the media type `application/vnd.cncf.helm.config.v1+json`",
            ),
            (json!({"config": {}}), "the registry's answer cannot be read: missing field `manifest`"),
            (
                json!({"manifest": {"layers": []}}),
                "the registry's answer cannot be read: manifest: missing field `config`",
            ),
            (
                json!({"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": []}),
                "the registry's answer cannot be read: config: invalid type: sequence, expected an object",
            ),
            (
                json!({"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {"created": 7}}),
                "the registry's answer cannot be read: config.created: invalid type",
            ),
            (
                json!({"manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {"config": {"Labels": {"a": 7}}}}),
                "the registry's answer cannot be read: config.config.Labels.a: invalid type: integer `7`, expected a string",
            ),
            (
                json!({"digest": "latest", "manifest": {"config": {"mediaType": "application/vnd.oci.image.config.v1+json"}}, "config": {}}),
                "the registry's answer has no usable digest: ",
            ),
        ] {
            let host = world().config("a", answer);
            let error = Registry::new::<Known>(&host, &any()).image("a").unwrap_err();
            assert!(error.starts_with(expected), "expected: {expected}\nfound:    {error}");
        }
    }

    #[test]
    fn the_manifests_of_an_index_are_listed_without_attestations() {
        let host = world()
            .manifest(
                "index",
                json!({"schemaVersion": 2, "manifests": [
                    {"digest": DIGEST, "platform": {}},
                    {"digest": "sha256:abc", "platform": {"os": "unknown", "architecture": "unknown"}},
                ]}),
            )
            .manifest("single", json!({"schemaVersion": 2, "config": {}, "layers": []}));
        let listed = any();
        let mut registry = Registry::new::<Known>(&host, &listed);
        assert_eq!(registry.manifests("index"), Ok(&[DIGEST.to_owned()][..]));
        assert_eq!(registry.manifests("single"), Ok(&[][..]));
    }

    #[test]
    fn a_registry_is_asked_by_digest_if_the_reference_has_one() {
        let name = |text: &str| Reference::parse(text).unwrap().registry_name();
        assert_eq!(name("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(name("localhost:5000/app:1"), "localhost:5000/app:1");
        assert_eq!(name(&format!("localhost:5000/app:1@{DIGEST}")), format!("localhost:5000/app@{DIGEST}"));
    }
}
