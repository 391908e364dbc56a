//! Metrics for Prometheus.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use chrono::{DateTime, Utc};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::capabilities::{Answer, Capabilities, HostCall};

/// The beginning of all names.
const PREFIX: &str = "container_patch_swarm";

/// The limits of the buckets for durations, in seconds: from a pinned image in memory to a registry that is slow.
const BUCKETS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const VERDICTS: [&str; 3] = ["accepted", "warned", "denied"];

/// The label for codes and verdicts that are not in the list: those of a policy in a file can be any.
const OTHER: &str = "other";

const OPEN_METRICS: &str = "application/openmetrics-text";

/// The most connections for metrics.
const MAX_CONNECTIONS: usize = 16;

type Label = [(&'static str, &'static str); 1];

/// The metrics of the plugin.
pub(super) struct Metrics {
    registry: Registry,
    codes: BTreeSet<&'static str>,
    decisions: Family<Label, Counter>,
    findings: Family<Label, Counter>,
    durations: Histogram,
    in_flight: Gauge,
    passed: Counter,
    busy: Counter,
    invalid_messages: Counter,
    engine_errors: Counter,
    registry_errors: Counter,
    dropped_lines: Counter,
    is_loaded: Gauge,
    loaded_at: Gauge<f64, AtomicU64>,
}

impl Metrics {
    /// The metrics, with all labels. `codes` are the finding codes, and `module` is the digest of the policy.
    pub(super) fn new(codes: impl IntoIterator<Item = &'static str>, module: &str) -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let decisions: Family<Label, Counter> = Family::default();
        let findings: Family<Label, Counter> = Family::default();
        let durations = Histogram::new(BUCKETS);
        let (in_flight, is_loaded) = (Gauge::default(), Gauge::default());
        let loaded_at: Gauge<f64, AtomicU64> = Gauge::default();
        let [passed, busy, invalid_messages, engine_errors, registry_errors, dropped_lines] =
            [(); 6].map(|()| Counter::default());
        let build = Info::new([("version", env!("CARGO_PKG_VERSION").to_owned()), ("module", module.to_owned())]);
        registry.register("build", "The version of container-patch and the digest of its policy", build);
        registry.register("decisions", "Decisions about calls that can start an image, by verdict", decisions.clone());
        registry.register("findings", "Decisions with a finding of this code", findings.clone());
        registry.register(
            "decision_duration_seconds",
            "Time from reading a call to its decision, with the questions to the engine and to registries",
            durations.clone(),
        );
        registry.register("decisions_in_flight", "Calls that are being decided", in_flight.clone());
        registry.register("calls_passed", "Calls that start no image and are not judged", passed.clone());
        registry.register("calls_busy", "Calls that are denied because too many are being decided", busy.clone());
        registry.register(
            "invalid_messages",
            "Messages of the engine that cannot be read. The calls are denied",
            invalid_messages.clone(),
        );
        registry.register(
            "engine_errors",
            "Failed requests to the engine. The calls are denied",
            engine_errors.clone(),
        );
        registry.register(
            "registry_errors",
            "Failed requests to registries, including those for images that do not exist",
            registry_errors.clone(),
        );
        registry.register(
            "log_dropped_lines",
            "Log lines that were dropped because standard error was blocked",
            dropped_lines.clone(),
        );
        registry.register(
            "settings_last_reload_successful",
            "Whether the last load of the settings succeeded. If not, the earlier settings are in force",
            is_loaded.clone(),
        );
        registry.register(
            "settings_last_reload_success_timestamp_seconds",
            "Time of the last successful load of the settings",
            loaded_at.clone(),
        );
        let codes: BTreeSet<&str> = codes.into_iter().collect();
        for verdict in VERDICTS {
            drop(decisions.get_or_create(&[("verdict", verdict)]));
        }
        for code in &codes {
            drop(findings.get_or_create(&[("code", code)]));
        }
        Self {
            registry,
            codes,
            decisions,
            findings,
            durations,
            in_flight,
            passed,
            busy,
            invalid_messages,
            engine_errors,
            registry_errors,
            dropped_lines,
            is_loaded,
            loaded_at,
        }
    }

