//! What each user's shadowsocks sessions came to, for the panels that ask in the
//! words of the Shadowsocks Server Management API.

use std::collections::HashMap;
use std::ops::{Add, Sub};

use parking_lot::Mutex;

use super::{Session, Sessions};
use crate::metrics::Protocol;
use crate::users::{Direction, Usage};

/// The traffic of one user, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) usage: Usage,
    /// Datagrams from clients to targets.
    pub(crate) upload_packets: u64,
    /// Datagrams from targets to clients.
    pub(crate) download_packets: u64,
    /// Sessions of TCP that have begun.
    pub(crate) tcp_sessions: u64,
    /// Associations of UDP that have begun.
    pub(crate) udp_sessions: u64,
}

/// By the numbers of the accounts.
#[derive(Debug, Default)]
pub(super) struct Books(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// Of the sessions that have ended.
    ended: HashMap<i64, Traffic>,
    /// What had been counted when somebody cleared it.
    cleared: HashMap<i64, Traffic>,
}

impl Traffic {
    fn of(session: &Session) -> Option<Self> {
        let (tcp_sessions, udp_sessions) = match session.protocol {
            Protocol::Shadowsocks => (1, 0),
            Protocol::ShadowsocksUdp => (0, 1),
            _ => return None,
        };
        Some(Self {
            usage: session.moved(),
            upload_packets: session.packets(Direction::Up),
            download_packets: session.packets(Direction::Down),
            tcp_sessions,
            udp_sessions,
        })
    }
}

impl Books {
    /// A session has ended. Called under the lock of those that are open, so that
    /// each is in one sum alone.
    pub(super) fn ended(&self, session: &Session) {
        if let Some(traffic) = Traffic::of(session) {
            let mut sums = self.0.lock();
            let sum = sums.ended.entry(session.account.id()).or_default();
            *sum = *sum + traffic;
        }
    }
}

impl Sessions {
    /// What everybody's shadowsocks sessions came to since it was last cleared, by the
    /// number of the account; and clears it then, if so asked.
    pub(crate) fn shadowsocks(&self, clears: bool) -> HashMap<i64, Traffic> {
        let open = self.0.open.lock();
        let mut sums = self.0.books.0.lock();
        let mut all = sums.ended.clone();
        for session in open.values() {
            if let Some(traffic) = Traffic::of(session) {
                let sum = all.entry(session.account.id()).or_default();
                *sum = *sum + traffic;
            }
        }
        let since = |(id, traffic): (&i64, &Traffic)| {
            let before = sums.cleared.get(id).copied().unwrap_or_default();
            (*id, *traffic - before)
        };
        let found = all.iter().map(since).collect();
        if clears {
            sums.cleared = all;
        }
        found
    }
}

impl Add for Traffic {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            usage: self.usage + other.usage,
            upload_packets: self.upload_packets.saturating_add(other.upload_packets),
            download_packets: self.download_packets.saturating_add(other.download_packets),
            tcp_sessions: self.tcp_sessions.saturating_add(other.tcp_sessions),
            udp_sessions: self.udp_sessions.saturating_add(other.udp_sessions),
        }
    }
}

impl Sub for Traffic {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self {
            usage: self.usage - other.usage,
            upload_packets: self.upload_packets.saturating_sub(other.upload_packets),
            download_packets: self.download_packets.saturating_sub(other.download_packets),
            tcp_sessions: self.tcp_sessions.saturating_sub(other.tcp_sessions),
            udp_sessions: self.udp_sessions.saturating_sub(other.udp_sessions),
        }
    }
}
