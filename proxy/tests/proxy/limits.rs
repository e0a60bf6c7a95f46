//! Limits over real sockets and in real time.
//!
//! Upper bounds are exact: from before the first byte to now, no more than the
//! burst and what the rate yields may have come. Lower bounds leave room for a
//! machine that is busy with other tests.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use flow::{ByteRate, Policy};
use proxy::{Limits, Usage};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::support::*;

const SECONDS: Duration = Duration::from_secs(2);

fn bucket(rate: u64, burst: u64) -> Policy {
    format!("token-bucket:rate={rate}B/s,burst={burst}B")
        .parse()
        .unwrap()
}

/// What a user has moved so far.
fn moved(proxy: &Proxy) -> u64 {
    let Usage {
        upload_bytes,
        download_bytes,
    } = proxy.users.usage(NAME).unwrap();
    upload_bytes + download_bytes
}

/// Connections that move as much as they can, until dropped.
#[derive(Default)]
struct Floods(JoinSet<()>, Vec<Arc<AtomicU64>>);

impl Floods {
    fn down(&mut self, mut client: TcpStream) {
        let count = self.count();
        self.0.spawn(async move {
            let mut room = vec![0; 64 * 1024];
            while let Ok(read @ 1..) = client.read(&mut room).await {
                count.fetch_add(read as u64, Ordering::Relaxed);
            }
        });
    }

    fn up(&mut self, mut client: TcpStream) {
        let count = self.count();
        self.0.spawn(async move {
            let block = vec![0x5a; 64 * 1024];
            while let Ok(written @ 1..) = client.write(&block).await {
                count.fetch_add(written as u64, Ordering::Relaxed);
            }
        });
    }

    fn count(&mut self) -> Arc<AtomicU64> {
        let count = Arc::new(AtomicU64::new(0));
        self.1.push(Arc::clone(&count));
        count
    }
}

/// Checks what moves in `time`, the beginning included, against a rate and a burst.
async fn holds(
    proxy: &Proxy,
    rate: u64,
    burst: u64,
    time: Duration,
    begin: impl Future<Output = Floods>,
) -> Floods {
    let (before, used) = (Instant::now(), moved(proxy));
    let floods = begin.await;
    let begun = Instant::now();
    tokio::time::sleep(time).await;
    let least = yields(rate, begun.elapsed());
    let moved = moved(proxy) - used;
    let most = burst + yields(rate, before.elapsed());
    assert!(moved <= most, "{moved} bytes, at most {most}");
    assert!(
        moved >= least / 10 * 9,
        "{moved} bytes, at least nine tenths of {least}"
    );
    floods
}

fn yields(rate: u64, time: Duration) -> u64 {
    u64::try_from(u128::from(rate) * time.as_nanos() / 1_000_000_000).unwrap()
}

#[tokio::test]
async fn a_download_keeps_its_limit_from_the_first_byte_on() {
    let proxy = Proxy::start(Limits::down(bucket(50_000, 5_000))).await;
    let target = flood().await;
    let begin = async {
        let mut floods = Floods::default();
        floods.down(proxy.line(target).await);
        floods
    };
    holds(&proxy, 50_000, 5_000, SECONDS, begin).await;
}

#[tokio::test]
async fn an_upload_keeps_its_limit() {
    let proxy = Proxy::start(Limits::up(bucket(50_000, 5_000))).await;
    let target = sink().await;
    let begin = async {
        let mut floods = Floods::default();
        floods.up(proxy.socks5(target).await);
        floods
    };
    holds(&proxy, 50_000, 5_000, SECONDS, begin).await;
}

/// Such a client has sent as much as the window let it before the proxy knows who it is.
/// What does not fit then would be lost, and sent again after pauses that double.
#[tokio::test]
async fn a_slow_upload_that_begins_with_a_flood_does_not_stall() {
    let proxy = Proxy::start(Limits::up(bucket(20_000, 1_500))).await;
    let target = sink().await;
    let begin = async {
        let mut floods = Floods::default();
        floods.up(proxy.line(target).await);
        floods
    };
    holds(&proxy, 20_000, 1_500, 3 * SECONDS, begin).await;
}

