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
#[derive(Debug)]
pub(super) struct Presence {
    users: Arc<Mutex<HashMap<i64, Sessions>>>,
    /// Somebody asks now and then where users have been, and forgets it then.
    is_asked: bool,
}

#[derive(Debug, Default)]
struct Sessions {
    tcp: u64,
    /// In the order in which they came.
    places: Vec<Place>,
    /// Since the last time somebody asked; empty if nobody does.
    seen: BTreeSet<IpAddr>,
    /// What they were told, until they say that they have it.
    told: BTreeSet<IpAddr>,
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
    /// Addresses now, and those that [`Presence::tell`] has found.
    pub(super) lately: BTreeSet<IpAddr>,
}

impl Presence {
    /// Nobody yet. Where users have been is kept only if it is asked for: else it
    /// would be kept for ever.
    pub(super) fn new(is_asked: bool) -> Self {
        Self {
            users: Arc::default(),
            is_asked,
        }
    }

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
        let mut users = self.users.lock();
        let sessions = users.entry(id).or_default();
        sessions.tcp += u64::from(connection.is_some());
        if self.is_asked && sessions.seen.len() < MOST_ADDRESSES {
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
            presence: Arc::clone(&self.users),
        }
    }

    /// Where a user is.
    #[cfg(feature = "panel")]
    pub(super) fn of(&self, id: i64) -> Whereabouts {
        let users = self.users.lock();
        let Some(sessions) = users.get(&id) else {
            return Whereabouts::default();
        };
        let now: BTreeSet<_> = sessions.places.iter().map(|place| place.address).collect();
        Whereabouts {
            tcp: sessions.tcp,
            lately: now.union(&sessions.told).copied().collect(),
            now,
        }
    }

    /// TCP sessions of everybody.
    #[cfg(feature = "panel")]
    pub(super) fn tcp(&self) -> u64 {
        let users = self.users.lock();
        users.values().map(|sessions| sessions.tcp).sum()
    }

    /// Where users have been since the last time is told from now on.
    #[cfg(feature = "panel")]
    pub(super) fn tell(&self) {
        for sessions in self.users.lock().values_mut() {
            sessions.told.append(&mut sessions.seen);
        }
    }

    /// What was told has been heard; what was seen meanwhile has not.
    #[cfg(feature = "panel")]
    pub(super) fn forget_told(&self) {
        self.users.lock().retain(|_, sessions| {
            sessions.told.clear();
            !sessions.is_empty()
        });
    }
}

impl Sessions {
    fn is_empty(&self) -> bool {
        self.places.is_empty() && self.seen.is_empty() && self.told.is_empty()
    }

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
        if sessions.is_empty() {
            users.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Database;
    use crate::protocol::Credentials;
    use crate::users::{Limits, NewUser, PasswordCost, Users};

    async fn user() -> (Authenticated, tempfile::TempDir) {
        let folder = tempfile::tempdir().unwrap();
        let database = Database::file(folder.path().join("users.db"));
        let users = Users::open(&database, PasswordCost::LEAST).await.unwrap();
        let (name, password) = ("ada".to_owned(), b"pw".to_vec());
        let new = NewUser {
            name: name.clone(),
            password: password.clone(),
            rules: Limits::Unlimited.into(),
        };
        users.add(new).await.unwrap();
        let name = name.into();
        let credentials = Credentials { name, password };
        let source = [192, 0, 2, 1].into();
        let user = users.authenticate(&credentials, source).await.unwrap();
        (user, folder)
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test]
    async fn where_users_have_been_is_kept_only_for_who_asks() {
        let (user, _folder) = user().await;
        for is_asked in [false, true] {
            let presence = Presence::new(is_asked);
            for last in 0..100 {
                let tcp = presence.enter(&user, 10, address(last)).unwrap();
                let udp = presence.enter_udp(&user, [198, 51, 100, last].into());
                let counted: Vec<u64> = presence.users.lock().values().map(|one| one.tcp).collect();
                assert_eq!(counted, [1], "one TCP session, and datagrams are none");
                drop((tcp, udp));
            }
            let kept = presence.users.lock();
            assert!(kept.values().all(|sessions| sessions.tcp == 0));
            let addresses = kept.values().map(|sessions| sessions.seen.len());
            let expected = if is_asked { MOST_ADDRESSES } else { 0 };
            assert_eq!(addresses.sum::<usize>(), expected);
            assert_eq!(kept.is_empty(), !is_asked, "nothing of who is gone");
        }
    }

    #[cfg(feature = "panel")]
    #[tokio::test]
    async fn who_comes_while_a_report_is_under_way_is_in_the_next() {
        let (user, _folder) = user().await;
        let presence = Presence::new(true);
        let lately = || {
            presence.tell();
            let there = presence.of(user.account().id()).lately;
            there.into_iter().collect::<Vec<_>>()
        };
        drop(presence.enter(&user, 10, address(1)).unwrap());
        assert_eq!(lately(), [address(1)]);
        drop(presence.enter(&user, 10, address(2)).unwrap());
        presence.forget_told();
        assert_eq!(lately(), [address(2)]);
        let stays = presence.enter(&user, 10, address(3)).unwrap();
        assert_eq!(lately(), [address(2), address(3)], "nobody has heard");
        presence.forget_told();
        assert_eq!(lately(), [address(3)], "still there");
        drop(stays);
        presence.forget_told();
        assert!(presence.users.lock().is_empty());
    }
}
