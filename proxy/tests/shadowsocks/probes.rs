//! What somebody learns who does not know a key.

use std::time::Duration;

use proxy::Limits;
use proxy::protocol::shadowsocks::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::client::*;
use crate::support::{Proxy, echo, in_time};

/// What a client sends: the beginning of a session, recorded.
async fn recorded(access: &proxy::users::Access, target: std::net::SocketAddr) -> Vec<u8> {
    let tap = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut at_tap = access.clone();
    at_tap.port = tap.local_addr().unwrap().port();
    let mut client = connect(&at_tap, target).await;
    client.write_all(b"hello").await.unwrap();
    let (mut tapped, _) = tap.accept().await.unwrap();
    let mut bytes = vec![0; 4_096];
    let len = in_time(tapped.read(&mut bytes)).await.unwrap();
    bytes.truncate(len);
    bytes
}

/// What is heard, and after how long the server closes.
async fn heard(port: u16, bytes: &[u8]) -> (Vec<u8>, Option<std::io::ErrorKind>, Duration) {
    let mut probe = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let since = Instant::now();
    probe.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let end = in_time(probe.read_to_end(&mut answer)).await;
    (answer, end.err().map(|error| error.kind()), since.elapsed())
}

async fn start_impatient(change: impl FnOnce(&mut proxy::config::Shadowsocks)) -> Proxy {
    let mut settings = settings();
    change(&mut settings);
    start_with(settings, |config| {
        config.timeouts.handshake = Duration::from_millis(700)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_fails_learns_nothing() {
    for method in METHODS {
        let proxy = start_impatient(|_| ()).await;
        let target = echo().await;
        let access_of = |secret| access(0, method, &password(method, secret));
        let known = proxy::users::Access {
            port: free_port(),
            ..access_of(1)
        };
        let off = proxy::users::Access {
            port: known.port,
            ..access_of(2)
        };
        add(&proxy, "known", Limits::Unlimited, &known).await;
        // On a port for one, 2022 has no trial for others.
        let replayed = recorded(&known, target).await;
        let mut first = TcpStream::connect(("127.0.0.1", known.port)).await.unwrap();
        first.write_all(&replayed).await.unwrap();
        let answer_len = in_time(first.read(&mut [0; 1_024])).await.unwrap();
        assert!(answer_len > 0, "{method}: the recording itself is served");
        let strangers = recorded(&off, target).await;
        let mut flipped = recorded(&known, target).await;
        // The length opens, the payload does not.
        *flipped.last_mut().unwrap() ^= 1;
        let (first_len, whole) = (method.key_len(), replayed.len());
        let random: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        drop(first);
        let mut probes = tokio::task::JoinSet::new();
        for (what, bytes) in [
            ("nothing", &[][..]),
            ("one byte", &random[..1]),
            ("a salt", &replayed[..first_len]),
            ("all but the last byte", &strangers[..whole - 1]),
            ("a wrong key", &strangers[..]),
            ("noise", &random[..]),
            ("a replay", &replayed[..]),
            ("a flipped bit", &flipped[..]),
        ] {
            let (bytes, port) = (bytes.to_vec(), known.port);
            probes.spawn(async move { (what, heard(port, &bytes).await) });
        }
        while let Some(probe) = probes.join_next().await {
            let (what, (answer, error, after)) = probe.unwrap();
            assert!(answer.is_empty(), "{method}: {what} was answered");
            assert_eq!(error, None, "{method}: {what}");
            let patient = after >= Duration::from_millis(690);
            assert!(patient, "{method}: {what} closed after {after:?}");
        }
        proxy.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_recording_is_not_served_after_a_restart_either() {
    let folder = tempfile::tempdir().unwrap();
    let port = free_port();
    let target = echo().await;
    for method in METHODS {
        let access = access(port, method, &password(method, 1));
        let mut bytes = Vec::new();
        for round in 0..3 {
            let proxy =
                start_impatient(|settings| settings.replay_file = Some(salts(&folder))).await;
            add(&proxy, "known", Limits::Unlimited, &access).await;
            if round == 0 {
                bytes = recorded(&access, target).await;
                let mut first = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                first.write_all(&bytes).await.unwrap();
                assert!(
                    in_time(first.read(&mut [0; 99])).await.unwrap() > 0,
                    "served once"
                );
            }
            for _ in 0..3 {
                let (answer, error, _) = heard(port, &bytes).await;
                assert!(answer.is_empty() && error.is_none(), "{method} {round}");
            }
            proxy.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_copies_that_race_one_is_served() {
    let proxy = start_impatient(|_| ()).await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    add(&proxy, "known", Limits::Unlimited, &access).await;
    let bytes = recorded(&access, echo().await).await;
    let (early, late) = bytes.split_at(bytes.len() - 3);
    let mut copies = Vec::new();
    for _ in 0..20 {
        let mut copy = TcpStream::connect(("127.0.0.1", access.port))
            .await
            .unwrap();
        copy.write_all(early).await.unwrap();
        copies.push(copy);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    for copy in &mut copies {
        let _ = copy.write_all(late).await;
    }
    let mut served = 0;
    for mut copy in copies {
        let mut answer = [0; 64];
        let heard = tokio::time::timeout(Duration::from_millis(300), copy.read(&mut answer));
        served += usize::from(matches!(heard.await, Ok(Ok(1..))));
    }
    assert_eq!(served, 1);
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn our_own_words_sent_back_to_us_are_not_served() {
    let proxy = start_impatient(|_| ()).await;
    let access = access(free_port(), Method::Aes128Gcm, "secret");
    add(&proxy, "known", Limits::Unlimited, &access).await;
    // A target whose words are a request.
    let target = crate::support::target(|mut client| async move {
        let mut words = [0; 5];
        let _ = client.read_exact(&mut words).await;
        let _ = client.write_all(b"\x01\x7f\0\0\x01\0\x50hello").await;
        let _ = client.read(&mut words).await;
    })
    .await;
    let bytes = recorded(&access, target).await;
    let mut session = TcpStream::connect(("127.0.0.1", access.port))
        .await
        .unwrap();
    session.write_all(&bytes).await.unwrap();
    let mut answer = vec![0; 1_024];
    let len = in_time(session.read(&mut answer)).await.unwrap();
    let (heard, error, after) = heard(access.port, &answer[..len]).await;
    assert!(heard.is_empty() && error.is_none());
    assert!(after >= Duration::from_millis(690), "{after:?}");
    proxy.stop().await;
}
