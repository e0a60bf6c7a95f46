//! Bursts into limiters, and what comes out.

use flow::policy::AnyLimiter;
use flow::{ByteSize, Policer, Policy, Shaper, Timestamp, Verdict};

use super::config::Config;
use super::{Figures, Metric, NANOS, real, time_of};
use crate::metrics::Trains;

/// Bursts of one size at even intervals.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bursts {
    /// Bytes of each.
    pub(super) size: u64,
    /// Nanoseconds from the start of one to the start of the next.
    pub(super) interval: u64,
    /// When the first starts, in nanoseconds.
    pub(super) start: u64,
    /// On which port.
    pub(super) port: usize,
}

/// A packet on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent {
    pub(super) at: u64,
    pub(super) size: u64,
    burst: usize,
    pub(super) stream: usize,
    /// `None` if it was lost.
    pub(super) left: Option<u64>,
}

/// A port: what it sends at, and for how long, in packets of which size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port {
    pub(super) line: u64,
    pub(super) packet: u64,
    pub(super) duration: u64,
}

/// What packets go through.
pub(super) enum Element {
    Policer(Policer<AnyLimiter>),
    Shaper(Box<Shaper<AnyLimiter>>),
}

impl Element {
    pub(super) fn policer(policy: &Policy) -> Self {
        Self::Policer(Policer::new(policy.build()))
    }

    pub(super) fn shaper(policy: &Policy, queue: ByteSize) -> Self {
        Self::Shaper(Box::new(Shaper::new(policy.build(), Some(queue))))
    }

    /// When `size` bytes that arrive at `at` leave; `None` if they are lost.
    pub(super) fn pass(&mut self, at: u64, size: u64) -> Option<u64> {
        let (at, size) = (Timestamp::from_nanos(at), ByteSize::new(size));
        let verdict = match self {
            Self::Policer(policer) => policer.offer(at, size),
            Self::Shaper(shaper) => shaper.offer(at, size),
        };
        match verdict {
            Verdict::Departs(left) => Some(left.as_nanos()),
            Verdict::Drop(_) => None,
        }
    }
}

impl Port {
    pub(super) const fn of(config: &Config) -> Self {
        Self {
            line: config.line.get(),
            packet: config.packet.get(),
            duration: config.duration.get(),
        }
    }

    /// The packets of one burst, one after the other at line rate.
    pub(super) fn burst(&self, size: u64, start: u64) -> impl Iterator<Item = (u64, u64)> + use<> {
        let Self { line, packet, .. } = *self;
        (0..size.div_ceil(packet)).map(move |at| {
            let before = at * packet;
            (start + time_of(before, line), packet.min(size - before))
        })
    }

    /// All streams, in order of time: where they meet on a port, packets wait for its line.
    pub(super) fn send(&self, streams: &[Bursts]) -> Vec<Sent> {
        let mut sent = Vec::new();
        for (stream, bursts) in streams.iter().enumerate() {
            let starts = (0u64..).map(|at| {
                bursts
                    .start
                    .saturating_add(at.saturating_mul(bursts.interval.max(1)))
            });
            for (burst, start) in starts.take_while(|at| *at < self.duration).enumerate() {
                sent.extend(self.burst(bursts.size, start).map(|(at, size)| Sent {
                    at,
                    size,
                    burst,
                    stream,
                    left: None,
                }));
            }
        }
        sent.sort_by_key(|packet| packet.at);
        let ports = streams.iter().map(|bursts| bursts.port + 1).max();
        let mut free = vec![0; ports.unwrap_or(0)];
        for packet in &mut sent {
            let free = &mut free[streams[packet.stream].port];
            packet.at = packet.at.max(*free);
            *free = packet.at + time_of(packet.size, self.line);
        }
        if free.len() > 1 {
            // One port's packets may have waited while another's did not.
            sent.sort_by_key(|packet| packet.at);
        }
        sent
    }
}

/// What became of the packets of one stream; packets that leave within `train_gap` nanoseconds are one train.
pub(super) fn figures(sent: &[Sent], port: &Port, train_gap: u64) -> Figures {
    let mut delays: Vec<u64> = sent.iter().filter_map(|p| Some(p.left? - p.at)).collect();
    delays.sort_unstable();
    let lost = (sent.len() - delays.len()) as u64;
    let offered: u64 = sent.iter().map(|packet| packet.size).sum();
    let seconds = real(port.duration) / real(NANOS);
    let mut figures = Figures::from([
        (Metric::Bsa, real(achieved(sent.iter()))),
        (Metric::Lp, real(lost)),
        (Metric::Oos, real(out_of_sequence(sent.iter()))),
        (Metric::Offered, real(offered) / seconds),
        (
            Metric::Lost,
            real(lost) / real(sent.len().max(1) as u64) * 100.0,
        ),
    ]);
    if let Some(least) = delays.first() {
        let mean = delays.iter().map(|delay| real(*delay)).sum::<f64>() / real(delays.len() as u64);
        let rank = (delays.len() * 99).div_ceil(100).saturating_sub(1);
        let p99 = delays.get(rank).unwrap_or(least) - least;
        figures.insert(Metric::Pd, mean / real(NANOS));
        figures.insert(Metric::Pdv, real(p99) / real(NANOS));
    }
    let mut trains = Trains::new(train_gap);
    let mut bytes = 0;
    for (left, size) in sent
        .iter()
        .filter_map(|packet| Some((packet.left?, packet.size)))
    {
        if left < port.duration {
            bytes += size;
        }
        trains.add(left, size);
    }
    let trains = trains.figures();
    figures.insert(Metric::Sr, real(bytes) / seconds);
    figures.extend(trains.mean().map(|mean| (Metric::Sbb, mean)));
    figures.extend(
        trains
            .interval()
            .map(|nanos| (Metric::Sbi, nanos / real(NANOS))),
    );
    figures
}

/// The most bytes of a burst before its first loss.
fn achieved<'a>(packets: impl Iterator<Item = &'a Sent>) -> u64 {
    let (mut most, mut burst, mut bytes, mut broken) = (0, usize::MAX, 0, false);
    for packet in packets {
        if packet.burst != burst {
            (burst, bytes, broken) = (packet.burst, 0, false);
        }
        broken |= packet.left.is_none();
        if !broken {
            bytes += packet.size;
            most = most.max(bytes);
        }
    }
    most
}

/// Packets that leave before one that was sent earlier (RFC 4737, section 3.3).
fn out_of_sequence<'a>(packets: impl Iterator<Item = &'a Sent>) -> u64 {
    let (mut latest, mut count) = (0, 0);
    for left in packets.filter_map(|packet| packet.left) {
        count += u64::from(left < latest);
        latest = latest.max(left);
    }
    count
}
