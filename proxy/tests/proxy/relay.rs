//! Ends, resets, and every byte in between.

use std::time::Duration;

use proxy::{Limits, Usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::support::*;

/// Reproducible bytes that no shift of themselves equals.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    let step = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    };
    (0..len).map(step).collect()
}

async fn usage(proxy: &Proxy, expected: Usage) {
    let settled = async {
        while proxy.users.usage(NAME).unwrap() != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(10), settled).await;
    assert!(
        outcome.is_ok(),
        "{:?}, not {expected:?}",
        proxy.users.usage(NAME)
    );
}

#[tokio::test]
async fn a_client_that_has_finished_still_gets_its_answer() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    // Answers when it has heard everything.
    let target = target(|mut client| async move {
        let mut heard = Vec::new();
        client.read_to_end(&mut heard).await.unwrap();
        client.write_all(&heard).await.unwrap();
    })
    .await;
    for limited in [false, true] {
        if limited {
            let policy = "token-bucket:rate=10MB/s,burst=1500B".parse().unwrap();
            proxy
                .users
                .set_limits(NAME, Limits::Shared(policy))
                .await
                .unwrap();
        }
        let mut client = proxy.line(target).await;
        let said = noise(300_000);
        client.write_all(&said).await.unwrap();
        client.shutdown().await.unwrap();
        assert!(read_to_end(&mut client).await == said, "limited: {limited}");
    }
}

#[tokio::test]
async fn a_target_that_has_finished_still_hears_its_client() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let (heard, said) = (
        noise(300_000),
        std::sync::Arc::new(tokio::sync::Mutex::new(Vec::new())),
    );
    let log = std::sync::Arc::clone(&said);
    let done = std::sync::Arc::new(tokio::sync::Notify::new());
    let ready = std::sync::Arc::clone(&done);
    let target = target(move |mut client| {
        let (log, done) = (std::sync::Arc::clone(&log), std::sync::Arc::clone(&done));
        async move {
            client.write_all(b"bye").await.unwrap();
            client.shutdown().await.unwrap();
            client.read_to_end(&mut *log.lock().await).await.unwrap();
            done.notify_one();
        }
    })
    .await;
    let mut client = proxy.socks5(target).await;
    assert_eq!(
        read_to_end(&mut client).await,
        b"bye",
        "the end comes while this side is open"
    );
    client.write_all(&heard).await.unwrap();
    client.shutdown().await.unwrap();
    in_time(ready.notified()).await;
    assert!(*said.lock().await == heard);
}

#[tokio::test]
async fn a_half_closed_connection_that_falls_silent_is_closed() {
    let idle = Duration::from_millis(200);
    let proxy = Proxy::start_with(Limits::Unlimited, |config| {
        config.timeouts.half_closed = idle
    })
    .await;
    let mut client = proxy
        .line(
            target(|client| async move {
                // Neither says anything nor ends.
                let _open = client;
                std::future::pending::<()>().await;
            })
            .await,
        )
        .await;
    client.shutdown().await.unwrap();
    let ended = in_time(client.read(&mut [0])).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
}

#[tokio::test]
async fn a_reset_is_passed_on_as_a_reset() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let mut client = proxy
        .line(
            target(|mut client| async move {
                let _ = client.read(&mut [0]).await;
                client.set_zero_linger().unwrap();
            })
            .await,
        )
        .await;
    client.write_all(b"x").await.unwrap();
    let ended = in_time(client.read(&mut [0])).await;
    assert_eq!(
        ended.unwrap_err().kind(),
        std::io::ErrorKind::ConnectionReset
    );
}

/// Limits under which bytes are spliced in large pieces, spliced in small ones,
/// copied, and moved as they come.
fn ways() -> [Limits; 4] {
    let shared = |policy: &str| Limits::Shared(policy.parse().unwrap());
    [
        Limits::Unlimited,
        shared("token-bucket:rate=1GB/s,burst=10MB"),
        shared("token-bucket:rate=200MB/s,burst=64KiB"),
        shared("token-bucket:rate=20MB/s,burst=1500B"),
    ]
}

#[tokio::test]
async fn both_ways_at_once_every_byte_arrives_and_is_counted() {
    let target = echo().await;
    let said = noise(4 << 20);
    for limits in ways() {
        let proxy = Proxy::start(limits).await;
        let mut client = proxy.line(target).await;
        let (mut source, mut sink) = client.split();
        let mut heard = Vec::new();
        let send = async {
            sink.write_all(&said).await.unwrap();
            sink.shutdown().await.unwrap();
        };
        let (_, read) = in_time(async { tokio::join!(send, source.read_to_end(&mut heard)) }).await;
        read.unwrap();
        assert!(heard == said, "{limits}");
        let bytes = said.len() as u64;
        usage(
            &proxy,
            Usage {
                upload_bytes: bytes,
                download_bytes: bytes,
            },
        )
        .await;
    }
}

