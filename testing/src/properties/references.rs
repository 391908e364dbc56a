//! Properties of image references: the policy agrees with the parser of `oci-spec` and, about registries, with a URL parser.

use container_patch_policy::image::{Reference, ReferenceError};
use url::Url;

use crate::failure::{Failure, ensure};

/// The policy and `oci-spec` parse a text alike, or the difference is explained. Normalising a normalised name does not change
/// it.
///
/// # Errors
/// If it does not hold.
pub fn parses_like_oci_spec(text: &str) -> Result<(), Failure> {
    let ours = Reference::parse(text).ok().map(|reference| reference.normalized());
    let theirs = parse_with_oci_spec(text);
    ensure!(
        ours == theirs || explanation(text, ours.as_deref(), theirs.as_deref()).is_some(),
        "{text:?}\n  policy:   {ours:?}\n  oci-spec: {theirs:?}\n  error:    {:?}",
        Reference::parse(text).err()
    );
    if let Some(name) = ours {
        let again = Reference::parse(&name).map(|reference| reference.normalized());
        ensure!(again.as_ref() == Ok(&name), "{text:?} is normalised to `{name}`, and that is normalised to {again:?}");
    }
    Ok(())
}

/// The registry in a normalised name follows from host and port of the URL alone, so references to the same registry name it
/// alike.
///
/// # Errors
/// If it does not hold.
pub fn each_registry_has_one_name(text: &str) -> Result<(), Failure> {
    let Ok(reference) = Reference::parse(text) else { return Ok(()) };
    let Some(written) = reference.host() else { return Ok(()) };
    // Some labels that begin with `xn--` are invalid in URLs. The policy leaves them to the resolver.
    let Ok(url) = Url::parse(&format!("https://{written}/")) else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    let expected = match url.port() {
        _ if HUB.contains(&host) && url.port().is_none() => "docker.io".to_owned(),
        Some(port) => format!("{host}:{port}"),
        None if host == "localhost" || host.contains(['.', ':']) => host.to_owned(),
        None => format!("{host}:443"),
    };
    let found = reference.normalized_registry();
    ensure!(found == expected, "{text:?} is on `{url}`: expected the registry `{expected}`, found `{found}`");
    Ok(())
}

/// The hosts of Docker Hub.
const HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// The normalised name by `oci-spec`. None if it rejects the text.
fn parse_with_oci_spec(text: &str) -> Option<String> {
    let reference = text.parse::<oci_spec::distribution::Reference>().ok()?;
    let mut name = format!("{}/{}", reference.registry(), reference.repository());
    if let Some(tag) = reference.tag() {
        name += &format!(":{tag}");
    }
    if let Some(digest) = reference.digest() {
        name += &format!("@{digest}");
    }
    Some(name)
}

/// Why the policy and `oci-spec` can differ about a text, and why the policy is right.
fn explanation(text: &str, ours: Option<&str>, theirs: Option<&str>) -> Option<&'static str> {
    let parsed = Reference::parse(text);
    let host = parsed.as_ref().ok().and_then(Reference::host);
    match (ours, theirs) {
        (Some(ours), Some(theirs)) if ours.eq_ignore_ascii_case(theirs) && host.is_some() => {
            Some("host names are case-insensitive; the policy writes them in lower case")
        }
        (Some(_), Some(theirs)) if theirs.contains(":443/") => Some("443 is the port of HTTPS; the policy omits it"),
        (Some(ours), Some(theirs)) if Some(ours) == on_docker_hub(theirs).as_deref() => {
            Some("Docker Hub has several hosts; the policy names all of them docker.io, in any case")
        }
        (Some(_), _) if host.is_some_and(|host| !host.contains(['.', ':']) && host != "localhost") => {
            Some("distribution parses a first component with an upper-case letter as a host; oci-spec does not")
        }
        (Some(_), None) if host.is_some_and(|host| host.starts_with('[')) => {
            Some("oci-spec rejects IPv6 hosts; the distribution grammar has them")
        }
        (None, Some(_)) if !text.is_ascii() => Some("oci-spec accepts letters of every script in tags"),
        (None, Some(_)) => match parsed {
            Err(ReferenceError::ImageId) => Some(
                "runtimes parse digits, or an algorithm and digits, as an image ID; oci-spec parses them as a name",
            ),
            Err(ReferenceError::Port(_) | ReferenceError::PortZero { .. }) => {
                Some("oci-spec accepts any digits as a port")
            }
            Err(ReferenceError::Address { .. } | ReferenceError::Ipv4(_)) => Some(
                "oci-spec accepts every notation of an IP address; the policy accepts one, so that patterns match it",
            ),
            Err(ReferenceError::NameTooLong(_) | ReferenceError::TooLong(_)) => {
                Some("oci-spec counts the path without `library/` or the host")
            }
            Err(ReferenceError::Host(host)) if host.starts_with('[') => {
                Some("oci-spec accepts any digits and colons as IPv6")
            }
            // Runtimes differ: some parse it as a host, which is not valid in DNS, others as a path.
            Err(ReferenceError::Host(host)) if host.contains('_') => {
                Some("oci-spec accepts a host with an underscore, which is not a valid domain name")
            }
            Err(ReferenceError::Digest(_) | ReferenceError::DigestLength { .. }) => {
                Some("oci-spec also accepts algorithms and digests that container runtimes reject")
            }
            _ => None,
        },
        _ => None,
    }
}

/// The canonical form of a name on Docker Hub. None for other registries.
fn on_docker_hub(name: &str) -> Option<String> {
    let (host, path) = name.split_once('/')?;
    let is_hub = HUB.iter().any(|known| host.eq_ignore_ascii_case(known));
    let namespace = if path.contains('/') { "" } else { "library/" };
    is_hub.then(|| format!("docker.io/{namespace}{path}"))
}
