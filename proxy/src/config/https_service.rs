//! What the HTTPS service is told.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use flow::admission;
use flow::{ByteSize, Nanos};
use ipnet::IpNet;

use super::ListenerTls;
use crate::protocol::Target;

/// The port of seed 003's server.
pub const DEFAULT_SERVICE_PORT: u16 = 8888;

/// The HTTPS service: listeners that serve seed 003's frames and HTTP, behind a
/// bounded queue and a number of workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpsService {
    /// Where to listen; port 0 is any free port.
    pub listen: Vec<SocketAddr>,
    /// Whether clients speak TLS.
    pub tls: ListenerTls,
    /// Load balancers whose PROXY headers (version 2) are believed; the clients
    /// that they name go out as `X-Forwarded-For`.
    pub proxy_protocol_from: Vec<IpNet>,
    /// Connections at once; one more waits 0.1 s for a place and is closed.
    pub max_connections: usize,
    /// Requests that wait for a worker at once; one more is answered 503.
    pub queue: usize,
    /// Requests under way at once.
    pub workers: NonZeroUsize,
    /// How long a request may wait for a worker before it is answered 503.
    pub queue_timeout: Duration,
    /// How long a worker may take before the answer is 504.
    pub request_timeout: Duration,
    /// From one answer to the next whole request on the same connection.
    pub keep_alive: Duration,
    /// Whether each connection serves one frame and closes, as the seed does.
    pub close_after_response: bool,
    /// Whose account those use who do not log in; `None`: everybody logs in.
    pub guest: Option<Guest>,
    /// Roots of certificates (PEM) that targets may have beside the system's.
    pub roots: Option<PathBuf>,
    /// Bytes of requests and answers that may be in memory at once.
    pub memory: ByteSize,
    /// Bytes of answers that are kept for equal requests; `None`: none are.
    pub cache: Option<ByteSize>,
    /// What one address may ask for.
    pub address_quota: Quota,
    /// What one user may ask for.
    pub user_quota: Quota,
    /// Hosts behind which there are several instances.
    pub upstreams: Vec<Upstream>,
    /// How often the statistics are written to the log.
    pub statistics_interval: Duration,
}

/// Clients that need not log in, as the seed's own cannot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guest {
    /// The user whose account they use.
    pub name: String,
    /// Where they must come from.
    pub from: Vec<IpNet>,
}

/// How much may be asked for in a window of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Requests; `None`: any number.
    pub requests: Option<u64>,
    /// Bytes, there and back: who has moved as many waits for the next window.
    pub bytes: Option<ByteSize>,
    /// The window begins with the first request after the one before.
    pub window: Duration,
}

/// One host behind which there are several instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Upstream {
    /// Whether its URLs begin with `https://`, else with `http://`.
    pub tls: bool,
    /// The host and port of its URLs.
    pub host: Target,
    /// Where the instances are.
    pub instances: Vec<Target>,
    /// Which one is next.
    pub balance: Balance,
    /// How they are watched.
    pub check: Check,
}

/// Which instance serves a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest requests under way.
    LeastConnections,
    /// The same one for the same client address, while it is healthy.
    Source,
}

/// How instances are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// How often each is tried.
    pub interval: Duration,
    /// The path of an HTTP request that must be answered with 2xx or 3xx;
    /// `None`: that it accepts a connection is enough.
    pub path: Option<String>,
    /// So many failures in a row and it is served no more.
    pub fall: u32,
    /// So many successes in a row and it is served again.
    pub rise: u32,
}

impl HttpsService {
    /// Whether this build has the service; without it a server that is told to have
    /// one does not start.
    pub const IS_BUILT: bool = cfg!(feature = "https-service");

    /// What the queue and the workers go by.
    #[must_use]
    pub fn admission(&self) -> admission::Rules {
        admission::Rules {
            workers: self.workers,
            queue: self.queue,
            queue_timeout: nanos(self.queue_timeout),
            request_timeout: nanos(self.request_timeout),
        }
    }
}

fn nanos(length: Duration) -> Nanos {
    Nanos::new(u64::try_from(length.as_nanos()).unwrap_or(u64::MAX))
}

impl Default for HttpsService {
    /// The seed's numbers: port 8888 (on the loopback address), 10,000 connections,
    /// 50,000 in the queue, 100 workers, 30 s in the queue and 30 s at work, 60 s
    /// between requests, one frame a connection, statistics each 60 s.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from(([127, 0, 0, 1], DEFAULT_SERVICE_PORT))],
            tls: ListenerTls::Recognised,
            proxy_protocol_from: Vec::new(),
            max_connections: 10_000,
            queue: 50_000,
            workers: NonZeroUsize::MIN.saturating_add(99),
            queue_timeout: Duration::from_secs(30),
            request_timeout: Duration::from_secs(30),
            keep_alive: Duration::from_secs(60),
            close_after_response: true,
            guest: None,
            roots: None,
            memory: ByteSize::new(256 << 20),
            cache: None,
            address_quota: Quota::default(),
            user_quota: Quota::default(),
            upstreams: Vec::new(),
            statistics_interval: Duration::from_secs(60),
        }
    }
}

impl Default for Quota {
    /// No end of requests; a window of one minute.
    fn default() -> Self {
        Self {
            requests: None,
            bytes: None,
            window: Duration::from_secs(60),
        }
    }
}

impl Default for Check {
    /// A connection each 2 s, 3 failures to fall, 2 successes to rise.
    fn default() -> Self {
        Self {
            interval: Duration::from_secs(2),
            path: None,
            fall: 3,
            rise: 2,
        }
    }
}
