//! The seed's line for every second: `MM:SS  packets  bytes  MiB/s`.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flow::{ByteSize, Timestamp};
use tokio_util::sync::CancellationToken;

use super::ProgramError;
use crate::Clock;

const SECOND: u64 = 1_000_000_000;

/// The widths of the seed's columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// `%02ld:%02ld    %8d        %10ld    %8.2f`
    Sender,
    /// `%02ld:%02ld    %6d        %10ld    %6.2f`
    Receiver,
}

/// Counts packets and bytes by the second since the start of the run. Copies share
/// the count.
///
/// The seed's programs look at the calendar clock after each packet, so their first
/// second is short and a silent second has no line. Here a second is a second, and
/// each has its line.
#[derive(Clone, Debug)]
pub struct Counter {
    layout: Layout,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    /// Seconds that have their line.
    printed: u64,
    running: Count,
    /// The second after the running one, if something was early for it.
    next: Count,
    total: Count,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    packets: u64,
    bytes: u64,
}

impl Counter {
    /// A count of nothing.
    #[must_use]
    pub fn new(layout: Layout) -> Self {
        Self {
            layout,
            counts: Arc::default(),
        }
    }

    /// One packet of `bytes` bytes at `at`. What is counted after its second has its
    /// line counts for the running one.
    pub fn count(&self, at: Timestamp, bytes: ByteSize) {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let early = at.as_nanos() / SECOND > counts.printed;
        let running = if early {
            &mut counts.next
        } else {
            &mut counts.running
        };
        running.add(bytes);
        counts.total.add(bytes);
    }

    /// The lines of the seconds that are over at `now` and have none yet.
    #[must_use]
    pub fn lines(&self, now: Timestamp) -> Vec<String> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let mut lines = Vec::new();
        while counts.printed < now.as_nanos() / SECOND {
            counts.printed += 1;
            lines.push(self.layout.line(counts.printed, counts.running));
            counts.running = std::mem::take(&mut counts.next);
        }
        lines
    }

    /// Packets and bytes of all seconds.
    #[must_use]
    pub fn total(&self) -> (u64, u64) {
        let counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        (counts.total.packets, counts.total.bytes)
    }

    /// Gives each second's line to `print` when it is over, until `done`, then those
    /// that are missing.
    ///
    /// # Errors
    /// Those of `print`.
    pub async fn print_until(
        &self,
        done: CancellationToken,
        clock: Clock,
        print: impl Fn(&str) -> Result<(), ProgramError>,
    ) -> Result<(), ProgramError> {
        for second in 1.. {
            let over = clock.instant(Timestamp::ZERO) + Duration::from_secs(second);
            let ended = tokio::select! {
                () = tokio::time::sleep_until(over) => false,
                () = done.cancelled() => true,
            };
            for line in self.lines(clock.now()) {
                print(&line)?;
            }
            if ended {
                break;
            }
        }
        Ok(())
    }
}

impl Count {
    fn add(&mut self, bytes: ByteSize) {
        self.packets += 1;
        self.bytes = self.bytes.saturating_add(bytes.get());
    }
}

impl Layout {
    fn line(self, second: u64, count: Count) -> String {
        let (minutes, seconds) = (second / 60, second % 60);
        let Count { packets, bytes } = count;
        let mib = mib(bytes);
        match self {
            Self::Sender => {
                format!("{minutes:02}:{seconds:02}    {packets:8}        {bytes:10}    {mib:8.2}")
            }
            Self::Receiver => {
                format!("{minutes:02}:{seconds:02}    {packets:6}        {bytes:10}    {mib:6.2}")
            }
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "a figure with two decimals")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn writes_the_seeds_own_lines() {
        // From seed 004's log, without the prefix.
        let client =
            |second, packets, bytes| Layout::Receiver.line(second, Count { packets, bytes });
        assert_eq!(
            client(1, 435, 846_012),
            "00:01       435            846012      0.81"
        );
        assert_eq!(
            client(103, 60_978, 116_807_328),
            "01:43     60978         116807328    111.40"
        );
        assert_eq!(
            client(121, 511, 1_027_824),
            "02:01       511           1027824      0.98"
        );
        let server = |second, packets, bytes| Layout::Sender.line(second, Count { packets, bytes });
        assert_eq!(
            server(1, 435, 846_012),
            "00:01         435            846012        0.81"
        );
        assert_eq!(
            server(6000, 1, 0),
            "100:00           1                 0        0.00"
        );
    }

    #[test]
    fn every_second_has_its_line_and_every_byte_its_second() {
        let counter = Counter::new(Layout::Receiver);
        counter.count(at(0), ByteSize::new(10));
        counter.count(at(999), ByteSize::new(20));
        assert!(counter.lines(at(999)).is_empty());
        // Early for the second second, before the first has its line.
        counter.count(at(1000), ByteSize::new(40));
        assert_eq!(
            counter.lines(at(1001)),
            ["00:01         2                30      0.00"]
        );
        assert_eq!(
            counter.lines(at(3500)),
            [
                "00:02         1                40      0.00",
                "00:03         0                 0      0.00"
            ]
        );
        // Late for the third.
        counter.count(at(2999), ByteSize::new(80));
        assert_eq!(
            counter.lines(at(4000)),
            ["00:04         1                80      0.00"]
        );
        assert_eq!(counter.total(), (4, 150));
    }

    #[tokio::test(start_paused = true)]
    async fn prints_while_nothing_comes_and_what_is_missing_at_the_end() {
        let counter = Counter::new(Layout::Sender);
        let clock = Clock::starting_now();
        let done = CancellationToken::new();
        let lines = Mutex::new(Vec::new());
        let print = |line: &str| {
            lines.lock().unwrap().push(line[..5].to_owned());
            Ok(())
        };
        let ending = async {
            clock.sleep_until(at(3500)).await;
            assert_eq!(lines.lock().unwrap().len(), 3);
            done.cancel();
        };
        let (printed, ()) = tokio::join!(counter.print_until(done.clone(), clock, print), ending);
        printed.unwrap();
        assert_eq!(*lines.lock().unwrap(), ["00:01", "00:02", "00:03"]);
    }
}
