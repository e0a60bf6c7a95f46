//! The runs of one algorithm under one driver, and which of them compare.

use crate::report::estimate::Estimate;
use crate::report::metric;
use crate::report::subject::Subject;
use crate::results::{Beyond, ON_THE_WAY_S, Row};

/// More than this share of the burst beyond it, and an algorithm is no longer
/// compared with those that kept to the limit.
pub(super) const TOLERANCE: f64 = 0.05;
/// An algorithm that passes less of what the limit allows has it too easy.
pub(super) const LEAST_USE: f64 = 0.75;

/// The runs of one algorithm under one driver, or of one user of them.
pub(in crate::report) struct Group<'a> {
    pub(in crate::report) algorithm: &'a str,
    pub(in crate::report) driver: &'a str,
    pub(in crate::report) rows: Vec<&'a Row>,
}

/// The groups of `rows`, in the order of the scenario: algorithms, in each the drivers.
pub(in crate::report) fn groups<'a>(subject: &'a Subject, rows: &'a [Row]) -> Vec<Group<'a>> {
    let pairs = subject.algorithms.iter().flat_map(|tested| {
        subject
            .drivers
            .iter()
            .map(move |driver| (tested.label.as_str(), driver.as_str()))
    });
    pairs
        .map(|(algorithm, driver)| Group {
            algorithm,
            driver,
            rows: rows
                .iter()
                .filter(|row| row.algorithm == algorithm && row.driver == driver)
                .collect(),
        })
        .filter(|group| !group.rows.is_empty())
        .collect()
}

impl Group<'_> {
    /// Whether the algorithm is near enough to the reference for its other
    /// figures to compare: what lets more through has less delay, and so has
    /// what lets hardly anything through.
    pub(super) fn competes(&self, subject: &Subject) -> bool {
        let limited = self.rows.iter().all(|row| row.limiter != "none");
        let used = Estimate::of(&metric::UTILISATION, &self.rows).map_or(1.0, |used| used.value);
        limited && used >= LEAST_USE && !self.exceeds(subject)
    }

    /// Whether more got through than rate and burst allow, by more than a little.
    pub(super) fn exceeds(&self, subject: &Subject) -> bool {
        let on_the_way = if self.driver == "model" {
            0.0
        } else {
            ON_THE_WAY_S * subject.rate_Bps
        };
        let excess = Estimate::of(&metric::EXCESS, &self.rows).map_or(0.0, |excess| excess.value);
        excess > (TOLERANCE * subject.burst_bytes).max(1.0) + on_the_way
    }

    /// By how much the algorithm broke the bound that it promises itself, beyond what the
    /// measurement may be wrong by: the most of all runs.
    pub(super) fn broke_bound(&self) -> Option<f64> {
        let most = self.most_beyond().burst_bytes;
        (most > 0.0).then_some(most)
    }

    /// The same of each bound.
    pub(super) fn most_beyond(&self) -> Beyond {
        let all = self.rows.iter().map(|row| row.beyond());
        all.fold(Beyond::default(), |most, one| Beyond {
            burst_bytes: most.burst_bytes.max(one.burst_bytes),
            delay_us: most.delay_us.max(one.delay_us),
            backlog_bytes: most.backlog_bytes.max(one.backlog_bytes),
        })
    }
}
