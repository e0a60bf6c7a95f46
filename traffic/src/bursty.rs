//! The sender of seed 004's test programs (SPEC, "The bursty sender").
//!
//! Its loop, in its order: once a second draw a new multiplier; unless inside a
//! burst, draw an interval and, with chance 0.3, start a burst of 50 packets
//! without interval; draw a size; send; sleep for the interval. So a packet that
//! starts a burst is sent, its interval passes, and then the 50 and the next
//! packet with an interval of its own go out together.

use crate::mixture::{INTERVALS, SIZES, threshold};
use crate::pace::Pace;
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::time::NANOS_PER_SEC;
use flow::{ByteRate, ByteSize, Nanos, Timestamp};
use rand::Rng;

/// Packets of a burst: sent with no interval after the one that started it.
pub const BURST_PACKETS: u32 = 50;

/// What the seed's gigabit line carried: its `line` where the sender hardly sleeps.
pub const GIGABIT_LINE: u64 = 117_750_000;

/// Chance, of 2^32, that a packet with an interval starts a burst.
const BURST_CHANCE: u64 = threshold(30);

/// A tick of the Windows clock that the seed's sender ran on.
const TICK: u64 = 15_600_000;

/// How the sender sleeps for a drawn interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SleepGrain {
    /// For the whole microseconds that were drawn: what the program means.
    #[default]
    Micros,
    /// Cut to whole milliseconds, as its `Sleep(us / 1000)` is; below one, not at all.
    Millis,
    /// Whole milliseconds that end with the first tick of a 15.6 ms clock, as the
    /// operating system rounds them. All senders share the clock.
    Tick,
}

/// By what intervals are divided for a second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Multiplier {
    /// 10.
    Ten,
    /// 5.
    Five,
    /// 2.
    Two,
    /// 1, also in the first second.
    #[default]
    One,
    /// 0.5.
    Half,
}

impl Multiplier {
    /// All of them, equally likely.
    pub const ALL: [Self; 5] = [Self::Ten, Self::Five, Self::Two, Self::One, Self::Half];

    /// One of them from 64 random bits.
    const fn draw(bits: u64) -> Self {
        match ((bits >> 32) * 5) >> 32 {
            0 => Self::Ten,
            1 => Self::Five,
            2 => Self::Two,
            3 => Self::One,
            _ => Self::Half,
        }
    }

    /// `interval_us` divided by the multiplier, cut to whole microseconds.
    #[must_use]
    pub const fn divide(self, interval_us: u64) -> u64 {
        match self {
            Self::Ten => interval_us / 10,
            Self::Five => interval_us / 5,
            Self::Two => interval_us / 2,
            Self::One => interval_us,
            Self::Half => interval_us.saturating_mul(2),
        }
    }
}

/// The bursty sender.
#[derive(Clone, Debug)]
pub struct Bursty {
    random: Random,
    grain: SleepGrain,
    /// How long sends take; `None`: no time.
    line: Option<Line>,
    /// The interval that the previous send is followed by.
    sleep: Nanos,
    /// Packets left of the burst.
    burst: u32,
    multiplier: Multiplier,
    /// When the multiplier is next drawn.
    redraw: Timestamp,
    /// The first send; `None` before it.
    start: Option<Timestamp>,
}

/// The line that the sender's packets leave on, one after the other.
#[derive(Clone, Debug)]
struct Line {
    pace: Pace,
    /// When the previous packet has left.
    free: Timestamp,
}

impl Bursty {
    /// A sender that sleeps by `grain`. With a `line`, a send takes its size over
    /// that rate, which keeps a sender that hardly ever sleeps from sending
    /// without end at one instant; without, it takes no time of its own.
    #[must_use]
    pub fn new(grain: SleepGrain, line: Option<ByteRate>, seed: StreamSeed) -> Self {
        Self {
            random: seed.random(),
            grain,
            line: line.map(Line::new),
            sleep: Nanos::ZERO,
            burst: 0,
            multiplier: Multiplier::One,
            redraw: Timestamp::ZERO,
            start: None,
        }
    }

    /// The multiplier in force since the last send.
    #[must_use]
    pub const fn multiplier(&self) -> Multiplier {
        self.multiplier
    }

    /// When the sender's loop comes round again if its send returned at `now`.
    #[inline]
    fn wake(&self, now: Timestamp) -> Timestamp {
        let returned = match &self.line {
            Some(line) => now.max(line.free),
            None => now,
        };
        let awake = returned + self.sleep;
        if self.grain == SleepGrain::Tick && self.sleep > Nanos::ZERO {
            let ticks = awake.as_nanos().div_ceil(TICK);
            return Timestamp::from_nanos(ticks.saturating_mul(TICK));
        }
        awake
    }

