//! One direction: wait, ask, move, until the end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::ReadBuf;
use tokio::net::TcpStream;

use super::copy::{self, BUFFER_LEN};
use super::pipe::Pipe;
use super::{Ending, Lane, Side};

/// What is read of a source that may have little: one buffer, cheaper than a
/// pipe. Less is never spliced.
const SMALL: usize = 16 * 1024;
/// The most that is spliced at once.
const LARGEST: usize = 1024 * 1024;
/// The least to which that shrinks for a sink that does not keep up, so that
/// little is held for it.
const SMALLEST: usize = 64 * 1024;

/// From a source to a sink. Both are brought to each call.
pub(super) struct Way<'a> {
    lane: &'a mut Lane,
    held: Held,
    /// Bytes that were granted and have not moved.
    paid: usize,
    /// Bytes that are known to be at the source.
    known: usize,
    /// The most to splice at once.
    piece: usize,
    /// Whether the source seems to have much.
    bulk: bool,
    /// Whether the sink must be told to pass on what it was given.
    unflushed: bool,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Moving,
    /// The source has ended, the sink is to be told.
    Closing,
    Closed,
}

/// What has been read and not written.
enum Held {
    Nothing,
    Bytes {
        bytes: Box<[u8]>,
        from: usize,
    },
    Piped(Pipe),
    /// So many bytes that the source itself holds.
    Lent(usize),
}

/// Whether there may be more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Open,
    Ended,
}

impl<'a> Way<'a> {
    /// A direction that begins with `early`, which is not paid for.
    pub(super) fn new(lane: &'a mut Lane, early: &[u8]) -> Self {
        Self {
            lane,
            held: Held::bytes(early),
            paid: 0,
            known: 0,
            piece: SMALLEST,
            bulk: false,
            unflushed: false,
            phase: Phase::Moving,
        }
    }

    /// Bytes written so far.
    pub(super) const fn moved(&self) -> u64 {
        self.lane.moved()
    }

    /// Whether it has nothing left to do.
    pub(super) fn is_closed(&self) -> bool {
        self.phase == Phase::Closed
    }

