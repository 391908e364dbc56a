//! `container-patch run`: the flags and the output of `kwctl run`.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Error, Result, anyhow};
use clap::Args;

use crate::admission::{AdmissionRequest, AdmissionResponse};
use crate::capabilities::AllowedResources;
use crate::live::{Live, LiveOptions};
use crate::policy::Policy;
use crate::session::SessionOptions;
use crate::settings::KwctlSettingsOptions;
use crate::stdout;
use crate::timeout::{Interrupted, Timeout};

/// Run the policy on one admission request, with the flags and the output of `kwctl run`
#[derive(Debug, Args)]
pub struct Options {
    /// Policy to run, a WebAssembly module [default: the one in this binary]
    #[arg(value_name = "POLICY")]
    policy: Option<PathBuf>,
    /// File containing the Kubernetes admission request object in JSON format; `-` for standard input
    #[arg(short, long, value_name = "PATH")]
    request_path: PathBuf,
    #[command(flatten)]
    settings: KwctlSettingsOptions,
    /// Grant access to the Kubernetes resources that the policy's metadata declares in `contextAwareResources`
    #[arg(long)]
    allow_context_aware: bool,
    #[command(flatten)]
    session: SessionOptions,
    #[command(flatten)]
    live: LiveOptions,
    /// Seconds after which the evaluation is interrupted and the request denied, as in policy-server, with the time that
    /// the policy waits for registries and the cluster
    #[arg(long, value_name = "SECONDS", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=600))]
    policy_timeout: u64,
    /// Disable policy timeout protection
    #[arg(long, conflicts_with = "policy_timeout")]
    disable_timeout_protection: bool,
}

/// Runs the policy, and prints its response.
///
/// # Errors
/// When the policy, its settings or the request cannot be read, or the settings are invalid.
pub fn exec(options: &Options) -> Result<()> {
    let request = read_request(&options.request_path)?;
    let settings = options.settings.read()?;
    let policy = Policy::load(options.policy.as_deref())?.with_timeout(Timeout::Total(options.policy_timeout));
    let _clock = (!options.disable_timeout_protection).then(|| policy.clock().start()).transpose()?;
    policy.validate_settings(&settings).map_err(|error| match error.is::<Interrupted>() {
        true => error.context("cannot check the settings"),
        false => anyhow!("Provided settings are not valid: {error:#}"),
    })?;

    let allowed = if options.allow_context_aware { policy.declared_resources() } else { AllowedResources::default() };
    let session = options.session.open(|| Ok(Arc::new(Live::new(&options.live)?)))?;
    let response = policy
        .validate(&request, &settings, &session.capabilities(), &allowed)
        .unwrap_or_else(|error| no_answer(&request, &error, options.policy_timeout));
    eprintln!("{}", summary(&request, &response));
    stdout::print(&(serde_json::to_string(&response)? + "\n"))?;
    session.close()
}

/// User, operation, object and verdict. The response does not repeat them, since the audit log of a cluster has them.
fn summary(request: &AdmissionRequest, response: &AdmissionResponse) -> String {
    let user = request.user_info.username.as_deref().filter(|user| !user.is_empty()).unwrap_or("(no user)");
    let name = request.name.as_deref().filter(|name| !name.is_empty()).unwrap_or("(no name)");
    let place =
        request.namespace.iter().filter(|namespace| !namespace.is_empty()).map(|namespace| format!("{namespace}/"));
    let verdict = if response.allowed { "allowed" } else { "denied" };
    let dry_run = if request.dry_run == Some(true) { " (dry run)" } else { "" };
    format!(
        "{} {} {} {}{name}: {verdict}{dry_run}",
        user.escape_debug(),
        request.operation,
        request.kind.kind,
        place.collect::<String>()
    )
}

/// The response of policy-server for a policy that does not answer.
fn no_answer(request: &AdmissionRequest, error: &Error, seconds: u64) -> AdmissionResponse {
    if !error.is::<Interrupted>() {
        return AdmissionResponse::internal_error(&request.uid, &format!("{error:#}"));
    }
    eprintln!(
        "Warning: the policy did not answer within {seconds} s, with the time that it waited for registries and the cluster; \
         for more time, set --policy-timeout here, and `timeoutEvalSeconds` of the policy in a cluster"
    );
    AdmissionResponse::rejected(&request.uid, &Interrupted.to_string(), 500)
}

fn read_request(path: &Path) -> Result<AdmissionRequest> {
    let (text, name) = if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("cannot read the request from standard input")?;
        (text, "standard input".to_owned())
    } else {
        let name = path.display().to_string();
        (std::fs::read_to_string(path).with_context(|| format!("cannot open request file {name}"))?, name)
    };
    let review = serde_json::from_str(&text).with_context(|| format!("invalid JSON in the request {name}"))?;
    AdmissionRequest::from_review(&review).with_context(|| format!("cannot use the request {name}"))
}
