//! `weirgate-local` between curl and a proxy, in every dialect.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use proxy::tls::{ClientCertificate, TlsFiles};
use proxy::{Limits, Listener, ListenerTls, Registration};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use support::*;

#[expect(dead_code, reason = "other tests use the rest of it")]
#[path = "proxy/support.rs"]
mod support;

/// A folder with certificates, and the account that a test makes in it.
struct Home {
    folder: tempfile::TempDir,
    files: TlsFiles,
}

impl Home {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let authority = KeyPair::generate().unwrap();
        let mut root = CertificateParams::new(Vec::new()).unwrap();
        let name = DnType::CommonName;
        root.distinguished_name.push(name, "an authority");
        root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = root.self_signed(&authority).unwrap().pem();
        std::fs::write(path("roots.pem"), pem).unwrap();
        let key = KeyPair::generate().unwrap();
        let server = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let issuer = Issuer::new(root, authority);
        let certificate = server.signed_by(&key, &issuer).unwrap();
        let files = TlsFiles {
            certificate: path("server.pem"),
            key: path("server.key"),
            client_roots: None,
            client_certificate: ClientCertificate::Required,
        };
        std::fs::write(&files.certificate, certificate.pem()).unwrap();
        std::fs::write(&files.key, key.serialize_pem()).unwrap();
        Self { folder, files }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A proxy where TLS is required and anybody registers.
    async fn proxy(&self) -> Proxy {
        Proxy::start_with(Limits::Unlimited, |config| {
            config.listen.clear();
            for tls in [ListenerTls::Required, ListenerTls::Off] {
                let mut listener = Listener::new("127.0.0.1:0".parse().unwrap());
                listener.tls = tls;
                config.listeners.push(listener);
            }
            config.tls = Some(self.files.clone());
            config.registration = Some(Registration {
                limits: Limits::Unlimited,
                most_users: 10,
            });
        })
        .await
    }

    fn local(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-local"));
        command.arg("--account").arg(self.path("account.toml"));
        command.args(arguments).env_remove("WEIRGATE_PASSWORD");
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn identity(&self, what: &str, name: &str, port: u16, more: &[&str]) -> Output {
        let server = format!("localhost:{port}");
        let mut command = self.local(&[what, name, "--server", &server]);
        command.args(more);
        in_time(command.output()).await.unwrap()
    }

    /// A local proxy that runs, and where.
    async fn run(&self) -> (Child, String) {
        self.run_with(&[]).await
    }

    async fn run_with(&self, more: &[&str]) -> (Child, String) {
        let mut command = self.local(&["run", "--listen", "127.0.0.1:0"]);
        command.args(more);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let line = in_time(lines.next_line()).await.unwrap().unwrap();
        let address = line.strip_prefix("listening ").unwrap().to_owned();
        (child, address)
    }
}

async fn curl(through: &str, url: &str) -> Output {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "50"]);
    command.args(["--proxytunnel", "--proxy", through, url]);
    command
        .output()
        .await
        .expect("curl is installed: .ci/run sees to that")
}

