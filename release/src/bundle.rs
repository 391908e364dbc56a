//! Sigstore bundles, the format of cosign 3: the signature of a file, or a signed statement about an artifact that is attached to it as a
//! referrer (cosign's pkg/oci/remote/write.go, cmd/cosign/cli/sign/sign.go, v3).

use anyhow::{Context as _, Result, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use chrono::{SecondsFormat, Utc};
use oci_client::manifest::OCI_IMAGE_MEDIA_TYPE;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::key::{PrivateKey, PublicKey};
use crate::registry::{Registry, descriptor};

/// The type of a statement that is nothing but a signature.
pub(crate) const SIGNATURE_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";
/// The type of a statement that has an SBOM.
pub(crate) const SPDX_PREDICATE: &str = "https://spdx.dev/Document";
const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
const EMPTY: &str = "application/vnd.oci.empty.v1+json";
const STATEMENT: &str = "https://in-toto.io/Statement/v1";
const PAYLOAD: &str = "application/vnd.in-toto+json";

/// A statement about an artifact.
pub(crate) fn statement(digest: &str, predicate_type: &str, predicate: &Value) -> Result<Vec<u8>> {
    let (algorithm, hexadecimal) = digest.split_once(':').ok_or_else(|| anyhow!("`{digest}` is not a digest"))?;
    Ok(serde_json::to_vec(&json!({
        "_type": STATEMENT,
        "subject": [{"digest": {algorithm: hexadecimal}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }))?)
}

/// What is signed of a payload in a DSSE envelope.
fn signed_bytes(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut bytes = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    bytes.extend_from_slice(payload);
    bytes
}

/// The bundle of a signed statement.
pub(crate) fn signed_statement(key: &PrivateKey, statement: &[u8]) -> Result<Vec<u8>> {
    let signature = key.sign(&signed_bytes(PAYLOAD, statement));
    Ok(serde_json::to_vec(&json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()?}},
        "dsseEnvelope": {
            "payload": STANDARD.encode(statement),
            "payloadType": PAYLOAD,
            "signatures": [{"sig": STANDARD.encode(signature)}],
        },
    }))?)
}

/// The bundle of a signed file.
pub(crate) fn signed_blob(key: &PrivateKey, content: &[u8]) -> Result<Vec<u8>> {
    Ok(serde_json::to_vec(&json!({
        "mediaType": BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": key.public().hint()?}},
        "messageSignature": {
            "messageDigest": {"algorithm": "SHA2_256", "digest": STANDARD.encode(Sha256::digest(content))},
            "signature": STANDARD.encode(key.sign(content)),
        },
    }))?)
}

/// Attaches a bundle to an artifact.
pub(crate) async fn attach(registry: &Registry, digest: &str, predicate_type: &str, bundle: &[u8]) -> Result<()> {
    let (_, subject) = registry.manifest(&registry.sibling(digest)).await?;
    let annotations = json!({
        "dev.sigstore.bundle.content": "dsse-envelope",
        "dev.sigstore.bundle.predicateType": predicate_type,
        "org.opencontainers.image.created": Utc::now().to_rfc3339_opts(SecondsFormat::Secs, true),
    });
    let config = b"{}";
    let mut config_descriptor = descriptor(EMPTY, config);
    config_descriptor["artifactType"] = json!(BUNDLE);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": OCI_IMAGE_MEDIA_TYPE,
        "config": config_descriptor,
        "layers": [descriptor(BUNDLE, bundle)],
        "subject": subject,
        "annotations": annotations,
        "artifactType": BUNDLE,
    });
    let mut referrer = registry.push(None, &manifest, &[bundle, config]).await?;
    referrer["artifactType"] = json!(BUNDLE);
    referrer["annotations"] = annotations;
    registry.add_referrer(digest, referrer).await
}

