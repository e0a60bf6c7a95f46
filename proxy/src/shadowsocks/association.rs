//! One client's datagrams: to wherever they say, and back from there.
//!
//! Each datagram goes to its own destination, which is judged like a target, and
//! answers pass from where the client has sent something lately, with their true
//! address. What counts is the data without headers.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::presence::Present;
use super::roster::Member;
use super::udp::Receiver;
use super::{random, unix_now};
use crate::config::UdpLimit;
use crate::metrics::Protocol;
use crate::protocol::shadowsocks::datagram::Sender;
use crate::protocol::{Host, Target};
use crate::relay::{Ending, Lane, Lanes, Purse};
use crate::server::Shared;
use crate::session::datagrams::receive;
use crate::session::datagrams::table::Table;
use crate::sessions::About;
use crate::users::Authenticated;

/// Names that are being looked up at once; a datagram to one more is dropped.
const MOST_LOOKUPS: usize = 16;

/// What a client has sent.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) target: Target,
    pub(super) data: Vec<u8>,
    pub(super) source: SocketAddr,
}

/// One client.
pub(super) struct Association {
    pub(super) receiver: Arc<Receiver>,
    pub(super) member: Arc<Member>,
    pub(super) user: Authenticated,
    pub(super) shared: Arc<Shared>,
    /// The client's session, in the 2022 edition.
    pub(super) session: u64,
    /// Where it was heard from last.
    pub(super) client: Mutex<SocketAddr>,
    pub(super) over: CancellationToken,
}

/// The parts that both directions use.
struct Open<'a> {
    association: &'a Association,
    outer: [Option<UdpSocket>; 2],
    table: Mutex<Table>,
    moved: Mutex<Instant>,
}

type LookUps = JoinSet<(Target, Option<SocketAddr>, Vec<u8>)>;

impl Association {
    /// Serves until it is silent too long, or must not go on.
    pub(super) async fn run(&self, mut inbox: mpsc::Receiver<Heard>) {
        let front = &self.receiver.front;
        let source = self.client.lock().ip().to_canonical();
        let present = front.presence.enter_udp(&self.user, source);
        let bind = |ip: IpAddr| UdpSocket::bind(SocketAddr::new(ip, 0));
        let open = Open {
            association: self,
            // A host may lack one of the families.
            outer: [
                bind(Ipv4Addr::UNSPECIFIED.into()).await.ok(),
                bind(Ipv6Addr::UNSPECIFIED.into()).await.ok(),
            ],
            table: Mutex::default(),
            moved: Mutex::new(Instant::now()),
        };
        let about = About {
            id: self.shared.next_id(),
            protocol: Protocol::ShadowsocksUdp,
            source: *self.client.lock(),
            target: "datagrams".to_owned(),
            within: None,
        };
        let listed = self
            .shared
            .sessions
            .enter(&self.user, about, &self.shared.cut);
        let Lanes { mut up, mut down } = listed.lanes(&self.user);
        let since = Instant::now();
        let reason = tokio::select! {
            ending = open.up(self.purse(&mut up), &mut inbox) => ending.to_string(),
            ending = open.down(self.purse(&mut down)) => ending.to_string(),
            () = open.silent() => "silent for too long".to_owned(),
            why = self.ended(&present) => why,
            _ = listed.session().cut() => "ended by an operator".to_owned(),
        };
        listed.ends(&reason);
        tracing::info!(
            id = listed.session().id, user = %self.user.name().escape_debug(), protocol = "shadowsocks-udp", %source,
            port = self.receiver.port.number, upload_bytes = up.moved(), download_bytes = down.moved(),
            seconds = since.elapsed().as_secs_f64(), reason, "closed"
        );
    }

    fn purse<'a>(&self, lane: &'a mut Lane) -> Purse<'a> {
        match self.receiver.front.settings.udp {
            UdpLimit::Shape => Purse::new(lane),
            UdpLimit::Police => Purse::policing(lane),
        }
    }

    async fn ended(&self, present: &Present) -> String {
        tokio::select! {
            why = self.user.revoked() => why.to_string(),
            () = self.member.over.cancelled() => "the user's access has changed".to_owned(),
            () = present.displaced() => "the user came from another address".to_owned(),
            () = self.over.cancelled() => "closed".to_owned(),
        }
    }
}

