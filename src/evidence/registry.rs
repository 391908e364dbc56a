//! What registries know of images. Each distinct question is asked once in a request, in the order in which the answers
//! are needed, so that the same request always asks the same.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::rc::Rc;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};

use super::{Answer, annotations};
use crate::host::Host;
use crate::image::{Digest, Reference, ReferenceError};
use crate::json::{self, Key};
use crate::shown::Shown;

/// The media types of the configurations that describe a container image.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// The annotation, and label, of the OCI image specification for the date on which an image was built.
pub const CREATED: &str = "org.opencontainers.image.created";
/// Annotations, or labels, of the OCI image specification for the image that an image was built on.
pub const BASE_NAME: &str = "org.opencontainers.image.base.name";
/// The digest of that.
pub const BASE_DIGEST: &str = "org.opencontainers.image.base.digest";
/// The label in which Cloud Native Buildpacks write what an image was built of (Platform API,
/// "io.buildpacks.lifecycle.metadata").
pub const BUILDPACKS: &str = "io.buildpacks.lifecycle.metadata";

/// The registries, and what they have answered so far.
pub struct Registry<'h> {
    host: &'h dyn Host,
    digests: HashMap<String, Answer<String>>,
    indexes: HashMap<String, Answer<Vec<String>>>,
    images: HashMap<String, Answer<Rc<ImageFacts>>>,
}

/// What the manifest and the configuration of an image say, as far as rules ask.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFacts {
    /// The digest of the manifest; of an index, that of the image for the platform that the host runs on.
    pub digest: Option<String>,
    /// The digest of the configuration, by which runtimes and some scanners know an image.
    pub config_digest: Option<String>,
    /// The annotations of the manifest, as far as rules ask.
    pub annotations: BTreeMap<String, String>,
    /// The labels of the configuration, as far as rules ask.
    pub labels: BTreeMap<String, String>,
    /// The configuration's `created`, as written.
    pub created: Option<String>,
    /// The `created` of each entry of the configuration's history, as written.
    pub history: Vec<String>,
}

impl ImageFacts {
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
    /// Registries that have been asked nothing yet.
    #[must_use]
    pub fn new(host: &'h dyn Host) -> Self {
        Self { host, digests: HashMap::new(), indexes: HashMap::new(), images: HashMap::new() }
    }

    /// The digest that a reference points at.
    ///
    /// # Errors
    /// Why there is none.
    pub fn digest(&mut self, image: &str) -> Answer<String> {
        let host = self.host;
        let ask = || {
            #[derive(Deserialize)]
            struct Response {
                digest: String,
            }
            let Response { digest } = read(&host.manifest_digest(image).map_err(|error| told(&error))?)?;
            match Digest::parse(&digest) {
                Ok(_) => Ok(digest),
                Err(error) => Err(unusable_digest(&error)),
            }
        };
        self.digests.entry(image.to_owned()).or_insert_with(ask).clone()
    }

    /// The digests of the images in the index that a reference points at; none where it is a single image.
    ///
    /// Attestations, which builders keep beside the images as manifests for an unknown platform, are left out.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn manifests(&mut self, image: &str) -> Answer<&[String]> {
        let host = self.host;
        let ask = || {
            #[derive(Deserialize)]
            struct Index {
                #[serde(default)]
                manifests: Vec<Entry>,
            }
            #[derive(Deserialize)]
            struct Entry {
                digest: String,
                #[serde(default)]
                platform: Option<Platform>,
            }
            #[derive(Deserialize)]
            struct Platform {
                #[serde(default)]
                os: Option<String>,
            }
            let index: Index = read(&host.manifest(image).map_err(|error| told(&error))?)?;
            let is_image =
                |entry: &Entry| entry.platform.as_ref().and_then(|platform| platform.os.as_deref()) != Some("unknown");
            let images = index.manifests.into_iter().filter(is_image).map(|entry| match Digest::parse(&entry.digest) {
                Ok(_) => Ok(entry.digest),
                // Digests become names and selectors in the cluster.
                Err(error) => Err(format!("its index has `{}` for a digest: {error}", Shown(&entry.digest))),
            });
            images.collect()
        };
        let answer = self.indexes.entry(image.to_owned()).or_insert_with(ask);
        answer.as_deref().map_err(Clone::clone)
    }

    /// What manifest and configuration say of the image that a reference points at.
    ///
    /// # Errors
    /// Why it cannot be known.
    pub fn image(&mut self, image: &str) -> Answer<Rc<ImageFacts>> {
        let host = self.host;
        let ask = || {
            let answer = host.manifest_and_config(image).map_err(|error| told(&error))?;
            image_facts(&answer).map(Rc::new)
        };
        self.images.entry(image.to_owned()).or_insert_with(ask).clone()
    }
}

