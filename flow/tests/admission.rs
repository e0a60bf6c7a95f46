//! Queue and workers against queueing theory, in virtual time.
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::unwrap_used,
    reason = "figures of a test"
)]

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::num::NonZeroUsize;

use weirgate_flow::admission::{Admission, Entry, Event, Rules, Ticket};
use weirgate_flow::{Nanos, Timestamp};

const SECOND: f64 = 1e9;

/// Uniform numbers above 0 and below 1, the same each time (SplitMix64).
struct Dice(u64);

impl Dice {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((z >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
    }

    /// A length of time with this mean in seconds.
    fn exponential(&mut self, mean: f64) -> Nanos {
        Nanos::new((-self.uniform().ln() * mean * SECOND) as u64)
    }
}

#[derive(Default)]
struct Tally {
    served: u64,
    refused: u64,
    waited_too_long: u64,
    too_slow: u64,
    /// When the last one was served.
    last: Timestamp,
    /// Of those that started.
    waits: Vec<f64>,
}

/// A Poisson stream of `requests` at `rate` a second; service times by `length`.
fn run(
    rules: Rules,
    rate: f64,
    requests: u64,
    mut length: impl FnMut(&mut Dice) -> Nanos,
) -> Tally {
    let (mut arrivals, mut services) = (Dice(1), Dice(2));
    let mut admission = Admission::new(rules);
    let mut ends: BinaryHeap<Reverse<(Timestamp, Ticket)>> = BinaryHeap::new();
    let mut arrived = BTreeMap::new();
    let mut tally = Tally::default();
    let mut next = Timestamp::ZERO;
    let mut left = requests;
    loop {
        let end = ends.peek().map(|Reverse((at, _))| *at);
        let arrival = (left > 0).then_some(next);
        let instants = [end, arrival, admission.next_deadline()];
        let Some(now) = instants.into_iter().flatten().min() else {
            return tally;
        };
        let mut started = Vec::new();
        // Ends first: who ends at the instant of a time-out was in time.
        while let Some(&Reverse((at, ticket))) = ends.peek() {
            if at > now {
                break;
            }
            ends.pop();
            if admission.deadline(ticket).is_some() {
                admission.leave(ticket);
                tally.served += 1;
                tally.last = at;
            }
        }
        while let Some(event) = admission.poll(now) {
            match event {
                Event::Started(ticket) => started.push(ticket),
                Event::QueueTimeout(_) => tally.waited_too_long += 1,
                Event::RequestTimeout(_) => tally.too_slow += 1,
            }
        }
        if arrival == Some(now) {
            left -= 1;
            next = now + arrivals.exponential(1.0 / rate);
            match admission.arrive(now) {
                Ok(Entry::Started(ticket)) => {
                    arrived.insert(ticket, now);
                    started.push(ticket);
                }
                Ok(Entry::Waiting(ticket)) => {
                    arrived.insert(ticket, now);
                }
                Err(_) => tally.refused += 1,
            }
        }
        for ticket in started {
            let since = arrived.remove(&ticket).unwrap();
            tally.waits.push(now.since(since).as_secs_f64());
            ends.push(Reverse((now + length(&mut services), ticket)));
        }
    }
}

fn rules(workers: usize, queue: usize, timeouts: u64) -> Rules {
    Rules {
        workers: NonZeroUsize::new(workers).unwrap(),
        queue,
        queue_timeout: Nanos::from_secs(timeouts),
        request_timeout: Nanos::from_secs(timeouts),
    }
}

/// The chance to wait in M/M/c with `a` Erlang offered (Erlang C).
fn erlang_c(servers: u32, a: f64) -> f64 {
    let mut blocked = 1.0;
    for k in 1..=servers {
        blocked = a * blocked / (f64::from(k) + a * blocked);
    }
    let free = 1.0 - a / f64::from(servers);
    blocked / (free + (1.0 - free) * blocked)
}

#[test]
fn waiting_is_as_erlang_says() {
    // The textbook's: 8 Erlang at 10 servers make 40.92 % wait.
    assert!((erlang_c(10, 8.0) - 0.4092).abs() < 1e-4);
    for (workers, load) in [(1, 0.5), (10, 0.8), (20, 0.9)] {
        let offered = f64::from(workers) * load;
        let rules = rules(workers as usize, 1_000_000, 100_000);
        let tally = run(rules, offered / 0.05, 400_000, |dice| {
            dice.exponential(0.05)
        });
        assert_eq!(tally.served, 400_000);
        let expected = erlang_c(workers, offered);
        let count = tally.waits.len() as f64;
        let waited = tally.waits.iter().filter(|wait| **wait > 0.0).count() as f64 / count;
        assert!(
            (waited / expected - 1.0).abs() < 0.05,
            "{waited} {expected}"
        );
        let mean = tally.waits.iter().sum::<f64>() / count;
        let theory = expected * 0.05 / (f64::from(workers) * (1.0 - load));
        assert!((mean / theory - 1.0).abs() < 0.1, "{mean} {theory}");
    }
}

#[test]
fn goodput_does_not_collapse_beyond_capacity() {
    // 20 workers at 50 ms: 400 requests a second.
    let goodput = |load: f64| {
        let rate = 400.0 * load;
        let requests = (rate * 60.0) as u64;
        let tally = run(rules(20, 100, 30), rate, requests, |_| {
            Nanos::from_millis(50)
        });
        assert_eq!(
            tally.served + tally.refused + tally.waited_too_long + tally.too_slow,
            requests
        );
        // The stream takes a little more or less than its minute.
        tally.served as f64 / tally.last.as_secs_f64()
    };
    let loads = [0.5, 0.9, 1.0, 1.5, 3.0];
    let served: Vec<_> = loads.into_iter().map(goodput).collect();
    let peak = served.iter().copied().fold(0.0, f64::max);
    assert!((served[0] / 200.0 - 1.0).abs() < 0.03, "{served:?}");
    assert!(served[4] >= 0.95 * peak, "{served:?}");
    assert!(peak <= 400.0, "{served:?}");
}

#[test]
fn those_that_are_too_slow_take_no_more_than_their_time() {
    // All take ten times what they may: every worker serves one in 2 s for nothing.
    let tally = run(rules(2, 4, 2), 10.0, 1_000, |_| Nanos::from_secs(20));
    assert_eq!(tally.served, 0);
    assert!(tally.too_slow > 80 && tally.refused > 500);
    assert_eq!(
        tally.too_slow + tally.refused + tally.waited_too_long,
        1_000
    );
}
