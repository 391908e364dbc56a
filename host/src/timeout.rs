//! The timeout protection of policy-server.
//!
//! A [`Clock`] ticks once a second, and each evaluation is interrupted after a number of ticks. As in policy-server, only a
//! guest that computes can be interrupted: a guest that waits for its host is interrupted after the host has answered. The
//! clock does not tick before it is started, so tests can tick it themselves.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use wasmtime_provider::EpochDeadlines;
use wasmtime_provider::wasmtime::Engine;

/// The interval of policy-server's clock.
const TICK: Duration = Duration::from_secs(1);

/// The time limit of an evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Seconds of computing and of waiting for the host: policy-server's `timeoutEvalSeconds`.
    Total(u64),
    /// Seconds of computing. The clock stops while an evaluation waits for the host.
    Computing(u64),
}

impl Timeout {
    /// The default of policy-server.
    pub const OF_POLICY_SERVER: Self = Self::Total(2);

    pub(crate) fn deadlines(self) -> EpochDeadlines {
        let ticks = match self {
            Self::Total(seconds) => seconds,
            // The first tick may come at once, so one more gives each evaluation its full time.
            Self::Computing(seconds) => seconds + 1,
        };
        EpochDeadlines { wapc_init: ticks, wapc_func: ticks }
    }
}

/// The clock of one engine.
#[derive(Clone)]
pub struct Clock {
    engine: Engine,
    timeout: Timeout,
    /// The number of evaluations that wait for their host.
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

    /// Counts one second.
    pub fn tick(&self) {
        // Evaluations share the clock, so a second of waiting counts for none of them: a runaway guest is interrupted a
        // little later, and a slow network does not interrupt any.
        let is_stopped = matches!(self.timeout, Timeout::Computing(_)) && self.waiting.load(Ordering::Relaxed) > 0;
        if !is_stopped {
            self.engine.increment_epoch();
        }
    }

    /// An evaluation waits for its host until the result is dropped.
    pub(crate) fn wait_for_host(&self) -> Waiting<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(&self.waiting)
    }

    /// Starts the clock. It ticks until the result is dropped.
    ///
    /// # Errors
    /// When the system cannot start a thread.
    pub fn start(&self) -> Result<RunningClock> {
        let clock = self.clone();
        let (running, stopped) = mpsc::channel::<()>();
        // A busy machine may delay a tick. The next one comes a full interval later.
        let tick = move || {
            while stopped.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                clock.tick();
            }
        };
        let thread =
            std::thread::Builder::new().name("clock".to_owned()).spawn(tick).context("cannot start the clock")?;
        Ok(RunningClock { clock: Some((running, thread)) })
    }
}

pub(crate) struct Waiting<'c>(&'c AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A clock that ticks.
#[must_use]
pub struct RunningClock {
    clock: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Drop for RunningClock {
    fn drop(&mut self) {
        if let Some((running, thread)) = self.clock.take() {
            drop(running);
            // The thread cannot panic, and ends at once.
            let _ = thread.join();
        }
    }
}

/// An evaluation was interrupted because it took too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interrupted;

impl Interrupted {
    /// Whether an error of the library has this cause. The library has no type for it.
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
        // This is the message of policy-server.
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
    fn dropping_a_clock_stops_its_thread() {
        let clock = Clock::new(Engine::default(), Timeout::OF_POLICY_SERVER);
        let running = clock.start().unwrap();
        assert_eq!(Arc::strong_count(&clock.waiting), 2, "the thread holds the clock");
        drop(running);
        assert_eq!(Arc::strong_count(&clock.waiting), 1);
    }
}
