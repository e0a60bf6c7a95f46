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
    ] {
        let (mut lanes, _folder) = lanes(limits).await;
        let ((client_near, mut client), (target_near, mut target)) = (pair().await, pair().await);
        let (said, answer) = (pattern(600_000), pattern(900_001));
        let early = pattern(5);
        let relayed = async {
            let mut client_near = Layered(BufWriter::new(client_near));
            let mut target_near = target_near;
            relay(
                &mut client_near,
                &mut target_near,
                &early,
                &mut lanes,
                FOR_EVER,
            )
            .await
        };
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
}

#[tokio::test]
async fn a_small_message_behind_a_layer_is_not_kept_back() {
    let (mut lanes, _folder) = lanes(Limits::Unlimited).await;
    let ((client_near, mut client), (mut target_near, mut target)) = (pair().await, pair().await);
    let mut client_near = Layered(BufWriter::new(client_near));
    let talk = async {
        target.write_all(b"hello").await.unwrap();
        let mut heard = [0; 5];
        client.read_exact(&mut heard).await.unwrap();
        heard.map(|byte| byte ^ TURN)
    };
    tokio::select! {
        ending = relay(&mut client_near, &mut target_near, &[], &mut lanes, FOR_EVER) => panic!("{ending}"),
        heard = talk => assert_eq!(&heard, b"hello"),
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
