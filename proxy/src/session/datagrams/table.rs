//! Where a client has sent something lately, and what names it used.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;

use crate::protocol::Target;

/// The most places that answers may come from; one more takes the place of the
/// one that has waited longest.
pub(crate) const MOST_PEERS: usize = 256;
/// How long after it was last sent to (RFC 4787, section 4.3, recommends five minutes).
const IDLE: Duration = Duration::from_secs(300);

/// The most names that are remembered.
const MOST_NAMES: usize = 64;
/// How long a name's address is believed without being asked for again.
const NAME_LASTS: Duration = Duration::from_secs(60);

#[derive(Debug, Default)]
pub(crate) struct Table {
    peers: HashMap<SocketAddr, Instant>,
    names: HashMap<Target, (SocketAddr, Instant)>,
}

impl Table {
    pub(crate) fn sent_to(&mut self, peer: SocketAddr) {
        let now = Instant::now();
        make_room(&mut self.peers, &peer, MOST_PEERS, now, IDLE, |at| *at);
        self.peers.insert(peer, now);
    }

    pub(crate) fn is_peer(&self, from: SocketAddr) -> bool {
        let sent = self.peers.get(&from);
        sent.is_some_and(|sent| sent.elapsed() < IDLE)
    }

    pub(crate) fn remember(&mut self, name: Target, address: SocketAddr) {
        let now = Instant::now();
        let since = |(_, at): &(SocketAddr, Instant)| *at;
        make_room(&mut self.names, &name, MOST_NAMES, now, NAME_LASTS, since);
        self.names.insert(name, (address, now));
    }

    pub(crate) fn known(&self, name: &Target) -> Option<SocketAddr> {
        let (address, at) = self.names.get(name)?;
        (at.elapsed() < NAME_LASTS).then_some(*address)
    }
}

/// Makes room for `key`: what is too old goes, and if nothing is, the oldest.
fn make_room<K: Clone + Eq + Hash, V>(
    map: &mut HashMap<K, V>,
    key: &K,
    most: usize,
    now: Instant,
    lasts: Duration,
    since: impl Fn(&V) -> Instant,
) {
    if map.len() < most || map.contains_key(key) {
        return;
    }
    map.retain(|_, value| now.duration_since(since(value)) < lasts);
    if map.len() >= most {
        let oldest = map.iter().min_by_key(|(_, value)| since(value));
        if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
            map.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Host;

    fn peer(port: usize) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], u16::try_from(port).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_forgets() {
        let mut table = Table::default();
        for port in 1..=MOST_PEERS {
            table.sent_to(peer(port));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        table.sent_to(peer(1));
        table.sent_to(peer(1_000));
        assert_eq!(table.peers.len(), MOST_PEERS);
        assert!(table.is_peer(peer(1)), "sent to again");
        assert!(!table.is_peer(peer(2)), "the oldest");
        assert!(table.is_peer(peer(3)));
        tokio::time::advance(IDLE).await;
        assert!(!table.is_peer(peer(1_000)));
        table.sent_to(peer(2_000));
        assert_eq!(table.peers.len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn names_are_asked_for_again() {
        let mut table = Table::default();
        let name = |text: String| Target {
            host: Host::Name(text),
            port: 53,
        };
        for number in 0..=MOST_NAMES {
            table.remember(name(number.to_string()), peer(1));
            tokio::time::advance(Duration::from_millis(10)).await;
        }
        assert_eq!(table.names.len(), MOST_NAMES);
        assert_eq!(table.known(&name("0".into())), None);
        assert_eq!(table.known(&name("1".into())), Some(peer(1)));
        tokio::time::advance(NAME_LASTS).await;
        assert_eq!(table.known(&name(MOST_NAMES.to_string())), None);
    }
}
