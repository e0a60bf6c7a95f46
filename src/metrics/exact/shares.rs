//! Who got how much.

use std::collections::BTreeMap;

use super::super::fairness::{jain, max_min_shares};
use super::float;

/// Bytes offered and passed by user and connection.
#[derive(Debug, Default)]
pub(super) struct Shares(BTreeMap<(u32, u32), Share>);

#[derive(Clone, Copy, Debug, Default)]
struct Share {
    offered: u64,
    passed: u64,
}

impl Shares {
    pub(super) fn offered(&mut self, user: u32, connection: u32, bytes: u64) {
        self.0.entry((user, connection)).or_default().offered += bytes;
    }

    pub(super) fn passed(&mut self, user: u32, connection: u32, bytes: u64) {
        self.0.entry((user, connection)).or_default().passed += bytes;
    }

    /// Jain's index over the users; `None` for less than two.
    pub(super) fn of_users(&self) -> Option<f64> {
        let mut users: BTreeMap<u32, Share> = BTreeMap::new();
        for ((user, _), share) in &self.0 {
            let sum = users.entry(*user).or_default();
            sum.offered += share.offered;
            sum.passed += share.passed;
        }
        index(users.into_values())
    }

    /// The least index over the connections of one user; `None` if none has two.
    pub(super) fn of_connections(&self) -> Option<f64> {
        let mut users: BTreeMap<u32, Vec<Share>> = BTreeMap::new();
        for ((user, _), share) in &self.0 {
            users.entry(*user).or_default().push(*share);
        }
        users.into_values().filter_map(index).reduce(f64::min)
    }
}

/// Jain's index of what each got of its max-min fair share of what all got.
fn index(shares: impl IntoIterator<Item = Share>) -> Option<f64> {
    let (offered, passed): (Vec<_>, Vec<_>) = shares
        .into_iter()
        .map(|share| (share.offered, share.passed))
        .unzip();
    if offered.len() < 2 {
        return None;
    }
    let fair = max_min_shares(&offered, passed.iter().sum());
    let got = passed.iter().map(|bytes| float(*bytes));
    let of_share = got.zip(fair).filter(|(_, fair)| *fair > 0.0);
    jain(of_share.map(|(got, fair)| got / fair))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_alone_shares_with_nobody() {
        let mut shares = Shares::default();
        shares.offered(0, 0, 5);
        shares.passed(0, 0, 5);
        assert_eq!((shares.of_users(), shares.of_connections()), (None, None));
    }

    #[test]
    fn who_asks_for_little_and_gets_it_is_served_fairly() {
        let mut shares = Shares::default();
        for (user, offered, passed) in [(0, 100, 100), (1, 9_000, 450), (2, 9_000, 450)] {
            shares.offered(user, 0, offered);
            shares.passed(user, 0, passed);
        }
        assert_eq!(shares.of_users(), Some(1.0));
        shares.offered(2, 1, 9_000);
        assert_eq!(shares.of_connections(), Some(0.5));
    }
}
