//! The shadowsocks front end: TCP and UDP ports for the same users, under the
//! same budgets.
//!
//! ```text
//! users that have an access -> ports (one user or many each) -> tcp, udp -> relay -> budget
//! roster, turnstile   whose key opens it      replay   whether it was sent before
//! presence            who is where            counters what happened
//! ```
//!
//! A change of a user touches that user: their sessions under another key end,
//! a port without users closes. The codecs are in [`crate::protocol::shadowsocks`].

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::Mutex;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::config;
use crate::protocol::shadowsocks::Refused;
#[cfg(feature = "panel")]
use crate::tls::TlsError;
use crate::tls::TlsFiles;
use crate::users::Users;

mod association;
mod associations;
mod counters;
#[cfg(feature = "grpc")]
mod decryption;
#[cfg(feature = "grpc")]
mod grpc;
mod memory;
#[cfg(feature = "panel")]
mod metrics;
mod port;
mod presence;
mod replay;
mod roster;
mod sealed;
mod source;
mod tcp;
mod turnstile;
mod udp;

use associations::Associations;
use counters::Counters;
pub(crate) use port::Venue;
use port::{Port, Sockets};
use presence::Presence;
#[cfg(feature = "panel")]
use presence::Whereabouts;
use replay::Replay;
use roster::{Member, Roster};
pub(crate) use turnstile::Turnstile;

/// Sessions, and as many datagrams, that are remembered at least.
const REMEMBERED: usize = 1 << 20;

/// How soon a port that could not be listened on is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// All ports.
#[derive(Debug)]
pub(crate) struct Front {
    settings: config::Shadowsocks,
    #[cfg_attr(
        not(feature = "grpc"),
        expect(dead_code, reason = "gRPC alone is under TLS")
    )]
    tls: Option<TlsFiles>,
    users: Users,
    salts: Replay,
    datagrams: Replay,
    turnstile: Turnstile,
    presence: Presence,
    associations: Associations,
    counters: Counters,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ports: HashMap<u16, Arc<Port>>,
    members: HashMap<i64, Arc<Member>>,
}

/// Whether the front end could start so.
///
/// # Errors
/// [`TlsError`] if a panel cannot be spoken with under TLS.
#[cfg(feature = "panel")]
pub(crate) fn check(settings: &config::Shadowsocks) -> Result<(), TlsError> {
    match &settings.source {
        Some(config::Source::Panel(panel)) => {
            source::panel::check(panel, settings.panel_roots.clone())
        }
        _ => Ok(()),
    }
}

impl Front {
    /// Opens what outlives the process.
    pub(crate) fn open(
        settings: config::Shadowsocks,
        tls: Option<TlsFiles>,
        users: Users,
        turnstile: Turnstile,
    ) -> io::Result<Arc<Self>> {
        let (salts, datagrams) = match &settings.replay_file {
            None => (Replay::in_memory(REMEMBERED), Replay::in_memory(REMEMBERED)),
            Some(path) => {
                let mut beside = path.as_os_str().to_owned();
                beside.push(".udp");
                (
                    Replay::open(path, REMEMBERED)?,
                    Replay::open(beside.as_ref(), REMEMBERED)?,
                )
            }
        };
        let associations = Associations::new(settings.udp_associations);
        // A panel is told where users have been, and nobody else.
        let reports = matches!(settings.source, Some(config::Source::Panel(_)));
        Ok(Arc::new(Self {
            associations,
            settings,
            tls,
            users,
            salts,
            datagrams,
            turnstile,
            presence: Presence::new(cfg!(feature = "panel") && reports),
            counters: Counters::default(),
            state: Mutex::default(),
        }))
    }

