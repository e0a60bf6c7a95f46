//! The bursty sender is the seed's: the acceptance figures that were worked out
//! from its definition, at a level of 0.1 %.
#![expect(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{chi_square_fits, moments, open_loop, seed};
use flow::{ByteRate, Timestamp};
use std::collections::BTreeMap;
use weirgate_traffic::bursty::{Bursty, GIGABIT_LINE, Multiplier, SleepGrain};
use weirgate_traffic::{Generator, Pattern, Send};

const SECOND: u64 = 1_000_000_000;

/// Sends of one instant together, in the first second, where the multiplier is 1.
struct Clumps {
    sizes: Vec<u64>,
    packets: Vec<usize>,
    intervals_us: Vec<u64>,
}

/// 300 clumps a run take 0.37 s, with a standard deviation of 0.04 s.
fn clumps_at_one(runs: u64) -> Clumps {
    let mut clumps = Clumps {
        sizes: Vec::new(),
        packets: Vec::new(),
        intervals_us: Vec::new(),
    };
    for run in 0..runs {
        let sends: Vec<Send> = open_loop(Bursty::new(SleepGrain::Micros, None, seed(run)))
            .take_while(|send| send.at.as_nanos() < SECOND)
            .collect();
        let mut together: Vec<&[Send]> = sends.chunk_by(|a, b| a.at == b.at).collect();
        together.truncate(300);
        assert_eq!(together.len(), 300);
        for pair in together.windows(2) {
            let gap = pair[1][0].at.since(pair[0][0].at).get();
            assert_eq!(gap % 1000, 0, "whole microseconds");
            clumps.intervals_us.push(gap / 1000);
            clumps.packets.push(pair[1].len());
            clumps
                .sizes
                .extend(pair[1].iter().map(|send| send.size.get()));
        }
    }
    clumps
}

#[test]
fn at_multiplier_one_sizes_intervals_and_bursts_are_those_of_the_definition() {
    let Clumps {
        sizes,
        packets,
        intervals_us,
    } = clumps_at_one(400);

    let draws = intervals_us.len() as f64;
    let mean = intervals_us.iter().sum::<u64>() as f64 / draws;
    assert!((mean - 1227.65).abs() < 8036.0 / draws.sqrt(), "{mean}");
    let parts = [1, 10, 100, 1000, 10_000];
    assert!(fits_parts(&intervals_us, &parts, &[0.3, 0.3, 0.2, 0.2]));
    let cells: Vec<u64> = (1..10)
        .chain((10..100).step_by(10))
        .chain((100..1000).step_by(100))
        .chain((1000..=10_000).step_by(1000))
        .collect();
    let shares: Vec<f64> = [0.3, 0.3, 0.2, 0.2]
        .iter()
        .flat_map(|share| [share / 9.0; 9])
        .collect();
    assert!(fits_parts(&intervals_us, &cells, &shares));

    let count = sizes.len() as f64;
    let mean = sizes.iter().sum::<u64>() as f64 / count;
    assert!((mean - 731.6).abs() < 1436.0 / count.sqrt(), "{mean}");
    assert!(fits_sizes(&sizes));

    let bursts = packets.iter().filter(|packets| **packets == 51).count();
    let singles = packets.iter().filter(|packets| **packets == 1).count();
    assert_eq!(bursts + singles, packets.len(), "clumps are of 1 or of 51");
    let chance = bursts as f64 / draws;
    assert!((chance - 0.3).abs() < 1.51 / draws.sqrt(), "{chance}");
}

/// Whether values fall between neighbouring `ends` with these shares.
fn fits_parts(values: &[u64], ends: &[u64], shares: &[f64]) -> bool {
    let mut counts = vec![0; shares.len()];
    for value in values {
        let index = ends.partition_point(|end| end <= value);
        counts[index - 1] += 1;
    }
    chi_square_fits(&counts, shares)
}

/// Every single size against its probability: neighbouring parts share an end.
fn fits_sizes(sizes: &[u64]) -> bool {
    let parts = [
        (0.4, 64, 512),
        (0.3, 512, 1024),
        (0.2, 1024, 1400),
        (0.1, 1400, 1472),
    ];
    let mut shares = vec![0.0; 1473 - 64];
    for (share, least, greatest) in parts {
        let count = (greatest - least + 1) as f64;
        for size in least..=greatest {
            shares[size - 64] += share / count;
        }
    }
    let mut counts = vec![0; shares.len()];
    for size in sizes {
        counts[usize::try_from(*size).unwrap() - 64] += 1;
    }
    chi_square_fits(&counts, &shares)
}

#[test]
fn the_test_of_sizes_can_fail() {
    let uniform: Vec<u64> = (0..1_000_000).map(|index| 64 + index % 1409).collect();
    assert!(!fits_sizes(&uniform));
}

#[test]
fn a_multiplier_is_drawn_each_second_and_each_is_as_likely() {
    let mut bursty = Bursty::new(SleepGrain::Micros, None, seed(1));
    let mut counts = BTreeMap::new();
    for second in 0..20_000 {
        // A sender that is blocked for most of a second draws no more than one.
        let now = Timestamp::from_nanos(second * SECOND + SECOND / 2);
        bursty.next_send(now).unwrap();
        *counts
            .entry(format!("{:?}", bursty.multiplier()))
            .or_insert(0) += 1;
    }
    let counts: Vec<u64> = counts.into_values().collect();
    assert!(chi_square_fits(&counts, &[0.2; 5]), "{counts:?}");
}

