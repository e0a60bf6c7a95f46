//! The stateful tests: a bulk transfer again and again over a modelled TCP (Reno
//! with NewReno recovery, RFC 5681 and 6582; one round trip of delay, nothing lost
//! on the way back), and a micro burst each second beside it.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

use super::streams::{Element, Port};
use super::{Figures, Metric, NANOS, real, time_of};

/// Packets of a micro burst.
pub(super) const MICRO_BURST: u64 = 10;
/// The receive window in bandwidth-delay products: RFC 7640 asks for 1.1 to 1.5.
const WINDOW: f64 = 1.3;
/// The least retransmission time-out (RFC 6298 allows less than its 1 s if measured so; Linux takes this).
const LEAST_TIMEOUT: u64 = 200_000_000;

/// What is transferred.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pattern {
    port: Port,
    rtt: u64,
    /// Segments of a transfer: what two seconds at the limit hold.
    segments: u64,
    window: f64,
}

impl Pattern {
    pub(super) fn new(port: &Port, rate: u64, rtt: u64) -> Self {
        let product = real(rate) * real(rtt) / real(NANOS) / real(port.packet);
        Self {
            port: *port,
            rtt,
            segments: (rate * 2).div_ceil(port.packet).max(10),
            window: (product * WINDOW).max(4.0),
        }
    }

    /// Bytes of a transfer.
    pub(super) const fn bytes(&self) -> u64 {
        self.segments.saturating_mul(self.port.packet)
    }

    /// Bytes of the receive window: RFC 7640 asks for 1.1 to 1.5 bandwidth-delay products.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a positive number of packets; a float's cast saturates"
    )]
    pub(super) const fn window_bytes(&self) -> u64 {
        (self.window as u64).saturating_mul(self.port.packet)
    }

    pub(super) fn setting(&self) -> String {
        format!(
            "transfers of {} packets, window {:.0} packets, round trip {:.0} ms, {MICRO_BURST} packets at once each second",
            self.segments,
            self.window,
            real(self.rtt) / 1e6
        )
    }

    /// Transfers through `element` until the end of the run, micro bursts from `first` on.
    pub(super) fn run(&self, element: &mut Element, first: u64) -> Figures {
        let mut path = Path {
            pattern: *self,
            element,
            micro: first,
            free: 0,
        };
        let (mut now, mut times, mut sums) = (0, Vec::new(), Counts::default());
        while now < self.port.duration {
            let (end, counts) = Transfer::new(*self).run(&mut path, now);
            times.push(real(end - now) / real(NANOS));
            sums.add(&counts);
            now = end;
        }
        let mean = times.iter().sum::<f64>() / real(times.len().max(1) as u64);
        let rtt = sums.rtt_sum / real(sums.rtt_samples.max(1));
        let sent = real(sums.sent.max(1));
        Figures::from([
            (Metric::Ttpet, mean),
            (
                Metric::TtpetMin,
                times.iter().copied().fold(f64::INFINITY, f64::min),
            ),
            (Metric::TtpetMax, times.iter().copied().fold(0.0, f64::max)),
            (Metric::Efficiency, (sent - real(sums.again)) / sent * 100.0),
            (Metric::BufferDelay, (rtt / real(self.rtt) - 1.0) * 100.0),
        ])
    }
}

/// Line and limiter, shared by transfers and micro bursts.
struct Path<'a> {
    pattern: Pattern,
    element: &'a mut Element,
    /// When the next micro burst is due.
    micro: u64,
    /// When the line is free again.
    free: u64,
}

impl Path<'_> {
    /// When what is sent at `now` arrives back as an acknowledgement; `None` if it is lost.
    fn send(&mut self, now: u64) -> Option<u64> {
        let packet = self.pattern.port.packet;
        while self.micro <= now {
            let at = self.micro;
            for _ in 0..MICRO_BURST {
                self.through(at, packet);
            }
            self.micro += NANOS;
        }
        let left = self.through(now, packet)?;
        Some(left + self.pattern.rtt)
    }

    fn through(&mut self, now: u64, size: u64) -> Option<u64> {
        let at = now.max(self.free);
        self.free = at + time_of(size, self.pattern.port.line);
        self.element.pass(at, size)
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    sent: u64,
    again: u64,
    rtt_sum: f64,
    rtt_samples: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.again += other.again;
        self.rtt_sum += other.rtt_sum;
        self.rtt_samples += other.rtt_samples;
    }
}

/// What happens at the sender.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// The acknowledgement that this segment caused, sent first at that instant.
    Acknowledged { segment: u64, sent: u64 },
    /// The time-out of this number.
    TimeOut { number: u64 },
}

