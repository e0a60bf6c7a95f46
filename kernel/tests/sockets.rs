//! What is done to TCP connections: pacing and congestion control.
#![cfg(feature = "bpf")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "helpers of tests"
)]

mod common;

use std::net::TcpStream;
use std::time::Duration;

use common::traffic::{Flow, From, Kind};
use common::{engine, permitted, rules};
use kernel::netns::Namespace;
use nix::sys::socket::{getsockopt, setsockopt, sockopt};

const PACE: &str = "[[rule]]\nname = \"pace\"\nmode = \"pace\"\ndirection = \"egress\"\n\
                    remote = \"10.77.0.2\"\nrate = \"1 MB/s\"\n";

/// Bytes a second that arrive, of all flows together.
fn arriving(flows: &[Flow], span: Duration) -> f64 {
    let all = || -> u64 { flows.iter().map(Flow::received).sum() };
    let (before, start) = (all(), std::time::Instant::now());
    std::thread::sleep(span);
    (all() - before) as f64 / start.elapsed().as_secs_f64()
}

/// S4: drops make TCP collapse where pacing does not.
#[test]
fn a_paced_flow_keeps_its_rate_without_a_loss() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let engine = engine(PACE);
    let flow = [Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false)];
    std::thread::sleep(Duration::from_secs(1));
    let rate = arriving(&flow, Duration::from_secs(3));
    assert!((0.98e6..=1.02e6).contains(&rate), "{rate} B/s");
    let counted = &engine.counts().unwrap()[0];
    assert_eq!(counted.counts.lost().bytes, 0);
    assert!(counted.counts.passed.bytes >= flow[0].received());
    assert_eq!(counted.paced, 1);
}

#[test]
fn paced_flows_share_the_rate_and_take_what_others_leave() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    // Over a path as short as this one, TCP sends 64 KiB at once; over longer ones it does not.
    std::fs::write("/proc/sys/net/ipv4/tcp_tso_rtt_log", "0").unwrap();
    let engine = engine(PACE);
    let mut flows: Vec<Flow> = (9_000..9_008)
        .map(|port| Flow::flood(&far, Kind::Tcp, From::Here, port, false))
        .collect();
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(engine.counts().unwrap()[0].paced, 8);
    let rate = arriving(&flows, Duration::from_secs(3));
    assert!((0.98e6..=1.02e6).contains(&rate), "eight: {rate} B/s");
    for mut flow in flows.drain(1..) {
        flow.stream = None;
        drop(flow);
    }
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(engine.counts().unwrap()[0].paced, 1);
    let rate = arriving(&flows, Duration::from_secs(2));
    assert!(
        (0.95e6..=1.05e6).contains(&rate),
        "the one left: {rate} B/s"
    );
}

#[test]
fn open_connections_are_taken_in_and_let_go() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let flow = [Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false)];
    let settle = Duration::from_millis(1_500);
    assert!(arriving(&flow, Duration::from_millis(300)) > 10e6, "free");
    let mut engine = engine(PACE);
    std::thread::sleep(settle);
    let rate = arriving(&flow, Duration::from_secs(2));
    assert!((0.95e6..=1.05e6).contains(&rate), "taken in: {rate} B/s");
    engine
        .apply(&rules(&PACE.replace("1 MB/s", "2 MB/s")))
        .unwrap();
    std::thread::sleep(settle);
    let rate = arriving(&flow, Duration::from_secs(2));
    assert!((1.9e6..=2.1e6).contains(&rate), "changed: {rate} B/s");
    drop(engine);
    std::thread::sleep(settle);
    assert!(arriving(&flow, Duration::from_millis(500)) > 10e6, "let go");
}

