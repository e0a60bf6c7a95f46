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
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::AsyncReadExt;
use tokio::net::UdpSocket;

use super::client::Client;
use super::inbox::Inbox;
use super::{Log, Opened, Peer, SessionError, ended, refuse};
use crate::protocol::{Host, Target, socks5, socks5_udp};
use crate::relay::{Ending, Lanes, Purse, Side as _};
use crate::server::Shared;

pub(crate) mod outer;
pub(crate) mod receive;
mod table;

use outer::{LookUps, Outer};

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
        Ok(reason) => log.closed(&lanes, None, &reason),
        Err(error) => log.refused(&error),
    }
}

struct Association<'a> {
    opened: &'a Opened,
    /// Towards the client.
    inner: UdpSocket,
    /// Towards targets.
    outer: Outer,
    /// The client's address, of which the port may be unknown as yet.
    client: Mutex<SocketAddr>,
}

impl<'a> Association<'a> {
    async fn open(
        inbox: &mut Inbox,
        shared: &Arc<Shared>,
        peer: &Peer,
        opened: &'a Opened,
    ) -> io::Result<Self> {
        let (client, _) = inbox.parts()?;
        let own = client.tcp().local_addr()?.ip();
        Ok(Self {
            opened,
            inner: UdpSocket::bind(SocketAddr::new(own, 0)).await?,
            outer: Outer::open(shared, &opened.user).await,
            client: Mutex::new(SocketAddr::new(
                peer.source.ip(),
                announced_port(&opened.target, peer.source.ip()),
            )),
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
        let mut lookups = LookUps::default();
        loop {
            let sent = tokio::select! {
                received = receive::from(&self.inner) => match received {
                    Err(error) => Err(error.into()),
                    Ok((bytes, from)) => self.send_on(&bytes, from, &mut lookups, &mut purse).await,
                },
                (data, address) = self.outer.found(&mut lookups) => {
                    self.outer.send(&data, address, &mut purse).await
                }
            };
            if let Err(ending) = sent {
                return ending;
            }
        }
    }

    /// Sends one datagram of the client's on, or has its name looked up first; says
    /// whether it was sent.
    async fn send_on(
        &self,
        bytes: &[u8],
        from: SocketAddr,
        lookups: &mut LookUps,
        purse: &mut Purse<'_>,
    ) -> Result<bool, Ending> {
        let Ok(datagram) = socks5_udp::parse(bytes) else {
            return Ok(false);
        };
        if datagram.target.port == 0 || !self.is_the_clients(from) {
            return Ok(false);
        }
        match self.outer.route(datagram.target, datagram.data, lookups) {
            Some(address) => self.outer.send(datagram.data, address, purse).await,
            None => Ok(false),
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

    /// From where the client has sent something, to the client.
    async fn down(&self, mut purse: Purse<'_>) -> Ending {
        loop {
            if let Err(ending) = self.answer(&mut purse).await {
                return ending;
            }
        }
    }

    async fn answer(&self, purse: &mut Purse<'_>) -> Result<(), Ending> {
        let (data, from) = self.outer.receive().await?;
        let client = *self.client.lock();
        if client.port() == 0 || !purse.pay(data.len()).await? {
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
