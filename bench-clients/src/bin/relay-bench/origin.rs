//! The far end: does what the first byte of a connection asks for.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;

use crate::windows::Series;

/// What a client asks for with its first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Ask {
    /// Bytes without end.
    Download = b'D',
    /// The same from a small send buffer: two hundred large ones take their time to fill.
    Trickle = b'T',
    /// To take everything; eight bytes follow, the number under which it is recorded.
    Upload = b'U',
    /// Everything back.
    Echo = b'E',
}

/// How large a part of the endless bytes is.
const BLOCK: usize = 1 << 18;

/// What origins have taken, by number.
pub(crate) type Records = Arc<Mutex<HashMap<u64, Series>>>;

/// The origin at `address`, and beside it at the next port one that says
/// goodbye at once. Both run for as long as the program does.
pub(crate) fn start(address: SocketAddr) -> io::Result<Records> {
    let records = Records::default();
    let listener = TcpListener::bind(address)?;
    let kept = Arc::clone(&records);
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let records = Arc::clone(&kept);
            let thread = thread::Builder::new().stack_size(64 << 10);
            // One that is not served is missed by its client.
            let _ = thread.spawn(move || serve(client, &records));
        }
    });
    let brief = TcpListener::bind(brief(address))?;
    thread::spawn(move || brief.incoming().for_each(drop));
    Ok(records)
}

/// Where every connection is closed at once.
pub(crate) fn brief(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip(), address.port() + 1)
}

fn serve(mut client: TcpStream, records: &Records) -> io::Result<()> {
    client.set_nodelay(true)?;
    let mut ask = [0];
    client.read_exact(&mut ask)?;
    match ask[0] {
        b'D' => pour(&client),
        b'T' => {
            rustix::net::sockopt::set_socket_send_buffer_size(&client, 32 << 10)?;
            pour(&client)
        }
        b'U' => {
            let mut number = [0; 8];
            client.read_exact(&mut number)?;
            let number = u64::from_be_bytes(number);
            take(&client, None, |at, bytes| {
                let mut records = records.lock().unwrap_or_else(PoisonError::into_inner);
                records.entry(number).or_default().add(at, bytes);
            })
        }
        _ => echo(client),
    }
}

fn echo(mut client: TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        match client.read(&mut buffer)? {
            0 => return Ok(()),
            len => client.write_all(buffer.get(..len).unwrap_or_default())?,
        }
    }
}

/// Sends until the other end is gone.
pub(crate) fn pour(mut sink: &TcpStream) -> io::Result<()> {
    let block = vec![0x5a; BLOCK];
    loop {
        sink.write_all(&block)?;
    }
}

/// Takes everything until the end or `until`, without copying; when and how much.
pub(crate) fn take(
    source: &TcpStream,
    until: Option<Instant>,
    mut record: impl FnMut(Instant, u64),
) -> io::Result<()> {
    let mut room = vec![0; 1 << 20];
    loop {
        if let Some(until) = until {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            source.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        }
        // Counted and thrown away by the kernel (tcp(7), MSG_TRUNC).
        match rustix::net::recv(source.as_fd(), &mut room[..], RecvFlags::TRUNC) {
            Ok((_, 0)) => return Ok(()),
            Ok((_, len)) => record(Instant::now(), len as u64),
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
