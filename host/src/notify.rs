//! Reports the state of a service to systemd. Without systemd, these functions do nothing.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use listenfd::ListenFd;
use sd_notify::NotifyState;
use tokio::task::JoinHandle;

/// The service works, and has the settings that it needs.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// The service reads its settings again. [`ready`] ends that.
pub(crate) fn reloading() {
    // Newer versions of systemd require the time, and end the service without it.
    if let Ok(now) = NotifyState::monotonic_usec_now() {
        notify(&[NotifyState::Reloading, now]);
    }
}

/// The service ends.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd regularly that the runtime works, if the unit has `WatchdogSec=`. Call it inside of the runtime of the service.
pub(crate) fn start_watchdog() -> Option<JoinHandle<()>> {
    let limit = sd_notify::watchdog_enabled()?;
    Some(tokio::spawn(async move {
        loop {
            notify(&[NotifyState::Watchdog]);
            tokio::time::sleep(interval(limit)).await;
        }
    }))
}

/// systemd recommends half of its limit.
fn interval(limit: Duration) -> Duration {
    (limit / 2).max(Duration::from_millis(100))
}

/// The socket that systemd has made for the service. `None` if the service makes it itself.
///
/// # Errors
/// When systemd does not pass exactly one listening Unix socket.
pub(crate) fn socket() -> Result<Option<std::os::unix::net::UnixListener>> {
    let mut passed = ListenFd::from_env();
    match passed.len() {
        0 => Ok(None),
        1 => passed.take_unix_listener(0).context("cannot use the socket of systemd"),
        number => bail!("cannot use the sockets of systemd: expected 1, found {number}"),
    }
}

fn notify(state: &[NotifyState<'_>]) {
    // The service also works without systemd, so an error is ignored.
    let _ = sd_notify::notify(state);
}

/// A status ends at a line break, and what follows it would be another message.
fn one_line(text: &str) -> String {
    text.replace(|character: char| character.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{interval, one_line};

    #[test]
    fn a_status_is_one_line() {
        assert_eq!(one_line("settings of a\nMAINPID=1\r"), "settings of a MAINPID=1 ");
    }

    #[test]
    fn the_watchdog_is_notified_twice_as_often_as_required() {
        assert_eq!(interval(Duration::from_secs(30)), Duration::from_secs(15));
        assert_eq!(interval(Duration::ZERO), Duration::from_millis(100));
    }
}
