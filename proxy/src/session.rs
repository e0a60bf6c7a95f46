//! One client from its first byte to its last: recognise, authenticate,
//! connect, relay.
//!
//! ```text
//! layers      PROXY header of a listed peer, TLS: each taken off
//! handshake   the dialect up to the whole request: a login, and what it is for
//! tunnel      a stream to the target             forward   one HTTP message, then the next request
//! datagrams   through a socket of the user's own
//! ```

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::causes::chain;
use crate::egress::EgressError;
use crate::metrics::Reason;
#[cfg(feature = "https-service")]
use crate::protocol::opening::Opening;
use crate::protocol::{Dialect, Target, WireError, http};
use crate::relay::Patience;
use crate::server::{Counted, Place, Rules, Shared};
use crate::sessions::Session;
use crate::spans::Mark;
use crate::users::{Authenticated, LoginError, Revocation, TooMany};

mod answer;
mod client;
pub(crate) mod datagrams;
mod forward;
mod handshake;
#[cfg(feature = "https-service")]
mod https_relay;
mod inbox;
mod layers;
mod log;
mod request_id;
mod tunnel;
mod turn;

use inbox::Inbox;
use log::Log;
use request_id::{RequestId, Requests};
use turn::Instance;

/// After a refusal: how long, and how much, a client may go on talking before
/// it is cut off. A socket closed with bytes unread would reset the connection
/// and take the answer with it.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// How often in an idle time-out is looked whether bytes have moved.
const LOOKS: u32 = 4;

