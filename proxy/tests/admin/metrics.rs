//! What Prometheus is told.

use std::process::{Command, Stdio};

use proxy::Limits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::support::Proxy;

/// A sample by its name and labels.
fn sample(text: &str, series: &str) -> f64 {
    let line = text.lines().find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(name, _)| name == series)
    });
    let line = line.unwrap_or_else(|| panic!("no {series} in {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

async fn scrape(proxy: &Proxy) -> String {
    let answer = proxy.ask("GET", "/metrics", "").await;
    assert_eq!(
        answer.field("content-type"),
        Some("text/plain; version=0.0.4; charset=utf-8")
    );
    answer.body
}

/// Moves three bytes there and five back.
async fn exchange(proxy: &Proxy) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut room = [0; 3];
        stream.read_exact(&mut room).await.unwrap();
        stream.write_all(b"12345").await.unwrap();
        stream.shutdown().await.unwrap();
        let _ = stream.read(&mut room).await;
    });
    let mut client = proxy.tunnel(target).await;
    client.write_all(b"123").await.unwrap();
    client.shutdown().await.unwrap();
    let mut taken = Vec::new();
    client.read_to_end(&mut taken).await.unwrap();
    assert_eq!(taken, b"12345");
    answering.await.unwrap();
}

#[tokio::test]
async fn bytes_sessions_and_failures_are_counted() {
    let proxy = Proxy::start().await;
    exchange(&proxy).await;
    let mut stranger = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    stranger
        .write_all(b"127.0.0.1 1 ada wrong\r\n")
        .await
        .unwrap();
    stranger.read_to_end(&mut Vec::new()).await.unwrap();
    let text = scrape(&proxy).await;
    let payload = |direction: &str, protocol: &str| {
        let labels = format!("{{direction=\"{direction}\",protocol=\"{protocol}\"}}");
        sample(&text, &format!("weirgate_payload_bytes_total{labels}"))
    };
    assert_eq!((payload("up", "line"), payload("down", "line")), (3.0, 5.0));
    assert_eq!(payload("down", "socks5"), 0.0);
    for (series, value) in [
        ("weirgate_connections_total", 2.0),
        ("weirgate_handshakes_begun_total", 2.0),
        ("weirgate_sessions_begun_total{protocol=\"line\"}", 1.0),
        ("weirgate_failures_total{reason=\"credentials\"}", 1.0),
        ("weirgate_failures_total{reason=\"target-denied\"}", 0.0),
        ("weirgate_session_throttled_seconds_count", 1.0),
        (
            "weirgate_session_throttled_seconds_bucket{le=\"+Inf\"}",
            1.0,
        ),
        ("weirgate_limiter_queue", 0.0),
        ("weirgate_users{standing=\"good\"}", 1.0),
        ("weirgate_database_up", 1.0),
        ("weirgate_draining", 0.0),
        ("weirgate_config_reloads_total{outcome=\"success\"}", 0.0),
    ] {
        assert_eq!(sample(&text, series), value, "{series}");
    }
    assert!(text.contains("weirgate_build_info{version=\""), "{text}");
    assert!(!text.contains("weirgate_user_"), "not asked for");
}

#[tokio::test]
async fn open_metrics_for_those_who_accept_it() {
    let proxy = Proxy::start().await;
    let fields = "Accept: application/openmetrics-text; version=1.0.0,text/plain;q=0.5\r\n";
    let answer = proxy.ask_with("GET", "/metrics", fields, "").await;
    let kind = answer.field("content-type").unwrap();
    assert!(
        kind.starts_with("application/openmetrics-text; version=1.0.0"),
        "{kind}"
    );
    assert!(answer.body.ends_with("# EOF\n"));
    assert!(
        answer
            .body
            .contains("# TYPE weirgate_payload_bytes counter\n")
    );
    assert!(
        answer
            .body
            .contains("# UNIT weirgate_session_throttled_seconds seconds\n")
    );
}

/// Two users have series of their own, the third is among the others; the sum is all.
#[tokio::test]
async fn series_of_users_are_capped() {
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.admin.user_metrics = 1).await;
    let bob = r#"{"name": "bob", "password": "secret"}"#;
    assert_eq!(proxy.ask("POST", "/api/v1/users", bob).await.status, 201);
    exchange(&proxy).await;
    proxy.rates(|user| user["download_bytes"] == 5).await;
    let text = scrape(&proxy).await;
    let of = |user: &str, direction: &str| {
        let labels = format!("{{user=\"{user}\",direction=\"{direction}\"}}");
        sample(&text, &format!("weirgate_user_payload_bytes_total{labels}"))
    };
    assert_eq!((of("ada", "up"), of("ada", "down")), (3.0, 5.0));
    assert_eq!(
        (of("other users", "up"), of("other users", "down")),
        (0.0, 0.0)
    );
    // Whoever comes later is one of the others.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut client = tokio::net::TcpStream::connect(proxy.address).await.unwrap();
    let line = format!("127.0.0.1 {port} bob secret\r\nhello");
    client.write_all(line.as_bytes()).await.unwrap();
    let (mut target, _) = listener.accept().await.unwrap();
    target.read_exact(&mut [0; 5]).await.unwrap();
    let others = loop {
        let text = scrape(&proxy).await;
        assert!(!text.contains("user=\"bob\""), "{text}");
        let series = "weirgate_user_payload_bytes_total{user=\"other users\",direction=\"up\"}";
        let others = sample(&text, series);
        if others > 0.0 {
            break others;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    };
    assert_eq!(others, 5.0);
}

/// Prometheus' own judge of names, types and units.
#[tokio::test]
async fn promtool_finds_nothing_to_complain_of() {
    if Command::new("promtool").arg("--version").output().is_err() {
        assert!(
            std::env::var_os("WEIRGATE_REQUIRE_PROMTOOL").is_none(),
            "promtool is not there"
        );
        return;
    }
    let proxy = Proxy::start_with(Limits::Unlimited, |config| config.admin.user_metrics = 9).await;
    exchange(&proxy).await;
    proxy.rates(|user| user["download_bytes"] == 5).await;
    let text = scrape(&proxy).await;
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut promtool.stdin.take().unwrap(), text.as_bytes()).unwrap();
    let judged = promtool.wait_with_output().unwrap();
    assert!(judged.status.success(), "{judged:?}\n{text}");
    assert!(
        judged.stderr.is_empty() && judged.stdout.is_empty(),
        "{judged:?}"
    );
}
