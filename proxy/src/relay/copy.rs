//! Bytes from socket to buffer: the part that a kernel can do instead.

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::Poll;

use socket2::SockRef;
use tokio::io::{AsyncRead, Interest, ReadBuf};
use tokio::net::tcp::{ReadHalf, WriteHalf};

/// The most that is read at once, and all that a direction ever holds.
pub(super) const BUFFER_LEN: usize = 32 * 1024;

/// Buffers that a thread keeps for the next read.
const KEPT: usize = 16;

/// What a source has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Something: at most this much is worth asking for.
    Ready {
        /// Bytes, from 1 to [`BUFFER_LEN`].
        most: usize,
    },
    /// Nothing more, ever.
    End,
}

/// Waits until `source` has something. If `exact`, finds out how much, so that
/// a budget is not asked for more than there is, nor for the end.
pub(super) async fn wait(source: &mut ReadHalf<'_>, exact: bool) -> io::Result<Source> {
    loop {
        // Not `readable`: that one never yields to other tasks while there is something.
        poll_fn(|context| source.as_ref().poll_read_ready(context)).await?;
        if !exact {
            return Ok(Source::Ready { most: BUFFER_LEN });
        }
        let there = rustix::io::ioctl_fionread(source.as_ref())?;
        let most = usize::try_from(there).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
        if most > 0 {
            return Ok(Source::Ready { most });
        }
        if ended(source)? {
            return Ok(Source::End);
        }
    }
}

/// Waits until `sink` takes something.
pub(super) async fn writable(sink: &WriteHalf<'_>) -> io::Result<()> {
    poll_fn(|context| sink.as_ref().poll_write_ready(context)).await
}

/// Reads what is there into `room`; `None` if that is nothing, 0 bytes at the end.
pub(super) async fn read(source: &mut ReadHalf<'_>, room: &mut [u8]) -> io::Result<Option<usize>> {
    let mut room = ReadBuf::new(room);
    // Not `try_read`: this remembers a source that was emptied, which saves asking it again.
    // It may also be pending because it is another task's turn; then the next wait yields.
    poll_fn(
        |context| match Pin::new(&mut *source).poll_read(context, &mut room) {
            Poll::Ready(outcome) => Poll::Ready(outcome.map(|()| Some(room.filled().len()))),
            Poll::Pending => Poll::Ready(Ok(None)),
        },
    )
    .await
}

/// Whether a source that has nothing never will.
fn ended(source: &ReadHalf<'_>) -> io::Result<bool> {
    let socket = source.as_ref();
    let mut byte = [MaybeUninit::uninit()];
    let peeked = socket.try_io(Interest::READABLE, || SockRef::from(socket).peek(&mut byte));
    match peeked {
        Ok(len) => Ok(len == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}

thread_local! {
    static SPARE: RefCell<Vec<Box<[u8]>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer on loan: there are as many as there are pieces under way, not as
/// many as there are connections.
pub(super) struct Buffer(Box<[u8]>);

impl Buffer {
    pub(super) fn take() -> Self {
        let spare = SPARE.with_borrow_mut(Vec::pop);
        Self(spare.unwrap_or_else(|| vec![0; BUFFER_LEN].into_boxed_slice()))
    }

    /// The first `len` bytes, at most all.
    pub(super) fn first(&mut self, len: usize) -> &mut [u8] {
        let len = len.min(self.0.len());
        &mut self.0[..len]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let buffer = std::mem::take(&mut self.0);
        // A thread that is ending keeps nothing.
        let _ = SPARE.try_with(|spare| {
            let mut spare = spare.borrow_mut();
            if spare.len() < KEPT {
                spare.push(buffer);
            }
        });
    }
}
