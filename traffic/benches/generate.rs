//! Time per generated packet: `cargo bench -p weirgate-traffic`.
#![expect(
    clippy::expect_used,
    reason = "the patterns stand above, and none ends"
)]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flow::Timestamp;
use std::hint::black_box;
use weirgate_traffic::{AnyGenerator, Generator, Mix, Pattern, Purpose, Source, StreamSeed};

const PACKETS: u64 = 10_000;

const PATTERNS: [&str; 8] = [
    "bursty",
    "bursty:sleep=ms",
    "constant:rate=1MB/s,size=500B",
    "poisson:rate=1MB/s,size=imix",
    "on-off:peak_rate=1MB/s,mean_on=100ms,mean_off=1s,periods=pareto,size=500B",
    "mmpp:states=1MB/s@1s+idle@1s,size=500B",
    "ramp:from=1kB/s,to=1MB/s,over=1000s,size=500B",
    "steps:levels=1MB/s@1s+idle@1s,repeat=true,size=500B",
];

fn source(pattern: &str, connection: u32) -> Source {
    let pattern: Pattern = pattern.parse().expect("a pattern");
    let seed = StreamSeed::derive(1, 0, 0, connection, Purpose::Traffic);
    Source {
        user: 0,
        connection,
        start: Timestamp::ZERO,
        generator: pattern.generator(seed).expect("not a trace"),
    }
}

fn generators(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("generator");
    group.throughput(Throughput::Elements(PACKETS));
    for pattern in PATTERNS {
        let mut generator: AnyGenerator = source(pattern, 0).generator;
        let mut now = Timestamp::ZERO;
        group.bench_function(pattern, |bencher| {
            bencher.iter(|| {
                for _ in 0..PACKETS {
                    let send = generator.next_send(now).expect("endless");
                    now = send.at;
                    black_box(send.size);
                }
            });
        });
    }
}

fn mixes(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mix");
    group.throughput(Throughput::Elements(PACKETS));
    for senders in [1, 2, 64, 1000] {
        let mut mix = Mix::new((0..senders).map(|connection| source("bursty", connection)));
        group.bench_function(format!("bursty x {senders}"), |bencher| {
            bencher.iter(|| {
                for packet in mix.by_ref().take(10_000) {
                    black_box(packet);
                }
            });
        });
    }
}

criterion_group!(benches, generators, mixes);
criterion_main!(benches);
