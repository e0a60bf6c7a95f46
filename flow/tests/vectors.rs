//! Every policy against decisions that were computed independently, in exact
//! fractions: 60 cases, equal byte for byte.

#![expect(
    clippy::panic,
    clippy::unwrap_used,
    reason = "a vector that cannot be read fails the test"
)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

use weirgate_flow::shaper::LiveShaper;
use weirgate_flow::{
    AnyLimiter, ByteSize, DropReason, Policer, Policy, Shaper, Timestamp, Verdict,
};

struct Case {
    policy: Policy,
    mode: String,
    queue: Option<ByteSize>,
    trace: Vec<Packet>,
    events: String,
}

struct Packet {
    at: Timestamp,
    size: ByteSize,
    user: String,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/vectors")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

fn number(text: &str) -> u64 {
    text.parse().unwrap_or_else(|e| panic!("{text}: {e}"))
}

fn cases() -> Vec<Case> {
    read("cases.tsv").lines().skip(1).map(case).collect()
}

fn case(line: &str) -> Case {
    let [policy, mode, queue, trace, events] = fields(line, '\t');
    Case {
        policy: policy.parse().unwrap_or_else(|e| panic!("{policy}: {e}")),
        mode: mode.into(),
        queue: (!queue.is_empty()).then(|| ByteSize::new(number(queue))),
        trace: read(trace).lines().skip(1).map(packet).collect(),
        events: read(events),
    }
}

fn packet(line: &str) -> Packet {
    let [at, size, user, _connection] = fields(line, ',');
    Packet {
        at: Timestamp::from_nanos(number(at)),
        size: ByteSize::new(number(size)),
        user: user.into(),
    }
}

fn fields<const N: usize>(line: &str, separator: char) -> [&str; N] {
    let fields: Vec<_> = line.split(separator).collect();
    fields.try_into().unwrap_or_else(|_| panic!("{line}"))
}

/// Runs a case with `decide` and writes its events as the harness does.
fn events(case: &Case, mut decide: impl FnMut(&Packet) -> Verdict) -> String {
    let mut csv = String::from("i,t_ns,size,user,dep_ns,why\n");
    for (i, packet) in case.trace.iter().enumerate() {
        let (departure, why) = match decide(packet) {
            Verdict::Departs(at) => (at.as_nanos().to_string(), ""),
            Verdict::Drop(DropReason::Police) => (String::new(), "police"),
            Verdict::Drop(DropReason::Queue) => (String::new(), "queue"),
            Verdict::Drop(DropReason::Oversize) => (String::new(), "oversize"),
        };
        let (at, size, user) = (packet.at.as_nanos(), packet.size.get(), &packet.user);
        writeln!(csv, "{i},{at},{size},{user},{departure},{why}").unwrap();
    }
    csv
}

fn assert_equal(case: &Case, found: &str) {
    let differs = case.events.lines().zip(found.lines()).find(|(a, b)| a != b);
    let (policy, mode) = (&case.policy, &case.mode);
    assert_eq!(differs, None, "{policy} {mode}: expected, found");
    assert_eq!(case.events, found, "{policy} {mode}");
}

#[test]
fn there_are_sixty() {
    assert_eq!(cases().len(), 60);
}

#[test]
fn policers_and_shapers_decide_as_the_vectors_say() {
    for case in cases() {
        let limiter = case.policy.build();
        let mut policer = Policer::new(limiter.clone());
        let mut shaper = Shaper::new(limiter, case.queue);
        let found = match case.mode.as_str() {
            "police" => events(&case, |packet| policer.offer(packet.at, packet.size)),
            "shape" => events(&case, |packet| shaper.offer(packet.at, packet.size)),
            other => panic!("{other}"),
        };
        assert_equal(&case, &found);
    }
}

#[test]
fn a_live_shaper_decides_the_same() {
    for case in cases().iter().filter(|case| case.mode == "shape") {
        let mut shaper: LiveShaper<AnyLimiter, ()> =
            LiveShaper::new(case.policy.build(), case.queue);
        let found = events(case, |packet| {
            while shaper.pop(packet.at).is_some() {}
            shaper.offer(packet.at, packet.size, ())
        });
        assert_equal(case, &found);
    }
}
