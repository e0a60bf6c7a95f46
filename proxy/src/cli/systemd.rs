//! What systemd is told (`sd_notify(3)`), and what it hands over
//! (`sd_listen_fds(3)`). Without systemd nothing of this does anything.

use std::io;
use std::net::TcpListener;
use std::time::Duration;

use listenfd::ListenFd;
use sd_notify::NotifyState;

/// The sockets that systemd opened for this process. To be called before
/// there are threads: the environment is read and cleared.
///
/// # Errors
/// One of them is no TCP socket that listens.
pub(super) fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut sockets = ListenFd::from_env();
    let taken = (0..sockets.len()).map(|index| sockets.take_tcp_listener(index));
    let taken = taken.collect::<io::Result<Vec<_>>>()?;
    Ok(taken.into_iter().flatten().collect())
}

/// Serving, with the config that holds now; the watchdog is fed from the first
/// time on.
pub(super) fn ready() {
    tell(&[NotifyState::Ready, NotifyState::Status("serving")]);
    static FED: std::sync::Once = std::sync::Once::new();
    FED.call_once(|| {
        if let Some(limit) = sd_notify::watchdog_enabled() {
            tokio::spawn(feed(limit / 2));
        }
    });
}

/// The config is being read again.
pub(super) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// No more connections; those that are open may end.
pub(super) fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

/// As long as tasks get their turn, this one does.
async fn feed(interval: Duration) {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    loop {
        ticks.tick().await;
        tell(&[NotifyState::Watchdog]);
    }
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::debug!(%error, "systemd does not listen");
    }
}
