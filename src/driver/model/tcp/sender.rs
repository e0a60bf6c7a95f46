//! The sending side of one connection: what is under way, what is lost, when to give up waiting.

use std::collections::{BTreeMap, BTreeSet};

use flow::{Nanos, Timestamp};

use super::congestion::Window;
use crate::scenario::Congestion;

/// As Linux has it (RFC 6298 would have a second).
const LEAST_RTO: u64 = 200_000_000;
const FIRST_RTO: u64 = 1_000_000_000;
const MOST_RTO: u64 = 120_000_000_000;

/// Bytes `from..to`, and the how-manieth transmission of this connection it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Segment {
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) number: u64,
}

/// A segment that is not acknowledged.
#[derive(Clone, Copy, Debug)]
struct Outstanding {
    to: u64,
    number: u64,
    sent_at: Timestamp,
    /// It was sent before.
    again: bool,
}

/// The sending side.
#[derive(Debug)]
pub(crate) struct Sender {
    /// Bytes of payload in a full segment.
    mss: u64,
    window: Window,
    outstanding: BTreeMap<u64, Outstanding>,
    /// First bytes of those that are lost.
    lost: BTreeSet<u64>,
    /// First bytes by transmission, of those that were sent once and are not lost.
    once: BTreeMap<u64, u64>,
    /// Bytes under way: outstanding and not lost.
    pipe: u64,
    next: u64,
    /// Bytes that the application has handed over.
    available: u64,
    transmissions: u64,
    /// The three latest transmissions that were acknowledged, latest first.
    latest: [u64; 3],
    /// Loss is being repaired until all before this byte is acknowledged.
    recovery: Option<u64>,
    /// Smoothed round-trip time and its variation (RFC 6298), in nanoseconds.
    rtt: Option<(u64, u64)>,
    backoff: u32,
    timer: Option<u64>,
    timers: u64,
    restart: bool,
}

impl Sender {
    /// Sends segments of `mss` bytes of payload.
    pub(crate) const fn new(congestion: Congestion, mss: u64) -> Self {
        Self {
            mss,
            window: Window::new(congestion),
            outstanding: BTreeMap::new(),
            lost: BTreeSet::new(),
            once: BTreeMap::new(),
            pipe: 0,
            next: 0,
            available: 0,
            transmissions: 0,
            latest: [0; 3],
            recovery: None,
            rtt: None,
            backoff: 0,
            timer: None,
            timers: 0,
            restart: false,
        }
    }

    /// The application has handed over `bytes` in all.
    pub(crate) fn available(&mut self, bytes: u64) {
        self.available = bytes;
    }

    /// All before this byte has been acknowledged.
    pub(crate) fn acknowledged_to(&self) -> u64 {
        let first = self.outstanding.first_key_value();
        first.map_or(self.next, |(from, _)| *from)
    }

    /// What to send now, lost segments first; `None` if the window is full or nothing waits.
    pub(crate) fn next(&mut self, now: Timestamp) -> Option<Segment> {
        #[expect(clippy::cast_precision_loss, reason = "windows are far below 2^53")]
        let full = (self.pipe + self.mss) as f64 > self.window.size() * self.mss as f64;
        if full && self.pipe > 0 {
            return None;
        }
        let lost = self.lost.pop_first();
        let known = lost.and_then(|from| Some((from, self.outstanding.get(&from)?.to)));
        let (from, to, again) = match known {
            Some((from, to)) => (from, to, true),
            None if self.next < self.available => {
                let to = self.available.min(self.next + self.mss);
                (self.next, to, false)
            }
            None => return None,
        };
        self.transmissions += 1;
        let number = self.transmissions;
        let segment = Outstanding {
            to,
            number,
            sent_at: now,
            again,
        };
        self.outstanding.insert(from, segment);
        if !again {
            self.once.insert(number, from);
        }
        self.pipe += to - from;
        self.next = self.next.max(to);
        Some(Segment { from, to, number })
    }

    /// The acknowledgement of `segment` has come.
    pub(crate) fn acknowledged(&mut self, now: Timestamp, segment: Segment) {
        let Some(sent) = self.outstanding.remove(&segment.from) else {
            return;
        };
        let under_way = self.pipe;
        self.once.remove(&sent.number);
        if !self.lost.remove(&segment.from) {
            self.pipe -= sent.to - segment.from;
        }
        if !sent.again {
            self.measure(now.since(sent.sent_at));
        }
        self.backoff = 0;
        self.restart = true;
        self.note(segment.number);
        if self
            .recovery
            .is_some_and(|end| self.acknowledged_to() >= end)
        {
            self.recovery = None;
        }
        self.find_losses();
        #[expect(clippy::cast_precision_loss, reason = "windows are far below 2^53")]
        let used = 2.0 * under_way as f64 >= self.window.size() * self.mss as f64;
        // A window that is not used does not grow (RFC 7661).
        if self.recovery.is_none() && used {
            let rtt = self
                .rtt
                .map_or(Nanos::ZERO, |(smoothed, _)| Nanos::new(smoothed));
            self.window.acknowledged(now, rtt);
        }
    }

    fn note(&mut self, number: u64) {
        let mut all = [number, self.latest[0], self.latest[1], self.latest[2]];
        all.sort_unstable_by(|a, b| b.cmp(a));
        self.latest = [all[0], all[1], all[2]];
    }

    /// A segment is lost when three that were sent after it have come. One that was sent
    /// again is not looked at: it waits for the time-out.
    fn find_losses(&mut self) {
        let third = self.latest[2];
        let mut found = false;
        while let Some(oldest) = self.once.first_entry()
            && *oldest.key() < third
        {
            let from = oldest.remove();
            if let Some(segment) = self.outstanding.get(&from) {
                self.pipe -= segment.to - from;
                self.lost.insert(from);
                found = true;
            }
        }
        if found && self.recovery.is_none() {
            self.recovery = Some(self.next);
            self.window.lost();
        }
    }

    /// RFC 6298, section 2.
    fn measure(&mut self, sample: Nanos) {
        let sample = sample.get();
        self.rtt = Some(match self.rtt {
            None => (sample, sample / 2),
            Some((smoothed, variation)) => (
                (7 * smoothed + sample) / 8,
                (3 * variation + smoothed.abs_diff(sample)) / 4,
            ),
        });
    }

    fn rto(&self) -> Nanos {
        let base = self.rtt.map_or(FIRST_RTO, |(smoothed, variation)| {
            (smoothed + 4 * variation).max(LEAST_RTO)
        });
        let doubled = base.saturating_mul(1 << self.backoff.min(20));
        Nanos::new(doubled.min(MOST_RTO))
    }

    /// Starts the timer if it must be: when it ends, and its number.
    pub(crate) fn arm(&mut self, now: Timestamp) -> Option<(Timestamp, u64)> {
        if self.outstanding.is_empty() {
            self.timer = None;
            return None;
        }
        if self.timer.is_some() && !self.restart {
            return None;
        }
        self.restart = false;
        self.timers += 1;
        self.timer = Some(self.timers);
        Some((now + self.rto(), self.timers))
    }

    /// Timer `number` has ended: all that is under way is taken for lost. Whether it was the
    /// one that runs.
    pub(crate) fn timed_out(&mut self, _now: Timestamp, number: u64) -> bool {
        if self.timer != Some(number) {
            return false;
        }
        self.timer = None;
        self.backoff += 1;
        self.recovery = None;
        self.pipe = 0;
        self.once.clear();
        self.lost = self.outstanding.keys().copied().collect();
        self.window.timed_out();
        true
    }
}