/// Why a session ended before it relayed, or was cut.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// The client broke its protocol.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// The client does not offer a password.
    #[error("the client offers no username/password authentication")]
    NoPassword,
    /// The client is not who it says.
    #[error(transparent)]
    Login(#[from] LoginError),
    /// The client logged in as one user and wants to be another.
    #[error("the target is asked for on somebody else's account")]
    OtherUser,
    /// Nobody registers here, or not under this name.
    #[error("no registration: {0}")]
    Registration(&'static str),
    /// The user has as many connections, or addresses, as one may have.
    #[error(transparent)]
    TooMany(#[from] TooMany),
    /// As many connections come from there as may.
    #[error("too many connections from this address")]
    Crowd,
    /// There is no room for what a user wants.
    #[error("the proxy has no room")]
    NoRoom,
    /// The target was not reached.
    #[error("{}", chain(.0))]
    Egress(#[from] EgressError),
    /// The client does not speak TLS as it should.
    #[error("no TLS: {0}")]
    Tls(io::Error),
    /// The request was not there in time.
    #[error("no whole request in time")]
    Timeout,
    /// Others needed the place of this handshake.
    #[error("too many handshakes at once")]
    Evicted,
    /// The client went away.
    #[error("the client went away: {0}")]
    Client(#[from] io::Error),
    /// The user was disabled, deleted or given another password, or is beyond
    /// quota or expiry.
    #[error(transparent)]
    Revoked(#[from] Revocation),
    /// An operator ended the session.
    #[error("ended by an operator")]
    Killed,
    /// The server stops.
    #[error("the server stops")]
    Stopping,
    /// A worker of the HTTPS service had no time left for the target.
    #[error("no answer from the target within the request time-out")]
    Slow,
    /// The HTTPS service has no worker.
    #[cfg(feature = "https-service")]
    #[error(transparent)]
    NoWorker(#[from] crate::https_service::NoWorker),
    /// As much has been asked of the HTTPS service as may be.
    #[cfg(feature = "https-service")]
    #[error(transparent)]
    Quota(#[from] Box<turn::Spent>),
    /// The client has closed before a worker of the HTTPS service was free.
    #[cfg(feature = "https-service")]
    #[error("the client has closed while its request waited")]
    ClosedInQueue,
    /// The HTTPS service has no instance of the target.
    #[cfg(feature = "https-service")]
    #[error(transparent)]
    NoInstance(#[from] crate::https_service::NoInstance),
}

/// A client that has proved who it is and said what it wants.
#[derive(Debug)]
struct Opened {
    dialect: Dialect,
    user: Authenticated,
    target: Target,
    wish: Wish,
    /// HTTP alone has requests that are told their number.
    request: Option<RequestId>,
}

/// What a client wants of its target.
#[derive(Debug)]
enum Wish {
    /// A stream.
    Tunnel,
    /// Datagrams, to wherever they say; the target is where they will come from.
    Datagrams,
    /// An answer to one message.
    Answer(Box<Message>),
}

/// An HTTP request to pass on.
#[derive(Debug)]
struct Message {
    forward: http::Forward,
    /// Whether another request may follow.
    keep_alive: bool,
}

/// Serves one client, whose handshake has `place`. Whatever happens is logged here and ends here.
pub(crate) async fn serve(
    client: TcpStream,
    source: SocketAddr,
    rules: Arc<Rules>,
    place: Place,
    shared: Arc<Shared>,
) {
    let id = shared.next_id();
    let mut peer = Peer {
        id,
        requests: Requests::default(),
        span: Mark::connection(id),
        source: SocketAddr::new(source.ip().to_canonical(), source.port()),
        counted: None,
        named: false,
        #[cfg(feature = "https-service")]
        service: shared.service.clone().filter(|_| rules.is_service()),
    };
    #[cfg(feature = "https-service")]
    let _connection = match &peer.service {
        None => None,
        Some(service) => match service.connect().await {
            None => {
                return tracing::warn!(%source, "refused: the HTTPS service has too many connections");
            }
            connection => connection,
        },
    };
    let mut inbox = Inbox::new(client);
    // Boxed: what comes after lasts longer, and has no use for its memory.
    let opened = Box::pin(open(&mut inbox, &mut peer, &rules, place, &shared)).await;
    peer.span.comes_from(peer.source);
    match opened {
        #[cfg(feature = "https-service")]
        Ok(Start::Frames) => {
            if let Some(service) = peer.service.clone() {
                Box::pin(https_relay::serve(inbox, &shared, &peer, &service)).await;
            }
        }
        Ok(Start::Request(opened)) => match opened.wish {
            Wish::Tunnel => tunnel::serve(inbox, &shared, &peer, &opened).await,
            Wish::Datagrams => {
                Box::pin(datagrams::serve(inbox, &shared, &peer, &opened)).await;
            }
            Wish::Answer(_) => {
                Box::pin(forward::serve(inbox, &shared, &peer, opened)).await;
            }
        },
        Ok(Start::Done) => Box::pin(linger(inbox)).await,
        Err(error) => Box::pin(reject(inbox, &peer, &shared, error)).await,
    }
}

/// What a connection turns out to be.
enum Start {
    /// A request of a user's.
    Request(Opened),
    /// Frames for the HTTPS service, each with a login of its own.
    #[cfg(feature = "https-service")]
    Frames,
    /// A client that has got what it came for.
    Done,
}

/// Who is served.
#[derive(Debug)]
struct Peer {
    id: u64,
    /// Those that have been read.
    requests: Requests,
    span: Mark,
    /// Where the client is, as far as anybody we believe can tell.
    source: SocketAddr,
    /// Its place among those from there.
    counted: Option<Counted>,
    /// Whether a load balancer has named `source`.
    #[cfg_attr(
        not(feature = "https-service"),
        allow(dead_code, reason = "only the HTTPS service tells targets")
    )]
    named: bool,
    /// Where the listener is one of its.
    #[cfg(feature = "https-service")]
    service: Option<Arc<crate::https_service::Service>>,
}

impl Peer {
    /// Whether the log tells what is asked for: the HTTPS service's does.
    const fn is_audited(&self) -> bool {
        #[cfg(feature = "https-service")]
        return self.service.is_some();
        #[cfg(not(feature = "https-service"))]
        return false;
    }

    fn enter(&mut self, shared: &Shared) -> Result<(), SessionError> {
        let counted = shared.addresses.enter(self.source.ip());
        self.counted = Some(counted.ok_or(SessionError::Crowd)?);
        Ok(())
    }
}

/// Everything up to the whole request, within one deadline.
async fn open(
    inbox: &mut Inbox,
    peer: &mut Peer,
    rules: &Rules,
    place: Place,
    shared: &Shared,
) -> Result<Start, SessionError> {
    let balanced = rules.is_balancer(peer.source.ip());
    if !balanced {
        peer.enter(shared)?;
    }
    let request = async {
        let before = peer.source;
        let opening = layers::take_off(inbox, &mut peer.source, rules).await?;
        peer.named = peer.source != before;
        if balanced {
            peer.enter(shared)?;
        }
        #[cfg(feature = "https-service")]
        if opening == Opening::HttpsRelay {
            return Ok(Start::Frames);
        }
        let opened = handshake::run(inbox, opening, peer, shared).await?;
        Ok(opened.map_or(Start::Done, Start::Request))
    };
    // Not moved from here to there: each place would take its memory.
    in_time(pin!(request), shared.timeouts.handshake, place, shared).await
}

/// Runs a handshake until its deadline, or until others need its place.
async fn in_time<T>(
    handshake: impl Future<Output = Result<T, SessionError>>,
    deadline: Duration,
    place: Place,
    shared: &Shared,
) -> Result<T, SessionError> {
    tokio::select! {
        opened = handshake => opened,
        () = tokio::time::sleep(deadline) => Err(SessionError::Timeout),
        () = place.evicted() => Err(SessionError::Evicted),
        () = shared.stopping.cancelled() => Err(SessionError::Stopping),
    }
}

/// Says why a client is not served, and lets it go.
async fn reject(inbox: Inbox, peer: &Peer, shared: &Shared, error: SessionError) {
    shared.sessions.tally().failed(Reason::from(&error));
    peer.span.fails(&error);
    let Peer { id, source, .. } = peer;
    let request_id = peer.refused_request(&error).map(tracing::field::display);
    tracing::info!(id, request_id, %source, reason = %error, "refused");
    if !matches!(
        error,
        SessionError::Timeout
            | SessionError::Evicted
            | SessionError::Client(_)
            | SessionError::Tls(_)
            | SessionError::Crowd
    ) {
        linger(inbox).await;
    }
}

/// Lets the client read what it was told: says that this was all, and takes
/// what it still sends.
async fn linger(inbox: Inbox) {
    let Ok((mut client, _)) = inbox.into_parts() else {
        return;
    };
    let drained = async {
        client.shutdown().await?;
        let mut rest = client.take(LINGER_BYTES);
        tokio::io::copy(&mut rest, &mut tokio::io::sink()).await
    };
    if let Ok(Err(error)) = tokio::time::timeout(LINGER, drained).await {
        tracing::trace!(%error, "a refused client went away");
    }
}

/// Reaches the target of a request, unless the user or the server goes first.
async fn dial(
    shared: &Shared,
    log: &Log<'_>,
    instance: &Instance,
) -> Result<TcpStream, SessionError> {
    let opened = log.opened;
    let target = instance.target().unwrap_or_else(|| opened.target.clone());
    tokio::select! {
        dialled = Box::pin(shared.egress.connect(&opened.user, &target)) => Ok(dialled?),
        error = ended(log.session(), &opened.user) => Err(error),
    }
}

/// Returns when nothing of the user's may go on, and says why.
async fn ended(session: &Session, user: &Authenticated) -> SessionError {
    tokio::select! {
        why = user.revoked() => why.into(),
        killed = session.cut() => if killed { SessionError::Killed } else { SessionError::Stopping },
    }
}

/// Returns when `moved` has not grown for `idle` (or up to a quarter longer).
async fn silence(moved: &AtomicU64, idle: Duration) {
    let mut seen = moved.load(Ordering::Relaxed);
    let mut silent = 0;
    while silent < LOOKS {
        tokio::time::sleep(idle / LOOKS).await;
        let now = moved.load(Ordering::Relaxed);
        silent = if now == seen { silent + 1 } else { 0 };
        seen = now;
    }
}

/// How long nothing may move.
const fn patience(shared: &Shared) -> Patience {
    Patience {
        open: shared.timeouts.idle,
        half_closed: shared.timeouts.half_closed,
    }
}

/// Says no in the client's own dialect, where that has a word for it.
async fn refuse(mut inbox: Inbox, log: &Log<'_>, error: &SessionError) {
    log.refused(error);
    let words = answer::refused(log.opened, error);
    if inbox.write(&words).await.is_ok() {
        Box::pin(linger(inbox)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a task of `serve` holds for as long as its connection lives.
    const fn task<A, B, C, D, E, F: Future>(_: &impl Fn(A, B, C, D, E) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_connection_costs_little_memory() {
        let bytes = task(&serve);
        assert!(bytes <= 2_048, "{bytes} bytes for each connection");
    }
}
