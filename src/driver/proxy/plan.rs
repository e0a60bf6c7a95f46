//! Which runs go side by side.

use crate::driver::policy_of;
use crate::scenario::{Algorithm, DriverKind, Scenario};

/// Bytes per second that runs may move together: a small part of what two
/// cores relay, so that no run feels another.
const MOST_TOGETHER: f64 = 50e6;
/// Connections that runs may have together: below a limit each of them wakes its
/// sender, the relay and its receiver twenty times a second.
const MOST_CONNECTIONS: u64 = 128;

/// One run of one algorithm.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run<'a> {
    /// Index of the algorithm in the scenario.
    pub index: usize,
    /// The algorithm.
    pub algorithm: &'a Algorithm,
    /// Which repetition.
    pub repetition: u32,
}

impl Run<'_> {
    /// The name at the proxy of user number `user` of the scenario.
    pub(super) fn user_name(&self, user: usize) -> String {
        format!("a{}-r{}-u{user}", self.index, self.repetition)
    }

    /// Bytes per second that it will move at most; infinite if nobody knows.
    fn rate(&self, scenario: &Scenario) -> f64 {
        let rate_of = |user| {
            let limit = policy_of(user, self.algorithm).rate();
            #[expect(clippy::cast_precision_loss, reason = "a rough plan")]
            let limit = limit.map_or(f64::INFINITY, |rate| rate.get() as f64);
            let offered = user.pattern.mean_rate().unwrap_or(f64::INFINITY);
            limit.min(offered * f64::from(user.connections))
        };
        scenario.users.iter().map(rate_of).sum()
    }
}

/// All runs of the scenario, repetition by repetition, in batches that go side by side.
pub(super) fn batches(scenario: &Scenario) -> Vec<Vec<Run<'_>>> {
    let connections: u64 = scenario
        .users
        .iter()
        .map(|user| u64::from(user.connections))
        .sum();
    let mut batches: Vec<Vec<Run<'_>>> = Vec::new();
    let mut rate = f64::INFINITY;
    for run in all(scenario) {
        let more = run.rate(scenario);
        match batches.last_mut() {
            Some(batch)
                if rate + more <= MOST_TOGETHER
                    && (batch.len() as u64 + 1) * connections <= MOST_CONNECTIONS =>
            {
                rate += more;
                batch.push(run);
            }
            _ => {
                rate = more;
                batches.push(vec![run]);
            }
        }
    }
    batches
}

fn all(scenario: &Scenario) -> impl Iterator<Item = Run<'_>> {
    (0..scenario.repetitions.proxy).flat_map(move |repetition| {
        let streams = |(_, algorithm): &(usize, &Algorithm)| algorithm.runs_on(DriverKind::Proxy);
        let algorithms = scenario.algorithms.iter().enumerate().filter(streams);
        algorithms.map(move |(index, algorithm)| Run {
            index,
            algorithm,
            repetition,
        })
    })
}
