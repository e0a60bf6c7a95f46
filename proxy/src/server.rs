//! Bind, accept, drain.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::causes::chain;
use crate::config::{AdminError, Caps, Config, Listener, Registration, Timeouts};
use crate::egress::Egress;
#[cfg(feature = "https-service")]
use crate::https_service::Service;
use crate::metrics::Reason;
use crate::sessions::Sessions;
#[cfg(feature = "shadowsocks")]
use crate::shadowsocks::{Aside, Bound, Front, Turnstile, Venue};
use crate::tls::{Certificates, TlsError};
use crate::users::{StoreError, UserError, Users};
use crate::{session, socket};

mod accept;
mod addresses;
mod check;
mod control;
mod entrance;
mod handshakes;
mod reload;
mod workers;

#[cfg(feature = "shadowsocks")]
pub(crate) use accept::run as accept;
pub(crate) use addresses::Counted;
pub use control::ReloadRequest;
pub(crate) use entrance::Rules;
#[cfg(feature = "shadowsocks")]
pub(crate) use entrance::listen;
pub use reload::{Handle, ReloadError, Reloaded};
pub(crate) use workers::Workers;

use addresses::Addresses;
use check::{certificates, check_addresses, check_panel, check_service};
use entrance::Entrance;
use handshakes::Handshakes;
pub(crate) use handshakes::Place;

/// How often the database is asked whether another process changed a user.
const REFRESH: Duration = Duration::from_millis(100);

/// A proxy that listens. It serves while [`Server::run`] runs; dropped, it
/// listens no more.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Entrance>,
    workers: Workers,
    handle: Handle,
    #[cfg(feature = "shadowsocks")]
    shadowsocks: Option<(Arc<Front>, Vec<Bound>, Aside)>,
    #[cfg(feature = "admin")]
    admin: crate::admin::Admin,
}

