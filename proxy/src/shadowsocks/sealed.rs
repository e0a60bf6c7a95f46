//! A client's TCP connection as a stream of its payload.

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
use super::{Front, memory, random, unix_now};
use crate::protocol::shadowsocks::stream::{LENGTH_LEN, Opener, Sealer};
use crate::protocol::shadowsocks::{Refused, TAG_LEN, handshake};
use crate::relay::Side;

/// What is read at once, at least: a whole chunk of the 2022 edition, which saves calls.
const READ: usize = 64 * 1024;
/// What is sealed at once, at most.
const LARGEST: usize = 65_535;

/// An encrypted client that has asked for something.
pub(super) struct Sealed {
    socket: TcpStream,
    opener: Opener,
    /// What was read and is not opened from `at` on.
    inbox: Vec<u8>,
    at: usize,
    /// What of the inbox is opened and not taken.
    plain: Range<usize>,
    /// Why nothing more can be opened, once what was opened before is taken.
    refused: Option<Refused>,
    outgoing: Outgoing,
    front: Arc<Front>,
    /// Memory to seal in.
    outbox: Vec<u8>,
    /// What of it is sealed and not written.
    sealed: Range<usize>,
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
            refused: None,
            outgoing: Outgoing::Silent { member, salt },
            front,
            outbox: Vec::new(),
            sealed: 0..0,
        }
    }

    /// Opens all pieces that are here, and brings their payloads together.
    fn open(&mut self) -> Result<(), Refused> {
        let since = Instant::now();
        let before = self.plain.len();
        while self.refused.is_none() {
            let rest = self.inbox.get_mut(self.at..).unwrap_or_default();
            match self.opener.open(rest) {
                Ok(None) => break,
                Ok(Some((payload, used))) => {
                    let payload = self.at + payload.start..self.at + payload.end;
                    self.at += used;
                    self.join(payload);
                }
                Err(refused) => self.refused = Some(refused),
            }
        }
        let opened = self.plain.len() - before;
        if opened > 0 {
            self.front.counters.decrypt.observe(since.elapsed());
            self.front.counters.transmitted(opened);
        }
        match self.refused {
            Some(refused) if self.plain.is_empty() => Err(refused),
            _ => Ok(()),
        }
    }

    /// `payload` of the inbox follows what is opened already.
    fn join(&mut self, payload: Range<usize>) {
        if self.plain.is_empty() {
            self.plain = payload;
        } else if payload.start > self.plain.end {
            let till = self.plain.end + payload.len();
            self.inbox.copy_within(payload, self.plain.end);
            self.plain.end = till;
        }
    }

    /// Reads more; none at the end.
    fn poll_fill(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<()>>> {
        self.inbox.drain(..self.at.min(self.inbox.len()));
        (self.at, self.plain) = (0, 0..0);
        if self.inbox.capacity() == 0 {
            self.inbox = memory::lend();
            self.inbox.clear();
        }
        self.inbox.reserve(READ.max(self.opener.needed()));
        let socket = Pin::new(&mut self.socket);
        let filled = tokio_util::io::poll_read_buf(socket, context, &mut self.inbox);
        if self.inbox.is_empty() {
            // Most clients are silent most of the time.
            memory::give_back(mem::take(&mut self.inbox));
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
        while let Some(rest) = self.outbox.get(self.sealed.clone())
            && !rest.is_empty()
        {
            let written = ready!(Pin::new(&mut self.socket).poll_write(context, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sealed.start += written;
        }
        if self.outbox.capacity() > 0 {
            memory::give_back(mem::take(&mut self.outbox));
        }
        Poll::Ready(Ok(()))
    }

    /// As [`Sealed::poll_empty`]: what is left is written before anything else is taken.
    fn begin_to_write(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.poll_empty(context) {
            Poll::Ready(written) => written,
            Poll::Pending => Ok(()),
        }
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
        let own = own.get(..method.salt_len()).unwrap_or_default();
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

    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        loop {
            self.open().map_err(broken)?;
            if !self.plain.is_empty() || ready!(self.poll_fill(context))?.is_none() {
                return Poll::Ready(Ok(Some(self.plain.len())));
            }
        }
    }

    fn held(&self) -> &[u8] {
        self.inbox.get(self.plain.clone()).unwrap_or_default()
    }

    fn take(&mut self, len: usize) {
        self.plain.start = self.plain.end.min(self.plain.start + len);
    }

    fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        let Outgoing::Begun(sealer) = &self.outgoing else {
            return None;
        };
        let most = sealer.fits(most)?;
        if !self.sealed.is_empty() {
            return None;
        }
        if self.outbox.capacity() == 0 {
            self.outbox = memory::lend();
        }
        let needed = LENGTH_LEN + most + TAG_LEN;
        if self.outbox.len() < needed {
            self.outbox.resize(needed, 0);
        }
        self.outbox.get_mut(LENGTH_LEN..LENGTH_LEN + most)
    }

    fn give(&mut self, context: &mut Context<'_>, len: usize) -> io::Result<()> {
        if len > 0
            && let Outgoing::Begun(sealer) = &mut self.outgoing
        {
            let since = Instant::now();
            let sealed = sealer.seal_in_place(&mut self.outbox, len);
            self.sealed = 0..sealed.ok_or(io::ErrorKind::InvalidInput)?;
            self.front.counters.encrypt.observe(since.elapsed());
            self.front.counters.transmitted(len);
        }
        self.begin_to_write(context)
    }
}

impl AsyncRead for Sealed {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_hold(context))?;
        let held = this.held();
        let most = held.len().min(room.remaining());
        room.put_slice(held.get(..most).unwrap_or_default());
        this.take(most);
        Poll::Ready(Ok(()))
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
        let now = bytes.get(..LARGEST).unwrap_or(bytes);
        let since = Instant::now();
        this.outbox = memory::lend();
        this.outbox.clear();
        this.seal(now).map_err(broken)?;
        this.sealed = 0..this.outbox.len();
        this.front.counters.encrypt.observe(since.elapsed());
        this.front.counters.transmitted(now.len());
        this.begin_to_write(context)?;
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
