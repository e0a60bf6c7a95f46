//! What happens now, and what an operator does about it.

use std::time::Duration;

use proxy::Limits;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::support::{Proxy, drain, source};

fn limited(rate: &str) -> Limits {
    Limits::down(
        format!("token-bucket:rate={rate},burst=1500B")
            .parse()
            .unwrap(),
    )
}

fn down(user: &Value) -> u64 {
    user["down_Bps"]["instantaneous"].as_u64().unwrap_or(0)
}

#[tokio::test]
async fn a_changed_rate_holds_at_once_on_what_runs() {
    let proxy = Proxy::start_with(limited("50kB/s"), |_| ()).await;
    let taking = drain(proxy.tunnel(source().await).await);
    let slow = proxy.rates(|user| down(user) > 40_000).await;
    assert!(down(&slow) < 60_000, "{slow}");
    assert_eq!(slow["limit_down_Bps"], 50_000);
    assert_eq!(slow["connections"], 1);
    assert!(slow["throttled_share"].as_f64().unwrap() > 0.5, "{slow}");
    let answer = proxy
        .ask("PATCH", "/api/v1/users/ada", r#"{"rate_down": "400 kB/s"}"#)
        .await;
    assert_eq!(answer.status, 200);
    let fast = proxy.rates(|user| down(user) > 300_000).await;
    assert!(down(&fast) < 450_000, "{fast}");
    assert_eq!(fast["limit_down_Bps"], 400_000);
    taking.abort();
}

#[tokio::test]
async fn a_killed_session_ends_and_others_go_on() {
    let proxy = Proxy::start().await;
    let target = source().await;
    let (first, second) = (proxy.tunnel(target).await, proxy.tunnel(target).await);
    let taking = [drain(first), drain(second)];
    let page = proxy.json("/api/v1/sessions?user=ada").await;
    assert_eq!(page["open"], 2);
    let one = &page["sessions"][0];
    assert_eq!(
        (&one["protocol"], &one["user"]),
        (&"line".into(), &"ada".into())
    );
    assert_eq!(one["target"], target.to_string());
    let path = format!("/api/v1/sessions/{}", one["id"]);
    assert_eq!(proxy.ask("GET", &path, "").await.status, 200);
    assert_eq!(proxy.ask("DELETE", &path, "").await.status, 204);
    let [first, second] = taking;
    assert!(first.await.unwrap() > 0);
    assert!(!second.is_finished());
    let page = loop {
        let page = proxy.json("/api/v1/sessions").await;
        if page["open"] == 1 {
            break page;
        }
        tokio::task::yield_now().await;
    };
    assert_ne!(page["sessions"][0]["id"], one["id"]);
    assert_eq!(
        proxy.json("/api/v1/sessions?user=bob").await["sessions"],
        Value::Array(vec![])
    );
    let killed = proxy.ask("DELETE", "/api/v1/users/ada/sessions", "").await;
    assert_eq!(killed.json()["killed"], 1);
    second.await.unwrap();
}

#[tokio::test]
async fn events_come_each_second() {
    let proxy = Proxy::start_with(limited("20kB/s"), |_| ()).await;
    let taking = drain(proxy.tunnel(source().await).await);
    let mut stream = TcpStream::connect(proxy.tcp).await.unwrap();
    let request = format!("GET /api/v1/events HTTP/1.1\r\nHost: {}\r\n\r\n", proxy.tcp);
    stream.write_all(request.as_bytes()).await.unwrap();
    let (mut said, mut room) = (String::new(), [0; 4_096]);
    let users = |said: &str| said.matches("event: user").count();
    while users(&said) < 3 || !said.ends_with("\n\n") {
        let read = stream.read(&mut room).await.unwrap();
        assert!(read > 0, "{said}");
        // Chunks end in CRLF, events in LF.
        said.push_str(&String::from_utf8_lossy(&room[..read]).replace("\r\n", ""));
    }
    assert!(
        said.to_ascii_lowercase()
            .contains("content-type: text/event-stream"),
        "{said}"
    );
    let data = |kind: &str| -> Vec<Value> {
        let start = format!("event: {kind}\n");
        said.split(&start)
            .skip(1)
            .map(|event| {
                let data = event.split("data: ").nth(1).unwrap();
                serde_json::from_str(data.split('\n').next().unwrap()).unwrap()
            })
            .collect()
    };
    let sequence: Vec<_> = data("server")
        .iter()
        .map(|it| it["sequence"].as_u64().unwrap())
        .collect();
    assert!(
        sequence.windows(2).all(|pair| pair[1] > pair[0]),
        "{sequence:?}"
    );
    for user in data("user") {
        assert_eq!(user["name"], "ada");
        assert!(user["down_Bps"]["peak"].as_u64() >= user["down_Bps"]["smoothed"].as_u64());
    }
    taking.abort();
}

/// The text frames of a WebSocket, as the console of seed 001's sibling has them.
#[tokio::test]
async fn the_console_sends_two_numbers() {
    let proxy = Proxy::start_with(limited("20kB/s"), |_| ()).await;
    let taking = drain(proxy.tunnel(source().await).await);
    let mut socket = TcpStream::connect(proxy.tcp).await.unwrap();
    let request = format!(
        "GET /api/v1/console HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        proxy.tcp
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(socket.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101"), "{head}");
    assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    loop {
        assert_eq!(socket.read_u8().await.unwrap(), 0x81, "one whole text");
        let mut text = vec![0; usize::from(socket.read_u8().await.unwrap())];
        socket.read_exact(&mut text).await.unwrap();
        let text = String::from_utf8(text).unwrap();
        let (up, down) = text.split_once(' ').unwrap();
        assert!(up.ends_with(".00") && down.ends_with(".00"), "{text}");
        let down: f64 = down.parse().unwrap();
        if down > 15_000.0 {
            assert!(down < 25_000.0, "{text}");
            break;
        }
    }
    taking.abort();
}

#[tokio::test]
async fn a_quota_that_runs_out_is_posted() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hook = listener.local_addr().unwrap();
    let proxy = Proxy::start_with(limited("50kB/s"), |config| {
        config.admin.webhook = Some(format!("http://{hook}/weirgate").parse().unwrap());
    })
    .await;
    let quota = proxy
        .ask("PATCH", "/api/v1/users/ada", r#"{"quota": "500kB/daily"}"#)
        .await;
    assert_eq!(quota.status, 200);
    let taking = drain(proxy.tunnel(source().await).await);
    let mut percents = Vec::new();
    while percents.len() < 2 {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut posted = String::new();
        while !posted.ends_with('}') {
            let mut room = [0; 1_024];
            let read = stream.read(&mut room).await.unwrap();
            posted.push_str(&String::from_utf8_lossy(&room[..read]));
        }
        let answer = "HTTP/1.1 204 No Content\r\n\r\n";
        stream.write_all(answer.as_bytes()).await.unwrap();
        assert!(
            posted.starts_with("POST /weirgate HTTP/1.1\r\n"),
            "{posted}"
        );
        let body: Value = serde_json::from_str(posted.split("\r\n\r\n").nth(1).unwrap()).unwrap();
        assert_eq!(
            (&body["kind"], &body["user"]),
            (&"quota".into(), &"ada".into())
        );
        percents.push(body["percent"].as_u64().unwrap());
    }
    assert!(
        (80..95).contains(&percents[0]) && percents[1] >= 95,
        "{percents:?}"
    );
    taking.abort();
}

#[tokio::test]
async fn a_server_that_drains_says_so_until_it_has_stopped() {
    let proxy = Proxy::start().await;
    assert_eq!(proxy.ask("GET", "/readyz", "").await.status, 200);
    let open = proxy.tunnel(source().await).await;
    assert_eq!(proxy.ask("POST", "/api/v1/drain", "").await.status, 202);
    let ready = proxy.ask("GET", "/readyz", "").await;
    assert_eq!(ready.status, 503);
    assert_eq!(
        (&ready.json()["draining"], &ready.json()["database"]),
        (&true.into(), &true.into())
    );
    assert_eq!(proxy.ask("GET", "/livez", "").await.status, 200);
    assert_eq!(proxy.json("/api/v1/sessions").await["open"], 1);
    assert!(!proxy.running.is_finished());
    drop(open);
    let done = tokio::time::timeout(Duration::from_secs(60), proxy.running).await;
    done.expect("an end").unwrap().unwrap();
    assert!(!proxy.socket.exists());
}

#[tokio::test]
async fn a_database_that_fails_makes_it_not_ready_until_it_works() {
    let proxy = Proxy::start().await;
    let database = proxy.folder.path().join("users.db");
    let rename = |from: &str, to: &str| {
        let program = "import sqlite3, sys\n\
             with sqlite3.connect(sys.argv[1]) as database:\n \
             database.execute(f'ALTER TABLE {sys.argv[2]} RENAME TO {sys.argv[3]}')";
        let python = std::process::Command::new("/usr/bin/python3")
            .args(["-c", program])
            .arg(&database)
            .args([from, to])
            .status();
        assert!(python.unwrap().success());
    };
    let becomes = async |status: u16| loop {
        let ready = proxy.ask("GET", "/readyz", "").await;
        if ready.status == status {
            break ready.json();
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    rename("revision", "gone");
    assert_eq!(becomes(503).await["database"], false);
    let change = proxy
        .ask("PATCH", "/api/v1/users/ada", r#"{"enabled": false}"#)
        .await;
    change.assert_problem(503, "no change without a database");
    // As they were last read.
    assert_eq!(proxy.json("/api/v1/users/ada").await["enabled"], true);
    rename("gone", "revision");
    assert_eq!(becomes(200).await["database"], true);
}
