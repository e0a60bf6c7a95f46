//! A token bucket that many threads may ask at once: one compare-and-swap of 64
//! bits a decision, and exact.
//!
//! The state is the virtual scheduling of GCRA, counted in what is earned
//! instead of in time, so that nothing is rounded. Let *earned(t)* be what the
//! rate has earned since some instant, the anchor; the state is the value that
//! *earned* will have when the bucket is full again. A packet of size n
//! conforms at t iff
//!
//! ```text
//! max(state, earned(t)) + n - earned(t) <= burst
//! ```
//!
//! and then the left sum becomes the state. The unit is a billionth of a byte
//! times the greatest common divisor of the rate and 10^9: at 5,000 B/s a
//! nanosecond earns 1, at 700 MB/s 7, at 1,000,003 B/s 1,000,003.
//!
//! 64 bits hold a limited span of that, 36 years at 5,000 B/s and 19 minutes at
//! 1,000,003 B/s. The first decision after the span moves the anchor. That, and
//! a change of the limits, is all that makes the other threads wait, for some
//! tens of nanoseconds.

use core::sync::atomic::{AtomicU64, Ordering, fence};

use crate::time::NANOS_PER_SEC;
use crate::{ByteRate, ByteSize, Timestamp};

/// The bits of the state that schedule.
const SCHEDULE: u64 = (1 << 61) - 1;
/// The bits that count the terms, so that a decision made in an earlier term
/// cannot be stored in a later one (unless four terms pass meanwhile, and the
/// schedule comes to be just the same).
const TERM: u64 = 3 << 61;
const NEXT_TERM: u64 = 1 << 61;
/// Set while somebody writes the terms: a new anchor or new limits.
const CHANGING: u64 = 1 << 63;

/// What is earned within a span, at most; the deepest bucket is below it too,
/// so that their sum fits the schedule.
const SPAN: u64 = 1 << 60;

/// The token bucket of [`crate::token_bucket`], shared by threads.
///
/// Asked by one thread at a time with a clock that does not run backwards, it
/// decides exactly as [`TokenBucket`](crate::token_bucket::TokenBucket) does.
/// With several, what is taken in any interval of length t is at most
/// `burst + rate x t`, and while it is saturated not a byte less: no decision
/// loses credit. A thread whose `now` lies before another's is answered as of
/// its own, earlier `now`, or as of the anchor if that is later.
///
/// ```
/// use weirgate_flow::shared::SharedTokenBucket;
/// use weirgate_flow::{ByteRate, ByteSize, Timestamp};
///
/// let rate = ByteRate::new(700_000_000).expect("not zero");
/// let packet = ByteSize::new(1_500);
/// let bucket = SharedTokenBucket::new(rate, packet).expect("below 1 GiB");
/// assert!(bucket.try_take(Timestamp::ZERO, packet));
/// assert!(!bucket.try_take(Timestamp::from_nanos(2_142), packet));
/// assert!(bucket.try_take(Timestamp::from_nanos(2_143), packet));
/// ```
#[derive(Debug)]
#[repr(align(64))]
pub struct SharedTokenBucket {
    /// Schedule, number of the term, and whether the terms are being changed.
    state: AtomicU64,
    terms: Terms,
}

impl SharedTokenBucket {
    /// The largest burst: 1 GiB.
    pub const LARGEST_BURST: ByteSize = ByteSize::new(1 << 30);

    /// A bucket that is full at the origin of time; `None` if `burst` exceeds
    /// [`Self::LARGEST_BURST`].
    #[must_use]
    pub fn new(rate: ByteRate, burst: ByteSize) -> Option<Self> {
        (burst <= Self::LARGEST_BURST).then(|| {
            let terms = Terms::default();
            terms.set(rate.get(), burst.get(), 0, 0);
            Self {
                state: AtomicU64::new(0),
                terms,
            }
        })
    }

    /// Takes `size` bytes at `now` if they conform: one decision of a policer.
    #[inline]
    pub fn try_take(&self, now: Timestamp, size: ByteSize) -> bool {
        let taken = self.decide(now, |schedule, earned| {
            let after = schedule.max(earned).wrapping_add(self.terms.price(size)?);
            (after.wrapping_sub(earned) <= get(&self.terms.depth)).then_some((after, ()))
        });
        taken.is_some()
    }

    /// Takes as many bytes as conform at `now`, at most `most`: how many.
    #[inline]
    pub fn take_up_to(&self, now: Timestamp, most: ByteSize) -> ByteSize {
        let taken = self.decide(now, |schedule, earned| {
            let before = schedule.max(earned);
            let credit = earned
                .wrapping_add(get(&self.terms.depth))
                .saturating_sub(before);
            let (price, bytes) = match self.terms.price(most) {
                Some(price) if price <= credit => (price, most.get()),
                _ => {
                    let cost = get(&self.terms.cost);
                    let bytes = credit / cost;
                    (bytes.wrapping_mul(cost), bytes)
                }
            };
            (bytes > 0).then_some((before.wrapping_add(price), ByteSize::new(bytes)))
        });
        taken.unwrap_or_default()
    }