/// Why a server does not start.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// No address to listen on.
    #[error("no address to listen on: give at least one, as in --listen 127.0.0.1:1080")]
    NoAddress,
    /// An address is one of two listeners.
    #[error("{0} is given twice: each address has one listener")]
    Twice(SocketAddr),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {}", remedy(source))]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A socket that was handed over cannot be listened on.
    #[error("cannot listen on an inherited socket")]
    Inherit(#[source] io::Error),
    /// The threads that serve connections cannot be started.
    #[error("cannot start a thread for connections")]
    Workers(#[source] io::Error),
    /// The accounts cannot be opened.
    #[error(transparent)]
    Users(#[from] UserError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// What keeps recordings from being served cannot be read or written.
    #[cfg(feature = "shadowsocks")]
    #[error("cannot use the file of shadowsocks salts")]
    Salts(#[source] io::Error),
    /// The panel cannot be spoken with under TLS.
    #[error("shadowsocks.panel: {0}")]
    Panel(#[source] TlsError),
    /// The HTTPS service is asked for and not there.
    #[error("this program was built without the HTTPS service")]
    NoService,
    /// The operator's side cannot be opened.
    #[error(transparent)]
    Admin(#[from] AdminError),
}

/// Why a server stopped other than asked to.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The last of the usage could not be written.
    #[error("usage was counted and could not be written")]
    Flush(#[from] StoreError),
}

/// What every session needs.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) users: Users,
    pub(crate) egress: Arc<Egress>,
    #[cfg(feature = "https-service")]
    pub(crate) service: Option<Arc<Service>>,
    pub(crate) timeouts: Timeouts,
    pub(crate) caps: Caps,
    accounting_interval: Duration,
    pub(crate) registration: Option<Registration>,
    pub(crate) addresses: Addresses,
    pub(crate) handshakes: Handshakes,
    /// A place for each connection, or for two descriptors.
    pub(crate) places: Arc<Semaphore>,
    /// Nothing new is begun.
    pub(crate) stopping: CancellationToken,
    /// Nothing goes on.
    pub(crate) cut: CancellationToken,
    pub(crate) sessions: Sessions,
    ids: Arc<AtomicU64>,
}

impl Server {
    /// Whether a server could start with `config`, as far as that can be known
    /// without starting one.
    ///
    /// # Errors
    /// [`BindError`]
    pub fn check(config: &Config) -> Result<(), BindError> {
        if config.listen.is_empty()
            && config.listeners.is_empty()
            && config.service_listen().is_empty()
        {
            return Err(BindError::NoAddress);
        }
        check_addresses(config)?;
        check_service(config)?;
        check_panel(config)?;
        config.admin.check()?;
        #[cfg(feature = "admin")]
        crate::admin::check(&config.admin)?;
        certificates(config).map(drop)
    }

    /// Opens the accounts and listens: on return clients can connect, and
    /// [`Server::addrs`] has the real ports.
    ///
    /// # Errors
    /// [`BindError`]
    pub async fn bind(config: Config) -> Result<Self, BindError> {
        Self::bind_with(config, Vec::new()).await
    }

    /// As [`Server::bind`], and serves on sockets that listen already (as
    /// systemd hands them over) before those of the config: every dialect on each.
    ///
    /// # Errors
    /// [`BindError`]
    pub async fn bind_with(
        config: Config,
        inherited: Vec<std::net::TcpListener>,
    ) -> Result<Self, BindError> {
        config.admin.check()?;
        check_addresses(&config)?;
        let certificates = certificates(&config)?;
        let plain = config.listen.iter().map(|&address| Listener::new(address));
        let inherited = inherited
            .into_iter()
            .map(|listener| Entrance::inherit(listener, &certificates).map_err(BindError::Inherit));
        let own = plain
            .chain(config.listeners.iter().cloned())
            .map(|listener| {
                let address = listener.address;
                Entrance::bind(listener, &certificates)
                    .map_err(|source| BindError::Listen { address, source })
            });
        check_service(&config)?;
        check_panel(&config)?;
        #[cfg_attr(
            not(feature = "https-service"),
            allow(unused_mut, reason = "only the service adds listeners")
        )]
        let mut listeners = inherited.chain(own).collect::<Result<Vec<_>, _>>()?;
        #[cfg(feature = "https-service")]
        for &address in config.service_listen() {
            let service = config.https_service.as_ref();
            let bound = service.map(|service| Entrance::service(address, service, &certificates));
            let bound = bound.transpose();
            listeners.extend(bound.map_err(|source| BindError::Listen { address, source })?);
        }
        if listeners.is_empty() {
            return Err(BindError::NoAddress);
        }
        let sessions = Sessions::default();
        let workers = Workers::start(config.workers, &sessions).map_err(BindError::Workers)?;
        let addrs: Arc<[_]> = listeners.iter().map(|entrance| entrance.address).collect();
        #[cfg(feature = "admin")]
        let admin = crate::admin::Admin::bind(&config.admin).await?;
        #[cfg(feature = "admin")]
        let own = addrs.iter().copied().chain(admin.tcp()).collect();
        #[cfg(not(feature = "admin"))]
        let own = addrs.to_vec();
        let own: Arc<[_]> = Vec::into(own);
        let users = Users::open(&config.database, config.password_cost).await?;
        if let Some(folder) = &config.journal {
            users.keep_journal(folder).await?;
        }
        users.set_patience(config.timeouts.database);
        if let Some(bandwidth) = config.bandwidth {
            users.set_bandwidth(bandwidth);
        }
        #[cfg(feature = "shadowsocks")]
        let shadowsocks = match config.shadowsocks.clone() {
            None => None,
            Some(settings) => {
                let turnstile = Turnstile::start().map_err(BindError::Workers)?;
                let (tls, users) = (config.tls.clone(), users.clone());
                let front = Front::open(settings, tls, users, turnstile);
                let front = front.map_err(BindError::Salts)?;
                let aside = front.listen_aside().await;
                let aside =
                    aside.map_err(|(address, source)| BindError::Listen { address, source })?;
                front.prepare().await;
                let (bound, _) = front.listen().await;
                Some((front, bound, aside))
            }
        };
        let (allowed, after) = (config.allow_egress.clone(), config.timeouts.connect);
        let egress = Egress::new(allowed, own.to_vec(), after).with_rules(config.egress.clone());
        let egress = Arc::new(egress);
        #[cfg(feature = "https-service")]
        let service = config.https_service.clone();
        #[cfg(feature = "https-service")]
        if let Some(guest) = service.as_ref().and_then(|service| service.guest.as_ref())
            && let Err(error) = users.guest(&guest.name)
        {
            tracing::warn!(
                guest = %guest.name.escape_debug(), reason = %error,
                "clients without a login are refused: add this user, or change `guest`"
            );
        }
        let shared = Shared {
            users,
            #[cfg(feature = "https-service")]
            service: service
                .map(|service| Service::new(service, Arc::clone(&egress)))
                .transpose()?
                .map(Arc::new),
            egress,
            addresses: Addresses::new(config.caps.connections_per_address),
            timeouts: config.timeouts,
            caps: config.caps,
            accounting_interval: config.accounting_interval,
            registration: config.registration,
            handshakes: Handshakes::new(config.caps.handshakes),
            places: Arc::new(Semaphore::new(reload::bounded(config.caps.connections))),
            stopping: CancellationToken::new(),
            cut: CancellationToken::new(),
            sessions,
            ids: Arc::default(),
        };
        let handle = Handle {
            current: watch::Sender::new(Arc::new(shared)),
            config: Arc::new(Mutex::new(config)),
            addrs,
            own,
            certificates,
            control: Arc::default(),
            #[cfg(feature = "admin")]
            keys: admin.keys(),
        };
        handle.started();
        #[cfg(all(feature = "admin", feature = "https-service"))]
        if let Some(service) = &handle.current.borrow().service {
            handle.with_registry(|registry| service.register(registry));
        }
        Ok(Self {
            listeners,
            workers,
            handle,
            #[cfg(feature = "shadowsocks")]
            shadowsocks,
            #[cfg(feature = "admin")]
            admin,
        })
    }

    /// Where clients can connect: inherited sockets, then in the order of
    /// [`Config::listen`], then [`Config::listeners`], then those of the HTTPS service.
    #[must_use]
    pub fn addrs(&self) -> &[SocketAddr] {
        &self.handle.addrs
    }

    /// Where the operator's side listens: the real ports.
    #[cfg(feature = "admin")]
    #[must_use]
    pub fn admin_addrs(&self) -> Vec<crate::config::AdminAddress> {
        self.admin.addresses()
    }

    /// A handle to the accounts; it stays good after the server has stopped.
    #[must_use]
    pub fn users(&self) -> Users {
        self.handle.current.borrow().users.clone()
    }

    /// A handle with which the server can be told another config while it runs.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// A handle to the certificates, which are read again with
    /// [`Certificates::reload`]; open connections keep theirs.
    #[must_use]
    pub fn certificates(&self) -> Certificates {
        self.handle.certificates.clone()
    }

    /// Serves until `shutdown` is ready, then drains: accepts nobody, lets open
    /// connections end for the time the config gives them, cuts the rest, and
    /// writes the last of the usage, for which a database that is away has as
    /// much time again.
    ///
    /// # Errors
    /// [`RunError`]
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), RunError> {
        // The operator's side goes on while connections drain.
        #[cfg(feature = "admin")]
        let _admin = self.admin.serve(self.handle.clone());
        let control = Arc::clone(&self.handle.control);
        let current = self.handle.current;
        let shared = Arc::clone(&current.borrow());
        // Dropped half-way, nothing that was spawned here goes on.
        let _cut = shared.cut.clone().drop_guard();
        let _stopping = shared.stopping.clone().drop_guard();
        let sessions = TaskTracker::new();
        // Kept until the last usage is written: a database may have a connection there.
        let workers = self.workers;
        for (index, entrance) in self.listeners.into_iter().enumerate() {
            let door = Door {
                current: current.subscribe(),
                rules: Arc::new(entrance.rules),
                sessions: sessions.clone(),
                workers: workers.clone(),
                here: index % workers.len(),
            };
            let stopping = shared.stopping.clone();
            let admit = move |client, source| door.admit(client, source);
            workers
                .runtime(index)
                .spawn(accept::run(entrance.listener, stopping, admit));
        }
        #[cfg(feature = "shadowsocks")]
        if let Some((front, bound, aside)) = self.shadowsocks {
            let venue = Venue {
                current: current.subscribe(),
                stopping: shared.stopping.clone(),
                sessions: sessions.clone(),
                workers: workers.clone(),
            };
            tokio::spawn(front.run(bound, aside, venue));
        }
        #[cfg(feature = "https-service")]
        if let Some(service) = shared.service.clone() {
            let stopping = shared.stopping.clone();
            tokio::spawn(async move { stopping.run_until_cancelled(service.run()).await });
        }
        let done = CancellationToken::new();
        let _done = done.clone().drop_guard();
        let books = tokio::spawn(keep_books(current.subscribe(), done.clone()));
        tokio::select! {
            () = shutdown => {}
            () = control.drain.cancelled() => {}
        }
        shared.stopping.cancel();
        sessions.close();
        let drain = current.borrow().timeouts.drain;
        if tokio::time::timeout(drain, sessions.wait()).await.is_err() {
            tracing::warn!(connections = sessions.len(), "cut after the drain time-out");
            shared.cut.cancel();
            sessions.wait().await;
        }
        // Not cut short: a write of which nobody hears whether it was done would be in doubt.
        done.cancel();
        if let Err(error) = books.await {
            tracing::error!(%error, "the task that writes usage has failed");
        }
        last_flush(&shared.users, drain).await
    }
}

impl Shared {
    /// A number for a connection, unique in this process.
    pub(crate) fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed)
    }
}