/// A connection that sends nothing leaves its part to the others.
#[test]
fn idle_connections_take_no_part() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    std::fs::write("/proc/sys/net/ipv4/tcp_tso_rtt_log", "0").unwrap();
    let engine = engine(PACE);
    let listener = far
        .run(|| std::net::TcpListener::bind("10.77.0.2:9100").unwrap())
        .unwrap();
    let idle: Vec<TcpStream> = (0..9)
        .map(|_| TcpStream::connect("10.77.0.2:9100").unwrap())
        .collect();
    let flow = [Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false)];
    assert_eq!(engine.counts().unwrap()[0].paced, 10);
    for _ in 0..2 {
        std::thread::sleep(Duration::from_secs(1));
        engine.rebalance().unwrap();
    }
    assert_eq!(engine.counts().unwrap()[0].paced, 1);
    std::thread::sleep(Duration::from_secs(1));
    let rate = arriving(&flow, Duration::from_secs(2));
    assert!((0.95e6..=1.05e6).contains(&rate), "{rate} B/s");
    drop((idle, listener));
}

/// What is left in a socket that was closed goes on at the pace, and is let go with the others.
#[test]
fn a_closed_connection_is_let_go_too() {
    if !permitted() {
        return;
    }
    use std::io::{Read as _, Write as _};
    const LEFT: usize = 100_000;
    let far = Namespace::connected().unwrap();
    std::fs::write("/proc/sys/net/ipv4/tcp_tso_rtt_log", "0").unwrap();
    let engine = engine(&PACE.replace("1 MB/s", "1 kB/s"));
    let listener = far
        .run(|| std::net::TcpListener::bind("10.77.0.2:9000").unwrap())
        .unwrap();
    let mut sender = TcpStream::connect("10.77.0.2:9000").unwrap();
    let mut receiver = listener.accept().unwrap().0;
    setsockopt(&sender, sockopt::SndBuf, &(4 * LEFT)).unwrap();
    sender.write_all(&[7; LEFT]).unwrap();
    drop(sender);
    let begun = std::time::Instant::now();
    engine.rebalance().unwrap();
    drop(engine);
    receiver
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let mut all = Vec::new();
    receiver.read_to_end(&mut all).unwrap();
    assert_eq!(all.len(), LEFT);
    // At the pace it would take 100 s; what was to come next had been put off by some seconds.
    assert!(begun.elapsed() < Duration::from_secs(60));
}

fn congestion_of(stream: &TcpStream) -> String {
    let name = getsockopt(stream, sockopt::TcpCongestion).unwrap();
    let name = name.to_string_lossy().into_owned();
    name.trim_end_matches('\0').to_owned()
}

/// S4: names of more than 7 letters were refused, and port 0 was a port.
#[test]
fn congestion_control_is_switched_where_it_matches() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let known = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_available_congestion_control");
    let known = known.unwrap();
    let other = ["reno", "cubic", "bbr"]
        .into_iter()
        .find(|name| known.split_whitespace().any(|word| word == *name));
    let other = other.unwrap();
    let before = Flow::flood(&far, Kind::Tcp, From::Here, 9_001, false);
    let default = congestion_of(before.stream.as_ref().unwrap());
    let yaml = format!(
        "tcp_switch_module: {{tcp_switch_rule: {{ip: 10.77.0.2, port: 0, remote: true, congestion: {other}}}}}"
    );
    let loaded = kernel::config::parse(&yaml, kernel::config::Format::Yaml).unwrap();
    let mut engine = kernel::engine::Engine::load().unwrap();
    engine.apply(&loaded.rules).unwrap();
    let there = Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false);
    assert_eq!(congestion_of(there.stream.as_ref().unwrap()), other);
    assert_eq!(
        congestion_of(before.stream.as_ref().unwrap()),
        other,
        "open already"
    );
    let elsewhere = Flow::flood(&far, Kind::Tcp, From::Here, 9_002, true);
    assert_eq!(congestion_of(elsewhere.stream.as_ref().unwrap()), default);
    let long = yaml.replace(
        &format!("congestion: {other}"),
        "congestion: abcdefghijklmno",
    );
    let loaded = kernel::config::parse(&long, kernel::config::Format::Yaml).unwrap();
    let error = engine.apply(&loaded.rules).unwrap_err().to_string();
    assert!(
        error.contains("has no congestion control") && error.contains(other),
        "{error}"
    );
}
