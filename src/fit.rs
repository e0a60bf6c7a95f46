//! From a trace to a generator like it, and the bucket that it needs at each rate.
//!
//! Every candidate is a [`Pattern`] whose parameters come from the trace. Each is
//! run for as long as the trace lasts, and judged by how far its packets are from
//! the recorded ones: sizes, gaps, load at two time scales (Kolmogorov-Smirnov
//! distances) and burstiness curve. The nearest one is chosen.

mod candidates;
mod curve;
mod distance;
mod observed;

pub use candidates::Candidate;
pub use curve::{CurvePoint, burstiness, rates};
pub use distance::Distances;
pub use observed::{Observed, Sample};

use traffic::Pattern;

/// What was found about a trace.
#[derive(Clone, Debug)]
pub struct Fit {
    /// What was recorded.
    pub trace: Observed,
    /// All candidates, the nearest first; never empty.
    pub candidates: Vec<Judged>,
    /// The smallest bucket at each rate, of the trace and of the nearest candidate.
    pub curve: Vec<CurvePoint>,
}

/// A candidate and how far it is from the trace.
#[derive(Clone, Debug)]
pub struct Judged {
    /// Which one.
    pub candidate: Candidate,
    /// How far from the trace.
    pub distances: Distances,
}

/// Why a trace has no fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FitError {
    /// Too little to go by.
    #[error("only {0} packets; {LEAST_PACKETS} are needed for a fit")]
    TooFew(usize),
    /// All at one instant.
    #[error("all packets are of one instant; a rate needs time between them")]
    NoTime,
}

/// Below this there is no fit.
pub const LEAST_PACKETS: usize = 100;

impl Fit {
    /// Fits every candidate to `packets`, which are in order of time; the
    /// candidates' random numbers come from `seed`.
    ///
    /// # Errors
    /// [`FitError`] if there is too little to go by.
    pub fn of(packets: &[Sample], seed: u64) -> Result<Self, FitError> {
        if packets.len() < LEAST_PACKETS {
            return Err(FitError::TooFew(packets.len()));
        }
        let trace = Observed::of(packets);
        if trace.span == 0 {
            return Err(FitError::NoTime);
        }
        let grid = rates(&trace);
        let recorded = burstiness(packets, &grid);
        let mut judged: Vec<(Judged, Vec<f64>)> = candidates::all(packets, &trace)
            .into_iter()
            .filter_map(|candidate| judge(candidate, &trace, &grid, &recorded, seed))
            .collect();
        judged.sort_by(|one, other| {
            let score = |of: &(Judged, Vec<f64>)| of.0.distances.score();
            score(one).total_cmp(&score(other))
        });
        let nearest = judged.first().map(|found| found.1.clone());
        let nearest = nearest.unwrap_or_default();
        let curve = grid
            .iter()
            .enumerate()
            .map(|(at, rate)| CurvePoint {
                rate: *rate,
                trace: recorded[at],
                fitted: nearest.get(at).copied().unwrap_or(0.0),
            })
            .collect();
        Ok(Self {
            trace,
            candidates: judged.into_iter().map(|found| found.0).collect(),
            curve,
        })
    }

    /// The nearest generator.
    #[must_use]
    pub fn best(&self) -> Option<&Judged> {
        self.candidates.first()
    }

    /// The smallest bucket that the whole trace conforms to at about `rate`, in
    /// bytes: that of the nearest rate of the curve that is not above it.
    #[must_use]
    pub fn bucket_at(&self, rate: u64) -> Option<f64> {
        let below = self.curve.iter().rev().find(|point| point.rate <= rate);
        below.or(self.curve.first()).map(|point| point.trace)
    }
}

/// Runs a candidate for as long as the trace lasts; `None` if it sends nothing.
fn judge(
    candidate: Candidate,
    trace: &Observed,
    grid: &[u64],
    recorded: &[f64],
    seed: u64,
) -> Option<(Judged, Vec<f64>)> {
    let packets = run(&candidate.pattern, trace, seed)?;
    let simulated = Observed::of(&packets);
    let curve = burstiness(&packets, grid);
    let distances = Distances::between(trace, &simulated, recorded, &curve);
    let judged = Judged {
        candidate,
        distances,
    };
    Some((judged, curve))
}

/// What `pattern` sends in the time of the trace, and not much more packets.
fn run(pattern: &Pattern, trace: &Observed, seed: u64) -> Option<Vec<Sample>> {
    use traffic::{Generator as _, Purpose, StreamSeed};
    let seed = StreamSeed::derive(seed, 0, 0, 0, Purpose::Traffic);
    let mut generator = pattern.generator(seed)?;
    let most = trace.packets.saturating_mul(4).max(10_000);
    let mut now = flow::Timestamp::ZERO;
    let mut packets = Vec::new();
    while let Some(send) = generator.next_send(now) {
        now = send.at;
        if now.as_nanos() > trace.span || packets.len() >= most {
            break;
        }
        packets.push(Sample {
            at: now.as_nanos(),
            size: send.size.get(),
        });
    }
    (packets.len() > 1).then_some(packets)
}

#[expect(
    clippy::cast_precision_loss,
    reason = "an estimate: 53 bits are a byte in 9 petabytes"
)]
const fn real(number: u64) -> f64 {
    number as f64
}

/// A count as a float.
fn share(part: usize, whole: usize) -> f64 {
    real(part as u64) / real(whole.max(1) as u64)
}

/// To a whole number of at least 1.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates"
)]
fn whole(value: f64) -> u64 {
    (value.round() as u64).max(1)
}
