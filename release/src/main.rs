//! A tool for maintainers: annotates the module, lists its crates, pushes, signs and verifies a release. `hack/release` runs it.

mod annotate;
mod bundle;
mod key;
mod registry;
mod sbom;
mod signature;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use clap::{Parser, Subcommand};

use key::{PrivateKey, PublicKey};
use registry::Registry;

/// Annotates, pushes, signs and verifies releases of container-patch-policy
#[derive(Parser)]
#[command(version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Write the metadata into a module, as `kwctl annotate` does, and leave the rest of its bytes as they are
    Annotate {
        /// Metadata of the policy
        #[arg(long, default_value = "metadata.yml")]
        metadata: PathBuf,
        /// Page that becomes the usage
        #[arg(long, default_value = "README.md")]
        usage: PathBuf,
        /// File to write
        #[arg(long)]
        output: PathBuf,
        /// Module without metadata
        module: PathBuf,
    },
    /// Print the metadata of a module as JSON
    Metadata {
        /// Annotated module
        module: PathBuf,
    },
    /// Write a module without its metadata
    Bare {
        /// File to write
        #[arg(long)]
        output: PathBuf,
        /// Annotated module
        module: PathBuf,
    },
    /// List the crates in a module as SPDX 2.3
    Sbom {
        /// Tag of the release
        #[arg(long)]
        tag: String,
        /// Time of the document, in seconds since 1970
        #[arg(long)]
        created: i64,
        /// File to write
        #[arg(long)]
        output: PathBuf,
        /// Module that is described
        module: PathBuf,
    },
    /// Print the digest that an annotated module gets in a registry
    Digest {
        /// Annotated module
        module: PathBuf,
    },
    /// Print the digest that a tag has in its registry, or nothing if the tag does not exist
    Resolve {
        /// Reference with a tag or a digest
        reference: String,
    },
    /// Push an annotated module, as `kwctl push` does, and print its digest; a tag that exists with another digest is not changed
    Push {
        /// Annotated module
        module: PathBuf,
        /// Reference with a tag
        reference: String,
    },
    /// Push a Helm chart, as `helm push` does, and print its digest; a tag that exists with another digest is not changed
    PushChart {
        /// The chart's Chart.yaml
        #[arg(long)]
        metadata: PathBuf,
        /// Time of the chart, in seconds since 1970
        #[arg(long)]
        created: i64,
        /// Only print the digest, and compare it with that of the tag
        #[arg(long)]
        dry_run: bool,
        /// Packaged chart
        chart: PathBuf,
        /// Reference with a tag
        reference: String,
    },
    /// Pull a module
    Pull {
        /// File to write
        #[arg(long)]
        output: PathBuf,
        /// Reference with a tag or a digest
        reference: String,
    },
    /// Make a private key (ECDSA on P-256) and its public key, FILE.pub
    NewKey {
        /// File to write
        file: PathBuf,
    },
    /// Print the public key of a private key
    PublicKey {
        /// Private key, as PEM
        #[arg(long)]
        key: PathBuf,
    },
    /// Sign an artifact in a registry in both formats of cosign
    Sign {
        /// Private key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Reference with a digest
        reference: String,
    },
    /// Sign a statement about an artifact, and attach it in the registry
    Attest {
        /// Private key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Type of the statement
        #[arg(long, default_value = bundle::SPDX_PREDICATE)]
        predicate_type: String,
        /// Statement, as JSON
        #[arg(long)]
        predicate: PathBuf,
        /// Reference with a digest
        reference: String,
    },
    /// Sign a file
    SignBlob {
        /// Private key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Sigstore bundle to write
        #[arg(long)]
        bundle: PathBuf,
        /// File to sign
        file: PathBuf,
    },
    /// Verify the signatures of an artifact in both formats, and print its digest
    Verify {
        /// Public key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Reference with a tag or a digest
        reference: String,
    },
    /// Verify the statements about an artifact, and write those that verify as a JSON array
    VerifyAttestation {
        /// Public key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Type of the statement
        #[arg(long, default_value = bundle::SPDX_PREDICATE)]
        predicate_type: String,
        /// File to which the statements are written
        #[arg(long)]
        output: PathBuf,
        /// Reference with a tag or a digest
        reference: String,
    },
    /// Verify the signature of a file
    VerifyBlob {
        /// Public key, as PEM
        #[arg(long)]
        key: PathBuf,
        /// Sigstore bundle
        #[arg(long)]
        bundle: PathBuf,
        /// Signed file
        file: PathBuf,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run(Cli::parse().command).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Annotate { metadata, usage, output, module } => {
            let metadata = annotate::metadata(&text(&metadata)?, &text(&usage)?)
                .with_context(|| format!("`{}`", metadata.display()))?;
            write(&output, &annotate::annotated(&read(&module)?, &metadata)?)?;
        }
        Command::Metadata { module } => println!("{}", String::from_utf8(annotate::section(&read(&module)?)?)?),
        Command::Bare { output, module } => write(&output, &annotate::bare(&read(&module)?)?)?,
        Command::Sbom { tag, created, output, module } => {
            write(&output, &sbom::document(&tag, created, &read(&module)?)?)?;
        }
        Command::Digest { module } => println!("{}", registry::module_digest(&read(&module)?)?),
        Command::Resolve { reference } => {
            if let Some(digest) = Registry::of(&reference)?.digest().await? {
                println!("{digest}");
            }
        }
        Command::Push { module, reference } => {
            println!("{}", Registry::of(&reference)?.push_module(&read(&module)?).await?);
        }
        Command::PushChart { metadata, created, dry_run, chart, reference } => {
            let registry = Registry::of(&reference)?;
            println!("{}", registry.push_chart(&read(&chart)?, &text(&metadata)?, created, dry_run).await?);
        }
        Command::Pull { output, reference } => write(&output, &Registry::of(&reference)?.pull_module().await?)?,
        Command::NewKey { file } => {
            if file.exists() {
                bail!("`{}` exists; a key is not overwritten", file.display());
            }
            let key = PrivateKey::new();
            write_private(&file, key.pem()?.as_bytes())?;
            write(&file.with_added_extension("pub"), key.public().pem()?.as_bytes())?;
        }
        Command::PublicKey { key } => print!("{}", PrivateKey::read(&key)?.public().pem()?),
        Command::Sign { key, reference } => {
            let (registry, key) = (Registry::of(&reference)?, PrivateKey::read(&key)?);
            let digest = registry.required_digest()?;
            signature::attach(&registry, &key, &digest).await?;
            let statement = bundle::statement(&digest, bundle::SIGNATURE_PREDICATE, &serde_json::json!({}))?;
            bundle::attach(
                &registry,
                &digest,
                bundle::SIGNATURE_PREDICATE,
                &bundle::signed_statement(&key, &statement)?,
            )
            .await?;
        }
        Command::Attest { key, predicate_type, predicate, reference } => {
            let (registry, key) = (Registry::of(&reference)?, PrivateKey::read(&key)?);
            let digest = registry.required_digest()?;
            let content = serde_json::from_slice(&read(&predicate)?)
                .with_context(|| format!("`{}` is not JSON", predicate.display()))?;
            let statement = bundle::statement(&digest, &predicate_type, &content)?;
            bundle::attach(&registry, &digest, &predicate_type, &bundle::signed_statement(&key, &statement)?).await?;
        }
        Command::SignBlob { key, bundle, file } => {
            write(&bundle, &bundle::signed_blob(&PrivateKey::read(&key)?, &read(&file)?)?)?;
        }
        Command::Verify { key, reference } => {
            let (registry, key) = (Registry::of(&reference)?, PublicKey::read(&key)?);
            let digest = registry.existing_digest().await?;
            signature::verify(&registry, &key, &digest).await?;
            bundle::verify(&registry, &key, &digest, bundle::SIGNATURE_PREDICATE).await?;
            println!("{digest}");
        }
        Command::VerifyAttestation { key, predicate_type, output, reference } => {
            let (registry, key) = (Registry::of(&reference)?, PublicKey::read(&key)?);
            let digest = registry.existing_digest().await?;
            let predicates = bundle::verify(&registry, &key, &digest, &predicate_type).await?;
            write(&output, &serde_json::to_vec(&predicates)?)?;
        }
        Command::VerifyBlob { key, bundle, file } => {
            bundle::verify_blob(&PublicKey::read(&key)?, &read(&bundle)?, &read(&file)?).with_context(|| {
                format!("`{}` does not verify with the bundle `{}`", file.display(), bundle.display())
            })?;
        }
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}

fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write `{}`", path.display()))
}

/// Writes a file that only its owner can read.
fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(content))
        .with_context(|| format!("cannot write `{}`", path.display()))
}
