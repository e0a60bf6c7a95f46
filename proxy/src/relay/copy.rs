//! Bytes through a buffer.

use std::cell::RefCell;
use std::io;

#[cfg(target_os = "linux")]
use rustix::net::RecvFlags;
use tokio::io::Interest;
use tokio::net::TcpStream;

/// The most that is copied at once, and that a direction without a pipe holds: a whole
/// chunk of shadowsocks.
pub(super) const BUFFER_LEN: usize = 65_535;

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

/// How many bytes `source` has: none at its end, zero if it has nothing yet and
/// counts as not ready from here on.
pub(super) fn there(source: &TcpStream) -> io::Result<Option<usize>> {
    match source.try_io(Interest::READABLE, || count(source)) {
        Ok(0) => Ok(None),
        Ok(len) if len < BUFFER_LEN => Ok(Some(len)),
        Ok(len) => {
            let all = rustix::io::ioctl_fionread(source)?;
            Ok(Some(usize::try_from(all).unwrap_or(len).max(len)))
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Some(0)),
        Err(error) => Err(error),
    }
}

/// Looks without taking and without copying (tcp(7), `MSG_TRUNC`): one call finds
/// out how much there is, up to [`BUFFER_LEN`], and whether it is the end.
#[cfg(target_os = "linux")]
fn count(source: &TcpStream) -> io::Result<usize> {
    let flags = RecvFlags::PEEK | RecvFlags::TRUNC | RecvFlags::DONTWAIT;
    with_buffer(|buffer| Ok(rustix::net::recv(source, buffer, flags)?.1))
}

/// Looks without taking.
#[cfg(not(target_os = "linux"))]
fn count(source: &TcpStream) -> io::Result<usize> {
    let mut room = [std::mem::MaybeUninit::uninit(); BUFFER_LEN];
    socket2::SockRef::from(source).peek(&mut room)
}
