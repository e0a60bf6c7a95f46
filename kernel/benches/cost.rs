//! What a packet costs: our programs by the kernel's own run-time statistics, and beside them,
//! by the CPU time of a whole send down to the other end of the cable, `tc tbf` and nftables' `limit`.
//!
//! `cargo bench -p weirgate-kernel --features bpf --bench cost` as root. Rates are far above
//! what is sent, so that nothing is dropped and every packet takes the longest way.
#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::cast_precision_loss,
    missing_docs,
    reason = "a program that measures"
)]

use std::net::UdpSocket;

use kernel::config::{Format, parse};
use kernel::engine::Engine;
use kernel::netns::{Cable, Namespace, command, enter_fresh};
use kernel::rule::Rules;
use libbpf_rs::query::ProgInfoIter;
use nix::time::{ClockId, clock_gettime};

const PACKETS: u32 = 30_000;
const ROUNDS: usize = 5;
const TURNS: usize = 5;
const STATISTICS: &str = "/proc/sys/kernel/bpf_stats_enabled";

fn main() {
    // As `cargo test` calls it: nothing to test.
    if !std::env::args().any(|word| word == "--bench") {
        return;
    }
    if let Some(missing) = kernel::engine::missing() {
        println!("SKIP: {missing}");
        return;
    }
    enter_fresh().unwrap();
    let far = Namespace::connected().unwrap();
    let port = 9_000;
    let _receiver = far.run(move || UdpSocket::bind((Cable::RIGHT.ipv4, port)).unwrap());
    let socket = UdpSocket::bind((Cable::LEFT.ipv4, 0)).unwrap();
    socket.connect((Cable::RIGHT.ipv4, port)).unwrap();
    for (what, lines) in [
        ("netfilter", "hook = \"netfilter\""),
        ("cgroup", "hook = \"cgroup\""),
        ("tc", "interface = \"wg0\"\nhook = \"tc\""),
    ] {
        for flows in [false, true] {
            let (mut engine, rules) = ours(lines, flows, 1);
            let (ns, _) = by_statistics(&socket);
            let ours = format!("ours, {what}, flows = {flows}");
            println!("{ours:<34} {ns:>7.0} ns in the program");
            show(&ours, &socket, |on| {
                let nothing = Rules::default();
                engine.apply(if on { &rules } else { &nothing }).unwrap();
            });
        }
    }
    for rules in [10, 100, 1_000] {
        let _engine = ours("interface = \"wg0\"\nhook = \"tc\"", false, rules);
        let (ns, _) = by_statistics(&socket);
        println!(
            "{:<44} {ns:>7.1} ns a packet in the program",
            format!("ours, {rules} rules, one met")
        );
    }

    let on = "qdisc add dev wg0 root tbf rate 80gbit burst 1gb latency 1s";
    switched("tc tbf", &socket, "tc", [on, "qdisc del dev wg0 root"]);
    let on = "table ip w { chain c { type filter hook output priority 0; \
              limit rate over 10000 mbytes/second burst 1000 mbytes drop; }; }";
    switched("nftables limit", &socket, "nft", [on, "delete table ip w"]);
}

/// What another limiter costs, which `program` switches on and off.
fn switched(what: &str, socket: &UdpSocket, program: &str, lines: [&str; 2]) {
    let call = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        command(program, &words)
    };
    if let Err(error) = call(lines[0]) {
        println!("{what}: {error}");
        return;
    }
    call(lines[1]).unwrap();
    let mut was = false;
    show(what, socket, |on| {
        if on != was {
            call(lines[usize::from(!on)]).unwrap();
            was = on;
        }
    });
}

/// A send without and with a limiter, in turns.
fn show(what: &str, socket: &UdpSocket, mut switch: impl FnMut(bool)) {
    let mut least = [f64::INFINITY; 2];
    for _ in 0..TURNS {
        for on in [false, true] {
            switch(on);
            let least = &mut least[usize::from(on)];
            *least = least.min(round_trip(socket));
        }
    }
    switch(false);
    let [without, with] = least;
    println!(
        "{what:<34} {with:>7.0} ns a send, {:>5.0} more than without",
        with - without
    );
}

/// A policer that everything meets, behind as many that nothing does.
fn ours(lines: &str, flows: bool, rules: usize) -> (Engine, Rules) {
    let rule = |i: usize, extra: &str| {
        format!(
            "[[rule]]\nname = \"r{i}\"\ndirection = \"egress\"\nrate = \"10 GB/s\"\nflows = {flows}\n{lines}\n{extra}\n"
        )
    };
    let others: String = (1..rules).map(|i| rule(i, "remote_port = 1")).collect();
    let loaded = parse(&(others + &rule(0, "")), Format::Toml).unwrap();
    let mut engine = Engine::load().unwrap();
    engine.apply(&loaded.rules).unwrap();
    (engine, loaded.rules)
}

fn send(socket: &UdpSocket, packets: u32) {
    let datagram = [7; 64];
    for _ in 0..packets {
        // A receiver that is slow loses some, which is no matter here.
        let _ = socket.send(&datagram);
    }
}

/// Nanoseconds that this thread has had a CPU: what others do does not count.
fn cpu_time() -> f64 {
    let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap();
    time.tv_sec() as f64 * 1e9 + time.tv_nsec() as f64
}

/// Nanoseconds of one send, the least of several rounds.
fn round_trip(socket: &UdpSocket) -> f64 {
    send(socket, PACKETS / 10);
    let round = |_| {
        let before = cpu_time();
        send(socket, PACKETS);
        (cpu_time() - before) / f64::from(PACKETS)
    };
    (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min)
}

/// Nanoseconds in our programs by the kernel's statistics, and how many packets.
fn by_statistics(socket: &UdpSocket) -> (f64, u64) {
    std::fs::write(STATISTICS, "1").unwrap();
    let before = totals();
    send(socket, PACKETS);
    let after = totals();
    std::fs::write(STATISTICS, "0").unwrap();
    let (nanos, runs) = (after.0 - before.0, after.1 - before.1);
    (nanos as f64 / runs.max(1) as f64, runs)
}

fn totals() -> (u64, u64) {
    let ours = ["wg_netfilter", "wg_cgroup_egres", "wg_tc_egress"];
    ProgInfoIter::default()
        .filter(|program| {
            ours.iter()
                .any(|name| program.name.to_string_lossy().starts_with(name))
        })
        .fold((0, 0), |(nanos, runs), program| {
            (nanos + program.run_time_ns, runs + program.run_cnt)
        })
}
