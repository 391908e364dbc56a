//! Image references, held against the parser of another library, and their registries against a parser of URLs.

use container_patch_policy::image::{Reference, ReferenceError};
use url::Url;

use crate::properties::{Broken, ensure};

/// A text is read as the library reads it, or there is an explanation; and a normalised name is its own normalised name.
///
/// # Errors
/// What breaks it.
pub fn are_read_as_the_library_reads_them(text: &str) -> Result<(), Broken> {
    let ours = Reference::parse(text).ok().map(|reference| reference.normalized());
    let library = by_the_library(text);
    ensure!(
        ours == library || explained(text, ours.as_deref(), library.as_deref()).is_some(),
        "{text:?}\n  ours:    {ours:?}\n  library: {library:?}\n  refused: {:?}",
        Reference::parse(text).err()
    );
    if let Some(name) = ours {
        let again = Reference::parse(&name).map(|reference| reference.normalized());
        ensure!(again.as_ref() == Ok(&name), "{text:?} has the normalised name `{name}`, and that has {again:?}");
    }
    Ok(())
}

/// References whose URLs have the same host and port have the same registry in their normalised names: that name follows from
/// the host and port of the URL alone, by the rules that clients of registries share.
///
/// # Errors
/// What breaks it.
pub fn name_each_registry_in_one_way(text: &str) -> Result<(), Broken> {
    let Ok(reference) = Reference::parse(text) else { return Ok(()) };
    let Some(written) = reference.host() else { return Ok(()) };
    // Labels that begin with `xn--` have rules of their own, which are for resolvers.
    let Ok(url) = Url::parse(&format!("https://{written}/")) else { return Ok(()) };
    let host = url.host_str().unwrap_or_default();
    let expected = match url.port() {
        _ if HUB.contains(&host) && url.port().is_none() => "docker.io".to_owned(),
        Some(port) => format!("{host}:{port}"),
        None if host == "localhost" || host.contains(['.', ':']) => host.to_owned(),
        None => format!("{host}:443"),
    };
    let found = reference.normalized_registry();
    ensure!(found == expected, "{text:?} is on `{url}`, and its registry is `{found}` instead of `{expected}`");
    Ok(())
}

/// The hosts of Docker Hub.
const HUB: [&str; 4] = ["docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"];

/// What the library says of a text: the normalised name, or nothing where it refuses it.
fn by_the_library(text: &str) -> Option<String> {
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

/// Why the policy and the library may part ways about a text, and why the policy is right.
fn explained(text: &str, ours: Option<&str>, library: Option<&str>) -> Option<&'static str> {
    let parsed = Reference::parse(text);
    let host = parsed.as_ref().ok().and_then(Reference::host);
    match (ours, library) {
        (Some(ours), Some(theirs)) if ours.eq_ignore_ascii_case(theirs) && host.is_some() => {
            Some("host names know no case, so ours is lower case")
        }
        (Some(_), Some(theirs)) if theirs.contains(":443/") => Some("443 is the port of HTTPS, so ours leaves it out"),
        (Some(ours), Some(theirs)) if Some(ours) == on_docker_hub(theirs).as_deref() => {
            Some("Docker Hub has several hosts; ours are all docker.io, in any case")
        }
        (Some(_), _) if host.is_some_and(|host| !host.contains(['.', ':']) && host != "localhost") => {
            Some("distribution takes a first component with an upper-case letter for a host; the library does not")
        }
        (Some(_), None) if host.is_some_and(|host| host.starts_with('[')) => {
            Some("the library knows no IPv6 hosts; the distribution grammar does")
        }
        (None, Some(_)) if !text.is_ascii() => Some("the library takes letters of every script in tags"),
        (None, Some(_)) => match parsed {
            Err(ReferenceError::ImageId) => Some(
                "runtimes take digits, or an algorithm and digits, for an image ID; the library takes them for a name",
            ),
            Err(ReferenceError::Port(_) | ReferenceError::PortZero { .. }) => {
                Some("the library takes any digits for a port")
            }
            Err(ReferenceError::Address { .. } | ReferenceError::Ipv4(_)) => {
                Some("the library takes any spelling of an IP address; ours has one, so that patterns match it")
            }
            Err(ReferenceError::NameTooLong(_) | ReferenceError::TooLong(_)) => {
                Some("the library counts the path without `library/` or the host")
            }
            Err(ReferenceError::Host(host)) if host.starts_with('[') => {
                Some("the library takes any digits and colons for IPv6")
            }
            // Runtimes part ways here: to some it is a host that no DNS knows, to others a path.
            Err(ReferenceError::Host(host)) if host.contains('_') => {
                Some("the library takes a host that is no domain name; an underscore stands in none")
            }
            Err(ReferenceError::Digest(_) | ReferenceError::DigestLength { .. }) => {
                Some("the library also takes algorithms and digits that no container runtime does")
            }
            _ => None,
        },
        _ => None,
    }
}

/// A name on Docker Hub as Docker Hub has it; nothing where it is on another registry.
fn on_docker_hub(name: &str) -> Option<String> {
    let (host, path) = name.split_once('/')?;
    let is_hub = HUB.iter().any(|known| host.eq_ignore_ascii_case(known));
    let namespace = if path.contains('/') { "" } else { "library/" };
    is_hub.then(|| format!("docker.io/{namespace}{path}"))
}
