//! Another config for a server that runs: what can change at once does, the
//! rest is named.
//!
//! Each connection keeps the settings that it began with; those that come
//! later get the new ones. So nothing has to be locked while bytes move.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use super::Shared;
use super::control::Control;
use crate::config::{AdminError, Config};
use crate::egress::Egress;
use crate::tls::{Certificates, TlsError};
use crate::users::Bandwidth;

/// A running server, as far as it can be told anything: cheap to clone.
#[derive(Clone, Debug)]
pub struct Handle {
    pub(super) current: watch::Sender<Arc<Shared>>,
    pub(super) config: Arc<Mutex<Config>>,
    pub(super) addrs: Arc<[SocketAddr]>,
    /// What no user may reach: `addrs`, and where the operator's side listens.
    pub(super) own: Arc<[SocketAddr]>,
    pub(super) certificates: Certificates,
    pub(super) control: Arc<Control>,
    #[cfg(feature = "admin")]
    pub(super) keys: Arc<crate::admin::Keys>,
}

/// Why another config is not taken over.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The token or the certificates of the operator's side cannot be used.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// What came of another config: keys by their names in a config file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloaded {
    /// These have changed and hold for connections from now on.
    pub changed: Vec<&'static str>,
    /// These differ and stay as they were until the server is started anew.
    pub needs_restart: Vec<&'static str>,
}

impl Handle {
    /// Takes over what of `config` can change while the server runs, and reads
    /// the certificates again, and the token of the operator's side.
    ///
    /// Changes at once: `allow_egress`, `egress`, `accounting_interval`, `timeouts`,
    /// `caps`, `registration`, the limit in `bandwidth`. Needs a restart: `listen`,
    /// `listener`, `workers`, `database`, `admin`, the paths in `tls`, `https_service`, and anything else in `bandwidth`.
    ///
    /// # Errors
    /// [`ReloadError`] if something of that cannot be used: then the config has not
    /// changed.
    pub fn reload(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let done = self.take_over(config);
        self.current
            .borrow()
            .sessions
            .tally()
            .reloaded(done.is_ok());
        done
    }

    fn take_over(&self, config: Config) -> Result<Reloaded, ReloadError> {
        let mut running = self.config.lock();
        #[cfg(feature = "admin")]
        self.keys.renew()?;
        self.certificates.reload()?;
        let mut done = Reloaded::default();
        let mut stays = |key, differs: bool| {
            if differs {
                done.needs_restart.push(key);
            }
        };
        stays("listen", running.listen != config.listen);
        stays("listener", running.listeners != config.listeners);
        stays("workers", running.workers != config.workers);
        stays("database", running.database != config.database);
        stays("tls", running.tls != config.tls);
        #[cfg(feature = "shadowsocks")]
        stays("shadowsocks", running.shadowsocks != config.shadowsocks);
        stays(
            "https_service",
            running.https_service != config.https_service,
        );
        stays("admin", running.admin != config.admin);
        let bandwidth = bandwidth(running.bandwidth, config.bandwidth);
        stays(
            "bandwidth",
            bandwidth.is_none() && running.bandwidth != config.bandwidth,
        );
        let mut live = |key, differs: bool| {
            if differs {
                done.changed.push(key);
            }
        };
        live("allow_egress", running.allow_egress != config.allow_egress);
        live("egress", running.egress != config.egress);
        live(
            "accounting_interval",
            running.accounting_interval != config.accounting_interval,
        );
        live("timeouts", running.timeouts != config.timeouts);
        live("caps", running.caps != config.caps);
        live("registration", running.registration != config.registration);
        live("bandwidth", bandwidth.is_some());
        let before = running.caps.connections;
        *running = Config {
            listen: running.listen.clone(),
            listeners: running.listeners.clone(),
            database: running.database.clone(),
            journal: running.journal.clone(),
            tls: running.tls.clone(),
            #[cfg(feature = "shadowsocks")]
            shadowsocks: running.shadowsocks.clone(),
            https_service: running.https_service.clone(),
            admin: running.admin.clone(),
            bandwidth: bandwidth.or(running.bandwidth),
            ..config
        };
        let shared = self.current.borrow().with(&running, &self.own);
        resize(&shared.places, before, running.caps.connections);
        shared.users.set_patience(running.timeouts.database);
        if let Some(bandwidth) = bandwidth {
            shared.users.set_bandwidth(bandwidth);
        }
        self.current.send_replace(Arc::new(shared));
        Ok(done)
    }
}

impl Shared {
    /// The same server with the settings of `config`.
    fn with(&self, config: &Config, own: &[SocketAddr]) -> Self {
        let (allowed, after) = (config.allow_egress.clone(), config.timeouts.connect);
        let egress = Egress::new(allowed, own.to_vec(), after).with_rules(config.egress.clone());
        let egress = Arc::new(egress);
        #[cfg(feature = "https-service")]
        if let Some(service) = &self.service {
            service.set_egress(Arc::clone(&egress));
        }
        self.handshakes.set_most(config.caps.handshakes);
        Self {
            users: self.users.clone(),
            egress: Arc::clone(&egress),
            #[cfg(feature = "https-service")]
            service: self.service.clone(),
            addresses: self
                .addresses
                .with_most(config.caps.connections_per_address),
            timeouts: config.timeouts,
            caps: config.caps,
            accounting_interval: config.accounting_interval,
            registration: config.registration,
            handshakes: self.handshakes.clone(),
            places: Arc::clone(&self.places),
            stopping: self.stopping.clone(),
            cut: self.cut.clone(),
            sessions: self.sessions.clone(),
            ids: Arc::clone(&self.ids),
        }
    }
}

/// A limit of the whole server that can take the place of `running`: another
/// limit with the same floor.
fn bandwidth(running: Option<Bandwidth>, next: Option<Bandwidth>) -> Option<Bandwidth> {
    let (running, next) = (running?, next?);
    (running != next && running.floor == next.floor).then_some(next)
}

/// More places at once; fewer as soon as that many are free. Meanwhile, nobody
/// gets one.
fn resize(places: &Arc<Semaphore>, before: usize, after: usize) {
    let (before, after) = (bounded(before), bounded(after));
    if after >= before {
        places.add_permits(after - before);
        return;
    }
    let places = Arc::clone(places);
    let fewer = u32::try_from(before - after).unwrap_or(u32::MAX);
    tokio::spawn(async move {
        // The semaphore is never closed.
        if let Ok(permits) = places.acquire_many(fewer).await {
            permits.forget();
        }
    });
}

/// As many as there can be.
pub(super) fn bounded(connections: usize) -> usize {
    connections.min(Semaphore::MAX_PERMITS)
}

/// Waits for other settings, and says how often usage is to be written then.
pub(super) async fn interval(current: &mut watch::Receiver<Arc<Shared>>) -> Duration {
    if current.changed().await.is_err() {
        // Nobody is left who could change anything.
        std::future::pending::<()>().await;
    }
    current.borrow_and_update().accounting_interval
}
