//! One HTTP message after another: each dialled, answered and judged for
//! itself, on one connection of the client's.
//!
//! The connection to an origin is kept for the next message if that is of the same
//! user's, for the same target and soon, and if it can be sent again should the origin
//! have closed meanwhile. An origin that has sent too much, or has sent something
//! unasked, is let go: that is no answer to another message. No other client, and no
//! other user of the same client's, ever gets it. Where requests take turns at several
//! instances none is kept: each request has an instance of its own.
//!
//! What counts as payload, and draws from the user's budget, is every byte that
//! is passed on: heads as they are written anew, bodies with their framing. What
//! the proxy says itself does not count.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::Instant;

use super::inbox::Inbox;
use super::turn::{Instance, Turn};
use super::{
    Log, Message, Opened, Peer, SessionError, Wish, answer, dial, ended, handshake, in_time,
    linger, reject, tunnel, turn,
};
use crate::protocol::Target;
use crate::protocol::http::Status;
use crate::server::Shared;
use crate::users::Authenticated;

mod exchange;

pub(super) use exchange::Failure;
use exchange::{Answered, Progress};

/// How long an origin's connection waits for another request: less than origins do.
const KEPT: Duration = Duration::from_secs(4);

/// Serves one request after another, until one does not leave the connection
/// as it was or turns it into a tunnel.
pub(super) async fn serve(mut inbox: Inbox, shared: &Shared, peer: &Peer, mut opened: Opened) {
    let mut kept = None;
    loop {
        let Wish::Answer(message) = &opened.wish else {
            drop(kept);
            return tunnel::serve(inbox, shared, peer, &opened).await;
        };
        match pass_on(&mut inbox, shared, peer, &opened, message, &mut kept).await {
            After::Next => {}
            After::Close => return linger(inbox).await,
            After::Reset => return inbox.reset(),
        }
        let request = Box::pin(handshake::http(&mut inbox, peer, shared));
        let place = shared.handshakes.enter();
        opened = match in_time(request, shared.timeouts.keep_alive, place, shared).await {
            Ok(opened) => opened,
            Err(error) if inbox.is_empty() && is_quiet(&error) => return,
            Err(error) => return reject(inbox, peer, shared, error).await,
        };
    }
}

/// Whether a connection between two requests may end so.
const fn is_quiet(error: &SessionError) -> bool {
    matches!(
        error,
        SessionError::Timeout
            | SessionError::Evicted
            | SessionError::Stopping
            | SessionError::Client(_)
    )
}

/// What becomes of the client's connection.
enum After {
    Next,
    Close,
    Reset,
}

