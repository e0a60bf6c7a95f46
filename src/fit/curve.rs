//! The burstiness curve b*(rho): the smallest bucket at each rate.

use flow::ByteRate;

use super::observed::{Observed, Sample};
use super::{real, whole};
use crate::metrics::smallest_buckets;

/// What a trace needs at one rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CurvePoint {
    /// In bytes a second.
    pub rate: u64,
    /// The smallest bucket that the trace conforms to, in bytes.
    pub trace: f64,
    /// The same of the fitted generator.
    pub fitted: f64,
}

/// How many rates.
const POINTS: u32 = 41;

/// Rates in equal factors from the mean rate to a hundred times that, or to where
/// the busiest tenth of a second is.
#[must_use]
pub fn rates(trace: &Observed) -> Vec<u64> {
    let mean = trace.rate();
    let busiest = trace.loads[0].last().map_or(0.0, |load| real(*load) * 10.0);
    let top = (busiest * 2.0).clamp(mean * 4.0, mean * 100.0);
    let mut rates: Vec<u64> = (0..POINTS)
        .map(|at| whole((mean * (top / mean).powf(f64::from(at) / f64::from(POINTS - 1))).ceil()))
        .collect();
    rates.dedup();
    rates
}

/// b* at each of `rates`, in bytes, for `packets` in order of time.
#[must_use]
pub fn burstiness(packets: &[Sample], rates: &[u64]) -> Vec<f64> {
    let rates: Vec<ByteRate> = rates
        .iter()
        .filter_map(|rate| ByteRate::new(*rate))
        .collect();
    let start = packets.first().map_or(0, |first| first.at);
    smallest_buckets(&rates, packets.iter().map(|p| (p.at - start, p.size)))
}
