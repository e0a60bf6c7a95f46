//! The text form of a size distribution.

use super::{SizeDistribution, SizeRange};
use flow::ByteSize;
use flow::spec::ValueError;
use std::fmt;
use std::str::FromStr;

/// What is written where a distribution is expected.
const FORMS: &str = "a size or a distribution of sizes such as \"500B\", \"64B..1500B\", \
    \"imix\", \"imix-ip\", \"wirefisher\", \"64B*7+594B*4\", \"exponential:500B:40B..1500B\" \
    or \"pareto:1.2:40B..1500B\"";

impl FromStr for SizeDistribution {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let size = read(text)?;
        match size.problem() {
            None => Ok(size),
            Some(range) => Err(ValueError::Range {
                given: text.to_owned(),
                range,
            }),
        }
    }
}

fn read(text: &str) -> Result<SizeDistribution, ValueError> {
    let parts: Vec<_> = text.split(':').map(str::trim).collect();
    match parts[..] {
        ["imix"] => Ok(SizeDistribution::Imix),
        ["imix-ip"] => Ok(SizeDistribution::ImixIp),
        ["wirefisher"] => Ok(SizeDistribution::Wirefisher),
        ["exponential", mean, range] => Ok(SizeDistribution::Exponential {
            mean: mean.parse()?,
            range: range.parse()?,
        }),
        ["pareto", shape, range] => Ok(SizeDistribution::Pareto {
            shape: shape.parse()?,
            range: range.parse()?,
        }),
        [text] if text.contains("..") => text.parse().map(SizeDistribution::Uniform),
        [text] if text.contains('*') => read_weighted(text),
        [text] if text.starts_with(|c: char| c.is_ascii_digit()) => {
            Ok(SizeDistribution::Fixed(text.parse()?))
        }
        _ => Err(not_a_distribution(text)),
    }
}

fn read_weighted(text: &str) -> Result<SizeDistribution, ValueError> {
    let sizes: Result<_, ValueError> = text
        .split('+')
        .map(|part| {
            let (size, weight) = part
                .split_once('*')
                .ok_or_else(|| not_a_distribution(text))?;
            Ok((size.parse()?, weight.trim().parse()?))
        })
        .collect();
    sizes.map(SizeDistribution::Weighted)
}

fn not_a_distribution(text: &str) -> ValueError {
    ValueError::Range {
        given: text.to_owned(),
        range: FORMS,
    }
}

impl FromStr for SizeRange {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (least, greatest) = text.split_once("..").ok_or_else(|| ValueError::Range {
            given: text.to_owned(),
            range: "a range of sizes such as \"40B..1500B\"",
        })?;
        Ok(Self {
            least: least.parse::<ByteSize>()?,
            greatest: greatest.parse()?,
        })
    }
}

impl fmt::Display for SizeDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(size) => write!(f, "{size:#}"),
            Self::Uniform(range) => write!(f, "{range}"),
            Self::Imix => f.write_str("imix"),
            Self::ImixIp => f.write_str("imix-ip"),
            Self::Wirefisher => f.write_str("wirefisher"),
            Self::Weighted(sizes) => {
                for (index, (size, weight)) in sizes.iter().enumerate() {
                    let separator = if index == 0 { "" } else { "+" };
                    write!(f, "{separator}{size:#}*{weight}")?;
                }
                Ok(())
            }
            Self::Exponential { mean, range } => write!(f, "exponential:{mean:#}:{range}"),
            Self::Pareto { shape, range } => write!(f, "pareto:{shape}:{range}"),
        }
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#}..{:#}", self.least, self.greatest)
    }
}
