//! A client's TCP connection as a stream of its payload.

use std::cell::Cell;
use std::io;
use std::mem;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::replay::Mark;
use super::roster::Member;
use super::{Front, random, unix_now};
use crate::protocol::shadowsocks::stream::{Opener, Sealer};
use crate::protocol::shadowsocks::{Refused, handshake};
use crate::relay::Side;

/// What is read at once, at least.
const READ: usize = 32 * 1024;
/// What is sealed at once, at most: a whole chunk of the 2022 edition, which saves calls.
const LARGEST: usize = 65_535;
/// The same for a client that does not keep up, so that little is held for it.
const SMALLEST: usize = 32 * 1024;

thread_local! {
    /// Memory to seal in: most of what is sealed is written at once, so that a thread needs
    /// one, not each of its connections.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// An encrypted client that has asked for something.
pub(super) struct Sealed {
    socket: TcpStream,
    opener: Opener,
    /// What was read and is not opened from `at` on.
    inbox: Vec<u8>,
    at: usize,
    /// What of the inbox is opened and not taken.
    plain: Range<usize>,
    outgoing: Outgoing,
    front: Arc<Front>,
    /// What is sealed and not written from `sent` on.
    outbox: Vec<u8>,
    sent: usize,
    /// What is sealed at once now.
    piece: usize,
}

/// How an answer goes on.
enum Outgoing {
    /// Nothing was said yet.
    Silent {
        member: Arc<Member>,
        /// The salt of the client.
        salt: Box<[u8]>,
    },
    Begun(Box<Sealer>),
}

impl Sealed {
    /// A client that has sent `inbox` beyond what `opener` has opened.
    pub(super) fn new(
        socket: TcpStream,
        opener: Opener,
        inbox: Vec<u8>,
        front: Arc<Front>,
        member: Arc<Member>,
        salt: Box<[u8]>,
    ) -> Self {
        Self {
            socket,
            opener,
            inbox,
            at: 0,
            plain: 0..0,
            outgoing: Outgoing::Silent { member, salt },
            front,
            outbox: Vec::new(),
            sent: 0,
            piece: SMALLEST,
        }
    }

    /// Opens the next piece that is all here; whether there was one.
    fn open(&mut self) -> Result<bool, Refused> {
        let rest = self.inbox.get_mut(self.at..).unwrap_or_default();
        if rest.len() < self.opener.needed() {
            return Ok(false);
        }
        let since = Instant::now();
        let Some((payload, used)) = self.opener.open(rest)? else {
            return Ok(false);
        };
        if !payload.is_empty() {
            self.front.counters.decrypt.observe(since.elapsed());
            self.front.counters.transmitted(payload.len());
        }
        self.plain = self.at + payload.start..self.at + payload.end;
        self.at += used;
        Ok(true)
    }

    /// Reads more; none at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        self.inbox.drain(..self.at.min(self.inbox.len()));
        self.at = 0;
        self.inbox.reserve(READ.max(self.opener.needed()));
        let socket = Pin::new(&mut self.socket);
        let filled = tokio_util::io::poll_read_buf(socket, context, &mut self.inbox);
        if filled.is_pending() && self.inbox.is_empty() {
            // Most clients are silent most of the time.
            self.inbox = Vec::new();
        }
        match ready!(filled)? {
            0 if self.inbox.is_empty() => Poll::Ready(Ok(None)),
            // Cut short on the way: not an end that the client has meant.
            0 => Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            _ => Poll::Ready(Ok(Some(()))),
        }
    }

    /// Writes what is sealed.
    fn poll_empty(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(rest) = self.outbox.get(self.sent..).filter(|rest| !rest.is_empty()) {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += written;
        }
        if self.outbox.capacity() > 0 {
            let mut spare = mem::take(&mut self.outbox);
            spare.clear();
            SPARE.set(spare);
        }
        self.sent = 0;
        Poll::Ready(Ok(()))
    }

    fn seal(&mut self, payload: &[u8]) -> Result<(), Refused> {
        if let Outgoing::Begun(sealer) = &mut self.outgoing {
            sealer.seal(payload, &mut self.outbox);
            return Ok(());
        }
        let Outgoing::Silent { member, salt } = &self.outgoing else {
            return Ok(());
        };
        let method = member.access.method;
        let own = random::<32>()?;
        let own = own.get(..method.key_len()).unwrap_or_default();
        // Sent back to us, it is a replay.
        self.front.salts.is_new(mark(own));
        let (key, now) = (&member.keys.user, unix_now());
        let sealer = handshake::answer(method, key, own, salt, payload, now, &mut self.outbox)?;
        self.outgoing = Outgoing::Begun(Box::new(sealer));
        Ok(())
    }
}

/// What is remembered of a salt.
pub(super) fn mark(salt: &[u8]) -> Mark {
    salt.first_chunk().copied().unwrap_or_default()
}

impl Side for Sealed {
    fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

impl AsyncRead for Sealed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = room.filled().len();
        loop {
            let most = room.remaining().min(this.plain.len());
            let till = this.plain.start + most;
            room.put_slice(this.inbox.get(this.plain.start..till).unwrap_or_default());
            this.plain.start = till;
            if room.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
            if this.open().map_err(broken)? {
                continue;
            }
            if room.filled().len() > before {
                return Poll::Ready(Ok(()));
            }
            if ready!(this.poll_fill(context))?.is_none() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Sealed {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        let now = bytes.get(..this.piece).unwrap_or(bytes);
        let since = Instant::now();
        this.outbox = SPARE.take();
        this.seal(now).map_err(broken)?;
        this.front.counters.encrypt.observe(since.elapsed());
        this.front.counters.transmitted(now.len());
        // What is left is written before anything else is taken.
        this.piece = match this.poll_empty(context) {
            Poll::Ready(written) => {
                written?;
                LARGEST
            }
            Poll::Pending => SMALLEST,
        };
        Poll::Ready(Ok(now.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_empty(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_empty(context))?;
        Pin::new(&mut this.socket).poll_shutdown(context)
    }
}

fn broken(refused: Refused) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, refused)
}
