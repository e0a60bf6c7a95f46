//! Scenario in, records out: each driver turns the same offered traffic into
//! [`Recorder`](crate::record::Recorder) calls.

pub mod model;

use std::sync::atomic::{AtomicBool, Ordering};

use flow::{Policy, Timestamp};

use crate::scenario::{Algorithm, Scenario, User, UserLimit};

/// Set from outside (Ctrl-C); drivers look at it now and then and end early.
#[derive(Debug, Default)]
pub struct Stop(AtomicBool);

impl Stop {
    /// Asks every driver to end.
    pub fn request(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the end was asked for.
    #[must_use]
    pub fn requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The policy that limits `user` when `algorithm` is under test.
#[must_use]
pub fn policy_of(user: &User, algorithm: &Algorithm) -> Policy {
    match user.limit {
        UserLimit::Reference => algorithm.policy.clone(),
        UserLimit::Own(own) => algorithm.policy.scaled_to(own.rate, own.burst),
        UserLimit::Unlimited => Policy::None,
    }
}

/// The end of a run, as an instant of it.
fn end_of(scenario: &Scenario) -> Timestamp {
    Timestamp::ZERO + scenario.duration
}
