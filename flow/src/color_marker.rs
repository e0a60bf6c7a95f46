//! The three colour markers of DiffServ, colour-blind, as policers.
//!
//! A marker meters a packet green, yellow or red. Here green passes, red is
//! dropped, and yellow passes unless it is to be dropped too; a packet that is
//! dropped takes no tokens.

use crate::meter::{Meter, billionths, whole_bytes};
use crate::{ByteRate, ByteSize, Limiter, Timestamp};

/// What a marker makes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Color {
    /// Within the committed burst.
    Green,
    /// Within the excess or peak burst only.
    Yellow,
    /// Within neither.
    Red,
}

/// `sr-tcm`: the single rate three colour marker, RFC 2697.
///
/// Rule: tokens come at `rate` and fill C up to `cbs`, and only when C is full
/// E up to `ebs`; both start full. A packet is green if C has its size (and
/// takes it there), else yellow if E has (and takes it there), else red.
///
/// Worked example, 1,000 B/s, cbs 1,000 B, ebs 500 B: 1,000 B at 0 s are green,
/// 500 B more yellow, any more red. At 1 s C is full again; E only at 1.5 s.
#[derive(Clone, Debug)]
pub struct SrTcm {
    rate: u64,
    /// Missing in C and in E, in billionths of a byte.
    committed: Pool,
    excess: Pool,
    drop_yellow: bool,
    /// The latest instant at which something changed.
    last: u64,
    /// What a refund undoes.
    latest: Taken,
}

/// The last packet that passed.
#[derive(Clone, Copy, Debug)]
struct Taken {
    color: Color,
    size: ByteSize,
}

impl Taken {
    const NOTHING: Self = Self {
        color: Color::Red,
        size: ByteSize::ZERO,
    };

    /// What is left of it without `size`.
    const fn without(&self, size: ByteSize) -> ByteSize {
        ByteSize::new(self.size.get().saturating_sub(size.get()))
    }
}

impl Color {
    const fn passes(self, drop_yellow: bool) -> bool {
        match self {
            Self::Green => true,
            Self::Yellow => !drop_yellow,
            Self::Red => false,
        }
    }
}

fn color_of(committed: &Pool, excess: &Pool, size: ByteSize) -> Color {
    if committed.fits(size) {
        Color::Green
    } else if excess.fits(size) {
        Color::Yellow
    } else {
        Color::Red
    }
}

#[derive(Clone, Copy, Debug)]
struct Pool {
    depth: ByteSize,
    spent: u128,
}

impl Pool {
    const fn full(depth: ByteSize) -> Self {
        Self { depth, spent: 0 }
    }

    /// What may be spent before `size` no longer fits; `None` if it never does.
    fn slack(&self, size: ByteSize) -> Option<u128> {
        billionths(self.depth).checked_sub(billionths(size))
    }

    fn fits(&self, size: ByteSize) -> bool {
        self.slack(size).is_some_and(|slack| self.spent <= slack)
    }

    fn give_back(&mut self, size: ByteSize) {
        self.spent = self.spent.saturating_sub(billionths(size));
    }

    fn room(&self) -> ByteSize {
        whole_bytes(billionths(self.depth).saturating_sub(self.spent))
    }
}

impl SrTcm {
    /// Full buckets.
    #[must_use]
    pub const fn new(rate: ByteRate, cbs: ByteSize, ebs: ByteSize, drop_yellow: bool) -> Self {
        Self {
            rate: rate.get(),
            committed: Pool::full(cbs),
            excess: Pool::full(ebs),
            drop_yellow,
            last: 0,
            latest: Taken::NOTHING,
        }
    }

    /// The color of `size` bytes at `now`.
    #[must_use]
    pub fn color(&self, now: Timestamp, size: ByteSize) -> Color {
        let (committed, excess) = self.at(now);
        color_of(&committed, &excess, size)
    }

    /// Both buckets at `now`: what C does not need goes to E.
    fn at(&self, now: Timestamp) -> (Pool, Pool) {
        let elapsed = now.as_nanos().saturating_sub(self.last);
        let earned = u128::from(elapsed) * u128::from(self.rate);
        let (mut committed, mut excess) = (self.committed, self.excess);
        let left = earned.saturating_sub(committed.spent);
        committed.spent = committed.spent.saturating_sub(earned);
        excess.spent = excess.spent.saturating_sub(left);
        (committed, excess)
    }

    fn settle(&mut self, now: Timestamp) {
        (self.committed, self.excess) = self.at(now);
        self.last = self.last.max(now.as_nanos());
    }

    /// Takes `size` from the bucket of its color.
    fn take(&mut self, color: Color, size: ByteSize) {
        self.latest = Taken { color, size };
        match color {
            Color::Green => self.committed.spent += billionths(size),
            Color::Yellow => self.excess.spent += billionths(size),
            Color::Red => {}
        }
    }

    /// When `earned` has come in since the last change.
    fn when_earned(&self, earned: u128) -> Option<u64> {
        let wait = u64::try_from(earned.div_ceil(u128::from(self.rate))).ok()?;
        self.last.checked_add(wait)
    }
}

