//! One HTTP message after another: each dialled, answered and judged for
//! itself, on one connection of the client's.
//!
//! The origin gets a connection of its own for each message, and is told so:
//! nothing that it sends too much can be taken for the answer to another.
//!
//! What counts as payload, and draws from the user's budget, is every byte that
//! is passed on: heads as they are written anew, bodies with their framing. What
//! the proxy says itself does not count.

use std::fmt;

use super::inbox::Inbox;
use super::turn::Turn;
use super::{
    Log, Message, Opened, Peer, SessionError, Wish, answer, dial, ended, handshake, in_time,
    linger, reject, tunnel,
};
use crate::protocol::http::Status;
use crate::server::Shared;

mod exchange;

use exchange::{Answered, Failure, Progress};

/// Serves one request after another, until one does not leave the connection
/// as it was or turns it into a tunnel.
pub(super) async fn serve(mut inbox: Inbox, shared: &Shared, peer: &Peer, mut opened: Opened) {
    loop {
        let Wish::Answer(message) = &opened.wish else {
            return tunnel::serve(inbox, shared, peer, &opened).await;
        };
        match pass_on(&mut inbox, shared, peer, &opened, message).await {
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
) -> After {
    let log = Log::new(shared, peer, opened);
    let most = shared.caps.connections_per_user;
    let _connection = match opened.user.connection(most, peer.source.ip()) {
        Ok(connection) => connection,
        Err(too_many) => return refuse(inbox, &log, &too_many.into()).await,
    };
    let mut turn = match Turn::take(peer).await {
        Ok(turn) => turn,
        Err(error) => return refuse(inbox, &log, &error).await,
    };
    let dialled = turn.run(dial(shared, &log)).await;
    let mut origin = match dialled.unwrap_or(Err(SessionError::Slow)) {
        Ok(origin) => origin,
        Err(error) => {
            turn.failed();
            return refuse(inbox, &log, &error).await;
        }
    };
    let mut lanes = log.lanes();
    let idle = shared.timeouts.half_closed;
    let Ok((client, early)) = inbox.parts() else {
        return After::Close;
    };
    let progress = Progress::default();
    let exchange = async {
        tokio::select! {
            outcome = exchange::run(client, early, &mut origin, message, &mut lanes, idle, &progress) => outcome,
            error = ended(log.session(), &opened.user) => Outcome::Cut(Failure::Ended(error)),
        }
    };
    let outcome = match turn.run(exchange).await {
        Some(outcome) => outcome,
        None => progress.failed(Failure::Slow),
    };
    if !matches!(
        outcome,
        Outcome::Answered(_) | Outcome::Cut(Failure::Slow) | Outcome::Unanswered(_, Failure::Slow)
    ) {
        turn.failed();
    }
    // The worker is free while the client reads what it is told.
    turn.end();
    if let Outcome::Cut(Failure::Ended(error)) = &outcome {
        log.failed(error);
    }
    log.closed(&lanes, &outcome);
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

async fn refuse(inbox: &mut Inbox, log: &Log<'_>, error: &SessionError) -> After {
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
