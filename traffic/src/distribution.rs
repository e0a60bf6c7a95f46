//! Packet sizes as distributions over whole bytes.

use crate::mixture::{self, Mixture};
use crate::seed::Random;
use flow::ByteSize;
use rand::{Rng, RngExt};

mod text;

/// The largest size of one send, in every pattern and in every trace: 1 GiB.
pub const MAX_SEND: ByteSize = ByteSize::new(1 << 30);

/// The simple IMIX as Ethernet frames: 64, 594 and 1518 bytes in the ratio 7:4:1.
pub const IMIX: [(u64, u32); 3] = [(64, 7), (594, 4), (1518, 1)];

/// The simple IMIX as IP packets: 40, 576 and 1500 bytes in the ratio 7:4:1.
pub const IMIX_IP: [(u64, u32); 3] = [(40, 7), (576, 4), (1500, 1)];

/// The most sizes with weights.
pub const MAX_WEIGHTED: usize = 64;

/// How large the packets are.
///
/// Sizes are at least 1 byte and at most [`MAX_SEND`], and a range is not empty;
/// [`SizeDistribution::problem`] says where one is not.
#[derive(Clone, Debug, PartialEq)]
pub enum SizeDistribution {
    /// All of one size: `500B`.
    Fixed(ByteSize),
    /// Every size of the range, ends included, equally likely: `64B..1500B`.
    Uniform(SizeRange),
    /// 64, 594 and 1518 bytes, 7:4:1, the frames of [`IMIX`]: `imix`.
    Imix,
    /// 40, 576 and 1500 bytes, 7:4:1, the IP packets of [`IMIX_IP`]: `imix-ip`.
    ImixIp,
    /// The mixture of seed 004's sender: `wirefisher`.
    Wirefisher,
    /// Some sizes with whole weights: `64B*7+594B*4+1518B*1`.
    Weighted(Vec<(ByteSize, u32)>),
    /// Exponential with this mean before it is cut to the range (values outside
    /// are not drawn, not moved to its ends), down to whole bytes:
    /// `exponential:500B:40B..1500B`.
    Exponential {
        /// Mean of the whole exponential distribution.
        mean: ByteSize,
        /// What is drawn from it.
        range: SizeRange,
    },
    /// Bounded Pareto, down to whole bytes: `pareto:1.2:40B..65535B`.
    Pareto {
        /// Tail index, in [0.1, 100].
        shape: f64,
        /// The least and the greatest size.
        range: SizeRange,
    },
}

/// Sizes from `least` to `greatest`, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// The least.
    pub least: ByteSize,
    /// The greatest.
    pub greatest: ByteSize,
}

impl SizeDistribution {
    /// The mean in bytes: exact but for rounding, for `Pareto` within 0.001 %.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "a figure for people and rates")]
    pub fn mean(&self) -> f64 {
        match self {
            Self::Fixed(size) => size.get() as f64,
            Self::Uniform(range) => (range.least.get() as f64 + range.greatest.get() as f64) / 2.0,
            Self::Imix => mean_of_weighted(&bytes(IMIX)),
            Self::ImixIp => mean_of_weighted(&bytes(IMIX_IP)),
            Self::Wirefisher => mixture::SIZES.mean_of(|size| size),
            Self::Weighted(sizes) => mean_of_weighted(sizes),
            Self::Exponential { mean, range } => Exponential::new(*mean, *range).mean(),
            Self::Pareto { shape, range } => Pareto::new(*shape, *range).mean(),
        }
    }

    /// The largest size that can be drawn.
    #[must_use]
    pub fn largest(&self) -> ByteSize {
        match self {
            Self::Fixed(size) => *size,
            Self::Uniform(range) | Self::Exponential { range, .. } | Self::Pareto { range, .. } => {
                range.greatest
            }
            Self::Imix => largest_of_weighted(&bytes(IMIX)),
            Self::ImixIp => largest_of_weighted(&bytes(IMIX_IP)),
            Self::Wirefisher => ByteSize::new(mixture::SIZES.greatest()),
            Self::Weighted(sizes) => largest_of_weighted(sizes),
        }
    }