/// What an accepted client passes through.
#[derive(Debug)]
struct Door {
    current: watch::Receiver<Arc<Shared>>,
    rules: Arc<Rules>,
    sessions: TaskTracker,
    workers: Workers,
    /// Which of them accepts.
    here: usize,
}

impl Door {
    /// Serves a client, or closes it at once if there are too many.
    fn admit(&self, client: TcpStream, source: SocketAddr) {
        let shared = Arc::clone(&self.current.borrow());
        let tally = shared.sessions.tally();
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = Arc::clone(&shared.places).try_acquire_owned() else {
            tally.failed(Reason::ServerFull);
            tracing::warn!(%source, "refused: too many connections");
            return;
        };
        // Elsewhere they have it from the listener.
        if !cfg!(target_os = "linux")
            && let Err(error) = socket::prepare(&client)
        {
            tracing::debug!(%source, %error, "a client left at once");
            return;
        }
        let rules = Arc::clone(&self.rules);
        // In the order in which they come, whichever thread serves them.
        let place = shared.handshakes.enter();
        let serve = move |client| async move {
            let _permit = permit;
            session::serve(client, source, rules, place, shared).await;
        };
        self.workers.serve(self.here, &self.sessions, client, serve);
    }
}

/// Writes usage at an interval and looks for changes that others made.
async fn keep_books(mut current: watch::Receiver<Arc<Shared>>, done: CancellationToken) {
    let shared = Arc::clone(&current.borrow_and_update());
    let mut flush = ticks(shared.accounting_interval);
    let mut refresh = ticks(REFRESH);
    // Whether it can be read, and written to: a full disk keeps it from one alone.
    let mut fails = [false; 2];
    loop {
        let (errand, outcome) = tokio::select! {
            () = done.cancelled() => return,
            interval = reload::interval(&mut current) => {
                flush = ticks(interval);
                continue;
            }
            _ = flush.tick() => (1, shared.users.flush().await.map_err(UserError::from)),
            _ = refresh.tick() => (0, shared.users.refresh().await),
        };
        let before = fails;
        fails[errand] = outcome.is_err();
        let tally = shared.sessions.tally();
        let any = fails.contains(&true);
        tally.database_fails.store(any, Ordering::Relaxed);
        if let Err(error) = &outcome {
            tally.database_failures.fetch_add(1, Ordering::Relaxed);
            if fails != before {
                let error = chain(error);
                tracing::error!(
                    error,
                    "the database fails: users are served as last read, usage is kept until it can be written"
                );
            }
        }
        if before.contains(&true) && !any {
            tracing::info!("the database works again");
        }
    }
}

/// Writes the last of the usage; a database that is away has so long to come back.
async fn last_flush(users: &Users, patience: Duration) -> Result<(), RunError> {
    let since = Instant::now();
    loop {
        match users.flush().await {
            Err(error) if since.elapsed() < patience => {
                let error = chain(&error);
                tracing::warn!(error, "the last of the usage cannot be written yet");
                tokio::time::sleep(REFRESH).await;
            }
            done => return Ok(done?),
        }
    }
}

fn ticks(interval: Duration) -> tokio::time::Interval {
    let mut ticks = tokio::time::interval(interval.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn remedy(error: &io::Error) -> String {
    let hint = match error.kind() {
        io::ErrorKind::AddrInUse => "another program listens there; stop it or choose another port",
        io::ErrorKind::AddrNotAvailable => "this host does not have that address",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege; choose a higher one",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}