    /// Listens on the ports of all users, and closes those that have none:
    /// the new ones are to be served. Whether all could be listened on.
    pub(crate) async fn listen(&self) -> (Vec<Bound>, bool) {
        let rosters = self.rosters();
        let mut ports = std::mem::take(&mut self.state.lock().ports);
        let mut bound = Vec::new();
        let mut all = true;
        ports.retain(|number, port| {
            let is_used = rosters.contains_key(number);
            if !is_used {
                tracing::info!(port = number, "shadowsocks port closed");
                port.closed.cancel();
            }
            is_used
        });
        for (number, roster) in rosters {
            if let Some(port) = ports.get(&number) {
                port.members.replace(roster);
                continue;
            }
            let address = SocketAddr::new(self.settings.listen, number);
            match Port::bind(address, roster).await {
                Ok((port, sockets)) => {
                    tracing::info!(%address, "shadowsocks port opened");
                    ports.insert(number, Arc::clone(&port));
                    bound.push(Bound { port, sockets });
                }
                Err(error) => {
                    all = false;
                    tracing::error!(%address, %error, "cannot listen on a shadowsocks port");
                }
            }
        }
        self.state.lock().ports = ports;
        (bound, all)
    }

    /// Keeps the users as the source says.
    fn follow_source(self: &Arc<Self>, venue: &Venue) {
        let (front, every) = (Arc::clone(self), self.settings.sync);
        let stopping = venue.stopping.clone();
        match self.settings.source.clone() {
            None => {}
            Some(config::Source::File(path)) => {
                venue
                    .sessions
                    .spawn(async move { source::file::run(front, &path, every, stopping).await });
            }
            #[cfg(feature = "panel")]
            Some(config::Source::Panel(panel)) => {
                venue
                    .sessions
                    .spawn(source::panel::run(front, panel, every, stopping));
            }
            #[cfg(not(feature = "panel"))]
            Some(config::Source::Panel(_)) => {
                let _ = (front, every, stopping);
                tracing::error!("this program is built without panels");
            }
        }
    }

    /// Listens for those who ask about users and metrics, and says what is to be
    /// served.
    ///
    /// # Errors
    /// An address that cannot be listened on.
    pub(crate) async fn listen_aside(&self) -> Result<Aside, (SocketAddr, io::Error)> {
        let listen = async |address: Option<SocketAddr>| match address {
            None => Ok(None),
            Some(address) => match TcpListener::bind(address).await {
                Ok(listener) => Ok(Some(listener)),
                Err(error) => Err((address, error)),
            },
        };
        let grpc = self.settings.grpc.as_ref().map(|grpc| grpc.listen);
        Ok(Aside {
            grpc: listen(grpc).await?,
            metrics: listen(self.settings.metrics).await?,
        })
    }

    /// Answers those who ask about users and metrics.
    fn serve_aside(self: &Arc<Self>, aside: Aside, venue: &Venue) {
        let Aside { grpc, metrics } = aside;
        #[cfg(feature = "grpc")]
        if let Some((listener, grpc)) = grpc.zip(self.settings.grpc.clone()) {
            let (front, tls, venue) = (Arc::clone(self), self.tls.clone(), venue.clone());
            tokio::spawn(async move {
                if let Err(error) = grpc::run(front, grpc, listener, tls, venue).await {
                    tracing::error!(%error, "gRPC has stopped");
                }
            });
        }
        #[cfg(not(feature = "grpc"))]
        if grpc.is_some() {
            tracing::error!("this program is built without gRPC");
        }
        #[cfg(feature = "panel")]
        if let Some(listener) = metrics {
            let stopping = venue.stopping.clone();
            tokio::spawn(metrics::run(Arc::clone(self), listener, stopping));
        }
        #[cfg(not(feature = "panel"))]
        if metrics.is_some() {
            tracing::error!(
                stopping = venue.stopping.is_cancelled(),
                "this program is built without metrics"
            );
        }
    }

    /// Where the user with this number is.
    #[cfg(feature = "grpc")]
    fn whereabouts_of(&self, number: i64) -> Whereabouts {
        let users = self.users.subscribed();
        let mut fits = users
            .iter()
            .filter(|(_, access)| access.number == Some(number));
        let there = fits
            .next()
            .map(|(account, _)| self.presence.of(account.id()));
        there.unwrap_or_default()
    }