    /// What is wrong with its parameters, as what they must be.
    #[must_use]
    pub fn problem(&self) -> Option<&'static str> {
        let sizes = ByteSize::new(1)..=MAX_SEND;
        match self {
            Self::Fixed(size) if !sizes.contains(size) => Some("from 1 B to 1 GiB"),
            Self::Uniform(range) | Self::Exponential { range, .. } | Self::Pareto { range, .. }
                if !range.is_good() =>
            {
                Some("a range from at least 1 B up to at most 1 GiB")
            }
            Self::Exponential { mean, .. } if !sizes.contains(mean) => {
                Some("of a mean from 1 B to 1 GiB")
            }
            Self::Pareto { shape, .. } if !(0.1..=100.0).contains(shape) => {
                Some("of a shape from 0.1 to 100")
            }
            Self::Weighted(weighted) => weights_problem(weighted),
            _ => None,
        }
    }

    /// What draws from it.
    #[must_use]
    pub fn sampler(&self) -> Sizes {
        Sizes(match self {
            Self::Fixed(size) => Sampler::Fixed(*size),
            Self::Uniform(range) => Sampler::Uniform(Span::new(*range)),
            Self::Imix => Sampler::Weighted(Weighted::new(&bytes(IMIX))),
            Self::ImixIp => Sampler::Weighted(Weighted::new(&bytes(IMIX_IP))),
            Self::Wirefisher => Sampler::Mixture(&mixture::SIZES),
            Self::Weighted(sizes) => Sampler::Weighted(Weighted::new(sizes)),
            Self::Exponential { mean, range } => {
                Sampler::Exponential(Exponential::new(*mean, *range))
            }
            Self::Pareto { shape, range } => Sampler::Pareto(Pareto::new(*shape, *range)),
        })
    }
}

impl SizeRange {
    fn is_good(self) -> bool {
        self.least > ByteSize::ZERO && self.least <= self.greatest && self.greatest <= MAX_SEND
    }
}

/// Draws sizes from a [`SizeDistribution`].
#[derive(Clone, Debug)]
pub struct Sizes(Sampler);

#[derive(Clone, Debug)]
enum Sampler {
    Fixed(ByteSize),
    Uniform(Span),
    Mixture(&'static Mixture),
    Weighted(Weighted),
    Exponential(Exponential),
    Pareto(Pareto),
}

impl Sizes {
    /// The next size.
    #[inline]
    pub fn draw(&mut self, random: &mut Random) -> ByteSize {
        match &self.0 {
            Sampler::Fixed(size) => *size,
            Sampler::Mixture(mixture) => ByteSize::new(mixture.draw(random.next_u64())),
            Sampler::Uniform(span) => span.draw(random),
            Sampler::Weighted(weighted) => weighted.draw(random),
            Sampler::Exponential(exponential) => exponential.draw(random),
            Sampler::Pareto(pareto) => pareto.draw(random),
        }
    }
}

/// A whole number below `count`, each within 2^-64 x `count` of equally likely.
#[inline]
pub(crate) fn below(random: &mut Random, count: u64) -> u64 {
    let product = u128::from(random.next_u64()) * u128::from(count);
    u64::try_from(product >> 64).unwrap_or(0)
}

/// `count` sizes from `least` up.
#[derive(Clone, Copy, Debug)]
struct Span {
    least: u64,
    count: u64,
}

impl Span {
    /// An empty range counts as its least size alone, and sizes stay in 1..=MAX_SEND.
    fn new(range: SizeRange) -> Self {
        let least = range.least.get().clamp(1, MAX_SEND.get());
        let greatest = range.greatest.get().clamp(least, MAX_SEND.get());
        Self {
            least,
            count: greatest - least + 1,
        }
    }

    #[inline]
    fn draw(&self, random: &mut Random) -> ByteSize {
        ByteSize::new(self.least + below(random, self.count))
    }

    /// The size `offset` above the least, down to a whole byte.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a float cast saturates, and min keeps it in the range"
    )]
    fn at(&self, offset: f64) -> ByteSize {
        ByteSize::new(self.least + (offset.max(0.0) as u64).min(self.count - 1))
    }
}

/// Sizes and where, of the sum of weights, each ends.
#[derive(Clone, Debug)]
struct Weighted(Box<[(u64, ByteSize)]>);

impl Weighted {
    fn new(sizes: &[(ByteSize, u32)]) -> Self {
        let mut end = 0;
        let ends = sizes.iter().map(|(size, weight)| {
            end += u64::from(*weight);
            (end, *size)
        });
        Self(ends.collect())
    }

    fn draw(&self, random: &mut Random) -> ByteSize {
        let Some(&(total, last)) = self.0.last() else {
            return ByteSize::new(1);
        };
        let place = below(random, total);
        let index = self.0.partition_point(|(end, _)| *end <= place);
        self.0.get(index).map_or(last, |(_, size)| *size)
    }
}

