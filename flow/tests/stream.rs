//! Pacing a byte stream: every byte of the rate, in pieces of a useful size.

use proptest::prelude::*;
use weirgate_flow::policy::AnyLimiter;
use weirgate_flow::stream::{Grant, Stream};
use weirgate_flow::{ByteRate, ByteSize, Nanos, Policy, Timestamp};

const SECOND: u64 = 1_000_000_000;

/// A stream whose bucket has been emptied at the origin of time.
fn stream(policy: &str) -> Result<Stream<AnyLimiter>, weirgate_flow::spec::SpecError> {
    let policy: Policy = policy.parse()?;
    Ok(Stream::new(policy, policy.build()))
}

/// Instants and sizes of what moves until `seconds` have passed.
fn pieces(stream: &mut Stream<AnyLimiter>, seconds: u64) -> Vec<(Timestamp, u64)> {
    let mut moved = Vec::new();
    let mut now = Timestamp::ZERO;
    while let Some((at, size)) = stream.move_next(now, ByteSize::MAX) {
        if at.as_nanos() > seconds * SECOND {
            break;
        }
        moved.push((at, size.get()));
        now = at;
    }
    moved
}

#[test]
fn one_byte_a_second_moves_one_byte_a_second() {
    let mut stream = stream("token-bucket:rate=1B/s,burst=1500B,initial=0B").expect("valid");
    let seconds: Vec<_> = (1..=600)
        .map(|second| (Timestamp::from_nanos(second * SECOND), 1))
        .collect();
    assert_eq!(pieces(&mut stream, 600), seconds);
}

#[test]
fn three_kilobytes_a_second_flow_smoothly() {
    for kind in [
        "token-bucket:burst=1500B,",
        "gcra:burst=1500B,",
        "leaky-bucket:",
    ] {
        let mut stream = stream(&format!("{kind}rate=3kB/s")).expect("valid");
        let moved = pieces(&mut stream, 60);
        let after_burst = &moved[1..];
        for (before, after) in after_burst.iter().zip(&after_burst[1..]) {
            assert!((100..=600).contains(&after.1), "{kind} {after:?}");
            assert!(after.0.since(before.0) < Nanos::from_millis(200), "{kind}");
        }
        let total: u64 = moved.iter().map(|(_, size)| size).sum();
        let at_least = 60 * 3_000;
        assert!(
            (at_least..=at_least + 1_500).contains(&total),
            "{kind} {total}"
        );
    }
}

#[test]
fn a_small_request_waits_for_itself_only() {
    let mut stream = stream("token-bucket:rate=1kB/s,burst=1kB,initial=0B").expect("valid");
    let ten = ByteSize::new(10);
    let in_10_ms = Timestamp::from_nanos(SECOND / 100);
    assert_eq!(stream.grant(Timestamp::ZERO, ten), Grant::At(in_10_ms));
    assert_eq!(stream.grant(in_10_ms, ten), Grant::Now(ten));
    // A large one waits for a quantum of 50 bytes instead of taking crumbs.
    let in_50_ms = Timestamp::from_nanos(SECOND / 20);
    assert_eq!(stream.grant(in_10_ms, ByteSize::MAX), Grant::At(in_50_ms));
    assert_eq!(
        stream.grant(in_10_ms, ByteSize::ZERO),
        Grant::Now(ByteSize::ZERO)
    );
    // What did not move after all is there for the next.
    stream.commit(in_50_ms, ByteSize::new(50));
    stream.refund(in_50_ms, ByteSize::new(40));
    assert_eq!(
        stream.grant(in_50_ms, ByteSize::new(40)),
        Grant::Now(ByteSize::new(40))
    );
}

#[test]
fn a_new_rate_holds_at_once() {
    let mut stream = stream("token-bucket:rate=1kB/s,burst=100kB,initial=0B").expect("valid");
    let now = Timestamp::from_nanos(SECOND);
    stream.commit(now, ByteSize::new(1_000));
    stream.set_rate(now, ByteRate::new(100_000).expect("not zero"));
    assert_eq!(stream.quantum(), ByteSize::new(5_000));
    let later = now + Nanos::from_millis(50);
    assert_eq!(stream.grant(now, ByteSize::MAX), Grant::At(later));
    assert_eq!(
        stream.grant(later, ByteSize::MAX),
        Grant::Now(ByteSize::new(5_000))
    );
}

#[test]
fn no_limit_is_no_limit() {
    let stream = stream("none").expect("valid");
    assert_eq!(
        stream.grant(Timestamp::ZERO, ByteSize::MAX),
        Grant::Now(ByteSize::MAX)
    );
}

/// Every kind that can pace a stream, but for the seeds' own.
fn policies() -> impl Strategy<Value = String> {
    let rate = prop_oneof![1..200_u64, 1..1_000_000_000_u64];
    (0..10_usize, rate, 1..2_000_000_u64, 1..3_000_u64).prop_map(|(kind, rate, burst, millis)| {
        let window = burst.max(1);
        match kind {
            0 => format!("token-bucket:rate={rate}B/s,burst={burst}B"),
            1 => format!("token-bucket:rate={rate}B/s,burst={burst}B,oversize=debt"),
            2 => format!("gcra:rate={rate}B/s,burst={burst}B"),
            3 => format!("leaky-bucket-meter:rate={rate}B/s,burst={burst}B"),
            4 => format!("leaky-bucket:rate={rate}B/s"),
            5 => {
                format!("dual-token-bucket:rate={rate}B/s,burst={burst}B,peak_rate=2GB/s,mtu=1500B")
            }
            6 => format!("fixed-window:limit={window}B,window={millis}ms"),
            7 => format!("sliding-window-log:limit={window}B,window={millis}ms"),
            8 => format!("sliding-window-counter:limit={window}B,window={millis}ms"),
            _ => "none".to_owned(),
        }
    })
}

proptest! {
    /// Whatever is wanted, something moves in the end, never more than wanted
    /// and never when the limiter would not have it.
    #[test]
    fn streams_always_move(
        policy in policies(),
        steps in proptest::collection::vec((0..3 * SECOND, 1..200_000_u64), 1..50),
    ) {
        let mut stream = stream(&policy).expect("written above");
        let mut now = Timestamp::ZERO;
        for (gap, wanted) in steps {
            now = now + Nanos::new(gap);
            let wanted = ByteSize::new(wanted);
            let (at, size) = stream.move_next(now, wanted).expect("it moves");
            prop_assert!(at >= now);
            prop_assert!(size <= wanted && size >= wanted.min(stream.quantum()));
            now = at;
        }
    }
}
