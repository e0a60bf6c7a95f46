//! The example at the top of each algorithm, as its documentation tells it:
//! packets offered to a shaper without a limit, and when they leave.

#![expect(
    clippy::panic,
    reason = "an example that cannot be read fails the test"
)]

use weirgate_flow::color_marker::{Color, SrTcm, TrTcm};
use weirgate_flow::{ByteRate, ByteSize, Limiter, Policy, Shaper, Timestamp, Verdict};

fn seconds(seconds: f64) -> Timestamp {
    let nanos = (seconds * 1e9).round();
    Timestamp::from_nanos(format!("{nanos}").parse().unwrap_or_else(|e| panic!("{e}")))
}

/// Offers `(arrival, size)` and expects `departure`, in seconds.
fn assert_departures(policy: &str, packets: &[(f64, u64, f64)]) {
    let policy: Policy = policy.parse().unwrap_or_else(|e| panic!("{policy}: {e}"));
    let mut shaper = Shaper::new(policy.build(), None);
    for (arrival, size, departure) in packets {
        let verdict = shaper.offer(seconds(*arrival), ByteSize::new(*size));
        let expected = Verdict::Departs(seconds(*departure));
        assert_eq!(verdict, expected, "{policy}: {size} B at {arrival} s");
    }
}

#[test]
fn token_bucket() {
    assert_departures(
        "token-bucket:rate=5000B/s,burst=5000B",
        &[
            (0.0, 1_500, 0.0),
            (0.0, 1_500, 0.0),
            (0.0, 1_500, 0.0),
            (0.0, 1_500, 0.2),
        ],
    );
}

#[test]
fn token_bucket_in_debt() {
    // Full at 0 s it passes 3,000 B; the next conform when the debt is paid and
    // the bucket is full again.
    assert_departures(
        "token-bucket:rate=1000B/s,burst=1000B,oversize=debt",
        &[(0.0, 3_000, 0.0), (0.0, 3_000, 3.0), (0.0, 500, 5.5)],
    );
}

#[test]
fn dual_token_bucket() {
    assert_departures(
        "dual-token-bucket:rate=1000B/s,burst=3000B,peak_rate=2000B/s,mtu=1000B",
        &[
            (0.0, 1_000, 0.0),
            (0.0, 1_000, 0.5),
            (0.0, 1_000, 1.0),
            (0.0, 1_000, 1.5),
            (0.0, 1_000, 2.0),
            (0.0, 1_000, 3.0),
        ],
    );
}

#[test]
fn leaky_bucket() {
    assert_departures(
        "leaky-bucket:rate=1000B/s",
        &[
            (0.0, 500, 0.0),
            (0.0, 500, 0.5),
            (0.0, 500, 1.0),
            (0.0, 500, 1.5),
            (9.0, 500, 9.0),
        ],
    );
}

#[test]
fn leaky_bucket_meter_and_gcra() {
    for kind in ["leaky-bucket-meter", "gcra"] {
        assert_departures(
            &format!("{kind}:rate=1000B/s,burst=1500B"),
            &[(0.0, 1_500, 0.0), (0.0, 500, 0.5)],
        );
    }
}

#[test]
fn fixed_window() {
    assert_departures(
        "fixed-window:limit=5000B,window=1s",
        &[
            (0.999_999_999, 5_000, 0.999_999_999),
            (0.999_999_999, 5_000, 1.0),
        ],
    );
}

#[test]
fn sliding_windows() {
    assert_departures(
        "sliding-window-log:limit=1500B,window=1s",
        &[
            (0.0, 1_000, 0.0),
            (0.3, 500, 0.3),
            (0.3, 500, 1.0),
            (0.3, 1_500, 2.0),
        ],
    );
    assert_departures(
        "sliding-window-log:limit=1500B,window=1s",
        &[(0.0, 1_000, 0.0), (0.3, 500, 0.3), (0.3, 1_500, 1.3)],
    );
    assert_departures(
        "sliding-window-counter:limit=1000B,window=1s",
        &[(0.9, 1_000, 0.9), (0.9, 250, 1.25)],
    );
    assert_departures(
        "sliding-window-counter:limit=1000B,window=1s",
        &[(0.9, 1_000, 0.9), (0.9, 1_000, 2.0)],
    );
}

#[test]
fn averages() {
    assert_departures(
        "ewma:rate=1000B/s,interval=1s,alpha=1/8",
        &[(0.0, 8_000, 0.0), (0.0, 1_000, 1.0), (0.0, 1_000, 2.0)],
    );
    assert_departures(
        "ewma-continuous:rate=1000B/s,time_constant=1s",
        &[(0.0, 1_000, 0.0), (0.0, 500, std::f64::consts::LN_2)],
    );
}

#[test]
fn color_markers() {
    let rate = |bytes| ByteRate::new(bytes).unwrap_or(ByteRate::MIN);
    let size = ByteSize::new;
    let mut single = SrTcm::new(rate(1_000), size(1_000), size(500), false);
    for (bytes, color) in [(1_000, Color::Green), (500, Color::Yellow), (1, Color::Red)] {
        assert_eq!(single.color(seconds(0.0), size(bytes)), color);
        single.admit(seconds(0.0), size(bytes));
    }
    assert_eq!(single.color(seconds(1.0), size(1_000)), Color::Green);
    single.commit(seconds(1.0), size(1_000));
    assert_eq!(single.color(seconds(1.0), size(1)), Color::Red);
    // From then on C comes first again: E would have been full at 1.5 s.
    assert_eq!(single.color(seconds(1.5), size(500)), Color::Green);

    let mut two = TrTcm::new(rate(1_000), size(1_000), rate(2_000), size(1_500), false);
    for (bytes, color) in [(1_000, Color::Green), (500, Color::Yellow), (1, Color::Red)] {
        assert_eq!(two.color(seconds(0.0), size(bytes)), color);
        two.admit(seconds(0.0), size(bytes));
    }
    assert_eq!(two.color(seconds(0.5), size(1_000)), Color::Yellow);
    assert_eq!(two.color(seconds(1.0), size(1_000)), Color::Green);
}
