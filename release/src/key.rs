//! Keys: ECDSA on P-256 with SHA-256, which is what cosign makes.

use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use p256::SecretKey;
use p256::ecdsa::signature::{Signer as _, Verifier as _};
use p256::ecdsa::{DerSignature, SigningKey, VerifyingKey};
use p256::elliptic_curve::rand_core::OsRng;
use p256::pkcs8::{
    DecodePrivateKey as _, DecodePublicKey as _, EncodePrivateKey as _, EncodePublicKey as _, LineEnding,
};
use sha2::{Digest as _, Sha256};

/// A private key.
pub(crate) struct PrivateKey(SigningKey);

/// A public key.
pub(crate) struct PublicKey(VerifyingKey);

impl PrivateKey {
    /// A random key.
    pub(crate) fn new() -> Self {
        Self(SigningKey::random(&mut OsRng))
    }

    /// Reads a PEM file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let pem = crate::text(path).context("the private key")?;
        if pem.contains("ENCRYPTED") {
            return Err(anyhow!(
                "the private key `{}` is encrypted; give it unencrypted: `openssl pkcs8 -topk8 -nocrypt`",
                path.display()
            ));
        }
        SecretKey::from_pkcs8_pem(&pem)
            .ok()
            .or_else(|| SecretKey::from_sec1_pem(&pem).ok())
            .map(|key| Self(key.into()))
            .ok_or_else(|| {
                anyhow!(
                    "`{}` is not a private key for ECDSA on P-256 as PEM; `container-patch-release new-key FILE` makes one",
                    path.display()
                )
            })
    }

    /// The key as PEM (PKCS #8).
    pub(crate) fn pem(&self) -> Result<String> {
        Ok(self.0.to_pkcs8_pem(LineEnding::LF)?.to_string())
    }

    pub(crate) fn public(&self) -> PublicKey {
        PublicKey(*self.0.verifying_key())
    }

    /// The signature of a message, in DER.
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let signature: DerSignature = self.0.sign(message);
        signature.as_bytes().to_vec()
    }
}

impl PublicKey {
    /// Reads a PEM file.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let pem = crate::text(path).context("the public key")?;
        VerifyingKey::from_public_key_pem(&pem).map(Self).map_err(|_| {
            anyhow!("`{}` is not a public key for ECDSA on P-256 as PEM (-----BEGIN PUBLIC KEY-----)", path.display())
        })
    }

    /// The key as PEM.
    pub(crate) fn pem(&self) -> Result<String> {
        Ok(self.0.to_public_key_pem(LineEnding::LF)?)
    }

    /// The name of the key in Sigstore bundles, as cosign writes it.
    pub(crate) fn hint(&self) -> Result<String> {
        Ok(STANDARD.encode(Sha256::digest(self.0.to_public_key_der()?)))
    }

    /// Whether the key has signed the message.
    pub(crate) fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        DerSignature::try_from(signature).is_ok_and(|signature| self.0.verify(message, &signature).is_ok())
    }
}
