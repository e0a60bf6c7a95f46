//! The stateful tests over real sockets: transfers again and again, micro bursts beside them.

use std::fs;

use bench_clients::{Behaviour, Direction, FlowLog, FlowPlan};
use flow::{ByteSize, Nanos};
use traffic::Pattern as Traffic;
use traffic::{Purpose, StreamSeed};

use super::super::procedures::Stream;
use super::super::stateful::{MICRO_BURST, Pattern};
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

impl Bed<'_> {
    pub(super) fn transfers(
        &mut self,
        pattern: &Pattern,
        stream: &Stream,
        first: u64,
    ) -> Result<Figures, End> {
        let unloaded = self.unloaded(stream)?;
        let duration = self.port.duration;
        let bulk = self.open(stream, &self.way.via(stream))?;
        let micro = self.micro_bursts(stream, first, duration)?;
        let chunk = ByteSize::new(CHUNK.min(pattern.bytes()));
        let seed = StreamSeed::derive(0, 0, 0, 0, Purpose::Traffic);
        let behaviour = Behaviour::Blocking {
            buffer: ByteSize::new(window(pattern)),
        };
        let mut plans = Vec::new();
        if let Some(generator) = (Traffic::Bulk { chunk }).generator(seed) {
            plans.push(FlowPlan::new(bulk, Direction::Down, generator, behaviour));
        }
        plans.push(micro);
        let before = segments();
        let logs = self.run(plans, Nanos::new(duration), Nanos::ZERO)?;
        let after = segments();
        let mut found = Figures::new();
        if let [bulk, micro] = logs.as_slice() {
            found.extend(times(bulk, pattern.bytes()));
            found.extend(efficiency(before, after).map(|share| (Metric::Efficiency, share)));
            let loaded = mean_delay(micro);
            let added = loaded.map(|loaded| (loaded / unloaded - 1.0) * 100.0);
            found.extend(added.map(|percent| (Metric::BufferDelay, percent)));
        }
        Ok(found)
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
        };
        Ok(scheduled(ends, port.send(&[bursts]).iter()))
    }
}

/// TTPET: from the end of one transfer to the end of the next.
fn times(log: &FlowLog, bytes: u64) -> Vec<(Metric, f64)> {
    let (mut arrived, mut begun, mut times) = (0_u64, 0_u64, Vec::new());
    for (at, more) in log.receipts.iter() {
        arrived += more.get();
        while arrived >= bytes {
            arrived -= bytes;
            times.push(real(at.as_nanos() - begun) / real(NANOS));
            begun = at.as_nanos();
        }
    }
    if times.is_empty() {
        return Vec::new();
    }
    let mean = times.iter().sum::<f64>() / real(times.len() as u64);
    vec![
        (Metric::Ttpet, mean),
        (
            Metric::TtpetMin,
            times.iter().copied().fold(f64::INFINITY, f64::min),
        ),
        (Metric::TtpetMax, times.iter().copied().fold(0.0, f64::max)),
    ]
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