/// Finds the statements of a type about an artifact that this key has signed, and returns what they state. There is at least one.
pub(crate) async fn verify(
    registry: &Registry,
    key: &PublicKey,
    digest: &str,
    predicate_type: &str,
) -> Result<Vec<Value>> {
    let artifact = registry.sibling(digest);
    let (mut predicates, mut problems) = (vec![], vec![]);
    for referrer in registry.referrers(digest).await? {
        match stated(registry, key, digest, predicate_type, &referrer).await {
            Ok(Some(predicate)) => predicates.push(predicate),
            Ok(None) => {}
            Err(error) => problems.push(format!("{error:#}")),
        }
    }
    if !predicates.is_empty() {
        return Ok(predicates);
    }
    if problems.is_empty() {
        bail!("`{artifact}` has no Sigstore bundle with a statement of the type {predicate_type}");
    }
    bail!(
        "no Sigstore bundle of `{artifact}` with a statement of the type {predicate_type} verifies: {}",
        problems.join("; ")
    )
}

/// What a referrer states, if it is a bundle with a statement of the type.
async fn stated(
    registry: &Registry,
    key: &PublicKey,
    digest: &str,
    predicate_type: &str,
    referrer: &Value,
) -> Result<Option<Value>> {
    let name = referrer["digest"].as_str().context("a referrer without a digest")?;
    let (manifest, _) = registry.manifest(&registry.sibling(name)).await?;
    let Some([layer]) = manifest["layers"].as_array().map(Vec::as_slice) else { return Ok(None) };
    if layer["mediaType"] != BUNDLE {
        return Ok(None);
    }
    let bundle: Value = serde_json::from_slice(&registry.blob(layer).await?).context("a bundle that is not JSON")?;
    let envelope = &bundle["dsseEnvelope"];
    let payload = decoded(&envelope["payload"]).context("the payload of the envelope")?;
    let statement: Value = serde_json::from_slice(&payload).context("a statement that is not JSON")?;
    if statement["predicateType"] != predicate_type {
        return Ok(None);
    }
    let payload_type = envelope["payloadType"].as_str().unwrap_or_default();
    let signatures = envelope["signatures"].as_array().map_or(&[][..], Vec::as_slice);
    let signed = signed_bytes(payload_type, &payload);
    let by_key =
        |signature: &Value| decoded(&signature["sig"]).is_ok_and(|signature| key.has_signed(&signed, &signature));
    if payload_type != PAYLOAD || statement["_type"] != STATEMENT || !signatures.iter().any(by_key) {
        bail!("{name} is not signed by this key");
    }
    let (algorithm, hexadecimal) = digest.split_once(':').unwrap_or_default();
    let subjects = statement["subject"].as_array().map_or(&[][..], Vec::as_slice);
    if !subjects.iter().any(|subject| subject["digest"][algorithm] == hexadecimal) {
        bail!("{name} is about another digest: {}", statement["subject"]);
    }
    Ok(Some(statement["predicate"].clone()))
}

/// Verifies the bundle of a file.
pub(crate) fn verify_blob(key: &PublicKey, bundle: &[u8], content: &[u8]) -> Result<()> {
    let bundle: Value = serde_json::from_slice(bundle).context("the bundle is not JSON")?;
    let signed = &bundle["messageSignature"];
    if bundle["mediaType"] != BUNDLE || signed.is_null() {
        bail!("the bundle is not a Sigstore bundle {BUNDLE} of a file");
    }
    if decoded(&signed["messageDigest"]["digest"])? != Sha256::digest(content).as_slice() {
        bail!("the file has changed since it was signed");
    }
    if !key.has_signed(content, &decoded(&signed["signature"])?) {
        bail!("the file is not signed by this key");
    }
    Ok(())
}

fn decoded(value: &Value) -> Result<Vec<u8>> {
    Ok(STANDARD.decode(value.as_str().context("a missing value")?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_verifies_with_its_bundle_and_key_only() {
        let (key, other) = (PrivateKey::new(), PrivateKey::new());
        let bundle = signed_blob(&key, b"content").unwrap();
        verify_blob(&key.public(), &bundle, b"content").unwrap();
        let changed = verify_blob(&key.public(), &bundle, b"contenT").unwrap_err().to_string();
        assert_eq!(changed, "the file has changed since it was signed");
        let by_other = verify_blob(&other.public(), &bundle, b"content").unwrap_err().to_string();
        assert_eq!(by_other, "the file is not signed by this key");
    }

    /// The example of the specification of DSSE.
    #[test]
    fn the_type_of_a_payload_is_signed_with_it() {
        let expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world";
        assert_eq!(signed_bytes("http://example.com/HelloWorld", b"hello world"), expected);
    }
}