    /// Where the users with a number are, by it, to be told.
    #[cfg(feature = "panel")]
    fn whereabouts(&self) -> HashMap<i64, Whereabouts> {
        self.presence.tell();
        let users = self.users.subscribed().into_iter();
        let there = users
            .filter_map(|(account, access)| Some((access.number?, self.presence.of(account.id()))));
        there.collect()
    }

    /// The users of each port, as they should be. Who is as before stays the
    /// same; sessions of others end.
    fn rosters(&self) -> BTreeMap<u16, Roster> {
        let mut before = std::mem::take(&mut self.state.lock().members);
        let mut after = HashMap::new();
        let mut ports: BTreeMap<u16, Vec<Arc<Member>>> = BTreeMap::new();
        for (account, access) in self.users.subscribed() {
            if !account.is_enabled() {
                continue;
            }
            let id = account.id();
            let same = |member: &Arc<Member>| {
                Arc::ptr_eq(&member.account, &account) && member.access == access
            };
            let member = match before.remove(&id) {
                Some(member) if same(&member) => member,
                other => {
                    if let Some(other) = other {
                        other.over.cancel();
                    }
                    let Ok(keys) = access.keys() else { continue };
                    let member = Member {
                        account,
                        access,
                        keys,
                        over: CancellationToken::new(),
                    };
                    if !member.access.method.authenticates() && self.settings.allow_unencrypted {
                        member.warn("authenticates nobody: whoever finds the port may be served");
                    }
                    Arc::new(member)
                }
            };
            if !member.access.method.authenticates() && !self.settings.allow_unencrypted {
                member.warn("is switched off: it authenticates nobody");
                member.over.cancel();
                continue;
            }
            after.insert(id, Arc::clone(&member));
            ports.entry(member.access.port).or_default().push(member);
        }
        for gone in before.into_values() {
            gone.over.cancel();
        }
        self.state.lock().members = after;
        let roster = |(number, mut members): (u16, Vec<Arc<Member>>)| {
            members.sort_by_key(|member| member.account.id());
            Roster::new(members).map(|roster| (number, roster))
        };
        ports.into_iter().filter_map(roster).collect()
    }

    /// Reads what can be read of the users at once, so that they are served from
    /// the start.
    pub(crate) async fn prepare(&self) {
        if let Some(config::Source::File(path)) = &self.settings.source
            && let Err(error) = source::file::read(self, path).await
        {
            tracing::error!(path = %path.display(), error, "shadowsocks users stay as they are");
        }
    }

    /// Serves until the server stops: first what was listened on already.
    pub(crate) async fn run(self: Arc<Self>, first: Vec<Bound>, aside: Aside, venue: Venue) {
        self.follow_source(&venue);
        self.serve_aside(aside, &venue);
        let mut changed = self.users.watch_subscribed();
        let mut bound = first;
        let mut all = false;
        loop {
            for Bound { port, sockets } in bound {
                port.serve(sockets, Arc::clone(&self), venue.clone());
            }
            tokio::select! {
                () = venue.stopping.cancelled() => return,
                changed = changed.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(RETRY), if !all => {}
            }
            (bound, all) = self.listen().await;
        }
    }
}

/// What listens beside the ports and is not served yet.
#[derive(Debug)]
pub(crate) struct Aside {
    grpc: Option<TcpListener>,
    metrics: Option<TcpListener>,
}

/// A port that listens and is not served yet.
#[derive(Debug)]
pub(crate) struct Bound {
    port: Arc<Port>,
    sockets: Sockets,
}

/// Unpredictable bytes.
fn random<const N: usize>() -> Result<[u8; N], Refused> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Refused::Malformed("the system has no randomness"))?;
    Ok(bytes)
}

/// Seconds since 1970.
fn unix_now() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}
