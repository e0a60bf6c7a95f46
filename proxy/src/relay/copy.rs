//! Bytes through a buffer.

use std::cell::RefCell;
use std::io;
use std::mem::MaybeUninit;

use socket2::SockRef;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most that is copied at once, and that a direction without a pipe holds.
pub(super) const BUFFER_LEN: usize = 32 * 1024;

thread_local! {
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; BUFFER_LEN].into_boxed_slice());
}

/// Does `work` with a buffer of [`BUFFER_LEN`] bytes that this thread lends:
/// there are as many as there are threads, not as many as connections. What is
/// in it is what somebody read before, so only what `work` reads is its own.
pub(super) fn with_buffer<T>(work: impl FnOnce(&mut [u8]) -> T) -> T {
    BUFFER.with(|buffer| match buffer.try_borrow_mut() {
        Ok(mut buffer) => work(&mut buffer),
        // Lent already; nobody asks twice.
        Err(_) => work(&mut vec![0; BUFFER_LEN]),
    })
}

/// How many bytes can be read from `source` now.
pub(super) fn there(source: &TcpStream) -> io::Result<usize> {
    let there = rustix::io::ioctl_fionread(source)?;
    Ok(usize::try_from(there).unwrap_or(usize::MAX))
}

/// Whether a source that has nothing never will; if it may, it counts as not
/// ready from here on.
pub(super) fn ended(source: &TcpStream) -> io::Result<bool> {
    let mut byte = [MaybeUninit::uninit()];
    let peeked = source.try_io(Interest::READABLE, || SockRef::from(source).peek(&mut byte));
    match peeked {
        Ok(len) => Ok(len == 0),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
