//! Seed 000's AUTH/TARGET dialect byte by byte.

use std::net::SocketAddr;

use proxy::{Limits, Registration};
use tokio::io::AsyncWriteExt;

use crate::support::*;

pub(crate) fn auth(operation: u8, name: &str, password: &str) -> Vec<u8> {
    let len = |text: &str| u8::try_from(text.len()).unwrap();
    let mut bytes = vec![operation, len(name)];
    bytes.extend(name.as_bytes());
    bytes.push(len(password));
    bytes.extend(password.as_bytes());
    bytes
}

pub(crate) fn ask(target: SocketAddr, user: &str) -> Vec<u8> {
    let host = target.ip().to_string();
    let mut bytes = vec![u8::try_from(host.len()).unwrap()];
    bytes.extend(host.as_bytes());
    bytes.extend(target.port().to_be_bytes());
    bytes.push(u8::try_from(user.len()).unwrap());
    bytes.extend(user.as_bytes());
    bytes
}

fn open_to_all() -> Registration {
    Registration {
        limits: Limits::Shared("token-bucket:rate=5000B/s,burst=5000B".parse().unwrap()),
        most_users: 3,
    }
}

async fn said(proxy: &Proxy, bytes: &[u8]) -> Vec<u8> {
    let mut client = proxy.connect().await;
    client.write_all(bytes).await.unwrap();
    client.shutdown().await.unwrap();
    read_to_end(&mut client).await
}

#[tokio::test]
async fn login_and_target_however_they_are_split() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let whole = [
        auth(1, NAME, PASSWORD),
        ask(target, NAME),
        b"early".to_vec(),
    ]
    .concat();
    for step in [1, 3, whole.len()] {
        let mut client = proxy.connect().await;
        client.set_nodelay(true).unwrap();
        for piece in whole.chunks(step) {
            client.write_all(piece).await.unwrap();
            tokio::task::yield_now().await;
        }
        client.shutdown().await.unwrap();
        assert_eq!(read_to_end(&mut client).await, b"\x01early", "{step}");
    }
}

#[tokio::test]
async fn refusals_are_the_dialects_own() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = echo().await;
    let closed: SocketAddr = ([127, 0, 0, 1], closed_port().await).into();
    let private: SocketAddr = "10.255.255.1:80".parse().unwrap();
    let login = auth(1, NAME, PASSWORD);
    for (bytes, reply) in [
        (auth(1, NAME, "wrong"), &[10][..]),
        (auth(1, "nobody", PASSWORD), &[2]),
        (auth(1, "", ""), &[2]),
        ([login.clone(), ask(closed, NAME)].concat(), &[1]),
        ([login.clone(), ask(private, NAME)].concat(), &[1]),
        // Somebody else's account, and nobody's.
        ([login.clone(), ask(target, "bob")].concat(), &[1]),
        ([login.clone(), ask(target, "")].concat(), &[1]),
        // Registration is off.
        (auth(0, "new", "password"), &[]),
        (auth(0, NAME, PASSWORD), &[]),
    ] {
        assert_eq!(said(&proxy, &bytes).await, reply, "{bytes:?}");
    }
    // Any other operation is refused, as the first byte or after a login.
    for operation in 2..=255 {
        let bytes = auth(operation, NAME, PASSWORD);
        let answer = said(&proxy, &bytes).await;
        assert!(!answer.starts_with(&[1]), "{operation}: {answer:?}");
        assert!(proxy.users.get("new").is_none());
    }
}

#[tokio::test]
async fn whoever_may_register_does_so_once_and_logs_in_then() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.registration = Some(open_to_all());
    })
    .await;
    let target = echo().await;
    // One byte at a time.
    let mut client = proxy.connect().await;
    client.set_nodelay(true).unwrap();
    for byte in auth(0, "new", "a password") {
        client.write_all(&[byte]).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert_eq!(read_to_end(&mut client).await, [0]);
    assert_eq!(proxy.users.get("new").unwrap().limits, open_to_all().limits);
    // The name is taken: no reply, and the password stays as it was.
    assert_eq!(said(&proxy, &auth(0, "new", "another")).await, b"");
    assert_eq!(said(&proxy, &auth(1, "new", "another")).await, [10]);
    let bytes = [
        auth(1, "new", "a password"),
        ask(target, "new"),
        b"x".to_vec(),
    ]
    .concat();
    let mut client = proxy.connect().await;
    client.write_all(&bytes).await.unwrap();
    assert_eq!(read_exact(&mut client, 2).await, b"\x01x");
    // What cannot be a name or a password, and one user too many.
    for (name, password) in [
        ("", "p"),
        ("a b", "p"),
        ("a\n", "p"),
        ("b", ""),
        ("b", "\r\n"),
    ] {
        assert_eq!(said(&proxy, &auth(0, name, password)).await, b"");
    }
    assert_eq!(said(&proxy, b"\x00\x01\xff\x01p").await, b"");
    assert_eq!(said(&proxy, &auth(0, "third", "p")).await, [0]);
    assert_eq!(said(&proxy, &auth(0, "fourth", "p")).await, b"");
    assert_eq!(proxy.users.count(), 3);
}
