//! The accounts of a proxy that is killed under load, again and again: never
//! more than was moved, and at most one interval less.
//!
//! The load is a target that counts what arrives and clients that count what
//! they send. What the proxy has written lies between the two: it cannot have
//! written what no client sent, and what arrived it has written.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use proxy::{Database, NewUser, PasswordCost, Rules, Users};

/// How often the proxy is killed, if the environment does not say.
const POINTS: u32 = 20;
const POINTS_VARIABLE: &str = "WEIRGATE_KILL_POINTS";
const INTERVAL: Duration = Duration::from_millis(50);
/// An interval ends with a write, and a timer may be late on a busy machine.
const SLACK: Duration = Duration::from_millis(250);
const USERS: usize = 3;

#[test]
fn the_accounts_of_a_killed_proxy_add_up() {
    let points = std::env::var(POINTS_VARIABLE);
    let points = points.map_or(POINTS, |points| points.parse().expect(POINTS_VARIABLE));
    let folder = tempfile::tempdir().unwrap();
    let database = Database::file(folder.path().join("users.db"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let open = || {
        runtime
            .block_on(Users::open(&database, PasswordCost::LEAST))
            .unwrap()
    };
    let names: Vec<_> = (0..USERS).map(|number| format!("user{number}")).collect();
    let users = names.iter().map(|name| NewUser {
        name: name.clone(),
        password: b"secret".to_vec(),
        rules: Rules {
            // So that no socket swallows what takes the proxy long to move.
            limits: Some(
                "token-bucket:rate=4MB/s,burst=40kB"
                    .parse()
                    .map(proxy::Limits::Shared)
                    .unwrap(),
            ),
            ..Rules::default()
        },
    });
    runtime.block_on(open().add_many(users)).unwrap();
    std::fs::write(
        folder.path().join("config.toml"),
        format!("accounting_interval = \"{}ms\"\n", INTERVAL.as_millis()),
    )
    .unwrap();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut seen_any = false;
    for point in 0..points {
        let before: Vec<u64> = accounts(&open(), &names);
        let load = Load::start(folder.path(), &names);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        std::thread::sleep(Duration::from_millis(50 + (random >> 33) % 400));
        let (killed, mut load) = load.kill();
        let after = accounts(&open(), &names);
        for (index, name) in names.iter().enumerate() {
            let accounted = after[index] - before[index];
            let (arrived, sent) = load.moved(index, killed - INTERVAL - SLACK);
            let said = format!("point {point}, {name}: {arrived} <= {accounted} <= {sent}");
            assert!(accounted <= sent, "more than was moved: {said}");
            assert!(
                accounted >= arrived,
                "more than an interval was lost: {said}"
            );
            seen_any |= arrived > 0;
        }
    }
    assert!(seen_any, "no point was late enough to show anything");
    // And an orderly stop loses nothing.
    let before = accounts(&open(), &names);
    let load = Load::start(folder.path(), &names);
    std::thread::sleep(Duration::from_millis(100));
    let arrived = load.stop();
    let after = accounts(&open(), &names);
    for (index, arrived) in arrived.into_iter().enumerate() {
        assert!(arrived > 0);
        assert_eq!(after[index] - before[index], arrived);
    }
}

/// Uploaded bytes by user.
fn accounts(users: &Users, names: &[String]) -> Vec<u64> {
    let upload = |name: &String| users.usage(name).unwrap().upload_bytes;
    names.iter().map(upload).collect()
}

/// A proxy, a target, and a client for each user.
struct Load {
    proxy: Child,
    over: Arc<AtomicBool>,
    flows: Vec<Flow>,
}

struct Flow {
    sent: Arc<AtomicU64>,
    /// When how much had arrived.
    arrived: Arc<Mutex<Vec<(Instant, u64)>>>,
    client: std::thread::JoinHandle<()>,
    target: std::thread::JoinHandle<()>,
}

impl Load {
    fn start(folder: &std::path::Path, names: &[String]) -> Self {
        let mut proxy = Command::new(env!("CARGO_BIN_EXE_weirgate-proxy"))
            .args(["run", "--config", "config.toml", "--listen", "127.0.0.1:0"])
            .args(["--allow-egress", "127.0.0.0/8", "--database", "users.db"])
            .current_dir(folder)
            .env_clear()
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(proxy.stdout.as_mut().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening ").unwrap();
        let address: SocketAddr = address.parse().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let flow = |name: &String| Flow::start(address, name, Arc::clone(&over));
        Self {
            proxy,
            flows: names.iter().map(flow).collect(),
            over,
        }
    }

    /// Says when it was killed, once everything that was under way has arrived.
    fn kill(mut self) -> (Instant, Self) {
        let killed = Instant::now();
        self.proxy.kill().unwrap();
        self.proxy.wait().unwrap();
        self.over.store(true, Ordering::SeqCst);
        (killed, self)
    }

    /// (what had arrived at `when`, all that was sent)
    fn moved(&mut self, index: usize, when: Instant) -> (u64, u64) {
        let flow = &self.flows[index];
        let arrived = flow.arrived.lock().unwrap();
        let by_then = arrived.iter().rev().find(|(at, _)| *at <= when);
        let arrived = by_then.map_or(0, |(_, bytes)| *bytes);
        (arrived, flow.sent.load(Ordering::SeqCst))
    }

    /// Lets the clients end, then the proxy; what arrived in the end.
    fn stop(mut self) -> Vec<u64> {
        self.over.store(true, Ordering::SeqCst);
        let finished = self.flows.drain(..).map(|flow| {
            flow.client.join().unwrap();
            flow.target.join().unwrap();
            let arrived = flow.arrived.lock().unwrap();
            arrived.last().map_or(0, |(_, bytes)| *bytes)
        });
        let arrived = finished.collect();
        let process = self.proxy.id().to_string();
        let signal = Command::new("kill").args(["-s", "TERM", &process]).status();
        assert!(signal.unwrap().success() && self.proxy.wait().unwrap().success());
        arrived
    }
}

impl Flow {
    fn start(proxy: SocketAddr, name: &str, over: Arc<AtomicBool>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&arrived);
        let target = std::thread::spawn(move || receive(&listener, &log));
        let sent = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&sent);
        let line = format!("127.0.0.1 {port} {name} secret\r\n");
        let client = std::thread::spawn(move || {
            // The proxy may be killed at any moment: an error is the end.
            let _ = send(proxy, &line, &counter, &over);
            // Whoever waits for a client that never came may go home.
            let _ = TcpStream::connect(("127.0.0.1", port));
        });
        Self {
            sent,
            arrived,
            client,
            target,
        }
    }
}

fn receive(listener: &TcpListener, log: &Mutex<Vec<(Instant, u64)>>) {
    let (mut stream, _) = listener.accept().unwrap();
    let mut buffer = [0; 16_384];
    let mut bytes = 0;
    while let Ok(len @ 1..) = stream.read(&mut buffer) {
        bytes += u64::try_from(len).unwrap();
        log.lock().unwrap().push((Instant::now(), bytes));
    }
}

fn send(proxy: SocketAddr, line: &str, sent: &AtomicU64, over: &AtomicBool) -> std::io::Result<()> {
    let mut client = TcpStream::connect(proxy)?;
    client.write_all(line.as_bytes())?;
    let mut byte = [0];
    while byte[0] != b'\n' {
        client.read_exact(&mut byte)?;
    }
    let piece = [0x5A; 4_096];
    while !over.load(Ordering::SeqCst) {
        // Before it is written: whatever arrives has been counted here.
        sent.fetch_add(4_096, Ordering::SeqCst);
        client.write_all(&piece)?;
    }
    client.shutdown(std::net::Shutdown::Write)?;
    // Until the other side has ended too.
    client.read(&mut byte).map(drop)
}
