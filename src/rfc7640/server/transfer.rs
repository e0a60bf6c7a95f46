//! The stateful tests over real sockets: transfers again and again, micro bursts beside them.

use std::fs;

use bench_clients::{Behaviour, Direction, Ends, FlowLog, FlowPlan};
use flow::{ByteSize, Nanos, Timestamp};
use traffic::arrival::Bulk;
use traffic::{Generator, Send};

use super::super::profile::Stream;
use super::super::stateful::{self, MICRO_BURST, Pattern};
use super::super::streams::{Bursts, Port};
use super::super::{Figures, Metric, NANOS, real};
use super::{Bed, End, scheduled};

/// The least that may be under way: a relay's buffer.
const LEAST_WINDOW: u64 = 16 << 10;
/// Bytes of a write.
const CHUNK: u64 = 16 << 10;
/// How long an unloaded path is looked at.
const UNLOADED: u64 = 3 * NANOS;

/// Bytes that may be under way.
pub(super) fn window(pattern: &Pattern) -> u64 {
    pattern.window_bytes().max(LEAST_WINDOW)
}

/// The objects of a pattern, one after the other; each waits until the one before has arrived.
struct Objects {
    sizes: Vec<u64>,
    pause: Nanos,
    next: usize,
}

impl Generator for Objects {
    fn next_send(&mut self, now: Timestamp) -> Option<Send> {
        let size = *self.sizes.get(self.next % self.sizes.len().max(1))?;
        let pause = if self.next == 0 {
            Nanos::ZERO
        } else {
            self.pause
        };
        self.next += 1;
        Some(Send {
            at: now + pause,
            size: ByteSize::new(size),
        })
    }

    fn awaits_delivery(&self) -> bool {
        true
    }
}

impl Bed<'_> {
    /// All sessions of all `loads` at once, and the micro bursts of each.
    pub(super) fn under_tcp(
        &mut self,
        loads: &[(&Stream, &Pattern)],
        first: u64,
    ) -> Result<Vec<Figures>, End> {
        let mut unloaded = Vec::new();
        for (stream, _) in loads {
            unloaded.push(self.unloaded(stream)?);
        }
        let duration = self.port.duration;
        let mut plans = Vec::new();
        for (stream, pattern) in loads {
            for _ in 0..pattern.sessions {
                let ends = self.open(stream, &self.way.via(stream))?;
                plans.push(session(ends, pattern));
            }
            plans.push(self.micro_bursts(stream, first, duration)?);
        }
        let before = segments();
        let logs = self.run(plans, Nanos::new(duration), Nanos::ZERO)?;
        let after = segments();
        let mut rest = logs.as_slice();
        let mut all = Vec::new();
        for ((_, pattern), unloaded) in loads.iter().zip(unloaded) {
            let (sessions, others) = rest.split_at(rest.len().min(pattern.sessions as usize));
            let mut found = Figures::new();
            let seconds: Vec<f64> = sessions
                .iter()
                .flat_map(|log| times(log, pattern))
                .collect();
            found.extend(stateful::times(&seconds));
            let received: u64 = sessions.iter().map(|log| log.received.get()).sum();
            found.insert(Metric::Sr, real(received) / (real(duration) / real(NANOS)));
            found.extend(efficiency(before, after).map(|share| (Metric::Efficiency, share)));
            if let Some((micro, others)) = others.split_first() {
                let loaded = mean_delay(micro);
                let added = loaded.map(|loaded| (loaded / unloaded - 1.0) * 100.0);
                found.extend(added.map(|percent| (Metric::BufferDelay, percent)));
                rest = others;
            }
            all.push(found);
        }
        Ok(all)
    }

    /// Mean delay of micro bursts on the path of `stream` when nothing else is sent, in seconds.
    fn unloaded(&mut self, stream: &Stream) -> Result<f64, End> {
        let known = self.unloaded.iter().find(|(name, _)| *name == stream.name);
        if let Some((_, delay)) = known {
            return Ok(*delay);
        }
        let plan = self.micro_bursts(stream, 0, UNLOADED)?;
        let logs = self.run(vec![plan], Nanos::new(UNLOADED), Nanos::ZERO)?;
        let delay = logs.first().and_then(mean_delay).unwrap_or(f64::NAN);
        self.unloaded.push((stream.name.clone(), delay));
        Ok(delay)
    }

    fn micro_bursts(&self, stream: &Stream, first: u64, duration: u64) -> Result<FlowPlan, End> {
        let ends = self.open(stream, &self.way.via(stream))?;
        let port = Port {
            duration,
            ..self.port
        };
        let bursts = Bursts {
            size: MICRO_BURST * port.packet,
            interval: NANOS,
            start: first,
            port: 0,
        };
        Ok(scheduled(ends, port.send(&[bursts]).iter()))
    }
}

