use flow::{ByteSize, Timestamp};

use super::*;
use crate::record::{DropReason, FlowId};
use crate::scenario::{Origin, Overrides, parse};

#[derive(Default)]
struct Log {
    offered: u64,
    delivered: Vec<(u64, u64)>,
    completed: Vec<(u64, u64)>,
    dropped: u64,
}

impl Recorder for Log {
    fn offered(&mut self, _: Timestamp, size: ByteSize, _: FlowId) {
        self.offered += size.get();
    }
    fn delivered(&mut self, at: Timestamp, bytes: ByteSize, _: FlowId) {
        self.delivered.push((at.as_nanos(), bytes.get()));
    }
    fn completed(&mut self, arrival: Timestamp, departure: Timestamp, _: ByteSize, _: FlowId) {
        self.completed
            .push((arrival.as_nanos(), departure.as_nanos()));
    }
    fn dropped(&mut self, _: Timestamp, size: ByteSize, _: FlowId, _: DropReason) {
        self.dropped += size.get();
    }
}

fn scenario(text: &str) -> Scenario {
    let origin = Origin {
        stem: "test",
        shown: "test.toml",
        folder: None,
    };
    parse(text, origin, &Overrides::default()).expect("a scenario")
}

/// Everything the first algorithm of `text` lets through.
fn first_run(text: &str) -> Log {
    let scenario = scenario(text);
    let mut log = Log::default();
    run(
        &scenario,
        &scenario.algorithms[0],
        0,
        &mut log,
        &Stop::default(),
    )
    .expect("a run");
    log
}

const STREAM: &str = r#"
question = "?"
duration = "20 s"
drivers = ["model"]
mode = "stream"
sender = "blocking"
buffer = "16 KiB"
[reference]
rate = "5000 B/s"
burst = "5000 B"
[traffic]
pattern = "bulk"
[[algorithm]]
kind = "token-bucket"
"#;

#[test]
fn a_saturated_stream_takes_all_of_the_budget_and_no_more() {
    let log = first_run(STREAM);
    let total: u64 = log.delivered.iter().map(|(_, bytes)| bytes).sum();
    // The burst, then 250 bytes each 50 ms until just before the end.
    assert_eq!(total, 5_000 + 399 * 250);
    assert_eq!(log.delivered[0], (0, 5_000));
    assert_eq!(log.delivered[1], (50_000_000, 250));
}

/// The same load through a policer and a shaper, one second each of idling and flood.
const PACKETS: &str = r#"
question = "?"
duration = "4 s"
drivers = ["model"]
mode = "MODE"
queue = "2000 B"
[reference]
rate = "1000 B/s"
burst = "1000 B"
[traffic]
pattern = "constant"
rate = "2000 B/s"
size = "500 B"
[[algorithm]]
kind = "token-bucket"
"#;

#[test]
fn a_leaky_bucket_brings_its_own_queue() {
    let shaped = |queue: &str| {
        let text = PACKETS.replace("MODE", "shape");
        let own = format!("kind = \"leaky-bucket\"\n{queue}");
        first_run(&text.replace("kind = \"token-bucket\"", &own))
    };
    let (scenarios, own) = (shaped(""), shaped("queue = \"500 B\""));
    assert!(
        own.dropped > scenarios.dropped,
        "{} {}",
        own.dropped,
        scenarios.dropped
    );
}

#[test]
fn a_policer_drops_what_a_shaper_delays() {
    let policed = first_run(&PACKETS.replace("MODE", "police"));
    let shaped = first_run(&PACKETS.replace("MODE", "shape"));
    assert_eq!(policed.offered, 8_000);
    assert_eq!(shaped.offered, 8_000);
    let passed: u64 = policed.delivered.iter().map(|(_, bytes)| bytes).sum();
    assert_eq!(passed + policed.dropped, 8_000);
    assert!(policed.completed.iter().all(|(came, left)| came == left));
    assert!(shaped.completed.iter().any(|(came, left)| came < left));
    assert!(shaped.dropped < policed.dropped);
}

#[test]
fn a_change_of_rate_moves_what_waits() {
    let change = "\n[[rate_change]]\nat = \"2 s\"\nrate = \"500 B/s\"\n";
    let text = PACKETS
        .replace("MODE", "shape")
        .replace("2000 B\"", "100 kB\"");
    let steady = first_run(&text);
    let slowed = first_run(&(text + change));
    let by = |log: &Log, until| log.delivered.iter().filter(|(at, _)| *at <= until).count();
    assert_eq!(by(&steady, 2_000_000_000), by(&slowed, 2_000_000_000));
    // 1000 B/s for two more seconds are four packets, 500 B/s two.
    assert_eq!(by(&steady, 3_999_999_999) - by(&slowed, 3_999_999_999), 2);
}

#[test]
fn a_run_that_is_stopped_ends_early() {
    let scenario = scenario(&STREAM.replace("20 s", "90000 s"));
    let stop = Stop::default();
    stop.request();
    let mut log = Log::default();
    run(&scenario, &scenario.algorithms[0], 0, &mut log, &stop).expect("a run");
    assert!(log.delivered.len() < 10);
}
