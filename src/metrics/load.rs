//! Steps of load that a pattern makes on schedule.

use flow::{ByteRate, Nanos, Timestamp};
use traffic::Pattern;
use traffic::arrival::Level;

use super::settling::Step;

/// The steps of `connections` senders of `pattern` that begin at `start`, until
/// `end`: where a level follows another, and where a flood begins. Random
/// patterns make no steps. Of levels that repeat, the last two rounds
/// are enough: only the last step is followed to the end.
pub(crate) fn steps(
    pattern: &Pattern,
    connections: u32,
    start: Timestamp,
    end: Timestamp,
) -> Vec<Step> {
    let step = |after: u64, rate: Option<ByteRate>| Step {
        at: start + Nanos::new(after),
        load: rate.map(|rate| times(rate, connections)),
    };
    let steps: Vec<Step> = match pattern {
        Pattern::IdleThenFlood { idle, rate, .. } => vec![step(idle.get(), *rate)],
        Pattern::Steps { levels, repeat, .. } => {
            level_starts(levels, *repeat, end.since(start).get())
                .into_iter()
                .map(|(after, rate)| step(after, Some(rate)))
                .collect()
        }
        _ => Vec::new(),
    };
    let within = |step: &Step| step.at > start && step.at < end;
    steps.into_iter().filter(within).collect()
}

/// When each level that is not silence begins, and its rate.
fn level_starts(levels: &[Level], repeat: bool, duration: u64) -> Vec<(u64, ByteRate)> {
    let round = levels
        .iter()
        .fold(0_u64, |sum, level| sum.saturating_add(level.lasts.get()));
    let last = match duration.checked_div(round) {
        Some(last) if repeat => last,
        _ => 0,
    };
    let mut starts = Vec::new();
    for number in last.saturating_sub(1)..=last {
        let mut at = number.saturating_mul(round);
        for level in levels {
            starts.extend(level.rate.map(|rate| (at, rate)));
            at = at.saturating_add(level.lasts.get());
        }
    }
    starts
}

fn times(rate: ByteRate, connections: u32) -> ByteRate {
    ByteRate::new(rate.get().saturating_mul(u64::from(connections))).unwrap_or(rate)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;

    fn found(pattern: &str, connections: u32, end: u64) -> Vec<(u64, Option<u64>)> {
        let steps = steps(
            &pattern.parse().unwrap(),
            connections,
            Timestamp::from_nanos(SECOND),
            Timestamp::from_nanos(end * SECOND),
        );
        let pair = |step: &Step| (step.at.as_nanos() / SECOND, step.load.map(ByteRate::get));
        steps.iter().map(pair).collect()
    }

    #[test]
    fn a_level_after_another_is_a_step() {
        let pattern = "steps:levels=100B/s@10s+idle@5s+300B/s@10s,size=10B";
        assert_eq!(found(pattern, 1, 60), [(16, Some(300))]);
        assert_eq!(found(pattern, 4, 60), [(16, Some(1_200))]);
        assert_eq!(found(pattern, 1, 16), []);
    }

    #[test]
    fn of_many_rounds_the_last_count() {
        let pattern = "steps:levels=100B/s@1s+200B/s@1s,repeat=true,size=10B";
        let steps = found(pattern, 1, 1_000_000);
        assert_eq!(steps.last(), Some(&(999_999, Some(100))));
        assert!(steps.len() <= 4);
    }

    #[test]
    fn a_flood_is_a_step_and_chance_is_none() {
        let flood = "idle-then-flood:idle=20s,size=1000B";
        assert_eq!(found(flood, 1, 60), [(21, None)]);
        let chance = "poisson:rate=5000B/s,size=500B";
        assert_eq!(found(chance, 1, 60), []);
    }
}
