//! Blind estimation: the rate and depth of whatever limits a stream, from what
//! arrives at the receiver alone.
//!
//! The sender floods from rest, faster than the limit. What arrives then follows
//! an envelope: at first the sender's rate, and after the level shift
//! b + r (t - t0), which the estimate is fitted to (the level shift is that of
//! Kanuparthy and Dovrolis, "ShaperProbe", IMC 2011; the fit of a line from above
//! replaces their mean rates, whose error is a packet an interval). Counters of
//! windows show themselves by a burst and a silence.

mod envelope;
mod model;
mod window;

use envelope::Line;

pub use model::{Flood, arrivals};

/// Something arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// When, in nanoseconds; never earlier than the one before.
    pub at: u64,
    /// Bytes, above zero.
    pub size: u64,
}

/// What the limiter looks like from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// No level shift: a line of constant rate, a leaky bucket, or the sender itself.
    Constant,
    /// A token bucket; what exceeds it is lost, so that gaps keep the sender's grid.
    Policer,
    /// A token bucket; what exceeds it waits, so that a gap is the size over the rate.
    Shaper,
    /// At most the depth in each window, counted or logged: a burst and a silence each.
    Window {
        /// Its length in seconds.
        length_s: f64,
    },
    /// Two counters, the older one weighted: a burst, one silence, then a steady rate.
    WeightedWindow {
        /// Its length in seconds.
        length_s: f64,
    },
}

/// What is known of the limiter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// What it looks like.
    pub kind: Kind,
    /// The long-run rate in bytes a second.
    pub rate: f64,
    /// The depth in bytes: of the bucket, or the limit of a window. For a constant
    /// rate the largest packet.
    pub depth: f64,
    /// The rate before the level shift in bytes a second, if there is one.
    pub peak: Option<f64>,
    /// Seconds from the first arrival to the level shift, if there is one.
    pub shift_s: Option<f64>,
    /// How much the rates of the last two quarters differ, as a share of the rate:
    /// the estimate is of a steady state only if this is small.
    pub unsteadiness: f64,
}

/// Why nothing can be said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Too few arrivals.
    #[error("only {0} packets arrived; send at least {LEAST_PACKETS}, and faster than the limit")]
    TooFew(usize),
    /// All at one instant.
    #[error("everything arrived at one instant; send for longer than the limiter's burst lasts")]
    NoTime,
    /// The stream ended before the burst was used up.
    #[error(
        "the rate still changes at the end of the record; send for longer, and faster than the limit"
    )]
    Unsteady,
}

/// Below this nothing is estimated.
pub const LEAST_PACKETS: usize = 50;

/// The share by which two quarters may differ.
const STEADY: f64 = 0.05;

/// What limits the stream that arrives as `arrivals`, in order of time.
///
/// # Errors
/// [`ProbeError`] if the record is too short or not steady at its end.
pub fn estimate(arrivals: &[Arrival]) -> Result<Estimate, ProbeError> {
    let (Some(first), Some(last)) = (arrivals.first(), arrivals.last()) else {
        return Err(ProbeError::TooFew(0));
    };
    if arrivals.len() < LEAST_PACKETS {
        return Err(ProbeError::TooFew(arrivals.len()));
    }
    if first.at == last.at {
        return Err(ProbeError::NoTime);
    }
    if let Some(found) = window::repeated(arrivals) {
        return Ok(found);
    }
    let points = envelope::cumulative(arrivals);
    let line = Line::above(&points);
    let unsteadiness = envelope::unsteadiness(&points);
    if unsteadiness > STEADY {
        return Err(ProbeError::Unsteady);
    }
    Ok(bucket(arrivals, &points, line, unsteadiness))
}

/// A bucket's estimate, from the line that the cumulative arrivals follow.
fn bucket(arrivals: &[Arrival], points: &[(f64, f64)], line: Line, unsteadiness: f64) -> Estimate {
    let largest = real(arrivals.iter().map(|a| a.size).max().unwrap_or(0));
    let mut estimate = Estimate {
        kind: Kind::Constant,
        rate: line.rate,
        depth: largest,
        peak: None,
        shift_s: None,
        unsteadiness,
    };
    if let Some((length_s, limit)) = window::weighted(arrivals, line) {
        estimate.kind = Kind::WeightedWindow { length_s };
        estimate.depth = limit;
        return estimate;
    }
    let Some(shift) = envelope::shift(points, line, largest) else {
        return estimate;
    };
    let (at, bytes) = points[shift];
    estimate.depth = line.depth;
    estimate.shift_s = Some(at);
    estimate.peak = (at > 0.0).then(|| (bytes - real(arrivals[0].size)) / at);
    estimate.kind = if spaced_by_size(&arrivals[shift..], line.rate) {
        Kind::Shaper
    } else {
        Kind::Policer
    };
    estimate
}

/// Whether gaps are what a packet takes at `rate`. A policer's stand on the
/// sender's grid, off that by a part of the sender's own gap.
fn spaced_by_size(arrivals: &[Arrival], rate: f64) -> bool {
    let mut off: Vec<f64> = arrivals
        .windows(2)
        .map(|pair| {
            let gap = real(pair[1].at - pair[0].at) / NANOS;
            let own = real(pair[1].size) / rate;
            ((gap - own) / own).abs()
        })
        .collect();
    off.sort_by(f64::total_cmp);
    off.get(off.len() / 2)
        .is_some_and(|median| *median < SPACED)
}

/// A shaper's gaps may be off by this share, for the error of the rate and jitter.
const SPACED: f64 = 0.02;

const NANOS: f64 = 1e9;

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate: 53 bits are a byte in 9 petabytes"
)]
const fn real(number: u64) -> f64 {
    number as f64
}
