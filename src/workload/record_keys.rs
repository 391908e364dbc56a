//! Records of digests: annotations of a pod template with the digest that the tag of each container had when the template was
//! written, `pin.container-patch.dev/<container>: name:tag@sha256:…`. The image fields are not changed.
//!
//! A record is another way to write a digest. It is valid if the image field has no digest, and the record has the same normalised
//! name and tag.

use std::borrow::Cow;
use std::collections::HashMap;

use super::site::ImageSite;
use crate::image::{Digest, Reference};
use crate::sanitized::Sanitized;

/// Prefix of the key of a container's record.
pub const CONTAINER: &str = "pin.container-patch.dev/";
/// Prefix of the key of an image volume's record. It differs from the prefix of containers, because a container can have the same
/// name. The name itself cannot be extended, because it can have all of the 63 characters that are allowed after the `/`.
pub const VOLUME: &str = "volume.pin.container-patch.dev/";
/// Prefix of the key for a container named `recorded-at`, because [`RECORDED_AT`] has another meaning.
pub const OTHER_CONTAINER: &str = "container.pin.container-patch.dev/";

/// When the records were written: an RFC 3339 time with microseconds.
pub const RECORDED_AT: &str = "pin.container-patch.dev/recorded-at";

/// On a pod, the containers whose digests the pinning policy has resolved itself, separated by commas.
pub const RESOLVED: &str = "container-patch.dev/resolved";

/// Whether this policy writes an annotation.
#[must_use]
pub fn is_ours(key: &str) -> bool {
    is_record(key) || key == RESOLVED
}

/// Whether an annotation of a pod template belongs to its records. This includes their time.
pub(super) fn is_record(key: &str) -> bool {
    [CONTAINER, VOLUME, OTHER_CONTAINER].iter().any(|prefix| key.starts_with(prefix))
}

impl ImageSite<'_> {
    /// The key of the record for this site. Nothing if its name is not valid in Kubernetes.
    #[must_use]
    pub fn record_key(&self) -> Option<String> {
        let name = self.name.as_deref().filter(|name| is_dns_label(name) && self.json.is_some())?;
        let prefix = match self.field.noun {
            "volume" => VOLUME,
            _ if RECORDED_AT.strip_prefix(CONTAINER) == Some(name) => OTHER_CONTAINER,
            _ => CONTAINER,
        };
        Some([prefix, name].concat())
    }

    /// The name of this site in [`RESOLVED`].
    #[must_use]
    pub fn short_name(&self) -> String {
        let name = self.name.as_deref().unwrap_or_default();
        if self.field.noun == "volume" { format!("volume/{name}") } else { name.to_owned() }
    }

    /// The image of a pod template with the digest of its record. Nothing if it has no valid record, or is in a pod.
    #[must_use]
    pub fn recorded(&self) -> Option<String> {
        let record = self.record.as_deref().filter(|_| self.is_of_template())?;
        let image = Reference::parse(&self.image).ok()?;
        let digest = recorded_digest(record, &image)?;
        Some(format!("{image}@{}", digest.as_str()))
    }

    /// Whether its record is about the name and tag of its image. If the image field has a digest, the record is not used.
    pub(super) fn has_record(&self) -> bool {
        let image = Reference::parse(&self.image).ok();
        image.is_some_and(|image| self.record.as_deref().is_some_and(|record| digest_of(record, &image).is_some()))
    }

    /// Whether it is in a pod template rather than in a pod.
    #[must_use]
    pub fn is_of_template(&self) -> bool {
        !self.template.is_empty()
    }
}

/// The digest that a record gives to an image field without a digest.
#[must_use]
pub fn recorded_digest<'r>(record: &'r str, image: &Reference<'_>) -> Option<Digest<'r>> {
    if image.digest().is_some() { None } else { digest_of(record, image) }
}

/// The digest of a record that is about the name and tag of an image.
#[must_use]
pub fn digest_of<'r>(record: &'r str, image: &Reference<'_>) -> Option<Digest<'r>> {
    let record = Reference::parse(record).ok()?;
    let digest = record.digest()?;
    (record.tagged()? == image.tagged()?).then_some(digest)
}

/// Whether a name is an RFC 1123 label, like the names of containers and volumes.
fn is_dns_label(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.len() <= 63
        && name.bytes().all(|byte| is_inner(byte) || byte == b'-')
        && [name.bytes().next(), name.bytes().next_back()].into_iter().all(|byte| byte.is_some_and(is_inner))
}

/// Gives each site its record.
///
/// # Errors
/// If a key is given twice, because a controller may use another one of the values than this policy.
pub(super) fn assign<'a>(sites: &mut [ImageSite<'a>], records: &[(Cow<'a, str>, Cow<'a, str>)]) -> Result<(), String> {
    let mut by_key: HashMap<&str, &Cow<'a, str>> = HashMap::with_capacity(records.len());
    for (key, value) in records {
        if by_key.insert(key, value).is_some() {
            return Err(format!("`{}` is given twice", Sanitized(key)));
        }
    }
    for site in sites {
        site.record = site.record_key().and_then(|key| by_key.get(key.as_str()).map(|value| (*value).clone()));
    }
    Ok(())
}