/// A web server that sends back the body it got, 300 kB at most.
async fn web() -> u16 {
    let address = target(|mut client| async move {
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n")
            && client.read_buf(&mut request).await.unwrap_or(0) > 0
        {}
        let head = b"HTTP/1.1 200 OK\r\nContent-Length: 300000\r\nConnection: close\r\n\r\n";
        let _ = client
            .write_all(&[&head[..], &[b'p'; 300_000]].concat())
            .await;
    })
    .await;
    address.port()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[tokio::test]
async fn register_log_in_and_get_pages_in_every_dialect() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let (secure, plain) = (proxy.addresses[0].port(), proxy.addresses[1].port());
    let (password, roots) = (home.path("password"), home.path("roots.pem"));
    std::fs::write(&password, "a pässword with spaces\r\n").unwrap();
    let (password, roots) = (password.to_str().unwrap(), roots.to_str().unwrap());
    let trusting = ["--password-file", password, "--roots", roots];
    let made = home.identity("register", "new", secure, &trusting).await;
    assert!(made.status.success(), "{made:?}");
    assert!(proxy.users.get("new").is_some());
    let again = home.identity("register", "new", secure, &trusting).await;
    assert_eq!(again.status.code(), Some(2), "{again:?}");
    let page = web().await;
    for (dialect, how, port) in [
        ("socks5", &trusting[..], secure),
        ("http", &trusting, secure),
        ("line", &trusting, secure),
        ("auth-target", &trusting, secure),
        (
            "socks5",
            &["--password-file", password, "--insecure-plain"],
            plain,
        ),
    ] {
        let how = [how, &["--dialect", dialect, "--save-password"]].concat();
        let login = home.identity("login", "new", port, &how).await;
        assert!(login.status.success(), "{dialect}: {login:?}");
        for file in ["account.toml", "account.password"] {
            assert_eq!(mode(&home.path(file)), 0o600, "{file}");
        }
        let account = std::fs::read_to_string(home.path("account.toml")).unwrap();
        assert!(!account.contains("pässword"));
        let (_running, address) = home.run().await;
        for scheme in ["socks5h", "http"] {
            let through = format!("{scheme}://{address}");
            let got = curl(&through, &format!("http://127.0.0.1:{page}/")).await;
            assert_eq!(
                got.stdout, [b'p'; 300_000],
                "{dialect} {scheme}: {}",
                got.status
            );
        }
        // What the remote says no to, the application hears; the dialects of the
        // seeds have no word for it before (line) or at all (auth-target).
        let closed = format!("http://127.0.0.1:{}/", closed_port().await);
        let got = curl(&format!("http://{address}"), &closed).await;
        let codes: &[i32] = if dialect == "auth-target" {
            &[52, 56]
        } else {
            &[56]
        };
        assert!(
            codes.contains(&got.status.code().unwrap()),
            "{dialect}: {got:?}"
        );
    }
}

#[tokio::test]
async fn what_is_wrong_is_said_and_nothing_is_kept() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let port = proxy.addresses[0].port();
    let (password, wrong) = (home.path("right"), home.path("wrong"));
    std::fs::write(&password, PASSWORD).unwrap();
    std::fs::write(&wrong, "wrong").unwrap();
    let (password, wrong) = (password.to_str().unwrap(), wrong.to_str().unwrap());
    let roots = home.path("roots.pem");
    let roots = roots.to_str().unwrap();
    for (more, code) in [
        // A password that is wrong, a server that nobody vouches for, one that wants TLS.
        (&["--roots", roots, "--password-file", wrong][..], 2),
        (&["--password-file", password], 1),
        (&["--password-file", password, "--insecure-plain"], 1),
    ] {
        let login = home.identity("login", NAME, port, more).await;
        assert_eq!(login.status.code(), Some(code), "{more:?}: {login:?}");
        assert!(!home.path("account.toml").exists());
    }
    let run = in_time(home.local(&["run"]).output()).await.unwrap();
    assert_eq!(run.status.code(), Some(2), "nobody has logged in: {run:?}");
    // From the environment, and not kept.
    let server = format!("localhost:{port}");
    let mut login = home.local(&["login", NAME, "--server", &server, "--roots", roots]);
    login.env("WEIRGATE_PASSWORD", PASSWORD);
    let login = in_time(login.output()).await.unwrap();
    assert!(login.status.success(), "{login:?}");
    assert!(!home.path("account.password").exists());
    // Others could read it.
    let kept = home.path("account.password");
    std::fs::write(&kept, PASSWORD).unwrap();
    std::fs::set_permissions(&kept, std::fs::Permissions::from_mode(0o644)).unwrap();
    let run = in_time(home.local(&["run"]).output()).await.unwrap();
    assert_eq!(run.status.code(), Some(2), "{run:?}");
}

