//! One connection in front of a policer, its figures known.

use flow::{ByteSize, Timestamp};

use super::Received;
use crate::driver::Stop;
use crate::record::{DropReason, FlowId, Recorder};
use crate::scenario::{Origin, Overrides, Scenario, parse};

#[derive(Default)]
struct Tally {
    offered: u64,
    delivered: Vec<(Timestamp, u64)>,
    completed: u64,
    dropped: u64,
}

impl Recorder for Tally {
    fn offered(&mut self, _: Timestamp, size: ByteSize, _: FlowId) {
        self.offered += size.get();
    }
    fn delivered(&mut self, at: Timestamp, bytes: ByteSize, _: FlowId) {
        self.delivered.push((at, bytes.get()));
    }
    fn completed(&mut self, _: Timestamp, _: Timestamp, size: ByteSize, _: FlowId) {
        self.completed += size.get();
    }
    fn dropped(&mut self, _: Timestamp, _: ByteSize, _: FlowId, why: DropReason) {
        assert_eq!(why, DropReason::Police);
        self.dropped += 1;
    }
}

fn scenario(kind: &str, tcp: &str, burst: &str, rtt: &str) -> Scenario {
    let text = format!(
        "duration = \"60 s\"\nsender = \"blocking\"\nbuffer = \"4 MiB\"\n\
         reference = {{ rate = \"1 MB/s\", burst = \"{burst}\" }}\n\
         traffic = {{ pattern = \"bulk\", chunk = \"16 KiB\" }}\n\
         [[algorithm]]\nkind = \"{kind}\"\ntcp = \"{tcp}\"\nrtt = \"{rtt}\"\n"
    );
    let origin = Origin {
        shown: "test.toml",
        stem: "test",
        folder: None,
    };
    parse(&text, origin, &Overrides::default()).unwrap()
}

fn run(scenario: &Scenario) -> Tally {
    let mut tally = Tally::default();
    let algorithm = &scenario.algorithms[0];
    crate::driver::model::run(scenario, algorithm, 0, &mut tally, &Stop::default()).unwrap();
    tally
}

/// Bytes a second over the second half of the run.
fn rate(tally: &Tally) -> f64 {
    let half = Timestamp::from_nanos(30_000_000_000);
    let late = tally.delivered.iter().filter(|(at, _)| *at >= half);
    let bytes: u64 = late.map(|(_, bytes)| bytes).sum();
    bytes as f64 / 30.0
}

#[test]
fn a_policer_holds_tcp_below_its_rate_and_the_deeper_the_less() {
    for tcp in ["reno", "cubic"] {
        let shallow = run(&scenario("token-bucket", tcp, "10 kB", "20 ms"));
        let deep = run(&scenario("token-bucket", tcp, "250 kB", "20 ms"));
        assert!(shallow.dropped > 0 && deep.dropped > 0);
        let (shallow, deep) = (rate(&shallow), rate(&deep));
        assert!(
            shallow < deep && deep <= 1.005e6,
            "{tcp}: {shallow}, {deep}"
        );
        assert!(deep > 0.7e6, "{tcp}: {deep}");
    }
}

#[test]
fn nothing_is_delivered_twice_or_out_of_order() {
    let tally = run(&scenario("token-bucket", "cubic", "50 kB", "5 ms"));
    let delivered: u64 = tally.delivered.iter().map(|(_, bytes)| bytes).sum();
    assert!(delivered <= tally.offered && delivered > 0);
    assert!(tally.completed <= delivered && delivered - tally.completed < 16 << 10);
    let dropped = tally.dropped * super::MSS;
    assert!(delivered + dropped <= tally.offered);
    assert!(tally.delivered.is_sorted_by_key(|(at, _)| *at));
}

/// Without a limit the buffer alone decides: 4 MiB over 400 ms.
#[test]
fn without_a_limit_the_buffer_fills_the_path() {
    let tally = run(&scenario("none", "reno", "10 kB", "400 ms"));
    assert_eq!(tally.dropped, 0);
    let most = f64::from(4 << 20) / 0.4;
    let rate = rate(&tally);
    assert!(
        (0.9 * most..=1.1 * most).contains(&rate),
        "{rate} of {most}"
    );
}

#[test]
fn the_same_again_is_the_same() {
    let scenario = scenario("token-bucket", "cubic", "100 kB", "3 ms");
    assert_eq!(run(&scenario).delivered, run(&scenario).delivered);
}

#[test]
fn bytes_behind_a_gap_wait_for_it() {
    let mut received = Received::default();
    assert_eq!(received.take(10, 20), 0);
    assert_eq!(received.take(30, 40), 0);
    assert_eq!(received.take(0, 10), 20);
    assert_eq!(received.take(5, 15), 0, "again");
    assert_eq!(received.take(20, 30), 20);
    assert!(received.above.is_empty());
}
