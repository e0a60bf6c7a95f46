//! Users from a file and from a panel, and what the panel is told.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use proxy::config::Source;
use proxy::protocol::shadowsocks::Method;
use proxy::{Limits, Usage};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::client::*;
use crate::support::{echo, in_time};

fn listed(number: u32, port: u16, password: &str) -> Value {
    json!({ "user_id": number, "port": port, "method": "aes-128-gcm", "password": password })
}

/// Waits for something that takes an instant.
async fn until(what: impl Fn() -> bool) {
    in_time(async {
        while !what() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_read_at_the_start_and_on_every_change() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("userconfigs.json");
    let (first, second) = (free_port(), free_port());
    // As the seed's README has it: without "enable".
    let mut one = listed(1, first, "one");
    let two = listed(2, second, "two");
    one["speed_limit"] = 384_000.into();
    std::fs::write(&path, json!({ "users": [one, two] }).to_string()).unwrap();
    let mut settings = settings();
    settings.source = Some(Source::File(path.clone()));
    let proxy = start_with(settings, |_| ()).await;
    let target = echo().await;
    let as_one = access(first, Method::Aes128Gcm, "one");
    let as_two = access(second, Method::Aes128Gcm, "two");
    let mut of_one = connect(&as_one, target).await;
    let of_two = connect(&as_two, target).await;
    echoes(&mut of_one, b"hello").await;
    let limits = || proxy.users.get("ss-1").unwrap().limits;
    assert!(
        limits().to_string().contains("rate=384000B/s"),
        "{}",
        limits()
    );
    // Nonsense changes nothing.
    std::fs::write(&path, "{").unwrap();
    tokio::time::sleep(Duration::from_millis(700)).await;
    echoes(&mut of_one, b"still").await;
    one["speed_limit"] = 0.into();
    one["enable"] = true.into();
    std::fs::write(&path, json!({ "users": [one] }).to_string()).unwrap();
    ends(of_two).await;
    closed(second).await;
    until(|| limits() == Limits::Unlimited).await;
    echoes(&mut of_one, b"and on").await;
    one["enable"] = false.into();
    std::fs::write(&path, json!({ "users": [one, two] }).to_string()).unwrap();
    ends(of_one).await;
    open(second).await;
    closed(first).await;
    proxy.stop().await;
}

/// What a panel does with the next requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Fine,
    /// 500.
    Fails,
    /// 200 with an error in it.
    Refuses,
    /// Takes what it is told and says nothing.
    Stalls,
    /// Counts what it is told and then breaks the connection.
    CountsAndBreaks,
}

/// A panel that counts each report once, by its key.
#[derive(Debug)]
struct Panel {
    users: Mutex<Value>,
    mood: Mutex<Mood>,
    reports: Mutex<HashMap<String, Value>>,
}

impl Panel {
    async fn start(users: Value) -> (Arc<Self>, String) {
        let panel = Arc::new(Self {
            users: Mutex::new(users),
            mood: Mutex::new(Mood::Fine),
            reports: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "http://{}/api/users/1/?token=x",
            listener.local_addr().unwrap()
        );
        let of = Arc::clone(&panel);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Arc::clone(&of).serve(client));
            }
        });
        (panel, url)
    }

    async fn serve(self: Arc<Self>, mut client: TcpStream) {
        let mut bytes = Vec::new();
        let (head, body) = loop {
            if client.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return;
            }
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else {
                continue;
            };
            let field = |name: &str| {
                let mut lines = head.lines();
                lines.find_map(|line| {
                    let (key, value) = line.split_once(": ")?;
                    key.eq_ignore_ascii_case(name).then(|| value.to_owned())
                })
            };
            let length = field("content-length").map_or(0, |length| length.parse().unwrap());
            if body.len() >= length {
                assert!(head.contains("/api/users/1/?token=x"));
                break (
                    (head.starts_with("POST"), field("idempotency-key")),
                    body.to_owned(),
                );
            }
        };
        let mood = *self.mood.lock().unwrap();
        let (is_post, key) = head;
        if is_post && matches!(mood, Mood::Fine | Mood::CountsAndBreaks) {
            let report: Value = serde_json::from_str(&body).unwrap();
            let before = self
                .reports
                .lock()
                .unwrap()
                .insert(key.unwrap(), report.clone());
            assert!(
                before.is_none_or(|before| before == report),
                "one key, two reports"
            );
        }
        let answer = match mood {
            Mood::Fine if is_post => "{}".to_owned(),
            Mood::Fine => self.users.lock().unwrap().to_string(),
            Mood::Refuses => r#"{"msg":"auth error"}"#.to_owned(),
            Mood::Fails => {
                let _ = client
                    .write_all(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
                    .await;
                return;
            }
            Mood::Stalls => return std::future::pending().await,
            Mood::CountsAndBreaks => return,
        };
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
            answer.len()
        );
        let _ = client.write_all((head + &answer).as_bytes()).await;
    }

    fn set(&self, mood: Mood) {
        *self.mood.lock().unwrap() = mood;
    }

    /// What the panel knows of a user.
    fn knows(&self, number: u64) -> Usage {
        let reports = self.reports.lock().unwrap();
        let rows = reports
            .values()
            .flat_map(|report| report["data"].as_array().unwrap());
        let mut usage = Usage::default();
        for row in rows.filter(|row| row["user_id"] == number) {
            usage.upload_bytes += row["upload_traffic"].as_u64().unwrap();
            usage.download_bytes += row["download_traffic"].as_u64().unwrap();
            assert!(
                row["ip_list"].is_array() && row["tcp_conn_num"].is_u64(),
                "{row}"
            );
        }
        usage
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panel_that_fails_stalls_and_restarts_gets_every_byte_once() {
    let port = free_port();
    let users = json!({ "users": [listed(7, port, "seven")] });
    let (panel, url) = Panel::start(users).await;
    let folder = tempfile::tempdir().unwrap();
    let database = proxy::Database::file(folder.path().join("kept.db"));
    let seven = access(port, Method::Aes128Gcm, "seven");
    let target = echo().await;
    let mut sent = 0;
    let moods = [
        Mood::Fine,
        Mood::Refuses,
        Mood::Stalls,
        Mood::CountsAndBreaks,
        Mood::Fails,
        Mood::Fine,
    ];
    // The proxy is restarted in the middle of each, too.
    for _ in 0..2 {
        let mut settings = settings();
        settings.source = Some(Source::Panel(url.parse().unwrap()));
        settings.sync = Duration::from_millis(100);
        let proxy = start_with(settings, |config| {
            config.database = database.clone();
            config.accounting_interval = Duration::from_millis(20);
            config.timeouts.drain = Duration::from_secs(1);
        });
        let proxy = proxy.await;
        open(port).await;
        for mood in moods {
            panel.set(mood);
            let mut stream = connect(&seven, target).await;
            for _ in 0..5 {
                echoes(&mut stream, &[1; 10_000]).await;
                sent += 10_000;
                tokio::time::sleep(Duration::from_millis(60)).await;
            }
            // A slow panel does not hold up a change by another hand.
            proxy
                .users
                .set_enabled("ada", mood == Mood::Fine)
                .await
                .unwrap();
        }
        panel.set(Mood::Stalls);
        let mut stream = connect(&seven, target).await;
        echoes(&mut stream, &[1; 777]).await;
        sent += 777;
        drop(stream);
        used(&proxy, "ss-7", sent).await;
        // Each start adds this user anew.
        proxy.users.remove("ada").await.unwrap();
        proxy.stop().await;
        panel.set(Mood::Fine);
    }
    let mut settings = settings();
    settings.source = Some(Source::Panel(url.parse().unwrap()));
    settings.sync = Duration::from_millis(100);
    let proxy = start_with(settings, |config| config.database = database.clone()).await;
    let all = Usage {
        upload_bytes: sent,
        download_bytes: sent,
    };
    until(|| panel.knows(7) == all).await;
    assert_eq!(proxy.users.usage("ss-7"), Some(all));
    // Who is left out is let in no longer, and nothing else happens.
    *panel.users.lock().unwrap() = json!({ "users": [] });
    closed(port).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(panel.knows(7), all, "nothing is told twice");
    proxy.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_have_the_seeds_names() {
    let metrics = free_port();
    let mut settings = settings();
    settings.metrics = Some(([127, 0, 0, 1], metrics).into());
    let proxy = start_with(settings, |_| ()).await;
    let mut access = access(free_port(), Method::Aes128Gcm, "secret");
    access.number = Some(5);
    add(&proxy, "five", Limits::Unlimited, &access).await;
    let mut stream = connect(&access, echo().await).await;
    echoes(&mut stream, b"hello").await;
    used(&proxy, "five", 5).await;
    let mut reader = TcpStream::connect(("127.0.0.1", metrics)).await.unwrap();
    reader
        .write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut page = String::new();
    in_time(reader.read_to_string(&mut page)).await.unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    for name in [
        "ss_node_info",
        "connection_made_count_total",
        "active_connection_count",
        "network_transmit_bytes_total",
        "encrypt_data_time_seconds_bucket",
        "decrypt_data_time_seconds_count",
        "find_access_user_time_seconds_sum",
        "process_resident_memory_bytes",
        "process_cpu_seconds_total",
    ] {
        let line = page
            .lines()
            .find(|line| line.starts_with(&format!("{name}{{ss_node=")));
        assert!(line.is_some(), "{name} in {page}");
    }
    let value = |start: &str| {
        let mut lines = page.lines().filter(|line| line.contains(start));
        lines
            .next()
            .and_then(|line| line.rsplit_once(' '))
            .map(|(_, value)| value.to_owned())
    };
    let user = "user_id=\"5\",user=\"five\"";
    for (name, expected) in [
        ("active_connection_count{", "1"),
        ("network_transmit_bytes_total{", "10"),
        (&*format!("{user},address=\"127.0.0.1\""), "1"),
    ] {
        let got = value(name).unwrap_or_default();
        assert_eq!(got, expected, "{name} in {page}");
    }
    assert!(
        page.contains("le=\"0.005\"") && page.contains("le=\"10\"") && page.contains("le=\"+Inf\"")
    );
    drop(stream);
    proxy.stop().await;
}

/// What the third migration makes in PostgreSQL: accesses, and a report under way that
/// is the same after a restart.
#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_keeps_accesses_and_the_report_under_way() {
    let Some(postgres) = crate::postgres::Postgres::start() else {
        return;
    };
    let database: proxy::Database = postgres.url().parse().unwrap();
    let (port, target) = (free_port(), echo().await);
    let (panel, url) = Panel::start(json!({ "users": [listed(7, port, "seven")] })).await;
    let start = async || {
        let mut settings = settings();
        settings.source = Some(Source::Panel(url.parse().unwrap()));
        settings.sync = Duration::from_millis(100);
        start_with(settings, |config| {
            config.database = database.clone();
            config.accounting_interval = Duration::from_millis(20);
        })
        .await
    };
    let as_seven = access(port, Method::Aes128Gcm, "seven");
    let proxy = start().await;
    open(port).await;
    echoes(&mut connect(&as_seven, target).await, &[1; 1_000]).await;
    let told = Usage {
        upload_bytes: 1_000,
        download_bytes: 1_000,
    };
    until(|| panel.knows(7) == told).await;
    // Counted, and never acknowledged.
    panel.set(Mood::CountsAndBreaks);
    echoes(&mut connect(&as_seven, target).await, &[2; 500]).await;
    let both = Usage {
        upload_bytes: 1_500,
        download_bytes: 1_500,
    };
    until(|| panel.knows(7) == both).await;
    // Each start adds this user anew.
    proxy.users.remove("ada").await.unwrap();
    proxy.stop().await;
    panel.set(Mood::Fine);
    let proxy = start().await;
    assert_eq!(proxy.users.numbered(7).as_deref(), Some("ss-7"));
    open(port).await;
    echoes(&mut connect(&as_seven, target).await, &[3; 100]).await;
    let all = Usage {
        upload_bytes: 1_600,
        download_bytes: 1_600,
    };
    until(|| panel.knows(7) == all).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    assert_eq!(panel.knows(7), all, "once each");
    // Another access of the same number, and none.
    *panel.users.lock().unwrap() = json!({ "users": [listed(7, port, "another")] });
    let as_another = access(port, Method::Aes128Gcm, "another");
    echoes_when_known(&as_another, target, b"hello").await;
    *panel.users.lock().unwrap() = json!({ "users": [] });
    closed(port).await;
    proxy.stop().await;
}