    /// Counts a call that is being decided until the result is dropped.
    pub(super) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    /// Counts a decision with its verdict and its codes.
    pub(super) fn decided<'c>(&self, verdict: &str, codes: impl IntoIterator<Item = &'c str>, duration: Duration) {
        let verdict = VERDICTS.into_iter().find(|known| *known == verdict).unwrap_or(OTHER);
        self.decisions.get_or_create(&[("verdict", verdict)]).inc();
        // A decision has many findings of one code if it has many images.
        let codes: BTreeSet<&str> =
            codes.into_iter().map(|code| self.codes.get(code).copied().unwrap_or(OTHER)).collect();
        for code in codes {
            self.findings.get_or_create(&[("code", code)]).inc();
        }
        self.durations.observe(duration.as_secs_f64());
    }

    /// Counts a call that starts no image.
    pub(super) fn passed(&self) {
        self.passed.inc();
    }

    /// Counts a call that is denied because too many are being decided.
    pub(super) fn busy(&self) {
        self.busy.inc();
    }

    /// Counts a message of the engine that cannot be read.
    pub(super) fn invalid_message(&self) {
        self.invalid_messages.inc();
    }

    /// Counts a question to the engine without an answer.
    pub(super) fn engine_error(&self) {
        self.engine_errors.inc();
    }

    /// The settings were loaded at this time.
    pub(super) fn loaded(&self, time: DateTime<Utc>) {
        self.is_loaded.set(1);
        #[expect(clippy::cast_precision_loss, reason = "a time in this millennium has few enough digits")]
        self.loaded_at.set(time.timestamp_millis() as f64 / 1000.0);
    }

    /// The settings could not be loaded.
    pub(super) fn load_failed(&self) {
        self.is_loaded.set(0);
    }

    /// The number of lines that the log has dropped so far.
    pub(super) fn dropped_lines(&self, number: u64) {
        self.dropped_lines.inc_by(number.saturating_sub(self.dropped_lines.get()));
    }

    /// The metrics in the format of OpenMetrics.
    fn open_metrics(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// Answers questions, and counts those about registries that have no answer.
pub(super) struct Counted {
    inner: Arc<dyn Capabilities>,
    metrics: Arc<Metrics>,
}

impl Counted {
    pub(super) fn new(inner: Arc<dyn Capabilities>, metrics: Arc<Metrics>) -> Self {
        Self { inner, metrics }
    }
}

impl Capabilities for Counted {
    fn answer(&self, call: HostCall) -> Answer {
        let is_about_registry = matches!(
            call,
            HostCall::OciManifestDigest(_) | HostCall::OciManifest(_) | HostCall::OciManifestAndConfig(_)
        );
        let answer = self.inner.answer(call);
        if is_about_registry && answer.is_err() {
            self.metrics.registry_errors.inc();
        }
        answer
    }
}

/// A call that is being decided.
#[must_use]
pub(super) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Accepts few connections at a time. Every process of the machine can reach a loopback address, and must not use up the files that the
/// plugin may open.
pub(super) struct FewConnections {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl FewConnections {
    pub(super) fn new(listener: TcpListener) -> Self {
        Self { listener, free: Arc::new(Semaphore::new(MAX_CONNECTIONS)) }
    }
}

impl Listener for FewConnections {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.free).acquire_owned().await.ok();
        let (stream, address) = Listener::accept(&mut self.listener).await;
        (Connection { stream, _permit: permit }, address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// One of the connections.
pub(super) struct Connection {
    stream: TcpStream,
    _permit: Option<OwnedSemaphorePermit>,
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, to)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Serves `/metrics`, and `/healthz`, which answers while the process runs.
pub(super) fn routes(metrics: Arc<Metrics>, before: impl Fn(&Metrics) + Clone + Send + Sync + 'static) -> Router {
    let serve = move |State(metrics): State<Arc<Metrics>>, headers: HeaderMap| async move {
        before(&metrics);
        response(&metrics, &headers)
    };
    Router::new().route("/metrics", get(serve)).route("/healthz", get(|| async { "ok\n" })).with_state(metrics)
}

fn response(metrics: &Metrics, headers: &HeaderMap) -> Response {
    let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let text = metrics.open_metrics();
    if accepted.into_iter().any(|accepted| accepted.contains(OPEN_METRICS)) {
        let media_type = format!("{OPEN_METRICS}; version=1.0.0; charset=utf-8");
        return ([(CONTENT_TYPE, media_type)], text).into_response();
    }
    ([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], prometheus_text(&text)).into_response()
}

/// The text format of Prometheus, which is that of OpenMetrics with other names in the comments: those of the samples.
fn prometheus_text(open_metrics: &str) -> String {
    let words = |line: &str| -> [String; 3] {
        let mut words = line.splitn(3, ' ').map(str::to_owned);
        [(); 3].map(|()| words.next().unwrap_or_default())
    };
    let types = open_metrics.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let suffixes: BTreeMap<String, &str> = types
        .filter_map(|line| {
            let [name, kind, _] = words(line);
            let suffix = match kind.as_str() {
                "counter" => "_total",
                "info" => "_info",
                _ => return None,
            };
            Some((name, suffix))
        })
        .collect();
    let mut text = String::with_capacity(open_metrics.len());
    for line in open_metrics.lines() {
        let line = match line.strip_prefix("# ").map(words) {
            Some([comment, ..]) if comment == "EOF" || comment == "UNIT" => continue,
            Some([comment, name, rest]) => {
                let suffix = suffixes.get(&name).copied().unwrap_or_default();
                let rest = if comment == "TYPE" && rest == "info" { "gauge" } else { &rest };
                format!("# {comment} {name}{suffix} {rest}\n")
            }
            None => format!("{line}\n"),
        };
        text += &line;
    }
    text
}
