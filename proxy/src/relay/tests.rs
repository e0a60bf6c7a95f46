//! What lies between a relay and its socket may be more than the socket.

use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, ReadBuf};
use tokio::net::TcpListener;

use super::*;
use crate::protocol::Credentials;
use crate::users::{Direction, Limits, NewUser, PasswordCost, Users};
use crate::{Database, users};

const FOR_EVER: Patience = Patience {
    open: Duration::from_secs(86_400),
    half_closed: Duration::from_secs(86_400),
};

/// Turns every byte on its way, and writes only when it is flushed or full.
struct Layered(BufWriter<TcpStream>);

const TURN: u8 = 0x55;

impl AsyncRead for Layered {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(self.0.get_mut()).poll_read(context, buffer);
        buffer.filled_mut()[before..]
            .iter_mut()
            .for_each(|byte| *byte ^= TURN);
        outcome
    }
}

impl AsyncWrite for Layered {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let turned: Vec<_> = bytes.iter().map(|byte| byte ^ TURN).collect();
        Pin::new(&mut self.0).poll_write(context, &turned)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

impl Side for Layered {
    fn tcp(&self) -> &TcpStream {
        self.0.get_ref()
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }
}

/// Turns every byte as well, but lends what it has read and room for what it is to
/// write.
struct Lending {
    socket: TcpStream,
    inbox: Vec<u8>,
    room: Vec<u8>,
    outbox: Vec<u8>,
}

impl Lending {
    fn new(socket: TcpStream) -> Self {
        Self {
            socket,
            inbox: Vec::new(),
            room: Vec::new(),
            outbox: Vec::new(),
        }
    }

