//! What applications say to the local proxy, and their datagrams.

use tokio::io::AsyncWriteExt;

use crate::home::*;
use crate::support::*;

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
