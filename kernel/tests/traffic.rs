//! Rules of each kind against real TCP and UDP flows between two network namespaces.
#![cfg(feature = "bpf")]
#![allow(
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    reason = "helpers of tests"
)]

mod common;

use std::time::Duration;

use common::traffic::{DATAGRAM, Flow, From, Kind, counts, passed_rate};
use common::{engine, permitted, rules};
use kernel::engine::{Engine, cgroup2_root};
use kernel::netns::{Cable, Namespace};

const RATE: f64 = 1e6;
const WARM_UP: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(20);
const SPAN: Duration = Duration::from_millis(1_500);

/// A rule of 1 MB/s with `lines` of its own.
fn rule(lines: &str) -> String {
    format!("[[rule]]\nname = \"limit\"\nrate = \"1 MB/s\"\n{lines}\n")
}

/// That rule number 0 holds 1 MB/s, by the kernel's clock.
fn holds(engine: &Engine, kind: Kind, what: &str) {
    if kind == Kind::Udp {
        std::thread::sleep(WARM_UP);
        // A busy machine may keep the sender from sending for a while, and never the limit
        // from holding.
        let rates: Vec<f64> = (0..6)
            .map(|_| passed_rate(engine, 0, SPAN) / RATE)
            .take_while(|rate| *rate < 0.98)
            .collect();
        assert!(rates.len() < 6, "{what}: {rates:?}");
        let rate = passed_rate(engine, 0, SPAN) / RATE;
        // The bucket may have filled before: a quarter of a second more.
        let most = 1.02 + 0.25 / SPAN.as_secs_f64();
        assert!(rate <= most, "{what}: {rate}");
    } else {
        // A policer makes TCP wait for its retransmission time-out, which doubles: it gets on,
        // and it never gets more than the bucket, the rate, and one packet of 64 KiB in debt.
        let begun = std::time::Instant::now();
        let first = counts(engine, 0);
        let passed = || counts(engine, 0).passed.bytes - first.passed.bytes;
        while passed() < 900_000 {
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: {:?}",
                counts(engine, 0)
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        let most = 250_000.0 + RATE * begun.elapsed().as_secs_f64() + 66_000.0;
        let passed = passed() as f64;
        assert!(passed <= most, "{what}: {passed} of {most}");
    }
    let seen = counts(engine, 0);
    assert!(seen.dropped.bytes > 0, "{what}: nothing was dropped");
}

/// Both protocols, one after the other, under `lines`. Rules for processes and control groups
/// hold in all namespaces: they name a port, so that tests beside them are not touched.
fn limits(far: &Namespace, port: u16, lines: &str, from: From, ipv6: bool) {
    for kind in [Kind::Udp, Kind::Tcp] {
        let engine = engine(&rule(lines));
        let flow = Flow::flood(far, kind, from, port, ipv6);
        holds(&engine, kind, lines);
        let received = flow.received();
        let passed = counts(&engine, 0).passed.bytes;
        assert!(
            received <= passed,
            "{kind:?}, {lines}: {received} of {passed}"
        );
    }
}

#[test]
fn by_remote_network_coming_in() {
    if permitted() {
        let far = Namespace::connected().unwrap();
        limits(
            &far,
            9_000,
            "direction = \"ingress\"\nremote = \"10.77.0.0/24\"",
            From::Far,
            false,
        );
    }
}

#[test]
fn by_local_port_coming_in_over_ipv6() {
    if permitted() {
        let far = Namespace::connected().unwrap();
        limits(
            &far,
            9_000,
            "direction = \"ingress\"\nlocal_port = 9000",
            From::Far,
            true,
        );
    }
}

#[test]
fn by_remote_address_and_port_going_out() {
    if permitted() {
        let lines = "direction = \"egress\"\nremote = \"fd77::2\"\nremote_port = 9000";
        let far = Namespace::connected().unwrap();
        limits(&far, 9_000, lines, From::Here, true);
    }
}

#[test]
fn by_remote_port_going_out_at_netfilter() {
    if permitted() {
        // At this hook a UDP sender is told: TCP alone.
        let far = Namespace::connected().unwrap();
        let lines = "direction = \"egress\"\nhook = \"netfilter\"\nremote_port = 9000";
        let engine = engine(&rule(lines));
        let _flow = Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false);
        holds(&engine, Kind::Tcp, lines);
    }
}

