//! Which instance of an upstream serves a request, and which can: rules without
//! clock and socket.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;

use crate::config::https_service::Balance;

/// One instance, as far as a choice needs to know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) healthy: bool,
    /// Requests under way.
    pub(crate) load: usize,
}

/// The next instance: `turn` grows with each request. `None` if none is healthy.
pub(crate) fn choose(
    balance: Balance,
    instances: &[View],
    turn: usize,
    source: IpAddr,
) -> Option<usize> {
    let healthy = || {
        instances
            .iter()
            .enumerate()
            .filter(|(_, view)| view.healthy)
    };
    let count = healthy().count();
    // Ties of load go round too.
    let nth = turn.checked_rem(count)?;
    let chosen = match balance {
        Balance::RoundRobin => healthy().nth(nth),
        Balance::LeastConnections => healthy()
            .enumerate()
            .min_by_key(|(at, (_, view))| (view.load, (at + count - nth) % count))
            .map(|(_, instance)| instance),
        Balance::Source => healthy().max_by_key(|(index, _)| weight(source, *index)),
    };
    chosen.map(|(index, _)| index)
}

/// Rendezvous hashing: when an instance goes, only its own clients move.
fn weight(source: IpAddr, index: usize) -> u64 {
    let mut hasher = DefaultHasher::new();
    (source.to_canonical(), index).hash(&mut hasher);
    hasher.finish()
}

/// Whether an instance is served, by how it has answered in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Health {
    healthy: bool,
    /// Answers in a row that speak against that.
    against: u32,
}

impl Health {
    /// Healthy until shown otherwise.
    pub(crate) const NEW: Self = Self {
        healthy: true,
        against: 0,
    };

    pub(crate) const fn is_healthy(self) -> bool {
        self.healthy
    }

    /// Takes one more check into account: `true` if it has changed the state.
    pub(crate) const fn checked(&mut self, good: bool, fall: u32, rise: u32) -> bool {
        if good == self.healthy {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if self.healthy { fall } else { rise };
        if self.against < needed {
            return false;
        }
        *self = Self {
            healthy: good,
            against: 0,
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn views(loads: &[Option<usize>]) -> Vec<View> {
        let view = |load: &Option<usize>| View {
            healthy: load.is_some(),
            load: load.unwrap_or(0),
        };
        loads.iter().map(view).collect()
    }

    #[test]
    fn turns_pass_over_those_that_are_down() {
        let instances = views(&[Some(9), None, Some(0)]);
        let turns: Vec<_> = (0..4)
            .filter_map(|turn| choose(Balance::RoundRobin, &instances, turn, ANY))
            .collect();
        assert_eq!(turns, [0, 2, 0, 2]);
        assert_eq!(choose(Balance::RoundRobin, &views(&[None]), 5, ANY), None);
        assert_eq!(choose(Balance::Source, &[], 5, ANY), None);
    }

    #[test]
    fn the_least_loaded_comes_first_and_equals_take_turns() {
        let choice = |loads: &[Option<usize>], turn| {
            choose(Balance::LeastConnections, &views(loads), turn, ANY)
        };
        assert_eq!(choice(&[Some(2), Some(1), None], 0), Some(1));
        let turns: Vec<_> = (0..4)
            .filter_map(|turn| choice(&[Some(1); 3], turn))
            .collect();
        assert_eq!(turns, [0, 1, 2, 0]);
    }

    #[test]
    fn a_client_keeps_its_instance_when_another_goes() {
        let all = views(&[Some(0); 4]);
        let without = views(&[Some(0), Some(0), None, Some(0)]);
        let mut seen = [0; 4];
        for last in 0..=255 {
            let source = IpAddr::from([10, 0, 0, last]);
            let before = choose(Balance::Source, &all, 0, source).unwrap();
            assert_eq!(choose(Balance::Source, &all, 1, source), Some(before));
            let after = choose(Balance::Source, &without, 2, source).unwrap();
            assert!(before == after || before == 2);
            seen[before] += 1;
        }
        assert!(seen.iter().all(|&count| count > 20), "{seen:?}");
    }

    #[test]
    fn three_failures_fall_and_two_successes_rise() {
        let mut health = Health::NEW;
        let checks = [
            false, false, true, false, false, false, true, false, true, true,
        ];
        let healthy: Vec<_> = checks
            .into_iter()
            .map(|good| {
                health.checked(good, 3, 2);
                health.is_healthy()
            })
            .collect();
        assert_eq!(
            healthy,
            [
                true, true, true, true, true, false, false, false, false, true
            ]
        );
    }
}