/// Passes one message on, and its answer back.
async fn pass_on(
    inbox: &mut Inbox,
    shared: &Shared,
    peer: &Peer,
    opened: &Opened,
    message: &Message,
    kept: &mut Option<Origin>,
) -> After {
    let log = Log::new(shared, peer, opened);
    let mut turn = Turn::begin(peer, opened);
    let most = shared.caps.connections_per_user;
    let _connection = match opened.user.connection(most, peer.source.ip()) {
        Ok(connection) => connection,
        Err(too_many) => return refuse(inbox, &log, turn, &too_many.into()).await,
    };
    if let Err(error) = turn.wait(inbox).await {
        return refuse(inbox, &log, turn, &error).await;
    }
    log.has_worker();
    let instance = match Instance::of(peer, opened) {
        Ok(instance) => instance,
        Err(error) => return refuse(inbox, &log, turn, &error).await,
    };
    let mut again = kept
        .take()
        .filter(|kept| !instance.is_chosen() && kept.serves(shared, opened, message));
    let mut lanes = log.lanes();
    let idle = shared.timeouts.half_closed;
    let outcome = loop {
        let reused = again.is_some();
        let mut origin = match again.take() {
            Some(kept) => kept.stream,
            None => match turn.run(dial(shared, &log, &instance)).await {
                Some(Ok(origin)) => origin,
                failed => {
                    let error = failed.and_then(Result::err).unwrap_or(SessionError::Slow);
                    instance.end();
                    return refuse(inbox, &log, turn, &error).await;
                }
            },
        };
        let Ok((client, early)) = inbox.parts() else {
            return After::Close;
        };
        let progress = Progress::default();
        let fields = turn.fields();
        let exchange = async {
            tokio::select! {
                // First: what has ended moves nothing more.
                biased;
                error = ended(log.session(), &opened.user) => Outcome::Cut(Failure::Ended(error)),
                outcome = exchange::run(client, early, &mut origin, message, &fields, &mut lanes, idle, &progress) => outcome,
            }
        };
        let outcome = match turn.run(exchange).await {
            Some(outcome) => outcome,
            None => progress.failed(Failure::Slow),
        };
        match &outcome {
            // It had closed before it heard of the request (RFC 9112, section 9.3.1).
            Outcome::Unanswered(_, Failure::OriginGone(_)) if reused && progress.is_silent() => {}
            Outcome::Answered(Answered { stays: true, .. }) if !instance.is_chosen() => {
                *kept = Some(Origin::new(origin, opened));
                break outcome;
            }
            _ => break outcome,
        }
    };
    match &outcome {
        Outcome::Answered(_) => turn.served(),
        Outcome::Unanswered(_, failure) | Outcome::Cut(failure) => turn.failed(failure),
    }
    // The worker and the instance are free while the client reads what it is told.
    turn.end();
    instance.end();
    if let Outcome::Cut(Failure::Ended(error)) = &outcome {
        log.failed(error);
    }
    turn::moved(peer, opened, &lanes);
    log.closed(&lanes, outcome.status(), &outcome);
    match outcome {
        Outcome::Answered(Answered { next: true, .. }) => After::Next,
        Outcome::Answered(_) => After::Close,
        Outcome::Unanswered(status, _) => {
            let words = answer::known_as(status.answer(false), opened.request);
            say(inbox, &words).await
        }
        Outcome::Cut(_) => After::Reset,
    }
}

/// A connection to an origin that takes another request.
struct Origin {
    stream: TcpStream,
    target: Target,
    user: Authenticated,
    since: Instant,
}

impl Origin {
    fn new(stream: TcpStream, opened: &Opened) -> Self {
        Self {
            stream,
            target: opened.target.clone(),
            user: opened.user.clone(),
            since: Instant::now(),
        }
    }

    /// Whether a message may go there: as if it were dialled, and it is as it was left.
    fn serves(&self, shared: &Shared, opened: &Opened, message: &Message) -> bool {
        let address = self.stream.peer_addr();
        let permitted = address.is_ok_and(|it| shared.egress.judge(&opened.user, it).is_ok());
        let unasked = self.stream.try_read(&mut [0]);
        let quiet = unasked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock);
        self.target == opened.target
            && Arc::ptr_eq(self.user.account(), opened.user.account())
            && self.since.elapsed() < KEPT
            && message.forward.may_be_repeated()
            && permitted
            && quiet
    }
}

/// Its worker is free while the client is told.
async fn refuse(inbox: &mut Inbox, log: &Log<'_>, mut turn: Turn, error: &SessionError) -> After {
    turn.refused(error);
    turn.end();
    log.refused(error);
    say(inbox, &answer::refused(log.opened, error)).await
}

async fn say(inbox: &mut Inbox, words: &[u8]) -> After {
    match inbox.write(words).await {
        Ok(()) => After::Close,
        Err(_) => After::Reset,
    }
}

/// How an exchange ended.
enum Outcome {
    /// The client has a whole answer.
    Answered(Answered),
    /// The client has nothing of an answer, and is told why.
    Unanswered(Status, Failure),
    /// The client must not take what it has for a whole answer.
    Cut(Failure),
}

impl Outcome {
    /// What the client has been told, if anything.
    fn status(&self) -> Option<u16> {
        match self {
            Self::Answered(Answered { status, .. }) => Some(*status),
            Self::Unanswered(status, _) => Some(*status as u16),
            Self::Cut(_) => None,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered(Answered { status, .. }) => write!(f, "answered with {status}"),
            Self::Unanswered(status, failure) => {
                write!(f, "{failure}, answered with {}", *status as u16)
            }
            Self::Cut(failure) => failure.fmt(f),
        }
    }
}