#[test]
fn by_interface_both_ways() {
    if permitted() {
        let far = Namespace::connected().unwrap();
        limits(
            &far,
            9_000,
            "direction = \"ingress\"\ninterface = \"wg0\"",
            From::Far,
            false,
        );
    }
}

#[test]
fn by_interface_going_out() {
    if permitted() {
        let far = Namespace::connected().unwrap();
        limits(
            &far,
            9_000,
            "direction = \"egress\"\ninterface = \"wg0\"",
            From::Here,
            true,
        );
    }
}

#[test]
fn by_process_receiving() {
    if permitted() {
        let lines = format!(
            "direction = \"ingress\"\npid = {}\nlocal_port = 9101",
            std::process::id()
        );
        let far = Namespace::connected().unwrap();
        limits(&far, 9_101, &lines, From::Far, false);
    }
}

#[test]
fn by_process_sending() {
    if permitted() {
        let lines = format!(
            "direction = \"egress\"\nlocal = \"10.77.0.1\"\npid = {}\nremote_port = 9102",
            std::process::id()
        );
        let far = Namespace::connected().unwrap();
        limits(&far, 9_102, &lines, From::Here, false);
    }
}

#[test]
fn another_process_is_not_touched() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let engine = engine(&rule("direction = \"both\"\npid = 1"));
    let flow = Flow::flood(&far, Kind::Udp, From::Far, 9_000, false);
    let begun = std::time::Instant::now();
    while flow.received() < 3_000_000 {
        assert!(begun.elapsed() < PATIENCE, "{} arrived", flow.received());
        std::thread::sleep(Duration::from_millis(20));
    }
    let own = engine.flows().unwrap().into_iter();
    let own = own.filter(|seen| seen.flow.remote == Cable::RIGHT.ipv4);
    assert_eq!(own.count(), 0, "what another process does may be seen");
}

/// A control group of the test's own, that this process is in until it is dropped.
struct Group {
    path: std::path::PathBuf,
    before: std::path::PathBuf,
}

impl Group {
    fn enter() -> Self {
        let root = cgroup2_root().unwrap();
        let own = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let own = own
            .lines()
            .find_map(|line| line.strip_prefix("0::/"))
            .unwrap();
        let before = root.join(own);
        let path = root.join(format!("weirgate-test-{}", std::process::id()));
        std::fs::create_dir_all(path.join("inner")).unwrap();
        let group = Self { path, before };
        group.move_to(&group.path.join("inner"));
        group
    }

    fn move_to(&self, path: &std::path::Path) {
        let id = std::process::id().to_string();
        std::fs::write(path.join("cgroup.procs"), id).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.move_to(&self.before.clone());
        let _ = std::fs::remove_dir(self.path.join("inner"));
        let _ = std::fs::remove_dir(&self.path);
    }
}

#[test]
fn by_control_group_and_those_within() {
    if !permitted() {
        return;
    }
    let group = Group::enter();
    let far = Namespace::connected().unwrap();
    let path = group.path.display();
    limits(
        &far,
        9_103,
        &format!("direction = \"ingress\"\nlocal_port = 9103\ncgroup = \"{path}\""),
        From::Far,
        false,
    );
    limits(
        &far,
        9_103,
        &format!("direction = \"egress\"\nremote_port = 9103\ncgroup = \"{path}\""),
        From::Here,
        false,
    );
}