impl Reference<'_> {
    /// The name by which a registry is asked: by digest where there is one, else by tag.
    #[must_use]
    pub fn registry_name(&self) -> String {
        match (self.digest(), self.effective_tag()) {
            (Some(digest), _) => self.with_digest(digest.as_str()),
            (None, tag) => format!("{}/{}:{}", self.registry(), self.repository(), tag.unwrap_or_default()),
        }
    }

    /// The name by which a registry is asked for a digest in the repository of this image.
    #[must_use]
    pub fn with_digest(&self, digest: &str) -> String {
        format!("{}/{}@{digest}", self.registry(), self.repository())
    }
}

fn image_facts(bytes: &[u8]) -> Answer<ImageFacts> {
    #[derive(Deserialize)]
    struct Response {
        #[serde(default)]
        digest: Option<String>,
        #[serde(deserialize_with = "json::object")]
        manifest: Manifest,
        #[serde(deserialize_with = "json::object")]
        config: Config,
    }
    #[derive(Deserialize)]
    struct Manifest {
        #[serde(deserialize_with = "json::object")]
        config: Descriptor,
        #[serde(default)]
        annotations: Option<Told>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Descriptor {
        media_type: String,
        #[serde(default)]
        digest: Option<String>,
    }
    #[derive(Deserialize)]
    struct Config {
        #[serde(default)]
        created: Option<String>,
        #[serde(default, deserialize_with = "json::optional_object")]
        config: Option<Container>,
        #[serde(default)]
        history: Option<Vec<Option<Layer>>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Container {
        #[serde(default)]
        labels: Option<Told>,
    }
    #[derive(Deserialize)]
    struct Layer {
        #[serde(default)]
        created: Option<String>,
    }
    /// The part that says what the rest is.
    #[derive(Deserialize)]
    struct Kind {
        #[serde(deserialize_with = "json::object")]
        manifest: Manifest,
    }

    let no_image = |manifest: &Manifest| {
        let media_type = &manifest.config.media_type;
        (!IMAGE_CONFIGS.contains(&media_type.as_str()))
            .then(|| format!("it is no container image: its configuration has the media type `{}`", Shown(media_type)))
    };
    let response: Response = match read(bytes) {
        Ok(response) => response,
        // A configuration of another kind need not have the shape of an image's.
        Err(error) => return Err(read::<Kind>(bytes).ok().and_then(|kind| no_image(&kind.manifest)).unwrap_or(error)),
    };
    if let Some(reason) = no_image(&response.manifest) {
        return Err(reason);
    }
    if let Some(Err(error)) = response.digest.as_deref().map(Digest::parse) {
        return Err(unusable_digest(&error));
    }
    Ok(ImageFacts {
        digest: response.digest,
        config_digest: response.manifest.config.digest,
        annotations: response.manifest.annotations.unwrap_or_default().0,
        labels: response.config.config.and_then(|container| container.labels).unwrap_or_default().0,
        created: response.config.created.filter(|created| !created.is_empty()),
        history: response.config.history.into_iter().flatten().flatten().filter_map(|layer| layer.created).collect(),
    })
}

/// Those annotations, or labels, that a rule may ask for, and that have a value. There may be any number of others, of any
/// length: they are what whoever builds an image likes to write.
#[derive(Default)]
struct Told(BTreeMap<String, String>);

impl<'de> Deserialize<'de> for Told {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Told;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Told, A::Error> {
                let mut told = BTreeMap::new();
                while let Some(Key(key)) = entries.next_key()? {
                    let value: Option<Key<'_>> = entries.next_value()?;
                    if !is_asked_for(&key) {
                        continue;
                    }
                    // Of a key that is given twice the last value counts, as everywhere where configurations are read.
                    match value {
                        Some(Key(value)) => told.insert(key.into_owned(), value.into_owned()),
                        None => told.remove(key.as_ref()),
                    };
                }
                Ok(Told(told))
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

fn is_asked_for(key: &str) -> bool {
    [CREATED, BASE_NAME, BASE_DIGEST, BUILDPACKS].contains(&key) || annotations::is_about_scans(key)
}

fn read<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Answer<T> {
    let text = std::str::from_utf8(bytes).map_err(|_| "the registry's answer is no text".to_owned())?;
    json::read(text).map_err(|error| format!("the registry's answer cannot be read: {error}"))
}

fn unusable_digest(error: &ReferenceError) -> String {
    format!("the registry's answer has no usable digest: {error}")
}

/// What the host says of a failure to ask a registry.
fn told(error: &str) -> String {
    format!("{}; check its name, and that its registry can be reached and read", super::told(error))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{BASE_NAME, CREATED, ImageFacts, Registry};
    use crate::host::in_memory::InMemory;
    use crate::image::Reference;

    const DIGEST: &str = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

    fn told(entries: &[(&str, &str)]) -> std::collections::BTreeMap<String, String> {
        entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn world() -> InMemory {
        InMemory::at("2026-11-20T12:00:00Z")
    }

    #[test]
    fn a_question_is_asked_once() {
        let host = world().digest("a/b:1", DIGEST);
        let mut registry = Registry::new(&host);
        for _ in 0..3 {
            assert_eq!(registry.digest("a/b:1"), Ok(DIGEST.to_owned()));
            assert!(registry.digest("a/b:2").is_err());
        }
        assert_eq!(host.asked(), ["digest a/b:1", "digest a/b:2"]);
    }

    #[test]
    fn a_failure_is_told_with_what_to_check() {
        let host = world().answer("digest", "a", Err("Host error: manifest unknown".to_owned()));
        let told = "manifest unknown; check its name, and that its registry can be reached and read";
        assert_eq!(Registry::new(&host).digest("a"), Err(told.to_owned()));
    }

    #[test]
    fn a_digest_of_another_shape_is_no_answer() {
        for (answer, expected) in [
            (json!({}), "the registry's answer cannot be read: missing field `digest`"),
            (
                json!({"digest": 7}),
                "the registry's answer cannot be read: digest: invalid type: integer `7`, expected a string",
            ),
            (json!({"digest": ""}), "the registry's answer has no usable digest: its digest is empty"),
            (
                json!({"digest": "sha256:abc"}),
                "the registry's answer has no usable digest: the sha256 digest has 3 hexadecimal digits",
            ),
            (json!([]), "the registry's answer cannot be read: invalid type: sequence, expected an object"),
        ] {
            let host = world().answer("digest", "a", Ok(answer));
            let error = Registry::new(&host).digest("a").unwrap_err();
            assert!(error.starts_with(expected), "expected: {expected}\nfound:    {error}");
        }
    }

    #[test]
    fn manifest_and_configuration_are_read_in_the_media_types_of_oci_and_docker() {
        for media_type in super::IMAGE_CONFIGS {
            let host = world().config("a", json!({
                "digest": DIGEST,
                "manifest": {"schemaVersion": 2, "config": {"mediaType": media_type, "digest": DIGEST, "size": 1}, "layers": [], "annotations": {"k": "v", BASE_NAME: "debian:12"}},
                "config": {"created": "2026-07-01T00:00:00Z", "config": {"Labels": {"l": "m", CREATED: "2026-07-02", "Images.OpenShift.io/deny-execution": "true"}}, "history": [{"created": "x"}, {"empty_layer": true}]},
            }));
            let facts = Registry::new(&host).image("a");
            assert_eq!(
                facts.as_deref(),
                Ok(&ImageFacts {
                    digest: Some(DIGEST.to_owned()),
                    config_digest: Some(DIGEST.to_owned()),
                    annotations: told(&[(BASE_NAME, "debian:12")]),
                    labels: told(&[("Images.OpenShift.io/deny-execution", "true"), (CREATED, "2026-07-02")]),
                    created: Some("2026-07-01T00:00:00Z".to_owned()),
                    history: vec!["x".to_owned()],
                })
            );
        }
    }

    #[test]
    fn of_a_label_that_is_given_twice_the_last_value_counts() {
        for (labels, expected) in [
            (r#""K": "a", "K": "b""#, told(&[(CREATED, "b")])),
            (r#""K": null, "K": "b""#, told(&[(CREATED, "b")])),
            (r#""K": "a", "K": null"#, told(&[])),
        ] {
            let labels = labels.replace('K', CREATED);
            let config = r#"{"mediaType": "application/vnd.oci.image.config.v1+json"}"#;
            let answer = format!(
                r#"{{"manifest": {{"config": {config}}}, "config": {{"config": {{"Labels": {{{labels}}}}}}}}}"#
            );
            let facts = super::image_facts(answer.as_bytes()).unwrap();
            assert_eq!(facts.labels, expected, "{labels}");
        }
    }

    #[test]
    fn what_an_image_leaves_out_is_left_out() {
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json"});
        for answer in [
            json!({"manifest": {"config": config}, "config": {}}),
            json!({"manifest": {"config": config, "annotations": null}, "config": {"created": null, "history": null, "config": {"Labels": null}}}),
            json!({"manifest": {"config": config}, "config": {"config": null, "created": ""}}),
            json!({"manifest": {"config": config, "annotations": {CREATED: null}}, "config": {"config": {"Labels": {CREATED: null}}, "history": [null, {}]}}),
        ] {
            let host = world().config("a", answer);
            assert_eq!(Registry::new(&host).image("a").as_deref(), Ok(&ImageFacts::default()));
        }
    }

    #[test]
    fn what_is_no_container_image_is_said_to_be_none() {
        let chart = json!({"manifest": {"config": {"mediaType": "application/vnd.cncf.helm.config.v1+json"}}, "config": {"name": "chart", "created": 7}});
        for (answer, expected) in [
            (
                chart,
                "it is no container image: its configuration has the media type `application/vnd.cncf.helm.config.v1+json`",
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
            let error = Registry::new(&host).image("a").unwrap_err();
            assert!(error.starts_with(expected), "expected: {expected}\nfound:    {error}");
        }
    }

    #[test]
    fn an_index_is_known_by_its_manifests() {
        let host = world()
            .manifest(
                "index",
                json!({"schemaVersion": 2, "manifests": [
                    {"digest": DIGEST, "platform": {}},
                    {"digest": "sha256:abc", "platform": {"os": "unknown", "architecture": "unknown"}},
                ]}),
            )
            .manifest("single", json!({"schemaVersion": 2, "config": {}, "layers": []}));
        let mut registry = Registry::new(&host);
        assert_eq!(registry.manifests("index"), Ok(&[DIGEST.to_owned()][..]));
        assert_eq!(registry.manifests("single"), Ok(&[][..]));
    }

    #[test]
    fn a_registry_is_asked_by_digest_where_there_is_one() {
        let name = |text: &str| Reference::parse(text).unwrap().registry_name();
        assert_eq!(name("nginx"), "docker.io/library/nginx:latest");
        assert_eq!(name("localhost:5000/app:1"), "localhost:5000/app:1");
        assert_eq!(name(&format!("localhost:5000/app:1@{DIGEST}")), format!("localhost:5000/app@{DIGEST}"));
    }
}
