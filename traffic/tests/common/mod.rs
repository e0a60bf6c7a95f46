//! Tests of goodness of fit, at a level of 0.1 % (and the seeds are fixed).
#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test file uses some of it; a wrong pattern fails the test"
)]

use flow::Timestamp;
use weirgate_traffic::{AnyGenerator, Generator, Pattern, Purpose, Send, StreamSeed};

/// The 99.9 % quantile of the standard normal distribution.
pub(crate) const Z: f64 = 3.0902;

pub(crate) fn seed(number: u64) -> StreamSeed {
    StreamSeed::derive(number, 0, 0, 0, Purpose::Traffic)
}

pub(crate) fn generator(pattern: &str, number: u64) -> AnyGenerator {
    let pattern: Pattern = pattern.parse().unwrap();
    pattern.generator(seed(number)).unwrap()
}

/// Its sends in open loop from the origin.
pub(crate) fn open_loop(mut generator: impl Generator) -> impl Iterator<Item = Send> {
    let mut now = Timestamp::ZERO;
    std::iter::from_fn(move || {
        let send = generator.next_send(now)?;
        now = send.at;
        Some(send)
    })
}

/// Gaps between sends in nanoseconds, the first counted from the origin.
pub(crate) fn gaps(sends: impl Iterator<Item = Send>) -> impl Iterator<Item = u64> {
    let mut previous = Timestamp::ZERO;
    sends.map(move |send| {
        let gap = send.at.since(previous).get();
        previous = send.at;
        gap
    })
}

/// Pearson's test: whether `counts` fit `shares`, which sum to 1.
pub(crate) fn chi_square_fits(counts: &[u64], shares: &[f64]) -> bool {
    let total: u64 = counts.iter().sum();
    assert_eq!(counts.len(), shares.len());
    assert!((shares.iter().sum::<f64>() - 1.0).abs() < 1e-9, "shares");
    let mut statistic = 0.0;
    for (count, share) in counts.iter().zip(shares) {
        let expected = share * total as f64;
        assert!(expected >= 5.0, "a cell expects only {expected}");
        statistic += (*count as f64 - expected).powi(2) / expected;
    }
    statistic < chi_square_quantile(counts.len() as f64 - 1.0)
}

/// The 99.9 % quantile (Wilson and Hilferty, 1931).
fn chi_square_quantile(freedom: f64) -> f64 {
    let scale = 2.0 / (9.0 * freedom);
    freedom * (1.0 - scale + Z * scale.sqrt()).powi(3)
}

/// The Kolmogorov-Smirnov test: whether `sample` fits the continuous distribution `cdf`.
pub(crate) fn kolmogorov_smirnov_fits(mut sample: Vec<f64>, cdf: impl Fn(f64) -> f64) -> bool {
    sample.sort_by(f64::total_cmp);
    let count = sample.len() as f64;
    let mut distance = 0.0_f64;
    for (index, value) in sample.iter().enumerate() {
        let share = cdf(*value);
        let below = share - index as f64 / count;
        let above = (index + 1) as f64 / count - share;
        distance = distance.max(below).max(above);
    }
    distance < 1.949 / count.sqrt()
}

/// Mean and standard deviation.
pub(crate) fn moments(sample: &[f64]) -> (f64, f64) {
    let count = sample.len() as f64;
    let mean = sample.iter().sum::<f64>() / count;
    let squares = sample.iter().map(|value| (value - mean).powi(2));
    (mean, (squares.sum::<f64>() / (count - 1.0)).sqrt())
}
