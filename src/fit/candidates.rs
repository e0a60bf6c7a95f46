//! Generators whose parameters come from a trace.

use flow::{ByteRate, ByteSize, Nanos};
use traffic::arrival::{Level, Periods, Phase};
use traffic::bursty::SleepGrain;
use traffic::distribution::MAX_WEIGHTED;
use traffic::{Pattern, SizeDistribution};

use super::observed::{BINS, Observed, Sample, bins};
use super::{real, whole};

/// A generator that may be like a trace.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// What it is, in a few words.
    pub name: String,
    /// The generator.
    pub pattern: Pattern,
}

/// A burst ends at a gap above one of these quantiles of all gaps.
const BURST_GAPS: [f64; 4] = [0.5, 0.8, 0.95, 0.99];
/// Fewer bursts than this say nothing about their lengths.
const LEAST_BURSTS: usize = 20;
/// How many levels a rate that changes has.
const LEVELS: [usize; 3] = [2, 3, 5];
/// Packets at one instant are taken to be sent at this rate, in bytes a second.
const AT_ONCE: f64 = 1.25e9;

/// Every candidate for `packets`.
pub(super) fn all(packets: &[Sample], trace: &Observed) -> Vec<Candidate> {
    let size = size_mixture(&trace.sizes);
    let mut candidates = vec![Candidate {
        name: "bursty sender".into(),
        pattern: Pattern::Bursty {
            sleep: SleepGrain::Micros,
            line: None,
        },
    }];
    if let Some(rate) = ByteRate::new(whole(trace.rate())) {
        candidates.push(Candidate {
            name: "constant rate".into(),
            pattern: Pattern::Constant {
                rate,
                size: size.clone(),
                phase: Phase::default(),
            },
        });
        candidates.push(Candidate {
            name: "independent packets".into(),
            pattern: Pattern::Poisson {
                rate,
                size: size.clone(),
            },
        });
    }
    let mut counts = Vec::new();
    for quantile in BURST_GAPS {
        let bursts = Bursts::split(packets, at_quantile(&trace.gaps, quantile));
        if bursts.bytes.len() >= LEAST_BURSTS && !counts.contains(&bursts.bytes.len()) {
            counts.push(bursts.bytes.len());
            candidates.extend(bursts.candidates(trace, &size));
        }
    }
    for bin in BINS {
        let loads = bins(packets, bin);
        candidates.extend(LEVELS.iter().filter_map(|k| levels(&loads, bin, *k, &size)));
    }
    candidates.retain(|candidate| candidate.pattern.check().is_ok());
    candidates
}

/// The sizes as they are, up to 64 of them; more as the means of 64 groups of
/// equally many, the largest one kept.
fn size_mixture(sorted: &[u64]) -> SizeDistribution {
    let mut counts: Vec<(u64, u32)> = Vec::new();
    for size in sorted {
        match counts.last_mut() {
            Some((last, count)) if last == size => *count = count.saturating_add(1),
            _ => counts.push((*size, 1)),
        }
    }
    if let [(size, _)] = counts[..] {
        return SizeDistribution::Fixed(ByteSize::new(size));
    }
    if counts.len() > MAX_WEIGHTED {
        let each = sorted.len().div_ceil(MAX_WEIGHTED);
        let groups = sorted.chunks(each);
        counts = groups
            .map(|group| {
                let mean = group.iter().sum::<u64>() / group.len().max(1) as u64;
                (mean, u32::try_from(group.len()).unwrap_or(u32::MAX))
            })
            .collect();
        if let (Some(last), Some(largest)) = (counts.last_mut(), sorted.last()) {
            last.0 = *largest;
        }
        counts.dedup_by(|next, kept| {
            let same = next.0 == kept.0;
            if same {
                kept.1 = kept.1.saturating_add(next.1);
            }
            same
        });
    }
    let shared = counts
        .iter()
        .fold(0, |shared, (_, count)| gcd(shared, *count));
    let sizes = counts.iter();
    SizeDistribution::Weighted(
        sizes
            .map(|(size, count)| (ByteSize::new(*size), count / shared.max(1)))
            .collect(),
    )
}

const fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// Packets with no larger gap between them.
struct Bursts {
    bytes: Vec<f64>,
    /// Silences between, in seconds.
    silences: Vec<f64>,
    /// The rate within them, in bytes a second.
    peak: f64,
}

