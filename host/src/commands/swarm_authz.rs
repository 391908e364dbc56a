//! `container-patch swarm-authz`: an authorization plugin for the Docker Engine.

mod call;
mod decision;
mod engine;
mod engine_settings;
mod local;
mod log;
mod metrics;
mod notify;
mod plugin;
mod server;
mod settings;
mod socket;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

use self::call::Unseen;
use self::log::{Event, Log, LogFormat};
use self::plugin::{MAX_DECISIONS, Plugin};
use self::socket::Socket;
use crate::engine::{Engine, EngineOptions};
use crate::live::Live;
use crate::policy::PolicyOptions;
use crate::registry::RegistryOptions;
use crate::settings::KwctlSettingsOptions;
use crate::timeout::Timeout;

/// The seconds of computing for one decision.
const TIMEOUT: u64 = 10;

/// Judge what a Docker Engine starts, as its authorization plugin
///
/// The engine asks the plugin about each call of its API. Calls that create or change services and containers are judged with the
/// policy. The engine refuses them if the policy refuses them, and if the plugin does not answer. docs/swarm.md shows how to set it up.
#[derive(Debug, Args)]
pub struct Options {
    /// Socket on which the engine reaches the plugin. Its file name is the name of the plugin
    #[arg(long, value_name = "PATH", default_value = "/run/docker/plugins/container-patch.sock")]
    socket: PathBuf,
    #[command(flatten)]
    settings: KwctlSettingsOptions,
    #[command(flatten)]
    engine: EngineOptions,
    #[command(flatten)]
    registry: RegistryOptions,
    #[command(flatten)]
    policy: PolicyOptions,
    /// Calls to allow, although the images that they start are not in the request: `build` for docker build, `plugin-files` for
    /// docker plugin create; can be repeated
    #[arg(long, value_enum, value_name = "CALL", value_delimiter = ',')]
    allow: Vec<Unseen>,
    /// Format of the log on standard error [default: text on a terminal, otherwise json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
}

/// Serves the plugin until the process gets SIGTERM or SIGINT.
///
/// # Errors
/// When the policy or its settings are invalid, or the socket cannot be made.
pub fn exec(options: &Options) -> Result<()> {
    let policy = options.policy.load()?.with_timeout(Timeout::Computing(TIMEOUT));
    let _clock = policy.clock().start()?;
    let settings =
        engine_settings::of(options.settings.read()?).map_err(|problems| anyhow!("{}", problems.join("\n")))?;
    policy.validate_settings(&settings).map_err(|error| anyhow!("Provided settings are not valid: {error:#}"))?;
    let log = Log::start(options.log_format.unwrap_or_else(LogFormat::of_stderr))?;
    // Its clients have threads of their own, which cannot be stopped by a thread that serves.
    let plugin = Arc::new(Plugin {
        policy,
        settings,
        capabilities: Arc::new(Live::for_service(&options.registry)?),
        engine: Box::new(Engine::new(&options.engine)?),
        allowed: options.allow.iter().copied().collect(),
        log: log.clone(),
        free: Semaphore::new(MAX_DECISIONS),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(MAX_DECISIONS)
        .enable_all()
        .build()
        .context("cannot start the threads of the plugin")?;
    let served = runtime.block_on(async {
        let socket = Socket::bind(&options.socket)?;
        let mut terminated = signal(SignalKind::terminate())?;
        let mut interrupted = signal(SignalKind::interrupt())?;
        let stopped = async move {
            tokio::select! {
                _ = terminated.recv() => {}
                _ = interrupted.recv() => {}
            }
        };
        let served = axum::serve(socket.listener()?, server::routes(Arc::clone(&plugin)));
        let place = options.socket.display().to_string();
        log.event(&Event::Started { module: "", socket: &place, settings: "" });
        served.with_graceful_shutdown(stopped).await.context("the socket of the plugin failed")
    });
    log.event(&Event::Stopped { reason: "signal" });
    log.flush();
    served
}