    /// At the first send starts the count of seconds, later draws a multiplier.
    #[cold]
    fn new_second(&mut self, at: Timestamp) {
        let start = match self.start {
            Some(start) => {
                self.multiplier = Multiplier::draw(self.random.next_u64());
                start
            }
            None => *self.start.insert(at),
        };
        let seconds = at.since(start).get() / NANOS_PER_SEC;
        self.redraw = start + Nanos::from_secs(seconds + 1);
    }

    /// Draws an interval, and whether a burst follows it.
    fn pause(&mut self) -> Nanos {
        let drawn = INTERVALS.draw(self.random.next_u64());
        if self.random.next_u64() >> 32 < BURST_CHANCE {
            self.burst = BURST_PACKETS;
        }
        self.grain.cut(self.multiplier.divide(drawn))
    }
}

/// The mean rate of the sender in bytes per second over all multipliers; `None`
/// for ticks, which nobody has worked out, and where it is endless.
pub(crate) fn mean_rate(grain: SleepGrain, line: Option<ByteRate>) -> Option<f64> {
    if grain == SleepGrain::Tick {
        return None;
    }
    let rates = Multiplier::ALL.map(|multiplier| rate_with(multiplier, grain, line));
    let mean = rates.iter().sum::<f64>() / 5.0;
    mean.is_finite().then_some(mean)
}

/// Each interval is shared by the packet before it and, on average, 0.3 x 50 of a burst.
#[expect(clippy::cast_precision_loss, reason = "a figure for people and plans")]
fn rate_with(multiplier: Multiplier, grain: SleepGrain, line: Option<ByteRate>) -> f64 {
    let bytes = SIZES.mean_of(|size| size) * (1.0 + 0.3 * f64::from(BURST_PACKETS));
    let sleep = INTERVALS.mean_of(|us| grain.cut(multiplier.divide(us)).get()) / 1e9;
    let sending = line.map_or(0.0, |line| bytes / line.get() as f64);
    bytes / (sleep + sending)
}

impl SleepGrain {
    /// The sleep that `micros` microseconds are cut to.
    const fn cut(self, micros: u64) -> Nanos {
        match self {
            Self::Micros => Nanos::from_micros(micros),
            Self::Millis | Self::Tick => Nanos::from_millis(micros / 1000),
        }
    }
}

impl Generator for Bursty {
    #[inline]
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let at = self.wake(now);
        if at >= self.redraw {
            self.new_second(at);
        }
        self.sleep = if self.burst > 0 {
            self.burst -= 1;
            Nanos::ZERO
        } else {
            self.pause()
        };
        let size = ByteSize::new(SIZES.draw(self.random.next_u64()));
        if let Some(line) = &mut self.line {
            line.free = at + line.pace.gap(size);
        }
        Some(Send { at, size })
    }
}

impl Line {
    const fn new(rate: ByteRate) -> Self {
        Self {
            pace: Pace::new(rate),
            free: Timestamp::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For each multiplier: mean interval in us, P(it is 0), MB/s with microsecond
    /// sleeps, MB/s with millisecond sleeps (but where it never sleeps).
    const EXACT: [(Multiplier, f64, f64, f64, f64); 5] = [
        (Multiplier::Ten, 122.3, 3.0 / 10.0, 95.712, f64::INFINITY),
        (Multiplier::Five, 245.117, 2.0 / 15.0, 47.755, 105.35),
        (Multiplier::Two, 613.567, 1.0 / 30.0, 19.078, 26.34),
        (Multiplier::One, 1227.65, 0.0, 9.535, 11.71),
        (Multiplier::Half, 2455.3, 0.0, 4.767, 5.29),
    ];

    #[test]
    fn every_multiplier_has_its_exact_figures() {
        for (multiplier, interval, zero, micros, millis) in EXACT {
            let mean = INTERVALS.mean_of(|us| multiplier.divide(us));
            assert!((mean - interval).abs() < 5e-4, "{multiplier:?}: {mean} us");
            let share = INTERVALS.mean_of(|us| u64::from(multiplier.divide(us) == 0));
            assert!((share - zero).abs() < 1e-12, "{multiplier:?}: {share}");
            let rate = rate_with(multiplier, SleepGrain::Micros, None) / 1e6;
            assert!(
                (rate - micros).abs() < 5.1e-4,
                "{multiplier:?}: {rate} MB/s"
            );
            let rate = rate_with(multiplier, SleepGrain::Millis, None) / 1e6;
            assert!(
                rate == millis || (rate - millis).abs() < 5.1e-3,
                "{multiplier:?}: {rate}"
            );
        }
    }
}