/// One session of `pattern`.
fn session(ends: Ends, pattern: &Pattern) -> FlowPlan {
    let behaviour = Behaviour::Blocking {
        buffer: ByteSize::new(window(pattern)),
    };
    let down = Direction::Down;
    if pattern.objects().len() > 1 || pattern.pause > 0 {
        let objects = Objects {
            sizes: pattern.objects().to_vec(),
            pause: Nanos::new(pattern.pause),
            next: 0,
        };
        return FlowPlan::new(ends, down, objects, behaviour);
    }
    let chunk = ByteSize::new(CHUNK.min(pattern.bytes()));
    FlowPlan::new(ends, down, Bulk::new(chunk), behaviour)
}

/// TTPET in seconds: from when a pattern's first object was due, or the one before it arrived, to the
/// arrival of its last.
fn times(log: &FlowLog, pattern: &Pattern) -> Vec<f64> {
    let (count, bytes) = (pattern.objects().len(), pattern.bytes());
    let mut dues = log
        .sends
        .iter()
        .map(|(due, _)| due.as_nanos())
        .step_by(count);
    let paused = pattern.pause > 0;
    let mut begun = dues.next().unwrap_or(0);
    let (mut arrived, mut times) = (0_u64, Vec::new());
    for (at, more) in log.receipts.iter() {
        arrived += more.get();
        while arrived >= bytes {
            arrived -= bytes;
            times.push(real(at.as_nanos().saturating_sub(begun)) / real(NANOS));
            begun = at.as_nanos();
            if paused {
                begun = dues.next().unwrap_or(begun);
            }
        }
    }
    times
}

/// Mean time from when a send was due to its last byte's arrival, in seconds.
fn mean_delay(log: &FlowLog) -> Option<f64> {
    let mut receipts = log.receipts.iter();
    let (mut arrived, mut at, mut needed) = (0_u64, 0_u64, 0_u64);
    let (mut sum, mut count) = (0.0, 0_u64);
    for (due, size) in log.sends.iter() {
        needed += size.get();
        while arrived < needed {
            let (instant, bytes) = match receipts.next() {
                Some((instant, bytes)) => (instant.as_nanos(), bytes.get()),
                None => return (count > 0).then(|| sum / real(count)),
            };
            (at, arrived) = (instant, arrived + bytes);
        }
        sum += real(at.saturating_sub(due.as_nanos())) / real(NANOS);
        count += 1;
    }
    (count > 0).then(|| sum / real(count))
}

/// TCP segments that this machine has sent for the first time, and again.
fn segments() -> Option<[u64; 2]> {
    counters(&fs::read_to_string("/proc/thread-self/net/snmp").ok()?)
}

fn counters(snmp: &str) -> Option<[u64; 2]> {
    let mut lines = snmp.lines().filter(|line| line.starts_with("Tcp:"));
    let (names, values) = (lines.next()?, lines.next()?);
    let find = |wanted: &str| {
        let mut pairs = names
            .split_ascii_whitespace()
            .zip(values.split_ascii_whitespace());
        pairs.find(|(name, _)| *name == wanted)?.1.parse().ok()
    };
    Some([find("OutSegs")?, find("RetransSegs")?])
}

/// TCP efficiency in percent, from what the whole machine sent meanwhile.
fn efficiency(before: Option<[u64; 2]>, after: Option<[u64; 2]>) -> Option<f64> {
    let (before, after) = (before?, after?);
    let first = after[0].checked_sub(before[0])?;
    let again = after[1].checked_sub(before[1])?;
    // The kernel does not count what it sends again among OutSegs.
    (first > 0).then(|| real(first) / real(first + again) * 100.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn efficiency_is_the_share_that_was_not_sent_again() {
        let text = |out, again| {
            format!("Ip: A B\nIp: 1 2\nTcp: X OutSegs RetransSegs\nTcp: 7 {out} {again}\n")
        };
        let (before, after) = (counters(&text(100, 5)), counters(&text(190, 15)));
        assert_eq!(before, Some([100, 5]));
        assert_eq!(efficiency(before, after), Some(90.0));
        assert_eq!(efficiency(None, after), None);
        assert_eq!(counters("Tcp: OutSegs\n"), None);
    }
}
