//! Whether the floors of all users together fit into the limit of the whole server.
//! Where they do not, they are kept by turns alone, and an operator is told.

use std::sync::atomic::Ordering;

use flow::{ByteRate, Policy};

use super::store::Store;
use super::{Bandwidth, Database, Rules, UserError, Users};

/// Floors that cannot all be kept at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the floors of all users add up to {floors} B/s, more than the limit of the whole server, {} B/s: \
     when everybody wants theirs, they get less",
    limit.get()
)]
pub struct Overcommitted {
    /// All of them, bytes per second.
    pub floors: u64,
    /// The long-run rate of the limit.
    pub limit: ByteRate,
}

/// Whether the floors of the users in `database` fit into `bandwidth`. Nothing is
/// changed there; a database that is not there has no users.
///
/// # Errors
/// [`UserError`] if the users cannot be read.
pub async fn check_floors(
    database: &Database,
    bandwidth: Bandwidth,
) -> Result<Option<Overcommitted>, UserError> {
    let mut sum = 0_u64;
    if let Some((everybody, users)) = Store::read_rules(database).await? {
        let everybody = Rules::from_text(&everybody)?;
        // Who has rules that cannot be read is locked out.
        let rules = users.iter().filter_map(|own| Rules::from_text(own).ok());
        for own in rules {
            sum = sum.saturating_add(own.or(&everybody).floors(bandwidth.floor));
        }
    }
    // One user is enough for that.
    let least = bandwidth.floor.map_or(0, ByteRate::get);
    Ok(beyond(sum.max(least), bandwidth.limit))
}

/// A tenth more than what an operator was told is worth another word.
const fn has_grown(floors: u64, told: u64) -> bool {
    floors > told.saturating_add(told / 10)
}

fn beyond(floors: u64, limit: Policy) -> Option<Overcommitted> {
    let limit = limit.rate()?;
    (floors > limit.get()).then_some(Overcommitted { floors, limit })
}

impl Users {
    /// Whether the floors of all users who may log in fit into the limit of the
    /// whole server, if there is one.
    #[must_use]
    pub fn overcommitted(&self) -> Option<Overcommitted> {
        let bandwidth = (*self.0.bandwidth.lock())?;
        let accounts = self.0.accounts.read();
        let floors = accounts.values().map(|it| it.floors(bandwidth.floor));
        beyond(floors.fold(0, u64::saturating_add), bandwidth.limit)
    }

    /// Tells the operator when floors do not fit any more, when they have grown since,
    /// and when they fit again.
    pub(super) fn weigh_floors(&self) {
        let over = self.overcommitted();
        let told = &self.0.floors_told;
        match (over, told.load(Ordering::Relaxed)) {
            (None, 0) => {}
            (None, _) => {
                told.store(0, Ordering::Relaxed);
                tracing::info!(
                    "the floors of all users fit into the limit of the whole server again"
                );
            }
            (Some(over), before) => {
                if has_grown(over.floors, before) {
                    told.store(over.floors, Ordering::Relaxed);
                    let (floors, limit) = (over.floors, over.limit.get());
                    tracing::warn!(floors, limit, "{over}");
                }
            }
        }
    }
}

impl Rules {
    /// What is assured to a user in all budgets together, bytes per second: of each
    /// the floor (or that for everybody), and no more than its own limit lets pass.
    pub(super) fn floors(&self, everybody: Option<ByteRate>) -> u64 {
        let Some(floor) = self.stake().floor.unwrap_or(everybody) else {
            return 0;
        };
        let of = |policy: Option<Policy>| {
            let rate = policy.and_then(|policy| policy.rate());
            rate.map_or(floor, |rate| rate.min(floor)).get()
        };
        match self.limits.unwrap_or_default().policies() {
            // One budget for both directions.
            [shared @ Some(_), ..] => of(shared),
            [None, None, None] => of(None),
            [None, up, down] => of(up).saturating_add(of(down)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::users::{FloorRule, Limits};

    fn rules(floor: &str, limits: Limits) -> Rules {
        Rules {
            floor: Some(floor.parse::<FloorRule>().unwrap()),
            limits: Some(limits),
            ..Rules::default()
        }
    }

    #[test]
    fn each_budget_has_its_floor_and_none_more_than_its_limit() {
        let policy = |text: &str| text.parse::<Policy>().unwrap();
        let (slow, quick) = (
            policy("token-bucket:rate=5kB/s,burst=5kB"),
            policy("token-bucket:rate=1MB/s,burst=5kB"),
        );
        let both = Limits::PerDirection {
            up: Some(slow),
            down: Some(quick),
        };
        for (limits, floors) in [
            (Limits::Unlimited, 10_000),
            (Limits::Shared(quick), 10_000),
            (Limits::Shared(slow), 5_000),
            (Limits::down(quick), 20_000),
            (both, 15_000),
        ] {
            assert_eq!(rules("10kB/s", limits).floors(None), floors, "{limits}");
            let own_none = rules("none", limits);
            assert_eq!(own_none.floors(ByteRate::new(10_000)), 0);
        }
        let silent = Rules::default();
        assert_eq!(silent.floors(None), 0);
        assert_eq!(silent.floors(ByteRate::new(7)), 7);
    }

    #[test]
    fn a_limit_that_is_reached_is_kept() {
        let limit = "token-bucket:rate=10kB/s,burst=5kB".parse().unwrap();
        assert_eq!(beyond(10_000, limit), None);
        let over = beyond(10_001, limit).unwrap();
        assert!(over.to_string().contains("10001 B/s, more than"), "{over}");
        assert!(over.to_string().contains("server, 10000 B/s:"), "{over}");
        assert_eq!(beyond(u64::MAX, Policy::None), None);
        assert!(has_grown(1, 0) && has_grown(12, 10) && !has_grown(11, 10));
    }
}
