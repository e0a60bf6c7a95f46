//! What one decision costs.
//!
//! `cargo bench -p weirgate-flow`. Three groups:
//! - `admit`: every policy over the same 4,096 packets, and beside the token
//!   bucket a GCRA written by hand in 64 bits, with no care for exactness;
//! - `shared`: the lock-free token bucket beside governor, with equal clocks;
//! - `share`: one grant among many waiters.

#![expect(clippy::expect_used, reason = "a benchmark that cannot be set up")]
#![expect(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "a benchmark reads the clock"
)]

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use governor::clock::{Clock, FakeRelativeClock, QuantaClock, Reference};
use governor::middleware::NoOpMiddleware;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use weirgate_flow::policy::{AnyLimiter, Visitor};
use weirgate_flow::share::Share;
use weirgate_flow::shared::SharedTokenBucket;
use weirgate_flow::{ByteRate, ByteSize, Limiter, Policy, Timestamp};

/// Every kind, near 1 MB/s: about half of the packets pass.
const POLICIES: [&str; 18] = [
    "token-bucket:rate=1MB/s,burst=20kB",
    "dual-token-bucket:rate=1MB/s,burst=20kB,peak_rate=4MB/s,mtu=1500B",
    "leaky-bucket:rate=1MB/s",
    "leaky-bucket-meter:rate=1MB/s,burst=20kB",
    "gcra:rate=1MB/s,burst=20kB",
    "fixed-window:limit=100kB,window=100ms",
    "sliding-window-log:limit=100kB,window=100ms",
    "sliding-window-counter:limit=100kB,window=100ms",
    "ewma:rate=1MB/s,interval=10ms",
    "ewma-continuous:rate=1MB/s,time_constant=100ms",
    "sr-tcm:rate=1MB/s,cbs=20kB,ebs=40kB",
    "tr-tcm:rate=1MB/s,cbs=20kB,peak_rate=4MB/s,pbs=40kB",
    "wirefisher:rate=1MB/s,time_scale=1s",
    "homework-polling:rate=1MB/s",
    "homework-sleep:rate=1MB/s",
    "shadowsocks-close:rate=1MB/s",
    "shadowsocks-debt:rate=1MB/s",
    "none",
];

/// Gaps in nanoseconds and sizes in bytes, about 2 MB/s in all.
struct Packets(Vec<(u64, u64)>);

impl Packets {
    const COUNT: u32 = 4_096;

    fn new() -> Self {
        let mut state = 1_u64;
        let mut draw = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let packets = (0..Self::COUNT).map(|_| (draw(732_000), 64 + draw(1_409)));
        Self(packets.collect())
    }

    /// Asks `admit` about each packet, time going on from `start`.
    #[inline]
    fn offer(&self, start: u64, mut admit: impl FnMut(u64, u64) -> bool) -> (u64, u32) {
        let (mut now, mut passed) = (start, 0);
        for &(gap, size) in &self.0 {
            now += gap;
            passed += u32::from(admit(now, size));
        }
        (now, passed)
    }
}

/// GCRA as one writes it by hand: 64 bits, a whole number of nanoseconds a byte.
#[derive(Clone)]
struct HandWritten {
    nanos_per_byte: u64,
    tolerance: u64,
    /// Theoretical arrival time.
    tat: u64,
}

impl HandWritten {
    #[inline]
    fn admit(&mut self, now: u64, size: u64) -> bool {
        let tat = self.tat.max(now) + size * self.nanos_per_byte;
        let conforms = tat - now <= self.tolerance;
        if conforms {
            self.tat = tat;
        }
        conforms
    }
}

struct Admit<'a> {
    criterion: &'a mut Criterion,
    name: &'a str,
    packets: &'a Packets,
}

impl Visitor for Admit<'_> {
    type Out = ();

    fn visit<L: Limiter + Clone + Send + Into<AnyLimiter> + 'static>(self, mut limiter: L) {
        let mut group = self.criterion.benchmark_group("admit");
        group.throughput(Throughput::Elements(u64::from(Packets::COUNT)));
        // Outside: the closure is called for each sample, and time goes on.
        let mut start = 0;
        group.bench_function(self.name, |bencher| {
            bencher.iter(|| {
                let (end, passed) = self.packets.offer(start, |now, size| {
                    limiter.admit(Timestamp::from_nanos(now), ByteSize::new(size))
                });
                start = end;
                passed
            });
        });
        group.finish();
    }
}

fn admit(criterion: &mut Criterion) {
    let packets = Packets::new();
    for policy in POLICIES {
        let name = policy.split(':').next().unwrap_or_default();
        let policy: Policy = policy.parse().expect("written above");
        policy.visit(Admit {
            criterion,
            name,
            packets: &packets,
        });
    }
    let mut group = criterion.benchmark_group("admit");
    group.throughput(Throughput::Elements(u64::from(Packets::COUNT)));
    let mut start = 0;
    let mut limiter = HandWritten {
        nanos_per_byte: 1_000,
        tolerance: 20_000_000,
        tat: 0,
    };
    group.bench_function("hand-written u64 gcra", |bencher| {
        bencher.iter(|| {
            let (end, passed) = packets.offer(start, |now, size| limiter.admit(now, size));
            start = end;
            passed
        });
    });
    group.finish();
}

