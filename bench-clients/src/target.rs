//! The far side of a run: accepts connections and gives each to its flow.
//!
//! Two ways to know which flow a connection belongs to. By a preamble, the client's
//! first 12 bytes: one address for all flows, as a target behind a firewall needs.
//! By a port of the flow's own: no byte goes through the limiter before the run
//! starts, which matters where 12 bytes are seconds of the rate.
//!
//! ```text
//! preamble   "WGF1" | flow, u64 big-endian
//! ```

use std::{
    collections::HashMap,
    io,
    net::SocketAddr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::oneshot,
};

use crate::{
    dial::{self, DialError, Endpoint, SocketOptions, Stream, Via},
    task::Task,
};

const MAGIC: [u8; 4] = *b"WGF1";
const PREAMBLE: usize = 12;
/// How long a stranger may keep a connection without saying which flow it is.
const PREAMBLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Pause after an `accept` that failed: no descriptor is left, and none will be at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How the target knows a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Identify {
    /// By a port of its own, closed again once it was used.
    #[default]
    OwnPort,
    /// By the client's first bytes, on the target's one port.
    Preamble,
}

/// Listens for the connections of a run; stops when it is dropped.
#[derive(Debug)]
pub struct Target {
    address: SocketAddr,
    options: SocketOptions,
    next_flow: AtomicU64,
    expected: Arc<Expected>,
    _accepting: Task<()>,
}

/// A connection that is to arrive.
#[derive(Debug)]
pub struct Arrival {
    /// Names the flow, from 1; also the key of its payload.
    pub flow: u64,
    /// Where the client is to connect.
    pub address: SocketAddr,
    identify: Identify,
    stream: oneshot::Receiver<TcpStream>,
    /// The listener of a port of its own, stopped with the arrival.
    own: Option<Task<()>>,
}

/// Both ends of one connection, with whatever lies between.
#[derive(Debug)]
pub struct Ends {
    /// Names the flow; the key of its payload.
    pub flow: u64,
    /// The side that dialled.
    pub client: Stream,
    /// The side that was dialled.
    pub server: TcpStream,
    /// The address that the proxy says it bound; without a proxy the client's own.
    pub bound: Endpoint,
}

