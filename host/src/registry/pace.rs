//! How fast a host is asked: a bound for concurrent requests, and pauses that the host asks for.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The time. Tests have their own, so that they do not wait.
pub(super) trait Timer: Send + Sync {
    /// The time since a fixed moment.
    fn now(&self) -> Duration;
    /// The date.
    fn date(&self) -> DateTime<Utc>;
    /// Waits until that time since the fixed moment.
    fn wait_until(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>>;
}

/// The clock of the system.
pub(super) struct SystemTimer(Instant);

impl SystemTimer {
    pub(super) fn new() -> Self {
        Self(Instant::now())
    }
}

impl Timer for SystemTimer {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }

    fn date(&self) -> DateTime<Utc> {
        Utc::now()
    }

    fn wait_until(&self, time: Duration) -> Pin<Box<dyn Future<Output = ()> + Send + '_>> {
        Box::pin(tokio::time::sleep_until((self.0 + time).into()))
    }
}

/// The limits for each host.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Concurrent requests.
    pub(super) concurrency: usize,
    /// The time to wait in total while the host answers no request.
    pub(super) wait: Duration,
}

/// The most hosts whose pace is kept. Anyone can name a host in a manifest.
const MAX_HOSTS: usize = 1024;

/// The hosts that were asked. Hosts do not affect each other.
pub(super) struct Hosts {
    limits: Limits,
    timer: Arc<dyn Timer>,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

impl Hosts {
    pub(super) fn new(limits: Limits, timer: Arc<dyn Timer>) -> Self {
        Self { limits, timer, hosts: Mutex::default() }
    }

    pub(super) fn limits(&self) -> Limits {
        self.limits
    }

    pub(super) fn timer(&self) -> &Arc<dyn Timer> {
        &self.timer
    }

    pub(super) fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.timer.now();
        if let Some(known) = hosts.get(name) {
            known.pace().used = now;
            return Arc::clone(known);
        }
        if hosts.len() >= MAX_HOSTS {
            forget(&mut hosts, now);
        }
        let new = Arc::new(Host::new(self.limits, Arc::clone(&self.timer)));
        new.pace().used = now;
        hosts.insert(name.to_owned(), Arc::clone(&new));
        new
    }
}

/// Forgets half of the hosts, but none with a request: first those that ask for no pause, and the least recently used.
fn forget(hosts: &mut HashMap<String, Arc<Host>>, now: Duration) {
    let mut idle: Vec<_> = hosts.iter().filter(|(_, host)| Arc::strong_count(host) == 1).collect();
    idle.sort_by_cached_key(|(_, host)| {
        let pace = host.pace();
        (pace.state(now) != State::Open, pace.used)
    });
    let names: Vec<String> = idle.into_iter().take(MAX_HOSTS / 2).map(|(name, _)| name.clone()).collect();
    for name in names {
        hosts.remove(&name);
    }
}

/// One host.
pub(super) struct Host {
    timer: Arc<dyn Timer>,
    /// It is fair: requests are sent in the order in which they were made.
    turns: Arc<Semaphore>,
    pace: Mutex<Pace>,
}

impl Host {
    fn new(limits: Limits, timer: Arc<dyn Timer>) -> Self {
        let pace = Pace::new(limits);
        Self { timer, turns: Arc::new(Semaphore::new(pace.permits)), pace: Mutex::new(pace) }
    }

    fn pace(&self) -> MutexGuard<'_, Pace> {
        self.pace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until a request may be sent.
    ///
    /// # Errors
    /// When the host has asked to wait longer than the limit.
    pub(super) async fn turn(self: Arc<Self>) -> Result<Turn, Refused> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.turns).acquire_owned().await.ok();
        let mut turn = Turn { host: self, permit, began: Duration::ZERO };
        loop {
            let host = &turn.host;
            turn.began = host.timer.now();
            let state = host.pace().state(turn.began);
            match state {
                State::Open => return Ok(turn),
                State::Paused(resume) => host.timer.wait_until(resume).await,
                State::Refusing(refused) => return Err(refused),
            }
        }
    }
}

/// The permission to send one request. The next request gets it when it is dropped.
pub(super) struct Turn {
    host: Arc<Host>,
    permit: Option<OwnedSemaphorePermit>,
    began: Duration,
}

