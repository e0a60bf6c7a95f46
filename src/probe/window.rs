//! What counters of windows look like: bursts, and silences between.

use super::envelope::Line;
use super::{Arrival, Estimate, Kind, NANOS, real};

/// A silence is so many times the usual gap.
const SILENCE: f64 = 10.0;
/// Bursts of fewer packets than this on average are no bursts.
const PACKETS: usize = 4;
/// Windows that are looked at: later ones of a log blur.
const WINDOWS: usize = 12;
/// The share by which most windows may differ from their median.
const REGULAR: f64 = 0.02;

/// A burst between silences.
#[derive(Clone, Copy, Debug)]
struct Burst {
    start: u64,
    end: u64,
    bytes: u64,
    packets: usize,
}

/// Bursts at regular intervals: a counter that starts anew, or a log of the last window.
pub(super) fn repeated(arrivals: &[Arrival]) -> Option<Estimate> {
    let bursts = bursts(arrivals);
    if bursts.len() < 3 || arrivals.len() < PACKETS * bursts.len() {
        return None;
    }
    // The last burst may have been cut off.
    let whole = &bursts[..bursts.len() - 1];
    let looked_at = &bursts[..bursts.len().min(WINDOWS)];
    let mut lengths: Vec<f64> = looked_at
        .windows(2)
        .map(|pair| real(pair[1].start - pair[0].start) / NANOS)
        .collect();
    let length_s = median(&mut lengths)?;
    let regular = lengths
        .iter()
        .filter(|length| (*length - length_s).abs() <= length_s * REGULAR)
        .count();
    if regular * 2 <= lengths.len() {
        return None;
    }
    let depth = whole.iter().map(|burst| burst.bytes).max()?;
    let first = bursts.first()?;
    let peak = real(first.bytes) / (real(first.end - first.start) / NANOS);
    Some(Estimate {
        kind: Kind::Window { length_s },
        rate: over_whole_windows(arrivals, length_s)?,
        depth: real(depth),
        peak: peak.is_finite().then_some(peak),
        shift_s: Some(real(first.end - first.start) / NANOS),
        unsteadiness: 0.0,
    })
}

/// The mean rate over the later half of all whole windows.
fn over_whole_windows(arrivals: &[Arrival], length_s: f64) -> Option<f64> {
    // Each window begins with its burst; a part of one before that is silence.
    const EARLY: f64 = 0.02;
    let since_start = |at: u64| real(at - arrivals[0].at) / NANOS / length_s + EARLY;
    let windows = since_start(arrivals.last()?.at).floor();
    let first = (windows / 2.0).floor();
    let bytes: u64 = arrivals
        .iter()
        .filter(|arrival| (first..windows).contains(&since_start(arrival.at)))
        .map(|arrival| arrival.size)
        .sum();
    (windows > first).then(|| real(bytes) / ((windows - first) * length_s))
}

/// One silence after the first burst, longer than the bucket of `line` could
/// explain: (the window in seconds, its limit in bytes).
pub(super) fn weighted(arrivals: &[Arrival], line: Line) -> Option<(f64, f64)> {
    let largest = real(arrivals.iter().map(|arrival| arrival.size).max()?);
    let longest = SILENCE * largest / line.rate;
    let before_shift = arrivals.windows(2).take(arrivals.len() / 2);
    let end = before_shift
        .enumerate()
        .map(|(index, pair)| (index, real(pair[1].at - pair[0].at) / NANOS))
        .find(|(_, gap)| *gap > longest)?
        .0;
    let burst: u64 = arrivals[..=end].iter().map(|arrival| arrival.size).sum();
    let limit = real(burst);
    Some((limit / line.rate, limit))
}

fn bursts(arrivals: &[Arrival]) -> Vec<Burst> {
    let mut gaps: Vec<f64> = arrivals
        .windows(2)
        .map(|pair| real(pair[1].at - pair[0].at))
        .collect();
    let Some(usual) = median(&mut gaps) else {
        return Vec::new();
    };
    let mut bursts: Vec<Burst> = Vec::new();
    for arrival in arrivals {
        match bursts.last_mut() {
            Some(burst) if real(arrival.at - burst.end) <= SILENCE * usual => {
                burst.end = arrival.at;
                burst.bytes += arrival.size;
                burst.packets += 1;
            }
            _ => bursts.push(Burst {
                start: arrival.at,
                end: arrival.at,
                bytes: arrival.size,
                packets: 1,
            }),
        }
    }
    // A packet alone after a long loss is no burst.
    bursts.retain(|burst| burst.packets > 1);
    bursts
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
