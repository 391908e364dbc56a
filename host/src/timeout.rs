//! How long a policy may take: the timeout protection of policy-server.
//!
//! A [`Clock`] ticks once a second, and whoever evaluates a policy says after how many ticks the guest is interrupted. As in
//! policy-server that happens only while the guest computes: a guest that waits for its host is interrupted when the host
//! has answered. The clock stands still until somebody starts it, so that tests can move it by hand.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime_provider::EpochDeadlines;
use wasmtime_provider::wasmtime::Engine;

/// As often as policy-server's clock ticks.
const TICK: Duration = Duration::from_secs(1);

/// How long one evaluation may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// This many seconds, in which the guest computes or waits for its host: policy-server's `timeoutEvalSeconds`.
    OfAll(u64),
    /// This many seconds in which the guest computes. While somebody waits for the host, the clock stands still.
    OfComputing(u64),
}

impl Timeout {
    /// What policy-server gives a policy that does not say `timeoutEvalSeconds`.
    pub const OF_POLICY_SERVER: Self = Self::OfAll(2);

    pub(crate) fn deadlines(self) -> EpochDeadlines {
        let ticks = match self {
            Self::OfAll(seconds) => seconds,
            // The first tick may come at once: one more, so that nobody gets less than what was said.
            Self::OfComputing(seconds) => seconds + 1,
        };
        EpochDeadlines { wapc_init: ticks, wapc_func: ticks }
    }
}

/// The clock of one engine.
#[derive(Clone)]
pub struct Clock {
    engine: Engine,
    timeout: Timeout,
    /// How many evaluations wait for their host.
    waiting: Arc<AtomicUsize>,
}

impl Clock {
    pub(crate) fn new(engine: Engine, timeout: Timeout) -> Self {
        Self { engine, timeout, waiting: Arc::default() }
    }

    pub(crate) fn with_timeout(self, timeout: Timeout) -> Self {
        Self { timeout, ..self }
    }

    pub(crate) fn timeout(&self) -> Timeout {
        self.timeout
    }

    /// A second is over.
    pub fn tick(&self) {
        // Evaluations share the clock, and nothing tells whose second it was. So it is nobody's: a runaway guest is
        // interrupted a little later, and a slow network interrupts none.
        let stands_still = matches!(self.timeout, Timeout::OfComputing(_)) && self.waiting.load(Ordering::Relaxed) > 0;
        if !stands_still {
            self.engine.increment_epoch();
        }
    }

    /// An evaluation waits for its host until this is dropped.
    pub(crate) fn waiting(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// Starts the clock. It goes on until what is returned is dropped.
    ///
    /// # Errors
    /// When this machine has no room for another thread.
    pub fn start(&self) -> Result<Ticking> {
        let clock = self.clone();
        let (running, stopped) = mpsc::channel::<()>();
        // Ticks that a busy machine misses are not made up for: each is counted from the one before.
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                clock.tick();
            }
        };
        let thread =
            std::thread::Builder::new().name("clock".to_owned()).spawn(tick).context("cannot start the clock")?;
        Ok(Ticking { clock: Some((running, thread)) })
    }
}

pub(crate) struct Waiting<'c>(&'c AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A clock that goes.
#[must_use]
pub struct Ticking {
    clock: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Drop for Ticking {
    fn drop(&mut self) {
        if let Some((running, thread)) = self.clock.take() {
            drop(running);
            // It does nothing that could panic, and is over at once.
            let _ = thread.join();
        }
    }
}

/// An evaluation that took longer than it may, and was interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl Interrupted {
    /// Whether that is what an error of the library says. It has no type for it.
    pub(crate) fn is_in(error: &wapc::errors::Error) -> bool {
        match error {
            wapc::errors::Error::GuestCallFailure(cause) => {
                cause == "guest code interrupted, execution deadline exceeded"
            }
            wapc::errors::Error::InitFailed(cause) => cause.ends_with("init interrupted, execution deadline exceeded"),
            _ => false,
        }
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The words of policy-server.
        f.write_str("Policy execution interrupted because it exceeded the allowed execution time")
    }
}

impl std::error::Error for Interrupted {}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use wasmtime_provider::wasmtime::Engine;

    use super::{Clock, Timeout};

    #[test]
    fn a_clock_that_is_dropped_leaves_no_thread_behind() {
        let clock = Clock::new(Engine::default(), Timeout::OF_POLICY_SERVER);
        let ticking = clock.start().unwrap();
        assert_eq!(Arc::strong_count(&clock.waiting), 2, "the thread holds the clock");
        drop(ticking);
        assert_eq!(Arc::strong_count(&clock.waiting), 1);
    }
}
