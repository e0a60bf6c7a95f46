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
        self.completed.push((arrival.as_nanos(), departure.as_nanos()));
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
    run(&scenario, &scenario.algorithms[0], 0, &mut log, &Stop::default()).expect("a run");
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