/// A connection that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The client's side.
    #[error("cannot reach the target")]
    Dial(#[from] DialError),
    /// The target's side.
    #[error("cannot listen for the connection")]
    Listen(#[source] io::Error),
    /// The client's first bytes.
    #[error("cannot send the preamble")]
    Preamble(#[source] io::Error),
    /// The client is connected, the target is not.
    #[error("the proxy says that it is connected, but nothing arrived at the target within {:.1} s", after.as_secs_f64())]
    NothingArrived {
        /// The limit.
        after: Duration,
    },
}

type Expected = Mutex<HashMap<u64, oneshot::Sender<TcpStream>>>;

impl Target {
    /// Listens on `address`, port 0 for any. The buffer sizes of `options` go to
    /// every accepted connection.
    ///
    /// # Errors
    /// The address is taken or not ours.
    pub async fn bind(address: SocketAddr, options: SocketOptions) -> io::Result<Self> {
        let listener = listen(address, &options)?;
        let address = listener.local_addr()?;
        let expected = Arc::default();
        let accepting = Task::spawn(accept_by_preamble(listener, Arc::clone(&expected)));
        Ok(Self {
            address,
            options,
            next_flow: AtomicU64::new(1),
            expected,
            _accepting: accepting,
        })
    }

    /// Where flows with a preamble connect.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Prepares for one more connection.
    ///
    /// # Errors
    /// There is no port of its own to be had.
    pub async fn expect(&self, identify: Identify) -> io::Result<Arrival> {
        let flow = self.next_flow.fetch_add(1, Ordering::Relaxed);
        let (sender, stream) = oneshot::channel();
        let (address, own) = match identify {
            Identify::Preamble => {
                let mut expected = self.expected.lock().unwrap_or_else(PoisonError::into_inner);
                expected.insert(flow, sender);
                (self.address, None)
            }
            Identify::OwnPort => {
                let listener = listen(SocketAddr::new(self.address.ip(), 0), &self.options)?;
                let address = listener.local_addr()?;
                (address, Some(Task::spawn(accept_one(listener, sender))))
            }
        };
        Ok(Arrival {
            flow,
            address,
            identify,
            stream,
            own,
        })
    }

    /// Connects a client to this target by way of `via`; returns when both ends are up.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(
        &self,
        via: &Via,
        identify: Identify,
        options: &SocketOptions,
    ) -> Result<Ends, OpenError> {
        let arrival = self.expect(identify).await.map_err(OpenError::Listen)?;
        let target = arrival.address.into();
        let mut connection = dial::connect(via, &target, options).await?;
        if let Some(preamble) = arrival.preamble() {
            let sent = connection.stream.write_all(&preamble).await;
            sent.map_err(OpenError::Preamble)?;
        }
        let flow = arrival.flow;
        Ok(Ends {
            flow,
            server: arrival.stream(options.timeout).await?,
            client: connection.stream,
            bound: connection.bound,
        })
    }
}

impl Arrival {
    /// What the client sends first, if anything.
    #[must_use]
    pub fn preamble(&self) -> Option<[u8; 12]> {
        (self.identify == Identify::Preamble).then(|| preamble(self.flow))
    }

    /// The target's end of the connection.
    ///
    /// # Errors
    /// It did not arrive within `timeout`.
    pub async fn stream(self, timeout: Duration) -> Result<TcpStream, OpenError> {
        let nothing = OpenError::NothingArrived { after: timeout };
        let arrived = tokio::time::timeout(timeout, self.stream).await;
        drop(self.own);
        match arrived {
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(_)) | Err(_) => Err(nothing),
        }
    }
}

fn listen(address: SocketAddr, options: &SocketOptions) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    options.apply_to(&socket)?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

async fn accept_one(listener: TcpListener, to: oneshot::Sender<TcpStream>) {
    let stream = accept(&listener).await;
    // Nobody waits any more if the dialling failed.
    let _ = to.send(stream);
}

async fn accept_by_preamble(listener: TcpListener, expected: Arc<Expected>) {
    loop {
        let stream = accept(&listener).await;
        tokio::spawn(introduce(stream, Arc::clone(&expected)));
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) if stream.set_nodelay(true).is_ok() => return stream,
            // It went away before it was accepted.
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// Hands `stream` to the flow that its first bytes name; closes it if there is none.
async fn introduce(mut stream: TcpStream, expected: Arc<Expected>) {
    let mut bytes = [0; PREAMBLE];
    let read = tokio::time::timeout(PREAMBLE_TIMEOUT, stream.read_exact(&mut bytes)).await;
    let (Ok(Ok(_)), Some(flow)) = (read, named_flow(bytes)) else {
        return;
    };
    let mut expected = expected.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(waiting) = expected.remove(&flow) {
        let _ = waiting.send(stream);
    }
}

fn preamble(flow: u64) -> [u8; PREAMBLE] {
    let mut bytes = [0; PREAMBLE];
    bytes[..4].copy_from_slice(&MAGIC);
    bytes[4..].copy_from_slice(&flow.to_be_bytes());
    bytes
}

fn named_flow(preamble: [u8; PREAMBLE]) -> Option<u64> {
    let (magic, flow) = preamble.split_first_chunk::<4>()?;
    let flow = <[u8; 8]>::try_from(flow).ok()?;
    (*magic == MAGIC).then(|| u64::from_be_bytes(flow))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preamble_names_the_flow() {
        assert_eq!(preamble(0x0102), *b"WGF1\0\0\0\0\0\0\x01\x02");
        assert_eq!(named_flow(preamble(u64::MAX)), Some(u64::MAX));
        assert_eq!(named_flow(*b"GET / HTTP/1"), None);
    }
}