/// An origin that says what it got, as often as it is asked on one connection.
async fn mirror() -> u16 {
    let address = target(|mut client| async move {
        let mut got = Vec::new();
        while client.read_buf(&mut got).await.unwrap_or(0) > 0 {
            let text = String::from_utf8_lossy(&got).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let length = head.to_ascii_lowercase();
            let length = length
                .split_once("content-length: ")
                .map_or(0, |(_, rest)| rest.lines().next().unwrap().parse().unwrap());
            if body.len() >= length {
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
                    text.len()
                );
                let _ = client.write_all(answer.as_bytes()).await;
                got.clear();
            }
        }
    })
    .await;
    address.port()
}

#[tokio::test]
async fn plain_http_goes_through_without_a_tunnel() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let server = format!("localhost:{}", proxy.addresses[1].port());
    let mut login = home.local(&["login", NAME, "--server", &server, "--insecure-plain"]);
    login
        .arg("--save-password")
        .env("WEIRGATE_PASSWORD", PASSWORD);
    assert!(in_time(login.output()).await.unwrap().status.success());
    let (_running, address) = home.run().await;
    let url = format!("http://127.0.0.1:{}/x?y", mirror().await);
    let large = "z".repeat(200_000);
    std::fs::write(home.path("body"), &large).unwrap();
    let file = format!("@{}", home.path("body").display());
    for (more, expected) in [
        (vec![url.as_str(), &url], "GET /x?y HTTP/1.1"),
        (vec!["--data-binary", &file, &url], "POST /x?y HTTP/1.1"),
    ] {
        let mut command = Command::new("curl");
        command.args(["--silent", "--show-error", "--max-time", "50", "--proxy"]);
        let got = in_time(command.arg(&address).args(&more).output())
            .await
            .unwrap();
        let text = String::from_utf8(got.stdout).unwrap();
        assert!(text.starts_with(expected), "{text}");
        assert!(text.contains("Via: 1.1 weirgate\r\n") && text.contains("Connection: close"));
        match more[0] {
            "--data-binary" => assert!(text.ends_with(&large)),
            // Two requests, though a connection carries one.
            _ => assert_eq!(text.matches(expected).count(), 2, "{text}"),
        }
    }
}

#[cfg(feature = "https-service")]
#[tokio::test]
async fn fetch_prints_and_tells_by_its_exit_code() {
    let home = Home::new();
    let service = proxy::HttpsService {
        listen: vec!["127.0.0.1:0".parse().unwrap()],
        ..proxy::HttpsService::default()
    };
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.listen.clear();
        config.https_service = Some(service);
        config.tls = Some(home.files.clone());
    })
    .await;
    let port = proxy.address.port().to_string();
    let url = format!("http://127.0.0.1:{}/", mirror().await);
    let roots = home.path("roots.pem");
    let roots = roots.to_str().unwrap();
    let secure = ["--user", NAME, "--tls", "--roots", roots];
    let fetch = async |arguments: &[&str]| {
        let mut command = home.local(&["fetch"]);
        command.args(arguments).env("WEIRGATE_PASSWORD", PASSWORD);
        let output = in_time(command.output()).await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (
            output.status.code(),
            text(output.stdout),
            text(output.stderr),
        )
    };
    let post = [&[&url, "POST", "localhost", &port, "a=1"], &secure[..]].concat();
    let (code, out, err) = fetch(&post).await;
    assert_eq!(code, Some(0), "{err}");
    assert!(out.starts_with("Status: 200\n"), "{out}");
    assert!(out.contains("POST / HTTP/1.1") && out.contains("a=1"));
    let file = home.path("page");
    let output = ["-H", "X-A: 1", "--json", "--output", file.to_str().unwrap()];
    let get = [&[&url, "GET", "localhost", &port], &output[..], &secure].concat();
    let (code, out, _) = fetch(&get).await;
    assert_eq!(code, Some(0));
    let answer: serde_json::Value = serde_json::from_str(&out).unwrap();
    let page = std::fs::read_to_string(&file).unwrap();
    assert_eq!(answer["body"], page);
    assert!(page.contains("x-a: 1\r\n"), "{page}");
    let refused = ["http://10.0.0.1/", "GET", "localhost", &port];
    for (arguments, expected) in [
        // Nobody says who asks; the target is forbidden; the target is not there.
        (vec![&url, "GET", "localhost", &port], 4),
        ([&refused, &secure[..]].concat(), 4),
        (
            [&["http://127.0.0.1:1/"], &refused[1..], &secure].concat(),
            5,
        ),
        // The password would be seen; nobody listens.
        (vec![&url, "GET", "localhost", &port, "--user", NAME], 2),
        (vec![&url, "GET", "localhost", "1"], 1),
    ] {
        let (code, _, err) = fetch(&arguments).await;
        assert_eq!(code, Some(expected), "{arguments:?}: {err}");
        assert!(err.starts_with("error: "), "{err}");
    }
}

