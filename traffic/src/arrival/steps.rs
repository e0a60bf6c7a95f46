//! A rate that changes in steps.

use super::Level;
use crate::distribution::{SizeDistribution, Sizes};
use crate::seed::{Random, StreamSeed};
use crate::source::{Generator, Send};
use flow::time::NANOS_PER_SEC;
use flow::{Nanos, Timestamp};

/// Each packet is followed by the time in which the steps carry its size, exactly.
#[derive(Clone, Debug)]
pub struct Steps {
    random: Random,
    sizes: Sizes,
    staircase: Staircase,
    start: Option<Timestamp>,
    /// What the previous packet still has to wait for, in billionths of a byte.
    need: u128,
    /// What was waited too long for it, because a nanosecond is not divided.
    surplus: u128,
}

impl Steps {
    /// Packets of `size` at each level in turn. After the last one the sender has
    /// ended; with `repeat`, it begins anew.
    #[must_use]
    pub fn new(levels: &[Level], repeat: bool, size: &SizeDistribution, seed: StreamSeed) -> Self {
        Self {
            random: seed.random(),
            sizes: size.sampler(),
            staircase: Staircase::new(levels, repeat),
            start: None,
            need: 0,
            surplus: 0,
        }
    }
}

impl Generator for Steps {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let start = *self.start.get_or_insert(now);
        let elapsed = now.since(start);
        let need = self.need.saturating_sub(self.surplus);
        let (gap, surplus) = self.staircase.climb(elapsed, need)?;
        self.surplus = surplus + self.surplus.saturating_sub(self.need);
        let size = self.sizes.draw(&mut self.random);
        self.need = u128::from(size.get()) * u128::from(NANOS_PER_SEC);
        Some(Send {
            at: now + gap,
            size,
        })
    }
}

#[derive(Clone, Debug)]
struct Staircase {
    levels: Box<[Level]>,
    repeat: bool,
    /// Length of one round, in nanoseconds.
    length: u128,
    /// What one round carries, in billionths of a byte.
    carries: u128,
}

impl Staircase {
    fn new(levels: &[Level], repeat: bool) -> Self {
        Self {
            levels: levels.into(),
            repeat,
            length: levels
                .iter()
                .map(|level| u128::from(level.lasts.get()))
                .sum(),
            carries: levels.iter().fold(0, |sum, level| {
                let carried = level.rate() * u128::from(level.lasts.get());
                sum.saturating_add(carried)
            }),
        }
    }

    /// From `elapsed` on, the least time, in a level that sends, in which `need`
    /// is carried, and how much more than `need` it carries. `None`: never.
    fn climb(&self, elapsed: Nanos, mut need: u128) -> Option<(Nanos, u128)> {
        if self.carries == 0 {
            return None;
        }
        let mut place = u128::from(elapsed.get());
        let mut waited = 0_u128;
        if self.repeat {
            place %= self.length;
            waited = need / self.carries * self.length;
            need %= self.carries;
        }
        // What is left is carried within one round from here, or never: the rest
        // of this one and the next. Where that is exactly its end, the packet is
        // due when the one after begins to send.
        let rounds = if self.repeat { 3 } else { 1 };
        let mut surplus = 0;
        for _ in 0..rounds {
            let mut start = 0;
            for level in &self.levels {
                let end = start + u128::from(level.lasts.get());
                let left = end.saturating_sub(place.max(start));
                if let Some(time) = level.time_of(need, left) {
                    surplus += time * level.rate() - need;
                    let gap = u64::try_from(waited + time).unwrap_or(u64::MAX);
                    return Some((Nanos::new(gap), surplus));
                }
                let carried = left * level.rate();
                surplus += carried.saturating_sub(need);
                need = need.saturating_sub(carried);
                waited += left;
                start = end;
            }
            place = 0;
        }
        None
    }
}

impl Level {
    /// In bytes per second, which is billionths of a byte per nanosecond.
    fn rate(&self) -> u128 {
        self.rate.map_or(0, |rate| u128::from(rate.get()))
    }

    /// The nanoseconds, fewer than `left`, in which `need` is carried.
    fn time_of(&self, need: u128, left: u128) -> Option<u128> {
        let time = match self.rate() {
            0 => return None,
            rate => need.div_ceil(rate),
        };
        (time < left).then_some(time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flow::ByteRate;

    const BYTE: u128 = 1_000_000_000;

    fn level(rate: u64, seconds: u64) -> Level {
        Level {
            rate: ByteRate::new(rate),
            lasts: Nanos::from_secs(seconds),
        }
    }

    fn seconds(stairs: &Staircase, elapsed: u64, bytes: u128) -> Option<u64> {
        let (gap, _) = stairs.climb(Nanos::from_secs(elapsed), bytes * BYTE)?;
        Some(gap.get() / NANOS_PER_SEC)
    }

    #[test]
    fn a_packet_waits_across_levels_and_silences() {
        let once = Staircase::new(&[level(100, 10), level(0, 5), level(50, 10)], false);
        assert_eq!(seconds(&once, 0, 0), Some(0));
        assert_eq!(seconds(&once, 0, 900), Some(9));
        assert_eq!(
            seconds(&once, 0, 1000),
            Some(15),
            "a level excludes its end"
        );
        assert_eq!(seconds(&once, 0, 1100), Some(17));
        assert_eq!(seconds(&once, 12, 0), Some(3));
        assert_eq!(seconds(&once, 0, 1500), None);
        assert_eq!(seconds(&once, 30, 0), None);
        let round = Staircase::new(&[level(100, 10), level(0, 5), level(50, 10)], true);
        assert_eq!(seconds(&round, 0, 1500), Some(25));
        assert_eq!(
            seconds(&round, 24, 100),
            Some(1),
            "50 in the last second, 50 in the next"
        );
        assert_eq!(seconds(&round, 30, 3000 * 1000), Some(50_000));
    }
    #[test]
    fn levels_of_single_nanoseconds_lose_nothing() {
        let nano = |rate| Level {
            rate: ByteRate::new(rate),
            lasts: Nanos::new(1),
        };
        let levels = [nano(3), nano(0), nano(7), nano(5)];
        let round = Staircase::new(&levels, true);
        let rates = levels.map(|level| level.rate());
        for elapsed in 0..4 {
            for need in 0..60 {
                let (gap, surplus) = round.climb(Nanos::new(elapsed as u64), need).unwrap();
                let mut places = rates.iter().cycle().skip(elapsed);
                let carried: u128 = (0..gap.get()).filter_map(|_| places.next()).sum();
                assert_eq!(carried, need + surplus, "{need} from {elapsed}");
                assert_ne!(places.next(), Some(&0), "{need} from {elapsed}");
            }
        }
    }
}
