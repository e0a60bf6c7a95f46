//! What it costs to measure a packet: every metric on, the offered stream of a
//! bursty sender through a policer and through a shaper.

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::{ByteRate, ByteSize, Nanos, Timestamp};
use weirgate::metrics::{RunMetrics, RunSpec, UserSpec};
use weirgate::record::{DropReason, FlowId, Recorder};
use weirgate::scenario::Reference;

const PACKETS: u64 = 1 << 20;
const FLOW: FlowId = FlowId {
    user: 0,
    connection: 0,
};

/// One packet; `departure` is `None` if it was dropped.
struct Event {
    arrival: Timestamp,
    departure: Option<Timestamp>,
    size: ByteSize,
}

/// Random sizes; now and then a clump of 51 packets at one instant.
fn arrivals() -> impl Iterator<Item = (u64, u64)> {
    let (mut state, mut at, mut clump) = (0x9E37_79B9_7F4A_7C15_u64, 0, 0);
    (0..PACKETS).map(move |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        if clump == 0 {
            at += state % 500_000;
            clump = if state >> 60 == 0 { 51 } else { 1 };
        }
        clump -= 1;
        (at, 64 + (state >> 32) % 1_400)
    })
}

/// Through a meter of `rate` and `burst`, in byte-nanoseconds; `waits`: shaped.
fn events(rate: u64, burst: u64, waits: bool) -> Vec<Event> {
    let (mut level, mut last, burst) = (0_u64, 0_u64, burst * 1_000_000_000);
    let one = |(arrival, size): (u64, u64)| {
        let mut at = arrival.max(last);
        let needed = size * 1_000_000_000;
        level = level.saturating_sub((at - last) * rate);
        last = at;
        if waits {
            let wait = (level + needed).saturating_sub(burst).div_ceil(rate);
            at += wait;
            level = level.saturating_sub(wait * rate);
            last = at;
        }
        let passes = level + needed <= burst;
        level += if passes { needed } else { 0 };
        Event {
            arrival: Timestamp::from_nanos(arrival),
            departure: passes.then(|| Timestamp::from_nanos(at)),
            size: ByteSize::new(size),
        }
    };
    arrivals().map(one).collect()
}

fn spec(rate: u64, burst: u64) -> RunSpec {
    let policy = format!("token-bucket:rate={rate}B/s,burst={burst}B");
    let user = UserSpec {
        connections: 1,
        reference: ByteRate::new(rate).map(|rate| Reference {
            rate,
            burst: ByteSize::new(burst),
        }),
        policy: policy.parse().ok(),
        ..UserSpec::default()
    };
    RunSpec {
        duration: Some(Nanos::from_secs(3_600)),
        bin: Nanos::from_millis(100),
        waits: false,
        burstiness: Vec::new(),
        train_gap: Nanos::ZERO,
        users: vec![user],
    }
}

fn feed(metrics: &mut impl Recorder, events: &[Event]) {
    for event in events {
        metrics.offered(event.arrival, event.size, FLOW);
        if let Some(departure) = event.departure {
            metrics.delivered(departure, event.size, FLOW);
            metrics.completed(event.arrival, departure, event.size, FLOW);
        } else {
            metrics.dropped(event.arrival, event.size, FLOW, DropReason::Police);
        }
    }
}

fn measure(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("metrics");
    group
        .throughput(Throughput::Elements(PACKETS))
        .sample_size(20)
        .measurement_time(Duration::from_secs(5));
    let cases = [
        ("policed, all pass", 100_000_000, false),
        ("policed, a tenth pass", 1_000_000, false),
        ("shaped, half the load", 20_000_000, true),
        ("shaped, overload", 9_500_000, true),
    ];
    for (name, rate, waits) in cases {
        let (events, spec) = (events(rate, 100_000, waits), spec(rate, 100_000));
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let mut metrics = RunMetrics::new(&spec);
                feed(&mut metrics, &events);
                black_box(metrics)
            });
        });
    }
    group.finish();
}

criterion_group!(benches, measure);
criterion_main!(benches);
