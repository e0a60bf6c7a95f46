//! The two mixtures of the seed's sender: packet sizes and intervals.

/// The distribution of `generate_tcp_packet_size`, in bytes (SPEC, "The bursty
/// sender"): 40 % U[64, 512], 30 % U[512, 1024], 20 % U[1024, 1400], 10 % U[1400, 1472].
pub(crate) const SIZES: Mixture = Mixture::new([
    (40, 64, 512),
    (30, 512, 1024),
    (20, 1024, 1400),
    (10, 1400, 1472),
]);

/// The distribution of `generate_send_interval`, in microseconds, before the
/// multiplier: 30 % U[1, 9], 30 % U[10, 99], 20 % U[100, 999], 20 % U[1000, 9999].
pub(crate) const INTERVALS: Mixture =
    Mixture::new([(30, 1, 9), (30, 10, 99), (20, 100, 999), (20, 1000, 9999)]);

/// A mixture of four uniform distributions over whole numbers.
#[derive(Debug)]
pub(crate) struct Mixture {
    /// Where, of 2^32, the first three parts end.
    ends: [u64; 3],
    parts: [Part; 4],
}

#[derive(Debug)]
struct Part {
    percent: u64,
    low: u64,
    /// How many numbers it has.
    count: u64,
}

impl Mixture {
    /// Parts as (percent, least, greatest); the percents sum to 100.
    const fn new(parts: [(u64, u64, u64); 4]) -> Self {
        let [a, b, c, d] = parts;
        Self {
            ends: [
                threshold(a.0),
                threshold(a.0 + b.0),
                threshold(a.0 + b.0 + c.0),
            ],
            parts: [Part::new(a), Part::new(b), Part::new(c), Part::new(d)],
        }
    }

    /// A number from 64 random bits: the upper half chooses the part, the lower
    /// half the number in it (each within 2^-32 x its count of equally likely).
    #[inline]
    pub(crate) fn draw(&self, bits: u64) -> u64 {
        let choice = bits >> 32;
        let [a, b, c] = self.ends;
        let index = usize::from(choice >= a) + usize::from(choice >= b) + usize::from(choice >= c);
        let part = &self.parts[index];
        part.low + (((bits & 0xffff_ffff) * part.count) >> 32)
    }

    /// The mean of `value` over the mixture, exactly but for rounding.
    pub(crate) fn mean_of(&self, value: impl Fn(u64) -> u64) -> f64 {
        self.parts.iter().map(|part| part.mean_of(&value)).sum()
    }

    /// The greatest number.
    pub(crate) const fn greatest(&self) -> u64 {
        let last = &self.parts[3];
        last.low + last.count - 1
    }
}

impl Part {
    const fn new((percent, least, greatest): (u64, u64, u64)) -> Self {
        Self {
            percent,
            low: least,
            count: greatest - least + 1,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "sums far below 2^53")]
    fn mean_of(&self, value: impl Fn(u64) -> u64) -> f64 {
        let sum: u64 = (self.low..self.low + self.count).map(value).sum();
        self.percent as f64 / 100.0 * sum as f64 / self.count as f64
    }
}

/// `percent` of 2^32, to the nearest.
pub(crate) const fn threshold(percent: u64) -> u64 {
    ((percent << 32) + 50) / 100
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_those_of_the_definition() {
        assert!((SIZES.mean_of(|size| size) - 731.6).abs() < 1e-9);
        assert!((INTERVALS.mean_of(|us| us) - 1227.65).abs() < 1e-9);
    }

    #[test]
    fn each_part_reaches_both_ends_and_no_further() {
        for mixture in [SIZES, INTERVALS] {
            let [a, b, c] = mixture.ends;
            let starts = [0, a, b, c];
            let stops = [a, b, c, 1 << 32];
            for (index, part) in mixture.parts.iter().enumerate() {
                assert_eq!(mixture.draw(starts[index] << 32), part.low);
                let top = ((stops[index] - 1) << 32) | 0xffff_ffff;
                assert_eq!(mixture.draw(top), part.low + part.count - 1);
            }
        }
        assert_eq!(SIZES.greatest(), 1472);
    }
}