impl Bursts {
    fn split(packets: &[Sample], gap: u64) -> Self {
        let (mut bytes, mut silences) = (Vec::new(), Vec::new());
        let (mut inside_bytes, mut inside_time) = (0_u64, 0_u64);
        let mut previous: Option<u64> = None;
        for packet in packets {
            let since = previous.map(|at| packet.at - at);
            previous = Some(packet.at);
            match (since, bytes.last_mut()) {
                (Some(since), Some(burst)) if since <= gap => {
                    *burst += real(packet.size);
                    inside_bytes += packet.size;
                    inside_time += since;
                }
                (since, _) => {
                    silences.extend(since.map(|since| real(since) / 1e9));
                    bytes.push(real(packet.size));
                }
            }
        }
        let peak = real(inside_bytes) / (real(inside_time) / 1e9);
        Self {
            bytes,
            silences,
            peak: peak.clamp(1.0, AT_ONCE),
        }
    }

    fn candidates(&self, trace: &Observed, size: &SizeDistribution) -> Vec<Candidate> {
        let peak = self.peak.max(trace.rate() * 1.01);
        let on = mean(&self.bytes) / peak;
        let off = trace.seconds() / real(self.bytes.len() as u64) - on;
        let Some(peak_rate) = ByteRate::new(whole(peak)).filter(|_| off > 0.0) else {
            return Vec::new();
        };
        // One index serves both: the heavier tail decides.
        let shape = tail_index(&self.bytes).min(tail_index(&self.silences));
        let mut periods = vec![("exponential", Periods::Exponential)];
        if shape < 2.5 {
            let shape = (shape.max(1.05) * 100.0).round() / 100.0;
            periods.push(("heavy-tailed", Periods::Pareto(shape)));
        }
        periods
            .into_iter()
            .map(|(name, periods)| Candidate {
                name: format!("on-off, {name}"),
                pattern: Pattern::OnOff {
                    peak_rate,
                    mean_on: Nanos::new(whole(on * 1e9)),
                    mean_off: Nanos::new(whole(off * 1e9)),
                    periods,
                    size: size.clone(),
                },
            })
            .collect()
    }
}

/// Hill's estimate (1975) of the tail index, from the largest tenth; infinite if
/// there are too few.
fn tail_index(values: &[f64]) -> f64 {
    let mut sorted: Vec<f64> = values.to_vec();
    sorted.sort_by(|one, other| other.total_cmp(one));
    let k = sorted.len() / 10;
    if k < 5 {
        return f64::INFINITY;
    }
    let least = sorted[k];
    if least <= 0.0 {
        return f64::INFINITY;
    }
    let sum: f64 = sorted[..k].iter().map(|value| (value / least).ln()).sum();
    real(k as u64) / sum
}

/// A rate that jumps between `k` levels, each lasting a few bins.
fn levels(loads: &[u64], bin: u64, k: usize, size: &SizeDistribution) -> Option<Candidate> {
    if loads.len() < 10 * k {
        return None;
    }
    let mut sorted = loads.to_vec();
    sorted.sort_unstable();
    let bounds: Vec<u64> = (1..k).map(|at| sorted[at * sorted.len() / k]).collect();
    let level_of = |load: u64| bounds.partition_point(|bound| *bound <= load);
    let mut sums = vec![(0_u64, 0_u64); k];
    let mut runs = vec![0_u64; k];
    let mut previous = None;
    for load in loads {
        let level = level_of(*load);
        sums[level].0 += load;
        sums[level].1 += 1;
        runs[level] += u64::from(previous != Some(level));
        previous = Some(level);
    }
    let states: Vec<Level> = sums
        .iter()
        .zip(&runs)
        .filter(|((_, bins), _)| *bins > 0)
        .map(|((bytes, bins), runs)| Level {
            rate: ByteRate::new(a_second(*bytes, bins * bin)),
            lasts: Nanos::new(bins * bin / runs.max(&1)),
        })
        .collect();
    (states.len() > 1).then(|| Candidate {
        name: format!("{} levels of {}", states.len(), Nanos::new(bin)),
        pattern: Pattern::Mmpp {
            states,
            size: size.clone(),
        },
    })
}

/// Bytes in so many nanoseconds, as bytes a second, rounded down.
fn a_second(bytes: u64, nanos: u64) -> u64 {
    let rate = u128::from(bytes) * 1_000_000_000 / u128::from(nanos.max(1));
    u64::try_from(rate).unwrap_or(u64::MAX)
}

fn at_quantile(sorted: &[u64], quantile: f64) -> u64 {
    let last = sorted.len().saturating_sub(1);
    let at = whole(quantile * real(last as u64));
    let at = usize::try_from(at).unwrap_or(last).min(last);
    sorted.get(at).copied().unwrap_or(0)
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / real(values.len().max(1) as u64)
}
