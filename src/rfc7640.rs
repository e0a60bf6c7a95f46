//! The methods of RFC 7640, "Traffic Management Benchmarking" (2015), on the
//! exact models and against a server: burst hunt (5.1.1), policer compliant and excess (6.1.1), queue (6.2.1),
//! shaper (6.3.1), the stateful tests with TCP test patterns, the capacity of policers, queues and shapers with
//! many of them on one port, one on each port, and many on each (6.1.2, 6.2.2, 6.3.2), how many hold at
//! most, and several profiles at once, stateless and stateful, each with flows of its own (6.4).
//!
//! What the RFC leaves out is reported beside it: while a burst comes in at line
//! rate C, a bucket of rate CIR refills, so that a burst of CBS C/(C - CIR) passes;
//! times (1 - CIR/C) it is the bucket itself.

mod capacity;
mod config;
mod model;
mod procedures;
mod profile;
mod server;
mod stateful;
mod streams;

pub use config::{
    Capacity, Class, ConcurrentProfile, Config, PolicerProfile, QueueProfile, Sessions,
    ShaperProfile, StatefulProfile, Tcp, TestPattern,
};
pub use model::run;
pub use server::{Against, EASE, Found, ServerError, run_against};

/// A figure of a run. In the order of the RFC's section 4.1 and 4.2, each with
/// what must stand beside it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Burst size achieved, bytes: the most that came through without a loss.
    Bsa,
    /// The same times (1 - CIR/C): without what refilled during the burst.
    BsaCorrected,
    /// Lost packets.
    Lp,
    /// Packets out of sequence (RFC 4737).
    Oos,
    /// Mean packet delay, seconds.
    Pd,
    /// Packet delay variation, 99th percentile above the least (RFC 5481), seconds.
    Pdv,
    /// Shaper rate: mean output, bytes a second.
    Sr,
    /// Shaper burst bytes: mean size of back-to-back trains.
    Sbb,
    /// Shaper burst interval: mean seconds between their starts.
    Sbi,
    /// TCP test pattern execution time, mean, seconds.
    Ttpet,
    /// The least of them.
    TtpetMin,
    /// The most of them.
    TtpetMax,
    /// TCP efficiency: transmitted without retransmitted, percent.
    Efficiency,
    /// Buffer delay: mean round trip over the unloaded one, percent above it.
    BufferDelay,
    /// Limiters at once; of capacity, not among the RFC's figures, as those below.
    Limiters,
    /// How many of them lost no more than the plan allows.
    Held,
    /// Sent to all of them together, bytes a second.
    Offered,
    /// Lost packets, percent of those sent.
    Lost,
}

impl Metric {
    /// Those of the RFC.
    pub const ALL: [Self; 14] = [
        Self::Bsa,
        Self::BsaCorrected,
        Self::Lp,
        Self::Oos,
        Self::Pd,
        Self::Pdv,
        Self::Sr,
        Self::Sbb,
        Self::Sbi,
        Self::Ttpet,
        Self::TtpetMin,
        Self::TtpetMax,
        Self::Efficiency,
        Self::BufferDelay,
    ];

    /// Its abbreviation and unit.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Bsa => "BSA (B)",
            Self::BsaCorrected => "BSA(1-CIR/C) (B)",
            Self::Lp => "LP",
            Self::Oos => "OOS",
            Self::Pd => "PD (ms)",
            Self::Pdv => "PDV (ms)",
            Self::Sr => "SR (kB/s)",
            Self::Sbb => "SBB (B)",
            Self::Sbi => "SBI (ms)",
            Self::Ttpet => "TTPET avg (s)",
            Self::TtpetMin => "min (s)",
            Self::TtpetMax => "max (s)",
            Self::Efficiency => "TCP eff. (%)",
            Self::BufferDelay => "buffer delay (%)",
            Self::Limiters => "limiters",
            Self::Held => "held",
            Self::Offered => "offered (kB/s)",
            Self::Lost => "lost (%)",
        }
    }

    /// From the unit of [`Figures`] to that of the label.
    #[must_use]
    pub const fn factor(self) -> f64 {
        match self {
            Self::Pd | Self::Pdv | Self::Sbi => 1e3,
            Self::Sr | Self::Offered => 1e-3,
            _ => 1.0,
        }
    }
}

/// The figures of one run; in bytes, seconds and packets.
pub type Figures = std::collections::BTreeMap<Metric, f64>;

/// What a test adds to the eleven figures of a profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Its burst size achieved.
    Hunt,
    /// Its stateless figures.
    Main,
    /// Its stateful figures.
    Stateful,
    /// It says something else.
    Other,
    /// Each line is a trial with another number of limiters, not a run of the same.
    Trials,
}

/// All runs of one test of one profile.
#[derive(Clone, Debug)]
pub struct Test {
    /// Which test, as the RFC calls it, with its section.
    pub name: String,
    /// What it adds to the figures of its profile.
    pub part: Part,
    /// The profile's name, or several.
    pub profile: String,
    /// What was sent.
    pub setting: String,
    /// The figures that the RFC has in this test's table.
    pub columns: Vec<Metric>,
    /// Run by run.
    pub runs: Vec<Figures>,
}

const NANOS: u64 = 1_000_000_000;

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
const fn real(number: u64) -> f64 {
    number as f64
}

/// The time that `bytes` take at `rate` bytes a second, in nanoseconds, rounded up.
fn time_of(bytes: u64, rate: u64) -> u64 {
    let nanos = (u128::from(bytes) * u128::from(NANOS)).div_ceil(u128::from(rate.max(1)));
    u64::try_from(nanos).unwrap_or(u64::MAX)
}