impl Open<'_> {
    /// Returns when nothing has moved for too long.
    async fn silent(&self) {
        let idle = self.association.receiver.front.settings.udp_idle;
        loop {
            let moved = *self.moved.lock();
            if moved.elapsed() >= idle {
                return;
            }
            tokio::time::sleep_until(moved + idle).await;
        }
    }

    /// From the client to wherever its datagrams say.
    async fn up(&self, mut purse: Purse<'_>, inbox: &mut mpsc::Receiver<Heard>) -> Ending {
        let mut lookups = LookUps::new();
        loop {
            let outcome = tokio::select! {
                heard = inbox.recv() => match heard {
                    Some(heard) => self.send_on(heard, &mut lookups, &mut purse).await,
                    // Another one has taken this one's place.
                    None => Err(Ending::Finished),
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

    async fn send_on(
        &self,
        heard: Heard,
        lookups: &mut LookUps,
        purse: &mut Purse<'_>,
    ) -> Result<(), Ending> {
        let association = self.association;
        *self.association.client.lock() = heard.source;
        let address = match &heard.target.host {
            Host::Address(ip) => {
                let address = SocketAddr::new(ip.to_canonical(), heard.target.port);
                let judged = association
                    .shared
                    .egress
                    .judge(association.user.name(), address);
                judged.ok().map(|()| address)
            }
            Host::Name(_) => {
                let known = self.table.lock().known(&heard.target);
                if known.is_none() && lookups.len() < MOST_LOOKUPS {
                    lookups.spawn(self.look_up(heard.target, heard.data));
                    return Ok(());
                }
                known
            }
        };
        match address {
            Some(address) => self.send(&heard.data, address, purse).await,
            None => Ok(()),
        }
    }

    fn look_up(
        &self,
        target: Target,
        data: Vec<u8>,
    ) -> impl Future<Output = (Target, Option<SocketAddr>, Vec<u8>)> + Send + 'static {
        let shared = Arc::clone(&self.association.shared);
        let user = self.association.user.clone();
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
            Ok(_) => self.moved(data.len(), purse),
            // No route, or too large for it: lost, as on the way.
            Err(_) => purse.keep(data.len()),
        }
        Ok(())
    }

    fn moved(&self, bytes: usize, purse: &mut Purse<'_>) {
        purse.count(bytes);
        self.association.receiver.front.counters.transmitted(bytes);
        *self.moved.lock() = Instant::now();
    }

    /// From where the client has sent something, to the client.
    async fn down(&self, mut purse: Purse<'_>) -> Ending {
        let member = &self.association.member;
        let method = member.access.method;
        let session = random::<8>().map_or(0, u64::from_be_bytes);
        let Ok(mut sender) = Sender::server(method, &member.keys, session) else {
            return Ending::Finished;
        };
        loop {
            if let Err(ending) = self.answer(&mut sender, &mut purse).await {
                return ending;
            }
        }
    }

    async fn answer(&self, sender: &mut Sender, purse: &mut Purse<'_>) -> Result<(), Ending> {
        let [v4, v6] = &self.outer;
        let (data, from) = tokio::select! {
            received = receive::from_if(v4.as_ref()) => received?,
            received = receive::from_if(v6.as_ref()) => received?,
        };
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if !self.table.lock().is_peer(from) || !purse.pay(data.len()).await? {
            return Ok(());
        }
        let client = *self.association.client.lock();
        match self.sealed(sender, from, &data) {
            Ok(bytes) => match self
                .association
                .receiver
                .socket
                .send_to(&bytes, client)
                .await
            {
                Ok(_) => self.moved(data.len(), purse),
                Err(_) => purse.keep(data.len()),
            },
            Err(error) => return Err(Ending::Broken(error)),
        }
        Ok(())
    }

    fn sealed(&self, sender: &mut Sender, from: SocketAddr, data: &[u8]) -> io::Result<Vec<u8>> {
        let association = self.association;
        let salt = random::<32>().map_err(io::Error::other)?;
        let salt = salt.get(..association.member.access.method.key_len());
        let salt = salt.unwrap_or_default();
        let sealed = sender.answer(association.session, salt, from, data, unix_now());
        let sealed = sealed.map_err(io::Error::other)?;
        if let Some(mark) = crate::protocol::shadowsocks::datagram::unique(&sealed) {
            // Sent back to us, it is a replay.
            association.receiver.front.datagrams.is_new(mark);
        }
        Ok(sealed)
    }
}