#[test]
fn seconds_count_from_the_first_send() {
    for start in [0, 300_000_000, 10 * SECOND + 1] {
        let mut bursty = Bursty::new(SleepGrain::Micros, None, seed(start));
        let mut now = Timestamp::from_nanos(start);
        let mut changes = Vec::new();
        let mut previous = Multiplier::One;
        while now.as_nanos() < start + 40 * SECOND {
            now = bursty.next_send(now).unwrap().at;
            if bursty.multiplier() != previous {
                changes.push(now.as_nanos() - start);
                previous = bursty.multiplier();
            }
        }
        assert!(changes.len() > 20, "{}", changes.len());
        // The first packet after a whole second: no sleep is longer than 20 ms.
        assert!(
            changes
                .iter()
                .all(|at| *at >= SECOND && at % SECOND < 20_000_000)
        );
    }
}

#[test]
fn a_blocked_sender_counts_its_interval_from_the_return_of_its_send() {
    let mut free = Bursty::new(SleepGrain::Micros, None, seed(5));
    let mut blocked = free.clone();
    let (mut free_now, mut blocked_now) = (Timestamp::ZERO, Timestamp::ZERO);
    for _ in 0..500 {
        let open = free.next_send(free_now).unwrap();
        let held = blocked.next_send(blocked_now).unwrap();
        assert_eq!(open.size, held.size);
        assert_eq!(open.at.since(free_now), held.at.since(blocked_now));
        free_now = open.at;
        blocked_now = Timestamp::from_nanos(held.at.as_nanos() + 700);
    }
}

/// Megabytes of each whole second by the multiplier that it began with.
fn seconds_by_multiplier(
    grain: SleepGrain,
    line: Option<u64>,
    seconds: u64,
) -> BTreeMap<String, Vec<f64>> {
    let line = line.and_then(ByteRate::new);
    let mut bursty = Bursty::new(grain, line, seed(seconds));
    let mut now = Timestamp::ZERO;
    let mut by_multiplier: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    let (mut second, mut bytes, mut multiplier) = (0, 0, Multiplier::One);
    while second < seconds {
        let send = bursty.next_send(now).unwrap();
        now = send.at;
        if now.as_nanos() / SECOND > second {
            let megabytes = bytes as f64 / 1e6;
            by_multiplier
                .entry(format!("{multiplier:?}"))
                .or_default()
                .push(megabytes);
            second = now.as_nanos() / SECOND;
            multiplier = bursty.multiplier();
            bytes = 0;
        }
        bytes += send.size.get();
    }
    by_multiplier
}

/// Holds the mean of each multiplier's seconds to `expected` within four standard
/// errors and 0.6 %: the sleep that is under way when the multiplier changes, and
/// two digits after the point.
fn assert_rates(seconds: &BTreeMap<String, Vec<f64>>, expected: &[(Multiplier, f64)]) {
    for (multiplier, megabytes) in expected {
        let sample = &seconds[&format!("{multiplier:?}")];
        assert!(
            sample.len() >= 20,
            "{multiplier:?}: {} seconds",
            sample.len()
        );
        let (mean, deviation) = moments(sample);
        let error = 4.0 * deviation / (sample.len() as f64).sqrt() + 0.006 * megabytes;
        assert!(
            (mean - megabytes).abs() < error,
            "{multiplier:?}: {mean} +- {error}"
        );
    }
}

#[test]
fn rates_with_microsecond_sleeps() {
    let seconds = seconds_by_multiplier(SleepGrain::Micros, None, 200);
    assert_rates(
        &seconds,
        &[
            (Multiplier::Ten, 95.712),
            (Multiplier::Five, 47.755),
            (Multiplier::Two, 19.078),
            (Multiplier::One, 9.535),
            (Multiplier::Half, 4.767),
        ],
    );
}

#[test]
fn rates_with_millisecond_sleeps_on_a_gigabit_line() {
    let seconds = seconds_by_multiplier(SleepGrain::Millis, Some(GIGABIT_LINE), 200);
    assert_rates(
        &seconds,
        &[
            (Multiplier::Ten, 117.50),
            (Multiplier::Five, 55.41),
            (Multiplier::Two, 21.48),
            (Multiplier::One, 10.68),
            (Multiplier::Half, 5.10),
        ],
    );
}

#[test]
fn rates_on_ticks_on_a_gigabit_line() {
    let seconds = seconds_by_multiplier(SleepGrain::Tick, Some(GIGABIT_LINE), 200);
    assert_rates(
        &seconds,
        &[
            (Multiplier::Ten, 117.70),
            (Multiplier::Five, 6.75),
            (Multiplier::Two, 4.22),
            (Multiplier::One, 3.74),
            (Multiplier::Half, 2.10),
        ],
    );
}

#[test]
fn the_mean_over_all_multipliers() {
    let rate = |text: &str| text.parse::<Pattern>().unwrap().mean_rate();
    assert!((rate("bursty").unwrap() / 1e6 - 35.370).abs() < 5e-4);
    // The mean of the five rates above, and what the last sleeps of a second take.
    assert!((rate("bursty:sleep=ms").unwrap() / 1e6 - 42.03).abs() < 0.1);
    assert_eq!(rate("bursty:sleep=ms,line=none"), None);
    assert_eq!(rate("bursty:sleep=tick"), None);
}

#[test]
fn ticks_are_shared_by_all_senders() {
    for start in [0, 1, 7_000_000] {
        let mut bursty = Bursty::new(SleepGrain::Tick, None, seed(start));
        let mut now = Timestamp::from_nanos(start);
        for _ in 0..10_000 {
            let send = bursty.next_send(now).unwrap();
            assert!(send.at == now || send.at.as_nanos().is_multiple_of(15_600_000));
            now = send.at;
            if now.as_nanos() > SECOND {
                break;
            }
        }
        assert!(now.as_nanos() > SECOND / 2);
    }
}
