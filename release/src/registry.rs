//! A repository in a registry, with plain HTTP on loopback and HTTPS otherwise, as cosign does it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, SecondsFormat};
use docker_credential::DockerCredential;
use oci_client::client::{ClientConfig, ClientProtocol, Config, ImageLayer};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::{
    OCI_IMAGE_INDEX_MEDIA_TYPE, OCI_IMAGE_MEDIA_TYPE, OciDescriptor, OciImageManifest, WASM_CONFIG_MEDIA_TYPE,
    WASM_LAYER_MEDIA_TYPE,
};
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference, RegistryOperation};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const SOURCE: &str = "io.kubewarden.policy.source";
const OCI_SOURCE: &str = "org.opencontainers.image.source";
const CHART_CONFIG: &str = "application/vnd.cncf.helm.config.v1+json";
const CHART_LAYER: &str = "application/vnd.cncf.helm.chart.content.v1.tar+gzip";

/// An artifact in a repository.
pub(crate) struct Registry {
    client: Client,
    pub(crate) auth: RegistryAuth,
    pub(crate) reference: Reference,
}

/// The digest of bytes.
pub(crate) fn digest_of(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    Sha256::digest(bytes).iter().fold("sha256:".to_owned(), |mut digest, byte| {
        // Writing to a `String` cannot fail.
        let _ = write!(digest, "{byte:02x}");
        digest
    })
}

/// The descriptor of bytes.
pub(crate) fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest_of(bytes), "size": bytes.len()})
}

/// The hosts that are asked by plain HTTP.
pub(crate) fn plain_http(reference: &Reference) -> Vec<String> {
    let host = reference.registry();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    if name == "localhost" || name == "[::1]" || name.starts_with("127.") { vec![host.to_owned()] } else { vec![] }
}

/// The digest that an annotated module gets in a registry.
pub(crate) fn module_digest(module: &[u8]) -> Result<String> {
    let (layers, config, manifest) = module_manifest(module)?;
    drop((layers, config));
    Ok(digest_of(&canonical(&manifest)?))
}

/// The annotations that Helm writes into the manifest of a chart.
fn chart_annotations(metadata: &Value, created: i64) -> Result<Value> {
    let mut annotations: BTreeMap<String, String> = match &metadata["annotations"] {
        Value::Null => BTreeMap::new(),
        annotations => serde_json::from_value(annotations.clone()).context("the annotations of the chart")?,
    };
    let created = DateTime::from_timestamp(created, 0).with_context(|| format!("{created} is not a time"))?;
    let maintainers = metadata["maintainers"].as_array().map_or(&[][..], Vec::as_slice);
    let authors: Vec<String> = maintainers
        .iter()
        .map(|maintainer| match (maintainer["name"].as_str().unwrap_or_default(), maintainer["email"].as_str()) {
            (name, Some(email)) => format!("{name} ({email})"),
            (name, None) => name.to_owned(),
        })
        .collect();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    for (key, value) in [
        ("authors", authors.join(", ")),
        ("created", created.to_rfc3339_opts(SecondsFormat::Secs, true)),
        ("description", text(&metadata["description"])),
        ("source", text(&metadata["sources"][0])),
        ("title", text(&metadata["name"])),
        ("url", text(&metadata["home"])),
        ("version", text(&metadata["version"])),
    ] {
        if !value.is_empty() {
            annotations.insert(format!("org.opencontainers.image.{key}"), value);
        }
    }
    Ok(json!(annotations))
}

/// The layers, the configuration and the manifest that `kwctl push` makes of a module (kubewarden-controller,
/// crates/policy-fetcher/src/registry/mod.rs and crates/kwctl/src/push.rs, 1.36).
fn module_manifest(module: &[u8]) -> Result<(Vec<ImageLayer>, Config, OciImageManifest)> {
    // Values of several lines are not for manifests.
    let mut annotations: BTreeMap<String, String> = crate::annotate::annotations(module)?
        .into_iter()
        .filter(|(_, value)| value.lines().count() <= 1)
        .map(|(key, value)| (key, value.trim().to_owned()))
        .collect();
    if let Some(source) = annotations.get(SOURCE).cloned() {
        annotations.entry(OCI_SOURCE.to_owned()).or_insert(source);
    }
    let layers = vec![ImageLayer::new(module.to_vec(), WASM_LAYER_MEDIA_TYPE.to_owned(), None)];
    let config = Config::new(b"{}".to_vec(), WASM_CONFIG_MEDIA_TYPE.to_owned(), None);
    let manifest = OciImageManifest::build(&layers, &config, Some(annotations));
    Ok((layers, config, manifest))
}

/// The bytes of a manifest with its keys in order, which is how oci-client writes it.
fn canonical(manifest: &OciImageManifest) -> Result<Vec<u8>> {
    fn sorted(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                let map: BTreeMap<String, Value> = map.into_iter().map(|(key, value)| (key, sorted(value))).collect();
                Value::Object(map.into_iter().collect())
            }
            Value::Array(values) => values.into_iter().map(sorted).collect(),
            other => other,
        }
    }
    Ok(serde_json::to_vec(&sorted(serde_json::to_value(manifest)?))?)
}