/// An exponential distribution cut to a range and down to whole bytes: a
/// geometric distribution of the offset from the least size, cut at the greatest.
#[derive(Clone, Copy, Debug)]
struct Exponential {
    mean: f64,
    span: Span,
    /// Probability of the range, given at least its least: 1 - exp(-count / mean).
    inside: f64,
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
impl Exponential {
    fn new(mean: ByteSize, range: SizeRange) -> Self {
        let span = Span::new(range);
        let mean = mean.get().max(1) as f64;
        Self {
            mean,
            span,
            inside: -(-(span.count as f64) / mean).exp_m1(),
        }
    }

    fn draw(&self, random: &mut Random) -> ByteSize {
        let place: f64 = random.random();
        self.span.at(-self.mean * (-place * self.inside).ln_1p())
    }

    fn mean(&self) -> f64 {
        let count = self.span.count as f64;
        self.span.least as f64 + 1.0 / (1.0 / self.mean).exp_m1()
            - count / (count / self.mean).exp_m1()
    }
}

/// A Pareto distribution on [least, greatest + 1), down to whole bytes.
#[derive(Clone, Copy, Debug)]
struct Pareto {
    shape: f64,
    span: Span,
    /// Probability of the range under the unbounded distribution.
    inside: f64,
}

#[expect(clippy::cast_precision_loss, reason = "sizes are below 2^53")]
impl Pareto {
    fn new(shape: f64, range: SizeRange) -> Self {
        let span = Span::new(range);
        let (least, end) = (span.least as f64, (span.least + span.count) as f64);
        Self {
            shape,
            span,
            inside: 1.0 - (least / end).powf(shape),
        }
    }

    fn draw(&self, random: &mut Random) -> ByteSize {
        let place: f64 = random.random();
        let least = self.span.least as f64;
        let size = least * (1.0 - place * self.inside).powf(-1.0 / self.shape);
        self.span.at(size - least)
    }

    /// least + the sum of P(size >= k) over k above it: term by term at first,
    /// then, where it is smooth, as the integral around the terms.
    fn mean(&self) -> f64 {
        let least = self.span.least;
        let end = least + self.span.count;
        let smooth = end.min(least + 4096);
        let terms: f64 = (least + 1..smooth).map(|k| self.at_least(k as f64)).sum();
        let rest = if smooth < end {
            self.integral(end as f64 - 0.5) - self.integral(smooth as f64 - 0.5)
        } else {
            0.0
        };
        least as f64 + terms + rest
    }

    /// P(size >= x).
    fn at_least(&self, x: f64) -> f64 {
        let tail = (self.span.least as f64 / x).powf(self.shape);
        (tail - (1.0 - self.inside)) / self.inside
    }

    /// An antiderivative of `at_least`.
    fn integral(&self, x: f64) -> f64 {
        let least = self.span.least as f64;
        let power = 1.0 - self.shape;
        let tail = if power.abs() < 1e-9 {
            least * x.ln()
        } else {
            least * (x / least).powf(power) / power
        };
        (tail - (1.0 - self.inside) * x) / self.inside
    }
}

fn weights_problem(weighted: &[(ByteSize, u32)]) -> Option<&'static str> {
    let sizes = ByteSize::new(1)..=MAX_SEND;
    if weighted.is_empty() || weighted.len() > MAX_WEIGHTED {
        Some("1 to 64 of SIZE*WEIGHT")
    } else if weighted.iter().any(|(size, _)| !sizes.contains(size)) {
        Some("of sizes from 1 B to 1 GiB")
    } else if weighted.iter().any(|(_, weight)| *weight == 0) {
        Some("of weights above 0")
    } else {
        None
    }
}

fn bytes(sizes: [(u64, u32); 3]) -> [(ByteSize, u32); 3] {
    sizes.map(|(size, weight)| (ByteSize::new(size), weight))
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people and rates")]
fn mean_of_weighted(sizes: &[(ByteSize, u32)]) -> f64 {
    let total: f64 = sizes.iter().map(|(_, weight)| f64::from(*weight)).sum();
    let sum: f64 = sizes
        .iter()
        .map(|(size, weight)| size.get() as f64 * f64::from(*weight))
        .sum();
    sum / total
}

fn largest_of_weighted(sizes: &[(ByteSize, u32)]) -> ByteSize {
    let sizes = sizes.iter().map(|(size, _)| *size);
    sizes.max().unwrap_or(ByteSize::ZERO)
}
