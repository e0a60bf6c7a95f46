//! What matters of packets for a comparison.

/// One packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sample {
    /// When, in nanoseconds.
    pub at: u64,
    /// Bytes.
    pub size: u64,
}

/// The bins in which load is counted, in nanoseconds: 100 ms and 1 s.
pub(super) const BINS: [u64; 2] = [100_000_000, 1_000_000_000];

/// Distributions of a trace.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// How many packets.
    pub packets: usize,
    /// Their bytes.
    pub bytes: u64,
    /// From the first to the last, in nanoseconds.
    pub span: u64,
    /// Sizes in bytes, sorted.
    pub sizes: Vec<u64>,
    /// Gaps in nanoseconds, sorted.
    pub gaps: Vec<u64>,
    /// Bytes in bins of 100 ms and of 1 s, sorted; bins that are not whole left out.
    pub loads: [Vec<u64>; 2],
}

impl Observed {
    /// Looks at `packets`, in order of time.
    #[must_use]
    pub fn of(packets: &[Sample]) -> Self {
        let start = packets.first().map_or(0, |first| first.at);
        let span = packets.last().map_or(0, |last| last.at - start);
        let mut sizes: Vec<u64> = packets.iter().map(|packet| packet.size).collect();
        let mut gaps: Vec<u64> = packets
            .windows(2)
            .map(|pair| pair[1].at - pair[0].at)
            .collect();
        let bytes = sizes.iter().sum();
        sizes.sort_unstable();
        gaps.sort_unstable();
        let loads = BINS.map(|bin| {
            let mut load = bins(packets, bin);
            load.sort_unstable();
            load
        });
        Self {
            packets: packets.len(),
            bytes,
            span,
            sizes,
            gaps,
            loads,
        }
    }

    /// Bytes a second: n packets span n - 1 gaps.
    #[must_use]
    pub fn rate(&self) -> f64 {
        let packets = super::real(self.packets.max(1) as u64);
        super::real(self.bytes) * (1.0 - 1.0 / packets) / self.seconds()
    }

    /// Seconds from the first packet to the last.
    #[must_use]
    pub fn seconds(&self) -> f64 {
        super::real(self.span.max(1)) / 1e9
    }
}

/// Bytes in each whole bin, in order of time; at most a million bins.
pub(super) fn bins(packets: &[Sample], bin: u64) -> Vec<u64> {
    const MOST: u64 = 1_000_000;
    let start = packets.first().map_or(0, |first| first.at);
    let span = packets.last().map_or(0, |last| last.at - start);
    let count = (span / bin).min(MOST);
    let mut bins = vec![0; usize::try_from(count).unwrap_or(0)];
    for packet in packets {
        let at = usize::try_from((packet.at - start) / bin).ok();
        if let Some(sum) = at.and_then(|at| bins.get_mut(at)) {
            *sum += packet.size;
        }
    }
    bins
}