impl Turn {
    /// The host has answered the request.
    pub(super) fn answered(&self) {
        self.host.pace().answered();
    }

    /// The host did not answer, or not within the time.
    pub(super) fn failed(&self) {
        self.host.pace().failed();
    }

    /// The host has refused the request, and asks to wait.
    ///
    /// # Errors
    /// When that is longer than the limit.
    pub(super) fn limited(&self, status: u16, wait: Duration) -> Result<(), Refused> {
        self.host.pace().limited(self.began, self.host.timer.now(), status, wait)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut pace = self.host.pace();
        if pace.permits > pace.allowed
            && let Some(permit) = self.permit.take()
        {
            permit.forget();
            pace.permits -= 1;
        }
        if pace.permits > pace.allowed {
            pace.permits -= self.host.turns.forget_permits(pace.permits - pace.allowed);
        } else {
            self.host.turns.add_permits(pace.allowed - pace.permits);
            pace.permits = pace.allowed;
        }
    }
}

/// The host refuses requests for a longer time than the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Refused {
    /// The HTTP status of the refused request.
    pub(super) status: u16,
    /// The rest of the time for which the host asks to wait.
    pub(super) wait: Duration,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Open,
    Paused(Duration),
    Refusing(Refused),
}

/// The pace of one host.
#[derive(Debug)]
struct Pace {
    limits: Limits,
    /// The number of concurrent requests. It begins with 1, so that one request finds out about authentication before the others
    /// are sent. It is halved when the host limits the rate, and grows by one after as many answers.
    allowed: usize,
    /// The number of permits that exist. It follows `allowed` when requests end.
    permits: usize,
    /// The answers since `allowed` was changed.
    answers: usize,
    /// Whether a request has ended, whatever its result was.
    is_known: bool,
    /// The end of the pause.
    resume: Duration,
    /// The pauses since the last answer.
    waited: Duration,
    /// The end of a pause that is longer than the limit.
    refused: Option<(Duration, u16)>,
    /// The time of the last request.
    used: Duration,
}

impl Pace {
    fn new(limits: Limits) -> Self {
        Self {
            limits,
            allowed: 1,
            permits: 1,
            answers: 0,
            is_known: false,
            resume: Duration::ZERO,
            waited: Duration::ZERO,
            refused: None,
            used: Duration::ZERO,
        }
    }

    fn state(&self, now: Duration) -> State {
        match self.refused {
            Some((end, status)) if now < end => State::Refusing(Refused { status, wait: end - now }),
            _ if now < self.resume => State::Paused(self.resume),
            _ => State::Open,
        }
    }

    fn answered(&mut self) {
        self.waited = Duration::ZERO;
        if !self.is_known {
            self.failed();
            return;
        }
        self.answers += 1;
        if self.answers >= self.allowed && self.allowed < self.limits.concurrency {
            self.allowed += 1;
            self.answers = 0;
        }
    }

    fn failed(&mut self) {
        if !self.is_known {
            self.is_known = true;
            self.allowed = self.limits.concurrency;
        }
    }

