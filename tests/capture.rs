//! A capture that tcpdump writes is a trace like any other.
//!
//! Needs tcpdump and the right to capture on the loopback interface; without
//! them the test says so and passes, unless `WEIRGATE_REQUIRE_TCPDUMP` is set.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a failure is the test's"
)]

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use bench_clients::{
    Behaviour, Clock, Direction, FlowPlan, Identify, RunPlan, SocketOptions, Target, Via, drive_all,
};
use flow::{ByteSize, Nanos, Policer, Policy, Timestamp, Verdict};

/// Who sends until tcpdump captures, and who sends the last datagram.
const GREETER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 91);
const LAST: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 92);

/// Bytes before the first packet of a pcap file.
const FILE_HEADER: u64 = 24;

/// Bytes of an IPv4 header without options and of a UDP header.
const HEADERS: usize = 28;

/// (from socket, bytes of payload) in order; sockets 0 and 1 are of one host.
const SENDS: [(usize, usize); 6] = [(0, 100), (1, 1000), (2, 40), (0, 1), (2, 1400), (1, 500)];

#[test]
fn what_tcpdump_writes_is_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("loopback.pcap");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let Some(capture) = Capture::begin(&file, receiver.local_addr().unwrap(), "") else {
        return;
    };
    let senders =
        ["127.0.0.2:0", "127.0.0.2:0", "127.0.0.3:0"].map(|at| UdpSocket::bind(at).unwrap());
    for (sender, size) in SENDS {
        let sent = senders[sender].send_to(&vec![7; size], receiver.local_addr().unwrap());
        assert_eq!(sent.unwrap(), size);
    }
    capture.finish();

    let replayed = weirgate(&[
        "replay",
        "--trace",
        file.to_str().unwrap(),
        "--limiter",
        "none",
        "--mode",
        "police",
        "--json",
    ]);
    let report: serde_json::Value = serde_json::from_slice(&replayed).unwrap();
    let bytes: usize = SENDS.iter().map(|(_, size)| size + HEADERS).sum();

    let trace = folder.path().join("trace.csv");
    weirgate(&[
        "traffic",
        file.to_str().unwrap(),
        "--out",
        trace.to_str().unwrap(),
    ]);
    let trace = std::fs::read_to_string(trace).unwrap();
    let all = trace.lines().count() - 1;
    assert_eq!(report["offered_packets"], all, "{report}");
    let packets: Vec<_> = trace
        .lines()
        .skip(1)
        .filter(|line| !line.contains("127.0.0.9"))
        .map(|line| line.split_once(',').unwrap().1)
        .collect();
    assert_eq!(
        packets,
        [
            "128,127.0.0.2,0",
            "1028,127.0.0.2,1",
            "68,127.0.0.3,0",
            "29,127.0.0.2,0",
            "1428,127.0.0.3,0",
            "528,127.0.0.2,1",
        ]
    );

    let scenario = folder.path().join("captured.toml");
    let text = r#"
name = "captured"
duration = "60 s"
algorithms = ["token-bucket"]
reference = { rate = "1 MB/s", burst = "10 kB" }
traffic = { pattern = "trace", file = "loopback.pcap" }
[[user]]
name = "127.0.0.2"
connections = 2
[[user]]
name = "other"
traffic = { pattern = "trace", file = "loopback.pcap", user = "127.0.0.3" }
"#;
    std::fs::write(&scenario, text).unwrap();
    let summary = weirgate(&[
        "scenario",
        scenario.to_str().unwrap(),
        "--driver",
        "model",
        "--repetitions",
        "1",
        "--no-plots",
        "--json",
        "--out",
        folder.path().join("report").to_str().unwrap(),
    ]);
    let summary = String::from_utf8(summary).unwrap();
    assert!(
        summary.contains(&format!("\"offered_bytes\":{bytes},")),
        "{summary}"
    );
}

fn weirgate(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_weirgate"))
        .args(arguments)
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {errors}");
    output.stdout
}

/// A flood through a real limiter, as tcpdump sees it arrive: its rate, depth and kind.
fn probed(file: &Path, sender: &str) -> (f64, f64, String) {
    let found = weirgate(&["probe", file.to_str().unwrap(), "--user", sender, "--json"]);
    let found: serde_json::Value = serde_json::from_slice(&found).unwrap();
    let kind = found["kind"].as_str().unwrap().to_owned();
    let figure = |name: &str| found[name].as_f64().unwrap();
    (figure("rate_Bps"), figure("depth_bytes"), kind)
}

fn near(found: f64, wanted: f64, share: f64) {
    assert!(
        (found / wanted - 1.0).abs() < share,
        "{found}, not {wanted}"
    );
}

/// Datagrams at ten times the limit of a policer that sends on what conforms.
#[test]
fn a_policed_flood_that_tcpdump_writes_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("policed.pcap");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let receiver = receiver.local_addr().unwrap();
    let Some(capture) = Capture::begin(&file, receiver, "") else {
        return;
    };
    let sender = UdpSocket::bind("127.0.0.2:0").unwrap();
    let policy: Policy = "token-bucket:rate=200kB/s,burst=60kB".parse().unwrap();
    let mut policer = Policer::new(policy.build());
    let begun = Instant::now();
    let mut due: u64 = 0;
    for number in 0.. {
        if due > 4_000_000_000 {
            break;
        }
        let now = u64::try_from(begun.elapsed().as_nanos()).unwrap();
        std::thread::sleep(Duration::from_nanos(due.saturating_sub(now)));
        // The policer counts what tcpdump does: headers too.
        let size = 200 + number * 797 % 1_200;
        let bytes = ByteSize::new(u64::try_from(size).unwrap());
        let now = u64::try_from(begun.elapsed().as_nanos()).unwrap();
        let verdict = policer.offer(Timestamp::from_nanos(now), bytes);
        if matches!(verdict, Verdict::Departs(_)) {
            sender.send_to(&vec![7; size - HEADERS], receiver).unwrap();
        }
        due += bytes.get() * 500;
    }
    capture.finish();
    let (rate, depth, kind) = probed(&file, "127.0.0.2");
    near(rate, 200e3, 0.02);
    near(depth, 60e3, 0.1);
    assert_eq!(kind, "policer");
}

