//! The plugin: it decides calls with the settings that are in force, and reports its decisions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::call::Unseen;
use super::decision::{Decider, Decision, Engine};
use super::log::{Decided, Event, Log};
use super::server::Received;
use crate::capabilities::Capabilities;
use crate::policy::Policy;

/// The most calls that are decided at the same time. Most of them wait for a registry.
pub(super) const MAX_DECISIONS: usize = 512;

/// The plugin.
pub(super) struct Plugin {
    pub(super) policy: Policy,
    pub(super) settings: Value,
    pub(super) capabilities: Arc<dyn Capabilities>,
    pub(super) engine: Box<dyn Engine>,
    pub(super) allowed: BTreeSet<Unseen>,
    pub(super) log: Log,
    pub(super) free: Semaphore,
}

impl Plugin {
    /// Decides about a call. Returns why it is refused.
    pub(super) async fn decide(self: &Arc<Self>, received: Received) -> Option<String> {
        self.run(received, |decider, received| decider.decide(&received.call, received.request())).await
    }

    /// Checks what a call has created. Returns why it is refused.
    pub(super) async fn check_created(self: &Arc<Self>, received: Received) -> Option<String> {
        self.run(received, |decider, received| {
            decider.check_created(&received.call, received.request(), received.response())
        })
        .await
    }

    /// Counts a call that starts nothing.
    pub(super) fn count_passed(&self) {}

    /// Reports a message of the engine that cannot be read.
    pub(super) fn report_error(&self, error: &str) {
        self.log.event(&Event::Error { message: error });
    }

    async fn run(
        self: &Arc<Self>,
        received: Received,
        decide: impl FnOnce(&Decider<'_>, &Received) -> Option<Decision> + Send + 'static,
    ) -> Option<String> {
        let started = Instant::now();
        let Ok(_free) = self.free.try_acquire() else {
            return Some(format!("{MAX_DECISIONS} calls are being decided; try again"));
        };
        let plugin = Arc::clone(self);
        // A decision waits for the engine and for registries.
        let decided = tokio::task::spawn_blocking(move || {
            let decision = decide(&plugin.decider(), &received)?;
            plugin.report(&received, &decision, started.elapsed());
            Some(decision)
        });
        match decided.await {
            Ok(decision) => decision.filter(|decision| !decision.allowed).map(|decision| decision.message),
            Err(error) => Some(format!("the call could not be decided: {error}")),
        }
    }

    fn decider(&self) -> Decider<'_> {
        Decider {
            policy: &self.policy,
            settings: &self.settings,
            capabilities: &self.capabilities,
            engine: self.engine.as_ref(),
            allowed: &self.allowed,
        }
    }

    fn report(&self, received: &Received, decision: &Decision, duration: Duration) {
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
