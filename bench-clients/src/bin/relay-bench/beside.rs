//! What a quiet connection feels of busy ones: its echo alone, and beside them.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::Bench;
use crate::origin::{self, Ask};
use crate::via::Via;

/// How often the quiet connection says a byte.
const EVERY: Duration = Duration::from_millis(5);
/// How long the busy ones have had their way when the quiet one begins.
const WARM_UP: Duration = Duration::from_millis(500);

/// Who is busy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Downloads without end.
    pub(crate) busy: usize,
    /// Each of a user of its own, numbered from 1; otherwise all of the quiet one's.
    pub(crate) others: bool,
    /// How long is listened, alone and then beside them.
    pub(crate) duration: Duration,
}

pub(crate) fn run(bench: &Bench, plan: &Plan) -> io::Result<()> {
    let quiet = bench.via.numbered(0);
    let mut echo = open(&quiet, bench, Ask::Echo)?;
    let alone = listen(&mut echo, plan.duration)?;
    // Their threads end with the program.
    for number in 1..=plan.busy {
        let via = if plan.others {
            bench.via.numbered(number)
        } else {
            quiet.clone()
        };
        let stream = open(&via, bench, Ask::Download)?;
        let thread = thread::Builder::new().stack_size(64 << 10);
        thread.spawn(move || origin::take(&stream, None, |_, _| ()))?;
    }
    thread::sleep(WARM_UP);
    let beside = listen(&mut echo, plan.duration)?;
    let whose = if plan.others { "others'" } else { "own" };
    for (what, times) in [("alone", alone), ("beside them", beside)] {
        let millis = |share: f64| format!("{:.2}", at(&times, share).as_secs_f64() * 1e3);
        let row = format!("echo beside {} {whose} downloads, {what}", plan.busy);
        bench.say(&format!("{row}, p50 ms"), &millis(0.50))?;
        bench.say(&format!("{row}, p99 ms"), &millis(0.99))?;
    }
    Ok(())
}

fn open(via: &Via, bench: &Bench, ask: Ask) -> io::Result<TcpStream> {
    let mut stream = via.dial(bench.origin)?;
    stream.write_all(&[ask as u8])?;
    Ok(stream)
}

/// A byte there and back at a time, each counted from when it was due; in order of size.
fn listen(stream: &mut TcpStream, duration: Duration) -> io::Result<Vec<Duration>> {
    let start = Instant::now();
    let mut times = Vec::new();
    let mut due = start;
    while due < start + duration {
        thread::sleep(due.saturating_duration_since(Instant::now()));
        stream.write_all(&[0x5a])?;
        stream.read_exact(&mut [0])?;
        times.push(due.elapsed());
        due += EVERY;
    }
    times.sort_unstable();
    Ok(times)
}

fn at(sorted: &[Duration], share: f64) -> Duration {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a list"
    )]
    let place = (share * sorted.len() as f64) as usize;
    sorted
        .get(place)
        .or(sorted.last())
        .copied()
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_its_place() {
        let times: Vec<_> = (0..100).map(Duration::from_millis).collect();
        assert_eq!(at(&times, 0.5), Duration::from_millis(50));
        assert_eq!(at(&times, 0.99), Duration::from_millis(99));
        assert_eq!(at(&times, 1.0), Duration::from_millis(99));
        assert_eq!(at(&[], 0.5), Duration::ZERO);
    }
}