    /// Gives back `size` bytes that were taken and did not pass.
    pub fn give_back(&self, size: ByteSize) {
        let mut state = self.settled();
        loop {
            let price = self.terms.price(size).unwrap_or(SCHEDULE);
            let schedule = (state & SCHEDULE).saturating_sub(price);
            match self.replace(state, schedule) {
                Ok(()) => return,
                Err(_) => state = self.settled(),
            }
        }
    }

    /// The most bytes that conform at `now`.
    #[must_use]
    pub fn available(&self, now: Timestamp) -> ByteSize {
        self.read(|schedule| {
            let credit = u128::from(get(&self.terms.depth))
                .saturating_sub(self.terms.missing(schedule, now));
            let bytes = u64::try_from(credit).unwrap_or(0) / get(&self.terms.cost);
            ByteSize::new(bytes)
        })
    }

    /// The first instant at or after `now` at which `size` bytes conform if
    /// nothing else passes first; `None` if they never do.
    #[must_use]
    pub fn earliest(&self, now: Timestamp, size: ByteSize) -> Option<Timestamp> {
        self.read(|schedule| {
            let price = self.terms.price(size)?;
            let spare = get(&self.terms.depth).checked_sub(price)?;
            let needed = schedule.saturating_sub(spare);
            let wait = needed.div_ceil(get(&self.terms.earning));
            let at = match wait {
                0 => 0,
                _ => get(&self.terms.anchor).checked_add(wait)?,
            };
            Some(Timestamp::from_nanos(at).max(now))
        })
    }

    /// Changes the rate from `now` on; what was earned until then is kept.
    pub fn set_rate(&self, now: Timestamp, rate: ByteRate) {
        self.change(|schedule| {
            let burst = get(&self.terms.burst);
            self.terms.renew(schedule, now, rate.get(), burst)
        });
    }

    /// Changes rate and burst from `now` on; what was earned until then is
    /// kept, up to the new burst. False, and nothing done, if `burst` exceeds
    /// [`Self::LARGEST_BURST`].
    #[must_use]
    pub fn set_limits(&self, now: Timestamp, rate: ByteRate, burst: ByteSize) -> bool {
        let fits = burst <= Self::LARGEST_BURST;
        if fits {
            self.change(|schedule| self.terms.renew(schedule, now, rate.get(), burst.get()));
        }
        fits
    }

    /// Decides until nobody has come between: `decision` turns the schedule and
    /// what is earned at `now` into the schedule afterwards and an answer, or
    /// refuses with `None`.
    #[inline]
    fn decide<T>(
        &self,
        now: Timestamp,
        decision: impl Fn(u64, u64) -> Option<(u64, T)>,
    ) -> Option<T> {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let elapsed = now.as_nanos().saturating_sub(get(&self.terms.anchor));
            if elapsed > get(&self.terms.span) {
                state = self.settled_around(now);
                continue;
            }
            // If the terms belong together, no sum here or in a decision wraps.
            // If not, it shows below, whatever came of it.
            let earned = elapsed.wrapping_mul(get(&self.terms.earning)) & SCHEDULE;
            // While the terms change the schedule is beyond all decisions.
            match decision(state & !TERM, earned) {
                Some((schedule, answer)) => match self.replace(state, schedule) {
                    Ok(()) => return Some(answer),
                    Err(changed) => state = changed,
                },
                None if self.still_holds(state) => return None,
                None => state = self.settled(),
            }
        }
    }

    /// Stores a new schedule if nobody has come between since `state`; what is
    /// there otherwise.
    #[inline]
    fn replace(&self, state: u64, schedule: u64) -> Result<(), u64> {
        self.state
            .compare_exchange_weak(
                state,
                state & TERM | schedule,
                Ordering::AcqRel,
                Ordering::Acquire,
            )
            .map(|_| ())
    }

    /// Whether the terms read since `state` was loaded are those it belongs to.
    #[inline]
    fn still_holds(&self, state: u64) -> bool {
        fence(Ordering::Acquire);
        let now = self.state.load(Ordering::Relaxed);
        (now ^ state) & TERM | (now | state) & CHANGING == 0
    }

    /// The state, waiting while the terms change.
    fn settled(&self) -> u64 {
        loop {
            let state = self.state.load(Ordering::Acquire);
            if state & CHANGING == 0 {
                return state;
            }
            core::hint::spin_loop();
        }
    }

    /// The same, with terms that have `now` in their span.
    #[cold]
    fn settled_around(&self, now: Timestamp) -> u64 {
        let outside = self.read(|_| {
            let elapsed = now.as_nanos().saturating_sub(get(&self.terms.anchor));
            elapsed > get(&self.terms.span)
        });
        if outside {
            self.change(|schedule| {
                let (rate, burst) = (get(&self.terms.rate), get(&self.terms.burst));
                self.terms.renew(schedule, now, rate, burst)
            });
        }
        self.settled()
    }

    /// What `read` makes of the schedule, with the terms it belongs to.
    fn read<T>(&self, read: impl Fn(u64) -> T) -> T {
        loop {
            let state = self.settled();
            let result = read(state & SCHEDULE);
            if self.still_holds(state) {
                return result;
            }
        }
    }

    /// Lets `renew` write new terms; it turns the schedule into that of these.
    #[cold]
    fn change(&self, renew: impl FnOnce(u64) -> u64) {
        let mut state = self.settled();
        while let Err(_changed) = self.state.compare_exchange_weak(
            state,
            state | CHANGING,
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            state = self.settled();
        }
        // Whoever reads what is written from here on will find the state changed.
        fence(Ordering::Release);
        let schedule = renew(state & SCHEDULE);
        let term = state.wrapping_add(NEXT_TERM) & TERM;
        self.state.store(term | schedule, Ordering::Release);
    }
}

