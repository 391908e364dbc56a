//! Digests of content.

use std::fmt::Write as _;

use oci_client::errors::DigestError;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// The digest of content, after comparing it with the digests that are expected. The first of them is the result; without one, the
/// SHA-256 is.
///
/// # Errors
/// When a digest differs, or its algorithm is unknown.
pub(crate) fn verified(content: &[u8], expected: &[Option<&str>]) -> Result<String, DigestError> {
    let mut expected = expected.iter().flatten();
    let Some(first) = expected.next() else { return Ok(digest("sha256", content).unwrap_or_default()) };
    for expected in std::iter::once(first).chain(expected) {
        let (algorithm, _) = expected.split_once(':').ok_or(DigestError::MissingAlgorithm)?;
        let actual =
            digest(algorithm, content).ok_or_else(|| DigestError::UnsupportedAlgorithm(algorithm.to_owned()))?;
        if actual != **expected {
            return Err(DigestError::VerificationError { expected: (*expected).to_owned(), actual });
        }
    }
    Ok((*first).to_owned())
}

/// Whether two digests of the same algorithm differ.
///
/// # Errors
/// When one of them has no algorithm.
pub(super) fn differ(one: &str, other: &str) -> Result<bool, DigestError> {
    let algorithm = |digest: &str| digest.split_once(':').map(|(algorithm, _)| algorithm.to_owned());
    let (Some(of_one), Some(of_other)) = (algorithm(one), algorithm(other)) else {
        return Err(DigestError::MissingAlgorithm);
    };
    Ok(of_one == of_other && one != other)
}

fn digest(algorithm: &str, content: &[u8]) -> Option<String> {
    let hash = match algorithm {
        "sha256" => Sha256::digest(content).to_vec(),
        "sha384" => Sha384::digest(content).to_vec(),
        "sha512" => Sha512::digest(content).to_vec(),
        _ => return None,
    };
    let mut text = format!("{algorithm}:");
    for byte in hash {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::{differ, verified};

    /// The digests of `abc` (FIPS 180-2, appendix A to D).
    const SHA256: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    const SHA384: &str =
        "sha384:cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7";
    const SHA512: &str = "sha512:ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f";

    fn error(expected: &[Option<&str>]) -> String {
        verified(b"abc", expected).unwrap_err().to_string()
    }

    #[test]
    fn content_is_compared_with_every_expected_digest() {
        assert_eq!(verified(b"abc", &[None, None]).unwrap(), SHA256);
        for digest in [SHA256, SHA384, SHA512] {
            assert_eq!(verified(b"abc", &[Some(digest), None]).unwrap(), digest);
            assert_eq!(verified(b"abc", &[Some(digest), Some(SHA256)]).unwrap(), digest);
            assert_eq!(verified(b"abc", &[None, Some(digest)]).unwrap(), digest);
            let other = digest.replace('c', "d");
            let expected = format!("Invalid digest. Expected {other}, got {digest}");
            assert_eq!(error(&[Some(&other), Some(digest)]), expected);
            assert_eq!(error(&[Some(digest), Some(&other)]), expected);
        }
    }

    #[test]
    fn an_unknown_digest_is_an_error() {
        assert_eq!(error(&[Some("secret")]), "Missing digest algorithm");
        assert_eq!(
            error(&[Some(SHA256), Some("md5:900150983cd24fb0d6963f7d28e17f72")]),
            "Unsupported digest algorithm: md5"
        );
    }

    #[test]
    fn digests_of_two_algorithms_do_not_differ() {
        assert!(differ(SHA256, &SHA256.replace('c', "d")).unwrap());
        assert!(!differ(SHA256, SHA256).unwrap());
        assert!(!differ(SHA256, SHA512).unwrap());
        assert!(differ("secret", SHA256).is_err());
    }
}
