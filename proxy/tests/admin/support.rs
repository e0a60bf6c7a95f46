//! A proxy with an operator's side, and HTTP by hand.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use proxy::{AdminAddress, Config, Database, Limits, NewUser, PasswordCost, Server, Users};
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::JoinHandle;

pub(crate) const PASSWORD: &str = "secret";

/// A running proxy with the user ada.
pub(crate) struct Proxy {
    pub(crate) address: SocketAddr,
    pub(crate) tcp: SocketAddr,
    pub(crate) socket: PathBuf,
    pub(crate) users: Users,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) running: JoinHandle<Result<(), proxy::RunError>>,
}

/// An answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Proxy {
    pub(crate) async fn start() -> Self {
        Self::start_with(Limits::Unlimited, |_| ()).await
    }

    pub(crate) async fn start_with(limits: Limits, change: impl FnOnce(&mut Config)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("admin.sock");
        let mut config = Config::new(Database::file(folder.path().join("users.db")));
        config.listen = vec!["127.0.0.1:0".parse().unwrap()];
        config.allow_egress = vec!["127.0.0.0/8".parse().unwrap()];
        config.password_cost = PasswordCost::LEAST;
        config.timeouts.drain = Duration::from_secs(60);
        config.admin.listen = vec![
            socket.display().to_string().parse().unwrap(),
            "127.0.0.1:0".parse().unwrap(),
        ];
        change(&mut config);
        let server = Server::bind(config).await.unwrap();
        let users = server.users();
        let ada = NewUser {
            name: "ada".to_owned(),
            password: PASSWORD.into(),
            rules: limits.into(),
        };
        users.add(ada).await.unwrap();
        let tcp = server
            .admin_addrs()
            .into_iter()
            .find_map(|address| match address {
                AdminAddress::Tcp(address) => Some(address),
                AdminAddress::Socket { .. } => None,
            });
        Self {
            address: server.addrs()[0],
            tcp: tcp.unwrap(),
            socket,
            users,
            folder,
            running: tokio::spawn(server.run(std::future::pending())),
        }
    }

    /// An answer by the socket.
    pub(crate) async fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let fields = if body.is_empty() {
            ""
        } else {
            "Content-Type: application/json\r\n"
        };
        self.ask_with(method, path, &format!("If-Match: *\r\n{fields}"), body)
            .await
    }

    pub(crate) async fn ask_with(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> Answer {
        let stream = UnixStream::connect(&self.socket).await.unwrap();
        exchange(
            stream,
            method,
            path,
            &format!("Host: localhost\r\n{fields}"),
            body,
        )
        .await
    }

    /// An answer by TCP, with all fields as given.
    pub(crate) async fn ask_tcp(
        &self,
        method: &str,
        path: &str,
        fields: &str,
        body: &str,
    ) -> Answer {
        let stream = TcpStream::connect(self.tcp).await.unwrap();
        exchange(stream, method, path, fields, body).await
    }

    pub(crate) async fn json(&self, path: &str) -> Value {
        let answer = self.ask("GET", path, "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.json()
    }

    /// A tunnel of ada's to `target`.
    pub(crate) async fn tunnel(&self, target: SocketAddr) -> TcpStream {
        let mut client = TcpStream::connect(self.address).await.unwrap();
        let line = format!("127.0.0.1 {} ada {PASSWORD}\r\n", target.port());
        client.write_all(line.as_bytes()).await.unwrap();
        let mut byte = [0];
        while byte[0] != b'\n' {
            client.read_exact(&mut byte).await.unwrap();
        }
        client
    }

    /// The server's rates of ada, once `enough` of them is so.
    pub(crate) async fn rates(&self, enough: impl Fn(&Value) -> bool) -> Value {
        loop {
            let page = self.json("/api/v1/rates?user=ada").await;
            if let Some(user) = page["users"].get(0).filter(|user| enough(user)) {
                return user.clone();
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }

    /// A field of the head.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        let named = |line: &&str| {
            let field = line.split_once(':');
            field.is_some_and(|(found, _)| found.eq_ignore_ascii_case(name))
        };
        let line = self.head.lines().find(named)?;
        line.split_once(':').map(|(_, value)| value.trim())
    }

    /// That it is a problem document with this status.
    pub(crate) fn assert_problem(&self, status: u16, what: &str) {
        assert_eq!(self.status, status, "{what}: {}", self.body);
        let kind = self.field("content-type");
        assert_eq!(kind, Some("application/problem+json"), "{what}");
        let problem = self.json();
        assert_eq!(problem["status"], status, "{what}");
        for key in ["type", "title", "detail"] {
            assert!(
                problem[key].as_str().is_some_and(|text| !text.is_empty()),
                "{what}"
            );
        }
    }
}

async fn exchange<S>(mut stream: S, method: &str, path: &str, fields: &str, body: &str) -> Answer
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let length = body.len();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {length}\r\n{fields}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8(answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer {
        status,
        head: head.to_owned(),
        body: body.to_owned(),
    }
}

/// Sends bytes without end to whoever connects.
pub(crate) async fn source() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            tokio::spawn(async move { while client.write_all(&[7; 4_096]).await.is_ok() {} });
        }
    });
    address
}

/// Takes whatever comes, and says how much it was at the end.
pub(crate) fn drain(mut stream: TcpStream) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let (mut taken, mut room) = (0, [0; 16_384]);
        while let Ok(bytes @ 1..) = stream.read(&mut room).await {
            taken += bytes as u64;
        }
        taken
    })
}
