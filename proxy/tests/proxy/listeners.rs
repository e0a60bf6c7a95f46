//! Listeners of their own: which dialects, and who is believed about addresses.

use proxy::protocol::opening::{Opening, Openings};
use proxy::{Limits, Listener};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::auth_target::auth;
use crate::support::*;

fn local() -> Listener {
    Listener::new("127.0.0.1:0".parse().unwrap())
}

/// The header for a connection from 192.0.2.7 port 7.
fn header() -> Vec<u8> {
    let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    bytes.extend([192, 0, 2, 7, 192, 0, 2, 8, 0, 7, 0, 8]);
    bytes
}

#[tokio::test]
async fn a_listener_serves_what_it_is_told_to() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.listen.clear();
        for opening in [
            Opening::Socks5,
            Opening::Http,
            Opening::Line,
            Opening::AuthTarget,
        ] {
            let mut listener = local();
            listener.dialects = Openings::NONE.with(opening);
            config.listeners.push(listener);
        }
    })
    .await;
    let first_words: [(&[u8], &[u8]); 4] = [
        (&[5, 1, 2], &[5, 2]),
        (b"GET / HTTP/1.1\r\n\r\n", b"HTTP/1.1 400 "),
        (b"127.0.0.1 1 nobody x\r\n", b""),
        (&auth(1, "nobody", "x"), &[2]),
    ];
    for (at, &address) in proxy.addresses.iter().enumerate() {
        for (of, (said, answer)) in first_words.iter().enumerate() {
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(said).await.unwrap();
            client.shutdown().await.unwrap();
            let heard = read_to_end(&mut client).await;
            if at == of {
                assert!(heard.starts_with(answer), "{at} {of}: {heard:?}");
            } else {
                // HTTP and the line are text both: the one that is served hears it.
                let as_http = at == 1 && of == 2;
                assert!(heard.is_empty() || as_http, "{at} {of}: {heard:?}");
            }
        }
    }
}

#[tokio::test]
async fn a_balancer_is_believed_where_it_is_listed() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        let mut listed = local();
        listed.proxy_protocol_from = vec!["127.0.0.0/8".parse().unwrap()];
        let mut other = local();
        other.proxy_protocol_from = vec!["10.0.0.0/8".parse().unwrap()];
        config.listeners = vec![listed, other];
    })
    .await;
    let target = echo().await;
    let line = format!("127.0.0.1 {} {NAME} {PASSWORD}\r\n", target.port()).into_bytes();
    let whole = [header(), line.clone()].concat();
    for step in [1, whole.len()] {
        let mut client = TcpStream::connect(proxy.addresses[1]).await.unwrap();
        client.set_nodelay(true).unwrap();
        for piece in whole.chunks(step) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert!(read_line(&mut client).await.ends_with("\r\n"));
    }
    // It need not send one, but not two, nor a broken one.
    let mut client = TcpStream::connect(proxy.addresses[1]).await.unwrap();
    client.write_all(&line).await.unwrap();
    assert!(read_line(&mut client).await.ends_with("\r\n"));
    let mut broken = whole.clone();
    broken[12] = 0x11;
    for (address, bytes) in [
        (proxy.addresses[1], [header(), whole.clone()].concat()),
        (proxy.addresses[1], broken),
        (proxy.addresses[2], whole.clone()),
        (proxy.addresses[0], whole.clone()),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(&bytes).await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"", "{address}");
    }
}
