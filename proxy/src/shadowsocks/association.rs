//! One client's datagrams: to wherever they say, and back from there.
//!
//! Each datagram goes to its own destination, which is judged like a target, and
//! answers pass from where the client has sent something lately, with their true
//! address. What counts is the data without headers.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::presence::Present;
use super::roster::Member;
use super::udp::Receiver;
use super::{random, unix_now};
use crate::config::UdpLimit;
use crate::metrics::Protocol;
use crate::protocol::Target;
use crate::protocol::shadowsocks::datagram::Sender;
use crate::relay::{Ending, Lane, Lanes, Purse};
use crate::server::Shared;
use crate::session::datagrams::outer::{LookUps, Outer};
use crate::sessions::About;
use crate::users::Authenticated;

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
    outer: Outer,
    moved: Mutex<Instant>,
}

impl Association {
    /// Serves until it is silent too long, or must not go on.
    pub(super) async fn run(&self, mut inbox: mpsc::Receiver<Heard>) {
        let front = &self.receiver.front;
        let source = self.client.lock().ip().to_canonical();
        let present = front.presence.enter_udp(&self.user, source);
        let open = Open {
            association: self,
            outer: Outer::open(&self.shared, &self.user).await,
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
        let Lanes { mut up, mut down } = Lanes::new(&self.user, listed.session());
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
        let mut lookups = LookUps::default();
        loop {
            let sent = tokio::select! {
                heard = inbox.recv() => match heard {
                    Some(heard) => self.send_on(heard, &mut lookups, &mut purse).await,
                    // Another one has taken this one's place.
                    None => Err(Ending::Finished),
                },
                (data, address) = self.outer.found(&mut lookups) => {
                    self.send(&data, address, &mut purse).await
                }
            };
            if let Err(ending) = sent {
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
        *self.association.client.lock() = heard.source;
        match self.outer.route(heard.target, &heard.data, lookups) {
            Some(address) => self.send(&heard.data, address, purse).await,
            None => Ok(()),
        }
    }

    async fn send(
        &self,
        data: &[u8],
        address: SocketAddr,
        purse: &mut Purse<'_>,
    ) -> Result<(), Ending> {
        if self.outer.send(data, address, purse).await? {
            self.moved(data.len());
        }
        Ok(())
    }

    fn moved(&self, bytes: usize) {
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
        let (data, from) = self.outer.receive().await?;
        if !purse.pay(data.len()).await? {
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
                Ok(_) => {
                    purse.count(data.len());
                    self.moved(data.len());
                }
                Err(_) => purse.keep(data.len()),
            },
            Err(error) => return Err(Ending::Broken(error)),
        }
        Ok(())
    }

    fn sealed(&self, sender: &mut Sender, from: SocketAddr, data: &[u8]) -> io::Result<Vec<u8>> {
        let association = self.association;
        let salt = random::<32>().map_err(io::Error::other)?;
        let salt = salt.get(..association.member.access.method.salt_len());
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
