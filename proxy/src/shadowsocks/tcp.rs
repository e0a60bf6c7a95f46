//! One TCP client from its salt to its end.
//!
//! Whoever is not served is read from, and told nothing, until the deadline that
//! everybody has from the start: too few bytes, a wrong key, a replay, a clock
//! that is off and a disabled user look the same.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, Interest};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::port::Port;
use super::roster::Member;
use super::sealed::{Sealed, mark};
use super::{Front, unix_now};
use crate::metrics::Protocol;
use crate::protocol::Target;
use crate::protocol::shadowsocks::stream::Opener;
use crate::protocol::shadowsocks::trial::StreamTrial;
use crate::protocol::shadowsocks::{Method, Refused, handshake};
use crate::relay::{self, Ending, Lanes, Patience, Side};
use crate::server::{Place, Shared};
use crate::sessions::{self, About};
use crate::users::Authenticated;

/// What is read at a time before there is a target.
const CHUNK: usize = 2_048;

/// A client whose request is whole.
struct Request {
    member: Arc<Member>,
    target: Target,
    /// What the client has sent for the target already.
    early: Vec<u8>,
    encryption: Option<Encryption>,
}

/// How the rest is read.
struct Encryption {
    opener: Opener,
    rest: Vec<u8>,
    salt: Box<[u8]>,
}

/// Serves one client.
pub(super) async fn serve(
    mut client: TcpStream,
    source: SocketAddr,
    port: Arc<Port>,
    front: Arc<Front>,
    place: Place,
    shared: Arc<Shared>,
) {
    let source = SocketAddr::new(source.ip().to_canonical(), source.port());
    let Some(_counted) = shared.addresses.enter(source.ip()) else {
        tracing::info!(%source, "refused: too many connections from this address");
        return;
    };
    let Some((request, user)) =
        Box::pin(open(&mut client, source, &port, &front, place, &shared)).await
    else {
        return;
    };
    Session {
        id: shared.next_id(),
        source,
        port: port.number,
        shared: &shared,
        front: &front,
        user: &user,
    }
    .serve(client, request)
    .await;
}

/// Everything up to the target, within one deadline.
async fn open(
    client: &mut TcpStream,
    source: SocketAddr,
    port: &Port,
    front: &Front,
    place: Place,
    shared: &Shared,
) -> Option<(Request, Authenticated)> {
    let handshake = async {
        let why = match read_request(client, source, port, front).await {
            Ok(request) => match Arc::clone(&request.member.account).admit_by_key() {
                Ok(user) => return Some((request, user)),
                Err(why) => why.to_string(),
            },
            Err(Failure::Refused(refused)) => {
                front.counters.refused(&refused);
                refused.to_string()
            }
            Err(Failure::Gone) => return None,
        };
        tracing::info!(%source, port = port.number, reason = why, protocol = "shadowsocks", "refused");
        drain(client).await;
        None
    };
    tokio::select! {
        opened = handshake => opened,
        () = tokio::time::sleep(shared.timeouts.handshake) => None,
        () = place.evicted() => None,
        () = port.closed.cancelled() => None,
    }
}

/// Why there is no request.
enum Failure {
    Refused(Refused),
    /// The client went away.
    Gone,
}

impl From<std::io::Error> for Failure {
    fn from(_: std::io::Error) -> Self {
        Self::Gone
    }
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

async fn read_request(
    client: &mut TcpStream,
    source: SocketAddr,
    port: &Port,
    front: &Front,
) -> Result<Request, Failure> {
    let roster = port.members.roster();
    let method = roster.method;
    if method == Method::None {
        return read_unencrypted(client, port, front).await;
    }
    let port_key = roster.port_key.clone();
    let has_identity = port_key.is_some();
    let mut bytes = Vec::with_capacity(CHUNK);
    let first_len = handshake::first_len(method, has_identity);
    while bytes.len() < first_len {
        read_more(client, &mut bytes).await?;
    }
    let (first, _) = bytes.split_at(first_len);
    let since = Instant::now();
    let now = unix_now();
    let trial = StreamTrial::new(method, has_identity, first, now);
    let opens = move |member: &Member| trial.open(&member.keys.user);
    let (member, mut opener) = match &port_key {
        Some(key) => {
            let named = roster.named(handshake::identity(method, key, first)?);
            let member = Arc::clone(named.ok_or(Refused::Authentication)?);
            let opener = opens(&member)?;
            (member, opener)
        }
        None => tokio::select! {
            found = port.members.find(source.ip(), true, &front.turnstile, opens) => found?,
            // Who is gone is not searched for.
            () = broken(client) => return Err(Failure::Gone),
        },
    };
    front.counters.found(since.elapsed());
    let salt: Box<[u8]> = handshake::salt(method, first).into();
    if !front.salts.is_new(mark(&salt)) {
        return Err(Refused::Replay.into());
    }
    bytes.drain(..first_len);
    let mut plain = Vec::new();
    loop {
        if let Some((payload, used)) = opener.open(&mut bytes)? {
            let is_payload = !payload.is_empty();
            plain.extend_from_slice(bytes.get(payload).unwrap_or_default());
            bytes.drain(..used);
            if is_payload && let Some((target, from)) = handshake::request(method, &plain)? {
                let encryption = Encryption {
                    opener,
                    rest: bytes,
                    salt,
                };
                return Ok(Request {
                    member,
                    target,
                    early: plain.split_off(from),
                    encryption: Some(encryption),
                });
            }
        } else {
            read_more(client, &mut bytes).await?;
        }
    }
}

/// The method `none`: the address as it is.
async fn read_unencrypted(
    client: &mut TcpStream,
    port: &Port,
    front: &Front,
) -> Result<Request, Failure> {
    let roster = port.members.roster();
    let allowed = front.settings.allow_unencrypted;
    let member = roster.members().next().filter(|_| allowed);
    let member = Arc::clone(member.ok_or(Refused::Authentication)?);
    let mut bytes = Vec::new();
    loop {
        if let Some((target, from)) = handshake::request(Method::None, &bytes)? {
            return Ok(Request {
                member,
                target,
                early: bytes.split_off(from),
                encryption: None,
            });
        }
        read_more(client, &mut bytes).await?;
    }
}

async fn read_more(client: &mut TcpStream, bytes: &mut Vec<u8>) -> Result<(), Failure> {
    bytes.reserve(CHUNK);
    match client.read_buf(bytes).await? {
        0 => Err(Failure::Gone),
        _ => Ok(()),
    }
}

/// Returns when the connection is broken, which the end of what a client says is not.
async fn broken(client: &TcpStream) {
    // Fails only while the runtime ends.
    let _ = client.ready(Interest::ERROR).await;
}

/// Reads and forgets.
async fn drain(client: &mut TcpStream) {
    let mut ignored = [0; 1_024];
    while let Ok(1..) = client.read(&mut ignored).await {}
}

/// A user's session with a target.
struct Session<'a> {
    id: u64,
    source: SocketAddr,
    port: u16,
    shared: &'a Shared,
    front: &'a Arc<Front>,
    user: &'a Authenticated,
}

