//! How many connections a user has, and from how many addresses.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use parking_lot::Mutex;

/// The connections of one user.
#[derive(Debug, Default)]
pub(super) struct Presence(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    connections: u64,
    networks: HashMap<Network, u64>,
}

/// Where one connection comes from.
pub(super) type Place = Network;

/// The part of an address that one customer has: an IPv4 address, or an IPv6
/// network of 64 bits, which costs nothing to hop around in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Network(IpAddr);

/// Why a connection is one too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooMany {
    /// Of connections.
    #[error("the user has too many connections")]
    Connections,
    /// Of addresses.
    #[error("the user is connected from too many addresses")]
    Addresses,
}

impl Network {
    pub(crate) fn of(address: IpAddr) -> Self {
        Self(match address.to_canonical() {
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Ipv6Addr::from(network).into()
            }
            address => address,
        })
    }
}

impl Presence {
    /// Counts one more connection from `source`, if there are fewer than
    /// `connections` and it is one of at most `addresses`.
    pub(super) fn enter(
        &self,
        source: IpAddr,
        connections: Option<u64>,
        addresses: Option<u64>,
    ) -> Result<Place, TooMany> {
        let network = Network::of(source);
        let mut counts = self.0.lock();
        if connections.is_some_and(|most| counts.connections >= most) {
            return Err(TooMany::Connections);
        }
        let known = u64::try_from(counts.networks.len()).unwrap_or(u64::MAX);
        if addresses.is_some_and(|most| known >= most) && !counts.networks.contains_key(&network) {
            return Err(TooMany::Addresses);
        }
        counts.connections += 1;
        *counts.networks.entry(network).or_default() += 1;
        Ok(network)
    }

    /// How many connections there are, and from how many networks.
    #[cfg(feature = "admin")]
    pub(super) fn figures(&self) -> (u64, usize) {
        let counts = self.0.lock();
        (counts.connections, counts.networks.len())
    }

    /// One connection less.
    pub(super) fn leave(&self, place: Place) {
        let mut counts = self.0.lock();
        counts.connections = counts.connections.saturating_sub(1);
        if let Some(count) = counts.networks.get_mut(&place) {
            *count -= 1;
            if *count == 0 {
                counts.networks.remove(&place);
            }
        }
        if counts.networks.is_empty() {
            // Most users are away most of the time.
            counts.networks = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(presence: &Presence, source: &str) -> Result<Place, TooMany> {
        presence.enter(source.parse().unwrap(), Some(3), Some(2))
    }

    #[test]
    fn connections_and_addresses_are_counted_and_forgotten() {
        let presence = Presence::default();
        let first = enter(&presence, "192.0.2.1").unwrap();
        let second = enter(&presence, "2001:db8::1").unwrap();
        assert_eq!(enter(&presence, "192.0.2.2"), Err(TooMany::Addresses));
        // The same network of 64 bits; the same address, mapped.
        let third = enter(&presence, "2001:db8::ffff:1").unwrap();
        assert_eq!(third, second);
        presence.leave(third);
        let third = enter(&presence, "::ffff:192.0.2.1").unwrap();
        assert_eq!(third, first);
        assert_eq!(enter(&presence, "192.0.2.1"), Err(TooMany::Connections));
        for place in [first, second, third] {
            presence.leave(place);
        }
        assert!(enter(&presence, "192.0.2.2").is_ok());
    }

    #[test]
    fn without_caps_anybody_may_come() {
        let presence = Presence::default();
        for last in 0..100 {
            let source = [192, 0, 2, last].into();
            assert!(presence.enter(source, None, None).is_ok());
        }
    }
}