    /// Ready when the source has ended and the sink has been told. If this is
    /// the `last` direction, a plain sink is told by closing it.
    pub(super) fn poll<S: Side, K: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
        last: bool,
    ) -> Poll<Result<(), Ending>> {
        loop {
            match self.phase {
                Phase::Closed => return Poll::Ready(Ok(())),
                Phase::Closing if last && sink.plain().is_some() => self.phase = Phase::Closed,
                Phase::Closing => {
                    ready!(Pin::new(&mut *sink).poll_shutdown(context))?;
                    self.phase = Phase::Closed;
                }
                Phase::Moving => {
                    ready!(self.poll_held(context, source, sink))?;
                    if ready!(self.poll_source(context, source, sink))? == Source::Ended {
                        self.phase = Phase::Closing;
                    }
                }
            }
        }
    }

    /// Writes what is held, as far as it is paid for, and pays for the rest.
    fn poll_held<S: Side, K: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Poll<Result<(), Ending>> {
        loop {
            let len = self.held.len();
            if len == 0 {
                break;
            }
            if self.paid > 0 && !self.lane.is_current() {
                // What a pipe holds is too much to pass by a new limit.
                self.lane.give_back(self.paid);
                self.paid = 0;
            }
            if self.paid == 0 {
                self.paid = ready!(self.lane.poll_acquire(context, len))?;
            }
            let most = len.min(self.paid);
            let written = ready!(self.held.poll_write(context, source, sink, most))?;
            self.wrote(written)?;
            if written < len && matches!(self.held, Held::Piped(_)) {
                // What a sink takes at once is all that is worth holding for it.
                self.piece = written.clamp(SMALLEST, LARGEST);
            }
        }
        if self.unflushed {
            ready!(Pin::new(sink).poll_flush(context))?;
            self.unflushed = false;
        }
        Poll::Ready(Ok(()))
    }

    fn wrote(&mut self, written: usize) -> Result<(), Ending> {
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        self.lane.count(written);
        self.paid = self.paid.saturating_sub(written);
        self.unflushed = true;
        Ok(())
    }

    /// Waits for both ends and the budget, and takes the next piece.
    fn poll_source<S: Side, K: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Poll<Result<Source, Ending>> {
        if let Some(sink) = sink.plain() {
            ready!(sink.poll_write_ready(context))?;
        }
        let Some(from) = source.plain() else {
            return self.poll_layered(context, source);
        };
        // Not `readable`: that one never yields to other tasks while there is something.
        ready!(from.poll_read_ready(context))?;
        let copied = sink.plain().is_none();
        let most = if let Some(most) = self.pays_at_once(copied) {
            most
        } else {
            let Some(most) = self.worth_asking(from, copied)? else {
                return Poll::Ready(Ok(Source::Ended));
            };
            if most == 0 {
                return Poll::Ready(Ok(Source::Open));
            }
            self.paid = ready!(self.lane.poll_acquire(context, most))?;
            most
        };
        let much = self.paid >= SMALL && most > SMALL;
        if much
            && sink.plain().is_some()
            && let Some(pipe) = Pipe::take()
        {
            return Poll::Ready(self.splice(from, pipe));
        }
        self.poll_copy(context, source, sink)
    }

    /// Pays for what a source seems to have, if the budget has as much to spare: what
    /// is not there goes back, and the source need not be asked how much there is. Of
    /// what is not `copied` but spliced, for a small piece alone.
    fn pays_at_once(&mut self, copied: bool) -> Option<usize> {
        if self.known > 0 || !self.lane.is_limited() {
            return None;
        }
        let most = match self.bulk {
            false => SMALL,
            true if copied => BUFFER_LEN,
            true => return None,
        };
        let pays = self.lane.acquires_at_once(most);
        pays.then(|| {
            self.paid = most;
            most
        })
    }

    /// How much to ask the budget for: none at the end, zero if `from` has
    /// nothing after all. A limit is asked for no more than there is, nor for
    /// the end; without one it does not matter.
    fn worth_asking(&mut self, from: &TcpStream, copied: bool) -> io::Result<Option<usize>> {
        let piece = if copied { BUFFER_LEN } else { self.piece };
        if !self.lane.is_limited() {
            return Ok(Some(if self.bulk { piece } else { SMALL }));
        }
        // What a copied piece has left over would be a piece of its own, however small.
        let left_over = copied && self.known < SMALL;
        if self.known == 0 || left_over {
            let Some(there) = copy::there(from)? else {
                return Ok(None);
            };
            self.known = there;
        }
        Ok(Some(self.known.min(piece)))
    }

    /// Moves what was granted into `pipe`.
    fn splice(&mut self, from: &TcpStream, mut pipe: Pipe) -> Result<Source, Ending> {
        let asked = self.paid;
        let moved = match pipe.fill(from, asked) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            outcome => Some(outcome?),
        };
        self.took(moved.unwrap_or(0));
        self.bulk = moved.is_none_or(|moved| moved >= SMALL);
        if moved == Some(asked) {
            self.piece = (self.piece * 2).min(LARGEST);
        }
        if pipe.len() > 0 {
            self.held = Held::Piped(pipe);
        }
        Ok(Source::from(moved))
    }

    /// Moves what was granted: into the sink's own memory if it lends some, else
    /// through the thread's buffer; what the sink does not take at once is held.
    fn poll_copy<S: Side, K: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
    ) -> Poll<Result<Source, Ending>> {
        let most = self.paid.min(BUFFER_LEN);
        // Not `try_read`: this remembers a source that was emptied, which saves asking it again.
        if let Some(room) = sink.room(most) {
            let mut read = ReadBuf::new(room);
            let outcome = Pin::new(source).poll_read(context, &mut read);
            let len = read.filled().len();
            sink.give(context, len)?;
            let source = self.read(outcome, len);
            if len > 0 {
                self.wrote(len)?;
            }
            return source;
        }
        copy::with_buffer(|buffer| {
            let room = buffer.get_mut(..most).unwrap_or_default();
            let mut read = ReadBuf::new(room);
            let outcome = Pin::new(source).poll_read(context, &mut read);
            let bytes = read.filled();
            if ready!(self.read(outcome, bytes.len()))? == Source::Ended {
                return Poll::Ready(Ok(Source::Ended));
            }
            let written = match Pin::new(sink).poll_write(context, bytes) {
                Poll::Ready(written) => {
                    let written = written?;
                    self.wrote(written)?;
                    written
                }
                Poll::Pending => 0,
            };
            self.held = Held::bytes(bytes.get(written..).unwrap_or_default());
            Poll::Ready(Ok(Source::Open))
        })
    }

    /// `len` bytes were read of what was granted: whether that was the end.
    fn read(&mut self, outcome: Poll<io::Result<()>>, len: usize) -> Poll<Result<Source, Ending>> {
        self.took(len);
        ready!(outcome)?;
        self.bulk = len >= SMALL;
        Poll::Ready(Ok(Source::from(Some(len))))
    }

    /// Takes what a layer between us and the socket has for us. Nobody knows
    /// how much that is before it is read, so it is paid for afterwards.
    fn poll_layered<S: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
    ) -> Poll<Result<Source, Ending>> {
        if let Some(len) = ready!(source.poll_hold(context))? {
            self.held = Held::Lent(len);
            return Poll::Ready(Ok(Source::from(Some(len))));
        }
        copy::with_buffer(|buffer| {
            let room = buffer.get_mut(..SMALL).unwrap_or_default();
            let mut read = ReadBuf::new(room);
            ready!(Pin::new(source).poll_read(context, &mut read))?;
            self.held = Held::bytes(read.filled());
            Poll::Ready(Ok(Source::from(Some(read.filled().len()))))
        })
    }

    /// `moved` bytes have left the source; what else was granted goes back.
    fn took(&mut self, moved: usize) {
        self.known = self.known.saturating_sub(moved);
        self.lane.give_back(self.paid.saturating_sub(moved));
        self.paid = moved;
    }
}

