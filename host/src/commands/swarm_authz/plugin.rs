//! The plugin: it decides calls with the settings that are in force, and reports its decisions.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tokio::sync::Semaphore;

use super::call::Unseen;
use super::decision::{Decider, Decision, Engine};
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
        eprintln!("Error: {error}");
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
            plugin.report(&received, &decision, started);
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

    fn report(&self, received: &Received, decision: &Decision, started: Instant) {
        eprintln!(
            "{}",
            json!({
                "event": "decision", "allowed": decision.allowed, "user": received.user, "method": received.method,
                "path": received.uri, "operation": decision.operation, "kind": decision.kind, "name": decision.name,
                "annotations": decision.annotations, "seconds": started.elapsed().as_secs_f64(),
            })
        );
    }
}