/// One transfer: RFC 5681's sender, counted in segments.
struct Transfer {
    pattern: Pattern,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    window: f64,
    threshold: f64,
    /// The first segment that is not acknowledged.
    una: u64,
    next: u64,
    highest: u64,
    duplicates: u32,
    /// Fast recovery lasts until this is acknowledged.
    recover: Option<u64>,
    received: BTreeSet<u64>,
    time_out: u64,
    time_out_number: u64,
    counts: Counts,
}

impl Transfer {
    fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            events: BinaryHeap::new(),
            window: 10.0,
            threshold: f64::INFINITY,
            una: 0,
            next: 0,
            highest: 0,
            duplicates: 0,
            recover: None,
            received: BTreeSet::new(),
            time_out: LEAST_TIMEOUT.max(pattern.rtt * 3),
            time_out_number: 0,
            counts: Counts::default(),
        }
    }

    /// From `start` until everything is acknowledged: when that is, and what it took.
    fn run(mut self, path: &mut Path<'_>, start: u64) -> (u64, Counts) {
        self.fill(path, start);
        self.arm(start);
        let mut now = start;
        while self.una < self.pattern.segments {
            let Some(Reverse((at, event))) = self.events.pop() else {
                break;
            };
            now = at;
            match event {
                Event::Acknowledged { segment, sent } => {
                    self.acknowledged(path, now, segment, sent)
                }
                Event::TimeOut { number } if number == self.time_out_number => {
                    self.timed_out(path, now)
                }
                Event::TimeOut { .. } => {}
            }
        }
        (now.max(start + 1), self.counts)
    }

    fn acknowledged(&mut self, path: &mut Path<'_>, now: u64, segment: u64, sent: u64) {
        self.counts.rtt_sum += real(now - sent);
        self.counts.rtt_samples += 1;
        self.received.insert(segment);
        let mut upto = self.una;
        while self.received.remove(&upto) {
            upto += 1;
        }
        if upto > self.una {
            self.advance(path, now, upto);
        } else if segment >= self.una {
            self.duplicate(path, now);
        }
        self.fill(path, now);
    }

    fn advance(&mut self, path: &mut Path<'_>, now: u64, upto: u64) {
        let newly = real(upto - self.una);
        self.una = upto;
        self.next = self.next.max(upto);
        self.duplicates = 0;
        self.time_out = LEAST_TIMEOUT.max(self.pattern.rtt * 3);
        match self.recover {
            Some(recover) if upto < recover => {
                // A partial acknowledgement (RFC 6582, section 3.2).
                self.window = (self.window - newly + 1.0).max(1.0);
                self.transmit(path, now, upto);
            }
            Some(_) => {
                self.recover = None;
                self.window = self.threshold;
            }
            None if self.window < self.threshold => self.window += newly,
            None => self.window += newly / self.window,
        }
        self.arm(now);
    }

    fn duplicate(&mut self, path: &mut Path<'_>, now: u64) {
        self.duplicates += 1;
        if self.recover.is_some() {
            self.window += 1.0;
        } else if self.duplicates == 3 {
            self.threshold = (self.flight() / 2.0).max(2.0);
            self.window = self.threshold + 3.0;
            self.recover = Some(self.next);
            self.transmit(path, now, self.una);
            self.arm(now);
        }
    }

    fn timed_out(&mut self, path: &mut Path<'_>, now: u64) {
        self.threshold = (self.flight() / 2.0).max(2.0);
        self.window = 1.0;
        self.recover = None;
        self.duplicates = 0;
        self.next = self.una;
        self.time_out = (self.time_out * 2).min(60 * NANOS);
        self.fill(path, now);
        self.arm(now);
    }

    fn flight(&self) -> f64 {
        real(self.next - self.una)
    }

    /// Sends what the window allows.
    fn fill(&mut self, path: &mut Path<'_>, now: u64) {
        let window = self.window.min(self.pattern.window);
        while self.next < self.pattern.segments && self.flight() + 1.0 <= window {
            // What the receiver already holds is not sent again after a time-out.
            if !self.received.contains(&self.next) {
                self.transmit(path, now, self.next);
            }
            self.next += 1;
        }
    }

    fn transmit(&mut self, path: &mut Path<'_>, now: u64, segment: u64) {
        self.counts.sent += 1;
        self.counts.again += u64::from(segment < self.highest);
        self.highest = self.highest.max(segment + 1);
        if let Some(back) = path.send(now) {
            self.events
                .push(Reverse((back, Event::Acknowledged { segment, sent: now })));
        }
    }

    fn arm(&mut self, now: u64) {
        self.time_out_number += 1;
        let event = Event::TimeOut {
            number: self.time_out_number,
        };
        self.events.push(Reverse((now + self.time_out, event)));
    }
}