impl Drop for Way<'_> {
    fn drop(&mut self) {
        self.lane.give_back(self.paid);
    }
}

impl Held {
    fn bytes(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            Self::Nothing
        } else {
            Self::Bytes {
                bytes: bytes.into(),
                from: 0,
            }
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Nothing => 0,
            Self::Bytes { bytes, from } => bytes.len().saturating_sub(*from),
            Self::Piped(pipe) => pipe.len(),
            Self::Lent(len) => *len,
        }
    }

    /// Writes up to `most` bytes and forgets them.
    fn poll_write<S: Side, K: Side>(
        &mut self,
        context: &mut Context<'_>,
        source: &mut S,
        sink: &mut K,
        most: usize,
    ) -> Poll<io::Result<usize>> {
        let written = match self {
            Self::Nothing => 0,
            Self::Bytes { bytes, from } => {
                let to = from.saturating_add(most).min(bytes.len());
                let now = bytes.get(*from..to).unwrap_or_default();
                let written = ready!(Pin::new(sink).poll_write(context, now))?;
                *from = from.saturating_add(written);
                written
            }
            Self::Piped(pipe) => ready!(poll_drain(pipe, context, sink, most))?,
            Self::Lent(len) => {
                let held = source.held();
                let now = held.get(..most).unwrap_or(held);
                let written = ready!(Pin::new(sink).poll_write(context, now))?;
                source.take(written);
                *len = len.saturating_sub(written);
                written
            }
        };
        if self.len() == 0 {
            *self = Self::Nothing;
        }
        Poll::Ready(Ok(written))
    }
}

fn poll_drain<K: Side>(
    pipe: &mut Pipe,
    context: &mut Context<'_>,
    sink: &K,
    most: usize,
) -> Poll<io::Result<usize>> {
    loop {
        ready!(sink.tcp().poll_write_ready(context))?;
        match pipe.drain(sink.tcp(), most) {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            outcome => return Poll::Ready(outcome),
        }
    }
}

impl From<Option<usize>> for Source {
    /// From what was read: none is "nothing yet", zero the end.
    fn from(read: Option<usize>) -> Self {
        if read == Some(0) {
            Self::Ended
        } else {
            Self::Open
        }
    }
}
