//! The program itself: the command line in the seed's order, the statistics,
//! HAProxy before it, and who runs it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};

use crate::client::{ask, get, hear, ok, origin, service};
use crate::support::in_time;

/// A process that ends with its test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn proxy(folder: &Path, arguments: &str) -> (Running, Vec<String>, ChildStderr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .env("XDG_STATE_HOME", folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Kept open: it may have more to say than is read here.
    let mut said = BufReader::new(child.stdout.as_mut().unwrap()).lines();
    let lines = (0..2).map_while(|_| said.next()?.ok()).collect();
    let log = child.stderr.take().unwrap();
    (Running(child), lines, log)
}

/// A config with figures at short intervals, and the user `ada` with the password `pw`.
fn prepare(folder: &Path) {
    let config = "[https_service]\nstatistics_interval = \"300ms\"\n";
    std::fs::write(folder.join("c.toml"), config).unwrap();
    std::fs::write(folder.join("password"), "pw").unwrap();
    let added = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"))
        .args("user add ada --password-file password --database users.db".split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(added.status.success(), "{added:?}");
}

#[tokio::test]
async fn the_statistics_have_the_seeds_keys_and_true_figures() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let arguments = "https-service 0 127.0.0.1 9 8 7 6.5 50 40 no --config c.toml --database users.db \
        --allow-egress 127.0.0.0/8 --guest ada --guest-from 127.0.0.1/32 --log-format json";
    let (_running, line, log) = proxy_of_one_line(folder.path(), arguments);
    let address: SocketAddr = line.strip_prefix("listening ").unwrap().parse().unwrap();
    let target = origin(|_, _| async { ok("", b"") }).await;
    let answer = ask(address, &get(&format!("http://{target}/"))).await;
    assert_eq!(answer["status_code"], 200, "{answer}");
    assert_eq!(ask(address, &json!({})).await["status_code"], 400);
    let mut events = events(log);
    let mut audit = Vec::new();
    let figures = self::figures(&mut events, &mut audit, |it| it["total_requests"] == 2).await;
    for key in [
        "uptime_seconds",
        "total_requests",
        "total_success",
        "total_errors",
        "total_timeout",
        "total_rejected",
        "total_connections",
        "active_connections",
        "idle_connections",
        "active_workers",
        "queue_size",
        "requests_per_second",
        "avg_request_time_ms",
    ] {
        assert!(figures[key].is_number(), "{key}: {figures}");
    }
    assert_eq!(figures["error_types"], "{\"bad_request\":1}");
    assert_eq!(figures["total_success"], 1);
    assert_eq!(figures["total_connections"], 2);
    assert_eq!(audit.len(), 2);
    assert_eq!(audit[0]["user"], "ada");
    assert_eq!(audit[0]["status"], 200);
    assert_eq!(audit[0]["request_id"], answer["request_id"]);
    assert_eq!(audit[1]["reason"], "there is no url");
    let release = Arc::new(Notify::new());
    let held = Arc::clone(&release);
    let target = origin(move |_, _| {
        let held = Arc::clone(&held);
        async move {
            held.notified().await;
            ok("", b"")
        }
    });
    let request = get(&format!("http://{}/", target.await));
    let _idle = TcpStream::connect(address).await.unwrap();
    let mut busy = TcpStream::connect(address).await.unwrap();
    let frame = crate::client::frame(request.to_string().as_bytes());
    busy.write_all(&frame).await.unwrap();
    let workers_and_idle = async |events: &mut _, audit: &mut _, workers: u64| {
        // The clients before these two may be a moment in going.
        let known = |it: &Value| it["active_workers"] == workers && it["active_connections"] == 2;
        self::figures(events, audit, known).await["idle_connections"].clone()
    };
    assert_eq!(workers_and_idle(&mut events, &mut audit, 1).await, 1);
    release.notify_one();
    assert_eq!(hear(&mut busy).await["status_code"], 200);
    assert_eq!(workers_and_idle(&mut events, &mut audit, 0).await, 2);
}