    fn limited(&mut self, began: Duration, now: Duration, status: u16, wait: Duration) -> Result<(), Refused> {
        let end = now.saturating_add(wait);
        // Requests that were sent before the pause tell nothing new about the rate.
        if began >= self.resume {
            self.is_known = true;
            self.allowed = (self.allowed / 2).max(1);
            self.answers = 0;
        }
        let longer = end.saturating_sub(self.resume.max(now));
        if self.waited.saturating_add(longer) > self.limits.wait {
            let end = self.refused.map_or(end, |(known, _)| known.max(end));
            self.refused = Some((end, status));
            return Err(Refused { status, wait });
        }
        self.waited += longer;
        self.resume = self.resume.max(end);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::{Hosts, Limits, MAX_HOSTS, Pace, Refused, State, SystemTimer};

    const fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// A host that has answered before, with 8 concurrent requests, and up to 60 s of pauses.
    fn known() -> Pace {
        let mut pace = Pace::new(Limits { concurrency: 8, wait: seconds(60) });
        pace.answered();
        pace
    }

    #[test]
    fn the_first_request_to_a_host_is_sent_alone() {
        let mut pace = Pace::new(Limits { concurrency: 8, wait: seconds(60) });
        assert_eq!(pace.allowed, 1);
        pace.failed();
        assert_eq!(pace.allowed, 8, "also after an error");
        assert_eq!(known().allowed, 8);
    }

    #[test]
    fn a_pause_ends_when_the_host_says() {
        let mut pace = known();
        assert_eq!(pace.limited(seconds(1), seconds(2), 429, seconds(10)), Ok(()));
        assert_eq!(pace.state(seconds(11)), State::Paused(seconds(12)));
        assert_eq!(pace.state(seconds(12)), State::Open);
    }

    #[test]
    fn the_concurrency_is_halved_once_for_each_pause_and_grows_with_the_answers() {
        let mut pace = known();
        for _ in 0..3 {
            pace.limited(seconds(1), seconds(2), 429, seconds(10)).unwrap();
        }
        assert_eq!(pace.allowed, 4);
        pace.limited(seconds(12), seconds(12), 429, seconds(10)).unwrap();
        assert_eq!(pace.allowed, 2);
        (0..2).for_each(|_| pace.answered());
        assert_eq!(pace.allowed, 3);
        (0..100).for_each(|_| pace.answered());
        assert_eq!(pace.allowed, 8);
        for time in 1..10 {
            pace.limited(seconds(time * 100), seconds(time * 100), 429, seconds(1)).unwrap();
        }
        assert_eq!(pace.allowed, 1);
    }

    #[test]
    fn pauses_without_an_answer_between_them_are_limited_in_total() {
        let mut pace = known();
        assert_eq!(pace.limited(seconds(0), seconds(0), 429, seconds(30)), Ok(()));
        // The same pause, reported to a second request.
        assert_eq!(pace.limited(seconds(0), seconds(1), 429, seconds(29)), Ok(()));
        assert_eq!(pace.limited(seconds(30), seconds(30), 429, seconds(30)), Ok(()));
        let refused = Refused { status: 429, wait: seconds(30) };
        assert_eq!(pace.limited(seconds(60), seconds(60), 429, seconds(30)), Err(refused));
        let rest = Refused { status: 429, wait: seconds(10) };
        assert_eq!(pace.state(seconds(80)), State::Refusing(rest), "without another request");
        assert_eq!(pace.state(seconds(90)), State::Open);
    }

    #[test]
    fn an_answer_ends_the_count_of_pauses() {
        let mut pace = known();
        for round in 0..10 {
            assert_eq!(pace.limited(seconds(round * 50), seconds(round * 50), 429, seconds(50)), Ok(()));
            pace.answered();
        }
    }

    #[test]
    fn a_pause_of_any_length_can_be_asked_for() {
        let mut pace = known();
        assert!(pace.limited(seconds(1), seconds(2), 503, Duration::MAX).is_err());
        assert!(matches!(pace.state(seconds(1 << 40)), State::Refusing(_)));
    }

    #[test]
    fn the_pace_of_few_hosts_is_kept_first_those_with_requests_and_pauses() {
        let limits = Limits { concurrency: 8, wait: seconds(60) };
        let hosts = Hosts::new(limits, Arc::new(SystemTimer::new()));
        let used = hosts.host("used.test");
        hosts.host("paused.test").pace().limited(seconds(0), seconds(0), 429, seconds(3000)).unwrap_err();
        for number in 0..10 * MAX_HOSTS {
            drop(hosts.host(&format!("{number}.test")));
        }
        assert!(hosts.hosts.lock().unwrap().len() <= MAX_HOSTS);
        assert!(Arc::ptr_eq(&used, &hosts.host("used.test")), "a host with a request");
        assert!(matches!(hosts.host("paused.test").pace().state(seconds(9)), State::Refusing(_)));
        // Hosts that all ask for pauses are forgotten, too.
        for number in 0..10 * MAX_HOSTS {
            let host = hosts.host(&format!("{number}.limited.test"));
            host.pace().limited(seconds(0), seconds(0), 429, seconds(3000)).unwrap_err();
        }
        assert!(hosts.hosts.lock().unwrap().len() <= MAX_HOSTS);
        assert!(Arc::ptr_eq(&used, &hosts.host("used.test")), "a host with a request");
    }
}
