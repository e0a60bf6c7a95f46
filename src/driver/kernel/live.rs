//! The paths of the runs that go side by side: one for each user of each run.

use flow::Policy;

use super::KernelError;
use super::path::Path;
use crate::driver::policy_of;
use crate::driver::real::plan::{Run, Together};
use crate::driver::real::{Batch, Bench, Opened};
use crate::scenario::{DriverKind, KernelLimiter, RateChange, User, UserLimit};

/// All paths of a batch, in order of run and user.
pub(super) struct Paths {
    paths: Vec<Path>,
    /// Connections so far.
    opened: u64,
}

/// Whose path each is.
fn owners(batch: Batch<'_>) -> impl Iterator<Item = (&Run<'_>, &User)> {
    batch
        .runs
        .iter()
        .flat_map(move |run| batch.scenario.users.iter().map(move |user| (run, user)))
}

impl Bench for Paths {
    type Error = KernelError;
    const KIND: DriverKind = DriverKind::Kernel;
    const TOGETHER: Together = Together {
        rate: 20e6,
        connections: 128,
    };

    async fn set_up(batch: Batch<'_>) -> Result<Self, KernelError> {
        let path = |(run, user): (&Run<'_>, &User)| {
            let limiter = run.algorithm.kernel.unwrap_or(KernelLimiter::Tbf);
            Path::new(limiter, policy_of(user, run.algorithm))
        };
        Ok(Self {
            paths: owners(batch).map(path).collect::<Result<_, _>>()?,
            opened: 0,
        })
    }

    async fn open(
        &mut self,
        batch: Batch<'_>,
        run: &Run<'_>,
        user: usize,
    ) -> Result<Opened, KernelError> {
        self.opened += 1;
        let same = |other: &Run<'_>| (other.index, other.repetition) == (run.index, run.repetition);
        let before = batch.runs.iter().position(same).unwrap_or(0);
        let number = before * batch.scenario.users.len() + user;
        let path = self.paths.get(number).ok_or_else(super::no_path)?;
        let ends = path.open(self.opened, batch.scenario.direction)?;
        Ok(Opened::Stream(ends))
    }

    async fn change_rate(
        &mut self,
        batch: Batch<'_>,
        change: &RateChange,
    ) -> Result<(), KernelError> {
        let new = |policy: Policy| policy.with_rate(change.rate);
        for (path, (run, user)) in self.paths.iter_mut().zip(owners(batch)) {
            if user.limit == UserLimit::Reference {
                path.set_policy(new(policy_of(user, run.algorithm)))?;
            }
        }
        Ok(())
    }

    /// Shares paced rates anew.
    fn tend(&mut self) -> Result<(), KernelError> {
        self.paths.iter_mut().try_for_each(Path::rebalance)
    }

    /// What each of our rules has counted.
    async fn tear_down(self, batch: Batch<'_>) -> Result<Vec<String>, KernelError> {
        let mut notes = Vec::new();
        for (path, (run, user)) in self.paths.iter().zip(owners(batch)) {
            if let Some(counts) = path.counts()? {
                let (offered, lost) = (counts.offered(), counts.lost());
                notes.push(format!(
                    "kernel: {}, user {}, repetition {}: {} of {} B in packets dropped, {} of {} packets",
                    run.algorithm.label,
                    user.name,
                    run.repetition,
                    lost.bytes,
                    offered.bytes,
                    lost.packets,
                    offered.packets
                ));
            }
        }
        Ok(notes)
    }
}
