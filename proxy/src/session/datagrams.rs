//! UDP ASSOCIATE (RFC 1928, section 7): datagrams through a socket of the
//! user's own, for as long as the TCP connection lives.
//!
//! The client's side takes datagrams from the address alone that the TCP
//! connection comes from, and from one port of it; nobody else hears an answer.
//! Each datagram's resolved address is judged like a target. Answers pass from
//! where the client has sent something within five minutes, with their true
//! address; there are at most [`table::MOST_PEERS`] such places. Fragments are dropped.
//!
//! The user's budget is that of the tunnels. A datagram waits for its bytes up
//! to a second and is dropped then, those behind it wait in the socket's buffer
//! and are dropped where that is full, as UDP is anywhere. What counts is the
//! data without the SOCKS header.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;
use tokio::task::JoinSet;

use super::client::Client;
use super::inbox::Inbox;
use super::{Log, Opened, Peer, SessionError, ended, refuse};
use crate::protocol::{Host, Target, socks5, socks5_udp};
use crate::relay::{Ending, Lanes, Purse, Side as _};
use crate::server::Shared;

pub(crate) mod receive;
pub(crate) mod table;

use table::Table;

/// Names that are being looked up at once; a datagram to one more is dropped.
const MOST_LOOKUPS: usize = 16;

/// Serves an association to its end.
pub(super) async fn serve(mut inbox: Inbox, shared: &Arc<Shared>, peer: &Peer, opened: &Opened) {
    let log = Log::new(shared, peer, opened);
    let most = shared.caps.connections_per_user;
    let _connection = match opened.user.connection(most, peer.source.ip()) {
        Ok(connection) => connection,
        Err(too_many) => return refuse(inbox, &log, &too_many.into()).await,
    };
    // Two descriptors more than a tunnel has.
    let Ok(_place) = Arc::clone(&shared.places).try_acquire_owned() else {
        return refuse(inbox, &log, &SessionError::NoRoom).await;
    };
    let association = match Association::open(&mut inbox, shared, peer, opened).await {
        Ok(association) => association,
        Err(error) => return refuse(inbox, &log, &SessionError::Client(error)).await,
    };
    let mut lanes = log.lanes();
    match association.run(inbox, &log, &mut lanes).await {
        Ok(reason) => log.closed(&lanes, &reason),
        Err(error) => log.refused(&error),
    }
}

struct Association<'a> {
    shared: &'a Arc<Shared>,
    opened: &'a Opened,
    /// Towards the client.
    inner: UdpSocket,
    /// Towards targets.
    outer: [Option<UdpSocket>; 2],
    /// The client's address, of which the port may be unknown as yet.
    client: Mutex<SocketAddr>,
    table: Mutex<Table>,
}

impl<'a> Association<'a> {
    async fn open(
        inbox: &mut Inbox,
        shared: &'a Arc<Shared>,
        peer: &Peer,
        opened: &'a Opened,
    ) -> io::Result<Self> {
        let (client, _) = inbox.parts()?;
        let own = client.tcp().local_addr()?.ip();
        let bind = |ip: IpAddr| UdpSocket::bind(SocketAddr::new(ip, 0));
        // A host may lack one of the families.
        let outer = [
            bind(Ipv4Addr::UNSPECIFIED.into()).await.ok(),
            bind(Ipv6Addr::UNSPECIFIED.into()).await.ok(),
        ];
        Ok(Self {
            shared,
            opened,
            inner: bind(own).await?,
            outer,
            client: Mutex::new(SocketAddr::new(
                peer.source.ip(),
                announced_port(&opened.target, peer.source.ip()),
            )),
            table: Mutex::default(),
        })
    }

    async fn run(
        &self,
        mut inbox: Inbox,
        log: &Log<'_>,
        lanes: &mut Lanes,
    ) -> Result<String, SessionError> {
        let bound = self.inner.local_addr()?;
        inbox
            .write(&socks5::reply(socks5::Code::Succeeded, bound))
            .await?;
        let (client, _) = inbox.into_parts()?;
        let Lanes { up, down } = lanes;
        Ok(tokio::select! {
            () = closed(client) => "the client closed it".to_owned(),
            ending = self.up(Purse::new(up)) => ending.to_string(),
            ending = self.down(Purse::new(down)) => ending.to_string(),
            error = ended(log.session(), &self.opened.user) => {
                log.failed(&error);
                error.to_string()
            }
        })
    }

    /// From the client to wherever its datagrams say.
    async fn up(&self, mut purse: Purse<'_>) -> Ending {
        let mut lookups = JoinSet::new();
        loop {
            let outcome = tokio::select! {
                received = receive::from(&self.inner) => match received {
                    Err(error) => Err(error.into()),
                    Ok((bytes, from)) => self.send_on(&bytes, from, &mut lookups, &mut purse).await,
                },
                Some(found) = lookups.join_next() => match found {
                    Ok((target, Some(address), data)) => {
                        self.table.lock().remember(target, address);
                        self.send(&data, address, &mut purse).await
                    }
                    // No such name, or a forbidden one.
                    _ => Ok(()),
                },
            };
            if let Err(ending) = outcome {
                return ending;
            }
        }
    }

