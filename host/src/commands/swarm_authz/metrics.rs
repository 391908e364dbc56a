//! Metrics for Prometheus.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use chrono::{DateTime, Utc};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::capabilities::{Answer, Capabilities, HostCall};
use crate::metrics_page;

/// The beginning of all names.
const PREFIX: &str = "container_patch_swarm";

/// The limits of the buckets for durations, in seconds: from a pinned image in memory to a registry that is slow.
const BUCKETS: [f64; 15] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0];

const VERDICTS: [&str; 3] = ["accepted", "warned", "denied"];

/// The label for codes and verdicts that are not in the list: those of a policy in a file can be any.
const OTHER: &str = "other";

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
    pub(super) fn open_metrics(&self) -> String {
        metrics_page::open_metrics(&self.registry)
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