/// An association of an application's with a local proxy: what it hears, and if that is
/// yes, the connection that it lives with and where datagrams go.
async fn associate(local: &str) -> (u8, tokio::net::TcpStream, std::net::SocketAddr) {
    let mut control = tokio::net::TcpStream::connect(local).await.unwrap();
    let words = [5, 1, 0, 5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
    control.write_all(&words).await.unwrap();
    let reply = read_exact(&mut control, 12).await;
    assert_eq!(reply[..3], [5, 0, 5]);
    let ip: [u8; 4] = reply[6..10].try_into().unwrap();
    let port = u16::from_be_bytes([reply[10], reply[11]]);
    (reply[3], control, (ip, port).into())
}

#[tokio::test]
async fn datagrams_go_where_the_dialect_has_them_and_are_refused_elsewhere() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let target = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let port = target.local_addr().unwrap().port();
    let servers = [0, 1].map(|index| format!("localhost:{}", proxy.addresses[index].port()));
    let roots = home.path("roots.pem");
    let roots = ["--roots", roots.to_str().unwrap()];
    let plain = ["--insecure-plain"];
    for (dialect, server, trust, run, expected) in [
        ("http", &servers[1], &plain[..], &[][..], 7),
        ("line", &servers[1], &plain, &[], 7),
        ("auth-target", &servers[1], &plain, &[], 7),
        // Datagrams would not be under TLS.
        ("socks5", &servers[0], &roots, &[], 7),
        ("socks5", &servers[0], &roots, &["--plain-datagrams"], 0),
        ("socks5", &servers[1], &plain, &[], 0),
    ] {
        let mut login = home.local(&["login", NAME, "--server", server, "--save-password"]);
        login.args(["--dialect", dialect]).args(trust);
        login.env("WEIRGATE_PASSWORD", PASSWORD);
        let login = in_time(login.output()).await.unwrap();
        assert!(login.status.success(), "{login:?}");
        let (_running, local) = home.run_with(run).await;
        let (code, control, relay) = associate(&local).await;
        assert_eq!(code, expected, "{dialect} {run:?}");
        if code != 0 {
            continue;
        }
        let application = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let header = [&[0, 0, 0, 1, 127, 0, 0, 1][..], &port.to_be_bytes()].concat();
        let name = b"\0\0\0\x03\x09127.0.0.1";
        let named = [&name[..], &port.to_be_bytes()].concat();
        // A fragment and nonsense are dropped; an empty datagram is one.
        let fragment = [&[0, 0, 1][..], &header[3..], b"fragment"].concat();
        for bytes in [&fragment, &b"nonsense"[..]] {
            application.send_to(bytes, relay).await.unwrap();
        }
        let large = vec![7; 40_000];
        for (to, data) in [
            (&header, &b"hello"[..]),
            (&named, b"by name"),
            (&header, b""),
            (&header, &large),
        ] {
            application
                .send_to(&[to, data].concat(), relay)
                .await
                .unwrap();
            let mut bytes = vec![0; 65_535];
            let (len, from) = in_time(target.recv_from(&mut bytes)).await.unwrap();
            assert_eq!(&bytes[..len], data);
            // A stranger on this host is not heard, the application is.
            let stranger = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
            let words = [&header[..], b"stranger"].concat();
            stranger.send_to(&words, relay).await.unwrap();
            target.send_to(&bytes[..len], from).await.unwrap();
            let (len, from) = in_time(application.recv_from(&mut bytes)).await.unwrap();
            assert_eq!(
                (&bytes[..len], from),
                (&[&header, data].concat()[..], relay)
            );
        }
        let moved = || proxy.users.usage(NAME).unwrap().upload_bytes;
        assert!(moved() >= 40_012 && moved() % 40_012 == 0, "{}", moved());
        // The association ends with the application's connection.
        drop(control);
        in_time(async {
            while tokio::net::UdpSocket::bind(relay).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
    }
}

/// What applications may say, byte by byte.
#[tokio::test]
async fn applications_hear_what_their_protocol_says() {
    let home = Home::new();
    let proxy = home.proxy().await;
    let server = format!("localhost:{}", proxy.addresses[1].port());
    let plain = ["login", NAME, "--server", &server, "--insecure-plain"];
    let mut login = home.local(&plain);
    login
        .arg("--save-password")
        .env("WEIRGATE_PASSWORD", PASSWORD);
    assert!(in_time(login.output()).await.unwrap().status.success());
    let (_running, address) = home.run().await;
    let target = echo().await;
    let private: std::net::SocketAddr = "10.255.255.1:80".parse().unwrap();
    let refused = |code: u8| vec![5, 0, 5, code, 0, 1, 0, 0, 0, 0, 0, 0];
    let socks5 = |target| [vec![5, 1, 0], socks5_connect(target)].concat();
    let mut early = socks5(target);
    early.extend(b"early");
    for (bytes, answer) in [
        (early, [refused(0), b"early".to_vec()].concat()),
        (socks5(private), refused(2)),
        (
            socks5(([127, 0, 0, 1], closed_port().await).into()),
            refused(5),
        ),
        (vec![5, 1, 0, 5, 2, 0, 1, 0, 0, 0, 0, 0, 0], refused(7)),
        (vec![5, 1, 2], vec![5, 0xff]),
        (vec![4, 1, 0, 80], vec![]),
    ] {
        for step in [1, bytes.len()] {
            let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
            client.set_nodelay(true).unwrap();
            for piece in bytes.chunks(step) {
                client.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            client.shutdown().await.unwrap();
            assert_eq!(read_to_end(&mut client).await, answer, "{bytes:?}");
        }
    }
    for (request, status) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "400"),
        (
            "GET http://10.255.255.1/ HTTP/1.1\r\nHost: a\r\n\r\n",
            "403",
        ),
        ("CONNECT 10.255.255.1:80 HTTP/1.1\r\nHost: a\r\n\r\n", "403"),
    ] {
        let mut client = tokio::net::TcpStream::connect(&address).await.unwrap();
        client.write_all(request.as_bytes()).await.unwrap();
        let answer = String::from_utf8(read_to_end(&mut client).await).unwrap();
        let start = format!("HTTP/1.1 {status} ");
        assert!(answer.starts_with(&start), "{request}: {answer}");
    }
}

/// A port that nobody has, by TCP nor by UDP.
#[cfg(feature = "shadowsocks")]
fn both_ports() -> u16 {
    loop {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        if std::net::UdpSocket::bind(address).is_ok() {
            return address.port();
        }
    }
}

#[cfg(feature = "shadowsocks")]
#[tokio::test(flavor = "multi_thread")]
async fn shadowsocks_to_the_server_by_tcp_and_udp() {
    use proxy::protocol::shadowsocks::Method;
    use tokio::net::{TcpStream, UdpSocket};

    let home = Home::new();
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.shadowsocks = Some(proxy::config::Shadowsocks {
            listen: [127, 0, 0, 1].into(),
            ..proxy::config::Shadowsocks::default()
        });
    })
    .await;
    let (page, password) = (web().await, home.path("password"));
    // Says something before it is asked.
    let speaks_first = target(|mut client| async move {
        let _ = client.write_all(b"220 hello\r\n").await;
    })
    .await;
    let datagrams = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let to = datagrams.local_addr().unwrap();
    tokio::spawn(async move {
        let mut bytes = [0; 2_048];
        while let Ok((len, from)) = datagrams.recv_from(&mut bytes).await {
            let _ = datagrams.send_to(&bytes[..len], from).await;
        }
    });
    for method in Method::ALL.into_iter().skip(1) {
        let secret = match method.key_len() {
            16 if method.is_2022() => "AAECAwQFBgcICQoLDA0ODw==:Dw4NDAsKCQgHBgUEAwIBAA==",
            32 if method.is_2022() => "AAECAwQFBgcICQoLDA0ODwABAgMEBQYHCAkKCwwNDg8=",
            _ => "pässword",
        };
        let (port, name) = (both_ports(), format!("user-{method}"));
        proxy
            .users
            .add(user(&name, Limits::Unlimited))
            .await
            .unwrap();
        let access = proxy::users::Access {
            number: None,
            port,
            method,
            password: secret.to_owned(),
        };
        let given = proxy.users.set_shadowsocks(&name, Some(access)).await;
        given.unwrap();
        in_time(async {
            while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        })
        .await;
        std::fs::write(&password, secret).unwrap();
        let how = ["--password-file", password.to_str().unwrap()];
        let how = [&how[..], &["--save-password", "--dialect", method.name()]].concat();
        let login = home.identity("login", NAME, port, &how).await;
        assert!(login.status.success(), "{method}: {login:?}");
        let (_running, address) = home.run().await;
        for scheme in ["socks5h", "http"] {
            let through = format!("{scheme}://{address}");
            let got = curl(&through, &format!("http://127.0.0.1:{page}/")).await;
            assert_eq!(got.stdout, [b'p'; 300_000], "{method} {scheme}: {got:?}");
        }
        let mut silent = TcpStream::connect(&address).await.unwrap();
        silent.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read_exact(&mut silent, 2).await, [5, 0]);
        silent
            .write_all(&socks5_connect(speaks_first))
            .await
            .unwrap();
        assert_eq!(read_exact(&mut silent, 10).await[..2], [5, 0]);
        assert_eq!(read_exact(&mut silent, 11).await, b"220 hello\r\n");

        let mut control = TcpStream::connect(&address).await.unwrap();
        control.write_all(&[5, 1, 0]).await.unwrap();
        assert_eq!(read_exact(&mut control, 2).await, [5, 0]);
        let associate = [5, 3, 0, 1, 0, 0, 0, 0, 0, 0];
        control.write_all(&associate).await.unwrap();
        let reply = read_exact(&mut control, 10).await;
        assert_eq!(reply[..8], [5, 0, 0, 1, 127, 0, 0, 1], "{method}");
        let relay = ("127.0.0.1", u16::from_be_bytes([reply[8], reply[9]]));
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let stranger = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        for round in 0..20_u8 {
            let mut sent = vec![0, 0, 0, 1, 127, 0, 0, 1];
            sent.extend(to.port().to_be_bytes());
            sent.extend([round; 1_000]);
            socket.send_to(&sent, relay).await.unwrap();
            let mut heard = [0; 2_048];
            let len = in_time(socket.recv(&mut heard)).await.unwrap();
            assert_eq!(heard[..len], sent, "{method}");
            // One association has one client, and nonsense harms nobody.
            stranger.send_to(&sent, relay).await.unwrap();
            socket.send_to(&sent[..7], relay).await.unwrap();
        }
        let usage = proxy.users.usage(&name).unwrap();
        assert!(usage.download_bytes >= 600_000, "{method}: {usage:?}");
    }
    // A key that is none.
    std::fs::write(&password, "short").unwrap();
    let how = ["--password-file", password.to_str().unwrap()];
    let how = [&how[..], &["--dialect", "2022-blake3-aes-128-gcm"]].concat();
    let login = home.identity("login", NAME, 1, &how).await;
    assert_eq!(login.status.code(), Some(2), "{login:?}");
}