#[tokio::test]
async fn a_slow_reader_gets_every_byte() {
    let said = std::sync::Arc::new(noise(12 << 20));
    let copy = std::sync::Arc::clone(&said);
    let target = target(move |mut client| {
        let said = std::sync::Arc::clone(&copy);
        async move {
            client.write_all(&said).await.unwrap();
        }
    })
    .await;
    for limits in ways().into_iter().take(3) {
        let proxy = Proxy::start(limits).await;
        let mut client = proxy.line(target).await;
        let (mut heard, mut room) = (Vec::new(), vec![0; 700_000]);
        // Long enough for everything on the way to fill up, again and again.
        for pause in [200, 100, 50, 0, 50, 0, 0, 50] {
            tokio::time::sleep(Duration::from_millis(pause)).await;
            let len = in_time(client.read(&mut room)).await.unwrap();
            heard.extend(&room[..len]);
        }
        heard.extend(read_to_end(&mut client).await);
        assert!(heard == *said, "{limits}");
        let bytes = said.len() as u64;
        usage(
            &proxy,
            Usage {
                upload_bytes: 0,
                download_bytes: bytes,
            },
        )
        .await;
    }
}

#[tokio::test]
async fn small_messages_follow_large_ones() {
    let target = echo().await;
    for limits in ways() {
        let proxy = Proxy::start(limits).await;
        let mut client = proxy.line(target).await;
        for len in [1, 16_383, 16_384, 16_385, 2, 70_000, 1, 1, 32_768, 3] {
            let said = noise(len);
            client.write_all(&said).await.unwrap();
            assert!(
                read_exact(&mut client, len).await == said,
                "{limits}: {len}"
            );
        }
    }
}

#[tokio::test]
async fn an_open_connection_that_falls_silent_is_closed_if_so_configured() {
    let change = |config: &mut proxy::Config| config.timeouts.idle = Duration::from_millis(400);
    let proxy = Proxy::start_with(Limits::Unlimited, change).await;
    let mut client = proxy.line(echo().await).await;
    // Longer than the time-out, but never silent for as long.
    for _ in 0..12 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        client.write_all(b"x").await.unwrap();
        assert_eq!(read_exact(&mut client, 1).await, b"x");
    }
    let ended = in_time(client.read(&mut [0])).await;
    assert!(!matches!(ended, Ok(1..)), "{ended:?}");
}

#[tokio::test]
async fn a_reader_that_stops_does_not_stop_the_others_nor_fill_the_proxy() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let mut stalled = proxy.line(flood().await).await;
    stalled.read_exact(&mut [0]).await.unwrap();
    let mut other = proxy.line(echo().await).await;
    other.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut other, 5).await, b"hello");
    // What the flood has sent lies in socket buffers, not in the proxy: it stands still.
    let moved = async {
        loop {
            let before = proxy.users.usage(NAME).unwrap();
            tokio::time::sleep(Duration::from_millis(100)).await;
            if proxy.users.usage(NAME).unwrap() == before {
                return before.download_bytes;
            }
        }
    };
    let moved = in_time(moved).await;
    assert!(moved < 64 << 20, "{moved} bytes for a reader that took one");
}

#[tokio::test]
async fn an_orderly_stop_lets_transfers_end_and_loses_no_account() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let mut client = proxy.line(echo().await).await;
    client.write_all(b"hello").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"hello");
    let (address, users) = (proxy.address, proxy.users.clone());
    let stopping = tokio::spawn(proxy.stop());
    // Refuses new clients, serves the one it has.
    let refused = async { while tokio::net::TcpStream::connect(address).await.is_ok() {} };
    in_time(refused).await;
    client.write_all(b"again").await.unwrap();
    assert_eq!(read_exact(&mut client, 5).await, b"again");
    drop(client);
    let (_, folder) = in_time(stopping).await.unwrap();
    drop(users);
    let database = proxy::Database::file(folder.path().join("users.db"));
    let again = proxy::Users::open(&database, proxy::PasswordCost::LEAST)
        .await
        .unwrap();
    let expected = Usage {
        upload_bytes: 10,
        download_bytes: 10,
    };
    assert_eq!(again.usage(NAME), Some(expected));
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let change = |config: &mut proxy::Config| config.timeouts.drain = Duration::from_millis(50);
    let proxy = Proxy::start_with(Limits::Unlimited, change).await;
    let _client = proxy.line(echo().await).await;
    in_time(proxy.stop()).await;
}
