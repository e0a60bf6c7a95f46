//! What a server is told before it starts.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use ipnet::IpNet;

use crate::egress::EgressRules;
use crate::protocol::opening::Openings;
use crate::tls::TlsFiles;
use crate::users::{Bandwidth, Database, Limits, PasswordCost};

mod admin;
#[cfg(feature = "cli")]
pub mod file;
#[cfg(feature = "shadowsocks")]
mod shadowsocks;
mod url;

#[cfg(feature = "shadowsocks")]
pub use shadowsocks::{Grpc, Managed, NoManaged, NoPanel, Panel, Shadowsocks, Source, UdpLimit};
pub mod https_service;

pub use https_service::HttpsService;

pub use admin::{
    AdminAddress, AdminConfig, AdminEndpoint, AdminError, NoAdminAddress, NoAdminEndpoint,
};
pub use url::{HttpUrl, NoHttpUrl};

/// The port when none is given: that of SOCKS.
pub const DEFAULT_PORT: u16 = 1080;

/// Everything a [`Server`](crate::Server) needs to know.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 is any free port. Every dialect is recognised
    /// on each of these.
    pub listen: Vec<SocketAddr>,
    /// Listeners with rules of their own, beside those of `listen`; there must
    /// be at least one of either.
    pub listeners: Vec<Listener>,
    /// Threads that serve connections, each with an event loop of its own; 0: the
    /// runtime that runs the server.
    pub workers: usize,
    /// Who registers gets this; `None`: nobody registers.
    pub registration: Option<Registration>,
    /// Where the accounts are.
    pub database: Database,
    /// The folder where usage is kept on the disk while the database is away, so that
    /// a killed process loses no more of it then; `None`: in memory alone.
    pub journal: Option<PathBuf>,
    /// The certificate of listeners that speak TLS.
    pub tls: Option<TlsFiles>,
    /// Networks that may be reached although they are loopback, private,
    /// link-local or otherwise special.
    pub allow_egress: Vec<IpNet>,
    /// What an operator says about targets, before all else.
    pub egress: EgressRules,
    /// What hashing a new password costs.
    pub password_cost: PasswordCost,
    /// How long things may take.
    pub timeouts: Timeouts,
    /// How many there may be.
    pub caps: Caps,
    /// What all users together may move; `None`: as much as they can.
    pub bandwidth: Option<Bandwidth>,
    /// How often usage is written to the database: what a killed process loses.
    pub accounting_interval: Duration,
    /// Shadowsocks servers beside; `None`: none.
    #[cfg(feature = "shadowsocks")]
    pub shadowsocks: Option<Shadowsocks>,
    /// The HTTPS service; `None`: there is none.
    pub https_service: Option<HttpsService>,
    /// The operator's side.
    pub admin: AdminConfig,
}

/// A listener with rules of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// Where to listen; port 0 is any free port.
    pub address: SocketAddr,
    /// The dialects that are served.
    pub dialects: Openings,
    /// Whether clients speak TLS.
    pub tls: ListenerTls,
    /// Load balancers whose PROXY headers (version 2) are believed. From them a
    /// connection may begin with one, from others it must not.
    pub proxy_protocol_from: Vec<IpNet>,
}

impl Listener {
    /// Every dialect, under TLS or not, and no PROXY headers.
    #[must_use]
    pub const fn new(address: SocketAddr) -> Self {
        Self {
            address,
            dialects: Openings::DIALECTS,
            tls: ListenerTls::Recognised,
            proxy_protocol_from: Vec::new(),
        }
    }
}

/// Whether the clients of a listener speak TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListenerTls {
    /// They do not.
    Off,
    /// They may, if there is a certificate: it is seen from the first bytes.
    Recognised,
    /// They must: nothing is said in the clear. Without a certificate there is
    /// no such listener.
    Required,
}

/// What somebody gets who registers by the dialect of seed 000.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Registration {
    /// The limits of the new account.
    pub limits: Limits,
    /// How many users there may be, others included, before nobody registers.
    pub most_users: usize,
}

/// How long things may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the first moment of a connection to its whole request, however it drips.
    pub handshake: Duration,
    /// Resolving and connecting.
    pub connect: Duration,
    /// Silence while both sides may still speak.
    pub idle: Duration,
    /// Silence after one side has finished, and of an HTTP exchange.
    pub half_closed: Duration,
    /// From an HTTP answer to the next whole request on the same connection.
    pub keep_alive: Duration,
    /// From the signal to stop until open connections are cut.
    pub drain: Duration,
    /// How long users are let in as last read while the database is away; beyond it
    /// nobody is.
    pub database: Duration,
}

/// How many there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections of all users; one more is closed at once.
    pub connections: usize,
    /// Connections that have not logged in; one more ends the oldest of them.
    pub handshakes: usize,
    /// Connections of one user; one more is refused.
    pub connections_per_user: usize,
    /// Connections from one address, whosever they are; one more is closed at
    /// once. An IPv6 network of 64 bits counts as one address. `None`: no cap.
    pub connections_per_address: Option<usize>,
}

impl Config {
    /// The defaults: the loopback address and port 1080, special targets
    /// denied, accounts in `database`.
    #[must_use]
    pub fn new(database: Database) -> Self {
        // What has no folder is in this one.
        let folder = |path: &Path| Some(Path::new(".").join(path.parent()?));
        Self {
            listen: vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DEFAULT_PORT)],
            journal: database.path().and_then(folder),
            database,
            listeners: Vec::new(),
            workers: 0,
            registration: None,
            tls: None,
            allow_egress: Vec::new(),
            egress: EgressRules::default(),
            password_cost: PasswordCost::default(),
            timeouts: Timeouts::default(),
            caps: Caps::default(),
            bandwidth: None,
            accounting_interval: Duration::from_secs(1),
            #[cfg(feature = "shadowsocks")]
            shadowsocks: None,
            https_service: None,
            admin: AdminConfig::default(),
        }
    }
}

impl Config {
    /// Where the HTTPS service listens, if there is one.
    #[must_use]
    pub fn service_listen(&self) -> &[SocketAddr] {
        let service = self.https_service.as_ref();
        service.map_or(&[], |service| &service.listen)
    }
}

impl Default for Timeouts {
    /// 10 s for a handshake, 10 s to connect, silent for 24 h or 10 min half-closed, 1 min between
    /// two HTTP requests, 30 s to drain, 1 h without the database.
    fn default() -> Self {
        Self {
            handshake: Duration::from_secs(10),
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(86_400),
            half_closed: Duration::from_secs(600),
            keep_alive: Duration::from_secs(60),
            drain: Duration::from_secs(30),
            database: Duration::from_secs(3_600),
        }
    }
}

impl Default for Caps {
    /// As many connections as the process has descriptors for, two each, some
    /// left for pipes and files; an eighth of them may be in their handshake, at
    /// most 1,024; 1,024 a user.
    fn default() -> Self {
        let descriptors = descriptors();
        let pipes = (2 * crate::relay::MOST_PIPES).min(descriptors / 16);
        let connections = descriptors.saturating_sub(64 + pipes).max(16) / 2;
        Self {
            connections,
            handshakes: (connections / 8).clamp(8, 1_024),
            connections_per_user: 1_024,
            connections_per_address: None,
        }
    }
}

/// How many files this process may have open.
fn descriptors() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    limit
        .current
        .map_or(1 << 20, |limit| usize::try_from(limit).unwrap_or(1 << 20))
}
