//! What the server counts of itself: cheap counters, read when somebody asks.
//!
//! Nothing here is touched while bytes move. A session keeps its own figures
//! ([`crate::sessions`]); when it ends they are added up here.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::protocol::Dialect;
use crate::users::{Moment, Usage};

mod reason;

pub(crate) use reason::Reason;

/// The upper edges of the histogram of waits, in seconds.
pub(crate) const WAIT_EDGES: [f64; 9] = [0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0, 3_600.0];

/// What a session speaks: the values of the label `protocol`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// SOCKS5, CONNECT.
    Socks5,
    /// SOCKS5, UDP ASSOCIATE.
    Socks5Udp,
    /// An HTTP proxy, CONNECT and absolute URLs.
    Http,
    /// Seed 001's line of text.
    Line,
    /// Seed 000's AUTH and TARGET.
    AuthTarget,
    /// Shadowsocks over TCP.
    Shadowsocks,
    /// Shadowsocks over UDP.
    ShadowsocksUdp,
    /// The HTTPS service.
    Https,
}

impl Protocol {
    /// All of them, by index.
    pub const ALL: [Self; 8] = [
        Self::Socks5,
        Self::Socks5Udp,
        Self::Http,
        Self::Line,
        Self::AuthTarget,
        Self::Shadowsocks,
        Self::ShadowsocksUdp,
        Self::Https,
    ];

    /// The label's value.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Socks5 => "socks5",
            Self::Socks5Udp => "socks5-udp",
            Self::Http => "http",
            Self::Line => "line",
            Self::AuthTarget => "auth-target",
            Self::Shadowsocks => "shadowsocks",
            Self::ShadowsocksUdp => "shadowsocks-udp",
            Self::Https => "https",
        }
    }
}

impl From<Dialect> for Protocol {
    fn from(dialect: Dialect) -> Self {
        match dialect {
            Dialect::Socks5 => Self::Socks5,
            Dialect::Http => Self::Http,
            Dialect::Line => Self::Line,
            Dialect::AuthTarget => Self::AuthTarget,
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The counters of one server. They only grow, but for the last two.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Connections taken from listeners.
    pub(crate) accepted: AtomicU64,
    by_protocol: [OfProtocol; Protocol::ALL.len()],
    failures: [AtomicU64; Reason::ALL.len()],
    waits: Waits,
    reloads: [AtomicU64; 2],
    /// Failures to read or write the database.
    pub(crate) database_failures: AtomicU64,
    /// When the config in force was taken over, in seconds since 1970.
    pub(crate) configured_at: AtomicI64,
    /// Whether the last access to the database failed.
    pub(crate) database_fails: AtomicBool,
}

/// What has ended, of one protocol.
#[derive(Debug, Default)]
struct OfProtocol {
    opened: AtomicU64,
    upload_bytes: AtomicU64,
    download_bytes: AtomicU64,
    dropped: AtomicU64,
}

/// How long sessions have waited for their limits.
#[derive(Debug, Default)]
struct Waits {
    buckets: [AtomicU64; WAIT_EDGES.len() + 1],
    nanos: AtomicU64,
}

/// The histogram of waits: its buckets, not cumulative, and the sum.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct WaitFigures {
    pub(crate) buckets: [u64; WAIT_EDGES.len() + 1],
    pub(crate) sum: Duration,
}

impl Tally {
    /// One more session.
    pub(crate) fn opened(&self, protocol: Protocol) {
        add(&self.of(protocol).opened, 1);
    }

    /// A session has ended.
    pub(crate) fn closed(&self, protocol: Protocol, moved: Usage, dropped: u64, waited: Duration) {
        let of = self.of(protocol);
        add(&of.upload_bytes, moved.upload_bytes);
        add(&of.download_bytes, moved.download_bytes);
        add(&of.dropped, dropped);
        let bucket = WAIT_EDGES
            .iter()
            .position(|&edge| waited.as_secs_f64() <= edge);
        add(&self.waits.buckets[bucket.unwrap_or(WAIT_EDGES.len())], 1);
        let nanos = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        add(&self.waits.nanos, nanos);
    }

    /// Something went wrong, or ended before its time.
    pub(crate) fn failed(&self, reason: Reason) {
        add(&self.failures[reason as usize], 1);
    }

    /// A config was taken over, or refused.
    pub(crate) fn reloaded(&self, done: bool) {
        add(&self.reloads[usize::from(done)], 1);
        if done {
            self.configured();
        }
    }

    /// The config in force is so from now on.
    pub(crate) fn configured(&self) {
        let now = Moment::now().unix_seconds();
        self.configured_at.store(now, Ordering::Relaxed);
    }

    /// Sessions that have begun.
    pub(crate) fn sessions(&self, protocol: Protocol) -> u64 {
        get(&self.of(protocol).opened)
    }

    /// What sessions that have ended moved.
    pub(crate) fn moved(&self, protocol: Protocol) -> Usage {
        let of = self.of(protocol);
        Usage {
            upload_bytes: get(&of.upload_bytes),
            download_bytes: get(&of.download_bytes),
        }
    }

    /// Datagrams that sessions that have ended dropped for want of budget.
    pub(crate) fn dropped(&self, protocol: Protocol) -> u64 {
        get(&self.of(protocol).dropped)
    }

    pub(crate) fn failures(&self, reason: Reason) -> u64 {
        get(&self.failures[reason as usize])
    }

    pub(crate) fn reloads(&self, done: bool) -> u64 {
        get(&self.reloads[usize::from(done)])
    }

    pub(crate) fn waits(&self) -> WaitFigures {
        WaitFigures {
            buckets: self.waits.buckets.each_ref().map(get),
            sum: Duration::from_nanos(get(&self.waits.nanos)),
        }
    }

    const fn of(&self, protocol: Protocol) -> &OfProtocol {
        &self.by_protocol[protocol as usize]
    }
}

fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_where_their_numbers_say() {
        for (index, protocol) in Protocol::ALL.into_iter().enumerate() {
            assert_eq!(protocol as usize, index);
        }
        for (index, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, index);
        }
    }

    #[test]
    fn waits_fall_into_the_bucket_whose_edge_they_do_not_pass() {
        let tally = Tally::default();
        for millis in [0, 1, 2, 100, 7_200_000] {
            let waited = Duration::from_millis(millis);
            tally.closed(Protocol::Http, Usage::default(), 0, waited);
        }
        let figures = tally.waits();
        assert_eq!(figures.buckets, [2, 1, 1, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!(figures.sum, Duration::from_millis(7_200_103));
    }
}
