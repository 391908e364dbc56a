//! `container-patch swarm-authz`: an authorization plugin for the Docker Engine.

mod call;
mod decision;
mod engine;
pub(crate) mod engine_settings;
mod local;
mod log;
mod message;
mod metrics;
mod plugin;
mod server;
mod settings;
mod socket;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use chrono::Utc;
use clap::Args;
use container_patch_policy::enforcement::codes;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, oneshot};

use self::call::Unseen;
pub(crate) use self::decision::CODES;
use self::engine::CountedEngine;
use self::log::{Event, Log, LogFormat};
use self::metrics::{Counted, Metrics};
use self::plugin::{MAX_CHECKS, MAX_DECISIONS, Plugin};
use self::settings::{Settings, Unusable, Warnings};
use self::socket::Socket;
use crate::capabilities::Capabilities;
use crate::engine::{Engine, EngineOptions};
use crate::live::Live;
use crate::metrics_page::{self, FewConnections};
use crate::notify;
use crate::policy::{Policy, PolicyOptions};
use crate::registry::RegistryOptions;
use crate::settings::KwctlSettingsOptions;
use crate::stdout;
use crate::terminal::printable;
use crate::timeout::Timeout;

/// The seconds of computing for one decision.
const TIMEOUT: u64 = 10;

/// The time for the decisions that are being made when the plugin is stopped.
const LAST_DECISIONS: Duration = Duration::from_secs(10);

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
    /// docker plugin create, `swarm-join` for docker swarm join; can be repeated
    #[arg(long, value_enum, value_name = "CALL", value_delimiter = ',')]
    allow: Vec<Unseen>,
    /// Format of the log on standard error [default: text on a terminal, otherwise json]
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Check the settings, and exit: 0 if the plugin can use them
    #[arg(long)]
    check: bool,
    /// Address on which Prometheus gets metrics at /metrics, such as 127.0.0.1:9464; without authentication [default: none]
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = metrics_page::address)]
    metrics_address: Option<SocketAddr>,
}

/// Serves the plugin until the process gets SIGTERM or SIGINT. On SIGHUP it reads the settings again.
///
/// # Errors
/// When the policy or its settings are invalid, or the socket cannot be made.
pub fn exec(options: &Options) -> Result<()> {
    if options.check {
        return check(options);
    }
    let metrics_listener = options.metrics_address.map(metrics_page::listen).transpose()?;
    let log = Log::start(options.log_format.unwrap_or_else(LogFormat::of_stderr))?;
    let policy = options.policy.load()?.with_timeout(Timeout::Computing(TIMEOUT));
    let _clock = policy.clock().start()?;
    let digest = options.policy.digest()?;
    let (settings, warnings) = load(options, &policy)?;
    let codes = codes::all().into_iter().map(|code| code.as_str()).chain(CODES.map(|(code, _)| code));
    let metrics = Arc::new(Metrics::new(codes, &digest));
    metrics.loaded(Utc::now());
    let registries: Arc<dyn Capabilities> = Arc::new(Live::for_service(&options.registry)?);
    // Its clients have threads of their own, which cannot be stopped by a thread that serves.
    let plugin = Arc::new(Plugin {
        policy,
        settings,
        capabilities: Arc::new(Counted::new(registries, Arc::clone(&metrics))),
        engine: Box::new(CountedEngine::new(Engine::new(&options.engine)?, Arc::clone(&metrics))),
        allowed: options.allow.iter().copied().collect(),
        log: log.clone(),
        metrics,
        decisions: Semaphore::new(MAX_DECISIONS),
        checks: Semaphore::new(MAX_CHECKS),
        busy_reported: Mutex::default(),
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        // One more for reading the settings again.
        .max_blocking_threads(MAX_DECISIONS + MAX_CHECKS + 1)
        .enable_all()
        .build()
        .context("cannot start the threads of the plugin")?;
    let served = runtime.block_on(async {
        let socket = Socket::open(&options.socket)?;
        let signalled = Signals::new()?.stop(Arc::clone(&plugin));
        let (stop, stopped) = oneshot::channel::<()>();
        let served = axum::serve(socket.listener()?, server::routes(Arc::clone(&plugin)));
        let served = served.with_graceful_shutdown(async { drop(stopped.await) });
        let mut served = tokio::spawn(served.into_future());
        if let Some(listener) = metrics_listener {
            let (metrics, log) = (Arc::clone(&plugin.metrics), log.clone());
            let open_metrics = move || {
                metrics.dropped_lines(log.dropped());
                metrics.open_metrics()
            };
            let listener = FewConnections::new(tokio::net::TcpListener::from_std(listener)?);
            tokio::spawn(axum::serve(listener, metrics_page::routes(open_metrics)).into_future());
        }
        let settings = plugin.settings.source();
        log.event(&Event::Started { module: &digest, socket: socket.name(), settings: &settings });
        if !warnings.is_empty() {
            log.event(&Event::Reloaded { settings: &settings, warnings: &warnings });
        }
        let _watchdog = notify::start_watchdog();
        notify::ready(&format!("judges by {settings}"));
        let ended = tokio::select! {
            ended = &mut served => ended,
            () = signalled => {
                drop(stop);
                // A decision can wait for a registry for minutes.
                tokio::time::timeout(LAST_DECISIONS, served).await.unwrap_or(Ok(Ok(())))
            }
        };
        ended?.context("the socket of the plugin failed")
    });
    runtime.shutdown_background();
    let reason = served.as_ref().err().map_or_else(|| "signal".to_owned(), |error| format!("{error:#}"));
    log.event(&Event::Stopped { reason: &reason });
    log.flush();
    served
}

/// Checks the settings, and prints what the policy warns about.
fn check(options: &Options) -> Result<()> {
    let policy = options.policy.load()?;
    let _clock = policy.clock().start()?;
    let (settings, warnings) = load(options, &policy)?;
    let warnings: String = warnings.iter().map(|warning| format!("Warning: {}\n", printable(warning))).collect();
    stdout::print(&format!("{warnings}{}: valid\n", printable(&settings.source())))
}

/// Reads the settings for the first time.
fn load(options: &Options, policy: &Policy) -> Result<(Settings, Warnings)> {
    let loaded = Settings::load(options.settings.clone(), engine_settings::of, policy);
    loaded.map_err(|Unusable(problems)| {
        anyhow!("cannot use the settings of {}:\n{}", options.settings.source(), problems.join("\n"))
    })
}

/// The signals to the process.
struct Signals {
    terminated: Signal,
    interrupted: Signal,
    reload: Signal,
}

impl Signals {
    /// Receives the signals from now on.
    fn new() -> Result<Self> {
        Ok(Self {
            terminated: signal(SignalKind::terminate())?,
            interrupted: signal(SignalKind::interrupt())?,
            reload: signal(SignalKind::hangup())?,
        })
    }

    /// Reads the settings again at each SIGHUP, and ends at a signal to stop.
    async fn stop(mut self, plugin: Arc<Plugin>) {
        loop {
            tokio::select! {
                _ = self.terminated.recv() => break,
                _ = self.interrupted.recv() => break,
                _ = self.reload.recv() => {
                    notify::reloading();
                    let reloading = Arc::clone(&plugin);
                    // The policy checks the settings, which takes milliseconds.
                    let reloaded = tokio::task::spawn_blocking(move || reloading.reload()).await;
                    if let Err(error) = reloaded {
                        plugin.log.event(&Event::Error { message: &error.to_string() });
                    }
                    notify::ready(&format!("judges by {}", plugin.settings.source()));
                }
            }
        }
        notify::stopping();
    }
}
