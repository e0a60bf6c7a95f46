//! Two directions between two connections, each ending on its own.
//!
//! A direction waits until its source has something and its sink takes
//! something, asks the budget, moves what it was granted, and only then looks
//! at its source again: a slow reader costs at most one piece, and a limited
//! sender feels back-pressure. The end of one direction is passed on and the
//! other goes on; a reset is passed on as a reset.
//!
//! How the bytes go is up to [`way`]: small ones through a buffer, many through
//! a pipe in the kernel ([`pipe`]), those of a connection that has its own
//! layer (TLS) through a buffer after they were read.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use crate::sessions::Session;
use crate::users::{Authenticated, Direction};

mod copy;
mod lane;
mod pipe;
mod purse;
mod side;
mod stream;
mod way;

pub(crate) use lane::Lane;
pub(crate) use pipe::MOST as MOST_PIPES;
pub(crate) use purse::Purse;
pub(crate) use side::Side;
#[cfg(feature = "https-service")]
pub(crate) use stream::charge;
pub(crate) use stream::send;

use way::Way;

/// How often in an idle time-out the relay looks whether bytes have moved.
const LOOKS: u32 = 4;

/// How a relay ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// Both sides said all they had to say.
    #[error("both sides finished")]
    Finished,
    /// Nothing moved for too long.
    #[error("silent for too long")]
    Idle,
    /// The limit is one that ends connections.
    #[error("ended by the limit")]
    Limit,
    /// A side broke the connection.
    #[error("broken: {0}")]
    Broken(io::Error),
}

/// How long nothing may move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Patience {
    /// While both directions are open.
    pub(crate) open: Duration,
    /// After one of them has ended.
    pub(crate) half_closed: Duration,
}

/// The two directions of one connection.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// From the client.
    pub(crate) up: Lane,
    /// To the client.
    pub(crate) down: Lane,
}

impl Lanes {
    /// Both directions of the traffic of `user`, whose `session` is told what they move.
    pub(crate) fn new(user: &Authenticated, session: &Arc<Session>) -> Self {
        let lane = |direction| {
            let mut lane = Lane::new(user, direction);
            lane.tell(session);
            lane
        };
        Self {
            up: lane(Direction::Up),
            down: lane(Direction::Down),
        }
    }
}

/// Relays until both directions have ended; `early` is what the client has
/// sent already. On a broken connection both sockets are left to be reset.
pub(crate) async fn relay<C: Side, T: Side>(
    client: &mut C,
    target: &mut T,
    early: &[u8],
    lanes: &mut Lanes,
    patience: Patience,
) -> Ending {
    let ending = {
        let mut relay = Relay {
            up: Way::new(&mut lanes.up, early),
            down: Way::new(&mut lanes.down, &[]),
            watch: Watch::new(patience),
        };
        poll_fn(|context| relay.poll(context, client, target)).await
    };
    if !matches!(ending, Ending::Finished) {
        reset([client.tcp(), target.tcp()]);
    }
    ending
}

/// Has sockets send a reset when they are dropped: no peer shall take what it
/// has for all there was.
pub(crate) fn reset<const N: usize>(sockets: [&TcpStream; N]) {
    for socket in sockets {
        if let Err(error) = socket.set_zero_linger() {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}

struct Relay<'a> {
    up: Way<'a>,
    down: Way<'a>,
    watch: Watch,
}

impl Relay<'_> {
    fn poll<C: Side, T: Side>(
        &mut self,
        context: &mut Context<'_>,
        client: &mut C,
        target: &mut T,
    ) -> Poll<Ending> {
        let last = self.down.is_closed();
        let up = self.up.poll(context, client, target, last);
        let last = self.up.is_closed();
        let down = self.down.poll(context, target, client, last);
        let mut ended = 0;
        for way in [up, down] {
            match way {
                Poll::Ready(Err(ending)) => return Poll::Ready(ending),
                Poll::Ready(Ok(())) => ended += 1,
                Poll::Pending => {}
            }
        }
        if ended == 2 {
            return Poll::Ready(Ending::Finished);
        }
        let moved = self.up.moved().wrapping_add(self.down.moved());
        self.watch
            .poll(context, moved, ended > 0)
            .map(|()| Ending::Idle)
    }
}

/// Looks now and then whether anything has moved.
struct Watch {
    patience: Patience,
    half_closed: bool,
    /// What had moved at the last look.
    seen: u64,
    /// Looks that saw nothing.
    silent: u32,
    next: Option<Pin<Box<Sleep>>>,
}

impl Watch {
    const fn new(patience: Patience) -> Self {
        Self {
            patience,
            half_closed: false,
            seen: 0,
            silent: 0,
            next: None,
        }
    }

    /// Ready when nothing has moved for as long as is allowed, or up to a
    /// quarter longer.
    fn poll(&mut self, context: &mut Context<'_>, moved: u64, half_closed: bool) -> Poll<()> {
        if self.half_closed != half_closed {
            self.half_closed = half_closed;
            (self.seen, self.silent, self.next) = (moved, 0, None);
        }
        let limit = if half_closed {
            self.patience.half_closed
        } else {
            self.patience.open
        };
        let pause = limit / LOOKS;
        let next = self
            .next
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(pause)));
        while next.as_mut().poll(context).is_ready() {
            self.silent = if moved == self.seen {
                self.silent + 1
            } else {
                0
            };
            self.seen = moved;
            if self.silent >= LOOKS {
                return Poll::Ready(());
            }
            let now = Instant::now();
            next.as_mut()
                .reset(now.checked_add(pause).unwrap_or_else(|| now + FAR));
        }
        Poll::Pending
    }
}

/// An instant that no connection lives to see, where a time-out has none.
const FAR: Duration = Duration::from_secs(30 * 365 * 86_400);

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

#[cfg(test)]
mod tests;
