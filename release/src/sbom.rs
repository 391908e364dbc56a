//! The crates in a module, as SPDX 2.3.
//!
//! `cargo tree` says which crates cargo links into the module: it resolves the features for this package and this target alone. `cargo
//! metadata`, which other tools for SBOMs use, resolves them for the whole workspace, with the crates of the tests and of the host.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result, anyhow, bail};
use chrono::{DateTime, SecondsFormat};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::registry::digest_of;

const PACKAGE: &str = "container-patch-policy";
const TARGET: &str = "wasm32-wasip1";
const REPOSITORY: &str = "https://github.com/container-patch/container-patch-policy";
const IMAGE: &str = "ghcr.io/container-patch/policies/container-patch-policy";

/// A crate, by name and version.
type Crate = (String, String);

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    version: String,
    license: Option<String>,
    source: Option<String>,
}

/// The SBOM of a module, for the release of a tag. The workspace is the current folder.
pub(crate) fn document(tag: &str, created: i64, module: &[u8]) -> Result<Vec<u8>> {
    let linked = tree("normal,no-proc-macro")?;
    let all = tree("normal,build")?;
    let metadata: Metadata = serde_json::from_slice(&cargo(&[
        "metadata",
        "--locked",
        "--format-version",
        "1",
        "--filter-platform",
        TARGET,
    ])?)?;
    let packages: BTreeMap<Crate, Package> = metadata
        .packages
        .into_iter()
        .map(|package| ((package.name.clone(), package.version.clone()), package))
        .collect();
    let checksums = checksums(&fs::read_to_string("Cargo.lock").context("cannot read `Cargo.lock`")?);

    let root = linked.keys().find(|(name, _)| name == PACKAGE).context("cargo tree does not name the policy")?.clone();
    let created = DateTime::from_timestamp(created, 0)
        .ok_or_else(|| anyhow!("{created} is not a time"))?
        .to_rfc3339_opts(SecondsFormat::Secs, true);
    let digest = digest_of(module);
    let sha256 = digest.trim_start_matches("sha256:");

    let mut elements = vec![json!({
        "SPDXID": id(&root),
        "name": PACKAGE,
        "versionInfo": root.1,
        "packageFileName": "policy.wasm",
        "primaryPackagePurpose": "APPLICATION",
        "supplier": "Organization: container-patch",
        "downloadLocation": format!("{REPOSITORY}/releases/download/{tag}/policy.wasm"),
        "filesAnalyzed": false,
        "checksums": [{"algorithm": "SHA256", "checksumValue": sha256}],
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": license(&packages, &root)?,
        "copyrightText": "NOASSERTION",
        "externalRefs": [purl(&format!("pkg:oci/{PACKAGE}?repository_url={IMAGE}&tag={tag}"))],
    })];
    let mut relationships = vec![relationship("SPDXRef-DOCUMENT", "DESCRIBES", &id(&root))];

    // The module also contains the parts of Rust's standard library, and of the C library in it, that it uses.
    let std = ("rust-std".to_owned(), rust_version()?);
    elements.push(json!({
        "SPDXID": id(&std),
        "name": std.0,
        "versionInfo": std.1,
        "comment": format!("The standard library of Rust for {TARGET}"),
        "supplier": "Organization: The Rust Project",
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "MIT OR Apache-2.0",
        "copyrightText": "NOASSERTION",
        "externalRefs": [purl(&format!("pkg:generic/rust-std@{}", std.1))],
    }));
    relationships.push(relationship(&id(&root), "DEPENDS_ON", &id(&std)));

    for dependency in all.keys().filter(|dependency| **dependency != root) {
        let package =
            packages.get(dependency).with_context(|| format!("cargo metadata does not name {dependency:?}"))?;
        let local = package.source.is_none();
        let (name, version) = dependency;
        let mut element = json!({
            "SPDXID": id(dependency),
            "name": name,
            "versionInfo": version,
            "primaryPackagePurpose": "LIBRARY",
            "supplier": if local { "Organization: container-patch" } else { "NOASSERTION" },
            "downloadLocation": if local { format!("git+{REPOSITORY}@{tag}") } else { "NOASSERTION".to_owned() },
            "filesAnalyzed": false,
            "licenseConcluded": "NOASSERTION",
            "licenseDeclared": license(&packages, dependency)?,
            "copyrightText": "NOASSERTION",
            "externalRefs": [purl(&if local {
                format!("pkg:cargo/{name}@{version}?vcs_url=git%2B{REPOSITORY}%40{tag}")
            } else {
                format!("pkg:cargo/{name}@{version}")
            })],
        });
        match checksums.get(dependency) {
            Some(checksum) => element["checksums"] = json!([{"algorithm": "SHA256", "checksumValue": checksum}]),
            None if local => {}
            None => bail!("Cargo.lock has no checksum of {name} {version}"),
        }
        if !linked.contains_key(dependency) {
            element["comment"] = json!("Runs when the module is built, and is not in it");
            relationships.push(relationship(&id(dependency), "BUILD_TOOL_OF", &id(&root)));
        }
        elements.push(element);
    }
    for (dependent, dependencies) in &linked {
        for dependency in dependencies {
            relationships.push(relationship(&id(dependent), "DEPENDS_ON", &id(dependency)));
        }
    }
    let ids: BTreeSet<&str> = elements.iter().filter_map(|element| element["SPDXID"].as_str()).collect();
    if ids.len() != elements.len() {
        bail!("two crates have the same SPDX identifier");
    }

    let mut document = serde_json::to_vec_pretty(&json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": format!("{PACKAGE}-{}", root.1),
        "documentNamespace": format!("{REPOSITORY}/spdx/{tag}/{sha256}"),
        "creationInfo": {
            "created": created,
            "creators": [
                "Organization: container-patch",
                concat!("Tool: ", env!("CARGO_PKG_NAME"), "-", env!("CARGO_PKG_VERSION")),
            ],
        },
        "packages": elements,
        "relationships": relationships,
    }))?;
    document.push(b'\n');
    Ok(document)
}

