//! Certificates for an engine that is asked over TLS, as the docker CLI finds them.

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use reqwest::{Certificate, ClientBuilder, Identity};

/// The folder of the certificates, if TLS is to be used: `given`, or the folder of docker's configuration if `DOCKER_TLS_VERIFY` has
/// any value. The docker CLI takes `0` for a value, too.
pub(super) fn folder(given: Option<&Path>) -> Option<PathBuf> {
    let is_set = |name: &str| env::var_os(name).filter(|value| !value.is_empty());
    if let Some(given) = given.filter(|given| !given.as_os_str().is_empty()) {
        return Some(given.to_owned());
    }
    is_set("DOCKER_TLS_VERIFY")?;
    let configuration = is_set("DOCKER_CONFIG").map(PathBuf::from);
    Some(configuration.or_else(|| Some(env::home_dir()?.join(".docker"))).unwrap_or_default())
}

/// A client that trusts the CA in a folder, and that has the certificate in it. Without `ca.pem`, it trusts the CAs of the system. The
/// certificate may be missing, because an engine may ask for none.
pub(super) fn with_certificates(mut client: ClientBuilder, folder: &Path) -> Result<ClientBuilder> {
    if let Some(ca) = read(&folder.join("ca.pem"))? {
        let certificates = Certificate::from_pem_bundle(&ca)
            .with_context(|| format!("{} has no valid certificate", folder.join("ca.pem").display()))?;
        client = client.tls_certs_only(certificates);
    }
    let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
    let Some(mut pem) = read(&certificate)? else { return Ok(client) };
    let key_pem = read(&key)?
        .with_context(|| format!("{} belongs to {}, and is missing", key.display(), certificate.display()))?;
    pem.push(b'\n');
    pem.extend(key_pem);
    let identity = Identity::from_pem(&pem).with_context(|| {
        format!("{} and {} are not a certificate and its key", certificate.display(), key.display())
    })?;
    Ok(client.identity(identity))
}

/// The content of a file. `None` if it does not exist.
fn read(file: &Path) -> Result<Option<Vec<u8>>> {
    match fs::read(file) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("cannot read {}", file.display())),
    }
}
