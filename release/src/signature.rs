//! Signatures in the older format of cosign, which policy-server verifies: an image with the tag `sha256-….sig`, whose layers are
//! statements, with the signature in an annotation of the layer (cosign's specs/SIGNATURE_SPEC.md).

use std::str::FromStr as _;

use anyhow::{Context as _, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use oci_client::secrets::RegistryAuth;
use serde_json::json;
use sigstore::cosign::verification_constraint::{PublicKeyVerifier, VerificationConstraint};
use sigstore::cosign::{ClientBuilder, CosignCapabilities as _, verify_constraints};
use sigstore::registry::{Auth, ClientConfig, ClientProtocol, OciReference};

use crate::key::{PrivateKey, PublicKey};
use crate::registry::{Registry, descriptor, digest_of, plain_http};

const LAYER: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Signs a digest, and pushes the signature beside it. A signature by another key that is there already is replaced.
pub(crate) async fn attach(registry: &Registry, key: &PrivateKey, digest: &str) -> Result<()> {
    let name = format!("{}/{}", registry.reference.registry(), registry.reference.repository());
    let payload = serde_json::to_vec(&json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest},
            "type": "cosign container image signature",
        },
        "optional": null,
    }))?;
    let config = serde_json::to_vec(&json!({
        "architecture": "",
        "config": {},
        "os": "",
        "rootfs": {"type": "layers", "diff_ids": [digest_of(&payload)]},
    }))?;
    let mut layer = descriptor(LAYER, &payload);
    layer["annotations"] = json!({SIGNATURE: STANDARD.encode(key.sign(&payload))});
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": descriptor(CONFIG, &config),
        "layers": [layer],
    });
    registry.push(Some(&tag(digest)), &manifest, &[&payload, &config]).await?;
    Ok(())
}

/// Verifies the signature of a digest with the crate that policy-server verifies modules with.
pub(crate) async fn verify(registry: &Registry, key: &PublicKey, digest: &str) -> Result<()> {
    let image = registry.sibling(digest);
    let config = ClientConfig { protocol: ClientProtocol::HttpsExcept(plain_http(&image)), ..ClientConfig::default() };
    let mut client = ClientBuilder::default().with_oci_client_config(config).build()?;
    let auth = match &registry.auth {
        RegistryAuth::Basic(user, password) => Auth::Basic(user.clone(), password.clone()),
        _ => Auth::Anonymous,
    };
    let signatures = OciReference::from_str(&registry.sibling(&tag(digest)).whole())?;
    let layers = client
        .trusted_signature_layers(&auth, digest, &signatures)
        .await
        .with_context(|| format!("the signature of `{image}` in the format that policy-server verifies"))?;
    let constraint: Box<dyn VerificationConstraint> = Box::new(PublicKeyVerifier::try_from(key.pem()?.as_bytes())?);
    verify_constraints(&layers, [constraint].iter()).map_err(|_| {
        anyhow!("no signature of `{image}` in the format that policy-server verifies is by this key, for this digest")
    })
}

fn tag(digest: &str) -> String {
    format!("{}.sig", digest.replace(':', "-"))
}