/// Both directions and both dialects draw from one budget.
#[tokio::test]
async fn a_shared_limit_is_one_for_both_directions() {
    let proxy = Proxy::start(Limits::Shared(bucket(50_000, 5_000))).await;
    let (source, sink) = (flood().await, sink().await);
    let begin = async {
        let mut floods = Floods::default();
        floods.down(proxy.line(source).await);
        floods.up(proxy.socks5(sink).await);
        floods
    };
    holds(&proxy, 50_000, 5_000, SECONDS, begin).await;
    let Usage {
        upload_bytes,
        download_bytes,
    } = proxy.users.usage(NAME).unwrap();
    assert!(
        upload_bytes > 20_000 && download_bytes > 20_000,
        "{upload_bytes} up, {download_bytes} down"
    );
}

#[tokio::test]
async fn each_direction_may_have_its_own() {
    let limits = Limits::PerDirection {
        up: Some(bucket(20_000, 2_000)),
        down: Some(bucket(60_000, 6_000)),
    };
    let proxy = Proxy::start(limits).await;
    let (source, sink) = (flood().await, sink().await);
    let begin = async {
        let mut floods = Floods::default();
        floods.down(proxy.line(source).await);
        floods.up(proxy.line(sink).await);
        floods
    };
    holds(&proxy, 80_000, 8_000, SECONDS, begin).await;
    let up = proxy.users.usage(NAME).unwrap().upload_bytes;
    assert!(up < 3 * moved(&proxy) / 10, "{up} up of {}", moved(&proxy));
}

#[tokio::test]
async fn connections_share_one_limit_and_share_it_fairly() {
    for connections in [4, 64] {
        let proxy = Proxy::start(Limits::down(bucket(400_000, 4_000))).await;
        let target = flood().await;
        let begin = async {
            let mut floods = Floods::default();
            for _ in 0..connections {
                floods.down(proxy.line(target).await);
            }
            floods
        };
        let floods = holds(&proxy, 400_000, 4_000, SECONDS, begin).await;
        let shares: Vec<_> = floods
            .1
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect();
        let fair = shares.iter().sum::<u64>() / connections;
        // Two turns of half a burst each.
        let least = fair - fair / 10 - 4_000;
        assert!(shares.iter().all(|&share| share >= least), "{shares:?}");
    }
}

/// A new connection brings no new burst.
#[tokio::test]
async fn coming_again_and_again_does_not_help() {
    let proxy = Proxy::start(Limits::down(bucket(10_000, 10_000))).await;
    let target = flood().await;
    let before = Instant::now();
    for _ in 0..20 {
        let mut client = proxy.line(target).await;
        let mut room = vec![0; 64 * 1024];
        let until = tokio::time::sleep(Duration::from_millis(50));
        let read = async { while let Ok(1..) = client.read(&mut room).await {} };
        tokio::select! { () = until => {} () = read => {} }
    }
    let most = 10_000 + yields(10_000, before.elapsed());
    assert!(
        moved(&proxy) <= most,
        "{} bytes, at most {most}",
        moved(&proxy)
    );
}

