//! What a trace looks like: its rate, its arrival curve, the bucket that it needs at each rate, its packets.

use std::collections::BTreeMap;

use flow::ByteRate;
use traffic::Packet;

use super::super::picture::{line, over_time, real, seconds, side};
use super::Written;
use crate::metrics::{Bins, smallest_buckets};
use crate::report::{Chart, Drawing, Quantity, Side, plain};

/// Users that have a line each.
const MOST_USERS: usize = 5;
/// Rates at which the smallest bucket is looked for, from the mean to a hundred times that.
const RATES: u32 = 61;
/// Sizes that are drawn.
const MOST_SIZES: usize = 500;

/// Draws `packets`, which are the `written` ones once more.
pub(super) fn drawing(
    name: &str,
    users: &[&str],
    written: &Written,
    packets: impl Iterator<Item = Packet>,
) -> Drawing {
    let span = written.span();
    let mean = real(written.bytes) / seconds(span).max(1e-9);
    let rates = rates(mean);
    let each = if (2..=MOST_USERS).contains(&users.len()) {
        users.len()
    } else {
        0
    };
    let mut bins = Bins::new(1 + each);
    let mut sizes: BTreeMap<u64, u64> = BTreeMap::new();
    let seen = packets.map(|packet| {
        let (at, size) = (packet.at.as_nanos(), packet.size.get());
        bins.add(0, at, size);
        bins.add(1 + packet.user as usize, at, size);
        *sizes.entry(size).or_default() += 1;
        (at, size)
    });
    let buckets = smallest_buckets(&rates, seen);
    let mut names = vec![(0, "all")];
    names.extend((1..).zip(users.iter().copied()).take(each));
    let [rate, bytes] = over_time(&bins, &names);
    let curve: Vec<(f64, f64)> = rates
        .iter()
        .map(|rate| real(rate.get()))
        .zip(buckets)
        .collect();
    Drawing {
        title: "What is offered".to_owned(),
        explanation: "Below at the left: a token bucket of rate x passes all of it if it is y bytes deep, and not if it is shallower; \
                      rates begin at the mean. At the right: the share of packets that are no larger."
            .to_owned(),
        charts: vec![rate, bytes, needed(curve), no_larger(&sizes, written.packets)],
        footer: format!(
            "{name} · {} packets · {} in {} · mean {}",
            written.packets,
            plain::bytes(real(written.bytes)),
            plain::seconds(seconds(span)),
            plain::rate(mean),
        ),
    }
}

fn needed(curve: Vec<(f64, f64)>) -> Chart {
    let logarithmic = |title: &str, unit| Side {
        logarithmic: true,
        ..side(title, unit)
    };
    Chart {
        title: "Smallest bucket, logarithmic".to_owned(),
        x: logarithmic("rate, logarithmic", Quantity::Rate),
        y: logarithmic("bytes", Quantity::Bytes),
        lines: vec![line("all", 0, curve)],
    }
}

fn no_larger(sizes: &BTreeMap<u64, u64>, packets: u64) -> Chart {
    let mut below = 0;
    let mut all: Vec<(f64, f64)> = Vec::new();
    for (size, count) in sizes {
        let share = |count: u64| real(count) / real(packets.max(1));
        let (before, after) = (share(below), share(below + count));
        below += count;
        all.extend([(real(*size), before), (real(*size), after)]);
    }
    // Both ends of a step are kept where few are drawn of many.
    let each = all.len().div_ceil(2 * MOST_SIZES).max(1);
    let mut points: Vec<(f64, f64)> = all.iter().step_by(each).copied().collect();
    points.extend(all.last().filter(|last| points.last() != Some(*last)));
    Chart {
        title: "Packets no larger".to_owned(),
        x: side("size", Quantity::Bytes),
        y: side("share", Quantity::Share),
        lines: vec![line("all", 0, points)],
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a float's cast saturates"
)]
fn rates(mean: f64) -> Vec<ByteRate> {
    let factor = |at: u32| 100_f64.powf(f64::from(at) / f64::from(RATES - 1));
    let mut rates: Vec<ByteRate> = (0..RATES)
        .filter_map(|at| ByteRate::new((mean * factor(at)).ceil() as u64))
        .collect();
    rates.dedup();
    rates
}