    /// Sends one datagram of the client's on, or has its name looked up first.
    async fn send_on(
        &self,
        bytes: &[u8],
        from: SocketAddr,
        lookups: &mut JoinSet<(Target, Option<SocketAddr>, Vec<u8>)>,
        purse: &mut Purse<'_>,
    ) -> Result<(), Ending> {
        let Ok(datagram) = socks5_udp::parse(bytes) else {
            return Ok(());
        };
        if datagram.target.port == 0 || !self.is_the_clients(from) {
            return Ok(());
        }
        let address = match &datagram.target.host {
            Host::Address(ip) => {
                let address = SocketAddr::new(ip.to_canonical(), datagram.target.port);
                let name = self.opened.user.name();
                self.shared
                    .egress
                    .judge(name, address)
                    .ok()
                    .map(|()| address)
            }
            Host::Name(_) => {
                let known = self.table.lock().known(&datagram.target);
                if known.is_none() && lookups.len() < MOST_LOOKUPS {
                    lookups.spawn(self.look_up(datagram.target, datagram.data.to_vec()));
                }
                known
            }
        };
        match address {
            Some(address) => self.send(datagram.data, address, purse).await,
            None => Ok(()),
        }
    }

    /// Whether a datagram comes from the client; the first one says from which port.
    fn is_the_clients(&self, from: SocketAddr) -> bool {
        let mut client = self.client.lock();
        if from.ip().to_canonical() != client.ip() {
            return false;
        }
        if client.port() == 0 {
            client.set_port(from.port());
        }
        client.port() == from.port()
    }

    fn look_up(
        &self,
        target: Target,
        data: Vec<u8>,
    ) -> impl Future<Output = (Target, Option<SocketAddr>, Vec<u8>)> + Send + 'static {
        let (shared, user) = (Arc::clone(self.shared), self.opened.user.clone());
        let families = self.outer.each_ref().map(Option::is_some);
        async move {
            let found = shared.egress.addresses(&user, &target).await;
            let usable = |address: &SocketAddr| families[usize::from(address.is_ipv6())];
            let first = found.ok().and_then(|found| found.into_iter().find(usable));
            (target, first, data)
        }
    }

    /// Sends `data` to a judged address, if the budget lets it.
    async fn send(
        &self,
        data: &[u8],
        address: SocketAddr,
        purse: &mut Purse<'_>,
    ) -> Result<(), Ending> {
        let Some(socket) = &self.outer[usize::from(address.is_ipv6())] else {
            return Ok(());
        };
        if !purse.pay(data.len()).await? {
            return Ok(());
        }
        self.table.lock().sent_to(address);
        match socket.send_to(data, address).await {
            Ok(_) => purse.count(data.len()),
            // No route, or too large for it: lost, as on the way.
            Err(_) => purse.keep(data.len()),
        }
        Ok(())
    }

    /// From where the client has sent something, to the client.
    async fn down(&self, mut purse: Purse<'_>) -> Ending {
        loop {
            if let Err(ending) = self.answer(&mut purse).await {
                return ending;
            }
        }
    }

    async fn answer(&self, purse: &mut Purse<'_>) -> Result<(), Ending> {
        let [v4, v6] = &self.outer;
        let (data, from) = tokio::select! {
            received = receive::from_if(v4.as_ref()) => received?,
            received = receive::from_if(v6.as_ref()) => received?,
        };
        let client = *self.client.lock();
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if client.port() == 0 || !self.table.lock().is_peer(from) {
            return Ok(());
        }
        if !purse.pay(data.len()).await? {
            return Ok(());
        }
        let mut bytes = Vec::with_capacity(socks5_udp::MAX_REPLY_HEADER + data.len());
        socks5_udp::write_header(&mut bytes, from);
        bytes.extend(&data);
        match self.inner.send_to(&bytes, client).await {
            Ok(_) => purse.count(data.len()),
            Err(_) => purse.keep(data.len()),
        }
        Ok(())
    }
}

/// The port that the client will send from, if it says so and may know it: one
/// that names another address is behind a translation and cannot.
fn announced_port(announced: &Target, source: IpAddr) -> u16 {
    match announced.host {
        Host::Address(ip) if ip.is_unspecified() || ip.to_canonical() == source => announced.port,
        _ => 0,
    }
}

/// Returns when the TCP connection ends; whatever comes through it is dropped.
async fn closed(mut client: Client) {
    let mut ignored = [0; 64];
    while let Ok(1..) = client.read(&mut ignored).await {}
}
