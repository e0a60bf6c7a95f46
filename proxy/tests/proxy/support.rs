//! A proxy and targets on loopback, and raw clients that share no code with it.

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use proxy::{Config, Database, Limits, NewUser, PasswordCost, Server, Users};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

pub(crate) const NAME: &str = "ada";
pub(crate) const PASSWORD: &str = "secret";

/// A running proxy with one user.
pub(crate) struct Proxy {
    /// The first of `addresses`.
    pub(crate) address: SocketAddr,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) users: Users,
    #[cfg_attr(
        not(feature = "tls"),
        allow(dead_code, reason = "only tests of TLS renew certificates")
    )]
    pub(crate) certificates: proxy::tls::Certificates,
    pub(crate) folder: tempfile::TempDir,
    stop: oneshot::Sender<()>,
    running: JoinHandle<Result<(), proxy::RunError>>,
}

impl Proxy {
    pub(crate) async fn start(limits: Limits) -> Self {
        Self::start_with(limits, |_| ()).await
    }

    pub(crate) async fn start_with(limits: Limits, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.allow_egress = vec!["127.0.0.0/8".parse().unwrap()];
        config.password_cost = PasswordCost::LEAST;
        config.timeouts.drain = Duration::from_secs(5);
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let addresses = server.addrs().to_vec();
        let users = server.users();
        let certificates = server.certificates();
        users.add(user(NAME, limits)).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        let running = tokio::spawn(server.run(async {
            let _ = stopped.await;
        }));
        Self {
            address: addresses[0],
            addresses,
            users,
            certificates,
            folder,
            stop,
            running,
        }
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) async fn stop(self) -> (Users, tempfile::TempDir) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap().unwrap();
        (self.users, self.folder)
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// A tunnel by the line handshake.
    pub(crate) async fn line(&self, target: SocketAddr) -> TcpStream {
        self.line_as(NAME, PASSWORD, target).await
    }

    pub(crate) async fn line_as(
        &self,
        name: &str,
        password: &str,
        target: SocketAddr,
    ) -> TcpStream {
        let mut client = self.connect().await;
        let line = format!("{} {} {name} {password}\r\n", target.ip(), target.port());
        client.write_all(line.as_bytes()).await.unwrap();
        let reply = read_line(&mut client).await;
        assert!(reply.ends_with("\r\n"), "{reply:?}");
        client
    }

    /// Whether the line handshake succeeds.
    pub(crate) async fn lets_in(&self, target: SocketAddr) -> bool {
        let mut client = self.connect().await;
        let line = format!("{} {} {NAME} {PASSWORD}\r\n", target.ip(), target.port());
        client.write_all(line.as_bytes()).await.unwrap();
        read_line(&mut client).await.ends_with("\r\n")
    }

    /// A tunnel by SOCKS5.
    pub(crate) async fn socks5(&self, target: SocketAddr) -> TcpStream {
        let mut client = self.connect().await;
        client
            .write_all(&socks5_login(NAME, PASSWORD))
            .await
            .unwrap();
        client.write_all(&socks5_connect(target)).await.unwrap();
        assert_eq!(read_exact(&mut client, 4).await, [5, 2, 1, 0]);
        let reply = read_exact(&mut client, 10).await;
        assert_eq!(reply[..4], [5, 0, 0, 1]);
        client
    }
}

pub(crate) fn user(name: &str, limits: Limits) -> NewUser {
    NewUser {
        name: name.into(),
        password: PASSWORD.into(),
        rules: limits.into(),
    }
}

/// Greeting and password in one.
pub(crate) fn socks5_login(name: &str, password: &str) -> Vec<u8> {
    let mut bytes = vec![5, 1, 2, 1, u8::try_from(name.len()).unwrap()];
    bytes.extend(name.as_bytes());
    bytes.push(u8::try_from(password.len()).unwrap());
    bytes.extend(password.as_bytes());
    bytes
}

pub(crate) fn socks5_connect(target: SocketAddr) -> Vec<u8> {
    let SocketAddr::V4(target) = target else {
        panic!("IPv4 only")
    };
    let mut bytes = vec![5, 1, 0, 1];
    bytes.extend(target.ip().octets());
    bytes.extend(target.port().to_be_bytes());
    bytes
}

pub(crate) async fn read_exact(stream: &mut TcpStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    in_time(stream.read_exact(&mut bytes)).await.unwrap();
    bytes
}

pub(crate) async fn read_line(stream: &mut TcpStream) -> String {
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        let mut byte = [0];
        if in_time(stream.read(&mut byte)).await.unwrap() == 0 {
            break;
        }
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap()
}

pub(crate) async fn read_to_end(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    in_time(stream.read_to_end(&mut bytes)).await.unwrap();
    bytes
}

/// Fails a test that hangs.
pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), work)
        .await
        .expect("hangs")
}

/// A target that does `serve` with each client.
pub(crate) async fn target<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> SocketAddr
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(serve(client));
        }
    });
    address
}

/// Sends back what it gets, and ends when the client ends.
pub(crate) async fn echo() -> SocketAddr {
    target(|mut client| async move {
        let (mut source, mut sink) = client.split();
        let _ = tokio::io::copy(&mut source, &mut sink).await;
        let _ = sink.shutdown().await;
    })
    .await
}

/// Sends for ever.
pub(crate) async fn flood() -> SocketAddr {
    target(|mut client| async move {
        let block = vec![0x5a; 64 * 1024];
        while client.write_all(&block).await.is_ok() {}
    })
    .await
}

/// Takes everything and says nothing.
pub(crate) async fn sink() -> SocketAddr {
    target(|mut client| async move {
        let _ = tokio::io::copy(&mut client, &mut tokio::io::sink()).await;
    })
    .await
}

/// A port that nobody listens on.
pub(crate) async fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().port()
}