impl Limiter for SrTcm {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.color(now, size).passes(self.drop_yellow)
    }

    /// The earlier of green and yellow: E only fills once C is full.
    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        if self.conforms(now, size) {
            return Some(now);
        }
        let green = self.committed.slack(size).and_then(|slack| {
            let needed = self.committed.spent.saturating_sub(slack);
            self.when_earned(needed)
        });
        let yellow = self.excess.slack(size).and_then(|slack| {
            let needed = self.excess.spent.saturating_sub(slack);
            self.when_earned(self.committed.spent.saturating_add(needed))
        });
        let yellow = yellow.filter(|_| !self.drop_yellow);
        let first = green.into_iter().chain(yellow).min()?;
        Some(Timestamp::from_nanos(first).max(now))
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        let (committed, excess) = self.at(now);
        match self.drop_yellow {
            true => committed.room(),
            false => committed.room().max(excess.room()),
        }
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.settle(now);
        self.take(color_of(&self.committed, &self.excess, size), size);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let (committed, excess) = self.at(now);
        let color = color_of(&committed, &excess, size);
        let passes = color.passes(self.drop_yellow);
        if passes {
            (self.committed, self.excess) = (committed, excess);
            self.last = self.last.max(now.as_nanos());
            self.take(color, size);
        }
        passes
    }

    /// As if the packet had been smaller, whatever color it had then had.
    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let Taken { color, size: whole } = self.latest;
        match color {
            Color::Green => self.committed.give_back(whole),
            Color::Yellow => self.excess.give_back(whole),
            Color::Red => return,
        }
        let rest = self.latest.without(size);
        self.take(color_of(&self.committed, &self.excess, rest), rest);
    }

    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.settle(now);
        self.rate = rate.get();
    }
}

/// `tr-tcm`: the two rate three colour marker, RFC 2698.
///
/// Rule: C fills at `rate` up to `cbs`, P at `peak_rate` up to `pbs`; both start
/// full. A packet is red if P lacks its size, else yellow (taken from P) if C
/// lacks it, else green (taken from both).
///
/// Worked example, 1,000 B/s and 1,000 B beside a peak of 2,000 B/s and 1,500
/// B: 1,000 B at 0 s are green, 500 B more yellow, any more red. At 0.5 s 1,000
/// B are yellow, at 1 s green.
#[derive(Clone, Debug)]
pub struct TrTcm {
    committed: Meter,
    peak: Meter,
    peak_rate: ByteRate,
    drop_yellow: bool,
    /// What a refund undoes.
    latest: Taken,
}

impl TrTcm {
    /// Full buckets. A `peak_rate` below `rate` is raised to it.
    #[must_use]
    pub fn new(
        rate: ByteRate,
        cbs: ByteSize,
        peak_rate: ByteRate,
        pbs: ByteSize,
        drop_yellow: bool,
    ) -> Self {
        Self {
            committed: Meter::new(rate, cbs, ByteSize::ZERO),
            peak: Meter::new(peak_rate.max(rate), pbs, ByteSize::ZERO),
            peak_rate,
            drop_yellow,
            latest: Taken::NOTHING,
        }
    }

    /// The color of `size` bytes at `now`.
    #[must_use]
    pub fn color(&self, now: Timestamp, size: ByteSize) -> Color {
        if !self.peak.fits(now, size) {
            Color::Red
        } else if self.committed.fits(now, size) {
            Color::Green
        } else {
            Color::Yellow
        }
    }
}

impl TrTcm {
    /// Takes `size` from the buckets of its color.
    fn take(&mut self, now: Timestamp, color: Color, size: ByteSize) {
        self.latest = Taken { color, size };
        if color != Color::Red {
            self.peak.charge(now, size);
        }
        if color == Color::Green {
            self.committed.charge(now, size);
        }
    }
}

impl Limiter for TrTcm {
    fn conforms(&self, now: Timestamp, size: ByteSize) -> bool {
        self.color(now, size).passes(self.drop_yellow)
    }

    fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        let peak = self.peak.when_fits(now, size)?;
        match self.drop_yellow {
            true => Some(peak.max(self.committed.when_fits(now, size)?)),
            false => Some(peak),
        }
    }

    fn available(&self, now: Timestamp) -> ByteSize {
        let peak = self.peak.room(now);
        match self.drop_yellow {
            true => peak.min(self.committed.room(now)),
            false => peak,
        }
    }

    fn commit(&mut self, now: Timestamp, size: ByteSize) {
        self.take(now, self.color(now, size), size);
    }

    fn admit(&mut self, now: Timestamp, size: ByteSize) -> bool {
        let color = self.color(now, size);
        let passes = color.passes(self.drop_yellow);
        if passes {
            self.take(now, color, size);
        }
        passes
    }

    /// As if the packet had been smaller, whatever color it had then had.
    fn refund(&mut self, _now: Timestamp, size: ByteSize) {
        let Taken { color, size: whole } = self.latest;
        if color == Color::Red {
            return;
        }
        self.peak.give_back(whole);
        if color == Color::Green {
            self.committed.give_back(whole);
        }
        let (at, rest) = (self.peak.last(), self.latest.without(size));
        self.take(at, self.color(at, rest), rest);
    }

    /// The peak rate stays as configured, but never below `rate`.
    fn set_rate(&mut self, now: Timestamp, rate: ByteRate) {
        self.committed.set_rate(now, rate);
        self.peak.set_rate(now, self.peak_rate.max(rate));
    }
}