/// The crates that edges of these kinds lead to, each with those that it depends on.
fn tree(edges: &str) -> Result<BTreeMap<Crate, BTreeSet<Crate>>> {
    let arguments = [
        "tree",
        "--locked",
        "--package",
        PACKAGE,
        "--target",
        TARGET,
        "--edges",
        edges,
        "--prefix",
        "depth",
        "--format",
        " {p}",
    ];
    parsed_tree(&String::from_utf8(cargo(&arguments)?)?)
}

/// Reads the lines of `cargo tree`: the depth, the name, the version and remarks in brackets. The dependencies of a crate are below its
/// first line; its other lines end with `(*)`.
fn parsed_tree(lines: &str) -> Result<BTreeMap<Crate, BTreeSet<Crate>>> {
    let mut crates: BTreeMap<Crate, BTreeSet<Crate>> = BTreeMap::new();
    let mut path: Vec<Crate> = vec![];
    for line in lines.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let (Some(depth), Some(name), Some(version)) = (words.next(), words.next(), words.next()) else {
            bail!("an unexpected line of cargo tree: {line}");
        };
        let depth: usize = depth.parse().with_context(|| format!("an unexpected line of cargo tree: {line}"))?;
        let found = (name.to_owned(), version.trim_start_matches('v').to_owned());
        path.truncate(depth);
        if let Some(dependent) = path.last() {
            crates.entry(dependent.clone()).or_default().insert(found.clone());
        }
        crates.entry(found.clone()).or_default();
        path.push(found);
    }
    Ok(crates)
}

/// The checksums in a lock file. Cargo writes it, always in the same form.
fn checksums(lock: &str) -> BTreeMap<Crate, String> {
    let field = |package: &str, name: &str| {
        let start = format!("{name} = \"");
        package.lines().find_map(|line| Some(line.strip_prefix(&start)?.strip_suffix('"')?.to_owned()))
    };
    let packages = lock.split("[[package]]").skip(1);
    packages
        .filter_map(|package| {
            Some(((field(package, "name")?, field(package, "version")?), field(package, "checksum")?))
        })
        .collect()
}

/// The licence that a crate declares. Some write `/` for `OR`.
fn license(packages: &BTreeMap<Crate, Package>, wanted: &Crate) -> Result<String> {
    let package = packages.get(wanted).with_context(|| format!("cargo metadata does not name {wanted:?}"))?;
    Ok(package.license.as_deref().map_or_else(
        || "NOASSERTION".to_owned(),
        |license| license.split('/').map(str::trim).collect::<Vec<_>>().join(" OR "),
    ))
}

fn rust_version() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = String::from_utf8(output(Command::new(rustc).args(["--version", "--verbose"]))?)?;
    let version = output.lines().find_map(|line| line.strip_prefix("release: "));
    version.map(ToOwned::to_owned).context("rustc does not say its version")
}

fn cargo(arguments: &[&str]) -> Result<Vec<u8>> {
    output(Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())).args(arguments))
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

fn relationship(element: &str, kind: &str, related: &str) -> Value {
    json!({"spdxElementId": element, "relationshipType": kind, "relatedSpdxElement": related})
}

fn purl(locator: &str) -> Value {
    json!({"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": locator})
}

/// An SPDX identifier has letters, digits, `.` and `-` only.
fn id((name, version): &Crate) -> String {
    let allowed = |character: char| if character.is_ascii_alphanumeric() || character == '.' { character } else { '-' };
    format!("SPDXRef-crate-{name}-{version}").chars().map(allowed).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> Crate {
        (name.to_owned(), "1.0.0".to_owned())
    }

    #[test]
    fn a_crate_that_is_shown_again_keeps_its_dependencies() {
        let lines = "0 policy v1.0.0 (/folder)\n1 a v1.0.0\n2 b v1.0.0\n1 c v1.0.0\n2 a v1.0.0 (*)\n\n";
        let tree = parsed_tree(lines).unwrap();
        assert_eq!(tree[&named("policy")], BTreeSet::from([named("a"), named("c")]));
        assert_eq!(tree[&named("a")], BTreeSet::from([named("b")]));
        assert_eq!(tree[&named("c")], BTreeSet::from([named("a")]));
        assert_eq!(tree.len(), 4);
    }

    #[test]
    fn the_checksum_of_a_crate_is_that_of_its_version() {
        let package =
            |version, checksum: &str| format!("[[package]]\nname = \"a\"\nversion = \"{version}\"\n{checksum}\n\n");
        let lock =
            package("1.0.0", "checksum = \"aa\"") + &package("2.0.0", "checksum = \"bb\"") + &package("3.0.0", "");
        assert_eq!(
            checksums(&lock),
            BTreeMap::from([(named("a"), "aa".into()), (("a".into(), "2.0.0".into()), "bb".into())])
        );
    }

    #[test]
    fn an_identifier_has_no_characters_that_spdx_does_not_allow() {
        assert_eq!(id(&("icu_locale".into(), "1.0.0+data".into())), "SPDXRef-crate-icu-locale-1.0.0-data");
    }
}