/// A download through our proxy, as it arrives at the client.
#[test]
fn a_limited_download_that_tcpdump_writes_is_probed() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("download.pcap");
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut config = proxy::Config::new(proxy::Database::file(folder.path().join("users.db")));
    config.listen = vec!["127.0.0.1:0".parse().unwrap()];
    config.allow_egress = vec!["127.0.0.0/8".parse().unwrap()];
    config.password_cost = proxy::PasswordCost::LEAST;
    let policy: Policy = "token-bucket:rate=200kB/s,burst=60kB".parse().unwrap();
    let ann = proxy::NewUser {
        name: "ann".to_owned(),
        password: b"pw".to_vec(),
        rules: proxy::Limits::down(policy).into(),
    };
    let server = runtime.block_on(async {
        let server = proxy::Server::bind(config).await.unwrap();
        server.users().add_many(vec![ann]).await.unwrap();
        server
    });
    let address = server.addrs()[0];
    runtime.spawn(server.run(std::future::pending()));
    // What carries data from the proxy to its client.
    let also = format!("or (tcp src port {} and greater 150)", address.port());
    let Some(capture) = Capture::begin(&file, receiver.local_addr().unwrap(), &also) else {
        return;
    };
    let via: Via = format!("socks5://ann:pw@{address}").parse().unwrap();
    runtime.block_on(async {
        let sockets = SocketOptions::default();
        let target = Target::bind("127.0.0.1:0".parse().unwrap(), sockets).await;
        let target = target.unwrap();
        let opened = target.open(&via, Identify::OwnPort, &sockets).await;
        let pattern: traffic::Pattern = "constant:rate=2MB/s,size=1000B".parse().unwrap();
        let seed = traffic::StreamSeed::derive(1, 0, 0, 0, traffic::Purpose::Traffic);
        let plan = FlowPlan::new(
            opened.unwrap(),
            Direction::Down,
            pattern.generator(seed).unwrap(),
            Behaviour::OpenLoop {
                backlog_limit: ByteSize::new(1 << 30),
            },
        );
        let clock = Clock::starting_in(Duration::from_millis(10));
        drive_all(vec![plan], &RunPlan::new(clock, Nanos::from_secs(5)))
            .await
            .unwrap();
    });
    capture.finish();
    let (rate, depth, kind) = probed(&file, "127.0.0.1");
    // Headers are in the capture: 52 B for each 10,000 and more.
    near(rate, 200e3, 0.02);
    near(depth, 60e3, 0.2);
    // A bucket. Whether it drops or delays shows in gaps, which a busy machine blurs.
    assert!(["shaper", "policer"].contains(&kind.as_str()), "{kind}");
}

/// tcpdump while it writes.
struct Capture {
    child: Child,
    file: PathBuf,
    receiver: SocketAddr,
}

impl Capture {
    /// `None`, with the reason on standard error, if it cannot capture here.
    ///
    /// It captures what goes to `receiver`, and what `also` says.
    fn begin(file: &Path, receiver: SocketAddr, also: &str) -> Option<Self> {
        let child = Command::new("tcpdump")
            .args(["-i", "lo", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(file)
            .arg(format!("udp dst port {} {also}", receiver.port()))
            .stderr(Stdio::piped())
            .spawn();
        let mut child = match child {
            Ok(child) => child,
            Err(why) => return skip(&format!("tcpdump does not start: {why}")),
        };
        let mut said = String::new();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        while lines.read_line(&mut said).unwrap() > 0 {
            if said.contains("listening on") {
                child.stderr = Some(lines.into_inner());
                let file = file.to_owned();
                let capture = Self {
                    child,
                    file,
                    receiver,
                };
                capture.wait_until_it_captures();
                return Some(capture);
            }
        }
        child.wait().unwrap();
        skip(&format!("tcpdump cannot capture: {said}"))
    }

    /// It says that it listens a little before it does.
    fn wait_until_it_captures(&self) {
        let hello = UdpSocket::bind((GREETER, 0)).unwrap();
        self.wait(|capture| {
            hello.send_to(&[0], self.receiver).unwrap();
            capture.written() > FILE_HEADER
        });
    }

    /// Until everything that was sent stands in the file.
    fn finish(mut self) {
        let receiver = self.receiver;
        let last = UdpSocket::bind((LAST, 0)).unwrap();
        last.send_to(&[0], receiver).unwrap();
        let last: [u8; 4] = LAST.octets();
        // The source address of the last datagram.
        self.wait(|capture| {
            let file = std::fs::read(&capture.file).unwrap();
            file.windows(4).any(|four| four == last)
        });
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    fn written(&self) -> u64 {
        std::fs::metadata(&self.file).map_or(0, |file| file.len())
    }

    fn wait(&self, done: impl Fn(&Self) -> bool) {
        let end = Instant::now() + Duration::from_secs(60);
        while !done(self) {
            assert!(Instant::now() < end, "tcpdump does not write");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

fn skip(why: &str) -> Option<Capture> {
    assert!(
        std::env::var_os("WEIRGATE_REQUIRE_TCPDUMP").is_none(),
        "{why}"
    );
    eprintln!("skipped: {why}");
    None
}