#[test]
fn an_unmatched_flow_is_untouched() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let engine = engine(&rule("direction = \"ingress\"\nlocal_port = 9000"));
    let limited = Flow::flood(&far, Kind::Tcp, From::Far, 9_000, false);
    let free = Flow::flood(&far, Kind::Tcp, From::Far, 9_001, false);
    holds(&engine, Kind::Tcp, "the limited one");
    let (_, received) = free.end();
    let (_, held) = limited.end();
    assert!(received > 20 * held, "{received} beside {held}");
    let flows = engine.flows().unwrap();
    assert!(flows.iter().all(|flow| flow.flow.local_port == 9_000));
}

/// S4: each 5-tuple had a bucket of its own, so that K flows got K times the rate; and buckets
/// were read, changed and written without a lock.
#[test]
fn eight_flows_share_one_rate() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    for kind in [Kind::Udp, Kind::Tcp] {
        let engine = engine(&rule("direction = \"ingress\"\nremote = \"10.77.0.2\""));
        let flows: Vec<Flow> = (9_000..9_008)
            .map(|port| Flow::flood(&far, kind, From::Far, port, false))
            .collect();
        std::thread::sleep(2 * WARM_UP);
        let rate = passed_rate(&engine, 0, 3 * SPAN);
        let error = (rate / RATE - 1.0).abs();
        assert!(error < 0.02, "{kind:?}: {rate} B/s");
        drop(flows);
    }
}

/// All counts agree to the byte: the sender's, the rule's, its flows', the receiver's, /proc's.
#[test]
fn counts_are_exact() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let text = "[[rule]]\nname = \"all\"\nmode = \"watch\"\ndirection = \"ingress\"\nhook = \"netfilter\"\n"
        .to_owned()
        + &rule("direction = \"ingress\"\nlocal_port = 9000");
    let before = in_octets();
    let engine = engine(&text);
    let flow = Flow::flood(&far, Kind::Udp, From::Far, 9_000, false);
    std::thread::sleep(WARM_UP);
    let (sent, received) = flow.end();
    let (all, limit) = (counts(&engine, 0), counts(&engine, 1));
    let headers = 28;
    let packet = DATAGRAM as u64 + headers;
    assert_eq!(limit.offered().bytes, limit.offered().packets * packet);
    assert_eq!(limit.offered().bytes / packet * DATAGRAM as u64, sent);
    assert_eq!(
        limit.passed.bytes - limit.passed.packets * headers,
        received
    );
    // What the limit drops, the watching rule before it is not charged for.
    assert_eq!(all.refused, limit.dropped);
    let flows = engine.flows().unwrap();
    let of_limit = flows.iter().find(|flow| flow.rule == "limit").unwrap();
    assert_eq!(
        (of_limit.counts.passed, of_limit.counts.dropped),
        (limit.passed, limit.dropped)
    );
    // Everything that came to this namespace's IP layer (neighbours ask for addresses in IPv6).
    let ipv4: u64 = flows
        .iter()
        .filter(|flow| flow.rule == "all" && flow.flow.remote.is_ipv4())
        .map(|flow| flow.counts.offered().bytes)
        .sum();
    assert_eq!(ipv4, in_octets() - before);
}

/// `InOctets` of this namespace: IPv4, network header included.
fn in_octets() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/net/netstat").unwrap();
    let mut lines = text.lines().filter(|line| line.starts_with("IpExt:"));
    let (names, values) = (lines.next().unwrap(), lines.next().unwrap());
    let at = names
        .split(' ')
        .position(|name| name == "InOctets")
        .unwrap();
    values.split(' ').nth(at).unwrap().parse().unwrap()
}

/// S4: below 256 KiB/s, packets of 64 KiB never passed.
#[test]
fn tcp_gets_through_a_small_rate() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let text = rule("direction = \"egress\"\nremote_port = 9000").replace("1 MB/s", "100 kB/s");
    let engine = engine(&text);
    let flow = Flow::flood(&far, Kind::Tcp, From::Here, 9_000, false);
    std::thread::sleep(WARM_UP);
    let rate = passed_rate(&engine, 0, 3 * SPAN);
    assert!((50_000.0..120_000.0).contains(&rate), "{rate} B/s");
    assert!(flow.received() > 150_000);
}