/// What clients of HTTP ask for is counted and audited as what frames ask for.
#[tokio::test]
async fn figures_and_audit_are_those_of_http_too() {
    let folder = tempfile::tempdir().unwrap();
    prepare(folder.path());
    let arguments = "https-service 0 127.0.0.1 9 8 7 6 0.5 --config c.toml --database users.db \
        --allow-egress 127.0.0.0/8 --log-format json";
    let (_running, line, log) = proxy_of_one_line(folder.path(), arguments);
    let address: SocketAddr = line.strip_prefix("listening ").unwrap().parse().unwrap();
    let login = base64::engine::general_purpose::STANDARD.encode("ada:pw");
    let target = origin(|head, _| async move {
        if head.starts_with("GET /slow") {
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        ok("", b"page")
    })
    .await;
    let closed = crate::support::closed_port().await;
    for line in [
        format!("GET http://{target}/page?secret=1"),
        format!("GET http://{target}/slow"),
        "GET http://10.0.0.1/".to_owned(),
        format!("CONNECT 127.0.0.1:{closed}"),
    ] {
        let mut client = TcpStream::connect(address).await.unwrap();
        let fields = format!("Host: a\r\nProxy-Authorization: Basic {login}\r\nConnection: close");
        let request = format!("{line} HTTP/1.1\r\n{fields}\r\n\r\n");
        client.write_all(request.as_bytes()).await.unwrap();
        crate::support::read_to_end(&mut client).await;
    }
    let mut events = events(log);
    let mut told = Vec::new();
    let figures = in_time(async {
        loop {
            let event = events.recv().await.unwrap();
            match event["message"].as_str() {
                Some("statistics") if event["total_requests"] == 4 => return event,
                Some("closed" | "refused") => told.push(event),
                _ => {}
            }
        }
    })
    .await;
    let types = "{\"denied\":1,\"request_timeout\":1,\"unreachable\":1}";
    assert_eq!(figures["error_types"], types);
    assert_eq!(
        (&figures["total_success"], &figures["total_errors"]),
        (&json!(1), &json!(2))
    );
    assert_eq!(figures["total_timeout"], 1);
    let audit = |nth: usize| {
        let event: &Value = &told[nth];
        assert!(event["queued_seconds"].is_number(), "{event}");
        json!([event["method"], event["url"], event["status"]])
    };
    assert_eq!(
        audit(0),
        json!(["GET", format!("http://{target}/page"), 200])
    );
    assert_eq!(
        audit(1),
        json!(["GET", format!("http://{target}/slow"), 504])
    );
    assert_eq!(audit(2), json!(["GET", "http://10.0.0.1:80/", 403]));
    assert_eq!(
        audit(3),
        json!(["CONNECT", format!("127.0.0.1:{closed}"), 502])
    );
}

/// The events of a log, as they come.
fn events(log: ChildStderr) -> UnboundedReceiver<Value> {
    let (sender, receiver) = unbounded_channel();
    std::thread::spawn(move || {
        let lines = BufReader::new(log).lines().map_while(Result::ok);
        for line in lines {
            if sender.send(serde_json::from_str(&line).unwrap()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next statistics that are `wanted`; requests logged before them go to `audit`.
async fn figures(
    events: &mut UnboundedReceiver<Value>,
    audit: &mut Vec<Value>,
    wanted: impl Fn(&Value) -> bool,
) -> Value {
    in_time(async {
        loop {
            let event = events.recv().await.unwrap();
            if event["message"] == "request" {
                audit.push(event);
            } else if event["message"] == "statistics" && wanted(&event) {
                return event;
            }
        }
    })
    .await
}

#[test]
fn the_packages_run_it_as_a_user_of_its_own_that_can_become_no_other() {
    let unit = include_str!("../../packaging/systemd/weirgate-proxy.service");
    for line in [
        "User=weirgate",
        "Group=weirgate",
        "CapabilityBoundingSet=",
        "AmbientCapabilities=",
        "NoNewPrivileges=yes",
    ] {
        let (key, _) = line.split_once('=').unwrap();
        let said = unit.lines().filter(|it| it.starts_with(&format!("{key}=")));
        assert_eq!(said.collect::<Vec<_>>(), [line]);
    }
    let users = include_str!("../../packaging/systemd/weirgate-proxy.sysusers");
    // Its number is the next free one of the system's, thus not that of root.
    assert!(users.lines().any(|it| it.starts_with("u weirgate - ")));
    let image = include_str!("../../packaging/Dockerfile");
    let mut users = image.lines().filter_map(|it| it.strip_prefix("USER "));
    let number = users.next_back().unwrap().split(':').next().unwrap();
    assert_ne!(number.parse::<u32>().unwrap(), 0);
}

fn proxy_of_one_line(folder: &Path, arguments: &str) -> (Running, String, ChildStderr) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"));
    command
        .args(arguments.split_whitespace())
        .current_dir(folder)
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut line)
        .unwrap();
    let log = child.stderr.take().unwrap();
    (Running(child), line.trim_end().to_owned(), log)
}

#[tokio::test]
async fn a_start_with_nothing_makes_one_user_and_serves_nobody_without_a_login() {
    let folder = tempfile::tempdir().unwrap();
    let arguments = "https-service 0 127.0.0.1 --allow-egress 127.0.0.0/8";
    let (_running, lines, _log) = proxy(folder.path(), arguments);
    let address: SocketAddr = lines[0]
        .strip_prefix("listening ")
        .unwrap()
        .parse()
        .unwrap();
    let mut login = lines[1].strip_prefix("login ").unwrap().split(' ');
    let (name, password) = (login.next().unwrap(), login.next().unwrap());
    let target = origin(|_, _| async { ok("", b"page") }).await;
    let mut request = get(&format!("http://{target}/"));
    assert_eq!(ask(address, &request).await["status_code"], 407);
    request["user"] = name.into();
    request["password"] = password.into();
    assert_eq!(ask(address, &request).await["body"], "page");
}

#[tokio::test]
async fn haproxy_spreads_requests_and_names_their_clients() {
    let Ok(found) = Command::new("haproxy").arg("-v").output() else {
        assert!(
            std::env::var_os("WEIRGATE_REQUIRE_HAPROXY").is_none(),
            "haproxy is not installed"
        );
        return;
    };
    assert!(found.status.success());
    let local = crate::client::net("127.0.0.0/8");
    let listed = async || service(|service| service.proxy_protocol_from = vec![local]).await;
    let (one, two) = (listed().await, listed().await);
    let free = |_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let [front, stats] = [0, 1].map(free);
    let recipe = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/haproxy.cfg");
    let child = Command::new("haproxy")
        .args(["-db", "-q", "-f", recipe])
        .env("WEIRGATE_FRONT", front.to_string())
        .env("WEIRGATE_STATS", stats.to_string())
        .env("WEIRGATE_1", one.address.to_string())
        .env("WEIRGATE_2", two.address.to_string())
        .spawn();
    let _running = Running(child.unwrap());
    let mirror = origin(|head, _| async move { ok("", head.as_bytes()) }).await;
    let request = get(&format!("http://{mirror}/"));
    for _ in 0..200 {
        if TcpStream::connect(front).await.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let mut instances = std::collections::BTreeSet::new();
    for _ in 0..6 {
        let answer = ask(front, &request).await;
        let got = answer["body"].as_str().unwrap();
        assert!(got.contains("x-forwarded-for: 127.0.0.1\r\n"), "{answer}");
        let id = answer["request_id"].as_str().unwrap();
        instances.insert(id[..16].to_owned());
    }
    assert_eq!(instances.len(), 2, "both have served");
    let mut page = TcpStream::connect(stats).await.unwrap();
    let asked = b"GET /;csv HTTP/1.0\r\n\r\n";
    page.write_all(asked).await.unwrap();
    let mut csv = String::new();
    page.read_to_string(&mut csv).await.unwrap();
    let up = csv
        .lines()
        .filter(|line| line.starts_with("instances,") && line.contains(",UP"));
    assert!(up.count() >= 2, "{csv}");
}
