//! Where users are: how many TCP sessions they have, and from which addresses.
//!
//! A user with a cap on addresses who comes from one more is served there, and
//! their sessions from the address that has been theirs longest end: the newest wins.

use std::collections::{BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use crate::users::{Authenticated, ConnectionCount, Network, TooMany};

/// Addresses of one user that are kept for the next report.
const MOST_ADDRESSES: usize = 64;

/// Everybody's sessions, by the user's id.
#[derive(Debug, Default)]
pub(super) struct Presence(Arc<Mutex<HashMap<i64, Sessions>>>);

#[derive(Debug, Default)]
struct Sessions {
    tcp: u64,
    /// In the order in which they came.
    places: Vec<Place>,
    /// Since the last time somebody asked.
    seen: BTreeSet<IpAddr>,
}

#[derive(Debug)]
struct Place {
    network: Network,
    #[cfg_attr(
        not(feature = "panel"),
        expect(dead_code, reason = "panels alone are told of addresses")
    )]
    address: IpAddr,
    sessions: u64,
    over: CancellationToken,
}

/// One session; it is counted while this lives.
#[derive(Debug)]
pub(super) struct Present {
    id: i64,
    network: Network,
    over: CancellationToken,
    /// None for datagrams.
    connection: Option<ConnectionCount>,
    presence: Arc<Mutex<HashMap<i64, Sessions>>>,
}

/// What is known of a user's whereabouts.
#[cfg(feature = "panel")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Whereabouts {
    /// TCP sessions now.
    pub(super) tcp: u64,
    /// Addresses now.
    pub(super) now: BTreeSet<IpAddr>,
    /// Addresses now, and those since they were last forgotten.
    pub(super) lately: BTreeSet<IpAddr>,
}

impl Presence {
    /// Counts one more TCP session of `user` from `source`; where no rule says how
    /// many there may be, `most`.
    ///
    /// # Errors
    /// [`TooMany::Connections`]
    pub(super) fn enter(
        &self,
        user: &Authenticated,
        most: usize,
        source: IpAddr,
    ) -> Result<Present, TooMany> {
        let connection = user.connection_from_anywhere(most, source)?;
        Ok(self.count(user, source, Some(connection)))
    }

    /// Counts one more association.
    pub(super) fn enter_udp(&self, user: &Authenticated, source: IpAddr) -> Present {
        self.count(user, source, None)
    }

    fn count(
        &self,
        user: &Authenticated,
        source: IpAddr,
        connection: Option<ConnectionCount>,
    ) -> Present {
        let (id, network) = (user.account().id(), Network::of(source));
        let most = user.account().most_addresses();
        let mut users = self.0.lock();
        let sessions = users.entry(id).or_default();
        sessions.tcp += u64::from(connection.is_some());
        if sessions.seen.len() < MOST_ADDRESSES {
            sessions.seen.insert(source);
        }
        let over = match sessions.place(network) {
            Some(place) => {
                place.sessions += 1;
                place.over.clone()
            }
            None => sessions.arrive(network, source, most),
        };
        Present {
            id,
            network,
            over,
            connection,
            presence: Arc::clone(&self.0),
        }
    }

    /// Where a user is.
    #[cfg(feature = "panel")]
    pub(super) fn of(&self, id: i64) -> Whereabouts {
        let users = self.0.lock();
        let Some(sessions) = users.get(&id) else {
            return Whereabouts::default();
        };
        let now: BTreeSet<_> = sessions.places.iter().map(|place| place.address).collect();
        Whereabouts {
            tcp: sessions.tcp,
            lately: now.union(&sessions.seen).copied().collect(),
            now,
        }
    }

    /// TCP sessions of everybody.
    #[cfg(feature = "panel")]
    pub(super) fn tcp(&self) -> u64 {
        self.0.lock().values().map(|sessions| sessions.tcp).sum()
    }

    /// Forgets where users were who are there no longer.
    #[cfg(feature = "panel")]
    pub(super) fn forget_seen(&self) {
        self.0.lock().retain(|_, sessions| {
            sessions.seen.clear();
            !sessions.places.is_empty()
        });
    }
}

impl Sessions {
    fn place(&mut self, network: Network) -> Option<&mut Place> {
        let mut places = self.places.iter_mut();
        places.find(|place| place.network == network && !place.over.is_cancelled())
    }

    /// Somebody comes from a new place; the oldest gives way if there are too many.
    fn arrive(
        &mut self,
        network: Network,
        address: IpAddr,
        most: Option<u64>,
    ) -> CancellationToken {
        let open = |place: &&Place| !place.over.is_cancelled();
        let most = most.and_then(|most| usize::try_from(most).ok());
        while let Some(most) = most
            && self.places.iter().filter(open).count() >= most.max(1)
            && let Some(oldest) = self.places.iter().find(open)
        {
            oldest.over.cancel();
        }
        let over = CancellationToken::new();
        self.places.push(Place {
            network,
            address,
            sessions: 1,
            over: over.clone(),
        });
        over
    }
}

impl Present {
    /// Returns when a newer address has taken this one's place.
    pub(super) async fn displaced(&self) {
        self.over.cancelled().await;
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        let mut users = self.presence.lock();
        let Some(sessions) = users.get_mut(&self.id) else {
            return;
        };
        if self.connection.is_some() {
            sessions.tcp = sessions.tcp.saturating_sub(1);
        }
        let displaced = self.over.is_cancelled();
        let mut places = sessions.places.iter();
        let own = places.position(|place| {
            place.network == self.network && place.over.is_cancelled() == displaced
        });
        if let Some(own) = own
            && let Some(place) = sessions.places.get_mut(own)
        {
            place.sessions = place.sessions.saturating_sub(1);
            if place.sessions == 0 {
                sessions.places.remove(own);
            }
        }
        if sessions.places.is_empty() && sessions.seen.is_empty() {
            users.remove(&self.id);
        }
    }
}
