//! Which runs go side by side.

use crate::driver::policy_of;
use crate::scenario::{Algorithm, DriverKind, Scenario};

/// Which runs may go side by side, so that no run feels another.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Together {
    /// Bytes per second that they may move in all.
    pub(in crate::driver) rate: f64,
    /// Connections that they may have in all.
    pub(in crate::driver) connections: u64,
}

impl Together {
    /// Each run by itself.
    pub(in crate::driver) const ALONE: Self = Self {
        rate: 0.0,
        connections: 0,
    };
}

/// One run of one algorithm.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Run<'a> {
    /// Index of the algorithm in the scenario.
    pub(in crate::driver) index: usize,
    /// The algorithm.
    pub(in crate::driver) algorithm: &'a Algorithm,
    /// Which repetition.
    pub(in crate::driver) repetition: u32,
}

impl Run<'_> {
    /// The name at the proxy of user number `user` of the scenario.
    pub(in crate::driver) fn user_name(&self, user: usize) -> String {
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

/// All runs of `driver`, repetition by repetition, in batches that go side by side.
///
/// Each repetition begins with another algorithm, so that a machine that grows busier
/// or warmer is not held against the same one each time.
pub(super) fn batches<'a>(
    scenario: &'a Scenario,
    driver: DriverKind,
    together: Together,
) -> Vec<Vec<Run<'a>>> {
    let connections: u64 = scenario
        .users
        .iter()
        .map(|user| u64::from(user.connections))
        .sum();
    let mut batches: Vec<Vec<Run<'_>>> = Vec::new();
    let mut rate = f64::INFINITY;
    for run in all(scenario, driver) {
        let more = run.rate(scenario);
        match batches.last_mut() {
            Some(batch)
                if rate + more <= together.rate
                    && (batch.len() as u64 + 1) * connections <= together.connections =>
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

fn all(scenario: &Scenario, driver: DriverKind) -> impl Iterator<Item = Run<'_>> {
    let algorithms: Vec<(usize, &Algorithm)> = scenario
        .algorithms
        .iter()
        .enumerate()
        .filter(|(_, algorithm)| algorithm.runs_on(driver))
        .collect();
    (0..scenario.repetitions.of(driver)).flat_map(move |repetition| {
        let mut turn = algorithms.clone();
        let first = repetition as usize % turn.len().max(1);
        turn.rotate_right(first);
        turn.into_iter().map(move |(index, algorithm)| Run {
            index,
            algorithm,
            repetition,
        })
    })
}