    fn put(&mut self, bytes: &[u8]) {
        self.outbox.extend(bytes.iter().map(|byte| byte ^ TURN));
    }
}

impl AsyncRead for Lending {
    fn poll_read(
        self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        _room: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Poll::Ready(Err(io::Error::other("it lends")))
    }
}

impl AsyncWrite for Lending {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.put(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        while !this.outbox.is_empty() {
            match Pin::new(&mut this.socket).poll_write(context, &this.outbox)? {
                Poll::Ready(written) => drop(this.outbox.drain(..written)),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.as_mut().poll_flush(context)? {
            Poll::Ready(()) => Pin::new(&mut self.socket).poll_shutdown(context),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Side for Lending {
    fn tcp(&self) -> &TcpStream {
        &self.socket
    }

    fn plain(&self) -> Option<&TcpStream> {
        None
    }

    fn poll_hold(&mut self, context: &mut Context<'_>) -> Poll<io::Result<Option<usize>>> {
        let mut room = [0; 40_000];
        let mut read = ReadBuf::new(&mut room);
        let socket = Pin::new(&mut self.socket);
        if socket.poll_read(context, &mut read)?.is_pending() {
            return Poll::Pending;
        }
        let turned = read.filled().iter().map(|byte| byte ^ TURN);
        self.inbox.extend(turned);
        Poll::Ready(Ok(Some(read.filled().len())))
    }

    fn held(&self) -> &[u8] {
        &self.inbox
    }

    fn take(&mut self, len: usize) {
        self.inbox.drain(..len);
    }

    fn room(&mut self, most: usize) -> Option<&mut [u8]> {
        // Less than there is to read.
        self.room.resize(most.min(30_000), 0);
        Some(&mut self.room)
    }

    fn give(&mut self, _context: &mut Context<'_>, len: usize) -> io::Result<()> {
        let room = std::mem::take(&mut self.room);
        self.put(&room[..len]);
        Ok(())
    }
}

/// Two ends of a connection.
async fn pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap());
    let (near, far) = tokio::join!(near, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

async fn lanes(limits: Limits) -> (Lanes, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("users.db"));
    let users = Users::open(&database, PasswordCost::LEAST).await.unwrap();
    let (name, password) = ("ada".to_owned(), b"pw".to_vec());
    users
        .add(NewUser {
            name: name.clone(),
            password: password.clone(),
            rules: limits.into(),
        })
        .await
        .unwrap();
    let credentials = Credentials {
        name: name.into(),
        password,
    };
    let user: users::Authenticated = users
        .authenticate(&credentials, [127, 0, 0, 1].into())
        .await
        .unwrap();
    let lanes = Lanes {
        up: Lane::new(&user, Direction::Up),
        down: Lane::new(&user, Direction::Down),
    };
    (lanes, folder)
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len)
        .map(|at| (at * 31 % 251).to_le_bytes()[0])
        .collect()
}

#[tokio::test]
async fn a_layer_is_spoken_to_and_not_passed_by() {
    for limits in [
        Limits::Unlimited,
        Limits::Shared("token-bucket:rate=50MB/s,burst=1500B".parse().unwrap()),
        // One that grants at once, however much it is.
        Limits::Shared("token-bucket:rate=100GB/s,burst=1GB".parse().unwrap()),
    ] {
        talk_through(|socket| Layered(BufWriter::new(socket)), limits).await;
        talk_through(Lending::new, limits).await;
    }
}

async fn talk_through<C: Side>(layer: impl FnOnce(TcpStream) -> C, limits: Limits) {
    let (mut lanes, _folder) = lanes(limits).await;
    let ((client_near, mut client), (mut target_near, mut target)) = (pair().await, pair().await);
    let (said, answer) = (pattern(600_000), pattern(900_001));
    let early = pattern(5);
    let mut client_near = layer(client_near);
    let relayed = relay(
        &mut client_near,
        &mut target_near,
        &early,
        &mut lanes,
        FOR_EVER,
    );
    let talk = async {
        let turned: Vec<_> = said.iter().map(|byte| byte ^ TURN).collect();
        client.write_all(&turned).await.unwrap();
        client.shutdown().await.unwrap();
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        heard.iter_mut().for_each(|byte| *byte ^= TURN);
        heard
    };
    let serve = async {
        let mut heard = Vec::new();
        target.read_to_end(&mut heard).await.unwrap();
        target.write_all(&answer).await.unwrap();
        target.shutdown().await.unwrap();
        heard
    };
    let (ending, client_heard, target_heard) = tokio::join!(relayed, talk, serve);
    assert!(matches!(ending, Ending::Finished), "{ending}");
    assert!(target_heard == [early.clone(), said.clone()].concat());
    assert!(client_heard == answer);
    assert_eq!(lanes.up.moved(), (early.len() + said.len()) as u64);
    assert_eq!(lanes.down.moved(), answer.len() as u64);
}

#[tokio::test]
async fn a_message_behind_a_layer_is_not_kept_back() {
    // The second fills all there is room for.
    for len in [5, 16 * 1024] {
        is_heard(|socket| Layered(BufWriter::new(socket)), len).await;
        is_heard(Lending::new, len).await;
    }
}

async fn is_heard<C: Side>(layer: impl FnOnce(TcpStream) -> C, len: usize) {
    let (mut lanes, _folder) = lanes(Limits::Unlimited).await;
    let ((client_near, mut client), (mut target_near, mut target)) = (pair().await, pair().await);
    let mut client_near = layer(client_near);
    let said = pattern(len);
    let talk = async {
        target.write_all(&said).await.unwrap();
        let mut heard = vec![0; len];
        client.read_exact(&mut heard).await.unwrap();
        heard.iter_mut().for_each(|byte| *byte ^= TURN);
        heard
    };
    tokio::select! {
        ending = relay(&mut client_near, &mut target_near, &[], &mut lanes, FOR_EVER) => panic!("{ending}"),
        heard = talk => assert!(heard == said),
    }
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn there_is_an_end_to_pipes() {
    let taken: Vec<_> = std::iter::from_fn(pipe::Pipe::take).collect();
    assert!((1..=MOST_PIPES).contains(&taken.len()), "{}", taken.len());
    drop(taken);
    assert!(pipe::Pipe::take().is_some());
}
