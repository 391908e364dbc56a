//! The plugin: it decides calls with the settings that are in force, and reports its decisions.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use chrono::Utc;
use tokio::sync::Semaphore;

use super::call::Unseen;
use super::decision::{Decider, Decision, Engine};
use super::log::{Decided, Event, Log};
use super::message::Received;
use super::metrics::Metrics;
use super::settings::{Settings, Unusable};
use crate::capabilities::Capabilities;
use crate::policy::Policy;

/// The most calls that are decided at the same time. Most of them wait for a registry.
pub(super) const MAX_DECISIONS: usize = 512;

/// The most containers that are checked at the same time after they were created. Others wait: a check that is left out would let a
/// container stay that nothing has judged.
pub(super) const MAX_CHECKS: usize = 128;

/// The time between two lines of the log about calls that are refused because there are too many.
const BUSY_INTERVAL: Duration = Duration::from_secs(1);

/// The plugin.
pub(super) struct Plugin {
    pub(super) policy: Policy,
    pub(super) settings: Settings,
    pub(super) capabilities: Arc<dyn Capabilities>,
    pub(super) engine: Box<dyn Engine>,
    pub(super) allowed: BTreeSet<Unseen>,
    pub(super) log: Log,
    pub(super) metrics: Arc<Metrics>,
    /// The decisions that may still begin.
    pub(super) decisions: Semaphore,
    /// The checks that may still begin.
    pub(super) checks: Semaphore,
    /// When the log last named calls that were refused because there are too many.
    pub(super) busy_reported: Mutex<Option<Instant>>,
}

impl Plugin {
    /// Decides about a call. Returns why it is refused.
    pub(super) async fn decide(self: &Arc<Self>, received: Received) -> Option<String> {
        let Ok(_decision) = self.decisions.try_acquire() else {
            let error = format!("{MAX_DECISIONS} calls are being decided; try again");
            self.report_busy(&error);
            return Some(error);
        };
        self.run(received, |decider, received| decider.decide(&received.call, received.request())).await
    }

    /// Checks what a call has created. Returns why it is refused.
    pub(super) async fn check_created(self: &Arc<Self>, received: Received) -> Option<String> {
        // The semaphore is never closed.
        let _check = self.checks.acquire().await.ok();
        self.run(received, |decider, received| {
            decider.check_created(&received.call, received.request(), received.response())
        })
        .await
    }

    /// Counts a call that starts nothing.
    pub(super) fn count_passed(&self) {
        self.metrics.passed();
    }

    /// Reports a call that is refused because there are too many. The log has one line a second about them.
    pub(super) fn report_busy(&self, error: &str) {
        self.metrics.busy();
        let mut reported = self.busy_reported.lock().unwrap_or_else(PoisonError::into_inner);
        if reported.is_none_or(|reported| reported.elapsed() >= BUSY_INTERVAL) {
            *reported = Some(Instant::now());
            self.log.event(&Event::Error { message: error });
        }
    }

    /// Reports a message of the engine that cannot be read.
    pub(super) fn report_error(&self, error: &str) {
        self.metrics.invalid_message();
        self.log.event(&Event::Error { message: error });
    }

    async fn run(
        self: &Arc<Self>,
        received: Received,
        decide: impl FnOnce(&Decider<'_>, &Received) -> Option<Decision> + Send + 'static,
    ) -> Option<String> {
        let started = Instant::now();
        let plugin = Arc::clone(self);
        // A decision waits for the engine and for registries.
        let decided = tokio::task::spawn_blocking(move || {
            let _in_flight = plugin.metrics.begin();
            let settings = plugin.settings.current();
            let decider = Decider {
                policy: &plugin.policy,
                settings: &settings,
                capabilities: &plugin.capabilities,
                engine: plugin.engine.as_ref(),
                allowed: &plugin.allowed,
            };
            let decision = decide(&decider, &received)?;
            plugin.report(&received, &decision, started.elapsed());
            Some(decision)
        });
        match decided.await {
            Ok(decision) => decision.filter(|decision| !decision.allowed).map(|decision| decision.message),
            Err(error) => {
                self.log.event(&Event::Error { message: &error.to_string() });
                Some(format!("the call could not be decided: {error}"))
            }
        }
    }

    /// Reads the settings again. If they cannot be used, the earlier ones stay in force. Waits for the policy to check them.
    pub(super) fn reload(&self) {
        let settings = &self.settings.source();
        match self.settings.reload(&self.policy) {
            Ok(warnings) => {
                self.metrics.loaded(Utc::now());
                self.log.event(&Event::Reloaded { settings, warnings: &warnings });
            }
            Err(Unusable(problems)) => {
                self.metrics.load_failed();
                self.log.event(&Event::ReloadFailed { settings, problems: &problems });
            }
        }
    }

    fn report(&self, received: &Received, decision: &Decision, duration: Duration) {
        self.metrics.decided(decision.verdict(), decision.codes(), duration);
        self.log.decision(&Decided {
            allowed: decision.allowed,
            failed: decision.is_failure(),
            user: received.user.as_deref(),
            authentication: &received.authentication,
            method: &received.method,
            uri: &received.uri,
            operation: decision.operation,
            kind: decision.kind,
            name: &decision.name,
            id: decision.id.as_deref(),
            annotations: &decision.annotations,
            log: &decision.log,
            duration,
        });
    }
}