/// What a schedule means. Written only while the state is marked as changing.
#[derive(Debug, Default)]
struct Terms {
    /// Bytes per second.
    rate: AtomicU64,
    /// Bytes.
    burst: AtomicU64,
    /// The instant at which nothing has been earned, in nanoseconds.
    anchor: AtomicU64,
    /// Nanoseconds after the anchor in which at most [`SPAN`] is earned.
    span: AtomicU64,
    /// Units earned in a nanosecond.
    earning: AtomicU64,
    /// Units that a byte costs.
    cost: AtomicU64,
    /// Units in a full bucket.
    depth: AtomicU64,
}

impl Terms {
    /// What `size` costs; `None` if it exceeds every burst.
    #[inline]
    fn price(&self, size: ByteSize) -> Option<u64> {
        // At most 2^30 x 10^9, which is less than SPAN.
        (size <= SharedTokenBucket::LARGEST_BURST).then(|| size.get().wrapping_mul(get(&self.cost)))
    }

    /// Units missing in the bucket at `now`, even if that is beyond the span.
    fn missing(&self, schedule: u64, now: Timestamp) -> u128 {
        let elapsed = now.as_nanos().saturating_sub(get(&self.anchor));
        let earned = u128::from(elapsed) * u128::from(get(&self.earning));
        u128::from(schedule).saturating_sub(earned)
    }

    /// Moves the anchor to `now` and sets the limits: the schedule in the new
    /// terms. What is there at `now` stays, up to the new burst.
    fn renew(&self, schedule: u64, now: Timestamp, rate: u64, burst: u64) -> u64 {
        // In billionths of a byte, which units of both terms are multiples of.
        let unit = NANOS_PER_SEC / get(&self.cost);
        let missing = self.missing(schedule, now) * u128::from(unit);
        let old_depth = billionths(get(&self.burst));
        let new_depth = billionths(burst);
        let credit = old_depth.saturating_sub(missing).min(new_depth);
        let debt = missing.saturating_sub(old_depth);
        let anchor = now.as_nanos().max(get(&self.anchor));
        self.set(rate, burst, anchor, new_depth - credit + debt)
    }

    /// Sets terms in the largest unit that measures everything, `missing`
    /// billionths of a byte too: how many units these are.
    fn set(&self, rate: u64, burst: u64, anchor: u64, missing: u128) -> u64 {
        let common = common_divisor(u128::from(rate), u128::from(NANOS_PER_SEC));
        let unit = common_divisor(missing, common);
        let unit = u64::try_from(unit).unwrap_or(1);
        let (earning, cost) = (rate / unit, NANOS_PER_SEC / unit);
        let values = [
            (&self.rate, rate),
            (&self.burst, burst),
            (&self.anchor, anchor),
            (&self.span, SPAN / earning),
            (&self.earning, earning),
            (&self.cost, cost),
            (&self.depth, burst * cost),
        ];
        for (term, value) in values {
            term.store(value, Ordering::Relaxed);
        }
        u64::try_from(missing / u128::from(unit)).map_or(SCHEDULE, |missing| missing.min(SCHEDULE))
    }
}

#[inline]
fn get(term: &AtomicU64) -> u64 {
    term.load(Ordering::Relaxed)
}

fn billionths(bytes: u64) -> u128 {
    u128::from(bytes) * u128::from(NANOS_PER_SEC)
}

/// Euclid's algorithm; `b` if `a` is zero.
fn common_divisor(mut a: u128, mut b: u128) -> u128 {
    while a != 0 {
        (a, b) = (b % a, a);
    }
    b
}
