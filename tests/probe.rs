//! Limiters of known parameters, estimated from the receiver's stream alone:
//! rate within 1 %, depth within 5 %, the window's length within 1 %.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "helpers of tests: a failure is the test's"
)]

use flow::{Nanos, Policy};
use weirgate::probe::{Arrival, Estimate, Flood, Kind, ProbeError, estimate};

const RATES: [u64; 4] = [5_000, 40_000, 1_000_000, 40_000_000];
/// Depths as milliseconds of the rate, and the sender's rate as a multiple of the limit.
const DEPTHS_MS: [u64; 3] = [700, 2_000, 8_000];
const FLOODS: [u64; 3] = [2, 7, 40];

fn of(
    policy: &str,
    flood: u64,
    seconds: u64,
    shaped: bool,
    seed: u64,
) -> Result<Estimate, ProbeError> {
    let policy: Policy = policy.parse().unwrap();
    let rate = policy.rate().unwrap().get();
    // Packets of some 15 to 150 ms at the limit, and of no more than Ethernet's.
    let greatest = (rate / 50).clamp(100, 1_500);
    let flood = Flood {
        rate: rate * flood,
        sizes: (greatest / 8, greatest),
        lasts: Nanos::from_secs(seconds),
        seed,
    };
    estimate(&flood.through(&policy, shaped))
}

#[expect(
    clippy::cast_precision_loss,
    reason = "parameters of tests, far below 2^53"
)]
fn near(found: f64, wanted: u64, share: f64) -> bool {
    let wanted = wanted as f64;
    (found - wanted).abs() <= wanted * share
}

#[test]
fn buckets_are_found_with_their_rate_depth_and_manner() {
    let mut seen = 0;
    for rate in RATES {
        // Whole bursts of the fastest take millions of packets; they say nothing new.
        let (depths, floods) = if rate > 10_000_000 { (1, 2) } else { (3, 3) };
        for depth_ms in &DEPTHS_MS[..depths] {
            for flood in &FLOODS[..floods] {
                for (kind, shaped) in [
                    ("token-bucket", false),
                    ("gcra", false),
                    ("token-bucket", true),
                ] {
                    let burst = rate * depth_ms / 1_000;
                    let policy = format!("{kind}:rate={rate}B/s,burst={burst}B");
                    let seconds = if rate > 10_000_000 { 8 } else { 60 };
                    let found = of(&policy, *flood, seconds, shaped, rate ^ flood).unwrap();
                    let context = format!("{policy} x{flood} shaped {shaped}: {found:?}");
                    assert!(near(found.rate, rate, 0.01), "{context}");
                    assert!(near(found.depth, burst, 0.05), "{context}");
                    let manner = if shaped { Kind::Shaper } else { Kind::Policer };
                    assert_eq!(found.kind, manner, "{context}");
                    seen += 1;
                }
            }
        }
    }
    assert_eq!(seen, 3 * (3 * 3 * 3 + 2));
}

#[test]
fn windows_are_found_with_their_length_and_limit() {
    for rate in [5_000, 1_000_000] {
        for window_ms in [500, 1_000, 5_000] {
            let limit = rate * window_ms / 1_000;
            if limit < 5_000 {
                continue;
            }
            for kind in [
                "fixed-window",
                "sliding-window-log",
                "sliding-window-counter",
            ] {
                let policy = format!("{kind}:limit={limit}B,window={window_ms}ms");
                let found = of(&policy, 20, 60, false, window_ms).unwrap();
                let context = format!("{policy}: {found:?}");
                let length_s = match found.kind {
                    Kind::Window { length_s } if kind != "sliding-window-counter" => length_s,
                    Kind::WeightedWindow { length_s } if kind == "sliding-window-counter" => {
                        length_s
                    }
                    _ => panic!("{context}"),
                };
                assert!(near(length_s * 1_000.0, window_ms, 0.01), "{context}");
                assert!(near(found.depth, limit, 0.05), "{context}");
                assert!(near(found.rate, rate, 0.01), "{context}");
            }
        }
    }
}

#[test]
fn a_constant_rate_has_no_level_shift() {
    let found = of("leaky-bucket:rate=100kB/s", 5, 60, true, 3).unwrap();
    assert_eq!(found.kind, Kind::Constant);
    assert!(near(found.rate, 100_000, 0.001), "{found:?}");
    assert!(found.depth <= 1_500.0);
}

#[test]
fn what_does_not_suffice_is_refused() {
    let arrival = |at| Arrival { at, size: 100 };
    let few: Vec<_> = (0..49).map(arrival).collect();
    assert_eq!(estimate(&few), Err(ProbeError::TooFew(49)));
    assert_eq!(estimate(&[]), Err(ProbeError::TooFew(0)));
    assert_eq!(estimate(&[arrival(7); 60]), Err(ProbeError::NoTime));
    // The burst ends after three quarters of the record.
    let burst_for_long = of("token-bucket:rate=100kB/s,burst=2MB", 5, 6, false, 1);
    assert_eq!(burst_for_long, Err(ProbeError::Unsteady));
}