impl Session<'_> {
    async fn serve(self, client: TcpStream, request: Request) {
        let Request {
            member,
            target,
            early,
            encryption,
        } = request;
        let most = self.shared.caps.connections_per_user;
        let present = self.front.presence.enter(self.user, most, self.source.ip());
        let present = match present {
            Ok(present) => present,
            Err(error) => return self.refused(&target, &error),
        };
        let about = About {
            id: self.id,
            protocol: Protocol::Shadowsocks,
            source: self.source,
            target: target.to_string(),
            within: None,
        };
        let listed = self
            .shared
            .sessions
            .enter(self.user, about, &self.shared.cut);
        let listing = Arc::clone(listed.session());
        let dialled = tokio::select! {
            dialled = Box::pin(self.shared.egress.connect(self.user, &target)) => dialled,
            why = self.ended(&member, &present, &listing) => {
                listed.fails(&why);
                return self.refused(&target, &why);
            }
        };
        let target_socket = match dialled {
            Ok(socket) => socket,
            Err(error) => {
                listed.fails(&error);
                return self.refused(&target, &error);
            }
        };
        let mut lanes = Lanes::new(self.user, listed.session());
        self.front.counters.transmitted(early.len());
        let since = Instant::now();
        let reason = match encryption {
            None => {
                let cut = self.ended(&member, &present, &listing);
                self.relay(client, target_socket, &early, &mut lanes, cut)
                    .await
            }
            Some(Encryption { opener, rest, salt }) => {
                let (front, of) = (Arc::clone(self.front), Arc::clone(&member));
                let client = Sealed::new(client, opener, rest, front, of, salt);
                let cut = self.ended(&member, &present, &listing);
                self.relay(client, target_socket, &early, &mut lanes, cut)
                    .await
            }
        };
        listed.ends(&reason);
        tracing::info!(
            id = self.id, user = %self.user.name().escape_debug(), protocol = "shadowsocks",
            source = %self.source, port = self.port, target = %target.to_string().escape_debug(),
            upload_bytes = lanes.up.moved(), download_bytes = lanes.down.moved(),
            seconds = since.elapsed().as_secs_f64(),
            throttled_seconds = (lanes.up.throttled() + lanes.down.throttled()).as_secs_f64(),
            reason, "closed"
        );
    }

    async fn relay<C: Side>(
        &self,
        mut client: C,
        mut target: TcpStream,
        early: &[u8],
        lanes: &mut Lanes,
        cut: impl Future<Output = String>,
    ) -> String {
        let open = self.front.settings.idle;
        let open = open.unwrap_or(self.shared.timeouts.idle);
        let patience = Patience {
            open,
            half_closed: self.shared.timeouts.half_closed.min(open),
        };
        let ending = tokio::select! {
            // First: what has ended moves nothing more.
            biased;
            why = cut => Err(why),
            ending = relay::relay(&mut client, &mut target, early, lanes, patience) => Ok(ending),
        };
        match ending {
            Ok(ending @ Ending::Finished) => ending.to_string(),
            Ok(ending) => ending.to_string(),
            Err(why) => {
                relay::reset([client.tcp(), &target]);
                why
            }
        }
    }

    /// Returns when the session must not go on, and says why.
    async fn ended(
        &self,
        member: &Member,
        present: &super::presence::Present,
        listing: &sessions::Session,
    ) -> String {
        tokio::select! {
            why = self.user.revoked() => why.to_string(),
            () = member.over.cancelled() => "the user's access has changed".to_owned(),
            () = present.displaced() => "the user came from another address".to_owned(),
            killed = listing.cut() => match killed {
                true => "ended by an operator".to_owned(),
                false => "the server stops".to_owned(),
            },
        }
    }

    fn refused(&self, target: &Target, why: &dyn std::fmt::Display) {
        tracing::info!(
            id = self.id, user = %self.user.name().escape_debug(), protocol = "shadowsocks",
            source = %self.source, port = self.port, target = %target.to_string().escape_debug(),
            reason = %why, "refused"
        );
    }
}