/// S4: no reload. Here a change has no gap: while rules are replaced a hundred times, no more
/// passes than one bucket and the larger rate allow.
#[test]
fn a_change_has_no_gap() {
    if !permitted() {
        return;
    }
    let far = Namespace::connected().unwrap();
    let slow = rule("direction = \"ingress\"\nlocal_port = 9000\nburst = \"50 kB\"");
    let fast = slow.replace("1 MB/s", "2 MB/s");
    let mut engine = engine(&slow);
    let flow = Flow::flood(&far, Kind::Udp, From::Far, 9_000, false);
    std::thread::sleep(Duration::from_millis(50));
    let before = counts(&engine, 0);
    for turn in 0..100 {
        let text = if turn % 2 == 0 { &fast } else { &slow };
        engine.apply(&rules(text)).unwrap();
        std::thread::sleep(Duration::from_millis(5));
    }
    let after = counts(&engine, 0);
    let nanos = after.seen_at - before.seen_at;
    let most = 50_000 + nanos / 500 + 2_000;
    let passed = after.passed.bytes - before.passed.bytes;
    assert!(passed <= most, "{passed} of at most {most}");
    assert!(passed >= nanos / 1_000 - 50_000, "{passed} in {nanos} ns");
    drop(flow);
}

/// A rule goes on when what it names is made anew under another number, as a service's group is
/// when it starts again; before, it was met no more, and nobody was told.
#[test]
fn what_is_made_anew_is_found_again() {
    if !permitted() {
        return;
    }
    let make = || {
        let words = "link add wgx type veth peer name wgy";
        let words: Vec<&str> = words.split(' ').collect();
        kernel::netns::command("ip", &words).unwrap();
        for name in ["wgx", "wgy"] {
            kernel::netns::command("ip", &["link", "set", name, "up"]).unwrap();
        }
        let words = ["addr", "add", "192.0.2.1/24", "dev", "wgx"];
        kernel::netns::command("ip", &words).unwrap();
    };
    let group = cgroup2_root().unwrap();
    let group = group.join(format!("weirgate-anew-{}", std::process::id()));
    std::fs::create_dir(&group).unwrap();
    make();
    let text = format!(
        "[[rule]]\nname = \"port\"\nmode = \"watch\"\ndirection = \"egress\"\ninterface = \"wgx\"\n\
         [[rule]]\nname = \"group\"\nmode = \"watch\"\ndirection = \"egress\"\nlocal_port = 9197\ncgroup = \"{}\"\n",
        group.display()
    );
    let mut engine = engine(&text);
    assert!(engine.refresh().unwrap().is_empty());
    kernel::netns::command("ip", &["link", "del", "wgx"]).unwrap();
    std::fs::remove_dir(&group).unwrap();
    let gone = engine.refresh().unwrap();
    assert_eq!(gone.len(), 2, "{gone:?}");
    assert!(gone.iter().all(|line| line.contains("it meets nothing")));
    assert!(engine.refresh().unwrap().is_empty(), "said once");
    // Another rule can change meanwhile.
    let more = text.clone() + "[[rule]]\nname = \"x\"\nmode = \"watch\"\ndirection = \"egress\"\n";
    engine.apply(&rules(&more)).unwrap();
    make();
    std::fs::create_dir(&group).unwrap();
    let back = engine.refresh().unwrap();
    let places = engine.places();
    std::fs::remove_dir(&group).unwrap();
    assert_eq!(back.len(), 2, "{back:?}");
    assert!(places.contains(&"tc wgx egress".to_owned()), "{places:?}");
    let before = counts(&engine, 0).passed.packets;
    let socket = std::net::UdpSocket::bind("192.0.2.1:0").unwrap();
    let words = [
        "neigh",
        "replace",
        "192.0.2.2",
        "lladdr",
        "02:00:00:00:00:09",
        "dev",
        "wgx",
    ];
    kernel::netns::command("ip", &words).unwrap();
    socket.send_to(&[7; 10], "192.0.2.2:9").unwrap();
    assert!(counts(&engine, 0).passed.packets > before);
}