impl Registry {
    /// The artifact of a reference, which may begin with `registry://`.
    pub(crate) fn of(reference: &str) -> Result<Self> {
        let name = reference.strip_prefix("registry://").unwrap_or(reference);
        let reference =
            Reference::try_from(name).with_context(|| format!("`{reference}` is not a reference to an artifact"))?;
        let protocol = ClientProtocol::HttpsExcept(plain_http(&reference));
        let client = Client::new(ClientConfig { protocol, ..ClientConfig::default() });
        // The credentials of `docker login`, which kwctl and cosign use, too.
        let auth = match docker_credential::get_credential(reference.registry()) {
            Ok(DockerCredential::UsernamePassword(user, password)) => RegistryAuth::Basic(user, password),
            _ => RegistryAuth::Anonymous,
        };
        Ok(Self { client, auth, reference })
    }

    /// The digest in the reference.
    pub(crate) fn required_digest(&self) -> Result<String> {
        let digest = self.reference.digest().map(ToOwned::to_owned);
        digest.ok_or_else(|| {
            anyhow!("`{}` has no digest; a tag can be pushed again, so only a digest is signed", self.reference)
        })
    }

    /// The digest of the artifact in the registry, if it exists.
    pub(crate) async fn digest(&self) -> Result<Option<String>> {
        match self.client.fetch_manifest_digest(&self.reference, &self.auth).await {
            Ok(digest) => Ok(Some(digest)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot ask for `{}`", self.reference)),
        }
    }

    /// The digest of the artifact, which must exist.
    pub(crate) async fn existing_digest(&self) -> Result<String> {
        self.digest().await?.ok_or_else(|| anyhow!("`{}` does not exist", self.reference))
    }

    /// Pushes a module, and returns its digest.
    pub(crate) async fn push_module(&self, module: &[u8]) -> Result<String> {
        let digest = module_digest(module)?;
        if !self.is_new(&digest, "module").await? {
            return Ok(digest);
        }
        let (layers, config, manifest) = module_manifest(module)?;
        let pushed = self.client.push(&self.reference, &layers, config, &self.auth, Some(manifest)).await;
        pushed.with_context(|| format!("cannot push `{}`", self.reference))?;
        let stored = self.existing_digest().await?;
        if stored != digest {
            bail!("the registry stored `{}` as {stored}, and {digest} was pushed", self.reference);
        }
        Ok(digest)
    }

    /// Pushes a chart as `helm push` does (helm v4, pkg/registry/client.go), and returns its digest. With `is_trial`, nothing is pushed.
    pub(crate) async fn push_chart(
        &self,
        chart: &[u8],
        metadata: &str,
        created: i64,
        is_trial: bool,
    ) -> Result<String> {
        let metadata: Value = yaml_serde::from_str(metadata).context("the metadata of the chart")?;
        let (name, version) =
            (metadata["name"].as_str().unwrap_or_default(), metadata["version"].as_str().unwrap_or_default());
        if self.reference.repository().rsplit('/').next() != Some(name) || self.reference.tag() != Some(version) {
            bail!("`{}` does not end with the name and the version of the chart, `{name}:{version}`", self.reference);
        }
        let config = serde_json::to_vec(&metadata)?;
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": OCI_IMAGE_MEDIA_TYPE,
            "config": descriptor(CHART_CONFIG, &config),
            "layers": [descriptor(CHART_LAYER, chart)],
            "annotations": chart_annotations(&metadata, created)?,
        });
        let digest = digest_of(&serde_json::to_vec(&manifest)?);
        if self.is_new(&digest, "chart").await? && !is_trial {
            self.push(Some(version), &manifest, &[chart, &config]).await?;
        }
        Ok(digest)
    }

    /// Whether the tag does not exist. An error if it exists with another digest.
    async fn is_new(&self, digest: &str, kind: &str) -> Result<bool> {
        match self.digest().await? {
            None => Ok(true),
            Some(existing) if existing == digest => Ok(false),
            Some(existing) => bail!(
                "`{}` exists with {existing}, and this {kind} has {digest}; a release is not overwritten: release a new version",
                self.reference
            ),
        }
    }

    /// Pulls a module.
    pub(crate) async fn pull_module(&self) -> Result<Vec<u8>> {
        let (manifest, _) = self.manifest(&self.reference).await?;
        let layers = manifest["layers"].as_array().map_or(&[][..], Vec::as_slice);
        match layers {
            [layer] if layer["mediaType"] == WASM_LAYER_MEDIA_TYPE => self.blob(layer).await,
            _ => bail!(
                "`{}` is not a module: it does not have one layer of the type {WASM_LAYER_MEDIA_TYPE}",
                self.reference
            ),
        }
    }

    /// A reference to another artifact of the repository, by digest or tag.
    pub(crate) fn sibling(&self, tag_or_digest: &str) -> Reference {
        let (registry, repository) = (self.reference.registry().to_owned(), self.reference.repository().to_owned());
        if tag_or_digest.starts_with("sha256:") {
            Reference::with_digest(registry, repository, tag_or_digest.to_owned())
        } else {
            Reference::with_tag(registry, repository, tag_or_digest.to_owned())
        }
    }

    /// A manifest, and its descriptor.
    pub(crate) async fn manifest(&self, reference: &Reference) -> Result<(Value, Value)> {
        let accepted = [OCI_IMAGE_MEDIA_TYPE, OCI_IMAGE_INDEX_MEDIA_TYPE];
        let pulled = self.client.pull_manifest_raw(reference, &self.auth, &accepted).await;
        let (bytes, _) = pulled.with_context(|| format!("cannot pull `{reference}`"))?;
        let manifest: Value = serde_json::from_slice(&bytes)?;
        let media_type = manifest["mediaType"].as_str().unwrap_or(OCI_IMAGE_MEDIA_TYPE).to_owned();
        Ok((manifest, descriptor(&media_type, &bytes)))
    }

    /// The content of a descriptor.
    pub(crate) async fn blob(&self, descriptor: &Value) -> Result<Vec<u8>> {
        let descriptor: OciDescriptor = serde_json::from_value(descriptor.clone()).context("an invalid descriptor")?;
        let mut bytes = Vec::new();
        self.client
            .pull_blob(&self.reference, &descriptor, &mut bytes)
            .await
            .with_context(|| format!("cannot pull {} of `{}`", descriptor.digest, self.reference))?;
        if digest_of(&bytes) != descriptor.digest {
            bail!("the content of {} in `{}` has another digest", descriptor.digest, self.reference);
        }
        Ok(bytes)
    }

    /// Pushes a manifest with its blobs, under a tag or, without one, its digest. Returns its descriptor.
    pub(crate) async fn push(&self, tag: Option<&str>, manifest: &Value, blobs: &[&[u8]]) -> Result<Value> {
        self.client.auth(&self.reference, &self.auth, RegistryOperation::Push).await?;
        for blob in blobs {
            let pushed = self.client.push_blob(&self.reference, blob, &digest_of(blob)).await;
            pushed.with_context(|| format!("cannot push to `{}`", self.reference))?;
        }
        let media_type = manifest["mediaType"].as_str().unwrap_or(OCI_IMAGE_MEDIA_TYPE);
        let bytes = serde_json::to_vec(manifest)?;
        let descriptor = descriptor(media_type, &bytes);
        let name = tag.unwrap_or_else(|| descriptor["digest"].as_str().unwrap_or_default());
        self.client
            .push_manifest_raw(&self.sibling(name), bytes, media_type.parse()?)
            .await
            .with_context(|| format!("cannot push to `{}`", self.reference))?;
        Ok(descriptor)
    }

    /// The manifests that refer to a digest. Registries without the API for referrers have them in an index whose tag is the digest.
    pub(crate) async fn referrers(&self, digest: &str) -> Result<Vec<Value>> {
        // Fills the credentials that the call for referrers uses.
        self.client.store_auth_if_needed(self.reference.resolve_registry(), &self.auth).await;
        if let Ok(index) = self.client.pull_referrers(&self.sibling(digest), None).await {
            let index = serde_json::to_value(index)?;
            return Ok(index["manifests"].as_array().cloned().unwrap_or_default());
        }
        Ok(self
            .fallback_index(digest)
            .await?
            .map_or_else(Vec::new, |index| index["manifests"].as_array().cloned().unwrap_or_default()))
    }

    /// Adds a manifest to the index of a digest, which is what a client does for a registry without the API for referrers.
    pub(crate) async fn add_referrer(&self, digest: &str, referrer: Value) -> Result<()> {
        if self.client.pull_referrers(&self.sibling(digest), None).await.is_ok() {
            return Ok(());
        }
        let mut index = self
            .fallback_index(digest)
            .await?
            .unwrap_or_else(|| json!({"schemaVersion": 2, "mediaType": OCI_IMAGE_INDEX_MEDIA_TYPE, "manifests": []}));
        let manifests = index["manifests"].as_array_mut().context("the index of referrers has no manifests")?;
        if !manifests.iter().any(|manifest| manifest["digest"] == referrer["digest"]) {
            manifests.push(referrer);
            self.push(Some(&digest.replace(':', "-")), &index, &[]).await?;
        }
        Ok(())
    }

    async fn fallback_index(&self, digest: &str) -> Result<Option<Value>> {
        let reference = self.sibling(&digest.replace(':', "-"));
        match self.client.pull_manifest_raw(&reference, &self.auth, &[OCI_IMAGE_INDEX_MEDIA_TYPE]).await {
            Ok((bytes, _)) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if is_missing(&error) => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot pull `{reference}`")),
        }
    }
}

/// Whether an error says that something is not there.
fn is_missing(error: &OciDistributionError) -> bool {
    match error {
        OciDistributionError::ImageManifestNotFoundError(_) => true,
        OciDistributionError::ServerError { code, .. } => *code == 404,
        OciDistributionError::RegistryError { envelope, .. } => envelope.errors.iter().any(|error| {
            matches!(error.code, OciErrorCode::ManifestUnknown | OciErrorCode::NameUnknown | OciErrorCode::NotFound)
        }),
        _ => false,
    }
}
