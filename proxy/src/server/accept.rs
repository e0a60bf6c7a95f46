//! Accepting clients, also when there is nothing left to accept them with.

use std::fs::File;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio_util::sync::CancellationToken;

const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);

/// Accepts until `stopping`, in the runtime that it is polled in, and hands
/// everybody to `admit`.
pub(crate) async fn run(
    listener: TcpListener,
    stopping: CancellationToken,
    admit: impl Fn(TcpStream, SocketAddr),
) {
    let listener = match Listening::new(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "a listener cannot be waited for: nobody is served on it");
            return;
        }
    };
    let mut spare = Spare::new();
    let mut pause = SHORTEST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            () = stopping.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, source)) => {
                pause = SHORTEST_PAUSE;
                admit(client, source);
            }
            Err(error) if is_the_clients(&error) => {}
            Err(error) => {
                if pause == SHORTEST_PAUSE {
                    tracing::error!(%error, "cannot accept clients: raise the limit of open files or lower the cap of connections");
                }
                spare.refuse_one(&listener).await;
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

/// A listener whose clients are not bound to the event loop that accepts them.
struct Listening(AsyncFd<TcpListener>);

impl Listening {
    fn new(listener: TcpListener) -> io::Result<Self> {
        #[expect(
            deprecated,
            reason = "its successor is unsafe for types whose descriptor may change; that of a listener does not"
        )]
        AsyncFd::with_interest(listener, Interest::READABLE).map(Self)
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.0.async_io(Interest::READABLE, accept).await
    }
}

/// Accepts a client whose socket does not block.
#[cfg(target_os = "linux")]
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    use rustix::net::{SocketFlags, acceptfrom_with};

    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (client, source) = acceptfrom_with(listener, flags)?;
    let source = source.ok_or_else(|| io::Error::from(io::ErrorKind::ConnectionAborted))?;
    Ok((client.into(), SocketAddr::try_from(source)?))
}

#[cfg(not(target_os = "linux"))]
fn accept(listener: &TcpListener) -> io::Result<(TcpStream, SocketAddr)> {
    let (client, source) = listener.accept()?;
    client.set_nonblocking(true)?;
    Ok((client, source))
}

/// A client that was gone before it was accepted is no fault of ours.
fn is_the_clients(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

/// A descriptor to give up when there is none left: with it a waiting client
/// can be accepted and closed, where it would hang otherwise.
struct Spare(Option<File>);

impl Spare {
    fn new() -> Self {
        Self(File::open("/dev/null").ok())
    }

    async fn refuse_one(&mut self, listener: &Listening) {
        if self.0.take().is_some() {
            // There was somebody a moment ago; if not now, there is no need to wait.
            let _ = tokio::time::timeout(SHORTEST_PAUSE, listener.accept()).await;
        }
        *self = Self::new();
    }
}
