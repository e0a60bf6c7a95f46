//! Datagrams: one port's socket, and an association for each client behind it.
//!
//! ```text
//! serve        receives, finds the user, refuses replays -> the client's association
//! association  two directions through sockets of its own, until it is silent too long
//! ```
//!
//! Who sends from where somebody was found before costs one trial; the search for
//! others goes on beside, by the [turnstile](super::turnstile). A datagram for which
//! there is no room is dropped, as UDP is anywhere.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::associations::Key;
use super::port::{Port, Venue};
use super::roster::{Member, Roster};
use super::{Front, unix_now};
use crate::protocol::shadowsocks::datagram::{self, Opened};
use crate::protocol::shadowsocks::trial::DatagramTrial;
use crate::protocol::shadowsocks::{Method, Refused};
use crate::session::datagrams::receive;
use crate::users::Network;

/// Searches that datagrams of one port wait for, and as many where somebody was found
/// lately; those to one more are dropped.
const MOST_SEARCHES: usize = 256;
/// Clients whose user is remembered.
const MOST_CLIENTS: usize = 8_192;

/// What serves the datagrams of one port.
pub(super) struct Receiver {
    pub(super) socket: Arc<UdpSocket>,
    pub(super) port: Arc<Port>,
    pub(super) front: Arc<Front>,
    pub(super) venue: Venue,
    pub(super) over: CancellationToken,
    clients: parking_lot::Mutex<HashMap<SocketAddr, i64>>,
    /// From where nobody is known, and from elsewhere.
    searches: [Arc<Semaphore>; 2],
}

/// Serves the datagrams of one port until it is over.
pub(super) async fn serve(
    socket: UdpSocket,
    port: Arc<Port>,
    front: Arc<Front>,
    venue: Venue,
    over: CancellationToken,
) {
    let receiver = Arc::new(Receiver {
        socket: Arc::new(socket),
        port,
        front,
        venue,
        over,
        clients: parking_lot::Mutex::default(),
        searches: [(); 2].map(|()| Arc::new(Semaphore::new(MOST_SEARCHES))),
    });
    loop {
        let received = tokio::select! {
            () = receiver.over.cancelled() => return,
            received = receive::from(&receiver.socket) => received,
        };
        match received {
            Ok((bytes, source)) => receiver.received(bytes, source),
            Err(error) => {
                tracing::error!(%error, port = receiver.port.number, "cannot receive datagrams");
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        }
    }
}

impl Receiver {
    fn received(self: &Arc<Self>, bytes: Vec<u8>, source: SocketAddr) {
        let roster = self.port.members.roster();
        match self.known(&roster, &bytes, source) {
            Ok(Some((member, opened))) => self.pass(&member, opened, &bytes, source),
            Ok(None) => self.search(roster.method, bytes, source),
            Err(refused) => self.front.counters.refused(&refused),
        }
    }

    /// Whose it is, as far as that needs no search.
    fn known(
        &self,
        roster: &Roster,
        bytes: &[u8],
        source: SocketAddr,
    ) -> Result<Option<(Arc<Member>, Opened)>, Refused> {
        let method = roster.method;
        let open = |member: &Arc<Member>| {
            let opened = datagram::open(method, &member.keys, bytes, unix_now())?;
            Ok((Arc::clone(member), opened))
        };
        if !method.authenticates() {
            let allowed = self.front.settings.allow_unencrypted;
            let member = roster.members().next().filter(|_| allowed);
            return member.map(open).transpose();
        }
        if let Some(key) = &roster.port_key {
            let named = roster.named(datagram::identity(key, bytes)?);
            return open(named.ok_or(Refused::Authentication)?).map(Some);
        }
        let id = self.clients.lock().get(&source).copied();
        let Some(member) = id.and_then(|id| roster.member(id)) else {
            return Ok(None);
        };
        match open(member) {
            // Another user behind the same address.
            Err(Refused::Authentication) => Ok(None),
            opened => opened.map(Some),
        }
    }

    /// Finds out beside whose it is.
    fn search(self: &Arc<Self>, method: Method, bytes: Vec<u8>, source: SocketAddr) {
        let ip = source.ip().to_canonical();
        let is_known = self.port.members.knows(Network::of(ip));
        let searches = &self.searches[usize::from(is_known)];
        let Ok(search) = Arc::clone(searches).try_acquire_owned() else {
            self.front.counters.refused(&Refused::Authentication);
            return;
        };
        let receiver = Arc::clone(self);
        tokio::spawn(async move {
            let _search = search;
            let trial = Arc::new(DatagramTrial::new(method, bytes, unix_now()));
            let tried = Arc::clone(&trial);
            let open = move |member: &Member| tried.open(&member.keys);
            let (front, members) = (&receiver.front, &receiver.port.members);
            match members.find(ip, false, &front.turnstile, open).await {
                Ok((member, opened)) => {
                    receiver.remember(source, member.account.id());
                    receiver.pass(&member, opened, trial.bytes(), source);
                }
                Err(refused) => front.counters.refused(&refused),
            }
        });
    }

    fn remember(&self, client: SocketAddr, id: i64) {
        let mut clients = self.clients.lock();
        if clients.len() >= MOST_CLIENTS {
            clients.clear();
        }
        clients.insert(client, id);
    }

    /// Hands an authentic datagram to the client's association.
    fn pass(
        self: &Arc<Self>,
        member: &Arc<Member>,
        opened: Opened,
        bytes: &[u8],
        source: SocketAddr,
    ) {
        let method = member.access.method;
        let fresh = method == Method::None
            || datagram::unique(bytes).is_some_and(|mark| self.front.datagrams.is_new(mark));
        if !fresh {
            self.front.counters.refused(&Refused::Replay);
            return;
        }
        let key = Key {
            port: self.port.number,
            member: member.account.id(),
            // The 2022 edition's client may move to another address.
            client: if method.is_2022() { None } else { Some(source) },
            session: opened.separate.session,
        };
        self.front
            .associations
            .pass(self, key, member, opened, source);
    }
}
