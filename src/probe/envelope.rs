//! The line that cumulative arrivals follow from below once the burst is used up.

use super::{Arrival, NANOS, real};

/// depth + rate t, in bytes and seconds from the first arrival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Line {
    pub(super) rate: f64,
    pub(super) depth: f64,
}

/// (seconds since the first arrival, bytes up to and with this one).
pub(super) fn cumulative(arrivals: &[Arrival]) -> Vec<(f64, f64)> {
    let start = arrivals.first().map_or(0, |first| first.at);
    let mut sum = 0;
    arrivals
        .iter()
        .map(|arrival| {
            sum += arrival.size;
            (real(arrival.at - start) / NANOS, real(sum))
        })
        .collect()
}

/// How often the line is turned.
const TURNS: usize = 60;

impl Line {
    /// The line that touches the second half of `points` from above in both of
    /// its halves: what a bucket that is always nearly empty allows.
    pub(super) fn above(points: &[(f64, f64)]) -> Self {
        let tail = second_half(points);
        let (early, late) = halves(tail);
        let mut rate = slope(tail);
        for _ in 0..TURNS {
            let (Some(left), Some(right)) = (touching(early, rate), touching(late, rate)) else {
                break;
            };
            let turned = (right.1 - left.1) / (right.0 - left.0);
            if !turned.is_finite() || (turned - rate).abs() <= rate * 1e-12 {
                break;
            }
            rate = turned;
        }
        let depth = touching(tail, rate).map_or(0.0, |(t, bytes)| bytes - rate * t);
        Self { rate, depth }
    }
}

/// Where the arrivals meet the line: the level shift. `None` if they were at it
/// from the start, but for two packets.
pub(super) fn shift(points: &[(f64, f64)], line: Line, largest: f64) -> Option<usize> {
    let below = |&(t, bytes): &(f64, f64)| bytes < line.depth + line.rate * t - 2.0 * largest;
    if !points.first().is_some_and(below) {
        return None;
    }
    points.iter().position(|point| !below(point))
}

/// By how much the rates of the last two quarters of the time differ.
pub(super) fn unsteadiness(points: &[(f64, f64)]) -> f64 {
    let (early, late) = halves(second_half(points));
    let (early, late) = (slope(early), slope(late));
    let larger = early.max(late);
    if larger > 0.0 {
        (early - late).abs() / larger
    } else {
        1.0
    }
}

/// The points after the middle of the time.
fn second_half(points: &[(f64, f64)]) -> &[(f64, f64)] {
    let end = points.last().map_or(0.0, |last| last.0);
    &points[points.partition_point(|point| point.0 < end / 2.0)..]
}

/// Points in order of time.
type Points<'a> = &'a [(f64, f64)];

fn halves(points: Points<'_>) -> (Points<'_>, Points<'_>) {
    let (Some(first), Some(last)) = (points.first(), points.last()) else {
        return (points, points);
    };
    let middle = f64::midpoint(first.0, last.0);
    points.split_at(points.partition_point(|point| point.0 < middle))
}

fn slope(points: &[(f64, f64)]) -> f64 {
    match (points.first(), points.last()) {
        (Some(first), Some(last)) if last.0 > first.0 => (last.1 - first.1) / (last.0 - first.0),
        _ => 0.0,
    }
}

/// The point that a line of this slope touches first from above.
fn touching(points: &[(f64, f64)], rate: f64) -> Option<(f64, f64)> {
    let height = |point: &(f64, f64)| point.1 - rate * point.0;
    points
        .iter()
        .copied()
        .max_by(|one, other| height(one).total_cmp(&height(other)))
}