#[tokio::test]
async fn a_changed_limit_takes_hold_on_open_connections() {
    let proxy = Proxy::start(Limits::down(bucket(1_000, 1_500))).await;
    let mut floods = Floods::default();
    floods.down(proxy.line(flood().await).await);
    // From slow to fast, to another algorithm, to a budget for both directions, to none, and back.
    for (limits, rate, burst) in [
        (Limits::down(bucket(50_000, 1_500)), 50_000, 1_500),
        (
            Limits::down("gcra:rate=20000B/s,burst=1500B".parse().unwrap()),
            20_000,
            1_500,
        ),
        (Limits::Shared(bucket(40_000, 1_500)), 40_000, 1_500),
    ] {
        proxy.users.set_limits(NAME, limits).await.unwrap();
        holds(&proxy, rate, burst, Duration::from_secs(1), async {
            Floods::default()
        })
        .await;
    }
    proxy
        .users
        .set_limits(NAME, Limits::Unlimited)
        .await
        .unwrap();
    let used = moved(&proxy);
    in_time(async {
        while moved(&proxy) < used + 10_000_000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    proxy
        .users
        .set_limits(NAME, Limits::down(bucket(50_000, 1_500)))
        .await
        .unwrap();
    // One read may be under way.
    holds(
        &proxy,
        50_000,
        1_500 + 32 * 1024,
        Duration::from_secs(1),
        async { Floods::default() },
    )
    .await;
}

/// What the seeds could not: less than a chunk, and every size of piece.
#[tokio::test]
async fn a_limit_below_one_packet_works() {
    let proxy = Proxy::start(Limits::Shared(bucket(10, 10))).await;
    let mut client = proxy.line(echo().await).await;
    let before = Instant::now();
    client.write_all(b"0123456789").await.unwrap();
    assert_eq!(read_exact(&mut client, 10).await, b"0123456789");
    // The burst paid for the way there; the way back is paid for at the rate.
    assert!(before.elapsed() >= Duration::from_secs(1));
    assert_eq!(moved(&proxy), 20);
}

/// Each algorithm limits a real connection.
#[tokio::test]
async fn every_algorithm_that_can_wait_limits() {
    let proxy = Proxy::start(Limits::Unlimited).await;
    let target = flood().await;
    for kind in Policy::KINDS {
        let Ok(policy) = Limits::policy(kind, ByteRate::new(100_000), None) else {
            continue;
        };
        if policy == Policy::None {
            continue;
        }
        proxy
            .users
            .add(user(kind, Limits::down(policy)))
            .await
            .unwrap();
        let mut floods = Floods::default();
        floods.down(proxy.line_as(kind, PASSWORD, target).await);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let moved = proxy.users.usage(kind).unwrap().download_bytes;
        // An average at rest lets through eight seconds of rate at once.
        assert!((1..2_000_000).contains(&moved), "{kind}: {moved} bytes");
    }
}

/// Seed 001 served nobody else while it slept on behalf of one.
#[tokio::test]
async fn limited_floods_keep_nobody_else_waiting() {
    let proxy = Proxy::start(Limits::down(bucket(3_000, 3_000))).await;
    proxy
        .users
        .add(user("innocent", Limits::Unlimited))
        .await
        .unwrap();
    let (target, echo) = (flood().await, echo().await);
    let mut floods = Floods::default();
    for _ in 0..100 {
        floods.down(proxy.line(target).await);
    }
    let mut client = proxy.line_as("innocent", PASSWORD, echo).await;
    let before = Instant::now();
    for _ in 0..200 {
        client.write_all(b"hello").await.unwrap();
        assert_eq!(read_exact(&mut client, 5).await, b"hello");
    }
    // The seed needed half a second for each of these.
    assert!(before.elapsed() < Duration::from_secs(50));
}

#[tokio::test]
async fn all_users_together_keep_the_limit_of_the_server() {
    let limit = bucket(400_000, 4_000);
    let change = |config: &mut proxy::Config| {
        config.bandwidth = Some(proxy::Bandwidth { limit, floor: None });
    };
    // One without a limit, one with less than a part, one with more.
    let proxy = Proxy::start_with(Limits::Unlimited, change).await;
    let others = [("slow", 50_000), ("fast", 1_000_000)];
    for (name, rate) in others {
        let limits = Limits::down(bucket(rate, 1_500));
        proxy.users.add(user(name, limits)).await.unwrap();
    }
    let mut floods = Floods::default();
    let target = flood().await;
    for name in [NAME, "slow", "fast"] {
        floods.down(proxy.line_as(name, PASSWORD, target).await);
    }
    let moved = |name: &str| proxy.users.usage(name).unwrap().download_bytes;
    let start = Instant::now();
    tokio::time::sleep(Duration::from_secs(2)).await;
    let got = [NAME, "slow", "fast"].map(moved);
    let most = 4_000.0 + 400_000.0 * start.elapsed().as_secs_f64() + 40_000.0;
    let all: u64 = got.iter().sum();
    assert!(all as f64 <= most, "{got:?}: more than {most}");
    assert!(all >= 700_000, "{got:?}");
    assert!(got[1] <= 110_000, "{got:?}");
    assert!(got[0].abs_diff(got[2]) < 100_000, "{got:?}");
}

#[tokio::test]
async fn the_limit_of_the_server_changes_while_it_runs() {
    let bandwidth = |rate| {
        let limit = bucket(rate, 1_500);
        Some(proxy::Bandwidth { limit, floor: None })
    };
    let folder = tempfile::tempdir().unwrap();
    let mut config = proxy::Config::new(proxy::Database::file(folder.path().join("users.db")));
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.bandwidth = bandwidth(1_000);
    let server = proxy::Server::bind(config.clone()).await.unwrap();
    let handle = server.handle();
    config.bandwidth = bandwidth(2_000);
    assert_eq!(
        handle.reload(config.clone()).unwrap().changed,
        ["bandwidth"]
    );
    config.bandwidth = None;
    assert_eq!(handle.reload(config).unwrap().needs_restart, ["bandwidth"]);
}
