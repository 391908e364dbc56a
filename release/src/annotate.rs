//! The metadata of a policy, in a custom section of its module.
//!
//! `kwctl annotate` (kubewarden-controller, crates/kwctl/src/annotate.rs, 1.36) parses the module and encodes it anew, which changes the
//! section of the code. Here, the section is added at the end, and all other bytes stay those that were built and tested.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use wasm_encoder::{CustomSection, Encode as _};
use wasmparser::{Parser, Payload};

/// Name of the section in which Kubewarden looks for the metadata.
const SECTION: &str = "io.kubewarden.metadata";
const USAGE: &str = "io.kubewarden.policy.usage";
/// Version of the protocol between a waPC policy and its host. kwctl asks the module for it.
const PROTOCOL: &str = "v1";

/// The metadata in the order in which Kubewarden writes it (crates/policy-evaluator/src/policy_metadata.rs). An unknown key is an error
/// here, since Kubewarden would drop it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Metadata {
    protocol_version: Option<String>,
    rules: Vec<Rule>,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
    mutating: bool,
    #[serde(default = "yes")]
    background_audit: bool,
    #[serde(default)]
    execution_mode: ExecutionMode,
    #[serde(default)]
    policy_type: PolicyType,
    #[serde(default)]
    context_aware_resources: BTreeSet<Resource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    host_capabilities: Option<BTreeSet<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    minimum_kubewarden_version: Option<String>,
}

fn yes() -> bool {
    true
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    api_groups: Vec<String>,
    api_versions: Vec<String>,
    resources: Vec<String>,
    operations: Vec<String>,
}

#[derive(Serialize, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    api_version: String,
    kind: String,
}

#[derive(Serialize, Deserialize, Default)]
enum ExecutionMode {
    #[default]
    #[serde(rename = "kubewarden-wapc")]
    KubewardenWapc,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(rename_all = "lowercase")]
enum PolicyType {
    #[default]
    Kubernetes,
    Raw,
}

/// The content of the section, from the metadata as YAML and the page that becomes the usage.
pub(crate) fn metadata(yaml: &str, usage: &str) -> Result<Vec<u8>> {
    let mut metadata: Metadata = yaml_serde::from_str(yaml)?;
    metadata.protocol_version = Some(PROTOCOL.to_owned());
    metadata.annotations.insert(USAGE.to_owned(), usage.to_owned());
    Ok(serde_json::to_vec(&metadata)?)
}

/// The module with the metadata.
pub(crate) fn annotated(module: &[u8], metadata: &[u8]) -> Result<Vec<u8>> {
    if bare(module)?.len() != module.len() {
        bail!("the module has metadata already; give the module that `make policy.wasm` builds");
    }
    let mut annotated = module.to_vec();
    annotated.push(0); // The number of custom sections.
    CustomSection { name: SECTION.into(), data: Cow::Borrowed(metadata) }.encode(&mut annotated);
    Ok(annotated)
}

/// The content of the section of a module.
pub(crate) fn section(module: &[u8]) -> Result<Vec<u8>> {
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.context("this is not a WebAssembly module")?
            && section.name() == SECTION
        {
            return Ok(section.data().to_vec());
        }
    }
    bail!("the module has no metadata; `container-patch-release annotate` adds it")
}

/// The annotations of a module.
pub(crate) fn annotations(module: &[u8]) -> Result<BTreeMap<String, String>> {
    let metadata: Metadata = serde_json::from_slice(&section(module)?).context("the metadata of the module")?;
    Ok(metadata.annotations)
}

/// The module without its metadata.
pub(crate) fn bare(module: &[u8]) -> Result<Vec<u8>> {
    let (mut bare, mut kept_until) = (Vec::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        if let Payload::CustomSection(section) = payload.context("this is not a WebAssembly module")?
            && section.name() == SECTION
        {
            let content = section.range();
            let mut length = Vec::new();
            (content.end - content.start).encode(&mut length);
            bare.extend_from_slice(&module[kept_until..content.start - length.len() - 1]);
            kept_until = content.end;
        }
    }
    bare.extend_from_slice(&module[kept_until..]);
    Ok(bare)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY: &[u8] = b"\0asm\x01\0\0\0";
    const YAML: &str = "rules: []\nmutating: true\nannotations: {io.kubewarden.policy.title: p}\n";

    #[test]
    fn an_annotated_module_without_its_metadata_has_the_bytes_of_the_module() {
        for usage in ["", "a page\nof two lines", &"x".repeat(70_000)] {
            let metadata = metadata(YAML, usage).unwrap();
            let annotated = annotated(EMPTY, &metadata).unwrap();
            assert_eq!(section(&annotated).unwrap(), metadata);
            assert_eq!(bare(&annotated).unwrap(), EMPTY);
        }
    }

    #[test]
    fn a_module_is_not_annotated_twice() {
        let metadata = metadata(YAML, "").unwrap();
        let once = annotated(EMPTY, &metadata).unwrap();
        assert!(annotated(&once, &metadata).unwrap_err().to_string().contains("has metadata already"));
    }

    #[test]
    fn a_key_that_kubewarden_would_drop_is_an_error() {
        let error = metadata(&format!("{YAML}hostCapabilites: []\n"), "").unwrap_err().to_string();
        assert!(error.contains("hostCapabilites"), "{error}");
    }
}
