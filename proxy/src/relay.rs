//! Two directions between two sockets, each ending on its own.
//!
//! A direction waits until its source has something and its sink takes
//! something, asks the budget, moves what it was granted, and only then looks
//! at its source again: a slow reader costs at most one buffer, and a limited
//! sender feels back-pressure. The end of one direction is passed on and the
//! other goes on; a reset is passed on as a reset.
//!
//! What moves the bytes is [`copy`]; it asks nothing and decides nothing.

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};

mod copy;
mod lane;

pub(crate) use lane::Lane;

use copy::Source;

/// How often in an idle time-out the relay looks whether bytes have moved.
const LOOKS: u32 = 4;

/// How a relay ended.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Ending {
    /// Both sides said all they had to say.
    #[error("both sides finished")]
    Finished,
    /// One side had finished and the other was silent for too long.
    #[error("silent after one side had finished")]
    Idle,
    /// The limit is one that ends connections.
    #[error("ended by the limit")]
    Limit,
    /// A side broke the connection.
    #[error("broken: {0}")]
    Broken(io::Error),
}

/// Relays until both directions have ended; `early` is what the client has
/// sent already. On a broken connection both sockets are left to be reset.
pub(crate) async fn relay(
    client: &mut TcpStream,
    target: &mut TcpStream,
    early: &[u8],
    lanes: &mut Lanes,
    idle: Duration,
) -> Ending {
    let moved = AtomicU64::new(0);
    let ending = both(client, target, early, lanes, &moved, idle).await;
    if !matches!(ending, Ending::Finished) {
        reset([client, target]);
    }
    ending
}

/// Has both sockets send a reset when they are dropped: neither peer shall take
/// what it has for all there was.
pub(crate) fn reset(sockets: [&TcpStream; 2]) {
    for socket in sockets {
        if let Err(error) = socket.set_zero_linger() {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}

/// The two directions of one connection.
#[derive(Debug)]
pub(crate) struct Lanes {
    /// From the client.
    pub(crate) up: Lane,
    /// To the client.
    pub(crate) down: Lane,
}

async fn both(
    client: &mut TcpStream,
    target: &mut TcpStream,
    early: &[u8],
    lanes: &mut Lanes,
    moved: &AtomicU64,
    idle: Duration,
) -> Ending {
    let (client_source, client_sink) = client.split();
    let (target_source, target_sink) = target.split();
    let up = direction(client_source, target_sink, early, &mut lanes.up, moved);
    let down = direction(target_source, client_sink, &[], &mut lanes.down, moved);
    tokio::pin!(up, down);
    let mut ended = (false, false);
    loop {
        let half_closed = ended.0 || ended.1;
        let outcome = tokio::select! {
            outcome = &mut up, if !ended.0 => { ended.0 = true; outcome }
            outcome = &mut down, if !ended.1 => { ended.1 = true; outcome }
            () = silence(moved, idle), if half_closed => Err(Ending::Idle),
        };
        match outcome {
            Err(ending) => return ending,
            Ok(()) if ended == (true, true) => return Ending::Finished,
            Ok(()) => {}
        }
    }
}

/// Moves everything from `source` to `sink`, then says that this was all.
async fn direction(
    mut source: ReadHalf<'_>,
    mut sink: WriteHalf<'_>,
    mut early: &[u8],
    lane: &mut Lane,
    moved: &AtomicU64,
) -> Result<(), Ending> {
    while !early.is_empty() {
        let granted = lane.acquire(early.len()).await?;
        let (now, later) = early.split_at(granted);
        write(&mut sink, now, lane, moved).await?;
        early = later;
    }
    loop {
        copy::writable(&sink).await?;
        let Source::Ready { most } = copy::wait(&mut source, lane.is_limited()).await? else {
            break;
        };
        let granted = lane.acquire(most).await?;
        if piece(&mut source, &mut sink, granted, lane, moved).await? == Source::End {
            break;
        }
    }
    sink.shutdown().await?;
    Ok(())
}

/// Moves up to `granted` bytes through a buffer and gives back the rest.
async fn piece(
    source: &mut ReadHalf<'_>,
    sink: &mut WriteHalf<'_>,
    granted: usize,
    lane: &mut Lane,
    moved: &AtomicU64,
) -> Result<Source, Ending> {
    let mut buffer = copy::Buffer::take();
    let room = buffer.first(granted);
    let read = copy::read(source, room).await?;
    let len = read.unwrap_or(0);
    lane.give_back(granted.saturating_sub(len));
    write(sink, room.get(..len).unwrap_or_default(), lane, moved).await?;
    Ok(if read == Some(0) {
        Source::End
    } else {
        Source::Ready { most: len }
    })
}

/// Writes all of `bytes` and counts what is written, also if it is not all.
async fn write(
    sink: &mut WriteHalf<'_>,
    mut bytes: &[u8],
    lane: &mut Lane,
    moved: &AtomicU64,
) -> Result<(), Ending> {
    while !bytes.is_empty() {
        let written = sink.write(bytes).await?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        lane.count(written);
        moved.fetch_add(1, Ordering::Relaxed);
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}

/// Returns when nothing has moved for `idle` (or up to a quarter longer).
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

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}
