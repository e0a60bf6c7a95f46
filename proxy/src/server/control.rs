//! What a running server is asked from outside: to stop in order, or to read its
//! config again.

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{Handle, Reloaded};

/// Requests that wait to be seen to.
const WAITING: usize = 8;

/// Somebody wants the config to be read again, and to hear what came of it: the
/// answer, or what is wrong with the config.
pub type ReloadRequest = oneshot::Sender<Result<Reloaded, String>>;

/// The requests to one server.
#[derive(Debug, Default)]
pub(super) struct Control {
    pub(super) drain: CancellationToken,
    reloads: Mutex<Option<mpsc::Sender<ReloadRequest>>>,
    /// Metrics of other front ends.
    #[cfg(feature = "admin")]
    registry: Mutex<prometheus_client::registry::Registry>,
}

impl Handle {
    /// Has [`Server::run`](super::Server::run) stop as if its `shutdown` were ready.
    pub fn drain(&self) {
        self.control.drain.cancel();
    }

    /// The config that the server starts with holds from now on.
    pub(super) fn started(&self) {
        self.current.borrow().sessions.tally().configured();
    }

    /// A config was refused before it came to [`Handle::reload`]: that counts, too.
    pub fn reload_refused(&self) {
        self.current.borrow().sessions.tally().reloaded(false);
    }

    /// Returns when [`Handle::drain`] was called.
    pub async fn drain_asked(&self) {
        self.control.drain.cancelled().await;
    }

    /// Requests to read the config again, for whoever knows where it is. From the
    /// last caller on all go there.
    #[must_use]
    pub fn reload_requests(&self) -> mpsc::Receiver<ReloadRequest> {
        let (sender, receiver) = mpsc::channel(WAITING);
        *self.control.reloads.lock() = Some(sender);
        receiver
    }

    /// Asks whoever knows where the config is to read it again; `None` if nobody does.
    #[cfg(feature = "admin")]
    pub(crate) async fn ask_reload(&self) -> Option<Result<Reloaded, String>> {
        let asked = self.control.reloads.lock().clone()?;
        let (answer, answered) = oneshot::channel();
        asked.send(answer).await.ok()?;
        answered.await.ok()
    }

    /// Does something with the registry of those metrics that are not the server's own:
    /// other front ends register theirs there.
    #[cfg(feature = "admin")]
    pub(crate) fn with_registry<T>(
        &self,
        does: impl FnOnce(&mut prometheus_client::registry::Registry) -> T,
    ) -> T {
        does(&mut self.control.registry.lock())
    }

    /// What holds now.
    #[cfg(feature = "admin")]
    pub(crate) fn shared(&self) -> std::sync::Arc<super::Shared> {
        std::sync::Arc::clone(&self.current.borrow())
    }

    /// What opens the operator's side.
    #[cfg(feature = "admin")]
    pub(crate) fn keys(&self) -> &crate::admin::Keys {
        &self.keys
    }

    /// Where clients connect.
    #[cfg(feature = "admin")]
    pub(crate) fn addresses(&self) -> &[std::net::SocketAddr] {
        &self.addrs
    }

    /// Where the accounts are.
    #[cfg(feature = "admin")]
    pub(crate) fn database(&self) -> crate::users::Database {
        self.config.lock().database.clone()
    }

    /// The shadowsocks port that panels manage, if there is one.
    #[cfg(all(feature = "admin", feature = "shadowsocks"))]
    pub(crate) fn managed(&self) -> Option<crate::config::Managed> {
        let config = self.config.lock();
        config.shadowsocks.as_ref()?.managed.clone()
    }

    /// Whether nobody new is let in.
    #[cfg(feature = "admin")]
    pub(crate) fn is_draining(&self) -> bool {
        self.control.drain.is_cancelled() || self.shared().stopping.is_cancelled()
    }
}