/// A limiter that several threads may ask at once.
trait Contended: Sync {
    fn decide(&self, size: NonZeroU32) -> bool;
}

struct Ours<C: Clock> {
    bucket: SharedTokenBucket,
    clock: C,
    start: C::Instant,
}

impl<C: Clock<Instant: Sync> + Sync> Contended for Ours<C> {
    #[inline]
    fn decide(&self, size: NonZeroU32) -> bool {
        let since_start = self.clock.now().duration_since(self.start).as_u64();
        let now = Timestamp::from_nanos(since_start);
        self.bucket
            .try_take(now, ByteSize::new(u64::from(size.get())))
    }
}

type Governor<C> = RateLimiter<NotKeyed, InMemoryState, C, NoOpMiddleware<<C as Clock>::Instant>>;

impl<C: Clock<Instant: Sync> + Sync> Contended for Governor<C> {
    #[inline]
    fn decide(&self, size: NonZeroU32) -> bool {
        matches!(self.check_n(size), Ok(Ok(())))
    }
}

/// Time for `iterations` decisions of each of `threads` threads at once.
fn contend(
    limiter: &impl Contended,
    size: NonZeroU32,
    threads: usize,
    iterations: u64,
) -> Duration {
    let barrier = Barrier::new(threads);
    let run = || {
        barrier.wait();
        let start = Instant::now();
        for _ in 0..iterations {
            black_box(limiter.decide(black_box(size)));
        }
        start.elapsed()
    };
    if threads == 1 {
        return run();
    }
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(run)).collect();
        let times = running.into_iter().map(|thread| thread.join());
        times.map(|time| time.expect("it ran")).max()
    })
    .expect("at least one thread")
}

/// What is asked of both limiters.
struct Load {
    outcome: &'static str,
    rate: u32,
    burst: u32,
    size: u32,
}

/// Always conforms: no decision takes less than the nanosecond that earns its
/// byte, and the burst lasts for a sample even if the clock stands still. (One
/// byte a nanosecond is also the highest rate that governor can hold.)
const PASSES: Load = Load {
    outcome: "passes",
    rate: 1_000_000_000,
    burst: 1 << 30,
    size: 1,
};

/// Conforms once, then not for a second and a half.
const REFUSED: Load = Load {
    outcome: "refused",
    rate: 1_000,
    burst: 1_500,
    size: 1_500,
};

/// Both limiters with the same load and the same clock.
fn compare<C>(criterion: &mut Criterion, clock_name: &str, clock: &C, load: &Load)
where
    C: Clock<Instant: Sync> + Clone + Sync,
{
    let nonzero = |value| NonZeroU32::new(value).expect("written above");
    let size = nonzero(load.size);
    let ours = || Ours {
        bucket: SharedTokenBucket::new(
            ByteRate::new(u64::from(load.rate)).expect("written above"),
            ByteSize::new(u64::from(load.burst)),
        )
        .expect("below 1 GiB"),
        clock: clock.clone(),
        start: clock.now(),
    };
    let governor = || {
        let quota = Quota::per_second(nonzero(load.rate)).allow_burst(nonzero(load.burst));
        RateLimiter::direct_with_clock(quota, clock.clone())
    };
    let name = format!("shared/{clock_name} clock/{}", load.outcome);
    let mut group = criterion.benchmark_group(name);
    for threads in [1, 2] {
        group.bench_function(BenchmarkId::new("ours", threads), |bencher| {
            bencher.iter_custom(|iterations| contend(&ours(), size, threads, iterations));
        });
        group.bench_function(BenchmarkId::new("governor", threads), |bencher| {
            bencher.iter_custom(|iterations| contend(&governor(), size, threads, iterations));
        });
    }
    group.finish();
}

fn shared(criterion: &mut Criterion) {
    for load in [PASSES, REFUSED] {
        compare(criterion, "standing", &FakeRelativeClock::default(), &load);
        compare(criterion, "quanta", &QuantaClock::default(), &load);
    }
}

/// Grants of a turn each to members that come again at once.
fn share(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("share");
    let turn = ByteSize::new(1_500);
    for members in [1_u32, 10, 100, 1_000, 10_000, 100_000] {
        let mut share = Share::new(turn);
        for _ in 0..members {
            let member = share.join(NonZeroU32::MIN);
            share.want(member, turn);
        }
        group.bench_function(BenchmarkId::new("grant", members), |bencher| {
            bencher.iter(|| {
                let served = share.serve(turn);
                if let Some((member, _)) = served {
                    share.want(member, turn);
                }
                served
            });
        });
    }
    group.finish();
}

criterion_group!(benches, admit, shared, share);
criterion_main!(benches);
